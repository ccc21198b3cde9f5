//! NIP-42, authentication (nips/42.md). In: an AUTH event that is verified, the challenge, the names of
//! this relay. Out: a decision. Never trusts the `Host` header, which a rogue relay could make a
//! victim sign for.

use crate::event::{Event, Kind};
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Rule};

/// Proofs are not events to publish.
pub const RULES: &[Rule] = &[Rule {
    id: "nip42.auth_kind",
    settings: &[],
    sentence: |_| Some("Proofs of a key (kind 22242) are not taken as events.".to_owned()),
    check: Check::Admit(admit),
}];

/// Refuses kind 22242 as an event to publish: it is a proof for one relay alone.
fn admit(event: &Event, _: &Context<'_>) -> Decision {
    if event.kind != Kind::AUTH {
        return Ok(());
    }
    Err(Refusal::new(Prefix::Invalid, "nip42.auth_kind", "kind 22242 is sent with AUTH and never published"))
}

/// Whether a signed event proves its author's key on this connection.
pub fn prove(event: &Event, challenge: &str, context: &Context<'_>) -> Decision {
    let refuse = |rule, sentence: String| Err(Refusal::new(Prefix::Invalid, rule, sentence));
    if event.kind != Kind::AUTH {
        return refuse("nip42.kind", format!("AUTH takes an event of kind 22242, not {}", event.kind));
    }
    let window = context.config.nip42.window_seconds;
    let off = event.created_at.abs_diff(context.now);
    if off > window {
        return refuse("nip42.window", format!("created_at is {off} seconds from now, more than {window}"));
    }
    if !event.tags.values("challenge").any(|value| value == challenge) {
        return refuse(
            "nip42.challenge",
            "the challenge tag is not the one that this connection was sent".into(),
        );
    }
    if !event.tags.values("relay").any(|url| context.relay.include(url)) {
        return refuse("nip42.relay", "the relay tag does not name this relay".into());
    }
    Ok(())
}
