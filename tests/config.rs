//! relay.toml: the example says what the program does, mistakes are answered with file, line, key and remedy, and
//! right files are read as they are meant.

use std::collections::BTreeSet;
use std::path::Path;

use plaza::amount::Amount;
use plaza::config::{Config, Durability, LogFormat, Settings, SlowClient};

const EXAMPLE: &str = include_str!("../relay.toml.example");

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("relay.toml")).map_err(|error| error.to_string())
}

/// Dotted keys of the default settings, those with a value and those without.
fn keys_of_default() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut set, mut unset) = (BTreeSet::new(), BTreeSet::new());
    for (section, settings) in Config::default().sections() {
        for (name, value) in settings.as_object().unwrap() {
            // Where a community is stands in its own header.
            if section == "relay" && matches!(name.as_str(), "path" | "host") {
                continue;
            }
            let keys = if value.is_null() { &mut unset } else { &mut set };
            keys.insert(format!("{section}.{name}"));
        }
    }
    (set, unset)
}

/// The name that a line of the example sets, if it does: `name = value`.
fn name_of(line: &str) -> Option<&str> {
    let (name, _) = line.split_once(" = ")?;
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    is_name.then_some(name)
}

#[test]
fn the_example_equals_the_defaults() {
    assert_eq!(parse(EXAMPLE), Ok(Config::default()));
}

#[test]
fn the_example_names_every_setting_and_explains_it() {
    let (mut set, mut unset) = (BTreeSet::new(), BTreeSet::new());
    let (mut section, mut previous) = (String::new(), "");
    for (index, line) in EXAMPLE.lines().enumerate() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            assert!(previous.starts_with("# "), "line {}: [{name}] needs a comment", index + 1);
            section = name.to_owned();
        }
        let commented = line.strip_prefix("# ");
        if let Some(name) = name_of(commented.unwrap_or(line)) {
            assert!(previous.starts_with("# "), "line {}: {name} needs a comment", index + 1);
            let keys = if commented.is_some() { &mut unset } else { &mut set };
            assert!(keys.insert(format!("{section}.{name}")), "line {}: {name} stands twice", index + 1);
        }
        previous = line;
    }
    assert_eq!((set, unset), keys_of_default());
}

#[test]
fn the_example_says_what_counts_at_the_next_start() {
    let (mut section, mut previous) = (String::new(), "");
    for line in EXAMPLE.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        }
        if let Some(name) = name_of(line.strip_prefix("# ").unwrap_or(line)) {
            let key = format!("{section}.{name}");
            let waits = previous == "# Counts at the next start.";
            assert_eq!(waits, plaza::config::needs_restart(&key), "{key}");
        }
        previous = line;
    }
}

#[test]
fn the_example_stays_right_when_its_optional_settings_are_used() {
    let uncommented: Vec<&str> = EXAMPLE
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| name_of(rest).is_some()).unwrap_or(line))
        .collect();
    let config = parse(&uncommented.join("\n")).unwrap();
    let relay = serde_json::to_value(&config.root.relay).unwrap();
    let unset = relay.as_object().unwrap().iter().filter(|(_, value)| value.is_null());
    assert_eq!(unset.map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["host"], "{relay}");
}

#[test]
fn the_examples_community_is_right_too() {
    let uncommented: Vec<&str> = EXAMPLE.lines().map(|line| line.strip_prefix('#').unwrap_or(line)).collect();
    let at = uncommented.iter().position(|line| *line == "[[community]]").unwrap();
    let config = parse(&uncommented[at..].join("\n")).unwrap();
    let community = &config.communities[0];
    assert_eq!(community.relay.path, "/berlin");
    assert_eq!(community.relay.host.as_deref(), Some("berlin.example.org"));
    assert!(community.kinds.denied.contains(plaza::event::Kind(4)));
}

#[test]
fn every_number_has_a_range() {
    for (section, settings) in Config::default().sections() {
        for (name, value) in settings.as_object().unwrap() {
            if value.is_number() {
                // Beyond every range, yet a number to TOML: only a key's own range can refuse it, and a key
                // without one would be told TOML's.
                let text = format!("[{section}]\n{name} = {}", i64::MAX);
                let error = parse(&text).expect_err(&text);
                let wanted = format!("relay.toml:2: {section}.{name}: must be a whole number from ");
                assert!(error.starts_with(&wanted), "{error}");
                assert!(!error.contains("9_223_372_036_854_775_807,"), "{error}");
            }
        }
    }
}

/// Each row: what is wrong behind `##`, the file, and the whole answer behind `=>`.
const BAD: &str = r####"
## a section that does not exist
[lobby]
name = 1
=> relay.toml:1: lobby: there is no such section; the sections are those of relay.toml.example

## a section's name with a slip
[limit]
limit_max = 5
=> relay.toml:1: limit: there is no such section; did you mean [limits]?

## a list of sections
[[limits]]
limit_max = 5
=> relay.toml:1: limits: must be one section, but is a list; write [limits], once, and not [[limits]]

## a single value in place of a section
limits = 5
=> relay.toml:1: limits: must be a section, but is a single value; write [limits] and its settings below it

