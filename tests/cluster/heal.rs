//! Nodes that the log cannot help any more, because it does not keep what they lack: each comes by a copy of another node by
//! itself, whoever is killed on the way.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::chaos::seed;
use crate::common::dice::Dice;
use crate::common::program::Program;
use crate::common::{Client, Person};
use crate::house::{House, Node, SPOKEN, now, purge, until};

/// Notes of somebody, with texts of a length.
fn notes(author: u32, range: std::ops::Range<u32>, bytes: usize) -> Vec<plaza::event::Event> {
    let time = now();
    let text = |number: u32| format!("{number} {}", "x".repeat(bytes));
    range.map(|number| Person::new(author).event(1, time, &[], &text(number))).collect()
}

/// Sends notes to a node, many at a time.
fn send(node: &Node, author: u32, range: std::ops::Range<u32>, bytes: usize) {
    let mut client = node.connect();
    for some in notes(author, range, bytes).chunks(100) {
        some.iter().for_each(|note| client.submit(note));
        for note in some {
            let (is_taken, why) = client.answer_to(note);
            assert!(is_taken, "{why}");
        }
    }
}

/// A node stops, and what comes then is kept no more when it is started.
fn fall_behind(house: &mut House, at: usize, author: u32, count: u32, bytes: usize) {
    house.settle();
    house.nodes[at].stop();
    let writer = (0..house.nodes.len()).find(|other| *other != at).expect("another node");
    send(&house.nodes[writer], author, 0..count, bytes);
    let last = house.nodes[writer].status()["last"].as_u64().expect("a number");
    purge(house, last);
    send(&house.nodes[writer], author, count..count + 5, bytes);
}

fn trouble(node: &Node) -> String {
    node.status()["trouble"].as_str().unwrap_or_default().to_owned()
}

/// Folders of a node's data whose names begin so.
fn folders(node: &Node, beginning: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(node.folder.join("data")).expect("a folder").flatten();
    let is_meant =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(beginning));
    entries.map(|entry| entry.path()).filter(is_meant).collect()
}

fn count(client: &mut Client) -> u64 {
    client.count(&[json!({"kinds": [1]})])
}

#[test]
fn a_node_that_fell_behind_what_the_log_keeps_and_a_new_one_heal_by_themselves() {
    let settings = format!("{SPOKEN}[search]\nenabled = true\n");
    let Some(mut house) = House::build(1, 2, &settings) else { return };
    send(&house.nodes[0], 60, 0..30, 10);
    house.settle();
    let own = house.nodes[1].folder.join("data/keys/own");
    fs::create_dir_all(own.parent().expect("a folder")).expect("a folder");
    fs::write(&own, "its own").expect("a file");
    fall_behind(&mut house, 1, 61, 40, 10);
    house.nodes[1].start();
    // The log tells why, whoever was quicker; the process stays the same.
    let pid = house.nodes[1].program().id();
    let kept = house.nodes[1].program().says("the one that was here is kept in ");
    house.nodes[1].program().says("listening on ws://");
    house.nodes[1].wait_until_ready();
    assert_eq!(house.nodes[1].program().id(), pid);
    house.add_node("");
    house.nodes[2].wait_until_ready();
    house.settle();
    for node in &house.nodes {
        let mut client = node.connect();
        assert_eq!(count(&mut client), 75, "{}", node.name);
        until("what came by the copy can be searched for", || {
            let found = client.ids(json!({"search": "xxxxxxxxxx", "limit": 500}));
            found.len() == 75
        });
    }
    assert_eq!(fs::read_to_string(&own).expect("a file"), "its own", "what is the node's stays");
    assert!(folders(&house.nodes[2], "before-copy").is_empty(), "a new node had nothing");
    // What it had is there, and what it alone had could be brought back from there.
    let (is_done, lines, words) = house.nodes[1].run(&["export", "--data", &format!("data/{kept}")]);
    assert!(is_done && lines.lines().count() >= 30, "{words}");
    fs::write(house.nodes[1].folder.join("old.jsonl"), &lines).expect("a file");
    let (is_done, _, words) = house.nodes[1].run(&["import", "old.jsonl", "--relay", &house.nodes[1].url()]);
    assert!(is_done, "{words}");
    // It does not stay longer than until the next one.
    fall_behind(&mut house, 1, 62, 5, 10);
    // Under a service manager the process ends, and is started anew.
    let listen = house.nodes[1].address.to_string();
    let mut command = house.nodes[1].command(&["run", "--listen", &listen]);
    let mut program = Program::start({
        command.env("NOTIFY_SOCKET", house.folder.path().join("nobody"));
        command
    });
    program.says("it ends, to be started on the new store");
    assert_eq!(program.wait().code(), Some(75));
    assert!(house.nodes[1].folder.join("data/copy/take").exists());
    house.nodes[1].start();
    house.nodes[1].wait_until_ready();
    let folders = folders(&house.nodes[1], "before-copy");
    assert!(folders.len() == 1 && !folders[0].ends_with(&kept), "{folders:?}");
    assert!(!house.nodes[1].folder.join("data/copy").exists());
    send(&house.nodes[1], 63, 0..3, 10);
    send(&house.nodes[2], 64, 0..3, 10);
    until("nobody keeps what was given", || {
        house.nodes.iter().all(|node| !node.folder.join("data/copy-given").exists())
    });
    house.end_all_equal(&["/"]);
}

