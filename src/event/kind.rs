//! Kinds and how NIP-01 says that each is kept.

use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// An event's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable)]
#[repr(transparent)]
pub struct Kind(pub u16);

/// How events of a kind are kept (NIP-01).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindClass {
    /// All are stored.
    Regular,
    /// The newest of each author is stored.
    Replaceable,
    /// None is stored; they are passed on to who listens.
    Ephemeral,
    /// The newest of each author and `d` tag is stored.
    Addressable,
}

impl Kind {
    /// Profile (NIP-01).
    pub const PROFILE: Kind = Kind(0);
    /// Follow list (NIP-02).
    pub const FOLLOWS: Kind = Kind(3);
    /// Deletion request (NIP-09).
    pub const DELETION: Kind = Kind(5);
    /// Repost of a note (NIP-18).
    pub const REPOST: Kind = Kind(6);
    /// Repost of anything else (NIP-18).
    pub const GENERIC_REPOST: Kind = Kind(16);
    /// Request to vanish (NIP-62).
    pub const VANISH: Kind = Kind(62);
    /// Gift wrap (NIP-59).
    pub const GIFT_WRAP: Kind = Kind(1059);
    /// Gift wrap that is not stored (NIP-59).
    pub const EPHEMERAL_GIFT_WRAP: Kind = Kind(21059);
    /// Report (NIP-56).
    pub const REPORT: Kind = Kind(1984);
    /// Label (NIP-32).
    pub const LABEL: Kind = Kind(1985);
    /// Adds people to a group, or changes their roles (NIP-29); the following are NIP-29's too.
    pub const PUT_USER: Kind = Kind(9_000);
    /// Takes people out of a group.
    pub const REMOVE_USER: Kind = Kind(9_001);
    /// Says anew what a group is.
    pub const EDIT_METADATA: Kind = Kind(9_002);
    /// Removes an event of a group.
    pub const DELETE_EVENT: Kind = Kind(9_005);
    /// Makes a group.
    pub const CREATE_GROUP: Kind = Kind(9_007);
    /// Ends a group.
    pub const DELETE_GROUP: Kind = Kind(9_008);
    /// Makes a code with which people join.
    pub const CREATE_INVITE: Kind = Kind(9_009);
    /// Says anew which events are pinned.
    pub const UPDATE_PINS: Kind = Kind(9_010);
    /// Asks to be let into a group.
    pub const JOIN_GROUP: Kind = Kind(9_021);
    /// Leaves a group.
    pub const LEAVE_GROUP: Kind = Kind(9_022);
    /// What a group is, as the relay says it; the next ones are the relay's too.
    pub const GROUP_METADATA: Kind = Kind(39_000);
    /// Who has a role in a group.
    pub const GROUP_ADMINS: Kind = Kind(39_001);
    /// Who is in a group.
    pub const GROUP_MEMBERS: Kind = Kind(39_002);
    /// Which roles there are.
    pub const GROUP_ROLES: Kind = Kind(39_003);
    /// What is pinned in a group.
    pub const GROUP_PINS: Kind = Kind(39_005);
    /// Somebody has become a member of the relay (NIP-43); the following are NIP-43's too.
    pub const MEMBER_ADDED: Kind = Kind(8_000);
    /// Somebody is a member no more.
    pub const MEMBER_REMOVED: Kind = Kind(8_001);
    /// Who the members are.
    pub const MEMBERS: Kind = Kind(13_534);
    /// A role of members.
    pub const MEMBER_ROLE: Kind = Kind(33_534);
    /// Asks to become a member, with a code.
    pub const JOIN_RELAY: Kind = Kind(28_934);
    /// A code for somebody else, made when it is asked for.
    pub const INVITE: Kind = Kind(28_935);
    /// Asks to be a member no more.
    pub const LEAVE_RELAY: Kind = Kind(28_936);
    /// Mute list (NIP-51).
    pub const MUTES: Kind = Kind(10_000);
    /// Proof of a key to an HTTP server (NIP-98).
    pub const HTTP_AUTH: Kind = Kind(27_235);
    /// Proof of a key to a relay (NIP-42).
    pub const AUTH: Kind = Kind(22242);

    /// Whether events of this kind are videos (NIP-71): normal and short ones, as such and addressable.
    pub const fn is_video(self) -> bool {
        matches!(self.0, 21 | 22 | 34_235 | 34_236)
    }

    /// Whether events of this kind change who and what a group is, or ask for it (NIP-29).
    pub const fn manages_groups(self) -> bool {
        matches!(self.0, 9_000..=9_022)
    }

    /// Whether events of this kind say what a group is, which is the relay's to say (NIP-29).
    pub const fn tells_of_group(self) -> bool {
        matches!(self.0, 39_000..=39_005)
    }

    /// How events of this kind are kept. Kinds outside of the ranges that NIP-01 names are regular.
    pub const fn class(self) -> KindClass {
        match self.0 {
            0 | 3 | 10_000..=19_999 => KindClass::Replaceable,
            20_000..=29_999 => KindClass::Ephemeral,
            30_000..=39_999 => KindClass::Addressable,
            _ => KindClass::Regular,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_change_at_nip01s_bounds() {
        use KindClass::*;
        let table = [
            (0, Replaceable),
            (1, Regular),
            (2, Regular),
            (3, Replaceable),
            (4, Regular),
            (44, Regular),
            (45, Regular),
            (62, Regular),
            (64, Regular),
            (999, Regular),
            (9_999, Regular),
            (10_000, Replaceable),
            (19_999, Replaceable),
            (20_000, Ephemeral),
            (29_999, Ephemeral),
            (30_000, Addressable),
            (39_999, Addressable),
            (40_000, Regular),
            (65_535, Regular),
        ];
        for (kind, class) in table {
            assert_eq!(Kind(kind).class(), class, "kind {kind}");
        }
    }
}
