//! HTTP that is wrong, or made to mean two things: what is sent, and which answers come until the connection ends.
//! Where one stays open, the last request of its row says `Connection: close`.

use crate::house::House;
use crate::raw::Raw;

/// The last request of a row.
const LAST: &str = "GET /health HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n";

/// What would be answered with 404 if it were taken for a request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n";

/// The statuses of all answers until the end.
fn statuses(mut raw: Raw, sent: &[u8]) -> Vec<u16> {
    // A relay that has heard enough need not read the rest.
    let _ = std::io::Write::write_all(&mut raw.stream, sent);
    let answers = String::from_utf8_lossy(&raw.rest()).into_owned();
    // Sentences that are answered may name the protocol too.
    let statuses = answers.split("HTTP/1.1 ").skip(1);
    statuses.filter_map(|answer| answer.get(..3)?.parse().ok()).collect()
}

/// A row: what it is, what is sent, and the answers that may come.
type Row<'a> = (&'a str, Vec<u8>, &'a [u16]);

fn play(house: &House, rows: &[Row<'_>]) {
    for (what, sent, answers) in rows {
        assert_eq!(statuses(house.knock(), sent), *answers, "{what}");
    }
}

/// A request for `/health` with these headers, and one more.
fn get(headers: &str) -> Vec<u8> {
    format!("GET /health HTTP/1.1\r\n{headers}\r\n{LAST}").into_bytes()
}

/// A call of the management API with these headers and this body: 401 when its body was read to its end.
fn call(headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST / HTTP/1.1\r\nHost: relay\r\nContent-Type: application/nostr+json+rpc\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

#[test]
fn requests_that_mean_two_things_are_taken_for_one_or_refused() {
    let house = House::start("");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let hidden = HIDDEN.len();
    let rows: Vec<Row<'_>> = vec![
        ("an honest one", get("Host: relay\r\n"), &[200, 200]),
        (
            "a length and chunks",
            call(&format!("Content-Length: 5\r\n{chunked}"), &format!("0\r\n\r\n{HIDDEN}")),
            &[401],
        ),
        (
            "chunks and a length",
            call(&format!("{chunked}Content-Length: 5\r\n"), &format!("0\r\n\r\n{HIDDEN}")),
            &[401],
        ),
        (
            "a request in a body",
            call(&format!("Content-Length: {hidden}\r\n"), &format!("{HIDDEN}{LAST}")),
            &[401, 200],
        ),
        ("two lengths", call("Content-Length: 0\r\nContent-Length: 5\r\n", HIDDEN), &[400]),
        (
            "two lengths that agree",
            call("Content-Length: 2\r\nContent-Length: 2\r\n", &format!("{{}}{LAST}")),
            &[401, 200],
        ),
        ("a list of lengths", call("Content-Length: 0, 5\r\n", HIDDEN), &[400]),
        ("a length with a sign", call("Content-Length: +5\r\n", HIDDEN), &[400]),
        ("a negative length", call("Content-Length: -1\r\n", HIDDEN), &[400]),
        ("a length in hex", call("Content-Length: 0x2\r\n", HIDDEN), &[400]),
        ("a length beyond all", call("Content-Length: 18446744073709551616\r\n", HIDDEN), &[400]),
        ("no length", call("Content-Length: \r\n", HIDDEN), &[400]),
        ("chunks by another name", call("Transfer-Encoding: xchunked\r\n", HIDDEN), &[400]),
        ("chunks, then something else", call("Transfer-Encoding: chunked, identity\r\n", HIDDEN), &[400]),
        ("no encoding", call("Transfer-Encoding: identity\r\n", HIDDEN), &[400]),
        ("chunks with a control character", call("Transfer-Encoding: \x0bchunked\r\n", HIDDEN), &[400]),
        (
            "chunks of HTTP/1.0",
            format!("POST / HTTP/1.0\r\nHost: relay\r\n{chunked}\r\n0\r\n\r\n{HIDDEN}").into_bytes(),
            &[400],
        ),
        (
            "a chunk with an extension",
            call(chunked, &format!("2;a=b\r\n{{}}\r\n0\r\n\r\n{LAST}")),
            &[401, 200],
        ),
        ("a trailer", call(chunked, &format!("2\r\n{{}}\r\n0\r\nA: b\r\n\r\n{LAST}")), &[401, 200]),
        ("a chunk of no size", call(chunked, &format!("zz\r\n{{}}\r\n0\r\n\r\n{HIDDEN}")), &[400]),
        (
            "a chunk beyond all sizes",
            call(chunked, &format!("fffffffffffffffff\r\n{{}}\r\n{HIDDEN}")),
            &[400],
        ),
        ("a chunk that does not end", call(chunked, &format!("1\r\n{{}}\r\n0\r\n\r\n{HIDDEN}")), &[400]),
        ("words behind a body", call("Content-Length: 2\r\n", "{}and more\r\n\r\n"), &[401, 400]),
        ("a folded header", get("Host: relay\r\nA: b\r\n c\r\n"), &[400]),
        ("a folded first header", get(" Host: relay\r\nA: b\r\n"), &[400]),
        ("a space before the colon", get("Host : relay\r\n"), &[400]),
        ("a space in a name", get("Host: relay\r\nContent Length: 5\r\n"), &[400]),
        ("no name", get("Host: relay\r\n: b\r\n"), &[400]),
        ("no colon", get("Host: relay\r\nHello\r\n"), &[400]),
        ("NUL in a value", get("Host: relay\r\nA: b\0c\r\n"), &[400]),
        ("NUL in a name", get("Host: relay\r\nA\0: b\r\n"), &[400]),
        ("a bare CR", get("Host: relay\r\nA: b\rc\r\n"), &[400]),
        // A line may end so (RFC 9112, section 2.2), and all of it is one request.
        ("bare LFs", format!("GET /health HTTP/1.1\nHost: relay\n\n{LAST}").into_bytes(), &[200, 200]),
        ("an empty line before", format!("\r\n{LAST}").into_bytes(), &[200]),
        (
            "a thousand at once",
            [&b"GET /health HTTP/1.1\r\nHost: relay\r\n\r\n".repeat(999)[..], LAST.as_bytes()].concat(),
            &[200; 1_000],
        ),
    ];
    play(&house, &rows);
    house.stands();
}

#[test]
fn hosts_and_targets_name_one_relay() {
    let house = House::start("");
    let line = |line: &str, headers: &str| format!("{line}\r\n{headers}\r\n{LAST}").into_bytes();
    let long_host = format!("Host: {}\r\n", "a".repeat(5_000));
    let long_path = |bytes: usize| line(&format!("GET /{} HTTP/1.1", "a".repeat(bytes)), "Host: relay\r\n");
    let rows: Vec<Row<'_>> = vec![
        ("no Host", get(""), &[400]),
        ("two Hosts", get("Host: relay\r\nHost: relay\r\n"), &[400]),
        ("an empty Host", get("Host:\r\n"), &[200, 200]),
        ("a Host of spaces", get("Host: a b\r\n"), &[200, 200]),
        (
            "a Host that is no text",
            [&b"GET /health HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n"[..], LAST.as_bytes()].concat(),
            &[200, 200],
        ),
        ("a long Host", get(&long_host), &[200, 200]),
        ("a Host with a path", get("Host: relay/../etc\r\n"), &[200, 200]),
        ("a Host in brackets", get("Host: [::1]:7777\r\n"), &[200, 200]),
        ("a Host in half a bracket", get("Host: [::1\r\n"), &[200, 200]),
        ("a Host with many colons", get("Host: a:b:c:\r\n"), &[200, 200]),
        ("a whole address", line("GET http://relay/health HTTP/1.1", "Host: RELAY\r\n"), &[200, 200]),
        (
            "a whole address of another",
            line("GET http://evil.example/health HTTP/1.1", "Host: relay\r\n"),
            &[400],
        ),
        (
            "with a name before it",
            line("GET http://relay@evil.example/health HTTP/1.1", "Host: relay\r\n"),
            &[400],
        ),
        ("a tunnel", line("CONNECT evil.example:443 HTTP/1.1", "Host: evil.example:443\r\n"), &[404, 200]),
        ("all of it", line("OPTIONS * HTTP/1.1", "Host: relay\r\n"), &[404, 200]),
        ("a trace", line("TRACE / HTTP/1.1", "Host: relay\r\n"), &[405, 200]),
        ("a small verb", line("get / HTTP/1.1", "Host: relay\r\n"), &[405, 200]),
        ("a verb of one's own", line("BREW / HTTP/1.1", "Host: relay\r\n"), &[405, 200]),
        ("no verb", line(" / HTTP/1.1", "Host: relay\r\n"), &[400]),
        ("a verb with a bracket", line("GE(T / HTTP/1.1", "Host: relay\r\n"), &[400]),
        ("two targets", line("GET / / HTTP/1.1", "Host: relay\r\n"), &[400]),
        ("no target", line("GET HTTP/1.1", "Host: relay\r\n"), &[400]),
        ("NUL in a target", line("GET /\0 HTTP/1.1", "Host: relay\r\n"), &[400]),
        ("a target above all", line("GET /../../etc/passwd HTTP/1.1", "Host: relay\r\n"), &[404, 200]),
        (
            "the same in disguise",
            line("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1", "Host: relay\r\n"),
            &[404, 200],
        ),
        ("NUL in disguise", line("GET /%00 HTTP/1.1", "Host: relay\r\n"), &[404, 200]),
        ("many slashes", line("GET //////// HTTP/1.1", "Host: relay\r\n"), &[404, 200]),
        ("a long path", long_path(8_000), &[404, 200]),
        ("a longer one", long_path(30_000), &[404, 200]),
        ("too long a path", long_path(40_000), &[431]),
        ("a path beyond all", long_path(1_000_000), &[431]),
    ];
    play(&house, &rows);
    house.stands();
}

