//! The store against a plain map, at the bounds of its layout, and on folders that it must refuse.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use super::value::VALUE_BYTES_MAX;
use super::*;
use crate::splitmix::SplitMix;

const SQUARE: CommunityId = CommunityId(0);
const MARKET: CommunityId = CommunityId(7);
const BANS: StateTable = StateTable(3);

/// A folder that vanishes with its test, and a store in it that can be closed and opened again.
struct House {
    folder: tempfile::TempDir,
    store: Option<Store>,
}

impl House {
    fn new() -> Self {
        let mut house = House { folder: tempfile::tempdir().unwrap(), store: None };
        house.reopen();
        house
    }

    fn options(&self) -> Options {
        // No power fails in a test: what is tested is what was written, not the drive.
        Options { path: self.path(), cache_bytes: 4 << 20, durability: Durability::Process, touches: 0 }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Store::open(self.options()).unwrap());
    }

    fn insert(&self, records: &[Vec<u8>]) -> Vec<Location> {
        let mut group = Group::default();
        records.iter().for_each(|record| group.insert(SQUARE, record.clone()));
        self.store().commit(group).unwrap()
    }

    fn remove(&self, locations: &[Location]) {
        let mut group = Group::default();
        locations.iter().for_each(|location| group.remove(SQUARE, *location));
        self.store().commit(group).unwrap();
    }

    fn records(&self, community: CommunityId, from_number: u64) -> Result<Records, StoreError> {
        let mut records = Vec::new();
        self.store().scan(community, from_number, |location, record| -> Result<(), StoreError> {
            records.push((location, record.to_vec()));
            Ok(())
        })?;
        Ok(records)
    }

    /// Writes a value behind the store's back.
    fn damage(&self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.tree().insert(key, value).unwrap(),
            None => self.tree().remove(key).unwrap(),
        };
    }

    fn tree(&self) -> sled::Db {
        self.store().engine().unwrap().tree.clone()
    }

    /// The keys of records, the meta record and state.
    fn kept(&self) -> Vec<Vec<u8>> {
        let removals = key::removed(0, 0).to_vec()..=key::removed(u64::MAX, u16::MAX).to_vec();
        let entries = self.tree().iter().map(Result::unwrap).filter(|(_, value)| !value.is_empty());
        let keys = entries.map(|(key, _)| key.to_vec());
        let is_number = |key: &Vec<u8>| key::read_next_number_key(key).is_some();
        keys.filter(|key| !is_number(key) && !removals.contains(key)).collect()
    }

    fn blobs(&self) -> usize {
        files::blobs(&self.path()).unwrap()
    }
}

type Records = Vec<(Location, Vec<u8>)>;

/// A small generator: the same seed gives the same run.
struct Random(SplitMix);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound as u64) as usize
    }

    fn record(&mut self, bytes: usize) -> Vec<u8> {
        (0..bytes).map(|_| self.below(256) as u8).collect()
    }

    fn record_bytes(&mut self) -> usize {
        match self.below(100) {
            0 => self.below(600_000),
            1..=9 => VALUE_BYTES_MAX - 50 + self.below(100),
            10 => 0,
            _ => self.below(900),
        }
    }
}

/// What the store must hold.
#[derive(Default)]
struct Model {
    records: BTreeMap<(CommunityId, Location), Vec<u8>>,
    state: BTreeMap<(CommunityId, Vec<u8>), Vec<u8>>,
    /// What each group removed, by group.
    removed: Vec<(u64, Vec<(CommunityId, Location)>)>,
    groups: u64,
}

