//! `plaza stats`: the same numbers from a relay that runs and from its store.

use serde_json::{Value, json};

use super::common::{Client, Person};
use super::{PAST, TWO, notes, serve, succeed};

#[test]
fn a_relay_that_runs_and_its_store_say_the_same() {
    let (folder, relay) = serve(TWO);
    let mut client = Client::connect(&relay.url);
    notes(1, 0..30).iter().for_each(|note| client.publish_ok(note));
    notes(2, 0..12).iter().for_each(|note| client.publish_ok(note));
    client.publish_ok(&Person::new(1).event(0, PAST + 500, &[], "{}"));
    Client::connect(&format!("{}/market", relay.url)).publish_ok(&notes(3, 7..8)[0]);

    let of_running: Value = serde_json::from_str(&succeed(&folder, &["stats", "--json"]).data).expect("JSON");
    let [root, market] = [0, 1].map(|at| of_running["communities"][at].clone());
    assert_eq!((&root["path"], &root["events"], &root["authors"]), (&json!("/"), &json!(43), &json!(2)));
    assert_eq!(root["kinds"], json!([[1, 42], [0, 1]]));
    assert_eq!((&root["oldest"], &root["newest"]), (&json!(PAST), &json!(PAST + 500)));
    assert_eq!((&market["path"], &market["events"]), (&json!("/market"), &json!(1)));
    assert_eq!(market["oldest"], json!(PAST + 7));
    let stored: usize = notes(1, 0..30).iter().chain(&notes(2, 0..12)).map(|note| note.content.len()).sum();
    let record_bytes = root["record_bytes"].as_u64().expect("a number") as usize;
    assert!(record_bytes > stored + 43 * 130 && record_bytes < stored + 43 * 220, "{record_bytes}, {stored}");
    assert!(of_running["disk_bytes"].as_u64() > Some(1_000), "{of_running}");
    assert!(root["index_bytes"].as_u64() > Some(43 * 56), "{root}");

    let table = succeed(&folder, &["stats"]).data;
    assert!(table.lines().any(|line| line.starts_with("/ ") && line.contains("43")), "{table}");
    assert!(table.contains("kinds of /: 1: 42, 0: 1") && table.contains("2023-11-14"), "{table}");

    assert_eq!(relay.end("TERM"), 0);
    let of_idle: Value = serde_json::from_str(&succeed(&folder, &["stats", "--json"]).data).expect("JSON");
    for key in ["events", "kinds", "authors", "oldest", "newest", "record_bytes"] {
        assert_eq!(of_idle["communities"][0][key], root[key], "{key}");
    }
    folder.run(&["stats", "--data", "nowhere"]).refused(&["there is no folder nowhere", "--data"]);
}
