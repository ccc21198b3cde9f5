//! NIP-67, the hint of completeness in EOSE (nips/67.md).

use std::slice::from_ref;

use serde_json::{Value, json};

use crate::common::{Client, NOW, Person, TestRelay, ids_of};
use plaza::event::Event;
use plaza::nips::nip67::BOUNDARY_EXTRA_MAX;

/// Publishes notes of these ages.
fn publish(client: &mut Client, ages: &[u64]) -> Vec<Event> {
    let notes: Vec<Event> = ages
        .iter()
        .enumerate()
        .map(|(number, age)| Person::new(1).event(1, NOW - age, &[], &format!("{number}")))
        .collect();
    notes.iter().for_each(|note| client.publish_ok(note));
    notes
}

/// How many events come, and the hint; the subscription is closed.
fn answer(client: &mut Client, filters: &[Value]) -> (usize, String) {
    let (ids, hint) = client.request("s", filters);
    client.send(&json!(["CLOSE", "s"]));
    (ids.len(), hint)
}

#[test]
fn finish_says_that_all_was_sent_and_more_that_it_was_not() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    publish(&mut client, &[1, 2, 3, 4]);
    for (filter, sent, hint) in [
        (json!({"kinds": [1]}), 4, "finish"),
        (json!({"kinds": [1], "limit": 5}), 4, "finish"),
        (json!({"kinds": [1], "limit": 4}), 4, "finish"),
        (json!({"kinds": [1], "limit": 3}), 3, "more"),
        (json!({"kinds": [1], "limit": 1}), 1, "more"),
        (json!({"kinds": [1], "limit": 0}), 0, "more"),
        (json!({"kinds": [7], "limit": 0}), 0, "finish"),
        (json!({"kinds": [7]}), 0, "finish"),
        (json!({"kinds": [1], "limit": 2, "since": NOW - 2}), 2, "finish"),
        (json!({"kinds": [1], "limit": 1, "until": NOW - 4}), 1, "finish"),
    ] {
        assert_eq!(answer(&mut client, from_ref(&filter)), (sent, hint.to_owned()), "{filter}");
    }
}

#[test]
fn the_relays_own_bounds_are_told_as_well() {
    let relay = TestRelay::with(|config| {
        config.root.limits.limit_default = 3;
        config.root.limits.limit_max = 5;
    });
    let mut client = relay.connect();
    publish(&mut client, &[1, 2, 3]);
    assert_eq!(answer(&mut client, &[json!({"kinds": [1]})]), (3, "finish".to_owned()));
    publish(&mut client, &[4, 5]);
    assert_eq!(answer(&mut client, &[json!({"kinds": [1]})]), (3, "more".to_owned()));
    assert_eq!(answer(&mut client, &[json!({"kinds": [1], "limit": 100})]), (5, "finish".to_owned()));
    publish(&mut client, &[6]);
    assert_eq!(answer(&mut client, &[json!({"kinds": [1], "limit": 100})]), (5, "more".to_owned()));
}

#[test]
fn where_the_relays_bound_ends_an_answer_its_last_second_is_sent_whole() {
    let relay = TestRelay::with(|config| {
        config.root.limits.limit_default = 3;
        config.root.limits.limit_max = 3;
    });
    let mut client = relay.connect();
    publish(&mut client, &[1, 2, 3, 3, 3, 3]);
    assert_eq!(answer(&mut client, &[json!({"kinds": [1]})]), (6, "finish".to_owned()));
    publish(&mut client, &[4, 4]);
    assert_eq!(answer(&mut client, &[json!({"kinds": [1]})]), (6, "more".to_owned()));
    assert_eq!(answer(&mut client, &[json!({"kinds": [1], "limit": 4})]), (6, "more".to_owned()));
    // A client's own limit is kept to the letter.
    assert_eq!(answer(&mut client, &[json!({"kinds": [1], "limit": 3})]), (3, "more".to_owned()));
    assert_eq!(answer(&mut client, &[json!({"kinds": [1], "limit": 2})]), (2, "more".to_owned()));
}

#[test]
fn the_last_second_is_bounded_too() {
    let relay = TestRelay::with(|config| config.root.limits.limit_default = 2);
    let mut client = relay.connect();
    let note = |number| Person::new(1).event(1, NOW, &[], &format!("{number}"));
    let most = 2 + BOUNDARY_EXTRA_MAX;
    let notes: Vec<Event> = (0..=most).map(note).collect();
    notes[..most].iter().for_each(|note| client.submit(note));
    notes[..most].iter().for_each(|_| assert_eq!(client.receive()[2], true));
    assert_eq!(answer(&mut client, &[json!({"kinds": [1]})]), (most, "finish".to_owned()));
    client.publish_ok(&notes[most]);
    assert_eq!(answer(&mut client, &[json!({"kinds": [1]})]), (most, "more".to_owned()));
}

