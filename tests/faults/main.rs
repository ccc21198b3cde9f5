//! Disks that fail while the relay runs: full, read-only, with errors of reading, writing and syncing, slow. Each row
//! says what a publisher, a reader and the operator see meanwhile, and all of them what holds afterwards: the relay
//! takes events again, without a restart and on the same connections, and nothing that it acknowledged or showed is
//! lost, even by a power cut. Then the same at random; a relay that ends because a group broke off half-way is started
//! again, as systemd does. And disks that are really full (`full.rs`, `search.rs`), where one can be mounted. `PLAZA_SEED` runs
//! the chances of one seed again; `PLAZA_ROUNDS` sets how many rounds the long form has:
//! `cargo test --test faults -- --ignored --nocapture`.
#![cfg(target_os = "linux")]

#[path = "../power/check.rs"]
mod check;
#[path = "../common/mod.rs"]
mod common;
#[path = "../power/disk.rs"]
mod disk;
#[path = "../power/fault.rs"]
mod fault;
mod full;
#[path = "../crash/ledger.rs"]
#[allow(dead_code, reason = "only what removes events is used here")]
mod ledger;
#[path = "../power/machine.rs"]
#[allow(dead_code, reason = "the power goes here when enough was answered")]
mod machine;
#[path = "../power/mount.rs"]
#[allow(dead_code, reason = "syncs are slow here when they go wrong")]
mod mount;
mod opening;
#[path = "../power/promise.rs"]
mod promise;
#[path = "../model/random.rs"]
#[allow(dead_code, reason = "only its numbers are used here")]
mod random;
mod search;
#[path = "../crash/server.rs"]
#[allow(dead_code, reason = "it is started and killed here, and never told to stop")]
mod server;
#[path = "../power/survival.rs"]
mod survival;
#[path = "../power/view.rs"]
mod view;
#[path = "../crash/writer.rs"]
#[allow(dead_code, reason = "connections end here in one way")]
mod writer;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use check::{assert_exported, assert_kept};
use common::http::get;
use common::program::free_port;
use common::{Client, Person};
use disk::{Disk, Names};
use fault::{Asked, Fault, Harm};
use fuser::Errno;
use machine::{Machine, When};
use mount::{Mounted, Power};
use plaza::event::Event;
use promise::Promise;
use random::Chance;
use serde_json::json;
use survival::Survival;

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a slow sync takes.
const SLOW: Duration = Duration::from_secs(2);

/// Events that are stored before anything goes wrong, and afterwards.
const EVENTS: u64 = 30;
const LATER_EVENTS: u64 = 5;

/// Rounds of random faults of the short form, and of the long one unless `PLAZA_ROUNDS` says how many.
const ROUNDS: u64 = 6;
const ROUNDS_LONG: u64 = 150;

/// A store lives through so many rounds.
const ROUNDS_OF_A_STORE: u64 = 6;

/// What one sees who sends an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Publisher {
    /// `OK false` with `error:`.
    IsRefused,
    /// `OK true`, when the disk has it.
    Waits,
}

/// What one sees who asks for events that are in no cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// All of them.
    SeesAll,
    /// `CLOSED` with `error:` for events, and the number of them.
    SeesTheirNumber,
}

