//! `plaza salvage`: saves what can be read of a damaged store into a new one. In: the store's files, which stay as they
//! are. Out: a store of events that are true, each once and in its newest version, without what was deleted; and in
//! words what was saved, what was lost, and what nobody can know.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::restore::clear;
use super::{Failure, progress};
use crate::community::{LOCAL_STATE, NUMBERS, VANISHED};
use crate::config::Config;
use crate::event::{Checker, Event, Kind, PublicKey, Verified};
use crate::index::Index;
use crate::net::store_options;
use crate::policy::{Placement, place};
use crate::store::copy::Copied;
use crate::store::record::{decode, encode};
use crate::store::{CommunityId, Found, Group, Location, Restorer, Salvage, Store, Tally};
use crate::words;

/// Damaged places that are named; the others are only counted.
const DAMAGED_NAMED_MAX: usize = 20;

#[derive(Debug, Args)]
pub(super) struct SalvageCommand {
    /// Folder of the store that is damaged
    #[arg(value_name = "STORE")]
    store: PathBuf,
    /// Folder for the new one: empty, or not there
    #[arg(value_name = "NEW")]
    new: PathBuf,
}

/// What became of the records that were found.
#[derive(Default)]
struct Counts {
    saved: u64,
    /// No true event, or of a form that makes no sense.
    untrue: u64,
    /// Copies and older versions.
    older: u64,
    /// Deleted, vanished, or removed by the relay.
    removed: u64,
    /// Events whose community is not known, and that are not in the store.
    unplaced: u64,
}

/// What is known of a community.
#[derive(Default)]
struct House {
    index: Index,
    /// Of all true events that were not removed, with copies and older versions.
    tally: Tally,
    last_number: Option<u64>,
}

/// Decides what is saved.
struct Judge<'s> {
    salvage: &'s Salvage,
    /// The communities, but for the root, by number.
    paths: BTreeMap<u32, String>,
    houses: BTreeMap<CommunityId, House>,
    /// Events without a place.
    unplaced: Vec<Event>,
    /// Whether there are records of communities besides the root.
    has_others: bool,
    counts: Counts,
    checker: Checker,
    unreadable: Vec<String>,
}

impl SalvageCommand {
    /// Zero: nothing was lost. One: something was, or may be. Two: nothing could be saved.
    pub(super) fn run(self) -> ExitCode {
        match self.salvage() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(1),
            Err(failure) => {
                eprintln!("plaza: {failure}");
                ExitCode::from(2)
            }
        }
    }

    /// Whether nothing was lost.
    fn salvage(&self) -> Result<bool, Failure> {
        let salvage = Salvage::open(&self.store)?;
        let mut judge = Judge::new(&salvage)?;
        judge.all()?;
        let mut options = store_options(&Config::default().store);
        options.path.clone_from(&self.new);
        let existed = self.new.exists();
        let restorer = Restorer::new(options)?;
        if let Err(failure) = judge.save(restorer) {
            clear(&self.new, existed);
            return Err(failure);
        }
        judge.write_unplaced(&beside(&self.new)?)?;
        Ok(judge.tell(&self.store, &self.new))
    }
}

/// A community's path and number in the store, if they make sense.
fn number_of(path: &[u8], number: &[u8]) -> Option<(String, u32)> {
    Some((String::from_utf8(path.to_vec()).ok()?, u32::from_le_bytes(number.try_into().ok()?)))
}

/// The file for events that belong nowhere.
fn beside(new: &Path) -> Result<PathBuf, Failure> {
    let mut name =
        OsString::from(new.file_name().ok_or("the new folder has no name; give it another place")?);
    name.push(".unplaced.jsonl");
    Ok(new.with_file_name(name))
}

