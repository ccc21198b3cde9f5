//! The rules that no NIP owns, over the wire: one file a family, each a table of what is sent and what must
//! come back.

#[path = "../common/mod.rs"]
mod common;

mod access;
mod blocklist;
mod followers;
mod geohash;
mod geohash_filters;
mod geohash_replay;
mod live_delay;
mod market;
mod trust;
