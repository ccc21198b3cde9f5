//! `plaza backup`: brings a backup up to date with a relay that runs, or with an idle store. In: a copy. Out: the
//! backup's files. Removes nothing but what a complete newer backup has made useless.

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;

use super::data::{Data, Sink};
use super::{Failure, StoreArguments, progress};
use crate::backup::{Finished, Writer};
use crate::clock::Clock;
use crate::config;
use crate::store::copy::{Copied, Earlier, Piece, Stamp};
use crate::words;

/// Faults of the store that are named; the others are only counted.
const FAULTS_NAMED_MAX: usize = 10;

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// Folder of the backup; made when it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Write everything anew into the same folder, and remove the files of earlier runs when it is complete
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    store: StoreArguments,
}

/// A run of a backup as something that a copy goes to.
struct Run {
    writer: Option<Writer>,
    bar: ProgressBar,
    faults: Vec<String>,
    fault_count: u64,
    finished: Option<Finished>,
}

impl Sink for Run {
    fn since(&self) -> Option<Earlier> {
        self.writer.as_ref().and_then(Writer::earlier)
    }

    fn begin(&mut self, is_incremental: bool) -> Result<(), Failure> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        Ok(writer.begin(is_incremental)?)
    }

    fn take(&mut self, piece: Piece) -> Result<(), Failure> {
        match (piece, &mut self.writer) {
            (Piece::Chunk(chunk), Some(writer)) => {
                self.bar.inc(chunk.bytes.len() as u64);
                writer.add(&chunk)?;
            }
            (Piece::Fault(fault), _) => {
                self.fault_count += 1;
                if self.faults.len() < FAULTS_NAMED_MAX {
                    self.faults.push(fault);
                }
            }
            (Piece::Chunk(_), None) => {}
        }
        Ok(())
    }

    fn finish(&mut self, copied: Copied) -> Result<Option<(Stamp, Stamp)>, Failure> {
        let Some(writer) = self.writer.take() else { return Ok(None) };
        let finished = writer.finish(copied, Clock::system().now())?;
        let stamps = (finished.manifest.folder, finished.manifest.stamp);
        self.finished = Some(finished);
        Ok(Some(stamps))
    }
}

impl Backup {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.store.load()?;
        let run = self.copy(&config.store)?;
        let Some(finished) = run.finished else { return Err("the copy has no end".into()) };
        eprintln!(
            "plaza: {}: {} events added, {} gone, {} written, {} in all",
            self.folder.display(),
            words::number(finished.added),
            words::number(finished.removed),
            words::bytes(finished.bytes_written),
            words::bytes(finished.manifest.bytes()),
        );
        if run.fault_count > 0 {
            for fault in &run.faults {
                eprintln!("plaza: not in the backup: {fault}");
            }
            let count = run.fault_count;
            return Err(format!(
                "{count} parts of the store cannot be read and are not in the backup; `plaza verify` names them"
            )
            .into());
        }
        Ok(())
    }

    fn copy(&self, store: &config::Store) -> Result<Run, Failure> {
        let mut data = Data::reach(store)?;
        let writer = Writer::open(&self.folder, self.full)?;
        let mut run = Run {
            writer: Some(writer),
            bar: progress(None, "bytes"),
            faults: Vec::new(),
            fault_count: 0,
            finished: None,
        };
        let copied = data.copy(&mut run);
        run.bar.finish_and_clear();
        copied.map(|()| run)
    }
}
