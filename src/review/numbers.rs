//! What is counted of a community's moderation service. In: what happens. Out: numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::wire::Action;
use crate::community::Counter;

/// Counts of one service since the relay started.
#[derive(Debug, Default)]
pub struct Numbers {
    /// Events that it was sent.
    pub sent: Counter,
    /// Requests to it.
    pub requests: Counter,
    /// Those that failed.
    pub failures: Counter,
    /// Events that it was not sent, as it was too far behind.
    pub passed_over: Counter,
    verdicts: [Counter; Action::ALL.len()],
    shadowed: [Counter; Action::ALL.len()],
    backlog: AtomicU64,
    /// Below which number of the store all that waits is counted in it.
    counted_until: AtomicU64,
    /// Since when there is a backlog, in seconds since 1970; 0 while there is none.
    behind_since: AtomicU64,
}

impl Numbers {
    /// Counts a verdict; whether it only would have counted.
    pub(crate) fn verdict(&self, action: Action, is_shadow: bool) {
        let counts = if is_shadow { &self.shadowed } else { &self.verdicts };
        let at = Action::ALL.iter().position(|(_, one)| *one == action);
        at.into_iter().for_each(|at| counts[at].add(1));
    }

    /// Below which number all that waits is counted, and how much that is.
    pub(crate) fn counted(&self) -> (u64, u64) {
        (self.counted_until.load(Ordering::Relaxed), self.backlog.load(Ordering::Relaxed))
    }

    /// Notes how much waits to be sent, below a number.
    pub(crate) fn note_backlog(&self, events: u64, until: u64, now: u64) {
        self.backlog.store(events, Ordering::Relaxed);
        self.counted_until.store(until, Ordering::Relaxed);
        match (events, self.behind_since.load(Ordering::Relaxed)) {
            (0, _) => self.behind_since.store(0, Ordering::Relaxed),
            (_, 0) => self.behind_since.store(now, Ordering::Relaxed),
            _ => {}
        }
    }

    /// There is no service any more.
    pub(crate) fn idle(&self) {
        self.note_backlog(0, 0, 0);
    }

    /// Verdicts that counted, by name, or those that would have.
    pub fn verdicts(&self, is_shadow: bool) -> Vec<(String, u64)> {
        let counts = if is_shadow { &self.shadowed } else { &self.verdicts };
        let each = Action::ALL.iter().zip(counts);
        each.map(|((name, _), count)| ((*name).to_owned(), count.get())).collect()
    }

    /// Stored events that wait to be looked at and sent; some of them may be of kinds that are not.
    pub fn backlog(&self) -> u64 {
        self.backlog.load(Ordering::Relaxed)
    }

    /// For how many seconds there has been a backlog.
    pub fn behind_seconds(&self, now: u64) -> u64 {
        match self.behind_since.load(Ordering::Relaxed) {
            0 => 0,
            since => now.saturating_sub(since),
        }
    }
}
