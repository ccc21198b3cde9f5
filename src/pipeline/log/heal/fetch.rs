//! Fetches a copy of another node when this one cannot follow the log, and makes a store of it. In: that it has fallen
//! behind what the log keeps. Out: a store beside the one that is open, noted to take its place, and the word that it is
//! there. What fails is thrown away and begun anew, with another node if there is one.

use std::fs::{self, DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};

use super::super::apply::Stored;
use super::super::link::has_events;
use super::super::{Health, Log};
use super::wire::{self, Call, Offer, Told, Wanted};
use super::{Fallen, Healing, piece_bytes, to_all, to_one};
use crate::backup::{self, BackupError, Content, FileEntry, Manifest};
use crate::clock::Clock;
use crate::community::Communities;
use crate::memory::COPY_CACHE_BYTES;
use crate::store::{Durability, Options, Restorer, Store, StoreError, swap};
use crate::words;

/// How long it is waited for nodes that can give a copy.
const OFFERS_TIME: Duration = Duration::from_secs(1);

/// How often it is asked whether a copy is made.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// A question that is not answered is asked so often, with so long in between.
const ATTEMPTS_MAX: u32 = 4;
const ATTEMPTS_PAUSE: Duration = Duration::from_millis(500);

/// From one attempt to the next, at first and at last.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Pieces that are asked for at once.
const PIECES_AHEAD: usize = 8;

/// A manifest is not longer.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// A copy takes so much of the disk for each of its bytes, with the store that is made of it.
const DISK_FACTOR: u64 = 3;

/// The fetched files, within the folder of the copy.
const FILES: &str = "files";

pub(in super::super) struct Healer {
    pub(in super::super) log: Arc<Log>,
    pub(in super::super) client: Client,
    pub(in super::super) store: Arc<Store>,
    /// Bytes of the disk that must be left.
    pub(in super::super) free_bytes_min: u64,
    pub(in super::super) communities: Arc<Communities>,
}

/// Why there is no copy yet.
#[derive(Debug, thiserror::Error)]
enum Unhealed {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("{}: {source}", path.display())]
    Disk { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Other(String),
}

impl From<String> for Unhealed {
    fn from(why: String) -> Unhealed {
        Unhealed::Other(why)
    }
}

/// Ends what goes on in a thread of its own when nobody waits for it any more.
struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A node that gives a copy.
struct Peer<'h> {
    healer: &'h Healer,
    node: String,
    process: u64,
    copy: u64,
}

