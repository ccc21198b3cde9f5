//! The simulated relay and its sessions. Each session is a future that is polled when it was woken and its turn has
//! come; each stage of the pipeline does one piece of work when it is told.

use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use plaza::clock::Clock;
use plaza::community::Community;
use plaza::config::{Config, Durability};
use plaza::event::PublicKey;
use plaza::net::RelayByHand;
use plaza::pipeline::PassedOn;

use crate::oracle::{LIMIT_DEFAULT, LIMIT_MAX};
use crate::wire::Wire;

/// Where its communities are; the first so many of them are there.
pub(crate) const TOWNS: [&str; 3] = ["/", "/berlin", "/harbour"];

/// The name of a community.
pub(crate) fn url(town: usize) -> String {
    format!("ws://simulated.example{}", TOWNS[town].trim_end_matches('/'))
}

/// Set when a session was woken.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Session {
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Flag>,
}

/// See the module.
pub(crate) struct House {
    /// The relay.
    pub(crate) relay: Rc<RelayByHand>,
    /// `None` for those that have ended.
    sessions: Vec<Option<Session>>,
}

/// The settings of simulated relays: small bounds, so that they are met.
fn config(data: &Path, owner: PublicKey, towns: usize) -> Config {
    let mut config = Config::default();
    config.store.path = data.to_owned();
    config.store.cache_bytes = 1 << 20;
    config.store.durability = Durability::Process;
    config.store.body_cache_bytes = 20_000;
    config.store.group_events_max = 4;
    config.rate.enabled = false;
    config.server.verify_threads = 2;
    config.server.reader_threads = 2;
    config.root.admin.owners = [owner].into_iter().collect();
    config.root.relay.urls = vec![url(0)];
    let limits = &mut config.root.limits;
    limits.limit_default = LIMIT_DEFAULT;
    limits.limit_max = LIMIT_MAX;
    // An answer goes out in parts of a few events each.
    limits.message_bytes_max = 32 << 10;
    limits.hold_bytes_max = 64 << 10;
    limits.hold_events_max = 8;
    limits.outbox_bytes_max = 64 << 10;
    limits.ingest_events_per_connection_max = 3;
    // The machine's own time must not matter.
    limits.query_milliseconds_max = 3_600_000;
    for (town, path) in TOWNS.iter().enumerate().take(towns).skip(1) {
        let mut settings = config.root.clone();
        settings.relay.path = (*path).to_owned();
        settings.relay.urls = vec![url(town)];
        config.communities.push(settings);
    }
    config
}

impl House {
    /// Opens the store that is there.
    pub(crate) fn open(data: &Path, clock: &Clock, owner: PublicKey, towns: usize) -> House {
        let relay = RelayByHand::open(config(data, owner, towns), clock.clone()).expect("the relay opens");
        House { relay: Rc::new(relay), sessions: Vec::new() }
    }

    /// One of its communities.
    pub(crate) fn community(&self, town: usize) -> Arc<Community> {
        self.relay.communities().at(TOWNS[town]).expect("a community")
    }

    /// A session of a community and its client, with a pipe of so many bytes between them.
    pub(crate) fn connect(&mut self, town: usize, pipe_bytes: usize, challenge: [u8; 16]) -> Wire {
        let (near, far) = tokio::io::duplex(pipe_bytes);
        let future = self.relay.connect(TOWNS[town], far, challenge).expect("a community");
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.sessions.push(Some(Session { future: Box::pin(future), woken }));
        Wire::new(near)
    }

    /// How many sessions there have been.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Whether any session has not ended.
    pub(crate) fn has_sessions(&self) -> bool {
        self.sessions.iter().any(Option::is_some)
    }

    /// Has a session go on, if it was woken.
    pub(crate) fn poll(&mut self, number: usize) -> bool {
        let Some(session) = &mut self.sessions[number] else { return false };
        if !session.woken.0.swap(false, Ordering::SeqCst) {
            return false;
        }
        let waker = Waker::from(Arc::clone(&session.woken));
        if session.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            self.sessions[number] = None;
        }
        true
    }

    /// The number that the next stored event of a community has at least.
    pub(crate) fn stored_below(&self, town: usize) -> u64 {
        self.community(town).index().next_number()
    }

    /// How many events of a community have been passed on.
    pub(crate) fn passed_on_count(&self, town: usize) -> usize {
        self.relay.passed_on_count(&self.community(town))
    }

    /// Those events, in order, with their numbers.
    pub(crate) fn passed_on(&self, town: usize) -> Vec<PassedOn> {
        self.relay.passed_on(&self.community(town))
    }

    /// Ends all sessions where they are, and leaves the relay.
    pub(crate) fn into_relay(self) -> RelayByHand {
        let House { relay, sessions } = self;
        drop(sessions);
        Rc::into_inner(relay).expect("nobody else has the relay")
    }
}
