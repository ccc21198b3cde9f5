//! The last ephemeral events with a place, for those who join late: an extension (nips/geohash-filters.md).
//! In: new events in order of arrival, settings, the time. Out: what a new subscription may still be given.
//! In memory alone: never on disk. Never decides who may see an event.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::config::Geohash;
use crate::event::{Event, Id, Kind, KindClass, Verified};
use crate::filter::{Filter, places};
use crate::nips::{nip09, nip40};

/// What one community keeps at most, about, however many events its settings allow.
pub const REPLAY_BYTES_MAX: usize = 8 << 20;

/// What a kept event takes besides its texts: ids, keys, handles, its place in the queue and the table.
const KEPT_OVERHEAD_BYTES: usize = 512;

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplaySettings {
    /// How long after its arrival an event is given to who joins; 0 keeps nothing.
    pub seconds: u64,
    /// How many are kept, the last that arrived.
    pub events_max: usize,
}

impl From<&Geohash> for ReplaySettings {
    fn from(settings: &Geohash) -> ReplaySettings {
        ReplaySettings { seconds: settings.replay_seconds, events_max: settings.replay_events_max }
    }
}

/// An ephemeral event that is kept for a while.
#[derive(Debug)]
pub struct Kept {
    /// The event.
    pub event: Verified,
    /// Its JSON.
    pub body: Bytes,
    arrived_at: u64,
}

impl Kept {
    /// Its JSON, and its tags and content once more, about as long.
    fn bytes(&self) -> usize {
        2 * self.body.len() + KEPT_OVERHEAD_BYTES
    }
}

/// What one community keeps.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// In order of arrival.
    kept: VecDeque<Arc<Kept>>,
    ids: HashSet<Id>,
    bytes: usize,
}

impl Replay {
    /// Takes note of a new event: keeps it if it is one to keep, forgets what it takes away. False when it
    /// is a copy of one that is kept, which everyone who asked for it has been given or will be.
    pub(crate) fn note(
        &mut self,
        event: &Verified,
        body: &Bytes,
        settings: ReplaySettings,
        now: u64,
    ) -> bool {
        self.forget_old(settings, now);
        match event.kind {
            Kind::DELETION | Kind::VANISH if !self.kept.is_empty() => self.take_away(event),
            _ => {}
        }
        let is_one = settings.seconds > 0
            && event.kind.class() == KindClass::Ephemeral
            && places::has_place(&event.tags);
        if !is_one {
            return true;
        }
        if !self.ids.insert(event.id) {
            return false;
        }
        let kept = Kept { event: event.clone(), body: body.clone(), arrived_at: now };
        self.bytes += kept.bytes();
        self.kept.push_back(Arc::new(kept));
        while self.kept.len() > settings.events_max || self.bytes > REPLAY_BYTES_MAX {
            self.forget_first();
        }
        true
    }

    /// What these filters ask for and is not over, in order of arrival.
    pub(crate) fn matching(
        &mut self,
        filters: &[Filter],
        settings: ReplaySettings,
        now: u64,
    ) -> Vec<Arc<Kept>> {
        self.forget_old(settings, now);
        let is_asked_for = |kept: &&Arc<Kept>| {
            let is_over = nip40::is_expired(nip40::stated(&kept.event), now);
            !is_over && filters.iter().any(|filter| filter.matches(&kept.event))
        };
        self.kept.iter().filter(is_asked_for).cloned().collect()
    }

    fn forget_old(&mut self, settings: ReplaySettings, now: u64) {
        let is_old = |kept: &Arc<Kept>| {
            settings.seconds == 0 || now.saturating_sub(kept.arrived_at) > settings.seconds
        };
        while self.kept.front().is_some_and(is_old) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(kept) = self.kept.pop_front() {
            self.ids.remove(&kept.event.id);
            self.bytes -= kept.bytes();
        }
    }

    /// What a request to delete (NIP-09) or to vanish (NIP-62) takes away of what is stored it takes away
    /// here too. The writer has kept the request; whether it concerns this relay has been decided.
    fn take_away(&mut self, request: &Event) {
        let named: HashSet<Id> = match request.kind {
            Kind::DELETION => nip09::named_ids(request).collect(),
            _ => HashSet::new(),
        };
        let is_taken = |event: &Event| {
            let is_named = match request.kind {
                Kind::VANISH => event.created_at <= request.created_at,
                _ => named.contains(&event.id),
            };
            event.pubkey == request.pubkey && is_named
        };
        let Replay { kept, ids, bytes } = self;
        kept.retain(|one| {
            let is_taken = is_taken(&one.event);
            if is_taken {
                ids.remove(&one.event.id);
                *bytes -= one.bytes();
            }
            !is_taken
        });
    }
}
