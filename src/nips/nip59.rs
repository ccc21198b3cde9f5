//! NIP-59 gift wraps, with NIP-17 and NIP-04 messages (nips/59.md, nips/17.md, nips/04.md): private
//! kinds are shown, counted and streamed only to their parties. In: a head, who asks. Out: a decision.

use std::fmt::Write as _;

use crate::config::{Nip17, Settings};
use crate::event::{Kind, PublicKey};
use crate::filter::Filter;
use crate::rule::{Check, Context, Decision, Head, Prefix, Refusal, Rule};
use crate::words::any_of;

/// Private kinds are shown to their parties.
pub const RULES: &[Rule] = &[
    Rule {
        id: "nip17.private_kinds",
        settings: &["nip17.enabled", "nip17.private_kinds"],
        sentence,
        check: Check::Query(admit_query),
    },
    Rule {
        id: "nip17.private_hidden",
        settings: &["nip17.enabled", "nip17.private_kinds"],
        sentence,
        check: Check::Visible { shown: visible, hides: is_private },
    },
    Rule {
        id: "nip17.count_parties_only",
        settings: &["nip17.count_parties_only", "nip17.enabled", "nip17.private_kinds"],
        sentence: |settings| {
            (sentence(settings).is_some() && settings.nip17.count_parties_only)
                .then(|| "Messages are counted only for who wrote them and who they are for.".to_owned())
        },
        check: Check::Count(admit_count),
    },
];

fn sentence(settings: &Settings) -> Option<String> {
    let Nip17 { private_kinds, enabled, .. } = &settings.nip17;
    (*enabled && !private_kinds.is_empty()).then(|| {
        let kinds = any_of(private_kinds);
        format!("Messages of kinds {kinds} are shown only to who wrote them and who they are for.")
    })
}

fn is_private(kind: Kind, context: &Context<'_>) -> bool {
    let settings = &context.config.nip17;
    settings.enabled && settings.private_kinds.contains(&kind.0)
}

/// Whether a filter asks for nothing but what one of the asker's keys wrote or is named in.
fn is_of_party(filter: &Filter, context: &Context<'_>) -> bool {
    let is_own = |key: &PublicKey| context.keys.contains(key);
    let names = |keys: &Vec<PublicKey>| !keys.is_empty() && keys.iter().all(is_own);
    let names_own = |value: &String| PublicKey::from_hex(value).is_some_and(|key| is_own(&key));
    let is_addressed = |values: &Vec<String>| !values.is_empty() && values.iter().all(names_own);
    filter.authors.as_ref().is_some_and(names)
        || filter.tags.iter().any(|(letter, values)| *letter == b'p' && is_addressed(values))
        || filter.all_tags.iter().any(|(letter, value)| *letter == b'p' && names_own(value))
}

/// Whether what a COUNT costs must not depend on private events: its client is no party of theirs.
pub fn is_counted_by_kind(filter: &Filter, context: &Context<'_>) -> bool {
    let settings = &context.config.nip17;
    settings.enabled && settings.count_parties_only && !is_of_party(filter, context)
}

/// Refuses to count where private events would be looked at: for filters that may be about them.
fn admit_count(filters: &[Filter], context: &Context<'_>) -> Decision {
    let is_public = |filter: &Filter| {
        filter.kinds.as_ref().is_some_and(|kinds| !kinds.iter().any(|kind| is_private(*kind, context)))
    };
    if filters.iter().all(|filter| is_public(filter) || is_of_party(filter, context)) {
        return Ok(());
    }
    let sentence =
        "a count names kinds, none of them private, or only your own authenticated keys as authors or in #p";
    Err(Refusal::new(Prefix::Restricted, "nip17.count_parties_only", sentence))
}

/// Hides events of private kinds from all but their authenticated author and `p`-tagged recipients.
fn visible(head: &Head<'_>, context: &Context<'_>) -> bool {
    if !is_private(head.kind, context) {
        return true;
    }
    let mut hex = String::with_capacity(64);
    context.keys.iter().any(|key| {
        hex.clear();
        // Writing to a String cannot fail.
        let _ = write!(hex, "{key}");
        key == head.author || head.tags.has(b'p', &hex)
    })
}

/// Asks for authentication where nothing could be shown without it: when every filter names only
/// private kinds. Other queries are served what is public.
fn admit_query(filters: &[Filter], context: &Context<'_>) -> Decision {
    let only_private = |filter: &Filter| {
        filter
            .kinds
            .as_ref()
            .is_some_and(|kinds| !kinds.is_empty() && kinds.iter().all(|kind| is_private(*kind, context)))
    };
    if !context.keys.is_empty() || !filters.iter().all(only_private) {
        return Ok(());
    }
    Err(Refusal::new(
        Prefix::AuthRequired,
        "nip17.private_kinds",
        "messages of these kinds are shown only to their parties; authenticate first",
    ))
}
