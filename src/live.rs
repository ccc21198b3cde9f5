//! Live delivery: matches new events with open subscriptions. In: subscriptions from sessions, groups of
//! events from the writer. Out: frames into outboxes. Filters are indexed by what they ask for, so that
//! an event touches only the subscriptions that may want it.
//!
//! A subscription registers before its stored events are read, and holds live events until EOSE. What
//! was stored by the commit that the reader saw is dropped then, so nothing falls between and nothing
//! comes twice.

mod finder;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use crate::config::Limits;
use crate::event::{Id, PublicKey, Verified};
use crate::filter::Filter;
use crate::memory::{self, Charge, Ledger};
use crate::message;
use crate::outbox::{Frame, Listener, Subscription};
use crate::replay::{Kept, Replay, ReplaySettings};
use crate::rule::{Prefix, Refusal};
use crate::search::text::Words;
use finder::Finder;

/// Pairs of a subscription and an event that are gathered before they are delivered.
const PAIRS_MAX: usize = 65_536;

/// An event on its way to those who listen.
pub struct LiveEvent {
    /// The event.
    pub event: Verified,
    /// Its JSON.
    pub body: Bytes,
    /// Its number in the store; `None` when it is not stored.
    pub number: Option<u64>,
    /// Its words, once somebody who searches may want it.
    words: OnceLock<Words>,
}

impl LiveEvent {
    /// An event, its JSON, and its number in the store.
    pub(crate) fn new(event: Verified, body: Bytes, number: Option<u64>) -> LiveEvent {
        LiveEvent { event, body, number, words: OnceLock::new() }
    }

    /// Whether a filter asks for it.
    fn is_asked_by(&self, filter: &Filter) -> bool {
        filter.matches_but_words(&self.event)
            && filter.search.as_ref().is_none_or(|asked| {
                asked.matches_words(&self.event, self.words.get_or_init(|| Words::of(&self.event)))
            })
    }
}

/// A live event that waits for EOSE.
struct Held {
    number: Option<u64>,
    id: Id,
    author: PublicKey,
    body: Bytes,
}

/// The live events that wait for one subscription's EOSE.
#[derive(Default)]
struct Hold {
    events: Vec<Held>,
    bytes: usize,
    /// What it takes of the memory of all clients, once it is more than next to nothing.
    charge: Option<Charge>,
}

/// What a subscription may hold before it is charged.
const HOLD_SHARE_BYTES: usize = 512;

impl Hold {
    fn add(&mut self, live: &LiveEvent, memory: &Arc<Ledger>) -> bool {
        self.bytes += live.body.len();
        let (id, author) = (live.event.id, live.event.pubkey);
        self.events.push(Held { number: live.number, id, author, body: live.body.clone() });
        let bytes = self.bytes + self.events.len() * 2 * size_of::<Held>();
        bytes <= HOLD_SHARE_BYTES || self.charge.get_or_insert_with(|| memory.nothing()).set(bytes)
    }
}

struct Entry {
    listener: Arc<Listener>,
    subscription: Arc<Subscription>,
    /// `None` once stored events are sent.
    hold: Option<Box<Hold>>,
    /// Events with a lower number were among the stored ones.
    as_of: u64,
}

/// The open subscriptions of one community.
#[derive(Default)]
pub struct Live {
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    finder: Finder,
    replay: Replay,
}

impl Live {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a subscription that holds live events until [`Live::release`]. Returns what it is to be given
    /// of earlier ephemeral events: what is passed on from now on it will be given live.
    pub fn register(
        &self,
        listener: &Arc<Listener>,
        subscription: &Arc<Subscription>,
        replay: ReplaySettings,
        now: u64,
    ) -> Vec<Arc<Kept>> {
        let mut registry = self.registry();
        let entry = Entry {
            listener: Arc::clone(listener),
            subscription: Arc::clone(subscription),
            hold: Some(Box::default()),
            as_of: 0,
        };
        let number = match registry.free.pop() {
            Some(number) => {
                registry.entries[number as usize] = Some(entry);
                number
            }
            None => {
                registry.entries.push(Some(entry));
                (registry.entries.len() - 1) as u32
            }
        };
        subscription.live.store(number, Ordering::SeqCst);
        for filter in &subscription.filters {
            registry.finder.add(filter, number);
        }
        registry.replay.matching(&subscription.filters, replay, now)
    }

