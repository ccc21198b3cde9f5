//! What happens: clients, moderators and chance, which decides who does what next. All that is done and seen goes into
//! a transcript, the same for the same seed.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use plaza::clock::Clock;
use plaza::event::{Event, Id, PublicKey};
use plaza::pipeline::Part;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::folder::copy;
use crate::common::{NOW, Person, json_of};
use crate::house::{House, URL};
use crate::judge::{Judge, told};
use crate::oracle::Oracle;
use crate::random::{Chance, forged, random_event, random_filters};
use crate::record::{Asked, Change, Counted, Mark, Proof, Record, Sent};
use crate::wire::{Heard, Wire};

/// Clients of one round.
const CLIENTS: usize = 4;

/// What may happen in one round before all becomes quiet.
const STEPS: usize = 500;

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
}

/// A client.
struct Client {
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
    /// What was stored, and what else holds, when the round began.
    oracle: Oracle,
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
    record: Record,
    /// How likely each kind of doing is.
    weights: [u64; 3],
}

impl World {
    /// Nothing has happened.
    pub(crate) fn new(seed: u64) -> World {
        World {
            folder: tempfile::tempdir().expect("a folder"),
            clock: Clock::by_hand(NOW),
            chance: Chance::new(seed),
            oracle: Oracle::new(NOW, false),
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
        House::open(&self.data(), &self.clock, Person::new(OWNER).key())
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
        }
        self.transcript
    }
}

impl<'w> Round<'w> {
    fn new(world: &'w mut World, house: House) -> Round<'w> {
        let weights = [1, 2, 3].map(|_| 1 + world.chance.below(8));
        let (stored_below, passed_on_before) = (house.stored_below(), house.relay.passed_on_count());
        let record = Record { stored_below, passed_on_before, ..Record::default() };
        let mut round = Round { world, house, clients: Vec::new(), record, weights };
        (0..CLIENTS).for_each(|_| round.connect());
        round
    }

    fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        let step = self.record.now();
        // Writing to a String cannot fail.
        let _ = writeln!(self.world.transcript, "{step}: {what}");
    }

    /// The step is over: notes how far the relay is.
    fn mark(&mut self) {
        let stored_below = self.house.stored_below();
        if stored_below > self.record.stored_below {
            self.record.changes.push(Change::Stored(stored_below));
            self.record.stored_below = stored_below;
        }
        let passed_on = self.house.relay.passed_on_count() - self.record.passed_on_before;
        let mark = Mark { changes: self.record.changes.len(), passed_on };
        if self.record.marks.last() != Some(&mark) {
            self.tell(format_args!("{mark:?}"));
        }
        self.record.marks.push(mark);
    }

    fn connect(&mut self) {
        let challenge: [u8; 16] = std::array::from_fn(|_| self.world.chance.below(256) as u8);
        let pipe_bytes = *self.world.chance.pick(&[200, 1_000, 4_000, 64_000]);
        let wire = Some(self.house.connect(pipe_bytes, challenge));
        let challenge = hex::encode(challenge);
        self.clients.push(Client {
            wire,
            challenge,
            under_way: BTreeMap::new(),
            open: Vec::new(),
            marks: VecDeque::new(),
            banned: Vec::new(),
            vanished: Vec::new(),
        });
        self.record.people.push(crate::record::Person::default());
    }

