//! `plaza check-config`: say what is wrong in a settings file.

use std::path::PathBuf;

use clap::Args;

use super::{CONFIG_FILE, Failure};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    /// The settings file
    #[arg(value_name = "FILE", default_value = CONFIG_FILE)]
    file: PathBuf,
    /// Write all settings of all communities to standard output, presets and defaults spelled out
    #[arg(long)]
    expand: bool,
}

impl CheckConfig {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = Config::load(&self.file)?;
        eprintln!("plaza: {} is good", self.file.display());
        if self.expand {
            print!("{}", config.to_toml());
        }
        Ok(())
    }
}
