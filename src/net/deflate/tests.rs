//! Compressed messages through a whole socket: the examples of RFC 7692, faults, bombs, and random conversations in all
//! pieces against a plain use of zlib.

use std::task::Poll;

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Deflate;
use super::offers::{Agreement, offers};
use crate::config;
use crate::fuzz::Chance;
use crate::memory::Ledger;
use crate::net::socket::tests::{Ends, context, masked, socket_with};
use crate::net::socket::{Received, Socket, Unreadable};
use crate::outbox::Text;

/// What a socket of the tests takes at most.
const MESSAGE_BYTES_MAX: usize = 300_000;

const LAST: u8 = 0x80;
const PACKED: u8 = 0x40;
const TEXT: u8 = 1;

fn agreed(parameters: &str, context_bits: Option<u8>) -> Agreement {
    let offer = format!("permessage-deflate{parameters}");
    offers([offer.as_str()].into_iter())[0].agree(context_bits)
}

fn deflate(agreed: Agreement, level: u8) -> Box<Deflate> {
    let settings = config::Compression { level, message_bytes_min: 1, ..config::Compression::default() };
    let memory = Ledger::unbounded();
    let has_context = agreed.context_bytes() > 0;
    Deflate::new(agreed, &settings, has_context.then(|| [memory.nothing(), memory.nothing()]))
}

fn socket_of(agreed: Agreement, level: u8) -> Socket<Ends> {
    socket_with([], Some(deflate(agreed, level)))
}

/// What a socket makes of these bytes, in pieces.
fn read(socket: &mut Socket<Ends>, bytes: &[u8], piece_bytes: usize) -> Vec<Received> {
    socket.stream().pieces.extend(bytes.chunks(piece_bytes.clamp(1, 1 << 16)).map(<[u8]>::to_vec));
    let mut all = Vec::new();
    while let Poll::Ready(received) = socket.poll_receive(&mut context()) {
        let is_end = received.is_err();
        all.push(received);
        if is_end {
            break;
        }
    }
    all
}

fn texts(received: Vec<Received>) -> Vec<String> {
    let text = |received| match received {
        Ok(Message::Text(text)) => Some(text.to_string()),
        Ok(Message::Ping(_)) => None,
        other => panic!("{other:?}"),
    };
    received.into_iter().filter_map(text).collect()
}

/// zlib as a client uses it.
struct Peer {
    out: Compress,
    has_out_context: bool,
    back: Decompress,
    has_back_context: bool,
}

impl Peer {
    fn new(agreed: Agreement) -> Peer {
        Peer {
            out: Compress::new_with_window_bits(Compression::new(6), false, agreed.client_bits.max(9)),
            has_out_context: agreed.client_takeover,
            back: Decompress::new_with_window_bits(false, agreed.server_bits.max(9)),
            has_back_context: agreed.server_takeover,
        }
    }

    fn pack(&mut self, text: &str) -> Vec<u8> {
        if !self.has_out_context {
            self.out.reset();
        }
        if text.is_empty() {
            // A second flush in a row says nothing.
            return vec![0];
        }
        let mut packed = Vec::with_capacity(2 * text.len() + 100);
        self.out.compress_vec(text.as_bytes(), &mut packed, FlushCompress::Sync).expect("deflate");
        assert!(packed.ends_with(&[0, 0, 0xff, 0xff]), "room for all");
        packed.truncate(packed.len() - 4);
        packed
    }

    /// Reads little by little, so that whatever is referred to must lie within the window.
    fn unpack(&mut self, packed: &[u8]) -> Vec<u8> {
        if !self.has_back_context {
            self.back.reset(false);
        }
        let packed = [packed, &[0, 0, 0xff, 0xff]].concat();
        let (mut used, mut all) = (0, Vec::new());
        loop {
            let mut piece = Vec::with_capacity(16);
            let before = self.back.total_in();
            self.back
                .decompress_vec(&packed[used..], &mut piece, FlushDecompress::Sync)
                .expect("deflate within the window");
            used += usize::try_from(self.back.total_in() - before).expect("few");
            all.extend_from_slice(&piece);
            if piece.len() < piece.capacity() && used == packed.len() {
                return all;
            }
        }
    }
}

