//! Keeps the search indexes of all communities as the store is. In: communities, whose stored events are read by number.
//! Out: [`Ready`] ones in their handles. One thread calls it, and one writer of tantivy is open at a time, so that memory
//! is bounded however many communities search.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::{IndexReader, IndexWriter, ReloadPolicy};

use super::folder::{self, Folder};
use super::{Lag, Ready, SearchError, State};
use crate::community::Community;
use crate::config::Settings;
use crate::event::Id;
use crate::nips::nip50;
use crate::store::record::decode;
use crate::store::{CommunityId, Location, Store, StoreError};

/// Records that are read before other communities have their turn.
const RECORDS_AT_ONCE: usize = 1_000;

/// What waits within tantivy is part of its memory: so much of it, in bytes of records, is made safe at once.
const PENDING_PART: usize = 4;

/// How long nothing comes before the writer is closed, and its memory given back.
const IDLE: Duration = Duration::from_secs(20);

/// How long it rests after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Failures on end after which a folder is not trusted any more.
const FAILURES_MAX: u32 = 3;

/// Events that went from the store before their documents go too, and as a part of all documents.
const REMOVALS_MIN: u64 = 1_000;
const REMOVALS_PART: u64 = 16;

/// Ids that are looked up before the writer of events may have the community's index.
const IDS_AT_ONCE: usize = 4_096;

/// A part of a segment's documents that may be removed ones before it is written anew.
const REMOVED_PART: f32 = 0.25;

/// What is known of one community's search.
#[derive(Default)]
struct Kept {
    open: Option<Open>,
    rests_until: Option<Instant>,
    failures: u32,
    /// Up to which number it had all when its disk was found to be full, while that lasts.
    full_at: Option<u64>,
}

/// A folder that is read and written.
struct Open {
    folder: Folder,
    /// Settings that it is known to be for.
    settings: Arc<Settings>,
    reader: IndexReader,
    /// All records with lower numbers were handed to the writer, which has not made them safe all.
    read_upto: u64,
    /// Whether it has had all once, so that searches find all.
    is_complete: bool,
    /// How many events had gone from the community's index when documents were compared with it; `None` before that.
    compared_at: Option<u64>,
    /// How many events had come to the community's index when all of them could be found.
    found: u64,
    /// Since when there is something that is not found yet.
    behind_since: Option<Instant>,
}

impl Open {
    /// Whether it is what these settings ask for.
    fn is_for(&mut self, settings: &Arc<Settings>) -> bool {
        if !Arc::ptr_eq(&self.settings, settings) {
            if !self.folder.is_for(settings) {
                return false;
            }
            self.settings = Arc::clone(settings);
        }
        true
    }
}

/// The one writer.
struct Writing {
    community: CommunityId,
    writer: IndexWriter,
    /// Since when something is not safe.
    pending_since: Option<Instant>,
    pending_bytes: usize,
    used_at: Instant,
}

/// See the module.
pub struct Keeper {
    store: Arc<Store>,
    kept: HashMap<CommunityId, Kept>,
    writing: Option<Writing>,
}

/// Why reading the store stopped.
enum Stop {
    Enough,
    Failed(SearchError),
}

impl From<SearchError> for Stop {
    fn from(error: SearchError) -> Stop {
        Stop::Failed(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Failed(error.into())
    }
}

impl Keeper {
    /// One that has looked at nothing yet.
    pub fn new(store: Arc<Store>) -> Keeper {
        Keeper { store, kept: HashMap::new(), writing: None }
    }

    /// Does a piece of what is to be done for a community, with so much memory for the writer; whether there is more
    /// that should not wait. Space that must stay free on its disk is not filled; there is more of it than the writer may
    /// write at once, so that this thread is not the one that fills the disk.
    pub fn step(&mut self, community: &Community, memory_bytes: usize, free_bytes_min: u64) -> bool {
        let id = community.id;
        if !community.settings().search.enabled {
            if self.kept.contains_key(&id) {
                self.let_go(id);
                community.search.set(State::Off);
                community.search.set_full(false);
            }
            return false;
        }
        let wants_rebuild = community.search.takes_rebuild();
        let mut kept = self.kept.remove(&id).unwrap_or_default();
        if wants_rebuild {
            tracing::info!("{}: the search index is built anew", community.path());
            self.let_go(id);
            community.search.set_full(false);
            kept = Kept::default();
        }
        if kept.rests_until.is_some_and(|until| Instant::now() < until) {
            self.kept.insert(id, kept);
            return false;
        }
        // A folder whose files are damaged in a way that no checksum tells must not end the relay.
        let worked = catch_unwind(AssertUnwindSafe(|| {
            if wants_rebuild {
                folder::remove(self.store.path(), id)?;
            }
            self.work(community, &mut kept, memory_bytes, free_bytes_min)
        }));
        let goes_on = match worked.unwrap_or(Err(SearchError::Panicked)) {
            Ok(goes_on) => {
                kept.failures = 0;
                goes_on
            }
            Err(error) => {
                let free = folder::free_bytes(&self.store, id);
                match error.is_no_room(free, memory_bytes as u64) {
                    true => self.wait_for_room(community, &mut kept, &error),
                    false => self.fail(community, &mut kept, &error),
                }
                false
            }
        };
        self.kept.insert(id, kept);
        goes_on
    }

