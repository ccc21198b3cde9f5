//! Finds what rules that look at stored events ask for. In: a [`Want`]. Out: places in the store, what
//! arrived last first. The writer alone asks.

use super::{Index, RowTags};
use crate::nips::nip09::parse_address;
use crate::rule::Want;
use crate::store::Location;

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
            // It is counts, which lie nowhere.
            Want::Usage => Vec::new(),
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
