//! What a mirror sees of its own community: what is stored and what is new, as a client sees it that has proved the
//! mirror's key. In: filters. Out: times and ids, events as JSON. So nothing goes to another relay that the mirror's
//! key could not read.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::community::{Community, Rules};
use crate::config::SlowClient;
use crate::event::{Id, PublicKey};
use crate::filter::Filter;
use crate::index::{Progress, Scan};
use crate::memory::{self, Charge};
use crate::message;
use crate::nips::nip77;
use crate::outbox::{Frame, Listener, Outbox, Subscription};
use crate::pipeline::Pipeline;
use crate::replay::ReplaySettings;
use crate::rule::{Context, Head, Refusal, RelayNames, Want};

/// Rows of the index that are looked at while the writer waits.
const SLICE_ENTRIES: u64 = 2_048;

/// Bytes of new events that wait to be sent on; beyond it they are found by the next comparison.
const NEW_BYTES_MAX: usize = 4 << 20;

/// Bytes of new events that are taken up at once.
const TAKE_BYTES: usize = 64 << 10;

/// The name of its subscription, which nobody sees.
const NAME: &str = "mirror";

/// A community, and whom it shows itself to.
pub(super) struct Here {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) community: Arc<Community>,
    /// Whether the relay stops.
    pub(super) is_over: Arc<AtomicBool>,
}

/// Why what is stored cannot be gathered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotGathered {
    /// There are more events than one comparison may be about.
    TooMany,
    /// There is no memory for it, or the relay stops.
    NoRoom,
}

impl Here {
    /// Times and ids of what a filter finds, and what they take of the memory of all clients. Looks for long: call it
    /// where nobody waits.
    pub(super) fn gather(
        &self,
        filter: &Filter,
        keys: &[PublicKey],
        most: usize,
    ) -> Result<(Vec<(u64, Id)>, Charge), NotGathered> {
        let mut charge = self.pipeline.memory.clients.nothing();
        let mut found = Vec::new();
        let mut scan = Scan::new(filter, self.community.index().next_number());
        loop {
            let rules = self.community.rules();
            let relay = RelayNames::default();
            let asked = filter.names_events_or_authors();
            let context = Context { asked, ..rules.context(self.pipeline.clock.now(), keys, &relay) };
            let visible = |head: &Head<'_>| self.community.visible(&rules, head, &context);
            let progress = scan.run(&self.community.index(), SLICE_ENTRIES, visible, |one, _| {
                found.push((one.created_at, one.id));
                found.len() <= most
            });
            if found.len() > most {
                return Err(NotGathered::TooMany);
            }
            // Once as it is found, and once as it is compared.
            if self.is_over.load(Ordering::Relaxed)
                || !charge.set(found.capacity() * size_of::<(u64, Id)>() + found.len() * nip77::EVENT_BYTES)
            {
                return Err(NotGathered::NoRoom);
            }
            if progress != Progress::Going {
                return Ok((found, charge));
            }
        }
    }

    /// An event as JSON, if it is still there and shown.
    pub(super) fn body_of(&self, id: &Id, keys: &[PublicKey]) -> Option<Bytes> {
        let rules = self.community.rules();
        let relay = RelayNames::default();
        let context = Context { asked: true, ..rules.context(self.pipeline.clock.now(), keys, &relay) };
        let location = {
            let index = self.community.index();
            let location = *index.wanted(&Want::Id(*id)).first()?;
            let visible = |head: &Head<'_>| self.community.visible(&rules, head, &context);
            index.shows(id, location, visible).then_some(location)?
        };
        match self.pipeline.bodies.get(self.community.id, location) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!("{}: a mirror cannot read an event: {error}", self.community.path());
                None
            }
        }
    }
}

/// What is new in the community, from when it is opened on.
pub(super) struct News {
    here: Arc<Here>,
    listener: Arc<Listener>,
    subscription: Arc<Subscription>,
}

impl News {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the community's rules do not show it to these keys.
    pub(super) fn open(
        here: &Arc<Here>,
        mut filters: Vec<Filter>,
        keys: &[PublicKey],
    ) -> Result<News, Refusal> {
        let Here { pipeline, community, .. } = &**here;
        let now = pipeline.clock.now();
        let outbox = Outbox::new(NEW_BYTES_MAX, SlowClient::Close, &pipeline.memory.clients);
        let nowhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let listener = Arc::new(Listener::new(outbox, Arc::default(), nowhere));
        for key in keys {
            listener.add_key(*key, keys.len());
        }
        let rules = community.rules();
        admit(community, &rules, &filters, &rules.context(now, keys, &listener.relay))?;
        community.read_places(&mut filters);
        let bytes = memory::subscription_bytes(filters.iter().map(Filter::memory_bytes).sum());
        let charge = listener.outbox.charge(bytes).ok_or_else(memory::refusal)?;
        let subscription = Arc::new(Subscription::new(NAME.to_owned(), filters, Some(charge)));
        let replay = ReplaySettings::from(&rules.settings.geohash);
        community.live.register(&listener, &subscription, replay, now);
        // From here on it ends with this.
        let news = News { here: Arc::clone(here), listener, subscription };
        community.admit_again(&news.subscription, now, keys, &news.listener.relay)?;
        // What is stored is compared; of what is new nothing is left out.
        community.live.release(&news.subscription, 0, Vec::new(), message::eose(NAME, None));
        Ok(news)
    }

    /// Waits until there is something to take.
    pub(super) async fn ready(&self) {
        poll_fn(|cx| self.listener.outbox.poll_ready(cx)).await;
    }

    /// New events as JSON; `None` when it has ended, and must be opened again.
    pub(super) fn take(&self) -> Option<Vec<Bytes>> {
        if self.listener.outbox.ended().is_some() || !self.subscription.is_live() {
            return None;
        }
        let mut taken = Vec::new();
        for frame in self.listener.outbox.take(TAKE_BYTES) {
            match frame {
                Frame::Event(_, body) => taken.push(body),
                Frame::Events(_, bodies) => taken.extend(bodies),
                Frame::Text(_) | Frame::Answer(..) => {}
            }
        }
        Some(taken)
    }
}

fn admit(
    community: &Community,
    rules: &Rules,
    filters: &[Filter],
    context: &Context<'_>,
) -> Result<(), Refusal> {
    community.admit_query(rules, NAME, filters, context)
}

impl Drop for News {
    fn drop(&mut self) {
        self.listener.outbox.close();
        self.subscription.close();
        self.here.community.live.unregister(&self.subscription);
    }
}
