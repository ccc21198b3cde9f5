//! `plaza import`: add events from JSON Lines. Each is verified and placed as if a client had sent it;
//! rules about time, size and rate do not apply to what an operator brings. A line that is no event is
//! counted and passed over.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use crossbeam_channel::unbounded;
use indicatif::ProgressBar;

use super::{Failure, StoreArguments, progress};
use crate::clock::Clock;
use crate::community::Community;
use crate::event::Event;
use crate::net::open_store;
use crate::nips::nip40;
use crate::pipeline::{Outcome, Pipeline, Reply, Submission};
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
    #[command(flatten)]
    store: StoreArguments,
}

/// What became of the lines.
#[derive(Default)]
struct Summary {
    stored: u64,
    duplicates: u64,
    superseded: u64,
    ephemeral: u64,
    refused: BTreeMap<String, u64>,
    bad: u64,
    named: Vec<(u64, String)>,
}

impl Summary {
    fn bad_line(&mut self, line: u64, reason: String) {
        self.bad += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push((line, reason));
        }
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
            Outcome::Refused(refusal) => *self.refused.entry(refusal.to_string()).or_default() += 1,
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

impl Import {
    pub(super) fn run(self) -> Result<(), Failure> {
        let is_stdin = self.file.as_os_str() == "-";
        let (input, bytes): (Box<dyn BufRead>, _) = if is_stdin {
            (Box::new(io::stdin().lock()), None)
        } else {
            let file = File::open(&self.file)
                .map_err(|error| format!("cannot read {}: {error}", self.file.display()))?;
            let bytes =
                file.metadata().ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len());
            (Box::new(BufReader::with_capacity(1 << 20, file)), bytes)
        };
        let mut config = self.store.load()?;
        config.rate.enabled = false;
        let store = Arc::new(open_store(&config.store)?);
        let community = Arc::new(Community::open(config, &store)?);
        let pipeline =
            Pipeline::start(&community.config, Arc::clone(&store), Arc::clone(&community), Clock::system())?;
        let bar = progress(bytes, if bytes.is_some() { "bytes" } else { "lines" });
        let summary = read(input, &pipeline, &community, &bar, bytes.is_some());
        bar.finish_and_clear();
        pipeline.stop();
        drop(community);
        if let Some(store) = Arc::into_inner(store) {
            store.close()?;
        }
        let summary = summary?;
        summary.print();
        match summary.refused.keys().any(|refusal| refusal.starts_with(Prefix::Error.as_str())) {
            true => Err("some events could not be stored; mend the cause and import the file again".into()),
            false => Ok(()),
        }
    }
}

fn read(
    mut input: Box<dyn BufRead>,
    pipeline: &Pipeline,
    community: &Arc<Community>,
    bar: &ProgressBar,
    by_bytes: bool,
) -> Result<Summary, Failure> {
    let mut summary = Summary::default();
    let (answers, outcomes) = unbounded();
    let mut under_way = 0_usize;
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let bytes = io::Read::take(&mut input, LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if bytes == 0 {
            break;
        }
        bar.inc(if by_bytes { bytes as u64 } else { 1 });
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match event(&line, pipeline) {
            Ok(event) => {
                if under_way == UNDER_WAY_MAX {
                    let (number, outcome) = outcomes.recv()?;
                    summary.add(number, outcome);
                    under_way -= 1;
                }
                let reply = Reply::Channel(number, answers.clone());
                let community = Arc::clone(community);
                pipeline.submit(Submission { community, event, reply, permits: Vec::new() });
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
    summary.named.sort_unstable();
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
