//! Three servers and three nodes under a steady load, while they are killed, paused and cut off from one another in an
//! order that a seed decides: no acknowledged event is lost, all stores are equal in the end, and a subscription on a
//! node that lives hears every event once.
//!
//! `PLAZA_SEED` repeats a run; the long form is `cargo test --test cluster the_same_for_long -- --ignored`.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use plaza::event::Event;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::common::dice::Dice;
use crate::common::{Client, Person, json_of};
use crate::house::{House, Node, SPOKEN, now, owner, try_call, until};

/// The seed that `PLAZA_SEED` gives, or a new one; it is told.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("PLAZA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(secp256k1::rand::random::<u32>()));
    eprintln!("PLAZA_SEED={seed}");
    seed
}

/// People who are banned and taken back all the time.
const BANNED: std::ops::Range<u32> = 500..503;

/// What is sent next: notes, and what makes the order matter – versions, deletions, people who join a group and leave it,
/// people who may be banned at the moment. What is asked to be deleted is not counted on.
fn something(author: u32, number: u32, time: u64, acknowledged: &mut Vec<String>) -> Event {
    let person = Person::new(author + number % 2);
    let (text, later) = (format!("{author} {number}"), time + u64::from(number / 7));
    match number % 10 {
        9 => person.event(30_023, later, &[&["d", "x"]], &text),
        8 => match acknowledged.pop() {
            // It may be the other one's; then it deletes nothing.
            Some(id) => person.event(5, later, &[&["e", &id]], &text),
            None => person.event(1, time, &[], &text),
        },
        7 => person.event(if number % 20 < 10 { 9_021 } else { 9_022 }, later, &[&["h", "square"]], &text),
        6 => Person::new(BANNED.start + number / 10 % 3).event(1, time, &[], &text),
        _ => person.event(1, time, &[], &text),
    }
}

