//! A file beside sled's that tells up to which segment of its log all is safe. sled goes by the headers of its segments,
//! each of which says what was safe when it was written. A power cut may lose the newest ones, after sled has used
//! segments again that by these nobody needs; or keep one that speaks of a segment that is lost. sled then looks for
//! the end of its log where there is nothing, takes all of it for torn, and writes zeros over it. So the place is made
//! safe here before anything is written behind it, and the headers are put right by it before sled reads them.
//!
//! In: places in the log. Out: the file, and numbers in the headers of sled's. Where the file says nothing, or is torn,
//! nothing has been written behind the place yet, and the headers are right.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::files::{self, io_error};
use super::salvage::log::{self, SEGMENT_BYTES};
use super::{StoreError, tail};

/// Its name in the store's folder: a place and a checksum. It is shorter than a sector, so it is written whole or not
/// at all.
const NAME: &str = "stable";

const BYTES: usize = 12;

/// The file, open.
#[derive(Debug)]
pub(super) struct Stable {
    path: PathBuf,
    file: File,
    /// The segment of the place that it tells.
    segment: AtomicU64,
}

impl Stable {
    /// Opens the file of a folder, or makes one, and has it tell this place; the folder is synced by who calls.
    pub(super) fn open(folder: &Path, place: u64) -> Result<Stable, StoreError> {
        let path = folder.join(NAME);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|source| io_error(&path, "open", source))?;
        let stable = Stable { path, file, segment: AtomicU64::new(segment_of(place)) };
        stable.write(place)?;
        Ok(stable)
    }

    /// All is safe up to this place, and nothing was written behind it: tells so, when it is in another segment than the
    /// one that was told last.
    pub(super) fn note(&self, place: u64) -> Result<(), StoreError> {
        if self.segment.load(Ordering::Acquire) != segment_of(place) {
            self.write(place)?;
            self.segment.store(segment_of(place), Ordering::Release);
        }
        Ok(())
    }

    fn write(&self, place: u64) -> Result<(), StoreError> {
        let mut bytes = [0; BYTES];
        let (number, checksum) = bytes.split_at_mut(8);
        number.copy_from_slice(&place.to_le_bytes());
        checksum.copy_from_slice(&crc32fast::hash(number).to_le_bytes());
        let written = self.file.write_all_at(&bytes, 0).and_then(|()| self.file.sync_data());
        written.map_err(|source| io_error(&self.path, "write", source))
    }
}

fn segment_of(place: u64) -> u64 {
    place / SEGMENT_BYTES as u64
}

/// The place that the file of a folder tells, if it tells one.
fn read(folder: &Path) -> Result<Option<u64>, StoreError> {
    let path = folder.join(NAME);
    match fs::read(&path) {
        Ok(bytes) => Ok(bytes.split_last_chunk().and_then(|(number, checksum)| {
            let is_whole = crc32fast::hash(number) == u32::from_le_bytes(*checksum);
            number.try_into().ok().filter(|_| is_whole).map(u64::from_le_bytes)
        })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error(&path, "read", source)),
    }
}

/// Before sled reads its file: has its headers say up to where all is safe, where it would go wrong by what they say;
/// whether it would.
///
/// # Errors
/// When the file cannot be read or written, or another process has the store open.
pub(super) fn tell(folder: &Path) -> Result<bool, StoreError> {
    let path = folder.join(files::DB);
    let file = match OpenOptions::new().read(true).write(true).open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        file => file.map_err(|source| io_error(&path, "open", source))?,
    };
    files::lock(folder, &file)?;
    // Only now: a process that ends writes it until then.
    let Some(place) = read(folder)? else { return Ok(false) };
    // What is older than its snapshot sled does not read.
    let from = tail::newest_snapshot(folder)?;
    let told =
        tell_in(&file, place, from).map_err(|source| io_error(&path, "put right the headers", source))?;
    if told {
        tracing::info!(path = %path.display(), "headers were put right that a power cut had left behind");
    }
    Ok(told)
}

/// Does so in sled's file, which it reads from a place on; whether it was needed.
fn tell_in(file: &File, place: u64, from: u64) -> io::Result<bool> {
    let len = file.metadata()?.len();
    let mut headers = Vec::new();
    for header in tail::headers(file, len) {
        let (base, header) = header?;
        headers.extend(header.map(|(moment, safe)| (base, moment, safe)));
    }
    let said = headers.iter().map(|(_, _, safe)| segment_of(*safe)).max().unwrap_or(0);
    let base_of =
        |segment| headers.iter().find(|header| segment_of(header.1) == segment).map(|header| header.0);
    // Where its segment is missing the store is damaged, or another one than the file tells of.
    if base_of(segment_of(place)).is_none() {
        return Ok(false);
    }
    // From what they say on sled reads segment after segment, and ends its log at the first that is not whole.
    let mut is_right = said <= segment_of(place);
    let mut segments = said.max(segment_of(from))..segment_of(place);
    while is_right && let Some(segment) = segments.next() {
        is_right = base_of(segment).map_or(Ok(false), |base| is_whole(file, base, len))?;
    }
    if is_right {
        return Ok(false);
    }
    for (base, moment, safe) in headers {
        if segment_of(moment) == segment_of(place) || segment_of(safe) > segment_of(place) {
            file.write_all_at(&log::write_segment_header(moment, place), base)?;
        }
    }
    file.sync_data()?;
    Ok(true)
}

