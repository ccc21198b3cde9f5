//! Plugins (docs/plugins.md) as people write them, in real processes: what they are asked, what they may answer, how
//! many events are under way, and what becomes of all when a plugin is slow, dead or mad.

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod bench;
mod bounds;
mod ends;
mod explain;
mod order;
mod reload;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::TestRelay;
use tempfile::TempDir;

/// How long something may take that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Plugins in a folder of their own.
struct Scripts(TempDir);

impl Scripts {
    fn new() -> Scripts {
        Scripts(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a plugin that can be run; its path as a setting.
    fn write(&self, name: &str, text: &str) -> String {
        // It is put in place whole: a relay that looks at it in between would run a half.
        let (new, path) = (self.path(&format!("{name}.new")), self.path(name));
        fs::write(&new, text).expect("a file");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("it may be run");
        fs::rename(&new, &path).expect("it is in place");
        path.display().to_string()
    }

    /// A plugin that notes each request in `NAME.asked`, and does to each id what the shell lines say.
    fn noting(&self, name: &str, lines: &str) -> String {
        let asked = self.path(&format!("{name}.asked"));
        self.write(name, &format!("{SH}printf '%s\\n' \"$line\" >> {}\n{lines}\ndone\n", asked.display()))
    }

    /// The requests that a noting plugin got.
    fn asked(&self, name: &str) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.path(&format!("{name}.asked"))).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a request is JSON")).collect()
    }
}

/// How a plugin in shell begins: `$id` is the event's id.
const SH: &str = "#!/bin/sh\nwhile read -r line; do\n\
                  id=$(printf %s \"$line\" | sed 's/.*\"id\":\"\\([0-9a-f]*\\)\".*/\\1/')\n";

/// The lines that answer.
const ACCEPT: &str = "echo \"{\\\"id\\\":\\\"$id\\\",\\\"action\\\":\\\"accept\\\"}\"";
const REJECT: &str =
    "echo \"{\\\"id\\\":\\\"$id\\\",\\\"action\\\":\\\"reject\\\",\\\"msg\\\":\\\"blocked: not today\\\"}\"";

/// How a plugin in Python begins; `answer` answers.
const PYTHON: &str = "#!/usr/bin/env python3
import json, os, sys, time
def answer(event, action='accept', msg=''):
    print(json.dumps({'id': event['id'], 'action': action, 'msg': msg}), flush=True)
def requests():
    for line in sys.stdin:
        yield json.loads(line)
";

/// A relay with plugins of these settings, each the text of a table without its header.
fn relay(plugins: &[String]) -> TestRelay {
    TestRelay::configured(&settings("", plugins))
}

fn settings(before: &str, plugins: &[String]) -> String {
    let chain = plugins.iter().map(|plugin| format!("[[plugins.chain]]\n{plugin}\n"));
    format!("{before}\n{}", chain.collect::<String>())
}

/// A plugin's table.
fn table(command: &str, more: &str) -> String {
    format!("command = {command:?}\n{more}")
}

/// Waits until something holds.
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process is there; one that has ended and is not waited for counts too.
fn is_there(pid: &str) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok()
}

/// A number in what a plugin wrote to a file of its own.
fn written(path: &std::path::Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}
