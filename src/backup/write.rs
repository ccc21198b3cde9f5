//! Writes a run of a backup: new files beside those of earlier runs, then a manifest that names both. In: pieces
//! of a copy. Out: a backup that is as of that copy, or the one that was there before.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::{FileEntry, Manifest, NAME};
use super::read::Content;
use super::{BackupError, damaged, io_error};
use crate::community::NUMBERS;
use crate::store::copy::{
    Chunk, Copied, Earlier, Part, next_record, next_removed, next_state, write_removed,
};
use crate::store::{CommunityId, Location};

/// A file is closed when it is so long.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// What is written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// The ending of names of files that are not finished.
const UNFINISHED: &str = ".new";

/// What a run must know of records that the backup has, where the store cannot tell what is new.
type Known = HashMap<(CommunityId, Location), u32>;

/// A run that is under way.
pub struct Writer {
    path: PathBuf,
    /// Locked against other runs while it is open.
    folder: File,
    /// What the backup was before; as of nothing for the first run and for one that begins anew.
    earlier: Manifest,
    is_first: bool,
    is_anew: bool,
    /// What the copy is compared with, when it brings everything although there is an earlier backup.
    known: Option<Known>,
    open: Option<OpenFile>,
    files: Vec<FileEntry>,
    communities: BTreeMap<String, u32>,
    /// Records that were added, and places that are gone.
    counts: (u64, u64),
}

struct OpenFile {
    name: String,
    part: Part,
    out: BufWriter<File>,
    sum: Sha256,
    bytes: u64,
}

/// What a run did.
#[derive(Debug)]
pub struct Finished {
    /// The backup as it is now.
    pub manifest: Manifest,
    /// Records that it added.
    pub added: u64,
    /// Places that it noted as gone.
    pub removed: u64,
    /// Bytes that it wrote.
    pub bytes_written: u64,
}

impl Writer {
    /// Begins a run in a folder, which is made if it is not there. With `anew` the run holds everything, and
    /// earlier files are removed when it is complete.
    ///
    /// # Errors
    /// When the folder holds other things, or a backup that cannot be read.
    pub fn open(path: &Path, anew: bool) -> Result<Writer, BackupError> {
        // It holds private messages: nobody but its owner may look.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| io_error(path, "make the folder", error))?;
        let folder = File::open(path).map_err(|error| io_error(path, "open", error))?;
        rustix::fs::flock(&folder, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| BackupError::Busy { path: path.to_owned() })?;
        let earlier = Manifest::read(path)?;
        if earlier.is_none() {
            let entries = fs::read_dir(path).map_err(|error| io_error(path, "list the folder", error))?;
            // What an interrupted first run left is ours.
            let is_other = |name: &str| !is_ours(name) && name != "lost+found";
            if entries.flatten().any(|entry| is_other(&entry.file_name().to_string_lossy())) {
                return Err(BackupError::Foreign { path: path.to_owned() });
            }
        }
        let is_first = earlier.is_none();
        Ok(Writer {
            path: path.to_owned(),
            folder,
            earlier: earlier.unwrap_or_else(|| Manifest::new(secp256k1::rand::random())),
            is_first,
            is_anew: anew,
            known: None,
            open: None,
            files: Vec::new(),
            communities: BTreeMap::new(),
            counts: (0, 0),
        })
    }

    /// What to ask the store to go on from; `None` for everything.
    pub fn earlier(&self) -> Option<Earlier> {
        let earlier = &self.earlier;
        if self.is_first || self.is_anew {
            return None;
        }
        let next_numbers = earlier.copied.next_numbers.clone();
        Some(Earlier { folder: earlier.folder, stamp: earlier.stamp, next_numbers })
    }

