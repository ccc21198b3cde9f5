//! The store: opaque records and small state of all communities, on disk, with sled.
//!
//! Owns the store's folder. In: groups of changes from one writer. Out: where records now live, records by
//! location or in order of number, state entries. What `commit` answered Ok for survives a power cut (or, if
//! so asked, only the end of the process). Never looks into a record, never knows what an event is, never
//! reuses a number; nothing else in plaza imports sled.
//!
//! sled's own `flush` outlives neither a power cut nor the drive's cache, hence the `sync_data` after each
//! group and the sync of every file at start. Its `Mode` does nothing in 0.34.7.

pub mod copy;
#[cfg(test)]
mod copy_tests;
mod engine;
mod error;
mod files;
mod group;
mod key;
mod mark;
#[cfg(any(test, fuzzing))]
pub(crate) mod probe;
pub mod record;
mod removed;
mod restore;
mod salvage;
mod scan;
mod stable;
pub(crate) mod swap;
mod tail;
mod tally;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use self::engine::Engine;
use self::files::io_error;
use self::group::Changes;
use self::key::{RecordKey, Shelf};
use self::tally::Numbering;
use self::value::{Head, Long, Meta, PACK_SLOTS, Unreadable};

pub use self::error::StoreError;
pub(crate) use self::files::LOG_OF_STOP;
pub use self::group::{Group, STATE_KEY_BYTES_MAX, STATE_VALUE_BYTES_MAX};
pub use self::restore::Restorer;
pub use self::salvage::{Found, Salvage};
pub use self::tally::Tally;

/// The longest record that the store takes.
pub const RECORD_BYTES_MAX: usize = value::RECORD_BYTES_MAX;

/// For how many packs to come blanks are kept: an eighth of those that are there, within these bounds.
const BLANKS_MIN: u64 = 16;
const BLANKS_MAX: u64 = 1_024;

/// What an answer of Ok outlives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// The loss of power.
    Power,
    /// The end of the process, but not that of the machine.
    Process,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The store's folder; made if it is not there.
    pub path: PathBuf,
    /// How much memory sled may keep pages in.
    pub cache_bytes: u64,
    /// What a commit waits for.
    pub durability: Durability,
    /// How often a page is touched again that a single record was read from: sled looks at its cache's bound only
    /// after every 64th access to each of its parts. 0 leaves it at that.
    pub touches: u64,
}

/// A community, as the store knows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct CommunityId(pub u32);

/// A table of state entries; its users choose the numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StateTable(pub u8);

/// Where a record lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Location {
    /// The record's own in its community, growing from group to group, never used again.
    pub number: u64,
    /// Its place in its pack, whose number is `number - slot`; 255 for a record that is kept loose.
    pub slot: u8,
}

impl Location {
    /// In place of a slot: the record is loose. Packs have 255 slots at the most, numbered from 0.
    const LOOSE: u8 = u8::MAX;

    /// Whether the record is kept by itself, as one that will probably be removed.
    pub fn is_loose(self) -> bool {
        self.slot == Self::LOOSE
    }

    /// Where the record or its pack lies, and its slot there; `None` for a location that the store never
    /// gave out.
    fn place(self) -> Option<(Shelf, u64, u8)> {
        match self.slot {
            Location::LOOSE => Some((Shelf::Loose, self.number, 0)),
            slot => Some((Shelf::Packed, self.number.checked_sub(u64::from(slot))?, slot)),
        }
    }
}

/// The store. Shared by `Arc`: any thread reads, one thread commits records; groups of others wait their turn.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    durability: Durability,
    touches: u64,
    cache_bytes: u64,
    /// `None` while it is closed, because a write failed.
    engine: RwLock<Option<Arc<Engine>>>,
    /// It is about to be closed.
    closing: AtomicBool,
    /// As [`Writer::stopped`] after a commit, for those who do not wait for one.
    failed: AtomicBool,
    /// Where a community begins to count that has no number of its own.
    first_number: u64,
    /// What the records of each community will be numbered from, and their tally, as of the last group.
    numberings: RwLock<HashMap<CommunityId, Numbering>>,
    groups: AtomicU64,
    /// Tells at the next start how many they were.
    mark: mark::Mark,
    /// Removals by groups up to this one are of no use any more.
    removals_until: AtomicU64,
    /// Removals that are needed nevertheless.
    pins: removed::Pins,
    /// Held through a commit, so that groups come one after the other.
    writer: Mutex<Writer>,
}

