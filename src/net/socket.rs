//! A client's WebSocket over its stream: reads ahead, gathers what is written, and holds next to no memory
//! while it is idle. In: bytes, texts to send. Out: messages, frames.
//!
//! tungstenite reads frames and answers what the protocol has answered (pings, closing). Its answers and the
//! relay's own texts are added to one buffer, each whole, so they never mix; texts are framed here, because
//! they are made of shared pieces, known to be UTF-8 and need no mask. What has gathered is written in as few
//! calls as the stream allows.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::deflate::{Deflate, Tally};
use crate::outbox::Text;

/// What one read takes from the stream at most. The buffer is one for each thread.
const READ_BYTES_MAX: usize = 64 * 1024;

/// A write buffer of at most this size is kept by its thread for the next socket that writes.
const SPARE_BYTES_MAX: usize = 256 * 1024;

/// tungstenite's own buffer, from which it takes one message after the other.
const READ_BUFFER_BYTES: usize = 2 * 1024;

/// The first byte of a message of one text frame.
const TEXT: u8 = 0x81;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES_MAX]);
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a socket yields: a message, or why there are no more.
pub(super) type Received = Result<Message, Unreadable>;

/// Why there are no more messages.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// What came is no WebSocket, too long, or nothing.
    Protocol(Error),
    /// What was compressed cannot be read.
    Deflate,
}

impl From<Error> for Unreadable {
    fn from(error: Error) -> Self {
        Unreadable::Protocol(error)
    }
}

/// See the module.
pub(super) struct Socket<S> {
    stream: S,
    /// tungstenite's state; `None` while a client is between two messages.
    protocol: Option<Box<WebSocketContext>>,
    message_bytes_max: usize,
    /// What was agreed on of compression, and compressed messages that come.
    deflate: Option<Box<Deflate>>,
    /// What was read and tungstenite has not yet taken.
    ahead: Vec<u8>,
    ahead_used: usize,
    /// Bytes that tungstenite has taken, less what its messages take at least. When it is 0 nothing is left of
    /// them: each byte belonged to a message that was yielded.
    unaccounted: usize,
    /// Where tungstenite is in what it takes.
    frames: Frames,
    gathered: Vec<u8>,
    written: usize,
    /// The answer to the client's close frame: it waits for answers to what the client sent before that.
    farewell: Vec<u8>,
    /// A close frame is the last of what is sent.
    is_closing: bool,
}

/// What tungstenite sees of the stream: what has been read of it, and room for what it writes.
struct Wire<'a> {
    input: &'a [u8],
    has_ended: bool,
    output: &'a mut Vec<u8>,
}

