//! A hash table of bare ordinals, whose keys lie elsewhere. Split into shards, so that growing moves a
//! part of the entries at a time and never holds up the writer for all of them.

use hashbrown::HashTable;

const SHARDS: usize = 256;

/// Ordinals by the hash of what they stand for. The hashes must be keyed: ids can be chosen.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// None before the first entry: a process may hold many communities in which nothing is stored.
    shards: Vec<HashTable<u32>>,
}

/// The table inside takes its bits from the top and the bottom, so the shard is taken from between.
fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

impl Table {
    /// The ordinal with this hash that `is_it`.
    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut is_it = is_it;
        self.shards.get(shard_of(hash))?.find(hash, |&ordinal| is_it(ordinal)).copied()
    }

    /// Adds an ordinal that is not in the table.
    pub(super) fn insert(&mut self, hash: u64, ordinal: u32, rehash: impl Fn(u32) -> u64) {
        if self.shards.is_empty() {
            self.shards.resize_with(SHARDS, HashTable::new);
        }
        self.shards[shard_of(hash)].insert_unique(hash, ordinal, |&ordinal| rehash(ordinal));
    }

    /// Takes an ordinal out; nothing happens when it is not there.
    pub(super) fn remove(&mut self, hash: u64, ordinal: u32) {
        let shard = self.shards.get_mut(shard_of(hash));
        if let Some(Ok(entry)) = shard.map(|shard| shard.find_entry(hash, |&other| other == ordinal)) {
            entry.remove();
        }
    }
}
