//! NIP-17, private messages (nips/17.md).

use serde_json::json;

use super::nip59::{CLOSED, assert_shown_only_to_parties};
use crate::common::{NOW, Person, TestRelay, ids_of};

#[test]
fn seals_are_shown_only_to_their_parties() {
    assert_shown_only_to_parties(13);
}

#[test]
fn a_seal_without_recipients_is_shown_to_its_author_alone() {
    let relay = TestRelay::start();
    let (author, other) = (Person::new(1), Person::new(2));
    let seal = author.event(13, NOW, &[], "sealed");
    relay.connect().publish_ok(&seal);
    assert_eq!(relay.connect_as(&[&author]).ids(json!({"kinds": [13]})), ids_of(&[&seal]));
    assert_eq!(relay.connect_as(&[&other]).ids(json!({"kinds": [13]})), [""; 0]);
}

#[test]
fn the_list_of_relays_for_messages_is_public() {
    let relay = TestRelay::start();
    let list = Person::new(1).event(10_050, NOW, &[&["relay", "wss://relay.example"]], "");
    relay.connect().publish_ok(&list);
    assert_eq!(relay.connect().ids(json!({"kinds": [10_050]})), ids_of(&[&list]));
}

#[test]
fn a_query_for_private_kinds_alone_asks_for_authentication() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let private = [
        vec![json!({"kinds": [4]})],
        vec![json!({"kinds": [13, 1_059]})],
        vec![json!({"kinds": [4, 13, 1_059, 21_059], "limit": 0})],
        vec![json!({"kinds": [1_059], "#p": [Person::new(1).hex()]}), json!({"kinds": [4]})],
    ];
    for filters in &private {
        for verb in ["REQ", "COUNT"] {
            assert_eq!(client.closed(verb, filters), CLOSED, "{filters:?}");
        }
    }
    client.authenticate(&Person::new(1), &relay.url(), NOW);
    for filters in &private {
        assert_eq!(client.request("s", filters), (vec![], "finish".to_owned()), "{filters:?}");
        assert_eq!(client.count(filters), 0);
    }
}

#[test]
fn a_mixed_query_is_served_what_is_public() {
    let relay = TestRelay::start();
    let (author, recipient) = (Person::new(1), Person::new(2));
    let note = author.event(1, NOW - 1, &[], "public");
    let wrap = author.event(1_059, NOW, &[&["p", &recipient.hex()]], "");
    let mut speaker = relay.connect();
    speaker.publish_ok(&note);
    speaker.publish_ok(&wrap);
    for filters in [
        vec![json!({})],
        vec![json!({"kinds": [1, 1_059]})],
        vec![json!({"kinds": [1_059]}), json!({"kinds": [1]})],
        vec![json!({"authors": [author.hex()]})],
    ] {
        let mut client = relay.connect();
        assert_eq!(client.request("s", &filters), (ids_of(&[&note]), "finish".to_owned()), "{filters:?}");
        assert_eq!(client.count(&filters), 1, "{filters:?}");
        let mut client = relay.connect_as(&[&recipient]);
        assert_eq!(client.request("s", &filters).0, ids_of(&[&wrap, &note]), "{filters:?}");
    }
    assert_eq!(
        relay.connect().request("s", &[json!({"kinds": []})]).1,
        "finish",
        "no kinds are no private ones"
    );
}

#[test]
fn what_is_hidden_takes_no_place_in_a_limit() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let mut speaker = relay.connect();
    for age in 0..5 {
        speaker.publish_ok(&author.event(1_059, NOW - age, &[&["p", &Person::new(2).hex()]], ""));
    }
    let note = author.event(1, NOW - 9, &[], "");
    speaker.publish_ok(&note);
    let found = relay.connect().request("s", &[json!({"kinds": [1, 1_059], "limit": 1})]);
    assert_eq!(found, (ids_of(&[&note]), "finish".to_owned()));
}

#[test]
fn switched_off_private_kinds_are_as_public_as_others() {
    let relay = TestRelay::with(|config| config.root.nip17.enabled = false);
    let mut listener = relay.connect();
    for (number, kind) in [4, 13, 1_059].into_iter().enumerate() {
        let event = Person::new(1).event(kind, NOW, &[&["p", &Person::new(2).hex()]], "");
        listener.request(&number.to_string(), &[json!({"kinds": [kind]})]);
        relay.connect().publish_ok(&event);
        assert_eq!(relay.heard_by(&mut listener), [(number.to_string(), event.id.to_string())]);
        assert_eq!(relay.connect().ids(json!({"kinds": [kind]})), ids_of(&[&event]));
        assert_eq!(relay.connect().count(&[json!({"kinds": [kind]})]), 1);
    }
}

#[test]
fn the_setting_says_which_kinds_are_private() {
    let relay = TestRelay::with(|config| config.root.nip17.private_kinds = vec![30_078]);
    let author = Person::new(1);
    let (open, private) = (author.event(1_059, NOW, &[], ""), author.event(30_078, NOW, &[], ""));
    let mut client = relay.connect();
    client.publish_ok(&open);
    client.publish_ok(&private);
    assert_eq!(client.ids(json!({"kinds": [1_059]})), ids_of(&[&open]));
    assert_eq!(client.ids(json!({"authors": [author.hex()]})), ids_of(&[&open]));
    assert_eq!(client.closed("REQ", &[json!({"kinds": [30_078]})]), CLOSED);
    assert_eq!(relay.connect_as(&[&author]).ids(json!({"kinds": [30_078]})), ids_of(&[&private]));
}
