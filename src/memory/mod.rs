//! The relay's memory: what clients hold together, counted and bounded, and what all of it comes to
//! (docs/memory.md). In: bytes that somebody takes or gives back. Out: whether there is room. Never ends anybody;
//! who is refused says so itself.
//!
//! Each connection has a small share of its own, which nobody can take from it. What it holds beyond that it takes
//! from one pool of all clients, and gives back by dropping its [`Charge`].

mod bound;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::rule::{Prefix, Refusal};

pub(crate) use bound::{BLOCKING_THREADS_MAX, COPY_CACHE_BYTES, LOG_AHEAD_BYTES_MAX, rate_keys_max};
pub use bound::{Bound, INDEX_EVENT_BYTES, Plan, Term};

/// What a connection takes by itself: its task, session and listener, and the shares below.
pub const CONNECTION_BYTES: usize = 4 * 1024 + OUTBOX_SHARE_BYTES + SOCKET_SHARE_BYTES + QUERIES_SHARE_BYTES;

/// Bytes of an outbox that every connection has for itself.
pub const OUTBOX_SHARE_BYTES: usize = 4 * 1024;

/// Bytes between socket and session that every connection has for itself.
pub const SOCKET_SHARE_BYTES: usize = 4 * 1024;

/// Bytes of subscriptions and of answers under way that every connection has for itself where all have no more.
pub const QUERIES_SHARE_BYTES: usize = 8 * 1024;

/// What a connection takes besides while it speaks HTTP: buffers, headers and a page.
pub const HTTP_BYTES: usize = 48 * 1024;

/// What an encrypted connection takes besides: keys, a record that arrives, one that is read, and what waits to be
/// written (`TLS_UNSENT_BYTES`).
pub const TLS_BYTES: usize = 48 * 1024;

/// Encrypted bytes that may wait for a client to read them, below the outbox.
pub const TLS_UNSENT_BYTES: usize = 8 * 1024;

/// What a thread that serves sockets takes to compress messages: two compressors of 0.4 MiB, a decompressor, two buffers,
/// and events that it keeps compressed.
pub const COMPRESSION_THREAD_BYTES: u64 = 2 * 1024 * 1024;

/// What an event under way takes for each byte of its message: as it was parsed, as JSON, as a record, in its group,
/// and what even the shortest one needs.
pub const EVENT_FACTOR: usize = 7;

/// What a subscription takes besides its values: its entry, handles, texts around its name, what is held for it at first.
const SUBSCRIPTION_BYTES: usize = 512;

/// Why a client is not kept when there is no room for what waits to be sent to it.
pub const CLIENTS_FULL: &str = "the relay's memory for clients is full; come back in a moment";

/// What all clients hold, in bytes, and how much that may be.
#[derive(Debug)]
pub struct Ledger {
    bytes: AtomicUsize,
    /// What the settings give.
    planned: usize,
    /// The same, or less while the process is larger than it should be.
    bytes_max: AtomicUsize,
}

impl Ledger {
    /// A pool of so many bytes.
    pub fn new(bytes_max: usize) -> Arc<Ledger> {
        Arc::new(Ledger {
            bytes: AtomicUsize::new(0),
            planned: bytes_max,
            bytes_max: AtomicUsize::new(bytes_max),
        })
    }

    /// A pool without a bound.
    pub fn unbounded() -> Arc<Ledger> {
        Ledger::new(usize::MAX)
    }

    /// Takes bytes, if there is room for them.
    pub fn take(self: &Arc<Ledger>, bytes: usize) -> Option<Charge> {
        let mut charge = self.nothing();
        charge.set(bytes).then_some(charge)
    }

    /// A charge of nothing as yet.
    pub fn nothing(self: &Arc<Ledger>) -> Charge {
        Charge { ledger: Arc::clone(self), bytes: 0 }
    }

    /// What is taken.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What may be taken.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max.load(Ordering::Relaxed)
    }

    /// Whether there is room for more connections: the rest is for those that are there.
    pub fn has_room_for_connections(&self) -> bool {
        self.bytes() < self.bytes_max() / 8 * 5
    }

    /// Whether more than three quarters are taken: then answers go out in small pieces, and clients that are slow wait with
    /// them and not the relay's memory.
    pub fn is_tight(&self) -> bool {
        self.bytes() > self.bytes_max() / 4 * 3
    }

    /// Lets no more be taken than is now, until [`Ledger::relax`].
    pub(crate) fn squeeze(&self) {
        self.bytes_max.store(self.bytes().min(self.planned), Ordering::Relaxed);
    }

    /// Lets what the settings give be taken again.
    pub(crate) fn relax(&self) {
        self.bytes_max.store(self.planned, Ordering::Relaxed);
    }

    fn add(&self, bytes: usize) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.bytes_max();
        if !fits {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }
}

/// Bytes of a pool; dropping this gives them back.
#[derive(Debug)]
pub struct Charge {
    ledger: Arc<Ledger>,
    bytes: usize,
}

impl Charge {
    /// Takes or gives back until it is so many bytes; false, and nothing has changed, when there is no room for more.
    pub fn set(&mut self, bytes: usize) -> bool {
        match bytes.checked_sub(self.bytes) {
            Some(0) => return true,
            Some(more) if !self.ledger.add(more) => return false,
            Some(_) => {}
            None => {
                self.ledger.bytes.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            }
        }
        self.bytes = bytes;
        true
    }

    /// How many bytes it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it is taken from.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// What a subscription takes whose filters take so many bytes.
pub fn subscription_bytes(filters: usize) -> usize {
    SUBSCRIPTION_BYTES + filters
}

/// There is no room for what a client wants.
pub fn refusal() -> Refusal {
    let sentence = "the relay's memory for clients is full; close subscriptions, or try again in a moment";
    Refusal::new(Prefix::RateLimited, "server.memory_bytes_max", sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_and_no_more_than_there_is() {
        let ledger = Ledger::new(100);
        let mut one = ledger.take(60).expect("room");
        assert!(ledger.take(41).is_none() && !ledger.is_tight());
        let other = ledger.take(40).expect("room");
        assert!(!ledger.has_room_for_connections() && ledger.is_tight());
        assert!(!one.set(61) && one.set(10) && one.set(50));
        assert_eq!((one.bytes(), other.bytes(), ledger.bytes()), (50, 40, 90));
        drop(one);
        assert_eq!(ledger.bytes(), 40);
        assert!(ledger.has_room_for_connections() && !ledger.is_tight());
        drop(other);
        assert_eq!(ledger.bytes(), 0);
    }

    #[test]
    fn a_squeezed_pool_lends_nothing_more_until_it_may_again() {
        let ledger = Ledger::new(100);
        let mut one = ledger.take(60).expect("room");
        ledger.squeeze();
        assert!(!one.set(61) && one.set(20) && one.set(60));
        ledger.relax();
        assert!(one.set(100) && !one.set(101));
    }

    #[test]
    fn threads_leave_nothing_behind() {
        let ledger = Ledger::new(1_000);
        std::thread::scope(|scope| {
            for number in 0..4_usize {
                let ledger = &ledger;
                scope.spawn(move || {
                    let mut charge = ledger.nothing();
                    for round in 0..10_000 {
                        let wanted = (round * 7 + number * 131) % 600;
                        let before = charge.bytes();
                        let is_set = charge.set(wanted);
                        assert_eq!(charge.bytes(), if is_set { wanted } else { before });
                    }
                });
            }
        });
        assert_eq!(ledger.bytes(), 0);
    }
}
