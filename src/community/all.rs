//! All communities of one process, by path and by host. In: the config and the store. Out: the community
//! that a request is for. Each keeps its number in the store as long as the store lives.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Community, OpenError};
use crate::config::Config;
use crate::store::{CommunityId, Group, StateTable, Store};

/// Numbers of communities in the store, by path; kept with the root's state.
pub(crate) const NUMBERS: StateTable = StateTable(0);

/// All communities, the root first.
pub struct Communities {
    all: Vec<Arc<Community>>,
    by_path: HashMap<String, usize>,
    by_host: HashMap<String, usize>,
    /// Paths of the store that no community of the config has.
    unused: Vec<String>,
}

impl Communities {
    /// Opens every community of the config; those that the store does not know get a number there.
    ///
    /// # Errors
    /// When the store cannot be read or written, or a record in it makes no sense.
    pub fn open(config: &Config, store: &Store) -> Result<Communities, OpenError> {
        let mut numbers = numbers(store)?;
        let mut next = numbers.values().max().map_or(1, |highest| highest + 1);
        let mut group = Group::default();
        for settings in &config.communities {
            let path = &settings.relay.path;
            if !numbers.contains_key(path) {
                group.put_state(CommunityId(0), NUMBERS, path.as_bytes(), &next.to_le_bytes());
                numbers.insert(path.clone(), next);
                next += 1;
            }
        }
        store.commit(group)?;
        let mut communities = Communities::none();
        for settings in config.all() {
            // The root has no entry: it is number 0 in every store.
            let number = numbers.remove(&settings.relay.path).unwrap_or(0);
            let settings = with_addresses(config, settings.clone());
            let community = Community::open(CommunityId(number), settings, store)?;
            communities.add(community);
        }
        communities.unused = numbers.into_keys().collect();
        communities.unused.sort_unstable();
        Ok(communities)
    }

    /// The communities of a config with nothing stored: for asking their rules.
    pub fn without_store(config: &Config) -> Communities {
        let mut communities = Communities::none();
        for settings in config.all() {
            let settings = with_addresses(config, settings.clone());
            communities.add(Community::empty(CommunityId(0), settings));
        }
        communities
    }

    fn none() -> Communities {
        Communities { all: Vec::new(), by_path: HashMap::new(), by_host: HashMap::new(), unused: Vec::new() }
    }

    fn add(&mut self, community: Community) {
        let at = self.all.len();
        self.by_path.insert(community.path().to_owned(), at);
        if let Some(host) = &community.settings().relay.host {
            self.by_host.insert(host.clone(), at);
        }
        self.all.push(Arc::new(community));
    }

    /// The community at `/`.
    pub fn root(&self) -> &Arc<Community> {
        &self.all[0]
    }

    /// The community at a path.
    pub fn at(&self, path: &str) -> Option<&Arc<Community>> {
        self.by_path.get(path).map(|&at| &self.all[at])
    }

    /// The community that a request is for. A host of its own has its community at `/`; a slash at the end
    /// of a path says nothing.
    pub fn find(&self, host: Option<&str>, path: &str) -> Option<&Arc<Community>> {
        let path = match path.strip_suffix('/') {
            Some(bare) if !bare.is_empty() && !bare.ends_with('/') => bare,
            _ => path,
        };
        let host = host.map(|host| without_port(host).to_ascii_lowercase());
        match host.and_then(|host| self.by_host.get(&host)).map(|&at| &self.all[at]) {
            Some(community) => (path == "/" || path == community.path()).then_some(community),
            None => self.at(path),
        }
    }

    /// All of them, the root first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Community>> {
        self.all.iter()
    }

    /// Paths for which the store has events, or had, and which no community of the config has.
    pub fn unused(&self) -> &[String] {
        &self.unused
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The numbers that the store's communities have, but for the root.
fn numbers(store: &Store) -> Result<HashMap<String, u32>, OpenError> {
    let entries = store.state(CommunityId(0), NUMBERS).map(|entry| {
        let (path, number) = entry?;
        match (String::from_utf8(path), <[u8; 4]>::try_from(&*number)) {
            (Ok(path), Ok(number)) => Ok((path, u32::from_le_bytes(number))),
            _ => Err(OpenError::Number { entry: hex::encode(number) }),
        }
    });
    entries.collect()
}

/// A community without addresses of its own is known by the root's, with its path, and by its host.
fn with_addresses(config: &Config, mut settings: crate::config::Settings) -> crate::config::Settings {
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
