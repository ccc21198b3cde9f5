//! Many communities in one process, over the wire: each is a relay of its own, and nothing that is sent to one
//! is felt in another.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;

use common::{Client, NOW, Person, TestRelay, ids_of};
use plaza::event::Event;
use serde_json::{Value, json};

/// A town with a market and an archive beside it.
const TOWN: &str = "\
[relay]
name = \"Town\"
[limits]
limit_max = 700
[[community]]
path = \"/market\"
name = \"Market\"
description = \"Fruit and fish\"
self = \"79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\"
[community.kinds]
allowed = [1, 5, 62, 10002, \"30000-39999\"]
[community.limits]
content_chars_max = 50
[community.nip17]
enabled = false
[[community]]
path = \"/archive/old\"
host = \"archive.example\"
[community.access]
write = \"none\"
[[community]]
path = \"/club\"
[community.access]
read = \"authenticated\"
";

const PATHS: [&str; 2] = ["/", "/market"];

/// What a relay answers to one request: status and body.
fn get(relay: &TestRelay, host: &str, path: &str, accept: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(relay.relay().address()).expect("the relay accepts");
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the relay reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the relay answers and closes");
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let (_, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    (status, body.to_owned())
}

fn document(relay: &TestRelay, path: &str) -> Value {
    let (status, body) = get(relay, "relay.example", path, "application/nostr+json");
    assert_eq!(status, 200, "{path}");
    serde_json::from_str(&body).expect("the document is JSON")
}

fn clients(relay: &TestRelay) -> [Client; 2] {
    PATHS.map(|path| relay.connect_at(path))
}

/// All notes and lists that a client finds.
fn found(client: &mut Client) -> Vec<String> {
    client.ids(json!({}))
}

#[test]
fn each_has_its_own_document() {
    let relay = TestRelay::configured(TOWN);
    let [town, market, archive, club] =
        ["/", "/market", "/archive/old", "/club"].map(|path| document(&relay, path));
    assert_eq!(
        [&town, &market, &archive, &club].map(|one| one["name"].clone()),
        ["Town", "Market", "archive/old", "club"]
    );
    assert_eq!(market["description"], "Fruit and fish");
    assert_eq!(market["self"], "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
    assert_eq!(town.get("self"), None);
    // The root's limits hold for all that do not set them; other settings of the root do not.
    for (document, limits) in [(&town, (700, 262_144)), (&market, (700, 50)), (&club, (700, 262_144))] {
        let limitation = &document["limitation"];
        assert_eq!(
            (limitation["max_limit"].clone(), limitation["max_content_length"].clone()),
            (json!(limits.0), json!(limits.1))
        );
    }
    let restricted =
        [&town, &market, &archive, &club].map(|one| one["limitation"]["restricted_writes"].clone());
    assert_eq!(restricted, [false, true, true, false]);
    let auth = [&town, &market, &archive, &club].map(|one| one["limitation"]["auth_required"].clone());
    assert_eq!(auth, [false, false, false, true]);
    let has = |document: &Value, nip: u16| {
        document["supported_nips"].as_array().expect("a list").contains(&json!(nip))
    };
    assert_eq!([has(&town, 17), has(&market, 17), has(&market, 1)], [true, false, true]);
}

#[test]
fn paths_and_hosts_lead_to_their_community_and_nowhere_else() {
    let relay = TestRelay::configured(TOWN);
    let name = |host: &str, path: &str| {
        let (status, body) = get(&relay, host, path, "application/nostr+json");
        let name =
            serde_json::from_str::<Value>(&body).ok().and_then(|one| one["name"].as_str().map(str::to_owned));
        (status, name.unwrap_or_default())
    };
    let table = [
        ("x.example", "/", 200, "Town"),
        ("x.example", "/market", 200, "Market"),
        ("x.example", "/market/", 200, "Market"),
        ("x.example", "/archive/old", 200, "archive/old"),
        ("archive.example", "/", 200, "archive/old"),
        ("Archive.Example:7777", "/", 200, "archive/old"),
        ("archive.example", "/archive/old", 200, "archive/old"),
        ("archive.example", "/market", 404, ""),
        ("x.archive.example", "/", 200, "Town"),
        ("x.example", "/archive", 404, ""),
        ("x.example", "/market//", 404, ""),
        ("x.example", "/market/x", 404, ""),
        ("x.example", "/Market", 404, ""),
        ("x.example", "/markets", 404, ""),
    ];
    for (host, path, status, community) in table {
        assert_eq!(name(host, path), (status, community.to_owned()), "{host}{path}");
    }
    // WebSocket clients are led the same way.
    let mut client = Client::connect_to(&relay.relay().address().to_string(), "ws://archive.example/");
    let refusal = client.publish_refused(&Person::new(1).note("hello"));
    assert_eq!(refusal, "blocked: nobody writes here: this relay is only read (access.write)");
}

#[test]
fn an_event_of_one_is_not_in_another() {
    let relay = TestRelay::configured(TOWN);
    let [mut town, mut market] = clients(&relay);
    let person = Person::new(1);
    let [here, there, both] = ["here", "there", "both"].map(|text| person.note(text));
    for event in [&here, &both] {
        town.publish_ok(event);
    }
    for event in [&there, &both] {
        market.publish_ok(event);
    }
    let wanted = |client: &mut Client, events: [&Event; 2]| {
        let mut ids = ids_of(&events);
        ids.sort();
        assert_eq!(found(client), ids);
        assert_eq!(client.count(&[json!({"kinds": [1]})]), 2);
        let asked: Vec<String> = [&here, &there, &both].map(|event| event.id.to_string()).to_vec();
        assert_eq!(client.ids(json!({"ids": asked})), ids);
    };
    wanted(&mut town, [&here, &both]);
    wanted(&mut market, [&there, &both]);
    assert_eq!(market.publish(&both), (true, "duplicate: already have this event".to_owned()));
}

#[test]
fn a_subscription_of_one_hears_nothing_of_another() {
    let relay = TestRelay::configured(TOWN);
    let [mut town, mut market] = clients(&relay);
    let mut listeners = clients(&relay);
    for listener in &mut listeners {
        listener.request("all", &[json!({})]);
    }
    let person = Person::new(1);
    let (here, there) = (person.note("here"), person.note("there"));
    let signal = person.event(20_001, NOW, &[], "only here");
    town.publish_ok(&here);
    market.publish_ok(&there);
    town.publish_ok(&signal);
    let [in_town, in_market] = &mut listeners;
    for event in [&here, &signal] {
        assert_eq!(in_town.receive()[2]["id"], event.id.to_string());
    }
    assert_eq!(in_market.receive()[2]["id"], there.id.to_string());
    in_town.hears_nothing_more();
    in_market.hears_nothing_more();
}

#[test]
fn a_newer_version_in_one_leaves_the_older_in_another() {
    let relay = TestRelay::configured(TOWN);
    let [mut town, mut market] = clients(&relay);
    let person = Person::new(1);
    for (kind, tags) in [(10_002, &[][..]), (30_023, &[&["d", "x"][..]][..])] {
        let [old, new] = [NOW - 1, NOW].map(|time| person.event(kind, time, tags, ""));
        town.publish_ok(&old);
        market.publish_ok(&old);
        town.publish_ok(&new);
        assert_eq!(town.ids(json!({"kinds": [kind]})), ids_of(&[&new]));
        assert_eq!(market.ids(json!({"kinds": [kind]})), ids_of(&[&old]));
    }
}

#[test]
fn a_deletion_and_a_vanishing_in_one_do_not_touch_another() {
    let mut relay = TestRelay::configured(TOWN);
    let person = Person::new(1);
    let [first, second] = ["first", "second"].map(|text| person.note(text));
    let deletion = person.event(5, NOW, &[&["e", &first.id.to_string()]], "");
    let vanish = person.event(62, NOW, &[&["relay", "ALL_RELAYS"]], "");
    {
        let [mut town, mut market] = clients(&relay);
        for event in [&first, &second] {
            town.publish_ok(event);
            market.publish_ok(event);
        }
        town.publish_ok(&deletion);
        let mut both = ids_of(&[&first, &second]);
        both.sort();
        assert_eq!(town.ids(json!({"kinds": [1]})), ids_of(&[&second]));
        assert_eq!(market.ids(json!({"kinds": [1]})), both);
        let deleted = "blocked: its deletion was asked for by who may (nip09.deleted)";
        assert_eq!(town.publish_refused(&first), deleted);
        assert_eq!(market.publish(&first), (true, "duplicate: already have this event".to_owned()));
        market.publish_ok(&vanish);
        assert_eq!(town.ids(json!({"kinds": [1]})), ids_of(&[&second]));
        assert!(market.ids(json!({"kinds": [1]})).is_empty());
    }
    // It stays so when what vanished is removed, and after a restart.
    relay.relay().sweep_now();
    relay.restart();
    let [mut town, mut market] = clients(&relay);
    assert_eq!(town.ids(json!({"kinds": [1]})), ids_of(&[&second]));
    assert_eq!(market.ids(json!({})), ids_of(&[&vanish]));
    let vanished = "blocked: its author or recipient asked to vanish from this relay (nip62.vanished)";
    assert_eq!(market.publish_refused(&second), vanished);
    town.publish_ok(&person.note("I am still here"));
}

#[test]
fn a_ban_and_a_rule_in_one_do_not_bind_another() {
    let banned = Person::new(1);
    let relay = TestRelay::configured(&format!(
        "[[community]]\npath = \"/market\"\n[community.authors]\ndenied = [\"{}\"]\n[community.kinds]\nallowed = [1]",
        banned.hex()
    ));
    let [mut town, mut market] = clients(&relay);
    let note = banned.note("hello");
    town.publish_ok(&note);
    assert_eq!(market.publish_refused(&note), "blocked: this author is not welcome here (authors.denied)");
    let reaction = Person::new(2).event(7, NOW, &[], "+");
    town.publish_ok(&reaction);
    assert!(market.publish_refused(&reaction).ends_with("(kinds.allowed)"));
    let [town, market] =
        PATHS.map(|path| relay.relay().communities().at(path).expect("a community").tally.counts());
    assert_eq!((town.len(), market.len()), (0, 2));
}

#[test]
fn a_key_is_proved_to_one_community() {
    let relay = TestRelay::configured(TOWN);
    let person = Person::new(1);
    let mut club = relay.connect_at("/club");
    let login = "auth-required: log in to read here (access.read)";
    assert_eq!(club.closed("REQ", &[json!({})]), login);
    // A proof that names another community of the same relay is not for this one.
    let challenge = club.challenge.clone();
    for path in ["/", "/market"] {
        let url = relay.url_at(path);
        let proof = person.event(22_242, NOW, &[&["relay", &url], &["challenge", &challenge]], "");
        club.send(&json!(["AUTH", common::json_of(&proof)]));
        let refusal = "invalid: the relay tag does not name this relay (nip42.relay)";
        assert_eq!(club.answer_to(&proof), (false, refusal.to_owned()));
    }
    club.authenticate(&person, &relay.url_at("/club"), NOW);
    assert!(club.ids(json!({})).is_empty());
}

#[test]
fn a_request_to_vanish_names_its_community() {
    let relay =
        TestRelay::configured("[relay]\nurls = [\"wss://town.example\"]\n[[community]]\npath = \"/market\"");
    let person = Person::new(1);
    let [mut town, mut market] = clients(&relay);
    let [for_town, for_market] = ["wss://town.example", "wss://town.example/market"]
        .map(|url| person.event(62, NOW, &[&["relay", url]], ""));
    let others =
        "invalid: this request to vanish names other relays; name this one or ALL_RELAYS (nip62.relay)";
    assert_eq!(town.publish_refused(&for_market), others);
    assert_eq!(market.publish_refused(&for_town), others);
    town.publish_ok(&for_town);
    market.publish_ok(&for_market);
}

#[test]
fn rules_are_read_as_sentences() {
    let relay = TestRelay::configured(TOWN);
    let (status, page) = get(&relay, "x.example", "/market?rules", "text/html");
    assert_eq!(status, 200);
    assert!(page.contains("Only events of kinds 1, 5, 62, 10002, 30000-39999 are taken."), "{page}");
    assert!(page.contains("The text of an event has at most 50 characters."), "{page}");
    let (_, rules) = get(&relay, "x.example", "/market?rules", "application/json");
    let rules: Vec<Value> = serde_json::from_str(&rules).expect("a list");
    let kinds = rules.iter().find(|rule| rule["id"] == "kinds.allowed").expect("the rule");
    let expected = json!({"id": "kinds.allowed", "mode": "enforce", "sentence": "Only events of kinds 1, 5, 62, 10002, 30000-39999 are taken."});
    assert_eq!(*kinds, expected);
    let (_, landing) = get(&relay, "x.example", "/market", "text/html");
    assert!(
        landing.contains("Only events of kinds 1, 5, 62") && landing.contains("/market</code>"),
        "{landing}"
    );
    let (_, root) = get(&relay, "x.example", "/?rules", "text/html");
    assert!(!root.contains("kinds.allowed"), "{root}");
}

#[test]
fn communities_keep_their_events_when_the_file_is_put_in_another_order() {
    let mut relay = TestRelay::configured("[[community]]\npath = \"/a\"\n[[community]]\npath = \"/b\"");
    let person = Person::new(1);
    let (a, b) = (person.note("a"), person.note("b"));
    relay.connect_at("/a").publish_ok(&a);
    relay.connect_at("/b").publish_ok(&b);
    relay.reconfigure("[[community]]\npath = \"/c\"\n[[community]]\npath = \"/b\"");
    assert_eq!(found(&mut relay.connect_at("/b")), ids_of(&[&b]));
    assert!(found(&mut relay.connect_at("/c")).is_empty());
    assert!(found(&mut relay.connect_at("/")).is_empty());
    assert_eq!(relay.relay().communities().unused(), ["/a"]);
    relay.reconfigure("[[community]]\npath = \"/b\"\n[[community]]\npath = \"/a\"");
    assert_eq!(found(&mut relay.connect_at("/a")), ids_of(&[&a]));
    assert_eq!(found(&mut relay.connect_at("/b")), ids_of(&[&b]));
}
