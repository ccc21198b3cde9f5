//! Answers REQ and COUNT; `reconcile` NEG-OPEN and NEG-MSG. In: queries from sessions. Out: frames into outboxes. A query is read in
//! slices, so that a dear one delays neither the writer nor other queries, and waits when its client
//! has not read what it was sent.

use std::cmp::Ordering as Order;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use tokio::sync::Semaphore;

use super::bodies::{Bodies, BodyError};
use super::fair::{Fair, Source};
use super::reconcile::Exchange;
use super::search::Search;
use super::sets::Sets;
use super::stage::Stage;
use crate::clock::Clock;
use crate::community::{Community, Rules};
use crate::config::{Current, Limits};
use crate::event::{Id, PublicKey};
use crate::filter::Filter;
use crate::index::{Found, Progress, Scan};
use crate::memory::{self, Charge};
use crate::message;
use crate::meter::{self, Meter, SlowQuery};
use crate::nips::nip45::HyperLogLog;
use crate::nips::nip59;
use crate::nips::nip67::{BOUNDARY_EXTRA_MAX, Hint};
use crate::outbox::{Frame, Listener, Subscription, event_bytes};
use crate::policy::head_of;
use crate::replay::Kept;
use crate::rule::{Context, Head, Prefix, Refusal, RelayNames};
use crate::store::{Location, Store};

/// Index entries that a query looks at before the writer may have the index again.
pub(super) const SLICE_ENTRIES: u64 = 4_096;

/// Events that a COUNT of several filters tells apart; with more its answer is an approximation.
const COUNT_DISTINCT_MAX: usize = 900_000;

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
    /// How well it matches what was searched for; 0 where nothing was.
    score: f32,
}

/// Where a hit's JSON is.
enum Body {
    Stored(Location),
    Kept(Bytes),
}

impl Hit {
    /// What it takes until it is sent. A stored event's JSON is read then.
    fn bytes(&self) -> usize {
        let body = match &self.body {
            Body::Stored(_) => 0,
            Body::Kept(body) => body.len(),
        };
        size_of::<Hit>() + body
    }

    /// What matches best first (NIP-50); then NIP-01's order: newest first, then lowest id.
    fn compare(&self, other: &Hit) -> Order {
        let scores = other.score.total_cmp(&self.score);
        let times = other.created_at.cmp(&self.created_at);
        scores.then(times).then_with(|| self.id.cmp(&other.id))
    }
}

impl From<(Found, f32)> for Hit {
    fn from((found, score): (Found, f32)) -> Hit {
        let Found { created_at, id, location } = found;
        Hit { created_at, id, body: Body::Stored(location), score }
    }
}

/// A query that is to be looked up as of one moment.
struct Begun {
    query: Query,
    at: Instant,
    /// Events from this number on are none of its.
    as_of: u64,
}

/// Events that were found and are being sent.
pub(super) struct Answer {
    query: Query,
    found: std::vec::IntoIter<Hit>,
    hint: Option<Hint>,
    as_of: u64,
    /// What it takes of the memory of all clients until it is sent: its client may be slow.
    _charge: Charge,
    /// What the community went by when they were found.
    rules: Arc<Rules>,
    /// When the query was begun and how many events were found, until it was noted how long that took.
    unmeasured: Option<(Instant, usize)>,
}

/// Where a reader is with a query.
#[derive(Default)]
enum Phase {
    /// Between two queries.
    #[default]
    Idle,
    /// It is to be looked up.
    Scan(Begun),
    /// What was found is to be sent.
    Send(Answer),
}

pub(super) enum Job {
    Query(Query),
    Answer(Box<Answer>),
    /// A message of a reconciliation, or one whose set is not complete yet.
    Exchange(Box<Exchange>),
}

/// A handle to the reader threads.
#[derive(Clone)]
pub struct Readers {
    pub(super) jobs: Arc<Fair<Job>>,
    queued_max: usize,
    bodies: Arc<Bodies>,
    clock: Clock,
    current: Arc<Current>,
    meter: Arc<Meter>,
    /// Events that reconciliations may still be about.
    pub(super) reconciled: Arc<Semaphore>,
    /// What several of them are about.
    pub(super) sets: Arc<Sets>,
}

