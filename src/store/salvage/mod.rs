//! Reads what can be read of a store that sled does not open, or of which parts are lost: its file as it lies there,
//! message by message, without sled. In: the store's folder, which is not changed. Out: the newest value of each key
//! that has one, and where the file is damaged.
//!
//! sled's log holds each page as a whole now and then, and its changes since. What is damaged is passed over: of a
//! page whose newest version is lost an earlier one counts, with all later changes that can be read. A value is so
//! found wherever it and one version of its page, which tells where keys of the page begin, can be read. What was
//! removed by a change that is lost is found as well, and it cannot be told that it was removed.

pub(super) mod log;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use self::log::{Link, Message, SEGMENT_BYTES, What};
use super::files::{self, io_error};
use super::key::{self, RecordKey, Shelf};
use super::tally::Tally;
use super::value::{self, Head, Meta};
use super::{CommunityId, Location, StateTable, StoreError};

/// Keys that a leaf of sled may have without their beginning; no longer ones are looked for.
const KEY_BYTES_MAX: usize = 512;

/// Where a value lies in the file.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u64,
    len: usize,
}

/// A value of a page of which no version tells where its keys begin.
struct Orphan {
    page: u64,
    /// The end of its key.
    suffix: Vec<u8>,
    place: Place,
}

/// What a store that may be damaged still holds.
pub struct Salvage {
    path: PathBuf,
    /// sled's file, and what was set aside of it before sled opened it.
    files: Vec<Part>,
    values: BTreeMap<Vec<u8>, Place>,
    /// Keys of what was not taken because it is doubtful, as far as nothing later says what they are.
    left_out: BTreeSet<Vec<u8>>,
    /// Values of which nobody knows the keys.
    orphans: Vec<Orphan>,
    /// Where the file is damaged: begin and end of each place, in order.
    pub damaged: Vec<(u64, u64)>,
    /// Whether sled has put something into files of its own, which are not read.
    pub has_blobs: bool,
    /// How many groups there were, as far as it can be read.
    pub groups: u64,
    /// How many groups, the newest, are missing of those that were safe.
    pub groups_missing: u64,
    /// Where communities count from that have no number of their own.
    pub first_number: u64,
    /// Where communities go on counting, and what they had, as far as it can be read.
    pub numberings: BTreeMap<u32, (u64, Option<Tally>)>,
    /// What the store says was removed.
    pub removed: HashSet<(CommunityId, Location)>,
}

/// Something that was found.
#[derive(Debug)]
pub enum Found<'a> {
    /// A record in its place; without one, where that is lost.
    Record(Option<(CommunityId, Location)>, &'a [u8]),
    /// A state entry.
    State(CommunityId, StateTable, &'a [u8], &'a [u8]),
    /// A value that makes no sense, by its key.
    Unreadable(String),
}

/// A file with segments.
struct Part {
    file: File,
    /// Where its bytes count from.
    base: u64,
    /// Whether it was written before all that has its moments in sled's file: that began where the log was ended.
    is_torn: bool,
}

/// A segment that was read.
struct ReadSegment {
    base: u64,
    /// With which it begins; `None` when its header is damaged.
    moment: Option<u64>,
    messages: Vec<Message>,
}

/// What is known of a page while the log is read.
struct Page {
    prefix_bytes: usize,
    low: Vec<u8>,
}

impl Part {
    /// Where the bytes of the next file count from.
    fn end(&self) -> std::io::Result<u64> {
        Ok(self.base + self.file.metadata()?.len().next_multiple_of(SEGMENT_BYTES as u64))
    }
}

