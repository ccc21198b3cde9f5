//! New nodes, and nodes that were away for too long, where they do not heal by themselves.

use std::fs;

use crate::common::Person;
use crate::house::{House, now, purge, until};

/// What has a node wait for its operator.
const ALONE: &str = "heals_from_peers = false\n";

#[test]
fn a_new_node_begins_at_the_beginning_or_from_a_backup_and_says_when_it_cannot() {
    // The servers keep little of the log.
    let Some(mut house) = House::build(1, 1, "") else { return };
    let time = now();
    let notes =
        |from: u32, to: u32| (from..to).map(move |n| Person::new(60).event(1, time, &[], &format!("{n}")));
    let mut client = house.nodes[0].connect();
    notes(0, 20).for_each(|note| client.publish_ok(&note));
    // All of it is there yet.
    house.add_node(ALONE);
    house.nodes[1].wait_until_ready();
    house.settle();

    // What is past is kept no more.
    house.nodes[1].stop();
    notes(20, 40).for_each(|note| client.publish_ok(&note));
    let last = house.nodes[0].status()["last"].as_u64().expect("a number");
    purge(&house, last);
    notes(40, 60).for_each(|note| client.publish_ok(&note));
    for at in [1, 2] {
        match at {
            1 => house.nodes[1].start(),
            _ => house.add_node(ALONE),
        }
        let node = &house.nodes[at];
        let trouble = || node.status()["trouble"].as_str().unwrap_or_default().to_owned();
        until("it says that it cannot", || trouble().contains("what is between is kept no more"));
        assert!(trouble().contains("restore a backup of another node"), "{}", trouble());
        assert!(!node.is_ready());
        let why = node.connect().publish_refused(&Person::new(61).event(1, time, &[], "here"));
        assert_eq!(
            why,
            "error: this node has lost its place in the cluster's log; use another one, its operator is told (cluster.log)"
        );
        house.nodes[at].kill();
    }

    // From a backup of one that serves, each goes on.
    let backup = house.folder.path().join("backup");
    let backup = backup.to_str().expect("a path");
    let (is_done, _, words) = house.nodes[0].run(&["backup", backup]);
    assert!(is_done, "{words}");
    notes(60, 80).for_each(|note| client.publish_ok(&note));
    for at in [1, 2] {
        fs::rename(house.nodes[at].folder.join("data"), house.nodes[at].folder.join("old")).expect("renamed");
        let (is_done, _, words) = house.nodes[at].run(&["restore", backup]);
        assert!(is_done, "{words}");
        house.nodes[at].start();
        house.nodes[at].wait_until_ready();
    }
    house.nodes[2].connect().publish_ok(&Person::new(61).event(1, time, &[], "there"));
    assert_eq!(house.end_all_equal(&["/"]).len(), 81);
}

#[test]
fn a_relay_that_was_alone_becomes_the_first_node() {
    let Some(mut house) = House::build(1, 0, "") else { return };
    house.prepare_node("");
    let settings = house.nodes[0].folder.join("relay.toml");
    let with = fs::read_to_string(&settings).expect("a file");
    let (head, rest) = with.split_once("[cluster]").expect("the section");
    fs::write(&settings, head).expect("a file");
    assert!(rest.contains("servers"));
    house.nodes[0].start();
    let time = now();
    let old = Person::new(70).event(1, time, &[], "when it was alone");
    house.nodes[0].connect().publish_ok(&old);
    house.nodes[0].stop();
    fs::write(&settings, &with).expect("a file");
    // Its store is changed by nothing but the log from now on.
    fs::write(house.nodes[0].folder.join("more"), "").expect("a file");
    let (is_done, _, words) = house.nodes[0].run(&["import", "more"]);
    assert!(!is_done && words.contains("belongs to a node of a cluster"), "{words}");
    house.nodes[0].start();
    house.nodes[0].wait_until_ready();
    house.nodes[0].connect().publish_ok(&Person::new(70).event(1, time, &[], "as a node"));

    // One that has none of it cannot begin at the beginning of the log.
    house.add_node(ALONE);
    let trouble = |house: &House| house.nodes[1].status()["trouble"].as_str().unwrap_or_default().to_owned();
    until("it says so", || trouble(&house).contains("it goes on from what node-0 had stored before"));
    house.nodes[1].kill();
    let backup = house.folder.path().join("backup");
    let backup = backup.to_str().expect("a path");
    let (is_done, _, words) = house.nodes[0].run(&["backup", backup]);
    assert!(is_done, "{words}");
    fs::rename(house.nodes[1].folder.join("data"), house.nodes[1].folder.join("old")).expect("renamed");
    let (is_done, _, words) = house.nodes[1].run(&["restore", backup]);
    assert!(is_done, "{words}");
    house.nodes[1].start();
    house.nodes[1].wait_until_ready();

    // Who goes on alone for a while cannot come back as if nothing had been.
    house.settle();
    house.nodes[0].stop();
    fs::write(&settings, head).expect("a file");
    house.nodes[0].start();
    house.nodes[0].connect().publish_ok(&Person::new(70).event(1, time, &[], "alone again"));
    house.nodes[0].stop();
    fs::write(&settings, &with).expect("a file");
    house.nodes[0].start();
    let trouble = || house.nodes[0].status()["trouble"].as_str().unwrap_or_default().to_owned();
    until("it says so", || trouble().contains("was used without [cluster] meanwhile"));
    let why =
        house.nodes[0].connect().publish_refused(&Person::new(70).event(1, time, &[], "as a node again"));
    assert!(why.ends_with("(cluster.log)"), "{why}");
    // With its store a new log begins, under another name.
    house.nodes.iter_mut().for_each(crate::house::Node::stop);
    fs::write(&settings, with.replace("node = ", "name = \"anew\"\nnode = ")).expect("a file");
    house.nodes[0].start();
    house.nodes[0].wait_until_ready();
    let (is_done, _, words) = house.nodes[0].run(&["backup", backup]);
    assert!(is_done, "{words}");
    let other = house.nodes[1].folder.join("relay.toml");
    let text = fs::read_to_string(&other).expect("a file");
    fs::write(&other, text.replace("node = ", "name = \"anew\"\nnode = ")).expect("a file");
    fs::remove_dir_all(house.nodes[1].folder.join("data")).expect("removed");
    let (is_done, _, words) = house.nodes[1].run(&["restore", backup]);
    assert!(is_done, "{words}");
    house.nodes[1].start();
    house.nodes[1].wait_until_ready();
    assert_eq!(house.end_all_equal(&["/"]).len(), 3);
}
