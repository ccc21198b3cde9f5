//! Settings of mirrors: mistakes are named, changes count without a restart, and how mirrors stand is shown.

use std::net::TcpListener;
use std::path::Path;

use plaza::config::{Config, Mirror};

use super::common::authority::{Authority, NAME};
use super::common::folder::{Folder, Serving};
use super::common::http::get;
use super::common::{Client, Person, TestRelay};
use super::{await_live, await_stored, mirror, notes, publish, reload, stats};
use crate::common::await_that;

#[test]
fn mistakes_name_line_key_and_remedy() {
    let url = "url = \"wss://there.example\"";
    let table = [
        (
            "[mirror]\nurl = \"wss://x\"".to_owned(),
            "relay.toml:1: mirror: must be one or more [[mirror]]; write [[mirror]] and url = \"wss://…\" below it",
        ),
        (
            "[[mirror]]\ndirection = \"up\"".to_owned(),
            "relay.toml:1: mirror[1].url: \"\" is not a valid URL; write for example url = \"wss://relay.example\"",
        ),
        (
            "[[mirror]]\nurl = \"https://x.example\"".to_owned(),
            "relay.toml:2: mirror[1].url: \"https://x.example\" must begin with wss:// or ws://; write for example \
             url = \"wss://relay.example\"",
        ),
        (
            format!("[[mirror]]\n{url}\ndirection = \"sideways\""),
            "relay.toml:3: mirror[1].direction: cannot be \"sideways\"; write direction = \"down\", \"up\" or \"both\"",
        ),
        (
            format!("[[mirror]]\n{url}\nfilters = {{}}"),
            "relay.toml:3: mirror[1].filters: [[mirror]] has no such setting; its settings are backfill, \
             catch_up_seconds, community, direction, enabled, events_per_second, filter, key_file, policy, url",
        ),
        (
            format!("[[mirror]]\n{url}\nfilter = {{ kinds = 1 }}"),
            "relay.toml:3: mirror[1].filter: kinds must be an array of whole numbers from 0 to 65535; write for \
             example filter = { kinds = [0, 1] }, or a list of such",
        ),
        (
            format!("[[mirror]]\n{url}\nfilter = {{ limit = 1 }}"),
            "relay.toml:3: mirror[1].filter: a mirror's filter has no limit; write for example filter = { kinds = \
             [0, 1] }, or a list of such",
        ),
        (
            format!("[[mirror]]\n{url}\ncommunity = \"/town\""),
            "relay.toml:3: mirror[1].community: there is no community at \"/town\"; write the path of a community, \
             such as community = \"/berlin\"",
        ),
        (
            format!("[[mirror]]\n{url}\n[[mirror]]\n{url}"),
            "relay.toml:4: mirror[2].url: another [[mirror]] of this community has it; filter takes a list; write \
             for example url = \"wss://relay.example\"",
        ),
        (
            format!("[[mirror]]\n{url}\nevents_per_second = 0"),
            "relay.toml:3: mirror[1].events_per_second: must be a whole number from 1 to 1_000_000; write for \
             example events_per_second = 1_000",
        ),
    ];
    for (text, why) in table {
        let error = Config::parse(&text, Path::new("relay.toml")).expect_err(&text);
        assert_eq!(error.to_string(), why, "{text}");
    }
}

#[test]
fn what_is_read_is_written_as_the_same_settings() {
    let text = "[[community]]\npath = \"/town\"\n[[mirror]]\nurl = \"wss://a.example\"\ndirection = \"both\"\n\
                community = \"/town\"\nfilter = [{ kinds = [1], \"#t\" = [\"bread\"] }, '{\"kinds\":[0]}']\n\
                policy = \"trusted\"\nbackfill = \"pages\"\ncatch_up_seconds = 0\nenabled = false\n\
                [[mirror]]\nurl = \"ws://b.example:7777/x\"";
    let config = Config::parse(text, Path::new("relay.toml")).expect("settings");
    assert_eq!(config.mirrors.len(), 2);
    assert_eq!(config.mirrors[0].filter.parsed().len(), 2);
    let again = Config::parse(&config.to_toml(), Path::new("relay.toml")).expect("settings");
    assert_eq!(again.mirrors, config.mirrors);
}

