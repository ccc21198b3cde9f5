//! What a community was sent and asked since the relay started, in numbers that only grow. In: what happened. Out:
//! counts. Never says who.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of one community.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Events that were stored.
    pub stored: Count,
    /// Ephemeral events that were passed on.
    pub passed_on: Count,
    /// Copies of what was stored before.
    pub duplicates: Count,
    /// Versions older than the stored one.
    pub superseded: Count,
    /// Events that were refused.
    pub refused: Count,
    /// REQs that were answered.
    pub requests: Count,
    /// COUNTs that were answered.
    pub counts: Count,
    /// REQs and COUNTs that were refused.
    pub requests_refused: Count,
    /// Stored events that were sent as answers.
    pub answered: Count,
    /// Events that were sent live.
    pub delivered: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, number: usize) {
        self.0.fetch_add(number as u64, Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Traffic {
    /// All counts, by what they are of.
    pub fn all(&self) -> [(&'static str, u64); 10] {
        [
            ("stored", self.stored.get()),
            ("passed_on", self.passed_on.get()),
            ("duplicates", self.duplicates.get()),
            ("superseded", self.superseded.get()),
            ("refused", self.refused.get()),
            ("requests", self.requests.get()),
            ("counts", self.counts.get()),
            ("requests_refused", self.requests_refused.get()),
            ("answered", self.answered.get()),
            ("delivered", self.delivered.get()),
        ]
    }
}
