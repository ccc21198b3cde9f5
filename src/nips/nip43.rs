//! NIP-43, membership by invitation (nips/43.md): who joins and leaves, who gets codes for others, and what the relay
//! says of its members. In: an event or a query, what is known. Out: decisions, and tags to be signed. Who is a member
//! is what `authors.members` and moderators say ([`Context::is_member`]): there is no other list.

use std::collections::BTreeSet;

use crate::config::{Invite, Settings};
use crate::event::{Event, Kind, PublicKey, Tags, Verified};
use crate::filter::Filter;
use crate::rule::moderation::{Claim, Moderation, Rank, Standing};
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Related, Rule, Want};

/// The rules in the order in which they are run.
pub const RULES: &[Rule] = &[
    Rule {
        id: "nip43.relay_key",
        settings: &["nip43.enabled", "relay.secret_key_file"],
        sentence: |settings| says(settings, "Who the members are is said by the relay alone (NIP-43)."),
        check: Check::Admit(relay_key),
    },
    Rule {
        id: "nip43.form",
        settings: &["nip43.window_seconds"],
        sentence: |settings| {
            says(settings, "Requests to join and leave are as NIP-43 has them, and made just now.")
        },
        check: Check::Admit(form),
    },
    Rule {
        id: "nip43.join",
        settings: &["nip43.enabled", "nip43.code_seconds_max"],
        sentence: |settings| says(settings, "Who joins as a member has an invite code."),
        check: Check::Place { wants: nothing, check: join },
    },
    Rule {
        id: "nip43.leave",
        settings: &["nip43.enabled", "authors.members"],
        sentence: |settings| {
            says(settings, "Members leave when they like, but for those whom the settings name.")
        },
        check: Check::Place { wants: nothing, check: leave },
    },
    Rule {
        id: "nip43.invite",
        settings: &["nip43.invite"],
        sentence: |settings| {
            let who = match settings.nip43.invite {
                Invite::Members => "Members who log in get invite codes for others (kind 28935).",
                Invite::Staff => {
                    "Who manages this relay and logs in gets invite codes for others (kind 28935)."
                }
            };
            says(settings, who)
        },
        check: Check::Query(invite),
    },
];

fn says(settings: &Settings, sentence: &str) -> Option<String> {
    settings.nip43.enabled.then(|| sentence.to_owned())
}

fn nothing(_: &Event, _: &Related, _: &Context<'_>) -> Vec<Want> {
    Vec::new()
}

fn refuse(prefix: Prefix, rule: &'static str, sentence: &'static str) -> Decision {
    Err(Refusal::new(prefix, rule, sentence))
}

/// Whether an event asks to join or leave, where that can be asked. Rules about who may write do not bear on it: it is
/// carried out, and neither stored nor passed on.
pub fn is_request(event: &Event, settings: &Settings) -> bool {
    settings.nip43.enabled && asks_to_join_or_leave(event)
}

/// Whether an event is such a request where there is membership.
pub fn asks_to_join_or_leave(event: &Event) -> bool {
    matches!(event.kind, Kind::JOIN_RELAY | Kind::LEAVE_RELAY)
}

/// Whether the relay says of its members by events of this kind.
fn is_told(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::MEMBER_ADDED | Kind::MEMBER_REMOVED | Kind::MEMBERS | Kind::MEMBER_ROLE | Kind::INVITE
    )
}

fn relay_key(event: &Event, context: &Context<'_>) -> Decision {
    if !is_told(event.kind) || context.config.relay.self_key == Some(event.pubkey.to_string()) {
        return Ok(());
    }
    refuse(
        Prefix::Blocked,
        "nip43.relay_key",
        "who the members are, the relay says itself, signed by its own key",
    )
}

/// The code of a request to join.
pub fn claim_of(event: &Event) -> Option<&str> {
    event.tags.values("claim").next().filter(|claim| !claim.is_empty())
}

fn form(event: &Event, context: &Context<'_>) -> Decision {
    if !is_request(event, context.config) {
        return Ok(());
    }
    if !event.tags.iter().any(|tag| tag.name() == "-") {
        return refuse(Prefix::Invalid, "nip43.form", "a request to join or leave has the tag [\"-\"]");
    }
    if context.now.abs_diff(event.created_at) > context.config.nip43.window_seconds {
        return refuse(
            Prefix::Invalid,
            "nip43.form",
            "a request to join or leave is made just now: its time is off",
        );
    }
    if event.kind == Kind::JOIN_RELAY && claim_of(event).is_none() {
        return refuse(
            Prefix::Restricted,
            "nip43.form",
            "a request to join has an invite code in a claim tag",
        );
    }
    Ok(())
}

