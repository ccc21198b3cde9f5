//! The index against naive twins: a list of events that is walked for every question, the same index read
//! back from a snapshot, and one that is built anew. Random tests print their seed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::slice::from_ref;

use super::tally::EVENTS_MIN;
use super::{Found, Index, Progress, Scan, SnapshotError, Stored, Summary};
use crate::domain::proxy::origins;
use crate::event::{Event, Id, Kind, PublicKey, Signature, Tags, Verified};
use crate::filter::Filter;
use crate::filter::places::prefixes_of;
use crate::nips::nip40;
use crate::nips::nip45::HyperLogLog;
use crate::policy::{Placement, is_marked_for_followers, place};
use crate::rule::{Head, Want};
use crate::splitmix::SplitMix;
use crate::store::Location;

const PEOPLE: u64 = 9;

/// Random numbers from a seed (SplitMix64).
struct Random(SplitMix);

impl Random {
    fn new(seed: u64) -> Random {
        println!("seed {seed}");
        Random(SplitMix(seed))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn bytes(&mut self) -> [u8; 32] {
        std::array::from_fn(|_| self.below(256) as u8)
    }

    fn person(&mut self) -> PublicKey {
        // The first ones write most.
        let most = 1 + self.below(PEOPLE);
        PublicKey([self.below(most) as u8 + 1; 32])
    }

    /// Mostly few values, for ties; some far away, one beyond 32 bits.
    fn time(&mut self) -> u64 {
        match self.below(40) {
            0 => self.below(3) + (1 << 32) - 1,
            1 => u64::MAX - self.below(2),
            2 => 0,
            _ => 1_000 + self.below(300),
        }
    }

    fn value(&mut self, letter: &str, known: &[Event]) -> String {
        match letter {
            "e" if !known.is_empty() && !self.one_in(5) => {
                known[self.below(known.len() as u64) as usize].id.to_string()
            }
            "e" => Id(self.bytes()).to_string(),
            "p" => self.person().to_string(),
            "a" => format!("{}:{}:{}", self.pick(&[0, 30_023, 1]), self.person(), self.pick(&["", "x", "y"])),
            "d" => self.pick(&["", "x", "y"]).to_owned(),
            "g" => self.pick(&["u33", "u33dc0", "u33d", "u4", "z"]).to_owned(),
            "proxy" => format!("https://{}.example/1", self.pick(&["a", "b", "c"])),
            "visibility" => "followers".to_owned(),
            "expiration" => self.pick(&["1000", "1200", "5000", "never"]).to_owned(),
            _ => format!("{}", self.below(20)),
        }
    }

    fn event(&mut self, known: &[Event]) -> Event {
        let kind = match self.below(200) {
            0 => 62,
            1..12 => 5,
            _ => self.pick(&[1, 1, 1, 1, 1, 7, 7, 7, 1_059, 0, 30_023, 30_023, 9_735]),
        };
        let mut tags = Tags::default();
        let letters =
            ["e", "e", "p", "p", "t", "t", "g", "d", "a", "k", "proxy", "visibility", "expiration", "none"];
        for _ in 0..self.below(5) {
            let letter = self.pick(&letters);
            let value = self.value(letter, known);
            tags.push([letter, &value, "activitypub"]);
        }
        if self.one_in(50) {
            for number in 0..self.below(1_200) {
                tags.push(["r", &number.to_string()]);
            }
        }
        Event {
            id: Id(self.bytes()),
            pubkey: if self.one_in(20) { PublicKey(self.bytes()) } else { self.person() },
            // Whoever vanishes for ever writes no more.
            created_at: if kind == 62 { 1_000 + self.below(150) } else { self.time() },
            kind: Kind(kind),
            tags,
            content: String::new(),
            sig: Signature([0; 64]),
        }
    }

    fn some<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Option<Vec<T>> {
        if !self.one_in(3) {
            return None;
        }
        Some((0..self.below(5)).map(|_| one(self)).collect())
    }

    fn filter(&mut self, known: &[Event]) -> Filter {
        let mut filter = Filter::default();
        if self.one_in(8) {
            filter.ids = self.some(|random| known[random.below(known.len() as u64) as usize].id);
        }
        filter.authors = self.some(Random::person);
        filter.kinds = self.some(|random| Kind(random.pick(&[0, 1, 5, 7, 62, 1_059, 9_735, 30_023])));
        for letter in ["e", "p", "t", "g", "d", "r"] {
            if self.one_in(12) {
                let values = self.some(|random| random.value(letter, known)).unwrap_or_default();
                filter.tags.push((letter.as_bytes()[0], values));
            }
        }
        if self.one_in(6) {
            for letter in ["t", "g", "p"] {
                let values = self.some(|random| random.value(letter, known)).unwrap_or_default();
                filter.all_tags.extend(values.into_iter().take(2).map(|value| (letter.as_bytes()[0], value)));
            }
        }
        if let Some((_, places)) = filter.tags.iter().find(|(letter, _)| *letter == b'g')
            && let Some(place) = places.first()
            && self.one_in(2)
        {
            filter.prefixes = prefixes_of(place).take(2).skip(1).map(str::to_owned).collect();
        }
        filter.since = self.one_in(4).then(|| self.time());
        filter.until = self.one_in(3).then(|| self.time());
        filter.ids.iter_mut().for_each(sort);
        filter.authors.iter_mut().for_each(sort);
        filter.kinds.iter_mut().for_each(sort);
        filter.tags.iter_mut().for_each(|(_, values)| sort(values));
        filter
    }
}

/// Whether some may see it and others not, for more than its kind.
fn is_special(event: &Event) -> bool {
    nip40::expires_at(event).is_some()
        || is_marked_for_followers(&event.tags)
        || origins(&event.tags).next().is_some()
}

fn sort<T: Ord>(values: &mut Vec<T>) {
    values.sort_unstable();
    values.dedup();
}

/// The length that a record might have.
fn length_of(event: &Event) -> usize {
    100 + usize::from(event.id.0[0]) * 9
}

/// An index and what it must hold.
struct World {
    index: Index,
    stored: HashMap<Location, Event>,
    /// All that ever came.
    known: Vec<Event>,
    vanished: Vec<(PublicKey, u64)>,
    next: u64,
}

impl World {
    fn new() -> World {
        let (stored, known) = (HashMap::new(), Vec::new());
        World { index: Index::new(true), stored, known, vanished: Vec::new(), next: 1 }
    }

