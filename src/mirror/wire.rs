//! A WebSocket to a relay elsewhere, as its client: connecting, encrypted or not, and texts both ways. In: an address.
//! Out: texts, and why it ended. Holds no more than a bound of what comes, and never waits for the other side to read
//! before it reads itself. Knows no verb.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink as _, Stream as _};
use hyper::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::net::https;

/// How long it may take to be connected.
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// After so long without a word the other side is asked for a sign of life, and after as long again it is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Names that are looked up at once: the system's resolver has a thread for each.
static LOOKUPS: Semaphore = Semaphore::const_new(2);

/// Bytes that are read at once.
const READ_BYTES: usize = 8 * 1024;

/// Where one may connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Wherever the operator says.
    Anywhere,
    /// What strangers name: encrypted, and at an address of the public internet.
    Public,
}

/// Why there is no connection, or no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// It could not be made.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("no connection within {} s", CONNECT_MAX.as_secs())]
    Slow,
    /// The other side ended it.
    #[error("the other side hung up{0}")]
    Ended(String),
    /// Nothing came for too long.
    #[error("the other side is silent")]
    Silent,
    /// It does not keep to the protocol, or sends more than is read.
    #[error("the connection broke: {0}")]
    Broken(String),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// An open connection.
pub(super) struct Wire {
    socket: WebSocketStream<Box<dyn Stream>>,
    /// What is yet to be written.
    waiting: VecDeque<Message>,
    heard_at: Instant,
    is_asked: bool,
}

/// Whether an address belongs to the public internet: not to this machine, its networks, or a special use.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            let is_benchmark = a == 198 && (b == 18 || b == 19);
            let is_protocol = (a, b, c) == (192, 0, 0) || (a, b, c) == (192, 88, 99);
            !(a == 0
                || a >= 224
                || v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || is_shared
                || is_benchmark
                || is_protocol)
        }
        IpAddr::V6(v6) => {
            let [first, second, third, ..] = v6.segments();
            // Of the part that is given out (2000::/3): not documentation, nor what carries an IPv4 address within it,
            // by which a private one could be reached, nor other special uses.
            first & 0xe000 == 0x2000
                && first != 0x2002
                && !(first == 0x2001 && (second < 0x0200 || second == 0x0db8))
                && !(first == 0x3fff && second < 0x1000)
                && !(first == 0x2620 && second == 0x004f && third == 0x8000)
        }
    }
}

/// Connects; messages have at most so many bytes.
pub(super) async fn connect(url: &str, reach: Reach, message_bytes_max: usize) -> Result<Wire, Lost> {
    let connected = timeout(CONNECT_MAX, reach_out(url, reach, message_bytes_max)).await;
    let socket = connected.unwrap_or(Err(Lost::Slow))?;
    Ok(Wire { socket, waiting: VecDeque::new(), heard_at: Instant::now(), is_asked: false })
}

async fn reach_out(
    url: &str,
    reach: Reach,
    message_bytes_max: usize,
) -> Result<WebSocketStream<Box<dyn Stream>>, Lost> {
    let failed = |what: String| Lost::Unreachable(what);
    let uri: Uri = url.parse().map_err(|error| failed(format!("{url} is no address: {error}")))?;
    let (is_encrypted, host) = match (uri.scheme_str(), uri.host()) {
        (Some("wss"), Some(host)) => (true, host),
        (Some("ws"), Some(host)) if reach == Reach::Anywhere => (false, host),
        _ => return Err(failed(format!("{url} is no address to connect to"))),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
    let addresses = addresses_of(host, port, reach).await.map_err(failed)?;
    // The addresses that were judged, and no others: a name may mean something else a moment later.
    let tcp = TcpStream::connect(addresses.as_slice()).await;
    let tcp = tcp.map_err(|error| failed(format!("no connection to {host}: {error}")))?;
    let _ = tcp.set_nodelay(true);
    let stream: Box<dyn Stream> = match is_encrypted {
        false => Box::new(tcp),
        true => {
            let config = https::trusting_system().await.map_err(|error| failed(error.to_string()))?;
            let name = ServerName::try_from(host.to_owned());
            let name = name.map_err(|error| failed(format!("{host} is no name of a host: {error}")))?;
            let tls = TlsConnector::from(config).connect(name, tcp).await;
            Box::new(tls.map_err(|error| failed(format!("no TLS with {host}: {error}")))?)
        }
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max))
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0);
    let upgraded = client_async_with_config(url, stream, Some(config)).await;
    Ok(upgraded.map_err(|error| failed(format!("{host} does not speak WebSocket: {error}")))?.0)
}

