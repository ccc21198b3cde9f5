//! What a process has used, as the system tells it in /proc. In: a process id. Out: CPU seconds, bytes, open files;
//! nothing where there is no /proc.

use std::fs;
use std::path::PathBuf;

/// Kernel clock ticks a second in /proc: 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes, that of mapped files included.
    pub memory_bytes: u64,
    /// Files and sockets that are open.
    pub open_files: u64,
}

fn entry(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// User and system time that a process has used, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    seconds_in(&fs::read_to_string(entry(pid, "stat")).ok()?)
}

/// User and system time that this thread has used, in seconds.
pub(crate) fn thread_cpu_seconds() -> Option<f64> {
    seconds_in(&fs::read_to_string("/proc/thread-self/stat").ok()?)
}

fn seconds_in(stat: &str) -> Option<f64> {
    // The program's name may hold spaces; what follows its closing bracket does not.
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

/// A line of /proc/…/status that tells kibibytes, such as `VmRSS`, in bytes.
pub(crate) fn status_bytes(pid: u32, line: &str) -> Option<u64> {
    let status = fs::read_to_string(entry(pid, "status")).ok()?;
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))?;
    Some(found.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

/// Mapped files that are resident are the program's own up to here, which is more than it has. Beyond it they are what
/// is searched: the kernel drops their pages when somebody else wants memory.
const PROGRAM_FILES_BYTES: u64 = 48 << 20;

/// Resident memory of this process that nobody else can have, in bytes.
pub(crate) fn resident_bytes() -> Option<u64> {
    let pid = std::process::id();
    let files = status_bytes(pid, "RssFile").unwrap_or(0).saturating_sub(PROGRAM_FILES_BYTES);
    Some(status_bytes(pid, "VmRSS")?.saturating_sub(files))
}

impl Usage {
    /// What this process has used.
    pub fn read() -> Option<Usage> {
        let pid = std::process::id();
        Some(Usage {
            cpu_seconds: cpu_seconds(pid)?,
            memory_bytes: status_bytes(pid, "VmRSS")?,
            open_files: fs::read_dir(entry(pid, "fd")).ok()?.count() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::read().expect("/proc is there");
        assert!(
            usage.cpu_seconds >= 0.0 && usage.memory_bytes > 100_000 && usage.open_files >= 3,
            "{usage:?}"
        );
        assert!(thread_cpu_seconds().expect("/proc is there") <= usage.cpu_seconds + 1.0);
        assert_eq!(cpu_seconds(u32::MAX), None);
    }
}