/// One of those that answer.
pub(super) struct Reader {
    pub(super) shared: Readers,
    phase: Phase,
}

/// What ended the scans of one query.
#[derive(Default)]
struct Scanned {
    found: Vec<Hit>,
    /// The first event that each filter's limit withheld.
    withheld: Vec<Id>,
    /// A budget ended a scan: nothing is known of what it did not reach.
    is_cut: bool,
    /// Why it cannot be answered.
    refused: Option<Refusal>,
}

impl Readers {
    pub(super) fn new(
        current: Arc<Current>,
        bodies: Arc<Bodies>,
        clock: Clock,
        meter: Arc<Meter>,
        sets: Arc<Sets>,
    ) -> Readers {
        let jobs = Arc::new(Fair::new());
        let limits = &current.get().root.limits;
        let queued_max = limits.reads_queued_max;
        let reconciled = Arc::new(Semaphore::new(limits.reconciled_events_max));
        Readers { jobs, queued_max, bodies, clock, current, meter, reconciled, sets }
    }

    pub(super) fn stage(&self) -> Reader {
        Reader { shared: self.clone(), phase: Phase::Idle }
    }

    /// Hands over a query.
    ///
    /// # Errors
    /// `rate-limited:` when too many wait already, and too many of them from the same address.
    pub fn submit(&self, query: Query) -> Result<(), Refusal> {
        self.queue(Source::of(&query.listener), Job::Query(query))
    }

    /// Hands over a message of a reconciliation.
    ///
    /// # Errors
    /// As for a query.
    pub fn exchange(&self, exchange: Exchange) -> Result<(), Refusal> {
        self.queue(exchange.source(), Job::Exchange(Box::new(exchange)))
    }

    fn queue(&self, source: Source, job: Job) -> Result<(), Refusal> {
        self.jobs.push_within(self.queued_max, source, job).map_err(|_| {
            let sentence = "too many queries are waiting; try again in a moment";
            Refusal::new(Prefix::RateLimited, "limits.reads_queued_max", sentence)
        })
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(super) fn store(&self) -> &Store {
        self.bodies.store()
    }

    /// Counts entries that a query looked at.
    pub(super) fn note_entries(&self, entries: u64) {
        self.meter.query_entries.inc_by(entries);
    }

    /// Ends the threads once what is queued is answered.
    pub(super) fn stop(&self) {
        self.jobs.close();
    }
}

impl Stage for Reader {
    type Work = Job;

    fn wait(&mut self) -> Option<Job> {
        self.shared.jobs.take().map(|(_, job)| job)
    }

    fn look(&mut self) -> Option<Job> {
        self.shared.jobs.try_take().map(|(_, job)| job)
    }

    fn begin(&mut self, job: Job) {
        self.phase = match job {
            Job::Query(query) => {
                if query.listener.outbox.is_closed() || query.subscription.is_closed() {
                    return;
                }
                let as_of = query.community.index().next_number();
                Phase::Scan(Begun { query, at: Instant::now(), as_of })
            }
            Job::Answer(answer) => Phase::Send(*answer),
            Job::Exchange(exchange) => {
                self.reconcile(exchange);
                Phase::Idle
            }
        };
    }

