//! `plaza run`: serve until told to stop.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::time::Instant;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Failure, StoreArguments};
use crate::clock::Clock;
use crate::config::{Log, LogFormat};
use crate::net::{Relay, Sockets, tell_systemd_of_stop};

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    store: StoreArguments,
    /// Address and port to listen on; wins over server.listen [default: 127.0.0.1:7777]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
}

impl Run {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut config = self.store.load()?;
        if let Some(listen) = self.listen {
            config.server.listen = listen;
        }
        start_log(&config.log);
        let began = Instant::now();
        let folder = config.store.path.clone();
        let relay = Relay::start_on(Sockets::inherited()?, config, Clock::system())?;
        // From here on a signal stops it in order: who reads that it listens may send one at once.
        let (mut interrupt, mut terminate) = relay.block_on(async {
            Ok::<_, std::io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
        })?;
        // A relay that was given port 0 is found by this line.
        for address in relay.addresses() {
            eprintln!("plaza: listening on ws://{address}");
        }
        for address in relay.tls_addresses() {
            eprintln!("plaza: listening on wss://{address}");
        }
        eprintln!("plaza: data in {}", std::path::absolute(&folder).unwrap_or(folder).display());
        let communities = relay.communities();
        let events: usize = communities.iter().map(|community| community.index().len()).sum();
        let others: Vec<&str> = communities.iter().skip(1).map(|community| community.path()).collect();
        if !others.is_empty() {
            eprintln!("plaza: communities at / and {}", others.join(", "));
        }
        eprintln!("plaza: {events} events loaded in {:.1} s", began.elapsed().as_secs_f64());
        relay.tell_systemd();
        let stopped_by = relay.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => "Ctrl-C",
                _ = terminate.recv() => "SIGTERM",
            }
        });
        eprintln!("plaza: stopping ({stopped_by})");
        tell_systemd_of_stop();
        relay.stop()?;
        eprintln!("plaza: stopped, everything is on disk");
        Ok(())
    }
}

fn start_log(log: &Log) {
    // The config has checked that the directive is one.
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Colours are for people; in a journal they would be signs that nobody can read.
    let builder = builder.with_ansi(std::io::stderr().is_terminal());
    // A process that already logs somewhere keeps doing so.
    let _ = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
