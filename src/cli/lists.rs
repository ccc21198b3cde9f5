//! `plaza lists`: how the lists of other relays stand that a relay follows, and whom each touched. Changes nothing.
//! Out: text for people, or JSON.

use std::io::Write as _;

use clap::Args;

use super::data::ask_relay;
use super::{Failure, StoreArguments};
use crate::clock::Clock;
use crate::community::{Done, ListStats, Touched};
use crate::config::Effect;
use crate::control::{Answer, Command};
use crate::words;

/// Events that are shown of each list.
const SHOWN_MAX: usize = 10;

#[derive(Debug, Args)]
pub(super) struct Lists {
    /// Write JSON, with all that is known
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArguments,
}

impl Lists {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.store.load()?;
        let stats = match ask_relay(&config.store, &Command::Lists, "lists are followed by one")? {
            Answer::Lists(stats) => stats,
            other => return Err(format!("the relay answers something else: {other:?}").into()),
        };
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &stats)?;
            writeln!(out)?;
            return Ok(());
        }
        if stats.is_empty() {
            writeln!(
                out,
                "no list is followed; write a [[shared_lists.follow]] into relay.toml (docs/lists.md)"
            )?;
        }
        let now = Clock::system().now();
        stats.iter().try_for_each(|one| write!(out, "{}", text_of(one, now)))?;
        Ok(())
    }
}

/// A list as people read it.
fn text_of(list: &ListStats, now: u64) -> String {
    let ListStats { community, relay, list: name, title, on, entries, until, counts, .. } = list;
    let on = match on {
        Effect::Refuse => "refuse",
        Effect::Hide => "hide",
        Effect::Flag => "flag",
    };
    let connected = if list.is_connected { "connected" } else { "not connected" };
    let mut text = format!("{community}  {relay}  {name}  {on}: {connected}\n");
    match until {
        None => text.push_str("  there is no copy of it yet\n"),
        Some(_) if !counts => text.push_str(&format!("  '{title}' has lapsed: it counts no more\n")),
        Some(until) => text.push_str(&format!(
            "  '{title}': {} entries; lapses in {} unless it is found again\n",
            words::number(*entries),
            words::duration(until.saturating_sub(now) / 3_600 * 3_600),
        )),
    }
    let odd = [(list.passed_over, "make no sense"), (list.left_out, "had no room at its relay")];
    for (count, what) in odd.into_iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!("  {} entries {what}\n", words::number(count)));
    }
    if !list.touched.is_empty() {
        let touched: Vec<String> = list
            .touched
            .iter()
            .map(|(done, count)| format!("{} {}", words::number(*count), said(*done)))
            .collect();
        text.push_str(&format!("  touched: {}\n", touched.join(", ")));
    }
    for Touched { at, id, pubkey, done, why, .. } in list.last.iter().take(SHOWN_MAX) {
        text.push_str(&format!("    {} {}: event {id} by {pubkey}: {why}\n", words::day(*at), said(*done)));
    }
    if let Some(trouble) = &list.trouble {
        text.push_str(&format!("  last trouble: {trouble}\n"));
    }
    text
}

fn said(done: Done) -> &'static str {
    match done {
        Done::Refused => "refused",
        Done::Hidden => "hidden",
        Done::Flagged => "flagged",
        Done::Shadowed => "in shadow mode",
    }
}
