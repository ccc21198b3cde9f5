//! The chain by itself: random plugins, connections and answers against what must hold; and its parts one at a time.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Chain, Coming, Effect, Health, Room};
use crate::config::{Command, KindSet, Mode, Plugin, Plugins, WhenDead};
use crate::event::{Id, Kind};
use crate::pipeline::fair::Source;
use crate::plugin::wire::{Answer, Verdict};
use crate::rule::{Prefix, Refusal};
use crate::splitmix::SplitMix;

const ROOM: Room = Room { shared: 1 << 30, most: 1 << 30 };

/// Its connection, its number there, and its id.
type Work = (usize, u64, Id);

fn plugin(name: &str, in_flight_max: usize, when_dead: WhenDead) -> Plugin {
    Plugin {
        command: Command::Line(name.to_owned()),
        name: String::new(),
        timeout_milliseconds: 1_000,
        in_flight_max,
        when_dead,
        kinds: KindSet::default(),
        folder: std::path::PathBuf::new(),
    }
}

fn id(number: u64) -> Id {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_le_bytes());
    Id(id)
}

fn source(connection: usize) -> Source {
    Source { address: IpAddr::from([192, 0, 2, (connection % 3) as u8]), connection }
}

fn coming(connection: usize, number: u64, kind: u16) -> Coming<Work> {
    let id = id(number);
    let work = (connection, number, id);
    let kind = Kind(kind);
    Coming { work, source: source(connection), id, kind, bytes: 100, is_exempt: kind == Kind::VANISH }
}

fn chain(plugins: Vec<Plugin>, now: Instant) -> Chain<Work> {
    let mut chain = Chain::new();
    let count = plugins.len();
    chain.reconfigure(&Plugins { mode: Mode::Enforce, chain: plugins }, now);
    (0..count).for_each(|at| chain.set_health(at, Health::Ready, now));
    chain
}

fn reject() -> Verdict {
    Verdict::Reject(Refusal::new(Prefix::Blocked, "plugins.chain", "no"))
}

/// What came out of it, and what plugins were asked.
#[derive(Default)]
struct Seen {
    passed: Vec<Work>,
    over: HashSet<u64>,
    asked: Vec<(usize, Id)>,
}

impl Seen {
    fn look(&mut self, chain: &mut Chain<Work>) {
        for effect in chain.effects() {
            let over = match effect {
                Effect::Ask(at, ticket) => {
                    self.asked.push((at, chain.work(ticket).expect("it is there").2));
                    continue;
                }
                Effect::Hangs(_) | Effect::Shadowed(_) => continue,
                Effect::Pass(work) => {
                    self.passed.push(work);
                    work
                }
                Effect::Refuse(work, _) | Effect::Feign(work) => work,
            };
            assert!(self.over.insert(over.1), "{} is answered twice", over.1);
        }
    }
}

/// A chain of random plugins, and what is under way there.
struct Trial {
    dice: SplitMix,
    now: Instant,
    plugins: Vec<Plugin>,
    chain: Chain<Work>,
    seen: Seen,
    /// How many events have come.
    came: u64,
    /// What plugins were asked and have not answered.
    open: Vec<(usize, Id)>,
}

impl Trial {
    fn new(seed: u64) -> Trial {
        let (mut dice, now) = (SplitMix(seed), Instant::now());
        let one = |at: u64, dice: &mut SplitMix| {
            let when_dead = if dice.below(2) == 0 { WhenDead::Refuse } else { WhenDead::Accept };
            plugin(&format!("p{at}"), 1 + dice.below(6) as usize, when_dead)
        };
        let count = 1 + dice.below(3);
        let plugins: Vec<Plugin> = (0..count).map(|at| one(at, &mut dice)).collect();
        let chain = chain(plugins.clone(), now);
        Trial { dice, now, plugins, chain, seen: Seen::default(), came: 0, open: Vec::new() }
    }

    fn below(&mut self, most: usize) -> usize {
        self.dice.below(most as u64) as usize
    }

