//! A client that costs as little as it can, since it shares the machine with the relay: frames are made
//! before the clock starts, and of answers only as much is read as is needed to count them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Failure;

/// How long a relay may be silent before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A masked text frame (RFC 6455). The mask is zero: allowed, and free.
pub(super) fn frame(text: &[u8], out: &mut Vec<u8>) {
    out.push(0x81);
    match text.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(text);
}

/// One connection.
pub(super) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
}

impl Client {
    /// Connects and upgrades.
    pub(super) fn connect(address: &str) -> Result<Client, Failure> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut client = Client { stream, buffer: Vec::new(), start: 0 };
        loop {
            client.fill()?;
            if let Some(end) = client.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                if !client.buffer.starts_with(b"HTTP/1.1 101") {
                    return Err("the relay did not upgrade to WebSocket".into());
                }
                client.start = end + 4;
                return Ok(client);
            }
        }
    }

    fn fill(&mut self) -> Result<(), Failure> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let len = self.buffer.len();
        self.buffer.resize(len + 65_536, 0);
        let read = self.stream.read(&mut self.buffer[len..])?;
        self.buffer.truncate(len + read);
        if read == 0 { Err("the relay closed the connection".into()) } else { Ok(()) }
    }

    /// Sends frames as they are.
    pub(super) fn send(&mut self, frames: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.write_all(frames)?)
    }

    /// Sends a text.
    pub(super) fn send_text(&mut self, text: &str) -> Result<(), Failure> {
        let mut bytes = Vec::with_capacity(text.len() + 14);
        frame(text.as_bytes(), &mut bytes);
        self.send(&bytes)
    }

    /// Shows the next message, waiting for it, and all others that have arrived.
    pub(super) fn receive(&mut self, mut show: impl FnMut(&[u8])) -> Result<(), Failure> {
        let mut shown = 0;
        loop {
            while let Some((from, to)) = self.next_frame() {
                show(&self.buffer[from..to]);
                self.start = to;
                shown += 1;
            }
            if shown > 0 {
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// Where the next whole frame's payload lies.
    fn next_frame(&self) -> Option<(usize, usize)> {
        let bytes = &self.buffer[self.start..];
        let (header, len) = match *bytes.get(1)? & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
            127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
            len => (2, usize::from(len)),
        };
        (bytes.len() >= header + len).then_some((self.start + header, self.start + header + len))
    }
}
