//! What is known of one connection to another relay, across its reconnects: how it stands, what came and went, and
//! what either side has turned away for good. In: what happens. Out: numbers. Holds nothing of the pipeline, which
//! tells it what became of events.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::event::Id;
use crate::pipeline::{Feed, Outcome};
use crate::recent::Recent;
use crate::rule::Prefix;

/// Ids that are remembered of each sort: what the other side has, what it has for good turned away, and what is
/// not taken here.
const REMEMBERED_MAX: usize = 32_768;

/// How a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits until it is tried again.
    #[default]
    Waiting,
    /// It is being made.
    Connecting,
    /// It is open, and what was missed is being carried over.
    CatchingUp,
    /// It is open, and carries what is new.
    Live,
}

/// What became of events one way, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flow {
    /// Events that came, or were offered.
    pub events: u64,
    /// Those that were new and are stored, or were passed on.
    pub taken: u64,
    /// Copies of what was there, or of something older than it.
    pub copies: u64,
    /// Those that were turned away, by why: the prefix of the answer.
    pub refused: BTreeMap<String, u64>,
    /// Events that wait.
    pub waiting: u64,
}

/// How a mirror stands, in words and numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorStats {
    /// The community's path.
    pub community: String,
    /// The other relay.
    pub url: String,
    /// Which way events go.
    pub direction: String,
    /// How it stands.
    pub phase: Phase,
    /// Since when it is connected, in seconds since 1970.
    pub connected_since: Option<u64>,
    /// When it carried an event that was new, either way, in seconds since 1970.
    #[serde(default)]
    pub last_event_at: Option<u64>,
    /// Times that it was connected.
    pub connects: u64,
    /// Times that all that was missed had been carried over.
    pub caught_up: u64,
    /// What went wrong last; `None` since all is well.
    pub error: Option<String>,
    /// What comes down.
    pub down: Flow,
    /// What goes up.
    pub up: Flow,
    /// Messages that were none, events that nobody asked for, and forgeries.
    pub strikes: u64,
}

#[derive(Debug, Default)]
struct Standing {
    phase: Phase,
    connected_since: Option<u64>,
    connects: u64,
    caught_up: u64,
    /// Connections that ended on end before anything was carried over.
    failures: u64,
    error: Option<String>,
    down_refused: BTreeMap<String, u64>,
    up_refused: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct Counts {
    events: AtomicU64,
    taken: AtomicU64,
    copies: AtomicU64,
    waiting: AtomicUsize,
}

impl Counts {
    fn flow(&self, refused: BTreeMap<String, u64>) -> Flow {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Flow {
            events: read(&self.events),
            taken: read(&self.taken),
            copies: read(&self.copies),
            refused,
            waiting: self.waiting.load(Ordering::Relaxed) as u64,
        }
    }
}

/// Events of one community that its mirrors have handed in and that are not answered, so that each is verified once.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    ids: Mutex<HashSet<Id>>,
    /// How many proved to be forged: copies of them that were passed over may have been true.
    forgeries: AtomicU64,
}

impl UnderWay {
    fn ids(&self) -> MutexGuard<'_, HashSet<Id>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one; false when a copy of it is under way.
    pub(super) fn begin(&self, id: &Id) -> bool {
        self.ids().insert(*id)
    }

    /// How many proved to be forged so far.
    pub(super) fn forgeries(&self) -> u64 {
        self.forgeries.load(Ordering::Relaxed)
    }
}

