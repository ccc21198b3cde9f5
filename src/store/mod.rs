//! The store: opaque records and small state of all communities, on disk, with sled.
//!
//! Owns the store's folder. In: groups of changes from one writer. Out: where records now live, records by
//! location or in order of number, state entries. What `commit` answered Ok for survives a power cut (or, if
//! so asked, only the end of the process). Never looks into a record, never knows what an event is, never
//! reuses a number; nothing else in plaza imports sled.
//!
//! sled's own `flush` outlives neither a power cut nor the drive's cache, hence the `sync_data` after each
//! group and the sync of every file at start. Its `Mode` does nothing in 0.34.7.

mod error;
mod files;
mod group;
mod key;
pub mod record;
#[cfg(test)]
mod tests;
mod value;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use self::files::io_error;
use self::key::RecordKey;
use self::value::{Head, Long, Meta, Unreadable};

pub use self::error::StoreError;
pub use self::group::{Group, STATE_KEY_BYTES_MAX, STATE_VALUE_BYTES_MAX};

/// The longest record that the store takes.
pub const RECORD_BYTES_MAX: usize = value::RECORD_BYTES_MAX;

/// How often and how long the start waits for another's lock, a second in all: sled's threads hold it for a
/// moment after a store is dropped, and a restarted service may overlap with its predecessor.
const LOCK_ATTEMPTS_MAX: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Keys from one page to the next, about: a leaf of sled's has 17 at the most.
const TRIM_STEP: usize = 17;

/// Pages that a scan reads before sled is made to look at its cache's bound.
const TRIM_AFTER_PAGES: usize = 1_024;

/// Pages that are touched for it: twice as many as the cache has parts, over which they are spread.
const TRIM_PAGES: usize = 512;

/// How often each is touched: as often as sled waits before it looks at a part.
const TRIM_ROUNDS: usize = 64;

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
    /// The record's own, growing from group to group over the whole store, never used again.
    pub number: u64,
    /// Its place in its pack, whose number is `number - slot`.
    pub slot: u8,
}

impl Location {
    /// The number of the pack, or `None` for a location that the store never gave out.
    fn pack(self) -> Option<u64> {
        self.number.checked_sub(u64::from(self.slot))
    }
}

/// The store. Shared by `Arc`: any thread reads, one thread commits.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    durability: Durability,
    tree: sled::Db,
    /// sled's file, opened a second time: sled offers no sync that a power cut respects.
    file: File,
    next_number: AtomicU64,
    groups: AtomicU64,
    /// Held through a commit, so that groups come one after the other.
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    /// True while a commit is under way and after one that failed or panicked.
    stopped: bool,
}

impl Store {
    /// Opens the store, or makes one, and makes all of it durable before the first commit.
    pub fn open(options: Options) -> Result<Store, StoreError> {
        let Options { path, cache_bytes, durability } = options;
        let ancestors = files::ancestors_to_sync(&path);
        let tree = open_tree(&path, cache_bytes)?;
        files::sync_all(&path, &ancestors)?;
        let db = path.join(files::DB);
        let file =
            OpenOptions::new().write(true).open(&db).map_err(|source| io_error(&db, "open", source))?;
        report_blobs(&path)?;
        let store = Store {
            path,
            durability,
            tree,
            file,
            next_number: AtomicU64::new(0),
            groups: AtomicU64::new(0),
            writer: Mutex::new(Writer { stopped: false }),
        };
        store.publish(store.read_meta()?);
        Ok(store)
    }

    /// Makes a group durable: all of it, or nothing. Returns, in order of insertion, where each record lives.
    ///
    /// Within one community the locations' numbers grow in order of insertion.
    ///
    /// What was answered with Ok is kept. What was answered with an error may or may not be stored, and reads
    /// may show it until the next start. After a failed write the store takes no more commits until it is
    /// opened again, as the kernel reports a lost page only once: a later sync would succeed and lie.
    /// [`StoreError::TooLong`] and errors of reading change nothing, and later commits may be tried.
    pub fn commit(&self, group: Group) -> Result<Vec<Location>, StoreError> {
        // A panic of sled within a commit leaves `stopped` set, so that the lock's own mark adds nothing.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.stopped {
            return Err(StoreError::Stopped { path: self.path.clone() });
        }
        if group.is_empty() {
            return Ok(Vec::new());
        }
        group.check_lengths()?;
        let mut batch = sled::Batch::default();
        let mut meta = self.meta();
        let locations = group.write_records(&mut meta.next_number, &mut batch);
        for (community, pack, slots) in group.removals() {
            self.write_removal(community, pack, slots, &mut batch)?;
        }
        group.write_state(&mut batch);
        meta.groups += 1;
        batch.insert(&key::META[..], meta.write());

