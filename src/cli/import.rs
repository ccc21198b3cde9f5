//! `plaza import`: add events from JSON Lines. Each is verified and placed as if a client had sent it;
//! rules about time, size and rate do not apply to what an operator brings. A line that is no event is
//! counted and passed over.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use crossbeam_channel::unbounded;
use indicatif::ProgressBar;

use super::{CommunityArgument, Failure, StoreArguments, open_idle_store, progress, remote};
use crate::clock::Clock;
use crate::community::{Communities, Community, in_effect};
use crate::config::Current;
use crate::event::Event;
use crate::nips::nip40;
use crate::pipeline::{Outcome, Permits, Pipeline, Reply, Submission};
use crate::rule::{Prefix, Refusal};

/// Events that are under way at once.
const UNDER_WAY_MAX: usize = 8_192;

/// Bad lines that are named; the others are only counted.
const NAMED_MAX: usize = 10;

/// The longest line that is read: far above any event that a relay takes.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The events; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Send them to a relay that is running, such as ws://127.0.0.1:7777; its limits apply
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "data"])]
    relay: Option<String>,
    #[command(flatten)]
    community: CommunityArgument,
    #[command(flatten)]
    store: StoreArguments,
}

/// What became of the lines.
#[derive(Default)]
pub(super) struct Summary {
    pub(super) stored: u64,
    pub(super) duplicates: u64,
    pub(super) superseded: u64,
    pub(super) ephemeral: u64,
    refused: BTreeMap<String, u64>,
    bad: u64,
    /// The first bad lines, in order.
    named: Vec<(u64, String)>,
}

impl Summary {
    /// Counts a line that is no true event. They come in any order: signatures are checked side by side.
    pub(super) fn bad_line(&mut self, line: u64, reason: String) {
        self.bad += 1;
        let at = self.named.partition_point(|(other, _)| *other < line);
        if at < NAMED_MAX {
            self.named.insert(at, (line, reason));
            self.named.truncate(NAMED_MAX);
        }
    }

    /// Counts an event that was refused, by what was said.
    pub(super) fn refuse(&mut self, said: String) {
        *self.refused.entry(said).or_default() += 1;
    }

    fn add(&mut self, line: u64, outcome: Outcome) {
        match outcome {
            Outcome::Stored => self.stored += 1,
            Outcome::Duplicate => self.duplicates += 1,
            Outcome::Superseded => self.superseded += 1,
            Outcome::PassedOn => self.ephemeral += 1,
            Outcome::Refused(refusal)
                if refusal.prefix == Prefix::Invalid && refusal.rule.starts_with("nip01.") =>
            {
                self.bad_line(line, refusal.sentence.into_owned());
            }
            Outcome::Refused(refusal) => self.refuse(refusal.to_string()),
        }
    }

    /// Tells what became of the lines, and whether another try is worth it.
    fn finish(&self) -> Result<(), Failure> {
        self.print();
        match self.refused.keys().any(|refusal| refusal.starts_with(Prefix::Error.as_str())) {
            true => Err("some events could not be stored; mend the cause and import the file again".into()),
            false => Ok(()),
        }
    }

    fn print(&self) {
        eprintln!("plaza: {} events stored, {} were there already", self.stored, self.duplicates);
        if self.superseded > 0 {
            eprintln!("plaza: {} are older than the stored version", self.superseded);
        }
        if self.ephemeral > 0 {
            eprintln!("plaza: {} are ephemeral, which are not stored", self.ephemeral);
        }
        for (refusal, count) in &self.refused {
            eprintln!("plaza: {count} refused, {refusal}");
        }
        if self.bad > 0 {
            eprintln!("plaza: {} lines are no true event:", self.bad);
            for (line, reason) in &self.named {
                eprintln!("  line {line}: {reason}");
            }
            let more = self.bad - self.named.len() as u64;
            if more > 0 {
                eprintln!("  and {more} more");
            }
        }
    }
}

/// The lines of a file that are not blank, with their numbers.
pub(super) struct Lines {
    input: Box<dyn BufRead>,
    /// Progress counts bytes where their number is known, else lines.
    bytes: Option<u64>,
    bar: ProgressBar,
    number: u64,
    line: Vec<u8>,
}

