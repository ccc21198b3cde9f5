//! Answers REQ and COUNT. In: queries from sessions. Out: frames into outboxes. A query is read in
//! slices, so that a dear one delays neither the writer nor other queries, and waits when its client
//! has not read what it was sent.

use std::cmp::Ordering as Order;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};

use super::bodies::{Bodies, BodyError};
use crate::clock::Clock;
use crate::community::Community;
use crate::config::{Current, Limits};
use crate::event::{Id, PublicKey};
use crate::filter::Filter;
use crate::index::{Found, Progress, Scan};
use crate::message;
use crate::meter::{self, Meter, SlowQuery};
use crate::nips::nip67::{BOUNDARY_EXTRA_MAX, Hint};
use crate::outbox::{Frame, Listener, Subscription, event_bytes};
use crate::policy::head_of;
use crate::replay::Kept;
use crate::rule::{Context, Head, Prefix, Refusal, RelayNames};
use crate::store::Location;

/// Index entries that a query looks at before the writer may have the index again.
const SLICE_ENTRIES: u64 = 4_096;

/// What is wanted of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The events (REQ).
    Events,
    /// Their number (COUNT).
    Count,
}

/// A query to be answered.
pub struct Query {
    /// Where it was sent.
    pub community: Arc<Community>,
    /// Who asks.
    pub listener: Arc<Listener>,
    /// What is asked for.
    pub subscription: Arc<Subscription>,
    /// Events or their number.
    pub want: Want,
    /// Earlier ephemeral events that its filters ask for; they take their places among the stored ones.
    pub replay: Vec<Arc<Kept>>,
}

/// An event that answers a query.
struct Hit {
    created_at: u64,
    id: Id,
    body: Body,
}

/// Where a hit's JSON is.
enum Body {
    Stored(Location),
    Kept(Bytes),
}

impl Hit {
    /// NIP-01's order: newest first, then lowest id.
    fn compare(&self, other: &Hit) -> Order {
        other.created_at.cmp(&self.created_at).then_with(|| self.id.cmp(&other.id))
    }
}

impl From<Found> for Hit {
    fn from(found: Found) -> Hit {
        Hit { created_at: found.created_at, id: found.id, body: Body::Stored(found.location) }
    }
}

/// Events that were found and are being sent.
struct Answer {
    query: Query,
    found: std::vec::IntoIter<Hit>,
    hint: Option<Hint>,
    as_of: u64,
}

enum Job {
    Query(Query),
    Answer(Box<Answer>),
    Stop,
}

/// A handle to the reader threads.
#[derive(Clone)]
pub struct Readers {
    input: Receiver<Job>,
    jobs: Sender<Job>,
    queued: Arc<AtomicUsize>,
    queued_max: usize,
    bodies: Arc<Bodies>,
    clock: Clock,
    current: Arc<Current>,
    meter: Arc<Meter>,
}

/// One reader thread.
pub(super) struct Reader(Readers);

/// What ended the scans of one query.
#[derive(Default)]
struct Scanned {
    found: Vec<Hit>,
    /// The first event that each filter's limit withheld.
    withheld: Vec<Id>,
    /// A budget ended a scan: nothing is known of what it did not reach.
    is_cut: bool,
    as_of: u64,
}

impl Readers {
    pub(super) fn new(
        current: Arc<Current>,
        bodies: Arc<Bodies>,
        clock: Clock,
        meter: Arc<Meter>,
    ) -> Readers {
        let (jobs, input) = unbounded();
        let queued_max = current.get().root.limits.reads_queued_max;
        Readers { input, jobs, queued: Arc::default(), queued_max, bodies, clock, current, meter }
    }

    pub(super) fn thread(&self) -> Reader {
        Reader(self.clone())
    }

