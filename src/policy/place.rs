//! Where an event goes, given what the store already holds. Pure, and deterministic in the order of
//! events: it reads no clock.

use crate::event::{Event, Id, KindClass, Verified};
use crate::rule::{Prefix, Refusal};

/// What the store knows that bears on one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// This id is stored.
    pub stored: bool,
    /// A deletion request by someone entitled names it, by id or by address (NIP-09).
    pub deleted: bool,
    /// Its author, or the recipient of a wrap, vanished at or after its time (NIP-62).
    pub vanished: bool,
    /// The stored version of its address.
    pub newest: Option<(u64, Id)>,
}

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// It is stored.
    Insert,
    /// It is stored in place of the version that its address has.
    Replace,
    /// It is stored already.
    Duplicate,
    /// A newer version of its address is stored.
    Superseded,
    /// It may not come back.
    Deleted(Refusal),
    /// A rule that looks at stored events refused it.
    Refused(Refusal),
    /// It is passed on and not stored.
    Ephemeral,
}

/// What is certain of an event before its signature is checked: that it would not be stored. A relay
/// sees most events many times, and these answers cost no curve operation.
pub fn foresee(event: &Event, facts: &Facts) -> Option<Placement> {
    if facts.vanished {
        return Some(Placement::Deleted(Refusal::new(
            Prefix::Blocked,
            "nip62.vanished",
            "its author or recipient asked to vanish from this relay",
        )));
    }
    if facts.stored {
        return Some(Placement::Duplicate);
    }
    if facts.deleted {
        return Some(Placement::Deleted(Refusal::new(
            Prefix::Blocked,
            "nip09.deleted",
            "its deletion was asked for by who may",
        )));
    }
    match facts.newest {
        // On equal times the lowest id stays (NIP-01).
        Some((created_at, id))
            if (created_at, std::cmp::Reverse(id)) > (event.created_at, std::cmp::Reverse(event.id)) =>
        {
            Some(Placement::Superseded)
        }
        _ => None,
    }
}

/// Where a true event goes.
pub fn place(event: &Verified, facts: &Facts) -> Placement {
    if let Some(placement) = foresee(event, facts) {
        return placement;
    }
    match event.kind.class() {
        KindClass::Ephemeral => Placement::Ephemeral,
        KindClass::Regular => Placement::Insert,
        KindClass::Replaceable | KindClass::Addressable if facts.newest.is_some() => Placement::Replace,
        KindClass::Replaceable | KindClass::Addressable => Placement::Insert,
    }
}

/// The refusal for an event whose address has a newer version.
pub fn superseded() -> Refusal {
    Refusal::new(Prefix::Duplicate, "nip01.superseded", "a newer version is stored")
}