/// What one connection has, across its reconnects.
pub(super) struct Link {
    community: String,
    url: String,
    direction: String,
    clock: Clock,
    /// Seconds since 1970; 0 while nothing was carried.
    last_event_at: AtomicU64,
    standing: Mutex<Standing>,
    down: Counts,
    up: Counts,
    strikes: AtomicU64,
    /// Events that are handed in and not answered.
    handed_in: AtomicUsize,
    /// Told when all are answered.
    settled: Notify,
    /// Whether something was not carried over that should have been.
    missed: AtomicBool,
    pub(super) under_way: Arc<UnderWay>,
    /// What the other side has shown that it has, over this connection: that is not sent to it.
    there: Mutex<Recent>,
    /// What the other side does not take.
    refused_there: Mutex<Recent>,
    /// What is not taken here, or is there already though the other side cannot know.
    refused_here: Mutex<Recent>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(super) fn new(
        community: &str,
        url: &str,
        direction: &str,
        clock: Clock,
        under_way: Arc<UnderWay>,
    ) -> Arc<Link> {
        let remembered = || Mutex::new(Recent::new(REMEMBERED_MAX));
        Arc::new(Link {
            community: community.to_owned(),
            url: url.to_owned(),
            direction: direction.to_owned(),
            clock,
            last_event_at: AtomicU64::new(0),
            standing: Mutex::default(),
            down: Counts::default(),
            up: Counts::default(),
            strikes: AtomicU64::new(0),
            handed_in: AtomicUsize::new(0),
            settled: Notify::new(),
            missed: AtomicBool::new(false),
            under_way,
            there: remembered(),
            refused_there: remembered(),
            refused_here: remembered(),
        })
    }

    /// The other relay.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// How it stands.
    pub(super) fn stats(&self) -> MirrorStats {
        let standing = locked(&self.standing);
        MirrorStats {
            community: self.community.clone(),
            url: self.url.clone(),
            direction: self.direction.clone(),
            phase: standing.phase,
            connected_since: standing.connected_since,
            last_event_at: Some(self.last_event_at.load(Ordering::Relaxed)).filter(|at| *at > 0),
            connects: standing.connects,
            caught_up: standing.caught_up,
            error: standing.error.clone(),
            down: self.down.flow(standing.down_refused.clone()),
            up: self.up.flow(standing.up_refused.clone()),
            strikes: self.strikes.load(Ordering::Relaxed),
        }
    }

    /// Notes that it is connected.
    pub(super) fn connected(&self, now: u64) {
        // Meanwhile it may have lost what it had.
        *locked(&self.there) = Recent::new(REMEMBERED_MAX);
        let mut standing = locked(&self.standing);
        (standing.phase, standing.connected_since) = (Phase::CatchingUp, Some(now));
        standing.connects += 1;
    }

    /// Notes how it stands.
    pub(super) fn enter(&self, phase: Phase) {
        let mut standing = locked(&self.standing);
        standing.phase = phase;
        if matches!(phase, Phase::Waiting | Phase::Connecting) {
            standing.connected_since = None;
            self.down.waiting.store(0, Ordering::Relaxed);
            self.up.waiting.store(0, Ordering::Relaxed);
        }
    }

    /// Notes what went wrong.
    pub(super) fn note(&self, error: String) {
        let mut standing = locked(&self.standing);
        standing.error = Some(error);
        standing.failures += 1;
    }

    /// How many connections ended on end before all that was missed was carried over.
    pub(super) fn failures(&self) -> u64 {
        locked(&self.standing).failures
    }

    /// Notes that nothing is missed.
    pub(super) fn caught_up(&self) {
        let mut standing = locked(&self.standing);
        (standing.phase, standing.error) = (Phase::Live, None);
        standing.caught_up += 1;
        standing.failures = 0;
    }

    /// Notes what waits each way.
    pub(super) fn note_waiting(&self, down: usize, up: usize) {
        self.down.waiting.store(down, Ordering::Relaxed);
        self.up.waiting.store(up, Ordering::Relaxed);
    }

    /// Notes that something was not carried over.
    pub(super) fn miss(&self) {
        self.missed.store(true, Ordering::Relaxed);
    }

    /// Whether something was not carried over; forgets it.
    pub(super) fn take_missed(&self) -> bool {
        self.missed.swap(false, Ordering::Relaxed)
    }

    /// How often the other side has sent what is none of its business.
    pub(super) fn strikes(&self) -> u64 {
        self.strikes.load(Ordering::Relaxed)
    }

    pub(super) fn strike(&self) {
        self.strikes.fetch_add(1, Ordering::Relaxed);
    }

    /// An event came.
    pub(super) fn came(&self, id: &Id) {
        self.down.events.fetch_add(1, Ordering::Relaxed);
        locked(&self.there).add(id);
    }

