//! Sockets that the relay listens on, and what comes in by them. In: addresses, or sockets that systemd holds
//! and passes on. Out: connections that speak HTTP. Never reads what they say.
//!
//! A socket that systemd holds outlives the process: who connects while the relay restarts waits in the
//! kernel's queue and is served by the next process. So nobody who was accepted is dropped without a word:
//! who has not spoken when the relay stops may still do so for a moment.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use listenfd::ListenFd;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use super::StartError;
use super::http::{self, Connection};
use super::server::{Guard, Shared};
use super::stream::Stream;
use super::tls::Tls;
use crate::memory::{CONNECTION_BYTES, Charge, HTTP_BYTES, TLS_BYTES};

/// Connections that the kernel keeps waiting while the relay is busy accepting.
const BACKLOG: u32 = 1_024;

/// How long accepting rests when the machine has no descriptors or memory left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a stop waits for the request of who has connected and said nothing yet.
const FIRST_WORDS: Duration = Duration::from_secs(1);

/// Bytes of a request's head. Tokens in it (NIP-98) have up to half of that.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// How long a client that is turned away may take to read why.
const REFUSAL: Duration = Duration::from_secs(1);

/// The name of sockets for encrypted connections (`FileDescriptorName=` in a socket unit).
const TLS_NAME: &str = "tls";

/// Sockets that were opened before the relay started. Where there are none it opens those of its settings.
#[derive(Debug, Default)]
pub struct Sockets {
    plain: Vec<StdListener>,
    tls: Vec<StdListener>,
}

/// The sockets of a running relay.
pub(super) struct Listeners {
    pub(super) plain: Vec<TcpListener>,
    pub(super) tls: Vec<TcpListener>,
}

impl Sockets {
    /// The sockets that systemd passed to this process (`LISTEN_FDS`), if it did. May be called once.
    ///
    /// # Errors
    /// When one of them is no listening TCP socket.
    pub fn inherited() -> Result<Sockets, StartError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut passed = ListenFd::from_env();
        let mut sockets = Sockets::default();
        for number in 0..passed.len() {
            let socket = passed.take_tcp_listener(number).map_err(StartError::Inherited)?;
            match names.next() {
                Some(TLS_NAME) => sockets.tls.extend(socket),
                _ => sockets.plain.extend(socket),
            }
        }
        Ok(sockets)
    }

    /// The sockets for the runtime that is entered: those that were passed, else those at these addresses.
    pub(super) fn listen(self, server: SocketAddr, tls: Option<SocketAddr>) -> Result<Listeners, StartError> {
        if tls.is_none() && !self.tls.is_empty() {
            return Err(StartError::InheritedTls);
        }
        let listeners = Listeners {
            plain: adopt_or_open(self.plain, Some(server), "server.listen")?,
            tls: adopt_or_open(self.tls, tls, "tls.listen")?,
        };
        Ok(listeners)
    }
}

/// Sockets that were passed, or else one at the address that a setting gives.
fn adopt_or_open(
    passed: Vec<StdListener>,
    address: Option<SocketAddr>,
    setting: &'static str,
) -> Result<Vec<TcpListener>, StartError> {
    if !passed.is_empty() {
        tracing::info!("listening on {} sockets of systemd instead of {setting}", passed.len());
        return passed.into_iter().map(adopt).collect::<io::Result<_>>().map_err(StartError::Inherited);
    }
    let opened = address
        .map(|address| open(address).map_err(|reason| StartError::Listen { address, setting, reason }));
    Ok(opened.transpose()?.into_iter().collect())
}

