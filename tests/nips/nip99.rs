//! NIP-99, classified listings (nips/99.md). Tag by tag listings are held to their bounds in
//! `src/nips/nip99.rs`.

use serde_json::json;

use crate::common::{NOW, Person, TestRelay, ids_of};
use plaza::event::{Event, Tags};

/// A listing of a bicycle, with what is changed in its tags: those of the same names are replaced.
fn listing(author: &Person, kind: u16, name: &str, changes: &[&[&str]]) -> Event {
    let usual: [&[&str]; 8] = [
        &["d", name],
        &["title", "A bicycle"],
        &["summary", "Red, with a bell"],
        &["published_at", "1790000000"],
        &["location", "Berlin"],
        &["price", "99.50", "EUR"],
        &["image", "https://example.com/bicycle.jpg", "800x600"],
        &["t", "vehicles"],
    ];
    let is_changed = |tag: &&[&str]| changes.iter().any(|change| change.first() == tag.first());
    let mut tags = Tags::default();
    for tag in usual.into_iter().filter(|tag| !is_changed(tag)).chain(changes.iter().copied()) {
        // A change without a value takes the tag away.
        if tag.len() > 1 {
            tags.push(tag.iter().copied());
        }
    }
    author.sign(kind, NOW, tags, "A **good** bicycle.")
}

#[test]
fn listings_and_drafts_have_the_form_that_the_nip_names() {
    let relay = TestRelay::configured("[market]\nenabled = true");
    let mut client = relay.connect();
    let seller = Person::new(1);
    let refusal = |sentence: &str| format!("invalid: {sentence} (market.listing)");
    let table: [(&[&[&str]], Option<&str>); 12] = [
        (&[], None),
        (&[&["status", "sold"]], None),
        (&[&["price", "15", "eur", "month"]], None),
        (&[&["location"], &["image"], &["t"], &["summary"], &["published_at"]], None),
        (&[&["title"]], Some("a title tag is missing")),
        (&[&["price"]], Some("a price tag is missing")),
        (&[&["price", "99,50", "EUR"]], Some("the price's amount must be a number such as 50 or 0.50")),
        (&[&["price", "99", "€"]], Some("the price's currency must be a code such as USD, btc or sats")),
        (
            &[&["price", "99"]],
            Some("price must be an amount, a currency, and for repeated payments how often"),
        ),
        (&[&["status", "gone"]], Some("status must be active or sold")),
        (&[&["published_at", "today"]], Some("published_at must be in seconds since 1970, in digits")),
        (
            &[&["title"], &["image", "bicycle.jpg"]],
            Some("a title tag is missing; every image must be an http(s) address"),
        ),
    ];
    for kind in [30_402, 30_403] {
        for (number, (changes, sentence)) in table.iter().enumerate() {
            let event = listing(&seller, kind, &number.to_string(), changes);
            let expected = (sentence.is_none(), sentence.map_or(String::new(), refusal));
            assert_eq!(client.publish(&event), expected, "{kind}, {changes:?}");
        }
    }
}

#[test]
fn a_community_may_ask_where_a_thing_is() {
    let relay = TestRelay::configured(
        "[market]\nenabled = true\nlocation_required = true\n[[community]]\npath = \"/near\"\n[community.market]\n\
         enabled = true\ngeohash_required = true\nprice_required = false",
    );
    let seller = Person::new(1);
    let table: [(&str, &[&[&str]], &str); 6] = [
        ("/", &[], ""),
        (
            "/",
            &[&["location"]],
            "blocked: listings here say where they are in a location tag (market.location)",
        ),
        (
            "/",
            &[&["location"], &["g", "u33d"]],
            "blocked: listings here say where they are in a location tag (market.location)",
        ),
        ("/near", &[&["price"], &["g", "u33d"]], ""),
        (
            "/near",
            &[],
            "blocked: listings here say where they are in a g tag, with a geohash in lower case (market.geohash)",
        ),
        (
            "/near",
            &[&["g", "Berlin"]],
            "blocked: listings here say where they are in a g tag, with a geohash in lower case (market.geohash)",
        ),
    ];
    for (path, changes, why) in table {
        let event = listing(&seller, 30_402, path, changes);
        assert_eq!(
            relay.connect_at(path).publish(&event),
            (why.is_empty(), why.to_owned()),
            "{path} {changes:?}"
        );
    }
}

#[test]
fn without_a_market_listings_are_taken_as_they_are() {
    let relay = TestRelay::configured("[market]\nlocation_required = true\nlistings_per_author_max = 1");
    let mut client = relay.connect();
    for name in ["a", "b"] {
        client.publish_ok(&Person::new(1).event(30_402, NOW, &[&["d", name], &["price", "a lot"]], ""));
    }
}

#[test]
fn listings_are_found_by_their_tags_across_sellers_and_replaced_when_sold() {
    let [one, two] = [1, 2].map(Person::new);
    let relay = TestRelay::configured("[market]\nenabled = true");
    let mut client = relay.connect();
    let red = listing(&one, 30_402, "red", &[&["g", "u33dc"]]);
    let blue = listing(&two, 30_402, "blue", &[&["g", "u33dc"], &["t", "vehicles"], &["t", "blue"]]);
    let far = listing(&two, 30_402, "far", &[&["g", "u281z"]]);
    for event in [&red, &blue, &far] {
        client.publish_ok(event);
    }
    let sorted = |mut ids: Vec<String>| {
        ids.sort_unstable();
        ids
    };
    let near = client.ids(json!({"kinds": [30_402], "#g": ["u33dc"], "#t": ["vehicles"]}));
    assert_eq!(sorted(near), sorted(ids_of(&[&red, &blue])));
    let mut sold = listing(&one, 30_402, "red", &[&["status", "sold"]]);
    sold = one.sign(30_402, NOW + 1, sold.tags, &sold.content);
    client.publish_ok(&sold);
    assert_eq!(client.ids(json!({"kinds": [30_402], "authors": [one.hex()]})), ids_of(&[&sold]));
}
