//! What trust decides, `[trust]` (nips/trust.md): who may write, whose profile must claim a NIP-05 name, who is
//! exempt from rate limits. In: an event, what is known of people. Out: a decision. Never learns anything:
//! `src/community/learn.rs` does.

use super::access::is_wrap_for;
use crate::config::Settings;
use crate::event::{Event, Kind, PublicKey, Verified};
use crate::rule::moderation::Standing;
use crate::rule::people::nip05_domain;
use crate::rule::{Check, Context, Decision, Known, Prefix, Refusal, Related, Rule, Want};
use crate::words::any_of;

/// The rules in the order in which they are run.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "trust.write",
        settings: &["trust.write", "trust.roots", "trust.hops_max", "authors.members"],
        sentence: |settings| {
            settings.trust.write.then(|| {
                let reach = reach(settings.trust.hops_max);
                format!("Only members write here, and people whom this community trusts: {reach}.")
            })
        },
        check: Check::Admit(write),
    },
    Rule {
        id: "trust.nip05",
        settings: &["trust.nip05_required", "trust.nip05_domains", "authors.members"],
        sentence: nip05_sentence,
        check: Check::Place { wants: nip05_wants, check: nip05 },
    },
];

/// Recipients of one gift wrap whose profiles are looked at.
const RECIPIENTS_MAX: usize = 10;

/// Whom trust reaches, as a part of a sentence.
fn reach(hops_max: u8) -> String {
    match hops_max {
        0 => "those whom its operator named".to_owned(),
        1 => "those whom its operator named, and whom they follow".to_owned(),
        hops => format!("those whom its operator named, and others up to {hops} follows away from them"),
    }
}

/// Whether an author's events are not counted by the rate limits.
pub fn is_rate_exempt(author: &PublicKey, settings: &Settings, known: &Known) -> bool {
    settings.trust.rate_exempt
        && (settings.authors.members.contains(author)
            || known.moderation.author(author) == Some(Standing::Allowed)
            || known.people.hops(author).is_some())
}

fn write(event: &Event, context: &Context<'_>) -> Decision {
    let may_write = |key: &PublicKey| context.is_member(key) || context.is_trusted(key);
    // A request to vanish is followed whoever sends it (NIP-62).
    if event.kind == Kind::VANISH || may_write(&event.pubkey) || is_wrap_for(event, may_write) {
        return Ok(());
    }
    let reach = reach(context.config.trust.hops_max);
    let sentence = format!("only people whom this community trusts write here: {reach}");
    Err(Refusal::new(Prefix::Restricted, "trust.write", sentence))
}

fn nip05_sentence(settings: &Settings) -> Option<String> {
    let domains = &settings.trust.nip05_domains;
    let free = if settings.authors.members.is_empty() { "" } else { " Members are free of this." };
    settings.trust.asks_for_nip05().then(|| match domains.as_slice() {
        [] => {
            format!("Who writes here has a name such as alice@example.org (NIP-05) in their profile.{free}")
        }
        _ => {
            let domains = any_of(domains);
            format!("Who writes here has a name at {domains} (NIP-05) in their profile.{free}")
        }
    })
}

/// Whether a claimed domain is one that is asked for.
fn is_wanted(domain: &str, settings: &Settings) -> bool {
    let domains = &settings.trust.nip05_domains;
    domains.is_empty() || domains.iter().any(|wanted| wanted == domain)
}

/// Whose claim decides on an event: its author's, or those of the recipients of a wrap, whose author is a
/// throwaway key. `None` when nobody's does.
fn claimants(event: &Event, context: &Context<'_>) -> Option<Vec<PublicKey>> {
    let is_claimant = |_: &PublicKey| true;
    let claimants = if is_wrap_for(event, is_claimant) {
        event.tags.values("p").filter_map(PublicKey::from_hex).take(RECIPIENTS_MAX).collect()
    } else {
        vec![event.pubkey]
    };
    let is_known_to_claim = |key: &PublicKey| {
        context.known.people.nip05(key).is_some_and(|domain| is_wanted(domain, context.config))
    };
    let is_free = |key: &PublicKey| context.is_member(key) || is_known_to_claim(key);
    // A new profile speaks for itself, whatever the one before it said.
    let decides = event.kind != Kind::PROFILE && claimants.iter().any(is_free)
        || context.is_member(&event.pubkey)
        || event.kind == Kind::VANISH;
    (!decides).then_some(claimants)
}

fn profile_of(key: &PublicKey) -> Want {
    Want::Address(format!("{}:{key}:", Kind::PROFILE))
}

/// What was learned answers for most; who has just written their profile is looked up.
fn nip05_wants(event: &Event, _: &Related, context: &Context<'_>) -> Vec<Want> {
    if event.kind == Kind::PROFILE {
        return Vec::new();
    }
    claimants(event, context).iter().flatten().map(profile_of).collect()
}

fn nip05(event: &Verified, related: &Related, context: &Context<'_>) -> Decision {
    let Some(claimants) = claimants(event, context) else { return Ok(()) };
    let has_claim =
        |profile: &Event| nip05_domain(profile).is_some_and(|domain| is_wanted(&domain, context.config));
    let is_fine = match event.kind {
        Kind::PROFILE => has_claim(event),
        _ => claimants
            .iter()
            .any(|key| related.one(&profile_of(key)).is_some_and(|profile| has_claim(&profile.event))),
    };
    if is_fine {
        return Ok(());
    }
    let domains = &context.config.trust.nip05_domains;
    let name = match domains.as_slice() {
        [] => "a name such as alice@example.org".to_owned(),
        _ => format!("a name at {}", any_of(domains)),
    };
    let sentence = match event.kind {
        Kind::PROFILE => format!("a profile here has {name} as its nip05"),
        _ => format!("publish a profile here first that has {name} as its nip05"),
    };
    Err(Refusal::new(Prefix::Restricted, "trust.nip05", sentence))
}