/// What the operator sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// These words in the log, `/ready` with 503, and numbers that say so, as long as it lasts.
    SeesThatItFailed(&'static str),
    /// These words in the log; the relay goes on by itself.
    SeesThatItWentOn(&'static str),
    /// These words in the log alone.
    Reads(&'static str),
    /// Nothing: the relay works.
    SeesNothing,
}

struct Row {
    what: &'static str,
    faults: Vec<Fault>,
    /// With the kernel's cache between the relay and the disk.
    cached: bool,
    /// The relay has just gone on after another fault, so that the store's own cache is empty too.
    cold: bool,
    publisher: Publisher,
    reader: Reader,
    operator: Operator,
}

/// What fails, and what everybody sees meanwhile.
fn table() -> Vec<Row> {
    const CHANGES: &[Asked] = &[Asked::Write, Asked::Name];
    let fails = |asked, error| Fault::of(asked, Harm::Fails(error));
    let row = |what, fault, reader, operator| Row {
        what,
        faults: vec![fault],
        cached: false,
        cold: false,
        publisher: Publisher::IsRefused,
        reader,
        operator,
    };
    let lasts = |words| Operator::SeesThatItFailed(words);
    let all = Reader::SeesAll;
    let went_on = Operator::SeesThatItWentOn("the store was opened anew, and new events are taken");
    let once = |fault: Fault| fault.named("db").times(1);
    let forgets = || once(Fault::of(&[Asked::Sync], Harm::Forgets));
    vec![
        row("full", fails(&[Asked::Write], Errno::ENOSPC), all, lasts("No space left on device")),
        row("read-only", fails(CHANGES, Errno::EROFS), all, lasts("Read-only file system")),
        row("no write", fails(CHANGES, Errno::EIO), all, lasts("Input/output error")),
        row("no sync", fails(&[Asked::Sync], Errno::EIO), all, lasts("Input/output error")),
        row(
            "no write of sled's file",
            fails(&[Asked::Write], Errno::EIO).named("db"),
            Reader::SeesTheirNumber,
            lasts("could not open the store"),
        ),
        row("one write fails", once(fails(&[Asked::Write], Errno::EIO)), all, went_on),
        row("one sync fails", once(fails(&[Asked::Sync], Errno::EIO)), all, went_on),
        row("one sync fails and loses what was written", forgets(), all, went_on),
        Row { cached: true, ..row("the same, and the kernel shows it still", forgets(), all, went_on) },
        Row {
            cold: true,
            ..row(
                "no read",
                fails(&[Asked::Read], Errno::EIO),
                Reader::SeesTheirNumber,
                Operator::Reads("cannot read a stored event"),
            )
        },
        Row {
            publisher: Publisher::Waits,
            ..row("slow", Fault::of(&[Asked::Sync], Harm::Takes(SLOW)), all, Operator::SeesNothing)
        },
    ]
}

/// Whether file systems can be served here; says why not.
fn can_mount() -> Option<()> {
    let folder = tempfile::tempdir().expect("a folder");
    match Mounted::new(&Power::new(Disk::new(Names::WithTheirFolder)), folder.path()) {
        Ok(_) => Some(()),
        Err(error) => {
            println!("skipped: file systems cannot be mounted here (/dev/fuse, fusermount3): {error}");
            None
        }
    }
}

#[test]
fn each_fault_is_told_and_ends_without_loss() {
    let Some(()) = can_mount() else { return };
    for row in table() {
        let began = Instant::now();
        let shown = suffer(&row);
        println!(
            "{}: {:?}, {:?}, {:?}; {shown} events kept, {:.1} s",
            row.what,
            row.publisher,
            row.reader,
            row.operator,
            began.elapsed().as_secs_f64()
        );
    }
}

#[test]
fn random_faults_under_load_lose_nothing() {
    fail_at_random(ROUNDS);
}

#[test]
#[ignore = "takes long"]
fn hundreds_of_random_faults_under_load_lose_nothing() {
    let rounds =
        std::env::var("PLAZA_ROUNDS").map(|rounds| rounds.parse().expect("PLAZA_ROUNDS is a number"));
    fail_at_random(rounds.unwrap_or(ROUNDS_LONG));
}

#[test]
fn a_start_after_a_failed_sync_shows_what_the_disk_has_and_not_what_the_kernel_remembers() {
    let Some(()) = can_mount() else { return };
    let mut house = House::new(true);
    let (mut publisher, _) = house.start();
    for _ in 0..EVENTS {
        let event = house.event();
        house.publish(&mut publisher, &event);
    }
    house.machine.power.harm(Fault::of(&[Asked::Sync], Harm::Forgets).named("db").times(1));
    // It does not go on before it ends.
    house.machine.power.harm(Fault::of(&[Asked::Write], Harm::Fails(Errno::EIO)).named("probe"));
    let event = house.event();
    let why = publisher.publish_refused(&event);
    assert!(why.starts_with("error: "), "{why}");
    house.refused.insert(event.id.to_string());
    house.machine.restart();
    house.machine.power.mend();
    let (mut publisher, mut reader) = (house.machine.connect(0), house.machine.connect(0));
    let shown = house.assert_shown(&mut reader);
    let later = house.event();
    house.publish(&mut publisher, &later);
    house.machine.lose_power(Survival::Nothing, &mut Chance::new(0));
    let (_, mut reader) = house.start();
    let left = house.assert_shown(&mut reader);
    assert!(shown.is_subset(&left), "what was shown stays:\n{}", house.machine.log());
}

/// Waits until something is so.
fn await_that(what: &str, machine: &Machine, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what} within {PATIENCE:?}:\n{}", machine.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A relay on a disk that fails, with who watches it.
struct House {
    machine: Machine,
    metrics: u16,
    /// What was acknowledged, and what was sent and refused.
    acknowledged: BTreeSet<String>,
    refused: BTreeSet<String>,
    next: u64,
}

impl House {
    fn new(cached: bool) -> House {
        let metrics = free_port();
        House::build(cached, metrics, &format!("[metrics]\nlisten = \"127.0.0.1:{metrics}\""))
    }

    /// One that tells no numbers, and so needs no port that stays free.
    fn without_numbers(cached: bool) -> House {
        House::build(cached, 0, "")
    }

    fn build(cached: bool, metrics: u16, settings: &str) -> House {
        let machine = Machine::new(Names::InOneJournal, settings);
        if cached {
            machine.power.cache();
        }
        let (acknowledged, refused) = (BTreeSet::new(), BTreeSet::new());
        House { machine, metrics, acknowledged, refused, next: 0 }
    }

    fn event(&mut self) -> Event {
        self.next += 1;
        Person::new(1).event(1, writer::now() - 1_000 + self.next, &[], &format!("{}", self.next))
    }

    /// One with so many bytes of content.
    fn long_event(&mut self, bytes: usize) -> Event {
        self.next += 1;
        let content = format!("{:0>bytes$}", self.next);
        Person::new(1).event(1, writer::now() - 1_000 + self.next, &[], &content)
    }

    fn publish(&mut self, client: &mut Client, event: &Event) {
        let (accepted, why) = client.publish(event);
        assert!(accepted, "{why}\n{}", self.machine.log());
        self.acknowledged.insert(event.id.to_string());
    }

    fn number(&self, name: &str) -> f64 {
        let body = get(([127, 0, 0, 1], self.metrics).into(), "/metrics").body;
        let number = body.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        number.unwrap_or_else(|| panic!("{name} in {body}"))
    }

    fn is_ready(&self) -> bool {
        get(self.machine.address(), "/ready").status == 200
    }

    /// Asserts that a reader is shown all that was acknowledged, and nothing that was never sent; what it is shown.
    fn assert_shown(&self, reader: &mut Client) -> BTreeSet<String> {
        let shown: BTreeSet<String> = reader.ids(json!({})).into_iter().collect();
        let lost: Vec<_> = self.acknowledged.difference(&shown).collect();
        assert!(lost.is_empty(), "{lost:?} are lost:\n{}", self.machine.log());
        let strange = |id: &&String| !self.acknowledged.contains(*id) && !self.refused.contains(*id);
        assert_eq!(shown.iter().find(strange), None, "nobody sent it");
        shown
    }

    fn start(&mut self) -> (Client, Client) {
        assert!(self.machine.start(None), "the power stays");
        (self.machine.connect(0), self.machine.connect(0))
    }
}

/// A relay meets a fault that ends, and a power cut; how many events it shows in the end.
fn suffer(row: &Row) -> usize {
    let mut house = House::new(row.cached);
    let (mut publisher, _) = house.start();
    for _ in 0..EVENTS {
        let event = house.event();
        house.publish(&mut publisher, &event);
    }
    // From here on nothing is in a cache of the relay's.
    house.machine.lose_power(Survival::PowerStays, &mut Chance::new(0));
    let (mut publisher, mut reader) = house.start();
    let mut again = Vec::new();
    if row.cold {
        house.machine.power.harm(Fault::of(&[Asked::Write], Harm::Fails(Errno::EIO)).named("db").times(1));
        let event = house.event();
        assert!(publisher.publish_refused(&event).starts_with("error: "));
        await_that("it takes events again", &house.machine, || house.is_ready());
        again.push(event);
    }
    row.faults.iter().for_each(|fault| house.machine.power.harm(fault.clone()));

    let event = house.event();
    let began = Instant::now();
    let (accepted, why) = publisher.publish(&event);
    match row.publisher {
        Publisher::Waits => {
            assert!(accepted && began.elapsed() >= SLOW, "{}: {why}", row.what);
            house.acknowledged.insert(event.id.to_string());
        }
        Publisher::IsRefused => {
            assert!(!accepted && why.starts_with("error: "), "{}: {accepted} {why}", row.what);
            house.refused.insert(event.id.to_string());
        }
    }
    assert_seen_by_operator(row, &house);
    assert_eq!(get(house.machine.address(), "/health").status, 200, "{}", row.what);
    assert_seen_by_reader(row, &house, &mut reader);

    assert!(house.machine.power.mend() > 0, "{}: something went wrong", row.what);
    await_that("it takes events again", &house.machine, || house.is_ready());
    again.push(event);
    again.extend((0..LATER_EVENTS).map(|_| house.event()));
    for event in again {
        house.publish(&mut publisher, &event);
    }
    house.assert_shown(&mut reader);
    assert_eq!(house.number("plaza_store_failed "), 0.0, "{}", row.what);
    let has_failed = row.cold || !matches!(row.operator, Operator::Reads(_) | Operator::SeesNothing);
    assert_eq!(
        house.number("plaza_store_recoveries_total "),
        f64::from(u8::from(has_failed)),
        "{}",
        row.what
    );
    assert_survives(row, house)
}

/// Whatever was shown survives the power cut that comes now; how much that is.
fn assert_survives(row: &Row, mut house: House) -> usize {
    house.machine.lose_power(Survival::Nothing, &mut Chance::new(0));
    let (_, mut reader) = house.start();
    let shown = house.assert_shown(&mut reader);
    assert_eq!(shown.len(), house.acknowledged.len(), "{}: all that was sent was taken in the end", row.what);
    let said = house.machine.verify();
    assert!(said.contains("all is well"), "{}: {said}", row.what);
    shown.len()
}

fn assert_seen_by_operator(row: &Row, house: &House) {
    let says = |words: &str| {
        await_that(words, &house.machine, || house.machine.log().contains(words));
    };
    match row.operator {
        Operator::SeesThatItFailed(words) => {
            says(words);
            assert!(!house.is_ready(), "{}", row.what);
            assert_eq!(house.number("plaza_store_failed "), 1.0, "{}", row.what);
            assert!(house.number("plaza_commits_failed_total ") >= 1.0, "{}", row.what);
        }
        Operator::SeesThatItWentOn(words) => {
            says("cannot store 1 events");
            says(words);
            assert!(house.number("plaza_commits_failed_total ") >= 1.0, "{}", row.what);
        }
        // Told when somebody reads.
        Operator::Reads(_) | Operator::SeesNothing => {}
    }
}

fn assert_seen_by_reader(row: &Row, house: &House, reader: &mut Client) {
    let known = EVENTS + u64::from(row.publisher == Publisher::Waits);
    let all = json!({"until": writer::now()});
    match row.reader {
        Reader::SeesAll => {
            house.assert_shown(reader);
        }
        Reader::SeesTheirNumber => {
            await_that("the store is closed", &house.machine, || {
                let said = reader.closed_or_eose("any", &all);
                said.is_some_and(|said| said.starts_with("error: "))
            });
            assert_eq!(reader.count(&[all]), known, "{}", row.what);
        }
    }
    if let Operator::Reads(words) = row.operator {
        assert!(house.machine.log().contains(words), "{}:\n{}", row.what, house.machine.log());
    }
}

/// Any fault that ends by itself, soon or after a while. What a relay reads twice is in the kernel's cache the second
/// time, so that errors of reading are only to be had of a disk with that.
fn any_fault(cached: bool, chance: &mut Chance) -> Fault {
    let asked: &'static [Asked] = match chance.below(4) + u64::from(!cached) {
        0 => &[Asked::Read],
        1 => &[Asked::Write],
        2 => &[Asked::Write, Asked::Name],
        _ => &[Asked::Sync],
    };
    let errors = [Errno::EIO, Errno::ENOSPC, Errno::EROFS];
    let harm = match (asked, chance.below(4)) {
        ([Asked::Read], _) => Harm::Fails(Errno::EIO),
        ([Asked::Sync], 0..=1) => Harm::Forgets,
        ([Asked::Sync], 2) => Harm::Takes(Duration::from_millis(chance.below(300))),
        ([Asked::Sync], _) => Harm::Fails(Errno::EIO),
        _ => Harm::Fails(*chance.pick(&errors)),
    };
    let name = *chance.pick(&["", "", "db", "snap", "probe"]);
    Fault { asked, name, after: chance.below(80), times: 1 + chance.below(3), harm }
}

fn last_line(log: &str) -> &str {
    log.lines().last().unwrap_or_default()
}

/// Has a disk fail under load so many times. A relay that ends because a group broke off half-way asks to be started
/// again, and is, as systemd would do; any other end is a failure.
fn fail_at_random(rounds: u64) {
    let Some(()) = can_mount() else { return };
    let seed = Chance::seeds(&[])[0];
    println!("PLAZA_SEED={seed}");
    let chance = &mut Chance::new(seed);
    let (mut round, mut accepted, mut met, mut went_on, mut started_again) = (0, 0, 0, 0, 0);
    while round < rounds {
        let names = *chance.pick(&[Names::WithTheirFolder, Names::InOneJournal]);
        let (mut machine, mut promise) = (Machine::new(names, ""), Promise::default());
        machine.may_fail = true;
        let cached = chance.percent(50);
        if cached {
            machine.power.cache();
        }
        machine.long_percent = *chance.pick(&[1, 3, 30]);
        for _ in 0..ROUNDS_OF_A_STORE.min(rounds - round) {
            round += 1;
            assert!(machine.start(None), "the power stays");
            assert_kept(&machine, &mut promise);
            let faults: Vec<Fault> = (0..=chance.below(3)).map(|_| any_fault(cached, chance)).collect();
            let (survival, events) = (Survival::any(chance), 100 + chance.below(300));
            println!("round {round} of seed {seed}: {faults:?}, {events} events, {survival:?}");
            faults.into_iter().for_each(|fault| machine.power.harm(fault));
            let mut left = Some(events);
            while let Some(events) = left {
                let written = machine.write_until(When::Answered { events }, &mut promise, chance);
                went_on += written.log.matches("the store was opened anew").count();
                met = machine.power.mend();
                left = written.left;
                if left.is_some() {
                    started_again += 1;
                    println!("it asks to be started again: {}", last_line(&written.log));
                    machine.restart();
                    assert_kept(&machine, &mut promise);
                }
            }
            machine.lose_power(survival, chance);
        }
        assert!(machine.start(None), "the power stays");
        let shown = assert_kept(&machine, &mut promise);
        assert_exported(&mut machine, &shown);
        accepted += promise.accepted_in_all;
        println!("{met} things went wrong on this disk");
    }
    println!(
        "{rounds} rounds, {went_on} times opened anew, {started_again} times started again, {accepted} events \
         acknowledged, 0 lost, seed {seed}"
    );
}