#[test]
fn when_nobody_can_give_a_copy_a_node_says_so_and_serves_what_it_has() {
    let Some(mut house) = House::build(1, 2, "") else { return };
    send(&house.nodes[0], 60, 0..10, 10);
    fall_behind(&mut house, 1, 61, 10, 10);
    house.nodes[0].stop();
    house.nodes[1].start();
    until("it says so", || trouble(&house.nodes[1]).contains("no other node answers"));
    let why = trouble(&house.nodes[1]);
    assert!(why.contains("what is between is kept no more; a copy of another node is wanted"), "{why}");
    let (is_well, words, _) = house.nodes[1].run(&["cluster", "status"]);
    assert!(!is_well && words.contains("no other node answers"), "{words}");
    assert!(!house.nodes[1].is_ready());
    let mut client = house.nodes[1].connect();
    assert_eq!(count(&mut client), 10, "reads go on");
    assert!(client.publish_refused(&notes(62, 0..1, 10)[0]).ends_with("(cluster.log)"));
    // Another that cannot follow gives none either, nor one that was told not to.
    house.add_node("");
    until("it says so too", || trouble(&house.nodes[2]).contains("not ready itself"));
    let settings = house.nodes[0].folder.join("relay.toml");
    let text = fs::read_to_string(&settings).expect("a file");
    fs::write(&settings, text.replace("[cluster]\n", "[cluster]\nheals_from_peers = false\n"))
        .expect("a file");
    house.nodes[0].start();
    house.nodes[0].wait_until_ready();
    let failed = |node: &Node| node.status()["copies_failed"].as_u64().expect("a number");
    let before = failed(&house.nodes[1]);
    until("it is asked again", || failed(&house.nodes[1]) > before + 1);
    assert!(
        trouble(&house.nodes[1]).contains("node-2: it is not ready itself"),
        "{}",
        trouble(&house.nodes[1])
    );
    // Nor one whose disk has no room for it; and who has none for a copy fetches none.
    let no_room =
        |text: &str| text.replace("[store]\n", "[store]\ndisk_free_bytes_min = 1_000_000_000_000_000\n");
    house.nodes[0].stop();
    fs::write(&settings, no_room(&text)).expect("a file");
    house.nodes[0].start();
    until("it is asked again", || trouble(&house.nodes[1]).contains("node-0: its disk has"));
    house.nodes[0].stop();
    fs::write(&settings, &text).expect("a file");
    let own = house.nodes[1].folder.join("relay.toml");
    let own_text = fs::read_to_string(&own).expect("a file");
    house.nodes[1].stop();
    fs::write(&own, no_room(&own_text)).expect("a file");
    house.nodes[0].start();
    house.nodes[1].start();
    until("it says so", || trouble(&house.nodes[1]).contains("are free on the disk, and a copy may take"));
    house.nodes[1].stop();
    fs::write(&own, own_text).expect("a file");
    house.nodes[1].start();
    // One that gives comes: both heal, one after the other.
    house.nodes[0].stop();
    house.nodes[0].start();
    house.nodes.iter().for_each(Node::wait_until_ready);
    house.nodes.iter().for_each(|node| assert_eq!(count(&mut node.connect()), 25, "{}", node.name));
    house.end_all_equal(&["/"]);
}

/// Waits until a file is there; whether it was before the node had healed.
fn is_seen(path: &Path, node: &Node) -> bool {
    let began = Instant::now();
    let mut looks = 0_u32;
    while !path.exists() {
        looks += 1;
        if looks.is_multiple_of(200) && node.is_ready() {
            return false;
        }
        assert!(began.elapsed() < crate::house::PATIENCE, "{} heals", node.name);
        std::thread::sleep(Duration::from_micros(200));
    }
    true
}

