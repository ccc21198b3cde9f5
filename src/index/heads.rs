//! One row of 64 bytes, a cache line, for each stored event: all that a scan looks at.

use std::cmp::Ordering;

use super::lists::{Order, Posting};
use crate::event::{Id, Kind};
use crate::store::Location;

/// What the index holds of one event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) id: Id,
    pub(super) created_at: u64,
    /// The event's number in the store, and its slot in the last byte.
    location: u64,
    pub(super) author: u32,
    pub(super) kind: Kind,
    pub(super) flags: u16,
    /// Its tag values, in order, without repetition.
    pub(super) tags: Posting,
}

const _: () = assert!(size_of::<Row>() == 64);

/// The row's event has an expiration time.
pub(super) const EXPIRES: u16 = 1;

/// The event was bridged from another network.
pub(super) const BRIDGED: u16 = 2;

/// The row's event is marked as being for followers only.
pub(super) const FOR_FOLLOWERS: u16 = 4;

impl Row {
    pub(super) fn new(id: Id, created_at: u64, location: Location, author: u32, kind: Kind) -> Row {
        let location = location.number << 8 | u64::from(location.slot);
        Row { id, created_at, location, author, kind, flags: 0, tags: Posting::default() }
    }

    /// Where the store keeps the event.
    pub(super) fn location(&self) -> Location {
        Location { number: self.number(), slot: self.location as u8 }
    }

    /// The number of the event's commit, by which readers know what is newer than their query.
    pub(super) fn number(&self) -> u64 {
        self.location >> 8
    }
}

/// The rows by ordinal. Ordinals of removed events are used again.
#[derive(Debug, Default)]
pub(super) struct Heads {
    rows: Vec<Row>,
    free: Vec<u32>,
}

impl Heads {
    pub(super) fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    pub(super) fn get(&self, ordinal: u32) -> &Row {
        &self.rows[ordinal as usize]
    }

    pub(super) fn get_mut(&mut self, ordinal: u32) -> &mut Row {
        &mut self.rows[ordinal as usize]
    }

    pub(super) fn add(&mut self, row: Row) -> u32 {
        match self.free.pop() {
            Some(ordinal) => {
                self.rows[ordinal as usize] = row;
                ordinal
            }
            None => {
                self.rows.push(row);
                (self.rows.len() - 1) as u32
            }
        }
    }

    pub(super) fn remove(&mut self, ordinal: u32) {
        self.free.push(ordinal);
    }

    /// How a row stands to a place in NIP-01's order, older ones being less.
    pub(super) fn compare_to(&self, ordinal: u32, created_at: u64, id: &Id) -> Ordering {
        let row = self.get(ordinal);
        row.created_at.cmp(&created_at).then_with(|| id.cmp(&row.id))
    }
}

impl Order for Heads {
    fn compare(&self, left: u32, right: u32) -> Ordering {
        let right = self.get(right);
        self.compare_to(left, right.created_at, &right.id)
    }
}
