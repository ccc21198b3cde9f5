//! What rules know besides the event and the settings: what was compiled from settings, read from files, or
//! learned from stored events. A snapshot: replaced whole, never changed.

use std::sync::Arc;

use crate::config::Settings;
use crate::geo::Area;
use crate::policy::blocklist::Domains;
use crate::policy::people::People;

/// What a community's rules know. The default knows nothing.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The area that events belong to; empty where the settings draw none.
    pub area: Arc<Area>,
    /// Whom people follow, and what their profiles say.
    pub people: Arc<People>,
    /// What the community's blocklists say of domains.
    pub domains: Arc<Domains>,
}

impl Known {
    /// What the settings alone tell.
    pub fn compiled(settings: &Settings) -> Known {
        // Settings that were checked compile. An area that does not is empty: nothing lies inside.
        let area = Arc::new(settings.geohash.compile().unwrap_or_default());
        Known { area, ..Known::default() }
    }
}
