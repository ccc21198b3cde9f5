//! What lies on disks and in backups: records of events, and entries of copies. What only their own folders know
//! stands there: `store/probe.rs`, `index/probe.rs`, `backup/probe.rs`.

use super::wire::event;
use super::{Chance, Target};
use crate::event::Event;
use crate::store::copy::{next_record, next_removed, next_state, write_removed};
use crate::store::record::{decode, decode_without_content, encode};

pub(super) const RECORD: Target = Target::new("record", 64 * 1024, build_record, check_record);
pub(super) const COPY: Target = Target::new("copy", 64 * 1024, build_copy, check_copy);

/// A record, of the old version now and then.
fn build_record(chance: &mut Chance) -> Vec<u8> {
    loop {
        let Ok(mut event) = Event::from_json(event(chance).as_bytes()) else { continue };
        if chance.one_in(4) {
            event.content = "QUJD".repeat(chance.below(300)) + chance.pick(&["", "QQ==", "QR==", "QQ", "\n"]);
        }
        let record = encode(&event);
        if !chance.one_in(4) {
            return record;
        }
        return version_1(&event);
    }
}

/// The record that the first version wrote.
fn version_1(event: &Event) -> Vec<u8> {
    // Without its date, which had eight bytes, and its content, which had no mark.
    let without = Event { created_at: 0, content: String::new(), ..event.clone() };
    let mut record = encode(&without);
    record[0] = 1;
    record.splice(129..130, event.created_at.to_le_bytes());
    record.pop();
    record.extend_from_slice(event.content.as_bytes());
    record
}

fn check_record(record: &[u8]) -> bool {
    let head = decode_without_content(record);
    let event = match decode(record) {
        Ok(event) => event,
        Err(_) => return false,
    };
    let (head, _) = head.expect("what has a content has a head");
    assert_eq!(Event { content: event.content.clone(), ..head }, event);
    assert_eq!(decode(&encode(&event)).as_ref(), Ok(&event), "a record that was written reads the same");
    assert_eq!(Event::from_json(&event.to_json()).as_ref(), Ok(&event), "and so does its JSON");
    true
}

/// Entries of one of the three kinds, which the first byte says.
fn build_copy(chance: &mut Chance) -> Vec<u8> {
    let kind = chance.below(3) as u8;
    let mut bytes = vec![kind];
    for _ in 0..1 + chance.below(6) {
        let text = chance.text();
        bytes.extend_from_slice(&(chance.edge() as u32).to_be_bytes());
        if kind < 2 {
            bytes.extend_from_slice(&chance.edge().to_be_bytes());
            bytes.push(chance.edge() as u8);
        }
        match kind {
            0 => bytes.extend_from_slice(&(text.len() as u32).to_be_bytes()),
            1 => continue,
            _ => {
                bytes.push(chance.edge() as u8);
                bytes.extend_from_slice(&[0, 0]);
                bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
            }
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

fn check_copy(bytes: &[u8]) -> bool {
    let Some((kind, entries)) = bytes.split_first() else { return false };
    let mut rest = entries;
    let mut written = Vec::new();
    loop {
        let before = rest;
        let put =
            |out: &mut Vec<u8>, parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
        let more = match kind % 3 {
            0 => next_record(&mut rest).map(|entry| {
                entry.map(|entry| {
                    write_removed(entry.community, entry.location, &mut written);
                    put(&mut written, &[&(entry.record.len() as u32).to_be_bytes(), entry.record]);
                })
            }),
            1 => next_removed(&mut rest).map(|entry| {
                entry.map(|(community, location)| write_removed(community, location, &mut written))
            }),
            _ => next_state(&mut rest).map(|entry| {
                entry.map(|entry| {
                    let lengths =
                        [entry.key.len(), entry.value.len()].map(|length| (length as u16).to_be_bytes());
                    let community = entry.community.0.to_be_bytes();
                    put(
                        &mut written,
                        &[&community, &[entry.table.0], &lengths[0], &lengths[1], entry.key, entry.value],
                    );
                })
            }),
        };
        match more {
            Ok(Some(())) => assert!(rest.len() < before.len(), "every entry takes room"),
            Ok(None) => break,
            Err(_) => {
                assert_eq!(rest, before, "what is cut off is left as it is");
                break;
            }
        }
    }
    assert_eq!(written, entries[..entries.len() - rest.len()], "entries that were written are the same");
    !written.is_empty() && rest.is_empty()
}
