//! What moderators decided, as it is kept: one entry of a state table for each decision. In: the store at start,
//! changes later. Out: [`Moderation`], and what a group writes. Never decides what changes.

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Community, OpenError, Rules, all};
use crate::config::{Aside, Config, Overlay};
use crate::event::{Id, Kind, PublicKey};
use crate::rule::moderation::{Adjusted, Claim, Dismissal, Duties, Label, Moderation, Rank, Role, Ruling};
use crate::store::{CommunityId, Group, StateTable, Store};

const AUTHORS: StateTable = StateTable(10);
const EVENTS: StateTable = StateTable(11);
const KINDS: StateTable = StateTable(12);
const ADDRESSES: StateTable = StateTable(13);
const ROLES: StateTable = StateTable(14);
const STAFF: StateTable = StateTable(15);
const NAMES: StateTable = StateTable(16);
const ABOUT: StateTable = StateTable(17);

/// What was done, by number, eight bytes that begin with the highest.
pub(crate) const AUDIT: StateTable = StateTable(18);

const SETTINGS: StateTable = StateTable(19);
const DISMISSED: StateTable = StateTable(20);
const LABELS: StateTable = StateTable(21);

/// Events that wait for a verdict, and since when, as eight bytes.
pub(crate) const HELD: StateTable = StateTable(23);
const CLAIMS: StateTable = StateTable(24);
const SPARED: StateTable = StateTable(30);

/// All of them that are made of changes.
const TABLES: [StateTable; 13] = [
    AUTHORS, EVENTS, LABELS, KINDS, ADDRESSES, ROLES, STAFF, NAMES, ABOUT, SETTINGS, DISMISSED, SPARED,
    CLAIMS,
];

/// Decisions about authors, events or addresses each, roles, dismissals, people with duties, and names. Each is held in memory.
pub(crate) const ENTRIES_MAX: usize = 100_000;

/// One of a community's own texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AboutText {
    /// `relay.name`.
    Name,
    /// `relay.description`.
    Description,
    /// `relay.icon`.
    Icon,
}

/// One decision that takes the place of an earlier one; `None` takes it back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what its name says")]
pub enum Change {
    Author(PublicKey, Option<Ruling>),
    Event(Id, Option<Ruling>),
    Kind(Kind, Option<Ruling>),
    Address(IpNet, Option<Ruling>),
    Role(String, Option<Role>),
    Duties(PublicKey, Option<Duties>),
    Name(String, Option<PublicKey>),
    About(AboutText, Option<String>),
    /// A setting, by its key in relay.toml.
    Setting(String, Option<Adjusted>),
    /// The reports about a person.
    Dismissal(PublicKey, Option<Dismissal>),
    /// What the moderation service calls an event.
    Label(Id, Option<Label>),
    /// An event is held no more.
    Unheld(Id),
    /// Lists of other relays do not touch a person.
    Spared(PublicKey, Option<Ruling>),
    /// A code with which people become members.
    Claim(String, Option<Claim>),
}

impl AboutText {
    const ALL: [AboutText; 3] = [AboutText::Name, AboutText::Description, AboutText::Icon];

    fn key(self) -> &'static [u8] {
        match self {
            AboutText::Name => b"name",
            AboutText::Description => b"description",
            AboutText::Icon => b"icon",
        }
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Texts and numbers alone always become JSON.
    serde_json::to_vec(value).unwrap_or_default()
}

impl Change {
    /// Where it is kept, under which key, and as what.
    pub(crate) fn entry(&self) -> (StateTable, Vec<u8>, Option<Vec<u8>>) {
        match self {
            Change::Author(key, ruling) => (AUTHORS, key.0.to_vec(), ruling.as_ref().map(json)),
            Change::Event(id, ruling) => (EVENTS, id.0.to_vec(), ruling.as_ref().map(json)),
            Change::Kind(kind, ruling) => (KINDS, kind.0.to_be_bytes().to_vec(), ruling.as_ref().map(json)),
            Change::Address(network, ruling) => {
                (ADDRESSES, network.to_string().into_bytes(), ruling.as_ref().map(json))
            }
            Change::Role(id, role) => (ROLES, id.clone().into_bytes(), role.as_ref().map(json)),
            Change::Duties(key, duties) => (STAFF, key.0.to_vec(), duties.as_ref().map(json)),
            Change::Name(name, key) => (NAMES, name.clone().into_bytes(), key.map(|key| key.0.to_vec())),
            Change::About(which, text) => (ABOUT, which.key().to_vec(), text.clone().map(String::into_bytes)),
            Change::Setting(key, value) => (SETTINGS, key.clone().into_bytes(), value.as_ref().map(json)),
            Change::Dismissal(key, dismissal) => (DISMISSED, key.0.to_vec(), dismissal.as_ref().map(json)),
            Change::Label(id, label) => (LABELS, id.0.to_vec(), label.as_ref().map(json)),
            Change::Unheld(id) => (HELD, id.0.to_vec(), None),
            Change::Spared(key, ruling) => (SPARED, key.0.to_vec(), ruling.as_ref().map(json)),
            Change::Claim(code, claim) => (CLAIMS, code.clone().into_bytes(), claim.as_ref().map(json)),
        }
    }

