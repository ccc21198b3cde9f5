//! What the relay takes at most, as the settings imply it: term by term (docs/memory.md tells each). In: settings,
//! bytes of the index. Out: a [`Plan`] of what caches and clients may take, and the [`Bound`] that follows. Pure.

use super::{
    COMPRESSION_THREAD_BYTES, CONNECTION_BYTES, EVENT_FACTOR, HTTP_BYTES, TLS_BYTES, subscription_bytes,
};
use crate::config::{self, Config, Limits};
use crate::nips::nip67::BOUNDARY_EXTRA_MAX;
use crate::policy::Needs;
use crate::replay::REPLAY_BYTES_MAX;
use crate::rule::held::HELD_MAX;
use crate::words;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The program itself, its log, its runtime, the store's engine without a page.
const PROGRAM_BYTES: u64 = 40 * MIB;

/// What a thread touches of its stack and keeps for itself, and the buffers of one that serves sockets.
const THREAD_BYTES: u64 = 192 * KIB;
const NET_THREAD_BYTES: u64 = 512 * KIB;

/// Threads besides those that the settings or the cores give: writer, fan-out, sweep, learning, memory, control,
/// sled's own, and those that wait for calls of the management API.
const OTHER_THREADS: u64 = 8 + BLOCKING_THREADS_MAX as u64;

/// Threads for what waits: calls of the management API, files.
pub(crate) const BLOCKING_THREADS_MAX: usize = 8;

/// Pages that sled may hold beyond its cache's bound: it looks at each of 256 parts after 64 accesses to it.
const STORE_PARTS: u64 = 256;
const STORE_ACCESSES: u64 = 64;

/// How often a page that was read from disk is touched again where memory is bounded, so that sled looks sooner.
const STORE_TOUCHES: u64 = 31;

/// A page of the store: eight or nine packs of about 4,000 bytes, or more of them where they were not appended.
const STORE_PAGE_BYTES: u64 = 48 * KIB;

/// What a group takes while it is written for each of its bytes: its batch, its pages, sled's buffers.
const GROUP_FACTOR: u64 = 3;

/// What a message takes for each of its bytes while it is read: many short values are worst.
const PARSED_FACTOR: u64 = 12;

/// A hit of a query, and how much longer its list may be while it grows.
const HIT_BYTES: u64 = 72;
const GROWING_FACTOR: u64 = 2;

/// What COUNT of several filters remembers at most (`COUNT_DISTINCT_MAX` of the reader).
const COUNT_BYTES: u64 = 16 * MIB;

/// What tantivy takes for each byte of its memory: what is prepared, what waits for it, what is being merged.
const SEARCH_FACTOR: u64 = 3;

/// A hit of a search: its score, time and id, as they are found, in order, and told apart.
const SEARCH_HIT_BYTES: u64 = 192;

/// What an address or author takes in a table of rates, and how many tables there are.
const RATE_KEY_BYTES: u64 = 96;
const RATE_TABLES: u64 = 4;

/// Addresses or authors that a table of rates holds at least, and for each connection.
const RATE_KEYS_MIN: usize = 49_152;
const RATE_KEYS_PER_CONNECTION: usize = 4;

/// Sessions, tokens and names of the relay, all at their bounds; backups and other commands under way.
const MANAGING_BYTES: u64 = 8 * MIB;

/// What a mirror takes besides what it compares, and an event that is compared.
const MIRROR_BYTES: u64 = 16 * MIB;
const COMPARED_EVENT_BYTES: u64 = 80;
/// Entries of a cluster's log that wait for the writer.
pub(crate) const LOG_AHEAD_BYTES_MAX: usize = 16 << 20;

/// The cache of a store that is made of another node's copy, and what making it takes with that.
pub(crate) const COPY_CACHE_BYTES: u64 = 8 * MIB;
const COPYING_BYTES: u64 = 64 * MIB;

/// What a relay whose lists are followed takes: messages, and a list that is read; and what an entry takes, as it is
/// kept and as it is read anew.
const FOLLOWED_BYTES: u64 = 8 * MIB;
const LISTED_BYTES: u64 = 1_200;

