//! The one thread that changes store and index. In: true events, and sweeps. It gathers a group, places
//! each event by the facts, commits the group, waits until it is durable, changes the index, and only
//! then answers OK and passes the events on. While one group is being synced the next one gathers.
//!
//! Facts must see every earlier write. An event whose facts would depend on another of the same group
//! ends the group and is placed in the next one, so that facts are always those of the index.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use tokio::sync::oneshot;

use super::bodies::Bodies;
use super::fanout::LiveGroup;
use super::relate::relate;
use super::save::Saver;
use super::{Outcome, Permits, Reply, retention};
use crate::community::{Community, VANISHED};
use crate::config::{self, Retention, Settings};
use crate::event::{Id, Kind, KindClass, PublicKey, Verified};
use crate::index::{Found, Stored};
use crate::live::LiveEvent;
use crate::meter::Meter;
use crate::nips::nip40;
use crate::policy::{Placement, foresee, place};
use crate::rule::{Decision, Load, Prefix, Refusal, RelayNames, Want};
use crate::store::{CommunityId, Group, Location, Store, StoreError};

/// An event that is true and passed all rules, ready to be stored and sent.
pub(super) struct Checked {
    pub(super) community: Arc<Community>,
    pub(super) event: Verified,
    pub(super) body: Bytes,
    pub(super) record: Vec<u8>,
    pub(super) reply: Reply,
    /// When it passed the other rules; `None` for what an operator brings, of which no rule is asked.
    pub(super) admitted_at: Option<u64>,
    /// Held until the event is answered.
    pub(super) permits: Permits,
}

/// A round of removing what expired or vanished.
pub(super) struct Sweep {
    pub(super) community: Arc<Community>,
    pub(super) now: u64,
    pub(super) events_max: usize,
    /// Told when the round is over, and how many events it removed.
    pub(super) done: Sender<usize>,
}

/// Events that someone wants removed.
pub(super) struct Remove {
    pub(super) community: Arc<Community>,
    pub(super) found: Vec<Found>,
    /// Told how many of them were there; not told when the store failed.
    pub(super) done: Sender<usize>,
}

pub(super) enum WriterInput {
    /// Each with its turn; `None` for one that was refused.
    Events(Vec<(u64, Option<Checked>)>),
    Sweep(Sweep),
    /// State that is changed by itself, and who is told when it is durable.
    State(Group, Sender<Result<(), StoreError>>),
    /// Answered when the writer comes to it, after all that was sent before.
    Ping(oneshot::Sender<()>),
    Remove(Remove),
}

/// Events that one sweep removes in one group.
const SWEEP_GROUP_EVENTS_MAX: usize = 2_000;

pub(super) struct Writer {
    input: Receiver<WriterInput>,
    fanout: Sender<LiveGroup>,
    store: Arc<Store>,
    bodies: Arc<Bodies>,
    saver: Saver,
    meter: Arc<Meter>,
    events_max: usize,
    bytes_max: usize,
}

/// An event that will be stored with its group.
struct Placed {
    checked: Checked,
    /// How long its record is.
    record_bytes: usize,
    /// Copies of it that came before it was safe: answered together.
    copies: Vec<(Reply, Permits)>,
    removes: Vec<Stored>,
}

/// Puts events back in the order in which they were submitted. What waits is bounded by what is under way.
#[derive(Default)]
struct Turns {
    next: u64,
    /// From `next` on; the inner `None` is an event that was refused.
    waiting: VecDeque<Option<Option<Checked>>>,
}

impl Turns {
    fn add(&mut self, turn: u64, checked: Option<Checked>) {
        // A turn comes once, and is never before the next one.
        let at = (turn - self.next) as usize;
        if self.waiting.len() <= at {
            self.waiting.resize_with(at + 1, || None);
        }
        self.waiting[at] = Some(checked);
    }

