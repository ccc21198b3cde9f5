//! What is written on one node is the same on all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::json;

use crate::common::http::get;
use crate::common::program::free_port;
use crate::common::{Client, Person, ids_of};
use crate::house::{House, call, heard, now, until};

const TWO: &str = "[[community]]\npath = \"/town\"\n";

#[test]
fn what_one_node_takes_all_have_live_and_stored() {
    let Some(house) = House::build(1, 2, TWO) else { return };
    let [mut a, mut b] = [house.nodes[0].connect(), house.nodes[1].connect()];
    let (alice, bob, time) = (Person::new(10), Person::new(11), now());
    b.request("live", &[json!({})]);

    // Live and stored, in both directions and in two communities.
    let note = alice.event(1, time, &[], "from a");
    a.publish_ok(&note);
    assert_eq!(heard(&mut b, "live"), note.id.to_string());
    let mut town = [house.nodes[0].connect_at("/town"), house.nodes[1].connect_at("/town")];
    town[0].request("live", &[json!({})]);
    let elsewhere = bob.event(1, time, &[], "in town");
    town[1].publish_ok(&elsewhere);
    assert_eq!(heard(&mut town[0], "live"), elsewhere.id.to_string());
    // Who has the answer reads what they wrote.
    assert_eq!(town[1].ids(json!({})), ids_of(&[&elsewhere]));
    assert_eq!(a.ids(json!({})), ids_of(&[&note]));

    // A copy at the other node is one, wherever it is sent.
    assert_eq!(b.publish(&note), (true, "duplicate: already have this event".to_owned()));

    // Ephemeral events pass through and are stored nowhere.
    let passing = alice.event(20_001, time, &[], "now");
    a.publish_ok(&passing);
    assert_eq!(heard(&mut b, "live"), passing.id.to_string());

    // Ties of replaceable events go to the lowest id, in whatever order nodes take them.
    let [mut a, mut b] = [house.nodes[0].connect(), house.nodes[1].connect()];
    let mut versions: Vec<_> =
        (0..6).map(|n| alice.event(0, time, &[], &format!("{{\"name\":\"{n}\"}}"))).collect();
    versions.iter().enumerate().for_each(|(at, version)| {
        let client = if at % 2 == 0 { &mut a } else { &mut b };
        client.publish(version);
    });
    versions.sort_by_key(|version| version.id);
    let profile = json!({"kinds": [0]});
    for node in &house.nodes {
        // What the other node took last comes a moment later.
        until("each has the version that stays", || {
            node.connect().ids(profile.clone()) == ids_of(&[&versions[0]])
        });
    }

    // A deletion on one node takes from the other, and keeps away from both.
    b.publish_ok(&alice.event(5, time + 1, &[&["e", &note.id.to_string()]], ""));
    until("the deletion has come", || house.nodes[0].connect().ids(json!({"kinds": [1]})).is_empty());
    assert_eq!(a.publish_refused(&note), "blocked: its deletion was asked for by who may (nip09.deleted)");

    // Who vanishes on one node vanishes from all.
    a.publish_ok(&bob.event(1, time, &[], "soon gone"));
    b.publish_ok(&bob.event(62, time + 5, &[&["relay", "ALL_RELAYS"]], ""));
    until("who vanished is gone", || {
        house.nodes[0].connect().ids(json!({"authors": [bob.hex()], "kinds": [1]})).is_empty()
    });
    until("bodies are removed", || {
        let events = |node: &crate::house::Node| node.run(&["stats", "--json"]).1;
        house.nodes.iter().all(|node| !events(node).contains("\"events\": 5"))
    });
    house.end_all_equal(&["/", "/town"]);
}

