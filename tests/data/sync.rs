//! `plaza sync`: the store and a relay, and two relays, come to have the same events.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;

use plaza::event::Event;
use serde_json::{Value, json};

use super::common::authority::{Authority, NAME};
use super::common::folder::Folder;
use super::common::{Client, Person, TestRelay};
use super::{PAST, notes, serve, succeed};

/// Ids of what a relay shows.
fn shown(url: &str) -> BTreeSet<String> {
    Client::connect(url).ids(json!({"limit": 5_000})).into_iter().collect()
}

/// Ids of what a folder holds.
fn held(folder: &Folder) -> BTreeSet<String> {
    let exported = folder.export(&[]);
    let id = |line: &str| -> String {
        let event: Value = serde_json::from_str(line).expect("JSON");
        event["id"].as_str().expect("an id").to_owned()
    };
    exported.lines().map(id).collect()
}

fn ids<'e>(events: impl IntoIterator<Item = &'e Event>) -> BTreeSet<String> {
    events.into_iter().map(|event| event.id.to_string()).collect()
}

/// A folder with a store of these.
fn stocked(events: &[Event]) -> Folder {
    let folder = Folder::new();
    folder.stock(events);
    folder
}

/// A relay with these, without bounds on rates.
fn relay_with(events: &[Event], settings: &str) -> (Folder, super::Serving) {
    let (folder, relay) = serve(&format!("{settings}\n[rate]\nenabled = false\n"));
    let mut client = Client::connect(&relay.url);
    events.iter().for_each(|event| client.publish_ok(event));
    (folder, relay)
}

#[test]
fn each_way_brings_what_the_other_side_lacks() {
    let (both, here, there) = (notes(1, 0..200), notes(2, 0..40), notes(3, 0..700));
    let of = |parts: &[&[Event]]| -> Vec<Event> { parts.concat() };
    for (direction, comes, goes) in [("down", true, false), ("up", false, true), ("both", true, true)] {
        let folder = stocked(&of(&[&both, &here]));
        let (_other, relay) = relay_with(&of(&[&both, &there]), "");
        let done = succeed(&folder, &["sync", &relay.url, "--dir", direction]);
        assert_eq!(done.said("700 events stored, 0 were there already"), comes, "{done:?}");
        assert_eq!(done.said("40 events stored, 0 were there already"), goes, "{done:?}");
        let all = ids(both.iter().chain(&here).chain(&there));
        let without = |missing: &[Event]| all.difference(&ids(missing)).cloned().collect::<BTreeSet<_>>();
        assert_eq!(held(&folder), if comes { all.clone() } else { without(&there) }, "{direction}");
        assert_eq!(shown(&relay.url), if goes { all.clone() } else { without(&here) }, "{direction}");
        // Another run finds nothing to do.
        let done = succeed(&folder, &["sync", &relay.url, "--dir", direction]);
        assert!(
            done.words.lines().all(|line| !line.contains("stored") || line.contains(" 0 events")),
            "{done:?}"
        );
    }
}

