//! The cases of the Autobahn test suite for WebSocket, by its numbers, as far as they are not about compression
//! (`deflate.rs`): what is sent, and what must come back. It asks for an echo; a COUNT echoes its name, and the OK of an
//! event proves that each byte of it arrived.

use serde_json::json;

use crate::common::{NOW, Person, json_of};
use crate::house::House;
use crate::raw::{BINARY, CLOSE, Heard, PING, PONG, Raw, TEXT, frame, text};

/// The last fragment of a message, or a message of one.
pub(crate) const END: u8 = 0x80;

/// What must come back.
#[derive(Debug, Clone)]
pub(crate) enum Then {
    /// The answer to [`echo`] of this text.
    Echo(String),
    /// The refusal of [`told`] with this text.
    Told(String),
    /// The OK of the event with this id.
    Stored(String),
    /// A message that says what is wrong.
    Notice,
    Pong(Vec<u8>),
    /// A close frame of this code, and the end.
    Closed(u16),
    /// A close frame with just this in it, and the end.
    CloseEcho(Vec<u8>),
}

/// A case: its number, what is sent, in pieces of so many bytes if not at once, and what must come back. Where that
/// is no end the connection must work afterwards.
pub(crate) struct Case(pub(crate) &'static str, pub(crate) Vec<u8>, pub(crate) usize, pub(crate) Vec<Then>);

/// A message that is answered with the text in it.
pub(crate) fn echo(name: &str) -> String {
    json!(["COUNT", name, {"ids": []}]).to_string()
}

/// A message with this text in it that is refused: the session answers it by itself, before it looks at what follows.
fn told_text(name: &str) -> String {
    json!(["COUNT", name, {"ids": ["no id"]}]).to_string()
}

/// The same in one frame.
fn told(name: &str) -> Vec<u8> {
    text(&told_text(name))
}

/// An echo of so many bytes: white space belongs to the message.
fn echo_of(bytes: usize) -> Vec<u8> {
    let echo = echo("x");
    format!("{}{echo}", " ".repeat(bytes - echo.len())).into_bytes()
}

/// The same in one frame.
fn said(name: &str) -> Vec<u8> {
    text(&echo(name))
}

/// An event whose message has so many bytes, and what must come back.
fn event_of(bytes: usize) -> (Vec<u8>, Then) {
    let with = |content: &str| {
        let event = Person::new(1).event(1, NOW, &[], content);
        (json!(["EVENT", json_of(&event)]).to_string(), event.id.to_string())
    };
    let (shortest, _) = with("");
    // Text that does not repeat, so that no byte could stand for another.
    let content: String = (0..)
        .flat_map(|number: u32| format!("{number} ").into_bytes())
        .map(char::from)
        .take(bytes - shortest.len())
        .collect();
    let (message, id) = with(&content);
    assert_eq!(message.len(), bytes);
    (message.into_bytes(), Then::Stored(id))
}

/// A message in fragments of so many bytes.
pub(crate) fn fragments(first: u8, payload: &[u8], bytes: usize) -> Vec<u8> {
    let count = payload.len().div_ceil(bytes).max(1);
    let part = |at: usize| {
        let end = if at + 1 == count { END } else { 0 };
        let operation = if at == 0 { first } else { 0 };
        frame(end | operation, &payload[at * bytes..payload.len().min((at + 1) * bytes)])
    };
    (0..count).flat_map(part).collect()
}

fn echoed(name: &str) -> Then {
    Then::Echo(name.to_owned())
}

fn comes(raw: &mut Raw, number: &str, then: &Then) {
    match then {
        Then::Echo(name) => assert_eq!(raw.message(), json!(["COUNT", name, {"count": 0}]), "{number}"),
        Then::Told(name) => {
            let answer = raw.message();
            assert_eq!((&answer[0], &answer[1]), (&json!("CLOSED"), &json!(name)), "{number}: {answer}");
        }
        Then::Stored(id) => {
            let answer = raw.message();
            let known = json!(["OK", id, true, "duplicate: already have this event"]);
            assert!(answer == json!(["OK", id, true, ""]) || answer == known, "{number}: {answer}");
        }
        Then::Notice => assert_eq!(raw.message()[0], "NOTICE", "{number}"),
        Then::Pong(payload) => assert_eq!(raw.hear(), Heard::Frame(PONG, payload.clone()), "{number}"),
        Then::Closed(code) => assert_eq!(raw.closed(), *code, "{number}"),
        Then::CloseEcho(payload) => {
            assert_eq!(raw.hear(), Heard::Frame(CLOSE, payload.clone()), "{number}");
            assert_eq!(raw.hear(), Heard::End, "{number}");
        }
    }
}

/// Plays cases, each on a connection of its own.
pub(crate) fn play(house: &House, cases: &[Case]) {
    for Case(number, sent, piece_bytes, awaited) in cases {
        let mut raw = house.open();
        let whole = if *piece_bytes == 0 { sent.len().max(1) } else { *piece_bytes };
        for piece in sent.chunks(whole) {
            // Who is closed in the midst of what they say need not be able to say the rest.
            if std::io::Write::write_all(&mut raw.stream, piece).is_err() {
                break;
            }
        }
        awaited.iter().for_each(|then| comes(&mut raw, number, then));
        if !matches!(awaited.last(), Some(Then::Closed(_) | Then::CloseEcho(_))) {
            raw.works();
        }
    }
}

#[test]
fn frames_of_all_sizes_1() {
    let house = House::start("");
    let mut cases = vec![
        Case("1.1.1", text(""), 0, vec![Then::Notice]),
        Case("1.2.1", frame(END | BINARY, b""), 0, vec![Then::Notice]),
    ];
    for bytes in [125, 126, 127, 128] {
        let message = String::from_utf8(echo_of(bytes)).expect("text");
        cases.push(Case("1.1.2 to 1.1.5", text(&message), 0, vec![echoed("x")]));
        cases.push(Case("1.2.2 to 1.2.5", frame(END | BINARY, message.as_bytes()), 0, vec![Then::Notice]));
    }
    for bytes in [65_535, 65_536, 131_072] {
        let (message, then) = event_of(bytes);
        cases.push(Case("1.1.6, 1.1.7", frame(END | TEXT, &message), 0, vec![then.clone()]));
        cases.push(Case("1.1.8", frame(END | TEXT, &message), 997, vec![then]));
        cases.push(Case("1.2.6 to 1.2.8", frame(END | BINARY, &message), 997, vec![Then::Notice]));
    }
    play(&house, &cases);
    house.stands();
}

#[test]
fn pings_and_pongs_2() {
    let house = House::start("");
    let ping = |payload: &[u8]| frame(END | PING, payload);
    let pong = |payload: &[u8]| Then::Pong(payload.to_vec());
    let binary = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    let many: Vec<u8> = (0..10).flat_map(|number| ping(format!("payload-{number}").as_bytes())).collect();
    let pongs: Vec<Then> = (0..10).map(|number| pong(format!("payload-{number}").as_bytes())).collect();
    let unasked = |payload: &[u8]| frame(END | PONG, payload);
    let cases = [
        Case("2.1", ping(b""), 0, vec![pong(b"")]),
        Case("2.2", ping(b"Hello, world!"), 0, vec![pong(b"Hello, world!")]),
        Case("2.3", ping(&binary), 0, vec![pong(&binary)]),
        Case("2.4", ping(&[0xfe; 125]), 0, vec![pong(&[0xfe; 125])]),
        Case("2.5", ping(&[0xfe; 126]), 0, vec![Then::Closed(1002)]),
        Case("2.6", ping(&[0xfe; 125]), 1, vec![pong(&[0xfe; 125])]),
        Case("2.7", unasked(b""), 0, vec![]),
        Case("2.8", unasked(b"unsolicited pong payload"), 0, vec![]),
        Case("2.9", [unasked(b"unsolicited"), ping(b"ping")].concat(), 0, vec![pong(b"ping")]),
        Case("2.10", many.clone(), 0, pongs.clone()),
        Case("2.11", many, 1, pongs),
        Case("a long pong", unasked(&[0; 126]), 0, vec![Then::Closed(1002)]),
    ];
    play(&house, &cases);
    house.stands();
}

#[test]
fn reserved_bits_and_operations_3_and_4() {
    let house = House::start("");
    let mut cases = Vec::new();
    for bits in 1..8_u8 {
        for operation in [TEXT, BINARY, PING, PONG, CLOSE] {
            let sent =
                [told("first"), frame(END | (bits << 4) | operation, b"Hello"), said("never")].concat();
            for piece_bytes in [0, 1] {
                let awaited = vec![Then::Told("first".to_owned()), Then::Closed(1002)];
                cases.push(Case("3.1 to 3.7", sent.clone(), piece_bytes, awaited));
            }
        }
    }
    for operation in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in [&b""[..], b"unknown opcode"] {
            let sent = [told("first"), frame(END | operation, payload), frame(END | PING, b"")].concat();
            for piece_bytes in [0, 1] {
                let awaited = vec![Then::Told("first".to_owned()), Then::Closed(1002)];
                cases.push(Case("4.1.1 to 4.2.5", sent.clone(), piece_bytes, awaited));
            }
        }
    }
    play(&house, &cases);
    house.stands();
}

