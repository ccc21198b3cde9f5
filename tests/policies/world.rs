//! One seed: a relay of random communities, connections with and without keys, and random events. Before each event
//! is sent its fate is explained, and what it then meets must be the same to the letter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plaza::community::{Community, Rules};
use plaza::config::{Config, Durability, Limits, Mode};
use plaza::domain::proxy::origins;
use plaza::event::{Event, Id, KindClass, PublicKey};
use plaza::filter::Filter;
use plaza::nips::nip40;
use plaza::policy::{Explanation, Policy, head_of, is_marked_for_followers, mode_of, rules};
use plaza::rule::{Check, Context, Decision, Head, Refusal, RelayNames};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Person, TestRelay, json_of};
use crate::events::Maker;
use crate::random::{Chance, random_filters};
use crate::settings::{BRIDGE, RELAY, Theme, path_of, relay_toml};
use crate::viewer::{Heard, Viewer};

/// The person who owns every community.
const MAYOR: u32 = 30;

/// Communities of one relay, its root among them, whose themes come in turn.
const COMMUNITIES: usize = 4;

/// Two more, of groups and of members; each has chances of its own.
const APART: [Theme; 2] = [Theme::Groups, Theme::Members];
const GROUPS: usize = COMMUNITIES;
const MEMBERS: usize = COMMUNITIES + 1;

/// Events that it is sent for each one of the others: what groups are comes of many.
const GROUPS_STEPS: usize = 2;

pub(crate) struct World {
    relay: TestRelay,
    chance: Chance,
    /// What moderators do is drawn by itself.
    whim: Chance,
    /// The chances of the communities apart: they change places with the others when one's turn comes.
    others: [[Chance; 2]; APART.len()],
    towns: Vec<Town>,
    /// How often each rule refused, or hid something.
    spoke: BTreeMap<&'static str, u64>,
    now: u64,
    _folder: TempDir,
}

/// A community, and what happened there.
struct Town {
    theme: Theme,
    community: Arc<Community>,
    /// Every event that was sent there, taken or not.
    known: Vec<Event>,
    /// The call that takes back what moderators said last.
    said: Option<(&'static str, Value)>,
    viewers: Vec<Viewer>,
}

/// The settings of a seed; they read back from what they are written as.
fn config_of(chance: &mut Chance, apart: [&mut Chance; 2], themes: &[Theme], folder: &TempDir) -> Config {
    let text = relay_toml(chance, apart, themes, folder.path());
    let load = |text: &str| {
        let file = folder.path().join("relay.toml");
        std::fs::write(&file, text).expect("a file");
        Config::load(&file).unwrap_or_else(|error| panic!("{error}\n{text}"))
    };
    let config = load(&text);
    assert!(load(&config.to_toml()) == config, "{text}\nreads back otherwise:\n{}", config.to_toml());
    config
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut chance = Chance::new(seed);
        // All themes come in turn, from seed to seed.
        let at = |number: usize| Theme::ALL[(seed as usize * COMMUNITIES + number) % Theme::ALL.len()];
        let themes: Vec<Theme> = (0..COMMUNITIES).map(at).chain(APART).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let mut others = [32, 16]
            .map(|by| [seed.rotate_left(by), !seed.rotate_left(by)])
            .map(|pair| pair.map(Chance::new));
        let [[groups, _], [members, _]] = &mut others;
        let parsed = config_of(&mut chance, [groups, members], &themes, &folder);
        let relay = TestRelay::with(|config| {
            (config.root, config.communities) = (parsed.root, parsed.communities);
            let all = std::iter::once(&mut config.root).chain(&mut config.communities);
            all.for_each(|settings| settings.admin.owners = [Person::new(MAYOR).key()].into_iter().collect());
            config.store.durability = Durability::Process;
            // Sweeps come when the test asks for them, so that what is stored changes with events alone.
            config.nip40.sweep_seconds = 86_400;
            config.nip62.sweep_events_per_second = 1_000_000;
        });
        let town = |(number, theme): (usize, Theme)| {
            let path = path_of(number);
            let community = relay.relay().communities().at(&path).expect("a community");
            let connections: [&[u32]; 4] = [&[], &[0], &[1, 2], &[BRIDGE]];
            let viewers = connections.map(|people| {
                let people: Vec<Person> = people.iter().copied().map(Person::new).collect();
                Viewer::new(&relay, &path, &people)
            });
            let mut town = Town { theme, community, known: Vec::new(), said: None, viewers: viewers.into() };
            // Who the members are was said at the start.
            town.known = town.said_by_relay(&relay, relay.clock.now());
            town
        };
        let towns = themes.into_iter().enumerate().map(town).collect();
        let now = relay.clock.now();
        let whim = Chance::new(!seed);
        World { relay, chance, whim, others, towns, spoke: BTreeMap::new(), now, _folder: folder }
    }

