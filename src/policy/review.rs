//! What the moderation service is to decide, or has labelled (docs/moderation.md). In: a head, what is held, the
//! verdicts. Out: whether it is shown. Never asks the service; `src/review/` does.

use crate::config::Mode;
use crate::rule::moderation::Rank;
use crate::rule::{Check, Context, Head, Rule};

/// The rules in the order in which they are run.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "moderation_service.held",
        settings: &["moderation_service.until_verdict", "moderation_service.url"],
        sentence: |settings| {
            let holds = settings.moderation_service.holds();
            holds.then(|| "Events are looked at by a service before others see them.".to_owned())
        },
        check: Check::Visible { shown: is_free, hides: |_, context| !context.known.held.is_empty() },
    },
    Rule {
        id: "moderation_service.labels",
        settings: &["moderation_service.labels_hidden", "moderation_service.url"],
        sentence: |settings| {
            let service = &settings.moderation_service;
            let hides =
                service.url.is_some() && service.mode == Mode::Enforce && !service.labels_hidden.is_empty();
            hides.then(|| {
                format!("What a service labels as {} is not shown.", service.labels_hidden.join(", "))
            })
        },
        check: Check::Visible {
            shown: is_not_labelled,
            hides: |_, context| !context.known.moderation.labels.is_empty(),
        },
    },
];

/// Whether who asks sees an event before the others do: its author, and those who moderate.
fn sees_before(head: &Head<'_>, context: &Context<'_>) -> bool {
    let moderates = |key| {
        context.config.admin.owners.contains(key) || context.known.moderation.rank(key) >= Rank::Moderator
    };
    context.keys.iter().any(|key| key == head.author || moderates(key))
}

/// Whether who asks has seen an event while it was held.
pub(crate) fn saw_held(head: &Head<'_>, context: &Context<'_>) -> bool {
    sees_before(head, context)
}

fn is_free(head: &Head<'_>, context: &Context<'_>) -> bool {
    !context.known.held.has(head.id) || sees_before(head, context)
}

fn is_not_labelled(head: &Head<'_>, context: &Context<'_>) -> bool {
    let label = context.known.moderation.labels.get(head.id);
    let hides =
        label.is_some_and(|label| context.config.moderation_service.labels_hidden.contains(&label.label));
    !hides || sees_before(head, context)
}
