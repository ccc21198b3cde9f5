//! The layout of values: packs of small records, long records in parts, the meta record.
//!
//! In: records, or bytes from the disk. Out: bytes, or what they mean, or why they mean nothing. Pure; never
//! reads the store, never panics on what a disk may hold.
//!
//! Every value starts with its version and its layout:
//!
//! | bytes | meaning |
//! |---|---|
//! | `version 1 count:1 length:2×count record…` | a pack; a length of `ffff` is a slot whose record was removed |
//! | `version 2 length:4 bytes` | the head of a long record: its whole length, and its first bytes |
//! | `version 3 bytes` | a further part of it |
//! | `version 4 first_number:8 groups:8` | the meta record |
//! | `version 7 next_number:8 records:8 sum:8` | a community's own next number, and its tally (`tally.rs`) |
//! | `version 6 next_number:8` | the same without a tally, as earlier versions wrote it |
//! | `version 5 (community:4 number:8 slot:1)…` | locations that a group removed |
//!
//! A loose record is a pack of one.

use super::tally::{Numbering, Tally};
use super::{CommunityId, Location};

/// The only version of values that this build reads and writes.
pub(super) const VERSION: u8 = 1;

/// No value is longer. sled moves a leaf of more than 128 KiB into a file that it never syncs. A leaf splits
/// when it is visited with more than 16 values, but it may first take up to 3 from a neighbour that removals
/// have nearly emptied. With values of 7,000 bytes such a merge was seen to make a leaf of 19 and a blob.
pub(super) const VALUE_BYTES_MAX: usize = 6_400;

/// A pack is closed before it grows past this, unless its only record is longer.
///
/// Measured with 200 MB of random values, 100 values a group, sled's cache at 128 MB, the file in the kernel's:
/// CPU of a value, length of sled's file by that of the values, and a get of a page that is in no cache.
///
/// | bytes a value | appended plainly | into blanks (`key.rs`) |
/// |---|---|---|
/// | 1,000 | 9.6 µs, 1.74, 10.9 µs | 9.3 µs, 1.44, 18.4 µs |
/// | 2,000 | 12.7 µs, 1.67, 12.0 µs | 10.7 µs, 1.22, 18.4 µs |
/// | 4,000 | 18.6 µs, 1.57, 13.2 µs | 14.0 µs, 1.11, 19.4 µs |
///
/// Each removal rewrites its pack, so that larger ones would make deletions dear.
pub(super) const PACK_BYTES_TARGET: usize = 4_000;

/// Numbers from one pack to the next, and so the most slots that a pack has.
pub(super) const PACK_SLOTS: u64 = 64;

/// The most slots that a pack may have been written with: earlier versions had no fixed step.
pub(super) const PACK_SLOTS_MAX: usize = u8::MAX as usize;

/// A longer record is refused. Parts are counted in two bytes, which would allow more.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 20;

/// The most values that a leaf of sled can come to hold, what each adds beside its own length, and what sled
/// keeps within its file, with some room for headers.
const LEAF_VALUES_MAX: usize = 20;
const LEAF_ENTRY_EXTRA_BYTES: usize = 16 + 32;
const LEAF_BYTES_MAX: usize = 128 * 1024 - 512;

const PACK: u8 = 1;
const LONG: u8 = 2;
const PART: u8 = 3;
const META: u8 = 4;
const REMOVED_LOCATIONS: u8 = 5;
const NEXT_NUMBER: u8 = 6;
const NUMBERING: u8 = 7;

const PACK_HEADER_BYTES: usize = 3;
const SLOT_BYTES: usize = 2;
const LONG_HEADER_BYTES: usize = 6;
const PART_HEADER_BYTES: usize = 2;
const META_BYTES: usize = 18;
const REMOVED_HEADER_BYTES: usize = 2;
const LOCATION_BYTES: usize = 13;
const REMOVED: u16 = u16::MAX;

const LONG_FIRST_BYTES: usize = VALUE_BYTES_MAX - LONG_HEADER_BYTES;
const PART_BYTES: usize = VALUE_BYTES_MAX - PART_HEADER_BYTES;

const _: () = assert!(PACK_BYTES_TARGET <= VALUE_BYTES_MAX);
const _: () = assert!(VALUE_BYTES_MAX < REMOVED as usize);
const _: () = assert!(LEAF_VALUES_MAX * (VALUE_BYTES_MAX + LEAF_ENTRY_EXTRA_BYTES) <= LEAF_BYTES_MAX);
const _: () = assert!((RECORD_BYTES_MAX - LONG_FIRST_BYTES).div_ceil(PART_BYTES) <= u16::MAX as usize);

/// Why bytes from the disk mean nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unreadable {
    /// Written by a build that this one does not know.
    Version(u8),
    /// Not the shape that the version promises.
    Damaged(&'static str),
}

/// What a key without a part number holds.
#[derive(Debug)]
pub(super) enum Head<'a> {
    /// Records side by side.
    Pack(Pack<'a>),
    /// A long record.
    Long(Long<'a>),
}

/// Reads the value of a key without a part number.
pub(super) fn read_head(value: &[u8]) -> Result<Head<'_>, Unreadable> {
    match layout(value)? {
        PACK => Pack::read(value).map(Head::Pack),
        LONG => Long::read(value).map(Head::Long),
        _ => Err(Unreadable::Damaged("it is neither a pack nor a long record")),
    }
}

