//! The thread that has communities learn from their stored events, and read their blocklists, some time after
//! these changed. In: what is stale, from the communities; bodies, past their cache. Out: what their rules know.
//! Never decides what is learned.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::StartError;
use super::bodies::Bodies;
use crate::community::{Communities, Community};
use crate::domain::lists::Warning;
use crate::store::CommunityId;

/// How often the thread looks whether something is stale.
const TICK: Duration = Duration::from_millis(100);

/// How often the files of blocklists are looked at.
const LISTS_EVERY: Duration = Duration::from_secs(1);

/// Learning that takes long is done less often: it rests this many times as long as it took, so that it never
/// takes more than a tenth of one core.
const REST_FACTOR: u32 = 9;

/// The thread that learns; dropping this ends it.
pub(super) struct Learner {
    requests: Option<Sender<Sender<()>>>,
    thread: Option<JoinHandle<()>>,
}

/// A community, and when it may learn again.
struct Pupil {
    community: Arc<Community>,
    rests_until: Option<Instant>,
    lists_read: Option<Instant>,
}

/// Those that there are, each with what is known of it: communities come and go with the settings.
fn enrol(pupils: Vec<Pupil>, communities: &Communities) -> Vec<Pupil> {
    // Nearly always they are the same as at the last look.
    if communities.iter().map(|one| one.id).eq(pupils.iter().map(|pupil| pupil.community.id)) {
        return pupils;
    }
    let mut before: HashMap<CommunityId, Pupil> =
        pupils.into_iter().map(|pupil| (pupil.community.id, pupil)).collect();
    let pupil = |community: Arc<Community>| {
        let new = || Pupil { community: Arc::clone(&community), rests_until: None, lists_read: None };
        before.remove(&community.id).unwrap_or_else(new)
    };
    communities.iter().map(pupil).collect()
}

/// Has a community read its blocklists, if they changed, and tells what is wrong in them.
pub(crate) fn read_lists(community: &Community) {
    for Warning { list, line, problem } in community.read_lists() {
        let place = if line == 0 { list } else { format!("{list}:{line}") };
        tracing::warn!("{}: blocklist {place}: {problem}", community.path());
    }
}

/// Has a community learn from its stored events what its rules need and it does not know yet. An event that cannot
/// be read is left out, and logged.
pub(crate) fn learn(community: &Community, bodies: &Bodies) {
    let (mut failures, mut first) = (0_u64, None);
    community.learn(&mut |location| {
        bodies.event(community.id, location).unwrap_or_else(|error| {
            failures += 1;
            first.get_or_insert(error);
            None
        })
    });
    if let Some(error) = first {
        tracing::error!("{}: {failures} stored events could not be read: {error}", community.path());
    }
}

impl Pupil {
    fn learn(&mut self, bodies: &Bodies) {
        let Pupil { community, rests_until, .. } = self;
        let start = Instant::now();
        learn(community, bodies);
        let took = start.elapsed();
        let rest = Duration::from_secs(community.settings().trust.rebuild_seconds).max(took * REST_FACTOR);
        *rests_until = Some(Instant::now() + rest);
        tracing::debug!(community = community.path(), ?took, "learned from stored events");
    }

    fn read_lists(&mut self) {
        if self.community.has_lists() {
            read_lists(&self.community);
        }
        self.lists_read = Some(Instant::now());
    }

    fn lists_are_due(&self) -> bool {
        self.lists_read.is_none_or(|at| at.elapsed() >= LISTS_EVERY)
    }

    fn is_due(&self) -> bool {
        self.community.is_stale() && self.rests_until.is_none_or(|until| Instant::now() >= until)
    }
}

impl Learner {
    /// Has every community learn what its rules need, then starts the thread.
    pub(super) fn start(communities: Arc<Communities>, bodies: Arc<Bodies>) -> Result<Learner, StartError> {
        let mut pupils = enrol(Vec::new(), &communities);
        for pupil in
            pupils.iter_mut().filter(|pupil| pupil.community.is_stale() || pupil.community.has_lists())
        {
            pupil.read_lists();
            pupil.learn(&bodies);
        }
        let (requests, requested) = bounded::<Sender<()>>(1);
        let thread = super::spawn("plaza-learn", move || {
            loop {
                let request = requested.recv_timeout(TICK);
                if matches!(request, Err(RecvTimeoutError::Disconnected)) {
                    return;
                }
                pupils = enrol(std::mem::take(&mut pupils), &communities);
                for pupil in &mut pupils {
                    if pupil.lists_are_due() || request.is_ok() {
                        pupil.read_lists();
                    }
                    // Who asks does not want to wait for the rest.
                    if pupil.is_due() || request.is_ok() && pupil.community.is_stale() {
                        pupil.learn(&bodies);
                    }
                }
                if let Ok(done) = request {
                    let _ = done.send(());
                }
            }
        })?;
        Ok(Learner { requests: Some(requests), thread: Some(thread) })
    }

    /// Has everything learned that was answered until now, and waits for it.
    pub(super) fn learn_now(&self) {
        let (done, finished) = bounded(1);
        if self.requests.as_ref().is_some_and(|requests| requests.send(done).is_ok()) {
            let _ = finished.recv();
        }
    }
}

impl Drop for Learner {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
