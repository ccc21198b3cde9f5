//! `plaza bench`: measure a relay, this one or another, on this machine. In: how much of what. Out: one
//! table; figures are set against what the same cores can do in the same run.

mod client;
mod corpus;
mod dice;
mod people;
mod process;
mod query;
mod rules;
mod text;

use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use secp256k1::{XOnlyPublicKey, schnorr};

use super::Failure;
use crate::clock::Clock;
use crate::event::Event;
use client::Client;
use corpus::{BEGINNING, Corpus, World};
use process::{Relay, anonymous_bytes, cpu_seconds};

/// Events that are made and signed before the clock starts, at a time.
const BATCH_EVENTS: usize = 50_000;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// New events, then the same again as duplicates
    Ingest,
    /// Queries by shape: latency alone, rate and CPU over several connections
    Query,
    /// Time until a store with the corpus serves, and memory of its index
    Start,
    /// Memory of idle connections with one subscription each
    Idle,
    /// Time that the rules of all presets together take for an event, on one thread
    Rules,
}

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// What to measure
    #[arg(value_enum, default_values_t = [Part::Ingest, Part::Query, Part::Start, Part::Idle, Part::Rules])]
    parts: Vec<Part>,
    /// Events in the corpus
    #[arg(long, default_value_t = 100_000)]
    events: usize,
    /// Connections that publish
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Events that each connection has under way
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// How often ingest is measured, on a new store each time; medians are shown
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Idle connections
    #[arg(long, default_value_t = 5_000)]
    idle_connections: usize,
    /// Measure a relay that is running already instead of starting this one: its address, without ws://
    #[arg(long, value_name = "HOST:PORT", requires = "pid")]
    relay: Option<String>,
    /// The process id of that relay
    #[arg(long, requires = "relay")]
    pid: Option<u32>,
    /// Folder for stores and settings; emptied of them afterwards
    #[arg(long, value_name = "DIR", default_value = "bench-data")]
    folder: PathBuf,
}

/// One run of ingest.
#[derive(Debug, Clone, Copy, Default)]
struct Ingest {
    events_per_second: f64,
    cpu_micros: f64,
    duplicate_cpu_micros: f64,
    signatures_per_second: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

impl Bench {
    pub(super) fn run(self) -> Result<(), Failure> {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        println!("plaza {} on {cores} cores; client and relay share them", env!("CARGO_PKG_VERSION"));
        std::fs::create_dir_all(&self.folder)?;
        let measured = self.parts.iter().try_for_each(|part| match part {
            Part::Ingest => self.ingest(cores),
            Part::Query => self.query(),
            // A start can only be measured by who starts it.
            Part::Start if self.relay.is_some() => Ok(()),
            Part::Start => self.start(),
            Part::Idle => self.idle(),
            Part::Rules => self.rules(),
        });
        std::fs::remove_dir_all(&self.folder)?;
        measured
    }

    /// The relay that is measured: the one that was named, or this one on a folder of its own.
    fn target(&self, folder: &std::path::Path, settings: &str) -> Result<Relay, Failure> {
        match (&self.relay, self.pid) {
            (Some(address), Some(pid)) => Ok(Relay::running(address, pid)),
            _ => Relay::start(folder, settings),
        }
    }

