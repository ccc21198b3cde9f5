//! Places: geohash cells, and areas made of them. In: geohash texts, a circle, a box or a GeoJSON polygon. Out:
//! [`Geohash`], and [`Area`], which says in a few steps whether a cell lies inside. Pure. Never reads settings,
//! and knows neither events nor rules.
//!
//! Latitudes and longitudes are in degrees (WGS 84), latitude first; GeoJSON alone writes longitude first.

mod area;
mod bounds;
mod circle;
mod cover;
mod geohash;
mod polygon;
mod rectangle;

pub use area::{Area, AreaError};
pub use bounds::Bounds;
pub use cover::CELLS_MAX;
pub use geohash::{Geohash, NotGeohash, is_geohash_digit};
pub use polygon::{POLYGON_BYTES_MAX, POLYGON_POINTS_MAX};

#[cfg(test)]
mod twins;