#[test]
fn what_a_moderator_decides_on_one_node_counts_on_all() {
    let Some(house) = House::build(1, 2, TWO) else { return };
    let (troll, time) = (Person::new(20), now());
    let [a, b] = [&house.nodes[0], &house.nodes[1]];
    let note = troll.event(1, time, &[], "trolling");
    a.connect().publish_ok(&note);
    a.call("banpubkey", &json!([troll.hex(), "trolls"]));
    let again = troll.event(1, time, &[], "again");
    until("the ban counts", || !b.connect().publish(&again).0);
    assert!(b.connect().ids(json!({"authors": [troll.hex()]})).is_empty(), "what is banned is hidden");
    // Each decides on its own node at the same time; the record has both, each with a number.
    let lifted = std::thread::scope(|scope| {
        let address = a.address;
        let one = scope.spawn(move || call(address, "unbanpubkey", &json!([Person::new(20).hex(), ""])));
        b.call("changerelayname", &json!(["One town"]));
        one.join().expect("it is carried out")
    });
    assert_eq!(lifted, json!(true));
    house.settle();
    let record = |node: &crate::house::Node| node.call("listauditlog", &json!([]));
    let [one, other] = [record(a), record(b)];
    assert_eq!(one, other, "one record");
    assert_eq!(one.as_array().map(Vec::len), Some(3), "{one}");
    for node in [a, b] {
        let about = get(node.address, "/");
        assert!(about.body.contains("One town"), "{}", node.name);
        node.connect().publish(&again);
    }
    // Settings that are changed on one count on the other.
    b.call("changesettings", &json!([{"limits.content_chars_max": 10}]));
    let long = Person::new(21).event(1, time, &[], &"long ".repeat(10));
    until("the setting counts", || !a.connect().publish(&long).0);
    house.end_all_equal(&["/"]);
}

#[test]
fn rules_that_look_at_stored_events_say_the_same_on_all_whatever_each_is_set_to() {
    let settings = "[retention]\nevents_per_author_max = 3\nauthor_full = \"oldest\"\n";
    let Some(mut house) = House::build(1, 1, settings) else { return };
    // The other node has another quota: what it takes is placed by its own, on both.
    house.add_node("");
    let other = house.nodes[1].folder.join("relay.toml");
    house.nodes[1].kill();
    let text = std::fs::read_to_string(&other).expect("a file").replace("author_max = 3", "author_max = 5");
    std::fs::write(&other, text).expect("a file");
    house.nodes[1].start();
    house.nodes[1].wait_until_ready();
    let time = now();
    std::thread::scope(|scope| {
        for (at, node) in house.nodes.iter().enumerate() {
            let url = node.url();
            scope.spawn(move || {
                let mut client = Client::connect(&url);
                for number in 0..60 {
                    let author = Person::new(30 + number % 3);
                    let text = format!("{at} {number}");
                    client.publish(&author.event(1, time - 1_000 + u64::from(number * 7 % 60), &[], &text));
                }
            });
        }
    });
    let status = house.nodes[0].status();
    assert!(status["other_settings"].as_u64().is_some_and(|number| number > 0), "{status}");
    let stored = house.end_all_equal(&["/"]);
    assert!((9..=15).contains(&stored.len()), "{} events of three authors", stored.len());
}

#[test]
fn a_node_is_measured_as_its_page_says() {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let Some(house) = House::build(1, 1, &format!("[metrics]\nlisten = \"{address}\"\n")) else { return };
    let page = include_str!("../../docs/cluster.md");
    let explained: BTreeSet<String> = page
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `plaza_cluster_")?.split_once('`')?.0.to_owned()))
        .collect();
    let numbers = get(address, "/metrics").body;
    let told = numbers.lines().filter_map(|line| line.strip_prefix("plaza_cluster_")?.split_once(' '));
    let told: BTreeMap<String, f64> =
        told.map(|(name, number)| (name.to_owned(), number.parse().expect("a number"))).collect();
    assert_eq!(told.keys().cloned().collect::<BTreeSet<_>>(), explained);
    house.nodes[0].connect().publish_ok(&Person::new(10).event(1, now(), &[], "one more"));
    let position = |numbers: &str| {
        let line = numbers.lines().find_map(|line| line.strip_prefix("plaza_cluster_position "));
        line.expect("a position").parse::<f64>().expect("a number")
    };
    until("the position is told", || position(&get(address, "/metrics").body) == told["position"] + 1.0);
    assert_eq!((told["ready"], told["lag"], told["pending"]), (1.0, 0.0, 0.0));
    let status = house.nodes[0].status();
    assert_eq!(status["trouble"], json!(null), "{status}");
    let (is_well, words, _) = house.nodes[0].run(&["cluster", "status"]);
    assert!(is_well && words.contains("node node-0: takes events"), "{words}");
}