    /// An event is handed in.
    pub(super) fn hand_in(&self) {
        self.handed_in.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether all that was handed in is answered.
    pub(super) fn is_settled(&self) -> bool {
        self.handed_in.load(Ordering::SeqCst) == 0
    }

    /// Waits until it may be so.
    pub(super) async fn settled(&self) {
        self.settled.notified().await;
    }

    /// Whether the other side has an event, or has turned it away for good.
    pub(super) fn is_of_no_use_there(&self, id: &Id) -> bool {
        locked(&self.there).has(id) || locked(&self.refused_there).has(id)
    }

    /// Whether it is known that an event of the other side is not taken here.
    pub(super) fn is_of_no_use_here(&self, id: &Id) -> bool {
        locked(&self.refused_here).has(id)
    }

    /// An event that came was not handed in, for this reason.
    pub(super) fn refused_down(&self, id: &Id, prefix: Prefix) {
        *locked(&self.standing).down_refused.entry(prefix.as_str().to_owned()).or_default() += 1;
        match prefix {
            // Later it may pass.
            Prefix::RateLimited | Prefix::Error => self.miss(),
            _ => drop(locked(&self.refused_here).add(id)),
        }
    }

    /// An event that came is there already.
    pub(super) fn copy_down(&self, id: &Id) {
        self.down.copies.fetch_add(1, Ordering::Relaxed);
        // Who compares what both sides have would find it again and again, where it is not shown here.
        locked(&self.refused_here).add(id);
    }

    /// A copy of an event that came is under way.
    pub(super) fn passed_over(&self) {
        self.down.copies.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets what is not taken here: other rules may take it.
    pub(super) fn forget(&self) {
        *locked(&self.refused_here) = Recent::new(REMEMBERED_MAX);
    }

    /// An event was carried that was new.
    fn carried(&self) {
        self.last_event_at.store(self.clock.now(), Ordering::Relaxed);
    }

    /// An event is offered.
    pub(super) fn offered(&self) {
        self.up.events.fetch_add(1, Ordering::Relaxed);
    }

    /// The other side took an event.
    pub(super) fn taken_up(&self, id: &Id) {
        self.up.taken.fetch_add(1, Ordering::Relaxed);
        self.carried();
        locked(&self.there).add(id);
    }

    /// The other side has it, or something newer in its place: then it is not offered again.
    pub(super) fn copy_up(&self, id: &Id) {
        self.up.copies.fetch_add(1, Ordering::Relaxed);
        locked(&self.refused_there).add(id);
    }

    /// The other side does not take an event; `for_good` when another try will not help.
    pub(super) fn refused_up(&self, id: &Id, prefix: &str, for_good: bool) {
        *locked(&self.standing).up_refused.entry(prefix.to_owned()).or_default() += 1;
        if for_good {
            locked(&self.refused_there).add(id);
        }
    }

    /// About how many bytes it remembers.
    pub(super) fn bytes(&self) -> usize {
        [&self.there, &self.refused_there, &self.refused_here]
            .map(|recent| locked(recent).bytes())
            .iter()
            .sum()
    }
}

impl Feed for Link {
    fn hear(&self, id: &Id, outcome: &Outcome) {
        self.under_way.ids().remove(id);
        self.count(id, outcome);
        if self.handed_in.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.settled.notify_one();
        }
    }
}

impl Link {
    /// Counts what became of an event that was handed in.
    fn count(&self, id: &Id, outcome: &Outcome) {
        match outcome {
            Outcome::Stored | Outcome::PassedOn | Outcome::Held | Outcome::Done(_) => {
                self.down.taken.fetch_add(1, Ordering::Relaxed);
                self.carried();
            }
            Outcome::Duplicate | Outcome::Superseded => self.copy_down(id),
            // A plugin has its sender think that it was taken.
            Outcome::Feigned => self.refused_down(id, Prefix::Blocked),
            Outcome::Refused(refusal) => {
                if refusal.rule.starts_with("nip01.") && refusal.prefix == Prefix::Invalid {
                    self.strike();
                    self.under_way.forgeries.fetch_add(1, Ordering::Relaxed);
                    // Its true one may come from elsewhere, or from here again.
                    *locked(&self.standing).down_refused.entry("invalid".to_owned()).or_default() += 1;
                    return;
                }
                self.refused_down(id, refusal.prefix);
            }
        }
    }
}