/// Whether a segment is full, and all of it can be read.
fn is_whole(file: &File, base: u64, len: u64) -> io::Result<bool> {
    let mut bytes = vec![0; SEGMENT_BYTES.min((len - base) as usize)];
    file.read_exact_at(&mut bytes, base)?;
    let segment = log::read_segment(&bytes);
    Ok(segment.is_full && segment.damaged.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splitmix::SplitMix;
    use crate::store::salvage::log::SEGMENT_HEADER_BYTES;
    use crate::store::{CommunityId, Durability, Group, Options, Store};

    const SEGMENT: u64 = SEGMENT_BYTES as u64;

    /// sled's file with segments of these moments and places that were safe, in this order.
    fn log_of(headers: &[(u64, u64)]) -> File {
        let file = tempfile::tempfile().expect("a file");
        for (at, (segment, stable)) in headers.iter().enumerate() {
            let header = log::write_segment_header(segment * SEGMENT, *stable);
            file.write_all_at(&header, at as u64 * SEGMENT).expect("a write");
        }
        file.set_len(headers.len() as u64 * SEGMENT).expect("a length");
        file
    }

    /// The header at a place of the file, as the number of its segment and what it says.
    fn header_at(file: &File, at: u64) -> Option<(u64, u64)> {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        file.read_exact_at(&mut header, at * SEGMENT).expect("a header");
        log::read_segment_header(&header).map(|(moment, stable)| (segment_of(moment), stable))
    }

    fn headers_of(file: &File) -> Vec<(u64, u64)> {
        let segments = file.metadata().expect("a file").len().div_ceil(SEGMENT);
        (0..segments).filter_map(|at| header_at(file, at)).collect()
    }

    #[test]
    fn headers_say_what_is_safe_and_no_more() {
        let (before, after) = (3 * SEGMENT + 50, 6 * SEGMENT + 70);
        let lost = Some(&[(9, 7), (6, after), (5, before)][..]);
        let false_ones = Some(&[(8, after), (6, after), (5, before), (7, after)][..]);
        type Row<'t> = (&'t str, u64, &'t [(u64, u64)], Option<&'t [(u64, u64)]>);
        let table: &[Row<'_>] = &[
            ("the header that said so is lost", after, &[(9, 7), (6, before), (5, before)], lost),
            ("it is there", after, &[(7, after), (6, before)], None),
            ("another in that segment is there", after, &[(7, 6 * SEGMENT + 3), (6, before)], None),
            (
                "headers tell of what was not safe",
                after,
                &[(8, 7 * SEGMENT + 9), (6, before), (5, before), (7, 7 * SEGMENT)],
                false_ones,
            ),
            ("the segment is lost", after, &[(5, before)], None),
            ("there is nothing", after, &[], None),
        ];
        for (what, place, headers, expected) in table {
            let file = log_of(headers);
            assert_eq!(tell_in(&file, *place, 0).expect("a file"), expected.is_some(), "{what}");
            assert_eq!(headers_of(&file), expected.unwrap_or(headers), "{what}");
            assert!(!tell_in(&file, *place, 0).expect("a file"), "{what}: once is enough");
        }
    }

    #[test]
    fn what_is_older_than_the_snapshot_need_not_be_there() {
        let headers = [(6, 3 * SEGMENT + 50)];
        let place = 6 * SEGMENT + 70;
        assert!(!tell_in(&log_of(&headers), place, 6 * SEGMENT + 9).expect("a file"));
        assert!(tell_in(&log_of(&headers), place, 5 * SEGMENT).expect("a file"));
    }

    #[test]
    fn headers_stay_as_they_are_while_what_they_speak_of_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options {
            path: folder.path().to_owned(),
            cache_bytes: 8 << 20,
            durability: Durability::Power,
            touches: 0,
        };
        let mut noise = SplitMix(1);
        for _ in 0..2 {
            let store = Store::open(options.clone()).expect("a store");
            let mut group = Group::default();
            for _ in 0..1_500 {
                group.insert(CommunityId(0), (0..400).flat_map(|_| noise.next().to_le_bytes()).collect());
            }
            store.commit(group).expect("a group");
        }
        let path = folder.path().join(files::DB);
        let file = OpenOptions::new().read(true).write(true).open(&path).expect("a file");
        let (before, place) = (headers_of(&file), read(folder.path()).expect("a file").expect("a place"));
        let said = before.iter().map(|(_, safe)| segment_of(*safe)).max().expect("a header");
        assert!(said + 4 < segment_of(place), "a group of many segments: {said}, {place}");
        tell(folder.path()).expect("a file");
        assert_eq!(headers_of(&file), before);
        let is_lost = |at: &u64| header_at(&file, *at).is_some_and(|(segment, _)| segment == said + 1);
        let lost = (0..).find(is_lost).expect("a segment");
        file.write_all_at(&[0; SEGMENT_BYTES], lost * SEGMENT).expect("a write");
        tell(folder.path()).expect("a file");
        let told = headers_of(&file).into_iter().find(|(segment, _)| *segment == segment_of(place));
        assert_eq!(told, Some((segment_of(place), place)));
    }

    #[test]
    fn the_newest_place_is_told_and_a_torn_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read(folder.path()).expect("a folder"), None);
        let stable = Stable::open(folder.path(), 70).expect("a file");
        assert_eq!(read(folder.path()).expect("a file"), Some(70));
        stable.note(80).expect("a file");
        assert_eq!(read(folder.path()).expect("a file"), Some(70), "it is the same segment");
        stable.note(SEGMENT + 5).expect("a file");
        assert_eq!(read(folder.path()).expect("a file"), Some(SEGMENT + 5));
        drop(Stable::open(folder.path(), 3).expect("a file"));
        assert_eq!(read(folder.path()).expect("a file"), Some(3));
        let path = folder.path().join(NAME);
        let mut bytes = fs::read(&path).expect("a file");
        bytes[0] ^= 1;
        for torn in [&bytes[..], &bytes[..7], &[]] {
            fs::write(&path, torn).expect("a file");
            assert_eq!(read(folder.path()).expect("a file"), None);
        }
    }
}
