//! One connection: reads messages in order, hands events and queries to the pipeline, sends what comes
//! back. In: a WebSocket. Out: submissions, queries, frames. Never waits for the writer or a reader; it
//! waits only for room in the bounds on what is under way.

mod reconciliations;

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, error::CapacityError};

use reconciliations::Reconciliations;

use super::deflate::Deflate;
use super::server::Shared;
use super::socket::{Received, Socket, Unreadable};
use crate::community::{Community, Rules};
use crate::event::{Event, Verified};
use crate::filter::Filter;
use crate::memory::{self, CLIENTS_FULL, Charge, EVENT_FACTOR, SOCKET_SHARE_BYTES};
use crate::message::{self, ClientMessage, Malformed};
use crate::nips::nip42;
use crate::outbox::{Frame, Listener, Outbox, Subscription};
use crate::pipeline::reader::{Query, Want};
use crate::pipeline::{Outcome, Permits, Reply, Submission};
use crate::policy::{Placement, foresee};
use crate::replay::ReplaySettings;
use crate::rule::{Decision, Prefix, Refusal, RelayNames};

/// What is written before the client must have taken it.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Messages that are handled before answers are sent, when they have already arrived.
const MESSAGES_AT_ONCE_MAX: usize = 64;

/// The same in bytes; the message that exceeds it is the last. To read the JSON of so much takes a fraction of a
/// millisecond, in which others wait.
const MESSAGE_BYTES_AT_ONCE_MAX: usize = 64 * 1024;

/// The part of its room, in its events under way, that must be free before a connection that had none goes on: so it
/// is woken and written to for several at once.
const ROOM_PART: u32 = 8;

/// How long a client may take to accept the last that is written to it, and then to close its side.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is passed over at once of what comes after the end.
const DRAIN_BYTES: usize = 16 * 1024;

/// What a session speaks over.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire for S {}

/// Why a session ends, as far as its client is told.
enum End {
    /// The client left, or cannot be reached.
    Gone,
    /// With a close frame.
    Close(CloseCode, &'static str),
}

/// An event for which there is no room yet, and the bytes that it needs.
type Waiting = (Box<Submission>, u32);

/// What a session does next.
enum Turn {
    /// Its client has answers, or less; and whether it may have sent more than was looked at.
    Send(bool),
    /// An event needs room in the bounds on what is under way; what the client sent after it waits.
    MakeRoom(Box<Submission>, u32),
    /// The client has been silent for a while.
    Alarm,
    /// The relay is stopping.
    Stop,
    End(End),
}

/// The protocol's side of a session: what is open and what was proved.
///
/// Most sessions are idle most of the time, so what one holds then is as little as can be: what is rarely
/// needed is made when it is needed, and futures that are rarely awaited are on the heap.
pub(super) struct Session {
    shared: Arc<Shared>,
    community: Arc<Community>,
    listener: Arc<Listener>,
    /// Its number among the community's connections.
    number: u32,
    subscriptions: Vec<Arc<Subscription>>,
    reconciliations: Reconciliations,
    /// Room for events of this connection that are under way; `None` before the first one.
    room: Option<Arc<Semaphore>>,
    /// How many events that is, as the settings had it when the connection came.
    room_events: u32,
    /// What the client must sign to prove a key (NIP-42): 128 random bits.
    challenge: [u8; 16],
    heard_at: Instant,
    /// When the client was asked for a sign of life, if it was since it gave the last one.
    pinged_at: Option<Instant>,
    /// What lies between socket and session, of the memory of all clients: half a message, what was read ahead, what the
    /// client has not taken, and an event that waits for room.
    charge: Charge,
}

/// Serves a connection until it ends.
pub(super) async fn run<S: Wire>(
    mut session: Box<Session>,
    stream: S,
    ahead: Vec<u8>,
    deflate: Option<Box<Deflate>>,
) {
    let message_bytes_max = session.community.settings().limits.message_bytes_max;
    let mut socket = Socket::new(stream, ahead, message_bytes_max, deflate);
    session.greet();
    let end = session.converse(&mut socket).await;
    Box::pin(session.part(socket, end)).await;
}

/// Says goodbye, where there is something to say, and waits a little for the client to take it.
async fn leave<S: Wire>(mut socket: Socket<S>, end: End, write_timeout: Duration) {
    socket.stop_reading();
    match end {
        // A client that sent a close frame is there for the answer.
        End::Gone => {
            socket.part();
            let flushed = timeout(LAST_WORDS, poll_fn(|cx| socket.poll_flush(cx))).await;
            if matches!(flushed, Ok(Ok(()))) {
                let _ = timeout(LAST_WORDS, drain(socket.stream())).await;
            }
        }
        End::Close(code, reason) => {
            socket.close(CloseFrame { code, reason: reason.into() });
            // The client may be gone, or never answer.
            let _ = timeout(write_timeout, poll_fn(|cx| socket.poll_flush(cx))).await;
            let _ = timeout(LAST_WORDS, drain(socket.stream())).await;
        }
    }
}

/// Passes over what the client still sends until it has closed its side too: to end a connection with
/// something unread would reset it, and the client might never see why.
async fn drain<S: Wire>(stream: &mut S) {
    let _ = stream.shutdown().await;
    let mut passed_over = vec![0; DRAIN_BYTES];
    while stream.read(&mut passed_over).await.is_ok_and(|bytes| bytes > 0) {}
}

impl Drop for Session {
    fn drop(&mut self) {
        self.community.connected.remove(self.number);
    }
}

impl Session {
    /// A session that has not begun, of a client at `address`; rates are charged to `charged`. On the heap, because futures keep a copy of what is moved into them.
    pub(super) fn new(
        shared: Arc<Shared>,
        community: Arc<Community>,
        relay: Arc<RelayNames>,
        address: IpAddr,
        charged: IpAddr,
    ) -> Box<Session> {
        let settings = community.settings();
        let limits = &settings.limits;
        let outbox = Outbox::new(limits.outbox_bytes_max, limits.slow_client, shared.memory());
        let charge = shared.memory().nothing();
        let listener = Arc::new(Listener::new(outbox, relay, charged));
        let number = community.connected.add(&listener, address);
        Box::new(Session {
            shared,
            listener,
            number,
            community,
            subscriptions: Vec::new(),
            reconciliations: Reconciliations::default(),
            room: None,
            room_events: u32::try_from(limits.ingest_events_per_connection_max).unwrap_or(u32::MAX),
            challenge: secp256k1::rand::random(),
            heard_at: Instant::now(),
            pinged_at: None,
            charge,
        })
    }

