//! What a relay says, as far as it is counted: the verb and what stands in a fixed place. In: a message's bytes.
//! Out: a [`Reply`]. Reads no JSON beyond that, and takes white space where other relays write it.

use crate::event::Id;

/// The first eight bytes of an event's id, by which a measurement knows it again.
pub(super) type Key = u64;

/// The key of an id.
pub(super) fn key(id: &Id) -> Key {
    id.0.first_chunk().map_or(0, |eight| u64::from_be_bytes(*eight))
}

/// A message from the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Event,
    Eose,
    Closed,
    Count,
    Notice,
    /// Which event, and whether the relay has it now.
    Ok(Key, bool),
    Other,
}

/// `[`, `,` and white space, then a string: where it begins and ends, without quotes.
fn string(message: &[u8], from: usize) -> Option<(usize, usize)> {
    let begin = from + message.get(from..)?.iter().position(|byte| *byte == b'"')? + 1;
    let end = begin + message[begin..].iter().position(|byte| *byte == b'"')?;
    Some((begin, end))
}

fn key_of_hex(digits: &[u8]) -> Option<Key> {
    let digits = std::str::from_utf8(digits.get(..16)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

/// Reads a message.
pub(super) fn reply(message: &[u8]) -> Reply {
    let Some((begin, end)) = string(message, 0) else { return Reply::Other };
    match &message[begin..end] {
        b"EVENT" => Reply::Event,
        b"EOSE" => Reply::Eose,
        b"OK" => verdict(message, end + 1).unwrap_or(Reply::Other),
        b"CLOSED" => Reply::Closed,
        b"COUNT" => Reply::Count,
        b"NOTICE" => Reply::Notice,
        _ => Reply::Other,
    }
}

fn verdict(message: &[u8], from: usize) -> Option<Reply> {
    let (begin, end) = string(message, from)?;
    let key = key_of_hex(&message[begin..end])?;
    let rest = &message[end + 1..];
    let word = rest.iter().position(|byte| byte.is_ascii_alphabetic())?;
    let is_true = rest[word..].starts_with(b"true");
    // A copy is there already. Of two versions of a list that are under way at once, the older may come second.
    let is_there = is_true || rest.windows(10).any(|bytes| bytes == b"duplicate:");
    Some(Reply::Ok(key, is_there))
}

/// The subscription that an EVENT is for, when its name is a letter and a number.
pub(super) fn subscription(message: &[u8]) -> Option<usize> {
    let (_, end) = string(message, 0)?;
    let (begin, end) = string(message, end + 1)?;
    std::str::from_utf8(message.get(begin + 1..end)?).ok()?.parse().ok()
}

/// Where the value of a field of an event begins. Inside of texts the field's quotes have backslashes before
/// them, so that the first match is the field.
fn field<'m>(message: &'m [u8], name: &[u8]) -> Option<&'m [u8]> {
    let at = message.windows(name.len()).position(|bytes| bytes == name)?;
    let value = &message[at + name.len()..];
    Some(&value[value.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != b':')?..])
}

/// The key of the event in an EVENT.
pub(super) fn event_key(message: &[u8]) -> Option<Key> {
    key_of_hex(field(message, b"\"id\"")?.get(1..)?)
}

/// The date of the event in an EVENT.
pub(super) fn created_at(message: &[u8]) -> Option<u64> {
    let digits = field(message, b"\"created_at\"")?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_with_and_without_spaces() {
        let id = format!("00000000000000ff{}", "0".repeat(48));
        let cases = [
            (format!(r#"["OK","{id}",true,""]"#), Reply::Ok(255, true)),
            (format!(r#"["OK", "{id}", true, ""]"#), Reply::Ok(255, true)),
            (format!(r#"["OK","{id}",false,"duplicate: have it"]"#), Reply::Ok(255, true)),
            (format!(r#"["OK","{id}",false,"blocked: true"]"#), Reply::Ok(255, false)),
            (r#"["EOSE","q"]"#.to_owned(), Reply::Eose),
            (r#"[ "CLOSED", "q","x"]"#.to_owned(), Reply::Closed),
            (r#"["NOTICE","x"]"#.to_owned(), Reply::Notice),
            (r#"["COUNT","q",{"count":1}]"#.to_owned(), Reply::Count),
            (r#"["AUTH","x"]"#.to_owned(), Reply::Other),
            (r#"["OK","short",true,""]"#.to_owned(), Reply::Other),
            (String::new(), Reply::Other),
        ];
        for (message, expected) in cases {
            assert_eq!(reply(message.as_bytes()), expected, "{message}");
        }
    }

    #[test]
    fn events_are_read_whatever_the_order_of_fields() {
        let id = format!("00000000000000ff{}", "0".repeat(48));
        let messages = [
            format!(r#"["EVENT","s12",{{"id":"{id}","created_at":17,"content":"\"id\":\"ff\""}}]"#),
            format!(r#"["EVENT", "s12", {{"content": "\"id\":\"ff\"", "created_at": 17, "id": "{id}"}}]"#),
        ];
        for message in messages {
            let bytes = message.as_bytes();
            assert_eq!(reply(bytes), Reply::Event);
            assert_eq!(
                (subscription(bytes), event_key(bytes), created_at(bytes)),
                (Some(12), Some(255), Some(17)),
                "{message}"
            );
        }
        assert_eq!(event_key(br#"["EVENT","s1",{"id":"#), None);
    }
}
