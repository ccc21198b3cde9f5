//! Full-text search of communities (NIP-50): the only user of tantivy. In: stored events, read from the store by number;
//! queries. Out: ids, best first. Never decides who may see what: whoever asks looks each id up in the community's
//! index, so that what is gone or hidden is not shown, however far this lags behind.
//!
//! Each community that searches has a folder of its own within the store's (`folder.rs`). It follows the store as a
//! reader does: [`Keeper`] reads records from the number on up to which it has read, so nothing is queued and nobody
//! waits for it. A folder counts only when the store names its stamp; any doubt leads to one that is built anew.

mod find;
mod folder;
mod keep;
pub mod text;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use crate::nips::nip50;
use crate::rule::Refusal;
use crate::store::StateTable;
use crate::words;

pub use find::{Hits, Match, Ready};
pub use folder::{FOLDER, remove};
pub use keep::Keeper;

/// The folder that counts: its stamp. The key is empty.
pub(crate) const SEARCH: StateTable = StateTable(40);

/// What a community's search is at the moment; kept by [`Keeper`], read by whoever searches.
#[derive(Default)]
pub struct Handle {
    state: RwLock<State>,
    /// Somebody wants it built anew.
    rebuild: AtomicBool,
    /// Nothing more is taken in, as its disk is full.
    is_full: AtomicBool,
}

#[derive(Clone, Default)]
enum State {
    /// The settings want none, or nobody keeps it.
    #[default]
    Off,
    /// So many events were read, about, of so many.
    Building(u64, u64),
    Ready(Arc<Ready>, Lag),
    /// It cannot be kept, for this reason.
    Broken(Arc<str>),
}

/// What is stored and not found yet.
#[derive(Debug, Clone, Copy, Default)]
struct Lag {
    /// Events, about.
    events: u64,
    /// Since when.
    since: Option<Instant>,
}

/// How a community's search stands, for those who watch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Status {
    /// `off`, `building`, `ready` or `broken`.
    pub state: &'static str,
    /// Events that can be found; some of them may be gone from the store already.
    pub events: u64,
    /// Events that are stored and not found yet, about.
    pub lag_events: u64,
    /// For how long the oldest of them has waited.
    pub lag_seconds: f64,
    /// Bytes of its files.
    pub disk_bytes: u64,
    /// Whether nothing more is taken in, as its disk is full; what it has can be searched if it is ready.
    pub is_full: bool,
    /// Why it is broken.
    pub reason: Option<Arc<str>>,
}

impl Handle {
    /// What answers searches.
    ///
    /// # Errors
    /// `error:` while it is built, or when it cannot be kept.
    pub fn ready(&self) -> Result<Arc<Ready>, Refusal> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Ready(ready, _) => Ok(Arc::clone(ready)),
            State::Building(done, of) => Err(nip50::not_ready(*done, *of)),
            State::Off => Err(nip50::not_ready(0, 0)),
            State::Broken(_) => Err(nip50::broken()),
        }
    }

    /// Has it built anew, from all that is stored.
    pub fn rebuild(&self) {
        self.rebuild.store(true, Ordering::SeqCst);
        self.set(State::Building(0, 0));
    }

    /// It does not answer rightly: nothing is searched until it is built anew.
    pub fn give_up(&self, reason: &str) {
        self.rebuild();
        self.set(State::Broken(reason.into()));
    }

    fn takes_rebuild(&self) -> bool {
        self.rebuild.swap(false, Ordering::SeqCst)
    }

    fn set(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// It is ready, as of a number and a generation of the engine; `make` makes it if it is not the one that is known.
    fn set_ready(&self, lag: Lag, upto: u64, generation: u64, make: impl FnOnce() -> Ready) {
        if let State::Ready(ready, known) = &mut *self.state.write().unwrap_or_else(PoisonError::into_inner)
            && (ready.upto, ready.searcher.generation().generation_id()) == (upto, generation)
        {
            *known = lag;
            return;
        }
        self.set(State::Ready(Arc::new(make()), lag));
    }

    /// Whether its disk is full.
    fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        Status { is_full: self.is_full.load(Ordering::Relaxed), ..self.status_of_state() }
    }

    fn status_of_state(&self) -> Status {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Off => Status { state: "off", ..Status::default() },
            State::Building(done, of) => {
                Status { state: "building", lag_events: of.saturating_sub(*done), ..Status::default() }
            }
            State::Ready(ready, lag) => Status {
                state: "ready",
                events: ready.events(),
                lag_events: lag.events,
                lag_seconds: lag.since.map_or(0.0, |since| since.elapsed().as_secs_f64()),
                disk_bytes: ready.disk_bytes,
                ..Status::default()
            },
            State::Broken(reason) => {
                Status { state: "broken", reason: Some(Arc::clone(reason)), ..Status::default() }
            }
        }
    }
}

/// Why search cannot be kept.
#[derive(Debug, thiserror::Error)]
enum SearchError {
    #[error(transparent)]
    Engine(#[from] tantivy::TantivyError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error("event number {0} of the store: {1}")]
    Record(u64, crate::store::record::RecordError),
    #[error("only {} are free on its disk", words::bytes(*.0))]
    DiskFull(u64),
    #[error("the search engine panicked: its files may be damaged")]
    Panicked,
}

impl SearchError {
    /// Whether it is that there is no room, where so many bytes are free and the engine may need so many at once. The
    /// engine's own threads do not say why they ended.
    fn is_no_room(&self, free_bytes: Option<u64>, needed_bytes: u64) -> bool {
        use tantivy::TantivyError::{IoError, OpenWriteError};
        use tantivy::directory::error::OpenWriteError as OpenWrite;
        match self {
            SearchError::DiskFull(_) => true,
            SearchError::Store(_) | SearchError::Record(..) => false,
            SearchError::Io(error) if is_full(error) => true,
            SearchError::Engine(IoError(error)) if is_full(error) => true,
            SearchError::Engine(OpenWriteError(OpenWrite::IoError { io_error, .. })) if is_full(io_error) => {
                true
            }
            SearchError::Engine(_) | SearchError::Io(_) | SearchError::Panicked => {
                free_bytes.is_some_and(|free| free < needed_bytes)
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
