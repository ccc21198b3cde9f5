//! What happens: clients, moderators and chance, which decides who does what next, in one community or in several of
//! the same relay. All that is done and seen goes into a transcript, the same for the same seed.

mod ear;
mod endings;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use plaza::clock::Clock;
use plaza::event::{Event, Id, PublicKey};
use plaza::pipeline::Part;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{NOW, Person, json_of};
use crate::house::{House, TOWNS, url};
use crate::judge::{Judge, told};
use crate::oracle::Oracle;
use crate::random::{Chance, forged, random_event, random_filters};
use crate::record::{Asked, Change, Counted, Mark, Proof, Record, Sent};
use crate::wire::Wire;

/// Clients of one round: of a community that is alone, and of each where there are several.
const CLIENTS_ALONE: usize = 4;
const CLIENTS_EACH: usize = 3;

/// What may happen in one round before all becomes quiet: so much, and more for each further community.
const STEPS: usize = 500;
const STEPS_MORE: usize = 200;

/// Events of one client that wait for their answers.
const UNDER_WAY_MAX: usize = 8;

/// Subscriptions of one client that are open at once: few enough that a client that reads is never too slow.
const OPEN_MAX: usize = 6;

/// Turns in which all becomes quiet, unless the relay forgets something.
const TURNS_MAX: usize = 100_000;

/// Who owns the relay.
const OWNER: u32 = 2_000;

/// How a run ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending {
    /// When the last round was judged.
    Quiet,
    /// In the last round after so many steps, in order.
    Stopped { after: usize },
    /// The same, in the middle of everything.
    Killed { after: usize },
    /// The disk takes nothing more after so many steps, and all else goes on for a while: what was not committed by
    /// then is lost, whatever is said of it.
    Cut { after: usize },
}

/// A client.
struct Client {
    /// The number of its community.
    town: usize,
    wire: Option<Wire>,
    challenge: String,
    /// Ids that wait for their answers, and where they stand in the record.
    under_way: BTreeMap<Id, usize>,
    open: Vec<String>,
    /// What the relay's next NOTICEs will show that it has done by then.
    marks: VecDeque<Done>,
    /// Whose events come no more: those of banned authors, and events that were banned.
    banned: Vec<Change>,
    /// Whose stored events come no more, up to when.
    vanished: Vec<(PublicKey, u64)>,
}

/// What the relay has done when it answers a mark: whatever is sent later was put in line later.
#[derive(Debug, Clone)]
enum Done {
    /// It has read a CLOSE.
    Left(String),
    /// It has banned.
    Banned(Change),
    /// It has let somebody vanish.
    Vanished(PublicKey, u64),
    /// Something that has been taken back meanwhile.
    Nothing,
}

/// See the module.
pub(crate) struct World {
    folder: TempDir,
    clock: Clock,
    chance: Chance,
    /// What was stored in each community, and what else holds there, when the round began.
    oracles: Vec<Oracle>,
    /// Every event that was made, sent or not.
    known: Vec<Event>,
    /// The true ones by their ids.
    made: BTreeMap<Id, Event>,
    transcript: String,
    names: usize,
}

/// A round that goes on.
struct Round<'w> {
    world: &'w mut World,
    house: House,
    clients: Vec<Client>,
    /// What happened in each community; steps are counted alike in all, and clients by the same numbers.
    records: Vec<Record>,
    /// How likely each kind of doing is.
    weights: [u64; 3],
}

