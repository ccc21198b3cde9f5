//! What a file says that the settings do not have: unknown keys and values of the wrong type. In: the
//! document and serde's error. Out: a fault with the nearest known key, or with an example that would be
//! right. Never judges values of the right type; validate.rs does.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use toml::de::DeValue;

use super::document::{Document, Entry};
use super::error::{Fault, excerpt};
use super::validate::{grouped, range_of};
use super::{Config, PROCESS, Settings, parse_network};

/// What is written where the default says too little: a key, what it must be, and an example.
pub(super) const WANTED: &[(&str, &str, &str)] = &[
    ("relay.banner", "text in quotes", "\"https://example.com/banner.jpg\""),
    ("relay.icon", "text in quotes", "\"https://example.com/icon.png\""),
    ("relay.contact", "text in quotes", "\"mailto:operator@example.com\""),
    ("relay.terms_of_service", "text in quotes", "\"https://example.com/terms\""),
    ("relay.pubkey", "64 hexadecimal digits in quotes", "\"79be667e…\""),
    ("relay.urls", "a list of texts", "[\"wss://relay.example.com\"]"),
    ("server.listen", "an IP address and a port in quotes", "\"127.0.0.1:7777\""),
    (
        "server.trusted_proxies",
        "a list of IP addresses or networks in quotes",
        "[\"127.0.0.1\", \"10.0.0.0/8\"]",
    ),
    ("tls.listen", "an IP address and a port in quotes", "\"0.0.0.0:443\""),
    ("tls.certificate", "a path in quotes", "\"fullchain.pem\""),
    ("tls.key", "a path in quotes", "\"privkey.pem\""),
    ("acme.domains", "a list of names in quotes", "[\"relay.example.com\"]"),
    ("acme.contact", "an address in quotes", "\"mailto:you@example.com\""),
    ("acme.directory_ca", "a path in quotes", "\"ca.pem\""),
    ("acme.cache", "a path in quotes", "\"acme\""),
    ("store.durability", "\"power\" or \"process\"", "\"power\""),
    ("relay.preset", "the name of a preset", "\"geohash-hub\""),
    ("relay.self", "64 hexadecimal digits in quotes", "\"79be667e…\""),
    ("relay.path", "a path in quotes", "\"/berlin\""),
    ("relay.host", "a host name in quotes", "\"berlin.example.org\""),
    ("kinds.allowed", "a list of kinds and ranges", "[0, 1, \"30000-39999\"]"),
    ("kinds.denied", "a list of kinds and ranges", "[4, \"20000-29999\"]"),
    ("authors.allowed", "a list of public keys in quotes", "[\"npub1…\"]"),
    ("authors.denied", "a list of public keys in quotes", "[\"npub1…\"]"),
    ("authors.members", "a list of public keys in quotes", "[\"npub1…\"]"),
    ("tags.required", "a table from kinds to names of tags", "{ \"30402\" = [\"price\"] }"),
    ("media.hosts_allowed", "a list of domain names", "[\"video.example.com\"]"),
    ("media.hosts_denied", "a list of domain names", "[\"bad.example.com\"]"),
    ("media.content_warning", "\"free\", \"required\" or \"refused\"", "\"free\""),
    ("media.duration_seconds_max_by_kind", "a table from kinds to numbers", "{ \"22,34236\" = 60 }"),
    ("nip05.names", "a table from names to public keys", "{ ann = \"npub1…\" }"),
    ("admin.owners", "a list of public keys in quotes", "[\"npub1…\"]"),
    ("access.read", "\"all\", \"authenticated\" or \"members\"", "\"all\""),
    ("access.write", "\"all\", \"authenticated\", \"members\" or \"none\"", "\"all\""),
    ("limits.content_chars_max_by_kind", "a table from kinds to numbers", "{ \"1\" = 5_000 }"),
    ("limits.event_tags_max_by_kind", "a table from kinds to numbers", "{ \"1\" = 100 }"),
    ("nip13.difficulty_min_by_kind", "a table from kinds to numbers", "{ \"1\" = 16 }"),
    ("nip13.difficulty_max_trusted", "a whole number from 0 to 64", "8"),
    ("trust.roots", "a list of public keys in quotes", "[\"npub1…\"]"),
    ("trust.nip05_domains", "a list of texts", "[\"example.org\"]"),
    ("reports.moderators", "a list of public keys in quotes", "[\"npub1…\"]"),
    ("reports.reporters", "a list of public keys in quotes", "[\"npub1…\"]"),
    ("reports.hops_max", "a whole number from 0 to trust.hops_max", "1"),
    ("reports.types", "a list of texts", "[\"illegal\", \"spam\"]"),
    ("reports.labels", "a table from namespaces to labels", "{ \"com.example.moderation\" = [\"spam\"] }"),
    ("followers.kinds", "a list of kinds and ranges", "[1, \"30000-39999\"]"),
    ("followers.shown_to", "\"either\", \"followers\", \"followed\" or \"mutual\"", "\"either\""),
    ("geohash.prefixes", "a list of geohashes in quotes", "[\"u33d\", \"u33e\"]"),
    ("geohash.center", "a latitude and a longitude in a list", "[52.52, 13.40]"),
    ("geohash.radius_km", "a number of kilometres", "5.5"),
    ("geohash.box", "south, west, north and east in a list", "[52.3, 13.0, 52.7, 13.8]"),
    ("geohash.kinds_exempt", "a list of kinds and ranges", "[0, 3, \"10000-19999\"]"),
    ("geohash.kinds_about", "a list of kinds and ranges", "[6, 7, 9735]"),
    ("geohash.replies", "\"none\", \"own\" or \"all\"", "\"own\""),
    ("limits.slow_client", "\"close\" or \"drop\"", "\"close\""),
    ("nip17.private_kinds", "a list of whole numbers from 0 to 65_535", "[4, 13, 1059, 21059]"),
    ("market.currencies", "a list of texts", "[\"sats\", \"EUR\"]"),
    ("market.categories", "a list of texts", "[\"fruit\", \"books\"]"),
    ("market.price_min", "a table from currencies to amounts", "{ sats = 1, EUR = \"0.50\" }"),
    ("market.price_max", "a table from currencies to amounts", "{ sats = 1_000_000, EUR = \"999.99\" }"),
    ("retention.age_days_max_by_kind", "a table from kinds to days", "{ \"1\" = 365, \"7\" = 30 }"),
    ("retention.events_max_by_kind", "a table from kinds to numbers", "{ \"1,6,7\" = 1_000_000 }"),
    ("outbox.discover", "a list of addresses", "[\"wss://relay.example\"]"),
    ("outbox.kinds", "a list of whole numbers from 0 to 65_535", "[0, 1, 3, 5, 6, 7]"),
    ("retention.author_full", "\"refuse\" or \"oldest\"", "\"refuse\""),
    ("retention.kinds_protected", "a list of kinds and ranges", "[0, 3, \"10000-19999\"]"),
    ("bridge.protocols_allowed", "a list of activitypub, atproto, rss, web and other", "[\"activitypub\"]"),
    ("bridge.protocols_refused", "a list of activitypub, atproto, rss, web and other", "[\"rss\"]"),
    ("bridge.protocols_hidden", "a list of activitypub, atproto, rss, web and other", "[\"rss\"]"),
    ("bridge.domains_allowed", "a list of domain names", "[\"example.com\"]"),
    ("bridge.domains_refused", "a list of domain names", "[\"example.com\"]"),
    ("bridge.domains_hidden", "a list of domain names", "[\"example.com\"]"),
    ("bridge.bridge_keys", "a list of public keys in quotes", "[\"npub1…\"]"),
    ("zaps.wallets", "a list of public keys in quotes", "[\"npub1…\"]"),
    ("zaps.after_closed", "\"accept\", \"mark\" or \"refuse\"", "\"accept\""),
    ("blocklist.files", "a list of paths in quotes", "[\"blocklist.csv\"]"),
    ("blocklist.apply_to", "a list of proxy, nip05 and links", "[\"proxy\", \"nip05\", \"links\"]"),
    ("blocklist.domains_allowed", "a list of domain names", "[\"example.com\"]"),
    ("shared_lists.publish", "a list of pubkeys and domains", "[\"pubkeys\", \"domains\"]"),
    ("shared_lists.reasons", "\"public\", \"all\" or \"none\"", "\"public\""),
    (
        "shared_lists.follow",
        "[[shared_lists.follow]] tables, each with a relay and a pubkey",
        "[{ relay = \"wss://relay.example\", pubkey = \"npub1…\" }]",
    ),
    ("moderation_service.url", "text in quotes", "\"https://moderation.example.com/events\""),
    ("moderation_service.subject", "text in quotes", "\"moderation.events\""),
    ("moderation_service.user", "text in quotes", "\"plaza\""),
    ("moderation_service.password_file", "a path in quotes", "\"nats.password\""),
    ("moderation_service.tls_ca", "a path in quotes", "\"ca.pem\""),
    ("moderation_service.tls_certificate", "a path in quotes", "\"plaza.pem\""),
    ("moderation_service.tls_key", "a path in quotes", "\"plaza.key\""),
    ("moderation_service.secret_file", "a path in quotes", "\"moderation.secret\""),
    ("moderation_service.pubkey", "a public key in quotes", "\"npub1…\""),
    ("moderation_service.kinds", "a list of kinds and ranges", "[1, \"30000-39999\"]"),
    ("moderation_service.until_verdict", "\"show\" or \"hold\"", "\"show\""),
    ("moderation_service.without_verdict", "\"show\" or \"remove\"", "\"show\""),
    ("moderation_service.labels_hidden", "a list of texts", "[\"spam\"]"),
    ("plugins.chain", "[[plugins.chain]] tables, each with a command", "[{ command = \"./plugin.js\" }]"),
    ("log.addresses", "\"none\", \"hashed\" or \"full\"", "\"none\""),
    ("metrics.listen", "an IP address and a port in quotes", "\"127.0.0.1:9100\""),
    ("log.format", "\"text\" or \"json\"", "\"text\""),
    ("cluster.servers", "a list of addresses in quotes", "[\"nats://10.0.0.1:4222\"]"),
    ("cluster.user", "text in quotes", "\"plaza\""),
    ("cluster.password_file", "a path in quotes", "\"nats.password\""),
    ("cluster.tls_ca", "a path in quotes", "\"ca.pem\""),
    ("cluster.tls_certificate", "a path in quotes", "\"node.pem\""),
    ("cluster.tls_key", "a path in quotes", "\"node.key\""),
];

