//! A running relay: opens the store, builds the index, starts the pipeline, accepts connections, and
//! stops in order. In: a config. Out: a [`Relay`] to ask and to stop.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::listen::{Listeners, Sockets, accept, open};
use super::logged::Logged;
use super::tls::Encryption;
use super::{StartError, monitor, picture};
use crate::admin::Admin;
use crate::clock::Clock;
use crate::community::{Communities, Community, OpenError, in_effect};
use crate::config::{self, Config, Current};
use crate::control::{Control, House};
use crate::event::{Event, PublicKey};
use crate::filter::Filter;
use crate::geo::Area;
use crate::memory::{BLOCKING_THREADS_MAX, Bound, Charge, Ledger, Plan};
use crate::metrics::Metrics;
use crate::mirror::{MirrorStats, Mirrors};
use crate::pipeline::bodies::BodyError;
use crate::pipeline::{self, Pipeline};
use crate::policy::Explanation;
use crate::reload::{Load, ReloadError, Reloaded, Reloader};
use crate::review;
use crate::rule::RelayNames;
use crate::rule::groups::Groups;
use crate::store::{CommunityId, Durability, Options, Store, StoreError};
use crate::words;

/// Descriptors besides those of connections: the store's files, standard streams, timers.
const OTHER_DESCRIPTORS: u64 = 128;

/// Names of the relay that are kept for the next connection: one for each community and address of this machine.
const NAMES_MAX: usize = 4_096;

/// What all connections share.
pub(super) struct Shared {
    pub(super) current: Arc<Current>,
    pub(super) communities: Arc<Communities>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) stop: Arc<Stop>,
    pub(super) admin: Admin,
    /// The port for encrypted connections, if there is one.
    pub(super) tls_port: Option<u16>,
    logged: Logged,
    /// What contexts of compressed messages take.
    contexts: Arc<Ledger>,
    addresses: Arc<Addresses>,
    names: Mutex<Names>,
    pictures: Mutex<Pictures>,
}

impl review::House for Shared {
    fn communities(&self) -> &Communities {
        &self.communities
    }

    fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    fn admin(&self) -> &Admin {
        &self.admin
    }

    fn store(&self) -> &Store {
        self.admin.store()
    }

    fn is_stopping(&self) -> bool {
        self.stop.is_set()
    }
}

/// The names of the relay by the ways on which connections came, so that those of one way share them; and the
/// addresses in the settings that they were made of.
type Names = HashMap<(CommunityId, Option<SocketAddr>), (Vec<String>, Arc<RelayNames>)>;

/// The pictures of communities' areas, each with the area that it shows: drawing one takes milliseconds.
type Pictures = HashMap<CommunityId, (Arc<Area>, Arc<str>)>;

/// Tells all connections that the relay is stopping.
#[derive(Default)]
pub(super) struct Stop {
    is_set: AtomicBool,
    notify: Notify,
}

