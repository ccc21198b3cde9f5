//! One community: its settings, its rules, its index, its live subscriptions. Joins them and knows nothing
//! of sockets; the store is shared by all communities and reached through the pipeline.

mod all;
mod connected;
pub(crate) mod groups;
mod learn;
mod lists;
pub(crate) mod moderation;
pub(crate) mod own_key;
mod rules;
pub(crate) mod shared;
pub(crate) mod snapshot;
mod tally;
mod traffic;

use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) use all::NUMBERS;
pub use all::{Communities, Reconfigured};
pub use connected::Connected;
pub(crate) use moderation::ENTRIES_MAX;
pub use moderation::{AboutText, Change, in_effect};
pub use own_key::KeyError;
pub use rules::Rules;
pub use shared::{Done, ListStats, Touched};
pub use tally::{Count, Tally};
pub use traffic::{Count as Counter, Traffic};

use crate::config::{Mode, Settings};
use crate::event::{Event, Id, PublicKey, Signer, Verified};
use crate::filter::{Filter, places};
use crate::index::Index;
use crate::live::Live;
use crate::outbox::Subscription;
use crate::pipeline::Desk;
use crate::recent::Recent;
use crate::review::Numbers;
use crate::rule::{Context, Decision, Head, Refusal, Related, RelayNames};
use crate::search::{self, SEARCH};
use crate::store::record::{RecordError, decode_without_content};
use crate::store::{CommunityId, Location, StateTable, Store, StoreError};

/// Keys that asked to vanish (NIP-62): author → until when, in seconds since 1970.
pub(crate) const VANISHED: StateTable = StateTable(1);

/// State that is true of one folder alone: no copy of the store has it.
pub(crate) const LOCAL_STATE: &[StateTable] = &[snapshot::SNAPSHOTS, SEARCH];

/// Ephemeral events that are remembered, so that mirrors in a circle pass each on once.
const PASSED_ON_MAX: usize = 16_384;

/// A relay as a client sees it.
pub struct Community {
    /// Its number in the store.
    pub id: CommunityId,
    /// Its live subscriptions.
    pub live: Live,
    /// Who is connected.
    pub connected: Connected,
    /// What its rules refused.
    pub tally: Tally,
    /// What it was sent and asked.
    pub traffic: Traffic,
    /// What is counted of its moderation service.
    pub review: Numbers,
    /// Where its plugins are asked, if it had some since the relay started.
    pub(crate) desk: OnceLock<Desk>,
    /// What answers its searches.
    pub search: search::Handle,
    /// How many events its index was built from when it was opened, beside a snapshot.
    pub caught_up_with: usize,
    /// Whether its index finds events by what their places begin with.
    by_prefix: bool,
    /// Ephemeral events that were passed on lately: kept once the community has a mirror, through which they could
    /// come again and again.
    passed_on: OnceLock<Mutex<Recent>>,
    /// Who signs what the relay itself has to say.
    signer: Option<Signer>,
    keeps: Keeps,
    path: String,
    rules: RwLock<Arc<Rules>>,
    lists: lists::Lists,
    shared: shared::Shared,
    lessons: learn::Lessons,
    index: RwLock<Index>,
}

/// What a community keeps beside events, as its settings had it when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Keeps {
    groups: bool,
    members: bool,
}

/// Why a community cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The relay's own key is of no use.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store can be read, but what it holds makes no sense.
    #[error("event number {number} of the store: {reason}")]
    Record {
        /// The event's number in the store.
        number: u64,
        /// What is wrong with it.
        reason: RecordError,
    },
    /// A community has events, and its path is lost.
    #[error(
        "the store's list of communities is damaged: it has events of community number {number}, and not where that \
         one is"
    )]
    NoPath {
        /// The community's number.
        number: u32,
    },
    /// A community's number makes no sense.
    #[error("the store's list of communities is damaged: {entry}")]
    Number {
        /// The entry in hex.
        entry: String,
    },
    /// What a moderator decided makes no sense.
    #[error("what moderators decided is damaged: table {table} of the store's state, entry {key}")]
    Moderation {
        /// The state table.
        table: u8,
        /// The entry's key in hex.
        key: String,
    },
    /// An entry about a vanished key makes no sense.
    #[error("the store's list of vanished keys is damaged at {key}")]
    Vanished {
        /// The entry's key in hex.
        key: String,
    },
}

/// Events that the reading thread hands to the indexing one at a time.
const LOAD_BATCH_EVENTS: usize = 512;

/// Batches that may wait between the two.
const LOAD_BATCHES_MAX: usize = 16;

