//! One file for each NIP that has rules of its own, pure. What each does for that NIP is told in
//! `nips/NN.md`; a test holds files, pages, tests and [`SUPPORTED`] together.

pub mod nip01;
pub mod nip05;
pub mod nip09;
pub mod nip11;
pub mod nip13;
pub mod nip15;
pub mod nip32;
pub mod nip36;
pub mod nip40;
pub mod nip42;
pub mod nip45;
pub mod nip51;
pub mod nip56;
pub mod nip57;
pub mod nip59;
pub mod nip62;
pub mod nip67;
pub mod nip70;
pub mod nip71;
pub mod nip75;
pub mod nip77;
pub mod nip86;
pub mod nip92;
pub mod nip98;
pub mod nip99;

use crate::config::{Bridge, ContentWarning, Settings};

/// The NIPs that this relay follows: the only source of `supported_nips` (NIP-11).
pub const SUPPORTED: &[u16] = &[
    1, 2, 4, 5, 9, 11, 13, 15, 17, 28, 32, 36, 40, 42, 45, 48, 51, 56, 57, 59, 62, 65, 67, 70, 71, 75, 77,
    86, 92, 98, 99,
];

/// Those of [`SUPPORTED`] that a community with these settings follows.
pub fn supported(settings: &Settings) -> Vec<u16> {
    let keeps_private = settings.nip17.enabled && !settings.nip17.private_kinds.is_empty();
    let follows = |nip: &u16| match nip {
        17 | 59 => keeps_private,
        // Where nothing is asked of them, these events are kept like any other.
        48 => settings.bridge != Bridge::default(),
        57 | 75 => settings.zaps.enabled,
        70 => settings.nip70.accept,
        // Elsewhere its events are taken like any others, and held to nothing.
        15 | 99 => settings.market.enabled,
        36 => settings.media.content_warning != ContentWarning::Free,
        32 => settings.reports.count() && !settings.reports.labels.is_empty(),
        51 => !settings.reports.moderators.is_empty(),
        56 => settings.reports.count(),
        5 => settings.admin.owners.iter().next().is_some() || !settings.nip05.names.is_empty(),
        86 | 98 => !settings.admin.owners.is_empty(),
        77 => settings.nip77.enabled,
        71 => settings.media.videos_checked,
        92 => settings.media.imeta_checked,
        _ => true,
    };
    SUPPORTED.iter().copied().filter(follows).collect()
}
