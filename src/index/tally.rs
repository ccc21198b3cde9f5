//! How many events of each kind have a tag value, and how many people wrote them, about: kept for the values that most
//! events have, so that a COUNT of what is popular need not look at each. In: events that come and go. Out: counts, and
//! the registers of NIP-45. Exact, for what it counts; its twin is a scan.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Index;
use super::bytes::{Sink, Source, check};
use super::heads::{BRIDGED, EXPIRES, FOR_FOLLOWERS, Row};
use super::snapshot::SnapshotError;
use crate::event::{Kind, PublicKey};
use crate::filter::Filter;
use crate::nips::nip45::{self, HyperLogLog, Register};

/// A value that so many events have is tallied. Tests have no thousands.
pub(super) const EVENTS_MIN: usize = if cfg!(test) { 24 } else { 512 };

/// A tally goes when fewer are left, so that it does not come and go with one event.
pub(super) const EVENTS_LEFT_MIN: usize = EVENTS_MIN / 2;

/// Events of which a reader may see one and not another for what they are, apart from their kind.
const SPECIAL: u16 = EXPIRES | FOR_FOLLOWERS | BRIDGED;

/// Tallies by the number of their value.
#[derive(Debug, Default)]
pub(super) struct Tallies(HashMap<u32, Tally>);

#[derive(Debug)]
struct Tally {
    /// Which byte of an author's key says the register, for values that are counted so.
    offset: Option<u8>,
    letter: u8,
    /// In no order: they are few.
    kinds: Vec<OfKind>,
}

/// Events of one kind.
#[derive(Debug)]
struct OfKind {
    kind: Kind,
    events: u32,
    /// Those of them that are [`SPECIAL`].
    special: u32,
    /// How many events ask for a register to be so high, in order of both.
    registers: Vec<Asked>,
}

/// A register, how high it is to be, and how many events ask for that: in that order, from the highest bits on. There
/// are never so few of a low height that one which was counted no further would be the last.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(transparent)]
struct Asked(u32);

impl Asked {
    const COUNT: u32 = 0xffff;

    fn new(register: Register) -> Asked {
        Asked(u32::from(register.number) << 24 | u32::from(register.height) << 16)
    }

    fn place(self) -> u32 {
        self.0 >> 16
    }

    fn register(self) -> Register {
        Register { number: (self.0 >> 24) as u8, height: (self.0 >> 16) as u8 }
    }

    fn count(self) -> u32 {
        self.0 & Asked::COUNT
    }
}

/// The head of a kind's numbers in a snapshot.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Written {
    kind: u32,
    events: u32,
    special: u32,
}

impl OfKind {
    fn add(&mut self, register: Option<Register>, is_special: bool) {
        self.events = self.events.saturating_add(1);
        self.special = self.special.saturating_add(u32::from(is_special));
        let Some(asked) = register.map(Asked::new) else { return };
        match self.registers.binary_search_by_key(&asked.place(), |other| other.place()) {
            Ok(at) if self.registers[at].count() < Asked::COUNT => self.registers[at].0 += 1,
            Ok(_) => {}
            Err(at) => self.registers.insert(at, Asked(asked.0 + 1)),
        }
    }

    fn remove(&mut self, register: Option<Register>, is_special: bool) {
        self.events = self.events.saturating_sub(1);
        self.special = self.special.saturating_sub(u32::from(is_special));
        let Some(asked) = register.map(Asked::new) else { return };
        if let Ok(at) = self.registers.binary_search_by_key(&asked.place(), |other| other.place()) {
            match self.registers[at].count() {
                Asked::COUNT => {}
                0 | 1 => drop(self.registers.remove(at)),
                _ => self.registers[at].0 -= 1,
            }
        }
    }
}

impl Tally {
    fn register(&self, kind: Kind, author: &PublicKey) -> Option<Register> {
        let offset = self.offset.filter(|_| nip45::has_registers(self.letter, kind))?;
        Some(Register::of(author, offset.into()))
    }

    fn add(&mut self, row: &Row, author: &PublicKey) {
        let register = self.register(row.kind, author);
        let at = self.kinds.iter().position(|of| of.kind == row.kind).unwrap_or_else(|| {
            self.kinds.push(OfKind { kind: row.kind, events: 0, special: 0, registers: Vec::new() });
            self.kinds.len() - 1
        });
        self.kinds[at].add(register, row.flags & SPECIAL != 0);
    }

    fn remove(&mut self, row: &Row, author: &PublicKey) {
        let register = self.register(row.kind, author);
        if let Some(at) = self.kinds.iter().position(|of| of.kind == row.kind) {
            self.kinds[at].remove(register, row.flags & SPECIAL != 0);
            if self.kinds[at].events == 0 {
                self.kinds.swap_remove(at);
            }
        }
    }
}

impl Tallies {
    /// The values that have one.
    pub(super) fn values(&self) -> impl Iterator<Item = &u32> {
        self.0.keys()
    }

