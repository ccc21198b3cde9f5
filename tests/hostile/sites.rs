//! Other sites: what a browser sends for a page of theirs to the management API and to the page at `/admin`. Nothing
//! that a browser adds by itself counts as a proof of anything, so whatever they send changes nothing.

use serde_json::{Value, json};

use crate::common::http::{authorization, http, token_tags};
use crate::common::{NOW, Person, TestRelay};
use crate::raw::Raw;

const MEDIA: &str = "application/nostr+json+rpc";
const EVIL: (&str, &str) = ("Origin", "https://evil.example");

fn owner() -> Person {
    Person::new(1)
}

fn town() -> TestRelay {
    TestRelay::configured(&format!(
        "[relay]\nurls = [\"wss://town.example\"]\n[admin]\nowners = [\"{}\"]",
        owner().hex()
    ))
}

fn ban() -> String {
    json!({"method": "banpubkey", "params": [Person::new(9).hex()]}).to_string()
}

/// Asserts that nobody was banned meanwhile.
fn nothing_happened(relay: &TestRelay) {
    assert_eq!(relay.call_ok(&owner(), "listbannedpubkeys", json!([])), json!([]));
}

/// A token of the owner for a call to an address.
fn token(address: &str, body: &str) -> String {
    authorization(&owner(), 27_235, NOW, &token_tags(address, "POST", body))
}

/// The token of an open session.
fn session(relay: &TestRelay) -> String {
    let opened: Value = relay.call_ok(&owner(), "login", json!([]));
    opened["token"].as_str().expect("a token").to_owned()
}

#[test]
fn pages_of_other_sites_change_nothing() {
    let relay = town();
    let session = session(&relay);
    let cookie = format!("session={session}; token={session}; Authorization=Bearer {session}");
    // What forms and fetch send without asking first, and what needs a preflight.
    let media = [
        ("text/plain", 405),
        ("application/x-www-form-urlencoded", 405),
        ("multipart/form-data; boundary=x", 405),
        ("text/plain; application/nostr+json+rpc", 405),
        ("text/plain, application/nostr+json+rpc", 405),
        ("application/json", 405),
        ("", 405),
        (MEDIA, 401),
        ("Application/Nostr+Json+Rpc; charset=utf-8", 401),
    ];
    for (media, status) in media {
        for site in ["cross-site", "same-site", "same-origin", "none"] {
            let headers =
                [("Content-Type", media), EVIL, ("Sec-Fetch-Site", site), ("Cookie", cookie.as_str())];
            for path in ["/", "/?method=banpubkey", &format!("/?token={session}&access_token={session}")] {
                let answer = http(&relay, "POST", path, &headers, &ban());
                assert_eq!(answer.status, status, "{media} {path}");
                assert_eq!(answer.header("access-control-allow-credentials"), "", "{media}");
                assert_eq!(answer.header("set-cookie"), "", "{media}");
            }
        }
    }
    for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH"] {
        let headers =
            [("Content-Type", MEDIA), EVIL, ("Cookie", &cookie), ("X-HTTP-Method-Override", "POST")];
        let answer = http(&relay, method, "/?method=banpubkey", &headers, &ban());
        assert_eq!(answer.status, if matches!(method, "GET" | "HEAD") { 200 } else { 405 }, "{method}");
    }
    nothing_happened(&relay);
}

#[test]
fn a_preflight_allows_no_credentials() {
    let asks = [
        EVIL,
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization, content-type"),
        ("Access-Control-Request-Private-Network", "true"),
    ];
    let answer = http(&town(), "OPTIONS", "/", &asks, "");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, "*"));
    for name in ["access-control-allow-credentials", "access-control-allow-private-network", "set-cookie"] {
        assert_eq!(answer.header(name), "", "{name}");
    }
}

#[test]
fn tokens_are_for_one_address_one_body_and_once() {
    let relay = town();
    let local = format!("http://{}", relay.relay().address());
    let body = ban();
    let honest = token("https://town.example", &body);
    let table = [
        // A page that was rebound to this machine has its own name in the address and in Host.
        ("a rebound page", "evil.example", token("https://evil.example", &body)),
        ("a rebound page with the port", "evil.example", token("http://evil.example:7777", &body)),
        ("another relay's", "town.example", token("https://other.example", &body)),
        ("a name that begins alike", "town.example", token("https://town.example.evil.example", &body)),
        ("a name before an @", "town.example", token("https://town.example@evil.example", &body)),
        ("another body's", "town.example", token("https://town.example", "{}")),
        ("a stranger's key", "town.example", {
            let tags = token_tags("https://town.example", "POST", &body);
            authorization(&Person::new(8), 27_235, NOW, &tags)
        }),
        ("Basic", "town.example", "Basic YWRtaW46YWRtaW4=".to_owned()),
        ("an empty session", "town.example", "Bearer ".to_owned()),
        ("no session", "town.example", format!("Bearer {}", "0".repeat(64))),
    ];
    for (what, host, header) in table {
        let status = call(&relay, host, &header, &body);
        assert!([401, 403].contains(&status), "{what}: {status}");
    }
    nothing_happened(&relay);
    assert_eq!(call(&relay, "evil.example", &honest, r#"{"method":"stats"}"#), 401, "not this body");
    assert_eq!(call(&relay, "town.example", &honest, &body), 200);
    assert_eq!(call(&relay, "town.example", &honest, &body), 401, "once");
    assert_eq!(call(&relay, "town.example", &token(&local, &body), &body), 401, "the town has a name");
}

/// A call by way of a host; the status.
fn call(relay: &TestRelay, host: &str, authorization: &str, body: &str) -> u16 {
    let mut raw = Raw::connect(relay);
    let length = body.len();
    raw.send(
        format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: {MEDIA}\r\nConnection: close\r\n\
             Authorization: {authorization}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .as_bytes(),
    );
    raw.status()
}

#[test]
fn the_page_cannot_be_framed_or_made_to_run_what_is_not_its_own() {
    let relay = town();
    for path in ["/admin", "/admin/app.js", "/admin/style.css"] {
        let headers = [EVIL, ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Dest", "iframe")];
        let answer = http(&relay, "GET", path, &headers, "");
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy");
        for part in ["frame-ancestors 'none'", "default-src 'none'", "form-action 'none'", "base-uri 'none'"]
        {
            assert!(policy.contains(part), "{path}: {part} in {policy}");
        }
        assert!(!policy.contains("unsafe-inline") && !policy.contains("unsafe-eval"), "{path}: {policy}");
        let others = [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("access-control-allow-origin", ""),
            ("set-cookie", ""),
        ];
        others.iter().for_each(|(name, value)| assert_eq!(answer.header(name), *value, "{path}: {name}"));
    }
}
