//! What the relay does for each NIP that it names in `SUPPORTED`: a module a NIP, a test a clause, all of it
//! over the wire.

#[path = "../common/mod.rs"]
mod common;
#[path = "../model/random.rs"]
#[allow(dead_code, reason = "only its numbers are used here")]
mod random;

mod nip01;
mod nip02;
mod nip04;
mod nip05;
mod nip09;
mod nip11;
mod nip13;
mod nip15;
mod nip17;
mod nip28;
mod nip29;
mod nip32;
mod nip36;
mod nip40;
mod nip42;
mod nip43;
mod nip45;
mod nip48;
mod nip50;
mod nip51;
mod nip56;
mod nip57;
mod nip59;
mod nip62;
mod nip65;
mod nip67;
mod nip70;
mod nip71;
mod nip75;
mod nip77;
mod nip86;
mod nip92;
mod nip98;
mod nip99;
mod reconciled;
mod wallet;
