//! NIP-77, reconciliation (nips/77.md): which events two sides do not both have, found out in a few messages. In: a
//! set of events, and what the other side says. Out: what to say. The protocol itself is `negentropy`'s.

pub mod between;
#[cfg(any(test, fuzzing))]
pub(crate) mod probe;
mod sealed;

use std::fmt::Display;

use between::{Malformed, VERSION};
use negentropy::{Id as Item, Negentropy};

pub use sealed::{Difference, Sealed};

use crate::event::Id;
use crate::rule::{Decision, Prefix, Refusal};

/// The longest answer, in bytes before they become hex: a longer one is given in parts, each to a message of its own.
pub const ANSWER_BYTES_MAX: u64 = 128 * 1024;

/// What an event takes of memory in a set, in bytes.
pub const EVENT_BYTES: usize = size_of::<negentropy::Item>() + sealed::SUM_BYTES;

/// The events that a reconciliation is about: their times and ids.
#[derive(Debug, Default)]
pub struct Set(Vec<negentropy::Item>);

impl Set {
    /// Adds an event.
    pub fn add(&mut self, created_at: u64, id: &Id) {
        self.0.push(negentropy::Item::with_timestamp_and_id(created_at, Item::from_byte_array(id.0)));
    }

    /// How many were added.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends the adding.
    pub fn seal(self) -> Sealed {
        Sealed::new(self.0)
    }
}

impl Sealed {
    /// How it differs from what is so now: of the events that came or went those that are `there` are in it, and no others.
    pub fn changed(&self, changed: Set, there: Set) -> Difference {
        self.difference(changed.0, there.0)
    }

    /// What this side says to a message of the side that began.
    ///
    /// # Errors
    /// `invalid:` when the message is none of the protocol's.
    pub fn answer(&self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        match message.first() {
            Some(&VERSION) => self.reconcile(message).map_err(|Malformed(why)| refusal(&why)),
            // Another version is answered with the one that is spoken here.
            Some(0x60..=0x6f) => Ok(vec![VERSION]),
            _ => Err(refusal(&"invalid negentropy protocol version byte")),
        }
    }

    /// What the side that begins says first.
    ///
    /// # Errors
    /// `invalid:`, never for a sealed set.
    pub fn initiate(&self) -> Result<Vec<u8>, Refusal> {
        let first = Negentropy::borrowed(self, ANSWER_BYTES_MAX).and_then(|mut side| side.initiate());
        first.map_err(|error| refusal(&error))
    }

    /// What the side that began says next, if anything, and what it learned: ids that only it has, and ids that only
    /// the other has.
    ///
    /// # Errors
    /// `invalid:` when the message is none of the protocol's.
    pub fn learn(&self, message: &[u8]) -> Result<Learned, Refusal> {
        let (mut only_here, mut only_there) = (Vec::new(), Vec::new());
        let next = Negentropy::borrowed(self, ANSWER_BYTES_MAX).and_then(|mut side| {
            side.set_initiator();
            side.reconcile_with_ids(message, &mut only_here, &mut only_there)
        });
        let ids = |items: Vec<Item>| items.iter().map(|item| Id(item.to_bytes())).collect();
        Ok(Learned {
            next: next.map_err(|error| refusal(&error))?,
            only_here: ids(only_here),
            only_there: ids(only_there),
        })
    }
}

/// What a message taught the side that began.
#[derive(Debug, Default)]
pub struct Learned {
    /// What to say next; `None`: all is known.
    pub next: Option<Vec<u8>>,
    /// Ids of events that only this side has.
    pub only_here: Vec<Id>,
    /// Ids of events that only the other side has.
    pub only_there: Vec<Id>,
}

fn refusal(error: &dyn Display) -> Refusal {
    Refusal::new(Prefix::Invalid, "nip77.message", format!("the message is not negentropy's: {error}"))
}

