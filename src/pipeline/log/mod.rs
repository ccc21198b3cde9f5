//! The log of a cluster: a stream of NATS JetStream in place of the queue in front of the writer (docs/cluster.md). In: what
//! would go to the writer. Out: the same from all nodes, in the stream's order, to each node's writer. Nothing
//! else in the house knows that there is a cluster; without `[cluster]` nothing of this runs.
//!
//! What is published waits here until the writer has come to it in the stream; only then is it answered.

mod apply;
mod entry;
mod heal;
mod inlet;
mod link;
mod rulebook;
mod voice;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

pub(super) use self::apply::{Follower, leave};
use self::entry::Taken;
use self::heal::Fallen;
pub use self::heal::Healing;
use self::inlet::Inlet;
use self::link::Link;
pub(super) use self::voice::Voice;
use super::writer::{Checked, WriterInput};
use super::{Outcome, StartError};
use crate::admin::Decided;
use crate::community::{Communities, Community, Rules};
use crate::config::{Cluster, Settings};
use crate::event::Id;
use crate::rule::{Prefix, Refusal};
use crate::store::{StateTable, Store};

/// What a node keeps of the log in its store: how far it is, and the settings that entries name.
const STATE: StateTable = StateTable(28);

/// Entries behind the end of the log from which on a node is not ready: those who connect find it out of date.
const BEHIND_MAX: u64 = 5_000;

/// By which rules an event is placed.
#[derive(Clone, Default)]
pub(super) enum Placing {
    /// By those of this process.
    #[default]
    Here,
    /// As the node that took it says.
    There {
        /// Where in the log it stands.
        position: u64,
        /// By these rules; `None` where that node's ask nothing about stored events.
        rules: Option<Arc<Rules>>,
        /// Whether it is held for a verdict.
        is_held: bool,
        /// In whose name the relay speaks of it.
        voice: Voice,
    },
}

impl Placing {
    /// Where in the log it stands.
    pub(super) fn position(&self) -> Option<u64> {
        match self {
            Placing::Here => None,
            Placing::There { position, .. } => Some(*position),
        }
    }

    /// The rules; `None` where none are asked.
    pub(super) fn rules(&self, community: &Community) -> Option<Arc<Rules>> {
        match self {
            Placing::Here => Some(community.rules()),
            Placing::There { rules, .. } => rules.clone(),
        }
    }

    /// Their settings.
    pub(super) fn settings(&self, community: &Community) -> Option<Arc<Settings>> {
        match self {
            Placing::Here => Some(community.settings()),
            Placing::There { rules, .. } => rules.as_ref().map(|rules| Arc::clone(&rules.settings)),
        }
    }

    /// Whether the community has groups (NIP-29).
    pub(super) fn has_groups(&self, community: &Community) -> bool {
        match self {
            Placing::Here => community.has_groups(),
            Placing::There { voice, .. } => voice.has_groups(),
        }
    }

    /// Whether the relay says who the community's members are (NIP-43).
    pub(super) fn has_members(&self, community: &Community) -> bool {
        match self {
            Placing::Here => community.has_members(),
            Placing::There { voice, .. } => voice.has_members(),
        }
    }

    /// Whether rules of an event that comes later may ask for what is gathered now.
    pub(super) fn may_ask_the_store(&self, community: &Community) -> bool {
        match self {
            Placing::Here => community.rules().policy.asks_the_store(),
            Placing::There { .. } => true,
        }
    }
}

/// Something that the writer does because the log says so.
pub(super) struct Entry {
    /// Where it stands in the log; `None` for what is passed on and not stored.
    at: Option<Place>,
    what: What,
    /// What it takes of the room for entries that wait for the writer.
    _room: Option<OwnedSemaphorePermit>,
}

/// Where an entry stands, and in which reading of the log it came.
#[derive(Debug, Clone, Copy)]
struct Place {
    position: u64,
    reading: u64,
}

/// What an entry says.
enum What {
    /// An event, as its node took it.
    Event(Box<Checked>, Taken),
    /// Events go, if they are there.
    Remove { community: Arc<Community>, ids: Vec<Id>, asker: Option<Asker> },
    /// Events are held no more. Told when it is so.
    Release { community: Arc<Community>, ids: Vec<Id>, done: Option<Sender<()>> },
    /// A moderator has decided, or people have themselves.
    Decide(Box<Decided>, Taken),
    /// The relay says what it has to say itself, where that is not stored as it is. Whether this node waits for it.
    Refresh { community: Arc<Community>, now: u64, taken: Taken, is_own: bool },
    /// Settings that entries after it name.
    Rules { digest: u64, text: String },
    /// The store says up to where it is; told when it does.
    Note(Sender<()>),
    /// Nothing for the writer.
    Nothing,
}