    /// Sends so many events to each community; returns how often each rule spoke.
    pub(crate) fn run(mut self, events: usize) -> BTreeMap<&'static str, u64> {
        self.relay.relay().sweep_now();
        for town in 0..self.towns.len() {
            self.listen(town);
        }
        for step in 1..=events * COMMUNITIES {
            self.step(step % COMMUNITIES);
            if self.chance.percent(5) {
                self.now += 1 + self.chance.below(2);
                self.relay.clock.set(self.now);
            }
            if step % COMMUNITIES == 0 {
                self.apart(GROUPS, |world| (0..GROUPS_STEPS).for_each(|_| world.step(GROUPS)));
                self.apart(MEMBERS, |world| world.step(MEMBERS));
            }
        }
        (0..COMMUNITIES).for_each(|town| self.look(town));
        [GROUPS, MEMBERS].into_iter().for_each(|town| self.apart(town, |world| world.look(town)));
        self.spoke
    }

    /// Something happens in a town.
    fn step(&mut self, town: usize) {
        self.publish(town);
        if self.whim.percent(4) {
            self.moderate(town);
        }
        if self.chance.percent(20) {
            self.ask(town);
        }
    }

    /// A last look at a town.
    fn look(&mut self, town: usize) {
        self.moderate(town);
        self.ask(town);
        self.look_at_hidden(town);
    }

    /// Does something by the chances of a community apart.
    fn apart(&mut self, town: usize, run: impl FnOnce(&mut World)) {
        let swap = |world: &mut World| {
            let [chance, whim] = &mut world.others[town - COMMUNITIES];
            std::mem::swap(&mut world.chance, chance);
            std::mem::swap(&mut world.whim, whim);
        };
        swap(self);
        run(self);
        swap(self);
    }

    /// The moderators of a community take back what they said, and say something else.
    fn moderate(&mut self, at: usize) {
        self.relay.relay().learn_now();
        let World { relay, whim, towns, now, .. } = self;
        let town = &mut towns[at];
        let before = town.community.rules();
        if let Some((method, about)) = town.said.take() {
            town.call(relay, method, json!([about]));
        }
        town.hear_said(relay, &before, *now);
        // What the relay itself says is its own.
        let own = Person::new(RELAY).key();
        let stored: Vec<&Event> = town.stored().filter(|event| event.pubkey != own).collect();
        if stored.is_empty() && town.theme != Theme::Members {
            return;
        }
        let before = town.community.rules();
        if town.theme == Theme::Members && (stored.is_empty() || whim.percent(70)) {
            town.admit_somebody(relay, whim);
            return town.hear_said(relay, &before, *now);
        }
        let event = *whim.pick(&stored);
        // Who is banned is sent away; those who watch must stay.
        let watches = town.viewers.iter().any(|viewer| viewer.keys.contains(&event.pubkey));
        let (ban, lift, about) = match whim.below(4) {
            0 => ("disallowkind", "allowkind", json!(event.kind.0)),
            1 if !watches => ("banpubkey", "unbanpubkey", json!(event.pubkey.to_string())),
            _ => ("banevent", "unbanevent", json!(event.id.to_string())),
        };
        town.call(relay, ban, json!([about]));
        town.said = Some((lift, about));
        town.hear_said(relay, &before, *now);
    }

    fn heard_refusal(&mut self, said: &str) {
        let rule = rules().map(|rule| rule.id).find(|id| said.ends_with(&format!(" ({id})")));
        rule.into_iter().for_each(|rule| *self.spoke.entry(rule).or_default() += 1);
    }

    fn listen(&mut self, town: usize) {
        for number in 0..self.towns[town].viewers.len() {
            let town = &mut self.towns[town];
            let said = town.viewers[number].listen();
            let (asked, keys) = ([json!({"limit": 0})], &town.viewers[number].keys);
            let expected = refusal_of_query(&town.community, &asked, self.now, keys);
            assert_eq!(said, expected.map(|refusal| refusal.to_string()));
        }
    }

    fn publish(&mut self, at: usize) {
        let World { relay, chance, towns, now, spoke, .. } = self;
        let town = &mut towns[at];
        let codes = crate::members::codes(&town.community);
        let event = Maker { chance, now: *now, known: &town.known, codes: &codes }.event(town.theme);
        let sender = town.sender(chance, &event);
        relay.relay().learn_now();
        let before = town.community.rules();
        let keys = town.viewers[sender].keys.clone();
        let explained = relay.relay().explain(&town.community, &event, &keys).expect("the store is read");
        let answer = town.viewers[sender].publish(&event);
        let path = town.community.path().to_owned();
        let told = || format!("{} in {path:?} by {keys:?}: {:?}", json_of(&event), explained.steps);
        let done = with_context(&before, *now, &keys, |context| crate::members::answer(&event, context));
        assert_eq!(answer, answer_of(&explained, done.as_deref()), "{}", told());
        let shown = ShownOnFailure(&told);
        // What is kept for those who come late is passed on once.
        let is_copy = town.known.iter().any(|known| known.id == event.id);
        town.known.push(event.clone());
        let is_new = answer == (true, String::new());
        if is_new || answer.0 && done.is_some() {
            relay.relay().learn_now();
            let said = town.said_by_relay(relay, *now);
            if is_new {
                town.expect(&before, &event, is_copy, *now);
            }
            said.iter().for_each(|event| town.expect(&before, event, false, *now));
            town.viewers.iter_mut().for_each(Viewer::hear_all);
            town.known.extend(said);
            let times = [
                ("people who joined", done.iter().any(|done| done.starts_with("info: welcome")).into()),
                ("people who left", done.iter().any(|done| done == "info: you are a member no more").into()),
                ("subscriptions that ended", town.assert_ended(*now)),
            ];
            times.into_iter().for_each(|(what, times)| *spoke.entry(what).or_default() += times);
            if event.kind.0 == 62 {
                relay.relay().sweep_now();
                assert_eq!(town.said_by_relay(relay, *now), [], "all was said with the event");
            }
        }
        drop(shown);
        if !answer.0 {
            self.heard_refusal(&answer.1);
        }
    }

    fn ask(&mut self, at: usize) {
        self.relay.relay().learn_now();
        let World { chance, towns, now, .. } = self;
        let town = &mut towns[at];
        let filters = questions(chance, *now, &town.known, town.theme);
        let number = chance.below(town.viewers.len() as u64) as usize;
        let keys = town.viewers[number].keys.clone();
        let refusal = refusal_of_query(&town.community, &filters, *now, &keys);
        let expected: BTreeSet<Id> =
            if refusal.is_some() { BTreeSet::new() } else { town.seen(&filters, *now, &keys) };
        let told = format!("{filters:?} in {:?} by {keys:?}", town.community.path());
        let heard = town.viewers[number].ask(&filters);
        let counted = town.viewers[number].count(&filters);
        let said = match heard {
            Heard::Closed(said) => Some(said),
            Heard::Events(events) => {
                let (replayed, stored): (Vec<Event>, Vec<Event>) =
                    events.into_iter().partition(|event| event.kind.class() == KindClass::Ephemeral);
                let ids: BTreeSet<Id> = stored.iter().map(|event| event.id).collect();
                assert_eq!(ids, expected, "{told}");
                assert_eq!(ids.len(), stored.len(), "twice: {told}");
                town.assert_visible(&replayed, &filters, *now, &keys);
                None
            }
        };
        assert_eq!(said, refusal.as_ref().map(Refusal::to_string), "{told}");
        // What is answered need not be counted.
        let uncounted = refusal_of(&town.community, &filters, *now, &keys, |policy, filters, context| {
            policy.admit_count(filters, context, &mut |_| {})
        });
        let uncounted = uncounted.filter(|_| refusal.is_none()).map(|refusal| refusal.to_string());
        match counted {
            Ok(count) => {
                assert_eq!((count, &said, &uncounted), (expected.len() as u64, &None, &None), "{told}")
            }
            Err(why) => assert_eq!(Some(why), said.clone().or_else(|| uncounted.clone()), "{told}"),
        }
        uncounted.into_iter().for_each(|said| self.heard_refusal(&said));
        said.into_iter().for_each(|said| self.heard_refusal(&said));
    }

    /// Which rules hide some of what is stored from somebody. None hides an event of a kind of which it says that it hides
    /// none, but those that are counted one by one anyway.
    fn look_at_hidden(&mut self, at: usize) {
        let town = &self.towns[at];
        let asked = town.community.rules();
        let config = &asked.settings;
        let hiding = rules()
            .filter(|rule| (rule.sentence)(config).is_some() && mode_of(rule, config) == Mode::Enforce);
        for rule in hiding {
            let Check::Visible { shown: visible, hides: may_hide } = rule.check else { continue };
            let hides = |viewer: &Viewer| {
                with_context(&asked, self.now, &viewer.keys, |context| {
                    let hidden = town.stored().filter(|event| !visible(&head_of(event), context));
                    let hidden: Vec<&Event> = hidden.collect();
                    let is_told = |event: &&&Event| {
                        may_hide(event.kind, context)
                            || nip40::expires_at(event).is_some()
                            || is_marked_for_followers(&event.tags)
                            || origins(&event.tags).next().is_some()
                    };
                    assert_eq!(hidden.iter().find(|event| !is_told(event)), None, "{}", rule.id);
                    !hidden.is_empty()
                })
            };
            if town.viewers.iter().any(hides) {
                *self.spoke.entry(rule.id).or_default() += 1;
            }
        }
    }
}

