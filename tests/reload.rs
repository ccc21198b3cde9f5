//! New settings for a running relay: what counts at once, what waits, and that who is connected stays.

#[path = "common/mod.rs"]
mod common;

use std::path::Path;

use common::http::http;
use common::program::{Program, plaza};
use common::{Client, NOW, Person, TestRelay};
use plaza::config::Config;
use plaza::reload::Reloaded;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// Has a relay go by the communities and rules of a relay.toml.
fn reload(relay: &TestRelay, text: &str) -> Reloaded {
    let parsed =
        Config::parse(text, Path::new("relay.toml")).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut config = Config::clone(&relay.relay().config());
    (config.root, config.communities) = (parsed.root, parsed.communities);
    relay.relay().reconfigure(config).expect("the settings are taken")
}

fn owned(more: &str) -> String {
    format!("{more}\n[admin]\nowners = [\"{}\"]", Person::new(1).hex())
}

#[test]
fn rules_change_under_an_open_connection() {
    let author = Person::new(10);
    let member = author.hex();
    // Settings, and how a note, a short article and a REQ are answered.
    let table = [
        ("", "", "", ""),
        (
            "[kinds]\nallowed = [1]",
            "",
            "blocked: events of kind 30023 are not taken here, only of kinds 1 (kinds.allowed)",
            "",
        ),
        (
            "[limits]\ncontent_chars_max = 3",
            "invalid: the content has 4 characters, more than the 3 that one event may have (limits.content_chars_max)",
            "",
            "",
        ),
        ("[access]\nread = \"authenticated\"", "", "", "auth-required: log in to read here (access.read)"),
        (
            "[access]\nwrite = \"none\"",
            "blocked: nobody writes here: this relay is only read (access.write)",
            "blocked: nobody writes here: this relay is only read (access.write)",
            "",
        ),
        (&*format!("[access]\nwrite = \"members\"\n[authors]\nmembers = [\"{member}\"]"), "", "", ""),
        ("", "", "", ""),
    ];
    let relay = TestRelay::configured("");
    let mut client = relay.connect();
    for (number, (settings, note, article, request)) in table.into_iter().enumerate() {
        reload(&relay, settings);
        let at = NOW + number as u64;
        assert_eq!(client.publish(&author.event(1, at, &[], "four")).1, note, "{settings}");
        let answer = client.publish(&author.event(30_023, at, &[&["d", "x"]], "")).1;
        assert_eq!(answer, article, "{settings}");
        match request {
            "" => {
                client.ids(json!({"kinds": [1]}));
                // An answer to what comes after CLOSE: it has been heard before the settings change again.
                client.count(&[json!({"ids": []})]);
            }
            refusal => assert_eq!(client.closed("REQ", &[json!({"kinds": [1]})]), refusal),
        }
    }
}

#[test]
fn open_subscriptions_end_where_reading_does_and_stay_where_it_does_not() {
    let relay = TestRelay::configured("");
    let (member, guest) = (Person::new(10), Person::new(11));
    let [mut members, mut guests] = [&member, &guest].map(|person| relay.connect_as(&[person]));
    members.request("live", &[json!({"kinds": [1]})]);
    guests.request("live", &[json!({"kinds": [1]})]);
    reload(&relay, &format!("[access]\nread = \"members\"\n[authors]\nmembers = [\"{}\"]", member.hex()));
    let ended = "restricted: only members read here (access.read)";
    assert_eq!(guests.receive(), json!(["CLOSED", "live", ended]));
    relay.connect().publish_ok(&guest.note("news"));
    assert_eq!(members.receive()[2]["content"], "news");
    // The guest is still connected.
    guests.publish_ok(&guest.note("more"));
}

#[test]
fn communities_open_close_and_come_back_with_what_they_had() {
    let mut relay = TestRelay::configured("");
    let note = Person::new(10).note("ours");
    let with_market = "[[community]]\npath = \"/market\"\n[community.kinds]\ndenied = [4]";
    assert_eq!(http(&relay, "GET", "/market", &[], "").status, 404);
    assert_eq!(reload(&relay, with_market).communities.opened, ["/market"]);
    relay.connect_at("/market").publish_ok(&note);
    let mut open = relay.connect_at("/market");
    let reloaded = reload(&relay, "");
    assert_eq!(reloaded.communities.closed, ["/market"]);
    loop {
        match open.try_receive() {
            Ok(Message::Close(Some(frame))) => break assert_eq!(&*frame.reason, "this community is no more"),
            Ok(_) => {}
            Err(error) => panic!("a reason was awaited, not {error}"),
        }
    }
    assert_eq!(http(&relay, "GET", "/market", &[], "").status, 404);
    assert_eq!(relay.relay().communities().unused(), ["/market"]);
    let has_it = |relay: &TestRelay| relay.connect_at("/market").ids(json!({})) == [note.id.to_string()];
    reload(&relay, with_market);
    assert!(has_it(&relay));
    // The same in another process, and for one that the process did not know when it started.
    relay.reconfigure("");
    reload(&relay, with_market);
    assert!(has_it(&relay));
    reload(&relay, &format!("{with_market}\n[[community]]\npath = \"/square\""));
    assert_eq!(relay.connect_at("/square").ids(json!({})), Vec::<String>::new());
    let refused = relay.connect_at("/market").publish_refused(&Person::new(10).event(4, NOW, &[], ""));
    assert_eq!(refused, "blocked: events of kind 4 are not taken here (kinds.denied)");
}

