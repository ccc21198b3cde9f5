//! What the page at `/admin` rests on: its files and their headers, sessions of the management API, what moderators
//! look up, and `plaza admin`, which does without a browser. The page itself is tested in `tests/browser`.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use common::authority::Authority;
use common::folder::Folder;
use common::http::{Answer, authorization, http, token_tags};
use common::{NOW, Person, TestRelay, json_of};
use serde_json::{Value, json};

const MEDIA: (&str, &str) = ("Content-Type", "application/nostr+json+rpc");
const LOGIN: &str = r#"{"method":"login","params":[]}"#;
const TWELVE_HOURS: u64 = 12 * 60 * 60;

fn owner() -> Person {
    Person::new(1)
}

fn moderator() -> Person {
    Person::new(2)
}

/// Two communities with one owner; a third on a host of its own; a fourth that nobody owns cannot be, since the
/// root's owners own all.
fn town() -> TestRelay {
    TestRelay::configured(&format!(
        "[relay]\nname = \"<Town>\"\nurls = [\"wss://town.example\"]\n[admin]\nowners = [\"{}\"]\n\
         [[community]]\npath = \"/berlin\"\nname = \"Berlin\"\n\
         [[community]]\npath = \"/market\"\nhost = \"market.example\"\nname = \"Market\"\n",
        owner().hex()
    ))
}

fn get(relay: &TestRelay, path: &str) -> Answer {
    http(relay, "GET", path, &[], "")
}

#[test]
fn each_community_has_its_page_with_the_address_to_sign_for() {
    let relay = town();
    let table = [
        ("/admin", "https://town.example", "&lt;Town&gt;"),
        ("/berlin/admin", "https://town.example/berlin", "Berlin"),
        ("/market/admin", "https://town.example/market", "Market"),
    ];
    for (path, address, name) in table {
        let page = get(&relay, path);
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        for wanted in [format!("content=\"{address}\""), format!("<title>Manage – {name}</title>")] {
            assert!(page.body.contains(&wanted), "{path}: {wanted} in {}", page.body);
        }
        assert!(!page.body.contains("{{"), "{path}: {}", page.body);
    }
    // Its links begin where it is, so there is one way to write it.
    let slash = get(&relay, "/berlin/admin/");
    assert_eq!((slash.status, slash.header("location")), (308, "../admin"));
    for path in
        ["/nowhere/admin", "/admin/nothing.js", "/admin/../relay.toml", "/administration", "/berlin/admin/x/"]
    {
        assert_eq!(get(&relay, path).status, 404, "{path}");
    }
    let posted = http(&relay, "POST", "/admin", &[MEDIA], LOGIN);
    assert_eq!((posted.status, posted.header("allow")), (405, "GET, HEAD"));
}

#[test]
fn on_a_socket_for_both_families_the_address_is_the_one_that_logs_in() {
    if std::net::TcpListener::bind("[::]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let relay = TestRelay::with(|config| {
        config.server.listen = "[::]:0".parse().expect("an address");
        config.root.admin.owners = [owner().key()].into_iter().collect();
    });
    let mut stream = TcpStream::connect(("127.0.0.1", relay.relay().address().port())).expect("a connection");
    stream
        .write_all(b"GET /admin HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("it answers");
    let address = page.split("plaza-address\" content=\"").nth(1).and_then(|rest| rest.split('"').next());
    assert_eq!(address, Some(&*format!("http://127.0.0.1:{}", relay.relay().address().port())));
}

#[test]
fn without_owners_the_page_says_how_to_name_one() {
    let page = get(&TestRelay::configured("[[community]]\npath = \"/berlin\""), "/berlin/admin");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("[community.admin]\nowners = [\"npub1…\"]"), "{}", page.body);
    assert!(!page.body.contains("<script"), "{}", page.body);
}

