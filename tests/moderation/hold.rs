//! What is held until its verdict: who sees it, by every path, and what becomes of it.

use serde_json::json;

use crate::common::{Client, NOW, Person, TestRelay};
use crate::server::{Service, Way};
use crate::{number, owner, relay, service_key, wait_until};

const HOLD: &str = "until_verdict = \"hold\"\n";

fn held(client: &mut Client, event: &plaza::event::Event) {
    assert_eq!(client.publish(event), (true, "held: others see it when it was looked at".to_owned()));
}

fn give(relay: &TestRelay, event: &plaza::event::Event, verdict: &str) {
    let verdict = json!([[{"id": event.id.to_string(), "verdict": verdict}]]);
    let said = relay.call_ok(&service_key(), "giveverdicts", verdict);
    assert_eq!(said[0]["done"], true, "{said}");
}

#[test]
fn only_its_author_and_moderators_see_what_is_held() {
    Way::all().iter().for_each(only_its_author_and_moderators_see_what_is_held_by);
}

fn only_its_author_and_moderators_see_what_is_held_by(way: &Way) {
    let service = way.service(|_| (200, String::new()));
    let relay = relay(&service, HOLD);
    let (ann, bob, owner) = (Person::new(1), Person::new(2), owner());
    let people: [(&[&Person], bool); 5] =
        [(&[], false), (&[&bob], false), (&[&ann], true), (&[&bob, &ann], true), (&[&owner], true)];
    let mut clients: Vec<(Client, bool)> =
        people.iter().map(|(keys, sees)| (relay.connect_as(keys), *sees)).collect();
    for (client, _) in &mut clients {
        client.request("live", &[json!({"kinds": [1]})]);
    }
    let note = ann.note("new here");
    let mut sender = relay.connect();
    held(&mut sender, &note);
    // A copy is a duplicate, and tells no more.
    assert!(sender.publish(&note).1.starts_with("duplicate:"));
    let came = |is_so: bool| -> Vec<(String, String)> {
        is_so.then(|| ("live".to_owned(), note.id.to_string())).into_iter().collect()
    };
    for (client, sees) in &mut clients {
        assert_eq!(relay.heard_by(client), came(*sees));
        for filter in
            [json!({"kinds": [1]}), json!({"ids": [note.id.to_string()]}), json!({"authors": [ann.hex()]})]
        {
            assert_eq!(client.count(std::slice::from_ref(&filter)) == 1, *sees, "{filter}");
            assert_eq!(client.ids(filter.clone()).len() == 1, *sees, "{filter}");
        }
    }
    assert_eq!(number(&relay, "plaza_moderation_held"), 1.0);
    give(&relay, &note, "accept");
    for (client, sees) in &mut clients {
        // It is new to those who could not see it, and comes to nobody twice.
        assert_eq!(relay.heard_by(client), came(!*sees));
        assert_eq!(client.ids(json!({"kinds": [1]})), [note.id.to_string()]);
    }
    assert_eq!(number(&relay, "plaza_moderation_held"), 0.0);
    let mut relay = relay;
    relay.restart();
    assert_eq!(relay.connect().ids(json!({})), [note.id.to_string()]);
    assert_eq!(relay.stored(), 1);
}

#[test]
fn what_is_held_stays_held_over_a_restart_and_goes_by_its_verdict() {
    let service = Service::start(|_| (500, String::new()));
    let mut relay = relay(&service, HOLD);
    let ann = Person::new(1);
    let mut client = relay.connect();
    let (good, bad) = (ann.note("good"), ann.note("bad"));
    held(&mut client, &good);
    held(&mut client, &bad);
    relay.restart();
    assert_eq!(relay.connect().count(&[json!({})]), 0);
    assert_eq!(number(&relay, "plaza_moderation_held"), 2.0);
    give(&relay, &good, "accept");
    give(&relay, &bad, "remove");
    assert_eq!(number(&relay, "plaza_moderation_held"), 0.0);
    assert_eq!(relay.connect().ids(json!({})), [good.id.to_string()]);
    // Not even its author sees what was removed.
    assert_eq!(relay.connect_as(&[&ann]).ids(json!({})), [good.id.to_string()]);
}

