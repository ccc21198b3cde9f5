//! NIP-62, requests to vanish (nips/62.md).

use serde_json::json;

use crate::common::{Client, NOW, Person, TestRelay, ids_of, json_of};
use plaza::event::Event;

const VANISHED: &str = "blocked: its author or recipient asked to vanish from this relay (nip62.vanished)";
const OTHERS: &str =
    "invalid: this request to vanish names other relays; name this one or ALL_RELAYS (nip62.relay)";
const NO_RELAY: &str = "invalid: a request to vanish must have a relay tag (nip62.relay)";

fn vanish(person: &Person, until: u64) -> Event {
    person.event(62, until, &[&["relay", "ALL_RELAYS"]], "goodbye")
}

/// What is found of these events, in their order.
fn shown(client: &mut Client, events: &[&Event]) -> Vec<String> {
    let found = client.ids(json!({"ids": ids_of(events)}));
    assert_eq!(client.count(&[json!({"ids": ids_of(events)})]), found.len() as u64);
    ids_of(events).into_iter().filter(|id| found.contains(id)).collect()
}

#[test]
fn a_request_is_followed_when_it_names_this_relay_or_all() {
    let table = [
        (vec![], NO_RELAY),
        (vec![vec!["relay"]], NO_RELAY),
        (vec![vec!["r", "ALL_RELAYS"]], NO_RELAY),
        (vec![vec!["relay", ""]], OTHERS),
        (vec![vec!["relay", "all_relays"]], OTHERS),
        (vec![vec!["relay", "wss://other.example"]], OTHERS),
        (vec![vec!["relay", "wss://town.example.evil.example"]], OTHERS),
        (vec![vec!["relay", "https://town.example"]], OTHERS),
        (vec![vec!["relay", "town.example"]], OTHERS),
        (vec![vec!["relay", "wss://town.example/berlin"]], OTHERS),
        (vec![vec!["relay", "ws://localhost:7777"]], OTHERS),
        (vec![vec!["relay", "ALL_RELAYS"]], ""),
        (vec![vec!["relay", "wss://town.example"]], ""),
        (vec![vec!["relay", "wss://Town.Example:443/"]], ""),
        (vec![vec!["relay", "wss://other.example"], vec!["relay", "wss://town.example/"]], ""),
        (vec![vec!["relay", "wss://other.example"], vec!["relay", "ALL_RELAYS"]], ""),
    ];
    let relay = TestRelay::with(|config| config.root.relay.urls = vec!["wss://town.example".to_owned()]);
    for (number, (tags, why)) in (0..).zip(table) {
        let author = Person::new(number);
        let note = author.event(1, NOW - 1, &[], "");
        let mut client = relay.connect();
        client.publish_ok(&note);
        let request = author.sign(62, NOW, tags.iter().collect(), "");
        assert_eq!(client.publish(&request), (why.is_empty(), why.to_owned()), "{tags:?}");
        let left = if why.is_empty() { &request } else { &note };
        assert_eq!(client.ids(json!({"authors": [author.hex()]})), ids_of(&[left]), "{tags:?}");
    }
}

#[test]
fn a_request_needs_no_work_and_may_be_old() {
    let relay = TestRelay::with(|config| {
        config.root.nip13.difficulty_min = 30;
        config.root.limits.created_at_past_seconds_max = 60;
    });
    let person = Person::new(1);
    let mut client = relay.connect();
    client.publish_ok(&vanish(&person, NOW - 1_000_000));
    let (taken, why) = client.publish(&person.note("without work"));
    assert!(!taken && why.starts_with("pow: "), "{why}");
}

#[test]
fn without_configured_urls_the_local_address_names_the_relay() {
    let relay = TestRelay::start();
    let port = relay.relay().address().port();
    let table = [
        (relay.url(), true),
        (format!("{}/", relay.url()), true),
        (format!("ws://localhost:{port}"), true),
        (format!("wss://localhost:{port}/"), true),
        ("ws://localhost".to_owned(), false),
        (format!("ws://other.example:{port}"), false),
    ];
    for (number, (url, followed)) in (0..).zip(table) {
        let request = Person::new(number).event(62, NOW, &[&["relay", &url]], "");
        assert_eq!(relay.connect().publish(&request).0, followed, "{url}");
    }
}

