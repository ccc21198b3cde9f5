//! Gives copies of this node's store to nodes that ask. In: what they ask for. Out: a backup in a folder of the store's,
//! and pieces of its files. One copy at a time; it goes when it was fetched, or when nobody asks for it any more.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::{Client, Message};
use bytes::Bytes;
use crossbeam_channel::Sender;
use futures_util::StreamExt as _;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::super::{Entry, Log, What};
use super::wire::{self, Call, Offer, Told, Wanted};
use super::{GIVEN, PIECE_BYTES_MAX, to_all, to_one};
use crate::backup::{BackupError, Writer};
use crate::clock::Clock;
use crate::community::LOCAL_STATE;
use crate::pipeline::writer::WriterInput;
use crate::store::copy::Piece;
use crate::store::{Store, StoreError, swap};
use crate::words;

/// A copy that nobody asks for in this time goes.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How often it is looked whether somebody still asks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// In this time the writer notes where it is.
const NOTE_TIME: Duration = Duration::from_secs(10);

pub(in super::super) struct Giver {
    pub(in super::super) log: Arc<Log>,
    pub(in super::super) client: Client,
    pub(in super::super) store: Arc<Store>,
    pub(in super::super) writer: Sender<WriterInput>,
    /// Bytes of the disk that must be left.
    pub(in super::super) free_bytes_min: u64,
    /// The copy that is given now.
    pub(in super::super) given: Option<Given>,
}

/// A copy for another node.
pub(in super::super) struct Given {
    number: u64,
    to: String,
    folder: PathBuf,
    asked_at: Instant,
    /// While it is made.
    making: Option<JoinHandle<Result<(), Unmade>>>,
    /// Why it could not be made.
    failed: Option<String>,
    ends: Ends,
}

/// Ends the making of a copy when nobody wants it any more.
struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
enum Unmade {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("its own store is damaged: {0}")]
    Damaged(String),
    #[error("its writer does not move")]
    Stuck,
    #[error("nobody wants it any more")]
    Unwanted,
}

impl Giver {
    /// Answers those who ask, as long as the node runs.
    pub(in super::super) async fn run(mut self) {
        loop {
            if let Err(error) = self.serve().await {
                tracing::debug!("nobody can ask this node for a copy: {error}");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn serve(&mut self) -> Result<(), async_nats::SubscribeError> {
        let mut calls = self.client.subscribe(to_all(&self.log)).await?;
        let mut asked = self.client.subscribe(to_one(&self.log, self.log.process)).await?;
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                call = calls.next() => match call {
                    Some(call) => self.offer(&call).await,
                    None => return Ok(()),
                },
                wanted = asked.next() => match wanted {
                    Some(wanted) => self.answer(&wanted).await,
                    None => return Ok(()),
                },
                _ = looks.tick() => self.look().await,
            }
        }
    }

    /// Tells who calls all nodes whether this one can give a copy.
    async fn offer(&self, message: &Message) {
        let Some(call) = wire::read::<Call>(&message.payload) else { return };
        if call.from == self.log.settings.node {
            return;
        }
        let offer = Offer {
            node: self.log.settings.node.clone(),
            process: self.log.process,
            position: *self.log.applied.borrow(),
            refuses: self.refuses(&call),
        };
        self.reply(message, wire::write(&offer)).await;
    }

    /// Why it gives no copy to a node, if it does not.
    fn refuses(&self, call: &Call) -> Option<String> {
        if self.log.unready().is_some() || self.log.stream.load(Ordering::Acquire) != call.stream {
            return Some("it is not ready itself".to_owned());
        }
        if *self.log.applied.borrow() < call.after {
            return Some("it is behind itself".to_owned());
        }
        if let Some(given) = self.given.as_ref().filter(|given| given.to != call.from) {
            return Some(format!("it gives one to {} now", given.to));
        }
        let needed = self.store.disk_bytes().unwrap_or(u64::MAX).saturating_add(self.free_bytes_min);
        match self.store.disk_free_bytes() {
            Ok(Some(free)) if free < needed => Some(format!(
                "its disk has {} left, and a copy may take {}",
                words::bytes(free),
                words::bytes(needed)
            )),
            _ => None,
        }
    }

    async fn answer(&mut self, message: &Message) {
        let Some(wanted) = wire::read::<Wanted>(&message.payload) else { return };
        let is_given = |given: &&mut Given, copy: u64| given.number == copy;
        let told = match wanted {
            Wanted::Begin(call) => self.begin(call).await,
            Wanted::Look { copy } => match self.given.as_mut().filter(|given| is_given(given, copy)) {
                Some(given) => given.look().await,
                None => Told::No("it has no such copy".to_owned()),
            },
            Wanted::Piece { copy, file, offset, bytes } => {
                let given = self.given.as_mut().filter(|given| is_given(given, copy) && given.is_made());
                return match given {
                    Some(given) => {
                        given.asked_at = Instant::now();
                        let path = path_of(&given.folder, &file);
                        self.send_piece(message, path, offset, bytes);
                    }
                    None => {
                        let no = Err("it has no such copy any more".to_owned());
                        self.reply(message, wire::write_piece(no)).await;
                    }
                };
            }
            Wanted::Done { copy } => {
                if self.given.as_ref().is_some_and(|given| given.number == copy) {
                    self.end().await;
                }
                Told::Made
            }
        };
        self.reply(message, wire::write(&told)).await;
    }

    /// Begins a copy for a node; one that it had before is of no use to it.
    async fn begin(&mut self, call: Call) -> Told {
        if let Some(why) = self.refuses(&call) {
            return Told::No(why);
        }
        self.end().await;
        let (number, folder) = (secp256k1::rand::random(), self.store.path().join(GIVEN));
        tracing::info!("{} gets a copy of this node, as the log does not keep what it lacks", call.from);
        let ended = Arc::new(AtomicBool::new(false));
        let (store, to, writer, ends) =
            (Arc::clone(&self.store), folder.clone(), self.writer.clone(), Arc::clone(&ended));
        let making = tokio::task::spawn_blocking(move || make(&store, &to, &writer, &ends));
        self.log.health().giving = Some(call.from.clone());
        self.given = Some(Given {
            number,
            to: call.from,
            folder,
            asked_at: Instant::now(),
            making: Some(making),
            failed: None,
            ends: Ends(ended),
        });
        Told::Making { copy: number }
    }

    /// Ends a copy for which nobody asks any more.
    async fn look(&mut self) {
        if let Some(given) = &self.given
            && given.asked_at.elapsed() > SILENCE_MAX
        {
            tracing::warn!("{} does not fetch its copy of this node any more", given.to);
            self.end().await;
        }
    }

    /// Removes the copy that is given.
    async fn end(&mut self) {
        let Some(Given { folder, making, ends, .. }) = self.given.take() else { return };
        drop(ends);
        if let Some(making) = making {
            // It ends at once, and must not write any more.
            let _ = making.await;
        }
        self.log.health().giving = None;
        if let Err(error) = swap::remove_folder(&folder) {
            tracing::warn!("{error}");
        }
    }

    /// Reads some of a file, and sends it, while others are answered.
    fn send_piece(&self, message: &Message, path: Option<PathBuf>, offset: u64, bytes: usize) {
        let Some(reply) = message.reply.clone() else { return };
        let client = self.client.clone();
        tokio::spawn(async move {
            let read = tokio::task::spawn_blocking(move || {
                path.ok_or_else(|| "there is no such file".to_owned())
                    .and_then(|path| read_piece(&path, offset, bytes).map_err(|error| error.to_string()))
            });
            let piece = read.await.unwrap_or_else(|error| Err(error.to_string()));
            // Who gets no answer asks again.
            let _ = client.publish(reply, wire::write_piece(piece)).await;
        });
    }

    async fn reply(&self, message: &Message, answer: Bytes) {
        if let Some(reply) = message.reply.clone() {
            // Who gets no answer asks again.
            let _ = self.client.publish(reply, answer).await;
        }
    }
}

impl Given {
    fn is_made(&self) -> bool {
        self.making.is_none() && self.failed.is_none()
    }

