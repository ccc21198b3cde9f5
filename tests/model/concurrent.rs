//! Under concurrent load: while several connections publish, others open subscriptions all the time.
//! What a subscription gets before EOSE and after it must be everything, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use plaza::event::Event;
use serde_json::{Value, json};

use crate::common::{Client, NOW, Person, TestRelay};
use crate::random::Chance;

const ROUNDS: u64 = 40;
const PUBLISHERS: u64 = 4;
const LISTENERS: u64 = 3;
/// Events of one publisher in one round.
const EVENTS: u64 = 150;
/// Subscriptions that one listener opens while events come.
const SUBSCRIPTIONS: usize = 20;
/// The kind of the event that ends a round.
const LAST: u16 = 29_999;

#[test]
fn nothing_falls_between_stored_and_live() {
    for seed in Chance::seeds(&[11]) {
        println!("PLAZA_SEED={seed}");
        let mut chance = Chance::new(seed);
        let relay = TestRelay::with(|config| {
            config.root.limits.limit_default = 5_000;
            // Several groups a round, and several slices of an answer.
            config.store.group_events_max = 64;
        });
        for round in 0..ROUNDS {
            play(&relay, round, &mut chance);
        }
    }
}

/// What the publishers of a round have sent.
struct Sent {
    notes: BTreeSet<String>,
    ephemeral: BTreeSet<String>,
    /// The last version of each person's profile.
    profiles: BTreeSet<String>,
}

fn play(relay: &TestRelay, round: u64, chance: &mut Chance) {
    let topic = format!("round {round} of {}", chance.below(u64::MAX));
    let events: Vec<Vec<Event>> = (0..PUBLISHERS).map(|who| events(who, round, &topic, chance)).collect();
    let sent = sent(&events);
    std::thread::scope(|scope| {
        let (ready, all_ready) = channel();
        let (done, all_done) = channel();
        for _ in 0..LISTENERS {
            let client = relay.connect();
            let (ready, done, sent, topic) = (ready.clone(), done.clone(), &sent, topic.as_str());
            let pace = 1 + chance.below(40);
            scope.spawn(move || Listener::new(client, topic, pace).listen(&ready, &done, sent));
        }
        await_all(&all_ready, LISTENERS);
        for events in &events {
            let (mut client, done) = (relay.connect(), done.clone());
            scope.spawn(move || {
                publish(&mut client, events);
                done.send(()).expect("the round goes on");
            });
        }
        await_all(&all_done, LISTENERS + PUBLISHERS);
        relay.connect().publish_ok(&Person::new(9_000).event(LAST, NOW, &[&["t", &topic]], ""));
    });
}

/// Waits for this many, none of which may take for ever.
fn await_all(from: &Receiver<()>, count: u64) {
    for _ in 0..count {
        from.recv_timeout(Duration::from_secs(30)).expect("everyone gets so far");
    }
}

/// Notes, ephemeral events and ever newer profiles of one publisher.
fn events(who: u64, round: u64, topic: &str, chance: &mut Chance) -> Vec<Event> {
    let person = Person::new((10_000 + round * PUBLISHERS + who) as u32);
    let one = |number: u64| {
        let kind = match chance.below(10) {
            0 => 20_001,
            1 => 0,
            _ => 1,
        };
        person.event(kind, NOW + number, &[&["t", topic]], &number.to_string())
    };
    (0..EVENTS).map(one).collect()
}

fn sent(events: &[Vec<Event>]) -> Sent {
    let of_kind = |kind: u16| {
        let all = events.iter().flatten().filter(move |event| event.kind.0 == kind);
        all.map(|event| event.id.to_string()).collect()
    };
    let last = |events: &Vec<Event>| {
        events.iter().rev().find(|event| event.kind.0 == 0).map(|event| event.id.to_string())
    };
    Sent { notes: of_kind(1), ephemeral: of_kind(20_001), profiles: events.iter().filter_map(last).collect() }
}

/// Sends all at once, then reads all answers. A profile may have been overtaken by its successor.
fn publish(client: &mut Client, events: &[Event]) {
    events.iter().for_each(|event| client.submit(event));
    let mut due: BTreeMap<String, u16> =
        events.iter().map(|event| (event.id.to_string(), event.kind.0)).collect();
    while !due.is_empty() {
        let answer = client.receive();
        let kind = due.remove(answer[1].as_str().expect("an id"));
        let superseded =
            kind == Some(0) && answer[3].as_str().is_some_and(|text| text.starts_with("duplicate:"));
        assert!(kind.is_some() && (answer[2] == true && answer[3] == "" || superseded), "{answer}");
    }
}

