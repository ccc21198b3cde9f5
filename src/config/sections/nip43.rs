//! `[nip43]`: membership by invitation.

use serde::{Deserialize, Serialize};

/// `[nip43]` (in a community: `[community.nip43]`): who the members are, and how one becomes one.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nip43 {
    /// Whether people join with codes and leave, and the relay says who the members are.
    pub enabled: bool,
    /// Who gets a code for somebody else by asking for one.
    pub invite: Invite,
    /// Seconds for which a code lets somebody in.
    pub code_seconds_max: u64,
    /// How often a code lets somebody in that was asked for by a member.
    pub code_uses_max: u32,
    /// Codes that there may be.
    pub codes_max: u32,
    /// Seconds that the time of a request to join or leave may be off, either way.
    pub window_seconds: u64,
    /// Whether the relay publishes who the members are (kinds 13534, 8000, 8001 and 33534).
    pub publish_members: bool,
}

/// Who gets codes for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Invite {
    /// Members, and who manages the community.
    #[default]
    Members,
    /// Who manages the community.
    Staff,
}

impl Default for Nip43 {
    fn default() -> Self {
        Nip43 {
            enabled: false,
            invite: Invite::default(),
            code_seconds_max: 7 * 86_400,
            code_uses_max: 1,
            codes_max: 1_000,
            window_seconds: 300,
            publish_members: true,
        }
    }
}

/// The bounds of the section's numbers.
pub(in crate::config) const RANGES: &[(&str, u64, u64)] = &[
    ("nip43.code_seconds_max", 60, 3_155_760_000),
    ("nip43.code_uses_max", 1, 1_000_000),
    ("nip43.codes_max", 1, 100_000),
    ("nip43.window_seconds", 1, 86_400),
];
