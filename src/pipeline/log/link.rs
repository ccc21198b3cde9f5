//! Speaks to NATS for the log, but for copies of whole stores (`heal/`), which it starts. In: what this node publishes.
//! Out: what all nodes have published, in order, to the writer; and whether the log is reached. One thread with a runtime
//! of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, StorageType, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions};
use bytes::Bytes;
use crossbeam_channel::Sender;
use futures_util::{Stream as _, StreamExt as _};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::entry::{Base, Origin, Said, Unreadable, decode, encode};
use super::heal::{Fallen, Giver, Healer};
use super::{Entry, Log, Outbound, Place, Reading, Waiting, What, rulebook};
use crate::admin::Decided;
use crate::community::Communities;
use crate::event::Checker;
use crate::memory::LOG_AHEAD_BYTES_MAX;
use crate::nats::Keys;
use crate::pipeline::writer::{Checked, WriterInput};
use crate::pipeline::{Outcome, Permits, Reply};
use crate::store::{Store, record};

/// What to do with a node that cannot follow the log.
pub(super) const REMEDY: &str =
    "restore a backup of another node into a new folder, and start this node on it (docs/cluster.md)";

/// How often the log is asked how it is.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// How long it may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Until something that failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Bytes of entries that wait for the writer, and of those that have come and are not read.
const AHEAD_BYTES_MAX: usize = LOG_AHEAD_BYTES_MAX;

/// What each of them takes beside its bytes, about.
const ENTRY_BYTES: usize = 512;

/// Entries that one request asks the server for.
const BATCH_ENTRIES: usize = 500;

/// After this time without a word from who reads the server forgets where it was.
const READER_KEPT: Duration = Duration::from_secs(60);

/// In this time the server knows the ids of what was published.
const COPIES_KNOWN: Duration = Duration::from_secs(120);

pub(super) struct Link {
    pub(super) log: Arc<Log>,
    pub(super) communities: Arc<Communities>,
    pub(super) store: Arc<Store>,
    /// The stream in which the store has its place, if it has one.
    pub(super) known: Option<u64>,
    /// Bytes of the disk that must be left.
    pub(super) disk_free_bytes_min: u64,
    pub(super) to_send: mpsc::UnboundedReceiver<Outbound>,
    pub(super) writer: Sender<WriterInput>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// Why the log is not followed at this moment.
#[derive(Debug, thiserror::Error)]
enum Halt {
    /// It will be again.
    #[error("{0}")]
    Away(String),
    /// Somebody must do something.
    #[error("{0}")]
    Broken(String),
    /// It needs a copy of another node.
    #[error("{0}")]
    Fallen(String, Fallen),
    /// The writer asked for an earlier part.
    #[error("it is read again")]
    Again,
}

fn away(error: impl std::fmt::Display) -> Halt {
    Halt::Away(error.to_string())
}

impl Link {
    pub(super) fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.serve()),
            Err(error) => panic!("cannot speak to the cluster: {error}"),
        }
    }

    async fn serve(self) {
        let Link { log, communities, store, known, disk_free_bytes_min, to_send, writer, mut stopped } = self;
        let client = tokio::select! {
            client = connect(&log) => client,
            _ = stopped.changed() => return,
        };
        let patience = log.patience();
        let context = ContextBuilder::new().timeout(patience).ack_timeout(patience).build(client.clone());
        let publisher = Publisher {
            log: Arc::clone(&log),
            context: context.clone(),
            communities: Arc::clone(&communities),
        };
        let free_bytes_min = disk_free_bytes_min;
        let giver = Giver {
            log: Arc::clone(&log),
            client: client.clone(),
            store: Arc::clone(&store),
            writer: writer.clone(),
            free_bytes_min,
            given: None,
        };
        let healer = Healer {
            log: Arc::clone(&log),
            client: client.clone(),
            store: Arc::clone(&store),
            free_bytes_min,
            communities: Arc::clone(&communities),
        };
        let copies = async {
            match log.settings.heals_from_peers {
                true => drop(tokio::join!(giver.run(), healer.run())),
                false => std::future::pending().await,
            }
        };
        let reader = Reader {
            log: Arc::clone(&log),
            context: context.clone(),
            client: client.clone(),
            communities,
            store,
            known,
            writer,
            room: Arc::new(Semaphore::new(AHEAD_BYTES_MAX)),
            checker: Checker::default(),
        };
        let late = async {
            loop {
                sleep(Duration::from_millis(100)).await;
                if log.give_up_late() {
                    // Whether it is gone is found out by the next look.
                    log.reached(false);
                }
            }
        };
        tokio::select! {
            () = publisher.run(to_send, client) => {}
            () = reader.run() => {}
            () = probe(&log, &context) => {}
            () = late => {}
            () = copies => {}
            _ = stopped.changed() => {}
        }
    }
}

