//! Sections.
mod geohash;
pub use geohash::Geohash;
