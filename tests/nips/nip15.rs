//! NIP-15, marketplaces (nips/15.md). Field by field its contents are held to their bounds in
//! `src/nips/nip15/tests.rs`; here a market is at work.

use serde_json::{Value, json};

use crate::common::{Client, NOW, Person, TestRelay, ids_of};
use plaza::event::Event;

const MARKET: &str = "[market]\nenabled = true";

fn stall(merchant: &Person, id: &str, zones: &[&str]) -> Event {
    let shipping: Vec<Value> =
        zones.iter().map(|zone| json!({"id": zone, "name": zone, "cost": 5})).collect();
    let content = json!({"id": id, "name": "A stall", "currency": "sats", "shipping": shipping});
    merchant.event(30_017, NOW, &[&["d", id]], &content.to_string())
}

fn product(merchant: &Person, id: &str, stall: &str, zones: &[&str], category: &str) -> Event {
    let shipping: Vec<Value> = zones.iter().map(|zone| json!({"id": zone, "cost": 1.5})).collect();
    let content = json!({
        "id": id, "stall_id": stall, "name": "Apples", "images": ["https://example.com/apple.jpg"],
        "currency": "sats", "price": 21, "quantity": null, "specs": [["colour", "red"]], "shipping": shipping
    });
    merchant.event(30_018, NOW, &[&["d", id], &["t", category]], &content.to_string())
}

/// An auction of a clock that starts at 1,000 and lasts ten minutes.
fn auction(merchant: &Person, created_at: u64, start_date: Option<u64>) -> Event {
    let mut content = json!({
        "id": "clock", "stall_id": "s", "name": "A clock", "starting_bid": 1_000, "duration": 600,
        "shipping": [{"id": "eu", "cost": 9}]
    });
    if let Some(start) = start_date {
        content["start_date"] = json!(start);
    }
    merchant.event(30_020, created_at, &[&["d", "clock"]], &content.to_string())
}

fn bid(bidder: &Person, time: u64, on: &Event, amount: u64) -> Event {
    bidder.event(1_021, time, &[&["e", &on.id.to_string()]], &amount.to_string())
}

fn confirmation(merchant: &Person, time: u64, bid: &Event, on: &Event, content: Value) -> Event {
    let tags: [&[&str]; 2] = [&["e", &bid.id.to_string()], &["e", &on.id.to_string()]];
    merchant.event(1_022, time, &tags, &content.to_string())
}

/// A market with a merchant's stall and an auction that began now.
fn bidding(merchant: &Person) -> (TestRelay, Client, Event) {
    let relay = TestRelay::configured(MARKET);
    let mut client = relay.connect();
    let auction = auction(merchant, NOW, Some(NOW));
    client.publish_ok(&stall(merchant, "s", &["eu"]));
    client.publish_ok(&auction);
    (relay, client, auction)
}

