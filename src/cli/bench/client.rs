//! A client that costs as little as it can, since it shares the machine with the relay: frames are made before
//! the clock starts, answers are read into one buffer and looked at where they lie, and of each only as much is
//! read as is needed to count it. In: an address. Out: messages.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flate2::{Decompress, FlushDecompress};

/// How long a relay may be silent before a measurement is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Room for what one read brings, of connections that receive much.
const BUFFER_BYTES: usize = 256 * 1024;

/// The same for connections of which there are many.
pub(super) const SMALL_BUFFER_BYTES: usize = 8 * 1024;

/// A message that is longer than this is a fault, and not one that a relay would send.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Set in the first byte of a message that is compressed.
const PACKED: u8 = 0x40;

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Appends a masked frame (RFC 6455) with this operation. The mask is zero: allowed, and free.
fn masked(operation: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | operation);
    match payload.len() {
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
    out.extend_from_slice(payload);
}

/// Appends a masked text frame.
pub(super) fn frame(text: &[u8], out: &mut Vec<u8>) {
    masked(TEXT, text, out);
}

/// Whether connections offer to compress (permessage-deflate), as the command line has it.
static COMPRESSES: AtomicBool = AtomicBool::new(false);

/// Has all connections from now on offer to compress.
pub(super) fn offer_compression() {
    COMPRESSES.store(true, Ordering::Relaxed);
}

/// What ends each flush of deflate, and messages are sent without (RFC 7692).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// What is offered: contexts would cost this client as much as the relay.
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";

/// What has arrived on one connection and was not looked at yet.
pub(super) struct Frames {
    /// Grows only for a message that does not fit.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes that have arrived in all.
    arrived: usize,
    /// What reads compressed messages, where there may be any, and the last one.
    inflater: Option<Box<Decompress>>,
    inflated: Vec<u8>,
    is_inflated: bool,
}

/// One frame: a message, or one that keeps the connection.
pub(super) enum Frame {
    Message(Range<usize>),
    /// A ping, with the frame that answers it.
    Ping(Vec<u8>),
    Close,
    Other,
}

impl Frames {
    pub(super) fn new(buffer_bytes: usize) -> Frames {
        Frames {
            buffer: vec![0; buffer_bytes],
            start: 0,
            end: 0,
            arrived: 0,
            inflater: None,
            inflated: Vec::new(),
            is_inflated: false,
        }
    }

    /// Where the next bytes go. Whole frames are taken out first, so that little is left to be moved.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.buffer.len() {
                self.buffer.resize(self.end * 2, 0);
            }
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes were put into [`Frames::space`].
    pub(super) fn filled(&mut self, bytes: usize) {
        self.end += bytes;
        self.arrived += bytes;
    }

    /// The bytes of the message that was taken out last.
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        match self.is_inflated {
            true => &self.inflated[range],
            false => &self.buffer[range],
        }
    }

    /// Bytes that have arrived in all, as they were on their way.
    pub(super) fn arrived(&self) -> usize {
        self.arrived
    }

    /// Reads a compressed message.
    fn inflate(&mut self, payload: Range<usize>) -> io::Result<Range<usize>> {
        let inflater = self.inflater.get_or_insert_with(|| Box::new(Decompress::new(false)));
        inflater.reset(false);
        self.inflated.clear();
        for mut part in [&self.buffer[payload], &TAIL] {
            loop {
                self.inflated.reserve(4 * part.len() + 64);
                let before = inflater.total_in();
                inflater
                    .decompress_vec(part, &mut self.inflated, FlushDecompress::Sync)
                    .map_err(io::Error::other)?;
                part = &part[(inflater.total_in() - before) as usize..];
                if part.is_empty() && self.inflated.len() < self.inflated.capacity() {
                    break;
                }
                if self.inflated.len() > MESSAGE_BYTES_MAX {
                    return Err(io::Error::other("the relay sent a message that is too long"));
                }
            }
        }
        Ok(0..self.inflated.len())
    }

    /// Takes out the next whole frame.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        let bytes = &self.buffer[self.start..self.end];
        let (header, len) = match *bytes {
            [_, len, ..] if len < 126 => (2, usize::from(len)),
            [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
            [_, 127, a, b, c, d, e, f, g, h, ..] => {
                (10, usize::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h])).unwrap_or(usize::MAX))
            }
            [_, len, ..] if len > 127 => return Err(io::Error::other("the relay sent a masked frame")),
            _ => return Ok(None),
        };
        if len > MESSAGE_BYTES_MAX {
            return Err(io::Error::other(format!("the relay sent a message of {len} bytes")));
        }
        if bytes.len() < header + len {
            return Ok(None);
        }
        let payload = self.start + header..self.start + header + len;
        let (operation, is_packed) = (bytes[0] & 0xf, bytes[0] & PACKED != 0);
        self.start = payload.end;
        self.is_inflated = false;
        Ok(Some(match operation {
            TEXT if is_packed => {
                let range = self.inflate(payload)?;
                self.is_inflated = true;
                Frame::Message(range)
            }
            TEXT => Frame::Message(payload),
            CLOSE => Frame::Close,
            PING => {
                let mut pong = Vec::new();
                masked(PONG, &self.buffer[payload], &mut pong);
                Frame::Ping(pong)
            }
            _ => Frame::Other,
        }))
    }
}

