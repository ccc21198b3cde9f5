//! The writer's side of the log: it does what entries say, in the stream's order, and keeps in each group up to where
//! they are in it. In: entries. Out: the same store on every node. What decides comes from the entry and the store
//! alone: no clock is read here, nor a setting of this node.
//!
//! When a group cannot be stored nothing after it counts: the log is read again from the last one that is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::Taken;
use super::rulebook::{Rulebook, write};
use super::voice::{Hearing, Voice, hear};
use super::{Asker, Entry, Log, Place, Placing, Reading, STATE, What};
use crate::admin::Decided;
use crate::community::Community;
use crate::config::Settings;
use crate::event::{Event, Id};
use crate::index::Stored as InIndex;
use crate::pipeline::gathering::Gathering;
use crate::pipeline::release::Release;
use crate::pipeline::trouble::end_if_halfway;
use crate::pipeline::writer::{After, Checked, Writer, fail};
use crate::pipeline::{Outcome, Reply};
use crate::rule::{Prefix, Refusal};
use crate::store::{CommunityId, Group, Store, StoreError};

/// The entry of the state that says how far the store is, and in which stream; the cluster's name follows.
const POSITION: &[u8] = b"position/";

/// That of a community in whose name the log speaks there; the cluster's name follows.
const VOICE: &[u8] = b"voice/";

/// Entries that changed nothing and go by before their position is written for their own sake.
const UNWRITTEN_MAX: u64 = 1_024;

/// The key of an entry that is of one cluster.
fn key(of: &[u8], cluster: &str) -> Vec<u8> {
    [of, cluster.as_bytes()].concat()
}

/// That of a cluster that the store has left; its name follows.
const LEFT: &[u8] = b"left/";

/// Notes that a store that was a node's is changed beside its cluster's log.
///
/// # Errors
/// When the store fails.
pub(in crate::pipeline) fn leave(store: &Store) -> Result<(), StoreError> {
    let mut group = Group::default();
    for entry in store.state(CommunityId(0), STATE) {
        let (name, _) = entry?;
        if let Some(cluster) = name.strip_prefix(POSITION)
            && store.state_entry(CommunityId(0), STATE, &[LEFT, cluster].concat())?.is_none()
        {
            group.put_state(CommunityId(0), STATE, &[LEFT, cluster].concat(), b"1");
            tracing::warn!(
                "this store has left the cluster {}: to come back it must begin from a backup of a node",
                String::from_utf8_lossy(cluster)
            );
        }
    }
    if group.is_empty() { Ok(()) } else { store.commit(group).map(drop) }
}

/// What a store knows of the log.
pub(super) struct Stored {
    position: Option<(u64, u64)>,
    has_left: bool,
    rulebook: Rulebook,
}

impl Stored {
    pub(super) fn read(store: &Store, cluster: &str) -> Result<Stored, StoreError> {
        let entry = store.state_entry(CommunityId(0), STATE, &key(POSITION, cluster))?;
        let numbers = entry.as_deref().and_then(|value| value.split_first_chunk::<8>());
        let position = numbers.and_then(|(position, stream)| {
            Some((u64::from_le_bytes(*position), u64::from_le_bytes(stream.try_into().ok()?)))
        });
        let has_left = store.state_entry(CommunityId(0), STATE, &key(LEFT, cluster))?.is_some();
        Ok(Stored { position, has_left, rulebook: Rulebook::load(store)? })
    }

    /// Up to where it is; 0 where it has not begun.
    pub(super) fn position(&self) -> u64 {
        self.position.map_or(0, |(position, _)| position)
    }

    /// Whether it was changed beside the log.
    pub(super) fn has_left(&self) -> bool {
        self.has_left
    }

    /// In which stream, where it has begun.
    pub(super) fn stream(&self) -> Option<u64> {
        self.position.map(|(_, stream)| stream)
    }
}

