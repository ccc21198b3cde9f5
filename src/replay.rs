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

#[cfg(test)]
mod tests {
    use secp256k1::{Keypair, SecretKey};

    use super::*;
    use crate::event::{PublicKey, Signature, Tags};

    fn message(number: u64, content_bytes: usize) -> Verified {
        let keys = Keypair::from_secret_key(&SecretKey::from_secret_bytes([7; 32]).expect("a secret key"));
        let mut event = Event {
            id: Id([0; 32]),
            pubkey: PublicKey(keys.x_only_public_key().0.to_byte_array()),
            created_at: number,
            kind: Kind(20_000),
            tags: [["g", "u33dc"]].into_iter().collect::<Tags>(),
            content: "x".repeat(content_bytes),
            sig: Signature([0; 64]),
        };
        event.id = event.hash(&mut Vec::new());
        event.sig = Signature(keys.sign_schnorr_no_aux_rand(&event.id.0).to_byte_array());
        Verified::check(event, &mut Vec::new()).expect("a true event")
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let settings = ReplaySettings { seconds: 10, events_max: 10_000 };
        let mut replay = Replay::default();
        let body_bytes = REPLAY_BYTES_MAX / 2 / 4 - KEPT_OVERHEAD_BYTES;
        let body = Bytes::from(vec![b'x'; body_bytes]);
        for number in 0..6 {
            assert!(replay.note(&message(number, 0), &body, settings, 0));
            assert_eq!(replay.kept.len(), (number + 1).min(4) as usize);
        }
        let newest: Vec<u64> = replay.kept.iter().map(|kept| kept.event.created_at).collect();
        assert_eq!(newest, [2, 3, 4, 5]);
        // One that is longer than all the room takes it all, and is not kept.
        let long = Bytes::from(vec![b'x'; REPLAY_BYTES_MAX / 2]);
        assert!(replay.note(&message(9, 0), &long, settings, 0));
        assert_eq!((replay.kept.len(), replay.ids.len(), replay.bytes), (0, 0, 0));
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_behind() {
        let mut replay = Replay::default();
        let settings = ReplaySettings { seconds: 10, events_max: 100 };
        for number in 0..300 {
            let event = message(number, number as usize);
            let body = Bytes::from(event.to_json());
            replay.note(&event, &body, settings, number / 20);
            let bytes: usize = replay.kept.iter().map(|kept| kept.bytes()).sum();
            assert_eq!((replay.ids.len(), replay.bytes), (replay.kept.len(), bytes), "event {number}");
        }
        assert_eq!(replay.kept.len(), 100);
        // Who turns it off keeps nothing, whatever is asked first.
        let off = ReplaySettings::default();
        assert!(replay.matching(&[Filter::default()], off, 15).is_empty());
        assert_eq!((replay.kept.len(), replay.ids.len(), replay.bytes), (0, 0, 0));
    }
}
