//! Relays of a few lines, for what no true one does; and a mirror's dealings with one that knows nothing but NIP-01.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plaza::event::Event;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use super::common::{NOW, Person, TestRelay, json_of};
use super::{await_live, await_stored, mirror, notes, publish, reload, stats};

/// A connection to a fake relay, as it sees it.
pub(crate) type Socket = WebSocket<TcpStream>;

/// A relay that does with each connection what it was told.
pub(crate) struct Fake {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
}

impl Fake {
    /// Starts one.
    pub(crate) fn start(serve: impl Fn(&mut Socket) + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (is_over, serve) = (Arc::new(AtomicBool::new(false)), Arc::new(serve));
        let ended = Arc::clone(&is_over);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || {
                    if let Ok(mut socket) = tungstenite::accept(stream) {
                        serve(&mut socket);
                    }
                });
            }
        });
        Fake { address, is_over }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// The next message of a client that is JSON; `None` when it has gone.
pub(crate) fn hear(socket: &mut Socket) -> Option<Value> {
    loop {
        if let Message::Text(text) = socket.read().ok()? {
            return serde_json::from_str(&text).ok();
        }
    }
}

/// Says something; false when nobody is there.
pub(crate) fn say(socket: &mut Socket, message: &Value) -> bool {
    socket.send(Message::text(message.to_string())).is_ok()
}

/// Serves events as the simplest of relays: no limit but the client's, and a NOTICE for what it does not know.
fn simple(socket: &mut Socket, events: &[Event]) {
    while let Some(message) = hear(socket) {
        match message[0].as_str() {
            Some("REQ") => {
                let filter = &message[2];
                let until = filter["until"].as_u64().unwrap_or(u64::MAX);
                let limit = filter["limit"].as_u64().unwrap_or(500) as usize;
                let mut found: Vec<&Event> = events.iter().filter(|one| one.created_at <= until).collect();
                found.sort_by_key(|one| std::cmp::Reverse(one.created_at));
                for event in found.into_iter().take(limit) {
                    say(socket, &json!(["EVENT", message[1], json_of(event)]));
                }
                say(socket, &json!(["EOSE", message[1]]));
            }
            Some("EVENT") => {
                say(socket, &json!(["OK", message[1]["id"], true, ""]));
            }
            Some("CLOSE") => {}
            _ => {
                say(socket, &json!(["NOTICE", "ERROR: bad msg: unknown cmd"]));
            }
        }
    }
}

#[test]
fn a_relay_that_knows_nothing_but_nip_01_is_mirrored() {
    let events = notes(1, 0..650);
    let fake = {
        let events = events.clone();
        Fake::start(move |socket| simple(socket, &events))
    };
    let relay = TestRelay::start();
    publish(&relay, [&Person::new(2).note("mine")]);
    reload(&relay, &mirror(&fake.url(), "direction = \"both\""));
    await_stored(&relay, 651);
    await_live(&relay);
    super::await_that("all is counted", || stats(&relay).down.taken == 650 && stats(&relay).up.taken == 1);
    assert_eq!(stats(&relay).strikes, 0);
}

#[test]
fn a_relay_that_asks_for_a_key_when_one_is_needed_gets_it() {
    let events = notes(1, 0..5);
    let member = Person::new(7);
    let key = member.hex();
    // The question comes before the refusal, or after it.
    for asks_first in [true, false] {
        let (events, key) = (events.clone(), key.clone());
        let fake = Fake::start(move |socket| {
            let (mut is_proved, mut is_asked) = (false, false);
            while let Some(message) = hear(socket) {
                let name = &message[1];
                let mut ask = |socket: &mut Socket| {
                    if !std::mem::replace(&mut is_asked, true) {
                        say(socket, &json!(["AUTH", "prove it"]));
                    }
                };
                match message[0].as_str() {
                    Some("AUTH") => {
                        let tags = message[1]["tags"].to_string();
                        is_proved = message[1]["pubkey"] == key && tags.contains("prove it");
                        say(socket, &json!(["OK", message[1]["id"], is_proved, ""]));
                    }
                    Some("EVENT") => {
                        let why = if is_proved { "" } else { "auth-required: who are you?" };
                        say(socket, &json!(["OK", message[1]["id"], is_proved, why]));
                    }
                    Some("REQ") if is_proved => {
                        let until = message[2]["until"].as_u64().unwrap_or(u64::MAX);
                        for event in events.iter().filter(|event| event.created_at <= until) {
                            say(socket, &json!(["EVENT", name, json_of(event)]));
                        }
                        say(socket, &json!(["EOSE", name]));
                    }
                    Some("REQ") => {
                        if asks_first {
                            ask(socket);
                        }
                        say(socket, &json!(["CLOSED", name, "auth-required: who are you?"]));
                        ask(socket);
                    }
                    Some("NEG-OPEN") => {
                        say(socket, &json!(["NOTICE", "unknown command"]));
                    }
                    _ => {}
                }
            }
        });
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        std::fs::write(&file, member.secret()).expect("a file");
        let relay = TestRelay::start();
        publish(&relay, [&Person::new(2).event(1, NOW, &[], "mine")]);
        let keys = format!("direction = \"both\"\nkey_file = {:?}", file.display());
        reload(&relay, &mirror(&fake.url(), &keys));
        await_stored(&relay, 6);
        super::await_that("what is here goes there", || stats(&relay).up.taken == 1);
        assert_eq!((stats(&relay).connects, stats(&relay).strikes), (1, 0), "asks first: {asks_first}");
    }
}