#[test]
fn a_node_that_is_killed_while_it_heals_has_the_old_store_or_the_new_one() {
    let Some(mut house) = House::build(1, 2, "") else { return };
    let mut dice = Dice(seed());
    // Enough for the moments to be told apart.
    send(&house.nodes[0], 50, 0..2_000, 2_000);
    let moments =
        ["copy/files", "copy/files/manifest", "copy/store", "copy/store/groups", "copy/take", "copy/moved"];
    let mut seen = 0;
    for (round, moment) in (0_u32..).zip(moments) {
        fall_behind(&mut house, 1, 60 + round, 5, 10);
        house.nodes[1].start();
        let path = house.nodes[1].folder.join("data").join(moment);
        if is_seen(&path, &house.nodes[1]) {
            seen += 1;
            std::thread::sleep(Duration::from_millis(dice.below(20)));
        }
        house.nodes[1].kill();
        eprintln!("killed at {moment}");
        house.nodes[1].start();
        house.nodes[1].wait_until_ready();
        let wanted = 2_000 + 10 * u64::from(round + 1);
        house.settle();
        assert_eq!(count(&mut house.nodes[1].connect()), wanted, "after a kill at {moment}");
        assert!(!house.nodes[1].folder.join("data/copy").exists(), "nothing is left over");
    }
    assert!(seen >= 3, "some were killed in the midst: {seen}");
    house.end_all_equal(&["/"]);
}

#[test]
fn a_copy_that_nobody_fetches_any_more_goes() {
    let Some(mut house) = House::build(1, 2, "") else { return };
    send(&house.nodes[0], 50, 0..2_000, 2_000);
    fall_behind(&mut house, 1, 60, 5, 10);
    house.nodes[1].start();
    let given = house.nodes[0].folder.join("data/copy-given");
    assert!(is_seen(&given, &house.nodes[1]), "it is given");
    house.nodes[1].kill();
    until("it goes", || !given.exists());
    assert_eq!(house.nodes[0].status()["giving"], Value::Null);
    house.nodes[1].start();
    house.nodes[1].wait_until_ready();
    house.end_all_equal(&["/"]);
}

#[test]
fn when_who_gives_a_copy_is_killed_another_one_does() {
    let Some(mut house) = House::build(1, 3, "") else { return };
    send(&house.nodes[0], 50, 0..2_000, 2_000);
    fall_behind(&mut house, 2, 60, 5, 10);
    house.nodes[2].start();
    let mut giver = None;
    until("somebody gives one", || {
        giver = (0..2).find(|at| house.nodes[*at].folder.join("data/copy-given").exists());
        giver.is_some()
    });
    let giver = giver.expect("a node");
    assert_eq!(house.nodes[giver].status()["giving"], Value::from("node-2"));
    house.nodes[giver].kill();
    house.nodes[2].wait_until_ready();
    assert_eq!(count(&mut house.nodes[2].connect()), 2_010);
    house.nodes[giver].start();
    house.nodes[giver].wait_until_ready();
    assert!(!house.nodes[giver].folder.join("data/copy-given").exists(), "nothing is left over");
    house.end_all_equal(&["/"]);
}

/// So that the log forgets: milliseconds between two notes of 6,000 bytes.
const HASTE: u64 = 4;

/// So that what little the log keeps is that of several seconds, which a copy may take.
const LEISURE: u64 = 150;

/// Publishes notes at a node, in so many milliseconds each, until told to stop; what was acknowledged.
fn load(url: &str, author: u32, stop: &AtomicBool, pause: &AtomicU64) -> Vec<String> {
    let (mut client, mut acknowledged) = (Client::connect(url), Vec::new());
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let note = &notes(author, number..number + 1, 6_000)[0];
        let (is_taken, why) = client.publish(note);
        assert!(is_taken, "{why}");
        acknowledged.push(note.id.to_string());
        std::thread::sleep(Duration::from_millis(pause.load(Ordering::SeqCst)));
    }
    acknowledged
}

