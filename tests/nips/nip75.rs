//! NIP-75, zap goals (nips/75.md).

use plaza::config::{AfterClosed, Settings};
use plaza::event::Event;

use crate::common::{NOW, Person, TestRelay, json_of};
use crate::wallet::{recipient, zap};

const RELAYS: &[&str] = &["relays", "wss://relay.example", "wss://other.example"];

fn relay(change: impl FnOnce(&mut Settings)) -> TestRelay {
    TestRelay::with(|config| {
        config.root.zaps.enabled = true;
        change(&mut config.root);
    })
}

fn goal(tags: &[&[&str]]) -> Event {
    recipient().event(9_041, NOW - 1_000, tags, "Travel expenses")
}

/// A goal that closes at this time.
fn closing(closed_at: u64) -> Event {
    goal(&[RELAYS, &["amount", "210000"], &["closed_at", &closed_at.to_string()]])
}

/// A receipt of this time for this event.
fn zap_for(event: &Event, created_at: u64) -> Event {
    zap(created_at, 21_000, &[&["e", &event.id.to_string()]])
}

#[test]
fn a_goal_names_its_amount_and_its_relays() {
    let relay = relay(|_| {});
    let plain = TestRelay::start();
    let (mut client, mut plain) = (relay.connect(), plain.connect());
    let amount = "invalid: a goal has an amount tag with a whole number of millisatoshis above 0 (zaps.goal)";
    let relays =
        "invalid: a goal has a relays tag that lists at least one ws:// or wss:// address (zaps.goal)";
    let closed_at = "invalid: the closed_at tag must hold a whole number of seconds since 1970 (zaps.goal)";
    let sum: &[&str] = &["amount", "210000"];
    let most = u64::MAX.to_string();
    let table: [(&[&[&str]], &str); 19] = [
        (&[RELAYS, sum], ""),
        (&[RELAYS, &["amount", "1"]], ""),
        (&[RELAYS, &["amount", &most]], ""),
        (&[RELAYS], amount),
        (&[RELAYS, &["amount"]], amount),
        (&[RELAYS, &["amount", "0"]], amount),
        (&[RELAYS, &["amount", "-1"]], amount),
        (&[RELAYS, &["amount", "2.5"]], amount),
        (&[RELAYS, &["amount", "18446744073709551616"]], amount),
        (&[sum], relays),
        (&[sum, &["relays"]], relays),
        (&[sum, &["relays", ""]], relays),
        (&[sum, &["relays", "https://relay.example"]], relays),
        (&[sum, &["relays", "wss://"]], relays),
        (&[sum, &["relays", "relay", "ws://relay.example"]], ""),
        (&[RELAYS, sum, &["closed_at", "1790000000"]], ""),
        (&[RELAYS, sum, &["closed_at", "0"]], ""),
        (&[RELAYS, sum, &["closed_at", "tomorrow"]], closed_at),
        (&[RELAYS, sum, &["closed_at"]], closed_at),
    ];
    for (tags, refusal) in table {
        let event = goal(tags);
        let expected = (refusal.is_empty(), refusal.to_owned());
        assert_eq!(client.publish(&event), expected, "{}", json_of(&event));
        plain.publish_ok(&event);
    }
    client.publish_ok(&recipient().event(9_042, NOW, &[], "Another kind needs none of it."));
}

#[test]
fn receipts_after_the_closing_time_are_refused_where_the_setting_says_so() {
    let late = "blocked: the goal closed 1 second before this zap (zaps.closed)";
    let table = [
        (AfterClosed::Accept, NOW - 1, ""),
        (AfterClosed::Accept, NOW + 1, ""),
        (AfterClosed::Mark, NOW + 1, ""),
        (AfterClosed::Refuse, NOW - 1, ""),
        (AfterClosed::Refuse, NOW, ""),
        (AfterClosed::Refuse, NOW + 1, late),
    ];
    for (after_closed, created_at, refusal) in table {
        let relay = relay(|settings| settings.zaps.after_closed = after_closed);
        let mut client = relay.connect();
        let goal = closing(NOW);
        client.publish_ok(&goal);
        let expected = (refusal.is_empty(), refusal.to_owned());
        assert_eq!(client.publish(&zap_for(&goal, created_at)), expected, "{after_closed:?} at {created_at}");
    }
}

#[test]
fn only_goals_that_are_known_to_close_turn_receipts_away() {
    let relay = relay(|settings| settings.zaps.after_closed = AfterClosed::Refuse);
    let mut client = relay.connect();
    let endless = goal(&[RELAYS, &["amount", "1"]]);
    let elsewhere = closing(NOW - 500);
    let closed_note =
        Person::new(7).event(1, NOW, &[RELAYS, &["amount", "1"], &["closed_at", "5"]], "No goal.");
    for event in [&endless, &closed_note] {
        client.publish_ok(event);
        client.publish_ok(&zap_for(event, NOW));
    }
    // Not stored here: nobody knows when it closed, until it comes.
    client.publish_ok(&zap_for(&elsewhere, NOW));
    client.publish_ok(&elsewhere);
    let refusal = "blocked: the goal closed 501 seconds before this zap (zaps.closed)";
    assert_eq!(client.publish_refused(&zap_for(&elsewhere, NOW + 1)), refusal);
    client.publish_ok(&zap(NOW, 21_000, &[]));
}

#[test]
fn late_receipts_are_counted_where_they_are_marked() {
    let relay = relay(|settings| settings.zaps.after_closed = AfterClosed::Mark);
    let mut client = relay.connect();
    let goal = closing(NOW);
    client.publish_ok(&goal);
    client.publish_ok(&zap_for(&goal, NOW));
    client.publish_ok(&zap_for(&goal, NOW + 60));
    assert_eq!(relay.stored(), 3, "the late one is taken as well");
    let counts = relay.relay().community().tally.counts();
    let count = counts.get("zaps.closed").copied().unwrap_or_default();
    assert_eq!((count.refused, count.shadowed), (0, 1));
}