impl Model {
    /// Commits a random group to both.
    fn step(&mut self, random: &mut Random, store: &Store) {
        let mut group = Group::default();
        let (mut inserted, mut removed) = (Vec::new(), Vec::new());
        let present: Vec<_> = self.records.keys().copied().collect();
        for _ in 0..=random.below(60) {
            let community = if random.below(3) == 0 { MARKET } else { SQUARE };
            match random.below(10) {
                0..=5 => {
                    let bytes = random.record_bytes();
                    let record = random.record(bytes);
                    match random.below(4) {
                        0 => group.insert_loose(community, record.clone()),
                        _ => group.insert(community, record.clone()),
                    }
                    inserted.push((community, record));
                }
                6..=7 if !present.is_empty() => {
                    let (community, location) = present[random.below(present.len())];
                    group.remove(community, location);
                    removed.push((community, location));
                    self.records.remove(&(community, location));
                }
                8 => {
                    let (key, value) = (vec![random.below(40) as u8], random.record(30));
                    group.put_state(community, BANS, &key, &value);
                    self.state.insert((community, key), value);
                }
                _ => {
                    let key = vec![random.below(40) as u8];
                    group.remove_state(community, BANS, &key);
                    self.state.remove(&(community, key));
                }
            }
        }
        self.groups += u64::from(!group.is_empty());
        if !removed.is_empty() {
            self.removed.push((self.groups, removed));
        }
        let before: HashMap<_, _> = [SQUARE, MARKET].map(|of| (of, store.next_number(of))).into();
        let locations = store.commit(group).unwrap();
        assert_eq!(locations.len(), inserted.len());
        let mut next = before;
        for (location, (community, record)) in locations.into_iter().zip(inserted) {
            let next = next.entry(community).or_default();
            assert!(location.number >= *next, "a number is used again, or out of order");
            *next = location.number + 1;
            assert!(store.next_number(community) >= *next, "the next number is one that is used");
            assert!(self.records.insert((community, location), record).is_none());
        }
    }

    fn check(&self, house: &House) {
        let store = house.store();
        assert_eq!(store.groups(), self.groups);
        for since in [0, self.groups / 2, self.groups] {
            let later = self.removed.iter().filter(|(group, _)| *group > since);
            let expected: Vec<_> = later.flat_map(|(_, removed)| removed.iter().copied()).collect();
            assert_eq!(store.removed_since(since).unwrap(), expected, "removed since {since}");
        }
        for community in [SQUARE, MARKET, CommunityId(1)] {
            let expected: Vec<_> = self
                .records
                .iter()
                .filter(|((of, _), _)| *of == community)
                .map(|((_, at), r)| (*at, r))
                .collect();
            let scanned = house.records(community, 0).unwrap();
            assert!(scanned.iter().map(|(at, r)| (*at, r)).eq(expected.iter().copied()), "a scan differs");
            for (location, record) in expected {
                assert_eq!(store.get(community, location).unwrap().as_ref(), Some(record));
            }
            let state: Vec<_> = store.state(community, BANS).map(Result::unwrap).collect();
            let expected = self.state.iter().filter(|((of, _), _)| *of == community);
            assert!(state.into_iter().eq(expected.map(|((_, key), value)| (key.clone(), value.clone()))));
        }
    }
}

#[test]
fn any_groups_read_back_as_a_plain_map_would() {
    for seed in 1..=4 {
        println!("seed {seed}");
        let mut random = Random(SplitMix(seed));
        let mut house = House::new();
        let mut model = Model::default();
        for _ in 0..6 {
            for _ in 0..12 {
                model.step(&mut random, house.store());
            }
            model.check(&house);
            house.reopen();
            model.check(&house);
        }
        assert_eq!(house.blobs(), 0);
    }
}

#[test]
fn records_at_the_bounds_of_a_value_read_back() {
    let mut house = House::new();
    let mut random = Random(SplitMix(5));
    let mut lengths = vec![0, 1, 6_999, 7_000, 7_001];
    // A pack has a header of 3 bytes and up to 64 slots of 2, a head has one of 6, a part one of 2.
    let (small, first, part) = (VALUE_BYTES_MAX - 131, VALUE_BYTES_MAX - 6, VALUE_BYTES_MAX - 2);
    for bound in [small, first, first + part, first + 2 * part, 2 * VALUE_BYTES_MAX, 3 * VALUE_BYTES_MAX] {
        lengths.extend([bound - 1, bound, bound + 1]);
    }
    let records: Vec<_> = lengths.into_iter().map(|bytes| random.record(bytes)).collect();
    let locations = house.insert(&records);
    house.reopen();
    let expected: Records = locations.iter().copied().zip(records.iter().cloned()).collect();
    assert_eq!(house.records(SQUARE, 0).unwrap(), expected);
    for (location, record) in expected {
        assert_eq!(house.store().get(SQUARE, location).unwrap(), Some(record));
    }
    assert!(house.tree().iter().values().all(|value| value.unwrap().len() <= VALUE_BYTES_MAX));
    house.remove(&locations);
    assert_eq!(house.kept(), [key::META.to_vec()], "all but the meta record is removed");
}

