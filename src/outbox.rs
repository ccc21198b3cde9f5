//! What a session has yet to send: a queue of frames, bounded in bytes. In: frames from the pipeline and
//! the session itself. Out: frames to the socket. A full outbox delays nobody but its own client.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::config::SlowClient;
use crate::event::PublicKey;
use crate::filter::Filter;
use crate::memory::{CLIENTS_FULL, Charge, Ledger, OUTBOX_SHARE_BYTES, QUERIES_SHARE_BYTES};
use crate::message;
use crate::rule::RelayNames;

/// What a frame takes besides its text.
const FRAME_OVERHEAD_BYTES: usize = 64;

/// What a reader adds at once of one answer: as much as a session writes at once.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The same as a part of the outbox: several readers may add to one outbox at the same moment, and half of
/// it is kept for other things.
const ANSWER_PARTS_MIN: usize = 64;

/// One of a client's subscriptions, or a query of its. A repeated REQ makes a new one and closes the old.
#[derive(Debug)]
pub struct Subscription {
    /// The client's name for it.
    pub id: Box<str>,
    /// What it asks for.
    pub filters: Box<[Filter]>,
    event_head: Box<str>,
    /// Its place among the live ones; [`Subscription::NOT_LIVE`] before and after.
    pub(crate) live: AtomicU32,
    closed: AtomicBool,
    /// What it takes of the memory of all clients.
    _charge: Option<Charge>,
}

impl Subscription {
    /// In place of a number: not registered for live events.
    pub(crate) const NOT_LIVE: u32 = u32::MAX;

    /// An open subscription.
    pub fn new(id: String, filters: Vec<Filter>, charge: Option<Charge>) -> Subscription {
        Subscription {
            _charge: charge,
            event_head: message::event_head(&id).into_boxed_str(),
            id: id.into_boxed_str(),
            filters: filters.into_boxed_slice(),
            live: AtomicU32::new(Self::NOT_LIVE),
            closed: AtomicBool::new(false),
        }
    }

    /// Whether it may still receive live events: neither its client nor the relay has ended it.
    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::SeqCst) != Self::NOT_LIVE
    }

    /// Ends it: what is on its way is dropped when it would be sent.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Whether it was ended.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

/// Something to send: one message, or several of one subscription.
#[derive(Debug)]
pub enum Frame {
    /// For the connection as a whole.
    Text(String),
    /// For a subscription: EOSE, CLOSED or COUNT.
    Answer(Arc<Subscription>, String),
    /// An event for a subscription; its JSON is shared by all who receive it.
    Event(Arc<Subscription>, Bytes),
    /// Several of them, in order.
    Events(Arc<Subscription>, Vec<Bytes>),
}

