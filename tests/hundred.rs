//! A hundred communities cost no more than their events: memory and start of the real program, with one community
//! and with a hundred more that are empty.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Empty communities besides the root.
const COMMUNITIES: u64 = 100;

/// Bytes of anonymous memory that an empty community may take.
const COMMUNITY_BYTES_MAX: u64 = 40_000;

/// What an empty community may add to the start.
const COMMUNITY_START_MAX: Duration = Duration::from_millis(5);

/// A running relay; ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program with so many communities besides the root; returns its anonymous memory in bytes and how long
/// it took until it listened.
fn measure(folder: &TempDir, communities: u64) -> (u64, Duration) {
    let presets = ["geohash-hub", "marketplace", "town-square", "members-only", "bridge", "video"];
    let settings: String = (0..communities)
        .map(|number| {
            let preset = presets[number as usize % presets.len()];
            format!("[[community]]\npath = \"/c{number}\"\npreset = \"{preset}\"\n")
        })
        .collect();
    std::fs::write(folder.path().join("relay.toml"), settings).expect("a file");
    let began = Instant::now();
    let child = Command::new(env!("CARGO_BIN_EXE_plaza"))
        .args(["run", "--listen", "127.0.0.1:0"])
        .current_dir(folder)
        .env_clear()
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut running = Running(child);
    let lines = BufReader::new(running.0.stderr.take().expect("its errors")).lines();
    let mut lines = lines.map(|line| line.expect("text"));
    assert!(lines.any(|line| line.starts_with("plaza: listening on ws://")), "it does not start");
    let took = began.elapsed();
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.0.id())).expect("/proc");
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
    let kib: u64 = anonymous.trim().trim_end_matches("kB").trim().parse().expect("a number");
    (kib * 1_024, took)
}

#[test]
fn an_empty_community_costs_little() {
    let [one, many] = [0, COMMUNITIES].map(|communities| {
        let folder = tempfile::tempdir().expect("a folder");
        // The first start makes the store and numbers the communities.
        measure(&folder, communities);
        // Of several starts the quickest, since other work of this machine only adds to it.
        let starts = [(); 3].map(|()| measure(&folder, communities));
        let bytes = starts.iter().map(|(bytes, _)| *bytes).min().expect("three");
        let took = starts.iter().map(|(_, took)| *took).min().expect("three");
        (bytes, took)
    });
    let bytes = many.0.saturating_sub(one.0) / COMMUNITIES;
    let took = many.1.saturating_sub(one.1) / COMMUNITIES as u32;
    println!(
        "an empty community takes {bytes} bytes and {took:?} of the start; alone: {one:?}, many: {many:?}"
    );
    assert!(bytes <= COMMUNITY_BYTES_MAX, "{bytes} bytes for each community");
    assert!(took <= COMMUNITY_START_MAX, "{took:?} for each community");
}