#[test]
fn a_pack_closes_at_64_slots_and_at_its_target() {
    let house = House::new();
    let locations = house.insert(&vec![Vec::new(); 150]);
    assert!(locations.iter().zip(0..).all(|(location, number)| location.number == number));
    assert_eq!([63, 64, 149].map(|at| locations[at].slot), [63, 0, 21]);
    assert_eq!(house.store().next_number(SQUARE), 192, "each pack begins at a multiple of 64");
    house.insert(&vec![vec![1; 900]; 20]);
    assert!(house.tree().iter().values().all(|value| value.unwrap().len() <= value::PACK_BYTES_TARGET));
}

#[test]
fn packs_fill_the_blanks_before_them() {
    let mut house = House::new();
    let packed_keys = |house: &House| {
        let keys = house.tree().range(key::head_range(Shelf::Packed, SQUARE, 0..u64::MAX)).keys();
        keys.map(|key| key.unwrap()).collect::<Vec<_>>()
    };
    for round in 0..40 {
        let blanks = packed_keys(&house).len();
        let location = house.insert(&[vec![1; 1_000]])[0];
        assert_eq!((location.number, location.slot), (round * PACK_SLOTS, 0));
        assert!(packed_keys(&house).len() > round as usize + 1, "there is a blank behind the newest pack");
        assert!(round == 0 || packed_keys(&house).len() - blanks <= 1 + BLANKS_MIN as usize);
        if round % 10 == 9 {
            house.reopen();
        }
    }
    assert_eq!(house.records(SQUARE, 0).unwrap().len(), 40);
    let blank = Location { number: 41 * PACK_SLOTS, slot: 0 };
    assert_eq!(house.store().get(SQUARE, blank).unwrap(), None);
    house.remove(&[blank]);
}

#[test]
fn a_store_whose_communities_counted_together_counts_on() {
    let mut house = House::new();
    // Three packs as they were written then: two of one community, one of another between them.
    house.damage(&key::META, Some(&value::Meta { first_number: 70, groups: 3 }.write()));
    let mut pack = value::PackBuilder::default();
    [4_u8, 5].iter().for_each(|byte| pack.push(&[*byte]));
    let pack = pack.finish();
    for (community, number) in [(SQUARE, 10), (MARKET, 12), (SQUARE, 64)] {
        house.damage(&key::head(Shelf::Packed, community, number), Some(&pack));
    }
    house.reopen();
    assert_eq!(house.insert(&[vec![6]])[0], Location { number: 128, slot: 0 });
    house.reopen();
    assert_eq!(house.insert(&[vec![7]])[0], Location { number: 192, slot: 0 });
    let numbers = house.records(SQUARE, 0).unwrap().into_iter().map(|(at, record)| (at.number, record[0]));
    assert_eq!(numbers.collect::<Vec<_>>(), [(10, 4), (11, 5), (64, 4), (65, 5), (128, 6), (192, 7)]);
    assert_eq!(house.records(MARKET, 0).unwrap().len(), 2);
}

#[test]
fn records_of_two_communities_in_turns_share_packs() {
    let house = House::new();
    let mut group = Group::default();
    for at in 0..20 {
        group.insert(if at % 2 == 0 { SQUARE } else { MARKET }, vec![at]);
    }
    let locations = house.store().commit(group).unwrap();
    assert_eq!(house.kept().len(), 3, "a pack each, and the meta record");
    for (at, location) in (0..).zip(locations) {
        let (own, other) = if at % 2 == 0 { (SQUARE, MARKET) } else { (MARKET, SQUARE) };
        assert_eq!(house.store().get(own, location).unwrap(), Some(vec![at]));
        // Each community counts for itself, so that the other one has a record of the same number.
        assert_eq!(house.store().get(other, location).unwrap(), Some(vec![at ^ 1]));
    }
}

