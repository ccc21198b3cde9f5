//! Relays of a few lines, for what no true one does; and a mirror's dealings with one that knows nothing but NIP-01.

use plaza::event::Event;
use serde_json::json;

use super::common::{NOW, Person, TestRelay, json_of};
use super::{await_live, await_stored, mirror, notes, publish, reload, stats};

pub(crate) use super::common::fake::{Fake, Socket, hear, say};

/// Serves events as the simplest of relays: no limit but the client's, and a NOTICE for what it does not know.
fn simple(socket: &mut Socket, events: &[Event]) {
    while let Some(message) = hear(socket) {
        match message[0].as_str() {
            Some("REQ") => {
                let filter = &message[2];
                let until = filter["until"].as_u64().unwrap_or(u64::MAX);
                let limit = filter["limit"].as_u64().unwrap_or(500) as usize;
                let mut found: Vec<&Event> = events.iter().filter(|one| one.created_at <= until).collect();
                found.sort_by_key(|one| std::cmp::Reverse(one.created_at));
                for event in found.into_iter().take(limit) {
                    say(socket, &json!(["EVENT", message[1], json_of(event)]));
                }
                say(socket, &json!(["EOSE", message[1]]));
            }
            Some("EVENT") => {
                say(socket, &json!(["OK", message[1]["id"], true, ""]));
            }
            Some("CLOSE") => {}
            _ => {
                say(socket, &json!(["NOTICE", "ERROR: bad msg: unknown cmd"]));
            }
        }
    }
}

#[test]
fn a_relay_that_knows_nothing_but_nip_01_is_mirrored() {
    let events = notes(1, 0..650);
    let fake = {
        let events = events.clone();
        Fake::start(move |socket| simple(socket, &events))
    };
    let relay = TestRelay::start();
    publish(&relay, [&Person::new(2).note("mine")]);
    reload(&relay, &mirror(&fake.url(), "direction = \"both\""));
    await_stored(&relay, 651);
    await_live(&relay);
    super::await_that("all is counted", || stats(&relay).down.taken == 650 && stats(&relay).up.taken == 1);
    assert_eq!(stats(&relay).strikes, 0);
}

#[test]
fn a_relay_that_asks_for_a_key_when_one_is_needed_gets_it() {
    let events = notes(1, 0..5);
    let member = Person::new(7);
    let key = member.hex();
    // The question comes before the refusal, or after it.
    for asks_first in [true, false] {
        let (events, key) = (events.clone(), key.clone());
        let fake = Fake::start(move |socket| {
            let (mut is_proved, mut is_asked) = (false, false);
            while let Some(message) = hear(socket) {
                let name = &message[1];
                let mut ask = |socket: &mut Socket| {
                    if !std::mem::replace(&mut is_asked, true) {
                        say(socket, &json!(["AUTH", "prove it"]));
                    }
                };
                match message[0].as_str() {
                    Some("AUTH") => {
                        let tags = message[1]["tags"].to_string();
                        is_proved = message[1]["pubkey"] == key && tags.contains("prove it");
                        say(socket, &json!(["OK", message[1]["id"], is_proved, ""]));
                    }
                    Some("EVENT") => {
                        let why = if is_proved { "" } else { "auth-required: who are you?" };
                        say(socket, &json!(["OK", message[1]["id"], is_proved, why]));
                    }
                    Some("REQ") if is_proved => {
                        let until = message[2]["until"].as_u64().unwrap_or(u64::MAX);
                        for event in events.iter().filter(|event| event.created_at <= until) {
                            say(socket, &json!(["EVENT", name, json_of(event)]));
                        }
                        say(socket, &json!(["EOSE", name]));
                    }
                    Some("REQ") => {
                        if asks_first {
                            ask(socket);
                        }
                        say(socket, &json!(["CLOSED", name, "auth-required: who are you?"]));
                        ask(socket);
                    }
                    Some("NEG-OPEN") => {
                        say(socket, &json!(["NOTICE", "unknown command"]));
                    }
                    _ => {}
                }
            }
        });
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        std::fs::write(&file, member.secret()).expect("a file");
        let relay = TestRelay::start();
        publish(&relay, [&Person::new(2).event(1, NOW, &[], "mine")]);
        let keys = format!("direction = \"both\"\nkey_file = {:?}", file.display());
        reload(&relay, &mirror(&fake.url(), &keys));
        await_stored(&relay, 6);
        super::await_that("what is here goes there", || stats(&relay).up.taken == 1);
        assert_eq!((stats(&relay).connects, stats(&relay).strikes), (1, 0), "asks first: {asks_first}");
    }
}
