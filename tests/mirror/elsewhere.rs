//! A relay of other make as the other side: the one of rust-nostr (crate nostr-relay-builder), with its own store, its own
//! negentropy and its own client.

use std::collections::BTreeSet;
use std::sync::Arc;

use nostr_relay_builder::builder::RateLimit;
use nostr_relay_builder::{LocalRelay, RelayBuilder};
use nostr_sdk::prelude::{Client, Filter, JsonUtil, MemoryDatabase, MemoryDatabaseOptions, NostrDatabase};
use plaza::event::Event;
use tokio::runtime::Runtime;

use super::common::{NOW, Person, TestRelay};
use super::{await_live, await_stored, ids, mirror, notes, publish, reload, shown, stats};
use crate::common::await_that;

/// Such a relay.
struct Other {
    runtime: Runtime,
    database: Arc<MemoryDatabase>,
    relay: Option<LocalRelay>,
    url: String,
    notes_per_minute: u32,
}

impl Other {
    fn start() -> Other {
        Other::with(u32::MAX)
    }

    /// One that takes so many events a minute from each connection.
    fn with(notes_per_minute: u32) -> Other {
        let runtime = Runtime::new().expect("threads");
        let options = MemoryDatabaseOptions { events: true, max_events: None };
        let database = Arc::new(MemoryDatabase::with_opts(options));
        let mut other = Other { runtime, database, relay: None, url: String::new(), notes_per_minute };
        other.serve(None);
        other
    }

    /// Serves its store, at the port of before if there was one.
    fn serve(&mut self, port: Option<u16>) {
        let limit = RateLimit { max_reqs: 500, notes_per_minute: self.notes_per_minute };
        let mut builder = RelayBuilder::default().database(Arc::clone(&self.database)).rate_limit(limit);
        if let Some(port) = port {
            builder = builder.port(port);
        }
        let relay = LocalRelay::new(builder);
        self.url = self.runtime.block_on(async {
            relay.run().await.expect("it listens");
            relay.url().await.to_string().trim_end_matches('/').to_owned()
        });
        self.relay = Some(relay);
    }

    fn port(&self) -> u16 {
        self.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Has events from before.
    fn keep<'e>(&self, events: impl IntoIterator<Item = &'e Event>) {
        self.runtime.block_on(async {
            for event in events {
                let event = nostr_sdk::Event::from_json(event.to_json()).expect("an event");
                let status = self.database.save_event(&event).await.expect("a database");
                assert!(status.is_success(), "{status:?}");
            }
        });
    }

    /// Publishes events with a client of the same make.
    fn publish<'e>(&self, events: impl IntoIterator<Item = &'e Event>) {
        self.runtime.block_on(async {
            let client = Client::default();
            client.add_relay(&self.url).await.expect("a URL");
            client.connect().await;
            for event in events {
                let event = nostr_sdk::Event::from_json(event.to_json()).expect("an event");
                let sent = client.send_event(&event).await.expect("it is sent");
                assert!(sent.failed.is_empty(), "{:?}", sent.failed);
            }
            client.shutdown().await;
        });
    }

    /// Ids of all that it has.
    fn has(&self) -> BTreeSet<String> {
        let all = self.runtime.block_on(self.database.query(Filter::new())).expect("a database");
        all.into_iter().map(|event| event.id.to_hex()).collect()
    }
}

#[test]
fn each_way_carries_what_was_missed_and_what_is_new() {
    for (direction, comes, goes) in [("down", true, false), ("up", false, true), ("both", true, true)] {
        for backfill in ["negentropy", "pages"] {
            let case = format!("{direction}, {backfill}");
            let (both, here, there) = (notes(1, 0..30), notes(2, 0..600), notes(3, 0..700));
            let (other, relay) = (Other::start(), TestRelay::start());
            other.keep(both.iter().chain(&there));
            publish(&relay, both.iter().chain(&here));
            let keys =
                format!("direction = \"{direction}\"\nbackfill = \"{backfill}\"\ncatch_up_seconds = 1");
            reload(&relay, &mirror(&other.url, &keys));
            await_live(&relay);
            let mut mine = ids(both.iter().chain(&here));
            let mut theirs = ids(both.iter().chain(&there));
            let [new_here, new_there] = [Person::new(4).note("mine"), Person::new(5).note("theirs")];
            publish(&relay, [&new_here]);
            other.publish([&new_there]);
            let (was_mine, was_theirs) = (mine.clone(), theirs.clone());
            mine.insert(new_here.id.to_string());
            theirs.insert(new_there.id.to_string());
            if comes {
                mine.extend(was_theirs.into_iter().chain([new_there.id.to_string()]));
            }
            if goes {
                theirs.extend(was_mine.into_iter().chain([new_here.id.to_string()]));
            }
            await_that(&format!("{case}: all is here"), || shown(&relay) == mine);
            await_that(&format!("{case}: all is there"), || other.has() == theirs);
            // However often both are compared again nothing goes round, and nothing was sent back.
            let compared = stats(&relay).caught_up;
            await_that("it is compared again", || stats(&relay).caught_up >= compared + 2);
            assert_eq!((shown(&relay), other.has()), (mine, theirs), "{case}");
            let stats = stats(&relay);
            assert_eq!((&stats.error, stats.strikes, stats.connects), (&None, 0, 1), "{case}");
            assert_eq!(
                (stats.down.taken, stats.down.refused.len()),
                (if comes { 701 } else { 0 }, 0),
                "{case}"
            );
            assert_eq!((stats.up.taken, stats.up.copies), (if goes { 601 } else { 0 }, 0), "{case}");
            assert!(stats.up.events <= 601, "{case}: {:?}", stats.up);
        }
    }
}

