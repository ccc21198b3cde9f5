//! NIP-51 mute lists (nips/51.md): what the public mute lists of moderators name is hidden from everybody else.
//! In: a mute list, a head, who asks. Out: targets, decisions. Never reads a list's private part. `sets`: lists that
//! relays share.

pub mod sets;

use super::nip56::{is_shown, refuse};
use crate::config::Settings;
use crate::event::{Event, Id, PublicKey};
use crate::rule::hidden::Target;
use crate::rule::{Check, Context, Decision, Head, Rule};

/// What moderators mute is neither shown nor taken.
pub const RULES: &[Rule] = &[
    Rule {
        id: "reports.muted_refused",
        settings: &["reports.moderators", "reports.refuse"],
        sentence: |settings| {
            (settings.reports.refuse && !settings.reports.moderators.is_empty())
                .then(|| "New events of authors whom a moderator has muted are not taken.".to_owned())
        },
        check: Check::Admit(admit),
    },
    Rule {
        id: "reports.muted",
        settings: &["reports.moderators"],
        sentence,
        check: Check::Visible { shown: visible, hides: |_, context| !context.known.hidden.muted.is_empty() },
    },
];

fn sentence(settings: &Settings) -> Option<String> {
    let who = match settings.reports.moderators.len() {
        0 => return None,
        1 => "the moderator has".to_owned(),
        count => format!("one of {count} moderators has"),
    };
    Some(format!("Authors and events that {who} in a public mute list (NIP-51) are not shown."))
}

/// What a mute list names in public: authors (`p`) and events (`e`). Words and hashtags are each reader's own
/// matter.
pub fn muted(list: &Event) -> impl Iterator<Item = Target> {
    let authors = list.tags.values("p").filter_map(PublicKey::from_hex).map(Target::Author);
    authors.chain(list.tags.values("e").filter_map(Id::from_hex).map(Target::Event))
}

fn admit(event: &Event, context: &Context<'_>) -> Decision {
    refuse(
        event,
        context,
        &context.known.hidden.muted,
        "reports.muted_refused",
        ["a moderator has muted this author", "a moderator has muted this event"],
    )
}

fn visible(head: &Head<'_>, context: &Context<'_>) -> bool {
    is_shown(head, context, &context.known.hidden.muted)
}
