//! Stores whose files are damaged: bytes flipped, smeared or cut off, files that are gone, at random places in every
//! file. A relay on such a store either shows all that was acknowledged, or says what is lost, or does not start and
//! says why, with a code after which nobody starts it again; it never loses a word about it. And `plaza salvage` saves
//! all whose bytes were not touched, and nothing that was not there. `PLAZA_SEED` runs the chances of one seed again;
//! `PLAZA_HARMS` sets how often the long form does harm: `cargo test --test damage -- --ignored --nocapture`.

#[path = "../common/mod.rs"]
mod common;
#[path = "../model/random.rs"]
#[allow(dead_code, reason = "only its numbers are used here")]
mod random;
mod stock;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Child;

use common::Client;
use common::folder::{Folder, copy};
use plaza::event::{Event, Id};
use plaza::store::record::encode;
use random::Chance;
use serde_json::json;
use stock::{COMMUNITIES, Stock, succeed};

/// Harms of the short form, and of the long one unless `PLAZA_HARMS` says how many.
const HARMS: u64 = 24;
const HARMS_LONG: u64 = 400;

/// With this code a relay ends that no new start helps.
const EXIT_DAMAGED: i32 = 65;

/// sled writes what changes together as one message with one checksum, which is no longer than this.
const MESSAGE_BYTES_MAX: u64 = 128 * 1024;

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// A bit is another one.
    Flip { at: u64, bit: u8 },
    /// So many bytes are noise.
    Smear { at: u64, bytes: u64 },
    /// So many bytes are zeros, as of a sector that was never written.
    Blank { at: u64, bytes: u64 },
    /// It ends here.
    Cut { at: u64 },
    /// It is not there.
    Gone,
}

impl Harm {
    fn any(len: u64, chance: &mut Chance) -> Harm {
        let at = chance.below(len.max(1));
        match chance.below(12) {
            0..=4 => Harm::Flip { at, bit: chance.below(8) as u8 },
            5..=7 => Harm::Smear { at, bytes: *chance.pick(&[2, 40, 512, 3_000]) },
            8..=9 => Harm::Blank { at: at - at % 512, bytes: *chance.pick(&[512, 4_096]) },
            10 => Harm::Cut { at },
            _ => Harm::Gone,
        }
    }

    fn apply(self, path: &Path, chance: &mut Chance) {
        let mut bytes = fs::read(path).expect("a file");
        let (at, end) = self.range(bytes.len() as u64);
        let touched = at as usize..(end as usize).min(bytes.len()).max(at as usize);
        match self {
            Harm::Flip { bit, .. } => bytes[touched].iter_mut().for_each(|byte| *byte ^= 1 << bit),
            Harm::Smear { .. } => bytes[touched].iter_mut().for_each(|byte| *byte = chance.below(256) as u8),
            Harm::Blank { .. } => bytes[touched].fill(0),
            Harm::Cut { at } => bytes.truncate(at as usize),
            Harm::Gone => return fs::remove_file(path).expect("a file"),
        }
        fs::write(path, bytes).expect("a file");
    }

    /// The bytes that may be others, in a file of some length.
    fn range(self, len: u64) -> (u64, u64) {
        match self {
            Harm::Flip { at, .. } => (at, at + 1),
            Harm::Smear { at, bytes } | Harm::Blank { at, bytes } => (at, at + bytes),
            Harm::Cut { at } => (at, len),
            Harm::Gone => (0, len),
        }
    }
}

/// How a relay met the damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It shows everything: nothing that counts was touched.
    Whole,
    /// It shows less, and says so.
    Told,
    /// It does not start, and says why.
    Refused,
}

#[derive(Default)]
struct Counts {
    whole: u32,
    told: u32,
    refused: u32,
    saved: usize,
    lost: usize,
    salvages: u32,
}

#[test]
fn no_damage_is_passed_over_in_silence_and_what_is_whole_is_saved() {
    do_harm(HARMS);
}

#[test]
#[ignore = "takes long"]
fn hundreds_of_harms_are_told_and_what_is_whole_is_saved() {
    let harms = std::env::var("PLAZA_HARMS").map(|harms| harms.parse().expect("PLAZA_HARMS is a number"));
    do_harm(harms.unwrap_or(HARMS_LONG));
}

#[test]
fn all_of_a_store_that_is_whole_is_saved() {
    let stock = Stock::new();
    let done = succeed(&stock.folder, &["salvage", "data", "new"]);
    assert!(
        done.said(&format!("{} events saved to new", stock.shown.iter().map(BTreeSet::len).sum::<usize>()))
    );
    assert_eq!(done.data, "", "nothing is wrong");
    assert_eq!(exported(&stock.folder, "new"), stock.shown);
    assert!(succeed(&stock.folder, &["verify", "new"]).said("all is well"));
    assert_eq!(stock::marker(&stock.folder, "new"), stock::marker(&stock.folder, "data"));
    let told = outcome(&stock, "new", &mut String::new());
    assert_eq!(told, Outcome::Whole, "a relay serves it");
    // What stands in the way stays as it is.
    let done = stock.folder.run(&["salvage", "data", "new"]);
    assert_eq!((done.code, done.said("is not empty")), (2, true), "{done:?}");
    let done = stock.folder.run(&["salvage", "nowhere", "other"]);
    assert_eq!((done.code, done.said("could not open")), (2, true), "{done:?}");
    let relay = stock.folder.serve(&[]);
    let done = stock.folder.run(&["salvage", "data", "other"]);
    assert_eq!((done.code, done.said("another plaza is using")), (2, true), "{done:?}");
    relay.end("TERM");
}