#[test]
fn removals_empty_their_slots_and_leave_the_others() {
    let house = House::new();
    let locations = house.insert(&[vec![0], vec![1], vec![2], vec![3]]);
    house.remove(&[locations[1], locations[3], locations[3]]);
    let left: Vec<_> = house.records(SQUARE, 0).unwrap();
    assert_eq!(left, [(locations[0], vec![0]), (locations[2], vec![2])]);
    assert_eq!(house.records(SQUARE, 1).unwrap(), [(locations[2], vec![2])]);
    assert_eq!(house.store().get(SQUARE, locations[1]).unwrap(), None);
    house.remove(&[locations[0], locations[1], locations[2]]);
    assert_eq!(house.kept(), [key::META.to_vec()], "an emptied pack is removed");
}

#[test]
fn loose_records_are_apart_and_keep_their_place_in_the_order() {
    let mut house = House::new();
    let mut group = Group::default();
    for at in 0..9 {
        match at % 3 {
            1 => group.insert_loose(SQUARE, vec![at; usize::from(at) * 3_000]),
            _ => group.insert(SQUARE, vec![at]),
        }
    }
    let locations = house.store().commit(group).unwrap();
    house.reopen();
    let records = house.records(SQUARE, 0).unwrap();
    assert_eq!(records.iter().map(|(at, _)| *at).collect::<Vec<_>>(), locations);
    assert!((0..).zip(&records).all(|(at, (location, record))| {
        location.number == at && record.first() == Some(&(at as u8)) || record.is_empty()
    }));
    for number in 0..9 {
        let from = house.records(SQUARE, number).unwrap();
        assert_eq!(from, records[number as usize..], "from {number}");
    }
    // One pack, since numbers go on within it, and three loose ones, of which two are long.
    let heads = house.kept().iter().filter(|key| key.len() == 13).count();
    assert_eq!(heads, 4);
    house.remove(&[locations[1], locations[4], locations[7]]);
    assert_eq!(house.kept().len(), 2, "the pack and the meta record");
    assert_eq!(house.records(SQUARE, 0).unwrap().len(), 6);
}

#[test]
fn what_nobody_asks_for_is_forgotten_a_little_with_each_group() {
    let house = House::new();
    let locations = house.insert(&vec![vec![1]; 100]);
    locations.iter().for_each(|location| house.remove(&[*location]));
    assert_eq!(house.store().removed_since(1).unwrap().len(), 100);
    house.store().forget_removals_until(81);
    let left = |house: &House| house.store().removed_since(0).unwrap().len();
    assert_eq!(left(&house), 100, "nothing is forgotten before the next group");
    for expected in [100 - 64, 20, 20] {
        house.insert(&[vec![2]]);
        assert_eq!(left(&house), expected);
    }
    assert_eq!(house.store().removed_since(81).unwrap().len(), 20);
}

#[test]
fn removing_what_is_not_there_changes_nothing() {
    let house = House::new();
    let locations = house.insert(&[vec![0], vec![1; 20_000]]);
    let absent = [
        Location { number: 99, slot: 0 },
        Location { number: 0, slot: 9 },
        Location { number: locations[1].number + 1, slot: 1 },
        Location { number: 9, slot: 9 },
        Location { number: 0, slot: Location::LOOSE },
    ];
    house.remove(&absent);
    assert_eq!(house.records(SQUARE, 0).unwrap().len(), 2);
    assert!(absent.iter().all(|location| house.store().get(SQUARE, *location).unwrap().is_none()));
}

#[test]
fn numbers_are_never_used_again() {
    let mut house = House::new();
    let first = house.insert(&[vec![1], vec![2; 10_000], vec![3]]);
    house.remove(&first);
    house.reopen();
    assert!(house.records(SQUARE, 0).unwrap().is_empty());
    let next = house.store().next_number(SQUARE);
    assert!(first.iter().all(|location| location.number < next));
    assert_eq!(house.insert(&[vec![4]])[0].number, next);
    assert_eq!(house.store().groups(), 3);
}

