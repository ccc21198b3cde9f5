//! `[kinds]`: which kinds of events a community takes.

use serde::{Deserialize, Serialize};

use crate::config::{KindSet, Mode};

/// `[kinds]`: which kinds of events are taken.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kinds {
    /// Whether its rules refuse, or only count and log what they would refuse.
    pub mode: Mode,
    /// The only kinds that are taken; empty means all.
    pub allowed: KindSet,
    /// Kinds that are not taken, though they are among the allowed ones.
    pub denied: KindSet,
}
