//! What plugins are asked, and what their answers mean.

use plaza::config::Config;
use serde_json::{Value, json};

use crate::common::folder::{Folder, lines};
use crate::common::http::http;
use crate::common::program::tool;
use crate::common::{NOW, Person, TestRelay, json_of};
use crate::{ACCEPT, REJECT, SH, Scripts, relay, settings, table};

/// The whitelist of strfry's guide in three languages, as people write it; WHO is on the list.
const WHITELISTS: [(&str, &str, &str); 3] = [
    (
        "sh",
        "whitelist.sh",
        r#"#!/bin/sh
while read -r line; do
  id=$(printf %s "$line" | sed 's/.*"id":"\([0-9a-f]*\)".*/\1/')
  case "$line" in
    *'"pubkey":"WHO"'*) echo "{\"id\":\"$id\",\"action\":\"accept\"}" ;;
    *'"kind":7'*) echo "{\"id\":\"$id\",\"action\":\"shadowReject\"}" ;;
    *) echo "{\"id\":\"$id\",\"action\":\"reject\",\"msg\":\"blocked: not on the list\"}" ;;
  esac
done
"#,
    ),
    (
        "python3",
        "whitelist.py",
        r#"#!/usr/bin/env python3
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if request["type"] != "new":
        print("what is that?", file=sys.stderr)
        continue
    event = request["event"]
    verdict = {"id": event["id"]}
    if event["pubkey"] == "WHO":
        verdict["action"] = "accept"
    elif event["kind"] == 7:
        verdict["action"] = "shadowReject"
    else:
        verdict["action"] = "reject"
        verdict["msg"] = "blocked: not on the list"
    print(json.dumps(verdict), flush=True)
"#,
    ),
    (
        "node",
        "whitelist.js",
        r#"#!/usr/bin/env node
const lines = require('readline').createInterface({ input: process.stdin, terminal: false });
lines.on('line', (line) => {
  const { type, event } = JSON.parse(line);
  if (type !== 'new') return console.error('unexpected request');
  const verdict = { id: event.id };
  if (event.pubkey === 'WHO') verdict.action = 'accept';
  else if (event.kind === 7) verdict.action = 'shadowReject';
  else Object.assign(verdict, { action: 'reject', msg: 'blocked: not on the list' });
  console.log(JSON.stringify(verdict));
});
"#,
    ),
];

#[test]
fn plugins_as_people_write_them_decide() {
    for (language, name, text) in WHITELISTS {
        if language != "sh" && tool(language).is_none() {
            continue;
        }
        let (scripts, ann, bob) = (Scripts::new(), Person::new(1), Person::new(2));
        let path = scripts.write(name, &text.replace("WHO", &ann.hex()));
        let relay = relay(&[table(&path, "")]);
        let mut client = relay.connect();
        let note = ann.note("hello \"there\"\nand \u{e9}\u{1F600}");
        client.publish_ok(&note);
        let why = client.publish_refused(&bob.note("hello"));
        assert_eq!(why, "blocked: not on the list (plugins.chain)", "{language}");
        // It is told that it was taken, and was not.
        let reaction = bob.event(7, NOW, &[&["e", &note.id.to_string()]], "+");
        client.publish_ok(&reaction);
        // Ephemeral ones are asked about too.
        client.publish_refused(&bob.event(20_001, NOW, &[], ""));
        assert_eq!(client.ids(json!({})), [note.id.to_string()], "{language}");
    }
}

#[test]
fn requests_tell_of_the_event_and_where_it_came_from() {
    let scripts = Scripts::new();
    let path = scripts.noting("note", ACCEPT);
    let relay = relay(&[table(&path, "")]);
    let (ann, bob) = (Person::new(1), Person::new(2));
    let mut client = relay.connect();
    let note = ann.event(1, NOW, &[&["t", "a\"b"]], "one\ntwo \\ \u{7f} \u{2028}");
    client.publish_ok(&note);
    relay.connect_as(&[&bob, &ann]).publish_ok(&ann.note("mine"));
    relay.connect_as(&[&ann, &bob]).publish_ok(&Person::new(3).note("another's"));
    let asked = scripts.asked("note");
    let wanted = json!({"type": "new", "event": json_of(&note), "receivedAt": NOW, "sourceType": "IP4",
        "sourceInfo": "127.0.0.1"});
    assert_eq!(asked[0], wanted);
    let authed: Vec<&Value> = asked.iter().map(|request| &request["authed"]).collect();
    assert_eq!(authed, [&Value::Null, &json!(ann.hex()), &json!(bob.hex())]);
    // What is known is not asked about again, nor is what rules refuse, nor a request to vanish.
    client.publish(&note);
    client.publish(&ann.event(1, NOW + 100_000, &[], "of tomorrow"));
    let url = relay.url();
    client.publish_ok(&bob.event(62, NOW, &[&["relay", &url]], ""));
    assert_eq!(scripts.asked("note").len(), 3);
}

