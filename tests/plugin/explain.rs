//! `plaza explain --plugins`: plugins are asked, one after another, and what they say is what the relay would do.

use std::fs;

use super::common::folder::{Folder, lines};
use super::common::{NOW, Person, json_of};
use super::{ACCEPT, PYTHON, REJECT, Scripts, settings, table};

/// A plugin that drops what it is asked about.
const DROP: &str = "echo \"{\\\"id\\\":\\\"$id\\\",\\\"action\\\":\\\"shadowReject\\\"}\"";

#[test]
fn each_plugin_is_asked_in_order_and_its_verdict_told() {
    let scripts = Scripts::new();
    let first = scripts.noting("first", ACCEPT);
    let second = scripts.noting("second", REJECT);
    let drops = scripts.noting("drops", DROP);
    let ends = scripts.write("ends", "#!/bin/sh\nexit 3\n");
    let sleeps = scripts.write("sleeps", &format!("{PYTHON}for request in requests(): time.sleep(60)\n"));
    let note = Person::new(1).event(1, NOW, &[], "hello");
    let [quick, open] = ["timeout_milliseconds = 300", "timeout_milliseconds = 300\nwhen_dead = \"accept\""];
    // Plugins, settings before them, code, and lines in their order.
    let cases: [(Vec<String>, &str, i32, &[&str]); 7] = [
        (vec![table(&first, "")], "", 0, &["pass    plugins.chain", "first: accepts", "/: accepted"]),
        (
            vec![table(&first, ""), table(&second, ""), table(&drops, "")],
            "",
            1,
            &[
                "REFUSE  plugins.chain",
                "first: accepts",
                "second: rejects, blocked: not today (plugins.chain)",
                "drops: not asked, a plugin above does not let it pass",
                "/: refused, blocked: not today (plugins.chain)",
            ],
        ),
        (
            vec![table(&second, "")],
            "[plugins]\nmode = \"shadow\"",
            0,
            &["shadow  plugins.chain", "second: rejects, blocked: not today (plugins.chain)", "/: accepted"],
        ),
        (
            vec![table(&drops, "")],
            "",
            1,
            &["drops: drops it", "/: dropped by a plugin, though its sender is told that it was taken"],
        ),
        (
            vec![table(&second, "kinds = [7]"), table(&ends, open), table(&sleeps, open)],
            "",
            0,
            &[
                "second: not asked, it is not asked about this kind",
                "ends: says nothing (it has ended: exit status: 3), and it goes on",
                "sleeps: says nothing (it did not answer within 300 ms), and it goes on",
                "/: accepted",
            ],
        ),
        (
            vec![table(&sleeps, quick)],
            "",
            1,
            &["REFUSE  plugins.chain", "(it did not answer within 300 ms): error: ", "(plugins.dead)"],
        ),
        // What something else refuses no plugin hears of.
        (
            vec![table(&first, "")],
            "[kinds]\ndenied = [1]",
            1,
            &["REFUSE  kinds.denied", "-       plugins.chain"],
        ),
    ];
    for (plugins, before, code, expected) in cases {
        let folder = Folder::new();
        folder.write("relay.toml", settings(before, &plugins));
        let done = folder.feed(&["explain", "-", "--plugins"], json_of(&note).to_string().as_bytes());
        assert_eq!(done.code, code, "{done:?}");
        let mut rest = done.data.as_str();
        for line in expected {
            let at = rest.find(line).unwrap_or_else(|| panic!("{line:?} is not in its place in {done:?}"));
            rest = &rest[at + line.len()..];
        }
    }
    // Each was asked as by a client of this machine.
    let asked = scripts.asked("first");
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!((&asked[0]["type"], &asked[0]["sourceType"]), (&"new".into(), &"IP4".into()));
    assert_eq!(asked[0]["event"], json_of(&note));
}

#[test]
fn without_the_flag_no_program_runs() {
    let (scripts, folder) = (Scripts::new(), Folder::new());
    let plugin = scripts.noting("plugin", REJECT);
    folder.write("relay.toml", settings("", &[table(&plugin, "")]));
    let note = json_of(&Person::new(1).note("hello")).to_string();
    let done = folder.feed(&["explain", "-"], note.as_bytes());
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.data.contains("-       plugins.chain") && scripts.asked("plugin").is_empty());
}

#[test]
fn many_events_are_counted_and_nothing_is_left_running() {
    let (scripts, folder) = (Scripts::new(), Folder::new());
    // It starts something that would outlive it.
    let text = format!(
        "{PYTHON}import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n\
         open({:?}, 'w').write(str(child.pid))\nfor request in requests():\n    event = request['event']\n    \
         answer(event, 'reject' if event['kind'] == 7 else 'accept', 'no reactions')\n",
        scripts.path("pid").display().to_string()
    );
    let plugin = scripts.write("plugin", &text);
    folder.write("relay.toml", settings("", &[table(&plugin, "")]));
    let person = Person::new(1);
    let all: Vec<_> = (0..20)
        .map(|number| person.event(if number % 4 == 0 { 7 } else { 1 }, NOW - number, &[], ""))
        .collect();
    folder.write("events.jsonl", lines(&all));
    let done = folder.run(&["explain", "events.jsonl", "--plugins"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.data.contains("15 accepted, 0 stored already"), "{done:?}");
    let refused = "5 refused by plugins.chain; the first, line 1: blocked: no reactions (plugins.chain)";
    assert!(done.data.contains(refused), "{done:?}");
    let child = fs::read_to_string(scripts.path("pid")).expect("it has started");
    super::wait_until("what the plugin started is gone", || !runs(&child));
}

/// Whether a process runs: one that has ended and that nobody has waited for is none.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z")
}

#[test]
fn a_plugin_that_cannot_be_run_is_told() {
    let (scripts, folder) = (Scripts::new(), Folder::new());
    let plugin = scripts.write("plugin", "this is no program");
    folder.write("relay.toml", settings("", &[format!("command = [{plugin:?}]")]));
    let done = folder.feed(&["explain", "-", "--plugins"], br#"{"kind": 1}"#);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.said("the plugin plugin cannot be run: "), "{done:?}");
}
