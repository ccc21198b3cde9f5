//! What of its stored events a community must learn for its rules: nothing, unless a rule asks. In: settings.
//! Out: flags. Here a new rule that uses [`crate::rule::people`] or [`crate::rule::hidden`] says so.

use crate::config::Settings;

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
        let asks_for_work = nip13.difficulty_min > 0 || !nip13.difficulty_min_by_kind.is_empty();
        Needs {
            hops: trust.write
                || trust.rate_exempt
                || asks_for_work && nip13.difficulty_max_trusted.is_some()
                || reports.count() && reports.hops_max.is_some(),
            follows: settings.followers.is_on(),
            profiles: trust.asks_for_nip05(),
            mutes: !reports.moderators.is_empty(),
            reports: reports.count(),
        }
    }

    /// Whether nothing needs to be learned.
    pub fn is_empty(&self) -> bool {
        *self == Needs::default()
    }
}