impl Town {
    /// Who sends an event. Among members mostly who wrote it, if they are there: nobody else may ask to join for them.
    fn sender(&self, chance: &mut Chance, event: &Event) -> usize {
        let wrote = self.viewers.iter().position(|viewer| viewer.keys.contains(&event.pubkey));
        match wrote.filter(|_| self.theme == Theme::Members && chance.percent(75)) {
            Some(wrote) => wrote,
            None => chance.below(self.viewers.len() as u64) as usize,
        }
    }

    /// The mayor calls a method of the management API, which carries it out.
    fn call(&self, relay: &TestRelay, method: &str, params: Value) -> Value {
        let (status, mut answer) =
            relay.call_at(self.community.path(), &Person::new(MAYOR), method, params.clone());
        assert!(status == 200 && answer["error"].is_null(), "{method} {params}: {status} {answer}");
        answer["result"].take()
    }

    /// Moderators make codes and take them back, and say who is a member.
    fn admit_somebody(&self, relay: &TestRelay, whim: &mut Chance) {
        let codes = crate::members::codes(&self.community);
        let person = json!([whim.person().hex()]);
        match whim.below(6) {
            0 if !codes.is_empty() => drop(self.call(relay, "deleteclaim", json!([whim.pick(&codes)]))),
            1 => drop(self.call(relay, "allowpubkey", person)),
            2 => drop(self.call(relay, "unallowpubkey", person)),
            _ if codes.is_empty() => drop(self.call(relay, "createclaim", json!([1 + whim.below(3)]))),
            _ => {}
        }
    }

