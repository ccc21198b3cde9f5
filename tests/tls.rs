//! Encrypted connections: sessions and pages over them, what is spoken, certificates that change under a running
//! relay, handshakes that do not end, and plain requests that are sent to https.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::authority::{Authority, NAME, TlsStream, connect, handshake};
use common::program::{PATIENCE, Program, plaza};
use common::{Client, NOW, Person, TestRelay};
use plaza::config::Config;
use serde_json::json;
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ALL_VERSIONS, HandshakeKind, SupportedProtocolVersion};

/// A relay with a certificate, and who made it.
struct Encrypted {
    relay: TestRelay,
    authority: Authority,
    _folder: TempDir,
}

impl Encrypted {
    fn start() -> Encrypted {
        Encrypted::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Encrypted {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
        authority.issue(&[NAME]).write(folder.path());
        let relay = TestRelay::with(|config| {
            config.tls.listen = "127.0.0.1:0".parse().ok();
            config.tls.certificate = Some(folder.path().join("cert.pem"));
            config.tls.key = Some(folder.path().join("key.pem"));
            change(config);
        });
        Encrypted { relay, authority, _folder: folder }
    }

    fn address(&self) -> SocketAddr {
        self.relay.relay().tls_addresses()[0]
    }

    fn connect(&self) -> Client {
        self.authority.connect(self.address())
    }

    fn stream(&self) -> TlsStream {
        handshake(&self.authority.client(), self.address(), NAME).expect("a handshake")
    }
}

/// What a server answers to a request, up to the end of the connection.
fn answer(mut stream: impl Read + Write, head: &str) -> String {
    let request = format!("{head}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the relay reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and an orderly end");
    answer
}

fn plain(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the relay accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

#[test]
fn sessions_over_tls_are_sessions_like_others() {
    let relay = Encrypted::start();
    let feed = [json!({"kinds": [1]})];
    let (mut over_tls, mut in_plain) = (relay.connect(), relay.relay.connect());
    for listener in [&mut over_tls, &mut in_plain] {
        assert_eq!(listener.request("feed", &feed).0, [""; 0]);
    }
    let notes = [Person::new(1).note("sent over tls"), Person::new(2).note("sent in plain")];
    relay.connect().publish_ok(&notes[0]);
    relay.relay.connect().publish_ok(&notes[1]);
    for listener in [&mut over_tls, &mut in_plain] {
        notes.iter().for_each(|note| assert_eq!(listener.receive()[2]["id"], note.id.to_string()));
    }
    // A key is proved to the address that the client is connected to.
    let url = format!("wss://localhost:{}", relay.address().port());
    over_tls.authenticate(&Person::new(1), &url, NOW);
}

#[test]
fn long_answers_arrive_whole_at_a_slow_reader() {
    const EVENTS: usize = 40;
    let relay = Encrypted::start();
    let mut client = relay.connect();
    let notes = (0..EVENTS).map(|number| {
        // What compresses or repeats would hide a piece that comes twice.
        let words: Vec<String> = (0..10_000).map(|word| format!("{number}.{word}")).collect();
        Person::new(1).event(1, NOW - number as u64, &[], &words.join(" "))
    });
    let notes: Vec<_> = notes.collect();
    notes.iter().for_each(|note| client.publish_ok(note));
    client.subscribe("all", &[json!({"kinds": [1]})]);
    // Long before it reads, the relay has filled what the sockets hold.
    relay.connect().publish_ok(&Person::new(2).event(7, NOW, &[], "+"));
    for note in &notes {
        let message = client.receive();
        assert_eq!(message[2]["content"], note.content);
    }
    assert_eq!(client.receive(), json!(["EOSE", "all", ["finish"]]));
}

#[test]
fn pages_over_tls_name_the_encrypted_address() {
    let relay = Encrypted::start();
    let page = answer(relay.stream(), &format!("GET / HTTP/1.1\r\nHost: {NAME}"));
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    assert!(page.contains(&format!("wss://{}", relay.address())), "{page}");
    let head = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nAccept: application/nostr+json");
    let document = answer(relay.stream(), &head);
    assert!(document.contains("\"supported_nips\""), "{document}");
}

/// A client by what it knows of TLS and what it offers to speak, and what is spoken.
type Case<'a> = (&'a str, &'a [&'static SupportedProtocolVersion], &'a [&'a [u8]], Option<&'a [u8]>);

