//! What groups removed, kept until nobody asks: who saved what the store held as of a group can tell later
//! what of it is gone. Written with each group (`group.rs`), forgotten a little with each later one.

use std::sync::atomic::Ordering;

use super::{CommunityId, Location, Store, StoreError, key, value};

/// Entries that one group forgets at the most: more than it adds, and too few to be felt.
const FORGOTTEN_AT_ONCE_MAX: usize = 64;

impl Store {
    /// What the groups after this one removed, in order of group. Complete only when no later group was
    /// given to [`Store::forget_removals_until`].
    pub fn removed_since(&self, group: u64) -> Result<Vec<(CommunityId, Location)>, StoreError> {
        let mut removed = Vec::new();
        let range = key::removed(group.saturating_add(1), 0)..=key::removed(u64::MAX, u16::MAX);
        for entry in self.tree.range(range) {
            let (key, value) = entry.map_err(|source| self.engine_error("read removals", source))?;
            self.readable(&key, value::read_removed(&value, &mut removed))?;
        }
        Ok(removed)
    }

    /// Nobody will ask what this group and those before it removed: later groups forget it bit by bit.
    pub fn forget_removals_until(&self, group: u64) {
        self.removals_until.store(group, Ordering::Release);
    }

    /// Adds to a batch that some of what nobody asks for is forgotten.
    pub(super) fn forget_removals(&self, batch: &mut sled::Batch) -> Result<(), StoreError> {
        let until = self.removals_until.load(Ordering::Acquire);
        if until == 0 {
            return Ok(());
        }
        let range = key::removed(0, 0)..=key::removed(until, u16::MAX);
        for entry in self.tree.range(range).take(FORGOTTEN_AT_ONCE_MAX) {
            let (key, _) = entry.map_err(|source| self.engine_error("read removals", source))?;
            batch.remove(key);
        }
        Ok(())
    }
}
