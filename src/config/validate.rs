//! What the settings may be: the range of every number, the relations between limits, the form of texts. In:
//! a `Config` and the document it came from. Out: the first fault, at the line of its key. Never changes a
//! value.

use hyper::Uri;
use hyper::header::HeaderName;
use tracing_subscriber::EnvFilter;

use super::document::Document;
use super::error::{Fault, excerpt};
use super::explain::{Known, known};
use super::sections::{self, SectionFault};
use super::{Config, Settings, cluster, tls};
use crate::words;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;
const HOUR_SECONDS: u64 = 3_600;
const DAY_SECONDS: u64 = 24 * HOUR_SECONDS;
const CENTURY_SECONDS: u64 = 36_525 * DAY_SECONDS;
const U32_MAX: u64 = u32::MAX as u64;

/// Every number's bounds. The upper ones lie far beyond use; they keep a slip of the fingers, and sums and
/// allocations made from it, from bringing the relay down later.
const RANGES: &[(&str, u64, u64)] = &[
    ("server.connections_max", 1, 1_000_000),
    ("server.connections_per_address_max", 1, 1_000_000),
    ("server.http_header_seconds_max", 1, HOUR_SECONDS),
    ("server.ping_interval_seconds", 1, DAY_SECONDS),
    ("server.ping_timeout_seconds", 1, DAY_SECONDS),
    ("server.write_timeout_seconds", 1, DAY_SECONDS),
    ("server.shutdown_seconds_max", 1, HOUR_SECONDS),
    ("server.reader_threads", 0, 1_024),
    ("server.verify_threads", 0, 1_024),
    ("server.memory_bytes_max", 0, 1_024 * TIB),
    ("server.search_memory_bytes", 15 * MIB, 4 * 1_024 * MIB - MIB),
    ("store.cache_bytes", MIB, TIB),
    ("store.body_cache_bytes", MIB, TIB),
    ("store.group_events_max", 1, 1_000_000),
    ("store.group_bytes_max", 1, GIB),
    ("store.index_save_events_min", 1, 1_000_000_000),
    ("store.index_save_changes_min", 1, 1_000_000_000),
    ("store.disk_free_bytes_min", 0, 1_024 * TIB),
    ("limits.message_bytes_max", 1, 64 * MIB),
    ("limits.content_chars_max", 1, 64 * MIB),
    ("limits.event_tags_max", 1, 1_000_000),
    ("limits.tag_value_bytes_max", 1, 64 * MIB),
    ("limits.subscription_id_chars_max", 1, 64),
    ("limits.subscriptions_per_connection_max", 1, 100_000),
    ("limits.filters_per_request_max", 1, 10_000),
    ("limits.filter_values_max", 1, 1_000_000),
    ("limits.limit_default", 1, 1_000_000),
    ("limits.limit_max", 1, 1_000_000),
    ("limits.outbox_bytes_max", 1, 4 * GIB),
    ("limits.hold_events_max", 1, 1_000_000),
    ("limits.hold_bytes_max", 1, 4 * GIB),
    ("limits.live_delay_milliseconds_max", 0, 1_000),
    ("limits.query_milliseconds_max", 1, HOUR_SECONDS * 1_000),
    ("limits.query_entries_max", 1, U32_MAX),
    ("limits.ingest_bytes_max", 1, TIB),
    ("limits.ingest_events_per_connection_max", 1, 1_000_000),
    ("limits.reads_queued_max", 1, 1_000_000),
    ("limits.reconciled_events_max", 1, U32_MAX),
    ("limits.created_at_future_seconds_max", 1, CENTURY_SECONDS),
    ("limits.created_at_past_seconds_max", 0, CENTURY_SECONDS),
    ("compression.level", 1, 9),
    ("compression.message_bytes_min", 0, 64 * MIB),
    ("compression.context_bytes_max", 0, TIB),
    ("compression.context_window_bits", 9, 15),
    ("rate.address_events_per_minute", 1, U32_MAX),
    ("rate.address_events_burst", 1, U32_MAX),
    ("rate.author_events_per_minute", 1, U32_MAX),
    ("rate.author_events_burst", 1, U32_MAX),
    ("rate.address_requests_per_minute", 1, U32_MAX),
    ("rate.address_requests_burst", 1, U32_MAX),
    ("rate.address_bytes_per_minute", 1, U32_MAX),
    ("rate.address_bytes_burst", 1, U32_MAX),
    ("rate.address_prefix_ipv6", 1, 128),
    ("nip13.difficulty_min", 0, 64),
    ("nip13.difficulty_max_members", 0, 64),
    ("nip40.sweep_seconds", 1, DAY_SECONDS),
    ("nip42.window_seconds", 1, DAY_SECONDS),
    ("nip42.keys_per_connection_max", 1, 10_000),
    ("nip62.sweep_events_per_second", 1, U32_MAX),
    ("nip77.events_max", 1, U32_MAX),
    ("nip77.per_connection_max", 1, 10_000),
    ("nip77.idle_seconds_max", 1, DAY_SECONDS),
    ("log.slow_query_milliseconds", 1, HOUR_SECONDS * 1_000),
    ("cluster.replicas", 1, 5),
    ("cluster.log_seconds_max", 1, CENTURY_SECONDS),
    ("cluster.log_bytes_max", MIB, 1_024 * TIB),
    ("cluster.publish_seconds_max", 1, 60),
];

