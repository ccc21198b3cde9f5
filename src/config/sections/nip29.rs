//! `[nip29]`: groups that the relay manages.

use serde::{Deserialize, Serialize};

use crate::config::Keys;

/// `[nip29]` (in a community: `[community.nip29]`): groups.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nip29 {
    /// Whether there are groups.
    pub enabled: bool,
    /// Who may make them.
    pub create: CreateGroups,
    /// Seconds that an event for a group may be old when it arrives; an older one is refused. 0 means any age.
    pub late_seconds_max: u64,
    /// Earlier events of the group by others that an event refers to in its `previous` tag, where there are as many.
    pub previous_min: u32,
    /// How often a group's invite code lets somebody in; 0: any number of times.
    pub code_uses_max: u32,
    /// Seconds for which a group's invite code lets people in; 0: for ever.
    pub code_seconds_max: u64,
    /// Groups that there may be, those that were ended among them.
    pub groups_max: u32,
    /// Groups that one person may have made.
    pub groups_per_creator_max: u32,
    /// Members of one group.
    pub members_max: u32,
    /// Members of all groups together, each counted in each group.
    pub memberships_max: u32,
    /// Invite codes of one group.
    pub codes_max: u32,
    /// Pinned events of one group.
    pub pins_max: u32,
    /// Public keys with which this relay, or another one from which groups were moved here, signed before: what they
    /// signed counts when groups are read from stored events.
    pub former_keys: Keys,
}

/// Who may make groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CreateGroups {
    /// Everybody.
    All,
    /// Members, and who manages the community.
    #[default]
    Members,
    /// Who manages the community.
    Staff,
}

impl Default for Nip29 {
    fn default() -> Self {
        Nip29 {
            enabled: false,
            create: CreateGroups::default(),
            late_seconds_max: 3_600,
            previous_min: 0,
            code_uses_max: 0,
            code_seconds_max: 0,
            groups_max: 1_000,
            groups_per_creator_max: 10,
            members_max: 2_000,
            memberships_max: 20_000,
            codes_max: 20,
            pins_max: 20,
            former_keys: Keys::default(),
        }
    }
}

/// The bounds of the section's numbers.
pub(in crate::config) const RANGES: &[(&str, u64, u64)] = &[
    ("nip29.late_seconds_max", 0, 3_155_760_000),
    ("nip29.previous_min", 0, 50),
    ("nip29.code_uses_max", 0, 1_000_000),
    ("nip29.code_seconds_max", 0, 3_155_760_000),
    ("nip29.groups_max", 1, 1_000_000),
    ("nip29.groups_per_creator_max", 1, 1_000_000),
    ("nip29.members_max", 1, 1_000_000),
    ("nip29.memberships_max", 1, 10_000_000),
    ("nip29.codes_max", 1, 10_000),
    ("nip29.pins_max", 1, 10_000),
];
