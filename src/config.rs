//! The settings: relay.toml → a validated [`Config`].
//!
//! Owns every limit of the relay, with its unit in its name, its default and its range. In: the text of
//! relay.toml. Out: a `Config` that the rest of the house may trust, or one [`ConfigError`] that names file,
//! line, key and remedy. Never reads the environment, never writes, never corrects a value in silence.

mod adjustable;
mod cluster;
mod compression;
mod current;
mod defaults;
mod document;
mod error;
mod explain;
mod files;
mod mirrors;
mod overlay;
mod preset;
mod process;
mod sections;
mod tls;
mod validate;
mod values;
mod write;

use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use adjustable::{Adjustable, Form};
pub use cluster::Cluster;
pub use compression::Compression;
pub use current::{Current, Difference, RESTART, needs_restart};
pub use error::ConfigError;
pub use mirrors::{Backfill, Direction, Filters, Mirror, MirrorPolicy};
pub use networks::parse_network;
pub use overlay::{Aside, Misfit, Overlay, Source, Written};
pub use preset::Preset;
pub use sections::{
    Access, Admin, AfterClosed, AuthorFull, Authors, Blocklist, BlocklistPart, Bridge, Command,
    ContentWarning, CreateGroups, Effect, Follow, Followers, Geohash, Invite, Kinds, LIST_ENTRIES_MAX,
    ListKind, Market, Media, ModerationService, Nip05, Nip29, Nip43, Outbox, Plugin, Plugins, Read, Reasons,
    Replies, Reports, Retention, Search, SectionFault, SharedLists, ShownTo, Tags, Trust, UntilVerdict,
    WhenDead, WithoutVerdict, Write, Zaps,
};
pub use tls::{Acme, Tls};
pub use values::{Keys, KindMap, KindSet, LocalNames, Mode, parse_key};

use document::Document;
use error::Fault;
use process::{PROCESS, Process};

/// A larger file is surely not a relay.toml; the bound keeps a wrong path from filling the memory.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Every setting of the relay: those of the whole process, and those of each community.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// The root community, which is at `/`: `[relay]` and the sections that a community can have too.
    pub root: Settings,
    /// The other communities, one a `[[community]]`.
    pub communities: Vec<Settings>,
    /// Sockets, connections and threads.
    pub server: Server,
    /// Encrypted connections.
    pub tls: Tls,
    /// Certificates that the relay gets by itself.
    pub acme: Acme,
    /// Where events are kept, and how safely.
    pub store: Store,
    /// Compressed messages.
    pub compression: Compression,
    /// Bounds over time, by address and by author.
    pub rate: Rate,
    /// Expiration.
    pub nip40: Nip40,
    /// Requests to vanish.
    pub nip62: Nip62,
    /// Log output.
    pub log: Log,
    /// Numbers for those who watch.
    pub metrics: Metrics,
    /// Streams from and to other relays, one a `[[mirror]]`.
    pub mirrors: Vec<Mirror>,
    /// Other machines that are this relay too.
    pub cluster: Cluster,
    /// What of all this stands in the file.
    pub written: Written,
}