    fn forget(&mut self, stored: Stored) {
        assert!(self.stored.remove(&stored.location).is_some(), "{stored:?} is stored");
        self.index.remove(stored);
    }

    /// An event arrives; what the facts let in is stored, as the writer does it.
    fn arrive(&mut self, event: Event) {
        self.known.push(event.clone());
        let event = Verified::assumed(event);
        let placement = place(&event, &self.index.facts(&event));
        if !matches!(placement, Placement::Insert | Placement::Replace) {
            return;
        }
        let mut removes: Vec<Stored> = self.index.newest_of(&event).into_iter().collect();
        if event.kind == Kind::DELETION {
            removes = self.index.deleted_by(&event);
        }
        removes.into_iter().for_each(|stored| self.forget(stored));
        let location = Location { number: self.next / 3, slot: (self.next % 3) as u8 };
        self.next += 1;
        self.index.insert(&event, location, length_of(&event));
        self.stored.insert(location, (*event).clone());
        if event.kind == Kind::VANISH {
            self.index.vanish(&event.pubkey, event.created_at);
            self.vanished.push((event.pubkey, event.created_at));
        }
    }

    fn step(&mut self, random: &mut Random) {
        if random.one_in(60) {
            let mut gone = self.index.expired(1_100, 3);
            gone.extend(
                self.index
                    .vanishing(20)
                    .into_iter()
                    .filter(|stored| !gone.contains(stored))
                    .collect::<Vec<_>>(),
            );
            gone.into_iter().for_each(|stored| self.forget(stored));
        } else {
            let event = random.event(&self.known);
            self.arrive(event);
        }
    }

