//! The command line: one file a subcommand. In: arguments. Out: exit codes, and words for people on
//! standard error; standard output is for data.

mod admin;
mod backup;
mod bench;
mod blocklists;
mod check_config;
mod cluster;
mod compact;
mod data;
mod delete;
mod explain;
mod export;
mod generate;
mod import;
mod key;
mod lists;
mod mirrors;
mod reindex;
mod remote;
mod restore;
mod run;
mod salvage;
mod stats;
mod sync;
mod verify;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::community::{Communities, Community};
use crate::config::{Config, ConfigError};
use crate::net::{StartError, open_store};
use crate::store::{Store, StoreError};

/// With this code a relay ends whose store is damaged: nobody should start it again until a person has looked.
const EXIT_DAMAGED: u8 = 65;

/// With this code it ends to be started again on another store, where that is somebody's job.
const EXIT_TEMPORARY: u8 = 75;

/// Where the settings are looked for when `--config` is not given.
const CONFIG_FILE: &str = "relay.toml";

#[derive(Debug, Parser)]
#[command(
    name = "plaza",
    version,
    about = "A Nostr relay for communities",
    long_about = "A Nostr relay for communities.\n\n\
        Without arguments, plaza serves ws://127.0.0.1:7777 and keeps its data in ./data, until Ctrl-C. \
        Settings come from relay.toml in this folder when there is one; every setting, with its default and \
        what it is for, is in relay.toml.example.",
    after_help = "Examples:\n  \
        plaza                                        serve with the defaults, or with ./relay.toml\n  \
        plaza run --listen 0.0.0.0:80                serve everyone who can reach this machine\n  \
        plaza check-config relay.toml                say what is wrong in a file, and how to mend it\n  \
        plaza explain --community /berlin draft.json would this be accepted, and why\n  \
        plaza export --filter '{\"kinds\":[1]}' > notes.jsonl\n  \
        plaza import events.jsonl                    add events, each verified; - is standard input",
    disable_help_subcommand = true,
    // Options before a subcommand would be read for serving alone, and nobody would notice.
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: run::Run,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until Ctrl-C or SIGTERM (the same as plaza alone)
    Run(run::Run),
    /// Check a settings file: say what is wrong, where, and what to do
    CheckConfig(check_config::CheckConfig),
    /// Add events from a file, one event a line (JSON Lines)
    ///
    /// Each event is verified and placed as if a client had sent it; a line that is no true event is counted
    /// and passed over. What is there already stays, so the same file can be imported again. A relay that
    /// is running on the data must be stopped, or be sent them with --relay.
    Import(import::Import),
    /// Say what a community's blocklists hold, what is wrong in them, and what each touches
    Blocklists(blocklists::Blocklists),
    /// Measure this program on this machine
    Bench(Box<bench::Bench>),
    /// Say whether an event would be accepted, and why: every rule in order, with the settings that decide
    ///
    /// Takes a draft as well, without id and signature, or a file of many events, one a line, of which it
    /// gives a summary by rule. Rules that look at stored events ask the store, if no relay is running on it.
    /// Nothing is stored. Ends with 0 when all would be accepted, with 1 when a rule refuses.
    Explain(explain::Explain),
    /// Write stored events to standard output, one event a line (JSON Lines), oldest first
    ///
    /// What has expired is left out. A relay that is running on the data must be stopped, or be asked with
    /// --relay: then what it shows to everybody is written, newest first.
    Export(export::Export),
    /// Make the store and a relay elsewhere, or two relays that run, have the same events (NIP-77)
    ///
    /// What each side lacks is found out first, at little cost where little differs, then it is carried over; each
    /// event is verified and placed as by an import. A run that was interrupted is simply run again. A relay that is
    /// running on the data must be stopped, or be named with --with.
    Sync(sync::Sync),
    /// Say what is stored: events by community and kind, authors, ages, bytes on disk and in memory
    ///
    /// Works on a relay that is running, and on its data when none is.
    Stats(stats::Stats),
    /// Say how the mirrors of a relay that runs stand: connected or not, what came and went, what was refused and why
    Mirrors(mirrors::Mirrors),
    /// Say how lists of other relays stand that a running relay follows, and whom each touched
    Lists(lists::Lists),
    /// Bring a backup up to date: all events and all else that is stored, as of one moment
    ///
    /// Works on a relay that is running, which goes on serving, and on its data when none is. The first run
    /// into a folder writes everything; later ones add what is new and note what was removed, so they can be
    /// run every hour. A run that is interrupted leaves the backup as it was. Removed events stay in older
    /// files until a run with --full, or one into an empty folder. A store
    /// that has lost what the backup holds is refused, so that the backup keeps it.
    Backup(backup::Backup),
    /// Make a new data folder from a backup
    ///
    /// Every file of the backup is checked as it is read. The folder, --data or store.path, must be empty or
    /// not be there; when something is wrong it is left so. The next backup into the same folder goes on.
    Restore(restore::Restore),
    /// Check a store or a backup: say what is wrong, and where
    ///
    /// Every record must be an event whose id and signature are true; no number and no event may be there
    /// twice, nor two versions of one thing, nor what was deleted. In a backup every file must have its
    /// length and checksum. A relay that is running goes on serving meanwhile. Ends with 0 when all is well,
    /// with 1 when something is wrong, with 2 when it could not be checked.
    Verify(verify::Verify),
    /// Save what can be read of a store that is damaged into a new one
    ///
    /// Reads the files of the store themselves, also when no relay starts on them any more, and changes nothing in
    /// them. Every event is verified, and goes to where it was, with bans, members and other state; what was deleted
    /// or vanished stays away as far as that can be read. Says what was saved, and what was lost where the store
    /// still tells how much there was. Events whose community is not known are written to a file beside the new
    /// folder, which `plaza import` takes. A backup, if there is one, has more: restore it, and import what is newer.
    /// Ends with 0 when nothing was lost, with 1 when something was or may be, with 2 when nothing could be saved.
    Salvage(salvage::SalvageCommand),
    /// Remove stored events by filter, for good and at once
    ///
    /// Works on a relay that is running, which shows them to nobody any more, and on its data when none is.
    /// It removes the newest first, some hundreds at a time; after an interruption the same command goes on. This is not a deletion that
    /// an author asked for: who sends such an event again may, so forbid what must stay away in relay.toml.
    /// Requests to delete (kind 5) and to vanish (62) stay unless the filter names their kinds.
    Delete(delete::Delete),
    /// Have what is searched (NIP-50) read anew from all that is stored
    ///
    /// Works on a relay that is running, which answers no searches until it is done, and on its data when none is: then
    /// the next start reads. It is needed when search answers wrongly; what is damaged the relay finds by itself.
    Reindex(reindex::Reindex),
    /// Manage a community of a relay that runs, from the command line: log in to /admin, call a method
    Admin(admin::Admin),
    /// Make a new secret key in a file, and write its public key
    Key(key::Key),
    /// Say how a node that runs stands in its cluster
    Cluster(cluster::Cluster),
    /// Write man pages and shell completions, for packages
    #[command(hide = true)]
    Generate(generate::Generate),
    /// Write the store anew, so that space of removed events is given back to the disk
    ///
    /// No relay may be running on it. It takes as much free space as the new store will have.
    Compact(compact::Compact),
}

