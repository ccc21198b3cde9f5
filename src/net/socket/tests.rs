//! How a socket reads, writes and rests, over a stream whose other side is the test's.

use std::task::Waker;

use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::*;

/// A stream whose other side is the test's: what it will be given, in pieces, and what it was given.
#[derive(Default)]
pub(in crate::net) struct Ends {
    pub(in crate::net) pieces: std::collections::VecDeque<Vec<u8>>,
    pub(in crate::net) taken: Vec<u8>,
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
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
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
    socket_with(pieces, None)
}

/// The same where messages may be compressed.
pub(in crate::net) fn socket_with(
    pieces: impl IntoIterator<Item = Vec<u8>>,
    deflate: Option<Box<Deflate>>,
) -> Socket<Ends> {
    let stream = Ends { pieces: pieces.into_iter().collect(), taken: Vec::new(), room: usize::MAX };
    Socket::new(stream, Vec::new(), 300_000, deflate)
}

pub(in crate::net) fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

pub(in crate::net) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
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

pub(in crate::net) fn texts(socket: &mut Socket<Ends>) -> Vec<String> {
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
    assert!(matches!(after, Poll::Ready(Err(Unreadable::Protocol(Error::ConnectionClosed)))), "{after:?}");
    // What was asked before is still answered.
    socket.put(&[b"late"]);
    socket.part();
    socket.put(&[b"after"]);
    socket.ping();
    socket.close(CloseFrame { code: CloseCode::Away, reason: "".into() });
    assert!(socket.poll_flush(&mut context()).is_ready());
    let expected =
        [&b"\x81\x06before"[..], b"\x8a\x04ping", b"\x81\x07between", b"\x81\x04late", b"\x88\x02\x03\xe8"];
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