    /// Adds it to what a group writes.
    pub(crate) fn write(&self, community: CommunityId, group: &mut Group) {
        match self.entry() {
            (table, key, Some(value)) => group.put_state(community, table, &key, &value),
            (table, key, None) => group.remove_state(community, table, &key),
        }
    }

    /// The change that wrote an entry, or took it back; `None` where it makes no sense.
    pub(crate) fn read(table: StateTable, key: &[u8], value: Option<&[u8]>) -> Option<Change> {
        let id = || <[u8; 32]>::try_from(key).ok();
        Some(match table {
            AUTHORS => Change::Author(key_of(key)?, parsed(value)?),
            EVENTS => Change::Event(Id(id()?), parsed(value)?),
            KINDS => Change::Kind(Kind(u16::from_be_bytes(<[u8; 2]>::try_from(key).ok()?)), parsed(value)?),
            ADDRESSES => Change::Address(text_of(key)?.parse().ok()?, parsed(value)?),
            ROLES => Change::Role(text_of(key)?, parsed(value)?),
            STAFF => Change::Duties(key_of(key)?, parsed(value)?),
            NAMES => Change::Name(text_of(key)?, optional(value, key_of)?),
            ABOUT => {
                let which = AboutText::ALL.into_iter().find(|text| text.key() == key)?;
                Change::About(which, optional(value, text_of)?)
            }
            SETTINGS => Change::Setting(text_of(key)?, parsed(value)?),
            DISMISSED => Change::Dismissal(key_of(key)?, parsed(value)?),
            LABELS => Change::Label(Id(id()?), parsed(value)?),
            HELD if value.is_none() => Change::Unheld(Id(id()?)),
            SPARED => Change::Spared(key_of(key)?, parsed(value)?),
            CLAIMS => Change::Claim(text_of(key)?, parsed(value)?),
            _ => return None,
        })
    }

    /// Makes it in memory.
    pub(crate) fn apply(self, to: &mut Moderation) {
        /// Puts or takes.
        macro_rules! set {
            ($map:expr, $key:expr, $value:expr) => {
                match $value {
                    Some(value) => drop($map.insert($key, value)),
                    None => drop($map.remove(&$key)),
                }
            };
        }
        match self {
            Change::Author(key, ruling) => set!(to.authors, key, ruling),
            Change::Event(id, ruling) => set!(to.events, id, ruling),
            Change::Kind(kind, ruling) => set!(to.kinds, kind, ruling),
            Change::Address(network, ruling) => set!(to.addresses, network, ruling),
            Change::Role(id, role) => set!(to.roles, id, role),
            Change::Duties(key, duties) => set!(to.staff, key, duties),
            Change::Name(name, key) => set!(to.names, name, key),
            Change::About(AboutText::Name, text) => to.about.name = text,
            Change::About(AboutText::Description, text) => to.about.description = text,
            Change::About(AboutText::Icon, text) => to.about.icon = text,
            Change::Setting(key, value) => set!(to.settings, key, value),
            Change::Dismissal(key, dismissal) => set!(to.dismissed, key, dismissal),
            Change::Label(id, label) => set!(to.labels, id, label),
            // It stands beside what was decided.
            Change::Unheld(_) => {}
            Change::Spared(key, ruling) => set!(to.spared, key, ruling),
            Change::Claim(code, claim) => set!(to.claims, code, claim),
        }
    }
}

/// Reads the entries of a table.
fn load_table(
    store: &Store,
    id: CommunityId,
    table: StateTable,
    moderation: &mut Moderation,
) -> Result<(), OpenError> {
    for entry in store.state(id, table) {
        let (key, value) = entry?;
        let damaged = || OpenError::Moderation { table: table.0, key: hex::encode(&key) };
        Change::read(table, &key, Some(&value)).ok_or_else(damaged)?.apply(moderation);
    }
    Ok(())
}

