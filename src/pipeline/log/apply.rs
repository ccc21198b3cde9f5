//! The writer's side of the log: it does what entries say, in the stream's order, and keeps in each group up to where
//! they are in it. In: entries. Out: the same store on every node. What decides comes from the entry and the store
//! alone: no clock is read here, nor a setting of this node.
//!
//! When a group cannot be stored nothing after it counts: the log is read again from the last one that is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::rulebook::{Rulebook, write};
use super::{Entry, Log, Place, Placing, Reading, STATE, What};
use crate::community::Community;
use crate::config::Settings;
use crate::event::Id;
use crate::index::Stored as InIndex;
use crate::pipeline::trouble::end_if_halfway;
use crate::pipeline::writer::{After, Gathering, Writer, fail};
use crate::pipeline::{Outcome, Reply};
use crate::rule::{Prefix, Refusal};
use crate::store::{CommunityId, Group, Store, StoreError};

/// The entry of the state that says how far the store is, and in which stream.
const POSITION: &[u8] = b"position";

/// Entries that changed nothing and go by before their position is written for their own sake.
const UNWRITTEN_MAX: u64 = 1_024;

/// What a store knows of the log.
pub(super) struct Stored {
    position: Option<(u64, u64)>,
    rulebook: Rulebook,
}

impl Stored {
    pub(super) fn read(store: &Store) -> Result<Stored, StoreError> {
        let entry = store.state_entry(CommunityId(0), STATE, POSITION)?;
        let numbers = entry.as_deref().and_then(|value| value.split_first_chunk::<8>());
        let position = numbers.and_then(|(position, stream)| {
            Some((u64::from_le_bytes(*position), u64::from_le_bytes(stream.try_into().ok()?)))
        });
        Ok(Stored { position, rulebook: Rulebook::load(store)? })
    }

    /// Up to where it is; 0 where it has not begun.
    pub(super) fn position(&self) -> u64 {
        self.position.map_or(0, |(position, _)| position)
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
        }
    }

    fn write(&self, position: u64, group: &mut Group) {
        let stream = self.log.stream.load(Ordering::Acquire);
        let value = [position.to_le_bytes(), stream.to_le_bytes()].concat();
        group.put_state(CommunityId(0), STATE, POSITION, &value);
    }

    fn is_at(&mut self, position: u64, is_written: bool) {
        self.position = self.position.max(position);
        if is_written {
            self.written = self.written.max(position);
        }
        self.log.applied.send_if_modified(|applied| {
            let is_new = *applied < position;
            *applied = position.max(*applied);
            is_new
        });
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
    fn leave(self, store: &std::path::Path) {
        match self {
            What::Event { checked, .. } => {
                let sentence = "the relay could not store this event; try again later";
                let refusal = Refusal::new(Prefix::Error, "store.commit", sentence);
                checked.reply.send(&checked.event.id, Outcome::Refused(refusal));
            }
            What::Remove { done, .. } => drop(done.map(|done| done.send(0))),
            What::Decide(decision) => decision.refuse(store),
            What::Rules { .. } | What::Nothing => {}
        }
    }
}

impl Writer {
    /// Does what an entry says.
    pub(in crate::pipeline) fn follow(&mut self, entry: Entry, gathering: &mut Gathering) {
        let Entry { at, what, _room } = entry;
        let Some(follower) = &self.follower else { return };
        if let Some(Place { position, reading }) = at {
            let passed = gathering.position.unwrap_or(0).max(follower.position);
            if reading != follower.reading || position <= passed {
                return what.leave(self.store.path());
            }
            if self.trouble.is_some() {
                what.leave(self.store.path());
                return self.lose_place(None);
            }
        }
        if !matches!(what, What::Event { .. } | What::Nothing) {
            self.commit(std::mem::take(gathering));
            if !self.reads(at) {
                return what.leave(self.store.path());
            }
        }
        let position = at.map(|at| at.position);
        match what {
            What::Event { checked, settings, is_ruled } => {
                let mut checked = *checked;
                if position.is_some() && !self.rule(&mut checked, settings, is_ruled) {
                    gathering.position = position;
                    return;
                }
                self.place(checked, gathering);
                if !self.reads(at) {
                    // What was gathered stands on what could not be stored.
                    return self.abandon(std::mem::take(gathering));
                }
                gathering.seen += usize::from(!gathering.placed.is_empty());
                gathering.position = position.or(gathering.position);
            }
            What::Nothing => gathering.position = position,
            What::Remove { community, ids, done } => {
                let removed = self.remove_ids(&community, &ids, position);
                let _ = done.map(|done| done.send(removed));
            }
            What::Decide(decision) => self.decide(decision, position),
            What::Rules { digest, text } => self.learn_rules(digest, &text, position),
        }
    }

    /// Whether the reading in which an entry came still counts.
    fn reads(&self, at: Option<Place>) -> bool {
        at.is_none_or(|at| self.follower.as_ref().is_some_and(|follower| follower.reading == at.reading))
    }

    /// Says by which rules an event is placed. False, with an answer, when they are not known: then it counts nowhere.
    fn rule(&mut self, checked: &mut super::Checked, settings: u64, is_ruled: bool) -> bool {
        let Some(follower) = &mut self.follower else { return true };
        if matches!(checked.reply, Reply::Answered) {
            follower.compare(&checked.community, settings);
        }
        if !is_ruled {
            checked.placing = Placing::Free;
            return true;
        }
        match follower.rulebook.find(settings, &checked.community.known().moderation) {
            Some(rules) => {
                checked.placing = Placing::By(rules);
                true
            }
            None => {
                follower.log.forgotten(settings);
                let sentence = "the cluster has yet to learn the settings of this node; try again";
                let outcome = Outcome::Refused(Refusal::new(Prefix::Error, "cluster.settings", sentence));
                outcome.count_in(&checked.community.traffic);
                checked.reply.send(&checked.event.id, outcome);
                false
            }
        }
    }

    fn abandon(&mut self, gathering: Gathering) {
        let Gathering { mut placed, .. } = gathering;
        fail(&mut placed, &StoreError::Stopped { path: self.store.path().to_owned() });
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

    fn remove_ids(&mut self, community: &Arc<Community>, ids: &[Id], position: Option<u64>) -> usize {
        let removes: Vec<InIndex> = {
            let index = community.index();
            ids.iter().filter_map(|id| index.stored_as(id)).collect()
        };
        let mut group = Group::default();
        removes.iter().for_each(|stored| group.remove(community.id, stored.location));
        let after = After::Forget(Arc::clone(community), removes.clone());
        if self.commit_entry(group, position, after).is_err() {
            return 0;
        }
        self.forget(community, &removes);
        removes.len()
    }

    fn decide(&mut self, mut decision: crate::admin::Decided, position: Option<u64>) {
        let Some(follower) = &mut self.follower else { return };
        let mut group = Group::default();
        let written = decision.write(&mut follower.records, &self.store, &mut group);
        let done = written.and_then(|()| self.commit_entry(group, position, After::Decide));
        if let Err(error) = done {
            // Its number may be taken or not.
            self.follower.iter_mut().for_each(|follower| follower.records.clear());
            return decision.fail(error);
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
        let _ = self.commit_entry(group, position, After::Decide);
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
        follower.is_at(position, false);
        if follower.position >= follower.written + UNWRITTEN_MAX {
            self.note_position();
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
            Ok(_) => follower.written = follower.position,
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