/// The index of what is stored, and how many records it took: those that came since the snapshot, or all. One
/// thread reads and decodes, another one indexes.
fn load(id: CommunityId, by_prefix: bool, store: &Store) -> Result<(Index, usize), OpenError> {
    let mut index = snapshot::load(store, id, by_prefix)?.unwrap_or_else(|| Index::new(by_prefix));
    let from = index.next_number();
    let (batches, loaded) = crossbeam_channel::bounded::<Vec<(Event, Location, usize)>>(LOAD_BATCHES_MAX);
    std::thread::scope(|scope| {
        let indexer = scope.spawn(move || {
            let mut count = 0;
            for (event, location, record_bytes) in loaded.into_iter().flatten() {
                index.insert(&event, location, record_bytes);
                count += 1;
            }
            (index, count)
        });
        let mut batch = Vec::with_capacity(LOAD_BATCH_EVENTS);
        let read = store.scan(id, from, |location, record| {
            let (event, _) = decode_without_content(record)
                .map_err(|reason| OpenError::Record { number: location.number, reason })?;
            batch.push((event, location, record.len()));
            if batch.len() == LOAD_BATCH_EVENTS {
                // The indexer ends only after this sender.
                let _ = batches.send(std::mem::replace(&mut batch, Vec::with_capacity(LOAD_BATCH_EVENTS)));
            }
            Ok::<(), OpenError>(())
        });
        let _ = batches.send(batch);
        drop(batches);
        let loaded = indexer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.map(|()| loaded)
    })
}

impl Community {
    /// Opens a community: builds its index from the store.
    ///
    /// # Errors
    /// When the store cannot be read, or a record in it makes no sense.
    fn open(id: CommunityId, config: Settings, store: &Store) -> Result<Community, OpenError> {
        let (mut index, caught_up_with) = load(id, config.geohash.prefix_filters, store)?;
        for entry in store.state(id, VANISHED) {
            let (key, until) = entry?;
            match (<[u8; 32]>::try_from(&*key), <[u8; 8]>::try_from(&*until)) {
                (Ok(key), Ok(until)) => index.vanish(&PublicKey(key), u64::from_le_bytes(until)),
                _ => return Err(OpenError::Vanished { key: hex::encode(key) }),
            }
        }
        if let Some(tally) = store.tally(id)
            && tally.records != index.len() as u64
        {
            tracing::error!(
                "{}: {} events were stored, and {} are there: the store's files are damaged; run `plaza verify`, \
                 and restore a backup",
                config.relay.path,
                tally.records,
                index.len()
            );
        }
        let signer = own_key::of(&config, store.path(), id)?;
        let groups = groups::load(store, id, &config, signer.as_ref(), &index)?;
        let mut community = Community::empty(id, config);
        community.caught_up_with = caught_up_with;
        community.change_rules(|rules| {
            rules.own_key = signer.as_ref().map(Signer::key);
            rules.known.groups = Arc::new(groups);
        });
        community.signer = signer;
        community.read_decisions(store)?;
        community.read_copies(store)?;
        *community.index_mut() = index;
        Ok(community)
    }

    /// Goes by what moderators decided, as the store has it.
    ///
    /// # Errors
    /// When it cannot be read, or makes no sense.
    pub(crate) fn read_decisions(&self, store: &Store) -> Result<(), OpenError> {
        let decided = Arc::new(moderation::load(store, self.id)?);
        self.known().held.replace(moderation::held(store, self.id)?);
        self.change_rules(|rules| {
            rules.known.moderation = decided;
            rules.take_texts();
        });
        Ok(())
    }

    /// A community in which nothing is stored.
    fn empty(id: CommunityId, config: Settings) -> Community {
        let rules = Rules::new(config);
        Community {
            id,
            caught_up_with: 0,
            by_prefix: rules.settings.geohash.prefix_filters,
            passed_on: OnceLock::new(),
            signer: None,
            keeps: Keeps { groups: rules.settings.nip29.enabled, members: rules.settings.nip43.enabled },
            path: rules.settings.relay.path.clone(),
            lessons: learn::Lessons::new(&rules.needs),
            lists: lists::Lists::default(),
            shared: shared::Shared::default(),
            rules: RwLock::new(Arc::new(rules)),
            live: Live::default(),
            connected: Connected::default(),
            tally: Tally::default(),
            traffic: Traffic::default(),
            review: Numbers::default(),
            desk: OnceLock::new(),
            search: search::Handle::default(),
            index: RwLock::default(),
        }
    }

    /// Passes each ephemeral event on once from now on, as far as it remembers.
    pub(crate) fn remember_passed_on(&self) {
        self.passed_on.get_or_init(|| Mutex::new(Recent::new(PASSED_ON_MAX)));
    }

    /// Whether an ephemeral event was passed on lately; if not it is now. Never where nobody has it remembered.
    pub(crate) fn has_passed_on(&self, id: &Id) -> bool {
        let Some(passed_on) = self.passed_on.get() else { return false };
        !passed_on.lock().unwrap_or_else(PoisonError::into_inner).add(id)
    }

