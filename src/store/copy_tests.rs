//! Copies and what is made of them: against the store itself, brought up to date, and while groups are written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use super::copy::{Chunk, Copied, Earlier, Part, Piece, Stamp, next_record, next_removed, next_state};
use super::*;
use crate::splitmix::SplitMix;

const SQUARE: CommunityId = CommunityId(0);
const MARKET: CommunityId = CommunityId(7);
const BANS: StateTable = StateTable(3);
const LOCAL: StateTable = StateTable(9);
const FOLDER: Stamp = [1; 16];

type Records = BTreeMap<(CommunityId, Location), Vec<u8>>;
type State = BTreeMap<(CommunityId, u8, Vec<u8>), Vec<u8>>;

/// What somebody has who keeps copies.
#[derive(Default, Debug, PartialEq)]
struct Kept {
    records: Records,
    state: State,
    copied: Copied,
}

impl Kept {
    fn take(&mut self, piece: Piece) {
        let Piece::Chunk(Chunk { part, bytes }) = piece else { panic!("{piece:?}") };
        let mut bytes = &bytes[..];
        match part {
            Part::Records => {
                while let Some(entry) = next_record(&mut bytes).unwrap() {
                    let earlier =
                        self.records.insert((entry.community, entry.location), entry.record.to_vec());
                    assert_eq!(earlier, None, "{entry:?} came twice");
                }
            }
            Part::Removed => {
                while let Some(gone) = next_removed(&mut bytes).unwrap() {
                    self.records.remove(&gone);
                }
            }
            Part::State => {
                while let Some(entry) = next_state(&mut bytes).unwrap() {
                    let key = (entry.community, entry.table.0, entry.key.to_vec());
                    self.state.insert(key, entry.value.to_vec());
                }
            }
        }
    }

    /// Brings it up to date; whether that took only what was new.
    fn update(&mut self, store: &Store, stamps: Option<(Stamp, Stamp)>) -> bool {
        let earlier = stamps.map(|(stamp, _)| Earlier {
            folder: FOLDER,
            stamp,
            next_numbers: self.copied.next_numbers.clone(),
        });
        let copier = store.copier(earlier.as_ref());
        let is_incremental = copier.is_incremental();
        if !is_incremental {
            self.records.clear();
        }
        self.state.clear();
        let taken = copier.run::<StoreError>(&[LOCAL], |piece| {
            self.take(piece);
            Ok(())
        });
        self.copied = taken.unwrap();
        if let Some((_, stamp)) = stamps {
            copier.keep(&FOLDER, &stamp, self.copied.group).unwrap();
        }
        is_incremental
    }

    fn restore(&self, options: Options) -> Store {
        let mut restorer = Restorer::new(options).unwrap();
        for ((community, location), record) in &self.records {
            restorer.record(*community, *location, record).unwrap();
        }
        for ((community, table, key), value) in &self.state {
            restorer.state(*community, StateTable(*table), key, value).unwrap();
        }
        restorer.finish(&self.copied, None).unwrap()
    }
}

fn options(path: PathBuf) -> Options {
    Options { path, cache_bytes: 4 << 20, durability: Durability::Process, touches: 0 }
}

/// All records that a store shows by itself.
fn records_of(store: &Store) -> Records {
    let mut records = Records::new();
    for community in [SQUARE, MARKET] {
        let scanned = store.scan(community, 0, |location, record| -> Result<(), StoreError> {
            records.insert((community, location), record.to_vec());
            Ok(())
        });
        scanned.unwrap();
    }
    records
}