    fn advance(&mut self) -> bool {
        self.phase = match std::mem::take(&mut self.phase) {
            Phase::Idle => return false,
            Phase::Scan(begun) => match begun.query.want {
                Want::Count => {
                    self.count(&begun);
                    Phase::Idle
                }
                Want::Events => self.find(begun).map_or(Phase::Idle, Phase::Send),
            },
            Phase::Send(answer) => self.send(answer).map_or(Phase::Idle, Phase::Send),
        };
        true
    }
}

impl Reader {
    /// Looks up what a query asks for; `None` when it is refused.
    fn find(&self, Begun { query, at, as_of }: Begun) -> Option<Answer> {
        let community = &query.community;
        community.traffic.requests.add(1);
        let rules = community.rules();
        let mut scanned = self.scan(&query, as_of);
        if let Some(refusal) = scanned.refused.take() {
            community.live.refuse(&query.subscription, &refusal);
            self.measure(at, &query, 0);
            return None;
        }
        if scanned.is_cut && scanned.found.is_empty() {
            community.live.refuse(&query.subscription, &too_broad(&query));
            self.measure(at, &query, 0);
            return None;
        }
        let (mut found, hint) = merge(scanned.found, &scanned.withheld, scanned.is_cut);
        if community.settings().trust.read_first {
            trusted_first(community, &mut found);
        }
        let unmeasured = Some((at, found.len()));
        found.shrink_to_fit();
        let bytes: usize = found.iter().map(Hit::bytes).sum();
        let Some(charge) = query.listener.outbox.charge(bytes) else {
            community.live.refuse(&query.subscription, &memory::refusal());
            self.measure(at, &query, found.len());
            return None;
        };
        let found = found.into_iter();
        Some(Answer { query, found, hint, as_of, _charge: charge, rules, unmeasured })
    }

    /// Notes how long a query took up to its last event, or until its client had to read first.
    fn measure(&self, began: Instant, query: &Query, events: usize) {
        let took = began.elapsed();
        self.shared.meter.query_seconds.observe(took.as_secs_f64());
        let slow = self.shared.current.get().log.slow_query_milliseconds;
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if milliseconds < slow {
            return;
        }
        let (community, shape) =
            (query.community.path().to_owned(), meter::shape(&query.subscription.filters));
        tracing::info!(community, shape, milliseconds, events, "a slow query");
        self.shared.meter.slow(SlowQuery {
            at: self.shared.clock.now(),
            community,
            shape,
            milliseconds,
            events,
        });
    }

