//! Tables for NIP-15's contents and stalls, field by field; those of auctions are in `auction.rs`.

use serde_json::{Value, json};

use super::testing::{MERCHANT, NOW, STRANGER, decide, event, looked_up, refusal, with_settings};
use super::*;

/// The decision of the rules that look at one event alone.
fn alone(event: &Event) -> Option<(&'static str, String)> {
    with_settings(&Settings::default(), |context| {
        RULES.iter().find_map(|rule| match rule.check {
            Check::Admit(check) => check(event, context).err().map(|refusal| {
                assert_eq!((refusal.rule, refusal.prefix), (rule.id, Prefix::Invalid));
                (refusal.rule, refusal.sentence.into_owned())
            }),
            _ => None,
        })
    })
}

fn stall() -> Value {
    json!({"id": "s", "name": "Fruit", "currency": "sats", "shipping": [{"id": "eu", "name": "Europe", "cost": 10, "regions": ["EU"]}, {"id": "world", "cost": 25.5}]})
}

fn product() -> Value {
    json!({"id": "p", "stall_id": "s", "name": "Apples", "description": "", "images": ["https://example.com/a.jpg"], "currency": "sats", "price": 12.5, "quantity": 3, "specs": [["colour", "red"]], "shipping": [{"id": "eu", "cost": 0}]})
}

fn page() -> Value {
    json!({"name": "Square", "about": "Fridays", "ui": {"picture": "https://example.com/p.png", "banner": "", "theme": "light", "darkMode": false}, "merchants": ["a".repeat(64)]})
}

fn auctioned() -> Value {
    json!({"id": "a", "stall_id": "s", "name": "A clock", "images": [], "starting_bid": 0, "start_date": 5, "duration": 1, "specs": [], "shipping": []})
}

fn confirmed() -> Value {
    json!({"status": "accepted", "message": "thank you", "duration_extended": 0})
}

/// Tags as tables write them.
type Tags<'t> = &'t [&'t [&'t str]];

/// A change to a content: a path in it, what to put there (`None` takes it away), and what is said then.
type Row = (&'static str, Option<Value>, Option<&'static str>);

/// Makes one change after another to a content that is right, and asserts what is said.
fn assert_rows(kind: u16, tags: Tags<'_>, rule: &str, right: &Value, rows: &[Row]) {
    let said = |content: &Value| alone(&event(MERCHANT, kind, NOW, tags, &content.to_string()));
    assert_eq!(said(right), None, "the content to begin with");
    for (path, put, expected) in rows {
        let mut content = right.clone();
        let (parent, key) = path.rsplit_once('/').expect("a path begins with a slash");
        let parent = content.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
        match put {
            Some(value) => parent.insert(key.to_owned(), value.clone()),
            None => parent.remove(key),
        };
        assert_eq!(
            said(&content),
            expected
                .map(|text| (RULES.iter().find(|row| row.id == rule).expect("a rule").id, text.to_owned())),
            "{path}: {put:?}"
        );
    }
}