impl Stop {
    pub(super) fn set(&self) {
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
pub(super) struct Guard {
    _permit: OwnedSemaphorePermit,
    /// Among those of its address, where that is known from the beginning.
    _address: Option<AddressGuard>,
    /// What it takes by itself of the memory of all clients.
    _charge: Charge,
}

impl Guard {
    /// Counts it among all, and among those of its address.
    pub(super) fn new(permit: OwnedSemaphorePermit, address: Option<AddressGuard>, charge: Charge) -> Guard {
        Guard { _permit: permit, _address: address, _charge: charge }
    }
}

impl Shared {
    /// The memory of all clients.
    pub(super) fn memory(&self) -> &Arc<Ledger> {
        &self.pipeline.memory.clients
    }

    /// What connections share from the beginning on.
    pub(super) fn new(
        reloader: Arc<Reloader>,
        communities: Arc<Communities>,
        pipeline: Arc<Pipeline>,
        store: Arc<Store>,
        stop: Arc<Stop>,
        tls_port: Option<u16>,
    ) -> Shared {
        Shared {
            current: Arc::clone(&reloader.current),
            communities,
            pipeline: Arc::clone(&pipeline),
            stop,
            admin: Admin::new(pipeline, store, reloader),
            tls_port,
            logged: Logged::default(),
            contexts: Ledger::unbounded(),
            addresses: Arc::default(),
            names: Mutex::default(),
            pictures: Mutex::default(),
        }
    }

    /// Takes memory for a connection's contexts, among all of them and of what all clients have; `None` when there is no
    /// room for them, or nothing to take.
    pub(super) fn take_context(&self, bytes: usize, bytes_max: usize) -> Option<[Charge; 2]> {
        let among_contexts = self.contexts.take(bytes).filter(|_| self.contexts.bytes() <= bytes_max)?;
        let among_all = self.memory().take(bytes).filter(|_| bytes > 0)?;
        Some([among_contexts, among_all])
    }

    /// Counts a connection of an address; `None` when it has as many as it may.
    pub(super) fn count_address(&self, address: IpAddr) -> Option<AddressGuard> {
        let config = self.current.get();
        let mut counts = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if config.rate.enabled && *count >= config.server.connections_per_address_max {
            return None;
        }
        *count += 1;
        Some(AddressGuard { addresses: Arc::clone(&self.addresses), address })
    }

    /// Whether an address is one of a trusted proxy, which says whom its connections are for.
    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.current.get().server.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// A client's address as the log may tell it.
    pub(super) fn logged(&self, address: IpAddr) -> Option<String> {
        self.logged.address(address, self.current.get().log.addresses)
    }

    /// The picture of a community's area; empty where it has none.
    pub(super) fn picture(&self, community: &Community) -> Arc<str> {
        let area = community.known().area;
        let mut pictures = self.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        match pictures.get(&community.id) {
            Some((drawn, picture)) if Arc::ptr_eq(drawn, &area) => Arc::clone(picture),
            _ => {
                let picture: Arc<str> = picture::of(&area).unwrap_or_default().into();
                pictures.insert(community.id, (area, Arc::clone(&picture)));
                picture
            }
        }
    }

    /// The URLs that mean a community to who came to this address of this machine.
    pub(super) fn names(&self, community: &Community, local: Option<SocketAddr>) -> Arc<RelayNames> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= NAMES_MAX {
            // Connections keep theirs.
            names.clear();
        }
        let settings = community.settings();
        let urls = &settings.relay.urls;
        match names.get(&(community.id, local)) {
            Some((made_of, known)) if made_of == urls => Arc::clone(known),
            _ => {
                let new = Arc::new(RelayNames::new(urls, local, community.path()));
                names.insert((community.id, local), (urls.clone(), Arc::clone(&new)));
                new
            }
        }
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
        touches: 0,
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
    addresses: Vec<SocketAddr>,
    tls_addresses: Vec<SocketAddr>,
    metrics_address: Option<SocketAddr>,
    pub(super) communities: Arc<Communities>,
    pub(super) runtime: Runtime,
    pub(super) pipeline: Arc<Pipeline>,
    store: Arc<Store>,
    reloader: Arc<Reloader>,
    mirrors: Arc<Mirrors>,
    pub(super) stop: Arc<Stop>,
    control: Option<Control>,
    pub(super) connections: Arc<Semaphore>,
    pub(super) connections_max: usize,
    patience: Duration,
}

impl Relay {
    /// Opens the store, builds the index and serves.
    ///
    /// # Errors
    /// When the store cannot be read or the address not be had.
    pub fn start(config: Config, clock: Clock) -> Result<Relay, StartError> {
        Relay::start_on(Sockets::default(), config, clock, None)
    }

    /// The same on sockets that were opened before, with what reads the settings again.
    ///
    /// # Errors
    /// When the store cannot be read or the sockets not be used.
    pub fn start_on(
        sockets: Sockets,
        config: Config,
        clock: Clock,
        load: Option<Load>,
    ) -> Result<Relay, StartError> {
        let plan = Plan::of(&config);
        tell_of_memory(&config);
        let options = Options { touches: plan.store_touches, ..store_options(&plan.store(&config)) };
        let store = Arc::new(Store::open(options)?);
        let path = config.store.path.clone();
        let failed = |reason| StartError::Open { path: path.clone(), reason };
        let configured = Arc::new(config);
        let (config, changed) = in_effect(&configured, &store).map_err(failed)?;
        if !changed.is_empty() {
            tracing::info!("changed at /admin, whatever the settings file says: {}", changed.join(", "));
        }
        let communities = Arc::new(Communities::open(&config, &store).map_err(failed)?);
        for path in communities.unused() {
            tracing::warn!("the store holds what was sent to {path}, where no [[community]] is any more");
        }
        let current = Current::new(config);
        let config = current.get();
        let connections_max = raise_descriptors(config.server.connections_max);
        let runtime = start_runtime()?;
        let encryption = Encryption::prepare(&config)?;
        let listeners = {
            let _runtime = runtime.enter();
            sockets.listen(config.server.listen, config.tls.listen)?
        };
        let pipeline = Arc::new(start_pipeline(&current, &communities, &store, &clock)?);
        let mirrors =
            Mirrors::new(runtime.handle().clone(), Arc::clone(&pipeline), Arc::clone(&communities), &config);
        let reloader = Arc::new(Reloader {
            current: Arc::clone(&current),
            communities: Arc::clone(&communities),
            pipeline: Arc::clone(&pipeline),
            store: Arc::clone(&store),
            clock,
            load,
            mirrors: Some(Arc::clone(&mirrors)),
            configured: Mutex::new(configured),
        });
        let tls_addresses = addresses_of(&listeners.tls)?;
        let monitor = open_monitor(&runtime, config.metrics.listen)?;
        let metrics_address = monitor.as_ref().map(TcpListener::local_addr).transpose()?;
        let control = start_control(&runtime, &store, &communities, &pipeline, &mirrors);
        let relay = Relay {
            addresses: addresses_of(&listeners.plain)?,
            communities,
            runtime,
            pipeline,
            store,
            reloader,
            mirrors,
            control,
            stop: Arc::default(),
            connections: Arc::new(Semaphore::new(connections_max)),
            connections_max,
            patience: Duration::from_secs(config.server.shutdown_seconds_max),
            tls_addresses,
            metrics_address,
        };
        relay.serve(listeners, encryption, monitor);
        relay.mirrors.reconfigure(&config);
        relay.take_up_settings();
        Ok(relay)
    }

    /// In a cluster: goes by settings that were changed on other nodes.
    fn take_up_settings(&self) {
        let Some(log) = &self.pipeline.log else { return };
        let (mut changed, reloader) = (log.settings_changed(), Arc::clone(&self.reloader));
        self.runtime.spawn(async move {
            while changed.changed().await.is_ok() {
                let reloader = Arc::clone(&reloader);
                if let Ok(Err(error)) = tokio::task::spawn_blocking(move || reloader.refresh()).await {
                    tracing::error!("cannot take up changed settings: {error}");
                }
            }
        });
    }

    /// Begins to accept connections.
    fn serve(&self, listeners: Listeners, encryption: Option<Encryption>, monitor: Option<TcpListener>) {
        let shared = Arc::new(Shared::new(
            Arc::clone(&self.reloader),
            Arc::clone(&self.communities),
            Arc::clone(&self.pipeline),
            Arc::clone(&self.store),
            Arc::clone(&self.stop),
            self.tls_addresses.first().map(SocketAddr::port),
        ));
        if let Some(listener) = monitor {
            let (communities, store) = (Arc::clone(&self.communities), Arc::clone(&self.store));
            let started_at = self.reloader.clock.now();
            let metrics = Arc::new(Metrics::new(
                communities,
                store,
                &self.pipeline,
                Arc::clone(&self.mirrors),
                started_at,
            ));
            self.runtime.spawn(monitor::serve(listener, Arc::clone(&shared), metrics));
        }
        self.runtime.spawn(review::serve_all(Arc::clone(&shared)));
        let accept = |listener, tls| {
            let connections = Arc::clone(&self.connections);
            self.runtime.spawn(accept(listener, tls, Arc::clone(&shared), connections));
        };
        listeners.plain.into_iter().for_each(|listener| accept(listener, None));
        if let Some(encryption) = encryption {
            let tls = encryption.tls();
            listeners.tls.into_iter().for_each(|listener| accept(listener, Some(tls.clone())));
            let current = Arc::clone(&self.reloader.current);
            self.runtime.spawn(encryption.keep(self.pipeline.clock.clone(), current, Arc::clone(&self.stop)));
        }
    }

    /// Reads the settings file again and goes by what it says.
    ///
    /// # Errors
    /// When it has a mistake; then nothing has changed.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        self.reloader.reload()
    }

    /// Goes by other settings from now on.
    ///
    /// # Errors
    /// When a new community cannot be opened; then nothing has changed.
    pub fn reconfigure(&self, config: Config) -> Result<Reloaded, ReloadError> {
        self.reloader.apply(config)
    }

    /// The settings as of now.
    pub fn config(&self) -> Arc<Config> {
        self.reloader.current.get()
    }

    /// Where it tells its numbers, if it does.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Where it listens; the first place, if there are several.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where it listens: one place, or all that systemd passed.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where it listens for encrypted connections, if it does.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.tls_addresses
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
        let relay = RelayNames::new(&rules.settings.relay.urls, Some(self.address()), community.path());
        let context = rules.context(self.pipeline.clock.now(), keys, &relay);
        pipeline::explain(community, &rules, event, true, &context, Some(&self.pipeline.bodies))
    }

