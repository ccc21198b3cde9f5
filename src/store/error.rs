//! Why the store could not do what it was asked.
//!
//! In: what sled, the file system or a stored value answered. Out: one sentence that names the folder and
//! says what a person can do. Never retries and never logs.

use std::io;
use std::path::PathBuf;

impl StoreError {
    /// Whether it is about what the files hold, so that trying again changes nothing.
    pub fn is_damage(&self) -> bool {
        match self {
            StoreError::UnknownVersion { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Broken { .. }
            | StoreError::Lost { .. } => true,
            StoreError::Engine { source, .. } => !matches!(source, sled::Error::Io(_)),
            _ => false,
        }
    }
}

/// An error of the store. All but [`StoreError::TooLong`] mean that the folder needs a person.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the folder's lock.
    #[error(
        "another plaza is using this folder ({}); stop it, or give another `--data`",
        path.display()
    )]
    InUse {
        /// The store's folder.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{}: could not {attempt}: {source}", path.display())]
    Io {
        /// The file or folder concerned.
        path: PathBuf,
        /// What was tried, as a verb.
        attempt: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// sled refused.
    #[error("{}: could not {attempt}: {source}", path.display())]
    Engine {
        /// The store's folder.
        path: PathBuf,
        /// What was tried, as a verb.
        attempt: &'static str,
        /// What sled answered.
        source: sled::Error,
    },
    /// A value was written by a plaza that this one does not know.
    #[error(
        "{}: the value at {key} has version {version}, and this plaza reads version {known} only; \
         run the plaza that wrote it, or a newer one",
        path.display()
    )]
    UnknownVersion {
        /// The store's folder.
        path: PathBuf,
        /// The value's key, readable.
        key: String,
        /// The version found.
        version: u8,
        /// The version that this build reads and writes.
        known: u8,
    },
    /// A value does not have the shape that its version promises.
    #[error("{}: the value at {key} is damaged: {reason}", path.display())]
    Corrupt {
        /// The store's folder.
        path: PathBuf,
        /// The value's key, readable.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A part of a group is longer than the store takes. Nothing of that group was stored.
    #[error("a {what} of {bytes} bytes is more than the store takes ({bytes_max})")]
    TooLong {
        /// A record, a state key or a state value.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The most that is taken.
        bytes_max: usize,
    },
    /// sled broke off while it opened or read its files.
    #[error(
        "{}: the store's files are damaged, so that they cannot be read; restore a backup into another folder \
         (`plaza restore`) or save what can be read (`plaza salvage`), and keep this one until that has worked",
        path.display()
    )]
    Broken {
        /// The store's folder.
        path: PathBuf,
    },
    /// A store cannot be made where something is.
    #[error("{} is not empty; name a folder that is, or one that is not there", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// An earlier commit failed, so that what the disk holds is unknown until the store is opened anew.
    #[error("{}: an earlier write failed, so nothing more is written until the disk takes writes again", path.display())]
    Stopped {
        /// The store's folder.
        path: PathBuf,
    },
    /// A write failed, and the store could not be opened again so far.
    #[error("{}: a write has failed, and the store is being opened again; try again in a while", path.display())]
    Closed {
        /// The store's folder.
        path: PathBuf,
    },
    /// Readers did not end, so that the store could not be closed.
    #[error("{}: a write has failed, and readers keep the store from being opened again", path.display())]
    Busy {
        /// The store's folder.
        path: PathBuf,
    },
    /// What was acknowledged is not there when the store is opened again.
    #[error(
        "{}: a write has failed, and of what was safe before it the newest {groups} groups of changes are missing: \
         the disk has lost them; stop plaza, and restore a backup that has them",
        path.display()
    )]
    Lost {
        /// The store's folder.
        path: PathBuf,
        /// How many.
        groups: u64,
    },
    /// sled broke off within a batch without stopping. The process must end without closing the store: else what
    /// there is of the batch would be written.
    #[error("{}: writing a group broke off half done: {source}", path.display())]
    Halfway {
        /// The store's folder.
        path: PathBuf,
        /// What sled answered.
        source: sled::Error,
    },
}
