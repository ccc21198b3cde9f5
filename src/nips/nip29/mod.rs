//! NIP-29, groups that the relay manages (nips/29.md): who writes to them, manages them and reads them. In: an event or
//! a head, what is known of groups. Out: decisions. What an accepted event makes of a group is in `apply`, what the
//! relay then says in `told`; the writer does both.

mod action;
mod apply;
mod told;
#[cfg(test)]
mod twins;

pub use crate::rule::groups::About;
pub use action::{Action, group_of, is_code, read};
pub use apply::{By, apply, rebuild};
pub use told::{KINDS as TOLD_KINDS, listed_max, of as told};

use std::fmt::Write as _;
use std::sync::Arc;

use crate::config::{CreateGroups, Settings};
use crate::event::{Event, Id, Kind, PublicKey, Verified};
use crate::filter::Filter;
use crate::rule::groups::{Code, Group, Groups, Role, power_of};
use crate::rule::moderation::Rank;
use crate::rule::{Check, Context, Decision, Head, Prefix, Refusal, Related, Rule, Want};

/// References to earlier events that one event may have, and events that one may remove.
const REFERENCES_MAX: usize = 50;
const REMOVED_MAX: usize = 100;

/// Stored events that name another one, of which it is looked whether they removed it.
const REMOVALS_MAX: usize = 8;

/// The rules in the order in which they are run.
pub const RULES: &[Rule] = &[
    Rule {
        id: "nip29.relay_key",
        settings: &["nip29.enabled", "relay.secret_key_file"],
        sentence: |settings| {
            says(settings, "What groups are is said by the relay alone (kinds 39000 to 39005).")
        },
        check: Check::Admit(relay_key),
    },
    Rule {
        id: action::FORM,
        settings: &["nip29.enabled"],
        sentence: |settings| says(settings, "Events that manage groups are as NIP-29 has them."),
        check: Check::Admit(form),
    },
    Rule {
        id: "nip29.late",
        settings: &["nip29.late_seconds_max"],
        sentence: |settings| {
            let seconds = settings.nip29.late_seconds_max;
            (settings.nip29.enabled && seconds > 0)
                .then(|| format!("Events for groups are sent within {seconds} seconds after they are made."))
        },
        check: Check::Admit(late),
    },
    Rule {
        id: "nip29.group",
        settings: &["nip29.enabled"],
        sentence: |settings| says(settings, "Events are for groups that there are."),
        check: Check::Place { wants: nothing, check: group },
    },
    Rule {
        id: "nip29.create",
        settings: &["nip29.create", "nip29.groups_max", "nip29.groups_per_creator_max"],
        sentence: |settings| {
            settings.nip29.enabled.then(|| {
                let who = match settings.nip29.create {
                    CreateGroups::All => "Everybody makes",
                    CreateGroups::Members => "Members make",
                    CreateGroups::Staff => "Those who manage this relay make",
                };
                format!("{who} groups, up to {} each.", settings.nip29.groups_per_creator_max)
            })
        },
        check: Check::Place { wants: nothing, check: create },
    },
    Rule {
        id: "nip29.join",
        settings: &[
            "nip29.members_max",
            "nip29.memberships_max",
            "nip29.code_uses_max",
            "nip29.code_seconds_max",
        ],
        sentence: |settings| {
            says(settings, "Who joins a group is not in it yet, and has an invite code where it is closed.")
        },
        check: Check::Place { wants: nothing, check: join },
    },
    Rule {
        id: "nip29.moderation",
        settings: &["nip29.enabled"],
        sentence: |settings| says(settings, "A group is managed by its admins and moderators."),
        check: Check::Place { wants: removed_events, check: moderation },
    },
    Rule {
        id: "nip29.subgroups",
        settings: &["nip29.enabled"],
        sentence: |settings| {
            says(settings, "A group is put below another by who is an admin of both, and never below itself.")
        },
        check: Check::Place { wants: nothing, check: subgroups },
    },
    Rule {
        id: "nip29.bounds",
        settings: &["nip29.members_max", "nip29.memberships_max", "nip29.codes_max", "nip29.pins_max"],
        sentence: |settings| {
            let nip29 = &settings.nip29;
            nip29.enabled.then(|| {
                let (members, codes, pins) = (nip29.members_max, nip29.codes_max, nip29.pins_max);
                format!("A group has up to {members} members, {codes} invite codes and {pins} pinned events.")
            })
        },
        check: Check::Place { wants: nothing, check: bounds },
    },
    Rule {
        id: "nip29.write",
        settings: &["nip29.enabled"],
        sentence: |settings| {
            says(settings, "Where a group is restricted its members write, of the kinds that it takes.")
        },
        check: Check::Place { wants: nothing, check: write },
    },
    Rule {
        id: "nip29.previous",
        settings: &["nip29.previous_min"],
        sentence: |settings| {
            says(settings, "What an event for a group refers to as earlier is here, in that group.")
        },
        check: Check::Place { wants: references, check: previous },
    },
    Rule {
        id: "nip29.removed",
        settings: &["nip29.enabled"],
        sentence: |settings| says(settings, "What a group's admins have removed stays away."),
        check: Check::Place { wants: removals, check: removed },
    },
    Rule {
        id: "nip29.read",
        settings: &["nip29.enabled"],
        sentence: |settings| {
            says(settings, "Who asks for a private group alone logs in as a member (NIP-42).")
        },
        check: Check::Query(read_query),
    },
    Rule {
        id: "nip29.shown",
        settings: &["nip29.enabled"],
        sentence: |settings| {
            says(
                settings,
                "Private and hidden groups are shown to their members, invite codes to their admins.",
            )
        },
        check: Check::Visible { shown, hides: |_, context| !context.known.groups.is_empty() },
    },
];

