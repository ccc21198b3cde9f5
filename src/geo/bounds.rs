//! A box between two parallels and two meridians. Pure.

/// A box in degrees. `west` is greater than `east` where the box crosses the antimeridian.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The southern latitude, -90 to 90.
    pub south: f64,
    /// The western longitude, -180 to 180.
    pub west: f64,
    /// The northern latitude, -90 to 90.
    pub north: f64,
    /// The eastern longitude, -180 to 180.
    pub east: f64,
}

impl Bounds {
    /// Degrees of latitude from south to north.
    pub fn height(&self) -> f64 {
        self.north - self.south
    }

    /// Degrees of longitude from west to east.
    pub fn width(&self) -> f64 {
        let width = self.east - self.west;
        if width < 0.0 { width + 360.0 } else { width }
    }

    /// Latitude and longitude of the middle.
    pub fn center(&self) -> (f64, f64) {
        let latitude = (self.south + self.north) / 2.0;
        (latitude, wrapped(self.west + self.width() / 2.0))
    }
}

/// The same meridian, named from -180 up to but not including 180.
pub(super) fn wrapped(longitude: f64) -> f64 {
    (longitude + 180.0).rem_euclid(360.0) - 180.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_know_their_size_and_middle() {
        let table = [
            ([-10.0, 20.0, 10.0, 40.0], 20.0, 20.0, (0.0, 30.0)),
            ([50.0, 170.0, 52.0, -170.0], 2.0, 20.0, (51.0, -180.0)),
            ([50.0, 170.0, 52.0, -178.0], 2.0, 12.0, (51.0, 176.0)),
            ([50.0, 178.0, 52.0, -170.0], 2.0, 12.0, (51.0, -176.0)),
            ([-90.0, -180.0, 90.0, 180.0], 180.0, 360.0, (0.0, 0.0)),
        ];
        for ([south, west, north, east], height, width, center) in table {
            let bounds = Bounds { south, west, north, east };
            assert_eq!((bounds.height(), bounds.width(), bounds.center()), (height, width, center));
        }
    }
}
