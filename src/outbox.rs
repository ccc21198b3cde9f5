//! What a session has yet to send: a queue of frames, bounded in bytes. In: frames from the pipeline and
//! the session itself. Out: frames to the socket. A full outbox delays nobody but its own client.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::config::SlowClient;
use crate::event::PublicKey;
use crate::filter::Filter;
use crate::message;
use crate::rule::RelayNames;

/// What a frame takes besides its text.
const FRAME_OVERHEAD_BYTES: usize = 64;

/// A queue that grew beyond this many frames gives its memory back once it is empty.
const KEPT_FRAMES_MAX: usize = 16;

/// One of a client's subscriptions, or a query of its. A repeated REQ makes a new one and closes the old.
#[derive(Debug)]
pub struct Subscription {
    /// The client's name for it.
    pub id: String,
    /// What it asks for.
    pub filters: Vec<Filter>,
    /// Its place among the live ones; [`Subscription::NOT_LIVE`] before and after.
    pub(crate) live: AtomicU32,
    closed: AtomicBool,
    event_head: String,
}

impl Subscription {
    /// In place of a number: not registered for live events.
    pub(crate) const NOT_LIVE: u32 = u32::MAX;

    /// An open subscription.
    pub fn new(id: String, filters: Vec<Filter>) -> Subscription {
        let event_head = message::event_head(&id);
        Subscription {
            id,
            filters,
            live: AtomicU32::new(Self::NOT_LIVE),
            closed: AtomicBool::new(false),
            event_head,
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

/// One message to a client.
#[derive(Debug)]
pub enum Frame {
    /// For the connection as a whole.
    Text(String),
    /// For a subscription: EOSE, CLOSED or COUNT.
    Answer(Arc<Subscription>, String),
    /// An event for a subscription; its JSON is shared by all who receive it.
    Event(Arc<Subscription>, Bytes),
}

impl Frame {
    fn bytes(&self) -> usize {
        FRAME_OVERHEAD_BYTES
            + match self {
                Frame::Text(text) | Frame::Answer(_, text) => text.len(),
                Frame::Event(_, body) => body.len(),
            }
    }

    /// The message's text; `None` when its subscription has ended meanwhile.
    pub fn into_text(self) -> Option<String> {
        match self {
            Frame::Text(text) => Some(text),
            Frame::Answer(subscription, text) => Some(text).filter(|_| !subscription.is_closed()),
            Frame::Event(subscription, body) => {
                if subscription.is_closed() {
                    return None;
                }
                let mut text = Vec::with_capacity(subscription.event_head.len() + body.len() + 1);
                text.extend_from_slice(subscription.event_head.as_bytes());
                text.extend_from_slice(&body);
                text.push(b']');
                // Bodies are written by `Event::to_json`, from strings.
                String::from_utf8(text).ok()
            }
        }
    }
}

/// Work that waits until the client has read some of what it was sent.
pub type Parked = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    parked: Vec<Parked>,
    closed: bool,
    /// Set when the client was too slow to be kept.
    overflowed: bool,
}

/// A session's bounded queue of frames.
pub struct Outbox {
    queue: Mutex<Queue>,
    notify: Notify,
    bytes_max: usize,
    slow_client: SlowClient,
}

impl Outbox {
    /// An empty outbox that holds up to `bytes_max`.
    pub fn new(bytes_max: usize, slow_client: SlowClient) -> Outbox {
        Outbox { queue: Mutex::default(), notify: Notify::new(), bytes_max, slow_client }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that holds the lock can panic half-way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an answer. A client that lets its answers pile up beyond the bound is closed.
    pub fn push(&self, frame: Frame) {
        let mut queue = self.queue();
        if queue.closed {
            return;
        }
        if queue.bytes + frame.bytes() > self.bytes_max {
            self.overflow(queue);
            return;
        }
        queue.bytes += frame.bytes();
        queue.frames.push_back(frame);
        drop(queue);
        self.notify.notify_one();
    }

    /// Adds a live event, or does with a client that is too slow what the setting says.
    pub fn push_live(&self, frame: Frame) {
        if self.slow_client == SlowClient::Drop {
            let queue = self.queue();
            if queue.bytes + frame.bytes() > self.bytes_max {
                return;
            }
        }
        self.push(frame);
    }

    fn overflow(&self, mut queue: MutexGuard<'_, Queue>) {
        queue.overflowed = true;
        queue.closed = true;
        queue.frames = VecDeque::new();
        queue.bytes = 0;
        let parked = std::mem::take(&mut queue.parked);
        drop(queue);
        // What was parked holds this outbox: it is dropped outside of the lock.
        drop(parked);
        self.notify.notify_one();
    }

    /// Whether a reader should wait before it adds more: half of the bound is kept for live events and
    /// answers. If so `parked` runs when the client has caught up; else it is given back.
    pub fn park_if_busy(&self, parked: Parked) -> Option<Parked> {
        let mut queue = self.queue();
        if queue.closed {
            return None;
        }
        if queue.bytes < self.bytes_max / 2 {
            return Some(parked);
        }
        queue.parked.push(parked);
        None
    }

    /// Whether more than half of the bound is taken.
    pub fn is_busy(&self) -> bool {
        self.queue().bytes >= self.bytes_max / 2
    }

    /// Waits until there is something to send, or the outbox has overflowed.
    pub async fn ready(&self) {
        loop {
            let notified = self.notify.notified();
            {
                let queue = self.queue();
                if !queue.frames.is_empty() || queue.overflowed {
                    return;
                }
            }
            notified.await;
        }
    }

    /// Takes frames of up to `bytes` in all, but at least one if there is any; work that waited for room
    /// goes on.
    pub fn take(&self, bytes: usize, out: &mut Vec<Frame>) {
        let mut queue = self.queue();
        let mut taken = 0;
        while taken < bytes
            && let Some(frame) = queue.frames.pop_front()
        {
            taken += frame.bytes();
            out.push(frame);
        }
        queue.bytes -= taken;
        if queue.frames.is_empty() && queue.frames.capacity() > KEPT_FRAMES_MAX {
            queue.frames = VecDeque::new();
        }
        let parked = match queue.bytes < self.bytes_max / 4 {
            true => std::mem::take(&mut queue.parked),
            false => Vec::new(),
        };
        drop(queue);
        parked.into_iter().for_each(|work| work());
    }

    /// Whether the client was too slow to be kept.
    pub fn has_overflowed(&self) -> bool {
        self.queue().overflowed
    }

    /// Whether nobody will read this outbox any more.
    pub fn is_closed(&self) -> bool {
        self.queue().closed
    }

    /// Ends it: nothing is added any more.
    pub fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        let parked = std::mem::take(&mut queue.parked);
        drop(queue);
        drop(parked);
    }
}

/// What the pipeline knows of a connection.
pub struct Listener {
    /// Where its answers go.
    pub outbox: Outbox,
    /// The URLs that mean this relay on this connection.
    pub relay: RelayNames,
    /// The keys that it has proved (NIP-42).
    keys: RwLock<Vec<PublicKey>>,
}

impl Listener {
    /// A connection that has proved nothing.
    pub fn new(outbox: Outbox, relay: RelayNames) -> Listener {
        Listener { outbox, relay, keys: RwLock::default() }
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
