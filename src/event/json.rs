//! Reading an event from JSON, strictly, in one pass, and writing its strings as clients hash them.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Event, Id, Kind, PublicKey, Signature, Tags};

/// Why a JSON text is no event: a sentence that names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EventError(pub String);

impl Event {
    /// Reads an event from JSON text.
    ///
    /// # Errors
    /// When a field is missing, repeated or of the wrong form; unknown fields are passed over.
    pub fn from_json(text: &[u8]) -> Result<Event, EventError> {
        serde_json::from_slice(text).map_err(|error| EventError(describe(&error)))
    }
}

/// Characters of a reason that are told: serde repeats what it did not expect, which may be a whole message.
const REASON_CHARS_MAX: usize = 300;

/// A serde_json error without the position, which means nothing to a client's user.
pub(crate) fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    match reason.char_indices().nth(REASON_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}

/// Appends `text` as a JSON string, escaped as JavaScript's `JSON.stringify` does.
pub fn write_json_string(text: &str, out: &mut Vec<u8>) {
    // Most strings need no escapes. To look at every byte without leaving early is what a compiler makes
    // wide instructions of.
    let has_special = |special, &byte: &u8| special | (byte < b' ') | (byte == b'"') | (byte == b'\\');
    if !text.as_bytes().iter().fold(false, has_special) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    // Writing a string to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Appends a number in decimal.
pub(super) fn write_u64(number: u64, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, &number);
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Event;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
        let (mut id, mut pubkey, mut created_at, mut kind) = (None, None, None, None);
        let (mut tags, mut content, mut sig) = (None, None, None);
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            match &*key {
                "id" => set(&mut id, "id", hex_field(&mut map, Id::from_hex, "id", 64)?)?,
                "pubkey" => {
                    set(&mut pubkey, "pubkey", hex_field(&mut map, PublicKey::from_hex, "pubkey", 64)?)?
                }
                "sig" => set(&mut sig, "sig", hex_field(&mut map, Signature::from_hex, "sig", 128)?)?,
                "created_at" => {
                    let value = map.next_value::<u64>().map_err(|error| {
                        wrong("created_at must be a whole number of seconds since 1970", &error)
                    })?;
                    set(&mut created_at, "created_at", value)?;
                }
                "kind" => {
                    let value = map
                        .next_value::<u16>()
                        .map_err(|error| wrong("kind must be a whole number from 0 to 65535", &error))?;
                    set(&mut kind, "kind", Kind(value))?;
                }
                "tags" => {
                    let value = map
                        .next_value::<Tags>()
                        .map_err(|error| wrong("tags must be an array of arrays of strings", &error))?;
                    set(&mut tags, "tags", value)?;
                }
                "content" => {
                    let value = map
                        .next_value::<String>()
                        .map_err(|error| wrong("content must be a string", &error))?;
                    set(&mut content, "content", value)?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Event {
            id: id.ok_or_else(|| missing("id"))?,
            pubkey: pubkey.ok_or_else(|| missing("pubkey"))?,
            created_at: created_at.ok_or_else(|| missing("created_at"))?,
            kind: kind.ok_or_else(|| missing("kind"))?,
            tags: tags.ok_or_else(|| missing("tags"))?,
            content: content.ok_or_else(|| missing("content"))?,
            sig: sig.ok_or_else(|| missing("sig"))?,
        })
    }
}

fn missing<E: de::Error>(field: &str) -> E {
    E::custom(format_args!("the event has no {field}"))
}

/// Says what a field must be, and what serde saw when that helps.
fn wrong<E: de::Error>(rule: &str, seen: &E) -> E {
    let seen = seen.to_string();
    let seen = seen.split(" at line ").next().unwrap_or("");
    E::custom(format_args!("{rule}; {seen}"))
}

fn set<T, E: de::Error>(slot: &mut Option<T>, field: &str, value: T) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom(format_args!("the event has {field} twice"))),
    }
}

fn hex_field<'de, A: MapAccess<'de>, T>(
    map: &mut A,
    read: fn(&str) -> Option<T>,
    field: &str,
    digits: usize,
) -> Result<T, A::Error> {
    let rule = format_args!("{field} must be {digits} lowercase hex digits").to_string();
    let Text(text) = map.next_value::<Text<'de>>().map_err(|error| wrong(&rule, &error))?;
    read(&text).ok_or_else(|| de::Error::custom(rule))
}