## an unknown list of sections
[[communities]]
path = "/berlin"
=> relay.toml:1: communities: there is no such section; did you mean [[community]]?

## a setting's name with a slip
[limits]

limit_maximum = 5
=> relay.toml:3: limits.limit_maximum: [limits] has no such setting; did you mean limit_max?

## a setting's name with one character too many
[server]
listen_ = "127.0.0.1:1"
=> relay.toml:2: server.listen_: [server] has no such setting; did you mean listen?

## a setting that does not exist
[nip42]
challenge = true
=> relay.toml:2: nip42.challenge: [nip42] has no such setting; its settings are keys_per_connection_max, window_seconds

## a setting in the wrong section
[relay]
name = "A"
limit_max = 5
=> relay.toml:3: relay.limit_max: [relay] has no such setting; move it below [limits], if that is what you mean

## a setting before any section
limit_max = 5
=> relay.toml:1: limit_max: stands outside of its section; move it below [limits]

## a setting before any section, with a slip
limitmax = 5
=> relay.toml:1: limitmax: unknown, and outside of any section; did you mean limit_max below [limits]?

## an unknown setting before any section
speed = "fast"
=> relay.toml:1: speed: unknown, and outside of any section; each setting stands below its section, as in relay.toml.example

## a sub-section
[limits.search]
words = 5
=> relay.toml:1: limits.search: [limits] has no such setting; its settings are content_chars_max, content_chars_max_by_kind, created_at_future_seconds_max, created_at_past_seconds_max, event_tags_max, event_tags_max_by_kind, filter_values_max, filters_per_request_max, hold_bytes_max, hold_events_max, ingest_bytes_max, ingest_events_per_connection_max, limit_default, limit_max, live_delay_milliseconds_max, message_bytes_max, mode, outbox_bytes_max, query_entries_max, query_milliseconds_max, reads_queued_max, reconciled_events_max, slow_client, subscription_id_chars_max, subscriptions_per_connection_max, tag_value_bytes_max

## a sub-section in place of a number
[limits.limit_max]
words = 5
=> relay.toml:1: limits.limit_max: must be a whole number from 1 to 1_000_000, but is [limits.limit_max]; write for example limit_max = 5_000

## encrypted connections without a certificate
[tls]
listen = "0.0.0.0:443"
=> relay.toml:2: tls.listen: encrypted connections need a certificate; name its file in tls.certificate, and its key's in tls.key, or let the relay get one ([acme])

## a certificate without its key
[tls]
listen = "0.0.0.0:443"
certificate = "cert.pem"
=> relay.toml:3: tls.certificate: is of no use without its key; name the key's file in tls.key

## a key without its certificate
[tls]
key = "key.pem"
=> relay.toml:2: tls.key: is of no use without its certificate; name the certificate's file in tls.certificate

## a certificate for nothing
[tls]
certificate = "cert.pem"
key = "key.pem"
=> relay.toml:2: tls.certificate: is of no use where nothing is encrypted; write for example listen = "0.0.0.0:443" below [tls]

## a certificate without a name
[tls]
listen = "0.0.0.0:443"
certificate = ""
key = "key.pem"
=> relay.toml:3: tls.certificate: must not be empty; name a path, or remove the line

## one port for two things
[server]
listen = "0.0.0.0:443"
[tls]
listen = "0.0.0.0:443"
certificate = "cert.pem"
key = "key.pem"
=> relay.toml:4: tls.listen: is server.listen too, where connections are plain; choose another port

## a port without an address
[tls]
listen = ":443"
=> relay.toml:2: tls.listen: must be an IP address and a port in quotes, but is ":443"; write for example listen = "0.0.0.0:443"

## encryption in a community
[[community]]
path = "/a"
[community.tls]
listen = "0.0.0.0:443"
=> relay.toml:3: community[/a].tls: holds for all communities together; set it in [tls], outside of [[community]]

## two sources of one certificate
[tls]
listen = "0.0.0.0:443"
certificate = "cert.pem"
key = "key.pem"
[acme]
domains = ["relay.example.com"]
agree_to_terms = true
=> relay.toml:6: acme.domains: the relay has a certificate in tls.certificate, and would get another one; remove this line, or tls.certificate and tls.key

## a certificate that is got for nothing
[acme]
domains = ["relay.example.com"]
agree_to_terms = true
=> relay.toml:2: acme.domains: is of no use where nothing is encrypted; write for example listen = "0.0.0.0:443" below [tls]

