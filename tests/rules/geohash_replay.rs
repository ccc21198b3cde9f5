//! The replay of ephemeral events with a place (nips/geohash-filters.md): who joins late is given the last
//! ones, within bounds, each once, before EOSE and in its order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::channel;
use std::time::Duration;

use plaza::event::Event;
use serde_json::{Value, json};

use crate::common::{Client, NOW, Person, TestRelay, ids_of};

/// Keeps three events for ten seconds.
fn relay_that_replays() -> TestRelay {
    TestRelay::with(|config| {
        config.root.geohash.prefix_filters = true;
        config.root.geohash.replay_seconds = 10;
        config.root.geohash.replay_events_max = 3;
    })
}

fn message(who: u32, created_at: u64, place: &str, content: &str) -> Event {
    Person::new(who).event(20_000, created_at, &[&["g", place], &["n", "anna"]], content)
}

/// Publishes and waits until it has been passed on.
fn pass_on(relay: &TestRelay, events: &[&Event]) {
    let mut client = relay.connect();
    events.iter().for_each(|event| client.publish_ok(event));
    relay.heard_by(&mut client);
}

#[test]
fn who_joins_late_is_given_what_matches_newest_first() {
    let relay = relay_that_replays();
    let (first, second, third) =
        (message(1, NOW - 1, "u33dc", "1"), message(2, NOW, "u33dc1", "2"), message(3, NOW - 2, "9q8y", "3"));
    pass_on(&relay, &[&first, &second, &third]);
    let mut client = relay.connect();
    let table = [
        (json!({}), vec![&second, &first, &third]),
        (json!({"kinds": [20_000]}), vec![&second, &first, &third]),
        (json!({"kinds": [20_001]}), vec![]),
        (json!({"#g": ["u33dc"]}), vec![&first]),
        (json!({"#g": ["u33dc*"]}), vec![&second, &first]),
        (json!({"#g": ["~u33d9"]}), vec![&second, &first]),
        (json!({"#n": ["anna"], "authors": [Person::new(3).hex()]}), vec![&third]),
        (json!({"ids": [first.id.to_string()]}), vec![&first]),
        (json!({"since": NOW - 1}), vec![&second, &first]),
        (json!({"since": NOW + 1}), vec![]),
        (json!({"until": NOW - 1}), vec![&first, &third]),
        (json!({"until": NOW - 3}), vec![]),
        (json!({"since": NOW - 1, "until": NOW - 1}), vec![&first]),
    ];
    for (filter, wanted) in table {
        let (ids, hint) = client.request("late", std::slice::from_ref(&filter));
        assert_eq!((ids, hint.as_str()), (ids_of(&wanted), "finish"), "{filter}");
    }
    for (limit, wanted, hint) in [
        (0, vec![], "more"),
        (1, vec![&second], "more"),
        (2, vec![&second, &first], "more"),
        (3, vec![&second, &first, &third], "finish"),
    ] {
        let heard = client.request("late", &[json!({"kinds": [20_000], "limit": limit})]);
        assert_eq!(heard, (ids_of(&wanted), hint.to_owned()), "limit {limit}");
    }
    // Several filters: each within its limit, what both ask for once.
    let filters = [json!({"#g": ["u33dc"]}), json!({"kinds": [20_000], "limit": 2})];
    assert_eq!(client.request("late", &filters), (ids_of(&[&second, &first]), "more".to_owned()));
    // It is no number of what is stored.
    assert_eq!(client.count(&[json!({"kinds": [20_000]})]), 0);
    assert_eq!(relay.stored(), 0);
}

