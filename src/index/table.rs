//! A hash table of bare ordinals, whose keys lie elsewhere: 5 bytes a place. In: hashes and ordinals. Out:
//! ordinals. It grows a shard at a time and by less than a half, so that little lies empty and nothing holds up
//! the writer for long; and it is plain arrays, so that a snapshot can hold it as it is.

use std::io::{self, Read, Write};

use super::bytes::{Sink, Source, check};
use super::snapshot::SnapshotError;

/// Parts of a table that has more than [`ALONE_MAX`] ordinals.
const SHARDS: usize = 256;

/// Ordinals up to which one shard does: a process may hold many communities in which little is stored.
const ALONE_MAX: usize = 2_048;

/// Of this many places one must be empty when something is added: looking for what is not there ends at the
/// first empty one.
const FULL: usize = 8;

/// The mark of a place that nothing was ever put in.
const EMPTY: u8 = 0;

/// The mark of a place of which something was taken out.
const REMOVED: u8 = 1;

/// Ordinals by the hash of what they stand for. The hashes must be keyed: ids can be chosen.
#[derive(Debug, Default)]
pub(super) struct Table {
    shards: Vec<Shard>,
    len: usize,
}

#[derive(Debug, Default)]
struct Shard {
    /// [`EMPTY`], [`REMOVED`], or a part of the hash.
    marks: Box<[u8]>,
    ordinals: Box<[u32]>,
    /// Places that are not [`EMPTY`].
    used: usize,
}

/// The parts of a hash that say where an ordinal is looked for: different bits for each.
fn shard_of(hash: u64, shards: usize) -> usize {
    (hash >> 40) as usize % shards
}

fn mark_of(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(REMOVED + 1)
}

/// Where in a shard an ordinal is looked for first.
fn start_of(hash: u64, places: usize) -> usize {
    (((hash & 0xffff_ffff) * places as u64) >> 32) as usize
}

impl Table {
    /// The ordinal with this hash that `is_it`.
    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.shards.is_empty() {
            return None;
        }
        let shard = &self.shards[shard_of(hash, self.shards.len())];
        shard.place_of(hash, is_it).map(|place| shard.ordinals[place])
    }

    /// Adds an ordinal that is not in the table. `rehash` says the hash of those that are.
    pub(super) fn insert(&mut self, hash: u64, ordinal: u32, rehash: impl Fn(u32) -> u64) {
        if self.shards.is_empty() {
            self.shards.push(Shard::default());
        } else if self.shards.len() == 1 && self.len == ALONE_MAX {
            self.split(&rehash);
        }
        let shards = self.shards.len();
        self.shards[shard_of(hash, shards)].insert(hash, ordinal, rehash);
        self.len += 1;
    }

    fn split(&mut self, rehash: impl Fn(u32) -> u64) {
        let mut shards: Vec<Shard> = std::iter::repeat_with(Shard::default).take(SHARDS).collect();
        for ordinal in self.shards.iter().flat_map(Shard::all) {
            let hash = rehash(ordinal);
            shards[shard_of(hash, SHARDS)].insert(hash, ordinal, &rehash);
        }
        self.shards = shards;
    }

    /// Takes an ordinal out; nothing happens when it is not there.
    pub(super) fn remove(&mut self, hash: u64, ordinal: u32) {
        let shards = self.shards.len();
        if shards > 0 && self.shards[shard_of(hash, shards)].remove(hash, ordinal) {
            self.len -= 1;
        }
    }

    /// How many ordinals there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory that all of it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let place = size_of::<u8>() + size_of::<u32>();
        self.shards.iter().map(|shard| size_of::<Shard>() + shard.marks.len() * place).sum()
    }

    pub(super) fn write<W: Write>(&self, sink: &mut Sink<'_, W>) -> io::Result<()> {
        sink.number(self.shards.len() as u64)?;
        self.shards.iter().try_for_each(|shard| {
            sink.array(&shard.marks)?;
            sink.values(&shard.ordinals)
        })
    }

    /// Reads a table of ordinals below `bound`.
    pub(super) fn read<R: Read>(source: &mut Source<'_, R>, bound: usize) -> Result<Self, SnapshotError> {
        let shards = source.number()?;
        check([0, 1, SHARDS as u64].contains(&shards), "a table")?;
        let mut table = Table::default();
        for _ in 0..shards {
            let marks: Box<[u8]> = source.array()?.into();
            let ordinals: Box<[u32]> = source.values(marks.len())?.into();
            let used = marks.iter().filter(|&&mark| mark != EMPTY).count();
            check(marks.is_empty() || used < marks.len(), "a table")?;
            check(ordinals.iter().all(|&ordinal| (ordinal as usize) < bound.max(1)), "a table")?;
            table.len += marks.iter().filter(|&&mark| mark > REMOVED).count();
            table.shards.push(Shard { marks, ordinals, used });
        }
        check(table.len <= bound, "a table")?;
        Ok(table)
    }
}

