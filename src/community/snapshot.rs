//! Indexes saved in files, so that a start need not read every record. In: an index, or the store's folder.
//! Out: files in its `index/`, and an index that is as of now.
//!
//! A snapshot counts only when the store names it, by a stamp that is drawn anew for each: one that is left
//! of another store, or of a later state of this one, is not taken for its own. What was removed since, the
//! store tells; what came since has higher numbers. Any doubt leads to an index built from all records.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use flate2::Compression;
use flate2::bufread::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::index::{Index, SnapshotError};
use crate::store::{CommunityId, Group, Location, StateTable, Store, StoreError};

/// The snapshot that counts: stamp, and the group as of which it was taken. The key is empty.
pub(super) const SNAPSHOTS: StateTable = StateTable(2);

/// The folder of snapshots, within the store's.
const FOLDER: &str = "index";

/// What is written or read at once.
const BUFFER_BYTES: usize = 256 * 1024;

const STAMP_BYTES: usize = 16;

/// What a compressed file begins with; a stream of deflate follows (RFC 1951).
const COMPRESSED: &[u8; 8] = b"plazazip";

/// Whether a snapshot takes a third less of the disk, or ten times less time of who waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Compressed,
    Plain,
}

/// A snapshot that was written and that the store does not name yet.
pub(crate) struct Written {
    community: CommunityId,
    stamp: [u8; STAMP_BYTES],
    group: u64,
    path: PathBuf,
}

fn path_of(store: &Store, community: CommunityId, stamp: &[u8; STAMP_BYTES]) -> PathBuf {
    store.path().join(FOLDER).join(format!("{}-{}", community.0, hex::encode(stamp)))
}

/// The snapshot that the store names: its stamp and group.
fn named(store: &Store, community: CommunityId) -> Result<Option<([u8; STAMP_BYTES], u64)>, StoreError> {
    let Some(entry) = store.state(community, SNAPSHOTS).next() else { return Ok(None) };
    let (_, value) = entry?;
    let parts = value.split_first_chunk().map(|(stamp, group)| (*stamp, <[u8; 8]>::try_from(group)));
    Ok(parts.and_then(|(stamp, group)| Some((stamp, u64::from_le_bytes(group.ok()?)))))
}

/// The index of a community as of its snapshot, without what was removed since; `None` when there is none
/// that can be used. What was stored since is for the caller to add.
pub(super) fn load(
    store: &Store,
    community: CommunityId,
    by_prefix: bool,
) -> Result<Option<Index>, StoreError> {
    let Some((stamp, group)) = named(store, community)? else { return Ok(None) };
    let path = path_of(store, community, &stamp);
    let file = File::open(&path).map_err(SnapshotError::from);
    let mut index = match file.and_then(|file| read(file, by_prefix)) {
        Ok(index) => index,
        Err(error) => {
            tracing::warn!("{}: {error}; the index is built from the store instead", path.display());
            return Ok(None);
        }
    };
    let removed = store.removed_since(group)?;
    let own = removed.into_iter().filter(|(of, _)| *of == community).map(|(_, location)| location);
    index.remove_at(&own.collect::<Vec<Location>>());
    Ok(Some(index))
}

/// A snapshot in either form.
fn read(file: File, by_prefix: bool) -> Result<Index, SnapshotError> {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, file);
    if !input.fill_buf()?.starts_with(COMPRESSED) {
        return Index::read_snapshot(&mut input, by_prefix);
    }
    input.consume(COMPRESSED.len());
    let mut plain = BufReader::with_capacity(BUFFER_BYTES, DeflateDecoder::new(input));
    Index::read_snapshot(&mut plain, by_prefix)
}

/// Writes a snapshot of an index that is as of the store's newest group. It is not safe yet.
pub(crate) fn write(store: &Store, community: CommunityId, index: &Index, form: Form) -> io::Result<Written> {
    let stamp: [u8; STAMP_BYTES] = secp256k1::rand::random();
    let path = path_of(store, community, &stamp);
    fs::create_dir_all(store.path().join(FOLDER))?;
    // It holds the keys of the index's hashes.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
    let written = match form {
        Form::Plain => index.write_snapshot(&mut out),
        Form::Compressed => write_compressed(index, &mut out),
    };
    let written = written.and_then(|()| out.flush());
    if let Err(error) = written {
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    Ok(Written { community, stamp, group: store.groups(), path })
}

fn write_compressed(index: &Index, out: &mut impl Write) -> io::Result<()> {
    out.write_all(COMPRESSED)?;
    let encoder = DeflateEncoder::new(out, Compression::fast());
    let mut plain = BufWriter::with_capacity(BUFFER_BYTES, encoder);
    index.write_snapshot(&mut plain)?;
    plain.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
    Ok(())
}

impl Written {
    /// Makes the file outlive a power cut.
    pub(crate) fn sync(&self) -> io::Result<()> {
        // The file, its name in the folder, and the folder's own name in the store's.
        self.path.ancestors().take(3).try_for_each(|path| File::open(path)?.sync_all())
    }

    /// Has the store name it with this group.
    pub(crate) fn name_in(&self, group: &mut Group) {
        let value = [&self.stamp[..], &self.group.to_le_bytes()].concat();
        group.put_state(self.community, SNAPSHOTS, &[], &value);
    }
}

/// Has the store name no snapshot of a community any more.
pub(crate) fn forget(community: CommunityId, group: &mut Group) {
    group.remove_state(community, SNAPSHOTS, &[]);
}

/// Removes every file that is none of these.
pub(crate) fn remove_others(store: &Store, kept: &[Written]) {
    let Ok(entries) = fs::read_dir(store.path().join(FOLDER)) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if !kept.iter().any(|written| written.path == path) {
            // What cannot be removed now can be the next time.
            let _ = fs::remove_file(path);
        }
    }
}