#[test]
fn the_examples_mirror_is_right_and_says_the_defaults() {
    let example = include_str!("../../relay.toml.example");
    let lines = example.lines().skip_while(|line| *line != "#[[mirror]]").take_while(|line| !line.is_empty());
    let text: Vec<&str> = lines.filter_map(|line| line.strip_prefix('#')).collect();
    let config = Config::parse(&text.join("\n"), Path::new("relay.toml")).expect("settings");
    let said = Mirror { key_file: None, ..config.mirrors[0].clone() };
    let Mirror { url, filter, .. } = said.clone();
    assert_eq!(said, Mirror { url, filter, ..Mirror::default() });
    // Each key is there, and explained.
    let keys = serde_json::to_value(&said).expect("JSON");
    for key in keys.as_object().expect("a table").keys() {
        let at = text.iter().position(|line| line.trim_start_matches('#').starts_with(&format!("{key} = ")));
        let at = at.unwrap_or_else(|| panic!("{key} is not in the example"));
        assert!(text[at - 1].starts_with("# "), "{key} needs a comment");
    }
}

#[test]
fn a_key_file_must_hold_a_key() {
    let folder = Folder::new();
    folder.write("relay.toml", "[[mirror]]\nurl = \"wss://a.example\"\nkey_file = \"key\"");
    let failed = |words: &str| {
        let done = folder.run(&["check-config", "relay.toml"]);
        assert!(done.code != 0 && done.said(words), "{words}: {done:?}");
    };
    failed("there is no such file, and mirror.key_file names it; name the right path");
    folder.write("key", "npub1nothing");
    failed("it does not hold one secret key, and mirror.key_file names it; write the key into it as nsec1…");
    folder.write("key", format!("{}\n", Person::new(1).secret()));
    assert_eq!(folder.run(&["check-config", "relay.toml"]).code, 0);
}

#[test]
fn a_reload_begins_changes_and_ends_mirrors() {
    let others = [(); 2].map(|()| TestRelay::start());
    publish(&others[0], &notes(1, 0..10));
    publish(&others[1], &notes(2, 0..10));
    let relay = TestRelay::start();
    assert!(relay.relay().mirrors().is_empty());
    let [first, second] = [&others[0], &others[1]].map(|other| mirror(&other.url(), ""));
    reload(&relay, &first);
    await_stored(&relay, 10);
    let connects = |other: &TestRelay| other.relay().community().connected.len();
    // What stays as it is stays connected.
    reload(&relay, &format!("{first}{second}"));
    await_stored(&relay, 20);
    let stats = relay.relay().mirrors();
    assert_eq!(stats.iter().map(|one| one.connects).collect::<Vec<_>>(), [1, 1]);
    reload(&relay, &format!("{}enabled = false\n", second));
    await_that("both have ended", || others.iter().all(|other| connects(other) == 0));
    assert!(relay.relay().mirrors().is_empty());
    publish(&others[0], &notes(3, 0..1));
    let changed = mirror(&others[0].url(), "filter = { kinds = [7] }");
    reload(&relay, &changed);
    await_live(&relay);
    assert_eq!(relay.stored(), 20);
}

#[test]
fn how_mirrors_stand_is_shown_by_the_program_and_in_numbers() {
    let other = TestRelay::today();
    publish(&other, &notes(1, 0..10));
    let folder = Folder::new();
    let dead = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let numbers = super::common::program::free_port();
    folder.write(
        "relay.toml",
        format!(
            "[metrics]\nlisten = \"127.0.0.1:{numbers}\"\n{}{}",
            mirror(&other.url(), "direction = \"both\""),
            mirror(&format!("ws://{dead}"), "")
        ),
    );
    let idle = folder.run(&["mirrors"]);
    assert!(idle.code != 0 && idle.said("no relay runs on data"), "{idle:?}");
    let relay = folder.serve(&[]);
    await_that("one is up to date, and the other tells its trouble", || {
        let said = folder.run(&["mirrors"]).data;
        said.contains("both: up to date, connected for")
            && said.contains(" 10 taken, ")
            && said.contains("last trouble: no connection to 127.0.0.1")
    });
    let stats: serde_json::Value =
        serde_json::from_str(&folder.run(&["mirrors", "--json"]).data).expect("JSON");
    assert_eq!((&stats[0]["phase"], &stats[0]["down"]["taken"]), (&"live".into(), &10.into()));
    let text = get(([127, 0, 0, 1], numbers).into(), "/metrics").body;
    let labels = format!("community=\"/\",mirror=\"{}\"", other.url());
    for line in [
        format!("plaza_mirror_connected{{{labels}}} 1.0"),
        format!("plaza_mirror_events_total{{{labels},direction=\"down\",outcome=\"taken\"}} 10.0"),
        format!("plaza_mirror_waiting{{{labels},direction=\"up\"}} 0.0"),
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in {text}");
    }
    let mut client = Client::connect(&relay.url);
    client.publish_ok(&Person::new(2).event(1, plaza::clock::Clock::system().now(), &[], "mine"));
    await_stored(&other, 11);
    drop(client);
    assert_eq!(relay.end("TERM"), 0);
}

