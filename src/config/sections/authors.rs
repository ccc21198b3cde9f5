//! `[authors]`: whose events a community takes, and who its members are.

use serde::{Deserialize, Serialize};

use crate::config::{Keys, Mode};

/// `[authors]`: whose events are taken, and who the members are.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authors {
    /// Whether its rules refuse, or only count and log what they would refuse.
    pub mode: Mode,
    /// The only authors whose events are taken; empty means all. Gift wraps, whose authors are throwaway
    /// keys, are taken when they are for one of them.
    pub allowed: Keys,
    /// Authors whose events are not taken, though they are among the allowed ones.
    pub denied: Keys,
    /// Members: whom `[access]` lets in where it says `"members"`, and who owe no proof of work.
    pub members: Keys,
}