#[test]
fn stalls_field_by_field() {
    let table: &[Row] = &[
        ("/id", None, Some("id is missing")),
        ("/id", Some(json!("")), Some("id must be text that is not blank; the d tag must be the same as id")),
        ("/id", Some(json!("t")), Some("the d tag must be the same as id")),
        ("/id", Some(json!(5)), Some("id must be text that is not blank")),
        ("/name", None, Some("name is missing")),
        ("/name", Some(json!(" ")), Some("name must be text that is not blank")),
        ("/name", Some(json!("x")), None),
        ("/description", Some(json!("")), None),
        ("/description", Some(json!(null)), None),
        ("/description", Some(json!(["x"])), Some("description must be text")),
        ("/currency", None, Some("currency is missing")),
        ("/currency", Some(json!(840)), Some("currency must be text that is not blank")),
        ("/shipping", None, Some("shipping is missing")),
        ("/shipping", Some(json!([])), None),
        ("/shipping", Some(json!({})), Some("shipping must be a list of objects")),
        ("/shipping", Some(json!([{"cost": 0}])), Some("shipping[0].id is missing")),
        ("/shipping", Some(json!([{"id": "x"}])), Some("shipping[0].cost is missing")),
        ("/shipping", Some(json!([{"id": "x", "cost": 0}])), None),
        (
            "/shipping",
            Some(json!([{"id": "x", "cost": -0.01}])),
            Some("shipping[0].cost must be a number of 0 or more"),
        ),
        (
            "/shipping",
            Some(json!([{"id": "x", "cost": "1"}])),
            Some("shipping[0].cost must be a number of 0 or more"),
        ),
        (
            "/shipping",
            Some(json!([{"id": "x", "cost": 1, "name": 1}])),
            Some("shipping[0].name must be text"),
        ),
        (
            "/shipping",
            Some(json!([{"id": "x", "cost": 1, "regions": "EU"}])),
            Some("shipping[0].regions must be a list of texts"),
        ),
        ("/shipping", Some(json!([{"id": "x", "cost": 1, "countries": ["EU"]}])), None),
        ("/logo", Some(json!({"any": [1]})), None),
    ];
    assert_rows(30_017, &[&["d", "s"]], "market.stall_content", &stall(), table);
}

#[test]
fn products_field_by_field() {
    let table: &[Row] = &[
        ("/id", Some(json!("q")), Some("the d tag must be the same as id")),
        ("/stall_id", None, Some("stall_id is missing")),
        ("/stall_id", Some(json!("")), Some("stall_id must be text that is not blank")),
        ("/name", None, Some("name is missing")),
        ("/description", None, None),
        ("/description", Some(json!(1)), Some("description must be text")),
        ("/images", None, None),
        ("/images", Some(json!(null)), None),
        ("/images", Some(json!([])), None),
        (
            "/images",
            Some(json!("https://example.com/a.jpg")),
            Some("images must be a list of http(s) addresses"),
        ),
        (
            "/images",
            Some(json!(["ftp://example.com/a.jpg"])),
            Some("images must be a list of http(s) addresses"),
        ),
        ("/currency", None, Some("currency is missing")),
        ("/price", None, Some("price is missing")),
        ("/price", Some(json!(0)), None),
        ("/price", Some(json!(1e300)), None),
        ("/price", Some(json!(-0.5)), Some("price must be a number of 0 or more")),
        ("/price", Some(json!("5")), Some("price must be a number of 0 or more")),
        ("/quantity", None, Some("quantity is missing")),
        ("/quantity", Some(json!(null)), None),
        ("/quantity", Some(json!(0)), None),
        ("/quantity", Some(json!(-1)), Some("quantity must be a whole number of 0 or more, or null")),
        ("/quantity", Some(json!(1.5)), Some("quantity must be a whole number of 0 or more, or null")),
        ("/specs", None, None),
        ("/specs", Some(json!([["size", "L"], ["", ""]])), None),
        ("/specs", Some(json!([["size"]])), Some("specs must be a list of pairs of texts")),
        ("/specs", Some(json!([["size", "L", "XL"]])), Some("specs must be a list of pairs of texts")),
        ("/specs", Some(json!({"size": "L"})), Some("specs must be a list of pairs of texts")),
        ("/shipping", None, None),
        ("/shipping", Some(json!([{"id": "eu"}])), Some("shipping[0].cost is missing")),
        (
            "/shipping",
            Some(json!([{"id": "eu", "cost": -1}])),
            Some("shipping[0].cost must be a number of 0 or more"),
        ),
    ];
    assert_rows(30_018, &[&["t", "fruit"], &["d", "p"]], "market.product_content", &product(), table);
}

