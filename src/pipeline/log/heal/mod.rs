//! How a node comes by a copy when the log does not keep any more what it lacks: it asks the others, one of them makes a
//! backup of its store and hands it over in pieces, and the node makes a store of it beside its own, which the process
//! then opens in its place (`store/swap.rs`). In: that it cannot follow. Out: how far it is, and that there is a new store.
//! Never touches the store that is open.
//!
//! All of it goes over NATS as requests and answers, under `NAME.copy.`; nothing of it is in the log. Who asks calls all
//! nodes (`ask`), and then speaks to one (`of.PROCESS`).

mod fetch;
mod give;
mod wire;

use std::path::Path;

use async_nats::Client;
use serde::{Deserialize, Serialize};

pub(super) use self::fetch::Healer;
pub(super) use self::give::Giver;
use super::Log;
use crate::store::{StoreError, swap};

/// The folder of a copy that is given, within the store's.
const GIVEN: &str = "copy-given";

/// How a node that cannot follow the log comes by a copy of another one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Healing {
    /// The node whose copy it fetches.
    pub from: Option<String>,
    /// Bytes of it that are here, and of all of it; both 0 while it is being made there.
    pub bytes: u64,
    /// All of it.
    pub bytes_max: u64,
    /// Events of it that are in the new store.
    pub events: u64,
    /// Why the last attempt came to nothing; it is tried again.
    pub failed: Option<String>,
}

impl Healing {
    /// How it stands, as people read it.
    pub fn words(&self) -> String {
        use crate::words::{bytes, number};
        match (&self.from, &self.failed) {
            (None, Some(why)) => format!("a copy of another node is wanted, and is asked for again: {why}"),
            (None, None) => "it asks the other nodes for a copy".to_owned(),
            (Some(from), _) if self.events > 0 => {
                format!("a copy of {from} is put into a new store: {} events so far", number(self.events))
            }
            (Some(from), _) if self.bytes_max > 0 => {
                format!("it fetches a copy of {from}: {} of {}", bytes(self.bytes), bytes(self.bytes_max))
            }
            (Some(from), _) => format!("{from} makes a copy for it"),
        }
    }
}

/// What is wanted by a node that cannot follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fallen {
    /// The mark of the log.
    pub(super) stream: u64,
    /// A copy must be at least so far.
    pub(super) after: u64,
}

/// Removes what an earlier process left of copies. They are begun anew.
pub(super) fn clear(store: &Path) -> Result<(), StoreError> {
    swap::clear(store)?;
    swap::remove_folder(&store.join(GIVEN))
}

/// The subject by which all nodes are called.
fn to_all(log: &Log) -> String {
    format!("{}.copy.ask", log.settings.name)
}

/// That of one process.
fn to_one(log: &Log, process: u64) -> String {
    format!("{}.copy.of.{process:x}", log.settings.name)
}

/// The most bytes that are sent at once: an answer has a few more.
fn piece_bytes(client: &Client) -> usize {
    (client.server_info().max_payload / 2).clamp(512, PIECE_BYTES_MAX)
}

/// Bytes of a copy that are sent at once, at most.
const PIECE_BYTES_MAX: usize = 256 << 10;
