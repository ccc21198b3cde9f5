//! Certificates that the relay gets by itself, from pebble, the test server of Let's Encrypt: got, kept, renewed,
//! and refused with what to do.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::authority::{Authority, connect, handshake, trusting};
use common::program::{Program, free_port, listening, plaza_with, tool, wait_for_port};
use common::{Client, Person};
use tempfile::TempDir;

/// The names of the relay.
const NAMES: [&str; 2] = ["relay.example", "town.example"];

/// How long certificates are valid: a new one is due when two thirds of it are over.
const VALIDITY_SECONDS: u32 = 24;

/// What it says once it can be told to stop. It asks for a certificate meanwhile.
const STARTED: &str = "plaza: data in ";

/// A relay that gets its certificate from pebble, and what both need.
struct World {
    folder: TempDir,
    pebble: PathBuf,
    dns: PathBuf,
    /// The relay's sockets: encrypted, and plain.
    sockets: [OwnedFd; 2],
    tls: SocketAddr,
    plain: SocketAddr,
    directory_port: u16,
    management_port: u16,
    authority: Authority,
}

fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

impl World {
    /// `None` where pebble is not installed.
    fn new() -> Option<World> {
        let (pebble, dns) = (tool("pebble")?, tool("pebble-challtestsrv")?);
        let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
        // The authority of the authority's own address.
        authority.issue(&["localhost"]).write(folder.path());
        fs::write(folder.path().join("ca.pem"), &authority.root).expect("a file");
        let (tls, plain) = (listening(), listening());
        let world = World {
            folder,
            pebble,
            dns,
            sockets: [tls.0, plain.0],
            tls: tls.1,
            plain: plain.1,
            directory_port: free_port(),
            management_port: free_port(),
            authority,
        };
        let settings = format!(
            "[tls]\nlisten = \"0.0.0.0:443\"\n\
             [acme]\ndomains = {NAMES:?}\nagree_to_terms = true\ncontact = \"mailto:operator@example.com\"\n\
             directory = \"https://localhost:{}/dir\"\ndirectory_ca = \"ca.pem\"\n",
            world.directory_port,
        );
        fs::write(world.folder.path().join("relay.toml"), settings).expect("a file");
        Some(world)
    }

    /// Starts an authority that looks for proofs on this port of the relay's names.
    fn authority(&self, proofs_port: u16) -> [Program; 2] {
        let dns_port = free_port();
        let mut dns = Command::new(&self.dns);
        dns.args(["-dns01", &format!("127.0.0.1:{dns_port}"), "-defaultIPv6", ""]);
        dns.args(["-management", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
        let dns = Program::start(quiet(dns));
        wait_for_port(dns_port);
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.directory_port),
            "managementListenAddress": format!("127.0.0.1:{}", self.management_port),
            "certificate": self.folder.path().join("cert.pem"),
            "privateKey": self.folder.path().join("key.pem"),
            "httpPort": 0,
            "tlsPort": proofs_port,
            "certificateValidityPeriod": VALIDITY_SECONDS,
        }});
        let path = self.folder.path().join("pebble.json");
        fs::write(&path, config.to_string()).expect("a file");
        let mut pebble = Command::new(&self.pebble);
        pebble.arg("-config").arg(path).args(["-dnsserver", &format!("127.0.0.1:{dns_port}")]);
        // It refuses some requests at random, and sleeps at random, unless it is told not to.
        pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        let pebble = Program::start(quiet(pebble));
        wait_for_port(self.directory_port);
        wait_for_port(self.management_port);
        [dns, pebble]
    }

    fn relay(&self) -> Program {
        let mut command = plaza_with(&self.sockets, self.folder.path(), &[]);
        command.env("LISTEN_FDNAMES", "tls:plain");
        Program::start(command)
    }

    /// The certificate (PEM) of whom the authority's certificates lead to.
    fn root(&self) -> String {
        let address = SocketAddr::from(([127, 0, 0, 1], self.management_port));
        let mut stream = handshake(&self.authority.client(), address, "localhost").expect("a handshake");
        let request = "GET /roots/0 HTTP/1.0\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("pebble reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split_once("\r\n\r\n").expect("a body").1.to_owned()
    }

    fn mode(&self, path: &str) -> u32 {
        let metadata = fs::metadata(self.folder.path().join(path)).expect("it is there");
        metadata.permissions().mode() & 0o777
    }
}