fn do_harm(harms: u64) {
    let seed = Chance::seeds(&[])[0];
    println!("PLAZA_SEED={seed}");
    let chance = &mut Chance::new(seed);
    let stock = Stock::new();
    let mut counts = Counts::default();
    for round in 0..harms {
        let harmed = format!("harmed-{round}");
        copy(&stock.folder.path("data"), &stock.folder.path(&harmed));
        let file = any_file(&stock.folder.path("data"), chance);
        let len = fs::metadata(stock.folder.path("data").join(&file)).expect("a file").len();
        let harm = Harm::any(len, chance);
        let what = format!("round {round} of seed {seed}: {harm:?} to {} of {len} bytes", file.display());
        harm.apply(&stock.folder.path(&harmed).join(&file), chance);
        let is_db = file == Path::new("db");
        assert_saved(&stock, &harmed, is_db.then(|| harm.range(len)), &what, &mut counts);
        let mut words = String::new();
        let outcome = outcome(&stock, &harmed, &mut words);
        println!("{what}: {outcome:?}");
        match outcome {
            Outcome::Whole => counts.whole += 1,
            Outcome::Told => counts.told += 1,
            Outcome::Refused => counts.refused += 1,
        }
        if outcome != Outcome::Whole {
            let done = stock.folder.run(&["verify", "--data", &harmed]);
            assert_ne!(done.code, 0, "{what}: {words}\n{done:?}");
            assert!(!done.data.is_empty() || done.said("plaza: "), "{what}: {done:?}");
        }
        fs::remove_dir_all(stock.folder.path(&harmed)).expect("a folder");
    }
    let Counts { whole, told, refused, saved, lost, salvages } = counts;
    println!(
        "{harms} harms: {whole} touched nothing, {told} losses told, {refused} starts refused, 0 silent; \
         {salvages} salvages: {saved} events saved, {lost} lost, none that was whole; seed {seed}"
    );
    assert!(told + refused > 0, "harm was done");
}

/// Any file of a store; sled's own most often.
fn any_file(store: &Path, chance: &mut Chance) -> PathBuf {
    let mut files = Vec::new();
    let mut folders = vec![store.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path().strip_prefix(store).expect("a path below").to_owned()),
            }
        }
    }
    files.sort();
    if chance.percent(60) { PathBuf::from("db") } else { chance.pick(&files).clone() }
}

/// The ids of what a data folder holds, by community.
fn exported(folder: &Folder, data: &str) -> Vec<BTreeSet<Id>> {
    let of = |community: &&str| {
        let text = folder.export(&["--data", data, "--community", community]);
        text.lines().map(|line| Event::from_json(line.as_bytes()).expect("an event").id).collect()
    };
    COMMUNITIES.iter().map(of).collect()
}

/// Starts a relay and holds what it shows against what it should.
fn outcome(stock: &Stock, data: &str, words: &mut String) -> Outcome {
    let mut child =
        stock.folder.command(&["--data", data, "--listen", "127.0.0.1:0"]).spawn().expect("it runs");
    let mut lines =
        BufReader::new(child.stderr.take().expect("its standard error")).lines().map_while(Result::ok);
    let url = lines.by_ref().find_map(|line| {
        words.push_str(&line);
        words.push('\n');
        line.strip_prefix("plaza: listening on ").map(str::to_owned)
    });
    let Some(url) = url else {
        let code = child.wait().expect("it ends").code();
        assert_eq!(code, Some(EXIT_DAMAGED), "{words}");
        assert!(words.contains(&format!("plaza: {data}")) && words.contains("plaza salvage"), "{words}");
        return Outcome::Refused;
    };
    // It says more and more while it is asked.
    let rest = std::thread::spawn(move || lines.collect::<Vec<_>>().join("\n"));
    let shown = COMMUNITIES.map(|path| everything(&mut Client::connect(&format!("{url}{path}"))));
    end(child);
    words.push_str(&rest.join().expect("it ends"));
    let is_told =
        words.contains("the store's files are damaged") || words.contains("cannot read a stored event");
    for ((shown, should), gone) in shown.iter().zip(&stock.shown).zip(&stock.gone) {
        let Some(shown) = shown else { continue };
        assert!(shown.is_subset(&should.union(gone).copied().collect()), "nobody sent it: {words}");
        assert!(
            is_told || shown == should,
            "{} of {} events, in silence: {words}",
            shown.len(),
            should.len()
        );
    }
    match shown.iter().zip(&stock.shown).all(|(shown, should)| shown.as_ref() == Some(should)) {
        true => Outcome::Whole,
        false => Outcome::Told,
    }
}

