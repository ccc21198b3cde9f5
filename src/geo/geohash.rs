//! One geohash: a cell of the earth, named by 1 to 12 characters; each further character is one of 32 parts of
//! the cell before. In: text, or a point. Out: the packed cell, its text, its box, its parts and neighbours.

use std::fmt;
use std::str::FromStr;

use geohash::{Coord, decode_bbox, encode};

use super::bounds::{Bounds, wrapped};

/// The characters of geohashes, in the order of their values, which is that of ASCII too.
const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// Bits of one character.
const CHAR_BITS: u32 = 5;

/// Bits below the characters, which hold their number.
const LENGTH_BITS: u32 = 4;

const _: () = assert!(Geohash::LENGTH_MAX as u32 * CHAR_BITS + LENGTH_BITS == u64::BITS);

/// A geohash of 1 to 12 characters in eight bytes: its characters from the top, five bits each, then their
/// number. So geohashes are ordered as their texts are, and what begins with one follows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Geohash(u64);

/// Why a text is no geohash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NotGeohash {
    /// There is no text.
    #[error("a geohash has at least 1 character")]
    Empty,
    /// It has more characters than a geohash is good for: twelve are exact to four centimetres.
    #[error("a geohash has at most 12 characters, not {0}")]
    TooLong(usize),
    /// It would be one in lower case.
    #[error("a geohash is written in lower case")]
    UpperCase,
    /// It has a character that geohashes do not use.
    #[error("a geohash has no {0:?}: its characters are 0 to 9 and b to z without i, l and o")]
    Character(char),
}

/// Whether a byte is a character of geohashes.
pub fn is_geohash_digit(byte: u8) -> bool {
    ALPHABET.binary_search(&byte).is_ok()
}

impl Geohash {
    /// Characters that a geohash has at most.
    pub const LENGTH_MAX: usize = 12;

    /// The geohash of this text: 1 to 12 characters of lower-case base 32.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Geohash, NotGeohash> {
        if text.is_empty() {
            return Err(NotGeohash::Empty);
        }
        let mut bits = 0_u64;
        for (position, character) in text.chars().enumerate() {
            let Some(value) = value_of(character) else {
                let is_capital = value_of(character.to_ascii_lowercase()).is_some();
                return Err(if is_capital {
                    NotGeohash::UpperCase
                } else {
                    NotGeohash::Character(character)
                });
            };
            if position < Self::LENGTH_MAX {
                bits |= value << shift_of(position);
            }
        }
        // All characters are ASCII by now.
        if text.len() > Self::LENGTH_MAX {
            return Err(NotGeohash::TooLong(text.len()));
        }
        Ok(Geohash(bits | text.len() as u64))
    }

    /// The cell of `length` characters that a point lies in; `None` if there is no such point or length.
    /// A cell holds its southern and western border, not its northern and eastern one.
    pub fn at(latitude: f64, longitude: f64, length: usize) -> Option<Geohash> {
        // The crate rounds the north pole up, to the south pole; a millimetre beside it, it does not.
        const NEAR_POLE: f64 = 90.0 - 1e-8;
        let y = if (NEAR_POLE..=90.0).contains(&latitude) { NEAR_POLE } else { latitude };
        let text = encode(Coord { x: longitude, y }, length).ok()?;
        Self::parse(&text).ok()
    }

    /// How many characters it has, 1 to 12.
    pub fn length(self) -> usize {
        (self.0 & 0xf) as usize
    }

    /// The cell's box. Longitudes do not wrap: east is always greater than west.
    pub fn bounds(self) -> Bounds {
        let (letters, length) = self.letters();
        let text = std::str::from_utf8(&letters[..length]).unwrap_or_default();
        let cell = decode_bbox(text).map(|rect| (rect.min(), rect.max()));
        let (low, high) = cell.unwrap_or_default();
        Bounds { south: low.y, west: low.x, north: high.y, east: high.x }
    }

    /// Whether this cell holds that one, or is the same.
    pub fn holds(self, other: Geohash) -> bool {
        self.length() <= other.length() && other.cut(self.length()) == self
    }

    /// The cell of its first `length` characters, at most all; at least one is left.
    pub fn cut(self, length: usize) -> Geohash {
        let length = length.clamp(1, self.length());
        let kept = u64::MAX << shift_of(length - 1);
        Geohash((self.0 & kept) | length as u64)
    }

    /// The cell that this one is a part of; `None` for cells of one character.
    pub fn parent(self) -> Option<Geohash> {
        (self.length() > 1).then(|| self.cut(self.length() - 1))
    }

    /// The 32 cells that are one character longer, in order; none below twelve characters.
    pub fn children(self) -> impl Iterator<Item = Geohash> {
        let length = self.length();
        let bits = self.0 & !0xf;
        let count = if length < Self::LENGTH_MAX { 32 } else { 0 };
        (0..count).map(move |value| Geohash(bits | (value << shift_of(length)) | (length as u64 + 1)))
    }

    /// The 32 cells of one character, in order.
    pub fn roots() -> impl Iterator<Item = Geohash> {
        (0..32).map(|value| Geohash((value << shift_of(0)) | 1))
    }

    /// The eight cells of the same length around this one: north, north-east, and so on clockwise. They wrap at
    /// the antimeridian. Beyond a pole lies the cell on the opposite meridian, and its neighbours.
    pub fn neighbours(self) -> [Geohash; 8] {
        const STEPS: [(f64, f64); 8] = [
            (1.0, 0.0),
            (1.0, 1.0),
            (0.0, 1.0),
            (-1.0, 1.0),
            (-1.0, 0.0),
            (-1.0, -1.0),
            (0.0, -1.0),
            (1.0, -1.0),
        ];
        let bounds = self.bounds();
        let (latitude, longitude) = bounds.center();
        STEPS.map(|(north, east)| {
            let mut there = latitude + north * bounds.height();
            let mut meridian = longitude + east * bounds.width();
            if there.abs() > 90.0 {
                there = 180.0_f64.copysign(there) - there;
                meridian += 180.0;
            }
            // The middle of a cell is always a point, so there is always an answer.
            Geohash::at(there, wrapped(meridian), self.length()).unwrap_or(self)
        })
    }

    /// Its characters and how many they are.
    fn letters(self) -> ([u8; Self::LENGTH_MAX], usize) {
        let letter = |position: usize| ALPHABET[(self.0 >> shift_of(position)) as usize & 0x1f];
        (std::array::from_fn(letter), self.length())
    }
}

