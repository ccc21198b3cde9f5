//! The program as its user runs it: the real binary in a folder of its own, with what it says and the code it ends
//! with.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use plaza::event::Event;
use tempfile::TempDir;

/// How long a program may take to say what it must say.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("a copy")),
        }
    }
}

/// A folder to run the program in.
pub struct Folder(pub TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("a file");
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plaza"));
        command.args(arguments).current_dir(&self.0).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Done {
        Done::of(self.command(arguments).output().expect("the program runs"))
    }

    /// Runs the program to its end with something on its standard input.
    pub fn feed(&self, arguments: &[&str], input: &[u8]) -> Done {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("the program runs");
        let mut stdin: ChildStdin = child.stdin.take().expect("its standard input");
        stdin.write_all(input).expect("it reads all");
        drop(stdin);
        Done::of(child.wait_with_output().expect("the program ends"))
    }

    /// Starts a relay on a port that is free, and waits until it serves.
    pub fn serve(&self, arguments: &[&str]) -> Serving {
        let mut all = arguments.to_vec();
        all.extend(["--listen", "127.0.0.1:0"]);
        Serving::start(self.command(&all))
    }

    /// Imports events, all of which must be stored.
    pub fn stock(&self, events: &[Event]) {
        let done = self.feed(&["import", "-"], &lines(events));
        assert!(done.said(&format!("{} events stored, 0 were there already", events.len())), "{done:?}");
    }

    /// What an export with these options writes.
    pub fn export(&self, options: &[&str]) -> String {
        let done = self.run(&[&["export"], options].concat());
        assert_eq!(done.code, 0, "{done:?}");
        done.data
    }
}

/// What a program that has ended said and wrote.
#[derive(Debug)]
pub struct Done {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to standard output.
    pub data: String,
    /// What it said on standard error.
    pub words: String,
}

impl Done {
    pub fn of(output: Output) -> Done {
        Done {
            code: output.status.code().expect("an exit code"),
            data: String::from_utf8(output.stdout).expect("UTF-8"),
            words: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Whether a line on standard error says this.
    pub fn said(&self, words: &str) -> bool {
        self.words.lines().any(|line| line.contains(words))
    }

    /// Asserts that the program gave up, and said why in these words.
    pub fn refused(&self, words: &[&str]) {
        assert_eq!(self.code, 1, "{self:?}");
        assert_eq!(self.data, "", "standard output is for data");
        words.iter().for_each(|words| assert!(self.said(words), "{words:?} is not in {:?}", self.words));
    }
}

/// A relay that serves.
pub struct Serving {
    /// Its process.
    pub child: Child,
    words: Receiver<String>,
    /// Where it listens.
    pub url: String,
}

impl Serving {
    pub fn start(mut command: Command) -> Serving {
        let mut child = command.spawn().expect("the program runs");
        let stderr = BufReader::new(child.stderr.take().expect("its standard error"));
        let (sender, words) = channel();
        // Ends with the program.
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut serving = Serving { child, words, url: String::new() };
        serving.url = serving.says("plaza: listening on ");
        serving
    }

    /// The rest of the next line that begins like this.
    pub fn says(&mut self, beginning: &str) -> String {
        loop {
            let line = self.words.recv_timeout(PATIENCE).expect("the program says more");
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.to_owned();
            }
        }
    }

    /// Waits for a line that has these words in it.
    pub fn says_somewhere(&mut self, words: &str) {
        while !self.words.recv_timeout(PATIENCE).expect("the program says more").contains(words) {}
    }

    /// Ends it with a signal; the code it ends with.
    pub fn end(mut self, signal: &str) -> i32 {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().expect("kill runs");
        assert!(sent.success());
        self.says("plaza: stopping");
        self.says("plaza: stopped, everything is on disk");
        self.child.wait().expect("the program ends").code().expect("an exit code")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Of a test that failed; otherwise it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Events as JSON Lines.
pub fn lines(events: &[Event]) -> Vec<u8> {
    events.iter().flat_map(|event| [event.to_json(), b"\n".to_vec()].concat()).collect()
}