fn end(mut child: Child) {
    child.kill().and_then(|()| child.wait()).expect("it ends");
}

/// All that a relay shows, page by page; `None` when it refuses because it cannot read.
fn everything(client: &mut Client) -> Option<BTreeSet<Id>> {
    let (mut all, mut filter) = (BTreeSet::new(), json!({}));
    loop {
        client.subscribe("all", std::slice::from_ref(&filter));
        let (before, mut oldest) = (all.len(), u64::MAX);
        loop {
            let message = client.receive();
            match message[0].as_str() {
                Some("EVENT") => {
                    let event = Event::from_json(message[2].to_string().as_bytes()).expect("an event");
                    assert_eq!(event.hash(&mut Vec::new()), event.id, "an event that was sent");
                    oldest = oldest.min(event.created_at);
                    all.insert(event.id);
                }
                Some("EOSE") => break,
                _ => {
                    assert!(message[2].as_str().is_some_and(|why| why.starts_with("error: ")), "{message}");
                    return None;
                }
            }
        }
        if all.len() == before {
            return Some(all);
        }
        filter["until"] = json!(oldest);
    }
}

/// Saves what can be read of a store, and holds it against what was not touched. `touched` is about sled's file.
fn assert_saved(stock: &Stock, harmed: &str, touched: Option<(u64, u64)>, what: &str, counts: &mut Counts) {
    let new = format!("{harmed}-new");
    let done = stock.folder.run(&["salvage", harmed, &new]);
    let is_gone = !stock.folder.path(harmed).join("db").exists();
    assert_eq!(done.code == 2, is_gone, "{what}: {done:?}");
    if is_gone {
        return;
    }
    let mut saved: BTreeSet<Id> = BTreeSet::new();
    for ((found, should), gone) in exported(&stock.folder, &new).iter().zip(&stock.shown).zip(&stock.gone) {
        let strange: Vec<_> = found.difference(should).filter(|id| !gone.contains(id)).collect();
        assert!(strange.is_empty(), "{what}: {strange:?} was never there: {done:?}");
        let back = found.intersection(gone).count();
        assert!(back == 0 || done.data.contains("may be back"), "{what}: {back} are back: {done:?}");
        saved.extend(found);
    }
    let unplaced = stock.folder.path(&format!("{new}.unplaced.jsonl"));
    for line in fs::read_to_string(&unplaced).unwrap_or_default().lines() {
        let event = Event::from_json(line.as_bytes()).expect("an event");
        assert!(stock.all().contains(&event.id), "{what}: nobody sent it");
        saved.insert(event.id);
    }
    let lost: Vec<Id> = stock.all_shown().difference(&saved).copied().collect();
    let owed = lost.iter().filter(|id| {
        touched.is_none_or(|(from, to)| {
            let near = from.saturating_sub(MESSAGE_BYTES_MAX)..to.saturating_add(MESSAGE_BYTES_MAX);
            stock.places[*id].iter().all(|place| !near.contains(place))
        })
    });
    assert_eq!(owed.count(), 0, "{what}: of {} that are lost some were not touched: {done:?}", lost.len());
    assert_eq!(done.code, i32::from(!lost.is_empty() || !done.data.is_empty() && done.code == 1), "{done:?}");
    assert!(succeed(&stock.folder, &["verify", "--data", &new]).said("all is well"), "{what}");
    counts.salvages += 1;
    counts.saved += saved.len();
    counts.lost += lost.len();
    fs::remove_dir_all(stock.folder.path(&new)).expect("a folder");
}

/// A longer record is kept in parts.
const PART_BYTES_MAX: usize = 6_400;

/// By so many bytes of their text, which repeats itself, long events are known.
const LONG_TEXT_BYTES: usize = 18;

/// Where the records of events lie in sled's file, each as often as it is there.
fn places_of(db: &[u8], events: &[Event]) -> std::collections::HashMap<Id, Vec<u64>> {
    let mut places: std::collections::HashMap<Id, Vec<u64>> =
        events.iter().map(|event| (event.id, Vec::new())).collect();
    let version = events.first().map_or(0, |event| encode(event)[0]);
    for at in 0..db.len().saturating_sub(33) {
        if db[at] == version
            && let Ok(id) = db[at + 1..at + 33].try_into()
            && let Some(found) = places.get_mut(&Id(id))
        {
            found.push(at as u64);
        }
    }
    // The parts of long ones lie by themselves, and none is saved without all of them.
    for event in events.iter().filter(|event| event.content.len() > PART_BYTES_MAX) {
        let beginning = &event.content.as_bytes()[..LONG_TEXT_BYTES];
        let of_text = db.windows(LONG_TEXT_BYTES).enumerate().filter(|(_, bytes)| *bytes == beginning);
        places.entry(event.id).or_default().extend(of_text.map(|(at, _)| at as u64));
    }
    places
}
