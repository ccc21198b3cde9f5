//! Puts a store that was made within this one's folder in its place, at the next opening. In: the folder, and a note that
//! the new store is whole and safe. Out: the new store's files, and the old one's in a folder of their own. A crash at
//! any moment leaves the old store or the new one to be opened, never a mix. Touches nothing that is not the store's.
//!
//! | in the store's folder | is |
//! |---|---|
//! | `copy/store/` | the new store, on its way |
//! | `copy/take` | the note that it counts; it names the folder for the old one |
//! | `copy/moved` | all of the old store is in that folder |
//! | `before-copy-DAY` | the old store; one at the most, the newest |

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::StoreError;
use super::files::{self, io_error};
use crate::words;

/// The folder of a copy that is on its way, within the store's.
pub(crate) const COPY: &str = "copy";

/// How the names of folders of old stores begin.
pub(crate) const KEPT: &str = "before-copy-";

const NEW: &str = "store";
const TAKE: &str = "take";
const MOVED: &str = "moved";

/// Where an old store goes that holds nothing: it goes with the rest of the copy.
const NOWHERE: &str = "copy/old";

/// The beginnings, up to a full stop, of the names of sled's files and of the store's own beside them.
const FILES: [&str; 7] = [files::DB, "conf", "snap", "groups", "stable", "closed", "probe"];

/// Folders of the store, and of what is made of it.
const FOLDERS: [&str; 3] = ["blobs", "index", "search"];

/// Those that are made anew of any store.
const DERIVED: [&str; 2] = ["index", "search"];

/// Whether an entry of the store's folder belongs to the store, and not to the node.
fn is_of_store(name: &str) -> bool {
    FOLDERS.contains(&name) || FILES.contains(&name.split('.').next().unwrap_or(name))
}

/// Whether a folder within the store's holds another store, or some of one.
pub(super) fn is_another(name: &str) -> bool {
    name == COPY || name.starts_with(KEPT)
}

/// Where the new store is made.
pub(crate) fn new_store(path: &Path) -> PathBuf {
    path.join(COPY).join(NEW)
}

/// Has the next opening of a store begin with the new one, which is closed. The old one is kept if it holds anything; the
/// name of its folder.
///
/// # Errors
/// When the note cannot be written; the store then is as it was.
pub(crate) fn take_next_time(path: &Path, keeps: bool, now: u64) -> Result<Option<String>, StoreError> {
    let day = words::day(now);
    let mut names = (1_u32..).map(|number| match number {
        1 => format!("{KEPT}{day}"),
        _ => format!("{KEPT}{day}-{number}"),
    });
    let name = keeps.then(|| names.find(|name| !path.join(name).exists())).flatten();
    let note = path.join(COPY).join(TAKE);
    let unfinished = note.with_extension("new");
    let written = File::create(&unfinished).and_then(|mut file| {
        file.write_all(name.as_deref().unwrap_or(NOWHERE).as_bytes())?;
        file.sync_all()
    });
    written.map_err(|source| io_error(&unfinished, "write", source))?;
    files::sync_all(&new_store(path), &[])?;
    files::sync_folder(path)?;
    fs::rename(&unfinished, &note).map_err(|source| io_error(&note, "write", source))?;
    files::sync_folder(&path.join(COPY))?;
    Ok(name)
}

/// Removes a copy that is on its way, unless it is to be taken.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn clear(path: &Path) -> Result<(), StoreError> {
    let folder = path.join(COPY);
    if folder.join(TAKE).exists() {
        return Ok(());
    }
    remove_folder(&folder)
}

/// Removes a folder and all in it, if it is there.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error(folder, "remove", error)),
        _ => Ok(()),
    }
}

/// Puts the new store in the place of the old one, if that was noted; goes on where it was cut off.
pub(super) fn take_over(path: &Path) -> Result<(), StoreError> {
    take_over_by_steps(path, &mut |step| step())
}

/// Something that changes the folder.
type Step<'s> = &'s mut dyn FnMut() -> std::io::Result<()>;

