//! The URLs that mean this relay, by which NIP-42 proofs and NIP-62 requests name it. Never the `Host`
//! header, which a rogue relay could make a victim sign for.

use std::net::SocketAddr;

use hyper::Uri;

/// A relay's URL as far as it tells relays apart: scheme and a trailing slash do not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RelayUrl {
    host: String,
    port: u16,
    path: String,
}

impl RelayUrl {
    fn parse(text: &str) -> Option<RelayUrl> {
        Self::parse_as(["ws", "wss"], text)
    }

    /// Reads a URL of one of these schemes, the plain one and the encrypted one.
    fn parse_as([plain, encrypted]: [&str; 2], text: &str) -> Option<RelayUrl> {
        let uri: Uri = text.trim().parse().ok()?;
        let port = match uri.scheme_str()? {
            scheme if scheme == plain => 80,
            scheme if scheme == encrypted => 443,
            _ => return None,
        };
        Some(RelayUrl {
            host: uri.host()?.trim_end_matches('.').to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(port),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// The URLs that mean this relay, for NIP-42 and NIP-62.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RelayNames(Vec<RelayUrl>);

impl RelayNames {
    /// The names that the operator gave, or, where there are none, the connection's own local address
    /// and `localhost`. Names that are no WebSocket URL are passed over: the config refuses them.
    pub fn new(urls: &[String], local: Option<SocketAddr>, path: &str) -> RelayNames {
        if !urls.is_empty() {
            return RelayNames(urls.iter().filter_map(|url| RelayUrl::parse(url)).collect());
        }
        let Some(local) = local else { return RelayNames::default() };
        let host = match local.ip().to_canonical() {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let path = path.trim_end_matches('/').to_owned();
        let name = |host: String| RelayUrl { host, port: local.port(), path: path.clone() };
        RelayNames(vec![name(host), name("localhost".to_owned())])
    }

    /// Whether this URL is one of them.
    pub fn include(&self, url: &str) -> bool {
        RelayUrl::parse(url).is_some_and(|url| self.0.contains(&url))
    }

    /// Whether this URL is one of them, or the one of HTTP beside it (NIP-98).
    pub fn include_http(&self, url: &str) -> bool {
        self.include(url)
            || RelayUrl::parse_as(["http", "https"], url).is_some_and(|url| self.0.contains(&url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_urls() {
        let local: SocketAddr = "127.0.0.1:7777".parse().expect("an address");
        let unset = RelayNames::new(&[], Some(local), "/");
        let town = RelayNames::new(&[], Some(local), "/town");
        let named = RelayNames::new(&["wss://Relay.Example.org".to_owned()], Some(local), "/");
        let table = [
            (&unset, "ws://127.0.0.1:7777", true),
            (&unset, "ws://127.0.0.1:7777/", true),
            (&unset, "wss://localhost:7777", true),
            (&unset, "ws://localhost", false),
            (&unset, "ws://localhost:7777/town", false),
            (&unset, "ws://relay.example.org:7777", false),
            (&unset, "http://localhost:7777", false),
            (&unset, "localhost:7777", false),
            (&unset, "", false),
            (&town, "ws://localhost:7777/town/", true),
            (&town, "ws://localhost:7777/", false),
            (&named, "wss://relay.example.org/", true),
            (&named, "wss://RELAY.example.org:443", true),
            (&named, "ws://relay.example.org", false),
            (&named, "wss://relay.example.org.evil.com", false),
            (&named, "ws://localhost:7777", false),
        ];
        for (names, url, included) in table {
            assert_eq!(names.include(url), included, "{url} in {names:?}");
        }
        for (url, included) in [
            ("https://relay.example.org", true),
            ("https://relay.example.org:443/", true),
            ("wss://relay.example.org", true),
            ("http://relay.example.org", false),
            ("https://relay.example.org/admin", false),
            ("https://evil.example.com", false),
        ] {
            assert_eq!(named.include_http(url), included, "{url}");
        }
        let v6 = RelayNames::new(&[], "[::1]:80".parse().ok(), "/");
        assert!(v6.include("ws://[::1]"));
    }
}
