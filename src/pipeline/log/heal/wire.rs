//! What nodes say to one another about copies, as bytes. In: bytes of other nodes, maybe of other versions. Out: what they
//! mean; what is not understood is no answer.

use async_nats::Message;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of all that is said here.
const VERSION: u32 = 1;

/// How an answer begins that brings some of a file, and one that says why not.
const PIECE: u8 = 0;
const NO_PIECE: u8 = 1;

/// A message with its version.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    said: T,
}

/// What all nodes are called with: who can give a copy of this log, as far as this?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Call {
    /// The node that asks.
    pub(super) from: String,
    pub(super) stream: u64,
    pub(super) after: u64,
}

/// What a node answers to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) node: String,
    pub(super) process: u64,
    pub(super) position: u64,
    /// Why it gives none now.
    pub(super) refuses: Option<String>,
}

/// What one node is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wanted {
    /// To begin a copy for a node.
    Begin(Call),
    /// How far it is.
    Look { copy: u64 },
    /// Some of one of its files.
    Piece { copy: u64, file: String, offset: u64, bytes: usize },
    /// Nothing more: it may go.
    Done { copy: u64 },
}

/// What it answers, but for pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// A copy is being made.
    Making { copy: u64 },
    /// It is there.
    Made,
    /// It is not, and will not be.
    No(String),
}

/// A message as bytes.
pub(super) fn write<T: Serialize>(said: &T) -> Bytes {
    // These have no maps with keys that are no text, which alone could fail.
    serde_json::to_vec(&Versioned { version: VERSION, said }).unwrap_or_default().into()
}

/// A message, if this version understands it.
pub(super) fn read<T: DeserializeOwned>(message: &Message) -> Option<T> {
    let read: Versioned<T> = serde_json::from_slice(&message.payload).ok()?;
    (read.version == VERSION).then_some(read.said)
}

/// Some of a file as an answer, or why there is none.
pub(super) fn write_piece(piece: Result<Vec<u8>, String>) -> Bytes {
    let (kind, rest) = match piece {
        Ok(bytes) => (PIECE, bytes),
        Err(why) => (NO_PIECE, why.into_bytes()),
    };
    [&[kind], &rest[..]].concat().into()
}

/// Some of a file.
///
/// # Errors
/// What the other node said instead.
pub(super) fn read_piece(answer: &Bytes) -> Result<Bytes, String> {
    match answer.first() {
        Some(&PIECE) => Ok(answer.slice(1..)),
        Some(_) => Err(String::from_utf8_lossy(&answer[1..]).into_owned()),
        None => Err("an answer without anything in it".to_owned()),
    }
}
