//! One connection: reads messages in order, hands events and queries to the pipeline, sends what comes
//! back. In: a WebSocket. Out: submissions, queries, frames. Never waits for the writer or a reader; it
//! waits only for room in the bounds on what is under way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, error::CapacityError};

use super::server::stopped;
use super::socket::Gathering;
use crate::community::Community;
use crate::config::Config;
use crate::event::{Event, Verified};
use crate::filter::Filter;
use crate::message::{self, ClientMessage, Malformed};
use crate::nips::nip42;
use crate::outbox::{Frame, Listener, Outbox, Subscription};
use crate::pipeline::reader::{Query, Want};
use crate::pipeline::{Outcome, Pipeline, Reply, Submission};
use crate::policy::{Placement, foresee};
use crate::replay::ReplaySettings;
use crate::rule::{Prefix, Refusal, RelayNames};

/// What is written before the client must have taken it.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Messages that are handled before answers are sent, when they have already arrived.
const MESSAGES_AT_ONCE_MAX: usize = 64;

/// How long a client may take to accept the last that is written to it, and then to close its side.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is passed over at once of what comes after the end.
const DRAIN_BYTES: usize = 16 * 1024;

/// tungstenite's own buffer: the stream below it does the reading ahead.
const READ_BUFFER_BYTES: usize = 1024;

/// What a session needs besides its socket.
pub(super) struct Session {
    pub(super) config: Arc<Config>,
    pub(super) community: Arc<Community>,
    pub(super) pipeline: Arc<Pipeline>,
    /// Whom rates are charged to.
    pub(super) address: IpAddr,
    pub(super) listener: Arc<Listener>,
    /// What the client must sign to prove a key (NIP-42).
    pub(super) challenge: String,
    /// Becomes true when the relay is stopping.
    pub(super) stopping: watch::Receiver<bool>,
}

type Socket = WebSocketStream<Gathering<TokioIo<Upgraded>>>;
type PlainSocket = WebSocketStream<Gathering<TcpStream>>;

/// What a socket yields: a message, an error, or its end.
type Received = Option<Result<Message, Error>>;

/// Why a session ends, as far as its client is told.
enum End {
    /// The client left, or cannot be reached.
    Gone,
    /// With a close frame.
    Close(CloseCode, &'static str),
}

/// The protocol's side of a session: what is open and what was proved.
struct Talk {
    session: Session,
    subscriptions: HashMap<String, Arc<Subscription>>,
    /// Room for events of this connection that are under way.
    room: Arc<Semaphore>,
}

/// A listener for a new connection.
pub(super) fn listener(community: &Community, relay: RelayNames) -> Arc<Listener> {
    let limits = &community.config.limits;
    Arc::new(Listener::new(Outbox::new(limits.outbox_bytes_max, limits.slow_client), relay))
}

impl Session {
    /// Serves the connection until it ends.
    pub(super) async fn run(self, upgraded: Upgraded) {
        let limits = &self.community.config.limits;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(limits.message_bytes_max))
            .max_frame_size(Some(limits.message_bytes_max));
        // A plain TCP stream is taken out of hyper's wrapping, whose buffers would stay otherwise.
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => {
                let stream = Gathering::new(parts.io.into_inner(), parts.read_buf.to_vec());
                let socket: PlainSocket =
                    WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
                self.serve(socket).await;
            }
            Err(upgraded) => {
                let stream = Gathering::new(TokioIo::new(upgraded), Vec::new());
                let socket: Socket =
                    WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
                self.serve(socket).await;
            }
        }
    }

    async fn serve<S>(self, mut socket: WebSocketStream<S>)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let room = Arc::new(Semaphore::new(self.community.config.limits.ingest_events_per_connection_max));
        let mut talk = Talk { session: self, subscriptions: HashMap::new(), room };
        let listener = Arc::clone(&talk.session.listener);
        let write_timeout = Duration::from_secs(talk.session.config.server.write_timeout_seconds);
        listener.outbox.push(Frame::Text(message::auth(&talk.session.challenge)));
        let end = talk.converse(&mut socket, write_timeout).await;
        listener.outbox.close();
        talk.end();
        // tungstenite writes its answer to a client's close frame and leaves the flushing to the stream.
        let _ = timeout(LAST_WORDS, socket.get_mut().flush()).await;
        if let End::Close(code, reason) = end {
            let frame = CloseFrame { code, reason: reason.into() };
            // The client may be gone, or never answer.
            let _ = timeout(write_timeout, socket.close(Some(frame))).await;
            let _ = timeout(LAST_WORDS, drain(socket.get_mut())).await;
        }
    }
}

