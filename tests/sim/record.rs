//! What happened in a round, step by step: what clients sent and heard, and when things took effect in the relay.

use std::collections::BTreeMap;

use plaza::event::{Event, Id, PublicKey};
use serde_json::Value;

/// What changed what the relay knows, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// Events with numbers below this one were stored.
    Stored(u64),
    /// What expired or vanished was removed.
    Swept,
    /// An author was banned, or is no longer.
    Author(PublicKey, bool),
    /// An event was banned.
    Event(Id),
}

/// How far the relay was after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// Changes so far.
    pub(crate) changes: usize,
    /// Events passed on so far, or looked at for it.
    pub(crate) passed_on: usize,
}

/// An event that a client sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) client: usize,
    pub(crate) event: Event,
    pub(crate) is_true: bool,
    pub(crate) at: usize,
    /// When the answer came, and what it was: accepted or not, and the prefix.
    pub(crate) answer: Option<(usize, bool, String)>,
}

/// A REQ.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) client: usize,
    pub(crate) filters: Vec<Value>,
    pub(crate) at: usize,
    /// What came before EOSE.
    pub(crate) stored: Vec<Id>,
    /// When EOSE came.
    pub(crate) eose: Option<usize>,
    /// What came after it.
    pub(crate) live: Vec<Id>,
    /// When the relay closed it, and with which prefix.
    pub(crate) closed: Option<(usize, String)>,
    /// Whether its client has sent CLOSE.
    pub(crate) is_left: bool,
    /// Whether the relay is known to have read that.
    pub(crate) is_silent: bool,
}

/// A COUNT.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) client: usize,
    pub(crate) filters: Vec<Value>,
    pub(crate) at: usize,
    /// When it was answered, and the number, or the prefix of CLOSED.
    pub(crate) answer: Option<(usize, Result<u64, String>)>,
}

/// A key that a client proves.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) key: PublicKey,
    pub(crate) id: String,
    pub(crate) at: usize,
    pub(crate) accepted: Option<usize>,
}

/// What is known of a client.
#[derive(Debug, Default)]
pub(crate) struct Person {
    pub(crate) proofs: Vec<Proof>,
    /// Whether its connection has ended, for whatever reason.
    pub(crate) is_gone: bool,
}

/// All that happened in a round.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) marks: Vec<Mark>,
    pub(crate) changes: Vec<Change>,
    pub(crate) people: Vec<Person>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) asked: BTreeMap<String, Asked>,
    pub(crate) counted: BTreeMap<String, Counted>,
    /// What was passed on in this round, and its number.
    pub(crate) passed_on: Vec<(Id, Option<u64>)>,
    /// Numbers below this one are those of events that are stored.
    pub(crate) stored_below: u64,
    /// Events that the relay had passed on before.
    pub(crate) passed_on_before: usize,
}

impl Record {
    /// The step that comes next.
    pub(crate) fn now(&self) -> usize {
        self.marks.len()
    }

    /// How far the relay was before a step.
    pub(crate) fn before(&self, step: usize) -> Mark {
        step.checked_sub(1).map_or(Mark { changes: 0, passed_on: 0 }, |before| self.marks[before])
    }

    /// How far the relay was after a step.
    pub(crate) fn after(&self, step: usize) -> Mark {
        self.marks[step.min(self.marks.len() - 1)]
    }

    /// The step in which an event was passed on.
    pub(crate) fn step_of(&self, passed_on: usize) -> usize {
        self.marks.partition_point(|mark| mark.passed_on <= passed_on)
    }

    /// The keys that a client may have proved when the relay did something in these steps: at least the first ones,
    /// at most all.
    pub(crate) fn keys(&self, client: usize, from: usize, to: usize) -> Vec<Vec<PublicKey>> {
        let proofs = &self.people[client].proofs;
        let sure = proofs.iter().take_while(|proof| proof.accepted.is_some_and(|at| at < from)).count();
        let possible = proofs.iter().filter(|proof| proof.at <= to).count();
        let first = |count: usize| proofs[..count].iter().map(|proof| proof.key).collect();
        (sure..=possible.max(sure)).map(first).collect()
    }
}
