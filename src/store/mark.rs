//! A file beside sled's that tells how many groups there were: of some damage to its files sled makes a whole store
//! of an earlier time, and says nothing. In: the number of groups that are safe. Out: how many are missing. What
//! the file says is never more than what was safe, so that a power cut raises no false alarm.

use std::fs;
use std::path::{Path, PathBuf};

/// Its name in the store's folder: it holds a number, as text.
const NAME: &str = "groups";

/// Groups from one writing to the next; it is written at the end as well.
const GROUPS_STEP: u64 = 256;

/// What the file says.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    /// What stood in it when the store was opened.
    found: u64,
}

impl Mark {
    /// Reads the mark of a folder. One that is not there, or is cut off, says nothing.
    pub(super) fn read(folder: &Path) -> Mark {
        let path = folder.join(NAME);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let found = text.strip_suffix('\n').and_then(|number| number.parse().ok()).unwrap_or(0);
        Mark { path, found }
    }

    /// How many groups are missing of those that were safe, when there are so many.
    pub(super) fn missing(&self, groups: u64) -> u64 {
        self.found.saturating_sub(groups)
    }

    /// So many groups are safe: notes it from time to time.
    pub(super) fn note(&self, groups: u64) {
        if groups.is_multiple_of(GROUPS_STEP) {
            self.write(groups);
        }
    }

    /// Writes it, unless it says more.
    pub(super) fn write(&self, groups: u64) {
        if groups <= self.found {
            return;
        }
        let new = self.path.with_extension("new");
        let written = fs::write(&new, format!("{groups}\n")).and_then(|()| fs::rename(&new, &self.path));
        if let Err(error) = written {
            tracing::warn!("{}: cannot be written: {error}", self.path.display());
        }
    }
}