/// Passes over what the client still sends until it has closed its side too: to end a connection with
/// something unread would reset it, and the client might never see why.
async fn drain<S>(stream: &mut S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let _ = stream.shutdown().await;
    let mut passed_over = vec![0; DRAIN_BYTES];
    while stream.read(&mut passed_over).await.is_ok_and(|bytes| bytes > 0) {}
}

/// Sends all that is in the outbox.
async fn send<S>(
    socket: &mut WebSocketStream<S>,
    listener: &Listener,
    write_timeout: Duration,
) -> Result<(), End>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while send_some(socket, listener, write_timeout).await? {}
    Ok(())
}

/// Sends some of what is in the outbox; false when there was nothing.
async fn send_some<S>(
    socket: &mut WebSocketStream<S>,
    listener: &Listener,
    write_timeout: Duration,
) -> Result<bool, End>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    if listener.outbox.has_overflowed() {
        return Err(End::Close(CloseCode::Policy, "too slow: more waits to be sent than this relay keeps"));
    }
    let mut frames = Vec::new();
    listener.outbox.take(WRITE_BYTES_MAX, &mut frames);
    if frames.is_empty() {
        return Ok(false);
    }
    let write = async {
        for text in frames.drain(..).filter_map(Frame::into_text) {
            socket.feed(Message::text(text)).await?;
        }
        socket.flush().await
    };
    match timeout(write_timeout, write).await {
        Ok(Ok(())) => Ok(true),
        _ => Err(End::Gone),
    }
}