/// Where the writer is in the log.
pub(in crate::pipeline) struct Follower {
    log: Arc<Log>,
    /// All up to here is in the store, or changed nothing.
    position: u64,
    /// What the store says of it.
    written: u64,
    /// The reading whose entries count.
    reading: u64,
    /// Where the group ended that may be there when the store is opened again.
    lost: Option<u64>,
    rulebook: Rulebook,
    /// The number of the next entry of each community's record.
    records: HashMap<CommunityId, u64>,
    /// This node's own settings with their digests.
    own: HashMap<CommunityId, (Arc<Settings>, u64)>,
    /// In whose name the log speaks in each community, as far as it was asked.
    voices: HashMap<CommunityId, Voice>,
    /// What of that is not in the store: it is written with the next position.
    unwritten: Vec<(CommunityId, Voice)>,
}

impl Follower {
    pub(super) fn new(log: Arc<Log>, stored: Stored) -> Follower {
        let position = stored.position();
        Follower {
            log,
            position,
            written: position,
            reading: 0,
            lost: None,
            rulebook: stored.rulebook,
            records: HashMap::new(),
            own: HashMap::new(),
            voices: HashMap::new(),
            unwritten: Vec::new(),
        }
    }

    fn write(&self, position: u64, group: &mut Group) {
        let stream = self.log.stream.load(Ordering::Acquire);
        let value = [position.to_le_bytes(), stream.to_le_bytes()].concat();
        let cluster = &self.log.settings.name;
        group.put_state(CommunityId(0), STATE, &key(POSITION, cluster), &value);
        for (community, voice) in &self.unwritten {
            group.put_state(*community, STATE, &key(VOICE, cluster), &voice.0.to_le_bytes());
        }
    }

    fn is_at(&mut self, position: u64, is_written: bool) {
        self.position = self.position.max(position);
        if is_written {
            self.written = self.written.max(position);
            self.unwritten.clear();
        }
        self.log.applied.send_if_modified(|applied| {
            let is_new = *applied < position;
            *applied = position.max(*applied);
            is_new
        });
    }

    /// In whose name the log speaks in a community.
    fn voice(&mut self, community: CommunityId, store: &Store) -> Result<Voice, StoreError> {
        if let Some(voice) = self.voices.get(&community) {
            return Ok(*voice);
        }
        let entry = store.state_entry(community, STATE, &key(VOICE, &self.log.settings.name))?;
        let number = entry.and_then(|value| <[u8; 8]>::try_from(&*value).ok()).map(u64::from_le_bytes);
        let voice = Voice(number.unwrap_or_default());
        self.voices.insert(community, voice);
        Ok(voice)
    }

    /// The log speaks so from here on.
    fn goes_by(&mut self, voice: Voice, community: CommunityId) {
        self.voices.insert(community, voice);
        self.unwritten.push((community, voice));
    }

    /// Notes an entry of a node with other settings.
    fn compare(&mut self, community: &Community, settings: u64) {
        let now = community.settings();
        let (of, own) = self.own.entry(community.id).or_default();
        if !Arc::ptr_eq(of, &now) {
            (*of, *own) = (Arc::clone(&now), write(&now).0);
        }
        if *own != settings && self.log.other_settings.fetch_add(1, Ordering::Relaxed).is_multiple_of(10_000)
        {
            tracing::warn!(
                "{}: another node of the cluster goes by other settings; events are placed by those of the node that \
                 takes them, and each node serves by its own",
                community.path()
            );
        }
    }
}

impl What {
    /// Answers, if somebody waits here, that it does not count in this reading.
    fn leave(self, log: &Log) {
        match self {
            What::Event(checked, _) => {
                let sentence = "the relay could not store this event; try again later";
                let refusal = Refusal::new(Prefix::Error, "store.commit", sentence);
                checked.reply.send(&checked.event.id, Outcome::Refused(refusal));
            }
            What::Remove { asker, .. } => asker.into_iter().for_each(Asker::fail),
            What::Release { done, .. } => drop(done),
            What::Decide(decision, _) => decision.refuse(&log.store),
            What::Refresh { is_own: true, .. } => log.has_said(),
            What::Refresh { .. } | What::Rules { .. } | What::Note(_) | What::Nothing => {}
        }
    }
}

