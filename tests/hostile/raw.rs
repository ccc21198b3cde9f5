//! A connection of bytes: HTTP as written by hand, and WebSocket frames that no library would send.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::TestRelay;

/// How long what must come may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A TCP connection to a relay.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

/// What ends a connection, or comes before.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Frame(u8, Vec<u8>),
    /// The relay closed the connection.
    End,
}

/// A masked frame: the first byte as it is, the payload masked.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len(), 0x80);
    let mask = [0x12, 0x34, 0x56, 0x78];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A whole text as one masked frame.
pub(crate) fn text(payload: &str) -> Vec<u8> {
    frame(0x80 | TEXT, payload.as_bytes())
}

/// The first bytes of a frame that says it has `length` bytes.
pub(crate) fn head(first: u8, length: usize, masked: u8) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(masked | length as u8),
        126..=0xffff => {
            bytes.push(masked | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(masked | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes
}

impl Raw {
    /// Connects and says nothing.
    pub(crate) fn connect(relay: &TestRelay) -> Raw {
        Raw::to(relay.relay().address())
    }

    /// The same to an address.
    pub(crate) fn to(address: SocketAddr) -> Raw {
        Raw::over(TcpStream::connect(address).expect("the relay accepts"))
    }

    /// The same over a connection that there is.
    pub(crate) fn over(stream: TcpStream) -> Raw {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Raw { stream }
    }

    /// Connects, upgrades with further headers, and returns the status that was answered.
    pub(crate) fn try_open(relay: &TestRelay, headers: &str) -> (Raw, u16) {
        let mut raw = Raw::connect(relay);
        let status = raw.upgrade(headers);
        (raw, status)
    }

    /// Asks for an upgrade with further headers; returns the status that was answered.
    pub(crate) fn upgrade(&mut self, headers: &str) -> u16 {
        let head = format!(
            "GET / HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        // A relay without room answers and closes before it has read this.
        let _ = self.stream.write_all(head.as_bytes());
        self.status()
    }

    /// A WebSocket connection to an address, whose greeting has been read.
    pub(crate) fn open_at(address: SocketAddr) -> Raw {
        let mut raw = Raw::to(address);
        assert_eq!(raw.upgrade(""), 101);
        assert_eq!(raw.message()[0], "AUTH");
        raw
    }

    /// A WebSocket connection whose greeting has been read.
    pub(crate) fn open(relay: &TestRelay) -> Raw {
        Raw::open_with(relay, "")
    }

    /// The same with further headers.
    pub(crate) fn open_with(relay: &TestRelay, headers: &str) -> Raw {
        let (mut raw, status) = Raw::try_open(relay, headers);
        assert_eq!(status, 101);
        assert_eq!(raw.message()[0], "AUTH");
        raw
    }

    /// A WebSocket connection, as soon as the relay has counted out earlier ones that have left.
    pub(crate) fn connect_when_there_is_room(relay: &TestRelay) -> Raw {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (mut raw, status) = Raw::try_open(relay, "");
            if status == 101 {
                assert_eq!(raw.message()[0], "AUTH");
                return raw;
            }
            assert_eq!(status, 503);
            assert!(Instant::now() < deadline, "there is never room again");
        }
    }

    /// Reads the head of an HTTP answer; returns its status.
    pub(crate) fn status(&mut self) -> u16 {
        let head = self.head();
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    /// Reads the head of an HTTP answer.
    pub(crate) fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            let read = self.stream.read(&mut byte).expect("an HTTP answer");
            assert_ne!(read, 0, "the answer ends within its head: {}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        String::from_utf8(head).expect("a head is text")
    }

    /// All that comes until the relay ends the connection, in order or not.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let (mut all, mut bytes) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return all,
                Ok(read) => all.extend_from_slice(&bytes[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the connection does not end after {}", String::from_utf8_lossy(&all))
                }
                Err(_) => return all,
            }
        }
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the relay reads");
    }

    /// Sends the same again and again, and reads nothing, until the relay ends the connection.
    pub(crate) fn says_until_it_is_let_go(&mut self, bytes: &[u8]) {
        let began = Instant::now();
        let end = loop {
            assert!(began.elapsed() < PATIENCE, "it is never let go");
            if let Err(error) = self.stream.write_all(bytes) {
                break error.kind();
            }
        };
        assert!(!matches!(end, ErrorKind::WouldBlock | ErrorKind::TimedOut), "it waits for ever");
    }

    /// Sends a text message.
    pub(crate) fn say(&mut self, message: &str) {
        self.send(&text(message));
    }

    fn take(&mut self, bytes: &mut [u8]) -> bool {
        match self.stream.read_exact(bytes) {
            Ok(()) => true,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came in time")
            }
            Err(_) => false,
        }
    }

    /// The next frame, or the end.
    pub(crate) fn hear(&mut self) -> Heard {
        match self.hear_frame() {
            Some((first, payload)) => Heard::Frame(first & 0x0f, payload),
            None => Heard::End,
        }
    }

    /// The first byte and the payload of the next frame, unless this is the end.
    pub(crate) fn hear_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut start = [0; 2];
        if !self.take(&mut start) {
            return None;
        }
        assert_eq!(start[1] & 0x80, 0, "a server masks nothing");
        let mut wide = [0; 8];
        let length = match start[1] {
            126 => {
                assert!(self.take(&mut wide[6..]));
                u64::from_be_bytes(wide) as usize
            }
            127 => {
                assert!(self.take(&mut wide));
                u64::from_be_bytes(wide) as usize
            }
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.take(&mut payload).then_some((start[0], payload))
    }

    /// The next message, which must be a text.
    pub(crate) fn message(&mut self) -> Value {
        match self.hear() {
            Heard::Frame(TEXT, payload) => serde_json::from_slice(&payload).expect("the relay speaks JSON"),
            Heard::Frame(code, payload) => panic!("frame {code}: {}", String::from_utf8_lossy(&payload)),
            Heard::End => panic!("the connection ended"),
        }
    }

    /// The code of the close frame that must come next; the connection ends after it.
    pub(crate) fn closed(&mut self) -> u16 {
        let payload = match self.hear() {
            Heard::Frame(CLOSE, payload) => payload,
            other => panic!("a close frame was awaited, not {other:?}"),
        };
        let _ = self.stream.write_all(&frame(0x80 | CLOSE, &payload[..2]));
        self.ends();
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// Asserts that the relay ends the connection, whatever it says before.
    pub(crate) fn ends(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut bytes = vec![0; 1 << 16];
        loop {
            assert!(Instant::now() < deadline, "the connection does not end");
            match self.stream.read(&mut bytes) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the connection does not end")
                }
                Err(_) => return,
            }
        }
    }

    /// Asserts that the connection works: a query is answered next.
    pub(crate) fn works(&mut self) {
        self.say(r#"["COUNT","works",{"ids":[]}]"#);
        assert_eq!(self.message().to_string(), r#"["COUNT","works",{"count":0}]"#);
    }

    /// Says that nothing more will be sent, and goes on reading.
    pub(crate) fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("an open connection");
    }
}

/// Waits for a state that must come.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
