//! `[geohash]`: places in filters, and ephemeral events for who joins late.

use serde::{Deserialize, Serialize};

/// `[geohash]`: events with a place.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Geohash {
    /// Whether `#g` in filters understands `u33d*` and `~u33d`.
    pub prefix_filters: bool,
    /// How long after its arrival an ephemeral event with a place is given to new subscriptions; 0: never.
    pub replay_seconds: u64,
    /// How many such events are kept, the last that arrived.
    pub replay_events_max: usize,
}

impl Default for Geohash {
    fn default() -> Self {
        Self { prefix_filters: false, replay_seconds: 0, replay_events_max: 100 }
    }
}

/// The bounds of its numbers.
pub(in crate::config) const RANGES: &[(&str, u64, u64)] =
    &[("geohash.replay_seconds", 0, 86_400), ("geohash.replay_events_max", 0, 10_000)];
