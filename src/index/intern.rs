//! Small numbers for what repeats: authors, author and kind together, and tag values. Each entry holds
//! its posting; an entry without events is given back.

use std::hash::{BuildHasher, Hasher, RandomState};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::lists::Posting;
use super::table::Table;
use crate::event::{Kind, PublicKey};

/// A tag's letter and a keyed 120-bit hash of its value. The key is drawn at start, so nobody can make
/// two values meet; values of any length cost the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ValueKey([u8; 16]);

impl ValueKey {
    /// The tag's letter.
    pub(super) fn letter(self) -> u8 {
        self.0[0]
    }

    fn hash(self) -> u64 {
        // The bytes are already a keyed hash.
        u64::from_le_bytes([
            self.0[8], self.0[9], self.0[10], self.0[11], self.0[12], self.0[13], self.0[14], self.0[15],
        ])
    }

    /// All bytes, to be hashed further.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The secret keys of this process's hashes.
#[derive(Debug, Clone)]
pub(super) struct Hashes {
    values: SipHasher13,
    state: RandomState,
}

impl Default for Hashes {
    fn default() -> Self {
        let state = RandomState::new();
        Self { values: SipHasher13::new_with_keys(state.hash_one(0), state.hash_one(1)), state }
    }
}

impl Hashes {
    /// A keyed 64-bit hash of an id or key.
    pub(super) fn bytes(&self, bytes: &[u8; 32]) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }

    /// A keyed hash of an author's kind.
    fn author_kind(&self, author: u32, kind: Kind) -> u64 {
        self.state.hash_one((author, kind.0))
    }

    /// The key of a tag value.
    pub(super) fn value(&self, letter: u8, value: &str) -> ValueKey {
        let mut hasher = self.values;
        hasher.write_u8(letter);
        hasher.write(value.as_bytes());
        let mut key = hasher.finish128().as_bytes();
        key[0] = letter;
        ValueKey(key)
    }

    /// The 128-bit key of an address, from the author, the kind and the key of its `d` value.
    pub(super) fn address(&self, kind: Kind, author: &PublicKey, identifier: ValueKey) -> [u8; 16] {
        let mut hasher = self.values;
        hasher.write_u16(kind.0);
        hasher.write(&author.0);
        hasher.write(identifier.bytes());
        hasher.finish128().as_bytes()
    }
}

/// An author and the postings of each kind that they wrote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Author {
    /// Whose events these are.
    pub(super) key: PublicKey,
    /// Numbers of the author's [`AuthorKind`]s, in no order.
    pub(super) kinds: Posting,
}

/// One author's events of one kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct AuthorKind {
    author: u32,
    /// The kind.
    pub(super) kind: Kind,
    /// The events.
    pub(super) posting: Posting,
}

/// A tag value and the events that carry it.
#[derive(Debug, Clone, Copy)]
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

impl<T: Copy> Interner<T> {
    /// The entry of this number.
    pub(super) fn get(&self, number: u32) -> &T {
        &self.entries[number as usize]
    }

    /// The entry of this number, to change anything but its key.
    pub(super) fn get_mut(&mut self, number: u32) -> &mut T {
        &mut self.entries[number as usize]
    }

    fn find(&self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<u32> {
        self.table.find(hash, |number| is_it(&self.entries[number as usize]))
    }

    fn add(&mut self, hash: u64, entry: T, rehash: impl Fn(&T) -> u64) -> u32 {
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

    fn drop_entry(&mut self, hash: u64, number: u32) {
        self.table.remove(hash, number);
        self.free.push(number);
    }
}

impl Interner<Author> {
    /// The number of an author who has events.
    pub(super) fn find_author(&self, hashes: &Hashes, key: &PublicKey) -> Option<u32> {
        self.find(hashes.bytes(&key.0), |author| author.key == *key)
    }

    /// The number of an author, new when need be.
    pub(super) fn intern_author(&mut self, hashes: &Hashes, key: &PublicKey) -> u32 {
        self.find_author(hashes, key).unwrap_or_else(|| {
            let author = Author { key: *key, kinds: Posting::default() };
            self.add(hashes.bytes(&key.0), author, |author| hashes.bytes(&author.key.0))
        })
    }

    /// Gives back an author without events.
    pub(super) fn drop_author(&mut self, hashes: &Hashes, number: u32) {
        let hash = hashes.bytes(&self.get(number).key.0);
        self.drop_entry(hash, number);
    }
}

impl Interner<AuthorKind> {
    /// The number of an author's kind that has events.
    pub(super) fn find_kind(&self, hashes: &Hashes, author: u32, kind: Kind) -> Option<u32> {
        self.find(hashes.author_kind(author, kind), |entry| entry.author == author && entry.kind == kind)
    }

    /// Adds an author's kind that is not there.
    pub(super) fn add_kind(&mut self, hashes: &Hashes, author: u32, kind: Kind) -> u32 {
        let entry = AuthorKind { author, kind, posting: Posting::default() };
        self.add(hashes.author_kind(author, kind), entry, |entry| {
            hashes.author_kind(entry.author, entry.kind)
        })
    }

    /// Gives back an author's kind without events.
    pub(super) fn drop_kind(&mut self, hashes: &Hashes, number: u32) {
        let entry = *self.get(number);
        self.drop_entry(hashes.author_kind(entry.author, entry.kind), number);
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
