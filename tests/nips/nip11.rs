//! NIP-11, the relay information document (nips/11.md).

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::common::http::{Answer, http};
use crate::common::{Client, NOW, Person, TestRelay};
use plaza::config::{Config, Settings};
use plaza::event::Event;
use plaza::nips::{SUPPORTED, supported};

const NOSTR: (&str, &str) = ("Accept", "application/nostr+json");

fn document(relay: &TestRelay) -> Value {
    let answer = http(relay, "GET", "/", &[NOSTR], "");
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/nostr+json"));
    serde_json::from_str(&answer.body).expect("the document is JSON")
}

fn assert_cors(answer: &Answer) {
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-headers"), "*, Authorization");
    let methods = answer.header("access-control-allow-methods");
    assert!(["GET", "HEAD", "OPTIONS"].iter().all(|method| methods.contains(method)), "{methods}");
}

#[test]
fn nips_that_the_settings_switch_on_or_off_are_named_accordingly() {
    let nips = |settings: &str| -> Vec<u64> {
        let document = document(&TestRelay::configured(settings));
        let all = document["supported_nips"].as_array().expect("a list");
        all.iter().map(|nip| nip.as_u64().expect("a number")).collect()
    };
    let table: [(&str, &[u64], &[u64]); 5] = [
        ("", &[1, 17, 59, 70], &[15, 36, 48, 57, 71, 75, 92, 99]),
        ("[market]\nenabled = true", &[15, 99], &[48]),
        ("[zaps]\nenabled = true", &[57, 75], &[48]),
        ("[bridge]\nprotocols_refused = [\"rss\"]", &[48], &[57, 75]),
        ("[nip70]\naccept = false\n[nip17]\nenabled = false", &[1], &[17, 59, 70]),
    ];
    for (settings, named, unnamed) in table {
        let nips = nips(settings);
        assert!(named.iter().all(|nip| nips.contains(nip)), "{settings}: {nips:?}");
        assert!(!unnamed.iter().any(|nip| nips.contains(nip)), "{settings}: {nips:?}");
        assert!(
            nips.is_sorted() && nips.iter().all(|nip| SUPPORTED.iter().any(|one| u64::from(*one) == *nip))
        );
    }
}

#[test]
fn the_document_says_what_the_settings_say() {
    let relay = TestRelay::start();
    let document = document(&relay);
    let limits = &Config::default().root.limits;
    assert_eq!(document["name"], "Plaza");
    assert_eq!(document["description"], "A Nostr relay for a community.");
    assert_eq!(document["supported_nips"], json!(supported(&Settings::default())));
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        document["limitation"],
        json!({
            "max_message_length": limits.message_bytes_max,
            "max_subscriptions": limits.subscriptions_per_connection_max,
            "max_limit": limits.limit_max,
            "default_limit": limits.limit_default,
            "max_tags_per_and": 16,
            "max_subid_length": 64,
            "max_event_tags": limits.event_tags_max,
            "max_content_length": limits.content_chars_max,
            "min_pow_difficulty": 0,
            "auth_required": false,
            "payment_required": false,
            "restricted_writes": false,
            "created_at_upper_limit": limits.created_at_future_seconds_max,
        })
    );
    for unset in ["banner", "icon", "pubkey", "contact", "terms_of_service", "self"] {
        assert!(document.get(unset).is_none(), "{unset} is not set and not shown");
    }
}

#[test]
fn what_the_operator_tells_is_in_the_document() {
    let key = Person::new(1).hex();
    let relay = TestRelay::with(|config| {
        config.root.relay.name = "Markt \"am\" Fluß <b>".to_owned();
        config.root.relay.description = "for\nus".to_owned();
        config.root.relay.banner = Some("https://a.example/banner".to_owned());
        config.root.relay.icon = Some("https://a.example/icon".to_owned());
        config.root.relay.pubkey = Some(key.clone());
        config.root.relay.contact = Some("mailto:a@a.example".to_owned());
        config.root.relay.terms_of_service = Some("https://a.example/terms".to_owned());
    });
    let document = document(&relay);
    for (field, value) in [
        ("name", "Markt \"am\" Fluß <b>"),
        ("description", "for\nus"),
        ("banner", "https://a.example/banner"),
        ("icon", "https://a.example/icon"),
        ("pubkey", &key),
        ("contact", "mailto:a@a.example"),
        ("terms_of_service", "https://a.example/terms"),
    ] {
        assert_eq!(document[field], value, "{field}");
    }
}