#[test]
fn under_load_a_node_heals_while_the_log_forgets_what_it_lacks_again_and_again() {
    let Some(mut house) = House::build(1, 0, "") else { return };
    let mut dice = Dice(seed());
    for _ in 0..3 {
        house.prepare_node("");
        let node = house.nodes.last_mut().expect("it was added");
        let settings = node.folder.join("relay.toml");
        let text = fs::read_to_string(&settings).expect("a file");
        let (usual, little) = ("log_bytes_max = 100_000_000", "log_bytes_max = 1_048_576");
        assert!(text.contains(usual), "{text}");
        fs::write(&settings, text.replace(usual, little)).expect("a file");
        node.start();
    }
    house.nodes.iter().for_each(Node::wait_until_ready);
    let urls: Vec<String> = house.nodes.iter().map(Node::url).collect();
    let (stop, pause) = (AtomicBool::new(false), AtomicU64::new(HASTE));
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let loads: Vec<_> = [0_u32, 1]
            .map(|at| (at, urls[at as usize].clone(), &stop, &pause))
            .map(|(at, url, stop, pause)| scope.spawn(move || load(&url, 70 + at, stop, pause)))
            .into();
        for round in 0..3 {
            let position = house.nodes[2].status()["position"].as_u64().expect("a number");
            house.nodes[2].kill();
            pause.store(HASTE, Ordering::SeqCst);
            until("the log forgets", || {
                house.nodes[0].status()["first"].as_u64().is_some_and(|first| first > position + 1)
            });
            pause.store(LEISURE, Ordering::SeqCst);
            house.nodes[2].start();
            for _ in 0..2 {
                std::thread::sleep(Duration::from_millis(dice.below(1_500)));
                house.nodes[2].kill();
                house.nodes[2].start();
            }
            house.nodes[2].wait_until_ready();
            eprintln!("round {round}: it has healed");
        }
        stop.store(true, Ordering::SeqCst);
        loads.into_iter().flat_map(|load| load.join().expect("it loads")).collect()
    });
    let stored = house.end_all_equal(&["/"]);
    eprintln!("{} acknowledged", acknowledged.len());
    assert_eq!(stored.len(), acknowledged.len());
    let ids: HashSet<String> = stored
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).expect("an event")["id"].take())
        .map(|id| id.as_str().expect("an id").to_owned())
        .collect();
    acknowledged.iter().for_each(|id| assert!(ids.contains(id), "{id} was acknowledged and is lost"));
}

#[test]
fn what_a_relay_had_before_it_was_a_node_comes_by_a_copy_also_to_itself() {
    let Some(mut house) = House::build(1, 0, "") else { return };
    house.prepare_node("");
    let settings = house.nodes[0].folder.join("relay.toml");
    let with = fs::read_to_string(&settings).expect("a file");
    let (head, _) = with.split_once("[cluster]").expect("the section");
    fs::write(&settings, head).expect("a file");
    house.nodes[0].start();
    send(&house.nodes[0], 60, 0..20, 10);
    house.nodes[0].stop();
    fs::write(&settings, &with).expect("a file");
    house.nodes[0].start();
    house.nodes[0].wait_until_ready();
    send(&house.nodes[0], 61, 0..5, 10);
    // The whole log is there, and does not have what was before it.
    house.add_node("");
    house.nodes[1].wait_until_ready();
    assert_eq!(count(&mut house.nodes[1].connect()), 25);
    // Who has begun the log, and has lost its store, is as new.
    house.nodes[0].kill();
    fs::remove_dir_all(house.nodes[0].folder.join("data")).expect("removed");
    send(&house.nodes[1], 62, 0..5, 10);
    house.nodes[0].start();
    house.nodes[0].wait_until_ready();
    assert_eq!(count(&mut house.nodes[0].connect()), 30);
    // One with events of its own is not healed by losing them.
    house.prepare_node("");
    let settings = house.nodes[2].folder.join("relay.toml");
    let with = fs::read_to_string(&settings).expect("a file");
    let (head, _) = with.split_once("[cluster]").expect("the section");
    fs::write(&settings, head).expect("a file");
    house.nodes[2].start();
    send(&house.nodes[2], 63, 0..3, 10);
    house.nodes[2].stop();
    fs::write(&settings, &with).expect("a file");
    house.nodes[2].start();
    until("it says so", || trouble(&house.nodes[2]).contains("restore a backup of another node"));
    assert_eq!(house.nodes[2].status()["healing"], Value::Null);
    assert_eq!(count(&mut house.nodes[2].connect()), 3);
    house.nodes.pop();
    house.end_all_equal(&["/"]);
}

#[test]
fn a_node_whose_log_was_lost_waits_for_its_operator() {
    let Some(mut house) = House::build(1, 2, "") else { return };
    send(&house.nodes[0], 60, 0..10, 10);
    house.settle();
    house.nodes.iter_mut().for_each(Node::stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = house.servers[0].url();
    runtime.block_on(async {
        let client = async_nats::connect(address).await.expect("connected");
        async_nats::jetstream::new(client).delete_stream("plaza-log").await.expect("deleted");
    });
    // A new one begins another log, which would give it a copy of next to nothing.
    house.add_node("");
    house.nodes[2].wait_until_ready();
    house.nodes[0].start();
    until("it says so", || trouble(&house.nodes[0]).contains("another log"));
    let status = house.nodes[0].status();
    assert_eq!(status["healing"], Value::Null, "{status}");
    assert!(trouble(&house.nodes[0]).contains("restore a backup of another node"), "{status}");
    assert!(!house.nodes[0].folder.join("data/copy").exists());
    assert_eq!(count(&mut house.nodes[0].connect()), 10);
}