/// A small generator: the same seed gives the same run.
struct Random(SplitMix);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound as u64) as usize
    }

    /// A group of records of all lengths, removals and state.
    fn group(&mut self, there: &Records) -> Group {
        let mut group = Group::default();
        for _ in 0..self.below(12) {
            let bytes = match self.below(20) {
                0 => self.below(40_000),
                1 => value::VALUE_BYTES_MAX - 200 + self.below(100),
                _ => self.below(900),
            };
            let record: Vec<u8> = (0..bytes).map(|_| self.below(256) as u8).collect();
            let community = if self.below(3) == 0 { MARKET } else { SQUARE };
            match self.below(4) {
                0 => group.insert_loose(community, record),
                _ => group.insert(community, record),
            }
        }
        for _ in 0..self.below(5).min(there.len()) {
            let (community, location) = there.keys().nth(self.below(there.len())).unwrap();
            group.remove(*community, *location);
        }
        let key = [self.below(20) as u8];
        match self.below(3) {
            0 => group.remove_state(MARKET, BANS, &key),
            1 => group.put_state(SQUARE, LOCAL, &key, b"of this folder alone"),
            _ => group.put_state(MARKET, BANS, &key, &[self.below(256) as u8; 40]),
        }
        group
    }
}

#[test]
fn copies_are_what_the_store_holds_and_stores_made_of_them_are_the_same() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_u64);
    println!("SEED={seed}");
    let mut random = Random(SplitMix(seed));
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(options(folder.path().join("data"))).unwrap();
    let (mut kept, mut last) = (Kept::default(), [0; 16]);
    for round in 1..=30_u8 {
        for _ in 0..random.below(20) {
            let group = random.group(&records_of(&store));
            store.commit(group).unwrap();
            // As whoever saves indexes does: copies must be able to rely on their own.
            store.forget_removals_until(store.groups());
        }
        let stamp = [round; 16];
        assert_eq!(kept.update(&store, Some((last, stamp))), round > 1, "round {round}");
        last = stamp;
        assert!(kept.records == records_of(&store), "round {round}");
        let bans: Vec<_> = store.state(MARKET, BANS).map(Result::unwrap).collect();
        let kept_bans = kept.state.iter().map(|((.., key), value)| (key.clone(), value.clone()));
        assert_eq!(kept_bans.collect::<Vec<_>>(), bans, "round {round}");
        if random.below(3) == 0 {
            let path = store.path().to_owned();
            drop(store);
            store = Store::open(options(path)).unwrap();
        }
        if round % 10 == 0 {
            let restored = kept.restore(options(folder.path().join(format!("restored-{round}"))));
            assert!(records_of(&restored) == kept.records, "round {round}");
            for ((community, location), record) in &kept.records {
                assert!(
                    restored.get(*community, *location).unwrap().as_ref() == Some(record),
                    "{location:?}"
                );
            }
            let mut again = Kept::default();
            again.update(&restored, None);
            assert!(again == kept, "a copy of it is the same copy");
            // It goes on counting where the other one would have.
            let path = restored.path().to_owned();
            restored.close().unwrap();
            let restored = Store::open(options(path)).unwrap();
            let numbers = |store: &Store| [SQUARE, MARKET].map(|community| store.next_number(community));
            assert_eq!(numbers(&restored), numbers(&store));
            for _ in 0..10 {
                let group = random.group(&records_of(&restored));
                restored.commit(group).unwrap();
            }
            let mut after = Kept::default();
            after.update(&restored, None);
            assert!(after.records == records_of(&restored), "round {round}");
        }
    }
}

