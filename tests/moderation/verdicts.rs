//! What services are sent, and what their verdicts do.

use plaza::config::Config;
use serde_json::{Value, json};

use crate::common::authority::Authority;
use crate::common::folder::{Folder, Serving};
use crate::common::{Client, NOW, Person, json_of};
use crate::server::{Asked, Service, Way, verdicts};
use crate::{number, owner, relay, service_key, wait_until};

#[test]
fn events_are_sent_in_batches_signed_and_in_order() {
    Way::all().iter().for_each(events_are_sent_in_batches_signed_and_in_order_by);
}

fn events_are_sent_in_batches_signed_and_in_order_by(way: &Way) {
    let service = way.service(|_| (204, String::new()));
    let relay = relay(&service, "batch_events_max = 7");
    let ann = Person::new(1);
    let mut client = relay.connect();
    let notes: Vec<_> = (0..30).map(|number| ann.note(&format!("{number} \"\u{e9}"))).collect();
    notes.iter().for_each(|note| client.publish_ok(note));
    // Neither private messages nor ephemeral events.
    client.publish_ok(&ann.event(1059, NOW, &[&["p", &ann.hex()]], "sealed"));
    client.publish_ok(&ann.event(20_001, NOW, &[], "in passing"));
    let last = ann.event(7, NOW, &[], "+");
    client.publish_ok(&last);
    service.wait_for(31);
    let asked = service.asked();
    assert!(asked.iter().all(|asked| asked.is_signed && asked.ids().len() <= 7 && asked.timestamp == NOW));
    assert!(asked.iter().all(|asked| asked.body["community"] == "/"));
    let sent: Vec<Value> =
        asked.iter().flat_map(|asked| asked.body["events"].as_array().expect("events").clone()).collect();
    let wanted: Vec<Value> = notes.iter().chain([&last]).map(json_of).collect();
    assert_eq!(sent, wanted);
    wait_until("nothing waits", || number(&relay, "plaza_moderation_backlog") == 0.0);
    assert_eq!(number(&relay, "plaza_moderation_sent_total"), 31.0);
}

/// What was stored before there was a service is not sent; what came while either side was down is.
#[test]
fn what_came_while_either_side_was_down_is_sent_later() {
    Way::all().iter().for_each(what_came_while_either_side_was_down_is_sent_later_by);
}

fn what_came_while_either_side_was_down_is_sent_later_by(way: &Way) {
    let service = way.service(|_| (500, String::new()));
    let ann = Person::new(1);
    let mut relay = crate::common::TestRelay::configured("");
    relay.connect().publish_ok(&ann.note("before"));
    let parsed = crate::parsed(&service, "");
    let mut config = (*relay.relay().config()).clone();
    config.root = parsed.root;
    config.root.moderation_service.secret = crate::SECRET.to_vec();
    relay.relay().reconfigure(config.clone()).expect("it reloads");
    let notes: Vec<_> = (0..3).map(|number| ann.note(&number.to_string())).collect();
    let mut client = relay.connect();
    client.publish_ok(&notes[0]);
    // It was tried, and was not taken.
    wait_until("it is asked", || !service.asked().is_empty());
    client.publish_ok(&notes[1]);
    relay.stop();
    service.answer(|_| (200, String::new()));
    let before = service.asked().len();
    let again = plaza::net::Relay::start(config, relay.clock.clone()).expect("it starts again");
    wait_until("both are sent", || {
        let ids: Vec<String> = service.asked()[before..].iter().flat_map(Asked::ids).collect();
        ids == [notes[0].id.to_string(), notes[1].id.to_string()]
    });
    assert!(!service.ids().contains(&ann.note("before").id.to_string()));
    again.stop().expect("it stops");
}

/// Each verdict, with the answer or by a call; the event, and who sees what afterwards.
#[test]
fn verdicts_take_effect_by_either_way() {
    for way in Way::all() {
        [false, true].into_iter().for_each(|by_call| verdicts_take_effect(&way, by_call));
    }
}

