//! A set that is complete: its events in negentropy's order, and sums of their ids, so that what a range of any length
//! comes to is a difference of two sums. In: what the other side says. Out: what this side says to it. The answers are
//! those of the crate negentropy, which adds up every range anew; it is their twin in tests.

use negentropy::{Bound as CrateBound, Error, Item, NegentropyStorageBase};
use sha2::{Digest, Sha256};

use super::ANSWER_BYTES_MAX;
use super::between::{Bound, Malformed, Message, NEVER, Range, Ranges, Says};
use crate::event::Id;

/// From one sum to the next are so many events.
const SUM_EVERY: usize = 32;

/// What the sums add to an event's memory, in bytes, rounded up.
pub(super) const SUM_BYTES: usize = size_of::<Sum>().div_ceil(SUM_EVERY);

/// A range that differs is told by its ids when it has fewer events than two for each part; else by these parts.
const PARTS: usize = 16;

/// An answer ends before it is so much shorter than it may be: room for one bound, and for the sum of the rest.
const ANSWER_BYTES_RESERVED: usize = 200;

/// A sum of ids, as numbers of 256 bits with their lowest byte first; what does not fit is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum([u64; 4]);

impl Sum {
    fn of(id: &[u8; 32]) -> Sum {
        let (lanes, _) = id.as_chunks::<8>();
        Sum(std::array::from_fn(|at| u64::from_le_bytes(lanes[at])))
    }

    fn plus(self, other: Sum) -> Sum {
        let mut carry = false;
        Sum(std::array::from_fn(|at| {
            let (sum, one) = self.0[at].overflowing_add(other.0[at]);
            let (sum, two) = sum.overflowing_add(u64::from(carry));
            carry = one || two;
            sum
        }))
    }

    fn minus(self, other: Sum) -> Sum {
        let mut borrow = false;
        Sum(std::array::from_fn(|at| {
            let (rest, one) = self.0[at].overflowing_sub(other.0[at]);
            let (rest, two) = rest.overflowing_sub(u64::from(borrow));
            borrow = one || two;
            rest
        }))
    }
}

/// How a set differs from one of a moment before.
#[derive(Debug)]
pub struct Difference {
    /// How many events the new one has.
    len: usize,
    /// Events that came or went.
    changed: Vec<Item>,
    /// Those that came.
    there: Vec<Item>,
}

impl Difference {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.changed.is_empty()
    }

    /// How many events the new set has.
    pub fn len_after(&self) -> usize {
        self.len
    }
}

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub struct Sealed {
    /// By time, then id; none twice.
    events: Vec<Item>,
    /// What the events before each [`SUM_EVERY`]th come to.
    sums: Vec<Sum>,
}

impl Sealed {
    pub(super) fn new(mut events: Vec<Item>) -> Sealed {
        events.sort_unstable();
        events.dedup();
        Sealed::summed(events, &[Sum::default()])
    }

    /// How many events it has.
    pub fn count(&self) -> usize {
        self.events.len()
    }

    /// Adds up what was not added up yet.
    fn summed(events: Vec<Item>, known: &[Sum]) -> Sealed {
        let mut sums = Vec::with_capacity(events.len() / SUM_EVERY + 1);
        sums.extend_from_slice(known);
        let mut sum = known.last().copied().unwrap_or_default();
        for some in events[(known.len() - 1) * SUM_EVERY..].chunks_exact(SUM_EVERY) {
            sum = some.iter().fold(sum, |sum, event| sum.plus(Sum::of(&event.id)));
            sums.push(sum);
        }
        Sealed { events, sums }
    }

    /// How it differs from what is so now: of the events that came or went those in `there` are in it, and no others.
    pub(super) fn difference(&self, mut changed: Vec<Item>, mut there: Vec<Item>) -> Difference {
        [&mut changed, &mut there].into_iter().for_each(|events| {
            events.sort_unstable();
            events.dedup();
        });
        let is_here = |event: &Item| self.events.binary_search(event).is_ok();
        changed.retain(|event| is_here(event) != there.binary_search(event).is_ok());
        there.retain(|event| changed.binary_search(event).is_ok());
        let gone = changed.len() - there.len();
        Difference { len: self.events.len() + there.len() - gone, changed, there }
    }

    /// The set with a difference of its own.
    pub fn with(&self, difference: &Difference) -> Sealed {
        let mut events = Vec::with_capacity(difference.len);
        let (mut from, mut same) = (0, self.events.len());
        for one in &difference.changed {
            let at = from + self.events[from..].partition_point(|event| event < one);
            events.extend_from_slice(&self.events[from..at]);
            same = same.min(at);
            // It is either of them: it came, or it went.
            match difference.there.binary_search(one) {
                Ok(_) => events.push(*one),
                Err(_) => from = at + 1,
            }
            from = from.max(at);
        }
        events.extend_from_slice(&self.events[from..]);
        Sealed::summed(events, &self.sums[..=same / SUM_EVERY])
    }

    /// What the first so many events come to.
    fn sum_before(&self, end: usize) -> Sum {
        let begin = end - end % SUM_EVERY;
        let rest = self.events[begin..end].iter();
        rest.fold(self.sums[end / SUM_EVERY], |sum, event| sum.plus(Sum::of(&event.id)))
    }

