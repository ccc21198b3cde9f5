//! What a mirror sends: which events are to go, which are under way, and what the other side says to each. Pure but
//! for the time that it is told. In: ids and events, answers. Out: what to send next. Bounded: new events wait where
//! they come from, and what a comparison finds is ids alone.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::link::Link;
use crate::event::Id;

/// Events that are sent ahead of their answers: relays may pause reading at a few hundred.
pub(super) const UNDER_WAY_MAX: usize = 64;

/// How long an answer may take.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How long nothing is sent when the other side says that it is too much at once: the first time, and at most.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How often an event is offered to a relay that has an error, or wants a key that is yet to be proved.
const ERRORS_MAX: u32 = 5;

/// Ids that may wait before no further part of what is stored is compared.
pub(super) const OWED_ENOUGH: usize = 10_000;

struct Offered {
    body: Bytes,
    errors: u32,
    at: Instant,
}

/// See the module.
#[derive(Default)]
pub(super) struct Up {
    /// Stored events that the other side lacks.
    owed: VecDeque<Id>,
    /// New events.
    new: VecDeque<(Id, Bytes)>,
    /// What is offered once more, with how often there was an error.
    again: VecDeque<(Id, Bytes, u32)>,
    under_way: HashMap<Id, Offered>,
    paused_until: Option<Instant>,
    pause: Duration,
}

/// What to send next.
pub(super) enum Next {
    /// This event.
    Event(Id, Bytes, u32),
    /// The stored event of this id.
    Stored(Id),
}

impl Up {
    /// How many wait or are under way.
    pub(super) fn waiting(&self) -> usize {
        self.owed.len() + self.new.len() + self.again.len() + self.under_way.len()
    }

    /// Whether new events are taken up.
    pub(super) fn has_room(&self) -> bool {
        self.new.is_empty() && self.again.is_empty() && self.under_way.len() < UNDER_WAY_MAX
    }

    /// Whether stored events are to be sent.
    pub(super) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Whether no more of what is stored need be compared as yet.
    pub(super) fn owes_enough(&self) -> bool {
        self.owed.len() >= OWED_ENOUGH
    }

    /// Owes stored events.
    pub(super) fn owe(&mut self, ids: impl IntoIterator<Item = Id>, link: &Link) {
        self.owed.extend(ids.into_iter().filter(|id| !link.is_of_no_use_there(id)));
    }

    /// Takes up a new event.
    pub(super) fn add(&mut self, id: Id, body: Bytes) {
        self.new.push_back((id, body));
    }

    /// What to send, if anything may be sent now. What is new goes first.
    pub(super) fn next(&mut self, now: Instant) -> Option<Next> {
        if self.under_way.len() >= UNDER_WAY_MAX || self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        if let Some((id, body, errors)) = self.again.pop_front() {
            return Some(Next::Event(id, body, errors));
        }
        if let Some((id, body)) = self.new.pop_front() {
            return Some(Next::Event(id, body, 0));
        }
        self.owed.pop_front().map(Next::Stored)
    }

    /// Notes that an event is sent; false when it is under way already.
    pub(super) fn sent(&mut self, id: Id, body: Bytes, errors: u32, now: Instant) -> bool {
        self.under_way.insert(id, Offered { body, errors, at: now }).is_none()
    }

    /// Hears what became of an event. Who has no key to prove, as protected events (NIP-70) ask for, will have none later.
    pub(super) fn answered(
        &mut self,
        id: &Id,
        (is_taken, why): (bool, &str),
        has_key: bool,
        link: &Link,
        now: Instant,
    ) {
        let Some(Offered { body, errors, .. }) = self.under_way.remove(id) else { return };
        let prefix = why.split_once(':').map_or("", |(prefix, _)| prefix);
        match (is_taken, prefix) {
            (_, "duplicate") => link.copy_up(id),
            (true, _) => {
                link.taken_up(id);
                self.pause = Duration::ZERO;
            }
            (false, "rate-limited") => {
                self.again.push_back((*id, body, errors));
                self.rest(now);
                link.refused_up(id, prefix, false);
            }
            (false, "auth-required") if !has_key => link.refused_up(id, prefix, true),
            (false, "error" | "auth-required") if errors < ERRORS_MAX => {
                self.again.push_back((*id, body, errors + 1));
                self.rest(now);
                link.refused_up(id, prefix, false);
            }
            (false, "error") => link.miss(),
            (false, prefix) => link.refused_up(id, known(prefix), true),
        }
    }

