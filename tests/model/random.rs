//! Seeded chance: numbers, events and filters drawn from so few values that ties, versions, copies and
//! deletions of the same thing are common.

use plaza::event::{Event, Id, Tags};
use serde_json::{Map, Value, json};

use crate::common::dice::Dice;
use crate::common::{NOW, Person};

/// Kinds of every class; those that are stored more than once per author stand more than once.
const KINDS: [u16; 16] =
    [1, 1, 1, 1, 7, 4, 1_059, 1_059, 0, 3, 10_002, 30_023, 30_023, 30_402, 20_001, 21_059];

const IDENTIFIERS: [&str; 3] = ["", "x", "y:z"];
const TOPICS: [&str; 4] = ["bread", "fish", "Fish", ""];
/// Some around one another, in the middle of nowhere, where east is west, and at a pole; some are none.
const PLACES: [&str; 18] = [
    "u",
    "u3",
    "u33",
    "u33d",
    "u33dc",
    "u33e",
    "u336",
    "u33dc0123456",
    "b",
    "z",
    "bp",
    "up",
    "zz",
    "8",
    "s0",
    "u33d*",
    "U33D",
    "",
];
/// What filters ask for besides; the last ones are of no form.
const ASKED: [&str; 16] = [
    "u*",
    "u3*",
    "u33*",
    "u33d*",
    "u33dc*",
    "z*",
    "~u33d",
    "~u33",
    "~u3",
    "~b",
    "~z",
    "~bp",
    "~8",
    "~u33dc0123456",
    "~u33d*",
    "*",
];

/// How many people there are.
pub(crate) const PEOPLE: u32 = 4;

/// Numbers, and what is drawn by them.
pub(crate) struct Chance(Dice);

impl Chance {
    /// The same numbers for the same seed.
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(Dice(seed))
    }

    /// A number less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.below(end)
    }

    /// True so many times in a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// One of the people.
    pub(crate) fn person(&mut self) -> Person {
        Person::new(self.below(u64::from(PEOPLE)) as u32)
    }

    /// The seeds to run: the one of the environment, or fixed ones and one that is new each time.
    pub(crate) fn seeds(fixed: &[u64]) -> Vec<u64> {
        if let Ok(seed) = std::env::var("PLAZA_SEED") {
            return vec![seed.parse().expect("PLAZA_SEED is a number")];
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        fixed.iter().copied().chain([now.as_nanos() as u64]).collect()
    }
}

fn random_id(chance: &mut Chance, known: &[Event]) -> String {
    if known.is_empty() || chance.percent(5) {
        return Id([chance.below(256) as u8; 32]).to_string();
    }
    // Recent ones are more likely to be still there.
    let newest = known.len() - 1;
    let back = if chance.percent(60) {
        chance.below(30) as usize
    } else {
        chance.below(known.len() as u64) as usize
    };
    known[newest.saturating_sub(back)].id.to_string()
}

fn random_address(chance: &mut Chance, author: &str) -> String {
    let person = if chance.percent(85) { author.to_owned() } else { chance.person().hex() };
    match chance.below(20) {
        0 => format!("030023:{person}:x"),
        1 => format!("+30023:{person}:x"),
        2 => format!("1:{person}:"),
        3 => format!("30023:{person}"),
        4 => format!("0:{person}:x"),
        5..=9 => format!("{}:{person}:", chance.pick(&[0, 3, 10_002])),
        _ => format!("{}:{person}:{}", chance.pick(&[30_023, 30_402]), chance.pick(&IDENTIFIERS)),
    }
}

fn deletion_tags(chance: &mut Chance, author: &str, known: &[Event], tags: &mut Tags) {
    for _ in 0..=chance.below(3) {
        match chance.below(10) {
            0..=4 => tags.push(["e", &random_id(chance, known)]),
            5 => tags.push(["e", &random_id(chance, known).to_uppercase()]),
            _ => tags.push(["a", &random_address(chance, author)]),
        }
    }
}

fn vanish_tags(chance: &mut Chance, tags: &mut Tags) {
    match chance.below(10) {
        0 => tags.push(["relay", "wss://elsewhere.example"]),
        1 => {}
        _ => tags.push(["relay", "ALL_RELAYS"]),
    }
}

fn usual_tags(chance: &mut Chance, kind: u16, known: &[Event], tags: &mut Tags) {
    if chance.percent(30) {
        tags.push(["e", &random_id(chance, known)]);
    }
    if chance.percent(30) || kind == 1_059 || kind == 4 || kind == 21_059 {
        tags.push(["p", &chance.person().hex()]);
    }
    if chance.percent(30) {
        tags.push(["t", *chance.pick(&TOPICS)]);
    }
    if chance.percent(10) {
        let author = chance.person().hex();
        tags.push(["a", &random_address(chance, &author)]);
    }
    if chance.percent(if kind == 20_001 { 60 } else { 25 }) {
        for _ in 0..=chance.below(2) {
            tags.push(["g", *chance.pick(&PLACES)]);
        }
    }
    if chance.percent(4) {
        tags.push(["-"]);
    }
    if chance.percent(3) {
        tags.push(["p"]);
    }
    if kind >= 30_000 || chance.percent(5) {
        match chance.below(12) {
            0 => {}
            1 => tags.push(["d"]),
            _ => tags.push(["d", *chance.pick(&IDENTIFIERS)]),
        }
        if chance.percent(5) {
            tags.push(["d", "second"]);
        }
    }
}