    /// Where it is, beginning with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The index, to read. Hold it briefly: the writer waits for it.
    pub fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index, to change: the writer's alone.
    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the rules that need no signature, and counts what they say.
    ///
    /// # Errors
    /// The first refusal.
    pub fn admit(&self, rules: &Rules, event: &Event, context: &Context<'_>) -> Decision {
        let decision = rules.policy.admit(event, context, &mut |refusal| self.would_refuse(refusal));
        if decision.is_err() {
            self.note_touch(rules, event, context, &decision);
        }
        self.counted(decision)
    }

    /// Asks the rules that are dear, of an event that is true, and counts what they say.
    ///
    /// # Errors
    /// The first refusal.
    pub fn admit_verified(&self, rules: &Rules, event: &Verified, context: &Context<'_>) -> Decision {
        let decision = rules.policy.admit_verified(event, context, &mut |refusal| self.would_refuse(refusal));
        if decision.is_ok() {
            self.note_touch(rules, event, context, &decision);
        }
        self.counted(decision)
    }

    /// Charges the community's budget of bridged events, and counts what is beyond it.
    ///
    /// # Errors
    /// The refusal, when the budget is used up.
    pub fn admit_bridged(&self, rules: &Rules, event: &Verified) -> Decision {
        match rules.bridge_rate.bridged_event(event) {
            Err(refusal) if rules.settings.bridge.mode == Mode::Shadow => {
                self.would_refuse(&refusal);
                Ok(())
            }
            decision => self.counted(decision),
        }
    }

    /// Asks the rules that look at stored events, and counts what they say.
    ///
    /// # Errors
    /// The first refusal.
    pub fn admit_placed(
        &self,
        rules: &Rules,
        event: &Verified,
        related: &Related,
        context: &Context<'_>,
    ) -> Decision {
        let shadowed = &mut |refusal: &Refusal| self.would_refuse(refusal);
        self.counted(rules.policy.admit_placed(event, related, context, shadowed))
    }

    /// Reads the places of admitted filters (nips/geohash-filters.md), where this community's settings say so.
    pub fn read_places(&self, filters: &mut [Filter]) {
        // The index was made for it at the same time: this setting does not change while a relay runs.
        if self.by_prefix {
            places::read_places(filters);
        }
    }

    /// Asks the rules for a REQ or COUNT, and counts what they say.
    ///
    /// # Errors
    /// The first refusal.
    pub fn admit_query(
        &self,
        rules: &Rules,
        subscription: &str,
        filters: &[Filter],
        context: &Context<'_>,
    ) -> Decision {
        let shadowed = &mut |refusal: &Refusal| self.would_refuse(refusal);
        self.counted(rules.policy.admit_query(subscription, filters, context, shadowed))
    }

    /// Asks the rules that are about COUNT alone, and counts what they say.
    ///
    /// # Errors
    /// The first refusal.
    pub fn admit_count(&self, rules: &Rules, filters: &[Filter], context: &Context<'_>) -> Decision {
        let shadowed = &mut |refusal: &Refusal| self.would_refuse(refusal);
        self.counted(rules.policy.admit_count(filters, context, shadowed))
    }

    /// Asks the rules again about every open subscription: they, or what they know of who asks, have changed. Those
    /// that are refused end with the reason.
    pub(crate) fn recheck(&self, now: u64) {
        self.live.recheck(|subscription, listener| {
            listener.with_keys(|keys| self.admit_again(subscription, now, keys, &listener.relay).err())
        });
    }

    /// Asks the rules, as they are now, about a subscription that earlier ones admitted.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) fn admit_again(
        &self,
        subscription: &Subscription,
        now: u64,
        keys: &[PublicKey],
        relay: &RelayNames,
    ) -> Decision {
        let rules = self.rules();
        let Subscription { id, filters, .. } = subscription;
        self.admit_query(&rules, id, filters, &rules.context(now, keys, relay))
    }

    /// Whether an event may be shown, counted or streamed to who asks.
    pub fn visible(&self, rules: &Rules, head: &Head<'_>, context: &Context<'_>) -> bool {
        let is_visible = rules.policy.visible(head, context);
        if is_visible {
            rules.policy.would_hide(head, context).for_each(|rule| self.tally.would_hide(rule));
        }
        is_visible
    }

    fn counted(&self, decision: Decision) -> Decision {
        decision.inspect_err(|refusal| self.tally.refused(refusal))
    }

    /// Counts and logs what is refused in shadow mode.
    pub(crate) fn would_refuse(&self, refusal: &Refusal) {
        tracing::info!(community = self.path(), rule = refusal.rule, "in shadow mode: {refusal}");
        self.tally.shadowed(refusal);
    }
}