    /// Plays to the end, and judges.
    async fn play(mut self) -> House {
        for _ in 0..STEPS {
            self.step().await;
        }
        self.settle();
        self.record.passed_on = self.house.relay.passed_on().split_off(self.record.passed_on_before);
        let judge = Judge::new(&self.record, &self.world.oracle);
        judge.judge();
        let mut oracle = judge.last().clone();
        self.clients.clear();
        self.settle();
        assert!(!self.house.has_sessions(), "sessions end with their clients");
        // Between rounds some things expire.
        oracle.now += 1 + self.world.chance.below(3);
        self.world.clock.set(oracle.now);
        self.house.relay.sweep();
        self.settle();
        oracle.sweep();
        let index = self.house.relay.communities().root().index();
        for event in &oracle.stored {
            assert!(index.contains(&event.id), "missing after a round: {}", told(event));
        }
        assert_eq!(index.len(), oracle.stored.len(), "what is left after a round");
        drop(index);
        self.world.oracle = oracle;
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
            _ => self.moderate(),
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
        let World { chance, oracle, known, made, .. } = &mut *self.world;
        let mut event = match known.len() {
            0 => random_event(chance, oracle.now, known),
            many if chance.percent(15) => {
                known[many - 1 - chance.below(many.min(60) as u64) as usize].clone()
            }
            _ => random_event(chance, oracle.now, known),
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
        self.clients[client].under_way.insert(event.id, self.record.sent.len());
        let at = self.record.now();
        self.record.sent.push(Sent { client, event, is_true, at, answer: None });
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
        let (stored, live, at) = (Vec::new(), Vec::new(), self.record.now());
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
        self.record.asked.insert(name, asked);
        self.mark();
    }

    fn filters(&mut self) -> Vec<Value> {
        let World { chance, oracle, known, .. } = &mut *self.world;
        match chance.below(3) {
            // Much of what happens is of interest to somebody.
            0 => vec![json!({"limit": chance.below(60)})],
            _ => random_filters(chance, oracle.now, known),
        }
    }

    fn count(&mut self, client: usize) {
        if self.clients[client].wire.is_none() {
            return;
        }
        let filters = self.filters();
        let name = self.name("c");
        self.say(client, &query("COUNT", &name, &filters));
        self.record.counted.insert(name, Counted { client, filters, at: self.record.now(), answer: None });
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
        self.record.asked.get_mut(&name).expect("it was asked for").is_left = true;
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

    fn put_marks(&mut self, done: &Done) {
        (0..self.clients.len()).for_each(|client| self.put_mark(client, done.clone()));
    }

    fn prove(&mut self, client: usize) {
        let person = self.world.chance.person();
        let is_new = self.record.people[client].proofs.iter().all(|proof| proof.key != person.key());
        if self.clients[client].wire.is_none() || !is_new {
            return;
        }
        let tags: [&[&str]; 2] = [&["relay", URL], &["challenge", &self.clients[client].challenge]];
        let proof = person.event(22_242, self.world.oracle.now, &tags, "");
        self.say(client, &json!(["AUTH", json_of(&proof)]));
        let (key, id, at) = (person.key(), proof.id.to_string(), self.record.now());
        self.record.people[client].proofs.push(Proof { key, id, at, accepted: None });
        self.mark();
    }

    /// A client is gone without a word; another one comes.
    fn hang_up(&mut self, client: usize) {
        if self.clients[client].wire.take().is_none() {
            return;
        }
        self.record.people[client].is_gone = true;
        self.tell(format_args!("{client} is gone"));
        self.mark();
        self.connect();
    }

    /// What vanished is removed: by the writer at once, if it has nothing else to do.
    fn sweep(&mut self) {
        while self.house.relay.step(Part::Writer) {
            self.mark();
        }
        self.house.relay.sweep();
        self.house.relay.step(Part::Writer);
        self.record.changes.push(Change::Swept);
        self.tell(format_args!("swept"));
        self.mark();
    }

    /// The owner bans somebody or something, or lifts a ban.
    fn moderate(&mut self) {
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
        self.tell(format_args!("the owner calls {body}"));
        let relay = Rc::clone(&self.house.relay);
        let called = relay.call(Person::new(OWNER).key(), &body.to_string()).expect("the owner may");
        // Others do what they do until it is on disk, and after.
        for _ in 0..self.world.chance.below(60) {
            self.work();
        }
        while !called.is_ready() {
            self.house.relay.step(Part::Writer);
            self.mark();
        }
        called.finish().expect("it is kept");
        self.record.changes.push(change.clone());
        self.tell(format_args!("it holds"));
        self.mark();
        match change {
            Change::Author(key, false) => {
                for client in &mut self.clients {
                    client.banned.retain(|ban| *ban != Change::Author(key, true));
                    for done in &mut client.marks {
                        if matches!(done, Done::Banned(ban) if *ban == Change::Author(key, true)) {
                            *done = Done::Nothing;
                        }
                    }
                }
            }
            ban => self.put_marks(&Done::Banned(ban)),
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

    /// A client reads the next message, if there is one.
    fn hear(&mut self, client: usize) -> bool {
        let Some(heard) = self.clients[client].wire.as_mut().and_then(Wire::hear) else { return false };
        match heard {
            Heard::Message(message) => {
                self.tell(format_args!("{client} hears {message}"));
                self.note(client, &message);
            }
            Heard::Beat => self.tell(format_args!("{client} hears a beat")),
            Heard::Close(code) => self.tell(format_args!("{client} hears a goodbye: {code}")),
            Heard::End => {
                self.tell(format_args!("{client} hears the end"));
                self.clients[client].wire = None;
                self.record.people[client].is_gone = true;
            }
        }
        self.mark();
        true
    }

    /// Writes down what a client has heard.
    fn note(&mut self, client: usize, message: &Value) {
        let now = self.record.now();
        let text = |at: usize| message[at].as_str().unwrap_or_default().to_owned();
        let prefix = |at: usize| text(at).split(':').next().unwrap_or_default().to_owned();
        let name = text(1);
        match message[0].as_str() {
            Some("AUTH") => assert_eq!(name, self.clients[client].challenge),
            Some("OK") => {
                let proofs = &mut self.record.people[client].proofs;
                if let Some(proof) = proofs.iter_mut().find(|proof| proof.id == name) {
                    assert_eq!(message[2], true, "{message}");
                    proof.accepted = Some(now);
                    return;
                }
                let id = Id::from_hex(&name).expect("an id");
                let sent = self.clients[client].under_way.remove(&id).expect("an event that was sent");
                let ok = message[2].as_bool().expect("a verdict");
                self.record.sent[sent].answer = Some((now, ok, prefix(3)));
                let Event { kind, pubkey, created_at, .. } = self.record.sent[sent].event;
                if ok && kind.0 == 62 && prefix(3).is_empty() {
                    self.put_marks(&Done::Vanished(pubkey, created_at));
                }
            }
            Some("EVENT") => {
                let asked = self.record.asked.get_mut(&name).expect("it was asked for");
                assert!(!asked.is_silent && asked.closed.is_none(), "after the end: {message}");
                let event = Event::from_json(message[2].to_string().as_bytes()).expect("an event");
                assert_eq!(self.world.made.get(&event.id), Some(&event), "as it was sent");
                let Client { banned, vanished, .. } = &self.clients[client];
                let is_banned = banned.iter().any(|ban| match ban {
                    Change::Author(key, _) => *key == event.pubkey,
                    Change::Event(id) => *id == event.id,
                    _ => false,
                });
                let has_vanished =
                    vanished.iter().any(|(key, until)| *key == event.pubkey && event.created_at <= *until);
                assert!(!is_banned, "banned, and shown: {message}");
                let is_stored = asked.eose.is_none() && event.kind.0 != 62;
                assert!(!has_vanished || !is_stored, "vanished, and shown: {message}");
                let list = if asked.eose.is_some() { &mut asked.live } else { &mut asked.stored };
                list.push(event.id);
            }
            Some("EOSE") => {
                let asked = self.record.asked.get_mut(&name).expect("it was asked for");
                assert!(!asked.is_silent && asked.eose.is_none(), "after the end: {message}");
                asked.eose = Some(now);
            }
            Some("CLOSED") => {
                self.clients[client].open.retain(|open| *open != name);
                if let Some(counted) = self.record.counted.get_mut(&name) {
                    counted.answer = Some((now, Err(prefix(2))));
                } else {
                    let asked = self.record.asked.get_mut(&name).expect("it was asked for");
                    assert!(!asked.is_silent && asked.closed.is_none(), "after the end: {message}");
                    asked.closed = Some((now, prefix(2)));
                }
            }
            Some("COUNT") => {
                let count = message[2]["count"].as_u64().expect("a number");
                let counted = self.record.counted.get_mut(&name).expect("it was asked for");
                counted.answer = Some((now, Ok(count)));
            }
            Some("NOTICE") => match self.clients[client].marks.pop_front().expect("a mark") {
                Done::Left(name) => {
                    self.record.asked.get_mut(&name).expect("it was asked for").is_silent = true;
                }
                Done::Banned(ban) => self.clients[client].banned.push(ban),
                Done::Vanished(key, until) => self.clients[client].vanished.push((key, until)),
                Done::Nothing => {}
            },
            _ => panic!("nobody asked for {message}"),
        }
    }

    /// The relay is stopped in order after so many steps, and started again.
    async fn stop(mut self, after: usize) {
        for _ in 0..after {
            self.step().await;
        }
        self.house.relay.stop();
        self.tell(format_args!("the relay is stopping"));
        for _ in 0..after {
            self.work();
        }
        for _ in 0..TURNS_MAX {
            self.settle();
            if !self.house.has_sessions() {
                break;
            }
            // Who says nothing is not waited for.
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(!self.house.has_sessions(), "sessions end when the relay stops");
        let Round { world, house, record, .. } = self;
        house.into_relay().close().expect("everything is on disk");
        check_kept(world, &record, &world.open());
    }

    /// The relay is killed after so many steps, and another one started on what is on disk.
    async fn kill(mut self, after: usize) {
        for _ in 0..after {
            self.step().await;
        }
        self.tell(format_args!("the relay is killed"));
        let left = self.world.folder.path().join("left");
        copy(&self.world.data(), &left);
        let Round { world, house, record, .. } = self;
        house.into_relay().close().expect("everything is on disk");
        check_kept(world, &record, &House::open(&left, &world.clock, Person::new(OWNER).key()));
    }
}

/// Whether one event takes another away, says the model.
fn removes(oracle: &Oracle, remover: &Event, event: &Event) -> bool {
    let mut two = Oracle::new(oracle.now, false);
    two.stored.push(event.clone());
    two.publish(remover, true, &[remover.pubkey]);
    two.sweep();
    !two.stored.iter().any(|stored| stored.id == event.id)
}

/// After a start all that was acknowledged is there, unless something that was sent takes it away; and what was taken
/// away, and acknowledged so, is gone.
fn check_kept(world: &World, record: &Record, house: &House) {
    house.relay.sweep();
    while house.relay.step(Part::Writer) {}
    let community = house.relay.communities().root();
    let is_kept = |event: &Event| !(20_000..30_000).contains(&event.kind.0);
    let answered = |sent: &&Sent| sent.answer.as_ref().is_some_and(|(_, ok, _)| *ok) && is_kept(&sent.event);
    let acknowledged: Vec<&Sent> = record.sent.iter().filter(answered).collect();
    let before = world.oracle.stored.iter().map(|event| (event, 0));
    let after = acknowledged.iter().filter_map(|sent| Some((&sent.event, sent.answer.as_ref()?.0)));
    for (event, at) in before.chain(after) {
        let removers =
            record.sent.iter().filter(|sent| sent.is_true && removes(&world.oracle, &sent.event, event));
        let removers: Vec<&Sent> = removers.filter(|sent| sent.event.id != event.id).collect();
        let is_there = community.index().contains(&event.id);
        assert!(is_there || !removers.is_empty(), "acknowledged and lost: {}", told(event));
        let is_said_gone = |sent: &&Sent| {
            sent.at > at && sent.answer.as_ref().is_some_and(|(_, ok, prefix)| *ok && prefix.is_empty())
        };
        let gone_by = removers.iter().find(|sent| is_said_gone(sent)).filter(|_| is_there);
        assert!(gone_by.is_none(), "removed by {gone_by:?}, and back: {}", told(event));
    }
    let known = community.known();
    let mut bans: BTreeMap<PublicKey, bool> = world.oracle.banned.iter().map(|key| (*key, true)).collect();
    for change in &record.changes {
        match change {
            Change::Author(key, is_banned) => drop(bans.insert(*key, *is_banned)),
            Change::Event(id) => assert!(known.moderation.event(id).is_some(), "a ban is kept"),
            Change::Stored(_) | Change::Swept => {}
        }
    }
    for (key, is_banned) in bans {
        assert_eq!(known.moderation.author(&key).is_some(), is_banned, "bans are kept");
    }
}

fn query(verb: &str, name: &str, filters: &[Value]) -> Value {
    Value::Array([json!(verb), json!(name)].into_iter().chain(filters.iter().cloned()).collect())
}
