//! NIP-77 (nips/77.md): one set of events serves several reconciliations while it is as the index is. Each is held to what
//! a REQ finds at that moment, which shares nothing. `PLAZA_SEED` runs one seed again.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use plaza::event::{Event, Id};
use plaza::nips::nip77::Set;
use serde_json::{Value, json};

use crate::common::http::get;
use crate::common::{Client, NOW, Person, TestRelay};
use crate::random::Chance;

/// Events of each kind that are there before: sets of fewer are not shared.
const STOCK: u64 = 1_050;

const ANN: u32 = 1;
const BOB: u32 = 2;
const EVE: u32 = 3;
const OWNER: u32 = 9;

/// Steps of a random run.
const STEPS: usize = 250;

/// A relay with notes of Ann's and her messages to Bob.
fn stocked(stock: u64) -> TestRelay {
    let relay = TestRelay::with(|config| {
        config.root.admin.owners = [Person::new(OWNER).key()].into_iter().collect();
        config.metrics.listen = Some("127.0.0.1:0".parse().expect("an address"));
        config.nip40.sweep_seconds = 86_400;
    });
    let (ann, bob) = (Person::new(ANN), Person::new(BOB).hex());
    let note = |number: u64| ann.event(1, NOW - 10 - number / 3, &[], &number.to_string());
    let message = |number: u64| ann.event(4, NOW - 10 - number / 3, &[&["p", &bob]], &number.to_string());
    let all: Vec<Event> = (0..stock).map(note).chain((0..stock).map(message)).collect();
    let mut client = relay.connect_as(&[&ann]);
    for some in all.chunks(256) {
        some.iter().for_each(|event| client.submit(event));
        some.iter().for_each(|_| assert_eq!(client.receive()[2], true));
    }
    relay
}

/// How many reconciliations had their set gathered, renewed, and as it was.
fn begun(relay: &TestRelay) -> [u64; 3] {
    let text = get(relay.relay().metrics_address().expect("numbers"), "/metrics").body;
    ["gathered", "renewed", "shared"].map(|how| {
        let name = format!("plaza_reconciliations_{how}_total ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.and_then(|number| number.parse().ok()).expect("a number")
    })
}

/// The ids that a reconciliation tells of to who has nothing; `None` when it is refused.
fn reconciled(client: &mut Client, filter: &Value) -> Option<BTreeSet<Id>> {
    let nothing = Set::default().seal();
    let mut found = BTreeSet::new();
    let mut said = nothing.initiate().expect("a first message");
    let mut verb = json!(["NEG-OPEN", "sync", filter]);
    loop {
        verb.as_array_mut().expect("an array").push(json!(hex::encode(&said)));
        client.send(&verb);
        let answer = client.receive();
        if answer[0] == "NEG-ERR" {
            return None;
        }
        let learned = nothing.learn(&hex::decode(answer[2].as_str().expect("hex")).expect("hex"));
        let learned = learned.expect("it is understood");
        found.extend(learned.only_there);
        let Some(next) = learned.next else { break };
        (said, verb) = (next, json!(["NEG-MSG", "sync"]));
    }
    client.send(&json!(["NEG-CLOSE", "sync"]));
    Some(found)
}

/// The same as a REQ finds it.
fn found(client: &mut Client, filter: &Value) -> BTreeSet<Id> {
    let mut filter = filter.clone();
    if filter["limit"].is_null() {
        filter["limit"] = json!(5_000);
    }
    let ids = client.ids(filter);
    assert!(ids.len() < 5_000, "all of them");
    ids.iter().map(|id| Id::from_hex(id).expect("an id")).collect()
}

/// Some who open reconciliations, one after another.
struct Openers<'r> {
    relay: &'r TestRelay,
    clients: Vec<Client>,
    before: [u64; 3],
}