    fn step(&mut self) {
        match self.below(12) {
            0..=4 => {
                let kind = if self.below(20) == 0 { Kind::VANISH.0 } else { 1 };
                let coming = coming(self.below(5), self.came, kind);
                self.chain.enter(coming, ROOM, self.now);
                self.came += 1;
            }
            5..=8 if !self.open.is_empty() => self.answer(),
            9 => {
                let later = self.below(700) as u64;
                self.now += Duration::from_millis(later);
                self.chain.tick(self.now);
            }
            10 => {
                let at = self.below(self.plugins.len());
                self.open.retain(|(asked, _)| *asked != at);
                self.chain.lose(at, self.now);
                let health = [Health::Ready, Health::Awaited, Health::Dead][self.below(3)];
                self.chain.set_health(at, health, self.now);
            }
            11 if self.below(4) == 0 => self.reconfigure(),
            _ => {}
        }
        self.seen.look(&mut self.chain);
        self.open.append(&mut self.seen.asked);
    }

    fn answer(&mut self) {
        let at = self.below(self.open.len());
        let (at, id) = self.open.swap_remove(at);
        let verdict = match self.below(5) {
            0 => reject(),
            1 => Verdict::ShadowReject,
            _ => Verdict::Accept,
        };
        self.chain.answer(at, Answer { id, verdict }, self.now);
    }

    /// Another order, and another setting of one.
    fn reconfigure(&mut self) {
        self.plugins.rotate_left(1);
        let at = self.below(self.plugins.len());
        self.plugins[at].timeout_milliseconds += 1;
        let plugins = Plugins { mode: Mode::Enforce, chain: self.plugins.clone() };
        let came_from = self.chain.reconfigure(&plugins, self.now);
        assert_eq!(came_from.iter().filter(|from| from.is_none()).count(), 1);
        let place = |at: &usize| came_from.iter().position(|from| *from == Some(*at));
        self.open = self.open.iter().filter_map(|(at, id)| Some((place(at)?, *id))).collect();
        (0..self.plugins.len()).for_each(|at| self.chain.set_health(at, Health::Ready, self.now));
    }

    fn judge(mut self) {
        self.chain.cut();
        self.seen.look(&mut self.chain);
        assert!(self.chain.is_empty() && self.chain.bytes == 0 && self.chain.order.is_empty());
        assert!(self.chain.bytes_by_address.is_empty());
        assert_eq!(self.seen.over.len() as u64, self.came);
        let mut last: HashMap<usize, u64> = HashMap::new();
        for (connection, number, _) in &self.seen.passed {
            let before = last.insert(*connection, *number);
            assert!(before.is_none_or(|before| before < *number), "{:?}", self.seen.passed);
        }
        assert!(!self.seen.passed.is_empty());
    }
}

