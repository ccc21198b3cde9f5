//! One author's many events, page by page by `until` to the end. In: how many. Out: what the first pages, those in
//! the middle and the last ones take.

use super::Failure;
use super::publish::{Publishers, deal};
use super::query::Asker;
use super::relay::Settings;
use super::report::Table;
use super::stage::{BATCH_EVENTS, Stage};
use super::stats::{Figures, Times};
use crate::words::number;

/// Events on a page.
const PAGE_EVENTS: usize = 500;

/// Pages that are taken together at the beginning, in the middle and at the end, of so many.
const PART: usize = 8;

const ROWS: &[(&str, &[&str])] = &[
    ("pages", &["pages_count"]),
    (
        "a page in the first eighth: median, p99",
        &["pages_first_median_milliseconds", "pages_first_p99_milliseconds"],
    ),
    (
        "a page in the middle: median, p99",
        &["pages_middle_median_milliseconds", "pages_middle_p99_milliseconds"],
    ),
    (
        "a page in the last eighth: median, p99",
        &["pages_last_median_milliseconds", "pages_last_p99_milliseconds"],
    ),
];

fn figures(times: &Times) -> Figures {
    // The last answer is empty, and the one before may be nearly so.
    let full = times.len().saturating_sub(2).max(1);
    let part = (full / PART).max(1);
    let mut figures = Figures::default();
    figures.put("pages_count", times.len() as f64);
    for (key, from) in [("first", 0), ("middle", (full - part) / 2), ("last", full - part)] {
        figures.put_times(&format!("pages_{key}"), &times.part(from..from + part));
    }
    figures
}

/// Measures several walks, on a store with nothing but the author's events.
pub(super) fn measure(stage: &mut Stage) -> Result<(Table, Figures), Failure> {
    let (events, connections) = (stage.options.pages_events, stage.options.connections);
    stage.say(format_args!("pages of {events} events"));
    let relay = stage.empty(Settings::default())?;
    let mut corpus = stage.corpus(stage.options.seed);
    let mut publishers = Publishers::connect(&relay.address, connections)?;
    let mut left = events;
    while left > 0 {
        let batch = corpus.notes_of(0, left.min(BATCH_EVENTS));
        left -= batch.len();
        publishers.publish(&deal(&batch, connections), stage.pace())?;
    }
    let author = &stage.world.people[0].hex;
    let mut runs = Vec::new();
    // One walk more than is shown warms up caches.
    for _ in 0..=stage.options.runs {
        let mut asker = Asker::connect(&relay.address, stage.patience())?;
        let (times, seen) = asker.pages(author, PAGE_EVENTS)?.ok_or("a page did not come in time")?;
        if seen != events {
            return Err(format!("all pages together hold {seen} events instead of {events}").into());
        }
        runs.push(figures(&times));
    }
    relay.stop()?;
    let title = format!("one author's {} events in pages of {PAGE_EVENTS}", number(events as u64));
    Ok((Table::of(title, ROWS), Figures::medians(&runs[1..])))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn first_middle_and_last_pages_are_told_apart() {
        let mut times = Times::default();
        (0..82).for_each(|page| times.push(Duration::from_millis(page)));
        let figures = figures(&times);
        let of = |key: &str| figures.get(&format!("pages_{key}_median_milliseconds")).flatten();
        assert_eq!([of("first"), of("middle"), of("last")], [Some(4.0), Some(39.0), Some(74.0)]);
    }
}
