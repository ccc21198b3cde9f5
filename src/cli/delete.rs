//! `plaza delete`: removes stored events by filter, from a relay that runs or from an idle store. Who sends such an
//! event again may: nothing keeps it away, unlike a deletion that its author asked for.

use std::io::Write as _;

use clap::Args;

use super::data::{Data, with_house};
use super::{Failure, StoreArguments, progress, refuse_in_cluster};
use crate::control::{self, Answer, Command, DeleteCommand, Deleted, Received};
use crate::filter::Filter;
use crate::words;

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Which events: a NIP-01 filter, such as '{"kinds":[1]}'; with a limit, the newest of them
    #[arg(long, value_name = "JSON")]
    filter: String,
    /// Only events that are older, by their created_at: a number and s, m, h, d or w, such as 90d
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<u64>,
    /// Say how many events it would be, and show some of them; remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Path of the community, such as /berlin
    #[arg(long, value_name = "PATH", default_value = "/")]
    community: String,
    #[command(flatten)]
    store: StoreArguments,
}

/// Reads `90d` as seconds.
fn age(text: &str) -> Result<u64, String> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 7 * 86_400)];
    let read = text.chars().last().and_then(|last| {
        let (_, seconds) = units.into_iter().find(|(unit, _)| *unit == last)?;
        let count: u64 = text.strip_suffix(last)?.parse().ok()?;
        count.checked_mul(seconds).filter(|seconds| *seconds > 0)
    });
    read.ok_or_else(|| "write a number and a unit: 30m, 12h, 90d, 8w".to_owned())
}

impl Delete {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.store.load()?;
        let filter = Filter::without_search(&self.filter).map_err(|reason| format!("--filter: {reason}"))?;
        if filter == Filter::default() && self.older_than.is_none() && !self.dry_run {
            return Err(
                "this filter matches every event; name kinds, authors or a time, or --older-than".into()
            );
        }
        let command = DeleteCommand {
            community: format!("/{}", self.community.trim_matches('/')),
            filter: self.filter.clone(),
            older_than_seconds: self.older_than.unwrap_or(0),
            dry_run: self.dry_run,
        };
        let bar = progress(Some(0), "events");
        let mut last = Deleted::default();
        let mut note = |deleted: &Deleted| {
            bar.set_length(deleted.of);
            bar.set_position(deleted.events);
            last = deleted.clone();
        };
        match Data::reach(&config.store)? {
            Data::Running(mut client) => {
                client.send(&Command::Delete(command))?;
                loop {
                    match client.receive()? {
                        Received::Answer(Answer::Deleted(deleted)) => {
                            note(&deleted);
                            if deleted.done {
                                break;
                            }
                        }
                        other => return Err(format!("the relay answers something else: {other:?}").into()),
                    }
                }
            }
            Data::Idle(store) => {
                refuse_in_cluster(&config, "a removal")?;
                with_house(&config, *store, |house| {
                    control::delete(house, &command, |deleted| {
                        note(deleted);
                        Ok(())
                    })??;
                    Ok(())
                })?
            }
        }
        bar.finish_and_clear();
        self.tell(&last)
    }

    fn tell(&self, deleted: &Deleted) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        for event in &deleted.sample {
            writeln!(out, "{event}")?;
        }
        let events = words::number(deleted.events);
        if self.dry_run {
            eprintln!("plaza: {events} events would be removed; nothing was");
        } else {
            eprintln!("plaza: {events} events removed");
        }
        if deleted.kept > 0 {
            eprintln!(
                "plaza: {} requests to delete or to vanish match and stay, so that what they ask for lasts; a \
                 filter that names their kinds, 5 and 62, removes them too",
                words::number(deleted.kept)
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages_are_numbers_with_units() {
        let table = [
            ("90d", Some(90 * 86_400)),
            ("1s", Some(1)),
            ("30m", Some(1_800)),
            ("12h", Some(43_200)),
            ("2w", Some(1_209_600)),
            ("0d", None),
            ("90", None),
            ("d", None),
            ("-1d", None),
            ("99999999999999999999d", None),
            ("18446744073709551615w", None),
            ("1é", None),
        ];
        for (text, seconds) in table {
            assert_eq!(age(text).ok(), seconds, "{text}");
        }
    }
}
