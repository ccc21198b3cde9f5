//! Messages that are no message, or say what cannot be: each is answered where its sender looks, and the
//! connection lives on.

use serde_json::{Value, json};

use crate::common::{NOW, Person, TestRelay, json_of};
use crate::neighbour::Neighbour;
use crate::raw::Raw;

/// Sends a text; the answer must be this verb for this name (none for NOTICE), with this beginning.
fn answers(raw: &mut Raw, text: &str, verb: &str, name: &str, beginning: &str) {
    raw.say(text);
    let answer = raw.message();
    let shown: String = text.chars().take(200).collect();
    let said = match verb {
        "NOTICE" => &answer[1],
        "OK" => {
            assert_eq!(answer[2], false, "{shown}: {answer}");
            &answer[3]
        }
        _ => &answer[2],
    };
    assert_eq!(answer[0], verb, "{shown}: {answer}");
    assert!(verb == "NOTICE" || answer[1] == name, "{shown}: {answer}");
    let said = said.as_str().expect("a sentence");
    assert!(said.starts_with(beginning), "{shown}: {answer}");
    assert!(said.len() < 1_000, "an answer is short: {shown}");
    raw.works();
}

#[test]
fn what_is_no_message_gets_a_notice() {
    let relay = TestRelay::start();
    let neighbour = Neighbour::start(&relay);
    let mut raw = Raw::open(&relay);
    let deep = "[".repeat(100_000);
    let deep_objects = "{\"a\":".repeat(50_000);
    let long_number = format!("[{}]", "9".repeat(100_000));
    let table = [
        "",
        " ",
        "hello",
        "{}",
        "[]",
        "null",
        "1",
        "\"EVENT\"",
        "[1]",
        "[null]",
        "[[]]",
        "[{}]",
        "[\"\"]",
        "[\"HI\"]",
        "[\"event\",{}]",
        "[\"EVENT\"]",
        "[\"REQ\"]",
        "[\"COUNT\"]",
        "[\"CLOSE\"]",
        "[\"AUTH\"]",
        "[\"EVENT\",1]",
        "[\"EVENT\",null]",
        "[\"EVENT\",[]]",
        "[\"EVENT\",\"x\"]",
        "[\"EVENT\",{}]",
        "[\"EVENT\",{\"id\":1}]",
        "[\"EVENT\",{\"id\":\"x\"}]",
        "[\"AUTH\",\"x\"]",
        "[\"AUTH\",{}]",
        "[\"REQ\",1,{}]",
        "[\"REQ\",null,{}]",
        "[\"REQ\",[],{}]",
        "[\"REQ\",{}]",
        "[\"COUNT\",{},{}]",
        "[\"CLOSE\",1]",
        "[\"CLOSE\",{}]",
        "[\"EVENT\",",
        "[\"REQ\",\"s\",{}",
        "[\"REQ\" \"s\"]",
        "[\"REQ\",\"s\",{}]]",
        "\u{feff}[\"CLOSE\",\"s\"]",
        "[\"CLOSE\",\"\\ud800\"]",
        "[\"CLOSE\",\"\u{0}\"]",
        "\u{0}",
        "[\"\\u0000\"]",
        "['CLOSE','s']",
        "[\"CLOSE\",\"s\",]",
        "NaN",
        "[NaN]",
        "[1e999999]",
        &deep,
        &deep_objects,
        &long_number,
    ];
    for text in table {
        answers(&mut raw, text, "NOTICE", "", "invalid: ");
    }
    neighbour.noticed_nothing();
}

