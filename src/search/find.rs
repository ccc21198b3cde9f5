//! Answers one search from one moment of a community's search index. In: a filter, and what it asks for. Out: ids, best
//! first, as many as are wanted. Filters are asked here as far as hashes tell; whoever gets the ids asks again.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use tantivy::columnar::Column;
use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, EnableScoring, Occur, PhraseQuery, Query, TermQuery,
    TermSetQuery,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocId, Searcher, SegmentReader, TERMINATED, TantivyError, Term};

use super::folder::{CREATED_AT, Fields, ID, Marks};
use super::text::Token;
use crate::event::Id;
use crate::filter::{Filter, places};
use crate::nips::nip50::Asked;

/// How much more a word of a title says than one of a text.
const TITLE_BOOST: f32 = 3.0;

/// Documents that are looked at before the time is.
const DOCUMENTS_AT_ONCE: usize = 1_024;

/// What events must have of the words and phrases that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// All of them.
    All,
    /// At least one.
    Any,
}

/// A search index as of one moment.
pub struct Ready {
    pub(super) searcher: Searcher,
    pub(super) fields: Fields,
    pub(super) marks: Marks,
    /// Events with lower numbers can be found.
    pub upto: u64,
    /// Bytes of its files.
    pub disk_bytes: u64,
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Hits {
    /// Best first; those that are as good newest first, then by lowest id.
    pub ids: Vec<(f32, Id)>,
    /// Whether there are more than were wanted, or time ran out.
    pub is_cut: bool,
}

/// A document that matches, by what it is ordered.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scored {
    score: f32,
    created_at: u64,
    id: Id,
}

impl Eq for Scored {}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        let scores = self.score.total_cmp(&other.score);
        scores.then(self.created_at.cmp(&other.created_at)).then_with(|| other.id.cmp(&self.id))
    }
}

/// The columns of a segment.
struct Columns {
    created_at: Column<u64>,
    id: [Column<u64>; 4],
}

impl Columns {
    fn of(segment: &SegmentReader) -> tantivy::Result<Columns> {
        let fast = segment.fast_fields();
        let [a, b, c, d] = ID;
        Ok(Columns {
            created_at: fast.u64(CREATED_AT)?,
            id: [fast.u64(a)?, fast.u64(b)?, fast.u64(c)?, fast.u64(d)?],
        })
    }

    fn created_at(&self, document: DocId) -> u64 {
        self.created_at.first(document).unwrap_or_default()
    }

    fn id(&self, document: DocId) -> Id {
        let mut id = Id([0; 32]);
        for (bytes, column) in id.0.as_chunks_mut::<8>().0.iter_mut().zip(&self.id) {
            *bytes = column.first(document).unwrap_or_default().to_be_bytes();
        }
        id
    }
}

impl Ready {
    /// How many events can be found.
    pub fn events(&self) -> u64 {
        self.searcher.num_docs()
    }

    /// Finds up to `most` events, the best ones of all that match.
    ///
    /// # Errors
    /// A sentence for the operator, when the index's files cannot be read.
    pub fn find(
        &self,
        filter: &Filter,
        asked: &Asked,
        matching: Match,
        most: usize,
        is_over: impl Fn() -> bool,
    ) -> Result<Hits, String> {
        self.best(filter, &*self.query(filter, asked, matching), most, is_over)
            .map_err(|error| error.to_string())
    }

    fn best(
        &self,
        filter: &Filter,
        query: &dyn Query,
        most: usize,
        is_over: impl Fn() -> bool,
    ) -> Result<Hits, TantivyError> {
        let weight = query.weight(EnableScoring::enabled_from_searcher(&self.searcher))?;
        let mut best: BinaryHeap<Reverse<Scored>> = BinaryHeap::new();
        let mut is_cut = false;
        for segment in self.searcher.segment_readers() {
            let columns = Columns::of(segment)?;
            let mut scorer = weight.scorer(segment, 1.0)?;
            let mut seen = 0;
            while scorer.doc() != TERMINATED {
                let document = scorer.doc();
                seen += 1;
                if seen % DOCUMENTS_AT_ONCE == 0 && is_over() {
                    is_cut = true;
                    break;
                }
                let created_at = columns.created_at(document);
                if !segment.is_deleted(document) && filter.matches_time(created_at) {
                    let score = scorer.score();
                    let worst = best.peek().map(|Reverse(worst)| (worst.score, worst.created_at));
                    let is_worse = |(worst, time): (f32, u64)| {
                        score.total_cmp(&worst).then(created_at.cmp(&time)) == Ordering::Less
                    };
                    if best.len() >= most && worst.is_some_and(is_worse) {
                        is_cut = true;
                    } else {
                        best.push(Reverse(Scored { score, created_at, id: columns.id(document) }));
                        is_cut |= best.len() > most && best.pop().is_some();
                    }
                }
                scorer.advance();
            }
        }
        // The worst of what is turned around comes last.
        let ids = best.into_sorted_vec().into_iter().map(|Reverse(one)| (one.score, one.id)).collect();
        Ok(Hits { ids, is_cut })
    }