#[test]
fn of_thousands_that_differ_by_few_only_those_are_carried() {
    let (both, here, there) = (notes(1, 0..2_000), notes(2, 0..7), notes(3, 0..5));
    let (other, relay) = (Other::start(), TestRelay::start());
    other.keep(both.iter().chain(&there));
    publish(&relay, both.iter().chain(&here));
    reload(&relay, &mirror(&other.url, "direction = \"both\""));
    await_stored(&relay, 2_012);
    await_that("all is there", || other.has().len() == 2_012);
    await_live(&relay);
    let stats = stats(&relay);
    assert_eq!((stats.up.events, stats.up.copies), (7, 0));
    // What goes up comes back to the live subscription, and one stored event answers it.
    assert!(stats.down.taken == 5 && stats.down.copies <= 8, "{:?}", stats.down);
}

#[test]
fn after_it_was_gone_nothing_is_missing() {
    let (mut other, relay) = (Other::start(), TestRelay::start());
    reload(&relay, &mirror(&other.url, "direction = \"both\""));
    await_live(&relay);
    publish(&relay, &notes(1, 0..10));
    await_that("they are there", || other.has().len() == 10);
    let port = other.port();
    // Its connections end with its threads.
    other.relay.take().expect("it serves").shutdown();
    std::mem::replace(&mut other.runtime, Runtime::new().expect("threads")).shutdown_background();
    await_that("the mirror has noticed", || stats(&relay).error.is_some());
    publish(&relay, &notes(2, 0..200));
    other.serve(Some(port));
    other.publish(&notes(3, 0..200));
    await_stored(&relay, 410);
    await_that("both have all", || other.has() == shown(&relay));
    await_live(&relay);
    assert_eq!(stats(&relay).error, None);
}

#[test]
fn two_relays_of_this_make_meet_at_one_of_the_other() {
    let (other, relays) = (Other::start(), [(); 2].map(|()| TestRelay::start()));
    publish(&relays[0], &notes(1, 0..40));
    publish(&relays[1], &notes(2, 0..40));
    for relay in &relays {
        reload(relay, &mirror(&other.url, "direction = \"both\"\ncatch_up_seconds = 1"));
    }
    relays.iter().for_each(|relay| await_stored(relay, 80));
    relays.iter().for_each(await_live);
    let live = notes(3, 0..40);
    for (number, event) in live.iter().enumerate() {
        publish(&relays[number % 2], [event]);
    }
    for relay in &relays {
        await_stored(relay, 120);
        assert_eq!(shown(relay), shown(&relays[0]));
        assert_eq!((stats(relay).strikes, stats(relay).error), (0, None));
    }
    await_that("it has all", || other.has() == shown(&relays[0]));
}

#[test]
fn what_is_too_much_at_once_there_goes_later() {
    // It counts what came within a minute, by the machine's clock.
    let (other, relay) = (Other::with(30), TestRelay::start());
    publish(&relay, &notes(1, 0..25));
    reload(&relay, &mirror(&other.url, "direction = \"up\""));
    await_that("all is there", || other.has().len() == 25);
    publish(&relay, &notes(2, 0..25));
    await_that("it is told to wait", || stats(&relay).up.refused.contains_key("rate-limited"));
    assert!(other.has().len() < 50);
    let deleted = Person::new(2).event(5, NOW, &[], "nothing");
    publish(&relay, [&deleted]);
    await_that("it waits and does not end", || stats(&relay).error.is_none());
}
