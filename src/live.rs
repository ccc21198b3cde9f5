//! Live delivery: matches new events with open subscriptions. In: subscriptions from sessions, groups of
//! events from the writer. Out: frames into outboxes. Filters are indexed by what they ask for, so that
//! an event touches only the subscriptions that may want it.
//!
//! A subscription registers before its stored events are read, and holds live events until EOSE. What
//! was stored by the commit that the reader saw is dropped then, so nothing falls between and nothing
//! comes twice.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::config::Limits;
use crate::event::{Event, Id, Kind, PublicKey, Verified};
use crate::filter::{Filter, places};
use crate::message;
use crate::outbox::{Frame, Listener, Subscription};
use crate::replay::{Kept, Replay, ReplaySettings};
use crate::rule::{Prefix, Refusal};

/// An event on its way to those who listen.
pub struct LiveEvent {
    /// The event.
    pub event: Verified,
    /// Its JSON.
    pub body: Bytes,
    /// Its number in the store; `None` when it is not stored.
    pub number: Option<u64>,
}

/// A live event that waits for EOSE.
struct Held {
    number: Option<u64>,
    body: Bytes,
}

struct Entry {
    listener: Arc<Listener>,
    subscription: Arc<Subscription>,
    /// `None` once stored events are sent.
    held: Option<Vec<Held>>,
    held_bytes: usize,
    /// Events with a lower number were among the stored ones.
    as_of: u64,
}

/// The open subscriptions of one community.
#[derive(Default)]
pub struct Live {
    registry: Mutex<Registry>,
}

/// What one filter is found by: its most selective condition.
enum Key<'f> {
    Ids(&'f [Id]),
    /// A letter, values, and what other values begin with.
    Tag(u8, &'f [String], &'f [String]),
    Authors(&'f [PublicKey]),
    Kinds(&'f [Kind]),
    Any,
}

fn key_of(filter: &Filter) -> Key<'_> {
    let tags = filter.tags.iter().map(|(letter, values)| match *letter {
        places::LETTER => (*letter, values.as_slice(), filter.prefixes.as_slice()),
        letter => (letter, values.as_slice(), [].as_slice()),
    });
    let fewest_values = tags.min_by_key(|(_, values, prefixes)| values.len() + prefixes.len());
    match (&filter.ids, fewest_values, &filter.authors, &filter.kinds) {
        (Some(ids), ..) => Key::Ids(ids),
        (_, Some((letter, values, prefixes)), ..) => Key::Tag(letter, values, prefixes),
        (_, _, Some(authors), _) => Key::Authors(authors),
        (_, _, _, Some(kinds)) => Key::Kinds(kinds),
        _ => Key::Any,
    }
}

#[derive(Default)]
struct Registry {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    hashes: RandomState,
    by_id: HashMap<Id, Vec<u32>>,
    /// By a keyed hash of letter and value; what shares a hash is told apart by the filter itself.
    by_tag: HashMap<u64, Vec<u32>>,
    /// By the same of what a place begins with.
    by_prefix: HashMap<u64, Vec<u32>>,
    by_author: HashMap<PublicKey, Vec<u32>>,
    by_kind: HashMap<Kind, Vec<u32>>,
    any: Vec<u32>,
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
            held: Some(Vec::new()),
            held_bytes: 0,
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
            registry.change(filter, &mut |list| list.push(number));
        }
        registry.replay.matching(&subscription.filters, replay, now)
    }

    /// Ends a subscription; nothing happens when it is not open.
    pub fn unregister(&self, subscription: &Arc<Subscription>) {
        self.registry().unregister(subscription);
    }

    /// Sends EOSE and what was held, and lets live events through from now on. Held events with
    /// a number below `as_of` were among the stored ones.
    pub fn release(&self, subscription: &Arc<Subscription>, as_of: u64, eose: String) {
        let mut registry = self.registry();
        let Some(entry) = registry.entry(subscription) else { return };
        entry.as_of = as_of;
        entry.listener.outbox.push(Frame::Answer(Arc::clone(subscription), eose));
        for held in entry.held.take().unwrap_or_default() {
            if held.number.is_none_or(|number| number >= as_of) {
                entry.listener.outbox.push_live(Frame::Event(Arc::clone(subscription), held.body));
            }
        }
    }

    /// Ends a subscription with a reason that its client is told. Nothing happens when it is not open.
    pub fn refuse(&self, subscription: &Arc<Subscription>, refusal: &Refusal) {
        let mut registry = self.registry();
        registry.refuse(subscription, refusal);
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

    /// Hands events to all who ask for them and may see them, as `visible` tells, given whether they
    /// named it or its author, and keeps what is to be given to who joins later.
    pub(crate) fn pass_on(
        &self,
        limits: &Limits,
        replay: ReplaySettings,
        now: u64,
        events: &[LiveEvent],
        visible: impl Fn(&Event, &Listener, bool) -> bool,
    ) {
        let mut registry = self.registry();
        let mut candidates = Vec::new();
        for event in events {
            if !registry.replay.note(&event.event, &event.body, replay, now) {
                continue;
            }
            registry.candidates(&event.event, &mut candidates);
            for number in candidates.drain(..) {
                registry.deliver(number, event, limits, &visible);
            }
        }
    }
}