/// Pairs of which the first must not exceed the second. Only pairs whose breach would do harm are here: a
/// bound that another one makes idle is no fault.
const RELATIONS: &[(&str, &str)] = &[
    ("limits.limit_default", "limits.limit_max"),
    // A filter with the highest limit must be able to look at as many entries as it may return.
    ("limits.limit_max", "limits.query_entries_max"),
    // One reconciliation must fit among all.
    ("nip77.events_max", "limits.reconciled_events_max"),
    // The largest message must fit each place that it passes, else it could never arrive or be sent on.
    ("limits.message_bytes_max", "limits.hold_bytes_max"),
    ("limits.message_bytes_max", "limits.outbox_bytes_max"),
    ("limits.message_bytes_max", "limits.ingest_bytes_max"),
    ("limits.message_bytes_max", "store.group_bytes_max"),
    // What was held goes into the outbox at once.
    ("limits.hold_bytes_max", "limits.outbox_bytes_max"),
    // Each ping is judged before the next one is sent.
    ("server.ping_timeout_seconds", "server.ping_interval_seconds"),
];

/// A relation that matters only while rates are enforced: the budget must be able to hold the largest
/// message.
const RATE_RELATION: (&str, &str) = ("limits.message_bytes_max", "rate.address_bytes_burst");

/// The bounds of one number, both included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    min: u64,
    max: u64,
}

impl Range {
    /// The least and the highest.
    pub(super) fn bounds(self) -> (u64, u64) {
        (self.min, self.max)
    }

    /// What the number must be, as a part of a sentence.
    pub(super) fn text(self) -> String {
        format!("a whole number from {} to {}", grouped(self.min), grouped(self.max))
    }
}

fn ranges() -> impl Iterator<Item = &'static (&'static str, u64, u64)> {
    RANGES.iter().chain(sections::RANGES.iter().copied().flatten())
}

/// The range of a number's key; a key without a row is bounded by TOML alone.
pub(super) fn range_of(key: &str) -> Range {
    let row = ranges().find(|row| row.0 == key);
    row.map_or(Range { min: 0, max: i64::MAX as u64 }, |&(_, min, max)| Range { min, max })
}

/// A number as TOML may group it: `5_000`.
pub(super) fn grouped(number: u64) -> String {
    words::grouped(number, '_')
}

/// Finds the first fault of the settings. The order is: each value by itself, then values against each other.
pub(super) fn check(config: &Config, settings: &Settings, document: &Document<'_>) -> Result<(), Fault> {
    let values = known(config, settings);
    ranges().try_for_each(|row| check_range(&values, document, row.0))?;
    check_relay(settings, document)?;
    check_texts(config, document)?;
    let of_section = |SectionFault { key, problem, remedy }| fault(document, key, problem, remedy);
    tls::check(config).map_err(of_section)?;
    cluster::check(config, settings).map_err(of_section)?;
    check_difficulties(settings, document)?;
    check_own_key(settings, document)?;
    sections::check(settings).map_err(of_section)?;
    RELATIONS.iter().try_for_each(|relation| check_relation(&values, document, *relation))?;
    if config.rate.enabled {
        check_relation(&values, document, RATE_RELATION)?;
    }
    Ok(())
}