impl Writer {
    /// Does what an entry says.
    pub(in crate::pipeline) fn follow(&mut self, entry: Entry, gathering: &mut Gathering) {
        let Entry { at, what, _room } = entry;
        let Some(follower) = &self.follower else { return };
        let log = Arc::clone(&follower.log);
        if let Some(Place { position, reading }) = at {
            let passed = gathering.position.unwrap_or(0).max(follower.position);
            if reading != follower.reading || position <= passed {
                return what.leave(&log);
            }
            if self.trouble.is_some() {
                what.leave(&log);
                return self.lose_place(None);
            }
        }
        if !matches!(what, What::Event(..) | What::Nothing) {
            self.commit(std::mem::take(gathering));
            if !self.reads(at) {
                return what.leave(&log);
            }
        }
        let position = at.map(|at| at.position);
        match what {
            What::Event(checked, taken) => self.follow_event(*checked, taken, at, gathering),
            What::Nothing => gathering.position = position,
            What::Remove { community, ids, asker } => {
                match (asker, self.remove_ids(&community, &ids, position)) {
                    (Some(asker), Some(removed)) => asker.tell(removed),
                    (Some(asker), None) => asker.fail(),
                    (None, _) => {}
                }
            }
            What::Release { community, ids, done } => {
                let done = done.unwrap_or_else(|| crossbeam_channel::bounded(1).0);
                self.release(Release { community, ids, done }, position);
            }
            What::Decide(decision, taken) => self.decide(*decision, taken, position),
            What::Refresh { community, now, taken, is_own } => {
                if let Some(placing) = self.placing(&community, taken, position, None) {
                    self.refresh(&community, now, &placing);
                }
                if self.reads(at) {
                    self.passed(position);
                }
                if let Some(follower) = self.follower.as_ref().filter(|_| is_own) {
                    follower.log.has_said();
                }
            }
            What::Rules { digest, text } => self.learn_rules(digest, &text, position),
            What::Note(done) => {
                self.note_position();
                // Who no longer waits does not need the answer.
                let _ = done.send(());
            }
        }
    }

    fn follow_event(
        &mut self,
        mut checked: Checked,
        taken: Taken,
        at: Option<Place>,
        gathering: &mut Gathering,
    ) {
        let position = at.map(|at| at.position);
        // What the relay says because of an event depends on what is gathered with it, which differs from node to node.
        let is_alone = position.is_some() && taken.voice.answers(&checked.event);
        if is_alone {
            self.commit(std::mem::take(gathering));
        }
        if position.is_some() && self.reads(at) {
            let community = Arc::clone(&checked.community);
            if let Some(follower) = &mut self.follower
                && matches!(checked.reply, Reply::Answered)
            {
                follower.compare(&community, taken.settings);
            }
            match self.placing(&community, taken, position, Some(&checked)) {
                Some(placing) => checked.placing = placing,
                None => {
                    if self.reads(at) {
                        gathering.position = position;
                    }
                    return;
                }
            }
        }
        if !self.reads(at) {
            if let Some(follower) = &self.follower {
                What::Event(Box::new(checked), taken).leave(&follower.log);
            }
            return;
        }
        self.place(checked, gathering);
        if !self.reads(at) {
            // What was gathered stands on what could not be stored.
            return self.abandon(std::mem::take(gathering));
        }
        gathering.seen += usize::from(!gathering.placed.is_empty());
        gathering.position = position.or(gathering.position);
        if is_alone {
            self.commit(std::mem::take(gathering));
        }
    }

    /// Whether the reading in which an entry came still counts.
    fn reads(&self, at: Option<Place>) -> bool {
        at.is_none_or(|at| self.follower.as_ref().is_some_and(|follower| follower.reading == at.reading))
    }