    /// The next event whose turn it is.
    fn take(&mut self) -> Option<Checked> {
        while let Some(Some(_)) = self.waiting.front() {
            self.next += 1;
            if let Some(Some(Some(checked))) = self.waiting.pop_front() {
                return Some(checked);
            }
        }
        None
    }
}

/// The group that is being gathered, and what of it bears on later events.
#[derive(Default)]
struct Gathering {
    placed: Vec<Placed>,
    bytes: usize,
    ids: HashMap<(CommunityId, Id), usize>,
    addresses: HashSet<(CommunityId, String)>,
    /// Only of communities with rules that ask for stored events.
    kinds: HashSet<(CommunityId, Kind)>,
    removed: HashSet<(CommunityId, Location)>,
    /// Authors of deletion and vanish requests.
    requesters: HashSet<(CommunityId, PublicKey)>,
    has_wraps: bool,
}

impl Gathering {
    /// Whether an event's facts depend on what is gathered.
    fn bears_on(&self, community: CommunityId, event: &Verified) -> bool {
        let author = (community, event.pubkey);
        let is_request = is_request(event.kind);
        self.requesters.contains(&author)
            || is_request && (self.has_wraps || self.has_of(author))
            || event.kind == Kind::GIFT_WRAP && !self.requesters.is_empty()
            || event.address().is_some_and(|address| self.addresses.contains(&(community, address)))
    }

    /// Whether what an author has in it decides whether there is room for their next event.
    fn bears_on_author(&self, checked: &Checked, settings: &Retention) -> bool {
        let Checked { community, event, record, .. } = checked;
        let mut gathered = Load::default();
        for Placed { checked, record_bytes, .. } in &self.placed {
            if checked.community.id == community.id && checked.event.pubkey == event.pubkey {
                gathered.events += 1;
                gathered.bytes += *record_bytes as u64;
            }
        }
        retention::bears_on(settings, &community.index(), event, record.len(), gathered)
    }

    /// Whether an author has written any of it.
    fn has_of(&self, author: (CommunityId, PublicKey)) -> bool {
        self.placed
            .iter()
            .any(|Placed { checked, .. }| (checked.community.id, checked.event.pubkey) == author)
    }

    /// Whether what a rule wants to know depends on what is gathered.
    fn bears_on_want(&self, community: CommunityId, want: &Want) -> bool {
        // What is about to be removed, by a request or by its next version, may be just what is wanted.
        let removes =
            !self.removed.is_empty() || self.requesters.iter().any(|(other, _)| *other == community);
        match want {
            // What of the author is gathered was settled before, where it may decide.
            Want::Usage => false,
            _ if removes => true,
            Want::Id(id) => self.ids.contains_key(&(community, *id)),
            Want::Address(address) => self.addresses.contains(&(community, address.clone())),
            Want::Naming { kind, .. } | Want::ByAuthor { kind, .. } => {
                self.kinds.contains(&(community, *kind))
            }
        }
    }

    fn add(&mut self, checked: Checked, removes: Vec<Stored>) {
        let community = checked.community.id;
        let event = &checked.event;
        self.ids.insert((community, event.id), self.placed.len());
        if checked.community.rules().policy.asks_the_store() {
            self.kinds.insert((community, event.kind));
        }
        self.addresses.extend(event.address().map(|address| (community, address)));
        if is_request(event.kind) {
            self.requesters.insert((community, event.pubkey));
        }
        self.has_wraps |= event.kind == Kind::GIFT_WRAP;
        let record_bytes = checked.record.len();
        self.bytes += record_bytes;
        // Two requests of one group may name the same wrap; it is removed once.
        let removes =
            removes.into_iter().filter(|stored| self.removed.insert((community, stored.location))).collect();
        self.placed.push(Placed { checked, record_bytes, copies: Vec::new(), removes });
    }
}