/// Whether one more reconciliation may begin, where so many are open.
///
/// # Errors
/// `blocked:` when nobody may reconcile here, or this connection has as many as it may.
pub fn admit(settings: &crate::config::Nip77, open: usize) -> Decision {
    if !settings.enabled {
        return Err(Refusal::new(Prefix::Blocked, "nip77.enabled", "reconciliation is not offered here"));
    }
    let most = settings.per_connection_max;
    if open >= most {
        let sentence = format!("{most} reconciliations are open, as many as one connection may have");
        return Err(Refusal::new(Prefix::Blocked, "nip77.per_connection_max", sentence));
    }
    Ok(())
}

/// A filter finds more events than a reconciliation may be about.
pub fn too_many(most: usize) -> Refusal {
    let sentence =
        format!("this query is too big: more than {most} events; narrow it, such as by since and until");
    Refusal::new(Prefix::Blocked, "nip77.events_max", sentence)
}

/// All reconciliations together are about as many events as they may be.
pub fn no_room() -> Refusal {
    let sentence = "too many events are being reconciled; try again in a minute";
    Refusal::new(Prefix::RateLimited, "limits.reconciled_events_max", sentence)
}

/// A reconciliation rested for too long.
pub fn rested(seconds: u64) -> Refusal {
    Refusal::new(Prefix::Closed, "nip77.idle_seconds_max", format!("you said nothing for {seconds} seconds"))
}

/// Nothing of this name is open.
pub fn unknown() -> Refusal {
    Refusal::new(
        Prefix::Closed,
        "nip77.message",
        "no reconciliation of this name is open; begin with NEG-OPEN",
    )
}

