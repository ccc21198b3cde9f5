//! The manifest: what a backup is as of, and its files. In: its text, whose last line is the checksum of the
//! rest. Out: the same. Says nothing of what is in the files.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{BackupError, damaged, io_error};
use crate::store::copy::{Copied, Part, Stamp};

/// The manifest's name in the folder.
pub const NAME: &str = "manifest";

/// The only version of backups that this build writes and reads.
const VERSION: u32 = 1;

/// A larger one is none.
const BYTES_MAX: u64 = 64 << 20;

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its name in the folder.
    pub name: String,
    /// What it holds.
    pub part: Part,
    /// Its length.
    pub bytes: u64,
    /// Its checksum, in hex.
    pub sha256: String,
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Of the form of all files.
    version: u32,
    /// What the store knows the folder by.
    #[serde(with = "hex::serde")]
    pub folder: Stamp,
    /// What the store knows this state of the backup by.
    #[serde(with = "hex::serde")]
    pub stamp: Stamp,
    /// When the newest run was, in seconds since 1970.
    pub made_at: u64,
    /// Runs so far, the newest among them.
    pub runs: u32,
    /// What it is as of.
    pub copied: Copied,
    /// Communities by path, with their numbers.
    pub communities: BTreeMap<String, u32>,
    /// The files, in the order in which they must be read.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// The manifest of a folder that holds nothing yet.
    pub(super) fn new(folder: Stamp) -> Manifest {
        Manifest {
            version: VERSION,
            folder,
            stamp: Stamp::default(),
            made_at: 0,
            runs: 0,
            copied: Copied::default(),
            communities: BTreeMap::new(),
            files: Vec::new(),
        }
    }

    /// Reads the manifest of a backup; `None` when the folder has none.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was written.
    pub fn read(folder: &Path) -> Result<Option<Manifest>, BackupError> {
        let path = folder.join(NAME);
        let bytes = match fs::metadata(&path).and_then(|metadata| match metadata.len() {
            0..=BYTES_MAX => fs::read(&path),
            _ => Err(ErrorKind::FileTooLarge.into()),
        }) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(&path, "read", error)),
        };
        Manifest::parse(&bytes, &path).map(Some)
    }

    /// Reads the text of a manifest; `path` is only named in errors.
    ///
    /// # Errors
    /// When it is not what was written.
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Manifest, BackupError> {
        let text = std::str::from_utf8(bytes).map_err(|_| damaged(path, "it is no text"))?;
        let parts = text.strip_suffix('\n').and_then(|text| text.rsplit_once('\n'));
        let (body, sum) = parts.ok_or_else(|| damaged(path, "it is cut off"))?;
        if sum != sum_of(body) {
            return Err(damaged(path, "its checksum is wrong"));
        }
        let manifest: Manifest =
            serde_json::from_str(body).map_err(|error| damaged(path, error.to_string()))?;
        if manifest.version != VERSION {
            let problem =
                format!("it is of version {}, and this plaza reads version {VERSION} only", manifest.version);
            return Err(damaged(path, problem));
        }
        let is_outside = |name: &str| name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.');
        if manifest.files.iter().any(|file| is_outside(&file.name)) {
            return Err(damaged(path, "it names a file outside of its folder"));
        }
        Ok(manifest)
    }

    /// The text that [`Manifest::read`] reads.
    pub(super) fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|body| with_sum(&body))
    }

    /// The number of the community at a path.
    pub fn community(&self, path: &str) -> Option<u32> {
        if path == "/" { Some(0) } else { self.communities.get(path).copied() }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        // A damaged manifest may state more than fits.
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }
}

/// A manifest's body with its checksum.
pub(super) fn with_sum(body: &str) -> String {
    format!("{body}\n{}\n", sum_of(body))
}

fn sum_of(body: &str) -> String {
    hex::encode(Sha256::digest(body.as_bytes()))
}
