//! What is said over the control socket: commands and answers, each a JSON object in a line of its own. Closed
//! sets: what is not here is refused. Says nothing of how it is done.

use serde::{Deserialize, Serialize};

use crate::community::ListStats;
use crate::mirror::MirrorStats;
use crate::pipeline::log::ClusterStatus;
use crate::store::copy::{Copied, Earlier, Part, Stamp};

/// The longest line of a command.
pub(super) const COMMAND_BYTES_MAX: u64 = 4 << 20;

/// What an operator may ask of a relay that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// What is stored, in numbers.
    Stats,
    /// How each mirror stands.
    Mirrors,
    /// How the node stands in its cluster.
    Cluster,
    /// How each list of other relays stands, and whom it touched.
    Lists,
    /// A copy of the store, or of what is new in it. Answered with `copying`, then chunks, then `copied`.
    Copy {
        /// What to go on from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Since>,
    },
    /// The copy that this connection has got is safe: the next one of that folder may go on from it.
    Keep {
        /// The folder's stamp.
        #[serde(with = "hex::serde")]
        folder: Stamp,
        /// The copy's.
        #[serde(with = "hex::serde")]
        stamp: Stamp,
        /// What it is as of.
        group: u64,
    },
    /// Removes events. Answered with `deleted` again and again, the last time with `done`.
    Delete(DeleteCommand),
    /// Has the search index of a community, or of all that search, built anew. Answered with `reindexing`.
    Reindex {
        /// The community's path.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        community: Option<String>,
    },
}

/// An earlier copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since {
    #[serde(with = "hex::serde")]
    folder: Stamp,
    #[serde(with = "hex::serde")]
    stamp: Stamp,
    /// By community: a list, as keys of JSON objects are texts.
    next_numbers: Vec<(u32, u64)>,
}

impl From<Earlier> for Since {
    fn from(Earlier { folder, stamp, next_numbers }: Earlier) -> Self {
        Since { folder, stamp, next_numbers: next_numbers.into_iter().collect() }
    }
}

impl From<Since> for Earlier {
    fn from(Since { folder, stamp, next_numbers }: Since) -> Self {
        Earlier { folder, stamp, next_numbers: next_numbers.into_iter().collect() }
    }
}

/// Which events to remove.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteCommand {
    /// The community's path.
    pub community: String,
    /// A NIP-01 filter, as JSON.
    pub filter: String,
    /// Only events that are this many seconds old, by their `created_at`.
    #[serde(default)]
    pub older_than_seconds: u64,
    /// Removes nothing: counts and shows a sample.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a relay answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// What is stored.
    Stats(Stats),
    /// How each mirror stands.
    Mirrors(Vec<MirrorStats>),
    /// How the node stands in its cluster; `None` for a relay that is alone.
    Cluster(Option<ClusterStatus>),
    /// How each list stands.
    Lists(Vec<ListStats>),
    /// A copy begins.
    Copying {
        /// Whether it brings only what is new.
        is_incremental: bool,
    },
    /// As many bytes of a copy follow this line.
    Chunk {
        /// What they hold.
        part: Part,
        /// How many they are.
        bytes: u32,
    },
    /// Something in the store cannot be read, and is left out of the copy.
    Fault(String),
    /// The copy is complete.
    Copied(Copied),
    /// The copy is remembered.
    Kept {},
    /// Events were removed, or counted.
    Deleted(Deleted),
    /// Search indexes are being built anew.
    Reindexing {
        /// Paths of the communities.
        communities: Vec<String>,
    },
    /// The command could not be followed.
    Error(String),
}

/// How a removal stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Deleted {
    /// Events removed so far; in a dry run those that would be.
    pub events: u64,
    /// Events that match.
    pub of: u64,
    /// Requests to delete and to vanish that match and are kept, as the filter does not name their kinds.
    pub kept: u64,
    /// In a dry run: some of the events, newest first.
    #[serde(default)]
    pub sample: Vec<serde_json::Value>,
    /// Whether this is the end.
    pub done: bool,
}

/// What is stored, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// One for each community, the root first.
    pub communities: Vec<CommunityStats>,
    /// Paths of which the store has events, or had, and where no community is any more.
    pub unused: Vec<String>,
    /// Bytes that the store's files take.
    pub disk_bytes: u64,
    /// Bytes that are free where it lies, if that is known.
    pub disk_free_bytes: Option<u64>,
}

/// One community, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommunityStats {
    /// Its path.
    pub path: String,
    /// Its events.
    pub events: u64,
    /// Events by kind, those with most events first.
    pub kinds: Vec<(u16, u64)>,
    /// People who wrote them.
    pub authors: u64,
    /// `created_at` of the oldest.
    pub oldest: Option<u64>,
    /// `created_at` of the newest.
    pub newest: Option<u64>,
    /// About how many bytes their records take in the store.
    pub record_bytes: u64,
    /// Bytes of memory that its index takes.
    pub index_bytes: u64,
    /// How its search stands, where it has one and a relay keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchStats>,
}

/// How a community's search (NIP-50) stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchStats {
    /// `building`, `ready` or `broken`; `off` before it begins.
    pub state: String,
    /// Why it is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Events that can be found.
    pub events: u64,
    /// Events that are stored and not found yet, about.
    pub lag_events: u64,
    /// For how many seconds the oldest of them has waited.
    pub lag_seconds: u64,
    /// Bytes of its files.
    pub disk_bytes: u64,
    /// Whether nothing more is taken in, as its disk is full.
    #[serde(default)]
    pub is_full: bool,
}
