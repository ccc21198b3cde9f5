//! Invariants of snapshots, for `crate::fuzz`: whatever bytes are taken as a snapshot, no later use of that index
//! panics. Their checksum is made right first, so that changes reach what lies behind it.

use super::intern::Hashes;
use super::{Index, Stored};
use crate::event::{Event, Id, Kind, PublicKey, Signature, Tags, Verified};
use crate::filter::Filter;
use crate::fuzz::{Chance, Target};
use crate::index::{Progress, Scan};
use crate::rule::Want;
use crate::store::Location;

pub(crate) const SNAPSHOT: Target = Target::new("snapshot", 48 * 1024, build, check);

/// Bytes of the checksum at the end, and where the header says what the index is for.
const CHECKSUM_BYTES: usize = 4;
const BY_PREFIX_AT: usize = 16;

/// Rows that a slice of a scan may look at, and slices.
const ENTRIES: u64 = 500;
const SLICES: usize = 20;

/// Events that are asked about one by one.
const ASKED_MAX: usize = 60;

fn event(chance: &mut Chance, known: &[Event]) -> Event {
    let letters = ["e", "p", "t", "g", "d", "a", "proxy", "expiration", "visibility"];
    let mut tags = Tags::default();
    for _ in 0..chance.below(6) {
        let letter = chance.pick(&letters);
        let value = match letter {
            "e" if !known.is_empty() => known[chance.below(known.len())].id.to_string(),
            "p" | "e" => chance.hex::<32>(),
            "a" => format!("30023:{}:x", chance.hex::<32>()),
            "g" => chance.pick(&["u33", "u33dc0", "z"]).to_owned(),
            "proxy" => "https://a.example/1".to_owned(),
            "expiration" => (1_000 + chance.below(50)).to_string(),
            "visibility" => "followers".to_owned(),
            _ => chance.below(9).to_string(),
        };
        tags.push([letter, &value, "activitypub"]);
    }
    Event {
        id: Id(std::array::from_fn(|_| chance.next() as u8)),
        pubkey: PublicKey(chance.bytes()),
        created_at: if chance.one_in(20) { chance.edge() } else { 1_000 + chance.below(50) as u64 },
        kind: Kind([1, 1, 1, 5, 7, 0, 62, 30_023, 1_059][chance.below(9)]),
        tags,
        content: String::new(),
        sig: Signature([0; 64]),
    }
}

fn build(chance: &mut Chance) -> Vec<u8> {
    let keys = [1, 2, 3, 4];
    let mut index = Index { hashes: Hashes::new(keys), by_prefix: chance.one_in(2), ..Index::default() };
    let mut known: Vec<Event> = Vec::new();
    let most = if chance.one_in(10) { 700 } else { 40 };
    for number in 0..chance.below(most) as u64 {
        let event = event(chance, &known);
        if let Some(stored) = index.newest_of(&event) {
            index.remove(stored);
        }
        let number = if chance.one_in(30) { 1 << 40 | number } else { number };
        index.insert(&event, Location { number, slot: chance.below(3) as u8 }, 100 + chance.below(900));
        if event.kind == Kind::VANISH {
            index.vanish(&event.pubkey, event.created_at);
        }
        let oldest = index.heads.live().next().filter(|_| chance.one_in(5));
        if let Some(ordinal) = oldest {
            index.remove(index.stored(ordinal));
        }
        known.push(event);
    }
    written(&index)
}

fn written(index: &Index) -> Vec<u8> {
    let mut bytes = Vec::new();
    index.write_snapshot(&mut bytes).expect("memory takes everything");
    bytes
}

fn check(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    if let Some(end) = bytes.len().checked_sub(CHECKSUM_BYTES) {
        let checksum = crc32fast::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    }
    let by_prefix = bytes.get(BY_PREFIX_AT).is_some_and(|flag| *flag != 0);
    let Ok(mut index) = Index::read_snapshot(&mut &*bytes, by_prefix) else { return false };
    let again = Index::read_snapshot(&mut &*written(&index), by_prefix).expect("an index that was just read");
    assert_eq!((again.len(), again.next_number()), (index.len(), index.next_number()));
    use_all(&mut index);
    true
}