    /// Lets go of communities that are no more.
    pub fn keep_only(&mut self, is_open: impl Fn(CommunityId) -> bool) {
        let gone: Vec<CommunityId> = self.kept.keys().copied().filter(|id| !is_open(*id)).collect();
        gone.into_iter().for_each(|id| self.let_go(id));
    }

    /// Nothing is searched until it works again.
    fn fail(&mut self, community: &Community, kept: &mut Kept, error: &SearchError) {
        self.let_go(community.id);
        tracing::error!("{}: search does not work: {error}; the rest does", community.path());
        community.search.set(State::Broken(error.to_string().into()));
        kept.open = None;
        kept.failures += 1;
        kept.rests_until = Some(Instant::now() + RETRY_AFTER);
        if !matches!(error, SearchError::Store(_))
            && (kept.failures >= FAILURES_MAX || matches!(error, SearchError::Panicked))
        {
            // What cannot be removed now can be the next time.
            let _ = folder::remove(self.store.path(), community.id);
        }
    }

    /// Its disk is full. What it has can be searched, and is gone on with when there is room; the operator is told once.
    fn wait_for_room(&mut self, community: &Community, kept: &mut Kept, error: &SearchError) {
        self.give_back(community.id);
        let upto = kept.open.as_ref().map_or(0, |open| open.folder.payload.upto);
        kept.rests_until = Some(Instant::now() + RETRY_AFTER);
        if kept.full_at.replace(upto).is_none() {
            tracing::error!(
                "{}: search takes in nothing more until there is room: {error}; what it has is found, and all else goes on",
                community.path()
            );
        }
        community.search.set_full(true);
        if let Some(open) = &mut kept.open {
            // What was removed is looked for again, too.
            (open.read_upto, open.compared_at) = (upto, None);
        }
        match kept.open.as_ref().filter(|open| open.is_complete) {
            Some(open) => {
                let (target, insertions) = {
                    let index = community.index();
                    (index.next_number(), index.insertions())
                };
                tell(community, open, target, insertions);
            }
            None => community.search.set(State::Broken(error.to_string().into())),
        }
    }

    /// Gives back the room of what was written and does not count yet.
    fn give_back(&mut self, community: CommunityId) {
        let Some(mut writing) = self.writing.take_if(|writing| writing.community == community) else {
            return;
        };
        let given = catch_unwind(AssertUnwindSafe(|| {
            writing.writer.rollback()?;
            writing.writer.garbage_collect_files().wait()
        }));
        if !matches!(given, Ok(Ok(_))) {
            tracing::debug!("what was written of a search index stays until there is room");
        }
    }

    /// Has no hold on a community's folder any more. What is not safe is read again when it is opened.
    fn let_go(&mut self, community: CommunityId) {
        self.writing.take_if(|writing| writing.community == community);
        self.kept.remove(&community);
    }

    fn work(
        &mut self,
        community: &Community,
        kept: &mut Kept,
        memory_bytes: usize,
        free_bytes_min: u64,
    ) -> Result<bool, SearchError> {
        let settings = community.settings();
        let is_other = |open: &mut Open| !open.is_for(&settings);
        if kept.open.take_if(is_other).is_some() {
            self.writing.take_if(|writing| writing.community == community.id);
        }
        let Kept { open, full_at, .. } = kept;
        let open = match open {
            Some(open) => open,
            none => none.insert(self.open(community)?),
        };
        let (target, insertions, removals) = {
            let index = community.index();
            (index.next_number(), index.insertions(), index.removals())
        };
        if open.read_upto < target {
            open.behind_since.get_or_insert_with(Instant::now);
            let least = free_bytes_min.max(memory_bytes as u64);
            let free = folder::free_bytes(&self.store, community.id);
            if let Some(free) = free.filter(|free| *free < least) {
                return Err(SearchError::DiskFull(free));
            }
            self.read_some(community, open, target, memory_bytes)?;
        }
        let is_level = open.read_upto >= target;
        let compared = open.compared_at.map_or(u64::MAX, |at| removals.saturating_sub(at));
        if is_level && compared >= REMOVALS_MIN.max(open.reader.searcher().num_docs() / REMOVALS_PART) {
            self.compare(community, open, memory_bytes)?;
            open.compared_at = Some(removals);
        }
        let lag = Duration::from_secs(settings.search.lag_seconds);
        let is_due = self.is_due(community.id, lag, memory_bytes, is_level && !open.is_complete);
        if is_due || is_level && !open.is_complete {
            self.commit(community.id, open)?;
            open.is_complete |= is_level;
        }
        self.close_if_idle(community.id, open)?;
        let upto = open.folder.payload.upto;
        if upto >= target {
            (open.found, open.behind_since) = (insertions, None);
        }
        if full_at.take_if(|at| upto >= target || upto > *at).is_some() {
            tracing::info!("{}: there is room for search again, and it takes in what came", community.path());
            community.search.set_full(false);
        }
        tell(community, open, target, insertions);
        Ok(open.read_upto < target)
    }