#[test]
fn stored_events_and_kept_ones_share_one_order_and_one_limit() {
    let relay = relay_that_replays();
    let stored: Vec<Event> =
        [0, 2, 4].map(|age| Person::new(1).event(1, NOW - age, &[&["g", "u33dc"]], "")).into();
    let kept: Vec<Event> = [1, 3, 5].map(|age| message(2, NOW - age, "u33dc", "")).into();
    pass_on(&relay, &stored.iter().chain(&kept).collect::<Vec<_>>());
    let in_order = [&stored[0], &kept[0], &stored[1], &kept[1], &stored[2], &kept[2]];
    let mut client = relay.connect();
    for limit in 0..=7 {
        let (ids, hint) = client.request("late", &[json!({"#g": ["u33d*"], "limit": limit})]);
        assert_eq!(ids, ids_of(&in_order[..limit.min(6)]), "limit {limit}");
        assert_eq!(hint, if limit < 6 { "more" } else { "finish" }, "limit {limit}");
    }
    let two = [json!({"kinds": [1], "limit": 1}), json!({"kinds": [20_000], "limit": 1})];
    assert_eq!(client.request("late", &two).0, ids_of(&[&stored[0], &kept[0]]));
}

#[test]
fn what_is_kept_is_bounded_in_time_and_number() {
    let relay = relay_that_replays();
    let all = json!({"kinds": [20_000]});
    let messages: Vec<Event> =
        (0..4).map(|number| message(1, NOW - number, "u33dc", &number.to_string())).collect();
    let mut client = relay.connect();
    pass_on(&relay, &messages.iter().collect::<Vec<_>>());
    // The last three that arrived, whatever their time says.
    assert_eq!(client.ids(all.clone()), ids_of(&[&messages[1], &messages[2], &messages[3]]));
    relay.clock.set(NOW + 5);
    let later = message(1, NOW - 50, "u33dc", "later");
    pass_on(&relay, &[&later]);
    assert_eq!(client.ids(all.clone()), ids_of(&[&messages[2], &messages[3], &later]));
    // Ten seconds after they arrived they are given for the last time.
    relay.clock.set(NOW + 10);
    assert_eq!(client.ids(all.clone()), ids_of(&[&messages[2], &messages[3], &later]));
    relay.clock.set(NOW + 11);
    assert_eq!(client.ids(all.clone()), ids_of(&[&later]));
    relay.clock.set(NOW + 16);
    assert_eq!(client.ids(all), [""; 0]);
}

#[test]
fn only_ephemeral_events_with_a_place_are_kept() {
    let relay = relay_that_replays();
    let person = Person::new(1);
    let table = [
        (person.event(20_000, NOW, &[&["g", "u33dc"]], ""), true),
        (person.event(29_999, NOW, &[&["g", ""]], ""), true),
        (person.event(20_000, NOW, &[], ""), false),
        (person.event(20_000, NOW, &[&["g"]], ""), false),
        (person.event(20_000, NOW, &[&["geohash", "u33dc"]], ""), false),
    ];
    for (number, (event, is_kept)) in table.iter().enumerate() {
        pass_on(&relay, &[event]);
        let ids = relay.connect().ids(json!({"ids": [event.id.to_string()]}));
        assert_eq!(ids.len(), usize::from(*is_kept), "event {number}");
    }
}

#[test]
fn nothing_is_kept_unless_asked_for_and_never_on_disk() {
    let event = message(1, NOW, "u33dc", "");
    for (seconds, most) in [(0, 500), (10, 0)] {
        let relay = TestRelay::with(|config| {
            config.root.geohash.replay_seconds = seconds;
            config.root.geohash.replay_events_max = most;
        });
        pass_on(&relay, &[&event]);
        assert_eq!(relay.connect().ids(json!({})), [""; 0], "{most} events for {seconds} seconds");
    }
    let mut relay = relay_that_replays();
    pass_on(&relay, &[&event]);
    assert_eq!(relay.connect().ids(json!({})), ids_of(&[&event]));
    relay.restart();
    assert_eq!(relay.connect().ids(json!({})), [""; 0]);
}

#[test]
fn what_expired_meanwhile_is_not_given() {
    let relay = relay_that_replays();
    let expiration = (NOW + 2).to_string();
    let tags: &[&[&str]] = &[&["g", "u33dc"], &["expiration", &expiration]];
    let event = Person::new(1).event(20_000, NOW, tags, "");
    pass_on(&relay, &[&event]);
    for (now, is_given) in [(NOW + 1, true), (NOW + 2, false)] {
        relay.clock.set(now);
        assert_eq!(relay.connect().ids(json!({})).len(), usize::from(is_given), "at {now}");
    }
}

