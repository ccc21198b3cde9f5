//! `[trust]`: who is trusted, out of the follow lists that the community has stored, and what that is good for.

use serde::{Deserialize, Serialize};

use super::SectionFault;
use crate::config::{Keys, Mode};
use crate::domain;

/// `[trust]` (in a community: `[community.trust]`): a web of trust out of stored follow lists (kind 3).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trust {
    /// Whether its rules refuse, or only count and log what they would refuse.
    pub mode: Mode,
    /// The people with whom trust begins.
    pub roots: Keys,
    /// How far trust reaches: 0 the roots alone, 1 whom they follow, 2 whom those follow, and so on.
    pub hops_max: u8,
    /// Whether only events of trusted authors and members are taken.
    pub write: bool,
    /// Whether trusted authors and members are exempt from the rate limits by author.
    pub rate_exempt: bool,
    /// Whether the stored events of one answer that trusted authors and members wrote are sent before the
    /// others; which events an answer holds is the same.
    pub read_first: bool,
    /// Whether an author's profile must claim a NIP-05 name. Members are free of it.
    pub nip05_required: bool,
    /// The only domains that such a name may be of; empty means any.
    pub nip05_domains: Vec<String>,
    /// People that are kept in memory with whom they follow; those beyond are not known to be followed.
    pub keys_max: u32,
    /// Follows that are kept in memory, of all people together; those beyond are not known.
    pub follows_max: u32,
    /// Seconds between two looks at what is stored, for this section, `[reports]` and `[followers]`.
    pub rebuild_seconds: u64,
}

impl Default for Trust {
    fn default() -> Self {
        Trust {
            mode: Mode::default(),
            roots: Keys::default(),
            hops_max: 2,
            write: false,
            rate_exempt: false,
            read_first: false,
            nip05_required: false,
            nip05_domains: Vec::new(),
            keys_max: 500_000,
            follows_max: 10_000_000,
            rebuild_seconds: 1,
        }
    }
}

/// The bounds of the section's numbers. Beyond a few hops everybody is trusted.
pub(in crate::config) const RANGES: &[(&str, u64, u64)] = &[
    ("trust.hops_max", 0, 8),
    ("trust.keys_max", 1, 100_000_000),
    ("trust.follows_max", 1, 1_000_000_000),
    ("trust.rebuild_seconds", 0, 86_400),
];

impl Trust {
    /// Whether a profile must claim a NIP-05 name.
    pub fn asks_for_nip05(&self) -> bool {
        self.nip05_required || !self.nip05_domains.is_empty()
    }

    /// Checks that trust begins with somebody where it decides, and that domains look like domains.
    pub(in crate::config) fn check(&self) -> Result<(), SectionFault> {
        if self.roots.is_empty() && (self.write || self.rate_exempt) {
            return Err(SectionFault {
                key: "trust.roots",
                problem: "must not be empty where trust decides, or nobody is trusted".to_owned(),
                remedy: "write the keys of people whom you trust, such as your own".to_owned(),
            });
        }
        let is_domain =
            |name: &&String| domain::normalize(name).is_some_and(|normalized| normalized == name.as_str());
        match self.nip05_domains.iter().find(|domain| !is_domain(domain)) {
            None => Ok(()),
            Some(domain) => Err(SectionFault {
                key: "trust.nip05_domains",
                problem: format!("{domain:?} must be a domain in lower case, such as \"example.org\""),
                remedy: "write what stands behind the @ of a name; other scripts in their xn-- form"
                    .to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_begins_with_somebody_and_domains_are_domains() {
        let roots = format!("roots = [\"{}\"]", "7".repeat(64));
        let table = [
            (String::new(), None),
            (format!("{roots}\nwrite = true"), None),
            ("write = true".to_owned(), Some("trust.roots")),
            ("rate_exempt = true".to_owned(), Some("trust.roots")),
            ("nip05_domains = [\"example.org\", \"xn--bcher-kva.example\"]".to_owned(), None),
            ("nip05_domains = [\"\"]".to_owned(), Some("trust.nip05_domains")),
            ("nip05_domains = [\"Example.org\"]".to_owned(), Some("trust.nip05_domains")),
            ("nip05_domains = [\"a@example.org\"]".to_owned(), Some("trust.nip05_domains")),
            ("nip05_domains = [\".example.org\"]".to_owned(), Some("trust.nip05_domains")),
            ("nip05_domains = [\"bücher.example\"]".to_owned(), Some("trust.nip05_domains")),
        ];
        for (text, key) in table {
            let trust: Trust = toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(trust.check().err().map(|fault| fault.key), key, "{text}");
        }
    }
}
