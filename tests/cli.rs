//! The program as its user runs it: the real binary in a folder of its own, with what it says, the codes
//! it ends with, and what it leaves behind.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use common::folder::{Done, Folder, lines};
use common::{Client, Person, json_of};
use plaza::event::Event;
use serde_json::{Value, json};

/// A moment that is past on every machine.
const PAST: u64 = 1_700_000_000;

/// Events of several kinds, oldest first.
fn some_events() -> Vec<Event> {
    let (alice, bob) = (Person::new(1), Person::new(2));
    let note = alice.event(1, PAST + 1, &[&["t", "plaza"]], "first\n\"quoted\" \\ 🌅 \u{1}");
    let id = note.id.to_string();
    let reply = bob.event(1, PAST + 2, &[&["e", &id, "", "root"], &["p", &alice.hex()]], "second");
    let profile = alice.event(0, PAST + 3, &[], "{\"name\":\"alice\"}");
    let post = bob.event(30_023, PAST + 4, &[&["d", "walk"]], "# A walk");
    let late = bob.event(1, PAST + 5, &[], "third");
    vec![note, reply, profile, post, late]
}

#[test]
fn it_starts_with_nothing_and_says_what_it_does() {
    for (arguments, signal, by) in [(&[][..], "TERM", "SIGTERM"), (&["run"], "INT", "Ctrl-C")] {
        let folder = Folder::new();
        let mut relay = folder.serve(arguments);
        assert!(relay.url.starts_with("ws://127.0.0.1:") && !relay.url.ends_with(":0"), "{}", relay.url);
        let data = fs::canonicalize(folder.path("data")).expect("the data folder was made");
        assert_eq!(fs::canonicalize(relay.says("plaza: data in ")).expect("a path"), data);
        assert!(relay.says("plaza: 0 events loaded in ").ends_with(" s"));
        let mut client = Client::connect(&relay.url);
        client.publish_ok(&some_events()[0]);
        let pid = relay.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().expect("kill runs").success());
        assert_eq!(relay.says("plaza: stopping ("), format!("{by})"));
        relay.says("plaza: stopped, everything is on disk");
        assert_eq!(relay.child.wait().expect("it ends").code(), Some(0));

        let mut again = folder.serve(arguments);
        again.says("plaza: 1 events loaded in ");
        assert_eq!(again.end(signal), 0);
    }
}

#[test]
fn settings_come_from_the_folder_and_arguments_win() {
    let folder = Folder::new();
    let settings =
        "[relay]\nname = \"Corner\"\n[server]\nlisten = \"203.0.113.1:1\"\n[store]\npath = \"elsewhere\"\n";
    folder.write("relay.toml", settings);
    // That address is nobody's here: only --listen makes it start.
    folder.run(&[]).refused(&["cannot listen on 203.0.113.1:1", "--listen"]);
    let mut relay = folder.serve(&["run"]);
    assert!(relay.says("plaza: data in ").ends_with("/elsewhere"));
    assert_eq!(relay.end("TERM"), 0);
    let mut relay = folder.serve(&["--data", "third"]);
    assert!(relay.says("plaza: data in ").ends_with("/third"));
    assert_eq!(relay.end("TERM"), 0);
    folder.write("other.toml", settings.replace("elsewhere", "fourth"));
    let mut relay = folder.serve(&["run", "--config", "other.toml"]);
    assert!(relay.says("plaza: data in ").ends_with("/fourth"));
    assert_eq!(relay.end("TERM"), 0);
    assert!(!folder.path("data").exists());
}

#[test]
fn check_config_says_file_line_key_and_remedy() {
    let folder = Folder::new();
    folder.write("good.toml", "[relay]\nname = \"Corner\"\n");
    let done = folder.run(&["check-config", "good.toml"]);
    assert_eq!((done.code, done.words.as_str()), (0, "plaza: good.toml is good\n"));
    folder.write("relay.toml", include_str!("../relay.toml.example"));
    assert!(folder.run(&["check-config"]).said("relay.toml is good"));

    let table: &[(&str, &[&str])] = &[
        ("[limits]\nlimit_maxi = 5\n", &["bad.toml:2: limits.limit_maxi: ", "limit_max"]),
        ("\n\n[server]\nlisten = \"here\"\n", &["bad.toml:4: server.listen: ", "127.0.0.1:7777"]),
        ("[store]\ndurability = \"maybe\"\n", &["bad.toml:2: store.durability: ", "power"]),
        ("[relay\n", &["bad.toml:1: not valid TOML"]),
    ];
    for (text, words) in table {
        folder.write("bad.toml", text);
        folder.run(&["check-config", "bad.toml"]).refused(words);
        for command in ["run", "export", "import"] {
            let mut arguments = vec![command, "--config", "bad.toml"];
            arguments.extend((command == "import").then_some("-"));
            folder.run(&arguments).refused(words);
        }
        assert!(!folder.path("data").exists(), "nothing is touched before the settings are good");
    }
    folder
        .run(&["check-config", "none.toml"])
        .refused(&["none.toml: there is no such file", "relay.toml.example"]);
}

