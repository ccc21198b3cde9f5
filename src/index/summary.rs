//! What an index holds, in numbers: for operators, and for whoever keeps bounds on it. In: an index. Out: counts
//! that cost no look at the events.

use super::Index;
use super::lists::Posting;
use crate::event::Kind;

/// What a community has stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Events.
    pub events: u64,
    /// How many there are of each kind, those with most events first.
    pub kinds: Vec<(Kind, u64)>,
    /// People who wrote them.
    pub authors: u64,
    /// `created_at` of the oldest and of the newest.
    pub times: Option<(u64, u64)>,
    /// About how many bytes their records take in the store.
    pub record_bytes: u64,
    /// Bytes of memory that the index takes.
    pub index_bytes: u64,
}

impl Index {
    /// What is stored, in numbers.
    pub fn summary(&self) -> Summary {
        let len = |posting: &Posting| self.lists.len(*posting) as u64;
        let mut kinds: Vec<(Kind, u64)> =
            self.kinds.iter().map(|(kind, posting)| (*kind, len(posting))).collect();
        kinds.sort_by_key(|&(kind, count)| (std::cmp::Reverse(count), kind));
        let time_of = |ordinal: u32| self.heads.created_at(ordinal);
        let oldest = self.lists.oldest_first(self.time).next().map(time_of);
        let newest = self.lists.iter(self.time).next().map(time_of);
        Summary {
            events: self.len() as u64,
            kinds,
            authors: self.authors.len() as u64,
            times: oldest.zip(newest),
            record_bytes: self.record_bytes,
            index_bytes: self.memory_bytes() as u64,
        }
    }

    /// Bytes of memory that the index takes, but for a few maps of what is rare.
    pub fn memory_bytes(&self) -> usize {
        let kinds = self.kinds.capacity() * size_of::<(Kind, Posting)>();
        let deletions = self.deletions.capacity() * size_of::<(u32, Posting)>();
        let expirations = self.expires_at.capacity() * size_of::<(u32, u64)>() * 2;
        size_of::<Index>()
            + self.heads.memory_bytes()
            + self.lists.memory_bytes()
            + self.tags.memory_bytes()
            + self.ids.memory_bytes()
            + self.authors.memory_bytes()
            + self.values.memory_bytes()
            + self.tallies.memory_bytes()
            + self.addresses.memory_bytes()
            + kinds
            + deletions
            + expirations
    }
}
