//! From a filter to the lists that a scan merges: the most selective of its conditions. The others are
//! checked on each row. In: a filter. Out: lists and what is left to check.

use super::authors::AuthorKind;
use super::heads::{Row, narrow};
use super::lists::Posting;
use super::{Index, PREFIX};
use crate::event::Kind;
use crate::filter::{Filter, places};

/// What it costs to find the way into a list, in rows looked at.
const LIST_COST: usize = 4;

/// Where candidates come from.
#[derive(Debug)]
pub(super) enum Source {
    /// These ordinals, newest first.
    Ordinals(Vec<u32>),
    /// The merge of these lists.
    Lists(Vec<Listed>),
}

/// A list that a scan merges.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed {
    pub(super) posting: Posting,
    /// None of its events is newer; the largest number says nothing.
    pub(super) newest: u32,
}

impl From<Posting> for Listed {
    fn from(posting: Posting) -> Listed {
        Listed { posting, newest: u32::MAX }
    }
}

/// What a row must still be checked for.
#[derive(Debug, Default)]
pub(super) struct Remaining {
    authors: Option<Vec<u32>>,
    kinds: Option<Vec<Kind>>,
    /// One list of value numbers for each tag condition.
    tags: Vec<Vec<u32>>,
}

/// How a filter is answered.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) source: Source,
    pub(super) remaining: Remaining,
}

impl Remaining {
    /// Whether a row meets the conditions that its list does not promise.
    pub(super) fn admits(&self, index: &Index, row: &Row) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.binary_search(&row.kind).is_ok())
            && self.authors.as_ref().is_none_or(|authors| authors.binary_search(&row.author).is_ok())
            && (self.tags.is_empty() || {
                let carried = index.tags.of(row);
                self.tags.iter().all(|wanted| carried.iter().any(|value| wanted.binary_search(value).is_ok()))
            })
    }
}

/// Which condition of a filter is answered by lists.
#[derive(Clone, Copy, PartialEq)]
enum Choice {
    Authors,
    Kinds,
    Tag(usize),
    Time,
}

impl Index {
    /// Chooses how to answer a filter. `by_kind`: events of other kinds than those that it names are not looked at,
    /// whatever else would be cheaper.
    pub(super) fn plan(&self, filter: &Filter, by_kind: bool) -> Plan {
        let Some(mut remaining) = self.resolve(filter, by_kind) else {
            return Plan { source: Source::Ordinals(Vec::new()), remaining: Remaining::default() };
        };
        if let Some(ids) = &filter.ids {
            let mut ordinals: Vec<u32> = ids.iter().filter_map(|id| self.ordinal_of(id)).collect();
            if by_kind {
                ordinals.retain(|ordinal| remaining.admits(self, self.heads.get(*ordinal)));
            }
            ordinals.sort_unstable_by(|&left, &right| super::lists::Order::compare(&self.heads, right, left));
            return Plan { source: Source::Ordinals(ordinals), remaining };
        }
        let all = vec![self.time.into()];
        let mut best = match by_kind && remaining.kinds.is_some() {
            true => (usize::MAX, Choice::Time, all),
            false => (self.cost(&all, filter), Choice::Time, all),
        };
        let mut consider = |choice: Choice, lists: Vec<Listed>| {
            // To look where a time range begins and ends in each of many lists costs more than it tells when
            // the lists are short enough as a whole.
            let most = self.cost_at_most(&lists);
            let cost = if most < best.0 { most } else { self.cost(&lists, filter) };
            if cost < best.0 {
                best = (cost, choice, lists);
            }
        };
        if let Some(kinds) = &remaining.kinds {
            let lists = kinds.iter().filter_map(|kind| self.kinds.get(kind));
            let lists = lists.map(|&posting| posting.into()).collect();
            consider(Choice::Kinds, lists);
        }
        for (which, values) in remaining.tags.iter().enumerate().filter(|_| !by_kind) {
            consider(
                Choice::Tag(which),
                values.iter().map(|&value| self.values.get(value).posting.into()).collect(),
            );
        }
        if let Some(authors) = &remaining.authors {
            consider(Choice::Authors, self.author_lists(authors, remaining.kinds.as_deref(), filter.since));
        }
        let (_, choice, lists) = best;
        match choice {
            Choice::Authors => (remaining.authors, remaining.kinds) = (None, None),
            Choice::Kinds => remaining.kinds = None,
            Choice::Tag(which) => drop(remaining.tags.swap_remove(which)),
            Choice::Time => {}
        }
        Plan { source: Source::Lists(lists), remaining }
    }

