//! What strangers may try. Each attack holds what it has opened until its peak was looked at.

use std::io::Write;
use std::net::{Ipv6Addr, TcpStream};

use flate2::{Compress, Compression, FlushCompress};
use serde_json::json;

use crate::common::{NOW, Person, json_of};
use crate::relay::{FILTERS_MAX, MESSAGE_BYTES_MAX, Running, VALUES_MAX};
use crate::wire::{connect, frame, head, hear, try_upgrade};

/// Connections that an attack still has.
pub(crate) type Held = Vec<TcpStream>;

/// Attacks a relay, so many times as much as is done in a moment.
pub(crate) type Attack = fn(&Running, usize) -> Held;

/// Events that each reconciliation is about: one more than a list has room for that grew by doubling.
const RECONCILED_EVENTS: usize = 8_193;

/// Reconciliations that a connection may have open, unless it is set.
const RECONCILIATIONS_MAX: usize = 4;

/// By name.
pub(crate) const ATTACKS: &[(&str, Attack)] = &[
    ("subscriptions at every limit", subscriptions),
    ("slow readers of what is stored", slow_readers),
    ("slow readers of what is new", deaf_to_what_is_new),
    ("messages that are half sent", half_messages),
    ("requests over HTTP that are half sent", half_requests),
    ("handshakes of TLS that are half done", half_handshakes),
    ("requests and counts that nobody reads", storms),
    ("reconciliations of all that is stored", reconciliations),
    ("proofs of keys that are none", proofs),
    ("events that nobody reads the answers to", unread_answers),
    ("a new address for each connection", addresses),
    ("compressed messages that are too long, or half sent", bombs),
    ("contexts of compressed messages", contexts),
];

/// Sessions that have begun, as many of so many as there is room for.
fn sessions(running: &Running, number: usize) -> Held {
    (0..number).filter_map(|_| try_upgrade(running.address, "").ok()).collect()
}

/// Sends texts to each; who was sent away, or is not listened to, is passed over.
fn say_all(held: &mut Held, texts: &[String]) {
    let frames: Vec<u8> = texts.iter().flat_map(|text| frame(text)).collect();
    held.retain_mut(|stream| stream.write_all(&frames).is_ok());
}

fn subscriptions(running: &Running, scale: usize) -> Held {
    let mut held = sessions(running, 4 * scale);
    let (mut opened, mut refused) = (0, 0);
    for (number, stream) in held.iter_mut().enumerate() {
        for subscription in 0..25 {
            let filter = |filter: usize| {
                let value = |value: usize| {
                    format!("{:x}", ((number * 25 + subscription) * 16 + filter) * 2_048 + value)
                };
                json!({"#t": (0..VALUES_MAX).map(value).collect::<Vec<_>>(), "limit": 1})
            };
            let mut message = vec![json!("REQ"), json!(subscription.to_string())];
            message.extend((0..FILTERS_MAX).map(filter));
            let text = json!(message).to_string();
            assert!(text.len() <= MESSAGE_BYTES_MAX, "{}", text.len());
            stream.write_all(&frame(&text)).expect("the relay reads");
            loop {
                let answer = hear(stream).expect("an answer");
                match () {
                    () if answer.starts_with("[\"EOSE\"") => opened += 1,
                    () if answer.contains("rate-limited: ") => refused += 1,
                    () => continue,
                }
                break;
            }
        }
    }
    println!("{opened} subscriptions of {} values were opened, {refused} refused", FILTERS_MAX * VALUES_MAX);
    assert!(opened > 0 && refused > 0, "{opened} and {refused}");
    held
}

/// Stores events that are long.
fn store_long(running: &Running, number: usize) {
    let mut client = running.client();
    for at in 0..number {
        let content = format!("{at} {}", "x".repeat(60_000));
        client.publish_ok(&Person::new(5).event(1, NOW, &[], &content));
    }
}

