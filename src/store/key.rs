//! The layout of keys: which bytes name a record, a part, a state entry and the meta record.
//!
//! In: communities, numbers, state keys. Out: bytes that sort as the store needs them, and text for errors.
//! Pure; never reads the store.
//!
//! | key | names |
//! |---|---|
//! | `01 community:4 number:8` | a pack, or the head of a long record |
//! | `01 community:4 number:8 part:2` | a further part of a long record, right after its head |
//! | `02 community:4 table:1 key` | a state entry |
//! | `03 community:4 number:8` and `… part:2` | the same as `01` for a record that is kept loose |
//! | `04 group:8 part:2` | what a group removed |
//! | `ff` | the meta record |
//! | `ff community:4` | the community's next number |
//!
//! Numbers are big endian, so that inserts append within their community.
//!
//! sled splits a leaf of 17 entries in its middle and writes both halves again, and a leaf of more than ten
//! pieces whole. What is simply appended is so written three times, and of its log half is waste. Hence:
//!
//! - Keys of packs to come are written before, in order and with empty values (*blanks*). Leaves are then
//!   split while they are next to nothing, each pack is written once, by the link that fills its blank, and
//!   its leaf is never touched again. Numbers of packs are multiples of 64, so that blanks fit. Packs of
//!   4,000 bytes take 1.1 times their length in sled's file, and 1.6 times when they are plainly appended.
//! - The last eight numbers of `03` are *bookends*: tiny entries behind the newest loose record. The upper
//!   half of a split is then theirs, and what was appended is written once again instead of twice.

use std::ops::Range;

use super::{CommunityId, StateTable};

const RECORDS: u8 = 1;
const STATE: u8 = 2;
const LOOSE: u8 = 3;
const REMOVED: u8 = 4;

/// See the module.
const BOOKENDS: u64 = 8;

const NEXT_NUMBER_BYTES: usize = 5;

/// Where a record is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Shelf {
    /// In a pack with its neighbours, or in parts when it is long.
    Packed,
    /// By itself: it will probably be removed one day, and its removal rewrites no other.
    Loose,
}

impl Shelf {
    fn table(self) -> u8 {
        match self {
            Shelf::Packed => RECORDS,
            Shelf::Loose => LOOSE,
        }
    }
}

/// Last, so that the leaf that every group touches is the one that newest records touch anyway.
pub(super) const META: [u8; 1] = [0xff];

const HEAD_BYTES: usize = 13;
const PART_BYTES: usize = HEAD_BYTES + 2;
const REMOVED_BYTES: usize = 11;
const STATE_PREFIX_BYTES: usize = 6;

/// What a key of the records table names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RecordKey {
    /// A pack, or the head of a long record.
    Head(u64),
    /// A further part of the long record with this number.
    Part(u64),
}