/// Connects, and stays connected.
async fn connect(log: &Arc<Log>) -> Client {
    let settings = &log.settings;
    loop {
        let heard = Arc::clone(log);
        let options = ConnectOptions::new()
            .name(format!("plaza {}", settings.node))
            .retry_on_initial_connect()
            .subscription_capacity(2 * BATCH_ENTRIES)
            .ping_interval(Duration::from_secs(2))
            .connection_timeout(ANSWER_TIME)
            .request_timeout(Some(ANSWER_TIME))
            .reconnect_delay_callback(|attempts| PAUSE.min(Duration::from_millis(50 * attempts as u64)))
            .event_callback(move |event| {
                let log = Arc::clone(&heard);
                async move {
                    match event {
                        async_nats::Event::Disconnected => log.reached(false),
                        async_nats::Event::ServerError(error) => tracing::warn!("the cluster's log: {error}"),
                        async_nats::Event::ClientError(error) => {
                            tracing::debug!("the cluster's log: {error}")
                        }
                        _ => {}
                    }
                }
            });
        let files = [&settings.password_file, &settings.tls_ca, &settings.tls_certificate, &settings.tls_key];
        let keys = Keys { user: &settings.user, files: files.map(Option::as_deref) };
        let options = match keys.add_to(options).await {
            Ok(options) => options,
            Err(error) => {
                tracing::error!("cannot connect to the cluster's log: {error}");
                sleep(PAUSE).await;
                continue;
            }
        };
        match options.connect(settings.servers.clone()).await {
            Ok(client) => return client,
            Err(error) => {
                tracing::error!("cannot connect to the cluster's log: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

fn stream_name(log: &Log) -> String {
    format!("{}-log", log.settings.name)
}

/// Asks from time to time how the log is.
async fn probe(log: &Arc<Log>, context: &Context) {
    loop {
        let asked = timeout(ANSWER_TIME, async {
            context.get_stream_no_info(stream_name(log)).await.ok()?.get_info().await.ok()
        });
        match asked.await.ok().flatten() {
            Some(info) => {
                note(log, &info);
                let has_leader = info.cluster.as_ref().is_none_or(|cluster| {
                    let others = cluster.replicas.len();
                    let seen =
                        cluster.replicas.iter().filter(|peer| !peer.offline && peer.active < 4 * ANSWER_TIME);
                    // Who leads without the others cannot store anything.
                    cluster.leader.is_some() && (seen.count() + 1) * 2 > others + 1
                });
                log.reached(has_leader);
            }
            None => log.reached(false),
        }
        sleep(PROBE_EVERY).await;
    }
}

fn note(log: &Log, info: &Info) {
    let mut health = log.health();
    health.first = info.state.first_sequence;
    health.last = info.state.last_sequence;
    let cluster = info.cluster.iter();
    let servers = cluster.flat_map(|cluster| {
        let leader = cluster.leader.iter().map(|leader| (leader.clone(), true));
        leader.chain(cluster.replicas.iter().map(|peer| (peer.name.clone(), peer.current && !peer.offline)))
    });
    health.servers = servers.collect();
}

/// Sends what is to be sent, one after the other, without waiting for answers in between.
struct Publisher {
    log: Arc<Log>,
    context: Context,
    communities: Arc<Communities>,
}

impl Publisher {
    async fn run(self, mut to_send: mpsc::UnboundedReceiver<Outbound>, client: Client) {
        while let Some(outbound) = to_send.recv().await {
            match outbound {
                Outbound::Ephemeral { subject, bytes } => {
                    if let Err(error) = client.publish(subject, bytes.into()).await {
                        tracing::debug!("an ephemeral event reaches no other node: {error}");
                    }
                }
                Outbound::Entry { number, subject, message, bytes } => {
                    let publish = PublishMessage::build().payload(bytes.clone().into()).message_id(message);
                    match self.context.send_publish(subject.clone(), publish).await {
                        Ok(ack) => self.hear(number, subject, bytes, ack),
                        Err(error) => refused(&self.log, number, &error),
                    }
                }
            }
        }
        // Nobody sends any more; the stop tells when all is answered.
        std::future::pending::<()>().await;
    }

    /// Hears the answer when it comes.
    fn hear(&self, number: u64, subject: String, bytes: Vec<u8>, ack: PublishAckFuture) {
        let (log, context, communities) =
            (Arc::clone(&self.log), self.context.clone(), Arc::clone(&self.communities));
        tokio::spawn(async move {
            match ack.await {
                // The writer answers when it comes to it.
                Ok(ack) if !ack.duplicate => {}
                Ok(ack) => copied(&log, &context, &communities, number, ack.sequence, subject, bytes).await,
                Err(error) => refused(&log, number, &error),
            }
        });
    }
}

fn refused(log: &Log, number: u64, error: &jetstream::context::PublishError) {
    tracing::warn!("the cluster's log did not take an entry: {error}");
    if error.kind() == jetstream::context::PublishErrorKind::MaxPayloadExceeded {
        let sentence = "it is larger than the cluster's log takes";
        return log.give_up(number, "cluster.entry_bytes", sentence);
    }
    log.give_up(number, "cluster.log", "the cluster's log did not take this event; try again later");
}

/// The server had this event a moment ago, by this node or another one. Once the writer is past that copy it tells what
/// became of it; what was refused then, or has gone since, is published under an id of its own: what was wrong
/// may be right now.
async fn copied(
    log: &Arc<Log>,
    context: &Context,
    communities: &Communities,
    number: u64,
    sequence: u64,
    subject: String,
    bytes: Vec<u8>,
) {
    let mut applied = log.applied.subscribe();
    let is_past = {
        let waited = timeout(log.patience(), applied.wait_for(|applied| *applied >= sequence)).await;
        matches!(waited, Ok(Ok(_)))
    };
    if !is_past {
        return log.give_up(number, "cluster.log", "the cluster's log is far behind; try again later");
    }
    let Ok((_, Said::Event { community, .. })) = decode(&bytes) else { return };
    let Some(community) = communities.at(community) else { return };
    let Some(Waiting::Event(checked)) = log.take(number) else { return };
    if community.index().contains(&checked.event.id) {
        Outcome::Duplicate.count_in(&community.traffic);
        return checked.reply.send(&checked.event.id, Outcome::Duplicate);
    }
    log.expect(number, Waiting::Event(checked));
    let message = format!("{:x}-{number}-again", log.process);
    let publish = PublishMessage::build().payload(bytes.into()).message_id(message);
    let again = async { context.send_publish(subject, publish).await?.await };
    if let Err(error) = again.await {
        refused(log, number, &error);
    }
}

/// Reads the log from where the writer is.
struct Reader {
    log: Arc<Log>,
    context: Context,
    client: Client,
    communities: Arc<Communities>,
    store: Arc<Store>,
    known: Option<u64>,
    writer: Sender<WriterInput>,
    room: Arc<Semaphore>,
    checker: Checker,
}

/// What was read, or that the writer wants another part.
async fn next_of(messages: &mut pull::Stream, live: &mut async_nats::Subscriber) -> Option<Read> {
    std::future::poll_fn(|cx| {
        // Ephemeral events are few, and late ones are of no use to anybody.
        if let std::task::Poll::Ready(Some(message)) = live.poll_next_unpin(cx) {
            return std::task::Poll::Ready(Some(Read::Live(message.payload)));
        }
        Pin::new(&mut *messages)
            .poll_next(cx)
            .map(|message| message.map(|message| Read::Stored(message.map(Box::new))))
    })
    .await
}

enum Read {
    Live(Bytes),
    Stored(Result<Box<jetstream::Message>, pull::MessagesError>),
}

/// Whether a store holds anything.
pub(super) fn has_events(communities: &Communities, store: &Store) -> bool {
    communities.in_memory().any(|community| {
        !community.index().is_empty()
            || store.state(community.id, crate::community::moderation::AUDIT).next().is_some()
    })
}

impl Reader {
    async fn run(mut self) {
        let mut readings = self.log.reading.subscribe();
        // What was last said about it, and is not said again.
        let mut said = String::new();
        loop {
            let reading = *readings.borrow_and_update();
            if self.log.health().is_halted {
                // Until its next start.
                return std::future::pending().await;
            }
            let halt = match self.read(reading, &mut readings).await {
                Err(halt) => halt,
                Ok(()) => Halt::Away("the server ended the reading".to_owned()),
            };
            match &halt {
                Halt::Broken(why) => {
                    self.log.broken(Some(why.clone()));
                    self.log.fallen.send_if_modified(|fallen| fallen.take().is_some());
                }
                Halt::Fallen(why, fallen) => {
                    self.log.broken(Some(why.clone()));
                    self.log.fallen.send_if_modified(|before| before.replace(*fallen) != Some(*fallen));
                }
                Halt::Away(why) if *why != said => {
                    tracing::warn!("the cluster's log is not read: {why}; it is tried again every second");
                    said.clone_from(why);
                }
                Halt::Away(_) | Halt::Again => tracing::debug!("the cluster's log is read again: {halt}"),
            }
            self.log.redelivered.fetch_add(1, Ordering::Relaxed);
            sleep(PAUSE).await;
        }
    }

    /// Reads one part after the other, until something is in the way.
    async fn read(&mut self, reading: Reading, readings: &mut watch::Receiver<Reading>) -> Result<(), Halt> {
        // What the writer is past it need not read again.
        let mut after = reading.after.max(*self.log.applied.borrow());
        let stream = self.stream().await?;
        after = self.begin(&stream, after).await?;
        // Nothing is acknowledged: the store knows where it is, and what is missing is seen by its number.
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
            ack_policy: AckPolicy::None,
            inactive_threshold: READER_KEPT,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(away)?;
        let requests = consumer.stream().max_messages_per_batch(BATCH_ENTRIES);
        let requests = requests.max_bytes_per_batch(AHEAD_BYTES_MAX).heartbeat(ANSWER_TIME);
        let mut messages = requests.messages().await.map_err(away)?;
        let subject = format!("{}.live.>", self.log.settings.name);
        let mut live = self.client.subscribe(subject).await.map_err(away)?;
        // Whether it goes on where it could not is seen by its next entry.
        let mut is_well = self.log.health().last <= after;
        if is_well {
            self.log.broken(None);
        }
        let mut looks = tokio::time::interval(PAUSE);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Where it was at the last look, if there was more to read then.
        let mut stood_at = None;
        loop {
            let read = tokio::select! {
                _ = readings.changed() => return Err(Halt::Again),
                _ = looks.tick() => {
                    // A server that was started anew has forgotten who reads, and says nothing.
                    if stood_at == Some(after) {
                        return Err(Halt::Away("entries that are there do not come".to_owned()));
                    }
                    stood_at = Some(after).filter(|after| self.log.health().last > *after);
                    continue;
                }
                read = next_of(&mut messages, &mut live) => read,
            };
            match read {
                None => return Ok(()),
                Some(Read::Live(payload)) => self.pass_on(&payload),
                Some(Read::Stored(message)) => {
                    let message = message.map_err(away)?;
                    let position = message.info().map_err(away)?.stream_sequence;
                    if position <= after {
                        continue;
                    }
                    if position != after + 1 {
                        return Err(Halt::Away(format!(
                            "entries {} to {} are missing",
                            after + 1,
                            position - 1
                        )));
                    }
                    let place = Place { position, reading: reading.number };
                    self.hand_on(place, &message.payload).await?;
                    after = position;
                    if !is_well {
                        is_well = true;
                        self.log.broken(None);
                    }
                }
            }
        }
    }

    /// The stream; it is made where there is none.
    async fn stream(&self) -> Result<Stream, Halt> {
        let settings = &self.log.settings;
        let config = Config {
            name: stream_name(&self.log),
            subjects: vec![format!("{}.log.>", settings.name)],
            storage: StorageType::File,
            num_replicas: settings.replicas,
            discard: DiscardPolicy::Old,
            max_age: Duration::from_secs(settings.log_seconds_max),
            max_bytes: i64::try_from(settings.log_bytes_max).unwrap_or(i64::MAX),
            duplicate_window: COPIES_KNOWN.min(Duration::from_secs(settings.log_seconds_max)),
            ..Config::default()
        };
        let made = timeout(4 * ANSWER_TIME, self.context.get_or_create_stream(config)).await;
        made.map_err(|_| away("no answer"))?.map_err(away)
    }

    /// Finds out whether the log goes on where the store ends, and from where on it is read.
    async fn begin(&mut self, stream: &Stream, after: u64) -> Result<u64, Halt> {
        let info =
            timeout(ANSWER_TIME, stream.get_info()).await.map_err(|_| away("no answer"))?.map_err(away)?;
        note(&self.log, &info);
        let made = info.created.unix_timestamp_nanos() as u64;
        let (first, last) = (info.state.first_sequence, info.state.last_sequence);
        let remedy = REMEDY;
        match self.known {
            Some(known) if known != made => {
                return Err(Halt::Broken(format!(
                    "it is another log than the one that this store follows; {remedy}"
                )));
            }
            Some(_) if last < after => {
                return Err(Halt::Broken(format!(
                    "it has lost what this node has stored: it ends at {last}, and this node is at {after}; {remedy}"
                )));
            }
            Some(_) => {}
            None => self.found(stream, made, first, last).await?,
        }
        if last > after && first > after + 1 {
            let why =
                format!("it begins at {first}, and this node is at {after}: what is between is kept no more");
            // What a store holds that has no place in the log is in no copy: somebody must decide.
            let may_go = self.known.is_some() || !has_events(&self.communities, &self.store);
            return Err(self.fallen(why, Fallen { stream: made, after: first - 1 }, may_go));
        }
        self.log.stream.store(made, Ordering::Release);
        self.known = Some(made);
        self.log.fallen.send_if_modified(|fallen| fallen.take().is_some());
        Ok(after)
    }

    /// What cannot be followed without a copy of another node; whether that may take the place of the store.
    fn fallen(&self, why: String, fallen: Fallen, may_go: bool) -> Halt {
        match self.log.settings.heals_from_peers && may_go {
            true => Halt::Fallen(why, fallen),
            false => Halt::Broken(format!("{why}; {REMEDY}")),
        }
    }

    /// A store that has no place in the log begins at its beginning: what the log begins upon must be what it has.
    async fn found(&self, stream: &Stream, made: u64, first: u64, last: u64) -> Result<(), Halt> {
        let has_events = has_events(&self.communities, &self.store);
        let own = Base { node: self.log.settings.node.clone(), has_events };
        if last == 0 {
            let origin = Origin { process: self.log.process, number: 0 };
            let bytes = encode(origin, &Said::Base(own));
            let publish = PublishMessage::build().payload(bytes.into()).expected_last_sequence(0);
            let subject = format!("{}.log.base", self.log.settings.name);
            let published = self.context.send_publish(subject, publish).await.map_err(away)?;
            // When two nodes begin it, one of them looks again.
            return match published.await.map_err(away)?.sequence {
                1 => Ok(()),
                _ => Err(away("another node has begun it")),
            };
        }
        if first > 1 {
            // This is found out from the stream's bounds.
            return Ok(());
        }
        let first = stream.get_raw_message(1).await.map_err(away)?;
        let remedy = "start this node on a restored backup of another node (docs/cluster.md)";
        match decode(&first.payload) {
            // Who has begun it, and has lost its store since, is as new.
            Ok((_, Said::Base(base))) if base.node == own.node && own.has_events >= base.has_events => Ok(()),
            Ok((_, Said::Base(base))) if base.has_events => {
                let before = &base.node;
                let why =
                    format!("it goes on from what {before} had stored before, which this node does not have");
                Err(self.fallen(why, Fallen { stream: made, after: 1 }, !own.has_events))
            }
            Ok((_, Said::Base(_))) if own.has_events => {
                Err(Halt::Broken(format!("this node's store holds events that are not from it; {remedy}")))
            }
            Ok((_, Said::Base(_))) => Ok(()),
            Ok(_) => Err(Halt::Broken("its first entry is none of plaza's".to_owned())),
            Err(error) => Err(Halt::Broken(format!("its first entry cannot be read: {error}"))),
        }
    }

    /// Hands an entry to the writer, when there is room.
    async fn hand_on(&mut self, at: Place, payload: &[u8]) -> Result<(), Halt> {
        let bytes = (payload.len() * 3 + ENTRY_BYTES).min(AHEAD_BYTES_MAX);
        // It is never closed, and its bound fits.
        let room = Arc::clone(&self.room).acquire_many_owned(bytes as u32).await.map_err(away)?;
        let what = self.understand(payload).map_err(|why| match why {
            Halt::Broken(why) => Halt::Broken(format!("entry {}: {why}", at.position)),
            other => other,
        })?;
        let entry = Entry { at: Some(at), what, _room: Some(room) };
        self.writer.send(WriterInput::Log(entry)).map_err(away)
    }

    /// An event that is not stored goes on if there is room, and is dropped if not.
    fn pass_on(&mut self, payload: &[u8]) {
        let Ok((origin, _)) = decode(payload) else { return };
        if origin.process == self.log.process {
            return;
        }
        let bytes = (payload.len() * 3 + ENTRY_BYTES).min(AHEAD_BYTES_MAX) as u32;
        let (Ok(room), Ok(what)) =
            (Arc::clone(&self.room).try_acquire_many_owned(bytes), self.understand(payload))
        else {
            return;
        };
        let _ = self.writer.send(WriterInput::Log(Entry { at: None, what, _room: Some(room) }));
    }

    /// What an entry says. Of this node's own ones what waits for it is at hand.
    fn understand(&mut self, payload: &[u8]) -> Result<What, Halt> {
        let (origin, said) = decode(payload).map_err(|error: Unreadable| Halt::Broken(error.to_string()))?;
        let is_own = origin.process == self.log.process;
        let waiting = is_own.then(|| self.log.take(origin.number)).flatten();
        let find = |path: &str| {
            let found = self.communities.in_memory().find(|community| community.path() == path);
            found.ok_or_else(|| {
                Halt::Broken(format!(
                    "it is for {path}, a community that the settings of this node do not have; add it"
                ))
            })
        };
        Ok(match (said, waiting) {
            (Said::Event { taken, .. }, Some(Waiting::Event(checked))) => What::Event(checked, taken),
            (Said::Event { community, admitted_at, taken, record }, _) => {
                let community = find(community)?;
                let damaged = |_| Halt::Broken("its event is damaged".to_owned());
                let event =
                    record::decode(record).map_err(|error| Halt::Broken(format!("its event: {error}")))?;
                let (event, json) = self.checker.vouched(event).map_err(damaged)?;
                let checked = Checked {
                    community,
                    event,
                    body: json.into(),
                    record: record.to_vec(),
                    reply: Reply::Answered,
                    admitted_at,
                    origin: None,
                    placing: super::Placing::Here,
                    permits: Permits::default(),
                };
                What::Event(Box::new(checked), taken)
            }
            (Said::Remove { community, ids }, waiting) => {
                let asker = match waiting {
                    Some(Waiting::Remove(asker)) => Some(asker),
                    _ => None,
                };
                What::Remove { community: find(community)?, ids, asker }
            }
            (Said::Release { community, ids }, waiting) => {
                let done = match waiting {
                    Some(Waiting::Release(done)) => Some(done),
                    _ => None,
                };
                What::Release { community: find(community)?, ids, done }
            }
            (Said::Decide(taken, _), Some(Waiting::Decide(decision))) => What::Decide(decision, taken),
            (Said::Decide(taken, json), _) => {
                let decision = Decided::from_json(json, |path| find(path).ok());
                What::Decide(Box::new(decision.map_err(Halt::Broken)?), taken)
            }
            (Said::Refresh { community, now, taken }, waiting) => {
                let is_own = matches!(waiting, Some(Waiting::Refresh(..)));
                What::Refresh { community: find(community)?, now, taken, is_own }
            }
            (Said::Rules { text, .. }, _) if rulebook::read(text).is_none() => {
                let why = "another node has settings that this version does not know; upgrade this node";
                return Err(Halt::Broken(why.to_owned()));
            }
            (Said::Rules { digest, text }, _) => What::Rules { digest, text: text.to_owned() },
            (Said::Base(_), _) => What::Nothing,
        })
    }
}
