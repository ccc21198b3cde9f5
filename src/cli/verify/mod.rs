//! `plaza verify`: checks all that a store or a backup holds. In: a copy of the store, or the backup's files. Out:
//! what is wrong and where. Changes nothing.

mod checker;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::data::{Data, Sink};
use super::{Failure, StoreArguments, progress};
use crate::backup::{BackupError, Content, Entry, Manifest};
use crate::store::copy::{Copied, Part, Piece, Stamp, next_record, next_removed, next_state};
use crate::words;
use checker::{Checker, Report};

/// Faults that are named; the others are only counted.
const FAULTS_NAMED_MAX: usize = 100;

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Folder of a backup, or a data folder [default: the data folder of the settings]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Leave out signatures, which take most of the time; ids are still compared with what they are made of
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    store: StoreArguments,
}

/// A store's copy on its way through the checker.
struct Checked {
    checker: Option<Checker>,
    report: Option<Report>,
}

impl Sink for Checked {
    fn take(&mut self, piece: Piece) -> Result<(), Failure> {
        let Some(checker) = &mut self.checker else { return Ok(()) };
        let chunk = match piece {
            Piece::Fault(fault) => {
                checker.fault(fault);
                return Ok(());
            }
            Piece::Chunk(chunk) => chunk,
        };
        let mut bytes = &chunk.bytes[..];
        match chunk.part {
            Part::Records => {
                while let Some(entry) = next_record(&mut bytes)? {
                    checker.record(entry.community, entry.location, entry.record);
                }
            }
            Part::Removed => {
                while let Some((community, location)) = next_removed(&mut bytes)? {
                    checker.removed(community, location);
                }
            }
            Part::State => {
                while let Some(entry) = next_state(&mut bytes)? {
                    checker.state(&entry);
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, copied: Copied) -> Result<Option<(Stamp, Stamp)>, Failure> {
        self.report = self.checker.take().map(|checker| checker.finish(&copied));
        Ok(None)
    }
}

impl Verify {
    /// Zero: all is well. One: something is wrong. Two: it could not be checked.
    pub(super) fn run(self) -> ExitCode {
        match self.verify() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(1),
            Err(failure) => {
                eprintln!("plaza: {failure}");
                ExitCode::from(2)
            }
        }
    }

    /// Whether all is well.
    fn verify(&self) -> Result<bool, Failure> {
        let mut config = self.store.load()?;
        if let Some(folder) = &self.folder {
            if !folder.join("db").exists() {
                return self.backup(folder);
            }
            config.store.path.clone_from(folder);
        }
        let path = config.store.path.clone();
        let mut data = Data::reach(&config.store)?;
        let mut checked = Checked { checker: Some(self.checker()?), report: None };
        data.copy(&mut checked)?;
        let report = checked.report.ok_or("the copy of the store has no end")?;
        tell(&path, &report);
        Ok(report.is_good())
    }

    fn checker(&self) -> Result<Checker, Failure> {
        Ok(Checker::start(!self.quick, progress(None, "events"))?)
    }

    fn backup(&self, folder: &Path) -> Result<bool, Failure> {
        let mut checker = self.checker()?;
        let content = match Content::open(folder) {
            Ok(content) => content,
            Err(error @ BackupError::Damaged { .. }) => return self.damaged(folder, checker, &error),
            Err(error) => return Err(error.into()),
        };
        content.each_with_faults::<BackupError>(|entry| {
            match entry {
                Ok(Entry::Record(entry)) => checker.record(entry.community, entry.location, entry.record),
                Ok(Entry::State(entry)) => checker.state(&entry),
                Err(fault) => checker.fault(fault.to_string()),
            }
            Ok(())
        })?;
        let report = checker.finish(&content.manifest().copied);
        tell(folder, &report);
        Ok(report.is_good())
    }

    /// Without its manifest, or without what was removed, nothing can be said of the rest.
    fn damaged(&self, folder: &Path, mut checker: Checker, error: &BackupError) -> Result<bool, Failure> {
        checker.fault(error.to_string());
        let copied = Manifest::read(folder).ok().flatten().map(|manifest| manifest.copied);
        tell(folder, &checker.finish(&copied.unwrap_or_default()));
        Ok(false)
    }
}

fn tell(path: &Path, report: &Report) {
    for fault in report.faults.iter().take(FAULTS_NAMED_MAX) {
        println!("{fault}");
    }
    let more = report.faults.len().saturating_sub(FAULTS_NAMED_MAX);
    if more > 0 {
        println!("and {} more faults", words::number(more as u64));
    }
    if report.vanishing > 0 {
        let waiting = words::number(report.vanishing);
        eprintln!("plaza: {waiting} events of people who vanished wait to be removed; nobody is shown them");
    }
    eprintln!(
        "plaza: {}: {} events of {} communities checked, {}",
        path.display(),
        words::number(report.events),
        report.communities,
        match report.faults.len() {
            0 => "all is well".to_owned(),
            1 => "1 fault".to_owned(),
            faults => format!("{} faults", words::number(faults as u64)),
        }
    );
}