#[test]
fn the_examples_of_the_rfc() {
    let whole = |payload: &[u8]| masked(LAST | PACKED | TEXT, payload);
    let hello = whole(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    let fragments = [
        masked(PACKED | TEXT, &[0xf2, 0x48, 0xcd]),
        masked(LAST | 9, b"ping"),
        masked(LAST, &[0xc9, 0xc9, 0x07, 0x00]),
    ];
    let table: &[(&str, Vec<u8>, &[&str])] = &[
        ("7.2.3.1: one block", hello.clone(), &["Hello"]),
        ("7.2.3.1: fragments", fragments.concat(), &["Hello"]),
        (
            "7.2.3.2: a window",
            [hello.clone(), whole(&[0xf2, 0x00, 0x11, 0x00, 0x00])].concat(),
            &["Hello", "Hello"],
        ),
        ("7.2.3.3: a stored block", whole(b"\x00\x05\x00\xfa\xffHello\x00"), &["Hello"]),
        ("7.2.3.4: a last block", whole(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]), &["Hello"]),
        (
            "7.2.3.5: two blocks",
            whole(&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]),
            &["Hello"],
        ),
        ("7.2.3.6: nothing", whole(&[0x00]), &[""]),
        ("a last block and nothing after it", whole(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), &["Hello"]),
        (
            "empty fragments",
            [masked(PACKED | TEXT, &[]), masked(0, &[0x00]), masked(LAST, &[])].concat(),
            &[""],
        ),
        (
            "plain among them",
            [masked(LAST | TEXT, b"a"), hello, masked(LAST | TEXT, b"b")].concat(),
            &["a", "Hello", "b"],
        ),
    ];
    for (name, bytes, expected) in table {
        for piece_bytes in [1, 3, 1_000] {
            let mut socket = socket_of(agreed("", Some(15)), 2);
            assert_eq!(texts(read(&mut socket, bytes, piece_bytes)), *expected, "{name}");
            let _ = socket.poll_flush(&mut context());
            assert_eq!(socket.held_bytes(), 0, "{name}");
        }
    }
}

