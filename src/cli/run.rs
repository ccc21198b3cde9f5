//! `plaza run`: serve until told to stop, go by new settings when told to, and start anew when there is another store.

use std::fs;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use super::{EXIT_TEMPORARY, Failure, StoreArguments};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Log, LogFormat};
use crate::net::{Relay, Sockets, tell_systemd_of_stop};
use crate::store::LOG_OF_STOP;

/// How often the settings file is looked at, where `server.reload_on_change` says so.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Args)]
pub(super) struct Run {
    #[command(flatten)]
    store: StoreArguments,
    /// Address and port to listen on; wins over server.listen [default: 127.0.0.1:7777]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
}

/// What sets how much is logged, while the relay runs.
type LogLevel = reload::Handle<EnvFilter, Registry>;

/// Signals, from when the relay listens on.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

/// What happens to a running relay.
enum Happened {
    Stop(&'static str),
    Reload(&'static str),
    Reopen,
    Looked,
}

/// Why a relay does not serve any more.
enum Ended {
    /// Somebody stopped it.
    Stopped(&'static str),
    /// Another store is to be opened in place of its own.
    Reopens,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self, relay: &Relay) -> Happened {
        tokio::select! {
            () = relay.reopening() => Happened::Reopen,
            _ = self.interrupt.recv() => Happened::Stop("Ctrl-C"),
            _ = self.terminate.recv() => Happened::Stop("SIGTERM"),
            _ = self.hangup.recv() => Happened::Reload("SIGHUP"),
            () = tokio::time::sleep(LOOK_EVERY) => Happened::Looked,
        }
    }
}

impl Run {
    fn load(&self) -> Result<Config, ConfigError> {
        let mut config = self.store.load()?;
        if let Some(listen) = self.listen {
            config.server.listen = listen;
        }
        Ok(config)
    }

    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let mut config = self.load()?;
        let level = start_log(&config.log);
        // Its sockets, and the time that a start may take, are its own affair.
        let is_managed = ["NOTIFY_SOCKET", "LISTEN_FDS"].iter().any(|name| std::env::var_os(name).is_some());
        let (mut sockets, mut signals) = (Sockets::inherited()?, None);
        loop {
            let before = config.clone();
            match self.run_once(std::mem::take(&mut sockets), config, &mut signals, level.as_ref())? {
                Ended::Stopped(_) => return Ok(ExitCode::SUCCESS),
                Ended::Reopens if is_managed => {
                    eprintln!("plaza: it ends, to be started on the new store");
                    return Ok(ExitCode::from(EXIT_TEMPORARY));
                }
                Ended::Reopens => {}
            }
            config = self.load().unwrap_or_else(|error| {
                eprintln!("plaza: settings stay as they were: {error}");
                before
            });
        }
    }

    /// Serves until it is stopped, or another store is to be opened.
    fn run_once(
        &self,
        sockets: Sockets,
        config: Config,
        signals: &mut Option<Signals>,
        level: Option<&LogLevel>,
    ) -> Result<Ended, Failure> {
        let began = Instant::now();
        let folder = config.store.path.clone();
        let again = self.clone();
        let load = self.store.file().map(|_| Box::new(move || again.load()) as crate::reload::Load);
        let relay = Relay::start_on(sockets, config, Clock::system(), load)?;
        // From here on a signal stops it in order: who reads that it listens may send one at once.
        let signals = match signals {
            Some(signals) => signals,
            none => none.insert(relay.block_on(async { Signals::new() })?),
        };
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
        let others: Vec<String> =
            communities.iter().skip(1).map(|community| community.path().to_owned()).collect();
        if !others.is_empty() {
            eprintln!("plaza: communities at / and {}", others.join(", "));
        }
        eprintln!("plaza: {events} events loaded in {:.1} s", began.elapsed().as_secs_f64());
        relay.tell_systemd();
        let ended = self.serve(&relay, signals, level);
        match ended {
            Ended::Stopped(why) => eprintln!("plaza: stopping ({why})"),
            Ended::Reopens => eprintln!("plaza: closing the store, to open a copy of another node's"),
        }
        tell_systemd_of_stop();
        relay.stop()?;
        eprintln!("plaza: stopped, everything is on disk");
        Ok(ended)
    }

    /// Serves until it is to stop; says why.
    fn serve(&self, relay: &Relay, signals: &mut Signals, level: Option<&LogLevel>) -> Ended {
        let file = self.store.file();
        let stamp = || file.as_ref().and_then(stamp_of);
        let mut seen = stamp();
        loop {
            match relay.block_on(signals.next(relay)) {
                Happened::Stop(why) => return Ended::Stopped(why),
                Happened::Reopen => return Ended::Reopens,
                Happened::Reload(why) => reload_settings(relay, why, level),
                Happened::Looked if relay.config().server.reload_on_change => {
                    let now = stamp();
                    if now != seen {
                        reload_settings(relay, "the file changed", level);
                        seen = now;
                    }
                }
                Happened::Looked => seen = stamp(),
            }
        }
    }
}

/// How a file looked: what changes it changes one of these.
fn stamp_of(file: &PathBuf) -> Option<(u64, i64, i64, u64)> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
}

/// Reads the settings again and says what came of it.
fn reload_settings(relay: &Relay, why: &str, level: Option<&LogLevel>) {
    match relay.reload() {
        Ok(reloaded) => {
            eprintln!("plaza: settings read again ({why}): {reloaded}");
            if let (Some(level), Ok(filter)) = (level, filter(&relay.config().log.level)) {
                // Fails only when nothing logs any more.
                let _ = level.reload(filter);
            }
        }
        Err(error) => eprintln!("plaza: settings stay as they were ({why}): {error}"),
    }
}

/// What others log of themselves and the relay says better, or brings about, unless somebody asks for it: the client of
/// the cluster's log of its connections, and sled of what makes it stop at a start.
const QUIET: &[(&str, &str)] = &[("async_nats", "off"), (LOG_OF_STOP, "error")];

/// What is logged at a level.
fn filter(level: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    let mut directives = level.to_owned();
    for (target, quiet) in QUIET.iter().filter(|(target, _)| !level.contains(target)) {
        directives.push_str(&format!(",{target}={quiet}"));
    }
    EnvFilter::try_new(directives)
}

/// Starts to log; `None` in a process that already logs somewhere and keeps doing so.
fn start_log(log: &Log) -> Option<LogLevel> {
    // The config has checked that the directive is one.
    let chosen = filter(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let (chosen, level) = reload::Layer::new(chosen);
    // Colours are for terminals; files and journals get text.
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal);
    let registry = tracing_subscriber::registry().with(chosen);
    let started = match log.format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json()).try_init(),
    };
    started.ok().map(|()| level)
}
