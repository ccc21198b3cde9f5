//! `[shared_lists]`: lists of bans and blocked domains that relays publish and follow (docs/lists.md).

use serde::{Deserialize, Serialize};

use super::SectionFault;
use crate::config::validate::url_problem;
use crate::config::{Mode, Settings, parse_key};
use crate::event::PublicKey;

/// Relays whose lists one community may follow: each is a connection.
const FOLLOW_MAX: usize = 16;

/// Days after which a list lapses, at most.
const EXPIRES_DAYS_MAX: u32 = 3_650;

/// Entries of one list, at most: those of a larger one would not fit a message.
pub const LIST_ENTRIES_MAX: usize = 20_000;

/// `[shared_lists]`: what a community tells other relays of its bans, and what it takes from theirs.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SharedLists {
    /// Whether followed lists have their effect, or are only counted and logged.
    pub mode: Mode,
    /// Which lists the relay publishes, signed with its own key.
    pub publish: Vec<ListKind>,
    /// Which bans are published, and what of their reasons.
    pub reasons: Reasons,
    /// Relays whose lists are followed; where several know somebody the first one counts.
    pub follow: Vec<Follow>,
}

/// What a list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ListKind {
    /// People who are banned.
    Pubkeys,
    /// Domains that are blocked.
    Domains,
}

/// Which bans are published, and what of their reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reasons {
    /// Bans whose reason begins with `public:`, with what follows that word.
    #[default]
    Public,
    /// All, each with its reason.
    All,
    /// All, without reasons.
    None,
}

/// `[[shared_lists.follow]]`: lists of one relay.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Follow {
    /// Where they are read, as ws:// or wss://.
    pub relay: String,
    /// Who signs them.
    pub pubkey: String,
    /// Which of them.
    #[serde(default = "both")]
    pub lists: Vec<ListKind>,
    /// What becomes of new events of who, or what, is on them.
    #[serde(default)]
    pub on: Effect,
    /// Days after which a list counts no more that was not found at its relay again.
    #[serde(default = "expires_days")]
    pub expires_days: u32,
    /// Entries that a list may have; a longer one is refused as a whole.
    #[serde(default = "entries_max")]
    pub entries_max: usize,
}

/// What becomes of new events of who is on a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// They are not taken.
    #[default]
    Refuse,
    /// They are taken, and shown to their authors and to who manages the community.
    Hide,
    /// They are taken and shown, and wait for a moderator.
    Flag,
}

fn both() -> Vec<ListKind> {
    ListKind::ALL.to_vec()
}

fn expires_days() -> u32 {
    30
}

fn entries_max() -> usize {
    10_000
}

impl Settings {
    /// Whether the relay has a key of its own here: one that is named, or made where it is needed.
    pub fn has_own_key(&self) -> bool {
        self.relay.secret_key_file.is_some() || self.nip29.enabled || self.nip43.enabled
    }
}

impl ListKind {
    /// All that there are.
    pub const ALL: [ListKind; 2] = [ListKind::Pubkeys, ListKind::Domains];

    /// Its `d` tag.
    pub const fn identifier(self) -> &'static str {
        match self {
            ListKind::Pubkeys => "banned-pubkeys",
            ListKind::Domains => "blocked-domains",
        }
    }

    /// The list of this `d` tag.
    pub fn of_identifier(identifier: &str) -> Option<ListKind> {
        Self::ALL.into_iter().find(|kind| kind.identifier() == identifier)
    }
}

impl Follow {
    /// Who signs the lists.
    pub fn key(&self) -> Option<PublicKey> {
        parse_key(&self.pubkey).ok()
    }

    /// The relay's host, as people call it.
    pub fn host(&self) -> &str {
        let bare = self.relay.split_once("://").map_or(&*self.relay, |(_, bare)| bare);
        bare.trim_end_matches('/')
    }

    /// The first thing that is wrong with it, and what to do.
    fn fault(&self) -> Option<(String, &'static str)> {
        if let Some(problem) = url_problem(&self.relay, ["wss", "ws"]) {
            return Some((format!("relay {problem}"), "write for example relay = \"wss://relay.example\""));
        }
        if let Err(problem) = parse_key(&self.pubkey) {
            return Some((format!("pubkey is wrong: {problem}"), "write the key that signs the lists"));
        }
        if self.lists.is_empty() {
            return Some(("lists names none".to_owned(), "write lists = [\"pubkeys\", \"domains\"]"));
        }
        let between = |name: &str, number: usize, most: usize| {
            (number < 1 || number > most)
                .then(|| (format!("{name} must be from 1 to {most}, but is {number}"), "change it"))
        };
        between("expires_days", self.expires_days as usize, EXPIRES_DAYS_MAX as usize)
            .or_else(|| between("entries_max", self.entries_max, LIST_ENTRIES_MAX))
    }
}

impl SharedLists {
    /// Whether lists of this kind are followed that have such an effect.
    pub fn follows(&self, wanted: impl Fn(&Follow) -> bool) -> bool {
        self.follow.iter().any(wanted)
    }

    /// What must hold besides. `has_key`: whether the relay has a key of its own under these settings.
    pub(in crate::config) fn check(&self, has_key: bool) -> Result<(), SectionFault> {
        let fault = |key, problem: String, remedy: &str| {
            Err(SectionFault { key, problem, remedy: remedy.to_owned() })
        };
        if !self.publish.is_empty() && !has_key {
            let problem = "needs the relay's own key, which signs the lists".to_owned();
            let remedy = "name a file with it in relay.secret_key_file; `plaza key FILE` makes one";
            return fault("shared_lists.publish", problem, remedy);
        }
        if self.follow.len() > FOLLOW_MAX {
            let problem = format!("names more than {FOLLOW_MAX} relays");
            return fault("shared_lists.follow", problem, "leave some of them out");
        }
        for (at, follow) in self.follow.iter().enumerate() {
            if let Some((problem, remedy)) = follow.fault() {
                return fault("shared_lists.follow", format!("of table {}, {problem}", at + 1), remedy);
            }
            let is_same = |other: &&Follow| {
                other.key() == follow.key() && other.lists.iter().any(|kind| follow.lists.contains(kind))
            };
            if let Some(other) = self.follow[..at].iter().position(|other| is_same(&other)) {
                let problem = format!("of table {}, table {} has a list already", at + 1, other + 1);
                return fault("shared_lists.follow", problem, "name each list of a key once");
            }
        }
        Ok(())
    }
}
