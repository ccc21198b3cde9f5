//! What was sent and what was answered, and what follows from it after a crash: which events must be
//! there, which must not, and of which either may be true because their fate was never told.

use std::collections::{HashMap, HashSet};

use plaza::event::{Event, PublicKey};

use crate::writer::Sent;

/// Events of one writer that the next round may still delete.
const RECENT: usize = 100;

#[derive(Default)]
pub(crate) struct Ledger {
    sent: Vec<(u32, Sent)>,
    round_began: usize,
    recent: HashSet<plaza::event::Id>,
}

/// What takes other events away. Each person's events have times of their own, in the order in which
/// they were made, and requests name earlier events of the same person only.
#[derive(Default)]
pub(crate) struct Removers {
    /// The newest version of each address.
    newest: HashMap<String, u64>,
    ids: HashSet<String>,
    addresses: HashMap<String, u64>,
    vanished: HashMap<PublicKey, u64>,
}

fn raise<K: std::hash::Hash + Eq>(times: &mut HashMap<K, u64>, key: K, time: u64) {
    let latest = times.entry(key).or_insert(time);
    *latest = time.max(*latest);
}

impl Removers {
    /// Takes an event into account.
    pub(crate) fn add(&mut self, event: &Event) {
        if let Some(address) = event.address() {
            raise(&mut self.newest, address, event.created_at);
        }
        if event.kind.0 == 5 {
            self.ids.extend(event.tags.values("e").map(str::to_owned));
            for address in event.tags.values("a") {
                raise(&mut self.addresses, address.to_owned(), event.created_at);
            }
        }
        if event.kind.0 == 62 {
            raise(&mut self.vanished, event.pubkey, event.created_at);
        }
    }

    /// Whether one of them takes this event away.
    pub(crate) fn remove(&self, event: &Event) -> bool {
        let is_before = |time: Option<&u64>| time.is_some_and(|time| event.created_at < *time);
        let by_address = event.address().is_some_and(|address| {
            is_before(self.newest.get(&address)) || is_before(self.addresses.get(&address))
        });
        let is_request = matches!(event.kind.0, 5 | 62);
        by_address
            || !is_request && self.ids.contains(&event.id.to_string())
            || event.kind.0 != 62 && is_before(self.vanished.get(&event.pubkey))
    }
}

impl Ledger {
    /// What is added from now on is of a new round.
    pub(crate) fn begin_round(&mut self) {
        self.round_began = self.sent.len();
    }

    /// Writes down what a writer sent.
    pub(crate) fn add(&mut self, who: u32, sent: Vec<Sent>) {
        self.sent.extend(sent.into_iter().map(|sent| (who, sent)));
        self.recent = self.sent[self.round_began..].iter().map(|(_, sent)| sent.event.id).collect();
    }

    /// Whether an event is of the last round.
    pub(crate) fn is_recent(&self, event: &Event) -> bool {
        self.recent.contains(&event.id)
    }

    /// The last events of a writer.
    pub(crate) fn recent_of(&self, who: u32) -> Vec<Event> {
        let own = self.sent.iter().rev().filter(|(writer, _)| *writer == who);
        let mut own: Vec<Event> = own.take(RECENT).map(|(_, sent)| sent.event.clone()).collect();
        own.reverse();
        own
    }

    /// How many events were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.sent.iter().filter(|(_, sent)| sent.accepted == Some(true)).count()
    }

    /// The events that must be there, and those that must not.
    pub(crate) fn kept_and_gone(&self) -> (Vec<&Event>, Vec<&Event>) {
        let (mut did, mut may) = (Removers::default(), Removers::default());
        for (_, sent) in &self.sent {
            if sent.accepted == Some(true) {
                did.add(&sent.event);
            }
            // What was refused changed nothing; what was not answered may have.
            if sent.accepted != Some(false) {
                may.add(&sent.event);
            }
        }
        let all = || self.sent.iter().map(|(_, sent)| sent);
        let kept = all().filter(|sent| sent.accepted == Some(true) && !may.remove(&sent.event));
        let gone = all().filter(|sent| did.remove(&sent.event));
        (kept.map(|sent| &sent.event).collect(), gone.map(|sent| &sent.event).collect())
    }
}
