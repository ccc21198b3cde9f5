//! `plaza compact`: writes an idle store anew, without the space that removed and rewritten records left, and puts
//! it in the place of the old one. In: the store. Out: the same store in fewer bytes. A crash on the way leaves
//! the old one or the new one, whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;

use super::data::open_idle;
use super::restore::clear;
use super::{Failure, StoreArguments, progress};
use crate::community::{LOCAL_STATE, own_key};
use crate::config::Config;
use crate::net::{acme, store_options};
use crate::store::copy::{Part, Piece, next_record, next_state};
use crate::store::swap::KEPT;
use crate::store::{Restorer, Store};
use crate::words;

#[derive(Debug, Args)]
pub(super) struct Compact {
    #[command(flatten)]
    store: StoreArguments,
}

impl Compact {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.store.load()?;
        let path = fs::canonicalize(&config.store.path).unwrap_or_else(|_| config.store.path.clone());
        // Its lock is held until the new store is in its place: no relay can start on what is about to go.
        let old = open_idle(&config.store)?;
        let beside = beside(&path)?;
        if beside.exists() {
            eprintln!("plaza: {} is left of a run that was interrupted; it is removed", beside.display());
            fs::remove_dir_all(&beside)?;
        }
        let before = old.disk_bytes()?;
        let bar = progress(None, "events");
        let written = write(&config, &old, &beside, &bar);
        bar.finish_and_clear();
        let after = match written {
            Ok(after) => after,
            Err(failure) => {
                clear(&beside, false);
                return Err(failure);
            }
        };
        if after >= before {
            fs::remove_dir_all(&beside)?;
            eprintln!("plaza: {} has nothing to give back: {}", path.display(), words::bytes(before));
            return Ok(());
        }
        for folder in [own_key::FOLDER, acme::FOLDER] {
            copy_files(&path.join(folder), &beside.join(folder))?;
        }
        take_over(&path, &beside)?;
        swap(&path, &beside)?;
        drop(old);
        keep_older_stores(&beside, &path)?;
        fs::remove_dir_all(&beside)?;
        eprintln!(
            "plaza: {}: {} before, {} now, {} given back",
            path.display(),
            words::bytes(before),
            words::bytes(after),
            words::bytes(before - after)
        );
        Ok(())
    }
}

/// The folder in which the new store is made.
fn beside(path: &Path) -> Result<PathBuf, Failure> {
    let name = path.file_name().ok_or("the data folder has no name; give it another place")?;
    let mut name = OsString::from(name);
    name.push(".compact");
    Ok(path.with_file_name(name))
}

/// Writes all of a store to another folder; how many bytes it takes there.
fn write(config: &Config, old: &Store, to: &Path, bar: &ProgressBar) -> Result<u64, Failure> {
    let mut options = store_options(&config.store);
    options.path = to.to_owned();
    let mut restorer = Restorer::new(options)?;
    let copied = old.copier(None).run::<Failure>(LOCAL_STATE, |piece| {
        let chunk = match piece {
            Piece::Chunk(chunk) => chunk,
            Piece::Fault(fault) => {
                return Err(format!("{fault}; nothing was changed, as this would be lost").into());
            }
        };
        let mut bytes = &chunk.bytes[..];
        match chunk.part {
            Part::Records => {
                while let Some(entry) = next_record(&mut bytes)? {
                    restorer.record(entry.community, entry.location, entry.record)?;
                    bar.inc(1);
                }
            }
            Part::State => {
                while let Some(entry) = next_state(&mut bytes)? {
                    restorer.state(entry.community, entry.table, entry.key, entry.value)?;
                }
            }
            // Nobody removes anything meanwhile.
            Part::Removed => {}
        }
        Ok(())
    })?;
    let new = restorer.finish(&copied, None)?;
    let bytes = new.disk_bytes()?;
    new.close()?;
    // It must be safe before the old one goes.
    File::open(to)?.sync_all()?;
    Ok(bytes)
}

/// Gives a folder and all in it the owner of another one, and its mode: this may be run by root for a relay that is
/// not.
fn take_over(from: &Path, to: &Path) -> std::io::Result<()> {
    let metadata = fs::metadata(from)?;
    fs::set_permissions(to, metadata.permissions())?;
    let mut folders = vec![to.to_owned()];
    while let Some(folder) = folders.pop() {
        chown(&folder, Some(metadata.uid()), Some(metadata.gid()))?;
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            match path.is_dir() {
                true => folders.push(path),
                false => chown(&path, Some(metadata.uid()), Some(metadata.gid()))?,
            }
        }
    }
    Ok(())
}

/// Copies a folder of files that the store knows nothing of, if it is there; who may read them stays as it is.
fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_file() {
            fs::copy(&path, &copy)?;
            File::open(&copy)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}

/// Moves stores that a node of a cluster has kept to the new folder.
fn keep_older_stores(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)?.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(KEPT)) {
            fs::rename(entry.path(), to.join(entry.file_name()))?;
        }
    }
    File::open(to)?.sync_all()
}

/// Puts the new folder in the place of the old one, and that one in the new one's, at once.
fn swap(path: &Path, beside: &Path) -> Result<(), Failure> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, beside, CWD, path, RenameFlags::EXCHANGE).map_err(|error| {
        format!(
            "{} cannot be put in the place of {}: {error}; it may be a disk of its own, or one that cannot swap \
             folders. With no relay running, move what is in the one to the other",
            beside.display(),
            path.display()
        )
    })?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(File::open(parent)?.sync_all()?)
}
