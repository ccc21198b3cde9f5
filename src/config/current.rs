//! The settings as of now, for those who go on while they change. In: checked settings. Out: snapshots, and what of
//! a change waits for the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use super::{Config, Mirror, Settings};

/// Settings that count at the next start: what is open, made or sized once. A section alone means all of it.
/// relay.toml.example says so beside each.
pub const RESTART: &[&str] = &[
    "server.listen",
    "server.connections_max",
    "server.reader_threads",
    "server.verify_threads",
    "server.memory_bytes_max",
    "store",
    "tls.listen",
    "acme",
    "limits.ingest_bytes_max",
    "limits.reads_queued_max",
    "limits.reconciled_events_max",
    "geohash.prefix_filters",
    "relay.secret_key_file",
    "nip29.enabled",
    "nip29.former_keys",
    "nip43.enabled",
    "log.format",
    "metrics",
    "cluster",
];

/// The settings of the process, replaced whole.
#[derive(Debug)]
pub struct Current(RwLock<Arc<Config>>);

/// What differs between two versions of the settings: keys, those of a community with its path before them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// What counts from now on.
    pub now: Vec<String>,
    /// What counts at the next start.
    pub at_restart: Vec<String>,
}

impl Current {
    /// These settings.
    pub fn new(config: Config) -> Arc<Current> {
        Arc::new(Current(RwLock::new(Arc::new(config))))
    }

    /// The settings as of now.
    pub fn get(&self) -> Arc<Config> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other settings in their place.
    pub(crate) fn set(&self, config: Config) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
}

/// Whether a key, such as `store.path`, counts only at the next start.
pub fn needs_restart(key: &str) -> bool {
    let section = key.split('.').next().unwrap_or(key);
    RESTART.iter().any(|restart| *restart == key || *restart == section)
}

impl Config {
    /// What differs in `new`. Communities that only one of both has are not named.
    pub fn difference(&self, new: &Config) -> Difference {
        let mut difference = Difference::default();
        self.compare("", &self.root, new, &new.root, &mut difference);
        let by_path: BTreeMap<&str, &Settings> =
            new.communities.iter().map(|settings| (settings.relay.path.as_str(), settings)).collect();
        for settings in &self.communities {
            let path = settings.relay.path.as_str();
            if let Some(changed) = by_path.get(path) {
                self.compare(&format!("{path}: "), settings, new, changed, &mut difference);
            }
        }
        let changed = |one: &&Mirror, others: &[Mirror]| !others.contains(one);
        let gone = self.mirrors.iter().filter(|one| changed(one, &new.mirrors));
        let came = new.mirrors.iter().filter(|one| changed(one, &self.mirrors));
        let named: BTreeSet<String> = gone.chain(came).map(Mirror::name).collect();
        difference.now.extend(named);
        difference
    }

    fn compare(&self, path: &str, old: &Settings, new_config: &Config, new: &Settings, to: &mut Difference) {
        let (old, new) = (self.sections_of(old), new_config.sections_of(new));
        for (section, settings) in &new {
            // What holds for the whole process is told once.
            if !path.is_empty() && super::PROCESS.contains(&section.as_str()) {
                continue;
            }
            let Value::Object(settings) = settings else { continue };
            for (name, value) in settings {
                if old.get(section).and_then(|section| section.get(name)) != Some(value) {
                    let key = format!("{section}.{name}");
                    let keys = if needs_restart(&key) { &mut to.at_restart } else { &mut to.now };
                    keys.push(format!("{path}{key}"));
                }
            }
        }
    }
}
