//! What a process has used, from /proc, and a relay started for the measurement. In: a process id, or
//! a folder. Out: CPU seconds and bytes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Failure;

/// Kernel clock ticks a second in /proc: 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time that a process has used, in seconds.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name may hold spaces; what follows its closing bracket does not.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks =
        |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).ok_or("unreadable /proc stat");
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// Anonymous resident memory of a process, in bytes.
pub(super) fn anonymous_bytes(pid: u32) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon in /proc status")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// The relay that is measured.
pub(super) struct Relay {
    /// The process, when the measurement started it; it ends with this value.
    child: Option<Child>,
    pid: u32,
    /// Where it listens, as host and port.
    pub(super) address: String,
    /// From the start of the process until it listened.
    pub(super) ready_after: Duration,
    /// Events that it found in its store.
    pub(super) loaded: u64,
}

impl Relay {
    /// Starts this program on a folder, with settings of its own and no rate limits.
    pub(super) fn start(folder: &Path, settings: &str) -> Result<Relay, Failure> {
        let config = folder.join("relay.toml");
        std::fs::write(&config, format!("{settings}\n[rate]\nenabled = false\n"))?;
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
        let (mut address, mut ready_after) = (None, Duration::ZERO);
        for line in &mut lines {
            let line = line?;
            if let Some(found) = line.strip_prefix("plaza: listening on ws://") {
                (address, ready_after) = (Some(found.to_owned()), began.elapsed());
            }
            let loaded = line.strip_prefix("plaza: ").and_then(|line| line.split_once(" events loaded"));
            if let (Some(address), Some((loaded, _))) = (&address, loaded) {
                let (pid, address, loaded) = (child.id(), address.clone(), loaded.parse()?);
                let relay = Relay { child: Some(child), pid, address, ready_after, loaded };
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return Ok(relay);
            }
        }
        child.wait()?;
        Err("the relay did not start".into())
    }

    /// A relay that somebody else has started, by host and port and process id.
    pub(super) fn running(address: &str, pid: u32) -> Relay {
        Relay { child: None, pid, address: address.to_owned(), ready_after: Duration::ZERO, loaded: 0 }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Stops it in order, if the measurement started it.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        if let Some(child) = &mut self.child {
            Command::new("kill").arg(self.pid.to_string()).status()?;
            child.wait()?;
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
