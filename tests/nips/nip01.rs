//! NIP-01, the basic protocol (nips/01.md).

use serde_json::{Value, json};

use crate::common::{Client, NOW, Person, TestRelay, id_of, ids_of, json_of};
use plaza::event::{Event, Id, PublicKey, Signature};

/// The words that a refusal may begin with (NIP-01, NIP-42).
const PREFIXES: &[&str] = &[
    "duplicate",
    "pow",
    "blocked",
    "rate-limited",
    "invalid",
    "restricted",
    "mute",
    "error",
    "auth-required",
];

/// Events in the order in which the relay must send them.
fn in_order(events: &[Event]) -> Vec<&Event> {
    let mut events: Vec<&Event> = events.iter().collect();
    events.sort_by_key(|event| (std::cmp::Reverse(event.created_at), event.id));
    events
}

/// The author's events of a kind as the relay finds them.
fn of_kind(client: &mut Client, author: &Person, kind: u16) -> Vec<String> {
    client.ids(json!({"authors": [author.hex()], "kinds": [kind]}))
}

// Events, OK, and what is no event.

#[test]
fn an_event_is_accepted_and_comes_back_as_it_was_sent() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let event = Person::new(1).event(1, NOW, &[&["e", &"0".repeat(64), "", "root"], &["x"], &[]], "grüße");
    client.publish_ok(&event);
    client.subscribe("s", &[json!({"ids": [event.id.to_string()]})]);
    assert_eq!(client.receive(), json!(["EVENT", "s", json_of(&event)]));
    assert_eq!(client.receive(), json!(["EOSE", "s", ["finish"]]));
}

#[test]
fn a_copy_is_accepted_as_a_duplicate_and_stored_once() {
    let relay = TestRelay::start();
    let event = Person::new(1).note("once");
    relay.connect().publish_ok(&event);
    let mut other = relay.connect();
    assert_eq!(other.publish(&event), (true, "duplicate: already have this event".to_owned()));
    assert_eq!(other.ids(json!({"kinds": [1]})), ids_of(&[&event]));
}

#[test]
fn a_copy_sent_at_once_is_answered_as_well() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let event = Person::new(1).note("twice");
    client.submit(&event);
    client.submit(&event);
    assert_eq!(client.answer_to(&event), (true, String::new()));
    assert_eq!(client.answer_to(&event), (true, "duplicate: already have this event".to_owned()));
    assert_eq!(client.count(&[json!({"kinds": [1]})]), 1);
}

#[test]
fn what_was_accepted_is_there_after_a_restart() {
    let mut relay = TestRelay::start();
    let author = Person::new(1);
    let long = author.note(&"long ".repeat(20_000));
    let events = [author.note("short"), author.event(0, NOW, &[], "{}"), long];
    let mut client = relay.connect();
    events.iter().for_each(|event| client.publish_ok(event));
    drop(client);
    relay.restart();
    let mut client = relay.connect();
    for event in &events {
        client.subscribe("s", &[json!({"ids": [event.id.to_string()]})]);
        assert_eq!(client.receive()[2], json_of(event));
        assert_eq!(client.receive()[0], "EOSE");
    }
}

#[test]
fn an_event_whose_id_or_signature_is_untrue_is_refused() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let (author, other) = (Person::new(1), Person::new(2));
    let true_event = author.event(1, NOW, &[&["t", "x"]], "true");
    let id = "invalid: the id is not the hash of the event (nip01.id)";
    let signature = "invalid: the signature is not the author's for this id (nip01.signature)";
    let changed = |change: &dyn Fn(&mut Event)| {
        let mut event = true_event.clone();
        change(&mut event);
        event
    };
    let hashed = |change: &dyn Fn(&mut Event)| {
        let mut event = changed(change);
        event.id = event.hash(&mut Vec::new());
        event
    };
    let table = [
        (changed(&|event| event.id = Id([0; 32])), id),
        (changed(&|event| event.id.0[31] ^= 1), id),
        (changed(&|event| event.content.push(' ')), id),
        (changed(&|event| event.created_at -= 1), id),
        (changed(&|event| event.kind.0 = 2), id),
        (changed(&|event| event.tags.push(["t", "y"])), id),
        (changed(&|event| event.pubkey = other.key()), id),
        (changed(&|event| event.sig.0[63] ^= 1), signature),
        (changed(&|event| event.sig = Signature([0; 64])), signature),
        (changed(&|event| event.sig = other.note("other").sig), signature),
        (hashed(&|event| event.content.push(' ')), signature),
        (hashed(&|event| event.pubkey = other.key()), signature),
        // No point of the curve.
        (hashed(&|event| event.pubkey = PublicKey([0xff; 32])), signature),
    ];
    for (event, why) in table {
        assert_eq!(client.publish_refused(&event), why, "{}", json_of(&event));
    }
    assert_eq!(relay.stored(), 0);
    client.publish_ok(&true_event);
}

