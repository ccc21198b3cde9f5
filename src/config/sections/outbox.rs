//! `[outbox]`: members' posts from the relays that their relay lists name (NIP-65).

use serde::{Deserialize, Serialize};

use super::SectionFault;
use crate::config::validate::url_problem;

/// Relays where lists are looked for.
const DISCOVER_MAX: usize = 8;

/// `[outbox]` (in a community: `[community.outbox]`): fetches members' posts from where they write.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbox {
    /// Whether it does so.
    pub enabled: bool,
    /// Relays where members' relay lists are looked for, beside this one.
    pub discover: Vec<String>,
    /// The kinds that are fetched; empty means all.
    pub kinds: Vec<u16>,
    /// From how many of a member's relays, where there are so many.
    pub relays_per_member: u32,
    /// Relays that are connected to at once.
    pub relays_max: u32,
    /// Members whose posts are fetched; those beyond are left out.
    pub members_max: u32,
    /// Seconds between two looks at members and their lists.
    pub look_seconds: u64,
    /// Events a second from one relay.
    pub events_per_second: u32,
    /// Whether unencrypted relays, and such in private networks and on this machine, are connected to because a
    /// list names them.
    pub private_allowed: bool,
}

impl Default for Outbox {
    fn default() -> Self {
        Outbox {
            enabled: false,
            discover: Vec::new(),
            kinds: Vec::new(),
            relays_per_member: 2,
            relays_max: 20,
            members_max: 1_000,
            look_seconds: 60,
            events_per_second: 200,
            private_allowed: false,
        }
    }
}

/// The bounds of the section's numbers.
pub(in crate::config) const RANGES: &[(&str, u64, u64)] = &[
    ("outbox.relays_per_member", 1, 8),
    ("outbox.relays_max", 1, 500),
    ("outbox.members_max", 1, 3_000),
    ("outbox.look_seconds", 1, 86_400),
    ("outbox.events_per_second", 1, 1_000_000),
];

impl Outbox {
    /// What must hold besides.
    pub(in crate::config) fn check(&self) -> Result<(), SectionFault> {
        let fault = |problem: String| {
            let remedy = "write for example discover = [\"wss://relay.example\"]".to_owned();
            Err(SectionFault { key: "outbox.discover", problem, remedy })
        };
        if self.discover.len() > DISCOVER_MAX {
            return fault(format!("names {} relays, more than {DISCOVER_MAX}", self.discover.len()));
        }
        match self.discover.iter().find_map(|url| url_problem(url, ["wss", "ws"])) {
            Some(problem) => fault(problem),
            None => Ok(()),
        }
    }
}
