//! What NIP-29 makes of a sequence of events, as naively as can be: groups of one person's making, and which events are
//! there. In: events in the order in which they take effect. Out: whether each is taken, and what is so afterwards.
//! Shares nothing with the relay's own rules.

use std::collections::{BTreeMap, BTreeSet};

use plaza::event::{Event, Id, PublicKey};
use serde_json::{Value, json};

/// One group.
#[derive(Clone, Default)]
pub(crate) struct Square {
    /// Who is in it, by key in hex, with their roles.
    pub(crate) roles: BTreeMap<String, Vec<String>>,
    /// What it is: the tags of its metadata that were set.
    pub(crate) about: Vec<Vec<String>>,
    /// Codes, and the events that made them.
    pub(crate) codes: BTreeMap<String, Id>,
    pub(crate) pins: Vec<String>,
    /// What was written to it, and by whom.
    pub(crate) chats: BTreeMap<Id, PublicKey>,
    pub(crate) has_ended: bool,
    /// All events that are there.
    all: BTreeSet<Id>,
}

/// All groups of one writer, and the events that are there.
#[derive(Clone, Default)]
pub(crate) struct Squares {
    pub(crate) groups: BTreeMap<String, Square>,
    /// Requests to delete, which are for no group.
    requests: BTreeSet<Id>,
}

fn values(event: &Event, name: &str) -> Vec<String> {
    event.tags.values(name).map(str::to_owned).collect()
}

/// The fields of metadata, in the order in which the relay tells them.
fn about(event: &Event) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for name in ["name", "private", "restricted", "hidden", "closed"] {
        let tag = event.tags.iter().find(|tag| tag.name() == name);
        found.extend(tag.map(|tag| tag.iter().map(str::to_owned).collect()));
    }
    found
}

impl Square {
    fn is(&self, flag: &str) -> bool {
        self.about.iter().any(|tag| tag[0] == flag)
    }

    /// 2 for an admin, 1 for a moderator, else 0.
    fn power(&self, key: &str) -> u8 {
        let roles = self.roles.get(key).map(Vec::as_slice).unwrap_or_default();
        power(roles)
    }

    /// What the relay says of it, as kind and tags without the group's id.
    pub(crate) fn told(&self) -> BTreeMap<u64, Value> {
        if self.has_ended {
            return BTreeMap::new();
        }
        let managers = self.roles.iter().filter(|(_, roles)| power(roles) > 0);
        let managers: Vec<Vec<String>> = managers
            .map(|(key, roles)| ["p", key].into_iter().map(str::to_owned).chain(roles.clone()).collect())
            .collect();
        let members: Vec<[&str; 2]> = self.roles.keys().map(|key| ["p", key.as_str()]).collect();
        let pins: Vec<[&str; 2]> = self.pins.iter().map(|id| ["e", id.as_str()]).collect();
        let mut told = BTreeMap::from([
            (39_000, json!(self.about)),
            (39_001, json!(managers)),
            (39_002, json!(members)),
        ]);
        if !pins.is_empty() {
            told.insert(39_005, json!(pins));
        }
        told
    }

    /// Takes an event that manages it, or is for it, if it may.
    fn take(&mut self, event: &Event) -> bool {
        let author = event.pubkey.to_string();
        let (own, is_in) = (self.power(&author), self.roles.contains_key(&author));
        let people: Vec<&str> = event.tags.values("p").collect();
        let all_plain = people.iter().all(|key| self.power(key) == 0);
        let person = event.tags.iter().find(|tag| tag.name() == "p");
        let roles: Vec<String> =
            person.map_or(Vec::new(), |tag| tag.iter().skip(2).map(str::to_owned).collect());
        let code = event.tags.values("code").next().unwrap_or_default();
        let ids: Vec<Id> = event.tags.values("e").filter_map(Id::from_hex).collect();
        let is_removable =
            |id: &Id| self.chats.contains_key(id) || self.codes.values().any(|made_by| made_by == id);
        let may = match event.kind.0 {
            9_000 => own == 2 || own == 1 && all_plain && power(&roles) == 0,
            9_001 => own == 2 || own == 1 && all_plain,
            9_002 | 9_008 => own == 2,
            9_005 => own > 0 && ids.iter().all(is_removable),
            9_009 | 9_010 => own > 0,
            9_021 => !is_in && (!self.is("closed") || self.codes.contains_key(code)),
            9_022 => is_in,
            _ => is_in || !self.is("restricted"),
        };
        if may {
            self.carry_out(event, &author, roles, &ids);
        }
        may
    }

    fn carry_out(&mut self, event: &Event, author: &str, roles: Vec<String>, ids: &[Id]) {
        self.all.insert(event.id);
        let people: Vec<String> = values(event, "p");
        match event.kind.0 {
            9_000 => drop(self.roles.insert(people[0].clone(), roles)),
            9_001 => drop(self.roles.remove(&people[0])),
            9_002 => self.about = about(event),
            9_005 => {
                self.codes.retain(|_, made_by| !ids.contains(made_by));
                ids.iter().for_each(|id| self.forget(id));
            }
            9_008 => {
                self.has_ended = true;
                self.all = BTreeSet::from([event.id]);
            }
            9_009 => drop(self.codes.insert(values(event, "code")[0].clone(), event.id)),
            9_010 => self.pins = values(event, "e"),
            9_021 => drop(self.roles.insert(author.to_owned(), Vec::new())),
            9_022 => drop(self.roles.remove(author)),
            _ => drop(self.chats.insert(event.id, event.pubkey)),
        }
    }

    /// An event is there no more.
    fn forget(&mut self, id: &Id) {
        self.chats.remove(id);
        self.all.remove(id);
    }
}

fn power(roles: &[String]) -> u8 {
    match roles {
        roles if roles.iter().any(|role| role == "admin") => 2,
        roles if roles.iter().any(|role| role == "moderator") => 1,
        _ => 0,
    }
}

impl Squares {
    /// Takes an event; whether it may be.
    pub(crate) fn take(&mut self, event: &Event) -> bool {
        if event.kind.0 == 5 {
            for id in event.tags.values("e").filter_map(Id::from_hex) {
                let own = |square: &&mut Square| square.chats.get(&id) == Some(&event.pubkey);
                self.groups.values_mut().filter(own).for_each(|square| square.forget(&id));
            }
            return self.requests.insert(event.id);
        }
        let id = event.tags.values("h").next().expect("a group");
        if event.kind.0 == 9_007 {
            if self.groups.contains_key(id) {
                return false;
            }
            let mut square = Square { about: about(event), ..Square::default() };
            square.roles.insert(event.pubkey.to_string(), vec!["admin".to_owned()]);
            square.all.insert(event.id);
            self.groups.insert(id.to_owned(), square);
            return true;
        }
        self.groups.get_mut(id).is_some_and(|square| !square.has_ended && square.take(event))
    }

    /// Whether an event is there.
    pub(crate) fn has(&self, id: &Id) -> bool {
        self.requests.contains(id) || self.groups.values().any(|square| square.all.contains(id))
    }

    /// How many events are there.
    pub(crate) fn len(&self) -> usize {
        self.requests.len() + self.groups.values().map(|square| square.all.len()).sum::<usize>()
    }
}
