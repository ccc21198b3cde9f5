//! What moderators decided by hand (nips/86.md): people, events and kinds that are neither taken nor, but for
//! kinds, shown. In: an event or a head, what was decided. Out: a decision. Never decides who may decide.

use crate::event::{Event, Kind};
use crate::rule::moderation::Standing;
use crate::rule::{Check, Context, Decision, Head, Prefix, Refusal, Rule};

/// These are always run: what was decided stands in no setting.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "admin.banned",
        settings: &["admin.owners"],
        sentence: |_| Some("Who and what the moderators have banned is not taken.".to_owned()),
        check: Check::Admit(banned),
    },
    Rule {
        id: "admin.kinds",
        settings: &["admin.owners"],
        sentence: |_| Some("Kinds of events that the moderators have ruled out are not taken.".to_owned()),
        check: Check::Admit(kind),
    },
    Rule {
        id: "admin.hidden",
        settings: &["admin.owners"],
        sentence: |_| Some("Who and what the moderators have banned is not shown.".to_owned()),
        check: Check::Visible { shown: visible, hides: |_, context| context.known.moderation.may_ban() },
    },
];

fn banned(event: &Event, context: &Context<'_>) -> Decision {
    let moderation = &context.known.moderation;
    // A request to vanish is followed whoever sends it (NIP-62).
    if event.kind == Kind::VANISH || !moderation.bans(&event.id, &event.pubkey) {
        return Ok(());
    }
    let sentence = match moderation.event(&event.id) {
        Some(_) => "the moderators have removed this event",
        None => "the moderators have banned this author",
    };
    Err(Refusal::new(Prefix::Blocked, "admin.banned", sentence))
}

fn kind(event: &Event, context: &Context<'_>) -> Decision {
    if event.kind == Kind::VANISH || context.known.moderation.kind(event.kind) != Some(Standing::Banned) {
        return Ok(());
    }
    let sentence = format!("the moderators take no events of kind {} here", event.kind);
    Err(Refusal::new(Prefix::Blocked, "admin.kinds", sentence))
}

fn visible(head: &Head<'_>, context: &Context<'_>) -> bool {
    !context.known.moderation.bans(head.id, head.author)
}