    /// The index that start-up makes of the same records.
    fn rebuilt(&self) -> Index {
        let mut stored: Vec<(&Location, &Event)> = self.stored.iter().collect();
        stored.sort_by_key(|(location, _)| **location);
        let mut index = Index::new(true);
        stored.into_iter().for_each(|(location, event)| index.insert(event, *location, length_of(event)));
        self.vanished.iter().for_each(|(key, until)| index.vanish(key, *until));
        index
    }

    fn read_back(&self) -> Index {
        let bytes = snapshot(&self.index);
        let mut input = bytes.as_slice();
        let index = Index::read_snapshot(&mut input, true).expect("a snapshot that was just written");
        assert!(input.is_empty(), "all was read");
        index
    }

    /// What a filter finds, by walking the list.
    fn naive(&self, filter: &Filter, as_of: u64) -> Vec<Found> {
        let matching =
            self.stored.iter().filter(|(location, event)| location.number < as_of && filter.matches(event));
        let mut found: Vec<Found> = matching
            .map(|(&location, event)| Found { created_at: event.created_at, id: event.id, location })
            .collect();
        found.sort_by(|one, other| (other.created_at, one.id).cmp(&(one.created_at, other.id)));
        found
    }

    fn assert_summary(&self, summary: &Summary, what: &str) {
        let mut kinds: BTreeMap<Kind, u64> = BTreeMap::new();
        self.stored.values().for_each(|event| *kinds.entry(event.kind).or_default() += 1);
        let counted: BTreeMap<Kind, u64> = summary.kinds.iter().copied().collect();
        let authors: HashSet<PublicKey> = self.stored.values().map(|event| event.pubkey).collect();
        let times = || self.stored.values().map(|event| event.created_at);
        assert_eq!((summary.events, counted), (self.stored.len() as u64, kinds), "{what}");
        assert_eq!(summary.authors, authors.len() as u64, "{what}");
        assert_eq!(summary.times, times().min().zip(times().max()), "{what}");
        let bytes: u64 = self.stored.values().map(|event| length_of(event) as u64).sum();
        assert!(
            summary.record_bytes.abs_diff(bytes) <= bytes / 16,
            "{what}: {} {bytes}",
            summary.record_bytes
        );
    }

    /// What is tallied is what a walk over the list counts, and the people are the same.
    fn assert_tallies(&self, index: &Index, what: &str) -> usize {
        let mut by_value: BTreeMap<(u8, String), Vec<&Event>> = BTreeMap::new();
        for event in self.stored.values() {
            let values: BTreeSet<(u8, String)> =
                event.tags.indexed().map(|(letter, value)| (letter, value.to_owned())).collect();
            values.into_iter().for_each(|value| by_value.entry(value).or_default().push(event));
        }
        let mut tallied = 0;
        // There are a thousand of "r", all alike.
        let is_looked_at = |letter: u8, value: &str| letter != b'r' || value.ends_with("00");
        by_value
            .retain(|(letter, value), events| events.len() > EVENTS_MIN / 3 && is_looked_at(*letter, value));
        for ((letter, value), events) in by_value {
            for kinds in [None, Some(vec![1]), Some(vec![7]), Some(vec![1, 1_059])] {
                let kinds = kinds.map(|kinds| kinds.into_iter().map(Kind).collect::<Vec<Kind>>());
                let tags = vec![(letter, vec![value.clone()])];
                let filter = Filter { kinds, tags, ..Filter::default() };
                let (mut told, mut naive) =
                    (HyperLogLog::of(from_ref(&filter)), HyperLogLog::of(from_ref(&filter)));
                let asked: Vec<&&Event> = events.iter().filter(|event| filter.matches(event)).collect();
                asked.iter().for_each(|event| naive.iter_mut().for_each(|naive| naive.add(&event.pubkey)));
                let has_special = asked.iter().any(|event| is_special(event));
                let found = index.tallied(&filter, |_| false, told.as_mut());
                if index.has_vanishing() || has_special || events.len() < EVENTS_MIN / 2 {
                    assert_eq!(found, None, "{what}: {filter:?}");
                } else if found.is_some() || events.len() >= EVENTS_MIN {
                    assert_eq!((found, told), (Some(asked.len() as u64), naive), "{what}: {filter:?}");
                    let is_hidden = asked.iter().any(|event| event.kind == Kind(1));
                    let hidden = index.tallied(&filter, |kind| kind == Kind(1), None);
                    assert_eq!(hidden.is_none(), is_hidden, "{what}: {filter:?}");
                    tallied += 1;
                }
            }
        }
        tallied
    }

