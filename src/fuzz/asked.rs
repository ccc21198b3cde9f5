//! Calls of the management API: tokens (NIP-98) and bodies (NIP-86).

use secp256k1::{Keypair, SecretKey};
use serde_json::{Value, json};

use super::{Chance, Target};
use crate::event::{Event, Id, Kind, PublicKey, Signature, Verified};
use crate::nips::nip86::{self, Method, NAMES};
use crate::nips::nip98::{self, Requested, WINDOW_SECONDS};
use crate::rule::RelayNames;
use crate::rule::moderation::{Moderation, Ruling, Standing};

pub(super) const TOKEN: Target = Target::new("token", 20 * 1024, build_token, check_token);
pub(super) const CALL: Target = Target::new("call", 64 * 1024, build_call, check_call);

const NOW: u64 = 1_790_000_000;
const URL: &str = "https://relay.example/town";
const PAYLOAD: [u8; 32] = [7; 32];

fn names() -> RelayNames {
    RelayNames::new(&["wss://relay.example/town".to_owned()], None, "/")
}

/// A token that is signed, and mostly right.
fn build_token(chance: &mut Chance) -> Vec<u8> {
    let secret = SecretKey::from_secret_bytes([7; 32]).expect("a secret key");
    let pair = Keypair::from_secret_key(&secret);
    let rarely = |chance: &mut Chance, usual: &str| {
        if chance.one_in(12) { chance.text() } else { usual.to_owned() }
    };
    let (url, method) = (rarely(chance, URL), rarely(chance, "POST"));
    let payload = rarely(chance, &hex::encode(PAYLOAD));
    let tags = [["u", &url], ["method", &method], ["payload", &payload]];
    let mut event = Event {
        id: Id([0; 32]),
        pubkey: PublicKey(pair.x_only_public_key().0.to_byte_array()),
        created_at: NOW + 62 - chance.below(124) as u64,
        kind: if chance.one_in(12) { Kind(1) } else { Kind::HTTP_AUTH },
        tags: tags.into_iter().collect(),
        content: if chance.one_in(4) { chance.text() } else { String::new() },
        sig: Signature([0; 64]),
    };
    event.id = event.hash(&mut Vec::new());
    event.sig = Signature(pair.sign_schnorr_no_aux_rand(&event.id.0).to_byte_array());
    let mut header = nip98::header(&Verified::assumed(event));
    if chance.one_in(8) {
        header = header.replacen("Nostr", chance.pick(&["nostr", "NOSTR", "Bearer", ""]), 1);
    }
    if chance.one_in(4) {
        header = header.trim_end_matches('=').to_owned();
    }
    header.into_bytes()
}

fn check_token(bytes: &[u8]) -> bool {
    let Ok(header) = std::str::from_utf8(bytes) else { return false };
    let relay = names();
    let asked = |method, payload, now| Requested { method, payload, relay: &relay, now };
    match nip98::authorize(Some(header), &asked("POST", PAYLOAD, NOW)) {
        Err(reason) => {
            assert!(!reason.is_empty() && reason.len() <= 1_000, "{} bytes: {reason:.300}", reason.len());
            false
        }
        Ok(_) => {
            // It is for this request alone, for a while.
            assert!(nip98::authorize(Some(header), &asked("PUT", PAYLOAD, NOW)).is_err());
            assert!(nip98::authorize(Some(header), &asked("POST", [8; 32], NOW)).is_err());
            assert!(
                nip98::authorize(Some(header), &asked("POST", PAYLOAD, NOW + 2 * WINDOW_SECONDS + 1))
                    .is_err()
            );
            let elsewhere = RelayNames::new(&["wss://other.example/town".to_owned()], None, "/");
            let requested = Requested { relay: &elsewhere, ..asked("POST", PAYLOAD, NOW) };
            assert!(nip98::authorize(Some(header), &requested).is_err());
            true
        }
    }
}

/// A parameter of the kind that methods take.
fn parameter(chance: &mut Chance) -> Value {
    match chance.below(9) {
        0 | 1 => json!(chance.hex::<32>()),
        2 => json!(chance.pick(&[
            "192.0.2.1",
            "192.0.2.9/24",
            "2001:db8::1/32",
            "::ffff:192.0.2.1",
            "::ffff:10.0.0.0/104",
            "::/0"
        ])),
        3 => json!(chance.pick(&["ann", "baker", "admin", "b.c-d_1", "banevent"])),
        4 => json!(chance.below(1_200)),
        5 => json!(chance.edge()),
        6 => json!(chance.some(5, |chance| chance.hex::<32>())),
        7 => json!({"kind": 1, "content": chance.text()}),
        _ => json!(chance.text()),
    }
}

fn build_call(chance: &mut Chance) -> Vec<u8> {
    let (name, _) = NAMES[chance.below(NAMES.len())];
    let mut parameters = chance.some(6, parameter);
    let first = match name {
        _ if name.ends_with("kind") => json!(chance.below(70_000)),
        _ if name.ends_with("ip") => {
            json!(chance.pick(&["192.0.2.1", "192.0.2.9/24", "::ffff:192.0.2.0/120", "2001:db8::/32"]))
        }
        "setname" | "removename" | "createrole" | "editrole" | "deleterole" => json!("baker"),
        "listevents" | "listprofiles" => json!(chance.some(5, |chance| chance.hex::<32>())),
        "explain" => json!({"kind": 1}),
        "listauditlog" => json!(chance.below(1_100)),
        _ => json!("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
    };
    if !chance.one_in(5) {
        parameters.insert(0, first);
    }
    let mut body = json!({"method": name, "params": parameters});
    if chance.one_in(20) {
        body[chance.pick(&["method", "params", "x"])] = parameter(chance);
    }
    body.to_string().into_bytes()
}

fn check_call(bytes: &[u8]) -> bool {
    let (name, method) = match nip86::read(bytes) {
        Ok(call) => call,
        Err(unreadable) => {
            let said = unreadable.to_string();
            assert!(!said.is_empty() && said.len() <= 1_000, "{} bytes: {said:.300}", said.len());
            return false;
        }
    };
    assert!(nip86::rank_of(&name).is_some(), "{name} has a rank");
    match &method {
        Method::BlockIp(network, _) | Method::UnblockIp(network) => {
            // Addresses of clients are in the form that a call must block them in.
            let mut moderation = Moderation::default();
            let (reason, by) = (String::new(), String::new());
            moderation.addresses.insert(*network, Ruling { standing: Standing::Banned, reason, by, at: 0 });
            for address in [network.network(), network.broadcast()] {
                assert!(moderation.blocks(address.to_canonical()), "{network} blocks {address}");
            }
            let again = json!({"method": name, "params": [network.to_string()]}).to_string();
            let again = nip86::read(again.as_bytes()).expect("a network that was written").1;
            let (Method::BlockIp(read, _) | Method::UnblockIp(read)) = again else { panic!("{again:?}") };
            assert_eq!(read, *network);
        }
        Method::ListAuditLog(count, _) | Method::ListAuthorEvents(_, count) => {
            assert!((1..=nip86::ENTRIES_MAX).contains(count));
        }
        Method::BanPubkey(key, reason) | Method::AllowPubkey(key, reason) => {
            assert!(reason.chars().count() <= nip86::REASON_CHARS_MAX);
            let again = json!({"method": name, "params": [key.to_string(), reason]}).to_string();
            assert_eq!(nip86::read(again.as_bytes()), Ok((name, method)));
        }
        _ => {}
    }
    true
}