    /// Says whether the copy that comes holds everything. Compares it with what is there, if something is.
    ///
    /// # Errors
    /// When the earlier backup cannot be read.
    pub fn begin(&mut self, is_incremental: bool) -> Result<(), BackupError> {
        if is_incremental || self.is_first || self.is_anew {
            return Ok(());
        }
        let mut known = Known::new();
        let content = Content::of(&self.path, self.earlier.clone())?;
        content.each(|entry| {
            if let super::Entry::Record(entry) = entry {
                known.insert((entry.community, entry.location), crc32fast::hash(entry.record));
            }
            Ok::<(), BackupError>(())
        })?;
        self.known = Some(known);
        Ok(())
    }

    /// Adds a piece of the copy.
    ///
    /// # Errors
    /// When it cannot be written, or when the store holds something else under a number that the backup knows
    /// ([`BackupError::Diverged`]).
    pub fn add(&mut self, chunk: &Chunk) -> Result<(), BackupError> {
        let mut rest = &chunk.bytes[..];
        let cut = |_| damaged(&self.path, "the copy of the store is cut off");
        match chunk.part {
            Part::Records if self.known.is_some() => {
                let new = self.compare(&chunk.bytes)?;
                return self.write(Part::Records, &new);
            }
            Part::Records => {
                while next_record(&mut rest).map_err(cut)?.is_some() {
                    self.counts.0 += 1;
                }
            }
            Part::Removed => {
                while next_removed(&mut rest).map_err(cut)?.is_some() {
                    self.counts.1 += 1;
                }
            }
            Part::State => {
                while let Some(entry) = next_state(&mut rest).map_err(cut)? {
                    if entry.community == CommunityId(0) && entry.table == NUMBERS {
                        let path = String::from_utf8_lossy(entry.key).into_owned();
                        let number = entry.value.try_into().map_or(0, u32::from_le_bytes);
                        self.communities.insert(path, number);
                    }
                }
            }
        }
        self.write(chunk.part, &chunk.bytes)
    }

    /// The entries that the backup does not have yet; strikes the others from what it knows.
    fn compare(&mut self, bytes: &[u8]) -> Result<Vec<u8>, BackupError> {
        let Some(known) = &mut self.known else { return Ok(bytes.to_vec()) };
        let (mut rest, mut new) = (bytes, Vec::new());
        loop {
            let before = rest;
            let entry = next_record(&mut rest)
                .map_err(|_| damaged(&self.path, "the copy of the store is cut off"))?;
            let Some(entry) = entry else { return Ok(new) };
            let numbered = self.earlier.copied.next_numbers.get(&entry.community.0).copied().unwrap_or(0);
            match known.remove(&(entry.community, entry.location)) {
                Some(sum) if sum == crc32fast::hash(entry.record) => {}
                // What had its number by then must be there: numbers only grow, and are never used again.
                None if entry.location.number >= numbered => {
                    self.counts.0 += 1;
                    new.extend_from_slice(&before[..before.len() - rest.len()]);
                }
                Some(_) | None => return Err(BackupError::Diverged { path: self.path.clone() }),
            }
        }
    }

    /// Completes the run: from here on the backup is as of the copy.
    ///
    /// # Errors
    /// When something cannot be written; the backup is then as it was.
    pub fn finish(mut self, copied: Copied, now: u64) -> Result<Finished, BackupError> {
        // Both only grow, and no community goes.
        let earlier = &self.earlier.copied;
        let is_less = |(community, number): (&u32, &u64)| copied.next_numbers.get(community) < Some(number);
        if !self.is_anew && (copied.group < earlier.group || earlier.next_numbers.iter().any(is_less)) {
            return Err(BackupError::Diverged { path: self.path });
        }
        if let Some(known) = self.known.take() {
            self.counts.1 += known.len() as u64;
            let mut gone = Vec::new();
            for (community, location) in known.into_keys() {
                write_removed(community, location, &mut gone);
            }
            self.write(Part::Removed, &gone)?;
        }
        self.close()?;
        self.sync()?;
        let written = self.files.iter().map(|file| file.bytes).sum();
        let mut files = std::mem::take(&mut self.files);
        // Records first: what is removed is so from them too.
        files.sort_by_key(|file| file.part != Part::Records);
        let mut manifest =
            if self.is_anew { Manifest::new(self.earlier.folder) } else { self.earlier.clone() };
        manifest.files.retain(|file| file.part != Part::State);
        manifest.files.append(&mut files);
        (manifest.stamp, manifest.made_at) = (secp256k1::rand::random(), now);
        manifest.runs = self.earlier.runs.saturating_add(1);
        (manifest.copied, manifest.communities) = (copied, std::mem::take(&mut self.communities));
        self.write_manifest(&manifest)?;
        self.remove_others(&manifest);
        let (added, removed) = self.counts;
        Ok(Finished { manifest, added, removed, bytes_written: written })
    }

