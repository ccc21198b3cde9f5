//! What each method that changes something changes. In: a method, who calls it, what holds now. Out: changes, the
//! answer, and what the record says. Nothing is changed here.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Caller, Denied, groups};
use crate::community::moderation::ENTRIES_MAX;
use crate::community::{AboutText, Change, Rules};
use crate::event::{Id, PublicKey};
use crate::nips::nip86::{Method, rank_to_assign};
use crate::pipeline::Act;
use crate::rule::moderation::{ADMIN, Dismissal, Duties, MODERATOR, Rank, Ruling, Standing};

/// What a call makes.
pub(super) struct Made {
    pub(super) changes: Vec<Change>,
    /// What is done in groups.
    pub(super) acts: Vec<Act>,
    pub(super) answer: Value,
    /// What it was about, for the record.
    pub(super) about: Value,
    /// Events that are held no more.
    pub(super) releases: Vec<Id>,
}

/// A call and what it goes by.
struct Call<'a> {
    caller: &'a Caller<'a>,
    rules: &'a Rules,
    now: u64,
}

fn made(changes: impl IntoIterator<Item = Change>, about: Value) -> Made {
    Made {
        changes: changes.into_iter().collect(),
        acts: Vec::new(),
        answer: json!(true),
        about,
        releases: Vec::new(),
    }
}

fn refused<T>(sentence: impl Into<String>) -> Result<T, Denied> {
    Err(Denied::Refused(sentence.into()))
}

/// What a method makes; those that only answer make nothing.
pub(super) fn of(method: &Method, caller: &Caller<'_>, rules: &Rules, now: u64) -> Result<Made, Denied> {
    let call = Call { caller, rules, now };
    let moderation = &rules.known.moderation;
    let made = match method {
        Method::BanPubkey(key, reason) => call.author(key, Standing::Banned, reason)?,
        Method::AllowPubkey(key, reason) => call.author(key, Standing::Allowed, reason)?,
        Method::UnbanPubkey(key, reason) => call.forget_author(key, Standing::Banned, reason)?,
        Method::UnallowPubkey(key, reason) => call.forget_author(key, Standing::Allowed, reason)?,
        Method::BanEvent(id, reason) | Method::AllowEvent(id, reason) => {
            let standing = match method {
                Method::BanEvent(..) => Standing::Banned,
                _ => Standing::Allowed,
            };
            room(&moderation.events, id, "events")?;
            call.event(id, standing, reason)
        }
        Method::UnbanEvent(id, reason) => made(
            forget(moderation.event(id), Standing::Banned, Change::Event(*id, None)),
            about("id", id, reason),
        ),
        Method::UnallowEvent(id, reason) => made(
            forget(moderation.event(id), Standing::Allowed, Change::Event(*id, None)),
            about("id", id, reason),
        ),
        Method::AllowKind(kind) => {
            let ruling = call.ruling(Standing::Allowed, "");
            made([Change::Kind(*kind, Some(ruling))], json!({"kind": kind.0}))
        }
        Method::DisallowKind(kind) => {
            let ruling = call.ruling(Standing::Banned, "");
            made([Change::Kind(*kind, Some(ruling))], json!({"kind": kind.0}))
        }
        Method::ResetKind(kind) => made([Change::Kind(*kind, None)], json!({"kind": kind.0})),
        Method::DismissReports(key, reason) => {
            room(&moderation.dismissed, key, "people's reports")?;
            let below = caller.community.index().next_number();
            let by = caller.key.to_string();
            let dismissal = Dismissal { below, reason: reason.clone(), by, at: now };
            made([Change::Dismissal(*key, Some(dismissal))], about("pubkey", key, reason))
        }
        Method::UndismissReports(key, reason) => {
            made([Change::Dismissal(*key, None)], about("pubkey", key, reason))
        }
        Method::BlockIp(network, reason) => {
            if moderation.addresses.len() >= ENTRIES_MAX {
                return refused("as many addresses are blocked as may be");
            }
            let ruling = call.ruling(Standing::Banned, reason);
            made([Change::Address(*network, Some(ruling))], about("ip", network, reason))
        }
        Method::UnblockIp(network) => made([Change::Address(*network, None)], about("ip", network, "")),
        Method::ChangeRelayName(text) => call.text(AboutText::Name, text),
        Method::ChangeRelayDescription(text) => call.text(AboutText::Description, text),
        Method::ChangeRelayIcon(text) => {
            if !text.is_empty() && !text.starts_with("https://") && !text.starts_with("http://") {
                return refused("an icon is an address that begins with https:// or http://");
            }
            call.text(AboutText::Icon, text)
        }
        Method::SetName(name, key) => {
            if moderation.names.len() >= ENTRIES_MAX {
                return refused("there are as many names as there may be");
            }
            made([Change::Name(name.clone(), Some(*key))], json!({"name": name, "pubkey": key.to_string()}))
        }
        Method::RemoveName(name) => made([Change::Name(name.clone(), None)], json!({"name": name})),
        _ => return groups::of(method, caller, rules, now)?.map_or_else(|| call.role(method), Ok),
    };
    Ok(made)
}