#[test]
fn fragments_5() {
    let house = House::start("");
    let message = echo("fragments").into_bytes();
    let (one, other) = message.split_at(9);
    let begin = |part: &[u8]| frame(TEXT, part);
    let middle = |part: &[u8]| frame(0, part);
    let end = |part: &[u8]| frame(END, part);
    let ping = frame(END | PING, b"ping");
    let (whole, pong) = (echoed("fragments"), Then::Pong(b"ping".to_vec()));
    let mut cases = vec![
        Case("5.1", [frame(PING, b"frag1"), end(b"frag2")].concat(), 0, vec![Then::Closed(1002)]),
        Case("5.2", [frame(PONG, b"frag1"), end(b"frag2")].concat(), 0, vec![Then::Closed(1002)]),
    ];
    for piece_bytes in [0, 1] {
        let awaited = vec![whole.clone()];
        let with_ping = vec![pong.clone(), whole.clone()];
        let failed = vec![Then::Closed(1002)];
        let alone = [end(b"lost"), said("x")].concat();
        let open = [middle(b"lost"), said("x")].concat();
        let first = fragments(TEXT, &told_text("first").into_bytes(), 9);
        let late = [first, middle(b"lost"), said("x")].concat();
        let within = [begin(one), said("x")].concat();
        let row = |number, sent, awaited: &Vec<Then>| Case(number, sent, piece_bytes, awaited.clone());
        cases.extend([
            row("5.3 to 5.5", [begin(one), end(other)].concat(), &awaited),
            row("5.6 to 5.8", [begin(one), ping.clone(), end(other)].concat(), &with_ping),
            row("5.9 to 5.11", alone, &failed),
            row("5.12 to 5.14", open, &failed),
            row("5.15", late, &vec![Then::Told("first".to_owned()), Then::Closed(1002)]),
            row("5.16, 5.17", [middle(b"lost"), begin(one), end(other)].concat(), &failed),
            row("5.18", within, &failed),
            row("binary within a text", [begin(one), frame(END | BINARY, b"x")].concat(), &failed),
            row("an empty beginning", [begin(b""), middle(b""), end(&message)].concat(), &awaited),
            row("an empty end", [begin(one), middle(other), end(b"")].concat(), &awaited),
        ]);
        let parts: Vec<&[u8]> = message.chunks(5).collect();
        let mut sent = begin(parts[0]);
        for part in &parts[1..] {
            sent.extend([middle(part), ping.clone()].concat());
        }
        sent.extend(end(b""));
        let mut awaited = vec![pong.clone(); parts.len() - 1];
        awaited.push(whole.clone());
        cases.push(row("5.19, 5.20", sent, &awaited));
    }
    play(&house, &cases);
    house.stands();
}