#[test]
fn versions_and_heads_have_bounds() {
    let house = House::start("");
    let headers = |count: usize| (0..count).map(|number| format!("A{number}: b\r\n")).collect::<String>();
    let version = |version: &str| format!("GET /health {version}\r\nHost: relay\r\n\r\n").into_bytes();
    let long = |bytes: usize| get(&format!("Host: relay\r\nA: {}\r\n", "b".repeat(bytes)));
    let rows: Vec<Row<'_>> = vec![
        ("HTTP/1.0", version("HTTP/1.0"), &[]),
        ("HTTP/0.9", b"GET /health\r\n".to_vec(), &[400]),
        ("HTTP/1.2", version("HTTP/1.2"), &[400]),
        ("HTTP/2.0", version("HTTP/2.0"), &[400]),
        ("HTTP/3", version("HTTP/3"), &[400]),
        ("HTTP by another name", version("HTCPCP/1.0"), &[400]),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), &[]),
        (
            "TLS on the plain port",
            [&b"\x16\x03\x01\x00\xf0\x01\x00\x00\xec\x03\x03"[..], &[7; 229]].concat(),
            &[400],
        ),
        ("an SSH greeting", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), &[400]),
        ("100 headers", get(&format!("Host: relay\r\n{}", headers(99))), &[200, 200]),
        ("101 headers", get(&format!("Host: relay\r\n{}", headers(100))), &[431]),
        ("10,000 headers", get(&format!("Host: relay\r\n{}", headers(10_000))), &[431]),
        ("a long header", long(20_000), &[200, 200]),
        ("too long a header", long(40_000), &[431]),
        ("a header beyond all", long(4_000_000), &[431]),
        (
            "random bytes",
            (0..1_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
            &[400],
        ),
    ];
    for (what, sent, answers) in &rows {
        if *what == "HTTP/1.0" {
            let mut raw = house.knock();
            raw.send(sent);
            let answer = String::from_utf8_lossy(&raw.rest()).into_owned();
            assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
        } else {
            assert_eq!(statuses(house.knock(), sent), *answers, "{what}");
        }
    }
    house.stands();
}