/// Asks everything, and changes everything.
fn use_all(index: &mut Index) {
    let rows: Vec<u32> = index.heads.live().take(ASKED_MAX).collect();
    let events: Vec<Event> = rows.iter().map(|&row| event_at(index, row)).collect();
    ask(index, &events);
    let now = [0, 1_010, u64::MAX];
    let mut gone: Vec<Stored> = now.iter().flat_map(|&now| index.expired(now, 5)).collect();
    gone.extend(index.vanishing(5));
    let mut removed = std::collections::HashSet::new();
    for stored in gone {
        // What was removed once is no handle any more.
        if removed.insert(stored.ordinal) {
            index.remove(stored);
        }
    }
    for event in &events {
        for stored in index.deleted_by(&Verified::assumed(event.clone())) {
            if removed.insert(stored.ordinal) {
                index.remove(stored);
            }
        }
    }
    let mut chance = Chance::new(1);
    for number in 0..60 {
        let event = event(&mut chance, &events);
        if let Some(stored) = index.newest_of(&event) {
            index.remove(stored);
        }
        index.insert(&event, Location { number: 1 << 41 | number, slot: 0 }, 500);
    }
    let places: Vec<Location> =
        index.heads.live().take(ASKED_MAX).map(|ordinal| index.stored(ordinal).location).collect();
    index.remove_at(&places);
    ask(index, &events);
    written(index);
}

fn event_at(index: &Index, ordinal: u32) -> Event {
    let row = *index.heads.get(ordinal);
    let (pubkey, id) = (*index.authors.key(row.author), *index.heads.id(ordinal));
    let (key, name) = (pubkey.to_string(), id.to_string());
    let address = format!("30023:{key}:x");
    Event {
        id,
        pubkey,
        created_at: index.heads.created_at(ordinal),
        kind: row.kind,
        tags: [["e", &name], ["p", &key], ["a", &address], ["t", "3"], ["d", "x"]].into_iter().collect(),
        content: String::new(),
        sig: Signature([0; 64]),
    }
}

fn ask(index: &Index, events: &[Event]) {
    let summary = index.summary();
    assert_eq!(summary.events, index.len() as u64);
    let mut filters = vec![
        Filter::default(),
        Filter { kinds: Some(vec![Kind(1), Kind(30_023)]), ..Filter::default() },
        Filter { tags: vec![(b't', vec!["3".to_owned()])], until: Some(1_020), ..Filter::default() },
        Filter { tags: vec![(b'g', vec![])], prefixes: vec!["u3".to_owned()], ..Filter::default() },
    ];
    let mut authors: Vec<PublicKey> = events.iter().map(|event| event.pubkey).collect();
    authors.sort_unstable();
    authors.dedup();
    filters.push(Filter { authors: Some(authors.clone()), since: Some(1_010), ..Filter::default() });
    filters.push(Filter { authors: Some(authors), kinds: Some(vec![Kind(7)]), ..Filter::default() });
    for filter in &filters {
        let mut scan = Scan::new(filter, u64::MAX);
        for _ in 0..SLICES {
            let look = |head: &crate::rule::Head<'_>| {
                head.tags.origins(&mut |origin| drop(origin.clone().into_owned()));
                head.tags.has(b'p', "x") || head.kind.0 < u16::MAX
            };
            if scan.run(index, ENTRIES, look, |_, _| true) != Progress::Going {
                break;
            }
        }
    }
    for event in events {
        index.facts(event);
        index.newest_of(event);
        index.vanished_until(&event.pubkey);
        assert!(index.author_of(&event.id).is_none_or(|author| author.0.len() == 32));
        let want = Want::ByAuthor { author: event.pubkey, kind: event.kind, most: 5 };
        let naming =
            Want::Naming { kind: event.kind, letter: b'p', value: event.pubkey.to_string(), most: 5 };
        for want in [want, naming, Want::Id(event.id), Want::Address(format!("30023:{}:x", event.pubkey))] {
            index.wanted(&want);
        }
    }
}