    fn new_store(&self) -> Result<PathBuf, Failure> {
        let folder = self.folder.join("run");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    fn corpus(&self, seed: u64) -> Corpus {
        Corpus::new(&World::new(), seed, BEGINNING)
    }

    fn ingest(&self, cores: usize) -> Result<(), Failure> {
        let mut runs = Vec::new();
        for seed in 1..=self.runs as u64 {
            let folder = self.new_store()?;
            let relay = self.target(&folder, "")?;
            let mut corpus = self.corpus(seed);
            let mut total = Ingest::default();
            let (mut seconds, mut cpu, mut duplicate_cpu, mut bytes) = (0.0, 0.0, 0.0, 0);
            let mut left = self.events;
            while left > 0 {
                let events = corpus.events(left.min(BATCH_EVENTS));
                left -= events.len();
                bytes += events.iter().map(|event| event.to_json().len()).sum::<usize>();
                if total.signatures_per_second == 0.0 {
                    total.signatures_per_second = signatures_per_second(&events, cores);
                }
                let shares = shares(&events, self.connections);
                let before = cpu_seconds(relay.pid())?;
                seconds += publish(&relay.address, &shares, self.in_flight)?;
                let between = cpu_seconds(relay.pid())?;
                publish(&relay.address, &shares, self.in_flight)?;
                cpu += between - before;
                duplicate_cpu += cpu_seconds(relay.pid())? - between;
            }
            let events = self.events as f64;
            total.events_per_second = events / seconds;
            total.cpu_micros = cpu / events * 1e6;
            total.duplicate_cpu_micros = duplicate_cpu / events * 1e6;
            println!(
                "run {seed}: {} events of {} bytes: {:.0}/s, {:.0} µs of CPU each, {:.0} µs a duplicate; {:.0} signatures/s",
                self.events,
                bytes / self.events,
                total.events_per_second,
                total.cpu_micros,
                total.duplicate_cpu_micros,
                total.signatures_per_second
            );
            relay.stop()?;
            runs.push(total);
        }
        let of = |figure: fn(&Ingest) -> f64| median(runs.iter().map(figure).collect());
        println!("| ingest, median of {} runs | |\n|---|---|", runs.len());
        println!("| new events/s | {:.0} |", of(|run| run.events_per_second));
        println!(
            "| as a share of the signatures/s that the same cores verify | {:.2} |",
            of(|run| run.events_per_second / run.signatures_per_second)
        );
        println!("| relay's CPU a new event | {:.0} µs |", of(|run| run.cpu_micros));
        println!("| relay's CPU a duplicate | {:.0} µs |", of(|run| run.duplicate_cpu_micros));
        println!("| duplicate / new | {:.2} |", of(|run| run.duplicate_cpu_micros / run.cpu_micros));
        Ok(())
    }

    /// A relay that has stored the corpus, and the last events of it.
    fn filled(&self, folder: &std::path::Path) -> Result<(Relay, Vec<Event>), Failure> {
        let relay = self.target(folder, "")?;
        let mut corpus = self.corpus(1);
        let mut left = self.events;
        let mut events = Vec::new();
        while left > 0 {
            events = corpus.events(left.min(BATCH_EVENTS));
            left -= events.len();
            publish(&relay.address, &shares(&events, self.connections), self.in_flight)?;
        }
        Ok((relay, events))
    }

    fn query(&self) -> Result<(), Failure> {
        let (relay, events) = self.filled(&self.new_store()?)?;
        println!("| query, {} events | events an answer | median | p99 |\n|---|---|---|---|", self.events);
        for shape in query::SHAPES {
            let (median, p99, answered) = query::alone(&relay.address, &events, shape)?;
            println!("| {} | {answered:.0} | {median:.2} ms | {p99:.2} ms |", shape.name);
        }
        let time = Duration::from_secs(5);
        query::together(&relay.address, &events, self.connections, Duration::from_secs(1))?;
        let before = cpu_seconds(relay.pid())?;
        let began = Instant::now();
        let received = query::together(&relay.address, &events, self.connections, time)?;
        let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds(relay.pid())? - before);
        let queries = received.queries as f64;
        println!("| all shapes over {} connections | |\n|---|---|", self.connections);
        println!("| REQ/s | {:.0} |", queries / seconds);
        println!("| relay's CPU a REQ | {:.0} µs |", cpu / queries * 1e6);
        let (answered, bytes) = (received.events as f64 / queries, received.bytes as f64 / queries);
        println!("| events and bytes an answer | {answered:.0}, {bytes:.0} |");
        relay.stop()
    }

    fn start(&self) -> Result<(), Failure> {
        let folder = self.new_store()?;
        let (relay, _) = self.filled(&folder)?;
        relay.stop()?;
        // With the caches as small as they can be, what is left is the index and bookkeeping.
        let settings = "[store]\ncache_bytes = 1_048_576\nbody_cache_bytes = 1_048_576";
        let empty = self.folder.join("empty");
        std::fs::create_dir_all(&empty)?;
        let relay = Relay::start(&empty, settings)?;
        let nothing = anonymous_bytes(relay.pid())?;
        relay.stop()?;
        let mut ready = Vec::new();
        let mut memory = 0;
        let mut stored = 0;
        for _ in 0..self.runs {
            let relay = Relay::start(&folder, settings)?;
            ready.push(relay.ready_after.as_secs_f64());
            memory = anonymous_bytes(relay.pid())?;
            stored = relay.loaded;
            relay.stop()?;
        }
        let disk = disk_bytes(&folder.join("data"))?;
        println!("| start, {stored} stored events, median of {} runs | |\n|---|---|", self.runs);
        println!("| from start of the process until it listens | {:.2} s |", median(ready));
        let each = |bytes: u64| bytes as f64 / stored as f64;
        println!(
            "| resident memory an event, caches aside | {:.0} bytes |",
            each(memory.saturating_sub(nothing))
        );
        println!("| disk an event | {:.0} bytes |", each(disk));
        Ok(())
    }

    fn rules(&self) -> Result<(), Failure> {
        let mut corpus = self.corpus(1);
        let events = corpus.events(self.events.min(BATCH_EVENTS));
        let costs = rules::measure(&events, Clock::system().now())?;
        println!(
            "| rules of all presets, {} events | median | p99 | target |\n|---|---|---|---|",
            events.len()
        );
        let target = format!("{:.0} ns at the median", rules::TARGET_NANOS);
        let targets = std::iter::once(target.as_str()).chain(std::iter::repeat(""));
        for (part, target) in costs.parts.iter().zip(targets) {
            println!("| {} | {:.0} ns | {:.0} ns | {target} |", part.name, part.median, part.p99);
        }
        println!("| the dearest rules | mean |\n|---|---|");
        costs.dearest.iter().for_each(|(rule, mean)| println!("| {rule} | {mean:.0} ns |"));
        Ok(())
    }