#[test]
fn private_events_are_given_to_their_parties_alone() {
    let relay = relay_that_replays();
    let (author, recipient, stranger) = (Person::new(1), Person::new(2), Person::new(3));
    let wrap = author.event(21_059, NOW, &[&["p", &recipient.hex()], &["g", "u33dc"]], "");
    pass_on(&relay, &[&wrap]);
    let filter = json!({"#g": ["u33dc"]});
    assert_eq!(relay.connect().ids(filter.clone()), [""; 0]);
    assert_eq!(relay.connect_as(&[&stranger]).ids(filter.clone()), [""; 0]);
    assert_eq!(relay.connect_as(&[&stranger, &recipient]).ids(filter), ids_of(&[&wrap]));
    let reason = relay.connect().closed("REQ", &[json!({"kinds": [21_059], "#g": ["u33dc"]})]);
    assert!(reason.starts_with("auth-required:"), "{reason}");
}

#[test]
fn a_copy_of_what_is_kept_is_taken_and_not_passed_on_again() {
    let relay = relay_that_replays();
    let event = message(1, NOW, "u33dc", "");
    let mut early = relay.connect();
    early.request("early", &[json!({"kinds": [20_000]})]);
    pass_on(&relay, &[&event]);
    let mut late = relay.connect();
    assert_eq!(late.request("late", &[json!({"kinds": [20_000]})]).0, ids_of(&[&event]));
    pass_on(&relay, &[&event]);
    assert_eq!(relay.heard_by(&mut early), [("early".to_owned(), event.id.to_string())]);
    assert_eq!(relay.heard_by(&mut late), []);
    // Once it is forgotten it is as new.
    relay.clock.set(NOW + 11);
    pass_on(&relay, &[&event]);
    assert_eq!(relay.heard_by(&mut late), [("late".to_owned(), event.id.to_string())]);
}

#[test]
fn deleting_and_vanishing_reach_what_is_kept() {
    let relay = relay_that_replays();
    let (anna, bert) = (Person::new(1), Person::new(2));
    let all = json!({"kinds": [20_000]});
    let of = |who: u32, age: u64| message(who, NOW - age, "u33dc", "");
    let (new, old, other) = (of(1, 0), of(1, 1), of(2, 2));
    pass_on(&relay, &[&new, &old, &other]);
    let mut client = relay.connect();
    // Only what is one's own, and named.
    let names = [new.id.to_string(), other.id.to_string()];
    pass_on(&relay, &[&anna.event(5, NOW, &[&["e", &names[0]], &["e", &names[1]]], "")]);
    assert_eq!(client.ids(all.clone()), ids_of(&[&old, &other]));
    // What was made until then.
    pass_on(&relay, &[&bert.event(62, NOW - 3, &[&["relay", "ALL_RELAYS"]], "")]);
    assert_eq!(client.ids(all.clone()), ids_of(&[&old, &other]));
    pass_on(&relay, &[&bert.event(62, NOW - 2, &[&["relay", "ALL_RELAYS"]], "")]);
    assert_eq!(client.ids(all), ids_of(&[&old]));
}

#[test]
fn each_community_has_its_own() {
    let relay = TestRelay::configured(
        r#"
        [[community]]
        path = "/berlin"
        [community.geohash]
        prefix_filters = true
        replay_seconds = 10
        [[community]]
        path = "/potsdam"
        [community.geohash]
        prefix_filters = true
        replay_seconds = 10
        "#,
    );
    let cell = json!({"#g": ["u33d*"]});
    let (note, heard) = (Person::new(1).event(1, NOW, &[&["g", "u33dc"]], ""), message(1, NOW, "u33dc", ""));
    for path in ["/", "/berlin"] {
        let mut client = relay.connect_at(path);
        let mut all = relay.connect_at(path);
        all.request("all", &[json!({})]);
        client.publish_ok(&note);
        client.publish_ok(&heard);
        for event in [&note, &heard] {
            assert_eq!(all.receive()[2]["id"], event.id.to_string(), "{path}");
        }
    }
    let by_time = if note.id < heard.id { [&note, &heard] } else { [&heard, &note] };
    for (path, wanted) in [("/", vec![]), ("/berlin", by_time.to_vec()), ("/potsdam", vec![])] {
        assert_eq!(relay.connect_at(path).ids(cell.clone()), ids_of(&wanted), "{path}");
    }
    assert_eq!(relay.connect_at("/").ids(json!({"kinds": [20_000]})), [""; 0]);
}

