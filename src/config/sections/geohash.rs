//! `[geohash]`: the area that events belong to. In: one way of drawing it. Out: the compiled [`Area`], or what is
//! wrong and what to do. Never opens a file: who loads the settings hands the text of `polygon_file` to
//! [`Geohash::draw`].

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{KindSet, Mode, SectionFault};
use crate::geo::{Area, AreaError, Bounds, Geohash as Cell};
use crate::words::any_of;

/// Prefixes that a sentence names; of more, it says how many there are.
const PREFIXES_NAMED_MAX: usize = 12;

/// `[geohash]`: where events must be.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Geohash {
    /// Whether its rules refuse, or only count and log what they would refuse.
    pub mode: Mode,
    /// The area as geohashes: all that begins with one of them. Empty: no area, or one drawn in another way.
    pub prefixes: Vec<String>,
    /// The area as a circle: latitude and longitude of its centre in degrees.
    pub center: Option<[f64; 2]>,
    /// The circle's radius in kilometres, 0.001 to 20,000.
    pub radius_km: Option<f64>,
    /// The area as a box: south, west, north, east in degrees; west is greater than east across the
    /// antimeridian. Empty: not as a box.
    #[serde(rename = "box")]
    pub sides: Vec<f64>,
    /// The area as GeoJSON text (RFC 7946) of polygons. Empty: not as text.
    pub polygon: String,
    /// The area as a file of GeoJSON; a relative path starts at the folder of relay.toml. Empty: none.
    pub polygon_file: PathBuf,
    /// Characters of the smallest cells at the border of a circle, box or polygon: it is exact to their size.
    /// `precision_max` binds it too.
    pub border_precision: usize,
    /// Characters of a `g` tag at least; 0 asks for as many as the area's shortest cell has.
    pub precision_min: usize,
    /// Characters of a `g` tag at most.
    pub precision_max: usize,
    /// Kinds that need no place.
    pub kinds_exempt: KindSet,
    /// Kinds that need no place of their own where what they are about is stored and lies in the area.
    pub kinds_about: KindSet,
    /// Which replies without a `g` tag are taken.
    pub replies: Replies,
    /// Whether filters may ask for geohashes by prefix (`"u33d*"`) and for surroundings (`"~u33dc"`).
    pub prefix_filters: bool,
    /// Seconds for which ephemeral events with a `g` tag are kept for those who come late; 0 keeps none.
    pub replay_seconds: u64,
    /// Ephemeral events that are kept so at most; the oldest are dropped first.
    pub replay_events_max: usize,
    /// The text of `polygon_file`, once it was read.
    #[serde(skip)]
    drawn: Option<String>,
}

/// Which replies without a `g` tag are taken, if what they answer is stored and lies in the area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Replies {
    /// None.
    #[default]
    None,
    /// Those by the author of what they answer.
    Own,
    /// Everybody's.
    All,
}

impl Default for Geohash {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            prefixes: Vec::new(),
            center: None,
            radius_km: None,
            sides: Vec::new(),
            polygon: String::new(),
            polygon_file: PathBuf::new(),
            border_precision: 8,
            precision_min: 0,
            precision_max: Cell::LENGTH_MAX,
            kinds_exempt: exempt(),
            kinds_about: about(),
            replies: Replies::None,
            prefix_filters: false,
            replay_seconds: 0,
            replay_events_max: 100,
            drawn: None,
        }
    }
}

/// What belongs to people rather than to a place (profiles, lists and sets of things, private messages and
/// drafts), what undoes (deletions, requests to vanish), what moderators must hear (reports), and how people
/// join and leave (NIP-43).
fn exempt() -> KindSet {
    [
        0..=0,
        3..=5,
        62..=62,
        1_059..=1_059,
        1_984..=1_984,
        10_000..=19_999,
        21_059..=21_059,
        28_934..=28_936,
        30_000..=30_007,
        30_015..=30_015,
        30_030..=30_030,
        30_063..=30_063,
        30_267..=30_267,
        31_234..=31_234,
        31_924..=31_924,
        39_089..=39_089,
        39_092..=39_092,
    ]
    .into_iter()
    .collect()
}

