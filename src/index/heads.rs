//! What the index holds of each stored event itself, in arrays by ordinal: a time of 4 bytes, by which lists are
//! ordered, an id of 32, and a row of 20 with all else that a scan looks at.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::io::{self, Read, Write};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::bytes::{Sink, Source, check, check_free};
use super::lists::Order;
use super::snapshot::SnapshotError;
use crate::event::{Id, Kind};
use crate::store::Location;

/// An event's author, kind, place in the store and tags.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Row {
    pub(super) author: u32,
    /// What [`TagLists`](super::tags::TagLists) finds its tag values by, and how many these are.
    pub(super) tags_at: u32,
    pub(super) tags_len: u16,
    pub(super) kind: Kind,
    pub(super) flags: u16,
    /// The event's number in the store, unless it is [`WIDE`], and its slot.
    number_high: u8,
    slot: u8,
    number_low: u32,
}

const _: () = assert!(size_of::<Row>() == 20);

/// The row's event has an expiration time.
pub(super) const EXPIRES: u16 = 1;

/// The event was bridged from another network.
pub(super) const BRIDGED: u16 = 2;

/// The row's event is marked as being for followers only.
pub(super) const FOR_FOLLOWERS: u16 = 4;

/// Its time or number does not fit and stands in [`Heads::wide`].
const WIDE: u16 = 8;

/// The event was removed.
const REMOVED: u16 = 16;

/// How long the event's record is, about: the flags' upper half.
const SIZE_SHIFT: u32 = 8;

/// In place of a time that does not fit.
const WIDE_TIME: u32 = u32::MAX;

/// The rows by ordinal. Ordinals of removed events are used again.
#[derive(Debug, Default)]
pub(super) struct Heads {
    times: Vec<u32>,
    ids: Vec<Id>,
    rows: Vec<Row>,
    /// Times and numbers that are too large for their place.
    wide: HashMap<u32, [u64; 2]>,
    free: Vec<u32>,
}

/// A record's length in 8 bits, by eighths from one power of two to the next: what is read back is at most a
/// sixteenth off, and a sum of many hardly at all.
fn size_class(bytes: usize) -> u16 {
    let bytes = bytes.max(8) as u64;
    let power = bytes.ilog2();
    (((power - 3) << 3) as u16 + ((bytes >> (power - 3)) & 7) as u16).min(u8::MAX.into())
}

/// About how long records of a class are: the middle of it.
fn size_of_class(class: u16) -> u64 {
    let power = u32::from(class >> 3);
    (u64::from(8 + (class & 7)) << power) + ((1 << power) >> 1)
}

/// A time in 32 bits; a larger one as the largest.
pub(super) fn narrow(created_at: u64) -> u32 {
    u32::try_from(created_at).unwrap_or(WIDE_TIME)
}

impl Heads {
    pub(super) fn len(&self) -> usize {
        self.rows.len().saturating_sub(self.free.len())
    }

    pub(super) fn get(&self, ordinal: u32) -> &Row {
        &self.rows[ordinal as usize]
    }

    pub(super) fn get_mut(&mut self, ordinal: u32) -> &mut Row {
        &mut self.rows[ordinal as usize]
    }

    pub(super) fn id(&self, ordinal: u32) -> &Id {
        &self.ids[ordinal as usize]
    }

    pub(super) fn created_at(&self, ordinal: u32) -> u64 {
        match self.times[ordinal as usize] {
            WIDE_TIME => self.wide.get(&ordinal).map_or(WIDE_TIME.into(), |wide| wide[0]),
            time => time.into(),
        }
    }

    /// The number of the event's commit, by which readers know what is newer than their query.
    pub(super) fn number(&self, ordinal: u32) -> u64 {
        let row = self.get(ordinal);
        if row.flags & WIDE != 0
            && let Some(wide) = self.wide.get(&ordinal)
        {
            return wide[1];
        }
        u64::from(row.number_high) << 32 | u64::from(row.number_low)
    }

    /// Where the store keeps the event.
    pub(super) fn location(&self, ordinal: u32) -> Location {
        Location { number: self.number(ordinal), slot: self.get(ordinal).slot }
    }

    /// About how long the event's record is in the store, in bytes.
    pub(super) fn record_bytes(&self, ordinal: u32) -> u64 {
        size_of_class(self.get(ordinal).flags >> SIZE_SHIFT)
    }

