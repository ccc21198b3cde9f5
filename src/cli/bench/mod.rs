//! `plaza bench`: measure a relay, this one or another, on this machine. In: which parts, and how much of what. Out:
//! figures, as tables or as JSON; what the same machine can do at best is measured in the same run.

mod client;
mod connections;
mod corpus;
mod dice;
mod fanout;
mod flood;
mod growth;
mod ingest;
mod limits;
mod machine;
mod overload;
mod pages;
mod people;
mod polite;
mod process;
mod publish;
mod query;
mod relay;
mod reply;
mod report;
mod rules;
mod sample;
mod search;
mod shapes;
mod stage;
mod start;
mod stats;
mod sync;
mod text;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Failure;
use crate::words::number;
use corpus::{BEGINNING, Corpus, World};
use machine::Machine;
use relay::Target;
use report::{Report, SideBySide, Table};
use stage::{BATCH_EVENTS, Stage};
use stats::Figures;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// New events, copies, four copies in five, one event at a time; signatures and syncs that the machine can do
    Ingest,
    /// Queries by shape, alone and over several connections
    Query,
    /// Live subscriptions while events come in
    Fanout,
    /// Memory of connections that wait, and how quickly they open
    Connections,
    /// Time until a store with the corpus serves, its memory and disk
    Start,
    /// Time that the rules of all presets together take for an event, on one thread
    Rules,
    /// Queries, insertion, memory and start at several sizes of the store (takes long; only when named)
    Growth,
    /// One author's many events page by page (only when named)
    Pages,
    /// Clients that keep to the limits while others send ten times what the relay can take (only when named)
    Overload,
    /// Reconciliations of as many events as the corpus has, which differ by few (only when named)
    Sync,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Bench {
    #[command(subcommand)]
    tool: Option<Tool>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Set the JSON of several measurements side by side, in one table
    Table {
        /// What `plaza bench --json` wrote, a file a relay
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Write events of the corpus to standard output, one a line
    Corpus {
        /// How many
        #[arg(long, default_value_t = 100_000)]
        events: usize,
        /// Which corpus
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

#[derive(Debug, Clone, Args)]
struct Options {
    /// What to measure
    #[arg(value_enum, default_values_t = [Part::Ingest, Part::Query, Part::Fanout, Part::Connections, Part::Start, Part::Rules])]
    parts: Vec<Part>,
    /// Events in the corpus
    #[arg(long, default_value_t = 100_000, value_parser = at_least_one)]
    events: usize,
    /// Which corpus: the same number means the same events everywhere
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often each part is measured; medians are shown
    #[arg(long, default_value_t = 3, value_parser = at_least_one)]
    runs: usize,
    /// Connections that publish or ask at once
    #[arg(long, default_value_t = 8, value_parser = at_least_one)]
    connections: usize,
    /// Events that each connection has under way
    #[arg(long, default_value_t = 64, value_parser = at_least_one)]
    in_flight: usize,
    /// Queries of each shape
    #[arg(long, default_value_t = 200, value_parser = at_least_one)]
    queries: usize,
    /// Seconds that all shapes are asked over several connections
    #[arg(long, default_value_t = 5.0)]
    query_seconds: f64,
    /// Seconds after which a query counts as not answered
    #[arg(long, default_value_t = 10)]
    patience_seconds: u64,
    /// Live subscriptions of 100 authors each
    #[arg(long, default_value_t = 1_000, value_parser = at_least_one)]
    fanout_subscriptions: usize,
    /// Connections that these subscriptions share
    #[arg(long, default_value_t = 1_000, value_parser = at_least_one)]
    fanout_connections: usize,
    /// Events that come in while they listen
    #[arg(long, default_value_t = 1_000, value_parser = at_least_one)]
    fanout_events: usize,
    /// Events a second that come in steadily: each of these rates in turn
    #[arg(long, value_delimiter = ',', default_values_t = [50, 1_000], value_parser = at_least_one)]
    fanout_rates: Vec<usize>,
    /// Plaza's `limits.live_delay_milliseconds_max`
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1_000))]
    fanout_delay_milliseconds: u64,
    /// Connections that wait
    #[arg(long, default_value_t = 10_000, value_parser = at_least_one)]
    idle_connections: usize,
    /// Sizes of the store at which growth is measured
    #[arg(long, value_delimiter = ',', default_values_t = [100_000, 1_000_000, 5_000_000])]
    sizes: Vec<usize>,
    /// Events of the author whose pages are read
    #[arg(long, default_value_t = 200_000, value_parser = at_least_one)]
    pages_events: usize,
    /// Seconds that each kind of flood lasts
    #[arg(long, default_value_t = 30.0)]
    overload_seconds: f64,
    /// Which floods are measured, all of them by default: calm, address, author, lifted_notes, lifted_forged,
    /// lifted_many, lifted_long, lifted_live, lifted_counts
    #[arg(long, value_delimiter = ',', value_parser = overload::keys())]
    overload_scenes: Vec<String>,
    /// Connections that flood the relay
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    overload_connections: usize,
    /// Clients that keep to the limits meanwhile, each with an address of its own
    #[arg(long, default_value_t = 20, value_parser = at_least_one)]
    overload_polite: usize,
    /// Events by which the sides of a reconciliation differ
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    sync_differ: usize,
    /// Have clients offer to compress messages (permessage-deflate)
    #[arg(long)]
    compress: bool,
    /// Measure another relay: where it listens, without ws://
    #[arg(long, value_name = "HOST:PORT")]
    relay: Option<String>,
    /// What the tables call it
    #[arg(long, default_value = "relay", requires = "relay")]
    name: String,
    /// It is running already, as this process
    #[arg(long, requires = "relay", conflicts_with = "start")]
    pid: Option<u32>,
    /// It is started by this command, which must stay in the foreground
    #[arg(long, value_name = "COMMAND", requires_all = ["relay", "data"])]
    start: Option<String>,
    /// Its data; emptied
    #[arg(long, value_name = "DIR", requires = "start")]
    data: Option<PathBuf>,
    /// Folder for stores and settings; removed afterwards
    #[arg(long, value_name = "DIR", default_value = "bench-data")]
    folder: PathBuf,
    /// Write one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("must be a whole number".to_owned()),
    }
}