#[test]
fn a_copy_is_of_one_moment_while_groups_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(options(folder.path().join("data"))).unwrap();
    // Each thing always has one version: a group that adds the next one removes the last.
    let things = 400_usize;
    let record = |thing: usize, version: u64| {
        [&(thing as u64).to_be_bytes()[..], &version.to_be_bytes(), &[7; 300]].concat()
    };
    let mut group = Group::default();
    for thing in 0..things {
        match thing % 2 {
            0 => group.insert(SQUARE, record(thing, 0)),
            _ => group.insert_loose(MARKET, record(thing, 0)),
        }
    }
    let community_of = |thing: usize| if thing.is_multiple_of(2) { SQUARE } else { MARKET };
    let mut locations = store.commit(group).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random(SplitMix(3));
            let mut version = 0_u64;
            while !done.load(Ordering::SeqCst) {
                version += 1;
                let changed: BTreeSet<usize> = (0..20).map(|_| random.below(things)).collect();
                let mut group = Group::default();
                for &thing in &changed {
                    group.remove(community_of(thing), locations[thing]);
                    group.insert(community_of(thing), record(thing, version));
                }
                group.put_state(SQUARE, BANS, b"version", &version.to_be_bytes());
                let new = store.commit(group).unwrap();
                changed.iter().zip(new).for_each(|(&thing, location)| locations[thing] = location);
                store.forget_removals_until(store.groups());
            }
        });
        let mut kept = Kept::default();
        for round in 0..20_u8 {
            let stamps = ([round; 16], [round + 1; 16]);
            assert_eq!(kept.update(&store, Some(stamps)), round > 0);
            let mut versions = BTreeMap::new();
            for ((community, _), record) in &kept.records {
                let thing = u64::from_be_bytes(record[..8].try_into().unwrap()) as usize;
                let version = u64::from_be_bytes(record[8..16].try_into().unwrap());
                assert_eq!(*community, community_of(thing));
                assert_eq!(versions.insert(thing, version), None, "thing {thing} has two versions");
            }
            assert_eq!(versions.len(), things, "each thing has a version");
            if let Some(version) = kept.state.values().next() {
                let version = u64::from_be_bytes(version[..].try_into().unwrap());
                assert_eq!(versions.values().max(), Some(&version), "state and records are of one group");
            }
        }
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_copy_that_is_too_old_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(options(folder.path().join("data"))).unwrap();
    let mut group = Group::default();
    (0..50_u8).for_each(|byte| group.insert(SQUARE, vec![byte; 100]));
    let locations = store.commit(group).unwrap();
    let mut kept = Kept::default();
    assert!(!kept.update(&store, Some(([0; 16], [1; 16]))));
    let mut group = Group::default();
    group.remove(SQUARE, locations[7]);
    store.commit(group).unwrap();
    for _ in 0..super::removed::GROUPS_KEPT_MAX {
        let mut group = Group::default();
        group.put_state(SQUARE, BANS, b"key", b"value");
        store.commit(group).unwrap();
        store.forget_removals_until(store.groups());
    }
    assert!(store.removed_since(0).unwrap().is_empty(), "nobody waits for it any longer");
    assert!(!kept.update(&store, Some(([1; 16], [2; 16]))));
    assert!(kept.records == records_of(&store) && kept.records.len() == 49);
}

#[test]
fn what_is_damaged_is_named_and_the_rest_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(options(folder.path().join("data"))).unwrap();
    let mut group = Group::default();
    (0..50_u8).for_each(|byte| group.insert(SQUARE, vec![byte; 2_000]));
    let locations = store.commit(group).unwrap();
    let place = locations[20].place().unwrap();
    store.engine().unwrap().tree.insert(key::head(place.0, SQUARE, place.1), &[1, 1, 9][..]).unwrap();
    let (mut kept, mut faults) = (Kept::default(), Vec::new());
    let copied = store.copier(None).run::<StoreError>(&[], |piece| {
        match piece {
            Piece::Fault(fault) => faults.push(fault),
            piece => kept.take(piece),
        }
        Ok(())
    });
    copied.unwrap();
    assert!(faults.len() == 1 && faults[0].contains("record"), "{faults:?}");
    assert!(kept.records.len() >= 47 && kept.records.len() < 50, "{}", kept.records.len());
}

#[test]
fn a_store_that_is_half_made_is_not_opened_and_no_folder_in_use_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let mut restorer = Restorer::new(options(path.clone())).unwrap();
    for number in 0..5_000 {
        let location = Location { number: number * 64, slot: 0 };
        restorer.record(SQUARE, location, &[8; 500]).unwrap();
    }
    let twice = Location { number: 4_999 * 64, slot: 0 };
    assert!(matches!(restorer.record(SQUARE, twice, &[8; 500]), Err(StoreError::Corrupt { .. })));
    drop(restorer);
    assert!(matches!(Store::open(options(path.clone())), Err(StoreError::Corrupt { .. })));
    assert!(matches!(Restorer::new(options(path)), Err(StoreError::NotEmpty { .. })));
}
