//! `plaza mirrors`: how the mirrors of a relay that runs stand. Changes nothing. Out: a table for people, or JSON.

use std::io::Write as _;

use clap::Args;

use super::data::ask_relay;
use super::{Failure, StoreArguments};
use crate::clock::Clock;
use crate::control::{Answer, Command};
use crate::mirror::{Flow, MirrorStats, Phase};
use crate::words;

#[derive(Debug, Args)]
pub(super) struct Mirrors {
    /// Write JSON, with all that is counted
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArguments,
}

impl Mirrors {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.store.load()?;
        let stats = match ask_relay(&config.store, &Command::Mirrors, "mirrors run with one")? {
            Answer::Mirrors(stats) => stats,
            other => return Err(format!("the relay answers something else: {other:?}").into()),
        };
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &stats)?;
            writeln!(out)?;
            return Ok(());
        }
        if stats.is_empty() {
            writeln!(out, "there is no mirror; write a [[mirror]] into relay.toml (docs/mirrors.md)")?;
        }
        stats.iter().try_for_each(|one| write!(out, "{}", text_of(one)))?;
        Ok(())
    }
}

/// A mirror as people read it.
fn text_of(mirror: &MirrorStats) -> String {
    let MirrorStats { community, url, direction, phase, connected_since, last_event_at, error, .. } = mirror;
    let MirrorStats { down, up, strikes, .. } = mirror;
    let phase = match phase {
        Phase::Waiting => "waits to connect again",
        Phase::Connecting => "connects",
        Phase::CatchingUp => "carries over what was missed",
        Phase::Live => "up to date",
    };
    let now = Clock::system().now();
    let since = connected_since.map_or(String::new(), |at| {
        format!(", connected for {}", words::duration(rounded(now.saturating_sub(at))))
    });
    let last = last_event_at.map_or(String::new(), |at| {
        format!(", last event {} ago", words::duration(rounded(now.saturating_sub(at))))
    });
    let mut text = format!("{community}  {url}  {direction}: {phase}{since}{last}\n");
    for (way, flow) in [("down", down), ("up", up)] {
        if direction == way || direction == "both" || way == "down" && direction != "up" {
            text.push_str(&format!("  {way}: {}\n", flow_of(flow)));
        }
    }
    if *strikes > 0 {
        text.push_str(&format!(
            "  {} messages were none, not asked for, or forged\n",
            words::number(*strikes)
        ));
    }
    if let Some(error) = error {
        text.push_str(&format!("  last trouble: {error}\n"));
    }
    text
}

/// A length of time as exact as people want it.
fn rounded(seconds: u64) -> u64 {
    let unit = match seconds {
        0..120 => 1,
        120..7_200 => 60,
        7_200..172_800 => 3_600,
        _ => 86_400,
    };
    seconds / unit * unit
}

fn flow_of(flow: &Flow) -> String {
    let Flow { events, taken, copies, refused, waiting } = flow;
    let [events, taken, copies, waiting] = [events, taken, copies, waiting].map(|one| words::number(*one));
    let mut text = format!("{events} events, {taken} taken, {copies} copies, {waiting} wait");
    for (why, count) in refused {
        text.push_str(&format!(", {} {why}", words::number(*count)));
    }
    text
}
