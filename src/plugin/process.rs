//! The process of one plugin. In: lines. Out: what it answers, and that it has ended. It runs in a process group of its
//! own, which ends with it; it inherits standard streams, a few variables of the environment, and nothing else.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::wire::{self, Answer};
use crate::config::{self, Plugin};

/// The longest line that is an answer; the rest of a longer one is passed over.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The longest line that goes to the log.
const LOG_BYTES_MAX: usize = 1_000;

/// Lines of a plugin that go to the log in each [`LOG_PERIOD`]; the others are counted.
const LOG_LINES_MAX: u64 = 100;
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// How long a plugin that is told to end may take, before it is killed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(5);

/// Lines that are written at once.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// What a plugin sees of the environment, besides what begins with `LC_`. Others may hold secrets, or speak to systemd.
const ENVIRONMENT: [&str; 9] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"];

/// What it finds programs by where the relay has no PATH itself.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What is heard of a process, which its number tells.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Answers, or why a line is none and what it was.
    Answers(u64, Vec<Result<Answer, String>>),
    /// It has closed its standard output: it has ended, or will not answer any more.
    Closed(u64),
    /// It is gone, with its group.
    Gone(u64, String),
}

/// A running plugin. Without [`Process::end`] it is only told to end.
pub(crate) struct Process {
    pub(crate) number: u64,
    lines: Sender<Vec<u8>>,
    child: Child,
    heard: Sender<Heard>,
}

/// Who speaks in the log.
#[derive(Clone)]
pub(crate) struct Name {
    pub(crate) community: Arc<str>,
    pub(crate) plugin: Arc<str>,
}

impl Process {
    /// Starts a plugin.
    ///
    /// # Errors
    /// When it cannot be run.
    pub(crate) fn start(
        plugin: &Plugin,
        number: u64,
        name: &Name,
        heard: &Sender<Heard>,
    ) -> io::Result<Process> {
        let mut command = command(plugin)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (lines, to_write) = bounded(2 * plugin.in_flight_max);
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = streams else {
            return Err(io::Error::other("it has no standard streams"));
        };
        let process = Process { number, lines, child, heard: heard.clone() };
        let (answers, log) = (heard.clone(), name.clone());
        let writes = spawn("plaza-plugin-in", move || write(stdin, &to_write));
        let reads = spawn("plaza-plugin-out", {
            move || {
                read(number, BufReader::with_capacity(LINE_BYTES_MAX, stdout), &answers);
                drop(answers.send(Heard::Closed(number)));
            }
        });
        let tells = spawn("plaza-plugin-err", move || tell(stderr, &log));
        if let Err(error) = writes.and(reads).and(tells) {
            process.end();
            return Err(error);
        }
        Ok(process)
    }

    /// Hands over a request. False when it does not read what it was handed before.
    pub(crate) fn ask(&self, line: Vec<u8>) -> bool {
        self.lines.try_send(line).is_ok()
    }

    /// Tells it to end, and kills it after a while; [`Heard::Gone`] says when it is gone.
    pub(crate) fn end(self) {
        let Process { number, lines, mut child, heard } = self;
        drop(lines);
        signal(&child, Signal::Term);
        let gone = heard.clone();
        let finish = move || {
            let status = finish(&mut child);
            // Who does not listen any more does not need it.
            drop(gone.send(Heard::Gone(number, described(status))));
        };
        if let Err(error) = spawn("plaza-plugin-end", finish) {
            tracing::warn!("cannot see to a plugin's end: {error}");
            drop(heard.try_send(Heard::Gone(number, "nobody has seen how".to_owned())));
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

/// What is run, and how.
fn command(plugin: &Plugin) -> io::Result<Command> {
    let mut command = match &plugin.command {
        config::Command::Line(line) => {
            let mut shell = Command::new("/bin/sh");
            // A path alone takes the shell's place, so that it is the process that is waited for.
            let is_path = line.chars().all(|char| char.is_alphanumeric() || "/._-+@".contains(char));
            shell.arg("-c").arg(if is_path { format!("exec {line}") } else { line.clone() });
            shell
        }
        config::Command::Program(arguments) => {
            // A path is read before the process is in its folder, and after, as the system likes: so it is a whole one.
            let file = plugin.file().map(std::path::absolute).transpose()?;
            let program = arguments.first().map(String::as_str).unwrap_or_default();
            let mut command = Command::new(file.as_deref().unwrap_or(Path::new(program)));
            command.args(arguments.iter().skip(1));
            command
        }
    };
    if !plugin.folder.as_os_str().is_empty() {
        command.current_dir(&plugin.folder);
    }
    command.env_clear().env("PATH", PATH);
    let passed_on = std::env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|name| ENVIRONMENT.contains(&name) || name.starts_with("LC_"))
    });
    command.envs(passed_on);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    Ok(command)
}

#[derive(Clone, Copy)]
enum Signal {
    Term,
    Kill,
}

/// Sends a signal to the process and all that it has started, unless they have a group of their own. It is not waited for
/// yet, so its number is nobody else's.
#[cfg(unix)]
fn signal(child: &Child, signal: Signal) {
    use rustix::process::{Pid, kill_process_group};
    let signal = match signal {
        Signal::Term => rustix::process::Signal::TERM,
        Signal::Kill => rustix::process::Signal::KILL,
    };
    // There may be nobody left in it.
    let _ = kill_process_group(Pid::from_child(child), signal);
}