#[test]
fn a_new_folder_is_its_users_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = House::new();
    let mode = fs::metadata(house.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_folder_in_use_is_refused_with_what_to_do() {
    let house = House::new();
    let error = Store::open(house.options()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }));
    let text = error.to_string();
    assert!(
        text.contains("another plaza is using this folder") && text.contains("give another `--data`"),
        "{text}"
    );
    assert!(text.contains(&house.path().display().to_string()), "{text}");
}

#[test]
fn long_records_never_become_blobs() {
    let mut house = House::new();
    let locations = house.insert(&vec![vec![7; 600_000]; 30]);
    house.reopen();
    assert_eq!(house.blobs(), 0);
    house.remove(&locations[..29]);
    assert_eq!(house.store().get(SQUARE, locations[29]).unwrap().map(|record| record.len()), Some(600_000));
    assert_eq!(house.blobs(), 0);
}

#[test]
fn leaves_that_merge_after_removals_never_become_blobs() {
    let house = House::new();
    let record = vec![7; VALUE_BYTES_MAX - 131];
    let locations = house.insert(&vec![record; 2_000]);
    // sled's leaves hold nine appended values and merge when less than four are left. All patterns
    // that leave one to three of nine lead to leaves as full as they can be.
    for kept in [3, 2, 1] {
        for chunk in locations.chunks(40) {
            house.remove(
                &chunk.iter().copied().filter(|at| at.number / PACK_SLOTS % 9 >= kept).collect::<Vec<_>>(),
            );
            house.records(SQUARE, 0).unwrap();
        }
        assert_eq!(house.blobs(), 0, "{kept} of nine kept");
    }
}

#[test]
fn an_unknown_version_is_an_error_that_names_it() {
    let mut house = House::new();
    let location = house.insert(&[vec![1]])[0];
    let key = key::head(Shelf::Packed, SQUARE, location.number);
    house.damage(&key, Some(&[9, 1, 1, 0, 1, 1]));
    let mut group = Group::default();
    group.remove(SQUARE, location);
    for error in [
        house.store().get(SQUARE, location).unwrap_err(),
        house.records(SQUARE, 0).unwrap_err(),
        house.store().commit(group).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::UnknownVersion { version: 9, .. }));
        let text = error.to_string();
        assert!(text.contains(&house.path().display().to_string()) && text.contains("version 9"), "{text}");
        assert!(text.contains("community 0 record 0"), "{text}");
    }
    house.insert(&[vec![2]]);
    house.damage(&key::META, Some(&[9; 18]));
    house.store = None;
    let error = Store::open(house.options()).unwrap_err();
    assert!(matches!(error, StoreError::UnknownVersion { version: 9, .. }), "{error}");
}

#[test]
fn damaged_values_are_errors_that_name_their_key() {
    let whole = [1, 1, 2, 0, 1, 0, 1, 5, 6];
    // An empty value is a blank.
    for bytes in 1..whole.len() {
        check_damage(&key::head(Shelf::Packed, SQUARE, 0), &whole[..bytes], "community 0 record 0");
    }
    check_damage(&key::head(Shelf::Packed, SQUARE, 0), &[1, 1, 0], "community 0 record 0");
    check_damage(&key::head(Shelf::Packed, SQUARE, 0), &[1, 3, 0], "community 0 record 0");
    check_damage(
        &key::head(Shelf::Packed, SQUARE, 0),
        &[1, 2, 255, 255, 255, 255, 0],
        "community 0 record 0",
    );
    check_damage(&key::part(Shelf::Loose, SQUARE, 1, 2), &[1, 3, 0], "community 0 record 1 part 2");
    check_damage(&key::part(Shelf::Loose, SQUARE, 69, 2), &[1, 3, 0], "community 0 record 69 part 2");
}

