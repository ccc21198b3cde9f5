//! What a community's rules refused, or would have refused in shadow mode: counts by rule. In: refusals.
//! Out: numbers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::rule::Refusal;

/// How often a rule spoke since the relay started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Events and queries that it refused.
    pub refused: u64,
    /// Those that it would have refused, or hidden, had it not been in shadow mode.
    pub shadowed: u64,
}

/// Counts by rule id.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<&'static str, Count>>);

impl Tally {
    /// Counts a refusal.
    pub fn refused(&self, refusal: &Refusal) {
        self.change(refusal.rule, |count| count.refused += 1);
    }

    /// Counts what a rule in shadow mode would have refused.
    pub fn shadowed(&self, refusal: &Refusal) {
        self.change(refusal.rule, |count| count.shadowed += 1);
    }

    /// Counts an event that a rule in shadow mode would have hidden from somebody. One event counts each time
    /// that it is shown.
    pub fn would_hide(&self, rule: &'static str) {
        self.change(rule, |count| count.shadowed += 1);
    }

    /// The counts of all rules that spoke.
    pub fn counts(&self) -> BTreeMap<&'static str, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, rule: &'static str, change: impl FnOnce(&mut Count)) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(counts.entry(rule).or_default());
    }
}
