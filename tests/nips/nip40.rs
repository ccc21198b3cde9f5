//! NIP-40, expiration (nips/40.md).

use serde_json::json;

use crate::common::{NOW, Person, TestRelay, ids_of, json_of};
use plaza::event::Event;

const EXPIRED: &str = "invalid: the event has expired (nip40.expired)";

fn expiring(kind: u16, created_at: u64, expiration: u64) -> Event {
    Person::new(1).event(kind, created_at, &[&["expiration", &expiration.to_string()]], "")
}

#[test]
fn on_arrival_an_event_is_refused_from_its_second_on() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    for (expiration, why) in [(0, EXPIRED), (NOW - 1, EXPIRED), (NOW, EXPIRED), (NOW + 1, ""), (u64::MAX, "")]
    {
        let answer = client.publish(&expiring(1, NOW, expiration));
        assert_eq!(answer, (why.is_empty(), why.to_owned()), "{expiration}");
    }
    // The clock decides, not created_at.
    relay.clock.set(NOW + 100);
    assert_eq!(client.publish_refused(&expiring(1, NOW, NOW + 99)), EXPIRED);
    assert_eq!(client.publish_refused(&expiring(1, NOW, NOW + 100)), EXPIRED);
    client.publish_ok(&expiring(1, NOW, NOW + 101));
}

#[test]
fn an_expiration_that_is_no_number_is_refused() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let table: [&[&str]; 9] = [
        &["expiration"],
        &["expiration", ""],
        &["expiration", "soon"],
        &["expiration", "-1"],
        &["expiration", "1.5"],
        &["expiration", "1e10"],
        &["expiration", " 1890000000"],
        &["expiration", "99999999999999999999"],
        &["expiration", "", "1890000000"],
    ];
    for tag in table {
        assert_eq!(
            client.publish_refused(&Person::new(1).event(1, NOW, &[tag], "")),
            "invalid: the expiration tag must hold a whole number of seconds since 1970 (nip40.expired)",
            "{tag:?}"
        );
    }
    assert_eq!(relay.stored(), 0);
}

#[test]
fn of_several_expirations_the_first_counts() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let (soon, late) = ((NOW + 1).to_string(), (NOW + 100).to_string());
    let event = Person::new(1).event(1, NOW, &[&["expiration", &soon], &["expiration", &late]], "");
    client.publish_ok(&event);
    relay.clock.set(NOW + 1);
    assert_eq!(client.ids(json!({"kinds": [1]})), [""; 0]);
}

#[test]
fn stored_events_are_neither_sent_nor_counted_from_their_second_on() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let kept = Person::new(1).event(1, NOW - 1, &[], "");
    let events = [expiring(1, NOW, NOW + 10), expiring(0, NOW, NOW + 10), expiring(30_023, NOW, NOW + 10)];
    client.publish_ok(&kept);
    events.iter().for_each(|event| client.publish_ok(event));
    let mut all: Vec<&Event> = events.iter().collect();
    all.sort_by_key(|event| event.id);
    all.push(&kept);
    let filters = [
        json!({}),
        json!({"ids": ids_of(&all)}),
        json!({"authors": [Person::new(1).hex()]}),
        json!({"kinds": [0, 1, 30_023]}),
        json!({"since": NOW - 1}),
    ];
    for (time, found) in
        [(NOW + 9, ids_of(&all)), (NOW + 10, ids_of(&[&kept])), (NOW + 1_000, ids_of(&[&kept]))]
    {
        relay.clock.set(time);
        for filter in &filters {
            let answer = client.request("s", std::slice::from_ref(filter));
            assert_eq!(answer, (found.clone(), "finish".to_owned()), "{filter} at {time}");
            assert_eq!(client.count(std::slice::from_ref(filter)), found.len() as u64, "{filter} at {time}");
        }
    }
}

#[test]
fn live_an_event_is_sent_before_its_second_and_refused_after() {
    let relay = TestRelay::start();
    let (mut speaker, mut listener) = (relay.connect(), relay.connect());
    listener.request("s", &[json!({"kinds": [1]})]);
    let event = expiring(1, NOW, NOW + 1);
    speaker.publish_ok(&event);
    assert_eq!(listener.receive(), json!(["EVENT", "s", json_of(&event)]));
    relay.clock.set(NOW + 1);
    speaker.publish_refused(&event);
    speaker.publish_refused(&expiring(1, NOW - 1, NOW + 1));
    assert_eq!(relay.heard_by(&mut listener), []);
}

#[test]
fn what_has_expired_is_swept_from_disk() {
    let mut relay = TestRelay::start();
    let mut client = relay.connect();
    let kept = Person::new(1).note("kept");
    let later = expiring(1, NOW, NOW + 11);
    client.publish_ok(&kept);
    client.publish_ok(&later);
    for number in 0..50 {
        client.publish_ok(&expiring(1, NOW - number, NOW + 10));
    }
    relay.clock.set(NOW + 10);
    relay.relay().sweep_now();
    assert_eq!(relay.stored(), 2);
    // Were they still on disk they would be seen again, at a time when they had not expired.
    drop(client);
    relay.clock.set(NOW);
    relay.restart();
    assert_eq!(relay.stored(), 2);
    let mut found = relay.connect().ids(json!({}));
    found.sort();
    let mut wanted = ids_of(&[&kept, &later]);
    wanted.sort();
    assert_eq!(found, wanted);
}

#[test]
fn expirations_are_known_after_a_restart() {
    let mut relay = TestRelay::start();
    let event = expiring(1, NOW, NOW + 10);
    relay.connect().publish_ok(&event);
    relay.restart();
    assert_eq!(relay.connect().ids(json!({"kinds": [1]})), ids_of(&[&event]));
    relay.clock.set(NOW + 10);
    assert_eq!(relay.connect().ids(json!({"kinds": [1]})), [""; 0]);
    relay.relay().sweep_now();
    assert_eq!(relay.stored(), 0);
}

#[test]
fn ephemeral_events_are_not_affected() {
    let relay = TestRelay::start();
    let (mut speaker, mut listener) = (relay.connect(), relay.connect());
    listener.request("s", &[json!({"kinds": [20_000]})]);
    for value in ["0", &NOW.to_string(), "never", ""] {
        let event = Person::new(1).event(20_000, NOW, &[&["expiration", value]], "");
        speaker.publish_ok(&event);
        assert_eq!(listener.receive(), json!(["EVENT", "s", json_of(&event)]), "{value}");
    }
}

#[test]
fn a_newer_version_takes_the_place_of_an_expired_one() {
    for sweeps in [false, true] {
        for kind in [0, 30_023] {
            let relay = TestRelay::start();
            let mut client = relay.connect();
            client.publish_ok(&expiring(kind, NOW, NOW + 10));
            relay.clock.set(NOW + 10);
            if sweeps {
                relay.relay().sweep_now();
            }
            let new = Person::new(1).event(kind, NOW + 10, &[], "new");
            client.publish_ok(&new);
            relay.relay().sweep_now();
            assert_eq!(client.ids(json!({"kinds": [kind]})), ids_of(&[&new]));
            assert_eq!(relay.stored(), 1);
        }
    }
}

#[test]
fn an_expired_copy_is_refused_as_expired() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let event = expiring(1, NOW, NOW + 10);
    client.publish_ok(&event);
    assert_eq!(client.publish(&event), (true, "duplicate: already have this event".to_owned()));
    relay.clock.set(NOW + 10);
    assert_eq!(client.publish_refused(&event), EXPIRED);
}
