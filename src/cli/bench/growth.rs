//! How cost grows with what is stored: one store, filled step by step, measured at each size. In: sizes. Out: one
//! table with a column for each size.

use super::Failure;
use super::dice::Dice;
use super::ingest::metered;
use super::limits::Signatures;
use super::publish::{Publishers, deal};
use super::query::{Asker, by_shape};
use super::relay::{Caches, Relay, Settings};
use super::report::{Row, Table};
use super::sample::Sample;
use super::shapes::{Draw, SHAPES};
use super::stage::{Filled, Stage};
use super::start::{SMALLEST, empty_bytes, starts};
use super::stats::Figures;
use crate::event::Event;

/// Events whose insertion is measured at each size: new ones, and as many old ones.
const INSERTED: usize = 20_000;

/// What the keys of figures begin with of what lies within the caches, and beyond them.
const WITHIN: &str = "within_caches_";
const BEYOND: &str = "beyond_caches_";

const WARM: Settings = Settings { caches: Caches::Ample, ..SMALLEST };
/// The bound is far above what is needed: it is there for what it does to the store's cache.
const COLD: Settings = Settings { memory_bytes_max: 1 << 40, ..SMALLEST };

const ROWS: &[(&str, &str)] = &[
    ("new events", "growth_new_events_per_second"),
    ("relay's CPU a new event", "growth_new_relay_cpu_microseconds"),
    ("random old events", "growth_old_events_per_second"),
    ("relay's CPU an old event", "growth_old_relay_cpu_microseconds"),
    ("of all these, stored after lists were replaced", "start_stored_events"),
    ("from start to the first answer", "start_serving_seconds"),
    ("resident memory an event, caches aside", "start_memory_event_bytes"),
    ("disk an event", "start_disk_event_bytes"),
    ("limit: CPU of a signature, meanwhile", "growth_limit_signature_cpu_microseconds"),
];

fn inserted(
    stage: &Stage,
    relay: &Relay,
    sample: &mut Sample,
    events: &[Event],
    key: &str,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let mut publishers = Publishers::connect(&relay.address, stage.options.connections)?;
    let shares = deal(events, stage.options.connections);
    let (spent, _) = metered(relay, &mut publishers, &shares, stage.pace())?;
    spent.put(figures, key, "events", events.len());
    sample.observe(events);
    Ok(())
}

/// Brings the store to a size, and measures there. The relay has been stopped before and is stopped after.
fn step(stage: &Stage, filled: &mut Filled, size: usize, empty: u64) -> Result<Figures, Failure> {
    stage.say(format_args!("growth: {size} events"));
    let mut figures = Figures::default();
    let relay = stage.target.launch(Settings::default())?;
    let missing = size.saturating_sub(filled.sample.events);
    let new = INSERTED.min(missing / 4).max(1);
    stage.fill(&relay, filled, missing.saturating_sub(new))?;
    // Hosts drift while stores grow.
    let mut signatures = Signatures::default();
    let events = filled.corpus.events(new);
    inserted(stage, &relay, &mut filled.sample, &events, "growth_new", &mut figures)?;
    signatures.verify(&events)?;
    let seed = stage.options.seed.wrapping_add(Dice::new(size as u64).next());
    let (from, until) = (super::corpus::BEGINNING, filled.corpus.time());
    let events = stage.corpus(seed).old_events(new, from, until);
    inserted(stage, &relay, &mut filled.sample, &events, "growth_old", &mut figures)?;
    signatures.verify(&events)?;
    relay.stop()?;
    if stage.target.can_restart() {
        starts(stage, filled, empty, &mut figures)?;
    }
    for (which, settings) in [(WITHIN, WARM), (BEYOND, COLD)] {
        asked(stage, filled, which, settings, &mut figures)?;
        signatures.verify(&events)?;
    }
    figures.put("growth_limit_signature_cpu_microseconds", signatures.micros());
    Ok(figures)
}

/// Asks every query twice, and takes the times of the second one: with caches that have room for it, all of its answer
/// is in memory by then; without any, nothing is. So sizes differ in nothing else, while by default a small store lies
/// within the caches whole, and a large one does not.
fn asked(
    stage: &Stage,
    filled: &Filled,
    which: &str,
    settings: Settings,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let relay = stage.target.launch(settings)?;
    let mut asker = Asker::connect(&relay.address, stage.patience())?;
    let draw = Draw { world: &stage.world, sample: &filled.sample };
    by_shape(&mut asker, &draw, SHAPES, stage.options.queries, &mut Figures::default())?;
    let mut again = Figures::default();
    let answered = by_shape(&mut asker, &draw, SHAPES, stage.options.queries, &mut again)?;
    asker.mix(&answered, &draw, stage.options.queries)?;
    again.put_times("query_mix", &asker.mix(&answered, &draw, stage.options.queries)?);
    for (key, value) in again.iter() {
        let key = format!("{which}{key}");
        match value {
            Some(value) => figures.put(key, value),
            None => figures.put_no_answer(key),
        }
    }
    relay.stop()
}

/// Measures at each size, from the smallest on.
pub(super) fn measure(stage: &mut Stage) -> Result<(Table, Figures), Failure> {
    let mut sizes = stage.options.sizes.clone();
    sizes.sort_unstable();
    stage.empty(Settings::default())?.stop()?;
    let empty = empty_bytes(&stage.target)?;
    let mut filled = Filled { corpus: stage.corpus(stage.options.seed), sample: Sample::new() };
    let mut all = Figures::default();
    for size in &sizes {
        for (key, value) in step(stage, &mut filled, *size, empty)?.iter() {
            let key = format!("at_{size}_{key}");
            match value {
                Some(value) => all.put(key, value),
                None => all.put_no_answer(key),
            }
        }
    }
    stage.keep(filled);
    Ok((table(&sizes), all))
}

fn table(sizes: &[usize]) -> Table {
    let row = |label: &str, keys: &[String]| {
        let cell = |size: &usize| keys.iter().map(|key| format!("at_{size}_{key}")).collect();
        Row { label: label.to_owned(), cells: sizes.iter().map(cell).collect() }
    };
    let shapes = SHAPES.iter().map(|shape| {
        let key = format!("query_{}_median_milliseconds", shape.key);
        let events = format!("{WITHIN}query_{}_answer_events", shape.key);
        row(
            &format!("{}: median within caches, beyond them, events an answer", shape.name),
            &[format!("{WITHIN}{key}"), format!("{BEYOND}{key}"), events],
        )
    });
    let mix = |which: &str| ["median", "p99"].map(|figure| format!("{which}query_mix_{figure}_milliseconds"));
    let mix = [
        row("one REQ alone, all shapes in turn, within caches: median, p99", &mix(WITHIN)),
        row("the same beyond them: median, p99", &mix(BEYOND)),
    ];
    let others = ROWS.iter().map(|(label, key)| row(label, &[(*key).to_owned()]));
    let columns = sizes.iter().map(|size| crate::words::number(*size as u64)).collect();
    Table {
        title: "stored events".to_owned(),
        columns,
        rows: mix.into_iter().chain(shapes).chain(others).collect(),
    }
}
