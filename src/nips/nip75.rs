//! NIP-75, zap goals (nips/75.md): what a goal must have, and which receipts come too late for it. In: an
//! event, and a goal that is stored. Out: a decision. Never counts money: clients do.

use super::nip57;
use crate::event::{Event, Id, Kind};

/// What somebody collects money for.
pub const GOAL: Kind = Kind(9_041);

/// A goal, as far as a relay is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goal {
    /// The amount aimed at, in thousandths of a satoshi; never 0.
    pub amount_msats: u64,
    /// Receipts made later than this do not count, in seconds since 1970.
    pub closed_at: Option<u64>,
}

impl Goal {
    /// Reads a goal's tags.
    ///
    /// # Errors
    /// A sentence that says which tag is missing or wrong.
    pub fn parse(event: &Event) -> Result<Goal, &'static str> {
        let amount_msats = nip57::amount_of(event).ok().flatten().filter(|amount| *amount > 0);
        let Some(amount_msats) = amount_msats else {
            return Err("a goal has an amount tag with a whole number of millisatoshis above 0");
        };
        let mut relays = event.tags.iter().filter(|tag| tag.name() == "relays");
        if !relays.any(|tag| tag.iter().skip(1).any(is_relay)) {
            return Err("a goal has a relays tag that lists at least one ws:// or wss:// address");
        }
        let closing = event.tags.iter().find(|tag| tag.name() == "closed_at");
        let closed_at = closing.map(|tag| tag.value().and_then(nip57::whole_number));
        match closed_at {
            Some(None) => Err("the closed_at tag must hold a whole number of seconds since 1970"),
            closed_at => Ok(Goal { amount_msats, closed_at: closed_at.flatten() }),
        }
    }

    /// Whether what was made then comes too late to count.
    pub fn is_closed_for(&self, created_at: u64) -> bool {
        self.closed_at.is_some_and(|closed_at| created_at > closed_at)
    }
}

/// The events that a receipt may be for: one of them may be a goal.
pub fn zapped_ids(receipt: &Event) -> impl Iterator<Item = Id> {
    receipt.tags.values("e").filter_map(Id::from_hex)
}

fn is_relay(url: &str) -> bool {
    let host = url.strip_prefix("wss://").or_else(|| url.strip_prefix("ws://"));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
}
