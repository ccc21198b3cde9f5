//! An event as the store keeps it: binary, about half as long as its JSON, its head readable without
//! parsing text. In: events. Out: bytes, and back. Never touches sled.
//!
//! Version 2: version byte, id (32), author (32), signature (64), `created_at`, kind (2, little-endian), tags,
//! how the content is written (0 as it is, 1 what it is in base64), content to the end. Tags: their number,
//! then for each the number of its values, then for each value `length * 2 + h` and its bytes, where `h` is
//! 1 when lowercase hex is written as half as many bytes. Numbers are LEB128.
//!
//! Version 1, which is still read, has `created_at` in 8 bytes, little-endian, and all content as it is.

use data_encoding::BASE64;

use crate::event::{Event, Id, Kind, PublicKey, Signature, Tags};

/// The version that this build writes; it reads this and [`VERSION_1`].
const VERSION: u8 = 2;
const VERSION_1: u8 = 1;

/// How content is written.
const PLAIN: u8 = 0;
const AS_BASE64: u8 = 1;

/// Base64 shorter than this is kept as text: it may well be a word.
const BASE64_BYTES_MIN: usize = 64;

/// Hex shorter than this is kept as text: it would save too little.
const HEX_DIGITS_MIN: usize = 16;

/// Why a record is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by another version of plaza.
    #[error(
        "the record has version {0}, and this plaza reads versions up to {VERSION} only; run the plaza that wrote it, or a newer one"
    )]
    UnknownVersion(u8),
    /// Not what was written.
    #[error("the record is damaged: {0}")]
    Damaged(&'static str),
}

/// Writes an event as a record.
pub fn encode(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(144 + event.content.len() + event.tags.text_len());
    out.push(VERSION);
    out.extend_from_slice(&event.id.0);
    out.extend_from_slice(&event.pubkey.0);
    out.extend_from_slice(&event.sig.0);
    write_number(event.created_at, &mut out);
    out.extend_from_slice(&event.kind.0.to_le_bytes());
    write_number(event.tags.len() as u64, &mut out);
    for tag in event.tags.iter() {
        write_number(tag.len() as u64, &mut out);
        tag.iter().for_each(|value| write_value(value, &mut out));
    }
    match base64_of(&event.content) {
        Some(bytes) => {
            out.push(AS_BASE64);
            out.extend_from_slice(&bytes);
        }
        None => {
            out.push(PLAIN);
            out.extend_from_slice(event.content.as_bytes());
        }
    }
    out
}

/// What a text is in base64, with padding; `None` unless that gives back just this text. So are encrypted
/// messages and gift wraps written (NIP-44).
fn base64_of(text: &str) -> Option<Vec<u8>> {
    if text.len() < BASE64_BYTES_MIN || !text.len().is_multiple_of(4) {
        return None;
    }
    // It takes only the canonical form.
    BASE64.decode(text.as_bytes()).ok()
}

/// Reads a record.
///
/// # Errors
/// When its version is unknown or it is not what [`encode`] wrote.
pub fn decode(record: &[u8]) -> Result<Event, RecordError> {
    let (mut event, content) = decode_without_content(record)?;
    let (how, content) = match (record.first(), content) {
        (Some(&VERSION_1), content) => (PLAIN, content),
        (_, [how, content @ ..]) => (*how, content),
        (_, []) => return Err(RecordError::Damaged("it ends before its content")),
    };
    event.content = match how {
        PLAIN => std::str::from_utf8(content)
            .map_err(|_| RecordError::Damaged("its content is not UTF-8"))?
            .to_owned(),
        AS_BASE64 => BASE64.encode(content),
        _ => return Err(RecordError::Damaged("its content is written in an unknown way")),
    };
    Ok(event)
}

/// Reads all of a record but the content, which the index has no use for; what is left of the record is
/// returned with it.
///
/// # Errors
/// When its version is unknown or it is not what [`encode`] wrote.
pub fn decode_without_content(record: &[u8]) -> Result<(Event, &[u8]), RecordError> {
    let mut input = Input(record);
    let [version] = input.take::<1>()?;
    if !matches!(version, VERSION | VERSION_1) {
        return Err(RecordError::UnknownVersion(version));
    }
    let (id, pubkey, sig) = (Id(input.take()?), PublicKey(input.take()?), Signature(input.take()?));
    let created_at = match version {
        VERSION_1 => u64::from_le_bytes(input.take()?),
        _ => input.number()?,
    };
    let kind = Kind(u16::from_le_bytes(input.take()?));
    let mut tags = Tags::default();
    let mut hex = String::new();
    for _ in 0..input.number()? {
        for _ in 0..input.number()? {
            input.value(&mut tags, &mut hex)?;
        }
        tags.end_tag();
    }
    let event = Event { id, pubkey, created_at, kind, tags, content: String::new(), sig };
    Ok((event, input.0))
}