#[derive(Debug, Default)]
struct Writer {
    /// True while a commit is under way and after one that failed or panicked.
    stopped: bool,
    /// The group that failed, if its commit went so far that it may be there.
    pending: Option<Pending>,
    /// The communities that are known to have bookends, and the number up to which packs to come have blanks.
    blanks_until: HashMap<CommunityId, u64>,
}

/// A group on its way to the disk, and what will be true when it is there.
#[derive(Debug)]
struct Pending {
    group: u64,
    numberings: HashMap<CommunityId, Numbering>,
    locations: Vec<Location>,
}

impl Store {
    /// Opens the store, or makes one, and makes all of it durable before the first commit.
    pub fn open(options: Options) -> Result<Store, StoreError> {
        let Options { path, cache_bytes, durability, touches } = options;
        swap::take_over(&path)?;
        let engine = Engine::open(&path, cache_bytes)?;
        let mark = mark::Mark::read(&path);
        let mut store = Store {
            path,
            durability,
            touches,
            cache_bytes,
            engine: RwLock::new(Some(Arc::new(engine))),
            closing: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            first_number: 0,
            numberings: RwLock::default(),
            groups: AtomicU64::new(0),
            mark,
            removals_until: AtomicU64::new(0),
            pins: removed::Pins::default(),
            writer: Mutex::default(),
        };
        let meta = store.read_meta()?;
        store.first_number = meta.first_number.next_multiple_of(PACK_SLOTS);
        store.publish(meta.groups, store.read_numberings()?);
        store.read_copies()?;
        if store.groups_missing() > 0 {
            tracing::error!(
                path = %store.path.display(),
                groups = store.groups_missing(),
                "the newest groups of changes are missing: the store's files are damaged; restore a backup that \
                 has them, or save what can be read (`plaza salvage`)"
            );
        } else {
            tail::forget_torn(&store.path);
        }
        Ok(store)
    }

    /// Makes a group durable: all of it, or nothing. Returns, in order of insertion, where each record lives.
    ///
    /// Within one community the locations' numbers grow in order of insertion.
    ///
    /// What was answered with Ok is kept. What was answered with an error may or may not be stored, and reads
    /// may show it from the next [`Store::recover`] or start on. After a failed write the store takes no more commits
    /// until then, as the kernel reports a lost page only once: a later sync would succeed and lie.
    /// [`StoreError::TooLong`] and errors of reading change nothing, and later commits may be tried.
    pub fn commit(&self, group: Group) -> Result<Vec<Location>, StoreError> {
        let mut writer = self.hold();
        if writer.stopped {
            return Err(StoreError::Stopped { path: self.path.clone() });
        }
        if group.is_empty() {
            return Ok(Vec::new());
        }
        let committed = self.commit_held(&mut writer, &group);
        // sled writes in threads of its own, and stops for good when one of them fails, at whatever moment.
        writer.stopped |= committed.is_err() && self.engine().is_ok_and(|engine| engine.has_stopped());
        self.failed.store(writer.stopped, Ordering::Release);
        committed
    }

    fn commit_held(&self, writer: &mut Writer, group: &Group) -> Result<Vec<Location>, StoreError> {
        group.check_lengths()?;
        let engine = self.engine()?;
        let mut batch = Changes::default();
        let meta = Meta { first_number: self.first_number, groups: self.groups() + 1 };
        let mut numberings = Numberings { store: self, changed: HashMap::new() };
        let mut next: HashMap<_, _> = group
            .communities()
            .into_iter()
            .map(|community| (community, self.next_number(community)))
            .collect();
        let locations = group.write_records(&mut next, &mut batch);
        for (community, location) in group.inserted(&locations) {
            numberings.tally(community, |tally| tally.add(location.number));
        }
        for (shelf, community, pack, slots) in group.removals() {
            for number in self.write_removal(shelf, community, pack, slots, &mut batch)? {
                numberings.tally(community, |tally| tally.remove(number));
            }
        }
        next.iter().for_each(|(community, number)| numberings.of(*community).next = *number);
        let numberings = numberings.changed;
        group.write_state(&mut batch);
        group.write_removed(meta.groups, &mut batch);
        self.forget_removals(&mut batch)?;
        batch.insert(&key::META[..], meta.write());
        for (community, numbering) in &numberings {
            batch.insert(&key::next_number(*community)[..], value::write_numbering(*numbering));
        }

        // sled would leave a batch half done if it could not read a leaf of it: they are in its cache from here on.
        for key in &batch.keys {
            self.ask("read", || engine.tree.get(key))?;
        }
        writer.stopped = true;
        let mut has_written = false;
        for (community, number) in &next {
            has_written |= self.keep_blanks(&engine, *community, *number, &mut writer.blanks_until)?;
        }
        if has_written {
            // They are no part of the batch, within which sled counts nothing as safe that is not.
            self.make_durable(&engine)?;
        }
        writer.pending = Some(Pending { group: meta.groups, numberings, locations });
        if let Err(source) = engine.tree.apply_batch(batch.batch) {
            return Err(match engine.has_stopped() {
                true => self.engine_error("write a group", source),
                // What there is of the batch would be written when sled is closed.
                false => StoreError::Halfway { path: self.path.clone(), source },
            });
        }
        self.make_durable(&engine)?;
        writer.stopped = false;
        let Some(Pending { group, numberings, locations }) = writer.pending.take() else {
            return Ok(Vec::new());
        };
        self.publish(group, numberings);
        self.mark.note(group);
        Ok(locations)
    }

