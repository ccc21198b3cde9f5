//! Groups as they are kept: one entry for each group, member and code (NIP-29). In: the store at start, or the stored
//! events that made them where it has no such entries; changes later. Out: [`Groups`], and what a group of the writer's
//! writes. Never decides what changes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Community, OpenError};
use crate::config::Settings;
use crate::event::{Event, PublicKey, Signer};
use crate::filter::Filter;
use crate::index::{Index, Progress, Scan};
use crate::nips::nip29;
use crate::rule::groups::{About, Code, Entry, Group, Groups, Member};
use crate::store::record::decode;
use crate::store::{self, CommunityId, StateTable, Store};

/// By group id. That of the empty key says that all are there.
const GROUPS: StateTable = StateTable(25);

/// By group id, a zero byte, and the member's key.
const MEMBERS: StateTable = StateTable(26);

/// By group id, a zero byte, and the code.
const CODES: StateTable = StateTable(27);

/// The form of these entries.
const VERSION: &[u8] = b"1";

/// What is kept of a group besides its members and codes.
#[derive(Serialize, Deserialize)]
struct Kept {
    about: About,
    #[serde(default)]
    attested_by: Option<String>,
    creator: String,
    #[serde(default)]
    ended_at: Option<u64>,
    #[serde(default)]
    pins: Vec<(String, String)>,
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Texts and numbers alone always become JSON.
    serde_json::to_vec(value).unwrap_or_default()
}

/// An id holds no control character, so that a zero byte ends it.
fn key_of(id: &str, rest: &[u8]) -> Vec<u8> {
    [id.as_bytes(), &[0], rest].concat()
}

fn parts_of(key: &[u8]) -> Option<(&str, &[u8])> {
    let end = key.iter().position(|byte| *byte == 0)?;
    Some((std::str::from_utf8(&key[..end]).ok()?, &key[end + 1..]))
}

/// Adds an entry, as it is in these groups, to what is written.
pub(crate) fn write(groups: &Groups, entry: &Entry, community: CommunityId, to: &mut store::Group) {
    let (table, key, value) = match entry {
        Entry::Group(id) => {
            let kept = groups.any(id).map(|group| {
                json(&Kept {
                    about: group.about.clone(),
                    attested_by: group.attested_by.map(|key| key.to_string()),
                    creator: group.creator.to_string(),
                    ended_at: group.ended_at,
                    pins: group.pins.clone(),
                })
            });
            (GROUPS, id.as_bytes().to_vec(), kept)
        }
        Entry::Member(id, key) => {
            let member = groups.any(id).and_then(|group| group.members.get(key));
            (MEMBERS, key_of(id, &key.0), member.map(json))
        }
        Entry::Code(id, code) => {
            let kept = groups.any(id).and_then(|group| group.codes.get(code));
            (CODES, key_of(id, code.as_bytes()), kept.map(json))
        }
    };
    match value {
        Some(value) => to.put_state(community, table, &key, &value),
        None => to.remove_state(community, table, &key),
    }
}

/// Has groups read from stored events at the next start: some came that nobody asked rules about.
pub(crate) fn forget(community: CommunityId, to: &mut store::Group) {
    to.remove_state(community, GROUPS, b"");
}

/// The groups of a community, as the store has them.
pub(super) fn load(
    store: &Store,
    id: CommunityId,
    settings: &Settings,
    signer: Option<&Signer>,
    index: &Index,
) -> Result<Groups, OpenError> {
    let (Some(signer), true) = (signer, settings.nip29.enabled) else { return Ok(Groups::default()) };
    let keys = std::iter::once(signer.key()).chain(settings.nip29.former_keys.iter().copied());
    let mut groups = Groups::new(keys.collect(), Some(index.labeller()));
    let mut version = None;
    for entry in store.state(id, GROUPS) {
        let (key, value) = entry?;
        if key.is_empty() {
            version = Some(value);
            continue;
        }
        groups.insert(read_group(&key, &value).ok_or_else(|| damaged(GROUPS, &key))?);
    }
    match version.as_deref() {
        Some(VERSION) => {}
        None => return rebuild(store, id, groups, index),
        Some(_) => return Err(damaged(GROUPS, b"")),
    }
    for entry in store.state(id, MEMBERS) {
        let (key, value) = entry?;
        read_member(&mut groups, &key, &value).ok_or_else(|| damaged(MEMBERS, &key))?;
    }
    for entry in store.state(id, CODES) {
        let (key, value) = entry?;
        read_code(&mut groups, &key, &value).ok_or_else(|| damaged(CODES, &key))?;
    }
    Ok(groups)
}

