//! NIP-56 reports (nips/56.md): what enough trusted people have reported is hidden until they take it back. In: a
//! report, a head, who asks. Out: targets, decisions. Never counts: `src/rule/hidden.rs` does.

use crate::config::Settings;
use crate::event::{Event, Id, Kind, PublicKey};
use crate::rule::hidden::{Target, Targets};
use crate::rule::{Check, Context, Decision, Head, Prefix, Refusal, Rule};
use crate::words::number;

/// What is reported by enough people is neither shown nor taken.
pub const RULES: &[Rule] = &[
    Rule {
        id: "reports.refused",
        settings: &["reports.author_threshold", "reports.event_threshold", "reports.refuse"],
        sentence: |settings| {
            let reports = &settings.reports;
            (reports.refuse && reports.count())
                .then(|| "New events of authors who are hidden for reports are not taken.".to_owned())
        },
        check: Check::Admit(admit),
    },
    Rule {
        id: "reports.hidden",
        settings: &[
            "reports.event_threshold",
            "reports.author_threshold",
            "reports.reporters",
            "reports.by_members",
            "reports.hops_max",
            "reports.types",
            "reports.labels",
        ],
        sentence,
        check: Check::Visible {
            shown: visible,
            hides: |_, context| !context.known.hidden.reported.is_empty(),
        },
    },
];

fn sentence(settings: &Settings) -> Option<String> {
    let reports = &settings.reports;
    let thresholds = [("an event", reports.event_threshold), ("an author", reports.author_threshold)];
    let each: Vec<String> = thresholds
        .iter()
        .filter(|(_, threshold)| *threshold > 0)
        .map(|(what, threshold)| match threshold {
            1 => format!("{what} that one of them reports"),
            threshold => format!("{what} that {} of them report", number(u64::from(*threshold))),
        })
        .collect();
    let labels = if reports.labels.is_empty() { "" } else { " and labels (NIP-32)" };
    (!each.is_empty()).then(|| {
        let each = each.join(", and ");
        format!(
            "Reports (NIP-56){labels} by people who are trusted here hide {each}, until they are taken back."
        )
    })
}

/// What a report names, if its type counts: the events that it names with a type, or, where it names no event,
/// the authors. `types` are those that count; none means all that are named.
pub fn reported(report: &Event, types: &[String]) -> Vec<Target> {
    let counts = |kind: Option<&str>| {
        kind.is_some_and(|kind| !kind.is_empty() && (types.is_empty() || types.iter().any(|one| one == kind)))
    };
    // Some clients write the type of a report on an event to its author's tag alone.
    let of_author = report.tags.iter().filter(|tag| tag.name() == "p").find_map(|tag| tag.get(2));
    targets(report, |kind| counts(kind.filter(|kind| !kind.is_empty()).or(of_author)), counts)
}

/// What a report or label is about: the events that it names, or, where it names none, the authors: the author of
/// an event stands there besides, and is not meant. Whether each counts is asked with the third element of its tag.
pub(super) fn targets(
    event: &Event,
    event_counts: impl Fn(Option<&str>) -> bool,
    author_counts: impl Fn(Option<&str>) -> bool,
) -> Vec<Target> {
    let named = |letter: &'static str| event.tags.iter().filter(move |tag| tag.name() == letter);
    let events: Vec<(Id, bool)> =
        named("e").filter_map(|tag| Some((Id::from_hex(tag.value()?)?, event_counts(tag.get(2))))).collect();
    if !events.is_empty() {
        return events.into_iter().filter(|(_, counts)| *counts).map(|(id, _)| Target::Event(id)).collect();
    }
    named("p")
        .filter(|tag| author_counts(tag.get(2)))
        .filter_map(|tag| PublicKey::from_hex(tag.value()?))
        .map(Target::Author)
        .collect()
}

/// Whether a community lets this person's reports and labels count.
pub fn is_reporter(key: &PublicKey, context: &Context<'_>) -> bool {
    let reports = &context.config.reports;
    let hops = |reach: u8| context.known.people.hops(key).is_some_and(|hops| hops <= reach);
    reports.reporters.contains(key)
        || reports.by_members && context.is_member(key)
        || reports.hops_max.is_some_and(hops)
}

/// What takes something back is always shown and taken, and what moderators say.
fn is_above(kind: Kind, author: &PublicKey, context: &Context<'_>) -> bool {
    matches!(kind, Kind::DELETION | Kind::VANISH) || context.config.reports.moderators.contains(author)
}

/// Whether an event is shown to who asks: hidden ones are to moderators and to their author, and to all if moderators
/// allowed them.
pub(super) fn is_shown(head: &Head<'_>, context: &Context<'_>, hidden: &Targets) -> bool {
    let may_see = |key: &PublicKey| key == head.author || context.config.reports.moderators.contains(key);
    !hidden.cover(head.id, head.author)
        || context.known.moderation.allows(head.id, head.author)
        || is_above(head.kind, head.author, context)
        || context.keys.iter().any(may_see)
}

/// Refuses an event that is hidden already, with what is said of its author and of itself.
pub(super) fn refuse(
    event: &Event,
    context: &Context<'_>,
    hidden: &Targets,
    rule: &'static str,
    [of_author, of_event]: [&'static str; 2],
) -> Decision {
    let is_free = is_above(event.kind, &event.pubkey, context)
        || context.known.moderation.allows(&event.id, &event.pubkey);
    if !hidden.cover(&event.id, &event.pubkey) || is_free {
        return Ok(());
    }
    let sentence = if hidden.has_author(&event.pubkey) { of_author } else { of_event };
    Err(Refusal::new(Prefix::Blocked, rule, sentence))
}

fn admit(event: &Event, context: &Context<'_>) -> Decision {
    refuse(
        event,
        context,
        &context.known.hidden.reported,
        "reports.refused",
        [
            "people who are trusted here have reported this author",
            "people who are trusted here have reported this event",
        ],
    )
}

fn visible(head: &Head<'_>, context: &Context<'_>) -> bool {
    is_shown(head, context, &context.known.hidden.reported)
}
