//! `[access]`: who may read and who may write.

use serde::{Deserialize, Serialize};

use crate::config::Mode;

/// `[access]`: who may read and who may write.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Whether its rules refuse, or only count and log what they would refuse.
    pub mode: Mode,
    /// Who may ask for events.
    pub read: Read,
    /// Whose events are taken.
    pub write: Write,
    /// Whether gift wraps (1059, 21059) come only from connections that have proved a key, where writing
    /// asks for one.
    pub auth_for_gift_wraps: bool,
}

/// Who may ask for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Read {
    /// Everybody.
    #[default]
    All,
    /// Connections that have proved a key (NIP-42).
    Authenticated,
    /// Connections that have proved a member's key.
    Members,
}

/// Whose events are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Write {
    /// Everybody's.
    #[default]
    All,
    /// Everybody's, from connections that have proved a key (NIP-42).
    Authenticated,
    /// Members', whoever sends them: their signature is proof enough.
    Members,
    /// Nobody's: the community is read-only.
    None,
}