#[test]
fn an_event_of_the_wrong_form_is_refused_with_the_field_that_is_wrong() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let event = Person::new(1).note("form");
    let id = event.id.to_string();
    let table = [
        ("kind", json!(65_536), "kind must be a whole number from 0 to 65535"),
        ("kind", json!(-1), "kind must be a whole number from 0 to 65535"),
        ("kind", json!("1"), "kind must be a whole number from 0 to 65535"),
        ("created_at", json!(1.5), "created_at must be a whole number of seconds since 1970"),
        ("created_at", json!(-1), "created_at must be a whole number of seconds since 1970"),
        ("tags", json!(["t"]), "tags must be an array of arrays of strings"),
        ("tags", json!([["t", null]]), "tags must be an array of arrays of strings"),
        ("tags", json!({}), "tags must be an array of arrays of strings"),
        ("content", json!(null), "content must be a string"),
        ("pubkey", json!(event.pubkey.to_string().to_uppercase()), "pubkey must be 64 lowercase hex digits"),
        ("pubkey", json!("ab"), "pubkey must be 64 lowercase hex digits"),
        ("sig", json!("ab"), "sig must be 128 lowercase hex digits"),
        ("sig", Value::Null, "sig must be 128 lowercase hex digits"),
    ];
    for (field, value, said) in table {
        let mut wrong = json_of(&event);
        wrong[field] = value;
        client.send(&json!(["EVENT", wrong]));
        let answer = client.receive();
        assert_eq!((&answer[0], &answer[1], &answer[2]), (&json!("OK"), &json!(id), &json!(false)));
        let why = answer[3].as_str().expect("a message");
        assert!(why.starts_with(&format!("invalid: {said}")), "{wrong}: {why}");
        assert!(why.ends_with("(nip01.message)"), "{why}");
    }
    for field in ["pubkey", "created_at", "kind", "tags", "content", "sig"] {
        let mut wrong = json_of(&event);
        wrong.as_object_mut().expect("an object").remove(field);
        client.send(&json!(["EVENT", wrong]));
        let why = format!("invalid: the event has no {field} (nip01.message)");
        assert_eq!(client.receive(), json!(["OK", id, false, why]));
    }
    assert_eq!(relay.stored(), 0);
}

#[test]
fn fields_that_nip01_does_not_know_are_passed_over_and_not_kept() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let event = Person::new(1).note("plain");
    let mut more = json_of(&event);
    more["seen_on"] = json!(["wss://elsewhere.example"]);
    client.send(&json!(["EVENT", more, {"more": true}]));
    assert_eq!(client.answer_to(&event), (true, String::new()));
    client.subscribe("s", &[json!({"kinds": [1]})]);
    assert_eq!(client.receive(), json!(["EVENT", "s", json_of(&event)]));
}