/// A string that is borrowed from the message unless it has escapes.
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// What a thread keeps for the tags of its next event.
const GROWN_BYTES_KEPT: usize = 64 * 1024;

thread_local! {
    static GROWN_TAGS: Cell<Tags> = Cell::default();
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TagsVisitor;
        impl<'de> Visitor<'de> for TagsVisitor {
            type Value = Tags;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of tags")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tags, A::Error> {
                // Grown in a place that is used again, then copied in its final size: three allocations
                // instead of a dozen.
                let mut grown = GROWN_TAGS.take();
                let mut read = || {
                    while seq.next_element_seed(TagSeed(&mut grown))?.is_some() {}
                    Ok(grown.clone())
                };
                let tags = read();
                if grown.clear_within(GROWN_BYTES_KEPT) {
                    GROWN_TAGS.set(grown);
                }
                tags
            }
        }
        deserializer.deserialize_seq(TagsVisitor)
    }
}

/// Reads one tag straight into the tags' own text.
struct TagSeed<'t>(&'t mut Tags);

impl<'de> de::DeserializeSeed<'de> for TagSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for TagSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tag, which is an array of strings")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(Text(value)) = seq.next_element::<Text<'de>>()? {
            self.0.push_value(&value);
        }
        self.0.end_tag();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_written_as_serde_json_writes_them() {
        let specials = (0..=0x7f_u8).map(|byte| char::from(byte).to_string());
        let around =
            |text: String| [text.clone(), format!("{}{text}", "ä".repeat(40)), format!("{text}\u{2028}")];
        for text in specials.chain([String::new(), "\u{fffd}😀".to_owned()]).flat_map(around) {
            let mut out = Vec::new();
            write_json_string(&text, &mut out);
            assert_eq!(String::from_utf8(out).ok(), serde_json::to_string(&text).ok(), "{text:?}");
        }
    }

    #[test]
    fn each_wrong_field_is_named() {
        let good = format!(
            r#"{{"id":"{0}","pubkey":"{0}","created_at":1,"kind":1,"tags":[["a"]],"content":"","sig":"{0}{0}"}}"#,
            "0".repeat(64)
        );
        assert!(Event::from_json(good.as_bytes()).is_ok());
        let table = [
            (r#""kind":1,"#, "", "the event has no kind"),
            (r#""kind":1"#, r#""kind":65536"#, "kind must be a whole number from 0 to 65535"),
            (r#""kind":1"#, r#""kind":-1"#, "kind must be a whole number from 0 to 65535"),
            (r#""kind":1"#, r#""kind":1.0"#, "kind must be a whole number from 0 to 65535"),
            (r#""kind":1"#, r#""kind":"1""#, "kind must be a whole number from 0 to 65535"),
            (r#""kind":1"#, r#""kind":1,"kind":1"#, "the event has kind twice"),
            (r#""created_at":1"#, r#""created_at":1e3"#, "created_at must be a whole number"),
            (r#""created_at":1"#, r#""created_at":-5"#, "created_at must be a whole number"),
            (r#""created_at":1"#, r#""created_at":99999999999999999999"#, "created_at must be"),
            (r#"[["a"]]"#, "null", "tags must be an array of arrays of strings"),
            (r#"[["a"]]"#, r#"["a"]"#, "tags must be an array of arrays of strings"),
            (r#"[["a"]]"#, r#"[["a",1]]"#, "tags must be an array of arrays of strings"),
            (r#"[["a"]]"#, r#"[["a",null]]"#, "tags must be an array of arrays of strings"),
            (r#""content":"""#, r#""content":1"#, "content must be a string"),
            (r#""content":"""#, r#""content":"\ud800""#, "content must be a string"),
            (r#""id":"00"#, r#""id":"0"#, "id must be 64 lowercase hex digits"),
            (r#""id":"00"#, r#""id":"A0"#, "id must be 64 lowercase hex digits"),
            (r#""sig":"00"#, r#""sig":"x0"#, "sig must be 128 lowercase hex digits"),
            (r#""pubkey":"00"#, r#""pubkey":"-0"#, "pubkey must be 64 lowercase hex digits"),
        ];
        for (from, to, said) in table {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good, "{from} is not in the event");
            let error = Event::from_json(text.as_bytes()).expect_err(&text);
            assert!(error.0.starts_with(said), "{to}: {error}");
        }
        for text in ["[]", "1", "\"\"", "null", ""] {
            assert!(Event::from_json(text.as_bytes()).is_err(), "{text}");
        }
    }
}
