//! What rules know besides the event and the settings: what was compiled from settings, read from files, or
//! learned from stored events. A snapshot: replaced whole, never changed.

use std::sync::Arc;

use super::groups::Groups;
use super::held::Held;
use super::hidden::Hidden;
use super::moderation::Moderation;
use super::people::People;
use super::shared::SharedLists;
use crate::config::Settings;
use crate::domain::lists::Domains;
use crate::geo::Area;

/// What a community's rules know. The default knows nothing.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Whom people follow, how far they are from those whom the community trusts, what their profiles claim.
    pub people: Arc<People>,
    /// What moderators have muted and trusted people have reported.
    pub hidden: Arc<Hidden>,
    /// What moderators decided by hand.
    pub moderation: Arc<Moderation>,
    /// What waits for a verdict.
    pub held: Arc<Held>,
    /// The area that events belong to; empty where the settings draw none.
    pub area: Arc<Area>,
    /// Groups, where there are any.
    pub groups: Arc<Groups>,
    /// What the community's blocklists say of domains.
    pub domains: Arc<Domains>,
    /// Lists of other relays that it follows.
    pub shared: Arc<SharedLists>,
}

impl Known {
    /// What the settings alone tell.
    pub fn compiled(settings: &Settings) -> Known {
        // Settings that were checked compile. An area that does not is empty: nothing lies inside.
        Known { area: Arc::new(settings.geohash.compile().unwrap_or_default()), ..Known::default() }
    }
}