    /// Sends nothing for a while, longer each time until something is taken.
    fn rest(&mut self, now: Instant) {
        if self.paused_until.is_some() {
            return;
        }
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        self.paused_until = Some(now + self.pause);
    }

    /// Gives up waiting for answers that do not come.
    pub(super) fn give_up(&mut self, link: &Link, now: Instant) {
        let late: Vec<Id> =
            self.under_way.iter().filter(|(_, one)| now >= one.at + ANSWER_MAX).map(|(id, _)| *id).collect();
        for id in late {
            self.under_way.remove(&id);
            link.refused_up(&id, "unanswered", false);
            link.miss();
        }
    }

    /// When something is to be done though nothing comes.
    pub(super) fn alarm(&self) -> Option<Instant> {
        let oldest = self.under_way.values().map(|one| one.at + ANSWER_MAX).min();
        [oldest, self.paused_until].into_iter().flatten().min()
    }
}

/// A prefix that is counted: those of strangers' making are one.
fn known(prefix: &str) -> &str {
    match prefix {
        "auth-required" | "blocked" | "invalid" | "mute" | "pow" | "restricted" => prefix,
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::UnderWay;
    use super::*;
    use crate::clock::Clock;

    fn id(number: u8) -> Id {
        Id([number; 32])
    }

    #[test]
    fn each_answer_has_its_consequence() {
        // Answer, whether it is offered again, whether later comparisons may offer it; `?` where there is no key.
        let table = [
            (true, "", false, false),
            (true, "duplicate: there", false, false),
            (false, "duplicate: newer", false, false),
            (false, "rate-limited: slow", true, true),
            (false, "error: disk", true, true),
            (false, "auth-required: who are you", true, true),
            (false, "?auth-required: who are you", false, false),
            (false, "blocked: no", false, false),
            (false, "invalid: no", false, false),
            (false, "no reason", false, false),
        ];
        for (is_taken, why, is_offered_again, may_be_owed) in table {
            let link =
                Link::new("/", "wss://there", "up", Clock::by_hand(1), std::sync::Arc::<UnderWay>::default());
            let (mut up, now) = (Up::default(), Instant::now());
            up.add(id(1), Bytes::from_static(b"{}"));
            let Some(Next::Event(sent, body, errors)) = up.next(now) else { panic!("{why}") };
            assert!(up.sent(sent, body, errors, now));
            let (has_key, said) = (!why.starts_with('?'), why.trim_start_matches('?'));
            up.answered(&sent, (is_taken, said), has_key, &link, now);
            let later = now + 2 * PAUSE_MIN;
            assert!(!is_offered_again || up.next(now).is_none(), "it waits: {why}");
            assert_eq!(up.next(later).is_some(), is_offered_again, "{why}");
            up.owe([id(1)], &link);
            assert_eq!(up.next(later).is_some(), may_be_owed, "{why}");
        }
    }

    #[test]
    fn errors_end_and_what_is_not_answered_is_given_up() {
        let link =
            Link::new("/", "wss://there", "up", Clock::by_hand(1), std::sync::Arc::<UnderWay>::default());
        let (mut up, mut now) = (Up::default(), Instant::now());
        up.add(id(1), Bytes::from_static(b"{}"));
        let mut offers = 0;
        while let Some(Next::Event(sent, body, errors)) = up.next(now) {
            offers += 1;
            up.sent(sent, body, errors, now);
            up.answered(&sent, (false, "error: disk"), true, &link, now);
            now += PAUSE_MAX;
        }
        assert_eq!((offers, link.take_missed()), (ERRORS_MAX + 1, true));
        for number in 0..200 {
            up.add(id(number), Bytes::from_static(b"{}"));
        }
        let mut sent = 0;
        while let Some(Next::Event(one, body, errors)) = up.next(now) {
            assert!(up.sent(one, body, errors, now));
            sent += 1;
        }
        assert_eq!((sent, up.alarm()), (UNDER_WAY_MAX, Some(now + ANSWER_MAX)));
        up.give_up(&link, now + ANSWER_MAX);
        assert_eq!(up.waiting(), 200 - UNDER_WAY_MAX);
        assert!(link.take_missed());
    }
}