/// Whatever plugins say, in whatever order, or do not say: each event has one answer, and what goes on of one
/// connection does so in its order.
#[test]
fn each_event_has_one_answer_and_each_connection_its_order() {
    let seed = std::env::var("PLAZA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
    for round in 0..200 {
        println!("PLAZA_SEED={seed}, round {round}");
        let mut trial = Trial::new(seed * 1_000 + round);
        (0..400).for_each(|_| trial.step());
        trial.judge();
    }
}

#[test]
fn so_many_are_asked_about_at_once_and_others_wait() {
    let now = Instant::now();
    let mut chain = chain(vec![plugin("one", 3, WhenDead::Refuse)], now);
    let mut seen = Seen::default();
    (0..10).for_each(|number| chain.enter(coming(0, number, 1), ROOM, now));
    seen.look(&mut chain);
    assert_eq!(seen.asked.len(), 3);
    // The last one asked is answered first: nothing goes on before the first one, and one more is asked about.
    chain.answer(0, Answer { id: id(2), verdict: Verdict::Accept }, now);
    seen.look(&mut chain);
    assert_eq!((seen.asked.len(), seen.passed.len()), (4, 0));
    chain.answer(0, Answer { id: id(0), verdict: Verdict::Accept }, now);
    chain.answer(0, Answer { id: id(1), verdict: reject() }, now);
    seen.look(&mut chain);
    assert_eq!(seen.passed.iter().map(|work| work.1).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(seen.asked.len(), 6);
}

#[test]
fn several_requests_about_one_event_are_answered_in_their_order() {
    let now = Instant::now();
    let mut chain = chain(vec![plugin("one", 3, WhenDead::Refuse)], now);
    let mut same = coming(1, 8, 1);
    (same.id, same.work.2) = (id(7), id(7));
    chain.enter(coming(0, 7, 1), ROOM, now);
    chain.enter(same, ROOM, now);
    chain.effects();
    chain.answer(0, Answer { id: id(7), verdict: Verdict::Accept }, now);
    chain.answer(0, Answer { id: id(7), verdict: reject() }, now);
    let effects = chain.effects();
    assert!(matches!(effects[..], [Effect::Pass((0, 7, _)), Effect::Refuse((1, 8, _), _)]), "{effects:?}");
    chain.answer(0, Answer { id: id(7), verdict: Verdict::Accept }, now);
    assert_eq!(chain.effects(), []);
    assert_eq!(chain.plugins().next().expect("one").1.numbers().nonsense, 1);
}

#[test]
fn a_request_in_vain_keeps_its_place_until_it_is_answered_or_forgotten() {
    let began = Instant::now();
    let second = Duration::from_secs(1);
    let mut chain = chain(vec![plugin("one", 2, WhenDead::Accept)], began);
    let mut seen = Seen::default();
    (0..4).for_each(|number| chain.enter(coming(number as usize, number, 1), ROOM, began));
    seen.look(&mut chain);
    assert_eq!(chain.next_due(), Some(began + second));
    chain.answer(0, Answer { id: id(1), verdict: Verdict::Accept }, began + second / 2);
    seen.look(&mut chain);
    assert_eq!(seen.asked.len(), 3);
    chain.tick(began + second);
    // It answered meanwhile, so it does not hang; the event goes on without it.
    let effects = chain.effects();
    assert!(matches!(effects[..], [Effect::Pass((0, 0, _))]), "{effects:?}");
    // Its place is not free, though, before its late answer.
    chain.answer(0, Answer { id: id(0), verdict: reject() }, began + second);
    seen.look(&mut chain);
    assert_eq!(seen.asked.len(), 4);
    // Now nothing at all is said for a second.
    chain.tick(began + 3 * second);
    let effects = chain.effects();
    assert!(effects.contains(&Effect::Hangs(0)), "{effects:?}");
    assert_eq!(chain.plugins().next().expect("one").1.numbers().in_flight, 2);
    chain.tick(began + 12 * second);
    assert_eq!(chain.plugins().next().expect("one").1.numbers().in_flight, 0);
    assert_eq!(chain.next_due(), None);
}

#[test]
fn who_fills_the_room_is_refused_and_others_are_not() {
    let now = Instant::now();
    let mut chain = chain(vec![plugin("one", 2, WhenDead::Refuse)], now);
    let room = Room { shared: 1_000, most: 4_000 };
    let mut enter = |connection: usize, number: u64| {
        chain.enter(coming(connection, number, 1), room, now);
        !chain.effects().iter().any(|effect| matches!(effect, Effect::Refuse(..)))
    };
    assert_eq!((0..20).filter(|number| enter(0, *number)).count(), 10);
    assert_eq!((20..40).filter(|number| enter(1, *number)).count(), 5);
    assert_eq!((40..60).filter(|number| enter(2, *number)).count(), 3);
    // Connection 3 is at the address of connection 0.
    assert!(!enter(3, 60));
}

#[test]
fn in_shadow_mode_all_goes_on_and_it_is_told() {
    let now = Instant::now();
    let mut chain = Chain::new();
    chain.reconfigure(&Plugins { mode: Mode::Shadow, chain: vec![plugin("one", 4, WhenDead::Refuse)] }, now);
    chain.set_health(0, Health::Ready, now);
    (0..3).for_each(|number| chain.enter(coming(0, number, 1), ROOM, now));
    chain.effects();
    chain.answer(0, Answer { id: id(0), verdict: reject() }, now);
    chain.answer(0, Answer { id: id(1), verdict: Verdict::ShadowReject }, now);
    chain.lose(0, now);
    let effects = chain.effects();
    let told = effects.iter().filter(|effect| matches!(effect, Effect::Shadowed(_))).count();
    let passed = effects.iter().filter(|effect| matches!(effect, Effect::Pass(_))).count();
    assert_eq!((told, passed, effects.len()), (3, 3, 6), "{effects:?}");
}
