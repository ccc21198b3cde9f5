//! sled's tree and its file: opened, closed, and opened again when a write has failed. In: the store's folder. Out: a
//! tree that shows what the disk holds, and not what the kernel only remembers. Knows nothing of records.
//!
//! What sled could not write it never writes again: it takes no more from then on. And when a sync fails the kernel
//! counts what it could not write as written: a later sync succeeds, and reads show what the disk never got. So a
//! store that failed is closed, and opened again with nothing in the kernel's cache.

use std::fs::{File, OpenOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLockWriteGuard};
use std::thread;
use std::time::Duration;

use super::files::{self, LOCK_ATTEMPTS_MAX, LOCK_PAUSE, io_error};
use super::stable::{self, Stable};
use super::{Location, Store, StoreError, Writer, tail};

/// How often and how long it is waited for those who read, ten seconds in all, before a store is closed.
const READERS_ATTEMPTS_MAX: u32 = 2_000;
const READERS_PAUSE: Duration = Duration::from_millis(5);

/// How often it is looked whether somebody must be woken.
const WAKE_EVERY: Duration = Duration::from_millis(500);

/// Wakes who waits for sled when it has stopped: where a write fails that was begun by a thread which only left a buffer,
/// sled notes the error and wakes nobody (0.34.7, `Log::exit_reservation`), and a group would wait for ever.
#[derive(Debug)]
struct Waker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Waker {
    fn start(tree: sled::Db) -> std::io::Result<Waker> {
        let (stop, stopped) = mpsc::channel();
        let wake = move || {
            while stopped.recv_timeout(WAKE_EVERY) == Err(RecvTimeoutError::Timeout) {
                if has_stopped(&tree) {
                    // It writes nothing any more: it wakes the others and returns the error.
                    let _ = catch_unwind(AssertUnwindSafe(|| tree.flush()));
                }
            }
        };
        let thread = thread::Builder::new().name("plaza-store".to_owned()).spawn(wake)?;
        Ok(Waker { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The thread has caught what could have made it panic.
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// An open tree.
#[derive(Debug)]
pub(super) struct Engine {
    /// Before the tree, which it keeps open.
    waker: Waker,
    pub(super) tree: sled::Db,
    /// sled's file, opened a second time: sled offers no sync that a power cut respects.
    pub(super) file: File,
    pub(super) stable: Stable,
}

impl Engine {
    /// Opens the tree of a folder, or makes one, and makes all of it durable.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Engine, StoreError> {
        let ancestors = files::ancestors_to_sync(path);
        if path.exists() {
            // What a killed process left may not be safe yet, and sled makes snapshots of it that are.
            files::sync_all(path, &[])?;
            let was_closed = files::take_closed(path)?;
            if !was_closed {
                files::forget_cached(path)?;
            }
            // What is wrong with a store that was closed no power cut did.
            let told = !was_closed && stable::tell(path)?;
            tail::check(path, told)?;
        } else {
            files::make_folder(path)?;
        }
        let tree = open_tree(path, cache_bytes)?;
        let make_safe = || -> Result<(File, Stable, Waker), StoreError> {
            let stable = Stable::open(path, safe_until(&tree))?;
            files::sync_all(path, &ancestors)?;
            let db = path.join(files::DB);
            let file =
                OpenOptions::new().write(true).open(&db).map_err(|source| io_error(&db, "open", source))?;
            report_blobs(path)?;
            let waker = Waker::start(tree.clone()).map_err(|source| io_error(&db, "watch over", source))?;
            Ok((file, stable, waker))
        };
        match make_safe() {
            Ok((file, stable, waker)) => Ok(Engine { waker, tree, file, stable }),
            Err(error) => {
                drop_tree(tree);
                Err(error)
            }
        }
    }

    /// Whether sled has met an error of which it knows that it must not go on.
    pub(super) fn has_stopped(&self) -> bool {
        has_stopped(&self.tree)
    }

    /// All that was written is safe: tells sled's next start so.
    pub(super) fn note_safe(&self) -> Result<(), StoreError> {
        self.stable.note(safe_until(&self.tree))
    }

    /// Closes it; tells whether that went well.
    pub(super) fn close(self) -> bool {
        drop(self.waker);
        drop_tree(self.tree)
    }
}

fn has_stopped(tree: &sled::Db) -> bool {
    tree.context.global_error().is_err()
}

/// The place in its log up to which sled has written all.
fn safe_until(tree: &sled::Db) -> u64 {
    // Before anything is written that is -1.
    tree.context.pagecache.log.stable_offset().max(0) as u64
}

/// Lets go of a tree; tells whether that went well. sled panics when it cannot sync its file.
fn drop_tree(tree: sled::Db) -> bool {
    catch_unwind(AssertUnwindSafe(|| drop(tree))).is_ok()
}

impl Store {
    /// The open tree. Whoever holds it keeps it open.
    pub(super) fn engine(&self) -> Result<Arc<Engine>, StoreError> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        engine.clone().ok_or_else(|| StoreError::Closed { path: self.path.clone() })
    }

    /// Asks sled something: of some damage to its files it makes a panic instead of an error, and no thread must end
    /// with that.
    pub(super) fn ask<T>(
        &self,
        attempt: &'static str,
        ask: impl FnOnce() -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        match catch_unwind(AssertUnwindSafe(ask)) {
            Ok(answer) => answer.map_err(|source| self.engine_error(attempt, source)),
            Err(_) => Err(StoreError::Broken { path: self.path.clone() }),
        }
    }

    /// The next entry, likewise.
    pub(super) fn ask_next(
        &self,
        attempt: &'static str,
        entries: &mut sled::Iter,
    ) -> Option<Result<(sled::IVec, sled::IVec), StoreError>> {
        self.ask(attempt, || entries.next().transpose()).transpose()
    }

    /// Fails while the store is about to be closed: long reads end then.
    pub(super) fn may_read_on(&self) -> Result<(), StoreError> {
        match self.closing.load(Ordering::Acquire) {
            true => Err(StoreError::Closed { path: self.path.clone() }),
            false => Ok(()),
        }
    }

    /// Goes on after a write that failed, if the disk takes writes again: closes the store and opens it anew, as the
    /// disk has it. The locations of the records of the group that failed, if it is there after all: it then is as
    /// safe as any. Until this succeeds no group is taken. Nothing happens to a store that has not failed.
    ///
    /// # Errors
    /// When the disk refuses still; it may be tried again. Between an attempt that came as far as closing the store
    /// and one that succeeds the store cannot be read.
    pub fn recover(&self) -> Result<Option<Vec<Location>>, StoreError> {
        let mut writer = self.hold();
        if !writer.stopped {
            return Ok(None);
        }
        // Before the store is closed, in which reads still find all that is safe.
        files::probe(&self.path)?;
        let mut engine = self.close_engine()?;
        let opened = Engine::open(&self.path, self.cache_bytes)?;
        *engine = Some(Arc::new(opened));
        drop(engine);
        let settled = self.settle_group(&mut writer);
        if settled.is_err() {
            // Who reads must not be shown less than there was.
            drop(self.close_engine()?);
        }
        settled
    }

    /// Finds out what became of the group that failed.
    fn settle_group(&self, writer: &mut Writer) -> Result<Option<Vec<Location>>, StoreError> {
        let groups = self.read_meta()?.groups;
        if groups < self.groups() {
            // The next start compares with this.
            self.mark.write(self.groups());
            return Err(StoreError::Lost { path: self.path.clone(), groups: self.groups() - groups });
        }
        tail::forget_torn(&self.path);
        writer.blanks_until.clear();
        writer.stopped = false;
        self.failed.store(false, Ordering::Release);
        let pending = writer.pending.take().filter(|pending| pending.group == groups);
        Ok(pending.map(|pending| {
            self.publish(groups, pending.numberings);
            pending.locations
        }))
    }

    /// Closes the tree when nobody reads it any more. Nobody can read it before the result is dropped.
    fn close_engine(&self) -> Result<RwLockWriteGuard<'_, Option<Arc<Engine>>>, StoreError> {
        self.closing.store(true, Ordering::Release);
        let closed = (0..READERS_ATTEMPTS_MAX).find_map(|_| {
            let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
            match engine.take().map(Arc::try_unwrap) {
                None => return Some(engine),
                Some(Ok(alone)) => {
                    alone.close();
                    return Some(engine);
                }
                Some(Err(shared)) => *engine = Some(shared),
            }
            drop(engine);
            thread::sleep(READERS_PAUSE);
            None
        });
        self.closing.store(false, Ordering::Release);
        closed.ok_or_else(|| StoreError::Busy { path: self.path.clone() })
    }
}

/// Opens sled's tree, with some patience for a lock that is about to go.
fn open_tree(path: &Path, cache_bytes: u64) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None);
    let mut repaired = false;
    loop {
        make_snapshot_safe(path, &config)?;
        match open_patiently(path, &config)? {
            // Only now: nobody else has the store open, or sled would have said so.
            Err(sled::Error::Corruption { .. }) if !repaired && files::remove_unfinished(path)? => {
                repaired = true;
            }
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
}

/// Has sled write its snapshot of how far the log goes, and makes the name of that safe. Where sled opens a store at once
/// it writes zeros over what it needs no more by this snapshot, and a power cut may keep the zeros and bring back the
/// one before, by which it was needed. What goes wrong here goes wrong again, and is told, when the store is opened.
fn make_snapshot_safe(path: &Path, config: &sled::Config) -> Result<(), StoreError> {
    if !path.join(files::DB).exists() {
        return Ok(());
    }
    let stop = files::keep_from_opening(path)?;
    let opened = open_patiently(path, config);
    stop.remove()?;
    if let Ok(tree) = opened? {
        drop_tree(tree);
    }
    files::sync_folder(path)?;
    tail::read_ahead(path)
}

/// Opens it when it is locked no more; sled's own error otherwise.
fn open_patiently(path: &Path, config: &sled::Config) -> Result<sled::Result<sled::Db>, StoreError> {
    for _ in 0..LOCK_ATTEMPTS_MAX {
        // Of some damage to its files sled makes a panic instead of an error.
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        match opened.map_err(|_| StoreError::Broken { path: path.to_owned() })? {
            Err(error) if is_locked(&error) => thread::sleep(LOCK_PAUSE),
            opened => return Ok(opened),
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