#[test]
fn what_is_no_message_is_answered_with_a_notice_and_the_connection_goes_on() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let table = [
        ("", "a message must be a JSON array"),
        ("hello", "a message must be a JSON array"),
        ("{}", "a message must be a JSON array"),
        ("[]", "the message is an empty array"),
        (r#"["HELLO"]"#, "\"HELLO\" is not a verb that this relay knows"),
        (r#"["event",{}]"#, "\"event\" is not a verb that this relay knows"),
        ("[1]", "invalid type: integer `1`, expected a string"),
        (r#"["EVENT"]"#, "EVENT: the message lacks an event"),
        (r#"["EVENT",{}]"#, "EVENT: the event has no id"),
        (r#"["EVENT",{"id":"abc"}]"#, "EVENT: id must be 64 lowercase hex digits"),
        (r#"["REQ"]"#, "REQ: the message lacks a subscription id"),
        (r#"["REQ",1,{}]"#, "REQ: invalid type: integer `1`, expected a string"),
        (r#"["COUNT"]"#, "COUNT: the message lacks a subscription id"),
        (r#"["CLOSE"]"#, "the message lacks a subscription id"),
        (r#"["AUTH"]"#, "AUTH: the message lacks a signed event"),
    ];
    for (text, said) in table {
        client.send_text(text);
        let answer = client.receive();
        assert_eq!(answer[0], "NOTICE", "{text}: {answer}");
        let notice = answer[1].as_str().expect("a text");
        assert!(notice.starts_with(&format!("invalid: {said}")), "{text}: {notice}");
    }
    client.publish_ok(&Person::new(1).note("still here"));
}

#[test]
fn every_refusal_is_a_standard_prefix_a_sentence_and_a_rule() {
    let relay = TestRelay::with(|config| config.root.nip13.difficulty_min = 200);
    let author = Person::new(1);
    let mut forged = author.note("forged");
    forged.sig.0[0] ^= 1;
    let refused = [
        author.note("no work"),
        forged,
        author.event(22_242, NOW, &[], ""),
        author.event(1, NOW + 100_000, &[], ""),
        author.event(1, NOW, &[&["expiration", "1"]], ""),
    ];
    let mut client = relay.connect();
    let mut said: Vec<String> = refused.iter().map(|event| client.publish_refused(event)).collect();
    said.push(client.closed("REQ", &[json!({"kinds": [1059]})]));
    said.push(client.closed("REQ", &[json!({"search": "x"})]));
    said.push(client.closed("COUNT", &[json!({"ids": ["x"]})]));
    let relay = TestRelay::start();
    let mut client = relay.connect();
    for time in [NOW, NOW - 1] {
        said.push(client.publish(&author.event(0, time, &[], "")).1);
    }
    said.push(client.publish(&author.event(1, NOW, &[&["-"]], "")).1);
    for text in said.iter().filter(|text| !text.is_empty()) {
        let (prefix, rest) = text.split_once(": ").expect("a prefix");
        assert!(PREFIXES.contains(&prefix), "{text}");
        let rule = rest.rsplit_once(" (").expect("a rule").1;
        assert!(rule.ends_with(')') && rule.contains('.'), "{text}");
    }
    assert_eq!(said.iter().filter(|text| text.is_empty()).count(), 1);
}

#[test]
fn ids_are_hashed_as_clients_do_whatever_the_text_holds() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect();
    let all_controls: String = (0_u8..0x20).map(char::from).collect();
    let table = [
        // What stands in the message, and what of it is hashed: the form that JSON.stringify writes.
        (r"plain", "plain"),
        (r#"\" \\ \n \r \t \b \f"#, r#"\" \\ \n \r \t \b \f"#),
        (r"\u0008\u0009\u000a\u000c\u000D", r"\b\t\n\f\r"),
        (r"\u0000\u0001\u000b\u001f\u001B", r"\u0000\u0001\u000b\u001f\u001b"),
        (r"\u007f", "\u{7f}"),
        ("\u{7f}", "\u{7f}"),
        (r"\u0080\u009f", "\u{80}\u{9f}"),
        ("grüße, 日本語, \u{2028}\u{2029}\u{feff}", "grüße, 日本語, \u{2028}\u{2029}\u{feff}"),
        (r"\u2028 \ufffe", "\u{2028} \u{fffe}"),
        (r"\ud83d\ude00", "😀"),
        ("😀", "😀"),
        (r"\/ <script> &amp; '", "/ <script> &amp; '"),
    ];
    for (time, (sent, hashed)) in (NOW - 100..).zip(table) {
        let content: String = serde_json::from_str(&format!("\"{sent}\"")).expect("a string");
        let event = author.event(1, time, &[&["x", &content], &[&content]], &content);
        let canonical =
            format!(r#"[0,"{}",{time},1,[["x","{hashed}"],["{hashed}"]],"{hashed}"]"#, author.hex());
        let mut ours = Vec::new();
        event.write_canonical(&mut ours);
        assert_eq!(String::from_utf8_lossy(&ours), canonical, "the test itself hashes as clients do");
        client.send_text(&format!(
            r#"["EVENT",{{"id":"{}","pubkey":"{}","created_at":{time},"kind":1,"tags":[["x","{sent}"],["{sent}"]],"content":"{sent}","sig":"{}"}}]"#,
            event.id, event.pubkey, event.sig
        ));
        assert_eq!(client.answer_to(&event), (true, String::new()), "{sent}");
        client.subscribe("s", &[json!({"#x": [content], "since": time, "until": time})]);
        assert_eq!(client.receive(), json!(["EVENT", "s", json_of(&event)]), "{sent}");
        assert_eq!(client.receive()[0], "EOSE");
    }
    client.publish_ok(&author.note(&all_controls));
    client.send_text(&format!(
        r#"["EVENT",{{"id":"{0}","pubkey":"{0}","created_at":1,"kind":1,"tags":[],"content":"\ud800","sig":"{0}{0}"}}]"#,
        "0".repeat(64)
    ));
    let answer = client.receive();
    let refused = json!(["OK", "0".repeat(64), false]);
    assert_eq!(answer.as_array().map(|parts| &parts[..3]), refused.as_array().map(|parts| &parts[..]));
    assert!(answer[3].as_str().is_some_and(|why| why.starts_with("invalid: ")), "half of a pair: {answer}");
}

#[test]
fn created_at_is_taken_up_to_both_bounds_and_not_beyond() {
    let relay = TestRelay::with(|config| {
        config.root.limits.created_at_future_seconds_max = 100;
        config.root.limits.created_at_past_seconds_max = 1_000;
    });
    let author = Person::new(1);
    let mut client = relay.connect();
    let later = NOW + 5_000;
    for now in [NOW, later] {
        relay.clock.set(now);
        let future = "101 seconds in the future, more than 100 are not taken (limits.created_at_future)";
        let past = "1001 seconds ago, more than 1000 are not taken (limits.created_at_past)";
        let table = [(now, ""), (now + 100, ""), (now - 1_000, ""), (now + 101, future), (now - 1_001, past)];
        for (created_at, why) in table {
            let why = if why.is_empty() { String::new() } else { format!("invalid: created_at is {why}") };
            let answer = client.publish(&author.event(1, created_at, &[], "when"));
            assert_eq!(answer, (why.is_empty(), why));
        }
    }
    assert!(client.publish(&author.event(1, u64::MAX, &[], "")).1.contains("limits.created_at_future"));
    assert!(client.publish(&author.event(1, 0, &[], "")).1.contains("limits.created_at_past"));
}

#[test]
fn without_a_bound_any_age_is_taken() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let event = Person::new(1).event(1, 0, &[], "long ago");
    client.publish_ok(&event);
    assert_eq!(client.ids(json!({"until": 0})), ids_of(&[&event]));
}

// Kinds.

#[test]
fn all_events_of_a_regular_kind_are_kept() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect_as(&[&author]);
    let kinds =
        [1, 2, 4, 5, 6, 7, 13, 16, 43, 44, 45, 63, 64, 999, 1_000, 1_059, 9_735, 9_999, 40_000, 65_535];
    for kind in kinds {
        let events = [
            author.event(kind, NOW - 1, &[], ""),
            author.event(kind, NOW, &[], ""),
            author.event(kind, NOW, &[], "b"),
        ];
        events.iter().for_each(|event| client.publish_ok(event));
        assert_eq!(of_kind(&mut client, &author, kind), ids_of(&in_order(&events)), "kind {kind}");
    }
}

#[test]
fn of_a_replaceable_kind_the_newest_of_each_author_is_kept() {
    let relay = TestRelay::start();
    let (author, other) = (Person::new(1), Person::new(2));
    let mut client = relay.connect();
    let superseded = "duplicate: a newer version is stored (nip01.superseded)";
    for kind in [0, 3, 10_000, 10_002, 19_999] {
        let [old, middle, new] =
            [NOW - 2, NOW - 1, NOW].map(|time| author.event(kind, time, &[&["d", "x"]], ""));
        let others = other.event(kind, NOW - 5, &[], "");
        client.publish_ok(&middle);
        client.publish_ok(&others);
        assert_eq!(client.publish_refused(&old), superseded, "kind {kind}");
        assert_eq!(of_kind(&mut client, &author, kind), ids_of(&[&middle]), "kind {kind}");
        client.publish_ok(&new);
        assert_eq!(client.publish_refused(&middle), superseded, "kind {kind}");
        let found = client.ids(json!({"kinds": [kind]}));
        assert_eq!(found, ids_of(&[&new, &others]), "kind {kind}");
        let old_ones = json!({"ids": ids_of(&[&old, &middle])});
        assert_eq!(client.count(&[old_ones]), 0, "kind {kind}");
    }
}

#[test]
fn of_an_addressable_kind_the_newest_of_each_author_and_d_is_kept() {
    let relay = TestRelay::start();
    let (author, other) = (Person::new(1), Person::new(2));
    let mut client = relay.connect();
    for kind in [30_000, 30_023, 39_999] {
        let of = |person: &Person, time, d: &str| person.event(kind, time, &[&["d", d]], "");
        let [old, new] = [NOW - 1, NOW].map(|time| of(&author, time, "a"));
        let (upper, another, others) =
            (of(&author, NOW - 2, "A"), of(&author, NOW - 3, "b"), of(&other, NOW - 4, "a"));
        for event in [&upper, &another, &others, &old, &new] {
            client.publish_ok(event);
        }
        assert_eq!(client.publish_refused(&old), "duplicate: a newer version is stored (nip01.superseded)");
        assert_eq!(client.ids(json!({"kinds": [kind]})), ids_of(&[&new, &upper, &another, &others]));
        assert_eq!(client.ids(json!({"kinds": [kind], "#d": ["a"]})), ids_of(&[&new, &others]));
    }
}

#[test]
fn kinds_beside_the_ranges_have_no_addresses() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect();
    for (kind, kept) in [(1, 2), (9_999, 2), (10_000, 1), (19_999, 1), (30_000, 1), (39_999, 1), (40_000, 2)]
    {
        for time in [NOW - 1, NOW] {
            client.publish_ok(&author.event(kind, time, &[&["d", "x"]], ""));
        }
        assert_eq!(client.count(&[json!({"kinds": [kind]})]), kept, "kind {kind}");
    }
}

#[test]
fn the_first_d_counts_and_none_is_the_empty_one() {
    let empty = [&[][..], &[&["d"][..]], &[&["d", ""]], &[&["t", "x"], &["d", ""], &["d", "x"]]];
    let x = [
        &[&["d", "x"][..]][..],
        &[&["d", "x"], &["d", "y"]],
        &[&["t", "y"], &["d", "x", "y"], &["d", ""]],
        &[&["dd", "y"], &["D", "y"], &["d", "x"]],
    ];
    let author = Person::new(1);
    for same in [empty, x] {
        let relay = TestRelay::start();
        let mut client = relay.connect();
        for (age, tags) in same.iter().rev().enumerate().rev() {
            let event = author.event(30_023, NOW - age as u64, tags, "");
            client.publish_ok(&event);
            assert_eq!(of_kind(&mut client, &author, 30_023), ids_of(&[&event]), "{tags:?}");
        }
    }
}

#[test]
fn a_d_without_a_value_leaves_one_version_whatever_follows_it() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect();
    let [old, new] = [NOW - 1, NOW].map(|time| author.event(30_023, time, &[&["d"], &["d", "x"]], ""));
    client.publish_ok(&old);
    client.publish_ok(&new);
    assert_eq!(of_kind(&mut client, &author, 30_023), ids_of(&[&new]));
}

#[test]
fn on_equal_times_the_lowest_id_stays_in_whatever_order_they_arrive() {
    let author = Person::new(1);
    for kind in [0, 10_002, 30_023] {
        let mut versions: Vec<Event> =
            (0..4).map(|number| author.event(kind, NOW, &[], &format!("{number}"))).collect();
        versions.sort_by_key(|event| event.id);
        let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]];
        for order in orders {
            let relay = TestRelay::start();
            let mut client = relay.connect();
            let mut lowest = usize::MAX;
            for at in order {
                let answer = client.publish(&versions[at]);
                let stays = at < lowest;
                lowest = lowest.min(at);
                let why = if stays { "" } else { "duplicate: a newer version is stored (nip01.superseded)" };
                assert_eq!(answer, (stays, why.to_owned()), "kind {kind}, {order:?}");
            }
            assert_eq!(
                of_kind(&mut client, &author, kind),
                ids_of(&[&versions[0]]),
                "kind {kind}, {order:?}"
            );
        }
    }
}

#[test]
fn ephemeral_events_are_passed_on_and_not_stored() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let (mut speaker, mut listener) = (relay.connect(), relay.connect());
    listener.request("live", &[json!({"kinds": [20_000, 20_002, 29_999]})]);
    let events = [20_000, 20_002, 29_999].map(|kind| author.event(kind, NOW, &[&["d", "x"]], "now"));
    for event in &events {
        speaker.publish_ok(event);
        assert_eq!(listener.receive(), json!(["EVENT", "live", json_of(event)]));
    }
    assert_eq!(speaker.ids(json!({"authors": [author.hex()]})), [""; 0]);
    assert_eq!(relay.stored(), 0);
    // Nor are they remembered: a second time is as good as the first.
    speaker.publish_ok(&events[0]);
    assert_eq!(id_of(&listener.receive()[2]), events[0].id.to_string());
}

// Filters.

/// Events that differ in all that a filter may ask for.
fn varied() -> Vec<Event> {
    let (one, two) = (Person::new(1), Person::new(2));
    let (e, f) = ("e".repeat(64), "f".repeat(64));
    let tags: [&[&[&str]]; 6] = [
        &[],
        &[&["t", "a"]],
        &[&["t", "a"], &["t", "b"], &["e", &e]],
        &[&["T", "a"], &["e", &f], &["p", &e]],
        &[&["t", "c", "a"], &["tt", "a"], &["e", &e], &["e", &f]],
        &[&["t"], &["E", &e], &["a", "30023:x:y"], &["-a", "b"]],
    ];
    let mut events = Vec::new();
    for (number, tags) in tags.iter().enumerate() {
        for (author, kind) in [(&one, 1), (&one, 7), (&two, 1)] {
            events.push(author.event(kind, NOW - 100 - 10 * number as u64, tags, ""));
        }
    }
    events
}

/// A filter and what must match it.
type Case = (Value, Box<dyn Fn(&Event) -> bool>);

/// Filters of all shapes.
fn filters() -> Vec<Case> {
    fn has(event: &Event, letter: u8, value: &str) -> bool {
        event.tags.indexed().any(|tag| tag == (letter, value))
    }
    fn case(filter: Value, wanted: impl Fn(&Event) -> bool + 'static) -> Case {
        (filter, Box::new(wanted))
    }
    let (one, two, none) = (Person::new(1).key(), Person::new(2).key(), Person::new(3).key());
    let (e, f) = ("e".repeat(64), "f".repeat(64));
    let some: Vec<Id> = varied().iter().step_by(4).map(|event| event.id).collect();
    let some_hex: Vec<String> = some.iter().map(|id| id.to_string()).collect();
    let (e2, ef) = (e.clone(), [e.clone(), f.clone()]);
    vec![
        case(json!({"ids": some_hex}), move |event| some.contains(&event.id)),
        case(json!({"ids": ["0".repeat(64)]}), |_| false),
        case(json!({"authors": [one.to_string()]}), move |event| event.pubkey == one),
        case(json!({"authors": [one.to_string(), two.to_string()], "since": 0}), |_| true),
        case(json!({"authors": [none.to_string()]}), |_| false),
        case(json!({"kinds": [7]}), |event| event.kind.0 == 7),
        case(json!({"kinds": [7, 1, 9]}), |_| true),
        case(json!({"kinds": [9]}), |_| false),
        case(json!({"authors": [two.to_string()], "kinds": [7]}), |_| false),
        case(json!({"authors": [one.to_string()], "kinds": [1]}), move |event| {
            event.pubkey == one && event.kind.0 == 1
        }),
        case(json!({"#t": ["a"]}), |event| has(event, b't', "a")),
        case(json!({"#T": ["a"]}), |event| has(event, b'T', "a")),
        case(json!({"#t": ["a", "c"]}), |event| has(event, b't', "a") || has(event, b't', "c")),
        case(json!({"#t": ["A"]}), |_| false),
        case(json!({"#t": [""]}), |_| false),
        case(json!({"#e": [e]}), move |event| has(event, b'e', &e2)),
        case(json!({"#E": [e]}), {
            let e = e.clone();
            move |event| has(event, b'E', &e)
        }),
        case(json!({"#e": ef, "#t": ["b", "c"], "kinds": [1]}), move |event| {
            event.kind.0 == 1
                && ef.iter().any(|value| has(event, b'e', value))
                && (has(event, b't', "b") || has(event, b't', "c"))
        }),
        case(json!({"#p": [e], "authors": [two.to_string()]}), {
            let e = e.clone();
            move |event| event.pubkey == two && has(event, b'p', &e)
        }),
        case(json!({"#a": ["30023:x:y"]}), |event| has(event, b'a', "30023:x:y")),
        case(json!({"since": NOW - 120}), |event| event.created_at >= NOW - 120),
        case(json!({"until": NOW - 120}), |event| event.created_at <= NOW - 120),
        case(json!({"since": NOW - 120, "until": NOW - 120}), |event| event.created_at == NOW - 120),
        case(json!({"since": NOW - 119, "until": NOW - 111}), |_| false),
        case(json!({"since": NOW - 110, "until": NOW - 130}), |_| false),
        case(json!({"kinds": [1], "since": NOW - 130, "#t": ["a"]}), |event| {
            event.kind.0 == 1 && event.created_at >= NOW - 130 && has(event, b't', "a")
        }),
        case(json!({"ids": []}), |_| false),
        case(json!({"authors": []}), |_| false),
        case(json!({"kinds": []}), |_| false),
        case(json!({"#t": []}), |_| false),
        case(json!({"kinds": [1], "#t": []}), |_| false),
        case(json!({"kinds": [1], "authors": []}), |_| false),
    ]
}

#[test]
fn a_filter_finds_what_meets_all_its_conditions_newest_first() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let events = varied();
    events.iter().for_each(|event| client.publish_ok(event));
    let everything: Case = (json!({}), Box::new(|_| true));
    for (filter, wanted) in filters().into_iter().chain([everything]) {
        let matching: Vec<Event> = events.iter().filter(|event| wanted(event)).cloned().collect();
        assert_eq!(client.ids(filter.clone()), ids_of(&in_order(&matching)), "{filter}");
        assert_eq!(client.count(std::slice::from_ref(&filter)), matching.len() as u64, "{filter}");
    }
}

#[test]
fn a_filter_hears_live_what_it_would_find_stored() {
    let relay = TestRelay::start();
    let (mut speaker, mut listener) = (relay.connect(), relay.connect());
    let filters = filters();
    for (number, (filter, _)) in filters.iter().enumerate() {
        assert_eq!(listener.request(&number.to_string(), std::slice::from_ref(filter)).0, [""; 0]);
    }
    let events = varied();
    events.iter().for_each(|event| speaker.publish_ok(event));
    let heard = relay.heard_by(&mut listener);
    for (number, (filter, wanted)) in filters.iter().enumerate() {
        let matching: Vec<&Event> = events.iter().filter(|event| wanted(event)).collect();
        let name = number.to_string();
        let ids: Vec<&String> =
            heard.iter().filter(|(subscription, _)| *subscription == name).map(|(_, id)| id).collect();
        assert_eq!(ids, ids_of(&matching).iter().collect::<Vec<_>>(), "{filter}");
    }
}

#[test]
fn of_equal_times_the_lowest_id_comes_first() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let events: Vec<Event> =
        (0..12).map(|number| Person::new(number % 3).note(&format!("{number}"))).collect();
    events.iter().for_each(|event| client.publish_ok(event));
    let ordered = ids_of(&in_order(&events));
    let authors: Vec<String> = (0..3).map(|number| Person::new(number).hex()).collect();
    for filter in [json!({}), json!({"kinds": [1]}), json!({"authors": authors})] {
        assert_eq!(client.ids(filter), ordered);
    }
    assert_eq!(client.ids(json!({"kinds": [1], "limit": 5})), ordered[..5]);
}

#[test]
fn several_filters_are_merged_in_order_and_each_event_comes_once() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let events = varied();
    events.iter().for_each(|event| client.publish_ok(event));
    let one = Person::new(1).hex();
    let filters = [
        json!({"kinds": [7]}),
        json!({"authors": [one], "until": NOW - 130}),
        json!({"kinds": [7], "until": NOW - 120}),
        json!({"ids": [events[0].id.to_string()]}),
        json!({"ids": []}),
    ];
    let wanted = |event: &&Event| {
        event.kind.0 == 7
            || event.pubkey == Person::new(1).key() && event.created_at <= NOW - 130
            || event.id == events[0].id
    };
    let matching: Vec<Event> = events.iter().filter(wanted).cloned().collect();
    assert_eq!(client.request("s", &filters).0, ids_of(&in_order(&matching)));
    // Live as well: both filters ask for this one.
    let note = Person::new(1).event(7, NOW - 500, &[], "live");
    relay.connect().publish_ok(&note);
    assert_eq!(relay.heard_by(&mut client), [("s".to_owned(), note.id.to_string())]);
}

