//! A NATS server of the test's own, with its settings in a folder.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::program::{Program, tool};

/// One NATS server.
pub struct Server {
    folder: PathBuf,
    /// Where it listens.
    pub host: String,
    pub port: u16,
    pub program: Option<Program>,
}

impl Server {
    /// One that has its settings, beside where it listens, in a folder that is made here; it is yet to be started.
    pub fn new(folder: PathBuf, host: &str, port: u16, settings: &str) -> Server {
        fs::create_dir(&folder).expect("a folder");
        let config = format!("listen: \"{host}:{port}\"\n{settings}");
        fs::write(folder.join("nats.conf"), config).expect("a file");
        Server { folder, host: host.to_owned(), port, program: None }
    }

    /// Its address, without TLS.
    pub fn url(&self) -> String {
        format!("nats://{}:{}", self.host, self.port)
    }

    pub fn start(&mut self) {
        let mut command = Command::new(tool("nats-server").expect("it was there a moment ago"));
        command
            .args(["-c", "nats.conf"])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let program = Program::start(command);
        program.says("Server is ready");
        self.program = Some(program);
    }

    /// Adds to what it goes by at its next start.
    pub fn configure(&self, more: &str) {
        let file = self.folder.join("nats.conf");
        let text = fs::read_to_string(&file).expect("a file");
        fs::write(file, text + more).expect("a file");
    }

    pub fn kill(&mut self) {
        drop(self.program.take());
    }
}
