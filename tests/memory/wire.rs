//! Connections of bytes: HTTP as written by hand, frames with a mask of 0, and buffers as small as the kernel makes
//! them, so that what is not read stays with the relay.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

/// How long what must come may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that takes little of what it is sent. Writing waits no longer than a while: what the relay does not read
/// need not be sent.
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4_096)?;
        socket.connect(address).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    Ok(stream)
}

/// Connects and upgrades, with further headers.
pub(crate) fn try_upgrade(address: SocketAddr, headers: &str) -> io::Result<TcpStream> {
    let mut stream = connect(address)?;
    let head = format!(
        "GET / HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    match answer.starts_with(b"HTTP/1.1 101") {
        true => Ok(stream),
        false => Err(io::Error::other("no room")),
    }
}

/// A text as a frame.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let mut bytes = head(text.len());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// The head of a frame with a text of so many bytes.
pub(crate) fn head(length: usize) -> Vec<u8> {
    let mut bytes = vec![0x81];
    match length {
        0..126 => bytes.push(0x80 | length as u8),
        126..65_536 => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// The next text or close frame; nothing at the end.
pub(crate) fn hear(stream: &mut TcpStream) -> Option<String> {
    let mut start = [0; 2];
    stream.read_exact(&mut start).ok()?;
    let mut wide = [0; 8];
    let length = match start[1] {
        126 => {
            stream.read_exact(&mut wide[6..]).ok()?;
            u64::from_be_bytes(wide) as usize
        }
        127 => {
            stream.read_exact(&mut wide).ok()?;
            u64::from_be_bytes(wide) as usize
        }
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).ok()?;
    Some(String::from_utf8_lossy(&payload).into_owned())
}

/// Tries until it succeeds: the relay may have no room at the first moment.
pub(crate) fn until_there_is_room<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(Instant::now() < deadline, "there is never room");
        std::thread::sleep(Duration::from_millis(20));
    }
}
