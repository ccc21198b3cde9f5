//! Invariants of what a request says before anybody looks at its body, for `crate::fuzz`: its host and path, whence
//! a proxy says that it comes, where it is sent to, whose name it asks for.

use std::net::IpAddr;
use std::sync::LazyLock;

use hyper::Uri;
use hyper::header::{self, HeaderMap, HeaderValue};

use super::http::stated_address;
use super::redirect::to_https;
use crate::community::Communities;
use crate::config::Config;
use crate::fuzz::{Chance, Target};
use crate::nips::nip05;
use crate::rule::RelayNames;

pub(crate) const REQUEST: Target = Target::new("request", 4 * 1024, build, check);

/// A root, two communities by path, one of them by host too.
const SETTINGS: &str = r#"
[server]
trusted_proxies = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]
[[community]]
path = "/town"
host = "town.example"
[[community]]
path = "/a/b"
"#;

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    Config::parse(SETTINGS, "relay.toml".as_ref()).unwrap_or_else(|error| panic!("{error}"))
});
static COMMUNITIES: LazyLock<Communities> = LazyLock::new(|| Communities::without_store(&CONFIG));

/// Lines: the host, the target, whom the connection is from, what proxies say.
fn build(chance: &mut Chance) -> Vec<u8> {
    let odd = |chance: &mut Chance, usual: &[&str]| {
        if chance.one_in(6) { chance.text().replace('\n', "") } else { chance.pick(usual).to_owned() }
    };
    let host = odd(
        chance,
        &["town.example", "TOWN.example:443", "relay.example", "[::1]:7777", "town.example.", "x@y"],
    );
    let target = odd(
        chance,
        &["/", "/town", "/town/", "/a/b", "/a/b//", "//", "/x?name=ann", "/?rules&name=%41", "*"],
    );
    let addresses = [
        "127.0.0.1",
        "10.1.2.3",
        "192.0.2.1",
        "::ffff:192.0.2.1",
        "::ffff:10.0.0.1",
        "2001:db8::1",
        "[::1]:9",
    ];
    let peer = odd(chance, &addresses);
    let mut lines = vec![host, target, peer];
    lines.extend(chance.some(6, |chance| {
        let several = chance.some(4, |chance| odd(chance, &addresses));
        several.join(chance.pick(&[",", ", "]))
    }));
    lines.join("\n").into_bytes()
}

fn check(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut lines = text.split('\n');
    let (host, target) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let peer = lines.next().unwrap_or("").parse::<IpAddr>();
    let stated: Vec<&str> = lines.collect();
    if let Ok(peer) = peer {
        check_address(peer, &stated);
    }
    let names = RelayNames::new(&["wss://town.example/a".to_owned()], None, "/");
    assert!(!names.include(host) || host.to_ascii_lowercase().contains("town.example"), "{host}");
    let (Ok(uri), Ok(value)) = (target.parse::<Uri>(), HeaderValue::from_bytes(host.as_bytes())) else {
        return false;
    };
    check_place(host, &uri);
    check_redirection(value, &uri);
    let name = nip05::asked(uri.query());
    assert!(name.chars().count() <= 64 && !name.contains('&'), "{name}");
    let document = nip05::document(&name, None, &[]).to_string();
    assert_eq!(document, r#"{"names":{}}"#);
    true
}

/// A community is found by its path at any host but one that has its own, which has it at `/` and at its path.
fn check_place(host: &str, uri: &Uri) {
    let found = |host: &str, path: &str| {
        COMMUNITIES.find(Some(host), path).map(|community| community.path().to_owned())
    };
    let path = uri.path();
    let here = found(host, path);
    let bare = host.split(':').next().unwrap_or("");
    if bare.eq_ignore_ascii_case("town.example") && host.matches(':').count() == 1 && host.ends_with(":443") {
        let expected = matches!(path, "/" | "/town" | "/town/").then(|| "/town".to_owned());
        assert_eq!(here, expected, "{host} {path}");
    }
    if let Some(at) = &here {
        let is_own = host.to_ascii_lowercase().starts_with("town.example") && path == "/";
        assert!(is_own || path.trim_end_matches('/') == at.trim_end_matches('/'), "{host} {path} {at}");
    }
    assert_eq!(found(&host.to_ascii_uppercase(), path), here, "{host} in capitals");
}

/// Whoever is sent elsewhere is sent to the same place over https.
fn check_redirection(host: HeaderValue, uri: &Uri) {
    let headers: HeaderMap = [(header::HOST, host.clone())].into_iter().collect();
    let urls = ["wss://town.example:8443".to_owned()];
    let Some(location) = to_https(&headers, uri, &urls, 443) else { return };
    assert!(HeaderValue::try_from(&location).is_ok(), "{location:?}");
    let there: Uri = location.parse().unwrap_or_else(|error| panic!("{location}: {error}"));
    assert_eq!(there.scheme_str(), Some("https"), "{location}");
    assert_eq!(there.path(), if uri.path().is_empty() { "/" } else { uri.path() }, "{location}");
    assert_eq!(there.query(), uri.query(), "{location}");
    let asked = host.to_str().unwrap_or("").to_ascii_lowercase();
    assert!(
        there.host().is_some_and(|host| asked.contains(&host.to_ascii_lowercase())),
        "{location} for {asked}"
    );
}

/// Only trusted proxies are believed, and each only about whom it has seen itself.
fn check_address(peer: IpAddr, stated: &[&str]) {
    let mut headers = HeaderMap::new();
    for value in stated {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append("x-forwarded-for", value);
        }
    }
    let server = &CONFIG.server;
    let is_trusted =
        |address: &IpAddr| server.trusted_proxies.iter().any(|network| network.contains(address));
    let found = stated_address(peer, &headers, server);
    assert_eq!(found, found.to_canonical());
    if !is_trusted(&peer.to_canonical()) {
        assert_eq!(found, peer.to_canonical(), "{stated:?}");
    }
    // Whatever clients write in front changes nothing, once an address is reached that is no proxy's.
    if !is_trusted(&found) {
        let mut forged = HeaderMap::new();
        forged.append("x-forwarded-for", HeaderValue::from_static("203.0.113.9, 127.0.0.1"));
        headers.get_all("x-forwarded-for").iter().for_each(|value| {
            forged.append("x-forwarded-for", value.clone());
        });
        let is_peer = found == peer.to_canonical() && is_trusted(&peer.to_canonical());
        assert!(is_peer || stated_address(peer, &forged, server) == found, "{stated:?}");
    }
}
