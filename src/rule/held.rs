//! Events that wait for a verdict of the moderation service. In: the writer, which holds and releases them; the store,
//! at a start. Out: look-ups. The one part of what rules know that changes in place: it is as large as what waits, and
//! changes with every group.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::event::Id;

/// Events that may be held in a community; beyond it those to be held are refused.
pub const HELD_MAX: usize = 100_000;

/// Held events, and since when, in seconds since 1970.
#[derive(Debug, Default)]
pub struct Held(RwLock<HashMap<Id, u64>>);

impl Held {
    fn read(&self) -> RwLockReadGuard<'_, HashMap<Id, u64>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Id, u64>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an event is held.
    pub fn has(&self, id: &Id) -> bool {
        let held = self.read();
        !held.is_empty() && held.contains_key(id)
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those that have been held since before a time, up to so many.
    pub fn older_than(&self, time: u64, most: usize) -> Vec<Id> {
        let held = self.read();
        held.iter().filter(|(_, since)| **since < time).take(most).map(|(id, _)| *id).collect()
    }

    /// Holds an event.
    pub(crate) fn hold(&self, id: Id, since: u64) {
        self.write().insert(id, since);
    }

    /// Holds it no more.
    pub(crate) fn release(&self, id: &Id) {
        self.write().remove(id);
    }

    /// Holds these and no others.
    pub(crate) fn replace(&self, held: HashMap<Id, u64>) {
        *self.write() = held;
    }
}