    fn idle(&self) -> Result<(), Failure> {
        rlimit::increase_nofile_limit(self.idle_connections as u64 + 128)?;
        let folder = self.new_store()?;
        let settings = format!("[server]\nconnections_max = {}", self.idle_connections + 8);
        let relay = self.target(&folder, &settings)?;
        let mut clients = Vec::with_capacity(self.idle_connections);
        let before = anonymous_bytes(relay.pid())?;
        let began = Instant::now();
        for number in 0..self.idle_connections {
            let mut client = Client::connect(&relay.address)?;
            let author = people::author(number as u64);
            client.send_text(&format!(r#"["REQ","feed",{{"authors":["{author}"],"kinds":[1]}}]"#))?;
            let mut is_answered = false;
            while !is_answered {
                client.receive(|message| is_answered |= message.starts_with(br#"["EOSE""#))?;
            }
            clients.push(client);
        }
        let seconds = began.elapsed().as_secs_f64();
        let each = (anonymous_bytes(relay.pid())?.saturating_sub(before)) / self.idle_connections as u64;
        println!("| {} idle connections, one subscription each | |\n|---|---|", self.idle_connections);
        println!("| anonymous memory a connection | {each} bytes |");
        println!("| opened a second | {:.0} |", self.idle_connections as f64 / seconds);
        drop(clients);
        relay.stop()
    }
}

fn disk_bytes(folder: &std::path::Path) -> Result<u64, Failure> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

/// How many signatures all cores verify in a second, with nothing else to do.
fn signatures_per_second(events: &[Event], cores: usize) -> f64 {
    let events = &events[..events.len().min(20_000)];
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                for event in events {
                    let signature = schnorr::Signature::from_byte_array(event.sig.0);
                    let key = XOnlyPublicKey::from_byte_array(event.pubkey.0);
                    let is_true = key.is_ok_and(|key| schnorr::verify(&signature, &event.id.0, &key).is_ok());
                    assert!(is_true, "the corpus is signed");
                }
            });
        }
    });
    (events.len() * cores) as f64 / began.elapsed().as_secs_f64()
}

/// One connection's frames, with the end of each.
type Share = (Vec<u8>, Vec<usize>);

fn shares(events: &[Event], connections: usize) -> Vec<Share> {
    let mut shares = vec![(Vec::new(), Vec::new()); connections];
    for (number, event) in events.iter().enumerate() {
        let (bytes, ends) = &mut shares[number % connections];
        let mut text = b"[\"EVENT\",".to_vec();
        event.write_json(&mut text);
        text.push(b']');
        client::frame(&text, bytes);
        ends.push(bytes.len());
    }
    shares
}

/// Publishes each share on a connection of its own; returns how many seconds passed until all were
/// answered with `OK true`.
fn publish(address: &str, shares: &[Share], in_flight: usize) -> Result<f64, Failure> {
    let mut clients = Vec::new();
    for share in shares {
        clients.push((Client::connect(address)?, share));
    }
    let start = Barrier::new(shares.len() + 1);
    let published = std::thread::scope(|scope| {
        let threads: Vec<_> = clients
            .into_iter()
            .map(|(client, share)| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    publish_share(client, share, in_flight).map_err(|failure| failure.to_string())
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        for thread in threads {
            thread.join().map_err(|_| "a client panicked")??;
        }
        Ok::<f64, String>(began.elapsed().as_secs_f64())
    });
    Ok(published?)
}

fn publish_share(mut client: Client, (bytes, ends): &Share, in_flight: usize) -> Result<(), Failure> {
    let (mut sent, mut answered, mut refused) = (0, 0, None);
    while answered < ends.len() {
        let until = ends.len().min(answered + in_flight);
        if until > sent {
            let from = if sent == 0 { 0 } else { ends[sent - 1] };
            client.send(&bytes[from..ends[until - 1]])?;
            sent = until;
        }
        client.receive(|message| {
            if message.starts_with(br#"["OK""#) {
                answered += 1;
                // `["OK","` and 64 digits, `",` and the verdict.
                let verdict = message.get(73..).unwrap_or_default();
                // Of two versions of a list that are under way at once, the older may come second.
                if !verdict.starts_with(b"true") && !verdict.starts_with(br#"false,"duplicate:"#) {
                    refused.get_or_insert_with(|| String::from_utf8_lossy(message).into_owned());
                }
            }
        })?;
    }
    match refused {
        Some(message) => Err(format!("the relay refused an event: {message}").into()),
        None => Ok(()),
    }
}
