//! What moderators have decided by hand: who and what is banned or allowed, and who they are. In: decisions, from
//! whoever keeps them. Out: look-ups. Never decides who may decide.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::{Id, Kind, PublicKey};

/// What a moderator says of somebody or something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Welcome, whatever else is said.
    Allowed,
    /// Neither taken nor shown.
    Banned,
}

/// A moderator's decision, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// What was decided.
    pub standing: Standing,
    /// Why, in the moderator's words; may be empty.
    #[serde(default)]
    pub reason: String,
    /// Who decided, as a public key in hex.
    pub by: String,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// A role beside those that give power (NIP-86): what a client shows next to a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Role {
    /// Its name for people.
    #[serde(default)]
    pub label: String,
    /// What it means.
    #[serde(default)]
    pub description: String,
    /// A colour, as clients read it.
    #[serde(default)]
    pub color: String,
    /// Its place among the others.
    #[serde(default)]
    pub order: i64,
}

/// What a person was given: roles, and single methods of the management API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Duties {
    /// Ids of roles.
    #[serde(default)]
    pub roles: BTreeSet<String>,
    /// Names of methods.
    #[serde(default)]
    pub methods: BTreeSet<String>,
}

/// How much a person may do; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rank {
    /// No more than anybody.
    Nobody,
    /// Bans and allows people and events.
    Moderator,
    /// Also decides about kinds, addresses, names, roles and moderators.
    Admin,
    /// Also makes admins; named in the settings.
    Owner,
}

/// The id of the role of moderators.
pub const MODERATOR: &str = "moderator";

/// The id of the role of admins.
pub const ADMIN: &str = "admin";

/// What takes the place of a community's own texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// Instead of `relay.name`.
    pub name: Option<String>,
    /// Instead of `relay.description`.
    pub description: Option<String>,
    /// Instead of `relay.icon`.
    pub icon: Option<String>,
}

/// A setting that was changed by hand (nips/86.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjusted {
    /// What counts in place of the value in relay.toml.
    pub value: Value,
    /// Who changed it, as a public key in hex.
    pub by: String,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// A decision that the reports about a person call for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dismissal {
    /// It is about reports whose number in the store is lower: what is reported later counts again.
    pub below: u64,
    /// Why, in the moderator's words; may be empty.
    #[serde(default)]
    pub reason: String,
    /// Who decided, as a public key in hex.
    pub by: String,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// What the moderation service called an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The label.
    pub label: String,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
    /// Who gave it, as a public key in hex.
    pub by: String,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// A code with which people become members (NIP-43).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Who gives it away, as a public key in hex.
    pub by: String,
    /// When it was made, in seconds since 1970.
    pub at: u64,
    /// From when on it lets nobody in, in seconds since 1970.
    pub until: u64,
    /// How many people it still lets in.
    pub left: u32,
}

/// All that moderators decided. The default bans and allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moderation {
    /// By author.
    pub authors: HashMap<PublicKey, Ruling>,
    /// By event.
    pub events: HashMap<Id, Ruling>,
    /// By kind.
    pub kinds: BTreeMap<Kind, Ruling>,
    /// By network from which clients come; all are bans.
    pub addresses: BTreeMap<IpNet, Ruling>,
    /// Roles that were made, by id.
    pub roles: BTreeMap<String, Role>,
    /// Who was given what.
    pub staff: HashMap<PublicKey, Duties>,
    /// Names at this community's domain (NIP-05) and whose they are.
    pub names: BTreeMap<String, PublicKey>,
    /// Texts that took the place of the settings'.
    pub about: About,
    /// Settings that were changed, by their keys in relay.toml.
    pub settings: BTreeMap<String, Adjusted>,
    /// Whose reports were put aside.
    pub dismissed: HashMap<PublicKey, Dismissal>,
    /// Labels by event; a later one takes the place of the one before.
    pub labels: HashMap<Id, Label>,
    /// People whom moderators let be, whatever lists of other relays say of them.
    pub spared: HashMap<PublicKey, Ruling>,
    /// Codes with which people become members.
    pub claims: BTreeMap<String, Claim>,
}