impl Read for Wire<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() && !self.has_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(out)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// A WebSocket on a stream of which `ahead` was already read.
    pub(super) fn new(
        stream: S,
        ahead: Vec<u8>,
        message_bytes_max: usize,
        deflate: Option<Box<Deflate>>,
    ) -> Self {
        Socket {
            stream,
            protocol: None,
            message_bytes_max,
            deflate,
            ahead,
            ahead_used: 0,
            unaccounted: 0,
            frames: Frames::default(),
            gathered: Vec::new(),
            written: 0,
            farewell: Vec::new(),
            is_closing: false,
        }
    }

    /// The next message. Answers to pings are gathered on the way, and the one to a close frame is kept.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        if self.is_closing || !self.farewell.is_empty() {
            return Poll::Ready(Err(Error::ConnectionClosed.into()));
        }
        loop {
            if self.unaccounted > 0 || !self.ahead.is_empty() {
                let ahead = std::mem::take(&mut self.ahead);
                let (used, received) = self.decode(&ahead[self.ahead_used..], false);
                self.ahead_used += used;
                if self.ahead_used < ahead.len() {
                    self.ahead = ahead;
                } else {
                    self.ahead_used = 0;
                }
                if let Some(received) = received {
                    return Poll::Ready(received);
                }
            }
            let received = SCRATCH.with_borrow_mut(|scratch| {
                let mut read = ReadBuf::new(scratch);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)).map_err(Error::Io)?;
                let (used, received) = self.decode(read.filled(), read.filled().is_empty());
                self.ahead = read.filled()[used..].to_vec();
                Poll::Ready(Ok(received))
            });
            match received {
                Poll::Ready(Ok(Some(received))) => return Poll::Ready(received),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.rest();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads on in what has come; returns how much of it is read, and the message or fault that this comes to.
    fn decode(&mut self, input: &[u8], has_ended: bool) -> (usize, Option<Received>) {
        let mut used = 0;
        loop {
            let Some(deflate) = &self.deflate else { return self.decode_plain(input, has_ended) };
            let plain = self.frames.run(&input[used..], |next| deflate.claims(next));
            // Messages that tungstenite has taken already come before a compressed one.
            if plain > 0 || self.unaccounted > 0 || has_ended {
                let (taken, received) = self.decode_plain(&input[used..used + plain], has_ended);
                used += taken;
                if received.is_some() {
                    return (used, received);
                }
            }
            let Some(deflate) = self.deflate.as_mut().filter(|_| used < input.len()) else {
                return (used, None);
            };
            let (taken, received) =
                deflate.take(&input[used..], self.frames.is_in_message, self.message_bytes_max);
            used += taken;
            if received.is_some() || used == input.len() {
                return (used, received);
            }
        }
    }

    /// Shows tungstenite what was read; returns how much of it it has taken, and what it makes of it.
    fn decode_plain(&mut self, input: &[u8], has_ended: bool) -> (usize, Option<Received>) {
        let message_bytes_max = self.message_bytes_max;
        let protocol = self.protocol.get_or_insert_with(|| {
            let config = WebSocketConfig::default()
                .read_buffer_size(READ_BUFFER_BYTES)
                .write_buffer_size(0)
                .max_message_size(Some(message_bytes_max))
                .max_frame_size(Some(message_bytes_max));
            Box::new(WebSocketContext::new(Role::Server, Some(config)))
        });
        let mut wire = Wire { input, has_ended, output: &mut self.gathered };
        let received = protocol.read(&mut wire);
        // Both have an answer. After that to a close it says that this is the end, as its next reading will.
        match received {
            Ok(Message::Ping(_)) => drop(protocol.flush(&mut wire)),
            Ok(Message::Close(_)) => {
                let mut wire = Wire { input: &[], has_ended: false, output: &mut self.farewell };
                drop(protocol.flush(&mut wire));
            }
            _ => {}
        }
        let used = input.len() - wire.input.len();
        self.unaccounted += used;
        self.frames.pass(&input[..used]);
        let received = match received {
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
            received => Some(received.map_err(Unreadable::from)),
        };
        if let Some(Ok(message)) = &received {
            self.unaccounted = self.unaccounted.saturating_sub(least_bytes(message.len()));
        }
        (used, received)
    }

    /// What this holds: what was read ahead, half a message with the room that is made for the rest of its frame, and
    /// what the client has not taken.
    pub(super) fn held_bytes(&self) -> usize {
        let buffered = match self.protocol {
            // The fragments of a message are gathered in an array that may be twice as long.
            Some(_) => READ_BUFFER_BYTES + 2 * self.unaccounted + self.frames.payload_left(),
            None => 0,
        };
        let packed = self.deflate.as_ref().map_or(0, |deflate| deflate.held_bytes());
        self.ahead.capacity() + buffered + packed + self.gathered.capacity()
    }

    /// Gives back what an idle client does not need.
    fn rest(&mut self) {
        if self.unaccounted == 0 && !self.is_closing && self.farewell.is_empty() {
            self.protocol = None;
        }
    }

    /// Adds a text message, compressed if that was agreed on and makes it shorter.
    pub(super) fn send(&mut self, text: &Text<'_>) {
        if self.is_closing {
            return;
        }
        self.take_spare();
        let is_put = match &mut self.deflate {
            Some(deflate) => deflate.put(text, &mut self.gathered),
            None => false,
        };
        if !is_put {
            self.put(&text.pieces());
        }
    }

    /// What was compressed since this was last asked.
    pub(super) fn take_tally(&mut self) -> Option<Tally> {
        self.deflate.as_mut().map(|deflate| deflate.take_tally())
    }

    /// Adds a text message, given in pieces.
    fn put(&mut self, pieces: &[&[u8]]) {
        if self.is_closing {
            return;
        }
        self.take_spare();
        write_head(TEXT, pieces.iter().map(|piece| piece.len()).sum(), &mut self.gathered);
        pieces.iter().for_each(|piece| self.gathered.extend_from_slice(piece));
    }

    /// Asks the client for a sign of life.
    pub(super) fn ping(&mut self) {
        self.write(Message::Ping(Bytes::new()));
    }

    /// Adds a close frame; nothing follows it.
    pub(super) fn close(&mut self, frame: CloseFrame) {
        self.write(Message::Close(Some(frame)));
        self.is_closing = true;
    }

    /// Adds the answer to the client's close frame, if it sent one; nothing follows it.
    pub(super) fn part(&mut self) {
        if !self.is_closing {
            self.gathered.append(&mut self.farewell);
            self.is_closing = true;
        }
    }

    fn write(&mut self, message: Message) {
        if self.is_closing || !self.farewell.is_empty() {
            return;
        }
        let mut wire = Wire { input: &[], has_ended: false, output: &mut self.gathered };
        // Without a buffer of its own it writes at once.
        let config = WebSocketConfig::default().read_buffer_size(0).write_buffer_size(0);
        let written = match &mut self.protocol {
            Some(protocol) => protocol.write(&mut wire, message),
            None => WebSocketContext::new(Role::Server, Some(config)).write(&mut wire, message),
        };
        // A buffer takes everything; but after an error of the protocol's nothing is written any more.
        drop(written);
    }

    /// Whether something waits to be written.
    pub(super) fn has_gathered(&self) -> bool {
        !self.gathered.is_empty()
    }

    fn take_spare(&mut self) {
        if self.gathered.capacity() == 0 {
            self.gathered = SPARE.take();
        }
    }

    /// Writes what has gathered.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.gathered.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.gathered[self.written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.written += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.keep_unwritten();
                    return Poll::Pending;
                }
            }
        }
        self.written = 0;
        let mut empty = std::mem::take(&mut self.gathered);
        empty.clear();
        give_spare(empty);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// A client that is slow keeps what it has not taken, and no more.
    fn keep_unwritten(&mut self) {
        if self.gathered.capacity() > 2 * (self.gathered.len() - self.written) {
            let unwritten = self.gathered[self.written..].to_vec();
            self.written = 0;
            let mut empty = std::mem::replace(&mut self.gathered, unwritten);
            empty.clear();
            give_spare(empty);
        }
    }

    /// Lets go of what was read: the conversation is over, and only what is written still counts.
    pub(super) fn stop_reading(&mut self) {
        self.protocol = None;
        if let Some(deflate) = &mut self.deflate {
            deflate.stop_reading();
        }
        self.ahead = Vec::new();
        self.ahead_used = 0;
    }

    /// The stream, when the conversation is over.
    pub(super) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}

