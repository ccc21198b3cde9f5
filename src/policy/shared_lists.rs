//! Lists of other relays (docs/lists.md): who and what is on them is not taken, not shown, or put before a moderator.
//! In: an event or a head, the settings, what the lists say. Out: a decision. Whom moderators here allow no list touches.

use super::blocklist;
use super::bridge::takes_back;
use crate::config::{BlocklistPart, Effect, Follow, ListKind, Settings};
use crate::event::{Event, Id, Kind, PublicKey};
use crate::rule::moderation::Rank;
use crate::rule::shared::{Found, SharedLists};
use crate::rule::{Check, Context, Decision, Head, Prefix, Refusal, Rule};
use crate::words::any_of;

/// The rules in the order in which they are run.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "shared_lists.refused",
        settings: &["shared_lists.follow"],
        sentence: |settings| sentence(settings, Effect::Refuse, "is not taken"),
        check: Check::Admit(admit),
    },
    Rule {
        id: "shared_lists.hidden",
        settings: &["shared_lists.follow"],
        sentence: |settings| {
            sentence(settings, Effect::Hide, "is shown to its author and the moderators alone")
        },
        check: Check::Visible { shown, hides },
    },
    Rule {
        id: "shared_lists.flagged",
        settings: &["shared_lists.follow"],
        sentence: |settings| sentence(settings, Effect::Flag, "is shown, and looked at by a moderator"),
        // Nobody is kept from anything by it.
        check: Check::Visible { shown: |_, _| true, hides: |_, _| false },
    },
];

fn sentence(settings: &Settings, on: Effect, what: &str) -> Option<String> {
    let with = |kind| {
        let follows = settings.shared_lists.follow.iter();
        let follows = follows.filter(move |one: &&Follow| one.on == on && one.lists.contains(&kind));
        let hosts: Vec<&str> = follows.map(Follow::host).collect();
        (!hosts.is_empty()).then(|| any_of(hosts))
    };
    let people = with(ListKind::Pubkeys).map(|hosts| format!("is by people on the list of bans of {hosts}"));
    let domains = with(ListKind::Domains).map(|hosts| {
        format!("comes from, or has a link to, domains on the list of blocked domains of {hosts}")
    });
    let both: Vec<String> = people.into_iter().chain(domains).collect();
    (!both.is_empty()).then(|| format!("What {} {what}, unless moderators here allow it.", any_of(both)))
}

/// What of an event, or its author, is on a list.
#[derive(Debug, Clone, Copy)]
pub struct Touch<'a> {
    /// Where it was found.
    pub found: Found<'a>,
    /// What it was.
    pub part: Part,
}

/// What of an event is on a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its author.
    Author,
    /// The domain that it was bridged from.
    Proxy,
    /// The domain of its author's NIP-05 identifier.
    Nip05,
    /// The host of a link.
    Link,
}

impl Touch<'_> {
    /// A sentence that names the list and its reason.
    pub fn sentence(&self) -> String {
        let Found { list, domain, why, .. } = self.found;
        let domain = domain.unwrap_or_default();
        let what = match self.part {
            Part::Author => "this author is".to_owned(),
            Part::Proxy => format!("this was bridged from {domain}, which is"),
            Part::Nip05 => format!("the author's NIP-05 identifier is at {domain}, which is"),
            Part::Link => format!("it has a link to {domain}, which is"),
        };
        let reason = if why.reason.is_empty() { String::new() } else { format!(": {}", why.reason) };
        format!("{what} on the list '{}' of relay {}{reason}", list.title, list.relay)
    }
}

/// Whether no list touches an event of this author: it takes something back, or the community itself keeps its author.
fn is_free(id: &Id, author: &PublicKey, kind: Kind, context: &Context<'_>) -> bool {
    let moderation = &context.known.moderation;
    takes_back(kind)
        || moderation.allows(id, author)
        || context.is_member(author)
        || moderation.spared.contains_key(author)
        || manages(author, context)
        || context.config.relay.self_key.as_ref().is_some_and(|key| *key == author.to_string())
}

