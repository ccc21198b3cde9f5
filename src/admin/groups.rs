//! Groups (NIP-29) and members (NIP-43) for those who manage a community. In: methods, what is known. Out: JSON, and what
//! the relay itself is to do: an event that it signs, held to what is asked of a group's admins. Does nothing itself.

use std::sync::Arc;

use serde_json::{Value, json};

use super::changes::Made;
use super::{Caller, Denied};
use crate::community::{Change, Community, Rules};
use crate::event::{Kind, PublicKey, Tags};
use crate::nips::nip86::{Method, OF_GROUPS, OF_MEMBERS};
use crate::nips::{nip29, nip43};
use crate::pipeline::{Act, new_code, worn_out};
use crate::rule::groups::Group;
use crate::rule::moderation::Claim;

/// Whether a method means something in a community.
pub(super) fn means_something(name: &str, community: &Community) -> bool {
    (community.has_groups() || !OF_GROUPS.contains(&name))
        && (community.has_members() || !OF_MEMBERS.contains(&name))
}

/// The answer to a method that only asks; `None` for others.
pub(super) fn answer(method: &Method, rules: &Rules) -> Option<Result<Value, Denied>> {
    Some(match method {
        Method::ListMembers => Ok(members(rules)),
        Method::ListClaims => Ok(claims(rules)),
        Method::ListGroups => Ok(list(rules)),
        Method::ShowGroup(id) => show(rules, id),
        _ => return None,
    })
}

fn hex(key: Option<&PublicKey>) -> Option<String> {
    key.map(ToString::to_string)
}

/// Who the members are, and why.
fn members(rules: &Rules) -> Value {
    let moderation = &rules.known.moderation;
    let one = |key: &PublicKey| {
        let ruling = moderation.authors.get(key);
        json!({
            "pubkey": key.to_string(),
            "in_settings": rules.settings.authors.members.contains(key),
            "reason": ruling.map(|ruling| &ruling.reason),
            "by": ruling.map(|ruling| &ruling.by),
            "at": ruling.map(|ruling| ruling.at),
        })
    };
    nip43::members(&rules.settings, moderation).iter().map(one).collect()
}

/// Codes with which people become members, those made last first.
fn claims(rules: &Rules) -> Value {
    let mut all: Vec<(&String, &Claim)> = rules.known.moderation.claims.iter().collect();
    all.sort_by_key(|(code, claim)| (std::cmp::Reverse(claim.at), *code));
    let one = |(code, claim): (&String, &Claim)| {
        let Claim { by, at, until, left } = claim;
        json!({"code": code, "by": by, "at": at, "until": until, "left": left})
    };
    all.into_iter().map(one).collect()
}

fn summary(group: &Arc<Group>) -> Value {
    json!({
        "id": *group.id,
        "about": group.about,
        "creator": hex(Some(&group.creator)),
        "members": group.members.len(),
        "codes": group.codes.len(),
    })
}

/// All groups that have not been ended, by their ids.
fn list(rules: &Rules) -> Value {
    let mut all: Vec<&Arc<Group>> =
        rules.known.groups.iter().filter(|group| group.ended_at.is_none()).collect();
    all.sort_by(|one, other| one.id.cmp(&other.id));
    all.into_iter().map(summary).collect()
}

/// One group with those who are in it, and its codes.
fn show(rules: &Rules, id: &str) -> Result<Value, Denied> {
    let group = rules.known.groups.alive(id);
    let group = group.ok_or_else(|| Denied::Refused(format!("there is no group {id:?} here")))?;
    let mut people: Vec<_> = group.members.iter().collect();
    people.sort_by_key(|(key, member)| {
        (std::cmp::Reverse(group.role(key)), std::cmp::Reverse(member.since), **key)
    });
    let people = people.into_iter().map(
        |(key, member)| json!({"pubkey": key.to_string(), "roles": member.roles, "since": member.since}),
    );
    let codes =
        group.codes.iter().map(|(code, made)| json!({"code": code, "at": made.at, "uses": made.uses}));
    let mut shown = summary(group);
    shown["members"] = people.collect();
    shown["codes"] = codes.collect();
    Ok(shown)
}

