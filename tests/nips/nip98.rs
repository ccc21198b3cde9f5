//! NIP-98, HTTP authentication (nips/98.md): who calls the management API.

use serde_json::{Value, json};

use crate::common::http::{Answer, authorization, http, token_tags};
use crate::common::{NOW, Person, TestRelay, json_of};
use data_encoding::BASE64;

const MEDIA: (&str, &str) = ("Content-Type", "application/nostr+json+rpc");
const BODY: &str = r#"{"method":"supportedmethods","params":[]}"#;

fn relay() -> TestRelay {
    let owner = Person::new(1).hex();
    TestRelay::configured(&format!(
        "[relay]\nurls = [\"wss://town.example\"]\n[admin]\nowners = [\"{owner}\"]"
    ))
}

fn ask(relay: &TestRelay, header: &str, body: &str) -> Answer {
    http(relay, "POST", "/", &[MEDIA, ("Authorization", header)], body)
}

#[test]
fn a_token_must_be_of_now_for_this_relay_this_method_and_this_body() {
    let relay = relay();
    let owner = Person::new(1);
    let with = |url: &str, method: &str, body: &str| token_tags(url, method, body).to_vec();
    let good = with("https://town.example", "POST", BODY);
    let kind = "a token is an event of kind 27235, not 22242";
    let late = "the token's created_at is 61 seconds from now, more than 60";
    let url = "the token's u tag is not the address of this relay";
    let method = "the token's method tag is not POST";
    let payload = "the token's payload tag is not the SHA-256 of the request's body";
    type Row<'a> = (&'a str, u16, u64, Vec<[String; 2]>, &'a str);
    let table: Vec<Row<'_>> = vec![
        ("all right", 27_235, NOW, good.clone(), ""),
        ("a slash at the end", 27_235, NOW, with("https://town.example/", "POST", BODY), ""),
        ("the WebSocket's address", 27_235, NOW, with("wss://town.example", "POST", BODY), ""),
        ("a method in small letters", 27_235, NOW, with("https://town.example", "post", BODY), ""),
        ("just old enough", 27_235, NOW - 60, good.clone(), ""),
        ("just new enough", 27_235, NOW + 60, good.clone(), ""),
        ("too old", 27_235, NOW - 61, good.clone(), late),
        ("too new", 27_235, NOW + 61, good.clone(), late),
        ("a proof for the WebSocket", 22_242, NOW, good.clone(), kind),
        ("another relay", 27_235, NOW, with("https://other.example", "POST", BODY), url),
        ("plain HTTP", 27_235, NOW, with("http://town.example", "POST", BODY), url),
        ("another path", 27_235, NOW, with("https://town.example/admin", "POST", BODY), url),
        ("another method", 27_235, NOW, with("https://town.example", "GET", BODY), method),
        ("another body", 27_235, NOW, with("https://town.example", "POST", "{}"), payload),
        ("no payload", 27_235, NOW, good[..2].to_vec(), payload),
        ("no url", 27_235, NOW, good[1..].to_vec(), url),
        ("no tags", 27_235, NOW, vec![], url),
    ];
    for (what, kind, at, tags, error) in table {
        let answer = ask(&relay, &authorization(&owner, kind, at, &tags), BODY);
        let said = answer.json();
        match error {
            "" => assert_eq!((answer.status, said["result"].is_array()), (200, true), "{what}: {said}"),
            error => {
                assert_eq!((answer.status, &said["error"]), (401, &json!(error)), "{what}");
                assert_eq!(answer.header("www-authenticate"), "Nostr", "{what}");
            }
        }
    }
}

#[test]
fn a_token_is_one_true_event_in_base64() {
    let relay = relay();
    let owner = Person::new(1);
    let tags = token_tags("https://town.example", "POST", BODY);
    let good = authorization(&owner, 27_235, NOW, &tags);
    let event = |change: &dyn Fn(&mut Value)| {
        let mut event: Value =
            serde_json::from_slice(&BASE64.decode(&good.as_bytes()[6..]).expect("base64")).expect("JSON");
        change(&mut event);
        format!("Nostr {}", BASE64.encode(event.to_string().as_bytes()))
    };
    let untrue = "the token's id or signature is not true";
    let table = [
        ("", "Authorization begins with Nostr and holds one event in base64 (NIP-98)"),
        ("Basic YTpi", "Authorization begins with Nostr and holds one event in base64 (NIP-98)"),
        ("Nostr %%%", "the token is not in base64"),
        ("Nostr e30=", "the token is no event: "),
        ("Nostr W10=", "the token is no event: "),
        (&*event(&|event| event["content"] = json!("other")), untrue),
        (&*event(&|event| event["pubkey"] = json!(Person::new(2).hex())), untrue),
        (&*event(&|event| event["sig"] = json!("0".repeat(128))), untrue),
    ];
    for (header, error) in table {
        let answer = ask(&relay, header, BODY);
        let said = answer.json()["error"].as_str().unwrap_or("").to_owned();
        assert!(answer.status == 401 && said.starts_with(error), "{header}: {} {said}", answer.status);
    }
    let bare = http(&relay, "POST", "/", &[MEDIA], BODY);
    assert_eq!(bare.status, 401);
    // Without its padding it is the same.
    assert_eq!(ask(&relay, good.trim_end_matches('='), BODY).status, 200);
}

#[test]
fn a_token_is_good_for_one_request() {
    let relay = relay();
    let owner = Person::new(1);
    let header = authorization(&owner, 27_235, NOW, &token_tags("https://town.example", "POST", BODY));
    assert_eq!(ask(&relay, &header, BODY).status, 200);
    for now in [NOW, NOW + 30, NOW + 60] {
        relay.clock.set(now);
        let answer = ask(&relay, &header, BODY);
        let error = "this token was used before; sign a new one for each request";
        assert_eq!((answer.status, &answer.json()["error"]), (401, &json!(error)));
    }
}

#[test]
fn a_token_is_no_event_to_publish_for_members_alone_to_see() {
    // It is ephemeral: whoever sends it, nothing is kept of it.
    let relay = relay();
    let token = Person::new(1).event(27_235, NOW, &[&["u", "https://town.example"], &["method", "GET"]], "");
    relay.connect().publish_ok(&token);
    assert_eq!(relay.connect().ids(json!({"ids": [json_of(&token)["id"]]})), Vec::<String>::new());
}
