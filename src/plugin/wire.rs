//! What is said to plugins and what they answer: one JSON object a line, as strfry has it. In: an event's JSON, where
//! it came from. Out: a line; of a line, a verdict. Pure.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::json;

use crate::event::{Id, PublicKey};
use crate::rule::{Prefix, Refusal};

/// Characters of a plugin's message that a client is told.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// By which way an event came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceType {
    /// A client at an IPv4 address.
    Ip4,
    /// A client at an IPv6 address.
    Ip6,
    /// Another relay, of which this one is a mirror.
    Stream,
    /// A file that an operator brings.
    Import,
}

impl SourceType {
    fn as_str(self) -> &'static str {
        match self {
            SourceType::Ip4 => "IP4",
            SourceType::Ip6 => "IP6",
            SourceType::Stream => "Stream",
            SourceType::Import => "Import",
        }
    }
}

/// Where an event came from, as plugins are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// By which way.
    pub source_type: SourceType,
    /// The client's address, or the other relay's; empty for files.
    pub source_info: String,
    /// A key that the client has proved (NIP-42).
    pub authed: Option<PublicKey>,
}

impl Origin {
    /// A client's, which has proved these keys. Plugins are told one of them: the event's author's if it is there, else
    /// the one that was proved last.
    pub fn client(address: IpAddr, author: &PublicKey, keys: &[PublicKey]) -> Origin {
        let address = address.to_canonical();
        let source_type = if address.is_ipv4() { SourceType::Ip4 } else { SourceType::Ip6 };
        let authed = keys.iter().find(|key| *key == author).or(keys.last()).copied();
        Origin { source_type, source_info: address.to_string(), authed }
    }

    /// Another relay's, of which this one is a mirror.
    pub fn stream(url: &str) -> Origin {
        Origin { source_type: SourceType::Stream, source_info: url.to_owned(), authed: None }
    }

    /// A file's, which an operator brings.
    pub fn import() -> Origin {
        Origin { source_type: SourceType::Import, source_info: String::new(), authed: None }
    }
}

/// What a plugin is asked about an event, with the end of its line.
pub(crate) fn request(event: &[u8], received_at: u64, origin: &Origin) -> Vec<u8> {
    let mut line = Vec::with_capacity(event.len() + 256);
    line.extend_from_slice(b"{\"type\":\"new\",\"event\":");
    line.extend_from_slice(event);
    let source = (json!(origin.source_type.as_str()), json!(origin.source_info));
    let rest =
        format!(",\"receivedAt\":{received_at},\"sourceType\":{},\"sourceInfo\":{}", source.0, source.1);
    line.extend_from_slice(rest.as_bytes());
    if let Some(key) = origin.authed {
        line.extend_from_slice(format!(",\"authed\":\"{key}\"").as_bytes());
    }
    line.extend_from_slice(b"}\n");
    line
}

/// What a plugin says of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may go on.
    Accept,
    /// It is refused, and its client told so.
    Reject(Refusal),
    /// It is refused, and its client told that it was taken.
    ShadowReject,
}

/// A plugin's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Of which event.
    pub(crate) id: Id,
    /// What it says.
    pub(crate) verdict: Verdict,
}

#[derive(Deserialize)]
struct Said {
    id: String,
    action: String,
    #[serde(default)]
    msg: Option<String>,
}

/// Reads a line.
///
/// # Errors
/// Why it is no answer.
pub(crate) fn answer(line: &[u8]) -> Result<Answer, &'static str> {
    let Said { id, action, msg } =
        serde_json::from_slice(line).map_err(|_| "no JSON object with the texts id and action")?;
    let id = Id::from_hex(&id).ok_or("its id is none of an event")?;
    let verdict = match &*action {
        "accept" => Verdict::Accept,
        "reject" => Verdict::Reject(refusal(msg.as_deref().unwrap_or_default())),
        "shadowReject" => Verdict::ShadowReject,
        _ => return Err("its action is neither accept, reject nor shadowReject"),
    };
    Ok(Answer { id, verdict })
}