    /// By which rules something is placed that a node took so; `None`, with an answer, when it counts nowhere, or when this
    /// node cannot follow it.
    fn placing(
        &mut self,
        community: &Arc<Community>,
        taken: Taken,
        position: Option<u64>,
        checked: Option<&Checked>,
    ) -> Option<Placing> {
        let Some(follower) = &mut self.follower else { return None };
        let Taken { settings, is_ruled, is_held, voice } = taken;
        let log_voice = match follower.voice(community.id, &self.store) {
            Ok(voice) => voice,
            Err(error) => {
                tracing::error!("cannot read in whose name the relay speaks: {error}");
                self.lose_place(None);
                return None;
            }
        };
        let event = checked.map(|checked| -> &Event { &checked.event });
        let hearing = hear(voice, log_voice, Voice::of(community), event);
        let refuse = |rule, sentence: &str| {
            let Some(checked) = checked else { return };
            let outcome = Outcome::Refused(Refusal::new(Prefix::Error, rule, sentence.to_owned()));
            outcome.count_in(&checked.community.traffic);
            checked.reply.send(&checked.event.id, outcome);
        };
        match hearing {
            Hearing::Deaf => {
                refuse("cluster.key", "this node cannot follow the cluster's log; use another one");
                follower.log.halt(format!(
                    "{}: other nodes speak with another key of the relay's own, or have groups or members where this one has \
                     none: name the same key in relay.secret_key_file, and set nip29.enabled and nip43.enabled as there, \
                     then start it again (docs/cluster.md)",
                    community.path()
                ));
                self.lose_place(None);
                return None;
            }
            Hearing::Stray => {
                refuse(
                    "cluster.key",
                    "this node's key of the relay's own, or its groups, are not those of the cluster; use another node",
                );
                return None;
            }
            Hearing::Leads => follower.goes_by(voice, community.id),
            Hearing::Counts => {}
        }
        let rules = if is_ruled { follower.rulebook.find(settings, &community.known()) } else { None };
        if is_ruled && rules.is_none() {
            follower.log.forgotten(settings);
            refuse("cluster.settings", "the cluster has yet to learn the settings of this node; try again");
            return None;
        }
        Some(Placing::There { position: position.unwrap_or_default(), rules, is_held, voice })
    }

    fn abandon(&mut self, gathering: Gathering) {
        let Gathering { mut placed, mut pending, .. } = gathering;
        fail(&mut placed, &mut pending, &StoreError::Stopped { path: self.store.path().to_owned() });
    }

    /// Commits what an entry changes, and its position with it.
    fn commit_entry(
        &mut self,
        mut group: Group,
        position: Option<u64>,
        after: After,
    ) -> Result<(), StoreError> {
        self.write_position(position, &mut group);
        match self.store.commit(group) {
            Ok(_) => {
                self.stored(position);
                Ok(())
            }
            Err(error) => {
                tracing::error!("cannot store an entry of the cluster's log: {error}");
                self.note_failure(&error, Some(after));
                self.lose_place(position);
                Err(error)
            }
        }
    }

    /// Removes events, as far as they are there; how many were. `None` when the store failed.
    fn remove_ids(&mut self, community: &Arc<Community>, ids: &[Id], position: Option<u64>) -> Option<usize> {
        let removes: Vec<InIndex> = {
            let index = community.index();
            ids.iter().filter_map(|id| index.stored_as(id)).collect()
        };
        let mut group = Group::default();
        removes.iter().for_each(|stored| group.remove(community.id, stored.location));
        let after = After::Forget(Arc::clone(community), removes.clone());
        self.commit_entry(group, position, after).ok()?;
        self.forget(community, &removes);
        Some(removes.len())
    }