#[test]
fn every_browser_may_read_the_document() {
    let relay = TestRelay::start();
    assert_cors(&http(&relay, "GET", "/", &[NOSTR], ""));
    let preflight = [
        ("Origin", "https://client.example"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "accept"),
    ];
    for headers in [&preflight[..], &[]] {
        let answer = http(&relay, "OPTIONS", "/", headers, "");
        assert_eq!((answer.status, &*answer.body), (204, ""));
        assert_cors(&answer);
    }
}

#[test]
fn the_document_is_for_those_who_ask_for_it_and_the_page_for_all_others() {
    let relay = TestRelay::with(|config| config.root.relay.name = "Us & <them>".to_owned());
    for accept in [
        "application/nostr+json",
        "Application/Nostr+JSON",
        "text/html, application/nostr+json;q=0.9",
        "application/nostr+json; charset=utf-8",
    ] {
        let answer = http(&relay, "GET", "/", &[("Accept", accept)], "");
        assert_eq!(answer.header("content-type"), "application/nostr+json", "{accept}");
    }
    for headers in
        [&[][..], &[("Accept", "text/html")], &[("Accept", "*/*")], &[("Accept", "application/json")]]
    {
        let answer = http(&relay, "GET", "/", headers, "");
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/html; charset=utf-8"));
        assert!(answer.body.contains("<h1>Us &amp; &lt;them&gt;</h1>"), "{}", answer.body);
        assert!(answer.body.contains(&relay.url()), "{}", answer.body);
    }
}

#[test]
fn head_is_answered_without_a_body_and_other_methods_are_refused() {
    let relay = TestRelay::start();
    let answer = http(&relay, "HEAD", "/", &[NOSTR], "");
    assert_eq!((answer.status, &*answer.body), (200, ""));
    assert_cors(&answer);
    for method in ["POST", "PUT", "DELETE"] {
        let answer = http(&relay, method, "/", &[("Content-Length", "0")], "");
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, OPTIONS, POST"), "{method}");
    }
}

#[test]
fn at_other_paths_there_is_nothing() {
    let relay = TestRelay::start();
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for path in ["/nothing", "/index.html", "//", "/.."] {
        for headers in [&[NOSTR][..], &[], &upgrade] {
            assert_eq!(http(&relay, "GET", path, headers, "").status, 404, "{path}");
        }
    }
    assert_eq!(http(&relay, "GET", "/?query=1", &[NOSTR], "").status, 200);
}

/// A limit: how it is set, how the document shows it, and what a client meets.
fn assert_limit(field: &str, value: u64, set: fn(&mut Config), check: impl FnOnce(&TestRelay, &mut Client)) {
    let relay = TestRelay::with(set);
    assert_eq!(document(&relay)["limitation"][field], value, "{field}");
    check(&relay, &mut relay.connect());
}

/// Asserts which of two events is one too many.
fn assert_bound(client: &mut Client, fits: &Event, too_much: &Event, why: &str) {
    client.publish_ok(fits);
    assert_eq!(client.publish_refused(too_much), why);
}

#[test]
fn max_message_length_is_true() {
    assert_limit(
        "max_message_length",
        2_000,
        |config| config.root.limits.message_bytes_max = 2_000,
        |relay, client| {
            let note = |length: usize| Person::new(1).note(&"x".repeat(length));
            let around = json!(["EVENT", crate::common::json_of(&note(0))]).to_string().len();
            client.publish_ok(&note(2_000 - around));
            client.submit(&note(2_001 - around));
            assert_eq!(client.receive(), json!(["NOTICE", "a message has at most 2000 bytes"]));
            assert!(matches!(client.try_receive(), Ok(Message::Close(Some(_)))));
            assert_eq!(relay.stored(), 1);
        },
    );
}

#[test]
fn max_subscriptions_is_true() {
    assert_limit(
        "max_subscriptions",
        2,
        |config| config.root.limits.subscriptions_per_connection_max = 2,
        |_, client| {
            client.request("one", &[json!({"kinds": [1]})]);
            client.request("two", &[json!({"kinds": [1]})]);
            assert_eq!(
                client.closed("REQ", &[json!({"kinds": [1]})]),
                "blocked: 2 subscriptions are open, as many as one connection may have (limits.subscriptions_per_connection_max)"
            );
            client.request("two", &[json!({"kinds": [7]})]);
            assert_eq!(client.count(&[json!({})]), 0, "a COUNT is none");
            client.send(&json!(["CLOSE", "one"]));
            client.request("three", &[json!({"kinds": [1]})]);
        },
    );
}

