//! NIP-36, content warnings, and NIP-32 labels that authors put on their own events (nips/36.md). In: an
//! event, the settings. Out: a decision. Never judges content: what its author says of it is what counts.

use crate::config::{ContentWarning, Settings};
use crate::event::{Event, Kind};
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Rule};
use crate::words::any_of;

/// What is asked of warnings and labels.
pub const RULES: &[Rule] = &[
    Rule {
        id: "media.content_warning",
        settings: &["media.content_warning", "media.content_warning_kinds"],
        sentence: warning_sentence,
        check: Check::Admit(warning),
    },
    Rule {
        id: "media.labels",
        settings: &["media.labels_refused"],
        sentence: |settings| {
            let refused = &settings.media.labels_refused;
            (!refused.is_empty()).then(|| format!("What its author labels {} is not taken.", any_of(refused)))
        },
        check: Check::Admit(labels),
    },
];

fn warning_sentence(settings: &Settings) -> Option<String> {
    let kinds = &settings.media.content_warning_kinds;
    match settings.media.content_warning {
        _ if kinds.is_empty() => None,
        ContentWarning::Free => None,
        ContentWarning::Required => {
            Some(format!("Events of kinds {kinds} carry a content warning (NIP-36)."))
        }
        ContentWarning::Refused => {
            Some(format!("Events of kinds {kinds} that need a content warning (NIP-36) are not taken."))
        }
    }
}

fn warning(event: &Event, context: &Context<'_>) -> Decision {
    let media = &context.config.media;
    if !media.content_warning_kinds.contains(event.kind) {
        return Ok(());
    }
    let warns = event.tags.iter().any(|tag| tag.name() == "content-warning")
        || event.tags.values("L").any(|namespace| namespace == "content-warning");
    let refuse = |prefix, sentence| Err(Refusal::new(prefix, "media.content_warning", sentence));
    match (media.content_warning, warns) {
        (ContentWarning::Required, false) => refuse(
            Prefix::Invalid,
            format!("an event of kind {} needs a content-warning tag here", event.kind),
        ),
        (ContentWarning::Refused, true) => {
            refuse(Prefix::Blocked, "what needs a content warning is not taken here".to_owned())
        }
        _ => Ok(()),
    }
}

/// Refuses what its author labels with a refused label: `label` in any namespace, or `namespace:label`.
fn labels(event: &Event, context: &Context<'_>) -> Decision {
    // Such an event labels others, and not itself (NIP-32).
    if event.kind == Kind::LABEL {
        return Ok(());
    }
    let refused = &context.config.media.labels_refused;
    for tag in event.tags.iter().filter(|tag| tag.name() == "l") {
        let (label, namespace) = (tag.value().unwrap_or(""), tag.get(2).unwrap_or("ugc"));
        let is_refused = refused.iter().any(|one| {
            *one == label
                || one.strip_prefix(namespace).is_some_and(|rest| rest.strip_prefix(':') == Some(label))
        });
        if is_refused {
            let sentence = format!("what is labelled {label} is not taken here");
            return Err(Refusal::new(Prefix::Blocked, "media.labels", sentence));
        }
    }
    Ok(())
}
