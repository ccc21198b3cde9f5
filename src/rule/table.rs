//! A rule as a row: its stable id, the settings that decide, what it asks for in a sentence, and the pure
//! function that decides; and what rules may ask of the store.

use crate::config::Settings;
use crate::event::{Event, Id, Kind, Verified};
use crate::filter::Filter;

use super::{Context, Decision, Head};

/// One row of a community's rules.
pub struct Rule {
    /// The stable id, such as `geohash.area`. What stands before the dot is its section of relay.toml, whose
    /// `mode` says whether it refuses or only counts.
    pub id: &'static str,
    /// The keys of relay.toml that decide, such as `geohash.prefixes`.
    pub settings: &'static [&'static str],
    /// What it asks for, for members to read; `None` when it asks for nothing under these settings, and then
    /// it is not run.
    pub sentence: fn(&Settings) -> Option<String>,
    /// What decides.
    pub check: Check,
}

/// When a rule runs, and its function.
#[derive(Clone, Copy)]
pub enum Check {
    /// Before the signature is checked: it needs the event, the session, the time and the settings.
    Admit(fn(&Event, &Context<'_>) -> Decision),
    /// After the signature proved true: what is dear.
    Verified(fn(&Verified, &Context<'_>) -> Decision),
    /// Outside of the relay, before the writer: programs decide.
    Plugins,
    /// In the writer: it needs other stored events.
    Place {
        /// What it must know of the store. Called again with what was found, until it asks for nothing new.
        wants: fn(&Event, &Related, &Context<'_>) -> Vec<Want>,
        /// The decision, given what was found.
        check: fn(&Verified, &Related, &Context<'_>) -> Decision,
    },
    /// For each REQ and COUNT.
    Query(fn(&[Filter], &Context<'_>) -> Decision),
    /// For each COUNT, after those for both.
    Count(fn(&[Filter], &Context<'_>) -> Decision),
    /// For each event that would be shown, counted or streamed.
    Visible {
        /// Whether it may be.
        shown: fn(&Head<'_>, &Context<'_>) -> bool,
        /// Whether some events of a kind may not be, for what they are besides what all of a kind are: events that
        /// expire, are marked as being for followers or were bridged are not meant. Where no rule hides anything,
        /// a COUNT need not look at each event; to say so of a kind that nothing is hidden of is only slower.
        hides: fn(Kind, &Context<'_>) -> bool,
    },
}

/// How often a rule may ask the store again with what it found.
pub const WANT_ROUNDS_MAX: usize = 3;

/// What a rule asks of the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Want {
    /// The event of this id.
    Id(Id),
    /// The stored version of this address, `kind:pubkey:d`.
    Address(String),
    /// Events of a kind that have a tag, those that arrived last first.
    Naming {
        /// Their kind.
        kind: Kind,
        /// The tag's letter.
        letter: u8,
        /// The tag's value.
        value: String,
        /// How many at most.
        most: usize,
    },
    /// Events of a kind by an author, those that arrived last first.
    ByAuthor {
        /// Their author.
        author: crate::event::PublicKey,
        /// Their kind.
        kind: Kind,
        /// How many at most.
        most: usize,
    },
    /// What the event's own author has stored: [`Related::usage`].
    Usage,
    /// Which events of a group it may refer to: [`Related::references`].
    References {
        /// The group's id.
        group: String,
        /// The event's author, whose own events are no context.
        author: crate::event::PublicKey,
        /// How the ids begin to which it refers.
        beginnings: Vec<[u8; 4]>,
    },
}

/// What one author has stored that counts against their quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Events.
    pub events: u64,
    /// Bytes, about; 0 when nobody counts them.
    pub bytes: u64,
}

/// What an event's author has stored, and what it would add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// What they have, but for what goes because of the event.
    pub has: Load,
    /// What the event adds.
    pub adds: Load,
    /// Whether older events of theirs, if they go, make room for it.
    pub can_make_room: bool,
}

/// What was found of what an event refers to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct References {
    /// Those of the beginnings of ids with which a stored event of the group begins.
    pub found: Vec<[u8; 4]>,
    /// How many of the group's latest events are by others.
    pub by_others: usize,
}

/// A stored event that a rule asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// The event.
    pub event: Event,
    /// Grows in order of arrival.
    pub number: u64,
}

/// What was found of what a rule asked for.
#[derive(Debug, Clone, Default)]
pub struct Related {
    found: Vec<(Want, Vec<Arrived>)>,
    usage: Option<Usage>,
    references: Option<References>,
}

impl Related {
    /// What was found for a want; empty when there is nothing, or it was not asked for.
    pub fn of(&self, want: &Want) -> &[Arrived] {
        self.found.iter().find(|(asked, _)| asked == want).map_or(&[], |(_, found)| found)
    }

    /// The one event of a want, or the one that arrived last.
    pub fn one(&self, want: &Want) -> Option<&Arrived> {
        self.of(want).first()
    }

    /// Whether a want was asked for already.
    pub fn has_asked(&self, want: &Want) -> bool {
        match want {
            Want::Usage => self.usage.is_some(),
            Want::References { .. } => self.references.is_some(),
            want => self.found.iter().any(|(asked, _)| asked == want),
        }
    }

    /// What the author has stored, if a rule asked for it.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Adds what the author has stored.
    pub fn add_usage(&mut self, usage: Usage) {
        self.usage = Some(usage);
    }

    /// What the event refers to, if a rule asked for it.
    pub fn references(&self) -> Option<&References> {
        self.references.as_ref()
    }

    /// Adds what it refers to.
    pub fn add_references(&mut self, references: References) {
        self.references = Some(references);
    }

    /// Adds what was found for a want.
    pub fn add(&mut self, want: Want, found: Vec<Arrived>) {
        self.found.push((want, found));
    }
}

impl From<Vec<(Want, Vec<Arrived>)>> for Related {
    fn from(found: Vec<(Want, Vec<Arrived>)>) -> Related {
        Related { found, ..Related::default() }
    }
}
