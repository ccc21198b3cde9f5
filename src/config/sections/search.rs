//! `[search]`: full-text search (NIP-50), off unless it is asked for.

use serde::{Deserialize, Serialize};

use super::SectionFault;
use crate::config::{KindSet, Settings};
use crate::nips::nip50;

/// `[search]` (in a community: `[community.search]`): full-text search (NIP-50).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Search {
    /// Whether filters may have `search`. An index of all text is then kept on disk.
    pub enabled: bool,
    /// The kinds that are searched. Other kinds are not looked at; private ones never are.
    pub kinds: KindSet,
    /// Words and other conditions that one search may have; one with more is closed at once.
    pub words_max: u32,
    /// The best matches that one search looks at, before rules and other conditions leave out what is not to be shown.
    pub hits_max: u32,
    /// How many requests a search counts as, where requests are limited (`rate.address_requests_per_minute`).
    pub request_cost: u32,
    /// Seconds after which a new event is in the index at the latest, unless more comes than can be read.
    pub lag_seconds: u64,
    /// Whether only what members and trusted authors wrote is found, unless a search says `include:spam`.
    pub trusted_only: bool,
}

/// Text that is made to be read, as far as NIPs have it: notes, threads, pictures, videos, channels, files, polls, comments,
/// patches and issues, goals, highlights, badges, listings, articles, streams, wikis, calendars, apps, communities, groups.
const KINDS: &[u16] = &[
    0, 1, 11, 20, 21, 22, 40, 41, 42, 1_063, 1_068, 1_111, 1_617, 1_618, 1_621, 2_003, 9_041, 9_802, 30_009,
    30_017, 30_018, 30_020, 30_023, 30_040, 30_041, 30_311, 30_402, 30_617, 30_818, 31_922, 31_923, 31_924,
    31_990, 32_267, 34_235, 34_236, 34_550, 39_000, 39_089,
];

impl Default for Search {
    fn default() -> Self {
        Search {
            enabled: false,
            kinds: KindSet::of(KINDS),
            words_max: 64,
            hits_max: 10_000,
            request_cost: 5,
            lag_seconds: 2,
            trusted_only: false,
        }
    }
}

/// The bounds of the section's numbers.
pub(in crate::config) const RANGES: &[(&str, u64, u64)] = &[
    ("search.words_max", 1, 1_000),
    ("search.hits_max", 1, 1_000_000),
    ("search.request_cost", 1, 10_000),
    ("search.lag_seconds", 0, 3_600),
];

/// Checks that nothing private is to be searched, and that trust begins with somebody where it decides.
pub(in crate::config) fn check(settings: &Settings) -> Result<(), SectionFault> {
    let Search { enabled, kinds, trusted_only, .. } = &settings.search;
    if let Some(kind) = nip50::private_among(kinds, settings).filter(|_| *enabled) {
        return Err(SectionFault {
            key: "search.kinds",
            problem: format!("has kind {kind}, whose events are private"),
            remedy: "leave it out: what is private is searched by nobody".to_owned(),
        });
    }
    if *enabled && *trusted_only && settings.trust.roots.is_empty() && settings.authors.members.is_empty() {
        return Err(SectionFault {
            key: "search.trusted_only",
            problem: "leaves nothing to be found: nobody is trusted, and there are no members".to_owned(),
            remedy: "name people in trust.roots or authors.members".to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_private_is_searched_and_somebody_is_trusted() {
        let roots = format!("[trust]\nroots = [\"{}\"]\n", "7".repeat(64));
        let table = [
            (String::new(), None),
            ("[search]\nenabled = true".to_owned(), None),
            ("[search]\nenabled = true\nkinds = [1, 4]".to_owned(), Some("search.kinds")),
            ("[search]\nenabled = true\nkinds = [\"1000-2000\"]".to_owned(), Some("search.kinds")),
            ("[search]\nkinds = [\"1000-2000\"]".to_owned(), None),
            ("[nip17]\nprivate_kinds = [1]\n[search]\nenabled = true".to_owned(), Some("search.kinds")),
            ("[search]\nenabled = true\ntrusted_only = true".to_owned(), Some("search.trusted_only")),
            (format!("{roots}[search]\nenabled = true\ntrusted_only = true"), None),
        ];
        for (text, key) in table {
            let settings: Settings = toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(check(&settings).err().map(|fault| fault.key), key, "{text}");
        }
    }
}
