//! Answers NEG-OPEN and NEG-MSG (NIP-77). In: messages of reconciliations from sessions. Out: frames into outboxes. A
//! reconciliation is about what its client could read when it began: the index is scanned once, in slices between
//! which other queries have their turn, and the times and ids are kept until it ends, and a while longer for others who
//! ask for the same (`sets`).

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::fair::Source;
use super::reader::{Job, Reader, SLICE_ENTRIES};
use super::sets::{About, AsOf, Flight, Kept, Look, Task};
use crate::community::{Community, Rules};
use crate::filter::Filter;
use crate::index::{Found, Place, Progress, Scan};
use crate::memory::{self, Charge};
use crate::message;
use crate::nips::nip77::{self, Set};
use crate::outbox::{Frame, Listener, Subscription};
use crate::rule::{Context, Head, Refusal};

/// Slices of a scan before other queries have their turn.
const SLICES_AT_ONCE: usize = 16;

/// One reconciliation of a client.
#[derive(Debug)]
pub struct Reconciliation {
    /// Its name and filter, and whether it was ended.
    pub query: Arc<Subscription>,
    /// What it is about, as soon as that is known; others may be about the same.
    set: Mutex<Option<Arc<Kept>>>,
}

impl Reconciliation {
    /// One that begins.
    pub fn new(name: String, filter: Filter, charge: Charge) -> Reconciliation {
        let query = Subscription::new(name, vec![filter], Some(charge));
        Reconciliation { query: Arc::new(query), set: Mutex::default() }
    }
}

/// A message of a client about one of its reconciliations.
pub struct Exchange {
    community: Arc<Community>,
    listener: Arc<Listener>,
    reconciliation: Arc<Reconciliation>,
    message: Vec<u8>,
    /// What the message takes of the memory of all clients.
    _charge: Charge,
    /// How far it is with its set, when the message begins it.
    begun: Option<Begun>,
}

/// How far a reconciliation that begins is with its set.
enum Begun {
    /// It has not looked for one yet.
    Looks,
    /// It has waited until somebody else had gathered it.
    Waited,
    Gathers(Box<Gathering>),
}

/// The events that a reconciliation will be about, as far as they are found.
struct Gathering {
    /// Where the scan stopped, and as of which number it is; `None` before it began.
    scan: Option<(u64, Place)>,
    set: Set,
    room: Option<OwnedSemaphorePermit>,
    charge: Charge,
    as_of: AsOf,
    /// Who else wants it; `None` where it is for this one alone.
    task: Option<Task>,
}

/// What a reconciliation that begins does next.
enum Step {
    /// It answers.
    Answers(Arc<Kept>),
    /// It has its turn again, and goes on.
    GoesOn(Box<Gathering>),
    /// It waits.
    Waits(Arc<Flight>),
}

/// Why a set cannot be gathered.
enum Failed {
    TooMany(usize),
    Refused(Refusal),
}

impl Exchange {
    /// A message of a reconciliation, the one that begins it or a later one; `charge` is what it takes of the memory of
    /// all clients.
    pub fn new(
        community: Arc<Community>,
        listener: Arc<Listener>,
        reconciliation: Arc<Reconciliation>,
        message: Vec<u8>,
        charge: Charge,
        begins: bool,
    ) -> Exchange {
        let begun = begins.then_some(Begun::Looks);
        Exchange { community, listener, reconciliation, message, _charge: charge, begun }
    }

    /// Whose it is.
    pub(super) fn source(&self) -> Source {
        Source::of(&self.listener)
    }

    /// Ends the reconciliation with the reason.
    fn fail(&self, refusal: &Refusal, events_max: Option<usize>) {
        let query = &self.reconciliation.query;
        if !query.is_closed() {
            query.close();
            self.listener.outbox.push(Frame::Text(message::neg_err(&query.id, refusal, events_max)));
        }
    }
}

/// Whether an event is one of a set; notes when the first of them expires.
fn is_in_set(
    community: &Community,
    rules: &Rules,
    head: &Head<'_>,
    context: &Context<'_>,
    until: &Cell<u64>,
) -> bool {
    let is_shown = community.visible(rules, head, context);
    if is_shown && let Some(expires_at) = head.expires_at {
        until.set(until.get().min(expires_at));
    }
    is_shown
}