/// An event in the index, about: for estimates before there is one.
pub const INDEX_EVENT_BYTES: u64 = 112;

/// The least that a plan gives to what it divides.
const CACHE_BYTES_MIN: u64 = MIB;
const CLIENTS_BYTES_MIN: u64 = 4 * MIB;

/// What `server.memory_bytes_max` gives to whom: each a part of it.
const CACHE_PART: u64 = 32;
const BODY_CACHE_PART: u64 = 32;
const INGEST_PART: u64 = 128;
const CLIENTS_PART: u64 = 8;

/// What of it the index has at least, whatever else the settings imply.
const INDEX_PART_MIN: u64 = 16;

/// What the settings give to caches, to events under way and to clients: what they say, or less where
/// `server.memory_bytes_max` asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Bytes of the store's cache.
    pub cache_bytes: u64,
    /// Bytes of the cache of bodies.
    pub body_cache_bytes: u64,
    /// Bytes of events under way, as messages.
    pub ingest_bytes: usize,
    /// Bytes of a group that is written.
    pub group_bytes: usize,
    /// Bytes that all clients may hold together.
    pub clients_bytes: usize,
    /// How often a page that was read is touched again.
    pub store_touches: u64,
    /// Bytes that the index may have, if that is bounded.
    pub index_bytes: Option<u64>,
    /// What the process should stay below, if that is said.
    pub memory_bytes_max: Option<u64>,
}

/// One thing that takes memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// What it is.
    pub what: &'static str,
    /// The settings that decide, in words.
    pub settings: &'static str,
    /// How much it may be.
    pub bytes: u64,
}

/// All that takes memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound(Vec<Term>);

impl Plan {
    /// What these settings give.
    pub fn of(config: &Config) -> Plan {
        let config::Store { cache_bytes, body_cache_bytes, group_bytes_max, .. } = config.store;
        let ingest_bytes = config.root.limits.ingest_bytes_max;
        let Some(all) = Some(config.server.memory_bytes_max).filter(|bytes| *bytes > 0) else {
            let (clients_bytes, index_bytes, memory_bytes_max) = (usize::MAX, None, None);
            let group_bytes = group_bytes_max;
            return Plan {
                cache_bytes,
                body_cache_bytes,
                ingest_bytes,
                group_bytes,
                clients_bytes,
                store_touches: 0,
                index_bytes,
                memory_bytes_max,
            };
        };
        let longest = config.all().map(|one| one.limits.message_bytes_max).max().unwrap_or_default();
        let part = |part: u64| usize::try_from(all / part).unwrap_or(usize::MAX);
        // The longest message must fit, else it could never arrive.
        let ingest_bytes = ingest_bytes.min(part(INGEST_PART).max(longest));
        let mut plan = Plan {
            cache_bytes: cache_bytes.min((all / CACHE_PART).max(CACHE_BYTES_MIN)),
            body_cache_bytes: body_cache_bytes.min((all / BODY_CACHE_PART).max(CACHE_BYTES_MIN)),
            ingest_bytes,
            group_bytes: group_bytes_max.min(ingest_bytes),
            clients_bytes: part(CLIENTS_PART).max(CLIENTS_BYTES_MIN as usize),
            store_touches: STORE_TOUCHES,
            index_bytes: None,
            memory_bytes_max: Some(all),
        };
        let rest = Bound::with(config, &plan, 0).bytes();
        let of_an_index_byte = index_factor(config);
        let left = all.saturating_sub(rest) as f64 / of_an_index_byte;
        plan.index_bytes = Some((left as u64).max(all / INDEX_PART_MIN));
        plan
    }

    /// The settings of the store with what this gives it.
    pub(crate) fn store(&self, config: &Config) -> config::Store {
        let mut store = config.store.clone();
        (store.cache_bytes, store.body_cache_bytes) = (self.cache_bytes, self.body_cache_bytes);
        store.group_bytes_max = self.group_bytes;
        store
    }
}