/// What a method makes; `None` for one that is about neither groups nor members.
pub(super) fn of(
    method: &Method,
    caller: &Caller<'_>,
    rules: &Rules,
    now: u64,
) -> Result<Option<Made>, Denied> {
    let (acts, answer, about) = match method {
        Method::CreateClaim(uses, seconds) => return claim(caller, rules, (*uses, *seconds), now).map(Some),
        Method::DeleteClaim(code) => {
            let changes = vec![Change::Claim(code.clone(), None)];
            let about = json!({"text": beginning(code)});
            return Ok(Some(Made {
                changes,
                acts: Vec::new(),
                answer: json!(true),
                about,
                releases: Vec::new(),
            }));
        }
        Method::CreateGroup(id, name, admin) => {
            let name = Some(["name", name]).filter(|[_, name]| !name.is_empty());
            let made = act(Kind::CREATE_GROUP, id, name.as_ref().map(|name| &name[..]), "");
            let admin = act(Kind::PUT_USER, id, Some(&["p", &admin.to_string(), "admin"]), "");
            (vec![made, admin], json!(true), json!({"text": id}))
        }
        Method::DeleteGroup(id, reason) => (
            vec![act(Kind::DELETE_GROUP, id, None, reason)],
            json!(true),
            json!({"text": id, "reason": reason}),
        ),
        Method::PutGroupUser(id, key, roles) => {
            let key = key.to_string();
            let tag: Vec<&str> = ["p", &key].into_iter().chain(roles.iter().map(String::as_str)).collect();
            let about = json!({"pubkey": key, "text": id, "role": roles.join(", ")});
            (vec![act(Kind::PUT_USER, id, Some(&tag), "")], json!(true), about)
        }
        Method::RemoveGroupUser(id, key, reason) => {
            let key = key.to_string();
            let out = act(Kind::REMOVE_USER, id, Some(&["p", &key]), reason);
            (vec![out], json!(true), json!({"pubkey": key, "text": id, "reason": reason}))
        }
        Method::CreateGroupInvite(id) => {
            let code = new_code();
            let made = act(Kind::CREATE_INVITE, id, Some(&["code", &code]), "");
            (vec![made], json!({"code": code}), json!({"text": id}))
        }
        Method::DeleteGroupInvite(id, code) => {
            let group = rules.known.groups.alive(id);
            let made_by = group.and_then(|group| group.codes.get(code)).map(|code| code.by.clone());
            let made_by = made_by.ok_or_else(|| Denied::Refused("there is no such code".to_owned()))?;
            (vec![act(Kind::DELETE_EVENT, id, Some(&["e", &made_by]), "")], json!(true), json!({"text": id}))
        }
        _ => return Ok(None),
    };
    admit(&acts, caller, rules, now)?;
    Ok(Some(Made { changes: Vec::new(), acts, answer, about, releases: Vec::new() }))
}

/// The record names codes only so far that they can be told apart.
fn beginning(code: &str) -> String {
    code.chars().take(6).chain(['…']).collect()
}

fn act(kind: Kind, group: &str, tag: Option<&[&str]>, reason: &str) -> Act {
    let mut tags = Tags::default();
    tags.push(["h", group]);
    tag.into_iter().for_each(|tag| tags.push(tag.iter().copied()));
    Act { kind, tags, content: reason.to_owned() }
}

/// Whether the first of these makes sense; what follows goes with it.
fn admit(acts: &[Act], caller: &Caller<'_>, rules: &Rules, now: u64) -> Result<(), Denied> {
    let signer = caller.community.signer().filter(|_| caller.community.has_groups());
    let signer =
        signer.ok_or_else(|| Denied::Refused("there are no groups here: nip29.enabled is off".to_owned()))?;
    let context = rules.context(now, &[], caller.relay);
    for Act { kind, tags, content } in acts.iter().take(1) {
        let event = signer.sign(now, *kind, tags.clone(), content.clone());
        nip29::admit_own(&event, &context)
            .map_err(|refusal| Denied::Refused(refusal.sentence.into_owned()))?;
    }
    Ok(())
}

fn claim(
    caller: &Caller<'_>,
    rules: &Rules,
    (uses, seconds): (Option<u32>, Option<u64>),
    now: u64,
) -> Result<Made, Denied> {
    if !caller.community.has_members() {
        return Err(Denied::Refused("nobody joins with codes here: nip43.enabled is off".to_owned()));
    }
    let (settings, moderation) = (&rules.settings.nip43, &rules.known.moderation);
    let mut changes = worn_out(moderation, now);
    if moderation.claims.len() - changes.len() >= settings.codes_max as usize {
        return Err(Denied::Refused("there are as many codes as there may be".to_owned()));
    }
    let code = new_code();
    let until = now.saturating_add(seconds.unwrap_or(settings.code_seconds_max));
    let left = uses.unwrap_or(settings.code_uses_max);
    let claim = Claim { by: caller.key.to_string(), at: now, until, left };
    let about = json!({"text": beginning(&code)});
    let answer = json!({"code": code, "until": until, "left": left});
    changes.push(Change::Claim(code, Some(claim)));
    Ok(Made { changes, acts: Vec::new(), answer, about, releases: Vec::new() })
}
