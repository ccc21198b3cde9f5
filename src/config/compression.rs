//! `[compression]`: compressed messages (permessage-deflate). In: its table. Out: settings.

use serde::{Deserialize, Serialize};

/// `[compression]`: messages of clients that offer permessage-deflate (RFC 7692). It counts for connections that come.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compression {
    /// Whether it is agreed to.
    pub enabled: bool,
    /// How hard deflate tries, from 1 to 9.
    pub level: u8,
    /// Bytes from which on a message is compressed; shorter ones are sent as they are.
    pub message_bytes_min: usize,
    /// Bytes of all connections' contexts together: what messages may refer to of those before. 0: none has one.
    pub context_bytes_max: usize,
    /// The window of a context, as a power of two.
    pub context_window_bits: u8,
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            enabled: true,
            level: 2,
            message_bytes_min: 512,
            context_bytes_max: 0,
            context_window_bits: 12,
        }
    }
}