fn closing(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}

#[test]
fn closing_7() {
    let house = House::start("");
    let close = |payload: &[u8]| frame(END | CLOSE, payload);
    let normal = closing(1000, b"");
    let echo_of_close = |payload: &[u8]| vec![Then::CloseEcho(payload.to_vec())];
    let long = closing(1000, &[b'*'; 123]);
    let open = frame(TEXT, b"begun");
    let mut cases = vec![
        Case(
            "7.1.1",
            [told("first"), close(&normal)].concat(),
            0,
            vec![Then::Told("first".to_owned()), Then::CloseEcho(normal.clone())],
        ),
        Case("7.1.2", [close(&normal), close(&normal)].concat(), 0, echo_of_close(&normal)),
        Case("7.1.3", [close(&normal), frame(END | PING, b"late")].concat(), 0, echo_of_close(&normal)),
        Case("7.1.4", [close(&normal), said("late")].concat(), 0, echo_of_close(&normal)),
        Case("7.1.5", [open, close(&normal), frame(END, b"late")].concat(), 0, echo_of_close(&normal)),
        Case("7.1.6", [close(&normal), said("late").repeat(5_000)].concat(), 0, echo_of_close(&normal)),
        Case("7.3.1", close(b""), 0, echo_of_close(b"")),
        Case("7.3.2", close(b"a"), 0, vec![Then::Closed(1002)]),
        Case("7.3.3", close(&normal), 1, echo_of_close(&normal)),
        Case(
            "7.3.4",
            close(&closing(1000, b"Hello World!")),
            0,
            echo_of_close(&closing(1000, b"Hello World!")),
        ),
        Case("7.3.5", close(&long), 0, echo_of_close(&long)),
        Case("7.3.6", close(&closing(1000, &[b'*'; 124])), 0, vec![Then::Closed(1002)]),
        Case("7.5.1", close(&closing(1000, b"\xce\xba\xed\xa0\x80edited")), 0, vec![Then::Closed(1007)]),
    ];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999] {
        cases.push(Case(
            "7.7.1 to 7.7.13",
            close(&closing(code, b"why")),
            0,
            echo_of_close(&closing(code, b"why")),
        ));
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        for reason in [&b""[..], b"why"] {
            cases.push(Case("7.9.1 to 7.13.2", close(&closing(code, reason)), 0, vec![Then::Closed(1002)]));
        }
    }
    play(&house, &cases);
    house.stands();
}