impl Bound {
    /// What a relay of these settings takes at most, with an index of so many bytes.
    pub fn of(config: &Config, index_bytes: u64) -> Bound {
        Bound::with(config, &Plan::of(config), index_bytes)
    }

    fn with(config: &Config, plan: &Plan, index_bytes: u64) -> Bound {
        let mut terms = vec![
            term("events on their way to the disk", "limits.ingest_bytes_max", events(plan)),
            term(
                "the group that is written",
                "store.group_bytes_max",
                GROUP_FACTOR * plan.group_bytes as u64,
            ),
            term("the store's cache", "store.cache_bytes", plan.cache_bytes),
            term("pages beyond it, before sled looks", "server.memory_bytes_max", pages_beyond(plan)),
            term("events that are asked for often", "store.body_cache_bytes", plan.body_cache_bytes),
            term("messages that are being read", "limits.message_bytes_max", messages(config)),
            term("queries that are being answered", READERS, readers(config)),
            term("clients: what they ask, send and have not read", CLIENTS, clients(config, plan)),
            term("mirrors", "mirror, nip77.events_max", mirrors(config, plan)),
            term("lists of other relays", "shared_lists.follow", shared_lists(config, plan)),
            term(
                "rates",
                "server.connections_max",
                RATE_TABLES * RATE_KEY_BYTES * rate_keys_max(config) as u64,
            ),
            term("search", "server.search_memory_bytes, search.hits_max", search(config)),
            term("ephemeral events for who joins late", "geohash.replay_seconds", replays(config)),
            term("groups, their members and codes", GROUPS, groups(config)),
            term(
                "compressed messages",
                "compression.enabled, compression.context_bytes_max",
                compression(config, plan),
            ),
            term("events held for a verdict", "moderation_service.until_verdict", held(config)),
            term("managing: sessions, tokens, commands", "", MANAGING_BYTES),
            term("the log of the cluster", "cluster.servers", of_log(config, plan)),
            term("the index and the store's table of pages", "what is stored", of_index(index_bytes)),
            term(
                "what rules learn of stored events",
                "trust, reports, followers",
                learned(config, index_bytes),
            ),
        ];
        let allocated: u64 = terms.iter().fold(0, |sum, term| sum.saturating_add(term.bytes));
        // glibc keeps what was freed until a whole stretch of it is, and an arena for some threads each.
        terms.push(term("gaps between what is allocated: a quarter of all that", "", allocated / 4));
        terms.push(term("the program", "", PROGRAM_BYTES));
        terms.push(term("threads", "server.reader_threads, server.verify_threads", threads(config)));
        terms.retain(|term| term.bytes > 0);
        Bound(terms)
    }

    /// What takes memory, and how much.
    pub fn terms(&self) -> &[Term] {
        &self.0
    }

    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.0.iter().fold(0, |sum, term| sum.saturating_add(term.bytes))
    }

    /// The settings behind the largest terms, the largest first, as a part of a sentence.
    pub fn largest(&self) -> String {
        let mut named: Vec<&Term> = self.0.iter().filter(|term| term.settings.contains('.')).collect();
        named.sort_by_key(|term| std::cmp::Reverse(term.bytes));
        let each =
            named.iter().take(3).map(|term| format!("{} ({})", words::bytes(term.bytes), term.settings));
        each.collect::<Vec<_>>().join(", ")
    }
}

/// The settings that decide how much a query takes.
const READERS: &str = "server.reader_threads, limits.filters_per_request_max, limits.limit_max";

/// The settings that decide how much clients take.
const CLIENTS: &str = "server.memory_bytes_max, or server.connections_max and the limits of one";

fn term(what: &'static str, settings: &'static str, bytes: u64) -> Term {
    Term { what, settings, bytes }
}

/// What a node reads ahead in its cluster's log and what has come of it, and a copy of each event that is on its way there;
/// and a copy of another node, when it fetches one.
fn of_log(config: &Config, plan: &Plan) -> u64 {
    if config.cluster.servers.is_empty() {
        return 0;
    }
    let copying = if config.cluster.heals_from_peers { COPYING_BYTES } else { 0 };
    2 * LOG_AHEAD_BYTES_MAX as u64 + 2 * plan.ingest_bytes as u64 + copying
}