/// Puts one value behind the back of a store of two records, a pack and one of three parts.
fn check_damage(key: &[u8], value: &[u8], named: &str) {
    let house = House::new();
    house.insert(&[vec![1], vec![2; 3 * VALUE_BYTES_MAX], vec![3; 3 * VALUE_BYTES_MAX]]);
    // They are long, and kept loose from number 64 on. The head of one is missing.
    house.insert(&vec![vec![4; VALUE_BYTES_MAX]; 10]);
    house.damage(&key::head(Shelf::Loose, SQUARE, 69), None);
    house.damage(&key::part(Shelf::Loose, SQUARE, 69, 1), None);
    house.damage(key, Some(value));
    let error = house.records(SQUARE, 0).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(named), "{error}");
}

#[test]
fn a_missing_part_is_an_error_and_a_missing_meta_record_too() {
    let mut house = House::new();
    let location = house.insert(&[vec![2; 3 * VALUE_BYTES_MAX]])[0];
    house.damage(&key::part(Shelf::Loose, SQUARE, 0, 2), None);
    let error = house.store().get(SQUARE, location).unwrap_err();
    assert!(error.to_string().contains("community 0 record 0 part 2"), "{error}");
    house.damage(&key::META, None);
    house.store = None;
    let error = Store::open(house.options()).unwrap_err();
    assert!(error.to_string().contains("meta"), "{error}");
}

#[test]
fn a_store_whose_first_group_was_cut_off_begins_anew() {
    let mut house = House::new();
    let engine = house.store().engine().unwrap();
    house.store().keep_blanks(&engine, SQUARE, 3, &mut HashMap::new()).unwrap();
    drop(engine);
    house.reopen();
    assert_eq!(house.store().groups(), 0);
    let location = house.insert(&[b"the first".to_vec()])[0];
    house.reopen();
    assert_eq!(house.store().get(SQUARE, location).unwrap(), Some(b"the first".to_vec()));
}

#[test]
fn what_sled_was_writing_as_the_power_went_does_not_stop_the_start() {
    let torn: [(&str, &[u8]); 5] = [
        ("snap.FFFFFFFFFFFFFFFF.generating", b""),
        ("snap.FFFFFFFFFFFFFFFF.generating", &[0; 4_096]),
        ("conf", b""),
        ("conf", &[0; 62]),
        ("conf", b"segment_size: 524288\nuse_compression: fal"),
    ];
    for (file, content) in torn {
        let mut house = House::new();
        let locations = house.insert(&[b"kept".to_vec()]);
        house.store = None;
        fs::write(house.path().join(file), content).unwrap();
        house.reopen();
        assert_eq!(house.store().get(SQUARE, locations[0]).unwrap().unwrap(), b"kept", "{file}");
    }
}

#[test]
fn what_is_too_long_is_refused_whole_and_the_next_group_is_taken() {
    let house = House::new();
    let mut group = Group::default();
    group.insert(SQUARE, vec![1]);
    group.insert(SQUARE, vec![0; RECORD_BYTES_MAX + 1]);
    assert!(matches!(house.store().commit(group), Err(StoreError::TooLong { what: "record", .. })));
    for (key_bytes, value_bytes) in [(STATE_KEY_BYTES_MAX + 1, 0), (0, STATE_VALUE_BYTES_MAX + 1)] {
        let mut group = Group::default();
        group.insert(SQUARE, vec![1]);
        group.put_state(SQUARE, BANS, &vec![0; key_bytes], &vec![0; value_bytes]);
        assert!(matches!(house.store().commit(group), Err(StoreError::TooLong { .. })));
    }
    assert!(house.records(SQUARE, 0).unwrap().is_empty());
    assert_eq!(house.insert(&[vec![1]])[0].number, 0);
}

#[test]
fn after_a_failed_write_no_group_is_taken_until_the_next_start() {
    let mut house = House::new();
    house.insert(&[vec![1]]);
    house.store().writer.lock().unwrap().stopped = true;
    let mut group = Group::default();
    group.insert(SQUARE, vec![2]);
    assert!(matches!(house.store().commit(group), Err(StoreError::Stopped { .. })));
    house.reopen();
    assert_eq!(house.insert(&[vec![2]])[0].number, PACK_SLOTS);
}