impl Shard {
    fn place_of(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<usize> {
        let (mark, len) = (mark_of(hash), self.marks.len());
        if len == 0 {
            return None;
        }
        let mut place = start_of(hash, len);
        loop {
            match self.marks[place] {
                EMPTY => return None,
                found if found == mark && is_it(self.ordinals[place]) => return Some(place),
                _ => place = if place + 1 == len { 0 } else { place + 1 },
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = u32> {
        let places = self.marks.iter().zip(&self.ordinals);
        places.filter(|(mark, _)| **mark > REMOVED).map(|(_, &ordinal)| ordinal)
    }

    fn insert(&mut self, hash: u64, ordinal: u32, rehash: impl Fn(u32) -> u64) {
        if (self.used + 1) * FULL > self.marks.len() * (FULL - 1) {
            let old = std::mem::take(self);
            let live = old.all().count();
            // Between two and three of four places are in use after this, and seven of eight before it.
            let places = (live + 1) * 3 / 2 + 2;
            (self.marks, self.ordinals) = (vec![EMPTY; places].into(), vec![0; places].into());
            old.all().for_each(|ordinal| self.put(rehash(ordinal), ordinal));
        }
        self.put(hash, ordinal);
    }

    /// Adds an ordinal where there is room.
    fn put(&mut self, hash: u64, ordinal: u32) {
        let len = self.marks.len();
        let mut place = start_of(hash, len);
        while self.marks[place] > REMOVED {
            place = if place + 1 == len { 0 } else { place + 1 };
        }
        self.used += usize::from(self.marks[place] == EMPTY);
        (self.marks[place], self.ordinals[place]) = (mark_of(hash), ordinal);
    }

    fn remove(&mut self, hash: u64, ordinal: u32) -> bool {
        let Some(mut place) = self.place_of(hash, |other| other == ordinal) else { return false };
        self.marks[place] = REMOVED;
        // What ends at an empty place anyway may as well end earlier.
        let len = self.marks.len();
        if self.marks[(place + 1) % len] == EMPTY {
            while self.marks[place] == REMOVED {
                self.marks[place] = EMPTY;
                self.used -= 1;
                place = (place + len - 1) % len;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A hash like any other, but for one in three, which nearly all have in common.
    fn hash(ordinal: u32) -> u64 {
        if ordinal.is_multiple_of(3) {
            return u64::MAX - u64::from(ordinal % 5);
        }
        u64::from(ordinal).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn a_table_agrees_with_a_set() {
        let seed: u64 = 0x7ab1e;
        let mut state = seed;
        let mut random = move |below: u32| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as u32) % below
        };
        let (mut table, mut set) = (Table::default(), BTreeSet::new());
        for step in 0..40_000 {
            // It grows, shrinks, and grows again.
            let ordinal = random(7_000);
            if random(10) < if (15_000..28_000).contains(&step) { 2 } else { 8 } {
                if set.insert(ordinal) {
                    table.insert(hash(ordinal), ordinal, hash);
                }
            } else {
                set.remove(&ordinal);
                table.remove(hash(ordinal), ordinal);
            }
            assert_eq!(table.len(), set.len(), "seed {seed}, step {step}");
            let other = random(7_000);
            let found = table.find(hash(other), |ordinal| ordinal == other);
            assert_eq!(found, set.get(&other).copied(), "seed {seed}, step {step}");
        }
        assert_eq!(table.shards.len(), SHARDS);
        let mut all: Vec<u32> = table.shards.iter().flat_map(Shard::all).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(set));
    }

    #[test]
    fn little_lies_empty() {
        let mut table = Table::default();
        for ordinal in 0..300_000 {
            table.insert(u64::from(ordinal).wrapping_mul(0x9e37_79b9_7f4a_7c15), ordinal, |other| {
                u64::from(other).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            });
            if ordinal % 20_000 == 19_999 {
                let places: usize = table.shards.iter().map(|shard| shard.marks.len()).sum();
                assert!(places * 64 < table.len() * 100, "{places} places for {}", table.len());
            }
        }
    }
}
