//! NIP-40, expiration (nips/40.md). In: an event or a head, and the time. Out: a decision. Never
//! deletes: `pipeline/sweep.rs` does.

use crate::event::{Event, KindClass};
use crate::rule::{Check, Context, Decision, Head, Prefix, Refusal, Rule};

/// What has expired is neither taken nor shown.
pub const RULES: &[Rule] = &[
    Rule {
        id: "nip40.expired",
        settings: &[],
        sentence: |_| Some("Events that have expired (NIP-40) are not taken.".to_owned()),
        check: Check::Admit(admit),
    },
    Rule {
        id: "nip40.hidden",
        settings: &[],
        sentence: |_| Some("Events are shown until they expire (NIP-40).".to_owned()),
        check: Check::Visible { shown: visible, hides: |_, _| false },
    },
];

/// When an event expires: the value of its first `expiration` tag, in seconds since 1970. Ephemeral
/// events are not affected by theirs.
pub fn expires_at(event: &Event) -> Option<u64> {
    match event.kind.class() {
        KindClass::Ephemeral => None,
        _ => stated(event),
    }
}

/// The time in an event's first `expiration` tag, of whatever kind the event is.
pub fn stated(event: &Event) -> Option<u64> {
    event.tags.values("expiration").next()?.parse().ok()
}

/// Whether an expiration time has been reached.
pub fn is_expired(expires_at: Option<u64>, now: u64) -> bool {
    expires_at.is_some_and(|time| time <= now)
}

/// Refuses events that have expired, and those whose expiration nobody could act on.
fn admit(event: &Event, context: &Context<'_>) -> Decision {
    let expires_at = expires_at(event);
    if is_expired(expires_at, context.now) {
        return Err(Refusal::new(Prefix::Invalid, "nip40.expired", "the event has expired"));
    }
    let stated = event.tags.iter().any(|tag| tag.name() == "expiration");
    if expires_at.is_none() && stated && event.kind.class() != KindClass::Ephemeral {
        return Err(Refusal::new(
            Prefix::Invalid,
            "nip40.expired",
            "the expiration tag must hold a whole number of seconds since 1970",
        ));
    }
    Ok(())
}

/// Hides what has expired, although it may not have been swept yet.
fn visible(head: &Head<'_>, context: &Context<'_>) -> bool {
    !is_expired(head.expires_at, context.now)
}
