//! One file for each NIP that has rules of its own, pure. What each does for that NIP is told in
//! `nips/NN.md`; a test holds files, pages, tests and [`SUPPORTED`] together.

pub mod nip01;
pub mod nip09;
pub mod nip11;
pub mod nip13;
pub mod nip40;
pub mod nip42;
pub mod nip48;
pub mod nip57;
pub mod nip59;
pub mod nip62;
pub mod nip67;
pub mod nip70;
pub mod nip75;

/// The NIPs that this relay follows: the only source of `supported_nips` (NIP-11).
pub const SUPPORTED: &[u16] = &[1, 2, 4, 9, 11, 13, 17, 28, 40, 42, 45, 48, 57, 59, 62, 65, 67, 70, 75];
