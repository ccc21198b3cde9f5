//! `[blocklist]`: lists of domains, as the fediverse shares them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::SectionFault;
use crate::config::Mode;
use crate::domain::DomainSet;

/// `[blocklist]`: lists of domains in Mastodon's export format, and what they are held against.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Blocklist {
    /// Whether its rules refuse, or only count and log what they would refuse.
    pub mode: Mode,
    /// The CSV files; where several know a domain the first one counts.
    pub files: Vec<PathBuf>,
    /// What of an event is held against the lists.
    pub apply_to: Vec<BlocklistPart>,
    /// Domains that no list touches, with all below them.
    pub domains_allowed: DomainSet,
}

/// A part of an event that names a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BlocklistPart {
    /// The host in a proxy tag (NIP-48), from which a bridged event comes.
    Proxy,
    /// The domain in its author's NIP-05 identifier.
    Nip05,
    /// The hosts of http(s) links in its text.
    Links,
}

impl Default for Blocklist {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            files: Vec::new(),
            apply_to: vec![BlocklistPart::Proxy, BlocklistPart::Nip05, BlocklistPart::Links],
            domains_allowed: DomainSet::default(),
        }
    }
}

impl Blocklist {
    /// What must hold besides.
    pub(in crate::config) fn check(&self) -> Result<(), SectionFault> {
        if self.files.iter().all(|file| !file.as_os_str().is_empty()) {
            return Ok(());
        }
        Err(SectionFault {
            key: "blocklist.files",
            problem: "must not name an empty path".to_owned(),
            remedy: "write for example files = [\"blocklist.csv\"]".to_owned(),
        })
    }
}
