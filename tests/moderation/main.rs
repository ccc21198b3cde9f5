//! Moderation services (docs/moderation.md): a real one, over HTTP or at a real NATS server, is sent events, checks their
//! signature, and gives verdicts with its answer or by the management API; dead, slow and wrong ones; what is held, and
//! who sees it. Where there is no nats-server that way is left out, and said so.

#[path = "../common/mod.rs"]
mod common;

mod hold;
mod nats;
mod server;
mod verdicts;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{Person, TestRelay};
use plaza::config::Config;
use server::Service;

/// How long something may take that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The secret that signs.
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Whose verdicts they are.
fn service_key() -> Person {
    Person::new(900)
}

fn owner() -> Person {
    Person::new(901)
}

/// A relay with a service at this address, and more settings of its section.
fn relay(service: &Service, more: &str) -> TestRelay {
    let parsed = parsed(service, more);
    TestRelay::with(|config| {
        config.root = parsed.root;
        config.root.moderation_service.secret = SECRET.to_vec();
        config.written = parsed.written;
        config.metrics.listen = Some("127.0.0.1:0".parse().expect("an address"));
    })
}

fn parsed(service: &Service, more: &str) -> Config {
    let text = settings(service, more);
    Config::parse(&text, Path::new("relay.toml")).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn settings(service: &Service, more: &str) -> String {
    format!(
        "[admin]\nowners = [\"{}\"]\n[moderation_service]\nurl = \"{}\"\n{}secret_file = \"secret\"\n\
         pubkey = \"{}\"\nbatch_milliseconds = 5\n{more}",
        owner().hex(),
        service.url,
        service.more,
        service_key().hex()
    )
}

/// Waits until something holds.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A number of the relay's metrics.
fn number(relay: &TestRelay, name: &str) -> f64 {
    let address = relay.relay().metrics_address().expect("it tells its numbers");
    let text = common::http::get(address, "/metrics").body;
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
    line.rsplit_once(' ').expect("a number").1.parse().expect("a number")
}