/// A message came before the last one was answered.
pub fn too_early() -> Refusal {
    Refusal::new(Prefix::Invalid, "nip77.message", "wait for the answer to your last message")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::splitmix::SplitMix;

    pub(super) fn set(events: &BTreeSet<(u64, Id)>) -> Sealed {
        let mut set = Set::default();
        events.iter().for_each(|(created_at, id)| set.add(*created_at, id));
        assert_eq!(set.len(), events.len());
        set.seal()
    }

    /// An event of one of fifty seconds.
    pub(super) fn event(random: &mut SplitMix) -> (u64, Id) {
        let mut id = [0; 32];
        id.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&random.next().to_be_bytes()));
        (random.below(50), Id(id))
    }

    /// Both sides as they talk; what the one that began has learned.
    fn reconcile(here: &Sealed, there: &Sealed) -> (BTreeSet<Id>, BTreeSet<Id>) {
        let (mut only_here, mut only_there) = (BTreeSet::new(), BTreeSet::new());
        let mut message = Some(here.initiate().expect("a first message"));
        while let Some(said) = message {
            let answer = there.answer(&said).expect("an answer");
            let learned = here.learn(&answer).expect("it is understood");
            only_here.extend(learned.only_here);
            only_there.extend(learned.only_there);
            message = learned.next;
        }
        (only_here, only_there)
    }

    #[test]
    fn a_set_with_changes_is_one_that_is_made_anew() {
        let mut random = SplitMix(2_026);
        for round in 0..400 {
            let mut events: BTreeSet<(u64, Id)> =
                (0..random.below(300)).map(|_| event(&mut random)).collect();
            let (before, mut changed, mut there) = (set(&events), Set::default(), Set::default());
            for _ in 0..random.below(12) {
                let one = match events.iter().nth(random.below(300) as usize) {
                    Some(one) if random.below(2) == 0 => *one,
                    _ => event(&mut random),
                };
                // It may have come and gone several times; what counts is how it ended.
                if random.below(2) == 0 {
                    events.insert(one)
                } else {
                    events.remove(&one)
                };
                (0..=random.below(2)).for_each(|_| changed.add(one.0, &one.1));
            }
            let all: Vec<(u64, Id)> =
                changed.0.iter().map(|item| (item.timestamp, Id(item.id.to_bytes()))).collect();
            for one in all.iter().filter(|one| events.contains(one)) {
                there.add(one.0, &one.1);
            }
            let difference = before.changed(changed, there);
            let (after, anew) = (before.with(&difference), set(&events));
            assert_eq!(after, anew, "round {round}");
            assert_eq!(difference.len_after(), events.len(), "round {round}");
            assert_eq!(difference.is_none(), before == anew, "round {round}");
        }
    }

    #[test]
    fn both_differences_are_found() {
        let seed = 77;
        let mut random = SplitMix(seed);
        for events in [0_usize, 1, 5, 100, 3_000] {
            for differences in [0_usize, 1, 40] {
                let both: BTreeSet<(u64, Id)> = (0..events).map(|_| event(&mut random)).collect();
                let (mut here, mut there) = (both.clone(), both);
                let mut differ = |side: &mut BTreeSet<(u64, Id)>| -> BTreeSet<Id> {
                    let more: Vec<(u64, Id)> = (0..differences).map(|_| event(&mut random)).collect();
                    side.extend(more.iter().copied());
                    more.into_iter().map(|(_, id)| id).collect()
                };
                let expected = (differ(&mut here), differ(&mut there));
                let found = reconcile(&set(&here), &set(&there));
                assert_eq!(found, expected, "{events} events, {differences} differences, seed {seed}");
            }
        }
    }

    /// What the side that answers computes in a session about a million events of which a hundred differ, against its
    /// twin, which adds up all that a message asks about.
    #[test]
    #[ignore = "measures; build it with --release"]
    fn a_million_events_that_differ_by_a_hundred() {
        /// The kernel counts a thread's time from tick to tick.
        const TIMES: u32 = 50;
        let mut random = SplitMix(77);
        let mut event = || (1_700_000_000 + random.below(10_000_000), super::tests::event(&mut random).1);
        let set = |events: &[(u64, Id)]| {
            let mut set = Set::default();
            events.iter().for_each(|(time, id)| set.add(*time, id));
            set
        };
        let events: Vec<_> = (0..1_000_050).map(|_| event()).collect();
        let own_time = || crate::fuzz::own_time().expect("Linux tells");
        let (here, began) = (set(&events[..1_000_000]).seal(), own_time());
        let there = set(&events[50..]);
        let gathered = own_time() - began;
        let began = own_time();
        let there = there.seal();
        println!("gathered in {gathered:?}, sealed in {:?}", own_time() - began);
        type Answer = fn(&Sealed, &[u8]) -> Vec<u8>;
        let answers: [(&str, Answer); 2] = [
            ("by sums", |there, said| there.answer(said).expect("an answer")),
            ("by its twin", |there, said| {
                let mut side = Negentropy::borrowed(there, ANSWER_BYTES_MAX).expect("a side");
                side.reconcile(said).expect("an answer")
            }),
        ];
        for (name, answer) in answers {
            let began = own_time();
            (0..TIMES).for_each(|_| drop(answer(&there, b"\x61\x00\x00\x01................")));
            println!("{name}: {:?} for a short message", (own_time() - began) / TIMES);
            let (mut message, mut took, mut bytes) =
                (here.initiate().ok(), std::time::Duration::ZERO, [0, 0]);
            let (mut rounds, mut found) = (0, 0);
            while let Some(said) = message {
                let began = own_time();
                let answered = answer(&there, &said);
                (1..TIMES).for_each(|_| drop(answer(&there, &said)));
                took += (own_time() - began) / TIMES;
                rounds += 1;
                bytes = [bytes[0] + said.len(), bytes[1] + answered.len()];
                let learned = here.learn(&answered).expect("it is understood");
                found += learned.only_here.len() + learned.only_there.len();
                message = learned.next;
            }
            assert_eq!(found, 100);
            println!("{name}: {took:?} for {rounds} answers, {bytes:?} bytes asked and answered");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let set = set(&BTreeSet::from([(1, Id([1; 32]))]));
        for message in
            [&b""[..], b"\x00", b"\xff\xff", b"\x61\x00\x00\x09", b"\x61\x00\x00\x02\xff\xff\xff\xff\x0f"]
        {
            let refusal = set.answer(message).expect_err("a refusal");
            assert_eq!((refusal.prefix, refusal.rule), (Prefix::Invalid, "nip77.message"), "{message:?}");
        }
        // Another version is answered with the one that is spoken here.
        assert_eq!(set.answer(b"\x62").expect("an answer"), b"\x61");
    }
}
