//! The one thread that changes store and index. In: true events, and sweeps. It gathers a group, places
//! each event by the facts, commits the group, waits until it is durable, changes the index, and only
//! then answers OK and passes the events on. While one group is being synced the next one gathers.
//!
//! Facts must see every earlier write. An event whose facts would depend on another of the same group
//! ends the group and is placed in the next one, so that facts are always those of the index.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tokio::sync::oneshot;

use super::bodies::Bodies;
use super::fanout::LiveGroup;
use super::gathering::{Gathering, Placed, will_go};
use super::groups::{self, Pending, StateChange};
use super::log::{self, Follower, Placing};
use super::members::Invitation;
use super::relate::relate;
use super::release::{Release, Released, is_held};
use super::save::Saver;
use super::stage::Stage;
use super::trouble::Trouble;
use super::turns::Turns;
use super::{Outcome, Permits, Reply, retention};
use crate::admin::Decided;
use crate::community::moderation::HELD;
use crate::community::{Community, VANISHED};
use crate::config::{self, Settings};
use crate::event::{Id, Kind, Verified};
use crate::index::{Found, Stored};
use crate::live::LiveEvent;
use crate::meter::Meter;
use crate::nips::nip43::asks_to_join_or_leave;
use crate::plugin::Origin;
use crate::policy::{Placement, foresee, place};
use crate::rule::{Context, Decision, Prefix, Refusal, RelayNames, Want};
use crate::store::{Group, Location, Store, StoreError};

/// An event that is true and passed all rules, ready to be stored and sent.
pub(super) struct Checked {
    pub(super) community: Arc<Community>,
    pub(super) event: Verified,
    pub(super) body: Bytes,
    pub(super) record: Vec<u8>,
    pub(super) reply: Reply,
    /// When it passed the other rules; `None` for what an operator brings, of which no rule is asked.
    pub(super) admitted_at: Option<u64>,
    /// Where it came from, for plugins; `None` where none is asked.
    pub(super) origin: Option<Box<Origin>>,
    /// By which rules it is placed.
    pub(super) placing: Placing,
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
    /// What plugins were asked about and may go on; its turns were over before.
    Asked(Vec<Checked>),
    Sweep(Sweep),
    /// State that is changed by itself.
    State(StateChange),
    /// What a community has to say itself is to be said, where it is not; and who is told when it is.
    Refresh(Arc<Community>, u64, Sender<()>),
    /// Somebody wants a code to give away.
    Invite(Invitation),
    /// Answered when the writer comes to it, after all that was sent before.
    Ping(oneshot::Sender<()>),
    Remove(Remove),
    Release(Release),
    /// What a moderator decided, on its way to the log of a cluster.
    Decide(Decided),
    /// What comes from the log of a cluster.
    Log(log::Entry),
}

/// Events that one sweep removes in one group.
const SWEEP_GROUP_EVENTS_MAX: usize = 2_000;

pub(super) struct Writer {
    input: Receiver<WriterInput>,
    fanout: Sender<LiveGroup>,
    pub(super) store: Arc<Store>,
    pub(super) bodies: Arc<Bodies>,
    saver: Saver,
    pub(super) meter: Arc<Meter>,
    /// Where it is in the log of a cluster, if there is one.
    pub(super) follower: Option<Follower>,
    /// While the store takes nothing.
    pub(super) trouble: Option<Trouble>,
    events_max: usize,
    bytes_max: usize,
    turns: Turns,
    phase: Phase,
}

/// Where the writer is with a group.
#[derive(Default)]
enum Phase {
    /// Between two groups.
    #[default]
    Idle,
    /// It is to be made safe.
    Gathered(Box<Gathering>),
    /// It is to be made true for readers.
    Safe(Safe),
    /// It is to be answered and passed on.
    Indexed(Safe),
}

/// A group that is durable, and where its events are.
pub(super) struct Safe {
    placed: Vec<Placed>,
    pending: Vec<Pending>,
    locations: Vec<Location>,
    position: Option<u64>,
}

/// What becomes true when a group is safe.
pub(super) enum After {
    /// These events are stored, and with them this holds.
    Publish(Vec<Placed>, Vec<Pending>),
    /// These are gone.
    Forget(Arc<Community>, Vec<Stored>),
    /// These are held no more.
    LetGo(Arc<Community>, Vec<Id>, Vec<Released>),
}

