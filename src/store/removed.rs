//! What groups removed, kept until nobody asks: who saved what the store held as of a group can tell later
//! what of it is gone. Written with each group (`group.rs`), forgotten a little with each later one, but not
//! what copies need (`copy.rs`).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::copy::{COPIES, Stamp};
use super::group::Changes;
use super::{CommunityId, Location, Store, StoreError, key, value};

/// Entries that one group forgets at the most: more than it adds, and too few to be felt.
const FORGOTTEN_AT_ONCE_MAX: usize = 64;

/// Groups after which a copy is not waited for any longer: its next one must look at everything.
pub(super) const GROUPS_KEPT_MAX: u64 = if cfg!(test) { 5_000 } else { 1_000_000 };

/// The groups since which removals are needed.
#[derive(Debug, Default)]
pub(super) struct Pins(Arc<Mutex<PinnedGroups>>);

#[derive(Debug, Default)]
struct PinnedGroups {
    /// By copies that are being made, and how many these are.
    held: BTreeMap<u64, usize>,
    /// By the newest copy of each folder.
    kept: BTreeMap<Stamp, (Stamp, u64)>,
}

/// While it lives, what was removed since a group is not forgotten.
#[derive(Debug)]
pub(super) struct Pin {
    pins: Arc<Mutex<PinnedGroups>>,
    group: u64,
}

impl Pin {
    pub(super) fn group(&self) -> u64 {
        self.group
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pinned = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = pinned.held.get_mut(&self.group) {
            *count -= 1;
            if *count == 0 {
                pinned.held.remove(&self.group);
            }
        }
    }
}

/// Whether a copy that is as of a group still counts when there have been so many.
fn is_waited_for(group: u64, groups: u64) -> bool {
    groups.saturating_sub(group) <= GROUPS_KEPT_MAX
}

impl Pins {
    fn lock(&self) -> MutexGuard<'_, PinnedGroups> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pin(&self, group: u64) -> Pin {
        *self.lock().held.entry(group).or_default() += 1;
        Pin { pins: Arc::clone(&self.0), group }
    }

    /// As of which group the newest copy of a folder is, if that copy has this stamp, and if what was removed since
    /// is known. The group that counts now is `groups`, and must stay so until the result is pinned.
    pub(super) fn group_of(&self, folder: &Stamp, stamp: &Stamp, groups: u64) -> Option<u64> {
        let pinned = self.lock();
        let (_, group) = pinned.kept.get(folder).filter(|(kept, _)| kept == stamp)?;
        is_waited_for(*group, groups).then_some(*group)
    }

    /// Remembers the newest copy of a folder; returns the folders that are forgotten for it.
    pub(super) fn keep(&self, folder: &Stamp, stamp: &Stamp, group: u64, most: usize) -> Vec<Stamp> {
        let mut pinned = self.lock();
        pinned.kept.insert(*folder, (*stamp, group));
        let mut forgotten = Vec::new();
        loop {
            let oldest = pinned.kept.iter().min_by_key(|(_, (_, group))| *group);
            let Some((&oldest, &(_, kept))) = oldest else { return forgotten };
            if oldest == *folder || pinned.kept.len() <= most && is_waited_for(kept, group) {
                return forgotten;
            }
            pinned.kept.remove(&oldest);
            forgotten.push(oldest);
        }
    }

    /// The oldest group whose later removals are needed.
    fn oldest(&self, groups: u64) -> Option<u64> {
        let pinned = self.lock();
        let kept = pinned.kept.values().map(|(_, group)| *group);
        let kept = kept.filter(|kept| is_waited_for(*kept, groups)).min();
        pinned.held.keys().next().copied().into_iter().chain(kept).min()
    }
}

impl Store {
    /// What the groups after this one removed, in order of group. Complete only when no later group was
    /// given to [`Store::forget_removals_until`].
    pub fn removed_since(&self, group: u64) -> Result<Vec<(CommunityId, Location)>, StoreError> {
        self.removed_between(group, u64::MAX)
    }

    /// What the groups after `group` and up to `last` removed.
    pub(super) fn removed_between(
        &self,
        group: u64,
        last: u64,
    ) -> Result<Vec<(CommunityId, Location)>, StoreError> {
        let mut removed = Vec::new();
        if group >= last {
            return Ok(removed);
        }
        let range = key::removed(group.saturating_add(1), 0)..=key::removed(last, u16::MAX);
        let engine = self.engine()?;
        let mut entries = engine.tree.range(range);
        while let Some(entry) = self.ask_next("read removals", &mut entries) {
            let (key, value) = entry?;
            self.readable(&key, value::read_removed(&value, &mut removed))?;
        }
        Ok(removed)
    }

    /// Nobody will ask what this group and those before it removed: later groups forget it bit by bit, as far
    /// as no copy needs it.
    pub fn forget_removals_until(&self, group: u64) {
        self.removals_until.store(group, Ordering::Release);
    }

    /// Adds to a batch that some of what nobody asks for is forgotten.
    pub(super) fn forget_removals(&self, batch: &mut Changes) -> Result<(), StoreError> {
        let wanted = self.removals_until.load(Ordering::Acquire);
        let until = self.pins.oldest(self.groups()).map_or(wanted, |pinned| pinned.min(wanted));
        if until == 0 {
            return Ok(());
        }
        let range = key::removed(0, 0)..=key::removed(until, u16::MAX);
        let engine = self.engine()?;
        for entry in engine.tree.range(range).take(FORGOTTEN_AT_ONCE_MAX) {
            let (key, _) = entry.map_err(|source| self.engine_error("read removals", source))?;
            batch.remove(&key);
        }
        Ok(())
    }

    /// Reads which copies are remembered.
    pub(super) fn read_copies(&self) -> Result<(), StoreError> {
        for entry in self.state(CommunityId(0), COPIES) {
            let (folder, value) = entry?;
            let parts = value.split_first_chunk().map(|(stamp, group)| (*stamp, <[u8; 8]>::try_from(group)));
            // Whoever finds nothing here makes a copy of everything.
            if let (Ok(folder), Some((stamp, Ok(group)))) = (Stamp::try_from(&folder[..]), parts) {
                self.pins.lock().kept.insert(folder, (stamp, u64::from_be_bytes(group)));
            }
        }
        Ok(())
    }
}
