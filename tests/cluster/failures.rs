//! What a node does without its log, and after.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::http::get;
use crate::common::{Person, ids_of};
use crate::house::{House, Node, heard, now, try_call, until};

#[test]
fn without_its_log_a_node_refuses_and_serves_and_heals() {
    let Some(mut house) = House::build(1, 2, "") else { return };
    let (alice, time) = (Person::new(10), now());
    let first = alice.event(1, time, &[], "before");
    house.nodes[0].connect().publish_ok(&first);
    house.settle();
    let mut listener = house.nodes[1].connect();
    listener.request("live", &[json!({"kinds": [1], "since": time + 1})]);

    house.servers[0].kill();
    let mut client = house.nodes[0].connect();
    let lost = alice.event(1, time + 1, &[], "while it is away");
    let began = Instant::now();
    let why = client.publish_refused(&lost);
    assert!(why.starts_with("error: "), "{why}");
    assert!(began.elapsed() < Duration::from_secs(30), "never hanging");
    assert_eq!(client.ids(json!({})), ids_of(&[&first]), "reads go on");
    until("they say so", || house.nodes.iter().all(|node| !node.is_ready()));
    assert!(get(house.nodes[0].address, "/ready").body.contains("out of reach"));
    assert_eq!(get(house.nodes[0].address, "/health").status, 200, "it lives");
    let status = house.nodes[0].status();
    assert_eq!(status["trouble"], json!("the log is out of reach"), "{status}");
    // The refusal is at once now.
    assert_eq!(
        client.publish_refused(&lost),
        "error: the cluster's log is out of reach; try again later (cluster.log)"
    );
    // Nothing that a moderator decides counts either, and nobody waits for ever.
    let began = Instant::now();
    let banned = try_call(house.nodes[0].address, "banpubkey", &json!([alice.hex(), ""]));
    assert!(banned.is_err() && began.elapsed() < Duration::from_secs(30));

    house.servers[0].start();
    house.nodes.iter().for_each(Node::wait_until_ready);
    let (is_taken, why) = client.publish(&lost);
    assert!(is_taken, "{why}");
    assert_eq!(heard(&mut listener, "live"), lost.id.to_string());
    let stored = house.end_all_equal(&["/"]);
    assert_eq!(stored.len(), 2, "{stored:?}");
}

#[test]
fn a_node_that_is_killed_goes_on_where_it_was() {
    let Some(mut house) = House::build(1, 2, "") else { return };
    let time = now();
    let mut acknowledged = Vec::new();
    for round in 0..4_u32 {
        let mut writer = house.nodes[0].connect();
        let mut notes = Vec::new();
        for number in 0..50 {
            let note = Person::new(50 + number % 5).event(1, time, &[], &format!("{round} {number}"));
            writer.submit(&note);
            notes.push(note);
        }
        if round % 2 == 0 {
            // The other one misses some, and has applied some.
            house.nodes[1].kill();
        }
        for note in &notes {
            assert!(writer.answer_to(note).0);
            acknowledged.push(note.id.to_string());
        }
        if round % 2 == 0 {
            house.nodes[1].start();
        } else {
            // The one that took them is killed right after it said so.
            house.nodes[0].kill();
            house.nodes[0].start();
        }
        house.nodes.iter().for_each(Node::wait_until_ready);
    }
    // A stop in order and a start read nothing again that was there.
    house.settle();
    house.nodes[1].stop();
    house.nodes[1].start();
    house.nodes[1].wait_until_ready();
    let stored = house.end_all_equal(&["/"]);
    for id in &acknowledged {
        assert_eq!(stored.iter().filter(|line| line.contains(id)).count(), 1, "{id}");
    }
    assert_eq!(stored.len(), acknowledged.len());
}

#[test]
fn what_was_refused_a_moment_ago_may_be_right_now() {
    let settings = "[retention]\nevents_per_author_max = 1\nauthor_full = \"refuse\"\n";
    let Some(house) = House::build(1, 2, settings) else { return };
    let (alice, time) = (Person::new(10), now());
    let [mut a, mut b] = [house.nodes[0].connect(), house.nodes[1].connect()];
    let [one, two] = ["one", "two"].map(|text| alice.event(1, time, &[], text));
    a.publish_ok(&one);
    assert!(a.publish_refused(&two).starts_with("blocked: you have 1 event"), "the quota");
    a.publish_ok(&alice.event(5, time + 1, &[&["e", &one.id.to_string()]], ""));
    house.settle();
    // The servers know its id and would pass over it; the node publishes it anew.
    b.publish_ok(&two);
    let stored = house.end_all_equal(&["/"]);
    assert!(stored.iter().any(|line| line.contains(&two.id.to_string())), "{stored:?}");
}
