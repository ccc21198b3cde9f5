//! Checks records side by side: each by itself on all cores, and what must hold between them in one thread. In:
//! records and state in any order. Out: what is wrong.

use std::collections::{BTreeMap, HashSet};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use indicatif::ProgressBar;

use crate::community::VANISHED;
use crate::event::{Checker as SignatureChecker, Event, Forgery, Kind, PublicKey, Verified};
use crate::index::Index;
use crate::store::copy::{Copied, StateEntry};
use crate::store::record::decode;
use crate::store::{CommunityId, Location, Tally};
use crate::words;

/// Records that a thread takes at once, and such batches that may wait for it.
const BATCH_RECORDS: usize = 256;
const BATCHES_MAX: usize = 64;

type Place = (CommunityId, Location);
type Batch = Vec<(Place, Vec<u8>)>;

/// What became of a record: an event and the length of its record, or why it is none.
type Judged = (Place, usize, Result<Event, String>);

/// Checks what it is given.
pub(super) struct Checker {
    batch: Batch,
    batches: Sender<Batch>,
    workers: Vec<JoinHandle<()>>,
    house: JoinHandle<House>,
    faults: Vec<String>,
    removed: HashSet<Place>,
    vanished: Vec<(CommunityId, PublicKey, u64)>,
}

