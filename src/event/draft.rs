//! Drafts: events that lack an id, a signature, and whatever else their authors have not written yet. In: JSON.
//! Out: events to ask rules about, never to keep.

use serde_json::{Map, Value};

use super::Event;

/// An event that rules are asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The event; what a draft lacks is made up.
    pub event: Event,
    /// Whether it came with a signature, true or not.
    pub is_signed: bool,
}

/// Reads an event or a draft; one without a date is dated `now`.
///
/// # Errors
/// What makes it no event, as a sentence.
pub fn read(value: Value, now: u64) -> Result<Given, String> {
    let Value::Object(mut fields) = value else {
        return Err("an event or draft is a JSON object".to_owned());
    };
    let is_signed = fields.contains_key("sig");
    if !is_signed {
        complete(&mut fields, now);
    }
    let json = Value::Object(fields).to_string();
    let mut event = Event::from_json(json.as_bytes()).map_err(|error| error.to_string())?;
    if !is_signed {
        event.id = event.hash(&mut Vec::new());
    }
    Ok(Given { event, is_signed })
}

/// Gives a draft what its author has not written yet.
fn complete(fields: &mut Map<String, Value>, now: u64) {
    let zeros = |digits: usize| Value::from("0".repeat(digits));
    let missing = [
        ("id", zeros(64)),
        ("pubkey", zeros(64)),
        ("created_at", Value::from(now)),
        ("tags", Value::Array(Vec::new())),
        ("content", Value::from("")),
        ("sig", zeros(128)),
    ];
    for (name, value) in missing {
        fields.entry(name).or_insert(value);
    }
}
