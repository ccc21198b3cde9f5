//! NIP-77, reconciliation (nips/77.md).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use plaza::event::{Event, Id};
use plaza::nips::nip77::Set;
use serde_json::{Value, json};

use crate::common::{Client, NOW, Person, TestRelay};

/// How long what has to come may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ids that only the client has, ids that only the relay has, and how many messages it took.
type Differences = (BTreeSet<Id>, BTreeSet<Id>, usize);

fn ids(events: &[&Event]) -> BTreeSet<Id> {
    events.iter().map(|event| event.id).collect()
}

fn set(events: &[&Event]) -> plaza::nips::nip77::Sealed {
    let mut set = Set::default();
    events.iter().for_each(|event| set.add(event.created_at, &event.id));
    set.seal()
}

/// What the client says first, in hex.
fn first(events: &[&Event]) -> String {
    hex::encode(set(events).initiate().expect("a first message"))
}

/// Reconciles what a filter finds with these events.
fn reconcile(client: &mut Client, filter: &Value, events: &[&Event]) -> Differences {
    let set = set(events);
    let (mut only_here, mut only_there, mut rounds) = (BTreeSet::new(), BTreeSet::new(), 0);
    client.send(&json!(["NEG-OPEN", "sync", filter, first(events)]));
    loop {
        let answer = client.receive();
        assert_eq!((&answer[0], &answer[1]), (&json!("NEG-MSG"), &json!("sync")), "{answer}");
        let message = hex::decode(answer[2].as_str().expect("hex")).expect("hex");
        let learned = set.learn(&message).expect("it is understood");
        rounds += 1;
        only_here.extend(learned.only_here);
        only_there.extend(learned.only_there);
        let Some(next) = learned.next else { break };
        client.send(&json!(["NEG-MSG", "sync", hex::encode(next)]));
    }
    client.send(&json!(["NEG-CLOSE", "sync"]));
    (only_here, only_there, rounds)
}

/// The answer to a message that must be refused.
fn refused(client: &mut Client, message: &Value) -> Value {
    client.send(message);
    let answer = client.receive();
    assert_eq!((&answer[0], &answer[1]), (&json!("NEG-ERR"), &message[1]), "{answer}");
    answer
}

#[test]
fn both_sides_learn_what_they_lack() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let [ann, bob] = [1, 2].map(Person::new);
    let note = |person: &Person, age: u64, tag: &str| person.event(1, NOW - age, &[&["t", tag]], tag);
    let both = [note(&ann, 1, "both"), note(&bob, 2, "both"), note(&bob, 2, "too")];
    let there = [note(&ann, 3, "there"), note(&bob, 2, "there")];
    let here = [note(&ann, 4, "here"), note(&bob, 2, "here")];
    both.iter().chain(&there).for_each(|event| client.publish_ok(event));
    let mine: Vec<&Event> = both.iter().chain(&here).collect();
    let by = |person: &Person, events: &[&Event]| -> BTreeSet<Id> {
        events.iter().filter(|event| event.pubkey == person.key()).map(|event| event.id).collect()
    };
    let [all_here, all_there] = [[&here[0], &here[1]], [&there[0], &there[1]]];
    let of_ann: Vec<&Event> = mine.iter().copied().filter(|event| event.pubkey == ann.key()).collect();
    for (filter, events, only_here, only_there) in [
        (json!({}), mine.as_slice(), ids(&all_here), ids(&all_there)),
        (json!({"kinds": [1]}), &mine, ids(&all_here), ids(&all_there)),
        (json!({"authors": [ann.hex()]}), &of_ann, by(&ann, &all_here), by(&ann, &all_there)),
        (json!({"kinds": [7]}), &[], BTreeSet::new(), BTreeSet::new()),
        (json!({"#t": ["there"]}), &[], BTreeSet::new(), ids(&all_there)),
        (json!({"limit": 1}), &[&both[0]], BTreeSet::new(), BTreeSet::new()),
        (json!({"ids": [here[0].id.to_string()]}), &[&here[0]], ids(&[&here[0]]), BTreeSet::new()),
    ] {
        let found = reconcile(&mut client, &filter, events);
        assert_eq!((found.0, found.1), (only_here, only_there), "{filter}");
    }
    client.hears_nothing_more();
}

