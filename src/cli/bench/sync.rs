//! Reconciliations (NIP-77) of many events that differ by few: one that finds nothing prepared, further ones of the same,
//! one after some new events, and several at once. In: how many events, and by how many both sides differ. Out: what each
//! took, and how much was said.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Failure;
use super::client::Client;
use super::process::Meter;
use super::publish::{Publishers, deal};
use super::relay::{Relay, Settings};
use super::report::{Row, Table};
use super::stage::{BATCH_EVENTS, Stage};
use super::stats::Figures;
use crate::event::{Event, Id};
use crate::nips::nip77::{Sealed, Set};
use crate::words::number;

/// How often the same is asked again: the kernel counts a process' time from tick to tick.
const AGAIN: usize = 20;

/// How often some events come and it is asked again.
const RENEWALS: usize = 5;

/// A time after all events, in seconds since 1970. Each run asks for events up to another one, so that it finds nothing
/// prepared.
const AFTER_ALL: u64 = 4_000_000_000;

const CASES: [&str; 4] = ["first", "again", "renewed", "together"];

const ROWS: &[(&str, &[&str])] = &[
    ("time", &["milliseconds"]),
    ("of that, until the relay answered", &["waited_milliseconds"]),
    ("relay's CPU", &["relay_cpu_milliseconds"]),
    ("messages each way", &["messages"]),
    ("asked, answered", &["asked_bytes", "answered_bytes"]),
];

/// What a reconciliation was.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    waited: Duration,
    messages: usize,
    asked_bytes: usize,
    answered_bytes: usize,
    /// By how many events the sides differ.
    differ: usize,
}

/// What the client has, and asks for.
struct Side {
    events: Vec<(u64, Id)>,
    set: Sealed,
}

impl Side {
    fn of(events: Vec<(u64, Id)>) -> Side {
        let mut set = Set::default();
        events.iter().for_each(|(time, id)| set.add(*time, id));
        Side { events, set: set.seal() }
    }

    /// All but some of what the relay has, and as many that it has not, both from all times.
    fn beside(stored: &[(u64, Id)], differ: usize) -> Side {
        let lacks = differ.div_ceil(2).min(stored.len());
        let lacking: HashSet<usize> = (0..lacks).map(|one| one * stored.len() / lacks).collect();
        let rest = stored.iter().enumerate().filter(|(at, _)| !lacking.contains(at)).map(|(_, one)| *one);
        let own = (0..differ - lacks).map(|one| {
            let (time, id) = stored[one * stored.len() / (differ - lacks)];
            // As good as drawn: sums of ids that are made to look alike may be the same.
            (time, Id(Sha256::digest(id.0).into()))
        });
        Side::of(rest.chain(own).collect())
    }
}

