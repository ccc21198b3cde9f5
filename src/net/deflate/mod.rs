//! Compressed messages (permessage-deflate, RFC 7692) between a client's socket and what reads and writes it. In: what
//! both sides agreed on, texts, bytes of compressed frames. Out: frames, messages. Holds next to nothing for a
//! connection that waits: compressors are the threads' (`machine.rs`), and what messages may refer to is kept only
//! where the settings have memory for it.

mod incoming;
mod machine;
pub(crate) mod offers;
#[cfg(any(test, fuzzing))]
pub(crate) mod probe;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

use super::socket::{Received, write_head};
use crate::config;
use crate::memory::Charge;
use crate::outbox::Text;
use incoming::{Incoming, Unpacked};
use offers::{Agreement, BITS_MAX};

/// The first byte of a message of one text frame that is compressed.
const PACKED_TEXT: u8 = 0xc1;

/// What a stored block (RFC 1951, section 3.2.4) takes besides its bytes.
const STORED_BYTES: usize = 5;

/// Numbers of connections with contexts, so that a thread knows whose one is.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// What a connection has of compression.
pub(super) struct Deflate {
    agreed: Agreement,
    level: u8,
    message_bytes_min: u32,
    incoming: Incoming,
    contexts: Option<Box<Contexts>>,
    tally: Tally,
}

/// What messages may refer to: the end of what was said before.
struct Contexts {
    number: u64,
    /// Compressed messages that were sent.
    messages: u64,
    sent: Vec<u8>,
    received: Vec<u8>,
    _charges: [Charge; 2],
}

/// Bytes of messages that were compressed on their way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// As they are, sent and received.
    pub(super) plain: [u64; 2],
    /// As they were on their way.
    pub(super) packed: [u64; 2],
}

impl Deflate {
    /// A connection on which this was agreed; the charges are those of its contexts.
    pub(super) fn new(
        agreed: Agreement,
        settings: &config::Compression,
        charges: Option<[Charge; 2]>,
    ) -> Box<Deflate> {
        let contexts = charges.map(|charges| {
            let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
            Box::new(Contexts {
                number,
                messages: 0,
                sent: Vec::new(),
                received: Vec::new(),
                _charges: charges,
            })
        });
        Box::new(Deflate {
            agreed,
            level: settings.level,
            message_bytes_min: u32::try_from(settings.message_bytes_min).unwrap_or(u32::MAX),
            incoming: Incoming::default(),
            contexts,
            tally: Tally::default(),
        })
    }

    /// Whether the next byte belongs to a compressed message, when it is not within a frame of another one.
    pub(super) fn claims(&self, next: u8) -> bool {
        self.incoming.claims(next)
    }

    /// Takes bytes that belong to a compressed message; returns how many, and the message if it is whole.
    pub(super) fn take(
        &mut self,
        input: &[u8],
        is_amid: bool,
        bytes_max: usize,
    ) -> (usize, Option<Received>) {
        let window = match &self.contexts {
            Some(contexts) if self.agreed.client_takeover => &contexts.received[..],
            _ => &[],
        };
        let (used, unpacked) = self.incoming.take(input, is_amid, bytes_max, window);
        (used, unpacked.map(|unpacked| self.message(unpacked?)))
    }

    fn message(&mut self, unpacked: Unpacked) -> Received {
        let Unpacked { bytes, is_text, packed_bytes } = unpacked;
        self.tally.plain[1] += bytes.len() as u64;
        self.tally.packed[1] += packed_bytes as u64;
        if self.agreed.client_takeover
            && let Some(contexts) = &mut self.contexts
        {
            remember(&mut contexts.received, &bytes, 1 << self.agreed.client_bits);
        }
        incoming::message(bytes, is_text)
    }

    /// Appends a text as a compressed frame, unless that would not be shorter; says whether it did.
    pub(super) fn put(&mut self, text: &Text<'_>, out: &mut Vec<u8>) -> bool {
        if text.len() < self.message_bytes_min as usize {
            return false;
        }
        let before = out.len();
        let is_put = if self.agreed.server_takeover {
            self.put_in_context(text, out)
        } else {
            self.put_event(text, out).unwrap_or_else(|| self.put_alone(text, out))
        };
        if is_put {
            self.tally.plain[0] += text.len() as u64;
            self.tally.packed[0] += (out.len() - before) as u64;
        }
        is_put
    }

    /// An event: what is before its JSON differs by subscription and goes as it is, in a block of its own; the rest is
    /// compressed once for all who are sent it. `None` for what cannot be sent so.
    fn put_event(&self, text: &Text<'_>, out: &mut Vec<u8>) -> Option<bool> {
        let Text::Event { head, body } = text else { return None };
        let head_bytes = u16::try_from(head.len()).ok()?;
        let is_within_window =
            self.agreed.server_bits == BITS_MAX || body.len() < 1 << self.agreed.server_bits;
        is_within_window.then(|| {
            machine::event(body, self.level, |packed| {
                let payload = STORED_BYTES + head.len() + packed.len();
                let is_shorter = payload < text.len();
                if is_shorter {
                    write_head(PACKED_TEXT, payload, out);
                    out.push(0);
                    out.extend_from_slice(&head_bytes.to_le_bytes());
                    out.extend_from_slice(&(!head_bytes).to_le_bytes());
                    out.extend_from_slice(head.as_bytes());
                    out.extend_from_slice(packed);
                }
                is_shorter
            })
        })
    }

    fn put_alone(&self, text: &Text<'_>, out: &mut Vec<u8>) -> bool {
        let put = machine::message(&text.pieces(), self.level, self.agreed.server_bits, |packed| {
            put_frame(packed, text.len(), out)
        });
        put == Some(true)
    }

    fn put_in_context(&mut self, text: &Text<'_>, out: &mut Vec<u8>) -> bool {
        let Some(contexts) = self.contexts.as_mut() else { return self.put_alone(text, out) };
        let Contexts { number, messages, sent, .. } = &mut **contexts;
        let (level, bits) = (self.level, self.agreed.server_bits);
        let is_sent = machine::message_in_context(
            &text.pieces(),
            (level, bits),
            sent,
            (*number, *messages),
            |packed| put_frame(packed, text.len(), out),
        );
        if is_sent {
            *messages += 1;
            text.pieces().iter().for_each(|piece| remember(sent, piece, 1 << bits));
        }
        is_sent
    }

    /// What was counted since this was last asked.
    pub(super) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Half a message that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.incoming.held_bytes()
    }

    /// Lets go of what was read: nothing more is.
    pub(super) fn stop_reading(&mut self) {
        self.incoming = Incoming::default();
    }
}

/// Appends a frame, unless it is not shorter than what it says.
fn put_frame(packed: &[u8], plain_bytes: usize, out: &mut Vec<u8>) -> bool {
    let is_shorter = packed.len() < plain_bytes;
    if is_shorter {
        write_head(PACKED_TEXT, packed.len(), out);
        out.extend_from_slice(packed);
    }
    is_shorter
}

/// Keeps the last bytes of what was said.
fn remember(window: &mut Vec<u8>, bytes: &[u8], window_bytes: usize) {
    let bytes = &bytes[bytes.len().saturating_sub(window_bytes)..];
    let surplus = (window.len() + bytes.len()).saturating_sub(window_bytes);
    window.drain(..surplus);
    window.reserve_exact(bytes.len());
    window.extend_from_slice(bytes);
}
