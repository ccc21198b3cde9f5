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
pub(super) type Received = Result<Message, Error>;

/// See the module.
pub(super) struct Socket<S> {
    stream: S,
    /// tungstenite's state; `None` while a client is between two messages.
    protocol: Option<Box<WebSocketContext>>,
    message_bytes_max: usize,
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
    pub(super) fn new(stream: S, ahead: Vec<u8>, message_bytes_max: usize) -> Self {
        Socket {
            stream,
            protocol: None,
            message_bytes_max,
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
            return Poll::Ready(Err(Error::ConnectionClosed));
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

    /// Shows tungstenite what was read; returns how much of it it has taken, and what it makes of it.
    fn decode(&mut self, input: &[u8], has_ended: bool) -> (usize, Option<Received>) {
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
            received => Some(received),
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
        self.ahead.capacity() + buffered + self.gathered.capacity()
    }

    /// Gives back what an idle client does not need.
    fn rest(&mut self) {
        if self.unaccounted == 0 && !self.is_closing && self.farewell.is_empty() {
            self.protocol = None;
        }
    }

    /// Adds a text message, given in pieces.
    pub(super) fn put(&mut self, pieces: &[&[u8]]) {
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
        self.ahead = Vec::new();
        self.ahead_used = 0;
    }

    /// The stream, when the conversation is over.
    pub(super) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}

/// Follows the heads of a client's frames (RFC 6455, section 5.2), to know how much of one is yet to come.
#[derive(Default)]
struct Frames {
    /// The head of the next frame, as far as it has come.
    head: [u8; 10],
    head_bytes: u8,
    /// Bytes of the frame that are yet to come, its mask among them.
    left: u64,
}

impl Frames {
    /// Passes over bytes.
    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let passed = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.left -= passed as u64;
            bytes = &bytes[passed..];
            let Some((byte, rest)) = bytes.split_first() else { return };
            self.head[usize::from(self.head_bytes)] = *byte;
            self.head_bytes += 1;
            bytes = rest;
            self.read_head();
        }
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
fn write_head(first: u8, payload: usize, out: &mut Vec<u8>) {
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
mod tests {
    use std::task::Waker;

    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

    use super::*;

    /// A stream whose other side is the test's: what it will be given, in pieces, and what it was given.
    #[derive(Default)]
    struct Ends {
        pieces: std::collections::VecDeque<Vec<u8>>,
        taken: Vec<u8>,
        /// How many bytes it still takes.
        room: usize,
    }

    impl AsyncRead for Ends {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let Some(piece) = self.pieces.pop_front() else { return Poll::Pending };
            out.put_slice(&piece);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Ends {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.room).min(1_000);
            if taken == 0 {
                return Poll::Pending;
            }
            self.room -= taken;
            self.taken.extend_from_slice(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn socket(pieces: impl IntoIterator<Item = Vec<u8>>) -> Socket<Ends> {
        let stream = Ends { pieces: pieces.into_iter().collect(), taken: Vec::new(), room: usize::MAX };
        Socket::new(stream, Vec::new(), 300_000)
    }

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![opcode];
        write_head(opcode, payload.len(), &mut out);
        out.remove(0);
        out[1] |= 0x80;
        let head = out.len();
        out.extend_from_slice(&[1, 2, 3, 4]);
        out.extend_from_slice(payload);
        for (at, byte) in out[head + 4..].iter_mut().enumerate() {
            *byte ^= [1, 2, 3, 4][at % 4];
        }
        out
    }

    /// A text as tungstenite frames it.
    fn framed(role: Role, text: String) -> Vec<u8> {
        let mut out = Vec::new();
        let mut wire = Wire { input: &[], has_ended: false, output: &mut out };
        let mut protocol = WebSocketContext::new(role, None);
        protocol.write(&mut wire, Message::text(text)).expect("a frame");
        protocol.flush(&mut wire).expect("a frame");
        out
    }

    fn texts(socket: &mut Socket<Ends>) -> Vec<String> {
        let mut texts = Vec::new();
        while let Poll::Ready(received) = socket.poll_receive(&mut context()) {
            if let Message::Text(text) = received.expect("a message") {
                texts.push(text.to_string());
            }
        }
        texts
    }

    #[test]
    fn texts_are_framed_as_tungstenite_frames_them() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 200_000] {
            let text = "x".repeat(length);
            let (one, other) = text.as_bytes().split_at(length / 3);
            let mut socket = socket([]);
            socket.put(&[one, other, b""]);
            let _ = socket.poll_flush(&mut context());
            let twin = framed(Role::Server, text);
            assert_eq!(socket.stream.taken.len(), twin.len());
            assert!(socket.stream.taken == twin, "{length}");
        }
    }

    #[test]
    fn what_a_client_needs_at_least_is_what_tungstenite_counts() {
        for length in [0_usize, 125, 126, 65_535, 65_536, 200_000] {
            assert_eq!(least_bytes(length), framed(Role::Client, "x".repeat(length)).len(), "{length}");
        }
    }

    #[test]
    fn between_messages_nothing_is_kept_and_nothing_is_lost() {
        let long = "x".repeat(150_000);
        let messages = ["a".to_owned(), long, String::new(), "b".repeat(126), "c".repeat(5_000)];
        let frames: Vec<u8> = messages.iter().flat_map(|text| masked(TEXT, text.as_bytes())).collect();
        for piece_bytes in [1, 7, 1_000, READ_BYTES_MAX] {
            let mut socket = socket(frames.chunks(piece_bytes).map(<[u8]>::to_vec));
            assert_eq!(texts(&mut socket), messages, "{piece_bytes}");
            assert!(socket.protocol.is_none(), "{piece_bytes}");
            assert_eq!((socket.ahead.capacity(), socket.gathered.capacity()), (0, 0));
        }
        // In the midst of a message its state stays, wherever it is cut.
        for cut in 1..20 {
            let frame = masked(TEXT, b"twenty bytes or more");
            let mut socket = socket([frame[..cut].to_vec()]);
            assert_eq!(texts(&mut socket), [""; 0]);
            socket.stream.pieces.push_back(frame[cut..].to_vec());
            assert_eq!(texts(&mut socket), ["twenty bytes or more"]);
            assert!(socket.protocol.is_none());
        }
        // So it does between the fragments of one.
        let mut socket = socket([masked(0x01, b"one "), masked(0x00, b"and ")]);
        assert_eq!(texts(&mut socket), [""; 0]);
        socket.stream.pieces.push_back(masked(0x80, b"two"));
        assert_eq!(texts(&mut socket), ["one and two"]);
    }

    #[test]
    fn half_a_message_counts_with_the_room_that_is_made_for_it() {
        let long = masked(TEXT, &[b'x'; 200_000]);
        for cut in [14, 1_000, 70_000, 199_000] {
            let pieces = |bytes: &[u8]| bytes.chunks(READ_BYTES_MAX).map(<[u8]>::to_vec).collect::<Vec<_>>();
            let mut socket = socket(pieces(&long[..cut]));
            assert_eq!(texts(&mut socket), [""; 0]);
            let held = socket.held_bytes();
            assert!((200_000..500_000).contains(&held), "{cut}: {held}");
            socket.stream.pieces.extend(pieces(&long[cut..]));
            assert_eq!(texts(&mut socket).len(), 1);
            assert_eq!(socket.held_bytes(), 0, "{cut}");
        }
        // Who is sent away in the midst of one holds nothing, and is told why.
        let mut left = socket([long[..60_000].to_vec()]);
        assert_eq!(texts(&mut left), [""; 0]);
        left.stop_reading();
        assert_eq!(left.held_bytes(), 0);
        left.close(CloseFrame { code: CloseCode::Again, reason: "".into() });
        assert!(left.poll_flush(&mut context()).is_ready());
        assert_eq!(left.stream.taken, b"\x88\x02\x03\xf5");
        // Fragments count by what has come, and by the head of the next one.
        let mut fragments = masked(0x01, &[b'x'; 50_000]);
        fragments.extend(&masked(0x00, &[b'y'; 100_000])[..20]);
        let mut socket = socket([fragments]);
        assert_eq!(texts(&mut socket), [""; 0]);
        assert!((150_000..300_000).contains(&socket.held_bytes()), "{}", socket.held_bytes());
    }

    #[test]
    fn heads_of_frames_are_followed_wherever_they_are_cut() {
        let lengths = [0_usize, 1, 125, 126, 65_535, 65_536, 3];
        let frames: Vec<u8> = lengths.iter().flat_map(|length| masked(TEXT, &vec![b'x'; *length])).collect();
        for piece in [1, 3, 10, 1_000, frames.len()] {
            let mut followed = Frames::default();
            frames.chunks(piece).for_each(|piece| followed.pass(piece));
            assert_eq!((followed.left, followed.head_bytes), (0, 0), "{piece}");
            followed.pass(&masked(TEXT, &[b'x'; 70_000])[..100]);
            assert_eq!(followed.payload_left(), 70_000 + 14 - 100, "{piece}");
        }
    }

    #[test]
    fn answers_stand_between_texts_and_nothing_follows_a_close() {
        let mut socket = socket([masked(0x89, b"ping"), masked(0x88, &1000_u16.to_be_bytes())]);
        socket.put(&[b"before"]);
        assert!(matches!(socket.poll_receive(&mut context()), Poll::Ready(Ok(Message::Ping(_)))));
        socket.put(&[b"be", b"tween"]);
        assert!(matches!(socket.poll_receive(&mut context()), Poll::Ready(Ok(Message::Close(_)))));
        let after = socket.poll_receive(&mut context());
        assert!(matches!(after, Poll::Ready(Err(Error::ConnectionClosed))), "{after:?}");
        // What was asked before is still answered.
        socket.put(&[b"late"]);
        socket.part();
        socket.put(&[b"after"]);
        socket.ping();
        socket.close(CloseFrame { code: CloseCode::Away, reason: "".into() });
        assert!(socket.poll_flush(&mut context()).is_ready());
        let expected = [
            &b"\x81\x06before"[..],
            b"\x8a\x04ping",
            b"\x81\x07between",
            b"\x81\x04late",
            b"\x88\x02\x03\xe8",
        ];
        assert_eq!(socket.stream.taken, expected.concat());
    }

    #[test]
    fn what_a_slow_client_has_not_taken_is_all_that_is_kept() {
        let mut socket = socket([]);
        socket.stream.room = 9_990;
        let body = vec![b'x'; 9_996];
        socket.put(&[&body]);
        assert!(socket.poll_flush(&mut context()).is_pending());
        assert!(socket.gathered.capacity() <= 20, "{}", socket.gathered.capacity());
        socket.put(&[b"more"]);
        socket.stream.room = usize::MAX;
        assert!(socket.poll_flush(&mut context()).is_ready());
        assert!(socket.stream.taken.ends_with(b"xxxxxxxxxx\x81\x04more"));
        assert_eq!((socket.stream.taken.len(), socket.gathered.capacity()), (10_006, 0));
    }
}
