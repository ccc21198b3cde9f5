//! What of an index must go so that it stays within bounds: by age, number and size, the oldest first. In: the
//! bounds. Out: events, some at a time. Looks at lists of kinds and at what it returns, at nothing else. Removes
//! nothing.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::lists::Posting;
use super::{Found, Index, Stored};
use crate::config::{KindSet, Retention};
use crate::event::PublicKey;
use crate::rule::Load;

const DAY_SECONDS: u64 = 86_400;

/// What authors have stored, in bytes, but for some kinds.
#[derive(Debug)]
pub(super) struct AuthorBytes {
    /// The kinds that do not count.
    uncounted: KindSet,
    by_author: HashMap<u32, u64>,
}

impl Index {
    /// Up to `most` events that must go by these settings, the oldest first within each bound.
    pub fn beyond(&self, settings: &Retention, now: u64, most: usize) -> Vec<Found> {
        let mut found = self.too_old(settings, now, most);
        if found.is_empty() {
            found = self.too_many(settings, most);
        }
        found.into_iter().map(|ordinal| self.found(ordinal)).collect()
    }

    fn found(&self, ordinal: u32) -> Found {
        Found {
            created_at: self.heads.created_at(ordinal),
            id: *self.heads.id(ordinal),
            location: self.heads.location(ordinal),
        }
    }

    fn too_old(&self, settings: &Retention, now: u64, most: usize) -> Vec<u32> {
        let mut found = Vec::new();
        if settings.age_days_max_by_kind.is_empty() {
            return found;
        }
        for (&kind, &posting) in &self.kinds {
            let Some(days) = settings.age_days_max_by_kind.get(kind) else { continue };
            if settings.protects(kind) {
                continue;
            }
            let until = now.saturating_sub(days.saturating_mul(DAY_SECONDS));
            let old = self.lists.oldest_first(posting);
            let old = old.take_while(|&ordinal| self.heads.created_at(ordinal) < until);
            found.extend(old.take(most - found.len()));
        }
        found
    }

    /// The first bound that is passed says what must go; the next call sees to the next one.
    fn too_many(&self, settings: &Retention, most: usize) -> Vec<u32> {
        let unprotected = || self.kinds.iter().filter(|(kind, _)| !settings.protects(**kind));
        let len = |posting: Posting| self.lists.len(posting) as u64;
        for (kinds, events_max) in settings.events_max_by_kind.iter() {
            let named = unprotected().filter(|(kind, _)| kinds.contains(**kind));
            let named: Vec<Posting> = named.map(|(_, posting)| *posting).collect();
            let excess = named.iter().map(|posting| len(*posting)).sum::<u64>().saturating_sub(*events_max);
            if excess > 0 {
                let mut left = excess.min(most as u64);
                return self.oldest_of(named.into_iter(), |_| {
                    left = left.saturating_sub(1);
                    left > 0
                });
            }
        }
        let events = if settings.events_max > 0 { settings.events_max } else { u64::MAX };
        let bytes = if settings.bytes_max > 0 { settings.bytes_max } else { u64::MAX };
        let all: u64 = unprotected().map(|(_, posting)| len(*posting)).sum();
        let mut excess_events = all.saturating_sub(events);
        let mut excess_bytes = self.record_bytes.saturating_sub(bytes);
        if excess_events == 0 && excess_bytes == 0 {
            return Vec::new();
        }
        let mut left = most;
        self.oldest_of(unprotected().map(|(_, posting)| *posting), |ordinal| {
            left = left.saturating_sub(1);
            excess_events = excess_events.saturating_sub(1);
            excess_bytes = excess_bytes.saturating_sub(self.heads.record_bytes(ordinal));
            left > 0 && (excess_events > 0 || excess_bytes > 0)
        })
    }

    /// The oldest of these lists together, one at least, as long as `goes_on` says.
    fn oldest_of(
        &self,
        lists: impl Iterator<Item = Posting>,
        mut goes_on: impl FnMut(u32) -> bool,
    ) -> Vec<u32> {
        let mut lists: Vec<_> = lists.map(|posting| self.lists.oldest_first(posting)).collect();
        let entry = |list: usize, ordinal: u32| Reverse((self.heads.created_at(ordinal), list, ordinal));
        let mut heap: BinaryHeap<_> = lists
            .iter_mut()
            .enumerate()
            .filter_map(|(list, ordinals)| Some(entry(list, ordinals.next()?)))
            .collect();
        let mut found = Vec::new();
        while let Some(Reverse((_, list, ordinal))) = heap.pop() {
            found.push(ordinal);
            if !goes_on(ordinal) {
                break;
            }
            heap.extend(lists[list].next().map(|next| entry(list, next)));
        }
        found
    }

