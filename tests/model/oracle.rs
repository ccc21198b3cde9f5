//! What a relay must do, stated as plainly as can be: a list of events and the rules of the NIPs, each
//! looked up by walking the whole list. Nothing here is quick, and nothing of it is the relay's own but
//! what an event is and `Filter::matches`, places aside.

use std::collections::BTreeSet;

use plaza::event::{Event, Id, PublicKey};

use crate::places::Asked;

/// Events that one filter gets when it names no limit, and at most: the relay's settings in this test.
pub(crate) const LIMIT_DEFAULT: usize = 7;
pub(crate) const LIMIT_MAX: usize = 40;
/// How far an answer may go beyond the relay's own cap to end with a whole second.
const BOUNDARY_EXTRA_MAX: usize = 500;
/// What is kept of ephemeral events with a place, where any are.
pub(crate) const REPLAY_SECONDS: u64 = 4;
pub(crate) const REPLAY_EVENTS_MAX: usize = 12;
/// How far ahead `created_at` may be.
const FUTURE_SECONDS_MAX: u64 = 900;

/// The answer to an event: accepted or not, and the word before the colon.
pub(crate) type Answer = (bool, &'static str);

const STORED: Answer = (true, "");
/// Taken, and passed on to nobody: the word is not one that is said.
pub(crate) const COPY: Answer = (true, "copy");
const DUPLICATE: Answer = (true, "duplicate");
const SUPERSEDED: Answer = (false, "duplicate");
const INVALID: Answer = (false, "invalid");
const BLOCKED: Answer = (false, "blocked");

#[derive(PartialEq)]
enum Class {
    Regular,
    Replaceable,
    Ephemeral,
    Addressable,
}

fn class(event: &Event) -> Class {
    match event.kind.0 {
        0 | 3 | 10_000..20_000 => Class::Replaceable,
        20_000..30_000 => Class::Ephemeral,
        30_000..40_000 => Class::Addressable,
        _ => Class::Regular,
    }
}

/// The second element of the first tag of this name: `None` without such a tag, empty without a value.
fn first<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    event.tags.iter().find(|tag| tag.get(0) == Some(name)).map(|tag| tag.get(1).unwrap_or(""))
}

fn has(event: &Event, name: &str, value: &str) -> bool {
    event.tags.iter().any(|tag| tag.get(0) == Some(name) && tag.get(1) == Some(value))
}

/// The value of the first `d` tag that has one; else empty.
fn identifier(event: &Event) -> &str {
    event
        .tags
        .iter()
        .find(|tag| tag.get(0) == Some("d") && tag.len() > 1)
        .and_then(|tag| tag.get(1))
        .unwrap_or("")
}

/// `kind:pubkey:d` of what has versions.
fn address(event: &Event) -> Option<String> {
    let identifier = match class(event) {
        Class::Replaceable => "",
        Class::Addressable => identifier(event),
        Class::Regular | Class::Ephemeral => return None,
    };
    Some(format!("{}:{}:{identifier}", event.kind.0, event.pubkey))
}

fn expires(event: &Event) -> Option<&str> {
    first(event, "expiration").filter(|_| class(event) != Class::Ephemeral)
}

/// Requests whose effect must last.
fn is_request(event: &Event) -> bool {
    matches!(event.kind.0, 5 | 62)
}

/// Whether a deletion request takes this event away or keeps it away (NIP-09).
fn deletes(request: &Event, event: &Event) -> bool {
    let is_author = request.pubkey == event.pubkey;
    let is_recipient = event.kind.0 == 1_059 && has(event, "p", &request.pubkey.to_string());
    let by_id = has(request, "e", &event.id.to_string()) && (is_author || is_recipient);
    let by_address = is_author
        && request.created_at >= event.created_at
        && address(event).is_some_and(|address| has(request, "a", &address));
    request.kind.0 == 5 && !is_request(event) && (by_id || by_address)
}

/// Whether `one` takes the place of `other` at their address: the later, then the lower id.
fn supersedes(one: &Event, other: &Event) -> bool {
    (one.created_at, other.id) > (other.created_at, one.id)
}

/// All that a relay knows.
#[derive(Clone)]
pub(crate) struct Oracle {
    /// The time.
    pub(crate) now: u64,
    /// What is stored, in no order.
    pub(crate) stored: Vec<Event>,
    vanished: Vec<(PublicKey, u64)>,
    /// Authors whom moderators have banned.
    pub(crate) banned: BTreeSet<PublicKey>,
    /// Events that moderators have banned.
    pub(crate) banned_events: BTreeSet<Id>,
    /// Whether ephemeral events with a place are kept for who joins late.
    replays: bool,
    /// When they arrived, and those that are kept.
    kept: Vec<(u64, Event)>,
}