fn verdicts_take_effect(way: &Way, by_call: bool) {
    let service = way.service(|_| (200, String::new()));
    let relay = relay(&service, "labels_hidden = [\"spam\"]");
    let author = |number| Person::new(10 + number);
    let events = ["fine", "bad", "spam", "nsfw", "banned"].map(|text| {
        let number = text.len() as u32 + u32::from(text == "spam");
        author(number * 7 + text.as_bytes()[0] as u32).note(text)
    });
    let id = |at: usize| events[at].id.to_string();
    let given = json!([
        {"id": id(0), "verdict": "accept"},
        {"id": id(1), "verdict": "remove", "reason": "rude"},
        {"id": id(2), "verdict": "label", "label": "spam"},
        {"id": id(3), "verdict": "label", "label": "nsfw"},
        {"id": id(4), "verdict": "ban", "reason": "again"},
        {"id": "ab".repeat(32), "verdict": "remove"},
    ]);
    let mut client = relay.connect();
    events.iter().for_each(|event| client.publish_ok(event));
    service.wait_for(5);
    if by_call {
        let said = relay.call_ok(&service_key(), "giveverdicts", json!([given]));
        let done: Vec<bool> = said
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["done"].as_bool().expect("a flag"))
            .collect();
        assert_eq!(done, [true, true, true, true, true, false], "{said}");
        assert_eq!(said[5]["why"], "there is no such event");
    } else {
        let given = given.clone();
        service.answer(move |_| verdicts(given.clone()));
        client.publish_ok(&author(1_000).event(7, NOW, &[], "+"));
        wait_until("all count", || {
            number(&relay, "plaza_moderation_verdicts_total{community=\"/\",verdict=\"ban\"}") == 1.0
        });
    }
    wait_until("they hold", || client.count(&[json!({"kinds": [1]})]) == 2);
    let mut shown = client.ids(json!({"kinds": [1]}));
    shown.sort();
    let mut wanted = vec![id(0), id(3)];
    wanted.sort();
    assert_eq!(shown, wanted, "by call: {by_call}");
    assert!(client.publish_refused(&events[1]).contains("the moderators have removed this event"));
    let banned = author(6 * 7 + u32::from(b'b'));
    assert!(client.publish_refused(&banned.note("more")).contains("the moderators have banned this author"));
    let labels = relay.call_ok(&owner(), "listlabels", json!([]));
    let labels: Vec<&Value> = labels.as_array().expect("a list").iter().map(|one| &one["label"]).collect();
    assert!(labels.len() == 2 && labels.contains(&&json!("spam")), "{labels:?}");
    // The record names the service.
    let record = relay.call_ok(&owner(), "listauditlog", json!([]));
    assert_eq!(
        (&record[0]["by"], &record[0]["method"]),
        (&json!(service_key().hex()), &json!("giveverdicts"))
    );
    assert_eq!(record[0]["about"]["verdicts"][1]["reason"], "rude");
    // They survive a restart.
    let mut relay = relay;
    relay.restart();
    assert_eq!(relay.connect().ids(json!({"kinds": [1]})).len(), 2);
}

