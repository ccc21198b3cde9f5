//! One run: a relay, the model of it, clients, and chance that decides what happens next. After each
//! step what was answered and what was streamed is compared.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use plaza::config::Durability;
use plaza::event::{Event, Id};
use serde_json::{Value, json};

use crate::common::{NOW, Person, TestRelay};
use crate::ear::{Ear, Heard, parse};
use crate::oracle::{COPY, LIMIT_DEFAULT, LIMIT_MAX, Oracle, REPLAY_EVENTS_MAX, REPLAY_SECONDS};
use crate::random::{Chance, PEOPLE, forged, random_event, random_filter, random_filters};

/// Steps from one restart to the next.
const RESTART_STEPS: usize = 500;

/// Whose events tell that all earlier ones have been passed on.
const BARRIER: u32 = 1_000;
/// Whose events expire while the relay is stopped.
const PROBE: u32 = 1_001;

/// How long to wait for a state that must come.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    relay: TestRelay,
    oracle: Oracle,
    has_places: bool,
    chance: Chance,
    /// Every event that was made, sent or not.
    known: Vec<Event>,
    ears: Vec<Ear>,
    /// Who may see everything and asks for it: when it has heard an event, the event has been passed on.
    witness: Option<Ear>,
    step: usize,
}

impl World {
    /// A relay with nothing stored. Those of even seeds understand places and replay ephemeral events.
    pub(crate) fn new(seed: u64) -> World {
        let has_places = seed.is_multiple_of(2);
        let relay = TestRelay::with(|config| {
            config.root.geohash.prefix_filters = has_places;
            config.root.geohash.replay_seconds = if has_places { REPLAY_SECONDS } else { 0 };
            config.root.geohash.replay_events_max = REPLAY_EVENTS_MAX;
            config.root.limits.limit_default = LIMIT_DEFAULT;
            config.root.limits.limit_max = LIMIT_MAX;
            // The model knows when it is swept: once after each start, and when it asks for it.
            config.nip40.sweep_seconds = 86_400;
            config.nip62.sweep_events_per_second = 1_000_000;
            config.store.durability = Durability::Process;
            // So small that bodies are read from the store as well.
            config.store.body_cache_bytes = 50_000;
        });
        let oracle = Oracle::new(NOW, has_places);
        let chance = Chance::new(seed);
        World {
            relay,
            oracle,
            has_places,
            chance,
            known: Vec::new(),
            ears: Vec::new(),
            witness: None,
            step: 0,
        }
    }

    /// Takes this many steps.
    pub(crate) fn run(mut self, steps: usize) {
        self.restart();
        for step in 1..=steps {
            self.step = step;
            match self.chance.below(100) {
                0..=59 => self.publish_something(),
                60..=77 => self.ask(),
                78..=84 => self.count(),
                85..=88 => self.listen(),
                89 => self.stop_listening(),
                90..=91 => self.page(),
                92..=94 => self.pass_time(),
                95..=96 => self.sweep(),
                97 => self.authenticate(),
                _ => self.barrier(),
            }
            if step % RESTART_STEPS == 0 {
                self.restart();
            }
        }
        self.barrier();
        self.restart();
        assert!(self.oracle.stored.len() > 100, "too little was stored to prove anything");
    }

    fn ear(&mut self) -> usize {
        self.chance.below(self.ears.len() as u64) as usize
    }

    fn publish_something(&mut self) {
        let is_old = !self.known.is_empty() && self.chance.percent(20);
        let event = if is_old {
            let back = 1 + self.chance.below(self.known.len().min(80) as u64) as usize;
            self.known[self.known.len() - back].clone()
        } else {
            let event = random_event(&mut self.chance, self.oracle.now, &self.known);
            self.known.push(event.clone());
            // Some are sent only later, so that what names them comes first.
            if self.chance.percent(8) {
                return;
            }
            event
        };
        let ear = self.ear();
        if self.chance.percent(4) {
            let event = forged(&mut self.chance, &event);
            self.publish(&event, false, ear);
        } else {
            self.publish(&event, true, ear);
        }
    }

