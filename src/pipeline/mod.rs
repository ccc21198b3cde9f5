//! What moves events: verify pool → writer → fan-out, and readers. Owns the threads. In: submissions and
//! queries. Out: answers into outboxes. Never parses the wire, never decides what a rule decides.

pub mod bodies;
pub(crate) mod by_hand;
mod disk;
mod explain;
pub(crate) mod fair;
mod fanout;
mod gathering;
pub(crate) mod groups;
mod learn;
mod lists;
pub mod log;
pub(crate) mod members;
pub mod memory;
mod plugins;
pub mod reader;
pub mod reconcile;
mod relate;
mod release;
mod retention;
mod room;
mod save;
mod search;
mod sets;
mod stage;
mod sweep;
mod trouble;
mod turns;
mod verify;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use tokio::sync::{Semaphore, oneshot};

use crate::admin::Decided;
use crate::clock::Clock;
use crate::community::{Change, Communities, Community, Traffic};
use crate::config::{self, Current};
use crate::event::{Event, Id, PublicKey, Verified};
use crate::index::Found;
use crate::memory::{Plan, rate_keys_max};
use crate::message;
use crate::meter::Meter;
use crate::outbox::{Frame, Listener};
use crate::plugin::Origin;
use crate::policy::superseded;
use crate::rate::Rates;
use crate::rule::Refusal;
use crate::store::{Group, Store, StoreError};

pub use by_hand::{Part, PassedOn};
pub use explain::explain;
pub(crate) use learn::{learn, read_lists};
pub(crate) use plugins::Desk;
pub use plugins::PluginError;
pub use room::Permits;

use bodies::Bodies;
use fair::{Fair, Source};
use fanout::Fanout;
pub(crate) use groups::Act;
use groups::StateChange;
use members::Invitation;
pub(crate) use members::{new_code, worn_out};
use memory::Memory;
use plugins::Desks;
use reader::{Reader, Readers};
use room::Passages;
use sets::Sets;
use verify::Verifier;
use writer::{Writer, WriterInput};

/// Groups of events that wait to be matched with live filters; when they are this many the writer waits.
const FANOUT_GROUPS_MAX: usize = 64;

/// Groups of events between the verify pool and their answers: one that is made durable, and the next one.
const GROUPS_UNDER_WAY: usize = 2;

/// What is said of an event that is held.
const HELD_SAID: &str = "held: others see it when it was looked at";

/// What became of a submitted event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Stored, and safe.
    Stored,
    /// The same, and only its author and moderators see it until a verdict comes.
    Held,
    /// Passed on to who listens; ephemeral events are not stored.
    PassedOn,
    /// It was carried out, as these words say; it is neither stored nor passed on.
    Done(String),
    /// It was stored before.
    Duplicate,
    /// A newer version of it is stored.
    Superseded,
    /// A plugin refused it, and its sender is told that it was taken.
    Feigned,
    /// A rule refused it, or the store failed.
    Refused(Refusal),
}

impl Outcome {
    /// Counts it among what a community was sent.
    pub(crate) fn count_in(&self, traffic: &Traffic) {
        let count = match self {
            Outcome::Stored | Outcome::Held => &traffic.stored,
            Outcome::PassedOn | Outcome::Done(_) => &traffic.passed_on,
            Outcome::Duplicate => &traffic.duplicates,
            Outcome::Superseded => &traffic.superseded,
            Outcome::Feigned | Outcome::Refused(_) => &traffic.refused,
        };
        count.add(1);
    }
}

/// Who is told what became of an event.
pub enum Reply {
    /// A connection gets `OK`.
    Listener(Arc<Listener>),
    /// A caller within the process gets its own number for the event, and the outcome.
    Channel(u64, Sender<(u64, Outcome)>),
    /// What brings events in by the relay's own doing hears of it, and has bounds of its own on how many.
    Feed(Arc<dyn Feed>),
    /// Whoever it was has an answer already.
    Answered,
}

/// Brings events in from elsewhere, such as a mirror.
pub trait Feed: Send + Sync {
    /// Hears what became of one. Called by threads of the pipeline, so it must be quick.
    fn hear(&self, id: &Id, outcome: &Outcome);
}

impl Reply {
    fn source(&self) -> Source {
        match self {
            Reply::Listener(listener) => Source::of(listener),
            Reply::Feed(feed) => Source::of_operator(Arc::as_ptr(feed).cast::<()>() as usize),
            Reply::Channel(..) | Reply::Answered => Source::OPERATOR,
        }
    }

