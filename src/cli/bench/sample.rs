//! What is known of events that were stored: notes to ask for, and how many of all are there, since newer versions
//! of lists replace older ones. In: events. Out: what queries are drawn from. Holds a bounded number of notes.

use std::collections::HashSet;

use super::dice::Dice;
use crate::event::{Event, Id, Kind, KindClass, PublicKey};

/// Notes that queries are drawn from.
const NOTES_MAX: usize = 20_000;

/// A note that is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Note {
    pub(super) id: Id,
    pub(super) pubkey: PublicKey,
    pub(super) created_at: u64,
}

/// Notes drawn evenly from all that were stored.
pub(super) struct Sample {
    pub(super) notes: Vec<Note>,
    notes_seen: u64,
    dice: Dice,
    addresses: HashSet<String>,
    regular: usize,
    /// Events that were sent, and their JSON together.
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl Sample {
    pub(super) fn new() -> Sample {
        Sample {
            notes: Vec::new(),
            notes_seen: 0,
            dice: Dice::new(3),
            addresses: HashSet::new(),
            regular: 0,
            events: 0,
            bytes: 0,
        }
    }

    /// Events that are stored now.
    pub(super) fn observe(&mut self, events: &[Event]) {
        let mut text = Vec::new();
        for event in events {
            text.clear();
            event.write_json(&mut text);
            self.events += 1;
            self.bytes += text.len();
            match event.address() {
                Some(address) => drop(self.addresses.insert(address)),
                None => self.regular += usize::from(event.kind.class() != KindClass::Ephemeral),
            }
            if event.kind == Kind(1) {
                self.note(Note { id: event.id, pubkey: event.pubkey, created_at: event.created_at });
            }
        }
    }

    /// Keeps each note that was ever seen with the same chance.
    fn note(&mut self, note: Note) {
        self.notes_seen += 1;
        match self.dice.below(self.notes_seen) as usize {
            _ if self.notes.len() < NOTES_MAX => self.notes.push(note),
            at if at < NOTES_MAX => self.notes[at] = note,
            _ => {}
        }
    }

    /// How many events a relay has that was sent all these.
    pub(super) fn stored(&self) -> usize {
        self.regular + self.addresses.len()
    }

    /// A note.
    pub(super) fn draw(&self, dice: &mut Dice) -> Note {
        dice.pick(&self.notes)
    }
}
