//! NIP-04, encrypted direct messages (nips/04.md).

use serde_json::json;

use super::nip59::{CLOSED, assert_shown_only_to_parties};
use crate::common::{NOW, Person, TestRelay, ids_of, json_of};

#[test]
fn messages_are_shown_only_to_their_parties() {
    assert_shown_only_to_parties(4);
}

#[test]
fn a_conversation_is_found_from_both_sides() {
    let relay = TestRelay::start();
    let (one, two) = (Person::new(1), Person::new(2));
    let there = one.event(4, NOW - 1, &[&["p", &two.hex()]], "text?iv=vector");
    let back = two.event(4, NOW, &[&["p", &one.hex()], &["e", &there.id.to_string()]], "text?iv=vector");
    let mut speaker = relay.connect();
    speaker.publish_ok(&there);
    speaker.publish_ok(&back);
    speaker.publish_ok(&Person::new(3).event(4, NOW, &[&["p", &Person::new(4).hex()]], "others'"));
    for person in [&one, &two] {
        let mut client = relay.connect_as(&[person]);
        let sent = json!({"kinds": [4], "authors": [person.hex()]});
        let received = json!({"kinds": [4], "#p": [person.hex()]});
        assert_eq!(client.request("s", &[sent.clone(), received]).0, ids_of(&[&back, &there]));
        assert_eq!(client.ids(sent).len(), 1);
        assert_eq!(client.count(&[json!({"kinds": [4]})]), 2);
    }
}

#[test]
fn a_message_is_kept_as_it_was_written() {
    let relay = TestRelay::start();
    let (one, two) = (Person::new(1), Person::new(2));
    let message = one.event(4, NOW, &[&["p", &two.hex(), "wss://relay.example"]], "Zm9v?iv=YmFy");
    relay.connect().publish_ok(&message);
    let mut client = relay.connect_as(&[&two]);
    client.subscribe("s", &[json!({"kinds": [4]})]);
    assert_eq!(client.receive(), json!(["EVENT", "s", json_of(&message)]));
}

#[test]
fn asked_for_alone_messages_need_authentication_of_anyone() {
    let relay = TestRelay::start();
    assert_eq!(relay.connect().closed("REQ", &[json!({"kinds": [4]})]), CLOSED);
    assert_eq!(relay.connect().closed("COUNT", &[json!({"kinds": [4]})]), CLOSED);
    assert_eq!(relay.connect_as(&[&Person::new(1)]).ids(json!({"kinds": [4]})), [""; 0]);
}
