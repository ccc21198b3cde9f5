//! The real program in a folder: start, signal, kill, export. It does not outlive its handle.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use plaza::event::Event;

const PLAZA: &str = env!("CARGO_BIN_EXE_plaza");

/// How long a start may take.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How often a start looks whether it is still waited for.
const START_LOOK: Duration = Duration::from_millis(2);

/// A running relay.
pub(crate) struct Server {
    child: RefCell<Child>,
    address: String,
    listens: Receiver<String>,
    log: Arc<Mutex<String>>,
}

fn settings(folder: &Path) -> String {
    let config = folder.join("relay.toml");
    if !config.exists() {
        std::fs::write(&config, "[rate]\nenabled = false\n\n[store]\ncache_bytes = 16_777_216\nindex_save_events_min = 1\nindex_save_changes_min = 300\n")
            .expect("a file");
    }
    config.to_str().expect("a path in UTF-8").to_owned()
}

fn data(folder: &Path) -> String {
    folder.join("data").to_str().expect("a path in UTF-8").to_owned()
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) fn start(folder: &Path) -> Server {
        let mut server = Server::launch(&settings(folder), &data(folder));
        assert!(server.wait_until_it_listens(|| false), "nobody gave up");
        server
    }

    /// Starts it with these settings and this folder of data, and does not wait.
    pub(crate) fn launch(settings: &str, data: &str) -> Server {
        let mut child = Command::new(PLAZA)
            .args(["--config", settings, "--data", data, "--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = Arc::new(Mutex::new(String::new()));
        let (found, listens) = channel();
        let (stderr, kept) = (child.stderr.take().expect("standard error"), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = kept.lock().expect("nobody panics with the log");
                log.push_str(&line);
                log.push('\n');
                if let Some(address) = line.strip_prefix("plaza: listening on ws://") {
                    let _ = found.send(address.to_owned());
                }
            }
        });
        Server { child: RefCell::new(child), address: String::new(), listens, log }
    }

    /// Waits until it listens, unless that is given up: tells whether it does. That it ends by itself, or needs
    /// too long, is a failure.
    pub(crate) fn wait_until_it_listens(&mut self, given_up: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            match self.listens.recv_timeout(START_LOOK) {
                Ok(address) => {
                    self.address = address;
                    return true;
                }
                Err(_) if given_up() => return false,
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => panic!("it does not start:\n{}", self.log()),
            }
        }
    }

    /// Waits until it listens, or has ended: tells which.
    pub(crate) fn listens_or_ends(&mut self) -> bool {
        match self.listens.recv_timeout(START_PATIENCE) {
            Ok(address) => {
                self.address = address;
                true
            }
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => panic!("it neither starts nor ends:\n{}", self.log()),
        }
    }

    /// Its WebSocket URL.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// What it wrote on standard error.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("nobody panics with the log").clone()
    }

    /// SIGKILL: nothing of it runs any more when this returns.
    pub(crate) fn kill(&self) {
        let mut child = self.child.borrow_mut();
        child.kill().expect("a process to kill");
        child.wait().expect("a process to wait for");
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.child.borrow().id().to_string();
        let sent = Command::new("kill").args(["-s", name, &process]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// The exit code with which it has ended by itself, if it has.
    pub(crate) fn ended(&self) -> Option<i32> {
        let status = self.child.borrow_mut().try_wait().expect("a process to wait for");
        status.map(|status| status.code().expect("no signal ended it"))
    }

    /// Waits until it has ended by itself: its exit code, if no signal ended it.
    pub(crate) fn wait_for_end(&self, patience: Duration) -> Option<i32> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.borrow_mut().try_wait().expect("a process to wait for") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it has ended with exit code 0.
    pub(crate) fn wait_for_success(self, patience: Duration) {
        assert_eq!(self.wait_for_end(patience), Some(0), "{}", self.log());
    }

    /// All events of the store in a folder, as `plaza export` writes them.
    pub(crate) fn export(folder: &Path) -> Vec<Event> {
        Server::export_of(&settings(folder), &data(folder), "/")
    }

    /// What `plaza verify` says of a folder of data in which all is well.
    pub(crate) fn verify_of(settings: &str, data: &str) -> String {
        let output = Command::new(PLAZA).args(["verify", "--config", settings, "--data", data]).output();
        let output = output.expect("the program starts");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}");
        said
    }

    /// The same of one community, with these settings and this folder of data.
    pub(crate) fn export_of(settings: &str, data: &str, community: &str) -> Vec<Event> {
        let output = Command::new(PLAZA)
            .args(["export", "--config", settings, "--data", data, "--community", community])
            .output()
            .expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| Event::from_json(line).expect("an event")).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}