/// Where a host is, as far as one may connect to it.
async fn addresses_of(host: &str, port: u16, reach: Reach) -> Result<Vec<SocketAddr>, String> {
    // Never closed.
    let _turn = LOOKUPS.acquire().await;
    let found = lookup_host((host, port)).await.map_err(|error| format!("{host} is not found: {error}"))?;
    let addresses: Vec<SocketAddr> =
        found.filter(|address| reach == Reach::Anywhere || is_public(address.ip())).collect();
    match addresses.is_empty() {
        true => Err(format!("{host} has no address that may be connected to")),
        false => Ok(addresses),
    }
}

impl Wire {
    /// Says something, as soon as the other side takes it.
    pub(super) fn say(&mut self, text: String) {
        self.waiting.push_back(Message::text(text));
    }

    /// How many messages wait for the other side to take them.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The next text. Writes what waits meanwhile. May be given up at any moment and called again.
    pub(super) async fn hear(&mut self) -> Result<Utf8Bytes, Lost> {
        loop {
            let patience = self.heard_at + if self.is_asked { 2 * SILENCE } else { SILENCE };
            let message = tokio::select! {
                message = poll_fn(|cx| self.poll(cx)) => message?,
                () = sleep_until(patience) => {
                    if self.is_asked {
                        return Err(Lost::Silent);
                    }
                    self.is_asked = true;
                    self.waiting.push_back(Message::Ping(Vec::new().into()));
                    continue;
                }
            };
            (self.heard_at, self.is_asked) = (Instant::now(), false);
            match message {
                Message::Text(text) => return Ok(text),
                Message::Close(frame) => {
                    let why = frame.map(|frame| format!(": {}", frame.reason)).filter(|why| why.len() > 2);
                    return Err(Lost::Ended(why.unwrap_or_default()));
                }
                Message::Binary(_) => return Err(Lost::Broken("a binary message came".to_owned())),
                _ => {}
            }
        }
    }

    /// Writes what waits as far as it is taken, and reads.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Lost>> {
        let mut socket = Pin::new(&mut self.socket);
        while !self.waiting.is_empty() && socket.as_mut().poll_ready(cx).map_err(lost)?.is_ready() {
            if let Some(message) = self.waiting.pop_front() {
                socket.as_mut().start_send(message).map_err(lost)?;
            }
        }
        let _ = socket.as_mut().poll_flush(cx).map_err(lost)?;
        match socket.poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(message)) => Poll::Ready(message.map_err(lost)),
            Poll::Ready(None) => Poll::Ready(Err(Lost::Ended(String::new()))),
        }
    }
}

fn lost(error: Error) -> Lost {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Lost::Ended(String::new()),
        error => Lost::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        let table = [
            ("8.8.8.8", true),
            ("2606:4700::1111", true),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("127.0.0.1", false),
            ("127.255.0.1", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.0.0.8", false),
            ("192.0.2.1", false),
            ("192.168.1.1", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("64:ff9b::7f00:1", false),
            ("fe80::1", false),
            ("fc00::1", false),
            ("fd12::1", false),
            ("ff02::1", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
        ];
        for (address, expected) in table {
            assert_eq!(is_public(address.parse().expect("an address")), expected, "{address}");
        }
    }
}
