//! Domain blocklists as the fediverse shares them (nips/blocklist.md): what they keep out and out of sight. In:
//! an event or a head, the settings, what the lists say. Out: a decision. Never reads a list:
//! `src/domain/lists.rs` does.

use std::borrow::Cow;

use super::bridge::{is_followed, takes_back};
use crate::config::{BlocklistPart, Settings};
use crate::domain::lists::{Severity, Verdict};
use crate::domain::{self, proxy};
use crate::event::{Event, Kind};
use crate::rule::people::nip05_domain;
use crate::rule::{Check, Context, Decision, Head, Prefix, Refusal, Rule};

/// The rules in the order in which they are run.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "blocklist.proxy",
        settings: &["blocklist.files", "blocklist.apply_to", "blocklist.domains_allowed"],
        sentence: |settings| {
            let said = "Posts bridged from domains on a blocklist are not taken.";
            applies(BlocklistPart::Proxy, settings).then(|| said.to_owned())
        },
        check: Check::Admit(admit_proxy),
    },
    Rule {
        id: "blocklist.nip05",
        settings: &["blocklist.files", "blocklist.apply_to", "blocklist.domains_allowed"],
        sentence: |settings| {
            let said = "Authors whose NIP-05 identifier is at a domain on a blocklist are not taken.";
            applies(BlocklistPart::Nip05, settings).then(|| said.to_owned())
        },
        check: Check::Admit(admit_nip05),
    },
    Rule {
        id: "blocklist.links",
        settings: &["blocklist.files", "blocklist.apply_to", "blocklist.domains_allowed"],
        sentence: |settings| {
            let said = "Posts with links to domains on a blocklist are not taken.";
            applies(BlocklistPart::Links, settings).then(|| said.to_owned())
        },
        check: Check::Admit(admit_links),
    },
    Rule {
        id: "blocklist.hidden",
        settings: &["blocklist.files", "blocklist.apply_to", "blocklist.domains_allowed"],
        sentence: |settings| {
            let parts = [BlocklistPart::Proxy, BlocklistPart::Nip05];
            let said = "Who posts from a domain that a blocklist silences is shown to those who follow them.";
            parts.into_iter().any(|part| applies(part, settings)).then(|| said.to_owned())
        },
        check: Check::Visible { shown, hides },
    },
];

fn applies(part: BlocklistPart, settings: &Settings) -> bool {
    !settings.blocklist.files.is_empty() && settings.blocklist.apply_to.contains(&part)
}

/// What the lists say of a normalized name, unless the community lets it in.
fn verdict<'a>(name: &str, context: &Context<'a>) -> Option<Verdict<'a>> {
    if context.config.blocklist.domains_allowed.covers(name) {
        return None;
    }
    context.known.domains.find(name)
}

fn suspended<'a>(name: &str, context: &Context<'a>) -> Option<Verdict<'a>> {
    verdict(name, context).filter(|verdict| verdict.severity == Severity::Suspend)
}

fn refuse(rule: &'static str, what: &str, verdict: &Verdict<'_>) -> Decision {
    let sentence = format!("{what} {}, which is on this relay's blocklist {}", verdict.domain, verdict.list);
    Err(Refusal::new(Prefix::Blocked, rule, sentence))
}

/// The domains that an event was bridged from (NIP-48).
pub(super) fn proxies(event: &Event) -> impl Iterator<Item = String> + '_ {
    proxy::origins(&event.tags).filter_map(|origin| origin.domain.map(Cow::into_owned))
}

/// Looks at the domain of its author's NIP-05 identifier: a profile's is the one that it states itself, so that whoever
/// leaves a listed domain may say so.
pub(super) fn with_nip05(event: &Event, context: &Context<'_>, look: impl FnOnce(&str)) {
    match event.kind {
        Kind::PROFILE => nip05_domain(event).as_deref().map(look),
        _ => context.known.people.nip05(&event.pubkey).map(look),
    };
}

/// The hosts of the links in an event.
pub(super) fn links(event: &Event) -> impl Iterator<Item = Cow<'_, str>> {
    let tags = event.tags.iter().filter(|tag| matches!(tag.name(), "r" | "url" | "imeta"));
    let texts = std::iter::once(event.content.as_str()).chain(tags.flat_map(|tag| tag.iter()));
    texts.flat_map(domain::link_hosts)
}

fn admit_proxy(event: &Event, context: &Context<'_>) -> Decision {
    if takes_back(event.kind) {
        return Ok(());
    }
    match proxies(event).find_map(|name| suspended(&name, context)) {
        None => Ok(()),
        Some(verdict) => refuse("blocklist.proxy", "this was bridged from", &verdict),
    }
}

fn admit_nip05(event: &Event, context: &Context<'_>) -> Decision {
    if takes_back(event.kind) {
        return Ok(());
    }
    let mut found = None;
    with_nip05(event, context, |name| found = suspended(name, context));
    match found {
        None => Ok(()),
        Some(verdict) => refuse("blocklist.nip05", "the author's NIP-05 identifier is at", &verdict),
    }
}

fn admit_links(event: &Event, context: &Context<'_>) -> Decision {
    // Reports of what is wrong quote what they are about.
    if takes_back(event.kind) || event.kind == Kind::REPORT || context.known.domains.is_empty() {
        return Ok(());
    }
    match links(event).find_map(|name| suspended(&name, context)) {
        None => Ok(()),
        Some(verdict) => refuse("blocklist.links", "it has a link to", &verdict),
    }
}

/// By names of people, which may be of any kind of event; origins are of bridged ones alone.
fn hides(kind: Kind, context: &Context<'_>) -> bool {
    !context.known.domains.is_empty() && !takes_back(kind) && applies(BlocklistPart::Nip05, context.config)
}

/// Whether an event is shown to who asks: never when its source, or its author's domain, is suspended, as
/// may happen after it was taken; to who follows its author when one of them is silenced.
fn shown(head: &Head<'_>, context: &Context<'_>) -> bool {
    if context.known.domains.is_empty() || takes_back(head.kind) {
        return true;
    }
    let mut worst = Severity::Noop;
    let mut look = |name: &str| {
        worst = worst.max(verdict(name, context).map_or(Severity::Noop, |verdict| verdict.severity));
    };
    if applies(BlocklistPart::Proxy, context.config) {
        head.tags.origins(&mut |origin| origin.domain.as_deref().into_iter().for_each(&mut look));
    }
    if applies(BlocklistPart::Nip05, context.config)
        && let Some(name) = context.known.people.nip05(head.author)
    {
        look(name);
    }
    match worst {
        Severity::Noop => true,
        Severity::Silence => is_followed(head.author, context),
        Severity::Suspend => false,
    }
}