/// What a query is answered with.
pub(crate) struct Expected {
    /// The events, in order.
    pub(crate) ids: Vec<Id>,
    /// All that match and may be seen, whatever the limits.
    pub(crate) whole: BTreeSet<Id>,
}

impl Oracle {
    /// A relay with nothing stored.
    pub(crate) fn new(now: u64, replays: bool) -> Oracle {
        Oracle {
            now,
            stored: Vec::new(),
            vanished: Vec::new(),
            banned: BTreeSet::new(),
            banned_events: BTreeSet::new(),
            replays,
            kept: Vec::new(),
        }
    }

    /// What it keeps in memory is gone.
    pub(crate) fn restart(&mut self) {
        self.kept.clear();
    }

    fn is_kept(&self, arrived_at: u64) -> bool {
        self.now - arrived_at <= REPLAY_SECONDS
    }

    /// Keeps an event that is passed on; false when it is there already.
    fn keep(&mut self, event: &Event) -> bool {
        let now = self.now;
        self.kept.retain(|(arrived_at, _)| now - arrived_at <= REPLAY_SECONDS);
        let has_place = event.tags.iter().any(|tag| tag.get(0) == Some("g") && tag.len() > 1);
        if !self.replays || !has_place {
            return true;
        }
        if self.kept.iter().any(|(_, kept)| kept.id == event.id) {
            return false;
        }
        self.kept.push((self.now, event.clone()));
        let too_many = self.kept.len().saturating_sub(REPLAY_EVENTS_MAX);
        self.kept.drain(..too_many);
        true
    }

    /// The ephemeral events that who joins now may be given.
    fn replay(&self) -> impl Iterator<Item = &Event> {
        let is_over = |event: &Event| {
            first(event, "expiration")
                .is_some_and(|time| time.parse().is_ok_and(|time: u64| time <= self.now))
        };
        let kept = self.kept.iter().filter(|(arrived_at, _)| self.is_kept(*arrived_at));
        kept.map(|(_, event)| event).filter(move |event| !is_over(event))
    }

    /// What a query may be answered with, as it was sent.
    pub(crate) fn has(&self, event: &Event) -> bool {
        self.stored.contains(event) || self.replay().any(|kept| kept == event)
    }

    /// Whether moderators have banned an event or its author.
    pub(crate) fn is_banned(&self, event: &Event) -> bool {
        self.banned.contains(&event.pubkey) || self.banned_events.contains(&event.id)
    }

    /// What is said of an event before its signature matters.
    pub(crate) fn refuse(&self, event: &Event, keys: &[PublicKey]) -> Result<(), Answer> {
        if event.created_at > self.now + FUTURE_SECONDS_MAX {
            return Err(INVALID);
        }
        if self.is_banned(event) && event.kind.0 != 62 {
            return Err(BLOCKED);
        }
        if event.kind.0 == 22_242 {
            return Err(INVALID);
        }
        if expires(event).is_some_and(|time| time.parse::<u64>().map_or(true, |time| time <= self.now)) {
            return Err(INVALID);
        }
        if event.kind.0 == 62 && !has(event, "relay", "ALL_RELAYS") {
            return Err(INVALID);
        }
        if event.tags.iter().any(|tag| tag.get(0) == Some("-")) && !keys.contains(&event.pubkey) {
            return Err((false, if keys.is_empty() { "auth-required" } else { "restricted" }));
        }
        if self.has_vanished(event) {
            return Err(BLOCKED);
        }
        if self.stored.iter().any(|stored| stored.id == event.id) {
            return Err(DUPLICATE);
        }
        if self.stored.iter().any(|request| deletes(request, event)) {
            return Err(BLOCKED);
        }
        let versions = || self.stored.iter().filter(|stored| address(stored) == address(event));
        if address(event).is_some() && versions().any(|version| supersedes(version, event)) {
            return Err(SUPERSEDED);
        }
        Ok(())
    }

    /// Whether an event is one that a vanished key takes along (NIP-62).
    fn has_vanished(&self, event: &Event) -> bool {
        let gone = |key: &PublicKey, until: u64| {
            let is_recipient = event.kind.0 == 1_059 && has(event, "p", &key.to_string());
            event.created_at <= until && (event.pubkey == *key || is_recipient)
        };
        event.kind.0 != 62 && self.vanished.iter().any(|(key, until)| gone(key, *until))
    }