fn check_range(values: &Known, document: &Document<'_>, key: &str) -> Result<(), Fault> {
    let (range, value) = (range_of(key), number(values, key));
    let remedy = match value {
        value if value < range.min => "raise it",
        value if value > range.max => "lower it",
        _ => return Ok(()),
    };
    Err(fault(document, key, format!("must be {}, but is {}", range.text(), grouped(value)), remedy))
}

/// Blames the larger bound, as the one that is set too tight, unless only the smaller one stands in the file.
fn check_relation(
    values: &Known,
    document: &Document<'_>,
    (small, large): (&str, &str),
) -> Result<(), Fault> {
    let (small_value, large_value) = (number(values, small), number(values, large));
    if small_value <= large_value {
        return Ok(());
    }
    let blame_large = document.line_of(large).is_some() || document.line_of(small).is_none();
    let (key, value, bound, other, other_value, fix, other_fix) = if blame_large {
        (large, large_value, "at least", small, small_value, "raise", "lower")
    } else {
        (small, small_value, "at most", large, large_value, "lower", "raise")
    };
    let problem = format!("must be {bound} {other} ({}), but is {}", grouped(other_value), grouped(value));
    Err(fault(document, key, problem, format!("{fix} it or {other_fix} {}", seen_from(key, other))))
}

/// The root is where it is.
pub(super) fn check_root(settings: &Settings, document: &Document<'_>) -> Result<(), Fault> {
    let relay = &settings.relay;
    if relay.path == "/" && relay.host.is_none() {
        return Ok(());
    }
    let key = if relay.host.is_some() { "relay.host" } else { "relay.path" };
    let problem = "[relay] is the root community, which is at / under every name";
    Err(fault(document, key, problem, "remove the line, or write a [[community]]"))
}

/// What `[relay]` tells clients must be of use to them.
fn check_relay(settings: &Settings, document: &Document<'_>) -> Result<(), Fault> {
    let relay = &settings.relay;
    if relay.name.trim().is_empty() {
        return Err(fault(document, "relay.name", "must not be empty", "write a name that clients can show"));
    }
    let pages = [
        ("relay.banner", &relay.banner),
        ("relay.icon", &relay.icon),
        ("relay.terms_of_service", &relay.terms_of_service),
    ];
    for (key, page) in pages {
        if let Some(problem) = page.as_deref().and_then(|page| url_problem(page, ["https", "http"])) {
            return Err(fault(document, key, problem, "write an address such as \"https://example.com/…\""));
        }
    }
    if relay.contact.as_deref().is_some_and(|contact| contact.trim().is_empty()) {
        return Err(fault(
            document,
            "relay.contact",
            "must not be empty",
            "write an address, or remove the line",
        ));
    }
    for (key, value) in [("relay.pubkey", &relay.pubkey), ("relay.self", &relay.self_key)] {
        if let Some((problem, remedy)) = value.as_deref().and_then(pubkey_problem) {
            return Err(fault(document, key, problem, remedy));
        }
    }
    for (index, url) in relay.urls.iter().enumerate() {
        if let Some(problem) = url_problem(url, ["wss", "ws"]) {
            let mut fault =
                fault(document, "relay.urls", problem, "write for example \"wss://relay.example.com\"");
            fault.line = document.line_of_element("relay.urls", index).unwrap_or(fault.line);
            return Err(fault);
        }
    }
    Ok(())
}

/// Requests to join are protected events, and a file of a key has a name.
fn check_own_key(settings: &Settings, document: &Document<'_>) -> Result<(), Fault> {
    if settings.nip43.enabled && !settings.nip70.accept {
        let problem = "must be false where nip70.accept is: who joins sends a protected event";
        return Err(fault(document, "nip43.enabled", problem, "set nip70.accept to true"));
    }
    if settings.relay.secret_key_file.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
        let remedy = "write the name of a file, or remove the line";
        return Err(fault(document, "relay.secret_key_file", "must not be empty", remedy));
    }
    Ok(())
}

