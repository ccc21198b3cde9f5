//! What is said to a moderation service and what it answers. In: events. Out: a body and its signature; of an answer,
//! verdicts. Pure.

use ring::hmac;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use crate::event::{Event, Id};

/// The header with the time of a request, in seconds since 1970.
pub(crate) const TIMESTAMP: &str = "plaza-timestamp";

/// The header with its signature.
pub(crate) const SIGNATURE: &str = "plaza-signature";

/// Verdicts that one call or answer may give.
pub const VERDICTS_MAX: usize = 1_000;

/// Characters of a reason and of a label.
const REASON_CHARS_MAX: usize = 500;
const LABEL_CHARS_MAX: usize = 64;

/// What a service says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It may stay, and is held no longer.
    Accept,
    /// It is neither shown nor taken again.
    Remove,
    /// It gets a label.
    Label,
    /// It goes, and so does its author.
    Ban,
}

impl Action {
    /// All of them, by name.
    pub const ALL: [(&'static str, Action); 4] = [
        ("accept", Action::Accept),
        ("remove", Action::Remove),
        ("label", Action::Label),
        ("ban", Action::Ban),
    ];
}

/// A verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Of which event.
    #[serde(serialize_with = "as_text")]
    pub id: Id,
    /// What is said.
    pub verdict: Action,
    /// Why; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The label, where it gets one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
}

fn as_text<S: Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

impl Verdict {
    /// Reads one.
    ///
    /// # Errors
    /// What it must be.
    pub fn read(value: &Value) -> Result<Verdict, &'static str> {
        let text = |key: &str, most: usize| match value.get(key) {
            None | Some(Value::Null) => Some(String::new()),
            Some(Value::String(text)) => {
                let is_plain = text.chars().all(|char| !char.is_control() || char == '\n');
                (is_plain && text.chars().count() <= most).then(|| text.trim().to_owned())
            }
            Some(_) => None,
        };
        let id = value.get("id").and_then(Value::as_str).and_then(Id::from_hex);
        let id = id.ok_or("the id of a verdict is an event's, in 64 lower-case hexadecimal digits")?;
        let named = value.get("verdict").and_then(Value::as_str).unwrap_or_default();
        let verdict = Action::ALL.iter().find(|(name, _)| *name == named).map(|(_, action)| *action);
        let verdict = verdict.ok_or("a verdict is accept, remove, label or ban")?;
        let reason =
            text("reason", REASON_CHARS_MAX).ok_or("a reason is a text of 500 characters at most")?;
        let label = text("label", LABEL_CHARS_MAX).ok_or("a label is a text of 64 characters at most")?;
        if verdict == Action::Label && label.is_empty() {
            return Err("a verdict that labels has a label");
        }
        Ok(Verdict { id, verdict, reason, label })
    }

    /// Reads a list of them.
    ///
    /// # Errors
    /// What it must be.
    pub fn read_all(value: &Value) -> Result<Vec<Verdict>, &'static str> {
        let list = value.as_array().filter(|list| list.len() <= VERDICTS_MAX);
        let list = list.ok_or("verdicts are a list of 1000 at most")?;
        list.iter().map(Verdict::read).collect()
    }
}

/// The body of a request: events, and which community they were sent to.
pub(crate) fn body(community: &str, events: &[Event]) -> Vec<u8> {
    let mut body = json!({"community": community, "events": []}).to_string().into_bytes();
    // Each event is written by the one who writes them everywhere.
    body.truncate(body.len() - 2);
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend(event.to_json());
    }
    body.extend_from_slice(b"]}");
    body
}

/// The signature of a body that is sent at a time: HMAC-SHA256 over `TIMESTAMP.BODY`, in hex.
pub(crate) fn sign(secret: &[u8], timestamp: u64, body: &[u8]) -> String {
    let mut signed = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    signed.update(format!("{timestamp}.").as_bytes());
    signed.update(body);
    hex::encode(signed.sign())
}

/// The verdicts in an answer; one without a body has none.
///
/// # Errors
/// Why they cannot be read.
pub(crate) fn answer(body: &[u8]) -> Result<Vec<Verdict>, &'static str> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    let value: Value = serde_json::from_slice(body).map_err(|_| "it is no JSON")?;
    value.get("verdicts").map_or(Ok(Vec::new()), Verdict::read_all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_others() {
        // hmac.new(b"0123456789abcdef", b"1790000000." + b'{"a":1}', hashlib.sha256).hexdigest() in Python.
        let signature = sign(b"0123456789abcdef", 1_790_000_000, br#"{"a":1}"#);
        assert_eq!(signature, SIGNED);
    }

    const SIGNED: &str = "d569e4518fe6f4620fd6639233427e7df5e5394d8f14c85c1063b8d90a724dcb";

    #[test]
    fn verdicts_are_read_and_what_is_none_is_told() {
        let id = "ab".repeat(32);
        let one = |more: &str| format!(r#"{{"verdicts":[{{"id":"{id}",{more}}}]}}"#);
        let table = [
            (one(r#""verdict":"accept""#), Ok(1)),
            (one(r#""verdict":"ban","reason":"spam","more":1"#), Ok(1)),
            (one(r#""verdict":"label","label":"nsfw""#), Ok(1)),
            (r#"{"verdicts":[]}"#.to_owned(), Ok(0)),
            (r#"{"ok":true}"#.to_owned(), Ok(0)),
            (" \n".to_owned(), Ok(0)),
            (one(r#""verdict":"label""#), Err("a verdict that labels has a label")),
            (one(r#""verdict":"Accept""#), Err("a verdict is accept, remove, label or ban")),
            (one(r#""verdict":"accept","reason":7"#), Err("a reason is a text of 500 characters at most")),
            (r#"{"verdicts":7}"#.to_owned(), Err("verdicts are a list of 1000 at most")),
            (
                r#"{"verdicts":[{"verdict":"accept"}]}"#.to_owned(),
                Err("the id of a verdict is an event's, in 64 lower-case hexadecimal digits"),
            ),
            ("<html>".to_owned(), Err("it is no JSON")),
        ];
        for (body, wanted) in table {
            assert_eq!(answer(body.as_bytes()).map(|verdicts| verdicts.len()), wanted, "{body}");
        }
    }
}