impl Reader {
    /// Answers a message, or looks further for what it is about and comes back to it.
    pub(super) fn reconcile(&self, mut exchange: Box<Exchange>) {
        let reconciliation = Arc::clone(&exchange.reconciliation);
        if reconciliation.query.is_closed() || exchange.listener.outbox.is_closed() {
            return;
        }
        let mut set = reconciliation.set.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(begun) = exchange.begun.take() {
            match self.step(&exchange, begun) {
                Ok(Step::Answers(kept)) => *set = Some(kept),
                Ok(Step::GoesOn(gathering)) => {
                    exchange.begun = Some(Begun::Gathers(gathering));
                    return self.shared.jobs.push(exchange.source(), Job::Exchange(exchange));
                }
                Ok(Step::Waits(flight)) => {
                    exchange.begun = Some(Begun::Waited);
                    if let Err(exchange) = flight.wait(exchange) {
                        self.shared.jobs.push(exchange.source(), Job::Exchange(exchange));
                    }
                    return;
                }
                Err(Failed::TooMany(most)) => return exchange.fail(&nip77::too_many(most), Some(most)),
                Err(Failed::Refused(refusal)) => return exchange.fail(&refusal, None),
            }
        }
        let Some(kept) = &*set else { return exchange.fail(&nip77::too_early(), None) };
        match kept.set.answer(&exchange.message) {
            Ok(answer) => {
                let query = Arc::clone(&reconciliation.query);
                let text = message::neg_msg(&query.id, &answer);
                exchange.listener.outbox.push(Frame::Answer(query, text));
            }
            Err(refusal) => exchange.fail(&refusal, None),
        }
    }

    /// Finds a set that is there, or gathers some of one.
    fn step(&self, exchange: &Exchange, begun: Begun) -> Result<Step, Failed> {
        let Exchange { community, listener, reconciliation, .. } = exchange;
        let about = |filter| About::of(community, listener, filter);
        let about = || reconciliation.query.filters.first().and_then(about);
        let meter = &self.shared.meter().reconciliations;
        let mut gathering = match begun {
            Begun::Gathers(gathering) => gathering,
            Begun::Looks | Begun::Waited => {
                let about = about();
                let task = loop {
                    let Some(about) = &about else { break None };
                    let waits = matches!(begun, Begun::Looks);
                    let (now, memory) = (self.shared.clock().now(), listener.outbox.memory());
                    match self.shared.sets.look(about, now, &self.shared.jobs, memory, waits) {
                        Look::Now(kept) => {
                            meter.shared.inc();
                            return Ok(Step::Answers(kept));
                        }
                        Look::Before(kept, as_of) => match self.renew(exchange, about, &kept, as_of) {
                            Some(kept) => {
                                meter.renewed.inc();
                                return Ok(Step::Answers(kept));
                            }
                            None => self.shared.sets.forget(&kept),
                        },
                        Look::UnderWay(flight) => return Ok(Step::Waits(flight)),
                        Look::Gather(task) => break task,
                    }
                };
                meter.gathered.inc();
                Box::new(self.gathering(exchange, task))
            }
        };
        if !self.gather(exchange, &mut gathering)? {
            return Ok(Step::GoesOn(gathering));
        }
        let Gathering { set, room, charge, mut as_of, task, .. } = *gathering;
        let kept = Arc::new(Kept { set: set.seal(), _room: room, _charge: charge });
        if let Some(task) = task {
            as_of.from = self.shared.clock().now();
            // Whoever proved another key meanwhile, or goes by other rules, saw it with other eyes.
            task.done(about().as_ref(), &kept, as_of);
        }
        Ok(Step::Answers(kept))
    }

    fn gathering(&self, exchange: &Exchange, task: Option<Task>) -> Gathering {
        let as_of = AsOf { generation: exchange.community.index().generation(), from: 0, until: u64::MAX };
        let charge = exchange.listener.outbox.memory().nothing();
        Gathering { scan: None, set: Set::default(), room: None, charge, as_of, task }
    }

