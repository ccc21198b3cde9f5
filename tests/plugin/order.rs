//! In which order events go on, and who waits for whom.

use serde_json::json;

use crate::common::program::tool;
use crate::common::{NOW, Person, TestRelay, ids_of};
use crate::{ACCEPT, PYTHON, SH, Scripts, relay, table, wait_until};

/// Answers lots of requests in a random order.
const JUMBLED: &str = "import random
random.seed(7)
lot = []
for request in requests():
    lot.append(request['event'])
    if len(lot) == 20:
        random.shuffle(lot)
        for event in lot:
            answer(event)
        lot = []
";

/// However a plugin mixes its answers, what one client sends takes effect in order.
#[test]
fn events_of_one_client_take_effect_in_their_order() {
    if tool("python3").is_none() {
        return;
    }
    let scripts = Scripts::new();
    let path = scripts.write("jumbled.py", &format!("{PYTHON}{JUMBLED}"));
    let relay = relay(&[table(&path, "in_flight_max = 40")]);
    let (ann, bob) = (Person::new(1), Person::new(2));
    let mut listener = relay.connect();
    listener.request("all", &[json!({"kinds": [1, 2]})]);
    let (mut one, mut two) = (relay.connect(), relay.connect());
    let of = |who: &Person, number: u16| who.event(1 + number % 2, NOW, &[], &number.to_string());
    let (ours, theirs): (Vec<_>, Vec<_>) =
        (0..100).map(|number| (of(&ann, number), of(&bob, number))).unzip();
    for (ours, theirs) in ours.iter().zip(&theirs) {
        one.submit(ours);
        two.submit(theirs);
    }
    let mut answered = std::collections::BTreeSet::new();
    for _ in 0..100 {
        answered.insert(one.receive()[1].to_string());
        two.receive();
    }
    assert_eq!(answered.len(), 100);
    let heard: Vec<String> = (0..200).map(|_| crate::common::id_of(&listener.receive()[2])).collect();
    for sent in [&ours, &theirs] {
        let sent = ids_of(&sent.iter().collect::<Vec<_>>());
        let came: Vec<String> = heard.iter().filter(|id| sent.contains(id)).cloned().collect();
        assert_eq!(came, sent);
    }
}

/// An event that no plugin is asked about waits for those that its client sent before it, and a deletion for what it
/// deletes.
#[test]
fn what_is_not_asked_about_keeps_its_order_too() {
    let scripts = Scripts::new();
    let go = scripts.path("go");
    let path = scripts.write(
        "gate",
        &format!("{SH}while [ ! -e {} ]; do sleep 0.01; done\n{ACCEPT}\ndone\n", go.display()),
    );
    let relay = relay(&[table(&path, "kinds = [1]")]);
    let ann = Person::new(1);
    let mut client = relay.connect();
    let note = ann.note("soon gone");
    let deletion = ann.event(5, NOW, &[&["e", &note.id.to_string()]], "");
    client.submit(&note);
    client.submit(&deletion);
    // Others do not wait for it, nor do queries of the same client.
    relay.connect().publish_ok(&Person::new(2).event(7, NOW, &[], "+"));
    assert_eq!(client.ids(json!({"kinds": [1, 5]})), Vec::<String>::new());
    std::fs::write(go, "").expect("a file");
    assert_eq!(client.answer_to(&note), (true, String::new()));
    assert_eq!(client.answer_to(&deletion), (true, String::new()));
    assert_eq!(client.ids(json!({"kinds": [1, 5]})), [deletion.id.to_string()]);
}

#[test]
fn a_plugin_that_never_answers_holds_up_no_other_community_and_no_query() {
    let scripts = Scripts::new();
    let path = scripts.write("silent", "#!/bin/sh\nexec cat > /dev/null\n");
    let slow = "timeout_milliseconds = 600_000";
    let settings =
        format!("[[community]]\npath = \"/slow\"\n[[community.plugins.chain]]\n{}\n", table(&path, slow));
    let relay = TestRelay::configured(&settings);
    let ann = Person::new(1);
    let mut stuck: Vec<_> = (0..3).map(|_| relay.connect_at("/slow")).collect();
    // As many as a connection may have under way, so that none of them is read any more.
    for (at, client) in stuck.iter_mut().enumerate() {
        (0..600).for_each(|number| client.submit(&ann.note(&format!("{at} {number}"))));
    }
    let mut client = relay.connect();
    for number in 0..2_000 {
        client.publish_ok(&ann.note(&number.to_string()));
    }
    assert_eq!(client.count(&[json!({})]), 2_000);
    assert_eq!(relay.connect_at("/slow").ids(json!({})), Vec::<String>::new());
}

/// The same event by two ways: both are answered, and it is stored once.
#[test]
fn copies_that_are_under_way_together_are_each_answered() {
    let scripts = Scripts::new();
    let go = scripts.path("go");
    let path =
        scripts.noting("gate", &format!("while [ ! -e {} ]; do sleep 0.01; done\n{ACCEPT}", go.display()));
    let relay = relay(&[table(&path, "")]);
    let note = Person::new(1).note("twice");
    let (mut one, mut two) = (relay.connect(), relay.connect());
    one.submit(&note);
    two.submit(&note);
    wait_until("the first is asked about", || !scripts.asked("gate").is_empty());
    std::fs::write(go, "").expect("a file");
    let mut answers = [one.answer_to(&note), two.answer_to(&note)];
    answers.sort();
    assert_eq!(answers[0], (true, String::new()));
    assert!(answers[1].1.starts_with("duplicate:") && answers[1].0, "{answers:?}");
    assert_eq!(relay.stored(), 1);
}