    /// What an author has stored that counts. Bytes that are bounded are looked up where
    /// [`Index::count_author_bytes`] was called, and else added up.
    pub fn load_of(&self, author: &PublicKey, settings: &Retention) -> Load {
        let Some(number) = self.authors.find(&self.hashes, author) else { return Load::default() };
        let counted = self.authors.kinds(number).iter().filter(|entry| !settings.protects(entry.kind));
        let events = counted.clone().map(|entry| self.lists.len(entry.posting) as u64).sum();
        let bytes = match self.author_bytes.as_ref().filter(|_| self.counts_author_bytes(settings)) {
            Some(bytes) => bytes.by_author.get(&number).copied().unwrap_or(0),
            None if settings.bytes_per_author_max > 0 => counted
                .flat_map(|entry| self.lists.iter(entry.posting))
                .map(|ordinal| self.heads.record_bytes(ordinal))
                .sum(),
            None => 0,
        };
        Load { events, bytes }
    }

    /// An author's oldest events that count, before `until`: as many as it takes to give back so much, or `None`
    /// if they do not suffice.
    pub fn oldest_of_author(
        &self,
        author: &PublicKey,
        settings: &Retention,
        until: u64,
        mut excess: Load,
        except: &[Stored],
    ) -> Option<Vec<Stored>> {
        let number = self.authors.find(&self.hashes, author)?;
        let counted = self.authors.kinds(number).iter().filter(|entry| !settings.protects(entry.kind));
        let goes_anyway = |ordinal: u32| except.iter().any(|stored| stored.ordinal == ordinal);
        let mut suffices = false;
        let mut found = self.oldest_of(counted.map(|entry| entry.posting), |ordinal| {
            let is_old = self.heads.created_at(ordinal) < until;
            if !goes_anyway(ordinal) {
                excess.events = excess.events.saturating_sub(1);
                excess.bytes = excess.bytes.saturating_sub(self.heads.record_bytes(ordinal));
            }
            suffices = is_old && excess == Load::default();
            is_old && !suffices
        });
        found.retain(|&ordinal| !goes_anyway(ordinal));
        suffices.then(|| found.into_iter().map(|ordinal| self.stored(ordinal)).collect())
    }

    /// How much of an author's load these events are.
    pub fn load_of_events(&self, author: &PublicKey, events: &[Stored], settings: &Retention) -> Load {
        let mut load = Load::default();
        for stored in events {
            let (kind, by) = self.kind_and_author(*stored);
            if by == *author && !settings.protects(kind) {
                load.events += 1;
                load.bytes += self.heads.record_bytes(stored.ordinal);
            }
        }
        load
    }

    /// Whether bytes are counted by author, without these kinds.
    pub fn counts_author_bytes(&self, settings: &Retention) -> bool {
        self.author_bytes.as_ref().is_some_and(|bytes| bytes.uncounted == settings.kinds_protected)
    }

    /// Counts bytes by author from here on; looks at every row once.
    pub fn count_author_bytes(&mut self, settings: &Retention) {
        let mut by_author: HashMap<u32, u64> = HashMap::new();
        for ordinal in self.heads.live() {
            let row = self.heads.get(ordinal);
            if !settings.protects(row.kind) {
                *by_author.entry(row.author).or_default() += self.heads.record_bytes(ordinal);
            }
        }
        self.author_bytes = Some(AuthorBytes { uncounted: settings.kinds_protected.clone(), by_author });
    }

