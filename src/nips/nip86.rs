//! NIP-86, the management API (nips/86.md): its methods, what they take, and who may call them. In: the JSON of a
//! request. Out: a [`Method`]. Never carries one out; `src/admin/` does.

use ipnet::IpNet;
use serde_json::Value;

use crate::config::Overlay;
use crate::event::{Id, Kind, PublicKey};
use crate::review::Verdict;
use crate::rule::moderation::{ADMIN, Rank, Role};

/// The media type of requests and answers.
pub const MEDIA_TYPE: &str = "application/nostr+json+rpc";

/// Characters of a reason.
pub const REASON_CHARS_MAX: usize = 500;

/// Characters of a community's name, and of an address of a picture.
const NAME_CHARS_MAX: usize = 200;

/// Characters of a community's description.
const DESCRIPTION_CHARS_MAX: usize = 1_000;

/// Characters of the id of a role, of a local name, and of a role's other texts.
const ID_CHARS_MAX: usize = 64;

/// People whose names, or events whose content, one call asks for, and settings that it changes.
const ASKED_MAX: usize = 200;

/// Entries of the audit log, or of the queue, that one call returns.
pub const ENTRIES_MAX: usize = 1_000;

/// A call, with what it is about. Reasons may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// Which methods the caller may call.
    SupportedMethods,
    /// Bans an author.
    BanPubkey(PublicKey, String),
    /// Lifts an author's ban.
    UnbanPubkey(PublicKey, String),
    /// Who is banned.
    ListBannedPubkeys,
    /// Allows an author.
    AllowPubkey(PublicKey, String),
    /// Takes an author off those allowed.
    UnallowPubkey(PublicKey, String),
    /// Who is allowed.
    ListAllowedPubkeys,
    /// Makes a role.
    CreateRole(String, Role),
    /// Changes a role.
    EditRole(String, Role),
    /// Takes a role away.
    DeleteRole(String),
    /// Gives a person a role.
    AssignRole(PublicKey, String),
    /// Takes a role from a person.
    UnassignRole(PublicKey, String),
    /// Lets a person call a method.
    AssignMethod(PublicKey, String),
    /// Takes that back.
    UnassignMethod(PublicKey, String),
    /// Who may call single methods.
    ListMethodAssignees,
    /// What is reported and not yet decided.
    ListEventsNeedingModeration,
    /// Allows an event.
    AllowEvent(Id, String),
    /// Takes an event off those allowed.
    UnallowEvent(Id, String),
    /// Bans an event.
    BanEvent(Id, String),
    /// Lifts an event's ban.
    UnbanEvent(Id, String),
    /// Which events are banned.
    ListBannedEvents,
    /// Which events are allowed.
    ListAllowedEvents,
    /// Changes the community's name; an empty one is the settings' again, as for the next two.
    ChangeRelayName(String),
    /// Changes its description.
    ChangeRelayDescription(String),
    /// Changes its picture.
    ChangeRelayIcon(String),
    /// Allows a kind.
    AllowKind(Kind),
    /// Rules a kind out.
    DisallowKind(Kind),
    /// Which kinds are allowed by hand.
    ListAllowedKinds,
    /// Which kinds are ruled out by hand.
    ListDisallowedKinds,
    /// Turns clients from an address, or a network, away.
    BlockIp(IpNet, String),
    /// Lets them in again.
    UnblockIp(IpNet),
    /// Which addresses are turned away.
    ListBlockedIps,
    /// Beyond NIP-86: the roles that there are.
    ListRoles,
    /// Beyond NIP-86: who has which roles and methods, owners included.
    ListStaff,
    /// Beyond NIP-86: what was done, by whom, newest first: how many entries, before which number.
    ListAuditLog(usize, Option<u64>),
    /// Beyond NIP-86: what waits for a decision, with who reported it.
    ListModerationQueue,
    /// Beyond NIP-86: gives a local name to a key (NIP-05).
    SetName(String, PublicKey),
    /// Beyond NIP-86: takes a local name away.
    RemoveName(String),
    /// Beyond NIP-86: the local names.
    ListNames,
    /// Beyond NIP-86: what is going on: connections, events, refusals.
    Stats,
    /// Beyond NIP-86: reads the settings file again.
    ReloadSettings,
    /// Beyond NIP-86: opens a session, so that later calls need no signature of their own.
    Login,
    /// Beyond NIP-86: ends a session, or all that the caller has here.
    Logout,
    /// Beyond NIP-86: what an author wrote here, newest first, up to so many events.
    ListAuthorEvents(PublicKey, usize),
    /// Beyond NIP-86: stored events by their ids, those that are there.
    ListEvents(Vec<Id>),
    /// Beyond NIP-86: how people call themselves here.
    ListProfiles(Vec<PublicKey>),
    /// Beyond NIP-86: takes back what was decided of a kind.
    ResetKind(Kind),
    /// Beyond NIP-86: the reports about a person that are here call for nothing.
    DismissReports(PublicKey, String),
    /// Beyond NIP-86: takes that back.
    UndismissReports(PublicKey, String),
    /// Beyond NIP-86: whose reports were put aside.
    ListDismissedReports,
    /// Beyond NIP-86: settings that can be changed here, with their values and where these come from.
    ListSettings,
    /// Beyond NIP-86: changes settings, by their keys in relay.toml; a null gives way to what that says.
    ChangeSettings(Overlay),
    /// Beyond NIP-86: what a moderation service says of events.
    GiveVerdicts(Vec<Verdict>),
    /// Beyond NIP-86: what it called events.
    ListLabels,
    /// Beyond NIP-86: lists of other relays that are followed here, and whom each touched.
    ListSharedLists,
    /// Beyond NIP-86: who the members are (NIP-43).
    ListMembers,
    /// Beyond NIP-86: makes a code with which people become members: how many, for how many seconds; what the settings
    /// say where that is not given.
    CreateClaim(Option<u32>, Option<u64>),
    /// Beyond NIP-86: takes such a code away.
    DeleteClaim(String),
    /// Beyond NIP-86: such codes.
    ListClaims,
    /// Beyond NIP-86: the groups that there are (NIP-29).
    ListGroups,
    /// Beyond NIP-86: a group with its members and codes.
    ShowGroup(String),
    /// Beyond NIP-86: makes a group of this name, with an admin.
    CreateGroup(String, String, PublicKey),
    /// Beyond NIP-86: ends a group.
    DeleteGroup(String, String),
    /// Beyond NIP-86: puts somebody into a group, with these roles.
    PutGroupUser(String, PublicKey, Vec<String>),
    /// Beyond NIP-86: takes somebody out of a group.
    RemoveGroupUser(String, PublicKey, String),
    /// Beyond NIP-86: makes a code with which people join a group.
    CreateGroupInvite(String),
    /// Beyond NIP-86: takes such a code away.
    DeleteGroupInvite(String, String),
    /// Beyond NIP-86: how mirrors stand.
    ListMirrors,
    /// Beyond NIP-86: whether an event, given as its JSON, would be accepted, and what each rule says.
    Explain(String),
}

