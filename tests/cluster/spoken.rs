//! What the relay itself says, signed, because of what is written: groups (NIP-29) and members (NIP-43). Each node signs it
//! anew, and it is the same on all, whatever is gathered together where.

use std::fs;

use serde_json::{Value, json};

use crate::common::http::ask;
use crate::common::{Client, Person};
use crate::house::{House, Node, RELAY_KEY, SPOKEN, call, heard, now, owner, until};

fn managing(person: &Person, kind: u16, time: u64, tags: &[&[&str]]) -> plaza::event::Event {
    let tags: Vec<&[&str]> = [&["h", "square"][..]].into_iter().chain(tags.iter().copied()).collect();
    person.event(kind, time, &tags, "")
}

fn own_key(node: &Node) -> String {
    let document = ask(node.address, "GET", "/", &[("Accept", "application/nostr+json")], "").json();
    document["self"].as_str().expect("a key").to_owned()
}

/// Whom the relay names in the newest event of a kind, by its own key, among the lines of a store.
fn named(stored: &[String], kind: u16, tag: &str, key: &str) -> Vec<String> {
    let events = stored.iter().map(|line| serde_json::from_str::<Value>(line).expect("an event"));
    let told: Vec<Value> = events.filter(|event| event["kind"] == kind && event["pubkey"] == key).collect();
    let [told] = &told[..] else { panic!("one event of kind {kind}: {told:?}") };
    let tags = told["tags"].as_array().expect("tags").iter().filter(|found| found[0] == tag);
    let mut named: Vec<String> = tags.map(|found| found[1].as_str().expect("a key").to_owned()).collect();
    named.sort_unstable();
    named
}

#[test]
fn what_the_relay_says_of_groups_and_members_is_the_same_on_all() {
    let Some(mut house) = House::build(1, 3, SPOKEN) else { return };
    let (admin, time) = (Person::new(10), now());
    let urls: Vec<String> = house.nodes.iter().map(Node::url).collect();
    let key = own_key(&house.nodes[0]);
    assert!(house.nodes.iter().all(|node| own_key(node) == key), "one key");

    // Made on one node, used on another.
    let [mut a, mut b] = [house.nodes[0].connect(), house.nodes[1].connect()];
    a.publish_ok(&managing(&admin, 9_007, time, &[]));
    house.settle();
    b.publish_ok(&managing(
        &admin,
        9_002,
        time + 1,
        &[&["name", "The square"], &["private"], &["restricted"]],
    ));
    let stranger = Person::new(11);
    let note = stranger.event(1, time, &[&["h", "square"]], "may I?");
    assert!(b.publish_refused(&note).contains("nip29"), "who is not in it does not write there");

    // Many join at once on all nodes, some leave again, and others write: what is gathered together differs.
    std::thread::scope(|scope| {
        for (at, url) in (0..).zip(&urls) {
            scope.spawn(move || {
                let (mut client, mut sent) = (Client::connect(url), 0);
                for number in 0..12_u32 {
                    let person = Person::new(100 + at * 20 + number);
                    client.submit(&managing(&person, 9_021, time + 2, &[]));
                    client.submit(&person.event(1, time + 3, &[&["h", "square"]], &format!("{number}")));
                    sent += 2;
                    if number % 3 == 0 {
                        client.submit(&managing(&person, 9_022, time + 4, &[]));
                        sent += 1;
                    }
                }
                for _ in 0..sent {
                    let answer = client.receive();
                    assert!(answer[0] == "OK" && answer[2] == true, "{answer}");
                }
            });
        }
    });
    // Who manages the relay puts people in and out; who vanishes is in no group any more.
    let gone = Person::new(101);
    house.settle();
    house.nodes[2].call("putgroupuser", &json!(["square", stranger.hex(), ["moderator"]]));
    a.publish_ok(&gone.event(62, time + 9, &[&["relay", "ALL_RELAYS"]], ""));
    house.settle();
    b.publish_ok(&note);

    // A code that is made on one node lets in on another, as often as it says.
    let made = house.nodes[0].call("createclaim", &json!([2, 600]));
    let code = made["code"].as_str().expect("a code").to_owned();
    house.settle();
    let join = |at: usize, number: u32| {
        let event = Person::new(number).event(28_934, now(), &[&["-"], &["claim", &code]], "");
        house.nodes[at].connect_as(&Person::new(number)).publish(&event)
    };
    assert!(join(1, 200).0 && join(2, 201).0, "two may");
    house.settle();
    assert!(!join(0, 202).0, "and no third one");
    // So does one that somebody gets by asking, and who joined there leaves here.
    let mut asking = house.nodes[1].connect_as(&owner());
    let (found, _) = asking.request("code", &[json!({"kinds": [28_935]})]);
    assert_eq!(found.len(), 1, "a code");
    let leave = Person::new(200).event(28_936, now(), &[&["-"]], "");
    assert!(house.nodes[0].connect_as(&Person::new(200)).publish(&leave).0);
    house.settle();

    // A node that was killed under way, and a new one, come to the same.
    house.nodes[1].kill();
    a.publish_ok(&managing(&admin, 9_000, time + 20, &[&["p", &Person::new(300).hex()]]));
    house.nodes[1].start();
    house.add_node("");
    house.nodes.iter().for_each(Node::wait_until_ready);
    house.settle();
    let shown: Vec<Value> =
        house.nodes.iter().map(|node| call(node.address, "showgroup", &json!(["square"]))).collect();
    assert!(shown.iter().all(|group| *group == shown[0]), "{shown:#?}");
    let stored = house.end_all_equal(&["/"]);
    let members = named(&stored, 39_002, "p", &key);
    assert_eq!(
        members.len(),
        3 * 8 - 1 + 3,
        "those who stayed, the admin, and two who were put in: {members:?}"
    );
    assert!(members.contains(&Person::new(300).hex()) && !members.contains(&gone.hex()));
    assert_eq!(named(&stored, 13_534, "member", &key), vec![Person::new(201).hex()]);
}