    fn open(&mut self, community: &Community) -> Result<Open, SearchError> {
        community.search.set(State::Building(0, community.index().len() as u64));
        self.writing.take_if(|writing| writing.community == community.id);
        let settings = community.settings();
        let folder = Folder::open(&self.store, community.id, &settings)?;
        let reader = folder.index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let read_upto = folder.payload.upto;
        let (is_complete, compared_at, found, behind_since) = (false, None, 0, None);
        Ok(Open { folder, settings, reader, read_upto, is_complete, compared_at, found, behind_since })
    }

    /// Whether what is pending is to be made safe.
    fn is_due(&self, community: CommunityId, lag: Duration, memory_bytes: usize, is_last: bool) -> bool {
        self.writing.as_ref().filter(|writing| writing.community == community).is_some_and(|writing| {
            writing.pending_since.is_some_and(|since| is_last || since.elapsed() >= lag)
                || writing.pending_bytes >= memory_bytes / PENDING_PART
        })
    }

    /// The writer of a community. Another one's is closed first, and what it has is read again later.
    fn writing(
        &mut self,
        community: CommunityId,
        folder: &Folder,
        memory_bytes: usize,
    ) -> Result<&mut Writing, SearchError> {
        if let Some(other) = self.writing.take_if(|writing| writing.community != community) {
            self.close(other)?;
        }
        let writing = match self.writing.take() {
            Some(writing) => writing,
            None => {
                let options = IndexWriterOptions::builder()
                    .num_worker_threads(1)
                    .num_merge_threads(1)
                    .memory_budget_per_thread(memory_bytes)
                    .build();
                let writer: IndexWriter = folder.index.writer_with_options(options)?;
                let mut merging = LogMergePolicy::default();
                merging.set_del_docs_ratio_before_merge(REMOVED_PART);
                writer.set_merge_policy(Box::new(merging));
                let used_at = Instant::now();
                Writing { community, writer, pending_since: None, pending_bytes: 0, used_at }
            }
        };
        Ok(self.writing.insert(writing))
    }

    /// Reads some records and hands their documents to the writer.
    fn read_some(
        &mut self,
        community: &Community,
        open: &mut Open,
        target: u64,
        memory_bytes: usize,
    ) -> Result<(), SearchError> {
        let store = Arc::clone(&self.store);
        let settings = community.settings();
        let Open { folder, read_upto, is_complete, .. } = open;
        let writing = self.writing(community.id, folder, memory_bytes)?;
        let pending_max = memory_bytes / PENDING_PART;
        let (from, mut records) = (*read_upto, 0);
        let read = store.scan(community.id, from, |location: Location, record: &[u8]| {
            if location.number >= target || records == RECORDS_AT_ONCE || writing.pending_bytes >= pending_max
            {
                return Err(Stop::Enough);
            }
            records += 1;
            let event = decode(record).map_err(|reason| SearchError::Record(location.number, reason))?;
            if nip50::is_searched(event.kind, &settings) {
                // While all is read for the first time there is no earlier version, or it is found to be gone later.
                if let Some(address) = event.address().filter(|_| *is_complete) {
                    writing.writer.delete_term(folder.marks.address(&address));
                }
                writing.writer.add_document(folder.document(&event)).map_err(SearchError::from)?;
                writing.pending_bytes += record.len();
            }
            *read_upto = location.number + 1;
            Ok(())
        });
        match read {
            // What is left up to the target was removed.
            Ok(()) => *read_upto = target,
            Err(Stop::Enough) if records < RECORDS_AT_ONCE && writing.pending_bytes < pending_max => {
                *read_upto = target;
            }
            Err(Stop::Enough) => {}
            Err(Stop::Failed(error)) => return Err(error),
        }
        writing.pending_since.get_or_insert_with(Instant::now);
        writing.used_at = Instant::now();
        Ok(())
    }

