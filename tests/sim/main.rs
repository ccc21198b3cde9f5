//! A relay simulated: sessions over pipes in memory, time that stands still, and every piece of work done in an order
//! that a seed decides. What clients were answered, were streamed and find after a stop is held against the model of
//! `tests/model`, exactly: there must be one order of things in which all of it is right.
//!
//! `PLAZA_SEED` runs one seed again, to the byte; `PLAZA_SIM_SEEDS` says how many others to run.

#[path = "../common/mod.rs"]
mod common;
mod house;
mod judge;
#[path = "../model/oracle.rs"]
#[allow(dead_code, reason = "tests/model uses the rest")]
mod oracle;
#[path = "../model/places.rs"]
#[allow(dead_code, reason = "tests/model uses the rest")]
mod places;
#[path = "../model/random.rs"]
#[allow(dead_code, reason = "tests/model uses the rest")]
mod random;
mod record;
mod wire;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use house::TOWNS;
use random::Chance;
use world::{Ending, World};

/// Seeds of each test, unless `PLAZA_SIM_SEEDS` says otherwise; with several communities half as many.
const SEEDS: u64 = 40;

/// Rounds of one seed. Each is judged when all is quiet; the next one begins with what is stored.
const ROUNDS: usize = 3;

/// Runs a world by its seed, within a paused runtime; the transcript of all that was done and seen.
fn run(seed: u64, towns: usize, ending: Ending) -> String {
    let _named = Named(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    // Without a budget: the runtime's would make streams that are ready look as if they were not.
    let whole = tokio::task::unconstrained(async { World::new(seed, towns).run(ROUNDS, ending).await });
    runtime.expect("a runtime").block_on(whole)
}

/// Runs many seeds, on as many threads as there are cores.
fn run_all(begin: u64, towns: usize, ending: fn(u64) -> Ending) {
    if let Ok(seed) = std::env::var("PLAZA_SEED") {
        let seed = seed.parse().expect("PLAZA_SEED is a number");
        run(seed, towns, ending(seed));
        return;
    }
    let count = std::env::var("PLAZA_SIM_SEEDS").map_or(SEEDS, |count| count.parse().expect("a number"));
    let count = if towns > 1 { count.div_ceil(2) } else { count };
    let next = AtomicU64::new(begin);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= begin + count {
                        return;
                    }
                    run(seed, towns, ending(seed));
                }
            });
        }
    });
}

#[test]
fn there_is_an_order_in_which_all_that_clients_saw_is_right() {
    run_all(1, 1, |_| Ending::Quiet);
}

/// The same people write the same events in each, delete there and vanish: what one holds says nothing of another.
#[test]
fn each_of_several_communities_is_right_as_if_it_were_alone() {
    run_all(30_001, TOWNS.len(), |_| Ending::Quiet);
}

#[test]
fn a_stop_at_any_step_loses_nothing_that_was_acknowledged() {
    run_all(10_001, 1, |seed| Ending::Stopped { after: Chance::new(seed).below(500) as usize });
}

#[test]
fn a_kill_at_any_step_loses_nothing_that_was_acknowledged() {
    run_all(20_001, 1, |seed| Ending::Killed { after: Chance::new(seed).below(500) as usize });
}

#[test]
fn what_is_not_committed_when_the_disk_takes_no_more_is_never_acknowledged() {
    let ending = |seed| Ending::Cut { after: Chance::new(seed).below(500) as usize };
    run_all(40_001, 1, ending);
    run_all(50_001, TOWNS.len(), ending);
}

#[test]
fn a_seed_replays_a_run_to_the_byte() {
    let endings = [
        (1, 1, Ending::Quiet),
        (2, 1, Ending::Stopped { after: 200 }),
        (3, 1, Ending::Killed { after: 300 }),
        (4, 1, Ending::Cut { after: 300 }),
        (5, TOWNS.len(), Ending::Quiet),
        (6, TOWNS.len(), Ending::Killed { after: 300 }),
    ];
    for (seed, towns, ending) in endings {
        let (first, again) = (run(seed, towns, ending), run(seed, towns, ending));
        assert!(first.len() > 10_000, "{} bytes tell too little", first.len());
        let differs = first.lines().zip(again.lines()).position(|(one, other)| one != other);
        assert!(first == again, "seed {seed} differs from line {differs:?} on");
    }
}

/// Names the seed when its run fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was PLAZA_SEED={}", self.0);
        }
    }
}
