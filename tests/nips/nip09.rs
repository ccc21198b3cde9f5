//! NIP-09, deletion requests (nips/09.md).

use serde_json::json;

use crate::common::{Client, NOW, Person, TestRelay, ids_of, json_of};
use plaza::event::Event;

const DELETED: &str = "blocked: its deletion was asked for by who may (nip09.deleted)";

/// A request of now that names these events.
fn request(person: &Person, events: &[&Event]) -> Event {
    let ids = ids_of(events);
    let tags: Vec<[&str; 2]> = ids.iter().map(|id| ["e", id]).collect();
    person.sign(5, NOW, tags.iter().collect(), "by accident")
}

/// A request that names this address.
fn address_request(person: &Person, created_at: u64, address: &str) -> Event {
    person.event(5, created_at, &[&["a", address]], "")
}

/// Which of these events are stored and shown.
fn shown(client: &mut Client, events: &[&Event]) -> Vec<String> {
    let found = client.ids(json!({"ids": ids_of(events)}));
    assert_eq!(client.count(&[json!({"ids": ids_of(events)})]), found.len() as u64);
    ids_of(events).into_iter().filter(|id| found.contains(id)).collect()
}

#[test]
fn notes_and_their_deletions_take_effect_in_the_order_in_which_they_were_sent() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect();
    let mut sent = Vec::new();
    for number in 0..100 {
        let note = author.note(&format!("note {number}"));
        let deletion = author.event(5, NOW, &[&["e", &note.id.to_string()]], "");
        sent.extend([note, deletion]);
    }
    sent.iter().for_each(|event| client.submit(event));
    for event in &sent {
        assert_eq!(client.answer_to(event), (true, String::new()), "{}", json_of(event));
    }
    assert_eq!(client.count(&[json!({"kinds": [1]})]), 0);
}

#[test]
fn ones_own_events_are_gone_and_the_request_is_served() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect_as(&[&author]);
    let events = [1, 4, 7, 0, 10_002, 30_023, 40_000].map(|kind| author.event(kind, NOW, &[], "gone"));
    let kept = author.event(1, NOW, &[], "kept");
    events.iter().for_each(|event| client.publish_ok(event));
    client.publish_ok(&kept);
    let named: Vec<&Event> = events.iter().collect();
    let request = request(&author, &named);
    let mut listener = relay.connect();
    listener.request("s", &[json!({"kinds": [5]})]);
    client.publish_ok(&request);
    assert_eq!(shown(&mut client, &named), [""; 0]);
    assert_eq!(shown(&mut client, &[&kept, &request]), ids_of(&[&kept, &request]));
    assert_eq!(client.ids(json!({"#e": [events[0].id.to_string()]})), ids_of(&[&request]));
    assert_eq!(relay.heard_by(&mut listener), [("s".to_owned(), request.id.to_string())]);
    assert_eq!(relay.stored(), 2);
}

#[test]
fn what_was_deleted_does_not_come_back() {
    let mut relay = TestRelay::start();
    let author = Person::new(1);
    let events = [1, 0, 30_023].map(|kind| author.event(kind, NOW, &[], ""));
    let named: Vec<&Event> = events.iter().collect();
    let mut client = relay.connect();
    named.iter().for_each(|event| client.publish_ok(event));
    client.publish_ok(&request(&author, &named));
    for _ in 0..2 {
        let mut client = relay.connect();
        for event in &named {
            assert_eq!(client.publish_refused(event), DELETED, "kind {}", event.kind);
        }
        assert_eq!(shown(&mut client, &named), [""; 0]);
        assert_eq!(client.count(&[json!({"kinds": [5]})]), 1);
        drop(client);
        relay.restart();
    }
}

