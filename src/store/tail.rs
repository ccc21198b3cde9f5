//! Looks at the end of sled's log before sled does. sled takes what it cannot read there for what a power cut left
//! unfinished, also when the disk has an error or a byte is wrong: it ends the log there and writes zeros over the rest.
//! A segment whose header is damaged it takes for a free one. In: the store's folder. Out: an error, when something
//! cannot be read; and copies of what sled is about to lose, for `plaza salvage`. Never changes sled's files.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::StoreError;
use super::files::{self, io_error};
use super::salvage::log::{self, SEGMENT_BYTES, SEGMENT_HEADER_BYTES};

/// The copies' names in the store's folder: segments of sled's file behind the place where sled will end its log, and
/// those that have lost their headers.
const TORN: &str = "db.torn";
const LOST: &str = "db.lost";

/// Where copies of a store's segments may be: of those that were torn off, and of those that were lost.
pub(super) fn copies(path: &Path) -> [PathBuf; 2] {
    [path.join(TORN), path.join(LOST)]
}

/// What was torn off is of no use: nothing that was safe is missing.
pub(super) fn forget_torn(path: &Path) {
    // A copy that stays is read by nobody but `plaza salvage`, and written over the next time.
    let _ = fs::remove_file(path.join(TORN));
}

/// Reads what sled will read of its log when it opens it. `goes_on`: sled was told that all is safe behind a place where
/// it would end its log (`stable.rs`). Where a disk did the harm it loses only what is there, and no group is missing.
pub(super) fn check(path: &Path, goes_on: bool) -> Result<(), StoreError> {
    let db = path.join(files::DB);
    let unread = |source| io_error(&db, "read", source);
    let file = match File::open(&db) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file.map_err(unread)?,
    };
    let len = file.metadata().map_err(unread)?.len();
    let from = segment_of_newest_snapshot(path)?;
    let (mut tail, mut lost, mut stable) = (Vec::new(), Vec::new(), 0);
    let mut bytes = Vec::new();
    let read = |base: u64, bytes: &mut Vec<u8>| {
        bytes.resize(SEGMENT_BYTES.min((len - base) as usize), 0);
        file.read_exact_at(bytes, base).map_err(unread)?;
        Ok::<_, StoreError>(log::read_segment(bytes))
    };
    for header in headers(&file, len) {
        let (base, header) = header.map_err(unread)?;
        match header {
            Some((moment, stable_then)) if moment >= from => {
                tail.push((moment, base));
                stable = stable.max(stable_then);
            }
            Some(_) => {}
            None if read(base, &mut bytes)?.messages.is_empty() => {}
            None => lost.push((0, base)),
        }
    }
    tail.sort_unstable();
    let (mut torn_from, mut was_full) = (None, true);
    let mut expected = tail.first().map_or(0, |(moment, _)| *moment);
    for (at, (moment, base)) in tail.iter().enumerate() {
        let segment = read(*base, &mut bytes)?;
        // Of what is stable parts have been written anew elsewhere, and their segments used again.
        let follows = was_full && (expected == *moment || expected <= stable);
        if torn_from.is_none() && (!follows || !segment.damaged.is_empty()) {
            torn_from = Some(at.saturating_sub(1));
        }
        (was_full, expected) = (segment.is_full, moment + SEGMENT_BYTES as u64);
    }
    if let Some(from) = torn_from {
        set_aside(&path.join(TORN), &file, &tail[from..], len)?;
    }
    let has_lost = !lost.is_empty();
    if goes_on {
        lost.extend(torn_from.map_or(&[][..], |from| &tail[from..]));
    }
    if has_lost {
        // A power cut does that to what was not acknowledged yet.
        tracing::warn!(
            "{}: {} segments have lost their headers, and with them what is in them; unless a power cut came before, \
             the file is damaged; a copy is kept in {LOST} for `plaza salvage`",
            db.display(),
            lost.len()
        );
    }
    if !lost.is_empty() {
        set_aside(&path.join(LOST), &file, &lost, len)?;
    }
    Ok(())
}

/// Reads what sled will read when it opens a store whose end was looked at ([`check`]) and has been written since. It
/// then comes from the kernel's memory: an error of the disk that sled met itself it would take for the end of its log,
/// and write zeros over what follows.
pub(super) fn read_ahead(path: &Path) -> Result<(), StoreError> {
    let db = path.join(files::DB);
    let unread = |source| io_error(&db, "read", source);
    let file = File::open(&db).map_err(unread)?;
    let len = file.metadata().map_err(unread)?.len();
    let from = segment_of_newest_snapshot(path)?;
    let mut bytes = vec![0; SEGMENT_BYTES];
    for header in headers(&file, len) {
        let (base, header) = header.map_err(unread)?;
        if header.is_some_and(|(moment, _)| moment >= from) {
            let there = SEGMENT_BYTES.min((len - base) as usize);
            file.read_exact_at(&mut bytes[..there], base).map_err(unread)?;
        }
    }
    Ok(())
}

/// The segments of sled's file: where each begins, and what its header says, if it has one: its moment, and what was
/// stable then.
pub(super) fn headers(
    file: &File,
    len: u64,
) -> impl Iterator<Item = io::Result<(u64, Option<(u64, u64)>)>> + '_ {
    let whole = len.saturating_sub(SEGMENT_HEADER_BYTES as u64 - 1);
    (0..whole).step_by(SEGMENT_BYTES).map(|base| {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        file.read_exact_at(&mut header, base)?;
        Ok((base, log::read_segment_header(&header)))
    })
}

/// The beginning of the segment in which sled's newest snapshot ends.
fn segment_of_newest_snapshot(path: &Path) -> Result<u64, StoreError> {
    Ok(newest_snapshot(path)? / SEGMENT_BYTES as u64 * SEGMENT_BYTES as u64)
}

/// The moment as of which sled's newest snapshot of its tables is; what was written before it sled does not read.
pub(super) fn newest_snapshot(path: &Path) -> Result<u64, StoreError> {
    let entries = fs::read_dir(path).map_err(|source| io_error(path, "list the folder", source))?;
    let moments = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        u64::from_str_radix(name.to_str()?.strip_prefix("snap.")?, 16).ok()
    });
    Ok(moments.max().unwrap_or(0))
}

fn set_aside(copy: &Path, file: &File, segments: &[(u64, u64)], len: u64) -> Result<(), StoreError> {
    let unwritten = |source| io_error(copy, "write", source);
    let mut out = File::create(copy).map_err(unwritten)?;
    let mut bytes = vec![0; SEGMENT_BYTES];
    for (_, base) in segments {
        bytes.fill(0);
        let there = SEGMENT_BYTES.min((len - base) as usize);
        file.read_exact_at(&mut bytes[..there], *base).map_err(unwritten)?;
        out.write_all(&bytes).map_err(unwritten)?;
    }
    out.sync_all().map_err(unwritten)
}
