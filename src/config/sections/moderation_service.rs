//! `[moderation_service]`: a service that is sent events and gives verdicts (docs/moderation.md).

use std::path::PathBuf;

use hyper::Uri;
use serde::{Deserialize, Serialize};

use super::SectionFault;
use crate::config::cluster::is_server;
use crate::config::{KindSet, Mode, parse_key};
use crate::event::{Kind, PublicKey};

/// The bounds of this section's numbers.
pub(super) const RANGES: &[(&str, u64, u64)] = &[
    ("moderation_service.batch_events_max", 1, 1_000),
    ("moderation_service.batch_milliseconds", 1, 3_600_000),
    ("moderation_service.timeout_milliseconds", 1, 600_000),
    ("moderation_service.backlog_max", 1, 1_000_000_000),
    ("moderation_service.verdict_seconds_max", 1, 31_536_000),
];

/// The fewest bytes of a secret that signs.
const SECRET_BYTES_MIN: usize = 16;

/// Bytes of a subject.
const SUBJECT_BYTES_MAX: usize = 255;

/// `[moderation_service]`: a service that is sent events and gives verdicts.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModerationService {
    /// Whether its verdicts count, or are only recorded and counted.
    pub mode: Mode,
    /// Where events are sent: by POST to an address of http or https, by requests to a NATS server with one of nats or
    /// tls. Unset: nowhere.
    pub url: Option<String>,
    /// The subject of the requests to a NATS server.
    pub subject: Option<String>,
    /// Who this relay is to the NATS server, where it asks for a name and a password.
    pub user: Option<String>,
    /// The file of the password.
    pub password_file: Option<PathBuf>,
    /// Certificates of authorities whom the NATS server's is from, in PEM, in place of those that the system trusts.
    pub tls_ca: Option<PathBuf>,
    /// This relay's certificate, where the NATS server asks for one, in PEM.
    pub tls_certificate: Option<PathBuf>,
    /// Its key.
    pub tls_key: Option<PathBuf>,
    /// The file of the secret that signs what is sent.
    pub secret_file: Option<PathBuf>,
    /// The service's own public key: by it calls are known, and its verdicts in the record.
    pub pubkey: Option<String>,
    /// The only kinds that are sent; empty means all. Private messages and ephemeral events never are.
    pub kinds: KindSet,
    /// Events that are sent at once.
    pub batch_events_max: usize,
    /// Milliseconds from one look for new events to the next.
    pub batch_milliseconds: u64,
    /// Milliseconds in which it must answer.
    pub timeout_milliseconds: u64,
    /// Events that may wait to be sent; beyond it the oldest are passed over.
    pub backlog_max: u64,
    /// What becomes of an event until its verdict comes.
    pub until_verdict: UntilVerdict,
    /// Seconds for which an event is held at most.
    pub verdict_seconds_max: u64,
    /// What becomes of a held event after that.
    pub without_verdict: WithoutVerdict,
    /// Labels of the service that hide what they are given to.
    pub labels_hidden: Vec<String>,
    /// What is in `secret_file`.
    #[serde(skip)]
    pub secret: Vec<u8>,
}

/// What becomes of an event until its verdict comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UntilVerdict {
    /// It is shown.
    #[default]
    Show,
    /// Only its author and moderators see it.
    Hold,
}

/// What becomes of a held event that gets no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WithoutVerdict {
    /// It is shown.
    #[default]
    Show,
    /// It is removed.
    Remove,
}

impl Default for ModerationService {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            url: None,
            subject: None,
            user: None,
            password_file: None,
            tls_ca: None,
            tls_certificate: None,
            tls_key: None,
            secret_file: None,
            pubkey: None,
            kinds: KindSet::default(),
            batch_events_max: 100,
            batch_milliseconds: 1_000,
            timeout_milliseconds: 10_000,
            backlog_max: 1_000_000,
            until_verdict: UntilVerdict::Show,
            verdict_seconds_max: 86_400,
            without_verdict: WithoutVerdict::Show,
            labels_hidden: Vec::new(),
            secret: Vec::new(),
        }
    }
}

impl ModerationService {
    /// The service's key.
    pub fn key(&self) -> Option<PublicKey> {
        self.url.as_ref()?;
        self.pubkey.as_deref().and_then(|key| parse_key(key).ok())
    }

    /// Whether events of a kind are sent. `is_private`: whether the kind is one of private messages.
    pub fn is_sent(&self, kind: Kind, is_private: bool) -> bool {
        !is_private && (self.kinds.is_empty() || self.kinds.contains(kind))
    }

    /// Whether events are held until a verdict comes.
    pub fn holds(&self) -> bool {
        self.url.is_some() && self.mode == Mode::Enforce && self.until_verdict == UntilVerdict::Hold
    }