/// Why a call is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// The body is not what NIP-86 asks for.
    Body(&'static str),
    /// There is no such method.
    Unknown(String),
    /// A parameter is missing or wrong.
    Parameter(&'static str),
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unreadable::Body(reason) => f.write_str(reason),
            Unreadable::Unknown(name) => {
                write!(f, "there is no method {name:?}; supportedmethods lists those that there are")
            }
            Unreadable::Parameter(wanted) => write!(f, "params: {wanted}"),
        }
    }
}

/// The parameters of a call, taken one after another.
struct Parameters<'a>(std::slice::Iter<'a, Value>);

type Read<T> = Result<T, Unreadable>;

impl Parameters<'_> {
    fn text(&mut self, wanted: &'static str, chars_max: usize) -> Read<String> {
        let text = self.0.next().and_then(Value::as_str).ok_or(Unreadable::Parameter(wanted))?;
        if text.chars().count() > chars_max
            || text.chars().any(|letter| letter.is_control() && letter != '\n')
        {
            return Err(Unreadable::Parameter("a text is too long, or has control characters in it"));
        }
        Ok(text.trim().to_owned())
    }

    fn optional(&mut self, chars_max: usize) -> Read<String> {
        match self.0.as_slice().first() {
            None | Some(Value::Null) => {
                self.0.next();
                Ok(String::new())
            }
            Some(_) => self.text("a reason is a text", chars_max),
        }
    }

    fn reason(&mut self) -> Read<String> {
        self.optional(REASON_CHARS_MAX)
    }

    fn key(&mut self) -> Read<PublicKey> {
        let wanted = "a public key in 64 lower-case hexadecimal digits, or as npub1…";
        let text = self.text(wanted, 100)?;
        crate::config::parse_key(&text).map_err(|_| Unreadable::Parameter(wanted))
    }

    /// A list of what can be read one by one.
    fn each<T>(&mut self, wanted: &'static str, one: impl Fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let list = self.0.next().and_then(Value::as_array).filter(|list| list.len() <= ASKED_MAX);
        let mut list = Parameters(list.ok_or(Unreadable::Parameter(wanted))?.iter());
        (0..list.0.len()).map(|_| one(&mut list)).collect()
    }

    fn id(&mut self) -> Read<Id> {
        let wanted = "an event's id in 64 lower-case hexadecimal digits";
        Id::from_hex(&self.text(wanted, 64)?).ok_or(Unreadable::Parameter(wanted))
    }

    fn kind(&mut self) -> Read<Kind> {
        let number = self.0.next().and_then(Value::as_u64).and_then(|number| u16::try_from(number).ok());
        number.map(Kind).ok_or(Unreadable::Parameter("a kind is a whole number from 0 to 65535"))
    }

    fn network(&mut self) -> Read<IpNet> {
        let wanted = "an IP address, or a network such as 192.0.2.0/24";
        let text = self.text(wanted, 64)?;
        crate::config::parse_network(&text).ok_or(Unreadable::Parameter(wanted))
    }

    /// The id of a role, or a local name: what NIP-05 takes.
    fn name(&mut self, wanted: &'static str) -> Read<String> {
        let text = self.text(wanted, ID_CHARS_MAX)?;
        let is_plain =
            |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_.".contains(letter);
        match !text.is_empty() && text.chars().all(is_plain) {
            true => Ok(text),
            false => Err(Unreadable::Parameter(wanted)),
        }
    }

    fn role_id(&mut self) -> Read<String> {
        self.name("the id of a role: up to 64 of a to z, 0 to 9, - _ and .")
    }

    fn role(&mut self) -> Read<Role> {
        let label = self.optional(ID_CHARS_MAX)?;
        let description = self.optional(REASON_CHARS_MAX)?;
        let color = self.optional(ID_CHARS_MAX)?;
        let order = match self.0.next() {
            None | Some(Value::Null) => 0,
            Some(order) => {
                order.as_i64().ok_or(Unreadable::Parameter("the order of a role is a whole number"))?
            }
        };
        Ok(Role { label, description, color, order })
    }

    fn method(&mut self) -> Read<String> {
        let wanted = "the name of a method";
        let name = self.text(wanted, ID_CHARS_MAX)?;
        match NAMES.iter().any(|(known, _)| *known == name) {
            true => Ok(name),
            false => Err(Unreadable::Parameter(wanted)),
        }
    }

    fn count(&mut self) -> Read<usize> {
        match self.0.next() {
            None | Some(Value::Null) => Ok(100),
            Some(count) => {
                let count = count.as_u64().filter(|count| (1..=ENTRIES_MAX as u64).contains(count));
                count.map(|count| count as usize).ok_or(Unreadable::Parameter("how many, from 1 to 1000"))
            }
        }
    }

    /// A whole number, or none.
    fn number<T: TryFrom<u64>>(&mut self, wanted: &'static str) -> Read<Option<T>> {
        match self.0.next() {
            None | Some(Value::Null) => Ok(None),
            Some(number) => {
                let number =
                    number.as_u64().filter(|number| *number > 0).and_then(|number| T::try_from(number).ok());
                number.map(Some).ok_or(Unreadable::Parameter(wanted))
            }
        }
    }

    fn settings(&mut self) -> Read<Overlay> {
        let wanted = "an object of settings and their new values, such as {\"access.write\": \"members\"}; null takes back";
        let settings = self.0.next().and_then(Value::as_object).filter(|settings| !settings.is_empty());
        let settings = settings.filter(|settings| settings.len() <= ASKED_MAX);
        let settings = settings.ok_or(Unreadable::Parameter(wanted))?;
        Ok(settings.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn before(&mut self) -> Read<Option<u64>> {
        match self.0.next() {
            None | Some(Value::Null) => Ok(None),
            Some(number) => number.as_u64().map(Some).ok_or(Unreadable::Parameter("the number of an entry")),
        }
    }
}

/// Every method, and who may call it at the least.
pub const NAMES: &[(&str, Rank)] = &[
    ("supportedmethods", Rank::Nobody),
    ("banpubkey", Rank::Moderator),
    ("unbanpubkey", Rank::Moderator),
    ("listbannedpubkeys", Rank::Moderator),
    ("allowpubkey", Rank::Moderator),
    ("unallowpubkey", Rank::Moderator),
    ("listallowedpubkeys", Rank::Moderator),
    ("createrole", Rank::Admin),
    ("editrole", Rank::Admin),
    ("deleterole", Rank::Admin),
    ("assignrole", Rank::Admin),
    ("unassignrole", Rank::Admin),
    ("assignmethod", Rank::Owner),
    ("unassignmethod", Rank::Owner),
    ("listmethodassignees", Rank::Admin),
    ("listeventsneedingmoderation", Rank::Moderator),
    ("allowevent", Rank::Moderator),
    ("unallowevent", Rank::Moderator),
    ("banevent", Rank::Moderator),
    ("unbanevent", Rank::Moderator),
    ("listbannedevents", Rank::Moderator),
    ("listallowedevents", Rank::Moderator),
    ("changerelayname", Rank::Admin),
    ("changerelaydescription", Rank::Admin),
    ("changerelayicon", Rank::Admin),
    ("allowkind", Rank::Admin),
    ("disallowkind", Rank::Admin),
    ("listallowedkinds", Rank::Moderator),
    ("listdisallowedkinds", Rank::Moderator),
    ("blockip", Rank::Admin),
    ("unblockip", Rank::Admin),
    ("listblockedips", Rank::Admin),
    ("listroles", Rank::Moderator),
    ("liststaff", Rank::Moderator),
    ("listauditlog", Rank::Admin),
    ("listmoderationqueue", Rank::Moderator),
    ("setname", Rank::Admin),
    ("removename", Rank::Admin),
    ("listnames", Rank::Moderator),
    ("stats", Rank::Moderator),
    ("reloadsettings", Rank::Owner),
    ("explain", Rank::Moderator),
    ("login", Rank::Nobody),
    ("logout", Rank::Nobody),
    ("listauthorevents", Rank::Moderator),
    ("listevents", Rank::Moderator),
    ("listprofiles", Rank::Moderator),
    ("resetkind", Rank::Admin),
    ("dismissreports", Rank::Moderator),
    ("undismissreports", Rank::Moderator),
    ("listdismissedreports", Rank::Moderator),
    ("listsettings", Rank::Admin),
    ("changesettings", Rank::Admin),
    ("giveverdicts", Rank::Moderator),
    ("listlabels", Rank::Moderator),
    ("listsharedlists", Rank::Moderator),
    ("listmembers", Rank::Moderator),
    ("createclaim", Rank::Moderator),
    ("deleteclaim", Rank::Moderator),
    ("listclaims", Rank::Moderator),
    ("listgroups", Rank::Admin),
    ("showgroup", Rank::Admin),
    ("creategroup", Rank::Admin),
    ("deletegroup", Rank::Admin),
    ("putgroupuser", Rank::Admin),
    ("removegroupuser", Rank::Admin),
    ("creategroupinvite", Rank::Admin),
    ("deletegroupinvite", Rank::Admin),
    ("listmirrors", Rank::Admin),
];

/// Those of [`NAMES`] that mean something only where there are groups.
pub const OF_GROUPS: [&str; 8] = [
    "listgroups",
    "showgroup",
    "creategroup",
    "deletegroup",
    "putgroupuser",
    "removegroupuser",
    "creategroupinvite",
    "deletegroupinvite",
];

/// Those of [`NAMES`] that mean something only where people join with codes.
pub const OF_MEMBERS: [&str; 4] = ["listmembers", "createclaim", "deleteclaim", "listclaims"];

/// Who may call a method of this name at the least; `None` when there is no such method.
pub fn rank_of(name: &str) -> Option<Rank> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, rank)| *rank)
}

