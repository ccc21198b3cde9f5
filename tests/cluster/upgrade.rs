//! Upgrades, one node after the other, as docs/cluster.md says, and nodes of two versions side by side.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plaza::event::Event;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::chaos::load;
use crate::common::http::get;
use crate::common::{Client, Person, json_of};
use crate::house::{House, Node, SPOKEN, now, owner, tested, until};

/// Whether a node takes an event; one that stops may not say.
fn is_taken(url: &str, event: &Event) -> bool {
    let Some(mut client) = Client::try_connect(url) else { return false };
    let sent = client.try_send(Message::text(json!(["EVENT", json_of(event)]).to_string()));
    match sent.and_then(|()| client.try_receive()) {
        Ok(Message::Text(answer)) => {
            let answer: Value = serde_json::from_str(&answer).expect("JSON");
            answer[0] == "OK" && answer[2] == true
        }
        _ => false,
    }
}

#[test]
fn one_node_after_the_other_is_replaced_while_the_rest_serves() {
    let Some(mut house) = House::build(1, 3, "") else { return };
    let (time, stop) = (now(), AtomicBool::new(false));
    let urls: Vec<String> = house.nodes.iter().map(Node::url).collect();
    let acknowledged = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let (mut acknowledged, mut number) = (Vec::new(), 0_u32);
            while !stop.load(Ordering::SeqCst) {
                number += 1;
                let note = Person::new(60 + number % 5).event(1, time, &[], &number.to_string());
                // What a balancer does: who does not take it, or stops at that moment, is passed over.
                let taken = urls.iter().cycle().skip(number as usize).take(3).any(|url| is_taken(url, &note));
                assert!(taken, "somebody takes events all the time");
                acknowledged.push(note.id.to_string());
                std::thread::sleep(Duration::from_millis(5));
            }
            acknowledged
        });
        for at in 0..3 {
            house.nodes[at].stop();
            house.nodes[at].start();
            until("it is 0 behind", || {
                let (is_well, words, _) = house.nodes[at].run(&["cluster", "status"]);
                is_well && words.contains("0 behind")
            });
        }
        stop.store(true, Ordering::SeqCst);
        load.join().expect("it loads")
    });
    let stored = house.end_all_equal(&["/"]);
    assert_eq!(stored.len(), acknowledged.len());
}

/// The program of another build, which is to be named.
fn other_build() -> PathBuf {
    let named = std::env::var_os("PLAZA_OTHER_PROGRAM");
    PathBuf::from(named.expect("PLAZA_OTHER_PROGRAM=/path/to/plaza names the program of another build"))
}

/// A note, what manages a group, and a decision at each node; all of it counts on all of them.
fn write_at_each(house: &House, round: u32, time: u64) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for (at, node) in (0_u32..).zip(&house.nodes) {
        let person = Person::new(300 + 10 * round + at);
        let note = person.event(1, time, &[], &format!("in round {round}"));
        let join = person.event(9_021, time + u64::from(round), &[&["h", "square"]], "");
        let mut client = node.connect();
        client.publish_ok(&note);
        client.publish_ok(&join);
        node.call("banpubkey", &json!([Person::new(200 + 10 * round + at).hex(), "mixed"]));
        acknowledged.push(note.id.to_string());
    }
    house.settle();
    for id in &acknowledged {
        for node in &house.nodes {
            let found = node.connect().ids(json!({"ids": [id]}));
            assert_eq!(found, std::slice::from_ref(id), "round {round} at {}", node.name);
        }
    }
    acknowledged
}

