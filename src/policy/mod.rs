//! A community's rules as ordered tables of named pure functions, and the rules that no NIP owns. In: an
//! event or a head, and a [`Context`]. Out: a [`Decision`]. Never does I/O, reads a clock or keeps state.

pub mod blocklist;
mod limits;
mod place;

pub use limits::admit_query;
pub use place::{Facts, Placement, foresee, place, superseded};

use crate::event::Event;
use crate::nips::{nip13, nip40, nip42, nip59, nip62, nip70};
use crate::rule::{Context, Decision, Head};

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

/// The head of an event at hand.
pub fn head_of(event: &Event) -> Head<'_> {
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

/// Whether this event may be shown, counted or streamed to who asks: one function for stored and live.
pub fn visible(head: &Head<'_>, context: &Context<'_>) -> bool {
    !head.vanished && nip40::visible(head, context) && nip59::visible(head, context)
}