/// The settings of one community: what it tells about itself, its limits and its rules.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where it is and what it tells about itself.
    pub relay: Relay,
    /// Bounds of messages, requests and queues; a community takes over the root's.
    pub limits: Limits,
    /// Proof of work.
    pub nip13: Nip13,
    /// Private messages.
    pub nip17: Nip17,
    /// Authentication; a community takes over the root's.
    pub nip42: Nip42,
    /// Protected events.
    pub nip70: Nip70,
    /// Reconciliation; a community takes over the root's.
    pub nip77: Nip77,
    /// Kinds of events.
    pub kinds: Kinds,
    /// Authors and members.
    pub authors: Authors,
    /// Required tags.
    pub tags: Tags,
    /// Reading and writing.
    pub access: Access,
    /// Who is trusted, and what for.
    pub trust: Trust,
    /// What hides events and authors.
    pub reports: Reports,
    /// Posts for followers only.
    pub followers: Followers,
    /// Events with a place.
    pub geohash: Geohash,
    /// What is offered, and for how much.
    pub market: Market,
    /// Videos and attachments.
    pub media: Media,
    /// Bridges to other networks.
    pub bridge: Bridge,
    /// Zap receipts and goals.
    pub zaps: Zaps,
    /// Lists of domains.
    pub blocklist: Blocklist,
    /// Lists that relays share.
    pub shared_lists: SharedLists,
    /// Who owns it.
    pub admin: Admin,
    /// Names at its domain.
    pub nip05: Nip05,
    /// Groups.
    pub nip29: Nip29,
    /// Membership.
    pub nip43: Nip43,
    /// How long events are kept, and how many.
    pub retention: Retention,
    /// Programs that are asked about events.
    pub plugins: Plugins,
    /// A service that is sent events and gives verdicts.
    pub moderation_service: ModerationService,
    /// Members' posts from where they write.
    pub outbox: Outbox,
    /// Full-text search.
    pub search: Search,
}

impl Settings {
    /// Whether the rules of a section refuse or only count. Sections without a mode always refuse: what
    /// they hold is the protocol's, not the community's choice.
    pub fn mode(&self, section: &str) -> Mode {
        match section {
            "limits" => self.limits.mode,
            "nip13" => self.nip13.mode,
            "nip70" => self.nip70.mode,
            "kinds" => self.kinds.mode,
            "authors" => self.authors.mode,
            "tags" => self.tags.mode,
            "access" => self.access.mode,
            "trust" => self.trust.mode,
            "reports" => self.reports.mode,
            "followers" => self.followers.mode,
            "geohash" => self.geohash.mode,
            "market" => self.market.mode,
            "media" => self.media.mode,
            "bridge" => self.bridge.mode,
            "zaps" => self.zaps.mode,
            "blocklist" => self.blocklist.mode,
            "shared_lists" => self.shared_lists.mode,
            "plugins" => self.plugins.mode,
            "moderation_service" => self.moderation_service.mode,
            _ => Mode::Enforce,
        }
    }
}

impl Config {
    /// All communities, the root first.
    pub fn all(&self) -> impl Iterator<Item = &Settings> {
        std::iter::once(&self.root).chain(&self.communities)
    }

    /// Reads and checks the settings in the file at `path`, and the files that they name.
    ///
    /// # Errors
    /// What is wrong, where, and what to do.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|cause| ConfigError::unreadable(path, cause))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(ConfigError::too_large(path, FILE_BYTES_MAX));
        }
        let text = String::from_utf8(bytes).map_err(|cause| ConfigError::not_utf8(path, &cause))?;
        let mut config = Self::parse(&text, path)?;
        files::read(&mut config, path)?;
        Ok(config)
    }

    /// Checks the settings in `text`; `file` is only named in errors.
    ///
    /// # Errors
    /// What is wrong, where, and what to do.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let root = Document::parse(text).map_err(|cause| ConfigError::syntax(file, text, &cause))?;
        Self::build(root).map_err(|fault| ConfigError::setting(file, fault))
    }

    fn build(mut root: Document<'_>) -> Result<Self, Fault> {
        let communities = root.take_communities()?;
        let mirrors = root.take_list("mirror", "[[mirror]] and url = \"wss://…\" below it")?;
        // Unknown keys are looked for first: the document knows where they are and what lies near them, while
        // serde's own refusal, which stays as a second line, knows neither.
        explain::refuse_unknown(&root)?;
        let process: Process = root.read(root.part(|section| PROCESS.contains(&section)))?;
        let Process { server, tls, acme, store, compression, rate, nip40, nip62, log, metrics, cluster } =
            process;
        let own = root.part(|section| !PROCESS.contains(&section));
        let settings = root.read(preset::beneath(own))?;
        let mut written = Written::default();
        written.note(&root);
        let mut config = Config {
            root: settings,
            communities: Vec::new(),
            server,
            tls,
            acme,
            store,
            compression,
            rate,
            nip40,
            nip62,
            log,
            metrics,
            mirrors: Vec::new(),
            cluster,
            written,
        };
        validate::check_root(&config.root, &root)?;
        validate::check(&config, &config.root, &root)?;
        for community in communities {
            explain::refuse_unknown(&community)?;
            let inherited = root.part(|section| INHERITED.contains(&section));
            let own = preset::beneath(community.part(|_| true));
            let mut settings: Settings = community.read(document::merged(inherited, own))?;
            settings.relay.name_after_path();
            validate::check_place(&config, &settings, &community)?;
            validate::check(&config, &settings, &community)?;
            settings.admin.owners =
                settings.admin.owners.iter().chain(config.root.admin.owners.iter()).copied().collect();
            config.written.note(&community);
            config.communities.push(settings);
        }
        config.mirrors = mirrors::read(&config, &root, mirrors)?;
        Ok(config)
    }
}

