//! What an event that manages a group asks for. In: events of kinds 9000 to 9022. Out: an [`Action`], or why it is
//! none. Never looks at a group.

use crate::event::{Event, Id, Kind, PublicKey};
use crate::rule::groups::About;
use crate::rule::{Prefix, Refusal};

/// Bytes of a group's id.
const ID_BYTES_MAX: usize = 64;

/// Bytes of an invite code.
const CODE_BYTES_MAX: usize = 128;

/// Roles of one person, and bytes of a role's label.
const ROLES_MAX: usize = 4;
const ROLE_BYTES_MAX: usize = 32;

/// Bytes of a group's name and of its other texts.
const NAME_BYTES_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 1_024;

/// Bytes of an address that is pinned.
const ADDRESS_BYTES_MAX: usize = 256;

/// Kinds that a group may say it supports.
const KINDS_MAX: usize = 256;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// People are in, with these roles and no others (9000).
    PutUsers(Vec<(PublicKey, Vec<String>)>),
    /// People are out (9001).
    RemoveUsers(Vec<PublicKey>),
    /// What the group is, anew (9002).
    Edit(About),
    /// Events go (9005).
    DeleteEvents(Vec<Id>),
    /// There is a group (9007).
    Create(About),
    /// The group is no more (9008).
    Delete,
    /// These codes let people in (9009).
    Invite(Vec<String>),
    /// What is pinned, anew (9010).
    Pin(Vec<(String, String)>),
    /// The author wants to be in, perhaps by a code (9021).
    Join(Option<String>),
    /// The author wants to be out (9022).
    Leave,
}

/// The rule that says what is wrong with such an event.
pub(super) const FORM: &str = "nip29.form";

fn wrong(sentence: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Prefix::Invalid, FORM, sentence)
}

/// The group that an event is for: the value of its `h` tags, which name one group.
///
/// # Errors
/// When they name several.
pub fn group_of(event: &Event) -> Result<Option<&str>, Refusal> {
    let mut named = event.tags.values("h");
    let Some(first) = named.next() else { return Ok(None) };
    match named.all(|other| other == first) {
        true => Ok(Some(first)),
        false => Err(wrong("an event is for one group: its h tags name several")),
    }
}

/// Reads an event that manages a group: the group's id, and what is asked for.
///
/// # Errors
/// Why it asks for nothing.
pub fn read(event: &Event) -> Result<(&str, Action), Refusal> {
    let id = group_of(event)?.ok_or_else(|| wrong("an event of this kind names its group in an h tag"))?;
    if id.is_empty() || id.len() > ID_BYTES_MAX || id.chars().any(char::is_control) {
        return Err(wrong(format!(
            "a group's id has 1 to {ID_BYTES_MAX} bytes, none of them a control character"
        )));
    }
    let action = match event.kind {
        Kind::PUT_USER => Action::PutUsers(people(event)?),
        Kind::REMOVE_USER => Action::RemoveUsers(people(event)?.into_iter().map(|(key, _)| key).collect()),
        Kind::EDIT_METADATA => Action::Edit(about(event)?),
        Kind::CREATE_GROUP => Action::Create(about(event)?),
        Kind::DELETE_EVENT => {
            let ids: Option<Vec<Id>> = event.tags.values("e").map(Id::from_hex).collect();
            let ids = ids.filter(|ids| !ids.is_empty());
            Action::DeleteEvents(
                ids.ok_or_else(|| wrong("an e tag names each event that is to go, by its id"))?,
            )
        }
        Kind::DELETE_GROUP => Action::Delete,
        Kind::CREATE_INVITE => {
            let codes: Vec<String> = event.tags.values("code").map(str::to_owned).collect();
            if codes.is_empty() || codes.iter().any(|code| !is_code(code)) {
                return Err(wrong(format!("a code tag has a code of 1 to {CODE_BYTES_MAX} bytes")));
            }
            Action::Invite(codes)
        }
        Kind::UPDATE_PINS => Action::Pin(pins(event)?),
        Kind::JOIN_GROUP => Action::Join(event.tags.values("code").next().map(str::to_owned)),
        Kind::LEAVE_GROUP => Action::Leave,
        kind => return Err(wrong(format!("kind {kind} manages nothing"))),
    };
    Ok((id, action))
}

