//! `[reports]`: whose reports, labels and mute lists hide what, in a way that can be taken back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::SectionFault;
use crate::config::{Keys, Mode};

/// `[reports]` (in a community: `[community.reports]`): reports (NIP-56), labels (NIP-32) and the mute lists of
/// moderators (NIP-51).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reports {
    /// Whether its rules hide and refuse, or only count and log what they would refuse.
    pub mode: Mode,
    /// People whose public mute lists (kind 10000) hide authors and events for everybody. They still see what
    /// is hidden, and no report hides what they write.
    pub moderators: Keys,
    /// Trusted reporters whose reports hide an event; 0: none do.
    pub event_threshold: u32,
    /// Trusted reporters whose reports hide all events of an author; 0: none do.
    pub author_threshold: u32,
    /// People whose reports count.
    pub reporters: Keys,
    /// Whether the reports of members (`authors.members`) count.
    pub by_members: bool,
    /// The reports of people up to this far from `trust.roots` count: 0 the roots', 1 those of whom they follow,
    /// and so on, not beyond `trust.hops_max`. Unset: distance says nothing.
    pub hops_max: Option<u8>,
    /// The types of reports that count; empty means all that are named.
    pub types: Vec<String>,
    /// Labels that count as reports: by namespace, each with its labels, of which none mean all. Empty: no label
    /// counts.
    pub labels: BTreeMap<String, Vec<String>>,
    /// Whether new events are refused when their author, or they themselves, are hidden already; else they are
    /// stored, and hidden.
    pub refuse: bool,
    /// Reports and labels by trusted reporters that are looked at, the newest first; older ones do not count.
    pub reports_max: u32,
}

impl Default for Reports {
    fn default() -> Self {
        Reports {
            mode: Mode::default(),
            moderators: Keys::default(),
            event_threshold: 0,
            author_threshold: 0,
            reporters: Keys::default(),
            by_members: false,
            hops_max: None,
            types: Vec::new(),
            labels: BTreeMap::new(),
            refuse: true,
            reports_max: 100_000,
        }
    }
}

/// The bounds of the section's numbers.
pub(in crate::config) const RANGES: &[(&str, u64, u64)] = &[
    ("reports.event_threshold", 0, 1_000_000),
    ("reports.author_threshold", 0, 1_000_000),
    ("reports.reports_max", 1, 100_000_000),
];

impl Reports {
    /// Whether reports or labels hide anything.
    pub fn count(&self) -> bool {
        self.event_threshold > 0 || self.author_threshold > 0
    }

    /// Checks that somebody's reports count where a threshold is set. `hops_reach` is `trust.hops_max`, and
    /// `has_roots` whether trust begins with anybody.
    pub(in crate::config) fn check(&self, hops_reach: u8, has_roots: bool) -> Result<(), SectionFault> {
        if self.hops_max.is_some_and(|hops| hops > hops_reach) {
            return Err(SectionFault {
                key: "reports.hops_max",
                problem: format!("must be at most trust.hops_max ({hops_reach})"),
                remedy: "lower it, or raise trust.hops_max".to_owned(),
            });
        }
        if self.count()
            && self.reporters.is_empty()
            && !self.by_members
            && (self.hops_max.is_none() || !has_roots)
        {
            return Err(SectionFault {
                key: "reports.reporters",
                problem: "must not be empty where a threshold is set, or nobody's reports count".to_owned(),
                remedy: "write keys, or set by_members, or hops_max and trust.roots".to_owned(),
            });
        }
        if self.types.iter().any(String::is_empty) {
            return Err(SectionFault {
                key: "reports.types",
                problem: "holds an empty text".to_owned(),
                remedy: "write types such as \"spam\" or \"illegal\"".to_owned(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_need_reporters() {
        let key = "7".repeat(64);
        let table = [
            (String::new(), None),
            ("event_threshold = 1".to_owned(), Some("reports.reporters")),
            ("author_threshold = 1".to_owned(), Some("reports.reporters")),
            (format!("event_threshold = 1\nreporters = [\"{key}\"]"), None),
            ("event_threshold = 1\nby_members = true".to_owned(), None),
            ("event_threshold = 1\nhops_max = 2".to_owned(), None),
            ("event_threshold = 1\nhops_max = 3".to_owned(), Some("reports.hops_max")),
            ("types = [\"spam\", \"\"]".to_owned(), Some("reports.types")),
        ];
        for (text, key) in table {
            let reports: Reports = toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(reports.check(2, true).err().map(|fault| fault.key), key, "{text}");
        }
        let by_distance = Reports { event_threshold: 1, hops_max: Some(0), ..Reports::default() };
        assert!(by_distance.check(2, false).is_err());
        assert!(by_distance.check(2, true).is_ok());
    }
}