/// A refusal in a plugin's words, which may begin with one of the words that clients know (NIP-01).
fn refusal(message: &str) -> Refusal {
    const PREFIXES: [Prefix; 8] = [
        Prefix::Duplicate,
        Prefix::Pow,
        Prefix::Blocked,
        Prefix::RateLimited,
        Prefix::Invalid,
        Prefix::Restricted,
        Prefix::Error,
        Prefix::AuthRequired,
    ];
    let split = message.split_once(':').and_then(|(word, rest)| {
        let prefix = PREFIXES.into_iter().find(|prefix| prefix.as_str() == word)?;
        Some((prefix, rest))
    });
    let (prefix, sentence) = split.unwrap_or((Prefix::Blocked, message));
    let mut sentence: String = sentence.trim().chars().take(MESSAGE_CHARS_MAX).collect();
    if sentence.is_empty() {
        "a plugin of this relay does not take it".clone_into(&mut sentence);
    }
    Refusal::new(prefix, super::REFUSED, sentence)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const ID: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

    #[test]
    fn requests_are_lines_as_strfry_writes_them() {
        let (ann, bob) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let table = [
            ("192.0.2.1", vec![], "IP4", "192.0.2.1", None),
            ("::ffff:192.0.2.1", vec![bob], "IP4", "192.0.2.1", Some(bob)),
            ("2001:db8::1", vec![ann, bob], "IP6", "2001:db8::1", Some(ann)),
        ];
        for (address, keys, source_type, source_info, authed) in table {
            let origin = Origin::client(address.parse().expect("an address"), &ann, &keys);
            let line = request(br#"{"id":"x"}"#, 7, &origin);
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let mut wanted = json!({"type": "new", "event": {"id": "x"}, "receivedAt": 7,
                "sourceType": source_type, "sourceInfo": source_info});
            if let Some(key) = authed {
                wanted["authed"] = json!(key.to_string());
            }
            assert_eq!(serde_json::from_slice::<Value>(&line).expect("JSON"), wanted);
        }
        let import = request(b"{}", 7, &Origin::import());
        let wanted =
            json!({"type": "new", "event": {}, "receivedAt": 7, "sourceType": "Import", "sourceInfo": ""});
        assert_eq!(serde_json::from_slice::<Value>(&import).expect("JSON"), wanted);
    }

    #[test]
    fn answers_are_read_and_what_is_none_is_told() {
        let reject = |prefix, sentence: &'static str| {
            Ok(Verdict::Reject(Refusal::new(prefix, super::super::REFUSED, sentence)))
        };
        let none = "no JSON object with the texts id and action";
        let table = [
            (format!(r#"{{"id":"{ID}","action":"accept"}}"#), Ok(Verdict::Accept)),
            (format!(r#"{{"id":"{ID}","action":"accept","msg":"","more":[1]}}"#), Ok(Verdict::Accept)),
            (format!(r#"{{"msg":null,"action":"shadowReject","id":"{ID}"}}"#), Ok(Verdict::ShadowReject)),
            (
                format!(r#"{{"id":"{ID}","action":"reject","msg":"blocked: not on white-list"}}"#),
                reject(Prefix::Blocked, "not on white-list"),
            ),
            (
                format!(r#"{{"id":"{ID}","action":"reject","msg":"rate-limited: slow down: now"}}"#),
                reject(Prefix::RateLimited, "slow down: now"),
            ),
            (
                format!(r#"{{"id":"{ID}","action":"reject","msg":"note: no"}}"#),
                reject(Prefix::Blocked, "note: no"),
            ),
            (
                format!(r#"{{"id":"{ID}","action":"reject"}}"#),
                reject(Prefix::Blocked, "a plugin of this relay does not take it"),
            ),
            (
                format!(r#"{{"id":"{ID}","action":"Accept"}}"#),
                Err("its action is neither accept, reject nor shadowReject"),
            ),
            (r#"{"id":"ff","action":"accept"}"#.to_owned(), Err("its id is none of an event")),
            (r#"{"action":"accept"}"#.to_owned(), Err(none)),
            (format!(r#"{{"id":"{ID}","action":"reject","msg":7}}"#), Err(none)),
            ("ready".to_owned(), Err(none)),
            (String::new(), Err(none)),
        ];
        for (line, wanted) in table {
            assert_eq!(answer(line.as_bytes()).map(|answer| answer.verdict), wanted, "{line}");
        }
        let long = format!(r#"{{"id":"{ID}","action":"reject","msg":"{}"}}"#, "ä".repeat(5_000));
        let Ok(Answer { verdict: Verdict::Reject(refusal), .. }) = answer(long.as_bytes()) else {
            panic!("it is an answer")
        };
        assert_eq!(refusal.sentence.chars().count(), MESSAGE_CHARS_MAX);
    }
}