fn closed() -> io::Error {
    io::Error::new(ErrorKind::ConnectionAborted, "the relay closed the connection")
}

/// Whether an error says that the relay did not answer in time.
pub(super) fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// One connection.
pub(super) struct Client {
    stream: TcpStream,
    frames: Frames,
}

impl Client {
    /// Connects and upgrades.
    pub(super) fn connect(address: &str) -> io::Result<Client> {
        Client::with_buffer(address, BUFFER_BYTES)
    }

    /// The same for a client whose address a proxy says.
    pub(super) fn connect_for(address: &str, client: IpAddr) -> io::Result<Client> {
        Client::upgrade(address, &format!("X-Forwarded-For: {client}\r\n"), SMALL_BUFFER_BYTES)
    }

    /// The same with a buffer of this size.
    pub(super) fn with_buffer(address: &str, buffer_bytes: usize) -> io::Result<Client> {
        Client::upgrade(address, "", buffer_bytes)
    }

    fn upgrade(address: &str, headers: &str, buffer_bytes: usize) -> io::Result<Client> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let offer = if COMPRESSES.load(Ordering::Relaxed) { OFFER } else { "" };
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}{offer}\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut client = Client { stream, frames: Frames::new(buffer_bytes) };
        loop {
            client.fill()?;
            let head = client.frames.bytes(0..client.frames.end);
            if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                if !head.starts_with(b"HTTP/1.1 101") {
                    return Err(io::Error::other("the relay did not upgrade to WebSocket"));
                }
                client.frames.start = end + 4;
                return Ok(client);
            }
        }
    }

    /// Bytes that have arrived in all, as they were on their way.
    pub(super) fn arrived(&self) -> usize {
        self.frames.arrived()
    }

    /// How long the relay may be silent on this connection.
    pub(super) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))
    }

    /// Socket and what has arrived, for who waits for many connections at once.
    pub(super) fn into_parts(self) -> (TcpStream, Frames) {
        (self.stream, self.frames)
    }

    fn fill(&mut self) -> io::Result<()> {
        let read = self.stream.read(self.frames.space())?;
        self.frames.filled(read);
        if read == 0 { Err(closed()) } else { Ok(()) }
    }

    /// Sends frames as they are.
    pub(super) fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.stream.write_all(frames)
    }

    /// Sends a text.
    pub(super) fn send_text(&mut self, text: &str) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(text.len() + 14);
        frame(text.as_bytes(), &mut bytes);
        self.send(&bytes)
    }

    /// Shows the next message, waiting for it, and all others that have arrived.
    pub(super) fn receive(&mut self, mut show: impl FnMut(&[u8])) -> io::Result<()> {
        let mut is_shown = false;
        loop {
            while let Some(frame) = self.frames.next()? {
                match frame {
                    Frame::Message(range) => {
                        show(self.frames.bytes(range));
                        is_shown = true;
                    }
                    Frame::Ping(pong) => self.stream.write_all(&pong)?,
                    Frame::Close => return Err(closed()),
                    Frame::Other => {}
                }
            }
            if is_shown {
                return Ok(());
            }
            self.fill()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a relay sends it: without a mask.
    fn sent(operation: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        masked(operation, payload, &mut out);
        let header = out.len() - payload.len();
        out.drain(header - 4..header);
        out[1] &= 0x7f;
        out
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let payloads = [0, 1, 125, 126, 300, 70_000].map(|len| vec![b'x'; len]);
        let mut bytes: Vec<u8> = payloads.iter().flat_map(|payload| sent(TEXT, payload)).collect();
        bytes.extend(sent(PING, b"alive"));
        for piece in [1, 7, 1_000, 64 * 1024] {
            let (mut frames, mut seen, mut pongs) = (Frames::new(16), Vec::new(), 0);
            for mut piece in bytes.chunks(piece) {
                while !piece.is_empty() {
                    let space = frames.space();
                    let fits = piece.len().min(space.len());
                    space[..fits].copy_from_slice(&piece[..fits]);
                    frames.filled(fits);
                    piece = &piece[fits..];
                    while let Some(frame) = frames.next().expect("true frames") {
                        match frame {
                            Frame::Message(range) => seen.push(frames.bytes(range).to_vec()),
                            Frame::Ping(pong) => {
                                let mut expected = Vec::new();
                                masked(PONG, b"alive", &mut expected);
                                assert_eq!(pong, expected);
                                pongs += 1;
                            }
                            _ => panic!("no other frame was sent"),
                        }
                    }
                }
            }
            assert!(seen == payloads && pongs == 1, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_frame_that_claims_to_be_huge_is_a_fault() {
        let mut frames = Frames::new(16);
        let claim = [&[0x81, 127], &u64::MAX.to_be_bytes()[..]].concat();
        frames.space()[..10].copy_from_slice(&claim);
        frames.filled(10);
        assert!(frames.next().is_err());
    }
}
