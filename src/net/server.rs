//! A running relay: opens the store, builds the index, starts the pipeline, accepts connections, and
//! stops in order. In: a config. Out: a [`Relay`] to ask and to stop.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::http::{self, Connection};
use crate::clock::Clock;
use crate::community::{Communities, Community, OpenError};
use crate::config::{self, Config};
use crate::control::{Control, House};
use crate::event::{Event, PublicKey};
use crate::pipeline::bodies::BodyError;
use crate::pipeline::{self, Pipeline};
use crate::policy::Explanation;
use crate::rule::RelayNames;
use crate::store::{CommunityId, Durability, Options, Store, StoreError};

/// Descriptors besides those of connections: the store's files, standard streams, timers.
const OTHER_DESCRIPTORS: u64 = 128;

/// Connections that the kernel keeps waiting while the relay is busy accepting.
const BACKLOG: u32 = 1_024;

/// Names of the relay that are kept for the next connection: one for each community and address of this machine.
const NAMES_MAX: usize = 4_096;

/// How long accepting rests when the machine has no descriptors or memory left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store's content cannot be understood.
    #[error("{path}: {reason}")]
    Open {
        /// The store's folder.
        path: PathBuf,
        /// What is wrong.
        reason: OpenError,
    },
    /// The address is taken or not this machine's.
    #[error("cannot listen on {address}: {reason}; give another address with --listen or in server.listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        reason: io::Error,
    },
    /// The machine gives no more threads or descriptors.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// The machine gives no more threads.
    #[error(transparent)]
    Threads(#[from] pipeline::StartError),
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) config: Arc<Config>,
    pub(super) communities: Arc<Communities>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) stop: Arc<Stop>,
    addresses: Arc<Addresses>,
    names: Mutex<Names>,
}

/// The names of the relay by the ways on which connections came, so that those of one way share them.
type Names = HashMap<(CommunityId, Option<SocketAddr>), Arc<RelayNames>>;

/// Tells all connections that the relay is stopping.
#[derive(Default)]
pub(super) struct Stop {
    is_set: AtomicBool,
    notify: Notify,
}

impl Stop {
    fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    /// Whether the relay is stopping.
    pub(super) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::SeqCst)
    }

    /// Waits until the relay is stopping.
    pub(super) async fn wait(&self) {
        // From here on it hears of it, so between the look and the wait nothing is missed.
        let notified = self.notify.notified();
        if !self.is_set() {
            notified.await;
        }
    }
}