    /// Finds the stored events of all filters, each up to its limit.
    fn scan(&self, query: &Query, as_of: u64) -> Scanned {
        let settings = query.community.settings();
        let limits = &settings.limits;
        let mut all = Scanned::default();
        let deadline = Instant::now() + Duration::from_millis(limits.query_milliseconds_max);
        for filter in &query.subscription.filters {
            let (limit, may_exceed) = limit_of(filter, limits);
            // What is ordered by quality has no last second.
            let may_exceed = may_exceed && filter.search.is_none();
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
            let is_whole = self.scan_filter(query, filter, as_of, deadline, |found, _, score| {
                let found = Hit::from((found, score));
                while let Some(kept) = kept.next_if(|kept| kept.compare(&found).is_lt()) {
                    if !receive(kept) {
                        return false;
                    }
                }
                receive(found)
            });
            let is_whole = match is_whole {
                Ok(is_whole) => is_whole,
                Err(refusal) => return Scanned { refused: Some(refusal), ..Scanned::default() },
            };
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
        let now = self.shared.clock.now();
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
                score: 0.0,
            };
            kept.map(hit).collect()
        });
        hits.sort_unstable_by(Hit::compare);
        hits
    }

    /// Finds what one filter asks for, each event with how good it is; false when a budget ended it.
    fn scan_filter(
        &self,
        query: &Query,
        filter: &Filter,
        as_of: u64,
        deadline: Instant,
        mut receive: impl FnMut(Found, &PublicKey, f32) -> bool,
    ) -> Result<bool, Refusal> {
        let Query { community, listener, subscription, .. } = query;
        let rules = community.rules();
        let entries_max = rules.settings.limits.query_entries_max;
        let by_kind = query.want == Want::Count
            && listener.with_keys(|keys| {
                nip59::is_counted_by_kind(
                    filter,
                    &rules.context(self.shared.clock.now(), keys, &listener.relay),
                )
            });
        if let Some(asked) = &filter.search {
            return self.search(&Search { query, filter, asked, as_of, deadline, by_kind }, receive);
        }
        let mut receive = |found, author: &PublicKey| receive(found, author, 0.0);
        let scan = Scan::new(filter, as_of);
        let mut scan = if by_kind { scan.by_kind() } else { scan };
        let is_whole = loop {
            let entries = SLICE_ENTRIES.min(entries_max - scan.looked_at);
            match self.slice(community, &rules, listener, &mut scan, entries, &mut receive) {
                Progress::Stopped | Progress::Complete => break true,
                Progress::Going if scan.looked_at >= entries_max || Instant::now() >= deadline => {
                    break false;
                }
                // Nobody waits for the rest.
                Progress::Going if subscription.is_closed() || listener.outbox.is_closed() => break false,
                Progress::Going => {}
            }
        };
        self.shared.note_entries(scan.looked_at);
        Ok(is_whole)
    }

    /// Looks at so many more entries of what this client may see.
    pub(super) fn slice(
        &self,
        community: &Community,
        rules: &Rules,
        listener: &Listener,
        scan: &mut Scan<'_>,
        entries: u64,
        receive: impl FnMut(Found, &PublicKey) -> bool,
    ) -> Progress {
        let now = self.shared.clock.now();
        listener.with_keys(|keys| {
            let asked = scan.filter().names_events_or_authors();
            let context = Context { asked, ..rules.context(now, keys, &listener.relay) };
            let visible = |head: &Head<'_>| community.visible(rules, head, &context);
            scan.run(&community.index(), entries, visible, receive)
        })
    }

    /// How many events a filter asks for that this client may see, if that is known without a look at each. Where what a
    /// count costs must tell nothing of what is private it is not: which values have many events may be told by that.
    fn tallied(&self, query: &Query, filter: &Filter, authors: Option<&mut HyperLogLog>) -> Option<u64> {
        let Query { community, listener, .. } = query;
        let rules = community.rules();
        listener.with_keys(|keys| {
            let context = rules.context(self.shared.clock.now(), keys, &listener.relay);
            if nip59::is_counted_by_kind(filter, &context) {
                return None;
            }
            community.index().tallied(filter, |kind| rules.policy.hides(kind, &context), authors)
        })
    }

    fn count(&self, Begun { query, at, as_of }: &Begun) {
        query.community.traffic.counts.add(1);
        let settings = query.community.settings();
        let limits = &settings.limits;
        let filters = &query.subscription.filters;
        let deadline = Instant::now() + Duration::from_millis(limits.query_milliseconds_max);
        let mut authors = HyperLogLog::of(filters);
        let mut seen = HashSet::new();
        let mut count = 0;
        let mut is_whole = true;
        for filter in filters {
            if let [_] = &filters[..]
                && let Some(tallied) = self.tallied(query, filter, authors.as_mut())
            {
                count = tallied;
                break;
            }
            let mut is_full = false;
            let counted = self.scan_filter(query, filter, *as_of, deadline, |found, author, _| {
                authors.iter_mut().for_each(|authors| authors.add(author));
                is_full = seen.len() >= COUNT_DISTINCT_MAX;
                // An event that several filters ask for counts once.
                count += u64::from(filters.len() == 1 || !is_full && seen.insert(found.location.number));
                !is_full
            });
            match counted {
                Ok(counted) => is_whole &= counted && !is_full,
                Err(refusal) => {
                    let text = message::closed(&query.subscription.id, &refusal);
                    query.listener.outbox.push(Frame::Answer(Arc::clone(&query.subscription), text));
                    return self.measure(*at, query, 0);
                }
            }
        }
        // What a budget cut short would pass for all that this relay has.
        let registers = authors.filter(|_| is_whole).map(|authors| authors.to_hex());
        let text = message::count(&query.subscription.id, count, !is_whole, registers.as_deref());
        query.listener.outbox.push(Frame::Answer(Arc::clone(&query.subscription), text));
        self.measure(*at, query, count as usize);
    }

    /// Sends some of what was found, as much as the client has room for, and EOSE after the last of it. Returns what is
    /// left to send now.
    fn send(&self, mut answer: Answer) -> Option<Answer> {
        let outbox = &answer.query.listener.outbox;
        // Before each part, not after: many answers that go on at once would overflow the outbox of a client
        // that reads as it should.
        let room = outbox.room_for_answer();
        let is_over = outbox.is_closed() || answer.query.subscription.is_closed();
        if !is_over && let Some(room) = room {
            let goes_on = self.send_some(&mut answer, room);
            if goes_on {
                return Some(answer);
            }
        }
        if let Some((began, events)) = answer.unmeasured.take() {
            self.measure(began, &answer.query, events);
        }
        if is_over || room.is_some() {
            return None;
        }
        let (listener, jobs) = (Arc::clone(&answer.query.listener), Arc::clone(&self.shared.jobs));
        let source = Source::of(&listener);
        let parked = Box::new(move || jobs.push(source, Job::Answer(Box::new(answer))));
        if let Some(parked) = listener.outbox.park_if_busy(parked) {
            parked();
        }
        None
    }

    /// Sends the next part; false when that was the last.
    fn send_some(&self, answer: &mut Answer, room: usize) -> bool {
        let read = self.read_some(answer, room);
        let Query { community, subscription, .. } = &answer.query;
        community.traffic.answered.add(read.as_ref().map_or(0, Vec::len));
        match read {
            Ok(bodies) if answer.found.len() > 0 => community.live.answer(subscription, bodies),
            Ok(bodies) => {
                let eose = message::eose(&subscription.id, answer.hint);
                community.live.release(subscription, answer.as_of, bodies, eose);
                false
            }
            Err(error) => {
                tracing::error!("cannot read a stored event: {error}");
                let sentence = "a stored event could not be read; its operator is told";
                let refusal = Refusal::new(Prefix::Error, "store.read", sentence);
                community.live.refuse(subscription, &refusal);
                false
            }
        }
    }

    /// The JSON of what was found next, until it fills this much of an outbox.
    fn read_some(&self, answer: &mut Answer, bytes: usize) -> Result<Vec<Bytes>, BodyError> {
        let Answer { query, found, rules, .. } = answer;
        let community = &query.community;
        let shown_now = self.shown_now(query, rules);
        let (mut bodies, mut filled) = (Vec::new(), 0);
        while filled < bytes
            && let Some(hit) = found.next()
        {
            let body = match hit.body {
                Body::Stored(location)
                    if shown_now.as_ref().is_some_and(|shown| !shown(&hit.id, location)) =>
                {
                    None
                }
                Body::Stored(location) => match self.shared.bodies.get(community.id, location)? {
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

    /// Where what is shown may have changed since a query's events were found – its client took its time, and
    /// meanwhile somebody was banned, or vanished –, what says of each whether it still is.
    fn shown_now<'a>(
        &self,
        query: &'a Query,
        found_by: &Arc<Rules>,
    ) -> Option<impl Fn(&Id, Location) -> bool + use<'a>> {
        let Query { community, listener, subscription, .. } = query;
        let rules = community.rules();
        if Arc::ptr_eq(&rules, found_by) && !community.index().has_vanishing() {
            return None;
        }
        let now = self.shared.clock.now();
        let asked = subscription.filters.iter().any(Filter::names_events_or_authors);
        Some(move |id: &Id, location| {
            listener.with_keys(|keys| {
                let context = Context { asked, ..rules.context(now, keys, &listener.relay) };
                let visible = |head: &Head<'_>| community.visible(&rules, head, &context);
                community.index().shows(id, location, visible)
            })
        })
    }

    /// Whether an event that the store does not have should be there. What the group removes that is being written
    /// is gone from the store before it is gone from the index.
    fn is_lost(&self, community: &Community, id: &Id, location: Location) -> Result<bool, BodyError> {
        let store = self.shared.bodies.store();
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
    if found.first().is_some_and(|best| best.score > 0.0) {
        // Filters may give one event several scores: the best one counts.
        let mut seen = HashSet::new();
        found.retain(|found| seen.insert(found.id));
    }
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