impl Salvage {
    /// Reads the file of a store.
    ///
    /// # Errors
    /// When it cannot be read, or another process has it open.
    pub fn open(path: &Path) -> Result<Salvage, StoreError> {
        let db = path.join(files::DB);
        let file = File::open(&db).map_err(|source| io_error(&db, "open", source))?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreError::InUse { path: path.to_owned() }),
            locked => locked.map_err(|error| io_error(&db, "lock", error.into()))?,
        }
        let mut files = vec![Part { file, base: 0, is_torn: false }];
        for (copy, is_torn) in super::tail::copies(path).iter().zip([true, false]) {
            let Ok(file) = File::open(copy) else { continue };
            let end =
                files.last().map_or(Ok(0), Part::end).map_err(|source| io_error(&db, "read", source))?;
            files.push(Part { file, base: end, is_torn });
        }
        let mut salvage = Salvage {
            path: path.to_owned(),
            files,
            values: BTreeMap::new(),
            left_out: BTreeSet::new(),
            orphans: Vec::new(),
            damaged: Vec::new(),
            has_blobs: false,
            groups: 0,
            groups_missing: 0,
            first_number: 0,
            numberings: BTreeMap::new(),
            removed: HashSet::new(),
        };
        let messages = salvage.read_messages()?;
        salvage.replay(&messages)?;
        salvage.read_numbers()?;
        Ok(salvage)
    }

    /// Shows all that was found: records in order of number within each community and shelf, then those whose place is
    /// lost.
    ///
    /// # Errors
    /// When the file cannot be read, or `visit` fails.
    pub fn each<E: From<StoreError>>(
        &self,
        mut visit: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for (key, place) in &self.values {
            let value = self.read(*place)?;
            if let Some((community, table, suffix)) = key::read_state_key(key) {
                if table != super::copy::COPIES {
                    visit(Found::State(community, table, suffix, &value))?;
                }
                continue;
            }
            let Some((shelf, community)) = key::shelf_of(key) else { continue };
            match key::read_record_key(key) {
                // Blanks are empty.
                Some(RecordKey::Head(number)) if !value.is_empty() => {
                    self.records(shelf, community, number, &value, &mut visit)?;
                }
                _ => {}
            }
        }
        self.left_out.iter().try_for_each(|key| visit(Found::Unreadable(key::describe(key))))?;
        let by_key: HashMap<(u64, &[u8]), Place> =
            self.orphans.iter().map(|orphan| ((orphan.page, &orphan.suffix[..]), orphan.place)).collect();
        for Orphan { page, suffix, place } in &self.orphans {
            let value = self.read(*place)?;
            match value::read_head(&value) {
                Ok(Head::Pack(pack)) => {
                    pack.slots().flatten().try_for_each(|record| visit(Found::Record(None, record)))?;
                }
                // Its parts are of the same page, as a rule: their keys go on where its own ends.
                Ok(Head::Long(long)) => {
                    let part = |part: u16| by_key.get(&(*page, &key::part_of(suffix, part)[..])).copied();
                    if let Some(record) = self.join(&long, part)? {
                        visit(Found::Record(None, &record))?;
                    }
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// A long record of all its parts; `None` when one is missing.
    fn join(
        &self,
        long: &value::Long<'_>,
        part: impl Fn(u16) -> Option<Place>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut record = long.first.to_vec();
        for number in 1..=long.parts() {
            let Some(place) = part(number) else { return Ok(None) };
            let value = self.read(place)?;
            match value::read_part(&value, long.record_bytes - record.len()) {
                Ok(bytes) => record.extend_from_slice(bytes),
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(record))
    }

    /// Shows the records of one value.
    fn records<E: From<StoreError>>(
        &self,
        shelf: Shelf,
        community: CommunityId,
        number: u64,
        value: &[u8],
        visit: &mut impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let key = key::head(shelf, community, number);
        match value::read_head(value) {
            Ok(Head::Pack(pack)) => {
                for (at, record) in (0_u8..).zip(pack.slots()) {
                    let (number, slot) = match shelf {
                        Shelf::Packed => (number + u64::from(at), at),
                        Shelf::Loose => (number, Location::LOOSE),
                    };
                    if let Some(record) = record {
                        visit(Found::Record(Some((community, Location { number, slot })), record))?;
                    }
                }
                Ok(())
            }
            Ok(Head::Long(long)) => {
                let slot = if shelf == Shelf::Packed { 0 } else { Location::LOOSE };
                let part = |part| self.values.get(&key::part(shelf, community, number, part)[..]).copied();
                match self.join(&long, part)? {
                    Some(record) => {
                        visit(Found::Record(Some((community, Location { number, slot })), &record))
                    }
                    None => visit(Found::Unreadable(key::describe(&key))),
                }
            }
            Err(_) => visit(Found::Unreadable(key::describe(&key))),
        }
    }

    /// A number that is behind all that a community has given, if `last` is the highest that is known.
    pub fn next_number(&self, community: CommunityId, last: Option<u64>) -> u64 {
        let counted = self.numberings.get(&community.0).map_or(0, |(next, _)| *next);
        // A pack is never written again: the next one has a key of its own.
        let found = last.map_or(0, |last| (last + 1).next_multiple_of(value::PACK_SLOTS));
        counted.max(found)
    }

    fn read(&self, place: Place) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; place.len];
        self.read_at(&mut bytes, place.at).map_err(|source| self.unread(source))?;
        Ok(bytes)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
        let part = self.files.iter().rfind(|part| part.base <= at).unwrap_or(&self.files[0]);
        part.file.read_exact_at(bytes, at - part.base)
    }

    fn unread(&self, source: std::io::Error) -> StoreError {
        io_error(&self.path.join(files::DB), "read", source)
    }

    /// All messages of the files, oldest first, with where their segments begin.
    fn read_messages(&mut self) -> Result<Vec<(u64, Message)>, StoreError> {
        let mut messages = Vec::new();
        let mut named: HashSet<u64> = HashSet::new();
        let mut torn_from = u64::MAX;
        for part in 0..self.files.len() {
            let is_torn = self.files[part].is_torn;
            for ReadSegment { base, moment, messages: found } in self.read_file(part)? {
                match moment {
                    Some(moment) if is_torn => torn_from = torn_from.min(moment),
                    Some(moment) => drop(named.insert(moment)),
                    None => {}
                }
                messages.extend(found.into_iter().map(|message| (is_torn, moment, base, message)));
            }
        }
        // A part of the log that was written again, as after a power cut, counts as it was written last.
        let segment_of = |message: &Message| message.moment - message.moment % SEGMENT_BYTES as u64;
        messages.retain(|(_, moment, _, message)| moment.is_some() || !named.contains(&segment_of(message)));
        messages.sort_by_key(|(is_torn, _, base, message)| {
            let is_later = !is_torn && message.moment >= torn_from;
            (is_later, message.moment, *base)
        });
        Ok(messages.into_iter().map(|(_, _, base, message)| (base, message)).collect())
    }

    fn read_file(&mut self, part: usize) -> Result<Vec<ReadSegment>, StoreError> {
        let Part { file, base: first, .. } = &self.files[part];
        let first = *first;
        let len = file.metadata().map_err(|source| self.unread(source))?.len();
        let mut segments = Vec::new();
        let mut bytes = vec![0; SEGMENT_BYTES];
        for offset in (0..len).step_by(SEGMENT_BYTES) {
            let base = first + offset;
            bytes.resize(SEGMENT_BYTES.min((len - offset) as usize), 0);
            if self.read_at(&mut bytes, base).is_err() {
                // A disk with bad sectors gives what it can.
                self.read_sectors(&mut bytes, base);
            }
            let moment = bytes.first_chunk().and_then(log::read_segment_header).map(|(moment, _)| moment);
            let segment = log::read_segment(&bytes);
            let damaged = segment.damaged.iter().map(|(from, to)| (base + *from as u64, base + *to as u64));
            // What was set aside has what sled's file lacks, and need not be whole.
            self.damaged.extend(damaged.filter(|_| part == 0));
            segments.push(ReadSegment { base, moment, messages: segment.messages });
        }
        Ok(segments)
    }

    /// Reads what can be read, sector by sector; of the others nothing.
    fn read_sectors(&self, bytes: &mut [u8], base: u64) {
        const SECTOR_BYTES: usize = 512;
        for (at, sector) in (base..).step_by(SECTOR_BYTES).zip(bytes.chunks_mut(SECTOR_BYTES)) {
            if self.read_at(sector, at).is_err() {
                // No message has these bytes, so that they count as damaged.
                sector.fill(0xff);
            }
        }
    }

    /// Goes through all that was written, in order, and keeps what counts in the end.
    fn replay(&mut self, messages: &[(u64, Message)]) -> Result<(), StoreError> {
        let mut pages: HashMap<u64, Page> = HashMap::new();
        // A page keeps where its keys begin: any version of it tells.
        let is_sure = |(_, message): &&(u64, Message)| message.what == What::Node && !message.is_doubtful;
        for (base, message) in messages.iter().filter(is_sure) {
            if !pages.contains_key(&message.page)
                && let Some(leaf) = log::read_leaf(&self.body(*base, message)?)
            {
                pages.insert(message.page, Page { prefix_bytes: leaf.prefix_bytes, low: leaf.low });
            }
        }
        for (base, message) in messages {
            let at = base + message.body.0 as u64;
            match message.what {
                What::Node | What::Link if message.is_doubtful => {
                    let body = self.body(*base, message)?;
                    self.take_doubtful(pages.get(&message.page), message, &body, at);
                }
                What::Node => {
                    if let Some(leaf) = log::read_leaf(&self.body(*base, message)?) {
                        let prefix = leaf.low[..leaf.prefix_bytes].to_vec();
                        self.forget_range(&leaf.low, &leaf.high);
                        for (suffix, place) in leaf.entries {
                            self.set([&prefix[..], &suffix].concat(), at, place);
                        }
                        pages.insert(message.page, Page { prefix_bytes: leaf.prefix_bytes, low: leaf.low });
                    }
                }
                What::Link => {
                    if let Some(link) = log::read_link(&self.body(*base, message)?) {
                        self.change(pages.get(&message.page), message.page, link, at);
                    }
                }
                What::Elsewhere => self.has_blobs = true,
                What::Other => {}
            }
        }
        Ok(())
    }

    fn body(&self, base: u64, message: &Message) -> Result<Vec<u8>, StoreError> {
        self.read(Place { at: base + message.body.0 as u64, len: message.body.1 })
    }

    fn set(&mut self, key: Vec<u8>, body_at: u64, (at, len): (usize, usize)) {
        self.left_out.remove(&key);
        self.values.insert(key, Place { at: body_at + at as u64, len });
    }

    /// A leaf holds all keys of its range: what else was there is gone.
    fn forget_range(&mut self, low: &[u8], high: &[u8]) {
        let from = low.to_vec();
        let gone: Vec<Vec<u8>> = match high {
            [] => self.values.range(from..).map(|(key, _)| key.clone()).collect(),
            high if low < high => {
                self.values.range(from..high.to_vec()).map(|(key, _)| key.clone()).collect()
            }
            _ => Vec::new(),
        };
        for key in gone {
            self.values.remove(&key);
        }
        self.left_out.retain(|key| &key[..] < low || !high.is_empty() && &key[..] >= high);
    }

    fn change(&mut self, page: Option<&Page>, number: u64, (suffix, place): Link, body_at: u64) {
        match (page.and_then(|page| whole_key(page, &suffix)), place) {
            (Some(key), Some(place)) => self.set(key, body_at, place),
            (Some(key), None) => drop(self.values.remove(&key)),
            (None, Some(place)) => self.orphan(number, suffix, body_at, place),
            (None, None) => {}
        }
    }

    fn orphan(&mut self, page: u64, suffix: Vec<u8>, body_at: u64, (at, len): (usize, usize)) {
        self.orphans.push(Orphan { page, suffix, place: Place { at: body_at + at as u64, len } });
    }

    /// Takes what a message holds whose checksum is wrong. What is wrong of it is found when records are verified, as
    /// each event has its own hash; but where they belong only a page tells that is known otherwise. What else there is
    /// proves nothing: of a change, in which there is nothing but it that may be wrong, it is not taken.
    fn take_doubtful(&mut self, page: Option<&Page>, message: &Message, body: &[u8], at: u64) {
        if message.what == What::Link {
            // What is removed by it may be something else.
            let Some((suffix, Some(place))) = log::read_link(body) else { return };
            match page.and_then(|page| whole_key(page, &suffix)) {
                Some(key) if key::shelf_of(&key).is_some() => self.offer(key, at, place),
                Some(key) => drop(self.left_out.insert(key)),
                None => self.orphan(message.page, suffix, at, place),
            }
            return;
        }
        let Some(leaf) = log::read_leaf(body) else { return };
        let low = &leaf.low[..leaf.prefix_bytes];
        let is_known = page.is_some_and(|page| page.low == leaf.low);
        for (suffix, place) in leaf.entries {
            let key = [low, &suffix].concat();
            if is_known && key::is_whole(&key) {
                self.offer(key, at, place);
            } else if !is_known {
                self.orphan(message.page, suffix, at, place);
            }
        }
    }

    /// Takes a doubtful value, unless there is one for its key: that may be another's.
    fn offer(&mut self, key: Vec<u8>, at: u64, place: (usize, usize)) {
        match self.values.get(&key) {
            Some(known) if known.len > 0 => {}
            _ => self.set(key, at, place),
        }
    }

    /// Reads what the store says of itself.
    fn read_numbers(&mut self) -> Result<(), StoreError> {
        let own: Vec<(Vec<u8>, Place)> = self
            .values
            .iter()
            .filter(|(key, _)| !key::is_of_records_or_state(key))
            .map(|(key, place)| (key.clone(), *place))
            .collect();
        let mut removed = Vec::new();
        for (key, place) in own {
            let value = self.read(place)?;
            if key == key::META {
                if let Ok(meta) = Meta::read(&value) {
                    self.first_number = meta.first_number;
                    self.groups = self.groups.max(meta.groups);
                }
            } else if let Some(community) = key::read_next_number_key(&key) {
                if let Ok(numbering) = value::read_numbering(&value) {
                    self.numberings.insert(community.0, (numbering.next, numbering.tally));
                }
            } else if let Some(group) = key::read_removed_key(&key) {
                self.groups = self.groups.max(group);
                // What cannot be read names nothing.
                let _ = value::read_removed(&value, &mut removed);
            }
        }
        self.removed = removed.into_iter().collect();
        self.groups_missing = super::mark::Mark::read(&self.path).missing(self.groups);
        Ok(())
    }
}

/// The key of a change of a page, of which the change has only the end. A page that was split has a longer beginning
/// than the version that is known of it; its own first key has it.
fn whole_key(page: &Page, suffix: &[u8]) -> Option<Vec<u8>> {
    let with = |prefix_bytes: usize| {
        let key = [page.low.get(..prefix_bytes)?, suffix].concat();
        key::is_whole(&key).then_some(key)
    };
    if suffix.len() > KEY_BYTES_MAX {
        return None;
    }
    with(page.prefix_bytes).or_else(|| (0..=page.low.len()).rev().find_map(with))
}
