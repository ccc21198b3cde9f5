//! A community's area as a picture: its cells, and where on Earth they are. In: an area. Out: SVG, drawn from outlines
//! that are in the program. Asks nobody for a map.

use std::fmt::Write as _;
use std::sync::LazyLock;

use crate::geo::{Area, Bounds, Geohash};

/// Outlines of land of more than half a degree, a ring a line: tenths of a degree east and north, each point after the
/// first as what it differs from the one before. Made from Natural Earth's land at 1:50m, which is in the public domain.
const LAND: &str = include_str!("land.txt");

/// Cells that are drawn; of more, those that hold them are.
const CELLS_MAX: usize = 2_000;

/// Cells narrower than this have thin edges.
const FINE: f64 = 12.0;

/// Letters smaller than this are left out.
const LETTER_MIN: f64 = 9.0;

/// The longer side of a picture, in its own units.
const SIDE: f64 = 400.0;

/// Degrees that the picture of the surroundings is wide at the least.
const SURROUNDINGS: f64 = 24.0;

/// From how many degrees of width on outlines of a tenth of a degree help.
const OUTLINES_FROM: f64 = 3.0;

type Point = (f64, f64);

/// How far along a side a point lies.
type Along = fn(&Point) -> f64;

static RINGS: LazyLock<Vec<Vec<Point>>> = LazyLock::new(|| LAND.lines().map(ring).collect());

fn ring(line: &str) -> Vec<Point> {
    let (mut east, mut north) = (0_i32, 0_i32);
    let steps = line.split(' ').filter_map(|step| step.split_once(','));
    let steps = steps.filter_map(|(x, y)| Some((x.parse::<i32>().ok()?, y.parse::<i32>().ok()?)));
    let points = steps.map(|(x, y)| {
        (east, north) = (east + x, north + y);
        (f64::from(east) / 10.0, f64::from(north) / 10.0)
    });
    points.collect()
}

/// A part of the Earth on a flat picture: degrees to units, the middle being as wide as it is high.
struct Frame {
    west: f64,
    north: f64,
    width: f64,
    height: f64,
    /// Units a degree.
    scale: Point,
}

impl Frame {
    /// A frame around a point, so many degrees of latitude high, and as wide as looks the same.
    fn around((latitude, longitude): (f64, f64), height: f64, width: f64) -> Frame {
        let squeeze = latitude.to_radians().cos().max(0.1);
        let (height, width) = (height.max(width * squeeze * 0.6), width.max(height / squeeze * 0.6));
        let units = SIDE / height.max(width * squeeze);
        Frame {
            west: longitude - width / 2.0,
            north: latitude + height / 2.0,
            width,
            height,
            scale: (units * squeeze, units),
        }
    }

    fn place(&self, (east, north): Point) -> Point {
        ((east - self.west) * self.scale.0, (self.north - north) * self.scale.1)
    }

    fn size(&self) -> Point {
        (self.width * self.scale.0, self.height * self.scale.1)
    }

    /// A box, beginning at its west; where that lies beyond 180° it is drawn where the frame is.
    fn rectangle(&self, bounds: &Bounds, class: &str) -> String {
        let turns = ((self.west + self.width / 2.0 - bounds.west - bounds.width() / 2.0) / 360.0).round();
        let (x, y) = self.place((bounds.west + turns * 360.0, bounds.north));
        let (width, height) = (bounds.width() * self.scale.0, bounds.height() * self.scale.1);
        format!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        )
    }

    /// The land in it.
    fn land(&self) -> String {
        let mut path = String::new();
        for turn in [-360.0, 0.0, 360.0] {
            for ring in RINGS.iter() {
                let placed = ring.iter().map(|(east, north)| self.place((east + turn, *north)));
                let inside = clipped(placed.collect(), self.size());
                for (at, (x, y)) in inside.iter().enumerate() {
                    let _ = write!(path, "{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' });
                }
                if !inside.is_empty() {
                    path.push('Z');
                }
            }
        }
        format!("<path class=\"land\" d=\"{path}\"/>")
    }

    /// A cell, with its name where there is room for it.
    fn cell(&self, cell: Geohash) -> String {
        let bounds = cell.bounds();
        let (width, height) = (bounds.width() * self.scale.0, bounds.height() * self.scale.1);
        let name = cell.to_string();
        let letter = (width / (name.len() as f64 * 0.9)).min(height * 0.5).min(26.0);
        let mut drawn = self.rectangle(&bounds, if width < FINE { "cell fine" } else { "cell" });
        if letter >= LETTER_MIN {
            let (latitude, longitude) = bounds.center();
            let turns = ((self.west + self.width / 2.0 - longitude) / 360.0).round();
            let (x, y) = self.place((longitude + turns * 360.0, latitude));
            let _ = write!(drawn, "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{letter:.1}\">{name}</text>");
        }
        drawn
    }

    fn svg(&self, title: &str, behind: &str, content: &str) -> String {
        let (width, height) = self.size();
        format!(
            "<svg class=\"map\" viewBox=\"0 0 {width:.1} {height:.1}\" role=\"img\" aria-label=\"{title}\">\
             <rect class=\"{behind}\" width=\"100%\" height=\"100%\"/>{content}</svg>\n"
        )
    }
}