fn take_over_by_steps(
    path: &Path,
    go: &mut dyn FnMut(Step<'_>) -> std::io::Result<()>,
) -> Result<(), StoreError> {
    let copy = path.join(COPY);
    let note = copy.join(TAKE);
    if !note.exists() {
        return Ok(());
    }
    // One process at a time, and none that has the old store open.
    let folder = File::open(&copy).map_err(|source| io_error(&copy, "open", source))?;
    files::lock(path, &folder)?;
    let name = match fs::read_to_string(&note) {
        Ok(name) => name,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(io_error(&note, "read", source)),
    };
    let is_right = name == NOWHERE || name.starts_with(KEPT) && !name.contains('/');
    if !is_right {
        return Err(io_error(&note, "read", ErrorKind::InvalidData.into()));
    }
    let (kept, new) = (path.join(&name), copy.join(NEW));
    let _held = hold(path)?;
    if !copy.join(MOVED).exists() {
        go(&mut || DirBuilder::new().recursive(true).mode(0o700).create(&kept))
            .map_err(|source| io_error(&kept, "make", source))?;
        move_all(path, &kept, is_of_store, go)?;
        let moved = copy.join(MOVED);
        go(&mut || File::create(&moved).and_then(|file| file.sync_all()))
            .map_err(|source| io_error(&moved, "write", source))?;
        files::sync_folder(&copy)?;
    }
    move_all(&new, path, |_| true, go)?;
    go(&mut || fs::remove_file(&note)).map_err(|source| io_error(&note, "remove", source))?;
    files::sync_folder(&copy)?;
    match name.as_str() {
        NOWHERE => tracing::info!(path = %path.display(), "the store is the copy of another node"),
        name => tracing::warn!(
            path = %path.display(),
            "the store is the copy of another node; the one that was here is kept in {name} (docs/cluster.md)"
        ),
    }
    tidy_up(path, &name);
    Ok(())
}

/// Keeps others from opening the store that is there, while what is returned lives.
fn hold(path: &Path) -> Result<Option<File>, StoreError> {
    let db = path.join(files::DB);
    match File::open(&db) {
        Ok(file) => files::lock(path, &file).map(|()| Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error(&db, "open", source)),
    }
}

/// Moves entries of one folder to another, and makes that safe.
fn move_all(
    from: &Path,
    to: &Path,
    is_meant: impl Fn(&str) -> bool,
    go: &mut dyn FnMut(Step<'_>) -> std::io::Result<()>,
) -> Result<(), StoreError> {
    let list = |source| io_error(from, "list the folder", source);
    for entry in fs::read_dir(from).map_err(list)? {
        let entry = entry.map_err(list)?;
        if entry.file_name().to_str().is_some_and(&is_meant) {
            let path = entry.path();
            go(&mut || fs::rename(&path, to.join(entry.file_name())))
                .map_err(|source| io_error(&path, "move", source))?;
        }
    }
    // By now each name is in one of the two folders, whenever the power goes: a journal moves it whole or not at all.
    files::sync_folder(to)?;
    files::sync_folder(from)
}

/// Removes what nobody needs any more. What cannot be removed now goes with the next copy.
fn tidy_up(path: &Path, kept: &str) {
    let mut useless = vec![path.join(COPY)];
    useless.extend(DERIVED.map(|folder| path.join(kept).join(folder)));
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let is_older = |name: &str| kept != NOWHERE && name != kept && name.starts_with(KEPT);
    useless.extend(
        entries.filter(|entry| entry.file_name().to_str().is_some_and(is_older)).map(|entry| entry.path()),
    );
    for folder in useless {
        if let Err(error) = remove_folder(&folder) {
            tracing::warn!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::{CommunityId, Durability, Group, Options, StateTable, Store};

    const WORDS: StateTable = StateTable(3);

    fn options(path: &Path) -> Options {
        Options { path: path.to_owned(), cache_bytes: 1 << 20, durability: Durability::Process, touches: 0 }
    }

    /// A closed store that says a word.
    fn make(path: &Path, word: &str) {
        let store = Store::open(options(path)).expect("a store");
        let mut group = Group::default();
        group.put_state(CommunityId(0), WORDS, b"word", word.as_bytes());
        store.commit(group).expect("stored");
        store.close().expect("closed");
    }

    fn word(path: &Path) -> String {
        let store = Store::open(options(path)).expect("a store");
        let word = store.state_entry(CommunityId(0), WORDS, b"word").expect("read").expect("a word");
        store.close().expect("closed");
        String::from_utf8(word).expect("text")
    }

    fn own_files(path: &Path) -> BTreeMap<String, bool> {
        let entries = fs::read_dir(path).expect("a folder").flatten();
        entries
            .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path().is_dir()))
            .collect()
    }

    /// A folder with a store, what is the node's own, an older store, and a new one that is to be taken.
    fn prepare(path: &Path, keeps: bool) -> Option<String> {
        make(path, "old");
        for folder in ["keys", "search", "before-copy-2020-01-01"] {
            fs::create_dir_all(path.join(folder)).expect("a folder");
            fs::write(path.join(folder).join("file"), folder).expect("a file");
        }
        fs::write(path.join("index.html"), "the operator's").expect("a file");
        make(&new_store(path), "new");
        take_next_time(path, keeps, 1_700_000_000).expect("noted")
    }

    #[test]
    fn a_cut_at_any_step_leaves_the_new_store_to_be_opened() {
        for keeps in [true, false] {
            for steps in 0.. {
                let folder = tempfile::tempdir().expect("a folder");
                let path = folder.path().join("data");
                let name = prepare(&path, keeps);
                assert_eq!(name.as_deref(), keeps.then_some("before-copy-2023-11-14"));
                let mut left = steps;
                let cut = take_over_by_steps(&path, &mut |step| {
                    if left == 0 {
                        return Err(ErrorKind::Interrupted.into());
                    }
                    left -= 1;
                    step()
                });
                assert_eq!(word(&path), "new", "after {steps} steps");
                assert_eq!(fs::read_to_string(path.join("keys/file")).expect("a file"), "keys");
                let found = own_files(&path);
                assert!(found.contains_key("index.html") && !found.contains_key(COPY), "{found:?}");
                assert!(!found.contains_key("search"), "it is made anew: {found:?}");
                assert_eq!(
                    found.contains_key("before-copy-2020-01-01"),
                    !keeps,
                    "one at the most: {found:?}"
                );
                if let Some(name) = name {
                    assert_eq!(word(&path.join(&name)), "old");
                }
                if cut.is_ok() {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_copy_without_a_note_is_never_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data");
        make(&path, "old");
        make(&new_store(&path), "new");
        assert_eq!(word(&path), "old");
        clear(&path).expect("cleared");
        assert_eq!((word(&path).as_str(), path.join(COPY).exists()), ("old", false));
        // Who has the store open keeps it.
        make(&new_store(&path), "new");
        let store = Store::open(options(&path)).expect("a store");
        take_next_time(&path, false, 0).expect("noted");
        clear(&path).expect("left");
        assert!(matches!(Store::open(options(&path)), Err(StoreError::InUse { .. })));
        store.close().expect("closed");
        assert_eq!(word(&path), "new");
    }
}