/// An event, true and signed, as of `now`.
pub(crate) fn random_event(chance: &mut Chance, now: u64, known: &[Event]) -> Event {
    let person = chance.person();
    let kind = match chance.below(1_000) {
        0..=119 => 5,
        120..=127 => 62,
        128..=131 => 22_242,
        _ => *chance.pick(&KINDS),
    };
    let created_at = match chance.below(100) {
        0 => now + 901,
        1 => now + 900,
        2..=5 => NOW - 100,
        _ => now.saturating_sub(chance.below(8)),
    };
    let mut tags = Tags::default();
    match kind {
        5 => deletion_tags(chance, &person.hex(), known, &mut tags),
        62 => vanish_tags(chance, &mut tags),
        kind => usual_tags(chance, kind, known, &mut tags),
    }
    if chance.percent(10) {
        let time = (now + chance.below(12)).saturating_sub(2);
        let times = [time.to_string(), time.to_string(), time.to_string(), "soon".to_owned()];
        tags.push(["expiration", chance.pick(&times).as_str()]);
    }
    let content = chance.below(if kind < 10 { 40 } else { 3 }).to_string();
    person.sign(kind, created_at, tags, &content)
}

/// The same event with a false signature or a false id.
pub(crate) fn forged(chance: &mut Chance, event: &Event) -> Event {
    let mut event = event.clone();
    match chance.below(3) {
        0 => event.sig.0[63] ^= 1,
        1 => event.content.push('!'),
        _ => event.id.0[0] ^= 1,
    }
    event
}

fn some_of<T>(chance: &mut Chance, mut one: impl FnMut(&mut Chance) -> T) -> Vec<T> {
    if chance.percent(3) {
        return Vec::new();
    }
    (0..=chance.below(3)).map(|_| one(chance)).collect()
}

/// A value of `#g`.
fn random_place(chance: &mut Chance) -> &'static str {
    let forms = if chance.percent(4) { &ASKED[..] } else { &ASKED[..14] };
    if chance.percent(30) { chance.pick::<&str>(&PLACES) } else { chance.pick::<&str>(forms) }
}

/// A filter, as JSON.
pub(crate) fn random_filter(chance: &mut Chance, now: u64, known: &[Event]) -> Value {
    let mut filter = Map::new();
    if chance.percent(10) {
        filter.insert("ids".into(), json!(some_of(chance, |chance| random_id(chance, known))));
    }
    if chance.percent(35) {
        filter.insert("authors".into(), json!(some_of(chance, |chance| chance.person().hex())));
    }
    if chance.percent(45) {
        filter.insert(
            "kinds".into(),
            json!(some_of(chance, |chance| match chance.below(10) {
                0 => 5,
                1 => 62,
                2 => 9_999,
                _ => *chance.pick(&KINDS),
            })),
        );
    }
    if chance.percent(12) {
        filter.insert("#e".into(), json!(some_of(chance, |chance| random_id(chance, known))));
    }
    if chance.percent(15) {
        filter.insert("#p".into(), json!(some_of(chance, |chance| chance.person().hex())));
    }
    if chance.percent(8) {
        let author = chance.person().hex();
        filter.insert("#a".into(), json!(some_of(chance, |chance| random_address(chance, &author))));
    }
    if chance.percent(20) {
        filter.insert("#t".into(), json!(some_of(chance, |chance| *chance.pick(&TOPICS))));
    }
    if chance.percent(20) {
        filter.insert("#g".into(), json!(some_of(chance, random_place)));
    }
    if chance.percent(10) {
        filter.insert("#d".into(), json!(some_of(chance, |chance| *chance.pick(&IDENTIFIERS))));
    }
    let began = NOW - 20;
    if chance.percent(20) {
        filter.insert("since".into(), json!(began + chance.below(now - began + 2)));
    }
    if chance.percent(20) {
        filter.insert("until".into(), json!(began + chance.below(now - began + 2)));
    }
    if chance.percent(40) {
        let limits = [0, 1, 2, 3, 10, 39, 40, 41, 1_000_000_000_000];
        filter.insert("limit".into(), json!(chance.pick::<u64>(&limits)));
    }
    Value::Object(filter)
}

/// One to three filters.
pub(crate) fn random_filters(chance: &mut Chance, now: u64, known: &[Event]) -> Vec<Value> {
    let several = if chance.percent(70) { 1 } else { 2 + chance.below(2) };
    (0..several).map(|_| random_filter(chance, now, known)).collect()
}