/// Reconciles over a connection of its own.
fn reconcile(address: &str, set: &Sealed, until: u64, patience: Duration) -> Result<Told, Failure> {
    let mut client = Client::connect(address)?;
    client.set_patience(patience)?;
    let (mut told, mut said) = (Told::default(), set.initiate().map_err(|refusal| refusal.to_string())?);
    let mut begin = format!(r#"["NEG-OPEN","sync",{{"until":{until}}}"#);
    loop {
        client.send_text(&format!("{begin},\"{}\"]", hex::encode(&said)))?;
        let asked_at = Instant::now();
        let answer = answered(&mut client)?;
        told.waited += asked_at.elapsed();
        told.messages += 1;
        told.asked_bytes += said.len();
        told.answered_bytes += answer.len();
        let learned = set.learn(&answer).map_err(|refusal| refusal.to_string())?;
        told.differ += learned.only_here.len() + learned.only_there.len();
        let Some(next) = learned.next else { break };
        (said, begin) = (next, r#"["NEG-MSG","sync""#.to_owned());
    }
    client.send_text(r#"["NEG-CLOSE","sync"]"#)?;
    Ok(told)
}

/// The relay's next message of the reconciliation.
fn answered(client: &mut Client) -> Result<Vec<u8>, Failure> {
    let mut found = None;
    while found.is_none() {
        client.receive(|message| {
            if !message.starts_with(b"[\"AUTH\"") {
                found = Some(message.to_vec());
            }
        })?;
    }
    let message: Value = serde_json::from_slice(&found.unwrap_or_default())?;
    match (message[0].as_str(), message[2].as_str()) {
        (Some("NEG-MSG"), Some(answer)) => Ok(hex::decode(answer)?),
        _ => Err(format!("a reconciliation is not answered: {message}").into()),
    }
}

/// What some reconciliations took.
#[derive(Default)]
struct Cost {
    runs: usize,
    told: Vec<Told>,
    seconds: f64,
    relay_cpu: f64,
}

impl Cost {
    /// Measures one, or several at once.
    fn run(
        &mut self,
        relay: &Relay,
        reconcile: impl FnOnce() -> Result<Vec<Told>, Failure>,
    ) -> Result<(), Failure> {
        let meter = Meter::start(relay.pid())?;
        self.told.extend(reconcile()?);
        let spent = meter.spent()?;
        self.runs += 1;
        self.seconds += spent.seconds;
        self.relay_cpu += spent.relay_cpu;
        Ok(())
    }

    /// What each took on average; all of them must have found by how many events the sides differ.
    fn put(&self, case: &str, differ: usize, figures: &mut Figures) -> Result<(), Failure> {
        if let Some(wrong) = self.told.iter().find(|told| told.differ != differ) {
            return Err(format!("{} events differ instead of {differ}", wrong.differ).into());
        }
        let each = self.told.len().max(1) as f64;
        let sum = |of: fn(&Told) -> f64| self.told.iter().map(of).sum::<f64>() / each;
        let mut put = |what: &str, value: f64| figures.put(format!("sync_{case}_{what}"), value);
        put("milliseconds", self.seconds / self.runs.max(1) as f64 * 1e3);
        put("waited_milliseconds", sum(|told| told.waited.as_secs_f64() * 1e3));
        put("relay_cpu_milliseconds", self.relay_cpu / each * 1e3);
        put("messages", sum(|told| told.messages as f64));
        put("asked_bytes", sum(|told| told.asked_bytes as f64));
        put("answered_bytes", sum(|told| told.answered_bytes as f64));
        Ok(())
    }
}

/// Publishes notes of one person.
fn publish(stage: &Stage, relay: &Relay, events: &[Event]) -> Result<(), Failure> {
    let connections = stage.options.connections;
    let mut publishers = Publishers::connect(&relay.address, connections)?;
    publishers.publish(&deal(events, connections), stage.pace())?;
    Ok(())
}

fn places(events: &[Event]) -> impl Iterator<Item = (u64, Id)> {
    events.iter().map(|event| (event.created_at, event.id))
}

/// Measures several runs.
pub(super) fn measure(stage: &mut Stage) -> Result<(Table, Figures), Failure> {
    let (events, connections) = (stage.options.events, stage.options.connections);
    let (differ, patience) = (stage.options.sync_differ, stage.patience());
    stage.say(format_args!("reconciliations of {events} events"));
    let relay = stage.empty(Settings { has_large_sets: true, ..Settings::default() })?;
    let mut corpus = stage.corpus(stage.options.seed);
    let mut stored = Vec::with_capacity(events);
    while stored.len() < events {
        let batch = corpus.notes_of(0, (events - stored.len()).min(BATCH_EVENTS));
        publish(stage, &relay, &batch)?;
        stored.extend(places(&batch));
    }
    let mut side = Side::beside(&stored, differ);
    let mut runs = Vec::new();
    for run in 0..stage.options.runs as u64 {
        let (mut figures, mut costs) = (Figures::default(), [(); 4].map(|()| Cost::default()));
        let [first, again, renewed, together] = &mut costs;
        let until = AFTER_ALL + 2 * run;
        let one = |side: &Side| Ok(vec![reconcile(&relay.address, &side.set, until, patience)?]);
        first.run(&relay, || one(&side))?;
        for _ in 0..AGAIN {
            again.run(&relay, || one(&side))?;
        }
        for _ in 0..RENEWALS {
            // Both sides get them, so that they differ as before.
            let new = corpus.notes_of(0, differ);
            publish(stage, &relay, &new)?;
            side.events.extend(places(&new));
            side = Side::of(side.events);
            renewed.run(&relay, || one(&side))?;
        }
        together.run(&relay, || {
            let one = || {
                reconcile(&relay.address, &side.set, until + 1, patience).map_err(|error| error.to_string())
            };
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..connections).map(|_| scope.spawn(one)).collect();
                let ended =
                    all.into_iter().map(|one| one.join().map_err(|_| "a client has failed".to_owned())?);
                Ok(ended.collect::<Result<Vec<Told>, String>>()?)
            })
        })?;
        for (case, cost) in CASES.iter().zip(&costs) {
            cost.put(case, differ, &mut figures)?;
        }
        runs.push(figures);
    }
    relay.stop()?;
    Ok((table(events, differ, connections), Figures::medians(&runs)))
}

fn table(events: usize, differ: usize, connections: usize) -> Table {
    let row = |(label, whats): &(&str, &[&str])| {
        let cell = |case: &&str| whats.iter().map(|what| format!("sync_{case}_{what}")).collect();
        Row { label: (*label).to_owned(), cells: CASES.iter().map(cell).collect() }
    };
    Table {
        title: format!("{} events that differ by {}", number(events as u64), number(differ as u64)),
        columns: vec![
            "the first reconciliation".to_owned(),
            "the same again".to_owned(),
            format!("after {} new events", number(differ as u64)),
            format!("{connections} at once, each"),
        ],
        rows: ROWS.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_differ_by_as_many_as_they_should() {
        let stored: Vec<(u64, Id)> = (0..50).map(|number| (number, Id([number as u8; 32]))).collect();
        for differ in [0, 1, 7, 40] {
            let side = Side::beside(&stored, differ);
            let strange = side.events.iter().filter(|one| !stored.contains(one)).count();
            let lacking = stored.iter().filter(|one| !side.events.contains(one)).count();
            assert_eq!((strange + lacking, lacking), (differ, differ.div_ceil(2)));
        }
    }
}
