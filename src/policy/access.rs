//! Who may write and read, and what: `[kinds]`, `[authors]`, `[tags]` and `[access]` of relay.toml. In: an
//! event or a query, who asks. Out: a decision.

use crate::config::{Read, Settings, Write};
use crate::event::{Event, Kind, PublicKey};
use crate::filter::Filter;
use crate::nips::nip43::is_request;
use crate::rule::moderation::Standing;
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Rule};
use crate::words::any_of;

/// The rules in the order in which they are run.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "access.write",
        settings: &["access.write", "authors.members", "access.auth_for_gift_wraps"],
        sentence: |settings| match settings.access.write {
            Write::All => None,
            Write::Authenticated => Some("Who writes here logs in first (NIP-42).".to_owned()),
            Write::Members => Some("Only members write here.".to_owned()),
            Write::None => Some("Nobody writes here: this relay is only read.".to_owned()),
        },
        check: Check::Admit(write),
    },
    Rule {
        id: "access.read",
        settings: &["access.read", "authors.members"],
        sentence: |settings| match settings.access.read {
            Read::All => None,
            Read::Authenticated => Some("Who reads here logs in first (NIP-42).".to_owned()),
            Read::Members => Some("Only members read here, after logging in (NIP-42).".to_owned()),
        },
        check: Check::Query(read),
    },
    Rule {
        id: "kinds.denied",
        settings: &["kinds.denied"],
        sentence: |settings| {
            let denied = &settings.kinds.denied;
            (!denied.is_empty()).then(|| format!("Events of kinds {denied} are not taken."))
        },
        check: Check::Admit(kind_denied),
    },
    Rule {
        id: "kinds.allowed",
        settings: &["kinds.allowed"],
        sentence: |settings| {
            let allowed = &settings.kinds.allowed;
            (!allowed.is_empty()).then(|| format!("Only events of kinds {allowed} are taken."))
        },
        check: Check::Admit(kind_allowed),
    },
    Rule {
        id: "authors.denied",
        settings: &["authors.denied"],
        sentence: |settings| match settings.authors.denied.len() {
            0 => None,
            1 => Some("One author is not welcome here.".to_owned()),
            count => Some(format!("{count} authors are not welcome here.")),
        },
        check: Check::Admit(author_denied),
    },
    Rule {
        id: "authors.allowed",
        settings: &["authors.allowed"],
        sentence: |settings| match settings.authors.allowed.len() {
            0 => None,
            1 => Some("Only one author's events are taken.".to_owned()),
            count => Some(format!("Only the events of {count} authors are taken.")),
        },
        check: Check::Admit(author_allowed),
    },
    Rule {
        id: "tags.required",
        settings: &["tags.required"],
        sentence: required_sentence,
        check: Check::Admit(required_tags),
    },
];

fn is_wrap(kind: Kind) -> bool {
    kind == Kind::GIFT_WRAP || kind == Kind::EPHEMERAL_GIFT_WRAP
}

/// Whether an event is a gift wrap for one of some people: its author is a throwaway key, so that they
/// decide.
pub(super) fn is_wrap_for(event: &Event, is_one: impl Fn(&PublicKey) -> bool) -> bool {
    is_wrap(event.kind) && event.tags.values("p").filter_map(PublicKey::from_hex).any(|key| is_one(&key))
}

fn write(event: &Event, context: &Context<'_>) -> Decision {
    let settings = context.config;
    // A request to vanish is followed whoever sends it (NIP-62), and who wants to join is no member yet (NIP-43).
    if event.kind == Kind::VANISH || is_request(event, settings) {
        return Ok(());
    }
    let refuse = |prefix, sentence: &'static str| Err(Refusal::new(prefix, "access.write", sentence));
    let wrap_is_free = is_wrap(event.kind) && !settings.access.auth_for_gift_wraps;
    match settings.access.write {
        Write::All => Ok(()),
        Write::Authenticated if wrap_is_free || !context.keys.is_empty() => Ok(()),
        Write::Authenticated => refuse(Prefix::AuthRequired, "log in to write here"),
        Write::Members if is_wrap_for(event, |key| context.is_member(key)) => {
            if wrap_is_free || !context.keys.is_empty() {
                return Ok(());
            }
            refuse(Prefix::AuthRequired, "log in to send gift wraps here")
        }
        Write::Members if context.is_member(&event.pubkey) => Ok(()),
        Write::Members => refuse(Prefix::Restricted, "only members write here"),
        Write::None => refuse(Prefix::Blocked, "nobody writes here: this relay is only read"),
    }
}

