//! Reconciles two sides that only answer, such as two relays: what one says becomes the question to the other. In: what
//! each answers. Out: what to ask the other, and in the end which ids each listed. Holds no set of its own.
//!
//! The messages are those of negentropy's version 1: ranges of events in the order of time, then id, of each of which a
//! side tells a fingerprint or the ids that it has.

use std::collections::HashSet;

use crate::event::Id;

/// The version of the protocol, which begins every message.
pub(super) const VERSION: u8 = 0x61;

/// In place of a time: after everything.
pub(super) const NEVER: u64 = u64::MAX;

/// Where a range ends: events before it belong to the range.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Bound {
    pub(super) time: u64,
    /// What ids of that time begin with at least, without zeros at its end.
    pub(super) prefix: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Says {
    /// There is nothing to say.
    Nothing,
    /// What the ids of the range come to.
    Fingerprint([u8; 16]),
    /// All ids of the range.
    Ids(Vec<Id>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) end: Bound,
    pub(super) says: Says,
}

/// One of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that is asked first.
    First,
    /// The other one.
    Second,
}

impl Side {
    /// Who is asked next.
    pub fn other(self) -> Side {
        match self {
            Side::First => Side::Second,
            Side::Second => Side::First,
        }
    }
}

/// A message is none of the protocol's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not negentropy's: {0}")]
pub struct Malformed(pub(super) &'static str);

/// A reconciliation of two sides.
#[derive(Debug)]
pub struct Between {
    /// What was asked last.
    asked: Vec<Range>,
    /// Ids that each side listed.
    listed: [HashSet<Id>; 2],
}

impl Between {
    /// A reconciliation, and what to ask the first side.
    pub fn begin() -> (Between, Vec<u8>) {
        // A fingerprint that nobody has, so that it tells its own.
        let end = Bound { time: NEVER, prefix: Vec::new() };
        let asked = vec![Range { end, says: Says::Fingerprint([0; 16]) }];
        let message = encode(&asked);
        (Between { asked, listed: Default::default() }, message)
    }

    /// Takes what a side answered; returns what to ask the other one, or nothing when all is known.
    ///
    /// # Errors
    /// When the answer is none.
    pub fn hear(&mut self, side: Side, answer: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        let asked = std::mem::take(&mut self.asked);
        let (mut asked, mut begin) = (asked.into_iter().peekable(), Bound::default());
        let mut next = Vec::new();
        for Range { end, says } in decode(answer)? {
            let says = match says {
                Says::Ids(ids) => {
                    self.listed[side as usize].extend(&ids);
                    while asked.next_if(|range| range.end <= begin).is_some() {}
                    // Where the question listed the other's ids both are known now.
                    match asked.peek() {
                        Some(Range { says: Says::Ids(_), .. }) => Says::Nothing,
                        _ => Says::Ids(ids),
                    }
                }
                says => says,
            };
            begin = end.clone();
            next.push(Range { end, says });
        }
        // What comes last and says nothing needs no words.
        let last = next.iter().rposition(|range| range.says != Says::Nothing);
        next.truncate(last.map_or(0, |last| last + 1));
        self.asked = next;
        Ok((!self.asked.is_empty()).then(|| encode(&self.asked)))
    }

    /// Ids that only the first side has, and those that only the second has. Some of them both may have, where an
    /// answer was cut for its length.
    pub fn differences(self) -> [Vec<Id>; 2] {
        let [first, second] = self.listed;
        [first.difference(&second).copied().collect(), second.difference(&first).copied().collect()]
    }
}

/// A message that is written range by range.
pub(super) struct Message {
    bytes: Vec<u8>,
    /// The time of the last bound.
    time: u64,
}

/// Where a message ended once.
#[derive(Clone, Copy)]
pub(super) struct End {
    len: usize,
    time: u64,
}

impl Message {
    /// One that says nothing yet.
    pub(super) fn new() -> Message {
        Message { bytes: vec![VERSION], time: 0 }
    }

    /// Adds a range, which ends after the last one.
    pub(super) fn push(&mut self, Range { end, says }: &Range) {
        let out = &mut self.bytes;
        match end.time {
            NEVER => put_number(0, out),
            _ => put_number(end.time - self.time + 1, out),
        }
        self.time = end.time;
        put_number(end.prefix.len() as u64, out);
        out.extend_from_slice(&end.prefix);
        match says {
            Says::Nothing => put_number(0, out),
            Says::Fingerprint(fingerprint) => {
                put_number(1, out);
                out.extend_from_slice(fingerprint);
            }
            Says::Ids(ids) => {
                put_number(2, out);
                put_number(ids.len() as u64, out);
                ids.iter().for_each(|id| out.extend_from_slice(&id.0));
            }
        }
    }

    /// Where it ends now.
    pub(super) fn end(&self) -> End {
        End { len: self.bytes.len(), time: self.time }
    }

    /// Forgets what was added since it ended there.
    pub(super) fn cut(&mut self, end: End) {
        self.bytes.truncate(end.len);
        self.time = end.time;
    }

    /// How long it is.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// All of it.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

pub(super) fn encode(ranges: &[Range]) -> Vec<u8> {
    let mut message = Message::new();
    ranges.iter().for_each(|range| message.push(range));
    message.into_bytes()
}

pub(super) fn decode(message: &[u8]) -> Result<Vec<Range>, Malformed> {
    Ranges::of(message)?.collect()
}

/// The ranges of a message, read one by one.
pub(super) struct Ranges<'m> {
    rest: &'m [u8],
    /// Where the last one ended.
    last: Option<Bound>,
}

impl<'m> Ranges<'m> {
    /// Those of a message of this version.
    pub(super) fn of(message: &'m [u8]) -> Result<Ranges<'m>, Malformed> {
        let mut rest = message;
        if take(&mut rest, 1)? != [VERSION] {
            return Err(Malformed("another version of the protocol"));
        }
        Ok(Ranges { rest, last: None })
    }

    fn read(&mut self) -> Result<Range, Malformed> {
        let rest = &mut self.rest;
        let time = self.last.as_ref().map_or(0, |last| last.time);
        let time = match number(rest)? {
            0 => NEVER,
            more => time.saturating_add(more - 1),
        };
        let len = number(rest)?;
        let mut prefix = match len {
            0..=32 => take(rest, len as usize)?.to_vec(),
            _ => return Err(Malformed("a bound is longer than an id")),
        };
        while prefix.last() == Some(&0) {
            prefix.pop();
        }
        let end = Bound { time, prefix };
        if self.last.as_ref().is_some_and(|last| *last >= end) {
            return Err(Malformed("its ranges are in no order"));
        }
        let says = match number(rest)? {
            0 => Says::Nothing,
            1 => {
                let mut fingerprint = [0; 16];
                fingerprint.copy_from_slice(take(rest, 16)?);
                Says::Fingerprint(fingerprint)
            }
            2 => {
                let count = usize::try_from(number(rest)?).unwrap_or(usize::MAX);
                let bytes = take(rest, count.saturating_mul(32))?;
                let (ids, _) = bytes.as_chunks::<32>();
                Says::Ids(ids.iter().map(|id| Id(*id)).collect())
            }
            _ => return Err(Malformed("a range of an unknown kind")),
        };
        self.last = Some(end.clone());
        Ok(Range { end, says })
    }
}

impl Iterator for Ranges<'_> {
    type Item = Result<Range, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let range = self.read();
        if range.is_err() {
            self.rest = &[];
        }
        Some(range)
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let (taken, left) = rest.split_at_checked(len).ok_or(Malformed("it ends too early"))?;
    *rest = left;
    Ok(taken)
}

/// Seven bits a byte, the highest first; all bytes but the last have their upper bit set.
pub(super) fn put_number(number: u64, out: &mut Vec<u8>) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(7).max(1);
    for digit in (0..digits).rev() {
        let upper = if digit > 0 { 0x80 } else { 0 };
        out.push(upper | (number >> (7 * digit)) as u8 & 0x7f);
    }
}

