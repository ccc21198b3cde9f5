//! Groups (NIP-29) survive kills: the relay is killed at random moments while groups are made, joined, edited and ended,
//! people put in and out, and messages removed. After each start what is stored is what a writer sent up to one moment,
//! all that was acknowledged among it; and what the relay says of groups, what its rules decide from then on, and the
//! groups that their events make are what a naive twin (`squares.rs`) makes of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};

use plaza::event::{Event, Id, Tags};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::common::http::ask;
use crate::common::{Client, Person};
use crate::random::Chance;
use crate::server::Server;
use crate::squares::Squares;
use crate::{PATIENCE, WRITERS, ticks};

/// Kills of the short form and of the long one.
const KILLS: usize = 12;
const LONG_KILLS: usize = 200;

/// After how many kills the groups of a copy of the store are read from its events.
const READ_BACK_EVERY: usize = 4;

/// Events under way.
const WINDOW: usize = 16;

/// People who write over one connection, and over no other. The first of them makes its groups and stays in them.
const PEOPLE: u32 = 5;

/// Groups of a writer that are not ended.
const ALIVE_MAX: usize = 4;

/// Groups asked about at once: what is said of them fits `limits.limit_default`.
const ASKED_GROUPS: usize = 25;

/// Ids in one filter.
const ASKED_IDS: usize = 500;

/// Roles that people are given.
const ROLES: [&[&str]; 5] = [&[], &[], &["moderator"], &["admin"], &["baker", "moderator"]];

const SETTINGS: &str = "[rate]\nenabled = false\n[store]\ncache_bytes = 16_777_216\nindex_save_events_min = 1\n\
     index_save_changes_min = 300\n[nip29]\nenabled = true\ncreate = \"all\"\nlate_seconds_max = 0\n\
     groups_max = 100_000\ngroups_per_creator_max = 100_000\ncodes_max = 1_000\n";

/// Somebody with a connection, and what is known of their groups.
struct Town {
    who: u32,
    chance: Chance,
    /// As of the last start.
    squares: Squares,
    /// All that was ever sent.
    ids: Vec<Id>,
    /// What was sent since the last start: whether it must be taken, and the answer if one came.
    sent: Vec<(Event, bool, Option<bool>)>,
}

#[test]
fn groups_survive_kill_after_kill() {
    kill_and_look(KILLS);
}

#[test]
#[ignore = "takes minutes; PLAZA_SEED picks one seed"]
fn groups_survive_kill_after_kill_for_long() {
    kill_and_look(LONG_KILLS);
}

fn kill_and_look(kills: usize) {
    let seed = Chance::seeds(&[])[0];
    println!("PLAZA_SEED={seed}");
    let mut chance = Chance::new(seed);
    let (folder, ticks) = (tempfile::tempdir().expect("a folder"), ticks());
    std::fs::write(folder.path().join("relay.toml"), SETTINGS).expect("a file");
    let mut towns: Vec<Town> = (0..WRITERS).map(|who| Town::new(who, chance.below(u64::MAX))).collect();
    for round in 0..kills {
        let server = Server::start(folder.path());
        check(&server, &mut towns);
        let answers = if chance.percent(10) { 0 } else { chance.below(400) };
        under_load(&server, &mut towns, &ticks, answers);
        if round % READ_BACK_EVERY == 0 {
            read_back(folder.path());
        }
    }
    let server = Server::start(folder.path());
    check(&server, &mut towns);
    drop(server);
    read_back(folder.path());
    let groups: usize = towns.iter().map(|town| town.squares.groups.len()).sum();
    let events: usize = towns.iter().map(|town| town.squares.len()).sum();
    println!("{groups} groups of {events} events after {kills} kills");
    assert!(groups > 0 && events > kills, "something was written");
}

/// All write; when so many answers have come the relay is killed.
fn under_load(server: &Server, towns: &mut [Town], ticks: &AtomicU64, answers: u64) {
    let (answered, counter) = channel();
    std::thread::scope(|scope| {
        for town in towns {
            let (client, answered) = (Client::connect(&server.url()), answered.clone());
            scope.spawn(move || {
                let tick = || ticks.fetch_add(1, Ordering::SeqCst);
                town.write(client, tick, || answered.send(()).unwrap_or(()));
            });
        }
        drop(answered);
        await_answers(&counter, answers);
        server.kill();
    });
}

fn await_answers(counter: &Receiver<()>, answers: u64) {
    for _ in 0..answers {
        counter.recv_timeout(PATIENCE).expect("events are answered");
    }
}

