//! What is counted of plugins: how much they were asked, what they said, how long that took. In: what happens.
//! Out: numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is counted of one plugin; counts go on when it is started anew.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) asked: Count,
    pub(crate) accepted: Count,
    pub(crate) rejected: Count,
    pub(crate) shadow_rejected: Count,
    pub(crate) timed_out: Count,
    /// Events of which it said nothing because it was not there.
    pub(crate) unanswered: Count,
    /// Lines that are no answer, or none to what was asked.
    pub(crate) nonsense: Count,
    /// Times that it was started.
    pub(crate) started: Count,
    /// Microseconds from requests to their answers.
    pub(crate) answer_micros: Count,
    /// How many requests it has before it now.
    pub(crate) in_flight: AtomicU64,
    /// How many wait for it now.
    pub(crate) waiting: AtomicU64,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one plugin at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Numbers {
    /// Requests.
    pub asked: u64,
    /// What became of them, by name.
    pub verdicts: [(&'static str, u64); 5],
    /// Lines that were no answers.
    pub nonsense: u64,
    /// Times that it was started.
    pub started: u64,
    /// Seconds from requests to their answers, all together.
    pub answer_seconds: f64,
    /// How many answers that were.
    pub answers: u64,
    /// Requests that it has before it.
    pub in_flight: u64,
    /// Events that wait for it.
    pub waiting: u64,
}

impl Counts {
    pub(crate) fn answered(&self, after: Duration) {
        self.answer_micros.add(u64::try_from(after.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn set_now(&self, in_flight: usize, waiting: usize) {
        self.in_flight.store(in_flight as u64, Ordering::Relaxed);
        self.waiting.store(waiting as u64, Ordering::Relaxed);
    }

    pub(crate) fn numbers(&self) -> Numbers {
        let verdicts = [
            ("accept", self.accepted.get()),
            ("reject", self.rejected.get()),
            ("shadow_reject", self.shadow_rejected.get()),
            ("timeout", self.timed_out.get()),
            ("dead", self.unanswered.get()),
        ];
        Numbers {
            asked: self.asked.get(),
            answers: verdicts[..3].iter().map(|(_, number)| number).sum(),
            verdicts,
            nonsense: self.nonsense.get(),
            started: self.started.get(),
            answer_seconds: self.answer_micros.get() as f64 / 1e6,
            in_flight: self.in_flight.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }
}