    /// Shows the id of every event that can be found, in no order.
    pub(super) fn each_id(&self, mut show: impl FnMut(Id)) -> Result<(), TantivyError> {
        for segment in self.searcher.segment_readers() {
            let columns = Columns::of(segment)?;
            segment.doc_ids_alive().for_each(|document| show(columns.id(document)));
        }
        Ok(())
    }

    fn query(&self, filter: &Filter, asked: &Asked, matching: Match) -> Box<dyn Query> {
        let Asked { wanted, unwanted, languages, hides_warned, .. } = asked;
        let occurs = if matching == Match::All { Occur::Must } else { Occur::Should };
        let words: Vec<(Occur, Box<dyn Query>)> =
            wanted.iter().map(|one| (occurs, self.words(one))).collect();
        let scored: Box<dyn Query> = match words.is_empty() {
            true => Box::new(ConstScoreQuery::new(Box::new(AllQuery), 1.0)),
            false => Box::new(BooleanQuery::new(words)),
        };
        let mut parts = vec![(Occur::Must, scored)];
        let unwanted = unwanted.iter().map(|one| (Occur::MustNot, self.words(one)));
        parts.extend(unwanted);
        if *hides_warned {
            parts.push((Occur::MustNot, term(self.marks.warned())));
        }
        let marks = self.marks;
        let mut must = |terms: Vec<Term>| parts.push((Occur::Must, any_of(terms)));
        if !languages.is_empty() {
            must(languages.iter().map(|language| marks.language(language)).collect());
        }
        if let Some(ids) = &filter.ids {
            must(ids.iter().map(|id| marks.id(id)).collect());
        }
        if let Some(authors) = &filter.authors {
            must(authors.iter().map(|author| marks.author(author)).collect());
        }
        if let Some(kinds) = &filter.kinds {
            must(kinds.iter().map(|kind| marks.kind(*kind)).collect());
        }
        for (letter, values) in &filter.tags {
            let prefixes = if *letter == places::LETTER { filter.prefixes.as_slice() } else { &[] };
            let values = values.iter().map(|value| marks.tag(*letter, value));
            must(values.chain(prefixes.iter().map(|prefix| marks.place(prefix))).collect());
        }
        Box::new(BooleanQuery::new(parts))
    }

    /// Documents that have the tokens one after the other, in their title or in their text.
    fn words(&self, sequence: &[Token]) -> Box<dyn Query> {
        let title = Box::new(BoostQuery::new(in_field(self.fields.title, sequence), TITLE_BOOST));
        Box::new(BooleanQuery::new(vec![
            (Occur::Should, title),
            (Occur::Should, in_field(self.fields.body, sequence)),
        ]))
    }
}

fn in_field(field: Field, sequence: &[Token]) -> Box<dyn Query> {
    let first = sequence.first().map_or(0, |token| token.position);
    let terms = sequence
        .iter()
        .map(|token| ((token.position - first) as usize, Term::from_field_text(field, &token.text)));
    match <[_; 1]>::try_from(terms.collect::<Vec<(usize, Term)>>()) {
        Ok([(_, only)]) => Box::new(TermQuery::new(only, IndexRecordOption::WithFreqs)),
        Err(terms) if terms.is_empty() => Box::new(AllQuery),
        Err(terms) => Box::new(PhraseQuery::new_with_offset(terms)),
    }
}

fn term(term: Term) -> Box<dyn Query> {
    Box::new(ConstScoreQuery::new(Box::new(TermQuery::new(term, IndexRecordOption::Basic)), 0.0))
}

/// Documents with one of these marks; none, when there are none.
fn any_of(terms: Vec<Term>) -> Box<dyn Query> {
    match <[Term; 1]>::try_from(terms) {
        Ok([only]) => term(only),
        Err(terms) => Box::new(ConstScoreQuery::new(Box::new(TermSetQuery::new(terms)), 0.0)),
    }
}
