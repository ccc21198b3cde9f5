//! A moderation service, as somebody writes one: it reads a request, checks the signature in a few lines, and answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use ring::hmac;
use serde_json::{Value, json};
use tokio_rustls::rustls::{ServerConnection, StreamOwned};

use crate::common::authority::Pair;
use crate::{PATIENCE, SECRET};

/// What a request was.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) body: Value,
    pub(crate) timestamp: u64,
    /// Whether the signature is right.
    pub(crate) is_signed: bool,
}

impl Asked {
    /// The ids of its events.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.body["events"].as_array().expect("events").iter().map(crate::common::id_of).collect()
    }
}

type Answers = Box<dyn FnMut(&Asked) -> (u16, String) + Send>;

struct State {
    asked: Vec<Asked>,
    answer: Answers,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

/// A server that serves until the test ends.
pub(crate) struct Service {
    pub(crate) url: String,
    shared: Shared,
}

/// An answer with these verdicts.
pub(crate) fn verdicts(verdicts: Value) -> (u16, String) {
    (200, json!({"verdicts": verdicts}).to_string())
}

impl Service {
    /// One that answers so.
    pub(crate) fn start(answer: impl FnMut(&Asked) -> (u16, String) + Send + 'static) -> Service {
        Service::listen("http://127.0.0.1", answer, Some)
    }

    /// The same over TLS, with this certificate for `localhost`.
    pub(crate) fn start_tls(
        pair: &Pair,
        answer: impl FnMut(&Asked) -> (u16, String) + Send + 'static,
    ) -> Service {
        let config = pair.server();
        Service::listen("https://localhost", answer, move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = StreamOwned::new(connection, stream);
            // Who does not trust it goes in the middle of it.
            stream.conn.complete_io(&mut stream.sock).ok().map(|_| stream)
        })
    }

    fn listen<S: Read + Write>(
        origin: &str,
        answer: impl FnMut(&Asked) -> (u16, String) + Send + 'static,
        open: impl Fn(TcpStream) -> Option<S> + Clone + Send + 'static,
    ) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let state = State { asked: Vec::new(), answer: Box::new(answer) };
        let shared: Shared = Arc::new((Mutex::new(state), Condvar::new()));
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, open) = (Arc::clone(&of_thread), open.clone());
                std::thread::spawn(move || open(stream).and_then(|stream| serve(stream, &shared)));
            }
        });
        Service { url: format!("{origin}:{port}/events"), shared }
    }

    /// All that it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.0.lock().expect("no test failed in it").asked.clone()
    }

    /// The ids of all events that it was sent, in order.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.asked().iter().flat_map(Asked::ids).collect()
    }

    /// Waits until it was sent so many events.
    pub(crate) fn wait_for(&self, events: usize) {
        let (state, came) = &*self.shared;
        let state = state.lock().expect("no test failed in it");
        let is_less =
            |state: &mut State| state.asked.iter().map(|asked| asked.ids().len()).sum::<usize>() < events;
        let (state, waited) =
            came.wait_timeout_while(state, PATIENCE, is_less).expect("no test failed in it");
        drop(state);
        assert!(!waited.timed_out(), "{events} events, not {}", self.ids().len());
    }

    /// Answers otherwise from now on.
    pub(crate) fn answer(&self, answer: impl FnMut(&Asked) -> (u16, String) + Send + 'static) {
        self.shared.0.lock().expect("no test failed in it").answer = Box::new(answer);
    }
}

fn serve(stream: impl Read + Write, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut timestamp, mut signature, mut line) = (0, 0, String::new(), String::new());
    reader.read_line(&mut line).ok()?;
    assert_eq!(line, "POST /events HTTP/1.1\r\n");
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "plaza-timestamp" => timestamp = value.parse().ok()?,
            "plaza-signature" => signature = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signed = [format!("{timestamp}.").as_bytes(), &body].concat();
    let is_signed = hex::decode(&signature).is_ok_and(|tag| hmac::verify(&key, &signed, &tag).is_ok());
    let asked = Asked { body: serde_json::from_slice(&body).ok()?, timestamp, is_signed };
    let (status, answer) = {
        let mut state = shared.0.lock().ok()?;
        state.asked.push(asked.clone());
        (state.answer)(&asked)
    };
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
    // Who has gone meanwhile needs no answer.
    let stream = reader.get_mut();
    let _ = stream.write_all(format!("{head}{answer}").as_bytes()).and_then(|()| stream.flush());
    shared.1.notify_all();
    Some(())
}