#[test]
fn a_port_in_use_is_refused_with_a_remedy() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    folder
        .run(&["run", "--listen", &address])
        .refused(&[&format!("cannot listen on {address}: "), "--listen"]);
    // What it had opened by then is whole.
    assert_eq!(folder.export(&[]), "");
}

#[test]
fn data_in_use_are_refused_with_a_remedy() {
    let folder = Folder::new();
    folder.write("events.jsonl", lines(&some_events()));
    let relay = folder.serve(&[]);
    for arguments in [&["run", "--listen", "127.0.0.1:0"][..], &["import", "events.jsonl"], &["export"]] {
        folder.run(arguments).refused(&["another plaza is using this folder", "stop it", "--data"]);
    }
    folder.run(&["export"]).refused(&["--relay ws://127.0.0.1:7777"]);
    // The relay is none the worse for it.
    Client::connect(&relay.url).publish_ok(&some_events()[0]);
    assert_eq!(relay.end("TERM"), 0);
    assert_eq!(folder.export(&[]).lines().count(), 1);
}

#[test]
fn import_counts_what_became_of_each_line() {
    let folder = Folder::new();
    let alice = Person::new(1);
    let events = some_events();
    let newer = alice.event(0, PAST + 9, &[], "{\"name\":\"newer\"}");
    folder.stock(&[events[0].clone(), newer.clone()]);
    let mut forged = json_of(&events[4]);
    forged["sig"] = json!("0".repeat(128));
    let mut changed = json_of(&events[4]);
    changed["content"] = json!("never said");
    let large = alice.event(1, PAST + 7, &[], &"x".repeat(1_000_000));
    let text = |event: &Event| String::from_utf8(event.to_json()).expect("UTF-8");
    let file = [
        text(&events[0]),
        "not an event".to_owned(),
        String::new(),
        forged.to_string(),
        text(&newer),
        changed.to_string(),
        "\t \r".to_owned(),
        text(&events[2]),
        text(&alice.event(20_001, PAST, &[], "passing by")),
        text(&alice.event(1, PAST, &[&["expiration", "1700000001"]], "over")),
        text(&large),
        "y".repeat(1_000_000),
        "{\"id\":1}".to_owned(),
        text(&events[1]),
    ];
    // There is no newline at the end.
    folder.write("events.jsonl", file.join("\n"));
    let done = folder.run(&["import", "events.jsonl"]);
    assert_eq!((done.code, done.data.as_str()), (0, ""), "{done:?}");
    for words in [
        "plaza: 2 events stored, 2 were there already",
        "plaza: 1 are older than the stored version",
        "plaza: 1 are ephemeral, which are not stored",
        "plaza: 1 refused, invalid: the event has expired",
        "plaza: 5 lines are no true event:",
        "  line 2: ",
        "  line 4: ",
        "  line 6: ",
        "  line 12: ",
        "  line 13: ",
    ] {
        assert!(done.said(words), "{words:?} is not in {}", done.words);
    }
    assert!(done.words.len() < 4_000, "bad lines are not repeated whole");
    let stored = folder.export(&[]);
    let wanted = [&events[0], &events[1], &large, &newer].map(|event| text(event) + "\n").concat();
    assert_eq!(stored, wanted);
    // The same again is no mistake.
    assert!(folder.run(&["import", "events.jsonl"]).said("plaza: 0 events stored, 4 were there already"));
}