impl World {
    /// Nothing has happened in any of so many communities.
    pub(crate) fn new(seed: u64, towns: usize) -> World {
        World {
            folder: tempfile::tempdir().expect("a folder"),
            clock: Clock::by_hand(NOW),
            chance: Chance::new(seed),
            oracles: (0..towns).map(|_| Oracle::new(NOW, false)).collect(),
            known: Vec::new(),
            made: BTreeMap::new(),
            transcript: String::new(),
            names: 0,
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn open(&self) -> House {
        self.open_at(&self.data())
    }

    fn open_at(&self, data: &Path) -> House {
        House::open(data, &self.clock, Person::new(OWNER).key(), self.oracles.len())
    }

    /// What time it is.
    fn now(&self) -> u64 {
        self.oracles[0].now
    }

    /// Plays so many rounds, then the ending.
    pub(crate) async fn run(mut self, rounds: usize, ending: Ending) -> String {
        let mut house = self.open();
        for _ in 0..rounds {
            house = Round::new(&mut self, house).play().await;
        }
        match ending {
            Ending::Quiet => house.into_relay().close().expect("everything is on disk"),
            Ending::Stopped { after } => Round::new(&mut self, house).stop(after).await,
            Ending::Killed { after } => Round::new(&mut self, house).kill(after).await,
            Ending::Cut { after } => Round::new(&mut self, house).cut(after).await,
        }
        self.transcript
    }
}

impl<'w> Round<'w> {
    fn new(world: &'w mut World, house: House) -> Round<'w> {
        let weights = [1, 2, 3].map(|_| 1 + world.chance.below(8));
        let towns = world.oracles.len();
        let begin = |town| Record {
            stored_below: house.stored_below(town),
            passed_on_before: house.passed_on_count(town),
            ..Record::default()
        };
        let records = (0..towns).map(begin).collect();
        let mut round = Round { world, house, clients: Vec::new(), records, weights };
        let each = if towns == 1 { CLIENTS_ALONE } else { CLIENTS_EACH };
        (0..each * towns).for_each(|number| round.connect(number % towns));
        round
    }

    /// The step that comes next.
    fn now(&self) -> usize {
        self.records[0].now()
    }

    /// What happened in the community of a client.
    fn record(&mut self, client: usize) -> &mut Record {
        &mut self.records[self.clients[client].town]
    }

    fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        let step = self.now();
        // Writing to a String cannot fail.
        let _ = writeln!(self.world.transcript, "{step}: {what}");
    }

    /// The step is over: notes how far the relay is.
    fn mark(&mut self) {
        let mut marks = Vec::with_capacity(self.records.len());
        for (town, path) in TOWNS.iter().enumerate().take(self.records.len()) {
            let (house, record) = (&self.house, &mut self.records[town]);
            let stored_below = house.stored_below(town);
            if stored_below > record.stored_below {
                record.changes.push(Change::Stored(stored_below));
                record.stored_below = stored_below;
            }
            let passed_on = house.passed_on_count(town) - record.passed_on_before;
            let mark = Mark { changes: record.changes.len(), passed_on };
            if record.marks.last() != Some(&mark) {
                self.tell(format_args!("{} {mark:?}", path));
            }
            marks.push(mark);
        }
        self.records.iter_mut().zip(marks).for_each(|(record, mark)| record.marks.push(mark));
    }

    fn connect(&mut self, town: usize) {
        let challenge: [u8; 16] = std::array::from_fn(|_| self.world.chance.below(256) as u8);
        let pipe_bytes = *self.world.chance.pick(&[200, 1_000, 4_000, 64_000]);
        let wire = Some(self.house.connect(town, pipe_bytes, challenge));
        let challenge = hex::encode(challenge);
        self.clients.push(Client {
            town,
            wire,
            challenge,
            under_way: BTreeMap::new(),
            open: Vec::new(),
            marks: VecDeque::new(),
            banned: Vec::new(),
            vanished: Vec::new(),
        });
        self.records.iter_mut().for_each(|record| record.people.push(crate::record::Person::default()));
    }

    /// Plays to the end, and judges.
    async fn play(mut self) -> House {
        for _ in 0..STEPS + STEPS_MORE * (self.records.len() - 1) {
            self.step().await;
        }
        self.settle();
        let mut oracles = Vec::new();
        for (town, record) in self.records.iter_mut().enumerate() {
            record.passed_on = self.house.passed_on(town).split_off(record.passed_on_before);
            let judge = Judge::new(record, &self.world.oracles[town]);
            judge.judge();
            oracles.push(judge.last().clone());
        }
        self.clients.clear();
        self.settle();
        assert!(!self.house.has_sessions(), "sessions end with their clients");
        // Between rounds some things expire.
        let now = self.world.now() + 1 + self.world.chance.below(3);
        self.world.clock.set(now);
        self.house.relay.sweep();
        self.settle();
        for (town, oracle) in oracles.iter_mut().enumerate() {
            oracle.now = now;
            oracle.sweep();
            let community = self.house.community(town);
            let index = community.index();
            for event in &oracle.stored {
                assert!(index.contains(&event.id), "missing after a round: {}", told(event));
            }
            assert_eq!(index.len(), oracle.stored.len(), "what is left after a round");
        }
        self.world.oracles = oracles;
        self.house
    }

    /// Something happens.
    async fn step(&mut self) {
        let [relay, sessions, clients] = self.weights;
        let roll = self.world.chance.below(relay + sessions + clients);
        if roll < relay {
            self.step_relay();
        } else if roll < relay + sessions {
            self.step_session();
        } else {
            let client = self.world.chance.below(self.clients.len() as u64) as usize;
            self.act(client).await;
        }
    }

    /// A client does something, or a moderator, or time passes.
    async fn act(&mut self, client: usize) {
        match self.world.chance.below(200) {
            0..=89 => {
                for _ in 0..=self.world.chance.below(6) {
                    self.hear(client);
                }
            }
            90..=149 => self.publish(client),
            150..=171 => self.ask(client),
            172..=179 => self.count(client),
            180..=187 => self.leave(client),
            188..=190 => self.prove(client),
            191 => self.hang_up(client),
            192 => {
                tokio::time::advance(Duration::from_secs(1 + self.world.chance.below(20))).await;
                self.tell(format_args!("time passes"));
            }
            193..=195 => self.sweep(),
            _ => self.moderate(self.clients[client].town),
        }
    }

    fn say(&mut self, client: usize, message: &Value) {
        self.tell(format_args!("{client} says {message}"));
        if let Some(wire) = &mut self.clients[client].wire {
            wire.send(message.to_string());
        }
    }

    fn publish(&mut self, client: usize) {
        let Client { wire: Some(_), under_way, .. } = &self.clients[client] else { return };
        if under_way.len() >= UNDER_WAY_MAX {
            return;
        }
        let now = self.world.now();
        let World { chance, known, made, .. } = &mut *self.world;
        let mut event = match known.len() {
            0 => random_event(chance, now, known),
            many if chance.percent(15) => {
                known[many - 1 - chance.below(many.min(60) as u64) as usize].clone()
            }
            _ => random_event(chance, now, known),
        };
        known.push(event.clone());
        made.insert(event.id, event.clone());
        let is_true = !chance.percent(3);
        if !is_true {
            event = forged(chance, &event);
        }
        if self.clients[client].under_way.contains_key(&event.id) {
            return;
        }
        self.say(client, &json!(["EVENT", json_of(&event)]));
        let at = self.now();
        let town = self.clients[client].town;
        self.clients[client].under_way.insert(event.id, self.records[town].sent.len());
        self.records[town].sent.push(Sent { client, event, is_true, at, answer: None });
        self.mark();
    }

    fn name(&mut self, what: &str) -> String {
        self.world.names += 1;
        format!("{what}{}", self.world.names)
    }

    fn ask(&mut self, client: usize) {
        if self.clients[client].wire.is_none() || self.clients[client].open.len() >= OPEN_MAX {
            return;
        }
        let filters = self.filters();
        let name = self.name("r");
        self.say(client, &query("REQ", &name, &filters));
        self.clients[client].open.push(name.clone());
        let (stored, live, at) = (Vec::new(), Vec::new(), self.now());
        let asked = Asked {
            client,
            filters,
            at,
            stored,
            eose: None,
            live,
            closed: None,
            is_left: false,
            is_silent: false,
        };
        self.record(client).asked.insert(name, asked);
        self.mark();
    }

    fn filters(&mut self) -> Vec<Value> {
        let now = self.world.now();
        let World { chance, known, .. } = &mut *self.world;
        match chance.below(3) {
            // Much of what happens is of interest to somebody.
            0 => vec![json!({"limit": chance.below(60)})],
            _ => random_filters(chance, now, known),
        }
    }

    fn count(&mut self, client: usize) {
        if self.clients[client].wire.is_none() {
            return;
        }
        let filters = self.filters();
        let name = self.name("c");
        self.say(client, &query("COUNT", &name, &filters));
        let at = self.now();
        self.record(client).counted.insert(name, Counted { client, filters, at, answer: None });
        self.mark();
    }

    /// Closes a subscription, and sends something of no form after it: when that is answered CLOSE has been read.
    fn leave(&mut self, client: usize) {
        let Client { wire: Some(_), open, .. } = &mut self.clients[client] else { return };
        if open.is_empty() {
            return;
        }
        let name = open.swap_remove(self.world.chance.below(open.len() as u64) as usize);
        self.say(client, &json!(["CLOSE", name]));
        self.record(client).asked.get_mut(&name).expect("it was asked for").is_left = true;
        self.put_mark(client, Done::Left(name));
        self.mark();
    }

    /// Sends something of no form: when it is answered, what was done before has been done.
    fn put_mark(&mut self, client: usize, done: Done) {
        if self.clients[client].wire.is_some() {
            self.say(client, &json!(["MARK"]));
            self.clients[client].marks.push_back(done);
        }
    }

    /// The same for all clients of a community.
    fn put_marks(&mut self, town: usize, done: &Done) {
        for client in 0..self.clients.len() {
            if self.clients[client].town == town {
                self.put_mark(client, done.clone());
            }
        }
    }

    fn prove(&mut self, client: usize) {
        let person = self.world.chance.person();
        let is_new = self.record(client).people[client].proofs.iter().all(|proof| proof.key != person.key());
        if self.clients[client].wire.is_none() || !is_new {
            return;
        }
        let url = url(self.clients[client].town);
        let tags: [&[&str]; 2] = [&["relay", &url], &["challenge", &self.clients[client].challenge]];
        let proof = person.event(22_242, self.world.now(), &tags, "");
        self.say(client, &json!(["AUTH", json_of(&proof)]));
        let (key, id, at) = (person.key(), proof.id.to_string(), self.now());
        self.record(client).people[client].proofs.push(Proof { key, id, at, accepted: None });
        self.mark();
    }

    /// A client is gone without a word; another one comes.
    fn hang_up(&mut self, client: usize) {
        if self.clients[client].wire.take().is_none() {
            return;
        }
        self.record(client).people[client].is_gone = true;
        self.tell(format_args!("{client} is gone"));
        self.mark();
        self.connect(self.clients[client].town);
    }

    /// What vanished is removed: by the writer at once, if it has nothing else to do.
    fn sweep(&mut self) {
        while self.house.relay.step(Part::Writer) {
            self.mark();
        }
        self.house.relay.sweep();
        self.house.relay.step(Part::Writer);
        self.records.iter_mut().for_each(|record| record.changes.push(Change::Swept));
        self.tell(format_args!("swept"));
        self.mark();
    }

    /// The owner of a community bans somebody or something there, or lifts a ban.
    fn moderate(&mut self, town: usize) {
        let person = self.world.chance.person();
        let (body, change) = match self.world.chance.below(5) {
            0..=1 => {
                (json!({"method": "banpubkey", "params": [person.hex()]}), Change::Author(person.key(), true))
            }
            2..=3 => (
                json!({"method": "unbanpubkey", "params": [person.hex()]}),
                Change::Author(person.key(), false),
            ),
            _ => match self.world.known.last() {
                Some(event) => {
                    (json!({"method": "banevent", "params": [event.id.to_string()]}), Change::Event(event.id))
                }
                None => return,
            },
        };
        self.tell(format_args!("the owner of {} calls {body}", TOWNS[town]));
        let (relay, community) = (Rc::clone(&self.house.relay), self.house.community(town));
        let called =
            relay.call(&community, Person::new(OWNER).key(), &body.to_string()).expect("the owner may");
        // Others do what they do until it is on disk, and after.
        for _ in 0..self.world.chance.below(60) {
            self.work();
        }
        while !called.is_ready() {
            self.house.relay.step(Part::Writer);
            self.mark();
        }
        called.finish().expect("it is kept");
        self.records[town].changes.push(change.clone());
        self.tell(format_args!("it holds"));
        self.mark();
        match change {
            Change::Author(key, false) => {
                for client in self.clients.iter_mut().filter(|client| client.town == town) {
                    client.banned.retain(|ban| *ban != Change::Author(key, true));
                    for done in &mut client.marks {
                        if matches!(done, Done::Banned(ban) if *ban == Change::Author(key, true)) {
                            *done = Done::Nothing;
                        }
                    }
                }
            }
            ban => self.put_marks(town, &Done::Banned(ban)),
        }
    }

    /// Somebody does something, but neither moderators nor time.
    fn work(&mut self) {
        match self.world.chance.below(3) {
            0 => self.step_relay(),
            1 => self.step_session(),
            _ => {
                let client = self.world.chance.below(self.clients.len() as u64) as usize;
                match self.world.chance.below(5) {
                    0 => self.publish(client),
                    1 => self.ask(client),
                    _ => drop(self.hear(client)),
                }
            }
        }
    }

    fn step_relay(&mut self) {
        let parts = self.house.relay.parts();
        let part = *self.world.chance.pick(&parts);
        self.house.relay.step(part);
        self.mark();
    }

    fn step_session(&mut self) {
        let session = self.world.chance.below(self.house.sessions() as u64) as usize;
        self.house.poll(session);
        self.mark();
    }

    /// Everybody does what there is to do, in turn, until all is quiet.
    fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..TURNS_MAX {
            let mut moved = false;
            for part in self.house.relay.parts() {
                while self.house.relay.step(part) {
                    moved = true;
                    self.mark();
                }
            }
            for session in 0..self.house.sessions() {
                if self.house.poll(session) {
                    moved = true;
                    self.mark();
                }
            }
            for client in 0..self.clients.len() {
                while self.hear(client) {
                    moved = true;
                }
            }
            // What a client could send in the last turn is read in this one.
            quiet = if moved { 0 } else { quiet + 1 };
            if quiet == 3 {
                return;
            }
        }
        panic!("it does not become quiet");
    }
}

fn query(verb: &str, name: &str, filters: &[Value]) -> Value {
    Value::Array([json!(verb), json!(name)].into_iter().chain(filters.iter().cloned()).collect())
}