    /// Brings a set up to date by what has changed since; `None` when that is not known, or there is no room.
    fn renew(
        &self,
        exchange: &Exchange,
        about: &About,
        before: &Arc<Kept>,
        mut as_of: AsOf,
    ) -> Option<Arc<Kept>> {
        let (mut changed, mut there, mut ids) = (Set::default(), Set::default(), Vec::new());
        {
            let index = exchange.community.index();
            for (created_at, id) in index.changed_since(as_of.generation)? {
                changed.add(created_at, &id);
                ids.push(id);
            }
            as_of.generation = index.generation();
            let until = Cell::new(as_of.until);
            let About { community, filter, keys, relay, rules } = about;
            let asked = filter.names_events_or_authors();
            let context = Context { asked, ..rules.context(self.shared.clock().now(), keys, relay) };
            let visible = |head: &Head<'_>| is_in_set(community, rules, head, &context, &until);
            Scan::new(filter, index.next_number()).among(&index, &ids, visible, |found, _| {
                there.add(found.created_at, &found.id);
                true
            });
            as_of.until = until.get();
        }
        let difference = before.set.changed(changed, there);
        let kept = if difference.is_none() {
            Arc::clone(before)
        } else {
            let events = difference.len_after();
            if events > about.rules.settings.nip77.events_max {
                return None;
            }
            let mut charge = exchange.listener.outbox.memory().nothing();
            let room = self.room(events, &mut charge, events).ok()?;
            Arc::new(Kept { set: before.set.with(&difference), _room: Some(room), _charge: charge })
        };
        self.shared.sets.renew(about, &kept, as_of);
        Some(kept)
    }

    /// Looks at some more of the index; true when all is found.
    fn gather(&self, exchange: &Exchange, gathering: &mut Gathering) -> Result<bool, Failed> {
        let Exchange { community, reconciliation, .. } = exchange;
        let rules = community.rules();
        let events_max = rules.settings.nip77.events_max;
        let entries_max = rules.settings.limits.query_entries_max.max(events_max as u64);
        let Some(filter) = reconciliation.query.filters.first() else { return Ok(true) };
        let limit = filter.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let (as_of, place) = gathering.scan.unwrap_or_else(|| {
            let index = community.index();
            gathering.as_of.generation = index.generation();
            (index.next_number(), Place::default())
        });
        let mut scan = Scan::resume(filter, as_of, place);
        let until = Cell::new(gathering.as_of.until);
        for _ in 0..SLICES_AT_ONCE {
            let set = &mut gathering.set;
            let progress = self.slice_of_set(exchange, &rules, &mut scan, &until, |found| {
                if set.len() < limit.min(events_max + 1) {
                    set.add(found.created_at, &found.id);
                }
                set.len() < limit.min(events_max + 1)
            });
            gathering.as_of.until = until.get();
            self.make_room(gathering)?;
            match progress {
                _ if gathering.set.len() > events_max => return Err(Failed::TooMany(events_max)),
                Progress::Stopped | Progress::Complete => return Ok(true),
                Progress::Going if scan.looked_at >= entries_max => return Err(Failed::TooMany(events_max)),
                Progress::Going => {}
            }
        }
        gathering.scan = Some((as_of, scan.place()));
        Ok(false)
    }

    /// Looks at some more entries of what this client may see; notes when the first of those that are found expires.
    fn slice_of_set(
        &self,
        exchange: &Exchange,
        rules: &Rules,
        scan: &mut Scan<'_>,
        until: &Cell<u64>,
        mut receive: impl FnMut(Found) -> bool,
    ) -> Progress {
        let Exchange { community, listener, .. } = exchange;
        let now = self.shared.clock().now();
        listener.with_keys(|keys| {
            let asked = scan.filter().names_events_or_authors();
            let context = Context { asked, ..rules.context(now, keys, &listener.relay) };
            let visible = |head: &Head<'_>| is_in_set(community, rules, head, &context, until);
            scan.run(&community.index(), SLICE_ENTRIES, visible, |found, _| receive(found))
        })
    }

    /// Takes room for what was found.
    fn make_room(&self, gathering: &mut Gathering) -> Result<(), Failed> {
        let has = gathering.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let events = gathering.set.len();
        let more = self.room(events - has, &mut gathering.charge, events)?;
        match &mut gathering.room {
            Some(room) => room.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }

    /// Takes room for so many more events, and memory for so many in all. Sets that nobody uses make room.
    fn room(&self, more: usize, charge: &mut Charge, events: usize) -> Result<OwnedSemaphorePermit, Failed> {
        let permits = u32::try_from(more).unwrap_or(u32::MAX);
        let take = || Arc::clone(&self.shared.reconciled).try_acquire_many_owned(permits);
        let is_made = || self.shared.sets.forget_unused();
        let taken = take().or_else(|error| if is_made() { take() } else { Err(error) });
        let taken = taken.map_err(|_| Failed::Refused(nip77::no_room()))?;
        let bytes = events * nip77::EVENT_BYTES;
        if charge.set(bytes) || is_made() && charge.set(bytes) {
            return Ok(taken);
        }
        Err(Failed::Refused(memory::refusal()))
    }
}
