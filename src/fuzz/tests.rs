//! Every target, tried with what it builds and with changes to that, and with what broke a promise once. The seeds are
//! the same in every run, but for one that is new. `PLAZA_SEED` runs one of them again, `PLAZA_FUZZ_TARGET` one target
//! alone, and `PLAZA_FUZZ_INPUTS` says how many inputs each gets.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Chance, TARGETS, Target, target};
use crate::clock::Clock;

/// Inputs that each target is given for each seed.
const INPUTS: usize = 1_200;

const SEED: u64 = 1;

fn findings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/findings")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Says what to run again when an input breaks a promise, and what it was.
struct Tried<'t> {
    target: &'t Target,
    from: String,
    bytes: &'t [u8],
}

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = self.bytes.escape_ascii().to_string();
            eprintln!("{} {}, {} bytes: {shown:.2000}", self.target.name, self.from, self.bytes.len());
        }
    }
}

fn tried(target: &Target, from: String, bytes: &[u8]) -> bool {
    let _told = Tried { target, from, bytes };
    target.check(bytes)
}

/// Tries so many inputs from a seed: two that were built, one that was changed. How many were well-formed of each.
fn run(target: &Target, seed: u64, inputs: usize) -> [usize; 2] {
    let mut chance = Chance::new(seed);
    let mut good = [0, 0];
    for at in 0..inputs {
        let from = chance.next();
        let mut bytes = target.build(from);
        let is_changed = at % 3 == 2;
        if is_changed {
            bytes = target.mutate(&bytes, chance.next());
        }
        good[usize::from(is_changed)] +=
            usize::from(tried(target, format!("PLAZA_SEED={seed} input {at}"), &bytes));
    }
    good
}

#[test]
fn random_inputs_break_no_promise() {
    let inputs = number("PLAZA_FUZZ_INPUTS").map_or(INPUTS, |inputs| inputs as usize);
    let seeds = match number("PLAZA_SEED") {
        Some(seed) => vec![seed],
        None => vec![SEED, Clock::system().now()],
    };
    let only = std::env::var("PLAZA_FUZZ_TARGET").ok();
    let is_tried = |target: &&Target| only.as_ref().is_none_or(|only| target.name == only);
    let mut broken = Vec::new();
    for seed in seeds {
        println!("PLAZA_SEED={seed}");
        for target in TARGETS.iter().filter(is_tried) {
            let Ok([built, changed]) = std::panic::catch_unwind(|| run(target, seed, inputs)) else {
                broken.push(target.name);
                continue;
            };
            println!(
                "{}: {inputs} inputs, well-formed {built} of those built, {changed} of those changed",
                target.name
            );
            // Else nothing is tried but the first refusal, or no refusal at all.
            if built * 5 < inputs * 2 / 3 || built + changed == inputs {
                broken.push(target.name);
            }
        }
    }
    assert!(broken.is_empty(), "promises are broken, or the inputs show nothing: {broken:?}");
}

#[test]
fn what_broke_a_promise_once_breaks_it_no_more() {
    let mut tries = 0;
    for folder in fs::read_dir(findings()).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let target = target(&name).unwrap_or_else(|| panic!("fuzz/findings/{name} belongs to no target"));
        for file in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let bytes = fs::read(&file).expect("a file");
            tried(target, file.display().to_string(), &bytes);
            tries += 1;
        }
    }
    assert!(tries > 0, "there are findings");
}

#[test]
fn the_same_seed_makes_the_same_inputs() {
    for target in TARGETS.iter().filter(|target| target.name != "snapshot") {
        for seed in 0..20 {
            let bytes = target.build(seed);
            assert_eq!(target.build(seed), bytes, "{} {seed}", target.name);
            assert_eq!(target.mutate(&bytes, seed), target.mutate(&bytes, seed), "{} {seed}", target.name);
        }
    }
}
