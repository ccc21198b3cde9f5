//! Places in filters, an extension (nips/geohash-filters.md), pure: `#g` values that ask for all that lies
//! in a geohash cell, or near it. In: filters as clients wrote them, `g` tags. Out: filters whose places
//! [`Filter::matches`] knows. Never looks at settings: who calls this has the extension on. `policy` refuses.

use super::Filter;
use crate::event::Tags;
use crate::geo::{Geohash, is_geohash_digit};

/// The tag that holds a geohash.
pub const LETTER: u8 = b'g';

/// Characters of a prefix. A cell of this size is some centimetres wide.
pub const PREFIX_CHARS_MAX: usize = Geohash::LENGTH_MAX;

/// `g` tags of one event that places are looked for in: the first ones. A ladder has one for each length,
/// so there is room for several places, and nobody can fill the index with one event.
pub const PLACES_MAX: usize = 64;

/// Cells around a cell.
const NEIGHBOURS: usize = 8;

/// Reads the places of filters: values of `#g` such as `u33d*`, what begins with `u33d`, and `~u33d`, what
/// begins with that cell or with one of those around it. Other values stay as they are.
pub fn read_places(filters: &mut [Filter]) {
    for filter in filters {
        let Some((_, values)) = filter.tags.iter_mut().find(|(letter, _)| *letter == LETTER) else {
            continue;
        };
        let mut prefixes = Vec::new();
        for value in values.extract_if(.., |value| Form::of(value).is_some()) {
            match Form::of(&value) {
                Some(Form::Within(prefix)) => prefixes.push(prefix.to_owned()),
                Some(Form::Near(cell)) => prefixes.extend(with_neighbours(cell)),
                None => {}
            }
        }
        filter.prefixes = apart(prefixes);
    }
}

/// How many values a filter has once its places are read, each cell around one among them.
pub fn values_once_read(filter: &Filter) -> usize {
    let is_near = |value: &&String| matches!(Form::of(value), Some(Form::Near(_)));
    filter.values() + NEIGHBOURS * values_of(filter).iter().filter(is_near).count()
}

/// The first value of a filter's `#g` that has a star or a tilde and means no place.
pub fn unreadable(filter: &Filter) -> Option<&str> {
    let is_meant = |value: &&String| value.contains(['*', '~']) && Form::of(value).is_none();
    values_of(filter).iter().find(is_meant).map(String::as_str)
}

fn values_of(filter: &Filter) -> &[String] {
    filter.tags.iter().find(|(letter, _)| *letter == LETTER).map_or(&[], |(_, values)| values)
}