#[test]
fn a_store_that_failed_is_opened_again_and_goes_on_where_it_was() {
    let house = House::new();
    let first = house.insert(&[vec![1]])[0];
    let store = house.store();
    assert_eq!(store.recover().unwrap(), None, "it has not failed");
    store.writer.lock().unwrap().stopped = true;
    std::thread::scope(|scope| {
        // Who reads is waited for.
        let reading = store.engine().unwrap();
        let recovery = scope.spawn(|| store.recover());
        while store.may_read_on().is_ok() {
            std::thread::yield_now();
        }
        assert!(!recovery.is_finished());
        drop(reading);
        assert_eq!(recovery.join().unwrap().unwrap(), None, "no group was under way");
    });
    assert_eq!(store.get(SQUARE, first).unwrap(), Some(vec![1]));
    assert_eq!(house.insert(&[vec![2]])[0].number, PACK_SLOTS);
}

#[test]
fn what_was_safe_before_a_failure_must_be_there_after_it() {
    let house = House::new();
    house.insert(&[vec![1]]);
    house.store().groups.fetch_add(3, Ordering::SeqCst);
    house.store().writer.lock().unwrap().stopped = true;
    assert!(matches!(house.store().recover(), Err(StoreError::Lost { groups: 3, .. })));
    // Less than there was is shown to nobody.
    assert!(matches!(house.store().get(SQUARE, Location::default()), Err(StoreError::Closed { .. })));
    assert!(matches!(house.store().recover(), Err(StoreError::Lost { groups: 3, .. })));
}

#[test]
fn a_reader_sees_a_long_record_whole_or_not_at_all() {
    let house = House::new();
    for _ in 0..20 {
        let location = house.insert(&[vec![7; 100_000]])[0];
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut reads = 0;
                while let Some(record) = house.store().get(SQUARE, location).unwrap() {
                    assert!(record.len() == 100_000 && record.iter().all(|byte| *byte == 7));
                    reads += 1;
                }
                reads
            });
            house.remove(&[location]);
            let _ = reader.join().unwrap();
        });
    }
}

#[test]
fn state_tables_and_communities_are_apart() {
    let house = House::new();
    let mut group = Group::default();
    assert!(group.is_empty());
    group.put_state(SQUARE, StateTable(1), b"", b"empty key");
    group.put_state(SQUARE, StateTable(2), b"b", b"2");
    group.put_state(SQUARE, StateTable(2), b"a", b"0");
    group.put_state(SQUARE, StateTable(2), b"a", b"1");
    group.put_state(MARKET, StateTable(2), b"c", b"");
    group.remove_state(MARKET, StateTable(9), b"never there");
    assert!(house.store().commit(group).unwrap().is_empty());
    let state = |community, table| -> Vec<_> {
        house.store().state(community, StateTable(table)).flatten().collect()
    };
    assert_eq!(state(SQUARE, 1), [(vec![], b"empty key".to_vec())]);
    assert_eq!(state(SQUARE, 2), [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())]);
    assert_eq!(state(MARKET, 2), [(b"c".to_vec(), vec![])]);
    assert!(state(MARKET, 1).is_empty());
}

#[test]
fn a_new_store_makes_the_folders_that_lead_to_it_durable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/data");
    let expected = [folder.path().join("a/b"), folder.path().join("a"), folder.path().to_owned()];
    assert_eq!(files::ancestors_to_sync(&path), expected);
    assert_eq!(files::ancestors_to_sync(Path::new("data")), [Path::new(".")]);
    let options =
        Options { path: path.clone(), cache_bytes: 4 << 20, durability: Durability::Power, touches: 0 };
    let store = Store::open(options).unwrap();
    let mut group = Group::default();
    group.insert(SQUARE, vec![1]);
    assert!(store.commit(group).is_ok());
    assert_eq!(store.disk_bytes().unwrap(), files::disk_bytes(&path).unwrap());
    assert!(store.disk_bytes().unwrap() >= fs::metadata(path.join("db")).unwrap().len());
    store.close().unwrap();
}