/// Who is told how many events are removed.
struct Asker {
    done: Sender<usize>,
    /// What earlier entries removed.
    before: usize,
    /// A sweep looks again in a while, and others are told of a failure by not being told.
    is_sweep: bool,
}

impl Asker {
    fn tell(self, removed: usize) {
        // Who no longer waits does not need the answer.
        let _ = self.done.send(self.before + removed);
    }

    fn fail(self) {
        if self.is_sweep {
            self.tell(0);
        }
    }
}

/// What waits until the writer has come to it.
enum Waiting {
    Event(Box<Checked>),
    Remove(Asker),
    Release(Sender<()>),
    Decide(Box<Decided>),
    Refresh(Arc<Community>, u64),
}

/// What is sent to the log.
enum Outbound {
    /// An entry: its number on this node, its subject, the id by which copies are known, and its bytes.
    Entry { number: u64, subject: String, message: String, bytes: Vec<u8> },
    /// An event that is not stored.
    Ephemeral { subject: String, bytes: Vec<u8> },
}

/// From where on the log is read. Replaced when the writer could not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    number: u64,
    after: u64,
}

/// How a node stands in its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// The node's name.
    pub node: String,
    /// Why it takes no events; `None` when it does.
    pub trouble: Option<String>,
    /// Up to where in the log its store is.
    pub position: u64,
    /// The log's first entry that is still kept.
    pub first: u64,
    /// The log's last entry, when it was last heard of.
    pub last: u64,
    /// What this node has published and not yet applied.
    pub waiting: u64,
    /// Entries that were read again.
    pub redelivered: u64,
    /// Times that the log was out of reach.
    pub outages: u64,
    /// Entries of nodes whose settings differ from this node's.
    pub other_settings: u64,
    /// Servers that have the log, with whether each is in step.
    pub servers: Vec<(String, bool)>,
    /// How it comes by a copy of another node, while it cannot follow without one.
    #[serde(default)]
    pub healing: Option<Healing>,
    /// The node that gets a copy of this one.
    #[serde(default)]
    pub giving: Option<String>,
    /// Attempts to fetch a copy that came to nothing.
    #[serde(default)]
    pub copies_failed: u64,
}

/// What is known of the log.
#[derive(Debug, Default)]
struct Health {
    /// Whether it answers.
    is_reached: bool,
    /// Why this node cannot follow it, until somebody does something.
    broken: Option<String>,
    /// Whether it cannot before its next start.
    is_halted: bool,
    first: u64,
    last: u64,
    servers: Vec<(String, bool)>,
    healing: Option<Healing>,
    giving: Option<String>,
    copies_failed: u64,
}

/// What the node has published.
#[derive(Default)]
struct Published {
    waiting: HashMap<u64, Waiting>,
    /// In order of their ends.
    deadlines: VecDeque<(Instant, u64)>,
}

/// The log, as this node sees it.
pub struct Log {
    settings: Cluster,
    /// Tells this process from all others, and from earlier ones of this node.
    process: u64,
    /// The stream's own mark: when it was made.
    stream: AtomicU64,
    health: Mutex<Health>,
    published: Mutex<Published>,
    applied: watch::Sender<u64>,
    reading: watch::Sender<Reading>,
    settings_changed: watch::Sender<u64>,
    /// What is wanted of a copy of another node, while this one cannot follow without.
    fallen: watch::Sender<Option<Fallen>>,
    /// Whether there is a store of such a copy, to be opened in place of this one.
    reopens: watch::Sender<bool>,
    redelivered: AtomicU64,
    outages: AtomicU64,
    other_settings: AtomicU64,
    /// Settings that this process has named in the log.
    named: Mutex<HashSet<u64>>,
    /// Where the relay has yet to look whether it has something to say itself, and as of when.
    unsaid: Mutex<Vec<(Arc<Community>, u64)>>,
    /// How often it is about to.
    saying: AtomicUsize,
    store: PathBuf,
}

/// Tells that nothing more will be published.
type Stop = watch::Sender<bool>;

impl Log {
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsaid(&self) -> MutexGuard<'_, Vec<(Arc<Community>, u64)>> {
        self.unsaid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is yet to be said, which is about to be from now on.
    fn unsaid_to_say(&self) -> Vec<(Arc<Community>, u64)> {
        let mut unsaid = self.unsaid();
        self.saying.fetch_add(unsaid.len(), Ordering::AcqRel);
        std::mem::take(&mut *unsaid)
    }

