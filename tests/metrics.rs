//! Numbers for those who watch (docs/metrics.md), health, readiness, and what the log tells.

#[path = "common/mod.rs"]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use common::http::{get, http};
use common::program::{Program, plaza};
use common::{Client, NOW, Person, TestRelay, json_of};
use flate2::{Compress, Compression, FlushCompress};
use plaza::config::Config;
use serde_json::{Value, json};

fn watched(settings: &str) -> TestRelay {
    let parsed = Config::parse(settings, std::path::Path::new("relay.toml")).expect("settings");
    TestRelay::with(|config| {
        (config.root, config.communities) = (parsed.root, parsed.communities);
        config.metrics.listen = Some("127.0.0.1:0".parse().expect("an address"));
    })
}

fn address(relay: &TestRelay) -> SocketAddr {
    relay.relay().metrics_address().expect("it tells its numbers")
}

/// Numbers by name and labels, as the text has them.
fn numbers(relay: &TestRelay) -> BTreeMap<String, f64> {
    let answer = get(address(relay), "/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
    let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, number) = line.rsplit_once(' ').expect("a name and a number");
            (name.to_owned(), number.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn numbers_tell_what_happened() {
    let relay = watched("[kinds]\ndenied = [4]\n[[community]]\npath = \"/town\"");
    let author = Person::new(10);
    let mut client = relay.connect();
    let note = author.note("one");
    client.publish_ok(&note);
    assert!(client.publish(&note).0);
    client.publish_ok(&author.event(20_001, NOW, &[], ""));
    client.publish_ok(&author.event(0, NOW, &[], "new"));
    assert!(!client.publish(&author.event(0, NOW - 9, &[], "old")).0);
    assert!(!client.publish(&author.event(4, NOW, &[], "")).0);
    client.request("open", &[json!({"kinds": [1]})]);
    assert_eq!(client.count(&[json!({})]), 2);
    client.closed("REQ", &vec![json!({}); 1_000]);
    relay.connect().publish_ok(&author.event(1, NOW + 1, &[], "two"));
    client.receive();
    relay.connect_at("/town").publish_ok(&note);
    let numbers = numbers(&relay);
    let wanted = [
        ("plaza_events{community=\"/\"}", 3.0),
        ("plaza_events{community=\"/town\"}", 1.0),
        ("plaza_connections{community=\"/\"}", 1.0),
        ("plaza_subscriptions{community=\"/\"}", 1.0),
        ("plaza_events_received_total{community=\"/\",outcome=\"stored\"}", 3.0),
        ("plaza_events_received_total{community=\"/\",outcome=\"duplicate\"}", 1.0),
        ("plaza_events_received_total{community=\"/\",outcome=\"passed_on\"}", 1.0),
        ("plaza_events_received_total{community=\"/\",outcome=\"superseded\"}", 1.0),
        ("plaza_events_received_total{community=\"/\",outcome=\"refused\"}", 1.0),
        ("plaza_events_received_total{community=\"/town\",outcome=\"stored\"}", 1.0),
        ("plaza_requests_total{community=\"/\",outcome=\"answered\"}", 1.0),
        ("plaza_requests_total{community=\"/\",outcome=\"counted\"}", 1.0),
        ("plaza_requests_total{community=\"/\",outcome=\"refused\"}", 1.0),
        ("plaza_events_sent_total{community=\"/\",outcome=\"answer\"}", 1.0),
        ("plaza_events_sent_total{community=\"/\",outcome=\"live\"}", 1.0),
        ("plaza_refusals_total{community=\"/\",rule=\"kinds.denied\"}", 1.0),
        ("plaza_connections_accepted_total", 3.0),
        ("plaza_commits_failed_total", 0.0),
        ("plaza_query_seconds_count", 2.0),
    ];
    for (name, number) in wanted {
        let said = numbers.get(name);
        // A connection that the test has dropped may still be on its way out.
        let is_right =
            said == Some(&number) || name.starts_with("plaza_connections{") && said >= Some(&number);
        assert!(is_right, "{name}: {said:?} instead of {number}; {numbers:#?}");
    }
    for name in [
        "plaza_received_bytes_total",
        "plaza_sent_bytes_total",
        "plaza_store_disk_bytes",
        "plaza_process_memory_bytes",
    ] {
        assert!(numbers[name] > 100.0, "{name}");
    }
    assert!(numbers["plaza_commit_events_sum"] == 4.0 && numbers["plaza_commit_seconds_sum"] > 0.0);
}

/// Reads until this has come.
fn read_until(stream: &mut TcpStream, what: &str) {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(what.as_bytes()) {
        assert_eq!(stream.read(&mut byte).expect("the relay writes"), 1);
        read.push(byte[0]);
    }
}

#[test]
fn what_was_compressed_is_told_before_and_after() {
    let relay = watched("");
    let long = Person::new(10).event(1, NOW, &[], &"bread ".repeat(1_000));
    relay.connect().publish_ok(&long);
    let mut stream = TcpStream::connect(relay.relay().address()).expect("it accepts");
    let upgrade = "GET / HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).expect("it reads");
    let ask = br#"["REQ","q",{}]"#;
    let mut packed = Vec::with_capacity(200);
    let mut zlib = Compress::new(Compression::new(9), false);
    zlib.compress_vec(ask, &mut packed, FlushCompress::Sync).expect("deflate");
    let packed = &packed[..packed.len() - 4];
    let head = [0xc1, 0x80 | packed.len() as u8, 0, 0, 0, 0];
    stream.write_all(&[&head, packed].concat()).expect("it reads");
    read_until(&mut stream, r#"["EOSE","q",["finish"]]"#);
    let numbers = numbers(&relay);
    let number = |name: &str| numbers[&format!("plaza_{name}_bytes_total")];
    let sent = json!(["EVENT", "q", json_of(&long)]).to_string().len() as f64;
    assert_eq!(number("sent_compressible"), sent);
    assert!((200.0..1_000.0).contains(&number("sent_compressed")), "{numbers:#?}");
    assert_eq!(number("received_decompressed"), ask.len() as f64);
    assert_eq!(number("received_compressed"), packed.len() as f64);
}

#[test]
fn every_number_is_explained_and_every_one_that_is_explained_is_there() {
    let more = "[[plugins.chain]]\ncommand = \"cat\"\nkinds = [40_000]\n[moderation_service]\nurl = \"http://127.0.0.1:9/\"\n\
        secret_file = \"x\"\npubkey = \"79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\"";
    let relay = watched(&format!("[kinds]\ndenied = [4]\nmode = \"shadow\"\n{more}"));
    let author = Person::new(10);
    relay.connect().publish_ok(&author.event(4, NOW, &[&["p", &author.hex()]], ""));
    assert!(!relay.connect().publish(&author.event(1, NOW + 100_000, &[], "")).0);
    let text = get(address(&relay), "/metrics").body;
    let told: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    let page = include_str!("../docs/metrics.md");
    let explained: BTreeSet<String> = page
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `plaza_")?.split_once('`')?.0))
        .map(|name| format!("plaza_{name}"))
        .collect();
    assert_eq!(told, explained);
    // The dashboard draws nothing that is not there.
    let dashboard: Value = serde_json::from_str(include_str!("../docs/grafana.json")).expect("JSON");
    let drawn = dashboard["panels"]
        .as_array()
        .expect("panels")
        .iter()
        .flat_map(|panel| panel["targets"].as_array().expect("targets"));
    for target in drawn {
        let expression = target["expr"].as_str().expect("an expression");
        let names = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in names.filter(|name| name.starts_with("plaza_")) {
            let is_there = explained.contains(name.trim_end_matches("_bucket"))
                || include_str!("../docs/cluster.md").contains(&format!("| `{name}` |"));
            assert!(is_there, "{name} in {expression}");
        }
    }
}

#[test]
fn health_and_readiness_are_told_in_both_places() {
    let relay = watched("[[community]]\npath = \"/town\"");
    for path in ["/health", "/ready"] {
        assert_eq!(get(address(&relay), path).status, 200, "{path}");
        assert_eq!(http(&relay, "GET", path, &[], "").status, 200, "{path}");
    }
    assert_eq!(get(address(&relay), "/").status, 404);
    // Numbers are not on the port that everybody reaches.
    assert_eq!(http(&relay, "GET", "/metrics", &[], "").status, 404);
    let plain = TestRelay::start();
    assert_eq!(plain.relay().metrics_address(), None);
}

#[test]
fn the_log_tells_addresses_only_where_it_is_told_to() {
    for (setting, tells) in [("none", ""), ("hashed", "address="), ("full", "address=\"127.0.0.1\"")] {
        for format in ["text", "json"] {
            let folder = tempfile::tempdir().expect("a folder");
            let settings = format!(
                "[log]\nlevel = \"debug\"\nformat = \"{format}\"\naddresses = \"{setting}\"\nslow_query_milliseconds = 1"
            );
            std::fs::write(folder.path().join("relay.toml"), settings).expect("a file");
            let mut relay = Program::start(plaza(folder.path(), &["--listen", "127.0.0.1:0"]));
            let url = format!("ws://{}", relay.says("listening on ws://"));
            let mut client = Client::connect(&url);
            client.publish(&Person::new(10).note("a secret"));
            let line = relay.says_whole("connected");
            if format == "json" {
                let line: Value = serde_json::from_str(&line).expect("a line of JSON");
                let address = line["fields"]["address"].as_str();
                match setting {
                    "none" => assert_eq!(address, None),
                    "full" => assert_eq!(address, Some("127.0.0.1")),
                    _ => assert!(address.is_some_and(|address| address.len() == 16), "{line}"),
                }
            } else {
                assert_eq!(line.contains("address="), !tells.is_empty(), "{line}");
                assert!(line.contains(tells), "{line}");
            }
            drop(client);
            relay.stop();
            let all = relay.said();
            assert!(!all.contains("a secret"), "{all}");
            assert!(setting == "full" || !all.replace(&url[5..], "").contains("127.0.0.1"), "{all}");
        }
    }
}
