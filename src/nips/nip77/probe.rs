//! Invariants of reconciliation, for `crate::fuzz`. Of messages: whatever is said to a side, it does not panic, its
//! answer has a bound and can be read, and whoever stands between two sides reads it as well. Of sets: two sides that
//! tell the truth learn exactly how they differ, in a bounded number of messages.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::OnceLock;

use negentropy::Negentropy;

use super::between::{Between, Bound, NEVER, Range, Says, Side, decode, encode};
use super::{ANSWER_BYTES_MAX, Sealed, Set};
use crate::event::Id;
use crate::fuzz::{Chance, Target};
use crate::rule::Prefix;

pub(crate) const NEGENTROPY: Target = Target::new("negentropy", 128 * 1024, build_message, check_message);
pub(crate) const RECONCILIATION: Target =
    Target::new("reconciliation", 16 * 1024, build_sets, check_reconciliation);

/// How many events the sets have that messages are said to; the first byte of an input chooses one of them.
const SETS: [u64; 4] = [0, 1, 40, 2_500];

/// A message begins so many events of a set, or fewer, one by one.
const LISTED_MAX: usize = 40;

/// Bytes of an input that stand for an event.
const EVENT_BYTES: usize = 3;

/// Messages of a side that begins, for two sets that know nothing of one another: each makes ranges a sixteenth as
/// long, or brings as many ids as an answer has room for.
const ROUNDS_MIN: usize = 8;

/// Ids that an answer has room for at the least.
const ANSWER_IDS_MIN: usize = ANSWER_BYTES_MAX as usize / 100;

/// An event of the sets: some share their times, and the beginnings of their ids.
fn event(number: u64) -> (u64, Id) {
    let mut chance = Chance::new(number);
    let mut id = [chance.next() as u8 % 3; 32];
    let begin = chance.below(31);
    id[begin..].iter_mut().for_each(|byte| *byte = chance.next() as u8);
    id[31] = number as u8;
    id[30] = (number >> 8) as u8;
    (1_000 + chance.below(40) as u64 * chance.below(40) as u64, Id(id))
}

fn seal<'e>(events: impl IntoIterator<Item = &'e (u64, Id)>) -> Sealed {
    let mut set = Set::default();
    events.into_iter().for_each(|(time, id)| set.add(*time, id));
    set.seal()
}

struct Known {
    sealed: Sealed,
    events: BTreeSet<(u64, Id)>,
}

fn sets() -> &'static [Known; 4] {
    static SEALED: OnceLock<[Known; 4]> = OnceLock::new();
    SEALED.get_or_init(|| {
        SETS.map(|len| {
            let events: BTreeSet<(u64, Id)> = (0..len).map(event).collect();
            Known { sealed: seal(&events), events }
        })
    })
}

/// A bound: that of an event, or any.
fn bound(chance: &mut Chance, after: &Bound) -> Bound {
    if chance.one_in(12) {
        return Bound { time: chance.edge(), prefix: chance.some(32, |chance| chance.next() as u8) };
    }
    let (time, id) = event(chance.below(2_500) as u64);
    let mut prefix = id.0[..chance.below(33)].to_vec();
    while prefix.last() == Some(&0) {
        prefix.pop();
    }
    Bound { time: time.max(after.time), prefix }
}

fn says(chance: &mut Chance) -> Says {
    match chance.below(4) {
        0 => Says::Nothing,
        1 => Says::Fingerprint(chance.bytes()),
        2 => Says::Ids(chance.some(LISTED_MAX, |chance| event(chance.below(2_500) as u64).1)),
        _ => Says::Fingerprint(std::array::from_fn(|_| chance.next() as u8)),
    }
}

fn build_message(chance: &mut Chance) -> Vec<u8> {
    let mut input = vec![chance.below(SETS.len()) as u8];
    if chance.one_in(4) {
        let events: Vec<_> = (0..SETS[chance.below(SETS.len())]).map(|number| event(number + 7)).collect();
        input.extend(seal(&events).initiate().expect("a first message"));
        return input;
    }
    let mut ranges: Vec<Range> = Vec::new();
    let most = if chance.one_in(6) { 3_000 } else { 20 };
    for _ in 0..chance.below(most) {
        let after = ranges.last().map(|last| last.end.clone()).unwrap_or_default();
        let end = bound(chance, &after);
        if end > after && end.time < NEVER {
            ranges.push(Range { end, says: says(chance) });
        }
    }
    if chance.one_in(2) {
        ranges.push(Range { end: Bound { time: NEVER, prefix: Vec::new() }, says: says(chance) });
    }
    input.extend(encode(&ranges));
    input
}

