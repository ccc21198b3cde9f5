//! `plaza backup` and `plaza restore`: of a relay that runs, again and again, whole or in part, and interrupted.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::common::folder::Folder;
use super::common::{Client, Person};
use super::{PAST, TWO, all_of, notes, serve, succeed};

fn names(folder: &Folder, backup: &str) -> Vec<String> {
    let entries = fs::read_dir(folder.path(backup)).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_backup_of_a_running_relay_is_brought_up_to_date_and_restored() {
    let (folder, relay) = serve(TWO);
    let mut client = Client::connect(&relay.url);
    let mut market = Client::connect(&format!("{}/market", relay.url));
    let (alice, bob) = (Person::new(1), Person::new(2));
    notes(1, 0..300).iter().for_each(|note| client.publish_ok(note));
    notes(3, 0..40).iter().for_each(|note| market.publish_ok(note));
    client.publish_ok(&alice.event(0, PAST + 1, &[], "{\"name\":\"alice\"}"));
    let long = "long ".repeat(30_000);
    client.publish_ok(&bob.event(30_023, PAST + 1, &[&["d", "walk"]], &long));
    let done = succeed(&folder, &["backup", "kept"]);
    assert!(done.said("342 events added, 0 gone"), "{done:?}");

    // Versions, a deletion, somebody vanishes, and more.
    client.publish_ok(&alice.event(0, PAST + 2, &[], "{\"name\":\"alicia\"}"));
    let gone = notes(1, 5..6)[0].id.to_string();
    client.publish_ok(&alice.event(5, PAST + 400, &[&["e", &gone]], ""));
    market.publish_ok(&Person::new(3).event(62, PAST + 20, &[&["relay", "ALL_RELAYS"]], ""));
    notes(2, 0..50).iter().for_each(|note| client.publish_ok(note));
    let done = succeed(&folder, &["backup", "kept"]);
    assert!(done.said("53 events added"), "{done:?}");
    assert!(names(&folder, "kept").iter().filter(|name| name.starts_with("records-")).count() == 2);
    assert_eq!(names(&folder, "kept").iter().filter(|name| name.starts_with("state-")).count(), 1);
    let done = succeed(&folder, &["verify", "kept"]);
    assert!(done.said("all is well"), "{done:?}");

    // What is backed up is what the relay holds.
    succeed(&folder, &["restore", "kept", "--data", "restored"]);
    assert_eq!(relay.end("TERM"), 0);
    let [root, stalls] = all_of(&folder, "restored");
    assert_eq!([root.clone(), stalls.clone()], all_of(&folder, "data"));
    assert!(root.contains("alicia") && !root.contains("\"alice\"") && root.contains("long long"));
    assert!(
        !root.contains(&gone.to_string()) || root.matches(&gone).count() == 1,
        "only its request names it"
    );
    // The request, and what came after it.
    assert_eq!(stalls.lines().count(), 20);

    // The restored one is a relay like the other: what vanished does not return, what is new has its place.
    let relay = folder.serve(&["--data", "restored"]);
    let mut market = Client::connect(&format!("{}/market", relay.url));
    assert!(market.publish_refused(&notes(3, 3..4)[0]).contains("nip62.vanished"));
    let mut client = Client::connect(&relay.url);
    assert!(client.publish_refused(&notes(1, 5..6)[0]).contains("nip09.deleted"));
    client.publish_ok(&notes(4, 0..1)[0]);
    // And the next backup of it goes on in the same folder.
    let done = succeed(&folder, &["backup", "kept", "--data", "restored"]);
    assert!(done.said("1 events added, "), "{done:?}");
    assert_eq!(relay.end("TERM"), 0);

    // The old one has now another past than the backup knows. What the backup has is not given up for it unasked.
    folder.stock(&notes(5, 0..3));
    folder.run(&["backup", "kept"]).refused(&["another past of this one", "--full"]);
    assert!(succeed(&folder, &["verify", "kept"]).said("all is well"));
    succeed(&folder, &["backup", "kept", "--full"]);
    succeed(&folder, &["restore", "kept", "--data", "again"]);
    assert_eq!(all_of(&folder, "again"), all_of(&folder, "data"));
}

#[test]
fn a_backup_is_of_one_moment_while_events_come_and_go() {
    let (folder, relay) = serve(TWO);
    let url = relay.url.clone();
    let people = 60_u32;
    // Everybody always has one profile.
    let profile = |person: u32, round: u64| {
        Person::new(person).event(0, PAST + round, &[], &format!("{{\"name\":\"{}\"}}", "x".repeat(400)))
    };
    let mut client = Client::connect(&url);
    (0..people).for_each(|person| client.publish_ok(&profile(person, 0)));
    let writing = std::thread::spawn(move || {
        for round in 1..=40 {
            (0..people).for_each(|person| client.submit(&profile(person, round)));
            (0..people).for_each(|person| assert!(client.answer_to(&profile(person, round)).0));
        }
    });
    let mut runs = 0;
    while !writing.is_finished() || runs < 3 {
        succeed(&folder, &["backup", "kept"]);
        let data = format!("restored-{runs}");
        succeed(&folder, &["restore", "kept", "--data", &data]);
        let events = folder.export(&["--data", &data]);
        let authors: std::collections::BTreeSet<&str> =
            events.lines().filter_map(|line| line.split("\"pubkey\":\"").nth(1)?.get(..64)).collect();
        assert_eq!((events.lines().count(), authors.len()), (people as usize, people as usize), "run {runs}");
        runs += 1;
    }
    writing.join().expect("all were taken");
    assert!(succeed(&folder, &["verify", "kept"]).said("all is well"));
    assert_eq!(relay.end("TERM"), 0);
}

#[test]
fn one_community_can_be_restored_alone() {
    let (folder, relay) = serve(TWO);
    let mut client = Client::connect(&relay.url);
    notes(1, 0..20).iter().for_each(|note| client.publish_ok(note));
    let mut market = Client::connect(&format!("{}/market", relay.url));
    notes(2, 0..10).iter().for_each(|note| market.publish_ok(note));
    succeed(&folder, &["backup", "kept"]);
    assert_eq!(relay.end("TERM"), 0);
    folder
        .run(&["restore", "kept", "--data", "new", "--community", "/square"])
        .refused(&["no community at /square", "/market"]);
    succeed(&folder, &["restore", "kept", "--data", "new", "--community", "/market"]);
    let [root, market] = all_of(&folder, "new");
    assert_eq!((root.lines().count(), market.lines().count()), (0, 10));
    assert_eq!(market, all_of(&folder, "data")[1]);
    // It is no whole store: to back it up there would take the others from the backup.
    folder.run(&["backup", "kept", "--data", "new"]).refused(&["another past", "--full"]);
    folder.run(&["restore", "kept", "--data", "new"]).refused(&["is not empty"]);
    folder.run(&["restore", "data", "--data", "other"]).refused(&["holds no backup"]);
    folder.run(&["backup", "data"]).refused(&["holds other things"]);
}

#[test]
fn an_interrupted_run_leaves_the_backup_as_it_was() {
    let folder = Folder::new();
    folder.stock(&notes(1, 0..50));
    succeed(&folder, &["backup", "kept"]);
    let before = names(&folder, "kept");
    // What a run leaves that was cut off before its manifest: files that are finished, and one that is not.
    folder.write("kept/records-000002-0000", "half of it");
    folder.write("kept/records-000002-0001.new", "less");
    folder.write("kept/manifest.new", "{");
    succeed(&folder, &["verify", "kept"]);
    succeed(&folder, &["restore", "kept", "--data", "restored"]);
    assert_eq!(folder.export(&["--data", "restored"]).lines().count(), 50);
    folder.stock(&notes(2, 0..5));
    succeed(&folder, &["backup", "kept"]);
    let after = names(&folder, "kept");
    assert!(!after.iter().any(|name| name.ends_with(".new")), "{before:?} {after:?}");
    assert!(succeed(&folder, &["verify", "kept"]).said("55 events"));
}

#[test]
fn a_full_run_thins_a_backup_and_a_lost_memory_is_made_up_for_by_comparing() {
    let folder = Folder::new();
    for person in 1..6 {
        folder.stock(&notes(person, 0..40));
        let mine = format!("{{\"authors\":[\"{}\"],\"limit\":10}}", Person::new(person).hex());
        succeed(&folder, &["delete", "--filter", &mine]);
        succeed(&folder, &["backup", "kept"]);
    }
    let files = names(&folder, "kept").len();
    let size = |folder: &Folder| {
        let sizes = names(folder, "kept")
            .into_iter()
            .map(|name| fs::metadata(folder.path(&format!("kept/{name}"))).expect("a file").len());
        sizes.sum::<u64>()
    };
    let before = size(&folder);
    // Four other backups later the store has forgotten this one.
    for other in ["a", "b", "c", "d"] {
        folder.stock(&notes(9, u64::from(other.as_bytes()[0])..u64::from(other.as_bytes()[0]) + 1));
        succeed(&folder, &["backup", other]);
    }
    succeed(&folder, &["delete", "--filter", "{\"limit\":7}"]);
    let done = succeed(&folder, &["backup", "kept"]);
    assert!(done.said("4 events added") || done.said("0 events added"), "{done:?}");
    succeed(&folder, &["restore", "kept", "--data", "compared"]);
    assert_eq!(folder.export(&["--data", "compared"]), folder.export(&[]));
    let done = succeed(&folder, &["backup", "kept", "--full"]);
    assert!(done.said("147 events added, 0 gone"), "{done:?}");
    assert!(names(&folder, "kept").len() < files && size(&folder) < before);
    succeed(&folder, &["restore", "kept", "--data", "thinned"]);
    assert_eq!(folder.export(&["--data", "thinned"]), folder.export(&[]));
    let done = succeed(&folder, &["backup", "kept"]);
    assert!(done.said("0 events added, 0 gone"), "{done:?}");
}

#[test]
fn two_runs_into_one_folder_do_not_meet() {
    let folder = Folder::new();
    folder.stock(&notes(1, 0..5));
    succeed(&folder, &["backup", "kept"]);
    // Somebody else has the folder: `flock` holds it as a run does.
    let held = Command::new("flock")
        .args(["--nonblock", "kept", env!("CARGO_BIN_EXE_plaza"), "backup", "kept"])
        .current_dir(&folder.0)
        .output();
    match held {
        Ok(held) => {
            let words = String::from_utf8_lossy(&held.stderr).into_owned();
            assert!(words.contains("another `plaza backup` writes to kept now"), "{words}");
        }
        Err(error) => println!("skipped: there is no `flock` here: {error}"),
    }
}

#[test]
fn state_of_all_tables_comes_along() {
    let (folder, relay) = serve("[nip62]\nsweep_events_per_second = 1\n");
    let mut client = Client::connect(&relay.url);
    notes(1, 0..30).iter().for_each(|note| client.publish_ok(note));
    client.publish_ok(&Person::new(1).event(62, PAST + 100, &[&["relay", "ALL_RELAYS"]], ""));
    succeed(&folder, &["backup", "kept"]);
    succeed(&folder, &["restore", "kept", "--data", "restored"]);
    assert_eq!(relay.end("TERM"), 0);
    let relay = folder.serve(&["--data", "restored"]);
    let mut client = Client::connect(&relay.url);
    assert_eq!(client.ids(json!({"kinds": [1]})), Vec::<String>::new(), "what vanished is not shown");
    assert!(client.publish_refused(&notes(1, 40..41)[0]).contains("nip62.vanished"));
    assert_eq!(relay.end("TERM"), 0);
}

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_a_backup() {
    let (folder, relay) = serve(TWO);
    let mut client = Client::connect(&relay.url);
    let mut stored = 0;
    let mut publish = |people: std::ops::Range<u32>| {
        for person in people {
            notes(person, 0..400).iter().for_each(|note| client.submit(note));
            notes(person, 0..400).iter().for_each(|note| assert!(client.answer_to(note).0));
            stored += 400;
        }
        stored
    };
    publish(0..3);
    succeed(&folder, &["backup", "kept"]);
    for round in 0..12_u32 {
        publish(3 + round * 3..6 + round * 3);
        let mut run = folder.command(&["backup", "kept"]).spawn().expect("the program runs");
        // Not for luck: whatever it was doing by then, it must have left a backup.
        std::thread::sleep(std::time::Duration::from_millis(u64::from(round) * 3));
        let _ = run.kill();
        run.wait().expect("it ends");
        let done = succeed(&folder, &["verify", "kept"]);
        assert!(done.said("all is well"), "round {round}: {done:?}");
    }
    let stored = publish(60..61);
    succeed(&folder, &["backup", "kept"]);
    let done = succeed(&folder, &["verify", "kept"]);
    assert!(done.said(&format!("{} events of 1 communities", plaza::words::number(stored))), "{done:?}");
    assert!(!names(&folder, "kept").iter().any(|name| name.ends_with(".new")));
    assert_eq!(relay.end("TERM"), 0);
}