/// Whether an event will probably be removed one day: by its next version, or when it expires. Most articles
/// and listings stay as they are; what has replaced an earlier version will be replaced itself.
fn will_go(event: &Verified, replaces: bool) -> bool {
    let has_next = match event.kind.class() {
        KindClass::Replaceable => true,
        KindClass::Addressable => replaces,
        KindClass::Regular | KindClass::Ephemeral => false,
    };
    has_next || nip40::expires_at(event).is_some()
}

/// The settings that bound what an event's author may have; `None` where nothing does, or an operator brings it.
fn author_bounds(checked: &Checked) -> Option<Arc<Settings>> {
    checked.admitted_at?;
    let settings = checked.community.settings();
    let retention = &settings.retention;
    if !retention.bounds_authors() {
        return None;
    }
    if retention.bytes_per_author_max > 0 && !checked.community.index().counts_author_bytes(retention) {
        checked.community.index_mut().count_author_bytes(retention);
    }
    Some(settings)
}

fn is_request(kind: Kind) -> bool {
    kind == Kind::DELETION || kind == Kind::VANISH
}

impl Writer {
    pub(super) fn new(
        input: Receiver<WriterInput>,
        fanout: Sender<LiveGroup>,
        store: Arc<Store>,
        bodies: Arc<Bodies>,
        saver: Saver,
        meter: Arc<Meter>,
        settings: &config::Store,
    ) -> Writer {
        let (events_max, bytes_max) = (settings.group_events_max, settings.group_bytes_max);
        Writer { input, fanout, store, bodies, saver, meter, events_max, bytes_max }
    }

    /// Works until nobody can send any more and everything sent is safe.
    pub(super) fn run(mut self) {
        let mut gathering = Gathering::default();
        let mut turns = Turns::default();
        while let Ok(input) = self.input.recv() {
            let mut next = Some(input);
            while let Some(input) = next.take() {
                match input {
                    WriterInput::Events(events) => {
                        events.into_iter().for_each(|(turn, checked)| turns.add(turn, checked));
                        while let Some(checked) = turns.take() {
                            self.place(checked, &mut gathering);
                        }
                    }
                    WriterInput::Sweep(sweep) => {
                        self.commit(std::mem::take(&mut gathering));
                        self.sweep(sweep);
                    }
                    WriterInput::State(group, done) => {
                        self.commit(std::mem::take(&mut gathering));
                        // Who no longer waits does not need the answer.
                        let _ = done.send(self.store.commit(group).map(drop));
                    }
                    // Who no longer waits for the answer does not need it.
                    WriterInput::Ping(heard) => drop(heard.send(())),
                    WriterInput::Remove(remove) => {
                        self.commit(std::mem::take(&mut gathering));
                        self.remove_found(&remove);
                    }
                }
                if gathering.placed.len() < self.events_max && gathering.bytes < self.bytes_max {
                    next = self.input.try_recv().ok();
                }
            }
            self.commit(std::mem::take(&mut gathering));
        }
        self.saver.stop();
    }

    fn place(&mut self, checked: Checked, gathering: &mut Gathering) {
        let (community, event) = (&checked.community, &checked.event);
        if let Some(&copied) = gathering.ids.get(&(community.id, event.id)) {
            gathering.placed[copied].copies.push((checked.reply, checked.permits));
            return;
        }
        let is_full = gathering.placed.len() >= self.events_max || gathering.bytes >= self.bytes_max;
        let bounds = author_bounds(&checked);
        let is_close = |bounds: &Arc<Settings>| gathering.bears_on_author(&checked, &bounds.retention);
        if is_full || gathering.bears_on(community.id, event) || bounds.as_ref().is_some_and(is_close) {
            self.commit(std::mem::take(gathering));
        }
        let admitted = self.admit(&checked, gathering);
        let index = community.index();
        let facts = index.facts(event);
        let outcome = match admitted.map_or_else(Placement::Refused, |()| place(event, &facts)) {
            Placement::Insert | Placement::Replace => {
                let mut removes = retention::removed_by(&index, event);
                let room = bounds.map(|bounds| {
                    let bytes = checked.record.len();
                    retention::make_room(&bounds.retention, &index, event, bytes, &removes)
                });
                drop(index);
                removes.extend(room.unwrap_or_default());
                gathering.add(checked, removes);
                return;
            }
            Placement::Duplicate => Outcome::Duplicate,
            Placement::Superseded => Outcome::Superseded,
            Placement::Deleted(refusal) | Placement::Refused(refusal) => Outcome::Refused(refusal),
            Placement::Ephemeral => Outcome::PassedOn,
        };
        drop(index);
        outcome.count_in(&community.traffic);
        checked.reply.send(&event.id, outcome.clone());
        if outcome == Outcome::PassedOn {
            let Checked { community, event, body, .. } = checked;
            self.pass_on(LiveGroup { community, events: vec![LiveEvent { event, body, number: None }] });
        }
    }