    /// What the relay says of itself after a decision comes to everybody who may see it.
    fn hear_said(&mut self, relay: &TestRelay, before: &Rules, now: u64) {
        relay.relay().learn_now();
        if self.theme != Theme::Members {
            return;
        }
        let said = self.said_by_relay(relay, now);
        said.iter().for_each(|event| self.expect(before, event, false, now));
        self.viewers.iter_mut().for_each(Viewer::hear_all);
        self.known.extend(said);
        self.assert_ended(now);
    }

    /// Subscriptions of those who may read no more are ended, and no others; who may read again asks again. How many ended.
    fn assert_ended(&mut self, now: u64) -> u64 {
        if self.theme != Theme::Members {
            return 0;
        }
        let ended = self.viewers.iter_mut().map(|viewer| {
            let refusal = refusal_of_query(&self.community, &[json!({"limit": 0})], now, &viewer.keys);
            u64::from(viewer.assert_ended(refusal.map(|refusal| refusal.to_string())))
        });
        ended.sum()
    }

    /// A new event was taken, before which these rules held: who may see it hears it.
    fn expect(&mut self, before: &Rules, event: &Event, is_copy: bool, now: u64) {
        let after = self.community.rules();
        for viewer in &mut self.viewers {
            let sees = |rules: &Rules| {
                with_context(rules, now, &viewer.keys, |context| {
                    self.community.visible(rules, &head_of(event), context)
                })
            };
            let seen = [sees(before), sees(&after)];
            if seen.contains(&true) {
                viewer.expect(event.id, is_copy || seen.contains(&false));
            }
        }
    }

    /// What the relay itself has said of groups that was not known, in the order in which it was said.
    fn said_by_relay(&self, relay: &TestRelay, now: u64) -> Vec<Event> {
        if !APART.contains(&self.theme) {
            return Vec::new();
        }
        let own = Some(vec![Person::new(RELAY).key()]);
        let filter = Filter { authors: own, since: Some(now), ..Filter::default() };
        let mut said = relay.relay().stored_events(&self.community, &filter).expect("the store is read");
        said.retain(|event| self.known.iter().all(|known| known.id != event.id));
        said
    }

    fn stored(&self) -> impl Iterator<Item = &Event> {
        let is_stored = |event: &&Event| self.community.index().contains(&event.id);
        // A forgery may bear the id of a stored event, but comes after it.
        let mut seen = BTreeSet::new();
        self.known.iter().filter(is_stored).filter(move |event| seen.insert(event.id))
    }

