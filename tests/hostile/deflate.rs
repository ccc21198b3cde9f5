//! Compression (permessage-deflate, RFC 7692): what is offered and answered, the Autobahn suite's cases 12 and 13 by a
//! plain use of zlib, and bombs. A COUNT echoes its name, and an event that is read back proves each byte both ways.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::{Value, json};

use crate::common::{NOW, Person, json_of};
use crate::house::House;
use crate::raw::{CLOSE, Heard, Raw, TEXT, frame};

const END: u8 = 0x80;
const PACKED: u8 = 0x40;

/// Ends each flush, and is left out of messages.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The relay keeps contexts of this window for who wants them.
const WITH_CONTEXTS: &str = "[compression]\ncontext_bytes_max = 10_000_000\ncontext_window_bits = 11\n";

/// A client that compresses.
struct Packer {
    raw: Raw,
    out: Compress,
    back: Decompress,
    keeps_out: bool,
    keeps_back: bool,
}

impl Packer {
    /// Connects with this offer; and what was answered to it.
    fn open(house: &House, offer: &str) -> (Packer, String) {
        let mut raw = house.knock();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Extensions: {offer}\r\n\r\n"
        );
        raw.send(head.as_bytes());
        let head = raw.head().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{offer}: {head}");
        let name = "\r\nsec-websocket-extensions: ";
        let answer =
            head.split_once(name).map_or("", |(_, rest)| rest.split("\r\n").next().expect("a value"));
        let bits = |name: &str| {
            let value = answer.split("; ").find_map(|part| part.strip_prefix(name));
            value.map_or(15, |bits| bits.parse::<u8>().expect("a number")).max(9)
        };
        let packer = Packer {
            raw,
            out: Compress::new_with_window_bits(Compression::new(6), false, bits("client_max_window_bits=")),
            back: Decompress::new_with_window_bits(false, bits("server_max_window_bits=")),
            keeps_out: !answer.contains("client_no_context_takeover"),
            keeps_back: !answer.contains("server_no_context_takeover"),
        };
        (packer, answer.to_owned())
    }

    fn pack(&mut self, text: &str) -> Vec<u8> {
        if !self.keeps_out {
            self.out.reset();
        }
        let mut packed = Vec::with_capacity(text.len() + text.len() / 8 + 1_000);
        self.out.compress_vec(text.as_bytes(), &mut packed, FlushCompress::Sync).expect("deflate");
        assert!(packed.ends_with(&TAIL));
        packed.truncate(packed.len() - TAIL.len());
        packed
    }

    /// Says a text in compressed fragments of so many bytes.
    fn say(&mut self, text: &str, fragment_bytes: usize) {
        let packed = self.pack(text);
        let count = packed.chunks(fragment_bytes).count();
        for (at, fragment) in packed.chunks(fragment_bytes).enumerate() {
            let first = if at == 0 { PACKED | TEXT } else { 0 };
            let last = if at + 1 == count { END } else { 0 };
            self.raw.send(&frame(first | last, fragment));
        }
    }

    /// The next message, and whether it was compressed.
    fn hear(&mut self) -> (Value, bool) {
        let (first, payload) = self.raw.hear_frame().expect("a message");
        assert_eq!(first & 0x0f, TEXT, "{payload:?}");
        let is_packed = first & PACKED != 0;
        let text = if is_packed { self.unpack(&payload) } else { payload };
        (serde_json::from_slice(&text).expect("the relay speaks JSON"), is_packed)
    }

    /// Reads little by little, so that what is referred to must lie in the window.
    fn unpack(&mut self, packed: &[u8]) -> Vec<u8> {
        if !self.keeps_back {
            self.back.reset(false);
        }
        let packed = [packed, &TAIL].concat();
        let (mut used, mut all) = (0, Vec::new());
        loop {
            let mut piece = Vec::with_capacity(32);
            let before = self.back.total_in();
            self.back.decompress_vec(&packed[used..], &mut piece, FlushDecompress::Sync).expect("deflate");
            used += usize::try_from(self.back.total_in() - before).expect("few");
            all.extend_from_slice(&piece);
            if piece.len() < piece.capacity() && used == packed.len() {
                return all;
            }
        }
    }
}

const NONE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

#[test]
fn offers_are_taken_or_declined_and_never_refused() {
    let house = House::start("");
    let long = format!("permessage-deflate{}", "; x=1".repeat(2_000));
    let table = [
        ("permessage-deflate", NONE),
        ("permessage-deflate; client_max_window_bits", NONE),
        ("permessage-deflate; client_max_window_bits, permessage-deflate", NONE),
        ("permessage-deflate; client_no_context_takeover=\"1\", permessage-deflate", NONE),
        ("x-webkit-deflate-frame", ""),
        ("permessage-deflate; client_max_window_bits=99", ""),
        (";;;,,,=\"", ""),
        (&long, ""),
    ];
    for (offer, expected) in table {
        let (mut packer, answer) = Packer::open(&house, offer);
        assert_eq!(answer, expected, "{offer}");
        assert_eq!(packer.hear().0[0], "AUTH");
        if expected.is_empty() {
            packer.raw.works();
            packer.raw.send(&frame(END | PACKED | TEXT, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]));
            assert_eq!(packer.raw.closed(), 1002, "{offer}");
        } else {
            packer.say(r#"["COUNT","works",{"ids":[]}]"#, 1_000);
            assert_eq!(packer.hear().0, json!(["COUNT", "works", {"count": 0}]));
        }
    }
    house.stands();
}

