//! OK means that an event survives the loss of power: the real program on a disk that forgets, or tears, what
//! was not synced, cut after cut under load. Nothing acknowledged is lost, nothing removed comes back, and it
//! always starts again. `PLAZA_SEED` runs the chances of one seed again, though threads may take turns in another
//! way; `PLAZA_CUTS` sets how many cuts the long form has: `cargo test --test power -- --ignored --nocapture`.
#![cfg(target_os = "linux")]

mod check;
#[path = "../common/mod.rs"]
mod common;
mod disk;
mod disk_tests;
#[allow(dead_code, reason = "nothing goes wrong here but the power")]
mod fault;
#[path = "../crash/ledger.rs"]
#[allow(dead_code, reason = "only what removes events is used here")]
mod ledger;
#[allow(dead_code, reason = "tests/faults uses the rest")]
mod machine;
#[allow(dead_code, reason = "tests/faults uses the rest")]
mod mount;
mod promise;
#[path = "../model/random.rs"]
#[allow(dead_code, reason = "only its numbers are used here")]
mod random;
#[path = "../crash/server.rs"]
#[allow(dead_code, reason = "it is started and killed here, and never told to stop")]
mod server;
mod survival;
mod view;
#[path = "../crash/writer.rs"]
#[allow(dead_code, reason = "connections end here in one way")]
mod writer;

use std::path::Path;
use std::time::Duration;

use check::{assert_exported, assert_kept, shown};
use disk::{Disk, Names};
use machine::{Machine, When};
use mount::{Mounted, Power};
use promise::{Breach, Promise};
use random::Chance;
use survival::Survival;

/// Cuts of the short form, and of the long one unless `PLAZA_CUTS` says how many.
const CUTS: u64 = 20;
const CUTS_LONG: u64 = 300;

/// A store lives through one of so many cuts before the next one begins.
const CUTS_OF_A_STORE: [u64; 3] = [4, 12, 30];

/// Cuts that a relay without syncs has to lose something.
const CUTS_WITHOUT_SYNC: u64 = 4;

/// A start takes about so many changes and syncs, or less.
const STEPS_OF_A_START: u64 = 30;

/// Whether file systems can be served here; says why not.
fn can_mount(folder: &Path) -> Option<()> {
    match Mounted::new(&Power::new(Disk::new(Names::WithTheirFolder)), folder) {
        Ok(_) => Some(()),
        Err(error) => {
            println!("skipped: file systems cannot be mounted here (/dev/fuse, fusermount3): {error}");
            None
        }
    }
}

fn can_mount_somewhere() -> Option<()> {
    can_mount(tempfile::tempdir().expect("a folder").path())
}

#[test]
fn what_was_acknowledged_survives_the_loss_of_power() {
    survive(CUTS);
}

#[test]
#[ignore = "takes long"]
fn what_was_acknowledged_survives_hundreds_of_cuts() {
    let cuts = std::env::var("PLAZA_CUTS").map(|cuts| cuts.parse().expect("PLAZA_CUTS is a number"));
    survive(cuts.unwrap_or(CUTS_LONG));
}

#[test]
fn a_first_start_may_be_cut_short_at_any_moment() {
    let Some(()) = can_mount_somewhere() else { return };
    let pieces = |bytes| Survival::Pieces { bytes, kept_percent: 50 };
    for steps in 0..STEPS_OF_A_START {
        for survival in [Survival::Nothing, Survival::AllButLengths, pieces(512), pieces(4_096)] {
            let names = if steps % 2 == 0 { Names::WithTheirFolder } else { Names::InOneJournal };
            let chance = &mut Chance::new(steps);
            let mut machine = Machine::new(names, "");
            machine.start(Some(When::Starting { steps }));
            machine.lose_power(survival, chance);
            assert!(machine.start(None), "the power stays");
        }
    }
}

