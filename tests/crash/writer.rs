//! A connection that publishes as fast as it is answered, with many events under way: notes, some of which
//! expire, versions, deletions, long texts, and now and then a request to vanish.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use plaza::event::{Event, Id, Tags};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::common::{Client, Person};
use crate::random::Chance;

/// Events under way.
const WINDOW: usize = 48;
/// People who write over one connection, and over no other.
const PEOPLE: u32 = 3;

/// How many in a hundred are long, unless it is set.
const LONG_PERCENT: u64 = 3;

/// Topics of notes.
pub(crate) const TOPICS: [&str; 3] = ["bread", "fish", "wine"];
/// Kinds of all that is written.
pub(crate) const KINDS: [u16; 7] = [0, 1, 3, 5, 62, 10_002, 30_023];

/// In how many seconds notes expire that do, unless it is set.
const EXPIRY_SECONDS: &[u64] = &[86_400];

/// An event that was sent, and the answer if one came: accepted or not.
pub(crate) struct Sent {
    pub(crate) event: Event,
    pub(crate) accepted: Option<bool>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Without a word.
    Cut,
    /// With a close frame.
    Closed(u16),
}

/// The time of today, in seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// The people who write over a connection.
pub(crate) fn people(who: u32) -> impl Iterator<Item = Person> {
    (who * PEOPLE..(who + 1) * PEOPLE).map(Person::new)
}

pub(crate) struct Writer {
    who: u32,
    client: Client,
    chance: Chance,
    /// What it wrote in earlier rounds.
    history: Vec<Event>,
    sent: Vec<Sent>,
    waiting: HashMap<Id, usize>,
    /// In how many seconds notes expire that do.
    pub(crate) expiry_seconds: &'static [u64],
    /// How many in a hundred are long.
    pub(crate) long_percent: u64,
    /// The relay's disk may fail: of an event that it could not store nobody knows whether it is there.
    pub(crate) may_fail: bool,
}

impl Writer {
    pub(crate) fn new(who: u32, client: Client, chance: Chance, history: Vec<Event>) -> Writer {
        let (sent, waiting) = (Vec::new(), HashMap::new());
        let (expiry_seconds, long_percent) = (EXPIRY_SECONDS, LONG_PERCENT);
        let may_fail = false;
        Writer { who, client, chance, history, sent, waiting, expiry_seconds, long_percent, may_fail }
    }

    /// Writes until the connection ends. `tick` gives each event its time; `answered` is told of each OK.
    pub(crate) fn write(mut self, tick: impl Fn() -> u64, answered: impl Fn()) -> (u32, Vec<Sent>, Ending) {
        loop {
            while self.waiting.len() < WINDOW {
                let event = self.event(tick());
                self.waiting.insert(event.id, self.sent.len());
                let text = format!(r#"["EVENT",{}]"#, String::from_utf8_lossy(&event.to_json()));
                self.sent.push(Sent { event, accepted: None });
                if self.client.try_send(Message::text(text)).is_err() {
                    break;
                }
            }
            match self.client.try_receive() {
                Ok(Message::Text(text)) => {
                    if self.note(&serde_json::from_str(&text).expect("the relay speaks JSON")) {
                        answered();
                    }
                }
                Ok(Message::Close(Some(frame))) => {
                    return (self.who, self.sent, Ending::Closed(frame.code.into()));
                }
                _ => return (self.who, self.sent, Ending::Cut),
            }
        }
    }

    /// Notes an answer; whether it tells what became of the event.
    fn note(&mut self, answer: &Value) -> bool {
        assert_eq!(answer[0], "OK", "{answer}");
        let id = Id::from_hex(answer[1].as_str().expect("an id")).expect("an id");
        let at = self.waiting.remove(&id).expect("an answer to what was asked, once");
        let message = answer[3].as_str().expect("a message");
        if self.may_fail && message.starts_with("error:") {
            return false;
        }
        assert!(!message.starts_with("error:") && !message.starts_with("invalid:"), "{answer}");
        self.sent[at].accepted = answer[2].as_bool();
        true
    }

    /// An earlier event of the same person, most likely a recent one.
    fn earlier(&mut self, person: &Person) -> Option<Event> {
        let own = self.history.iter().chain(self.sent.iter().map(|sent| &sent.event));
        let own: Vec<&Event> = own.filter(|event| event.pubkey == person.key()).collect();
        let back = 1 + self.chance.below(own.len().clamp(1, 60) as u64) as usize;
        own.len().checked_sub(back).map(|at| own[at].clone())
    }

    fn event(&mut self, created_at: u64) -> Event {
        let people: Vec<Person> = people(self.who).collect();
        let person = self.chance.pick(&people).clone();
        let mut tags = Tags::default();
        let kind = match self.chance.below(1_000) {
            0 => {
                tags.push(["relay", "ALL_RELAYS"]);
                62
            }
            1..=120 => {
                for _ in 0..=self.chance.below(3) {
                    self.name_one(&person, &mut tags);
                }
                5
            }
            121..=250 => *self.chance.pick(&[0, 3, 10_002]),
            251..=400 => {
                tags.push(["d", *self.chance.pick(&["", "x", "y"])]);
                30_023
            }
            401..=440 => {
                let seconds = *self.chance.pick(self.expiry_seconds);
                tags.push(["expiration", &(now() + seconds).to_string()]);
                1
            }
            _ => {
                tags.push(["t", *self.chance.pick(&TOPICS)]);
                1
            }
        };
        let long =
            if self.chance.percent(self.long_percent) { 20_000 + self.chance.below(180_000) } else { 0 };
        let content = format!("{created_at} {}", "x".repeat(long as usize));
        person.sign(kind, created_at, tags, &content)
    }

    /// Names an earlier event for deletion, by id or by address.
    fn name_one(&mut self, person: &Person, tags: &mut Tags) {
        let by_address = self.chance.percent(50);
        let Some(event) = self.earlier(person) else { return };
        match event.address().filter(|_| by_address) {
            Some(address) => tags.push(["a", &address]),
            None => tags.push(["e", &event.id.to_string()]),
        }
    }
}