    /// Tells the outcome.
    pub fn send(&self, id: &Id, outcome: Outcome) {
        match self {
            Reply::Listener(listener) => {
                let text = match outcome {
                    Outcome::Stored | Outcome::PassedOn | Outcome::Feigned => message::accepted(id, ""),
                    Outcome::Held => message::accepted(id, HELD_SAID),
                    Outcome::Done(words) => message::accepted(id, &words),
                    Outcome::Duplicate => message::accepted(id, "duplicate: already have this event"),
                    Outcome::Superseded => message::refused(id, &superseded()),
                    Outcome::Refused(refusal) => message::refused(id, &refusal),
                };
                listener.outbox.push(Frame::Text(text));
            }
            // Who no longer waits for the answer does not need it.
            Reply::Channel(number, sender) => drop(sender.send((*number, outcome))),
            Reply::Feed(feed) => feed.hear(id, &outcome),
            Reply::Answered => {}
        }
    }
}

/// An event on its way to the store. It passed all rules that need no signature.
pub struct Submission {
    /// Where it was sent.
    pub community: Arc<Community>,
    /// The event.
    pub event: Event,
    /// Who is told.
    pub reply: Reply,
    /// When it passed the rules that need no signature; `None` for what an operator brings, of which no rule
    /// is asked.
    pub admitted_at: Option<u64>,
    /// Where it came from, for plugins; `None` where none is asked.
    pub origin: Option<Box<Origin>>,
    /// Room in the bounds on what is under way, given back when the event is answered.
    pub permits: Permits,
}

/// State entries that are being changed.
pub(crate) struct StateChanging(Receiver<Result<(), StoreError>>);

impl StateChanging {
    /// Whether it is over, well or not.
    pub(crate) fn is_over(&self) -> bool {
        !self.0.is_empty()
    }
}

/// The running threads.
pub struct Pipeline {
    /// Bodies of stored events.
    pub bodies: Arc<Bodies>,
    /// Rate limits.
    pub rates: Arc<Rates>,
    /// What is measured.
    pub meter: Arc<Meter>,
    /// What tells the time.
    pub clock: Clock,
    /// Answers queries.
    pub readers: Readers,
    /// Bytes of events between socket and store.
    pub ingest_bytes: Arc<Semaphore>,
    disk: Arc<disk::Disk>,
    /// Whether there is room for more in memory.
    pub memory: Arc<Memory>,
    verify: Entrance,
    writer: Sender<WriterInput>,
    /// The log of the cluster, where there is one.
    pub log: Option<Arc<log::Log>>,
    sweeper: Option<sweep::Sweeper>,
    watch: Option<memory::Watch>,
    learner: Option<learn::Learner>,
    desks: Desks,
    verifiers: Vec<JoinHandle<()>>,
    searcher: Mutex<Option<search::Searcher>>,
    threads: Vec<JoinHandle<()>>,
}

/// Where events come in; the verify pool ends when this is gone.
struct Entrance(Arc<Fair<Submission>>);

impl Drop for Entrance {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A thread could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start a thread: {0}")]
pub struct StartError(#[from] std::io::Error);

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        StartError(std::io::Error::other(error))
    }
}

pub(crate) fn threads_or_cores(threads: usize) -> usize {
    match threads {
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get()),
        threads => threads,
    }
}

/// Ends the process when its thread panics: a relay without one of its threads would take events and
/// never answer. What was answered is safe, and a new process starts from it.
struct EndsWithThread;

impl Drop for EndsWithThread {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a thread of the pipeline panicked; the relay ends");
            std::process::abort();
        }
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _guard = EndsWithThread;
        run()
    })
}

/// What is sent to in place of the writer: in a cluster its log, from which all comes to the writer.
fn in_front_of(
    writer: Sender<WriterInput>,
    config: &config::Config,
    store: &Arc<Store>,
    communities: &Arc<Communities>,
) -> Result<(Sender<WriterInput>, Option<log::Started>), StartError> {
    let settings = &config.cluster;
    if settings.servers.is_empty() {
        log::leave(store)?;
        return Ok((writer, None));
    }
    let (inlet, input) = unbounded();
    let disk_free_bytes_min = config.store.disk_free_bytes_min;
    let start = log::Start { settings, disk_free_bytes_min, store, communities, input, writer };
    Ok((inlet, Some(log::Started::prepare(start)?)))
}