/// Difficulties by kind have the bounds of the general one.
fn check_difficulties(settings: &Settings, document: &Document<'_>) -> Result<(), Fault> {
    let range = range_of("nip13.difficulty_min");
    if let Some(bits) = settings.nip13.difficulty_max_trusted
        && u64::from(bits) > range.max
    {
        let problem = format!("must be {}, but is {bits}", range.text());
        return Err(fault(document, "nip13.difficulty_max_trusted", problem, "lower it"));
    }
    let most = settings.nip13.difficulty_min_by_kind.iter().map(|(_, bits)| u64::from(*bits)).max();
    if most.is_none_or(|bits| bits <= range.max) {
        return Ok(());
    }
    let problem = format!("each number must be {}", range.text());
    Err(fault(document, "nip13.difficulty_min_by_kind", problem, "lower it"))
}

/// Paths that the relay itself answers at.
const RESERVED_PATHS: [&str; 5] = [ADMIN_PAGE, "/health", "/ready", "/metrics", "/.well-known"];

/// Where the page of those who manage a community is, below its path.
const ADMIN_PAGE: &str = "/admin";

/// Where a community is must be a path of its own, that no other has.
pub(super) fn check_place(
    config: &Config,
    settings: &Settings,
    document: &Document<'_>,
) -> Result<(), Fault> {
    let path = &settings.relay.path;
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/');
    let is_path = path.len() > 1
        && path.len() <= PATH_BYTES_MAX
        && path.starts_with('/')
        && path.bytes().all(is_plain)
        && path[1..].split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if !is_path {
        let problem = format!(
            "{:?} must be a slash and a name of letters, digits, and - _ . ~, {PATH_BYTES_MAX} bytes at most",
            excerpt(path)
        );
        return Err(fault(document, "relay.path", problem, "write for example path = \"/berlin\""));
    }
    let within = |above: &&&str| path == **above || path.starts_with(&format!("{above}/"));
    if let Some(reserved) = RESERVED_PATHS.iter().find(within) {
        let problem = format!("{reserved} is the relay's own");
        return Err(fault(document, "relay.path", problem, "choose another path"));
    }
    if path.ends_with(ADMIN_PAGE) {
        let problem = format!("{path} is where the community above it is managed");
        return Err(fault(document, "relay.path", problem, "choose another path"));
    }
    if config.all().any(|other| other.relay.path == *path) {
        let problem = format!("another community is at {path}");
        return Err(fault(document, "relay.path", problem, "give each [[community]] a path of its own"));
    }
    let Some(host) = &settings.relay.host else { return Ok(()) };
    let is_host = host.len() <= 253
        && host
            .parse::<hyper::http::uri::Authority>()
            .is_ok_and(|authority| authority.as_str() == authority.host())
        && *host == host.to_ascii_lowercase();
    if !is_host {
        let problem = format!("{:?} must be a host name in lower case, without a port", excerpt(host));
        return Err(fault(
            document,
            "relay.host",
            problem,
            "write for example host = \"berlin.example.org\"",
        ));
    }
    if config.all().any(|other| other.relay.host.as_ref() == Some(host)) {
        let problem = format!("another community is at {host}");
        return Err(fault(
            document,
            "relay.host",
            problem,
            "give each [[community]] a host of its own, or none",
        ));
    }
    Ok(())
}

/// The longest path of a community: it is a key in the store.
const PATH_BYTES_MAX: usize = 200;

