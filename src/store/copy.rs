//! A copy of all that the store holds, as of one moment, while groups are being written. In: what an earlier
//! copy held. Out: chunks of records, of what was removed, and of state. Never holds up the writer for longer
//! than it takes to read a few records, the newest removals and the state.
//!
//! Records are read in rounds, each of what came since the one before, until little is left. The last round is
//! read between two groups, together with the state and with what was removed since the beginning: what was
//! read, without what was removed, is then what the store holds as of that group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use super::key::{self, Shelf};
use super::removed::Pin;
use super::value::{self, Head, PACK_SLOTS_MAX};
use super::{CommunityId, Group, Location, StateTable, Store, StoreError, Tally};

/// Earlier copies, by a stamp that their folder keeps: the stamp of the newest, and the group that it is as of.
/// Removals since are not forgotten.
pub(super) const COPIES: StateTable = StateTable(250);

/// Copies in different folders that the store remembers; the one that was not brought up to date for the
/// longest is forgotten first.
const COPIES_MAX: usize = 4;

/// A chunk is handed out when it is so long; it ends with a whole entry.
const CHUNK_BYTES: usize = 256 * 1024;

/// Numbers that may be left for the last round, in all communities: some thousands of records. Tests write little,
/// and are to see more rounds than one.
const LAST_ROUND_NUMBERS_MAX: u64 = if cfg!(test) { 64 } else { 16_384 };

/// Rounds before the last one, even if they do not get ahead of the writer.
const ROUNDS_MAX: usize = 16;

const RECORD_HEADER_BYTES: usize = 17;
const REMOVED_BYTES: usize = 13;
const STATE_HEADER_BYTES: usize = 9;

/// Sixteen bytes that were drawn for one copy, or for the folder that it is in.
pub type Stamp = [u8; 16];

/// What a chunk holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// `community:4 number:8 slot:1 length:4 record…`
    Records,
    /// `community:4 number:8 slot:1…`
    Removed,
    /// `community:4 table:1 key length:2 value length:2 key value…`
    State,
}

/// Some of a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// What it holds.
    pub part: Part,
    /// Whole entries, numbers big endian.
    pub bytes: Vec<u8>,
}

/// What a copy brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Entries.
    Chunk(Chunk),
    /// Something that cannot be read, and is left out.
    Fault(String),
}

/// An earlier copy that is to be brought up to date.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Earlier {
    /// The stamp of its folder.
    pub folder: Stamp,
    /// Its own.
    pub stamp: Stamp,
    /// Where each community would have gone on counting.
    pub next_numbers: BTreeMap<u32, u64>,
}

/// What a copy is as of.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Copied {
    /// Groups that the store had committed.
    pub group: u64,
    /// Where communities count from that have no number of their own.
    pub first_number: u64,
    /// Where each community goes on counting.
    pub next_numbers: BTreeMap<u32, u64>,
    /// What each community has, where that is counted.
    pub tallies: BTreeMap<u32, Tally>,
    /// Groups that the store has lost by damage to its files.
    pub groups_missing: u64,
}

/// Why bytes of a chunk are no entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it ends within an entry")]
pub struct CutOff;

/// A copy that is being made. While it lives, no removal is forgotten that it needs.
pub struct Copier<'s> {
    store: &'s Store,
    pin: Pin,
    /// As of which group the earlier copy is, and its numbers, if the store remembers it.
    earlier: Option<BTreeMap<u32, u64>>,
}

/// Gathers entries until they make a chunk.
struct Gatherer {
    part: Part,
    bytes: Vec<u8>,
}

impl Gatherer {
    fn new(part: Part) -> Self {
        Gatherer { part, bytes: Vec::new() }
    }

    /// Adds an entry of several pieces; a chunk, when it is long enough.
    fn add(&mut self, pieces: &[&[u8]]) -> Option<Chunk> {
        pieces.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        (self.bytes.len() >= CHUNK_BYTES).then(|| self.take())
    }

    fn take(&mut self) -> Chunk {
        Chunk { part: self.part, bytes: std::mem::take(&mut self.bytes) }
    }

    /// What is left.
    fn rest(mut self) -> Option<Chunk> {
        (!self.bytes.is_empty()).then(|| self.take())
    }
}

