//! What clients hear, and what of it is wrong whatever else happened.

use plaza::event::{Event, Id};
use serde_json::Value;

use super::{Client, Done, Round};
use crate::record::Change;
use crate::wire::{Heard, Wire};

impl Round<'_> {
    /// A client reads the next message, if there is one.
    pub(super) fn hear(&mut self, client: usize) -> bool {
        let Some(heard) = self.clients[client].wire.as_mut().and_then(Wire::hear) else { return false };
        match heard {
            Heard::Message(message) => {
                self.tell(format_args!("{client} hears {message}"));
                self.note(client, &message);
            }
            Heard::Beat => self.tell(format_args!("{client} hears a beat")),
            Heard::Close(code) => self.tell(format_args!("{client} hears a goodbye: {code}")),
            Heard::End => {
                self.tell(format_args!("{client} hears the end"));
                self.clients[client].wire = None;
                self.record(client).people[client].is_gone = true;
            }
        }
        self.mark();
        true
    }

    /// Writes down what a client has heard.
    fn note(&mut self, client: usize, message: &Value) {
        let (now, town) = (self.now(), self.clients[client].town);
        let record = &mut self.records[town];
        let text = |at: usize| message[at].as_str().unwrap_or_default().to_owned();
        let prefix = |at: usize| text(at).split(':').next().unwrap_or_default().to_owned();
        let name = text(1);
        match message[0].as_str() {
            Some("AUTH") => assert_eq!(name, self.clients[client].challenge),
            Some("OK") => {
                let proofs = &mut record.people[client].proofs;
                if let Some(proof) = proofs.iter_mut().find(|proof| proof.id == name) {
                    assert_eq!(message[2], true, "{message}");
                    proof.accepted = Some(now);
                    return;
                }
                let id = Id::from_hex(&name).expect("an id");
                let sent = self.clients[client].under_way.remove(&id).expect("an event that was sent");
                let ok = message[2].as_bool().expect("a verdict");
                record.sent[sent].answer = Some((now, ok, prefix(3)));
                let Event { kind, pubkey, created_at, .. } = record.sent[sent].event;
                if ok && kind.0 == 62 && prefix(3).is_empty() {
                    self.put_marks(town, &Done::Vanished(pubkey, created_at));
                }
            }
            Some("EVENT") => {
                let asked = record.asked.get_mut(&name).expect("it was asked for");
                assert!(!asked.is_silent && asked.closed.is_none(), "after the end: {message}");
                let event = Event::from_json(message[2].to_string().as_bytes()).expect("an event");
                assert_eq!(self.world.made.get(&event.id), Some(&event), "as it was sent");
                let Client { banned, vanished, .. } = &self.clients[client];
                let is_banned = banned.iter().any(|ban| match ban {
                    Change::Author(key, _) => *key == event.pubkey,
                    Change::Event(id) => *id == event.id,
                    _ => false,
                });
                let has_vanished =
                    vanished.iter().any(|(key, until)| *key == event.pubkey && event.created_at <= *until);
                assert!(!is_banned, "banned, and shown: {message}");
                let is_stored = asked.eose.is_none() && event.kind.0 != 62;
                assert!(!has_vanished || !is_stored, "vanished, and shown: {message}");
                let list = if asked.eose.is_some() { &mut asked.live } else { &mut asked.stored };
                list.push(event.id);
            }
            Some("EOSE") => {
                let asked = record.asked.get_mut(&name).expect("it was asked for");
                assert!(!asked.is_silent && asked.eose.is_none(), "after the end: {message}");
                asked.eose = Some(now);
            }
            Some("CLOSED") => {
                self.clients[client].open.retain(|open| *open != name);
                if let Some(counted) = record.counted.get_mut(&name) {
                    counted.answer = Some((now, Err(prefix(2))));
                } else {
                    let asked = record.asked.get_mut(&name).expect("it was asked for");
                    assert!(!asked.is_silent && asked.closed.is_none(), "after the end: {message}");
                    asked.closed = Some((now, prefix(2)));
                }
            }
            Some("COUNT") => {
                let count = message[2]["count"].as_u64().expect("a number");
                let counted = record.counted.get_mut(&name).expect("it was asked for");
                counted.answer = Some((now, Ok(count)));
            }
            Some("NOTICE") => match self.clients[client].marks.pop_front().expect("a mark") {
                Done::Left(name) => {
                    record.asked.get_mut(&name).expect("it was asked for").is_silent = true;
                }
                Done::Banned(ban) => self.clients[client].banned.push(ban),
                Done::Vanished(key, until) => self.clients[client].vanished.push((key, until)),
                Done::Nothing => {}
            },
            _ => panic!("nobody asked for {message}"),
        }
    }
}