/// Texts outside of `[relay]` that have a form.
fn check_texts(config: &Config, document: &Document<'_>) -> Result<(), Fault> {
    if config.store.path.as_os_str().is_empty() {
        return Err(fault(document, "store.path", "must not be empty", "write for example path = \"data\""));
    }
    let header = &config.server.client_address_header;
    if HeaderName::from_lowercase(header.as_bytes()).is_err() {
        let problem =
            format!("must be the name of an HTTP header in lower case, but is {:?}", excerpt(header));
        let remedy = "write for example client_address_header = \"x-forwarded-for\"";
        return Err(fault(document, "server.client_address_header", problem, remedy));
    }
    if let Some(part) = log_level_problem(&config.log.level) {
        let problem = format!("{:?} is neither a level nor target=level", excerpt(part));
        let remedy = "the levels are off, error, warn, info, debug, trace; \"info,plaza=debug\" mixes them";
        return Err(fault(document, "log.level", problem, remedy));
    }
    Ok(())
}

/// Why a text is no absolute URL of one of two schemes.
pub(super) fn url_problem(url: &str, schemes: [&str; 2]) -> Option<String> {
    let [first, second] = schemes;
    let wrong = |why: &str| Some(format!("{:?} {why}", excerpt(url)));
    let Ok(uri) = url.parse::<Uri>() else {
        return wrong("is not a valid URL");
    };
    if uri.scheme_str().is_none_or(|scheme| scheme != first && scheme != second) {
        return wrong(&format!("must begin with {first}:// or {second}://"));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        // Not repeated: it may hold a password.
        return Some("must not carry a user name or a password".to_owned());
    }
    if url.contains('#') {
        return wrong("must not have a fragment (#…)");
    }
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return wrong("must name a host");
    };
    if authority.port_u16().is_none() && authority.as_str() != authority.host() {
        return wrong("must have a port from 0 to 65_535 after the colon, or no colon");
    }
    None
}

/// Why a text is no public key, and what to do. The text is not repeated: it may be the secret key by
/// mistake.
fn pubkey_problem(pubkey: &str) -> Option<(String, &'static str)> {
    const WRITE_HEX: &str = "write the same key as 64 hexadecimal digits";
    let chars = pubkey.chars().count();
    let is_hex = pubkey.chars().all(|c| c.is_ascii_hexdigit());
    if pubkey.starts_with("nsec1") {
        let remedy = "remove it from this file now, and write your public key as 64 hexadecimal digits";
        return Some(("this is a secret key, which nobody but you may ever see".to_owned(), remedy));
    }
    if pubkey.starts_with("npub1") {
        return Some(("the npub1… form is not read here".to_owned(), WRITE_HEX));
    }
    if !is_hex {
        return Some(("must be hexadecimal digits (0 to 9, a to f) only".to_owned(), WRITE_HEX));
    }
    if chars != 64 {
        return Some((format!("must be 64 hexadecimal digits, but has {chars}"), "copy the whole key"));
    }
    if pubkey.chars().any(|c| c.is_ascii_uppercase()) {
        return Some(("must be in lower case".to_owned(), "write A to F as a to f"));
    }
    None
}

/// The part of a filter that means nothing. A bare word that is no level would pass as a target's name, so
/// that `level = "inof"` would silence the log; hence it is refused here.
fn log_level_problem(level: &str) -> Option<&str> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    // Directives on spans may contain commas of their own; only tracing can read those.
    let parts = level.split(',').filter(|_| !level.contains('['));
    let is_level = |part: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part));
    let stray = parts.map(str::trim).find(|part| !part.contains('=') && !is_level(part));
    stray.or_else(|| EnvFilter::try_new(level).is_err().then_some(level))
}

fn number(values: &Known, key: &str) -> u64 {
    let setting = key.split_once('.').and_then(|(section, name)| values.get(section)?.get(name)?.as_u64());
    debug_assert!(setting.is_some(), "{key} is not a number of the settings");
    setting.unwrap_or_default()
}

/// A key as it is called by its neighbours: without the section if that is the same.
fn seen_from<'k>(here: &str, key: &'k str) -> &'k str {
    let here = here.rsplit_once("].").map_or(here, |(_, key)| key);
    match (here.split_once('.'), key.split_once('.')) {
        (Some((here, _)), Some((section, name))) if here == section => name,
        _ => key,
    }
}

fn fault(document: &Document<'_>, key: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Fault {
    let line = document.line_of(key).unwrap_or_else(|| document.first_line());
    Fault { line, key: document.name_of(key), problem: problem.into(), remedy: remedy.into() }
}