impl Stage for Writer {
    type Work = WriterInput;

    fn wait(&mut self) -> Option<WriterInput> {
        // Others commit as well: those who save the index, and backups.
        if self.trouble.is_none() && self.store.has_failed() {
            self.trouble = Some(Trouble::new(None));
        }
        self.next_input()
    }

    fn look(&mut self) -> Option<WriterInput> {
        self.input.try_recv().ok()
    }

    /// Gathers a group of all that waits.
    fn begin(&mut self, first: WriterInput) {
        let mut gathering = Gathering::default();
        let mut next = Some(first);
        while let Some(input) = next.take() {
            match input {
                WriterInput::Events(events) => {
                    let came = events.len();
                    events.into_iter().for_each(|(turn, checked)| self.turns.add(turn, checked));
                    while let Some(checked) = self.turns.take() {
                        self.take_up(checked, &mut gathering);
                    }
                    gathering.seen += if gathering.placed.is_empty() { 0 } else { came };
                }
                WriterInput::Asked(events) => {
                    let came = events.len();
                    events.into_iter().for_each(|checked| self.place(checked, &mut gathering));
                    gathering.seen += if gathering.placed.is_empty() { 0 } else { came };
                }
                WriterInput::Sweep(sweep) => {
                    self.commit(std::mem::take(&mut gathering));
                    self.sweep(sweep);
                }
                WriterInput::State(change) => {
                    self.commit(std::mem::take(&mut gathering));
                    self.change_state(change);
                }
                WriterInput::Refresh(community, now, done) => {
                    self.commit(std::mem::take(&mut gathering));
                    self.refresh(&community, now, &Placing::Here);
                    // Who no longer waits does not need the answer.
                    let _ = done.send(());
                }
                WriterInput::Invite(invitation) => {
                    self.commit(std::mem::take(&mut gathering));
                    self.invite(invitation);
                }
                // Who no longer waits for the answer does not need it.
                WriterInput::Ping(heard) => drop(heard.send(())),
                WriterInput::Remove(remove) => {
                    self.commit(std::mem::take(&mut gathering));
                    self.remove_found(&remove);
                }
                WriterInput::Release(release) => {
                    self.commit(std::mem::take(&mut gathering));
                    self.release(release, None);
                }
                // It comes again from there.
                WriterInput::Decide(decision) => decision.refuse(self.store.path()),
                WriterInput::Log(entry) => self.follow(entry, &mut gathering),
            }
            // It is tried to go on when nothing is gathered.
            if !self.is_full(&gathering) && self.trouble.is_none() {
                next = self.look();
            }
        }
        self.phase = Phase::Gathered(Box::new(gathering));
    }

    fn advance(&mut self) -> bool {
        self.phase = match std::mem::take(&mut self.phase) {
            Phase::Idle => return false,
            Phase::Gathered(gathering) => {
                self.make_safe(*gathering).ok().flatten().map_or(Phase::Idle, Phase::Safe)
            }
            Phase::Safe(safe) => {
                index(&safe);
                Phase::Indexed(safe)
            }
            Phase::Indexed(safe) => {
                self.tell(safe);
                Phase::Idle
            }
        };
        true
    }

