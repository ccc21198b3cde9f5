//! Follows the commands of one connection, one after the other. In: lines. Out: lines, and bytes. What it reads
//! it reads in small pieces, and what is removed the writer removes.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::protocol::{
    Answer, COMMAND_BYTES_MAX, Command, CommunityStats, DeleteCommand, Deleted, SearchStats, Stats,
};
use crate::community::{Communities, Community, LOCAL_STATE};
use crate::event::Kind;
use crate::filter::Filter;
use crate::index::{Found, Progress, Scan};
use crate::mirror::Mirrors;
use crate::pipeline::Pipeline;
use crate::rule::Head;
use crate::search::Status;
use crate::store::copy::{Copier, Earlier, Piece};
use crate::store::{Store, StoreError};

/// Rows of the index that are looked at while the writer waits.
const SLICE_ENTRIES: u64 = 4_096;

/// Events that the writer removes at once.
const REMOVED_AT_ONCE: usize = 500;

/// Events that a dry run shows.
const SAMPLE_EVENTS: usize = 5;

/// What commands are about.
#[derive(Clone)]
pub struct House {
    /// The store.
    pub store: Arc<Store>,
    /// All communities.
    pub communities: Arc<Communities>,
    /// What moves events.
    pub pipeline: Arc<Pipeline>,
    /// What carries events from and to other relays; `None` where no relay runs.
    pub mirrors: Option<Arc<Mirrors>>,
}

/// Why a connection ends, or a command cannot be followed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Out<'s> = BufWriter<&'s UnixStream>;

fn say(out: &mut Out<'_>, answer: &Answer) -> io::Result<()> {
    serde_json::to_writer(&mut *out, answer)?;
    out.write_all(b"\n")
}

/// Tells one connection too many to come later.
pub(super) fn refuse(stream: &UnixStream) {
    let mut out = BufWriter::new(stream);
    let reason = "too many commands are under way; try again when one has ended".to_owned();
    // Who has gone does not need it.
    let _ = say(&mut out, &Answer::Error(reason)).and_then(|()| out.flush());
}

/// Follows commands until the other side ends the connection.
pub(super) fn serve(house: &House, stream: &UnixStream) {
    let mut input = BufReader::new(stream);
    let mut out = BufWriter::with_capacity(1 << 16, stream);
    // Removals that a copy needs are not forgotten until it is known to be safe.
    let mut copier: Option<Copier<'_>> = None;
    loop {
        let mut line = String::new();
        match input.by_ref().take(COMMAND_BYTES_MAX).read_line(&mut line) {
            Ok(read) if read > 0 => {}
            _ => return,
        }
        let followed = match serde_json::from_str(&line) {
            Ok(command) => follow(house, command, &mut copier, &mut out),
            Err(error) => {
                say(&mut out, &Answer::Error(format!("this is no command: {error}"))).map_err(Into::into)
            }
        };
        let ended = match followed {
            Err(Failure::Io(_)) => return,
            Err(Failure::Store(error)) => say(&mut out, &Answer::Error(error.to_string())),
            Ok(()) => Ok(()),
        };
        if ended.and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

fn follow<'h>(
    house: &'h House,
    command: Command,
    copier: &mut Option<Copier<'h>>,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    match command {
        Command::Stats => {
            say(out, &Answer::Stats(stats(&house.communities, &house.store)?))?;
        }
        Command::Mirrors => {
            let all = house.mirrors.as_ref().map(|mirrors| mirrors.stats());
            say(out, &Answer::Mirrors(all.unwrap_or_default()))?;
        }
        Command::Cluster => {
            say(out, &Answer::Cluster(house.pipeline.log.as_ref().map(|log| log.status())))?;
        }
        Command::Lists => {
            let now = house.pipeline.clock.now();
            let all = house.communities.iter().flat_map(|community| community.list_stats(now));
            say(out, &Answer::Lists(all.collect()))?;
        }
        Command::Copy { since } => {
            *copier = None;
            let begun = house.store.copier(since.map(Earlier::from).as_ref());
            copy(&begun, out)?;
            *copier = Some(begun);
        }
        Command::Keep { folder, stamp, group } => match copier.take() {
            Some(copier) => {
                copier.keep(&folder, &stamp, group)?;
                say(out, &Answer::Kept {})?;
            }
            None => say(out, &Answer::Error("no copy was made over this connection".to_owned()))?,
        },
        Command::Reindex { community } => match house.communities.searching(community.as_deref()) {
            Ok(wanted) => {
                wanted.iter().for_each(|one| one.search.rebuild());
                let communities = wanted.iter().map(|one| one.path().to_owned()).collect();
                say(out, &Answer::Reindexing { communities })?;
            }
            Err(reason) => say(out, &Answer::Error(reason))?,
        },
        Command::Delete(command) => {
            let told = delete(house, &command, |deleted| {
                say(out, &Answer::Deleted(deleted.clone()))?;
                out.flush()
            })?;
            if let Err(reason) = told {
                say(out, &Answer::Error(reason))?;
            }
        }
    }
    Ok(())
}

fn copy(copier: &Copier<'_>, out: &mut Out<'_>) -> Result<(), Failure> {
    say(out, &Answer::Copying { is_incremental: copier.is_incremental() })?;
    let copied = copier.run(LOCAL_STATE, |piece| {
        match piece {
            Piece::Chunk(chunk) => {
                // A chunk is not much longer than the longest record, 64 MiB.
                say(out, &Answer::Chunk { part: chunk.part, bytes: chunk.bytes.len() as u32 })?;
                out.write_all(&chunk.bytes)?;
            }
            Piece::Fault(fault) => say(out, &Answer::Fault(fault))?,
        }
        Ok::<(), Failure>(())
    })?;
    Ok(say(out, &Answer::Copied(copied))?)
}

