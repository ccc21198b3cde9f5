//! `[bridge]`: what comes in from other networks, and who may carry posts there.

use serde::{Deserialize, Serialize};

use super::SectionFault;
use crate::config::{Keys, Mode};
use crate::domain::DomainSet;
use crate::domain::proxy::Protocol;

/// `[bridge]`: what comes in from other networks (NIP-48), and who may carry posts there.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bridge {
    /// Whether its rules refuse, or only count and log what they would refuse.
    pub mode: Mode,
    /// Whether the id in a proxy tag must have the form that NIP-48 gives for its protocol.
    pub ids_checked: bool,
    /// The only protocols from which bridged events are taken; empty means all.
    pub protocols_allowed: Vec<Protocol>,
    /// Protocols from which bridged events are not taken.
    pub protocols_refused: Vec<Protocol>,
    /// Protocols whose bridged events are shown only to those who ask for them, or follow their author.
    pub protocols_hidden: Vec<Protocol>,
    /// The only domains from which bridged events are taken, with all below them; empty means all.
    pub domains_allowed: DomainSet,
    /// Domains from which bridged events are not taken, with all below them.
    pub domains_refused: DomainSet,
    /// Domains whose bridged events are shown only to those who ask for them, or follow their author, with all
    /// below them.
    pub domains_hidden: DomainSet,
    /// Bridged events a minute that are taken, from all bridges together; 0 means any number.
    pub events_per_minute: u32,
    /// The keys of bridges that carry posts to other networks, and log in with these keys.
    pub bridge_keys: Keys,
    /// The hashtag in a profile or on a post by which people say that bridges may not carry it.
    pub unbridged_hashtag: String,
}

impl Default for Bridge {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            ids_checked: false,
            protocols_allowed: Vec::new(),
            protocols_refused: Vec::new(),
            protocols_hidden: Vec::new(),
            domains_allowed: DomainSet::default(),
            domains_refused: DomainSet::default(),
            domains_hidden: DomainSet::default(),
            events_per_minute: 0,
            bridge_keys: Keys::default(),
            unbridged_hashtag: "nobridge".to_owned(),
        }
    }
}

/// The bounds of its numbers.
pub(in crate::config) const RANGES: &[(&str, u64, u64)] = &[("bridge.events_per_minute", 0, u32::MAX as u64)];

impl Bridge {
    /// What must hold besides.
    pub(in crate::config) fn check(&self) -> Result<(), SectionFault> {
        let is_word = |c: char| (c.is_alphanumeric() || c == '_') && !c.is_uppercase();
        let hashtag = &self.unbridged_hashtag;
        if !hashtag.is_empty() && hashtag.chars().all(is_word) {
            return Ok(());
        }
        Err(SectionFault {
            key: "bridge.unbridged_hashtag",
            problem: "must be one word in lower case, without its #".to_owned(),
            remedy: "write for example unbridged_hashtag = \"nobridge\"".to_owned(),
        })
    }
}
