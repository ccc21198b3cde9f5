//! `plaza cluster status`: how a node that runs stands in its cluster. Changes nothing. Out: lines for people, or JSON;
//! ends with 0 when the node takes events and has stored all of the log, with 1 when it does not.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::data::ask_relay;
use super::{Failure, StoreArguments};
use crate::control::{Answer, Command};
use crate::pipeline::log::ClusterStatus;
use crate::words;

#[derive(Debug, Args)]
pub(super) struct Cluster {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say whether the node takes events, and how far it is in the log
    Status(Status),
}

#[derive(Debug, Args)]
struct Status {
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArguments,
}

impl Cluster {
    pub(super) fn run(self) -> ExitCode {
        let What::Status(status) = self.what;
        match status.run() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(failure) => {
                eprintln!("plaza: {failure}");
                ExitCode::from(2)
            }
        }
    }
}

impl Status {
    fn run(self) -> Result<bool, Failure> {
        let config = self.store.load()?;
        let why = "it stands nowhere, or is about to start or to stop";
        let status = match ask_relay(&config.store, &Command::Cluster, why)? {
            Answer::Cluster(Some(status)) => status,
            Answer::Cluster(None) => {
                return Err("this relay is alone: its settings have no [cluster]".into());
            }
            other => return Err(format!("the relay answers something else: {other:?}").into()),
        };
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &status)?;
            writeln!(out)?;
        } else {
            write!(out, "{}", lines(&status))?;
        }
        Ok(status.trouble.is_none() && status.last == status.position)
    }
}

/// A status as people read it.
fn lines(status: &ClusterStatus) -> String {
    let takes = match &status.trouble {
        None => "takes events".to_owned(),
        Some(why) => format!("refuses events: {why}"),
    };
    let servers = status.servers.iter().map(|(name, is_in_step)| match is_in_step {
        true => name.clone(),
        false => format!("{name} (not in step)"),
    });
    let number = words::number;
    let giving =
        status.giving.iter().map(|to| format!("{to} gets a copy of this node\n")).collect::<String>();
    format!(
        "node {}: {takes}\nlog: entries {} to {} are kept; this node is at {}, {} behind; {} of its own are under \
         way\nread again: {} times; out of reach: {} times; events of nodes with other settings: {}\nservers of the log: \
         {}\n{giving}",
        status.node,
        number(status.first),
        number(status.last),
        number(status.position),
        number(status.last - status.position),
        number(status.waiting),
        number(status.redelivered),
        number(status.outages),
        number(status.other_settings),
        servers.collect::<Vec<_>>().join(", "),
    )
}
