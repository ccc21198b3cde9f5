//! Tells the writer, from time to time, to remove what expired or vanished, or is not kept any longer, within a
//! budget; looks at the disk. Never removes anything itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::disk::{self, Disk};
use super::writer::{Sweep, WriterInput};
use super::{StartError, retention};
use crate::clock::Clock;
use crate::community::Communities;
use crate::config::Current;
use crate::rate::Rates;
use crate::store::CommunityId;

/// How often the budget for vanished events is spent.
const TICKS_PER_SECOND: u32 = 5;

/// How often the rate limits forget who is idle.
const FORGET_SECONDS: u64 = 60;

/// The thread that keeps time; dropping this ends it.
pub(super) struct Sweeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    pub(super) fn start(
        current: Arc<Current>,
        communities: Arc<Communities>,
        writer: Sender<WriterInput>,
        clock: Clock,
        rates: Arc<Rates>,
        disk: Arc<Disk>,
    ) -> Result<Sweeper, StartError> {
        let (stop, stopped) = bounded::<()>(0);
        let thread = super::spawn("plaza-sweep", move || {
            let mut expired_at: Option<Instant> = None;
            let (mut forgot_at, mut looked_at) = (Instant::now(), Instant::now());
            // Communities of which the last round left something.
            let mut unfinished: HashSet<CommunityId> = HashSet::new();
            while stopped.recv_timeout(Duration::from_secs(1) / TICKS_PER_SECOND)
                == Err(RecvTimeoutError::Timeout)
            {
                let config = current.get();
                let per_tick = (config.nip62.sweep_events_per_second / TICKS_PER_SECOND).max(1) as usize;
                let expiry_every = Duration::from_secs(config.nip40.sweep_seconds);
                if forgot_at.elapsed() >= Duration::from_secs(FORGET_SECONDS) {
                    forgot_at = Instant::now();
                    rates.forget_idle();
                }
                if looked_at.elapsed() >= disk::LOOK_EVERY {
                    looked_at = Instant::now();
                    disk.look();
                }
                let now = clock.now();
                if !communities.iter().all(|one| retention::sweep(&one, now, TICKS_PER_SECOND, &writer)) {
                    return;
                }
                let is_due = expired_at.is_none_or(|time| time.elapsed() >= expiry_every);
                if is_due {
                    expired_at = Some(Instant::now());
                }
                // What one community has to remove must not keep another one waiting.
                let mut left = per_tick;
                for community in communities.iter() {
                    let id = community.id;
                    if !is_due && !unfinished.contains(&id) && !community.index().has_vanishing() {
                        continue;
                    }
                    let (done, finished) = bounded(1);
                    let events_max = left.max(per_tick / 10).max(1);
                    let now = clock.now();
                    let sweep = Sweep { community, now, events_max, done };
                    if writer.send(WriterInput::Sweep(sweep)).is_err() {
                        return;
                    }
                    // One round at a time: a slow disk must not gather them.
                    let Ok(removed) = finished.recv() else { return };
                    left = left.saturating_sub(removed);
                    if removed == events_max {
                        unfinished.insert(id)
                    } else {
                        unfinished.remove(&id)
                    };
                }
            }
        })?;
        Ok(Sweeper { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