#[test]
fn a_long_answer_comes_in_parts() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let person = Person::new(1);
    let events: Vec<Event> =
        (0..5_000).map(|number| person.event(1, NOW - number % 7, &[], &number.to_string())).collect();
    for some in events.chunks(256) {
        some.iter().for_each(|event| client.submit(event));
        some.iter().for_each(|event| assert!(client.answer_to(event).0));
    }
    let all: Vec<&Event> = events.iter().collect();
    let (here, there, rounds) = reconcile(&mut client, &json!({}), &[]);
    assert_eq!((here, there), (BTreeSet::new(), ids(&all)));
    assert!(rounds > 1, "5,000 ids are more than one answer holds");
    // Where little differs little is said.
    let (here, there, rounds) = reconcile(&mut client, &json!({}), &all[..4_999]);
    assert_eq!((here, there), (BTreeSet::new(), ids(&all[4_999..])));
    assert!(rounds <= 4, "{rounds} messages");
}

#[test]
fn what_may_not_be_read_is_not_found() {
    let relay = TestRelay::start();
    let [ann, bob, eve] = [1, 2, 3].map(Person::new);
    let message = ann.event(4, NOW, &[&["p", &bob.hex()]], "secret");
    let over = ann.event(1, NOW - 5, &[&["expiration", &(NOW + 5).to_string()]], "soon over");
    let mut writer = relay.connect_as(&[&ann]);
    writer.publish_ok(&message);
    writer.publish_ok(&over);
    let found = |client: &mut Client| reconcile(client, &json!({"kinds": [1, 4]}), &[]).1;
    assert_eq!(found(&mut relay.connect()), ids(&[&over]));
    assert_eq!(found(&mut relay.connect_as(&[&eve])), ids(&[&over]));
    assert_eq!(found(&mut relay.connect_as(&[&bob])), ids(&[&over, &message]));
    relay.clock.set(NOW + 6);
    assert_eq!(found(&mut relay.connect_as(&[&ann])), ids(&[&message]));
}

#[test]
fn who_may_not_read_may_not_reconcile() {
    let relay = TestRelay::configured("[access]\nread = \"authenticated\"\n");
    let mut client = relay.connect();
    let open = json!(["NEG-OPEN", "sync", {}, first(&[])]);
    let answer = refused(&mut client, &open);
    assert_eq!(answer[2], "auth-required: log in to read here (access.read)");
    client.authenticate(&Person::new(1), &relay.url(), NOW);
    assert_eq!(reconcile(&mut client, &json!({}), &[]).2, 1);
}

#[test]
fn names_are_a_space_of_their_own_and_a_second_open_takes_the_place_of_the_first() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let notes = [1, 2].map(|number| Person::new(number).note("hello"));
    client.publish_ok(&notes[0]);
    client.request("same", &[json!({"kinds": [1]})]);
    client.send(&json!(["NEG-OPEN", "same", {}, first(&[])]));
    assert_eq!(client.receive()[0], "NEG-MSG");
    client.send(&json!(["NEG-OPEN", "same", {"kinds": [7]}, first(&[])]));
    let answer = client.receive();
    // Nothing is found, so nothing is said but the version.
    assert_eq!(answer, json!(["NEG-MSG", "same", "61000002".to_owned() + "00"]), "{answer}");
    client.send(&json!(["NEG-CLOSE", "same"]));
    // The subscription goes on.
    relay.connect().publish_ok(&notes[1]);
    let event = client.receive();
    assert_eq!((&event[0], &event[1]), (&json!("EVENT"), &json!("same")));
}

