//! NIP-65, relay lists (nips/65.md).

use serde_json::json;

use crate::common::{NOW, Person, TestRelay, ids_of, json_of};

#[test]
fn a_relay_list_is_kept_and_a_newer_one_takes_its_place() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let author = Person::new(1);
    let old = author.event(10_002, NOW - 1, &[&["r", "wss://old.example"]], "");
    let new = author.event(
        10_002,
        NOW,
        &[&["r", "wss://a.example"], &["r", "wss://b.example", "write"], &["r", "wss://c.example", "read"]],
        "",
    );
    client.publish_ok(&new);
    assert_eq!(client.publish_refused(&old), "duplicate: a newer version is stored (nip01.superseded)");
    client.subscribe("s", &[json!({"authors": [author.hex()], "kinds": [10_002]})]);
    assert_eq!(client.receive(), json!(["EVENT", "s", json_of(&new)]));
    assert_eq!(client.receive(), json!(["EOSE", "s", ["finish"]]));
}

#[test]
fn lists_are_found_by_author_and_by_relay() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let lists = [1, 2, 3].map(|number| {
        let url = if number == 3 { "wss://else.example" } else { "wss://a.example" };
        Person::new(number).event(10_002, NOW - u64::from(number), &[&["r", url, "read"]], "")
    });
    lists.iter().for_each(|list| client.publish_ok(list));
    let [one, two, three] = &lists;
    let authors = [1, 3].map(|number| Person::new(number).hex());
    assert_eq!(client.ids(json!({"kinds": [10_002], "authors": authors})), ids_of(&[one, three]));
    assert_eq!(client.ids(json!({"kinds": [10_002], "#r": ["wss://a.example"]})), ids_of(&[one, two]));
}

#[test]
fn anyone_may_read_and_write_lists_without_authentication() {
    let relay = TestRelay::start();
    let list = Person::new(1).event(10_002, NOW, &[&["r", "wss://a.example"]], "");
    let mut listener = relay.connect();
    listener.request("s", &[json!({"kinds": [10_002]})]);
    relay.connect().publish_ok(&list);
    assert_eq!(relay.heard_by(&mut listener), [("s".to_owned(), list.id.to_string())]);
}
