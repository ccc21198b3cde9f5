//! What the relay says of a group by itself: kinds 39000 to 39005. In: groups. Out: tags and content, to be signed.

use crate::event::{Kind, PublicKey, Tags};
use crate::rule::groups::{Group, Groups, Role, power_of};

/// Every kind that tells of a group.
pub const KINDS: [Kind; 5] =
    [Kind::GROUP_METADATA, Kind::GROUP_ADMINS, Kind::GROUP_MEMBERS, Kind::GROUP_ROLES, Kind::GROUP_PINS];

/// What one person takes in a list, and what is kept for the rest of the event.
const PERSON_BYTES: usize = 80;
const REST_BYTES: usize = 8_192;

/// People that a list of an event of at most so many bytes can name.
pub fn listed_max(message_bytes_max: usize) -> usize {
    message_bytes_max.saturating_sub(REST_BYTES) / PERSON_BYTES
}

/// What there is to say of a group by an event of this kind; `None` when there is nothing. A list names `listed_max`
/// people at most: larger ones are cut, which NIP-29 allows.
pub fn of(groups: &Groups, id: &str, kind: Kind, listed_max: usize) -> Option<(Tags, &'static str)> {
    let group = groups.alive(id)?;
    let mut tags = Tags::default();
    tags.push(["d", id]);
    let content = match kind {
        Kind::GROUP_METADATA => {
            metadata(groups, group, &mut tags);
            ""
        }
        Kind::GROUP_ADMINS => {
            for (key, roles) in sorted(group).filter(|(_, roles)| power_of(roles).is_some()).take(listed_max)
            {
                let key = key.to_string();
                tags.push(["p", &key].into_iter().chain(roles.iter().map(String::as_str)));
            }
            "who has a role in this group"
        }
        Kind::GROUP_MEMBERS => {
            sorted(group).take(listed_max).for_each(|(key, _)| tags.push(["p", &key.to_string()]));
            "who is in this group"
        }
        Kind::GROUP_ROLES => {
            Role::ALL.iter().for_each(|role| tags.push(["role", role.label(), role.description()]));
            "roles that give power in this group"
        }
        Kind::GROUP_PINS if group.pins.is_empty() => return None,
        Kind::GROUP_PINS => {
            group.pins.iter().for_each(|(name, value)| tags.push([name.as_str(), value]));
            "what is pinned in this group"
        }
        _ => return None,
    };
    Some((tags, content))
}

fn sorted(group: &Group) -> impl Iterator<Item = (&PublicKey, &Vec<String>)> {
    let mut people: Vec<_> = group.members.iter().map(|(key, member)| (key, &member.roles)).collect();
    people.sort_unstable_by_key(|(key, _)| **key);
    people.into_iter()
}

fn metadata(groups: &Groups, group: &Group, tags: &mut Tags) {
    let about = &group.about;
    let texts = [
        ("name", &about.name),
        ("picture", &about.picture),
        ("banner", &about.banner),
        ("about", &about.about),
    ];
    for (name, text) in texts {
        text.iter().for_each(|text| tags.push([name, text]));
    }
    let flags = [
        ("private", about.private),
        ("restricted", about.restricted),
        ("hidden", about.hidden),
        ("closed", about.closed),
    ];
    flags.into_iter().filter(|(_, is_set)| *is_set).for_each(|(name, _)| tags.push([name]));
    if let Some(kinds) = &about.supported_kinds {
        let kinds: Vec<String> = kinds.iter().map(u16::to_string).collect();
        tags.push(["supported_kinds"].into_iter().chain(kinds.iter().map(String::as_str)));
    }
    if let Some(parent) = about.parent.as_deref().filter(|parent| groups.alive(parent).is_some()) {
        match group.attested_by {
            Some(key) => tags.push(["parent", parent, &key.to_string()]),
            None => tags.push(["parent", parent]),
        }
    }
    about.children.iter().for_each(|child| tags.push(["child", child]));
}
