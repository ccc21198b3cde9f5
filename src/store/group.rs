//! A group: everything that one commit changes, and how its new records are laid out in packs.
//!
//! In: records, removals and state entries, in any mix of communities. Out: entries of a batch. Never reads
//! the store: what a removal leaves of a pack is worked out by the store.

use std::collections::{BTreeMap, BTreeSet};

use super::key::{self, Shelf};
use super::value::{self, PACK_BYTES_TARGET, PackBuilder, RECORD_BYTES_MAX, VALUE_BYTES_MAX};
use super::{CommunityId, Location, StateTable, StoreError};

/// The longest key of a state entry. sled keeps up to 256 keys in one node of its tree, which must stay under
/// the 128 KiB that it keeps within its file.
pub const STATE_KEY_BYTES_MAX: usize = 256;

/// The longest value of a state entry: with its key it must be no longer than any other value.
pub const STATE_VALUE_BYTES_MAX: usize = VALUE_BYTES_MAX - STATE_KEY_BYTES_MAX;

/// What one commit changes: all of it, or nothing.
#[derive(Debug, Default)]
pub struct Group {
    inserts: Vec<(CommunityId, Shelf, Vec<u8>)>,
    /// The slots to empty, by community and pack: several removals of one pack rewrite it once.
    removals: BTreeMap<(Shelf, CommunityId, u64), Vec<u8>>,
    /// The same as they were named.
    removed: Vec<(CommunityId, Location)>,
    state: Vec<StateChange>,
}

#[derive(Debug)]
struct StateChange {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

impl Group {
    /// Stores a record. Commit tells where it lives.
    pub fn insert(&mut self, community: CommunityId, record: Vec<u8>) {
        self.inserts.push((community, Shelf::Packed, record));
    }

    /// Stores a record that will probably be removed one day, as versions of something are. It is kept by
    /// itself: it costs more to add, and its removal rewrites no other record.
    pub fn insert_loose(&mut self, community: CommunityId, record: Vec<u8>) {
        self.inserts.push((community, Shelf::Loose, record));
    }

    /// Removes the record at a location. Removing what is not there changes nothing.
    pub fn remove(&mut self, community: CommunityId, location: Location) {
        if let Some((shelf, pack, slot)) = location.place() {
            self.removals.entry((shelf, community, pack)).or_default().push(slot);
            self.removed.push((community, location));
        }
    }

    /// Sets a state entry. The last change of an entry in a group is the one that counts.
    pub fn put_state(&mut self, community: CommunityId, table: StateTable, key: &[u8], value: &[u8]) {
        self.change_state(community, table, key, Some(value.to_owned()));
    }

    /// Removes a state entry. Removing what is not there changes nothing.
    pub fn remove_state(&mut self, community: CommunityId, table: StateTable, key: &[u8]) {
        self.change_state(community, table, key, None);
    }

    /// Whether a commit of this group would change nothing.
    pub fn is_empty(&self) -> bool {
        self.inserts.is_empty() && self.removals.is_empty() && self.state.is_empty()
    }

    fn change_state(
        &mut self,
        community: CommunityId,
        table: StateTable,
        key: &[u8],
        value: Option<Vec<u8>>,
    ) {
        self.state.push(StateChange { key: key::state(community, table, key), value });
    }

    /// Refuses what is longer than the store takes, before anything is written.
    pub(super) fn check_lengths(&self) -> Result<(), StoreError> {
        let check = |what, bytes, bytes_max| {
            if bytes > bytes_max { Err(StoreError::TooLong { what, bytes, bytes_max }) } else { Ok(()) }
        };
        for (_, _, record) in &self.inserts {
            check("record", record.len(), RECORD_BYTES_MAX)?;
        }
        for change in &self.state {
            let value_bytes = change.value.as_ref().map_or(0, Vec::len);
            check("state key", key::state_suffix(&change.key).len(), STATE_KEY_BYTES_MAX)?;
            check("state value", value_bytes, STATE_VALUE_BYTES_MAX)?;
        }
        Ok(())
    }

