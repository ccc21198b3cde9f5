//! Reads a backup: its files in order, without what was removed. In: the folder. Out: entries, or what is wrong
//! with which file. Never changes anything.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::{FileEntry, Manifest};
use super::{BackupError, damaged, io_error};
use crate::store::copy::{Part, RecordEntry, StateEntry, next_record, next_removed, next_state};
use crate::store::{CommunityId, Location, RECORD_BYTES_MAX};

/// What is read at once. An entry may be longer.
const BLOCK_BYTES: usize = 1 << 20;

/// No entry is longer than a record with what stands before it.
const ENTRY_BYTES_MAX: usize = RECORD_BYTES_MAX + 64;

/// Something in a backup.
#[derive(Debug)]
pub enum Entry<'a> {
    /// A record that was there when the backup was made.
    Record(RecordEntry<'a>),
    /// Some state.
    State(StateEntry<'a>),
}

/// What a backup holds.
#[derive(Debug)]
pub struct Content {
    folder: PathBuf,
    manifest: Manifest,
    /// What was removed, and by which file in order.
    removed: HashMap<(CommunityId, Location), usize>,
}

impl Content {
    /// Opens the backup in a folder.
    ///
    /// # Errors
    /// When there is none, or what it says of itself or of removals cannot be read.
    pub fn open(folder: &Path) -> Result<Content, BackupError> {
        let manifest = Manifest::read(folder)?;
        Content::of(folder, manifest.ok_or_else(|| BackupError::NoBackup { path: folder.to_owned() })?)
    }

    /// What a backup with this manifest holds.
    ///
    /// # Errors
    /// When what it says of removals cannot be read.
    pub(super) fn of(folder: &Path, manifest: Manifest) -> Result<Content, BackupError> {
        let mut content = Content { folder: folder.to_owned(), manifest, removed: HashMap::new() };
        let mut removed = HashMap::new();
        for (at, file) in content.manifest.files.iter().enumerate() {
            if file.part == Part::Removed {
                content.read(file, |bytes| {
                    let mut count = 0;
                    while let Ok(Some(gone)) = next_removed(bytes) {
                        removed.insert(gone, at);
                        count += 1;
                    }
                    Ok::<usize, BackupError>(count)
                })?;
            }
        }
        content.removed = removed;
        Ok(content)
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Shows every record that is not removed, then the state. Checks files as it goes: when this ends well, all
    /// that was shown is what was written.
    ///
    /// # Errors
    /// When a file cannot be read or is not what was written, or `show` fails.
    pub fn each<E: From<BackupError>>(
        &self,
        mut show: impl FnMut(Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for part in [Part::Records, Part::State] {
            for (at, file) in self.manifest.files.iter().enumerate().filter(|(_, file)| file.part == part) {
                self.read(file, |bytes| self.show(part, at, bytes, &mut show))?;
            }
        }
        Ok(())
    }

    /// Shows what can be read, and what is wrong with which file. Files that are damaged are shown as far as
    /// they make sense.
    ///
    /// # Errors
    /// When `show` fails.
    pub fn each_with_faults<E: From<BackupError>>(
        &self,
        mut show: impl FnMut(Result<Entry<'_>, BackupError>) -> Result<(), E>,
    ) -> Result<(), E> {
        for (at, file) in
            self.manifest.files.iter().enumerate().filter(|(_, file)| file.part != Part::Removed)
        {
            // Both closures show, one after the other.
            let mut failed = None;
            let read = self.read(file, |bytes| {
                self.show(file.part, at, bytes, &mut |entry| {
                    show(Ok(entry)).map_err(|error| {
                        failed = Some(error);
                        // It ends the reading, and is told to nobody.
                        BackupError::NoBackup { path: self.folder.clone() }
                    })
                })
            });
            match (failed, read) {
                (Some(error), _) => return Err(error),
                (None, Err(fault)) => show(Err(fault))?,
                (None, Ok(())) => {}
            }
        }
        Ok(())
    }

    /// Shows the whole entries of a file's part, and cuts them off its front; how many they were.
    fn show<E>(
        &self,
        part: Part,
        at: usize,
        bytes: &mut &[u8],
        show: &mut impl FnMut(Entry<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut count = 0;
        loop {
            // What is cut off goes on in the next part of the file.
            match part {
                Part::Records => {
                    let Ok(Some(entry)) = next_record(bytes) else { return Ok(count) };
                    let gone = self.removed.get(&(entry.community, entry.location));
                    if gone.is_none_or(|&by| by < at) {
                        show(Entry::Record(entry))?;
                    }
                }
                Part::State => {
                    let Ok(Some(entry)) = next_state(bytes) else { return Ok(count) };
                    show(Entry::State(entry))?;
                }
                Part::Removed => return Ok(count),
            }
            count += 1;
        }
    }

    /// Reads a file in blocks; `take` cuts whole entries off the front of what there is, and says how many.
    fn read<E: From<BackupError>>(
        &self,
        file: &FileEntry,
        mut take: impl FnMut(&mut &[u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let path = self.folder.join(&file.name);
        let opened = File::open(&path).map_err(|error| io_error(&path, "open", error))?;
        let mut input = BufReader::with_capacity(BLOCK_BYTES, opened);
        let (mut sum, mut read_bytes) = (Sha256::new(), 0_u64);
        let mut buffer: Vec<u8> = Vec::new();
        loop {
            let before = buffer.len();
            let read = input.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut buffer);
            let read = read.map_err(|error| io_error(&path, "read", error))?;
            if read == 0 {
                break;
            }
            sum.update(&buffer[before..]);
            read_bytes += read as u64;
            let mut rest = &buffer[..];
            take(&mut rest)?;
            let taken = buffer.len() - rest.len();
            buffer.drain(..taken);
            if buffer.len() > ENTRY_BYTES_MAX {
                return Err(damaged(&path, "it makes no sense").into());
            }
        }
        let problem = if read_bytes != file.bytes {
            format!("it has {read_bytes} bytes instead of {}", file.bytes)
        } else if hex::encode(sum.finalize()) != file.sha256 {
            "its checksum is wrong".to_owned()
        } else if !buffer.is_empty() {
            "it ends within an entry".to_owned()
        } else {
            return Ok(());
        };
        Err(damaged(&path, problem).into())
    }
}
