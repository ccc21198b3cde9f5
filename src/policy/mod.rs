//! A community's rules as ordered tables of named pure functions. In: an event or a head, and a
//! [`Context`]. Out: a [`Decision`]. Never does I/O, reads a clock or keeps state.

mod decision;
mod limits;
mod place;

pub use decision::{Decision, Prefix, Refusal};
pub use limits::admit_query;
pub use place::{Facts, Placement, foresee, place, superseded};

use crate::config::Config;
use crate::event::{Event, Id, Kind, PublicKey, Tags};
use crate::nips::nip42::RelayNames;
use crate::nips::{nip13, nip40, nip42, nip59, nip62, nip70};

/// What a rule may know besides the event: the time, the settings and who is asking.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Seconds since 1970.
    pub now: u64,
    /// The community's settings.
    pub config: &'a Config,
    /// The keys that this connection has proved (NIP-42).
    pub keys: &'a [PublicKey],
    /// The URLs that name this relay on this connection.
    pub relay: &'a RelayNames,
}

/// A rule that needs only the event, the session, the time and the settings.
pub type Admit = fn(&Event, &Context<'_>) -> Decision;

/// The rules that an event passes before its signature is looked at, cheap ones first.
pub const ADMIT: &[(&str, Admit)] = &[
    ("limits.created_at_future", limits::created_at_future),
    ("limits.created_at_past", limits::created_at_past),
    ("limits.event_tags_max", limits::event_tags),
    ("limits.tag_value_bytes_max", limits::tag_values),
    ("limits.content_chars_max", limits::content),
    ("nip42.auth_kind", nip42::admit),
    ("nip40.expired", nip40::admit),
    ("nip13.difficulty", nip13::admit),
    ("nip62.relay", nip62::admit),
    ("nip70.protected", nip70::admit),
    ("nip70.repost", nip70::admit_repost),
];

/// Whether all of [`ADMIT`] accept the event; else the first refusal.
pub fn admit(event: &Event, context: &Context<'_>) -> Decision {
    ADMIT.iter().try_for_each(|(_, rule)| rule(event, context))
}

/// What may be known of an event without reading its body.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// Its id.
    pub id: &'a Id,
    /// Its author.
    pub author: &'a PublicKey,
    /// Its kind.
    pub kind: Kind,
    /// When its author says it was made.
    pub created_at: u64,
    /// When it expires (NIP-40).
    pub expires_at: Option<u64>,
    /// Whether its author, or the recipient of a wrap, has vanished (NIP-62) and it waits to be swept.
    pub vanished: bool,
    /// Its indexed tags.
    pub tags: &'a dyn IndexedTags,
}

/// Indexed tags, wherever they are kept.
pub trait IndexedTags {
    /// Whether there is a tag of this letter and value.
    fn has(&self, letter: u8, value: &str) -> bool;
}

impl IndexedTags for Tags {
    fn has(&self, letter: u8, value: &str) -> bool {
        self.indexed().any(|tag| tag == (letter, value))
    }
}

impl<'a> Head<'a> {
    /// The head of an event at hand.
    pub fn of(event: &'a Event) -> Head<'a> {
        Head {
            id: &event.id,
            author: &event.pubkey,
            kind: event.kind,
            created_at: event.created_at,
            expires_at: nip40::expires_at(event),
            vanished: false,
            tags: &event.tags,
        }
    }
}

/// Whether this event may be shown, counted or streamed to who asks: one function for stored and live.
pub fn visible(head: &Head<'_>, context: &Context<'_>) -> bool {
    !head.vanished && nip40::visible(head, context) && nip59::visible(head, context)
}
