//! `plaza restore`: makes a new data folder from a backup. In: the backup, of which every file is checked as it is
//! read. Out: a store. Never touches a folder that holds anything, and leaves nothing behind when it fails.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, StoreArguments, progress};
use crate::backup::{self, Content};
use crate::net::store_options;
use crate::store::Restorer;
use crate::words;

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// Folder of the backup
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Only this community, such as /berlin
    #[arg(long, value_name = "PATH")]
    community: Option<String>,
    #[command(flatten)]
    store: StoreArguments,
}

impl Restore {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.store.load()?;
        let content = Content::open(&self.folder)?;
        let only = self.community.as_deref().map(|path| number_of(&content, path)).transpose()?;
        let path = config.store.path.clone();
        let existed = path.exists();
        let restorer = Restorer::new(store_options(&config.store))?;
        match restore(&content, restorer, only) {
            Ok(events) => {
                let made_at = words::day(content.manifest().made_at);
                eprintln!("plaza: {} events restored to {}", words::number(events), path.display());
                eprintln!("plaza: they are as of the backup's last run, on {made_at}");
                Ok(())
            }
            Err(failure) => {
                clear(&path, existed);
                Err(failure)
            }
        }
    }
}

fn number_of(content: &Content, path: &str) -> Result<u32, Failure> {
    let path = format!("/{}", path.trim_matches('/'));
    content.manifest().community(&path).ok_or_else(|| {
        let paths: Vec<&str> = content.manifest().communities.keys().map(String::as_str).collect();
        let others = if paths.is_empty() { String::new() } else { format!(", {}", paths.join(", ")) };
        format!("the backup has no community at {path}; it has /{others}").into()
    })
}

/// Fills the store with the backup, or with one community of it; how many events that were.
fn restore(content: &Content, restorer: Restorer, only: Option<u32>) -> Result<u64, Failure> {
    let bar = progress(None, "events");
    let events = backup::restore::<Failure>(content, restorer, only, true, |_| {
        bar.inc(1);
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(events)
}

/// Removes what a restore that failed has made of a folder that was empty or not there.
pub(super) fn clear(path: &Path, existed: bool) {
    let cleared = if existed {
        let entries = fs::read_dir(path).map(|entries| entries.flatten().collect::<Vec<_>>());
        entries
            .unwrap_or_default()
            .into_iter()
            .filter(|entry| entry.file_name() != "lost+found")
            .try_for_each(|entry| {
                if entry.path().is_dir() {
                    fs::remove_dir_all(entry.path())
                } else {
                    fs::remove_file(entry.path())
                }
            })
    } else {
        fs::remove_dir_all(path)
    };
    if let Err(error) = cleared {
        eprintln!("plaza: {} holds a part of the backup and must be removed: {error}", path.display());
    }
}