/// Settings of sections that a community can have, which yet bound all communities together.
pub(super) const OF_THE_PROCESS: [&str; 3] =
    ["limits.ingest_bytes_max", "limits.reads_queued_max", "limits.reconciled_events_max"];

/// Characters of a message about a value, which may repeat it.
const MESSAGE_CHARS_MAX: usize = 300;

/// Parts of messages of our own readers of values, which name the element that is wrong.
const SAYS_ITSELF: [&str; 6] = [
    "an amount is ",
    "a kind is ",
    "a public key is ",
    "this npub1",
    "this is a secret key",
    "is no domain name",
];

/// Sections and their settings with default values, both in alphabetical order.
pub(super) type Known = BTreeMap<String, BTreeMap<String, Value>>;

/// Every setting that there is, read off the settings themselves, so that no second list can lag behind.
pub(super) fn known(config: &Config, settings: &Settings) -> Known {
    let sections = Value::Object(config.sections_of(settings));
    serde_json::from_value(sections).unwrap_or_default()
}

/// What a file without a word says.
fn known_by_default() -> Known {
    known(&Config::default(), &Settings::default())
}

/// Refuses the first key of the file that the settings do not have.
pub(super) fn refuse_unknown(document: &Document<'_>) -> Result<(), Fault> {
    let known = known_by_default();
    for section in document.top() {
        if document.community().is_some() && PROCESS.contains(&section.key) {
            return Err(of_the_process(document, &section));
        }
        let Some(settings) = known.get(section.key) else {
            return Err(unknown_top(document, &known, &section));
        };
        let Some(table) = section.value.as_table() else {
            return Err(not_a_section(document, &section));
        };
        for entry in document.entries(table) {
            let key = format!("{}.{}", section.key, entry.key);
            if !settings.contains_key(entry.key) {
                return Err(unknown_setting(document, &known, section.key, &entry));
            }
            if document.community().is_some() && OF_THE_PROCESS.contains(&key.as_str()) {
                return Err(of_the_process(document, &Entry { key: &key, ..entry }));
            }
        }
    }
    Ok(())
}