/// Options of every subcommand that opens the store.
#[derive(Debug, Clone, Args)]
struct StoreArguments {
    /// Settings file [default: relay.toml in this folder, when there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the events; wins over store.path [default: data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// The community that a subcommand is about.
#[derive(Debug, Args)]
struct CommunityArgument {
    /// Path of the community, such as /berlin
    #[arg(long, value_name = "PATH", default_value = "/")]
    community: String,
}

impl CommunityArgument {
    /// The community among those of the config.
    fn find(&self, communities: &Communities) -> Result<Arc<Community>, Failure> {
        let path = format!("/{}", self.community.trim_matches('/'));
        communities.at(&path).ok_or_else(|| {
            let paths: Vec<String> =
                communities.iter().map(|community| community.path().to_owned()).collect();
            format!("there is no community at {path}; the settings have {}", paths.join(", ")).into()
        })
    }
}

impl StoreArguments {
    /// The settings file, where there is one.
    fn file(&self) -> Option<PathBuf> {
        let usual = || Some(PathBuf::from(CONFIG_FILE)).filter(|file| file.exists());
        self.config.clone().or_else(usual)
    }

    fn load(&self) -> Result<Config, ConfigError> {
        let mut config = match self.file() {
            Some(file) => Config::load(&file)?,
            None => Config::default(),
        };
        if let Some(data) = &self.data {
            config.store.path.clone_from(data);
        }
        Ok(config)
    }
}

/// Refuses to change the store of a node beside its cluster's log: it would have another one than the others.
fn refuse_in_cluster(config: &Config, what: &str) -> Result<(), Failure> {
    if config.cluster.servers.is_empty() {
        return Ok(());
    }
    Err(format!(
        "this store belongs to a node of a cluster, and {what} would make it differ from the others'; start the node, and \
         go through it"
    )
    .into())
}

/// Opens the store on which no relay may be running.
fn open_idle_store(config: &Config) -> Result<Store, Failure> {
    open_store(&config.store).map_err(|error| match error {
        StoreError::InUse { .. } => {
            format!("{error}, or go through that relay: --relay ws://{}", config.server.listen).into()
        }
        error => error.into(),
    })
}

/// Why a subcommand failed, for its user.
type Failure = Box<dyn std::error::Error>;

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        None => return ended(arguments.serve.run()),
        Some(Command::Run(command)) => return ended(command.run()),
        Some(Command::CheckConfig(command)) => command.run(),
        Some(Command::Generate(command)) => command.run(),
        Some(Command::Import(command)) => command.run(),
        Some(Command::Blocklists(command)) => command.run(),
        Some(Command::Bench(command)) => command.run(),
        Some(Command::Export(command)) => command.run(),
        Some(Command::Sync(command)) => command.run(),
        Some(Command::Stats(command)) => command.run(),
        Some(Command::Mirrors(command)) => command.run(),
        Some(Command::Lists(command)) => command.run(),
        Some(Command::Backup(command)) => command.run(),
        Some(Command::Restore(command)) => command.run(),
        Some(Command::Delete(command)) => command.run(),
        Some(Command::Compact(command)) => command.run(),
        Some(Command::Reindex(command)) => command.run(),
        Some(Command::Admin(command)) => command.run(),
        Some(Command::Key(command)) => command.run(),
        Some(Command::Cluster(command)) => return command.run(),
        Some(Command::Explain(command)) => return command.run(),
        Some(Command::Verify(command)) => return command.run(),
        Some(Command::Salvage(command)) => return command.run(),
    };
    ended(done.map(|()| ExitCode::SUCCESS))
}