#[test]
fn everything_of_its_author_up_to_its_time_is_hidden_at_once() {
    let relay = TestRelay::start();
    let (author, other) = (Person::new(1), Person::new(2));
    let mut client = relay.connect_as(&[&author, &other]);
    let gone: Vec<Event> = [0, 1, 3, 4, 5, 7, 10_002, 30_023, 1_059, 40_000]
        .into_iter()
        .enumerate()
        .map(|(age, kind)| author.event(kind, NOW - age as u64, &[&["p", &other.hex()]], ""))
        .collect();
    let kept = [
        author.event(1, NOW + 1, &[], "after"),
        other.event(1, NOW - 5, &[&["p", &author.hex()]], "a mention"),
        other.event(5, NOW - 5, &[], ""),
        other.event(0, NOW - 5, &[], ""),
    ];
    for event in gone.iter().chain(&kept) {
        client.publish_ok(event);
    }
    let request = vanish(&author, NOW);
    let mut listener = relay.connect();
    listener.request("s", &[json!({"kinds": [62]})]);
    client.publish_ok(&request);
    assert_eq!(shown(&mut client, &gone.iter().collect::<Vec<_>>()), [""; 0]);
    let kept: Vec<&Event> = kept.iter().chain([&request]).collect();
    assert_eq!(shown(&mut client, &kept), ids_of(&kept));
    let (of_author, hint) = client.request("all", &[json!({"authors": [author.hex()]})]);
    assert_eq!((of_author, hint.as_str()), (ids_of(&[kept[0], &request]), "finish"));
    assert_eq!(relay.heard_by(&mut listener), [("s".to_owned(), request.id.to_string())]);
}

#[test]
fn wraps_for_who_vanished_are_hidden_too() {
    let relay = TestRelay::start();
    let (author, other, sender) = (Person::new(1), Person::new(2), Person::new(3));
    let mut client = relay.connect_as(&[&author, &other, &sender]);
    let wrap = |time, people: &[&Person]| {
        let keys: Vec<String> = people.iter().map(|person| person.hex()).collect();
        let tags: Vec<[&str; 2]> = keys.iter().map(|key| ["p", key]).collect();
        sender.sign(1_059, time, tags.iter().collect(), "")
    };
    let gone = [wrap(NOW, &[&author]), wrap(NOW - 9, &[&other, &author])];
    let kept = [
        wrap(NOW + 1, &[&author]),
        wrap(NOW - 9, &[&other]),
        sender.event(4, NOW, &[&["p", &author.hex()]], ""),
    ];
    for event in gone.iter().chain(&kept) {
        client.publish_ok(event);
    }
    client.publish_ok(&vanish(&author, NOW));
    assert_eq!(shown(&mut client, &gone.iter().collect::<Vec<_>>()), [""; 0]);
    assert_eq!(
        shown(&mut client, &kept.iter().collect::<Vec<_>>()),
        ids_of(&kept.iter().collect::<Vec<_>>())
    );
    for event in &gone {
        assert_eq!(client.publish_refused(event), VANISHED);
    }
    assert_eq!(client.publish_refused(&wrap(NOW - 1, &[&author])), VANISHED);
    client.publish_ok(&wrap(NOW + 2, &[&author]));
}

#[test]
fn what_vanished_does_not_return_and_what_is_later_is_welcome() {
    let mut relay = TestRelay::start();
    let (author, other) = (Person::new(1), Person::new(2));
    let old = [
        author.event(1, NOW, &[], "was stored"),
        author.event(1, NOW - 1_000, &[], "was not"),
        author.event(0, NOW, &[], ""),
        author.event(5, NOW, &[], ""),
        author.event(20_000, NOW, &[], "ephemeral"),
        other.event(1_059, NOW, &[&["p", &author.hex()]], "to them"),
    ];
    let mut client = relay.connect();
    client.publish_ok(&old[0]);
    client.publish_ok(&vanish(&author, NOW));
    for round in 0..3 {
        let mut client = relay.connect();
        for event in &old {
            assert_eq!(client.publish_refused(event), VANISHED, "round {round}, kind {}", event.kind);
        }
        client.publish_ok(&author.event(1, NOW + 1 + round, &[], "back"));
        client.publish_ok(&other.event(1, NOW - 1_000 - round, &[], "another's"));
        drop(client);
        // First with bodies that may still be there, then without.
        relay.relay().sweep_now();
        relay.restart();
    }
    assert_eq!(relay.connect().count(&[json!({"authors": [author.hex()], "kinds": [1]})]), 3);
}