        writer.stopped = true;
        self.tree.apply_batch(batch).map_err(|source| self.engine_error("write a group", source))?;
        self.make_durable()?;
        writer.stopped = false;
        self.publish(meta);
        Ok(locations)
    }

    /// Reads a record; `None` if it was removed, or never was.
    pub fn get(&self, community: CommunityId, location: Location) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(number) = location.pack() else { return Ok(None) };
        let key = key::head(community, number);
        let Some(value) = self.read(&key)? else { return Ok(None) };
        match self.readable(&key, value::read_head(&value))? {
            Head::Pack(pack) => Ok(pack.slots().nth(location.slot.into()).flatten().map(<[u8]>::to_vec)),
            Head::Long(long) if location.slot == 0 => self.join(community, number, &long),
            Head::Long(_) => Ok(None),
        }
    }

    /// Shows every record of a community from a number on, in order of number, until `visit` fails.
    ///
    /// The records are those of the groups committed before the call; one that is removed meanwhile may or
    /// may not be shown. Records are lent and not given, which saves a copy of each at start.
    pub fn scan<E: From<StoreError>>(
        &self,
        community: CommunityId,
        from_number: u64,
        mut visit: impl FnMut(Location, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let first_pack = from_number.saturating_sub(value::PACK_SLOTS_MAX as u64);
        let mut long_number = None;
        let mut keys_since_page = 0;
        let mut pages = Vec::new();
        for entry in self.tree.range(key::head_range(community, first_pack..self.next_number())) {
            let (key, value) = entry.map_err(|source| self.engine_error("read records", source))?;
            keys_since_page += 1;
            if keys_since_page == TRIM_STEP {
                keys_since_page = 0;
                pages.push(key.clone());
            }
            if pages.len() == TRIM_AFTER_PAGES {
                self.trim_cache(&pages[TRIM_AFTER_PAGES - TRIM_PAGES..])?;
                pages.clear();
            }
            let number = match key::read_record_key(&key) {
                Some(RecordKey::Head(number)) => number,
                // The parts come right after their head, which has read them already.
                Some(RecordKey::Part(number)) if long_number == Some(number) => continue,
                Some(RecordKey::Part(_)) => return Err(self.corrupt(&key, "its record has no head").into()),
                None => return Err(self.corrupt(&key, "the key is none of ours").into()),
            };
            match self.readable(&key, value::read_head(&value))? {
                Head::Pack(pack) => {
                    for (slot, record) in (0_u8..).zip(pack.slots()) {
                        let location = Location { number: number + u64::from(slot), slot };
                        if let Some(record) = record.filter(|_| location.number >= from_number) {
                            visit(location, record)?;
                        }
                    }
                }
                Head::Long(long) => {
                    long_number = Some(number);
                    if let Some(record) =
                        self.join(community, number, &long)?.filter(|_| number >= from_number)
                    {
                        visit(Location { number, slot: 0 }, &record)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes sled look at its cache's bound, by touching pages that a scan has just read.
    ///
    /// sled looks only after every 64th access to each of 256 parts of its cache: a scan alone would leave
    /// up to 16,384 pages in memory, about 300 MB, whatever the bound is.
    fn trim_cache(&self, keys: &[sled::IVec]) -> Result<(), StoreError> {
        for _ in 0..TRIM_ROUNDS {
            for key in keys {
                self.read(key)?;
            }
        }
        Ok(())
    }

    /// The entries of a state table, as key and value, in order of key.
    pub fn state(
        &self,
        community: CommunityId,
        table: StateTable,
    ) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), StoreError>> + '_ {
        self.tree.scan_prefix(key::state_prefix(community, table)).map(|entry| {
            let (key, value) = entry.map_err(|source| self.engine_error("read state", source))?;
            Ok((key::state_suffix(&key).to_vec(), value.to_vec()))
        })
    }

    /// The number that the next record will get at the least.
    pub fn next_number(&self) -> u64 {
        self.next_number.load(Ordering::Acquire)
    }

    /// How many groups the store has committed since it was made.
    pub fn groups(&self) -> u64 {
        self.groups.load(Ordering::Acquire)
    }

    /// How many bytes the store's files take on disk.
    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        files::disk_bytes(&self.path)
    }

    /// Closes the store and tells whether everything is on disk. Dropping it does the same and logs instead.
    pub fn close(self) -> Result<(), StoreError> {
        self.settle()
    }

    fn settle(&self) -> Result<(), StoreError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.stopped {
            return Err(StoreError::Stopped { path: self.path.clone() });
        }
        self.tree.flush().map_err(|source| self.engine_error("flush", source))?;
        self.sync()
    }

    fn make_durable(&self) -> Result<(), StoreError> {
        self.tree.flush().map_err(|source| self.engine_error("flush a group", source))?;
        match self.durability {
            Durability::Power => self.sync(),
            Durability::Process => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|source| io_error(&self.path.join(files::DB), "sync", source))
    }

    fn meta(&self) -> Meta {
        Meta { next_number: self.next_number(), groups: self.groups() }
    }

    fn publish(&self, meta: Meta) {
        self.next_number.store(meta.next_number, Ordering::Release);
        self.groups.store(meta.groups, Ordering::Release);
    }

    fn read_meta(&self) -> Result<Meta, StoreError> {
        match self.read(&key::META)? {
            Some(value) => self.readable(&key::META, Meta::read(&value)),
            None if self.tree.is_empty() => Ok(Meta::default()),
            // Starting to count again would reuse numbers.
            None => Err(self.corrupt(&key::META, "it is missing, though the store holds records")),
        }
    }

    /// Adds to a batch what the removal of some slots leaves of a pack or of a long record.
    fn write_removal(
        &self,
        community: CommunityId,
        number: u64,
        slots: &[u8],
        batch: &mut sled::Batch,
    ) -> Result<(), StoreError> {
        let key = key::head(community, number);
        let Some(value) = self.read(&key)? else { return Ok(()) };
        match self.readable(&key, value::read_head(&value))? {
            Head::Pack(pack) => match pack.without(slots) {
                Some(left) => batch.insert(&key[..], left),
                None => batch.remove(&key[..]),
            },
            Head::Long(long) if slots.contains(&0) => {
                batch.remove(&key[..]);
                for part in 1..=long.parts() {
                    batch.remove(&key::part(community, number, part)[..]);
                }
            }
            Head::Long(_) => {}
        }
        Ok(())
    }

    /// Reads the parts of a long record. `None` if it was removed since its head was read.
    fn join(
        &self,
        community: CommunityId,
        number: u64,
        long: &Long<'_>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut record = Vec::with_capacity(long.record_bytes);
        record.extend_from_slice(long.first);
        for part in 1..=long.parts() {
            let key = key::part(community, number, part);
            match self.read(&key)? {
                Some(value) => {
                    let missing_bytes = long.record_bytes - record.len();
                    record.extend_from_slice(self.readable(&key, value::read_part(&value, missing_bytes))?);
                }
                // A batch shows at once, so that a head that is still there has lost its part for good.
                None if self.read(&key::head(community, number))?.is_some() => {
                    return Err(self.corrupt(&key, "it is missing"));
                }
                None => return Ok(None),
            }
        }
        Ok(Some(record))
    }

    fn read(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        self.tree.get(key).map_err(|source| self.engine_error("read", source))
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

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.settle() {
            tracing::error!(%error, "the store was closed without being sure that it is on disk");
        }
    }
}

/// Opens sled's tree, with some patience for a lock that is about to go.
fn open_tree(path: &Path, cache_bytes: u64) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None);
    for _ in 0..LOCK_ATTEMPTS_MAX {
        match config.open() {
            Err(error) if is_locked(&error) => thread::sleep(LOCK_PAUSE),
            opened => {
                let attempt = "open the store";
                return opened.map_err(|source| StoreError::Engine {
                    path: path.to_owned(),
                    attempt,
                    source,
                });
            }
        }
    }
    Err(StoreError::InUse { path: path.to_owned() })
}

/// Tells a folder in use from other failures; sled has no error of its own for it.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().starts_with("could not acquire lock"))
}

/// Says loudly if sled has put leaves into files that it never syncs.
fn report_blobs(path: &Path) -> Result<(), StoreError> {
    let blobs = files::blobs(path)?;
    if blobs > 0 {
        tracing::error!(
            path = %path.display(),
            blobs,
            "`blobs/` in the store's folder is not empty: what is in it may not survive a power cut; \
             export the store and import it into a new one, and report this"
        );
    }
    Ok(())
}