impl Healer {
    /// Fetches a copy whenever one is wanted, until there is one.
    pub(in super::super) async fn run(self) {
        let mut wanted = self.log.fallen.subscribe();
        // Who gave none the last time is asked last.
        let mut avoided = None;
        let (mut pause, mut said) = (PAUSE_MIN, String::new());
        loop {
            let Some(fallen) = *wanted.borrow_and_update() else {
                self.log.health().healing = None;
                (pause, avoided) = (PAUSE_MIN, None);
                if wanted.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let why = match self.heal(fallen, &mut avoided).await {
                Ok(()) => {
                    self.log.reopens.send_replace(true);
                    // The process ends this.
                    return std::future::pending().await;
                }
                Err(why) => why.to_string(),
            };
            if why != said {
                tracing::warn!("this node has no copy of another one yet: {why}; it is tried again");
                said.clone_from(&why);
            }
            self.log.health().copies_failed += 1;
            self.tell(|healing| *healing = Healing { failed: Some(why), ..Healing::default() });
            tokio::select! {
                () = sleep(pause) => pause = PAUSE_MAX.min(2 * pause),
                _ = wanted.changed() => pause = PAUSE_MIN,
            }
        }
    }

    /// Says how it goes.
    fn tell(&self, how: impl FnOnce(&mut Healing)) {
        how(self.log.health().healing.get_or_insert_default());
    }

    /// Fetches a copy, makes a store of it, and notes that it counts.
    async fn heal(&self, fallen: Fallen, avoided: &mut Option<u64>) -> Result<(), Unhealed> {
        let call = Call { from: self.log.settings.node.clone(), stream: fallen.stream, after: fallen.after };
        let offer = self.offers(&call, *avoided).await?;
        *avoided = Some(offer.process);
        self.tell(|healing| *healing = Healing { from: Some(offer.node.clone()), ..Healing::default() });
        tracing::info!("{} is asked for a copy of its store", offer.node);
        let mut peer = Peer { healer: self, node: offer.node, process: offer.process, copy: 0 };
        let fetched = self.fetch(&mut peer, call).await;
        if fetched.is_err() {
            // Its room is wanted elsewhere.
            peer.send(&Wanted::Done { copy: peer.copy }).await;
        }
        let folder = fetched?;
        peer.send(&Wanted::Done { copy: peer.copy }).await;
        self.restore(&folder, fallen).await?;
        let keeps = has_events(&self.communities, &self.store);
        let kept = swap::take_next_time(self.store.path(), keeps, Clock::system().now())?;
        match kept {
            Some(name) => tracing::warn!(
                "a store was made of a copy of {}: it is opened now, and the one that was here is kept in {name}",
                peer.node
            ),
            None => tracing::info!("a store was made of a copy of {}: it is opened now", peer.node),
        }
        Ok(())
    }

    /// Asks all nodes; the one that is best asked for a copy.
    async fn offers(&self, call: &Call, avoided: Option<u64>) -> Result<Offer, Unhealed> {
        let away = |error: &dyn std::fmt::Display| Unhealed::Other(format!("nobody can be asked: {error}"));
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.map_err(|error| away(&error))?;
        let asked = self.client.publish_with_reply(to_all(&self.log), inbox, wire::write(call)).await;
        asked.map_err(|error| away(&error))?;
        let until = Instant::now() + OFFERS_TIME;
        let (mut offers, mut refusals) = (Vec::new(), Vec::new());
        while let Ok(Some(answer)) = timeout_at(until, answers.next()).await {
            let Some(offer) = wire::read::<Offer>(&answer.payload) else { continue };
            match offer.refuses.clone() {
                None => offers.push(offer),
                Some(why) => refusals.push(format!("{}: {why}", offer.node)),
            }
        }
        let best = offers.into_iter().max_by_key(|offer| (Some(offer.process) != avoided, offer.position));
        best.ok_or_else(|| match refusals.is_empty() {
            true => "no other node answers".to_owned().into(),
            false => format!("no other node can give one now ({})", refusals.join("; ")).into(),
        })
    }

    /// Has a copy made and fetches it; the folder of its files.
    async fn fetch(&self, peer: &mut Peer<'_>, call: Call) -> Result<PathBuf, Unhealed> {
        match peer.ask(&Wanted::Begin(call)).await? {
            Told::Making { copy } => peer.copy = copy,
            Told::No(why) => return Err(format!("{}: {why}", peer.node).into()),
            Told::Made => return Err(format!("{} answers something else", peer.node).into()),
        }
        loop {
            match peer.ask(&Wanted::Look { copy: peer.copy }).await? {
                Told::Making { .. } => sleep(LOOK_EVERY).await,
                Told::Made => break,
                Told::No(why) => return Err(format!("{}: {why}", peer.node).into()),
            }
        }
        swap::clear(self.store.path())?;
        let folder = self.store.path().join(swap::COPY).join(FILES);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|source| Unhealed::Disk { path: folder.clone(), source })?;
        peer.fetch_manifest(&folder).await?;
        let manifest = Manifest::read(&folder)?.ok_or_else(|| "the copy has no manifest".to_owned())?;
        let bytes = manifest.bytes();
        let needed = bytes.saturating_mul(DISK_FACTOR).saturating_add(self.free_bytes_min);
        if let Some(free) = self.store.disk_free_bytes()?.filter(|free| *free < needed) {
            let (free, needed) = (words::bytes(free), words::bytes(needed));
            return Err(format!("{free} are free on the disk, and a copy may take {needed}").into());
        }
        self.tell(|healing| healing.bytes_max = bytes);
        for file in &manifest.files {
            peer.fetch_file(&folder, file).await?;
        }
        Ok(folder)
    }