#[test]
fn limit_takes_the_newest_and_zero_takes_none() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let author = Person::new(1);
    let events: Vec<Event> = (0..9).map(|age| author.event(1, NOW - age, &[], "")).collect();
    events.iter().rev().for_each(|event| client.publish_ok(event));
    let ids = ids_of(&events.iter().collect::<Vec<_>>());
    for (limit, sent) in [(0, 0), (1, 1), (4, 4), (9, 9), (10, 9), (u64::MAX, 9)] {
        assert_eq!(client.ids(json!({"kinds": [1], "limit": limit})), ids[..sent], "limit {limit}");
    }
    let filters = [json!({"kinds": [1], "limit": 2}), json!({"kinds": [1], "limit": 3, "until": NOW - 5})];
    let both: Vec<String> = ids[..2].iter().chain(&ids[5..8]).cloned().collect();
    assert_eq!(client.request("s", &filters).0, both, "each filter has its own limit");
}

#[test]
fn without_limit_the_relays_default_holds_and_its_cap_for_higher_ones() {
    let relay = TestRelay::with(|config| {
        config.root.limits.limit_default = 3;
        config.root.limits.limit_max = 5;
    });
    let mut client = relay.connect();
    for age in 0..8 {
        client.publish_ok(&Person::new(1).event(1, NOW - age, &[], ""));
    }
    for (filter, sent) in [
        (json!({"kinds": [1]}), 3),
        (json!({"kinds": [1], "limit": 4}), 4),
        (json!({"kinds": [1], "limit": 5}), 5),
        (json!({"kinds": [1], "limit": 6}), 5),
        (json!({"kinds": [1], "limit": 1_000_000}), 5),
    ] {
        assert_eq!(client.ids(filter.clone()).len(), sent, "{filter}");
    }
}