fn says(settings: &Settings, sentence: &str) -> Option<String> {
    settings.nip29.enabled.then(|| sentence.to_owned())
}

fn refuse(
    prefix: Prefix,
    rule: &'static str,
    sentence: impl Into<std::borrow::Cow<'static, str>>,
) -> Decision {
    Err(Refusal::new(prefix, rule, sentence))
}

/// Whether somebody may do something in a group, by their role.
pub fn may(group: &Group, key: &PublicKey, action: &Action) -> bool {
    let is_plain = |key: &PublicKey| group.role(key).is_none();
    match (action, group.role(key)) {
        (Action::Join(_) | Action::Leave, _) | (_, Some(Role::Admin)) => true,
        (_, None) => false,
        (Action::PutUsers(people), Some(Role::Moderator)) => {
            people.iter().all(|(key, roles)| power_of(roles).is_none() && is_plain(key))
        }
        (Action::RemoveUsers(people), Some(Role::Moderator)) => people.iter().all(is_plain),
        (Action::DeleteEvents(_) | Action::Invite(_) | Action::Pin(_), Some(Role::Moderator)) => true,
        (Action::Create(_) | Action::Edit(_) | Action::Delete, Some(Role::Moderator)) => false,
    }
}

/// Whether a code lets somebody in now.
fn lets_in(code: &Code, context: &Context<'_>) -> bool {
    let settings = &context.config.nip29;
    let is_used_up = settings.code_uses_max > 0 && code.uses >= settings.code_uses_max;
    let is_old =
        settings.code_seconds_max > 0 && context.now.saturating_sub(code.at) > settings.code_seconds_max;
    !is_used_up && !is_old
}

fn nothing(_: &Event, _: &Related, _: &Context<'_>) -> Vec<Want> {
    Vec::new()
}

/// The group, alive, that an event is for, and what it asks for if it manages it.
fn managed<'g, 'e>(event: &'e Event, context: &Context<'g>) -> Option<(&'g Arc<Group>, Action, &'e str)> {
    if !event.kind.manages_groups() {
        return None;
    }
    let (id, action) = action::read(event).ok()?;
    Some((context.known.groups.alive(id)?, action, id))
}

/// The group, alive, that an event is written to.
fn written_to<'g>(event: &Event, context: &Context<'g>) -> Option<&'g Arc<Group>> {
    if event.kind.manages_groups() {
        return None;
    }
    context.known.groups.alive(group_of(event).ok()??)
}