/// What a pipeline's threads do, before there are threads.
struct Stages {
    verifiers: Vec<Verifier>,
    writer: Writer,
    /// Where `[cluster]` says so.
    log: Option<log::Started>,
    fanout: Fanout,
    readers: Vec<Reader>,
}

impl Pipeline {
    /// Starts all threads.
    ///
    /// # Errors
    /// When the machine gives no more threads.
    pub fn start(
        current: &Arc<Current>,
        store: Arc<Store>,
        communities: Arc<Communities>,
        clock: Clock,
    ) -> Result<Pipeline, StartError> {
        let (mut pipeline, stages) =
            Pipeline::assemble(current, store, Arc::clone(&communities), clock, FANOUT_GROUPS_MAX)?;
        let Stages { verifiers, mut writer, log, fanout, readers } = stages;
        if let Some(log) = log {
            let (follower, moving) = log.run()?;
            writer.follower = Some(follower);
            pipeline.threads.extend(moving);
        }
        for verifier in verifiers {
            pipeline.verifiers.push(spawn("plaza-verify", move || stage::run(verifier))?);
        }
        let threads = &mut pipeline.threads;
        threads.push(spawn("plaza-writer", move || stage::run(writer))?);
        threads.push(spawn("plaza-fanout", move || stage::run(fanout))?);
        for reader in readers {
            threads.push(spawn("plaza-reader", move || stage::run(reader))?);
        }
        pipeline.sweeper = Some(sweep::Sweeper::start(
            Arc::clone(current),
            communities,
            pipeline.writer.clone(),
            pipeline.clock.clone(),
            Arc::clone(&pipeline.rates),
            Arc::clone(&pipeline.disk),
        )?);
        pipeline.watch = Some(memory::Watch::start(Arc::clone(&pipeline.memory))?);
        Ok(pipeline)
    }

    /// A pipeline that has no threads yet, and what they are to do. When so many groups wait to be matched with
    /// live filters the writer waits.
    fn assemble(
        current: &Arc<Current>,
        store: Arc<Store>,
        communities: Arc<Communities>,
        clock: Clock,
        fanout_groups_max: usize,
    ) -> Result<(Pipeline, Stages), StartError> {
        let config = current.get();
        let plan = Plan::of(&config);
        let (settings, ingest_bytes) = (plan.store(&config), plan.ingest_bytes);
        let bodies = Arc::new(Bodies::new(Arc::clone(&store), plan.body_cache_bytes));
        let sets = Arc::<Sets>::default();
        let memory =
            Arc::new(Memory::new(plan, Arc::clone(&bodies), Arc::clone(&communities), Arc::clone(&sets)));
        let rates = Arc::new(Rates::new(&config.rate, rate_keys_max(&config)));
        let meter = Arc::<Meter>::default();
        let disk = Arc::new(disk::Disk::new(Arc::clone(&store), config.store.disk_free_bytes_min));
        // What waits in these is bounded by the permits that each submission holds.
        let verify = Entrance(Arc::new(Fair::new()));
        let (writer, writer_input) = unbounded();
        let (writer, log) = in_front_of(writer, &config, &store, &communities)?;
        let passages = Arc::new(Passages::new(GROUPS_UNDER_WAY * config.store.group_events_max));
        let (fanout, fanout_input) = bounded(fanout_groups_max);
        let desks = Desks::new(writer.clone(), Arc::clone(&passages), clock.clone(), ingest_bytes);
        let verifier = |_| {
            let (input, passages) = (Arc::clone(&verify.0), Arc::clone(&passages));
            Verifier::new(input, writer.clone(), passages, Arc::clone(&rates))
        };
        let verifiers = (0..threads_or_cores(config.server.verify_threads)).map(verifier).collect();
        let saver = save::Saver::new(communities, Arc::clone(&store), &config.store);
        let writer_stage = Writer::new(
            writer_input,
            fanout,
            store,
            Arc::clone(&bodies),
            saver,
            Arc::clone(&meter),
            &settings,
        );
        let fanout = Fanout::new(fanout_input, clock.clone());
        let readers =
            Readers::new(Arc::clone(current), Arc::clone(&bodies), clock.clone(), Arc::clone(&meter), sets);
        let reader_threads = threads_or_cores(config.server.reader_threads);
        let reader_stages = (0..reader_threads).map(|_| readers.stage()).collect();
        let pipeline = Pipeline {
            log: log.as_ref().map(|log| Arc::clone(&log.log)),
            memory,
            watch: None,
            bodies,
            rates,
            meter,
            clock,
            readers,
            ingest_bytes: Arc::new(Semaphore::new(ingest_bytes)),
            disk,
            verify,
            writer,
            sweeper: None,
            learner: None,
            desks,
            verifiers: Vec::new(),
            searcher: Mutex::default(),
            threads: Vec::new(),
        };
        Ok((pipeline, Stages { verifiers, writer: writer_stage, log, fanout, readers: reader_stages }))
    }