    /// Bytes of memory that all of it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.times.capacity() * size_of::<u32>()
            + self.ids.capacity() * size_of::<Id>()
            + self.rows.capacity() * size_of::<Row>()
            + self.free.capacity() * size_of::<u32>()
            + self.wide.capacity() * size_of::<(u32, [u64; 2])>()
    }

    /// Adds an event, as yet without tags.
    pub(super) fn add(
        &mut self,
        id: Id,
        created_at: u64,
        at: Location,
        author: u32,
        kind: Kind,
        record_bytes: usize,
    ) -> u32 {
        let number_high = u8::try_from(at.number >> 32);
        let is_wide = number_high.is_err() || created_at >= WIDE_TIME.into();
        let row = Row {
            author,
            tags_at: 0,
            tags_len: 0,
            kind,
            flags: if is_wide { WIDE } else { 0 } | size_class(record_bytes) << SIZE_SHIFT,
            number_high: number_high.unwrap_or(0),
            slot: at.slot,
            number_low: at.number as u32,
        };
        let time = narrow(created_at);
        let ordinal = match self.free.pop() {
            Some(ordinal) => {
                let at = ordinal as usize;
                (self.times[at], self.ids[at], self.rows[at]) = (time, id, row);
                ordinal
            }
            None => {
                self.times.push(time);
                self.ids.push(id);
                self.rows.push(row);
                (self.rows.len() - 1) as u32
            }
        };
        if is_wide {
            self.wide.insert(ordinal, [created_at, at.number]);
        }
        ordinal
    }

    pub(super) fn remove(&mut self, ordinal: u32) {
        let row = self.get_mut(ordinal);
        if row.flags & WIDE != 0 {
            self.wide.remove(&ordinal);
        }
        let row = self.get_mut(ordinal);
        (row.flags, row.tags_len) = (REMOVED, 0);
        self.free.push(ordinal);
    }

    /// All rows, those of removed events among them.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The ordinals of stored events.
    pub(super) fn live(&self) -> impl Iterator<Item = u32> {
        let live = self.rows.iter().enumerate().filter(|(_, row)| row.flags & REMOVED == 0);
        live.map(|(ordinal, _)| ordinal as u32)
    }

    /// How a row stands to a place in NIP-01's order, older ones being less.
    pub(super) fn compare_to(&self, ordinal: u32, created_at: u64, id: &Id) -> Ordering {
        self.created_at(ordinal).cmp(&created_at).then_with(|| id.cmp(self.id(ordinal)))
    }

    pub(super) fn write<W: Write>(&self, sink: &mut Sink<'_, W>) -> io::Result<()> {
        sink.array(&self.times)?;
        sink.array(&self.ids)?;
        sink.array(&self.rows)?;
        sink.map(&self.wide)?;
        sink.array(&self.free)
    }

    pub(super) fn read<R: Read>(source: &mut Source<'_, R>) -> Result<Self, SnapshotError> {
        let (times, ids, rows) = (source.array()?, source.array()?, source.array::<Row>()?);
        let heads = Heads { times, ids, rows, wide: source.map()?, free: source.array()? };
        let rows = heads.rows.len();
        check(heads.times.len() == rows && heads.ids.len() == rows, "the number of events")?;
        check_free(&heads.free, rows)?;
        check(heads.live().count() == heads.len(), "the list of free rows")?;
        Ok(heads)
    }
}

impl Order for Heads {
    fn compare(&self, left: u32, right: u32) -> Ordering {
        let times = self.times[left as usize].cmp(&self.times[right as usize]);
        // Few events have the same second; what does not fit has no order yet.
        times.then_with(|| self.compare_to(left, self.created_at(right), self.id(right)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RECORD_BYTES_MAX;

    #[test]
    fn lengths_of_records_are_a_sixteenth_off_at_most() {
        let mut last = 0;
        for bytes in (8..5_000).chain((13..26).map(|power| 1 << power)).chain([RECORD_BYTES_MAX]) {
            let class = size_class(bytes);
            let read = size_of_class(class);
            assert!(read.abs_diff(bytes as u64) * 16 <= bytes as u64, "{bytes} reads as {read}");
            assert!(class >= last, "{bytes}");
            last = class;
        }
        assert_eq!(size_class(0), 0);
    }
}
