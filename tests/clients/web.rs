//! What people do with web clients: the scenes in tests/clients/js, built on nostr-tools, each played by
//! node at a relay of its own. A scene that is about a community with rules begins with a comment that holds
//! its relay.toml. Without node or its packages they are left out, and the test says so.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::TestRelay;

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

/// The relay.toml in the comment that a scene begins with; empty for a plain relay.
fn settings_of(script: &Path) -> String {
    let text = std::fs::read_to_string(script).expect("a script");
    let comment = text.strip_prefix("/* relay.toml\n").and_then(|rest| rest.split_once("*/"));
    comment.map_or(String::new(), |(settings, _)| settings.to_owned())
}

/// Plays one scene, at the first community that its settings name; what it said when it failed.
fn play(script: &Path) -> Result<(), String> {
    let relay = TestRelay::configured_today(&settings_of(script));
    relay.searches();
    let community = relay.relay().communities().iter().nth(1);
    let community = community.as_ref().map_or("/", |community| community.path());
    let url = relay.url_at(community);
    let done = Command::new("node").arg(script).arg(url).output().expect("node runs");
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
            "tests/clients: scenes of nostr-tools left out, {reason}; with node 20 run: npm ci --prefix tests/clients/js"
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