impl Registry {
    fn tag_hash(&self, letter: u8, value: &str) -> u64 {
        self.hashes.hash_one((letter, value))
    }

    /// Applies a change to each list that a filter is found by; lists that become empty are dropped.
    fn change(&mut self, filter: &Filter, change: &mut impl FnMut(&mut Vec<u32>)) {
        fn each<K: std::hash::Hash + Eq>(
            map: &mut HashMap<K, Vec<u32>>,
            keys: impl Iterator<Item = K>,
            change: &mut impl FnMut(&mut Vec<u32>),
        ) {
            for key in keys {
                match map.entry(key) {
                    std::collections::hash_map::Entry::Occupied(mut list) => {
                        change(list.get_mut());
                        if list.get().is_empty() {
                            list.remove();
                        }
                    }
                    std::collections::hash_map::Entry::Vacant(place) => {
                        let mut list = Vec::with_capacity(1);
                        change(&mut list);
                        if !list.is_empty() {
                            place.insert(list);
                        }
                    }
                }
            }
        }
        match key_of(filter) {
            Key::Ids(ids) => each(&mut self.by_id, ids.iter().copied(), change),
            Key::Authors(authors) => each(&mut self.by_author, authors.iter().copied(), change),
            Key::Kinds(kinds) => each(&mut self.by_kind, kinds.iter().copied(), change),
            Key::Tag(letter, values, prefixes) => {
                let hashes = |texts: &[String]| -> Vec<u64> {
                    texts.iter().map(|text| self.tag_hash(letter, text)).collect()
                };
                let (values, prefixes) = (hashes(values), hashes(prefixes));
                each(&mut self.by_tag, values.into_iter(), change);
                each(&mut self.by_prefix, prefixes.into_iter(), change);
            }
            Key::Any => change(&mut self.any),
        }
    }

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
            self.change(filter, &mut |list| {
                if let Some(at) = list.iter().position(|other| *other == number) {
                    list.swap_remove(at);
                }
            });
        }
    }

    fn refuse(&mut self, subscription: &Arc<Subscription>, refusal: &Refusal) {
        let Some(entry) = self.entry(subscription) else { return };
        let text = message::closed(&subscription.id, refusal);
        entry.listener.outbox.push(Frame::Answer(Arc::clone(subscription), text));
        self.unregister(subscription);
    }

    /// The entries that may want an event, each once.
    fn candidates(&self, event: &Verified, out: &mut Vec<u32>) {
        out.extend_from_slice(&self.any);
        out.extend(self.by_kind.get(&event.kind).into_iter().flatten());
        out.extend(self.by_author.get(&event.pubkey).into_iter().flatten());
        out.extend(self.by_id.get(&event.id).into_iter().flatten());
        if !self.by_tag.is_empty() {
            for (letter, value) in event.tags.indexed() {
                out.extend(self.by_tag.get(&self.tag_hash(letter, value)).into_iter().flatten());
            }
        }
        if !self.by_prefix.is_empty() {
            for prefix in places::places(&event.tags).flat_map(places::prefixes_of) {
                let hash = self.tag_hash(places::LETTER, prefix);
                out.extend(self.by_prefix.get(&hash).into_iter().flatten());
            }
        }
        out.sort_unstable();
        out.dedup();
    }

    fn deliver(
        &mut self,
        number: u32,
        live: &LiveEvent,
        limits: &Limits,
        visible: &impl Fn(&Event, &Listener, bool) -> bool,
    ) {
        let Some(entry) = self.entries[number as usize].as_mut() else { return };
        if live.number.is_some_and(|number| number < entry.as_of) {
            return;
        }
        let event = &live.event;
        let listener = &entry.listener;
        let matching = entry.subscription.filters.iter().filter(|filter| filter.matches(event));
        let asked = matching.map(Filter::names_events_or_authors).max();
        if !asked.is_some_and(|asked| visible(event, listener, asked)) {
            return;
        }
        let Some(held) = &mut entry.held else {
            listener.outbox.push_live(Frame::Event(Arc::clone(&entry.subscription), live.body.clone()));
            return;
        };
        entry.held_bytes += live.body.len();
        held.push(Held { number: live.number, body: live.body.clone() });
        if is_over(held.len(), entry.held_bytes, limits) {
            let subscription = Arc::clone(&entry.subscription);
            self.refuse(&subscription, &overflow());
        }
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
