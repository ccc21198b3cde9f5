//! The desks at which plugins are asked, one thread for each community that has some. In: events that proved true, in
//! the order in which the writer takes them up. Out: the same to the writer, what plugins accepted, those of one
//! connection in their order; answers to whom something was refused. What waits here holds up nobody else: it has left
//! the way from the verify pool to the writer, and may take only a part of the room for events under way.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select, unbounded};
use tokio::sync::oneshot;

use super::fair::Source;
use super::room::Passages;
use super::writer::{Checked, WriterInput};
use super::{Outcome, StartError, spawn};
use crate::clock::Clock;
use crate::community::{Communities, Community};
use crate::config;
use crate::event::Kind;
use crate::plugin::chain::{Chain, Coming, Effect, Health, Room};
use crate::plugin::counts::Counts;
use crate::plugin::process::{Heard, Name, Process, Sieve};
use crate::plugin::{Numbers, stopping, wire};
use crate::rule::Refusal;

/// The part of the room for events under way that all desks together share fairly, and the part beyond which none of it
/// is for what waits for plugins.
const SHARED_PART: usize = 8;
const MOST_PART: usize = 2;

/// What an event takes of it besides its bytes.
const EVENT_BYTES: usize = 512;

/// Lots of answers that wait to be taken up; a plugin that says more must wait.
const HEARD_MAX: usize = 64;

/// Events that are taken up before answers are looked at.
const TAKEN_AT_ONCE_MAX: usize = 256;

/// A plugin that ran for so long did not fail at its start.
const STEADY: Duration = Duration::from_secs(10);

/// How long a plugin rests that fails, the first time and at most.
const REST_MIN: Duration = Duration::from_millis(500);
const REST_MAX: Duration = Duration::from_secs(60);

/// How long plugins may take for their last answers when nobody said how long.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// How long it is waited for their end after that; they are killed before.
const LAST_WORDS: Duration = Duration::from_secs(5);

enum Input {
    Take(Box<Checked>),
    /// Other settings, and who is told which plugins cannot be run.
    Reconfigure(config::Plugins, Option<Sender<Option<PluginError>>>),
    /// Nothing more is taken; what has no answer by then gets none.
    Stop(Instant),
    End,
}

/// A plugin cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("{community}: the plugin {plugin} cannot be run: {reason}; see plugins.chain in relay.toml")]
pub struct PluginError {
    community: String,
    plugin: String,
    reason: std::io::Error,
}

type AllCounts = Arc<Mutex<Vec<(String, Arc<Counts>)>>>;

/// The way to a community's desk.
pub(crate) struct Desk {
    input: Sender<Input>,
    counts: AllCounts,
}

impl Desk {
    /// Hands over an event whose turn has come.
    pub(super) fn take(&self, checked: Checked) {
        if let Err(refused) = self.input.send(Input::Take(Box::new(checked)))
            && let Input::Take(checked) = refused.into_inner()
        {
            refuse(&checked, stopping());
        }
    }

    /// What is counted of each plugin, by names that are all different.
    pub(crate) fn numbers(&self) -> Vec<(String, Numbers)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut numbers: Vec<(String, Numbers)> = Vec::new();
        for (name, counts) in counts.iter() {
            let same = |number: usize| if number == 1 { name.clone() } else { format!("{name}-{number}") };
            let is_free = |name: &String| numbers.iter().all(|(other, _)| other != name);
            let name = (1..).map(same).find(is_free).unwrap_or_default();
            numbers.push((name, counts.numbers()));
        }
        numbers
    }
}

/// All desks.
pub(super) struct Desks {
    writer: Sender<WriterInput>,
    passages: Arc<Passages>,
    clock: Clock,
    ingest_bytes: usize,
    count: Arc<AtomicUsize>,
    threads: Mutex<Vec<(Arc<Community>, JoinHandle<()>)>>,
}

impl Desks {
    pub(super) fn new(
        writer: Sender<WriterInput>,
        passages: Arc<Passages>,
        clock: Clock,
        ingest_bytes: usize,
    ) -> Desks {
        let (count, threads) = (Arc::default(), Mutex::default());
        Desks { writer, passages, clock, ingest_bytes, count, threads }
    }

