//! Search (NIP-50), which is a setting: how long and how dear it is to read all that is stored, what it takes on disk, and
//! queries by shape. In: a relay with stored events. Out: figures.

use std::time::Duration;

use super::Failure;
use super::client::Client;
use super::process::Meter;
use super::query::{Asker, by_shape};
use super::relay::Settings;
use super::reply::{Reply, reply};
use super::report::Table;
use super::sample::Sample;
use super::shapes::{Draw, SEARCHES};
use super::stage::Stage;
use super::stats::Figures;

/// How often it is asked whether searches are answered.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Whether a search is answered, and not refused.
fn answers(address: &str) -> Result<bool, Failure> {
    let mut client = Client::connect(address)?;
    client.send_text(r#"["REQ","ready",{"search":"ready","limit":1}]"#)?;
    let mut answered = None;
    while answered.is_none() {
        client.receive(|message| match reply(message) {
            Reply::Eose => answered = Some(true),
            Reply::Closed => answered = Some(false),
            _ => {}
        })?;
    }
    Ok(answered == Some(true))
}

/// Measures it once.
pub(super) fn figures(stage: &Stage, sample: &Sample) -> Result<Figures, Failure> {
    let relay = stage.target.launch(Settings { has_search: true, ..Settings::default() })?;
    let (events, mut figures) = (sample.stored().max(1), Figures::default());
    let meter = Meter::start(relay.pid())?;
    while !answers(&relay.address)? {
        std::thread::sleep(ASK_AGAIN);
    }
    let spent = meter.spent()?;
    figures.put("search_built_events_per_second", events as f64 / spent.seconds.max(f64::EPSILON));
    figures.put("search_built_cpu_microseconds", spent.relay_micros(events));
    let bytes = stage.target.folder_bytes(crate::search::FOLDER)?;
    figures.put("search_disk_bytes", bytes as f64 / events as f64);
    let mut asker = Asker::connect(&relay.address, stage.patience())?;
    let draw = Draw { world: &stage.world, sample };
    by_shape(&mut asker, &draw, SEARCHES, stage.options.queries, &mut figures)?;
    relay.stop()?;
    // Other parts are about relays that do not search.
    stage.target.remove_folder(crate::search::FOLDER)?;
    Ok(figures)
}

/// Adds its rows.
pub(super) fn rows(table: &mut Table) {
    table.row("search: events read in a second", vec!["search_built_events_per_second".to_owned()]);
    table.row("relay's CPU an event of these", vec!["search_built_cpu_microseconds".to_owned()]);
    table.row("bytes on disk an event", vec!["search_disk_bytes".to_owned()]);
    for shape in SEARCHES {
        let key = format!("query_{}", shape.key);
        let figures = ["median_milliseconds", "p99_milliseconds", "answer_events"];
        table.row(shape.name, figures.iter().map(|figure| format!("{key}_{figure}")).collect());
    }
}
