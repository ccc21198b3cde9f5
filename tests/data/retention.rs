//! `[retention]`, and a disk that is nearly full: what a relay keeps, what goes, and what it refuses.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use plaza::event::Event;
use serde_json::{Value, json};

use super::common::{Client, Person};
use super::{PAST, notes, serve, succeed};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

/// Notes of a person that were written in the last minutes, a second apart.
fn new_notes(person: u32, count: u64) -> Vec<Event> {
    let (person, now) = (Person::new(person), now());
    (0..count).map(|number| person.event(1, now - 600 + number, &[], &format!("{number}"))).collect()
}

/// Waits until as many events match, and no more nor fewer.
fn await_count(client: &mut Client, filter: &Value, wanted: u64) {
    let start = Instant::now();
    loop {
        let count = client.count(std::slice::from_ref(filter));
        if count == wanted {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{count} match {filter}, {wanted} should");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ids(events: &[Event]) -> Vec<String> {
    let mut ids: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
    ids.reverse();
    ids
}

#[test]
fn what_is_old_goes_and_what_is_protected_stays() {
    let settings = "[rate]\nenabled = false\n[retention]\nage_days_max_by_kind = { \"0-65535\" = 365 }\n\
        [[community]]\npath = \"/market\"\n";
    let (folder, relay) = serve(settings);
    let mut client = Client::connect(&relay.url);
    let mut market = Client::connect(&format!("{}/market", relay.url));
    let profile = Person::new(1).event(0, PAST, &[], "{}");
    client.publish_ok(&profile);
    let new = new_notes(1, 5);
    new.iter().for_each(|note| client.publish_ok(note));
    notes(1, 0..300).iter().for_each(|note| client.publish_ok(note));
    notes(1, 0..30).iter().for_each(|note| market.publish_ok(note));
    await_count(&mut client, &json!({}), 6);
    assert_eq!(client.ids(json!({"kinds": [1]})), ids(&new));
    assert_eq!(market.count(&[json!({})]), 30, "another community has its own bounds");
    assert_eq!(relay.end("TERM"), 0);
    assert!(succeed(&folder, &["verify"]).said("36 events of 2 communities checked, all is well"));
}

#[test]
fn the_oldest_go_when_there_are_too_many() {
    let settings =
        "[rate]\nenabled = false\n[retention]\nevents_max_by_kind = { \"1,6\" = 40 }\nevents_max = 60\n";
    let (folder, relay) = serve(settings);
    let mut client = Client::connect(&relay.url);
    let all = notes(1, 0..100);
    all.iter().rev().for_each(|note| client.publish_ok(note));
    await_count(&mut client, &json!({"kinds": [1]}), 40);
    assert_eq!(client.ids(json!({"kinds": [1]})), ids(&all[60..]));
    for number in 0..50 {
        client.publish_ok(&Person::new(2).event(1_111, PAST + 50 + number, &[], "comment"));
    }
    await_count(&mut client, &json!({}), 60);
    assert_eq!(relay.end("TERM"), 0);
    // Bounds in bytes, on what is there already.
    folder.write("relay.toml", "[retention]\nbytes_max = 10_000\nsweep_events_per_second = 100\n");
    let relay = folder.serve(&[]);
    let start = Instant::now();
    let bytes = loop {
        let stats = succeed(&folder, &["stats", "--json"]).data;
        let stats: Value = serde_json::from_str(&stats).expect("JSON");
        let bytes = stats["communities"][0]["record_bytes"].as_u64().expect("a number");
        if bytes <= 10_000 {
            break bytes;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{stats}");
    };
    assert!(bytes > 9_000, "no more goes than must: {bytes}");
    assert_eq!(relay.end("TERM"), 0);
}

#[test]
fn an_author_who_is_full_is_told_so() {
    let settings = "[rate]\nenabled = false\n[retention]\nevents_per_author_max = 10\n";
    let (_folder, relay) = serve(settings);
    let mut client = Client::connect(&relay.url);
    // All at once: those of one group count as well.
    let all = notes(1, 0..40);
    all.iter().for_each(|note| client.submit(note));
    let answers: Vec<(bool, String)> = all.iter().map(|note| client.answer_to(note)).collect();
    assert_eq!(answers.iter().filter(|(taken, _)| *taken).count(), 10);
    let (_, why) = &answers[39];
    assert!(
        why.starts_with("blocked: you have 10 events here already")
            && why.ends_with("(retention.events_per_author)"),
        "{why}"
    );
    // Who has nothing yet has room; profiles do not count; what is deleted makes room.
    client.publish_ok(&notes(2, 0..1)[0]);
    client.publish_ok(&Person::new(1).event(0, PAST, &[], "{}"));
    let first = all[0].id.to_string();
    client.publish_ok(&Person::new(1).event(5, PAST + 50, &[&["e", &first]], ""));
    client.publish_ok(&notes(1, 50..51)[0]);
    assert!(client.publish_refused(&notes(1, 51..52)[0]).contains("retention.events_per_author"));
    assert_eq!(relay.end("TERM"), 0);
}

#[test]
fn the_oldest_of_an_author_who_is_full_give_way() {
    let settings =
        "[rate]\nenabled = false\n[retention]\nevents_per_author_max = 10\nauthor_full = \"oldest\"\n";
    let (_folder, relay) = serve(settings);
    let mut client = Client::connect(&relay.url);
    let all = notes(1, 0..60);
    all.iter().for_each(|note| client.submit(note));
    all.iter().for_each(|note| assert_eq!(client.answer_to(note), (true, String::new())));
    assert_eq!(client.ids(json!({})), ids(&all[50..]));
    // Versions of one thing take one place.
    let list = |second: u64| Person::new(2).event(10_003, PAST + second, &[], "");
    (0..30).for_each(|second| client.publish_ok(&list(second)));
    let mine = notes(2, 40..49);
    mine.iter().for_each(|note| client.publish_ok(note));
    client.publish_ok(&list(31));
    assert_eq!(client.count(&[json!({"authors": [Person::new(2).hex()]})]), 10);
    // One that would be the oldest itself is not worth a newer one.
    let older = Person::new(1).event(1, PAST - 5, &[], "older than all");
    assert!(client.publish_refused(&older).contains("retention.events_per_author"));
    assert_eq!(relay.end("TERM"), 0);
}

#[test]
fn bytes_of_an_author_are_bounded() {
    let settings = "[rate]\nenabled = false\n[retention]\nbytes_per_author_max = 20_000\n";
    let (folder, relay) = serve(settings);
    let mut client = Client::connect(&relay.url);
    let long = |number: u64| Person::new(1).event(1, PAST + number, &[], &"long ".repeat(400));
    let mut taken = 0;
    let why = loop {
        match client.publish(&long(taken)) {
            (true, _) => taken += 1,
            (false, why) => break why,
        }
    };
    assert_eq!(taken, 9, "of 2,130 bytes each");
    assert!(
        why.starts_with("blocked: your events take ") && why.ends_with("(retention.bytes_per_author)"),
        "{why}"
    );
    client.publish_ok(&Person::new(1).event(1, PAST, &[], "there is room for a short one"));
    assert_eq!(relay.end("TERM"), 0);
    // It is counted again from what is stored.
    let relay = folder.serve(&[]);
    assert!(Client::connect(&relay.url).publish_refused(&long(99)).contains("retention.bytes_per_author"));
    assert_eq!(relay.end("TERM"), 0);
}

#[test]
fn a_disk_that_is_nearly_full_takes_no_more_and_is_still_read() {
    let (folder, relay) = serve("");
    let mut client = Client::connect(&relay.url);
    let note = &notes(1, 0..1)[0];
    client.publish_ok(note);
    assert_eq!(relay.end("TERM"), 0);
    // No disk has a thousand terabytes to spare.
    folder.write("relay.toml", "[store]\ndisk_free_bytes_min = 1_000_000_000_000_000\n");
    let relay = folder.serve(&[]);
    let mut client = Client::connect(&relay.url);
    let why = client.publish_refused(&notes(1, 1..2)[0]);
    assert!(
        why.starts_with("error: the relay's disk is nearly full") && why.ends_with("(store.disk_full)"),
        "{why}"
    );
    assert_eq!(client.publish(note), (true, "duplicate: already have this event".to_owned()));
    assert_eq!(client.ids(json!({})), [note.id.to_string()]);
    client.publish_ok(&Person::new(1).event(20_001, now(), &[], "passes"));
    client.publish_ok(&Person::new(1).event(5, PAST + 9, &[&["e", &note.id.to_string()]], "makes room"));
    assert_eq!(relay.end("TERM"), 0);
    let done = folder.feed(&["import", "-"], &super::common::folder::lines(&notes(3, 0..2)));
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.said("2 refused, error: the relay's disk is nearly full"), "{done:?}");
}
