//! Mirrors in a circle, and of one community to another: each event is stored and verified once, wherever it begins.

use super::common::{NOW, Person, TestRelay, id_of};
use super::{await_live, await_stored, ids, mirror, next_event, notes, publish, reload, shown, stats};
use crate::common::await_that;
use serde_json::json;

/// What a relay was sent, by what became of it.
fn count(relay: &TestRelay, what: &str) -> u64 {
    let all = relay.relay().community().traffic.all();
    all.iter().find(|(name, _)| *name == what).map_or(0, |(_, number)| *number)
}

#[test]
fn three_relays_in_a_circle_take_each_event_once() {
    for direction in ["down", "both"] {
        let relays = [(); 3].map(|()| TestRelay::start());
        publish(&relays[0], &notes(1, 0..50));
        for (at, relay) in relays.iter().enumerate() {
            let keys = format!("direction = \"{direction}\"");
            reload(relay, &mirror(&relays[(at + 1) % 3].url(), &keys));
        }
        relays.iter().for_each(|relay| await_stored(relay, 50));
        relays.iter().for_each(await_live);
        let live = notes(2, 0..60);
        for (number, event) in live.iter().enumerate() {
            publish(&relays[number % 3], [event]);
        }
        relays.iter().for_each(|relay| await_stored(relay, 110));
        for relay in &relays {
            assert_eq!(shown(relay), shown(&relays[0]), "{direction}");
            // Stored once each, and none was verified in vain: what came again was known by its id.
            assert_eq!(count(relay, "stored"), 110, "{direction}");
            assert_eq!((count(relay, "refused"), stats(relay).strikes), (0, 0), "{direction}");
        }
    }
}

#[test]
fn ephemeral_events_go_round_a_circle_once() {
    let relays = [(); 3].map(|()| TestRelay::start());
    for (at, relay) in relays.iter().enumerate() {
        reload(relay, &mirror(&relays[(at + 1) % 3].url(), "direction = \"both\""));
    }
    relays.iter().for_each(await_live);
    let mut listeners = [0, 1, 2].map(|at| relays[at].connect());
    for listener in &mut listeners {
        listener.request("all", &[json!({})]);
    }
    let sent: Vec<_> = (0..20).map(|number| Person::new(1).event(20_001, NOW + number, &[], "")).collect();
    publish(&relays[0], &sent);
    let last = Person::new(1).note("the last");
    publish(&relays[0], [&last]);
    for (at, listener) in listeners.iter_mut().enumerate() {
        let mut heard = Vec::new();
        while heard.len() < 21 {
            heard.push(id_of(&next_event(listener)));
        }
        let once: std::collections::BTreeSet<String> = heard.iter().cloned().collect();
        assert_eq!(once, ids(sent.iter().chain([&last])), "relay {at}: {heard:?}");
        await_that("they are passed on once", || count(&relays[at], "passed_on") == 20);
    }
}

#[test]
fn a_community_mirrors_another_one_of_the_same_relay() {
    let two = "[[community]]\npath = \"/town\"\n";
    let relay = TestRelay::configured(two);
    publish(&relay, &notes(1, 0..20));
    let keys = "community = \"/town\"\nfilter = '{\"kinds\": [1]}'";
    reload(&relay, &format!("{two}{}", mirror(&relay.url(), keys)));
    let town = relay.relay().communities().at("/town").expect("a community");
    await_that("the town has them", || town.index().len() == 20);
    assert_eq!(relay.connect_at("/town").ids(json!({})).len(), 20);
}