#[test]
fn what_is_due_to_go_goes_on_all() {
    let settings = format!("{SPOKEN}[nip40]\nsweep_seconds = 1\n");
    let Some(house) = House::build(1, 2, &settings) else { return };
    let (admin, time) = (Person::new(10), now());
    let (park, until_then) = (&["h", "park"][..], (time + 2).to_string());
    house.nodes[0].connect().publish_ok(&admin.event(9_007, time, &[park], ""));
    let stays = admin.event(1, time, &[], "stays");
    let goes = [
        admin.event(1, time, &[park], "in a group that ends"),
        admin.event(1, time, &[&["expiration", &until_then]], "expires"),
    ];
    let mut client = house.nodes[0].connect();
    [&stays, &goes[0], &goes[1]].into_iter().for_each(|note| client.publish_ok(note));
    house.settle();
    house.nodes[1].connect().publish_ok(&admin.event(9_008, time + 1, &[park], ""));
    for node in &house.nodes {
        // What ended the group, what stays, and who the members are.
        until(&format!("what is due is gone from {}", node.name), || {
            node.run(&["stats", "--json"]).1.contains("\"events\": 3,")
        });
    }
    let stored = house.end_all_equal(&["/"]);
    assert!(stored.iter().any(|line| line.contains(&stays.id.to_string())), "{stored:?}");
    assert!(goes.iter().all(|note| !stored.iter().any(|line| line.contains(&note.id.to_string()))));
}

#[test]
fn a_node_with_another_key_says_so_and_spoils_nothing() {
    let Some(mut house) = House::build(1, 2, SPOKEN) else { return };
    let (admin, time) = (Person::new(10), now());
    house.nodes[0].connect().publish_ok(&managing(&admin, 9_007, time, &[]));
    house.settle();
    let file = house.nodes[1].folder.join("relay.key");
    house.nodes[1].stop();
    fs::write(&file, "08".repeat(32)).expect("a file");
    house.nodes[1].start();
    house.nodes[1].wait_until_ready();
    // What needs no words of the relay passes; what it would sign with its key counts nowhere.
    house.nodes[1].connect().publish_ok(&admin.event(1, time, &[], "hello"));
    let mine = managing(&Person::new(11), 9_021, time + 1, &[]);
    let why = house.nodes[1].connect().publish_refused(&mine);
    assert!(why.ends_with("(cluster.key)"), "{why}");
    // What the others say it cannot follow, and says so.
    house.nodes[0].connect().publish_ok(&managing(&Person::new(12), 9_021, time + 1, &[]));
    let trouble = |house: &House| house.nodes[1].status()["trouble"].as_str().unwrap_or_default().to_owned();
    until("it says so", || trouble(&house).contains("relay.secret_key_file"));
    assert!(!house.nodes[1].is_ready());
    // With the right key it goes on where it stopped.
    house.nodes[1].stop();
    fs::write(&file, RELAY_KEY).expect("a file");
    house.nodes[1].start();
    house.nodes[1].wait_until_ready();
    house.nodes[1].connect().publish_ok(&mine);
    // Without a file each node would make a key of its own.
    let settings = house.nodes[1].folder.join("relay.toml");
    let text = fs::read_to_string(&settings).expect("a file");
    fs::write(&settings, text.replace("secret_key_file = \"relay.key\"", "")).expect("a file");
    let (is_right, _, words) = house.nodes[1].run(&["check-config"]);
    assert!(!is_right && words.contains("relay.secret_key_file"), "{words}");
    fs::write(&settings, text).expect("a file");
    house.end_all_equal(&["/"]);
}