/// What was found.
pub(super) struct Report {
    /// What is wrong, in order.
    pub(super) faults: Vec<String>,
    /// Events that were checked.
    pub(super) events: u64,
    /// Communities that have any.
    pub(super) communities: usize,
    /// Events of vanished keys that are not removed yet.
    pub(super) vanishing: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub(super) fn is_good(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Something that is wrong if what it is about is really there.
struct Fault {
    about: Vec<Place>,
    text: String,
}

/// All that was seen.
#[derive(Default)]
struct House {
    communities: BTreeMap<CommunityId, Seen>,
    faults: Vec<Fault>,
    events: u64,
}

#[derive(Default)]
struct Seen {
    index: Index,
    numbers: Vec<u64>,
}

fn name(place: Place) -> String {
    format!("community {} event number {}", place.0.0, place.1.number)
}

impl Checker {
    /// Starts a thread for each core.
    pub(super) fn start(signatures: bool, bar: ProgressBar) -> std::io::Result<Checker> {
        let (batches, input) = bounded::<Batch>(BATCHES_MAX);
        // Bounded by the batches: what is judged waits for nobody but the one thread.
        let (output, judged) = bounded::<Vec<Judged>>(BATCHES_MAX);
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let workers = (0..cores).map(|_| {
            let (input, output) = (input.clone(), output.clone());
            std::thread::Builder::new().spawn(move || judge(&input, &output, signatures))
        });
        let workers = workers.collect::<std::io::Result<_>>()?;
        drop(output);
        let house = std::thread::Builder::new().spawn(move || {
            let mut house = House::default();
            for batch in judged {
                bar.inc(batch.len() as u64);
                batch.into_iter().for_each(|judged| house.add(judged));
            }
            bar.finish_and_clear();
            house
        })?;
        Ok(Checker {
            batch: Batch::new(),
            batches,
            workers,
            house,
            faults: Vec::new(),
            removed: HashSet::new(),
            vanished: Vec::new(),
        })
    }

    /// Takes a record.
    pub(super) fn record(&mut self, community: CommunityId, location: Location, record: &[u8]) {
        self.batch.push(((community, location), record.to_vec()));
        if self.batch.len() == BATCH_RECORDS {
            self.send();
        }
    }

    fn send(&mut self) {
        // The threads end only after this sender.
        let _ = self.batches.send(std::mem::take(&mut self.batch));
    }

    /// Takes back a record, whether it was given or not.
    pub(super) fn removed(&mut self, community: CommunityId, location: Location) {
        self.removed.insert((community, location));
    }

    /// Takes a state entry.
    pub(super) fn state(&mut self, entry: &StateEntry<'_>) {
        if entry.table != VANISHED {
            return;
        }
        match (<[u8; 32]>::try_from(entry.key), <[u8; 8]>::try_from(entry.value)) {
            (Ok(key), Ok(until)) => {
                self.vanished.push((entry.community, PublicKey(key), u64::from_le_bytes(until)));
            }
            _ => self.fault(format!(
                "community {}: the entry about a vanished key is damaged at {}",
                entry.community.0,
                hex::encode(entry.key)
            )),
        }
    }

    /// Notes something that is wrong.
    pub(super) fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// Waits for the threads; what was wrong in all that was given. `copied` says where numbers end.
    pub(super) fn finish(mut self, copied: &Copied) -> Report {
        self.send();
        let Checker { batches, workers, house, mut faults, removed, vanished, .. } = self;
        drop(batches);
        for worker in workers {
            if worker.join().is_err() {
                faults.push("a thread that checks broke off: not all was checked".to_owned());
            }
        }
        let Ok(mut house) = house.join() else {
            faults.push("the thread that compares broke off: not all was checked".to_owned());
            return Report { faults, events: 0, communities: 0, vanishing: 0 };
        };
        if copied.groups_missing > 0 {
            faults.push(format!(
                "the newest {} groups of changes are missing, and the events in them; restore a backup that has \
                 them",
                words::number(copied.groups_missing)
            ));
        }
        house.check_numbers(copied, &removed);
        let mut found = std::mem::take(&mut house.faults);
        found.retain(|fault| !fault.about.iter().any(|place| removed.contains(place)));
        found.sort_by(|one, other| (&one.about, &one.text).cmp(&(&other.about, &other.text)));
        faults.extend(found.into_iter().map(|fault| fault.text));
        let vanishing = house.vanishing(&vanished, &removed);
        let communities = house.communities.values().filter(|seen| !seen.numbers.is_empty()).count();
        Report { faults, events: house.events, communities, vanishing }
    }
}

/// Judges records by themselves until no more come.
fn judge(input: &Receiver<Batch>, output: &Sender<Vec<Judged>>, signatures: bool) {
    let mut checker = SignatureChecker::default();
    let mut scratch = Vec::new();
    for batch in input {
        let judged = batch.into_iter().map(|(place, record)| {
            let event = decode(&record).map_err(|error| error.to_string()).and_then(|event| {
                let forgery = match signatures {
                    true => checker.check(event.clone()).err(),
                    false => (event.hash(&mut scratch) != event.id).then_some(Forgery::Id),
                };
                match forgery {
                    None => Ok(event),
                    Some(Forgery::Id) => Err(format!("its id {} is not that of its content", event.id)),
                    Some(Forgery::Signature) => Err(format!("the signature of {} is not true", event.id)),
                }
            });
            (place, record.len(), event)
        });
        if output.send(judged.collect()).is_err() {
            return;
        }
    }
}

impl House {
    fn add(&mut self, (place, record_bytes, event): Judged) {
        self.events += 1;
        let seen = self.communities.entry(place.0).or_default();
        seen.numbers.push(place.1.number);
        let mut fault = |about: Vec<Place>, text: String| {
            self.faults.push(Fault { about, text: format!("{}: {text}", name(place)) });
        };
        let event = match event {
            Ok(event) => event,
            Err(reason) => return fault(vec![place], reason),
        };
        let facts = seen.index.facts(&event);
        if facts.stored {
            return fault(vec![place], format!("event {} is there twice", event.id));
        }
        if facts.deleted {
            fault(vec![place], format!("event {} is there, though its deletion was asked for", event.id));
        }
        if let Some(other) = seen.index.newest_of(&event) {
            let other = (place.0, other.location);
            let text = format!("it and number {} are two versions of one thing", other.1.number);
            fault(vec![place, other], text);
        }
        if event.kind == Kind::DELETION {
            // Nobody is shown it: only what it names is looked up.
            let request = Verified::assumed(event);
            for stored in seen.index.deleted_by(&request) {
                let other = (place.0, stored.location);
                let text = format!("it asks to delete number {}, which is there", other.1.number);
                fault(vec![place, other], text);
            }
            seen.index.insert(&request, place.1, record_bytes);
        } else {
            seen.index.insert(&event, place.1, record_bytes);
        }
    }

    /// Numbers must be there once, be ones that were given, and be all that the store counted.
    fn check_numbers(&mut self, copied: &Copied, removed: &HashSet<Place>) {
        let gone: HashSet<(CommunityId, u64)> =
            removed.iter().map(|(community, location)| (*community, location.number)).collect();
        // Of one that has lost all its events nothing was seen.
        for community in copied.tallies.keys() {
            self.communities.entry(CommunityId(*community)).or_default();
        }
        for (&community, seen) in &mut self.communities {
            let mut fault = |text: String| {
                let text = format!("community {}: {text}", community.0);
                self.faults.push(Fault { about: Vec::new(), text });
            };
            seen.numbers.retain(|number| !gone.contains(&(community, *number)));
            seen.numbers.sort_unstable();
            for pair in seen.numbers.windows(2).filter(|pair| pair[0] == pair[1]) {
                fault(format!("number {} is there twice", pair[0]));
            }
            let next = copied.next_numbers.get(&community.0).copied();
            if let Some(&last) = seen.numbers.last()
                && next.is_some_and(|next| last >= next)
            {
                fault(format!("number {last} is beyond all that were given"));
            }
            let mut tally = Tally::default();
            seen.numbers.iter().for_each(|number| tally.add(*number));
            match copied.tallies.get(&community.0) {
                Some(counted) if counted.records > tally.records => fault(format!(
                    "{} of {} events are missing; restore a backup that has them",
                    words::number(counted.records - tally.records),
                    words::number(counted.records)
                )),
                Some(counted) if *counted != tally => {
                    fault("its events are not those that were stored".to_owned());
                }
                _ => {}
            }
        }
    }

    /// How many events are there of people who vanished.
    fn vanishing(&mut self, vanished: &[(CommunityId, PublicKey, u64)], removed: &HashSet<Place>) -> u64 {
        for (community, key, until) in vanished {
            if let Some(seen) = self.communities.get_mut(community) {
                seen.index.vanish(key, *until);
            }
        }
        let waiting = self.communities.iter_mut().map(|(community, seen)| {
            let there = seen.index.vanishing(usize::MAX).into_iter();
            there.filter(|stored| !removed.contains(&(*community, stored.location))).count() as u64
        });
        waiting.sum()
    }
}
