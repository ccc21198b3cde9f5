//! Members are followed to where their relay lists say that they write, and nobody can send the relay where it should
//! not go.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use plaza::event::Event;
use plaza::mirror::Phase;

use super::common::{NOW, Person, TestRelay};
use super::{ids, publish, shown};
use crate::common::await_that;

/// A relay list of a person.
fn list(person: &Person, created_at: u64, relays: &[&str]) -> Event {
    let tags: Vec<[&str; 2]> = relays.iter().map(|relay| ["r", *relay]).collect();
    person.sign(10_002, created_at, tags.iter().collect(), "")
}

/// Settings of a community that follows these people.
fn following(members: &[&Person], keys: &str) -> String {
    let members: Vec<String> = members.iter().map(|person| person.hex()).collect();
    format!("[authors]\nmembers = {members:?}\n[outbox]\nenabled = true\nlook_seconds = 1\n{keys}\n")
}

/// Waits until a relay shows exactly these.
fn await_shown(relay: &TestRelay, what: &str, events: &[&Event]) {
    await_that(what, || shown(relay) == ids(events.iter().copied()));
}

#[test]
fn members_posts_come_from_where_they_write() {
    let people = [1, 2, 3].map(Person::new);
    let [one, two, stranger] = &people;
    let [directory, first, second] = [(); 3].map(|()| TestRelay::start());
    let lists = [
        list(one, NOW - 9, &[&first.url(), &second.url()]),
        list(two, NOW - 9, &[&first.url()]),
        list(stranger, NOW - 9, &[&second.url()]),
    ];
    publish(&directory, &lists);
    let posts = people.each_ref().map(|person| person.event(1, NOW - 5, &[], "before"));
    publish(&first, &posts);
    let elsewhere = one.event(1, NOW - 4, &[], "only at the second");
    publish(&second, [&elsewhere]);
    let keys = format!("discover = [\"{}\"]\nprivate_allowed = true", directory.url());
    let relay = TestRelay::configured(&following(&[one, two], &keys));
    let mut expected = vec![&lists[0], &lists[1], &posts[0], &posts[1], &elsewhere];
    await_shown(&relay, "what was written before", &expected);
    // What is new, at either; and what a stranger writes there stays there.
    let new = [one.event(1, NOW, &[], "new"), two.event(1, NOW, &[], "new")];
    publish(&second, [&new[0], &stranger.event(1, NOW, &[], "new")]);
    publish(&first, [&new[1]]);
    expected.extend(&new);
    await_shown(&relay, "what is new", &expected);
    // A member moves.
    let third = TestRelay::start();
    let moved = list(two, NOW, &[&third.url()]);
    let there = two.event(1, NOW + 1, &[], "from there");
    publish(&third, [&there]);
    publish(&directory, [&moved]);
    expected.retain(|event| event.id != lists[1].id);
    expected.extend([&moved, &there]);
    await_shown(&relay, "after a move", &expected);
    let roles: Vec<(String, String)> =
        relay.relay().mirrors().into_iter().map(|one| (one.direction, one.url)).collect();
    assert!(roles.contains(&("discover".to_owned(), directory.url())), "{roles:?}");
    assert_eq!(roles.iter().filter(|(role, _)| role == "outbox").count(), 3, "{roles:?}");
    // Without members' lists being followed any more there is nothing left of it.
    super::reload(&relay, &following(&[one, two], "").replace("true", "false"));
    assert!(relay.relay().mirrors().is_empty());
    await_that("nobody is connected", || first.relay().community().connected.is_empty());
}

#[test]
fn another_relay_takes_the_place_of_one_that_is_dead() {
    let member = Person::new(1);
    let dead = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let alive = TestRelay::start();
    // The first by name, and so chosen first.
    let names = list(
        &member,
        NOW,
        &[&format!("ws://127.0.0.1:{}", dead.port()), &alive.url().replace("127.0.0.1", "localhost")],
    );
    let post = member.note("here");
    publish(&alive, [&post]);
    let keys = "private_allowed = true\nrelays_per_member = 1";
    let relay = TestRelay::configured(&following(&[&member], keys));
    publish(&relay, [&names]);
    await_shown(&relay, "it comes from the one that lives", &[&names, &post]);
}

#[test]
fn no_list_leads_to_private_networks_or_past_the_bounds() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let came = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&came);
    std::thread::spawn(move || {
        listener.incoming().for_each(|_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
    });
    let members: Vec<Person> = (1..=4).map(Person::new).collect();
    let hosts = ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"];
    let relay = TestRelay::configured(&following(&members.iter().collect::<Vec<_>>(), "relays_max = 3"));
    for (person, host) in members.iter().zip(hosts) {
        let [plain, encrypted] = ["ws", "wss"].map(|scheme| format!("{scheme}://{host}:{port}"));
        publish(&relay, [&list(person, NOW, &[&plain, &encrypted])]);
    }
    await_that("three are tried, and none is connected to", || {
        let all = relay.relay().mirrors();
        let refused = |error: &Option<String>| {
            error.as_ref().is_some_and(|error| error.contains("has no address that may be connected to"))
        };
        assert!(all.len() <= 3 && all.iter().all(|one| one.url.starts_with("wss://")), "{all:?}");
        all.len() == 3 && all.iter().all(|one| refused(&one.error) && one.phase != Phase::Live)
    });
    assert_eq!(came.load(Ordering::SeqCst), 0);
}