impl Store {
    /// Begins a copy: of all, or of what came and went since an earlier one, if the store still knows that one.
    pub fn copier(&self, earlier: Option<&Earlier>) -> Copier<'_> {
        // Between two groups: nothing that is removed from here on is forgotten before it is pinned.
        let _held = self.hold();
        let groups = self.groups();
        let known = earlier.and_then(|earlier| {
            let group = self.pins.group_of(&earlier.folder, &earlier.stamp, groups)?;
            Some((self.pins.pin(group), earlier.next_numbers.clone()))
        });
        match known {
            Some((pin, numbers)) => Copier { store: self, pin, earlier: Some(numbers) },
            None => Copier { store: self, pin: self.pins.pin(groups), earlier: None },
        }
    }

    /// Where each community goes on counting. `counted_together` are those that have records, but no number of
    /// their own, as in stores that were made when all communities counted together.
    fn numbers(&self, counted_together: &BTreeSet<u32>) -> BTreeMap<u32, u64> {
        let mut numbers: BTreeMap<u32, u64> =
            counted_together.iter().map(|community| (*community, self.first_number)).collect();
        let known = self.numberings.read().unwrap_or_else(PoisonError::into_inner);
        numbers.extend(known.iter().map(|(community, numbering)| (community.0, numbering.next)));
        numbers
    }

    fn tallies(&self) -> BTreeMap<u32, Tally> {
        let known = self.numberings.read().unwrap_or_else(PoisonError::into_inner);
        let counted = known.iter().filter_map(|(community, numbering)| Some((community.0, numbering.tally?)));
        counted.collect()
    }

    /// The communities that have records, found by a look at one key each.
    fn communities(&self) -> Result<BTreeSet<u32>, StoreError> {
        let mut found = BTreeSet::new();
        let engine = self.engine()?;
        for shelf in [Shelf::Packed, Shelf::Loose] {
            let mut next = Some(0_u32);
            while let Some(community) = next {
                let last = key::head(shelf, CommunityId(u32::MAX), u64::MAX);
                let first = key::head(shelf, CommunityId(community), 0);
                let mut entries = engine.tree.range(first..=last);
                let Some(entry) = self.ask_next("read records", &mut entries) else { break };
                let (key, _) = entry?;
                let at = key.get(1..5).map_or(community, |id| number(id) as u32);
                found.insert(at);
                next = at.checked_add(1);
            }
        }
        Ok(found)
    }

    /// All state entries but those of some tables.
    fn each_state(
        &self,
        skipped: &[StateTable],
        mut visit: impl FnMut(CommunityId, StateTable, &[u8], &[u8]),
    ) -> Result<(), StoreError> {
        let engine = self.engine()?;
        let mut entries = engine.tree.range(key::state_range());
        while let Some(entry) = self.ask_next("read state", &mut entries) {
            let (key, value) = entry?;
            let Some((community, table, suffix)) = key::read_state_key(&key) else {
                return Err(self.corrupt(&key, "the key is none of ours"));
            };
            if table != COPIES && !skipped.contains(&table) {
                visit(community, table, suffix, &value);
            }
        }
        Ok(())
    }
}

