//! Whether there is room for more on the disk. In: a look at it from time to time. Out: a refusal for new events
//! when it is nearly full, so that it never is: what is stored can still be read, and removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::event::{Event, Kind, KindClass};
use crate::rule::{Prefix, Refusal};
use crate::store::Store;
use crate::words;

/// How often the disk is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The operator is warned when so many times the bound is left.
const WARN_FACTOR: u64 = 2;

const PLENTY: u8 = 0;
const LOW: u8 = 1;
const FULL: u8 = 2;

/// What was last seen of the disk.
pub(super) struct Disk {
    store: Arc<Store>,
    free_bytes_min: u64,
    level: AtomicU8,
}

impl Disk {
    /// A watch that has looked once.
    pub(super) fn new(store: Arc<Store>, free_bytes_min: u64) -> Disk {
        let disk = Disk { store, free_bytes_min, level: AtomicU8::new(PLENTY) };
        disk.look();
        disk
    }

    /// Looks at the disk, and tells the operator what has changed.
    pub(super) fn look(&self) {
        if self.free_bytes_min == 0 {
            return;
        }
        // What cannot be looked at is no reason to refuse anything.
        let Ok(Some(free)) = self.store.disk_free_bytes() else { return };
        let level = match free {
            free if free < self.free_bytes_min => FULL,
            free if free < self.free_bytes_min.saturating_mul(WARN_FACTOR) => LOW,
            _ => PLENTY,
        };
        let before = self.level.swap(level, Ordering::Relaxed);
        let (free, least) = (words::bytes(free), words::bytes(self.free_bytes_min));
        match level {
            level if level == before => {}
            FULL => tracing::error!(
                "{free} are free on the disk, less than store.disk_free_bytes_min ({least}): new events are \
                 refused until there is more; `plaza delete`, then `plaza compact` give some back"
            ),
            LOW => tracing::warn!(
                "{free} are free on the disk; below {least} (store.disk_free_bytes_min) new events are refused"
            ),
            _ => tracing::info!("there is room on the disk again: {free}"),
        }
    }

    /// Refuses an event that would be stored when there is no room. Requests to delete and to vanish are taken:
    /// they make room.
    pub(super) fn admit(&self, event: &Event) -> Result<(), Refusal> {
        let is_taken = self.level.load(Ordering::Relaxed) != FULL
            || matches!(event.kind, Kind::DELETION | Kind::VANISH)
            || event.kind.class() == KindClass::Ephemeral;
        if is_taken {
            return Ok(());
        }
        let sentence = "the relay's disk is nearly full, so it takes no new events; its operator is told";
        Err(Refusal::new(Prefix::Error, "store.disk_full", sentence))
    }
}