#[test]
#[ignore = "takes the program of another build: PLAZA_OTHER_PROGRAM=/path/to/plaza"]
fn nodes_of_two_builds_work_side_by_side_while_one_after_the_other_is_replaced() {
    let (other, this) = (other_build(), tested());
    let Some(mut house) = House::build(1, 0, SPOKEN) else { return };
    for _ in 0..3 {
        house.prepare_node("");
        let node = house.nodes.last_mut().expect("it was added");
        node.build.clone_from(&other);
        node.start();
    }
    house.nodes.iter().for_each(Node::wait_until_ready);
    let (time, stop) = (now(), AtomicBool::new(false));
    house.nodes[0].connect().publish_ok(&owner().event(9_007, time, &[&["h", "square"]], ""));
    let urls: Vec<String> = house.nodes.iter().map(Node::url).collect();
    let acknowledged = std::thread::scope(|scope| {
        let loads: Vec<_> = (0..)
            .zip(&urls)
            .map(|(at, url)| (at, url.clone(), &stop))
            .map(|(at, url, stop)| scope.spawn(move || load(&url, 100 + at * 10, time, stop)))
            .collect();
        let mut acknowledged = write_at_each(&house, 0, time);
        // One after the other, one of them back again, and on.
        let steps = [(0, &this), (1, &this), (1, &other), (1, &this), (2, &this), (0, &other), (0, &this)];
        for (round, (at, build)) in (1_u32..).zip(steps) {
            house.nodes[at].stop();
            house.nodes[at].build.clone_from(build);
            house.nodes[at].start();
            until("it is 0 behind", || {
                let status = house.nodes[at].status();
                house.nodes[at].is_ready() && status["last"] == status["position"]
            });
            acknowledged.extend(write_at_each(&house, round, time));
            eprintln!("{} runs {}", house.nodes[at].name, build.display());
        }
        stop.store(true, Ordering::SeqCst);
        acknowledged.extend(loads.into_iter().flat_map(|load| load.join().expect("it loads")));
        acknowledged
    });
    let stored = house.end_all_equal(&["/"]).join("\n");
    eprintln!("{} acknowledged, {} stored", acknowledged.len(), stored.lines().count());
    assert!(acknowledged.len() > 100, "there was some load");
    for id in &acknowledged {
        assert!(stored.contains(id), "{id} was acknowledged and is lost");
    }
}

/// Publishes something to the log that no node of this version has written.
fn publish(house: &House, subject: &str, bytes: Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = house.servers[0].url();
    let subject = subject.to_owned();
    runtime.block_on(async {
        let client = async_nats::connect(address).await.expect("connected");
        let log = async_nats::jetstream::new(client);
        log.publish(subject, bytes.into()).await.expect("sent").await.expect("taken");
    });
}

#[test]
fn what_a_later_version_says_is_followed_as_far_as_it_is_known_and_never_passed_over() {
    // The head of an entry of another process, of this version's form, and what it is.
    let entry = |kind: u8, rest: &[u8]| {
        [&[1][..], &7_u64.to_le_bytes(), &1_u64.to_le_bytes(), &[kind], rest].concat()
    };
    let rules = |text: &str| entry(4, &[&9_u64.to_le_bytes()[..], text.as_bytes()].concat());
    let table = [
        ("a later form", vec![2], "of a later version"),
        ("a sort of entry that is new", entry(99, &[]), "of a later version"),
        (
            "a setting that is new",
            rules(r#"{"settings":{"relay":{"of_tomorrow":1}}}"#),
            "settings that this version",
        ),
    ];
    for (what, bytes, wanted) in table {
        let Some(house) = House::build(1, 1, "") else { return };
        let time = now();
        // What a later version says in words that are known is followed.
        publish(
            &house,
            "plaza.log._root.rules",
            rules(r#"{"settings":{"retention":{"events_per_author_max":3}}}"#),
        );
        house.nodes[0].connect().publish_ok(&Person::new(60).event(1, time, &[], "before"));
        publish(&house, "plaza.log._root.later", bytes);
        let trouble = || house.nodes[0].status()["trouble"].as_str().unwrap_or_default().to_owned();
        until(what, || trouble().contains(wanted) && trouble().contains("upgrade this node"));
        let mut client = house.nodes[0].connect();
        assert!(client.publish_refused(&Person::new(60).event(1, time, &[], "after")).starts_with("error: "));
        assert_eq!(client.count(&[json!({"kinds": [1]})]), 1, "{what}: reads go on");
        assert_eq!(get(house.nodes[0].address, "/ready").status, 503, "{what}: a balancer goes by it");
    }
}
