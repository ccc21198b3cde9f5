//! `limits.live_delay_milliseconds_max`: new events wait for each other on their way to who listens. None is late, lost,
//! doubled or out of order, and talk does not wait.

use std::time::{Duration, Instant};

use plaza::event::Event;
use serde_json::json;

use crate::common::{Client, NOW, Person, TestRelay, id_of, ids_of};

/// As long as can be: whatever comes sooner was not waited for.
const DELAY: Duration = Duration::from_millis(1_000);

/// How often something is tried that a machine may be too slow for.
const TRIES: usize = 20;

/// At `/` events wait, at `/prompt` they do not.
fn town() -> TestRelay {
    TestRelay::configured(
        "[limits]\nlive_delay_milliseconds_max = 1_000\n[[community]]\npath = \"/prompt\"\n\
         [community.limits]\nlive_delay_milliseconds_max = 0\n",
    )
}

fn listener(relay: &TestRelay, path: &str) -> Client {
    let mut client = relay.connect_at(path);
    assert_eq!(client.request("live", &[json!({"authors": [Person::new(1).hex()], "limit": 0})]).0.len(), 0);
    client
}

fn note(number: usize) -> Event {
    Person::new(1).event(1, NOW, &[], &format!("note {number}"))
}

fn talk(number: usize) -> Event {
    Person::new(1).event(20_000, NOW, &[], &format!("talk {number}"))
}

/// The next events that a client is sent live.
fn heard(client: &mut Client, count: usize) -> Vec<String> {
    let mut next = || {
        let message = client.receive();
        assert_eq!((&message[0], &message[1]), (&json!("EVENT"), &json!("live")), "{message}");
        id_of(&message[2])
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn an_event_that_comes_alone_waits_as_long_as_the_setting_says() {
    let relay = town();
    let (mut listener, mut author) = (listener(&relay, "/"), relay.connect());
    let sent = Instant::now();
    author.publish_ok(&note(0));
    author.publish_ok(&note(1));
    assert_eq!(heard(&mut listener, 2), ids_of(&[&note(0), &note(1)]));
    assert!(sent.elapsed() >= DELAY, "{:?}", sent.elapsed());
}

#[test]
fn talk_takes_along_what_waits() {
    let relay = town();
    let (mut listener, mut author) = (listener(&relay, "/"), relay.connect());
    let is_prompt = (0..TRIES).any(|number| {
        let sent = Instant::now();
        author.publish_ok(&note(number));
        author.publish_ok(&talk(number));
        assert_eq!(
            heard(&mut listener, 2),
            ids_of(&[&note(number), &talk(number)]),
            "in the order of arrival"
        );
        sent.elapsed() < DELAY
    });
    assert!(is_prompt);
}

#[test]
fn each_community_has_its_own_delay() {
    let relay = town();
    let (mut patient, mut prompt) = (listener(&relay, "/"), listener(&relay, "/prompt"));
    let (mut author, mut other) = (relay.connect(), relay.connect_at("/prompt"));
    let is_prompt = (0..TRIES).any(|number| {
        let sent = Instant::now();
        author.publish_ok(&note(number));
        other.publish_ok(&note(number));
        assert_eq!(heard(&mut prompt, 1), ids_of(&[&note(number)]));
        let waited = sent.elapsed();
        assert_eq!(heard(&mut patient, 1), ids_of(&[&note(number)]));
        assert!(sent.elapsed() >= DELAY);
        waited < DELAY
    });
    assert!(is_prompt);
}

#[test]
fn who_asks_meanwhile_is_given_what_waits_once() {
    let relay = town();
    let (mut early, mut author) = (listener(&relay, "/"), relay.connect());
    author.publish_ok(&note(0));
    let mut late = relay.connect();
    assert_eq!(late.request("live", &[json!({"kinds": [1, 20_000]})]).0, ids_of(&[&note(0)]));
    author.publish_ok(&note(1));
    author.publish_ok(&talk(0));
    assert_eq!(heard(&mut late, 2), ids_of(&[&note(1), &talk(0)]));
    assert_eq!(heard(&mut early, 3), ids_of(&[&note(0), &note(1), &talk(0)]));
    late.hears_nothing_more();
    early.hears_nothing_more();
}

#[test]
fn more_than_may_gather_all_come_in_order() {
    let relay = town();
    let (mut listener, mut author) = (listener(&relay, "/"), relay.connect());
    let notes: Vec<Event> = (0..1_500).map(note).collect();
    std::thread::scope(|scope| {
        let listening = scope.spawn(|| heard(&mut listener, notes.len()));
        for some in notes.chunks(100) {
            some.iter().for_each(|note| author.submit(note));
            // Answers may overtake each other; the events do not.
            some.iter().for_each(|_| assert_eq!(author.receive()[2], json!(true)));
        }
        assert_eq!(listening.join().expect("it hears"), ids_of(&notes.iter().collect::<Vec<_>>()));
    });
}

#[test]
fn what_waits_when_the_relay_stops_is_stored() {
    let mut relay = town();
    relay.connect().publish_ok(&note(0));
    relay.restart();
    assert_eq!(relay.connect().ids(json!({"kinds": [1]})), ids_of(&[&note(0)]));
}