#[test]
fn nothing_is_said_where_one_filter_sent_what_the_other_withheld() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let notes = publish(&mut client, &[1, 2, 3]);
    let first = json!({"kinds": [1], "limit": 1});
    let second = |events: &[&Event]| json!({"ids": ids_of(events)});
    for (filters, sent, hint) in [
        // The first filter stops before the second note. When another filter sent it, the relay does not look
        // on for what else the first would have withheld.
        (vec![first.clone(), second(&[&notes[1]])], 2, ""),
        (vec![first.clone(), second(&[&notes[1], &notes[2]])], 3, ""),
        (vec![first.clone(), second(&[&notes[2]])], 2, "more"),
        (vec![second(&[&notes[0]]), first.clone()], 1, "more"),
        (vec![first.clone(), json!({"kinds": [7]})], 1, "more"),
        (vec![json!({"kinds": [1]}), json!({"kinds": [7]})], 3, "finish"),
        (vec![second(&[&notes[0]]), second(&[&notes[1]])], 2, "finish"),
    ] {
        assert_eq!(answer(&mut client, &filters), (sent, hint.to_owned()), "{filters:?}");
    }
}

#[test]
fn what_may_not_be_seen_is_not_missing() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let author = Person::new(1);
    publish(&mut client, &[5]);
    client.publish_ok(&author.event(1_059, NOW - 6, &[], "private"));
    client.publish_ok(&author.event(1, NOW - 7, &[&["expiration", &(NOW + 1).to_string()]], ""));
    client.publish_ok(&Person::new(2).event(1, NOW - 8, &[], "vanishes"));
    client.publish_ok(&Person::new(2).event(62, NOW - 1, &[&["relay", "ALL_RELAYS"]], ""));
    relay.clock.set(NOW + 1);
    let filter = json!({"kinds": [1, 1_059], "limit": 1});
    assert_eq!(answer(&mut client, from_ref(&filter)), (1, "finish".to_owned()));
    client.authenticate(&author, &relay.url(), NOW);
    assert_eq!(answer(&mut client, &[filter]), (1, "more".to_owned()));
}

#[test]
fn a_query_that_was_cut_short_never_says_finish() {
    let relay = TestRelay::with(|config| config.root.limits.query_entries_max = 10);
    let mut client = relay.connect();
    let author = Person::new(1);
    // Reactions with the tag and notes without it: neither condition alone leads to the two notes with it.
    for age in 2..22 {
        client.publish_ok(&author.event(1, NOW - age, &[], ""));
        client.publish_ok(&author.event(7, NOW - age, &[&["t", "a"]], ""));
    }
    let both = json!({"kinds": [1], "#t": ["a"]});
    assert_eq!(
        client.closed("REQ", from_ref(&both)),
        "error: nothing was found within 2000 ms and 10 index entries; narrow kinds, authors, tags or time (limits.query_entries_max)"
    );
    client.publish_ok(&author.event(1, NOW - 1, &[&["t", "a"]], "newest"));
    client.publish_ok(&author.event(1, NOW - 30, &[&["t", "a"]], "oldest"));
    assert_eq!(answer(&mut client, from_ref(&both)), (1, String::new()));
    let narrow = json!({"kinds": [1], "#t": ["a"], "since": NOW - 3});
    assert_eq!(answer(&mut client, &[narrow]), (1, "finish".to_owned()));
    let withheld = json!({"kinds": [1], "limit": 2});
    assert_eq!(answer(&mut client, &[both, withheld]), (2, "more".to_owned()));
}

#[test]
fn paging_until_finish_finds_every_event_once_the_seconds_are_whole() {
    let mut seed = 0x5eed_u64;
    println!("seed {seed}");
    for round in 0..6 {
        let cap = 1 + round;
        let relay = TestRelay::with(|config| {
            config.root.limits.limit_default = cap;
            config.root.limits.limit_max = cap;
        });
        let mut client = relay.connect();
        let ages: Vec<u64> = (0..40)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 33) % 15
            })
            .collect();
        let notes = publish(&mut client, &ages);
        let (mut found, mut until) = (Vec::new(), u64::MAX);
        loop {
            let (page, hint) = client.request("s", &[json!({"kinds": [1], "until": until})]);
            let last = page.last().expect("a page while there was more");
            let oldest = notes.iter().find(|note| note.id.to_string() == *last).expect("a note").created_at;
            found.extend(page);
            // The whole second was sent, so the next page begins below it.
            until = oldest - 1;
            match hint.as_str() {
                "more" => {}
                hint => break assert_eq!(hint, "finish"),
            }
        }
        let mut wanted: Vec<&Event> = notes.iter().collect();
        wanted.sort_by_key(|note| (std::cmp::Reverse(note.created_at), note.id));
        assert_eq!(found, ids_of(&wanted), "cap {cap}");
    }
}

#[test]
fn eose_comes_once_and_live_events_follow_it() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    publish(&mut client, &[1, 2]);
    assert_eq!(client.request("s", &[json!({"kinds": [1], "limit": 1})]).1, "more");
    let note = Person::new(2).note("live");
    relay.connect().publish_ok(&note);
    assert_eq!(relay.heard_by(&mut client), [("s".to_owned(), note.id.to_string())]);
}