    fn publish(&mut self, event: &Event, is_true: bool, ear: usize) {
        let (ok, mut prefix) = self.oracle.publish(event, is_true, &self.ears[ear].keys);
        if ok && prefix.is_empty() {
            for ear in self.ears.iter_mut().chain(&mut self.witness) {
                if self.oracle.is_visible(event, &ear.keys) {
                    ear.expect(event);
                }
            }
        }
        if (ok, prefix) == COPY {
            prefix = "";
        }
        self.ears[ear].client.submit(event);
        let answer = self.ears[ear].answer_to(event);
        let text = String::from_utf8_lossy(&event.to_json()).into_owned();
        assert_eq!(answer, (ok, prefix.to_owned()), "step {}: {text}", self.step);
        self.ears.iter_mut().chain(&mut self.witness).for_each(Ear::hear_all);
        if event.kind.0 == 62 && ok && prefix.is_empty() {
            // What vanished is hidden at once, swept or not.
            (0..3).for_each(|_| self.ask());
            self.count();
            self.sweep();
        }
    }

    fn ask(&mut self) {
        let filters = random_filters(&mut self.chance, self.oracle.now, &self.known);
        let ear = self.ear();
        self.request(ear, "ask", &filters);
        self.ears[ear].close("ask");
    }

    /// Sends a REQ and compares the answer.
    fn request(&mut self, ear: usize, name: &str, filters: &[Value]) {
        let parsed = parse(filters, self.has_places);
        let Ear { keys, .. } = &self.ears[ear];
        let refused = self.oracle.refuses(&parsed, keys);
        let expected = self.oracle.query(&parsed, keys);
        let told = format!("step {}, keys {keys:?}: {filters:?}", self.step);
        match self.ears[ear].request(name, filters) {
            Heard::Closed(prefix) => assert_eq!(Some(prefix.as_str()), refused, "{told}"),
            Heard::Events(events, hint) => {
                let ids: Vec<Id> = events.iter().map(|event| event.id).collect();
                assert_eq!(refused, None, "{told}");
                assert_eq!(ids, expected.ids, "{told}");
                let is_whole = ids.len() == expected.whole.len();
                match hint.as_deref() {
                    Some("finish") => assert!(is_whole, "{told}"),
                    Some("more") => assert!(!is_whole, "{told}"),
                    // Of one filter it is always known.
                    None => assert!(filters.len() > 1, "{told}"),
                    other => panic!("{other:?}, {told}"),
                }
                assert!(events.iter().all(|event| self.oracle.has(event)), "{told}");
            }
        }
    }

    fn count(&mut self) {
        let filters = random_filters(&mut self.chance, self.oracle.now, &self.known);
        let parsed = parse(&filters, self.has_places);
        let ear = self.ear();
        let Ear { keys, .. } = &self.ears[ear];
        let expected = match self.oracle.refuses(&parsed, keys) {
            Some(prefix) => Err(prefix.to_owned()),
            None => Ok(self.oracle.count(&parsed, keys)),
        };
        assert_eq!(self.ears[ear].count(&filters), expected, "step {}: {filters:?}", self.step);
    }

    fn listen(&mut self) {
        let filters = random_filters(&mut self.chance, self.oracle.now, &self.known);
        let (ear, name) = (self.ear(), self.chance.below(5).to_string());
        self.request(ear, &name, &filters);
    }

    fn stop_listening(&mut self) {
        let (ear, name) = (self.ear(), self.chance.below(5).to_string());
        self.ears[ear].close(&name);
    }

