//! A client's end of a pipe: WebSocket without waiting. What cannot be written yet stays, and what has not come is
//! not there.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

/// A pipe's end as `std::io` knows streams.
struct End(DuplexStream);

fn now<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Read for End {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut read = ReadBuf::new(out);
        now(Pin::new(&mut self.0).poll_read(&mut Context::from_waker(Waker::noop()), &mut read))?;
        Ok(read.filled().len())
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        now(Pin::new(&mut self.0).poll_write(&mut Context::from_waker(Waker::noop()), bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a client hears.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A message.
    Message(Value),
    /// A sign of life, or that it was asked for one.
    Beat,
    /// The relay says goodbye: with this code.
    Close(u16),
    /// The pipe has ended.
    End,
}

/// A client's WebSocket.
pub(crate) struct Wire(WebSocket<End>);

impl Wire {
    /// At this end of a pipe.
    pub(crate) fn new(end: DuplexStream) -> Wire {
        Wire(WebSocket::from_raw_socket(End(end), Role::Client, None))
    }

    /// Sends a text, now or as soon as there is room.
    pub(crate) fn send(&mut self, text: String) {
        // A pipe that has ended says so when it is read.
        let _ = self.0.send(Message::text(text));
    }

    /// What has come next, if anything has. What waits to be sent is sent on the way.
    pub(crate) fn hear(&mut self) -> Option<Heard> {
        let _ = self.0.flush();
        match self.0.read() {
            Ok(Message::Text(text)) => {
                Some(Heard::Message(serde_json::from_str(&text).expect("the relay speaks JSON")))
            }
            Ok(Message::Close(frame)) => Some(Heard::Close(frame.map_or(0, |frame| frame.code.into()))),
            Ok(_) => Some(Heard::Beat),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => Some(Heard::End),
        }
    }
}