    /// Asks the rules that look at stored events.
    fn admit(&mut self, checked: &Checked, gathering: &mut Gathering) -> Decision {
        let Checked { community, event, admitted_at: Some(now), .. } = checked else { return Ok(()) };
        let rules = community.rules();
        if !rules.policy.asks_the_store() {
            return Ok(());
        }
        // What would not be stored anyway is answered as what it is.
        if foresee(event, &community.index().facts(event)).is_some() {
            return Ok(());
        }
        let relay = RelayNames::default();
        let context = rules.context(*now, &[], &relay);
        let bodies = Arc::clone(&self.bodies);
        let settle = |want: &Want| {
            if gathering.bears_on_want(community.id, want) {
                self.commit(std::mem::take(gathering));
            }
        };
        let event_and_size = (event, checked.record.len());
        let related =
            relate(community, &rules, event_and_size, &context, &bodies, settle).map_err(|error| {
                tracing::error!("cannot read a stored event: {error}");
                let sentence =
                    "a stored event that bears on this one could not be read; its operator is told";
                Refusal::new(Prefix::Error, "store.read", sentence)
            })?;
        community.admit_placed(&rules, event, &related, &context)
    }

    fn pass_on(&self, group: LiveGroup) {
        // The fan-out ends only after the writer.
        let _ = self.fanout.send(group);
    }

    /// Makes a group durable, then true for readers, then known.
    fn commit(&mut self, gathering: Gathering) {
        let mut placed = gathering.placed;
        if placed.is_empty() {
            return;
        }
        let mut group = Group::default();
        for Placed { checked, removes, .. } in &mut placed {
            let community = &checked.community;
            let record = std::mem::take(&mut checked.record);
            match will_go(&checked.event, !removes.is_empty()) {
                true => group.insert_loose(community.id, record),
                false => group.insert(community.id, record),
            }
            removes.iter().for_each(|stored| group.remove(community.id, stored.location));
            if checked.event.kind == Kind::VANISH {
                let earlier = community.index().vanished_until(&checked.event.pubkey).unwrap_or(0);
                let until = checked.event.created_at.max(earlier);
                group.put_state(community.id, VANISHED, &checked.event.pubkey.0, &until.to_le_bytes());
            }
        }
        let began = Instant::now();
        match self.store.commit(group) {
            Ok(locations) => {
                self.meter.commit_seconds.observe(began.elapsed().as_secs_f64());
                self.meter.commit_events.observe(placed.len() as f64);
                let changes = placed.iter().map(|placed| 1 + placed.removes.len()).sum();
                self.publish(placed, &locations);
                self.saver.changed(changes);
            }
            Err(error) => {
                self.meter.commits_failed.inc();
                fail(placed, &error);
            }
        }
    }