/// What is stored is what each writer sent up to some event; what the relay says is what follows from that.
fn check(server: &Server, towns: &mut [Town]) {
    let address = server.url().trim_start_matches("ws://").parse().expect("an address");
    let document = ask(address, "GET", "/", &[("Accept", "application/nostr+json")], "").json();
    let own = document["self"].as_str().expect("a key of its own").to_owned();
    for town in towns {
        let mut client = Client::connect(&server.url());
        for person in town.people() {
            client.authenticate(&person, &server.url(), crate::writer::now());
        }
        town.settle(&mut client, server);
        town.hear_what_is_said(&mut client, &own);
    }
}

/// Opens a copy of the store: the groups that are kept are those that their events make.
fn read_back(folder: &Path) {
    let copy = tempfile::tempdir().expect("a folder");
    let copied =
        std::process::Command::new("cp").arg("-r").arg(folder.join("data")).arg(copy.path()).status();
    assert!(copied.expect("cp runs").success());
    let mut config = plaza::config::Config::load(&folder.join("relay.toml")).expect("settings");
    config.store.path = copy.path().join("data");
    config.server.listen = "127.0.0.1:0".parse().expect("an address");
    let relay = plaza::net::Relay::start(config, plaza::clock::Clock::system()).expect("the relay starts");
    let of_events = relay.groups_of_events(relay.community()).expect("groups");
    let known = relay.community().known().groups;
    // Of those that were ended the sweep leaves little.
    for group in known.iter().filter(|group| group.ended_at.is_none()) {
        assert_eq!(of_events.any(&group.id), Some(group));
    }
    for group in of_events.iter() {
        assert!(known.any(&group.id).is_some(), "{} is known of", group.id);
    }
    relay.stop().expect("everything is on disk");
}

impl Town {
    fn new(who: u32, seed: u64) -> Town {
        let (chance, squares) = (Chance::new(seed), Squares::default());
        Town { who, chance, squares, ids: Vec::new(), sent: Vec::new() }
    }

    fn people(&self) -> Vec<Person> {
        (0..PEOPLE).map(|number| Person::new(self.who * PEOPLE + number)).collect()
    }