    /// An index answers every question as the list does, and as this world's index.
    fn assert_same(&self, index: &Index, random: &mut Random, what: &str) {
        assert_eq!(
            (index.len(), index.next_number()),
            (self.stored.len(), self.index.next_number()),
            "{what}"
        );
        for _ in 0..60 {
            let filter = random.filter(&self.known);
            let as_of = if random.one_in(3) { random.below(self.next) } else { u64::MAX };
            let (found, heads) = scan(index, &filter, as_of, random);
            assert_eq!(found, self.naive(&filter, as_of), "{what}: {filter:?} as of {as_of}");
            let (_, expected) = scan(&self.index, &filter, as_of, random);
            assert_eq!(heads, expected, "{what}: {filter:?} as of {as_of}");
        }
        self.assert_summary(&index.summary(), what);
        self.assert_tallies(index, what);
        for event in &self.known {
            assert_eq!(index.facts(event), self.index.facts(event), "{what}: {event:?}");
            assert_eq!(place_of(index.newest_of(event)), place_of(self.index.newest_of(event)), "{what}");
            assert_eq!(index.author_of(&event.id), self.index.author_of(&event.id), "{what}");
            assert_eq!(
                index.vanished_until(&event.pubkey),
                self.index.vanished_until(&event.pubkey),
                "{what}"
            );
            if event.kind == Kind::DELETION {
                let request = Verified::assumed(event.clone());
                let places = |index: &Index| places(index.deleted_by(&request));
                assert_eq!(places(index), places(&self.index), "{what}: {event:?}");
            }
        }
        for now in [0, 1_000, 1_250, u64::MAX] {
            let places = |index: &Index| places(index.expired(now, usize::MAX));
            assert_eq!(places(index), places(&self.index), "{what}: expired by {now}");
        }
        for _ in 0..20 {
            let (letter, kind) = (random.pick(&["p", "t"]), Kind(random.pick(&[1, 7])));
            let value = random.value(letter, &self.known);
            let naming = Want::Naming { kind, letter: letter.as_bytes()[0], value, most: 5 };
            let address = random.value("a", &self.known);
            for want in
                [naming, Want::ByAuthor { author: random.person(), kind, most: 3 }, Want::Address(address)]
            {
                assert_eq!(index.wanted(&want), self.index.wanted(&want), "{what}: {want:?}");
            }
        }
    }
}

fn place_of(stored: Option<Stored>) -> Option<Location> {
    stored.map(|stored| stored.location)
}

fn places(stored: Vec<Stored>) -> Vec<Location> {
    let mut places: Vec<Location> = stored.iter().map(|stored| stored.location).collect();
    places.sort_unstable();
    places
}

fn snapshot(index: &Index) -> Vec<u8> {
    let mut bytes = Vec::new();
    index.write_snapshot(&mut bytes).expect("memory takes everything");
    bytes
}

/// What a scan finds, in slices of random length, and what it says of each head.
fn scan(index: &Index, filter: &Filter, as_of: u64, random: &mut Random) -> (Vec<Found>, Vec<String>) {
    let (mut found, heads) = (Vec::new(), std::cell::RefCell::new(Vec::new()));
    let look = |head: &Head<'_>| {
        let mut origins = Vec::new();
        head.tags.origins(&mut |origin| origins.push(format!("{origin:?}")));
        let has = [(b'p', "x"), (b't', "3"), (b'd', ""), (b'r', "600")]
            .map(|(letter, value)| head.tags.has(letter, value));
        let Head { id, author, kind, created_at, expires_at, vanished, for_followers, .. } = head;
        heads.borrow_mut().push(format!(
            "{id} {author} {kind} {created_at} {expires_at:?} {vanished} {for_followers} {origins:?} {has:?}"
        ));
        true
    };
    let mut scan = Scan::new(filter, as_of);
    loop {
        let entries = if random.one_in(2) { u64::MAX } else { 1 + random.below(20) };
        let progress = scan.run(index, entries, look, |one, _| {
            found.push(one);
            true
        });
        match progress {
            Progress::Going => {}
            Progress::Stopped | Progress::Complete => break,
        }
    }
    (found, heads.into_inner())
}