/// What of a ring lies within a rectangle that begins at 0 0, one side of it after the other.
fn clipped(ring: Vec<Point>, (width, height): Point) -> Vec<Point> {
    // A little more, so that the edge of the picture is not an outline.
    const MARGIN: f64 = 4.0;
    let sides: [(Along, f64); 4] = [
        (|point| point.0, -MARGIN),
        (|point| -point.0, -width - MARGIN),
        (|point| point.1, -MARGIN),
        (|point| -point.1, -height - MARGIN),
    ];
    sides.into_iter().fold(ring, |ring, (of, least)| {
        let mut inside = Vec::with_capacity(ring.len());
        for (at, point) in ring.iter().enumerate() {
            let before = &ring[(at + ring.len() - 1) % ring.len()];
            let (here, there) = (of(point) - least, of(before) - least);
            if (here < 0.0) != (there < 0.0) {
                let part = there / (there - here);
                inside.push((before.0 + (point.0 - before.0) * part, before.1 + (point.1 - before.1) * part));
            }
            if here >= 0.0 {
                inside.push(*point);
            }
        }
        inside
    })
}

/// The cells to draw: those of the area, or, where they are too many, larger ones that hold them.
fn drawn(area: &Area) -> Vec<Geohash> {
    let mut cells = area.cells().to_vec();
    let mut length = cells.iter().map(|cell| cell.length()).max().unwrap_or(0);
    while cells.len() > CELLS_MAX && length > 1 {
        length -= 1;
        let larger = |cell: &Geohash| {
            let name = cell.to_string();
            Geohash::parse(&name[..length.min(name.len())]).unwrap_or(*cell)
        };
        cells = Area::of(cells.iter().map(larger)).cells().to_vec();
    }
    cells
}

/// The cells of an area, and its surroundings; `None` where there is no area.
pub(super) fn of(area: &Area) -> Option<String> {
    let (bounds, center) = (area.bounds()?, area.center()?);
    let near = Frame::around(center, bounds.height() * 1.3, bounds.width() * 1.3);
    let far_width = (bounds.width() * 4.0).clamp(SURROUNDINGS, 360.0);
    let far = Frame::around(center, (far_width * 0.6).min(150.0), far_width);
    let cells: String = drawn(area).iter().map(|cell| near.cell(*cell)).collect();
    let has_outlines = near.width >= OUTLINES_FROM;
    let outlines = if has_outlines { near.land() } else { String::new() };
    let (x, y) = far.place((far.west + far.width / 2.0, center.0));
    let mark = format!(
        "{}<circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"7\"/>",
        far.rectangle(&bounds, "cell")
    );
    let words = |number: f64, plus: char, minus: char| {
        format!("{:.2}°{}", number.abs(), if number < 0.0 { minus } else { plus })
    };
    let sides = format!(
        "{} to {}, {} to {}",
        words(bounds.south, 'N', 'S'),
        words(bounds.north, 'N', 'S'),
        words(bounds.west, 'E', 'W'),
        words(bounds.east, 'E', 'W')
    );
    Some(format!(
        "<figure>{}{}<figcaption>{sides}</figcaption></figure>\n",
        near.svg(
            "The cells of the area",
            if has_outlines { "sea" } else { "ground" },
            &format!("{outlines}{cells}")
        ),
        far.svg("Where the area is", "sea", &format!("{}{mark}", far.land())),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(cells: &[&str]) -> Area {
        Area::of(cells.iter().map(|cell| Geohash::parse(cell).expect("a cell")))
    }

    #[test]
    fn the_outlines_are_those_of_the_earth() {
        let is_land = |east: f64, north: f64| {
            let inside = |ring: &Vec<Point>| {
                let edges = ring.iter().zip(ring.iter().cycle().skip(1));
                edges
                    .filter(|(one, two)| {
                        (one.1 > north) != (two.1 > north)
                            && east < (two.0 - one.0) * (north - one.1) / (two.1 - one.1) + one.0
                    })
                    .count()
                    % 2
                    == 1
            };
            RINGS.iter().filter(|ring| inside(ring)).count() % 2 == 1
        };
        let table = [
            ("Berlin", 13.4, 52.5, true),
            ("Nairobi", 36.8, -1.3, true),
            ("Brasília", -47.9, -15.8, true),
            ("Alice Springs", 133.9, -23.7, true),
            ("the Atlantic", -30.0, 30.0, false),
            ("the North Sea", 3.0, 56.0, false),
            ("the Pacific", -150.0, 0.0, false),
        ];
        for (place, east, north, land) in table {
            assert_eq!(is_land(east, north), land, "{place}");
        }
    }

    #[test]
    fn a_picture_has_its_cells_and_stays_small() {
        for cells in [&["u33d", "u33e"][..], &["8"], &["xb", "8p"], &["u"], &["u33dc012"], &["b", "z"]] {
            let picture = of(&area(cells)).expect("a picture");
            assert!(picture.matches("class=\"cell").count() > cells.len(), "{cells:?}");
            assert!(!picture.contains("NaN") && !picture.contains("inf"), "{cells:?}: {picture}");
            assert!(picture.len() < 250_000, "{cells:?}: {} bytes", picture.len());
        }
        assert_eq!(of(&Area::default()), None);
    }

    #[test]
    fn what_is_clipped_lies_within() {
        let square = vec![(-50.0, -50.0), (500.0, -50.0), (500.0, 500.0), (-50.0, 500.0)];
        let inside = clipped(square, (100.0, 80.0));
        assert_eq!(inside.len(), 4);
        assert!(inside.iter().all(|(x, y)| (-4.0..=104.0).contains(x) && (-4.0..=84.0).contains(y)));
        assert_eq!(clipped(vec![(200.0, 0.0), (300.0, 0.0), (250.0, 50.0)], (100.0, 80.0)), vec![]);
    }
}
