//! A group: everything that one commit changes, and how its new records are laid out in packs.
//!
//! In: records, removals and state entries, in any mix of communities. Out: entries of a batch. Never reads
//! the store: what a removal leaves of a pack is worked out by the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::key::{self, Shelf};
use super::value::{self, PACK_BYTES_TARGET, PACK_SLOTS, PackBuilder, RECORD_BYTES_MAX, VALUE_BYTES_MAX};
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

/// A batch, and which keys it changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) batch: sled::Batch,
    pub(super) keys: Vec<sled::IVec>,
}

impl Changes {
    pub(super) fn insert(&mut self, key: &[u8], value: impl Into<sled::IVec>) {
        self.keys.push(key.into());
        self.batch.insert(key, value);
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.keys.push(key.into());
        self.batch.remove(key);
    }
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

    /// The communities of the new records, each once.
    pub(super) fn communities(&self) -> BTreeSet<CommunityId> {
        self.inserts.iter().map(|&(community, ..)| community).collect()
    }

    /// The new records' communities and places, which [`Group::write_records`] returned.
    pub(super) fn inserted<'g>(
        &'g self,
        locations: &'g [Location],
    ) -> impl Iterator<Item = (CommunityId, Location)> + 'g {
        self.inserts.iter().map(|(community, ..)| *community).zip(locations.iter().copied())
    }

    /// Adds what the group removes to a batch, for those who must know later (`removed.rs`).
    pub(super) fn write_removed(&self, group: u64, batch: &mut Changes) {
        for (part, value) in (0..).zip(value::write_removed(&self.removed)) {
            batch.insert(&key::removed(group, part)[..], value);
        }
    }

    /// Adds the state changes to a batch.
    pub(super) fn write_state(&self, batch: &mut Changes) {
        for StateChange { key, value } in &self.state {
            match value {
                Some(value) => batch.insert(&key[..], &value[..]),
                None => batch.remove(&key[..]),
            }
        }
    }

    /// Adds the new records to a batch and returns where each will live, in order of insertion. `next` tells
    /// and is told each community's next number.
    ///
    /// Numbers are given community by community, so that records that arrive in turns still share packs.
    pub(super) fn write_records(
        &self,
        next: &mut HashMap<CommunityId, u64>,
        batch: &mut Changes,
    ) -> Vec<Location> {
        let mut order: Vec<usize> = (0..self.inserts.len()).collect();
        order.sort_by_key(|&insert| self.inserts[insert].0);
        let mut locations = vec![Location::default(); self.inserts.len()];
        for run in order.chunk_by(|&one, &other| self.inserts[one].0 == self.inserts[other].0) {
            let community = self.inserts[run[0]].0;
            let next = next.entry(community).or_default();
            let mut pack = OpenPack::new(community, *next);
            for &insert in run {
                let (_, shelf, record) = &self.inserts[insert];
                let is_loose = *shelf == Shelf::Loose || value::is_long(record.len());
                if !pack.records.has_room(if is_loose { 0 } else { record.len() }, PACK_BYTES_TARGET) {
                    pack = OpenPack::new(community, pack.close(batch));
                }
                let number = pack.next_number();
                if is_loose {
                    // Numbers go on within a pack: one that is a loose record's has an empty slot.
                    pack.records.push_empty();
                    write_loose(community, number, record, batch);
                    locations[insert] = Location { number, slot: Location::LOOSE };
                } else {
                    pack.records.push(record);
                    // A pack has at most 64 slots, so that the difference fits.
                    locations[insert] = Location { number, slot: (number - pack.number) as u8 };
                }
            }
            *next = pack.close(batch);
        }
        locations
    }
}

/// The pack that the next small record joins.
struct OpenPack {
    community: CommunityId,
    /// Of its first slot, a multiple of [`PACK_SLOTS`].
    number: u64,
    records: PackBuilder,
}

impl OpenPack {
    /// A pack of which the slots before this number are empty: loose records have their numbers.
    fn new(community: CommunityId, next_number: u64) -> OpenPack {
        let number = next_number - next_number % PACK_SLOTS;
        let mut records = PackBuilder::default();
        (number..next_number).for_each(|_| records.push_empty());
        OpenPack { community, number, records }
    }

    fn next_number(&self) -> u64 {
        self.number + self.records.slots() as u64
    }

    /// Writes the pack, unless it holds nothing; returns the next number after it.
    fn close(self, batch: &mut Changes) -> u64 {
        let OpenPack { community, number, mut records } = self;
        if records.is_empty() {
            return number + records.slots() as u64;
        }
        batch.insert(&key::head(Shelf::Packed, community, number)[..], records.finish());
        number + PACK_SLOTS
    }
}

fn write_loose(community: CommunityId, number: u64, record: &[u8], batch: &mut Changes) {
    if !value::is_long(record.len()) {
        let mut alone = PackBuilder::default();
        alone.push(record);
        batch.insert(&key::head(Shelf::Loose, community, number)[..], alone.finish());
        return;
    }
    for (part, value) in (0_u16..).zip(value::write_long(record)) {
        match part {
            0 => batch.insert(&key::head(Shelf::Loose, community, number)[..], value),
            _ => batch.insert(&key::part(Shelf::Loose, community, number, part)[..], value),
        }
    }
}
