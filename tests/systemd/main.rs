//! The relay under systemd. The test plays it: it holds the socket, passes it on, hears that the relay is
//! ready, alive and stopping, and restarts it under clients of whom none is turned away. `real`: the units themselves.

#[path = "../common/mod.rs"]
mod common;
mod real;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::authority::{Authority, NAME};
use common::program::{PATIENCE, Program, listening, plaza, plaza_with, tool};
use common::{Client, NOW, Person, json_of};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};

/// After how long the relay counts as dead, in microseconds.
const WATCHDOG_MICROSECONDS: &str = "300000";

/// A service manager with one service and its socket.
struct Manager {
    folder: TempDir,
    socket: [OwnedFd; 1],
    address: SocketAddr,
    notified: UnixDatagram,
}

impl Manager {
    fn new() -> Manager {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("relay.toml"), "[rate]\nenabled = false\n").expect("a file");
        let notified = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        notified.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (socket, address) = listening();
        Manager { folder, socket: [socket], address, notified }
    }

    fn start(&self) -> Program {
        let mut command = plaza_with(&self.socket, self.folder.path(), &[]);
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command.env("WATCHDOG_USEC", WATCHDOG_MICROSECONDS);
        Program::start(command)
    }

    /// The next message of the service, a line each.
    fn hears(&self) -> Vec<String> {
        let mut message = [0; 4_096];
        let bytes = self.notified.recv(&mut message).expect("the service says something");
        let text = std::str::from_utf8(&message[..bytes]).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for a message with this line; returns all of it.
    fn awaits(&self, line: &str) -> Vec<String> {
        loop {
            let message = self.hears();
            if message.iter().any(|said| said == line) {
                return message;
            }
        }
    }

    fn url(&self) -> String {
        format!("ws://{}", self.address)
    }
}

#[test]
fn systemd_hears_that_the_relay_is_ready_alive_and_stopping() {
    let manager = Manager::new();
    let mut relay = manager.start();
    assert_eq!(manager.hears(), ["READY=1", "STATUS=Serving: 0 events, 0 connections"]);
    let mut client = Client::connect(&manager.url());
    client.publish_ok(&Person::new(1).note("hello"));
    let said = "STATUS=Serving: 1 event, 1 connection".to_owned();
    while manager.awaits("WATCHDOG=1")[1] != said {}
    // It goes on for as long as the relay lives.
    for _ in 0..5 {
        assert_eq!(manager.hears(), ["WATCHDOG=1".to_owned(), said.clone()]);
    }
    relay.signal("TERM");
    manager.awaits("STOPPING=1");
    assert!(relay.wait().success());
}

/// A raw handshake, so that what comes after can be told apart.
fn request(address: SocketAddr) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

#[test]
fn who_connects_while_the_relay_is_down_is_served_when_it_is_back() {
    let manager = Manager::new();
    let mut first = manager.start();
    manager.awaits("READY=1");
    first.stop();
    let waiting = (0..20).map(|_| {
        let mut stream = TcpStream::connect(manager.address).expect("the socket is open");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(request(manager.address).as_bytes()).expect("the kernel takes it");
        stream
    });
    let waiting: Vec<TcpStream> = waiting.collect();
    let _second = manager.start();
    for mut stream in waiting {
        let mut answer = Vec::new();
        while !answer.windows(8).any(|part| part == b"[\"AUTH\",") {
            let mut piece = [0; 1_024];
            let bytes = stream.read(&mut piece).expect("an answer");
            assert!(bytes > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&piece[..bytes]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    }
}

/// How a client's visit ended.
#[derive(Debug, PartialEq)]
enum Visit {
    /// Its event was stored, and it read it again.
    Served,
    /// It was told that the relay is stopping, and may come back.
    ToldToComeBack,
}

/// Connects, publishes a note and reads it. Panics when the relay does not keep to its word.
fn visit(address: SocketAddr, person: &Person, number: u32) -> Visit {
    let stream = TcpStream::connect(address).expect("nobody is turned away");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let (mut socket, _) =
        tungstenite::client(format!("ws://{address}"), stream).expect("every handshake is answered");
    let note = person.event(1, NOW, &[], &format!("visit {number}"));
    let (event, id) = (json_of(&note), note.id.to_string());
    let messages = [json!(["EVENT", event]), json!(["REQ", "mine", {"ids": [id]}])];
    // A relay that is stopping says so; what is sent to it meanwhile may find no reader.
    let _ = messages.iter().try_for_each(|message| socket.send(Message::text(message.to_string())));
    let mut stored = false;
    loop {
        match socket.read().expect("the relay says why it closes") {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).expect("JSON");
                match message[0].as_str() {
                    Some("OK") => stored = message[2] == true,
                    Some("EVENT") if stored => return Visit::Served,
                    // The REQ may overtake the event on its way to the disk: then it comes live.
                    Some("AUTH" | "EOSE") => {}
                    _ => panic!("{message} was not awaited"),
                }
            }
            Message::Close(Some(frame)) if frame.code == CloseCode::Away => return Visit::ToldToComeBack,
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?} was not awaited"),
        }
    }
}