#[test]
fn what_moderators_decided_outlasts_new_settings() {
    let relay = TestRelay::configured(&owned("[relay]\nname = \"Town\""));
    let (owner, banned) = (Person::new(1), Person::new(10));
    relay.call_ok(&owner, "changerelayname", json!(["Village"]));
    relay.call_ok(&owner, "banpubkey", json!([banned.hex()]));
    reload(&relay, &owned("[relay]\nname = \"City\"\ndescription = \"Large\""));
    let document = http(&relay, "GET", "/", &[("Accept", "application/nostr+json")], "").json();
    assert_eq!((&document["name"], &document["description"]), (&json!("Village"), &json!("Large")));
    let refusal = relay.connect().publish_refused(&banned.note("x"));
    assert_eq!(refusal, "blocked: the moderators have banned this author (admin.banned)");
    relay.call_ok(&owner, "changerelayname", json!([""]));
    let document = http(&relay, "GET", "/", &[("Accept", "application/nostr+json")], "").json();
    assert_eq!(document["name"], "City");
    // Whom the settings no longer name manages nothing.
    reload(&relay, "");
    assert_eq!(relay.call_refused(&owner, "stats", json!([])).0, 403);
}

#[test]
fn what_changed_is_told_and_what_waits_for_a_restart() {
    let relay = TestRelay::configured("[[community]]\npath = \"/a\"");
    let text = "[limits]\nlimit_max = 600\nreads_queued_max = 7\n[geohash]\nprefix_filters = true\n\
                [[community]]\npath = \"/a\"\n[community.kinds]\ndenied = [4]\n[[community]]\npath = \"/b\"";
    let reloaded = reload(&relay, text);
    assert_eq!(
        reloaded.to_string(),
        "changed: limits.limit_max, /a: kinds.denied, /a: limits.limit_max; opened: /b; counts only after a \
         restart: geohash.prefix_filters, limits.reads_queued_max, /a: limits.reads_queued_max"
    );
    assert_eq!(reload(&relay, text).to_string(), "nothing is different");
}

/// The relay in a folder, once it serves, and its address.
fn started(folder: &Path) -> (Program, String) {
    let relay = Program::start(plaza(folder, &["--listen", "127.0.0.1:0"]));
    let url = format!("ws://{}", relay.says("listening on ws://"));
    relay.says("events loaded");
    (relay, url)
}

fn post(client: &mut Client, kind: u16, created_at: u64) -> bool {
    client.publish(&Person::new(10).event(kind, created_at, &[], "")).0
}

#[test]
fn a_signal_has_the_file_read_again_and_a_mistake_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("relay.toml");
    let write = |text: &str| std::fs::write(&file, text).expect("a file");
    write("[kinds]\ndenied = [4]");
    let (mut relay, url) = started(folder.path());
    let mut client = Client::connect(&url);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs();
    assert!(!post(&mut client, 4, now));
    write("[kinds]\ndenied = [\"4\"\n");
    relay.signal("HUP");
    let why = relay.says("settings stay as they were (SIGHUP): ");
    assert!(why.contains("relay.toml:"), "{why}");
    assert!(!post(&mut client, 4, now) && post(&mut client, 1, now));
    write("[log]\nlevel = \"debug\"\n[server]\nlisten = \"127.0.0.1:1\"\nreload_on_change = true");
    relay.signal("HUP");
    let what = relay.says("settings read again (SIGHUP): ");
    assert_eq!(what, "changed: kinds.denied, log.level, server.reload_on_change");
    assert!(post(&mut client, 4, now));
    // From now on the file is watched.
    write("[kinds]\ndenied = [1]\n[server]\nreload_on_change = true");
    relay.says("settings read again (the file changed): ");
    assert!(!post(&mut client, 1, now + 1) && post(&mut client, 4, now + 1));
    relay.stop();
}

#[test]
fn owners_of_the_root_have_the_file_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("relay.toml");
    let write = |text: &str| std::fs::write(&file, owned(text)).expect("a file");
    write("[relay]\nname = \"Town\"");
    let parsed = Config::load(&file).expect("settings");
    let relay = TestRelay::with(|config| config.root = parsed.root);
    // This relay was started by itself, without a file.
    let (status, why) = relay.call_refused(&Person::new(1), "reloadsettings", json!([]));
    let none = "this relay was started without a settings file; write relay.toml and restart it";
    assert_eq!((status, &*why), (200, none));
    let _: Value = relay.call_ok(&Person::new(1), "stats", json!([]));
}
