//! Polygons as GeoJSON writes them (RFC 7946). In: its text, a cell. Out: how the cell lies to the polygons.
//! Edges are straight in degrees, as the RFC says.

use geo::algorithm::indexed::IntervalTreeMultiPolygon;
use geo::orient::{Direction, Orient};
use geo::{Contains, Coord, Intersects, Line, LineString, LinesIter, MultiPolygon, Point, Polygon, Rect};
use geojson::{FeatureCollection, GeoJson, GeometryValue, Position};

use super::area::AreaError;
use super::bounds::Bounds;
use super::cover::{Lies, Shape};

/// Bytes of a GeoJSON text at most.
pub const POLYGON_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Corners of all rings of one area at most.
pub const POLYGON_POINTS_MAX: usize = 100_000;

/// Degrees, a hundredth of a millimetre, by which an edge must reach into a cell: one that runs along a cell's
/// side is not in it.
const SKIN_DEGREES: f64 = 1e-10;

const SHAPES: &str = "write a Polygon, a MultiPolygon, or a Feature or FeatureCollection of them";

/// Polygons, holes left out; what several of them hold is held once.
pub(super) struct Polygons {
    edges: Vec<Line>,
    held: IntervalTreeMultiPolygon<f64>,
}

impl Polygons {
    /// Reads a Polygon, a MultiPolygon, a Feature or a FeatureCollection of them.
    pub(super) fn parse(text: &str) -> Result<Polygons, AreaError> {
        if text.len() > POLYGON_BYTES_MAX {
            return Err(AreaError::new(
                format!("the GeoJSON has {} bytes, more than {POLYGON_BYTES_MAX}", text.len()),
                "simplify the polygon",
            ));
        }
        let json: GeoJson = text.parse().map_err(|cause| {
            AreaError::new(format!("this is no GeoJSON: {cause}"), "see RFC 7946, or draw it on geojson.io")
        })?;
        let mut polygons = Vec::new();
        for value in geometries(json) {
            match value {
                GeometryValue::Polygon { coordinates } => polygons.push(polygon(&coordinates)?),
                GeometryValue::MultiPolygon { coordinates } => {
                    for rings in &coordinates {
                        polygons.push(polygon(rings)?);
                    }
                }
                other => {
                    return Err(AreaError::new(format!("a {} has no area", other.type_name()), SHAPES));
                }
            }
        }
        // Which way around a ring was drawn does not matter: outer ones are turned one way, holes the other.
        let polygons = MultiPolygon(polygons).orient(Direction::Default);
        let edges: Vec<Line> = polygons.lines_iter().collect();
        if edges.is_empty() {
            return Err(AreaError::new("the GeoJSON has no polygon", SHAPES));
        }
        if edges.len() > POLYGON_POINTS_MAX {
            return Err(AreaError::new(
                format!("the polygon has {} corners, more than {POLYGON_POINTS_MAX}", edges.len()),
                "simplify the polygon",
            ));
        }
        Ok(Polygons { held: IntervalTreeMultiPolygon::new(&polygons), edges })
    }
}

impl Shape for Polygons {
    /// Numbers of the edges that pass the cell.
    type Near = Vec<u32>;

    fn everywhere(&self) -> Vec<u32> {
        (0..self.edges.len() as u32).collect()
    }

    fn lies(&self, cell: &Bounds, near: &Vec<u32>) -> Lies<Vec<u32>> {
        let within = Rect::new(
            Coord { x: cell.west + SKIN_DEGREES, y: cell.south + SKIN_DEGREES },
            Coord { x: cell.east - SKIN_DEGREES, y: cell.north - SKIN_DEGREES },
        );
        let passes = |number: &u32| within.intersects(&self.edges[*number as usize]);
        let passing: Vec<u32> = near.iter().copied().filter(passes).collect();
        if !passing.is_empty() {
            return Lies::Border(passing);
        }
        // No edge, so all of the cell is as its middle.
        let (latitude, longitude) = cell.center();
        if self.held.contains(&Point::new(longitude, latitude)) { Lies::Inside } else { Lies::Outside }
    }
}

/// What a GeoJSON object draws; features without a geometry draw nothing.
fn geometries(json: GeoJson) -> Vec<GeometryValue> {
    match json {
        GeoJson::Geometry(geometry) => vec![geometry.value],
        GeoJson::Feature(feature) => feature.geometry.into_iter().map(|geometry| geometry.value).collect(),
        GeoJson::FeatureCollection(FeatureCollection { features, .. }) => {
            features.into_iter().filter_map(|feature| Some(feature.geometry?.value)).collect()
        }
    }
}

/// A polygon of an outer ring and its holes.
fn polygon(rings: &[Vec<Position>]) -> Result<Polygon, AreaError> {
    let mut rings = rings.iter().map(|ring| self::ring(ring)).collect::<Result<Vec<LineString>, _>>()?;
    if rings.is_empty() {
        return Err(AreaError::new("a polygon has no ring", SHAPES));
    }
    let outer = rings.remove(0);
    Ok(Polygon::new(outer, rings))
}

/// A closed line.
fn ring(positions: &[Position]) -> Result<LineString, AreaError> {
    let mut points = Vec::with_capacity(positions.len());
    for position in positions {
        let &[longitude, latitude, ..] = position.as_slice() else {
            return Err(AreaError::new("a corner has no latitude", "write [longitude, latitude]"));
        };
        AreaError::check_point(latitude, longitude).map_err(|fault| AreaError {
            remedy: "GeoJSON writes the longitude first: [longitude, latitude]",
            ..fault
        })?;
        points.push(Coord { x: longitude, y: latitude });
    }
    let is_closed = points.len() >= 4 && points.first() == points.last();
    if !is_closed {
        return Err(AreaError::new(
            format!("a ring of {} corners is not closed", points.len()),
            "give it three corners at least, and end it with its first one again",
        ));
    }
    for pair in points.windows(2) {
        let width = (pair[1].x - pair[0].x).abs();
        if width > 180.0 && width < 360.0 {
            return Err(AreaError::new(
                format!("the edge from longitude {} to {} goes the long way round", pair[0].x, pair[1].x),
                "cut a polygon that crosses the antimeridian into two there, as RFC 7946 asks",
            ));
        }
    }
    Ok(LineString(points))
}