#[test]
fn a_later_start_may_be_cut_short_at_any_moment() {
    let Some(()) = can_mount_somewhere() else { return };
    for names in [Names::WithTheirFolder, Names::InOneJournal] {
        let chance = &mut Chance::new(2);
        let (mut machine, mut promise) = (Machine::new(names, ""), Promise::default());
        for steps in 0..STEPS_OF_A_START {
            // Something new, so that sled has a snapshot to write.
            assert!(machine.start(None), "the power stays");
            assert_kept(&machine, &mut promise);
            machine.write_until(When::Answered { events: 20 }, &mut promise, chance);
            machine.lose_power(Survival::PowerStays, chance);
            machine.start(Some(When::Starting { steps }));
            machine.lose_power(Survival::Pieces { bytes: 512, kept_percent: 50 }, chance);
        }
        assert!(machine.start(None), "the power stays");
        assert_kept(&machine, &mut promise);
    }
}

#[test]
fn the_first_events_of_a_new_store_are_safe_and_so_is_its_folder() {
    let Some(()) = can_mount_somewhere() else { return };
    for names in [Names::WithTheirFolder, Names::InOneJournal] {
        let chance = &mut Chance::new(1);
        let (mut machine, mut promise) = (Machine::new(names, ""), Promise::default());
        assert!(machine.start(None), "the power stays");
        machine.write_until(When::Answered { events: 1 }, &mut promise, chance);
        machine.lose_power(Survival::Nothing, chance);
        assert!(machine.start(None), "the power stays");
        assert_kept(&machine, &mut promise);
    }
}

#[test]
fn without_syncs_the_same_test_finds_losses() {
    let Some(()) = can_mount_somewhere() else { return };
    let chance = &mut Chance::new(Chance::seeds(&[])[0]);
    let mut machine = Machine::new(Names::InOneJournal, "durability = \"process\"");
    let (mut promise, mut lost) = (Promise::default(), 0);
    for _ in 0..CUTS_WITHOUT_SYNC {
        assert!(machine.start(None), "the power stays");
        let breaches = promise.check(&shown(&machine));
        lost += breaches.iter().filter(|(breach, _)| *breach == Breach::Lost).count();
        machine.write_until(When::Answered { events: 200 }, &mut promise, chance);
        machine.lose_power(Survival::Nothing, chance);
    }
    println!("{} events acknowledged without sync, {lost} lost", promise.accepted_in_all);
    assert!(lost > 0, "what is not synced is lost");
}

fn survive(cuts: u64) {
    let Some(()) = can_mount_somewhere() else { return };
    let seed = Chance::seeds(&[])[0];
    println!("PLAZA_SEED={seed}");
    let chance = &mut Chance::new(seed);
    let (mut cut, mut accepted) = (0, 0);
    while cut < cuts {
        let names = *chance.pick(&[Names::WithTheirFolder, Names::InOneJournal]);
        let mut machine = Machine::new(names, "");
        let mut promise = Promise::default();
        let of_this_store = (*chance.pick(&CUTS_OF_A_STORE)).min(cuts - cut);
        // Many long ones make groups that fill several of sled's segments, and segments that are used again.
        machine.long_percent = *chance.pick(&[1, 3, 30, 60, 90]);
        machine.power.set_sync_time(Duration::from_millis(*chance.pick(&[0, 2, 10])));
        for _ in 0..of_this_store {
            cut += 1;
            let (when, survival) = (When::any(chance), Survival::any(chance));
            println!("cut {cut} of seed {seed}: {names:?}, {when:?}, {survival:?}");
            if machine.start(Some(when)) {
                assert_kept(&machine, &mut promise);
                machine.write_until(when, &mut promise, chance);
            }
            machine.lose_power(survival, chance);
        }
        assert!(machine.start(None), "the power stays");
        let shown = assert_kept(&machine, &mut promise);
        assert_exported(&mut machine, &shown);
        accepted += promise.accepted_in_all;
    }
    println!("{cuts} cuts, {accepted} events acknowledged, 0 lost, seed {seed}");
}
