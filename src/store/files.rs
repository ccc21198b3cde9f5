//! The store's folder as the file system sees it: making it durable, measuring it, watching `blobs/`.
//!
//! In: the folder. Out: syncs, sizes. Never reads or writes what sled keeps in its files.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{StoreError, swap};
use crate::search::FOLDER;
use crate::splitmix::SplitMix;

/// sled's file of everything.
pub(super) const DB: &str = "db";

/// sled's folder of leaves that were too long for its file; it never syncs them.
const BLOBS: &str = "blobs";

/// A folder among these of a name that sled takes for one of them, of the end of all time: it tries to remove that when it
/// has written its snapshot, cannot, and opens nothing.
const STOP: &str = "9223372036854775807";

/// sled's file of settings. They are always the same, and it writes them when they are missing.
const SETTINGS: &str = "conf";

/// How the names of sled's snapshots of its tables begin, which it makes from its file; and how those end that
/// are being written.
const SNAPSHOT: &str = "snap.";
const UNFINISHED: &str = ".generating";

/// The folders above `path` whose entries a power cut could lose: its parent, and those that do not exist
/// yet with the one that will hold them.
pub(super) fn ancestors_to_sync(path: &Path) -> Vec<PathBuf> {
    let mut ancestors = Vec::new();
    for ancestor in path.ancestors().skip(1) {
        // The parent of a bare name is the empty path, which means the current folder.
        let ancestor = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
        ancestors.push(ancestor.to_owned());
        if ancestor.exists() {
            break;
        }
    }
    ancestors
}

/// Makes the store's folder, and those that lead to it. Private messages will be in it: its user alone may look inside.
pub(super) fn make_folder(path: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| io_error(path, "make", source))
}

/// Makes every file and folder of the store durable, and the folders that lead to it.
pub(super) fn sync_all(path: &Path, ancestors: &[PathBuf]) -> Result<(), StoreError> {
    for entry in walk(path)?.iter().filter(|entry| entry.is_kept) {
        sync(&entry.path)?;
    }
    sync(path)?;
    ancestors.iter().try_for_each(|ancestor| sync(ancestor))
}

fn sync(path: &Path) -> Result<(), StoreError> {
    match File::open(path).and_then(|file| file.sync_all()) {
        // sled removes its older snapshots in the background; what is gone needs no sync.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        synced => synced.map_err(|source| io_error(path, "sync", source)),
    }
}

/// How often and how long the start waits for another's lock, a second in all: sled's threads hold it for a
/// moment after a store is dropped, and a restarted service may overlap with its predecessor.
pub(super) const LOCK_ATTEMPTS_MAX: u32 = 50;
pub(super) const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Locks sled's file as sled does, as long as it is open.
pub(super) fn lock(path: &Path, file: &File) -> Result<(), StoreError> {
    for _ in 0..LOCK_ATTEMPTS_MAX {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => thread::sleep(LOCK_PAUSE),
            locked => return locked.map_err(|error| io_error(path, "lock", error.into())),
        }
    }
    Err(StoreError::InUse { path: path.to_owned() })
}

/// Makes the entries of a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    sync(path)
}

/// Where sled logs that it removes that, as a file of somebody else's (a target of a log directive).
pub(crate) const LOG_OF_STOP: &str = "sled::pagecache::blob_io";

/// What keeps sled from opening a store when it has written its snapshot.
pub(super) struct Stop(PathBuf);

/// Keeps sled from opening the store, until what is returned is removed; a start that was cut short may have left it.
pub(super) fn keep_from_opening(path: &Path) -> Result<Stop, StoreError> {
    let stop = path.join(BLOBS).join(STOP);
    fs::create_dir_all(&stop).map_err(|source| io_error(&stop, "make", source))?;
    Ok(Stop(stop))
}

impl Stop {
    /// Lets it be opened.
    pub(super) fn remove(self) -> Result<(), StoreError> {
        fs::remove_dir(&self.0).map_err(|source| io_error(&self.0, "remove", source))
    }
}

/// Removes what a power cut left unfinished of the files that sled makes again: it reads any of its snapshots,
/// also one that it was still writing, and its settings, and does not open a store in which one is torn. Tells
/// whether there was anything to remove.
pub(super) fn remove_unfinished(path: &Path) -> Result<bool, StoreError> {
    let mut removed = false;
    for entry in walk(path)? {
        let name = entry.path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let is_unfinished = match name {
            SETTINGS => is_torn(&entry.path)?,
            _ => name.starts_with(SNAPSHOT) && name.ends_with(UNFINISHED),
        };
        if is_unfinished {
            tracing::warn!(path = %entry.path.display(), "removed, as a power cut left it unfinished; it is made anew");
            fs::remove_file(&entry.path).map_err(|source| io_error(&entry.path, "remove", source))?;
            removed = true;
        }
    }
    Ok(removed)
}

/// Whether sled's settings lack the checksum with which they end.
fn is_torn(path: &Path) -> Result<bool, StoreError> {
    let bytes = fs::read(path).map_err(|source| io_error(path, "read", source))?;
    let whole = bytes
        .split_last_chunk()
        .is_some_and(|(settings, checksum)| crc32fast::hash(settings) == u32::from_le_bytes(*checksum));
    Ok(!whole)
}