/// Reposts, reactions, votes, bids and their confirmations, labels, geocache logs and proofs, zaps, answers to
/// invitations: what they are about says where they are.
fn about() -> KindSet {
    KindSet::of(&[6, 7, 16, 1_018, 1_021, 1_022, 1_985, 7_516, 7_517, 9_321, 9_735, 31_925])
}

pub(in crate::config) const RANGES: &[(&str, u64, u64)] = &[
    ("geohash.border_precision", 1, Cell::LENGTH_MAX as u64),
    ("geohash.precision_min", 0, Cell::LENGTH_MAX as u64),
    ("geohash.precision_max", 1, Cell::LENGTH_MAX as u64),
    ("geohash.replay_seconds", 0, 86_400),
    ("geohash.replay_events_max", 0, 10_000),
];

/// The one way in which an area is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form<'a> {
    Prefixes(&'a [String]),
    Circle([f64; 2], f64),
    Box([f64; 4]),
    Polygon(&'a str),
    File,
}

impl Geohash {
    /// Whether there is an area at all.
    pub fn has_area(&self) -> bool {
        matches!(self.form(), Ok(Some(_)))
    }

    /// The path of the GeoJSON file whose text [`Geohash::draw`] waits for.
    pub fn file(&self) -> Option<&Path> {
        (!self.polygon_file.as_os_str().is_empty()).then_some(self.polygon_file.as_path())
    }

    /// Takes the text of `polygon_file`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn draw(&mut self, text: String) -> Result<(), SectionFault> {
        self.drawn = Some(text);
        self.compile().map(|_| ())
    }

    /// The text of `polygon_file`, if it was read.
    pub(crate) fn drawn(&self) -> Option<&str> {
        self.drawn.as_deref()
    }

    /// Takes over the text of `polygon_file` from settings that name the same file.
    pub(in crate::config) fn keep_drawing(&mut self, other: &Geohash) {
        self.drawn.clone_from(&other.drawn);
    }

    /// The area of these settings; empty if they draw none.
    ///
    /// # Errors
    /// What is wrong with the area, under the key that draws it.
    pub fn compile(&self) -> Result<Area, SectionFault> {
        let precision = self.border_precision.min(self.precision_max);
        let blame = |key| move |AreaError { problem, remedy }: AreaError| fault(key, problem, remedy);
        let area = match self.form()? {
            None => return Ok(Area::default()),
            Some(Form::Prefixes(texts)) => prefixes(texts)?,
            Some(Form::Circle([latitude, longitude], radius_km)) => {
                let is_point = Cell::at(latitude, longitude, 1).is_some();
                let key = if is_point { "geohash.radius_km" } else { "geohash.center" };
                Area::circle(latitude, longitude, radius_km, precision).map_err(blame(key))?
            }
            Some(Form::Box([south, west, north, east])) => {
                let bounds = Bounds { south, west, north, east };
                Area::rectangle(bounds, precision).map_err(blame("geohash.box"))?
            }
            Some(Form::Polygon(text)) => Area::polygon(text, precision).map_err(blame("geohash.polygon"))?,
            Some(Form::File) => {
                let text = self.drawn.as_deref().ok_or_else(|| {
                    fault("geohash.polygon_file", "was not read", "check the path, and that it may be read")
                })?;
                Area::polygon(text, precision).map_err(blame("geohash.polygon_file"))?
            }
        };
        if area.shortest().is_some_and(|shortest| shortest > self.precision_max) {
            return Err(fault(
                "geohash.precision_max",
                format!("no geohash of at most {} characters lies in the area", self.precision_max),
                "raise it, or draw a larger area",
            ));
        }
        Ok(area)
    }

    /// Finds what is wrong, but for what a file says.
    pub(in crate::config) fn check(&self) -> Result<(), SectionFault> {
        if self.precision_min > self.precision_max {
            let problem = format!(
                "must be at most geohash.precision_max ({}), but is {}",
                self.precision_max, self.precision_min
            );
            return Err(fault("geohash.precision_min", problem, "lower it or raise precision_max"));
        }
        match self.form()? {
            Some(Form::File) => Ok(()),
            _ => self.compile().map(|_| ()),
        }
    }

    /// The area in a few words that follow "lies": `in u33d or u33e`, `within 5 km of 52.52, 13.4`.
    pub fn words(&self) -> Option<String> {
        let words = match self.form().ok()?? {
            Form::Prefixes(texts) if texts.len() <= PREFIXES_NAMED_MAX => format!("in {}", any_of(texts)),
            Form::Prefixes(texts) => {
                let named = texts[..PREFIXES_NAMED_MAX].join(", ");
                format!("in {named} or one of {} more", texts.len() - PREFIXES_NAMED_MAX)
            }
            Form::Circle([latitude, longitude], radius_km) => {
                format!("within {radius_km} km of {latitude}, {longitude}")
            }
            Form::Box([south, west, north, east]) => {
                format!("between {south}, {west} (south-west) and {north}, {east} (north-east)")
            }
            Form::Polygon(_) | Form::File => "in the polygon that the operator has drawn".to_owned(),
        };
        Some(words)
    }

    fn form(&self) -> Result<Option<Form<'_>>, SectionFault> {
        let circle = match (self.center, self.radius_km) {
            (None, None) => None,
            (Some(center), Some(radius_km)) => Some(Form::Circle(center, radius_km)),
            (Some(_), None) => {
                return Err(fault("geohash.center", "is half a circle", "write radius_km too, such as 5.5"));
            }
            (None, Some(_)) => {
                let remedy = "write center too, such as [52.52, 13.40]";
                return Err(fault("geohash.radius_km", "is half a circle", remedy));
            }
        };
        let sides = match self.sides.as_slice() {
            [] => None,
            &[south, west, north, east] => Some(Form::Box([south, west, north, east])),
            other => {
                let problem = format!("has four sides, not {}", other.len());
                return Err(fault("geohash.box", problem, "write [south, west, north, east]"));
            }
        };
        let forms = [
            ("geohash.prefixes", (!self.prefixes.is_empty()).then_some(Form::Prefixes(&self.prefixes))),
            ("geohash.center", circle),
            ("geohash.box", sides),
            ("geohash.polygon", (!self.polygon.is_empty()).then_some(Form::Polygon(&self.polygon))),
            ("geohash.polygon_file", self.file().map(|_| Form::File)),
        ];
        let mut given = forms.into_iter().filter_map(|(key, form)| Some((key, form?)));
        let Some((first, form)) = given.next() else { return Ok(None) };
        match given.next() {
            None => Ok(Some(form)),
            Some((second, _)) => Err(fault(
                second,
                format!("the area is drawn by {first} already"),
                "draw it in one way, and remove the other",
            )),
        }
    }
}

/// The area of all that begins with one of these texts.
fn prefixes(texts: &[String]) -> Result<Area, SectionFault> {
    let cells = texts.iter().map(|text| {
        Cell::parse(text).map_err(|why| {
            let shown: String = text.chars().take(20).collect();
            fault("geohash.prefixes", format!("{shown:?}: {why}"), "write for example prefixes = [\"u33d\"]")
        })
    });
    Ok(Area::of(cells.collect::<Result<Vec<Cell>, _>>()?))
}

fn fault(key: &'static str, problem: impl Into<String>, remedy: &'static str) -> SectionFault {
    SectionFault { key, problem: problem.into(), remedy: remedy.to_owned() }
}
