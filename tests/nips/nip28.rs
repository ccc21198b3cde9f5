//! NIP-28, public channels (nips/28.md).

use serde_json::json;

use crate::common::{NOW, Person, TestRelay, ids_of};

#[test]
fn all_events_of_a_channel_are_kept_and_found_by_it() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let (owner, guest) = (Person::new(1), Person::new(2));
    let channel = owner.event(40, NOW - 50, &[], r#"{"name":"Square","about":"","picture":""}"#);
    let id = channel.id.to_string();
    let root: &[&str] = &["e", &id, "wss://relay.example", "root"];
    client.publish_ok(&channel);
    let changed = [NOW - 40, NOW - 39].map(|time| owner.event(41, time, &[root], r#"{"name":"Plaza"}"#));
    let first = guest.event(42, NOW - 30, &[root], "hello");
    let first_id = first.id.to_string();
    let answer =
        owner.event(42, NOW - 29, &[root, &["e", &first_id, "", "reply"], &["p", &guest.hex()]], "welcome");
    let hidden = owner.event(43, NOW - 20, &[&["e", &first_id]], r#"{"reason":"no"}"#);
    let muted = owner.event(44, NOW - 19, &[&["p", &guest.hex()]], r#"{"reason":"no"}"#);
    for event in [&changed[0], &changed[1], &first, &answer, &hidden, &muted] {
        client.publish_ok(event);
    }
    // Kinds 40 to 44 are regular: an older metadata event is history, and clients choose.
    for (filter, found) in [
        (json!({"kinds": [40]}), ids_of(&[&channel])),
        (json!({"kinds": [41], "#e": [id]}), ids_of(&[&changed[1], &changed[0]])),
        (json!({"kinds": [42], "#e": [id]}), ids_of(&[&answer, &first])),
        (json!({"kinds": [42], "#e": [first_id]}), ids_of(&[&answer])),
        (json!({"kinds": [43], "#e": [first_id]}), ids_of(&[&hidden])),
        (json!({"kinds": [44], "#p": [guest.hex()], "authors": [owner.hex()]}), ids_of(&[&muted])),
    ] {
        assert_eq!(client.ids(filter.clone()), found, "{filter}");
    }
}

#[test]
fn hiding_and_muting_is_for_clients_and_takes_nothing_away() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let (owner, guest) = (Person::new(1), Person::new(2));
    let message = guest.event(42, NOW, &[&["e", &"a".repeat(64), "", "root"]], "hello");
    client.publish_ok(&message);
    client.publish_ok(&owner.event(43, NOW, &[&["e", &message.id.to_string()]], ""));
    client.publish_ok(&owner.event(44, NOW, &[&["p", &guest.hex()]], ""));
    assert_eq!(client.ids(json!({"kinds": [42]})), ids_of(&[&message]));
    client.publish_ok(&guest.event(42, NOW, &[], "still here"));
}

#[test]
fn a_channel_is_heard_live() {
    let relay = TestRelay::start();
    let mut listener = relay.connect();
    let channel = "c".repeat(64);
    listener.request("s", &[json!({"kinds": [42], "#e": [channel]})]);
    let inside = Person::new(1).event(42, NOW, &[&["e", &channel, "", "root"]], "in");
    let mut speaker = relay.connect();
    speaker.publish_ok(&Person::new(1).event(42, NOW, &[&["e", &"d".repeat(64), "", "root"]], "out"));
    speaker.publish_ok(&inside);
    assert_eq!(relay.heard_by(&mut listener), [("s".to_owned(), inside.id.to_string())]);
}