#[test]
fn nobody_is_turned_away_while_the_relay_restarts() {
    const CLIENTS: u32 = 4;
    const RESTARTS: u32 = 5;
    let manager = Manager::new();
    let mut relay = manager.start();
    manager.awaits("READY=1");
    let (is_over, served, told) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (address, person) = (manager.address, Person::new(number));
            let (is_over, served, told) = (&is_over, &served, &told);
            scope.spawn(move || {
                for visits in 0.. {
                    match visit(address, &person, visits) {
                        Visit::Served => served.fetch_add(1, Ordering::SeqCst),
                        Visit::ToldToComeBack => told.fetch_add(1, Ordering::SeqCst),
                    };
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                }
            });
        }
        for _ in 0..RESTARTS {
            let (began, enough) = (Instant::now(), served.load(Ordering::SeqCst) + 20);
            while served.load(Ordering::SeqCst) < enough {
                assert!(began.elapsed() < PATIENCE, "clients are served");
                std::thread::sleep(Duration::from_millis(1));
            }
            relay.stop();
            relay = manager.start();
            manager.awaits("READY=1");
        }
        is_over.store(true, Ordering::SeqCst);
    });
    println!("{} visits were served, {} were told to come back", served.into_inner(), told.into_inner());
}

#[test]
fn a_socket_named_tls_is_for_encrypted_connections() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    authority.issue(&[NAME]).write(folder.path());
    let (plain, tls) = (listening(), listening());
    let start = |settings: &str| {
        fs::write(folder.path().join("relay.toml"), settings).expect("a file");
        let copies = [&tls.0, &plain.0].map(|socket| socket.try_clone().expect("a descriptor"));
        let mut command = plaza_with(&copies, folder.path(), &[]);
        command.env("LISTEN_FDNAMES", "tls:plaza.socket");
        Program::start(command)
    };
    let mut relay = start("[tls]\nlisten = \"0.0.0.0:443\"\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n");
    assert_eq!(relay.says("plaza: listening on ws://"), plain.1.to_string());
    assert_eq!(relay.says("plaza: listening on wss://"), tls.1.to_string());
    authority.connect(tls.1).hears_nothing_more();
    Client::connect(&format!("ws://{}", plain.1)).hears_nothing_more();
    relay.stop();

    let mut relay = start("");
    relay.says("set tls.listen and a certificate, or disable plaza-tls.socket");
    assert!(!relay.wait().success());
}

#[test]
fn a_socket_that_is_none_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = fs::File::create(folder.path().join("file")).expect("a file");
    let mut relay = Program::start(plaza_with(&[file.into()], folder.path(), &[]));
    let said = relay.says("plaza: systemd passed a socket that cannot be used: ");
    assert!(said.ends_with("in plaza.socket, ListenStream= is an address and a port"), "{said}");
    assert!(!relay.wait().success());
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = plaza(folder.path(), &["--listen", "127.0.0.1:0"]);
    command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let mut relay = Program::start(command);
    let address = relay.says("plaza: listening on ws://");
    Client::connect(&format!("ws://{address}"));
    relay.stop();
}

#[test]
fn the_units_are_right() {
    let Some(analyze) = tool("systemd-analyze") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let units = ["plaza.service", "plaza.socket", "plaza-tls.socket"].map(|name| {
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name);
        let text = fs::read_to_string(unit).expect("a unit");
        // The program is not installed here.
        let text = text.replace("/usr/local/bin/plaza", env!("CARGO_BIN_EXE_plaza"));
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    });
    let output = Command::new(analyze).arg("verify").args(&units).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let about_ours: Vec<&str> = said.lines().filter(|line| line.contains("plaza")).collect();
    assert!(output.status.success() && about_ours.is_empty(), "{said}");
}