    /// The packs that lose records, with the slots to empty.
    pub(super) fn removals(&self) -> impl Iterator<Item = (Shelf, CommunityId, u64, &[u8])> {
        self.removals.iter().map(|(&(shelf, community, pack), slots)| (shelf, community, pack, &slots[..]))
    }

    /// Where the new records will lie, each shelf once.
    pub(super) fn shelves(&self) -> impl Iterator<Item = (Shelf, CommunityId)> {
        let all = self.inserts.iter().map(|&(community, shelf, _)| (shelf, community));
        all.collect::<BTreeSet<_>>().into_iter()
    }

    /// Adds what the group removes to a batch, for those who must know later (`removed.rs`).
    pub(super) fn write_removed(&self, group: u64, batch: &mut sled::Batch) {
        for (part, value) in (0..).zip(value::write_removed(&self.removed)) {
            batch.insert(&key::removed(group, part)[..], value);
        }
    }

    /// Adds the state changes to a batch.
    pub(super) fn write_state(&self, batch: &mut sled::Batch) {
        for StateChange { key, value } in &self.state {
            match value {
                Some(value) => batch.insert(&key[..], &value[..]),
                None => batch.remove(&key[..]),
            }
        }
    }

    /// Adds the new records to a batch and returns where each will live, in order of insertion.
    ///
    /// Numbers are given community by community, so that records that arrive in turns still share packs.
    pub(super) fn write_records(&self, next_number: &mut u64, batch: &mut sled::Batch) -> Vec<Location> {
        let mut order: Vec<usize> = (0..self.inserts.len()).collect();
        order.sort_by_key(|&insert| self.inserts[insert].0);
        let mut locations = vec![Location::default(); self.inserts.len()];
        let mut pack = OpenPack::default();
        for insert in order {
            let (community, shelf, record) = &self.inserts[insert];
            let is_long = value::is_long(record.len());
            let is_loose = *shelf == Shelf::Loose;
            let slot_bytes = if is_loose { 0 } else { record.len() };
            if is_long && !is_loose
                || pack.community != *community
                || !pack.records.has_room(slot_bytes, PACK_BYTES_TARGET)
            {
                pack.close(batch);
            }
            if pack.records.is_empty() {
                pack.community = *community;
                pack.number = *next_number;
            }
            // A pack has at most 255 slots, so that the difference fits.
            let slot = if is_loose { Location::LOOSE } else { (*next_number - pack.number) as u8 };
            locations[insert] = Location { number: *next_number, slot };
            match (is_long, is_loose) {
                (true, _) => write_long(*shelf, *community, *next_number, record, batch),
                (false, true) => {
                    let mut alone = PackBuilder::default();
                    alone.push(record);
                    batch.insert(&key::head(*shelf, *community, *next_number)[..], alone.finish());
                }
                (false, false) => pack.records.push(record),
            }
            if is_loose && !pack.records.is_empty() {
                // Numbers go on within a pack: one that is a loose record's has an empty slot.
                pack.records.push_empty();
            }
            *next_number += 1;
        }
        pack.close(batch);
        locations
    }
}

/// The pack that the next small record joins.
#[derive(Default)]
struct OpenPack {
    community: CommunityId,
    number: u64,
    records: PackBuilder,
}

impl OpenPack {
    fn close(&mut self, batch: &mut sled::Batch) {
        if !self.records.is_empty() {
            batch.insert(&key::head(Shelf::Packed, self.community, self.number)[..], self.records.finish());
        }
    }
}

fn write_long(shelf: Shelf, community: CommunityId, number: u64, record: &[u8], batch: &mut sled::Batch) {
    for (part, value) in (0_u16..).zip(value::write_long(record)) {
        match part {
            0 => batch.insert(&key::head(shelf, community, number)[..], value),
            _ => batch.insert(&key::part(shelf, community, number, part)[..], value),
        }
    }
}
