//! What rules know besides the event and the settings: what was compiled from settings, read from files, or
//! learned from stored events. A snapshot: replaced whole, never changed.

use std::sync::Arc;

use crate::policy::blocklist::Domains;
use crate::policy::people::People;

/// What a community's rules know. The default knows nothing.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Whom people follow, and what their profiles say.
    pub people: Arc<People>,
    /// What the community's blocklists say of domains.
    pub domains: Arc<Domains>,
}