#[test]
fn faults_end_the_connection_for_their_reason() {
    #[derive(Debug, PartialEq)]
    enum End {
        Protocol,
        Utf8,
        Size,
        Deflate,
    }
    let packed = |text: &[u8]| {
        let mut out = Vec::with_capacity(100_000);
        let mut zlib = Compress::new(Compression::new(9), false);
        zlib.compress_vec(text, &mut out, FlushCompress::Sync).expect("deflate");
        out
    };
    let first = masked(PACKED | TEXT, &[0xf2, 0x48]);
    let then = |second: Vec<u8>| [first.clone(), second].concat();
    let unmasked = [&[LAST | PACKED | TEXT, 1][..], &[0; 8]].concat();
    let table = [
        ("a continuation that says it is compressed", then(masked(LAST | PACKED, b"x")), End::Protocol),
        ("a text within a message", then(masked(LAST | TEXT, b"x")), End::Protocol),
        ("a compressed one within", then(masked(LAST | PACKED | TEXT, b"x")), End::Protocol),
        ("one within a plain message", [masked(TEXT, b"x"), first.clone()].concat(), End::Protocol),
        ("a compressed ping", masked(LAST | PACKED | 9, b"x"), End::Protocol),
        ("a compressed continuation of nothing", masked(LAST | PACKED, b"x"), End::Protocol),
        ("another reserved bit", masked(LAST | PACKED | 0x20 | TEXT, b"x"), End::Protocol),
        ("no mask", unmasked, End::Protocol),
        ("no deflate", masked(LAST | PACKED | TEXT, &[0xff; 20]), End::Deflate),
        (
            "refers to before the beginning",
            masked(LAST | PACKED | TEXT, &[0xf2, 0x00, 0x11, 0x00, 0x00]),
            End::Deflate,
        ),
        ("many last blocks", masked(LAST | PACKED | TEXT, &[3, 0].repeat(50)), End::Deflate),
        ("no UTF-8", masked(LAST | PACKED | TEXT, &packed(b"a\xffb")), End::Utf8),
        ("a bomb", masked(LAST | PACKED | TEXT, &packed(&vec![b'x'; 30_000_000])), End::Size),
        (
            "one byte more",
            masked(LAST | PACKED | TEXT, &packed(&vec![b'x'; MESSAGE_BYTES_MAX + 1])),
            End::Size,
        ),
        (
            "a long head",
            masked(LAST | PACKED | TEXT, &vec![0; 2 * MESSAGE_BYTES_MAX])[..20].to_vec(),
            End::Size,
        ),
    ];
    for (name, bytes, expected) in table {
        for piece_bytes in [1, 1_000_000] {
            let mut socket = socket_of(agreed("", None), 2);
            let end = match read(&mut socket, &bytes, piece_bytes).pop() {
                Some(Err(Unreadable::Protocol(Error::Protocol(_)))) => End::Protocol,
                Some(Err(Unreadable::Protocol(Error::Utf8(_)))) => End::Utf8,
                Some(Err(Unreadable::Protocol(Error::Capacity(CapacityError::MessageTooLong {
                    ..
                })))) => End::Size,
                Some(Err(Unreadable::Deflate)) => End::Deflate,
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(end, expected, "{name}");
            assert!(socket.held_bytes() <= 2 * MESSAGE_BYTES_MAX, "{name}");
        }
    }
    let mut socket = socket_of(agreed("", None), 2);
    let longest = "x".repeat(MESSAGE_BYTES_MAX);
    let bytes = masked(LAST | PACKED | TEXT, &packed(longest.as_bytes()));
    assert!(texts(read(&mut socket, &bytes, 1_000)) == [longest]);
}

/// Text that repeats itself here and there, of about so many bytes.
fn text(chance: &mut Chance, bytes: usize) -> String {
    let words: Vec<String> = (0..20).map(|_| chance.hex::<8>() + &chance.text()).collect();
    let mut text = String::new();
    while text.len() < bytes {
        match chance.one_in(3) {
            true => text += &chance.hex::<16>(),
            false => text += &words[chance.below(words.len())],
        }
    }
    text
}

/// The payload of each frame that was sent, and whether it was compressed.
fn frames(mut bytes: &[u8]) -> Vec<(bool, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, length, ..] = bytes {
        let (head, length) = match length {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => (10, bytes[2..10].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))),
            length => (2, usize::from(*length)),
        };
        if first & 0x0f == TEXT {
            frames.push((first & PACKED != 0, bytes[head..head + length].to_vec()));
        }
        bytes = &bytes[head + length..];
    }
    frames
}

