//! Answers NEG-OPEN and NEG-MSG (NIP-77). In: messages of reconciliations from sessions. Out: frames into outboxes. A
//! reconciliation is about what its client could read when it began: the index is scanned once, in slices between
//! which other queries have their turn, and the times and ids are kept until it ends.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::fair::Source;
use super::reader::{Job, Reader, SLICE_ENTRIES};
use crate::community::Community;
use crate::filter::Filter;
use crate::index::{Place, Progress, Scan};
use crate::memory::{self, Charge};
use crate::message;
use crate::nips::nip77::{self, Sealed, Set};
use crate::outbox::{Frame, Listener, Subscription};
use crate::rule::Refusal;

/// Slices of a scan before other queries have their turn.
const SLICES_AT_ONCE: usize = 16;

/// One reconciliation of a client.
#[derive(Debug)]
pub struct Reconciliation {
    /// Its name and filter, and whether it was ended.
    pub query: Arc<Subscription>,
    /// What it is about, as soon as that is known.
    set: Mutex<Option<Kept>>,
}

/// What is kept of a reconciliation until it ends.
#[derive(Debug)]
struct Kept {
    set: Sealed,
    /// Its part of the bound on all of them.
    _room: Option<OwnedSemaphorePermit>,
    /// What it takes of the memory of all clients.
    _charge: Charge,
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
    /// What is collected, when the message begins it.
    gathering: Option<Gathering>,
}

/// The events that a reconciliation will be about, as far as they are found.
struct Gathering {
    /// Where the scan stopped, and as of which number it is; `None` before it began.
    scan: Option<(u64, Place)>,
    set: Set,
    room: Option<OwnedSemaphorePermit>,
    charge: Charge,
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
        let gathering = begins.then(|| Gathering {
            scan: None,
            set: Set::default(),
            room: None,
            charge: listener.outbox.memory().nothing(),
        });
        Exchange { community, listener, reconciliation, message, _charge: charge, gathering }
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

impl Reader {
    /// Answers a message, or looks further for what it is about and comes back to it.
    pub(super) fn reconcile(&self, mut exchange: Box<Exchange>) {
        let reconciliation = Arc::clone(&exchange.reconciliation);
        if reconciliation.query.is_closed() || exchange.listener.outbox.is_closed() {
            return;
        }
        let mut set = reconciliation.set.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut gathering) = exchange.gathering.take() {
            match self.gather(&exchange, &mut gathering) {
                Ok(true) => {
                    let Gathering { set: found, room, charge, .. } = gathering;
                    *set = Some(Kept { set: found.seal(), _room: room, _charge: charge });
                }
                Ok(false) => {
                    exchange.gathering = Some(gathering);
                    return self.shared.jobs.push(exchange.source(), Job::Exchange(exchange));
                }
                Err(Failed::TooMany(most)) => return exchange.fail(&nip77::too_many(most), Some(most)),
                Err(Failed::Refused(refusal)) => return exchange.fail(&refusal, None),
            }
        }
        let Some(Kept { set, .. }) = &*set else { return exchange.fail(&nip77::too_early(), None) };
        match set.answer(&exchange.message) {
            Ok(answer) => {
                let query = Arc::clone(&reconciliation.query);
                let text = message::neg_msg(&query.id, &answer);
                exchange.listener.outbox.push(Frame::Answer(query, text));
            }
            Err(refusal) => exchange.fail(&refusal, None),
        }
    }

    /// Looks at some more of the index; true when all is found.
    fn gather(&self, exchange: &Exchange, gathering: &mut Gathering) -> Result<bool, Failed> {
        let Exchange { community, listener, reconciliation, .. } = exchange;
        let rules = community.rules();
        let events_max = rules.settings.nip77.events_max;
        let entries_max = rules.settings.limits.query_entries_max.max(events_max as u64);
        let Some(filter) = reconciliation.query.filters.first() else { return Ok(true) };
        let limit = filter.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let (as_of, place) =
            gathering.scan.unwrap_or_else(|| (community.index().next_number(), Place::default()));
        let mut scan = Scan::resume(filter, as_of, place);
        for _ in 0..SLICES_AT_ONCE {
            let set = &mut gathering.set;
            let progress = self.slice(community, &rules, listener, &mut scan, SLICE_ENTRIES, |found, _| {
                if set.len() < limit.min(events_max + 1) {
                    set.add(found.created_at, &found.id);
                }
                set.len() < limit.min(events_max + 1)
            });
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

    /// Takes room for what was found.
    fn make_room(&self, gathering: &mut Gathering) -> Result<(), Failed> {
        let has = gathering.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(gathering.set.len() - has).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.shared.reconciled).try_acquire_many_owned(more);
        let more = more.map_err(|_| Failed::Refused(nip77::no_room()))?;
        match &mut gathering.room {
            Some(room) => room.merge(more),
            none => *none = Some(more),
        }
        match gathering.charge.set(gathering.set.len() * nip77::EVENT_BYTES) {
            true => Ok(()),
            false => Err(Failed::Refused(memory::refusal())),
        }
    }
}