/// Sections of the root that hold for every community that does not set them otherwise.
const INHERITED: [&str; 3] = ["limits", "nip42", "nip77"];

/// `[relay]`, and the keys right below a `[[community]]`: where it is, and what it tells about itself in its
/// information document (NIP-11).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Relay {
    /// The path of its URL, such as `/berlin`; the root's is `/`.
    pub path: String,
    /// A host name under which it is at `/` too, such as `berlin.example.org`.
    pub host: Option<String>,
    /// Settings that it begins with.
    pub preset: Option<Preset>,
    /// The relay's name, as clients show it.
    pub name: String,
    /// What the relay is for, in a sentence or two.
    pub description: String,
    /// http(s) address of a wide picture for the top of a page.
    pub banner: Option<String>,
    /// http(s) address of a small square picture.
    pub icon: Option<String>,
    /// How people reach the operator, best as an address that begins with `mailto:` or `https:`.
    pub contact: Option<String>,
    /// http(s) address of the terms of service.
    pub terms_of_service: Option<String>,
    /// The operator's public key: 64 lower-case hexadecimal digits.
    pub pubkey: Option<String>,
    /// The relay's own public key: 64 lower-case hexadecimal digits.
    #[serde(rename = "self")]
    pub self_key: Option<String>,
    /// A file with the relay's own secret key, in 64 hexadecimal digits or as nsec1…. Unset: one that it makes in the
    /// folder of its events when it needs one.
    pub secret_key_file: Option<PathBuf>,
    /// The ws:// or wss:// addresses by which this relay is known; NIP-42, 62 and 98 compare with them.
    /// Empty: those of the root with the community's path, and its host, if there are any, count; else only
    /// the connection's own local address and port, and localhost.
    pub urls: Vec<String>,
}

impl Relay {
    /// A community that names itself by its path alone.
    fn name_after_path(&mut self) {
        if self.name == Relay::default().name {
            self.name = self.path.trim_matches('/').to_owned();
        }
    }
}

/// `[server]`: sockets, connections and threads.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The address and port that the relay listens on; port 0 lets the system choose one.
    pub listen: SocketAddr,
    /// Addresses and networks of proxies whose `client_address_header` is believed. Empty: nobody's is.
    #[serde(serialize_with = "networks::write", deserialize_with = "networks::read")]
    pub trusted_proxies: Vec<IpNet>,
    /// The header, in lower case, in which a trusted proxy names the client's address.
    pub client_address_header: String,
    /// Open connections in all; further ones are refused until one ends.
    pub connections_max: usize,
    /// Open connections from one address (see `rate.address_prefix_ipv6`); further ones are refused.
    pub connections_per_address_max: usize,
    /// Seconds in which a new connection must have sent its HTTP headers; it is closed after.
    pub http_header_seconds_max: u64,
    /// Seconds between two pings to a client.
    pub ping_interval_seconds: u64,
    /// Seconds in which a client must answer a ping; its connection is closed after.
    pub ping_timeout_seconds: u64,
    /// Seconds in which a client must take a frame from its socket; its connection is closed after.
    pub write_timeout_seconds: u64,
    /// Seconds that a stop waits for open work to end; what is left then is cut off.
    pub shutdown_seconds_max: u64,
    /// Threads that answer requests; 0 means one per core.
    pub reader_threads: usize,
    /// Threads that verify signatures; 0 means one per core.
    pub verify_threads: usize,
    /// Bytes of memory that the whole process should stay below; 0 means whatever the other settings imply.
    pub memory_bytes_max: u64,
    /// Bytes of memory in which what is new is prepared for search (NIP-50), where a community has it; all of it
    /// takes about three times as much.
    pub search_memory_bytes: usize,
    /// Whether the settings file is read again when it changes.
    pub reload_on_change: bool,
}

