//! Search (NIP-50): answers filters that have it, and keeps the indexes that it asks. In: queries from readers; communities,
//! looked at some times a second. Out: events in order of quality. What a search index says is true of some moments ago;
//! what came since is looked at here, and each hit is looked up in the community's index, by the same conditions as any
//! other event.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::StartError;
use super::reader::{Query, Reader, SLICE_ENTRIES};
use crate::community::{Communities, Rules};
use crate::config::Current;
use crate::event::Id;
use crate::event::PublicKey;
use crate::filter::Filter;
use crate::index::{Found, Scan};
use crate::nips::nip50::{self, Asked};
use crate::rule::{Context, Head, Refusal};
use crate::search::{Hits, Keeper, Match, Ready};
use crate::store::record::decode;
use crate::store::{Location, Store, StoreError};

/// How often it is looked whether there is something new.
const TICK: Duration = Duration::from_millis(100);

/// Events that came after what the search index has, which one search looks at; with more none of them is found yet.
const NEW_EVENTS_MAX: usize = 512;

/// How good a match is among those that came after what the search index has: better than any that it knows of, so that
/// nobody misses what they have just heard of.
const NEW: f32 = f32::MAX;

/// A search of one filter that is under way.
pub(super) struct Search<'q> {
    pub(super) query: &'q Query,
    pub(super) filter: &'q Filter,
    pub(super) asked: &'q Asked,
    pub(super) as_of: u64,
    pub(super) deadline: Instant,
    /// Whether what it costs may not depend on events that its client may not see.
    pub(super) by_kind: bool,
}

/// Why the reading of what is new stopped.
enum Stop {
    Enough,
    Failed,
}

impl From<StoreError> for Stop {
    fn from(_: StoreError) -> Stop {
        Stop::Failed
    }
}

impl Reader {
    /// Hands over what a search finds, best first, each with how good it is, until `receive` wants no more; false when a
    /// budget ended it.
    pub(super) fn search(
        &self,
        search: &Search<'_>,
        mut receive: impl FnMut(Found, &PublicKey, f32) -> bool,
    ) -> Result<bool, Refusal> {
        let Search { query, asked, .. } = search;
        let ready = query.community.search.ready()?;
        let rules = query.community.rules();
        let (new, mut is_whole) = self.new_matches(search, &rules, &ready);
        let mut seen = HashSet::new();
        for matching in [Match::All, Match::Any] {
            let mut hits = self.hits(search, &rules, &ready, matching)?;
            if matching == Match::All {
                hits.ids.splice(0..0, new.iter().map(|id| (NEW, *id)));
            }
            // An event that was removed and sent again may be there twice.
            hits.ids.retain(|(_, id)| seen.insert(*id));
            let (goes_on, found) = self.show(search, &rules, &hits, &mut receive);
            is_whole &= !hits.is_cut || !goes_on;
            if found > 0 || !goes_on || asked.wanted.len() < 2 {
                break;
            }
        }
        Ok(is_whole)
    }

    /// What the search index finds.
    fn hits(
        &self,
        search: &Search<'_>,
        rules: &Rules,
        ready: &Ready,
        matching: Match,
    ) -> Result<Hits, Refusal> {
        let Search { query, filter, asked, deadline, .. } = search;
        let Query { community, listener, subscription, .. } = query;
        let is_over =
            || Instant::now() >= *deadline || subscription.is_closed() || listener.outbox.is_closed();
        let most = rules.settings.search.hits_max as usize;
        // Files that are damaged in a way that no checksum tells must not end the relay.
        let found = catch_unwind(AssertUnwindSafe(|| ready.find(filter, asked, matching, most, is_over)));
        found.unwrap_or_else(|_| Err("the search engine panicked".to_owned())).map_err(|reason| {
            tracing::error!("{}: search does not work: {reason}; it is built anew", community.path());
            community.search.give_up(&reason);
            nip50::broken()
        })
    }

