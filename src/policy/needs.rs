//! What of its stored events a community must learn for its rules: nothing, unless a rule asks. In: settings.
//! Out: flags. Here a new rule that uses [`crate::rule::people`] or [`crate::rule::hidden`] says so.

use crate::config::{BlocklistPart, ListKind, Settings};

/// What a community's rules need to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// How far people are from `trust.roots`.
    pub hops: bool,
    /// Whom everybody follows, and not only those near the roots.
    pub follows: bool,
    /// What profiles claim.
    pub profiles: bool,
    /// What moderators mute.
    pub mutes: bool,
    /// What is reported.
    pub reports: bool,
}

impl Needs {
    /// The needs of the rules that ask for something under these settings.
    pub fn of(settings: &Settings) -> Needs {
        let (trust, reports, nip13) = (&settings.trust, &settings.reports, &settings.nip13);
        let (bridge, blocklist, search) = (&settings.bridge, &settings.blocklist, &settings.search);
        let hides_bridged = !bridge.protocols_hidden.is_empty() || !bridge.domains_hidden.is_empty();
        let is_listed = |part| !blocklist.files.is_empty() && blocklist.apply_to.contains(&part);
        let lists_domains = settings.shared_lists.follows(|one| one.lists.contains(&ListKind::Domains));
        let is_shared = |part| lists_domains && blocklist.apply_to.contains(&part);
        let asks_for_work = nip13.difficulty_min > 0 || !nip13.difficulty_min_by_kind.is_empty();
        Needs {
            hops: trust.write
                || trust.rate_exempt
                || trust.read_first
                || asks_for_work && nip13.difficulty_max_trusted.is_some()
                || reports.count() && reports.hops_max.is_some()
                || search.enabled && search.trusted_only,
            // What is silenced is shown to followers.
            follows: settings.followers.is_on()
                || hides_bridged
                || is_listed(BlocklistPart::Proxy)
                || is_listed(BlocklistPart::Nip05),
            profiles: trust.asks_for_nip05()
                || search.enabled
                || !bridge.bridge_keys.is_empty()
                || is_listed(BlocklistPart::Nip05)
                || is_shared(BlocklistPart::Nip05),
            mutes: !reports.moderators.is_empty(),
            reports: reports.count(),
        }
    }

    /// Whether nothing needs to be learned.
    pub fn is_empty(&self) -> bool {
        *self == Needs::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rules_that_ask_for_something_need_to_know() {
        let needs = |text: &str| {
            let settings: Settings = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let Needs { hops, follows, profiles, mutes, reports } = Needs::of(&settings);
            [hops, follows, profiles, mutes, reports].map(u8::from)
        };
        let key = "7".repeat(64);
        let follow = |more: &str| {
            format!("[[shared_lists.follow]]\nrelay = \"wss://a.example\"\npubkey = \"{key}\"\n{more}")
        };
        let table = [
            (String::new(), [0, 0, 0, 0, 0]),
            (format!("[trust]\nroots = [\"{key}\"]"), [0, 0, 0, 0, 0]),
            ("[trust]\nwrite = true".to_owned(), [1, 0, 0, 0, 0]),
            ("[trust]\nrate_exempt = true".to_owned(), [1, 0, 0, 0, 0]),
            ("[trust]\nread_first = true".to_owned(), [1, 0, 0, 0, 0]),
            ("[trust]\nnip05_required = true".to_owned(), [0, 0, 1, 0, 0]),
            ("[trust]\nnip05_domains = [\"x.org\"]".to_owned(), [0, 0, 1, 0, 0]),
            ("[nip13]\ndifficulty_max_trusted = 1".to_owned(), [0, 0, 0, 0, 0]),
            ("[nip13]\ndifficulty_max_trusted = 1\ndifficulty_min = 2".to_owned(), [1, 0, 0, 0, 0]),
            ("[nip13]\ndifficulty_min = 2".to_owned(), [0, 0, 0, 0, 0]),
            (format!("[reports]\nmoderators = [\"{key}\"]"), [0, 0, 0, 1, 0]),
            (format!("[reports]\nreporters = [\"{key}\"]"), [0, 0, 0, 0, 0]),
            ("[reports]\nevent_threshold = 1".to_owned(), [0, 0, 0, 0, 1]),
            ("[reports]\nauthor_threshold = 1\nhops_max = 1".to_owned(), [1, 0, 0, 0, 1]),
            ("[reports]\nhops_max = 1".to_owned(), [0, 0, 0, 0, 0]),
            ("[bridge]\nprotocols_hidden = [\"rss\"]".to_owned(), [0, 1, 0, 0, 0]),
            ("[bridge]\ndomains_hidden = [\"x.org\"]".to_owned(), [0, 1, 0, 0, 0]),
            (format!("[bridge]\nbridge_keys = [\"{key}\"]"), [0, 0, 1, 0, 0]),
            ("[blocklist]\nfiles = [\"x.csv\"]".to_owned(), [0, 1, 1, 0, 0]),
            ("[blocklist]\nfiles = [\"x.csv\"]\napply_to = [\"proxy\"]".to_owned(), [0, 1, 0, 0, 0]),
            ("[blocklist]\nfiles = [\"x.csv\"]\napply_to = [\"links\"]".to_owned(), [0, 0, 0, 0, 0]),
            (follow("lists = [\"domains\"]"), [0, 0, 1, 0, 0]),
            (follow("lists = [\"pubkeys\"]"), [0, 0, 0, 0, 0]),
            (follow("[blocklist]\napply_to = [\"links\"]"), [0, 0, 0, 0, 0]),
            ("[search]\nenabled = true".to_owned(), [0, 0, 1, 0, 0]),
            ("[search]\nenabled = true\ntrusted_only = true".to_owned(), [1, 0, 1, 0, 0]),
            ("[search]\ntrusted_only = true".to_owned(), [0, 0, 0, 0, 0]),
            ("[followers]\nmarked = true".to_owned(), [0, 1, 0, 0, 0]),
            ("[followers]\nkinds = [1]".to_owned(), [0, 1, 0, 0, 0]),
            ("[followers]\nshown_to = \"mutual\"".to_owned(), [0, 0, 0, 0, 0]),
        ];
        for (text, expected) in table {
            assert_eq!(needs(&text), expected, "{text}");
        }
    }
}