impl Frame {
    /// Events for a subscription, in order; at least one.
    pub(crate) fn events(subscription: &Arc<Subscription>, mut bodies: Vec<Bytes>) -> Frame {
        let subscription = Arc::clone(subscription);
        match bodies.pop() {
            Some(only) if bodies.is_empty() => Frame::Event(subscription, only),
            last => {
                bodies.extend(last);
                Frame::Events(subscription, bodies)
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Frame::Text(text) | Frame::Answer(_, text) => FRAME_OVERHEAD_BYTES + text.len(),
            Frame::Event(_, body) => event_bytes(body),
            Frame::Events(_, bodies) => bodies.iter().map(event_bytes).sum(),
        }
    }

    /// Hands over the text of each message; nothing when its subscription has ended meanwhile.
    pub fn texts(&self, mut put: impl FnMut(Text<'_>)) {
        match self {
            Frame::Text(text) => put(Text::Whole(text)),
            Frame::Answer(subscription, _)
            | Frame::Event(subscription, _)
            | Frame::Events(subscription, _)
                if subscription.is_closed() => {}
            Frame::Answer(_, text) => put(Text::Whole(text)),
            Frame::Event(subscription, body) => put(Text::Event { head: &subscription.event_head, body }),
            Frame::Events(subscription, bodies) => {
                let head = &*subscription.event_head;
                bodies.iter().for_each(|body| put(Text::Event { head, body }));
            }
        }
    }
}

/// The text of one message.
#[derive(Debug, Clone, Copy)]
pub enum Text<'a> {
    /// As it is.
    Whole(&'a str),
    /// An event of a subscription: what comes before its JSON, and the JSON, which others are sent too.
    Event {
        /// `["EVENT","name",`
        head: &'a str,
        /// The event.
        body: &'a Bytes,
    },
}

impl Text<'_> {
    /// What it consists of, in order.
    pub fn pieces(&self) -> [&[u8]; 3] {
        match self {
            Text::Whole(text) => [text.as_bytes(), b"", b""],
            Text::Event { head, body } => [head.as_bytes(), body, b"]"],
        }
    }

    /// Bytes of the whole.
    pub fn len(&self) -> usize {
        self.pieces().iter().map(|piece| piece.len()).sum()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What an event takes in an outbox.
pub(crate) fn event_bytes(body: &Bytes) -> usize {
    FRAME_OVERHEAD_BYTES + body.len()
}

/// Work that waits until the client has read some of what it was sent.
pub type Parked = Box<dyn FnOnce() + Send>;

struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    parked: Vec<Parked>,
    /// The session, when it waits for something to send.
    waiting: Option<Waker>,
    closed: bool,
    /// Why the client is not kept, if it is not.
    ended: Option<&'static str>,
    /// What it takes of the memory of all clients: what waits, beyond the share that each connection has.
    charge: Charge,
}

impl Queue {
    /// Brings the charge in line with what waits; false when there is no room for it.
    fn settle(&mut self) -> bool {
        self.charge.set(self.bytes.saturating_sub(OUTBOX_SHARE_BYTES))
    }
}

/// Why a client that is too slow is not kept.
const TOO_SLOW: &str = "too slow: more waits to be sent than this relay keeps";

/// A session's bounded queue of frames.
pub struct Outbox {
    queue: Mutex<Queue>,
    bytes_max: usize,
    slow_client: SlowClient,
    memory: Arc<Ledger>,
    /// What its session holds besides: what was taken out and its client has not taken, and half of what it sends.
    session_bytes: AtomicUsize,
    /// What its subscriptions and answers may take where all clients have no more.
    share: Arc<Ledger>,
}

impl Outbox {
    /// An empty outbox that holds up to `bytes_max`, as far as all clients' memory has room for it.
    pub fn new(bytes_max: usize, slow_client: SlowClient, memory: &Arc<Ledger>) -> Outbox {
        let queue = Queue {
            frames: VecDeque::new(),
            bytes: 0,
            parked: Vec::new(),
            waiting: None,
            closed: false,
            ended: None,
            charge: memory.nothing(),
        };
        Outbox {
            queue: Mutex::new(queue),
            bytes_max,
            slow_client,
            memory: Arc::clone(memory),
            session_bytes: AtomicUsize::new(0),
            share: Ledger::new(QUERIES_SHARE_BYTES),
        }
    }

    /// The memory of all clients.
    pub fn memory(&self) -> &Arc<Ledger> {
        &self.memory
    }

    /// Takes bytes for a subscription or an answer: of what all clients have, else of what this one has for itself.
    pub fn charge(&self, bytes: usize) -> Option<Charge> {
        self.memory.take(bytes).or_else(|| self.share.take(bytes))
    }

    /// What its client holds, in bytes: what waits to be sent, and what its session holds besides.
    pub fn bytes(&self) -> usize {
        self.queue().bytes + self.session_bytes.load(Ordering::Relaxed)
    }

    /// Notes what its session holds besides.
    pub(crate) fn note_session(&self, bytes: usize) {
        self.session_bytes.store(bytes, Ordering::Relaxed);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that holds the lock can panic half-way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an answer. A client that lets its answers pile up beyond the bound is closed.
    pub fn push(&self, frame: Frame) {
        self.push_all([frame]);
    }

    /// Adds answers that belong together: they are sent in one go, if there is room.
    pub fn push_all(&self, frames: impl IntoIterator<Item = Frame>) {
        self.add(self.queue(), frames);
    }

    /// Adds live events of a subscription, or does with a client that is too slow what the setting says.
    pub fn push_live(&self, subscription: &Arc<Subscription>, mut bodies: Vec<Bytes>) {
        let queue = self.queue();
        if self.slow_client == SlowClient::Drop {
            let mut bytes = queue.bytes;
            bodies.retain(|body| {
                let fits = bytes + event_bytes(body) <= self.bytes_max;
                bytes += if fits { event_bytes(body) } else { 0 };
                fits
            });
        }
        if !bodies.is_empty() {
            self.add(queue, [Frame::events(subscription, bodies)]);
        }
    }

    fn add(&self, mut queue: MutexGuard<'_, Queue>, frames: impl IntoIterator<Item = Frame>) {
        for frame in frames {
            if queue.closed {
                return;
            }
            if queue.bytes + frame.bytes() > self.bytes_max {
                self.end_with(queue, TOO_SLOW);
                return;
            }
            queue.bytes += frame.bytes();
            if !queue.settle() {
                self.end_with(queue, CLIENTS_FULL);
                return;
            }
            queue.frames.push_back(frame);
        }
        wake(queue);
    }

    /// Drops what waits, and has the session end its connection for this reason.
    pub fn end(&self, reason: &'static str) {
        let queue = self.queue();
        if !queue.closed {
            self.end_with(queue, reason);
        }
    }

    fn end_with(&self, mut queue: MutexGuard<'_, Queue>, reason: &'static str) {
        queue.ended = Some(reason);
        queue.closed = true;
        let frames = std::mem::take(&mut queue.frames);
        queue.bytes = 0;
        queue.settle();
        let parked = std::mem::take(&mut queue.parked);
        wake(queue);
        // What was parked holds this outbox: it is dropped outside of the lock.
        drop((frames, parked));
    }

    /// How much may wait before readers do: half of the bound is kept for live events and answers. While the memory of
    /// all clients is tight it is little, so that clients that are slow wait with readers and not with it.
    fn answers_max(&self) -> usize {
        let half = self.bytes_max / 2;
        if self.memory.is_tight() { half.min(OUTBOX_SHARE_BYTES) } else { half }
    }

    /// Whether a reader should wait before it adds more. If so `parked` runs when the client has caught up; else it is given back.
    pub fn park_if_busy(&self, parked: Parked) -> Option<Parked> {
        let mut queue = self.queue();
        if queue.closed {
            return None;
        }
        if queue.bytes < self.answers_max() {
            return Some(parked);
        }
        queue.parked.push(parked);
        None
    }

    /// How many bytes of an answer a reader may add at once; `None` when it should wait.
    pub fn room_for_answer(&self) -> Option<usize> {
        let room = self.answers_max().checked_sub(self.queue().bytes).filter(|room| *room > 0)?;
        Some(room.min(ANSWER_BYTES_MAX).min(self.bytes_max / ANSWER_PARTS_MIN).max(1))
    }

    /// Waits until there is something to send, or the client is not kept.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue();
        if !queue.frames.is_empty() || queue.ended.is_some() {
            return Poll::Ready(());
        }
        match &mut queue.waiting {
            Some(waiting) => waiting.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits until the client is not kept since there is no memory for it.
    pub(crate) fn poll_sent_away(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue();
        if queue.ended == Some(CLIENTS_FULL) {
            return Poll::Ready(());
        }
        match &mut queue.waiting {
            Some(waiting) => waiting.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Takes frames of up to `bytes` in all, but at least one if there is any; work that waited for room
    /// goes on.
    pub fn take(&self, bytes: usize) -> VecDeque<Frame> {
        let mut queue = self.queue();
        let mut out = VecDeque::new();
        let mut taken = queue.bytes;
        if queue.bytes <= bytes {
            // An idle client's queue holds no memory.
            out = std::mem::take(&mut queue.frames);
        } else {
            taken = 0;
            while taken < bytes
                && let Some(frame) = queue.frames.pop_front()
            {
                taken += frame.bytes();
                out.push_back(frame);
            }
        }
        queue.bytes -= taken;
        // Less than before: there is room.
        queue.settle();
        let parked = match queue.bytes < self.bytes_max / 4 {
            true => std::mem::take(&mut queue.parked),
            false => Vec::new(),
        };
        drop(queue);
        parked.into_iter().for_each(|work| work());
        out
    }

    /// Why the client is not kept, for it to read; `None` while it is.
    pub fn ended(&self) -> Option<&'static str> {
        self.queue().ended
    }

    /// Whether nobody will read this outbox any more.
    pub fn is_closed(&self) -> bool {
        self.queue().closed
    }

    /// Ends it: nothing is added any more.
    pub fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        let left = (std::mem::take(&mut queue.parked), queue.waiting.take());
        drop(queue);
        drop(left);
    }
}

/// Lets go of a queue and wakes its session, if it waits: one that is already up looks again by itself.
fn wake(mut queue: MutexGuard<'_, Queue>) {
    let waiting = queue.waiting.take();
    drop(queue);
    if let Some(waiting) = waiting {
        waiting.wake();
    }
}

/// What the pipeline knows of a connection.
pub struct Listener {
    /// Where its answers go.
    pub outbox: Outbox,
    /// The URLs that mean this relay on this connection; the same for all that came the same way.
    pub relay: Arc<RelayNames>,
    /// Whom rates are charged to, and who has a turn where many wait.
    pub address: IpAddr,
    /// The keys that it has proved (NIP-42).
    keys: RwLock<Vec<PublicKey>>,
}

impl Listener {
    /// A connection that has proved nothing.
    pub fn new(outbox: Outbox, relay: Arc<RelayNames>, address: IpAddr) -> Listener {
        Listener { outbox, relay, address, keys: RwLock::default() }
    }

    /// Runs `with` the keys that the connection has proved.
    pub fn with_keys<T>(&self, with: impl FnOnce(&[PublicKey]) -> T) -> T {
        with(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a proved key, unless there are `most` already; says whether it is among them now.
    pub fn add_key(&self, key: PublicKey, most: usize) -> bool {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.contains(&key) {
            return true;
        }
        if keys.len() >= most {
            return false;
        }
        keys.push(key);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn text(bytes: usize) -> Frame {
        Frame::Text("x".repeat(bytes))
    }

    #[test]
    fn what_waits_beyond_its_share_is_taken_from_all_clients_and_given_back() {
        let memory = Ledger::new(1_000 * KIB);
        let outbox = Outbox::new(500 * KIB, SlowClient::Close, &memory);
        outbox.push(text(OUTBOX_SHARE_BYTES - FRAME_OVERHEAD_BYTES));
        assert_eq!(memory.bytes(), 0);
        outbox.push(text(100 * KIB));
        assert_eq!(memory.bytes(), 100 * KIB + FRAME_OVERHEAD_BYTES);
        assert_eq!(outbox.take(1).len(), 1);
        assert_eq!(memory.bytes(), 100 * KIB + FRAME_OVERHEAD_BYTES - OUTBOX_SHARE_BYTES);
        outbox.end("for a reason");
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn who_needs_more_than_there_is_is_let_go_and_nobody_else() {
        let memory = Ledger::new(100 * KIB);
        let [slow, other] = [(); 2].map(|()| Outbox::new(500 * KIB, SlowClient::Close, &memory));
        (0..9).for_each(|_| slow.push(text(10 * KIB)));
        assert_eq!(slow.ended(), None);
        other.push(text(OUTBOX_SHARE_BYTES - FRAME_OVERHEAD_BYTES));
        slow.push(text(30 * KIB));
        assert_eq!((slow.ended(), other.ended()), (Some(CLIENTS_FULL), None));
        other.push(text(90 * KIB));
        assert_eq!(other.ended(), None);
        drop(other);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn small_queries_have_room_when_all_is_taken() {
        let memory = Ledger::new(100);
        let outbox = Outbox::new(KIB, SlowClient::Close, &memory);
        let all = outbox.charge(100).expect("room for all");
        let own = outbox.charge(QUERIES_SHARE_BYTES).expect("room of its own");
        assert!(outbox.charge(1).is_none());
        drop(own);
        assert!(outbox.charge(1).is_some());
        drop(all);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn while_memory_is_tight_answers_wait_with_their_readers() {
        let memory = Ledger::new(100 * KIB);
        let outbox = Outbox::new(64 * KIB, SlowClient::Close, &memory);
        assert!(outbox.room_for_answer().is_some());
        outbox.push(text(10 * KIB));
        assert!(outbox.room_for_answer().is_some());
        let others = memory.take(80 * KIB).expect("room");
        assert_eq!(outbox.room_for_answer(), None);
        assert!(outbox.park_if_busy(Box::new(|| {})).is_none());
        outbox.take(64 * KIB);
        assert!(outbox.room_for_answer().is_some(), "who has read is answered, however little there is");
        outbox.push(text(10 * KIB));
        drop(others);
        assert!(outbox.room_for_answer().is_some());
    }
}
