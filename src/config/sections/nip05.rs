//! `[nip05]`: names at a community's own domain.

use serde::{Deserialize, Serialize};

use crate::config::{LocalNames, SectionFault};

/// `[nip05]`: names that `/.well-known/nostr.json` gives to people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nip05 {
    /// Public keys by what stands before the `@`. Names that were given at `/admin` count before these.
    pub names: LocalNames,
}

impl Nip05 {
    pub(in crate::config) fn check(&self) -> Result<(), SectionFault> {
        let is_plain =
            |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_.".contains(letter);
        match self.names.iter().find(|(name, _)| name.is_empty() || !name.chars().all(is_plain)) {
            None => Ok(()),
            Some((name, _)) => Err(SectionFault {
                key: "nip05.names",
                problem: format!("{name:?} is no local name"),
                remedy: "use a to z, 0 to 9, and - _ . alone".to_owned(),
            }),
        }
    }
}