/// What a value of `#g` asks for besides itself.
enum Form<'v> {
    /// What begins with this.
    Within(&'v str),
    /// What begins with this cell or one of those around it.
    Near(&'v str),
}

impl<'v> Form<'v> {
    fn of(value: &'v str) -> Option<Form<'v>> {
        let within = || value.strip_suffix('*').filter(|prefix| is_cell(prefix)).map(Form::Within);
        let near = || value.strip_prefix('~').filter(|cell| is_cell(cell)).map(Form::Near);
        within().or_else(near)
    }
}

/// Whether this names a cell.
fn is_cell(text: &str) -> bool {
    Geohash::parse(text).is_ok()
}

/// Sorted, without repetition and without what begins with another one.
fn apart(mut prefixes: Vec<String>) -> Vec<String> {
    prefixes.sort_unstable();
    prefixes.dedup_by(|next, kept| next.starts_with(kept.as_str()));
    prefixes
}

/// A cell and the eight around it.
fn with_neighbours(cell: &str) -> Vec<String> {
    // `is_cell` has said that it can be read.
    let Ok(cell) = Geohash::parse(cell) else { return Vec::new() };
    cell.neighbours().into_iter().chain([cell]).map(|cell| cell.to_string()).collect()
}

/// The values of an event's `g` tags that places are looked for in.
pub fn places(tags: &Tags) -> impl Iterator<Item = &str> {
    tags.values("g").take(PLACES_MAX)
}

/// Whether an event has a `g` tag.
pub fn has_place(tags: &Tags) -> bool {
    places(tags).next().is_some()
}

/// Everything that a filter may name and this place begins with, the shortest first.
pub fn prefixes_of(place: &str) -> impl Iterator<Item = &str> {
    let cell = place.bytes().take(PREFIX_CHARS_MAX).take_while(|byte| is_geohash_digit(*byte)).count();
    (1..=cell).filter_map(|end| place.get(..end))
}

/// Whether a place begins with one of these, of which none begins with another one, in order.
pub(super) fn begins_with_any(prefixes: &[String], place: &str) -> bool {
    // What lies between a prefix and what begins with it would begin with the prefix too.
    let at = prefixes.partition_point(|prefix| prefix.as_str() <= place);
    at.checked_sub(1).is_some_and(|last| place.starts_with(prefixes[last].as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Filter {
        let text = serde_json::json!({ "#g": values, "#t": ["u33d*", "~~"] }).to_string();
        let mut filters = [Filter::from_json(&text).expect("a filter")];
        read_places(&mut filters);
        let [filter] = filters;
        // Stars of other letters are not looked at.
        assert_eq!(filter.tags[1].1, ["u33d*", "~~"]);
        filter
    }

    #[test]
    fn forms_become_prefixes_and_the_rest_stays() {
        let table: [(&[&str], &[&str], &[&str]); 12] = [
            (&[], &[], &[]),
            (&["u33d"], &["u33d"], &[]),
            (&["u33d*"], &[], &["u33d"]),
            (&["u*"], &[], &["u"]),
            (&["u33dc0123456*"], &[], &["u33dc0123456"]),
            (&["u33d*", "u33e*", "u33d*"], &[], &["u33d", "u33e"]),
            // What begins with another prefix adds nothing to it.
            (&["u33d*", "u3*", "u33*", "u4*"], &[], &["u3", "u4"]),
            // An exact value stays, even where a prefix covers it.
            (&["u33dc", "u33d*", "Bahnhof"], &["Bahnhof", "u33dc"], &["u33d"]),
            // South of the pole it goes north again.
            (&["~5"], &[], &["0", "4", "5", "6", "7", "h", "k", "n", "p"]),
            (&["~u33"], &[], &["u30", "u31", "u32", "u33", "u34", "u36", "u38", "u39", "u3d"]),
            (
                &["~u33", "u33dc*", "t*"],
                &[],
                &["t", "u30", "u31", "u32", "u33", "u34", "u36", "u38", "u39", "u3d"],
            ),
            (&["~u33", "u3*"], &[], &["u3"]),
        ];
        for (values, exact, prefixes) in table {
            let filter = read(values);
            let (read_exact, read_prefixes) = (&filter.tags[0].1, &filter.prefixes);
            assert_eq!(
                (read_exact.as_slice(), read_prefixes.as_slice()),
                (&*owned(exact), &*owned(prefixes))
            );
        }
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_is_neither_form_is_told_and_stays_text() {
        let long = "~".repeat(100_000);
        let table = [
            "*",
            "~",
            "~*",
            "**",
            "~~",
            "a*",
            "i*",
            "l*",
            "o*",
            "U33D*",
            "~U33",
            "u3*d",
            "*u33",
            "u33~",
            "~u33*",
            "u33d**",
            "~~u33",
            " u33*",
            "ü*",
            "~ü",
            "u33dc01234567*",
            "~u33dc01234567",
            &long,
        ];
        for value in table {
            let filter = read(&["u33d", value, "u4*"]);
            assert_eq!(unreadable(&filter), Some(value));
            assert_eq!(
                (filter.tags[0].1.len(), filter.prefixes.as_slice()),
                (2, &*owned(&["u4"])),
                "{value}"
            );
        }
        // Exact ones may be anything.
        assert_eq!(unreadable(&read(&["U33D", "", "ü", "u33dc0123456789"])), None);
        assert_eq!(unreadable(&Filter::default()), None);
    }

    #[test]
    fn each_cell_around_one_counts() {
        let table: [(&[&str], usize); 5] =
            [(&[], 0), (&["u33d"], 1), (&["u33d*"], 1), (&["~u33d"], 9), (&["~u33d", "~u33e", "u", "~"], 20)];
        for (values, count) in table {
            let text = serde_json::json!({ "#g": values, "kinds": [1] }).to_string();
            let filter = Filter::from_json(&text).expect("a filter");
            assert_eq!(values_once_read(&filter), count + 1, "{values:?}");
        }
    }

    #[test]
    fn neighbours_wrap_around_the_world_and_over_its_poles() {
        let table = [
            ("u33d", "u333 u336 u337 u339 u33c u33d u33e u33f u33g"),
            // Its north is the pole.
            ("u", "b c e g s t u v z"),
            ("x", "2 8 b q r w x y z"),
            ("8", "2 3 8 9 b c r x z"),
            ("b", "8 9 b c g u v x z"),
            ("bp", "bn bp bq br gz up ur zy zz"),
            (
                "00000000000",
                "00000000000 00000000001 00000000002 00000000003 5bpbpbpbpbp h0000000000 h0000000001 pbpbpbpbpbp pbpbpbpbpbr",
            ),
            (
                "zzzzzzzzzzzz",
                "bpbpbpbpbpbn bpbpbpbpbpbp gzzzzzzzzzzx gzzzzzzzzzzz upbpbpbpbpbp zzzzzzzzzzzw zzzzzzzzzzzx zzzzzzzzzzzy zzzzzzzzzzzz",
            ),
        ];
        for (cell, around) in table {
            let mut cells = with_neighbours(cell);
            cells.sort_unstable();
            assert_eq!(cells.join(" "), around, "around {cell}");
        }
    }

    #[test]
    fn a_place_has_the_prefixes_that_filters_may_name() {
        let table = [
            ("u33d", "u u3 u33 u33d"),
            ("u33D", "u u3 u33"),
            ("", ""),
            ("*", ""),
            ("ü", ""),
            ("u3 Berlin", "u u3"),
            (
                "0123456789bcd",
                "0 01 012 0123 01234 012345 0123456 01234567 012345678 0123456789 0123456789b 0123456789bc",
            ),
        ];
        for (place, prefixes) in table {
            assert_eq!(prefixes_of(place).collect::<Vec<_>>().join(" "), prefixes, "{place}");
        }
    }

    #[test]
    fn a_place_is_found_among_prefixes_as_by_looking_at_each() {
        let prefixes = apart(owned(&["b", "b0", "u33", "u33d", "u4", "z0"]));
        assert_eq!(prefixes, ["b", "u33", "u4", "z0"]);
        for place in ["", "b", "b0", "bz", "c", "u", "u3", "u33", "u33z", "u34", "u4", "z", "z0", "z00", "z1"]
        {
            let naive = prefixes.iter().any(|prefix| place.starts_with(prefix));
            assert_eq!(begins_with_any(&prefixes, place), naive, "{place}");
        }
        assert!(!begins_with_any(&[], "u33"));
    }
}