    fn write_manifest(&self, manifest: &Manifest) -> Result<(), BackupError> {
        let (path, new) = (self.path.join(NAME), self.path.join(format!("{NAME}{UNFINISHED}")));
        let text = manifest.text().map_err(|error| damaged(&path, error.to_string()))?;
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        });
        written.map_err(|error| io_error(&path, "write", error))?;
        self.sync()
    }

    fn write(&mut self, part: Part, bytes: &[u8]) -> Result<(), BackupError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let is_done = |open: &OpenFile| open.part != part || open.bytes >= FILE_BYTES_MAX;
        if self.open.as_ref().is_some_and(is_done) {
            self.close()?;
        }
        let path = self.path.clone();
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(OpenFile::new(&path, self.earlier.runs, part, self.files.len())?),
        };
        open.sum.update(bytes);
        open.bytes += bytes.len() as u64;
        open.out.write_all(bytes).map_err(|error| io_error(&path.join(&open.name), "write", error))
    }

    /// Makes the open file safe under its name.
    fn close(&mut self) -> Result<(), BackupError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let OpenFile { name, part, out, sum, bytes } = open;
        let (path, new) = (self.path.join(&name), self.path.join(format!("{name}{UNFINISHED}")));
        let closed = out.into_inner().map_err(|error| error.into_error()).and_then(|file| {
            file.sync_all()?;
            fs::rename(&new, &path)
        });
        closed.map_err(|error| io_error(&path, "write", error))?;
        self.files.push(FileEntry { name, part, bytes, sha256: hex::encode(sum.finalize()) });
        Ok(())
    }

    fn sync(&self) -> Result<(), BackupError> {
        self.folder.sync_all().map_err(|error| io_error(&self.path, "sync", error))
    }

    /// Removes what earlier and interrupted runs left and the manifest does not name.
    fn remove_others(&self, manifest: &Manifest) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_named = name == NAME || manifest.files.iter().any(|file| file.name == name);
            if !is_named && is_ours(&name) {
                // What cannot be removed now can be the next time.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl OpenFile {
    fn new(folder: &Path, runs: u32, part: Part, number: usize) -> Result<OpenFile, BackupError> {
        let kind = match part {
            Part::Records => "records",
            Part::Removed => "removed",
            Part::State => "state",
        };
        let name = format!("{kind}-{:06}-{number:04}", runs.saturating_add(1));
        let path = folder.join(format!("{name}{UNFINISHED}"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(io_error(&path, "remove what an interrupted run left", error));
            }
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| io_error(&path, "make the file", error))?;
        let out = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(OpenFile { name, part, out, sum: Sha256::new(), bytes: 0 })
    }
}

/// Whether a name is one that backups give to files.
fn is_ours(name: &str) -> bool {
    let name = name.strip_suffix(UNFINISHED).unwrap_or(name);
    let is_numbered = |rest: &str| {
        rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
            && rest.bytes().any(|byte| byte == b'-')
    };
    let beginnings = ["records-", "removed-", "state-"];
    name == NAME || beginnings.iter().filter_map(|kind| name.strip_prefix(kind)).any(is_numbered)
}
