//! Lists that relays share (docs/lists.md), between relays that run: what one bans another one refuses, hides or flags,
//! whoever dies, lies, or follows whom.

#[path = "../common/mod.rs"]
mod common;

mod effects;
mod follow;
mod hostile;
mod publish;
mod settings;

use common::{Person, TestRelay, await_that};
use plaza::community::ListStats;
use plaza::config::Config;
use plaza::event::Event;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Who owns every relay of these tests.
pub fn owner() -> Person {
    Person::new(1)
}

/// A relay that publishes lists, with a key of its own.
pub struct Publisher {
    /// The relay.
    pub relay: TestRelay,
    /// Its own key.
    pub key: Person,
    /// Where that is.
    pub folder: TempDir,
}

/// The settings of a relay that has this key; sections may follow.
pub fn with_key(name: &str, key: &Person, folder: &TempDir) -> String {
    let file = folder.path().join("relay.key");
    std::fs::write(&file, key.secret()).expect("a file");
    let owner = owner().hex();
    format!(
        "[relay]\nname = \"{name}\"\nsecret_key_file = \"{}\"\n[admin]\nowners = [\"{owner}\"]\n",
        file.display()
    )
}

impl Publisher {
    /// One with this number for a key, and more settings: those of `[shared_lists]` first.
    pub fn start(number: u32, more: &str) -> Publisher {
        let (key, folder) = (Person::new(number), tempfile::tempdir().expect("a folder"));
        let settings = with_key("the square", &key, &folder);
        let publish = "[shared_lists]\npublish = [\"pubkeys\", \"domains\"]\n";
        let relay = TestRelay::configured(&format!("{settings}{publish}{more}"));
        Publisher { relay, key, folder }
    }

    /// A `[[shared_lists.follow]]` of it, with more of its keys.
    pub fn follow(&self, more: &str) -> String {
        follow(&self.relay.url(), &self.key, more)
    }

    /// Bans somebody.
    pub fn ban(&self, person: &Person, reason: &str) {
        self.relay.call_ok(&owner(), "banpubkey", json!([person.hex(), reason]));
    }

    /// Lifts that.
    pub fn unban(&self, person: &Person) {
        self.relay.call_ok(&owner(), "unbanpubkey", json!([person.hex()]));
    }

    /// What it publishes, by `d` tag.
    pub fn published(&self, list: &str) -> Option<Value> {
        published(&self.relay, &self.key, list)
    }
}

/// A list as a relay shows it.
pub fn published(relay: &TestRelay, key: &Person, list: &str) -> Option<Value> {
    let mut client = relay.connect();
    let filter = json!({"kinds": [30_000], "authors": [key.hex()], "#d": [list]});
    client.subscribe("list", &[filter]);
    let mut found = None;
    loop {
        let message = client.receive();
        match message[0].as_str() {
            Some("EVENT") => found = Some(message[2].clone()),
            _ => return found,
        }
    }
}

/// Entries of a list: what is on it, and its reason.
pub fn entries(event: &Value) -> Vec<(String, String)> {
    let tags = event["tags"].as_array().expect("tags");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entries = tags.iter().filter(|tag| tag[0] == "p" || tag[0] == "word");
    // Without the day.
    let reason =
        |tag: &Value| text(&tag[3]).split_once(' ').map_or(String::new(), |(_, reason)| reason.to_owned());
    entries.map(|tag| (text(&tag[1]), reason(tag))).collect()
}

/// A `[[shared_lists.follow]]`, with more of its keys.
pub fn follow(url: &str, key: &Person, more: &str) -> String {
    format!("[[shared_lists.follow]]\nrelay = \"{url}\"\npubkey = \"{}\"\n{more}\n", key.hex())
}

/// A relay of the owner's with these settings.
pub fn follower(settings: &str) -> TestRelay {
    TestRelay::configured(&format!("[admin]\nowners = [\"{}\"]\n{settings}", owner().hex()))
}

/// Goes by other settings, as after a reload.
pub fn reload(relay: &TestRelay, settings: &str) {
    let text = format!("[admin]\nowners = [\"{}\"]\n{settings}", owner().hex());
    let parsed = Config::parse(&text, std::path::Path::new("relay.toml"));
    let parsed = parsed.unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut config = Config::clone(&relay.relay().config());
    (config.root, config.communities, config.mirrors) = (parsed.root, parsed.communities, parsed.mirrors);
    relay.relay().reconfigure(config).expect("the settings are taken");
}

/// How the followed lists of a relay stand.
pub fn stats(relay: &TestRelay) -> Vec<ListStats> {
    relay.relay().community().list_stats(relay.clock.now())
}

/// How one of them stands.
pub fn stats_of(relay: &TestRelay, list: &str) -> ListStats {
    let all = stats(relay);
    all.iter().find(|one| one.list == list).unwrap_or_else(|| panic!("{list} in {all:?}")).clone()
}

/// Waits until a list has a copy with so many entries.
pub fn await_entries(relay: &TestRelay, list: &str, count: u64) {
    await_that(&format!("{list} has {count} entries: {:?}", stats(relay)), || {
        let list = stats_of(relay, list);
        list.made_at.is_some() && list.entries == count
    });
}

/// What becomes of an event.
pub fn said(relay: &TestRelay, event: &Event) -> String {
    let (is_taken, why) = relay.connect().publish(event);
    if is_taken { "taken".to_owned() } else { why }
}

/// A list as somebody signs it.
pub fn list(signer: &Person, made_at: u64, identifier: &str, items: &[&[&str]]) -> Event {
    let own: [&[&str]; 2] = [&["d", identifier], &["title", "Bad ones"]];
    let tags: Vec<&[&str]> = own.into_iter().chain(items.iter().copied()).collect();
    signer.event(30_000, made_at, &tags, "")
}