    fn fingerprint(&self, begin: usize, end: usize) -> [u8; 16] {
        let sum = self.sum_before(end).minus(self.sum_before(begin));
        let mut hash = Sha256::new();
        sum.0.iter().for_each(|lane| hash.update(lane.to_le_bytes()));
        let mut count = Vec::new();
        super::between::put_number((end - begin) as u64, &mut count);
        hash.update(count);
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&hash.finalize()[..16]);
        fingerprint
    }

    /// The first event from `begin` on that is not before a bound.
    fn place_of(&self, begin: usize, bound: &Bound) -> usize {
        let mut id = [0; 32];
        id[..bound.prefix.len()].copy_from_slice(&bound.prefix);
        let is_before = |event: &Item| (event.timestamp, &*event.id) < (bound.time, &id);
        begin + self.events[begin..].partition_point(is_before)
    }

    /// The shortest bound before an event that is not the first.
    fn bound_before(&self, at: usize) -> Bound {
        let (before, event) = (&self.events[at - 1], &self.events[at]);
        if before.timestamp != event.timestamp {
            return Bound { time: event.timestamp, prefix: Vec::new() };
        }
        let shared = before.id.iter().zip(event.id.iter()).take_while(|(one, other)| one == other).count();
        Bound { time: event.timestamp, prefix: event.id[..=shared].to_vec() }
    }

    fn ids(&self, begin: usize, end: usize) -> Says {
        Says::Ids(self.events[begin..end].iter().map(|event| Id(event.id.to_bytes())).collect())
    }

    /// Tells a range that differs: all of it, or what its parts come to.
    fn tell(&self, begin: usize, end: usize, bound: Bound, out: &mut Message) {
        let events = end - begin;
        if events < 2 * PARTS {
            return out.push(&Range { end: bound, says: self.ids(begin, end) });
        }
        let (each, more) = (events / PARTS, events % PARTS);
        let mut at = begin;
        for part in 0..PARTS {
            let from = at;
            at += each + usize::from(part < more);
            let part_end = if at == end { bound.clone() } else { self.bound_before(at) };
            out.push(&Range { end: part_end, says: Says::Fingerprint(self.fingerprint(from, at)) });
        }
    }

    /// What this side says to the ranges of a message of its version.
    pub(super) fn reconcile(&self, message: &[u8]) -> Result<Vec<u8>, Malformed> {
        const FULL: usize = ANSWER_BYTES_MAX as usize - ANSWER_BYTES_RESERVED;
        let mut out = Message::new();
        let (mut before, mut begin, mut told, mut skips) = (Bound::default(), 0, 0, false);
        for range in Ranges::of(message)? {
            let Range { end: bound, says } = range?;
            let mut end = self.place_of(begin, &bound);
            let was = out.end();
            let is_same = match &says {
                Says::Nothing => true,
                Says::Fingerprint(theirs) => *theirs == self.fingerprint(begin, end),
                Says::Ids(_) => false,
            };
            if is_same {
                skips = true;
            } else {
                let room = FULL.checked_sub(out.len()).map_or(0, |bytes| bytes / 32 + 1);
                if std::mem::take(&mut skips) {
                    out.push(&Range { end: before, says: Says::Nothing });
                }
                if matches!(says, Says::Ids(_)) {
                    // As many as there is room for; the rest is part of what follows.
                    let cut = begin + room < end;
                    end = end.min(begin + room);
                    let bound = if cut { self.bound_of(end) } else { bound.clone() };
                    out.push(&Range { end: bound, says: self.ids(begin, end) });
                    told = end;
                } else {
                    self.tell(begin, end, bound.clone(), &mut out);
                }
            }
            if out.len() > FULL {
                if !matches!(says, Says::Ids(_)) {
                    out.cut(was);
                }
                let rest = Says::Fingerprint(self.fingerprint(told, self.events.len()));
                out.push(&Range { end: Bound { time: NEVER, prefix: Vec::new() }, says: rest });
                break;
            }
            if !is_same {
                told = end;
            }
            (begin, before) = (end, bound);
        }
        Ok(out.into_bytes())
    }

    /// The bound just before an event.
    fn bound_of(&self, at: usize) -> Bound {
        let Item { timestamp, id } = self.events[at];
        let mut prefix = id.to_bytes().to_vec();
        while prefix.last() == Some(&0) {
            prefix.pop();
        }
        Bound { time: timestamp, prefix }
    }
}

/// For the side that begins, whose part the crate plays.
impl NegentropyStorageBase for Sealed {
    fn size(&self) -> Result<usize, Error> {
        Ok(self.events.len())
    }

    fn get_item(&self, at: usize) -> Result<Option<Item>, Error> {
        Ok(self.events.get(at).copied())
    }

    fn iterate(
        &self,
        begin: usize,
        end: usize,
        each: &mut dyn FnMut(Item, usize) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let events = self.events.get(begin..end).ok_or(Error::BadRange)?;
        for (at, event) in events.iter().enumerate() {
            if !each(*event, begin + at)? {
                break;
            }
        }
        Ok(())
    }

    fn find_lower_bound(&self, first: usize, last: usize, value: &CrateBound) -> usize {
        first + self.events[first..last].partition_point(|event| *event < value.item)
    }
}
