//! The relay behind proxies, set up as docs/proxies.md says: the real Caddy and the real nginx run with what stands
//! there, but for ports and files, and a client publishes and reads through them from an address of its own.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use common::authority::{Authority, TlsStream, handshake, handshake_on, trusting};
use common::program::{PATIENCE, Program, free_port, tool, wait_for_port};
use common::{Client, NOW, Person, TestRelay, Wire};
use plaza::config::Config;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio_rustls::rustls::ClientConfig;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, HandshakeError};

const PAGE: &str = include_str!("../docs/proxies.md");

/// The name by which the page calls the relay, and where it says that it listens.
const NAME: &str = "your.name";
const LISTEN: &str = "127.0.0.1:7777";

/// The page's one block of a language.
fn block(language: &str) -> &'static str {
    let begin = format!("```{language}\n");
    let mut blocks = PAGE.split(&begin).skip(1);
    let block = blocks.next().and_then(|rest| rest.split("```").next()).expect("a block");
    assert!(blocks.next().is_none(), "one block of {language}");
    block
}

/// Puts something in the place of what the page must say.
fn with(text: &str, said: &str, meant: &str) -> String {
    assert!(text.contains(said), "{said:?} is not in {text}");
    text.replace(said, meant)
}

/// A relay with the page's settings, on a port of its own. An address may have one connection.
fn relay() -> TestRelay {
    let settings = Config::parse(block("toml"), Path::new("relay.toml")).expect("settings");
    assert_eq!(settings.server.listen.to_string(), LISTEN);
    TestRelay::with(|config| {
        config.root = settings.root;
        config.server.trusted_proxies = settings.server.trusted_proxies;
        config.server.connections_per_address_max = 1;
        config.rate.enabled = true;
    })
}

/// A proxy in front of a relay, and what its clients trust.
struct Proxy {
    _relay: TestRelay,
    port: u16,
    client: Arc<ClientConfig>,
    _program: Program,
    _folder: TempDir,
}

fn quiet(mut command: Command) -> Program {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Program::start(command)
}

fn caddy(caddy: PathBuf) -> Proxy {
    let (relay, folder, port) = (relay(), tempfile::tempdir().expect("a folder"), free_port());
    let data = folder.path().join("data");
    // Certificates of its own instead of those of a public authority, and nothing outside of the folder.
    let options = format!(
        "{{\n admin off\n local_certs\n skip_install_trust\n auto_https disable_redirects\n https_port {port}\n \
         storage file_system {{\n  root {}\n }}\n}}\n",
        data.display()
    );
    let site = with(block("caddy"), LISTEN, &relay.relay().address().to_string());
    fs::write(folder.path().join("Caddyfile"), options + &site).expect("a file");
    let mut command = Command::new(caddy);
    command.args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"]).current_dir(&folder);
    command.env("HOME", folder.path());
    let program = quiet(command);
    program.says("certificate obtained successfully");
    let root = fs::read_to_string(data.join("pki/authorities/local/root.crt")).expect("its authority");
    let (client, address, began) =
        (trusting(&root), SocketAddr::from(([127, 0, 0, 1], port)), Instant::now());
    // It takes the certificate into use a moment after it says so.
    while handshake(&client, address, NAME).is_err() {
        assert!(began.elapsed() < PATIENCE, "Caddy uses its certificate");
    }
    Proxy { _relay: relay, port, client, _program: program, _folder: folder }
}

fn nginx(nginx: PathBuf) -> Proxy {
    let (relay, folder, port) = (relay(), tempfile::tempdir().expect("a folder"), free_port());
    let authority = Authority::new();
    authority.issue(&[NAME]).write(folder.path());
    let server = with(block("nginx"), LISTEN, &relay.relay().address().to_string());
    let server = with(&server, "listen 443 ssl;", &format!("listen 127.0.0.1:{port} ssl;"));
    // Not every machine has IPv6.
    let server = with(&server, "listen [::]:443 ssl;", "");
    let server = with(&server, "/etc/letsencrypt/live/your.name/fullchain.pem", "cert.pem");
    let server = with(&server, "/etc/letsencrypt/live/your.name/privkey.pem", "key.pem");
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {what};\n"));
    let config = format!(
        "daemon off;\nmaster_process off;\npid pid;\nevents {{}}\nhttp {{\naccess_log off;\n{}{server}}}\n",
        paths.concat()
    );
    fs::write(folder.path().join("nginx.conf"), config).expect("a file");
    let mut command = Command::new(nginx);
    command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
    let program = quiet(command);
    wait_for_port(port);
    Proxy { _relay: relay, port, client: authority.client(), _program: program, _folder: folder }
}

impl Proxy {
    /// An encrypted connection from an address of this machine.
    fn stream(&self, from: [u8; 4]) -> TlsStream {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let stream = runtime.block_on(async {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind(SocketAddr::from((from, 0))).expect("an address of this machine");
            let stream = socket.connect(SocketAddr::from(([127, 0, 0, 1], self.port))).await;
            stream.expect("the proxy accepts").into_std().expect("a stream")
        });
        stream.set_nonblocking(false).expect("an option");
        handshake_on(stream, &self.client, NAME).expect("a handshake")
    }

    /// A client from an address, which may claim to come from another one; else the status that it gets instead.
    fn connect(&self, from: [u8; 4], claim: Option<&'static str>) -> Result<Client, u16> {
        let mut request = format!("wss://{NAME}/").into_client_request().expect("a request");
        if let Some(claim) = claim {
            request.headers_mut().insert("x-forwarded-for", HeaderValue::from_static(claim));
        }
        let stream: Box<dyn Wire> = Box::new(self.stream(from));
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Client::greeted(socket)),
            Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => Err(answer.status().as_u16()),
            Err(error) => panic!("an upgrade or its refusal was awaited, not {error}"),
        }
    }

    /// What the page promises.
    fn check(&self) {
        let [one, other] = [[127, 0, 0, 2], [127, 0, 0, 3]];
        let mut alice = self.connect(one, None).expect("a session");
        // Each client counts as its own address, whatever it claims, and not as the proxy's.
        assert_eq!(self.connect(one, None).err(), Some(429));
        assert_eq!(self.connect(one, Some("192.0.2.7")).err(), Some(429));
        let mut bob = self.connect(other, Some("127.0.0.2")).expect("a session");

        let url = format!("wss://{NAME}");
        alice.authenticate(&Person::new(1), &url, NOW);
        bob.request("live", &[json!({"kinds": [1]})]);
        let note = Person::new(1).note(&"through the proxy ".repeat(5_000));
        alice.publish_ok(&note);
        assert_eq!(bob.receive()[2]["content"], note.content);
        assert_eq!(alice.ids(json!({"kinds": [1]})), [note.id.to_string()]);

        let mut page = self.stream(one);
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {NAME}\r\nAccept: application/nostr+json\r\nConnection: close\r\n\r\n"
        );
        page.write_all(request.as_bytes()).expect("the proxy reads");
        let mut answer = String::new();
        page.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("supported_nips"), "{answer}");
    }
}

#[test]
fn caddy_is_set_up_as_the_page_says() {
    if let Some(program) = tool("caddy") {
        caddy(program).check();
    }
}

#[test]
fn nginx_is_set_up_as_the_page_says() {
    if let Some(program) = tool("nginx") {
        nginx(program).check();
    }
}