/// The key of a pack, of a long record's head, or of a loose record.
pub(super) fn head(shelf: Shelf, community: CommunityId, number: u64) -> [u8; HEAD_BYTES] {
    let mut key = [0; HEAD_BYTES];
    key[0] = shelf.table();
    key[1..5].copy_from_slice(&community.0.to_be_bytes());
    key[5..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The key of a long record's part; parts count from 1, as the head holds the first bytes itself.
pub(super) fn part(shelf: Shelf, community: CommunityId, number: u64, part: u16) -> [u8; PART_BYTES] {
    let mut key = [0; PART_BYTES];
    key[..HEAD_BYTES].copy_from_slice(&head(shelf, community, number));
    key[HEAD_BYTES..].copy_from_slice(&part.to_be_bytes());
    key
}

/// The end of the key of a part, where of the key of its head only the end is known.
pub(super) fn part_of(head: &[u8], part: u16) -> Vec<u8> {
    [head, &part.to_be_bytes()].concat()
}

/// Reads back a key of the records table.
pub(super) fn read_record_key(key: &[u8]) -> Option<RecordKey> {
    let number = u64::from_be_bytes(key.get(5..HEAD_BYTES)?.try_into().ok()?);
    match key.len() {
        HEAD_BYTES => Some(RecordKey::Head(number)),
        PART_BYTES => Some(RecordKey::Part(number)),
        _ => None,
    }
}

/// All keys of a community's records whose pack or head is in `numbers`.
pub(super) fn head_range(
    shelf: Shelf,
    community: CommunityId,
    numbers: Range<u64>,
) -> Range<[u8; HEAD_BYTES]> {
    head(shelf, community, numbers.start)..head(shelf, community, numbers.end)
}

/// The keys of the bookends of a community's loose records. Their values are empty.
pub(super) fn bookends(community: CommunityId) -> impl Iterator<Item = [u8; HEAD_BYTES]> {
    (0..BOOKENDS).map(move |back| head(Shelf::Loose, community, u64::MAX - back))
}

/// The key of a community's next number.
pub(super) fn next_number(community: CommunityId) -> [u8; NEXT_NUMBER_BYTES] {
    let mut key = [0; NEXT_NUMBER_BYTES];
    key[0] = META[0];
    key[1..].copy_from_slice(&community.0.to_be_bytes());
    key
}

/// Whose next number a key is; `None` for other keys.
pub(super) fn read_next_number_key(key: &[u8]) -> Option<CommunityId> {
    match key {
        [first, community @ ..] if *first == META[0] => {
            community.try_into().ok().map(|community| CommunityId(u32::from_be_bytes(community)))
        }
        _ => None,
    }
}

/// The key of a part of what a group removed; parts count from 0.
pub(super) fn removed(group: u64, part: u16) -> [u8; REMOVED_BYTES] {
    let mut key = [0; REMOVED_BYTES];
    key[0] = REMOVED;
    key[1..9].copy_from_slice(&group.to_be_bytes());
    key[9..].copy_from_slice(&part.to_be_bytes());
    key
}

/// What every key of a state table begins with.
pub(super) fn state_prefix(community: CommunityId, table: StateTable) -> [u8; STATE_PREFIX_BYTES] {
    let mut prefix = [0; STATE_PREFIX_BYTES];
    prefix[0] = STATE;
    prefix[1..5].copy_from_slice(&community.0.to_be_bytes());
    prefix[5] = table.0;
    prefix
}

/// The key of a state entry.
pub(super) fn state(community: CommunityId, table: StateTable, key: &[u8]) -> Vec<u8> {
    [&state_prefix(community, table)[..], key].concat()
}

/// All keys of state entries, of every community and table.
pub(super) fn state_range() -> Range<[u8; 1]> {
    [STATE]..[STATE + 1]
}

/// Reads back the key of a state entry.
pub(super) fn read_state_key(key: &[u8]) -> Option<(CommunityId, StateTable, &[u8])> {
    let (prefix, suffix) = key.split_first_chunk::<STATE_PREFIX_BYTES>()?;
    let [STATE, a, b, c, d, table] = *prefix else { return None };
    Some((CommunityId(u32::from_be_bytes([a, b, c, d])), StateTable(table), suffix))
}

/// The caller's part of a state entry's key.
pub(super) fn state_suffix(key: &[u8]) -> &[u8] {
    key.get(STATE_PREFIX_BYTES..).unwrap_or_default()
}

/// Whether a key is one of these, from its first byte to its last, as far as its form tells.
pub(super) fn is_whole(key: &[u8]) -> bool {
    match key {
        [RECORDS | LOOSE, ..] => matches!(key.len(), HEAD_BYTES | PART_BYTES),
        [STATE, ..] => key.len() >= STATE_PREFIX_BYTES,
        [REMOVED, ..] => key.len() == REMOVED_BYTES,
        [0xff, ..] => matches!(key.len(), 1 | NEXT_NUMBER_BYTES),
        _ => false,
    }
}

/// Whether a key names a record, a part of one, or a state entry.
pub(super) fn is_of_records_or_state(key: &[u8]) -> bool {
    matches!(key, [RECORDS | LOOSE | STATE, ..])
}

/// Where the record of a key is kept, and whose it is; `None` for other keys.
pub(super) fn shelf_of(key: &[u8]) -> Option<(Shelf, CommunityId)> {
    let (first, rest) = key.split_first()?;
    let community = CommunityId(u32::from_be_bytes(*rest.first_chunk()?));
    match *first {
        RECORDS => Some((Shelf::Packed, community)),
        LOOSE => Some((Shelf::Loose, community)),
        _ => None,
    }
}

/// The group whose removals a key names; `None` for other keys.
pub(super) fn read_removed_key(key: &[u8]) -> Option<u64> {
    match key {
        [REMOVED, group @ .., _, _] => group.try_into().ok().map(u64::from_be_bytes),
        _ => None,
    }
}

/// A key as a person reads it in an error.
pub(super) fn describe(key: &[u8]) -> String {
    let community = |key: &[u8]| u32::from_be_bytes([key[1], key[2], key[3], key[4]]);
    match key {
        [0xff] => "meta".to_owned(),
        [0xff, ..] if key.len() == NEXT_NUMBER_BYTES => format!("community {} next number", community(key)),
        [REMOVED, ..] if key.len() == REMOVED_BYTES => {
            let group = key[1..9].iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
            format!("removals of group {group}")
        }
        [RECORDS | LOOSE, ..] if key.len() == HEAD_BYTES || key.len() == PART_BYTES => {
            let part = key.get(HEAD_BYTES..).filter(|part| part.len() == 2);
            let part = part
                .map_or(String::new(), |part| format!(" part {}", u16::from_be_bytes([part[0], part[1]])));
            let number =
                key[5..HEAD_BYTES].iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
            format!("community {} record {number}{part}", community(key))
        }
        [STATE, ..] if key.len() >= STATE_PREFIX_BYTES => {
            format!("community {} state {} {:02x?}", community(key), key[5], state_suffix(key))
        }
        _ => format!("{key:02x?}"),
    }
}
