//! Clients that do not read, do not speak or are no longer there: each is let go in its time, what it
//! costs is bounded, and nobody waits for it.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use plaza::config::{Config, SlowClient};
use serde_json::json;

use crate::common::{Client, NOW, Person, TestRelay, json_of};
use crate::neighbour::Neighbour;
use crate::raw::{CLOSE, Heard, PATIENCE, PING, PONG, Raw, TEXT, frame, text, wait_until};

/// One long event; together they are far more than sockets and outbox hold.
const LONG_BYTES: usize = 100_000;
const LONG_EVENTS: usize = 300;

/// What the process may grow by while a client asks for ten times as much.
const GROWTH_BYTES_MAX: usize = 300 << 20;

const MIB: usize = 1 << 20;

fn small_outbox(config: &mut Config) {
    config.root.limits.outbox_bytes_max = MIB;
    config.root.limits.hold_bytes_max = MIB;
    config.store.body_cache_bytes = MIB as u64;
    config.server.write_timeout_seconds = 1;
}

fn publish_long(relay: &TestRelay, kind: u16) {
    let mut client = relay.connect();
    for number in 0..LONG_EVENTS {
        let person = Person::new(5);
        let content = format!("{number} {}", "x".repeat(LONG_BYTES));
        client.publish_ok(&person.event(kind, NOW, &[], &content));
    }
}

/// Memory of this process that is not on disk.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a number") * 4_096
}

fn open_subscriptions(relay: &TestRelay) -> usize {
    relay.relay().community().live.len()
}

