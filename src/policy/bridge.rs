//! Bridges to other networks, `[bridge]` (nips/48.md): what comes in from where, who sees it, and whose posts
//! are not carried away. In: an event or a head, the settings, who follows whom. Out: a decision. Never counts
//! over time: `src/rate.rs` does.

use crate::domain::DomainSet;
use crate::domain::proxy::{self, Origin, Protocol};
use crate::event::{Event, Kind, PublicKey};
use crate::rule::{Check, Context, Decision, Head, Prefix, Refusal, Rule};
use crate::words::any_of;

/// The rules in the order in which they are run.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "bridge.proxy",
        settings: &["bridge.ids_checked"],
        sentence: |settings| {
            let said = "A proxy tag names its source in the form that NIP-48 gives for its protocol.";
            settings.bridge.ids_checked.then(|| said.to_owned())
        },
        check: Check::Admit(proxy),
    },
    Rule {
        id: "bridge.protocol",
        settings: &["bridge.protocols_allowed", "bridge.protocols_refused"],
        sentence: |settings| {
            let bridge = &settings.bridge;
            allowed_and_refused(names(&bridge.protocols_allowed), names(&bridge.protocols_refused))
        },
        check: Check::Admit(protocol),
    },
    Rule {
        id: "bridge.domain",
        settings: &["bridge.domains_allowed", "bridge.domains_refused"],
        sentence: |settings| {
            let bridge = &settings.bridge;
            allowed_and_refused(listed(&bridge.domains_allowed), listed(&bridge.domains_refused))
        },
        check: Check::Admit(domain),
    },
    Rule {
        id: "bridge.hidden",
        settings: &["bridge.protocols_hidden", "bridge.domains_hidden"],
        sentence: |settings| {
            let bridge = &settings.bridge;
            let hidden = names(&bridge.protocols_hidden).into_iter().chain(listed(&bridge.domains_hidden));
            let hidden = any_of(hidden);
            let said = format!(
                "Posts bridged from {hidden} are shown to those who ask for their author, or follow them."
            );
            (!hidden.is_empty()).then_some(said)
        },
        check: Check::Visible { shown, hides: |_, _| false },
    },
    Rule {
        id: "bridge.unbridged",
        settings: &["bridge.bridge_keys", "bridge.unbridged_hashtag"],
        sentence: |settings| {
            let said = format!(
                "Bridges to other networks do not get the posts of who writes #{0} in their profile, nor posts \
                 with the hashtag {0}.",
                settings.bridge.unbridged_hashtag
            );
            (!settings.bridge.bridge_keys.is_empty()).then_some(said)
        },
        check: Check::Visible { shown: carried, hides: |_, context| is_bridge(context) },
    },
];

/// At most as many names stand in a sentence; a setting may list hundreds.
const NAMES_SHOWN_MAX: usize = 5;

fn names(protocols: &[Protocol]) -> Vec<String> {
    protocols.iter().map(|protocol| protocol.as_str().to_owned()).collect()
}

fn listed(domains: &DomainSet) -> Vec<String> {
    let mut names: Vec<String> = domains.iter().map(str::to_owned).collect();
    if names.len() > NAMES_SHOWN_MAX {
        let more = names.len() - NAMES_SHOWN_MAX + 1;
        names.truncate(NAMES_SHOWN_MAX - 1);
        names.push(format!("{more} other domains"));
    }
    names
}

fn allowed_and_refused(allowed: Vec<String>, refused: Vec<String>) -> Option<String> {
    let only = (!allowed.is_empty())
        .then(|| format!("Of what is bridged, only posts from {} are taken.", any_of(&allowed)));
    let not =
        (!refused.is_empty()).then(|| format!("Posts bridged from {} are not taken.", any_of(&refused)));
    let said: Vec<String> = only.into_iter().chain(not).collect();
    (!said.is_empty()).then(|| said.join(" "))
}

/// Whether an event takes something back, which is let through wherever it comes from.
pub(super) fn takes_back(kind: Kind) -> bool {
    matches!(kind, Kind::DELETION | Kind::VANISH)
}

fn blocked(rule: &'static str, sentence: String) -> Decision {
    Err(Refusal::new(Prefix::Blocked, rule, sentence))
}

fn proxy(event: &Event, _: &Context<'_>) -> Decision {
    match proxy::proxies(&event.tags).find_map(|proxy| proxy.fault()) {
        None => Ok(()),
        Some(why) => Err(Refusal::new(Prefix::Invalid, "bridge.proxy", format!("in the proxy tag {why}"))),
    }
}

fn protocol(event: &Event, context: &Context<'_>) -> Decision {
    let bridge = &context.config.bridge;
    let is_taken = |protocol: &Protocol| {
        (bridge.protocols_allowed.is_empty() || bridge.protocols_allowed.contains(protocol))
            && !bridge.protocols_refused.contains(protocol)
    };
    let refused = proxy::proxies(&event.tags).map(|proxy| proxy.protocol).find(|found| !is_taken(found));
    match refused {
        Some(protocol) if !takes_back(event.kind) => {
            let from = if protocol == Protocol::Other { "other protocols" } else { protocol.as_str() };
            blocked("bridge.protocol", format!("posts bridged from {from} are not taken here"))
        }
        _ => Ok(()),
    }
}

fn domain(event: &Event, context: &Context<'_>) -> Decision {
    if takes_back(event.kind) {
        return Ok(());
    }
    let bridge = &context.config.bridge;
    for Origin { domain, .. } in proxy::origins(&event.tags) {
        match domain.as_deref() {
            Some(name) if bridge.domains_refused.covers(name) => {
                return blocked("bridge.domain", format!("posts bridged from {name} are not taken here"));
            }
            Some(name) if bridge.domains_allowed.is_empty() || bridge.domains_allowed.covers(name) => {}
            None if bridge.domains_allowed.is_empty() => {}
            _ => {
                let only = any_of(listed(&bridge.domains_allowed));
                let sentence = format!("of what is bridged, only posts from {only} are taken here");
                return blocked("bridge.domain", sentence);
            }
        }
    }
    Ok(())
}

/// Whether who asks has proved the author's key, or one that follows the author.
pub(super) fn is_followed(author: &PublicKey, context: &Context<'_>) -> bool {
    context.keys.iter().any(|key| key == author || context.known.people.follows(key, author))
}

fn shown(head: &Head<'_>, context: &Context<'_>) -> bool {
    let bridge = &context.config.bridge;
    let mut is_hidden = false;
    head.tags.origins(&mut |origin| {
        is_hidden |= bridge.protocols_hidden.contains(&origin.protocol)
            || origin.domain.as_deref().is_some_and(|name| bridge.domains_hidden.covers(name));
    });
    !is_hidden || context.asked || takes_back(head.kind) || is_followed(head.author, context)
}

/// Whether a bridge asks.
fn is_bridge(context: &Context<'_>) -> bool {
    context.keys.iter().any(|key| context.config.bridge.bridge_keys.contains(key))
}

/// Whether who asks may have what could be carried away: all but bridges may, and bridges may unless the
/// author said no. Profiles and what takes back stay visible, so that bridges learn of it and follow.
fn carried(head: &Head<'_>, context: &Context<'_>) -> bool {
    let bridge = &context.config.bridge;
    if !is_bridge(context) {
        return true;
    }
    head.kind == Kind::PROFILE
        || takes_back(head.kind)
        || context.keys.contains(head.author)
        || !(context.known.people.is_unbridged(head.author) || head.tags.has(b't', &bridge.unbridged_hashtag))
}