#[cfg(not(unix))]
fn signal(_: &Child, _: Signal) {}

/// Waits until a process has ended, kills it when its time is up, and what it left behind in any case.
fn finish(child: &mut Child) -> io::Result<ExitStatus> {
    let began = Instant::now();
    while runs(child)? && began.elapsed() < LAST_WORDS {
        std::thread::sleep(LOOK);
    }
    signal(child, Signal::Kill);
    // Where there are no groups.
    let _ = child.kill();
    child.wait()
}

/// Whether a process still runs, without taking notice of its end: its number must stay its own until its group is
/// killed.
#[cfg(unix)]
fn runs(child: &mut Child) -> io::Result<bool> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(Pid::from_child(child)), options)?.is_none())
}

#[cfg(not(unix))]
fn runs(child: &mut Child) -> io::Result<bool> {
    Ok(child.try_wait()?.is_none())
}

fn described(status: io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Writes what there is, several lines at once, until there will be no more or nobody reads it.
fn write(mut stdin: ChildStdin, lines: &Receiver<Vec<u8>>) {
    while let Ok(mut text) = lines.recv() {
        while text.len() < WRITE_BYTES_MAX
            && let Ok(line) = lines.try_recv()
        {
            text.extend_from_slice(&line);
        }
        if stdin.write_all(&text).is_err() {
            // The end of its output tells that it has gone.
            return;
        }
    }
}

/// Reads answers until there are no more; all that came at once are told at once.
fn read(number: u64, mut stdout: impl BufRead, heard: &Sender<Heard>) {
    let (mut line, mut is_too_long) = (Vec::new(), false);
    loop {
        let came = match stdout.fill_buf() {
            Ok([]) => return,
            Ok(came) => came,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let (bytes, mut answers) = (came.len(), Vec::new());
        let mut pieces = came.split_inclusive(|byte| *byte == b'\n');
        pieces.by_ref().for_each(|piece| {
            match line.len() + piece.len() > LINE_BYTES_MAX {
                true => is_too_long = true,
                false => line.extend_from_slice(piece),
            }
            if piece.ends_with(b"\n") {
                answers.push(match std::mem::take(&mut is_too_long) {
                    true => Err(format!("a line of more than {LINE_BYTES_MAX} bytes")),
                    false => read_line(&line),
                });
                line.clear();
            }
        });
        stdout.consume(bytes);
        if !answers.is_empty() && heard.send(Heard::Answers(number, answers)).is_err() {
            return;
        }
    }
}

fn read_line(line: &[u8]) -> Result<Answer, String> {
    wire::answer(line).map_err(|reason| format!("{reason}: {}", shown(line)))
}

/// A line as the log shows it.
fn shown(line: &[u8]) -> String {
    let short = &line[..line.len().min(LOG_BYTES_MAX)];
    let text = String::from_utf8_lossy(short);
    let text = text.trim_end();
    let escaped: String = text
        .chars()
        .flat_map(|char| match char.is_control() {
            true => char.escape_default().collect::<Vec<_>>(),
            false => vec![char],
        })
        .collect();
    if short.len() < line.len() { format!("{escaped}…") } else { escaped }
}

/// What of many lines may go to the log.
pub(crate) struct Sieve {
    since: Instant,
    lines: u64,
}

impl Sieve {
    pub(crate) fn new() -> Sieve {
        Sieve { since: Instant::now(), lines: 0 }
    }

    /// Whether one more may; and how many could not, when a new period begins.
    pub(crate) fn admits(&mut self) -> (bool, u64) {
        let mut left_out = 0;
        if self.since.elapsed() >= LOG_PERIOD {
            left_out = self.lines.saturating_sub(LOG_LINES_MAX);
            *self = Sieve::new();
        }
        self.lines += 1;
        (self.lines <= LOG_LINES_MAX, left_out)
    }
}

/// Passes on to the log what a plugin says on standard error.
fn tell(stderr: impl Read, Name { community, plugin }: &Name) {
    let mut stderr = BufReader::new(stderr);
    let (mut sieve, mut line) = (Sieve::new(), Vec::new());
    loop {
        line.clear();
        let most = LOG_BYTES_MAX as u64 + 1;
        match stderr.by_ref().take(most).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let (is_admitted, left_out) = sieve.admits();
        if left_out > 0 {
            tracing::warn!(%community, %plugin, "{left_out} more lines of the plugin are left out");
        }
        if is_admitted {
            tracing::info!(%community, %plugin, "{}", shown(&line));
        }
        if !line.ends_with(b"\n") && skip_line(&mut stderr).is_err() {
            return;
        }
    }
}

/// Passes over the rest of a line.
fn skip_line(from: &mut impl BufRead) -> io::Result<()> {
    loop {
        let came = from.fill_buf()?;
        if came.is_empty() {
            return Ok(());
        }
        let end = came.iter().position(|byte| *byte == b'\n');
        let bytes = end.map_or(came.len(), |at| at + 1);
        from.consume(bytes);
        if end.is_some() {
            return Ok(());
        }
    }
}
