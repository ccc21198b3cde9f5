//! `plaza generate`: man pages and shell completions, made from the command line's own words, for packages. In: the
//! command line. Out: files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _, ValueEnum as _};
use clap_complete::{Shell, generate_to};

use super::{Arguments, Failure};

#[derive(Debug, Args)]
pub(super) struct Generate {
    /// Folder for them; made when it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Generate {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let (man, completions) = (self.folder.join("man"), self.folder.join("completions"));
        for folder in [&man, &completions] {
            fs::create_dir_all(folder)
                .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        }
        let mut command = Arguments::command();
        command.build();
        page(&command, "plaza", &man)?;
        for &shell in Shell::value_variants() {
            generate_to(shell, &mut command, "plaza", &completions)?;
        }
        Ok(())
    }
}

/// The page of a command, and those of its subcommands.
fn page(command: &clap::Command, name: &str, folder: &Path) -> Result<(), Failure> {
    let file = folder.join(format!("{name}.1"));
    let mut out = File::create(&file).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    // The library wants names that live as long as the program; there are a few dozen, once.
    let title: &'static str = name.to_owned().leak();
    clap_mangen::Man::new(command.clone().name(title)).render(&mut out)?;
    let shown = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    for subcommand in shown {
        page(subcommand, &format!("{name}-{}", subcommand.get_name()), folder)?;
    }
    Ok(())
}