#[test]
fn who_is_no_service_gives_no_verdicts() {
    let service = Service::start(|_| (200, String::new()));
    let relay = relay(&service, "");
    let note = Person::new(1).note("fine");
    relay.connect().publish_ok(&note);
    let verdict = json!([[{"id": note.id.to_string(), "verdict": "remove"}]]);
    let (status, why) = relay.call_refused(&Person::new(2), "giveverdicts", verdict.clone());
    assert_eq!((status, why.as_str()), (403, "this key manages nothing here"));
    // The service's key may do that, and nothing else.
    let (status, _) = relay.call_refused(&service_key(), "banevent", json!([note.id.to_string(), ""]));
    assert_eq!(status, 403);
    for wrong in
        [json!([]), json!([[{"id": "x", "verdict": "remove"}]]), json!([[{"id": note.id.to_string()}]])]
    {
        assert_eq!(relay.call_refused(&service_key(), "giveverdicts", wrong).0, 400);
    }
    assert_eq!(relay.connect().ids(json!({"kinds": [1]})).len(), 1);
    // Nor does it decide about who manages, or what a person decided.
    relay.call_ok(&owner(), "allowevent", json!([note.id.to_string(), "it is fine"]));
    let said = relay.call_ok(&service_key(), "giveverdicts", verdict);
    assert_eq!(said[0]["why"], "a moderator has decided about this event");
    let own = owner().note("mine");
    relay.connect().publish_ok(&own);
    let ban = json!([[{"id": own.id.to_string(), "verdict": "ban"}]]);
    assert_eq!(relay.call_ok(&service_key(), "giveverdicts", ban)[0]["why"], "its author manages here");
}

#[test]
fn in_shadow_mode_verdicts_are_recorded_and_nothing_else() {
    Way::all().iter().for_each(in_shadow_mode_verdicts_are_recorded_and_nothing_else_by);
}

fn in_shadow_mode_verdicts_are_recorded_and_nothing_else_by(way: &Way) {
    let service = way.service(|asked| {
        let ids = asked.ids();
        verdicts(ids.iter().map(|id| json!({"id": id, "verdict": "remove", "reason": "no"})).collect())
    });
    let relay = relay(&service, "mode = \"shadow\"\nuntil_verdict = \"hold\"\nlabels_hidden = [\"spam\"]");
    relay.connect().publish_ok(&Person::new(1).note("fine"));
    let counted = "plaza_moderation_shadow_verdicts_total{community=\"/\",verdict=\"remove\"}";
    wait_until("it is counted", || number(&relay, counted) == 1.0);
    assert_eq!(relay.connect().ids(json!({})).len(), 1);
    let record = relay.call_ok(&owner(), "listauditlog", json!([]));
    assert_eq!(record[0]["about"]["shadow"], true);
}

/// A service that is dead, slow, or answers nonsense delays nobody, and is sent everything when it is well.
#[test]
fn a_service_that_is_not_well_delays_nobody() {
    Way::all().iter().for_each(a_service_that_is_not_well_delays_nobody_by);
}

fn a_service_that_is_not_well_delays_nobody_by(way: &Way) {
    let answers: [(u16, &str); 4] = [(500, ""), (200, "<html>"), (302, ""), (200, "{\"verdicts\":[{}]}")];
    for (status, body) in answers {
        let service = way.service(move |_| (status, body.to_owned()));
        let relay = relay(&service, "timeout_milliseconds = 100");
        let note = Person::new(1).note("fine");
        relay.connect().publish_ok(&note);
        service.wait_for(1);
        // An answer that makes no sense is one; anything but 2xx is none.
        service.answer(|_| (200, String::new()));
        let times = if status == 200 { 1 } else { 2 };
        wait_until("it is sent", || service.ids().len() == times);
        wait_until("nothing waits", || number(&relay, "plaza_moderation_backlog") == 0.0);
        assert_eq!(relay.connect().ids(json!({})), [note.id.to_string()]);
    }
    // Slow: longer than it may.
    let service = way.service(|_| {
        std::thread::sleep(std::time::Duration::from_millis(400));
        (200, String::new())
    });
    let relay = relay(&service, "timeout_milliseconds = 50");
    relay.connect().publish_ok(&Person::new(1).note("fine"));
    wait_until("it fails", || number(&relay, "plaza_moderation_failures_total") >= 1.0);
    assert!(number(&relay, "plaza_moderation_backlog") == 1.0);
    service.answer(|_| (200, String::new()));
    wait_until("nothing waits", || number(&relay, "plaza_moderation_backlog") == 0.0);
}

