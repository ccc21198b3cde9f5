//! Sets of events that several reconciliations (NIP-77) are about: whoever opens what somebody else has opened a moment ago,
//! and may see the same, gets the set that is there and has nothing looked up. In: what a set is about, sets. Out: sets
//! that are as the index is now, those to be brought up to date, or the task to gather one, for which others wait.
//!
//! A set is about a filter, as one sees it who has proved certain keys, by the rules of one moment: another key, another
//! name of the relay or a new snapshot of the rules make another set. It is as the index is while the index does not
//! change and no event of it expires.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use super::fair::Fair;
use super::reader::Job;
use super::reconcile::Exchange;
use crate::community::{Community, Rules};
use crate::event::PublicKey;
use crate::filter::Filter;
use crate::index::CHANGES_BYTES;
use crate::memory::{Charge, Ledger};
use crate::nips::nip77::Sealed;
use crate::outbox::Listener;
use crate::rule::RelayNames;

/// Sets that are kept for others, in all communities together; the one that was used last stays longest.
const SETS_MAX: usize = 8;

/// Events of a set that is kept for others at the least: fewer are looked up as quickly.
pub(super) const SHARED_EVENTS_MIN: usize = 1_000;

/// How long a set is kept that nobody opens.
const IDLE: Duration = Duration::from_secs(30);

/// A set, and what it takes.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) set: Sealed,
    /// Its part of the bound on all of them.
    pub(super) _room: Option<OwnedSemaphorePermit>,
    /// What it takes of the memory of all clients.
    pub(super) _charge: Charge,
}

/// What a set is about. The moment at which it is so is not part of it.
#[derive(Clone)]
pub(super) struct About {
    pub(super) community: Arc<Community>,
    pub(super) filter: Filter,
    /// In order.
    pub(super) keys: Vec<PublicKey>,
    pub(super) relay: Arc<RelayNames>,
    pub(super) rules: Arc<Rules>,
}

/// As of when a set is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AsOf {
    /// The index's generation.
    pub(super) generation: u64,
    /// From this second on, as far as time itself is concerned.
    pub(super) from: u64,
    /// The second at which the first of its events expires.
    pub(super) until: u64,
}