#[test]
fn import_names_the_first_bad_lines_and_counts_the_others() {
    let folder = Folder::new();
    // The first is found to be bad after all others: its signature is checked elsewhere.
    let mut forged = json_of(&some_events()[0]);
    forged["sig"] = json!("0".repeat(128));
    let file = format!("{forged}\n{}", "no\n".repeat(24));
    let done = folder.feed(&["import", "-"], file.as_bytes());
    assert_eq!((done.code, done.said("  line 1: ")), (0, true), "{done:?}");
    assert!(
        done.said("plaza: 0 events stored") && done.said("plaza: 25 lines are no true event:"),
        "{done:?}"
    );
    assert!(done.said("  line 10: ") && !done.said("line 11") && done.said("  and 15 more"), "{done:?}");
    folder.run(&["import", "none.jsonl"]).refused(&["cannot read none.jsonl: "]);
}

#[test]
fn import_stores_what_was_deleted_or_replaced_as_a_relay_would() {
    let alice = Person::new(1);
    let note = alice.event(1, PAST, &[], "goes");
    let deletion = alice.event(5, PAST + 1, &[&["e", &note.id.to_string()]], "");
    let old = alice.event(30_023, PAST, &[&["d", "a"]], "old");
    let new = alice.event(30_023, PAST + 2, &[&["d", "a"]], "new");
    let (forward, backward) = (Folder::new(), Folder::new());
    // Signatures of one file are checked side by side, so what must come later comes in another one.
    forward.stock(&[note.clone(), old.clone()]);
    forward.stock(&[deletion.clone(), new.clone()]);
    backward.stock(&[deletion.clone(), new.clone()]);
    let done = backward.feed(&["import", "-"], &lines(&[note, old]));
    assert!(done.said("0 events stored") && done.said("1 are older"), "{done:?}");
    assert!(done.said("1 refused, blocked: "), "{done:?}");
    assert_eq!(forward.export(&[]).as_bytes(), lines(&[deletion, new]));
    assert_eq!(forward.export(&[]), backward.export(&[]));
}

#[test]
fn export_is_one_event_a_line_oldest_first_and_comes_back_the_same() {
    let (here, there) = (Folder::new(), Folder::new());
    let people: Vec<Person> = (0..10).map(Person::new).collect();
    let mut events = some_events();
    events.extend((0..3_000_u64).map(|number| {
        let tags: &[&[&str]] = &[&["t", "crowd"], &["e", &"ab".repeat(32)], &[]];
        people[number as usize % 10].event(1, PAST + 10 + number / 3, &tags[..2], &format!("note {number} ☀"))
    }));
    here.stock(&events);
    let exported = here.export(&[]);
    let read: Vec<Value> =
        exported.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    assert_eq!(read.len(), events.len());
    let ages: Vec<u64> = read.iter().map(|event| event["created_at"].as_u64().expect("a time")).collect();
    assert!(ages.is_sorted());
    there.write("backup.jsonl", &exported);
    let done = there.run(&["import", "backup.jsonl"]);
    assert!(done.said("plaza: 3005 events stored, 0 were there already"), "{done:?}");
    assert!(there.export(&[]) == exported, "export, import, export: the same");
}

#[test]
fn export_takes_a_filter() {
    let folder = Folder::new();
    let events = some_events();
    folder.stock(&events);
    let alice = Person::new(1).hex();
    let table: &[(Value, &[usize])] = &[
        (json!({}), &[0, 1, 2, 3, 4]),
        (json!({"kinds": [1]}), &[0, 1, 4]),
        (json!({"kinds": [1], "limit": 2}), &[1, 4]),
        (json!({"limit": 1}), &[4]),
        (json!({"limit": 0}), &[]),
        (json!({"authors": [alice]}), &[0, 2]),
        (json!({"#t": ["plaza"]}), &[0]),
        (json!({"since": PAST + 2, "until": PAST + 4}), &[1, 2, 3]),
        (json!({"kinds": [7]}), &[]),
    ];
    for (filter, wanted) in table {
        let wanted: Vec<Event> = wanted.iter().map(|at| events[*at].clone()).collect();
        assert_eq!(folder.export(&["--filter", &filter.to_string()]).as_bytes(), lines(&wanted), "{filter}");
    }
    for wrong in ["{kinds:[1]}", "[]", "", "{\"kinds\":\"1\"}", "{\"authors\":[\"alice\"]}"] {
        folder.run(&["export", "--filter", wrong]).refused(&["plaza: --filter: "]);
    }
    folder.run(&["export", "--data", "nowhere"]).refused(&["there is no folder nowhere", "--data"]);
    assert!(!folder.path("nowhere").exists());
}