impl<'s> Judge<'s> {
    /// Reads the state that bears on events.
    fn new(salvage: &'s Salvage) -> Result<Judge<'s>, Failure> {
        let mut judge = Judge {
            salvage,
            paths: BTreeMap::new(),
            houses: BTreeMap::new(),
            unplaced: Vec::new(),
            has_others: salvage.numberings.keys().any(|community| *community != 0),
            counts: Counts::default(),
            checker: Checker::default(),
            unreadable: Vec::new(),
        };
        salvage.each::<Failure>(|found| {
            match found {
                Found::State(CommunityId(0), NUMBERS, path, number) => match number_of(path, number) {
                    Some((path, number)) => drop(judge.paths.insert(number, path)),
                    None => judge.unreadable.push(format!("the number of a community, {path:02x?}")),
                },
                Found::State(community, VANISHED, key, until) => {
                    if let (Ok(key), Ok(until)) = (key.try_into(), until.try_into()) {
                        let house = judge.houses.entry(community).or_default();
                        house.index.vanish(&PublicKey(key), u64::from_le_bytes(until));
                    }
                }
                Found::State(..) | Found::Record(..) => {}
                Found::Unreadable(key) => judge.unreadable.push(key),
            }
            Ok(())
        })?;
        Ok(judge)
    }

    fn has_place(&self, community: CommunityId) -> bool {
        community == CommunityId(0) || self.paths.contains_key(&community.0)
    }

    /// Judges every record.
    fn all(&mut self) -> Result<(), Failure> {
        let bar = progress(None, "events");
        let salvage = self.salvage;
        salvage.each::<Failure>(|found| {
            if let Found::Record(place, record) = found {
                bar.inc(1);
                self.judge(place, record);
            }
            Ok(())
        })?;
        bar.finish_and_clear();
        for house in self.houses.values_mut() {
            loop {
                let vanishing = house.index.vanishing(usize::MAX);
                if vanishing.is_empty() {
                    break;
                }
                self.counts.removed += vanishing.len() as u64;
                vanishing.into_iter().for_each(|stored| house.index.remove(stored));
            }
        }
        Ok(())
    }

    fn judge(&mut self, place: Option<(CommunityId, Location)>, record: &[u8]) {
        self.has_others |= place.is_some_and(|(community, _)| community.0 != 0);
        if place.is_some_and(|place| self.salvage.removed.contains(&place)) {
            self.counts.removed += 1;
            return;
        }
        let Ok(event) = decode(record) else {
            self.counts.untrue += 1;
            return;
        };
        let Ok((event, _)) = self.checker.check(event) else {
            self.counts.untrue += 1;
            return;
        };
        match place.filter(|(community, _)| self.has_place(*community)) {
            Some((community, location)) => self.place(community, location, &event, record.len()),
            None => self.unplaced.push(Event::clone(&event)),
        }
    }

    /// Puts a true event into its community's index, if it belongs there.
    fn place(&mut self, community: CommunityId, location: Location, event: &Verified, record_bytes: usize) {
        let house = self.houses.entry(community).or_default();
        house.tally.add(location.number);
        house.last_number = house.last_number.max(Some(location.number));
        let index = &mut house.index;
        match place(event, &index.facts(event)) {
            Placement::Insert | Placement::Replace => {}
            Placement::Deleted(_) => return self.counts.removed += 1,
            _ => return self.counts.older += 1,
        }
        if let Some(older) = index.newest_of(event) {
            self.counts.older += 1;
            index.remove(older);
        }
        if event.kind == Kind::DELETION {
            let gone = index.deleted_by(event);
            self.counts.removed += gone.len() as u64;
            gone.into_iter().for_each(|stored| index.remove(stored));
        }
        index.insert(event, location, record_bytes);
        if event.kind == Kind::VANISH {
            // Its own entry may be lost.
            index.vanish(&event.pubkey, event.created_at);
        }
    }

    /// Writes the new store.
    fn save(&mut self, mut restorer: Restorer) -> Result<(), Failure> {
        let salvage = self.salvage;
        let mut vanished: BTreeMap<(CommunityId, PublicKey), u64> = BTreeMap::new();
        salvage.each::<Failure>(|found| {
            match found {
                Found::Record(Some((community, location)), record) => {
                    let Ok(event) = decode(record) else { return Ok(()) };
                    let house = self.houses.get(&community);
                    if house.is_some_and(|house| house.index.stored_at(&event.id, location).is_some()) {
                        restorer.record(community, location, record)?;
                        self.counts.saved += 1;
                        if event.kind == Kind::VANISH {
                            let until = vanished.entry((community, event.pubkey)).or_default();
                            *until = (*until).max(event.created_at);
                        }
                    }
                }
                Found::State(CommunityId(0), NUMBERS, path, number) if number_of(path, number).is_none() => {}
                Found::State(community, table, key, value) if !LOCAL_STATE.contains(&table) => {
                    restorer.state(community, table, key, value)?;
                }
                Found::Record(None, _) | Found::State(..) | Found::Unreadable(_) => {}
            }
            Ok(())
        })?;
        for ((community, key), until) in vanished {
            let index = &self.houses[&community].index;
            let until = until.max(index.vanished_until(&key).unwrap_or(0));
            restorer.state(community, VANISHED, &key.0, &until.to_le_bytes())?;
        }
        let mut next_numbers: BTreeMap<u32, u64> =
            salvage.numberings.iter().map(|(community, (next, _))| (*community, *next)).collect();
        for (community, house) in &self.houses {
            next_numbers.insert(community.0, salvage.next_number(*community, house.last_number));
        }
        let (group, first_number) = (salvage.groups + 1, salvage.first_number);
        let store =
            restorer.finish(&Copied { group, first_number, next_numbers, ..Copied::default() }, None)?;
        self.add_unplaced(&store)?;
        store.close()?;
        Ok(())
    }

    /// Where there is one community alone, what has lost its place belongs there. What one community has must never
    /// be shown in another.
    fn add_unplaced(&mut self, store: &Store) -> Result<(), Failure> {
        let is_alone = self.salvage.numberings.contains_key(&0) && self.paths.is_empty() && !self.has_others;
        if !is_alone {
            return Ok(());
        }
        let root = CommunityId(0);
        for event in std::mem::take(&mut self.unplaced) {
            let event = Verified::assumed(event);
            let index = &mut self.houses.entry(root).or_default().index;
            if place(&event, &index.facts(&event)) != Placement::Insert {
                self.counts.older += 1;
                continue;
            }
            let mut group = Group::default();
            group.insert(root, encode(&event));
            let locations = store.commit(group)?;
            index.insert(&event, locations[0], 0);
            self.counts.saved += 1;
        }
        Ok(())
    }

    fn write_unplaced(&mut self, path: &Path) -> Result<(), Failure> {
        self.counts.unplaced = self.unplaced.len() as u64;
        if self.unplaced.is_empty() {
            return Ok(());
        }
        let mut out =
            BufWriter::new(File::create_new(path).map_err(|error| format!("{}: {error}", path.display()))?);
        for event in &self.unplaced {
            out.write_all(&event.to_json())?;
            out.write_all(b"\n")?;
        }
        out.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        eprintln!(
            "plaza: {} events whose community is not known are in {}; add them where they belong with `plaza import`",
            words::number(self.counts.unplaced),
            path.display()
        );
        Ok(())
    }

    /// Says what was saved and what was lost; whether nothing was.
    fn tell(&self, from: &Path, to: &Path) -> bool {
        let Judge { salvage, counts, .. } = self;
        for (begin, end) in salvage.damaged.iter().take(DAMAGED_NAMED_MAX) {
            println!("{}: bytes {begin} to {end} cannot be read", from.join("db").display());
        }
        let unnamed = salvage.damaged.len().saturating_sub(DAMAGED_NAMED_MAX);
        if unnamed > 0 {
            println!("and {} places more", words::number(unnamed as u64));
        }
        self.unreadable.iter().for_each(|key| println!("{key} makes no sense, and is left out"));
        if salvage.has_blobs {
            println!("something lies in `blobs/`, from where it is not read");
        }
        eprintln!("plaza: {} events saved to {}", words::number(counts.saved), to.display());
        eprintln!(
            "plaza: left out: {} that are not true, {} copies and older versions, {} that were deleted",
            words::number(counts.untrue),
            words::number(counts.older),
            words::number(counts.removed)
        );
        let mut is_whole = salvage.groups_missing == 0 && self.unreadable.is_empty() && !salvage.has_blobs;
        if salvage.groups_missing > 0 {
            println!("the newest {} groups of changes are lost", words::number(salvage.groups_missing));
        }
        is_whole &= counts.untrue == 0 && counts.unplaced == 0;
        is_whole &= self.tell_by_community();
        if !is_whole {
            println!(
                "where something is lost, what was removed there may be back: that cannot be known. Check the new \
                 store (`plaza verify {}`) before a relay serves it, and keep the old one",
                to.display()
            );
        }
        is_whole
    }

    /// Holds what was found against what there was; whether that is the same.
    fn tell_by_community(&self) -> bool {
        let mut is_whole = !self.salvage.numberings.is_empty() || self.houses.is_empty();
        if !is_whole {
            println!("how many events there were cannot be read");
        }
        let communities = self.houses.keys().map(|community| community.0);
        let mut communities: Vec<u32> = communities.chain(self.salvage.numberings.keys().copied()).collect();
        communities.sort_unstable();
        communities.dedup();
        for community in communities {
            let found = self.houses.get(&CommunityId(community)).map(|house| house.tally).unwrap_or_default();
            let path = match community {
                0 => "/",
                number => self.paths.get(&number).map_or("a community whose path is lost", String::as_str),
            };
            let Some((_, Some(stored))) = self.salvage.numberings.get(&community) else {
                println!("{path}: how many events there were cannot be read");
                is_whole = false;
                continue;
            };
            if *stored == found {
                continue;
            }
            is_whole = false;
            let (lost, all) = (stored.records.saturating_sub(found.records), words::number(stored.records));
            match lost {
                0 => println!("{path}: {all} events were stored, and what was found are not just those"),
                lost => println!("{path}: {} of {all} events are lost", words::number(lost)),
            }
        }
        is_whole
    }
}