    /// Whether a write has failed, so that no group is taken until [`Store::recover`] succeeds. One that is under way
    /// has not.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Takes no group from now on, as after a write that failed.
    pub(crate) fn take_no_more(&self) {
        self.hold().stopped = true;
        self.failed.store(true, Ordering::Release);
    }

    /// Lets no group be committed while what it returns lives.
    fn hold(&self) -> MutexGuard<'_, Writer> {
        // A panic of sled within a commit leaves `stopped` set, so that the lock's own mark adds nothing.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a record; `None` if it was removed, or never was.
    pub fn get(&self, community: CommunityId, location: Location) -> Result<Option<Vec<u8>>, StoreError> {
        let Some((shelf, number, slot)) = location.place() else { return Ok(None) };
        let key = key::head(shelf, community, number);
        let Some(value) = self.read(&key)?.filter(|value| !value.is_empty()) else { return Ok(None) };
        for _ in 0..self.touches {
            self.read(&key)?;
        }
        match self.readable(&key, value::read_head(&value))? {
            Head::Pack(pack) => Ok(pack.slots().nth(slot.into()).flatten().map(<[u8]>::to_vec)),
            Head::Long(long) if slot == 0 => self.join(shelf, community, number, &long),
            Head::Long(_) => Ok(None),
        }
    }