impl<'r> Openers<'r> {
    fn new(relay: &'r TestRelay, people: &[&[u32]]) -> Openers<'r> {
        let client = |people: &&[u32]| {
            let people: Vec<Person> = people.iter().copied().map(Person::new).collect();
            relay.connect_as(&people.iter().collect::<Vec<_>>())
        };
        Openers { relay, clients: people.iter().map(client).collect(), before: begun(relay) }
    }

    /// One opens one, and hears what a REQ finds; how many that are, and whether its set was gathered, renewed or shared.
    fn open(&mut self, who: usize, filter: &Value) -> (u64, [u64; 3]) {
        let told = reconciled(&mut self.clients[who], filter).expect("it is answered");
        assert_eq!(told, found(&mut self.clients[who], filter), "{who} {filter}");
        let after = begun(self.relay);
        let grown = std::array::from_fn(|at| after[at] - self.before[at]);
        self.before = after;
        (told.len() as u64, grown)
    }
}

const GATHERED: [u64; 3] = [1, 0, 0];
const RENEWED: [u64; 3] = [0, 1, 0];
const SHARED: [u64; 3] = [0, 0, 1];

#[test]
fn a_set_is_shared_by_who_asks_for_the_same_and_sees_the_same() {
    let relay = stocked(STOCK);
    let mut openers = Openers::new(&relay, &[&[], &[], &[BOB], &[EVE], &[BOB, EVE], &[EVE, BOB]]);
    let all = json!({"kinds": [1, 4]});
    let few = json!({"kinds": [1], "since": NOW - 50});
    for (who, filter, events, how) in [
        (0, &all, STOCK, GATHERED),
        (1, &all, STOCK, SHARED),
        // Who proves a key gets a set of their own, whatever is in it; in which order keys are proved means nothing.
        (2, &all, 2 * STOCK, GATHERED),
        (3, &all, STOCK, GATHERED),
        (4, &all, 2 * STOCK, GATHERED),
        (5, &all, 2 * STOCK, SHARED),
        (0, &all, STOCK, SHARED),
        // What is asked for otherwise is found anew, and so is what is small or has a limit.
        (0, &json!({"kinds": [1]}), STOCK, GATHERED),
        (0, &json!({"kinds": [1], "limit": 1_040}), 1_040, GATHERED),
        (1, &json!({"kinds": [1], "limit": 1_040}), 1_040, GATHERED),
        (0, &few, 123, GATHERED),
        (1, &few, 123, GATHERED),
    ] {
        assert_eq!(openers.open(who, filter), (events, how), "{who} {filter}");
    }
}

#[test]
fn a_set_is_brought_up_to_date_or_gathered_anew() {
    let relay = stocked(STOCK);
    let [ann, bob, eve, owner] = [ANN, BOB, EVE, OWNER].map(Person::new);
    let mut openers = Openers::new(&relay, &[&[], &[BOB]]);
    let all = json!({"kinds": [1, 4]});
    assert_eq!(openers.open(0, &all), (STOCK, GATHERED));
    assert_eq!(openers.open(1, &all), (2 * STOCK, GATHERED));
    let mut writer = relay.connect_as(&[&ann]);
    let notes: Vec<Event> = (0..3).map(|number| eve.event(1, NOW - number, &[], "new")).collect();
    writer.publish_ok(&notes[0]);
    assert_eq!(openers.open(0, &all), (STOCK + 1, RENEWED));
    assert_eq!(openers.open(0, &all), (STOCK + 1, SHARED));
    assert_eq!(openers.open(1, &all), (2 * STOCK + 1, RENEWED));
    // A message to Bob is none of the others' business.
    writer.publish_ok(&ann.event(4, NOW, &[&["p", &bob.hex()]], "new"));
    assert_eq!(openers.open(0, &all), (STOCK + 1, RENEWED));
    assert_eq!(openers.open(1, &all), (2 * STOCK + 2, RENEWED));
    writer.publish_ok(&eve.event(5, NOW, &[&["e", &notes[0].id.to_string()]], ""));
    assert_eq!(openers.open(0, &all), (STOCK, RENEWED));
    // Rules that know something else see with other eyes.
    writer.publish_ok(&notes[1]);
    relay.call_ok(&owner, "banevent", json!([notes[1].id.to_string()]));
    assert_eq!(openers.open(0, &all), (STOCK, GATHERED));
    relay.call_ok(&owner, "unbanevent", json!([notes[1].id.to_string()]));
    assert_eq!(openers.open(0, &all), (STOCK + 1, GATHERED));
    // Time itself takes events away, and so does who vanishes.
    writer.publish_ok(&eve.event(1, NOW, &[&["expiration", &(NOW + 5).to_string()]], "brief"));
    assert_eq!(openers.open(0, &all), (STOCK + 2, RENEWED));
    relay.clock.set(NOW + 4);
    assert_eq!(openers.open(0, &all), (STOCK + 2, SHARED));
    relay.clock.set(NOW + 5);
    assert_eq!(openers.open(0, &all), (STOCK + 1, GATHERED));
    writer.publish_ok(&eve.event(62, NOW + 5, &[&["relay", "ALL_RELAYS"]], ""));
    assert_eq!(openers.open(0, &all), (STOCK, GATHERED));
    // Of more changes than are kept nothing is known.
    for number in 0..1_025 {
        writer.submit(&ann.event(20, NOW, &[], &number.to_string()));
        assert_eq!(writer.receive()[2], true);
    }
    assert_eq!(openers.open(0, &all), (STOCK, GATHERED));
}

/// Something happens: events of all sorts come and go.
fn step(relay: &TestRelay, chance: &mut Chance, writer: &mut Client, known: &mut Vec<Event>, now: &mut u64) {
    let [ann, bob, eve, owner] = [ANN, BOB, EVE, OWNER].map(Person::new);
    let person = if chance.percent(50) { &ann } else { &eve };
    let text = known.len().to_string();
    let some = (!known.is_empty()).then(|| chance.pick(known).clone());
    let at = *now - chance.below(600);
    let event = match (chance.below(12), some) {
        (0..=3, _) => person.event(1, at, &[], &text),
        (4, _) => ann.event(4, at, &[&["p", &bob.hex()]], &text),
        (5, _) => person.event(0, *now, &[], &text),
        (6, _) => person.event(1, *now, &[&["expiration", &(*now + 2).to_string()]], &text),
        (7..=8, Some(some)) => {
            let author = if some.pubkey == ann.key() { &ann } else { &eve };
            author.event(5, *now, &[&["e", &some.id.to_string()]], &text)
        }
        (9, Some(some)) if chance.percent(15) => {
            let id = json!([some.id.to_string()]);
            relay.call_ok(&owner, if chance.percent(50) { "banevent" } else { "unbanevent" }, id);
            return;
        }
        (10, _) => {
            *now += 1;
            relay.clock.set(*now);
            return;
        }
        _ => return,
    };
    if writer.publish(&event).0 {
        known.push(event);
    }
}

#[test]
fn whatever_comes_and_goes_everybody_reconciles_what_they_may_see() {
    let seed = Chance::seeds(&[])[0];
    println!("PLAZA_SEED={seed}");
    let mut chance = Chance::new(seed);
    let relay = stocked(STOCK);
    let mut openers = Openers::new(&relay, &[&[], &[], &[BOB], &[EVE], &[BOB, EVE]]);
    let mut writer = relay.connect_as(&[&Person::new(ANN), &Person::new(EVE)]);
    let filters = [
        json!({}),
        json!({"kinds": [1, 4]}),
        json!({"authors": [Person::new(ANN).hex(), Person::new(EVE).hex()]}),
        json!({"kinds": [0, 1], "until": NOW - 1}),
        json!({"since": NOW - 2_000}),
    ];
    let (mut known, mut now, mut how) = (Vec::new(), NOW, [0; 3]);
    for _ in 0..STEPS {
        (0..chance.below(4)).for_each(|_| step(&relay, &mut chance, &mut writer, &mut known, &mut now));
        let (who, filter) = (chance.below(5) as usize, chance.pick(&filters).clone());
        let (_, begun) = openers.open(who, &filter);
        how.iter_mut().zip(begun).for_each(|(how, begun)| *how += begun);
    }
    println!("gathered, renewed, shared: {how:?}");
    assert!(how.iter().all(|times| *times > 0), "{how:?}");
}

/// What became of a writer's notes so far.
#[derive(Clone, Default)]
struct Notes {
    sent: BTreeSet<Id>,
    stored: BTreeSet<Id>,
    /// To be removed, and removed for sure.
    doomed: BTreeSet<Id>,
    removed: BTreeSet<Id>,
}

#[test]
fn who_opens_while_events_come_and_go_misses_none_and_gets_none_back() {
    let seed = Chance::seeds(&[])[0];
    println!("PLAZA_SEED={seed}");
    let relay = stocked(STOCK);
    let (notes, is_over) = (Mutex::new(Notes::default()), AtomicBool::new(false));
    let read = || notes.lock().expect("nobody panics").clone();
    let write = |change: &mut dyn FnMut(&mut Notes)| change(&mut notes.lock().expect("nobody panics"));
    let filter = json!({"kinds": [1]});
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut chance = Chance::new(seed);
            let (eve, mut writer) = (Person::new(EVE), relay.connect());
            let mut number = 0;
            while !is_over.load(Ordering::Relaxed) {
                number += 1;
                let left: Vec<Id> = read().stored.difference(&read().doomed).copied().collect();
                if left.is_empty() || chance.percent(60) {
                    let note = eve.event(1, NOW - chance.below(400), &[], &format!("{number}"));
                    write(&mut |notes| {
                        notes.sent.insert(note.id);
                    });
                    writer.publish_ok(&note);
                    write(&mut |notes| {
                        notes.stored.insert(note.id);
                    });
                } else {
                    let id = *chance.pick(&left);
                    write(&mut |notes| {
                        notes.doomed.insert(id);
                    });
                    writer.publish_ok(&eve.event(5, NOW, &[&["e", &id.to_string()]], &number.to_string()));
                    write(&mut |notes| {
                        notes.removed.insert(id);
                    });
                }
            }
        });
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = relay.connect();
                    for _ in 0..40 {
                        let before = read();
                        let told = reconciled(&mut client, &filter).expect("it is answered");
                        let after = read();
                        let must = before.stored.difference(&after.doomed);
                        must.for_each(|id| assert!(told.contains(id), "{id} is missing"));
                        let strange = told.iter().filter(|id| after.sent.contains(*id));
                        strange.for_each(|id| assert!(!before.removed.contains(id), "{id} is back"));
                        let stock = told.iter().filter(|id| !after.sent.contains(*id)).count() as u64;
                        assert_eq!(stock, STOCK);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|ended| ended.expect("what it was told is right"));
    });
    let [gathered, renewed, shared] = begun(&relay);
    println!("gathered {gathered}, renewed {renewed}, shared {shared}");
    assert_eq!(gathered + renewed + shared, 160);
    assert!(renewed > 0);
}