/// Events of one publisher.
const EVENTS: u64 = 150;

/// Publishers send messages all the time while others join: each is given every message once, before EOSE
/// or after it.
#[test]
fn nothing_falls_between_replay_and_live() {
    let relay = TestRelay::with(|config| {
        config.root.geohash.prefix_filters = true;
        config.root.geohash.replay_seconds = 60;
        config.root.geohash.replay_events_max = 10_000;
        config.root.limits.limit_default = 5_000;
        config.root.limits.subscriptions_per_connection_max = 1_000;
    });
    let of = |who: u32| -> Vec<Event> {
        (0..EVENTS).map(|number| message(who, NOW, "u33dc", &number.to_string())).collect()
    };
    let sent: Vec<Vec<Event>> = (1..=3).map(of).collect();
    let all: BTreeSet<String> = sent.iter().flatten().map(|event| event.id.to_string()).collect();
    std::thread::scope(|scope| {
        let (ready, all_ready) = channel();
        for _ in 0..3 {
            let (client, ready, all) = (relay.connect(), ready.clone(), &all);
            scope.spawn(move || {
                join_again_and_again(client, || ready.send(()).expect("the test goes on"), all)
            });
        }
        for _ in 0..3 {
            all_ready.recv_timeout(Duration::from_secs(20)).expect("everyone gets so far");
        }
        for events in &sent {
            let mut client = relay.connect();
            scope.spawn(move || events.iter().for_each(|event| client.publish_ok(event)));
        }
    });
}

/// Opens a subscription with each tenth event until the first one has heard everything, then waits until
/// all have.
fn join_again_and_again(mut client: Client, ready: impl Fn(), all: &BTreeSet<String>) {
    let filter = json!({"kinds": [20_000], "#g": ["u33d*"]});
    let mut heard: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut joined = 0;
    let mut join = |client: &mut Client, heard: &mut BTreeMap<String, BTreeSet<String>>| {
        joined += 1;
        heard.insert(joined.to_string(), BTreeSet::new());
        client.subscribe(&joined.to_string(), std::slice::from_ref(&filter));
    };
    join(&mut client, &mut heard);
    assert_eq!(client.receive()[0], "EOSE");
    ready();
    let mut first = 0;
    let (mut before, mut after) = (BTreeSet::new(), BTreeSet::new());
    let mut is_stored = BTreeSet::from(["1".to_owned()]);
    while heard.values().any(|ids| ids.len() < all.len()) {
        let message: Value = client.receive();
        let name = message[1].as_str().expect("a subscription");
        if message[0] == "EOSE" {
            is_stored.insert(name.to_owned());
            continue;
        }
        if is_stored.contains(name) { &mut after } else { &mut before }.insert(name.to_owned());
        let id = message[2]["id"].as_str().expect("an event").to_owned();
        let ids = heard.get_mut(name).expect("a subscription of mine");
        assert!(ids.insert(id), "twice: {message}");
        if name == "1" {
            first += 1;
            if first % 10 == 0 {
                join(&mut client, &mut heard);
            }
        }
    }
    assert!(heard.len() > 40 && heard.values().all(|ids| ids == all), "{} joined", heard.len());
    assert!(before.intersection(&after).count() > 0, "nobody joined in the midst of it");
    client.send(&json!(["COUNT", "end", {"ids": []}]));
    loop {
        let message = client.receive();
        match message[0].as_str() {
            Some("EOSE") => {}
            Some("COUNT") => break,
            _ => panic!("everything had come, and then {message}"),
        }
    }
}