    /// Hands over a query.
    ///
    /// # Errors
    /// `error:` when too many wait already.
    pub fn submit(&self, query: Query) -> Result<(), Refusal> {
        if self.queued.fetch_add(1, Ordering::SeqCst) >= self.queued_max {
            self.queued.fetch_sub(1, Ordering::SeqCst);
            let sentence = "too many queries are waiting; try again in a moment";
            return Err(Refusal::new(Prefix::Error, "limits.reads_queued_max", sentence));
        }
        // This handle keeps the queue open.
        let _ = self.jobs.send(Job::Query(query));
        Ok(())
    }

    /// Ends this many threads once what is queued is answered.
    pub(super) fn stop(&self, threads: usize) {
        for _ in 0..threads {
            let _ = self.jobs.send(Job::Stop);
        }
    }
}

impl Reader {
    pub(super) fn run(self) {
        while let Ok(job) = self.0.input.recv() {
            match job {
                Job::Query(query) => {
                    self.0.queued.fetch_sub(1, Ordering::SeqCst);
                    self.answer(query);
                }
                Job::Answer(answer) => self.send(*answer),
                Job::Stop => return,
            }
        }
    }

    fn answer(&self, query: Query) {
        if query.listener.outbox.is_closed() || query.subscription.is_closed() {
            return;
        }
        let began = Instant::now();
        let (community, subscription) = (Arc::clone(&query.community), Arc::clone(&query.subscription));
        let found = match query.want {
            Want::Count => {
                community.traffic.counts.add(1);
                self.count(&query)
            }
            Want::Events => {
                community.traffic.requests.add(1);
                let scanned = self.scan(&query);
                if scanned.is_cut && scanned.found.is_empty() {
                    community.live.refuse(&subscription, &too_broad(&query));
                    return self.measure(began, &community, &subscription, 0);
                }
                let (mut found, hint) = merge(scanned.found, &scanned.withheld, scanned.is_cut);
                if query.community.settings().trust.read_first {
                    trusted_first(&query.community, &mut found);
                }
                let count = found.len();
                self.send(Answer { query, found: found.into_iter(), hint, as_of: scanned.as_of });
                count
            }
        };
        self.measure(began, &community, &subscription, found);
    }

    /// Notes how long a query took up to its last event, or until its client had to read first.
    fn measure(&self, began: Instant, community: &Community, subscription: &Subscription, events: usize) {
        let took = began.elapsed();
        self.0.meter.query_seconds.observe(took.as_secs_f64());
        let slow = self.0.current.get().log.slow_query_milliseconds;
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if milliseconds < slow {
            return;
        }
        let (community, shape) = (community.path().to_owned(), meter::shape(&subscription.filters));
        tracing::info!(community, shape, milliseconds, events, "a slow query");
        self.0.meter.slow(SlowQuery { at: self.0.clock.now(), community, shape, milliseconds, events });
    }

    /// Finds the stored events of all filters, each up to its limit.
    fn scan(&self, query: &Query) -> Scanned {
        let settings = query.community.settings();
        let limits = &settings.limits;
        let as_of = query.community.index().next_number();
        let mut all = Scanned { as_of, ..Scanned::default() };
        let deadline = Instant::now() + Duration::from_millis(limits.query_milliseconds_max);
        for filter in &query.subscription.filters {
            let (limit, may_exceed) = limit_of(filter, limits);
            let start = all.found.len();
            let mut withheld = None;
            let mut receive = |hit: Hit| {
                let count = all.found.len() - start;
                // Where the relay's own cap ends the answer, the whole last second goes with it (NIP-67).
                let fits = count < limit
                    || may_exceed
                        && count < limit + BOUNDARY_EXTRA_MAX
                        && all.found.last().is_some_and(|last| last.created_at == hit.created_at);
                if fits {
                    all.found.push(hit);
                } else {
                    withheld.get_or_insert(hit.id);
                }
                fits
            };
            let mut kept = self.replay(query, filter).into_iter().peekable();
            let is_whole = self.scan_filter(query, filter, as_of, deadline, |found| {
                let found = Hit::from(found);
                while let Some(kept) = kept.next_if(|kept| kept.compare(&found).is_lt()) {
                    if !receive(kept) {
                        return false;
                    }
                }
                receive(found)
            });
            // Where a budget ended the scan older ones would hide what it did not reach from who pages.
            if is_whole {
                kept.all(&mut receive);
            }
            all.is_cut |= !is_whole;
            all.withheld.extend(withheld);
        }
        all
    }

