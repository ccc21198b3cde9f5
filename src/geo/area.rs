//! An area: one sorted covering of geohash cells. In: prefixes, or a shape. Out: whether a cell lies inside, and
//! what is needed to draw it. Immutable.

use super::bounds::Bounds;
use super::circle::Circle;
use super::cover::{CELLS_MAX, Shape, cover};
use super::geohash::Geohash;
use super::polygon::Polygons;
use super::rectangle::Rectangle;

/// Part of the earth, as cells that do not overlap, in order. Where all 32 parts of a cell are in, the cell
/// stands in their place. The default is empty.
///
/// A covering holds every point of what it was made from, and more: see [`Area::circle`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Area {
    cells: Vec<Geohash>,
}

/// Why there is no such area.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {remedy}")]
pub struct AreaError {
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl AreaError {
    pub(super) fn new(problem: impl Into<String>, remedy: &'static str) -> AreaError {
        AreaError { problem: problem.into(), remedy }
    }

    /// Refuses what is no point of the earth.
    pub(super) fn check_point(latitude: f64, longitude: f64) -> Result<(), AreaError> {
        let table = [("latitude", latitude, 90.0), ("longitude", longitude, 180.0)];
        for (name, value, most) in table {
            if !(-most..=most).contains(&value) {
                return Err(AreaError::new(
                    format!("a {name} is from -{most} to {most} degrees, not {value}"),
                    "write the latitude first, then the longitude, in degrees",
                ));
            }
        }
        Ok(())
    }
}

impl Area {
    /// The area of these cells.
    pub fn of(prefixes: impl IntoIterator<Item = Geohash>) -> Area {
        Area { cells: normal(prefixes.into_iter().collect()) }
    }

    /// All points within `radius_km` kilometres of a point, on a sphere; 1 m to 20,000 km.
    ///
    /// Cells at the border have `precision` characters (1 to 12). The area exceeds the circle by less than the
    /// diagonal of such a cell: 43 m at the equator for 8 characters, 216 m for 7, 1.4 km for 6, 6.9 km for 5.
    /// If that takes more than [`CELLS_MAX`] cells, some cells at the border have one character less, or more
    /// such steps for a border that is longer still.
    ///
    /// # Errors
    /// What is wrong with the numbers.
    pub fn circle(
        latitude: f64,
        longitude: f64,
        radius_km: f64,
        precision: usize,
    ) -> Result<Area, AreaError> {
        Ok(Self::covering(&Circle::new(latitude, longitude, radius_km)?, precision))
    }

    /// A box between two parallels and two meridians; its west is greater than its east where it crosses the
    /// antimeridian. Exact where its sides are sides of cells; else it exceeds as [`Area::circle`] does. Like a
    /// cell, it holds its southern and western side, not its northern and eastern one.
    ///
    /// # Errors
    /// What is wrong with the numbers.
    pub fn rectangle(bounds: Bounds, precision: usize) -> Result<Area, AreaError> {
        Ok(Self::covering(&Rectangle::new(bounds)?, precision))
    }

    /// What GeoJSON polygons hold (RFC 7946): a Polygon, a MultiPolygon, or a Feature or FeatureCollection of
    /// them; holes are left out, which way around rings go does not matter, edges are straight in degrees, and
    /// what a ring that crosses itself goes around is in. It exceeds as [`Area::circle`] does, into holes too.
    ///
    /// # Errors
    /// What is wrong with the text: its form, its size, its coordinates.
    pub fn polygon(geojson: &str, precision: usize) -> Result<Area, AreaError> {
        Ok(Self::covering(&Polygons::parse(geojson)?, precision))
    }

    fn covering(shape: &impl Shape, precision: usize) -> Area {
        Area { cells: normal(cover(shape, precision, CELLS_MAX)) }
    }

    /// Whether all of the cell lies inside.
    pub fn contains(&self, cell: Geohash) -> bool {
        // Cells do not overlap, so only the last one that does not follow may hold it. A coarser cell that
        // is wholly inside stands here itself.
        let after = self.cells.partition_point(|mine| *mine <= cell);
        after > 0 && self.cells[after - 1].holds(cell)
    }

    /// Whether some of the cell lies inside.
    pub fn touches(&self, cell: Geohash) -> bool {
        let after = self.cells.partition_point(|mine| *mine <= cell);
        self.contains(cell) || self.cells.get(after).is_some_and(|mine| cell.holds(*mine))
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Its cells, in order, none of which overlap.
    pub fn cells(&self) -> &[Geohash] {
        &self.cells
    }

    /// The length of its shortest cell: no shorter geohash lies inside. `None` if it is empty.
    pub fn shortest(&self) -> Option<usize> {
        self.cells.iter().map(|cell| cell.length()).min()
    }

    /// The smallest box around it, across the antimeridian if it is smaller so; `None` if it is empty.
    pub fn bounds(&self) -> Option<Bounds> {
        let boxes: Vec<Bounds> = self.cells.iter().map(|cell| cell.bounds()).collect();
        let south = boxes.iter().map(|cell| cell.south).reduce(f64::min)?;
        let north = boxes.iter().map(|cell| cell.north).reduce(f64::max)?;
        let mut spans: Vec<(f64, f64)> = boxes.iter().map(|cell| (cell.west, cell.east)).collect();
        spans.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (west, east) = around(&spans);
        Some(Bounds { south, west, north, east })
    }

    /// Latitude and longitude of the middle of the box around it; `None` if it is empty.
    pub fn center(&self) -> Option<(f64, f64)> {
        self.bounds().map(|bounds| bounds.center())
    }
}

/// The shortest way from west to east that passes all spans, which are sorted by their west.
fn around(spans: &[(f64, f64)]) -> (f64, f64) {
    let (Some(first), Some(end)) = (spans.first(), spans.iter().map(|span| span.1).reduce(f64::max)) else {
        return (0.0, 0.0);
    };
    // The gap from the last east over the antimeridian to the first west, then those between.
    let mut widest = (first.0 + 360.0 - end, (first.0, end));
    let mut reached = first.1;
    for &(west, east) in spans {
        if west - reached > widest.0 {
            widest = (west - reached, (west, reached));
        }
        reached = f64::max(reached, east);
    }
    widest.1
}

/// The cells in order, without those inside of others; 32 parts of a cell become the cell.
fn normal(mut cells: Vec<Geohash>) -> Vec<Geohash> {
    cells.sort_unstable();
    let mut kept: Vec<Geohash> = Vec::with_capacity(cells.len());
    for cell in cells {
        // What holds a cell comes before it, and nothing that it does not hold comes between.
        if kept.last().is_some_and(|last| last.holds(cell)) {
            continue;
        }
        kept.push(cell);
        merge(&mut kept);
    }
    kept
}

/// Puts a cell in the place of its 32 parts, if they are the last ones, and so on upwards.
fn merge(kept: &mut Vec<Geohash>) {
    while let Some(parent) = kept.last().and_then(|last| last.parent()) {
        let Some(start) = kept.len().checked_sub(32) else { return };
        // Cells do not overlap, so 32 of one length in one parent are all of its parts.
        let is_whole = kept[start..].iter().all(|cell| cell.parent() == Some(parent));
        if !is_whole {
            return;
        }
        kept.truncate(start);
        kept.push(parent);
    }
}
