//! What a relay owes after a power cut, and whether it has it. In: what was sent, what was answered, and what
//! the relay shows when it runs again. Out: each broken promise as a sentence. What was shown counts from then
//! on like what was acknowledged: a start makes everything safe before it answers.

use std::collections::HashMap;

use plaza::event::{Event, Id};
use plaza::nips::nip40;

use crate::ledger::Removers;
use crate::writer::{Sent, now};

/// What expires within so many seconds may be gone when it is looked for.
const LOOK_SECONDS: u64 = 60;

/// Events that a writer may still name in deletions.
const HISTORY: usize = 100;

/// An event and the writer who sent it.
struct Owned {
    who: u32,
    event: Event,
}

#[derive(Default)]
pub(crate) struct Promise {
    /// What the relay showed last.
    kept: HashMap<Id, Owned>,
    /// What was sent since, and was not refused.
    sent: HashMap<Id, Owned>,
    /// Those of them that were acknowledged.
    accepted: Vec<Id>,
    /// What takes others away and was acknowledged or shown, ever since.
    did: Removers,
    history: HashMap<u32, Vec<Event>>,
    pub(crate) accepted_in_all: usize,
}

/// How a relay broke its promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breach {
    /// An event that it acknowledged or showed is gone, and nothing explains it.
    Lost,
    /// An event is back that was removed by one that it acknowledged or showed.
    Back,
    /// It shows what nobody sent, or what it refused, or in the wrong community.
    Strange,
}

/// Whether an event may expire while it is looked for.
pub(crate) fn may_expire(event: &Event) -> bool {
    nip40::is_expired(nip40::expires_at(event), now() + LOOK_SECONDS)
}

impl Promise {
    /// Writes down what a writer sent.
    pub(crate) fn add(&mut self, who: u32, sent: Vec<Sent>) {
        for Sent { event, accepted } in sent {
            self.history.entry(who).or_default().push(event.clone());
            if accepted == Some(true) {
                self.accepted.push(event.id);
                self.accepted_in_all += 1;
                self.did.add(&event);
            }
            if accepted != Some(false) {
                self.sent.insert(event.id, Owned { who, event });
            }
        }
        let history = self.history.entry(who).or_default();
        history.drain(..history.len().saturating_sub(HISTORY));
    }

    /// The last events of a writer.
    pub(crate) fn history_of(&self, who: u32) -> Vec<Event> {
        self.history.get(&who).cloned().unwrap_or_default()
    }

    /// Holds what the relay shows in the community of each writer against what it owes. From now on it owes what
    /// it shows.
    pub(crate) fn check(&mut self, shown: &[Vec<Event>]) -> Vec<(Breach, String)> {
        let mut breaches = Vec::new();
        let mut shows = HashMap::new();
        let mut removers = Removers::default();
        let of_writers =
            shown.iter().zip(0..).flat_map(|(events, who)| events.iter().map(move |event| (who, event)));
        for (community, event) in of_writers {
            match self.sent.get(&event.id).or_else(|| self.kept.get(&event.id)) {
                Some(owned) if owned.event == *event && owned.who == community => {}
                _ => breaches.push((Breach::Strange, describe(event))),
            }
            removers.add(event);
            self.did.add(event);
            shows.insert(event.id, Owned { who: community, event: event.clone() });
        }
        let back = shows.values().filter(|owned| self.did.remove(&owned.event));
        breaches.extend(back.map(|owned| (Breach::Back, describe(&owned.event))));
        self.explain_by_what_is_gone(&shows, &mut removers);
        let owed = self.accepted.iter().filter_map(|id| self.sent.get(id)).chain(self.kept.values());
        let lost = owed.filter(|owned| {
            !shows.contains_key(&owned.event.id)
                && !removers.remove(&owned.event)
                && !may_expire(&owned.event)
        });
        breaches.extend(lost.map(|owned| (Breach::Lost, describe(&owned.event))));
        self.kept = shows;
        self.sent.clear();
        self.accepted.clear();
        breaches
    }

    /// What removed an event may itself have been removed by what is there.
    fn explain_by_what_is_gone(&self, shows: &HashMap<Id, Owned>, removers: &mut Removers) {
        let mut absent: Vec<&Event> = self.sent.values().map(|owned| &owned.event).collect();
        absent.retain(|event| !shows.contains_key(&event.id));
        loop {
            let (explained, rest): (Vec<&Event>, Vec<&Event>) =
                absent.iter().partition(|event| removers.remove(event));
            if explained.is_empty() {
                return;
            }
            explained.into_iter().for_each(|event| removers.add(event));
            absent = rest;
        }
    }
}

fn describe(event: &Event) -> String {
    format!("kind {} at {} {} ({} bytes)", event.kind, event.created_at, event.id, event.content.len())
}
