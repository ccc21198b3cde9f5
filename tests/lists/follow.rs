//! Following: bans of one relay count at another, for as long as they are there to be found.

use serde_json::json;

use super::common::{NOW, Person};
use super::{
    Publisher, await_entries, entries, follow, follower, owner, published, reload, said, stats, stats_of,
    with_key,
};
use crate::common::await_that;

const PUBKEYS: &str = "banned-pubkeys";
const DAY: u64 = 86_400;

fn sentence(publisher: &Publisher, reason: &str) -> String {
    let host = publisher.relay.url().replacen("ws://", "", 1);
    format!(
        "blocked: this author is on the list 'Banned at the square' of relay {host}{reason} (shared_lists.refused)"
    )
}

#[test]
fn a_ban_counts_at_who_follows_until_it_is_lifted() {
    let publisher = Publisher::start(100, "");
    let relay = follower(&publisher.follow(""));
    let [spammer, other] = [10, 11].map(Person::new);
    assert_eq!(said(&relay, &spammer.note("one")), "taken");
    publisher.ban(&spammer, "public: sells pills");
    await_entries(&relay, PUBKEYS, 1);
    assert_eq!(said(&relay, &spammer.note("two")), sentence(&publisher, ": sells pills"));
    assert_eq!(said(&relay, &other.note("three")), "taken");
    // What takes something back is always taken.
    assert_eq!(said(&relay, &spammer.event(5, NOW, &[&["k", "1"]], "")), "taken");
    let touched = stats_of(&relay, PUBKEYS);
    assert_eq!(touched.touched.values().sum::<u64>(), 1);
    assert_eq!((&touched.last[0].pubkey, touched.last[0].at), (&spammer.hex(), NOW));
    publisher.unban(&spammer);
    await_entries(&relay, PUBKEYS, 0);
    assert_eq!(said(&relay, &spammer.note("four")), "taken");
}

#[test]
fn a_dead_relays_list_counts_through_restarts_until_it_lapses() {
    let mut publisher = Publisher::start(100, "");
    let [spammer, other] = [10, 11].map(Person::new);
    publisher.ban(&spammer, "public: spam");
    let settings = publisher.follow("expires_days = 7");
    let mut relay = follower(&settings);
    await_entries(&relay, PUBKEYS, 1);
    let refused = sentence(&publisher, ": spam");
    let address = publisher.relay.relay().address();
    publisher.relay.stop();
    relay.restart();
    assert_eq!(said(&relay, &spammer.note("one")), refused);
    assert_eq!(said(&relay, &other.note("one")), "taken");
    relay.clock.set(NOW + 7 * DAY);
    assert_eq!(said(&relay, &spammer.event(1, NOW + 7 * DAY, &[], "two")), refused);
    relay.clock.set(NOW + 7 * DAY + 1);
    assert!(!stats_of(&relay, PUBKEYS).counts);
    assert_eq!(said(&relay, &spammer.event(1, NOW + 7 * DAY, &[], "three")), "taken");
    relay.restart();
    assert_eq!(said(&relay, &spammer.event(1, NOW + 7 * DAY, &[], "four")), "taken");
    // It is found again, and counts again, though nothing on it has changed.
    publisher.relay.start_again_at(address);
    await_that("the list counts again", || stats_of(&relay, PUBKEYS).counts);
    assert_eq!(said(&relay, &spammer.event(1, NOW + 7 * DAY, &[], "five")), refused);
}

#[test]
fn what_is_decided_here_wins_over_any_list() {
    let publisher = Publisher::start(100, "");
    let [allowed, spared, member, moderator, event_allowed] = [10, 11, 12, 13, 14].map(Person::new);
    let people = [&allowed, &spared, &member, &moderator, &event_allowed];
    people.iter().for_each(|person| publisher.ban(person, "public: spam"));
    let settings = format!("[authors]\nmembers = [\"{}\"]\n{}", member.hex(), publisher.follow(""));
    let mut relay = follower(&settings);
    await_entries(&relay, PUBKEYS, 5);
    let refused = sentence(&publisher, ": spam");
    let own = event_allowed.note("one");
    assert_eq!(said(&relay, &own), refused);
    for person in [&allowed, &spared, &moderator] {
        assert_eq!(said(&relay, &person.note("one")), refused);
    }
    relay.call_ok(&owner(), "allowpubkey", json!([allowed.hex()]));
    relay.call_ok(&owner(), "unbanpubkey", json!([spared.hex(), "we know her"]));
    relay.call_ok(&owner(), "assignrole", json!([moderator.hex(), "moderator"]));
    relay.call_ok(&owner(), "allowevent", json!([own.id.to_string()]));
    for round in 0..2 {
        for person in [&allowed, &spared, &member, &moderator] {
            assert_eq!(said(&relay, &person.note(&format!("two {round}"))), "taken");
        }
        assert_eq!(said(&relay, &event_allowed.note("two")), refused);
        relay.restart();
    }
    assert_eq!(said(&relay, &own), "taken");
    let shown = relay.call_ok(&owner(), "listsharedlists", json!([]));
    assert_eq!(shown["spared"][0]["pubkey"], spared.hex());
    assert_eq!(shown["lists"][0]["entries"], 5);
    // Who is banned here is spared no more.
    relay.call_ok(&owner(), "banpubkey", json!([spared.hex()]));
    let banned = "blocked: the moderators have banned this author (admin.banned)";
    assert_eq!(said(&relay, &spared.note("three")), banned);
    assert_eq!(relay.call_ok(&owner(), "listsharedlists", json!([]))["spared"], json!([]));
}

