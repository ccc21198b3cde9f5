//! What tests share: a real relay on a port of its own with a store that vanishes with it, keys that
//! sign, and a client that says and hears exactly what is on the wire.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod authority;
pub mod dice;
pub mod fake;
pub mod folder;
pub mod http;
pub mod invoice;
pub mod machine;
pub mod nats;
pub mod program;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use plaza::clock::Clock;
use plaza::config::Config;
use plaza::event::{Event, Id, Kind, PublicKey, Signature, Tags};
use plaza::net::Relay;
use secp256k1::{Keypair, SecretKey};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

/// The time at which relays of tests begin, unless their clock is set.
pub const NOW: u64 = 1_790_000_000;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a test waits for what relays do between them: machines may be slow, and what is lost is looked for again
/// after a while.
const PATIENCE_BETWEEN: Duration = Duration::from_secs(120);

/// Waits until something is so; says what was awaited when it never is.
pub fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE_BETWEEN, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A person who signs events.
#[derive(Clone)]
pub struct Person(Keypair);

impl Person {
    /// A person by number: the same one in every run.
    pub fn new(number: u32) -> Person {
        let mut secret = [7; 32];
        secret[28..].copy_from_slice(&number.to_be_bytes());
        Person(Keypair::from_secret_key(&SecretKey::from_secret_bytes(secret).expect("a secret key")))
    }

    /// Their public key.
    pub fn key(&self) -> PublicKey {
        PublicKey(self.0.x_only_public_key().0.to_byte_array())
    }

    /// Their public key in hex.
    pub fn hex(&self) -> String {
        self.key().to_string()
    }

    /// Their secret key in hex.
    pub fn secret(&self) -> String {
        hex::encode(self.0.to_secret_bytes())
    }

    /// A signed event.
    pub fn event(&self, kind: u16, created_at: u64, tags: &[&[&str]], content: &str) -> Event {
        self.sign(kind, created_at, tags.iter().collect(), content)
    }

    /// A signed note of now.
    pub fn note(&self, content: &str) -> Event {
        self.event(1, NOW, &[], content)
    }

    /// A signed event with tags at hand.
    pub fn sign(&self, kind: u16, created_at: u64, tags: Tags, content: &str) -> Event {
        let mut event = Event {
            id: Id([0; 32]),
            pubkey: self.key(),
            created_at,
            kind: Kind(kind),
            tags,
            content: content.to_owned(),
            sig: Signature([0; 64]),
        };
        event.id = event.hash(&mut Vec::new());
        event.sig = Signature(self.0.sign_schnorr_no_aux_rand(&event.id.0).to_byte_array());
        event
    }
}

/// The event as JSON.
pub fn json_of(event: &Event) -> Value {
    serde_json::from_slice(&event.to_json()).expect("an event is JSON")
}

/// The id of an event as JSON.
pub fn id_of(event: &Value) -> String {
    event["id"].as_str().expect("an id").to_owned()
}

/// The ids of these events, in their order.
pub fn ids_of(events: &[&Event]) -> Vec<String> {
    events.iter().map(|event| event.id.to_string()).collect()
}

/// Where `PLAZA_TEST_LOG` names a NATS server, each relay is a node of a cluster of its own: what holds of one relay
/// holds over a cluster's log.
fn over_a_log(config: &mut Config) -> bool {
    let Ok(server) = std::env::var("PLAZA_TEST_LOG") else { return false };
    config.cluster.servers = vec![server];
    config.cluster.node = "alone".to_owned();
    config.cluster.name = format!("test-{:x}", secp256k1::rand::random::<u64>());
    config.cluster.replicas = 1;
    config.cluster.log_bytes_max = 10_000_000;
    true
}

/// A relay with a store of its own.
pub struct TestRelay {
    relay: Option<Relay>,
    config: Config,
    /// The relay's clock, which stands until it is set.
    pub clock: Clock,
    folder: TempDir,
}

impl TestRelay {
    /// A relay with the defaults, but without rate limits.
    pub fn start() -> TestRelay {
        TestRelay::with(|_| {})
    }

    /// A relay whose settings were changed first.
    pub fn with(change: impl FnOnce(&mut Config)) -> TestRelay {
        TestRelay::launch(Clock::by_hand(NOW), change)
    }

    /// A relay with the communities and rules of a relay.toml.
    pub fn configured(settings: &str) -> TestRelay {
        TestRelay::launch(Clock::by_hand(NOW), TestRelay::settings(settings))
    }

