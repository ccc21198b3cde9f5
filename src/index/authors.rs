//! Authors by number, and for each one a block of the kinds that they wrote, so that a feed of many authors
//! touches one place for each. An author without events is given back.

use std::io::{self, Read, Write};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::arena::Arena;
use super::bytes::{Sink, Source, check};
use super::intern::{Hashes, Interner};
use super::lists::Posting;
use super::snapshot::SnapshotError;
use crate::event::{Kind, PublicKey};

/// An author and where their kinds are.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Author {
    key: PublicKey,
    kinds_at: u32,
    kinds_len: u32,
}

/// One author's events of one kind.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct AuthorKind {
    /// The kind.
    pub(super) kind: Kind,
    /// Fills the place that would lie empty.
    unused: u16,
    /// No event of the list is newer; the largest number says nothing.
    pub(super) newest: u32,
    /// The events.
    pub(super) posting: Posting,
}

/// All authors who have events.
#[derive(Debug, Default)]
pub(super) struct Authors {
    authors: Interner<Author>,
    kinds: Arena<AuthorKind>,
}

impl Authors {
    /// The number of an author who has events.
    pub(super) fn find(&self, hashes: &Hashes, key: &PublicKey) -> Option<u32> {
        self.authors.find(hashes.bytes(&key.0), |author| author.key == *key)
    }

    /// The number of an author, new when need be.
    pub(super) fn intern(&mut self, hashes: &Hashes, key: &PublicKey) -> u32 {
        self.find(hashes, key).unwrap_or_else(|| {
            let author = Author { key: *key, kinds_at: 0, kinds_len: 0 };
            self.authors.add(hashes.bytes(&key.0), author, |author| hashes.bytes(&author.key.0))
        })
    }

    /// Whose number it is.
    pub(super) fn key(&self, number: u32) -> &PublicKey {
        &self.authors.get(number).key
    }

    /// What an author wrote, in order of kinds.
    pub(super) fn kinds(&self, number: u32) -> &[AuthorKind] {
        let author = self.authors.get(number);
        match author.kinds_len {
            0 => &[],
            len => self.kinds.get(author.kinds_at, len as usize),
        }
    }

    /// What an author wrote of one kind.
    pub(super) fn kind(&self, number: u32, kind: Kind) -> Option<&AuthorKind> {
        let kinds = self.kinds(number);
        kinds.binary_search_by_key(&kind, |entry| entry.kind).ok().map(|at| &kinds[at])
    }

    /// An author's list of one kind, new when need be.
    pub(super) fn intern_kind(&mut self, number: u32, kind: Kind) -> &mut AuthorKind {
        let position = self.kinds(number).binary_search_by_key(&kind, |entry| entry.kind);
        let author = self.authors.get_mut(number);
        let len = author.kinds_len as usize;
        let (Ok(at) | Err(at)) = position;
        if position.is_err() {
            author.kinds_at = match len {
                0 => self.kinds.allocate(1),
                _ => self.kinds.resize(author.kinds_at, len, len + 1),
            };
            author.kinds_len += 1;
            let kinds = self.kinds.get_mut(author.kinds_at, len + 1);
            kinds.copy_within(at..len, at + 1);
            kinds[at] = AuthorKind { kind, unused: 0, newest: 0, posting: Posting::default() };
        }
        &mut self.kinds.get_mut(author.kinds_at, author.kinds_len as usize)[at]
    }

    /// Gives back an author's kind that has no events; true when it was the author's last one.
    pub(super) fn drop_kind(&mut self, hashes: &Hashes, number: u32, kind: Kind) -> bool {
        let Ok(at) = self.kinds(number).binary_search_by_key(&kind, |entry| entry.kind) else { return false };
        let author = self.authors.get_mut(number);
        let len = author.kinds_len as usize;
        author.kinds_len -= 1;
        if len == 1 {
            self.kinds.release(author.kinds_at, 1);
            let hash = hashes.bytes(&author.key.0);
            self.authors.drop_entry(hash, number);
            return true;
        }
        self.kinds.get_mut(author.kinds_at, len).copy_within(at + 1.., at);
        author.kinds_at = self.kinds.resize(author.kinds_at, len, len - 1);
        false
    }

    /// How many numbers are in use or were.
    pub(super) fn bound(&self) -> usize {
        self.authors.entries().len()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.authors.len()
    }

    /// Bytes of memory that all of it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.authors.memory_bytes() + self.kinds.memory_bytes()
    }

    pub(super) fn write<W: Write>(&self, sink: &mut Sink<'_, W>) -> io::Result<()> {
        self.authors.write(sink)?;
        self.kinds.write(sink)
    }

    pub(super) fn read<R: Read>(source: &mut Source<'_, R>) -> Result<Self, SnapshotError> {
        let read = Authors { authors: Interner::read(source)?, kinds: Arena::read(source)? };
        let has_place = |author: &Author| {
            author.kinds_len == 0 || read.kinds.fits(author.kinds_at, author.kinds_len as usize)
        };
        check(read.authors.entries().iter().all(has_place), "an author")?;
        Ok(read)
    }

    /// The lists of all authors.
    pub(super) fn postings(&self) -> impl Iterator<Item = Posting> {
        let numbers = 0..self.authors.entries().len() as u32;
        numbers.flat_map(|number| self.kinds(number)).map(|entry| entry.posting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stay_in_order_and_are_given_back() {
        let (hashes, mut authors) = (Hashes::default(), Authors::default());
        let keys = [PublicKey([1; 32]), PublicKey([2; 32])];
        let numbers = keys.map(|key| authors.intern(&hashes, &key));
        for kind in (0..40).map(|number| Kind(number * 7 % 40)) {
            for (number, times) in numbers.iter().zip([1, 2]) {
                (0..times).for_each(|_| authors.intern_kind(*number, kind).newest += 1);
            }
        }
        for (number, times) in numbers.iter().zip([1, 2]) {
            let kinds: Vec<(u16, u32)> =
                authors.kinds(*number).iter().map(|entry| (entry.kind.0, entry.newest)).collect();
            assert_eq!(kinds, (0..40).map(|kind| (kind, times)).collect::<Vec<_>>());
        }
        assert!(authors.kind(numbers[0], Kind(40)).is_none());
        assert!(!authors.drop_kind(&hashes, numbers[0], Kind(40)));
        for kind in 0..40 {
            assert_eq!(authors.drop_kind(&hashes, numbers[0], Kind(kind)), kind == 39);
        }
        assert_eq!(authors.find(&hashes, &keys[0]), None);
        assert_eq!(authors.find(&hashes, &keys[1]), Some(numbers[1]));
        assert_eq!(authors.intern(&hashes, &PublicKey([3; 32])), numbers[0]);
        assert!(authors.kinds(numbers[0]).is_empty());
    }
}