/// Whether the relay itself may do something that manages a group: all that is asked of its admins, but for their role.
///
/// # Errors
/// Why it makes no sense.
pub fn admit_own(event: &Verified, context: &Context<'_>) -> Decision {
    let related = Related::default();
    form(event, context)?;
    let rules: [fn(&Verified, &Related, &Context<'_>) -> Decision; 4] = [group, create, subgroups, bounds];
    rules.into_iter().try_for_each(|rule| rule(event, &related, context))
}

fn is_own(event: &Event, context: &Context<'_>) -> bool {
    context.known.groups.own_key() == Some(&event.pubkey)
}

fn relay_key(event: &Event, context: &Context<'_>) -> Decision {
    if !event.kind.tells_of_group() || is_own(event, context) {
        return Ok(());
    }
    refuse(
        Prefix::Blocked,
        "nip29.relay_key",
        "what a group is, the relay says itself, signed by its own key",
    )
}

fn form(event: &Event, _: &Context<'_>) -> Decision {
    if event.kind.manages_groups() {
        let (_, action) = action::read(event)?;
        if matches!(&action, Action::DeleteEvents(ids) if ids.len() > REMOVED_MAX) {
            let sentence = format!("one event removes at most {REMOVED_MAX} others");
            return refuse(Prefix::Invalid, action::FORM, sentence);
        }
    } else {
        group_of(event)?;
    }
    let is_wrong = |value: &str| value.len() != 8 || !value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if previous_of(event).any(is_wrong) || previous_of(event).count() > REFERENCES_MAX {
        let sentence =
            format!("previous refers to at most {REFERENCES_MAX} events, by the first 8 digits of their ids");
        return refuse(Prefix::Invalid, action::FORM, sentence);
    }
    Ok(())
}

fn late(event: &Event, context: &Context<'_>) -> Decision {
    let seconds = context.config.nip29.late_seconds_max;
    let age = context.now.saturating_sub(event.created_at);
    if age <= seconds || !matches!(group_of(event), Ok(Some(_))) {
        return Ok(());
    }
    let sentence = format!("this event is {age} seconds old, and for a group it may be {seconds}");
    refuse(Prefix::Invalid, "nip29.late", sentence)
}

fn no_such_group(id: &str) -> Decision {
    let sentence = format!("there is no group {id:?} here");
    refuse(Prefix::Invalid, "nip29.group", sentence)
}

fn group(event: &Verified, _: &Related, context: &Context<'_>) -> Decision {
    // The relay's own that are stored were answered before.
    if event.kind.tells_of_group() {
        return refuse(
            Prefix::Blocked,
            "nip29.relay_key",
            "what a group is, the relay says itself, when it changes",
        );
    }
    let Some(id) = group_of(event)? else { return Ok(()) };
    if event.kind == Kind::CREATE_GROUP || event.kind == Kind::VANISH {
        return Ok(());
    }
    let Some(group) = context.known.groups.alive(id) else { return no_such_group(id) };
    // Who may not know of it learns no more by writing to it.
    let is_guest = !group.has(&event.pubkey) && !is_own(event, context);
    let has_code =
        matches!(action::read(event), Ok((_, Action::Join(Some(code)))) if group.codes.contains_key(&code));
    let is_let_in = event.kind == Kind::JOIN_GROUP && (!group.about.closed || has_code);
    let may_write = !event.kind.manages_groups() && !group.about.restricted;
    if group.about.hidden && is_guest && !is_let_in && !may_write {
        return no_such_group(id);
    }
    Ok(())
}

fn create(event: &Verified, _: &Related, context: &Context<'_>) -> Decision {
    if event.kind != Kind::CREATE_GROUP {
        return Ok(());
    }
    let (id, _) = action::read(event)?;
    let (settings, groups) = (&context.config.nip29, &context.known.groups);
    let refuse = |prefix, sentence: String| refuse(prefix, "nip29.create", sentence);
    let key = &event.pubkey;
    let is_staff = context.config.admin.owners.contains(key)
        || context.known.moderation.rank(key) > Rank::Nobody
        || is_own(event, context);
    let may = match settings.create {
        CreateGroups::All => true,
        CreateGroups::Members => is_staff || context.is_member(key),
        CreateGroups::Staff => is_staff,
    };
    if !may {
        return refuse(Prefix::Restricted, "you may not make groups here".to_owned());
    }
    match groups.any(id) {
        Some(group) if group.ended_at.is_some() => {
            return refuse(
                Prefix::Blocked,
                format!("the group {id:?} was ended, and its id is not used again"),
            );
        }
        Some(_) => return refuse(Prefix::Duplicate, format!("there is a group {id:?} already")),
        None => {}
    }
    let made = groups.iter().filter(|group| group.creator == *key && group.ended_at.is_none()).count();
    if !is_own(event, context) && made >= settings.groups_per_creator_max as usize {
        return refuse(Prefix::Blocked, format!("you have made {made} groups, as many as one may"));
    }
    if groups.len() >= settings.groups_max as usize {
        return refuse(Prefix::Blocked, "there are as many groups as there may be here".to_owned());
    }
    Ok(())
}

fn join(event: &Verified, _: &Related, context: &Context<'_>) -> Decision {
    let Some((group, action, _)) = managed(event, context) else { return Ok(()) };
    let refuse = |prefix, sentence: &'static str| refuse(prefix, "nip29.join", sentence);
    let is_in = group.has(&event.pubkey);
    match action {
        Action::Leave if !is_in => refuse(Prefix::Invalid, "you are not in this group"),
        Action::Join(_) if is_in => refuse(Prefix::Duplicate, "you are in this group already"),
        Action::Join(code) => {
            let code_counts = code.as_ref().and_then(|code| group.codes.get(code));
            let code_counts = code_counts.map(|code| lets_in(code, context));
            if group.about.closed && code_counts != Some(true) {
                return match (code, code_counts) {
                    (None, _) => refuse(
                        Prefix::Restricted,
                        "this group is closed: ask one of its admins for an invite code, or to be let in",
                    ),
                    (Some(_), None) => {
                        refuse(Prefix::Restricted, "that invite code is not valid in this group")
                    }
                    (Some(_), Some(_)) => refuse(
                        Prefix::Restricted,
                        "that invite code is used up or too old; ask for another one",
                    ),
                };
            }
            if group.members.len() >= context.config.nip29.members_max as usize {
                return refuse(Prefix::Restricted, "this group has as many members as it may");
            }
            if context.known.groups.memberships() >= context.config.nip29.memberships_max as usize {
                return refuse(
                    Prefix::Restricted,
                    "the groups here have as many members as they may together",
                );
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn removed_ids(event: &Event) -> Vec<Id> {
    match event.kind {
        Kind::DELETE_EVENT => event.tags.values("e").filter_map(Id::from_hex).take(REMOVED_MAX).collect(),
        _ => Vec::new(),
    }
}

fn removed_events(event: &Event, _: &Related, context: &Context<'_>) -> Vec<Want> {
    // Nobody has events read by asking for what they may not do.
    let may = managed(event, context)
        .is_some_and(|(group, action, _)| is_own(event, context) || may(group, &event.pubkey, &action));
    if may { removed_ids(event).into_iter().map(Want::Id).collect() } else { Vec::new() }
}

fn moderation(event: &Verified, related: &Related, context: &Context<'_>) -> Decision {
    let Some((group, action, id)) = managed(event, context) else { return Ok(()) };
    let refuse = |prefix, sentence: &'static str| refuse(prefix, "nip29.moderation", sentence);
    if !is_own(event, context) && !may(group, &event.pubkey, &action) {
        let sentence = match group.role(&event.pubkey) {
            Some(_) => "your role in this group does not allow this",
            None => "this is for those who manage this group",
        };
        return refuse(Prefix::Restricted, sentence);
    }
    let is_removable = |event: &Event| {
        let is_of_group = matches!(group_of(event), Ok(Some(group)) if group == id);
        is_of_group && (!event.kind.manages_groups() || event.kind == Kind::CREATE_INVITE)
    };
    let all_removable = removed_ids(event)
        .into_iter()
        .all(|id| related.one(&Want::Id(id)).is_some_and(|arrived| is_removable(&arrived.event)));
    if !all_removable {
        return refuse(
            Prefix::Invalid,
            "what is to be removed is not here, or is no event of this group's members",
        );
    }
    Ok(())
}

fn subgroups(event: &Verified, _: &Related, context: &Context<'_>) -> Decision {
    if !event.kind.manages_groups() {
        return Ok(());
    }
    let (id, action) = action::read(event)?;
    let (Action::Edit(about) | Action::Create(about)) = &action else { return Ok(()) };
    let groups = &context.known.groups;
    let refuse = |prefix, sentence: String| refuse(prefix, "nip29.subgroups", sentence);
    let before = groups.alive(id);
    if let Some(parent) = &about.parent {
        let is_there_already = before.is_some_and(|group| group.about.parent.as_deref() == Some(parent));
        // A hidden one is none to who is not in it.
        let is_known = |above: &&Arc<Group>| {
            !above.about.hidden || is_there_already || above.has(&event.pubkey) || is_own(event, context)
        };
        let Some(above) = groups.alive(parent).filter(is_known) else {
            return refuse(Prefix::Invalid, format!("there is no group {parent:?} to be below"));
        };
        if groups.is_above(id, parent) {
            return refuse(Prefix::Invalid, format!("{parent:?} is below {id:?}, or is the same group"));
        }
        let is_admin = above.role(&event.pubkey) == Some(Role::Admin) || is_own(event, context);
        if !is_there_already && !is_admin {
            return refuse(
                Prefix::Restricted,
                format!("who puts a group below {parent:?} is an admin there"),
            );
        }
    }
    let children = before.filter(|_| matches!(action, Action::Edit(_))).map(|group| &group.about.children);
    let left_out = children.into_iter().flatten().find(|child| !about.children.contains(child));
    match left_out {
        Some(child) => {
            refuse(Prefix::Invalid, format!("{child:?} is below this group, and no child tag names it"))
        }
        None => Ok(()),
    }
}

fn bounds(event: &Verified, _: &Related, context: &Context<'_>) -> Decision {
    let Some((group, action, _)) = managed(event, context) else { return Ok(()) };
    let settings = &context.config.nip29;
    let refuse = |sentence: String| refuse(Prefix::Restricted, "nip29.bounds", sentence);
    match action {
        Action::PutUsers(people) => {
            let new = people.iter().filter(|(key, _)| !group.has(key)).count();
            let most = settings.members_max as usize;
            if new > 0 && group.members.len() + new > most {
                return refuse(format!("a group has at most {most} members"));
            }
            let all = settings.memberships_max as usize;
            if new > 0 && context.known.groups.memberships() + new > all {
                return refuse(format!("all groups together have at most {all} members"));
            }
        }
        Action::Invite(codes) => {
            let new = codes.iter().filter(|code| !group.codes.contains_key(*code)).count();
            if new < codes.len() {
                let sentence = "there is such a code already";
                return Err(Refusal::new(Prefix::Duplicate, "nip29.bounds", sentence));
            }
            let most = settings.codes_max as usize;
            if group.codes.len() + new > most {
                return refuse(format!(
                    "a group has at most {most} invite codes: remove the events of others first"
                ));
            }
        }
        Action::Pin(pins) if pins.len() > settings.pins_max as usize => {
            return refuse(format!("a group has at most {} pinned events", settings.pins_max));
        }
        _ => {}
    }
    Ok(())
}

fn write(event: &Verified, _: &Related, context: &Context<'_>) -> Decision {
    let Some(group) = written_to(event, context) else { return Ok(()) };
    // Who left, or vanishes, still takes back what they wrote.
    if matches!(event.kind, Kind::DELETION | Kind::VANISH) || is_own(event, context) {
        return Ok(());
    }
    if group.about.restricted && !group.has(&event.pubkey) {
        return refuse(Prefix::Restricted, "nip29.write", "only members write to this group");
    }
    match &group.about.supported_kinds {
        Some(kinds) if !kinds.contains(&event.kind.0) => {
            let sentence = format!("this group takes no events of kind {}", event.kind);
            refuse(Prefix::Restricted, "nip29.write", sentence)
        }
        _ => Ok(()),
    }
}

/// What an event says it came after: beginnings of ids.
fn previous_of(event: &Event) -> impl Iterator<Item = &str> {
    event.tags.iter().filter(|tag| tag.name() == "previous").flat_map(|tag| tag.iter().skip(1))
}

fn beginnings(event: &Event) -> Vec<[u8; 4]> {
    let mut all: Vec<[u8; 4]> = previous_of(event)
        .take(REFERENCES_MAX)
        .filter_map(|text| u32::from_str_radix(text, 16).ok())
        .map(u32::to_be_bytes)
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn references(event: &Event, _: &Related, context: &Context<'_>) -> Vec<Want> {
    let Ok(Some(id)) = group_of(event) else { return Vec::new() };
    let Some(group) = context.known.groups.alive(id) else { return Vec::new() };
    let beginnings = beginnings(event);
    let must_refer = context.config.nip29.previous_min > 0 && !event.kind.manages_groups();
    if beginnings.is_empty() && !must_refer {
        return Vec::new();
    }
    vec![Want::References { group: group.id.to_string(), author: event.pubkey, beginnings }]
}

fn previous(event: &Verified, related: &Related, context: &Context<'_>) -> Decision {
    let Some(references) = related.references() else { return Ok(()) };
    let refuse = |sentence: String| refuse(Prefix::Invalid, "nip29.previous", sentence);
    let named = beginnings(event);
    if let Some(missing) = named.iter().find(|beginning| !references.found.contains(beginning)) {
        let missing = hex::encode(missing);
        return refuse(format!("previous refers to {missing}, and no such event of this group is here"));
    }
    // Who is among the first has little to refer to.
    let least = (context.config.nip29.previous_min as usize).min(references.by_others);
    if !event.kind.manages_groups() && event.kind != Kind::DELETION && named.len() < least {
        return refuse(format!("a previous tag refers to at least {least} events of this group by others"));
    }
    Ok(())
}

fn removals(event: &Event, _: &Related, context: &Context<'_>) -> Vec<Want> {
    match written_to(event, context) {
        Some(_) => vec![Want::Naming {
            kind: Kind::DELETE_EVENT,
            letter: b'e',
            value: event.id.to_string(),
            most: REMOVALS_MAX,
        }],
        None => Vec::new(),
    }
}

fn removed(event: &Verified, related: &Related, context: &Context<'_>) -> Decision {
    let (Some(group), [want, ..]) = (written_to(event, context), &removals(event, related, context)[..])
    else {
        return Ok(());
    };
    let is_of_group = |event: &Event| matches!(group_of(event), Ok(Some(id)) if *id == *group.id);
    match related.of(want).iter().any(|arrived| is_of_group(&arrived.event)) {
        true => {
            refuse(Prefix::Blocked, "nip29.removed", "those who manage this group have removed this event")
        }
        false => Ok(()),
    }
}

fn is_in(group: &Group, context: &Context<'_>) -> bool {
    context.keys.iter().any(|key| group.has(key))
}

/// Asks for authentication where nothing could be shown without it: when every filter is for private groups alone.
/// Those that are hidden are none of this: an answer would tell of them.
fn read_query(filters: &[Filter], context: &Context<'_>) -> Decision {
    let groups = &context.known.groups;
    let is_barred = |id: &String| {
        groups
            .alive(id)
            .is_some_and(|group| group.about.private && !group.about.hidden && !is_in(group, context))
    };
    let only_barred = |filter: &Filter| {
        filter
            .tags
            .iter()
            .any(|(letter, values)| *letter == b'h' && !values.is_empty() && values.iter().all(is_barred))
    };
    if groups.is_empty() || filters.is_empty() || !filters.iter().all(only_barred) {
        return Ok(());
    }
    match context.keys.is_empty() {
        true => {
            refuse(Prefix::AuthRequired, "nip29.read", "this group is private; log in as a member to read it")
        }
        false => refuse(Prefix::Restricted, "nip29.read", "this group is private, and you are not in it"),
    }
}

fn shown(head: &Head<'_>, context: &Context<'_>) -> bool {
    let groups: &Groups = &context.known.groups;
    if groups.is_empty() {
        return true;
    }
    let mut is_shown = true;
    if head.kind.tells_of_group() {
        head.tags.values(b'd', &mut |value| {
            is_shown &= groups.named(value).is_none_or(|group| {
                group.ended_at.is_none() && (!group.about.hidden || is_in(group, context))
            });
        });
        return is_shown;
    }
    head.tags.values(b'h', &mut |value| {
        is_shown &= groups.named(value).is_none_or(|group| is_shown_of(group, head, context));
    });
    is_shown
}

fn is_shown_of(group: &Group, head: &Head<'_>, context: &Context<'_>) -> bool {
    let is_in = is_in(group, context);
    let is_for_members = group.about.private || group.about.hidden && head.kind.manages_groups();
    if group.ended_at.is_some() {
        let is_for_members = group.about.private || group.about.hidden;
        return head.kind == Kind::DELETE_GROUP && (is_in || !is_for_members);
    }
    // Codes are for those who give them away, and for who has one.
    if matches!(head.kind, Kind::CREATE_INVITE | Kind::JOIN_GROUP) {
        return context.keys.iter().any(|key| key == head.author || group.role(key).is_some());
    }
    is_in || !is_for_members || names_asker(head, context)
}

/// Whether it says that who asks was let in or removed: that is told also to who is out.
fn names_asker(head: &Head<'_>, context: &Context<'_>) -> bool {
    let mut hex = String::with_capacity(64);
    matches!(head.kind, Kind::PUT_USER | Kind::REMOVE_USER)
        && context.keys.iter().any(|key| {
            hex.clear();
            // Writing to a String cannot fail.
            let _ = write!(hex, "{key}");
            head.tags.has(b'p', &hex)
        })
}
