//! What relays elsewhere say to a mirror: messages, reconciliations, lists that they share, and the URLs of relay
//! lists. Reading is compared
//! with a generic reading of the same JSON.

use serde_json::Value;

use super::wire::{event, event_of};
use super::{Chance, Target};
use crate::event::{Event, Id};
use crate::message::elsewhere::Heard;
use crate::nips::nip51::sets::{self, Listed, Why};
use crate::nips::nip65;
use crate::nips::nip77::Set;

pub(super) const HEARD: Target = Target::new("heard", 128 * 1024, build_heard, check_heard);
pub(super) const SETS: Target = Target::new("sets", 64 * 1024, build_set, check_set);
pub(super) const RELAYS: Target = Target::new("relays", 32 * 1024, build_relays, check_relays);

/// Entries of a list.
const ENTRIES_MAX: usize = 1_000;

/// The last second that has a day of four digits for its year.
const YEAR_9999: u64 = 253_402_300_799;

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

fn build_set(chance: &mut Chance) -> Vec<u8> {
    let of_domains = chance.one_in(2);
    let (identifier, usual) = if of_domains { ("blocked-domains", "word") } else { ("banned-pubkeys", "p") };
    let identifier = if chance.one_in(16) { "friends" } else { identifier };
    let mut tags = vec![vec!["d".to_owned(), identifier.to_owned()], vec!["title".to_owned(), chance.text()]];
    let most = if chance.one_in(8) { 100 } else { 8 };
    tags.extend((0..=chance.below(most)).map(|_| {
        let name = chance.pick(&[usual, usual, usual, "p", "word", "left_out", "t"]).to_owned();
        let what = match chance.below(5) {
            0 | 1 if !of_domains => chance.hex::<32>(),
            0..=3 => chance
                .pick(&["Bad.example", "a.b.example.", "bücher.example", "com", "*.x.org", ""])
                .to_owned(),
            _ => chance.text(),
        };
        let day = chance.pick(&["2026-09-21", "2026-02-31", "1970-01-01", "9999-12-31", "x", ""]);
        let mut tag = vec![name, what, String::new(), format!("{day} {}", chance.text())];
        tag.truncate(1 + chance.below(8));
        tag
    }));
    event_of(chance, 30_000, &tags, "").into_bytes()
}

/// A list that was read and is published again is the same one.
fn check_set(bytes: &[u8]) -> bool {
    let Ok(event) = Event::from_json(bytes) else { return false };
    let Some(kind) = sets::kind_of(&event).filter(|_| event.created_at <= YEAR_9999) else { return false };
    let set = match sets::read(kind, &event, ENTRIES_MAX) {
        Ok(set) => set,
        Err(sets::TooLong(_)) => return false,
    };
    assert!(set.entries.len() + set.passed_over <= ENTRIES_MAX);
    let entries: Vec<(Listed, Why)> = set.entries.clone().into_iter().collect();
    let tags = sets::tags(kind, [&set.title, ""], &entries, usize::MAX);
    let printed = |tags| Event { tags, ..event.clone() };
    let again = sets::read(kind, &printed(tags), ENTRIES_MAX).expect("no more than before");
    assert_eq!((&again.title, again.passed_over, again.entries.len()), (&set.title, 0, set.entries.len()));
    for (listed, why) in &set.entries {
        let said = again.entries.get(listed).unwrap_or_else(|| panic!("{listed:?} is lost"));
        assert_eq!((&said.reason, said.at / 86_400), (&why.reason, why.at / 86_400), "{listed:?}");
        assert!(!why.reason.chars().any(char::is_control), "{why:?}");
    }
    // Of one that has no room for all the newest are left.
    let cut = sets::tags(kind, [&set.title, ""], &entries, bytes.len() / 4);
    let cut = sets::read(kind, &printed(cut), ENTRIES_MAX).expect("fewer");
    let newest = set.entries.iter().filter(|(listed, _)| !cut.entries.contains_key(listed));
    let left = cut.entries.keys().filter_map(|listed| set.entries.get(listed)).map(|why| why.at).min();
    assert!(left.is_none_or(|least| newest.clone().all(|(_, why)| why.at <= least)), "{entries:?}");
    !entries.is_empty()
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