#[test]
fn bad_messages_are_told() {
    let relay = TestRelay::with(|config| {
        config.root.nip77.events_max = 3;
        config.root.nip77.per_connection_max = 2;
    });
    let mut client = relay.connect();
    (0..4).for_each(|number| client.publish_ok(&Person::new(number).note("hello")));
    let start = first(&[]);
    let few = json!({"authors": [Person::new(1).hex()]});
    let unknown = "closed: no reconciliation of this name is open; begin with NEG-OPEN (nip77.message)";
    let big = "blocked: this query is too big: more than 3 events; narrow it, such as by since and until \
               (nip77.events_max)";
    let mut long = "x".repeat(65);
    long.truncate(65);
    for (message, said) in [
        (json!(["NEG-MSG", "x", start]), json!(unknown)),
        (json!(["NEG-OPEN", "x", {}, start]), json!(big)),
        (json!(["NEG-MSG", "x", start]), json!(unknown)),
        (
            json!(["NEG-OPEN", "x", few, "6"]),
            json!("invalid: the message must be pairs of hex digits (nip01.message)"),
        ),
        (json!(["NEG-OPEN", "x", few]), json!("invalid: the message lacks a first message (nip01.message)")),
        (
            json!(["NEG-OPEN", "x", few, "00"]),
            json!(
                "invalid: the message is not negentropy's: invalid negentropy protocol version byte (nip77.message)"
            ),
        ),
        (
            json!(["NEG-OPEN", "x", {"kinds": "1"}, start]),
            json!("invalid: kinds must be an array of whole numbers from 0 to 65535 (nip01.message)"),
        ),
        (
            json!(["NEG-OPEN", long, few, start]),
            json!(
                "invalid: a subscription id has 1 to 64 characters, not 65 (limits.subscription_id_chars_max)"
            ),
        ),
    ] {
        let answer = refused(&mut client, &message);
        assert_eq!(answer[2], said, "{message}");
        assert_eq!(answer.get(3), (said == big).then_some(&json!(3)), "how many would be answered");
    }
    // A version that is not spoken here is answered with the one that is.
    client.send(&json!(["NEG-OPEN", "x", few, "62"]));
    assert_eq!(client.receive(), json!(["NEG-MSG", "x", "61"]));
    client.send(&json!(["NEG-OPEN", "y", few, start]));
    assert_eq!(client.receive()[0], "NEG-MSG");
    let answer = refused(&mut client, &json!(["NEG-OPEN", "z", few, start]));
    let said =
        "blocked: 2 reconciliations are open, as many as one connection may have (nip77.per_connection_max)";
    assert_eq!(answer[2], said);
    client.send(&json!(["NEG-CLOSE", "y"]));
    assert_eq!(reconcile(&mut client, &few, &[]).1.len(), 1);
}

#[test]
fn all_together_are_about_no_more_than_they_may_be() {
    let relay = TestRelay::with(|config| {
        config.root.nip77.events_max = 3;
        config.root.limits.reconciled_events_max = 5;
    });
    let [mut one, mut two] = [relay.connect(), relay.connect()];
    (0..3).for_each(|number| one.publish_ok(&Person::new(number).note("hello")));
    let open = json!(["NEG-OPEN", "sync", {}, first(&[])]);
    one.send(&open);
    assert_eq!(one.receive()[0], "NEG-MSG");
    let said = "rate-limited: too many events are being reconciled; try again in a minute \
                (limits.reconciled_events_max)";
    assert_eq!(refused(&mut two, &open)[2], said);
    one.send(&json!(["NEG-CLOSE", "sync"]));
    let began = Instant::now();
    loop {
        two.send(&open);
        let answer = two.receive();
        if answer[0] == "NEG-MSG" {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "room comes free: {answer}");
    }
}

#[test]
fn what_rests_for_too_long_is_ended() {
    let relay = TestRelay::with(|config| {
        config.root.nip77.idle_seconds_max = 1;
        config.server.ping_interval_seconds = 1;
        config.server.ping_timeout_seconds = 1;
    });
    let mut client = relay.connect();
    client.send(&json!(["NEG-OPEN", "sync", {}, first(&[])]));
    assert_eq!(client.receive()[0], "NEG-MSG");
    let said = "closed: you said nothing for 1 seconds (nip77.idle_seconds_max)";
    assert_eq!(client.receive(), json!(["NEG-ERR", "sync", said]));
}

#[test]
fn it_is_offered_where_it_is_enabled() {
    let relay = TestRelay::configured("[nip77]\nenabled = false\n");
    let mut client = relay.connect();
    let answer = refused(&mut client, &json!(["NEG-OPEN", "sync", {}, first(&[])]));
    assert_eq!(answer[2], "blocked: reconciliation is not offered here (nip77.enabled)");
}
