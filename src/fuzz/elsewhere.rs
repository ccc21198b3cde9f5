//! What relays elsewhere say to a mirror: messages, reconciliations, and the URLs of relay lists. Reading is compared
//! with a generic reading of the same JSON.

use serde_json::Value;

use super::wire::event;
use super::{Chance, Target};
use crate::event::{Event, Id};
use crate::message::elsewhere::Heard;
use crate::nips::nip65;
use crate::nips::nip77::Set;

pub(super) const HEARD: Target = Target::new("heard", 128 * 1024, build_heard, check_heard);
pub(super) const RELAYS: Target = Target::new("relays", 32 * 1024, build_relays, check_relays);

/// Events of the set that foreign reconciliations are about.
const SET_EVENTS: u8 = 50;

fn build_heard(chance: &mut Chance) -> Vec<u8> {
    let name = chance.pick(&["live", "fetch-1", "page-7", "compare-2", ""]);
    let reason =
        chance.pick(&["duplicate: x", "rate-limited: slow", "blocked: too big", "auth-required:", ""]);
    let text = match chance.below(9) {
        0 | 1 => format!("[\"EVENT\",\"{name}\",{}]", event(chance)),
        2 => format!("[\"OK\",\"{}\",{},\"{reason}\"]", chance.hex::<32>(), chance.one_in(2)),
        3 => format!("[\"EOSE\",\"{name}\",[\"finish\"]]"),
        4 => format!("[\"CLOSED\",\"{name}\",\"{reason}\"]"),
        5 => format!("[\"NOTICE\",{}]", chance.quoted(reason)),
        6 => format!("[\"AUTH\",\"{}\"]", chance.hex::<16>()),
        7 => format!("[\"NEG-MSG\",\"{name}\",\"61{}\"]", differences(chance)),
        _ => format!("[\"NEG-ERR\",\"{name}\",\"{reason}\",{}]", chance.edge()),
    };
    text.into_bytes()
}

/// The rest of a message of the protocol: ranges with lists of ids, fingerprints, or neither.
fn differences(chance: &mut Chance) -> String {
    let ranges = chance.some(6, |chance| {
        let bound = format!("{:02x}00", chance.below(128));
        let content = match chance.below(3) {
            0 => "00".to_owned(),
            1 => format!("01{}", chance.hex::<16>()),
            _ => format!("0201{}", chance.hex::<32>()),
        };
        bound + &content
    });
    ranges.concat()
}

fn check_heard(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Some(heard) = Heard::from_json(text) else { return false };
    // What follows the elements that are read may be more than a generic reading takes, such as long numbers.
    let Ok(value) = serde_json::from_str::<Value>(text) else { return true };
    let is_text = |at: usize, text: &str| value[at].as_str().unwrap_or_default() == text;
    match heard {
        Heard::Event(name, event) => {
            let read = Event::from_json(value[2].to_string().as_bytes());
            assert!(is_text(0, "EVENT") && is_text(1, &name), "{text}");
            assert_eq!(read.ok().as_ref(), Some(&*event), "the event reads the same by itself");
        }
        Heard::Ok(id, is_taken, why) => {
            assert_eq!((value[1].as_str(), value[2].as_bool()), (Some(&*id.to_string()), Some(is_taken)));
            assert!(is_text(0, "OK") && is_text(3, &why), "{text}");
        }
        Heard::Closed(name, why) => assert!(is_text(0, "CLOSED") && is_text(1, &name) && is_text(2, &why)),
        Heard::NegErr(name, why) => assert!(is_text(0, "NEG-ERR") && is_text(1, &name) && is_text(2, &why)),
        Heard::Eose(name) => assert!(is_text(0, "EOSE") && is_text(1, &name), "{text}"),
        Heard::Notice(said) => assert!(is_text(0, "NOTICE") && is_text(1, &said), "{text}"),
        Heard::Auth(challenge) => assert!(is_text(0, "AUTH") && is_text(1, &challenge), "{text}"),
        Heard::NegMsg(name, message) => {
            assert!(is_text(0, "NEG-MSG") && is_text(1, &name) && is_text(2, &message), "{text}");
            reconcile(&message);
        }
        Heard::Other => {}
    }
    true
}

/// Nothing that is said can make a side learn of events that it has itself, or more than it was told.
fn reconcile(message: &str) {
    let Ok(message) = hex::decode(message) else { return };
    let mut set = Set::default();
    (0..SET_EVENTS).for_each(|number| set.add(number.into(), &Id([number; 32])));
    if let Ok(learned) = set.seal().learn(&message) {
        let told = message.len() / size_of::<Id>();
        assert!(learned.only_there.len() <= told, "{} ids of {told}", learned.only_there.len());
        let is_own = |id: &Id| id.0[0] < SET_EVENTS && id.0.iter().all(|byte| *byte == id.0[0]);
        assert!(learned.only_here.iter().all(is_own), "only what is here can be lacking there");
    }
}

fn build_relays(chance: &mut Chance) -> Vec<u8> {
    let lines = chance.some(12, |chance| {
        let scheme = chance.pick(&["wss://", "ws://", "WSS://", "https://", ""]);
        let host =
            chance.pick(&["relay.example", "Relay.Example.", "[::1]", "127.0.0.1", "a@b.example", "x.onion"]);
        let port = chance.pick(&["", ":443", ":80", ":7777", ":x"]);
        let path = chance.pick(&["", "/", "/town", "/town/", "?a=b", "#x", "/ü"]);
        format!("{scheme}{host}{port}{path}")
    });
    format!("wss://relay.example\n{}", lines.join("\n")).into_bytes()
}

fn check_relays(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut is_good = false;
    for url in text.lines() {
        let Some(normalized) = nip65::normalized(url) else { continue };
        is_good = true;
        assert_eq!(nip65::normalized(&normalized).as_ref(), Some(&normalized), "{url} has one form");
        assert!(normalized.starts_with("ws://") || normalized.starts_with("wss://"), "{url}");
        assert!(!normalized.contains(['?', '#', ' ']), "{url} becomes {normalized}");
    }
    is_good
}
