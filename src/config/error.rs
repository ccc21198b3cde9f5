//! Why relay.toml was refused. In: a file and a fault. Out: one sentence for the operator. Never shows a
//! panic, a type name of this program, or a secret key.

use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

use super::document::line_at;

/// Characters of the file's own text that an error repeats.
const EXCERPT_CHARS_MAX: usize = 60;

/// Why the settings were refused; its text names file, line, key and remedy. Ends the start of the relay.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: {problem}; {remedy}", file.display())]
    Unreadable {
        /// The file that was asked for.
        file: PathBuf,
        /// What went wrong.
        problem: String,
        /// What to do about it.
        remedy: String,
        /// The system's own error, if it was one.
        #[source]
        cause: Option<IoError>,
    },
    /// The file is not TOML.
    #[error("{}:{line}: {problem}", file.display())]
    Syntax {
        /// The file as it was named.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What went wrong and what was expected.
        problem: String,
    },
    /// A setting is unknown, of the wrong type, out of its range or in conflict with another one.
    #[error("{}:{line}: {key}: {problem}; {remedy}", file.display())]
    Setting {
        /// The file as it was named.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The full dotted key, such as `limits.limit_max`.
        key: String,
        /// What went wrong.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
}

/// A refused setting, before the file's name is known.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) problem: String,
    pub(super) remedy: String,
}

impl ConfigError {
    pub(super) fn setting(file: &Path, fault: Fault) -> Self {
        let Fault { line, key, problem, remedy } = fault;
        Self::Setting { file: file.to_owned(), line, key, problem, remedy }
    }

    pub(super) fn syntax(file: &Path, text: &str, cause: &toml::de::Error) -> Self {
        let line = line_at(text, cause.span().unwrap_or_default().start);
        let written = excerpt(text.lines().nth(line - 1).unwrap_or_default());
        let problem = format!("not valid TOML: {}; the line reads `{written}`", cause.message());
        Self::Syntax { file: file.to_owned(), line, problem }
    }

    pub(super) fn unreadable(file: &Path, cause: IoError) -> Self {
        let (problem, remedy) = match cause.kind() {
            ErrorKind::NotFound => {
                ("there is no such file", "copy relay.toml.example to this path, or name the right path")
            }
            ErrorKind::PermissionDenied => {
                ("permission to read it is denied", "let the user that runs plaza read it (chown or chmod)")
            }
            ErrorKind::IsADirectory => ("this is a folder", "name the relay.toml inside it"),
            _ => ("reading it failed", "check the disk and the path"),
        };
        // The common causes speak for themselves; any other is repeated in the system's words.
        let known = !problem.starts_with("reading");
        let problem = if known { problem.to_owned() } else { format!("{problem} ({cause})") };
        Self::Unreadable { file: file.to_owned(), problem, remedy: remedy.to_owned(), cause: Some(cause) }
    }

    pub(super) fn too_large(file: &Path, bytes_max: u64) -> Self {
        let problem = format!("larger than {bytes_max} bytes, which no relay.toml is");
        let remedy = "check the path".to_owned();
        Self::Unreadable { file: file.to_owned(), problem, remedy, cause: None }
    }

    pub(super) fn not_utf8(file: &Path, cause: &FromUtf8Error) -> Self {
        let bytes = cause.as_bytes();
        let valid = bytes.iter().take(cause.utf8_error().valid_up_to());
        let line = valid.filter(|byte| **byte == b'\n').count() + 1;
        let problem = "not valid TOML: the file is not UTF-8 from here on; save it as UTF-8".to_owned();
        Self::Syntax { file: file.to_owned(), line, problem }
    }
}

/// Some text of the file on one line, short enough for an error. A secret key is never repeated, whichever
/// setting it was pasted into: errors end up in logs.
pub(super) fn excerpt(text: &str) -> String {
    if text.contains("nsec1") {
        return "a secret key, which must not be in this file".to_owned();
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let mut short: String = line.chars().take(EXCERPT_CHARS_MAX).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}
