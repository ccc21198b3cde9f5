//! `plaza import`: add events from JSON Lines. Each is verified and placed as if a client had sent it;
//! rules about time, size and rate do not apply to what an operator brings. A line that is no event is
//! counted and passed over.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use crossbeam_channel::{Receiver, Sender, unbounded};
use indicatif::ProgressBar;

use super::wire::Remote;
use super::{
    CommunityArgument, Failure, StoreArguments, open_idle_store, progress, refuse_in_cluster, remote,
};
use crate::clock::Clock;
use crate::community::{Communities, Community, in_effect};
use crate::config::Current;
use crate::event::Event;
use crate::nips::nip40;
use crate::pipeline::{Outcome, Permits, Pipeline, Reply, Submission};
use crate::plugin::Origin;
use crate::rule::{Prefix, Refusal};
use crate::store::Store;

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
    /// Send them to a relay that is running, such as ws://127.0.0.1:7777 or wss://…; its limits apply
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "data"])]
    relay: Option<String>,
    /// Ask the community's plugins about each event; without this no rule is asked
    #[arg(long, conflicts_with = "relay")]
    plugins: bool,
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
            Outcome::Stored | Outcome::Held => self.stored += 1,
            Outcome::Duplicate => self.duplicates += 1,
            Outcome::Superseded => self.superseded += 1,
            Outcome::PassedOn | Outcome::Done(_) => self.ephemeral += 1,
            Outcome::Feigned => self.refuse("by a plugin, which would not tell the sender".to_owned()),
            Outcome::Refused(refusal)
                if refusal.prefix == Prefix::Invalid && refusal.rule.starts_with("nip01.") =>
            {
                self.bad_line(line, refusal.sentence.into_owned());
            }
            Outcome::Refused(refusal) => self.refuse(refusal.to_string()),
        }
    }

    /// Tells what became of the lines, and whether another try is worth it.
    pub(super) fn finish(&self) -> Result<(), Failure> {
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
            Some(url) => Remote::connect("--relay", url, None).and_then(|mut remote| {
                remote::import(&mut remote, || {
                    Ok(lines.next()?.map(|(number, line)| (number, remote::event(line))))
                })
            }),
            None => self.import(&mut lines),
        };
        lines.bar.finish_and_clear();
        summary?.finish()
    }

    fn import(&self, lines: &mut Lines) -> Result<Summary, Failure> {
        let here = Here::open(&self.store, &self.community)?;
        let mut intake = here.intake();
        if self.plugins {
            intake.ask_plugins()?;
        }
        let mut read = || -> Result<(), Failure> {
            while let Some((number, line)) = lines.next()? {
                intake.take(number, event(line, &here.pipeline))?;
            }
            Ok(())
        };
        let done = read().and_then(|()| intake.finish());
        here.close()?;
        done
    }
}

/// A community of an idle store, and what takes events into it.
pub(super) struct Here {
    pub(super) pipeline: Pipeline,
    pub(super) community: Arc<Community>,
    communities: Arc<Communities>,
    store: Arc<Store>,
}

impl Here {
    /// Opens the store, on which no relay may be running.
    pub(super) fn open(store: &StoreArguments, community: &CommunityArgument) -> Result<Here, Failure> {
        let config = store.load()?;
        refuse_in_cluster(&config, "an import")?;
        let store = Arc::new(open_idle_store(&config)?);
        let (mut config, _) = in_effect(&config, &store)?;
        config.rate.enabled = false;
        let communities = Arc::new(Communities::open(&config, &store)?);
        let community = community.find(&communities)?;
        let current = Current::new(config);
        let pipeline =
            Pipeline::start(&current, Arc::clone(&store), Arc::clone(&communities), Clock::system())?;
        Ok(Here { pipeline, community, communities, store })
    }

    /// A way in.
    pub(super) fn intake(&self) -> Intake<'_> {
        let (answers, outcomes) = unbounded();
        Intake { here: self, answers, outcomes, under_way: 0, summary: Summary::default(), origin: None }
    }

    /// Ends all work and closes the store.
    pub(super) fn close(self) -> Result<(), Failure> {
        self.pipeline.stop();
        drop((self.community, self.communities));
        match Arc::into_inner(self.store) {
            Some(store) => Ok(store.close()?),
            None => Ok(()),
        }
    }
}

/// Takes events, many at once, and counts what becomes of them.
pub(super) struct Intake<'h> {
    here: &'h Here,
    answers: Sender<(u64, Outcome)>,
    outcomes: Receiver<(u64, Outcome)>,
    under_way: usize,
    summary: Summary,
    origin: Option<Box<Origin>>,
}

impl Intake<'_> {
    /// Has plugins be asked about what comes.
    pub(super) fn ask_plugins(&mut self) -> Result<(), Failure> {
        self.here.pipeline.ask_plugins(&self.here.communities)??;
        self.origin = Some(Box::new(Origin::import()));
        Ok(())
    }

    /// Takes an event, or counts what is none.
    pub(super) fn take(&mut self, number: u64, event: Result<Event, Refused>) -> Result<(), Failure> {
        match event {
            Ok(event) => {
                if self.under_way == UNDER_WAY_MAX {
                    self.hear_one()?;
                }
                self.here.pipeline.submit(Submission {
                    community: Arc::clone(&self.here.community),
                    event,
                    reply: Reply::Channel(number, self.answers.clone()),
                    admitted_at: None,
                    origin: self.origin.clone(),
                    permits: Permits::default(),
                });
                self.under_way += 1;
            }
            Err(Refused::Line(reason)) => self.summary.bad_line(number, reason),
            Err(Refused::Event(refusal)) => self.summary.add(number, Outcome::Refused(refusal)),
        }
        while let Ok((number, outcome)) = self.outcomes.try_recv() {
            self.summary.add(number, outcome);
            self.under_way -= 1;
        }
        Ok(())
    }

    fn hear_one(&mut self) -> Result<(), Failure> {
        let (number, outcome) = self.outcomes.recv()?;
        self.summary.add(number, outcome);
        self.under_way -= 1;
        Ok(())
    }

    /// Waits for what is under way.
    pub(super) fn finish(mut self) -> Result<Summary, Failure> {
        while self.under_way > 0 {
            self.hear_one()?;
        }
        Ok(self.summary)
    }
}

/// Why there is nothing to take.
pub(super) enum Refused {
    /// The line is no event.
    Line(String),
    /// It is one that must not come in by this way either.
    Event(Refusal),
}

fn event(line: &[u8], pipeline: &Pipeline) -> Result<Event, Refused> {
    current(Event::from_json(line).map_err(|error| Refused::Line(error.0))?, pipeline)
}

/// An event that is not over.
pub(super) fn current(event: Event, pipeline: &Pipeline) -> Result<Event, Refused> {
    if nip40::is_expired(nip40::expires_at(&event), pipeline.clock.now()) {
        return Err(Refused::Event(Refusal::new(Prefix::Invalid, "nip40.expired", "the event has expired")));
    }
    Ok(event)
}