/// What came for one subscription.
#[derive(Default)]
struct Heard {
    ids: BTreeSet<String>,
    has_all_stored: bool,
    is_over: bool,
    /// How many events its listener had heard in all when it was opened.
    opened_at: usize,
}

struct Listener<'a> {
    client: Client,
    topic: &'a str,
    /// Messages from one new subscription to the next.
    pace: u64,
    heard: BTreeMap<String, Heard>,
    closed: BTreeSet<String>,
    messages: usize,
}

impl<'a> Listener<'a> {
    fn new(client: Client, topic: &'a str, pace: u64) -> Self {
        Listener { client, topic, pace, heard: BTreeMap::new(), closed: BTreeSet::new(), messages: 0 }
    }

    fn open(&mut self) {
        let name = self.heard.len().to_string();
        // Two filters that overlap: what both ask for comes once.
        let filters = [json!({"#t": [self.topic]}), json!({"kinds": [0, 1], "#t": [self.topic]})];
        self.client.subscribe(&name, &filters);
        self.heard.insert(name, Heard { opened_at: self.messages, ..Heard::default() });
    }

    /// Opens a second subscription of a name and closes it: nothing may come once that was answered.
    fn open_and_close(&mut self) {
        let name = format!("closed {}", self.heard.len());
        for _ in 0..2 {
            self.client.subscribe(&name, &[json!({"#t": [self.topic]})]);
        }
        self.client.send(&json!(["CLOSE", name]));
        self.client.send(&json!(["COUNT", format!("after {name}"), {"ids": []}]));
    }

    fn listen(mut self, ready: &Sender<()>, done: &Sender<()>, sent: &Sent) {
        self.open();
        let first = self.hear();
        self.note(&first);
        ready.send(()).expect("the round goes on");
        // The first one is open before anything is published; the others open in the midst of it.
        let whole = sent.notes.len() / 2;
        while self.heard.len() < SUBSCRIPTIONS {
            let message = self.hear();
            self.note(&message);
            let is_late = self.heard["0"].ids.len() > whole;
            if (self.messages as u64).is_multiple_of(self.pace) || is_late {
                self.open();
                self.open_and_close();
            }
        }
        while self.heard.values().any(|heard| !heard.has_all_stored) {
            let message = self.hear();
            self.note(&message);
        }
        done.send(()).expect("the round goes on");
        while self.heard.values().any(|heard| !heard.is_over) {
            let message = self.hear();
            self.note(&message);
        }
        for (name, heard) in &self.heard {
            let missing = |wanted: &BTreeSet<String>| wanted.difference(&heard.ids).count();
            let told = format!("subscription {name}, opened at message {}", heard.opened_at);
            assert_eq!(missing(&sent.notes), 0, "notes are missing from {told}, {} came", heard.ids.len());
            assert_eq!(missing(&sent.profiles), 0, "the last profiles are missing from {told}");
            assert!(name != "0" || missing(&sent.ephemeral) == 0, "ephemeral events are missing from {told}");
        }
    }

    fn hear(&mut self) -> Value {
        self.messages += 1;
        self.client.receive()
    }

    fn note(&mut self, message: &Value) {
        let name = message[1].as_str().expect("a subscription").to_owned();
        if let Some(closed) = name.strip_prefix("after ") {
            self.closed.insert(closed.to_owned());
            return;
        }
        assert!(!self.closed.contains(&name), "after its CLOSE was answered: {message}");
        let Some(heard) = self.heard.get_mut(&name) else { return };
        match message[0].as_str() {
            Some("EOSE") => heard.has_all_stored = true,
            Some("EVENT") => {
                let is_live = matches!(message[2]["kind"].as_u64(), Some(20_001 | 29_999));
                assert!(heard.has_all_stored || !is_live, "before EOSE: {message}");
                heard.is_over |= message[2]["kind"] == LAST;
                let id = message[2]["id"].as_str().expect("an id").to_owned();
                assert!(heard.ids.insert(id), "twice for {name}: {message}");
            }
            _ => panic!("an event or EOSE was awaited, not {message}"),
        }
    }
}