    /// Has each community ask the plugins of its settings, from now on. A desk that was opened stays, so that what is
    /// at it keeps its order. The inner error is of the first plugin that cannot be run; it is tried again later.
    ///
    /// # Errors
    /// When the machine gives no more threads.
    pub(super) fn reconfigure(
        &self,
        communities: &Communities,
    ) -> Result<Result<(), PluginError>, StartError> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = Vec::new();
        for community in communities.iter() {
            let plugins = community.settings().plugins.clone();
            if community.desk.get().is_none() {
                if plugins.chain.is_empty() {
                    continue;
                }
                threads.push((Arc::clone(&community), self.open(&community)?));
            }
            let (tell, result) = bounded(1);
            told.push(result);
            send(&community, Input::Reconfigure(plugins, Some(tell)));
        }
        for (community, _) in threads.iter() {
            if communities.at(community.path()).is_none() {
                send(community, Input::Reconfigure(config::Plugins::default(), None));
            }
        }
        let error = told.iter().find_map(|result| result.recv().ok().flatten());
        Ok(error.map_or(Ok(()), Err))
    }

    fn open(&self, community: &Arc<Community>) -> Result<JoinHandle<()>, StartError> {
        let (input, to_take) = unbounded();
        let counts = AllCounts::default();
        self.count.fetch_add(1, Ordering::SeqCst);
        let clerk = Clerk {
            community: Arc::clone(community),
            input: to_take,
            heard: bounded(HEARD_MAX),
            chain: Chain::new(),
            runners: Vec::new(),
            next_process: 0,
            not_gone: 0,
            writer: self.writer.clone(),
            passages: Arc::clone(&self.passages),
            clock: self.clock.clone(),
            ingest_bytes: self.ingest_bytes,
            desks: Arc::clone(&self.count),
            counts: Arc::clone(&counts),
            stop_at: None,
            sieve: Sieve::new(),
        };
        let thread = spawn("plaza-plugins", move || clerk.run())?;
        // There was none a moment ago, and who opens one holds the list of all.
        drop(community.desk.set(Desk { input, counts }));
        Ok(thread)
    }

    /// Takes nothing more in, and gives up after a while what has no answer then.
    pub(super) fn hurry(&self, patience: Duration) {
        let until = Instant::now() + patience;
        for (community, _) in self.threads.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            send(community, Input::Stop(until));
        }
    }

    /// Waits for the last answers, and for the end of all plugins. Nothing comes from the verify pool any more.
    pub(super) fn stop(self) {
        let threads = self.threads.into_inner().unwrap_or_else(PoisonError::into_inner);
        if threads.is_empty() {
            return;
        }
        // What the writer was sent is at the desks when it has come to this.
        let (ping, heard) = oneshot::channel();
        if self.writer.send(WriterInput::Ping(ping)).is_ok() {
            let _ = heard.blocking_recv();
        }
        threads.iter().for_each(|(community, _)| send(community, Input::End));
        for (_, thread) in threads {
            // A thread that panics ends the process.
            let _ = thread.join();
        }
    }
}

fn send(community: &Community, input: Input) {
    if let Some(desk) = community.desk.get() {
        // One that has ended needs to be told nothing.
        let _ = desk.input.send(input);
    }
}

fn refuse(checked: &Checked, refusal: Refusal) {
    checked.community.tally.refused(&refusal);
    answer(checked, Outcome::Refused(refusal));
}

fn answer(checked: &Checked, outcome: Outcome) {
    outcome.count_in(&checked.community.traffic);
    checked.reply.send(&checked.event.id, outcome);
}

/// A plugin's process, or why there is none.
enum Phase {
    Running {
        since: Instant,
    },
    /// It answers what it was asked, and then another one takes its place.
    Draining,
    /// It is about to be gone; then it is started anew, at once or after a rest.
    Ending {
        rests: bool,
    },
    Resting {
        until: Instant,
    },
}

struct Runner {
    phase: Phase,
    process: Option<Process>,
    /// The process that it waits to be gone.
    ending: Option<u64>,
    /// Times in a row that it ended soon after its start.
    failures: u32,
    /// Files that it is made of, and when they changed last.
    files: Vec<(PathBuf, Option<Stamp>)>,
}

