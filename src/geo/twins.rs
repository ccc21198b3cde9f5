//! Areas against naive twins: prefixes by a linear scan of texts, polygons by casting a ray, circles by the
//! distance, boxes by comparison. Random tests print their seed.

use super::cover::{CELLS_MAX, cover};
use super::polygon::Polygons;
use super::{Area, Bounds, Geohash};
use crate::splitmix::SplitMix;

/// Random numbers from a seed (SplitMix64).
struct Random(SplitMix);

impl Random {
    fn new(seed: u64) -> Random {
        println!("seed {seed}");
        Random(SplitMix(seed))
    }

    fn next(&mut self) -> u64 {
        self.0.next()
    }

    fn below(&mut self, bound: u64) -> usize {
        (self.next() % bound) as usize
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.next() >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// A text over a small part of the alphabet, so that texts meet.
    fn prefix(&mut self, letters: &[u8], length_max: u64) -> String {
        let length = 1 + self.below(length_max);
        (0..length).map(|_| char::from(letters[self.below(letters.len() as u64)])).collect()
    }
}

fn hash(text: &str) -> Geohash {
    Geohash::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
}

const ALPHABET: &[u8] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// Whether a cell lies inside of prefixes, by looking at each; its parts are looked at where it is coarser.
fn scan(prefixes: &[String], cell: &str, depth_max: usize) -> bool {
    if prefixes.iter().any(|prefix| cell.starts_with(prefix.as_str())) {
        return true;
    }
    cell.len() < depth_max
        && prefixes.iter().any(|prefix| prefix.starts_with(cell))
        && ALPHABET.iter().all(|letter| scan(prefixes, &format!("{cell}{}", char::from(*letter)), depth_max))
}

fn touches(prefixes: &[String], cell: &str) -> bool {
    prefixes.iter().any(|prefix| prefix.starts_with(cell) || cell.starts_with(prefix.as_str()))
}

#[test]
fn prefixes_are_what_a_scan_of_texts_says() {
    let mut random = Random::new(20_260_801);
    let mut answers = [0; 3];
    for _ in 0..400 {
        let mut prefixes: Vec<String> =
            (0..1 + random.below(12)).map(|_| random.prefix(b"u3z0", 4)).collect();
        // Sometimes all parts of a cell, or all but one.
        if random.below(2) == 0 {
            let parent = random.prefix(b"u3z0", 3);
            let parts = ALPHABET.iter().map(|letter| format!("{parent}{}", char::from(*letter)));
            prefixes.extend(parts.skip(random.below(2)));
        }
        let area = Area::of(prefixes.iter().map(|prefix| hash(prefix)));
        for _ in 0..200 {
            let cell = random.prefix(b"u3z0", 5);
            let expected = scan(&prefixes, &cell, 5);
            assert_eq!(area.contains(hash(&cell)), expected, "{cell} in {prefixes:?}");
            assert_eq!(area.touches(hash(&cell)), touches(&prefixes, &cell), "{cell} at {prefixes:?}");
            answers[usize::from(expected) + usize::from(expected && !prefixes.contains(&cell))] += 1;
        }
        assert!(area.cells().windows(2).all(|pair| pair[0] < pair[1] && !pair[0].holds(pair[1])));
        assert_eq!(Area::of(area.cells().iter().copied()), area, "an area is its cells");
    }
    assert!(answers.iter().all(|count| *count > 1_000), "both answers come up: {answers:?}");
}

#[test]
fn coverings_merge_upwards_and_cells_in_others_vanish() {
    let all = |parent: &str| -> Vec<Geohash> { hash(parent).children().collect() };
    let texts = |area: &Area| area.cells().iter().map(Geohash::to_string).collect::<Vec<_>>().join(" ");
    let table = [
        (vec![hash("u33d"), hash("u33"), hash("u33dc1")], "u33"),
        (all("u33"), "u33"),
        (all("u33").into_iter().skip(1).chain(all("u330")).collect(), "u33"),
        (all("u33").into_iter().chain(all("u3").into_iter().rev()).collect(), "u3"),
        (all("u33").into_iter().take(2).collect(), "u330 u331"),
        (vec![], ""),
    ];
    for (cells, expected) in table {
        assert_eq!(texts(&Area::of(cells)), expected);
    }
    let earth = Area::of(Geohash::roots());
    assert_eq!((earth.cells().len(), earth.shortest()), (32, Some(1)));
    assert_eq!(earth.bounds(), Some(Bounds { south: -90.0, west: -180.0, north: 90.0, east: 180.0 }));
    let nothing = Area::default();
    assert!(nothing.is_empty() && !nothing.contains(hash("u")) && !nothing.touches(hash("u")));
    assert_eq!((nothing.bounds(), nothing.center(), nothing.shortest()), (None, None, None));
}

/// Whether the finest cell of a point lies inside.
fn holds(area: &Area, latitude: f64, longitude: f64) -> bool {
    area.contains(Geohash::at(latitude, longitude, 12).expect("a point"))
}

/// Metres between two points, by the dot product of their directions: unlike the half-angle formula, and good
/// enough where points are kilometres apart.
fn meters_between(one: (f64, f64), other: (f64, f64)) -> f64 {
    let direction = |(latitude, longitude): (f64, f64)| {
        let ((sine, cosine), turn) = (latitude.to_radians().sin_cos(), longitude.to_radians());
        [cosine * turn.cos(), cosine * turn.sin(), sine]
    };
    let dot: f64 = direction(one).iter().zip(direction(other)).map(|(a, b)| a * b).sum();
    dot.clamp(-1.0, 1.0).acos() * 6_371_008.8
}

/// An upper bound of the diagonal, in metres, of the area's cell that a point lies in.
fn diagonal_meters(area: &Area, latitude: f64, longitude: f64) -> Option<f64> {
    let point = Geohash::at(latitude, longitude, 12).expect("a point");
    let bounds = area.cells().iter().find(|cell| cell.holds(point))?.bounds();
    Some(bounds.height().hypot(bounds.width()) * 111_320.0)
}

#[test]
fn circles_hold_their_points_and_little_more() {
    let mut random = Random::new(5_213);
    let table = [
        (52.52, 13.40, 5.0, 7),
        (52.52, 13.40, 0.3, 8),
        (0.0, 0.0, 100.0, 5),
        (-17.0, 179.9, 40.0, 6),
        (-17.0, -180.0, 40.0, 6),
        (89.95, 60.0, 30.0, 5),
        (-90.0, 0.0, 500.0, 4),
        (64.0, -21.9, 3_000.0, 3),
        (10.0, 20.0, 15_000.0, 3),
    ];
    for (latitude, longitude, radius_km, precision) in table {
        let area = Area::circle(latitude, longitude, radius_km, precision).expect("a circle");
        assert!(area.cells().len() <= CELLS_MAX);
        let finest = area.cells().iter().map(|cell| cell.length()).max();
        assert_eq!(finest, Some(precision), "{latitude} {longitude} {radius_km}");
        // Points around the border, in a square of degrees that is wide enough.
        let height = (radius_km / 111.0 * 1.3).min(180.0);
        let width = (height / latitude.to_radians().cos().abs().max(1e-3)).min(180.0);
        let (mut inside, mut outside) = (0, 0);
        for _ in 0..20_000 {
            let there = random.between((latitude - height).max(-90.0), (latitude + height).min(90.0));
            let meridian = random.between(longitude - width, longitude + width);
            let meridian = (meridian + 180.0).rem_euclid(360.0) - 180.0;
            let meters = meters_between((latitude, longitude), (there, meridian));
            if meters < radius_km * 1_000.0 - 0.5 {
                inside += 1;
                assert!(holds(&area, there, meridian), "{there} {meridian} is {meters} m away");
            } else if let Some(excess) = diagonal_meters(&area, there, meridian) {
                assert!(meters < radius_km * 1_000.0 + excess + 0.5, "{there} {meridian} is {meters} m away");
            } else {
                outside += 1;
                assert!(!holds(&area, there, meridian), "{there} {meridian}");
            }
        }
        assert!(inside > 1_000 && outside > 500, "{inside} inside, {outside} outside");
    }
}

#[test]
fn boxes_hold_their_points_across_the_antimeridian_too() {
    let mut random = Random::new(180);
    let table = [
        [51.5, 13.0, 52.7, 14.8],
        [-20.0, 177.0, -12.0, -175.0],
        [-90.0, -180.0, -60.0, 180.0],
        [-1.0, 170.0, 1.0, -180.0],
        [-1.0, 180.0, 1.0, -170.0],
        [-1.0, 10.0, 1.0, 0.0],
    ];
    for [south, west, north, east] in table {
        let bounds = Bounds { south, west, north, east };
        let area = Area::rectangle(bounds, 8).expect("a box");
        assert!(area.cells().len() <= CELLS_MAX);
        let (mut inside, mut outside) = (0, 0);
        // No cell at the border is longer than the longest, and none of them larger than it should be.
        let finest = area.cells().iter().map(|cell| cell.length()).max().expect("cells");
        let cell = Geohash::at(0.0, 0.0, finest - 1).expect("a cell").bounds();
        let distance = |value: f64, low: f64, high: f64| (low - value).max(value - high).max(0.0);
        for _ in 0..20_000 {
            let there = random.between((south - 3.0).max(-90.0), (north + 3.0).min(90.0));
            let from = random.between(-1.0, bounds.width() + 1.0);
            let meridian = (west + from + 180.0).rem_euclid(360.0) - 180.0;
            let beyond = distance(from, 0.0, bounds.width()).min(distance(from - 360.0, 0.0, bounds.width()));
            let beyond = beyond.min(distance(from + 360.0, 0.0, bounds.width()));
            if (south..north).contains(&there) && beyond == 0.0 {
                inside += 1;
                assert!(holds(&area, there, meridian), "{there} {meridian} in {bounds:?}");
            } else if distance(there, south, north) > cell.height() || beyond > cell.width() {
                outside += 1;
                assert!(!holds(&area, there, meridian), "{there} {meridian} not in {bounds:?}");
            }
        }
        assert!(inside > 500 && outside > 500, "{inside} inside, {outside} outside of {bounds:?}");
    }
}

#[test]
fn boxes_along_cells_are_exactly_those_cells() {
    for text in ["u", "u33", "u33d", "0", "zzz", "b0p", "xbp"] {
        let area = Area::rectangle(hash(text).bounds(), 9).expect("a box");
        assert_eq!(area.cells(), [hash(text)]);
    }
    // Two cells on both sides of the antimeridian.
    let [east, west] = [hash("xc").bounds(), hash("81").bounds()];
    let across = Bounds { west: east.west, east: west.east, ..east };
    let area = Area::rectangle(across, 9).expect("a box");
    assert_eq!(area.cells(), [hash("81"), hash("xc")]);
    assert_eq!(area.bounds(), Some(across));
    assert_eq!(area.center(), Some((east.center().0, -180.0)));
}

/// A ring with corners all around a middle, first corner again at its end.
fn star(random: &mut Random, latitude: f64, longitude: f64, near: f64, far: f64) -> Vec<(f64, f64)> {
    let corners = 3 + random.below(40);
    let mut ring: Vec<(f64, f64)> = (0..corners)
        .map(|corner| {
            let angle = (corner as f64 / corners as f64) * std::f64::consts::TAU;
            let radius = random.between(near, far);
            (latitude + radius * angle.sin(), longitude + radius * angle.cos())
        })
        .collect();
    if random.below(2) == 0 {
        ring.reverse();
    }
    ring.push(ring[0]);
    ring
}

fn json_of(rings: &[Vec<(f64, f64)>]) -> String {
    let rings: Vec<Vec<[f64; 2]>> =
        rings.iter().map(|ring| ring.iter().map(|&(y, x)| [x, y]).collect()).collect();
    serde_json::json!({"type": "Polygon", "coordinates": rings}).to_string()
}

/// Whether a ray to the east crosses a ring an odd number of times.
fn is_in_ring(ring: &[(f64, f64)], latitude: f64, longitude: f64) -> bool {
    let crosses = |pair: &&[(f64, f64)]| {
        let [(south, west), (north, east)] = [pair[0], pair[1]];
        (south > latitude) != (north > latitude)
            && longitude < (east - west) * (latitude - south) / (north - south) + west
    };
    ring.windows(2).filter(crosses).count() % 2 == 1
}

/// Degrees from a point to the nearest edge.
fn degrees_to(ring: &[(f64, f64)], latitude: f64, longitude: f64) -> f64 {
    let to_edge = |pair: &[(f64, f64)]| {
        let [(y0, x0), (y1, x1)] = [pair[0], pair[1]];
        let along = ((latitude - y0) * (y1 - y0) + (longitude - x0) * (x1 - x0))
            / ((y1 - y0).powi(2) + (x1 - x0).powi(2));
        let along = along.clamp(0.0, 1.0);
        (latitude - y0 - along * (y1 - y0)).hypot(longitude - x0 - along * (x1 - x0))
    };
    ring.windows(2).map(to_edge).fold(f64::INFINITY, f64::min)
}

#[test]
fn polygons_hold_what_casting_a_ray_says() {
    let mut random = Random::new(7_946);
    for _ in 0..40 {
        let (latitude, longitude) = (random.between(-85.0, 85.0), random.between(-175.0, 175.0));
        let outer = star(&mut random, latitude, longitude, 1.0, 3.0);
        let hole = star(&mut random, latitude, longitude, 0.2, 0.6);
        let area = Area::polygon(&json_of(&[outer.clone(), hole.clone()]), 5).expect("a polygon");
        assert!(area.cells().len() <= CELLS_MAX);
        let cell = Geohash::at(0.0, 0.0, 5).expect("a cell").bounds();
        let excess = cell.height().hypot(cell.width());
        let mut seen = [0; 3];
        for _ in 0..2_000 {
            let there = random.between(latitude - 3.5, latitude + 3.5).clamp(-90.0, 90.0);
            let meridian = random.between(longitude - 3.5, longitude + 3.5).clamp(-180.0, 180.0 - 1e-9);
            let is_in_hole = is_in_ring(&hole, there, meridian);
            let is_in = is_in_ring(&outer, there, meridian) && !is_in_hole;
            let apart = degrees_to(&outer, there, meridian).min(degrees_to(&hole, there, meridian));
            if is_in && apart > 1e-9 {
                seen[0] += 1;
                assert!(holds(&area, there, meridian), "{there} {meridian} is inside");
            } else if !is_in && apart > excess {
                seen[1 + usize::from(is_in_hole)] += 1;
                assert!(!holds(&area, there, meridian), "{there} {meridian} is outside");
            }
        }
        assert!(seen.iter().all(|count| *count > 0), "all cases come up: {seen:?}");
    }
}

#[test]
fn geojson_comes_in_several_forms() {
    let ring = |west: f64, east: f64| format!("[[{west},0],[{east},0],[{east},2],[{west},2],[{west},0]]");
    let polygon = |rings: &str| format!(r#"{{"type":"Polygon","coordinates":[{rings}]}}"#);
    let feature =
        |geometry: &str| format!(r#"{{"type":"Feature","properties":{{"a":1}},"geometry":{geometry}}}"#);
    let (first, second, both) =
        (polygon(&ring(0.0, 2.0)), polygon(&ring(10.0, 12.0)), polygon(&ring(0.0, 20.0)));
    let backwards = polygon("[[0,0],[0,2],[2,2],[2,0],[0,0]]");
    let deep = polygon("[[0,0,9],[2,0,9],[2,2,9],[0,2,9],[0,0,9]]");
    let multi =
        format!(r#"{{"type":"MultiPolygon","coordinates":[[{}],[{}]]}}"#, ring(0.0, 2.0), ring(10.0, 12.0));
    let collection = |features: &[&str]| {
        let features: Vec<String> = features.iter().map(|geometry| feature(geometry)).collect();
        format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(","))
    };
    // Two polygons one over the other hold what either does; a ring drawn twice holds it once.
    let over = collection(&[&first, &both, &backwards, "null"]);
    let table = [
        (first.clone(), [true, false, false]),
        (backwards.clone(), [true, false, false]),
        (deep, [true, false, false]),
        (feature(&second), [false, true, false]),
        (multi, [true, true, false]),
        (collection(&[&first, &second]), [true, true, false]),
        (over, [true, true, true]),
    ];
    for (text, expected) in table {
        let area = Area::polygon(&text, 6).unwrap_or_else(|fault| panic!("{fault}: {text}"));
        let found = [1.0, 11.0, 5.0].map(|longitude| holds(&area, 1.0, longitude));
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn what_is_no_area_is_refused_with_a_remedy() {
    let ring = |corners: &str| format!(r#"{{"type":"Polygon","coordinates":[[{corners}]]}}"#);
    let corners = vec!["[0,0]"; 100_002].join(",");
    let table = [
        ("".to_owned(), "this is no GeoJSON"),
        ("{}".to_owned(), "this is no GeoJSON"),
        (r#"{"type":"Point","coordinates":[1,2]}"#.to_owned(), "a Point has no area"),
        (r#"{"type":"Polygon","coordinates":[]}"#.to_owned(), "a polygon has no ring"),
        (r#"{"type":"MultiPolygon","coordinates":[]}"#.to_owned(), "the GeoJSON has no polygon"),
        (r#"{"type":"FeatureCollection","features":[]}"#.to_owned(), "the GeoJSON has no polygon"),
        (ring("[0,0],[1,0],[0,0]"), "a ring of 3 corners is not closed"),
        (ring("[0,0],[1,0],[1,1],[0,1]"), "a ring of 4 corners is not closed"),
        (ring("[0,0],[1,91],[1,1],[0,0]"), "a latitude is from -90 to 90 degrees, not 91"),
        (ring("[0,0],[190,0],[190,1],[0,0]"), "a longitude is from -180 to 180 degrees, not 190"),
        (ring("[179,0],[-179,0],[-179,1],[179,0]"), "the edge from longitude 179 to -179 goes the long way"),
        (ring("[0],[1,0],[1,1],[0]"), "a corner has no latitude"),
        (ring(&corners), "the polygon has 100001 corners, more than 100000"),
        (" ".repeat(4 * 1024 * 1024 + 1), "the GeoJSON has 4194305 bytes"),
    ];
    for (text, problem) in table {
        let fault = Area::polygon(&text, 6).expect_err(problem);
        assert!(fault.problem.starts_with(problem), "{fault} is not {problem}");
        assert!(!fault.remedy.is_empty());
    }
    let table = [
        (Area::circle(90.1, 0.0, 1.0, 6), "a latitude is from -90 to 90 degrees, not 90.1"),
        (Area::circle(0.0, -180.1, 1.0, 6), "a longitude is from -180 to 180 degrees, not -180.1"),
        (Area::circle(f64::NAN, 0.0, 1.0, 6), "a latitude is from -90 to 90 degrees, not NaN"),
        (Area::circle(0.0, 0.0, 0.0009, 6), "the radius must be from 0.001 to 20000 km, but is 0.0009"),
        (Area::circle(0.0, 0.0, 20_000.1, 6), "the radius must be from 0.001 to 20000 km, but is 20000.1"),
        (Area::circle(0.0, 0.0, f64::NAN, 6), "the radius must be from 0.001 to 20000 km, but is NaN"),
        (rectangle(1.0, 0.0, 1.0, 2.0), "the south, 1, must be less than the north, 1"),
        (rectangle(0.0, 2.0, 1.0, 2.0), "west and east are both 2"),
        (rectangle(-91.0, 2.0, 1.0, 3.0), "a latitude is from -90 to 90 degrees, not -91"),
        (rectangle(0.0, 2.0, 1.0, 181.0), "a longitude is from -180 to 180 degrees, not 181"),
    ];
    for (refused, problem) in table {
        assert_eq!(refused.expect_err(problem).problem, problem);
    }
    for (latitude, longitude, radius_km) in [(90.0, 180.0, 0.001), (-90.0, -180.0, 20_000.0)] {
        assert!(Area::circle(latitude, longitude, radius_km, 3).is_ok());
    }
}

fn rectangle(south: f64, west: f64, north: f64, east: f64) -> Result<Area, super::AreaError> {
    Area::rectangle(Bounds { south, west, north, east }, 6)
}

#[test]
fn a_bound_on_cells_makes_the_border_coarser_never_the_area_smaller() {
    let mut random = Random::new(4_096);
    let ring = star(&mut random, 40.0, 20.0, 2.0, 6.0);
    let shape = Polygons::parse(&json_of(std::slice::from_ref(&ring))).expect("a polygon");
    let points: Vec<(f64, f64)> = (0..5_000)
        .map(|_| (random.between(34.0, 46.0), random.between(14.0, 26.0)))
        .filter(|&(latitude, longitude)| is_in_ring(&ring, latitude, longitude))
        .collect();
    let square = |area: &Area| -> f64 {
        area.cells().iter().map(|cell| cell.bounds().height() * cell.bounds().width()).sum()
    };
    let mut last = f64::INFINITY;
    for cells_max in [32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 100_000] {
        let cells = cover(&shape, 6, cells_max);
        assert!(cells.len() <= cells_max, "{} cells, {cells_max} allowed", cells.len());
        let area = Area::of(cells);
        assert!(points.iter().all(|&(latitude, longitude)| holds(&area, latitude, longitude)));
        assert!(square(&area) <= last, "{cells_max} cells: {} square degrees", square(&area));
        last = square(&area);
    }
}

#[test]
fn a_circle_of_five_kilometres_is_exact_to_a_hundredth() {
    let area = Area::circle(52.52, 13.40, 5.0, 8).expect("a circle");
    let square_km = |cell: &Geohash| {
        let bounds = cell.bounds();
        bounds.height() * bounds.width() * bounds.center().0.to_radians().cos() * 111.195_f64.powi(2)
    };
    let covered: f64 = area.cells().iter().map(square_km).sum();
    let exact = std::f64::consts::PI * 25.0;
    println!("{} cells cover {covered} km² of {exact} km²", area.cells().len());
    assert!(covered > exact && covered < exact * 1.01, "{covered} km² for {exact} km²");
}
