//! A box between two parallels and two meridians as the shape of an area. In: its corners, a cell. Out: how the
//! cell lies to the box.

use super::area::AreaError;
use super::bounds::Bounds;
use super::cover::{Lies, Shape};

/// One or, across the antimeridian, two boxes that do not wrap.
pub(super) struct Rectangle(Vec<Bounds>);

impl Rectangle {
    pub(super) fn new(bounds: Bounds) -> Result<Rectangle, AreaError> {
        let Bounds { south, west, north, east } = bounds;
        AreaError::check_point(south, west)?;
        AreaError::check_point(north, east)?;
        if south >= north {
            return Err(AreaError::new(
                format!("the south, {south}, must be less than the north, {north}"),
                "write south, west, north, east, in this order",
            ));
        }
        if west == east {
            return Err(AreaError::new(
                format!("west and east are both {west}"),
                "write -180 and 180 for all around the earth",
            ));
        }
        Ok(Rectangle(if west < east {
            vec![bounds]
        } else {
            vec![Bounds { east: 180.0, ..bounds }, Bounds { west: -180.0, ..bounds }]
        }))
    }
}

impl Shape for Rectangle {
    type Near = ();

    fn everywhere(&self) {}

    fn lies(&self, cell: &Bounds, (): &()) -> Lies<()> {
        let mut lies = Lies::Outside;
        for part in &self.0 {
            let is_apart = cell.north <= part.south
                || cell.south >= part.north
                || cell.east <= part.west
                || cell.west >= part.east;
            let is_inside = cell.south >= part.south
                && cell.north <= part.north
                && cell.west >= part.west
                && cell.east <= part.east;
            if is_inside {
                return Lies::Inside;
            }
            if !is_apart {
                lies = Lies::Border(());
            }
        }
        lies
    }
}
