//! The real program as a service manager runs it: with sockets that it inherits, with signals, and with what
//! it says.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a program may take to do what it must.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A program that has been started, and what it says on standard error. Ends with this value.
pub struct Program {
    child: Child,
    words: Receiver<String>,
}

impl Program {
    /// Starts a command.
    pub fn start(mut command: Command) -> Program {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program runs");
        let stderr = BufReader::new(child.stderr.take().expect("its standard error"));
        let (sender, words) = channel();
        // Reads on when nobody listens any more, so that the program is never kept from saying more.
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)))
        });
        Program { child, words }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The rest of the next line that has this in it.
    pub fn says(&self, wanted: &str) -> String {
        let line = self.says_whole(wanted);
        line.split_once(wanted).map_or(String::new(), |(_, rest)| rest.to_owned())
    }

    /// The rest of the first line that has each of these in it, in whatever order they come.
    pub fn says_all<const N: usize>(&self, wanted: [&str; N]) -> [String; N] {
        let mut found = [const { None }; N];
        while found.contains(&None) {
            let line = self.says_whole("");
            for (place, wanted) in found.iter_mut().zip(wanted).filter(|(place, _)| place.is_none()) {
                *place = line.split_once(wanted).map(|(_, rest)| rest.to_owned());
            }
        }
        found.map(Option::unwrap_or_default)
    }

    /// What it says from here on, until it has ended.
    pub fn said(&self) -> String {
        self.words.iter().collect::<Vec<String>>().join("\n")
    }

    /// The next line that has this in it.
    pub fn says_whole(&self, wanted: &str) -> String {
        let mut heard = Vec::new();
        loop {
            let Ok(line) = self.words.recv_timeout(PATIENCE) else {
                panic!("{wanted:?} was awaited, not only {heard:#?}")
            };
            if line.contains(wanted) {
                return line;
            }
            heard.push(line);
        }
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().expect("kill runs");
        assert!(sent.success(), "{signal} is sent");
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the program ends");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Asks it to stop, and waits until it has done so in order.
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert!(self.wait().success(), "the program stops in order");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The relay, to be started in a folder with the settings that are there.
pub fn plaza(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plaza"));
    command.arg("run").args(arguments).current_dir(folder).env_clear();
    command
}

/// The same with descriptor 3, and 4 if there is a second, as systemd passes them: a shell moves them there and
/// becomes the relay.
pub fn plaza_with(sockets: &[OwnedFd], folder: &Path, arguments: &[&str]) -> Command {
    const MOVE: &str = "exec 3<&0 4>&1 0</dev/null 1>/dev/null; export LISTEN_PID=$$; exec \"$@\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", MOVE, "sh", env!("CARGO_BIN_EXE_plaza"), "run"]).args(arguments);
    command.current_dir(folder).env_clear().env("LISTEN_FDS", sockets.len().to_string());
    let mut copies = sockets.iter().map(|socket| Stdio::from(socket.try_clone().expect("a descriptor")));
    command.stdin(copies.next().expect("a socket"));
    command.stdout(copies.next().unwrap_or_else(Stdio::null));
    assert!(copies.next().is_none(), "two sockets at most");
    command
}

/// A listening socket on a free port, and its address.
pub fn listening() -> (OwnedFd, std::net::SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address");
    (socket.into(), address)
}

/// A port that was free a moment ago: for programs that do not say which one they took.
pub fn free_port() -> u16 {
    listening().1.port()
}

/// Waits until something accepts connections on a port of this machine.
pub fn wait_for_port(port: u16) {
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < PATIENCE, "something listens on {port}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Where a program is, if it is there.
pub fn tool(name: &str) -> Option<std::path::PathBuf> {
    let folders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"];
    let found =
        folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| File::open(path).is_ok());
    if found.is_none() {
        eprintln!("skipped: {name} is not installed");
    }
    found
}
