//! What is no TLS, or TLS that nobody should speak: each gets an alert, or what its speaker understands, and the end.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

use crate::common::authority::{NAME, TlsStream, handshake};
use crate::house::House;
use crate::raw::Raw;

/// A record of TLS: its kind, the version that it says, and its content.
fn record(kind: u8, version: [u8; 2], content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a short record").to_be_bytes();
    [&[kind][..], &version, &length, content].concat()
}

/// The greeting of a client that knows this version at best (RFC 5246, section 7.4.1.2), without extensions.
fn old_hello(version: [u8; 2]) -> Vec<u8> {
    let hello = [&version[..], &[7; 32], &[0], &[0, 4, 0xc0, 0x13, 0x00, 0x2f], &[1, 0]].concat();
    let length = u8::try_from(hello.len()).expect("a short hello");
    record(0x16, [3, 1], &[&[1, 0, 0, length][..], &hello].concat())
}

/// The greeting of a client of today.
fn hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = ServerName::try_from(NAME).expect("a name");
    let mut client = ClientConnection::new(Arc::clone(config), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a hello");
    hello
}

/// What must come back before the end.
enum Then {
    /// An alert that there is no version, or no other thing, that both know (RFC 8446, section 6).
    Alert,
    /// Something that begins with this.
    Words(&'static str),
    /// Perhaps something.
    End,
}

#[test]
fn what_is_no_tls_is_told_so() {
    let house = House::start("[server]\nhttp_header_seconds_max = 2");
    let today = hello(&house.authority.client());
    let (half, rest) = today.split_at(today.len() / 2);
    // SSLv2's greeting has its length first, and no record around it.
    let sslv2 = [&[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10][..], &[7; 37]].concat();
    let bytewise: Vec<u8> = today[5..].iter().flat_map(|byte| record(0x16, [3, 1], &[*byte])).collect();
    let get = b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n";
    let rows: Vec<(&str, Vec<u8>, Then)> = vec![
        ("SSLv2", sslv2, Then::End),
        ("SSLv3", old_hello([3, 0]), Then::Alert),
        ("TLS 1.0", old_hello([3, 1]), Then::Alert),
        ("TLS 1.1", old_hello([3, 2]), Then::Alert),
        ("plain HTTP", get.to_vec(), Then::Words("HTTP/1.1 400 ")),
        (
            "a plain handshake",
            b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n".to_vec(),
            Then::Words("HTTP/1.1 400 "),
        ),
        (
            "a plain body",
            [&b"POST / HTTP/1.1\r\n\r\n"[..], &[b'x'; 100_000]].concat(),
            Then::Words("HTTP/1.1 400 "),
        ),
        ("zeros", vec![0; 1_000], Then::End),
        ("what is no kind of record", record(0x99, [3, 3], &[0; 100]), Then::End),
        ("a record that is too long", [&[0x16, 3, 1, 0xff, 0xff][..], &[1; 1_000]].concat(), Then::End),
        ("an empty record", record(0x16, [3, 1], &[]), Then::End),
        ("an alert first", record(0x15, [3, 1], &[2, 40]), Then::End),
        ("data first", record(0x17, [3, 3], &[7; 100]), Then::End),
        ("a server's greeting", record(0x16, [3, 3], &[2, 0, 0, 4, 3, 3, 7, 7]), Then::End),
        (
            "a greeting of nonsense",
            record(0x16, [3, 1], &[&[1, 0, 0, 100][..], &[0xff; 100]].concat()),
            Then::End,
        ),
        (
            "a greeting that is far too long",
            record(0x16, [3, 1], &[&[1, 0xff, 0xff, 0xff][..], &[7; 1_000]].concat()),
            Then::End,
        ),
        ("half a greeting", half.to_vec(), Then::End),
        ("a greeting twice", [&today[..], &today].concat(), Then::End),
        ("a greeting, then data", [&today[..], &record(0x17, [3, 3], &[7; 100])].concat(), Then::End),
        ("a greeting, then HTTP", [&today[..], get].concat(), Then::End),
        ("a greeting in halves that do not meet", [half, &record(0x16, [3, 1], rest)].concat(), Then::End),
    ];
    for (what, sent, then) in rows {
        let mut raw = Raw::to(house.tls_address);
        let _ = raw.stream.write_all(&sent);
        let _ = raw.stream.shutdown(Shutdown::Write);
        let answer = raw.rest();
        match then {
            Then::Alert => {
                assert_eq!(answer.len(), 7, "{what}: {answer:?}");
                assert_eq!((answer[0], answer[5]), (0x15, 2), "{what}: {answer:?}");
                assert!([40, 70].contains(&answer[6]), "{what}: {answer:?}");
            }
            Then::Words(words) => assert!(answer.starts_with(words.as_bytes()), "{what}: {answer:?}"),
            Then::End => {}
        }
    }
    // Cut into many records it is still a greeting.
    let mut raw = Raw::to(house.tls_address);
    raw.send(&bytewise);
    let mut first = [0; 6];
    raw.stream.read_exact(&mut first).expect("an answer");
    assert_eq!((first[0], first[5]), (0x16, 2), "a greeting is answered with one");
    drop(raw);
    house.stands();
}

fn open(stream: &mut TlsStream) {
    let head = "GET / HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("the relay reads");
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).expect("an answer");
    assert_eq!(&begin, b"HTTP/1.1 101");
}

#[test]
fn names_that_are_not_asked_for_or_not_ours_get_the_same_certificate() {
    let house = House::start("");
    // No name at all: what clients send that connect to an address.
    let mut config = Arc::unwrap_or_clone(house.authority.client());
    config.enable_sni = false;
    open(&mut handshake(&Arc::new(config), house.tls_address, NAME).expect("a handshake"));
    // A name of somebody else: the client sees a certificate that is not for it.
    let refused = handshake(&house.authority.client(), house.tls_address, "evil.example");
    assert!(refused.expect_err("not its name").to_string().contains("not valid for name"));
    let long = format!("{}.example", "a".repeat(60));
    handshake(&house.authority.client(), house.tls_address, &long).expect_err("not its name");
    house.stands();
}

#[test]
fn who_leaves_without_a_word_leaves_nothing_behind() {
    let house = House::start("[server]\nhttp_header_seconds_max = 2");
    for number in 0..30 {
        let mut stream = handshake(&house.authority.client(), house.tls_address, NAME).expect("a handshake");
        match number % 3 {
            // Nothing asked.
            0 => {}
            // Within a session.
            1 => open(&mut stream),
            // Within a session, after half a record.
            _ => {
                open(&mut stream);
                stream.sock.write_all(&[0x17, 3, 3, 0x40, 0, 1, 2, 3]).expect("the relay reads");
            }
        }
        // Closed without TLS's own goodbye.
        drop(stream.sock);
    }
    // A record that nobody could have made ends a session.
    let mut stream = handshake(&house.authority.client(), house.tls_address, NAME).expect("a handshake");
    open(&mut stream);
    stream.sock.write_all(&record(0x17, [3, 3], &[7; 100])).expect("the relay reads");
    let mut rest = Vec::new();
    assert!(stream.sock.read_to_end(&mut rest).is_ok(), "an alert, and the end");
    house.stands();
}