#[test]
fn a_filter_says_what_it_is_about() {
    let (mine, theirs) = (notes(1, 0..10), notes(2, 0..10));
    let reaction = Person::new(2).event(7, PAST + 20, &[], "+");
    let folder = stocked(&mine);
    let (_other, relay) = relay_with(&[theirs.as_slice(), std::slice::from_ref(&reaction)].concat(), "");
    succeed(&folder, &["sync", &relay.url, "--filter", r#"{"kinds":[7]}"#]);
    assert_eq!(held(&folder), ids(mine.iter().chain([&reaction])));
    assert_eq!(shown(&relay.url).len(), 11, "notes stay where they are");
    let until = format!(r#"{{"kinds":[1],"until":{}}}"#, PAST + 4);
    succeed(&folder, &["sync", &relay.url, "--filter", &until]);
    assert_eq!(held(&folder), ids(mine.iter().chain([&reaction]).chain(&theirs[..5])));
    assert_eq!(shown(&relay.url).len(), 16);
}

#[test]
fn what_is_too_much_at_once_is_done_in_shorter_times() {
    let events = notes(1, 0..100);
    let folder = stocked(&events[..50]);
    let (_other, relay) = relay_with(&events[30..], "[nip77]\nevents_max = 7");
    succeed(&folder, &["sync", &relay.url]);
    assert_eq!(held(&folder), ids(&events));
    assert_eq!(shown(&relay.url), ids(&events));
    // Some of one second cannot be parted.
    let crowd: Vec<Event> = (0..8).map(|number| Person::new(number).event(1, PAST, &[], "now")).collect();
    let (_other, relay) = relay_with(&crowd, "[nip77]\nevents_max = 7");
    let folder = stocked(&events[50..]);
    folder
        .run(&["sync", &relay.url])
        .refused(&["this query is too big: more than 7 events", "narrow --filter"]);
}

#[test]
fn two_relays_that_run_are_made_the_same() {
    let (both, one, two) = (notes(1, 0..300), notes(2, 0..600), notes(3, 0..20));
    let folder = Folder::new();
    for (direction, up, down) in [("up", true, false), ("down", false, true), ("both", true, true)] {
        let (_here, here) = relay_with(&[both.clone(), one.clone()].concat(), "");
        let (_there, there) = relay_with(&[both.clone(), two.clone()].concat(), "");
        succeed(&folder, &["sync", &there.url, "--with", &here.url, "--dir", direction]);
        let all = ids(both.iter().chain(&one).chain(&two));
        let without = |missing: &[Event]| all.difference(&ids(missing)).cloned().collect::<BTreeSet<_>>();
        assert_eq!(shown(&here.url), if down { all.clone() } else { without(&two) }, "{direction}");
        assert_eq!(shown(&there.url), if up { all.clone() } else { without(&one) }, "{direction}");
    }
    assert!(!folder.path("data").exists(), "no store is made for it");
}

#[test]
fn a_key_logs_in_where_it_is_asked_for() {
    let settings = "[access]\nread = \"members\"\nwrite = \"members\"\n[authors]\nmembers = [\"KEY\"]\n";
    let member = Person::new(1);
    let relay = TestRelay::configured_today(&settings.replace("KEY", &member.hex()));
    let mut client = relay.connect();
    client.authenticate(&member, &relay.url(), plaza::clock::Clock::system().now());
    let theirs = notes(1, 0..5);
    theirs.iter().for_each(|event| client.publish_ok(event));
    let mine = notes(1, 10..15);
    let folder = stocked(&mine);
    folder.run(&["sync", &relay.url()]).refused(&["the relay refused to reconcile: auth-required: "]);
    folder.write("key", member.secret());
    succeed(&folder, &["sync", &relay.url(), "--key", "key"]);
    assert_eq!(held(&folder), ids(mine.iter().chain(&theirs)));
    assert_eq!(client.count(&[json!({})]), 10);
}

#[test]
fn it_speaks_over_tls() {
    let (authority, folder, events) = (Authority::new(), Folder::new(), notes(1, 0..5));
    authority.issue(&[NAME, "localhost"]).write(folder.0.path());
    folder.write(
        "relay.toml",
        "[tls]\nlisten = \"127.0.0.1:0\"\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n",
    );
    folder.write("root.pem", &authority.root);
    let mut relay = folder.serve(&[]);
    events.iter().fold(Client::connect(&relay.url), |mut client, event| {
        client.publish_ok(event);
        client
    });
    let address = relay.says("plaza: listening on wss://");
    let port = address.rsplit(':').next().expect("a port");
    let mine = stocked(&notes(2, 0..1));
    fs::copy(folder.path("root.pem"), mine.path("root.pem")).expect("a copy");
    let url = format!("wss://localhost:{port}");
    mine.run(&["sync", &url]).refused(&["does not speak WebSocket"]);
    let mut command = mine.command(&["sync", &url]);
    let output = command.env("SSL_CERT_FILE", mine.path("root.pem")).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(held(&mine).len(), 6);
}

#[test]
fn what_cannot_be_is_told() {
    let folder = stocked(&notes(1, 0..1));
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let (_other, relay) = relay_with(&[], "[nip77]\nenabled = false");
    for (arguments, words) in [
        (vec!["http://example.com"], "URL: http://example.com does not begin with ws:// or wss://"),
        (vec![relay.url.as_str()], "reconciliation is not offered here (nip77.enabled)"),
        (vec![relay.url.as_str(), "--filter", "{\"kinds\":1}"], "--filter: kinds must be an array"),
        (vec![relay.url.as_str(), "--with", "ftp://x"], "--with: ftp://x does not begin with"),
        (vec![&*format!("ws://{nobody}")], "cannot reach ws://"),
    ] {
        let done = folder.run(&[&["sync"], arguments.as_slice()].concat());
        done.refused(&[words]);
    }
}
