//! A relay without threads, sockets and a runtime: its caller has each session and each stage of the pipeline do the
//! next piece of work, in whatever order. For tests that try many orders, and the same one again. What is done is what
//! a running relay does; only who says when is another.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::StartError;
use super::server::{Shared, Stop, open_store};
use super::session::{self, Session};
use crate::admin::{Begun, Caller, Denied};
use crate::clock::Clock;
use crate::community::{Communities, Community, in_effect};
use crate::config::{Config, Current};
use crate::event::PublicKey;
use crate::nips::nip86;
use crate::pipeline::by_hand::ByHand;
use crate::pipeline::{Part, PassedOn, Pipeline};
use crate::reload::Reloader;
use crate::rule::RelayNames;
use crate::store::{Store, StoreError};

/// Where its clients come from.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// See the module.
pub struct RelayByHand {
    shared: Arc<Shared>,
    pipeline: Arc<Pipeline>,
    stages: RefCell<ByHand>,
    store: Arc<Store>,
    stop: Arc<Stop>,
}

/// A call of the management API that has been begun.
pub struct Called<'a>(Begun<'a>);

impl Called<'_> {
    /// Whether what it changes is on disk, so that it can take effect.
    pub fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    /// Lets it take effect. A call that is not ready waits, and for ever if nobody else has the writer work.
    ///
    /// # Errors
    /// When the store failed.
    pub fn finish(self) -> Result<Value, Denied> {
        self.0.finish()
    }
}

impl RelayByHand {
    /// Opens the store and builds the index.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(config: Config, clock: Clock) -> Result<RelayByHand, StartError> {
        let store = Arc::new(open_store(&config.store)?);
        let path = config.store.path.clone();
        let configured = Arc::new(config);
        let (config, _) = in_effect(&configured, &store)
            .map_err(|reason| StartError::Open { path: path.clone(), reason })?;
        let communities =
            Communities::open(&config, &store).map_err(|reason| StartError::Open { path, reason })?;
        let communities = Arc::new(communities);
        let current = Current::new(config);
        let (pipeline, stages) =
            ByHand::assemble(&current, Arc::clone(&store), Arc::clone(&communities), clock.clone())?;
        let pipeline = Arc::new(pipeline);
        let reloader = Arc::new(Reloader {
            current,
            communities: Arc::clone(&communities),
            pipeline: Arc::clone(&pipeline),
            store: Arc::clone(&store),
            clock,
            load: None,
            mirrors: None,
            configured: Mutex::new(configured),
        });
        let stop = Arc::<Stop>::default();
        let shared = Shared::new(
            reloader,
            communities,
            Arc::clone(&pipeline),
            Arc::clone(&store),
            Arc::clone(&stop),
            None,
        );
        Ok(RelayByHand { shared: Arc::new(shared), pipeline, stages: RefCell::new(stages), store, stop })
    }

    /// A session of the community at a path with who is at the other end of a stream, which begins with WebSocket
    /// frames. It is polled within a runtime of tokio's, for its timers. `None` when there is no such community.
    pub fn connect<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        path: &str,
        stream: S,
        challenge: [u8; 16],
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let community = self.shared.communities.at(path)?;
        let relay = self.names(&community);
        let session = Session::new(Arc::clone(&self.shared), community, relay, ADDRESS, ADDRESS);
        Some(session::run(session.with_challenge(challenge), stream, Vec::new(), None))
    }

    fn names(&self, community: &Community) -> Arc<RelayNames> {
        self.shared.names(community, None)
    }

    /// Its communities.
    pub fn communities(&self) -> &Communities {
        &self.shared.communities
    }

    /// The stages of its pipeline.
    pub fn parts(&self) -> Vec<Part> {
        self.stages.borrow().parts()
    }

    /// Has a stage do its next piece of work; false when it has none.
    pub fn step(&self, part: Part) -> bool {
        self.stages.borrow_mut().step(part)
    }

    /// How many events of a community have been passed on to whoever listens.
    pub fn passed_on_count(&self, community: &Community) -> usize {
        self.stages.borrow().passed_on(community.id).len()
    }

    /// All events of a community that were passed on, in order.
    pub fn passed_on(&self, community: &Community) -> Vec<PassedOn> {
        self.stages.borrow().passed_on(community.id).to_vec()
    }

    /// Has the writer remove, when it comes to it, what expired or vanished.
    pub fn sweep(&self) {
        for community in self.shared.communities.iter() {
            // Who does not wait is not told.
            drop(self.pipeline.begin_sweep(&community));
        }
    }

    /// Begins a call of the management API of a community, by who has proved a key.
    ///
    /// # Errors
    /// When there is no such method, the caller may not call it, or it makes no sense.
    pub fn call<'a>(
        &'a self,
        community: &'a Arc<Community>,
        key: PublicKey,
        body: &str,
    ) -> Result<Called<'a>, Denied> {
        let (name, method) =
            nip86::read(body.as_bytes()).map_err(|error| Denied::Refused(error.to_string()))?;
        let relay = self.names(community);
        let caller = Caller { community, key, session: None, relay: &relay };
        self.shared.admin.begin(&caller, &name, &method, self.pipeline.clock.now()).map(Called)
    }

    /// From now on the disk takes nothing more: whoever commits is told that it failed, and all else goes on as it does
    /// in the moment before a machine without power stands still.
    pub fn cut_disk(&self) {
        self.store.take_no_more();
    }

    /// Tells all sessions to finish what is under way and to end.
    pub fn stop(&self) {
        self.stop.set();
    }

    /// Finishes what is queued and closes the store. All sessions must have been dropped, as those that do not end
    /// in time are by a relay that stops.
    ///
    /// # Errors
    /// When the store could not make everything durable.
    pub fn close(self) -> Result<(), StoreError> {
        let RelayByHand { shared, pipeline, stages, store, .. } = self;
        drop(shared);
        if let Some(pipeline) = Arc::into_inner(pipeline) {
            pipeline.stop();
        }
        stages.into_inner().end();
        match Arc::into_inner(store) {
            Some(store) => store.close(),
            // The last holder closes it on drop.
            None => Ok(()),
        }
    }
}