    /// The entries of a state table, as key and value, in order of key.
    pub fn state(
        &self,
        community: CommunityId,
        table: StateTable,
    ) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), StoreError>> + '_ {
        let (engine, closed) = match self.engine() {
            Ok(engine) => (Some(engine), None),
            Err(error) => (None, Some(Err(error))),
        };
        let prefix = key::state_prefix(community, table);
        let entries = engine.into_iter().flat_map(move |engine| {
            let mut entries = engine.tree.scan_prefix(prefix);
            std::iter::from_fn(move || {
                let _open = &engine;
                let entry = self.ask_next("read state", &mut entries)?;
                Some(entry.map(|(key, value)| (key::state_suffix(&key).to_vec(), value.to_vec())))
            })
        });
        closed.into_iter().chain(entries)
    }

    /// One entry of a state table.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn state_entry(
        &self,
        community: CommunityId,
        table: StateTable,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let engine = self.engine()?;
        let entry = self.ask("read state", || engine.tree.get(key::state(community, table, key)))?;
        Ok(entry.map(|value| value.to_vec()))
    }

    /// The number that the next record of a community will get at the least.
    pub fn next_number(&self, community: CommunityId) -> u64 {
        self.numbering(community).next
    }

    fn numbering(&self, community: CommunityId) -> Numbering {
        let known = self.numberings.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&community).copied().unwrap_or_else(|| Numbering {
            next: self.first_number,
            // Where communities counted together, one without a number of its own may have records.
            tally: (self.first_number == 0).then(Tally::default),
        })
    }

    /// The store's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many groups the store has committed since it was made.
    pub fn groups(&self) -> u64 {
        self.groups.load(Ordering::Acquire)
    }

    /// How many groups, the newest, were lost with what was damaged of the store's files before it was opened.
    pub fn groups_missing(&self) -> u64 {
        self.mark.missing(self.groups())
    }

    /// How many bytes the store's files take on disk.
    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        files::disk_bytes(&self.path)
    }

    /// How many bytes are free for plaza where the store lies; `None` where the file system does not say.
    pub fn disk_free_bytes(&self) -> Result<Option<u64>, StoreError> {
        Store::disk_free_bytes_at(&self.path)
    }

    /// The same where any file or folder lies.
    pub fn disk_free_bytes_at(path: &Path) -> Result<Option<u64>, StoreError> {
        files::disk_free_bytes(path)
    }

    /// Closes the store and tells whether everything is on disk. Dropping it does the same and logs instead.
    pub fn close(self) -> Result<(), StoreError> {
        self.settle()
    }

    fn settle(&self) -> Result<(), StoreError> {
        let writer = self.hold();
        if writer.stopped {
            return Err(StoreError::Stopped { path: self.path.clone() });
        }
        let engine = self.engine()?;
        engine.tree.flush().map_err(|source| self.engine_error("flush", source))?;
        self.sync(&engine)?;
        self.mark.write(self.groups());
        Ok(())
    }

    fn make_durable(&self, engine: &Engine) -> Result<(), StoreError> {
        engine.tree.flush().map_err(|source| self.engine_error("flush a group", source))?;
        match self.durability {
            Durability::Power => self.sync(engine),
            Durability::Process => engine.note_safe(),
        }
    }

    fn sync(&self, engine: &Engine) -> Result<(), StoreError> {
        let synced = engine.file.sync_data();
        synced.map_err(|source| io_error(&self.path.join(files::DB), "sync", source))?;
        engine.note_safe()
    }

    fn publish(&self, groups: u64, numberings: HashMap<CommunityId, Numbering>) {
        self.numberings.write().unwrap_or_else(PoisonError::into_inner).extend(numberings);
        self.groups.store(groups, Ordering::Release);
    }

    fn read_numberings(&self) -> Result<HashMap<CommunityId, Numbering>, StoreError> {
        let engine = self.engine()?;
        let mut entries = engine.tree.range(key::META..);
        let entries =
            std::iter::from_fn(|| self.ask_next("read numbers", &mut entries)).skip(1).map(|entry| {
                let (key, value) = entry?;
                let Some(community) = key::read_next_number_key(&key) else {
                    return Err(self.corrupt(&key, "the key is none of ours"));
                };
                Ok((community, self.readable(&key, value::read_numbering(&value))?))
            });
        entries.collect()
    }

    fn read_meta(&self) -> Result<Meta, StoreError> {
        match self.read(&key::META)? {
            Some(value) => self.readable(&key::META, Meta::read(&value)),
            // Also where the first group was cut off: room for it stands there already, and nothing else.
            None if self.holds_only_blanks()? => Ok(Meta::default()),
            // Starting to count again would reuse numbers.
            None => Err(self.corrupt(&key::META, "it is missing, though the store holds records")),
        }
    }

    /// Whether nothing was ever committed: of every group something has a value.
    fn holds_only_blanks(&self) -> Result<bool, StoreError> {
        let engine = self.engine()?;
        let mut entries = engine.tree.iter();
        while let Some(entry) = self.ask_next("read", &mut entries) {
            if !entry?.1.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds to a batch what the removal of some slots leaves of a pack or of a long record; the numbers of the
    /// records that were there.
    fn write_removal(
        &self,
        shelf: Shelf,
        community: CommunityId,
        number: u64,
        slots: &[u8],
        batch: &mut Changes,
    ) -> Result<Vec<u64>, StoreError> {
        let key = key::head(shelf, community, number);
        let Some(value) = self.read(&key)?.filter(|value| !value.is_empty()) else { return Ok(Vec::new()) };
        let mut gone = Vec::new();
        match self.readable(&key, value::read_head(&value))? {
            Head::Pack(pack) => {
                let there = (0_u8..).zip(pack.slots()).filter(|(_, record)| record.is_some());
                let removed = there.filter(|(slot, _)| slots.contains(slot));
                gone.extend(removed.map(|(slot, _)| number + u64::from(slot)));
                match pack.without(slots) {
                    Some(left) => batch.insert(&key[..], left),
                    None => batch.remove(&key[..]),
                }
            }
            Head::Long(long) if slots.contains(&0) => {
                gone.push(number);
                batch.remove(&key[..]);
                for part in 1..=long.parts() {
                    batch.remove(&key::part(shelf, community, number, part)[..]);
                }
            }
            Head::Long(_) => {}
        }
        Ok(gone)
    }

    /// Writes blanks for a community's packs up to `next_number` and some beyond, and its bookends; whether any were
    /// missing. They are written one by one and not with the batch: in order, which is what keeps leaves as they
    /// should be.
    fn keep_blanks(
        &self,
        engine: &Engine,
        community: CommunityId,
        next_number: u64,
        blanks_until: &mut HashMap<CommunityId, u64>,
    ) -> Result<bool, StoreError> {
        let insert = |key: &[u8]| {
            let inserted = engine.tree.insert(key, &[][..]);
            inserted.map_err(|source| self.engine_error("prepare room for a group", source))
        };
        let mut has_written = false;
        let until = match blanks_until.entry(community) {
            Entry::Occupied(until) => until.into_mut(),
            Entry::Vacant(place) => {
                for key in key::bookends(community) {
                    insert(&key)?;
                }
                has_written = true;
                place.insert(self.end_of_packs(engine, community)?)
            }
        };
        *until = (*until).max(next_number - next_number % PACK_SLOTS);
        if *until >= next_number + PACK_SLOTS {
            return Ok(has_written);
        }
        let packs = (next_number / PACK_SLOTS / 8).clamp(BLANKS_MIN, BLANKS_MAX);
        let last = (next_number + packs * PACK_SLOTS).next_multiple_of(PACK_SLOTS);
        while *until < last {
            insert(&key::head(Shelf::Packed, community, *until))?;
            *until += PACK_SLOTS;
        }
        Ok(true)
    }

    /// The first multiple of [`PACK_SLOTS`] behind all keys of a community's packs.
    fn end_of_packs(&self, engine: &Engine, community: CommunityId) -> Result<u64, StoreError> {
        let mut packs = engine.tree.range(key::head_range(Shelf::Packed, community, 0..u64::MAX));
        let Some(last) = packs.next_back() else { return Ok(0) };
        let (key, _) = last.map_err(|source| self.engine_error("read the last record", source))?;
        match key::read_record_key(&key) {
            Some(RecordKey::Head(number) | RecordKey::Part(number)) => {
                Ok((number + 1).next_multiple_of(PACK_SLOTS))
            }
            None => Err(self.corrupt(&key, "the key is none of ours")),
        }
    }

    /// Reads the parts of a long record. `None` if it was removed since its head was read.
    fn join(
        &self,
        shelf: Shelf,
        community: CommunityId,
        number: u64,
        long: &Long<'_>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut record = Vec::with_capacity(long.record_bytes);
        record.extend_from_slice(long.first);
        for part in 1..=long.parts() {
            let key = key::part(shelf, community, number, part);
            match self.read(&key)? {
                Some(value) => {
                    let missing_bytes = long.record_bytes - record.len();
                    record.extend_from_slice(self.readable(&key, value::read_part(&value, missing_bytes))?);
                }
                // A batch shows at once, so that a head that is still there has lost its part for good.
                None if self.read(&key::head(shelf, community, number))?.is_some() => {
                    return Err(self.corrupt(&key, "it is missing"));
                }
                None => return Ok(None),
            }
        }
        Ok(Some(record))
    }

    fn read(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        let engine = self.engine()?;
        self.ask("read", || engine.tree.get(key))
    }

    fn readable<T>(&self, key: &[u8], read: Result<T, Unreadable>) -> Result<T, StoreError> {
        read.map_err(|unreadable| match unreadable {
            Unreadable::Damaged(reason) => self.corrupt(key, reason),
            Unreadable::Version(version) => StoreError::UnknownVersion {
                path: self.path.clone(),
                key: key::describe(key),
                version,
                known: value::VERSION,
            },
        })
    }

    fn corrupt(&self, key: &[u8], reason: &'static str) -> StoreError {
        StoreError::Corrupt { path: self.path.clone(), key: key::describe(key), reason }
    }

    fn engine_error(&self, attempt: &'static str, source: sled::Error) -> StoreError {
        StoreError::Engine { path: self.path.clone(), attempt, source }
    }
}

/// The numberings that a group changes.
struct Numberings<'s> {
    store: &'s Store,
    changed: HashMap<CommunityId, Numbering>,
}

impl Numberings<'_> {
    fn of(&mut self, community: CommunityId) -> &mut Numbering {
        self.changed.entry(community).or_insert_with(|| self.store.numbering(community))
    }

    fn tally(&mut self, community: CommunityId, count: impl FnOnce(&mut Tally)) {
        if let Some(tally) = &mut self.of(community).tally {
            count(tally);
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let settled = self.settle();
        if let Err(error) = &settled {
            tracing::error!(%error, "the store was closed without being sure that it is on disk");
        }
        let engine = self.engine.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if engine.and_then(Arc::into_inner).is_some_and(Engine::close) && settled.is_ok() {
            files::note_closed(&self.path);
        }
    }
}
