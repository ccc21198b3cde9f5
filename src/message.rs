//! The wire's JSON arrays, pure: the only place that knows them. In: a client's text. Out:
//! [`ClientMessage`], and the texts that a relay sends (NIP-01, 42, 45, 67, 77).

use std::fmt::Write as _;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::event::{Event, EventError, Id, Text, describe, write_json_string};
use crate::filter::Filter;
use crate::nips::nip67::Hint;
use crate::rule::{Prefix, Refusal};

/// What a client may say.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientMessage {
    /// Publish this event.
    Event(Event),
    /// Send what is stored, then what comes.
    Req {
        /// The client's name for the subscription.
        subscription: String,
        /// At least one.
        filters: Vec<Filter>,
    },
    /// End the subscription of this name.
    Close(String),
    /// Prove a key (NIP-42).
    Auth(Event),
    /// Say how many are stored (NIP-45).
    Count {
        /// The client's name for the query.
        subscription: String,
        /// At least one.
        filters: Vec<Filter>,
    },
    /// Begin a reconciliation (NIP-77).
    NegOpen {
        /// The client's name for it; names of subscriptions are others.
        reconciliation: String,
        /// What it is about.
        filter: Filter,
        /// What the client says first.
        message: Vec<u8>,
    },
    /// Go on with it.
    NegMsg {
        /// Its name.
        reconciliation: String,
        /// What the client says.
        message: Vec<u8>,
    },
    /// End it.
    NegClose(String),
}

/// Why a text is no message, and in which form the client is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// There is no event and no subscription to answer for.
    Notice(String),
    /// An event that names its id but is otherwise wrong.
    Event(Id, String),
    /// A REQ or COUNT that names its subscription but is otherwise wrong.
    Subscription(String, String),
    /// A NEG-OPEN or NEG-MSG that names its reconciliation but is otherwise wrong.
    Reconciliation(String, String),
}

impl ClientMessage {
    /// Reads one message.
    ///
    /// # Errors
    /// What to answer, in a sentence that names what is wrong.
    pub fn from_json(text: &str) -> Result<ClientMessage, Malformed> {
        serde_json::from_str::<ClientMessage>(text).map_err(|error| malformed(text, &describe(&error)))
    }
}

/// Looks a second time at a text that is no message, for something to hold on to in the answer.
fn malformed(text: &str, reason: &str) -> Malformed {
    let Ok(serde_json::Value::Array(items)) = serde_json::from_str(text) else {
        return match stated_id(text) {
            Some(id) => Malformed::Event(id, reason.to_owned()),
            None => Malformed::Notice(format!("a message must be a JSON array: {reason}")),
        };
    };
    let verb = items.first().and_then(|verb| verb.as_str()).unwrap_or("");
    match verb {
        "EVENT" | "AUTH" => {
            let id = items.get(1).and_then(|event| event.get("id")?.as_str()).and_then(Id::from_hex);
            match id {
                Some(id) => Malformed::Event(id, reason.to_owned()),
                None => Malformed::Notice(format!("{verb}: {reason}")),
            }
        }
        "REQ" | "COUNT" => match items.get(1).and_then(|name| name.as_str()) {
            Some(name) => Malformed::Subscription(name.to_owned(), reason.to_owned()),
            None => Malformed::Notice(format!("{verb}: {reason}")),
        },
        "NEG-OPEN" | "NEG-MSG" => match items.get(1).and_then(|name| name.as_str()) {
            Some(name) => Malformed::Reconciliation(name.to_owned(), reason.to_owned()),
            None => Malformed::Notice(format!("{verb}: {reason}")),
        },
        _ => Malformed::Notice(reason.to_owned()),
    }
}

/// The id in an EVENT that is no JSON, as one with half of a surrogate pair, so that its sender is
/// answered with OK like for any other.
fn stated_id(text: &str) -> Option<Id> {
    let event = text.trim_start().strip_prefix('[')?.trim_start().strip_prefix("\"EVENT\"")?;
    let (_, after) = event.split_once("\"id\"")?;
    let digits = after.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    Id::from_hex(digits.get(..64)?)
}