    /// Something of what the relay has to say is said, or will be tried again.
    fn has_said(&self) {
        self.saying.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether the relay has yet to say what it has to say itself.
    fn has_to_say(&self) -> bool {
        !self.unsaid().is_empty() || self.saying.load(Ordering::Acquire) > 0
    }

    /// How long what was published may take to come back.
    fn patience(&self) -> Duration {
        Duration::from_secs(self.settings.publish_seconds_max)
    }

    /// Whether settings are yet to be named in the log. From now on they count as named.
    fn name(&self, settings: u64) -> bool {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).insert(settings)
    }

    /// Settings that were named are known no more, or never were: their entry was lost.
    fn forgotten(&self, settings: u64) {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).remove(&settings);
    }

    /// Why nothing can be published now, if it cannot.
    fn refusal(&self) -> Option<Refusal> {
        let health = self.health();
        let sentence = match &health.broken {
            Some(_) => {
                "this node has lost its place in the cluster's log; use another one, its operator is told"
            }
            None if !health.is_reached => "the cluster's log is out of reach; try again later",
            None => return None,
        };
        Some(Refusal::new(Prefix::Error, "cluster.log", sentence))
    }

    /// Waits for an entry that is about to be published.
    fn expect(&self, number: u64, waiting: Waiting) {
        let mut published = self.published();
        published.waiting.insert(number, waiting);
        published.deadlines.push_back((Instant::now() + self.patience(), number));
    }

    fn take(&self, number: u64) -> Option<Waiting> {
        self.published().waiting.remove(&number)
    }

    /// Answers that it is not known whether an entry will count.
    fn give_up(&self, number: u64, rule: &'static str, sentence: &str) {
        match self.take(number) {
            Some(Waiting::Refresh(community, now)) => {
                self.unsaid().push((community, now));
                self.has_said();
            }
            Some(waiting) => {
                waiting.fail(Refusal::new(Prefix::Error, rule, sentence.to_owned()), &self.store);
            }
            None => {}
        }
    }

    /// Gives up what has waited too long; whether anything had.
    fn give_up_late(&self) -> bool {
        let now = Instant::now();
        let mut late = Vec::new();
        {
            let mut published = self.published();
            while let Some((until, number)) = published.deadlines.front().copied()
                && until <= now
            {
                published.deadlines.pop_front();
                late.push(number);
            }
            late.retain(|number| published.waiting.contains_key(number));
        }
        let sentence = "the cluster's log did not take this event in time; try again later";
        late.iter().for_each(|number| self.give_up(*number, "cluster.log", sentence));
        !late.is_empty()
    }

    fn waiting(&self) -> usize {
        self.published().waiting.len()
    }

    /// The log answers, or does not.
    fn reached(&self, is_reached: bool) {
        let was = std::mem::replace(&mut self.health().is_reached, is_reached);
        match (was, is_reached) {
            (true, false) => {
                self.outages.fetch_add(1, Ordering::Relaxed);
                tracing::error!("the cluster's log is out of reach: events are refused, and reads go on");
            }
            (false, true) => tracing::info!("the cluster's log is reached: events are taken"),
            _ => {}
        }
    }

    /// The node cannot follow the log, for this reason; or can again.
    fn broken(&self, why: Option<String>) {
        let mut health = self.health();
        if health.broken == why || health.is_halted {
            return;
        }
        match &why {
            Some(why) => tracing::error!("this node cannot follow the cluster's log: {why}"),
            None => tracing::info!("this node follows the cluster's log again"),
        }
        health.broken = why;
    }

    /// The node cannot follow the log as it is set, for this reason.
    fn halt(&self, why: String) {
        self.broken(Some(why));
        self.health().is_halted = true;
    }

    /// Whether the node takes events and has applied all that there was at the last look.
    fn is_at_its_end(&self) -> bool {
        self.refusal().is_none() && self.health().last <= *self.applied.borrow()
    }

    /// How the node stands.
    pub fn status(&self) -> ClusterStatus {
        let position = *self.applied.borrow();
        let waiting = self.waiting() as u64;
        let health = self.health();
        let out = || "the log is out of reach".to_owned();
        let heals = |why: &String| match &health.healing {
            Some(healing) => format!("{why}; {}", healing.words()),
            None => why.clone(),
        };
        ClusterStatus {
            node: self.settings.node.clone(),
            trouble: health.broken.as_ref().map(heals).or_else(|| (!health.is_reached).then(out)),
            position,
            first: health.first,
            last: health.last.max(position),
            waiting,
            redelivered: self.redelivered.load(Ordering::Relaxed),
            outages: self.outages.load(Ordering::Relaxed),
            other_settings: self.other_settings.load(Ordering::Relaxed),
            servers: health.servers.clone(),
            healing: health.healing.clone(),
            giving: health.giving.clone(),
            copies_failed: health.copies_failed,
        }
    }

    /// Why clients should go elsewhere, if they should.
    pub fn unready(&self) -> Option<&'static str> {
        let position = *self.applied.borrow();
        let health = self.health();
        if health.healing.is_some() {
            return Some(
                "this node fetches a copy of another one, as the cluster's log does not keep what it lacks\n",
            );
        }
        if health.broken.is_some() {
            return Some("this node cannot follow the cluster's log; see its log\n");
        }
        if !health.is_reached {
            return Some("the cluster's log is out of reach: events are refused, reads go on\n");
        }
        // A log begins with an entry of whoever begins it.
        if position == 0 || health.last > position + BEHIND_MAX {
            return Some("this node is catching up with the cluster's log\n");
        }
        drop(health);
        self.has_to_say().then_some("this node is about to say what groups and members there are\n")
    }

    /// Whether this node sends events to moderation services.
    pub(crate) fn asks_services(&self) -> bool {
        self.settings.asks_services
    }

    /// Returns when there is a store of another node's copy: the process is to stop, and to open its store again, which
    /// then is that one.
    pub async fn reopening(&self) {
        let mut reopens = self.reopens.subscribe();
        if reopens.wait_for(|reopens| *reopens).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Changes whenever a setting was changed by an entry of the log.
    pub(crate) fn settings_changed(&self) -> watch::Receiver<u64> {
        self.settings_changed.subscribe()
    }
}

