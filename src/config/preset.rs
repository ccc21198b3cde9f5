//! Presets: settings that a community begins with, each a file of `presets/` in the form of relay.toml. In:
//! a community's own table. Out: the same over its preset's. Never wins over what the operator wrote.

use serde::{Deserialize, Serialize};
use toml::de::DeTable;

use super::document::{merged, with_relay_section};

/// Settings that a community begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// A neighbourhood: only what belongs to its area.
    GeohashHub,
    /// Stalls, products, auctions and classified listings.
    Marketplace,
    /// Notes, profiles and all that a feed is made of.
    TownSquare,
    /// Members write and read.
    MembersOnly,
    /// Posts that come over bridges from other networks.
    Bridge,
    /// Videos and what belongs to them.
    Video,
}

impl Preset {
    /// All of them.
    pub const ALL: [Preset; 6] = [
        Preset::GeohashHub,
        Preset::Marketplace,
        Preset::TownSquare,
        Preset::MembersOnly,
        Preset::Bridge,
        Preset::Video,
    ];

    /// Its name in relay.toml.
    pub const fn as_str(self) -> &'static str {
        match self {
            Preset::GeohashHub => "geohash-hub",
            Preset::Marketplace => "marketplace",
            Preset::TownSquare => "town-square",
            Preset::MembersOnly => "members-only",
            Preset::Bridge => "bridge",
            Preset::Video => "video",
        }
    }

    /// What it expands to, as a `[[community]]` would say it.
    pub const fn text(self) -> &'static str {
        match self {
            Preset::GeohashHub => include_str!("presets/geohash-hub.toml"),
            Preset::Marketplace => include_str!("presets/marketplace.toml"),
            Preset::TownSquare => include_str!("presets/town-square.toml"),
            Preset::MembersOnly => include_str!("presets/members-only.toml"),
            Preset::Bridge => include_str!("presets/bridge.toml"),
            Preset::Video => include_str!("presets/video.toml"),
        }
    }
}

/// A table of sections over those of the preset that it names; one that names none stays as it is.
pub(super) fn beneath(own: DeTable<'_>) -> DeTable<'_> {
    let named =
        own.get("relay").and_then(|relay| relay.get_ref().as_table()?.get("preset")?.get_ref().as_str());
    let preset = Preset::ALL.into_iter().find(|preset| named == Some(preset.as_str()));
    // A preset is always right: a test reads each.
    match preset.and_then(|preset| DeTable::parse(preset.text()).ok()) {
        Some(table) => merged(with_relay_section(table.into_inner()), own),
        None => own,
    }
}