#[test]
fn since_and_until_include_their_second() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let events = [NOW - 1, NOW, NOW + 1].map(|time| Person::new(1).event(1, time, &[], ""));
    events.iter().for_each(|event| client.publish_ok(event));
    let [before, at, after] = &events;
    for (filter, found) in [
        (json!({"since": NOW}), ids_of(&[after, at])),
        (json!({"until": NOW}), ids_of(&[at, before])),
        (json!({"since": NOW, "until": NOW}), ids_of(&[at])),
        (json!({"since": NOW + 1, "until": NOW - 1}), vec![]),
        (json!({"since": 0, "until": u64::MAX}), ids_of(&[after, at, before])),
    ] {
        assert_eq!(client.ids(filter.clone()), found, "{filter}");
    }
}

#[test]
fn a_filter_of_the_wrong_form_is_closed_with_the_element_that_is_wrong() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let good = "0123456789abcdef".repeat(4);
    let mut table = vec![
        (
            json!({"search": "x"}),
            "the filter's element \"search\" is not one that this relay knows".to_owned(),
        ),
        (json!({"#tt": ["x"]}), "the filter's element \"#tt\" is not one that this relay knows".to_owned()),
        (json!({"#1": ["x"]}), "the filter's element \"#1\" is not one that this relay knows".to_owned()),
        (json!({"t": ["x"]}), "the filter's element \"t\" is not one that this relay knows".to_owned()),
        (json!({"kinds": [65_536]}), "kinds must be an array of whole numbers from 0 to 65535".to_owned()),
        (json!({"kinds": ["1"]}), "kinds must be an array of whole numbers from 0 to 65535".to_owned()),
        (json!({"kinds": 1}), "kinds must be an array of whole numbers from 0 to 65535".to_owned()),
        (json!({"since": -1}), "since must be a whole number of seconds".to_owned()),
        (json!({"until": "1"}), "until must be a whole number of seconds".to_owned()),
        (json!({"limit": -1}), "limit must be a whole number".to_owned()),
        (json!({"limit": 1.5}), "limit must be a whole number".to_owned()),
        (json!({"#t": "x"}), "#t must be an array of strings".to_owned()),
        (json!({"#t": [1]}), "#t must be an array of strings".to_owned()),
        (json!([]), "invalid type: sequence, expected a filter, which is a JSON object".to_owned()),
        (json!("x"), "invalid type: string \"x\", expected a filter, which is a JSON object".to_owned()),
    ];
    let wrong_keys =
        [good[..63].to_owned(), format!("{good}0"), good.to_uppercase(), "g".repeat(64), String::new()];
    for key in wrong_keys {
        for name in ["ids", "authors", "#e", "#p"] {
            let filter = json!({name: [good, key]});
            table.push((filter, format!("{name} must be an array of 64 lowercase hex digits each")));
        }
    }
    for (filter, said) in table {
        for verb in ["REQ", "COUNT"] {
            let why = client.closed(verb, &[json!({}), filter.clone()]);
            assert_eq!(why, format!("invalid: {said} (nip01.message)"), "{filter}");
        }
    }
    assert_eq!(client.ids(json!({"ids": [good]})), [""; 0]);
    client.send(&json!(["REQ", "refused"]));
    assert_eq!(client.receive()[2], "invalid: the message lacks a filter (nip01.message)");
}

