//! Keeps the process within `server.memory_bytes_max`. In: a look at resident memory, at the indexes and at what clients
//! hold, from time to time. Out: caches that shrink first; then no more for clients, and the end of those that are
//! slowest; a refusal for new events where the index has no room. Never ends the process, never removes what is stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::StartError;
use super::bodies::Bodies;
use super::sets::Sets;
use crate::community::Communities;
use crate::event::{Event, Kind, KindClass};
use crate::memory::{CLIENTS_FULL, INDEX_EVENT_BYTES, Ledger, OUTBOX_SHARE_BYTES, Plan};
use crate::rule::{Prefix, Refusal};
use crate::usage;
use crate::words;

/// How often it is looked whether clients leave room for others.
const RELIEVE_EVERY: Duration = Duration::from_millis(50);

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The least that the cache of bodies shrinks to.
const BODY_CACHE_BYTES_MIN: u64 = 256 * 1024;

/// What a tag may add to the index: a value that is new with it, its place in two lists.
const INDEX_TAG_BYTES: u64 = 32;

/// How often the index is looked at, at least, while all of its room is filled.
const LOOKS_WHILE_FILLING: u64 = 64;

const PLENTY: u8 = 0;
const LOW: u8 = 1;
const FULL: u8 = 2;

/// What was last seen of the process.
pub struct Memory {
    plan: Plan,
    /// What clients hold.
    pub clients: Arc<Ledger>,
    bodies: Arc<Bodies>,
    communities: Arc<Communities>,
    /// Sets that are kept for reconciliations which may come.
    sets: Arc<Sets>,
    index_bytes: AtomicU64,
    /// By how much the indexes may have grown since they were looked at.
    grown_bytes: AtomicU64,
    /// How the index stands to its bound, and the process to its own.
    index: AtomicU8,
    process: AtomicU8,
    /// What the cache of bodies may hold now.
    body_cache_bytes: AtomicU64,
}

impl Memory {
    /// A watch that has looked once.
    pub(super) fn new(
        plan: Plan,
        bodies: Arc<Bodies>,
        communities: Arc<Communities>,
        sets: Arc<Sets>,
    ) -> Memory {
        let memory = Memory {
            clients: Ledger::new(plan.clients_bytes),
            body_cache_bytes: AtomicU64::new(plan.body_cache_bytes),
            plan,
            bodies,
            communities,
            sets,
            index_bytes: AtomicU64::new(0),
            grown_bytes: AtomicU64::new(0),
            index: AtomicU8::new(PLENTY),
            process: AtomicU8::new(PLENTY),
        };
        memory.look_at_index();
        memory
    }

    /// What the settings give to whom.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What all indexes take, as of the last look.
    pub fn index_bytes(&self) -> u64 {
        self.index_bytes.load(Ordering::Relaxed)
    }

    /// Refuses an event that would be stored when the index has no room. Requests to delete and to vanish are taken:
    /// they make room.
    pub(super) fn admit(&self, event: &Event) -> Result<(), Refusal> {
        // Events with thousands of tags may fill it long before the next look.
        if let Some(most) = self.plan.index_bytes {
            let bytes = INDEX_EVENT_BYTES + INDEX_TAG_BYTES * event.tags.len() as u64;
            if self.grown_bytes.fetch_add(bytes, Ordering::Relaxed) > most / LOOKS_WHILE_FILLING {
                self.look_at_index();
            }
        }
        let is_taken = self.index.load(Ordering::Relaxed) != FULL
            || matches!(event.kind, Kind::DELETION | Kind::VANISH)
            || event.kind.class() == KindClass::Ephemeral;
        if is_taken {
            return Ok(());
        }
        let sentence = "the relay's memory is full, so it takes no new events; its operator is told";
        Err(Refusal::new(Prefix::Error, "server.memory_full", sentence))
    }

