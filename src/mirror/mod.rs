//! Mirrors: streams of events from and to other relays, `[[mirror]]` in relay.toml (docs/mirrors.md). In: settings, now
//! and when they change. Out: a task for each mirror, which connects, carries events and tries again; and how each
//! stands. Where there is no mirror there is no task. What comes is verified like any other event, and has turns with
//! all that clients send; decides nothing that a rule decides.

mod catch_up;
mod follow;
mod here;
mod link;
mod lists;
mod talk;
mod up;
mod wire;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

pub(crate) use follow::name_of;
pub use link::{Flow, MirrorStats, Phase};

use crate::community::{Communities, Community};
use crate::config::{Config, Mirror};
use crate::pipeline::{Permits, Pipeline};
use crate::store::CommunityId;
use follow::Role;
use here::Here;
use link::{Link, UnderWay};
use lists::Lists;
use talk::Ended;
use wire::Reach;

/// How long a mirror waits until it connects again: at first, and at most.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(300);

/// A connection that lasted so long was a good one: after it the waits begin anew.
const GOOD: Duration = Duration::from_secs(30);

/// The part of all bytes under way that all mirrors together may have, and what the smallest event takes of it.
const ROOM_PART: usize = 8;
const ROOM_OF_EVENT_MIN: usize = 8 * 1024;

/// Mirrors that look at what is stored at once.
const LOOKS_AT_ONCE: usize = 2;

/// One mirror.
struct Task {
    settings: Mirror,
    reach: Reach,
    here: Arc<Here>,
    link: Arc<Link>,
    room: Arc<Room>,
}

/// Room of all mirrors in the bound on what is under way.
struct Room {
    of_mirrors: Arc<Semaphore>,
    bytes: usize,
    /// For what keeps a thread for long: looks at what is stored. Never closed.
    turn: Semaphore,
}

impl Room {
    fn new(config: &Config) -> Room {
        let longest = config.all().map(|one| one.limits.message_bytes_max).max().unwrap_or_default();
        let bytes = (config.root.limits.ingest_bytes_max / ROOM_PART).max(longest).max(ROOM_OF_EVENT_MIN);
        let bytes = bytes.min(u32::MAX as usize);
        Room { of_mirrors: Arc::new(Semaphore::new(bytes)), bytes, turn: Semaphore::new(LOOKS_AT_ONCE) }
    }

    /// Waits for room for an event of so many bytes: among the mirrors first, so that they never crowd out clients.
    async fn take(&self, pipeline: &Pipeline, bytes: usize) -> Option<Permits> {
        let of_mirrors = bytes.clamp(ROOM_OF_EVENT_MIN, self.bytes) as u32;
        let one = Arc::clone(&self.of_mirrors).acquire_many_owned(of_mirrors).await.ok()?;
        let bytes = bytes.min(self.bytes) as u32;
        let all = Arc::clone(&pipeline.ingest_bytes).acquire_many_owned(bytes).await.ok()?;
        Some(Permits::new(one, all))
    }
}

/// A mirror that runs.
struct Running {
    role: Role,
    settings: Mirror,
    community: Arc<Community>,
    link: Arc<Link>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Default)]
struct All {
    running: Vec<Running>,
    under_way: HashMap<CommunityId, Arc<UnderWay>>,
    /// What follows members, by community.
    followers: HashMap<CommunityId, AbortHandle>,
    /// What follows and publishes lists.
    lists: Lists,
}

/// All mirrors of a relay.
pub struct Mirrors {
    runtime: Handle,
    pipeline: Arc<Pipeline>,
    communities: Arc<Communities>,
    room: Arc<Room>,
    is_over: Arc<AtomicBool>,
    all: Mutex<All>,
}