/// What a moderator decides of it is its verdict, and what is gone before its verdict is forgotten.
#[test]
fn moderators_decide_about_what_is_held_too() {
    let service = Service::start(|_| (500, String::new()));
    let relay = relay(&service, &format!("{HOLD}without_verdict = \"remove\"\nverdict_seconds_max = 60"));
    let ann = Person::new(1);
    let mut client = relay.connect();
    let (good, bad, gone) = (ann.note("good"), ann.note("bad"), ann.note("gone"));
    [&good, &bad, &gone].iter().for_each(|event| held(&mut client, event));
    let mut listener = relay.connect();
    listener.request("live", &[json!({"kinds": [1]})]);
    relay.call_ok(&owner(), "allowevent", json!([good.id.to_string(), "fine"]));
    relay.call_ok(&owner(), "banevent", json!([bad.id.to_string(), "no"]));
    assert_eq!(relay.heard_by(&mut listener), [("live".to_owned(), good.id.to_string())]);
    assert_eq!(relay.call_ok(&owner(), "stats", json!([]))["moderation_service"]["held"], 1);
    client.publish_ok(&ann.event(5, NOW, &[&["e", &gone.id.to_string()]], ""));
    relay.clock.set(NOW + 62);
    wait_until("it is forgotten", || number(&relay, "plaza_moderation_held") == 0.0);
    assert_eq!(client.ids(json!({"kinds": [1]})), [good.id.to_string()]);
}

/// What is not to wait does not: of moderators, of other kinds, requests to delete, what an operator brings.
#[test]
fn some_events_are_not_held() {
    let service = Service::start(|_| (200, String::new()));
    let relay = relay(&service, &format!("{HOLD}kinds = [1, 5]"));
    let ann = Person::new(1);
    let mut client = relay.connect();
    client.publish_ok(&owner().note("welcome"));
    client.publish_ok(&ann.event(7, NOW, &[], "+"));
    let note = ann.note("oops");
    held(&mut client, &note);
    client.publish_ok(&ann.event(5, NOW, &[&["e", &note.id.to_string()]], ""));
    assert_eq!(relay.connect_as(&[&ann]).count(&[json!({"kinds": [1]})]), 1);
    // An address's newer version is held as its first one was, and the older one is gone.
    let relay = self::relay(&service, HOLD);
    let mut client = relay.connect();
    let (first, second) = (ann.event(0, NOW, &[], "{}"), ann.event(0, NOW + 1, &[], "{\"name\":\"ann\"}"));
    held(&mut client, &first);
    give(&relay, &first, "accept");
    held(&mut client, &second);
    assert_eq!(client.count(&[json!({"kinds": [0]})]), 0);
    give(&relay, &second, "accept");
    assert_eq!(client.ids(json!({"kinds": [0]})), [second.id.to_string()]);
    assert!(client.publish(&first).1.starts_with("duplicate:"));
}

#[test]
fn without_a_verdict_in_time_the_setting_decides() {
    Way::all().iter().for_each(without_a_verdict_in_time_the_setting_decides_by);
}

fn without_a_verdict_in_time_the_setting_decides_by(way: &Way) {
    for (setting, is_shown) in [("show", true), ("remove", false)] {
        let service = way.service(|_| (500, String::new()));
        let relay =
            relay(&service, &format!("{HOLD}verdict_seconds_max = 60\nwithout_verdict = \"{setting}\""));
        let note = Person::new(1).note("waits");
        let mut client = relay.connect();
        held(&mut client, &note);
        relay.clock.set(NOW + 60);
        assert_eq!(client.count(&[json!({})]), 0);
        relay.clock.set(NOW + 62);
        wait_until("it is decided", || number(&relay, "plaza_moderation_held") == 0.0);
        assert_eq!(relay.connect().count(&[json!({})]) == 1, is_shown, "{setting}");
    }
}

/// Without the setting nothing is held any more, and what was is shown.
#[test]
fn a_reload_that_holds_no_more_lets_all_go() {
    let service = Service::start(|_| (500, String::new()));
    let relay = relay(&service, HOLD);
    let note = Person::new(1).note("waits");
    held(&mut relay.connect(), &note);
    assert_eq!(relay.connect().count(&[json!({})]), 0);
    let mut config = (*relay.relay().config()).clone();
    config.root.moderation_service.url = None;
    relay.relay().reconfigure(config).expect("it reloads");
    assert_eq!(relay.connect().ids(json!({})), [note.id.to_string()]);
    wait_until("nothing is held", || relay.relay().community().known().held.is_empty());
}