## terms that nobody agreed to
[tls]
listen = "0.0.0.0:443"
[acme]
domains = ["relay.example.com"]
=> relay.toml:1: acme.agree_to_terms: the authority gives certificates only to who agrees to its terms; read them (https://letsencrypt.org/repository), and write agree_to_terms = true

## a certificate for every name
[acme]
domains = ["*.example.com"]
=> relay.toml:2: acme.domains: "*.example.com" is no full name in lower case, such as relay.example.com; write the names under which the relay is reached, each by itself and without *

## a contact that is a bare address
[acme]
contact = "you@example.com"
=> relay.toml:2: acme.contact: must begin with mailto:; write "mailto:you@example.com"

## an authority in plain
[acme]
directory = "http://acme.example.com/directory"
=> relay.toml:2: acme.directory: must be an https address; copy it from the authority's pages

## the first of two mistakes
[relay]
nome = "A"

[limits]
limit_mox = 5
=> relay.toml:2: relay.nome: [relay] has no such setting; did you mean name?

## a value without key
[relay]
Plaza
=> relay.toml:2: not valid TOML: key with no value, expected `=`; the line reads `Plaza`

## a key without a value
[relay]
name =
=> relay.toml:2: not valid TOML: string values must be quoted, expected literal string; the line reads `name =`

## text without quotes
[relay]
name = Plaza
=> relay.toml:2: not valid TOML: string values must be quoted, expected literal string; the line reads `name = Plaza`

## a community without a path
[[community]]
name = "Berlin"
=> relay.toml:1: community: a community begins with [[community]] and its path; write [[community]], below it path = "/name", and then its sections

## a community that is no list
[community]
path = "/berlin"
=> relay.toml:1: community: a community begins with [[community]] and its path; write [[community]], below it path = "/name", and then its sections

## a path without its slash
[[community]]
path = "berlin"
=> relay.toml:2: community[berlin].path: "berlin" must be a slash and a name of letters, digits, and - _ . ~, 200 bytes at most; write for example path = "/berlin"

## a path that is the root's
[[community]]
path = "/"
=> relay.toml:2: community[/].path: "/" must be a slash and a name of letters, digits, and - _ . ~, 200 bytes at most; write for example path = "/berlin"

## a path of the relay's own
[[community]]
path = "/admin/x"
=> relay.toml:2: community[/admin/x].path: /admin is the relay's own; choose another path

## the path of a community's page for those who manage it
[[community]]
path = "/berlin/admin"
=> relay.toml:2: community[/berlin/admin].path: /berlin/admin is where the community above it is managed; choose another path

## a path that stands twice
[[community]]
path = "/a"
[[community]]
path = "/a"
=> relay.toml:4: community[/a].path: another community is at /a; give each [[community]] a path of its own

## a host that stands twice
[[community]]
path = "/a"
host = "a.example"
[[community]]
path = "/b"
host = "a.example"
=> relay.toml:6: community[/b].host: another community is at a.example; give each [[community]] a host of its own, or none

## a host with a port
[[community]]
path = "/a"
host = "a.example:80"
=> relay.toml:3: community[/a].host: "a.example:80" must be a host name in lower case, without a port; write for example host = "berlin.example.org"

## a path for the root
[relay]
path = "/a"
=> relay.toml:2: relay.path: [relay] is the root community, which is at / under every name; remove the line, or write a [[community]]

## a setting of the process in a community
[[community]]
path = "/a"
[community.server]
listen = "127.0.0.1:1"
=> relay.toml:3: community[/a].server: holds for all communities together; set it in [server], outside of [[community]]

## a bound of the process in a community
[[community]]
path = "/a"
[community.limits]
ingest_bytes_max = 1
=> relay.toml:4: community[/a].limits.ingest_bytes_max: holds for all communities together; set it in [limits], outside of [[community]]

## an unknown setting of a community
[[community]]
path = "/a"
nam = "A"
=> relay.toml:3: community[/a].nam: [[community]] has no such setting; did you mean name?

## an unknown setting in a community's section
[[community]]
path = "/a"
[community.kinds]
alowed = [1]
=> relay.toml:4: community[/a].kinds.alowed: [community.kinds] has no such setting; did you mean allowed?

## a number out of its range in a community
[[community]]
path = "/a"
[community.limits]
limit_max = 0
=> relay.toml:4: community[/a].limits.limit_max: must be a whole number from 1 to 1_000_000, but is 0; raise it

## a relation that a community breaks with the root's limit
[limits]
limit_default = 100
[[community]]
path = "/a"
[community.limits]
limit_max = 50
=> relay.toml:6: community[/a].limits.limit_max: must be at least limits.limit_default (100), but is 50; raise it or lower limit_default

## a preset that there is not
[[community]]
path = "/a"
preset = "geohash"
=> relay.toml:3: community[/a].preset: must be the name of a preset, but is "geohash"; write for example preset = "geohash-hub"

## a kind that is none
[kinds]
allowed = [1, 70000]
=> relay.toml:2: kinds.allowed: a kind is a whole number from 0 to 65535, or a range in quotes such as "30000-39999"; write for example allowed = [0, 1, "30000-39999"]

## a key with a slip in it
[authors]
members = ["npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptx"]
=> relay.toml:2: authors.members: this npub1… is not complete or has a slip in it; copy it again; write for example members = ["npub1…"]

## a mode that there is not
[kinds]
mode = "off"
=> relay.toml:2: kinds.mode: must be "enforce" or "shadow", but is "off"; write for example mode = "enforce"

## too much work for a kind
[nip13]
difficulty_min_by_kind = { "1" = 65 }
=> relay.toml:2: nip13.difficulty_min_by_kind: each number must be a whole number from 0 to 64; lower it

## an amount below zero
[market]
price_min = { sats = -1 }
=> relay.toml:2: market.price_min: an amount is a number of 0 or more, such as 5 or "0.50"; write for example price_min = { sats = 1, EUR = "0.50" }

## a price without a currency
[market]
price_max = 100
=> relay.toml:2: market.price_max: must be a table from currencies to amounts, but is 100; write for example price_max = { sats = 1_000_000, EUR = "999.99" }

## prices with nothing between them
[market]
price_min = { sats = 10 }
price_max = { SATS = "9.99" }
=> relay.toml:2: market.price_min: asks for at least 10 sats, more than market.price_max allows with 9.99; lower it, or raise market.price_max

## a bound for a currency that is not taken, in a community
[[community]]
path = "/market"
[community.market]
currencies = ["sats"]
price_max = { EUR = 5 }
=> relay.toml:5: community[/market].market.price_max: names EUR, which market.currencies does not allow; add it there or remove it here

## more pictures than there may be
[market]
images_min = 3
images_max = 2
=> relay.toml:2: market.images_min: is more than market.images_max, which is 2; lower it, or raise market.images_max

## text without its closing quote
[relay]
name = "Plaza
description = "x"
=> relay.toml:2: not valid TOML: invalid basic string, expected `"`; the line reads `name = "Plaza`

## a section that is not closed
[relay
name = "Plaza"
=> relay.toml:1: not valid TOML: unclosed table, expected `]`; the line reads `[relay`

## a list that is not closed
[relay]
urls = ["wss://a.example"
=> relay.toml:2: not valid TOML: unclosed array, expected `]`; the line reads `urls = ["wss://a.example"`

## a key that stands twice
[relay]
name = "A"
name = "B"
=> relay.toml:3: not valid TOML: duplicate key; the line reads `name = "B"`

## a section that stands twice
[relay]
name = "A"
[relay]
icon = "B"
=> relay.toml:3: not valid TOML: duplicate key; the line reads `[relay]`

## a comma as decimal mark
[limits]
limit_max = 5,000
=> relay.toml:2: not valid TOML: unexpected key or value, expected newline, `#`; the line reads `limit_max = 5,000`

## a unit
[store]
cache_bytes = 128MB
=> relay.toml:2: not valid TOML: string values must be quoted, expected literal string; the line reads `cache_bytes = 128MB`

## a number too large for TOML
[store]
cache_bytes = 99999999999999999999
=> relay.toml:2: store.cache_bytes: must be a whole number from 1_048_576 to 1_099_511_627_776, but is 99999999999999999999; write for example cache_bytes = 134_217_728

## a colon in place of =
[relay]
name: "A"
=> relay.toml:2: not valid TOML: key with no value, expected `=`; the line reads `name: "A"`

## a number in quotes
[limits]
limit_max = "5000"
=> relay.toml:2: limits.limit_max: must be a whole number from 1 to 1_000_000, but is "5000"; write for example limit_max = 5_000

## a fraction for a whole number
[limits]
limit_max = 0.5
=> relay.toml:2: limits.limit_max: must be a whole number from 1 to 1_000_000, but is 0.5; write for example limit_max = 5_000

## a negative number
[limits]
# soon more
limit_max = -1
=> relay.toml:3: limits.limit_max: must be a whole number from 1 to 1_000_000, but is -1; write for example limit_max = 5_000

## a text for true or false
[rate]
enabled = "yes"
=> relay.toml:2: rate.enabled: must be true or false, without quotes, but is "yes"; write for example enabled = true

## a number for a text
[relay]
name = 7
=> relay.toml:2: relay.name: must be text in quotes, but is 7; write for example name = "Plaza"

## a list for a text
[relay]
description = [
  "a",
]
=> relay.toml:2: relay.description: must be text in quotes, but is [ "a", ]; write for example description = "A Nostr relay for a community."

## true for an optional text
[relay]
contact = true
=> relay.toml:2: relay.contact: must be text in quotes, but is true; write for example contact = "mailto:operator@example.com"

## a text for a list
[relay]
urls = "wss://relay.example.com"
=> relay.toml:2: relay.urls: must be a list of texts, but is "wss://relay.example.com"; write for example urls = ["wss://relay.example.com"]

## a kind that is too large, in a list of several lines
[nip17]
private_kinds = [
  4,
  70000,
]
=> relay.toml:4: nip17.private_kinds: must be a list of whole numbers from 0 to 65_535, but is 70000; write for example private_kinds = [4, 13, 1059, 21059]

## a number that its type cannot hold
[rate]
address_prefix_ipv6 = 300
=> relay.toml:2: rate.address_prefix_ipv6: must be a whole number from 1 to 128, but is 300; write for example address_prefix_ipv6 = 64

## a date for a number
[nip40]
sweep_seconds = 2024-01-01
=> relay.toml:2: nip40.sweep_seconds: must be a whole number from 1 to 86_400, but is 2024-01-01; write for example sweep_seconds = 60

## an unknown choice
[store]
durability = "disk"
=> relay.toml:2: store.durability: must be "power" or "process", but is "disk"; write for example durability = "power"

## a choice in upper case
[log]
format = "JSON"
=> relay.toml:2: log.format: must be "text" or "json", but is "JSON"; write for example format = "text"

## an address to listen on without its port
[server]
listen = "127.0.0.1"
=> relay.toml:2: server.listen: must be an IP address and a port in quotes, but is "127.0.0.1"; write for example listen = "127.0.0.1:7777"

## a name to listen on
[server]
listen = "localhost:7777"
=> relay.toml:2: server.listen: must be an IP address and a port in quotes, but is "localhost:7777"; write for example listen = "127.0.0.1:7777"

## a proxy's network that is none
[server]
trusted_proxies = [
  "127.0.0.1",
  "10.0.0.0/33",
]
=> relay.toml:4: server.trusted_proxies: must be a list of IP addresses or networks in quotes, but is "10.0.0.0/33"; write for example trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]

## nothing, where something is needed
[limits]
limit_max = 0
=> relay.toml:2: limits.limit_max: must be a whole number from 1 to 1_000_000, but is 0; raise it

## more than Nostr allows
[limits]
subscription_id_chars_max = 65
=> relay.toml:2: limits.subscription_id_chars_max: must be a whole number from 1 to 64, but is 65; lower it

## a rate that would let nothing through
[rate]
author_events_burst = 0
=> relay.toml:2: rate.author_events_burst: must be a whole number from 1 to 4_294_967_295, but is 0; raise it

## a prefix longer than an address
[rate]
address_prefix_ipv6 = 129
=> relay.toml:2: rate.address_prefix_ipv6: must be a whole number from 1 to 128, but is 129; lower it

## two limits at odds, both set
[limits]
limit_default = 500
limit_max = 100
=> relay.toml:3: limits.limit_max: must be at least limits.limit_default (500), but is 100; raise it or lower limit_default

## two limits at odds, the larger one set
[limits]
limit_max = 100
=> relay.toml:2: limits.limit_max: must be at least limits.limit_default (500), but is 100; raise it or lower limit_default

## two limits at odds, the smaller one set
[limits]
limit_default = 10_000
=> relay.toml:2: limits.limit_default: must be at most limits.limit_max (5_000), but is 10_000; lower it or raise limit_max

## two limits at odds across sections
[limits]
message_bytes_max = 1_000_000
[store]
group_bytes_max = 500_000
=> relay.toml:4: store.group_bytes_max: must be at least limits.message_bytes_max (1_000_000), but is 500_000; raise it or lower limits.message_bytes_max

## limits at odds in a chain of three
[limits]
message_bytes_max = 3_000_000
hold_bytes_max = 9_000_000
=> relay.toml:3: limits.hold_bytes_max: must be at most limits.outbox_bytes_max (8_388_608), but is 9_000_000; lower it or raise outbox_bytes_max

## a byte burst that no message of the largest size passes
[rate]
address_bytes_burst = 1000
=> relay.toml:2: rate.address_bytes_burst: must be at least limits.message_bytes_max (524_288), but is 1_000; raise it or lower limits.message_bytes_max

## pings that follow each other too quickly
[server]
ping_interval_seconds = 20
=> relay.toml:2: server.ping_interval_seconds: must be at least server.ping_timeout_seconds (30), but is 20; raise it or lower ping_timeout_seconds

## a name of blanks
[relay]
name = "  "
=> relay.toml:2: relay.name: must not be empty; write a name that clients can show

## a picture without its host
[relay]
icon = "/icon.png"
=> relay.toml:2: relay.icon: "/icon.png" must begin with https:// or http://; write an address such as "https://example.com/…"

## an empty contact
[relay]
contact = ""
=> relay.toml:2: relay.contact: must not be empty; write an address, or remove the line

## a public key as npub
[relay]
pubkey = "npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6"
=> relay.toml:2: relay.pubkey: the npub1… form is not read here; write the same key as 64 hexadecimal digits

## a secret key
[relay]
pubkey = "nsec180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6"
=> relay.toml:2: relay.pubkey: this is a secret key, which nobody but you may ever see; remove it from this file now, and write your public key as 64 hexadecimal digits

## a public key cut short
[relay]
pubkey = "79be"
=> relay.toml:2: relay.pubkey: must be 64 hexadecimal digits, but has 4; copy the whole key

## a name for a public key
[relay]
pubkey = "alice"
=> relay.toml:2: relay.pubkey: must be hexadecimal digits (0 to 9, a to f) only; write the same key as 64 hexadecimal digits

## a public key in upper case
[relay]
pubkey = "79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798"
=> relay.toml:2: relay.pubkey: must be in lower case; write A to F as a to f

## a number for a public key
[relay]
pubkey = 79
=> relay.toml:2: relay.pubkey: must be 64 hexadecimal digits in quotes, but is not; write for example pubkey = "79be667e…"

## a relay's address that is a web page's, in a list of several lines
[relay]
urls = [
  "wss://a.example",
  "https://b.example",
]
=> relay.toml:4: relay.urls: "https://b.example" must begin with wss:// or ws://; write for example "wss://relay.example.com"

## a relay's address without anything behind its scheme
[relay]
urls = ["wss://"]
=> relay.toml:2: relay.urls: "wss://" is not a valid URL; write for example "wss://relay.example.com"

## a relay's address without its scheme
[relay]
urls = ["relay.example.com"]
=> relay.toml:2: relay.urls: "relay.example.com" must begin with wss:// or ws://; write for example "wss://relay.example.com"

## a relay's address with a port alone
[relay]
urls = ["wss://:7777"]
=> relay.toml:2: relay.urls: "wss://:7777" must name a host; write for example "wss://relay.example.com"

## a relay's address with a fragment
[relay]
urls = ["wss://a.example/#top"]
=> relay.toml:2: relay.urls: "wss://a.example/#top" must not have a fragment (#…); write for example "wss://relay.example.com"

## a relay's address with a password
[relay]
urls = ["wss://me:secret@a.example"]
=> relay.toml:2: relay.urls: must not carry a user name or a password; write for example "wss://relay.example.com"

## a port that is too large
[relay]
urls = ["wss://a.example:99999"]
=> relay.toml:2: relay.urls: "wss://a.example:99999" must have a port from 0 to 65_535 after the colon, or no colon; write for example "wss://relay.example.com"

## a port that is too large, behind an IPv6 address
[relay]
urls = ["wss://[::1]:99999"]
=> relay.toml:2: relay.urls: "wss://[::1]:99999" must have a port from 0 to 65_535 after the colon, or no colon; write for example "wss://relay.example.com"

## a colon without its port
[relay]
urls = ["wss://a.example:"]
=> relay.toml:2: relay.urls: "wss://a.example:" must have a port from 0 to 65_535 after the colon, or no colon; write for example "wss://relay.example.com"

## a host beyond ASCII
[relay]
urls = ["wss://plätze.example"]
=> relay.toml:2: relay.urls: "wss://plätze.example" is not a valid URL; write for example "wss://relay.example.com"

## an empty path
[store]
path = ""
=> relay.toml:2: store.path: must not be empty; write for example path = "data"

## a header in upper case
[server]
client_address_header = "X-Forwarded-For"
=> relay.toml:2: server.client_address_header: must be the name of an HTTP header in lower case, but is "X-Forwarded-For"; write for example client_address_header = "x-forwarded-for"

## a header with a blank
[server]
client_address_header = "x forwarded"
=> relay.toml:2: server.client_address_header: must be the name of an HTTP header in lower case, but is "x forwarded"; write for example client_address_header = "x-forwarded-for"

## a log level with a slip
[log]
level = "inof"
=> relay.toml:2: log.level: "inof" is neither a level nor target=level; the levels are off, error, warn, info, debug, trace; "info,plaza=debug" mixes them

## a log filter with an unknown level
[log]
level = "plaza=loud"
=> relay.toml:2: log.level: "plaza=loud" is neither a level nor target=level; the levels are off, error, warn, info, debug, trace; "info,plaza=debug" mixes them

## an empty log level
[log]
level = ""
=> relay.toml:2: log.level: "" is neither a level nor target=level; the levels are off, error, warn, info, debug, trace; "info,plaza=debug" mixes them

## work that nobody could do
[nip13]
difficulty_min = 100
=> relay.toml:2: nip13.difficulty_min: must be a whole number from 0 to 64, but is 100; lower it

## a key with a control character
[relay]
"na\u0007me" = "A"
=> relay.toml:2: relay.na\u{7}me: [relay] has no such setting; did you mean name?

## an empty key
[relay]
"" = "A"
=> relay.toml:2: relay.: [relay] has no such setting; its settings are banner, contact, description, host, icon, name, path, preset, pubkey, secret_key_file, self, terms_of_service, urls

## a setting that two other sections have
[nip42]
denied = []
=> relay.toml:2: nip42.denied: [nip42] has no such setting; move it below [authors] or [kinds], if that is what you mean

## a domain with a wildcard
[bridge]
domains_refused = ["ok.example", "*.bad.example"]
=> relay.toml:2: bridge.domains_refused: "*.bad.example" is no domain name; write for example domains_refused = ["example.com"]

## a protocol that there is not
[bridge]
protocols_refused = ["fediverse"]
=> relay.toml:2: bridge.protocols_refused: must be a list of activitypub, atproto, rss, web and other, but is "fediverse"; write for example protocols_refused = ["rss"]

## a hashtag with its sign
[bridge]
unbridged_hashtag = "#nobridge"
=> relay.toml:2: bridge.unbridged_hashtag: must be one word in lower case, without its #; write for example unbridged_hashtag = "nobridge"

## a blocklist without a path
[blocklist]
files = [""]
=> relay.toml:2: blocklist.files: must not name an empty path; write for example files = ["blocklist.csv"]

## a part of an event that has no domain
[blocklist]
apply_to = ["content"]
=> relay.toml:2: blocklist.apply_to: must be a list of proxy, nip05 and links, but is "content"; write for example apply_to = ["proxy", "nip05", "links"]

## what a late receipt may not become
[zaps]
after_closed = "hide"
=> relay.toml:2: zaps.after_closed: must be "accept", "mark" or "refuse", but is "hide"; write for example after_closed = "accept"

## a secret key without quotes
[relay]
pubkey = nsec180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6
=> relay.toml:2: not valid TOML: invalid float, expected `nan`; the line reads `a secret key, which must not be in this file`

## a number among the proxies
[server]
trusted_proxies = [7]
=> relay.toml:2: server.trusted_proxies: must be a list of IP addresses or networks in quotes, but is 7; write for example trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]

## a text for a list of proxies
[server]
trusted_proxies = "127.0.0.1"
=> relay.toml:2: server.trusted_proxies: must be a list of IP addresses or networks in quotes, but is "127.0.0.1"; write for example trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]

## a relay's address with a control character
[relay]
urls = ["wss://a.example\u0000"]
=> relay.toml:2: relay.urls: "wss://a.example\0" is not a valid URL; write for example "wss://relay.example.com"
"####;

#[test]
fn mistakes_are_answered_with_line_key_and_remedy() {
    let rows: Vec<&str> = BAD.split("\n## ").skip(1).collect();
    for row in &rows {
        let (what, rest) = row.split_once('\n').unwrap();
        let (text, answer) = rest.split_once("\n=> ").unwrap();
        assert_eq!(parse(text).err().as_deref(), Some(answer.trim_end()), "{what}");
    }
    // A slip in the table's marks must not make the test pass by testing nothing.
    assert!(rows.len() >= 80, "{} rows", rows.len());
}

/// Never in an error, wherever it was pasted: errors end up in logs.
#[test]
fn secret_keys_are_never_repeated() {
    let secret = "nsec180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6";
    let files = [
        format!("[relay]\npubkey = \"{secret}\""),
        format!("[relay]\npubkey = {secret}"),
        format!("[relay]\npubkey = [\"{secret}\"]"),
        format!("[relay]\nurls = [\"{secret}\"]"),
        format!("[relay]\nicon = \"{secret}\""),
        format!("[server]\ntrusted_proxies = \"{secret}\""),
        format!("[server]\nclient_address_header = \"X-{secret}\""),
        format!("[log]\nlevel = \"{secret}\""),
        format!("[authors]\nmembers = [\"{secret}\"]"),
        format!("[authors]\ndenied = \"{secret}\""),
        format!("[[community]]\npath = \"{secret}\""),
        format!("[[community]]\npath = \"/a\"\n{secret} = 1"),
        format!("{secret} = 1"),
        format!("[{secret}]"),
        format!("[relay]\n{secret} = 1"),
    ];
    for text in files {
        let error = Config::parse(&text, Path::new("relay.toml")).expect_err(&text);
        assert!(!format!("{error} {error:?}").contains(secret), "{error}");
    }
}

/// Each row: what is right, the file, and what it changes from the default.
type Good = (&'static str, &'static str, fn(&mut Config));

const GOOD: &[Good] = &[
    ("nothing at all", "", |_| ()),
    ("comments alone", "# later\n\n# much later\n", |_| ()),
    ("an empty section", "[limits]\n", |_| ()),
    ("one setting", "[limits]\nlimit_default = 20\n", |config| config.root.limits.limit_default = 20),
    ("a dotted key", "limits.limit_default = 20", |config| config.root.limits.limit_default = 20),
    ("an inline section", "limits = { limit_default = 20 }", |config| config.root.limits.limit_default = 20),
    ("line ends of Windows", "[nip40]\r\nsweep_seconds = 5\r\n", |config| config.nip40.sweep_seconds = 5),
    ("a byte order mark", "\u{feff}[nip40]\nsweep_seconds = 5\n", |config| config.nip40.sweep_seconds = 5),
    ("hexadecimal numbers", "[store]\ncache_bytes = 0x400_0000", |config| {
        config.store.cache_bytes = 64 << 20
    }),
    ("a name in any script", "[relay]\nname = \"Площадь 🏛\"", |config| {
        config.root.relay.name = "Площадь 🏛".to_owned();
    }),
    ("several addresses", "[relay]\nurls = [\"wss://a.example\", \"ws://[::1]:7777/berlin\"]", |config| {
        config.root.relay.urls = vec!["wss://a.example".to_owned(), "ws://[::1]:7777/berlin".to_owned()];
    }),
    ("all addresses of the machine", "[server]\nlisten = \"[::]:80\"", |config| {
        config.server.listen = "[::]:80".parse().unwrap();
    }),
    ("a port of the system's choice", "[server]\nlisten = \"127.0.0.1:0\"", |config| {
        config.server.listen = "127.0.0.1:0".parse().unwrap();
    }),
    (
        "proxies as addresses and networks",
        "[server]\ntrusted_proxies = [\"::1\", \"10.1.2.3/8\"]",
        |config| {
            config.server.trusted_proxies = vec!["::1/128".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        },
    ),
    ("the header of a proxy", "[server]\nclient_address_header = \"cf-connecting-ip\"", |config| {
        config.server.client_address_header = "cf-connecting-ip".to_owned();
    }),
    ("less durability", "[store]\ndurability = \"process\"", |config| {
        config.store.durability = Durability::Process;
    }),
    ("slow clients kept", "[limits]\nslow_client = \"drop\"", |config| {
        config.root.limits.slow_client = SlowClient::Drop;
    }),
    ("a relation met exactly", "[limits]\nlimit_default = 100\nlimit_max = 100", |config| {
        (config.root.limits.limit_default, config.root.limits.limit_max) = (100, 100);
    }),
    ("small messages, while content's bound stays", "[limits]\nmessage_bytes_max = 65_536", |config| {
        config.root.limits.message_bytes_max = 65_536;
    }),
    (
        "a small byte burst while rates are off",
        "[rate]\nenabled = false\naddress_bytes_burst = 1",
        |config| {
            config.rate.enabled = false;
            config.rate.address_bytes_burst = 1;
        },
    ),
    (
        "a market with exact prices",
        "[market]\nenabled = true\nprice_min = { sats = 1, EUR = \"0.10\" }\nprice_max = { eur = 0.1 }",
        |config| {
            let amount = |text: &str| Amount::parse(text).unwrap();
            config.root.market.enabled = true;
            config.root.market.price_min =
                [("sats".to_owned(), amount("1")), ("EUR".to_owned(), amount("0.1"))].into();
            config.root.market.price_max = [("eur".to_owned(), amount("0.1"))].into();
        },
    ),
    ("a community of its own", "[[community]]\npath = \"/town\"", |config| {
        let mut town = Settings::default();
        (town.relay.path, town.relay.name) = ("/town".to_owned(), "town".to_owned());
        config.communities.push(town);
    }),
    (
        "communities with the root's limits, but for what they set",
        "[limits]\nlimit_max = 1000\nlimit_default = 10\n[nip13]\ndifficulty_min = 8\n[[community]]\npath = \"/a\"\n\
         name = \"A\"\n[community.limits]\nlimit_default = 20\n[[community]]\npath = \"/b/c\"\nhost = \"b.example\"\n\
         [community.kinds]\nallowed = [1, \"30000-39999\"]",
        |config| {
            (config.root.limits.limit_max, config.root.limits.limit_default) = (1_000, 10);
            config.root.nip13.difficulty_min = 8;
            for (path, name) in [("/a", "A"), ("/b/c", "b/c")] {
                let mut settings = Settings::default();
                (settings.relay.path, settings.relay.name) = (path.to_owned(), name.to_owned());
                (settings.limits.limit_max, settings.limits.limit_default) = (1_000, 10);
                config.communities.push(settings);
            }
            config.communities[0].limits.limit_default = 20;
            config.communities[1].relay.host = Some("b.example".to_owned());
            config.communities[1].kinds.allowed = [1..=1, 30_000..=39_999].into_iter().collect();
        },
    ),
    ("no private kinds", "[nip17]\nprivate_kinds = []", |config| config.root.nip17.private_kinds.clear()),
    ("a log filter", "[log]\nlevel = \"warn,plaza::net=debug\"\nformat = \"json\"", |config| {
        config.log.level = "warn,plaza::net=debug".to_owned();
        config.log.format = LogFormat::Json;
    }),
];

#[test]
fn right_files_are_read_as_they_are_meant() {
    for (what, text, change) in GOOD {
        let mut expected = Config::default();
        change(&mut expected);
        assert_eq!(parse(text), Ok(expected), "{what}");
    }
}

#[test]
fn settings_survive_being_written_and_read_again() {
    for (what, text, _) in GOOD {
        let config = parse(text).unwrap();
        assert_eq!(parse(&config.to_toml()), Ok(config), "{what}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let load = |name: &str| Config::load(&path(name)).map_err(|error| error.to_string());
    let named = |name: &str, rest: &str| Err(format!("{}{rest}", path(name).display()));

    let missing = ": there is no such file; copy relay.toml.example to this path, or name the right path";
    assert_eq!(load("missing.toml"), named("missing.toml", missing));

    std::fs::create_dir(path("folder.toml")).unwrap();
    let is_folder = ": this is a folder; name the relay.toml inside it";
    assert_eq!(load("folder.toml"), named("folder.toml", is_folder));

    std::fs::write(path("latin1.toml"), b"[relay]\nname = \"Caf\xe9\"\n").unwrap();
    let latin1 = ":2: not valid TOML: the file is not UTF-8 from here on; save it as UTF-8";
    assert_eq!(load("latin1.toml"), named("latin1.toml", latin1));

    std::fs::write(path("large.toml"), vec![b'\n'; 4 * 1024 * 1024 + 1]).unwrap();
    let large = ": larger than 4194304 bytes, which no relay.toml is; check the path";
    assert_eq!(load("large.toml"), named("large.toml", large));

    std::fs::write(path("relay.toml"), EXAMPLE).unwrap();
    assert_eq!(load("relay.toml"), Ok(Config::default()));
}

#[test]
fn every_mode_that_can_be_set_counts() {
    let mut modes = 0;
    for (section, settings) in Config::default().sections() {
        if settings.get("mode").is_some() {
            modes += 1;
            let config = parse(&format!("[{section}]\nmode = \"shadow\"")).unwrap();
            assert_eq!(config.root.mode(&section), plaza::config::Mode::Shadow, "{section}");
        }
    }
    assert!(modes >= 14, "{modes} sections have a mode");
}
