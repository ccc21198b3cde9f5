//! An idle connection holds next to nothing: memory of the real program with a thousand connections that wait for
//! live events, before and after each has had a long answer, in plain and encrypted.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use common::authority::{Authority, NAME, handshake};
use common::{Client, NOW, Person};
use tempfile::TempDir;

const CONNECTIONS: usize = 1_000;

/// Bytes of anonymous memory that a connection with one subscription may take.
const CONNECTION_BYTES_MAX: u64 = 5_000;

/// The same of an encrypted one: its keys and the state of its session come on top.
const TLS_CONNECTION_BYTES_MAX: u64 = 12_000;

/// Events of one answer, and bytes of the content of each: together about 50 KB.
const EVENTS: usize = 50;
const CONTENT_BYTES: usize = 700;

/// A running relay; ends with this value.
struct Running {
    process: Child,
    address: String,
    tls_address: SocketAddr,
    authority: Authority,
    _folder: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Running {
    fn start() -> Running {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new();
        authority.issue(&[NAME]).write(folder.path());
        let settings = "[rate]\nenabled = false\n[tls]\nlisten = \"127.0.0.1:0\"\n\
            certificate = \"cert.pem\"\nkey = \"key.pem\"\n";
        std::fs::write(folder.path().join("relay.toml"), settings).expect("a file");
        let mut process = Command::new(env!("CARGO_BIN_EXE_plaza"))
            .args(["run", "--listen", "127.0.0.1:0"])
            .current_dir(folder.path())
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let lines = BufReader::new(process.stderr.take().expect("its errors")).lines();
        let mut lines = lines.map(|line| line.expect("text"));
        let mut listens = |at: &str| lines.find_map(|line| line.strip_prefix(at).map(str::to_owned));
        let address = listens("plaza: listening on ws://").expect("it starts");
        let tls_address = listens("plaza: listening on wss://").expect("it starts");
        // What it says later is read too, so that it is never kept from saying it.
        std::thread::spawn(move || lines.for_each(drop));
        let tls_address = tls_address.parse().expect("an address");
        Running { process, address, tls_address, authority, _folder: folder }
    }

    fn anonymous_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("/proc");
        let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
        1_024 * anonymous.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number")
    }
}

/// Sends a text as one frame; its mask is 0.
fn say(stream: &mut impl Write, text: &str) {
    let length = u8::try_from(text.len()).expect("a short text");
    let head = if length < 126 { vec![0x81, 0x80 | length] } else { vec![0x81, 0x80 | 126, 0, length] };
    let frame = [&head, &[0; 4][..], text.as_bytes()].concat();
    stream.write_all(&frame).expect("the relay reads");
}

/// Reads until what has come ends with this; returns how many bytes came.
fn read_until(stream: &mut impl Read, end: &str) -> usize {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let before = read.len();
        read.resize(before + 65_536, 0);
        let bytes = stream.read(&mut read[before..]).expect("the relay writes");
        assert!(bytes > 0, "the relay closed the connection");
        read.truncate(before + bytes);
    }
    read.len()
}

fn subscribed<S: Read + Write>(mut stream: S, author: &str, headers: &str) -> S {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).expect("the relay reads");
    say(&mut stream, &format!(r#"["REQ","feed",{{"authors":["{author}"],"kinds":[1]}}]"#));
    read_until(&mut stream, r#"["EOSE","feed",["finish"]]"#);
    stream
}

/// Bytes that each of a thousand connections takes, before and after a long answer.
fn measure<S: Read + Write>(name: &str, headers: &str, connect: impl Fn(&Running) -> S) -> [u64; 2] {
    rlimit::increase_nofile_limit(2 * CONNECTIONS as u64 + 128).expect("a limit");
    let relay = Running::start();
    let mut publisher = Client::connect(&format!("ws://{}", relay.address));
    for number in 0..EVENTS {
        let content = format!("{number} {}", "x".repeat(CONTENT_BYTES));
        publisher.publish_ok(&Person::new(1).event(
            30_023,
            NOW - 90_000_000,
            &[&["d", &content[..2]]],
            &content,
        ));
    }
    let before = relay.anonymous_bytes();
    let each = |relay: &Running| relay.anonymous_bytes().saturating_sub(before) / CONNECTIONS as u64;
    let author = |number: usize| format!("{number:064x}");
    let mut streams: Vec<S> =
        (0..CONNECTIONS).map(|number| subscribed(connect(&relay), &author(number), headers)).collect();
    let idle = each(&relay);
    let mut answered = 0;
    for some in streams.chunks_mut(100) {
        some.iter_mut().for_each(|stream| say(stream, r#"["REQ","long",{"kinds":[30023]}]"#));
        for stream in some {
            answered += read_until(stream, r#"["EOSE","long",["finish"]]"#);
            say(stream, r#"["CLOSE","long"]"#);
        }
    }
    // Who has an answer to this has had its CLOSE heard.
    for stream in &mut streams {
        say(stream, r#"["COUNT","after",{"ids":[]}]"#);
        read_until(stream, r#"["COUNT","after",{"count":0}]"#);
    }
    let after = each(&relay);
    let answered = answered / CONNECTIONS;
    println!("{name}: an idle connection takes {idle} bytes, and {after} after an answer of {answered}");
    let is_compressed = !headers.is_empty();
    assert!(
        if is_compressed { (8_000..25_000).contains(&answered) } else { answered > 48_000 },
        "{answered}"
    );
    [idle, after]
}

#[test]
fn an_idle_connection_holds_next_to_nothing() {
    let plain = measure("plain", "", |relay| TcpStream::connect(&relay.address).expect("the relay accepts"));
    assert!(plain.iter().all(|bytes| *bytes <= CONNECTION_BYTES_MAX), "{plain:?}");
}

#[test]
fn an_idle_connection_that_compresses_holds_no_more() {
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let packed =
        measure("compressed", offer, |relay| TcpStream::connect(&relay.address).expect("the relay accepts"));
    assert!(packed.iter().all(|bytes| *bytes <= CONNECTION_BYTES_MAX), "{packed:?}");
}

#[test]
fn an_idle_encrypted_connection_holds_little() {
    let encrypted = measure("encrypted", "", |relay| {
        handshake(&relay.authority.client(), relay.tls_address, NAME).expect("a handshake")
    });
    assert!(encrypted.iter().all(|bytes| *bytes <= TLS_CONNECTION_BYTES_MAX), "{encrypted:?}");
}
