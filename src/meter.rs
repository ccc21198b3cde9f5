//! What is measured of the whole process since it started: connections, bytes, times of commits and queries, and which
//! queries were slow. In: what happened. Out: numbers. Never says who.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::filter::Filter;

/// Slow queries that are remembered, the last ones.
const SLOW_QUERIES_KEPT: usize = 50;

/// Bounds of what commits and queries take, in seconds.
const SECONDS: [f64; 12] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// Bounds of how many events are committed together.
const EVENTS: [f64; 8] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0];

/// A query that took long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowQuery {
    /// When it was answered, in seconds since 1970.
    pub at: u64,
    /// The path of its community.
    pub community: String,
    /// What it asked for, without the values: they may be somebody's business.
    pub shape: String,
    /// How long it took.
    pub milliseconds: u64,
    /// Events that it found.
    pub events: usize,
}

/// Bytes of messages that were compressed on their way: those that were sent, and those that clients sent.
#[derive(Debug, Default)]
pub struct Compression {
    /// As they are.
    pub plain: [Counter; 2],
    /// As they were on their way.
    pub packed: [Counter; 2],
}

impl Compression {
    /// Adds bytes.
    pub(crate) fn add(&self, plain: [u64; 2], packed: [u64; 2]) {
        let counters = self.plain.iter().chain(&self.packed);
        for (counter, bytes) in counters.zip(plain.into_iter().chain(packed)).filter(|(_, bytes)| *bytes > 0)
        {
            counter.inc_by(bytes);
        }
    }
}

/// Reconciliations that began, by where the set came from that they are about.
#[derive(Debug, Default)]
pub struct Reconciliations {
    /// It was looked up.
    pub gathered: Counter,
    /// One that was there was brought up to date.
    pub renewed: Counter,
    /// It was there.
    pub shared: Counter,
}

/// Numbers of the process.
#[derive(Debug)]
pub struct Meter {
    /// Connections that were accepted.
    pub connections: Counter,
    /// Connections that were turned away: for their number, their address or their handshake.
    pub connections_refused: Counter,
    /// Bytes of messages that clients sent.
    pub bytes_received: Counter,
    /// Bytes of messages that were sent to clients.
    pub bytes_sent: Counter<u64, AtomicU64>,
    /// Messages that were compressed on their way.
    pub compression: Compression,
    /// Seconds that a group of events took to be durable.
    pub commit_seconds: Histogram,
    /// Groups that could not be made durable. After each one no events are taken until the disk takes writes again.
    pub commits_failed: Counter,
    /// Times that the store was opened again after a failure.
    pub recoveries: Counter,
    /// Events of a group.
    pub commit_events: Histogram,
    /// Entries of the index that queries looked at.
    pub query_entries: Counter,
    /// Reconciliations that began.
    pub reconciliations: Reconciliations,
    /// Seconds from taking a query up to its last event, COUNTs included.
    pub query_seconds: Histogram,
    slow: Mutex<VecDeque<SlowQuery>>,
}

impl Default for Meter {
    fn default() -> Self {
        Meter {
            connections: Counter::default(),
            connections_refused: Counter::default(),
            bytes_received: Counter::default(),
            bytes_sent: Counter::default(),
            compression: Compression::default(),
            commit_seconds: Histogram::new(SECONDS),
            commits_failed: Counter::default(),
            recoveries: Counter::default(),
            commit_events: Histogram::new(EVENTS),
            query_entries: Counter::default(),
            reconciliations: Reconciliations::default(),
            query_seconds: Histogram::new(SECONDS),
            slow: Mutex::default(),
        }
    }
}

impl Meter {
    /// Notes a query that took long.
    pub(crate) fn slow(&self, query: SlowQuery) {
        let mut slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        if slow.len() == SLOW_QUERIES_KEPT {
            slow.pop_front();
        }
        slow.push_back(query);
    }

    /// The last queries that took long, the newest last.
    pub fn slow_queries(&self) -> Vec<SlowQuery> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// What filters ask for, without the values: `kinds 1, 6; 300 authors; limit 50`.
pub fn shape(filters: &[Filter]) -> String {
    let each: Vec<String> = filters.iter().take(5).map(shape_of).collect();
    let more = if filters.len() > 5 { " | …" } else { "" };
    format!("{}{more}", each.join(" | "))
}

fn shape_of(filter: &Filter) -> String {
    let mut parts = Vec::new();
    if let Some(ids) = &filter.ids {
        parts.push(format!("{} ids", ids.len()));
    }
    if let Some(kinds) = &filter.kinds {
        let some: Vec<String> = kinds.iter().take(10).map(ToString::to_string).collect();
        parts.push(format!("kinds {}{}", some.join(", "), if kinds.len() > 10 { ", …" } else { "" }));
    }
    if let Some(authors) = &filter.authors {
        parts.push(format!("{} authors", authors.len()));
    }
    for (letter, values) in &filter.tags {
        parts.push(format!("{} of #{}", values.len(), char::from(*letter)));
    }
    if !filter.all_tags.is_empty() {
        parts.push(format!("all of {} tags", filter.all_tags.len()));
    }
    if !filter.prefixes.is_empty() {
        parts.push(format!("{} places", filter.prefixes.len()));
    }
    if let Some(search) = &filter.search {
        parts.push(format!("a search of {} words", search.values()));
    }
    if filter.since.is_some() {
        parts.push("since".to_owned());
    }
    if filter.until.is_some() {
        parts.push("until".to_owned());
    }
    if let Some(limit) = filter.limit {
        parts.push(format!("limit {limit}"));
    }
    if parts.is_empty() { "everything".to_owned() } else { parts.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_tells_no_values() {
        let key = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        let table = [
            ("{}".to_owned(), "everything"),
            (r#"{"kinds":[1,6],"limit":50}"#.to_owned(), "kinds 1, 6; limit 50"),
            (format!(r#"{{"authors":["{key}"],"since":1,"until":2}}"#), "1 authors; since; until"),
            (r#"{"search":"secret words domain:x.org"}"#.to_owned(), "a search of 3 words"),
            (format!(r##"{{"ids":["{key}"],"#t":["secret"]}}"##), "1 ids; 1 of #t"),
        ];
        for (filter, wanted) in table {
            let filter = Filter::from_json(&filter).expect("a filter");
            assert_eq!(shape(&[filter]), wanted);
        }
    }
}