#[test]
fn the_request_itself_stays() {
    let mut relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect();
    let (first, second) = (vanish(&author, NOW - 10), vanish(&author, NOW));
    client.publish_ok(&first);
    client.publish_ok(&second);
    relay.relay().sweep_now();
    drop(client);
    relay.restart();
    let mut client = relay.connect();
    assert_eq!(client.ids(json!({"kinds": [62]})), ids_of(&[&second, &first]));
    client.subscribe("s", &[json!({"ids": [second.id.to_string()]})]);
    assert_eq!(client.receive(), json!(["EVENT", "s", json_of(&second)]));
    assert_eq!(client.receive()[0], "EOSE");
    assert_eq!(client.publish(&second), (true, "duplicate: already have this event".to_owned()));
}

#[test]
fn a_request_of_an_earlier_time_does_not_shorten_a_later_one() {
    let mut relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect();
    client.publish_ok(&vanish(&author, NOW));
    client.publish_ok(&vanish(&author, NOW - 100));
    assert_eq!(client.publish_refused(&author.event(1, NOW, &[], "")), VANISHED);
    let later = author.event(1, NOW + 50, &[], "");
    client.publish_ok(&later);
    drop(client);
    relay.restart();
    let mut client = relay.connect();
    assert_eq!(client.publish_refused(&author.event(1, NOW, &[], "")), VANISHED);
    client.publish_ok(&vanish(&author, NOW + 50));
    assert_eq!(shown(&mut client, &[&later]), [""; 0]);
}

#[test]
fn a_sweep_takes_what_vanished_out_of_index_and_store() {
    let mut relay = TestRelay::start();
    let (author, other) = (Person::new(1), Person::new(2));
    let mut client = relay.connect();
    for number in 0..60 {
        client.publish_ok(&author.event(1, NOW - number, &[&["t", &number.to_string()]], ""));
        client.publish_ok(&other.event(1_059, NOW - number, &[&["p", &author.hex()]], ""));
    }
    let kept = [other.note("kept"), author.event(1, NOW + 1, &[], "later"), vanish(&author, NOW)];
    kept.iter().for_each(|event| client.publish_ok(event));
    relay.relay().sweep_now();
    assert_eq!(relay.stored(), kept.len());
    drop(client);
    relay.restart();
    assert_eq!(relay.stored(), kept.len());
    let kept: Vec<&Event> = kept.iter().collect();
    assert_eq!(shown(&mut relay.connect(), &kept), ids_of(&kept));
}

#[test]
fn what_was_not_swept_before_a_restart_stays_hidden_and_is_swept_after() {
    let mut relay = TestRelay::with(|config| config.nip62.sweep_events_per_second = 1);
    let author = Person::new(1);
    let mut client = relay.connect();
    for number in 0..30 {
        client.publish_ok(&author.event(1, NOW - number, &[], ""));
    }
    let request = vanish(&author, NOW);
    client.publish_ok(&request);
    drop(client);
    relay.restart();
    assert!(relay.stored() > 1, "one event in 200 ms was swept");
    let found = relay.connect().request("s", &[json!({"authors": [author.hex()]})]);
    assert_eq!(found, (ids_of(&[&request]), "finish".to_owned()));
    relay.relay().sweep_now();
    assert_eq!(relay.stored(), 1);
}

#[test]
fn a_forged_or_refused_request_does_nothing() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let note = author.event(1, NOW - 1, &[], "");
    let mut client = relay.connect();
    client.publish_ok(&note);
    let mut forged = vanish(&author, NOW);
    forged.sig.0[0] ^= 1;
    client.publish_refused(&forged);
    client.publish_refused(&vanish(&author, NOW + 100_000));
    assert_eq!(shown(&mut client, &[&note]), ids_of(&[&note]));
}
