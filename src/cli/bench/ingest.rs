//! Taking events: new ones, copies, a mix as relays see it, and one at a time. In: a stage. Out: rates, the relay's
//! CPU, and how long events wait for their OK, beside what the same machine could do at best.

use super::Failure;
use super::corpus::Corpus;
use super::dice::Dice;
use super::limits::{self, Signatures};
use super::process::{Meter, Spent};
use super::publish::{Pace, Published, Publishers, Share, deal};
use super::relay::Relay;
use super::report::Table;
use super::sample::Sample;
use super::stage::{BATCH_EVENTS, Filled, Stage};
use super::stats::Figures;
use crate::event::Event;

/// Of what relays are sent, one in so many is new.
const NEW_ONE_IN: usize = 5;

/// Copies are of one of so many events before them. At full rate that is some tens of milliseconds, as long as copies
/// take over other paths; few come while the relay is still busy with the first.
const COPIED_BACK: usize = 1_000;

/// Events that are sent one at a time.
const ALONE: usize = 300;

const ROWS: &[(&str, &[&str])] = &[
    ("new events", &["ingest_new_events_per_second"]),
    ("as a share of the signatures that the same cores verify", &["ingest_new_signatures_share"]),
    ("relay's CPU a new event", &["ingest_new_relay_cpu_microseconds"]),
    (
        "from sending to OK, loaded: median, p99",
        &["ingest_new_answer_median_milliseconds", "ingest_new_answer_p99_milliseconds"],
    ),
    (
        "from sending to OK, one event at a time: median, p99",
        &["ingest_alone_answer_median_milliseconds", "ingest_alone_answer_p99_milliseconds"],
    ),
    ("copies", &["ingest_copy_events_per_second"]),
    ("relay's CPU a copy", &["ingest_copy_relay_cpu_microseconds"]),
    ("four copies in five events", &["ingest_mix_events_per_second"]),
    ("relay's CPU an event of that mix", &["ingest_mix_relay_cpu_microseconds"]),
    (
        "from sending to OK in that mix: median, p99",
        &["ingest_mix_answer_median_milliseconds", "ingest_mix_answer_p99_milliseconds"],
    ),
    ("each event five times at once", &["ingest_burst_events_per_second"]),
    ("relay's CPU an event of those", &["ingest_burst_relay_cpu_microseconds"]),
    (
        "client's share of all CPU: new, copies, mix",
        &["ingest_new_client_cpu_share", "ingest_copy_client_cpu_share", "ingest_mix_client_cpu_share"],
    ),
    ("refused", &["ingest_refused_events"]),
    (
        "limit: signatures verified, CPU for one",
        &["limit_signatures_per_second", "limit_signature_cpu_microseconds"],
    ),
    ("limit: writes made durable one by one (sync_data)", &["limit_syncs_per_second"]),
];

/// Publishes and says what it took.
pub(super) fn metered(
    relay: &Relay,
    publishers: &mut Publishers,
    shares: &[Share],
    pace: Pace,
) -> Result<(Spent, Published), Failure> {
    let meter = Meter::start(relay.pid())?;
    let published = publishers.publish(shares, pace)?;
    Ok((meter.spent()?, published))
}

/// What was spent on many batches.
#[derive(Default)]
struct Work {
    spent: Spent,
    published: Published,
    events: usize,
}

impl Work {
    fn add(&mut self, (spent, published): (Spent, Published), events: usize) {
        self.spent.add(spent);
        self.published.add(published);
        self.published.sent.clear();
        self.events += events;
    }

    fn put(&self, figures: &mut Figures, key: &str) {
        self.spent.put(figures, key, "events", self.events);
        figures.put_times(&format!("{key}_answer"), &self.published.times);
    }
}

/// Each event so many times in a row, which is over as many connections at the same moment.
fn at_once(new: &[Event]) -> Vec<&Event> {
    new.iter().flat_map(|event| std::iter::repeat_n(event, NEW_ONE_IN)).collect()
}

/// Events in the order in which a relay sees them that is told most of them by several clients: each once, and
/// copies of it soon after.
fn with_copies<'e>(new: &'e [Event], dice: &mut Dice) -> Vec<&'e Event> {
    let mut order = Vec::with_capacity(new.len() * NEW_ONE_IN);
    for (number, event) in new.iter().enumerate() {
        order.push(event);
        for _ in 1..NEW_ONE_IN {
            let back = dice.below((number + 1).min(COPIED_BACK) as u64) as usize;
            order.push(&new[number - back]);
        }
    }
    order
}