impl Waiting {
    /// Answers that it does not count, or that nobody knows.
    fn fail(self, refusal: Refusal, store: &std::path::Path) {
        match self {
            Waiting::Event(checked) => {
                let outcome = Outcome::Refused(refusal);
                outcome.count_in(&checked.community.traffic);
                checked.reply.send(&checked.event.id, outcome);
            }
            Waiting::Remove(asker) => asker.fail(),
            Waiting::Release(done) => drop(done),
            Waiting::Decide(decision) => decision.refuse(store),
            // `Log::give_up` has it said later.
            Waiting::Refresh(..) => {}
        }
    }
}

/// What starts a log's threads.
pub(super) struct Start<'a> {
    pub(super) settings: &'a Cluster,
    /// Bytes of the disk that must be left.
    pub(super) disk_free_bytes_min: u64,
    pub(super) store: &'a Arc<Store>,
    pub(super) communities: &'a Arc<Communities>,
    /// What would go to the writer.
    pub(super) input: Receiver<WriterInput>,
    /// The writer.
    pub(super) writer: Sender<WriterInput>,
}

/// A log, and what moves it.
pub(super) struct Started {
    pub(super) log: Arc<Log>,
    pub(super) follower: Follower,
    inlet: Inlet,
    link: Link,
}

impl Started {
    /// Prepares a log: reads from the store where the node is in it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn prepare(start: Start<'_>) -> Result<Started, StartError> {
        let Start { settings, disk_free_bytes_min, store, communities, input, writer } = start;
        heal::clear(store.path())?;
        let stored = apply::Stored::read(store, &settings.name)?;
        let after = stored.position();
        let log = Arc::new(Log {
            settings: settings.clone(),
            process: secp256k1::rand::random(),
            stream: AtomicU64::new(0),
            health: Mutex::default(),
            published: Mutex::default(),
            applied: watch::Sender::new(after),
            reading: watch::Sender::new(Reading { number: 0, after }),
            settings_changed: watch::Sender::new(0),
            fallen: watch::Sender::new(None),
            reopens: watch::Sender::new(false),
            redelivered: AtomicU64::new(0),
            outages: AtomicU64::new(0),
            other_settings: AtomicU64::new(0),
            named: Mutex::default(),
            unsaid: Mutex::default(),
            saying: AtomicUsize::new(0),
            store: store.path().to_owned(),
        });
        let (outbound, to_send) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let known = stored.stream();
        if stored.has_left() {
            log.halt(format!(
                "its store was used without [cluster] meanwhile, so that it may differ from the others'; {}",
                link::REMEDY
            ));
        }
        let follower = Follower::new(Arc::clone(&log), stored);
        let inlet = Inlet::new(Arc::clone(&log), input, writer.clone(), outbound, stop);
        let link = Link {
            log: Arc::clone(&log),
            communities: Arc::clone(communities),
            store: Arc::clone(store),
            known,
            disk_free_bytes_min,
            to_send,
            writer,
            stopped,
        };
        Ok(Started { log, follower, inlet, link })
    }

    /// Starts the threads. They end when nobody can send to the writer any more.
    ///
    /// # Errors
    /// When the machine gives no more threads.
    pub(super) fn run(self) -> Result<(Follower, Vec<JoinHandle<()>>), StartError> {
        let Started { follower, inlet, link, .. } = self;
        let threads =
            vec![super::spawn("plaza-log", || inlet.run())?, super::spawn("plaza-cluster", || link.run())?];
        Ok((follower, threads))
    }
}