#[test]
fn an_export_may_be_read_in_part() {
    let folder = Folder::new();
    let alice = Person::new(1);
    let events: Vec<Event> =
        (0..200).map(|number| alice.event(1, PAST + number, &[], &"x".repeat(20_000))).collect();
    folder.stock(&events);
    let mut child = folder.command(&["export"]).spawn().expect("the program runs");
    let mut line = String::new();
    let mut data = BufReader::new(child.stdout.take().expect("its standard output"));
    data.read_line(&mut line).expect("a line");
    drop(data);
    let done = Done::of(child.wait_with_output().expect("the program ends"));
    assert_eq!((done.code, line.as_bytes()), (0, &lines(&events[..1])[..]), "{done:?}");
}

#[test]
fn import_and_export_go_through_a_running_relay() {
    let folder = Folder::new();
    // Small pages, so that there are many.
    folder.write("relay.toml", "[rate]\nenabled = false\n[limits]\nlimit_default = 10\nlimit_max = 20\n");
    let alice = Person::new(1);
    let mut events = some_events();
    // Some seconds have one event, one has more than a page.
    for number in 0..200_u64 {
        let second = if (100..150).contains(&number) { 100 } else { number };
        events.push(alice.event(1, PAST + 10 + second, &[], &format!("note {number}")));
    }
    let mut file = lines(&events);
    file.extend_from_slice(b"not an event\n\n");
    folder.write("events.jsonl", file);
    let relay = folder.serve(&[]);
    let done = folder.run(&["import", "--relay", &relay.url, "events.jsonl"]);
    assert_eq!(done.code, 0, "{done:?}");
    for words in ["205 events stored, 0 were there already", "1 lines are no true event", "  line 206: "] {
        assert!(done.said(words), "{words:?} is not in {done:?}");
    }
    let more = [
        events[0].clone(),
        alice.event(0, PAST, &[], "older than the one that is there"),
        alice.event(20_001, PAST, &[], "passing by"),
        alice.event(1, PAST, &[&["expiration", "1700000001"]], "over"),
    ];
    let done = folder.feed(&["import", "--relay", &relay.url, "-"], &lines(&more));
    for words in ["0 events stored, 1 were", "1 are older", "1 are ephemeral", "1 refused, invalid: "] {
        assert!(done.said(words), "{words:?} is not in {done:?}");
    }

    let export = |filter: &Value| folder.export(&["--relay", &relay.url, "--filter", &filter.to_string()]);
    let all = export(&json!({}));
    assert_eq!(export(&json!({"kinds": [1], "limit": 73})).lines().count(), 73);
    assert_eq!(export(&json!({"limit": 0})), "");
    let backward: Vec<Event> = events[..5].iter().rev().cloned().collect();
    assert_eq!(export(&json!({"until": PAST + 5})).as_bytes(), lines(&backward));
    let private = ["export", "--relay", &relay.url, "--filter", "{\"kinds\":[1059]}"];
    folder.run(&private).refused(&["the relay refused: auth-required: "]);
    assert_eq!(relay.end("TERM"), 0);

    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (all, stored) = (sorted(&all), sorted(&folder.export(&[])));
    let missing: Vec<&String> = stored.iter().filter(|line| !all.contains(line)).collect();
    assert!(all == stored, "by relay {}, by folder {}, missing {missing:?}", all.len(), stored.len());
}

#[test]
fn an_import_waits_when_the_relay_says_that_it_is_too_much() {
    let folder = Folder::new();
    folder.write("relay.toml", "[rate]\nauthor_events_burst = 20\nauthor_events_per_minute = 3000\n");
    let relay = folder.serve(&[]);
    let alice = Person::new(1);
    let events: Vec<Event> = (0..100).map(|number| alice.event(1, PAST + number, &[], "")).collect();
    let done = folder.feed(&["import", "--relay", &relay.url, "-"], &lines(&events));
    assert!(done.said("plaza: 100 events stored, 0 were there already"), "{done:?}");
    assert_eq!((done.code, done.words.lines().count()), (0, 1), "{done:?}");
    assert_eq!(relay.end("TERM"), 0);
}