    /// Reads all that a filter finds, page by page, each ending with a whole second.
    fn page(&mut self) {
        let mut filter = random_filter(&mut self.chance, self.oracle.now, &self.known);
        filter.as_object_mut().expect("an object").remove("limit");
        let ear = self.ear();
        let parsed = parse(std::slice::from_ref(&filter), self.has_places);
        if self.oracle.refuses(&parsed, &self.ears[ear].keys).is_some() {
            return;
        }
        let expected = self.oracle.query(&parsed, &self.ears[ear].keys).whole;
        let mut found = BTreeSet::new();
        loop {
            let heard = self.ears[ear].request("page", std::slice::from_ref(&filter));
            let Heard::Events(events, hint) = heard else { panic!("refused: {filter}") };
            let oldest = events.last().map(|event| event.created_at);
            for event in events {
                assert!(found.insert(event.id), "step {}: twice on pages of {filter}", self.step);
            }
            let Some(oldest) = oldest.filter(|_| hint.as_deref() == Some("more")) else { break };
            filter["until"] = json!(oldest - 1);
        }
        self.ears[ear].close("page");
        assert_eq!(found, expected, "step {}: pages of {filter}", self.step);
    }

    fn pass_time(&mut self) {
        // A copy of a message that is kept, which nobody hears, is known as one by the time of its coming.
        self.barrier();
        self.oracle.now += 1 + self.chance.below(3);
        self.relay.clock.set(self.oracle.now);
    }

    fn sweep(&mut self) {
        self.relay.relay().sweep_now();
        self.oracle.sweep();
        let index = self.relay.relay().community().index();
        for event in &self.known {
            let is_stored = self.oracle.stored.iter().any(|stored| stored.id == event.id);
            let text = String::from_utf8_lossy(&event.to_json()).into_owned();
            assert_eq!(index.contains(&event.id), is_stored, "step {}: {text}", self.step);
        }
        assert_eq!(index.len(), self.oracle.stored.len(), "step {}", self.step);
    }

    fn authenticate(&mut self) {
        let (ear, person) = (self.ear(), self.chance.person());
        // Who knows everyone's secrets proves nothing.
        if self.ears[ear].keys.is_empty() || self.ears[ear].keys.contains(&person.key()) {
            return;
        }
        // Whatever is being passed on is passed on by the keys of before.
        self.barrier();
        self.ears[ear].client.authenticate(&person, &self.relay.url(), self.oracle.now);
        self.ears[ear].keys.push(person.key());
    }

    /// Passes on an event that everyone hears: whatever was to be heard before it has been heard then.
    fn barrier(&mut self) {
        let event = Person::new(BARRIER).event(20_000, self.oracle.now, &[], &self.step.to_string());
        let ear = self.ear();
        self.publish(&event, true, ear);
    }

    /// Stops the relay and starts it again on its store, and waits for the sweep that each start makes.
    fn restart(&mut self) {
        self.ears.clear();
        self.witness = None;
        let expiration = (self.oracle.now + 1).to_string();
        let probe = Person::new(PROBE).event(1, self.oracle.now, &[&["expiration", &expiration]], "");
        self.relay.connect().publish_ok(&probe);
        assert!(self.oracle.publish(&probe, true, &[]).0);
        self.relay.stop();
        self.oracle.restart();
        self.oracle.now += 2;
        self.relay.clock.set(self.oracle.now);
        self.relay.restart();
        // The probe was stored and has expired: when it is gone the start's sweep has been.
        self.oracle.sweep();
        let deadline = Instant::now() + PATIENCE;
        while self.relay.stored() != self.oracle.stored.len() {
            assert!(Instant::now() < deadline, "{} are stored after a start", self.relay.stored());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.sweep();
        self.connect();
    }

    /// Three who have proved nothing, one key, and two keys; all hear barriers.
    fn connect(&mut self) {
        let people: Vec<Person> = (0..PEOPLE).map(Person::new).collect();
        let mut witness = Ear::new(
            self.relay.connect_as(&people.iter().collect::<Vec<_>>()),
            people.iter().map(Person::key).collect(),
            self.has_places,
        );
        witness.request("all", &[json!({})]);
        self.witness = Some(witness);
        for keys in [&[][..], &people[0..1], &people[1..3], &[]] {
            let client = self.relay.connect_as(&keys.iter().collect::<Vec<_>>());
            self.ears.push(Ear::new(client, keys.iter().map(Person::key).collect(), self.has_places));
        }
        for ear in 0..self.ears.len() {
            self.request(ear, "barrier", &[json!({"authors": [Person::new(BARRIER).hex()]})]);
        }
    }
}