/// `[store]`: where events are kept, and how safely.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// The folder of the events; a relative path starts at the folder in which the relay is started.
    pub path: PathBuf,
    /// What an acknowledged event survives.
    pub durability: Durability,
    /// Bytes of the store's own page cache; pages beyond are read from disk again.
    pub cache_bytes: u64,
    /// Bytes of the cache of event bodies; bodies beyond are read from the store again.
    pub body_cache_bytes: u64,
    /// Events that are written together with one sync; later ones wait for the next group.
    pub group_events_max: usize,
    /// Bytes that are written together with one sync; later ones wait for the next group.
    pub group_bytes_max: usize,
    /// Events of a community from which on its index is saved in a file; smaller ones are read whole at start.
    pub index_save_events_min: usize,
    /// Events that come or go before indexes are saved; an eighth of all when that is more, and a hundredth
    /// of either when the relay stops.
    pub index_save_changes_min: usize,
    /// Bytes that stay free on the disk: with less, new events are refused. 0 lets it run full.
    pub disk_free_bytes_min: u64,
}

/// What an event survives once its client has got OK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// A loss of power: OK follows a flush and a sync to the disk.
    Power,
    /// A crash of the relay's process only: OK follows the write, and the sync comes when it comes.
    Process,
}

/// `[limits]`: bounds of messages, requests and queues.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Whether the bounds of events (content, tags, time) refuse, or only count and log what they would
    /// refuse; the others always bind.
    pub mode: Mode,
    /// Bytes of one message from a client; a larger one ends its connection. Binds the bounds of content and
    /// tags below too, wherever it is the smaller.
    pub message_bytes_max: usize,
    /// Characters of an event's content; a longer one is refused.
    pub content_chars_max: usize,
    /// The same for some kinds, in place of the general bound.
    pub content_chars_max_by_kind: KindMap<usize>,
    /// Tags of one event; an event with more is refused.
    pub event_tags_max: usize,
    /// The same for some kinds, in place of the general bound.
    pub event_tags_max_by_kind: KindMap<usize>,
    /// Bytes of one element of a tag; an event with a longer one is refused.
    pub tag_value_bytes_max: usize,
    /// Characters of a subscription's id; a request with a longer one is refused. NIP-01 allows 64 at most.
    pub subscription_id_chars_max: usize,
    /// Open subscriptions of one connection; a further one is closed at once.
    pub subscriptions_per_connection_max: usize,
    /// Filters of one request; a request with more is closed at once.
    pub filters_per_request_max: usize,
    /// Values in all lists of one filter together; a request with more is closed at once.
    pub filter_values_max: usize,
    /// Stored events that a filter without `limit` gets.
    pub limit_default: usize,
    /// Stored events that one filter gets at most; a higher `limit` is lowered to this.
    pub limit_max: usize,
    /// Bytes that wait for one client; what follows when they are reached, `slow_client` says.
    pub outbox_bytes_max: usize,
    /// What happens to a client whose outbox is full.
    pub slow_client: SlowClient,
    /// Live events held for one subscription until its stored events are sent; at more it is closed.
    pub hold_events_max: usize,
    /// Bytes of live events held for one subscription until its stored events are sent; at more it is closed.
    pub hold_bytes_max: usize,
    /// Milliseconds that a new event may wait for others, so that who listens gets them together; ephemeral ones
    /// never do. 0: each goes out as soon as it can.
    pub live_delay_milliseconds_max: u64,
    /// Milliseconds that one request may take; then it ends with what it found.
    pub query_milliseconds_max: u64,
    /// Index entries that one filter may look at; then it ends with what it found.
    pub query_entries_max: u64,
    /// Bytes of events between socket and store, all clients together; reading from clients pauses at more.
    pub ingest_bytes_max: usize,
    /// Events of one connection between socket and store; reading from it pauses at more.
    pub ingest_events_per_connection_max: usize,
    /// Requests that wait for a reader thread; further ones are closed at once.
    pub reads_queued_max: usize,
    /// Events that all open reconciliations (NIP-77) may be about together, at 41 bytes of memory each; further ones
    /// are told to try again.
    pub reconciled_events_max: usize,
    /// Seconds that an event's `created_at` may lie in the future; an event further ahead is refused.
    pub created_at_future_seconds_max: u64,
    /// Seconds that an event's `created_at` may lie in the past; an older event is refused. 0 means any age.
    pub created_at_past_seconds_max: u64,
}