    /// Hands over those of the hits that are stored, match, and may be seen; whether more is wanted, and how many it were.
    fn show(
        &self,
        search: &Search<'_>,
        rules: &Rules,
        hits: &Hits,
        receive: &mut impl FnMut(Found, &PublicKey, f32) -> bool,
    ) -> (bool, usize) {
        let Search { query: Query { community, listener, .. }, filter, asked, as_of, .. } = search;
        let mut scan = Scan::new(filter, *as_of);
        let (mut goes_on, mut found) = (true, 0);
        for hits in hits.ids.chunks(SLICE_ENTRIES as usize) {
            let now = self.shared.clock().now();
            let mut next = hits.iter();
            goes_on = listener.with_keys(|keys| {
                let names = filter.names_events_or_authors();
                let context = Context { asked: names, ..rules.context(now, keys, &listener.relay) };
                let visible = |head: &Head<'_>| {
                    asked.admits_author(head.author, &context) && community.visible(rules, head, &context)
                };
                scan.among(&community.index(), hits.iter().map(|(_, id)| id), visible, |one, author| {
                    found += 1;
                    let score = next.find(|(_, id)| *id == one.id).map_or(0.0, |(score, _)| *score);
                    receive(one, author, score)
                })
            });
            if !goes_on {
                break;
            }
        }
        self.shared.note_entries(scan.looked_at);
        (goes_on, found)
    }

    /// Which of the events match that came after what the search index has, newest first; false when there are too many
    /// to look at.
    fn new_matches(&self, search: &Search<'_>, rules: &Rules, ready: &Ready) -> (Vec<Id>, bool) {
        let Search { query, filter, as_of, by_kind, .. } = search;
        if ready.upto >= *as_of || *by_kind {
            return (Vec::new(), true);
        }
        let (mut new, mut seen) = (Vec::new(), 0);
        let store = self.shared.store();
        let read = store.scan(query.community.id, ready.upto, |location: Location, record: &[u8]| {
            if location.number >= *as_of {
                return Err(Stop::Enough);
            }
            seen += 1;
            if seen > NEW_EVENTS_MAX {
                new.clear();
                return Err(Stop::Enough);
            }
            let event = decode(record).map_err(|_| Stop::Failed)?;
            if nip50::is_searched(event.kind, &rules.settings) && filter.matches(&event) {
                new.push((event.created_at, event.id));
            }
            Ok(())
        });
        if matches!(read, Err(Stop::Failed)) {
            tracing::warn!("{}: what is newest cannot be read for a search", query.community.path());
        }
        new.sort_unstable_by(|(left, one), (right, other)| right.cmp(left).then(one.cmp(other)));
        (new.into_iter().map(|(_, id)| id).collect(), seen <= NEW_EVENTS_MAX)
    }
}

/// The thread that keeps search indexes; dropping this ends it.
pub(super) struct Searcher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Whether a community searches.
pub(super) fn is_wanted(communities: &Communities) -> bool {
    communities.iter().any(|community| community.settings().search.enabled)
}

impl Searcher {
    pub(super) fn start(
        current: Arc<Current>,
        communities: Arc<Communities>,
        store: Arc<Store>,
    ) -> Result<Searcher, StartError> {
        let (stop, stopped) = bounded::<()>(0);
        let thread = super::spawn("plaza-search", move || {
            let mut keeper = Keeper::new(store);
            let mut is_busy = false;
            loop {
                let pause = if is_busy { Duration::ZERO } else { TICK };
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return keeper.stop();
                }
                let config = current.get();
                let (memory, free) = (config.server.search_memory_bytes, config.store.disk_free_bytes_min);
                is_busy = false;
                keeper.keep_only(|id| communities.iter().any(|community| community.id == id));
                for community in communities.iter() {
                    is_busy |= keeper.step(&community, memory, free);
                }
            }
        })?;
        Ok(Searcher { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Searcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