/// Who works at a desk.
struct Clerk {
    community: Arc<Community>,
    input: Receiver<Input>,
    heard: (Sender<Heard>, Receiver<Heard>),
    chain: Chain<Box<Checked>>,
    /// One for each link of the chain.
    runners: Vec<Runner>,
    next_process: u64,
    /// Processes that were told to end and may still be there.
    not_gone: usize,
    writer: Sender<WriterInput>,
    passages: Arc<Passages>,
    clock: Clock,
    ingest_bytes: usize,
    desks: Arc<AtomicUsize>,
    counts: AllCounts,
    stop_at: Option<Instant>,
    /// Of what it says of the plugins' nonsense.
    sieve: Sieve,
}

impl Clerk {
    fn run(mut self) {
        let mut is_ending = false;
        loop {
            let timeout = self.next_due().map(|due| due.saturating_duration_since(Instant::now()));
            let timeout = timeout.unwrap_or(Duration::from_secs(3_600));
            let (input, heard) = (self.input.clone(), self.heard.1.clone());
            select! {
                recv(input) -> came => is_ending |= self.take_up(came.ok()),
                recv(heard) -> came => came.into_iter().for_each(|heard| self.hear(heard)),
                default(timeout) => {}
            }
            self.chain.tick(Instant::now());
            self.perform();
            self.look_after();
            self.perform();
            let is_over = self.stop_at.is_some_and(|at| at <= Instant::now());
            if is_over {
                self.chain.cut();
                self.perform();
            }
            if is_ending && self.chain.is_empty() {
                break;
            }
        }
        self.end_all();
    }

    fn next_due(&self) -> Option<Instant> {
        let rests = self.runners.iter().filter_map(|runner| match runner.phase {
            Phase::Resting { until } => Some(until),
            _ => None,
        });
        let stop_at = self.stop_at.filter(|_| !self.chain.is_empty());
        rests.chain(self.chain.next_due()).chain(stop_at).min()
    }

    /// Takes up what is there; whether this is the end.
    fn take_up(&mut self, first: Option<Input>) -> bool {
        self.look_for_changes();
        let mut next = first;
        let mut is_ending = next.is_none();
        let mut taken = 0;
        while let Some(input) = next.take() {
            let now = Instant::now();
            match input {
                Input::Take(checked) => self.enter(checked, now),
                Input::Reconfigure(plugins, tell) => {
                    let error = self.reconfigure(&plugins, now);
                    tell.into_iter().for_each(|tell| drop(tell.send(error_of(&error))));
                    if let Some(error) = error {
                        tracing::error!("{error}");
                    }
                }
                Input::Stop(at) => {
                    self.stop_at = Some(at);
                    self.chain.stop();
                }
                Input::End => {
                    is_ending = true;
                    self.stop_at.get_or_insert(now + LAST_ANSWERS);
                }
            }
            taken += 1;
            next = if taken < TAKEN_AT_ONCE_MAX { self.input.try_recv().ok() } else { None };
        }
        is_ending
    }

    fn enter(&mut self, mut checked: Box<Checked>, now: Instant) {
        // It is not in front of the writer any more.
        checked.permits.leave();
        let desks = self.desks.load(Ordering::SeqCst).max(1);
        let all = self.ingest_bytes / desks;
        let room = Room { shared: all / SHARED_PART, most: all / MOST_PART };
        let source: Source = checked.reply.source();
        let is_exempt = checked.origin.is_none() || checked.event.kind == Kind::VANISH;
        let (id, kind, bytes) = (checked.event.id, checked.event.kind, checked.body.len() + EVENT_BYTES);
        self.chain.enter(Coming { work: checked, source, id, kind, bytes, is_exempt }, room, now);
    }

    fn reconfigure(&mut self, plugins: &config::Plugins, now: Instant) -> Option<PluginError> {
        let came_from = self.chain.reconfigure(plugins, now);
        let mut old: Vec<Option<Runner>> = std::mem::take(&mut self.runners).into_iter().map(Some).collect();
        self.runners = came_from
            .iter()
            .zip(&plugins.chain)
            .map(|(from, plugin)| from.and_then(|at| old[at].take()).unwrap_or_else(|| Runner::new(plugin)))
            .collect();
        for runner in old.into_iter().flatten() {
            self.not_gone += usize::from(runner.process.is_some());
            runner.process.into_iter().for_each(Process::end);
        }
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = self
            .chain
            .plugins()
            .map(|(plugin, counts)| (plugin.name().to_owned(), Arc::clone(counts)))
            .collect();
        let mut error = None;
        for (at, from) in came_from.iter().enumerate() {
            if from.is_none() {
                error = error.or(self.start(at, now).err());
            }
        }
        error
    }