#[test]
fn pages_field_by_field() {
    let table: &[Row] = &[
        ("/name", None, None),
        ("/name", Some(json!(1)), Some("name must be text")),
        ("/about", Some(json!(null)), None),
        ("/about", Some(json!(false)), Some("about must be text")),
        ("/ui", None, Some("ui is missing")),
        ("/ui", Some(json!("dark")), Some("ui must be an object")),
        ("/ui/picture", None, None),
        ("/ui/picture", Some(json!("")), None),
        ("/ui/picture", Some(json!("p.png")), Some("ui.picture must be an http(s) address")),
        ("/ui/banner", Some(json!("https://example.com/b.png")), None),
        ("/ui/banner", Some(json!(1)), Some("ui.banner must be an http(s) address")),
        ("/ui/theme", Some(json!(1)), Some("ui.theme must be text")),
        ("/ui/darkMode", None, Some("ui.darkMode is missing")),
        ("/ui/darkMode", Some(json!("true")), Some("ui.darkMode must be true or false")),
        ("/merchants", None, None),
        ("/merchants", Some(json!([])), None),
        (
            "/merchants",
            Some(json!(["a".repeat(63)])),
            Some("merchants must be a list of public keys in hexadecimal"),
        ),
        (
            "/merchants",
            Some(json!(["A".repeat(64)])),
            Some("merchants must be a list of public keys in hexadecimal"),
        ),
    ];
    // A page has no id to agree with its d tag.
    assert_rows(30_019, &[], "market.page_content", &page(), table);
}

#[test]
fn auctions_field_by_field() {
    let table: &[Row] = &[
        ("/id", Some(json!("b")), Some("the d tag must be the same as id")),
        ("/stall_id", None, Some("stall_id is missing")),
        ("/name", None, Some("name is missing")),
        ("/images", Some(json!(["x"])), Some("images must be a list of http(s) addresses")),
        ("/starting_bid", None, Some("starting_bid is missing")),
        ("/starting_bid", Some(json!(-1)), Some("starting_bid must be a whole number of 0 or more")),
        ("/starting_bid", Some(json!(0.5)), Some("starting_bid must be a whole number of 0 or more")),
        ("/starting_bid", Some(json!("1")), Some("starting_bid must be a whole number of 0 or more")),
        ("/start_date", None, None),
        ("/start_date", Some(json!(null)), None),
        ("/start_date", Some(json!(0)), None),
        ("/start_date", Some(json!(-1)), Some("start_date must be a whole number of 0 or more")),
        ("/duration", None, Some("duration is missing")),
        ("/duration", Some(json!(0)), Some("duration must be a whole number of 1 or more")),
        ("/duration", Some(json!(u64::MAX)), None),
        ("/specs", Some(json!([[1, 2]])), Some("specs must be a list of pairs of texts")),
        (
            "/shipping",
            Some(json!([{"id": "", "cost": 0}])),
            Some("shipping[0].id must be text that is not blank"),
        ),
        // The currency is the stall's: one that is written here says nothing.
        ("/currency", Some(json!(5)), None),
    ];
    assert_rows(30_020, &[&["d", "a"]], "market.auction_content", &auctioned(), table);
}

#[test]
fn confirmations_field_by_field() {
    const STATUS: &str = "status must be one of accepted, rejected, pending, winner";
    let table: &[Row] = &[
        ("/status", None, Some("status is missing")),
        ("/status", Some(json!("rejected")), None),
        ("/status", Some(json!("pending")), None),
        ("/status", Some(json!("winner")), None),
        ("/status", Some(json!("Winner")), Some(STATUS)),
        ("/status", Some(json!(true)), Some(STATUS)),
        ("/message", None, None),
        ("/message", Some(json!(1)), Some("message must be text")),
        ("/duration_extended", None, None),
        ("/duration_extended", Some(json!(60)), None),
        (
            "/duration_extended",
            Some(json!(-60)),
            Some("duration_extended must be a whole number of 0 or more"),
        ),
        (
            "/duration_extended",
            Some(json!("60")),
            Some("duration_extended must be a whole number of 0 or more"),
        ),
    ];
    let [bid, auction] = ["b".repeat(64), "a".repeat(64)];
    let tags: [&[&str]; 2] = [&["e", &bid], &["e", &auction]];
    assert_rows(1_022, &tags, "market.confirmation_content", &confirmed(), table);
}

