//! Room for events that are under way. In: who needs it. Out: permits, which give it back when they are dropped.
//! Sessions wait for theirs; the verify pool waits for the writer, so that events queue where everybody has a turn
//! and not in front of the writer, where first come is first served.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

/// What an event holds until it is answered. What an operator brings needs none of its own.
#[derive(Debug, Default)]
pub struct Permits {
    /// Of its connection, in number, and of all, in bytes.
    room: Option<[OwnedSemaphorePermit; 2]>,
    /// On its way from the verify pool through the writer.
    passage: Option<Passage>,
}

impl Permits {
    /// Room of its connection, and of all.
    pub(crate) fn new(of_connection: OwnedSemaphorePermit, of_all: OwnedSemaphorePermit) -> Permits {
        Permits { room: Some([of_connection, of_all]), passage: None }
    }

    /// What it has of the room of all; the rest is given back.
    pub(super) fn into_shared(self) -> Option<OwnedSemaphorePermit> {
        self.room.map(|[_, of_all]| of_all)
    }

    /// It leaves the way from the verify pool through the writer.
    pub(super) fn leave(&mut self) {
        self.passage = None;
    }

    pub(super) fn pass(&mut self, passage: Passage) {
        self.passage = Some(passage);
    }
}

/// How many events are between the verify pool and their answer.
#[derive(Debug)]
pub(super) struct Passages {
    most: usize,
    taken: AtomicUsize,
    /// Held by who waits while it looks, and by who ends the waiting: so nobody falls asleep in between.
    waiting: Mutex<()>,
    freed: Condvar,
}

/// One of them, while it lives.
#[derive(Debug)]
pub(super) struct Passage(Arc<Passages>);

impl Passages {
    pub(super) fn new(most: usize) -> Passages {
        Passages { most, taken: AtomicUsize::new(0), waiting: Mutex::new(()), freed: Condvar::new() }
    }

    fn is_full(&self) -> bool {
        self.taken.load(Ordering::SeqCst) >= self.most
    }

    /// Waits until there is room. Each thread of the pool may then take a batch, and so exceed it by as much.
    pub(super) fn wait(&self) {
        if !self.is_full() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while self.is_full() {
            waiting = self.freed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn enter(self: &Arc<Self>) -> Passage {
        self.taken.fetch_add(1, Ordering::SeqCst);
        Passage(Arc::clone(self))
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let Passages { most, taken, waiting, freed } = &*self.0;
        if taken.fetch_sub(1, Ordering::SeqCst) == *most {
            drop(waiting.lock().unwrap_or_else(PoisonError::into_inner));
            freed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_room_waits_until_one_has_left() {
        let passages = Arc::new(Passages::new(2));
        let mut held = vec![passages.enter()];
        passages.wait();
        // Two threads found room at the same moment.
        held.extend([passages.enter(), passages.enter()]);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| passages.wait());
            held.pop();
            assert!(!waits.is_finished(), "two are still there");
            held.pop();
            waits.join().expect("it goes on");
        });
        drop(held);
        assert_eq!(passages.taken.load(Ordering::SeqCst), 0);
    }
}