#[test]
fn a_relay_that_is_not_there_is_named() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("ws://{}", taken.local_addr().expect("its address"));
    drop(taken);
    folder.run(&["export", "--relay", &nobody]).refused(&[&format!("cannot reach {nobody}: ")]);
    let encrypted = nobody.replace("ws://", "wss://");
    folder.run(&["export", "--relay", &encrypted]).refused(&[&format!("cannot reach {encrypted}: ")]);
    folder.run(&["export", "--relay", "http://localhost"]).refused(&["does not begin with ws:// or wss://"]);
    folder.run(&["export", "--relay", "localhost:7777"]).refused(&["does not begin with ws://"]);
    let done = folder.run(&["export", "--relay", &nobody, "--data", "there"]);
    assert_eq!(done.code, 2, "one or the other: {done:?}");
}

/// Options that make a measurement small.
const SMALL: &[&str] = &[
    "--events=300",
    "--runs=1",
    "--connections=2",
    "--queries=3",
    "--query-seconds=0.2",
    "--fanout-subscriptions=12",
    "--fanout-connections=5",
    "--fanout-events=20",
    "--fanout-rates=200,1000",
    "--idle-connections=30",
];

impl Folder {
    /// Measures parts in small, and returns the report; all of these figures must be in it.
    fn bench(&self, arguments: &[&str], figures: &[&str]) -> Value {
        let done = self.run(&[&["bench", "--json"], arguments, SMALL].concat());
        assert_eq!(done.code, 0, "{done:?}");
        let report: Value = serde_json::from_str(&done.data).expect("one JSON object");
        for figure in figures {
            let value = report["figures"][figure].as_f64();
            assert!(value.is_some_and(|value| value >= 0.0), "{figure} is {value:?} in {report}");
        }
        // Every cell of every table names a figure that was measured.
        for table in report["tables"].as_array().expect("tables") {
            let rows = table["rows"].as_array().expect("rows").iter();
            for key in
                rows.flat_map(|row| row["cells"].as_array().expect("cells")).flat_map(|cell| cell.as_array())
            {
                let names = key.iter().filter_map(Value::as_str);
                names.for_each(|name| assert!(report["figures"].get(name).is_some(), "{name} is no figure"));
            }
        }
        assert!(!self.path("bench-data").exists(), "what was measured with is removed");
        report
    }
}

#[test]
fn bench_measures_how_events_are_taken() {
    let figures = [
        "ingest_new_events_per_second",
        "ingest_new_signatures_share",
        "ingest_new_relay_cpu_microseconds",
        "ingest_new_answer_p99_milliseconds",
        "ingest_alone_answer_median_milliseconds",
        "ingest_copy_relay_cpu_microseconds",
        "ingest_mix_events_per_second",
        "ingest_mix_client_cpu_share",
        "limit_signatures_per_second",
        "limit_syncs_per_second",
    ];
    let report = Folder::new().bench(&["ingest"], &figures);
    assert_eq!(report["figures"]["ingest_refused_events"], 0.0);
    assert_eq!((&report["relay"], &report["about"]["seed"]), (&json!("plaza"), &json!(1)));
    assert!(report["about"]["machine"]["cores"].as_u64().is_some_and(|cores| cores > 0), "{report}");
}

#[test]
fn bench_measures_queries_and_start_of_the_same_store() {
    let figures = [
        "query_mix_median_milliseconds",
        "query_mix_p99_milliseconds",
        "query_home_feed_median_milliseconds",
        "query_count_p99_milliseconds",
        "query_geohash_prefix_median_milliseconds",
        "query_pages_p99_milliseconds",
        "query_together_queries_per_second",
        "query_together_relay_cpu_microseconds",
        "start_serving_seconds",
        "start_memory_event_bytes",
        "start_disk_event_bytes",
    ];
    // A start fails unless just as many events are found as must have been stored.
    let report = Folder::new().bench(&["query", "start"], &figures);
    assert_eq!(report["figures"]["query_mix_shapes"], 12.0);
}

