//! Mirrors between relays that run: what one has comes to the other, live and missed, each event once, whatever the
//! other side is like and does.

#[path = "../common/mod.rs"]
mod common;

mod circle;
mod elsewhere;
mod fake;
mod hostile;
mod outbox;
mod settings;
mod streams;

use std::collections::BTreeSet;

use common::{Client, NOW, Person, TestRelay, await_that};
use plaza::config::Config;
use plaza::event::Event;
use plaza::mirror::{MirrorStats, Phase};
use serde_json::{Value, json};

/// A `[[mirror]]` of a relay elsewhere, with more of its keys.
pub fn mirror(url: &str, keys: &str) -> String {
    format!("[[mirror]]\nurl = \"{url}\"\n{keys}\n")
}

/// Goes by other settings, as after a reload.
pub fn reload(relay: &TestRelay, settings: &str) {
    let parsed = Config::parse(settings, std::path::Path::new("relay.toml"));
    let parsed = parsed.unwrap_or_else(|error| panic!("{error}\n{settings}"));
    let mut config = Config::clone(&relay.relay().config());
    (config.root, config.communities, config.mirrors) = (parsed.root, parsed.communities, parsed.mirrors);
    relay.relay().reconfigure(config).expect("the settings are taken");
}

/// How the only mirror of a relay stands.
pub fn stats(relay: &TestRelay) -> MirrorStats {
    let mut all = relay.relay().mirrors();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// Waits until the only mirror has carried over what was missed.
pub fn await_live(relay: &TestRelay) {
    await_that("the mirror is up to date", || stats(relay).phase == Phase::Live);
}

/// Ids of all that a relay shows.
pub fn shown(relay: &TestRelay) -> BTreeSet<String> {
    relay.connect().ids(json!({"limit": 5_000})).into_iter().collect()
}

/// Ids of these events.
pub fn ids<'e>(events: impl IntoIterator<Item = &'e Event>) -> BTreeSet<String> {
    events.into_iter().map(|event| event.id.to_string()).collect()
}

/// Waits until a relay holds so many events.
pub fn await_stored(relay: &TestRelay, count: usize) {
    await_that(&format!("{count} events are stored"), || relay.stored() >= count);
}

/// Notes of a person, one a second, that were written a while ago.
pub fn notes(person: u32, numbers: std::ops::Range<u64>) -> Vec<Event> {
    let person = Person::new(person);
    numbers.map(|number| person.event(1, NOW - 100_000 + number, &[], &format!("note {number}"))).collect()
}

/// Publishes events, all of which must be taken.
pub fn publish<'e>(relay: &TestRelay, events: impl IntoIterator<Item = &'e Event>) {
    let mut client = relay.connect();
    events.into_iter().for_each(|event| client.publish_ok(event));
}

/// The next live event of a client, but for EOSE.
pub fn next_event(client: &mut Client) -> Value {
    loop {
        let message = client.receive();
        if message[0] == "EVENT" {
            return message[2].clone();
        }
    }
}
