//! When indexes are saved: after enough has changed, and when the relay stops. In: how much changed. Out:
//! snapshots that the store names. The writer alone calls it, between two groups: an index then is just what
//! the store holds. Files are made safe by a thread of their own, while the writer goes on.

use std::sync::Arc;
use std::thread::JoinHandle;

use crate::community::snapshot::{self, Written};
use crate::community::{Communities, Community};
use crate::store::{Group, Store};

/// Communities with fewer events are built from their records, which takes no time.
const EVENTS_MIN: usize = 10_000;

/// Events that came or went before indexes are saved: at least so many, and this part of all, so that a
/// start after a crash has little to catch up with and a large store is not written all the time.
const CHANGES_MIN: usize = 100_000;
const CHANGES_PART: usize = 8;

/// The same when the relay stops.
const CHANGES_AT_STOP_MIN: usize = 1_000;
const CHANGES_AT_STOP_PART: usize = 100;

/// Snapshots that are being made safe, and the group that they are as of.
struct Saving {
    group: u64,
    thread: JoinHandle<std::io::Result<Vec<Written>>>,
}

pub(super) struct Saver {
    communities: Arc<Communities>,
    store: Arc<Store>,
    /// Events that came or went since the last snapshots.
    changes: usize,
    saving: Option<Saving>,
}

impl Saver {
    pub(super) fn new(communities: Arc<Communities>, store: Arc<Store>) -> Saver {
        let changes = communities.iter().map(|community| community.caught_up_with).sum();
        Saver { communities, store, changes, saving: None }
    }

    fn events(&self) -> usize {
        self.communities.iter().map(|community| community.index().len()).sum()
    }

    /// Counts events that came or went with a group, and saves when it is time.
    pub(super) fn changed(&mut self, events: usize) {
        self.changes += events;
        if self.saving.as_ref().is_some_and(|saving| saving.thread.is_finished()) {
            self.finish();
        }
        if self.changes >= CHANGES_MIN
            && self.saving.is_none()
            && self.changes >= self.events() / CHANGES_PART
        {
            self.begin();
        }
    }

    /// The relay stops: what is under way is finished, and what changed is saved.
    pub(super) fn stop(mut self) {
        self.finish();
        if self.changes >= CHANGES_AT_STOP_MIN && self.changes >= self.events() / CHANGES_AT_STOP_PART {
            self.begin();
            self.finish();
        }
    }

    /// Writes the snapshots and has them made safe.
    fn begin(&mut self) {
        self.changes = 0;
        let group = self.store.groups();
        let is_large = |community: &&Arc<Community>| community.index().len() >= EVENTS_MIN;
        let written = self
            .communities
            .iter()
            .filter(is_large)
            .map(|community| snapshot::write(&self.store, community.id, &community.index()));
        let written: std::io::Result<Vec<Written>> = written.collect();
        let make_safe = || {
            let written = written?;
            written.iter().try_for_each(Written::sync)?;
            Ok(written)
        };
        match super::spawn("plaza-save", make_safe) {
            Ok(thread) => self.saving = Some(Saving { group, thread }),
            Err(error) => tracing::warn!("the index is not saved: {error}"),
        }
    }

    /// Waits until the snapshots are safe, and has the store name them.
    fn finish(&mut self) {
        let Some(Saving { group, thread }) = self.saving.take() else { return };
        // A thread that panics ends the process.
        let Ok(written) = thread.join() else { return };
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                tracing::warn!("the index is not saved, so that the next start takes longer: {error}");
                return;
            }
        };
        let mut naming = Group::default();
        for community in self.communities.iter() {
            snapshot::forget(community.id, &mut naming);
        }
        written.iter().for_each(|written| written.name_in(&mut naming));
        match self.store.commit(naming) {
            Ok(_) => {
                self.store.forget_removals_until(group);
                snapshot::remove_others(&self.store, &written);
            }
            Err(error) => {
                tracing::warn!("the index is not saved, so that the next start takes longer: {error}")
            }
        }
    }
}
