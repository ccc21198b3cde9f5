//! `[tls]`: encrypted connections without a proxy in front.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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

impl Tls {
    /// The files of the certificate and its key, when there are both.
    pub fn files(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.certificate.as_ref().zip(self.key.as_ref())
    }
}

fn fault(key: &'static str, problem: &str, remedy: &str) -> Result<(), SectionFault> {
    Err(SectionFault { key, problem: problem.to_owned(), remedy: remedy.to_owned() })
}

/// What must hold within the section, and between it and others.
pub(super) fn check(config: &Config) -> Result<(), SectionFault> {
    let Tls { listen, certificate, key, .. } = &config.tls;
    for (name, file) in [("tls.certificate", certificate), ("tls.key", key)] {
        if file.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
            return fault(name, "must not be empty", "name the file, or remove the line");
        }
    }
    match (listen, certificate, key) {
        (_, Some(_), None) => {
            fault("tls.certificate", "is of no use without its key", "name the key's file in tls.key")
        }
        (_, None, Some(_)) => fault(
            "tls.key",
            "is of no use without its certificate",
            "name the certificate's file in tls.certificate",
        ),
        (Some(_), None, None) => fault(
            "tls.listen",
            "encrypted connections need a certificate",
            "name its file in tls.certificate, and its key's in tls.key",
        ),
        (None, Some(_), Some(_)) => fault(
            "tls.certificate",
            "is of no use where nothing is encrypted",
            "write for example listen = \"0.0.0.0:443\" below [tls]",
        ),
        (Some(listen), ..) if *listen == config.server.listen && listen.port() != 0 => {
            fault("tls.listen", "is server.listen too, where connections are plain", "choose another port")
        }
        _ => Ok(()),
    }
}
