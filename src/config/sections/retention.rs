//! `[retention]`: how long events are kept, how many, and how many of one author.

use serde::{Deserialize, Serialize};

use super::SectionFault;
use crate::config::{KindMap, KindSet};
use crate::event::Kind;

/// The bounds of this section's numbers.
pub(super) const RANGES: &[(&str, u64, u64)] = &[
    ("retention.events_max", 0, 1_000_000_000_000),
    ("retention.bytes_max", 0, 1 << 50),
    ("retention.events_per_author_max", 0, 1_000_000_000),
    ("retention.bytes_per_author_max", 0, 1 << 50),
    ("retention.sweep_events_per_second", 1, 1_000_000),
];

/// Days of an age that is surely meant: a hundred years.
const AGE_DAYS_MAX: u64 = 36_525;

/// `[retention]`: how long events are kept, and how many.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Days after their `created_at` in which events of these kinds are kept; others are kept for ever.
    pub age_days_max_by_kind: KindMap<u64>,
    /// Events of the kinds of each entry together, those of protected kinds aside; beyond it the oldest go.
    pub events_max_by_kind: KindMap<u64>,
    /// Events of the community, those of protected kinds aside; beyond it the oldest go. 0 is any number.
    pub events_max: u64,
    /// Bytes of its events in the store, about; beyond it the oldest go. 0 is any number.
    pub bytes_max: u64,
    /// Events that one author may have here, those of protected kinds aside. 0 is any number.
    pub events_per_author_max: u64,
    /// Bytes that one author's events may take in the store, about, those of protected kinds aside. 0 is any
    /// number.
    pub bytes_per_author_max: u64,
    /// What happens to an event that its author has no room for.
    pub author_full: AuthorFull,
    /// Kinds that are never removed by this section, and that no author is refused.
    pub kinds_protected: KindSet,
    /// Events that are removed in a second at most.
    pub sweep_events_per_second: u64,
}

/// What happens to an event that its author has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthorFull {
    /// It is refused.
    #[default]
    Refuse,
    /// It takes the place of the author's oldest.
    Oldest,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age_days_max_by_kind: KindMap::default(),
            events_max_by_kind: KindMap::default(),
            events_max: 0,
            bytes_max: 0,
            events_per_author_max: 0,
            bytes_per_author_max: 0,
            author_full: AuthorFull::Refuse,
            kinds_protected: KindSet::of(&[0, 3, 5, 62, 10_002]),
            sweep_events_per_second: 1_000,
        }
    }
}

impl Retention {
    /// Whether stored events may have to go by and by.
    pub fn sweeps(&self) -> bool {
        !self.age_days_max_by_kind.is_empty()
            || !self.events_max_by_kind.is_empty()
            || self.events_max > 0
            || self.bytes_max > 0
    }

    /// Whether there are bounds on what one author may have.
    pub fn bounds_authors(&self) -> bool {
        self.events_per_author_max > 0 || self.bytes_per_author_max > 0
    }

    /// Whether events of this kind stay, whatever the other settings say.
    pub fn protects(&self, kind: Kind) -> bool {
        self.kinds_protected.contains(kind)
    }

    pub(in crate::config) fn check(&self) -> Result<(), SectionFault> {
        let is_age = |days: &u64| (1..=AGE_DAYS_MAX).contains(days);
        if self.age_days_max_by_kind.iter().any(|(_, days)| !is_age(days)) {
            return Err(SectionFault {
                key: "retention.age_days_max_by_kind",
                problem: format!("each number of days must be from 1 to {AGE_DAYS_MAX}"),
                remedy: "write for example { \"1\" = 365 }; a kind that is not named is kept for ever"
                    .to_owned(),
            });
        }
        Ok(())
    }
}