impl<'de> Deserialize<'de> for ClientMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = ClientMessage;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "an array that begins with EVENT, REQ, CLOSE, AUTH, COUNT, NEG-OPEN, NEG-MSG or NEG-CLOSE",
        )
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ClientMessage, A::Error> {
        let Some(Text(verb)) = seq.next_element::<Text<'de>>()? else {
            return Err(de::Error::custom("the message is an empty array"));
        };
        let message = match &*verb {
            "EVENT" => ClientMessage::Event(element(&mut seq, "an event")?),
            "AUTH" => ClientMessage::Auth(element(&mut seq, "a signed event")?),
            "CLOSE" => ClientMessage::Close(element::<String, A>(&mut seq, "a subscription id")?),
            "REQ" => {
                let (subscription, filters) = query(&mut seq)?;
                ClientMessage::Req { subscription, filters }
            }
            "COUNT" => {
                let (subscription, filters) = query(&mut seq)?;
                ClientMessage::Count { subscription, filters }
            }
            "NEG-OPEN" => ClientMessage::NegOpen {
                reconciliation: element(&mut seq, "a name")?,
                filter: element(&mut seq, "a filter")?,
                message: element::<Hex, A>(&mut seq, "a first message")?.0,
            },
            "NEG-MSG" => ClientMessage::NegMsg {
                reconciliation: element(&mut seq, "a name")?,
                message: element::<Hex, A>(&mut seq, "what it is to say")?.0,
            },
            "NEG-CLOSE" => ClientMessage::NegClose(element(&mut seq, "a name")?),
            other => {
                let shown: String = other.chars().take(32).collect();
                return Err(de::Error::custom(format_args!(
                    "{shown:?} is not a verb that this relay knows; it knows EVENT, REQ, CLOSE, AUTH, COUNT, \
                     NEG-OPEN, NEG-MSG and NEG-CLOSE"
                )));
            }
        };
        // What follows is passed over, so that a NIP may add elements later.
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(message)
    }
}

/// Bytes in hexadecimal digits.
struct Hex(Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(digits) = Text::deserialize(deserializer)?;
        let bytes = hex::decode(digits.as_bytes());
        bytes.map(Hex).map_err(|_| de::Error::custom("the message must be pairs of hex digits"))
    }
}

fn element<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(seq: &mut A, what: &str) -> Result<T, A::Error> {
    seq.next_element()?.ok_or_else(|| de::Error::custom(format_args!("the message lacks {what}")))
}

fn query<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<(String, Vec<Filter>), A::Error> {
    let subscription = element::<String, A>(seq, "a subscription id")?;
    let mut filters = vec![element::<Filter, A>(seq, "a filter")?];
    while let Some(filter) = seq.next_element()? {
        filters.push(filter);
    }
    Ok((subscription, filters))
}

fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_json_string(text, &mut out);
    // A JSON string made of a `str` is UTF-8.
    String::from_utf8(out).unwrap_or_default()
}

