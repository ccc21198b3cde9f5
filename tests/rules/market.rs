//! `[market]`: currencies, categories, prices, pictures, and how much one merchant may offer. Every bound is
//! held from both sides in `src/policy/market.rs`; here are whole events of both NIPs, over the wire.

use serde_json::json;

use crate::common::{NOW, Person, TestRelay};
use plaza::event::Event;

/// A listing (NIP-99) or, with its kind, a product (NIP-15) of stall `s`.
fn offer(
    merchant: &Person,
    kind: u16,
    name: &str,
    price: &str,
    currency: &str,
    categories: &[&str],
) -> Event {
    let price_of_json: serde_json::Value = serde_json::from_str(price).expect("a number");
    let content = json!({
        "id": name, "stall_id": "s", "name": name, "images": ["https://example.com/a.jpg"],
        "currency": currency, "price": price_of_json, "quantity": 1
    });
    let mut tags = vec![vec!["d", name]];
    tags.extend(categories.iter().map(|category| vec!["t", *category]));
    if kind != 30_018 {
        tags.push(vec!["title", name]);
        tags.push(vec!["price", price, currency]);
        tags.push(vec!["image", "https://example.com/a.jpg"]);
    }
    let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
    let content = if kind == 30_018 { content.to_string() } else { String::new() };
    merchant.event(kind, NOW, &tags, &content)
}

fn stall(merchant: &Person, id: &str, currency: &str) -> Event {
    let content = json!({"id": id, "name": "A stall", "currency": currency, "shipping": []});
    merchant.event(30_017, NOW, &[&["d", id]], &content.to_string())
}

#[test]
fn offers_of_both_nips_keep_to_the_markets_bounds() {
    let relay = TestRelay::configured(
        "[market]\nenabled = true\ncurrencies = [\"sats\", \"EUR\"]\ncategories = [\"fruit\"]\n\
         price_min = { sats = 10, EUR = \"0.10\" }\nprice_max = { EUR = \"99.99\" }",
    );
    let mut client = relay.connect();
    let merchant = Person::new(1);
    client.publish_ok(&stall(&merchant, "s", "SATS"));
    assert_eq!(
        client.publish_refused(&stall(&merchant, "t", "USD")),
        "blocked: the currency here is sats or EUR, not USD (market.currency)"
    );
    let table: [(&str, &str, &[&str], &str); 8] = [
        ("10", "sats", &["fruit"], ""),
        (
            "9",
            "sats",
            &["fruit"],
            "blocked: a price of 9 sats is less than the 10 that this market asks for at least (market.price)",
        ),
        ("0.1", "eur", &["shopstr", "Fruit"], ""),
        (
            "0.09",
            "EUR",
            &["fruit"],
            "blocked: a price of 0.09 EUR is less than the 0.1 that this market asks for at least (market.price)",
        ),
        ("99.99", "EUR", &["fruit"], ""),
        (
            "100",
            "EUR",
            &["fruit"],
            "blocked: a price of 100 EUR is more than the 99.99 that this market allows (market.price)",
        ),
        ("50", "USD", &["fruit"], "blocked: the currency here is sats or EUR, not USD (market.currency)"),
        (
            "50",
            "EUR",
            &["shopstr"],
            "blocked: none of its t tags is a category of this market: fruit (market.category)",
        ),
    ];
    for kind in [30_018, 30_402, 30_403] {
        for (number, (price, currency, categories, why)) in table.iter().enumerate() {
            let event = offer(&merchant, kind, &number.to_string(), price, currency, categories);
            assert_eq!(
                client.publish(&event),
                (why.is_empty(), (*why).to_owned()),
                "{kind}: {price} {currency}"
            );
        }
    }
}

#[test]
fn pictures_are_counted_in_both_nips() {
    for (bounds, why) in [
        ("images_min = 1\nimages_max = 1", ""),
        ("images_min = 2", "blocked: offers here have at least 2 pictures, this one has 1 (market.images)"),
    ] {
        let relay = TestRelay::configured(&format!("[market]\nenabled = true\n{bounds}"));
        let merchant = Person::new(1);
        let mut client = relay.connect();
        client.publish_ok(&stall(&merchant, "s", "sats"));
        for kind in [30_018, 30_402, 30_403] {
            let event = offer(&merchant, kind, "x", "1", "sats", &[]);
            assert_eq!(client.publish(&event), (why.is_empty(), why.to_owned()), "{kind}");
        }
    }
}

#[test]
fn one_merchant_has_so_many_offers_until_one_is_deleted() {
    let relay = TestRelay::configured("[market]\nenabled = true\nlistings_per_author_max = 2");
    let mut client = relay.connect();
    let [merchant, other] = [1, 2].map(Person::new);
    client.publish_ok(&stall(&merchant, "s", "sats"));
    client.publish_ok(&offer(&merchant, 30_018, "apples", "1", "sats", &[]));
    client.publish_ok(&offer(&merchant, 30_402, "bicycle", "1", "sats", &[]));
    let third = offer(&merchant, 30_402, "chair", "1", "sats", &[]);
    let refused = "restricted: its author has 2 products, auctions and listings here, as many as one may have; \
                   delete one first (market.listings_per_author)";
    assert_eq!(client.publish_refused(&third), refused);
    // Drafts, other people, and new versions of what is offered are free.
    client.publish_ok(&offer(&merchant, 30_403, "chair", "1", "sats", &[]));
    client.publish_ok(&offer(&other, 30_402, "chair", "1", "sats", &[]));
    let cheaper = offer(&merchant, 30_402, "bicycle", "0.5", "sats", &[]);
    client.publish_ok(&merchant.sign(30_402, NOW + 1, cheaper.tags, ""));
    let address = format!("30018:{}:apples", merchant.hex());
    client.publish_ok(&merchant.event(5, NOW, &[&["a", &address]], ""));
    client.publish_ok(&third);
}

#[test]
fn offers_that_come_at_once_are_counted_one_after_the_other() {
    let relay = TestRelay::configured("[market]\nenabled = true\nlistings_per_author_max = 3");
    let mut client = relay.connect();
    let merchant = Person::new(1);
    let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    for name in &names {
        client.submit(&offer(&merchant, 30_402, name, "1", "sats", &[]));
    }
    let taken = names.iter().filter(|_| client.receive()[2] == json!(true)).count();
    assert_eq!((taken, relay.stored()), (3, 3));
}