/// With what the program ends.
fn ended(done: Result<ExitCode, Failure>) -> ExitCode {
    let failure = match done {
        Ok(code) => return code,
        Err(failure) => failure,
    };
    eprintln!("plaza: {failure}");
    if !is_damage(&failure) {
        return ExitCode::FAILURE;
    }
    eprintln!(
        "plaza: restore a backup into another folder (`plaza restore`); without one save what can be read \
         (`plaza salvage`)"
    );
    ExitCode::from(EXIT_DAMAGED)
}

/// Whether a relay does not start because its store is damaged.
fn is_damage(failure: &Failure) -> bool {
    failure.downcast_ref::<StartError>().is_some_and(StartError::is_damage)
}

/// A progress bar on a terminal; nothing where standard error goes elsewhere.
fn progress(total: Option<u64>, unit: &str) -> indicatif::ProgressBar {
    let (bar, template) = match total {
        Some(total) => {
            (indicatif::ProgressBar::new(total), "{wide_bar} {human_pos}/{human_len} UNIT, {eta} left")
        }
        None => (indicatif::ProgressBar::new_spinner(), "{spinner} {human_pos} UNIT, {elapsed}"),
    };
    // The templates are constants that indicatif accepts; with its own style the bar works as well.
    if let Ok(style) = indicatif::ProgressStyle::with_template(&template.replace("UNIT", unit)) {
        bar.set_style(style);
    }
    bar
}
