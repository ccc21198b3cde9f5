//! NIP-70, protected events (nips/70.md). In: an event, the keys of the connection. Out: a decision.

use crate::event::{Event, Kind};
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Rule};

/// Protected events come from their author alone.
pub const RULES: &[Rule] = &[
    Rule {
        id: "nip70.protected",
        settings: &["nip70.accept"],
        sentence: |settings| {
            Some(match settings.nip70.accept {
                true => "Protected events (NIP-70) are taken from their author, after logging in.".to_owned(),
                false => "Protected events (NIP-70) are not taken.".to_owned(),
            })
        },
        check: Check::Admit(admit),
    },
    Rule {
        id: "nip70.repost",
        settings: &[],
        sentence: |_| Some("Reposts that embed a protected event are not taken.".to_owned()),
        check: Check::Admit(admit_repost),
    },
];

fn is_protected(event: &Event) -> bool {
    event.tags.iter().any(|tag| tag.name() == "-")
}

/// Takes a protected event only from its authenticated author.
fn admit(event: &Event, context: &Context<'_>) -> Decision {
    if !is_protected(event) || (context.config.nip70.accept && context.keys.contains(&event.pubkey)) {
        return Ok(());
    }
    let (prefix, sentence) = match (context.config.nip70.accept, context.keys.is_empty()) {
        (false, _) => (Prefix::Blocked, "protected events are not taken here"),
        (true, true) => {
            (Prefix::AuthRequired, "this event may only be published by its author; authenticate first")
        }
        (true, false) => (
            Prefix::Restricted,
            "this event may only be published by its author, whose key is not authenticated",
        ),
    };
    Err(Refusal::new(prefix, "nip70.protected", sentence))
}

/// Refuses reposts that carry a protected event in their content, whoever sends them.
fn admit_repost(event: &Event, _: &Context<'_>) -> Decision {
    let is_repost = event.kind == Kind::REPOST || event.kind == Kind::GENERIC_REPOST;
    // Most reposts embed nothing protected: look for the tag's text, as it is or escaped, before parsing.
    let may_embed = event.content.contains('-') || event.content.contains("\\u");
    if !is_repost || !may_embed || !embeds_protected(&event.content) {
        return Ok(());
    }
    Err(Refusal::new(Prefix::Blocked, "nip70.repost", "the repost embeds an event that its author protected"))
}

fn embeds_protected(content: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(content).is_ok_and(|embedded| {
        let tags = embedded.get("tags").and_then(|tags| tags.as_array());
        tags.is_some_and(|tags| tags.iter().any(|tag| tag.get(0).and_then(|name| name.as_str()) == Some("-")))
    })
}
