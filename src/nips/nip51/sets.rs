//! Sets (kind 30000) in which relays share whom they ban and which domains they block (docs/lists.md). In: entries, or
//! the tags of an event. Out: the other of both. Pure; says nothing of what becomes of who is on a list.
//!
//! An entry is a tag of four: `p` and a key, or `word` and a domain, a place that is left empty, since readers of `p`
//! look for a relay there, and the day on which it was put on the list with the reason: `2026-09-21 spam`. There are
//! clients to which a longer `p` means something else.

use std::collections::HashMap;

use crate::config::{LIST_ENTRIES_MAX, ListKind};
use crate::domain::normalize;
use crate::event::{Event, Kind, PublicKey, Tags};
use crate::words::{beginning_of_day, day};

/// The kind of the sets.
pub const KIND: Kind = Kind(30_000);

/// Characters of a reason, and of a title.
pub const REASON_CHARS_MAX: usize = 200;
const TITLE_CHARS_MAX: usize = 100;

/// Characters of a description.
const DESCRIPTION_CHARS_MAX: usize = 500;

/// What a tag has besides its texts when it is JSON: brackets, quotes and commas.
const TAG_BYTES: usize = 20;

/// Who or what is on a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Listed {
    /// A person.
    Pubkey(PublicKey),
    /// A domain, normalized.
    Domain(Box<str>),
}

/// Why, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Why {
    /// The reason, in one line; may be empty.
    pub reason: Box<str>,
    /// Seconds since 1970; lists tell the day alone.
    pub at: u64,
}

/// A list as an event has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Set {
    /// What it is called.
    pub title: String,
    /// Everything on it.
    pub entries: HashMap<Listed, Why>,
    /// Entries that make no sense: no key, no domain name.
    pub passed_over: usize,
}

/// A list that says more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has more than {0} entries")]
pub struct TooLong(pub usize);

const fn tag_name(kind: ListKind) -> &'static str {
    match kind {
        ListKind::Pubkeys => "p",
        ListKind::Domains => "word",
    }
}

/// A text in one line, without control characters, of so many characters at most.
pub fn plain(text: &str, chars_max: usize) -> String {
    let is_odd = |letter: char| {
        // What turns the direction of what follows would let a list write over the relay's own sentence.
        letter.is_control()
            || matches!(letter, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let line: String = text.chars().map(|letter| if is_odd(letter) { ' ' } else { letter }).collect();
    let line: String = line.trim().chars().take(chars_max).collect();
    line.trim_end().to_owned()
}

/// A domain as a list has it; `None` for what is none, or a whole top-level domain.
pub fn domain(text: &str) -> Option<Box<str>> {
    normalize(text).filter(|name| name.contains('.')).map(Into::into)
}

/// The tags of a list, of so many bytes as JSON at most: where there is no room for all, the oldest are left out, and
/// `left_out` says how many.
pub fn tags(
    kind: ListKind,
    [title, description]: [&str; 2],
    entries: &[(Listed, Why)],
    bytes_max: usize,
) -> Tags {
    let mut all: Vec<(&Listed, &Why)> = entries.iter().map(|(listed, why)| (listed, why)).collect();
    all.sort_by_key(|(listed, why)| (std::cmp::Reverse(why.at), *listed));
    let texts: Vec<(String, String)> =
        all.iter().map(|(listed, why)| (text_of(listed), note_of(why))).collect();
    let mut bytes = 0;
    let fits = |(what, note): &&(String, String)| {
        bytes += TAG_BYTES + what.len() + 2 * note.len();
        bytes <= bytes_max
    };
    let kept = texts.iter().take(LIST_ENTRIES_MAX).take_while(fits).count();
    let mut tags = Tags::default();
    tags.push(["d", kind.identifier()]);
    tags.push(["title", &plain(title, TITLE_CHARS_MAX)]);
    tags.push(["description", &plain(description, DESCRIPTION_CHARS_MAX)]);
    // Newer ones follow older ones, as in every list.
    for (what, note) in texts[..kept].iter().rev() {
        tags.push([tag_name(kind), what, "", note]);
    }
    if kept < texts.len() {
        tags.push(["left_out", &(texts.len() - kept).to_string()]);
    }
    tags
}

fn text_of(listed: &Listed) -> String {
    match listed {
        Listed::Pubkey(key) => key.to_string(),
        Listed::Domain(name) => name.to_string(),
    }
}

/// The day and the reason, as a list has them.
fn note_of(why: &Why) -> String {
    let reason = plain(&why.reason, REASON_CHARS_MAX);
    format!("{} {reason}", day(why.at)).trim_end().to_owned()
}

/// The same as it was meant; without a day it is the event's.
fn why_of(note: &str, made_at: u64) -> Why {
    let (first, rest) = note.split_once(' ').unwrap_or((note, ""));
    let (at, reason) = beginning_of_day(first).map_or((made_at, note), |at| (at, rest));
    Why { reason: plain(reason, REASON_CHARS_MAX).into(), at: at.min(made_at) }
}

/// Which list an event is, if it is one.
pub fn kind_of(event: &Event) -> Option<ListKind> {
    ListKind::of_identifier(event.identifier()).filter(|_| event.kind == KIND)
}

/// How many entries an event leaves out, as it says itself.
pub fn left_out(event: &Event) -> u64 {
    event.tags.values("left_out").next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Reads a list. Entries without a date have that of the event; of what is there twice the last one counts.
///
/// # Errors
/// When there are more than so many entries.
pub fn read(kind: ListKind, event: &Event, entries_max: usize) -> Result<Set, TooLong> {
    let name = tag_name(kind);
    let entries = || event.tags.iter().filter(|tag| tag.name() == name);
    if entries().count() > entries_max {
        return Err(TooLong(entries_max));
    }
    let title = event.tags.values("title").next().map(|title| plain(title, TITLE_CHARS_MAX));
    let title = title.filter(|title| !title.is_empty()).unwrap_or_else(|| kind.identifier().to_owned());
    let mut set = Set { title, ..Set::default() };
    for tag in entries() {
        let what = tag.value().unwrap_or_default();
        let listed = match kind {
            ListKind::Pubkeys => PublicKey::from_hex(what).map(Listed::Pubkey),
            ListKind::Domains => domain(what).map(Listed::Domain),
        };
        let Some(listed) = listed else {
            set.passed_over += 1;
            continue;
        };
        set.entries.insert(listed, why_of(tag.get(3).unwrap_or_default(), event.created_at));
    }
    Ok(set)
}
