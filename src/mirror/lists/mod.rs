//! Lists that relays share, `[shared_lists]` in relay.toml (docs/lists.md). In: settings, now and when they change.
//! Out: a task for each relay whose lists a community follows, which listens to them, and one for each community that
//! publishes its own, which has them said anew some time after what is on them changed. Where there is neither there is
//! no task.

mod talk;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::{GOOD, WAIT_MAX, WAIT_MIN, jittered};
use crate::community::shared::{Source, sources};
use crate::community::{Communities, Community};
use crate::config::Follow;
use crate::pipeline::Pipeline;

/// How long it is waited for more before what changed is published: several bans make one event.
const SETTLE: Duration = Duration::from_secs(1);

/// What listens to the lists of one relay.
struct Follower {
    pipeline: Arc<Pipeline>,
    community: Arc<Community>,
    follow: Follow,
    sources: Vec<Source>,
}

/// A follower that runs.
struct Running {
    community: Arc<Community>,
    follow: Follow,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All that follow and publish.
#[derive(Default)]
pub(super) struct Lists {
    running: Vec<Running>,
    publishers: Vec<AbortHandle>,
}

impl Lists {
    /// Goes by the settings that communities have now: ends what is no more or is different, begins what is new.
    pub(super) fn reconfigure(
        &mut self,
        runtime: &Handle,
        pipeline: &Arc<Pipeline>,
        communities: &Communities,
    ) {
        self.publishers.drain(..).for_each(|task| task.abort());
        let mut old = std::mem::take(&mut self.running);
        for community in communities.iter() {
            let settings = community.settings();
            let shared = &settings.shared_lists;
            for follow in &shared.follow {
                let is_same =
                    |one: &Running| one.follow == *follow && Arc::ptr_eq(&one.community, &community);
                let running = match old.iter().position(is_same) {
                    Some(at) => old.swap_remove(at),
                    None => begin(runtime, pipeline, &community, follow),
                };
                self.running.push(running);
            }
            forget(pipeline, &community);
            if !shared.publish.is_empty() && community.signer().is_none() {
                tracing::warn!(
                    "{}: lists are published from the next start on: the relay's own key counts then",
                    community.path()
                );
            } else if !shared.publish.is_empty() {
                let task = runtime.spawn(publish(Arc::clone(pipeline), community));
                self.publishers.push(task.abort_handle());
            }
        }
    }

    /// Ends all.
    pub(super) fn stop(&mut self) {
        self.publishers.drain(..).for_each(|task| task.abort());
        self.running.clear();
    }
}

fn begin(runtime: &Handle, pipeline: &Arc<Pipeline>, community: &Arc<Community>, follow: &Follow) -> Running {
    let follower = Follower {
        pipeline: Arc::clone(pipeline),
        community: Arc::clone(community),
        follow: follow.clone(),
        sources: sources(follow).collect(),
    };
    let task = runtime.spawn(run(follower)).abort_handle();
    Running { community: Arc::clone(community), follow: follow.clone(), task }
}

/// Removes the copies of lists that a community follows no more.
fn forget(pipeline: &Pipeline, community: &Community) {
    let group = community.forget_copies(pipeline.bodies.store());
    if group.is_empty() {
        return;
    }
    if let Err(error) = pipeline.change_state(group) {
        tracing::error!("{}: cannot forget lists that are followed no more: {error}", community.path());
    }
}

/// Has a community's own lists said anew whenever they changed, until it is ended.
async fn publish(pipeline: Arc<Pipeline>, community: Arc<Community>) {
    loop {
        community.lists_changed().await;
        sleep(SETTLE).await;
        tokio::task::block_in_place(|| pipeline.refresh(std::iter::once(Arc::clone(&community))));
    }
}

/// Connects again and again.
async fn run(follower: Follower) {
    let path = follower.community.path().to_owned();
    let relay = follower.follow.relay.clone();
    let mut wait = WAIT_MIN;
    let mut is_told = false;
    loop {
        let began = Instant::now();
        let ended = talk::run(&follower).await;
        follower.note(false, Some(ended.to_string()));
        if began.elapsed() >= GOOD {
            (wait, is_told) = (WAIT_MIN, false);
        }
        if ended.is_misbehaviour() {
            wait = WAIT_MAX;
        }
        // Who stays away is told of once.
        match is_told {
            false => tracing::warn!("{path}: lists of {relay}: {ended}; it is tried again"),
            true => tracing::debug!("{path}: lists of {relay}: {ended}"),
        }
        is_told = true;
        sleep(jittered(wait)).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

impl Follower {
    /// Notes how it goes with all of its lists.
    fn note(&self, is_connected: bool, trouble: Option<String>) {
        self.sources
            .iter()
            .for_each(|source| self.community.note_list(source, is_connected, trouble.clone()));
    }
}