/// Says that all of the store was safe when it was closed. It need not be safe itself: it is about what the kernel
/// remembers, and that goes with the power.
const CLOSED: &str = "closed";

/// Notes that the store was closed, and all of it is safe.
pub(super) fn note_closed(path: &Path) {
    // Without it the next start reads from the disk and not from memory, and takes longer.
    let _ = File::create(path.join(CLOSED));
}

/// Whether the store was closed, and all of it safe; from now on it is open.
pub(super) fn take_closed(path: &Path) -> Result<bool, StoreError> {
    let path = path.join(CLOSED);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(io_error(&path, "remove", source)),
    }
}

/// Has the kernel forget what it remembers of the store's files, after they were synced: once a sync has failed it
/// shows what the disk does not have. What is read from here on is what the disk has.
pub(super) fn forget_cached(path: &Path) -> Result<(), StoreError> {
    for entry in walk(path)?.iter().filter(|entry| entry.is_file) {
        forget_cached_file(&entry.path).map_err(|source| io_error(&entry.path, "read", source))?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn forget_cached_file(path: &Path) -> io::Result<()> {
    use rustix::fs::{Advice, fadvise};
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        file => Ok(fadvise(file?, 0, None, Advice::DontNeed)?),
    }
}

#[cfg(not(target_os = "linux"))]
fn forget_cached_file(_: &Path) -> io::Result<()> {
    Ok(())
}

/// A file that is written to find out whether the disk takes writes.
const PROBE: &str = "probe";

/// Beside one of sled's snapshots a store that is opened again writes up to so much.
const PROBE_BYTES: u64 = 2 << 20;

/// Finds out whether the disk takes writes and syncs, as many as a store needs that is opened again.
pub(super) fn probe(path: &Path) -> Result<(), StoreError> {
    let db = path.join(DB);
    let synced = File::options().write(true).open(&db).and_then(|file| file.sync_data());
    synced.map_err(|source| io_error(&db, "sync", source))?;
    let entries = walk(path)?;
    let is_snapshot = |entry: &&Entry| {
        entry.path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(SNAPSHOT))
    };
    let snapshot = entries.iter().filter(is_snapshot).map(|entry| entry.bytes).max().unwrap_or(0);
    let probe = path.join(PROBE);
    let written = File::create(&probe).and_then(|mut file| {
        // Something that no file system can leave out.
        let mut noise = io::Read::take(Noise(1), 2 * snapshot + PROBE_BYTES);
        io::copy(&mut noise, &mut file)?;
        file.sync_all()
    });
    let removed = fs::remove_file(&probe);
    written.and(removed).map_err(|source| io_error(&probe, "write", source))
}

/// Numbers without end.
struct Noise(u64);

impl io::Read for Noise {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut numbers = SplitMix(self.0);
        bytes
            .chunks_mut(8)
            .for_each(|chunk| chunk.copy_from_slice(&numbers.next().to_le_bytes()[..chunk.len()]));
        self.0 = numbers.0;
        Ok(bytes.len())
    }
}

/// How many bytes the store's files take.
pub(super) fn disk_bytes(path: &Path) -> Result<u64, StoreError> {
    Ok(walk(path)?.iter().map(|entry| entry.bytes).sum())
}

/// How many bytes are free for this user on the disk of a folder; `None` where the file system does not say.
pub(super) fn disk_free_bytes(path: &Path) -> Result<Option<u64>, StoreError> {
    let disk = rustix::fs::statvfs(path).map_err(|error| io_error(path, "look at the disk", error.into()))?;
    Ok((disk.f_blocks > 0).then(|| disk.f_bavail.saturating_mul(disk.f_frsize)))
}

/// How many files sled has put into `blobs/`.
pub(super) fn blobs(path: &Path) -> Result<usize, StoreError> {
    Ok(walk(&path.join(BLOBS))?.len())
}

struct Entry {
    path: PathBuf,
    bytes: u64,
    /// A file or folder, and no socket: those cannot be opened, and hold nothing.
    is_kept: bool,
    is_file: bool,
}

/// Everything in a folder and in its folders. The store has two levels; links are not followed.
fn walk(path: &Path) -> Result<Vec<Entry>, StoreError> {
    let read = |source| io_error(path, "list the folder", source);
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(read)? {
        let entry = entry.map_err(read)?;
        let path = entry.path();
        let metadata = match entry.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            metadata => metadata.map_err(|source| io_error(&path, "look at the file", source))?,
        };
        let is_another = || entry.file_name().to_str().is_some_and(swap::is_another);
        if metadata.is_dir() && (path.ends_with(FOLDER) || is_another()) {
            // Another's, made of what the store has: its files come and go. Or another store.
            continue;
        }
        if metadata.is_dir() {
            entries.append(&mut walk(&path)?);
            entries.push(Entry { path, bytes: 0, is_kept: true, is_file: false });
        } else {
            let is_file = metadata.is_file();
            entries.push(Entry { path, bytes: metadata.len(), is_kept: is_file, is_file });
        }
    }
    Ok(entries)
}

/// An error of the file system, with the path that it concerns.
pub(super) fn io_error(path: &Path, attempt: &'static str, source: io::Error) -> StoreError {
    StoreError::Io { path: path.to_owned(), attempt, source }
}