    /// How each mirror stands.
    pub fn mirrors(&self) -> Vec<MirrorStats> {
        self.mirrors.stats()
    }

    /// The groups that a community's stored events make, as a start would read them if nothing else were known.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn groups_of_events(&self, community: &Community) -> Result<Groups, OpenError> {
        community.groups_of_events(&self.store)
    }

    /// The stored events of a community that a filter finds, whoever may see them, in the order in which they came.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn stored_events(&self, community: &Community, filter: &Filter) -> Result<Vec<Event>, OpenError> {
        community.stored_events(&self.store, filter)
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
            self.pipeline.sweep_now(&community);
        }
    }

    /// Has all communities learn from their stored events now, and waits until it is done.
    pub fn learn_now(&self) {
        self.pipeline.learn_now();
    }

    /// Returns when the relay is to stop and to be started again on the same settings: a node of a cluster has a copy of
    /// another one's store, which takes the place of its own then.
    pub async fn reopening(&self) {
        match &self.pipeline.log {
            Some(log) => log.reopening().await,
            None => std::future::pending().await,
        }
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
        let Relay {
            runtime,
            pipeline,
            store,
            stop,
            control,
            connections,
            connections_max,
            patience,
            reloader,
            mirrors,
            ..
        } = self;
        mirrors.stop();
        drop((reloader, mirrors));
        stop.set();
        pipeline.hurry_plugins(patience / 2);
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

/// The pipeline, with all that the settings have it do.
fn start_pipeline(
    current: &Arc<Current>,
    communities: &Arc<Communities>,
    store: &Arc<Store>,
    clock: &Clock,
) -> Result<Pipeline, StartError> {
    let mut pipeline = Pipeline::start(current, Arc::clone(store), Arc::clone(communities), clock.clone())?;
    pipeline.start_learning(Arc::clone(communities))?;
    pipeline.refresh(communities.iter());
    if let Err(error) = pipeline.ask_plugins(communities)? {
        pipeline.stop();
        return Err(error.into());
    }
    review::begin(&current.get(), communities, store, &pipeline)?;
    pipeline.start_searching(current, communities, store)?;
    Ok(pipeline)
}

/// The threads that serve sockets.
fn start_runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("plaza-net")
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
}