/// Connections by address.
#[derive(Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// Counts one connection of an address while it lives.
pub(super) struct AddressGuard {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

/// Counts one connection while it lives.
pub(super) struct Guard(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Shared {
    /// Counts a connection of an address; `None` when it has as many as it may.
    pub(super) fn count_address(&self, address: IpAddr) -> Option<AddressGuard> {
        let config = &self.config;
        let mut counts = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if config.rate.enabled && *count >= config.server.connections_per_address_max {
            return None;
        }
        *count += 1;
        Some(AddressGuard { addresses: Arc::clone(&self.addresses), address })
    }

    /// The URLs that mean a community to who came to this address of this machine.
    pub(super) fn names(&self, community: &Community, local: Option<SocketAddr>) -> Arc<RelayNames> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= NAMES_MAX {
            // Connections keep theirs.
            names.clear();
        }
        let new = || Arc::new(RelayNames::new(&community.settings().relay.urls, local, community.path()));
        Arc::clone(names.entry((community.id, local)).or_insert_with(new))
    }
}

impl Drop for AddressGuard {
    fn drop(&mut self) {
        let mut counts = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Opens the store that a config names.
///
/// # Errors
/// When it cannot be opened, or another process has it open.
pub(crate) fn open_store(settings: &config::Store) -> Result<Store, StoreError> {
    Store::open(store_options(settings))
}

/// How the store of a config is opened.
pub(crate) fn store_options(settings: &config::Store) -> Options {
    Options {
        path: settings.path.clone(),
        cache_bytes: settings.cache_bytes,
        durability: match settings.durability {
            config::Durability::Power => Durability::Power,
            config::Durability::Process => Durability::Process,
        },
    }
}

/// A relay that is serving. Dropping it without [`Relay::stop`] ends it without saying goodbye.
pub struct Relay {
    address: SocketAddr,
    communities: Arc<Communities>,
    runtime: Runtime,
    pipeline: Arc<Pipeline>,
    store: Arc<Store>,
    stop: Arc<Stop>,
    control: Option<Control>,
    connections: Arc<Semaphore>,
    connections_max: usize,
    patience: Duration,
}

impl Relay {
    /// Opens the store, builds the index and serves.
    ///
    /// # Errors
    /// When the store cannot be read or the address not be had.
    pub fn start(config: Config, clock: Clock) -> Result<Relay, StartError> {
        let store = Arc::new(open_store(&config.store)?);
        let path = config.store.path.clone();
        let communities =
            Communities::open(&config, &store).map_err(|reason| StartError::Open { path, reason })?;
        let communities = Arc::new(communities);
        for path in communities.unused() {
            tracing::warn!("the store holds what was sent to {path}, where no [[community]] is any more");
        }
        let config = Arc::new(config);
        let connections_max = raise_descriptors(config.server.connections_max);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("plaza-net").build()?;
        let address = config.server.listen;
        let listener = {
            let _runtime = runtime.enter();
            listen(address).map_err(|reason| StartError::Listen { address, reason })?
        };
        let address = listener.local_addr()?;
        let mut pipeline = Pipeline::start(&config, Arc::clone(&store), Arc::clone(&communities), clock)?;
        pipeline.start_learning(&communities)?;
        let pipeline = Arc::new(pipeline);
        let stop = Arc::<Stop>::default();
        let connections = Arc::new(Semaphore::new(connections_max));
        let shared = Arc::new(Shared {
            config: Arc::clone(&config),
            communities: Arc::clone(&communities),
            pipeline: Arc::clone(&pipeline),
            stop: Arc::clone(&stop),
            addresses: Arc::default(),
            names: Mutex::default(),
        });
        runtime.spawn(accept(listener, shared, Arc::clone(&connections)));
        let control = start_control(&runtime, &store, &communities, &pipeline);
        let patience = Duration::from_secs(config.server.shutdown_seconds_max);
        Ok(Relay {
            address,
            communities,
            runtime,
            pipeline,
            store,
            stop,
            control,
            connections,
            connections_max,
            patience,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the rules of one of its communities say of an event at this moment, if a connection that has proved
    /// these keys sends it. Changes nothing; rate limits are not asked.
    ///
    /// # Errors
    /// When a stored event that bears on this one cannot be read.
    pub fn explain(
        &self,
        community: &Community,
        event: &Event,
        keys: &[PublicKey],
    ) -> Result<Explanation, BodyError> {
        let rules = community.rules();
        let relay = RelayNames::new(&rules.settings.relay.urls, Some(self.address), community.path());
        let context = rules.context(self.pipeline.clock.now(), keys, &relay);
        pipeline::explain(community, &rules, event, true, &context, Some(&self.pipeline.bodies))
    }

    /// The root community.
    pub fn community(&self) -> &Arc<Community> {
        self.communities.root()
    }

    /// All communities, the root first.
    pub fn communities(&self) -> &Communities {
        &self.communities
    }

    /// Removes what expired or vanished now, and waits until it is done.
    pub fn sweep_now(&self) {
        for community in self.communities.iter() {
            self.pipeline.sweep_now(community);
        }
    }

    /// Has all communities learn from their stored events now, and waits until it is done.
    pub fn learn_now(&self) {
        self.pipeline.learn_now();
    }

    /// Runs a future on the relay's runtime: for a caller that waits for signals.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Stops accepting, finishes what is queued, tells clients, and closes the store.
    ///
    /// # Errors
    /// When the store could not make everything durable.
    pub fn stop(self) -> Result<(), StoreError> {
        let Relay { runtime, pipeline, store, stop, control, connections, connections_max, patience, .. } =
            self;
        stop.set();
        if let Some(control) = control {
            control.stop();
        }
        runtime.block_on(async {
            let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
            if tokio::time::timeout(patience, connections.acquire_many(all)).await.is_err() {
                tracing::warn!("some connections did not end in time and were cut");
            }
        });
        // What is left of sessions is dropped here, and with it their hold on the pipeline.
        runtime.shutdown_timeout(Duration::from_secs(1));
        match Arc::into_inner(pipeline) {
            Some(pipeline) => pipeline.stop(),
            None => tracing::error!("a session outlived the runtime; its queue is not waited for"),
        }
        match Arc::into_inner(store) {
            Some(store) => store.close(),
            // The last holder closes it on drop.
            None => Ok(()),
        }
    }
}

/// Starts the operator's way in. A relay serves without it as well.
fn start_control(
    runtime: &Runtime,
    store: &Arc<Store>,
    communities: &Arc<Communities>,
    pipeline: &Arc<Pipeline>,
) -> Option<Control> {
    let _runtime = runtime.enter();
    let house = House {
        store: Arc::clone(store),
        communities: Arc::clone(communities),
        pipeline: Arc::clone(pipeline),
    };
    let started = Control::start(house);
    started
        .inspect_err(|error| {
            tracing::warn!(
                "no control socket in {}: {error}; commands such as `plaza backup` need the relay stopped",
                store.path().display()
            );
        })
        .ok()
}

/// Raises the soft limit of open files to what the connections need; returns how many connections the
/// hard limit leaves room for.
fn raise_descriptors(connections_max: usize) -> usize {
    let wanted = connections_max as u64 + OTHER_DESCRIPTORS;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit < wanted => {
            let possible = usize::try_from(limit.saturating_sub(OTHER_DESCRIPTORS)).unwrap_or(1).max(1);
            tracing::warn!(
                "the system allows {limit} open files, so {possible} connections instead of {connections_max}; \
                 raise the hard limit (ulimit -Hn, or LimitNOFILE= in the unit)"
            );
            possible
        }
        Ok(_) => connections_max,
        Err(error) => {
            tracing::warn!("cannot raise the limit of open files: {error}");
            connections_max
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // A restarted relay must not wait for old connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, connections: Arc<Semaphore>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.wait() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match Arc::clone(&connections).try_acquire_owned() {
                Ok(permit) => {
                    tokio::spawn(serve(stream, peer, Arc::clone(&shared), Arc::new(Guard(permit))));
                }
                Err(_) => drop(tokio::spawn(refuse(stream))),
            },
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Tells a client that there is no room, without reading what it wants.
async fn refuse(mut stream: TcpStream) {
    let answer = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n";
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(answer)).await;
}

async fn serve(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, guard: Arc<Guard>) {
    // Answers are small and must not wait for each other.
    let _ = stream.set_nodelay(true);
    let header_time = Duration::from_secs(shared.config.server.http_header_seconds_max);
    let stop = Arc::clone(&shared.stop);
    let connection = Connection { local: stream.local_addr().ok(), shared, peer, guard };
    let service = service_fn(|request| http::serve(&connection, request));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_time)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(serving);
    tokio::select! {
        // A peer that speaks no HTTP has been answered, or is gone.
        _ = &mut serving => {}
        () = stop.wait() => {}
    }
}
