//! `[moderation_service]`: a service that is sent events and gives verdicts (docs/moderation.md).

use std::path::PathBuf;

use hyper::Uri;
use serde::{Deserialize, Serialize};

use super::SectionFault;
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

/// `[moderation_service]`: a service that is sent events and gives verdicts.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModerationService {
    /// Whether its verdicts count, or are only recorded and counted.
    pub mode: Mode,
    /// Where events are sent, by POST. Unset: nowhere.
    pub url: Option<String>,
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

    /// What must hold besides.
    pub(in crate::config) fn check(&self) -> Result<(), SectionFault> {
        let fault = |key, problem: &str, remedy: &str| {
            Err(SectionFault { key, problem: problem.to_owned(), remedy: remedy.to_owned() })
        };
        let Some(url) = &self.url else { return Ok(()) };
        let uri: Option<Uri> = url.parse().ok();
        let is_address = uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("https" | "http"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        let pubkey = self.pubkey.as_deref().map(parse_key);
        match (is_address, &self.secret_file, pubkey) {
            (false, ..) => fault(
                "moderation_service.url",
                "must be an address that begins with https:// or http://",
                "write for example \"https://moderation.example.com/events\"",
            ),
            (_, None, _) => fault(
                "moderation_service.secret_file",
                "is needed where there is a url: it signs what is sent",
                "name a file with a secret of 16 bytes or more, such as `openssl rand -hex 32` writes",
            ),
            (.., None | Some(Err(_))) => fault(
                "moderation_service.pubkey",
                "must be a public key where there is a url: verdicts are given in its name",
                "write the service's key as 64 hexadecimal digits or npub1…; `plaza key` makes one",
            ),
            _ => Ok(()),
        }
    }
}
