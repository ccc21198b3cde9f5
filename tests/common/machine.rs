//! A machine with a real systemd of its own: a container that sees this machine's files under a layer that vanishes
//! with it, and shares its network, so that a test's clients reach what it serves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::program::tool;

/// How long it may take to boot, and each step in it to come about.
const PATIENCE: Duration = Duration::from_secs(60);

/// A booted container. Ends with this value.
pub struct Machine {
    folder: TempDir,
    container: Child,
    /// The process id of its systemd.
    systemd: u32,
}

impl Machine {
    /// Boots it. `None`, and why on standard error, where there can be none: it takes root and systemd-nspawn.
    pub fn boot() -> Option<Machine> {
        let nspawn = tool("systemd-nspawn")?;
        tool("nsenter")?;
        let folder = tempfile::tempdir().expect("a folder");
        if let Err(why) = Self::lay(folder.path()) {
            eprintln!("skipped: no layer over this machine's files can be mounted: {why}");
            return None;
        }
        let mut command = Command::new(nspawn);
        command.arg("--directory").arg(folder.path().join("layer/root")).arg("--boot");
        command.arg(format!("--machine=plaza-test-{}", std::process::id()));
        // It needs no service manager around it, and none of the services that this machine may have.
        command.args(["--register=no", "--keep-unit", "systemd.unit=basic.target", "systemd.firstboot=no"]);
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor")).stderr(log);
        let container = command.spawn().expect("systemd-nspawn runs");
        let mut machine = Machine { folder, container, systemd: 0 };
        if let Err(why) = machine.await_boot() {
            eprintln!("skipped: no systemd can be run here: {why}");
            return None;
        }
        Some(machine)
    }

    /// Mounts the layer: this machine's files below, memory above.
    fn lay(folder: &Path) -> Result<(), String> {
        let layer = folder.join("layer");
        fs::create_dir(&layer).expect("a folder");
        mount(&["-t", "tmpfs", "plaza-test"], &layer)?;
        for name in ["changes", "work", "root"] {
            fs::create_dir(layer.join(name)).expect("a folder");
        }
        let [changes, work, root] = ["changes", "work", "root"].map(|name| layer.join(name));
        let places = format!("lowerdir=/,upperdir={},workdir={}", changes.display(), work.display());
        mount(&["-t", "overlay", "plaza-test", "-o", &places], &root)
    }

    fn await_boot(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let said = |machine: &Machine| {
            let log = fs::read_to_string(machine.folder.path().join("log")).unwrap_or_default();
            log.lines().last().unwrap_or("it says nothing").to_owned()
        };
        loop {
            if self.container.try_wait().expect("a status").is_some() || began.elapsed() > PATIENCE {
                return Err(said(self));
            }
            if let Some(pid) = child_of(self.container.id(), "systemd") {
                self.systemd = pid;
                let state = self.run("systemctl is-system-running");
                if matches!(state.stdout.trim_ascii(), b"running" | b"degraded") {
                    return Ok(());
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs a line of shell in it, as root.
    pub fn run(&self, line: &str) -> Output {
        let mut command = Command::new("nsenter");
        let target = self.systemd.to_string();
        command.args(["--target", &target, "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root"]);
        command.args(["--", "/bin/sh", "-c", line]).stdin(Stdio::null());
        command.output().expect("nsenter runs")
    }

    /// Runs a line of shell that must succeed; returns what it wrote to standard output.
    pub fn does(&self, line: &str) -> String {
        let output = self.run(line);
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let (data, words) = (text(output.stdout), text(output.stderr));
        assert!(output.status.success(), "{line}: {}\n{data}{words}", output.status);
        data.trim().to_owned()
    }

    /// Waits until a line of shell writes something that is right; returns it.
    pub fn comes_to(&self, line: &str, right: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let output = self.run(line);
            let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if right(&said) {
                return said;
            }
            assert!(began.elapsed() < PATIENCE, "{line} still says {said:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where one of its files is for this machine.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("layer/root").join(name.trim_start_matches('/'))
    }

    /// Writes one of its files.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // systemd-nspawn ends the container when it is asked to end.
        let _ = Command::new("kill").arg(self.container.id().to_string()).status();
        let began = Instant::now();
        while matches!(self.container.try_wait(), Ok(None)) && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.container.kill();
        let _ = self.container.wait();
        for place in ["layer/root", "layer"] {
            let _ = Command::new("umount").arg("--lazy").arg(self.folder.path().join(place)).status();
        }
    }
}

/// Mounts something there, or says why not.
fn mount(what: &[&str], place: &Path) -> Result<(), String> {
    let output = Command::new("mount").args(what).arg(place).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// The child of a process with this name.
fn child_of(parent: u32, name: &str) -> Option<u32> {
    fs::read_dir("/proc").expect("/proc").flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        // "11778 (systemd) S 11776 …"
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (head, rest) = stat.rsplit_once(") ")?;
        let comes_from = rest.split(' ').nth(1)? == parent.to_string();
        (comes_from && head.split_once('(')?.1 == name).then_some(pid)
    })
}
