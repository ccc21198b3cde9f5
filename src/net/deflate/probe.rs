//! Invariants of compression, for `crate::fuzz`: what a client may offer, and what it may call deflate.

use super::Deflate;
use super::offers::{BITS_MAX, BITS_MIN, offers};
use crate::config::Compression;
use crate::fuzz::{Chance, Target};
use crate::memory::Ledger;
use crate::net::socket::Unreadable;
use crate::outbox::Text;
use tokio_tungstenite::tungstenite::{Error, Message};

pub(crate) const OFFER: Target = Target::new("offer", 4 * 1024, build_offer, check_offer);
pub(crate) const DEFLATE: Target = Target::new("deflate", 64 * 1024, build_deflate, check_deflate);

/// The longest message that the target takes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

fn build_offer(chance: &mut Chance) -> Vec<u8> {
    let offers = chance.some(6, |chance| {
        let name = if chance.one_in(6) { "foo" } else { "permessage-deflate" };
        let mut parts = vec![name.to_owned()];
        parts.extend(chance.some(3, |chance| {
            let name = chance.pick(&[
                "server_no_context_takeover",
                "client_no_context_takeover",
                "server_max_window_bits",
                "client_max_window_bits",
            ]);
            let name = if chance.one_in(12) { "mystery" } else { name };
            let value = match () {
                () if chance.one_in(8) => chance.pick(&["", "=", "=7", "=\"", "=a b", "=16", "=09"]),
                () if name.contains("bits") => chance.pick(&["=8", "=15", "=\"12\"", " = 9"]),
                () => "",
            };
            format!("{name}{value}")
        }));
        parts.join(chance.pick(&[";", "; ", " ; "]))
    });
    let parts = chance.pick(&[",", ", ", "\n", ",,"]);
    offers.join(parts).into_bytes()
}

/// Whatever is agreed on lies within what was offered, and its answer can be read as an offer.
fn check_offer(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let found = offers(text.split('\n'));
    for offer in &found {
        for context_bits in [None, Some(9), Some(12), Some(BITS_MAX)] {
            let agreed = offer.agree(context_bits);
            for bits in [agreed.server_bits, agreed.client_bits] {
                assert!((BITS_MIN..=BITS_MAX).contains(&bits), "{agreed}");
            }
            assert!(agreed.context_bytes() <= 2 << BITS_MAX);
            if context_bits.is_none() {
                assert_eq!(agreed.context_bytes(), 0);
            }
            let answer = agreed.to_string();
            let [again] = offers([answer.as_str()].into_iter())[..] else { panic!("{answer}") };
            let again = again.agree(context_bits);
            assert_eq!(again.server_bits.max(9), agreed.server_bits.max(9), "{answer}");
            assert!(agreed.server_takeover || !again.server_takeover, "{answer}");
        }
    }
    !found.is_empty()
}

/// One byte that says how; then a text to send and read again, or frames as a client may send them.
fn build_deflate(chance: &mut Chance) -> Vec<u8> {
    let mut bytes = vec![chance.below(256) as u8];
    if bytes[0] & 1 == 0 {
        let pieces = chance.some(40, Chance::text);
        bytes.extend(pieces.join(chance.pick(&["", "again and again", "00"])).into_bytes());
        return bytes;
    }
    for _ in 0..chance.below(6) {
        let mut packed = Vec::new();
        let text = chance.some(20, Chance::text).concat();
        let mut sent = deflate(None);
        if !sent.put(&Text::Whole(&text), &mut packed) {
            packed = vec![0xc1, 2, 3, 0];
        }
        // As a client frames it: the length, and a mask.
        let payload = if packed.len() > 1 { &packed[packed.len().min(4)..] } else { &[] };
        bytes.push(chance.pick(&["\u{41}", "\u{0}"]).as_bytes()[0] | if chance.one_in(3) { 0 } else { 0x80 });
        bytes.push(0x80 | (payload.len().min(125) as u8));
        bytes.extend([0; 4]);
        bytes.extend(&payload[..payload.len().min(125)]);
    }
    bytes
}

fn deflate(context_bits: Option<u8>) -> Box<Deflate> {
    let settings = Compression { message_bytes_min: 1, ..Compression::default() };
    let offer = offers(["permessage-deflate"].into_iter())[0];
    let memory = Ledger::unbounded();
    let charges = context_bits.map(|_| [memory.nothing(), memory.nothing()]);
    Deflate::new(offer.agree(context_bits), &settings, charges)
}

/// What is sent can be read; whatever is read ends within its bound, and with a message or a fault.
fn check_deflate(bytes: &[u8]) -> bool {
    let Some((how, bytes)) = bytes.split_first() else { return false };
    let context_bits = (how & 2 != 0).then_some(9 + (how >> 2) % 7);
    if how & 1 == 0 {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let (mut here, mut there) = (deflate(context_bits), deflate(context_bits.map(|_| BITS_MAX)));
        for _ in 0..2 {
            let mut frame = Vec::new();
            if here.put(&Text::Whole(text), &mut frame) {
                assert_eq!(received(&mut there, &masked(&frame)), [text]);
            }
        }
        return true;
    }
    let mut deflate = deflate(context_bits);
    let (mut used, mut is_good) = (0, false);
    while used < bytes.len() {
        if !deflate.claims(bytes[used]) {
            return is_good;
        }
        let (taken, received) = deflate.take(&bytes[used..], false, MESSAGE_BYTES_MAX);
        assert!(taken > 0 && deflate.held_bytes() <= 3 * MESSAGE_BYTES_MAX);
        used += taken;
        match received {
            Some(Ok(message)) => {
                assert!(message.len() <= MESSAGE_BYTES_MAX);
                is_good = true;
            }
            Some(Err(Unreadable::Protocol(Error::Io(_)))) => panic!("nothing is read here"),
            Some(Err(_)) => return false,
            None => {}
        }
    }
    is_good
}

/// A frame of the relay's as a client would send it, with a mask of zeros.
pub(super) fn masked(frame: &[u8]) -> Vec<u8> {
    let head = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let mut out = frame[..head].to_vec();
    out[1] |= 0x80;
    out.extend([0; 4]);
    out.extend(&frame[head..]);
    out
}

/// The texts that frames come to.
pub(super) fn received(deflate: &mut Deflate, mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let (taken, received) = deflate.take(bytes, false, 2 * MESSAGE_BYTES_MAX);
        bytes = &bytes[taken..];
        match received {
            Some(Ok(Message::Text(text))) => texts.push(text.to_string()),
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
    texts
}
