//! Plugins whose files or settings change while the relay runs.

use std::path::Path;

use plaza::config::Config;

use crate::common::{Person, TestRelay};
use crate::{ACCEPT, REJECT, SH, Scripts, is_there, relay, settings, table, wait_until, written};

/// A plugin that tells its process, and answers so.
fn telling(scripts: &Scripts, name: &str, answer: &str) -> String {
    let pids = scripts.path(&format!("{name}.pids"));
    let text =
        format!("#!/bin/sh\necho $$ >> {}\n{}{answer}\ndone\n", pids.display(), &SH["#!/bin/sh\n".len()..]);
    scripts.write(name, &text)
}

fn pids(scripts: &Scripts, name: &str) -> Vec<String> {
    written(&scripts.path(&format!("{name}.pids")))
}

fn reload(relay: &TestRelay, text: &str) -> String {
    let parsed = Config::parse(text, Path::new("relay.toml")).expect("settings");
    let mut config = (*relay.relay().config()).clone();
    (config.root, config.communities, config.written) = (parsed.root, parsed.communities, parsed.written);
    relay.relay().reconfigure(config).expect("it reloads").to_string()
}

#[test]
fn a_plugin_whose_file_changes_is_started_anew() {
    let scripts = Scripts::new();
    let path = telling(&scripts, "plugin", ACCEPT);
    let relay = relay(&[table(&path, "")]);
    let (ann, mut client) = (Person::new(1), relay.connect());
    client.publish_ok(&ann.note("one"));
    telling(&scripts, "plugin", REJECT);
    // The next one already: it waits for the new process.
    assert!(client.publish_refused(&ann.note("two")).contains("not today"));
    let pids = pids(&scripts, "plugin");
    assert_eq!(pids.len(), 2);
    wait_until("the first is gone", || !is_there(&pids[0]));
}

#[test]
fn what_a_plugin_has_before_it_is_answered_before_it_is_replaced() {
    let scripts = Scripts::new();
    let go = scripts.path("go");
    let gate = format!("while [ ! -e {} ]; do sleep 0.01; done\n{ACCEPT}", go.display());
    let path = scripts.noting("plugin", &gate);
    let relay = relay(&[table(&path, "in_flight_max = 2")]);
    let ann = Person::new(1);
    let (mut client, mut other) = (relay.connect(), relay.connect());
    let notes: Vec<_> = (0..4).map(|number| ann.note(&number.to_string())).collect();
    notes.iter().for_each(|note| client.submit(note));
    wait_until("it has the first", || !scripts.asked("plugin").is_empty());
    scripts.noting("plugin", REJECT);
    let last = ann.note("of another");
    other.submit(&last);
    std::fs::write(go, "").expect("a file");
    let answers: Vec<bool> =
        notes.iter().map(|_| client.receive()[2].as_bool().expect("a verdict")).collect();
    assert_eq!(answers.iter().filter(|taken| **taken).count(), 2, "{answers:?}");
    assert!(!other.answer_to(&last).0);
}

#[test]
fn a_reload_touches_only_what_is_different() {
    let scripts = Scripts::new();
    let (stays, changes) = (telling(&scripts, "stays", ACCEPT), telling(&scripts, "changes", ACCEPT));
    let relay = relay(&[table(&stays, ""), table(&changes, "")]);
    let (ann, mut client) = (Person::new(1), relay.connect());
    client.publish_ok(&ann.note("one"));
    // Another order, another setting of one, and one more.
    let third = telling(&scripts, "third", ACCEPT);
    let text = settings("", &[table(&changes, "in_flight_max = 5"), table(&stays, ""), table(&third, "")]);
    assert!(reload(&relay, &text).contains("plugins.chain"));
    client.publish_ok(&ann.note("two"));
    assert_eq!(["stays", "changes", "third"].map(|name| pids(&scripts, name).len()), [1, 2, 1]);
    let first = pids(&scripts, "changes")[0].clone();
    wait_until("what was replaced is gone", || !is_there(&first));
    // None any more.
    reload(&relay, "");
    client.publish_ok(&ann.note("three"));
    let all = ["stays", "changes", "third"].map(|name| pids(&scripts, name)).concat();
    wait_until("all are gone", || all.iter().all(|pid| !is_there(pid)));
    // And again some, in a community that is new as well.
    let town = format!("[[community]]\npath = \"/town\"\n[[community.plugins.chain]]\n{}", table(&third, ""));
    reload(&relay, &town);
    relay.connect_at("/town").publish_ok(&ann.note("three"));
    client.publish_ok(&ann.note("four"));
    assert_eq!(pids(&scripts, "third").len(), 2);
    // Of a community that goes, they go.
    reload(&relay, "");
    wait_until("it is gone", || !is_there(&pids(&scripts, "third")[1]));
}

#[test]
fn what_waits_for_a_plugin_that_goes_is_asked_about_again() {
    let scripts = Scripts::new();
    let silent = scripts.noting("silent", "");
    let relay = relay(&[table(&silent, "timeout_milliseconds = 600_000\nin_flight_max = 1")]);
    let (ann, mut client) = (Person::new(1), relay.connect());
    let notes: Vec<_> = (0..3).map(|number| ann.note(&number.to_string())).collect();
    notes.iter().for_each(|note| client.submit(note));
    wait_until("it is asked", || scripts.asked("silent").len() == 1);
    let picky = scripts.noting(
        "picky",
        &format!("case \"$line\" in *'\"content\":\"1\"'*) {REJECT} ;; *) {ACCEPT} ;; esac"),
    );
    reload(&relay, &settings("", &[table(&picky, "")]));
    let mut taken: Vec<(String, bool)> = Vec::new();
    for _ in &notes {
        let answer = client.receive();
        taken.push((answer[1].as_str().expect("an id").to_owned(), answer[2].as_bool().expect("a verdict")));
    }
    for (number, note) in notes.iter().enumerate() {
        assert!(taken.contains(&(note.id.to_string(), number != 1)), "{taken:?}");
    }
}
