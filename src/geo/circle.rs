//! A circle on the sphere. In: a centre, a radius, a cell. Out: how the cell lies to the circle. The earth is
//! taken for a sphere of its mean radius, which is right to 0.6 % of a distance.

use geo::{Distance, Haversine, Point};

use super::area::AreaError;
use super::bounds::{Bounds, wrapped};
use super::cover::{Lies, Shape};

/// Kilometres of the largest radius: all but the antipode's surroundings.
const RADIUS_KM_MAX: f64 = 20_000.0;

/// Kilometres of the smallest radius: one metre.
const RADIUS_KM_MIN: f64 = 0.001;

/// All points nearer to the centre than the radius.
pub(super) struct Circle {
    center: Point,
    antipode: Point,
    radius_meters: f64,
}

impl Circle {
    pub(super) fn new(latitude: f64, longitude: f64, radius_km: f64) -> Result<Circle, AreaError> {
        AreaError::check_point(latitude, longitude)?;
        // Written so that what is no number is refused too.
        if !(RADIUS_KM_MIN..=RADIUS_KM_MAX).contains(&radius_km) {
            return Err(AreaError::new(
                format!("the radius must be from {RADIUS_KM_MIN} to {RADIUS_KM_MAX} km, but is {radius_km}"),
                "write it in kilometres, such as 5.5",
            ));
        }
        Ok(Circle {
            center: Point::new(longitude, latitude),
            antipode: Point::new(wrapped(longitude + 180.0), -latitude),
            radius_meters: radius_km * 1_000.0,
        })
    }
}

impl Shape for Circle {
    type Near = ();

    fn everywhere(&self) {}

    fn lies(&self, cell: &Bounds, (): &()) -> Lies<()> {
        let meters = |point: Point| Haversine.distance(self.center, point);
        let nearest = nearest(self.center, cell).map(meters).into_iter().fold(f64::INFINITY, f64::min);
        if nearest >= self.radius_meters {
            return Lies::Outside;
        }
        // What is nearest to the antipode is farthest from the centre.
        let farthest = self::nearest(self.antipode, cell).map(meters).into_iter().fold(0.0, f64::max);
        if farthest <= self.radius_meters { Lies::Inside } else { Lies::Border(()) }
    }
}

/// Points of a cell of which one is the nearest to `point`. Along a parallel the distance only grows with the
/// difference in longitude, so the nearest point is on the point's own meridian or on one of the cell's; on a
/// meridian it is where the great circle through the point meets it at a right angle, or one of its ends.
fn nearest(point: Point, cell: &Bounds) -> [Point; 7] {
    let (latitude, longitude) = (point.y(), point.x());
    let own = longitude.clamp(cell.west, cell.east);
    let foot = |meridian: f64| {
        let turn = (meridian - longitude).to_radians().cos();
        let (sine, cosine) = latitude.to_radians().sin_cos();
        Point::new(meridian, sine.atan2(cosine * turn).to_degrees().clamp(cell.south, cell.north))
    };
    [
        Point::new(own, latitude.clamp(cell.south, cell.north)),
        foot(cell.west),
        foot(cell.east),
        Point::new(cell.west, cell.south),
        Point::new(cell.west, cell.north),
        Point::new(cell.east, cell.south),
        Point::new(cell.east, cell.north),
    ]
}