fn slow_readers(running: &Running, scale: usize) -> Held {
    store_long(running, 100);
    let mut held = sessions(running, 400 * scale);
    let ask = |number| format!(r#"["REQ","{number}",{{"kinds":[1],"limit":2000}}]"#);
    say_all(&mut held, &(0..10).map(ask).collect::<Vec<_>>());
    held
}

fn deaf_to_what_is_new(running: &Running, scale: usize) -> Held {
    let mut client = running.client();
    let mut held = sessions(running, 400 * scale);
    say_all(&mut held, &[r#"["REQ","new",{"kinds":[20001]}]"#.to_owned()]);
    for number in 0..100 {
        let content = format!("{number} {}", "x".repeat(60_000));
        client.publish_ok(&Person::new(6).event(20_001, NOW, &[], &content));
    }
    held
}

fn half_messages(running: &Running, scale: usize) -> Held {
    let mut held = sessions(running, 500 * scale);
    let mut half = head(MESSAGE_BYTES_MAX - 100);
    half.extend(std::iter::repeat_n(b'x', 100_000));
    held.retain_mut(|stream| stream.write_all(&half).is_ok());
    // Fragments of one message, with room for a longer one.
    let mut fragment = head(60_000);
    fragment[0] = 0x01;
    fragment.extend(std::iter::repeat_n(b'x', 60_000));
    fragment.extend_from_slice(&{
        let mut next = head(MESSAGE_BYTES_MAX - 70_000);
        next[0] = 0x00;
        next
    });
    let mut fragments = sessions(running, 100 * scale);
    fragments.retain_mut(|stream| stream.write_all(&fragment).is_ok());
    held.append(&mut fragments);
    held
}

/// What a client offers of compression.
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// A compressed frame of this text.
fn packed(text: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(text.len() + 1_000);
    let mut zlib = Compress::new(Compression::new(6), false);
    zlib.compress_vec(text, &mut packed, FlushCompress::Sync).expect("deflate");
    packed.truncate(packed.len() - 4);
    let mut frame = head(packed.len());
    frame[0] = 0xc1;
    frame.extend(packed);
    frame
}

/// Each says what would be hundreds of times longer than a message may be; others send half of what may be one, or much
/// that is nothing but long.
fn bombs(running: &Running, scale: usize) -> Held {
    let offering = |number| (0..number).filter_map(|_| try_upgrade(running.address, OFFER).ok());
    let bomb = packed(&vec![b' '; 100_000_000]);
    let mut held: Held = offering(100 * scale).collect();
    held.retain_mut(|stream| stream.write_all(&bomb).is_ok());
    let long = packed(&[&vec![b' '; MESSAGE_BYTES_MAX - 100], &b"[]"[..]].concat());
    let mut more: Held = offering(100 * scale).collect();
    more.retain_mut(|stream| stream.write_all(&long.repeat(20)).is_ok());
    let mut half = head(MESSAGE_BYTES_MAX - 100);
    half[0] = 0x41;
    half.extend(std::iter::repeat_n(0x55, 100_000));
    let mut halves: Held = offering(400 * scale).collect();
    halves.retain_mut(|stream| stream.write_all(&half).is_ok());
    held.extend(more);
    held.extend(halves);
    held
}

/// Each gets an answer that fills its context, and says as much.
fn contexts(running: &Running, scale: usize) -> Held {
    store_long(running, 2);
    let mut held: Held = (0..400 * scale).filter_map(|_| try_upgrade(running.address, OFFER).ok()).collect();
    let said = packed(&[&vec![b' '; 40_000], &b"[]"[..]].concat());
    held.retain_mut(|stream| stream.write_all(&said).is_ok());
    say_all(&mut held, &[r#"["REQ","long",{"kinds":[1],"limit":2}]"#.to_owned()]);
    held
}

fn half_requests(running: &Running, scale: usize) -> Held {
    let long = "x".repeat(28_000);
    let get = format!("GET / HTTP/1.1\r\nHost: relay\r\nX-Long: {long}");
    let post = format!(
        "POST / HTTP/1.1\r\nHost: relay\r\nContent-Type: application/nostr+json+rpc\r\nContent-Length: 250000\r\n\r\n{}",
        "x".repeat(200_000)
    );
    let each = (0..400 * scale).filter_map(|number| {
        let mut stream = connect(running.address).ok()?;
        let text = if number % 2 == 0 { &get } else { &post };
        stream.write_all(text.as_bytes()).ok()?;
        Some(stream)
    });
    each.collect()
}

fn half_handshakes(running: &Running, scale: usize) -> Held {
    // A record of 16,000 bytes that says hello, and ends in the midst.
    let mut hello = vec![0x16, 3, 1, 0x3e, 0x80, 1, 0, 0x3e, 0x7c, 3, 3];
    hello.extend(std::iter::repeat_n(0, 15_000));
    let each = (0..500 * scale).filter_map(|_| {
        let mut stream = connect(running.tls_address).ok()?;
        stream.write_all(&hello).ok()?;
        Some(stream)
    });
    each.collect()
}

fn storms(running: &Running, scale: usize) -> Held {
    store_long(running, 20);
    let mut held = sessions(running, 20 * scale);
    let kinds: Vec<String> = (0..FILTERS_MAX).map(|kind| format!(r#"{{"kinds":[{kind}]}}"#)).collect();
    let ask = |number: usize| match number % 2 {
        0 => format!(r#"["REQ","{}",{}]"#, number % 300, kinds.join(",")),
        _ => format!(r#"["COUNT","{number}",{}]"#, kinds.join(",")),
    };
    say_all(&mut held, &(0..2_000).map(ask).collect::<Vec<_>>());
    held
}

/// Stores events that are short, many under way at once.
fn store_short(running: &Running, number: usize) {
    let mut client = running.client();
    let events: Vec<_> = (0..number).map(|at| Person::new(9).note(&at.to_string())).collect();
    for some in events.chunks(50) {
        some.iter().for_each(|event| client.submit(event));
        some.iter().for_each(|event| assert!(client.answer_to(event).0, "it is stored"));
    }
}

/// As many reconciliations as a connection may have, over as many connections as it takes until there is no room; then
/// each asks for all ids, and nobody reads them. Each asks for something else, so that none shares the set of another.
fn reconciliations(running: &Running, scale: usize) -> Held {
    store_short(running, RECONCILED_EVENTS);
    let mut held = sessions(running, 150 * scale);
    let (mut opened, mut refused) = (0, 0);
    for (number, stream) in held.iter_mut().enumerate() {
        for name in 0..RECONCILIATIONS_MAX {
            let until = 4_000_000_000 + number * RECONCILIATIONS_MAX + name;
            // The fingerprint of everything, which nobody has.
            let digits = format!("61000001{}", "00".repeat(16));
            let text = format!(r#"["NEG-OPEN","{name}",{{"until":{until}}},"{digits}"]"#);
            stream.write_all(&frame(&text)).expect("the relay reads");
            loop {
                let answer = hear(stream).expect("an answer");
                match () {
                    () if answer.starts_with("[\"NEG-MSG\"") => opened += 1,
                    () if answer.contains("rate-limited: ") => refused += 1,
                    () => continue,
                }
                break;
            }
        }
    }
    println!("{opened} reconciliations of {RECONCILED_EVENTS} events were opened, {refused} refused");
    assert!(opened > 0 && refused > 0, "{opened} and {refused}");
    let ask = |name: usize| format!(r#"["NEG-MSG","{name}","6100000200"]"#);
    say_all(&mut held, &(0..RECONCILIATIONS_MAX).map(ask).collect::<Vec<_>>());
    held
}

fn proofs(running: &Running, scale: usize) -> Held {
    let mut held = sessions(running, 10 * scale);
    let mut proof =
        Person::new(7).event(22_242, NOW, &[&["relay", "ws://elsewhere"], &["challenge", "none"]], "");
    proof.sig.0[0] ^= 1;
    let text = json!(["AUTH", json_of(&proof)]).to_string();
    say_all(&mut held, &vec![text; 2_000]);
    held
}

fn unread_answers(running: &Running, scale: usize) -> Held {
    let mut held = sessions(running, 10 * scale);
    let mut event = Person::new(8).note("a forgery");
    event.sig.0[0] ^= 1;
    let text = json!(["EVENT", json_of(&event)]).to_string();
    say_all(&mut held, &vec![text; 2_000]);
    held
}

fn addresses(running: &Running, scale: usize) -> Held {
    let mut held = Held::new();
    for number in 0..500 * scale as u128 {
        let address = Ipv6Addr::from_bits(0x2001_0db8 << 96 | number << 64);
        let Ok(mut stream) = try_upgrade(running.address, &format!("X-Forwarded-For: {address}\r\n")) else {
            continue;
        };
        stream.write_all(&frame(r#"["REQ","s",{"ids":[]}]"#)).expect("the relay reads");
        if number % 4 == 0 {
            held.push(stream);
        }
    }
    held
}