#[test]
fn plugins_are_asked_in_order_about_their_kinds_until_one_refuses() {
    let scripts = Scripts::new();
    let first = scripts.noting("first", &format!("case \"$line\" in *bad*) {REJECT} ;; *) {ACCEPT} ;; esac"));
    let second = scripts.noting("second", ACCEPT);
    let relay = relay(&[table(&first, ""), table(&second, "kinds = [1, \"30000-30009\"]")]);
    let ann = Person::new(1);
    let events = [
        ann.event(1, NOW, &[], "good"),
        ann.event(1, NOW, &[], "bad"),
        ann.event(7, NOW, &[], "good"),
        ann.event(30_001, NOW, &[&["d", ""]], "good"),
    ];
    let mut client = relay.connect();
    let taken: Vec<bool> = events.iter().map(|event| client.publish(event).0).collect();
    assert_eq!(taken, [true, false, true, true]);
    let ids = |name: &str| -> Vec<Value> {
        scripts.asked(name).iter().map(|request| request["event"]["id"].clone()).collect()
    };
    assert_eq!(ids("first"), events.each_ref().map(|event| json!(event.id.to_string())));
    assert_eq!(ids("second"), [0, 3].map(|at| json!(events[at].id.to_string())));
}

#[test]
fn a_line_is_the_shells_and_a_list_is_not() {
    let scripts = Scripts::new();
    let word = scripts.write("word", &format!("{SH}[ \"$1\" = \"a b\" ] && {ACCEPT} || {REJECT}\ndone\n"));
    let env = scripts.write("env", &format!("{SH}[ \"$WORD\" = \"a b\" ] && {ACCEPT} || {REJECT}\ndone\n"));
    let line = table(&format!("WORD='a b' exec {env}"), "");
    let list = format!("command = [{word:?}, \"a b\"]");
    let relay = relay(&[line, list]);
    relay.connect().publish_ok(&Person::new(1).note("hello"));
}

#[test]
fn in_shadow_mode_what_plugins_refuse_is_taken_and_counted() {
    let scripts = Scripts::new();
    let path = scripts.noting("no", REJECT);
    let relay = TestRelay::configured(&settings("[plugins]\nmode = \"shadow\"", &[table(&path, "")]));
    relay.connect().publish_ok(&Person::new(1).note("hello"));
    let counts = relay.relay().community().tally.counts();
    assert_eq!((counts["plugins.chain"].refused, counts["plugins.chain"].shadowed), (0, 1));
}

#[test]
fn members_and_explain_are_told_that_plugins_are_asked() {
    let scripts = Scripts::new();
    let path = scripts.noting("no", REJECT);
    let relay = relay(&[table(&path, "")]);
    let note = Person::new(1).note("hello");
    let explanation = relay.relay().explain(relay.relay().community(), &note, &[]).expect("it is explained");
    let step = explanation.steps.iter().find(|step| step.rule == "plugins.chain").expect("a step");
    assert!(matches!(step.verdict, plaza::policy::Verdict::NotAsked(why) if why.contains("programs")));
    assert_eq!(explanation.decision, Ok(()));
    assert_eq!(scripts.asked("no").len(), 0);
    let rules = http(&relay, "GET", "/?rules", &[("Accept", "text/html")], "").body;
    assert!(rules.contains("A program of the operator"), "{rules}");
    let document = http(&relay, "GET", "/", &[("Accept", "application/nostr+json")], "").json();
    assert_eq!(document["limitation"]["restricted_writes"], true);
}

#[test]
fn an_import_asks_plugins_if_it_is_told_to() {
    let (scripts, folder) = (Scripts::new(), Folder::new());
    let path = scripts.noting("some", &format!("case \"$line\" in *bad*) {REJECT} ;; *) {ACCEPT} ;; esac"));
    folder.write("relay.toml", settings("", &[table(&path, "")]));
    let ann = Person::new(1);
    let events: Vec<_> =
        (0..20).map(|number| ann.note(&format!("{} {number}", ["good", "bad"][number % 2]))).collect();
    let done = folder.feed(&["import", "--plugins", "-"], &lines(&events));
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.said("10 events stored"), "{done:?}");
    assert!(done.said("10 refused, blocked: not today (plugins.chain)"), "{done:?}");
    let asked = scripts.asked("some");
    assert!(asked.iter().all(|request| request["sourceType"] == "Import" && request["sourceInfo"] == ""));
    assert_eq!(asked.len(), 20);
    let done = folder.feed(&["import", "-"], &lines(&events));
    assert!(done.said("10 events stored, 10 were there already"), "{done:?}");
    assert_eq!(scripts.asked("some").len(), 20);
}