#[test]
fn after_either_side_was_killed_nothing_is_missing() {
    let there = Folder::new();
    let port = super::common::program::free_port();
    let listen = format!("127.0.0.1:{port}");
    let start = |folder: &Folder, listen: &str| Serving::start(folder.command(&["--listen", listen]));
    let publish = |url: &str, events: &[plaza::event::Event]| {
        let mut client = Client::connect(url);
        events.iter().for_each(|event| client.publish_ok(event));
    };
    let held = |url: &str| Client::connect(url).count(&[serde_json::json!({})]);
    there.write("relay.toml", "[rate]\nenabled = false\n");
    let mut other = start(&there, &listen);
    let here = Folder::new();
    let mirror = mirror(&format!("ws://{listen}"), "direction = \"both\"");
    here.write("relay.toml", format!("[rate]\nenabled = false\n{mirror}"));
    let mut relay = start(&here, "127.0.0.1:0");
    let mut all = 0;
    for round in 0..3 {
        publish(&relay.url, &notes(2 * round, 0..40));
        publish(&other.url, &notes(2 * round + 1, 0..40));
        // In the midst of it.
        if round == 0 {
            drop(other);
            publish(&relay.url, &notes(100, 0..20));
            other = start(&there, &listen);
        } else if round == 1 {
            drop(relay);
            publish(&other.url, &notes(101, 0..20));
            relay = start(&here, "127.0.0.1:0");
        }
        all += if round < 2 { 100 } else { 80 };
        await_that("both have all", || held(&relay.url) == all && held(&other.url) == all);
    }
}

#[test]
fn it_speaks_over_tls_and_looks_at_certificates() {
    let (authority, folder) = (Authority::new(), Folder::new());
    authority.issue(&[NAME, "localhost"]).write(folder.0.path());
    folder.write(
        "relay.toml",
        "[tls]\nlisten = \"127.0.0.1:0\"\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n",
    );
    let mut other = folder.serve(&[]);
    let mut client = Client::connect(&other.url);
    notes(1, 0..5).iter().for_each(|event| client.publish_ok(event));
    let address = other.says("plaza: listening on wss://");
    let port = address.rsplit(':').next().expect("a port");
    for is_trusted in [false, true] {
        let mine = Folder::new();
        mine.write(
            "root.pem",
            if is_trusted { authority.root.clone() } else { Authority::new().root.clone() },
        );
        mine.write("relay.toml", mirror(&format!("wss://localhost:{port}"), ""));
        let mut command = mine.command(&["--listen", "127.0.0.1:0"]);
        command.env("SSL_CERT_FILE", mine.path("root.pem"));
        let relay = Serving::start(command);
        let wanted = if is_trusted { "up to date" } else { "last trouble: no TLS with localhost" };
        await_that(wanted, || mine.run(&["mirrors"]).data.contains(wanted));
        let found = Client::connect(&relay.url).ids(serde_json::json!({}));
        assert_eq!(found.len(), if is_trusted { 5 } else { 0 });
    }
}

#[test]
fn counters_tell_of_the_only_mirror() {
    let other = TestRelay::start();
    let relay = TestRelay::configured(&mirror(&other.url(), ""));
    await_live(&relay);
    let stats = stats(&relay);
    assert_eq!((stats.community.as_str(), stats.direction.as_str(), stats.caught_up), ("/", "down", 1));
    assert!(stats.connected_since.is_some());
}
