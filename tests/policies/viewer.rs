//! A connection that knows what it may see: every live event that it is due comes once, in order, and no other.

use std::collections::VecDeque;

use plaza::event::{Event, Id, PublicKey};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::common::{Client, Person, TestRelay};

/// A live event on its way.
struct Due {
    id: Id,
    /// What bears on it was being learned while it was passed on: it may come or not.
    is_open: bool,
}

/// What came for a REQ.
pub(crate) enum Heard {
    /// Stored events, and the replayed ephemeral ones.
    Events(Vec<Event>),
    /// Why it was refused.
    Closed(String),
}

/// A connection and the keys that it has proved.
pub(crate) struct Viewer {
    pub(crate) client: Client,
    pub(crate) keys: Vec<PublicKey>,
    /// Whether a subscription to everything is open.
    is_listening: bool,
    /// Why the relay ended it, until that was looked at.
    ended: Option<String>,
    due: VecDeque<Due>,
}

fn event_of(message: &Value) -> Event {
    Event::from_json(message[2].to_string().as_bytes()).expect("an event")
}

impl Viewer {
    /// A connection of these people, not listening yet.
    pub(crate) fn new(relay: &TestRelay, path: &str, people: &[Person]) -> Viewer {
        let mut client = relay.connect_at(path);
        for person in people {
            client.authenticate(person, &relay.url_at(path), relay.clock.now());
        }
        let keys = people.iter().map(Person::key).collect();
        Viewer { client, keys, is_listening: false, ended: None, due: VecDeque::new() }
    }

    /// Asks for everything that comes from now on; returns why not, when it is refused.
    pub(crate) fn listen(&mut self) -> Option<String> {
        self.client.subscribe("live", &[json!({"limit": 0})]);
        let answer = self.client.receive();
        self.is_listening = answer[0] == "EOSE";
        (!self.is_listening).then(|| answer[2].as_str().expect("a reason").to_owned())
    }

    /// An event was taken that this connection may see, or perhaps.
    pub(crate) fn expect(&mut self, id: Id, is_open: bool) {
        if self.is_listening {
            self.due.push_back(Due { id, is_open });
        }
    }

    /// What is refused now to these keys must have been ended, for that reason and no other, and what is not is asked for
    /// again. Whether it was ended.
    pub(crate) fn assert_ended(&mut self, refusal: Option<String>) -> bool {
        if refusal.is_some() && self.is_listening {
            let message = self.hear_ended();
            assert!(self.ended.is_some(), "the end of what is refused now was awaited, not {message}");
        }
        let ended = self.ended.take();
        assert!(ended.is_none() || ended == refusal, "ended: {ended:?}, refused now: {refusal:?}");
        if refusal.is_none() && !self.is_listening {
            assert_eq!(self.listen(), None);
        }
        ended.is_some()
    }

    /// Hears live events until the subscription is ended.
    fn hear_ended(&mut self) -> Value {
        loop {
            let message = self.client.receive();
            if !self.is_live(&message) || self.ended.is_some() {
                return message;
            }
        }
    }

    /// Whether a message is a live event, which must be the next that is due, or the end of all.
    fn is_live(&mut self, message: &Value) -> bool {
        if message[0] == "CLOSED" && message[1] == "live" {
            self.is_listening = false;
            self.ended = message[2].as_str().map(str::to_owned);
            // What is due comes no more.
            self.due.clear();
            return true;
        }
        if message[0] != "EVENT" || message[1] != "live" {
            return false;
        }
        let id = event_of(message).id;
        loop {
            match self.due.pop_front() {
                Some(due) if due.id == id => return true,
                Some(due) if due.is_open => {}
                due => panic!("live: {message}, due was {:?}", due.map(|due| due.id)),
            }
        }
    }

    fn hear(&mut self) -> Value {
        loop {
            let message = self.client.receive();
            if !self.is_live(&message) {
                return message;
            }
        }
    }

    /// Waits for all that must come.
    pub(crate) fn hear_all(&mut self) {
        while let Some(awaited) = self.due.iter().find(|due| !due.is_open).map(|due| due.id) {
            let Ok(Message::Text(text)) = self.client.try_receive() else {
                panic!("{awaited} never came to {:?}", self.keys);
            };
            let message: Value = serde_json::from_str(&text).expect("the relay speaks JSON");
            assert!(self.is_live(&message), "a live event was awaited, not {message}");
        }
    }

    /// Publishes an event; returns the answer to it.
    pub(crate) fn publish(&mut self, event: &Event) -> (bool, String) {
        self.client.submit(event);
        let answer = self.hear();
        assert_eq!((&answer[0], &answer[1]), (&json!("OK"), &json!(event.id.to_string())), "{answer}");
        (answer[2].as_bool().expect("a verdict"), answer[3].as_str().expect("a message").to_owned())
    }

    /// Sends a REQ, reads all that is stored or replayed, and closes it.
    pub(crate) fn ask(&mut self, filters: &[Value]) -> Heard {
        self.client.subscribe("ask", filters);
        let mut events = Vec::new();
        loop {
            let message = self.hear();
            assert_eq!(message[1], "ask", "{message}");
            match message[0].as_str() {
                Some("EVENT") => events.push(event_of(&message)),
                Some("EOSE") => break,
                Some("CLOSED") => return Heard::Closed(message[2].as_str().expect("a reason").to_owned()),
                _ => panic!("an event, EOSE or CLOSED was awaited, not {message}"),
            }
        }
        self.client.send(&json!(["CLOSE", "ask"]));
        // What is replayed follows EOSE, and has come when the next answer does.
        self.client.send(&json!(["COUNT", "end", {"ids": []}]));
        loop {
            let message = self.hear();
            match message[1].as_str() {
                Some("ask") if message[0] == "EVENT" => events.push(event_of(&message)),
                Some("end") => return Heard::Events(events),
                _ => panic!("a replayed event was awaited, not {message}"),
            }
        }
    }

    /// Sends a COUNT: the number, or why it was refused.
    pub(crate) fn count(&mut self, filters: &[Value]) -> Result<u64, String> {
        let message: Vec<Value> =
            [json!("COUNT"), json!("count")].into_iter().chain(filters.to_vec()).collect();
        self.client.send(&Value::Array(message));
        let answer = self.hear();
        match answer[0].as_str() {
            Some("COUNT") => Ok(answer[2]["count"].as_u64().expect("a number")),
            Some("CLOSED") => Err(answer[2].as_str().expect("a reason").to_owned()),
            _ => panic!("COUNT or CLOSED was awaited, not {answer}"),
        }
    }
}
