//! New settings for a running relay. In: the settings file, when a signal, a change of the file or an owner asks for
//! it. Out: what counts from now on, and what waits for the next start. A file with a mistake changes nothing. Who is
//! connected stays.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::community::{Communities, OpenError, Reconfigured, in_effect, moderation};
use crate::config::{Aside, Config, ConfigError, Current, Difference, Misfit, Overlay};
use crate::mirror::{MirrorStats, Mirrors};
use crate::pipeline::{Pipeline, StartError};
use crate::review;
use crate::store::Store;

/// Reads the settings that the relay is to go by.
pub type Load = Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// Why settings were left aside. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file has a mistake, or cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A new community cannot be opened.
    #[error("a community cannot be opened: {0}")]
    Open(#[from] OpenError),
    /// The machine gives no more threads.
    #[error(transparent)]
    Threads(#[from] StartError),
    /// The relay was started without a file.
    #[error("this relay was started without a settings file; write relay.toml and restart it")]
    NoFile,
}

/// What a reload changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reloaded {
    /// Settings, by key.
    pub settings: Difference,
    /// Communities, by path.
    pub communities: Reconfigured,
    /// Settings that count as they were changed at `/admin`, whatever the file says.
    pub not_by_file: Vec<String>,
}

impl std::fmt::Display for Reloaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [
            ("changed: ", &self.settings.now),
            ("opened: ", &self.communities.opened),
            ("closed: ", &self.communities.closed),
            ("counts only after a restart: ", &self.settings.at_restart),
            ("changed at /admin, whatever the file says: ", &self.not_by_file),
        ];
        let said: Vec<String> = parts
            .iter()
            .filter(|(_, keys)| !keys.is_empty())
            .map(|(what, keys)| format!("{what}{}", keys.join(", ")))
            .collect();
        match said.is_empty() {
            true => f.write_str("nothing is different"),
            false => f.write_str(&said.join("; ")),
        }
    }
}

/// What reloads the settings, one time after the other.
pub(crate) struct Reloader {
    pub(crate) current: Arc<Current>,
    pub(crate) communities: Arc<Communities>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Clock,
    pub(crate) load: Option<Load>,
    /// What carries events from and to other relays, where that is done.
    pub(crate) mirrors: Option<Arc<Mirrors>>,
    /// The settings as the file has them. Who holds them changes what counts, and nobody else.
    pub(crate) configured: Mutex<Arc<Config>>,
}

impl Reloader {
    /// How each mirror stands.
    pub(crate) fn mirror_stats(&self) -> Vec<MirrorStats> {
        self.mirrors.as_ref().map(|mirrors| mirrors.stats()).unwrap_or_default()
    }

    /// Reads the file again and goes by what it says.
    ///
    /// # Errors
    /// When it has a mistake, or a new community cannot be opened.
    pub(crate) fn reload(&self) -> Result<Reloaded, ReloadError> {
        let load = self.load.as_ref().ok_or(ReloadError::NoFile)?;
        self.apply(load()?)
    }

    /// Goes by these settings, as the file has them.
    ///
    /// # Errors
    /// When a new community cannot be opened.
    pub(crate) fn apply(&self, config: Config) -> Result<Reloaded, ReloadError> {
        let mut configured = self.lock();
        let reloaded = self.go_by(&config)?;
        *configured = Arc::new(config);
        Ok(reloaded)
    }

    /// Takes up what was changed of settings at `/admin`, once it is durable.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn refresh(&self) -> Result<(), ReloadError> {
        let configured = self.lock();
        self.go_by(&configured).map(drop)
    }

    /// The settings as the file has them.
    pub(crate) fn configured(&self) -> Arc<Config> {
        Arc::clone(&self.lock())
    }

    /// What was changed of communities' settings and does not fit the file any more.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn left_aside(&self) -> Result<Vec<Aside>, OpenError> {
        Ok(self.configured().overlaid(&moderation::overlays(&self.store)?).1)
    }

    /// Whether a community's settings can be changed so; a null gives way to what the file says.
    ///
    /// # Errors
    /// When the store cannot be read; the inner one when a value is wrong, or does not go with the others.
    pub(crate) fn check(&self, path: &str, changes: &Overlay) -> Result<Result<(), Misfit>, OpenError> {
        let mut overlays = moderation::overlays(&self.store)?;
        let configured = self.configured();
        let (_, aside) = configured.overlaid(&overlays);
        let mut own = overlays.remove(path).unwrap_or_default();
        // What does not count anyway is not in the way of what is right.
        let aside = aside.iter().filter(|aside| aside.path == path);
        aside.flat_map(|aside| &aside.keys).for_each(|key| drop(own.remove(key)));
        for (key, value) in changes {
            match value.is_null() {
                true => own.remove(key),
                false => own.insert(key.clone(), value.clone()),
            };
        }
        Ok(configured.overlaid(&overlays).0.change(path, &own))
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Config>> {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes by a file's settings, with what was changed of them.
    fn go_by(&self, configured: &Config) -> Result<Reloaded, ReloadError> {
        let (config, not_by_file) = in_effect(configured, &self.store)?;
        let settings = self.current.get().difference(&config);
        let commit = |group| self.pipeline.change_state(group);
        review::begin(&config, &self.communities, &self.store, &self.pipeline).map_err(OpenError::from)?;
        let communities = self.communities.reconfigure(&config, &self.store, commit)?;
        self.pipeline.rates.reconfigure(&config.rate);
        if let Some(mirrors) = &self.mirrors {
            mirrors.reconfigure(&config);
        }
        self.current.set(config);
        // Of one that cannot be run the log has told; it is tried again.
        let _ = self.pipeline.ask_plugins(&self.communities)?;
        if let Err(error) = self.pipeline.start_searching(&self.current, &self.communities, &self.store) {
            tracing::error!("search does not begin: {error}");
        }
        let now = self.clock.now();
        let affected = communities.opened.iter().chain(&communities.changed);
        self.pipeline.refresh(affected.filter_map(|path| self.communities.at(path)));
        for path in &communities.changed {
            if let Some(community) = self.communities.at(path) {
                community.recheck(now);
            }
        }
        Ok(Reloaded { settings, communities, not_by_file })
    }
}
