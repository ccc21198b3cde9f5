//! Domain names as people write them and URLs carry them, pure. In: text. Out: names in the one form in
//! which they can be compared, sets of names, the hosts of URLs and of the links in a text. Never resolves
//! a name; never touches the network.

pub mod lists;
pub mod proxy;
pub mod public;

use std::borrow::Cow;
use std::collections::BTreeSet;

use idna::AsciiDenyList;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest name that the domain name system can hold, in bytes.
pub const NAME_BYTES_MAX: usize = 253;

/// The longest part between two dots, in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// Longer texts are no names, whatever they become in ASCII; the bound keeps their conversion cheap.
const TEXT_BYTES_MAX: usize = 4 * NAME_BYTES_MAX;

/// The form in which names are compared: lower case, other scripts as `xn--…` (UTS 46), no dot at the end.
/// `None` for what is no name. Addresses of IPv4 pass as names of digits.
pub fn normalize(name: &str) -> Option<Cow<'_, str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > TEXT_BYTES_MAX {
        return None;
    }
    // What is ASCII only changes its case, also where `xn--` is followed by nothing that stands for other scripts:
    // resolvers may know such a name all the same, and it must not be another one in capitals.
    let ascii = match name.is_ascii() {
        true if name.bytes().any(|byte| byte.is_ascii_uppercase()) => Cow::Owned(name.to_ascii_lowercase()),
        true => Cow::Borrowed(name),
        false => idna::domain_to_ascii_cow(name.as_bytes(), AsciiDenyList::URL).ok()?,
    };
    is_name(&ascii).then_some(ascii)
}

fn is_name(ascii: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    ascii.len() <= NAME_BYTES_MAX && ascii.split('.').all(is_label)
}

/// A normalized name and the names above it, the longest first: `a.b.org`, `b.org`, `org`.
pub fn with_parents(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent))
}

/// The host of an http(s) URL, normalized. `None` for other URLs and for hosts that are no names, such as
/// addresses of IPv6.
pub fn host_of_url(url: &str) -> Option<Cow<'_, str>> {
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(ends_authority).unwrap_or(rest.len());
    host_of_authority(&rest[..end])
}

/// The hosts of the http(s) links in a text, normalized, in order, with repetitions. Escaped slashes count as
/// slashes, because profiles and reposts are JSON inside of the content. The work is linear in the text.
pub fn link_hosts(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.match_indices(':').flat_map(|(at, _)| {
        let authority = link_authority(text, at);
        let host = authority.map(|all| &all[..all.find(|c| !in_linked_host(c)).unwrap_or(all.len())]);
        // Text in scripts that know no blanks may follow a name at once: the name may end where ASCII ends.
        let ascii = host.map(|host| &host[..host.find(|c: char| !c.is_ascii()).unwrap_or(host.len())]);
        let whole = host.and_then(normalized_host);
        let start =
            ascii.filter(|ascii| ascii.contains('.') && host.is_some_and(|host| host.len() > ascii.len()));
        whole.into_iter().chain(start.and_then(normalized_host))
    })
}

/// What follows the scheme whose colon is at `at`, up to the path, without user and password.
fn link_authority(text: &str, at: usize) -> Option<&str> {
    let before = &text.as_bytes()[..at];
    let ends_with = |scheme: &[u8]| {
        before.len() >= scheme.len() && before[before.len() - scheme.len()..].eq_ignore_ascii_case(scheme)
    };
    if !ends_with(b"http") && !ends_with(b"https") {
        return None;
    }
    let rest = &text[at + 1..];
    let rest = rest.strip_prefix("//").or_else(|| rest.strip_prefix("\\/\\/"))?;
    let authority = &rest[..rest.find(ends_authority).unwrap_or(rest.len())];
    Some(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
}

/// What ends the part of a URL that names its host. Browsers take a backslash for a slash.
fn ends_authority(c: char) -> bool {
    matches!(c, '/' | '\\' | '?' | '#' | '"' | '<' | '>') || c.is_whitespace() || c.is_control()
}

/// What a host in running text is made of; a bracket, a comma or a port's colon ends it.
fn in_linked_host(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '%')
}

fn normalized_host(host: &str) -> Option<Cow<'_, str>> {
    let host = host.trim_end_matches(['.', '-', '_', '%']);
    if host.contains('%') {
        return Some(Cow::Owned(normalize(&percent_decoded(host)?)?.into_owned()));
    }
    normalize(host)
}

/// The host in `user:password@host:port`.
fn host_of_authority(authority: &str) -> Option<Cow<'_, str>> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    match host.contains('%') {
        true => Some(Cow::Owned(normalize(&percent_decoded(host)?)?.into_owned())),
        false => normalize(host),
    }
}