/// What bounds all communities together is set once.
fn of_the_process(document: &Document<'_>, entry: &Entry<'_>) -> Fault {
    let (section, _) = entry.key.split_once('.').unwrap_or((entry.key, ""));
    Fault {
        line: entry.line,
        key: document.name_of(entry.key),
        problem: "holds for all communities together".to_owned(),
        remedy: format!("set it in [{section}], outside of [[community]]"),
    }
}

/// A message as far as people read it.
fn shortened(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

/// Turns serde's refusal of a value into what the setting wants, with an example.
pub(super) fn wrong_value(document: &Document<'_>, cause: &toml::de::Error) -> Fault {
    let span = cause.span().unwrap_or_default();
    let Some(key) = document.key_at(&span) else {
        let line = document.line_at(span.start);
        let remedy = "compare it with relay.toml.example".to_owned();
        let key = document.name_of("settings");
        // It may repeat what stands there, and that may be a secret key.
        let problem = match cause.message() {
            message if message.contains("nsec1") => excerpt(message),
            message => shortened(message),
        };
        return Fault { line, key, problem, remedy };
    };
    let span = narrowed(document, &key, span);
    let line = document.line_at(span.start);
    let name = key.rsplit('.').next().unwrap_or(&key);
    let (wanted, example) = wanted(&key);
    // What only a part of the value broke says so itself.
    let problem = match cause.message() {
        message if SAYS_ITSELF.iter().any(|part| message.contains(part)) => shortened(message),
        _ => format!("must be {wanted}, but is {}", shown(document, &key, &span)),
    };
    let key = document.name_of(&key);
    Fault { line, problem, remedy: format!("write for example {name} = {example}"), key }
}

/// The place of the element that is no network: serde only knows the place of the whole list.
fn narrowed(document: &Document<'_>, key: &str, span: Range<usize>) -> Range<usize> {
    if key != "server.trusted_proxies" {
        return span;
    }
    let is_network = |value: &DeValue<'_>| value.as_str().is_some_and(|text| parse_network(text).is_some());
    document
        .elements(key)
        .find(|element| !is_network(element.get_ref()))
        .map_or(span, |element| element.span())
}

/// What a setting must be, and an example of it.
fn wanted(key: &str) -> (String, String) {
    if let Some((_, wanted, example)) = WANTED.iter().find(|row| row.0 == key) {
        return ((*wanted).to_owned(), (*example).to_owned());
    }
    if key.ends_with(".mode") {
        return ("\"enforce\" or \"shadow\"".to_owned(), "\"enforce\"".to_owned());
    }
    let default = key.split_once('.').and_then(|(section, name)| {
        known_by_default().get(section).and_then(|settings| settings.get(name)).cloned()
    });
    match default {
        Some(Value::Number(number)) => {
            (range_of(key).text(), number.as_u64().map_or_else(|| number.to_string(), grouped))
        }
        Some(Value::Bool(value)) => ("true or false, without quotes".to_owned(), value.to_string()),
        Some(Value::String(text)) => ("text in quotes".to_owned(), format!("{text:?}")),
        other => ("as in relay.toml.example".to_owned(), other.unwrap_or_default().to_string()),
    }
}

/// The refused value as the file has it. A key is never repeated: it may be the secret one by mistake.
fn shown(document: &Document<'_>, key: &str, span: &Range<usize>) -> String {
    let are_keys = [
        "authors.",
        "admin.owners",
        "moderation_service.pubkey",
        "nip05.",
        "trust.roots",
        "reports.moderators",
        "reports.reporters",
    ];
    if key == "relay.pubkey" || key == "relay.self" || are_keys.iter().any(|keys| key.starts_with(keys)) {
        "not".to_owned()
    } else {
        excerpt(document.source(span))
    }
}

fn unknown_top(document: &Document<'_>, known: &Known, entry: &Entry<'_>) -> Fault {
    let sections: Vec<&str> = known.keys().map(String::as_str).chain(["community"]).collect();
    let (problem, remedy) = if is_section(entry.value) {
        let remedy = match nearest(entry.key, &sections) {
            Some("community") => "did you mean [[community]]?".to_owned(),
            Some(near) => format!("did you mean [{near}]?"),
            None => "the sections are those of relay.toml.example".to_owned(),
        };
        ("there is no such section", remedy)
    } else if let Some(homes) = homes(known, entry.key) {
        ("stands outside of its section", format!("move it below {homes}"))
    } else {
        ("unknown, and outside of any section", elsewhere(known, entry.key))
    };
    let key = document.name_of(&excerpt(entry.key).escape_debug().to_string());
    Fault { line: entry.line, key, problem: problem.to_owned(), remedy }
}

fn unknown_setting(document: &Document<'_>, known: &Known, section: &str, entry: &Entry<'_>) -> Fault {
    let names: Vec<&str> =
        known.get(section).into_iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
    let remedy = match (homes(known, entry.key), nearest(entry.key, &names)) {
        (Some(homes), _) => format!("move it below {homes}, if that is what you mean"),
        (None, Some(near)) => format!("did you mean {near}?"),
        (None, None) => format!("its settings are {}", names.join(", ")),
    };
    let key = document.name_of(&format!("{section}.{}", excerpt(entry.key).escape_debug()));
    let home = match document.community() {
        Some(_) if section == "relay" => "[[community]]".to_owned(),
        Some(_) => format!("[community.{section}]"),
        None => format!("[{section}]"),
    };
    Fault { line: entry.line, key, problem: format!("{home} has no such setting"), remedy }
}

/// A remedy for a stray key that no section has by that very name.
fn elsewhere(known: &Known, key: &str) -> String {
    let names: Vec<&str> = known.values().flat_map(BTreeMap::keys).map(String::as_str).collect();
    match nearest(key, &names).and_then(|near| Some((near, homes(known, near)?))) {
        Some((near, homes)) => format!("did you mean {near} below {homes}?"),
        None => "each setting stands below its section, as in relay.toml.example".to_owned(),
    }
}

/// The sections that have a setting of this very name.
fn homes(known: &Known, key: &str) -> Option<String> {
    let homes = known.iter().filter(|(_, settings)| settings.contains_key(key));
    let names: Vec<String> = homes.map(|(section, _)| format!("[{section}]")).collect();
    (!names.is_empty()).then(|| names.join(" or "))
}

fn not_a_section(document: &Document<'_>, entry: &Entry<'_>) -> Fault {
    let name = entry.key;
    let (problem, remedy) = match entry.value {
        DeValue::Array(_) => {
            ("must be one section, but is a list", format!("write [{name}], once, and not [[{name}]]"))
        }
        _ => {
            ("must be a section, but is a single value", format!("write [{name}] and its settings below it"))
        }
    };
    Fault { line: entry.line, key: document.name_of(name), problem: problem.to_owned(), remedy }
}

fn is_section(value: &DeValue<'_>) -> bool {
    let of_tables = |list: &toml::de::DeArray<'_>| list.iter().any(|element| element.get_ref().is_table());
    value.is_table() || value.as_array().is_some_and(of_tables)
}

/// The candidate that a slip of the fingers would turn into the word; none if all are further away than that.
fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let (distance, near) =
        candidates.iter().map(|candidate| (distance(word, candidate), *candidate)).min()?;
    (distance <= (word.chars().count() / 3).max(1)).then_some(near)
}

/// Levenshtein's distance: characters to insert, remove or change.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (removed, a) in from.chars().enumerate() {
        let mut last = removed + 1;
        let mut next = vec![last];
        for (pair, b) in row.windows(2).zip(&to) {
            let [diagonal, above] = pair else { continue };
            last = (diagonal + usize::from(a != *b)).min(above + 1).min(last + 1);
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