#[test]
fn who_asks_for_everything_and_reads_nothing_is_let_go() {
    let relay = TestRelay::with(small_outbox);
    publish_long(&relay, 1);
    let neighbour = Neighbour::start(&relay);
    let before = resident_bytes();
    let mut raw = Raw::open(&relay);
    let ask = |number| text(&format!(r#"["REQ","{number}",{{"kinds":[1],"limit":5000}}]"#));
    raw.send(&(0..60).flat_map(ask).collect::<Vec<u8>>());
    wait_until("its subscriptions are open", || open_subscriptions(&relay) >= 60);
    let mut most = 0;
    wait_until("it is let go", || {
        most = most.max(resident_bytes());
        open_subscriptions(&relay) < 10
    });
    println!("{} MiB more at most", most.saturating_sub(before) / MIB);
    assert!(most.saturating_sub(before) < GROWTH_BYTES_MAX, "{before} became {most}");
    raw.ends();
    neighbour.noticed_nothing();
}

#[test]
fn who_reads_gets_all_however_much_it_asks_for_at_once() {
    let relay = TestRelay::with(small_outbox);
    publish_long(&relay, 1);
    let mut raw = Raw::open(&relay);
    let ask = |number| text(&format!(r#"["REQ","{number}",{{"kinds":[1],"limit":10}}]"#));
    raw.send(&(0..60).flat_map(ask).collect::<Vec<u8>>());
    let (mut events, mut ends) = (0, 0);
    while ends < 60 {
        match raw.message()[0].as_str() {
            Some("EVENT") => events += 1,
            Some("EOSE") => ends += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(events, 600);
}

#[test]
fn who_does_not_read_a_flood_is_let_go() {
    let relay = TestRelay::with(small_outbox);
    let neighbour = Neighbour::start(&relay);
    let before = resident_bytes();
    let mut slow: Vec<Raw> = (0..3).map(|_| Raw::open(&relay)).collect();
    for raw in &mut slow {
        raw.say(r#"["REQ","flood",{"kinds":[20001]}]"#);
        assert_eq!(raw.message()[0], "EOSE");
    }
    publish_long(&relay, 20_001);
    wait_until("they are let go", || open_subscriptions(&relay) <= 2);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "{grown}");
    slow.iter_mut().for_each(Raw::ends);
    neighbour.noticed_nothing();
}

#[test]
fn who_sends_more_than_there_is_room_for_gets_answers_meanwhile() {
    const ANSWERS: usize = 500;
    let relay = TestRelay::with(|config| config.root.limits.ingest_events_per_connection_max = 16);
    let neighbour = Neighbour::start(&relay);
    let mut forged = Person::new(5).note("forged");
    forged.sig.0[0] ^= 1;
    let message = text(&json!(["EVENT", json_of(&forged)]).to_string()).repeat(100);
    let mut raw = Raw::open(&relay);
    let mut writer = raw.stream.try_clone().expect("a second handle");
    // It goes on until its answers have come, so the relay always has more to read.
    let is_done = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&is_done);
    let sending =
        std::thread::spawn(
            move || {
                while !done.load(Ordering::SeqCst) && writer.write_all(&message).is_ok() {}
            },
        );
    for _ in 0..ANSWERS {
        let answer = raw.message();
        assert_eq!((&answer[0], &answer[2]), (&json!("OK"), &json!(false)), "{answer}");
    }
    is_done.store(true, Ordering::SeqCst);
    raw.half_close();
    raw.ends();
    sending.join().expect("sending ends");
    neighbour.noticed_nothing();
}

#[test]
fn who_reads_too_slowly_is_told_so() {
    let relay = TestRelay::with(|config| {
        small_outbox(config);
        config.server.write_timeout_seconds = 30;
    });
    let mut raw = Raw::open(&relay);
    raw.say(r#"["REQ","flood",{"kinds":[20001]}]"#);
    assert_eq!(raw.message()[0], "EOSE");
    publish_long(&relay, 20_001);
    // What was on its way comes, then the reason.
    let mut events = 0;
    let code = loop {
        match raw.hear() {
            Heard::Frame(TEXT, _) => events += 1,
            Heard::Frame(CLOSE, payload) => break u16::from_be_bytes([payload[0], payload[1]]),
            other => panic!("{other:?}"),
        }
    };
    assert!(events > 0 && events < LONG_EVENTS, "{events}");
    assert_eq!(code, 1008);
}

#[test]
fn by_a_setting_live_events_are_dropped_instead() {
    let relay = TestRelay::with(|config| {
        small_outbox(config);
        config.server.write_timeout_seconds = 30;
        config.root.limits.slow_client = SlowClient::Drop;
    });
    let mut raw = Raw::open(&relay);
    raw.say(r#"["REQ","flood",{"kinds":[20001]}]"#);
    assert_eq!(raw.message()[0], "EOSE");
    publish_long(&relay, 20_001);
    // When this has been passed on, so has all that came before.
    let mut other = relay.connect();
    other.request("after", &[json!({"kinds": [20_002]})]);
    other.publish_ok(&Person::new(6).event(20_002, NOW, &[], "after"));
    assert_eq!(other.receive()[0], "EVENT");
    raw.say(r#"["COUNT","end",{"ids":[]}]"#);
    let mut events = 0;
    while raw.message()[0] == "EVENT" {
        events += 1;
    }
    assert!(events > 0 && events < LONG_EVENTS, "{events}");
    // It has caught up and hears what comes now.
    let note = Person::new(6).event(20_001, NOW, &[], "now");
    relay.connect().publish_ok(&note);
    assert_eq!(raw.message()[2]["id"], note.id.to_string());
}

#[test]
fn who_says_nothing_over_http_is_let_go() {
    let relay = TestRelay::with(|config| config.server.http_header_seconds_max = 1);
    let neighbour = Neighbour::start(&relay);
    let mut silent = Raw::connect(&relay);
    let mut begun = Raw::connect(&relay);
    begun.send(b"GET / HTTP/1.1\r\nHost:");
    let mut idle = Raw::connect(&relay);
    idle.send(b"GET / HTTP/1.1\r\nHost: relay\r\nAccept: application/nostr+json\r\n\r\n");
    assert_eq!(idle.status(), 200);
    for raw in [&mut silent, &mut begun, &mut idle] {
        raw.ends();
    }
    // A head that comes byte by byte, each in good time, is no better.
    let mut drip = Raw::connect(&relay);
    drip.stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let began = Instant::now();
    for byte in b"GET / HTTP/1.1\r\nHost: ".iter().chain(std::iter::repeat(&b'x')) {
        let is_written = std::io::Write::write_all(&mut drip.stream, &[*byte]).is_ok();
        let is_over = match drip.stream.read(&mut [0; 512]) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        };
        if is_over || !is_written {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it is never let go");
    }
    neighbour.noticed_nothing();
}

#[test]
fn a_connection_half_of_which_is_closed_ends() {
    let relay = TestRelay::start();
    let mut before = Raw::connect(&relay);
    before.half_close();
    before.ends();
    let mut after = Raw::open(&relay);
    after.say(r#"["REQ","s",{"kinds":[9999]}]"#);
    assert_eq!(after.message()[0], "EOSE");
    after.half_close();
    after.ends();
    wait_until("its subscription ends", || open_subscriptions(&relay) == 0);
}

#[test]
fn who_does_not_answer_pings_is_let_go() {
    let relay = TestRelay::with(|config| {
        config.server.ping_interval_seconds = 1;
        config.server.ping_timeout_seconds = 1;
    });
    let mut dead = Raw::open(&relay);
    let mut alive = Raw::open(&relay);
    let began = Instant::now();
    for _ in 0..3 {
        let Heard::Frame(PING, payload) = alive.hear() else { panic!("a ping was awaited") };
        alive.send(&frame(0x80 | PONG, &payload));
    }
    assert!(began.elapsed() >= Duration::from_millis(2_500), "pings come at their interval");
    assert!(matches!(dead.hear(), Heard::Frame(PING, _)));
    assert_eq!(dead.hear(), Heard::End);
    alive.works();
}

#[test]
fn nobody_can_keep_the_relay_from_stopping() {
    let mut relay = TestRelay::with(|config| {
        small_outbox(config);
        config.server.write_timeout_seconds = 30;
        config.server.shutdown_seconds_max = 2;
    });
    publish_long(&relay, 1);
    let _silent = Raw::connect(&relay);
    let mut half = Raw::open(&relay);
    half.send(&frame(TEXT, b"[\"REQ\""));
    let mut deaf = Raw::open(&relay);
    for number in 0..10 {
        deaf.say(&format!(r#"["REQ","{number}",{{"kinds":[1]}}]"#));
    }
    let mut polite = Client::connect(&relay.url());
    polite.request("s", &[json!({"kinds": [9_999]})]);
    let began = Instant::now();
    let stopping = std::thread::spawn(move || relay.stop());
    assert_eq!(polite.try_receive().expect("a close frame").to_string(), "the relay is stopping");
    stopping.join().expect("it stops");
    assert!(began.elapsed() < Duration::from_secs(8), "it took {:?}", began.elapsed());
}
