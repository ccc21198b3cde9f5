//! Backups: a folder of files that holds all of a store as of one moment, and is brought up to date by adding to
//! it. In: copies from the store (`store/copy.rs`), of this process or of a relay that runs. Out: files, and what
//! is in them; a store that is made of them. Never opens one that is there.
//!
//! | file | holds |
//! |---|---|
//! | `manifest` | what the backup is as of, and each other file with its length and checksum; its own comes last |
//! | `records-RUN-N` | records that a run added, in parts of up to 256 MiB |
//! | `removed-RUN-N` | places of records that were gone by that run: of what stands in files listed before it |
//! | `state-RUN-N` | all state, of the newest run alone |
//!
//! A file is written under another name, synced and renamed; the manifest comes last. What is cut off in
//! between leaves the backup as it was, and the next run removes what is left over.

mod manifest;
#[cfg(any(test, fuzzing))]
pub(crate) mod probe;
mod read;
mod restore;
mod write;

use std::io;
use std::path::{Path, PathBuf};

pub use manifest::{FileEntry, Manifest, NAME as MANIFEST};
pub use read::{Content, Entry};
pub use restore::restore;
pub use write::{Finished, Writer};

/// Why a backup cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
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
    /// There is no backup where one was named.
    #[error("{} holds no backup: it has no file `manifest`", path.display())]
    NoBackup {
        /// The folder.
        path: PathBuf,
    },
    /// A new backup would lie among other things.
    #[error("{} holds other things and no backup; name an empty folder", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// Two runs would write one over the other.
    #[error("another `plaza backup` writes to {} now; wait until it has ended", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A file is not what was written.
    #[error(
        "{}: {problem}; restore from another backup, or make a new one in an empty folder",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The store is older than the backup, or has something else under the same numbers. To go on would take from
    /// the backup what the store has lost.
    #[error(
        "{} holds a backup of another store, of another past of this one, or of what this one has lost; if nothing \
         of it is needed any more, write it anew with --full, else name another folder",
        path.display()
    )]
    Diverged {
        /// The backup's folder.
        path: PathBuf,
    },
}

fn io_error(path: &Path, attempt: &'static str, source: io::Error) -> BackupError {
    BackupError::Io { path: path.to_owned(), attempt, source }
}

fn damaged(path: &Path, problem: impl Into<String>) -> BackupError {
    BackupError::Damaged { path: path.to_owned(), problem: problem.into() }
}