    /// The same of today, for clients that bring the machine's clock along.
    pub fn configured_today(settings: &str) -> TestRelay {
        TestRelay::launch(Clock::system(), TestRelay::settings(settings))
    }

    fn settings(text: &str) -> impl FnOnce(&mut Config) {
        let parsed = Config::parse(text, std::path::Path::new("relay.toml"));
        let parsed = parsed.unwrap_or_else(|error| panic!("{error}\n{text}"));
        |config| {
            (config.root, config.communities) = (parsed.root, parsed.communities);
            config.written = parsed.written;
            config.mirrors = parsed.mirrors;
        }
    }

    /// A relay of today, for clients that bring the machine's clock along.
    pub fn today() -> TestRelay {
        TestRelay::launch(Clock::system(), |_| {})
    }

    fn launch(clock: Clock, change: impl FnOnce(&mut Config)) -> TestRelay {
        let folder = tempfile::tempdir().expect("a folder for the store");
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".parse().expect("an address");
        config.store.path = folder.path().join("data");
        config.store.cache_bytes = 8 << 20;
        // Starts find a saved index wherever a test restarts its relay.
        config.store.index_save_events_min = 1;
        config.store.index_save_changes_min = 100;
        config.rate.enabled = false;
        let over_a_log = over_a_log(&mut config);
        change(&mut config);
        let relay = Relay::start(config.clone(), clock.clone()).expect("the relay starts");
        let relay = TestRelay { relay: Some(relay), config, clock, folder };
        if over_a_log {
            relay.wait_for_the_log();
        }
        relay
    }

