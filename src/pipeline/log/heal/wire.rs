//! What nodes say to one another about copies, as bytes. In: bytes of other nodes, maybe of other versions. Out: what they
//! mean; what is not understood is no answer.

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
pub(super) fn read<T: DeserializeOwned>(message: &Bytes) -> Option<T> {
    let read: Versioned<T> = serde_json::from_slice(message).ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_and_nothing_else() {
        let call = Call { from: "a".to_owned(), stream: u64::MAX, after: 7 };
        assert_eq!(read(&write(&call)), Some(call.clone()));
        for wanted in [
            Wanted::Begin(call),
            Wanted::Look { copy: u64::MAX },
            Wanted::Piece { copy: 1, file: "state-1".to_owned(), offset: 3, bytes: 9 },
            Wanted::Done { copy: 0 },
        ] {
            assert_eq!(read(&write(&wanted)), Some(wanted));
        }
        for told in [Told::Making { copy: 5 }, Told::Made, Told::No("why".to_owned())] {
            assert_eq!(read(&write(&told)), Some(told));
        }
        // Its bytes stay as they are: nodes of two versions speak to one another.
        assert_eq!(write(&Wanted::Look { copy: 1 }), r#"{"version":1,"said":{"look":{"copy":1}}}"#);
        for (what, bytes) in [
            ("a later version", r#"{"version":2,"said":{"look":{"copy":1}}}"#),
            ("a question that is new", r#"{"version":1,"said":{"dance":{}}}"#),
            ("no JSON", "{"),
            ("nothing", ""),
        ] {
            assert_eq!(read::<Wanted>(&Bytes::from_static(bytes.as_bytes())), None, "{what}");
        }
    }

    #[test]
    fn pieces_are_bytes_or_a_reason() {
        for piece in [Ok(vec![]), Ok(vec![0, 1, 255]), Err("gone".to_owned()), Err(String::new())] {
            assert_eq!(read_piece(&write_piece(piece.clone())), piece.map(Bytes::from));
        }
        assert!(read_piece(&Bytes::new()).is_err());
    }
}