/// Checks the version and returns the layout.
fn layout(value: &[u8]) -> Result<u8, Unreadable> {
    match value {
        [] => Err(Unreadable::Damaged("it is empty")),
        [version, ..] if *version != VERSION => Err(Unreadable::Version(*version)),
        [_] => Err(Unreadable::Damaged("it ends after its version")),
        [_, layout, ..] => Ok(*layout),
    }
}

/// Small records side by side, each in a slot.
#[derive(Debug)]
pub(super) struct Pack<'a> {
    lengths: &'a [u8],
    records: &'a [u8],
}

impl<'a> Pack<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Unreadable> {
        let slots = usize::from(*value.get(2).ok_or(Unreadable::Damaged("the pack has no header"))?);
        let (lengths, records) = value[PACK_HEADER_BYTES..]
            .split_at_checked(slots * SLOT_BYTES)
            .ok_or(Unreadable::Damaged("the pack ends within its lengths"))?;
        let pack = Pack { lengths, records };
        let bytes: usize = pack.lengths().map(stored_bytes).sum();
        if slots == 0 || bytes != records.len() {
            return Err(Unreadable::Damaged("the pack's lengths do not add up to its size"));
        }
        Ok(pack)
    }

    fn lengths(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.lengths.chunks_exact(SLOT_BYTES).map(|length| u16::from_be_bytes([length[0], length[1]]))
    }

    /// The slots in their order; `None` is one whose record was removed.
    pub(super) fn slots(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let mut rest = self.records;
        self.lengths().map(move |length| {
            let record;
            (record, rest) = rest.split_at(stored_bytes(length));
            (length != REMOVED).then_some(record)
        })
    }

    /// The same pack with these slots emptied, or `None` if no record is left.
    pub(super) fn without(&self, removed: &[u8]) -> Option<Vec<u8>> {
        let mut builder = PackBuilder::default();
        let mut left = false;
        for (slot, record) in self.slots().enumerate() {
            let record = record.filter(|_| !removed.iter().any(|gone| usize::from(*gone) == slot));
            left |= record.is_some();
            builder.push_slot(record);
        }
        left.then(|| builder.finish())
    }
}

/// How many bytes a slot with this length takes among the records.
fn stored_bytes(length: u16) -> usize {
    if length == REMOVED { 0 } else { usize::from(length) }
}

/// Collects records until their pack is full.
#[derive(Default)]
pub(super) struct PackBuilder {
    lengths: Vec<u8>,
    records: Vec<u8>,
    has_records: bool,
}

impl PackBuilder {
    /// Whether a record of this length keeps the pack within `bytes_target`; an empty pack takes any.
    pub(super) fn has_room(&self, record_bytes: usize, bytes_target: usize) -> bool {
        (self.slots() as u64) < PACK_SLOTS
            && (self.is_empty() || self.bytes() + SLOT_BYTES + record_bytes <= bytes_target)
    }

    /// How many slots it has, empty ones among them.
    pub(super) fn slots(&self) -> usize {
        self.lengths.len() / SLOT_BYTES
    }

    /// Appends a record, which must be shorter than [`is_long`] says.
    pub(super) fn push(&mut self, record: &[u8]) {
        self.push_slot(Some(record));
    }

    /// Appends a slot without a record.
    pub(super) fn push_empty(&mut self) {
        self.push_slot(None);
    }

    fn push_slot(&mut self, record: Option<&[u8]>) {
        // Values are shorter than `REMOVED`, which the assertions above hold.
        let length = record.map_or(REMOVED, |record| record.len() as u16);
        self.has_records |= record.is_some();
        self.lengths.extend_from_slice(&length.to_be_bytes());
        self.records.extend_from_slice(record.unwrap_or_default());
    }

    fn bytes(&self) -> usize {
        PACK_HEADER_BYTES + self.lengths.len() + self.records.len()
    }

    /// Whether it holds no record.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_records
    }

    /// The pack's value; the builder is empty afterwards.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut value = Vec::with_capacity(self.bytes());
        value.extend_from_slice(&[VERSION, PACK, (self.lengths.len() / SLOT_BYTES) as u8]);
        value.append(&mut self.lengths);
        value.append(&mut self.records);
        self.has_records = false;
        value
    }
}

/// Whether a record of this length must be split into parts: with empty slots before it, it would not fit a
/// pack for certain.
pub(super) fn is_long(record_bytes: usize) -> bool {
    PACK_HEADER_BYTES + PACK_SLOTS as usize * SLOT_BYTES + record_bytes > VALUE_BYTES_MAX
}

/// The head of a long record.
#[derive(Debug)]
pub(super) struct Long<'a> {
    /// The length of the whole record.
    pub(super) record_bytes: usize,
    /// Its first bytes.
    pub(super) first: &'a [u8],
}