/// Who gives and takes a role at the least.
pub fn rank_to_assign(role: &str) -> Rank {
    if role == ADMIN { Rank::Owner } else { Rank::Admin }
}

/// Reads a request: its method's name, and the method.
///
/// # Errors
/// Why it is none.
pub fn read(body: &[u8]) -> Result<(String, Method), Unreadable> {
    let value: Value = serde_json::from_slice(body).map_err(|_| Unreadable::Body("the body is no JSON"))?;
    let name = value.get("method").and_then(Value::as_str);
    let name = name.ok_or(Unreadable::Body("the body has a method, a text, and params, a list"))?;
    let none = Vec::new();
    let parameters = match value.get("params") {
        None | Some(Value::Null) => &none,
        Some(Value::Array(parameters)) => parameters,
        Some(_) => return Err(Unreadable::Body("params is a list")),
    };
    let method = method(name, Parameters(parameters.iter()))?;
    Ok((name.to_owned(), method))
}

fn method(name: &str, mut given: Parameters<'_>) -> Read<Method> {
    let text = "a text";
    Ok(match name {
        "supportedmethods" => Method::SupportedMethods,
        "banpubkey" => Method::BanPubkey(given.key()?, given.reason()?),
        "unbanpubkey" => Method::UnbanPubkey(given.key()?, given.reason()?),
        "listbannedpubkeys" => Method::ListBannedPubkeys,
        "allowpubkey" => Method::AllowPubkey(given.key()?, given.reason()?),
        "unallowpubkey" => Method::UnallowPubkey(given.key()?, given.reason()?),
        "listallowedpubkeys" => Method::ListAllowedPubkeys,
        "createrole" => Method::CreateRole(given.role_id()?, given.role()?),
        "editrole" => Method::EditRole(given.role_id()?, given.role()?),
        "deleterole" => Method::DeleteRole(given.role_id()?),
        "assignrole" => Method::AssignRole(given.key()?, given.role_id()?),
        "unassignrole" => Method::UnassignRole(given.key()?, given.role_id()?),
        "assignmethod" => Method::AssignMethod(given.key()?, given.method()?),
        "unassignmethod" => Method::UnassignMethod(given.key()?, given.method()?),
        "listmethodassignees" => Method::ListMethodAssignees,
        "listeventsneedingmoderation" => Method::ListEventsNeedingModeration,
        "allowevent" => Method::AllowEvent(given.id()?, given.reason()?),
        "unallowevent" => Method::UnallowEvent(given.id()?, given.reason()?),
        "banevent" => Method::BanEvent(given.id()?, given.reason()?),
        "unbanevent" => Method::UnbanEvent(given.id()?, given.reason()?),
        "listbannedevents" => Method::ListBannedEvents,
        "listallowedevents" => Method::ListAllowedEvents,
        "changerelayname" => Method::ChangeRelayName(given.text(text, NAME_CHARS_MAX)?),
        "changerelaydescription" => Method::ChangeRelayDescription(given.text(text, DESCRIPTION_CHARS_MAX)?),
        "changerelayicon" => Method::ChangeRelayIcon(given.text(text, NAME_CHARS_MAX)?),
        "allowkind" => Method::AllowKind(given.kind()?),
        "disallowkind" => Method::DisallowKind(given.kind()?),
        "listallowedkinds" => Method::ListAllowedKinds,
        "listdisallowedkinds" => Method::ListDisallowedKinds,
        "blockip" => Method::BlockIp(given.network()?, given.reason()?),
        "unblockip" => Method::UnblockIp(given.network()?),
        "listblockedips" => Method::ListBlockedIps,
        _ => return beyond(name, given),
    })
}

