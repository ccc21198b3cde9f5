//! Other sides that send nonsense, forgeries, what nobody asked for, or more and more: the mirror lets go of them or
//! takes what it may, and nobody else notices.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::common::{NOW, Person, TestRelay, json_of};
use super::fake::{Fake, Socket, hear, say};
use super::{mirror, reload, stats};
use crate::common::await_that;

/// How long a neighbour may wait: far below what an attack takes, and above what a busy machine does.
const NEIGHBOUR_MAX: Duration = Duration::from_secs(10);

/// Reads up to the first subscription; its name.
fn subscribed(socket: &mut Socket) -> Option<Value> {
    loop {
        let message = hear(socket)?;
        if message[0] == "REQ" {
            return Some(message[1].clone());
        }
    }
}

/// Events by the number, as JSON.
fn forged(number: u64) -> Value {
    let mut event = json_of(&Person::new(1).event(1, NOW, &[], &format!("forged {number}")));
    event["sig"] = json!("1".repeat(128));
    event
}

/// Says messages until nobody is there.
fn flood(socket: &mut Socket, message: impl Fn(u64, &Value) -> Value) {
    let Some(name) = subscribed(socket) else { return };
    for number in 0.. {
        if !say(socket, &message(number, &name)) {
            return;
        }
    }
}

/// A neighbour of the mirror publishes and reads as ever.
fn neighbour_is_well(relay: &TestRelay, number: u64) {
    let began = Instant::now();
    let mut client = relay.connect();
    let note = Person::new(99).event(1, NOW - number, &[], "hello");
    client.publish_ok(&note);
    let found = client.ids(json!({"ids": [note.id.to_string()]}));
    assert_eq!(found, [note.id.to_string()]);
    assert!(began.elapsed() < NEIGHBOUR_MAX, "{:?}", began.elapsed());
}

#[test]
fn who_misbehaves_is_let_go_and_nothing_of_it_is_kept() {
    type Serve = fn(&mut Socket);
    let table: [(&str, Serve, &str); 8] = [
        ("nonsense", |socket| flood(socket, |_, _| json!({"not": "a message"})), "misbehaves"),
        ("no events", |socket| flood(socket, |_, name| json!(["EVENT", name, {"id": 7}])), "misbehaves"),
        (
            "forgeries",
            |socket| flood(socket, |number, name| json!(["EVENT", name, forged(number)])),
            "misbehaves",
        ),
        (
            "not asked for",
            |socket| {
                let event = |number| json_of(&Person::new(1).event(7, NOW + number, &[], "+"));
                flood(socket, |number, name| json!(["EVENT", name, event(number)]));
            },
            "misbehaves",
        ),
        (
            "a long message",
            |socket| {
                subscribed(socket);
                say(socket, &json!(["NOTICE", "x".repeat(3 << 20)]));
                hear(socket);
            },
            "too long",
        ),
        (
            "bytes",
            |socket| {
                subscribed(socket);
                let _ = socket.send(Message::Binary(vec![1, 2, 3].into()));
                hear(socket);
            },
            "binary",
        ),
        (
            "a reconciliation that makes no sense",
            |socket| {
                while let Some(message) = hear(socket) {
                    if message[0] == "NEG-OPEN" {
                        say(socket, &json!(["NEG-MSG", message[1], "61000002ffffffff0f"]));
                    }
                }
            },
            "makes no sense",
        ),
        (
            "a refusal",
            |socket| {
                let name = subscribed(socket);
                say(socket, &json!(["CLOSED", name, "blocked: go away"]));
                hear(socket);
            },
            "blocked: go away",
        ),
    ];
    for (case, serve, why) in table {
        let fake = Fake::start(serve);
        let relay = TestRelay::start();
        reload(&relay, &mirror(&fake.url(), "filter = { kinds = [1] }"));
        let mut number = 0;
        await_that(&format!("{case}: {why}"), || {
            neighbour_is_well(&relay, number);
            number += 1;
            stats(&relay).error.is_some_and(|error| error.contains(why))
        });
        assert_eq!(relay.stored() as u64, number, "{case}");
    }
}

#[test]
fn events_without_end_are_taken_at_the_mirrors_pace() {
    let fake = Fake::start(|socket| {
        let author = Person::new(1);
        flood(socket, |number, name| {
            json!(["EVENT", name, json_of(&author.event(1, NOW - number, &[], "more"))])
        });
    });
    let relay = TestRelay::start();
    let began = Instant::now();
    reload(&relay, &mirror(&fake.url(), "events_per_second = 50"));
    for number in 0..100 {
        neighbour_is_well(&relay, number);
        std::thread::sleep(Duration::from_millis(20));
    }
    let taken = stats(&relay).down.events;
    let most = 50 * (began.elapsed().as_secs() + 3);
    assert!((50..=most).contains(&taken), "{taken} of {most}");
}

#[test]
fn a_forged_copy_does_not_keep_out_the_true_one() {
    let note = Person::new(1).event(1, NOW, &[], "true");
    let mut lie = json_of(&note);
    lie["sig"] = json!("2".repeat(128));
    let liar = Fake::start(move |socket| {
        let Some(name) = subscribed(socket) else { return };
        say(socket, &json!(["EVENT", name, lie]));
        while hear(socket).is_some() {}
    });
    let honest = TestRelay::start();
    let relay = TestRelay::start();
    reload(&relay, &format!("{}{}", mirror(&liar.url(), ""), mirror(&honest.url(), "")));
    await_that("the lie has come", || relay.relay().mirrors().iter().any(|one| one.strikes > 0));
    assert_eq!(relay.stored(), 0);
    honest.connect().publish_ok(&note);
    await_that("the true one is taken", || relay.stored() == 1);
}