/// Whether a text may be a code.
pub fn is_code(code: &str) -> bool {
    (1..=CODE_BYTES_MAX).contains(&code.len()) && !code.chars().any(char::is_control)
}

fn people(event: &Event) -> Result<Vec<(PublicKey, Vec<String>)>, Refusal> {
    let mut people: Vec<(PublicKey, Vec<String>)> = Vec::new();
    for tag in event.tags.iter().filter(|tag| tag.name() == "p") {
        let key = tag.value().and_then(PublicKey::from_hex);
        let key = key.ok_or_else(|| wrong("a p tag names each person by a public key"))?;
        let roles: Vec<String> =
            tag.iter().skip(2).filter(|role| !role.is_empty()).map(str::to_owned).collect();
        if roles.len() > ROLES_MAX || roles.iter().any(|role| role.len() > ROLE_BYTES_MAX) {
            let sentence = format!("a person has at most {ROLES_MAX} roles of {ROLE_BYTES_MAX} bytes each");
            return Err(wrong(sentence));
        }
        people.retain(|(other, _)| *other != key);
        people.push((key, roles));
    }
    match people.is_empty() {
        true => Err(wrong("a p tag names each person by a public key")),
        false => Ok(people),
    }
}

fn pins(event: &Event) -> Result<Vec<(String, String)>, Refusal> {
    let mut pins = Vec::new();
    for tag in event.tags.iter().filter(|tag| matches!(tag.name(), "e" | "a")) {
        let value = tag.value().unwrap_or_default();
        let is_name = match tag.name() {
            "e" => Id::from_hex(value).is_some(),
            _ => value.len() <= ADDRESS_BYTES_MAX && crate::nips::nip09::parse_address(value).is_some(),
        };
        if !is_name {
            return Err(wrong("e tags have ids, and a tags have addresses"));
        }
        let pin = (tag.name().to_owned(), value.to_owned());
        if !pins.contains(&pin) {
            pins.push(pin);
        }
    }
    Ok(pins)
}

/// The fields of a group's metadata; tags that mean nothing here are passed over (NIP-29).
fn about(event: &Event) -> Result<About, Refusal> {
    let mut about = About::default();
    let text = |name: &'static str, bytes_max: usize| {
        let value = event.tags.values(name).next().filter(|value| !value.is_empty());
        match value.is_none_or(|value| value.len() <= bytes_max) {
            true => Ok(value.map(str::to_owned)),
            false => Err(wrong(format!("a group's {name} has at most {bytes_max} bytes"))),
        }
    };
    about.name = text("name", NAME_BYTES_MAX)?;
    about.picture = text("picture", TEXT_BYTES_MAX)?;
    about.banner = text("banner", TEXT_BYTES_MAX)?;
    about.about = text("about", TEXT_BYTES_MAX)?;
    about.parent = text("parent", ID_BYTES_MAX)?;
    let has = |name: &str| event.tags.iter().any(|tag| tag.name() == name);
    (about.private, about.restricted) = (has("private"), has("restricted"));
    (about.hidden, about.closed) = (has("hidden"), has("closed"));
    if let Some(tag) = event.tags.iter().find(|tag| tag.name() == "supported_kinds") {
        let kinds: Result<Vec<u16>, _> = tag.iter().skip(1).map(str::parse).collect();
        let kinds = kinds.ok().filter(|kinds| kinds.len() <= KINDS_MAX);
        about.supported_kinds = Some(
            kinds.ok_or_else(|| wrong(format!("supported_kinds lists up to {KINDS_MAX} kinds by number")))?,
        );
    }
    for child in event.tags.values("child").filter(|child| !child.is_empty()) {
        if !about.children.iter().any(|one| one == child) {
            about.children.push(child.to_owned());
        }
    }
    Ok(about)
}