#[test]
fn bench_counts_deliveries_and_connections() {
    let figures = [
        "fanout_full_deliveries_per_second",
        "fanout_full_relay_cpu_microseconds",
        "fanout_full_latency_p99_milliseconds",
        "fanout_at_200_latency_median_milliseconds",
        "fanout_at_1000_relay_cpu_microseconds",
        "fanout_at_1000_limit_send_cpu_microseconds",
        "connections_each_bytes",
        "connections_opened_per_second",
    ];
    let report = Folder::new().bench(&["fanout", "connections"], &figures);
    assert_eq!(report["figures"]["fanout_wrong_deliveries"], 0.0);
    assert!(report["figures"]["fanout_full_deliveries_an_event"].as_f64() > Some(1.0), "{report}");
    assert_eq!(report["figures"]["connections_open"], 30.0);
}

#[test]
fn bench_measures_growth_and_pages() {
    let figures = [
        "at_100_within_caches_query_thread_median_milliseconds",
        "at_400_growth_new_events_per_second",
        "at_400_beyond_caches_query_mix_p99_milliseconds",
        "at_400_growth_old_relay_cpu_microseconds",
        "at_400_growth_limit_signature_cpu_microseconds",
        "at_400_start_memory_event_bytes",
        "pages_first_median_milliseconds",
        "pages_last_p99_milliseconds",
    ];
    let report =
        Folder::new().bench(&["growth", "pages", "--sizes=400,100", "--pages-events=1200"], &figures);
    assert_eq!(report["tables"][0]["columns"], json!(["100", "400"]));
    // 500, 500, 200 and none.
    assert_eq!(report["figures"]["pages_count"], 4.0);
}

#[test]
fn bench_measures_reconciliations() {
    let figures = [
        "sync_first_milliseconds",
        "sync_again_waited_milliseconds",
        "sync_renewed_relay_cpu_milliseconds",
        "sync_together_messages",
    ];
    // One fails unless it finds by how many events the sides differ.
    let report = Folder::new().bench(&["sync", "--sync-differ=20"], &figures);
    assert!(report["figures"]["sync_first_asked_bytes"].as_f64() > Some(100.0), "{report}");
}

#[test]
fn bench_measures_relays_of_others_and_sets_them_side_by_side() {
    let folder = Folder::new();
    folder.write("relay.toml", "[rate]\nenabled = false\n");
    // Any relay is started, emptied and stopped by its command; here Plaza plays that relay.
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let (address, program) = (format!("127.0.0.1:{port}"), env!("CARGO_BIN_EXE_plaza"));
    let start = format!("{program} run --listen {address} --data other");
    let other = ["--relay", &address, "--start", &start, "--data", "other", "--name", "other"];
    let figures = ["ingest_new_events_per_second", "query_mix_median_milliseconds", "start_serving_seconds"];
    let report = folder.bench(&[&["ingest", "query", "start"][..], &other].concat(), &figures);
    assert_eq!(report["relay"], "other");
    assert!(report["figures"].get("query_geohash_prefix_median_milliseconds").is_none(), "Plaza's own");
    folder.write("other.json", report.to_string());
    // One that runs already is named by its process.
    let serving = folder.serve(&["run", "--data", "running"]);
    let (address, pid) = (serving.url.trim_start_matches("ws://").to_owned(), serving.child.id().to_string());
    let running = ["--relay", &address, "--pid", &pid, "--name", "running"];
    let report = folder.bench(&[&["ingest", "start"][..], &running].concat(), &figures[..1]);
    assert!(report["figures"].get("start_serving_seconds").is_none(), "nobody can start it");
    folder.write("running.json", report.to_string());
    let done = folder.run(&["bench", "table", "other.json", "running.json"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.data.contains("| ingest | other | running |\n|---|---|---|\n"), "{done:?}");
    assert!(done.data.lines().any(|line| line.starts_with("| one REQ alone") && line.ends_with(" ms | – |")));
    folder.run(&["bench", "table", "nowhere.json"]).refused(&["nowhere.json: "]);
}

#[test]
fn bench_writes_its_corpus() {
    let folder = Folder::new();
    let done = folder.run(&["bench", "corpus", "--events", "50"]);
    assert_eq!((done.code, done.data.lines().count()), (0, 50), "{done:?}");
    let imported = folder.feed(&["import", "-"], done.data.as_bytes());
    assert!(imported.said("50 events stored, 0 were there already"), "{imported:?}");
    assert_eq!(folder.run(&["bench", "corpus", "--events", "50"]).data, done.data, "always the same");
}

#[test]
fn a_key_is_made_once_and_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = Folder::new();
    let made = folder.run(&["key", "own.key"]);
    assert_eq!((made.code, made.words.as_str()), (0, ""));
    let [public, written] = made.data.lines().collect::<Vec<_>>()[..] else { panic!("{}", made.data) };
    assert!(public.len() == 64 && written.starts_with("npub1"), "{}", made.data);
    let file = folder.path("own.key");
    let secret = std::fs::read_to_string(&file).expect("a file");
    let keys = plaza::event::secret_key(&secret).expect("a secret key");
    assert_eq!(plaza::event::public_key(&keys).to_string(), public);
    assert_eq!(std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    let again = folder.run(&["key", "own.key"]);
    assert!(again.code == 1 && again.words.contains("there already"), "{}", again.words);
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), secret);
    // Settings take both.
    folder.write(
        "relay.toml",
        format!("[relay]\nsecret_key_file = \"own.key\"\n[admin]\nowners = [\"{written}\", \"{public}\"]\n"),
    );
    let checked = folder.run(&["check-config"]);
    assert_eq!(checked.code, 0, "{}", checked.words);
}

