//! What a relay elsewhere says, to this one as its client, and what this one says to it (NIP-01, 42, 77). Pure. In:
//! texts. Out: [`Heard`], and texts.

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use super::{element, quoted};
use crate::event::{Event, Id, Text};

/// What a relay may say.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// An event of a subscription.
    Event(String, Box<Event>),
    /// What became of an event, and why.
    Ok(Id, bool, String),
    /// All that was stored of a subscription has come.
    Eose(String),
    /// A subscription ended, and why.
    Closed(String, String),
    /// A word to whoever reads the log.
    Notice(String),
    /// What to sign to prove a key.
    Auth(String),
    /// A message of a reconciliation, in hex.
    NegMsg(String, String),
    /// A reconciliation ended, and why.
    NegErr(String, String),
    /// What is of no use to a mirror.
    Other,
}

impl Heard {
    /// Reads one message; `None` when it is none, or one with an event that is none.
    pub fn from_json(text: &str) -> Option<Heard> {
        serde_json::from_str(text).ok()
    }
}

impl<'de> Deserialize<'de> for Heard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(HeardVisitor)
    }
}

struct HeardVisitor;

impl<'de> Visitor<'de> for HeardVisitor {
    type Value = Heard;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array that begins with a verb")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Heard, A::Error> {
        let Some(Text(verb)) = seq.next_element::<Text<'de>>()? else {
            return Err(de::Error::custom("the message is an empty array"));
        };
        let heard = match &*verb {
            "EVENT" => Heard::Event(element(&mut seq, "a name")?, Box::new(element(&mut seq, "an event")?)),
            "OK" => {
                let id = element::<String, A>(&mut seq, "an id")?;
                let id = Id::from_hex(&id).ok_or_else(|| de::Error::custom("OK names no event"))?;
                Heard::Ok(id, element(&mut seq, "a verdict")?, reason(&mut seq)?)
            }
            "EOSE" => Heard::Eose(element(&mut seq, "a name")?),
            "CLOSED" => Heard::Closed(element(&mut seq, "a name")?, reason(&mut seq)?),
            "NOTICE" => Heard::Notice(reason(&mut seq)?),
            "AUTH" => Heard::Auth(element(&mut seq, "a challenge")?),
            "NEG-MSG" => Heard::NegMsg(element(&mut seq, "a name")?, element(&mut seq, "a message")?),
            "NEG-ERR" => Heard::NegErr(element(&mut seq, "a name")?, reason(&mut seq)?),
            _ => Heard::Other,
        };
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(heard)
    }
}

/// A reason, where one is given.
fn reason<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<String, A::Error> {
    Ok(seq.next_element::<String>()?.unwrap_or_default())
}

/// `["REQ", name, filter…]`.
pub fn req(name: &str, filters: &[Map<String, Value>]) -> String {
    let mut message = vec![json!("REQ"), json!(name)];
    message.extend(filters.iter().cloned().map(Value::from));
    Value::Array(message).to_string()
}

/// `["CLOSE", name]`.
pub fn close(name: &str) -> String {
    format!(r#"["CLOSE",{}]"#, quoted(name))
}

/// `["EVENT", event]`, of the event's JSON.
pub fn event(json: &str) -> String {
    format!(r#"["EVENT",{json}]"#)
}

/// `["AUTH", event]`, of the event's JSON.
pub fn auth(json: &str) -> String {
    format!(r#"["AUTH",{json}]"#)
}

/// `["NEG-OPEN", name, filter, message in hex]`.
pub fn neg_open(name: &str, filter: &Map<String, Value>, message: &[u8]) -> String {
    json!(["NEG-OPEN", name, filter, hex::encode(message)]).to_string()
}

/// `["NEG-CLOSE", name]`.
pub fn neg_close(name: &str) -> String {
    format!(r#"["NEG-CLOSE",{}]"#, quoted(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_relays_say_is_read_and_nonsense_is_not() {
        let id = "5c83da77af1dec6d7289834998ad7aafbd9e2191396d75ec3cc27f5a77226f36";
        let table = [
            (
                format!(r#"["OK","{id}",true,""]"#),
                Some(Heard::Ok(Id::from_hex(id).unwrap(), true, String::new())),
            ),
            (
                format!(r#"["OK","{id}",false]"#),
                Some(Heard::Ok(Id::from_hex(id).unwrap(), false, String::new())),
            ),
            (r#"["EOSE","live",["finish"]]"#.to_owned(), Some(Heard::Eose("live".to_owned()))),
            (r#"["CLOSED","a"]"#.to_owned(), Some(Heard::Closed("a".to_owned(), String::new()))),
            (r#"["NOTICE","x"]"#.to_owned(), Some(Heard::Notice("x".to_owned()))),
            (r#"["AUTH","c"]"#.to_owned(), Some(Heard::Auth("c".to_owned()))),
            (r#"["NEG-MSG","n","61"]"#.to_owned(), Some(Heard::NegMsg("n".to_owned(), "61".to_owned()))),
            (
                r#"["NEG-ERR","n","blocked: x",7]"#.to_owned(),
                Some(Heard::NegErr("n".to_owned(), "blocked: x".to_owned())),
            ),
            (r#"["COUNT","n",{"count":1}]"#.to_owned(), Some(Heard::Other)),
            (r#"["OK","zz",true,""]"#.to_owned(), None),
            (r#"["EVENT","live",{"id":1}]"#.to_owned(), None),
            (r#"["EVENT","live"]"#.to_owned(), None),
            ("[]".to_owned(), None),
            ("{}".to_owned(), None),
            ("".to_owned(), None),
        ];
        for (text, heard) in table {
            assert_eq!(Heard::from_json(&text), heard, "{text}");
        }
    }
}