#[test]
fn tls_is_1_2_or_1_3_and_speaks_http_1_1() {
    let relay = Encrypted::start();
    let cases: [Case<'_>; 6] = [
        ("TLS 1.2", &[&TLS12], &[], None),
        ("TLS 1.3", &[&TLS13], &[], None),
        ("HTTP/1.1", ALL_VERSIONS, &[b"http/1.1"], Some(b"http/1.1")),
        ("HTTP/2 if it can be had", ALL_VERSIONS, &[b"h2", b"http/1.1"], Some(b"http/1.1")),
        ("TLS 1.2, HTTP/1.1", &[&TLS12], &[b"http/1.1"], Some(b"http/1.1")),
        ("TLS 1.3, HTTP/1.1", &[&TLS13], &[b"http/1.1"], Some(b"http/1.1")),
    ];
    for (name, versions, protocols, spoken) in cases {
        let config = relay.authority.client_with(versions, protocols);
        let stream = handshake(&config, relay.address(), NAME).expect(name);
        assert_eq!(stream.conn.alpn_protocol(), spoken, "{name}");
        connect(&config, relay.address(), NAME).hears_nothing_more();
    }
    let only_http_2 = relay.authority.client_with(ALL_VERSIONS, &[b"h2"]);
    let refused = handshake(&only_http_2, relay.address(), NAME).expect_err("nothing in common");
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    let strangers = Authority::new().client();
    handshake(&strangers, relay.address(), NAME).expect_err("the client does not trust the authority");
    assert_eq!(hello_of_tls_1_1(relay.address())[..2], [0x15, 0x03], "an alert");
    relay.connect().hears_nothing_more();
}

/// What is answered to a client that knows TLS 1.1 at best (RFC 4346, section 7.4.1.2).
fn hello_of_tls_1_1(address: SocketAddr) -> Vec<u8> {
    let hello = [&[0x03, 0x02][..], &[7; 32], &[0], &[0, 4, 0xc0, 0x13, 0x00, 0x2f], &[1, 0]].concat();
    let length = u8::try_from(hello.len()).expect("a short hello");
    let record = [&[0x16, 0x03, 0x01, 0, length + 4, 0x01, 0, 0, length][..], &hello].concat();
    let mut stream = plain(address);
    stream.write_all(&record).expect("the relay reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer, and the end");
    answer
}

#[test]
fn who_comes_back_resumes() {
    let relay = Encrypted::start();
    let config = relay.authority.client();
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut stream = handshake(&config, relay.address(), NAME).expect("a handshake");
        assert_eq!(stream.conn.handshake_kind(), Some(kind));
        // What is needed to resume comes with the first answer.
        let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the relay reads");
        stream.read_exact(&mut [0; 100]).expect("an answer");
    }
}

#[test]
fn a_handshake_that_does_not_end_is_ended_and_counts_meanwhile() {
    let relay = Encrypted::with(|config| {
        config.server.http_header_seconds_max = 2;
        config.server.connections_max = 1;
    });
    let began = Instant::now();
    let mut silent = plain(relay.address());
    // There is no room for another one, encrypted or plain, until that one is let go.
    handshake(&relay.authority.client(), relay.address(), NAME).expect_err("no room");
    let mut refused = String::new();
    plain(relay.relay.relay().address()).read_to_string(&mut refused).expect("an answer to nothing");
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert_eq!(silent.read(&mut [0]).expect("it is closed"), 0);
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    // Its room is free a moment after it sees the end.
    while handshake(&relay.authority.client(), relay.address(), NAME).is_err() {
        assert!(began.elapsed() < PATIENCE, "there is room again");
    }
}

#[test]
fn a_stop_does_not_wait_for_handshakes_and_says_goodbye_over_tls() {
    let mut relay = Encrypted::start();
    let _silent = plain(relay.address());
    let mut client = relay.connect();
    let began = Instant::now();
    relay.relay.stop();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let goodbye = client.try_receive().expect("a close frame");
    assert!(goodbye.is_close(), "{goodbye:?}");
}

#[test]
fn plain_requests_by_name_are_sent_to_https() {
    let name = format!("GET /?rules HTTP/1.1\r\nHost: {NAME}:80");
    let relay = Encrypted::start();
    let address = relay.relay.relay().address();
    let moved = answer(plain(address), &name);
    assert!(moved.starts_with("HTTP/1.1 308 "), "{moved}");
    let location = format!("\r\nlocation: https://{NAME}:{}/?rules\r\n", relay.address().port());
    assert!(moved.contains(&location), "{moved}");
    assert!(moved.contains("\r\naccess-control-allow-origin: *\r\n"), "{moved}");
    // Who says no name means this port, and a preflight must not be sent elsewhere.
    let others = [
        (format!("GET / HTTP/1.1\r\nHost: {address}"), "200"),
        (format!("GET / HTTP/1.1\r\nHost: localhost:{}", address.port()), "200"),
        (format!("OPTIONS / HTTP/1.1\r\nHost: {NAME}"), "204"),
        (format!("GET /nowhere HTTP/1.1\r\nHost: {NAME}"), "404"),
    ];
    for (head, status) in others {
        let answered = answer(plain(address), &head);
        assert!(answered.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answered}");
    }
    let over_tls = answer(relay.stream(), &name);
    assert!(over_tls.starts_with("HTTP/1.1 200 "), "{over_tls}");
    // Sessions stay where they are.
    Client::connect_to(&address.to_string(), &format!("ws://{NAME}/")).hears_nothing_more();

    let unless: [fn(&mut Config); 2] = [
        |config| config.tls.redirect_http = false,
        |config| config.server.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")],
    ];
    for change in unless {
        let relay = Encrypted::with(change);
        let stayed = answer(plain(relay.relay.relay().address()), &name);
        assert!(stayed.starts_with("HTTP/1.1 200 "), "{stayed}");
    }
}