#[test]
fn help_says_what_each_command_does() {
    let folder = Folder::new();
    let table: &[(&[&str], &[&str])] = &[
        (&["--help"], &["ws://127.0.0.1:7777", "./data", "check-config", "import", "export", "Examples"]),
        (&["run", "--help"], &["--listen", "--data", "--config"]),
        (&["check-config", "--help"], &["[default: relay.toml]"]),
        (&["import", "--help"], &["standard input", "--data", "one event a line"]),
        (&["export", "--help"], &["--filter", "oldest first"]),
        (&["stats", "--help"], &["--json", "running"]),
        (&["backup", "--help"], &["--full", "interrupted", "every hour"]),
        (&["restore", "--help"], &["--community", "must be empty"]),
        (&["verify", "--help"], &["--quick", "Ends with 0"]),
        (&["salvage", "--help"], &["<STORE>", "<NEW>", "Ends with 0"]),
        (&["delete", "--help"], &["--dry-run", "--older-than", "sends such an event", "again"]),
        (&["compact", "--help"], &["given back"]),
        (&["key", "--help"], &["<FILE>", "public key"]),
        (&["bench", "--help"], &["ingest", "--json", "--relay", "table", "corpus"]),
    ];
    for (arguments, words) in table {
        let done = folder.run(arguments);
        assert_eq!((done.code, done.words.as_str()), (0, ""));
        words
            .iter()
            .for_each(|words| assert!(done.data.contains(words), "{words:?} is not in {}", done.data));
        assert!(done.data.lines().all(|line| line.chars().count() <= 100), "{}", done.data);
    }
    assert_eq!(folder.run(&["--version"]).data, concat!("plaza ", env!("CARGO_PKG_VERSION"), "\n"));
    // A mistake is never passed over: this would export another store than the one named.
    for wrong in [&["--data", "there", "export"][..], &["serve"], &["run", "--port", "80"], &["import"]] {
        let done = folder.run(wrong);
        assert_eq!((done.code, done.data.as_str()), (2, ""), "{done:?}");
        assert!(done.words.starts_with("error: "), "{done:?}");
    }
    assert!(
        fs::read_dir(Path::new(folder.0.path())).expect("the folder").next().is_none(),
        "nothing was made"
    );
}

#[test]
fn man_pages_and_completions_are_made_of_the_commands() {
    let folder = Folder::new();
    let done = folder.run(&["generate", "package"]);
    assert_eq!(done.code, 0, "{done:?}");
    let page =
        |name: &str| std::fs::read_to_string(folder.path(&format!("package/man/{name}.1"))).expect("a page");
    assert!(page("plaza").contains("A Nostr relay for communities"));
    // Each command of the help has its page, and the help names them all.
    let help = folder.run(&["--help"]).data;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    // What a command does may take further lines, which begin further to the right.
    let lines = commands.take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let lines = lines.filter(|line| !line.starts_with(' '));
    let commands: Vec<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"backup") && !commands.contains(&"generate"), "{commands:?}");
    for command in commands {
        assert!(page(&format!("plaza-{command}")).contains(".SH"), "{command}");
    }
    for file in ["plaza.bash", "_plaza", "plaza.fish"] {
        let text =
            std::fs::read_to_string(folder.path(&format!("package/completions/{file}"))).expect("a script");
        assert!(text.contains("check-config"), "{file}");
    }
}