#[test]
fn max_limit_and_default_limit_are_true() {
    let set = |config: &mut Config| {
        config.root.limits.limit_max = 4;
        config.root.limits.limit_default = 2;
    };
    let found = |limit: Option<u64>| {
        move |_: &TestRelay, client: &mut Client| {
            for age in 0..6 {
                client.publish_ok(&Person::new(1).event(1, NOW - age, &[], ""));
            }
            let filter = limit.map_or(json!({}), |limit| json!({"limit": limit}));
            let wanted = if limit.is_some() { 4 } else { 2 };
            assert_eq!(client.ids(filter).len(), wanted);
        }
    };
    assert_limit("max_limit", 4, set, found(Some(5)));
    assert_limit("default_limit", 2, set, found(None));
}

#[test]
fn max_subid_length_is_true() {
    assert_limit(
        "max_subid_length",
        10,
        |config| config.root.limits.subscription_id_chars_max = 10,
        |_, client| {
            client.request(&"x".repeat(10), &[json!({})]);
            client.subscribe(&"x".repeat(11), &[json!({})]);
            assert_eq!(client.receive()[0], "CLOSED");
        },
    );
}

#[test]
fn max_event_tags_is_true() {
    assert_limit(
        "max_event_tags",
        2,
        |config| config.root.limits.event_tags_max = 2,
        |_, client| {
            let note = |tags| Person::new(1).event(1, NOW, tags, "");
            assert_bound(
                client,
                &note(&[&["t", "a"], &["t", "b"]]),
                &note(&[&["t", "a"], &["t", "b"], &[]]),
                "invalid: 3 tags are more than the 2 that one event may have (limits.event_tags_max)",
            );
        },
    );
}

#[test]
fn max_content_length_is_true_and_counts_characters() {
    assert_limit(
        "max_content_length",
        5,
        |config| config.root.limits.content_chars_max = 5,
        |_, client| {
            assert_bound(
                client,
                &Person::new(1).note("üüü日😀"),
                &Person::new(1).note("üüü日😀."),
                "invalid: the content has 6 characters, more than the 5 that one event may have (limits.content_chars_max)",
            );
        },
    );
}

#[test]
fn the_bounds_of_created_at_are_true() {
    let set = |config: &mut Config| {
        config.root.limits.created_at_past_seconds_max = 50;
        config.root.limits.created_at_future_seconds_max = 30;
    };
    let note = |time| Person::new(1).event(1, time, &[], "");
    assert_limit("created_at_lower_limit", 50, set, |_, client| {
        let why =
            "invalid: created_at is 51 seconds ago, more than 50 are not taken (limits.created_at_past)";
        assert_bound(client, &note(NOW - 50), &note(NOW - 51), why);
    });
    assert_limit("created_at_upper_limit", 30, set, |_, client| {
        let why = "invalid: created_at is 31 seconds in the future, more than 30 are not taken (limits.created_at_future)";
        assert_bound(client, &note(NOW + 30), &note(NOW + 31), why);
    });
}

#[test]
fn min_pow_difficulty_is_true_and_restricts_writes() {
    assert_limit(
        "min_pow_difficulty",
        200,
        |config| config.root.nip13.difficulty_min = 200,
        |relay, client| {
            assert_eq!(document(relay)["limitation"]["restricted_writes"], true);
            assert!(client.publish_refused(&Person::new(1).note("")).starts_with("pow: "));
        },
    );
}

#[test]
fn limits_that_the_document_has_no_field_for_are_told_when_they_are_met() {
    let relay = TestRelay::with(|config| {
        config.root.limits.tag_value_bytes_max = 4;
        config.root.limits.filters_per_request_max = 2;
        config.root.limits.filter_values_max = 3;
    });
    let mut client = relay.connect();
    let note = |value: &str| Person::new(1).event(1, NOW, &[&["t", "a", value]], "");
    assert_bound(
        &mut client,
        &note("1234"),
        &note("123ü"),
        "invalid: a tag holds a value of 5 bytes, more than the 4 that one may have (limits.tag_value_bytes_max)",
    );
    client.request("s", &[json!({"kinds": [1, 2], "#t": ["a"]}), json!({"kinds": [1, 2, 3]})]);
    for verb in ["REQ", "COUNT"] {
        assert_eq!(
            client.closed(verb, &[json!({}), json!({}), json!({})]),
            "invalid: 3 filters are more than the 2 of one request (limits.filters_per_request_max)"
        );
        assert_eq!(
            client.closed(verb, &[json!({}), json!({"kinds": [1, 2], "#t": ["a", "b"]})]),
            "invalid: a filter lists 4 values, more than the 3 of one filter (limits.filter_values_max)"
        );
    }
}
