//! Compressed messages as they come: follows the frames of one, gathers what they carry, and hands over the whole
//! message (RFC 7692, section 7.2.2). In: bytes of its frames. Out: a message, or why there is none. All other frames
//! are tungstenite's.

use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::Data;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::machine;
use crate::net::socket::{Received, Unreadable};

/// Bits of a frame's first byte (RFC 6455, section 5.2).
const LAST: u8 = 0x80;
const PACKED: u8 = 0x40;
const RESERVED: u8 = 0x30;
const OPERATION: u8 = 0x0f;

const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// What a compressed message may be longer than the longest one that is not, as a part of it: deflate adds as little to
/// what it cannot shorten.
const LONGER_PART: usize = 64;
const LONGER_BYTES: usize = 64;

/// A message that was compressed.
pub(super) struct Unpacked {
    pub(super) bytes: Vec<u8>,
    pub(super) is_text: bool,
    /// How long it was on its way.
    pub(super) packed_bytes: usize,
}

/// Where the client is in a compressed message.
#[derive(Default)]
pub(super) struct Incoming {
    /// Whether the message that is under way is text, if there is one.
    text: Option<bool>,
    /// The head of its next frame, as far as it has come.
    head: [u8; 14],
    head_bytes: u8,
    /// What is yet to come of its frame; `None` between two frames.
    left: Option<usize>,
    mask: [u8; 4],
    mask_at: usize,
    packed: Vec<u8>,
}

impl Incoming {
    /// Whether the next byte is one of a compressed message's frames, when it is not within a frame of another one.
    pub(super) fn claims(&self, next: u8) -> bool {
        let operation = next & OPERATION;
        self.is_within_frame()
            || match self.text {
                // Another message within this one is a fault.
                Some(_) => operation <= BINARY,
                None => next & PACKED != 0 && matches!(operation, TEXT | BINARY),
            }
    }

    fn is_within_frame(&self) -> bool {
        self.head_bytes > 0 || self.left.is_some()
    }

    /// What it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.packed.capacity()
    }

    /// Takes bytes of one frame; returns how many, and what they make up. `is_amid`: a message that is not compressed is
    /// under way. `window` is what the client's earlier messages left to refer to.
    pub(super) fn take(
        &mut self,
        input: &[u8],
        is_amid: bool,
        bytes_max: usize,
        window: &[u8],
    ) -> (usize, Option<Result<Unpacked, Unreadable>>) {
        let mut used = 0;
        let left = loop {
            if let Some(left) = self.left {
                break left;
            }
            let Some(byte) = input.get(used) else { return (used, None) };
            self.head[usize::from(self.head_bytes)] = *byte;
            self.head_bytes += 1;
            used += 1;
            if let Err(error) = self.read_head(is_amid, bytes_max) {
                return (used, Some(Err(error.into())));
            }
        };
        let payload = &input[used..][..left.min(input.len() - used)];
        let (mask, at) = (self.mask, self.mask_at);
        self.packed.extend(payload.iter().zip(at..).map(|(byte, at)| byte ^ mask[at % 4]));
        self.mask_at = (at + payload.len()) % 4;
        used += payload.len();
        self.left = Some(left - payload.len());
        if payload.len() < left {
            return (used, None);
        }
        self.left = None;
        let is_last = self.head[0] & LAST != 0;
        (used, is_last.then(|| self.unpack(bytes_max, window)))
    }

    /// Checks the head as far as it has come; when it is whole its payload comes next.
    fn read_head(&mut self, is_amid: bool, bytes_max: usize) -> Result<(), Error> {
        let head = &self.head[..usize::from(self.head_bytes)];
        if head.len() == 1 {
            return self.begin(head[0], is_amid);
        }
        if head[1] & 0x80 == 0 {
            return Err(ProtocolError::UnmaskedFrameFromClient.into());
        }
        let wide = match head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if head.len() < 2 + wide + 4 {
            return Ok(());
        }
        let payload = match wide {
            0 => u64::from(head[1] & 0x7f),
            _ => head[2..2 + wide].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        self.mask.copy_from_slice(&head[2 + wide..]);
        self.mask_at = 0;
        let all = self.packed.len().saturating_add(usize::try_from(payload).unwrap_or(usize::MAX));
        if all > bytes_max + bytes_max / LONGER_PART + LONGER_BYTES {
            return Err(too_long(all, bytes_max));
        }
        self.left = Some(all - self.packed.len());
        self.head_bytes = 0;
        Ok(())
    }

    /// The first byte of a frame: a message begins or goes on.
    fn begin(&mut self, first: u8, is_amid: bool) -> Result<(), Error> {
        let operation = first & OPERATION;
        match self.text {
            Some(_) if operation != 0 => {
                let data = if operation == TEXT { Data::Text } else { Data::Binary };
                Err(ProtocolError::ExpectedFragment(data).into())
            }
            // Only the first frame of a message says that it is compressed.
            Some(_) if first & (PACKED | RESERVED) != 0 => Err(ProtocolError::NonZeroReservedBits.into()),
            Some(_) => Ok(()),
            None if first & RESERVED != 0 => Err(ProtocolError::NonZeroReservedBits.into()),
            None if is_amid => Err(ProtocolError::ExpectedFragment(Data::Continue).into()),
            None => {
                self.text = Some(operation == TEXT);
                Ok(())
            }
        }
    }

    fn unpack(&mut self, bytes_max: usize, window: &[u8]) -> Result<Unpacked, Unreadable> {
        let is_text = self.text.take() == Some(true);
        let packed = std::mem::take(&mut self.packed);
        let packed_bytes = packed.len();
        let bytes = machine::inflate(packed, window, bytes_max)?;
        Ok(Unpacked { bytes, is_text, packed_bytes })
    }
}

/// What a client sent is longer than a message may be.
pub(super) fn too_long(size: usize, max_size: usize) -> Error {
    CapacityError::MessageTooLong { size, max_size }.into()
}

/// A message of what was unpacked.
pub(super) fn message(bytes: Vec<u8>, is_text: bool) -> Received {
    if !is_text {
        return Ok(Message::Binary(bytes.into()));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Message::Text(text.into())),
        Err(error) => Err(Error::Utf8(error.to_string()).into()),
    }
}