/// Says what the relay may take, and who may take it where that is more than the operator wants.
fn tell_of_memory(config: &Config) {
    let Some(most) = Plan::of(config).memory_bytes_max else { return };
    let bound = Bound::of(config, 0);
    if bound.bytes() < most {
        return;
    }
    tracing::warn!(
        "the settings imply {} of memory before the first event is stored, more than server.memory_bytes_max ({}): \
         raise it, or lower what takes most of it: {}",
        words::bytes(bound.bytes()),
        words::bytes(most),
        bound.largest()
    );
}

/// The socket of `/metrics`, where there is one.
fn open_monitor(runtime: &Runtime, address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let _runtime = runtime.enter();
    let listen = |address| {
        let setting = "metrics.listen";
        open(address).map_err(|reason| StartError::Listen { address, setting, reason })
    };
    address.map(listen).transpose()
}

/// Starts the operator's way in. A relay serves without it as well.
fn start_control(
    runtime: &Runtime,
    store: &Arc<Store>,
    communities: &Arc<Communities>,
    pipeline: &Arc<Pipeline>,
    mirrors: &Arc<Mirrors>,
) -> Option<Control> {
    let _runtime = runtime.enter();
    let house = House {
        store: Arc::clone(store),
        communities: Arc::clone(communities),
        pipeline: Arc::clone(pipeline),
        mirrors: Some(Arc::clone(mirrors)),
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

fn addresses_of(listeners: &[TcpListener]) -> io::Result<Vec<SocketAddr>> {
    listeners.iter().map(TcpListener::local_addr).collect()
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