    /// An event arrives on a connection that has proved `keys`.
    pub(crate) fn publish(&mut self, event: &Event, is_true: bool, keys: &[PublicKey]) -> Answer {
        if let Err(answer) = self.refuse(event, keys) {
            return answer;
        }
        if !is_true {
            return INVALID;
        }
        if class(event) == Class::Ephemeral {
            return if self.keep(event) { STORED } else { COPY };
        }
        let is_gone = |kept: &Event| {
            let has_vanished = event.kind.0 == 62 && kept.pubkey == event.pubkey;
            deletes(event, kept) || has_vanished && kept.created_at <= event.created_at
        };
        self.kept.retain(|(_, kept)| !is_gone(kept));
        let place = address(event);
        self.stored.retain(|stored| !(place.is_some() && address(stored) == place || deletes(event, stored)));
        if event.kind.0 == 62 {
            self.vanished.push((event.pubkey, event.created_at));
        }
        self.stored.push(event.clone());
        STORED
    }

    fn is_expired(&self, event: &Event) -> bool {
        expires(event).is_some_and(|time| time.parse().is_ok_and(|time: u64| time <= self.now))
    }

    /// Removes what expired or vanished; requests keep their effect, though hidden.
    pub(crate) fn sweep(&mut self) {
        let stored = std::mem::take(&mut self.stored);
        let is_gone =
            |event: &Event| self.has_vanished(event) || self.is_expired(event) && !is_request(event);
        self.stored = stored.into_iter().filter(|event| !is_gone(event)).collect();
    }

    /// Whether who proved `keys` may see an event.
    pub(crate) fn is_visible(&self, event: &Event, keys: &[PublicKey]) -> bool {
        let is_private = matches!(event.kind.0, 4 | 13 | 1_059 | 21_059);
        let is_party = |key: &PublicKey| *key == event.pubkey || has(event, "p", &key.to_string());
        let is_there = !self.is_expired(event) && !self.has_vanished(event) && !self.is_banned(event);
        is_there && (!is_private || keys.iter().any(is_party))
    }

    /// Whether a query is refused, because without a key it could show nothing.
    fn asks_for_auth(&self, filters: &[Asked], keys: &[PublicKey]) -> bool {
        let is_private = |kind: u16| matches!(kind, 4 | 13 | 1_059 | 21_059);
        let only_private = |asked: &Asked| {
            asked
                .filter
                .kinds
                .as_ref()
                .is_some_and(|kinds| !kinds.is_empty() && kinds.iter().all(|kind| is_private(kind.0)))
        };
        keys.is_empty() && filters.iter().all(only_private)
    }

    /// Why a query is refused, if it is.
    pub(crate) fn refuses(&self, filters: &[Asked], keys: &[PublicKey]) -> Option<&'static str> {
        match self.asks_for_auth(filters, keys) {
            true => Some("auth-required"),
            false => filters.iter().any(Asked::is_refused).then_some("invalid"),
        }
    }

    /// What a query counts.
    pub(crate) fn count(&self, filters: &[Asked], keys: &[PublicKey]) -> u64 {
        let is_found =
            |event: &&Event| filters.iter().any(|asked| asked.matches(event)) && self.is_visible(event, keys);
        self.stored.iter().filter(is_found).count() as u64
    }

    /// What a query finds.
    pub(crate) fn query(&self, filters: &[Asked], keys: &[PublicKey]) -> Expected {
        let mut sent: Vec<&Event> = Vec::new();
        let mut whole = BTreeSet::new();
        for asked in filters {
            let Asked { filter, .. } = asked;
            let mut matching: Vec<&Event> = self
                .stored
                .iter()
                .chain(self.replay())
                .filter(|event| asked.matches(event) && self.is_visible(event, keys))
                .collect();
            matching.sort_by(|one, other| (other.created_at, one.id).cmp(&(one.created_at, other.id)));
            whole.extend(matching.iter().map(|event| event.id));
            let limit = filter.limit.map(|limit| limit as usize).filter(|limit| *limit <= LIMIT_MAX);
            let cap = limit.unwrap_or(if filter.limit.is_some() { LIMIT_MAX } else { LIMIT_DEFAULT });
            let last = matching.get(cap.wrapping_sub(1)).map(|event| event.created_at);
            let extra = |event: &Event| limit.is_none() && Some(event.created_at) == last;
            let end = matching
                .iter()
                .enumerate()
                .position(|(at, event)| at >= cap && (at >= cap + BOUNDARY_EXTRA_MAX || !extra(event)));
            sent.extend(&matching[..end.unwrap_or(matching.len())]);
        }
        sent.sort_by(|one, other| (other.created_at, one.id).cmp(&(one.created_at, other.id)));
        sent.dedup_by_key(|event| event.id);
        Expected { ids: sent.iter().map(|event| event.id).collect(), whole }
    }
}