#[test]
fn files_are_typed_kept_and_shut_off_from_elsewhere() {
    let relay = town();
    let page = get(&relay, "/berlin/admin").body;
    let links = page.split(['"', '\'']).filter(|text| text.starts_with("admin/"));
    let mut names: Vec<String> = links.map(str::to_owned).collect();
    // Scripts name others beside them.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/web");
    let scripts = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let scripts =
        scripts.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.ends_with(".js"));
    names.extend(scripts.map(|name| format!("admin/{name}")));
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let path = format!("/berlin/{name}");
        let file = get(&relay, &path);
        let media = match name.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!((file.status, file.header("content-type")), (200, media), "{name}");
        let policy = file.header("content-security-policy");
        for wanted in
            ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"]
        {
            assert!(policy.contains(wanted), "{name}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(file.header("x-content-type-options"), "nosniff");
        assert_eq!(file.header("referrer-policy"), "no-referrer");
        let tag = file.header("etag");
        let again = http(&relay, "GET", &path, &[("If-None-Match", tag)], "");
        assert_eq!((again.status, &*again.body, again.header("etag")), (304, "", tag), "{name}");
        // What somebody wrote must never become markup, and no other host is asked for anything.
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "style=",
            "onclick=\"",
        ] {
            assert!(!file.body.contains(word), "{name} has {word}");
        }
        let mut hosts = file.body.match_indices("://").map(|(at, _)| &file.body[at..]);
        let other =
            hosts.find(|host| !host.starts_with("://www.w3.org/2000/svg") && !host.starts_with("://[^"));
        assert_eq!(other.map(|host| host.chars().take(40).collect::<String>()), None, "{name}");
    }
}

/// A call with an `Authorization` of any kind.
fn call(relay: &TestRelay, path: &str, header: &str, body: &str) -> (u16, Value) {
    let answer = http(relay, "POST", path, &[MEDIA, ("Authorization", header)], body);
    (answer.status, answer.json())
}

fn log_in(relay: &TestRelay, path: &str, who: &Person) -> (u16, Value) {
    let url = format!("https://town.example{}", path.trim_end_matches('/'));
    call(relay, path, &authorization(who, 27_235, relay.clock.now(), &token_tags(&url, "POST", LOGIN)), LOGIN)
}

fn bearer(session: &Value) -> String {
    format!("Bearer {}", session["result"]["token"].as_str().expect("a token"))
}

const STATS: &str = r#"{"method":"stats"}"#;

#[test]
fn one_signature_opens_a_session_of_one_person_in_one_community() {
    let relay = town();
    let (status, session) = log_in(&relay, "/berlin", &owner());
    let result = &session["result"];
    assert_eq!((status, &result["pubkey"], &result["rank"]), (200, &json!(owner().hex()), &json!("owner")));
    assert_eq!(result["expires_at"], NOW + TWELVE_HOURS);
    assert_eq!(result["token"].as_str().map(str::len), Some(64));
    let header = bearer(&session);
    let ended = (401, json!({"error": "this session has ended; log in again"}));
    assert_eq!(call(&relay, "/berlin", &header, STATS).0, 200);
    assert_eq!(call(&relay, "/berlin", &header, STATS).0, 200, "as often as one likes");
    assert_eq!(call(&relay, "/", &header, STATS), ended, "elsewhere it is nobody's");
    assert_eq!(call(&relay, "/berlin", "Bearer 0", STATS), ended);
    let other = call(&relay, "/berlin", &header, LOGIN);
    assert_eq!(other.1["error"], "sign a token of NIP-98 to log in; a session opens no other");
    relay.clock.set(NOW + TWELVE_HOURS - 1);
    assert_eq!(call(&relay, "/berlin", &header, STATS).0, 200);
    relay.clock.set(NOW + TWELVE_HOURS);
    assert_eq!(call(&relay, "/berlin", &header, STATS), ended);
}

#[test]
fn sessions_end_one_by_one_all_at_once_and_with_the_relay() {
    let mut relay = town();
    let logout = r#"{"method":"logout"}"#;
    let [one, two] = [(); 2].map(|()| bearer(&log_in(&relay, "/", &owner()).1));
    let is_open = |relay: &TestRelay, header: &str| call(relay, "/", header, STATS).0 == 200;
    assert_eq!(call(&relay, "/", &one, logout), (200, json!({"result": true})));
    assert_eq!((is_open(&relay, &one), is_open(&relay, &two)), (false, true));
    let three = bearer(&log_in(&relay, "/", &owner()).1);
    let signed = authorization(&owner(), 27_235, NOW, &token_tags("https://town.example", "POST", logout));
    assert_eq!(call(&relay, "/", &signed, logout).0, 200);
    assert_eq!((is_open(&relay, &two), is_open(&relay, &three)), (false, false));
    let four = bearer(&log_in(&relay, "/", &owner()).1);
    relay.restart();
    assert!(!is_open(&relay, &four));
}