#[test]
fn a_request_that_comes_first_holds_for_events_that_come_later() {
    let relay = TestRelay::start();
    let (author, other) = (Person::new(1), Person::new(2));
    let mut client = relay.connect();
    let (note, article) = (author.note(""), author.event(30_023, NOW, &[&["d", "x"]], ""));
    let others = other.note("not the requester's");
    client.publish_ok(&request(&author, &[&note, &others]));
    client.publish_ok(&address_request(&author, NOW, &format!("30023:{}:x", author.hex())));
    assert_eq!(client.publish_refused(&note), DELETED);
    assert_eq!(client.publish_refused(&article), DELETED);
    client.publish_ok(&others);
    assert_eq!(shown(&mut client, &[&note, &article, &others]), ids_of(&[&others]));
}

#[test]
fn a_request_holds_for_named_events_that_are_younger_than_itself() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect();
    let [there, later] = ["there", "later"].map(|text| author.event(1, NOW, &[], text));
    client.publish_ok(&there);
    let ids = ids_of(&[&there, &later]);
    client.publish_ok(&author.event(5, NOW - 1_000, &[&["e", &ids[0]], &["e", &ids[1]]], ""));
    assert_eq!(client.publish_refused(&later), DELETED);
    assert_eq!(shown(&mut client, &[&there, &later]), [""; 0]);
}

#[test]
fn anothers_event_stays_and_the_rest_of_the_request_is_followed() {
    let relay = TestRelay::start();
    let (author, other) = (Person::new(1), Person::new(2));
    let mut client = relay.connect();
    let events =
        [author.note(""), other.note(""), author.event(0, NOW, &[], ""), other.event(0, NOW, &[], "")];
    events.iter().for_each(|event| client.publish_ok(event));
    let [note, others_note, profile, others_profile] = &events;
    let request = request(&author, &[others_note, note, others_profile, profile]);
    client.publish_ok(&request);
    let all = [note, others_note, profile, others_profile, &request];
    assert_eq!(shown(&mut client, &all), ids_of(&[others_note, others_profile, &request]));
    assert_eq!(client.publish(others_note), (true, "duplicate: already have this event".to_owned()));
}

#[test]
fn names_that_are_no_ids_or_addresses_do_no_harm() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect();
    let (note, key) = (author.note(""), author.hex());
    client.publish_ok(&note);
    let id = note.id.to_string();
    let tags: &[&[&str]] = &[
        &["e"],
        &["e", ""],
        &["e", "abc"],
        &["e", &id[..63]],
        &["e", &id.to_uppercase()],
        &["E", &id],
        &["q", &id],
        &["a", &id],
        &["a", &format!("1:{key}:")],
        &["a", "::"],
        &["a", &format!("99999:{key}:")],
        &["e", &"0".repeat(64), &id],
        &["k", "1"],
    ];
    let request = author.event(5, NOW, tags, "");
    client.publish_ok(&request);
    assert_eq!(shown(&mut client, &[&note, &request]), ids_of(&[&note, &request]));
    client.publish_ok(&author.note("another"));
}

#[test]
fn an_address_takes_all_versions_up_to_the_requests_time() {
    let key = Person::new(1).hex();
    let table: [(u16, &[&[&str]], String); 9] = [
        (0, &[], format!("0:{key}:")),
        (3, &[], format!("3:{key}:")),
        (10_002, &[&["d", "ignored"]], format!("10002:{key}:")),
        (30_023, &[], format!("30023:{key}:")),
        (30_023, &[&["d", ""]], format!("30023:{key}:")),
        (30_023, &[&["d", "x"]], format!("30023:{key}:x")),
        (30_023, &[&["d", "x"], &["d", "y"]], format!("30023:{key}:x")),
        (30_023, &[&["d", "a:b::c:"]], format!("30023:{key}:a:b::c:")),
        (39_999, &[&["d", " ü "]], format!("39999:{key}: ü ")),
    ];
    for (kind, tags, address) in table {
        let relay = TestRelay::start();
        let author = Person::new(1);
        let mut client = relay.connect();
        let version = |time, text: &str| author.event(kind, time, tags, text);
        let [stored, at, after] =
            [(NOW - 11, "stored"), (NOW - 10, "at"), (NOW - 9, "after")].map(|(t, x)| version(t, x));
        client.publish_ok(&stored);
        client.publish_ok(&address_request(&author, NOW - 10, &address));
        assert_eq!(shown(&mut client, &[&stored]), [""; 0], "{address}");
        for event in [&stored, &at, &version(NOW - 12, "older")] {
            assert_eq!(client.publish_refused(event), DELETED, "{address}");
        }
        client.publish_ok(&after);
        assert_eq!(shown(&mut client, &[&stored, &at, &after]), ids_of(&[&after]), "{address}");
    }
}