/// A folder with a relay.toml that names cert.pem and key.pem.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = "[server]\nlisten = \"127.0.0.1:0\"\n\
        [tls]\nlisten = \"127.0.0.1:0\"\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n";
    fs::write(folder.path().join("relay.toml"), settings).expect("a file");
    folder
}

/// The certificate that a relay shows.
fn shown(authority: &Authority, address: SocketAddr) -> CertificateDer<'static> {
    let stream = handshake(&authority.client(), address, NAME).expect("a handshake");
    stream.conn.peer_certificates().expect("certificates")[0].clone()
}

#[test]
fn a_new_certificate_is_taken_up_and_a_wrong_one_is_not() {
    let (authority, folder) = (Authority::new(), folder());
    let [first, second, third] = [(); 3].map(|()| authority.issue(&[NAME]));
    first.write(folder.path());
    let relay = Program::start(plaza(folder.path(), &[]));
    let address: SocketAddr = relay.says("plaza: listening on wss://").parse().expect("an address");
    let shown = || shown(&authority, address);
    assert_eq!(shown(), first.der());
    let mut early = authority.connect(address);

    second.write(folder.path());
    relay.says("the new certificate is in use");
    assert_eq!(shown(), second.der());

    // A certificate without its key, as when one of the files is late.
    fs::write(folder.path().join("cert.pem"), &third.certificate).expect("a file");
    let said = relay.says("name a certificate and its own private key");
    assert!(said.ends_with("the certificate of before stays in use"), "{said}");
    assert_eq!(shown(), second.der());
    fs::write(folder.path().join("key.pem"), &third.key).expect("a file");
    relay.says("the new certificate is in use");
    assert_eq!(shown(), third.der());

    fs::remove_file(folder.path().join("key.pem")).expect("it was there");
    relay.says("cannot be read");
    assert_eq!(shown(), third.der());
    // Who is connected notices nothing of all that.
    early.hears_nothing_more();
}

#[test]
fn files_of_other_names_are_taken_up_when_the_settings_name_them() {
    let (authority, folder) = (Authority::new(), folder());
    let [first, second] = [(); 2].map(|()| authority.issue(&[NAME]));
    first.write(folder.path());
    let relay = Program::start(plaza(folder.path(), &[]));
    let address: SocketAddr = relay.says("plaza: listening on wss://").parse().expect("an address");
    let shown = || shown(&authority, address);
    fs::write(folder.path().join("new.pem"), &second.certificate).expect("a file");
    fs::write(folder.path().join("new-key.pem"), &second.key).expect("a file");
    let rename = |certificate: &str, key: &str| {
        let path = folder.path().join("relay.toml");
        let settings = fs::read_to_string(&path).expect("a file");
        let settings = settings.replace("\"cert.pem\"", certificate).replace("\"key.pem\"", key);
        fs::write(path, settings).expect("a file");
        relay.signal("HUP");
    };
    // A certificate with the key of another one is told, and the one of before stays.
    rename("\"new.pem\"", "\"key.pem\"");
    let said = relay.says("name a certificate and its own private key");
    assert!(said.ends_with("the certificate of before stays in use"), "{said}");
    assert_eq!(shown(), first.der());
    rename("", "\"new-key.pem\"");
    relay.says("the new certificate is in use");
    assert_eq!(shown(), second.der());
}

#[test]
fn a_certificate_that_is_of_no_use_stops_the_start_with_what_to_do() {
    let authority = Authority::new();
    let [own, other] = [(); 2].map(|()| authority.issue(&[NAME]));
    let (certificate, key) = (own.certificate.as_str(), own.key.as_str());
    let cases = [
        (
            None,
            Some(key),
            "cert.pem: there is no such file, and tls.certificate names it; name the right path",
        ),
        (
            Some(certificate),
            None,
            "key.pem: there is no such file, and tls.key names it; name the right path",
        ),
        (
            Some(key),
            Some(key),
            "cert.pem: there is no certificate in it (PEM); name the file of the certificate in tls.certificate",
        ),
        (
            Some(certificate),
            Some(certificate),
            "key.pem: there is no private key in it (PEM); name the file of the private key in tls.key",
        ),
        (Some(""), Some(key), "cert.pem: there is no certificate in it (PEM)"),
        (
            Some("-----BEGIN CERTIFICATE-----\n?\n"),
            Some(key),
            "cert.pem: there is no certificate in it (PEM)",
        ),
        (Some(certificate), Some(other.key.as_str()), "name a certificate and its own private key"),
    ];
    for (certificate, key, said) in cases {
        let folder = folder();
        for (name, text) in [("cert.pem", certificate), ("key.pem", key)] {
            text.iter().for_each(|text| fs::write(folder.path().join(name), text).expect("a file"));
        }
        let mut relay = Program::start(plaza(folder.path(), &[]));
        relay.says(said);
        assert!(!relay.wait().success(), "{said}");
    }
}