    /// Waits until it takes events.
    fn wait_for_the_log(&self) {
        let began = std::time::Instant::now();
        while http::get(self.relay().address(), "/ready").status != 200 {
            assert!(began.elapsed() < PATIENCE, "the log is reached");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The relay itself.
    pub fn relay(&self) -> &Relay {
        self.relay.as_ref().expect("the relay runs")
    }

    /// The folder of its store.
    pub fn data(&self) -> &std::path::Path {
        &self.config.store.path
    }

    /// The URL of the community at a path.
    pub fn url_at(&self, path: &str) -> String {
        format!("{}{}", self.url(), path.trim_end_matches('/'))
    }

    /// A client of the community at a path.
    pub fn connect_at(&self, path: &str) -> Client {
        Client::connect(&self.url_at(path))
    }

    /// Stops the relay and starts it again on the same store with the communities and rules of another
    /// relay.toml.
    pub fn reconfigure(&mut self, settings: &str) {
        TestRelay::settings(settings)(&mut self.config);
        self.restart();
    }

    /// Stops the relay in order and starts it again on the same store, on another port.
    pub fn restart(&mut self) {
        self.stop();
        self.relay =
            Some(Relay::start(self.config.clone(), self.clock.clone()).expect("the relay starts again"));
        if !self.config.cluster.servers.is_empty() {
            self.wait_for_the_log();
        }
    }

    /// Stops the relay in order and starts it again on the same store and port, as an operator does.
    pub fn restart_in_place(&mut self) {
        self.config.server.listen = self.relay().address();
        self.restart();
    }

    /// Starts a relay again that was stopped, on the same store, at an address.
    pub fn start_again_at(&mut self, address: std::net::SocketAddr) {
        self.config.server.listen = address;
        self.relay =
            Some(Relay::start(self.config.clone(), self.clock.clone()).expect("the relay starts again"));
    }

    /// Stops the relay in order.
    pub fn stop(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.stop().expect("everything is on disk");
        }
    }

    /// Its WebSocket URL.
    pub fn url(&self) -> String {
        format!("ws://{}", self.relay().address())
    }

    /// A client that has been greeted.
    pub fn connect(&self) -> Client {
        Client::connect(&self.url())
    }

    /// A client that has proved these people's keys.
    pub fn connect_as(&self, people: &[&Person]) -> Client {
        let mut client = self.connect();
        for person in people {
            client.authenticate(person, &self.url(), self.clock.now());
        }
        client
    }

    /// What a client has been sent live so far, as subscription and id in order. An event of our own that
    /// must come last proves that nothing else is on its way.
    pub fn heard_by(&self, listener: &mut Client) -> Vec<(String, String)> {
        let marker = Person::new(u32::MAX).event(20_001, self.clock.now(), &[&["t", "marker"]], "");
        listener.subscribe("marker", &[json!({"kinds": [20_001], "#t": ["marker"]})]);
        let mut heard = Vec::new();
        loop {
            let message = listener.receive();
            match (message[0].as_str(), message[1].as_str()) {
                (Some("EOSE"), Some("marker")) => self.connect().publish_ok(&marker),
                // Once it has come to one subscription it waits for all that ask for it.
                (Some("EVENT"), Some("marker")) => listener.subscribe("after", &[json!({"ids": []})]),
                (Some("EOSE"), Some("after")) => break,
                (Some("EVENT"), Some(_)) if message[2]["id"] == marker.id.to_string() => {}
                (Some("EVENT"), Some(subscription)) => {
                    heard.push((subscription.to_owned(), id_of(&message[2])));
                }
                _ => panic!("a live event was awaited, not {message}"),
            }
        }
        listener.send(&json!(["CLOSE", "marker"]));
        listener.send(&json!(["CLOSE", "after"]));
        heard
    }

    /// Waits until searches find all that is stored, where there are searches.
    pub fn searches(&self) {
        let began = std::time::Instant::now();
        for community in self.relay().communities().iter().filter(|one| one.settings().search.enabled) {
            let target = community.index().next_number();
            while !community.search.ready().is_ok_and(|ready| ready.upto >= target) {
                assert!(began.elapsed() < 3 * PATIENCE, "{:?}", community.search.status());
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// How many events the index holds.
    pub fn stored(&self) -> usize {
        self.relay().community().index().len()
    }
}

impl Drop for TestRelay {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// What a client is connected by: a plain or an encrypted stream.
pub trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// A client on one connection.
pub struct Client {
    socket: WebSocket<Box<dyn Wire>>,
    /// What the relay wants signed.
    pub challenge: String,
}

impl Client {
    /// Connects and reads the relay's challenge.
    pub fn connect(url: &str) -> Client {
        let address = url.strip_prefix("ws://").expect("a ws URL").split('/').next().expect("an address");
        Client::connect_to(address, url)
    }

    /// Connects to an address while naming the relay, in `Host` and path, as `url` does.
    pub fn connect_to(address: &str, url: &str) -> Client {
        let stream = TcpStream::connect(address).expect("the relay accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Client::over(Box::new(stream), url)
    }

    /// Connects to a relay that may be gone.
    pub fn try_connect(url: &str) -> Option<Client> {
        let stream = TcpStream::connect(url.strip_prefix("ws://")?.split('/').next()?).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_nodelay(true).ok()?;
        let stream: Box<dyn Wire> = Box::new(stream);
        let mut client =
            Client { socket: tungstenite::client(url, stream).ok()?.0, challenge: String::new() };
        client.try_receive().ok()?;
        Some(client)
    }

    /// Speaks over a stream that is connected, and reads the relay's challenge.
    pub fn over(stream: Box<dyn Wire>, url: &str) -> Client {
        let (socket, _) = tungstenite::client(url, stream).expect("the relay upgrades");
        Client::greeted(socket)
    }

    /// Reads the relay's challenge.
    pub fn greeted(socket: WebSocket<Box<dyn Wire>>) -> Client {
        let mut client = Client { socket, challenge: String::new() };
        let greeting = client.receive();
        assert_eq!(greeting[0], "AUTH", "{greeting}");
        client.challenge = greeting[1].as_str().expect("a challenge").to_owned();
        client
    }

    /// Sends a text as it is.
    pub fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).expect("the relay reads");
    }

    /// Sends a frame as it is.
    pub fn send_frame(&mut self, message: Message) {
        self.socket.send(message).expect("the relay reads");
    }

    /// Sends a frame to a relay that may be gone.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn try_send(&mut self, message: Message) -> Result<(), tungstenite::Error> {
        self.socket.send(message)
    }

    /// Sends a JSON array.
    pub fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    /// The next message as it is.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn try_receive(&mut self) -> Result<Message, tungstenite::Error> {
        loop {
            match self.socket.read()? {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return Ok(message),
            }
        }
    }

    /// The next message as JSON.
    pub fn receive(&mut self) -> Value {
        match self.try_receive() {
            Ok(Message::Text(text)) => serde_json::from_str(&text).expect("the relay speaks JSON"),
            other => panic!("a text was awaited, not {other:?}"),
        }
    }

    /// Publishes an event; returns the answer to it.
    pub fn publish(&mut self, event: &Event) -> (bool, String) {
        self.submit(event);
        self.answer_to(event)
    }

    /// Publishes an event that must be refused; returns why.
    pub fn publish_refused(&mut self, event: &Event) -> String {
        let (accepted, why) = self.publish(event);
        assert!(!accepted, "{why:?} for {}", json_of(event));
        why
    }

    /// Publishes an event without waiting.
    pub fn submit(&mut self, event: &Event) {
        self.send(&json!(["EVENT", json_of(event)]));
    }

    /// The answer to an event, which must be the next message.
    pub fn answer_to(&mut self, event: &Event) -> (bool, String) {
        let answer = self.receive();
        assert_eq!((&answer[0], &answer[1]), (&json!("OK"), &json!(event.id.to_string())), "{answer}");
        (answer[2].as_bool().expect("a verdict"), answer[3].as_str().expect("a message").to_owned())
    }

    /// Publishes an event that must be taken without a remark.
    pub fn publish_ok(&mut self, event: &Event) {
        assert_eq!(self.publish(event), (true, String::new()), "{}", json_of(event));
    }

    /// Sends a REQ.
    pub fn subscribe(&mut self, subscription: &str, filters: &[Value]) {
        let mut message = vec![json!("REQ"), json!(subscription)];
        message.extend_from_slice(filters);
        self.send(&Value::Array(message));
    }

    /// Sends a REQ and reads up to EOSE: the ids in order, and the hint, empty when there is none.
    /// The subscription stays open.
    pub fn request(&mut self, subscription: &str, filters: &[Value]) -> (Vec<String>, String) {
        self.subscribe(subscription, filters);
        let mut ids = Vec::new();
        loop {
            let message = self.receive();
            assert_eq!(message[1], subscription, "{message}");
            match message[0].as_str() {
                Some("EVENT") => ids.push(message[2]["id"].as_str().expect("an id").to_owned()),
                Some("EOSE") => {
                    let hint = message[2][0].as_str().unwrap_or("").to_owned();
                    return (ids, hint);
                }
                _ => panic!("an event or EOSE was awaited, not {message}"),
            }
        }
    }

    /// The ids that one filter finds; the subscription is closed.
    pub fn ids(&mut self, filter: Value) -> Vec<String> {
        let (ids, _) = self.request("ids", &[filter]);
        self.send(&json!(["CLOSE", "ids"]));
        ids
    }

    /// Sends a REQ or COUNT that must be refused; returns why.
    pub fn closed(&mut self, verb: &str, filters: &[Value]) -> String {
        let mut message = vec![json!(verb), json!("refused")];
        message.extend_from_slice(filters);
        self.send(&Value::Array(message));
        let answer = self.receive();
        assert_eq!((&answer[0], &answer[1]), (&json!("CLOSED"), &json!("refused")), "{answer}");
        answer[2].as_str().expect("a reason").to_owned()
    }

    /// Sends a REQ and reads up to its end: why it was closed, or `None` when all was sent.
    pub fn closed_or_eose(&mut self, subscription: &str, filter: &Value) -> Option<String> {
        self.subscribe(subscription, std::slice::from_ref(filter));
        loop {
            let message = self.receive();
            match message[0].as_str() {
                Some("EVENT") => {}
                Some("EOSE") => {
                    self.send(&json!(["CLOSE", subscription]));
                    return None;
                }
                _ => return message[2].as_str().map(str::to_owned),
            }
        }
    }

    /// The number that COUNT gives.
    pub fn count(&mut self, filters: &[Value]) -> u64 {
        let mut message = vec![json!("COUNT"), json!("count")];
        message.extend_from_slice(filters);
        self.send(&Value::Array(message));
        let answer = self.receive();
        assert_eq!(answer[0], "COUNT", "{answer}");
        answer[2]["count"].as_u64().expect("a number")
    }

    /// Asserts that nothing has been sent but the answer to a message that is sent now.
    pub fn hears_nothing_more(&mut self) {
        self.send(&json!(["REQ", "nothing", {"ids": []}]));
        assert_eq!(self.receive(), json!(["EOSE", "nothing", ["finish"]]));
        self.send(&json!(["CLOSE", "nothing"]));
    }

    /// Proves a person's key.
    pub fn authenticate(&mut self, person: &Person, url: &str, now: u64) {
        let challenge = self.challenge.clone();
        let proof = person.event(22_242, now, &[&["relay", url], &["challenge", &challenge]], "");
        self.send(&json!(["AUTH", json_of(&proof)]));
        assert_eq!(self.answer_to(&proof), (true, String::new()));
    }
}