/// What a value says, if there is one; the outer `None` where it makes no sense.
fn optional<T>(value: Option<&[u8]>, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<Option<T>> {
    match value {
        Some(value) => read(value).map(Some),
        None => Some(None),
    }
}

fn parsed<T: DeserializeOwned>(value: Option<&[u8]>) -> Option<Option<T>> {
    optional(value, |value| serde_json::from_slice(value).ok())
}

fn key_of(bytes: &[u8]) -> Option<PublicKey> {
    <[u8; 32]>::try_from(bytes).ok().map(PublicKey)
}

fn text_of(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// What is held in a community, as the store has it.
pub(super) fn held(store: &Store, id: CommunityId) -> Result<HashMap<Id, u64>, OpenError> {
    let mut held = HashMap::new();
    for entry in store.state(id, HELD) {
        let (key, since) = entry?;
        let damaged = || OpenError::Moderation { table: HELD.0, key: hex::encode(&key) };
        let event = <[u8; 32]>::try_from(&*key).map_err(|_| damaged())?;
        let since = <[u8; 8]>::try_from(&*since).map_err(|_| damaged())?;
        held.insert(Id(event), u64::from_le_bytes(since));
    }
    Ok(held)
}

/// What moderators of a community decided, as the store has it.
pub(super) fn load(store: &Store, id: CommunityId) -> Result<Moderation, OpenError> {
    let mut all = Moderation::default();
    for table in TABLES {
        load_table(store, id, table, &mut all)?;
    }
    Ok(all)
}

/// What is changed of each community's settings, by its path.
pub(crate) fn overlays(store: &Store) -> Result<BTreeMap<String, Overlay>, OpenError> {
    let mut overlays = BTreeMap::new();
    let root = ("/".to_owned(), CommunityId(0));
    for (path, id) in all::numbers(store)?.into_iter().chain([root]) {
        let mut moderation = Moderation::default();
        load_table(store, id, SETTINGS, &mut moderation)?;
        let changed = moderation.settings.into_iter().map(|(key, adjusted)| (key, adjusted.value));
        overlays.insert(path, changed.collect());
    }
    Ok(overlays)
}

/// The settings that count: those of relay.toml, with what was changed of each community; and the keys of the latter,
/// with the paths of communities that are not the root.
///
/// # Errors
/// When the store cannot be read.
pub fn in_effect(config: &Config, store: &Store) -> Result<(Config, Vec<String>), OpenError> {
    let overlays = overlays(store)?;
    let (config, aside) = config.overlaid(&overlays);
    let counts =
        |path: &str, key: &String| !aside.iter().any(|one| one.path == path && one.keys.contains(key));
    let known = overlays.iter().filter(|(path, _)| config.all().any(|one| one.relay.path == **path));
    let changed = known.flat_map(|(path, overlay)| {
        let keys = overlay.keys().filter(|key| counts(path, key));
        let before = if path == "/" { String::new() } else { format!("{path}: ") };
        keys.map(move |key| format!("{before}{key}")).collect::<Vec<_>>()
    });
    let changed = changed.collect();
    for Aside { path, keys, misfit } in aside {
        let keys = keys.join(", ");
        tracing::warn!("{path}: {keys}, changed at /admin, cannot count beside relay.toml: {misfit}");
    }
    Ok((config, changed))
}

impl Rules {
    /// How much a person may do.
    pub fn rank(&self, key: &PublicKey) -> Rank {
        match self.settings.admin.owners.contains(key) {
            true => Rank::Owner,
            false => self.known.moderation.rank(key),
        }
    }
}

impl Community {
    /// Makes changes that are durable already: they hold from now on, for what is stored and for live
    /// subscriptions.
    pub(crate) fn apply(&self, changes: Vec<Change>) {
        let unheld: Vec<Id> = changes
            .iter()
            .filter_map(|change| if let Change::Unheld(id) = change { Some(*id) } else { None })
            .collect();
        self.change_rules(|rules| {
            let mut moderation = Moderation::clone(&rules.known.moderation);
            changes.into_iter().for_each(|change| change.apply(&mut moderation));
            rules.known.moderation = std::sync::Arc::new(moderation);
            rules.take_texts();
        });
        self.shared.changed.notify_one();
        // What else was decided of them holds already.
        let held = self.known().held;
        unheld.iter().for_each(|id| held.release(id));
    }
}