impl Talk {
    async fn converse<S>(&mut self, socket: &mut WebSocketStream<S>, write_timeout: Duration) -> End
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let server = &self.session.config.server;
        let interval = Duration::from_secs(server.ping_interval_seconds);
        let patience = Duration::from_secs(server.ping_timeout_seconds);
        let listener = Arc::clone(&self.session.listener);
        let mut stopping = self.session.stopping.clone();
        let mut alarm = Instant::now() + interval;
        let mut awaits_pong = false;
        loop {
            let received = tokio::select! {
                biased;
                () = stopped(&mut stopping) => return self.finish(socket, write_timeout).await,
                () = listener.outbox.ready() => {
                    if let Err(end) = send_some(socket, &listener, write_timeout).await {
                        return end;
                    }
                    // However much there is to send, a CLOSE is heard.
                    socket.next().now_or_never()
                }
                received = socket.next() => Some(received),
                () = sleep_until(alarm) => {
                    if awaits_pong {
                        return End::Gone;
                    }
                    awaits_pong = true;
                    alarm = Instant::now() + patience;
                    match timeout(write_timeout, socket.send(Message::Ping(Bytes::new()))).await {
                        Ok(Ok(())) => None,
                        _ => return End::Gone,
                    }
                }
            };
            if received.is_some() {
                awaits_pong = false;
                alarm = Instant::now() + interval;
            }
            if let Err(end) = self.receive_arrived(socket, received).await {
                // What was answered before the end is still sent.
                let _ = send(socket, &listener, write_timeout).await;
                return end;
            }
        }
    }

    /// Handles a message, and those that have arrived behind it, up to a bound.
    async fn receive_arrived<S>(
        &mut self,
        socket: &mut WebSocketStream<S>,
        mut next: Option<Received>,
    ) -> Result<(), End>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let mut left = MESSAGES_AT_ONCE_MAX;
        while let Some(received) = next {
            self.receive(received).await?;
            left -= 1;
            next = if left > 0 { socket.next().now_or_never() } else { None };
        }
        Ok(())
    }

    /// The relay is stopping: waits for the answers to what was submitted, sends them, and says goodbye.
    async fn finish<S>(&mut self, socket: &mut WebSocketStream<S>, write_timeout: Duration) -> End
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let all = self.session.community.config.limits.ingest_events_per_connection_max;
        let _ = self.room.acquire_many(u32::try_from(all).unwrap_or(u32::MAX)).await;
        match send(socket, &self.session.listener, write_timeout).await {
            Ok(()) => End::Close(CloseCode::Away, "the relay is stopping"),
            Err(end) => end,
        }
    }

    async fn receive(&mut self, received: Received) -> Result<(), End> {
        match received {
            Some(Ok(Message::Text(text))) => {
                self.message(&text).await;
                Ok(())
            }
            Some(Ok(Message::Binary(_))) => {
                self.say(message::notice("messages are text; binary frames are not read"));
                Ok(())
            }
            // tungstenite answers pings and closing itself.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_) | Message::Close(_))) => Ok(()),
            Some(Err(Error::Capacity(CapacityError::MessageTooLong { max_size, .. }))) => {
                self.say(message::notice(&format!("a message has at most {max_size} bytes")));
                Err(End::Close(CloseCode::Size, "the message is too long"))
            }
            Some(Err(Error::Utf8(_))) => Err(End::Close(CloseCode::Invalid, "text must be UTF-8")),
            Some(Err(Error::Protocol(_))) => Err(End::Close(CloseCode::Protocol, "not as RFC 6455 has it")),
            Some(Err(_)) | None => Err(End::Gone),
        }
    }

    fn say(&self, text: String) {
        self.session.listener.outbox.push(Frame::Text(text));
    }

    fn refuse_event(&self, event: &Event, refusal: &Refusal) {
        self.say(message::refused(&event.id, refusal));
    }

    /// Refuses a REQ or COUNT. An open subscription of its name ends, since that is what its client reads
    /// in CLOSED.
    fn refuse_query(&mut self, id: &str, refusal: &Refusal) {
        self.close(id);
        self.say(message::closed(id, refusal));
    }

    async fn message(&mut self, text: &str) {
        let bytes = self.session.pipeline.rates.address_bytes(&self.session.address, text.len());
        match (ClientMessage::from_json(text), bytes) {
            (Ok(ClientMessage::Close(id)), _) => self.close(&id),
            (Ok(ClientMessage::Event(event)), Ok(())) => self.event(event, text.len()).await,
            (Ok(ClientMessage::Auth(event)), Ok(())) => self.auth(event),
            (Ok(ClientMessage::Req { subscription, filters }), Ok(())) => {
                self.query(subscription, filters, Want::Events);
            }
            (Ok(ClientMessage::Count { subscription, filters }), Ok(())) => {
                self.query(subscription, filters, Want::Count);
            }
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
        }
    }

    /// Runs the rules that need no signature, answers what is known, and hands the rest over.
    async fn event(&mut self, event: Event, bytes: usize) {
        let Session { community, pipeline, address, listener, .. } = &self.session;
        let now = pipeline.clock.now();
        let admitted = pipeline.rates.address_event(address).and_then(|()| {
            let known = community.known();
            listener.with_keys(|keys| {
                community.admit(&event, &community.context(now, keys, &listener.relay, &known))
            })
        });
        if let Err(refusal) = admitted {
            return self.refuse_event(&event, &refusal);
        }
        let facts = community.index().facts(&event);
        let reply = Reply::Listener(Arc::clone(listener));
        match foresee(&event, &facts) {
            Some(Placement::Duplicate) => return reply.send(&event.id, Outcome::Duplicate),
            Some(Placement::Superseded) => return reply.send(&event.id, Outcome::Superseded),
            Some(Placement::Deleted(refusal) | Placement::Refused(refusal)) => {
                return reply.send(&event.id, Outcome::Refused(refusal));
            }
            Some(Placement::Insert | Placement::Replace | Placement::Ephemeral) | None => {}
        }
        // Neither is ever closed, and a message is never longer than the whole room.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let (Ok(one), Ok(room)) = (
            Arc::clone(&self.room).acquire_owned().await,
            Arc::clone(&pipeline.ingest_bytes).acquire_many_owned(bytes).await,
        ) else {
            return;
        };
        let community = Arc::clone(community);
        pipeline.submit(Submission {
            community,
            event,
            reply,
            admitted_at: Some(now),
            permits: vec![one, room],
        });
    }

    /// Checks a proof of a key (NIP-42). It takes effect before the next message is looked at.
    fn auth(&mut self, event: Event) {
        let Session { community, pipeline, listener, challenge, address, .. } = &self.session;
        let id = event.id;
        let now = pipeline.clock.now();
        let proved = pipeline.rates.address_event(address).and_then(|()| {
            let known = community.known();
            nip42::prove(&event, challenge, &community.context(now, &[], &listener.relay, &known))?;
            let event = Verified::check(event, &mut Vec::new())?;
            if !listener.add_key(event.pubkey, community.config.nip42.keys_per_connection_max) {
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
        let Session { community, pipeline, address, listener, .. } = &self.session;
        let now = pipeline.clock.now();
        let most = community.config.limits.subscriptions_per_connection_max;
        let admitted = pipeline.rates.address_request(address).and_then(|()| {
            let known = community.known();
            listener.with_keys(|keys| {
                let context = community.context(now, keys, &listener.relay, &known);
                community.admit_query(&id, &filters, &context)
            })?;
            if want == Want::Events
                && !self.subscriptions.contains_key(&id)
                && self.subscriptions.len() >= most
            {
                // Those that the relay has closed meanwhile do not count.
                self.subscriptions.retain(|_, subscription| subscription.is_live());
            }
            if want == Want::Events
                && !self.subscriptions.contains_key(&id)
                && self.subscriptions.len() >= most
            {
                let sentence = format!("{most} subscriptions are open, as many as one connection may have");
                return Err(Refusal::new(
                    Prefix::Blocked,
                    "limits.subscriptions_per_connection_max",
                    sentence,
                ));
            }
            Ok(())
        });
        if let Err(refusal) = admitted {
            return self.refuse_query(&id, &refusal);
        }
        if want == Want::Events {
            // A REQ takes the place of the one of its name.
            self.close(&id);
        }
        let Session { community, pipeline, listener, .. } = &self.session;
        community.read_places(&mut filters);
        let subscription = Arc::new(Subscription::new(id, filters));
        let mut replay = Vec::new();
        if want == Want::Events {
            let settings = ReplaySettings::from(&community.config.geohash);
            replay = community.live.register(listener, &subscription, settings, now);
            self.subscriptions.insert(subscription.id.clone(), Arc::clone(&subscription));
        }
        let query = Query {
            community: Arc::clone(community),
            listener: Arc::clone(listener),
            subscription: Arc::clone(&subscription),
            want,
            replay,
        };
        if let Err(refusal) = pipeline.readers.submit(query) {
            self.refuse_query(&subscription.id, &refusal);
        }
    }

    fn close(&mut self, id: &str) {
        if let Some(subscription) = self.subscriptions.remove(id) {
            subscription.close();
            self.session.community.live.unregister(&subscription);
        }
    }

    /// Ends all subscriptions.
    fn end(&mut self) {
        for (_, subscription) in self.subscriptions.drain() {
            subscription.close();
            self.session.community.live.unregister(&subscription);
        }
    }
}
