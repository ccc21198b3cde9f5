//! `[zaps]`: what zap receipts and goals must be.

use serde::{Deserialize, Serialize};

use crate::config::{Keys, Mode};

/// `[zaps]`: what zap receipts (NIP-57) and goals (NIP-75) must be.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Zaps {
    /// Whether its rules refuse, or only count and log what they would refuse.
    pub mode: Mode,
    /// Whether receipts and goals are checked at all.
    pub enabled: bool,
    /// Whether an invoice must be made for exactly the request that its receipt holds; a SHOULD of NIP-57.
    pub description_hash_required: bool,
    /// Whether the invoice of a receipt must name an amount.
    pub amount_required: bool,
    /// The keys that may sign receipts; empty means any. Wallets name theirs in answer to HTTP requests, which
    /// a relay does not make.
    pub wallets: Keys,
    /// Whether zap requests (9734), which NIP-57 sends to wallets and not to relays, are taken.
    pub requests_accepted: bool,
    /// What becomes of receipts that come too late for their goal.
    pub after_closed: AfterClosed,
}

/// What becomes of receipts that were made after their goal was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AfterClosed {
    /// They are taken like others: clients know not to count them.
    #[default]
    Accept,
    /// They are taken, and each is counted and logged.
    Mark,
    /// They are not taken.
    Refuse,
}

impl Default for Zaps {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            enabled: false,
            description_hash_required: false,
            amount_required: false,
            wallets: Keys::default(),
            requests_accepted: true,
            after_closed: AfterClosed::default(),
        }
    }
}