#[test]
fn tags_are_found_by_letter_and_first_value_only() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let event = Person::new(1).event(
        1,
        NOW,
        &[
            &["t", "first", "second"],
            &["T", "upper"],
            &["tag", "long"],
            &["1", "digit"],
            &["ä", "umlaut"],
            &["x"],
        ],
        "",
    );
    client.publish_ok(&event);
    for (filter, found) in [
        (json!({"#t": ["first"]}), 1),
        (json!({"#t": ["second"]}), 0),
        (json!({"#t": ["upper"]}), 0),
        (json!({"#T": ["upper"]}), 1),
        (json!({"#T": ["first"]}), 0),
        (json!({"#t": ["long"]}), 0),
        (json!({"#t": ["First"]}), 0),
        (json!({"#t": ["firs"]}), 0),
        (json!({"#x": [""]}), 0),
        (json!({"#x": []}), 0),
    ] {
        assert_eq!(client.ids(filter.clone()).len(), found, "{filter}");
    }
}

#[test]
fn every_letter_can_be_asked_for() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let mut client = relay.connect();
    let hex = "a".repeat(64);
    for letter in ('a'..='z').chain('A'..='Z') {
        let event = author.event(1, NOW, &[&[&letter.to_string(), &hex]], &letter.to_string());
        client.publish_ok(&event);
    }
    for letter in ('a'..='z').chain('A'..='Z') {
        assert_eq!(client.ids(json!({format!("#{letter}"): [hex]})).len(), 1, "{letter}");
    }
}

