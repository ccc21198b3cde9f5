//! What a running relay shows, asked over its WebSocket: everything, and whether parts of it, by id, author,
//! kind and tag, by REQ and by COUNT, are the same events.

use std::collections::BTreeSet;

use plaza::event::{Event, Id};
use serde_json::{Value, json};

use crate::common::Client;
use crate::promise::may_expire;
use crate::writer::{KINDS, TOPICS, people};

/// Ids in one filter: fewer than an answer holds by default.
const IDS_MAX: usize = 200;

/// All events of a community, newest first, page by page.
pub(crate) fn everything(client: &mut Client) -> Vec<Event> {
    found(client, &json!({}))
}

/// Asserts that all ways to ask for parts of these events find the same.
pub(crate) fn assert_consistent(client: &mut Client, who: u32, all: &[Event]) {
    let mut ask = |filter: Value, is_asked: &dyn Fn(&Event) -> bool| {
        let wanted: Vec<&Event> = all.iter().filter(|event| is_asked(event)).collect();
        let read = found(client, &filter);
        let count = client.count(std::slice::from_ref(&filter)) as usize;
        let lasting = |event: &&Event| !may_expire(event);
        let ids = |events: Vec<&Event>| -> BTreeSet<Id> {
            events.into_iter().filter(lasting).map(|event| event.id).collect()
        };
        let (at_most, lasts) = (wanted.len(), ids(wanted));
        assert_eq!(ids(read.iter().collect()), lasts, "REQ {filter} and all there is");
        assert!((lasts.len()..=at_most).contains(&count), "COUNT {filter}: {count}, not {at_most}");
        assert!(read.iter().all(|event| all.contains(event) && is_asked(event)), "REQ {filter}: bodies");
    };
    ask(json!({}), &|_| true);
    for kind in KINDS {
        ask(json!({"kinds": [kind]}), &|event| event.kind.0 == kind);
    }
    for person in people(who) {
        let is_theirs = |event: &Event| event.pubkey == person.key();
        ask(json!({"authors": [person.hex()]}), &is_theirs);
        let authors = json!([person.hex()]);
        ask(json!({"authors": authors, "kinds": [1]}), &|event| is_theirs(event) && event.kind.0 == 1);
    }
    let has = |event: &Event, tag: &str, wanted: &str| event.tags.values(tag).any(|value| value == wanted);
    for topic in TOPICS {
        ask(json!({"#t": [topic]}), &|event| has(event, "t", topic));
    }
    for identifier in ["", "x", "y"] {
        ask(json!({"#d": [identifier]}), &|event| has(event, "d", identifier));
    }
    for some in all.chunks(IDS_MAX) {
        let ids: Vec<String> = some.iter().map(|event| event.id.to_string()).collect();
        ask(json!({ "ids": ids }), &|event| some.iter().any(|one| one.id == event.id));
    }
}

/// What a filter finds, page by page; no two events are of the same time.
fn found(client: &mut Client, filter: &Value) -> Vec<Event> {
    let (mut all, mut page) = (Vec::new(), filter.clone());
    loop {
        client.subscribe("view", std::slice::from_ref(&page));
        let before = all.len();
        loop {
            let message = client.receive();
            match message[0].as_str() {
                Some("EVENT") => {
                    all.push(Event::from_json(message[2].to_string().as_bytes()).expect("an event"))
                }
                Some("EOSE") => break,
                _ => panic!("an event or EOSE was awaited, not {message}"),
            }
        }
        let Some(oldest) = all[before..].last() else { return all };
        page["until"] = json!(oldest.created_at - 1);
    }
}
