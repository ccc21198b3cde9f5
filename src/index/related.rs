//! Finds what rules that look at stored events ask for. In: a [`Want`]. Out: places in the store, what
//! arrived last first. The writer alone asks.

use super::{Index, RowTags, Stored};
use crate::nips::nip09::parse_address;
use std::sync::Arc;

use crate::event::{Kind, PublicKey};
use crate::rule::groups::Labeller;
use crate::rule::{References, Want};
use crate::store::Location;

/// Events of a group that are looked at for what another one refers to, and how many by others are counted.
const REFERENCES_SEEN_MAX: usize = 1_000;
const REFERENCES_OTHERS_MAX: usize = 50;

impl Index {
    /// Where the store keeps what a rule wants, those that arrived last first.
    pub fn wanted(&self, want: &Want) -> Vec<Location> {
        match want {
            Want::Id(id) => {
                self.ordinal_of(id).map(|ordinal| self.heads.location(ordinal)).into_iter().collect()
            }
            Want::Address(address) => {
                let stored = parse_address(address)
                    .and_then(|(kind, author, identifier)| self.at_address(&author, kind, identifier));
                stored.map(|ordinal| self.heads.location(ordinal)).into_iter().collect()
            }
            // It is counts and beginnings, which lie nowhere.
            Want::Usage | Want::References { .. } => Vec::new(),
            Want::Naming { kind, letter, value, most } => {
                let Some(number) = self.values.find_value(self.hashes.value(*letter, value)) else {
                    return Vec::new();
                };
                let ordinals = self.lists.iter(self.values.get(number).posting);
                self.last_arrived(ordinals.filter(|&ordinal| self.heads.get(ordinal).kind == *kind), *most)
            }
            Want::ByAuthor { author, kind, most } => {
                let author = self.authors.find(&self.hashes, author);
                let entry = author.and_then(|author| self.authors.kind(author, *kind));
                let posting = entry.map(|entry| entry.posting).unwrap_or_default();
                self.last_arrived(self.lists.iter(posting), *most)
            }
        }
    }

    /// Makes of a tag's letter and value what stands for it in here, for as long as this index lives.
    pub fn labeller(&self) -> Labeller {
        let hashes = self.hashes.clone();
        Labeller(Arc::new(move |letter, value| hashes.value(letter, value).label()))
    }

    /// Which of these beginnings those of a group's latest events have, and how many of these are by others.
    pub fn references(&self, group: &str, author: &PublicKey, beginnings: &[[u8; 4]]) -> References {
        let mut references = References::default();
        let number = self.values.find_value(self.hashes.value(b'h', group));
        let posting = number.map(|number| self.values.get(number).posting).unwrap_or_default();
        for ordinal in self.lists.iter(posting).take(REFERENCES_SEEN_MAX) {
            let is_by_other = self.authors.key(self.heads.get(ordinal).author) != author;
            if is_by_other && references.by_others < REFERENCES_OTHERS_MAX {
                references.by_others += 1;
            }
            let beginning = self.heads.id(ordinal).0.first_chunk::<4>().copied().unwrap_or_default();
            if beginnings.contains(&beginning) && !references.found.contains(&beginning) {
                references.found.push(beginning);
            }
            if references.found.len() == beginnings.len() && references.by_others >= REFERENCES_OTHERS_MAX {
                break;
            }
        }
        references
    }

    /// Up to `most` events that have a tag, those of one kind aside.
    pub fn tagged(&self, letter: u8, value: &str, but: Kind, most: usize) -> Vec<Stored> {
        let number = self.values.find_value(self.hashes.value(letter, value));
        let posting = number.map(|number| self.values.get(number).posting).unwrap_or_default();
        let ordinals = self.lists.iter(posting).filter(|&ordinal| self.heads.get(ordinal).kind != but);
        ordinals.take(most).map(|ordinal| self.stored(ordinal)).collect()
    }

    /// The stored version of an address.
    pub fn stored_version(&self, author: &PublicKey, kind: Kind, identifier: &str) -> Option<Stored> {
        self.at_address(author, kind, identifier).map(|ordinal| self.stored(ordinal))
    }

    /// The event of an id.
    pub fn stored_event(&self, id: &crate::event::Id) -> Option<Stored> {
        self.ordinal_of(id).map(|ordinal| self.stored(ordinal))
    }

    /// When an event that is in the index was made.
    pub fn made_at(&self, stored: Stored) -> u64 {
        self.heads.created_at(stored.ordinal)
    }

    /// Those of the highest numbers. What has vanished and waits to be swept does not count.
    fn last_arrived(&self, ordinals: impl Iterator<Item = u32>, most: usize) -> Vec<Location> {
        let is_there = |&ordinal: &u32| {
            let row = self.heads.get(ordinal);
            !self.head(ordinal, &RowTags { index: self, row, ordinal }).vanished
        };
        let mut found: Vec<Location> =
            ordinals.filter(is_there).map(|ordinal| self.heads.location(ordinal)).collect();
        found.sort_unstable_by_key(|location| std::cmp::Reverse(location.number));
        found.truncate(most);
        found
    }
}