#[test]
fn a_backlog_has_a_bound() {
    Way::all().iter().for_each(a_backlog_has_a_bound_by);
}

fn a_backlog_has_a_bound_by(way: &Way) {
    let service = way.service(|_| (500, String::new()));
    let relay = relay(&service, "backlog_max = 5");
    let mut client = relay.connect();
    let notes: Vec<_> = (0..20).map(|number| Person::new(1).note(&number.to_string())).collect();
    notes.iter().for_each(|note| client.publish_ok(note));
    wait_until("they are passed over", || number(&relay, "plaza_moderation_passed_over_total") >= 15.0);
    service.answer(|_| (200, String::new()));
    wait_until("the last ones are sent", || {
        service.ids().ends_with(&[notes[18].id.to_string(), notes[19].id.to_string()])
    });
    wait_until("nothing waits", || number(&relay, "plaza_moderation_backlog") == 0.0);
}

#[test]
fn mistakes_in_settings_are_told() {
    let key = format!("pubkey = \"{}\"", service_key().hex());
    let table = [
        (
            "url = \"ftp://x\"".to_owned(),
            "moderation_service.url: must be an address that begins with https://",
        ),
        ("url = \"https://x/\"".to_owned(), "moderation_service.secret_file: is needed where there is a url"),
        (
            "url = \"https://x/\"\nsecret_file = \"short\"".to_owned(),
            "moderation_service.pubkey: must be a public key",
        ),
        (format!("url = \"https://x/\"\nsecret_file = \"short\"\n{key}"), "it has fewer than 16 bytes"),
        (format!("url = \"https://x/\"\nsecret_file = \"none\"\n{key}"), "there is no such file"),
        ("until_verdict = \"wait\"".to_owned(), "must be \"show\" or \"hold\""),
        ("batch_events_max = 0".to_owned(), "must be a whole number from 1 to 1_000"),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("short"), "secret\n").expect("a file");
    for (text, wanted) in table {
        let path = folder.path().join("relay.toml");
        std::fs::write(&path, format!("[moderation_service]\n{text}\n")).expect("a file");
        let error = Config::load(&path).expect_err(&text).to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    std::fs::write(folder.path().join("long"), "0123456789abcdef\n").expect("a file");
    let path = folder.path().join("relay.toml");
    std::fs::write(
        &path,
        format!("[moderation_service]\nurl = \"https://x/\"\nsecret_file = \"long\"\n{key}"),
    )
    .expect("a file");
    let config = Config::load(&path).expect("right settings");
    assert_eq!(config.root.moderation_service.secret, b"0123456789abcdef");
    // What is written out names the file and not the secret.
    assert!(!config.to_toml().contains("0123456789abcdef"));
}

/// The program itself asks over TLS whom the machine trusts, and nobody else.
#[test]
fn a_service_over_tls_is_asked_if_its_certificate_is_trusted() {
    let authority = Authority::new();
    let service = Service::start_tls(&authority.issue(&["localhost"]), |_| (204, String::new()));
    for (number, root) in [(0, &Authority::new().root), (1, &authority.root)] {
        let folder = Folder::new();
        folder.write("root.pem", root);
        folder.write("secret", crate::SECRET);
        folder.write("relay.toml", crate::settings(&service, ""));
        let mut command = folder.command(&["--listen", "127.0.0.1:0"]);
        command.env("SSL_CERT_FILE", folder.path("root.pem"));
        let mut relay = Serving::start(command);
        let note = Person::new(1).note(&number.to_string());
        Client::connect(&relay.url).publish_ok(&note);
        match number {
            0 => {
                relay.says_somewhere("the moderation service is not reached: ");
                assert_eq!(service.ids(), Vec::<String>::new());
            }
            _ => {
                service.wait_for(1);
                assert_eq!(service.ids(), [note.id.to_string()]);
                assert!(service.asked()[0].is_signed);
            }
        }
    }
}