impl Mirrors {
    /// None as yet, to run on this runtime. How much room they have the settings at the start say.
    pub(crate) fn new(
        runtime: Handle,
        pipeline: Arc<Pipeline>,
        communities: Arc<Communities>,
        config: &Config,
    ) -> Arc<Mirrors> {
        let (room, is_over, all) = (Arc::new(Room::new(config)), Arc::default(), Mutex::default());
        Arc::new(Mirrors { runtime, pipeline, communities, room, is_over, all })
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes by other settings from now on: ends mirrors that are no more or are different, and begins those that are
    /// new. What a community's rules refused before is asked about again.
    pub(crate) fn reconfigure(self: &Arc<Self>, config: &Config) {
        let mut all = self.all();
        all.followers.drain().for_each(|(_, task)| task.abort());
        let followed: Vec<CommunityId> = self
            .communities
            .iter()
            .filter(|community| community.settings().outbox.enabled)
            .map(|community| {
                let here = Arc::new(self.here(&community));
                let task = self.runtime.spawn(follow::run(Arc::clone(self), here)).abort_handle();
                all.followers.insert(community.id, task);
                community.id
            })
            .collect();
        all.running.retain(|one| one.role == Role::Configured || followed.contains(&one.community.id));
        let enabled = config.mirrors.iter().filter(|mirror| mirror.enabled);
        let wanted: Vec<(Mirror, Arc<Community>)> = enabled
            .filter_map(|mirror| Some((mirror.clone(), self.communities.at(&mirror.community)?)))
            .collect();
        self.settle(&mut all, |one| one.role == Role::Configured, wanted, Role::Configured, Reach::Anywhere);
        all.running.iter().for_each(|one| one.link.forget());
        all.lists.reconfigure(&self.runtime, &self.pipeline, &self.communities);
    }

    /// Has these mirrors of one role for a community, and no others.
    fn follow(&self, community: &Arc<Community>, role: Role, wanted: Vec<Mirror>, reach: Reach) {
        let wanted = wanted.into_iter().map(|mirror| (mirror, Arc::clone(community))).collect();
        let mut all = self.all();
        if all.followers.contains_key(&community.id) {
            let is_of = |one: &Running| one.role == role && one.community.id == community.id;
            self.settle(&mut all, is_of, wanted, role, reach);
        }
    }

    /// Relays of a community's members whose connections failed so often on end.
    fn failed(&self, community: &Community, failures_min: u64) -> Vec<String> {
        let all = self.all();
        let of_members =
            all.running.iter().filter(|one| one.role == Role::Outbox && one.community.id == community.id);
        let failed = of_members.filter(|one| one.link.failures() >= failures_min);
        failed.map(|one| one.settings.url.clone()).collect()
    }

    /// Keeps of some mirrors those that are wanted, ends the others, and begins what is missing.
    fn settle(
        &self,
        all: &mut All,
        is_of: impl Fn(&Running) -> bool,
        wanted: Vec<(Mirror, Arc<Community>)>,
        role: Role,
        reach: Reach,
    ) {
        let (mut old, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut all.running).into_iter().partition(is_of);
        all.running = kept;
        for (settings, community) in wanted {
            let is_same = |one: &Running| one.settings == settings && Arc::ptr_eq(&one.community, &community);
            let running = match old.iter().position(is_same) {
                Some(at) => old.swap_remove(at),
                None => self.begin(settings, community, &mut all.under_way, role, reach),
            };
            all.running.push(running);
        }
    }

    fn here(&self, community: &Arc<Community>) -> Here {
        Here {
            pipeline: Arc::clone(&self.pipeline),
            community: Arc::clone(community),
            is_over: Arc::clone(&self.is_over),
        }
    }

    fn begin(
        &self,
        settings: Mirror,
        community: Arc<Community>,
        under_way: &mut HashMap<CommunityId, Arc<UnderWay>>,
        role: Role,
        reach: Reach,
    ) -> Running {
        community.remember_passed_on();
        let under_way = Arc::clone(under_way.entry(community.id).or_default());
        let direction = role.as_str().map_or_else(|| settings.direction.to_string(), str::to_owned);
        let link =
            Link::new(community.path(), &settings.url, &direction, self.pipeline.clock.clone(), under_way);
        let task = Task {
            settings: settings.clone(),
            reach,
            here: Arc::new(self.here(&community)),
            link: Arc::clone(&link),
            room: Arc::clone(&self.room),
        };
        let task = self.runtime.spawn(run(task)).abort_handle();
        Running { role, settings, community, link, task }
    }

    /// How each stands.
    pub fn stats(&self) -> Vec<MirrorStats> {
        self.all().running.iter().map(|one| one.link.stats()).collect()
    }

    /// Ends all.
    pub(crate) fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = self.all();
        all.followers.drain().for_each(|(_, task)| task.abort());
        all.running.clear();
        all.lists.stop();
    }
}

/// Connects again and again.
async fn run(task: Task) {
    let (community, url) = (task.here.community.path().to_owned(), task.link.url().to_owned());
    let mut wait = WAIT_MIN;
    let mut is_told = false;
    loop {
        task.link.enter(Phase::Connecting);
        let began = Instant::now();
        let ended = talk::run(&task).await;
        task.link.enter(Phase::Waiting);
        task.link.note(ended.to_string());
        if began.elapsed() >= GOOD {
            (wait, is_told) = (WAIT_MIN, false);
        }
        if matches!(ended, Ended::Misbehaves(_)) {
            wait = WAIT_MAX;
        }
        // Who stays away is told of once.
        match is_told {
            false => tracing::warn!(community, mirror = url, "{ended}; it is tried again"),
            true => tracing::debug!(community, mirror = url, "{ended}"),
        }
        is_told = true;
        sleep(jittered(wait)).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

/// A wait between three quarters and five quarters of this, so that those who lost the same relay do not come back at
/// once.
fn jittered(wait: Duration) -> Duration {
    let chance: u16 = secp256k1::rand::random();
    wait * 3 / 4 + wait.mul_f64(f64::from(chance) / f64::from(u16::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_differ_and_stay_near() {
        let waits: Vec<Duration> = (0..100).map(|_| jittered(WAIT_MAX)).collect();
        assert!(waits.iter().all(|wait| (WAIT_MAX * 3 / 4..=WAIT_MAX * 5 / 4).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
}