    /// Ends a subscription; nothing happens when it is not open.
    pub fn unregister(&self, subscription: &Arc<Subscription>) {
        self.registry().unregister(subscription);
    }

    /// Sends some of what was stored, but not the last of it. False when the subscription is not open any more:
    /// nothing comes after its CLOSED.
    pub fn answer(&self, subscription: &Arc<Subscription>, stored: Vec<Bytes>) -> bool {
        let mut registry = self.registry();
        let Some(entry) = registry.entry(subscription) else { return false };
        if !stored.is_empty() {
            entry.listener.outbox.push(Frame::events(subscription, stored));
        }
        true
    }

    /// Sends the last of what was stored, EOSE and what was held, and lets live events through from now on.
    /// Held events with a number below `as_of` were among the stored ones.
    pub fn release(&self, subscription: &Arc<Subscription>, as_of: u64, stored: Vec<Bytes>, eose: String) {
        let mut registry = self.registry();
        let Some(entry) = registry.entry(subscription) else { return };
        entry.as_of = as_of;
        let hold = entry.hold.take().unwrap_or_default();
        let stored = (!stored.is_empty()).then(|| Frame::events(subscription, stored));
        let eose = Frame::Answer(Arc::clone(subscription), eose);
        entry.listener.outbox.push_all(stored.into_iter().chain([eose]));
        let is_new = |held: &Held| held.number.is_none_or(|number| number >= as_of);
        let held = hold.events.into_iter().filter(is_new).map(|held| held.body);
        entry.listener.outbox.push_live(subscription, held.collect());
    }

    /// Ends a subscription with a reason that its client is told. Nothing happens when it is not open.
    pub fn refuse(&self, subscription: &Arc<Subscription>, refusal: &Refusal) {
        let mut registry = self.registry();
        registry.refuse(subscription, refusal);
    }

    /// Ends those that are no longer answered, each with the reason that `refused` gives.
    pub(crate) fn recheck(&self, refused: impl Fn(&Subscription, &Listener) -> Option<Refusal>) {
        let mut registry = self.registry();
        let open = registry.entries.iter().flatten();
        let refusal = |entry: &Entry| {
            Some((Arc::clone(&entry.subscription), refused(&entry.subscription, &entry.listener)?))
        };
        let ended: Vec<(Arc<Subscription>, Refusal)> = open.filter_map(refusal).collect();
        ended.iter().for_each(|(subscription, refusal)| registry.refuse(subscription, refusal));
    }

    /// Takes back what is held for subscriptions and is not to be shown any more.
    pub(crate) fn withdraw(&self, is_gone: impl Fn(&Id, &PublicKey) -> bool) {
        let mut registry = self.registry();
        for hold in registry.entries.iter_mut().flatten().filter_map(|entry| entry.hold.as_mut()) {
            hold.events.retain(|held| !is_gone(&held.id, &held.author));
            hold.bytes = hold.events.iter().map(|held| held.body.len()).sum();
        }
    }

    /// How many subscriptions are open.
    pub fn len(&self) -> usize {
        let registry = self.registry();
        registry.entries.len() - registry.free.len()
    }

    /// Whether nobody listens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands events to all who ask for them and may see them, and keeps what is to be given to who joins
    /// later. `visible` tells of the event at a place in `events`, given the filter that asks for it.
    ///
    /// What each subscription receives of the group goes into its outbox at once: one lock and one wake-up. Returns how
    /// many were handed out.
    pub(crate) fn pass_on(
        &self,
        limits: &Limits,
        replay: ReplaySettings,
        now: u64,
        events: &[LiveEvent],
        visible: impl Fn(usize, &Listener, &Filter) -> bool,
    ) -> usize {
        let mut registry = self.registry();
        let (mut candidates, mut pairs) = (Vec::new(), Vec::new());
        let mut delivered = 0;
        for (at, event) in events.iter().enumerate() {
            if !registry.replay.note(&event.event, &event.body, replay, now) {
                continue;
            }
            registry.finder.candidates(&event.event, &mut candidates);
            pairs.extend(candidates.drain(..).map(|number| (number, at)));
            if pairs.len() >= PAIRS_MAX {
                delivered += registry.deliver_all(&mut pairs, events, limits, &visible);
            }
        }
        delivered + registry.deliver_all(&mut pairs, events, limits, &visible)
    }
}

