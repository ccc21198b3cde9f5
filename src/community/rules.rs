//! What a community goes by at one moment. In: settings, and parts of what rules know. Out: snapshots, which are
//! replaced whole and never changed: who took one up finishes by it.

use std::sync::{Arc, PoisonError};

use super::Community;
use crate::config::Settings;
use crate::event::PublicKey;
use crate::policy::{Needs, Policy};
use crate::rate::BridgeRate;
use crate::rule::{Context, Known, RelayNames};

/// A community's settings, the rules that ask for something under them, and what these know.
#[derive(Clone)]
pub struct Rules {
    /// The settings, with the texts that moderators changed.
    pub settings: Arc<Settings>,
    /// The settings as the file has them.
    configured: Arc<Settings>,
    /// The rules that ask for something under these.
    pub policy: Arc<Policy>,
    /// What they know besides events and settings.
    pub known: Known,
    /// The relay's own public key, where it has one.
    pub(super) own_key: Option<PublicKey>,
    /// What they need to have learned from stored events.
    pub(super) needs: Needs,
    /// How many bridged events are still taken.
    pub(super) bridge_rate: Arc<BridgeRate>,
}

impl Rules {
    /// Rules that know what the settings alone tell.
    pub(super) fn new(settings: Settings) -> Rules {
        Rules {
            policy: Arc::new(Policy::new(&settings)),
            known: Known::compiled(&settings),
            own_key: None,
            needs: Needs::of(&settings),
            bridge_rate: Arc::new(BridgeRate::new(&settings.bridge)),
            configured: Arc::new(settings.clone()),
            settings: Arc::new(settings),
        }
    }

    /// Rules of settings that are of no community here: they know nothing that is learned.
    pub(crate) fn alone(settings: Settings) -> Rules {
        Rules::new(settings)
    }

    /// Goes by other settings. What was learned stays until it is learned anew.
    fn reconfigure(&mut self, settings: Settings) {
        let has_lists = !settings.blocklist.files.is_empty();
        let mut new = Rules::new(settings);
        new.own_key = self.own_key;
        let area = std::mem::take(&mut new.known.area);
        new.known = Known { area, ..self.known.clone() };
        if !has_lists {
            new.known.domains = Arc::default();
        }
        if new.configured.bridge == self.configured.bridge {
            new.bridge_rate = Arc::clone(&self.bridge_rate);
        }
        *self = new;
        self.take_texts();
    }

    /// Puts the texts that moderators changed in place of the settings'.
    pub(super) fn take_texts(&mut self) {
        let about = &self.known.moderation.about;
        let mut settings = Settings::clone(&self.configured);
        settings.relay.name = about.name.clone().unwrap_or(settings.relay.name);
        settings.relay.description = about.description.clone().unwrap_or(settings.relay.description);
        settings.relay.icon = about.icon.clone().or(settings.relay.icon);
        settings.relay.self_key = self.own_key.map(|key| key.to_string()).or(settings.relay.self_key);
        self.settings = Arc::new(settings);
    }

    /// What a rule may know when a connection that has proved these keys asks.
    pub fn context<'a>(&'a self, now: u64, keys: &'a [PublicKey], relay: &'a RelayNames) -> Context<'a> {
        Context { now, config: &self.settings, keys, relay, known: &self.known, asked: false }
    }
}

impl Community {
    /// What it goes by now.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Its settings as of now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner).settings)
    }

    /// What its rules know besides events and settings, as of now.
    pub fn known(&self) -> Known {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).known.clone()
    }

    /// Goes by other settings from now on; says whether they differ. What `geohash.prefix_filters` says counts at the
    /// next start: the index is made for it.
    /// So do the relay's own key, and whether there are groups and membership: what they stand on is read at the start.
    pub(crate) fn reconfigure(&self, mut settings: Settings) -> bool {
        let configured = Arc::clone(&self.rules().configured);
        settings.relay.secret_key_file = configured.relay.secret_key_file.clone();
        settings.nip29.enabled = configured.nip29.enabled;
        settings.nip29.former_keys = configured.nip29.former_keys.clone();
        settings.nip43.enabled = configured.nip43.enabled;
        if *configured == settings {
            return false;
        }
        self.change_rules(|rules| rules.reconfigure(settings));
        self.compile_lists();
        self.lists.forget();
        self.learn_all_anew();
        true
    }

    /// Puts something else in place of a part of what it goes by. What is under way goes on by what was.
    pub(crate) fn change_rules(&self, change: impl FnOnce(&mut Rules)) {
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Rules::clone(&rules);
        change(&mut changed);
        *rules = Arc::new(changed);
    }
}