    fn name(&self, at: usize) -> Name {
        let plugin = self.chain.plugins().nth(at).map_or("", |(plugin, _)| plugin.name());
        Name { community: self.community.path().into(), plugin: plugin.into() }
    }

    /// Starts a plugin; one that cannot be run rests.
    fn start(&mut self, at: usize, now: Instant) -> Result<(), PluginError> {
        let name = self.name(at);
        let Some((plugin, counts)) = self.chain.plugins().nth(at) else { return Ok(()) };
        counts.started.add(1);
        self.next_process += 1;
        self.runners[at].files.iter_mut().for_each(|(file, changed)| *changed = changed_at(file));
        match Process::start(plugin, self.next_process, &name, &self.heard.0) {
            Ok(process) => {
                tracing::info!(community = %name.community, plugin = %name.plugin, "a plugin is started");
                self.runners[at].process = Some(process);
                self.runners[at].phase = Phase::Running { since: now };
                self.chain.set_health(at, Health::Ready, now);
                Ok(())
            }
            Err(reason) => {
                self.rest(at, now);
                let (community, plugin) = (name.community.to_string(), name.plugin.to_string());
                Err(PluginError { community, plugin, reason })
            }
        }
    }

    fn rest(&mut self, at: usize, now: Instant) {
        let runner = &mut self.runners[at];
        let rest = REST_MIN.saturating_mul(1 << runner.failures.min(16)).min(REST_MAX);
        runner.failures += 1;
        runner.phase = Phase::Resting { until: now + rest };
        self.chain.set_health(at, Health::Dead, now);
    }

    /// A plugin has failed: what it was asked has no answer, and it is started anew when it is gone.
    fn fail(&mut self, at: usize, now: Instant) {
        let runner = &mut self.runners[at];
        let Some(process) = runner.process.take() else { return };
        let lived = match runner.phase {
            Phase::Running { since } => now.duration_since(since),
            _ => STEADY,
        };
        if lived >= STEADY {
            runner.failures = 0;
        }
        runner.phase = Phase::Ending { rests: lived < STEADY };
        runner.ending = Some(process.number);
        self.not_gone += 1;
        process.end();
        self.chain.set_health(at, Health::Awaited, now);
        self.chain.lose(at, now);
    }

    fn hear(&mut self, heard: Heard) {
        let now = Instant::now();
        let at = |number: u64, runners: &[Runner]| {
            runners.iter().position(|runner| {
                runner.process.as_ref().is_some_and(|process| process.number == number)
                    || runner.ending == Some(number)
            })
        };
        match heard {
            Heard::Answers(number, answers) => {
                let Some(at) = at(number, &self.runners) else { return };
                for answer in answers {
                    match answer {
                        Ok(answer) => self.chain.answer(at, answer, now),
                        Err(nonsense) => self.note_nonsense(at, &nonsense),
                    }
                }
            }
            Heard::Closed(number) => {
                if let Some(at) = at(number, &self.runners) {
                    self.fail(at, now);
                }
            }
            Heard::Gone(number, status) => {
                self.not_gone -= 1;
                let Some(at) = at(number, &self.runners) else { return };
                let Name { community, plugin } = self.name(at);
                tracing::warn!(%community, %plugin, "a plugin has ended: {status}");
                self.runners[at].ending = None;
                match self.runners[at].phase {
                    Phase::Ending { rests: true } => self.rest(at, now),
                    _ => self.start_again(at, now),
                }
            }
        }
    }

    fn note_nonsense(&mut self, at: usize, nonsense: &str) {
        let Name { community, plugin } = self.name(at);
        if let Some((_, counts)) = self.chain.plugins().nth(at) {
            counts.nonsense.add(1);
        }
        let (is_admitted, left_out) = self.sieve.admits();
        if left_out > 0 {
            tracing::warn!(%community, "{left_out} more lines of plugins that are no answers are left out");
        }
        if is_admitted {
            tracing::warn!(%community, %plugin, "a plugin says what is no answer: {nonsense}");
        }
    }

    fn start_again(&mut self, at: usize, now: Instant) {
        if self.stop_at.is_some() {
            return self.chain.set_health(at, Health::Dead, now);
        }
        if let Err(error) = self.start(at, now) {
            tracing::error!("{error}");
        }
    }