fn damaged(table: StateTable, key: &[u8]) -> OpenError {
    OpenError::Moderation { table: table.0, key: hex::encode(key) }
}

fn read_group(key: &[u8], value: &[u8]) -> Option<Group> {
    let kept: Kept = serde_json::from_slice(value).ok()?;
    let id = std::str::from_utf8(key).ok()?;
    let mut group = Group::new(id.into(), PublicKey::from_hex(&kept.creator)?, kept.about);
    group.attested_by = match kept.attested_by {
        Some(key) => Some(PublicKey::from_hex(&key)?),
        None => None,
    };
    (group.ended_at, group.pins) = (kept.ended_at, kept.pins);
    Some(group)
}

fn read_member(groups: &mut Groups, key: &[u8], value: &[u8]) -> Option<()> {
    let (id, member) = parts_of(key)?;
    let member = PublicKey(member.try_into().ok()?);
    let kept: Member = serde_json::from_slice(value).ok()?;
    groups.get_mut(id)?.members.insert(member, kept);
    Some(())
}

fn read_code(groups: &mut Groups, key: &[u8], value: &[u8]) -> Option<()> {
    let (id, code) = parts_of(key)?;
    let code = std::str::from_utf8(code).ok()?.to_owned();
    let kept: Code = serde_json::from_slice(value).ok()?;
    groups.get_mut(id)?.codes.insert(code, kept);
    Some(())
}

/// Reads groups from the stored events that made them, and keeps them.
fn rebuild(store: &Store, id: CommunityId, known: Groups, index: &Index) -> Result<Groups, OpenError> {
    let mut groups = known.emptied();
    nip29::rebuild(&mut groups, managing(store, id, index)?);
    let mut group = store::Group::default();
    for table in [GROUPS, MEMBERS, CODES] {
        for entry in store.state(id, table) {
            group.remove_state(id, table, &entry?.0);
        }
    }
    for one in groups.iter() {
        let own = Entry::Group(Arc::clone(&one.id));
        let members = one.members.keys().map(|key| Entry::Member(Arc::clone(&one.id), *key));
        let codes = one.codes.keys().map(|code| Entry::Code(Arc::clone(&one.id), code.clone()));
        std::iter::once(own)
            .chain(members)
            .chain(codes)
            .for_each(|entry| write(&groups, &entry, id, &mut group));
    }
    group.put_state(id, GROUPS, b"", VERSION);
    store.commit(group)?;
    if !groups.is_empty() {
        tracing::info!("{} groups were read from stored events", groups.len());
    }
    Ok(groups)
}

/// The stored events that manage groups, in the order in which they came.
fn managing(store: &Store, id: CommunityId, index: &Index) -> Result<Vec<Event>, OpenError> {
    let kinds = (9_000..=9_022).map(crate::event::Kind).collect();
    stored(store, id, index, &Filter { kinds: Some(kinds), ..Filter::default() })
}

/// The stored events that a filter finds, whoever may see them, in the order in which they came.
fn stored(store: &Store, id: CommunityId, index: &Index, filter: &Filter) -> Result<Vec<Event>, OpenError> {
    let mut locations = Vec::new();
    let mut scan = Scan::new(filter, index.next_number());
    while scan.run(
        index,
        u64::MAX,
        |head| !head.vanished,
        |found, _| {
            locations.push(found.location);
            true
        },
    ) == Progress::Going
    {}
    locations.sort_unstable_by_key(|location| (location.number, location.slot));
    let mut events = Vec::with_capacity(locations.len());
    for location in locations {
        let Some(record) = store.get(id, location)? else { continue };
        let event = decode(&record);
        events.push(event.map_err(|reason| OpenError::Record { number: location.number, reason })?);
    }
    Ok(events)
}

impl Community {
    /// Who signs what the relay itself has to say; `None` where it says nothing.
    pub(crate) fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// Whether it has groups (NIP-29).
    pub(crate) fn has_groups(&self) -> bool {
        self.signer.is_some() && self.keeps.groups
    }

    /// Whether it says who its members are, and takes people in by codes (NIP-43).
    pub(crate) fn has_members(&self) -> bool {
        self.signer.is_some() && self.keeps.members
    }

    /// The stored events that a filter finds, whoever may see them, in the order in which they came.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn stored_events(&self, store: &Store, filter: &Filter) -> Result<Vec<Event>, OpenError> {
        stored(store, self.id, &self.index(), filter)
    }

    /// What stored events make of its groups, as a start would read them if nothing else were known.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn groups_of_events(&self, store: &Store) -> Result<Groups, OpenError> {
        let mut groups = self.known().groups.emptied();
        nip29::rebuild(&mut groups, managing(store, self.id, &self.index())?);
        Ok(groups)
    }
}
