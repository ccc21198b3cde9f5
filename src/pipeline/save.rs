//! When indexes are saved: after enough has changed, and when the relay stops. In: how much changed. Out:
//! snapshots that the store names. The writer alone calls it, between two groups: an index then is just what
//! the store holds. Files are made safe by a thread of their own, while the writer goes on.

use std::sync::Arc;
use std::thread::JoinHandle;

use crate::community::snapshot::{self, Form, Written};
use crate::community::{Communities, Community};
use crate::config;
use crate::store::{Group, Store};

/// Indexes are saved when this part of all events has come or gone, if that is more than the setting: a large
/// store is not written all the time.
const CHANGES_PART: usize = 8;

/// When the relay stops, this part of what would be needed is enough: its next start is likely to be soon.
const CHANGES_PART_AT_STOP: usize = 100;

/// Snapshots that are being made safe, and the group that they are as of.
struct Saving {
    group: u64,
    thread: JoinHandle<std::io::Result<Vec<Written>>>,
}

pub(super) struct Saver {
    communities: Arc<Communities>,
    store: Arc<Store>,
    events_min: usize,
    changes_min: usize,
    /// Events that came or went since the last snapshots.
    changes: usize,
    saving: Option<Saving>,
}

impl Saver {
    pub(super) fn new(communities: Arc<Communities>, store: Arc<Store>, settings: &config::Store) -> Saver {
        let changes = communities.in_memory().map(|community| community.caught_up_with).sum();
        let (events_min, changes_min) = (settings.index_save_events_min, settings.index_save_changes_min);
        Saver { communities, store, events_min, changes_min, changes, saving: None }
    }

    /// How many changes make it worth to save.
    fn changes_due(&self) -> usize {
        let events: usize = self.communities.in_memory().map(|community| community.index().len()).sum();
        self.changes_min.max(events / CHANGES_PART)
    }

    /// Counts events that came or went with a group, and saves when it is time.
    pub(super) fn changed(&mut self, events: usize) {
        self.changes += events;
        if self.saving.as_ref().is_some_and(|saving| saving.thread.is_finished()) {
            self.finish();
        }
        // The setting alone tells most of the time that nothing is due.
        if self.changes >= self.changes_min && self.saving.is_none() && self.changes >= self.changes_due() {
            self.begin(Form::Plain);
        }
    }

    /// The relay stops: what is under way is finished, and what changed is saved. Nobody waits for the writer any
    /// more, so there is time to compress.
    pub(super) fn stop(mut self) {
        self.finish();
        if self.changes > self.changes_due() / CHANGES_PART_AT_STOP {
            self.begin(Form::Compressed);
            self.finish();
        }
    }

    /// Writes the snapshots and has them made safe.
    fn begin(&mut self, form: Form) {
        self.changes = 0;
        let group = self.store.groups();
        let is_large = |community: &Arc<Community>| community.index().len() >= self.events_min;
        let written = self
            .communities
            .in_memory()
            .filter(is_large)
            .map(|community| snapshot::write(&self.store, community.id, &community.index(), form));
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
        // Also those of communities that were not opened: what was removed since them is about to be forgotten.
        let unopened = self.communities.unopened().into_iter();
        let known = self.communities.in_memory().map(|community| community.id);
        known.chain(unopened).for_each(|id| snapshot::forget(id, &mut naming));
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