    /// Turns keys and values into numbers; `None` when a condition can match nothing that is stored. Where only events
    /// of the filter's kinds may be looked at, that no event at all has a value makes no difference.
    fn resolve(&self, filter: &Filter, by_kind: bool) -> Option<Remaining> {
        let mut remaining = Remaining::default();
        if let Some(authors) = &filter.authors {
            let mut numbers: Vec<u32> =
                authors.iter().filter_map(|key| self.authors.find(&self.hashes, key)).collect();
            numbers.sort_unstable();
            remaining.authors = Some(numbers).filter(|numbers| !numbers.is_empty());
            remaining.authors.as_ref()?;
        }
        if let Some(kinds) = &filter.kinds {
            let known: Vec<Kind> =
                kinds.iter().copied().filter(|kind| self.kinds.contains_key(kind)).collect();
            remaining.kinds = Some(known).filter(|known| !known.is_empty());
            remaining.kinds.as_ref()?;
        }
        for (letter, values) in &filter.tags {
            let keys = values.iter().map(|value| self.hashes.value(*letter, value));
            let prefixes = if *letter == places::LETTER { filter.prefixes.as_slice() } else { &[] };
            let keys = keys.chain(prefixes.iter().map(|prefix| self.hashes.value(PREFIX, prefix)));
            let mut numbers: Vec<u32> = keys.filter_map(|key| self.values.find_value(key)).collect();
            numbers.sort_unstable();
            if numbers.is_empty() && !by_kind {
                return None;
            }
            remaining.tags.push(numbers);
        }
        for (letter, value) in &filter.all_tags {
            let number = self.values.find_value(self.hashes.value(*letter, value));
            if number.is_none() && !by_kind {
                return None;
            }
            remaining.tags.push(number.into_iter().collect());
        }
        Some(remaining)
    }

    fn author_lists(&self, authors: &[u32], kinds: Option<&[Kind]>, since: Option<u64>) -> Vec<Listed> {
        let since = narrow(since.unwrap_or(0));
        let mut lists = Vec::with_capacity(authors.len());
        for &author in authors {
            let wrote = self.authors.kinds(author).iter().filter(|entry| entry.newest >= since);
            let wanted =
                wrote.filter(|entry| kinds.is_none_or(|kinds| kinds.binary_search(&entry.kind).is_ok()));
            lists.extend(wanted.map(|&AuthorKind { posting, newest, .. }| Listed { posting, newest }));
        }
        lists
    }

    /// What [`Index::cost`] is without a time range.
    fn cost_at_most(&self, lists: &[Listed]) -> usize {
        lists.iter().map(|list| LIST_COST + self.lists.len(list.posting)).sum()
    }

    /// About how many rows these lists would make a scan look at, and a few for finding the way into
    /// each list.
    fn cost(&self, lists: &[Listed], filter: &Filter) -> usize {
        let mut cost = 0;
        for &Listed { posting: list, .. } in lists {
            let len = self.lists.len(list);
            cost += LIST_COST;
            cost += match (filter.since, filter.until) {
                (None, None) => len,
                // Short lists are not worth a search.
                _ if len <= 64 => len,
                (since, until) => {
                    let older = |time: u64| {
                        let place = self.lists.seek(list, |ordinal| self.heads.created_at(ordinal) < time);
                        self.lists.about_before(&place)
                    };
                    let end = until.map_or(len, |until| older(until.saturating_add(1)));
                    end.saturating_sub(since.map_or(0, older))
                }
            };
        }
        cost
    }
}
