//! NIP-70, protected events (nips/70.md).

use serde_json::json;

use crate::common::{NOW, Person, TestRelay, ids_of, json_of};
use plaza::event::Event;

const AUTHENTICATE: &str =
    "auth-required: this event may only be published by its author; authenticate first (nip70.protected)";
const RESTRICTED: &str = "restricted: this event may only be published by its author, whose key is not authenticated (nip70.protected)";
const NOT_TAKEN: &str = "blocked: protected events are not taken here (nip70.protected)";
const REPOST: &str = "blocked: the repost embeds an event that its author protected (nip70.repost)";

fn protected(person: &Person, kind: u16) -> Event {
    person.event(kind, NOW, &[&["-"]], "for here alone")
}

#[test]
fn only_its_authenticated_author_publishes_a_protected_event() {
    for kind in [1, 0, 30_023, 20_000] {
        let relay = TestRelay::start();
        let (author, other) = (Person::new(1), Person::new(2));
        let event = protected(&author, kind);
        let mut client = relay.connect();
        assert_eq!(client.publish_refused(&event), AUTHENTICATE);
        client.authenticate(&other, &relay.url(), NOW);
        assert_eq!(client.publish_refused(&event), RESTRICTED);
        client.authenticate(&author, &relay.url(), NOW);
        client.publish_ok(&event);
        assert_eq!(client.publish_refused(&protected(&Person::new(3), kind)), RESTRICTED);
    }
}

#[test]
fn a_protected_event_is_served_to_everybody() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let event = protected(&author, 1);
    let mut listener = relay.connect();
    listener.request("s", &[json!({"kinds": [1]})]);
    relay.connect_as(&[&author]).publish_ok(&event);
    assert_eq!(listener.receive(), json!(["EVENT", "s", json_of(&event)]));
    assert_eq!(relay.connect().ids(json!({"kinds": [1]})), ids_of(&[&event]));
}

#[test]
fn a_copy_from_somebody_else_is_refused_although_it_is_stored() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let event = protected(&author, 1);
    let mut client = relay.connect_as(&[&author]);
    client.publish_ok(&event);
    assert_eq!(client.publish(&event), (true, "duplicate: already have this event".to_owned()));
    assert_eq!(relay.connect().publish_refused(&event), AUTHENTICATE);
    assert_eq!(relay.connect_as(&[&Person::new(2)]).publish_refused(&event), RESTRICTED);
}

#[test]
fn the_tag_counts_wherever_it_stands_and_nothing_else_is_the_tag() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let event = |tags: &[&[&str]]| Person::new(1).event(1, NOW, tags, "");
    let protecting: [&[&[&str]]; 3] = [&[&["-"]], &[&["t", "a"], &["-"], &["e"]], &[&["-", "why"]]];
    for tags in protecting {
        assert_eq!(client.publish_refused(&event(tags)), AUTHENTICATE, "{tags:?}");
    }
    let others: [&[&[&str]]; 5] = [&[], &[&["t", "-"]], &[&["--"]], &[&[""]], &[&["- "], &[]]];
    for tags in others {
        client.publish_ok(&event(tags));
    }
}

#[test]
fn where_the_setting_says_so_nobody_publishes_protected_events() {
    let relay = TestRelay::with(|config| config.root.nip70.accept = false);
    let author = Person::new(1);
    for (number, people) in (10..).zip([&[][..], &[&author], &[&Person::new(2)]]) {
        let mut client = relay.connect_as(people);
        assert_eq!(client.publish_refused(&protected(&author, 1)), NOT_TAKEN);
        client.publish_ok(&Person::new(number).note("not protected"));
    }
}

#[test]
fn a_repost_that_embeds_a_protected_event_is_refused_whoever_sends_it() {
    let relay = TestRelay::start();
    let (author, other) = (Person::new(1), Person::new(2));
    let mut client = relay.connect_as(&[&author, &other]);
    let original = json_of(&protected(&author, 1)).to_string();
    let contents = [
        original.clone(),
        format!(" {} ", original.replace("[[", "[ [ ")),
        // The same JSON, written in another way.
        original.replace("\"-\"", "\"\\u002d\""),
        original.replace("\"tags\"", "\"\\u0074ags\""),
    ];
    for content in &contents {
        for kind in [6, 16] {
            for person in [&author, &other] {
                let repost = person.event(kind, NOW, &[&["p", &author.hex()]], content);
                assert_eq!(client.publish_refused(&repost), REPOST, "kind {kind}: {content}");
            }
        }
    }
    assert_eq!(relay.stored(), 0);
}

#[test]
fn other_reposts_and_other_kinds_are_taken() {
    let relay = TestRelay::start();
    let (author, other) = (Person::new(1), Person::new(2));
    let mut client = relay.connect();
    let open = json_of(&author.event(1, NOW, &[&["t", "-"], &["--"]], "- [\"-\"] -")).to_string();
    let hidden = json_of(&protected(&author, 1)).to_string();
    for (kind, content) in [
        (6, ""),
        (6, "-"),
        (6, "[[\"-\"]]"),
        (6, "{\"tags\":\"-\"}"),
        (6, &open),
        (16, &open),
        (1, &hidden),
        (7, &hidden),
    ] {
        client.publish_ok(&other.event(kind, NOW, &[&["e", &"a".repeat(64)]], content));
    }
}
