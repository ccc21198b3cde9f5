//! The relay that is measured: this program, another one that is started by a command, or one that is running
//! already. In: a folder, a command, or an address and a process id. Out: a [`Relay`] that answers.

use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Failure;
use super::client::{Client, SMALL_BUFFER_BYTES};
use super::reply::{Reply, reply};

/// How long a relay may take until it answers: large stores of some relays take minutes.
const START_PATIENCE: Duration = Duration::from_secs(300);

/// How long it may take to stop, before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks at a process that starts or stops.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Which relay is measured.
pub(super) enum Target {
    /// This program, with settings and data in a folder.
    Plaza { folder: PathBuf },
    /// Another one: where it listens, what starts it, and where its data are.
    Other { address: String, command: String, data: PathBuf, folder: PathBuf },
    /// One that was started already, and is left running.
    Running { address: String, pid: u32 },
}

/// What the relay keeps in memory of what it has on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Caches {
    /// As by default.
    #[default]
    Usual,
    /// All that was asked for once.
    Ample,
    /// Next to nothing, so that what is left in memory is index and bookkeeping.
    Smallest,
}

impl Caches {
    fn toml(self) -> &'static str {
        match self {
            Caches::Usual => "",
            Caches::Ample => "[store]\nbody_cache_bytes = 2_147_483_648\n",
            Caches::Smallest => "[store]\ncache_bytes = 1_048_576\nbody_cache_bytes = 1_048_576\n",
        }
    }
}

/// Settings of this program for a measurement; the same for all but what is measured.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Settings {
    /// What is kept in memory of what is on disk.
    pub(super) caches: Caches,
    /// Bytes of memory that the relay is told to stay below, 0 for no such bound. With one, pages of the store leave
    /// its cache at once when that is full.
    pub(super) memory_bytes_max: u64,
    /// Whether filters may ask by beginnings of geohashes.
    pub(super) has_prefix_filters: bool,
    /// Whether filters may search.
    pub(super) has_search: bool,
    /// How long a live event may wait for others.
    pub(super) live_delay_milliseconds: u64,
    /// Connections, where they are many.
    pub(super) connections: usize,
    /// Whether whoever connects is believed which address it is for.
    pub(super) is_behind_proxy: bool,
    /// Whether limits by address and author are as they are by default.
    pub(super) has_default_rates: bool,
    /// Whether reconciliations may be about as many events as there are.
    pub(super) has_large_sets: bool,
}

impl Settings {
    /// As relay.toml. Limits apply as on any relay, but are as high as they can be, since all that is sent comes
    /// from one address and a few authors.
    fn toml(self) -> String {
        let connections = self.connections.max(256) + 64;
        let rates = [
            "address_events_per_minute",
            "address_events_burst",
            "author_events_per_minute",
            "author_events_burst",
            "address_requests_per_minute",
            "address_requests_burst",
            "address_bytes_per_minute",
            "address_bytes_burst",
        ];
        let rates = match self.has_default_rates {
            true => String::new(),
            false => rates.map(|name| format!("{name} = {}\n", u32::MAX)).concat(),
        };
        let proxies = if self.is_behind_proxy { "\"127.0.0.1\"" } else { "" };
        let (caches, memory) = (self.caches.toml(), self.memory_bytes_max);
        let delay = self.live_delay_milliseconds;
        let (filters, search) = (self.has_prefix_filters, self.has_search);
        let (set, sets) = match self.has_large_sets {
            true => (u32::MAX, "reconciled_events_max = 4_294_967_295\n"),
            false => (1_000_000, ""),
        };
        format!(
            "[server]\nconnections_max = {connections}\nconnections_per_address_max = {connections}\n\
             trusted_proxies = [{proxies}]\nmemory_bytes_max = {memory}\n[limits]\nsubscriptions_per_connection_max = 1_000\n\
             live_delay_milliseconds_max = {delay}\n\
             {sets}[nip77]\nevents_max = {set}\n[rate]\n{rates}[geohash]\nprefix_filters = {filters}\n[search]\nenabled = {search}\n{caches}"
        )
    }
}

