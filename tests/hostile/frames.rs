//! Frames: what RFC 6455 allows is taken, what it forbids ends the connection with the right code.

use serde_json::json;

use crate::common::{NOW, Person, TestRelay, json_of};
use crate::neighbour::Neighbour;
use crate::raw::{BINARY, CLOSE, Heard, PING, PONG, Raw, TEXT, frame, head, text};

#[test]
fn forbidden_frames_end_the_connection_with_their_code() {
    let relay = TestRelay::start();
    let neighbour = Neighbour::start(&relay);
    let close = r#"["CLOSE","s"]"#.as_bytes();
    let mut unmasked = head(0x80 | TEXT, close.len(), 0);
    unmasked.extend(close);
    let long_ping = frame(0x80 | PING, &[b'x'; 126]);
    let table: [(&str, Vec<u8>, u16); 13] = [
        ("an unmasked frame", unmasked, 1002),
        ("reserved bit 1", frame(0xc0 | TEXT, close), 1002),
        ("reserved bit 2", frame(0xa0 | TEXT, close), 1002),
        ("reserved bit 3", frame(0x90 | TEXT, close), 1002),
        ("reserved opcode 3", frame(0x83, close), 1002),
        ("reserved opcode 15", frame(0x8f, close), 1002),
        ("a continuation of nothing", frame(0x80, close), 1002),
        ("a text within a text", [frame(TEXT, b"["), frame(0x80 | TEXT, b"]")].concat(), 1002),
        ("a fragmented ping", frame(PING, b"x"), 1002),
        ("a ping of 126 bytes", long_ping, 1002),
        ("text that is not UTF-8", frame(0x80 | TEXT, b"[\"\xff\xfe\"]"), 1007),
        ("a surrogate in UTF-8", frame(0x80 | TEXT, b"[\"\xed\xa0\x80\"]"), 1007),
        ("broken UTF-8 in fragments", [frame(TEXT, b"[\"\xc3"), frame(0x80, b"\"]")].concat(), 1007),
    ];
    for (what, bytes, code) in table {
        let mut raw = Raw::open(&relay);
        raw.works();
        raw.send(&bytes);
        println!("{what}");
        assert_eq!(raw.closed(), code, "{what}");
    }
    neighbour.noticed_nothing();
}

#[test]
fn binary_frames_get_a_notice() {
    let relay = TestRelay::start();
    let mut raw = Raw::open(&relay);
    for payload in [&b""[..], b"\x00\xff", br#"["CLOSE","s"]"#] {
        raw.send(&frame(0x80 | BINARY, payload));
        assert_eq!(raw.message()[0], "NOTICE");
        raw.works();
    }
}

#[test]
fn fragments_and_pings_between_them_are_whole_in_the_end() {
    let relay = TestRelay::start();
    let mut raw = Raw::open(&relay);
    let event = Person::new(1).event(1, NOW, &[], &"grüße ".repeat(100));
    let message = json!(["EVENT", json_of(&event)]).to_string();
    // Byte by byte, so that characters are cut too; and with pings in between.
    let bytes = message.as_bytes();
    raw.send(&frame(TEXT, &bytes[..1]));
    for (at, byte) in bytes[1..].iter().enumerate() {
        raw.send(&frame(0, &[*byte]));
        if at % 100 == 0 {
            raw.send(&frame(0x80 | PING, b"between"));
            assert_eq!(raw.hear(), Heard::Frame(PONG, b"between".to_vec()));
        }
    }
    raw.send(&frame(0x80, b""));
    assert_eq!(raw.message(), json!(["OK", event.id.to_string(), true, ""]));
    // Frames that come in pieces, and several in one piece.
    for byte in text(r#"["COUNT","works",{"ids":[]}]"#) {
        raw.send(&[byte]);
    }
    assert_eq!(raw.message()[0], "COUNT");
    raw.send(&text(r#"["COUNT","many",{"ids":[]}]"#).repeat(500));
    (0..500).for_each(|_| assert_eq!(raw.message()[0], "COUNT"));
}

#[test]
fn a_message_of_the_limit_is_taken_and_a_longer_one_is_not() {
    let relay = TestRelay::with(|config| config.root.limits.message_bytes_max = 10_000);
    let neighbour = Neighbour::start(&relay);
    let event = json!(["EVENT", json_of(&Person::new(1).note("padded"))]).to_string();
    // White space belongs to the message.
    let padded = |bytes: usize| format!("{}{event}", " ".repeat(bytes - event.len()));
    let mut raw = Raw::open(&relay);
    raw.say(&padded(10_000));
    assert_eq!(raw.message()[2], true);
    let whole = padded(10_001);
    let (one, other) = whole.as_bytes().split_at(6_000);
    let fragments = [frame(TEXT, one), frame(0x80, other)].concat();
    for bytes in [text(&whole), fragments, text(&padded(100_000)), text(&padded(10_000_000))] {
        let mut raw = Raw::open(&relay);
        raw.works();
        // The relay need not read all of it.
        let mut writer = raw.stream.try_clone().expect("a second handle");
        let sending = std::thread::spawn(move || drop(std::io::Write::write_all(&mut writer, &bytes)));
        assert_eq!(raw.message(), json!(["NOTICE", "a message has at most 10000 bytes"]));
        assert_eq!(raw.closed(), 1009);
        sending.join().expect("sending ends");
    }
    let mut raw = Raw::open(&relay);
    // A length that could never be: nothing is set aside for it.
    raw.send(&head(0x80 | TEXT, (1 << 62) + 5, 0x80));
    raw.send(&[0; 4]);
    assert_eq!(raw.message()[0], "NOTICE");
    assert_eq!(raw.closed(), 1009);
    neighbour.noticed_nothing();
}

#[test]
fn a_close_is_answered_with_a_close() {
    let relay = TestRelay::start();
    let mut raw = Raw::open(&relay);
    raw.send(&frame(0x80 | CLOSE, &1000_u16.to_be_bytes()));
    assert_eq!(raw.closed(), 1000);
    let mut raw = Raw::open(&relay);
    raw.send(&frame(0x80 | CLOSE, b""));
    assert!(matches!(raw.hear(), Heard::Frame(CLOSE, _)));
    raw.ends();
    let mut raw = Raw::open(&relay);
    raw.send(&frame(0x80 | CLOSE, b"\x03"));
    raw.ends();
}

#[test]
fn leaving_in_the_midst_of_a_message_leaves_nothing_behind() {
    let relay = TestRelay::with(|config| config.server.connections_max = 20);
    let neighbour = Neighbour::start(&relay);
    let whole = text(&json!(["EVENT", json_of(&Person::new(1).note("half"))]).to_string());
    for at in (0..whole.len()).step_by(2) {
        let mut raw = Raw::connect_when_there_is_room(&relay);
        raw.send(&whole[..at]);
        drop(raw);
    }
    assert_eq!(relay.connect().ids(json!({"authors": [Person::new(1).hex()]})).len(), 0);
    neighbour.noticed_nothing();
}