fn events(plan: &Plan) -> u64 {
    EVENT_FACTOR as u64 * plan.ingest_bytes as u64
}

fn pages_beyond(plan: &Plan) -> u64 {
    STORE_PARTS * STORE_ACCESSES.div_ceil(1 + plan.store_touches) * STORE_PAGE_BYTES
}

fn threads_or_cores(threads: usize) -> u64 {
    crate::pipeline::threads_or_cores(threads) as u64
}

fn threads(config: &Config) -> u64 {
    let server = &config.server;
    let others =
        threads_or_cores(server.reader_threads) + threads_or_cores(server.verify_threads) + OTHER_THREADS;
    // A desk, and for each plugin those that write, read and listen to what it says.
    let chains = config.all().map(|one| one.plugins.chain.len() as u64).filter(|plugins| *plugins > 0);
    let of_plugins: u64 = chains.map(|plugins| 1 + 4 * plugins).sum();
    threads_or_cores(0) * NET_THREAD_BYTES + (others + of_plugins) * THREAD_BYTES
}

/// Each thread that serves sockets reads one message at a time.
fn messages(config: &Config) -> u64 {
    let longest = config.all().map(|one| one.limits.message_bytes_max).max().unwrap_or_default();
    threads_or_cores(0) * PARSED_FACTOR * longest as u64
}

/// The most of any community: a thread answers one query after the other.
fn readers(config: &Config) -> u64 {
    let of_one = |limits: &Limits| {
        let hits = limits.filters_per_request_max as u64 * (limits.limit_max + BOUNDARY_EXTRA_MAX) as u64;
        let found = hits.saturating_mul(HIT_BYTES * GROWING_FACTOR).max(COUNT_BYTES);
        // The event that is read: its record, its text, its JSON.
        found.saturating_add(4 * limits.message_bytes_max as u64)
    };
    let most = config.all().map(|one| of_one(&one.limits)).max().unwrap_or_default();
    threads_or_cores(config.server.reader_threads).saturating_mul(most)
}

/// The pool that clients share, or where there is none what each may take by itself.
fn clients(config: &Config, plan: &Plan) -> u64 {
    if plan.memory_bytes_max.is_some() {
        return plan.clients_bytes as u64;
    }
    let of_one = |limits: &Limits| {
        let Limits { filters_per_request_max, message_bytes_max, .. } = *limits;
        // Values arrive in a message and stay as what they are, with what finds them.
        let filters = (FILTER_BYTES * filters_per_request_max as u64)
            .saturating_add(VALUE_FACTOR * message_bytes_max as u64);
        let answer =
            filters_per_request_max as u64 * (limits.limit_max + BOUNDARY_EXTRA_MAX) as u64 * HIT_BYTES;
        let subscription = (subscription_bytes(0) as u64)
            .saturating_add(filters)
            .saturating_add(answer)
            .saturating_add(limits.hold_bytes_max as u64);
        (limits.subscriptions_per_connection_max as u64)
            .saturating_mul(subscription)
            .saturating_add(limits.outbox_bytes_max as u64)
            .saturating_add((3 + EVENT_FACTOR as u64) * message_bytes_max as u64)
    };
    let most = config.all().map(|one| of_one(&one.limits)).max().unwrap_or_default();
    let tls = if config.tls.listen.is_some() { TLS_BYTES } else { 0 };
    let each = most.saturating_add((CONNECTION_BYTES + HTTP_BYTES + tls) as u64);
    (config.server.connections_max as u64).saturating_mul(each)
}

