//! Turns: the verify pool mixes events, and here they are put back in order. In: events with their turns. Out: events in
//! the order in which they were submitted. Never decides anything.

use std::collections::VecDeque;

use super::writer::Checked;

/// Puts events back in the order in which they were submitted. What waits is bounded by what is under way.
#[derive(Default)]
pub(super) struct Turns {
    next: u64,
    /// From `next` on; the inner `None` is an event that was refused.
    waiting: VecDeque<Option<Option<Checked>>>,
}

impl Turns {
    pub(super) fn add(&mut self, turn: u64, checked: Option<Checked>) {
        // A turn comes once, and is never before the next one.
        let at = (turn - self.next) as usize;
        if self.waiting.len() <= at {
            self.waiting.resize_with(at + 1, || None);
        }
        self.waiting[at] = Some(checked);
    }

    /// The next event whose turn it is.
    pub(super) fn take(&mut self) -> Option<Checked> {
        while let Some(Some(_)) = self.waiting.front() {
            self.next += 1;
            if let Some(Some(Some(checked))) = self.waiting.pop_front() {
                return Some(checked);
            }
        }
        None
    }
}