fn about(what: &str, who: &impl ToString, reason: &str) -> Value {
    json!({what: who.to_string(), "reason": reason})
}

/// What takes a ruling back, if it is of this standing.
fn forget(standing: Option<Standing>, of: Standing, change: Change) -> Option<Change> {
    (standing == Some(of)).then_some(change)
}

/// Whether one more entry fits.
fn room<K: std::hash::Hash + Eq, V>(map: &HashMap<K, V>, key: &K, what: &str) -> Result<(), Denied> {
    match map.len() < ENTRIES_MAX || map.contains_key(key) {
        true => Ok(()),
        false => refused(format!("as many {what} are listed as may be")),
    }
}

impl Call<'_> {
    fn ruling(&self, standing: Standing, reason: &str) -> Ruling {
        Ruling { standing, reason: reason.to_owned(), by: self.caller.key.to_string(), at: self.now }
    }

    /// Nobody decides about who may do as much as they do, and nobody about themselves.
    fn is_below(&self, key: &PublicKey) -> Result<(), Denied> {
        if *key == self.caller.key {
            return refused("nobody decides about themselves");
        }
        let [theirs, own] = [key, &self.caller.key].map(|key| self.rules.rank(key));
        if theirs >= own && theirs > Rank::Nobody {
            return Err(Denied::Forbidden("this person manages here as much as you do, or more".to_owned()));
        }
        Ok(())
    }

    fn author(&self, key: &PublicKey, standing: Standing, reason: &str) -> Result<Made, Denied> {
        self.is_below(key)?;
        room(&self.rules.known.moderation.authors, key, "people")?;
        let mut changes = vec![Change::Author(*key, Some(self.ruling(standing, reason)))];
        // Who is banned manages nothing any more, also when the ban is lifted.
        let had_duties = self.rules.known.moderation.staff.contains_key(key);
        if standing == Standing::Banned && had_duties {
            changes.push(Change::Duties(*key, None));
        }
        // A list of another relay counts for them again, should the ban be lifted by forgetting it.
        if standing == Standing::Banned && self.rules.known.moderation.spared.contains_key(key) {
            changes.push(Change::Spared(*key, None));
        }
        Ok(made(changes, about("pubkey", key, reason)))
    }

    /// What a person decides of an event that waits for a verdict is that verdict.
    fn event(&self, id: &Id, standing: Standing, reason: &str) -> Made {
        let mut made =
            made([Change::Event(*id, Some(self.ruling(standing, reason)))], about("id", id, reason));
        if self.rules.known.held.has(id) {
            match standing {
                Standing::Allowed => made.releases.push(*id),
                Standing::Banned => made.changes.push(Change::Unheld(*id)),
            }
        }
        made
    }

    fn forget_author(&self, key: &PublicKey, standing: Standing, reason: &str) -> Result<Made, Denied> {
        self.is_below(key)?;
        let moderation = &self.rules.known.moderation;
        let mut changes: Vec<Change> =
            forget(moderation.author(key), standing, Change::Author(*key, None)).into_iter().collect();
        // Who lifts a ban means that it is lifted, also where a list of another relay has them.
        let is_listed = self.rules.known.shared.person(key, self.now).is_some();
        if standing == Standing::Banned && is_listed {
            room(&moderation.spared, key, "people")?;
            changes.push(Change::Spared(*key, Some(self.ruling(Standing::Allowed, reason))));
        }
        Ok(made(changes, about("pubkey", key, reason)))
    }

    /// An empty text gives way to that of the settings.
    fn text(&self, which: AboutText, text: &str) -> Made {
        let change = Change::About(which, Some(text.to_owned()).filter(|text| !text.is_empty()));
        made([change], json!({"text": text}))
    }

    fn role(&self, method: &Method) -> Result<Made, Denied> {
        let moderation = &self.rules.known.moderation;
        let is_known = |id: &str| moderation.roles.contains_key(id);
        let is_fixed = |id: &str| [MODERATOR, ADMIN, "owner"].contains(&id);
        Ok(match method {
            Method::CreateRole(id, _) if is_fixed(id) || is_known(id) => {
                return refused(format!("there is a role {id} already"));
            }
            Method::CreateRole(..) if moderation.roles.len() >= ENTRIES_MAX => {
                return refused("there are as many roles as there may be");
            }
            Method::EditRole(id, _) | Method::DeleteRole(id) if !is_known(id) => {
                return refused(format!("there is no role {id} that was made here"));
            }
            Method::CreateRole(id, role) | Method::EditRole(id, role) => {
                made([Change::Role(id.clone(), Some(role.clone()))], json!({"role": id, "label": role.label}))
            }
            Method::DeleteRole(id) => {
                let holders = moderation.staff.iter().filter(|(_, duties)| duties.roles.contains(id));
                let without = holders.map(|(key, duties)| {
                    let mut left = duties.clone();
                    left.roles.remove(id);
                    duties_of(*key, left)
                });
                made(without.chain([Change::Role(id.clone(), None)]), json!({"role": id}))
            }
            Method::AssignRole(_, id) if !is_fixed(id) && !is_known(id) => {
                return refused(format!("there is no role {id}; createrole makes one"));
            }
            Method::AssignRole(_, id) if id == "owner" => {
                return refused("owners are named in the settings: admin.owners");
            }
            Method::AssignRole(key, id) | Method::UnassignRole(key, id) => {
                if self.rules.rank(&self.caller.key) < rank_to_assign(id) {
                    return Err(Denied::Forbidden(format!("only owners give and take the role {id}")));
                }
                self.duties(key, json!({"pubkey": key.to_string(), "role": id}), |duties| match method {
                    Method::AssignRole(..) => drop(duties.roles.insert(id.clone())),
                    _ => drop(duties.roles.remove(id)),
                })?
            }
            Method::AssignMethod(key, name) | Method::UnassignMethod(key, name) => {
                let about = json!({"pubkey": key.to_string(), "method": name});
                let given = matches!(method, Method::AssignMethod(..));
                let made = self.duties(key, about, |duties| match given {
                    true => drop(duties.methods.insert(name.clone())),
                    false => drop(duties.methods.remove(name)),
                })?;
                Made { answer: json!([true, ""]), ..made }
            }
            _ => return refused("this method changes nothing"),
        })
    }

    fn duties(
        &self,
        key: &PublicKey,
        about: Value,
        change: impl FnOnce(&mut Duties),
    ) -> Result<Made, Denied> {
        self.is_below(key)?;
        let moderation = &self.rules.known.moderation;
        if moderation.author(key) == Some(Standing::Banned) {
            return refused("this person is banned; lift the ban first");
        }
        room(&moderation.staff, key, "people")?;
        let mut duties = moderation.staff.get(key).cloned().unwrap_or_default();
        change(&mut duties);
        Ok(made([duties_of(*key, duties)], about))
    }
}

fn duties_of(key: PublicKey, duties: Duties) -> Change {
    let has_any = !duties.roles.is_empty() || !duties.methods.is_empty();
    Change::Duties(key, has_any.then_some(duties))
}
