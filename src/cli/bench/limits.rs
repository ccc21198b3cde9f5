//! What the machine could do at best, measured in the same run: signatures that its cores verify, writes that
//! its disk makes durable, and messages that its kernel takes for sockets. In: events, a folder, a number. Out: rates
//! and times. No relay takes part.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use secp256k1::{XOnlyPublicKey, schnorr};

use super::Failure;
use super::connections::allow_descriptors;
use super::process::cpu_seconds;
use crate::event::Event;
use crate::usage;

/// Signatures that are verified on each core.
const SIGNATURES: usize = 20_000;

/// How long writes are synced, and how many at most.
const SYNC_TIME: Duration = Duration::from_secs(2);
const SYNCS_MAX: usize = 2_000;

/// Sockets that are sent to, how many of them each time, and for how long.
const SOCKETS: usize = 1_000;
const SENT_AT_ONCE: usize = 300;
const SEND_TIME: Duration = Duration::from_secs(4);

/// Signatures that were verified on all cores, with nothing else to do.
#[derive(Default)]
pub(super) struct Signatures {
    count: f64,
    seconds: f64,
    cpu: f64,
}

impl Signatures {
    /// Verifies those of some events, on each core. What the machine does for others varies by the minute, so this is
    /// done before and after what is compared with it.
    pub(super) fn verify(&mut self, events: &[Event]) -> Result<(), Failure> {
        let events = &events[..events.len().min(SIGNATURES)];
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let (began, before) = (Instant::now(), cpu_seconds(std::process::id())?);
        std::thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    for event in events {
                        let signature = schnorr::Signature::from_byte_array(event.sig.0);
                        let key = XOnlyPublicKey::from_byte_array(event.pubkey.0);
                        let is_true =
                            key.is_ok_and(|key| schnorr::verify(&signature, &event.id.0, &key).is_ok());
                        assert!(is_true, "the corpus is signed");
                    }
                });
            }
        });
        self.count += (events.len() * cores) as f64;
        self.seconds += began.elapsed().as_secs_f64();
        self.cpu += cpu_seconds(std::process::id())? - before;
        Ok(())
    }

    /// How many a second.
    pub(super) fn per_second(&self) -> f64 {
        self.count / self.seconds
    }

    /// The CPU for each, in microseconds: the steadier figure where others use the machine too.
    pub(super) fn micros(&self) -> f64 {
        self.cpu / self.count * 1e6
    }
}

/// How many appended writes of 4 KiB a file in this folder makes durable in a second, one after the other.
pub(super) fn syncs_per_second(folder: &Path) -> Result<f64, Failure> {
    let path = folder.join("syncs");
    let mut file = File::create(&path)?;
    let began = Instant::now();
    let mut syncs = 0;
    while syncs < SYNCS_MAX && began.elapsed() < SYNC_TIME {
        file.write_all(&[0; 4_096])?;
        file.sync_data()?;
        syncs += 1;
    }
    let rate = syncs as f64 / began.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}

/// Messages of so many bytes, so many times a second to hundreds of TCP connections of this machine whose reader waits
/// for them: the CPU that one takes from who sends it, in microseconds. It is what the kernel does for one `send` by one thread
/// that does nothing else: a relay that sends each event by itself takes about as much, and its own work besides.
pub(super) fn send_micros(bytes: usize, times_per_second: f64) -> Result<f64, Failure> {
    let (mut senders, receivers) = connected(allow_descriptors(2 * SOCKETS)? / 2)?;
    let reading = std::thread::spawn(move || read_all(receivers));
    let (message, pause) = (vec![b'x'; bytes], Duration::from_secs_f64(1.0 / times_per_second));
    let cpu = || usage::thread_cpu_seconds().ok_or("unreadable /proc stat");
    let (began, before) = (Instant::now(), cpu()?);
    let (mut sent, mut next) = (0, 0);
    while began.elapsed() < SEND_TIME {
        for _ in 0..SENT_AT_ONCE {
            senders[next].write_all(&message)?;
            // Others each time, as an author's followers are.
            next = (next + 7) % senders.len();
        }
        sent += SENT_AT_ONCE;
        std::thread::sleep(pause);
    }
    let spent = cpu()? - before;
    drop(senders);
    reading.join().map_err(|_| "a reader panicked")??;
    Ok(spent / sent as f64 * 1e6)
}

/// Pairs of connected sockets: who sends, who receives.
fn connected(pairs: usize) -> std::io::Result<(Vec<TcpStream>, Vec<TcpStream>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let pair = |_| {
        let receiver = TcpStream::connect(address)?;
        let (sender, _) = listener.accept()?;
        sender.set_nodelay(true)?;
        Ok((sender, receiver))
    };
    (0..pairs).map(pair).collect()
}

/// Reads all that comes, until every connection is closed.
fn read_all(receivers: Vec<TcpStream>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut reading = Vec::new();
        for receiver in receivers {
            receiver.set_nonblocking(true)?;
            let stream = tokio::net::TcpStream::from_std(receiver)?;
            reading.push(tokio::task::spawn_local(async move {
                let mut buffer = [0; 8_192];
                loop {
                    stream.readable().await?;
                    match stream.try_read(&mut buffer) {
                        Ok(0) => return Ok(()),
                        Ok(_) => {}
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
            }));
        }
        for one in reading {
            one.await.map_err(std::io::Error::other)??;
        }
        Ok(())
    })
}