    /// The ephemeral events of the query that a filter asks for and that may be seen, in order.
    fn replay(&self, query: &Query, filter: &Filter) -> Vec<Hit> {
        let Query { community, listener, replay, .. } = query;
        if replay.is_empty() {
            return Vec::new();
        }
        let now = self.0.clock.now();
        let rules = community.rules();
        let mut hits: Vec<Hit> = listener.with_keys(|keys| {
            let asked = filter.names_events_or_authors();
            let context = Context { asked, ..rules.context(now, keys, &listener.relay) };
            let is_for =
                |event| filter.matches(event) && community.visible(&rules, &head_of(event), &context);
            let kept = replay.iter().filter(|kept| is_for(&kept.event));
            let hit = |kept: &Arc<Kept>| Hit {
                created_at: kept.event.created_at,
                id: kept.event.id,
                body: Body::Kept(kept.body.clone()),
            };
            kept.map(hit).collect()
        });
        hits.sort_unstable_by(Hit::compare);
        hits
    }

    /// Scans one filter in slices; false when a budget ended it.
    fn scan_filter(
        &self,
        query: &Query,
        filter: &Filter,
        as_of: u64,
        deadline: Instant,
        mut receive: impl FnMut(Found) -> bool,
    ) -> bool {
        let Query { community, listener, subscription, .. } = query;
        let rules = community.rules();
        let entries_max = rules.settings.limits.query_entries_max;
        let mut scan = Scan::new(filter, as_of);
        loop {
            let entries = SLICE_ENTRIES.min(entries_max - scan.looked_at);
            let now = self.0.clock.now();
            let progress = listener.with_keys(|keys| {
                let asked = filter.names_events_or_authors();
                let context = Context { asked, ..rules.context(now, keys, &listener.relay) };
                let visible = |head: &Head<'_>| community.visible(&rules, head, &context);
                scan.run(&community.index(), entries, visible, &mut receive)
            });
            match progress {
                Progress::Stopped | Progress::Complete => return true,
                Progress::Going if scan.looked_at >= entries_max || Instant::now() >= deadline => {
                    return false;
                }
                // Nobody waits for the rest.
                Progress::Going if subscription.is_closed() || listener.outbox.is_closed() => return false,
                Progress::Going => {}
            }
        }
    }

    fn count(&self, query: &Query) -> usize {
        let settings = query.community.settings();
        let limits = &settings.limits;
        let filters = &query.subscription.filters;
        let as_of = query.community.index().next_number();
        let deadline = Instant::now() + Duration::from_millis(limits.query_milliseconds_max);
        let mut seen = HashSet::new();
        let mut count = 0;
        let mut is_whole = true;
        for filter in filters {
            is_whole &= self.scan_filter(query, filter, as_of, deadline, |found| {
                // An event that several filters ask for counts once.
                count += u64::from(filters.len() == 1 || seen.insert(found.location.number));
                true
            });
        }
        let text = message::count(&query.subscription.id, count, !is_whole);
        query.listener.outbox.push(Frame::Answer(Arc::clone(&query.subscription), text));
        count as usize
    }

