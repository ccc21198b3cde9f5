//! What the writer does when the store has failed: tries again from time to time until the disk takes writes, and then
//! goes on. In: a group that failed, and what would have been true with it. Out: that it is true after all, if the
//! disk has the group. Events that come meanwhile are refused by the store.

use std::time::{Duration, Instant};

use super::writer::{After, Writer};
use crate::store::StoreError;

/// From one attempt to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// With this code the process ends when it cannot go on and a new one can: a failure that is not for good.
const EXIT_TEMPORARY: i32 = 75;

/// The store has failed.
pub(super) struct Trouble {
    /// What to do if the group that failed is there.
    after: Option<After>,
    pub(super) next_try: Instant,
    /// What was last said about it, and is not said again.
    said: String,
}

impl Trouble {
    /// Begins with a group that failed.
    pub(super) fn new(after: Option<After>) -> Trouble {
        Trouble { after, next_try: Instant::now(), said: String::new() }
    }
}

/// Ends the process if it must not close the store.
pub(super) fn end_if_halfway(error: &StoreError) {
    if matches!(error, StoreError::Halfway { .. }) {
        tracing::error!("{error}; the relay ends, so that this is not kept: start it again");
        std::process::exit(EXIT_TEMPORARY);
    }
}

impl Writer {
    /// Notes that the store has failed, if it has.
    pub(super) fn note_failure(&mut self, error: &StoreError, after: Option<After>) {
        end_if_halfway(error);
        if self.store.has_failed() && self.trouble.is_none() {
            self.trouble = Some(Trouble::new(after));
        }
    }

    /// Tries to go on when it is time to. Nothing may be gathered: what is stored may change.
    pub(super) fn recover_if_due(&mut self) {
        let Some(mut trouble) = self.trouble.take_if(|trouble| trouble.next_try <= Instant::now()) else {
            return;
        };
        match self.store.recover() {
            Ok(locations) => {
                self.meter.recoveries.inc();
                tracing::info!(
                    "the disk takes writes again: the store was opened anew, and new events are taken"
                );
                if let (Some(locations), Some(after)) = (locations, trouble.after) {
                    self.make_true(after, &locations);
                    self.find_place();
                }
            }
            Err(error) => {
                let words = error.to_string();
                if words != trouble.said {
                    tracing::error!("{words}; new events are refused, and it is tried again every second");
                    trouble.said = words;
                }
                trouble.next_try = Instant::now() + PAUSE;
                self.trouble = Some(trouble);
            }
        }
    }
}