#[test]
fn large_messages_9_and_10() {
    let house = House::start("");
    let (message, then) = event_of(131_072);
    let mut cases = Vec::new();
    for bytes in [64, 256, 1_024, 4_096, 16_384, 65_536, 131_072] {
        cases.push(Case("9.3.1 to 9.3.9", fragments(TEXT, &message, bytes), 0, vec![then.clone()]));
        cases.push(Case("9.4.1 to 9.4.9", fragments(BINARY, &message, bytes), 0, vec![Then::Notice]));
    }
    for bytes in [64, 128, 256, 512, 1_024, 2_048] {
        cases.push(Case("9.5.1 to 9.5.6", frame(END | TEXT, &message), bytes, vec![then.clone()]));
    }
    let (message, then) = event_of(65_536);
    cases.push(Case("10.1.1", fragments(TEXT, &message, 1_300), 0, vec![then]));
    let many = said("again").repeat(1_000);
    cases.push(Case("9.7.1", many.clone(), 0, vec![echoed("again"); 1_000]));
    cases.push(Case("9.7.2", many, 1_013, vec![echoed("again"); 1_000]));
    play(&house, &cases);
    house.stands();
}

#[test]
fn compression_that_is_switched_off_is_not_taken_and_not_understood() {
    let house = House::start("[compression]\nenabled = false");
    let long = format!("permessage-deflate{}", "; x=1".repeat(2_000));
    let offers = [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits, permessage-deflate",
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=99",
        "x-webkit-deflate-frame",
        ";;;,,,=\"",
        &long,
    ];
    for offer in offers {
        let mut raw = house.knock();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: nostr\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n"
        );
        raw.send(head.as_bytes());
        let answer = raw.head().to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 101 "), "{answer}");
        assert!(answer.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{answer}");
        assert!(
            !answer.contains("sec-websocket-extensions") && !answer.contains("sec-websocket-protocol"),
            "{offer}: {answer}"
        );
        assert_eq!(raw.message()[0], "AUTH");
        raw.works();
        // "Hello", compressed (RFC 7692, section 7.2.3.1).
        raw.send(&frame(0xc0 | TEXT, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]));
        assert_eq!(raw.closed(), 1002, "{offer}");
    }
    house.stands();
}

#[test]
fn floods_of_pings_are_answered_to_who_reads_and_end_who_does_not() {
    let house = House::start("[server]\nwrite_timeout_seconds = 1");
    let ping = |number: usize| frame(END | PING, format!("{number:>125}").as_bytes());
    let mut raw = house.open();
    for batch in 0..50 {
        raw.send(&(0..200).flat_map(|number| ping(batch * 200 + number)).collect::<Vec<u8>>());
        for number in 0..200 {
            let payload = format!("{:>125}", batch * 200 + number).into_bytes();
            assert_eq!(raw.hear(), Heard::Frame(PONG, payload));
        }
    }
    raw.works();
    let mut deaf = house.open();
    deaf.says_until_it_is_let_go(&ping(0).repeat(500));
    raw.works();
    drop((raw, deaf));
    house.stands();
}