/// The methods that NIP-86 does not have.
fn beyond(name: &str, mut given: Parameters<'_>) -> Read<Method> {
    let local = "a local name: up to 64 of a to z, 0 to 9, - _ and .";
    Ok(match name {
        "listroles" => Method::ListRoles,
        "liststaff" => Method::ListStaff,
        "listauditlog" => Method::ListAuditLog(given.count()?, given.before()?),
        "listmoderationqueue" => Method::ListModerationQueue,
        "setname" => Method::SetName(given.name(local)?, given.key()?),
        "removename" => Method::RemoveName(given.name(local)?),
        "listnames" => Method::ListNames,
        "stats" => Method::Stats,
        "reloadsettings" => Method::ReloadSettings,
        "login" => Method::Login,
        "logout" => Method::Logout,
        "resetkind" => Method::ResetKind(given.kind()?),
        "dismissreports" => Method::DismissReports(given.key()?, given.reason()?),
        "undismissreports" => Method::UndismissReports(given.key()?, given.reason()?),
        "listdismissedreports" => Method::ListDismissedReports,
        "listsettings" => Method::ListSettings,
        "giveverdicts" => {
            let verdicts = given.0.next().unwrap_or(&Value::Null);
            Method::GiveVerdicts(Verdict::read_all(verdicts).map_err(Unreadable::Parameter)?)
        }
        "listlabels" => Method::ListLabels,
        "listsharedlists" => Method::ListSharedLists,
        "listmirrors" => Method::ListMirrors,
        "changesettings" => Method::ChangeSettings(given.settings()?),
        "listauthorevents" => Method::ListAuthorEvents(given.key()?, given.count()?),
        "listevents" => Method::ListEvents(given.each("a list of ids, 200 at most", Parameters::id)?),
        "listprofiles" => {
            Method::ListProfiles(given.each("a list of public keys, 200 at most", Parameters::key)?)
        }
        "explain" => match given.0.next() {
            Some(event @ Value::Object(_)) => Method::Explain(event.to_string()),
            Some(Value::String(text)) => Method::Explain(text.clone()),
            _ => return Err(Unreadable::Parameter("an event, as JSON")),
        },
        _ => return of_groups(name, given),
    })
}

