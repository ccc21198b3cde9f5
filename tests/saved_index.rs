//! Starts from a saved index answer as starts from all records do, whatever happened to the file.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::folder::copy;
use common::{NOW, Person, TestRelay};
use serde_json::{Value, json};

/// Everything that anybody may see, and what bears on what may come.
fn answers(relay: &TestRelay) -> Value {
    let mut client = relay.connect();
    let filters = [
        json!({}),
        json!({"kinds": [1]}),
        json!({"kinds": [0, 10_002]}),
        json!({"#t": ["bread"]}),
        json!({"#d": ["7"], "kinds": [30_023]}),
        json!({"authors": [Person::new(2).hex()]}),
        json!({"#e": [Person::new(1).note("note 1").id.to_string()]}),
        json!({"until": NOW + 40, "limit": 10}),
    ];
    let found: Vec<Vec<String>> = filters.iter().map(|filter| client.ids(filter.clone())).collect();
    let counts: Vec<u64> = filters.iter().map(|filter| client.count(std::slice::from_ref(filter))).collect();
    json!({ "found": found, "counts": counts, "stored": relay.stored() })
}

/// Notes, lists, articles, some deleted, replaced, expiring or vanished; `round` makes them others.
fn live(relay: &TestRelay, round: u32) {
    let mut client = relay.connect();
    for number in 0..60 {
        let person = Person::new(1 + number % 3);
        let at = NOW + u64::from(round * 100 + number);
        let text = format!("note {}", round * 1_000 + number);
        let expires = (NOW + 150 + u64::from(number)).to_string();
        let d = (number % 9).to_string();
        let event = match number % 6 {
            0 => person.event(0, at, &[], &text),
            1 => person.event(30_023, at, &[&["d", &d], &["t", "bread"]], &text),
            2 => person.event(1, at, &[&["expiration", &expires]], &text),
            3 => person.event(10_002, at, &[&["r", "wss://a.example/"]], &text),
            _ => person.event(1, at, &[&["t", "bread"]], &text),
        };
        client.publish_ok(&event);
        if number % 12 == 4 {
            let id = event.id.to_string();
            client.publish_ok(&person.event(5, at, &[&["e", &id]], ""));
        }
    }
    let gone = Person::new(50 + round);
    client.publish_ok(&gone.note("here"));
    client.publish_ok(&gone.event(62, NOW + 1, &[&["relay", "ALL_RELAYS"]], ""));
}

fn snapshots(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data.join("index")).map(|entries| entries.flatten().collect::<Vec<_>>());
    entries.unwrap_or_default().into_iter().map(|entry| entry.path()).collect()
}

#[test]
fn a_start_takes_the_saved_index_and_what_came_since() {
    let mut relay = TestRelay::start();
    live(&relay, 0);
    let before = answers(&relay);
    relay.restart();
    assert_eq!(answers(&relay), before);
    assert_eq!(relay.relay().community().caught_up_with, 0, "all of it was saved at the stop");
    assert_eq!(snapshots(relay.data()).len(), 1, "one file, and none that is left over");
    for round in 1..4 {
        live(&relay, round);
        relay.relay().sweep_now();
        let before = answers(&relay);
        relay.restart();
        assert_eq!(answers(&relay), before, "round {round}");
    }
}

#[test]
fn what_cannot_be_used_is_built_from_the_store() {
    type Harm = fn(&Path);
    let table: [(&str, Harm); 6] = [
        ("nothing", |_| {}),
        ("the file is gone", |path| fs::remove_file(path).expect("a file")),
        ("the file is cut", |path| {
            let bytes = fs::read(path).expect("a file");
            fs::write(path, &bytes[..bytes.len() / 2]).expect("a file");
        }),
        ("a bit is flipped", |path| {
            let mut bytes = fs::read(path).expect("a file");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 8;
            fs::write(path, bytes).expect("a file");
        }),
        ("it is empty", |path| fs::write(path, []).expect("a file")),
        ("it is something else", |path| fs::write(path, "not an index ".repeat(1_000)).expect("a file")),
    ];
    for (name, harm) in table {
        let mut relay = TestRelay::start();
        live(&relay, 0);
        let before = answers(&relay);
        relay.stop();
        let [path] = &snapshots(relay.data())[..] else { panic!("{name}: there is one snapshot") };
        harm(path);
        relay.restart();
        assert_eq!(answers(&relay), before, "{name}");
        let was_built = relay.relay().community().caught_up_with > 0;
        assert_eq!(was_built, name != "nothing", "{name}");
        live(&relay, 1);
        let before = answers(&relay);
        relay.restart();
        assert_eq!(answers(&relay), before, "{name}, and once more");
    }
}

#[test]
fn another_state_of_the_store_does_not_take_a_later_index_for_its_own() {
    let mut relay = TestRelay::start();
    live(&relay, 0);
    relay.stop();
    let saved = tempfile::tempdir().expect("a folder");
    copy(relay.data(), saved.path());
    relay.restart();
    live(&relay, 1);
    relay.stop();
    let later = snapshots(relay.data());
    // A backup of the store is put back, but the index files of later stay beside it.
    for path in &later {
        fs::copy(path, saved.path().join("index").join(path.file_name().expect("a name"))).expect("a copy");
    }
    fs::remove_dir_all(relay.data()).expect("a folder");
    copy(saved.path(), relay.data());
    relay.restart();
    let first = answers(&relay);
    for path in snapshots(relay.data()) {
        fs::remove_file(path).expect("a file");
    }
    relay.restart();
    assert_eq!(answers(&relay), first, "as built from all records");
}

#[test]
fn another_setting_of_place_filters_builds_the_index_anew() {
    let mut relay = TestRelay::start();
    let mut client = relay.connect();
    let note = Person::new(1).event(1, NOW, &[&["g", "u33db"]], "here");
    client.publish_ok(&note);
    live(&relay, 0);
    relay.reconfigure("[geohash]\nprefix_filters = true\n");
    assert!(relay.relay().community().caught_up_with > 0);
    assert_eq!(relay.connect().ids(json!({"#g": ["u33*"]})), [note.id.to_string()]);
}
