//! What people do with web clients: the scenes in tests/clients/js, built on nostr-tools, each played by
//! node at a relay of its own. Without node or its packages they are left out, and the test says so.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::TestRelay;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/js")
}

/// Why the scenes cannot be played here, if so.
fn missing() -> Option<&'static str> {
    if Command::new("node").arg("--version").output().is_err() {
        return Some("there is no node");
    }
    if !folder().join("node_modules/nostr-tools/package.json").exists() {
        return Some("its packages are not installed");
    }
    None
}

/// Plays one scene; what it said when it failed.
fn play(script: &Path) -> Result<(), String> {
    let relay = TestRelay::today();
    let done = Command::new("node").arg(script).arg(relay.url()).output().expect("node runs");
    if done.status.success() {
        return Ok(());
    }
    let (said, complained) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    Err(format!("{} ended with {}:\n{said}{complained}", script.display(), done.status))
}

#[test]
fn scenes_with_nostr_tools() {
    if let Some(reason) = missing() {
        // Written past the test harness, which shows nothing of what passes.
        let _ = writeln!(
            std::io::stderr(),
            "tests/nostr_tools.rs: left out, {reason}; with node 20 run: npm ci --prefix tests/clients/js"
        );
        return;
    }
    let entries = folder().join("scenes").read_dir().expect("the folder of scenes");
    let mut scripts: Vec<PathBuf> = entries.map(|entry| entry.expect("a scene").path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "there are scenes");
    let failures: Vec<String> = scripts.iter().filter_map(|script| play(script).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