    /// Whether a secret is none.
    pub(in crate::config) fn is_short(secret: &[u8]) -> bool {
        secret.len() < SECRET_BYTES_MIN
    }

    /// Whether it is reached by NATS.
    pub fn is_by_nats(&self) -> bool {
        self.url.as_deref().is_some_and(is_nats)
    }

    /// The files that say who this relay is and whom it trusts, by the keys that name them.
    pub(in crate::config) fn files_of_nats(&mut self) -> [(&'static str, &mut Option<PathBuf>); 4] {
        [
            ("moderation_service.password_file", &mut self.password_file),
            ("moderation_service.tls_ca", &mut self.tls_ca),
            ("moderation_service.tls_certificate", &mut self.tls_certificate),
            ("moderation_service.tls_key", &mut self.tls_key),
        ]
    }

    /// What must hold besides.
    pub(in crate::config) fn check(&self) -> Result<(), SectionFault> {
        let Some(url) = &self.url else { return Ok(()) };
        match is_nats(url) {
            true => self.check_nats(url)?,
            false => self.check_http(url)?,
        }
        match (&self.secret_file, self.pubkey.as_deref().map(parse_key)) {
            (None, _) => fault(
                "moderation_service.secret_file",
                "is needed where there is a url: it signs what is sent",
                "name a file with a secret of 16 bytes or more, such as `openssl rand -hex 32` writes",
            ),
            (_, None | Some(Err(_))) => fault(
                "moderation_service.pubkey",
                "must be a public key where there is a url: verdicts are given in its name",
                "write the service's key as 64 hexadecimal digits or npub1…; `plaza key FILE` makes one",
            ),
            _ => Ok(()),
        }
    }

    fn check_http(&self, url: &str) -> Result<(), SectionFault> {
        let uri: Option<Uri> = url.parse().ok();
        let is_address = uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("https" | "http"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        if !is_address {
            return fault(
                "moderation_service.url",
                "must be an address that begins with https://, http://, nats:// or tls://",
                "write for example \"https://moderation.example.com/events\", or \"nats://10.0.0.1:4222\" with a subject",
            );
        }
        let of_nats = [
            ("moderation_service.subject", self.subject.is_some()),
            ("moderation_service.user", self.user.is_some()),
            ("moderation_service.password_file", self.password_file.is_some()),
            ("moderation_service.tls_ca", self.tls_ca.is_some()),
            ("moderation_service.tls_certificate", self.tls_certificate.is_some()),
            ("moderation_service.tls_key", self.tls_key.is_some()),
        ];
        match of_nats.into_iter().find(|(_, is_there)| *is_there) {
            Some((key, _)) => fault(
                key,
                "is for a service that is reached by NATS",
                "remove the line, or write a url that begins with nats:// or tls://",
            ),
            None => Ok(()),
        }
    }

    fn check_nats(&self, url: &str) -> Result<(), SectionFault> {
        if !is_server(url) {
            let remedy = "write for example \"nats://10.0.0.1:4222\"; a name and a password stand in \
                          moderation_service.user and moderation_service.password_file";
            return fault(
                "moderation_service.url",
                "must be the address of a NATS server and no more",
                remedy,
            );
        }
        let example = "write for example subject = \"moderation.events\"";
        match self.subject.as_deref() {
            None => {
                fault("moderation_service.subject", "is needed where the url is of a NATS server", example)
            }
            Some(subject) if subject.split('.').any(|part| matches!(part, "*" | ">")) => {
                fault("moderation_service.subject", "must be one subject, without * and >", example)
            }
            Some(subject) if !is_subject(subject) => fault(
                "moderation_service.subject",
                "must be words between dots, of 255 characters at most, without spaces",
                example,
            ),
            _ if self.user.is_some() != self.password_file.is_some() => {
                let problem = "and moderation_service.password_file go together";
                fault("moderation_service.user", problem, "write both, or none")
            }
            _ if self.tls_certificate.is_some() != self.tls_key.is_some() => {
                let problem = "and moderation_service.tls_key go together";
                fault("moderation_service.tls_certificate", problem, "write both, or none")
            }
            _ => Ok(()),
        }
    }
}

fn fault(key: &'static str, problem: &str, remedy: &str) -> Result<(), SectionFault> {
    Err(SectionFault { key, problem: problem.to_owned(), remedy: remedy.to_owned() })
}

fn is_nats(url: &str) -> bool {
    url.starts_with("nats://") || url.starts_with("tls://")
}

/// Whether somebody may be asked by it. What begins with `$` is the servers' own.
fn is_subject(subject: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
    subject.len() <= SUBJECT_BYTES_MAX && !subject.starts_with('$') && subject.split('.').all(is_part)
}
