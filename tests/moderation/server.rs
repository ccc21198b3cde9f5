//! A moderation service, as somebody writes one: it reads a request, over HTTP or from a NATS server, checks the signature
//! in a few lines, and answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use async_nats::{ConnectOptions, HeaderMap};
use futures_util::StreamExt as _;
use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio_rustls::rustls::{ServerConnection, StreamOwned};

use crate::common::authority::Pair;
use crate::common::nats::Server;
use crate::common::program::{free_port, tool};
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

/// A service that serves until the test ends.
pub(crate) struct Service {
    pub(crate) url: String,
    /// What stands in its section beside the url.
    pub(crate) more: String,
    shared: Shared,
    /// It ends with this, if it is reached by NATS.
    _serving: Option<Serving>,
}

/// A thread that serves. When this is gone it has ended, and answers nobody any more.
struct Serving {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(std::thread::panicking() || !matches!(ended, Some(Err(_))), "the service does not panic");
    }
}

/// A way to services.
pub(crate) enum Way {
    Http,
    Nats(Box<Server>, TempDir),
}

impl Way {
    /// All that there are here.
    pub(crate) fn all() -> Vec<Way> {
        std::iter::once(Way::Http).chain(Way::nats("")).collect()
    }

    /// A NATS server with these settings, if one can be had here.
    pub(crate) fn nats(settings: &str) -> Option<Way> {
        tool("nats-server")?;
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Server::new(folder.path().join("nats"), "127.0.0.1", free_port(), settings);
        server.start();
        Some(Way::Nats(Box::new(server), folder))
    }

    /// A service that is reached by it, and answers so.
    pub(crate) fn service(&self, answer: impl FnMut(&Asked) -> (u16, String) + Send + 'static) -> Service {
        match self {
            Way::Http => Service::start(answer),
            Way::Nats(server, _) => Service::start_nats(ConnectOptions::new(), &server.url(), answer),
        }
    }
}

/// The subject that services listen to.
pub(crate) const SUBJECT: &str = "moderation.events";

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
        let shared = shared(answer);
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, open) = (Arc::clone(&of_thread), open.clone());
                std::thread::spawn(move || open(stream).and_then(|stream| serve(stream, &shared)));
            }
        });
        Service { url: format!("{origin}:{port}/events"), more: String::new(), shared, _serving: None }
    }

    /// None, at a NATS server where somebody else listens.
    pub(crate) fn nowhere(url: &str) -> Service {
        let more = format!("subject = \"{SUBJECT}\"\n");
        Service { url: url.to_owned(), more, shared: shared(|_| (200, String::new())), _serving: None }
    }

    /// One that listens at a NATS server; it does so when this returns.
    pub(crate) fn start_nats(
        options: ConnectOptions,
        url: &str,
        answer: impl FnMut(&Asked) -> (u16, String) + Send + 'static,
    ) -> Service {
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let shared = shared(answer);
        let (of_thread, address) = (Arc::clone(&shared), url.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                tokio::select! {
                    () = serve_nats(options, &address, &of_thread, ready) => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv_timeout(PATIENCE).expect("it listens");
        let serving = Serving { stop: Some(stop), thread: Some(thread) };
        Service { shared, _serving: Some(serving), ..Service::nowhere(url) }
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

fn shared(answer: impl FnMut(&Asked) -> (u16, String) + Send + 'static) -> Shared {
    let state = State { asked: Vec::new(), answer: Box::new(answer) };
    Arc::new((Mutex::new(state), Condvar::new()))
}

/// Notes a request, and says what the answer is.
fn answer(shared: &Shared, timestamp: u64, signature: &str, body: &[u8]) -> (u16, String) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signed = [format!("{timestamp}.").as_bytes(), body].concat();
    let is_signed = hex::decode(signature).is_ok_and(|tag| hmac::verify(&key, &signed, &tag).is_ok());
    let asked = Asked { body: serde_json::from_slice(body).expect("JSON"), timestamp, is_signed };
    let answer = {
        let mut state = shared.0.lock().expect("no test failed in it");
        state.asked.push(asked.clone());
        (state.answer)(&asked)
    };
    shared.1.notify_all();
    answer
}

async fn serve_nats(options: ConnectOptions, url: &str, shared: &Shared, ready: std::sync::mpsc::Sender<()>) {
    let options = options.reconnect_delay_callback(|_| std::time::Duration::from_millis(20));
    let client = options.connect(url).await.expect("a connection");
    let mut requests = client.queue_subscribe(SUBJECT, "services".to_owned()).await.expect("a subscription");
    client.flush().await.expect("the server knows of it");
    let _ = ready.send(());
    while let Some(request) = requests.next().await {
        let headers = request.headers.expect("headers");
        let header = |name: &str| headers.get(name).expect("a header").as_str().to_owned();
        let timestamp = header("plaza-timestamp").parse().expect("a time");
        let (status, text) = answer(shared, timestamp, &header("plaza-signature"), &request.payload);
        let reply = request.reply.expect("somebody waits for an answer");
        // As services of NATS say that they failed.
        let mut failed = HeaderMap::new();
        failed.insert("Nats-Service-Error-Code", status.to_string());
        let sent = match status {
            200..300 => client.publish(reply, text.into()).await,
            _ => client.publish_with_headers(reply, failed, text.into()).await,
        };
        sent.expect("it is sent");
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
    let (status, answer) = answer(shared, timestamp, &signature, &body);
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
    // Who has gone meanwhile needs no answer.
    let stream = reader.get_mut();
    let _ = stream.write_all(format!("{head}{answer}").as_bytes()).and_then(|()| stream.flush());
    Some(())
}