#[test]
fn from_a_stall_to_the_last_bid() {
    let [merchant, other, anna, ben] = [1, 2, 3, 4].map(Person::new);
    let relay = TestRelay::configured(MARKET);
    let mut client = relay.connect();
    let apples = product(&merchant, "apples", "s", &["eu"], "fruit");
    let no_stall = "invalid: the stall that stall_id names is not here, or is another merchant's; publish the stall first (market.stall)";
    assert_eq!(client.publish_refused(&apples), no_stall);
    client.publish_ok(&stall(&other, "s", &["eu"]));
    assert_eq!(client.publish_refused(&apples), no_stall, "the stall is another merchant's");
    client.publish_ok(&stall(&merchant, "s", &["eu"]));
    client.publish_ok(&apples);
    assert_eq!(
        client.publish_refused(&product(&merchant, "pears", "s", &["eu", "us"], "fruit")),
        "invalid: the stall has no shipping zone \"us\" (market.stall)"
    );

    // The merchant announces an auction without a date, then sets one, then puts it right.
    let announced = auction(&merchant, NOW, None);
    client.publish_ok(&announced);
    assert_eq!(
        client.publish_refused(&bid(&anna, NOW, &announced, 1_000)),
        "invalid: the auction has no start_date yet, bids can come when it has (market.bid)"
    );
    let auction = auction(&merchant, NOW + 1, Some(NOW + 100));
    client.publish_ok(&auction);
    assert_eq!(
        client.publish_refused(&bid(&anna, NOW, &announced, 1_000)),
        "invalid: the auction that this bid names is not here; bids name the newest version of an auction by its id \
         (market.bid)"
    );
    assert_eq!(
        client.publish_refused(&bid(&anna, NOW, &auction, 1_000)),
        "invalid: the auction takes no bids before its start_date, now is 100 seconds too early (market.bid)"
    );

    relay.clock.set(NOW + 100);
    assert_eq!(
        client.publish_refused(&bid(&anna, NOW + 100, &auction, 999)),
        "invalid: a bid of 999 is less than the starting bid of 1000 (market.bid)"
    );
    let first = bid(&anna, NOW + 100, &auction, 1_000);
    client.publish_ok(&first);
    assert_eq!(
        client.publish_refused(&bid(&ben, NOW + 100, &auction, 1_000)),
        "invalid: a bid of 1000 is not above the highest bid of 1000 (market.bid)"
    );
    assert_eq!(
        client.publish_refused(&bid(&merchant, NOW + 100, &auction, 5_000)),
        "restricted: merchants do not bid in their own auctions (market.bid)"
    );
    assert_eq!(
        client.publish_refused(&self::auction(&merchant, NOW + 2, Some(NOW + 100))),
        "blocked: this auction has a bid, it can no longer be changed (market.auction_change)"
    );

    // Ten seconds before the end Ben bids, and the merchant gives a minute more.
    relay.clock.set(NOW + 690);
    let second = bid(&ben, NOW + 690, &auction, 1_001);
    client.publish_ok(&second);
    let extension = json!({"status": "accepted", "duration_extended": 60});
    assert_eq!(
        client.publish_refused(&confirmation(&other, NOW + 690, &second, &auction, extension.clone())),
        "restricted: only the auction's merchant confirms its bids (market.confirmation)"
    );
    client.publish_ok(&confirmation(&merchant, NOW + 690, &second, &auction, extension));
    relay.clock.set(NOW + 759);
    client.publish_ok(&bid(&anna, NOW + 700, &auction, 1_500));
    relay.clock.set(NOW + 760);
    assert_eq!(
        client.publish_refused(&bid(&ben, NOW + 759, &auction, 2_000)),
        "blocked: the auction is over, now is 1 second too late (market.bid)"
    );
    client.publish_ok(&confirmation(&merchant, NOW + 760, &second, &auction, json!({"status": "winner"})));
    assert_eq!(client.count(&[json!({"kinds": [1_021], "#e": [auction.id.to_string()]})]), 3);
}