    /// Hands over an event to be verified, placed, stored and passed on. The answer comes by its reply.
    /// Those of one connection take effect in the order in which they are handed over.
    pub fn submit(&self, submission: Submission) {
        let has_room = self.disk.admit(&submission.event).and_then(|()| self.memory.admit(&submission.event));
        if let Err(refusal) = has_room {
            submission.reply.send(&submission.event.id, Outcome::Refused(refusal));
            return;
        }
        self.verify.0.push(submission.reply.source(), submission);
    }

    /// Changes state entries of the process, durably, in turn with events, and waits until it is done.
    ///
    /// # Errors
    /// When the store cannot keep them.
    pub fn change_state(&self, state: Group) -> Result<(), StoreError> {
        let (changes, acts, now) = (Vec::new(), Vec::new(), 0);
        let done = self.begin_change_of_state(state, None, changes, acts, now);
        self.finish_change_of_state(&done)
    }

    /// Changes state entries without waiting: what tells that it is done. What moderators of a community decided with
    /// them, and do in its groups, holds from then on.
    pub(crate) fn begin_change_of_state(
        &self,
        state: Group,
        community: Option<Arc<Community>>,
        changes: Vec<Change>,
        acts: Vec<Act>,
        now: u64,
    ) -> StateChanging {
        let (done, finished) = bounded(1);
        let change = StateChange { state, community, changes, acts, now, done };
        // Told by the answer, which does not come either.
        let _ = self.writer.send(WriterInput::State(change));
        StateChanging(finished)
    }

    /// Has communities say what they have to say themselves, where that is not stored as it is: what groups are, who
    /// the members are, what is on their lists. Waits until it is done.
    pub(crate) fn refresh(&self, communities: impl Iterator<Item = Arc<Community>>) {
        for community in communities.filter(|community| community.signer().is_some()) {
            let (done, finished) = bounded(1);
            // The writer ends only after this sender.
            let _ = self.writer.send(WriterInput::Refresh(community, self.clock.now(), done));
            let _ = finished.recv();
        }
    }

    /// Makes a code for somebody to give away (NIP-43); `then` is given the event with it, or nothing when there is no
    /// room for one more.
    pub(crate) fn invite(
        &self,
        community: Arc<Community>,
        key: PublicKey,
        then: impl FnOnce(Option<Verified>) + Send + 'static,
    ) {
        let invitation = Invitation { community, key, now: self.clock.now(), then: Box::new(then) };
        // The writer ends only after this sender.
        let _ = self.writer.send(WriterInput::Invite(invitation));
    }

    /// Has the cluster's log take what a moderator decided, without waiting: what tells that it holds here.
    pub(crate) fn begin_decision(&self, mut decision: Decided) -> StateChanging {
        let (done, finished) = bounded(1);
        // Who no longer waits does not need the answer.
        decision.done = Some(Box::new(move |result| drop(done.send(result))));
        // Told by the answer, which does not come either.
        let _ = self.writer.send(WriterInput::Decide(decision));
        StateChanging(finished)
    }

    /// Waits until state entries are changed.
    ///
    /// # Errors
    /// When the store cannot keep them.
    pub(crate) fn finish_change_of_state(&self, changing: &StateChanging) -> Result<(), StoreError> {
        let stopped = || StoreError::Stopped { path: self.bodies.store().path().to_owned() };
        changing.0.recv().unwrap_or_else(|_| Err(stopped()))
    }

    /// Removes what expired or vanished now instead of at the next round, and waits until it is done.
    pub fn sweep_now(&self, community: &Arc<Community>) {
        let _ = self.begin_sweep(community).recv();
    }