impl Registry {
    fn entry(&mut self, subscription: &Arc<Subscription>) -> Option<&mut Entry> {
        let number = subscription.live.load(Ordering::SeqCst);
        let entry = self.entries.get_mut(number as usize)?.as_mut()?;
        Some(entry).filter(|entry| Arc::ptr_eq(&entry.subscription, subscription))
    }

    fn unregister(&mut self, subscription: &Arc<Subscription>) {
        if self.entry(subscription).is_none() {
            return;
        }
        let number = subscription.live.swap(Subscription::NOT_LIVE, Ordering::SeqCst);
        self.entries[number as usize] = None;
        self.free.push(number);
        for filter in &subscription.filters {
            self.finder.remove(filter, number);
        }
    }

    fn refuse(&mut self, subscription: &Arc<Subscription>, refusal: &Refusal) {
        let Some(entry) = self.entry(subscription) else { return };
        let text = message::closed(&subscription.id, refusal);
        entry.listener.outbox.push(Frame::Answer(Arc::clone(subscription), text));
        self.unregister(subscription);
    }

    /// Delivers pairs of an entry and an event, each once, to one entry after the other.
    fn deliver_all(
        &mut self,
        pairs: &mut Vec<(u32, usize)>,
        events: &[LiveEvent],
        limits: &Limits,
        visible: &impl Fn(usize, &Listener, &Filter) -> bool,
    ) -> usize {
        pairs.sort_unstable();
        pairs.dedup();
        let of_each = pairs.chunk_by(|(number, _), (other, _)| number == other);
        let delivered = of_each.map(|of_one| self.deliver(of_one, events, limits, visible)).sum();
        pairs.clear();
        delivered
    }

    /// Delivers events to the entry that all these pairs name.
    fn deliver(
        &mut self,
        pairs: &[(u32, usize)],
        events: &[LiveEvent],
        limits: &Limits,
        visible: &impl Fn(usize, &Listener, &Filter) -> bool,
    ) -> usize {
        let Some((number, _)) = pairs.first() else { return 0 };
        let Some(entry) = self.entries[*number as usize].as_mut() else { return 0 };
        let (listener, subscription) = (&entry.listener, &entry.subscription);
        let wanted = pairs.iter().filter_map(|(_, at)| {
            let live = &events[*at];
            if live.number.is_some_and(|number| number < entry.as_of) {
                return None;
            }
            let mut matching = subscription.filters.iter().filter(|filter| live.is_asked_by(filter));
            matching.any(|filter| visible(*at, listener, filter)).then_some(live)
        });
        let Some(hold) = &mut entry.hold else {
            let bodies: Vec<Bytes> = wanted.map(|live| live.body.clone()).collect();
            let delivered = bodies.len();
            listener.outbox.push_live(subscription, bodies);
            return delivered;
        };
        let mut delivered = 0;
        for live in wanted {
            delivered += 1;
            let has_room = hold.add(live, listener.outbox.memory());
            if !has_room || is_over(hold.events.len(), hold.bytes, limits) {
                let refusal = if has_room { overflow() } else { memory::refusal() };
                let subscription = Arc::clone(subscription);
                self.refuse(&subscription, &refusal);
                return 0;
            }
        }
        delivered
    }
}

fn is_over(events: usize, bytes: usize, limits: &Limits) -> bool {
    events > limits.hold_events_max || bytes > limits.hold_bytes_max
}

fn overflow() -> Refusal {
    Refusal::new(
        Prefix::Error,
        "limits.hold_events_max",
        "too many new events came while the stored ones were being sent; narrow the filter or ask again",
    )
}
