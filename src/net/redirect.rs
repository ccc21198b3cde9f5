//! Plain HTTP requests that are sent to https. In: a request and how it came. Out: where to go instead. Who asks
//! by an address or as localhost means this very port (health checks, metrics), and no certificate is for
//! these; a trusted proxy has made its own choice.

use std::net::IpAddr;

use hyper::header::{self, HeaderMap};
use hyper::http::uri::{Authority, Uri};

/// The port that https means when none is named.
const HTTPS_PORT: u16 = 443;

/// The https address of what was asked for in plain. `urls` are the addresses by which clients know the
/// community: one of the same name says which port is the right one, else it is the relay's own.
pub(super) fn to_https(headers: &HeaderMap, uri: &Uri, urls: &[String], tls_port: u16) -> Option<String> {
    let asked: Authority = headers.get(header::HOST)?.to_str().ok()?.parse().ok()?;
    let host = asked.host();
    // Brackets and the like are no part of any name.
    let is_named = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let is_address = host.parse::<IpAddr>().is_ok();
    let is_local = host == "localhost" || host.ends_with(".localhost");
    if !is_named || is_address || is_local || host.is_empty() {
        return None;
    }
    let known = urls.iter().filter_map(|url| url.strip_prefix("wss://")?.split('/').next()?.parse().ok());
    let mut known = known.filter(|known: &Authority| known.host().eq_ignore_ascii_case(host));
    let port = known.next().map_or(tls_port, |known| known.port_u16().unwrap_or(HTTPS_PORT));
    let port = if port == HTTPS_PORT { String::new() } else { format!(":{port}") };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    if !path.starts_with('/') {
        return None;
    }
    Some(format!("https://{host}{port}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sent_to_https_and_addresses_stay() {
        let urls = ["wss://relay.example".to_owned(), "wss://Other.example:8443/town".to_owned()];
        let table = [
            ("relay.example", "/", 443, Some("https://relay.example/")),
            ("00[::1]:7777", "/town", 443, None),
            ("relay.example:80", "/town?rules", 7778, Some("https://relay.example/town?rules")),
            ("other.example", "/town", 443, Some("https://other.example:8443/town")),
            ("third.example", "/", 443, Some("https://third.example/")),
            ("third.example:8080", "/", 7778, Some("https://third.example:7778/")),
            ("user@third.example", "/", 443, Some("https://third.example/")),
            ("127.0.0.1:7777", "/", 443, None),
            ("[::1]:7777", "/", 443, None),
            ("[::@]:7777", "/", 443, None),
            ("localhost:7777", "/", 443, None),
            ("relay.localhost", "/", 443, None),
            ("a b", "/", 443, None),
            ("relay.example", "*", 443, None),
            ("", "/", 443, None),
        ];
        for (host, path, port, location) in table {
            let headers: HeaderMap = [(header::HOST, host.parse().expect("a value"))].into_iter().collect();
            let uri: Uri = path.parse().expect("a path");
            assert_eq!(to_https(&headers, &uri, &urls, port).as_deref(), location, "{host}{path}");
        }
        assert_eq!(to_https(&HeaderMap::new(), &Uri::from_static("/"), &urls, 443), None);
    }
}