    /// Sends what was found, as fast as the client reads, then EOSE. What fits goes into the outbox at once.
    fn send(&self, mut answer: Answer) {
        let Query { community, listener, subscription, .. } = &answer.query;
        let outbox = &listener.outbox;
        loop {
            if outbox.is_closed() || subscription.is_closed() {
                return;
            }
            // Before each part, not after: many answers that go on at once would overflow the outbox
            // of a client that reads as it should.
            let Some(room) = outbox.room_for_answer() else {
                let (listener, jobs) = (Arc::clone(listener), self.0.jobs.clone());
                let parked = Box::new(move || drop(jobs.send(Job::Answer(Box::new(answer)))));
                if let Some(parked) = listener.outbox.park_if_busy(parked) {
                    parked();
                }
                return;
            };
            let read = self.read_some(community, &mut answer.found, room);
            community.traffic.answered.add(read.as_ref().map_or(0, Vec::len));
            match read {
                Ok(bodies) if answer.found.len() > 0 => outbox.push(Frame::events(subscription, bodies)),
                Ok(bodies) => {
                    let eose = message::eose(&subscription.id, answer.hint);
                    community.live.release(subscription, answer.as_of, bodies, eose);
                    return;
                }
                Err(error) => {
                    tracing::error!("cannot read a stored event: {error}");
                    let sentence = "a stored event could not be read; its operator is told";
                    let refusal = Refusal::new(Prefix::Error, "store.read", sentence);
                    community.live.refuse(subscription, &refusal);
                    return;
                }
            }
        }
    }

    /// The JSON of what was found next, until it fills this much of an outbox.
    fn read_some(
        &self,
        community: &Community,
        found: &mut std::vec::IntoIter<Hit>,
        bytes: usize,
    ) -> Result<Vec<Bytes>, BodyError> {
        let (mut bodies, mut filled) = (Vec::new(), 0);
        while filled < bytes
            && let Some(hit) = found.next()
        {
            let body = match hit.body {
                Body::Stored(location) => match self.0.bodies.get(community.id, location)? {
                    None if self.is_lost(community, &hit.id, location)? => {
                        return Err(BodyError::Lost(location.number));
                    }
                    body => body,
                },
                Body::Kept(body) => Some(body),
            };
            // What was removed since the scan is passed over.
            if let Some(body) = body {
                filled += event_bytes(&body);
                bodies.push(body);
            }
        }
        Ok(bodies)
    }

    /// Whether an event that the store does not have should be there. What the group removes that is being written
    /// is gone from the store before it is gone from the index.
    fn is_lost(&self, community: &Community, id: &Id, location: Location) -> Result<bool, BodyError> {
        let store = self.0.bodies.store();
        let removed = store.removed_since(store.groups().saturating_sub(1))?;
        Ok(!removed.contains(&(community.id, location))
            && community.index().stored_at(id, location).is_some())
    }
}

/// Puts what trusted people wrote before the rest (`trust.read_first`); otherwise the order stays.
fn trusted_first(community: &Community, found: &mut [Hit]) {
    let (relay, rules) = (RelayNames::default(), community.rules());
    let context = rules.context(0, &[], &relay);
    let index = community.index();
    let is_trusted = |author: &PublicKey| context.is_member(author) || context.is_trusted(author);
    found.sort_by_cached_key(|hit| !index.author_of(&hit.id).is_some_and(is_trusted));
}

/// How many events a filter is answered with, and whether that bound is the relay's own.
fn limit_of(filter: &Filter, limits: &Limits) -> (usize, bool) {
    match filter.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)) {
        Some(limit) if limit <= limits.limit_max => (limit, false),
        Some(_) => (limits.limit_max, true),
        None => (limits.limit_default, true),
    }
}

/// The answers of several filters as one, newest first, ties by lowest id, each event once; and what is
/// certain of its completeness.
fn merge(mut found: Vec<Hit>, withheld: &[Id], is_cut: bool) -> (Vec<Hit>, Option<Hint>) {
    found.sort_unstable_by(Hit::compare);
    found.dedup_by_key(|found| found.id);
    // What one filter's limit withheld may have been sent for another.
    let hint = if withheld.iter().any(|id| !found.iter().any(|found| found.id == *id)) {
        Some(Hint::More)
    } else if withheld.is_empty() && !is_cut {
        Some(Hint::Finish)
    } else {
        None
    };
    (found, hint)
}

fn too_broad(query: &Query) -> Refusal {
    let settings = query.community.settings();
    let limits = &settings.limits;
    let sentence = format!(
        "nothing was found within {} ms and {} index entries; narrow kinds, authors, tags or time",
        limits.query_milliseconds_max, limits.query_entries_max
    );
    Refusal::new(Prefix::Error, "limits.query_entries_max", sentence)
}