fn adopt(socket: StdListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

pub(super) fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restarted relay must not wait for old connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until the relay stops.
pub(super) async fn accept(
    listener: TcpListener,
    tls: Option<Tls>,
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.wait() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match admit(&shared, &connections, peer, tls.is_some()) {
                Ok((guard, charge)) => {
                    shared.pipeline.meter.connections.inc();
                    let connection = Connection {
                        shared: Arc::clone(&shared),
                        peer,
                        local: stream.local_addr().ok(),
                        is_encrypted: tls.is_some(),
                        guard: Arc::new(guard),
                        _charge: charge,
                    };
                    tokio::spawn(greet(stream, tls.clone(), connection));
                }
                // There is no time for a handshake, and nothing else would be understood.
                Err(status) => {
                    shared.pipeline.meter.connections_refused.inc();
                    if tls.is_none() {
                        tokio::spawn(refuse(stream, status));
                    }
                }
            },
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Room for a connection, and for what it takes while it speaks HTTP, or the status with which it is turned away. An
/// address is held to its share from the beginning, or else one that never says what it wants could take the places of
/// all. Whom a proxy's connections are for is known later.
fn admit(
    shared: &Shared,
    connections: &Arc<Semaphore>,
    peer: SocketAddr,
    is_encrypted: bool,
) -> Result<(Guard, Charge), &'static str> {
    const NO_ROOM: &str = "503 Service Unavailable";
    let permit = Arc::clone(connections).try_acquire_owned().map_err(|_| NO_ROOM)?;
    let counted = match shared.is_proxy(peer.ip()) {
        true => None,
        false => {
            let counted = shared.count_address(shared.pipeline.rates.address(peer.ip()));
            Some(counted.ok_or("429 Too Many Requests")?)
        }
    };
    if !shared.memory().has_room_for_connections() {
        return Err(NO_ROOM);
    }
    let tls = if is_encrypted { TLS_BYTES } else { 0 };
    let charge = shared.memory().take(CONNECTION_BYTES + tls).ok_or(NO_ROOM)?;
    Ok((Guard::new(permit, counted, charge), shared.memory().take(HTTP_BYTES).ok_or(NO_ROOM)?))
}

/// Tells a client that there is no room, without reading what it wants.
async fn refuse(mut stream: TcpStream, status: &str) {
    let answer =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n");
    let _ = tokio::time::timeout(REFUSAL, stream.write_all(answer.as_bytes())).await;
}

async fn greet(stream: TcpStream, tls: Option<Tls>, connection: Connection) {
    // Answers are small and must not wait for each other.
    let _ = stream.set_nodelay(true);
    let stream = match tls {
        None => Some(Stream::Plain(stream)),
        Some(tls) => {
            let mut handshake = Box::pin(tls.accept(stream));
            tokio::select! {
                stream = &mut handshake => stream,
                () = connection.shared.stop.wait() => {
                    tokio::time::timeout(FIRST_WORDS, handshake).await.unwrap_or_default()
                }
            }
        }
    };
    if let Some(stream) = stream {
        serve(stream, connection).await;
    }
}

async fn serve(stream: Stream, connection: Connection) {
    let config = connection.shared.current.get();
    let header_time = Duration::from_secs(config.server.http_header_seconds_max);
    let taking_time = header_time + Duration::from_secs(config.server.write_timeout_seconds);
    drop(config);
    let stop = Arc::clone(&connection.shared.stop);
    let (begun, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let service = service_fn(|request| {
        begun.fetch_add(1, Ordering::Relaxed);
        let (connection, answered) = (&connection, &answered);
        async move {
            let answer = http::serve(connection, request).await;
            answered.fetch_add(1, Ordering::Relaxed);
            answer
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_time)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(serving);
    loop {
        let before = begun.load(Ordering::Relaxed);
        tokio::select! {
            // A peer that speaks no HTTP has been answered, or is gone.
            _ = &mut serving => return,
            () = stop.wait() => break,
            () = tokio::time::sleep(taking_time) => {
                // All that was asked for has its answer, and one that was idle would have been ended: the
                // client does not take what is sent.
                let begun = begun.load(Ordering::Relaxed);
                if begun == before && begun == answered.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
    if begun.load(Ordering::Relaxed) > 0 {
        // Ends at once between two requests, else after the answer.
        serving.as_mut().graceful_shutdown();
    }
    // A session that begins now is told that the relay is stopping.
    let _ = tokio::time::timeout(FIRST_WORDS, serving).await;
}
