//! NIP-62, the request to vanish (nips/62.md). In: a kind 62 event, the names of this relay. Out: a
//! decision. Never deletes: the writer sets the tombstone, `pipeline/sweep.rs` removes the bodies.

use crate::event::{Event, Kind};
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Rule};

/// Requests for other relays are not taken.
pub const RULES: &[Rule] = &[Rule {
    id: "nip62.relay",
    settings: &["relay.urls"],
    sentence: |_| {
        Some("A request to vanish (NIP-62) is followed when it names this relay or all relays.".to_owned())
    },
    check: Check::Admit(admit),
}];

/// The value that means every relay.
const ALL_RELAYS: &str = "ALL_RELAYS";

/// Whether a request is meant for this relay.
fn concerns(event: &Event, context: &Context<'_>) -> bool {
    event.tags.values("relay").any(|relay| relay == ALL_RELAYS || context.relay.include(relay))
}

/// Refuses requests that do not concern this relay: to store one would look like having followed it.
fn admit(event: &Event, context: &Context<'_>) -> Decision {
    if event.kind != Kind::VANISH || concerns(event, context) {
        return Ok(());
    }
    let sentence = if event.tags.values("relay").next().is_none() {
        "a request to vanish must have a relay tag"
    } else {
        "this request to vanish names other relays; name this one or ALL_RELAYS"
    };
    Err(Refusal::new(Prefix::Invalid, "nip62.relay", sentence))
}
