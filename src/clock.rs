//! The only reader of the wall clock. Tests set it by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time in seconds since 1970.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    by_hand: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Clock {
        Clock::default()
    }

    /// A clock that stands at `now` until it is set.
    pub fn by_hand(now: u64) -> Clock {
        Clock { by_hand: Some(Arc::new(AtomicU64::new(now))) }
    }

    /// Sets a clock made with [`Clock::by_hand`] and all its clones; does nothing to the machine's.
    pub fn set(&self, now: u64) {
        if let Some(time) = &self.by_hand {
            time.store(now, Ordering::SeqCst);
        }
    }

    /// Seconds since 1970.
    pub fn now(&self) -> u64 {
        match &self.by_hand {
            Some(time) => time.load(Ordering::SeqCst),
            // A clock before 1970 is a broken clock; zero refuses events as being in the future.
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()),
        }
    }
}