#[test]
fn a_confirmation_names_two_events() {
    const SAID: &str = "a confirmation must name the bid and the auction by their ids, in two e tags";
    let [a, b, c] = ["a", "b", "c"].map(|digit| digit.repeat(64));
    let table: [(Tags<'_>, bool); 6] = [
        (&[&["e", &a], &["e", &b]], true),
        (&[&["e", &a, "wss://relay"], &["p", &c], &["e", &b], &["e", &a]], true),
        (&[], false),
        (&[&["e", &a]], false),
        (&[&["e", &a], &["e", &a]], false),
        (&[&["e", &a], &["e", &b], &["e", &c]], false),
    ];
    for (tags, is_right) in table {
        let said = alone(&event(MERCHANT, 1_022, NOW, tags, r#"{"status":"accepted"}"#));
        let expected = (!is_right).then(|| ("market.confirmation_content", SAID.to_owned()));
        assert_eq!(said, expected, "{tags:?}");
    }
}

#[test]
fn a_bid_is_a_whole_number_for_one_auction() {
    const NUMBER: Option<&str> = Some("the content of a bid must be a whole number, in digits only");
    const AUCTION: Option<&str> = Some("a bid must name one auction by its id, in an e tag");
    let [a, b] = ["a", "b"].map(|digit| digit.repeat(64));
    let upper = a.to_uppercase();
    let one: &[&[&str]] = &[&["e", &a]];
    let table: [(&str, Tags<'_>, Option<&str>); 18] = [
        ("0", one, None),
        ("21000", one, None),
        ("18446744073709551615", one, None),
        ("18446744073709551616", one, NUMBER),
        ("", one, NUMBER),
        ("-1", one, NUMBER),
        ("+1", one, NUMBER),
        ("1.0", one, NUMBER),
        ("1e3", one, NUMBER),
        ("01", one, NUMBER),
        ("\"5\"", one, NUMBER),
        (" 5", one, NUMBER),
        ("{\"amount\":5}", one, NUMBER),
        ("5", &[], AUCTION),
        ("5", &[&["a", "30020:x:y"]], AUCTION),
        ("5", &[&["e", &upper]], AUCTION),
        ("5", &[&["e", &a], &["e", &b]], AUCTION),
        ("5", &[&["e", &a], &["e", &a]], None),
    ];
    for (content, tags, expected) in table {
        let said = alone(&event(2, 1_021, NOW, tags, content));
        assert_eq!(said, expected.map(|text| ("market.bid_content", text.to_owned())), "{content} {tags:?}");
    }
}

#[test]
fn what_is_no_json_or_has_no_d_tag_is_told_so() {
    let table: [(u16, Tags<'_>, &str, &str); 6] = [
        (30_017, &[&["d", "s"]], "Fruit", "the content is not valid JSON"),
        (30_018, &[&["d", "s"]], "[]", "the content must be a JSON object"),
        (30_019, &[], "", "the content is not valid JSON"),
        (30_020, &[], "{", "the content is not valid JSON"),
        (1_022, &[], "accepted", "the content is not valid JSON"),
        (
            30_017,
            &[&["d"]],
            r#"{"id":"s","name":"n","currency":"USD","shipping":[]}"#,
            "the d tag is missing, it must be the same as id",
        ),
    ];
    for (kind, tags, content, expected) in table {
        let said = alone(&event(MERCHANT, kind, NOW, tags, content)).map(|(_, sentence)| sentence);
        assert_eq!(said.as_deref(), Some(expected), "{kind} {content}");
    }
    // Other kinds say what they like.
    for kind in [0, 1, 1_020, 1_023, 30_016, 30_021, 30_402] {
        assert_eq!(alone(&event(MERCHANT, kind, NOW, &[], "")), None, "{kind}");
    }
}

#[test]
fn goods_belong_to_a_stall_of_their_author_and_its_zones() {
    const MISSING: Option<&str> =
        Some("the stall that stall_id names is not here, or is another merchant's; publish the stall first");
    let stall_of = |author| event(author, 30_017, NOW, &[&["d", "s"]], &stall().to_string());
    let unreadable = event(MERCHANT, 30_017, NOW, &[&["d", "s"]], "");
    let goods = |kind, id: &str, shipping: Value| {
        let mut content = if kind == 30_018 { product() } else { auctioned() };
        content["id"] = json!(id);
        content["shipping"] = shipping;
        event(MERCHANT, kind, NOW, &[&["d", id]], &content.to_string())
    };
    let [eu, both] =
        [json!([{"id": "eu", "cost": 1}]), json!([{"id": "world", "cost": 1}, {"id": "eu", "cost": 0}])];
    let unknown = json!([{"id": "eu", "cost": 1}, {"id": "mars", "cost": 1}]);
    let many = json!(
        (0..5).map(|zone| json!({"id": format!("{zone}{}", "x".repeat(60)), "cost": 1})).collect::<Vec<_>>()
    );
    let long = |zone: u32| format!("\"{zone}{}\"", "x".repeat(39));
    let many_said =
        format!("the stall has no shipping zone {}, {}, {} and 2 more", long(0), long(1), long(2));
    let table = [
        (vec![], eu.clone(), MISSING),
        (vec![stall_of(STRANGER)], eu.clone(), MISSING),
        (vec![event(MERCHANT, 30_017, NOW, &[&["d", "other"]], &stall().to_string())], eu.clone(), MISSING),
        (vec![event(MERCHANT, 30_018, NOW, &[&["d", "s"]], &stall().to_string())], eu.clone(), MISSING),
        (vec![stall_of(MERCHANT)], eu, None),
        (vec![stall_of(MERCHANT)], both, None),
        (vec![stall_of(MERCHANT)], json!([]), None),
        (vec![stall_of(MERCHANT)], json!(null), None),
        (vec![stall_of(MERCHANT)], unknown.clone(), Some("the stall has no shipping zone \"mars\"")),
        (vec![stall_of(MERCHANT)], many, Some(many_said.as_str())),
        (vec![unreadable.clone()], json!([]), None),
        (vec![unreadable], unknown, Some("the stall has no shipping zone \"eu\", \"mars\"")),
    ];
    for kind in [30_018, 30_020] {
        for (stored, shipping, expected) in &table {
            let goods = goods(kind, "x", shipping.clone());
            let said = refusal(decide(&goods, stored, NOW, super::stall::wants, super::stall::check));
            assert_eq!(said, expected.map(|text| (Prefix::Invalid, text.to_owned())), "{kind}: {shipping}");
        }
    }
    assert_eq!(looked_up(&stall_of(MERCHANT), &[], NOW, super::stall::wants), []);
}

#[test]
fn offers_are_read_without_the_rest_and_the_last_of_equal_keys_counts() {
    let offer = |content: &str| {
        let offer = Offer::of(&event(MERCHANT, 30_018, NOW, &[], content));
        (offer.currency, offer.price.map(|price| price.to_string()), offer.images)
    };
    let sats = Some("sats".to_owned());
    let table = [
        (product().to_string(), (sats.clone(), Some("12.5".to_owned()), 1)),
        (stall().to_string(), (sats.clone(), None, 0)),
        (auctioned().to_string(), (None, None, 0)),
        (
            r#"{"price":1,"currency":"USD","price":2,"c\u0075rrency":"sats"}"#.to_owned(),
            (sats, Some("2".to_owned()), 0),
        ),
        (r#"{"price":"1","currency":5,"images":"x"}"#.to_owned(), (None, None, 0)),
        (r#"{"price":-1,"images":[1,2]}"#.to_owned(), (None, None, 2)),
        ("[]".to_owned(), (None, None, 0)),
        (String::new(), (None, None, 0)),
    ];
    for (content, expected) in table {
        assert_eq!(offer(&content), expected, "{content}");
    }
}

#[test]
fn rules_say_nothing_where_there_is_no_market() {
    let mut settings = Settings::default();
    assert!(RULES.iter().all(|rule| (rule.sentence)(&settings).is_none()));
    settings.market.enabled = true;
    for rule in RULES {
        let sentence = (rule.sentence)(&settings).unwrap_or_default();
        assert!(sentence.ends_with('.'), "{}: {sentence}", rule.id);
    }
}
