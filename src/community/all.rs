//! All communities of one process, by path and by host. In: the config and the store. Out: the community
//! that a request is for. Each keeps its number in the store as long as the store lives.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Community, OpenError};
use crate::config::{Config, Settings};
use crate::store::{CommunityId, Group, StateTable, Store, StoreError};

/// Numbers of communities in the store, by path; kept with the root's state.
pub(crate) const NUMBERS: StateTable = StateTable(0);

/// All communities, the root first.
pub struct Communities {
    root: Arc<Community>,
    map: RwLock<Arc<Map>>,
}

/// Who is where; replaced whole.
#[derive(Default)]
struct Map {
    open: Vec<Arc<Community>>,
    by_path: HashMap<String, usize>,
    by_host: HashMap<String, usize>,
    /// Those that the settings have no more. Their indexes stay true, should they come back.
    closed: Vec<Arc<Community>>,
    /// Paths of the store, with their numbers, of which nothing was opened.
    unused: BTreeMap<String, CommunityId>,
}

/// What a change of settings did to communities, by their paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconfigured {
    /// New ones.
    pub opened: Vec<String>,
    /// Those that are no more; their events stay in the store.
    pub closed: Vec<String>,
    /// Those whose settings changed.
    pub changed: Vec<String>,
}

impl Map {
    fn of(open: Vec<Arc<Community>>) -> Map {
        let mut map = Map { open, ..Map::default() };
        for (at, community) in map.open.iter().enumerate() {
            map.by_path.insert(community.path().to_owned(), at);
            if let Some(host) = &community.settings().relay.host {
                map.by_host.insert(host.clone(), at);
            }
        }
        map
    }

    fn at(&self, path: &str) -> Option<&Arc<Community>> {
        self.by_path.get(path).map(|&at| &self.open[at])
    }
}

impl Communities {
    /// Opens every community of the config; those that the store does not know get a number there.
    ///
    /// # Errors
    /// When the store cannot be read or written, or a record in it makes no sense.
    pub fn open(config: &Config, store: &Store) -> Result<Communities, OpenError> {
        let mut numbers = numbers(store)?;
        let mut group = Group::default();
        for settings in &config.communities {
            number(&mut numbers, &settings.relay.path, &mut group);
        }
        store.commit(group)?;
        let mut open = Vec::new();
        for settings in config.all() {
            // The root has no entry: it is number 0 in every store.
            let id = numbers.remove(&settings.relay.path).unwrap_or(CommunityId(0));
            open.push(Arc::new(Community::open(id, with_addresses(config, settings), store)?));
        }
        Ok(Communities::of(Map { unused: numbers, ..Map::of(open) }))
    }

    /// The communities of a config with nothing stored: for asking their rules.
    pub fn without_store(config: &Config) -> Communities {
        let empty = |settings| Arc::new(Community::empty(CommunityId(0), with_addresses(config, settings)));
        Communities::of(Map::of(config.all().map(empty).collect()))
    }

    fn of(map: Map) -> Communities {
        Communities { root: Arc::clone(&map.open[0]), map: RwLock::new(Arc::new(map)) }
    }

    fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The community at `/`.
    pub fn root(&self) -> &Arc<Community> {
        &self.root
    }

    /// The community at a path.
    pub fn at(&self, path: &str) -> Option<Arc<Community>> {
        self.map().at(path).map(Arc::clone)
    }

    /// The community that a request is for. A host of its own has its community at `/`; a slash at the end
    /// of a path says nothing.
    pub fn find(&self, host: Option<&str>, path: &str) -> Option<Arc<Community>> {
        let path = match path.strip_suffix('/') {
            Some(bare) if !bare.is_empty() && !bare.ends_with('/') => bare,
            _ => path,
        };
        let map = self.map();
        let host = host.map(|host| without_port(host).to_ascii_lowercase());
        match host.and_then(|host| map.by_host.get(&host)).map(|&at| &map.open[at]) {
            Some(community) => (path == "/" || path == community.path()).then(|| Arc::clone(community)),
            None => map.at(path).map(Arc::clone),
        }
    }

    /// All of them as of now, the root first.
    pub fn iter(&self) -> impl Iterator<Item = Arc<Community>> + use<> {
        let map = self.map();
        (0..map.open.len()).map(move |at| Arc::clone(&map.open[at]))
    }

    /// Those that search: the one at a path, or all.
    ///
    /// # Errors
    /// A sentence, when there is none, or it does not search.
    pub(crate) fn searching(&self, path: Option<&str>) -> Result<Vec<Arc<Community>>, String> {
        let is_wanted = |community: &Arc<Community>| path.is_none_or(|path| path == community.path());
        let wanted: Vec<Arc<Community>> = self.iter().filter(is_wanted).collect();
        if let (Some(path), true) = (path, wanted.is_empty()) {
            return Err(format!("there is no community at {path}"));
        }
        let searching: Vec<_> =
            wanted.into_iter().filter(|community| community.settings().search.enabled).collect();
        match searching.is_empty() {
            true => Err("there is no search: search.enabled is false".to_owned()),
            false => Ok(searching),
        }
    }