/// What a mirror holds: messages, new events that wait, ids; and what is stored, as often as it is compared. Where clients
/// share a pool it is out of that.
fn mirrors(config: &Config, plan: &Plan) -> u64 {
    if plan.memory_bytes_max.is_some() {
        return 0;
    }
    let events = config.all().map(|one| one.nip77.events_max as u64).max().unwrap_or_default();
    let each = MIRROR_BYTES.saturating_add(events.saturating_mul(COMPARED_EVENT_BYTES));
    let followed = config.all().filter(|one| one.outbox.enabled);
    let followed: u64 = followed.map(|one| u64::from(one.outbox.relays_max)).sum();
    each.saturating_mul(followed + config.mirrors.len() as u64)
}

/// What lists of other relays hold. Where clients share a pool it is out of that.
fn shared_lists(config: &Config, plan: &Plan) -> u64 {
    if plan.memory_bytes_max.is_some() {
        return 0;
    }
    let follows = config.all().flat_map(|one| &one.shared_lists.follow);
    let each = follows.map(|one| FOLLOWED_BYTES + (one.lists.len() * one.entries_max) as u64 * LISTED_BYTES);
    each.sum()
}

/// A filter without its values.
const FILTER_BYTES: u64 = 256;

/// What the shortest values of a filter take for each byte of their message: a kind is two bytes of text, and is found
/// by a slot of its own.
const VALUE_FACTOR: u64 = 32;

/// Compressors of the threads that serve sockets, and contexts of connections, which clients' pool holds where there is
/// one.
fn compression(config: &Config, plan: &Plan) -> u64 {
    if !config.compression.enabled {
        return 0;
    }
    let contexts = match plan.memory_bytes_max {
        Some(_) => 0,
        None => config.compression.context_bytes_max as u64,
    };
    threads_or_cores(0) * COMPRESSION_THREAD_BYTES + contexts
}

fn replays(config: &Config) -> u64 {
    let kept = config.all().filter(|one| one.geohash.replay_seconds > 0).count();
    kept as u64 * REPLAY_BYTES_MAX as u64
}

/// An event that is held: its id and time, in a table that grows.
const HELD_BYTES: u64 = 96;

fn held(config: &Config) -> u64 {
    config.all().filter(|one| one.moderation_service.holds()).count() as u64 * HELD_MAX as u64 * HELD_BYTES
}

/// The settings that decide how much groups take.
const GROUPS: &str = "nip29.groups_max, nip29.memberships_max, nip29.codes_max, nip29.pins_max";

/// A group with its texts, a person in it with roles, a code, something pinned.
const GROUP_BYTES: u64 = 6 * KIB;
const MEMBER_BYTES: u64 = 400;
const CODE_BYTES: u64 = 320;
const PIN_BYTES: u64 = 320;

/// All groups of communities that have some, and the largest once more, while it changes.
fn groups(config: &Config) -> u64 {
    let of_one = |nip29: &config::Nip29| {
        let group =
            GROUP_BYTES + CODE_BYTES * u64::from(nip29.codes_max) + PIN_BYTES * u64::from(nip29.pins_max);
        let people =
            u64::from(nip29.memberships_max) + u64::from(nip29.members_max.min(nip29.memberships_max));
        (u64::from(nip29.groups_max) + 1).saturating_mul(group).saturating_add(MEMBER_BYTES * people)
    };
    config.all().filter(|one| one.nip29.enabled).fold(0, |sum, one| sum.saturating_add(of_one(&one.nip29)))
}

/// With the slack of its arrays, and sled's record of pages.
fn of_index(index_bytes: u64) -> u64 {
    index_bytes.saturating_add(index_bytes / 8)
}

/// What is prepared for search indexes, of which one is written at a time, and what each reader finds. Their files are
/// mapped, and the kernel's to keep or not.
fn search(config: &Config) -> u64 {
    let hits = config.all().filter(|one| one.search.enabled).map(|one| u64::from(one.search.hits_max)).max();
    let Some(hits) = hits else { return 0 };
    let finding = threads_or_cores(config.server.reader_threads) * hits * SEARCH_HIT_BYTES;
    SEARCH_FACTOR * config.server.search_memory_bytes as u64 + finding
}

/// Who follows whom, what profiles claim, what is reported: at most what stands in the index, and as much again while
/// it is learned anew.
fn learned(config: &Config, index_bytes: u64) -> u64 {
    let learns = config.all().any(|one| !Needs::of(one).is_empty());
    if learns { index_bytes } else { 0 }
}