/// The methods about groups and members.
fn of_groups(name: &str, mut given: Parameters<'_>) -> Read<Method> {
    let group = "a group's id";
    let code = "a code";
    Ok(match name {
        "listmembers" => Method::ListMembers,
        "createclaim" => {
            Method::CreateClaim(given.number("how many people")?, given.number("for how many seconds")?)
        }
        "deleteclaim" => Method::DeleteClaim(given.text(code, NAME_CHARS_MAX)?),
        "listclaims" => Method::ListClaims,
        "listgroups" => Method::ListGroups,
        "showgroup" => Method::ShowGroup(given.text(group, ID_CHARS_MAX)?),
        "creategroup" => Method::CreateGroup(
            given.text(group, ID_CHARS_MAX)?,
            given.optional(NAME_CHARS_MAX)?,
            given.key()?,
        ),
        "deletegroup" => Method::DeleteGroup(given.text(group, ID_CHARS_MAX)?, given.reason()?),
        "putgroupuser" => {
            let (group, key) = (given.text(group, ID_CHARS_MAX)?, given.key()?);
            let role = |given: &mut Parameters<'_>| given.text("a role", ID_CHARS_MAX);
            let roles = if given.0.len() == 0 { Vec::new() } else { given.each("a list of roles", role)? };
            Method::PutGroupUser(group, key, roles)
        }
        "removegroupuser" => {
            Method::RemoveGroupUser(given.text(group, ID_CHARS_MAX)?, given.key()?, given.reason()?)
        }
        "creategroupinvite" => Method::CreateGroupInvite(given.text(group, ID_CHARS_MAX)?),
        "deletegroupinvite" => {
            Method::DeleteGroupInvite(given.text(group, ID_CHARS_MAX)?, given.text(code, NAME_CHARS_MAX)?)
        }
        _ => return Err(Unreadable::Unknown(name.chars().take(ID_CHARS_MAX).collect())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_method_can_be_read() {
        let key = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        for (name, _) in NAMES {
            let about = match *name {
                name if name.ends_with("kind") => serde_json::json!([1]),
                name if name.ends_with("method") => serde_json::json!([key, "banevent"]),
                "listauthorevents" => serde_json::json!([key, 5]),
                "listprofiles" | "listevents" => serde_json::json!([[key]]),
                name if name.starts_with("list") || ["stats", "reloadsettings"].contains(&name) => {
                    serde_json::json!([])
                }
                "assignrole" | "unassignrole" => serde_json::json!([key, "baker"]),
                "createrole" | "editrole" | "deleterole" => {
                    serde_json::json!(["baker", "Baker", "", "#fa0", 2])
                }
                "setname" | "removename" => serde_json::json!(["ann", key]),
                "blockip" | "unblockip" => serde_json::json!(["192.0.2.1"]),
                "explain" => serde_json::json!([{}]),
                "giveverdicts" => serde_json::json!([[{"id": key, "verdict": "accept"}]]),
                "changesettings" => serde_json::json!([{"access.write": "members"}]),
                "createclaim" => serde_json::json!([2, 60]),
                "creategroup" => serde_json::json!(["square", "Square", key]),
                "putgroupuser" => serde_json::json!(["square", key, ["admin"]]),
                "removegroupuser" => serde_json::json!(["square", key]),
                _ => serde_json::json!([key, "why"]),
            };
            let body = serde_json::json!({"method": name, "params": about}).to_string();
            let read = read(body.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(read.0, *name);
        }
    }
}