fn check_message(bytes: &[u8]) -> bool {
    let (first, message) = bytes.split_first().unwrap_or((&0, &[]));
    let Known { sealed, events } = &sets()[usize::from(*first) % SETS.len()];
    let read = decode(message);
    if let Ok(ranges) = &read {
        assert_eq!(
            decode(&encode(ranges)).as_ref(),
            Ok(ranges),
            "what was read can be written and read again"
        );
    }
    // The one that begins may be told anything as well.
    if let Ok(learned) = sealed.learn(message) {
        let ids: HashSet<Id> = events.iter().map(|(_, id)| *id).collect();
        assert!(learned.only_here.iter().all(|id| ids.contains(id)), "only what it has is only here");
        let said = learned.only_there.len() * 32;
        assert!(said <= message.len(), "nobody said that much is only there: {said} bytes");
        assert!(
            learned.next.is_none_or(|next| next.len() as u64 <= ANSWER_BYTES_MAX),
            "a message has a bound"
        );
    }
    for side in [Side::First, Side::Second] {
        let (mut between, _) = Between::begin();
        let next = between.hear(side, message);
        assert_eq!(next.is_ok(), read.is_ok(), "whoever stands between reads the same");
        if let Ok(Some(next)) = next {
            assert!(sealed.answer(&next).is_ok(), "what is said next is understood");
        }
    }
    match sealed.answer(message) {
        Ok(answer) => {
            if read.is_ok() {
                let twin = Negentropy::borrowed(sealed, ANSWER_BYTES_MAX).expect("a side").reconcile(message);
                let twin = twin.expect("what can be read is answered");
                assert_eq!(decode(&answer), decode(&twin), "the crate says the same");
            }
            assert!(answer.len() as u64 <= ANSWER_BYTES_MAX, "{} bytes of an answer", answer.len());
            let is_other_version = message.first() != Some(&answer[0]);
            assert!(is_other_version || decode(&answer).is_ok() || read.is_err(), "an answer can be read");
            true
        }
        Err(refusal) => {
            assert_eq!(refusal.prefix, Prefix::Invalid);
            assert!(read.is_err(), "what can be read is answered: {}", refusal.sentence);
            false
        }
    }
}

fn build_sets(chance: &mut Chance) -> Vec<u8> {
    let most = if chance.one_in(10) { 5_000 } else { 120 };
    let all_but_few = chance.one_in(2);
    let mut bytes = Vec::new();
    for _ in 0..chance.below(most) {
        let number = chance.below(1 << 16) as u16;
        let who = if all_but_few && !chance.one_in(20) { 3 } else { chance.below(4) as u8 };
        bytes.extend(number.to_le_bytes());
        bytes.push(who);
    }
    bytes
}

/// Two sets: each three bytes are the number of an event and who has it.
fn check_reconciliation(bytes: &[u8]) -> bool {
    let (parts, rest) = bytes.as_chunks::<EVENT_BYTES>();
    let mut who_has: BTreeMap<(u64, Id), u8> = BTreeMap::new();
    for [low, high, who] in parts {
        *who_has.entry(event(u64::from(u16::from_le_bytes([*low, *high])))).or_default() |= who & 3;
    }
    let of = |bit: u8| -> BTreeSet<(u64, Id)> {
        who_has.iter().filter(|(_, who)| **who & bit > 0).map(|(event, _)| *event).collect()
    };
    let sides = [of(1), of(2)];
    let only = [0, 1].map(|here| -> BTreeSet<Id> {
        sides[here].difference(&sides[1 - here]).map(|(_, id)| *id).collect()
    });
    let sealed = sides.each_ref().map(seal);
    let rounds_max = ROUNDS_MIN + 2 * who_has.len().div_ceil(ANSWER_IDS_MIN);
    check_two(&sealed, &only, rounds_max);
    check_between(&sealed, &only, rounds_max, sides.iter().map(BTreeSet::len).sum());
    rest.is_empty()
}

/// One side begins, and learns how the other one differs.
fn check_two([here, there]: &[Sealed; 2], only: &[BTreeSet<Id>; 2], rounds_max: usize) {
    let (mut only_here, mut only_there) = (BTreeSet::new(), BTreeSet::new());
    let mut message = Some(here.initiate().expect("a first message"));
    let mut rounds = 0;
    while let Some(said) = message {
        rounds += 1;
        assert!(rounds <= rounds_max, "{rounds} messages");
        assert!(said.len() as u64 <= ANSWER_BYTES_MAX, "{} bytes of a message", said.len());
        let answer = there.answer(&said).expect("an answer");
        assert!(answer.len() as u64 <= ANSWER_BYTES_MAX, "{} bytes of an answer", answer.len());
        let learned = here.learn(&answer).expect("it is understood");
        only_here.extend(learned.only_here);
        only_there.extend(learned.only_there);
        message = learned.next;
    }
    assert!(only == &[only_here, only_there], "exactly the difference is learned");
}

/// Both sides only answer, and somebody in between asks.
fn check_between(sealed: &[Sealed; 2], only: &[BTreeSet<Id>; 2], rounds_max: usize, events: usize) {
    let (mut between, mut message) = Between::begin();
    let (mut side, mut rounds, mut was_cut) = (Side::First, 0, false);
    loop {
        rounds += 1;
        assert!(rounds <= 2 * rounds_max, "{rounds} questions");
        let answer = sealed[side as usize].answer(&message).expect("an answer");
        was_cut |= answer.len() + events.min(ANSWER_IDS_MIN) * 32 > ANSWER_BYTES_MAX as usize;
        let Some(next) = between.hear(side, &answer).expect("it is understood") else { break };
        (message, side) = (next, side.other());
    }
    let found = between.differences().map(|ids| ids.into_iter().collect::<BTreeSet<Id>>());
    for (found, only) in found.iter().zip(only) {
        assert!(found.is_superset(only), "nothing is missed");
        assert!(was_cut || found == only, "nothing is too much");
    }
}