#[test]
fn a_snapshot_answers_as_the_index_that_wrote_it() {
    for seed in [1, 2, 3] {
        let mut random = Random::new(seed);
        let mut world = World::new();
        for round in 0..6 {
            (0..if round == 0 { 20 } else { 900 }).for_each(|_| world.step(&mut random));
            let mut read = world.read_back();
            world.assert_same(&world.index, &mut random, &format!("seed {seed}, round {round}, itself"));
            world.assert_same(&read, &mut random, &format!("seed {seed}, round {round}, read back"));
            world.assert_same(&world.rebuilt(), &mut random, &format!("seed {seed}, round {round}, rebuilt"));
            let vanishing = places(world.index.vanishing(usize::MAX));
            assert_eq!(places(read.vanishing(usize::MAX)), vanishing, "seed {seed}, round {round}");
            // What comes next meets the index that was read.
            if round % 2 == 0 {
                world.index = read;
            }
        }
        assert!(world.stored.len() > 700, "the lists are long enough for trees: {}", world.stored.len());
    }
}

/// Popular values are counted by what is kept of them, also after they were less popular, with and without people.
#[test]
fn tallies_agree_with_a_walk() {
    let mut random = Random::new(8);
    let mut world = World::new();
    let mut tallied = 0;
    for round in 0..12 {
        for _ in 0..400 {
            let mut event = random.event(&world.known);
            // No special ones for a while, and nobody who vanishes.
            if round % 3 < 2 && (event.kind == Kind::VANISH || is_special(&event)) {
                event.tags = Tags::default();
                event.kind = Kind(7);
            }
            if event.kind == Kind(7) && random.one_in(2) {
                event.pubkey = PublicKey(random.bytes());
                event.tags.push(["e", &"0".repeat(64)]);
            }
            world.arrive(event);
        }
        if round % 3 == 2 {
            world.index.vanishing(usize::MAX).into_iter().for_each(|stored| world.forget(stored));
            world.index.vanishing(usize::MAX);
            world.index.expired(u64::MAX, usize::MAX).into_iter().for_each(|stored| world.forget(stored));
        }
        if round % 4 == 3 {
            let mut gone: Vec<Id> = world.stored.values().map(|event| event.id).collect();
            gone.sort_unstable();
            gone.retain(|_| !random.one_in(3));
            let gone: Vec<Stored> = gone.iter().filter_map(|id| world.index.find(id)).collect();
            gone.into_iter().for_each(|stored| world.forget(stored));
        }
        let what = format!("seed 8, round {round}");
        tallied += world.assert_tallies(&world.index, &what);
        assert_eq!(
            world.assert_tallies(&world.read_back(), &what),
            world.assert_tallies(&world.index, &what),
            "{what}"
        );
        world.assert_tallies(&world.rebuilt(), &what);
    }
    assert!(tallied > 50, "{tallied} were tallied");
}

