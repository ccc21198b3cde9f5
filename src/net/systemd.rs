//! What systemd is told (sd_notify): that the relay serves, that it still moves, that it stops. In: a running
//! relay, and what systemd set in the environment. Out: messages to `NOTIFY_SOCKET`; none where that is not
//! set. Never fails: a relay without systemd serves as well.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::server::{Relay, Stop};
use crate::community::Communities;
use crate::pipeline::Pipeline;
use crate::words;

/// How many signs of life fit into the time after which systemd takes the relay for dead.
const SIGNS_PER_TIMEOUT: u32 = 3;

/// What systemd is told about.
struct Watched {
    communities: Arc<Communities>,
    pipeline: Arc<Pipeline>,
    connections: Arc<Semaphore>,
    connections_max: usize,
    stop: Arc<Stop>,
}

impl Relay {
    /// Tells systemd that the relay serves, and from then on that it still moves, if systemd wants to know that
    /// (`WatchdogSec=`).
    pub fn tell_systemd(&self) {
        let watched = Watched {
            communities: Arc::clone(&self.communities),
            pipeline: Arc::clone(&self.pipeline),
            connections: Arc::clone(&self.connections),
            connections_max: self.connections_max,
            stop: Arc::clone(&self.stop),
        };
        send(&["READY=1", &watched.status()]);
        if let Some(timeout) = watchdog_timeout() {
            self.runtime.spawn(watched.watch(timeout));
        }
    }
}

/// Tells systemd that the relay is stopping.
pub fn tell_systemd_of_stop() {
    send(&["STOPPING=1", "STATUS=Stopping: finishing what is under way"]);
}

impl Watched {
    /// A short sentence for `systemctl status`.
    fn status(&self) -> String {
        let events: usize = self.communities.iter().map(|community| community.index().len()).sum();
        let connections = self.connections_max - self.connections.available_permits();
        let counted = |count: usize, what: &str| {
            format!("{} {what}{}", words::number(count as u64), if count == 1 { "" } else { "s" })
        };
        let failed = if self.pipeline.has_failed() { "; the store has failed, see the log" } else { "" };
        let (events, connections) = (counted(events, "event"), counted(connections, "connection"));
        format!("STATUS=Serving: {events}, {connections}{failed}")
    }

    /// Gives signs of life until the relay stops, each after a proof of it.
    async fn watch(self, timeout: Duration) {
        let moves = || {
            let pipeline = Arc::clone(&self.pipeline);
            // In a task of its own, which proves that the runtime still takes new work.
            let moves = tokio::spawn(async move { pipeline.writer_moves().await });
            async { moves.await.unwrap_or(false) }
        };
        let tell = || send(&["WATCHDOG=1", &self.status()]);
        tokio::select! {
            () = self.stop.wait() => {}
            () = give_signs(timeout, moves, tell) => {}
        }
    }
}

/// Gives a sign of life several times in each timeout, but only after what must move has moved. Ends when that
/// cannot move any more.
async fn give_signs<M: Future<Output = bool>>(timeout: Duration, moves: impl Fn() -> M, tell: impl Fn()) {
    loop {
        let mut moved = std::pin::pin!(moves());
        let has_moved = match tokio::time::timeout(timeout, moved.as_mut()).await {
            Ok(has_moved) => has_moved,
            Err(_) => {
                tracing::error!(
                    "the writer has not moved for {} seconds; systemd may restart the relay. Is the disk stuck?",
                    timeout.as_secs_f32()
                );
                moved.await
            }
        };
        if !has_moved {
            return;
        }
        tell();
        tokio::time::sleep(timeout / SIGNS_PER_TIMEOUT).await;
    }
}

/// After how much silence systemd takes the relay for dead, if it does.
#[cfg(unix)]
fn watchdog_timeout() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero())
}

#[cfg(not(unix))]
fn watchdog_timeout() -> Option<Duration> {
    None
}

#[cfg(unix)]
fn send(states: &[&str]) {
    let states: Vec<_> = states.iter().copied().map(sd_notify::NotifyState::Custom).collect();
    if let Err(error) = sd_notify::notify(&states) {
        tracing::warn!("cannot tell systemd how the relay is: {error}");
    }
}

#[cfg(not(unix))]
fn send(_: &[&str]) {}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn a_sign_of_life_follows_only_what_has_moved() {
        // The test is the writer here: it is asked, and answers when it likes.
        let (asks, mut asked) = unbounded_channel();
        let asks: &UnboundedSender<oneshot::Sender<bool>> = &asks;
        let moves = || {
            let (answer, answered) = oneshot::channel();
            asks.send(answer).expect("the test listens");
            async { answered.await.unwrap_or(false) }
        };
        let signs = Cell::new(0);
        let giving = give_signs(Duration::from_millis(3), moves, || signs.set(signs.get() + 1));
        let answering = async {
            for round in 0..3 {
                let answer = asked.recv().await.expect("it asks");
                assert_eq!(signs.get(), round);
                // Later than the timeout, once.
                if round == 1 {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    assert_eq!(signs.get(), round);
                }
                answer.send(true).expect("it waits");
            }
            // A writer that has ended answers no more, and no sign follows.
            drop(asked.recv().await);
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async { tokio::join!(giving, answering) });
        assert_eq!(signs.get(), 3);
    }
}
