//! `plaza check-config`: say what is wrong in a settings file.

use std::path::PathBuf;

use clap::Args;

use super::{CONFIG_FILE, Failure};
use crate::config::Config;
use crate::memory::{Bound, INDEX_EVENT_BYTES, Plan};
use crate::words;

#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    /// The settings file
    #[arg(value_name = "FILE", default_value = CONFIG_FILE)]
    file: PathBuf,
    /// Write all settings of all communities to standard output, presets and defaults spelled out
    #[arg(long)]
    expand: bool,
    /// Write how much memory the settings let the relay take, and what for
    #[arg(long)]
    memory: bool,
}

impl CheckConfig {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = Config::load(&self.file)?;
        eprintln!("plaza: {} is good", self.file.display());
        let plan = Plan::of(&config);
        let bound = Bound::of(&config, plan.index_bytes.unwrap_or(0));
        if let Some(most) = plan.memory_bytes_max.filter(|most| bound.bytes() > most + most / 100) {
            eprintln!(
                "plaza: the settings imply {} of memory, more than server.memory_bytes_max ({}); raise it, or lower \
                 what takes most of it: {}",
                words::bytes(bound.bytes()),
                words::bytes(most),
                bound.largest()
            );
        }
        if self.memory {
            print!("{}", table(&plan, &bound));
        }
        if self.expand {
            print!("{}", config.to_toml());
        }
        Ok(())
    }
}

/// Who takes how much memory, as people read it.
fn table(plan: &Plan, bound: &Bound) -> String {
    let line = |bytes: u64, what: &str, settings: &str| {
        format!("{:>10}  {what:<60}{settings}\n", words::bytes(bytes))
    };
    let mut text: String =
        bound.terms().iter().map(|term| line(term.bytes, term.what, term.settings)).collect();
    text.push_str(&line(bound.bytes(), "in all", ""));
    match plan.index_bytes {
        Some(bytes) => text.push_str(&format!(
            "There is room for an index of {}, about {} events of a few tags each; then new ones are refused.\n",
            words::bytes(bytes),
            words::number(bytes / INDEX_EVENT_BYTES)
        )),
        None => text.push_str(&format!(
            "The index of stored events comes on top, about {INDEX_EVENT_BYTES} bytes an event. \
             server.memory_bytes_max bounds all of it.\n"
        )),
    }
    text
}