impl Copier<'_> {
    /// Whether only what came and went since the earlier copy will be handed out.
    pub fn is_incremental(&self) -> bool {
        self.earlier.is_some()
    }

    /// Hands out the copy, without the state tables that are `skipped`. Records come first, in order of number
    /// within each community and shelf; then what was removed, which may name what was not handed out; then the
    /// state.
    ///
    /// # Errors
    /// When the store cannot be read as a whole, or `take` fails. What is damaged by itself is a
    /// [`Piece::Fault`] and no error.
    pub fn run<E: From<StoreError>>(
        &self,
        skipped: &[StateTable],
        mut take: impl FnMut(Piece) -> Result<(), E>,
    ) -> Result<Copied, E> {
        let store = self.store;
        let mut from = self.earlier.clone().unwrap_or_default();
        let mut removed_until = self.pin.group();
        let mut removed = Vec::new();
        let communities = store.communities()?;
        for _ in 0..ROUNDS_MAX {
            let until = store.numbers(&communities);
            let left = until.iter().map(|(id, number)| number.saturating_sub(*from.get(id).unwrap_or(&0)));
            let left: u64 = left.sum();
            if left <= LAST_ROUND_NUMBERS_MAX {
                break;
            }
            let groups = store.groups();
            removed.extend(store.removed_between(removed_until, groups)?);
            removed_until = groups;
            self.records(&from, &until, &mut take)?;
            from = until;
        }
        let mut last = Vec::new();
        let copied = {
            let held = store.hold();
            if held.stopped {
                return Err(StoreError::Stopped { path: store.path.clone() }.into());
            }
            let copied = Copied {
                group: store.groups(),
                first_number: store.first_number,
                next_numbers: store.numbers(&communities),
                tallies: store.tallies(),
                groups_missing: store.groups_missing(),
            };
            self.records::<StoreError>(&from, &copied.next_numbers, &mut |piece| {
                last.push(piece);
                Ok(())
            })?;
            removed.extend(store.removed_between(removed_until, copied.group)?);
            let mut state = Gatherer::new(Part::State);
            store.each_state(skipped, |community, table, key, value| {
                // Lengths were checked when they were written.
                let lengths = [(key.len() as u16).to_be_bytes(), (value.len() as u16).to_be_bytes()].concat();
                let entry = [&community.0.to_be_bytes()[..], &[table.0], &lengths, key, value];
                last.extend(state.add(&entry).map(Piece::Chunk));
            })?;
            last.extend(state.rest().map(Piece::Chunk));
            copied
        };
        let mut gone = Gatherer::new(Part::Removed);
        for (community, location) in removed {
            let number = location.number.to_be_bytes();
            if let Some(chunk) = gone.add(&[&community.0.to_be_bytes(), &number, &[location.slot]]) {
                take(Piece::Chunk(chunk))?;
            }
        }
        last.extend(gone.rest().map(Piece::Chunk));
        // Records before what was removed of them: who reads the parts in order takes away what is there.
        let order = |piece: &Piece| match piece {
            Piece::Chunk(Chunk { part: Part::Removed, .. }) => 1,
            Piece::Chunk(Chunk { part: Part::State, .. }) => 2,
            _ => 0,
        };
        last.sort_by_key(order);
        last.into_iter().try_for_each(take)?;
        Ok(copied)
    }

    /// Has the store remember this copy, which is safe where it is, so that the next one of that folder need
    /// bring only what came and went since.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn keep(&self, folder: &Stamp, stamp: &Stamp, group: u64) -> Result<(), StoreError> {
        let root = CommunityId(0);
        let mut naming = Group::default();
        for forgotten in self.store.pins.keep(folder, stamp, group, COPIES_MAX) {
            naming.remove_state(root, COPIES, &forgotten);
        }
        naming.put_state(root, COPIES, folder, &[&stamp[..], &group.to_be_bytes()].concat());
        self.store.commit(naming).map(drop)
    }

    /// All records whose numbers lie between `from` and `until`.
    fn records<E: From<StoreError>>(
        &self,
        from: &BTreeMap<u32, u64>,
        until: &BTreeMap<u32, u64>,
        take: &mut impl FnMut(Piece) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut gatherer = Gatherer::new(Part::Records);
        for (&community, &until) in until {
            let from = from.get(&community).copied().unwrap_or(0);
            if from >= until {
                continue;
            }
            for shelf in [Shelf::Packed, Shelf::Loose] {
                self.shelf(shelf, CommunityId(community), from, until, &mut gatherer, take)?;
            }
        }
        gatherer.rest().map_or(Ok(()), |chunk| take(Piece::Chunk(chunk)))
    }

    fn shelf<E: From<StoreError>>(
        &self,
        shelf: Shelf,
        community: CommunityId,
        from: u64,
        until: u64,
        gatherer: &mut Gatherer,
        take: &mut impl FnMut(Piece) -> Result<(), E>,
    ) -> Result<(), E> {
        let store = self.store;
        let first = match shelf {
            Shelf::Packed => from.saturating_sub(PACK_SLOTS_MAX as u64),
            Shelf::Loose => from,
        };
        let mut add = |take: &mut dyn FnMut(Piece) -> Result<(), E>, location: Location, record: &[u8]| {
            if !(from..until).contains(&location.number) {
                return Ok(());
            }
            let mut header = [0; RECORD_HEADER_BYTES];
            header[..4].copy_from_slice(&community.0.to_be_bytes());
            header[4..12].copy_from_slice(&location.number.to_be_bytes());
            header[12] = location.slot;
            header[13..].copy_from_slice(&(record.len() as u32).to_be_bytes());
            gatherer.add(&[&header, record]).map_or(Ok(()), |chunk| take(Piece::Chunk(chunk)))
        };
        let mut scan = scan_of(store, shelf, community, first..until)?;
        loop {
            let read = scan.next().and_then(|next| {
                let Some((number, key, value)) = next else { return Ok(None) };
                let mut records: Vec<(Location, Vec<u8>)> = Vec::new();
                match store.readable(&key, value::read_head(&value))? {
                    Head::Pack(pack) => {
                        for (at, record) in (0_u8..).zip(pack.slots()) {
                            let (number, slot) = match shelf {
                                Shelf::Packed => (number + u64::from(at), at),
                                Shelf::Loose => (number, Location::LOOSE),
                            };
                            records.extend(record.map(|record| (Location { number, slot }, record.to_vec())));
                        }
                    }
                    Head::Long(long) => {
                        let slot = if shelf == Shelf::Packed { 0 } else { Location::LOOSE };
                        let record = store.join(shelf, community, number, &long)?;
                        records.extend(record.map(|record| (Location { number, slot }, record)));
                    }
                }
                Ok(Some(records))
            });
            match read {
                Ok(None) => return Ok(()),
                Ok(Some(records)) => {
                    for (location, record) in records {
                        add(take, location, &record)?;
                    }
                }
                Err(fault @ (StoreError::Corrupt { .. } | StoreError::UnknownVersion { .. })) => {
                    take(Piece::Fault(fault.to_string()))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn scan_of(
    store: &Store,
    shelf: Shelf,
    community: CommunityId,
    numbers: std::ops::Range<u64>,
) -> Result<super::scan::ShelfScan<'_>, StoreError> {
    super::scan::ShelfScan::new(store, shelf, community, numbers)
}

/// One record of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordEntry<'a> {
    /// Whose it is.
    pub community: CommunityId,
    /// Where it lived.
    pub location: Location,
    /// What was stored.
    pub record: &'a [u8],
}

/// One state entry of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateEntry<'a> {
    /// Whose it is.
    pub community: CommunityId,
    /// Its table.
    pub table: StateTable,
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

/// Takes as many bytes off the front.
fn cut<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], CutOff> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or(CutOff)?;
    *bytes = rest;
    Ok(taken)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn place(header: &[u8]) -> (CommunityId, Location) {
    let location = Location { number: number(&header[4..12]), slot: header[12] };
    (CommunityId(number(&header[..4]) as u32), location)
}

/// Reads the first record off the front of such entries; `None` at their end.
///
/// # Errors
/// When they end within it, which leaves them as they are.
pub fn next_record<'a>(bytes: &mut &'a [u8]) -> Result<Option<RecordEntry<'a>>, CutOff> {
    if bytes.is_empty() {
        return Ok(None);
    }
    // What is cut off is left as it is: more of it may come.
    let mut rest = *bytes;
    let header = cut(&mut rest, RECORD_HEADER_BYTES)?;
    let (community, location) = place(header);
    let record = cut(&mut rest, number(&header[13..]) as usize)?;
    *bytes = rest;
    Ok(Some(RecordEntry { community, location, record }))
}

