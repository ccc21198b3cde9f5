//! A community's blocklists: reads their files at start and when they change. In: paths from the settings. Out:
//! what the lists say, in place of what they said before. A list that cannot be read any more stays as it was.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::Community;
use crate::config::ListKind;
use crate::domain::lists::{Domains, Warning};
use crate::domain::public;

/// Bytes of one list. The largest that are shared have some hundred thousand domains.
const LIST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How a file looked when it was read, as its number, its time and its length: what changes a file changes one of
/// these.
type Stamp = Option<(u64, i64, i64, u64)>;

/// The lists that were read, in the order of the settings.
#[derive(Default)]
pub(super) struct Lists(Mutex<Vec<List>>);

struct List {
    stamp: Stamp,
    /// Empty for a file that could never be read.
    text: Arc<str>,
}

impl Lists {
    /// Has all files read again.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn stamp_of(file: &Path) -> Stamp {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
}

fn text_of(file: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(file)?.take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIST_BYTES_MAX {
        let sentence = format!("a blocklist has at most {LIST_BYTES_MAX} bytes");
        return Err(io::Error::other(sentence));
    }
    String::from_utf8(bytes).map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))
}

impl Community {
    /// Whether its settings name blocklists.
    pub(crate) fn has_lists(&self) -> bool {
        !self.settings().blocklist.files.is_empty()
    }

    /// Reads the lists whose files changed since they were read, and puts what all of them say in place of what
    /// was known. Returns what is wrong in those that are new; empty when nothing changed.
    pub(crate) fn read_lists(&self) -> Vec<Warning> {
        let settings = self.settings();
        let files = &settings.blocklist.files;
        let mut lists = self.lists.0.lock().unwrap_or_else(PoisonError::into_inner);
        lists.resize_with(files.len(), || List { stamp: None, text: "".into() });
        let mut changed = Vec::new();
        let mut faults = Vec::new();
        for (file, list) in files.iter().zip(lists.iter_mut()) {
            let stamp = stamp_of(file);
            if stamp == list.stamp && stamp.is_some() {
                continue;
            }
            let name = file.display().to_string();
            match text_of(file) {
                Ok(text) => {
                    *list = List { stamp, text: text.into() };
                    changed.push(name);
                }
                // Told once, until the file changes again.
                Err(error) if stamp != list.stamp => {
                    list.stamp = stamp;
                    let problem = format!("cannot be read, what it said before still counts: {error}");
                    faults.push(Warning { list: name, line: 0, problem });
                }
                Err(_) => {}
            }
        }
        if changed.is_empty() {
            return faults;
        }
        let texts =
            files.iter().zip(lists.iter()).map(|(file, list)| (file.display().to_string(), &*list.text));
        let (domains, warnings) = Domains::parse(&texts.collect::<Vec<_>>());
        for report in domains.reports().iter().filter(|report| changed.contains(&report.name)) {
            tracing::info!(
                "{}: blocklist {}: {} domains suspended, {} silenced",
                self.path(),
                report.name,
                report.suspend,
                report.silence,
            );
        }
        if settings.shared_lists.publish.contains(&ListKind::Domains) {
            let texts: Vec<(String, &str)> = files
                .iter()
                .zip(lists.iter())
                .map(|(file, list)| (file.display().to_string(), &*list.text))
                .collect();
            self.note_own_domains(public::suspended(&domains, &texts));
        }
        self.change_rules(|rules| rules.known.domains = Arc::new(domains));
        faults.extend(warnings.into_iter().filter(|warning| changed.contains(&warning.list)));
        faults
    }
}