    /// Bytes of memory that all of it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let of_kind = |of: &OfKind| of.registers.capacity() * size_of::<Asked>() + size_of::<OfKind>();
        let kinds = self.0.values().flat_map(|tally| &tally.kinds).map(of_kind).sum::<usize>();
        kinds + self.0.capacity() * size_of::<(u32, Tally)>()
    }

    pub(super) fn write<W: Write>(&self, sink: &mut Sink<'_, W>) -> io::Result<()> {
        sink.number(self.0.len() as u64)?;
        for (value, Tally { offset, letter, kinds }) in &self.0 {
            let offset = offset.map_or(0, |offset| u32::from(offset) + 1);
            sink.values(&[*value, offset, u32::from(*letter), kinds.len() as u32])?;
            for OfKind { kind, events, special, registers } in kinds {
                let kind = u32::from(kind.0);
                sink.values(&[Written { kind, events: *events, special: *special }])?;
                sink.array(registers)?;
            }
        }
        Ok(())
    }

    pub(super) fn read<R: Read>(source: &mut Source<'_, R>) -> Result<Self, SnapshotError> {
        let mut tallies = Tallies::default();
        for _ in 0..source.number()? {
            let head = source.values::<u32>(4)?;
            let offset = head[1].checked_sub(1).map(|offset| offset as u8);
            check(offset.is_none_or(|offset| usize::from(offset) < size_of::<PublicKey>()), "a tally")?;
            let mut tally = Tally { offset, letter: head[2] as u8, kinds: Vec::new() };
            for _ in 0..head[3] {
                let Written { kind, events, special } = source.values(1)?[0];
                let kind = Kind(u16::try_from(kind).map_err(|_| SnapshotError::Damaged("a tally"))?);
                tally.kinds.push(OfKind { kind, events, special, registers: source.array()? });
            }
            tallies.0.insert(head[0], tally);
        }
        Ok(tallies)
    }
}

impl Index {
    /// Counts an event that was just added to a value's list.
    pub(super) fn tally(&mut self, number: u32, letter: u8, value: &str, ordinal: u32) {
        let posting = self.values.get(number).posting;
        // Nearly all are short, and have none.
        if self.lists.len(posting) < EVENTS_LEFT_MIN {
            return;
        }
        if let Some(tally) = self.tallies.0.get_mut(&number) {
            let row = self.heads.get(ordinal);
            tally.add(row, self.authors.key(row.author));
        } else if self.lists.len(posting) >= EVENTS_MIN {
            let offset = nip45::is_counted_by(letter).then(|| nip45::offset(value) as u8);
            let mut tally = Tally { offset, letter, kinds: Vec::new() };
            for ordinal in self.lists.oldest_first(posting) {
                let row = self.heads.get(ordinal);
                tally.add(row, self.authors.key(row.author));
            }
            self.tallies.0.insert(number, tally);
        }
    }

    /// Counts an event no more that was just taken from a value's list.
    pub(super) fn untally(&mut self, number: u32, row: &Row) {
        match self.lists.len(self.values.get(number).posting) {
            // It was too short for one before.
            left if left + 1 < EVENTS_LEFT_MIN => {}
            left if left < EVENTS_LEFT_MIN => drop(self.tallies.0.remove(&number)),
            _ => {
                if let Some(tally) = self.tallies.0.get_mut(&number) {
                    tally.remove(row, self.authors.key(row.author));
                }
            }
        }
    }

    /// How many events a filter asks for, without a look at each: for filters that ask for one tag value, and kinds or
    /// not, where so many have it that they are tallied, and rules hide none of them. `hides` tells of a kind whether
    /// some of its events may be hidden although they do not expire, come from no other network and are not marked as
    /// being for followers. What they put into the registers is added to `authors`.
    pub fn tallied(
        &self,
        filter: &Filter,
        hides: impl Fn(Kind) -> bool,
        authors: Option<&mut HyperLogLog>,
    ) -> Option<u64> {
        let Filter { ids: None, authors: None, kinds, since: None, until: None, search: None, .. } = filter
        else {
            return None;
        };
        let tags =
            filter.tags.iter().flat_map(|(letter, values)| values.iter().map(|value| (*letter, value)));
        let tags = tags.chain(filter.all_tags.iter().map(|(letter, value)| (*letter, value)));
        let tags: Vec<(u8, &String)> = tags.take(2).collect();
        let [(letter, value)] = tags[..] else { return None };
        if filter.tags.len() + filter.all_tags.len() != 1
            || !filter.prefixes.is_empty()
            || self.has_vanishing()
        {
            return None;
        }
        let number = self.values.find_value(self.hashes.value(letter, value))?;
        let tally = self.tallies.0.get(&number)?;
        let is_asked = |kind: &Kind| kinds.as_ref().is_none_or(|kinds| kinds.contains(kind));
        let asked: Vec<&OfKind> = tally.kinds.iter().filter(|of| is_asked(&of.kind)).collect();
        if asked.iter().any(|of| of.special > 0 || hides(of.kind)) {
            return None;
        }
        if let Some(authors) = authors {
            let registers = asked.iter().flat_map(|of| &of.registers);
            registers.for_each(|asked| authors.raise(asked.register()));
        }
        Some(asked.iter().map(|of| u64::from(of.events)).sum())
    }
}
