//! Small numbers for what repeats: authors and tag values. An entry without events is given back.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};

use siphasher::sip::SipHasher13;
use siphasher::sip128::{self, Hasher128};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::bytes::{Plain, Sink, Source, check, check_free};
use super::lists::Posting;
use super::snapshot::SnapshotError;
use super::table::Table;
use crate::event::Kind;
use crate::rule::Label;

/// A tag's letter and a keyed 88-bit hash of its value. The key is secret, so nobody can make two values meet;
/// by chance two of a thousand million do in one of six hundred million relays. Values of any length cost the
/// same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable)]
#[repr(transparent)]
pub(super) struct ValueKey([u8; 12]);

impl ValueKey {
    /// What stands for it outside of the index.
    pub(super) fn label(self) -> Label {
        Label(self.0)
    }

    /// The tag's letter.
    pub(super) fn letter(self) -> u8 {
        self.0[0]
    }

    fn hash(self) -> u64 {
        // The bytes are already a keyed hash.
        u64::from_le_bytes([
            self.0[4], self.0[5], self.0[6], self.0[7], self.0[8], self.0[9], self.0[10], self.0[11],
        ])
    }
}

/// The secret keys of an index's hashes, drawn when it is made. A snapshot keeps them: ids and values can be
/// chosen by strangers, who must not know where they fall.
#[derive(Debug, Clone)]
pub(super) struct Hashes {
    keys: [u64; 4],
    ids: SipHasher13,
    values: sip128::SipHasher13,
}

impl Default for Hashes {
    fn default() -> Self {
        let (one, other) = (RandomState::new(), RandomState::new());
        Self::new([one.hash_one(0), one.hash_one(1), other.hash_one(0), other.hash_one(1)])
    }
}

impl Hashes {
    pub(super) fn new(keys: [u64; 4]) -> Self {
        let [one, two, three, four] = keys;
        Self {
            keys,
            ids: SipHasher13::new_with_keys(one, two),
            values: sip128::SipHasher13::new_with_keys(three, four),
        }
    }

    /// What makes the same hashes again.
    pub(super) fn keys(&self) -> [u64; 4] {
        self.keys
    }

    /// A keyed 64-bit hash of an id or key.
    pub(super) fn bytes(&self, bytes: &[u8; 32]) -> u64 {
        self.ids.hash(bytes)
    }

    /// The key of a tag value.
    pub(super) fn value(&self, letter: u8, value: &str) -> ValueKey {
        let mut hasher = self.values;
        hasher.write_u8(letter);
        hasher.write(value.as_bytes());
        let hash = hasher.finish128();
        let mut key = [0; 12];
        key[..4].copy_from_slice(&hash.h1.to_le_bytes()[..4]);
        key[4..].copy_from_slice(&hash.h2.to_le_bytes());
        key[0] = letter;
        ValueKey(key)
    }

    /// A keyed hash of an address: the number of its author, its kind and the key of its `d` value.
    pub(super) fn address(&self, author: u32, kind: Kind, identifier: ValueKey) -> u64 {
        let mut hasher = self.ids;
        hasher.write_u64(u64::from(author) << 16 | u64::from(kind.0));
        hasher.write_u64(identifier.hash());
        hasher.finish()
    }
}

/// A tag value and the events that carry it.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Value {
    /// Letter and hash.
    pub(super) key: ValueKey,
    /// The events.
    pub(super) posting: Posting,
}

/// Entries by number, with a table from key to number; numbers of removed entries are used again.
#[derive(Debug)]
pub(super) struct Interner<T> {
    entries: Vec<T>,
    free: Vec<u32>,
    table: Table,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new(), table: Table::default() }
    }
}

impl<T: Plain> Interner<T> {
    /// All entries, those that were given back among them.
    pub(super) fn entries(&self) -> &[T] {
        &self.entries
    }

    /// How many entries are in use.
    pub(super) fn len(&self) -> usize {
        // A snapshot that was made to deceive may have numbers given back twice.
        self.entries.len().saturating_sub(self.free.len())
    }

    /// Bytes of memory that all of it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<T>()
            + self.free.capacity() * size_of::<u32>()
            + self.table.memory_bytes()
    }

    pub(super) fn write<W: Write>(&self, sink: &mut Sink<'_, W>) -> io::Result<()> {
        sink.array(&self.entries)?;
        sink.array(&self.free)?;
        self.table.write(sink)
    }

    pub(super) fn read<R: Read>(source: &mut Source<'_, R>) -> Result<Self, SnapshotError> {
        let (entries, free): (Vec<T>, Vec<u32>) = (source.array()?, source.array()?);
        check_free(&free, entries.len())?;
        let table = Table::read(source, entries.len())?;
        check(table.len() + free.len() == entries.len(), "a table")?;
        Ok(Self { entries, free, table })
    }

    /// The entry of this number.
    pub(super) fn get(&self, number: u32) -> &T {
        &self.entries[number as usize]
    }

    /// The entry of this number, to change anything but its key.
    pub(super) fn get_mut(&mut self, number: u32) -> &mut T {
        &mut self.entries[number as usize]
    }

    /// The number of an entry.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<u32> {
        self.table.find(hash, |number| is_it(&self.entries[number as usize]))
    }

    /// Adds an entry that is not there.
    pub(super) fn add(&mut self, hash: u64, entry: T, rehash: impl Fn(&T) -> u64) -> u32 {
        let number = match self.free.pop() {
            Some(number) => {
                self.entries[number as usize] = entry;
                number
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        let entries = &self.entries;
        self.table.insert(hash, number, |other| rehash(&entries[other as usize]));
        number
    }

    /// Gives an entry back.
    pub(super) fn drop_entry(&mut self, hash: u64, number: u32) {
        self.table.remove(hash, number);
        self.free.push(number);
    }
}

impl Interner<Value> {
    /// The number of a tag value that has events.
    pub(super) fn find_value(&self, key: ValueKey) -> Option<u32> {
        self.find(key.hash(), |value| value.key == key)
    }

    /// The number of a tag value, new when need be.
    pub(super) fn intern_value(&mut self, key: ValueKey) -> u32 {
        self.find_value(key).unwrap_or_else(|| {
            self.add(key.hash(), Value { key, posting: Posting::default() }, |value| value.key.hash())
        })
    }

    /// Gives back a value without events.
    pub(super) fn drop_value(&mut self, number: u32) {
        let hash = self.get(number).key.hash();
        self.drop_entry(hash, number);
    }
}
