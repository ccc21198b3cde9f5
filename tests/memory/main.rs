//! Memory under attack: the real program with little memory, each attack by itself. Its peak stays below the bound that
//! docs/memory.md tells, and a well-behaved neighbour is served meanwhile.

mod attacks;
#[path = "../common/mod.rs"]
mod common;
mod full;
mod relay;
mod wire;

use attacks::{ATTACKS, Attack};
use relay::{MIB, Running, is_served, settings};

/// Runs an attack on a relay of its own, prints a row of a table, and returns the peak in bytes.
fn row(name: &str, attack: Attack, bytes_max: u64, scale: usize) -> u64 {
    let running = Running::start(&settings(bytes_max, scale));
    let idle = running.peak_bytes();
    let mut neighbour = running.neighbour();
    is_served(&mut neighbour);
    let held = attack(&running, scale);
    is_served(&mut neighbour);
    let peak = running.peak_bytes();
    drop(held);
    is_served(&mut running.neighbour());
    println!("| {name} | {} | {} | {} |", idle / MIB, peak / MIB, bytes_max / MIB);
    peak
}

fn table(bytes_max: u64, scale: usize) {
    println!("| attack | MiB before | MiB at its peak | MiB of bound |\n|---|---|---|---|");
    let peaks = ATTACKS.iter().map(|(name, attack)| (*name, row(name, *attack, bytes_max, scale)));
    let beyond: Vec<(&str, u64)> = peaks.filter(|(_, peak)| *peak > bytes_max).collect();
    assert!(beyond.is_empty(), "more than {bytes_max} bytes: {beyond:?}");
}

#[test]
fn no_attack_takes_more_than_the_settings_give() {
    table(256 * MIB, 1);
}

#[test]
#[ignore = "some minutes: thousands of connections, at 512 MiB"]
fn no_large_attack_takes_more_than_the_settings_give() {
    table(512 * MIB, 10);
}