/// Whether a code lets somebody in now: who gave it away is still welcome.
pub fn counts(claim: &Claim, moderation: &Moderation, now: u64) -> bool {
    let is_banned = PublicKey::from_hex(&claim.by)
        .is_some_and(|inviter| moderation.author(&inviter) == Some(Standing::Banned));
    claim.left > 0 && now < claim.until && !is_banned
}

fn join(event: &Verified, _: &Related, context: &Context<'_>) -> Decision {
    if event.kind != Kind::JOIN_RELAY || context.is_member(&event.pubkey) {
        return Ok(());
    }
    let moderation = &context.known.moderation;
    match claim_of(event).and_then(|code| moderation.claims.get(code)) {
        None => refuse(Prefix::Restricted, "nip43.join", "that is an invalid invite code"),
        Some(claim) if !counts(claim, moderation, context.now) => {
            refuse(Prefix::Restricted, "nip43.join", "that invite code is expired or used up")
        }
        Some(_) if moderation.authors.len() >= PEOPLE_MAX => {
            refuse(Prefix::Restricted, "nip43.join", "there are as many members as there may be")
        }
        Some(_) => Ok(()),
    }
}

/// People of whom something was decided by hand or by joining.
const PEOPLE_MAX: usize = crate::community::ENTRIES_MAX;

fn leave(event: &Verified, _: &Related, context: &Context<'_>) -> Decision {
    let key = &event.pubkey;
    if event.kind != Kind::LEAVE_RELAY || !context.config.authors.members.contains(key) {
        return Ok(());
    }
    let sentence = "you are a member by the relay's settings: ask its operator to take you out";
    refuse(Prefix::Restricted, "nip43.leave", sentence)
}

/// Who of those that have logged in gets codes for others.
pub fn inviter(context: &Context<'_>) -> Option<PublicKey> {
    let moderation = &context.known.moderation;
    let may = |key: &&PublicKey| {
        let is_staff = context.config.admin.owners.contains(key) || moderation.rank(key) > Rank::Nobody;
        is_staff || context.config.nip43.invite == Invite::Members && context.is_member(key)
    };
    context.keys.iter().find(may).copied()
}

/// Whether a filter asks for a code.
pub fn asks_for_code(filter: &Filter) -> bool {
    filter.kinds.as_ref().is_some_and(|kinds| kinds.contains(&Kind::INVITE))
}

fn invite(filters: &[Filter], context: &Context<'_>) -> Decision {
    let asks_for_nothing_else = |filter: &Filter| {
        asks_for_code(filter) && filter.kinds.as_ref().is_some_and(|kinds| kinds.len() == 1)
    };
    if filters.is_empty() || !filters.iter().all(asks_for_nothing_else) || inviter(context).is_some() {
        return Ok(());
    }
    match context.keys.is_empty() {
        true => {
            refuse(Prefix::AuthRequired, "nip43.invite", "log in to get an invite code for somebody else")
        }
        false => refuse(Prefix::Restricted, "nip43.invite", "you may not give invite codes away here"),
    }
}

/// All members of a community, in order of their keys.
pub fn members(settings: &Settings, moderation: &Moderation) -> BTreeSet<PublicKey> {
    let named = settings.authors.members.iter().copied();
    let allowed = moderation.authors.iter().filter(|(_, ruling)| ruling.standing == Standing::Allowed);
    named
        .filter(|key| moderation.author(key) != Some(Standing::Banned))
        .chain(allowed.map(|(key, _)| *key))
        .collect()
}

/// What there is to say at an address of the relay's own: the list of members, of which `listed_max` are named at most,
/// or a role; `None` when there is nothing.
pub fn told(
    settings: &Settings,
    moderation: &Moderation,
    (kind, identifier): (Kind, &str),
    listed_max: usize,
) -> Option<Tags> {
    if !settings.nip43.publish_members {
        return None;
    }
    let mut tags = Tags::default();
    tags.push(["-"]);
    if kind == Kind::MEMBER_ROLE {
        let role = moderation.roles.get(identifier)?;
        tags.push(["d", identifier]);
        let texts = [("label", &role.label), ("description", &role.description), ("color", &role.color)];
        for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            tags.push([name, text]);
        }
        tags.push(["order", &role.order.to_string()]);
        return Some(tags);
    }
    for key in members(settings, moderation).iter().take(listed_max) {
        let roles = moderation.staff.get(key).into_iter().flat_map(|duties| &duties.roles);
        // Roles that give power are nobody's business.
        let roles = roles.filter(|role| moderation.roles.contains_key(*role)).map(String::as_str);
        tags.push(["member", &key.to_string()].into_iter().chain(roles));
    }
    Some(tags)
}
