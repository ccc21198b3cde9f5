//! The index as a file, so that a start need not read every record: arrays as they lie in memory, with a
//! checksum. In: an index, or bytes. Out: bytes, or an index of which every number is known to lie where it
//! must. Never opens a file; whoever does knows which events came or went since.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use super::authors::Authors;
use super::bytes::{Sink, Source, check};
use super::changes::Changes;
use super::heads::Heads;
use super::intern::{Hashes, Interner};
use super::lists::Lists;
use super::origins::Origins;
use super::table::Table;
use super::tags::TagLists;
use super::tally::{EVENTS_LEFT_MIN, Tallies};
use super::{Index, Stored, nip09};
use crate::store::Location;

/// What every snapshot begins with. Read as a number, so that another byte order does not pass.
const MAGIC: u64 = u64::from_le_bytes(*b"plazaidx");

/// Goes up whenever what is written changes, and whenever [`Index::insert`] takes something else from an
/// event than before: an older snapshot would not be the index that the store's records make.
const VERSION: u64 = 3;

/// Why a snapshot cannot be used. The index is then built from the store.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It cannot be read, or ends too early.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// It is something else, or from a machine of another kind.
    #[error("this is no snapshot of an index")]
    Foreign,
    /// It was written by another version of Plaza.
    #[error("it is of version {0}, not {VERSION}")]
    Version(u64),
    /// It was written under other settings.
    #[error("it was made with another geohash.prefix_filters")]
    Settings,
    /// Something in it makes no sense.
    #[error("{0} is damaged")]
    Damaged(&'static str),
}

impl Index {
    /// Writes all that [`Index::read_snapshot`] needs, in large and small pieces: `out` should gather them. What
    /// is written holds the secret keys of the index's hashes: nobody but the relay may read it.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_snapshot(&self, out: &mut impl Write) -> io::Result<()> {
        let mut sink = Sink::new(out);
        sink.values(&[MAGIC, VERSION, u64::from(self.by_prefix), self.next_number])?;
        sink.values(&self.hashes.keys())?;
        self.heads.write(&mut sink)?;
        self.ids.write(&mut sink)?;
        self.tags.write(&mut sink)?;
        self.lists.write(&mut sink)?;
        self.authors.write(&mut sink)?;
        self.values.write(&mut sink)?;
        self.tallies.write(&mut sink)?;
        sink.values(&[self.time])?;
        sink.map(&self.kinds)?;
        self.addresses.write(&mut sink)?;
        sink.map(&self.deletions)?;
        sink.map(&self.expires_at)?;
        self.origins.write(&mut sink)?;
        sink.map(&self.vanished)?;
        sink.map(&self.vanishing_authors)?;
        sink.map(&self.vanishing_recipients)?;
        sink.finish()
    }

    /// Reads what [`Index::write_snapshot`] wrote, and nothing beyond it, in pieces of any size: `input` should be
    /// buffered. `by_prefix` must be as it was for [`Index::new`].
    ///
    /// # Errors
    /// When it is not exactly that.
    pub fn read_snapshot(input: &mut impl Read, by_prefix: bool) -> Result<Index, SnapshotError> {
        let mut source = Source::new(input);
        let header = source.values::<u64>(2)?;
        if header[0] != MAGIC {
            return Err(SnapshotError::Foreign);
        }
        if header[1] != VERSION {
            return Err(SnapshotError::Version(header[1]));
        }
        if source.number()? != u64::from(by_prefix) {
            return Err(SnapshotError::Settings);
        }
        let mut index = Index::read_arrays(&mut source)?;
        index.by_prefix = by_prefix;
        source.finish()?;
        index.check()?;
        index.order_expirations();
        Ok(index)
    }

    fn read_arrays<R: Read>(source: &mut Source<'_, R>) -> Result<Index, SnapshotError> {
        let next_number = source.number()?;
        let keys = [source.number()?, source.number()?, source.number()?, source.number()?];
        let heads = Heads::read(source)?;
        let rows = heads.rows().len();
        Ok(Index {
            next_number,
            insertions: 0,
            removals: 0,
            changes: Changes::default(),
            record_bytes: heads.live().map(|ordinal| heads.record_bytes(ordinal)).sum(),
            hashes: Hashes::new(keys),
            ids: Table::read(source, rows)?,
            heads,
            tags: TagLists::read(source)?,
            lists: Lists::read(source)?,
            authors: Authors::read(source)?,
            values: Interner::read(source)?,
            tallies: Tallies::read(source)?,
            time: source.values(1)?[0],
            kinds: source.map()?,
            addresses: Table::read(source, rows)?,
            deletions: source.map()?,
            expires_at: source.map()?,
            origins: Origins::read(source)?,
            vanished: source.map()?,
            vanishing_authors: source.map()?,
            vanishing_recipients: source.map()?,
            expirations: BTreeSet::new(),
            author_bytes: None,
            by_prefix: false,
        })
    }

    /// Whether every number that stands for something does: what a wrong one would make panic later is
    /// refused now.
    fn check(&self) -> Result<(), SnapshotError> {
        let (rows, values) = (self.heads.rows(), self.values.entries());
        let authors = self.authors.bound();
        let is_row = |&ordinal: &u32| (ordinal as usize) < rows.len();
        let is_value = |&value: &u32| (value as usize) < values.len();
        let is_author = |&author: &u32| (author as usize) < authors;
        check(self.ids.len() == self.heads.len(), "the table of ids")?;
        check(rows.iter().all(|row| is_author(&row.author)), "an event's author")?;
        self.tags.check(rows, values.len())?;

        let mut check_list = self.lists.checker(rows.len())?;
        let by_value = values.iter().map(|value| value.posting).chain(self.deletions.values().copied());
        let mut all = by_value.chain(self.authors.postings()).chain(self.kinds.values().copied());
        check(all.all(&mut check_list) && check_list(self.time), "a list of events")?;

        let is_long = |value: &u32| self.lists.len(values[*value as usize].posting) >= EVENTS_LEFT_MIN;
        check(self.tallies.values().all(|value| is_value(value) && is_long(value)), "a tally")?;
        check(self.deletions.keys().all(is_value), "a deletion")?;
        check(self.expires_at.keys().all(is_row), "an expiration")?;
        check(self.origins.each().all(|(ordinal, _)| is_row(&ordinal)), "an origin")?;
        check(self.vanishing_authors.keys().all(is_author), "a vanished author")?;
        check(self.vanishing_recipients.keys().all(is_value), "a vanished recipient")
    }

    /// Makes what follows from what was read.
    fn order_expirations(&mut self) {
        let deletable = |&(_, ordinal): &(u64, u32)| nip09::deletable(self.heads.get(ordinal).kind);
        let times = self.expires_at.iter().map(|(&ordinal, &time)| (time, ordinal));
        self.expirations = times.filter(deletable).collect();
    }

    /// Takes out the events at these places, as far as they are in the index; returns how many. Looks at
    /// every row once: this is for what was removed since a snapshot, all together.
    pub fn remove_at(&mut self, locations: &[Location]) -> usize {
        let mut wanted = locations.to_vec();
        wanted.sort_unstable();
        let (Some(&first), Some(&last)) = (wanted.first(), wanted.last()) else { return 0 };
        let is_wanted = |location: Location| {
            first <= location && location <= last && wanted.binary_search(&location).is_ok()
        };
        let live = self.heads.live().map(|ordinal| self.stored(ordinal));
        let found: Vec<Stored> = live.filter(|stored| is_wanted(stored.location)).collect();
        found.iter().for_each(|&stored| self.remove(stored));
        found.len()
    }
}