fn read(_: &[Filter], context: &Context<'_>) -> Decision {
    let refuse = |prefix, sentence: &'static str| Err(Refusal::new(prefix, "access.read", sentence));
    let settings = context.config;
    match settings.access.read {
        Read::All => Ok(()),
        _ if context.keys.is_empty() => refuse(Prefix::AuthRequired, "log in to read here"),
        Read::Authenticated => Ok(()),
        Read::Members if context.keys.iter().any(|key| context.is_member(key)) => Ok(()),
        Read::Members => refuse(Prefix::Restricted, "only members read here"),
    }
}

/// Whether moderators let a kind in, whatever the settings say.
fn is_allowed_by_hand(kind: Kind, context: &Context<'_>) -> bool {
    context.known.moderation.kind(kind) == Some(Standing::Allowed)
}

/// Whether moderators let an author in, whatever the settings say.
fn is_welcome(key: &PublicKey, context: &Context<'_>) -> bool {
    context.known.moderation.author(key) == Some(Standing::Allowed)
}

fn kind_denied(event: &Event, context: &Context<'_>) -> Decision {
    let is_denied = context.config.kinds.denied.contains(event.kind);
    if !is_denied || event.kind == Kind::VANISH || is_allowed_by_hand(event.kind, context) {
        return Ok(());
    }
    let sentence = format!("events of kind {} are not taken here", event.kind);
    Err(Refusal::new(Prefix::Blocked, "kinds.denied", sentence))
}

fn kind_allowed(event: &Event, context: &Context<'_>) -> Decision {
    let allowed = &context.config.kinds.allowed;
    let is_allowed = allowed.is_empty() || allowed.contains(event.kind);
    let is_request = event.kind == Kind::VANISH || is_request(event, context.config);
    if is_allowed || is_request || is_allowed_by_hand(event.kind, context) {
        return Ok(());
    }
    let sentence = format!("events of kind {} are not taken here, only of kinds {allowed}", event.kind);
    Err(Refusal::new(Prefix::Blocked, "kinds.allowed", sentence))
}

fn author_denied(event: &Event, context: &Context<'_>) -> Decision {
    let is_denied = context.config.authors.denied.contains(&event.pubkey);
    if !is_denied || event.kind == Kind::VANISH || is_welcome(&event.pubkey, context) {
        return Ok(());
    }
    Err(Refusal::new(Prefix::Blocked, "authors.denied", "this author is not welcome here"))
}

fn author_allowed(event: &Event, context: &Context<'_>) -> Decision {
    let allowed = &context.config.authors.allowed;
    let is_allowed = allowed.is_empty()
        || allowed.contains(&event.pubkey)
        || is_welcome(&event.pubkey, context)
        || event.kind == Kind::VANISH
        || is_request(event, context.config)
        || is_wrap_for(event, |key| allowed.contains(key) || is_welcome(key, context));
    if is_allowed {
        return Ok(());
    }
    Err(Refusal::new(Prefix::Restricted, "authors.allowed", "only events of listed authors are taken here"))
}

fn required_sentence(settings: &Settings) -> Option<String> {
    let required = &settings.tags.required;
    let each: Vec<String> = required
        .iter()
        .map(|(kinds, names)| format!("events of kinds {kinds} have the tags {}", names.join(", ")))
        .collect();
    (!each.is_empty()).then(|| {
        let all = each.join("; ");
        format!("{}.", all.replacen("events", "Events", 1))
    })
}

fn required_tags(event: &Event, context: &Context<'_>) -> Decision {
    let names = context.config.tags.required.get(event.kind);
    let has = |name: &str| event.tags.values(name).any(|value| !value.is_empty());
    let missing: Vec<&String> = names.into_iter().flatten().filter(|name| !has(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let sentence = format!(
        "an event of kind {} needs a tag {} with a value",
        event.kind,
        any_of(missing.iter().take(1))
    );
    Err(Refusal::new(Prefix::Invalid, "tags.required", sentence))
}