impl Lines {
    fn open(file: &Path) -> Result<Lines, Failure> {
        let (input, bytes): (Box<dyn BufRead>, _) = if file.as_os_str() == "-" {
            (Box::new(io::stdin().lock()), None)
        } else {
            let opened =
                File::open(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            let metadata = opened.metadata().ok().filter(|metadata| metadata.is_file());
            let bytes = metadata.map(|metadata| metadata.len());
            (Box::new(BufReader::with_capacity(1 << 20, opened)), bytes)
        };
        let bar = progress(bytes, if bytes.is_some() { "bytes" } else { "lines" });
        Ok(Lines { input, bytes, bar, number: 0, line: Vec::new() })
    }

    /// The next line that is not blank.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        loop {
            self.line.clear();
            let mut bounded = io::Read::take(&mut self.input, LINE_BYTES_MAX);
            let bytes = bounded.read_until(b'\n', &mut self.line)?;
            if bytes == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.bar.inc(if self.bytes.is_some() { bytes as u64 } else { 1 });
            if !self.line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some((self.number, &self.line)));
            }
        }
    }
}

impl Import {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut lines = Lines::open(&self.file)?;
        let summary = match &self.relay {
            Some(url) => remote::import(url, &mut lines),
            None => self.import(&mut lines),
        };
        lines.bar.finish_and_clear();
        summary?.finish()
    }

    fn import(&self, lines: &mut Lines) -> Result<Summary, Failure> {
        let config = self.store.load()?;
        let store = Arc::new(open_idle_store(&config)?);
        let mut config = in_effect(&config, &store)?;
        config.rate.enabled = false;
        let communities = Arc::new(Communities::open(&config, &store)?);
        let community = self.community.find(&communities)?;
        let pipeline = Pipeline::start(
            &Current::new(config),
            Arc::clone(&store),
            Arc::clone(&communities),
            Clock::system(),
        )?;
        let summary = read(lines, &pipeline, &community);
        pipeline.stop();
        drop(communities);
        if let Some(store) = Arc::into_inner(store) {
            store.close()?;
        }
        summary
    }
}

fn read(lines: &mut Lines, pipeline: &Pipeline, community: &Arc<Community>) -> Result<Summary, Failure> {
    let mut summary = Summary::default();
    let (answers, outcomes) = unbounded();
    let mut under_way = 0_usize;
    while let Some((number, line)) = lines.next()? {
        match event(line, pipeline) {
            Ok(event) => {
                if under_way == UNDER_WAY_MAX {
                    let (number, outcome) = outcomes.recv()?;
                    summary.add(number, outcome);
                    under_way -= 1;
                }
                let reply = Reply::Channel(number, answers.clone());
                let community = Arc::clone(community);
                let admitted_at = None;
                pipeline.submit(Submission {
                    community,
                    event,
                    reply,
                    admitted_at,
                    permits: Permits::default(),
                });
                under_way += 1;
            }
            Err(Refused::Line(reason)) => summary.bad_line(number, reason),
            Err(Refused::Event(refusal)) => summary.add(number, Outcome::Refused(refusal)),
        }
        while let Ok((number, outcome)) = outcomes.try_recv() {
            summary.add(number, outcome);
            under_way -= 1;
        }
    }
    while under_way > 0 {
        let (number, outcome) = outcomes.recv()?;
        summary.add(number, outcome);
        under_way -= 1;
    }
    Ok(summary)
}

enum Refused {
    /// The line is no event.
    Line(String),
    /// It is one that must not come in by this way either.
    Event(Refusal),
}

fn event(line: &[u8], pipeline: &Pipeline) -> Result<Event, Refused> {
    let event = Event::from_json(line).map_err(|error| Refused::Line(error.0))?;
    if nip40::is_expired(nip40::expires_at(&event), pipeline.clock.now()) {
        return Err(Refused::Event(Refusal::new(Prefix::Invalid, "nip40.expired", "the event has expired")));
    }
    Ok(event)
}