    /// Makes a store of the files, whose checksums are looked at on the way, and looks whether it can follow the log.
    async fn restore(&self, files: &Path, fallen: Fallen) -> Result<(), Unhealed> {
        let ended = Arc::new(AtomicBool::new(false));
        let _ends = Ends(Arc::clone(&ended));
        let (log, files) = (Arc::clone(&self.log), files.to_owned());
        let options = Options {
            path: swap::new_store(self.store.path()),
            cache_bytes: COPY_CACHE_BYTES,
            durability: Durability::Power,
            touches: 0,
        };
        let restoring = move || -> Result<(), Unhealed> {
            let content = Content::open(&files)?;
            let restorer = Restorer::new(options.clone())?;
            backup::restore::<Unhealed>(&content, restorer, None, false, |events| {
                if events.is_multiple_of(1_024) {
                    note_events(&mut log.health(), events);
                }
                match ended.load(Ordering::Acquire) {
                    true => Err("the node stops".to_owned().into()),
                    false => Ok(()),
                }
            })?;
            let store = Store::open(options)?;
            let stored = Stored::read(&store, &log.settings.name)?;
            store.close()?;
            // It may keep less by now.
            let after = fallen.after.max(log.health().first.saturating_sub(1));
            if stored.stream() != Some(fallen.stream) || stored.position() < after || stored.has_left() {
                let at = stored.position();
                return Err(format!("the copy is at {at}, and the log begins after {after}").into());
            }
            // The store has all of it.
            fs::remove_dir_all(&files).map_err(|source| Unhealed::Disk { path: files, source })
        };
        tokio::task::spawn_blocking(restoring).await.map_err(|error| error.to_string())?
    }
}

fn note_events(health: &mut Health, events: u64) {
    health.healing.get_or_insert_default().events = events;
}

impl Peer<'_> {
    /// Sends something whose answer is not waited for.
    async fn send(&self, wanted: &Wanted) {
        // What is not heard ends by itself.
        let _ = self.healer.client.publish(to_one(&self.healer.log, self.process), wire::write(wanted)).await;
    }

    /// Asks, several times if need be; the answer as it came.
    async fn request(&self, wanted: &Wanted) -> Result<async_nats::Message, Unhealed> {
        let (subject, bytes) = (to_one(&self.healer.log, self.process), wire::write(wanted));
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.healer.client.request(subject.clone(), bytes.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(_) if attempts < ATTEMPTS_MAX => sleep(ATTEMPTS_PAUSE).await,
                Err(error) => return Err(format!("{} does not answer: {error}", self.node).into()),
            }
        }
    }

    async fn ask<T: DeserializeOwned>(&self, wanted: &Wanted) -> Result<T, Unhealed> {
        let answer = self.request(wanted).await?;
        wire::read(&answer.payload).ok_or_else(|| format!("{} answers something else", self.node).into())
    }

    async fn piece(&self, file: &str, offset: u64, bytes: usize) -> Result<Bytes, Unhealed> {
        let wanted = Wanted::Piece { copy: self.copy, file: file.to_owned(), offset, bytes };
        let answer = self.request(&wanted).await?;
        wire::read_piece(&answer.payload).map_err(|why| format!("{}: {why}", self.node).into())
    }

    /// The manifest, whose length nobody knows before.
    async fn fetch_manifest(&self, folder: &Path) -> Result<(), Unhealed> {
        let (path, at_once) = (folder.join(backup::MANIFEST), piece_bytes(&self.healer.client));
        let mut manifest = Vec::new();
        loop {
            let piece = self.piece(backup::MANIFEST, manifest.len() as u64, at_once).await?;
            manifest.extend_from_slice(&piece);
            if piece.len() < at_once {
                break;
            }
            if manifest.len() as u64 > MANIFEST_BYTES_MAX {
                return Err(format!("{}: its manifest has no end", self.node).into());
            }
        }
        fs::write(&path, manifest).map_err(|source| Unhealed::Disk { path, source })
    }

    async fn fetch_file(&self, folder: &Path, file: &FileEntry) -> Result<(), Unhealed> {
        let (path, at_once) = (folder.join(&file.name), piece_bytes(&self.healer.client));
        let disk = |source| Unhealed::Disk { path: path.clone(), source };
        let mut out = File::create(&path).map_err(disk)?;
        let offsets = (0..file.bytes).step_by(at_once);
        let pieces = offsets.map(|offset| {
            let bytes = at_once.min(usize::try_from(file.bytes - offset).unwrap_or(at_once));
            async move { (bytes, self.piece(&file.name, offset, bytes).await) }
        });
        let mut pieces = futures_util::stream::iter(pieces).buffered(PIECES_AHEAD);
        while let Some((wanted, piece)) = pieces.next().await {
            let piece = piece?;
            if piece.len() != wanted {
                return Err(format!("{}: {} is cut off", self.node, file.name).into());
            }
            out.write_all(&piece).map_err(disk)?;
            self.healer.tell(|healing| healing.bytes += piece.len() as u64);
        }
        Ok(())
    }
}