/// What is stored, in numbers.
///
/// # Errors
/// When the store's folder cannot be looked at.
pub fn stats(communities: &Communities, store: &Store) -> Result<Stats, StoreError> {
    let all = communities.iter().map(|community| {
        let summary = community.index().summary();
        CommunityStats {
            path: community.path().to_owned(),
            events: summary.events,
            kinds: summary.kinds.iter().map(|(kind, count)| (kind.0, *count)).collect(),
            authors: summary.authors,
            oldest: summary.times.map(|(oldest, _)| oldest),
            newest: summary.times.map(|(_, newest)| newest),
            record_bytes: summary.record_bytes,
            index_bytes: summary.index_bytes,
            search: community.settings().search.enabled.then(|| search(&community)),
        }
    });
    Ok(Stats {
        communities: all.collect(),
        unused: communities.unused().to_vec(),
        disk_bytes: store.disk_bytes()?,
        disk_free_bytes: store.disk_free_bytes()?,
    })
}

fn search(community: &Community) -> SearchStats {
    let status = community.search.status();
    let Status { state, events, lag_events, lag_seconds, disk_bytes, is_full, reason } = status;
    SearchStats {
        state: state.to_owned(),
        reason: reason.map(|reason| reason.to_string()),
        events,
        lag_events,
        lag_seconds: lag_seconds as u64,
        disk_bytes,
        is_full,
    }
}

/// Removes the events that a command names, some at a time, and tells how it goes. The inner error is a sentence
/// for who gave the command.
///
/// # Errors
/// When nobody can be told any more; then no more is removed.
pub fn delete(
    house: &House,
    command: &DeleteCommand,
    mut tell: impl FnMut(&Deleted) -> io::Result<()>,
) -> io::Result<Result<(), String>> {
    let Some(community) = house.communities.at(&command.community) else {
        return Ok(Err(format!("there is no community at {}", command.community)));
    };
    let mut filter = match Filter::without_search(&command.filter) {
        Ok(filter) => filter,
        Err(reason) => return Ok(Err(format!("--filter: {reason}"))),
    };
    if command.older_than_seconds > 0 {
        let until = house.pipeline.clock.now().saturating_sub(command.older_than_seconds);
        filter.until = Some(filter.until.map_or(until, |stated| stated.min(until)));
    }
    // To count first costs a look at the index, and lets who waits see how far it is.
    let (found, of, kept) = count(&community, &filter);
    let mut deleted = Deleted { of, kept, ..Deleted::default() };
    if command.dry_run {
        for one in &found {
            match house.pipeline.bodies.get(community.id, one.location) {
                Ok(body) => deleted.sample.extend(body.and_then(|body| serde_json::from_slice(&body).ok())),
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
        (deleted.events, deleted.done) = (deleted.of, true);
        return tell(&deleted).map(Ok);
    }
    let mut matching = Matching::new(&filter, &community);
    loop {
        let some = matching.next(REMOVED_AT_ONCE);
        if some.is_empty() {
            deleted.done = true;
            return tell(&deleted).map(Ok);
        }
        match house.pipeline.remove(&community, some) {
            Some(removed) => deleted.events += removed as u64,
            None => return Ok(Err("the store could not remove events; its log says why".to_owned())),
        }
        tell(&deleted)?;
    }
}

/// The first events that match, how many match in all, and how many requests that are kept.
fn count(community: &Community, filter: &Filter) -> (Vec<Found>, u64, u64) {
    let mut matching = Matching::new(filter, community);
    let (mut first, mut all) = (Vec::new(), 0);
    loop {
        let some = matching.next(SLICE_ENTRIES as usize);
        if some.is_empty() {
            return (first, all, matching.kept);
        }
        all += some.len() as u64;
        let missing = SAMPLE_EVENTS - first.len();
        first.extend(some.into_iter().take(missing));
    }
}

/// The events that match a filter, newest first, without requests whose effect would not last without them.
struct Matching<'m> {
    community: &'m Community,
    filter: &'m Filter,
    scan: Scan<'m>,
    /// How many more the filter's limit leaves.
    left: usize,
    /// Requests that match and are kept.
    kept: u64,
    is_complete: bool,
}

impl<'m> Matching<'m> {
    fn new(filter: &'m Filter, community: &'m Community) -> Self {
        let left = filter.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let scan = Scan::new(filter, community.index().next_number());
        Matching { community, filter, scan, left, kept: 0, is_complete: left == 0 }
    }

    /// Some more of them; none at the end.
    fn next(&mut self, most: usize) -> Vec<Found> {
        let most = most.min(self.left);
        let names =
            |kind: Kind| self.filter.kinds.as_ref().is_some_and(|kinds| kinds.binary_search(&kind).is_ok());
        let kept = Cell::new(0);
        let mut found = Vec::new();
        while !self.is_complete && found.len() < most {
            // The lock is given back after each slice.
            let index = self.community.index();
            let may_go = |head: &Head<'_>| {
                let is_kept = matches!(head.kind, Kind::DELETION | Kind::VANISH) && !names(head.kind);
                kept.set(kept.get() + u64::from(is_kept));
                !is_kept
            };
            let progress = self.scan.run(&index, SLICE_ENTRIES, may_go, |one, _| {
                found.push(one);
                found.len() < most
            });
            self.is_complete = progress == Progress::Complete;
        }
        self.kept += kept.get();
        self.left -= found.len();
        found
    }
}