    /// The same without waiting: told when it is done, and how many events it removed.
    pub(crate) fn begin_sweep(&self, community: &Arc<Community>) -> Receiver<usize> {
        let (done, finished) = bounded(1);
        let now = self.clock.now();
        let sweep = writer::Sweep { community: Arc::clone(community), now, events_max: usize::MAX, done };
        // The writer ends only after this sender.
        let _ = self.writer.send(WriterInput::Sweep(sweep));
        finished
    }

    /// Removes events that were found in a community's index, in one group, and waits until it is done; how many
    /// were still there, or `None` when the store failed. Nothing keeps them from coming again.
    pub fn remove(&self, community: &Arc<Community>, found: Vec<Found>) -> Option<usize> {
        let (done, finished) = bounded(1);
        let remove = writer::Remove { community: Arc::clone(community), found, done };
        self.writer.send(WriterInput::Remove(remove)).ok()?;
        finished.recv().ok()
    }

    /// Lets events go that are held for a verdict, and waits until it is done.
    pub(crate) fn release(&self, community: &Arc<Community>, ids: Vec<Id>) {
        let (done, finished) = bounded(1);
        let release = release::Release { community: Arc::clone(community), ids, done };
        if self.writer.send(WriterInput::Release(release)).is_ok() {
            let _ = finished.recv();
        }
    }

    /// Has every community learn from its stored events what its rules need, and keeps it learning. A relay does
    /// so before it serves; where no rules are asked, as by `plaza import`, nobody needs it.
    ///
    /// # Errors
    /// When the machine gives no more threads.
    pub fn start_learning(&mut self, communities: Arc<Communities>) -> Result<(), StartError> {
        self.learner = Some(learn::Learner::start(communities, Arc::clone(&self.bodies))?);
        Ok(())
    }

    /// Has all communities learn now what changed, instead of in a while, and waits until it is done.
    pub fn learn_now(&self) {
        if let Some(learner) = &self.learner {
            learner.learn_now();
        }
    }

    /// Has communities ask the plugins of their settings, from now on.
    ///
    /// # Errors
    /// When the machine gives no more threads; the inner one is of the first plugin that cannot be run, which is tried
    /// again later.
    pub fn ask_plugins(&self, communities: &Communities) -> Result<Result<(), PluginError>, StartError> {
        self.desks.reconfigure(communities)
    }

    /// The relay is stopping: plugins are asked nothing more, and what has no answer after a while gets none.
    pub(crate) fn hurry_plugins(&self, patience: std::time::Duration) {
        self.desks.hurry(patience);
    }

    /// Has the search indexes kept of all communities that search (NIP-50), from now on. Nothing is begun where none does.
    ///
    /// # Errors
    /// When the machine gives no more threads.
    pub fn start_searching(
        &self,
        current: &Arc<Current>,
        communities: &Arc<Communities>,
        store: &Arc<Store>,
    ) -> Result<(), StartError> {
        let mut searcher = self.searcher.lock().unwrap_or_else(PoisonError::into_inner);
        if searcher.is_none() && search::is_wanted(communities) {
            let (current, communities) = (Arc::clone(current), Arc::clone(communities));
            *searcher = Some(search::Searcher::start(current, communities, Arc::clone(store))?);
        }
        Ok(())
    }

    /// Whether the store has failed, and takes no events until the disk takes writes again.
    pub fn has_failed(&self) -> bool {
        self.bodies.store().has_failed()
    }

    /// Waits until the writer has come to what is sent to it now: proof that it still moves. `false` when it has
    /// ended.
    pub async fn writer_moves(&self) -> bool {
        let (ping, heard) = oneshot::channel();
        self.writer.send(WriterInput::Ping(ping)).is_ok() && heard.await.is_ok()
    }

    /// Finishes what is queued, then ends all threads.
    pub fn stop(mut self) {
        drop((self.sweeper.take(), self.learner.take(), self.watch.take()));
        let Pipeline { verify, writer, readers, threads, desks, verifiers, searcher, .. } = self;
        // Each stage ends when nobody can send to it any more, after its queue is empty.
        drop(verify);
        for thread in verifiers {
            // A thread that panics ends the process.
            let _ = thread.join();
        }
        desks.stop();
        drop(writer);
        readers.stop();
        for thread in threads {
            // A thread that panics ends the process.
            let _ = thread.join();
        }
        // It has had the last of what was stored by now, or reads it at the next start.
        drop(searcher);
    }
}
