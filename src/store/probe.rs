//! Invariants of values and keys, for `crate::fuzz`: no bytes of a disk panic, and what was read is written as it was.

use super::key::{self, RecordKey, Shelf};
use super::tally::{Numbering, Tally};
use super::value::{self, Head, Meta, PackBuilder, VALUE_BYTES_MAX};
use super::{CommunityId, Location, StateTable};
use crate::fuzz::{Chance, Target};

pub(crate) const VALUE: Target = Target::new("value", 2 * VALUE_BYTES_MAX, build_value, check_value);
pub(crate) const KEY: Target = Target::new("key", 300, build_key, check_key);

fn build_value(chance: &mut Chance) -> Vec<u8> {
    match chance.below(6) {
        0 => value::write_long(&vec![b'x'; VALUE_BYTES_MAX + chance.below(2 * VALUE_BYTES_MAX)])
            .nth(chance.below(2))
            .unwrap_or_default(),
        1 => {
            let one = |chance: &mut Chance| {
                (
                    CommunityId(chance.edge() as u32),
                    Location { number: chance.edge(), slot: chance.edge() as u8 },
                )
            };
            value::write_removed(&chance.some(500, one)).next().unwrap_or_default()
        }
        2 => {
            let tally = Tally { records: chance.edge(), sum: chance.edge() };
            value::write_numbering(Numbering {
                next: chance.edge(),
                tally: chance.one_in(2).then_some(tally),
            })
        }
        3 => Meta { first_number: chance.edge(), groups: chance.edge() }.write(),
        _ => {
            let mut pack = PackBuilder::default();
            for _ in 0..1 + chance.below(64) {
                match chance.one_in(4) {
                    true => pack.push_empty(),
                    false => pack.push(&vec![b'r'; chance.below(80)]),
                }
            }
            pack.finish()
        }
    }
}

fn check_value(bytes: &[u8]) -> bool {
    let mut is_good = false;
    match value::read_head(bytes) {
        Ok(Head::Pack(pack)) => {
            is_good = true;
            let slots: Vec<Option<&[u8]>> = pack.slots().collect();
            let mut again = PackBuilder::default();
            for slot in &slots {
                match slot {
                    Some(record) => again.push(record),
                    None => again.push_empty(),
                }
            }
            assert_eq!(again.finish(), bytes, "a pack that was written is the same");
            for gone in 0..slots.len().min(8) as u8 {
                let left =
                    slots.iter().enumerate().filter(|(at, slot)| *at != usize::from(gone) && slot.is_some());
                let without = pack.without(&[gone, u8::MAX]);
                assert_eq!(without.is_some(), left.count() > 0);
                let Some(without) = without else { continue };
                let Ok(Head::Pack(pack)) = value::read_head(&without) else {
                    panic!("a pack is left of a pack")
                };
                let expected =
                    slots.iter().enumerate().map(|(at, slot)| slot.filter(|_| at != usize::from(gone)));
                assert!(pack.slots().eq(expected), "nothing else is gone");
            }
        }
        Ok(Head::Long(long)) => {
            is_good = true;
            assert!(long.first.len() <= long.record_bytes);
            assert!(usize::from(long.parts()) * VALUE_BYTES_MAX >= long.record_bytes - long.first.len());
        }
        Err(_) => {}
    }
    for missing in [0, 1, bytes.len().saturating_sub(2), usize::MAX] {
        is_good |= value::read_part(bytes, missing).is_ok_and(|part| part.len() <= missing);
    }
    let mut removed = Vec::new();
    if value::read_removed(bytes, &mut removed).is_ok() && !removed.is_empty() {
        is_good = true;
        assert!(
            value::write_removed(&removed)
                .flat_map(|value| value.into_iter().skip(2))
                .eq(bytes[2..].iter().copied())
        );
    }
    if let Ok(numbering) = value::read_numbering(bytes) {
        is_good = true;
        assert_eq!(value::write_numbering(numbering), bytes);
    }
    if let Ok(meta) = Meta::read(bytes) {
        is_good = true;
        assert_eq!(meta.write(), bytes);
    }
    is_good
}

fn build_key(chance: &mut Chance) -> Vec<u8> {
    let (community, number) = (CommunityId(chance.edge() as u32), chance.edge());
    let shelf = if chance.one_in(2) { Shelf::Packed } else { Shelf::Loose };
    match chance.below(5) {
        0 => key::head(shelf, community, number).to_vec(),
        1 => key::part(shelf, community, number, chance.edge() as u16).to_vec(),
        2 => key::state(community, StateTable(chance.edge() as u8), chance.text().as_bytes()),
        3 => key::removed(number, chance.edge() as u16).to_vec(),
        _ => key::next_number(community).to_vec(),
    }
}

fn check_key(bytes: &[u8]) -> bool {
    let said = key::describe(bytes);
    assert!(!said.is_empty() && said.len() <= 100 + 8 * bytes.len());
    let community =
        bytes.get(1..5).and_then(|id| id.try_into().ok()).map(|id| CommunityId(u32::from_be_bytes(id)));
    let shelf = match bytes.first() {
        Some(1) => Some(Shelf::Packed),
        Some(3) => Some(Shelf::Loose),
        _ => None,
    };
    let mut is_good = false;
    if let (Some(community), Some(shelf), Some(read)) = (community, shelf, key::read_record_key(bytes)) {
        is_good = true;
        match read {
            RecordKey::Head(number) => assert_eq!(key::head(shelf, community, number)[..], *bytes),
            RecordKey::Part(number) => {
                let part = u16::from_be_bytes([bytes[13], bytes[14]]);
                assert_eq!(key::part(shelf, community, number, part)[..], *bytes);
            }
        }
    }
    if let Some((community, table, suffix)) = key::read_state_key(bytes) {
        is_good = true;
        assert_eq!(key::state(community, table, suffix), bytes);
        assert_eq!(key::state_suffix(bytes), suffix);
    }
    if let Some(community) = key::read_next_number_key(bytes) {
        is_good = true;
        assert_eq!(key::next_number(community)[..], *bytes);
    }
    is_good
}
