//! The sections of relay.toml that make a community's rules, one file each: its settings, their defaults
//! and bounds, and what must hold between them.

mod access;
mod admin;
mod authors;
mod blocklist;
mod bridge;
mod followers;
mod geohash;
mod kinds;
mod market;
mod media;
mod moderation_service;
mod nip05;
mod nip29;
mod nip43;
mod outbox;
mod plugins;
mod reports;
mod retention;
mod search;
mod shared_lists;
mod tags;
mod trust;
mod zaps;

pub use access::{Access, Read, Write};
pub use admin::Admin;
pub use authors::Authors;
pub use blocklist::{Blocklist, BlocklistPart};
pub use bridge::Bridge;
pub use followers::{Followers, ShownTo};
pub use geohash::{Geohash, Replies};
pub use kinds::Kinds;
pub use market::Market;
pub use media::{ContentWarning, Media};
pub use moderation_service::{ModerationService, UntilVerdict, WithoutVerdict};
pub use nip05::Nip05;
pub use nip29::{CreateGroups, Nip29};
pub use nip43::{Invite, Nip43};
pub use outbox::Outbox;
pub use plugins::{Command, Plugin, Plugins, WhenDead};
pub use reports::Reports;
pub use retention::{AuthorFull, Retention};
pub use search::Search;
pub use shared_lists::{Effect, Follow, LIST_ENTRIES_MAX, ListKind, Reasons, SharedLists};
pub use tags::Tags;
pub use trust::Trust;
pub use zaps::{AfterClosed, Zaps};

use super::Settings;

/// What is wrong in a section, besides single numbers out of their range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionFault {
    /// `section.key`.
    pub key: &'static str,
    /// What is wrong, to follow the key and a colon.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

/// The bounds of every number that is a direct key of these sections.
pub(super) const RANGES: &[&[(&str, u64, u64)]] = &[
    geohash::RANGES,
    market::RANGES,
    bridge::RANGES,
    trust::RANGES,
    reports::RANGES,
    retention::RANGES,
    moderation_service::RANGES,
    outbox::RANGES,
    search::RANGES,
    nip29::RANGES,
    nip43::RANGES,
];

/// What must hold within the sections of one community, besides the bounds of single numbers.
pub(super) fn check(settings: &Settings) -> Result<(), SectionFault> {
    settings.nip05.check()?;
    settings.plugins.check()?;
    settings.moderation_service.check()?;
    settings.outbox.check()?;
    settings.media.check()?;
    settings.geohash.check()?;
    settings.market.check()?;
    settings.bridge.check()?;
    settings.blocklist.check()?;
    settings.shared_lists.check(settings.has_own_key())?;
    settings.retention.check()?;
    settings.trust.check()?;
    search::check(settings)?;
    settings.reports.check(settings.trust.hops_max, !settings.trust.roots.is_empty())
}