    fn publish(&self, placed: Vec<Placed>, locations: &[Location]) {
        let mut locations_left = locations.iter();
        for run in placed.chunk_by(|one, next| one.checked.community.id == next.checked.community.id) {
            let mut index = run[0].checked.community.index_mut();
            for (placed, &location) in run.iter().zip(&mut locations_left) {
                let Placed { checked, record_bytes, removes, .. } = placed;
                let community = &checked.community;
                for stored in removes {
                    let (kind, author) = index.kind_and_author(*stored);
                    index.remove(*stored);
                    community.notice(kind, &author);
                }
                index.insert(&checked.event, location, *record_bytes);
                community.notice(checked.event.kind, &checked.event.pubkey);
                if checked.event.kind == Kind::VANISH {
                    index.vanish(&checked.event.pubkey, checked.event.created_at);
                }
            }
        }
        let mut groups: Vec<LiveGroup> = Vec::new();
        for (Placed { checked, copies, removes, .. }, &location) in placed.into_iter().zip(locations) {
            let Checked { community, event, body, reply, .. } = checked;
            removes.iter().for_each(|stored| self.bodies.forget(community.id, stored.location));
            community.traffic.stored.add(1);
            community.traffic.duplicates.add(copies.len());
            reply.send(&event.id, Outcome::Stored);
            copies.iter().for_each(|(reply, _)| reply.send(&event.id, Outcome::Duplicate));
            self.bodies.put(community.id, location, body.clone());
            let live = LiveEvent { event, body, number: Some(location.number) };
            match groups.last_mut() {
                Some(group) if group.community.id == community.id => group.events.push(live),
                _ => groups.push(LiveGroup { community, events: vec![live] }),
            }
        }
        groups.into_iter().for_each(|group| self.pass_on(group));
    }

    /// Removes up to `events_max` events that expired or vanished.
    fn sweep(&mut self, sweep: Sweep) {
        let Sweep { community, now, events_max, done } = sweep;
        let mut removed = 0;
        while removed < events_max {
            let most = (events_max - removed).min(SWEEP_GROUP_EVENTS_MAX);
            let expired = community.index().expired(now, most);
            let removes = if expired.is_empty() { community.index_mut().vanishing(most) } else { expired };
            if removes.is_empty() {
                break;
            }
            if let Err(error) = self.remove(&community, &removes) {
                tracing::error!("cannot remove expired or vanished events: {error}");
                break;
            }
            removed += removes.len();
        }
        let _ = done.send(removed);
    }

    /// Removes the events that were found, as far as they are still there.
    fn remove_found(&mut self, remove: &Remove) {
        let Remove { community, found, done } = remove;
        let removes: Vec<Stored> = {
            let index = community.index();
            found.iter().filter_map(|found| index.stored_at(&found.id, found.location)).collect()
        };
        match self.remove(community, &removes) {
            // Who no longer waits for the answer does not need it.
            Ok(()) => drop(done.send(removes.len())),
            Err(error) => tracing::error!("cannot remove events: {error}"),
        }
    }

    /// Removes events that are in the index, in one group.
    fn remove(&mut self, community: &Community, removes: &[Stored]) -> Result<(), StoreError> {
        let mut group = Group::default();
        removes.iter().for_each(|stored| group.remove(community.id, stored.location));
        self.store.commit(group)?;
        let mut index = community.index_mut();
        for stored in removes {
            let (kind, author) = index.kind_and_author(*stored);
            index.remove(*stored);
            community.notice(kind, &author);
            self.bodies.forget(community.id, stored.location);
        }
        drop(index);
        self.saver.changed(removes.len());
        Ok(())
    }
}

/// Answers a group that could not be stored. Its events may or may not be there after a restart.
fn fail(placed: Vec<Placed>, error: &StoreError) {
    tracing::error!("cannot store {} events: {error}", placed.len());
    let refusal =
        Refusal::new(Prefix::Error, "store.commit", "the relay could not store this event; try again later");
    for Placed { checked, copies, .. } in placed {
        let replies = std::iter::once(&checked.reply).chain(copies.iter().map(|(reply, _)| reply));
        checked.community.traffic.refused.add(1 + copies.len());
        replies.for_each(|reply| reply.send(&checked.event.id, Outcome::Refused(refusal.clone())));
    }
}