impl Bench {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.tool {
            Some(Tool::Table { files }) => side_by_side(&files),
            Some(Tool::Corpus { events, seed }) => write_corpus(events, seed),
            None => measure(self.options),
        }
    }
}

fn side_by_side(files: &[PathBuf]) -> Result<(), Failure> {
    let read = |file: &PathBuf| -> Result<Value, Failure> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?)
    };
    let reports = files.iter().map(read).collect::<Result<Vec<Value>, Failure>>()?;
    print!("{}", SideBySide::new(reports).markdown());
    Ok(())
}

fn write_corpus(events: usize, seed: u64) -> Result<(), Failure> {
    let mut corpus = Corpus::new(&World::new(), seed, BEGINNING);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut left = events;
    while left > 0 {
        let batch = corpus.events(left.min(BATCH_EVENTS));
        left -= batch.len();
        for event in &batch {
            out.write_all(&event.to_json())?;
            out.write_all(b"\n")?;
        }
    }
    Ok(out.flush()?)
}

fn target(options: &Options) -> Result<Target, Failure> {
    let folder = options.folder.join("run");
    std::fs::create_dir_all(&folder)?;
    let Some(address) = options.relay.clone() else { return Ok(Target::Plaza { folder }) };
    match (&options.start, &options.data, options.pid) {
        (Some(command), Some(data), None) => {
            Ok(Target::Other { address, command: command.clone(), data: data.clone(), folder })
        }
        (None, None, Some(pid)) => Ok(Target::Running { address, pid }),
        _ => Err("--relay needs --pid, or --start and --data".into()),
    }
}

fn heading(options: &Options, machine: &Machine) -> String {
    format!(
        "{}; client and relay share them. Corpus of {} events, seed {}; medians of {} runs; plaza {}.",
        machine.words(),
        number(options.events as u64),
        options.seed,
        options.runs,
        env!("CARGO_PKG_VERSION")
    )
}

/// A part, or `None` where it says nothing of this relay.
fn part(part: Part, stage: &mut Stage) -> Result<Option<(Table, Figures)>, Failure> {
    let (is_plaza, can_restart) = (stage.target.is_plaza(), stage.target.can_restart());
    match part {
        Part::Ingest => ingest::measure(stage).map(Some),
        Part::Query => query::measure(stage).map(Some),
        Part::Fanout => fanout::measure(stage).map(Some),
        Part::Connections => connections::measure(stage).map(Some),
        // A start can only be measured by who starts it, and rules are this program's own.
        Part::Start if !can_restart => Ok(None),
        Part::Rules if !is_plaza => Ok(None),
        Part::Start => start::measure(stage).map(Some),
        Part::Rules => rules::measured(stage).map(Some),
        Part::Growth => growth::measure(stage).map(Some),
        Part::Pages => pages::measure(stage).map(Some),
        // What it needs are settings of this program.
        Part::Overload if !is_plaza => Ok(None),
        Part::Overload => overload::measure(stage).map(Some),
        Part::Sync => sync::measure(stage).map(Some),
    }
}

fn measure(options: Options) -> Result<(), Failure> {
    let target = target(&options)?;
    let machine = Machine::here(&options.folder);
    let mut report = Report {
        relay: if target.is_plaza() { "plaza".to_owned() } else { options.name.clone() },
        heading: heading(&options, &machine),
        about: json!({
            "plaza": env!("CARGO_PKG_VERSION"),
            "seed": options.seed,
            "events": options.events,
            "runs": options.runs,
            "machine": machine.json(),
        }),
        figures: Figures::default(),
        tables: Vec::new(),
        failures: Vec::new(),
    };
    if options.compress {
        client::offer_compression();
    }
    let mut stage = Stage::new(options, target);
    for which in stage.options.parts.clone() {
        let name = which.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        match part(which, &mut stage) {
            Ok(Some((table, figures))) => report.add(table, figures),
            Ok(None) => stage.say(format_args!("{name} is left out: it says nothing of this relay")),
            Err(failure) => {
                stage.say(format_args!("{name} could not be measured: {failure}"));
                report.failures.push((name, failure.to_string()));
            }
        }
    }
    std::fs::remove_dir_all(stage.folder())?;
    match stage.options.json {
        true => println!("{}", report.json()),
        false => print!("{}", report.markdown()),
    }
    // Another relay may well be unable to do a part; then the rest of the comparison stands.
    match report.failures.first() {
        Some((part, failure)) if stage.target.is_plaza() => Err(format!("{part}: {failure}").into()),
        _ => Ok(()),
    }
}