    async fn look(&mut self) -> Told {
        self.asked_at = Instant::now();
        if let Some(making) = self.making.take_if(|making| making.is_finished()) {
            let made = making.await.map_err(|error| error.to_string());
            self.failed = made.and_then(|made| made.map_err(|why| why.to_string())).err();
        }
        match &self.failed {
            Some(why) => Told::No(why.clone()),
            None if self.making.is_some() => Told::Making { copy: self.number },
            None => Told::Made,
        }
    }
}

/// A file of a copy; `None` for a name that is none of such a file.
fn path_of(folder: &Path, file: &str) -> Option<PathBuf> {
    let is_outside = file.is_empty() || file.contains(['/', '\\']) || file.starts_with('.');
    (!is_outside).then(|| folder.join(file))
}

fn read_piece(path: &Path, offset: u64, bytes: usize) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let left = file.metadata()?.len().saturating_sub(offset);
    let mut piece = vec![0; bytes.min(PIECE_BYTES_MAX).min(usize::try_from(left).unwrap_or(usize::MAX))];
    file.read_exact_at(&mut piece, offset)?;
    Ok(piece)
}

/// Makes a backup of the store, which says where in the log it is.
fn make(store: &Store, folder: &Path, writer: &Sender<WriterInput>, ends: &AtomicBool) -> Result<(), Unmade> {
    let (done, noted) = crossbeam_channel::bounded(1);
    let note = Entry { at: None, what: What::Note(done), _room: None };
    writer.send(WriterInput::Log(note)).map_err(|_| Unmade::Stuck)?;
    noted.recv_timeout(NOTE_TIME).map_err(|_| Unmade::Stuck)?;
    let mut backup = Writer::open(folder, true)?;
    backup.begin(false)?;
    let copied = store.copier(None).run::<Unmade>(LOCAL_STATE, |piece| {
        if ends.load(Ordering::Acquire) {
            return Err(Unmade::Unwanted);
        }
        match piece {
            Piece::Chunk(chunk) => Ok(backup.add(&chunk)?),
            Piece::Fault(fault) => Err(Unmade::Damaged(fault)),
        }
    })?;
    backup.finish(copied, Clock::system().now())?;
    Ok(())
}
