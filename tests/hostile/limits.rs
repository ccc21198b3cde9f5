//! Limits: each is answered with its word, binds whom it should and nobody else, and is given back.

use plaza::config::Config;
use plaza::event::Event;
use serde_json::{Value, json};

use crate::common::{NOW, Person, TestRelay, json_of};
use crate::neighbour::Neighbour;
use crate::raw::{Raw, wait_until};

#[test]
fn ten_thousand_subscriptions_and_closes() {
    let relay = TestRelay::start();
    let neighbour = Neighbour::start(&relay);
    let mut raw = Raw::open(&relay);
    let (mut open, mut closed) = (0, 0);
    for batch in 0..100 {
        let texts: Vec<u8> = (0..100)
            .flat_map(|number| crate::raw::text(&format!(r#"["REQ","{batch}-{number}",{{"kinds":[9999]}}]"#)))
            .collect();
        raw.send(&texts);
        for _ in 0..100 {
            let answer = raw.message();
            match answer[0].as_str() {
                Some("EOSE") => open += 1,
                Some("CLOSED") => {
                    closed += 1;
                    let reason = answer[2].as_str().expect("a reason");
                    assert!(reason.starts_with("blocked: 100 subscriptions are open"), "{reason}");
                }
                _ => panic!("{answer}"),
            }
        }
    }
    assert_eq!((open, closed), (100, 9_900));
    let closes: Vec<u8> = (0..10_000)
        .flat_map(|number| crate::raw::text(&format!(r#"["CLOSE","unknown {number}"]"#)))
        .collect();
    raw.send(&closes);
    raw.works();
    // Closing one makes room for one.
    raw.say(r#"["CLOSE","0-0"]"#);
    raw.say(r#"["REQ","new",{"kinds":[9999]}]"#);
    assert_eq!(raw.message(), json!(["EOSE", "new", ["finish"]]));
    raw.say(r#"["REQ","newer",{"kinds":[9999]}]"#);
    assert_eq!(raw.message()[0], "CLOSED");
    // The same name again takes no more room.
    raw.say(r#"["REQ","new",{"kinds":[9998]}]"#);
    assert_eq!(raw.message()[0], "EOSE");
    neighbour.noticed_nothing();
    drop(raw);
    wait_until("subscriptions end with their client", || relay.relay().community().live.is_empty());
}

#[test]
fn filters_that_are_too_much_are_refused() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let kinds = |count: usize| json!({"kinds": (0..count).collect::<Vec<_>>()});
    let topics: Vec<String> = (0..1_500).map(|number| number.to_string()).collect();
    let half = json!({"kinds": (0..600).collect::<Vec<_>>(), "#t": topics});
    let table = [
        (vec![kinds(2_000)], None),
        (vec![kinds(2_001)], Some("invalid: a filter lists 2001 values")),
        (vec![half], Some("invalid: a filter lists 2100 values")),
        (vec![json!({"ids": []}); 32], None),
        (vec![json!({}); 33], Some("invalid: 33 filters are more than the 32")),
        (vec![kinds(2_000); 32], None),
    ];
    for (filters, refused) in table {
        for verb in ["REQ", "COUNT"] {
            let mut message = vec![json!(verb), json!("s")];
            message.extend_from_slice(&filters);
            client.send(&Value::Array(message));
            let answer = client.receive();
            match refused {
                None => assert_eq!(answer[0], if verb == "REQ" { "EOSE" } else { "COUNT" }, "{answer}"),
                Some(reason) => {
                    assert_eq!(answer[0], "CLOSED", "{answer}");
                    assert!(answer[2].as_str().is_some_and(|said| said.starts_with(reason)), "{answer}");
                }
            }
        }
    }
}

#[test]
fn connections_are_bounded_and_given_back() {
    let relay = TestRelay::with(|config| config.server.connections_max = 5);
    let neighbour = Neighbour::start(&relay);
    let mut held: Vec<Raw> = (0..4).map(|_| Raw::open(&relay)).collect();
    for _ in 0..20 {
        assert_eq!(Raw::try_open(&relay, "").1, 503);
    }
    held.iter_mut().for_each(Raw::works);
    held.pop();
    held.push(Raw::connect_when_there_is_room(&relay));
    drop(held);
    // A thousand come and go in every way; none is left behind.
    for number in 0..1_000 {
        match number % 4 {
            0 => drop(Raw::connect(&relay)),
            1 => Raw::connect(&relay).send(b"GET / HT"),
            2 => drop(Raw::try_open(&relay, "")),
            _ => drop(Raw::connect_when_there_is_room(&relay)),
        }
    }
    let mut all: Vec<Raw> = (0..4).map(|_| Raw::connect_when_there_is_room(&relay)).collect();
    all.iter_mut().for_each(Raw::works);
    neighbour.noticed_nothing();
}

fn with_rates(change: impl FnOnce(&mut Config)) -> TestRelay {
    TestRelay::with(|config| {
        config.rate.enabled = true;
        // One a minute: what is used up does not come back while a test runs.
        config.rate.address_events_per_minute = 1;
        config.rate.address_requests_per_minute = 1;
        config.rate.address_bytes_per_minute = 1;
        config.rate.author_events_per_minute = 1;
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
        change(config);
    })
}

/// A connection of someone behind the trusted proxy.
fn open_from(relay: &TestRelay, address: &str) -> Raw {
    Raw::open_with(relay, &format!("X-Forwarded-For: {address}\r\n"))
}

fn publish(raw: &mut Raw, event: &Event) -> (bool, String) {
    raw.say(&json!(["EVENT", json_of(event)]).to_string());
    let answer = raw.message();
    assert_eq!((&answer[0], &answer[1]), (&json!("OK"), &json!(event.id.to_string())), "{answer}");
    let said = answer[3].as_str().expect("a message");
    (answer[2] == true, said.split(':').next().unwrap_or("").to_owned())
}

fn said(ok: bool, prefix: &str) -> (bool, String) {
    (ok, prefix.to_owned())
}

#[test]
fn an_address_has_so_many_connections() {
    let relay = with_rates(|config| config.server.connections_per_address_max = 3);
    let from = |address: &str| Raw::try_open(&relay, &format!("X-Forwarded-For: {address}\r\n"));
    let mut held: Vec<(Raw, u16)> = (0..3).map(|_| from("192.0.2.1")).collect();
    assert!(held.iter().all(|(_, status)| *status == 101));
    assert_eq!(from("192.0.2.1").1, 429);
    // Who writes a header of their own is told apart by what the proxy added behind it.
    assert_eq!(from("198.51.100.7, 192.0.2.1").1, 429);
    assert_eq!(from("192.0.2.1, 198.51.100.7").1, 101);
    let (_other, status) = from("192.0.2.2");
    assert_eq!(status, 101);
    // All of an IPv6 network is one.
    let v6: Vec<(Raw, u16)> = (1..=4).map(|host| from(&format!("2001:db8::{host}"))).collect();
    assert_eq!(v6.iter().map(|(_, status)| *status).collect::<Vec<_>>(), [101, 101, 101, 429]);
    held.pop();
    wait_until("a place is given back", || from("192.0.2.1").1 == 101);
}

#[test]
fn a_header_of_someone_who_is_no_proxy_is_not_believed() {
    let relay = with_rates(|config| {
        config.server.trusted_proxies.clear();
        config.server.connections_per_address_max = 2;
    });
    let from = |address: &str| Raw::try_open(&relay, &format!("X-Forwarded-For: {address}\r\n"));
    let held = [from("192.0.2.1"), from("192.0.2.2"), from("192.0.2.3")];
    assert_eq!(held.map(|(_, status)| status), [101, 101, 429]);
}

#[test]
fn an_address_may_send_so_many_events() {
    let relay = with_rates(|config| config.rate.address_events_burst = 5);
    let (mut one, mut again) = (open_from(&relay, "192.0.2.1"), open_from(&relay, "192.0.2.1"));
    let notes: Vec<Event> = (0..10).map(|number| Person::new(number).note("rate")).collect();
    // Duplicates and forgeries cost the address as much as anything.
    assert_eq!(publish(&mut one, &notes[0]), said(true, ""));
    assert_eq!(publish(&mut again, &notes[0]), said(true, "duplicate"));
    let mut forged = notes[1].clone();
    forged.sig.0[0] ^= 1;
    assert_eq!(publish(&mut one, &forged), said(false, "invalid"));
    assert_eq!(publish(&mut one, &notes[2]), said(true, ""));
    assert_eq!(publish(&mut one, &notes[3]), said(true, ""));
    assert_eq!(publish(&mut one, &notes[4]), said(false, "rate-limited"));
    assert_eq!(publish(&mut again, &notes[4]), said(false, "rate-limited"));
    one.works();
    assert_eq!(publish(&mut open_from(&relay, "192.0.2.2"), &notes[4]), said(true, ""));
}

#[test]
fn an_author_may_publish_so_many_events() {
    let relay = with_rates(|config| config.rate.author_events_burst = 3);
    let person = Person::new(1);
    let notes: Vec<Event> = (0..10).map(|number| person.note(&number.to_string())).collect();
    let (mut one, mut other) = (open_from(&relay, "192.0.2.1"), open_from(&relay, "192.0.2.2"));
    assert_eq!(publish(&mut one, &notes[0]), said(true, ""));
    // Neither forgeries in their name nor copies of what they wrote use up what they have.
    for note in &notes {
        let mut forged = note.clone();
        forged.sig.0[0] ^= 1;
        let expected = if note.id == notes[0].id { said(true, "duplicate") } else { said(false, "invalid") };
        assert_eq!(publish(&mut other, &forged), expected);
        assert_eq!(publish(&mut other, &notes[0]), said(true, "duplicate"));
    }
    assert_eq!(publish(&mut other, &notes[1]), said(true, ""));
    assert_eq!(publish(&mut one, &notes[2]), said(true, ""));
    for raw in [&mut one, &mut other] {
        assert_eq!(publish(raw, &notes[3]), said(false, "rate-limited"));
        assert_eq!(publish(raw, &notes[2]), said(true, "duplicate"));
    }
    assert_eq!(publish(&mut one, &Person::new(2).note("someone else")), said(true, ""));
}

#[test]
fn an_address_may_ask_so_much() {
    let relay = with_rates(|config| config.rate.address_requests_burst = 4);
    let mut raw = open_from(&relay, "192.0.2.1");
    for _ in 0..2 {
        raw.say(r#"["REQ","s",{"kinds":[1]}]"#);
        assert_eq!(raw.message()[0], "EOSE");
        raw.works();
    }
    for text in [r#"["REQ","s",{"kinds":[1]}]"#, r#"["COUNT","s",{"kinds":[1]}]"#] {
        raw.say(text);
        let answer = raw.message();
        assert_eq!((&answer[0], &answer[1]), (&json!("CLOSED"), &json!("s")));
        assert!(answer[2].as_str().is_some_and(|said| said.starts_with("rate-limited: ")), "{answer}");
    }
    // It may still publish, and the refused REQ has ended the subscription of its name.
    assert_eq!(publish(&mut raw, &Person::new(1).note("x")), said(true, ""));
    open_from(&relay, "192.0.2.2").works();
    raw.say("nonsense");
    assert_eq!(raw.message()[0], "NOTICE");
}

#[test]
fn an_address_may_send_so_many_bytes() {
    let relay = with_rates(|config| config.rate.address_bytes_burst = 20_000);
    let mut raw = open_from(&relay, "192.0.2.1");
    let long = Person::new(1).event(1, NOW, &[], &"x".repeat(12_000));
    let longer = Person::new(1).event(1, NOW, &[], &"y".repeat(12_000));
    assert_eq!(publish(&mut raw, &long), said(true, ""));
    assert_eq!(publish(&mut raw, &longer), said(false, "rate-limited"));
    // Small things pass until the budget is used up; then they too are told so, each in its form.
    let filler = format!(r#"["CLOSE","{}"]"#, "x".repeat(5_000));
    (0..3).for_each(|_| raw.say(&filler));
    raw.say(&json!(["REQ", "s", {"#t": ["x".repeat(5_000)]}]).to_string());
    let answer = raw.message();
    assert_eq!((&answer[0], &answer[1]), (&json!("CLOSED"), &json!("s")));
    assert!(answer[2].as_str().is_some_and(|said| said.starts_with("rate-limited: ")), "{answer}");
    raw.say(&"x".repeat(5_000));
    let answer = raw.message();
    assert!(answer[1].as_str().is_some_and(|said| said.starts_with("rate-limited: ")), "{answer}");
    assert_eq!(publish(&mut open_from(&relay, "192.0.2.2"), &longer), said(true, ""));
}