#[test]
fn a_version_later_than_the_request_stays() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect();
    let article = author.event(30_023, NOW, &[&["d", "x"]], "");
    let address = format!("30023:{}:x", author.hex());
    client.publish_ok(&article);
    client.publish_ok(&address_request(&author, NOW - 1, &address));
    assert_eq!(shown(&mut client, &[&article]), ids_of(&[&article]));
    client.publish_ok(&address_request(&author, NOW, &address));
    assert_eq!(shown(&mut client, &[&article]), [""; 0]);
}

#[test]
fn an_address_names_one_author_kind_and_d() {
    let relay = TestRelay::start();
    let (author, other) = (Person::new(1), Person::new(2));
    let mut client = relay.connect();
    let named = author.event(30_023, NOW, &[&["d", "x"]], "");
    let kept = [
        other.event(30_023, NOW, &[&["d", "x"]], ""),
        author.event(30_023, NOW, &[&["d", "X"]], ""),
        author.event(30_023, NOW, &[&["d", ""]], ""),
        author.event(30_024, NOW, &[&["d", "x"]], ""),
        author.event(1, NOW, &[&["d", "x"]], ""),
    ];
    client.publish_ok(&named);
    kept.iter().for_each(|event| client.publish_ok(event));
    client.publish_ok(&address_request(&author, NOW, &format!("30023:{}:x", author.hex())));
    // Nor does another's request for the address of the first do anything.
    client.publish_ok(&address_request(&other, NOW, &format!("30023:{}:", author.hex())));
    let all: Vec<&Event> = std::iter::once(&named).chain(&kept).collect();
    assert_eq!(shown(&mut client, &all), ids_of(&kept.iter().collect::<Vec<_>>()));
}

#[test]
fn an_address_written_in_another_way_names_nothing() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect();
    let article = author.event(30_023, NOW, &[&["d", "x"]], "");
    client.publish_ok(&article);
    let key = author.hex();
    for address in [
        format!("030023:{key}:x"),
        format!("+30023:{key}:x"),
        format!(" 30023:{key}:x"),
        format!("30023:{}:x", key.to_uppercase()),
        format!("30023:{key}"),
        format!("30023:{key}:x:"),
    ] {
        client.publish_ok(&address_request(&author, NOW, &address));
        assert_eq!(shown(&mut client, &[&article]), ids_of(&[&article]), "{address}");
    }
}

#[test]
fn deleting_a_deletion_does_nothing() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect();
    let note = author.note("");
    client.publish_ok(&note);
    let deletion = request(&author, &[&note]);
    client.publish_ok(&deletion);
    let undo = request(&author, &[&deletion]);
    client.publish_ok(&undo);
    assert_eq!(shown(&mut client, &[&note, &deletion, &undo]), ids_of(&[&deletion, &undo]));
    assert_eq!(client.publish_refused(&note), DELETED);
    assert_eq!(client.publish(&deletion), (true, "duplicate: already have this event".to_owned()));
    // Nor when it comes first.
    let (note, other) = (author.note("other"), TestRelay::start());
    let deletion = request(&author, &[&note]);
    let mut client = other.connect();
    client.publish_ok(&request(&author, &[&deletion]));
    client.publish_ok(&deletion);
    assert_eq!(client.publish_refused(&note), DELETED);
}