    /// Writes until the connection ends.
    fn write(&mut self, mut client: Client, tick: impl Fn() -> u64, answered: impl Fn()) {
        let (mut squares, mut waiting) = (self.squares.clone(), HashMap::new());
        loop {
            while waiting.len() < WINDOW {
                let event = self.event(&squares, tick());
                let must_be_taken = squares.take(&event);
                let text = format!(r#"["EVENT",{}]"#, String::from_utf8_lossy(&event.to_json()));
                waiting.insert(event.id.to_string(), self.sent.len());
                self.ids.push(event.id);
                self.sent.push((event, must_be_taken, None));
                if client.try_send(Message::text(text)).is_err() {
                    break;
                }
            }
            let Ok(Message::Text(text)) = client.try_receive() else { return };
            let answer: Value = serde_json::from_str(&text).expect("the relay speaks JSON");
            let at = waiting.remove(answer[1].as_str().expect("an id")).expect("one answer to each");
            let (event, must_be_taken, accepted) = &mut self.sent[at];
            assert_eq!(
                answer[2],
                json!(*must_be_taken),
                "{answer} to {}",
                String::from_utf8_lossy(&event.to_json())
            );
            *accepted = answer[2].as_bool();
            answered();
        }
    }

    /// Finds out up to which event what was sent is stored. Nothing that was acknowledged is missing, nothing that was
    /// removed is back, and no event is there without those before it.
    fn settle(&mut self, client: &mut Client, server: &Server) {
        let mut there = BTreeSet::new();
        for some in self.ids.chunks(ASKED_IDS) {
            let ids: Vec<String> = some.iter().map(Id::to_string).collect();
            there.extend(client.ids(json!({"ids": ids, "limit": ASKED_IDS})));
        }
        let is_as_it_is = |squares: &Squares| {
            squares.len() == there.len()
                && self.ids.iter().all(|id| squares.has(id) == there.contains(&id.to_string()))
        };
        let acknowledged = self.sent.iter().rposition(|(_, _, accepted)| *accepted == Some(true));
        let surely = acknowledged.map_or(0, |last| last + 1);
        let mut squares = self.squares.clone();
        let mut left = self.sent.iter();
        for (event, ..) in left.by_ref().take(surely) {
            squares.take(event);
        }
        while !is_as_it_is(&squares) {
            let Some((event, ..)) = left.next() else {
                let lost =
                    self.ids.iter().filter(|id| self.squares.has(id) && !there.contains(&id.to_string()));
                panic!(
                    "what is stored is what no beginning of what was sent makes; of earlier rounds {} are lost\n{}",
                    lost.count(),
                    server.log()
                );
            };
            squares.take(event);
        }
        (self.squares, self.sent) = (squares, Vec::new());
    }

    /// The relay says of each group what it is, by its own key.
    fn hear_what_is_said(&self, client: &mut Client, own: &str) {
        let groups: Vec<&String> = self.squares.groups.keys().collect();
        let mut said: BTreeMap<String, BTreeMap<u64, Value>> = BTreeMap::new();
        for some in groups.chunks(ASKED_GROUPS) {
            let kinds = [39_000, 39_001, 39_002, 39_005];
            client.subscribe("said", &[json!({"kinds": kinds, "#d": some})]);
            loop {
                let message = client.receive();
                if message[0] == "EOSE" {
                    break;
                }
                let event = &message[2];
                assert_eq!(event["pubkey"], json!(own), "{event}");
                let (mut id, mut tags) = (None, Vec::new());
                for tag in event["tags"].as_array().expect("tags") {
                    match tag[0] == "d" {
                        true => id = tag[1].as_str(),
                        false => tags.push(tag.clone()),
                    }
                }
                let of_group = said.entry(id.expect("a group").to_owned()).or_default();
                let before = of_group.insert(event["kind"].as_u64().expect("a kind"), Value::Array(tags));
                assert_eq!(before, None, "one version of each");
            }
        }
        for id in groups {
            let expected = self.squares.groups[id].told();
            assert_eq!(said.remove(id).unwrap_or_default(), expected, "group {id}");
        }
    }

    /// Something that one of the people does in one of the groups.
    fn event(&mut self, squares: &Squares, at: u64) -> Event {
        let people = self.people();
        let alive: Vec<&String> =
            squares.groups.iter().filter(|(_, square)| !square.has_ended).map(|(id, _)| id).collect();
        let mut tags = Tags::default();
        if alive.is_empty() || alive.len() < ALIVE_MAX && self.chance.percent(10) {
            tags.push(["h", &format!("{}-{at}", self.who)]);
            tags.push(["name", "new"]);
            return people[0].sign(9_007, at, tags, "");
        }
        // Now and then one that was ended, or that there never was.
        let id = match self.chance.below(60) {
            0 => squares.groups.keys().next().expect("one is alive").clone(),
            1 => format!("nowhere-{}", self.who),
            _ => (*self.chance.pick(&alive)).clone(),
        };
        let kinds = [
            9_000, 9_000, 9_000, 9_001, 9_002, 9_002, 9_005, 9_005, 9_009, 9_010, 9_021, 9_021, 9_022, 9, 9,
            9, 9, 5,
        ];
        let kind = if self.chance.percent(1) {
            *self.chance.pick(&[9_007, 9_008])
        } else {
            *self.chance.pick(&kinds)
        };
        let mut author = self.chance.below(PEOPLE.into()) as usize;
        // Those who may nothing would else say most of it.
        if (9_000..=9_010).contains(&kind) && self.chance.percent(60) || author == 0 && kind == 9_022 {
            author = usize::from(kind == 9_022);
        }
        if kind == 9_007 {
            author = 0;
        }
        if kind != 5 {
            tags.push(["h", &id]);
        }
        self.fill(squares, &id, kind, at, &mut tags);
        people[author].sign(kind, at, tags, &at.to_string())
    }

    /// Adds what an event of this kind says.
    fn fill(&mut self, squares: &Squares, id: &str, kind: u16, at: u64, tags: &mut Tags) {
        let square = squares.groups.get(id).cloned().unwrap_or_default();
        let codes: Vec<&String> = square.codes.keys().collect();
        // The first of the people stays what they are.
        let other =
            Person::new(self.who * PEOPLE + 1 + self.chance.below(u64::from(PEOPLE) - 1) as u32).hex();
        let chats: Vec<Id> = square.chats.keys().chain(square.codes.values()).copied().collect();
        let some_chat = |chance: &mut Chance| match chats.is_empty() || chance.percent(5) {
            true => Id([7; 32]).to_string(),
            false => chance.pick(&chats).to_string(),
        };
        match kind {
            9_000 => {
                let roles = ROLES[self.chance.below(ROLES.len() as u64) as usize];
                tags.push(["p", other.as_str()].into_iter().chain(roles.iter().copied()));
            }
            9_001 => tags.push(["p", &other]),
            9_002 => {
                tags.push(["name", &format!("as of {at}")]);
                for flag in ["private", "restricted", "hidden", "closed"] {
                    if self.chance.percent(25) {
                        tags.push([flag]);
                    }
                }
            }
            9_005 | 9_010 | 5 => tags.push(["e", &some_chat(&mut self.chance)]),
            9_009 => tags.push(["code", &format!("code {at}")]),
            9_021 if !codes.is_empty() && self.chance.percent(60) => {
                tags.push(["code", self.chance.pick(&codes).as_str()]);
            }
            _ => {}
        }
    }
}