    /// Removes the documents of events that are stored no more.
    fn compare(
        &mut self,
        community: &Community,
        open: &Open,
        memory_bytes: usize,
    ) -> Result<(), SearchError> {
        let ready = ready(open);
        let mut gone = Vec::new();
        let mut some = Vec::with_capacity(IDS_AT_ONCE);
        let look = |some: &mut Vec<Id>, gone: &mut Vec<Id>| {
            let index = community.index();
            gone.extend(some.drain(..).filter(|id| !index.contains(id)));
        };
        ready.each_id(|id| {
            some.push(id);
            if some.len() == IDS_AT_ONCE {
                look(&mut some, &mut gone);
            }
        })?;
        look(&mut some, &mut gone);
        if gone.is_empty() {
            return Ok(());
        }
        let writing = self.writing(community.id, &open.folder, memory_bytes)?;
        for id in &gone {
            writing.writer.delete_term(open.folder.marks.id(id));
        }
        writing.pending_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Makes what is pending safe, and has it found.
    fn commit(&mut self, community: CommunityId, open: &mut Open) -> Result<(), SearchError> {
        let Some(writing) = self.writing.as_mut().filter(|writing| writing.community == community) else {
            return Ok(());
        };
        make_safe(&mut writing.writer, open)?;
        (writing.pending_since, writing.pending_bytes) = (None, 0);
        Ok(())
    }

    fn close_if_idle(&mut self, community: CommunityId, open: &Open) -> Result<(), SearchError> {
        let is_idle = |writing: &mut Writing| {
            writing.community == community
                && writing.pending_since.is_none()
                && writing.used_at.elapsed() >= IDLE
        };
        match self.writing.take_if(is_idle) {
            None => Ok(()),
            Some(writing) => {
                writing.writer.wait_merging_threads()?;
                // Files that were merged into others can go.
                Ok(open.reader.reload()?)
            }
        }
    }

    /// Closes a writer, with what it has made safe.
    fn close(&mut self, mut writing: Writing) -> Result<(), SearchError> {
        let Some(open) = self.kept.get_mut(&writing.community).and_then(|kept| kept.open.as_mut()) else {
            return Ok(());
        };
        if writing.pending_since.is_some() {
            // What is not safe is read again.
            make_safe(&mut writing.writer, open)
                .inspect_err(|_| open.read_upto = open.folder.payload.upto)?;
        }
        Ok(writing.writer.wait_merging_threads()?)
    }

    /// Makes safe what is pending: the relay stops.
    pub fn stop(&mut self) {
        let Some(writing) = self.writing.take() else { return };
        let closed = catch_unwind(AssertUnwindSafe(|| self.close(writing)));
        if let Err(error) = closed.unwrap_or(Err(SearchError::Panicked)) {
            // The next start reads from where it was safe.
            tracing::warn!("the search index is not saved: {error}");
        }
    }
}

/// Makes all safe that was handed to a writer, and has it found.
fn make_safe(writer: &mut IndexWriter, open: &mut Open) -> Result<(), SearchError> {
    let mut payload = open.folder.payload.clone();
    payload.upto = open.read_upto;
    let text = serde_json::to_string(&payload).map_err(std::io::Error::other)?;
    let mut prepared = writer.prepare_commit()?;
    prepared.set_payload(&text);
    prepared.commit()?;
    // Not before: what is not safe is read again.
    open.folder.payload = payload;
    Ok(open.reader.reload()?)
}

fn ready(open: &Open) -> Ready {
    let Folder { fields, marks, payload, .. } = &open.folder;
    Ready {
        searcher: open.reader.searcher(),
        fields: *fields,
        marks: *marks,
        upto: payload.upto,
        disk_bytes: open.folder.disk_bytes(),
    }
}

/// Tells who searches how it stands; `target` and `insertions` are of the community's index.
fn tell(community: &Community, open: &Open, target: u64, insertions: u64) {
    if !open.is_complete {
        // Numbers have gaps, so that events are told by their part of them.
        let of = community.index().len() as u64;
        let done = (of as f64 * open.read_upto as f64 / target.max(1) as f64) as u64;
        return community.search.set(State::Building(done.min(of), of));
    }
    let found_upto = open.folder.payload.upto;
    let lag = Lag { events: insertions.saturating_sub(open.found), since: open.behind_since };
    let generation = open.reader.searcher().generation().generation_id();
    community.search.set_ready(lag, found_upto, generation, || ready(open));
}
