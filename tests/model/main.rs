//! The relay agrees with a naive model of it over thousands of random steps, and under concurrent load
//! nothing falls between stored and live. `PLAZA_SEED` runs one seed again.

#[path = "../common/mod.rs"]
mod common;
mod concurrent;
mod ear;
mod oracle;
mod places;
mod random;
mod world;

use random::Chance;
use world::World;

/// Steps for each seed.
const STEPS: usize = 4_000;

const SEEDS: [u64; 4] = [1, 2, 3, 4];

#[test]
fn the_relay_does_what_the_model_does() {
    std::thread::scope(|scope| {
        for seed in Chance::seeds(&SEEDS) {
            println!("PLAZA_SEED={seed}");
            let run = move || {
                let _named = Named(seed);
                World::new(seed).run(STEPS);
            };
            scope.spawn(run);
        }
    });
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