    /// A plugin whose files have changed is started anew before more is asked of it.
    fn look_for_changes(&mut self) {
        let now = Instant::now();
        for at in 0..self.runners.len() {
            let runner = &mut self.runners[at];
            let has_changed = runner.files.iter().any(|(file, changed)| changed_at(file) != *changed);
            match runner.phase {
                Phase::Running { .. } if has_changed => {
                    runner.phase = Phase::Draining;
                    self.chain.set_health(at, Health::Awaited, now);
                }
                Phase::Resting { .. } if has_changed => {
                    runner.failures = 0;
                    runner.phase = Phase::Resting { until: now };
                }
                _ => {}
            }
        }
    }

    /// Starts and ends plugins whose time has come.
    fn look_after(&mut self) {
        let now = Instant::now();
        for at in 0..self.runners.len() {
            let is_asked = self.chain.is_asked(at);
            let runner = &mut self.runners[at];
            match runner.phase {
                Phase::Draining if !is_asked => {
                    runner.phase = Phase::Ending { rests: false };
                    if let Some(process) = runner.process.take() {
                        runner.ending = Some(process.number);
                        self.not_gone += 1;
                        process.end();
                    }
                }
                Phase::Resting { until } if until <= now => self.start_again(at, now),
                _ => {}
            }
        }
    }

    /// Does what the chain says.
    fn perform(&mut self) {
        let mut accepted = Vec::new();
        loop {
            let effects = self.chain.effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.do_one(effect, &mut accepted);
            }
        }
        if !accepted.is_empty() {
            // The writer ends only after this sender is gone.
            let _ = self.writer.send(WriterInput::Asked(accepted));
        }
    }

    fn do_one(&mut self, effect: Effect<Box<Checked>>, accepted: &mut Vec<Checked>) {
        match effect {
            Effect::Ask(at, ticket) => self.ask(at, ticket),
            Effect::Pass(mut checked) => {
                checked.permits.pass(self.passages.enter());
                accepted.push(*checked);
            }
            Effect::Refuse(checked, refusal) => refuse(&checked, refusal),
            Effect::Feign(checked) => answer(&checked, Outcome::Feigned),
            Effect::Shadowed(refusal) => self.community.would_refuse(&refusal),
            Effect::Hangs(at) => {
                let Name { community, plugin } = self.name(at);
                tracing::warn!(%community, %plugin, "a plugin does not answer in time; it is started anew");
                self.fail(at, Instant::now());
            }
        }
    }

    fn ask(&mut self, at: usize, ticket: u64) {
        let Some(checked) = self.chain.work(ticket) else { return };
        let Some(origin) = &checked.origin else { return };
        let received_at = checked.admitted_at.unwrap_or_else(|| self.clock.now());
        let line = wire::request(&checked.body, received_at, origin);
        let takes = self.runners[at].process.as_ref().is_some_and(|process| process.ask(line));
        if !takes {
            self.fail(at, Instant::now());
        }
    }

    /// Ends all plugins, and waits for it.
    fn end_all(mut self) {
        for runner in std::mem::take(&mut self.runners) {
            self.not_gone += usize::from(runner.process.is_some());
            runner.process.into_iter().for_each(Process::end);
        }
        let until = Instant::now() + LAST_WORDS;
        while self.not_gone > 0 {
            match self.heard.1.recv_deadline(until) {
                Ok(Heard::Gone(..)) => self.not_gone -= 1,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    tracing::error!(community = self.community.path(), "a plugin could not be ended");
                    break;
                }
            }
        }
    }
}

impl Runner {
    fn new(plugin: &config::Plugin) -> Runner {
        let files = plugin.files().into_iter().map(|file| (file, None)).collect();
        Runner { phase: Phase::Ending { rests: false }, process: None, ending: None, failures: 0, files }
    }
}

/// What is different of a file that was changed or replaced.
type Stamp = (u64, i64, i64, u64);

#[cfg(unix)]
fn changed_at(file: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = file.metadata().ok()?;
    Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
}

#[cfg(not(unix))]
fn changed_at(file: &Path) -> Option<Stamp> {
    file.metadata().ok().map(|metadata| (0, 0, 0, metadata.len()))
}

fn error_of(error: &Option<PluginError>) -> Option<PluginError> {
    error.as_ref().map(|PluginError { community, plugin, reason }| PluginError {
        community: community.clone(),
        plugin: plugin.clone(),
        reason: std::io::Error::new(reason.kind(), reason.to_string()),
    })
}