/// Bytes that a folder takes on disk.
fn disk_bytes(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

fn remove(folder: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

impl Target {
    /// Whether it is this program.
    pub(super) fn is_plaza(&self) -> bool {
        matches!(self, Target::Plaza { .. })
    }

    /// Where its data are, if that is known and it can be started anew.
    fn data(&self) -> Option<PathBuf> {
        match self {
            Target::Plaza { folder } => Some(folder.join("data")),
            Target::Other { data, .. } => Some(data.clone()),
            Target::Running { .. } => None,
        }
    }

    /// Whether it can be stopped and started.
    pub(super) fn can_restart(&self) -> bool {
        self.data().is_some()
    }

    /// Leaves it with an empty store, if that can be had.
    pub(super) fn clear(&self) -> Result<(), Failure> {
        if let Some(data) = self.data() {
            remove(&data)?;
            std::fs::create_dir_all(&data)?;
        }
        Ok(())
    }

    /// Runs something while it has an empty store, and gives it back the one that it has.
    pub(super) fn while_empty<T>(&self, run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let Some(data) = self.data() else { return run() };
        let aside = data.with_extension("aside");
        std::fs::rename(&data, &aside)?;
        std::fs::create_dir_all(&data)?;
        let done = run();
        remove(&data)?;
        std::fs::rename(&aside, &data)?;
        done
    }

    /// Bytes of a folder of its data; 0 when that is not known.
    pub(super) fn folder_bytes(&self, name: &str) -> Result<u64, Failure> {
        self.data().map_or(Ok(0), |data| disk_bytes(&data.join(name)))
    }

    /// Removes a folder of its data, while it does not run.
    pub(super) fn remove_folder(&self, name: &str) -> Result<(), Failure> {
        self.data().map_or(Ok(()), |data| remove(&data.join(name)))
    }

    /// Bytes of its data on disk.
    pub(super) fn disk_bytes(&self) -> Result<Option<u64>, Failure> {
        self.data().map(|data| disk_bytes(&data)).transpose()
    }

    /// Starts it, and waits until it has answered a request.
    pub(super) fn launch(&self, settings: Settings) -> Result<Relay, Failure> {
        match self {
            Target::Plaza { folder } => start_plaza(folder, settings),
            Target::Other { address, command, folder, .. } => start_other(address, command, folder),
            Target::Running { address, pid } => {
                let (pid, address) = (*pid, address.clone());
                Ok(Relay { child: None, pid, address, serving_after: Duration::ZERO, loaded: None })
            }
        }
    }
}

/// A relay that answers.
pub(super) struct Relay {
    /// The process, when the measurement started it; it ends with this value.
    child: Option<Child>,
    pid: u32,
    /// Where it listens, as host and port.
    pub(super) address: String,
    /// From the start of the process until it answered a request.
    pub(super) serving_after: Duration,
    /// Events that it found in its store, if it says so.
    pub(super) loaded: Option<u64>,
}

fn start_plaza(folder: &Path, settings: Settings) -> Result<Relay, Failure> {
    let config = folder.join("relay.toml");
    std::fs::write(&config, settings.toml())?;
    let began = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .arg("run")
        .arg("--config")
        .arg(&config)
        .arg("--data")
        .arg(folder.join("data"))
        .args(["--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
    let (mut address, mut serving_after, mut last) = (None, Duration::ZERO, String::new());
    for line in &mut lines {
        last = line?;
        if let Some(found) = last.strip_prefix("plaza: listening on ws://") {
            answers(found)?;
            (address, serving_after) = (Some(found.to_owned()), began.elapsed());
        }
        let loaded = last.strip_prefix("plaza: ").and_then(|line| line.split_once(" events loaded"));
        if let (Some(address), Some((loaded, _))) = (&address, loaded) {
            let (pid, address, loaded) = (child.id(), address.clone(), Some(loaded.parse()?));
            std::thread::spawn(move || pass_on(lines.map_while(Result::ok)));
            return Ok(Relay { child: Some(child), pid, address, serving_after, loaded });
        }
    }
    child.wait()?;
    Err(format!("the relay did not start: {last}").into())
}

/// Warnings are the user's business; a pipe that nobody reads would stop the relay.
fn pass_on(lines: impl Iterator<Item = String>) {
    lines.filter(|line| !line.starts_with("plaza: ")).for_each(|line| eprintln!("{line}"));
}

fn start_other(address: &str, command: &str, folder: &Path) -> Result<Relay, Failure> {
    if Client::connect(address).is_ok() {
        return Err(format!("something is listening on {address} already").into());
    }
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("relay.log"))?;
    let began = Instant::now();
    // The shell gives its place to the relay, whose process id is then the child's.
    let child = Command::new("sh")
        .args(["-c", &format!("exec {command}")])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let pid = child.id();
    let (address, serving_after) = (address.to_owned(), Duration::ZERO);
    let mut relay = Relay { child: Some(child), pid, address, serving_after, loaded: None };
    while answers(&relay.address).is_err() {
        if let Some(status) = relay.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
            return Err(format!("the relay ended with {status}: {}", last_words(folder)).into());
        }
        if began.elapsed() > START_PATIENCE {
            return Err(format!("the relay does not answer: {}", last_words(folder)).into());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    relay.serving_after = began.elapsed();
    Ok(relay)
}

/// The last thing that a relay wrote.
fn last_words(folder: &Path) -> String {
    let log = std::fs::read_to_string(folder.join("relay.log")).unwrap_or_default();
    log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}

/// Whether it answers a request; waits for that.
fn answers(address: &str) -> Result<(), Failure> {
    let mut client = Client::with_buffer(address, SMALL_BUFFER_BYTES)?;
    client.send_text(&format!(r#"["REQ","ready",{{"ids":["{}"],"limit":1}}]"#, "0".repeat(64)))?;
    let mut is_answered = false;
    while !is_answered {
        client.receive(|message| is_answered |= matches!(reply(message), Reply::Eose | Reply::Closed))?;
    }
    Ok(())
}

impl Relay {
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Stops it in order, if the measurement started it.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        let Some(child) = &mut self.child else { return Ok(()) };
        Command::new("kill").arg(self.pid.to_string()).status()?;
        let began = Instant::now();
        while child.try_wait()?.is_none() {
            if began.elapsed() > STOP_PATIENCE {
                child.kill()?;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn settings_are_true_and_limits_apply() {
        for caches in [Caches::Usual, Caches::Ample, Caches::Smallest] {
            let settings = Settings {
                caches,
                has_prefix_filters: true,
                has_large_sets: true,
                connections: 10_000,
                ..Settings::default()
            };
            let config = Config::parse(&settings.toml(), "bench".as_ref()).expect("settings");
            assert!(config.rate.enabled, "limits are raised, not removed");
            assert!(config.server.connections_per_address_max > 10_000);
            assert!(config.root.geohash.prefix_filters);
        }
        let settings =
            Settings { is_behind_proxy: true, has_default_rates: true, ..Settings::default() }.toml();
        let config = Config::parse(&settings, "bench".as_ref()).expect("settings");
        assert_eq!(config.rate, Config::default().rate);
        assert_eq!(config.server.trusted_proxies.len(), 1);
    }
}