#[test]
fn what_was_removed_since_a_snapshot_is_removed_together() {
    let mut random = Random::new(4);
    let mut world = World::new();
    (0..800).for_each(|_| world.step(&mut random));
    let mut read = world.read_back();
    let before: Vec<Location> = world.stored.keys().copied().collect();
    (0..400).for_each(|_| world.step(&mut random));
    let removed: Vec<Location> = before.iter().copied().filter(|at| !world.stored.contains_key(at)).collect();
    assert!(removed.len() > 20, "{} were removed", removed.len());
    let nowhere = Location { number: 1 << 40, slot: 0 };
    assert_eq!(read.remove_at(&[&removed[..], &[nowhere, removed[0]]].concat()), removed.len());
    assert_eq!((read.remove_at(&removed), read.remove_at(&[])), (0, 0));
    let mut added: Vec<(&Location, &Event)> =
        world.stored.iter().filter(|(at, _)| !before.contains(at)).collect();
    added.sort_by_key(|(location, _)| **location);
    added.into_iter().for_each(|(&location, event)| read.insert(event, location, length_of(event)));
    world.vanished.iter().for_each(|(key, until)| read.vanish(key, *until));
    world.assert_same(&read, &mut random, "replayed");
}

#[test]
fn an_index_of_nothing_has_a_snapshot() {
    let mut random = Random::new(5);
    let mut world = World::new();
    world.index = world.read_back();
    (0..50).for_each(|_| world.step(&mut random));
    world.assert_same(&world.index, &mut random, "filled");
    let all: Vec<Location> = world.stored.keys().copied().collect();
    assert_eq!(world.index.remove_at(&all), all.len());
    world.stored.clear();
    world.index = world.read_back();
    world.assert_same(&world.index, &mut random, "emptied");
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let mut random = Random::new(6);
    let mut world = World::new();
    (0..700).for_each(|_| world.step(&mut random));
    let bytes = snapshot(&world.index);
    let refused = |bytes: &[u8], by_prefix| Index::read_snapshot(&mut &*bytes, by_prefix).err();
    assert!(matches!(refused(&bytes, false), Some(SnapshotError::Settings)));
    assert!(matches!(refused(&[0; 1_000], true), Some(SnapshotError::Foreign)));
    let mut newer = bytes.clone();
    newer[8] += 1;
    assert!(matches!(refused(&newer, true), Some(SnapshotError::Version(_))));
    for _ in 0..300 {
        let end = random.below(bytes.len() as u64) as usize;
        assert!(matches!(refused(&bytes[..end], true), Some(SnapshotError::Read(_))), "{end} bytes of it");
        let mut damaged = bytes.clone();
        damaged[end] ^= 1 << random.below(8);
        assert!(refused(&damaged, true).is_some(), "a wrong bit at {end}");
    }
}

/// Whoever can make the checksum right can make answers wrong; but nothing may panic or fill the memory.
#[test]
fn a_wrong_number_with_a_right_checksum_does_no_harm() {
    let mut random = Random::new(7);
    let mut world = World::new();
    (0..900).for_each(|_| world.step(&mut random));
    let bytes = snapshot(&world.index);
    let mut passed = 0;
    for _ in 0..600 {
        let mut damaged = bytes.clone();
        let end = damaged.len() - 4;
        // Whole numbers, mostly those of the many short arrays at the end.
        let from = if random.one_in(2) { 0 } else { end * 9 / 10 };
        let at = from + random.below((end - from) as u64 / 4) as usize * 4;
        let number = random.pick(&[0, 1, 2, 600, 0x7fff_ffff, 0xffff_ffff, 0xffff_fffe]);
        damaged[at..at + 4].copy_from_slice(&u32::to_le_bytes(number));
        let checksum = crc32fast::hash(&damaged[..end]);
        damaged[end..].copy_from_slice(&checksum.to_le_bytes());
        let Ok(mut index) = Index::read_snapshot(&mut &*damaged, true) else { continue };
        passed += 1;
        for _ in 0..20 {
            scan(&index, &random.filter(&world.known), u64::MAX, &mut random);
        }
        index.expired(u64::MAX, usize::MAX);
        for event in world.known.iter().take(300) {
            index.facts(event);
            let request = Verified::assumed(event.clone());
            for stored in index.deleted_by(&request) {
                index.remove(stored);
            }
        }
        for number in 0..40 {
            index.insert(&random.event(&world.known), Location { number: 1 << 30 | number, slot: 0 }, 500);
        }
        let live: Vec<Location> = world.stored.keys().copied().collect();
        index.remove_at(&live);
        snapshot(&index);
    }
    println!("{passed} of 600 passed");
}