#[test]
fn what_is_said_is_what_is_heard_in_all_windows_and_pieces() {
    let seed = std::env::var("PLAZA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    println!("PLAZA_SEED={seed}");
    let mut chance = Chance::new(seed);
    let modes = [
        ("", None),
        ("; server_max_window_bits=8", None),
        ("; server_max_window_bits=9; client_max_window_bits=9", None),
        ("", Some(9)),
        ("; client_max_window_bits", Some(12)),
        ("; server_no_context_takeover", Some(15)),
        ("; client_no_context_takeover", Some(15)),
        ("; server_max_window_bits=10; client_max_window_bits=9", Some(15)),
    ];
    let mut sockets = Vec::new();
    for (at, (parameters, context_bits)) in modes.into_iter().enumerate() {
        let agreed = agreed(parameters, context_bits);
        sockets.push((socket_of(agreed, 1 + at as u8), Peer::new(agreed), parameters));
    }
    for round in 0..60 {
        // Connections of one thread in turn: none may take another's state for its own.
        let at = chance.below(sockets.len());
        let (socket, peer, parameters) = &mut sockets[at];
        for _ in 0..1 + chance.below(3) {
            let bytes = [0, 1, 40, 700, 5_000, 70_000][chance.below(6)];
            let text = text(&mut chance, bytes);
            let mut sent = Vec::new();
            if chance.one_in(4) {
                sent.extend(masked(LAST | TEXT, text.as_bytes()));
            } else {
                let packed = peer.pack(&text);
                let cut = chance.below(packed.len() + 1);
                sent.extend(masked(PACKED | TEXT, &packed[..cut]));
                sent.extend(masked(LAST | 9, b"alive?"));
                sent.extend(masked(LAST, &packed[cut..]));
            }
            let piece_bytes = [1, 7, 2_000, 100_000][chance.below(4)];
            assert!(texts(read(socket, &sent, piece_bytes)) == [text.clone()], "{round} {parameters}");
            let body = Bytes::from(text);
            let head = r#"["EVENT","sub","#;
            let said =
                [Text::Event { head, body: &body }, Text::Whole(std::str::from_utf8(&body).expect("text"))];
            said.iter().for_each(|text| socket.send(text));
            while !socket.poll_flush(&mut context()).is_ready() {}
            let taken = std::mem::take(&mut socket.stream().taken);
            let heard: Vec<Vec<u8>> = frames(&taken)
                .into_iter()
                .map(|(is_packed, payload)| if is_packed { peer.unpack(&payload) } else { payload })
                .collect();
            assert!(heard == said.map(|text| text.pieces().concat()), "{round} {parameters}");
        }
    }
}

#[test]
fn an_event_is_compressed_once_for_all_and_short_messages_go_as_they_are() {
    let body = Bytes::from(r#"{"content":"all work and no play makes Jack a dull boy"}"#.repeat(20));
    let mut sizes = Vec::new();
    for (head, expected) in [(r#"["EVENT","a","#, true), (r#"["EVENT","another","#, true)] {
        let mut socket = socket_of(agreed("", None), 2);
        socket.send(&Text::Event { head, body: &body });
        assert!(socket.poll_flush(&mut context()).is_ready());
        let sent = frames(&socket.stream().taken);
        assert_eq!(sent[0].0, expected);
        let whole = [head.as_bytes(), &body, b"]"].concat();
        assert!(Peer::new(agreed("", None)).unpack(&sent[0].1) == whole);
        sizes.push(sent[0].1.len() - head.len());
        let tally = socket.take_tally().expect("it compresses");
        assert_eq!((tally.plain[0], tally.plain[1]), (whole.len() as u64, 0));
        assert!(tally.packed[0] < tally.plain[0] / 3, "{tally:?}");
    }
    assert_eq!(sizes[0], sizes[1]);
    let settings = config::Compression { message_bytes_min: 100, ..config::Compression::default() };
    let mut socket = socket_with([], Some(Deflate::new(agreed("", None), &settings, None)));
    socket.send(&Text::Whole(&"x".repeat(99)));
    socket.send(&Text::Whole(&"x".repeat(100)));
    // What gets no shorter goes as it is.
    let random: String =
        (0..200_u32).map(|at| char::from(33 + (at.wrapping_mul(2_654_435_761) >> 24) as u8 % 90)).collect();
    socket.send(&Text::Whole(&random));
    assert!(socket.poll_flush(&mut context()).is_ready());
    let packed: Vec<bool> =
        frames(&socket.stream().taken).into_iter().map(|(is_packed, _)| is_packed).collect();
    assert_eq!(packed[..2], [false, true]);
}

#[test]
fn half_a_compressed_message_counts_and_is_let_go_of() {
    let mut socket = socket_of(agreed("", None), 2);
    let bytes = masked(LAST | PACKED | TEXT, &[0x55; 100_000]);
    assert!(read(&mut socket, &bytes[..90_000], 10_000).is_empty());
    assert!((90_000..250_000).contains(&socket.held_bytes()), "{}", socket.held_bytes());
    socket.stop_reading();
    assert_eq!(socket.held_bytes(), 0);
}
