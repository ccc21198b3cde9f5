//! Rules that no NIP owns, a file a family, over the wire.

#[path = "../common/mod.rs"]
mod common;
mod geohash_filters;
mod geohash_replay;