#[test]
fn a_session_may_what_its_key_may_at_that_moment() {
    let relay = town();
    let sentence = |answer: (u16, Value)| (answer.0, answer.1["error"].as_str().unwrap_or("").to_owned());
    let nobody = (403, "this key manages nothing here".to_owned());
    assert_eq!(sentence(log_in(&relay, "/", &moderator())), nobody);
    let head = bearer(&log_in(&relay, "/", &owner()).1);
    let role = |method: &str| {
        let body = json!({"method": method, "params": [moderator().hex(), "moderator"]}).to_string();
        assert_eq!(call(&relay, "/", &head, &body).0, 200);
    };
    role("assignrole");
    let session = bearer(&log_in(&relay, "/", &moderator()).1);
    assert_eq!(call(&relay, "/", &session, STATS).0, 200);
    let log = r#"{"method":"listauditlog"}"#;
    assert_eq!(call(&relay, "/", &session, log).0, 403);
    role("unassignrole");
    assert_eq!(sentence(call(&relay, "/", &session, STATS)), nobody);
}

#[test]
fn moderators_look_up_what_is_hidden_and_nothing_that_is_private() {
    let relay = TestRelay::configured(&format!("[admin]\nowners = [\"{}\"]", owner().hex()));
    let [ann, bob] = [10, 11].map(Person::new);
    let note = ann.event(1, NOW - 2, &[], "for all");
    let private = ann.event(4, NOW - 1, &[&["p", &bob.hex()]], "sealed");
    let profile = ann.event(0, NOW - 3, &[], r#"{"name":"ann","display_name":" Ann\n of the mill "}"#);
    let odd = bob.event(0, NOW, &[], "no JSON");
    for event in [&note, &private, &profile, &odd] {
        relay.connect().publish_ok(event);
    }
    for hides in [None, Some("banpubkey")] {
        if let Some(method) = hides {
            relay.call_ok(&owner(), method, json!([ann.hex()]));
        }
        let found = relay.call_ok(&owner(), "listauthorevents", json!([ann.hex()]));
        assert_eq!(found, json!([json_of(&note), json_of(&profile)]), "{hides:?}");
    }
    let ids = [&private, &note].map(|event| event.id.to_string());
    let found = relay.call_ok(&owner(), "listevents", json!([[&ids[0], &ids[1], "f".repeat(64)]]));
    assert_eq!(found, json!([json_of(&note)]));
    let one = relay.call_ok(&owner(), "listauthorevents", json!([ann.hex(), 1]));
    assert_eq!(one, json!([json_of(&note)]));
    let keys = json!([[bob.hex(), ann.hex(), ann.hex(), owner().hex()]]);
    assert_eq!(relay.call_ok(&owner(), "listprofiles", keys), json!({ann.hex(): "Ann of the mill"}));
    let (status, why) = relay.call_refused(&owner(), "listprofiles", json!([vec![ann.hex(); 201]]));
    assert_eq!((status, &*why), (400, "params: a list of public keys, 200 at most"));
}

#[test]
fn the_command_line_logs_in_and_calls() {
    let owner_key = owner().secret();
    let relay = TestRelay::configured_today(&format!("[admin]\nowners = [\"{}\"]", owner().hex()));
    let folder = Folder::new();
    folder.write("key", format!("{owner_key}\n"));
    let url = format!("http://{}", relay.relay().address());
    let page = format!("{url}/admin");
    // The address as people copy it: of the relay, its page, its WebSocket.
    for url in [&url, &page, &relay.url()] {
        let done = folder.run(&["admin", "token", "--key", "key", "--url", url]);
        assert_eq!(done.code, 0, "{done:?}");
        let (status, session) = call(&relay, "/", done.data.trim(), LOGIN);
        assert_eq!((status, &session["result"]["rank"]), (200, &json!("owner")), "{url}: {session}");
    }
    let key = Person::new(9).hex();
    let nsec = {
        let hrp = bech32::Hrp::parse("nsec").expect("a prefix");
        bech32::encode::<bech32::Bech32>(hrp, &hex::decode(&owner_key).expect("hex")).expect("nsec1…")
    };
    let ban = ["admin", "call", "banpubkey", &key, "floods the square", "--url", &url, "--key", "-"];
    let done = folder.feed(&ban, nsec.as_bytes());
    assert_eq!((done.code, &*done.data), (0, "true\n"), "{done:?}");
    let listed = folder.run(&["admin", "call", "listbannedpubkeys", "--url", &url, "--key", "key"]);
    let listed: Value = serde_json::from_str(&listed.data).expect("JSON");
    assert_eq!((&listed[0]["pubkey"], &listed[0]["reason"]), (&json!(key), &json!("floods the square")));
    let log = folder.run(&["admin", "call", "listauditlog", "1", "--url", &url, "--key", "key"]);
    assert!(log.data.contains("floods the square"), "{log:?}");
    let explained = folder.run(&["admin", "call", "explain", "{\"kind\": 1}", "--url", &url, "--key", "key"]);
    assert!(explained.data.contains("\"accepted\": true"), "{explained:?}");
}

#[test]
fn the_command_line_says_what_is_wrong() {
    let relay = TestRelay::configured_today(&format!("[admin]\nowners = [\"{}\"]", owner().hex()));
    let folder = Folder::new();
    folder.write("key", owner().secret());
    folder.write("stranger", moderator().secret());
    folder.write("npub", owner().hex() + "00");
    let url = format!("http://{}", relay.relay().address());
    let wrong = "--key: the file holds one secret key, as nsec1… or 64 hexadecimal digits, and nothing else";
    let table: [(&[&str], &str); 7] = [
        (&["stats", "--url", &url, "--key", "stranger"], "plaza: this key manages nothing here"),
        (
            &["dance", "--url", &url, "--key", "key"],
            "plaza: there is no method \"dance\"; supportedmethods lists",
        ),
        (&["stats", "--url", &url, "--key", "missing"], "plaza: --key: cannot read missing: "),
        (&["stats", "--url", &url, "--key", "npub"], wrong),
        (
            &["stats", "--url", "town.example", "--key", "key"],
            "plaza: --url: town.example is no address; write",
        ),
        (&["explain", "{kind", "--url", &url, "--key", "key"], "begins like JSON and is none"),
        (
            &["stats", "--url", "http://127.0.0.1:1", "--key", "key"],
            "plaza: cannot reach http://127.0.0.1:1: ",
        ),
    ];
    for (arguments, sentence) in table {
        let done = folder.run(&[&["admin", "call"], arguments].concat());
        done.refused(&[sentence]);
        assert!(!done.words.contains(&owner().secret()), "{done:?}");
    }
}

#[test]
fn the_command_line_speaks_https_to_whom_the_machine_trusts() {
    let (authority, folder) = (Authority::new(), Folder::new());
    authority.issue(&["localhost"]).write(folder.0.path());
    folder.write("root.pem", &authority.root);
    folder.write("key", owner().secret());
    let settings = format!("[admin]\nowners = [\"{}\"]", owner().hex());
    folder.write(
        "relay.toml",
        format!(
            "{settings}\n[tls]\nlisten = \"127.0.0.1:0\"\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n"
        ),
    );
    let mut serving = folder.serve(&[]);
    let wss = serving.says("plaza: listening on ");
    let port = wss.rsplit(':').next().expect("a port").trim().to_owned();
    let url = format!("https://localhost:{port}");
    let arguments = ["admin", "call", "stats", "--url", &url, "--key", "key"];
    let trusting = |file: &str| {
        let mut command = folder.command(&arguments);
        command.env("SSL_CERT_FILE", folder.path(file));
        common::folder::Done::of(command.output().expect("the program runs"))
    };
    let done = trusting("root.pem");
    assert!(done.code == 0 && done.data.contains("\"events\": 0"), "{done:?}");
    // Another authority's word counts for nothing.
    folder.write("other.pem", Authority::new().root);
    trusting("other.pem").refused(&["no TLS with localhost:"]);
    assert_eq!(serving.end("TERM"), 0);
}