/// Browsers read `%61` in a host as `a`, so a list that did not would be easy to get around.
fn percent_decoded(host: &str) -> Option<String> {
    if host.len() > TEXT_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::with_capacity(host.len());
    let mut rest = host.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| first == b'%');
        match digits.and_then(|digits| hex::decode(digits).ok()) {
            Some(byte) => {
                bytes.extend(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// Domains in a setting: each stands for itself and all below it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DomainSet(BTreeSet<String>);

impl DomainSet {
    /// The set of these names; the first that is none is the error.
    ///
    /// # Errors
    /// A sentence that names what is no domain.
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Result<DomainSet, String> {
        let read = |name: S| {
            let name = name.as_ref().trim();
            let normal = normalize(name).map(Cow::into_owned);
            normal.ok_or_else(|| {
                // What was pasted here may be long, or a secret, and errors end up in logs.
                let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
                let shown = if name.contains("nsec1") { "a secret key" } else { &*shown };
                format!("{shown:?} is no domain name")
            })
        };
        names.into_iter().map(read).collect::<Result<_, _>>().map(DomainSet)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a normalized name, or one above it, is in the set.
    pub fn covers(&self, name: &str) -> bool {
        !self.0.is_empty() && with_parents(name).any(|name| self.0.contains(name))
    }

    /// The names in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Serialize for DomainSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DomainSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DomainSet::new(Vec::<String>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        let long = |bytes: usize| format!("{}.org", "a.".repeat(bytes)[..bytes - 4].trim_end_matches('.'));
        let (label, too_long_label) = ("a".repeat(63), "a".repeat(64));
        let table = [
            ("example.org", Some("example.org")),
            ("EXAMPLE.Org", Some("example.org")),
            ("example.org.", Some("example.org")),
            ("example.org..", None),
            (".example.org", None),
            ("a..b", None),
            ("", None),
            (".", None),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("BÜCHER.example", Some("xn--bcher-kva.example")),
            ("XN--BCHER-KVA.example", Some("xn--bcher-kva.example")),
            ("xn--192.example", Some("xn--192.example")),
            ("XN--192.example", Some("xn--192.example")),
            ("b\u{fc}cher。example", Some("xn--bcher-kva.example")),
            ("ＥＸＡＭＰＬＥ.org", Some("example.org")),
            ("a_b.example.org", Some("a_b.example.org")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("org", Some("org")),
            ("*.example.org", None),
            ("exa**le.org", None),
            ("ex ample.org", None),
            ("example.org/path", None),
            ("user@example.org", None),
            ("[::1]", None),
            (label.as_str(), Some(label.as_str())),
            (too_long_label.as_str(), None),
        ];
        for (text, name) in table {
            assert_eq!(normalize(text).as_deref(), name, "{text:?}");
        }
        for (bytes, is_name) in [(253, true), (254, false), (255, false)] {
            let name = format!("{}.{}", "a".repeat(bytes - long(250).len() - 1), long(250));
            assert_eq!((name.len(), normalize(&name).is_some()), (bytes, is_name));
        }
        assert_eq!(normalize(&"ü".repeat(5_000)), None);
    }

    #[test]
    fn urls_have_a_host() {
        let table = [
            ("https://example.org/a", Some("example.org")),
            ("HTTP://Example.ORG", Some("example.org")),
            ("https://example.org:8443?x", Some("example.org")),
            ("https://me:pw@example.org#f", Some("example.org")),
            ("https://good.org@evil.org/", Some("evil.org")),
            ("https://evil.org\\@good.org/", Some("evil.org")),
            ("https://e%78ample.org/", Some("example.org")),
            ("https://e%7gmple.org/", None),
            ("https://e%ff.org/", None),
            ("https://bücher.example", Some("xn--bcher-kva.example")),
            ("https://[::1]/", None),
            ("https:///x", None),
            ("https://", None),
            ("wss://example.org", None),
            ("at://example.org/x", None),
            ("example.org", None),
            ("", None),
        ];
        for (url, host) in table {
            assert_eq!(host_of_url(url).as_deref(), host, "{url}");
        }
    }

    #[test]
    fn links_are_found_in_running_text() {
        let table: [(&str, &[&str]); 19] = [
            ("no link: at all, http:/x, http//y, 1:2", &[]),
            ("see https://example.org.", &["example.org"]),
            ("(https://example.org)", &["example.org"]),
            ("**[x](https://example.org/a)**", &["example.org"]),
            ("https://a.org,https://b.org", &["a.org", "b.org"]),
            ("https://a.org/ https://b.org:80", &["a.org", "b.org"]),
            ("HTTPS://A.ORG", &["a.org"]),
            ("xhttp://a.org", &["a.org"]),
            ("https://u:p@a.org/x", &["a.org"]),
            (r#"{"url":"https:\/\/a.org\/b"}"#, &["a.org"]),
            (r#"{\"url\":\"https://a.org\"}"#, &["a.org"]),
            ("https://example.orgを見て", &["example.xn--org-qb4btip571c", "example.org"]),
            ("https://bücher.example/", &["xn--bcher-kva.example"]),
            ("見て https://a.org。次", &["a.org"]),
            ("https://%61.org/", &["a.org"]),
            ("wss://a.org ftp://b.org", &[]),
            ("https://", &[]),
            ("https://https://a.org", &["https", "a.org"]),
            ("https://[::1]/", &[]),
        ];
        for (text, hosts) in table {
            let found: Vec<_> = link_hosts(text).collect();
            assert_eq!(found, hosts, "{text}");
        }
    }

    #[test]
    fn a_set_covers_what_is_below_its_names() {
        let set = DomainSet::new(["Example.org", " bücher.example ", "onion"]).expect("names");
        let table = [
            ("example.org", true),
            ("a.b.example.org", true),
            ("badexample.org", false),
            ("org", false),
            ("xn--bcher-kva.example", true),
            ("x.onion", true),
            ("onion.org", false),
        ];
        for (name, covered) in table {
            assert_eq!(set.covers(name), covered, "{name}");
        }
        assert!(!DomainSet::default().covers("example.org"));
        assert_eq!(set.iter().collect::<Vec<_>>(), ["example.org", "onion", "xn--bcher-kva.example"]);
        let error = DomainSet::new(["ok.org", "*.x.org"]).expect_err("no name");
        assert_eq!(error, "\"*.x.org\" is no domain name");
        let error = DomainSet::new(["x/".repeat(10_000)]).expect_err("no name");
        assert!(error.len() < 300, "{error}");
    }
}