/// Reads the first of the removed off the front of such entries; `None` at their end.
///
/// # Errors
/// When they end within it, which leaves them as they are.
pub fn next_removed(bytes: &mut &[u8]) -> Result<Option<(CommunityId, Location)>, CutOff> {
    if bytes.is_empty() {
        return Ok(None);
    }
    cut(bytes, REMOVED_BYTES).map(|entry| Some(place(entry)))
}

/// Reads the first state entry off the front of such entries; `None` at their end.
///
/// # Errors
/// When they end within it, which leaves them as they are.
pub fn next_state<'a>(bytes: &mut &'a [u8]) -> Result<Option<StateEntry<'a>>, CutOff> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut rest = *bytes;
    let header = cut(&mut rest, STATE_HEADER_BYTES)?;
    let key = cut(&mut rest, number(&header[5..7]) as usize)?;
    let value = cut(&mut rest, number(&header[7..]) as usize)?;
    *bytes = rest;
    let community = CommunityId(number(&header[..4]) as u32);
    Ok(Some(StateEntry { community, table: StateTable(header[4]), key, value }))
}

/// Writes one removed record as an entry.
pub fn write_removed(community: CommunityId, location: Location, out: &mut Vec<u8>) {
    out.extend_from_slice(&community.0.to_be_bytes());
    out.extend_from_slice(&location.number.to_be_bytes());
    out.push(location.slot);
}