    fn decide(&mut self, mut decision: Decided, taken: Taken, position: Option<u64>) {
        let community = Arc::clone(&decision.community);
        let placing = self.placing(&community, taken, position, None);
        let (Some(follower), Some(placing)) = (&mut self.follower, placing) else {
            return decision.refuse(self.store.path());
        };
        let mut gathering = Gathering::default();
        gathering.go_by(&placing);
        gathering.position = position;
        if let Err(error) = decision.write(&mut follower.records, &self.store, &mut gathering.state) {
            self.lose_place(None);
            return decision.fail(error);
        }
        let now = decision.now;
        std::mem::take(&mut decision.acts).into_iter().for_each(|act| gathering.act(&community, act, now));
        if !decision.changes.is_empty() {
            gathering.decide(&community, decision.changes.clone(), now);
            gathering.pending(&community, now).is_left_to_caller = !community.has_members();
        }
        match self.make_safe(gathering) {
            Ok(safe) => safe.into_iter().for_each(|safe| self.publish(safe)),
            Err(error) => {
                // Its number may be taken or not.
                self.follower.iter_mut().for_each(|follower| follower.records.clear());
                return decision.fail(error);
            }
        }
        if decision.take_effect()
            && let Some(follower) = &self.follower
        {
            follower.log.settings_changed.send_modify(|times| *times += 1);
        }
    }

    fn learn_rules(&mut self, digest: u64, text: &str, position: Option<u64>) {
        let Some(follower) = &mut self.follower else { return };
        let mut group = Group::default();
        // Its reader has seen that this version understands it.
        if !follower.rulebook.add(digest, text, position.unwrap_or(0), &mut group) {
            return self.lose_place(None);
        }
        // Where it fails it comes again.
        let _ = self.commit_entry(group, position, After::Publish(Vec::new(), Vec::new()));
    }

    /// Adds to a group up to where in the log it is.
    pub(in crate::pipeline) fn write_position(&self, position: Option<u64>, group: &mut Group) {
        if let (Some(follower), Some(position)) = (&self.follower, position) {
            follower.write(position, group);
        }
    }

    /// A group is stored.
    pub(in crate::pipeline) fn stored(&mut self, position: Option<u64>) {
        if let (Some(follower), Some(position)) = (&mut self.follower, position) {
            follower.is_at(position, true);
        }
    }

    /// Entries went by that changed nothing.
    pub(in crate::pipeline) fn passed(&mut self, position: Option<u64>) {
        let (Some(follower), Some(position)) = (&mut self.follower, position) else { return };
        follower.position = follower.position.max(position);
        // A backup of a node that has begun a log says so.
        if follower.written == 0 || follower.position >= follower.written + UNWRITTEN_MAX {
            self.note_position();
        }
        if let Some(follower) = &mut self.follower {
            follower.is_at(position, false);
        }
    }

    /// Has the store say where the log was left, if it does not.
    pub(in crate::pipeline) fn note_position(&mut self) {
        let Some(follower) = &mut self.follower else { return };
        if follower.position == follower.written || self.trouble.is_some() {
            return;
        }
        let mut group = Group::default();
        follower.write(follower.position, &mut group);
        match self.store.commit(group) {
            Ok(_) => follower.is_at(follower.position, true),
            // What follows is only read again.
            Err(error) => {
                tracing::error!("cannot store where the cluster's log was left: {error}");
                end_if_halfway(&error);
            }
        }
    }

    /// A group that ends there could not be stored: nothing counts but what is read anew from the last one.
    pub(in crate::pipeline) fn lose_place(&mut self, position: Option<u64>) {
        let Some(follower) = &mut self.follower else { return };
        follower.lost = position;
        follower.voices.clear();
        follower.unwritten.clear();
        follower.reading += 1;
        let reading = Reading { number: follower.reading, after: follower.position };
        follower.log.reading.send_replace(reading);
    }

    /// The group that could not be stored is there after all.
    pub(in crate::pipeline) fn find_place(&mut self) {
        if let Some(follower) = &mut self.follower
            && let Some(position) = follower.lost.take()
        {
            follower.is_at(position, true);
        }
    }
}
