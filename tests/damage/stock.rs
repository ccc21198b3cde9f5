//! A store with some of everything, made by a relay that was stopped in order: notes, versions, long texts, what was
//! deleted or vanished, two communities, a saved index, and other state.

use std::collections::{BTreeSet, HashMap};
use std::fs;

use plaza::event::{Event, Id};
use plaza::store::{CommunityId, Durability, Group, Options, StateTable, Store};

use crate::common::folder::{Done, Folder};
use crate::common::{Client, Person};
use crate::{exported, places_of};

pub(crate) const COMMUNITIES: [&str; 2] = ["/", "/market"];

const SETTINGS: &str = "[rate]\nenabled = false\n[store]\nindex_save_events_min = 1\nindex_save_changes_min = 50\n\
                        [[community]]\npath = \"/market\"\n";

/// A moment that is past on every machine.
const PAST: u64 = 1_700_000_000;

const PEOPLE: u32 = 5;
const NOTES: u64 = 90;

/// A table of state that no part of the relay reads.
const MARKER: StateTable = StateTable(99);

pub(crate) struct Stock {
    pub(crate) folder: Folder,
    /// What a relay shows in each community.
    pub(crate) shown: Vec<BTreeSet<Id>>,
    /// What was there once.
    pub(crate) gone: Vec<BTreeSet<Id>>,
    /// Where the record of each event lies in sled's file, also where it does not count any more.
    pub(crate) places: HashMap<Id, Vec<u64>>,
}

/// Runs the program, which must succeed.
pub(crate) fn succeed(folder: &Folder, arguments: &[&str]) -> Done {
    let done = folder.run(arguments);
    assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
    done
}

fn options(folder: &Folder, data: &str) -> Options {
    Options { path: folder.path(data), cache_bytes: 8 << 20, durability: Durability::Process, touches: 0 }
}

/// The entry of state that no part of the relay reads.
pub(crate) fn marker(folder: &Folder, data: &str) -> Option<Vec<u8>> {
    let store = Store::open(options(folder, data)).expect("a store");
    let entry = store.state_entry(CommunityId(1), MARKER, b"key").expect("it can be read");
    store.close().expect("it is closed");
    entry
}

/// What people send to a community, in order.
fn events(community: u32) -> Vec<Event> {
    let mut events = Vec::new();
    for person in community * PEOPLE..(community + 1) * PEOPLE {
        let author = Person::new(person);
        let first = events.len();
        for number in 0..NOTES {
            let text = format!("note {number} {}", "bread ".repeat((number % 90) as usize));
            events.push(author.event(1, PAST + number, &[&["t", "bread"]], &text));
        }
        for version in 0..4 {
            events.push(author.event(0, PAST + version, &[], "{}"));
            events.push(author.event(30_023, PAST + version, &[&["d", "x"]], "an article"));
        }
        events.push(author.event(1, PAST, &[], &format!("long {person:03} ").repeat(4_000)));
        let named: Vec<String> = (0..6).map(|back| events[first + 10 + back].id.to_string()).collect();
        let tags: Vec<Vec<&str>> = named.iter().map(|id| vec!["e", id.as_str()]).collect();
        let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
        events.push(author.event(5, PAST + NOTES, &tags, ""));
        if person % PEOPLE == 0 {
            events.push(author.event(62, PAST + NOTES / 2, &[&["relay", "ALL_RELAYS"]], ""));
        }
    }
    events
}

impl Stock {
    pub(crate) fn new() -> Stock {
        let folder = Folder::new();
        folder.write("relay.toml", SETTINGS);
        let relay = folder.serve(&[]);
        let mut sent = Vec::new();
        for (number, path) in (0..).zip(COMMUNITIES) {
            let mut client = Client::connect(&format!("{}{path}", relay.url));
            let events = events(number);
            events.iter().for_each(|event| client.publish_ok(event));
            sent.push(events);
        }
        assert_eq!(relay.end("TERM"), 0);
        let store = Store::open(options(&folder, "data")).expect("a store");
        let mut group = Group::default();
        group.put_state(CommunityId(1), MARKER, b"key", b"value");
        store.commit(group).expect("a group");
        store.close().expect("it is closed");
        let shown = exported(&folder, "data");
        let ids = |events: &Vec<Event>| events.iter().map(|event| event.id).collect::<BTreeSet<Id>>();
        let gone = sent.iter().zip(&shown).map(|(sent, shown)| &ids(sent) - shown).collect();
        let db = fs::read(folder.path("data/db")).expect("a file");
        let places = places_of(&db, &sent.concat());
        let nowhere = shown.iter().flatten().find(|id| places.get(*id).is_none_or(Vec::is_empty));
        assert_eq!(nowhere, None, "all that is shown lies somewhere");
        Stock { folder, shown, gone, places }
    }

    /// All that was ever sent.
    pub(crate) fn all(&self) -> BTreeSet<Id> {
        self.shown.iter().chain(&self.gone).flatten().copied().collect()
    }

    /// All that a relay shows.
    pub(crate) fn all_shown(&self) -> BTreeSet<Id> {
        self.shown.iter().flatten().copied().collect()
    }
}
