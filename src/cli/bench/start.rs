//! Start with a store that holds the corpus: time until the relay serves, memory, disk. In: a stage. Out: figures, by
//! event where they grow with events.

use super::Failure;
use super::process::anonymous_bytes;
use super::relay::{Caches, Settings, Target};
use super::report::Table;
use super::stage::{Filled, Stage};
use super::stats::{Figures, Times};

/// Of what is left in memory when caches are as small as they can be.
pub(super) const SMALLEST: Settings = Settings {
    caches: Caches::Smallest,
    memory_bytes_max: 0,
    has_prefix_filters: false,
    has_search: false,
    live_delay_milliseconds: 0,
    connections: 0,
    is_behind_proxy: false,
    has_default_rates: false,
    has_large_sets: false,
};

const ROWS: &[(&str, &[&str])] = &[
    ("events stored", &["start_stored_events"]),
    ("from the start of the process to its first answer", &["start_serving_seconds"]),
    ("resident memory then", &["start_memory_bytes"]),
    ("of that an event, without what an empty relay takes", &["start_memory_event_bytes"]),
    ("disk an event", &["start_disk_event_bytes"]),
    ("JSON an event", &["start_json_event_bytes"]),
];

/// Memory of a relay that holds nothing.
pub(super) fn empty_bytes(target: &Target) -> Result<u64, Failure> {
    target.while_empty(|| {
        let relay = target.launch(SMALLEST)?;
        let bytes = anonymous_bytes(relay.pid())?;
        relay.stop()?;
        Ok(bytes)
    })
}

/// Starts several times a relay that was stopped; `empty` is what it takes without events.
pub(super) fn starts(
    stage: &Stage,
    filled: &Filled,
    empty: u64,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let (mut times, mut memory) = (Times::default(), Vec::new());
    for _ in 0..stage.options.runs {
        let relay = stage.target.launch(SMALLEST)?;
        times.push(relay.serving_after);
        memory.push(anonymous_bytes(relay.pid())? as f64);
        if let Some(loaded) = relay.loaded.filter(|loaded| *loaded != filled.sample.stored() as u64) {
            return Err(format!("the relay has {loaded} events instead of {}", filled.sample.stored()).into());
        }
        relay.stop()?;
    }
    let stored = filled.sample.stored() as f64;
    let memory = super::stats::median(memory);
    figures.put("start_stored_events", stored);
    figures.put("start_serving_seconds", times.median() / 1e3);
    figures.put("start_memory_bytes", memory);
    figures.put("start_memory_event_bytes", (memory - empty as f64).max(0.0) / stored);
    if let Some(bytes) = stage.target.disk_bytes()? {
        figures.put("start_disk_event_bytes", bytes as f64 / stored);
    }
    figures.put("start_json_event_bytes", filled.sample.bytes as f64 / filled.sample.events as f64);
    Ok(())
}

/// Measures several times.
pub(super) fn measure(stage: &mut Stage) -> Result<(Table, Figures), Failure> {
    let (relay, filled) = stage.filled(Settings::default())?;
    relay.stop()?;
    stage.say("start");
    let mut figures = Figures::default();
    let empty = empty_bytes(&stage.target)?;
    starts(stage, &filled, empty, &mut figures)?;
    stage.keep(filled);
    Ok((Table::of("start", ROWS), figures))
}
