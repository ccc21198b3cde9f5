//! Answers one filter from the index, in slices, so that no query holds the index for long. In: a
//! filter, a bound, a test of visibility. Out: places in the store, newest first, ties by lowest id.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::lists::{Cursor, Posting};
use super::plan::{Listed, Plan, Source};
use super::{Index, RowTags};
use crate::event::{Id, PublicKey};
use crate::filter::Filter;
use crate::rule::Head;
use crate::store::Location;

/// A stored event that answers a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its time, for merging the answers of several filters.
    pub created_at: u64,
    /// Its id, for ties.
    pub id: Id,
    /// Where the store keeps it.
    pub location: Location,
}

/// How a scan stands after a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is more to look at; call again.
    Going,
    /// The receiver wants no more.
    Stopped,
    /// Everything that matches was handed out.
    Complete,
}

/// A query of one filter that is under way.
#[derive(Debug)]
pub struct Scan<'f> {
    filter: &'f Filter,
    /// No event of this number or a higher one is looked at.
    as_of: u64,
    /// The last row that was looked at; the next slice begins after it.
    position: Option<(u64, Id)>,
    /// Rows looked at so far.
    pub looked_at: u64,
    by_kind: bool,
}

/// Where a scan stopped, for one that is to go on later.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    position: Option<(u64, Id)>,
    looked_at: u64,
}

/// A list's next row, ordered as NIP-01 orders events: newest first, then lowest id.
struct Candidate {
    created_at: u64,
    /// The id's first half: ids that share it would take more work to make than there is in the world.
    id: u128,
    /// [`UNSEEN`] when the list was not looked into: its next row is no newer than this.
    ordinal: u32,
    list: u32,
}

/// In place of an ordinal.
const UNSEEN: u32 = u32::MAX;

impl Candidate {
    fn key(&self) -> (u64, std::cmp::Reverse<u128>) {
        (self.created_at, std::cmp::Reverse(self.id))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Several lists as one, newest first. A list is looked into when its turn may have come: of the authors of a
/// feed, most have written nothing that is new enough.
struct Merge<'i, P> {
    index: &'i Index,
    lists: Vec<Listed>,
    /// Where reading a list begins.
    place: P,
    /// Where it goes on, for those that were looked into.
    cursors: Vec<Option<Cursor>>,
    heap: BinaryHeap<Candidate>,
}

impl<'i, P: Fn(Posting) -> Cursor> Merge<'i, P> {
    /// A merge of what lies at `place` and after it, of which nothing is newer than `newest`.
    fn new(index: &'i Index, lists: Vec<Listed>, newest: u64, place: P) -> Self {
        let cursors = vec![None; lists.len()];
        let mut merge = Merge { index, lists, place, cursors, heap: BinaryHeap::new() };
        let first: Vec<Candidate> = (0..merge.lists.len())
            .filter_map(|list| match merge.lists[list].newest {
                u32::MAX => merge.candidate(list as u32),
                time => {
                    let created_at = newest.min(time.into());
                    Some(Candidate { created_at, id: 0, ordinal: UNSEEN, list: list as u32 })
                }
            })
            .collect();
        merge.heap = BinaryHeap::from(first);
        merge
    }

    fn candidate(&mut self, list: u32) -> Option<Candidate> {
        let posting = self.lists[list as usize].posting;
        let cursor = self.cursors[list as usize].get_or_insert_with(|| (self.place)(posting));
        let ordinal = self.index.lists.next(cursor)?;
        let heads = &self.index.heads;
        let half = heads.id(ordinal).0.first_chunk::<16>().map_or(0, |half| u128::from_be_bytes(*half));
        Some(Candidate { created_at: heads.created_at(ordinal), id: half, ordinal, list })
    }
}

impl<P: Fn(Posting) -> Cursor> Iterator for Merge<'_, P> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        loop {
            let top = self.heap.peek()?;
            let (ordinal, list) = (top.ordinal, top.list);
            match self.candidate(list) {
                Some(next) => {
                    if let Some(mut top) = self.heap.peek_mut() {
                        *top = next;
                    }
                }
                None => drop(self.heap.pop()),
            }
            if ordinal != UNSEEN {
                return Some(ordinal);
            }
        }
    }
}

impl<'f> Scan<'f> {
    /// A scan that sees the index as it was when `as_of` was its next number.
    pub fn new(filter: &'f Filter, as_of: u64) -> Self {
        Scan::resume(filter, as_of, Place::default())
    }

    /// The same from where an earlier one of the same filter and number stopped.
    pub fn resume(filter: &'f Filter, as_of: u64, place: Place) -> Self {
        Scan { filter, as_of, position: place.position, looked_at: place.looked_at, by_kind: false }
    }

    /// What it looks for.
    pub fn filter(&self) -> &'f Filter {
        self.filter
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        Place { position: self.position, looked_at: self.looked_at }
    }

    /// The same, but of a filter that names kinds it looks at no event of another kind, though that would be
    /// cheaper: what it costs tells nothing of them.
    pub fn by_kind(self) -> Self {
        Scan { by_kind: true, ..self }
    }

    /// Looks at up to `entries` more rows and hands what matches and is visible to `receive`, until
    /// that returns false.
    pub fn run(
        &mut self,
        index: &Index,
        entries: u64,
        visible: impl Fn(&Head<'_>) -> bool,
        mut receive: impl FnMut(Found, &PublicKey) -> bool,
    ) -> Progress {
        let Plan { source, remaining } = index.plan(self.filter, self.by_kind);
        let (position, until) = (self.position, self.filter.until);
        let mut last = None;
        let mut left = entries;
        let mut step = |ordinal: u32| -> Option<Progress> {
            // The lists of one tag's values may hold the same event; its copies come one after another.
            if last == Some(ordinal) {
                return None;
            }
            if left == 0 {
                return Some(Progress::Going);
            }
            last = Some(ordinal);
            left -= 1;
            self.looked_at += 1;
            let (row, id, created_at) =
                (index.heads.get(ordinal), index.heads.id(ordinal), index.heads.created_at(ordinal));
            if self.filter.since.is_some_and(|since| created_at < since) {
                return Some(Progress::Complete);
            }
            self.position = Some((created_at, *id));
            if index.heads.number(ordinal) >= self.as_of || !remaining.admits(index, row) {
                return None;
            }
            let tags = RowTags { index, row, ordinal };
            let head = index.head(ordinal, &tags);
            if !visible(&head) {
                return None;
            }
            let found = Found { created_at, id: *id, location: index.heads.location(ordinal) };
            if receive(found, head.author) { None } else { Some(Progress::Stopped) }
        };
        let wanted = |ordinal: u32| match position {
            Some((created_at, id)) => index.heads.compare_to(ordinal, created_at, &id).is_lt(),
            None => until.is_none_or(|until| index.heads.created_at(ordinal) <= until),
        };
        let end = match source {
            Source::Ordinals(ordinals) => ordinals.into_iter().filter(|&one| wanted(one)).find_map(&mut step),
            Source::Lists(lists) => {
                let place = |list| match (position, until) {
                    (None, None) => index.lists.newest(list),
                    _ => index.lists.seek(list, wanted),
                };
                match lists.as_slice() {
                    [only] => {
                        let mut cursor = place(only.posting);
                        std::iter::from_fn(|| index.lists.next(&mut cursor)).find_map(&mut step)
                    }
                    _ => {
                        let newest = position.map(|(created_at, _)| created_at).or(until);
                        Merge::new(index, lists, newest.unwrap_or(u64::MAX), place).find_map(&mut step)
                    }
                }
            }
        };
        end.unwrap_or(Progress::Complete)
    }
}