    /// Counts an event that comes or goes.
    pub(super) fn note_bytes(&mut self, ordinal: u32, comes: bool) {
        let bytes = self.heads.record_bytes(ordinal);
        self.record_bytes = if comes { self.record_bytes + bytes } else { self.record_bytes - bytes };
        let Some(counted) = &mut self.author_bytes else { return };
        let row = self.heads.get(ordinal);
        if counted.uncounted.contains(row.kind) {
            return;
        }
        let all = counted.by_author.entry(row.author).or_default();
        *all = if comes { *all + bytes } else { all.saturating_sub(bytes) };
        // Numbers of authors without events are used again.
        if *all == 0 {
            counted.by_author.remove(&row.author);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::event::{Event, Id, Kind, Signature, Tags};
    use crate::store::Location;

    const NOW: u64 = 1_000 * DAY_SECONDS;

    /// One event of the naive twin: kind, author, bytes as the index knows them, and its place there.
    type Kept = BTreeMap<u64, (Kind, PublicKey, u64, Found)>;

    /// A small generator: the same seed gives the same run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }

        fn settings(&mut self) -> Retention {
            let by_kind = |random: &mut Random, most: u64| {
                let keys = ["1", "7", "1,7", "0-65535", "6"].into_iter().filter(|_| random.below(3) == 0);
                let entries: BTreeMap<&str, u64> =
                    keys.collect::<Vec<_>>().into_iter().map(|key| (key, 1 + random.below(most))).collect();
                serde_json::from_value(serde_json::json!(entries)).expect("a map of kinds")
            };
            Retention {
                age_days_max_by_kind: by_kind(self, 1_200),
                events_max_by_kind: by_kind(self, 200),
                events_max: self.below(2) * self.below(300),
                bytes_max: self.below(2) * self.below(100_000),
                ..Retention::default()
            }
        }
    }

    fn world(random: &mut Random) -> (Index, Kept) {
        let (mut index, mut kept) = (Index::new(false), Kept::new());
        for number in 0..300 {
            // Each second once: which of two events of one second is older says their ids.
            let created_at = random.below(1_000) * DAY_SECONDS + number;
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            let event = Event {
                id: Id(id),
                pubkey: PublicKey([random.below(5) as u8; 32]),
                created_at,
                kind: Kind([1, 6, 7, 5, 1_111][random.below(5) as usize]),
                tags: Tags::default(),
                content: String::new(),
                sig: Signature([0; 64]),
            };
            let location = Location { number, slot: 0 };
            index.insert(&event, location, 100 + random.below(900) as usize);
            let ordinal = index.ordinal_of(&event.id).expect("it was just added");
            let bytes = index.heads.record_bytes(ordinal);
            let found = Found { created_at, id: event.id, location };
            kept.insert(created_at, (event.kind, event.pubkey, bytes, found));
        }
        (index, kept)
    }

    /// Removes what must go, by looking at everything again and again.
    fn naive(settings: &Retention, kept: &mut Kept) {
        let go = |kept: &mut Kept, counts: &dyn Fn(Kind) -> bool, too_many: &dyn Fn(u64, u64) -> bool| loop {
            let counted = kept.values().filter(|(kind, ..)| counts(*kind) && !settings.protects(*kind));
            let events = counted.count() as u64;
            let bytes = kept.values().map(|(_, _, bytes, _)| bytes).sum();
            let oldest = kept.iter().find(|(_, (kind, ..))| counts(*kind) && !settings.protects(*kind));
            match oldest.map(|(time, _)| *time).filter(|_| too_many(events, bytes)) {
                Some(time) => drop(kept.remove(&time)),
                None => return,
            }
        };
        kept.retain(|time, (kind, ..)| {
            let days = settings.age_days_max_by_kind.get(*kind);
            settings.protects(*kind) || days.is_none_or(|days| *time >= NOW - (days * DAY_SECONDS).min(NOW))
        });
        for (kinds, most) in settings.events_max_by_kind.iter() {
            go(kept, &|kind| kinds.contains(kind), &|events, _| events > *most);
        }
        go(kept, &|_| true, &|events, bytes| {
            settings.events_max > 0 && events > settings.events_max
                || settings.bytes_max > 0 && bytes > settings.bytes_max
        });
    }

    #[test]
    fn what_goes_is_what_a_look_at_everything_says() {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(9);
        println!("SEED={seed}");
        let mut random = Random(seed);
        for round in 0..60 {
            let (mut index, mut kept) = world(&mut random);
            let settings = random.settings();
            naive(&settings, &mut kept);
            let most = 1 + random.below(40) as usize;
            loop {
                let beyond = index.beyond(&settings, NOW, most);
                assert!(beyond.len() <= most);
                if beyond.is_empty() {
                    break;
                }
                for found in beyond {
                    let stored = index.stored_at(&found.id, found.location).expect("it is there");
                    index.remove(stored);
                }
            }
            let mut left: Vec<u64> =
                index.heads.live().map(|ordinal| index.heads.created_at(ordinal)).collect();
            left.sort_unstable();
            assert_eq!(left, kept.keys().copied().collect::<Vec<_>>(), "round {round}: {settings:?}");
        }
    }

    #[test]
    fn what_authors_have_is_counted_as_events_come_and_go() {
        let mut random = Random(4);
        let (mut index, mut kept) = world(&mut random);
        let settings = Retention::default();
        index.count_author_bytes(&settings);
        while let Some((_, (.., found))) = kept.pop_first() {
            let stored = index.stored_at(&found.id, found.location).expect("it is there");
            index.remove(stored);
            for author in (0..5).map(|byte| PublicKey([byte; 32])) {
                let mine = kept.values().filter(|(kind, by, ..)| *by == author && !settings.protects(*kind));
                let (events, bytes) =
                    mine.fold((0, 0), |(events, sum), (_, _, bytes, _)| (events + 1, sum + bytes));
                assert_eq!(index.load_of(&author, &settings), Load { events, bytes });
                // The two oldest of theirs that count, if there are as many before a time.
                let oldest =
                    kept.values().filter(|(kind, by, ..)| *by == author && !settings.protects(*kind));
                let oldest: Vec<Location> = oldest.take(2).map(|(.., found)| found.location).collect();
                let excess = Load { events: 2, bytes: 0 };
                let given = index.oldest_of_author(&author, &settings, u64::MAX, excess, &[]);
                let given = given.map(|events| events.iter().map(|stored| stored.location).collect());
                assert_eq!(given, Some(oldest).filter(|oldest: &Vec<Location>| oldest.len() == 2));
                assert_eq!(index.oldest_of_author(&author, &settings, 0, excess, &[]), None);
            }
        }
    }
}