/// What a byte of the index means for the whole.
fn index_factor(config: &Config) -> f64 {
    let learns = learned(config, 1) as f64;
    (1.125 + learns) * 1.25
}

/// Addresses or authors that a table of rates may hold.
pub(crate) fn rate_keys_max(config: &Config) -> usize {
    RATE_KEYS_MIN.max(RATE_KEYS_PER_CONNECTION * config.server.connections_max)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("relay.toml")).expect("settings")
    }

    #[test]
    fn a_small_server_stays_inside_its_memory_with_all_else_by_default() {
        for mib in [384, 512, 1_024, 4_096, 65_536] {
            let all = mib * MIB;
            let config = config(&format!(
                "[server]\nmemory_bytes_max = {all}\nreader_threads = 2\nverify_threads = 2"
            ));
            let plan = Plan::of(&config);
            let index_bytes = plan.index_bytes.expect("a bound");
            let bound = Bound::of(&config, index_bytes);
            assert!(bound.bytes() <= all + KIB, "{mib} MiB: {bound:#?}");
            assert!(index_bytes >= all / INDEX_PART_MIN, "{mib} MiB: {index_bytes}");
            // The smallest of these has room for half a million events.
            assert!(index_bytes / INDEX_EVENT_BYTES > 400_000, "{mib} MiB: {index_bytes}");
        }
    }

    #[test]
    fn what_the_settings_ask_for_is_never_raised() {
        let little = "[store]\ncache_bytes = 2_000_000\nbody_cache_bytes = 1_500_000\n[limits]\n\
                      message_bytes_max = 100_000\ningest_bytes_max = 200_000";
        let plan = Plan::of(&config(&format!("[server]\nmemory_bytes_max = 1_000_000_000\n{little}")));
        assert_eq!(
            (plan.cache_bytes, plan.body_cache_bytes, plan.ingest_bytes),
            (2_000_000, 1_500_000, 200_000)
        );
        let unbounded = Plan::of(&config(little));
        assert_eq!((unbounded.cache_bytes, unbounded.index_bytes), (2_000_000, None));
        assert_eq!(unbounded.clients_bytes, usize::MAX);
    }

    #[test]
    fn the_longest_message_fits_however_little_there_is() {
        let text = "[server]\nmemory_bytes_max = 1_000_000\n[[community]]\npath = \"/long\"\n[community.limits]\n\
                    message_bytes_max = 3_000_000";
        let plan = Plan::of(&config(text));
        assert_eq!((plan.ingest_bytes, plan.group_bytes), (3_000_000, 3_000_000));
        assert_eq!((plan.cache_bytes, plan.clients_bytes as u64), (CACHE_BYTES_MIN, CLIENTS_BYTES_MIN));
    }

    #[test]
    fn each_setting_moves_its_term_and_the_largest_are_named() {
        let table = [
            ("[store]\nbody_cache_bytes = 1_000_000_000", "events that are asked for often"),
            ("[limits]\nfilters_per_request_max = 1_000", "queries that are being answered"),
            ("[server]\nconnections_max = 500_000", "rates"),
            ("[search]\nenabled = true", "search"),
            ("[nip29]\nenabled = true", "groups, their members and codes"),
            ("[geohash]\nreplay_seconds = 60", "ephemeral events for who joins late"),
            (
                "[trust]\nwrite = true\nroots = [\"79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\"]",
                "what rules learn of stored events",
            ),
        ];
        let of = |text: &str, what: &str| {
            let bound = Bound::of(&config(text), 1_000_000);
            bound.terms().iter().find(|term| term.what == what).map_or(0, |term| term.bytes)
        };
        for (text, what) in table {
            assert!(of(text, what) > of("", what), "{what}");
        }
        let largest = Bound::of(&config("[server]\nmemory_bytes_max = 200_000_000"), 0).largest();
        assert!(largest.contains("limits.limit_max"), "{largest}");
    }
}