/// What happens to a client that does not read what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SlowClient {
    /// Its connection is closed, so that it notices and comes back.
    Close,
    /// Its live events are dropped until its outbox has room again.
    Drop,
}

/// `[rate]`: bounds over time. Each is a budget that refills evenly; the burst is what it holds when full.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rate {
    /// False lifts every limit by address and by author: rates, bytes, and connections per address.
    pub enabled: bool,
    /// Events a minute from one address; further ones are refused.
    pub address_events_per_minute: u32,
    /// Events that one address may send at once.
    pub address_events_burst: u32,
    /// Events a minute of one author, from all addresses; further ones are refused.
    pub author_events_per_minute: u32,
    /// Events that one author may publish at once.
    pub author_events_burst: u32,
    /// Requests (REQ, COUNT) a minute from one address; further ones are closed at once.
    pub address_requests_per_minute: u32,
    /// Requests that one address may send at once.
    pub address_requests_burst: u32,
    /// Bytes a minute received from one address; messages beyond are refused, the connection stays.
    pub address_bytes_per_minute: u32,
    /// Bytes that one address may send at once; holds at least one message of the largest size.
    pub address_bytes_burst: u32,
    /// Leading bits that make two IPv6 addresses count as one: networks are handed out whole.
    pub address_prefix_ipv6: u8,
}

/// `[nip13]`: proof of work.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nip13 {
    /// Whether its rule refuses, or only counts and logs what it would refuse.
    pub mode: Mode,
    /// Leading zero bits that an event's id must have; an event with fewer is refused. 0 asks for none.
    pub difficulty_min: u8,
    /// The same for some kinds, in place of the general bound.
    pub difficulty_min_by_kind: KindMap<u8>,
    /// The most that members owe (`authors.members`), whatever others do.
    pub difficulty_max_members: u8,
    /// The most that trusted authors owe (`trust.roots`, `trust.hops_max`). Unset: as much as strangers.
    pub difficulty_max_trusted: Option<u8>,
    /// Whether the nonce tag must commit to at least that difficulty, so that luck alone does not count.
    pub commitment_required: bool,
}

/// `[nip17]`: private messages.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nip17 {
    /// Kinds that only their authenticated author or p-tagged recipient sees.
    pub private_kinds: Vec<u16>,
    /// Whether those kinds are kept private when served, counted and streamed.
    pub enabled: bool,
    /// Whether COUNT is answered only where neither its number nor its time can tell of those kinds to who is no
    /// party of theirs; other ones are refused, and those by tag cost more.
    pub count_parties_only: bool,
}

/// `[nip40]`: expiration.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nip40 {
    /// Seconds between two removals of expired events from disk; they are hidden at once either way.
    pub sweep_seconds: u64,
}

/// `[nip42]`: authentication.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nip42 {
    /// Seconds that the `created_at` of an AUTH event may be off, either way; one further off is refused.
    pub window_seconds: u64,
    /// Keys that one connection may authenticate; a further one is refused.
    pub keys_per_connection_max: usize,
}

