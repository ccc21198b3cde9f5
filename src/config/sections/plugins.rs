//! `[plugins]`: programs of the operator's that are asked about each event (docs/plugins.md).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::SectionFault;
use crate::config::{KindSet, Mode};

/// Plugins that one community may have: each is a process and four threads.
const CHAIN_MAX: usize = 16;

/// The most that a plugin may have before it at once.
const IN_FLIGHT_MAX: usize = 10_000;

/// The longest that an event may wait for one plugin: ten minutes.
const TIMEOUT_MILLISECONDS_MAX: u64 = 600_000;

/// `[plugins]`: programs that are asked about each event, one after the other.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plugins {
    /// Whether what they refuse is refused, or only counted and logged.
    pub mode: Mode,
    /// The programs, in the order in which they are asked; the first one that refuses decides.
    pub chain: Vec<Plugin>,
}

/// `[[plugins.chain]]`: one of them.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// What is run.
    pub command: Command,
    /// What the log and the numbers call it. Empty: the file name of the program.
    #[serde(default)]
    pub name: String,
    /// Milliseconds in which it must have answered a request.
    #[serde(default = "timeout_milliseconds")]
    pub timeout_milliseconds: u64,
    /// Requests that it has before it at once.
    #[serde(default = "in_flight_max")]
    pub in_flight_max: usize,
    /// What becomes of an event of which it says nothing.
    #[serde(default)]
    pub when_dead: WhenDead,
    /// The only kinds of events that it is asked about; empty means all.
    #[serde(default)]
    pub kinds: KindSet,
    /// Where it runs: the folder of relay.toml.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Command {
    /// A line for the shell.
    Line(String),
    /// A program and its arguments, without a shell.
    Program(Vec<String>),
}

/// What becomes of an event of which a plugin says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenDead {
    /// It is refused; its client may try again later.
    #[default]
    Refuse,
    /// It goes on, as if the plugin had accepted it.
    Accept,
}

fn timeout_milliseconds() -> u64 {
    10_000
}

fn in_flight_max() -> usize {
    64
}

impl Plugin {
    /// What the log and the numbers call it.
    pub fn name(&self) -> &str {
        if !self.name.is_empty() {
            return &self.name;
        }
        let program = match &self.command {
            Command::Line(line) => line.split_whitespace().next(),
            Command::Program(arguments) => arguments.first().map(String::as_str),
        };
        let program = program.unwrap_or_default();
        program.rsplit('/').next().unwrap_or(program)
    }

    /// The file that is run, where the command names one by a path. A line with spaces is the shell's to read.
    pub fn file(&self) -> Option<PathBuf> {
        let named = match &self.command {
            Command::Line(line) if line.contains(char::is_whitespace) => return None,
            Command::Line(line) => line,
            Command::Program(arguments) => arguments.first()?,
        };
        named.contains('/').then(|| self.folder.join(named))
    }

    /// The files that it is made of, as far as the command tells: when one of them changes it is started anew.
    pub fn files(&self) -> Vec<PathBuf> {
        let scripts = match &self.command {
            Command::Line(_) => &[],
            Command::Program(arguments) => arguments.get(1..).unwrap_or_default(),
        };
        let named = scripts.iter().filter(|argument| argument.contains('/') && !argument.starts_with('-'));
        let scripts = named.map(|argument| self.folder.join(argument));
        self.file().into_iter().chain(scripts).collect()
    }

    /// The first thing that is wrong with it, and what to do.
    fn fault(&self) -> Option<(String, &'static str)> {
        let is_empty = match &self.command {
            Command::Line(line) => line.trim().is_empty(),
            Command::Program(arguments) => arguments.first().is_none_or(|program| program.is_empty()),
        };
        let has_nul = match &self.command {
            Command::Line(line) => line.contains('\0'),
            Command::Program(arguments) => arguments.iter().any(|argument| argument.contains('\0')),
        };
        let between = |name: &str, number: u64, most: u64| {
            (number < 1 || number > most)
                .then(|| (format!("{name} must be from 1 to {most}, but is {number}"), "change it"))
        };
        match (is_empty, has_nul) {
            (true, _) => Some(("command is empty".to_owned(), "name a program")),
            (_, true) => Some(("command has a NUL in it".to_owned(), "remove it")),
            _ => between("timeout_milliseconds", self.timeout_milliseconds, TIMEOUT_MILLISECONDS_MAX)
                .or_else(|| between("in_flight_max", self.in_flight_max as u64, IN_FLIGHT_MAX as u64)),
        }
    }
}

impl Plugins {
    /// What must hold besides.
    pub(in crate::config) fn check(&self) -> Result<(), SectionFault> {
        let fault = |problem: String, remedy: &str| {
            Err(SectionFault { key: "plugins.chain", problem, remedy: remedy.to_owned() })
        };
        if self.chain.len() > CHAIN_MAX {
            return fault(format!("has more than {CHAIN_MAX} plugins"), "join some of them");
        }
        let mut faults = self.chain.iter().enumerate();
        match faults.find_map(|(at, plugin)| Some((at, plugin.fault()?))) {
            Some((at, (problem, remedy))) => fault(format!("of plugin {}, {problem}", at + 1), remedy),
            None => Ok(()),
        }
    }
}