// Subscriptions.

#[test]
fn a_subscription_id_has_1_to_64_characters() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    for name in ["x".to_owned(), "x".repeat(64), "ü".repeat(64), " \"\\\n".to_owned()] {
        assert_eq!(client.request(&name, &[json!({})]).1, "finish", "{name}");
    }
    for name in [String::new(), "x".repeat(65), "ü".repeat(65)] {
        for verb in ["REQ", "COUNT"] {
            client.send(&json!([verb, name, {}]));
            let chars = name.chars().count();
            let why = format!(
                "invalid: a subscription id has 1 to 64 characters, not {chars} (limits.subscription_id_chars_max)"
            );
            assert_eq!(client.receive(), json!(["CLOSED", name, why]));
        }
    }
}

#[test]
fn new_events_come_after_eose_and_limit_does_not_bind_them() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let (mut speaker, mut listener) = (relay.connect(), relay.connect());
    let stored = author.event(1, NOW - 1, &[], "stored");
    speaker.publish_ok(&stored);
    assert_eq!(listener.request("one", &[json!({"kinds": [1], "limit": 1})]).0, ids_of(&[&stored]));
    assert_eq!(listener.request("none", &[json!({"kinds": [1], "limit": 0})]).0, [""; 0]);
    // Older than what was sent, and of the same second: all that is new to the relay comes.
    for (number, time) in [NOW, NOW, NOW - 5, 1].into_iter().enumerate() {
        let event = author.event(1, time, &[], &format!("{number}"));
        speaker.publish_ok(&event);
        let mut heard = [listener.receive(), listener.receive()].map(|message| {
            assert_eq!((&message[0], &message[2]), (&json!("EVENT"), &json_of(&event)));
            message[1].as_str().expect("a name").to_owned()
        });
        heard.sort();
        assert_eq!(heard, ["none", "one"]);
    }
    assert_eq!(relay.heard_by(&mut listener), []);
}

#[test]
fn a_client_hears_its_own_events() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    client.request("s", &[json!({"kinds": [1]})]);
    let event = Person::new(1).note("echo");
    client.submit(&event);
    let mut messages = [client.receive(), client.receive()];
    messages.sort_by_key(|message| message[0].to_string());
    assert_eq!(messages[0], json!(["EVENT", "s", json_of(&event)]));
    assert_eq!(messages[1], json!(["OK", event.id.to_string(), true, ""]));
}

#[test]
fn copies_and_refused_events_are_not_passed_on() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let (mut speaker, mut listener) = (relay.connect(), relay.connect());
    let event = author.event(0, NOW, &[], "");
    speaker.publish_ok(&event);
    listener.request("s", &[json!({"authors": [author.hex()]})]);
    speaker.publish(&event);
    speaker.publish_refused(&author.event(0, NOW - 1, &[], ""));
    let mut forged = author.note("forged");
    forged.sig.0[0] ^= 1;
    speaker.publish_refused(&forged);
    assert_eq!(relay.heard_by(&mut listener), []);
}

#[test]
fn a_repeated_req_takes_the_place_of_the_first() {
    let relay = TestRelay::start();
    let author = Person::new(1);
    let (mut speaker, mut listener) = (relay.connect(), relay.connect());
    let (note, reaction) = (author.event(1, NOW - 1, &[], ""), author.event(7, NOW - 1, &[], ""));
    speaker.publish_ok(&note);
    speaker.publish_ok(&reaction);
    assert_eq!(listener.request("s", &[json!({"kinds": [1]})]).0, ids_of(&[&note]));
    assert_eq!(listener.request("s", &[json!({"kinds": [7]})]).0, ids_of(&[&reaction]));
    speaker.publish_ok(&author.event(1, NOW, &[], ""));
    let heard = author.event(7, NOW, &[], "");
    speaker.publish_ok(&heard);
    assert_eq!(relay.heard_by(&mut listener), [("s".to_owned(), heard.id.to_string())]);
}