    fn end(mut self) {
        self.note_position();
        self.saver.stop();
    }
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
        let (turns, phase) = (Turns::default(), Phase::Idle);
        Writer {
            input,
            fanout,
            store,
            bodies,
            saver,
            meter,
            follower: None,
            trouble: None,
            events_max,
            bytes_max,
            turns,
            phase,
        }
    }

    /// What to do next; `None` when nobody can send any more. While the store takes nothing it is tried again.
    fn next_input(&mut self) -> Option<WriterInput> {
        loop {
            self.recover_if_due();
            let Some(trouble) = &self.trouble else { return self.input.recv().ok() };
            match self.input.recv_deadline(trouble.next_try) {
                Ok(input) => return Some(input),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Makes true for readers what a group changed that is there after all.
    pub(super) fn make_true(&mut self, after: After, locations: &[Location]) {
        match after {
            After::Publish(placed, mut pending) => {
                // Who decided something was told that it failed.
                pending.iter_mut().for_each(|pending| pending.is_left_to_caller = false);
                self.publish(Safe { placed, pending, locations: locations.to_vec(), position: None });
            }
            After::Forget(community, removes) => self.forget(&community, &removes),
            After::LetGo(community, ids, released) => self.let_go(&community, &ids, released, locations),
        }
    }

    fn is_full(&self, gathering: &Gathering) -> bool {
        let events = gathering.placed.len().max(gathering.seen);
        events >= self.events_max || gathering.bytes >= self.bytes_max
    }

    /// Places an event whose turn has come, unless plugins are asked about it first: then it goes to their desk, and the
    /// turns of others are not held up.
    fn take_up(&mut self, checked: Checked, gathering: &mut Gathering) {
        let community = Arc::clone(&checked.community);
        match community.desk.get() {
            Some(desk) if checked.admitted_at.is_some() || checked.origin.is_some() => desk.take(checked),
            _ => self.place(checked, gathering),
        }
    }

    pub(super) fn place(&mut self, checked: Checked, gathering: &mut Gathering) {
        let (community, event) = (&checked.community, &checked.event);
        if let Some(&copied) = gathering.ids.get(&(community.id, event.id)) {
            gathering.placed[copied].copies.push((checked.reply, checked.permits));
            return;
        }
        let is_full = self.is_full(gathering);
        let bounds = retention::author_bounds(&checked);
        let is_close = |bounds: &Arc<Settings>| gathering.bears_on_author(&checked, &bounds.retention);
        if is_full || gathering.bears_on(community.id, event) || bounds.as_ref().is_some_and(is_close) {
            self.commit(std::mem::take(gathering));
        }
        let admitted = self.admit(&checked, gathering);
        let index = community.index();
        let facts = index.facts(event);
        let outcome = match admitted.map_or_else(Placement::Refused, |()| place(event, &facts)) {
            Placement::Insert | Placement::Replace => {
                let held_since = match is_held(&checked) {
                    Ok(is_held) => checked.admitted_at.filter(|_| is_held),
                    Err(refusal) => {
                        drop(index);
                        return refuse(&checked, refusal);
                    }
                };
                let mut removes = retention::removed_by(&index, event);
                let room = bounds.map(|bounds| {
                    let bytes = checked.record.len();
                    retention::make_room(&bounds.retention, &index, event, bytes, &removes)
                });
                drop(index);
                removes.extend(room.unwrap_or_default());
                if checked.placing.has_groups(community) {
                    groups::keeps(community, &mut removes, event);
                    removes.extend(groups::removed_by(community, event));
                }
                return gathering.add_and_manage(checked, removes, held_since);
            }
            Placement::Duplicate => Outcome::Duplicate,
            Placement::Superseded => Outcome::Superseded,
            Placement::Deleted(refusal) | Placement::Refused(refusal) => Outcome::Refused(refusal),
            Placement::Ephemeral
                if checked.placing.has_members(community) && asks_to_join_or_leave(event) =>
            {
                drop(index);
                return self.carry_out(checked, gathering);
            }
            Placement::Ephemeral if community.has_passed_on(&event.id) => Outcome::Duplicate,
            Placement::Ephemeral => Outcome::PassedOn,
        };
        drop(index);
        outcome.count_in(&community.traffic);
        checked.reply.send(&event.id, outcome.clone());
        if outcome == Outcome::PassedOn {
            let Checked { community, event, body, permits, .. } = checked;
            self.pass_on(LiveGroup {
                community,
                events: vec![LiveEvent::new(event, body, None)],
                room: permits.into_shared(),
                was_held: false,
            });
        }
    }

    /// Asks the rules that look at stored events.
    fn admit(&mut self, checked: &Checked, gathering: &mut Gathering) -> Decision {
        let Checked { community, event, admitted_at: Some(now), .. } = checked else { return Ok(()) };
        let Some(rules) = checked.placing.rules(community) else { return Ok(()) };
        if !rules.policy.asks_the_store() {
            return Ok(());
        }
        // What would not be stored anyway is answered as what it is.
        if foresee(event, &community.index().facts(event)).is_some() {
            return Ok(());
        }
        let relay = RelayNames::default();
        // What the gathering group makes of groups and members holds for what comes after it.
        let known = gathering.known(community).cloned();
        let context = rules.context(*now, &[], &relay);
        let context = Context { known: known.as_ref().unwrap_or(&rules.known), ..context };
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

    /// Counts what was changed of what is saved.
    pub(super) fn note_changes(&mut self, changes: usize) {
        self.saver.changed(changes);
    }

    pub(super) fn pass_on(&self, group: LiveGroup) {
        // The fan-out ends only after the writer.
        let _ = self.fanout.send(group);
    }

    /// Makes a group durable, then true for readers, then known, all at once: what comes next depends on it.
    pub(super) fn commit(&mut self, gathering: Gathering) {
        if let Ok(Some(safe)) = self.make_safe(gathering) {
            self.publish(safe);
        }
    }

    /// Makes a group that is safe true for readers, and tells of it.
    pub(super) fn publish(&mut self, safe: Safe) {
        index(&safe);
        self.tell(safe);
    }

    /// Makes a group durable; `None` when it is empty.
    ///
    /// # Errors
    /// When the store failed, which was answered.
    pub(super) fn make_safe(&mut self, mut gathering: Gathering) -> Result<Option<Safe>, StoreError> {
        gathering.conclude();
        let Gathering { mut placed, pending, state: mut group, position, .. } = gathering;
        if placed.is_empty() && pending.is_empty() && group.is_empty() {
            self.passed(position);
            return Ok(None);
        }
        for Pending { community, removes, .. } in &pending {
            removes.iter().for_each(|stored| group.remove(community.id, stored.location));
        }
        for Placed { checked, removes, held_since, .. } in &mut placed {
            let community = &checked.community;
            if let Some(since) = held_since {
                group.put_state(community.id, HELD, &checked.event.id.0, &since.to_le_bytes());
            }
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
        self.write_position(position, &mut group);
        let began = Instant::now();
        match self.store.commit(group) {
            Ok(locations) => {
                self.meter.commit_seconds.observe(began.elapsed().as_secs_f64());
                self.meter.commit_events.observe(placed.len() as f64);
                Ok(Some(Safe { placed, pending, locations, position }))
            }
            Err(error) => {
                self.meter.commits_failed.inc();
                let mut pending = pending;
                fail(&mut placed, &mut pending, &error);
                self.note_failure(&error, Some(After::Publish(placed, pending)));
                self.lose_place(position);
                Err(error)
            }
        }
    }

    /// Answers a group and passes it on.
    fn tell(&mut self, Safe { placed, pending, locations, position }: Safe) {
        for mut pending in pending {
            let community = pending.community.id;
            pending.removes.iter().for_each(|stored| self.bodies.forget(community, stored.location));
            pending.recheck();
            pending.answer();
        }
        let changes = placed.iter().map(|placed| 1 + placed.removes.len()).sum();
        let mut groups: Vec<LiveGroup> = Vec::new();
        for (Placed { checked, copies, removes, held_since, .. }, &location) in
            placed.into_iter().zip(&locations)
        {
            let Checked { community, event, body, reply, permits, .. } = checked;
            removes.iter().for_each(|stored| self.bodies.forget(community.id, stored.location));
            community.traffic.stored.add(1);
            community.traffic.duplicates.add(copies.len());
            reply.send(&event.id, held_since.map_or(Outcome::Stored, |_| Outcome::Held));
            copies.iter().for_each(|(reply, _)| reply.send(&event.id, Outcome::Duplicate));
            self.bodies.put(community.id, location, body.clone());
            let live = LiveEvent::new(event, body, Some(location.number));
            match groups.last_mut() {
                Some(group) if group.community.id == community.id => group.add(live, permits.into_shared()),
                _ => groups.push(LiveGroup {
                    community,
                    events: vec![live],
                    room: permits.into_shared(),
                    was_held: false,
                }),
            }
        }
        groups.into_iter().for_each(|group| self.pass_on(group));
        self.saver.changed(changes);
        // A copy that waits for this is answered after what it is a copy of.
        self.stored(position);
    }

    /// Removes up to `events_max` events that expired or vanished.
    fn sweep(&mut self, sweep: Sweep) {
        let Sweep { community, now, events_max, done } = sweep;
        let mut removed = 0;
        // Nothing can be removed while the store takes nothing.
        while removed < events_max && self.trouble.is_none() {
            let most = (events_max - removed).min(SWEEP_GROUP_EVENTS_MAX);
            let expired = community.index().expired(now, most);
            let removes = if expired.is_empty() { community.index_mut().vanishing(most) } else { expired };
            let removes = if removes.is_empty() { groups::left_over(&community, most) } else { removes };
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
    fn remove(&mut self, community: &Arc<Community>, removes: &[Stored]) -> Result<(), StoreError> {
        let mut group = Group::default();
        removes.iter().for_each(|stored| group.remove(community.id, stored.location));
        if let Err(error) = self.store.commit(group) {
            self.note_failure(&error, Some(After::Forget(Arc::clone(community), removes.to_vec())));
            return Err(error);
        }
        self.forget(community, removes);
        Ok(())
    }

    /// Takes events that the store does not hold any more out of the index.
    pub(super) fn forget(&mut self, community: &Community, removes: &[Stored]) {
        let mut index = community.index_mut();
        for stored in removes {
            let (kind, author) = index.kind_and_author(*stored);
            index.remove(*stored);
            community.notice(kind, &author);
            self.bodies.forget(community.id, stored.location);
        }
        drop(index);
        self.saver.changed(removes.len());
    }
}

/// Makes a group true for readers.
fn index(Safe { placed, pending, locations, .. }: &Safe) {
    // First what is private, then what is in it.
    pending.iter().for_each(Pending::publish);
    for Pending { community, removes, .. } in pending {
        let mut index = community.index_mut();
        removes.iter().for_each(|stored| index.remove(*stored));
    }
    let mut locations_left = locations.iter();
    for run in placed.chunk_by(|one, next| one.checked.community.id == next.checked.community.id) {
        let mut index = run[0].checked.community.index_mut();
        for (placed, &location) in run.iter().zip(&mut locations_left) {
            let Placed { checked, record_bytes, removes, held_since, .. } = placed;
            let community = &checked.community;
            for stored in removes {
                let (kind, author) = index.kind_and_author(*stored);
                index.remove(*stored);
                community.notice(kind, &author);
            }
            // Before it can be seen.
            if let Some(since) = held_since {
                community.known().held.hold(checked.event.id, *since);
            }
            index.insert(&checked.event, location, *record_bytes);
            community.notice(checked.event.kind, &checked.event.pubkey);
            if checked.event.kind == Kind::VANISH {
                index.vanish(&checked.event.pubkey, checked.event.created_at);
            }
        }
    }
}

/// Refuses an event that would have been stored.
fn refuse(checked: &Checked, refusal: Refusal) {
    checked.community.tally.refused(&refusal);
    let outcome = Outcome::Refused(refusal);
    outcome.count_in(&checked.community.traffic);
    checked.reply.send(&checked.event.id, outcome);
}

/// Answers a group that could not be stored. Its events may or may not be there when the store is opened again.
pub(super) fn fail(placed: &mut [Placed], pending: &mut [Pending], error: &StoreError) {
    // What comes after the first is refused by a store that said so.
    match error {
        StoreError::Stopped { .. } => tracing::debug!("cannot store {} events: {error}", placed.len()),
        _ => tracing::error!("cannot store {} events: {error}", placed.len()),
    }
    let refusal =
        Refusal::new(Prefix::Error, "store.commit", "the relay could not store this event; try again later");
    for (reply, id, outcome, _) in pending.iter_mut().flat_map(|pending| &mut pending.answers) {
        reply.send(id, Outcome::Refused(refusal.clone()));
        (*reply, *outcome) = (Reply::Answered, Outcome::Refused(refusal.clone()));
    }
    for Placed { checked, copies, .. } in placed {
        let replies = std::iter::once(&checked.reply).chain(copies.iter().map(|(reply, _)| reply));
        checked.community.traffic.refused.add(1 + copies.len());
        replies.for_each(|reply| reply.send(&checked.event.id, Outcome::Refused(refusal.clone())));
        copies.clear();
        (checked.reply, checked.permits) = (Reply::Answered, Permits::default());
    }
}