/// `[nip62]`: requests to vanish.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nip62 {
    /// Events of vanished keys removed from disk in a second; they are hidden at once either way.
    pub sweep_events_per_second: u32,
}

/// `[nip70]`: protected events.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nip70 {
    /// Whether its rules refuse, or only count and log what they would refuse.
    pub mode: Mode,
    /// True: protected events are accepted from their authenticated author. False: from nobody.
    pub accept: bool,
}

/// `[nip77]`: reconciliation, by which others find out which events they and this relay do not both have.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nip77 {
    /// False: nobody may reconcile.
    pub enabled: bool,
    /// Events that one reconciliation may be about; a filter that finds more is refused.
    pub events_max: usize,
    /// Reconciliations that one connection may have open.
    pub per_connection_max: usize,
    /// Seconds for which a reconciliation may rest; it is ended after.
    pub idle_seconds_max: u64,
}

/// `[log]`: log output.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How much is logged: a level, or a list such as `info,plaza::net=debug` (tracing's filter directives).
    pub level: String,
    /// The form of a line of the log.
    pub format: LogFormat,
    /// What the log tells of clients' addresses.
    pub addresses: LogAddresses,
    /// Milliseconds from which on a query is logged as slow, without what it asked for.
    pub slow_query_milliseconds: u64,
}

/// What the log tells of clients' addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogAddresses {
    /// Nothing.
    None,
    /// Something that is the same for one address until the relay restarts, and tells nobody which it is.
    Hashed,
    /// The address.
    Full,
}

/// `[metrics]`: numbers for those who watch the relay.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Where to serve `/metrics`, `/health` and `/ready`, beside those two on the relay's own port. Unset: nowhere.
    pub listen: Option<SocketAddr>,
}

/// The form of a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For log collectors: one JSON object a line.
    Json,
}

/// Networks are texts in relay.toml: an address alone is the network of that one address.
mod networks {
    use std::net::IpAddr;

    use ipnet::{IpNet, Ipv4Net};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    struct Network(IpNet);

    impl<'de> Deserialize<'de> for Network {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            parse_network(&text).map(Self).ok_or_else(|| D::Error::custom("neither an address nor a network"))
        }
    }

    /// An address or a network, in the form in which clients' addresses are held against it: IPv4 within IPv6
    /// (`::ffff:192.0.2.0/120`) is IPv4. Bits of a network's address behind its prefix mean nothing, and are cleared.
    pub fn parse_network(text: &str) -> Option<IpNet> {
        let network = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>());
        let network = network.ok()?.trunc();
        let IpNet::V6(outer) = network else { return Some(network) };
        match (outer.addr().to_ipv4_mapped(), outer.prefix_len().checked_sub(96)) {
            (Some(address), Some(prefix)) => Ipv4Net::new(address, prefix).ok().map(IpNet::V4),
            _ => Some(network),
        }
    }

    pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
        let networks = Vec::<Network>::deserialize(deserializer)?;
        Ok(networks.into_iter().map(|network| network.0).collect())
    }

    pub(super) fn write<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(networks.iter().map(IpNet::to_string))
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn networks_are_in_the_form_of_clients_addresses() {
            let table = [
                ("192.0.2.9/24", Some("192.0.2.0/24")),
                ("192.0.2.9", Some("192.0.2.9/32")),
                ("::ffff:192.0.2.9", Some("192.0.2.9/32")),
                ("::ffff:192.0.2.9/120", Some("192.0.2.0/24")),
                ("::ffff:0.0.0.0/96", Some("0.0.0.0/0")),
                ("2001:db8::9/32", Some("2001:db8::/32")),
                ("::/0", Some("::/0")),
                ("localhost", None),
                ("192.0.2.9/33", None),
            ];
            for (text, network) in table {
                assert_eq!(
                    super::parse_network(text).map(|network| network.to_string()).as_deref(),
                    network,
                    "{text}"
                );
            }
        }
    }
}