#[test]
fn a_request_to_vanish_cannot_be_deleted() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect();
    let vanish = author.event(62, NOW - 10, &[&["relay", "ALL_RELAYS"]], "");
    client.publish_ok(&vanish);
    client.publish_ok(&request(&author, &[&vanish]));
    assert_eq!(shown(&mut client, &[&vanish]), ids_of(&[&vanish]));
}

#[test]
fn a_recipient_deletes_a_wrap_and_a_stranger_cannot() {
    let relay = TestRelay::start();
    let (sender, recipient, stranger) = (Person::new(1), Person::new(2), Person::new(3));
    let mut client = relay.connect_as(&[&recipient]);
    let wrap = |text: &str| sender.event(1_059, NOW, &[&["p", &recipient.hex()]], text);
    let [stored, later, senders, others] = ["stored", "later", "the sender's wish", "others'"].map(wrap);
    client.publish_ok(&stored);
    client.publish_ok(&senders);
    client.publish_ok(&request(&stranger, &[&stored, &others]));
    client.publish_ok(&others);
    assert_eq!(shown(&mut client, &[&stored, &others]), ids_of(&[&stored, &others]));
    client.publish_ok(&request(&recipient, &[&stored, &later]));
    client.publish_ok(&request(&sender, &[&senders]));
    for gone in [&stored, &later, &senders] {
        assert_eq!(client.publish_refused(gone), DELETED);
    }
    assert_eq!(shown(&mut client, &[&stored, &later, &senders, &others]), ids_of(&[&others]));
}

#[test]
fn of_other_kinds_a_mentioned_person_deletes_nothing() {
    let relay = TestRelay::start();
    let (author, mentioned) = (Person::new(1), Person::new(2));
    let mut client = relay.connect_as(&[&author]);
    let events = [1, 4, 7, 13, 30_023].map(|kind| author.event(kind, NOW, &[&["p", &mentioned.hex()]], ""));
    let all: Vec<&Event> = events.iter().collect();
    all.iter().for_each(|event| client.publish_ok(event));
    client.publish_ok(&request(&mentioned, &all));
    assert_eq!(shown(&mut client, &all), ids_of(&all));
}

#[test]
fn an_expired_request_is_hidden_and_what_it_deleted_stays_away() {
    let mut relay = TestRelay::start();
    let author = Person::new(1);
    let note = author.note("");
    let deletion =
        author.event(5, NOW, &[&["e", &note.id.to_string()], &["expiration", &(NOW + 10).to_string()]], "");
    let mut client = relay.connect();
    client.publish_ok(&note);
    client.publish_ok(&deletion);
    assert_eq!(shown(&mut client, &[&note, &deletion]), ids_of(&[&deletion]));
    relay.clock.set(NOW + 10);
    relay.relay().sweep_now();
    drop(client);
    for _ in 0..2 {
        let mut client = relay.connect();
        assert_eq!(shown(&mut client, &[&note, &deletion]), [""; 0]);
        assert_eq!(client.publish_refused(&note), DELETED);
        drop(client);
        relay.restart();
    }
}

#[test]
fn requests_and_events_sent_in_one_go_are_followed_in_their_order() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect();
    let events: Vec<Event> = (0..40).map(|number| author.note(&format!("{number}"))).collect();
    let requests: Vec<Event> = events.iter().map(|event| request(&author, &[event])).collect();
    for (event, request) in events.iter().zip(&requests) {
        client.submit(event);
        client.submit(request);
        client.submit(event);
    }
    let mut refused = 0;
    for _ in 0..3 * events.len() {
        let answer = client.receive();
        assert_eq!(answer[0], "OK");
        refused += u32::from(answer[2] == false);
        assert!(answer[2] == true || answer[3] == DELETED, "{answer}");
    }
    // Which of a note and its request is verified first is open; that none of the notes stays is not.
    assert!(refused <= 2 * events.len() as u32, "{refused}");
    assert_eq!(client.ids(json!({"kinds": [1]})), [""; 0]);
    assert_eq!(client.count(&[json!({"kinds": [5]})]), events.len() as u64);
}