#[test]
fn two_that_follow_each_other_do_not_echo() {
    let one = Publisher::start(100, "");
    let two = Publisher::start(101, &one.follow(""));
    let settings = with_key("the square", &one.key, &one.folder);
    let circle = format!("{settings}[shared_lists]\npublish = [\"pubkeys\"]\n{}", two.follow(""));
    let circle = circle.replace(&format!("[admin]\nowners = [\"{}\"]\n", owner().hex()), "");
    reload(&one.relay, &circle);
    let [of_one, of_two] = [10, 11].map(Person::new);
    one.ban(&of_one, "public: one");
    two.ban(&of_two, "public: two");
    await_entries(&one.relay, PUBKEYS, 1);
    await_entries(&two.relay, PUBKEYS, 1);
    assert!(said(&one.relay, &of_two.note("x")).contains("two"));
    assert!(said(&two.relay, &of_one.note("x")).contains("one"));
    // A change of each has its list said anew, with what is its own alone.
    for (publisher, own, reason) in [(&one, &of_one, "one"), (&two, &of_two, "two")] {
        publisher.ban(&Person::new(12), "public: both");
        await_that("the list is said anew", || {
            entries(&publisher.published(PUBKEYS).expect("a list")).len() == 2
        });
        let said = entries(&publisher.published(PUBKEYS).expect("a list"));
        let mut wanted = [(own.hex(), reason.to_owned()), (Person::new(12).hex(), "both".to_owned())];
        wanted.sort();
        let mut said = said;
        said.sort();
        assert_eq!(said, wanted);
    }
    one.unban(&of_one);
    await_entries(&two.relay, PUBKEYS, 1);
    assert_eq!(said(&two.relay, &of_one.note("y")), "taken");
}

#[test]
fn a_reload_begins_changes_and_ends_following() {
    let publisher = Publisher::start(100, "");
    let spammer = Person::new(10);
    publisher.ban(&spammer, "public: spam");
    let relay = follower("");
    assert!(stats(&relay).is_empty());
    reload(&relay, &publisher.follow(""));
    await_entries(&relay, PUBKEYS, 1);
    let refused = sentence(&publisher, ": spam");
    assert_eq!(said(&relay, &spammer.note("one")), refused);
    reload(&relay, &publisher.follow("on = \"flag\""));
    assert_eq!(said(&relay, &spammer.note("one")), "taken");
    reload(&relay, &publisher.follow("lists = [\"domains\"]"));
    assert_eq!(said(&relay, &spammer.note("two")), "taken");
    assert_eq!(stats(&relay).len(), 1);
    reload(&relay, "");
    assert!(stats(&relay).is_empty());
    // What was kept is forgotten: it does not come back with the settings, but from the relay.
    let connects = |publisher: &Publisher| publisher.relay.relay().community().connected.len();
    await_that("nobody is connected", || connects(&publisher) == 0);
    let nowhere = follow("ws://127.0.0.1:9", &publisher.key, "");
    reload(&relay, &nowhere);
    assert_eq!(stats_of(&relay, PUBKEYS).made_at, None);
    assert_eq!(said(&relay, &spammer.note("three")), "taken");
}

#[test]
fn communities_follow_by_themselves() {
    let publisher = Publisher::start(100, "");
    let spammer = Person::new(10);
    publisher.ban(&spammer, "public: spam");
    let of_town = publisher.follow("").replace("[[shared", "[[community.shared");
    let relay = follower(&format!("[[community]]\npath = \"/town\"\n{of_town}"));
    let town = relay.relay().communities().at("/town").expect("a community");
    await_that("the list has come", || town.list_stats(NOW)[0].entries == 1);
    assert_eq!(relay.connect_at("/town").publish_refused(&spammer.note("x")), sentence(&publisher, ": spam"));
    assert_eq!(said(&relay, &spammer.note("x")), "taken");
}

#[test]
fn a_relay_that_asks_for_a_key_is_shown_the_relays_own() {
    let reader = Person::new(101);
    let members = format!("[access]\nread = \"members\"\n[authors]\nmembers = [\"{}\"]\n", reader.hex());
    let publisher = Publisher::start(100, &members);
    let spammer = Person::new(10);
    publisher.ban(&spammer, "public: spam");
    // Whom the rules do not let in sees no list.
    assert!(published(&publisher.relay, &publisher.key, PUBKEYS).is_none());
    let folder = tempfile::tempdir().expect("a folder");
    let settings = with_key("reader", &reader, &folder);
    let relay = super::common::TestRelay::configured(&format!("{settings}{}", publisher.follow("")));
    await_entries(&relay, PUBKEYS, 1);
    assert_eq!(said(&relay, &spammer.note("x")), sentence(&publisher, ": spam"));
}