#[test]
fn depth_is_no_trap_where_anything_is_passed_over() {
    let relay = TestRelay::start();
    let mut raw = Raw::open(&relay);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    raw.say(&format!(r#"["COUNT","works",{{"ids":[]}},{deep}]"#));
    assert_eq!(raw.message()[0], "NOTICE", "a filter is an object, and shallow");
    // Further elements and unknown fields are passed over, however deep they are.
    raw.say(&format!(r#"["CLOSE","s",{deep}]"#));
    raw.works();
    let event = json_of(&Person::new(1).note("deep")).to_string();
    let text = event.replacen('{', &format!(r#"{{"unknown":{deep},"#), 1);
    raw.say(&format!(r#"["EVENT",{text}]"#));
    let answer = raw.message();
    assert_eq!((&answer[0], &answer[2]), (&json!("OK"), &json!(true)), "{answer}");
    raw.works();
}

/// A true event of which one field is something else.
fn event_with(field: &str, value: &str) -> String {
    let event = Person::new(1).event(1, NOW, &[&["t", "x"]], "content");
    let mut fields = json_of(&event);
    fields[field] = json!("PLACE");
    fields.to_string().replacen("\"PLACE\"", value, 1)
}

#[test]
fn a_wrong_field_of_an_event_is_named() {
    let relay = TestRelay::start();
    let mut raw = Raw::open(&relay);
    let id = Person::new(1).event(1, NOW, &[&["t", "x"]], "content").id.to_string();
    let zeros = "0".repeat(64);
    let not_texts = ["1", "null", "true", "[]", "{}", "1.5", "-1", "\"\\ud800\""];
    let not_numbers = [
        "\"1\"",
        "null",
        "true",
        "[]",
        "{}",
        "-1",
        "1.5",
        "1.0",
        "1e3",
        "99999999999999999999",
        "1e400",
        "-0.0",
        "9223372036854775808000",
    ];
    let not_tags = [
        "null",
        "{}",
        "1",
        "\"t\"",
        "[1]",
        "[\"t\"]",
        "[[1]]",
        "[[null]]",
        "[[[\"t\"]]]",
        "[{}]",
        "[[\"t\",true]]",
    ];
    let short = "\"00\"".to_owned();
    let upper = format!("\"{}\"", "A".repeat(64));
    let not_hex = format!("\"{}\"", "g".repeat(64));
    let texts =
        |more: &[&str]| not_texts.iter().chain(more).map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let table = [
        ("pubkey", texts(&[&short, &upper, &not_hex])),
        ("sig", texts(&[&short, &upper, &not_hex])),
        ("content", not_texts.iter().map(|text| (*text).to_owned()).collect()),
        ("created_at", not_numbers.iter().map(|text| (*text).to_owned()).collect()),
        ("kind", not_numbers.iter().map(|text| (*text).to_owned()).chain(["65536".to_owned()]).collect()),
        ("tags", not_tags.iter().map(|text| (*text).to_owned()).collect()),
    ];
    for (field, values) in &table {
        for value in values {
            let text = format!(r#"["EVENT",{}]"#, event_with(field, value));
            // A text that is not even JSON is answered for the id that it states.
            match serde_json::from_str::<Value>(&text) {
                Ok(_) => answers(&mut raw, &text, "OK", &id, &format!("invalid: {field} must be")),
                Err(_) => answers(&mut raw, &text, "OK", &id, "invalid: "),
            }
        }
    }
    for value in not_texts.iter().copied().chain([short.as_str(), &upper, &not_hex]) {
        answers(&mut raw, &format!(r#"["EVENT",{}]"#, event_with("id", value)), "NOTICE", "", "invalid: ");
    }
    let forged = format!(r#"["EVENT",{}]"#, event_with("id", &format!("\"{zeros}\"")));
    answers(&mut raw, &forged, "OK", &zeros, "invalid: the id is not the hash");
    let no_key = format!(r#"["EVENT",{}]"#, event_with("content", "\"other\""));
    answers(&mut raw, &no_key, "OK", &id, "invalid: the id is not the hash");
    let sig = format!("\"{}\"", "0".repeat(128));
    let unsigned = format!(r#"["EVENT",{}]"#, event_with("sig", &sig));
    answers(&mut raw, &unsigned, "OK", &id, "invalid: the signature");
    let twice = format!(r#"["EVENT",{}]"#, event_with("kind", "1,\"kind\":1"));
    answers(&mut raw, &twice, "OK", &id, "invalid: the event has kind twice");
}

#[test]
fn a_wrong_element_of_a_filter_is_named() {
    let relay = TestRelay::start();
    let mut raw = Raw::open(&relay);
    let hex_lists = ["null", "1", "\"x\"", "{}", "[1]", "[null]", "[[]]", "[\"\"]", "[\"ab\"]", "[\"G\"]"];
    let numbers = ["null", "\"1\"", "-1", "1.5", "[]", "{}", "true", "99999999999999999999"];
    let lists = ["null", "1", "\"x\"", "{}", "[1]", "[null]", "[[]]", "[true]"];
    let kinds = ["null", "1", "\"1\"", "{}", "[-1]", "[65536]", "[1.5]", "[\"1\"]", "[null]"];
    let table: [(&str, &[&str]); 9] = [
        ("ids", &hex_lists),
        ("authors", &hex_lists),
        ("#e", &hex_lists),
        ("#p", &hex_lists),
        ("#t", &lists),
        ("kinds", &kinds),
        ("since", &numbers),
        ("until", &numbers),
        ("limit", &numbers),
    ];
    for (element, values) in table {
        for value in values {
            for verb in ["REQ", "COUNT"] {
                let text = format!(r#"["{verb}","s",{{"{element}":{value}}}]"#);
                answers(&mut raw, &text, "CLOSED", "s", &format!("invalid: {element} must be"));
            }
        }
    }
    for filter in [
        "1",
        "null",
        "[]",
        "\"x\"",
        "{},1",
        "{},null",
        r#"{"search":"x"}"#,
        r##"{"#":["x"]}"##,
        r##"{"#tt":[]}"##,
        r#"{"limit":1,"limit":1}"#,
    ] {
        answers(&mut raw, &format!(r#"["REQ","s",{filter}]"#), "CLOSED", "s", "invalid: ");
    }
    answers(&mut raw, r#"["REQ","s"]"#, "CLOSED", "s", "invalid: the message lacks a filter");
    answers(&mut raw, r#"["REQ","",{}]"#, "CLOSED", "", "invalid: a subscription id");
    let long = "s".repeat(65);
    answers(&mut raw, &format!(r#"["REQ","{long}",{{}}]"#), "CLOSED", &long, "invalid: a subscription id");
    answers(&mut raw, &format!(r#"["COUNT","{long}",{{}}]"#), "CLOSED", &long, "invalid: a subscription id");
}

#[test]
fn a_refused_req_ends_the_subscription_of_its_name() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let many: Vec<Value> = (0..33).map(|_| json!({})).collect();
    for (number, refused) in
        [vec![json!({"kinds": "x"})], vec![json!({"kinds": [4]})], many, vec![]].iter().enumerate()
    {
        client.request("s", &[json!({"kinds": [1], "limit": 0})]);
        client.subscribe("s", refused);
        let closed = client.receive();
        assert_eq!((&closed[0], &closed[1]), (&json!("CLOSED"), &json!("s")));
        client.publish_ok(&Person::new(3).note(&number.to_string()));
        client.hears_nothing_more();
    }
    // A client that is told CLOSED for a COUNT takes its subscription of that name for closed, too.
    client.request("s", &[json!({"kinds": [1], "limit": 0})]);
    client.send(&json!(["COUNT", "s", {"kinds": "x"}]));
    assert_eq!(client.receive()[0], "CLOSED");
    client.publish_ok(&Person::new(3).note("last"));
    client.hears_nothing_more();
}

#[test]
fn strange_characters_come_back_as_they_came() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let controls: String = (0..32_u8).map(char::from).collect();
    for content in
        [controls.as_str(), "\u{7f}\u{80}\u{2028}\u{2029}\u{feff}\u{fffe}", "\u{202e}drow", "😀\u{10ffff}"]
    {
        let event = Person::new(2).event(1, NOW, &[&["t", content], &["d", "\u{0}"]], content);
        client.publish_ok(&event);
        assert_eq!(client.ids(json!({"#t": [content]})), [event.id.to_string()]);
        client.subscribe(content, &[json!({"ids": [event.id.to_string()]})]);
        assert_eq!(client.receive(), json!(["EVENT", content, json_of(&event)]));
        assert_eq!(client.receive(), json!(["EOSE", content, ["finish"]]));
    }
}