    /// The stored events that match and that these keys may see.
    fn seen(&self, filters: &[Value], now: u64, keys: &[PublicKey]) -> BTreeSet<Id> {
        let filters = parsed(&self.community, filters);
        let rules = self.community.rules();
        with_context(&rules, now, keys, |context| {
            let is_seen = |event: &&Event| {
                let vanished = self.community.index().facts(event).vanished;
                let head = Head { vanished, ..head_of(event) };
                // What one filter comes across another one may name.
                filters.iter().filter(|filter| filter.matches(event)).any(|filter| {
                    let asked = filter.names_events_or_authors();
                    self.community.visible(&rules, &head, &Context { asked, ..*context })
                })
            };
            self.stored().filter(is_seen).map(|event| event.id).collect()
        })
    }

    fn assert_visible(&self, events: &[Event], filters: &[Value], now: u64, keys: &[PublicKey]) {
        let filters = parsed(&self.community, filters);
        let rules = self.community.rules();
        with_context(&rules, now, keys, |context| {
            for event in events {
                let matching = filters.iter().filter(|filter| filter.matches(event));
                let mut contexts =
                    matching.map(|filter| Context { asked: filter.names_events_or_authors(), ..*context });
                let is_visible =
                    contexts.any(|context| self.community.visible(&rules, &head_of(event), &context));
                assert!(is_visible, "replayed: {}", json_of(event));
            }
        });
    }
}

/// Tells what was going on when what follows fails.
struct ShownOnFailure<'t>(&'t dyn Fn() -> String);

impl Drop for ShownOnFailure<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", (self.0)());
        }
    }
}

/// What the wire says, if the explanation is right; `done` of an event that is carried out, and not stored.
fn answer_of(explained: &Explanation, done: Option<&str>) -> (bool, String) {
    match &explained.decision {
        Err(refusal) => (false, refusal.to_string()),
        Ok(()) if done.is_some() => (true, done.unwrap_or_default().to_owned()),
        Ok(()) if explained.is_duplicate => (true, "duplicate: already have this event".to_owned()),
        Ok(()) => (true, String::new()),
    }
}

fn with_context<T>(rules: &Rules, now: u64, keys: &[PublicKey], run: impl FnOnce(&Context<'_>) -> T) -> T {
    // No rule about what is shown looks at the relay's names.
    run(&rules.context(now, keys, &RelayNames::default()))
}

/// Filters as the community reads them.
fn parsed(community: &Community, filters: &[Value]) -> Vec<Filter> {
    let read = |filter: &Value| Filter::from_json(&filter.to_string()).expect("a filter");
    let mut filters: Vec<Filter> = filters.iter().map(read).collect();
    community.read_places(&mut filters);
    filters
}

fn refusal_of_query(
    community: &Community,
    filters: &[Value],
    now: u64,
    keys: &[PublicKey],
) -> Option<Refusal> {
    refusal_of(community, filters, now, keys, |policy, filters, context| {
        policy.admit_query("asked", filters, context, &mut |_| {})
    })
}

/// What refuses a query, if anything does: `ask` asks the rules.
fn refusal_of(
    community: &Community,
    filters: &[Value],
    now: u64,
    keys: &[PublicKey],
    ask: impl FnOnce(&Policy, &[Filter], &Context<'_>) -> Decision,
) -> Option<Refusal> {
    let read = |filter: &Value| Filter::from_json(&filter.to_string()).expect("a filter");
    let filters: Vec<Filter> = filters.iter().map(read).collect();
    let rules = community.rules();
    with_context(&rules, now, keys, |context| ask(&rules.policy, &filters, context).err())
}

/// Filters whose limit is as high as can be, so that everything that matches must come.
fn questions(chance: &mut Chance, now: u64, known: &[Event], theme: Theme) -> Vec<Value> {
    let mut filters = match chance.below(10) {
        0..=5 if theme == Theme::Groups => vec![crate::groups::question(chance)],
        0..=5 if theme == Theme::Members => vec![crate::members::question(chance)],
        0..=2 => vec![json!({})],
        3 => vec![json!({"kinds": [4, 1_059]})],
        4 => vec![json!({"kinds": [*chance.pick(&[1, 20, 1_111])]})],
        5 => vec![json!({"#g": ["u33d*", *chance.pick(&["~u33dc0", "u33a*"])]})],
        _ => random_filters(chance, now, known),
    };
    // Everything is asked for, however much a long run has stored: the relay's own limit would cut it.
    for filter in filters.iter_mut().filter_map(Value::as_object_mut) {
        filter.insert("limit".to_owned(), json!(Limits::default().limit_max));
    }
    filters
}