/// A handshake with these headers in the place of the honest ones.
fn handshake(line: &str, changes: &[(&str, &str)], body: &str) -> Vec<u8> {
    let honest = [
        ("Host", "relay"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let mut head = format!("{line}\r\n");
    for (name, value) in honest {
        if !changes.iter().any(|(other, _)| *other == name) {
            head += &format!("{name}: {value}\r\n");
        }
    }
    for (name, value) in changes.iter().filter(|(_, value)| *value != "-") {
        head += &format!("{name}: {value}\r\n");
    }
    format!("{head}\r\n{body}").into_bytes()
}

#[test]
fn handshakes_are_as_the_protocol_has_them_or_told_what_is_wrong() {
    let house = House::start("");
    const LINE: &str = "GET / HTTP/1.1";
    let key = |key| [("Sec-WebSocket-Key", key)];
    let rows: Vec<(&str, Vec<u8>, u16)> = vec![
        ("an honest one", handshake(LINE, &[], ""), 101),
        (
            "in capitals",
            handshake(LINE, &[("Upgrade", "WebSocket"), ("Connection", "keep-alive, UPGRADE")], ""),
            101,
        ),
        ("several upgrades", handshake(LINE, &[("Upgrade", "h2c, websocket")], ""), 101),
        ("any origin", handshake(LINE, &[("Origin", "https://evil.example")], ""), 101),
        ("an origin of nobody", handshake(LINE, &[("Origin", "null")], ""), 101),
        ("no key", handshake(LINE, &key("-"), ""), 400),
        ("an empty key", handshake(LINE, &key(""), ""), 400),
        ("a short key", handshake(LINE, &key("dGhlIHNhbXBsZSBub25j"), ""), 400),
        ("a key of 15 bytes", handshake(LINE, &key("dGhlIHNhbXBsZSBub25j"), ""), 400),
        ("a key of 17 bytes", handshake(LINE, &key("dGhlIHNhbXBsZSBub25jZSE="), ""), 400),
        ("a long key", handshake(LINE, &key(&"dGhlIHNhbXBsZSBub25jZQ==".repeat(100)), ""), 400),
        ("a key that is no base64", handshake(LINE, &key("!!!!!!!!!!!!!!!!!!!!!!=="), ""), 400),
        ("no version", handshake(LINE, &[("Sec-WebSocket-Version", "-")], ""), 426),
        ("version 8", handshake(LINE, &[("Sec-WebSocket-Version", "8")], ""), 426),
        ("version 13 and 8", handshake(LINE, &[("Sec-WebSocket-Version", "13, 8")], ""), 426),
        ("no number", handshake(LINE, &[("Sec-WebSocket-Version", "x")], ""), 426),
        ("no upgrade", handshake(LINE, &[("Upgrade", "-")], ""), 200),
        ("an upgrade to something else", handshake(LINE, &[("Upgrade", "h2c")], ""), 200),
        ("an upgrade that is not asked for", handshake(LINE, &[("Connection", "keep-alive")], ""), 200),
        ("HTTP/1.0", handshake("GET / HTTP/1.0", &[], ""), 400),
        ("POST", handshake("POST / HTTP/1.1", &[], ""), 400),
        ("a path of nobody", handshake("GET /nowhere HTTP/1.1", &[], ""), 404),
        ("no Host", handshake(LINE, &[("Host", "-")], ""), 400),
        ("a body", handshake(LINE, &[("Content-Length", "5")], "hello"), 400),
        ("a body in chunks", handshake(LINE, &[("Transfer-Encoding", "chunked")], "0\r\n\r\n"), 400),
    ];
    for (what, sent, status) in rows {
        let mut raw = house.knock();
        raw.send(&sent);
        let head = raw.head();
        let said = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        assert_eq!(said, Some(status), "{what}: {head}");
        let names_version = head.to_ascii_lowercase().contains("\r\nsec-websocket-version: 13\r\n");
        assert_eq!(names_version, status == 426, "{what}: {head}");
        if status == 101 {
            assert_eq!(raw.message()[0], "AUTH", "{what}");
            raw.works();
        }
    }
    house.stands();
}

#[test]
fn what_follows_a_handshake_at_once_is_spoken_to_the_session() {
    let house = House::start("");
    let honest = handshake("GET / HTTP/1.1", &[], "");
    let mut early = house.knock();
    early.send(&[honest.clone(), crate::raw::text(r#"["COUNT","early",{"ids":[]}]"#)].concat());
    assert_eq!(early.status(), 101);
    assert_eq!(early.message()[0], "AUTH");
    assert_eq!(early.message()[1], "early");
    early.works();
    drop(early);
    // No second request is answered behind the first: it is no frame.
    let mut raw = house.knock();
    raw.send(&[honest, HIDDEN.as_bytes().to_vec()].concat());
    assert_eq!(raw.status(), 101);
    assert_eq!(raw.message()[0], "AUTH");
    assert_eq!(raw.closed(), 1002);
    drop(raw);
    house.stands();
}

#[test]
fn who_takes_no_answers_is_let_go() {
    let house = House::start("[server]\nhttp_header_seconds_max = 1\nwrite_timeout_seconds = 1");
    let page = b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n".repeat(200);
    let mut deaf = house.knock();
    deaf.says_until_it_is_let_go(&page);
    drop(deaf);
    house.stands();
}
