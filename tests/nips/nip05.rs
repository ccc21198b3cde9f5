//! NIP-05, names at a domain (nips/05.md).

use serde_json::{Value, json};

use crate::common::http::{Answer, http};
use crate::common::{Person, TestRelay};

fn ask(relay: &TestRelay, query: &str) -> Answer {
    http(relay, "GET", &format!("/.well-known/nostr.json{query}"), &[], "")
}

#[test]
fn names_are_told_one_at_a_time_with_where_to_find_their_people() {
    let [owner, ann, bob] = [1, 10, 11].map(Person::new);
    let relay = TestRelay::configured(&format!(
        "[relay]\nurls = [\"wss://town.example\"]\n[nip05]\nnames = {{ ann = \"{}\", _ = \"{}\" }}\n\
         [admin]\nowners = [\"{}\"]",
        ann.hex(),
        owner.hex(),
        owner.hex()
    ));
    let of = |person: &Person, name: &str| json!({"names": {name: person.hex()}, "relays": {person.hex(): ["wss://town.example"]}});
    let nobody = json!({"names": {}});
    let table = [
        ("?name=ann", of(&ann, "ann")),
        ("?name=ANN", of(&ann, "ann")),
        ("?x=1&name=ann", of(&ann, "ann")),
        ("?name=_", of(&owner, "_")),
        ("", of(&owner, "_")),
        ("?name=bob", nobody.clone()),
        ("?name=", nobody.clone()),
        ("?name=%61nn", nobody.clone()),
        ("?name=../../etc/passwd", nobody.clone()),
    ];
    for (query, wanted) in table {
        let answer = ask(&relay, query);
        assert_eq!((answer.status, answer.json()), (200, wanted), "{query}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("content-type"), "application/json");
    }
    // A manager's word counts before the settings', until it is taken back.
    let told = |name: &str| ask(&relay, &format!("?name={name}")).json()["names"][name].clone();
    relay.call_ok(&owner, "setname", json!(["bob", bob.hex()]));
    relay.call_ok(&owner, "setname", json!(["ann", bob.hex()]));
    assert_eq!([told("bob"), told("ann")], [json!(bob.hex()), json!(bob.hex())]);
    relay.call_ok(&owner, "removename", json!(["ann"]));
    assert_eq!(told("ann"), json!(ann.hex()));
    relay.call_ok(&owner, "banpubkey", json!([bob.hex()]));
    assert_eq!(told("bob"), Value::Null);
}

#[test]
fn wrong_names_in_the_settings_are_told() {
    let key = Person::new(10).hex();
    let table = [
        (format!("names = {{ \"Ann B\" = \"{key}\" }}"), "nip05.names: \"Ann B\" is no local name"),
        ("names = { ann = \"xyz\" }".to_owned(), "nip05.names"),
    ];
    for (settings, wanted) in table {
        let parsed =
            plaza::config::Config::parse(&format!("[nip05]\n{settings}"), std::path::Path::new("relay.toml"));
        let error = parsed.expect_err("a mistake").to_string();
        assert!(error.contains(wanted), "{error}");
    }
}