#[test]
fn each_kind_is_held_to_its_form() {
    let relay = TestRelay::configured(MARKET);
    let mut client = relay.connect();
    let person = Person::new(1);
    let table: [(u16, &[&[&str]], &str, &str); 7] = [
        (
            30_017,
            &[&["d", "x"]],
            r#"{"id":"x","name":"n","shipping":[]}"#,
            "invalid: currency is missing (market.stall_content)",
        ),
        (
            30_018,
            &[&["d", "y"]],
            r#"{"id":"x","stall_id":"s","name":"n","currency":"sats","price":-1,"quantity":1}"#,
            "invalid: price must be a number of 0 or more; the d tag must be the same as id (market.product_content)",
        ),
        (30_019, &[&["d", "x"]], r#"{"ui":{}}"#, "invalid: ui.darkMode is missing (market.page_content)"),
        (
            30_020,
            &[&["d", "x"]],
            r#"{"id":"x","stall_id":"s","name":"n","starting_bid":1,"duration":0}"#,
            "invalid: duration must be a whole number of 1 or more (market.auction_content)",
        ),
        (
            1_021,
            &[],
            "1.5",
            "invalid: the content of a bid must be a whole number, in digits only (market.bid_content)",
        ),
        (
            1_022,
            &[],
            r#"{"status":"ok"}"#,
            "invalid: status must be one of accepted, rejected, pending, winner (market.confirmation_content)",
        ),
        (
            30_018,
            &[&["d", "x"]],
            "for sale",
            "invalid: the content is not valid JSON (market.product_content)",
        ),
    ];
    for (kind, tags, content, why) in table {
        assert_eq!(client.publish_refused(&person.event(kind, NOW, tags, content)), why, "kind {kind}");
    }
    assert_eq!(relay.stored(), 0);
    let page = r#"{"name":"Square","ui":{"picture":"","darkMode":true},"merchants":[]}"#;
    client.publish_ok(&person.event(30_019, NOW, &[&["d", "x"]], page));
}

#[test]
fn without_a_market_nothing_is_asked_for() {
    let relay =
        TestRelay::configured("[[community]]\npath = \"/market\"\n[community.market]\nenabled = true");
    let person = Person::new(1);
    for kind in [30_017, 30_018, 30_019, 30_020, 1_021, 1_022] {
        let event = person.event(kind, NOW, &[], "nothing in particular");
        relay.connect().publish_ok(&event);
        assert!(relay.connect_at("/market").publish_refused(&event).contains("(market."), "kind {kind}");
    }
    // A stall of one community is no stall in another.
    relay.connect().publish_ok(&stall(&person, "s", &[]));
    let apples = product(&person, "apples", "s", &[], "fruit");
    assert!(relay.connect_at("/market").publish_refused(&apples).ends_with("(market.stall)"));
}

#[test]
fn of_equal_bids_in_flight_one_is_taken() {
    let merchant = Person::new(1);
    let (_relay, mut client, auction) = bidding(&merchant);
    let bids: Vec<Event> =
        (0..20).map(|bidder| bid(&Person::new(100 + bidder), NOW, &auction, 2_000)).collect();
    bids.iter().for_each(|bid| client.submit(bid));
    // Answers may overtake one another.
    let answers: Vec<Value> = bids.iter().map(|_| client.receive()).collect();
    let taken: Vec<&Value> = answers.iter().filter(|answer| answer[2] == json!(true)).collect();
    assert_eq!(taken.len(), 1, "{answers:?}");
    assert_eq!(taken[0][1], json!(bids[0].id.to_string()), "the first one");
    let refused = "invalid: a bid of 2000 is not above the highest bid of 2000 (market.bid)";
    assert_eq!(answers.iter().filter(|answer| answer[3] == refused).count(), 19, "{answers:?}");
}

#[test]
fn a_whole_stall_may_be_sent_in_one_go() {
    let merchant = Person::new(1);
    let relay = TestRelay::configured(MARKET);
    let mut client = relay.connect();
    let auction = auction(&merchant, NOW, Some(NOW));
    let bid = bid(&Person::new(2), NOW, &auction, 1_000);
    let accepted = json!({"status": "accepted"});
    let events = [
        stall(&merchant, "s", &["eu"]),
        product(&merchant, "apples", "s", &["eu"], "fruit"),
        auction.clone(),
        bid.clone(),
        confirmation(&merchant, NOW, &bid, &auction, accepted),
    ];
    events.iter().for_each(|event| client.submit(event));
    for _ in &events {
        let answer = client.receive();
        assert_eq!((&answer[0], &answer[2]), (&json!("OK"), &json!(true)), "{answer}");
    }
    assert_eq!(relay.stored(), events.len());
}

#[test]
fn the_order_of_arrival_survives_a_restart() {
    let merchant = Person::new(1);
    let (mut relay, mut client, auction) = bidding(&merchant);
    // Made later, arrived first.
    client.publish_ok(&bid(&Person::new(2), NOW + 5, &auction, 1_000));
    client.publish_ok(&bid(&Person::new(3), NOW, &auction, 1_100));
    relay.restart();
    let mut client = relay.connect();
    assert_eq!(
        client.publish_refused(&bid(&Person::new(4), NOW, &auction, 1_100)),
        "invalid: a bid of 1100 is not above the highest bid of 1100 (market.bid)"
    );
    assert!(
        client
            .publish_refused(&self::auction(&merchant, NOW + 1, Some(NOW)))
            .contains("(market.auction_change)")
    );
    client.publish_ok(&bid(&Person::new(4), NOW, &auction, 1_101));
}

#[test]
fn bids_that_are_rejected_or_deleted_bar_nobody() {
    let [merchant, jester, anna] = [1, 2, 3].map(Person::new);
    let (_relay, mut client, auction) = bidding(&merchant);
    let absurd = bid(&jester, NOW, &auction, u64::MAX);
    client.publish_ok(&absurd);
    let fair = bid(&anna, NOW, &auction, 1_200);
    assert!(
        client
            .publish_refused(&fair)
            .starts_with("invalid: a bid of 1200 is not above the highest bid of 184467")
    );
    client.publish_ok(&confirmation(&merchant, NOW, &absurd, &auction, json!({"status": "rejected"})));
    client.publish_ok(&fair);
    assert_eq!(
        client.publish_refused(&confirmation(&merchant, NOW, &absurd, &auction, json!({"status": "winner"}))),
        "blocked: a bid that was rejected can not be approved later (market.confirmation)"
    );
    // A bidder may take a bid back as any event (NIP-09).
    let regretted = bid(&anna, NOW, &auction, 9_000);
    client.publish_ok(&regretted);
    client.publish_ok(&anna.event(5, NOW, &[&["e", &regretted.id.to_string()]], ""));
    client.publish_ok(&bid(&jester, NOW, &auction, 1_201));
}

#[test]
fn a_product_can_be_changed_and_searched_for_across_merchants() {
    let [one, two] = [1, 2].map(Person::new);
    let relay = TestRelay::configured(MARKET);
    let mut client = relay.connect();
    for merchant in [&one, &two] {
        client.publish_ok(&stall(merchant, "s", &["eu"]));
    }
    let apples = product(&one, "apples", "s", &[], "fruit");
    let pears = product(&two, "pears", "s", &["eu"], "fruit");
    let chairs = product(&two, "chairs", "s", &[], "furniture");
    for event in [&apples, &pears, &chairs] {
        client.publish_ok(event);
    }
    let mut fruit = client.ids(json!({"kinds": [30_018], "#t": ["fruit"]}));
    fruit.sort_unstable();
    let mut expected = ids_of(&[&apples, &pears]);
    expected.sort_unstable();
    assert_eq!(fruit, expected);
    let dearer =
        one.event(30_018, NOW + 1, &[&["d", "apples"], &["t", "fruit"]], &apples.content.replace("21", "22"));
    client.publish_ok(&dearer);
    assert_eq!(client.ids(json!({"kinds": [30_018], "authors": [one.hex()]})), ids_of(&[&dearer]));
}

#[test]
fn orders_travel_as_private_messages_through_a_market() {
    let [merchant, customer, relay_key] = [1, 2, 3].map(Person::new);
    let relay = TestRelay::configured(MARKET);
    let order = relay_key.event(1_059, NOW, &[&["p", &merchant.hex()]], "sealed");
    relay.connect_as(&[&customer]).publish_ok(&order);
    let filter = json!({"kinds": [1_059], "#p": [merchant.hex()]});
    assert_eq!(relay.connect_as(&[&merchant]).ids(filter.clone()), ids_of(&[&order]));
    let nothing: [String; 0] = [];
    assert_eq!(relay.connect_as(&[&customer]).ids(filter), nothing, "the customer is not the recipient");
}

#[test]
fn in_shadow_mode_a_market_only_counts() {
    let relay = TestRelay::configured("[market]\nenabled = true\nmode = \"shadow\"");
    let mut client = relay.connect();
    let person = Person::new(1);
    client.publish_ok(&person.event(30_018, NOW, &[], "no product"));
    client.publish_ok(&bid(&person, NOW, &person.note("no auction"), 5));
    let counts = relay.relay().community().tally.counts();
    for rule in ["market.product_content", "market.bid"] {
        let count = counts.get(rule).unwrap_or_else(|| panic!("{rule} spoke"));
        assert_eq!((count.refused, count.shadowed), (0, 1), "{rule}");
    }
}
