//! From a filter to the lists that a scan merges: the most selective of its conditions. The others are
//! checked on each row. In: a filter. Out: lists and what is left to check.

use super::heads::Row;
use super::lists::Posting;
use super::{Index, PREFIX};
use crate::event::Kind;
use crate::filter::{Filter, places};

/// Author and kind pairs beyond which a plan walks each author's kinds instead of looking up pairs.
const PAIRS_MAX: usize = 4_096;

/// Where candidates come from.
#[derive(Debug)]
pub(super) enum Source {
    /// These ordinals, newest first.
    Ordinals(Vec<u32>),
    /// The merge of these lists.
    Lists(Vec<Posting>),
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
                let carried = index.lists.fixed(&row.tags);
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
    /// Chooses how to answer a filter.
    pub(super) fn plan(&self, filter: &Filter) -> Plan {
        let Some(mut remaining) = self.resolve(filter) else {
            return Plan { source: Source::Ordinals(Vec::new()), remaining: Remaining::default() };
        };
        if let Some(ids) = &filter.ids {
            let mut ordinals: Vec<u32> = ids.iter().filter_map(|id| self.ordinal_of(id)).collect();
            ordinals.sort_unstable_by(|&left, &right| super::lists::Order::compare(&self.heads, right, left));
            return Plan { source: Source::Ordinals(ordinals), remaining };
        }
        let mut best = (self.cost(&[self.time], filter), Choice::Time, vec![self.time]);
        let mut consider = |choice: Choice, lists: Vec<Posting>| {
            let cost = self.cost(&lists, filter);
            if cost < best.0 {
                best = (cost, choice, lists);
            }
        };
        if let Some(kinds) = &remaining.kinds {
            let lists = kinds.iter().filter_map(|kind| self.kinds.get(kind).copied()).collect();
            consider(Choice::Kinds, lists);
        }
        for (which, values) in remaining.tags.iter().enumerate() {
            consider(
                Choice::Tag(which),
                values.iter().map(|&value| self.values.get(value).posting).collect(),
            );
        }
        if let Some(authors) = &remaining.authors {
            consider(Choice::Authors, self.author_lists(authors, remaining.kinds.as_deref()));
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

    /// Turns keys and values into numbers; `None` when a condition can match nothing that is stored.
    fn resolve(&self, filter: &Filter) -> Option<Remaining> {
        let mut remaining = Remaining::default();
        if let Some(authors) = &filter.authors {
            let mut numbers: Vec<u32> =
                authors.iter().filter_map(|key| self.authors.find_author(&self.hashes, key)).collect();
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
            if numbers.is_empty() {
                return None;
            }
            remaining.tags.push(numbers);
        }
        Some(remaining)
    }

    fn author_lists(&self, authors: &[u32], kinds: Option<&[Kind]>) -> Vec<Posting> {
        let mut lists = Vec::with_capacity(authors.len());
        for &author in authors {
            match kinds {
                Some(kinds) if kinds.len() * authors.len() <= PAIRS_MAX => {
                    let entries = kinds
                        .iter()
                        .filter_map(|&kind| self.author_kinds.find_kind(&self.hashes, author, kind));
                    lists.extend(entries.map(|entry| self.author_kinds.get(entry).posting));
                }
                _ => {
                    let entries = self.lists.iter(self.authors.get(author).kinds);
                    let entries = entries.map(|entry| self.author_kinds.get(entry));
                    let wanted =
                        entries.filter(|entry| kinds.is_none_or(|kinds| kinds.contains(&entry.kind)));
                    lists.extend(wanted.map(|entry| entry.posting));
                }
            }
        }
        lists
    }

    /// About how many rows these lists would make a scan look at, and a few for finding the way into
    /// each list.
    fn cost(&self, lists: &[Posting], filter: &Filter) -> usize {
        let mut cost = 0;
        for &list in lists {
            let len = self.lists.len(list);
            cost += 4;
            cost += match (filter.since, filter.until) {
                (None, None) => len,
                // Short lists are not worth a search.
                _ if len <= 64 => len,
                (since, until) => {
                    let older = |time: u64| {
                        let place =
                            self.lists.seek(list, |ordinal| self.heads.get(ordinal).created_at < time);
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
