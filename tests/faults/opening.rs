//! Everything that a relay asks of the disk while it opens its store fails, one thing after the other: at a start, and
//! while it goes on after a write that failed. Either it goes on, or it says what failed and the next try succeeds; and
//! nothing that it acknowledged is lost, whatever sled makes of an error. The short form leaves most of it out, by a
//! seed (`PLAZA_SEED`); `cargo test --test faults every_step -- --ignored --nocapture` leaves out nothing.

use super::*;

/// What is asked for, of files whose names begin so, and how often it fails: who reads ahead asks again.
const KINDS: &[(&[Asked], &str, u64)] = &[
    (&[Asked::Read], "db", 1),
    (&[Asked::Read], "db", 2),
    (&[Asked::Read], "snap", 2),
    (&[Asked::Write], "db", 1),
    (&[Asked::Write], "snap", 1),
    (&[Asked::Name], "", 1),
    (&[Asked::Sync], "", 1),
];

/// Long events fill several segments of sled's log, which a start reads.
const LONG_EVENTS: u64 = 60;
const LONG_BYTES: usize = 60_000;

/// Events of a store that has one segment.
const FEW_EVENTS: u64 = 4;

/// One step of so many fails in the short form.
const STRIDE: u64 = 12;

/// Which steps fail.
fn steps(stride: u64) -> impl Fn() -> std::iter::StepBy<std::ops::RangeFrom<u64>> {
    let seed = Chance::seeds(&[])[0];
    println!("PLAZA_SEED={seed}");
    let first = Chance::new(seed).below(stride);
    move || (first..).step_by(stride as usize)
}

/// A relay with a store of some megabytes, or of a few events.
fn filled(is_long: bool) -> House {
    let mut house = House::without_numbers(true);
    let (mut publisher, _) = house.start();
    let (long, short) = if is_long { (LONG_EVENTS, EVENTS) } else { (0, FEW_EVENTS) };
    for number in 0..long + short {
        let event = if number < long { house.long_event(LONG_BYTES) } else { house.event() };
        house.publish(&mut publisher, &event);
    }
    house
}

fn fault((asked, name, times): (&'static [Asked], &'static str, u64), after: u64) -> Fault {
    Fault { after, ..Fault::of(asked, Harm::Fails(Errno::EIO)).named(name).times(times) }
}

/// What was acknowledged is shown, and events are taken.
fn assert_well(house: &mut House) {
    let (mut publisher, mut reader) = (house.machine.connect(0), house.machine.connect(0));
    house.assert_shown(&mut reader);
    let event = house.event();
    house.publish(&mut publisher, &event);
}

fn assert_survives_power_cut(mut house: House) {
    house.machine.lose_power(Survival::Nothing, &mut Chance::new(0));
    let (_, mut reader) = house.start();
    house.assert_shown(&mut reader);
}

/// Steps of a start fail.
fn starts(stride: u64) {
    let (mut house, steps) = (filled(true), steps(stride));
    for &kind in KINDS {
        let mut met = house.machine.power.mend();
        let mut refused = 0;
        for after in steps() {
            house.machine.power.harm(fault(kind, after));
            if !house.machine.try_restart() {
                refused += 1;
                let log = house.machine.log();
                assert!(log.contains("plaza: "), "{kind:?} after {after}: it says why:\n{log}");
                house.machine.power.mend();
                assert!(
                    house.machine.try_restart(),
                    "{kind:?} after {after}:\n{log}\n{}",
                    house.machine.log()
                );
            }
            let met_now = house.machine.power.mend();
            assert_well(&mut house);
            if met_now == met {
                println!("{kind:?}: {after} steps of a start, {refused} starts were refused");
                break;
            }
            met = met_now;
        }
    }
    assert_survives_power_cut(house);
}

/// A write fails, and then steps of what the relay does to go on.
fn goes_on(stride: u64, is_long: bool) {
    let steps = steps(stride);
    for &kind in KINDS {
        let mut ended = 0;
        for after in steps() {
            // Each time another one: what a store has lived through already must not matter.
            let mut house = filled(is_long && after % 4 == 0);
            let mut publisher = house.machine.connect(0);
            let write_of_sled = Fault::of(&[Asked::Write], Harm::Fails(Errno::EIO)).named("db").times(1);
            house.machine.power.harm(write_of_sled);
            house.machine.power.harm(fault(kind, after));
            let event = house.event();
            let why = publisher.publish_refused(&event);
            assert!(why.starts_with("error: "), "{kind:?} after {after}: {why}");
            house.refused.insert(event.id.to_string());
            if !house.machine.goes_on(0) {
                ended += 1;
                assert!(house.machine.try_restart(), "{kind:?} after {after}:\n{}", house.machine.log());
            }
            let met = house.machine.power.mend();
            assert_well(&mut house);
            assert_survives_power_cut(house);
            if met == 1 {
                println!("{kind:?}: {after} steps of going on, {ended} times it ended");
                break;
            }
        }
    }
}

#[test]
fn a_start_whose_steps_fail_loses_nothing() {
    let Some(()) = can_mount() else { return };
    starts(STRIDE);
}

#[test]
fn a_relay_that_goes_on_while_steps_fail_loses_nothing() {
    let Some(()) = can_mount() else { return };
    goes_on(STRIDE, false);
}

#[test]
#[ignore = "takes some minutes"]
fn every_step_of_an_opening_fails_once() {
    let Some(()) = can_mount() else { return };
    starts(1);
    goes_on(1, true);
}