#[test]
fn a_certificate_is_got_kept_and_renewed() {
    let Some(world) = World::new() else { return };
    let authority = world.authority(world.tls.port());
    let root = world.root();
    let mut relay = world.relay();
    relay.says("getting a certificate for relay.example, town.example");
    relay.says("the new certificate is in use, and is renewed in 1");
    let shown = || {
        let shown = NAMES.map(|name| {
            // Nobody who was here before: who comes back is known without a certificate.
            let stream = handshake(&trusting(&root), world.tls, name).expect("a certificate for each name");
            stream.conn.peer_certificates().expect("certificates")[0].clone()
        });
        assert_eq!(shown[0], shown[1]);
        shown[0].clone()
    };
    let first = shown();
    let mut early = connect(&trusting(&root), world.tls, NAMES[0]);
    early.publish_ok(&Person::new(1).event(1, 1_700_000_000, &[], "over a certificate of its own"));
    let modes = ["data/acme", "data/acme/account.json", "data/acme/certificate.json"];
    assert_eq!(modes.map(|path| world.mode(path)), [0o700, 0o600, 0o600]);

    relay.says("the new certificate is in use");
    let second = shown();
    assert_ne!(first, second);
    early.hears_nothing_more();
    // Without the authority the relay comes back with what it has kept.
    drop(authority);
    relay.stop();
    let mut relay = world.relay();
    relay.says("plaza: listening on wss://");
    assert_eq!(shown(), second);
    relay.stop();
}

#[test]
fn a_name_that_leads_elsewhere_is_told_with_what_to_do() {
    let Some(world) = World::new() else { return };
    let nobody = free_port();
    let _authority = world.authority(nobody);
    let mut relay = world.relay();
    let said = relay.says("cannot get a certificate: ");
    // It is told of the name that was looked at first.
    let why = |name: &str| {
        format!(
            "{name}: Failed to connect to 127.0.0.1:{nobody} for the tls-alpn-01 challenge; the name must lead to this \
             machine, and port 443 there to tls.listen"
        )
    };
    assert!(NAMES.iter().any(|name| said == why(name)), "{said}");
    relay.says("the next try for a certificate is in 5 minutes");
    // Meanwhile the relay serves in plain, and takes part in no encrypted conversation.
    Client::connect(&format!("ws://{}", world.plain)).hears_nothing_more();
    handshake(&trusting(&world.root()), world.tls, NAMES[0]).expect_err("there is no certificate");
    relay.stop();
}

#[test]
fn an_authority_that_cannot_be_asked_is_told_with_what_to_do() {
    let Some(world) = World::new() else { return };
    let mut relay = world.relay();
    let [said, _] = relay.says_all(["cannot get a certificate: ", STARTED]);
    let begin = format!(
        "https://localhost:{0}/dir cannot be asked: no connection to localhost:{0}",
        world.directory_port
    );
    assert!(said.starts_with(&begin), "{said}");
    assert!(said.ends_with("let this machine reach it, or set acme.directory"), "{said}");
    relay.stop();
}

#[test]
fn an_authority_that_is_not_trusted_is_told() {
    let Some(world) = World::new() else { return };
    fs::write(world.folder.path().join("ca.pem"), Authority::new().root).expect("a file");
    let _authority = world.authority(world.tls.port());
    let mut relay = world.relay();
    let [said, _] = relay.says_all(["cannot get a certificate: ", STARTED]);
    assert!(said.contains("no TLS with localhost"), "{said}");
    relay.stop();
    fs::write(world.folder.path().join("ca.pem"), "nothing").expect("a file");
    let mut relay = world.relay();
    relay.says_all(["ca.pem: there is no certificate in it (PEM); set acme.directory_ca", STARTED]);
    relay.stop();
}