#[test]
fn mistakes_in_settings_are_told() {
    let scripts = Scripts::new();
    std::fs::write(scripts.path("plain"), "#!/bin/sh\n").expect("a file");
    let plain = scripts.path("plain").display().to_string();
    let here = scripts.0.path().display().to_string();
    let table = [
        ("command = \"\"".to_owned(), "plugins.chain: of plugin 1, command is empty; name a program"),
        ("command = []".to_owned(), "plugins.chain: of plugin 1, command is empty; name a program"),
        ("name = \"x\"".to_owned(), "must be [[plugins.chain]] tables, each with a command"),
        (
            "command = \"x\"\ntimeout = 5".to_owned(),
            "relay.toml:3: settings: unknown field `timeout`, expected one of",
        ),
        (
            "command = \"x\"\ntimeout_milliseconds = 0".to_owned(),
            "of plugin 1, timeout_milliseconds must be from 1 to 600000, but is 0",
        ),
        ("command = \"x\"\nin_flight_max = 0".to_owned(), "in_flight_max must be from 1 to 10000, but is 0"),
        (
            "command = \"x\"\nwhen_dead = \"no\"".to_owned(),
            "unknown variant `no`, expected `refuse` or `accept`",
        ),
        (format!("command = \"{here}/none.js\""), "there is no such file, and plugins.chain names it"),
        (
            format!("command = [\"{plain}\", \"x\"]"),
            "it may not be run, and plugins.chain names it; make it executable: chmod +x",
        ),
        (format!("command = {here:?}"), "it is no file, and plugins.chain names it"),
    ];
    for (text, wanted) in table {
        let path = scripts.path("relay.toml");
        std::fs::write(&path, format!("[[plugins.chain]]\n{text}\n")).expect("a file");
        let error = Config::load(&path).expect_err(&text).to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    // A path starts at the folder of relay.toml, and so does the plugin.
    scripts.write("right.sh", &format!("{SH}pwd > where\n{ACCEPT}\ndone\n"));
    let folder = Folder::new();
    std::fs::create_dir(folder.path("conf")).expect("a folder");
    std::fs::copy(scripts.path("right.sh"), folder.path("conf/right.sh")).expect("a copy");
    for command in ["\"./right.sh\"", "[\"./right.sh\"]"] {
        folder.write("conf/relay.toml", format!("[[plugins.chain]]\ncommand = {command}\n"));
        let note = Person::new(1).note(command);
        let done = folder.feed(&["import", "--config", "conf/relay.toml", "--plugins", "-"], &lines(&[note]));
        assert!(done.said("1 events stored"), "{done:?}");
        let place = std::fs::read_to_string(folder.path("conf/where")).expect("it ran there");
        assert!(place.trim_end().ends_with("/conf"), "{place}");
        std::fs::remove_file(folder.path("conf/where")).expect("a file");
    }
    // What the file system cannot tell beforehand is told at the start.
    folder.write("relay.toml", "[[plugins.chain]]\ncommand = [\"plaza-no-such-program\"]\n");
    let done = folder.run(&["run", "--listen", "127.0.0.1:0"]);
    done.refused(&["/: the plugin plaza-no-such-program cannot be run: No such file or directory"]);
}

#[test]
fn numbers_tell_of_each_plugin() {
    let scripts = Scripts::new();
    let some = scripts.noting("some", &format!("case \"$line\" in *bad*) {REJECT} ;; *) {ACCEPT} ;; esac"));
    let text = settings("", &[table(&some, "name = \"spam\""), table(&some, "kinds = [7]\nname = \"spam\"")]);
    let parsed = Config::parse(&text, std::path::Path::new("relay.toml")).expect("settings");
    let relay = TestRelay::with(|config| {
        config.root = parsed.root;
        config.metrics.listen = Some("127.0.0.1:0".parse().expect("an address"));
    });
    let ann = Person::new(1);
    let mut client = relay.connect();
    client.publish_ok(&ann.note("good"));
    client.publish_refused(&ann.note("bad"));
    client.publish_ok(&ann.event(7, NOW, &[], "good"));
    let address = relay.relay().metrics_address().expect("an address");
    let numbers = crate::common::http::get(address, "/metrics").body;
    let wanted = [
        "plaza_plugin_requests_total{community=\"/\",plugin=\"spam\"} 3",
        "plaza_plugin_requests_total{community=\"/\",plugin=\"spam-2\"} 1",
        "plaza_plugin_verdicts_total{community=\"/\",plugin=\"spam\",verdict=\"accept\"} 2",
        "plaza_plugin_verdicts_total{community=\"/\",plugin=\"spam\",verdict=\"reject\"} 1",
        "plaza_plugin_starts_total{community=\"/\",plugin=\"spam\"} 1",
        "plaza_plugin_answers_total{community=\"/\",plugin=\"spam\"} 3",
        "plaza_plugin_in_flight{community=\"/\",plugin=\"spam\"} 0",
        "plaza_plugin_waiting{community=\"/\",plugin=\"spam-2\"} 0",
        "plaza_refusals_total{community=\"/\",rule=\"plugins.chain\"} 1",
    ];
    for line in wanted {
        assert!(numbers.lines().any(|has| has.trim_end_matches(".0") == line), "{line} is not in {numbers}");
    }
}