/// Follows the heads of a client's frames (RFC 6455, section 5.2), to know how much of one is yet to come.
#[derive(Default, Clone)]
struct Frames {
    /// The head of the next frame, as far as it has come.
    head: [u8; 10],
    head_bytes: u8,
    /// Bytes of the frame that are yet to come, its mask among them.
    left: u64,
    /// Whether fragments of a message are yet to come.
    is_in_message: bool,
}

impl Frames {
    /// Passes over bytes.
    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.step(bytes)..];
        }
    }

    /// How many bytes come before a frame that is another's by its first byte.
    fn run(&self, bytes: &[u8], is_others: impl Fn(u8) -> bool) -> usize {
        let (mut frames, mut passed) = (self.clone(), 0);
        while passed < bytes.len() {
            if frames.left == 0 && frames.head_bytes == 0 && is_others(bytes[passed]) {
                break;
            }
            passed += frames.step(&bytes[passed..]);
        }
        passed
    }

    /// Passes over the rest of a frame, or over one byte of a head; returns how many bytes that are.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.left > 0 {
            let passed = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.left -= passed as u64;
            return passed;
        }
        self.head[usize::from(self.head_bytes)] = bytes[0];
        self.head_bytes += 1;
        self.read_head();
        1
    }

    /// Begins to pass over the frame when its head is whole.
    fn read_head(&mut self) {
        let head = &self.head[..usize::from(self.head_bytes)];
        let [_, second, length @ ..] = head else { return };
        let wide = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if length.len() < wide {
            return;
        }
        let payload = match wide {
            0 => u64::from(second & 0x7f),
            _ => length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        self.left = payload.saturating_add(mask);
        self.head_bytes = 0;
        let first = self.head[0];
        if first & 0x0f < 8 {
            self.is_in_message = first & 0x80 == 0;
        }
    }

    /// For how much of a frame there may be room that is not filled. Longer frames than a message may be are refused by
    /// their head.
    fn payload_left(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }
}

/// Keeps an empty buffer for the thread's next socket that writes, unless there is a better one or it is huge.
fn give_spare(buffer: Vec<u8>) {
    if buffer.capacity() > SPARE_BYTES_MAX {
        return;
    }
    let kept = SPARE.take();
    SPARE.set(if kept.capacity() < buffer.capacity() { buffer } else { kept });
}

/// The fewest bytes in which a client can send a message: one frame, its length in as few bytes as can be.
fn least_bytes(payload: usize) -> usize {
    let length = match payload {
        0..126 => 0,
        126..65_536 => 2,
        _ => 8,
    };
    2 + length + 4 + payload
}

/// The head of a frame without a mask (RFC 6455, section 5.2).
pub(super) fn write_head(first: u8, payload: usize, out: &mut Vec<u8>) {
    match payload {
        0..126 => out.extend_from_slice(&[first, payload as u8]),
        126..65_536 => {
            let [high, low] = (payload as u16).to_be_bytes();
            out.extend_from_slice(&[first, 126, high, low]);
        }
        _ => {
            out.extend_from_slice(&[first, 127]);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
pub(in crate::net) mod tests;