impl<'a> Long<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Unreadable> {
        let (header, first) = value
            .split_at_checked(LONG_HEADER_BYTES)
            .ok_or(Unreadable::Damaged("the long record has no header"))?;
        let record_bytes = u32::from_be_bytes([header[2], header[3], header[4], header[5]]) as usize;
        if record_bytes > RECORD_BYTES_MAX
            || !is_long(record_bytes)
            || first.len() != LONG_FIRST_BYTES.min(record_bytes)
        {
            return Err(Unreadable::Damaged("the long record's length does not fit its first bytes"));
        }
        Ok(Long { record_bytes, first })
    }

    /// How many parts follow the head.
    pub(super) fn parts(&self) -> u16 {
        (self.record_bytes - self.first.len()).div_ceil(PART_BYTES) as u16
    }
}

/// The values of a long record: its head, then its parts.
pub(super) fn write_long(record: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let (first, rest) = record.split_at(LONG_FIRST_BYTES.min(record.len()));
    let length = (record.len() as u32).to_be_bytes();
    let head = [&[VERSION, LONG][..], &length, first].concat();
    std::iter::once(head).chain(rest.chunks(PART_BYTES).map(|bytes| [&[VERSION, PART][..], bytes].concat()))
}

/// Reads the bytes of a long record's part, of which `missing_bytes` are still to come.
pub(super) fn read_part(value: &[u8], missing_bytes: usize) -> Result<&[u8], Unreadable> {
    if layout(value)? != PART {
        return Err(Unreadable::Damaged("it is not a part of a long record"));
    }
    let bytes = &value[PART_HEADER_BYTES..];
    if bytes.len() != missing_bytes.min(PART_BYTES) {
        return Err(Unreadable::Damaged("the part has not the length that its record needs"));
    }
    Ok(bytes)
}

/// The values that name what a group removed.
pub(super) fn write_removed(removed: &[(CommunityId, Location)]) -> impl Iterator<Item = Vec<u8>> + '_ {
    removed.chunks((VALUE_BYTES_MAX - REMOVED_HEADER_BYTES) / LOCATION_BYTES).map(|locations| {
        let mut value = vec![VERSION, REMOVED_LOCATIONS];
        for (community, location) in locations {
            value.extend_from_slice(&community.0.to_be_bytes());
            value.extend_from_slice(&location.number.to_be_bytes());
            value.push(location.slot);
        }
        value
    })
}

/// Reads one of them.
pub(super) fn read_removed(
    value: &[u8],
    removed: &mut Vec<(CommunityId, Location)>,
) -> Result<(), Unreadable> {
    if layout(value)? != REMOVED_LOCATIONS {
        return Err(Unreadable::Damaged("it does not name what a group removed"));
    }
    let (locations, rest) = value[REMOVED_HEADER_BYTES..].as_chunks::<LOCATION_BYTES>();
    if !rest.is_empty() {
        return Err(Unreadable::Damaged("it ends within the name of a removed record"));
    }
    for &[a, b, c, d, number @ .., slot] in locations {
        let location = Location { number: u64::from_be_bytes(number), slot };
        removed.push((CommunityId(u32::from_be_bytes([a, b, c, d])), location));
    }
    Ok(())
}

/// The value that tells a community's next number, and its tally if that is known.
pub(super) fn write_numbering(numbering: Numbering) -> Vec<u8> {
    let next = numbering.next.to_be_bytes();
    match numbering.tally {
        None => [&[VERSION, NEXT_NUMBER][..], &next].concat(),
        Some(Tally { records, sum }) => {
            [&[VERSION, NUMBERING][..], &next, &records.to_be_bytes(), &sum.to_be_bytes()].concat()
        }
    }
}

/// Reads it.
pub(super) fn read_numbering(value: &[u8]) -> Result<Numbering, Unreadable> {
    let layout = layout(value)?;
    let (numbers, rest) = value[2..].as_chunks::<8>();
    let numbers: Vec<u64> = numbers.iter().map(|number| u64::from_be_bytes(*number)).collect();
    match (layout, &numbers[..], rest) {
        (NEXT_NUMBER, &[next], []) => Ok(Numbering { next, tally: None }),
        (NUMBERING, &[next, records, sum], []) => Ok(Numbering { next, tally: Some(Tally { records, sum }) }),
        _ => Err(Unreadable::Damaged("it is not a community's next number")),
    }
}

/// What the store knows of itself; written with every group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Meta {
    /// The least number of a community that has none of its own: 0, but for stores that were made when all
    /// communities counted together.
    pub(super) first_number: u64,
    /// How many groups were committed.
    pub(super) groups: u64,
}

impl Meta {
    pub(super) fn write(self) -> Vec<u8> {
        [&[VERSION, META][..], &self.first_number.to_be_bytes(), &self.groups.to_be_bytes()].concat()
    }

    pub(super) fn read(value: &[u8]) -> Result<Self, Unreadable> {
        if layout(value)? != META || value.len() != META_BYTES {
            return Err(Unreadable::Damaged("it is not a meta record"));
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        Ok(Meta { first_number: number(&value[2..10]), groups: number(&value[10..]) })
    }
}