    /// Looks how large the indexes are, and tells the operator what has changed.
    fn look_at_index(&self) {
        let bytes = self.communities.iter().map(|community| community.index().memory_bytes() as u64).sum();
        self.index_bytes.store(bytes, Ordering::Relaxed);
        self.grown_bytes.store(0, Ordering::Relaxed);
        let Some(most) = self.plan.index_bytes else { return };
        let level = match bytes {
            bytes if bytes >= most => FULL,
            bytes if bytes >= most / 8 * 7 => LOW,
            _ => PLENTY,
        };
        let before = self.index.swap(level, Ordering::Relaxed);
        let (bytes, most) = (words::bytes(bytes), words::bytes(most));
        match level {
            level if level == before => {}
            FULL => tracing::error!(
                "the index of stored events takes {bytes} of memory, and server.memory_bytes_max leaves it {most}: new \
                 events are refused; raise it, or let [retention] or `plaza delete` make room"
            ),
            LOW => tracing::warn!(
                "the index of stored events takes {bytes} of memory; at {most} (server.memory_bytes_max) new events \
                 are refused"
            ),
            _ => tracing::info!(
                "there is room for the index of stored events again: it takes {bytes} of {most}"
            ),
        }
    }

    /// Looks how large the process is: caches shrink first, then clients get no more than they have.
    fn look_at_process(&self) {
        let (Some(most), Some(bytes)) = (self.plan.memory_bytes_max, usage::resident_bytes()) else { return };
        let level = match bytes {
            bytes if bytes >= most / 32 * 31 => FULL,
            bytes if bytes >= most / 16 * 15 => LOW,
            bytes if bytes >= most / 8 * 7 => self.process.load(Ordering::Relaxed),
            _ => PLENTY,
        };
        let before = self.process.swap(level, Ordering::Relaxed);
        let cached = self.body_cache_bytes.load(Ordering::Relaxed);
        let cache = match level {
            PLENTY => cached.saturating_mul(2).min(self.plan.body_cache_bytes),
            _ => (cached / 2).max(BODY_CACHE_BYTES_MIN.min(self.plan.body_cache_bytes)),
        };
        if cache != cached {
            self.bodies.resize(cache);
            self.body_cache_bytes.store(cache, Ordering::Relaxed);
        }
        if level != PLENTY {
            self.sets.forget_unused();
        }
        match level {
            FULL => self.clients.squeeze(),
            _ => self.clients.relax(),
        }
        let (bytes, most) = (words::bytes(bytes), words::bytes(most));
        match level {
            level if level == before => {}
            FULL => tracing::error!(
                "the process takes {bytes} of memory, nearly server.memory_bytes_max ({most}): clients get no more \
                 than they have, and the slowest are sent away"
            ),
            LOW => tracing::warn!(
                "the process takes {bytes} of memory of {most} (server.memory_bytes_max): caches shrink"
            ),
            _ => tracing::info!("there is room in memory again: the process takes {bytes} of {most}"),
        }
    }

    /// When seven eighths of what clients may hold are taken: ends those that have most of it waiting to be sent, or half
    /// sent themselves, until it is three quarters. Who reads, and ends what it begins to say, has next to nothing waiting.
    fn relieve(&self) {
        // What nobody uses at this moment makes room first.
        if self.clients.is_tight() {
            self.sets.forget_unused();
        }
        let (held, most) = (self.clients.bytes(), self.clients.bytes_max());
        if held < most / 8 * 7 {
            return;
        }
        let mut waiting: Vec<_> = self
            .communities
            .iter()
            .flat_map(|community| community.connected.waiting(OUTBOX_SHARE_BYTES))
            .collect();
        waiting.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let (mut left, mut ended) = (held, 0);
        for (bytes, listener) in waiting {
            if left <= most / 4 * 3 {
                break;
            }
            listener.outbox.end(CLIENTS_FULL);
            left = left.saturating_sub(bytes);
            ended += 1;
        }
        if ended > 0 {
            tracing::warn!(
                "clients hold {} of {} of memory: {ended} that are slow to read were sent away",
                words::bytes(held as u64),
                words::bytes(most as u64)
            );
        }
    }
}

/// The thread that watches; dropping this ends it.
pub(super) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(memory: Arc<Memory>) -> Result<Watch, StartError> {
        let (stop, stopped) = bounded::<()>(0);
        let thread = super::spawn("plaza-memory", move || {
            let mut looked_at = Instant::now();
            // Where nothing is bounded it only tells numbers.
            let every = if memory.plan.memory_bytes_max.is_some() { RELIEVE_EVERY } else { LOOK_EVERY };
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                memory.relieve();
                if looked_at.elapsed() >= LOOK_EVERY {
                    looked_at = Instant::now();
                    memory.sets.forget_idle();
                    memory.look_at_index();
                    memory.look_at_process();
                }
            }
        })?;
        Ok(Watch { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
