//! One file for each NIP that has rules of its own, pure. What each does for that NIP is told in
//! `nips/NN.md`; a test holds files, pages, tests and [`SUPPORTED`] together.

pub mod nip01;
pub mod nip09;
pub mod nip11;
pub mod nip13;
pub mod nip32;
pub mod nip40;
pub mod nip42;
pub mod nip51;
pub mod nip56;
pub mod nip59;
pub mod nip62;
pub mod nip67;
pub mod nip70;

use crate::config::Settings;

/// The NIPs that this relay follows: the only source of `supported_nips` (NIP-11).
pub const SUPPORTED: &[u16] = &[1, 2, 4, 9, 11, 13, 17, 28, 32, 40, 42, 45, 51, 56, 59, 62, 65, 67, 70];

/// Those of [`SUPPORTED`] that a community with these settings follows.
pub fn supported(settings: &Settings) -> Vec<u16> {
    let keeps_private = settings.nip17.enabled && !settings.nip17.private_kinds.is_empty();
    let follows = |nip: &u16| match nip {
        17 | 59 => keeps_private,
        70 => settings.nip70.accept,
        _ => true,
    };
    SUPPORTED.iter().copied().filter(follows).collect()
}