    /// The same with another challenge: one that a caller knows beforehand.
    pub(super) fn with_challenge(mut self: Box<Self>, challenge: [u8; 16]) -> Box<Session> {
        self.challenge = challenge;
        self
    }

    fn greet(&self) {
        self.say(message::auth(&hex::encode(self.challenge)));
    }

    /// Ends what is open, then the connection.
    async fn part<S: Wire>(mut self: Box<Self>, socket: Socket<S>, end: End) {
        self.listener.outbox.close();
        for subscription in std::mem::take(&mut self.subscriptions) {
            self.end(&subscription);
        }
        self.reconciliations.end_all();
        let write_timeout = self.write_timeout();
        // What the client has not taken stays until it has, or its time is up.
        let nothing = self.shared.memory().nothing();
        let _charge = std::mem::replace(&mut self.charge, nothing);
        drop(self);
        leave(socket, end, write_timeout).await;
    }

    fn write_timeout(&self) -> Duration {
        Duration::from_secs(self.shared.current.get().server.write_timeout_seconds)
    }

    async fn converse<S: Wire>(&mut self, socket: &mut Socket<S>) -> End {
        let shared = Arc::clone(&self.shared);
        let mut stopped = pin!(shared.stop.wait());
        // Once is enough: it wakes this task, which then looks at the flag.
        let _ = poll_fn(|cx| Poll::Ready(stopped.as_mut().poll(cx))).await;
        let interval = Duration::from_secs(shared.current.get().server.ping_interval_seconds);
        let mut alarm = pin!(sleep(interval));
        loop {
            let end = match poll_fn(|cx| self.poll_turn(socket, alarm.as_mut(), cx)).await {
                Turn::Send(has_more) => {
                    let sent = self.send_some(socket).await;
                    if has_more {
                        // Other sessions have their turn first.
                        tokio::task::yield_now().await;
                    }
                    sent.err()
                }
                // However much it sends, it gets its answers.
                Turn::MakeRoom(submission, bytes) => match Box::pin(self.send(socket)).await {
                    Ok(()) => {
                        let waiting = socket.held_bytes() + EVENT_FACTOR * bytes as usize;
                        match self.account(waiting) {
                            Ok(()) => Box::pin(self.make_room(submission, bytes)).await,
                            Err(_) => self.refuse_event(&submission.event, &memory::refusal()),
                        }
                        None
                    }
                    Err(end) => Some(end),
                },
                Turn::Alarm => {
                    self.end_rested();
                    match self.is_silent(interval, alarm.as_mut()) {
                        Ok(false) => None,
                        Ok(true) => {
                            socket.ping();
                            self.flush(socket).await.err()
                        }
                        Err(end) => Some(end),
                    }
                }
                Turn::Stop => return Box::pin(self.finish(socket)).await,
                Turn::End(end) => {
                    // What was answered before the end is still sent.
                    let _ = Box::pin(self.send(socket)).await;
                    Some(end)
                }
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Handles what has arrived, up to a bound, and says what to do next. However much a client sends it gets
    /// answers, and however much there is to send a CLOSE is heard: both come in turn.
    fn poll_turn<S: Wire>(
        &mut self,
        socket: &mut Socket<S>,
        mut alarm: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<Turn> {
        if self.shared.stop.is_set() {
            return Poll::Ready(Turn::Stop);
        }
        let (mut heard, mut bytes) = (0, 0);
        while heard < MESSAGES_AT_ONCE_MAX
            && bytes < MESSAGE_BYTES_AT_ONCE_MAX
            && let Poll::Ready(received) = socket.poll_receive(cx)
        {
            heard += 1;
            bytes += received.as_ref().map_or(0, Message::len);
            match self.receive(received) {
                Ok(None) => {}
                Ok(Some((submission, bytes))) => {
                    self.heard_at = Instant::now();
                    return Poll::Ready(Turn::MakeRoom(submission, bytes));
                }
                Err(end) => return Poll::Ready(Turn::End(end)),
            }
        }
        if heard > 0 {
            self.heard_at = Instant::now();
        }
        let has_more = heard == MESSAGES_AT_ONCE_MAX || bytes >= MESSAGE_BYTES_AT_ONCE_MAX;
        if self.listener.outbox.poll_ready(cx).is_ready() || socket.has_gathered() {
            return Poll::Ready(Turn::Send(has_more));
        }
        if has_more {
            // Here too others have their turn first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Err(end) = self.account(socket.held_bytes()) {
            return Poll::Ready(Turn::End(end));
        }
        alarm.as_mut().poll(cx).map(|()| Turn::Alarm)
    }

    /// Takes what lies between socket and session from the memory of all clients, beyond the share that each has. The end
    /// when there is no room for it.
    fn account(&mut self, bytes: usize) -> Result<(), End> {
        let beyond = bytes.saturating_sub(SOCKET_SHARE_BYTES);
        if beyond == self.charge.bytes() {
            return Ok(());
        }
        match self.charge.set(beyond) {
            true => {
                self.listener.outbox.note_session(beyond);
                Ok(())
            }
            false => Err(End::Close(CloseCode::Again, CLIENTS_FULL)),
        }
    }

    /// The alarm went off: says whether the client is to be asked for a sign of life, and sets the alarm anew.
    /// It is not moved whenever the client is heard: it looks, when it goes off, how long that is ago.
    fn is_silent(&mut self, interval: Duration, alarm: Pin<&mut Sleep>) -> Result<bool, End> {
        let now = Instant::now();
        let patience = Duration::from_secs(self.shared.current.get().server.ping_timeout_seconds);
        match self.pinged_at {
            Some(pinged_at) if self.heard_at < pinged_at => return Err(End::Gone),
            _ => self.pinged_at = None,
        }
        let due = self.heard_at + interval;
        if now < due {
            alarm.reset(due);
            return Ok(false);
        }
        self.pinged_at = Some(now);
        alarm.reset(now + patience);
        Ok(true)
    }

    /// Sends all that is in the outbox.
    async fn send<S: Wire>(&mut self, socket: &mut Socket<S>) -> Result<(), End> {
        while poll_fn(|cx| Poll::Ready(self.listener.outbox.poll_ready(cx))).await.is_ready() {
            self.send_some(socket).await?;
        }
        self.flush(socket).await
    }

    /// Sends some of what is in the outbox.
    async fn send_some<S: Wire>(&mut self, socket: &mut Socket<S>) -> Result<(), End> {
        let outbox = &self.listener.outbox;
        if let Some(reason) = outbox.ended() {
            return Err(End::Close(CloseCode::Policy, reason));
        }
        let mut bytes = 0;
        for frame in outbox.take(WRITE_BYTES_MAX) {
            frame.texts(|text| {
                bytes += text.len();
                socket.send(&text);
            });
        }
        let meter = &self.shared.pipeline.meter;
        meter.bytes_sent.inc_by(bytes as u64);
        if let Some(tally) = socket.take_tally() {
            meter.compression.add(tally.plain, tally.packed);
        }
        self.flush(socket).await
    }

    /// Writes what has gathered. Most clients take it at once; for the others a timer is set.
    async fn flush<S: Wire>(&mut self, socket: &mut Socket<S>) -> Result<(), End> {
        let flushed = poll_fn(|cx| Poll::Ready(socket.poll_flush(cx))).await;
        let flushed = match flushed {
            Poll::Ready(flushed) => Ok(flushed),
            Poll::Pending => {
                self.account(socket.held_bytes())?;
                let outbox = &self.listener.outbox;
                let flushed = poll_fn(|cx| match outbox.poll_sent_away(cx) {
                    // Its memory is wanted now, and not when it has had its time.
                    Poll::Ready(()) => Poll::Ready(Err(ErrorKind::OutOfMemory.into())),
                    Poll::Pending => socket.poll_flush(cx),
                });
                Box::pin(timeout(self.write_timeout(), flushed)).await
            }
        };
        match flushed {
            Ok(Ok(())) => Ok(()),
            _ => Err(End::Gone),
        }
    }

    /// The relay is stopping: waits for the answers to what was submitted, sends them, and says goodbye.
    async fn finish<S: Wire>(&mut self, socket: &mut Socket<S>) -> End {
        if let Some(room) = &self.room {
            let _ = room.acquire_many(self.room_events).await;
        }
        match self.send(socket).await {
            Ok(()) => End::Close(CloseCode::Away, "the relay is stopping"),
            Err(end) => end,
        }
    }

    /// Handles a message; an event that needs room which is not there is given back.
    fn receive(&mut self, received: Received) -> Result<Option<Waiting>, End> {
        match received {
            Ok(Message::Text(text)) => Ok(self.message(&text)),
            Ok(Message::Binary(_)) => {
                self.say(message::notice("messages are text; binary frames are not read"));
                Ok(None)
            }
            // tungstenite answers pings and closing itself.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_) | Message::Close(_)) => Ok(None),
            Err(Unreadable::Protocol(Error::Capacity(CapacityError::MessageTooLong {
                max_size, ..
            }))) => {
                self.say(message::notice(&format!("a message has at most {max_size} bytes")));
                Err(End::Close(CloseCode::Size, "the message is too long"))
            }
            Err(Unreadable::Deflate) => Err(End::Close(CloseCode::Invalid, "not deflate as RFC 7692 has it")),
            Err(Unreadable::Protocol(Error::Utf8(_))) => {
                Err(End::Close(CloseCode::Invalid, "text must be UTF-8"))
            }
            Err(Unreadable::Protocol(Error::Protocol(_))) => {
                Err(End::Close(CloseCode::Protocol, "not as RFC 6455 has it"))
            }
            Err(_) => Err(End::Gone),
        }
    }

    fn say(&self, text: String) {
        self.listener.outbox.push(Frame::Text(text));
    }

    fn refuse_event(&self, event: &Event, refusal: &Refusal) {
        tracing::debug!(
            community = self.community.path(),
            address = self.shared.logged(self.listener.address),
            kind = event.kind.0,
            rule = refusal.rule,
            "an event is refused"
        );
        self.community.traffic.refused.add(1);
        self.say(message::refused(&event.id, refusal));
    }

    /// Refuses a REQ or COUNT. An open subscription of its name ends, since that is what its client reads
    /// in CLOSED.
    fn refuse_query(&mut self, id: &str, refusal: &Refusal) {
        self.community.traffic.requests_refused.add(1);
        self.close(id);
        self.say(message::closed(id, refusal));
    }

    fn message(&mut self, text: &str) -> Option<Waiting> {
        self.shared.pipeline.meter.bytes_received.inc_by(text.len() as u64);
        let bytes = self.shared.pipeline.rates.address_bytes(&self.listener.address, text.len());
        match (ClientMessage::from_json(text), bytes) {
            (Ok(ClientMessage::Close(id)), _) => self.close(&id),
            (Ok(ClientMessage::NegClose(name)), _) => self.reconciliations.close(&name),
            (Ok(ClientMessage::Event(event)), Ok(())) => return self.event(event, text.len()),
            (Ok(ClientMessage::Auth(event)), Ok(())) => self.auth(event),
            (Ok(ClientMessage::Req { subscription, filters }), Ok(())) => {
                self.query(subscription, filters, Want::Events);
            }
            (Ok(ClientMessage::Count { subscription, filters }), Ok(())) => {
                self.query(subscription, filters, Want::Count);
            }
            (Ok(ClientMessage::NegOpen { reconciliation, filter, message }), Ok(())) => {
                self.reconcile(reconciliation, filter, message);
            }
            (Ok(ClientMessage::NegMsg { reconciliation, message }), Ok(())) => {
                self.go_on(&reconciliation, message);
            }
            (
                Ok(
                    ClientMessage::NegOpen { reconciliation, .. }
                    | ClientMessage::NegMsg { reconciliation, .. },
                ),
                Err(refusal),
            ) => self.refuse_reconciliation(&reconciliation, &refusal),
            (Ok(ClientMessage::Event(event) | ClientMessage::Auth(event)), Err(refusal)) => {
                self.refuse_event(&event, &refusal);
            }
            (
                Ok(ClientMessage::Req { subscription, .. } | ClientMessage::Count { subscription, .. }),
                Err(refusal),
            ) => self.refuse_query(&subscription, &refusal),
            (Err(_), Err(refusal)) => self.say(message::notice(&refusal.to_string())),
            (Err(Malformed::Notice(reason)), _) => self.say(message::notice(&format!("invalid: {reason}"))),
            (Err(Malformed::Event(id, reason)), _) => {
                self.say(message::refused(&id, &message::invalid(reason)));
            }
            (Err(Malformed::Subscription(id, reason)), _) => {
                self.refuse_query(&id, &message::invalid(reason));
            }
            (Err(Malformed::Reconciliation(name, reason)), _) => {
                self.refuse_reconciliation(&name, &message::invalid(reason));
            }
        }
        None
    }

    /// Runs the rules that need no signature, answers what is known, and hands the rest over, unless there is no
    /// room for it.
    fn event(&mut self, event: Event, bytes: usize) -> Option<Waiting> {
        let Session { shared, community, listener, .. } = self;
        let pipeline = &shared.pipeline;
        let now = pipeline.clock.now();
        let admitted = pipeline.rates.address_event(&listener.address).and_then(|()| {
            let rules = community.rules();
            listener
                .with_keys(|keys| community.admit(&rules, &event, &rules.context(now, keys, &listener.relay)))
        });
        if let Err(refusal) = admitted {
            self.refuse_event(&event, &refusal);
            return None;
        }
        let facts = community.index().facts(&event);
        let reply = Reply::Listener(Arc::clone(listener));
        let known = match foresee(&event, &facts) {
            Some(Placement::Duplicate) => Some(Outcome::Duplicate),
            Some(Placement::Superseded) => Some(Outcome::Superseded),
            Some(Placement::Deleted(refusal) | Placement::Refused(refusal)) => {
                Some(Outcome::Refused(refusal))
            }
            Some(Placement::Insert | Placement::Replace | Placement::Ephemeral) | None => None,
        };
        if let Some(outcome) = known {
            outcome.count_in(&community.traffic);
            reply.send(&event.id, outcome);
            return None;
        }
        let community = Arc::clone(community);
        let mut submission =
            Submission { community, event, reply, admitted_at: Some(now), permits: Permits::default() };
        let (one, all) = (self.room(), &self.shared.pipeline.ingest_bytes);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let one = one.try_acquire_owned();
        match one.and_then(|one| Ok(Permits::new(one, Arc::clone(all).try_acquire_many_owned(bytes)?))) {
            Ok(permits) => {
                submission.permits = permits;
                self.shared.pipeline.submit(submission);
                None
            }
            Err(_) => Some((Box::new(submission), bytes)),
        }
    }

    /// Room for events of this connection.
    fn room(&mut self) -> Arc<Semaphore> {
        let all = self.room_events as usize;
        Arc::clone(self.room.get_or_insert_with(|| Arc::new(Semaphore::new(all))))
    }

    /// Hands an event over as soon as there is room for it.
    async fn make_room(&mut self, mut submission: Box<Submission>, bytes: u32) {
        let all = Arc::clone(&self.shared.pipeline.ingest_bytes);
        let part = (self.room_events / ROOM_PART).max(1);
        // Neither is ever closed, and a message is never longer than the whole room.
        let Ok(mut free) = self.room().acquire_many_owned(part).await else { return };
        let Some(one) = free.split(1) else { return };
        drop(free);
        if let Ok(room) = all.acquire_many_owned(bytes).await {
            submission.permits = Permits::new(one, room);
            self.shared.pipeline.submit(*submission);
        }
    }

    /// Checks a proof of a key (NIP-42). It takes effect before the next message is looked at.
    fn auth(&mut self, event: Event) {
        let Session { community, shared, listener, challenge, .. } = self;
        let pipeline = &shared.pipeline;
        let id = event.id;
        let now = pipeline.clock.now();
        let proved = pipeline.rates.address_event(&listener.address).and_then(|()| {
            let rules = community.rules();
            nip42::prove(&event, &hex::encode(*challenge), &rules.context(now, &[], &listener.relay))?;
            let event = Verified::check(event, &mut Vec::new())?;
            if !listener.add_key(event.pubkey, rules.settings.nip42.keys_per_connection_max) {
                let sentence = "this connection has proved as many keys as it may";
                return Err(Refusal::new(Prefix::Restricted, "nip42.keys_per_connection_max", sentence));
            }
            Ok(())
        });
        self.say(match proved {
            Ok(()) => message::accepted(&id, ""),
            Err(refusal) => message::refused(&id, &refusal),
        });
    }

    fn query(&mut self, id: String, mut filters: Vec<Filter>, want: Want) {
        let now = self.shared.pipeline.clock.now();
        let rules = self.community.rules();
        let admitted = self.admit_query(&rules, &id, &filters, want);
        if let Err(refusal) = admitted {
            return self.refuse_query(&id, &refusal);
        }
        if want == Want::Events {
            // A REQ takes the place of the one of its name.
            self.close(&id);
        }
        let Session { community, listener, .. } = self;
        community.read_places(&mut filters);
        let bytes = memory::subscription_bytes(filters.iter().map(Filter::memory_bytes).sum());
        let Some(charge) = listener.outbox.charge(bytes) else {
            return self.refuse_query(&id, &memory::refusal());
        };
        let subscription = Arc::new(Subscription::new(id, filters, Some(charge)));
        let mut replay = Vec::new();
        if want == Want::Events {
            let settings = ReplaySettings::from(&community.settings().geohash);
            replay = community.live.register(listener, &subscription, settings, now);
            self.subscriptions.push(Arc::clone(&subscription));
            // Open subscriptions were asked about again, before this one was among them.
            if !Arc::ptr_eq(&rules, &community.rules())
                && let Err(refusal) = listener
                    .with_keys(|keys| community.admit_again(&subscription, now, keys, &listener.relay))
            {
                return self.refuse_query(&subscription.id, &refusal);
            }
        }
        let query = Query {
            community: Arc::clone(community),
            listener: Arc::clone(listener),
            subscription: Arc::clone(&subscription),
            want,
            replay,
        };
        if let Err(refusal) = self.shared.pipeline.readers.submit(query) {
            self.refuse_query(&subscription.id, &refusal);
        }
    }

    /// Whether a query is answered.
    fn admit_reading(&self, rules: &Rules, name: &str, filters: &[Filter], want: Want) -> Decision {
        let Session { shared, community, listener, .. } = self;
        shared.pipeline.rates.address_request(&listener.address)?;
        let now = shared.pipeline.clock.now();
        listener.with_keys(|keys| {
            let context = rules.context(now, keys, &listener.relay);
            community.admit_query(rules, name, filters, &context)?;
            match want {
                Want::Events => Ok(()),
                Want::Count => community.admit_count(rules, filters, &context),
            }
        })
    }

    /// Whether a REQ or COUNT is answered, and whether there may be one more subscription.
    fn admit_query(&mut self, rules: &Rules, id: &str, filters: &[Filter], want: Want) -> Decision {
        self.admit_reading(rules, id, filters, want)?;
        let most = rules.settings.limits.subscriptions_per_connection_max;
        if want != Want::Events || self.subscriptions.len() < most || self.position(id).is_some() {
            return Ok(());
        }
        // Those that the relay has closed meanwhile do not count.
        self.subscriptions.retain(|subscription| subscription.is_live());
        if self.subscriptions.len() < most {
            return Ok(());
        }
        let sentence = format!("{most} subscriptions are open, as many as one connection may have");
        Err(Refusal::new(Prefix::Blocked, "limits.subscriptions_per_connection_max", sentence))
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.subscriptions.iter().position(|subscription| &*subscription.id == id)
    }

    fn close(&mut self, id: &str) {
        if let Some(at) = self.position(id) {
            let subscription = self.subscriptions.swap_remove(at);
            self.end(&subscription);
        }
    }

    fn end(&self, subscription: &Arc<Subscription>) {
        subscription.close();
        self.community.live.unregister(subscription);
    }
}
