//! The real program with a bound on its memory, its peak, and a neighbour who must be served.

use std::net::SocketAddr;
use std::path::Path;

use plaza::config::Config;
use plaza::memory::{Bound, Plan};
use serde_json::json;
use tempfile::TempDir;

use crate::common::authority::{Authority, NAME};
use crate::common::program::{Program, plaza};
use crate::common::{Client, NOW, Person, Wire};
use tokio_tungstenite::tungstenite::WebSocket;
use tokio_tungstenite::tungstenite::protocol::Role;

pub(crate) const MIB: u64 = 1 << 20;

/// Bytes of the longest message.
pub(crate) const MESSAGE_BYTES_MAX: usize = 131_072;

/// Filters of a request, and values of a filter.
pub(crate) const FILTERS_MAX: usize = 10;
pub(crate) const VALUES_MAX: usize = 1_200;

/// The settings of a relay with so much memory, for an attack of so much.
pub(crate) fn settings(bytes_max: u64, scale: usize) -> String {
    format!(
        "[server]\nmemory_bytes_max = {bytes_max}\nconnections_max = {}\nreader_threads = 1\nverify_threads = 1\n\
         trusted_proxies = [\"127.0.0.1\"]\n[rate]\nenabled = false\n[limits]\nmessage_bytes_max = {MESSAGE_BYTES_MAX}\n\
         filters_per_request_max = {FILTERS_MAX}\nfilter_values_max = {VALUES_MAX}\nlimit_max = 2_000\n\
         [compression]\ncontext_bytes_max = 1_000_000_000\ncontext_window_bits = 15\n\
         [tls]\nlisten = \"127.0.0.1:0\"\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n",
        1_000 * scale
    )
}

/// A running relay; ends with this value.
pub(crate) struct Running {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    pub(crate) tls_address: SocketAddr,
    _folder: TempDir,
}

impl Running {
    /// Starts one with these settings, whose bound must be what they ask for.
    pub(crate) fn start(settings: &str) -> Running {
        let config = Config::parse(settings, Path::new("relay.toml")).expect("settings");
        let plan = Plan::of(&config);
        let bound = Bound::of(&config, plan.index_bytes.expect("a bound")).bytes();
        assert!(bound <= config.server.memory_bytes_max + MIB, "the settings fit: {bound}");
        let folder = tempfile::tempdir().expect("a folder");
        Authority::new().issue(&[NAME]).write(folder.path());
        std::fs::write(folder.path().join("relay.toml"), settings).expect("a file");
        let program = Program::start(plaza(folder.path(), &["--listen", "127.0.0.1:0"]));
        let address = |text: String| text.trim().parse().expect("an address");
        let address_of = |start: &str| address(program.says(start));
        let (plain, tls_address) = (address_of("listening on ws://"), address_of("listening on wss://"));
        Running { address: plain, tls_address, program, _folder: folder }
    }

    /// The most that it has taken.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, line: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.program.id())).expect("it lives");
        let found = status.lines().find_map(|text| text.strip_prefix(line)).expect("Linux tells");
        1_024 * found.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number")
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&format!("ws://{}", self.address))
    }

    /// Somebody connects, as soon as there is room.
    pub(crate) fn neighbour(&self) -> Client {
        crate::wire::until_there_is_room(|| {
            let stream = crate::wire::try_upgrade(self.address, "").ok()?;
            let socket = WebSocket::from_raw_socket(Box::new(stream) as Box<dyn Wire>, Role::Client, None);
            Some(Client::greeted(socket))
        })
    }
}

/// Somebody publishes, hears it live and asks for what is stored, without being refused anything.
pub(crate) fn is_served(client: &mut Client) {
    let event = Person::new(77).event(20_001, NOW, &[&["t", "neighbour"]], "heard");
    let id = event.id.to_string();
    client.request("live", &[json!({"ids": [id], "limit": 0})]);
    client.publish_ok(&event);
    assert_eq!(client.receive()[2]["id"], id);
    client.send(&json!(["CLOSE", "live"]));
    assert_eq!(client.count(&[json!({"ids": [id]})]), 0);
}