#[test]
fn what_is_held_for_a_verdict_is_held_on_all_and_let_go_once() {
    let service = Person::new(900);
    let settings = format!(
        "[relay]\nsecret_key_file = \"relay.key\"\n[moderation_service]\nurl = \"http://127.0.0.1:9/\"\n\
         secret_file = \"relay.key\"\npubkey = \"{}\"\nuntil_verdict = \"hold\"\n",
        service.hex()
    );
    let Some(house) = House::build(1, 2, &settings) else { return };
    let (alice, time) = (Person::new(10), now());
    let mut listener = house.nodes[1].connect();
    listener.request("live", &[json!({"kinds": [1]})]);
    let notes: Vec<_> = (0..3).map(|number| alice.event(1, time, &[], &format!("{number}"))).collect();
    let mut client = house.nodes[0].connect();
    for note in &notes {
        assert_eq!(client.publish(note), (true, "held: others see it when it was looked at".to_owned()));
    }
    house.settle();
    for node in &house.nodes {
        assert!(node.connect().ids(json!({})).is_empty(), "{}: others do not see it", node.name);
        assert_eq!(node.connect_as(&alice).ids(json!({})).len(), 3, "{}: its author does", node.name);
    }
    // Verdicts that two nodes are told at once count once.
    let verdicts = json!([
        {"id": notes[0].id.to_string(), "verdict": "accept"},
        {"id": notes[1].id.to_string(), "verdict": "label", "label": "odd"},
        {"id": notes[2].id.to_string(), "verdict": "remove", "reason": "spam"},
    ]);
    std::thread::scope(|scope| {
        for node in &house.nodes {
            let (address, verdicts) = (node.address, verdicts.clone());
            scope.spawn(move || call(address, "giveverdicts", &json!([verdicts])));
        }
    });
    assert_eq!(heard(&mut listener, "live"), notes[0].id.to_string());
    let last = owner().event(1, time, &[], "by who is not held");
    house.nodes[0].connect().publish_ok(&last);
    assert_eq!(heard(&mut listener, "live"), last.id.to_string(), "nothing comes twice");
    house.settle();
    for node in &house.nodes {
        assert_eq!(node.connect().ids(json!({"authors": [alice.hex()]})).len(), 1, "{}", node.name);
    }
    house.end_all_equal(&["/"]);
}

#[test]
fn plugins_are_asked_where_an_event_is_sent_and_nowhere_else() {
    let plugin = "#!/bin/sh\nwhile read -r line; do\nprintf '%s\\n' \"$line\" >> asked\n\
                  id=$(printf %s \"$line\" | sed 's/.*\"id\":\"\\([0-9a-f]*\\)\".*/\\1/')\n\
                  case \"$line\" in *spam*) what=reject;; *) what=accept;; esac\n\
                  echo \"{\\\"id\\\":\\\"$id\\\",\\\"action\\\":\\\"$what\\\",\\\"msg\\\":\\\"blocked: spam\\\"}\"\ndone\n";
    let Some(mut house) = House::build(1, 0, "") else { return };
    let file = house.folder.path().join("plugin");
    fs::write(&file, plugin).expect("a file");
    let chain = format!("[[plugins.chain]]\ncommand = [\"/bin/sh\", \"{}\"]\n", file.display());
    house.settings_of_nodes(&chain);
    (0..2).for_each(|_| house.add_node(""));
    house.nodes.iter().for_each(Node::wait_until_ready);
    let (alice, time) = (Person::new(10), now());
    let notes: Vec<_> = (0..4).map(|number| alice.event(1, time, &[], &format!("{number}"))).collect();
    for (at, note) in notes.iter().enumerate() {
        house.nodes[at % 2].connect().publish_ok(note);
    }
    let spam = alice.event(1, time, &[], "spam");
    assert!(house.nodes[1].connect().publish_refused(&spam).starts_with("blocked: spam"));
    house.settle();
    for (at, node) in house.nodes.iter().enumerate() {
        let asked = fs::read_to_string(node.folder.join("asked")).expect("it was asked");
        let about = |note: &&plaza::event::Event| asked.contains(&note.id.to_string());
        let own = notes.iter().skip(at).step_by(2).filter(about).count();
        assert_eq!((own, notes.iter().filter(about).count()), (2, 2), "{asked}");
    }
    assert_eq!(house.end_all_equal(&["/"]).len(), 4);
}