fn manages(key: &PublicKey, context: &Context<'_>) -> bool {
    context.config.admin.owners.contains(key) || context.known.moderation.rank(key) > Rank::Nobody
}

fn applies(part: BlocklistPart, context: &Context<'_>) -> bool {
    context.config.blocklist.apply_to.contains(&part)
}

/// Where a name is listed, unless the community lets it in.
fn domain<'a>(name: &str, context: &Context<'a>) -> Option<Found<'a>> {
    if context.config.blocklist.domains_allowed.covers(name) {
        return None;
    }
    let shared: &'a SharedLists = &context.known.shared;
    shared.domain(name, context.now)
}

/// What of an event is on a list, by the list that counts most; `None` where nothing is, or it is free.
pub fn touch<'a>(event: &Event, context: &Context<'a>) -> Option<Touch<'a>> {
    let shared: &'a SharedLists = &context.known.shared;
    if shared.is_empty() {
        return None;
    }
    let mut first: Option<Touch<'a>> = None;
    let mut note = |found: Option<Found<'a>>, part| {
        let is_before = |found: &Found<'_>| first.is_none_or(|first| found.place < first.found.place);
        first = found.filter(is_before).map(|found| Touch { found, part }).or(first);
    };
    note(shared.person(&event.pubkey, context.now), Part::Author);
    if shared.knows_domains(context.now) {
        if applies(BlocklistPart::Proxy, context) {
            blocklist::proxies(event).for_each(|name| note(domain(&name, context), Part::Proxy));
        }
        if applies(BlocklistPart::Nip05, context) {
            blocklist::with_nip05(event, context, |name| note(domain(name, context), Part::Nip05));
        }
        // Reports of what is wrong quote what they are about.
        if applies(BlocklistPart::Links, context) && event.kind != Kind::REPORT {
            blocklist::links(event).for_each(|name| note(domain(&name, context), Part::Link));
        }
    }
    first.filter(|_| !is_free(&event.id, &event.pubkey, event.kind, context))
}

fn admit(event: &Event, context: &Context<'_>) -> Decision {
    match touch(event, context).filter(|touch| touch.found.list.on == Effect::Refuse) {
        None => Ok(()),
        Some(touch) => Err(Refusal::new(Prefix::Blocked, "shared_lists.refused", touch.sentence())),
    }
}

/// What of a stored event is on a list, but for links, of which its head says nothing.
fn listed<'a>(head: &Head<'_>, context: &Context<'a>) -> Option<Found<'a>> {
    let shared: &'a SharedLists = &context.known.shared;
    let mut first = shared.person(head.author, context.now);
    if !shared.knows_domains(context.now) {
        return first;
    }
    let mut note = |found: Option<Found<'a>>| {
        let is_before = |found: &Found<'_>| first.is_none_or(|first| found.place < first.place);
        first = found.filter(is_before).or(first);
    };
    if applies(BlocklistPart::Proxy, context) {
        head.tags.origins(&mut |origin| {
            if let Some(name) = origin.domain.as_deref() {
                note(domain(name, context));
            }
        });
    }
    if applies(BlocklistPart::Nip05, context)
        && let Some(name) = context.known.people.nip05(head.author)
    {
        note(domain(name, context));
    }
    first
}

/// Whether some event of a kind may be hidden: by who wrote it, which may be of any kind.
fn hides(kind: Kind, context: &Context<'_>) -> bool {
    !takes_back(kind) && context.known.shared.0.iter().any(|list| list.on == Effect::Hide)
}

fn shown(head: &Head<'_>, context: &Context<'_>) -> bool {
    let is_hidden = !context.known.shared.is_empty()
        && listed(head, context).is_some_and(|found| found.list.on == Effect::Hide);
    !is_hidden
        || is_free(head.id, head.author, head.kind, context)
        || context.keys.iter().any(|key| key == head.author || manages(key, context))
}