    /// All whose indexes are in memory: those, and the ones that the settings have no more.
    pub(crate) fn in_memory(&self) -> impl Iterator<Item = Arc<Community>> + use<> {
        let map = self.map();
        let all: Vec<Arc<Community>> = map.open.iter().chain(&map.closed).map(Arc::clone).collect();
        all.into_iter()
    }

    /// Paths for which the store has events, or had, and which no community of the config has.
    pub fn unused(&self) -> Vec<String> {
        let map = self.map();
        let closed = map.closed.iter().map(|community| community.path().to_owned());
        let mut paths: Vec<String> = map.unused.keys().cloned().chain(closed).collect();
        paths.sort_unstable();
        paths
    }

    /// Numbers in the store of those that were not opened.
    pub(crate) fn unopened(&self) -> Vec<CommunityId> {
        self.map().unused.values().copied().collect()
    }

    /// Goes by other settings from now on. `commit` makes the numbers of new communities durable. Whoever is
    /// connected to one that is no more is sent away.
    ///
    /// # Errors
    /// When the store cannot be read or written; then nothing has changed.
    pub(crate) fn reconfigure(
        &self,
        config: &Config,
        store: &Store,
        commit: impl FnOnce(Group) -> Result<(), StoreError>,
    ) -> Result<Reconfigured, OpenError> {
        let old = self.map();
        let mut done = Reconfigured::default();
        let mut unused = old.unused.clone();
        let mut closed: Vec<Arc<Community>> = old.closed.clone();
        let in_memory: Vec<CommunityId> = self.in_memory().map(|community| community.id).collect();
        let highest = unused.values().chain(&in_memory).max().copied();
        let mut numbers: BTreeMap<String, CommunityId> = unused.clone();
        numbers.extend(highest.map(|highest| (String::new(), highest)));
        let mut group = Group::default();
        let mut open = Vec::new();
        for settings in config.all() {
            let (path, settings) = (&settings.relay.path, with_addresses(config, settings));
            let kept = old.at(path).or_else(|| closed.iter().find(|community| community.path() == path));
            let community = match kept {
                Some(community) => Arc::clone(community),
                None => {
                    let id = number(&mut numbers, path, &mut group);
                    unused.remove(path);
                    Arc::new(Community::open(id, settings.clone(), store)?)
                }
            };
            open.push((community, settings));
        }
        if !group.is_empty() {
            commit(group)?;
        }
        // From here on nothing fails.
        for (community, settings) in &open {
            let path = community.path().to_owned();
            if community.reconfigure(settings.clone()) {
                done.changed.push(path.clone());
            }
            if old.at(&path).is_none() {
                done.opened.push(path);
            }
        }
        let open: Vec<Arc<Community>> = open.into_iter().map(|(community, _)| community).collect();
        let is_open = |community: &Arc<Community>| open.iter().any(|one| one.id == community.id);
        let gone: Vec<Arc<Community>> = old.open.iter().filter(|one| !is_open(one)).cloned().collect();
        closed.retain(|community| !is_open(community));
        closed.extend(gone.iter().cloned());
        let map = Map { closed, unused, ..Map::of(open) };
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
        for community in gone {
            done.closed.push(community.path().to_owned());
            community.connected.end("this community is no more", |_, _| true);
        }
        Ok(done)
    }
}

/// The number of the community at a path: the one that it has, or the next one, which the group makes its own.
fn number(numbers: &mut BTreeMap<String, CommunityId>, path: &str, group: &mut Group) -> CommunityId {
    if let Some(id) = numbers.get(path) {
        return *id;
    }
    let id = CommunityId(numbers.values().max().map_or(1, |highest| highest.0 + 1));
    group.put_state(CommunityId(0), NUMBERS, path.as_bytes(), &id.0.to_le_bytes());
    numbers.insert(path.to_owned(), id);
    id
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The numbers that the store's communities have, but for the root.
pub(super) fn numbers(store: &Store) -> Result<BTreeMap<String, CommunityId>, OpenError> {
    let entries = store.state(CommunityId(0), NUMBERS).map(|entry| {
        let (path, number) = entry?;
        match (String::from_utf8(path), <[u8; 4]>::try_from(&*number)) {
            (Ok(path), Ok(number)) => Ok((path, CommunityId(u32::from_le_bytes(number)))),
            _ => Err(OpenError::Number { entry: hex::encode(number) }),
        }
    });
    let numbers: BTreeMap<String, CommunityId> = entries.collect::<Result<_, OpenError>>()?;
    let has_path = |id: &CommunityId| id.0 == 0 || numbers.values().any(|known| known == id);
    match store.communities_with_records().into_iter().find(|id| !has_path(id)) {
        None => Ok(numbers),
        // Its number would be given to another one.
        Some(id) => Err(OpenError::NoPath { number: id.0 }),
    }
}

/// A community without addresses of its own is known by the root's, with its path, and by its host.
fn with_addresses(config: &Config, settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    let relay = &mut settings.relay;
    if !relay.urls.is_empty() || relay.path == "/" {
        return settings;
    }
    let host = relay.host.iter().flat_map(|host| [format!("wss://{host}"), format!("ws://{host}")]);
    let beneath_root = config.root.relay.urls.iter().map(|url| {
        let url = url.split(['?', '#']).next().unwrap_or(url);
        format!("{}{}", url.trim_end_matches('/'), relay.path)
    });
    relay.urls = beneath_root.chain(host).collect();
    settings
}