/// A text that is half repetition, as what people write is; the same for the same number.
fn prose(number: u64, bytes: usize) -> String {
    let words = ["bread ", "is ", "ready ", "at ", "the ", "corner ", "of ", "our ", "street, ", "come\\n"];
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::new();
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text += words[(state >> 33) as usize % words.len()];
        if state >> 60 == 0 {
            text += &state.to_string();
        }
    }
    text
}

#[test]
fn autobahn_12_and_13_sizes_windows_and_contexts() {
    let house = House::start(WITH_CONTEXTS);
    // 13.1 to 13.7: who keeps what, and how far it looks back.
    let modes = [
        (NONE, NONE),
        ("permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits=11"),
        (
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
        ),
        (
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
        ),
        (
            "permessage-deflate; server_max_window_bits=15; client_no_context_takeover",
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=11",
        ),
        (
            "permessage-deflate; mystery, permessage-deflate; client_no_context_takeover",
            "permessage-deflate; client_no_context_takeover",
        ),
    ];
    for (mode, (offer, expected)) in modes.into_iter().enumerate() {
        let (mut packer, answer) = Packer::open(&house, offer);
        assert_eq!(answer, expected, "{offer}");
        assert_eq!(packer.hear().0[0], "AUTH");
        let mut number = 1_000 * mode as u64;
        let mut packed_answers = 0;
        // 12.1.1 to 12.5.18: from 16 bytes to 128 KiB, whole and in pieces.
        for (bytes, times) in
            [(16, 20), (64, 20), (256, 20), (1_024, 20), (4_096, 10), (32_768, 4), (120_000, 2)]
        {
            for time in 0..times {
                number += 1;
                let event = Person::new(1).event(1, NOW, &[], &prose(number, bytes));
                let fragment_bytes = if time % 2 == 0 { usize::MAX } else { 256 };
                packer.say(&json!(["EVENT", json_of(&event)]).to_string(), fragment_bytes.min(1 << 20));
                assert_eq!(packer.hear().0[2], true, "{offer}, {bytes}");
                packer.say(&json!(["REQ", "back", {"ids": [event.id.to_string()]}]).to_string(), 1 << 20);
                let (back, is_packed) = packer.hear();
                assert_eq!(back, json!(["EVENT", "back", json_of(&event)]), "{offer}, {bytes}");
                packed_answers += usize::from(is_packed);
                assert_eq!(packer.hear().0[0], "EOSE");
            }
        }
        assert!(packed_answers >= 36, "{offer}: {packed_answers}");
    }
    house.stands();
}

#[test]
fn contexts_end_where_the_settings_say_and_the_rest_does_without() {
    let house = House::start("[compression]\ncontext_bytes_max = 10_000\ncontext_window_bits = 11\n");
    let offer = "permessage-deflate; client_max_window_bits";
    // Two windows of 2 KiB each.
    let kept: Vec<(Packer, String)> = (0..4).map(|_| Packer::open(&house, offer)).collect();
    let with = "permessage-deflate; client_max_window_bits=11";
    let answers: Vec<&str> = kept.iter().map(|(_, answer)| answer.as_str()).collect();
    assert_eq!(answers, [with, with, NONE, NONE]);
    drop(kept);
    crate::raw::wait_until("contexts are given back", || Packer::open(&house, offer).1 == with);
    house.stands();
}

#[test]
fn bombs_end_at_the_bound_and_nonsense_at_once() {
    let house = House::start("");
    let packed = |text: &[u8]| {
        let mut packed = Vec::with_capacity(text.len() / 100 + 1_000);
        let mut zlib = Compress::new(Compression::new(9), false);
        zlib.compress_vec(text, &mut packed, FlushCompress::Sync).expect("deflate");
        packed.truncate(packed.len() - TAIL.len());
        packed
    };
    let whole = END | PACKED | TEXT;
    let bomb = packed(&vec![b' '; 200_000_000]);
    assert!(bomb.len() < 250_000);
    let table: [(&str, Vec<u8>, u16); 7] = [
        ("200 MB of blanks", frame(whole, &bomb), 1009),
        (
            "the same in fragments",
            [frame(PACKED | TEXT, &bomb[..100]), frame(END, &bomb[100..])].concat(),
            1009,
        ),
        ("nonsense", frame(whole, &[0xff; 300]), 1007),
        ("last blocks without end", frame(whole, &[3, 0].repeat(50_000)), 1007),
        ("no UTF-8", frame(whole, &packed(b"[\"\xc3\x28\"]")), 1007),
        ("a compressed ping", frame(END | PACKED | 9, b"x"), 1002),
        ("a compressed continuation", [frame(PACKED | TEXT, b"x"), frame(END | PACKED, b"x")].concat(), 1002),
    ];
    for _ in 0..5 {
        for (name, bytes, code) in &table {
            let (mut packer, _) = Packer::open(&house, "permessage-deflate");
            assert_eq!(packer.hear().0[0], "AUTH");
            packer.raw.send(bytes);
            loop {
                match packer.raw.hear() {
                    Heard::Frame(CLOSE, payload) => {
                        assert_eq!(payload[..2], code.to_be_bytes(), "{name}");
                        break;
                    }
                    Heard::Frame(TEXT, _) => {}
                    other => panic!("{name}: {other:?}"),
                }
            }
        }
    }
    house.stands();
}
