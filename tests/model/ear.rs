//! A client that knows which live events it is due, and takes each exactly once, in order, and no other.

use std::collections::{BTreeMap, VecDeque};

use plaza::event::{Event, Id, PublicKey};
use plaza::filter::Filter;
use serde_json::{Value, json};

use crate::common::Client;
use crate::places::Asked;

/// An open subscription, and the live events that are on their way to it.
struct Open {
    filters: Vec<Asked>,
    due: VecDeque<Id>,
}

/// What came for a query: the events and the hint, or why it was refused.
pub(crate) enum Heard {
    /// The events in order, and the hint, if there was one.
    Events(Vec<Event>, Option<String>),
    /// The prefix of CLOSED.
    Closed(String),
}

/// A client and its open subscriptions.
pub(crate) struct Ear {
    /// The connection.
    pub(crate) client: Client,
    /// What it has proved.
    pub(crate) keys: Vec<PublicKey>,
    /// Whether the relay understands places.
    has_places: bool,
    open: BTreeMap<String, Open>,
}

fn prefix(message: &Value) -> String {
    let text = message.as_str().expect("a text");
    text.split_once(':').map_or(text, |(prefix, _)| prefix).to_owned()
}

fn event(message: &Value) -> Event {
    Event::from_json(message[2].to_string().as_bytes()).expect("an event")
}

impl Ear {
    /// A client without subscriptions.
    pub(crate) fn new(client: Client, keys: Vec<PublicKey>, has_places: bool) -> Ear {
        Ear { client, keys, has_places, open: BTreeMap::new() }
    }

    /// An event was accepted that this client may see: its subscriptions are due what they ask for.
    pub(crate) fn expect(&mut self, event: &Event) {
        for open in self.open.values_mut() {
            if open.filters.iter().any(|filter| filter.matches(event)) {
                open.due.push_back(event.id);
            }
        }
    }

    /// The next message that is no live event; live events on the way to it are checked.
    fn hear(&mut self) -> Value {
        loop {
            let message = self.client.receive();
            if !self.is_live(&message) {
                return message;
            }
        }
    }

    fn is_live(&mut self, message: &Value) -> bool {
        let name = message[1].as_str().unwrap_or("");
        let Some(open) = self.open.get_mut(name).filter(|_| message[0] == "EVENT") else { return false };
        let due = open.due.pop_front();
        assert_eq!(due, Some(event(message).id), "live for {name}: {message}");
        true
    }

    /// Waits until everything that is due has come.
    pub(crate) fn hear_all(&mut self) {
        while self.open.values().any(|open| !open.due.is_empty()) {
            let message = self.client.receive();
            assert!(self.is_live(&message), "a live event was awaited, not {message}");
        }
    }

    /// The answer to an event that was submitted: accepted or not, and the prefix.
    pub(crate) fn answer_to(&mut self, event: &Event) -> (bool, String) {
        let answer = self.hear();
        assert_eq!((&answer[0], &answer[1]), (&json!("OK"), &json!(event.id.to_string())), "{answer}");
        (answer[2].as_bool().expect("a verdict"), prefix(&answer[3]))
    }

    /// Sends a REQ and reads up to EOSE; it stays open and is due live events from now on.
    pub(crate) fn request(&mut self, name: &str, filters: &[Value]) -> Heard {
        self.open.remove(name);
        self.client.subscribe(name, filters);
        let mut events = Vec::new();
        loop {
            let message = self.hear();
            assert_eq!(message[1], name, "{message}");
            match message[0].as_str() {
                Some("EVENT") => events.push(event(&message)),
                Some("EOSE") => {
                    let hint = message[2][0].as_str().map(str::to_owned);
                    let filters = parse(filters, self.has_places);
                    self.open.insert(name.to_owned(), Open { filters, due: VecDeque::new() });
                    return Heard::Events(events, hint);
                }
                Some("CLOSED") => return Heard::Closed(prefix(&message[2])),
                _ => panic!("an event, EOSE or CLOSED was awaited, not {message}"),
            }
        }
    }

    /// Ends a subscription, and knows that the relay has ended it.
    pub(crate) fn close(&mut self, name: &str) {
        self.client.send(&json!(["CLOSE", name]));
        assert_eq!(self.count(&[json!({"ids": []})]), Ok(0));
        self.open.remove(name);
    }

    /// Sends a COUNT: the number, or the prefix of CLOSED.
    pub(crate) fn count(&mut self, filters: &[Value]) -> Result<u64, String> {
        let mut message = vec![json!("COUNT"), json!("count")];
        message.extend_from_slice(filters);
        self.client.send(&Value::Array(message));
        let answer = self.hear();
        assert_eq!(answer[1], "count", "{answer}");
        match answer[0].as_str() {
            Some("COUNT") => {
                assert_eq!(answer[2].get("approximate"), None, "{answer}");
                Ok(answer[2]["count"].as_u64().expect("a number"))
            }
            Some("CLOSED") => Err(prefix(&answer[2])),
            _ => panic!("COUNT or CLOSED was awaited, not {answer}"),
        }
    }
}

/// Filters as the relay reads them.
pub(crate) fn parse(filters: &[Value], has_places: bool) -> Vec<Asked> {
    let read = |filter: &Value| Filter::from_json(&filter.to_string()).expect("a filter");
    filters.iter().map(|filter| Asked { filter: read(filter), has_places }).collect()
}
