//! `[tls]` and `[acme]`: encrypted connections without a proxy in front, and certificates that the relay gets
//! by itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use hyper::Uri;
use serde::{Deserialize, Serialize};

use super::error::excerpt;
use super::{Config, SectionFault};

/// `[tls]`: where the relay listens for encrypted connections, and how it proves its name.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The address and port for encrypted connections; unset: there are none.
    pub listen: Option<SocketAddr>,
    /// The certificate and those between it and its authority: PEM, the relay's own first.
    pub certificate: Option<PathBuf>,
    /// The certificate's private key, PEM.
    pub key: Option<PathBuf>,
    /// Whether plain HTTP requests that ask for the relay by its name are sent to https.
    pub redirect_http: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self { listen: None, certificate: None, key: None, redirect_http: true }
    }
}

/// `[acme]`: certificates from an authority that speaks ACME (RFC 8555), such as Let's Encrypt.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Acme {
    /// The names that the certificate is for. Empty: the relay gets none by itself.
    pub domains: Vec<String>,
    /// Whether the operator agrees to the authority's terms of service; without that it gives none.
    pub agree_to_terms: bool,
    /// How the authority reaches the operator: an address that begins with `mailto:`.
    pub contact: Option<String>,
    /// The https address of the authority's directory.
    pub directory: String,
    /// The certificate (PEM) of who vouches for the directory's own, if the system does not trust it.
    pub directory_ca: Option<PathBuf>,
    /// The folder of the account, the certificate and its key. Unset: `acme` in `store.path`.
    pub cache: Option<PathBuf>,
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            agree_to_terms: false,
            contact: None,
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            directory_ca: None,
            cache: None,
        }
    }
}

/// Names that one certificate may be for: Let's Encrypt's bound.
const DOMAINS_MAX: usize = 100;

/// Whether a text is a name for which an authority can give a certificate: in lower case, without a wildcard,
/// and no address.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let is_address = text.parse::<std::net::IpAddr>().is_ok();
    text.len() <= 253 && text.contains('.') && !is_address && text.split('.').all(is_label)
}

impl Tls {
    /// The files of the certificate and its key, when there are both.
    pub fn files(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.certificate.as_ref().zip(self.key.as_ref())
    }
}

fn fault(key: &'static str, problem: &str, remedy: &str) -> Result<(), SectionFault> {
    Err(SectionFault { key, problem: problem.to_owned(), remedy: remedy.to_owned() })
}

/// What must hold within the sections, and between them and others.
pub(super) fn check(config: &Config) -> Result<(), SectionFault> {
    let Tls { listen, certificate, key, .. } = &config.tls;
    let gets_one = !config.acme.domains.is_empty();
    let Acme { directory_ca, cache, .. } = &config.acme;
    let files = [
        ("tls.certificate", certificate),
        ("tls.key", key),
        ("acme.directory_ca", directory_ca),
        ("acme.cache", cache),
    ];
    for (name, file) in files {
        if file.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
            return fault(name, "must not be empty", "name a path, or remove the line");
        }
    }
    check_acme(&config.acme)?;
    match (listen, certificate, key) {
        (_, Some(_), None) => {
            fault("tls.certificate", "is of no use without its key", "name the key's file in tls.key")
        }
        (_, None, Some(_)) => fault(
            "tls.key",
            "is of no use without its certificate",
            "name the certificate's file in tls.certificate",
        ),
        (_, Some(_), Some(_)) if gets_one => fault(
            "acme.domains",
            "the relay has a certificate in tls.certificate, and would get another one",
            "remove this line, or tls.certificate and tls.key",
        ),
        (Some(_), None, None) if !gets_one => fault(
            "tls.listen",
            "encrypted connections need a certificate",
            "name its file in tls.certificate, and its key's in tls.key, or let the relay get one ([acme])",
        ),
        (None, Some(_), Some(_)) => fault("tls.certificate", UNUSED, LISTEN),
        (None, ..) if gets_one => fault("acme.domains", UNUSED, LISTEN),
        (Some(listen), ..) if *listen == config.server.listen && listen.port() != 0 => {
            fault("tls.listen", "is server.listen too, where connections are plain", "choose another port")
        }
        _ => Ok(()),
    }
}

/// What is wrong with a certificate where there is no address, and what to do.
const UNUSED: &str = "is of no use where nothing is encrypted";
const LISTEN: &str = "write for example listen = \"0.0.0.0:443\" below [tls]";

fn check_acme(acme: &Acme) -> Result<(), SectionFault> {
    if let Some(wrong) = acme.domains.iter().find(|domain| !is_domain(domain)) {
        let problem =
            format!("{:?} is no full name in lower case, such as relay.example.com", excerpt(wrong));
        let remedy = "write the names under which the relay is reached, each by itself and without *";
        return fault("acme.domains", &problem, remedy);
    }
    if acme.domains.len() > DOMAINS_MAX {
        let problem = format!("one certificate is for at most {DOMAINS_MAX} names");
        return fault("acme.domains", &problem, "leave some out");
    }
    if !acme.domains.is_empty() && !acme.agree_to_terms {
        return fault(
            "acme.agree_to_terms",
            "the authority gives certificates only to who agrees to its terms",
            "read them (https://letsencrypt.org/repository), and write agree_to_terms = true",
        );
    }
    if acme.contact.as_ref().is_some_and(|contact| !contact.starts_with("mailto:")) {
        return fault("acme.contact", "must begin with mailto:", "write \"mailto:you@example.com\"");
    }
    let is_https = |uri: Uri| uri.scheme_str() == Some("https") && uri.host().is_some();
    if !acme.directory.parse().is_ok_and(is_https) {
        return fault("acme.directory", "must be an https address", "copy it from the authority's pages");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_for_full_names() {
        let long = format!("{}.example", "a".repeat(64));
        for wrong in [
            "",
            "relay",
            "*.example.org",
            "Relay.example.org",
            "a..b",
            ".a.b",
            "a.b.",
            "-a.b",
            "a-.b",
            "a_b.c",
            "127.0.0.1",
            "relay.example.org:443",
            "ä.example",
            &long,
        ] {
            assert!(!is_domain(wrong), "{wrong}");
        }
        for right in ["relay.example.org", "a.b", "xn--4ca.example", "1.example", "a-b.c-d.e"] {
            assert!(is_domain(right), "{right}");
        }
    }
}
