//! `plaza stats`: what is stored, in numbers, of a relay that runs or of an idle store. Changes nothing. Out: a
//! table for people, or JSON.

use std::io::Write as _;

use clap::Args;

use super::data::Data;
use super::{Failure, StoreArguments};
use crate::community::Communities;
use crate::control::{self, Answer, Command, CommunityStats, Received};
use crate::words;

/// Kinds that the table names, those with most events first.
const KINDS_NAMED_MAX: usize = 10;

#[derive(Debug, Args)]
pub(super) struct Stats {
    /// Write JSON, with all kinds
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArguments,
}

impl Stats {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.store.load()?;
        let stats = match Data::reach(&config.store)? {
            Data::Running(mut client) => {
                client.send(&Command::Stats)?;
                match client.receive()? {
                    Received::Answer(Answer::Stats(stats)) => stats,
                    other => return Err(format!("the relay answers something else: {other:?}").into()),
                }
            }
            Data::Idle(store) => control::stats(&Communities::open(&config, &store)?, &store)?,
        };
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &stats)?;
            writeln!(out)?;
            return Ok(());
        }
        write!(out, "{}", table(&stats))?;
        Ok(())
    }
}

/// Stats as people read them.
fn table(stats: &control::Stats) -> String {
    let header = ["community", "events", "authors", "oldest", "newest", "records", "index"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(stats.communities.iter().map(row));
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    for community in stats.communities.iter().filter(|community| community.events > 0) {
        let named = community.kinds.iter().take(KINDS_NAMED_MAX);
        let kinds: Vec<String> =
            named.map(|(kind, count)| format!("{kind}: {}", words::number(*count))).collect();
        let more = community.kinds.len().saturating_sub(KINDS_NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        text.push_str(&format!("kinds of {}: {}{more}\n", community.path, kinds.join(", ")));
    }
    for community in &stats.communities {
        let Some(search) = &community.search else { continue };
        let path = &community.path;
        let told = match (search.state.as_str(), &search.reason) {
            ("ready", _) => format!(
                "{} events, {} on disk; {} wait, since {} s",
                words::number(search.events),
                words::bytes(search.disk_bytes),
                words::number(search.lag_events),
                search.lag_seconds
            ),
            ("building", _) => format!("is being built; {} are left", words::number(search.lag_events)),
            (_, Some(reason)) => format!("does not work: {reason}"),
            _ => "is kept by a relay that runs".to_owned(),
        };
        let full = if search.is_full {
            "; its disk is full: nothing more is taken in until there is room"
        } else {
            ""
        };
        text.push_str(&format!("search of {path}: {told}{full}\n"));
    }
    for path in &stats.unused {
        text.push_str(&format!(
            "the store also holds what was sent to {path}, where no community is any more\n"
        ));
    }
    let free = stats.disk_free_bytes.map(|free| format!(", and {} are free", words::bytes(free)));
    text.push_str(&format!("on disk: {}{}\n", words::bytes(stats.disk_bytes), free.unwrap_or_default()));
    text
}

fn row(community: &CommunityStats) -> [String; 7] {
    let day = |time: Option<u64>| time.map_or("-".to_owned(), words::day);
    [
        community.path.clone(),
        words::number(community.events),
        words::number(community.authors),
        day(community.oldest),
        day(community.newest),
        words::bytes(community.record_bytes),
        words::bytes(community.index_bytes),
    ]
}
