//! The JSON of stored events: from a cache bounded in bytes, else from the store.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::event::Event;
use crate::store::record::{RecordError, decode};
use crate::store::{CommunityId, Location, Store, StoreError};

/// What an entry of the cache takes besides the body.
const ENTRY_OVERHEAD_BYTES: u64 = 96;

/// About how long a body is, from which the cache sizes its tables.
const BODY_BYTES_USUAL: u64 = 700;

#[derive(Clone)]
struct ByBytes;

impl Weighter<(CommunityId, u64), Bytes> for ByBytes {
    fn weight(&self, _: &(CommunityId, u64), body: &Bytes) -> u64 {
        body.len() as u64 + ENTRY_OVERHEAD_BYTES
    }
}

/// Bodies of stored events.
pub struct Bodies {
    store: Arc<Store>,
    /// By the event's community and number, which is never used for another.
    cache: Cache<(CommunityId, u64), Bytes, ByBytes>,
}

/// Why a body cannot be had although its event is stored.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What it holds makes no sense.
    #[error("event number {0} of the store: {1}")]
    Record(u64, RecordError),
    /// Nobody removed it, and it is not there.
    #[error("event number {0} of the store is missing: the store's files are damaged; run `plaza verify`")]
    Lost(u64),
}

impl Bodies {
    /// Bodies from this store, of which up to `cache_bytes` stay in memory.
    pub fn new(store: Arc<Store>, cache_bytes: u64) -> Bodies {
        let items = usize::try_from(cache_bytes / BODY_BYTES_USUAL).unwrap_or(usize::MAX);
        Bodies { store, cache: Cache::with_weighter(items, cache_bytes, ByBytes) }
    }

    /// Keeps up to so many bytes from now on.
    pub(super) fn resize(&self, cache_bytes: u64) {
        self.cache.set_capacity(cache_bytes);
    }

    /// Where they are read from.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Keeps a body that was just stored: it is likely to be asked for.
    pub fn put(&self, community: CommunityId, location: Location, body: Bytes) {
        self.cache.insert((community, location.number), body);
    }

    /// The body of a stored event; `None` when it was removed meanwhile.
    ///
    /// # Errors
    /// When the store cannot be read or holds something else.
    pub fn get(&self, community: CommunityId, location: Location) -> Result<Option<Bytes>, BodyError> {
        if let Some(body) = self.cache.get(&(community, location.number)) {
            return Ok(Some(body));
        }
        let Some(event) = self.event(community, location)? else { return Ok(None) };
        let body = Bytes::from(event.to_json());
        self.cache.insert((community, location.number), body.clone());
        Ok(Some(body))
    }

    /// A stored event in full, past the cache.
    ///
    /// # Errors
    /// As [`Bodies::get`].
    pub fn event(&self, community: CommunityId, location: Location) -> Result<Option<Event>, BodyError> {
        let Some(record) = self.store.get(community, location)? else { return Ok(None) };
        decode(&record).map(Some).map_err(|reason| BodyError::Record(location.number, reason))
    }

    /// Forgets the body of an event that was removed.
    pub fn forget(&self, community: CommunityId, location: Location) {
        self.cache.remove(&(community, location.number));
    }
}