/// Has an index keep its changes while it exists.
struct Watching(Arc<Community>, #[expect(dead_code, reason = "held for what they take")] Charge);

impl Watching {
    /// `None` when there is no memory for it.
    fn new(community: &Arc<Community>, memory: &Arc<Ledger>) -> Option<Watching> {
        let charge = memory.take(CHANGES_BYTES)?;
        community.index_mut().watch();
        Some(Watching(Arc::clone(community), charge))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.index_mut().unwatch();
    }
}

struct Entry {
    about: About,
    kept: Arc<Kept>,
    as_of: AsOf,
    used_at: Instant,
    _watching: Watching,
}

/// A set that is being gathered, and reconciliations that wait for it; `None` when that has ended.
pub(super) struct Flight {
    about: About,
    waiting: Mutex<Option<Vec<Exchange>>>,
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    flights: Vec<Arc<Flight>>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Sets(Mutex<Inner>);

/// The task to gather a set; dropping it lets those go on that wait for it.
pub(super) struct Task {
    flight: Arc<Flight>,
    sets: Arc<Sets>,
    jobs: Weak<Fair<Job>>,
    watching: Option<Watching>,
}

/// What there is of a set.
pub(super) enum Look {
    /// It is as the index is now.
    Now(Arc<Kept>),
    /// It was so a moment ago.
    Before(Arc<Kept>, AsOf),
    /// Somebody gathers it.
    UnderWay(Arc<Flight>),
    /// It is to be gathered; where there is no room to do so for others, for oneself.
    Gather(Option<Task>),
}

impl About {
    /// What a reconciliation of this filter is about; `None` where its set is for itself alone: which are the newest so
    /// many changes with every event.
    pub(super) fn of(community: &Arc<Community>, listener: &Listener, filter: &Filter) -> Option<About> {
        if filter.limit.is_some() {
            return None;
        }
        let mut keys = listener.with_keys(<[PublicKey]>::to_vec);
        keys.sort_unstable();
        Some(About {
            community: Arc::clone(community),
            filter: filter.clone(),
            keys,
            relay: Arc::clone(&listener.relay),
            rules: community.rules(),
        })
    }

    /// Whether two are about the same, as the same people see it.
    pub(super) fn is(&self, other: &About) -> bool {
        Arc::ptr_eq(&self.community, &other.community)
            && Arc::ptr_eq(&self.rules, &other.rules)
            && self.keys == other.keys
            && self.relay == other.relay
            && self.filter == other.filter
    }
}

impl Flight {
    /// Waits until the set is gathered, or will not be: then the readers get the exchange again.
    ///
    /// # Errors
    /// The exchange itself, when that is so already.
    pub(super) fn wait(&self, exchange: Box<Exchange>) -> Result<(), Box<Exchange>> {
        match &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(waiting) => waiting.push(*exchange),
            None => return Err(exchange),
        }
        Ok(())
    }
}

impl Sets {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for a set, as of `now` in seconds since 1970. Who `waits` may be told that somebody else gathers it.
    pub(super) fn look(
        self: &Arc<Self>,
        about: &About,
        now: u64,
        jobs: &Arc<Fair<Job>>,
        memory: &Arc<Ledger>,
        waits: bool,
    ) -> Look {
        let generation = about.community.index().generation();
        let mut inner = self.lock();
        if let Some(entry) = inner.entries.iter_mut().find(|entry| entry.about.is(about))
            && (entry.as_of.from..entry.as_of.until).contains(&now)
        {
            entry.used_at = Instant::now();
            let kept = Arc::clone(&entry.kept);
            return match entry.as_of.generation == generation {
                true => Look::Now(kept),
                false => Look::Before(kept, entry.as_of),
            };
        }
        let under_way = inner.flights.iter().find(|flight| waits && flight.about.is(about));
        if let Some(flight) = under_way {
            return Look::UnderWay(Arc::clone(flight));
        }
        drop(inner);
        let task = Watching::new(&about.community, memory).map(|watching| {
            let flight = Arc::new(Flight { about: about.clone(), waiting: Mutex::new(Some(Vec::new())) });
            self.lock().flights.push(Arc::clone(&flight));
            Task { flight, sets: Arc::clone(self), jobs: Arc::downgrade(jobs), watching: Some(watching) }
        });
        Look::Gather(task)
    }

    /// Puts a set in place of what it was a moment ago.
    pub(super) fn renew(&self, about: &About, kept: &Arc<Kept>, as_of: AsOf) {
        let mut inner = self.lock();
        let entry = inner.entries.iter_mut().find(|entry| entry.about.is(about));
        if let Some(entry) = entry.filter(|entry| entry.as_of.generation < as_of.generation) {
            let before = std::mem::replace(&mut entry.kept, Arc::clone(kept));
            entry.as_of = as_of;
            drop(inner);
            drop(before);
        }
    }

    /// Keeps a set for others.
    fn keep(&self, entry: Entry) {
        let mut inner = self.lock();
        let about = &entry.about;
        let mut gone: Vec<Entry> = inner.entries.extract_if(.., |other| other.about.is(about)).collect();
        if inner.entries.len() >= SETS_MAX {
            let oldest = (0..inner.entries.len()).min_by_key(|at| inner.entries[*at].used_at);
            gone.extend(oldest.map(|at| inner.entries.swap_remove(at)));
        }
        inner.entries.push(entry);
        // What they hold is given back when nobody waits for this lock.
        drop(inner);
        drop(gone);
    }

    fn forget_those(&self, are_to_go: impl Fn(&Entry) -> bool) -> bool {
        let gone: Vec<Entry> = self.lock().entries.extract_if(.., |entry| are_to_go(entry)).collect();
        !gone.is_empty()
    }

    /// Forgets a set that cannot be brought up to date.
    pub(super) fn forget(&self, kept: &Arc<Kept>) {
        self.forget_those(|entry| Arc::ptr_eq(&entry.kept, kept));
    }

    /// Forgets what nobody opened for a while.
    pub(super) fn forget_idle(&self) {
        self.forget_those(|entry| entry.used_at.elapsed() >= IDLE);
    }

    /// Forgets what no reconciliation is about at this moment: somebody needs the room. Says whether there was some.
    pub(super) fn forget_unused(&self) -> bool {
        self.forget_those(|entry| Arc::strong_count(&entry.kept) == 1)
    }
}

impl Task {
    /// Keeps the set for others, if it is worth it and still about the same.
    pub(super) fn done(mut self, about: Option<&About>, kept: &Arc<Kept>, as_of: AsOf) {
        let is_same = about.is_some_and(|about| about.is(&self.flight.about));
        if is_same
            && kept.set.count() >= SHARED_EVENTS_MIN
            && let Some(watching) = self.watching.take()
        {
            let (about, kept) = (self.flight.about.clone(), Arc::clone(kept));
            self.sets.keep(Entry { about, kept, as_of, used_at: Instant::now(), _watching: watching });
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.sets.lock().flights.retain(|flight| !Arc::ptr_eq(flight, &self.flight));
        let waiting = self.flight.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(jobs) = self.jobs.upgrade() {
            for exchange in waiting.into_iter().flatten() {
                jobs.push(exchange.source(), Job::Exchange(Box::new(exchange)));
            }
        }
    }
}
