//! The operator's side of the control socket. In: commands. Out: answers. Never opens the store.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::SOCKET;
use super::protocol::{Answer, Command};
use crate::store::copy::{Chunk, Piece};

/// Longer lines are no answers.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Why a relay that runs does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection broke.
    #[error("the connection to the relay ended: {0}")]
    Lost(#[from] io::Error),
    /// It says something that this program does not understand.
    #[error("the relay answers with what this plaza does not know ({0}); use the same plaza for both")]
    Foreign(String),
    /// It refused.
    #[error("{0}")]
    Refused(String),
}

/// What comes from a relay.
#[derive(Debug)]
pub enum Received {
    /// Something of a copy.
    Piece(Piece),
    /// Any other answer.
    Answer(Answer),
}

/// A connection to a relay that runs.
#[derive(Debug)]
pub struct Client {
    input: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the relay that runs on a folder; `None` when there is none.
    ///
    /// # Errors
    /// When there is one that this user may not talk to.
    pub fn connect(folder: &Path) -> io::Result<Option<Client>> {
        match UnixStream::connect(folder.join(SOCKET)) {
            Ok(stream) => Ok(Some(Client { input: BufReader::with_capacity(1 << 20, stream) })),
            // A socket that is left over refuses; where the path is too long there is none.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::InvalidInput
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a command.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, command: &Command) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(command).map_err(io::Error::other)?;
        line.push(b'\n');
        let Err(error) = self.input.get_mut().write_all(&line) else { return Ok(()) };
        // A relay that has no room says so at once, and hangs up.
        match self.receive() {
            Err(refused @ ClientError::Refused(_)) => Err(refused),
            _ => Err(error.into()),
        }
    }

    /// The next answer.
    ///
    /// # Errors
    /// When the connection is gone, or the relay refuses.
    pub fn receive(&mut self) -> Result<Received, ClientError> {
        let mut line = String::new();
        self.input.by_ref().take(ANSWER_BYTES_MAX).read_line(&mut line)?;
        if line.is_empty() {
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        let answer: Answer =
            serde_json::from_str(&line).map_err(|_| ClientError::Foreign(line.chars().take(80).collect()))?;
        match answer {
            Answer::Error(reason) => Err(ClientError::Refused(reason)),
            Answer::Fault(fault) => Ok(Received::Piece(Piece::Fault(fault))),
            Answer::Chunk { part, bytes } => {
                let mut chunk = vec![0; bytes as usize];
                self.input.read_exact(&mut chunk)?;
                Ok(Received::Piece(Piece::Chunk(Chunk { part, bytes: chunk })))
            }
            answer => Ok(Received::Answer(answer)),
        }
    }
}