fn run(stage: &mut Stage, seed: u64) -> Result<(Figures, Filled), Failure> {
    let relay = stage.empty(super::relay::Settings::default())?;
    let (events, connections, pace) = (stage.options.events, stage.options.connections, stage.pace());
    let mut filled = Filled { corpus: stage.corpus(seed), sample: Sample::new() };
    let mut figures = Figures::default();
    figures.put("limit_syncs_per_second", limits::syncs_per_second(stage.folder())?);
    // Threads, tables and the allocator of a relay that has run for a while are warm.
    stage.fill(&relay, &mut filled, (events / 20).min(2_000))?;
    let mut publishers = Publishers::connect(&relay.address, connections)?;
    let [mut new, mut copies, mut mix, mut burst] = [(); 4].map(|()| Work::default());
    let (mut signatures, mut dice) = (Signatures::default(), Dice::new(seed));
    while new.events < events {
        let batch = filled.corpus.events((events - new.events).min(BATCH_EVENTS));
        let shares = deal(&batch, connections);
        signatures.verify(&batch)?;
        new.add(metered(&relay, &mut publishers, &shares, pace)?, batch.len());
        signatures.verify(&batch)?;
        copies.add(metered(&relay, &mut publishers, &shares, pace)?, batch.len());
        filled.sample.observe(&batch);
    }
    for (work, is_at_once) in [(&mut mix, false), (&mut burst, true)] {
        while work.events < events {
            let batch = filled.corpus.events((events - work.events).min(BATCH_EVENTS).div_ceil(NEW_ONE_IN));
            let order = if is_at_once { at_once(&batch) } else { with_copies(&batch, &mut dice) };
            let shares = deal(order.iter().copied(), connections);
            work.add(metered(&relay, &mut publishers, &shares, pace)?, order.len());
            filled.sample.observe(&batch);
        }
    }
    new.put(&mut figures, "ingest_new");
    copies.put(&mut figures, "ingest_copy");
    mix.put(&mut figures, "ingest_mix");
    burst.put(&mut figures, "ingest_burst");
    figures.put("limit_signatures_per_second", signatures.per_second());
    figures.put("limit_signature_cpu_microseconds", signatures.micros());
    let new_per_second = new.events as f64 / new.spent.seconds;
    figures.put("ingest_new_signatures_share", new_per_second / signatures.per_second());
    figures.put("ingest_refused_events", (new.published.refused + mix.published.refused) as f64);
    alone(&relay, &mut filled.corpus, &mut filled.sample, events.min(ALONE), &mut figures)?;
    relay.stop()?;
    Ok((figures, filled))
}

/// One event at a time, with nothing else to do.
fn alone(
    relay: &Relay,
    corpus: &mut Corpus,
    sample: &mut Sample,
    events: usize,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let batch = corpus.events(events);
    let mut publisher = Publishers::connect(&relay.address, 1)?;
    let published = publisher.publish(&deal(&batch, 1), Pace::Full { in_flight: 1 })?;
    sample.observe(&batch);
    figures.put_times("ingest_alone_answer", &published.times);
    Ok(())
}

/// Measures several times, on a new store each.
pub(super) fn measure(stage: &mut Stage) -> Result<(Table, Figures), Failure> {
    let mut runs = Vec::new();
    let mut last = None;
    for number in 0..stage.options.runs as u64 {
        stage.say(format_args!("ingest, run {} of {}", number + 1, stage.options.runs));
        // A relay that cannot be emptied has the events of the run before.
        let seed = stage.options.seed + if stage.target.can_restart() { 0 } else { number };
        let (figures, filled) = run(stage, seed)?;
        runs.push(figures);
        last = Some(filled);
    }
    last.into_iter().for_each(|filled| stage.keep(filled));
    Ok((Table::of("ingest", ROWS), Figures::medians(&runs)))
}

#[cfg(test)]
mod tests {
    use super::super::corpus::{BEGINNING, World};
    use super::*;

    #[test]
    fn four_in_five_are_copies_of_what_came_before() {
        let events = Corpus::new(&World::new(), 1, BEGINNING).events(200);
        let order = with_copies(&events, &mut Dice::new(1));
        assert_eq!(order.len(), 1_000);
        let mut seen = std::collections::HashSet::new();
        let new = order.iter().filter(|event| seen.insert(event.id)).count();
        assert_eq!(new, 200, "each is there");
        assert!(
            order.chunks(5).zip(&events).all(|(five, event)| five[0] == event),
            "new ones in their order"
        );
    }
}