fn number(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0_u64;
    loop {
        let byte = take(rest, 1)?[0];
        if number > u64::MAX >> 7 {
            return Err(Malformed("a number is too large"));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tests::{event, set};
    use super::*;
    use crate::splitmix::SplitMix;

    #[test]
    fn two_sides_that_only_answer_are_reconciled() {
        for seed in 0..8 {
            let mut random = SplitMix(seed);
            for events in [0_usize, 1, 40, 2_000] {
                for differences in [0_usize, 1, 50, 6_000] {
                    let both: BTreeSet<(u64, Id)> = (0..events).map(|_| event(&mut random)).collect();
                    let mut sides = [both.clone(), both];
                    let more: Vec<_> = (0..2 * differences).map(|_| event(&mut random)).collect();
                    // With the most, one side has nothing of its own.
                    let own = if differences == 6_000 { 0 } else { differences };
                    sides[0].extend(&more[..own]);
                    sides[1].extend(&more[differences..]);
                    let sets = sides.each_ref().map(set);
                    let (mut between, mut message) = Between::begin();
                    let mut side = Side::First;
                    let mut rounds = 0;
                    loop {
                        let answer = sets[side as usize].answer(&message).expect("an answer");
                        let Some(next) = between.hear(side, &answer).expect("it is understood") else {
                            break;
                        };
                        (message, side, rounds) = (next, side.other(), rounds + 1);
                        assert!(rounds < 100, "it ends");
                    }
                    let found = between.differences().map(|ids| ids.into_iter().collect::<BTreeSet<Id>>());
                    let only = |here: usize| -> BTreeSet<Id> {
                        sides[here].difference(&sides[1 - here]).map(|(_, id)| *id).collect()
                    };
                    let context = format!("{events} events, {differences} differences, seed {seed}");
                    for here in [0, 1] {
                        assert!(found[here].is_superset(&only(here)), "nothing is missed: {context}");
                        let more = found[here].len() - only(here).len();
                        assert!(more == 0 || differences == 6_000, "{more} too many: {context}");
                    }
                }
            }
        }
    }

    #[test]
    fn messages_are_read_as_they_are_written() {
        let bound = |time, prefix: &[u8]| Bound { time, prefix: prefix.to_vec() };
        let ranges = vec![
            Range { end: bound(5, &[]), says: Says::Nothing },
            Range { end: bound(5, &[1]), says: Says::Fingerprint([7; 16]) },
            Range { end: bound(1 << 40, &[0, 9]), says: Says::Ids(vec![Id([1; 32]), Id([2; 32])]) },
            Range { end: bound(NEVER, &[]), says: Says::Ids(Vec::new()) },
        ];
        let message = encode(&ranges);
        assert_eq!(decode(&message), Ok(ranges));
        for len in 0..message.len() {
            // It may end between ranges, and nowhere else; no part of it is read as something else.
            if let Ok(fewer) = decode(&message[..len]) {
                assert_eq!(encode(&fewer), message[..len]);
            }
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let table: [(&[u8], &str); 6] = [
            (b"", "it ends too early"),
            (b"\x62", "another version of the protocol"),
            (b"\x61\x00\x21", "a bound is longer than an id"),
            (b"\x61\x00\x00\x03", "a range of an unknown kind"),
            (b"\x61\x01\x00\x00\x01\x00\x00", "its ranges are in no order"),
            (b"\x61\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "a number is too large"),
        ];
        for (message, why) in table {
            assert_eq!(decode(message), Err(Malformed(why)), "{message:?}");
        }
    }
}