fn write_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn write_value(value: &str, out: &mut Vec<u8>) {
    let digits = value.len();
    let is_hex = digits >= HEX_DIGITS_MIN
        && digits.is_multiple_of(2)
        && value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex {
        write_number(digits as u64 * 2, out);
        out.extend_from_slice(value.as_bytes());
        return;
    }
    write_number(digits as u64 + 1, out);
    let start = out.len();
    out.resize(start + digits / 2, 0);
    // The digits were checked, and there are two of them for each byte.
    let _ = hex::decode_to_slice(value, &mut out[start..]);
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(RecordError::Damaged("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(RecordError::Damaged("it ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64, RecordError> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.take::<1>()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(RecordError::Damaged("a number is too long"))
    }

    fn value(&mut self, tags: &mut Tags, hex: &mut String) -> Result<(), RecordError> {
        let header = self.number()?;
        let bytes = self.bytes(usize::try_from(header / 2).unwrap_or(usize::MAX))?;
        if header % 2 == 0 {
            tags.push_value(
                std::str::from_utf8(bytes).map_err(|_| RecordError::Damaged("a tag is not UTF-8"))?,
            );
            return Ok(());
        }
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        hex.clear();
        for byte in bytes {
            hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
            hex.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        tags.push_value(hex);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(tags: Tags, content: &str) -> Event {
        Event {
            id: Id([1; 32]),
            pubkey: PublicKey([2; 32]),
            created_at: u64::MAX,
            kind: Kind(65_535),
            tags,
            content: content.to_owned(),
            sig: Signature([3; 64]),
        }
    }

    #[test]
    fn records_read_as_they_were_written() {
        let (hex, upper) = ("0af9".repeat(16), "0AF9".repeat(16));
        let odd = &hex[..63];
        let long = "ä".repeat(70_000);
        let table = [
            event(Tags::default(), ""),
            event([&["e", &hex, "wss://x"][..], &["-"], &[]].into_iter().collect(), "text \u{0} ü"),
            event([["x", &upper], ["x", odd], ["x", &hex[..14]], ["x", ""]].into_iter().collect(), &hex),
            event([["x", long.as_str()]].into_iter().collect(), &long),
            // Base64, and what only looks like it: bits that do not count, no padding, another alphabet, a word.
            event(Tags::default(), &format!("{}QQ==", "AbC/".repeat(30))),
            event(Tags::default(), &format!("{}QR==", "AbC/".repeat(30))),
            event(Tags::default(), &format!("{}QQ", "AbC/".repeat(30))),
            event(Tags::default(), &"AbC_".repeat(30)),
            event(Tags::default(), &format!("{}\n", "AbC/".repeat(30))),
            event(Tags::default(), "word"),
        ];
        for event in table {
            let record = encode(&event);
            assert_eq!(decode(&record).as_ref(), Ok(&event));
            for end in (0..record.len().min(160)).chain([record.len().saturating_sub(1)]) {
                // A cut record must be an error or another event, never a panic.
                assert_ne!(decode(&record[..end]).as_ref(), Ok(&event));
            }
        }
    }

    #[test]
    fn encrypted_content_takes_three_quarters() {
        let text = "c2VjcmV0".repeat(100);
        let plain = encode(&event(Tags::default(), &text.replace('c', "-"))).len();
        assert_eq!(plain - encode(&event(Tags::default(), &text)).len(), text.len() / 4);
    }

    #[test]
    fn records_of_version_1_are_read() {
        let expected = event([["e", &"0af9".repeat(16)]].into_iter().collect(), &"c2VjcmV0".repeat(100));
        let mut record = vec![VERSION_1];
        record.extend_from_slice(&[1; 32]);
        record.extend_from_slice(&[2; 32]);
        record.extend_from_slice(&[3; 64]);
        record.extend_from_slice(&u64::MAX.to_le_bytes());
        record.extend_from_slice(&65_535_u16.to_le_bytes());
        record.extend_from_slice(&[1, 2, 2, b'e', 65]);
        record.extend_from_slice(&[0x0a, 0xf9].repeat(16));
        record.extend_from_slice(expected.content.as_bytes());
        assert_eq!(decode(&record), Ok(expected));
    }

    #[test]
    fn unknown_versions_are_named() {
        let mut record = encode(&event(Tags::default(), ""));
        record[0] = 9;
        assert_eq!(decode(&record), Err(RecordError::UnknownVersion(9)));
    }
}