#[test]
fn a_refused_req_ends_the_subscription_of_its_name() {
    let relay = TestRelay::start();
    let (mut speaker, mut listener) = (relay.connect(), relay.connect());
    for (number, refused) in
        [json!({"kinds": [1059]}), json!({"search": "x"}), json!({"kinds": 1})].iter().enumerate()
    {
        listener.request("refused", &[json!({"kinds": [1]})]);
        listener.closed("REQ", std::slice::from_ref(refused));
        speaker.publish_ok(&Person::new(1).note(&format!("{number}")));
        assert_eq!(relay.heard_by(&mut listener), [], "{refused}");
    }
}

#[test]
fn close_ends_a_subscription_and_only_that_one() {
    let relay = TestRelay::start();
    let (mut speaker, mut listener) = (relay.connect(), relay.connect());
    listener.request("one", &[json!({"kinds": [1]})]);
    listener.request("two", &[json!({"kinds": [1]})]);
    listener.send(&json!(["CLOSE", "one"]));
    listener.send(&json!(["CLOSE", "never opened"]));
    listener.hears_nothing_more();
    let event = Person::new(1).note("");
    speaker.publish_ok(&event);
    assert_eq!(relay.heard_by(&mut listener), [("two".to_owned(), event.id.to_string())]);
    listener.send(&json!(["CLOSE", "two"]));
    listener.hears_nothing_more();
    speaker.publish_ok(&Person::new(2).note(""));
    assert_eq!(relay.heard_by(&mut listener), []);
}

#[test]
fn subscription_ids_belong_to_their_connection() {
    let relay = TestRelay::start();
    let (mut speaker, mut one, mut two) = (relay.connect(), relay.connect(), relay.connect());
    one.request("s", &[json!({"kinds": [1]})]);
    two.request("s", &[json!({"kinds": [7]})]);
    two.send(&json!(["CLOSE", "other"]));
    speaker.send(&json!(["CLOSE", "s"]));
    let (note, reaction) = (Person::new(1).note(""), Person::new(1).event(7, NOW, &[], ""));
    speaker.publish_ok(&note);
    speaker.publish_ok(&reaction);
    assert_eq!(relay.heard_by(&mut one), [("s".to_owned(), note.id.to_string())]);
    assert_eq!(relay.heard_by(&mut two), [("s".to_owned(), reaction.id.to_string())]);
    two.send(&json!(["CLOSE", "s"]));
    two.hears_nothing_more();
    let note = Person::new(2).note("");
    speaker.publish_ok(&note);
    assert_eq!(relay.heard_by(&mut one), [("s".to_owned(), note.id.to_string())]);
    assert_eq!(relay.heard_by(&mut two), []);
}

#[test]
fn messages_take_effect_in_the_order_in_which_they_were_sent() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let person = Person::new(1);
    let reaction = person.event(7, NOW, &[], "+");
    client.publish_ok(&person.note("first"));
    client.publish_ok(&reaction);
    client.subscribe("s", &[json!({"kinds": [1]})]);
    client.send(&json!(["CLOSE", "s"]));
    client.subscribe("s", &[json!({"kinds": [7]})]);
    // What the first REQ found, and its EOSE, may have been sent before the CLOSE; what comes last is what the
    // second found, and its EOSE.
    let mut message = client.receive();
    while message[2]["id"] != reaction.id.to_string() {
        assert!(message[0] == "EOSE" || message[2]["kind"] == 1, "{message}");
        message = client.receive();
    }
    assert_eq!(client.receive(), json!(["EOSE", "s", ["finish"]]));
    client.hears_nothing_more();
}

#[test]
fn all_of_several_values_may_be_asked_for() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let author = Person::new(1);
    let with = |age: u64, values: &[&str]| {
        let tags: Vec<[&str; 2]> = values.iter().map(|value| ["t", value]).collect();
        let tags: Vec<&[&str]> = tags.iter().map(|tag| &tag[..]).collect();
        author.event(1, NOW - age, &tags, "")
    };
    let events = [
        with(0, &["meme", "cat", "black"]),
        with(1, &["meme", "cat"]),
        with(2, &["meme", "black"]),
        with(3, &[]),
    ];
    events.iter().for_each(|event| client.publish_ok(event));
    let table: &[(Value, &[usize])] = &[
        (json!({"&t": ["meme", "cat"]}), &[0, 1]),
        (json!({"&t": ["meme", "cat"], "#t": ["black", "white"]}), &[0]),
        (json!({"&t": ["meme"], "#t": ["meme", "black"]}), &[0, 2]),
        (json!({"&t": ["meme"], "#t": ["meme"]}), &[0, 1, 2]),
        (json!({"&t": ["meme", "dog"]}), &[]),
        (json!({"&t": []}), &[0, 1, 2, 3]),
        (json!({"&t": ["cat"], "kinds": [1], "authors": [author.hex()]}), &[0, 1]),
        (json!({"&t": ["cat"], "kinds": [7]}), &[]),
    ];
    for (filter, expected) in table {
        let expected: Vec<&Event> = expected.iter().map(|at| &events[*at]).collect();
        let filter = std::slice::from_ref(filter);
        assert_eq!(client.request("stored", filter).0, ids_of(&expected), "{filter:?}");
        assert_eq!(client.count(filter), expected.len() as u64, "{filter:?}");
        client.send(&json!(["CLOSE", "stored"]));
    }
    client.request("live", &[json!({"&t": ["meme", "cat"], "since": NOW + 1})]);
    let mut speaker = relay.connect();
    let late = |number: u64, values: [&str; 2]| {
        author.event(1, NOW + number, &[&["t", values[0]], &["t", values[1]]], "")
    };
    let (wanted, other) = (late(1, ["cat", "meme"]), late(2, ["cat", "dog"]));
    speaker.publish_ok(&other);
    speaker.publish_ok(&wanted);
    assert_eq!(relay.heard_by(&mut client), [("live".to_owned(), wanted.id.to_string())]);
}