/// `["OK", id, true, message]`; the message may be empty.
pub fn accepted(id: &Id, message: &str) -> String {
    format!(r#"["OK","{id}",true,{}]"#, quoted(message))
}

/// `["OK", id, false, "prefix: sentence (rule)"]`.
pub fn refused(id: &Id, refusal: &Refusal) -> String {
    format!(r#"["OK","{id}",false,{}]"#, quoted(&refusal.to_string()))
}

/// `["CLOSED", subscription, "prefix: sentence (rule)"]`.
pub fn closed(subscription: &str, refusal: &Refusal) -> String {
    format!(r#"["CLOSED",{},{}]"#, quoted(subscription), quoted(&refusal.to_string()))
}

/// `["EOSE", subscription]`, with NIP-67's hint where one is certain.
pub fn eose(subscription: &str, hint: Option<Hint>) -> String {
    let subscription = quoted(subscription);
    match hint {
        Some(hint) => format!(r#"["EOSE",{subscription},["{}"]]"#, hint.as_str()),
        None => format!(r#"["EOSE",{subscription}]"#),
    }
}

/// `["NOTICE", text]`.
pub fn notice(text: &str) -> String {
    format!(r#"["NOTICE",{}]"#, quoted(text))
}

/// `["AUTH", challenge]` (NIP-42).
pub fn auth(challenge: &str) -> String {
    format!(r#"["AUTH",{}]"#, quoted(challenge))
}

/// `["COUNT", subscription, {"count": n}]`, with the registers of a HyperLogLog value if there are any (NIP-45).
pub fn count(subscription: &str, count: u64, approximate: bool, registers: Option<&str>) -> String {
    let mut text = format!(r#"["COUNT",{},{{"count":{count}"#, quoted(subscription));
    if approximate {
        // Writing to a String cannot fail.
        let _ = text.write_str(r#","approximate":true"#);
    }
    if let Some(registers) = registers {
        let _ = write!(text, r#","hll":"{registers}""#);
    }
    text.push_str("}]");
    text
}

/// `["NEG-MSG", reconciliation, message in hex]` (NIP-77).
pub fn neg_msg(reconciliation: &str, message: &[u8]) -> String {
    format!(r#"["NEG-MSG",{},"{}"]"#, quoted(reconciliation), hex::encode(message))
}

/// `["NEG-ERR", reconciliation, "prefix: sentence (rule)"]`, and where it is about too many events how many would be
/// answered (NIP-77).
pub fn neg_err(reconciliation: &str, refusal: &Refusal, events_max: Option<usize>) -> String {
    let (reconciliation, refusal) = (quoted(reconciliation), quoted(&refusal.to_string()));
    match events_max {
        Some(most) => format!(r#"["NEG-ERR",{reconciliation},{refusal},{most}]"#),
        None => format!(r#"["NEG-ERR",{reconciliation},{refusal}]"#),
    }
}

/// What stands before the event in `["EVENT", subscription, event]`; the event's JSON and `]` follow.
pub fn event_head(subscription: &str) -> String {
    format!(r#"["EVENT",{},"#, quoted(subscription))
}

/// The refusal for a message that is malformed.
pub fn invalid(reason: String) -> Refusal {
    Refusal::new(Prefix::Invalid, "nip01.message", reason)
}

impl From<EventError> for Refusal {
    fn from(error: EventError) -> Refusal {
        invalid(error.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_messages_are_answered_where_their_sender_looks() {
        let id = "a".repeat(64);
        let notice = |text: &str| Malformed::Notice(text.to_owned());
        let table = [
            ("".to_owned(), notice("a message must be a JSON array: EOF while parsing a value")),
            (
                "{}".to_owned(),
                notice(
                    "a message must be a JSON array: invalid type: map, expected an array that begins with EVENT, REQ, CLOSE, AUTH, COUNT, NEG-OPEN, NEG-MSG or NEG-CLOSE",
                ),
            ),
            ("[]".to_owned(), notice("the message is an empty array")),
            (
                r#"["HI"]"#.to_owned(),
                notice(
                    "\"HI\" is not a verb that this relay knows; it knows EVENT, REQ, CLOSE, AUTH, COUNT, NEG-OPEN, NEG-MSG and NEG-CLOSE",
                ),
            ),
            (r#"["EVENT"]"#.to_owned(), notice("EVENT: the message lacks an event")),
            (r#"["EVENT",{"id":"x"}]"#.to_owned(), notice("EVENT: id must be 64 lowercase hex digits")),
            (
                format!(r#"["EVENT",{{"id":"{id}"}}]"#),
                Malformed::Event(Id([0xaa; 32]), "the event has no pubkey".to_owned()),
            ),
            (
                format!(r#"["EVENT",{{"id":"{id}","content":"\ud800"}}]"#),
                Malformed::Event(
                    Id([0xaa; 32]),
                    "content must be a string; unexpected end of hex escape".to_owned(),
                ),
            ),
            (r#"["REQ"]"#.to_owned(), notice("REQ: the message lacks a subscription id")),
            (
                r#"["REQ","s"]"#.to_owned(),
                Malformed::Subscription("s".to_owned(), "the message lacks a filter".to_owned()),
            ),
            (
                r#"["COUNT","s",{"kinds":1}]"#.to_owned(),
                Malformed::Subscription(
                    "s".to_owned(),
                    "kinds must be an array of whole numbers from 0 to 65535".to_owned(),
                ),
            ),
            (r#"["NEG-OPEN"]"#.to_owned(), notice("NEG-OPEN: the message lacks a name")),
            (
                r#"["NEG-OPEN","n",{}]"#.to_owned(),
                Malformed::Reconciliation("n".to_owned(), "the message lacks a first message".to_owned()),
            ),
            (
                r#"["NEG-MSG","n","6g"]"#.to_owned(),
                Malformed::Reconciliation(
                    "n".to_owned(),
                    "the message must be pairs of hex digits".to_owned(),
                ),
            ),
            (r#"["CLOSE",1]"#.to_owned(), notice("invalid type: integer `1`, expected a string")),
        ];
        for (text, answer) in table {
            assert_eq!(ClientMessage::from_json(&text), Err(answer), "{text}");
        }
    }

    #[test]
    fn extra_elements_are_passed_over() {
        let message = ClientMessage::from_json(r#" ["CLOSE", "x", {"a": [1]}] "#);
        assert_eq!(message, Ok(ClientMessage::Close("x".to_owned())));
    }

    #[test]
    fn texts_are_json() {
        let refusal = Refusal::new(Prefix::Blocked, "a.b", "say \"no\"");
        let table = [
            (closed("a\"b", &refusal), r#"["CLOSED","a\"b","blocked: say \"no\" (a.b)"]"#),
            (eose("s", None), r#"["EOSE","s"]"#),
            (eose("s", Some(Hint::Finish)), r#"["EOSE","s",["finish"]]"#),
            (count("s", 3, false, None), r#"["COUNT","s",{"count":3}]"#),
            (count("s", 3, true, None), r#"["COUNT","s",{"count":3,"approximate":true}]"#),
            (auth("c"), r#"["AUTH","c"]"#),
            (neg_msg("n", &[0x61, 0x00]), r#"["NEG-MSG","n","6100"]"#),
            (neg_err("n", &refusal, None), r#"["NEG-ERR","n","blocked: say \"no\" (a.b)"]"#),
            (neg_err("n", &refusal, Some(7)), r#"["NEG-ERR","n","blocked: say \"no\" (a.b)",7]"#),
            (notice("n\n"), r#"["NOTICE","n\n"]"#),
        ];
        for (text, expected) in table {
            assert_eq!(text, expected);
        }
    }
}