impl Moderation {
    /// What was decided of an author.
    pub fn author(&self, key: &PublicKey) -> Option<Standing> {
        if self.authors.is_empty() { None } else { self.authors.get(key).map(|ruling| ruling.standing) }
    }

    /// What was decided of an event.
    pub fn event(&self, id: &Id) -> Option<Standing> {
        if self.events.is_empty() { None } else { self.events.get(id).map(|ruling| ruling.standing) }
    }

    /// What was decided of a kind.
    pub fn kind(&self, kind: Kind) -> Option<Standing> {
        self.kinds.get(&kind).map(|ruling| ruling.standing)
    }

    /// Whether an event, or its author, is banned. An event that is allowed by itself is not, whoever wrote it.
    pub fn bans(&self, id: &Id, author: &PublicKey) -> bool {
        match self.event(id) {
            Some(standing) => standing == Standing::Banned,
            None => self.author(author) == Some(Standing::Banned),
        }
    }

    /// Whether there is somebody or something that could be banned.
    pub fn may_ban(&self) -> bool {
        !self.authors.is_empty() || !self.events.is_empty()
    }

    /// Whether an event, or its author, is welcome whatever is said of them elsewhere.
    pub fn allows(&self, id: &Id, author: &PublicKey) -> bool {
        match self.event(id) {
            Some(standing) => standing == Standing::Allowed,
            None => self.author(author) == Some(Standing::Allowed),
        }
    }

    /// Whether a report about a person, which has this number in the store, was put aside.
    pub fn dismisses(&self, key: &PublicKey, number: u64) -> bool {
        !self.dismissed.is_empty()
            && self.dismissed.get(key).is_some_and(|dismissal| number < dismissal.below)
    }

    /// Whether clients from an address are turned away.
    pub fn blocks(&self, address: IpAddr) -> bool {
        self.addresses.keys().any(|network| network.contains(&address))
    }

    /// How much a person was given to do, owners aside.
    pub fn rank(&self, key: &PublicKey) -> Rank {
        match self.staff.get(key).filter(|_| self.author(key) != Some(Standing::Banned)) {
            Some(duties) if duties.roles.contains(ADMIN) => Rank::Admin,
            Some(duties) if duties.roles.contains(MODERATOR) => Rank::Moderator,
            _ => Rank::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruling(standing: Standing) -> Ruling {
        Ruling { standing, reason: String::new(), by: String::new(), at: 0 }
    }

    #[test]
    fn what_is_said_of_an_event_counts_before_what_is_said_of_its_author() {
        use Standing::{Allowed, Banned};
        let (id, author) = (Id([1; 32]), PublicKey([2; 32]));
        let table = [
            (None, None, false, false),
            (None, Some(Banned), true, false),
            (None, Some(Allowed), false, true),
            (Some(Banned), None, true, false),
            (Some(Banned), Some(Allowed), true, false),
            (Some(Allowed), Some(Banned), false, true),
        ];
        for (of_event, of_author, bans, allows) in table {
            let mut moderation = Moderation::default();
            moderation.events.extend(of_event.map(|standing| (id, ruling(standing))));
            moderation.authors.extend(of_author.map(|standing| (author, ruling(standing))));
            let said = (moderation.bans(&id, &author), moderation.allows(&id, &author));
            assert_eq!(said, (bans, allows), "{of_event:?}, {of_author:?}");
        }
    }

    #[test]
    fn a_blocked_network_holds_its_addresses_alone() {
        let mut moderation = Moderation::default();
        for network in ["192.0.2.0/24", "2001:db8::/48", "198.51.100.7/32"] {
            moderation.addresses.insert(network.parse().expect("a network"), ruling(Standing::Banned));
        }
        let table = [
            ("192.0.2.9", true),
            ("192.0.3.9", false),
            ("2001:db8::9", true),
            ("2001:db9::9", false),
            ("198.51.100.7", true),
            ("198.51.100.8", false),
        ];
        for (address, blocked) in table {
            assert_eq!(moderation.blocks(address.parse().expect("an address")), blocked, "{address}");
        }
    }
}