impl FromStr for Geohash {
    type Err = NotGeohash;

    fn from_str(text: &str) -> Result<Self, NotGeohash> {
        Self::parse(text)
    }
}

impl fmt::Display for Geohash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (letters, length) = self.letters();
        f.pad(std::str::from_utf8(&letters[..length]).unwrap_or_default())
    }
}

impl fmt::Debug for Geohash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Geohash({self})")
    }
}

/// How far up the bits of a character stand.
const fn shift_of(position: usize) -> u32 {
    u64::BITS - CHAR_BITS * (position as u32 + 1)
}

/// The value of a character.
const fn value_of(character: char) -> Option<u64> {
    let value = match character {
        '0'..='9' => character as u64 - '0' as u64,
        'b'..='h' => character as u64 - 'b' as u64 + 10,
        'j'..='k' => character as u64 - 'j' as u64 + 17,
        'm'..='n' => character as u64 - 'm' as u64 + 19,
        'p'..='z' => character as u64 - 'p' as u64 + 21,
        _ => return None,
    };
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> Geohash {
        Geohash::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn only_lower_case_base_32_of_1_to_12_characters_is_a_geohash() {
        use NotGeohash::*;
        let table = [
            ("", Some(Empty)),
            ("u", None),
            ("0", None),
            ("z", None),
            ("u33dc", None),
            ("0123456789bc", None),
            ("defghjkmnpqr", None),
            ("stuvwxyz", None),
            ("zzzzzzzzzzzz", None),
            ("zzzzzzzzzzzzz", Some(TooLong(13))),
            ("U33DC", Some(UpperCase)),
            ("u33dC", Some(UpperCase)),
            ("u33da", Some(Character('a'))),
            ("i", Some(Character('i'))),
            ("u33l", Some(Character('l'))),
            ("ou33", Some(Character('o'))),
            ("A", Some(Character('A'))),
            ("u33 ", Some(Character(' '))),
            ("u33*", Some(Character('*'))),
            ("~u33", Some(Character('~'))),
            ("u33ü", Some(Character('ü'))),
            ("zzzzzzzzzzzza", Some(Character('a'))),
        ];
        for (text, fault) in table {
            let parsed = Geohash::parse(text);
            assert_eq!(parsed.err(), fault, "{text}");
            if let Ok(parsed) = parsed {
                assert_eq!((parsed.to_string().as_str(), parsed.length()), (text, text.len()));
            }
        }
    }

    #[test]
    fn the_order_is_that_of_the_texts() {
        let texts =
            ["0", "00", "000000000000", "1", "u", "u3", "u32z", "u33", "u330", "u33d", "u34", "z", "zz"];
        for one in texts {
            for other in texts {
                assert_eq!(hash(one).cmp(&hash(other)), one.cmp(other), "{one} and {other}");
                assert_eq!(hash(one).holds(hash(other)), other.starts_with(one), "{one} holds {other}");
            }
        }
    }

    #[test]
    fn cells_have_parents_and_children() {
        assert_eq!(hash("u").parent(), None);
        assert_eq!(hash("u33d").parent(), Some(hash("u33")));
        assert_eq!(hash("zzzzzzzzzzzz").children().count(), 0);
        assert_eq!(hash("zzzzzzzzzzz").children().last(), Some(hash("zzzzzzzzzzzz")));
        let children: String =
            hash("u3").children().filter_map(|child| child.to_string().chars().last()).collect();
        assert_eq!(children.as_bytes(), ALPHABET);
        let roots: String = Geohash::roots().map(|root| root.to_string()).collect();
        assert_eq!(roots.as_bytes(), ALPHABET);
        for (text, length, cut) in [("u33dc", 3, "u33"), ("u33dc", 0, "u"), ("u33dc", 9, "u33dc")] {
            assert_eq!(hash(text).cut(length), hash(cut));
        }
    }

    #[test]
    fn boxes_and_points_are_those_that_others_use() {
        // Wikipedia's example, and Berlin's television tower.
        assert_eq!(Geohash::at(42.605, -5.603, 5), Some(hash("ezs42")));
        assert_eq!(Geohash::at(57.64911, 10.40744, 11), Some(hash("u4pruydqqvj")));
        assert_eq!(Geohash::at(52.520817, 13.409415, 6), Some(hash("u33dc1")));
        assert_eq!(hash("0").bounds(), Bounds { south: -90.0, west: -180.0, north: -45.0, east: -135.0 });
        assert_eq!(hash("zz").bounds(), Bounds { south: 84.375, west: 168.75, north: 90.0, east: 180.0 });
        assert_eq!(
            hash("u33d").bounds(),
            Bounds { south: 52.3828125, west: 13.359375, north: 52.55859375, east: 13.7109375 }
        );
        let corners = [
            (90.0, 0.0, "up"),
            (90.0, 179.9, "zz"),
            (-90.0, -180.0, "00"),
            (0.0, 0.0, "s0"),
            (-1e-9, -1e-9, "7z"),
        ];
        for (latitude, longitude, text) in corners {
            assert_eq!(Geohash::at(latitude, longitude, 2), Some(hash(text)), "{latitude} {longitude}");
        }
        assert_eq!(Geohash::at(90.0_f64.next_down(), 0.0, 12), Some(hash("upbpbpbpbpbp")));
        let nowhere = [
            (90.1, 0.0, 5),
            (-90.1, 0.0, 5),
            (0.0, 180.1, 5),
            (0.0, -180.1, 5),
            (f64::NAN, 0.0, 5),
            (0.0, f64::INFINITY, 5),
            (0.0, 0.0, 0),
            (0.0, 0.0, 13),
        ];
        for (latitude, longitude, length) in nowhere {
            assert_eq!(Geohash::at(latitude, longitude, length), None, "{latitude} {longitude} {length}");
        }
    }

    #[test]
    fn neighbours_wrap_at_the_antimeridian_and_meet_across_the_poles() {
        let table = [
            ("u33dc", "u33e1 u33e4 u33df u33dd u33d9 u33d8 u33db u33e0"),
            // East of the last column begins the first one.
            ("xb", "xc 81 80 2p rz rx x8 x9"),
            // North of the last row lies the last row, half-way round.
            ("up", "bp br ur uq un gy gz zz"),
            ("h0", "h1 h3 h2 02 00 pb 5b 5c"),
        ];
        for (cell, around) in table {
            assert_eq!(hash(cell).neighbours().map(|cell| cell.to_string()).join(" "), around, "{cell}");
        }
    }

    #[test]
    fn neighbours_away_from_the_poles_are_those_of_the_crate() {
        for latitude in [-80.0, -1e-9, 0.0, 33.3, 80.0] {
            for longitude in [-180.0, -90.0, 0.0, 13.4, 180.0 - 1e-9] {
                for length in 2..=Geohash::LENGTH_MAX {
                    let cell = Geohash::at(latitude, longitude, length).expect("a cell");
                    let theirs = geohash::neighbors(&cell.to_string()).expect("neighbours");
                    let geohash::Neighbors { sw, s, se, w, e, nw, n, ne } = theirs;
                    let theirs = [n, ne, e, se, s, sw, w, nw];
                    assert_eq!(cell.neighbours().map(|cell| cell.to_string()), theirs, "{cell}");
                }
            }
        }
    }

    #[test]
    fn neighbours_are_eight_and_know_each_other() {
        let mut cells: Vec<Geohash> = Geohash::roots().collect();
        cells.extend(Geohash::roots().flat_map(Geohash::children));
        // Around the poles, the antimeridian, the equator and the prime meridian at every length.
        for length in 3..=Geohash::LENGTH_MAX {
            for latitude in [-90.0, -1e-9, 0.0, 52.5, 90.0] {
                for longitude in [-180.0, -1e-9, 0.0, 13.4, 180.0 - 1e-9] {
                    cells.extend(Geohash::at(latitude, longitude, length));
                }
            }
        }
        for cell in cells {
            let around = cell.neighbours();
            let distinct: std::collections::BTreeSet<Geohash> = around.into_iter().collect();
            assert_eq!(distinct.len(), 8, "{cell}: {around:?}");
            assert!(!distinct.contains(&cell), "{cell}: {around:?}");
            for neighbour in around {
                assert!(neighbour.neighbours().contains(&cell), "{neighbour} does not know {cell}");
            }
        }
    }
}
