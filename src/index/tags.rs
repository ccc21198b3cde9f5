//! The tag values of each event, as numbers, in the order of its tags. A list of one lives in its row.

use std::io::{self, Read, Write};

use super::arena::Arena;
use super::bytes::{Sink, Source, check};
use super::heads::Row;
use super::snapshot::SnapshotError;

/// In place of a length that does not fit a row: it stands, less one, before the values.
const LONG: u16 = u16::MAX;

/// The memory of all events' tags.
#[derive(Debug, Default)]
pub(super) struct TagLists {
    blocks: Arena<u32>,
}

impl TagLists {
    /// Keeps an event's values, which it did not have before.
    pub(super) fn store(&mut self, row: &mut Row, values: &[u32]) {
        row.tags_len = u16::try_from(values.len()).unwrap_or(LONG);
        row.tags_at = match (row.tags_len, values) {
            (0, _) => 0,
            (1, _) => values[0],
            (LONG, _) => self.blocks.store(&[&[values.len() as u32 - 1], values].concat()),
            _ => self.blocks.store(values),
        };
    }

    /// An event's values.
    pub(super) fn of<'a>(&'a self, row: &'a Row) -> &'a [u32] {
        match row.tags_len {
            0 => &[],
            1 => std::slice::from_ref(&row.tags_at),
            LONG => &self.blocks.get(row.tags_at, self.long_block(row.tags_at))[1..],
            len => self.blocks.get(row.tags_at, len.into()),
        }
    }

    fn long_block(&self, at: u32) -> usize {
        self.blocks.get(at, 1)[0] as usize + 2
    }

    /// Gives back an event's memory.
    pub(super) fn release(&mut self, row: &Row) {
        match row.tags_len {
            0 | 1 => {}
            LONG => self.blocks.release(row.tags_at, self.long_block(row.tags_at)),
            len => self.blocks.release(row.tags_at, len.into()),
        }
    }

    /// Bytes of memory that all of it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.blocks.memory_bytes()
    }

    pub(super) fn write<W: Write>(&self, sink: &mut Sink<'_, W>) -> io::Result<()> {
        self.blocks.write(sink)
    }

    /// Reads the lists, of which nothing is known before [`TagLists::check`].
    pub(super) fn read<R: Read>(source: &mut Source<'_, R>) -> Result<Self, SnapshotError> {
        Ok(TagLists { blocks: Arena::read(source)? })
    }

    /// Checks that all rows' lists lie in here, and that their numbers are below `bound`. What stands before
    /// long ones is below it too, as no value stands twice in a list.
    pub(super) fn check(&self, rows: &[Row], bound: usize) -> Result<(), SnapshotError> {
        let is_right = |row: &Row| match row.tags_len {
            0 => true,
            1 => (row.tags_at as usize) < bound,
            LONG => {
                self.blocks.fits(row.tags_at, 1)
                    && self.blocks.fits(row.tags_at, self.long_block(row.tags_at))
            }
            len => self.blocks.fits(row.tags_at, len.into()),
        };
        check(self.blocks.items().iter().all(|&value| (value as usize) < bound), "a tag's value")?;
        check(rows.iter().all(is_right), "an event's tags")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Id, Kind};
    use crate::index::heads::Heads;
    use crate::store::Location;

    #[test]
    fn lists_of_any_length_keep_their_order() {
        let (mut tags, mut heads) = (TagLists::default(), Heads::default());
        let mut kept = Vec::new();
        for len in [0, 1, 2, 3, 16, 17, 100, 65_534, 65_535, 65_536, 100_000] {
            let values: Vec<u32> = (0..len).rev().collect();
            let ordinal = heads.add(Id([0; 32]), 1, Location::default(), 0, Kind(1), 0);
            tags.store(heads.get_mut(ordinal), &values);
            kept.push((ordinal, values));
        }
        for (ordinal, values) in &kept {
            assert_eq!(tags.of(heads.get(*ordinal)), values);
        }
        assert!(tags.check(heads.rows(), 100_000).is_ok());
        assert!(tags.check(heads.rows(), 99_999).is_err());
        let used = tags.blocks.items().len();
        kept.iter().for_each(|(ordinal, _)| tags.release(heads.get(*ordinal)));
        for (ordinal, values) in kept {
            tags.store(heads.get_mut(ordinal), &values);
        }
        assert_eq!(tags.blocks.items().len(), used);
    }
}
