//! What processes have used while something was measured. In: a process id. Out: CPU seconds and bytes.

use std::time::Instant;

use super::Failure;
use super::stats::Figures;
use crate::usage;

/// User and system time that a process has used, in seconds.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64, Failure> {
    usage::cpu_seconds(pid).ok_or_else(|| "unreadable /proc stat".into())
}

/// Anonymous resident memory of a process, in bytes.
pub(super) fn anonymous_bytes(pid: u32) -> Result<u64, Failure> {
    usage::status_bytes(pid, "RssAnon").ok_or_else(|| "no RssAnon in /proc status".into())
}

/// Time on the clock, and of the cores, from its start on.
pub(super) struct Meter {
    pid: u32,
    began: Instant,
    relay_cpu: f64,
    client_cpu: f64,
}

/// What some work took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) seconds: f64,
    pub(super) relay_cpu: f64,
    pub(super) client_cpu: f64,
}

impl Meter {
    /// Begins to measure a relay's process and this one.
    pub(super) fn start(pid: u32) -> Result<Meter, Failure> {
        let (relay_cpu, client_cpu) = (cpu_seconds(pid)?, cpu_seconds(std::process::id())?);
        Ok(Meter { pid, began: Instant::now(), relay_cpu, client_cpu })
    }

    /// What was spent so far.
    pub(super) fn spent(&self) -> Result<Spent, Failure> {
        Ok(Spent {
            seconds: self.began.elapsed().as_secs_f64(),
            relay_cpu: cpu_seconds(self.pid)? - self.relay_cpu,
            client_cpu: cpu_seconds(std::process::id())? - self.client_cpu,
        })
    }
}

impl Spent {
    /// Adds what further work took.
    pub(super) fn add(&mut self, other: Spent) {
        self.seconds += other.seconds;
        self.relay_cpu += other.relay_cpu;
        self.client_cpu += other.client_cpu;
    }

    /// The relay's CPU for each of so many pieces of work, in microseconds.
    pub(super) fn relay_micros(&self, pieces: usize) -> f64 {
        self.relay_cpu / pieces.max(1) as f64 * 1e6
    }

    /// A rate, the relay's CPU a piece, and the client's share of all CPU that both took: the client shares the
    /// cores, so a rate says the less of the relay the larger that is.
    pub(super) fn put(&self, figures: &mut Figures, key: &str, unit: &str, pieces: usize) {
        figures.put(format!("{key}_{unit}_per_second"), pieces as f64 / self.seconds.max(f64::EPSILON));
        figures.put(format!("{key}_relay_cpu_microseconds"), self.relay_micros(pieces));
        let both = (self.relay_cpu + self.client_cpu).max(f64::EPSILON);
        figures.put(format!("{key}_client_cpu_share"), self.client_cpu / both);
    }
}
