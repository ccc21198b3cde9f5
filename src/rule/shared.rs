//! Lists of other relays that a community follows (docs/lists.md): who and what is on them, and what becomes of it. In:
//! what was read of them, in the order of the settings. Out: look-ups. Never reads an event, never decides.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{Effect, ListKind};
use crate::domain::with_parents;
use crate::event::PublicKey;
use crate::nips::nip51::sets::{Listed, Why};

/// A list that is followed.
#[derive(Debug, Clone)]
pub struct SharedList {
    /// Who signs it.
    pub key: PublicKey,
    /// What it is about.
    pub kind: ListKind,
    /// The relay that publishes it, as people call it.
    pub relay: Arc<str>,
    /// What it is called.
    pub title: Arc<str>,
    /// What becomes of new events of who is on it.
    pub on: Effect,
    /// It counts up to this second since 1970.
    pub until: u64,
    /// Everything on it.
    pub entries: Arc<HashMap<Listed, Why>>,
}

/// All of them, the one that counts most first. The default has none.
#[derive(Debug, Clone, Default)]
pub struct SharedLists(pub Vec<SharedList>);

/// Where somebody or something was found.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Which list it is, from 0.
    pub place: usize,
    /// The list.
    pub list: &'a SharedList,
    /// The domain that is listed, where it is one.
    pub domain: Option<&'a str>,
    /// Why, and since when.
    pub why: &'a Why,
}

impl SharedLists {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that count at a time.
    fn alive(&self, now: u64) -> impl Iterator<Item = (usize, &SharedList)> {
        self.0.iter().enumerate().filter(move |(_, list)| now <= list.until)
    }

    /// The first list that a person is on.
    pub fn person(&self, key: &PublicKey, now: u64) -> Option<Found<'_>> {
        if self.is_empty() {
            return None;
        }
        let listed = Listed::Pubkey(*key);
        self.alive(now).find_map(|(place, list)| {
            let why = list.entries.get(&listed)?;
            Some(Found { place, list, domain: None, why })
        })
    }

    /// The first list that a normalized name, or one above it, is on.
    pub fn domain(&self, name: &str, now: u64) -> Option<Found<'_>> {
        let lists = self.alive(now).filter(|(_, list)| list.kind == ListKind::Domains);
        let mut lists = lists.peekable();
        lists.peek()?;
        let names: Vec<Listed> = with_parents(name).map(|name| Listed::Domain(name.into())).collect();
        lists.find_map(|(place, list)| {
            let (listed, why) = names.iter().find_map(|name| list.entries.get_key_value(name))?;
            let Listed::Domain(domain) = listed else { return None };
            Some(Found { place, list, domain: Some(domain), why })
        })
    }

    /// Whether some list that counts is about domains.
    pub fn knows_domains(&self, now: u64) -> bool {
        self.alive(now).any(|(_, list)| list.kind == ListKind::Domains)
    }

    /// People on lists that have an effect, in no order.
    pub fn people(&self, on: Effect, now: u64) -> impl Iterator<Item = &PublicKey> {
        let lists = self.alive(now).filter(move |(_, list)| list.on == on);
        lists.flat_map(|(_, list)| list.entries.keys()).filter_map(|listed| match listed {
            Listed::Pubkey(key) => Some(key),
            Listed::Domain(_) => None,
        })
    }
}