/// Publishes at a node until told to stop; what was acknowledged. Others may be stored as well.
pub(crate) fn load(url: &str, author: u32, time: u64, stop: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let Some(mut client) = Client::try_connect(url) else {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        while !stop.load(Ordering::SeqCst) {
            number += 1;
            let event = something(author, number, time, &mut acknowledged);
            let sent = client.try_send(Message::text(json!(["EVENT", json_of(&event)]).to_string()));
            let Ok(Message::Text(answer)) = sent.and_then(|()| client.try_receive()) else { break };
            let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
            let is_by_banned =
                BANNED.clone().any(|number| Person::new(number).hex() == event.pubkey.to_string());
            if answer[0] == "OK" && answer[2] == true && event.kind.0 == 1 && !is_by_banned {
                acknowledged.push(event.id.to_string());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    acknowledged
}

/// Listens at a node that is not killed; how often each event came.
fn listen(url: &str, stop: &AtomicBool, heard: &Mutex<HashMap<String, usize>>) {
    let mut client = Client::connect(url);
    client.request("live", &[json!({"kinds": [1]})]);
    while !stop.load(Ordering::SeqCst) {
        // There may be nothing to hear for a while.
        let Ok(Message::Text(text)) = client.try_receive() else { continue };
        let message: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        if message[0] == "EVENT" {
            let id = message[2]["id"].as_str().expect("an id").to_owned();
            *heard.lock().expect("no panic").entry(id).or_default() += 1;
        }
    }
}

/// Has somebody banned or taken back, if the node can.
fn moderate(node: &Node, dice: &mut Dice) {
    let method = if dice.below(2) == 0 { "banpubkey" } else { "unbanpubkey" };
    let person = Person::new(BANNED.start + dice.below(3) as u32);
    match try_call(node.address, method, &json!([person.hex(), "chaos"])) {
        Ok(_) => eprintln!("{method} at {}", node.name),
        Err(why) => eprintln!("{} could not: {why}", node.name),
    }
}

/// Does one thing to a server or a node, and undoes it after a while.
fn disturb(house: &mut House, dice: &mut Dice) {
    let pause = Duration::from_millis(300 + dice.below(2_500));
    let at = dice.below(3) as usize;
    // Node 0 is not killed: its subscription must hear everything.
    let node = 1 + dice.below(2) as usize;
    match dice.below(5) {
        0 => {
            eprintln!("server {at} is killed for {pause:?}");
            house.servers[at].kill();
            std::thread::sleep(pause);
            house.servers[at].start();
        }
        1 => {
            eprintln!("server {at} is paused for {pause:?}");
            let program = house.servers[at].program.as_ref().expect("it runs");
            program.signal("STOP");
            std::thread::sleep(pause);
            program.signal("CONT");
        }
        2 => {
            eprintln!("node {node} is killed for {pause:?}");
            house.nodes[node].kill();
            std::thread::sleep(pause);
            house.nodes[node].start();
        }
        3 => {
            eprintln!("node {at} is paused for {pause:?}");
            house.nodes[at].program().signal("STOP");
            std::thread::sleep(pause);
            house.nodes[at].program().signal("CONT");
        }
        _ => {
            // Two at once: nobody has a quorum.
            let other = (at + 1) % 3;
            eprintln!("servers {at} and {other} are killed for {pause:?}");
            house.servers[at].kill();
            house.servers[other].kill();
            std::thread::sleep(pause);
            house.servers[at].start();
            house.servers[other].start();
        }
    }
}

fn chaos(lasts: Duration) {
    let seed = seed();
    let Some(mut house) = House::build(3, 3, SPOKEN) else { return };
    let mut dice = Dice(seed);
    let (time, began) = (now(), Instant::now());
    house.nodes[0].connect().publish_ok(&owner().event(9_007, time, &[&["h", "square"]], ""));
    let urls: Vec<String> = house.nodes.iter().map(Node::url).collect();
    let (stop, stop_listening) = (AtomicBool::new(false), AtomicBool::new(false));
    let heard = Mutex::new(HashMap::new());
    let acknowledged = std::thread::scope(|scope| {
        let listening = scope.spawn(|| listen(&urls[0], &stop_listening, &heard));
        let loads: Vec<_> = (0..)
            .zip(&urls)
            .map(|(at, url)| (at, url.clone(), &stop))
            .map(|(at, url, stop)| scope.spawn(move || load(&url, 100 + at * 10, time, stop)))
            .collect();
        while began.elapsed() < lasts {
            moderate(&house.nodes[dice.below(3) as usize], &mut dice);
            disturb(&mut house, &mut dice);
            std::thread::sleep(Duration::from_millis(500 + dice.below(1_500)));
        }
        stop.store(true, Ordering::SeqCst);
        let acknowledged: Vec<String> =
            loads.into_iter().flat_map(|load| load.join().expect("it loads")).collect();
        house.nodes.iter().for_each(Node::wait_until_ready);
        house.settle();
        // Whatever was stored is heard at last.
        let last = Person::new(99).event(1, time, &[], "the last");
        until("the last one is taken", || house.nodes[1].connect().publish(&last).0);
        let id = last.id.to_string();
        until("the last one is heard", || heard.lock().expect("no panic").contains_key(&id));
        stop_listening.store(true, Ordering::SeqCst);
        until("the listener ends", || {
            let more = Person::new(99).event(1, time, &[], &format!("{:?}", Instant::now()));
            house.nodes[1].connect().publish(&more);
            listening.is_finished()
        });
        acknowledged
    });
    let stored = house.end_all_equal(&["/"]);
    let ids: std::collections::HashSet<String> = stored
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an event"))
        .map(|event| event["id"].as_str().expect("an id").to_owned())
        .collect();
    let heard = heard.into_inner().expect("no panic");
    eprintln!("{} acknowledged, {} stored, {} heard", acknowledged.len(), ids.len(), heard.len());
    for id in &acknowledged {
        assert!(ids.contains(id), "{id} was acknowledged and is lost");
        assert!(heard.contains_key(id), "{id} was not heard");
    }
    let twice: Vec<_> = heard.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "heard more than once: {twice:?}");
    assert!(acknowledged.len() > 50, "there was some load");
}

#[test]
fn whatever_happens_nothing_acknowledged_is_lost_and_all_are_equal() {
    chaos(Duration::from_secs(20));
}

#[test]
#[ignore = "takes ten minutes; the short form runs always"]
fn the_same_for_long() {
    chaos(Duration::from_secs(600));
}
