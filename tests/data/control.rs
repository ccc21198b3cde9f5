//! The control socket: who can open it, what it answers to what it does not know, and when it is there.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};

use serde_json::{Value, json};

use super::common::Client;
use super::{notes, serve, succeed};

/// Says a line to the socket; its answer.
fn ask(stream: &mut UnixStream, line: &str) -> Value {
    stream.write_all(format!("{line}\n").as_bytes()).expect("the relay reads");
    hear(stream)
}

/// What it says next.
fn hear(stream: &mut UnixStream) -> Value {
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("the relay answers");
    serde_json::from_str(&answer).expect("JSON")
}

#[test]
fn only_its_owner_can_open_it_and_it_is_there_while_the_relay_runs() {
    let (folder, relay) = serve("");
    let path = folder.path("data/control.sock");
    let metadata = fs::metadata(&path).expect("the socket is there");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert!(!folder.path("data/control.new").exists());
    assert_eq!(relay.end("TERM"), 0);
    assert!(!path.exists(), "it is removed at a stop");

    // One that is left over is nobody's, and replaced.
    drop(UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists());
    succeed(&folder, &["stats"]);
    let relay = folder.serve(&[]);
    assert!(
        ask(&mut UnixStream::connect(&path).expect("a relay"), r#"{"command":"stats"}"#)["stats"].is_object()
    );
    assert_eq!(relay.end("TERM"), 0);
}

#[test]
fn what_it_does_not_know_is_refused_and_the_next_command_followed() {
    let (folder, relay) = serve("");
    let mut stream = UnixStream::connect(folder.path("data/control.sock")).expect("a relay");
    for line in ["", "hello", "[]", "{}", r#"{"command":"stop"}"#, r#"{"command":"delete","filter":1}"#] {
        assert!(ask(&mut stream, line)["error"].is_string(), "{line}");
    }
    let keep = json!({"command": "keep", "folder": "00".repeat(16), "stamp": "00".repeat(16), "group": 1});
    assert!(ask(&mut stream, &keep.to_string())["error"].is_string(), "no copy was made");
    assert!(ask(&mut stream, r#"{"command":"stats"}"#)["stats"].is_object());
    assert_eq!(relay.end("TERM"), 0);
}

#[test]
fn a_connection_that_reads_nothing_holds_up_neither_sessions_nor_the_stop() {
    let (folder, relay) = serve("[rate]\nenabled = false\n");
    let mut client = Client::connect(&relay.url);
    notes(1, 0..2_000).iter().for_each(|note| client.submit(note));
    notes(1, 0..2_000).iter().for_each(|note| assert!(client.answer_to(note).0));
    let mut deaf: Vec<UnixStream> = (0..8)
        .map(|_| {
            let mut stream = UnixStream::connect(folder.path("data/control.sock")).expect("a relay");
            stream.write_all(b"{\"command\":\"copy\"}\n").expect("the relay reads");
            stream
        })
        .collect();
    // Eight are served at once; who comes then is told so.
    let mut one_more = UnixStream::connect(folder.path("data/control.sock")).expect("a relay");
    assert!(hear(&mut one_more)["error"].is_string());
    folder.run(&["stats"]).refused(&["too many commands are under way"]);
    notes(2, 0..50).iter().for_each(|note| client.publish_ok(note));
    deaf.truncate(7);
    assert_eq!(relay.end("TERM"), 0);
}
