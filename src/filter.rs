//! Filters as NIP-01 defines them, pure. In: JSON. Out: [`Filter`] and the one `matches`, which stored
//! scans, live delivery and COUNT must all agree with. Never looks at limits: `policy` does.

pub mod places;

use std::fmt;

use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use zerocopy::{Immutable, IntoBytes};

use crate::event::{Event, Id, Kind, PublicKey, Text, is_hex64};
use crate::nips::nip50::Asked;

/// A filter without its values, and its lists' own.
const FILTER_BYTES: usize = 256;

/// Values that must all be there (`&t`), of one filter: each is looked for among an event's tags, which are many.
pub const ALL_TAGS_MAX: usize = 16;

/// What the allocator adds to a text.
const ALLOCATION_BYTES: usize = 16;

/// What a value takes where subscriptions are found by it: its slot, room in the table, its place in a list.
const FOUND_BY_BYTES: usize = 48;

/// What a subscription asks for. Absent lists ask for anything; empty lists match nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Sorted, without repetition.
    pub ids: Option<Vec<Id>>,
    /// Sorted, without repetition.
    pub authors: Option<Vec<PublicKey>>,
    /// Sorted, without repetition.
    pub kinds: Option<Vec<Kind>>,
    /// Letter and sorted values, one of which must be there (`#t`); each letter once.
    pub tags: Vec<(u8, Vec<String>)>,
    /// Letters and values that must all be there (`&t`), sorted; none of them stands in `tags`.
    pub all_tags: Vec<(u8, String)>,
    /// What a `g` tag may begin with, besides being one of the values of `#g` in `tags`, which is there when
    /// this is not empty. Sorted; none begins with another one. Only [`places::read_places`] fills it.
    pub prefixes: Vec<String>,
    /// Earliest `created_at`, inclusive.
    pub since: Option<u64>,
    /// Latest `created_at`, inclusive.
    pub until: Option<u64>,
    /// How many of the newest stored events are wanted; says nothing of live ones.
    pub limit: Option<u64>,
    /// What is asked for in words (NIP-50).
    pub search: Option<Box<Asked>>,
}

impl Filter {
    /// Reads a filter from JSON text.
    ///
    /// # Errors
    /// A sentence that names the element, when one is of the wrong form or unknown: to pass over an
    /// unknown element would answer with more than was asked for.
    pub fn from_json(text: &str) -> Result<Filter, String> {
        serde_json::from_str(text).map_err(|error| crate::event::describe(&error))
    }

    /// Reads a filter that is answered by looking at all that is stored, and not by a search.
    ///
    /// # Errors
    /// The same, and when it has `search`.
    pub fn without_search(text: &str) -> Result<Filter, String> {
        match Filter::from_json(text)? {
            Filter { search: Some(_), .. } => Err("`search` is for the requests of clients".to_owned()),
            filter => Ok(filter),
        }
    }

    /// Whether the event is one that this filter asks for (NIP-01: AND between conditions, OR inside
    /// lists, `since` and `until` inclusive, `limit` not looked at).
    pub fn matches(&self, event: &Event) -> bool {
        self.matches_but_words(event) && self.search.as_ref().is_none_or(|asked| asked.matches(event))
    }

    /// The same without `search`.
    pub fn matches_but_words(&self, event: &Event) -> bool {
        self.ids.as_ref().is_none_or(|ids| holds(ids, &event.id))
            && self.kinds.as_ref().is_none_or(|kinds| kinds.binary_search(&event.kind).is_ok())
            && self.matches_time(event.created_at)
            && self.authors.as_ref().is_none_or(|authors| holds(authors, &event.pubkey))
            && self.tags.iter().all(|(letter, wanted)| {
                event.tags.indexed().any(|(name, value)| {
                    name == *letter && wanted.binary_search_by(|one| one.as_str().cmp(value)).is_ok()
                }) || *letter == places::LETTER && self.matches_place(event)
            })
            && self.all_tags.iter().all(|(letter, wanted)| {
                event.tags.indexed().any(|(name, value)| name == *letter && value == wanted)
            })
    }

    /// Values that must be there anyway count no more among those of which one must be there. A list that held nothing
    /// else asks for nothing then.
    fn leave_to_all(&mut self) {
        let Filter { tags, all_tags, .. } = self;
        if all_tags.is_empty() {
            return;
        }
        tags.retain_mut(|(letter, values)| {
            let before = values.len();
            values.retain(|value| !all_tags.iter().any(|(other, all)| other == letter && all == value));
            before == 0 || !values.is_empty()
        });
    }

    fn matches_place(&self, event: &Event) -> bool {
        !self.prefixes.is_empty()
            && places::places(&event.tags).any(|place| places::begins_with_any(&self.prefixes, place))
    }

    /// Whether this asks for certain events or authors, and not for whatever there is.
    pub fn names_events_or_authors(&self) -> bool {
        self.ids.is_some() || self.authors.is_some()
    }

    /// Whether a time lies between `since` and `until`.
    pub fn matches_time(&self, created_at: u64) -> bool {
        self.since.is_none_or(|since| since <= created_at)
            && self.until.is_none_or(|until| created_at <= until)
    }

    /// About how many bytes it takes while it is open, with what finds it.
    pub fn memory_bytes(&self) -> usize {
        let all = self.all_tags.iter().map(|(_, value)| value);
        let texts = self.tags.iter().flat_map(|(_, values)| values).chain(&self.prefixes).chain(all);
        let long: usize = texts.map(|text| size_of::<String>() + text.capacity() + ALLOCATION_BYTES).sum();
        let ids = self.ids.as_ref().map_or(0, Vec::len) + self.authors.as_ref().map_or(0, Vec::len);
        let words = self.search.as_ref().map_or(0, |asked| asked.memory_bytes());
        FILTER_BYTES + long + ids * size_of::<Id>() + self.values() * FOUND_BY_BYTES + words
    }

    /// How many values all lists hold together.
    pub fn values(&self) -> usize {
        self.ids.as_ref().map_or(0, Vec::len)
            + self.authors.as_ref().map_or(0, Vec::len)
            + self.kinds.as_ref().map_or(0, Vec::len)
            + self.tags.iter().map(|(_, values)| values.len()).sum::<usize>()
            + self.all_tags.len()
            + self.prefixes.len()
    }
}

/// Looks from where a value would lie in a sorted list if all were random, before the list is halved.
const LOOKS_MAX: usize = 32;

/// Whether a sorted list holds a value. Ids and keys are as good as random, so their first bytes say about where one
/// would lie, and it is looked for from there on: in a list of hundreds that takes half the time of a search by
/// halves, which waits for memory and compares all 32 bytes at each step. Values that somebody chose are found by halves.
fn holds<T: Ord + IntoBytes + Immutable>(sorted: &[T], value: &T) -> bool {
    let first = first_bytes(value);
    let (mut at, mut before) = (((u128::from(first) * sorted.len() as u128) >> 64) as usize, None);
    for _ in 0..LOOKS_MAX {
        let Some(there) = sorted.get(at) else { return false };
        let order = first_bytes(there).cmp(&first);
        if order.is_eq() {
            return there == value || sorted.binary_search(value).is_ok();
        }
        if before.replace(order).is_some_and(|before| before != order) {
            return false;
        }
        at = if order.is_lt() { at + 1 } else { at.wrapping_sub(1) };
    }
    sorted.binary_search(value).is_ok()
}

/// The first bytes as a number, which has the order of the whole where it differs.
fn first_bytes<T: IntoBytes + Immutable>(value: &T) -> u64 {
    value.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FilterVisitor)
    }
}

struct FilterVisitor;

impl<'de> Visitor<'de> for FilterVisitor {
    type Value = Filter;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a filter, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Filter, A::Error> {
        let mut filter = Filter::default();
        let mut letters_of_all = Vec::new();
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            match &*key {
                "ids" => set(&mut filter.ids, "ids", hex_list(&mut map, "ids", Id::from_hex)?)?,
                "authors" => {
                    set(&mut filter.authors, "authors", hex_list(&mut map, "authors", PublicKey::from_hex)?)?;
                }
                "kinds" => {
                    let rule = "kinds must be an array of whole numbers from 0 to 65535";
                    let kinds = value::<Vec<u16>, _>(&mut map, rule)?;
                    set(&mut filter.kinds, "kinds", sorted(kinds.into_iter().map(Kind).collect()))?;
                }
                "since" => {
                    set(
                        &mut filter.since,
                        "since",
                        value(&mut map, "since must be a whole number of seconds")?,
                    )?;
                }
                "until" => {
                    set(
                        &mut filter.until,
                        "until",
                        value(&mut map, "until must be a whole number of seconds")?,
                    )?;
                }
                "search" => {
                    let text = value::<String, _>(&mut map, "search must be a string")?;
                    set(&mut filter.search, "search", Box::new(Asked::parse(&text)))?;
                }
                "limit" => set(&mut filter.limit, "limit", value(&mut map, "limit must be a whole number")?)?,
                key => match *key.as_bytes() {
                    [b'#', letter] if letter.is_ascii_alphabetic() => {
                        if filter.tags.iter().any(|(known, _)| *known == letter) {
                            return Err(de::Error::custom(format_args!("the filter has {key} twice")));
                        }
                        filter.tags.push((letter, tag_values(&mut map, key)?));
                    }
                    [b'&', letter] if letter.is_ascii_alphabetic() => {
                        if letters_of_all.contains(&letter) {
                            return Err(de::Error::custom(format_args!("the filter has {key} twice")));
                        }
                        letters_of_all.push(letter);
                        let values = tag_values(&mut map, key)?;
                        filter.all_tags.extend(values.into_iter().map(|value| (letter, value)));
                    }
                    _ => {
                        return Err(de::Error::custom(format_args!(
                            "the filter's element {key:?} is not one that this relay knows"
                        )));
                    }
                },
            }
        }
        if filter.all_tags.len() > ALL_TAGS_MAX {
            return Err(de::Error::custom(format_args!(
                "the filter has more than {ALL_TAGS_MAX} values that must all be there (&)"
            )));
        }
        filter.all_tags = sorted(filter.all_tags);
        filter.leave_to_all();
        Ok(filter)
    }
}

fn set<T, E: de::Error>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom(format_args!("the filter has {name} twice"))),
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    // A filter may stay for as long as its connection.
    list.shrink_to_fit();
    list
}

fn value<'de, T: DeserializeOwned, A: MapAccess<'de>>(map: &mut A, rule: &str) -> Result<T, A::Error> {
    map.next_value().map_err(|_: A::Error| de::Error::custom(rule))
}

fn hex_list<'de, T: Ord, A: MapAccess<'de>>(
    map: &mut A,
    name: &str,
    read: fn(&str) -> Option<T>,
) -> Result<Vec<T>, A::Error> {
    let rule = || de::Error::custom(format_args!("{name} must be an array of 64 lowercase hex digits each"));
    let texts = map.next_value::<Vec<Text<'de>>>().map_err(|_| rule())?;
    texts.iter().map(|Text(text)| read(text)).collect::<Option<Vec<T>>>().map(sorted).ok_or_else(rule)
}

fn tag_values<'de, A: MapAccess<'de>>(map: &mut A, key: &str) -> Result<Vec<String>, A::Error> {
    let rule = |form: &str| de::Error::custom(format_args!("{key} must be an array of {form}"));
    let values = map.next_value::<Vec<String>>().map_err(|_| rule("strings"))?;
    if matches!(key, "#e" | "#p" | "&e" | "&p") && !values.iter().all(|value| is_hex64(value)) {
        return Err(rule("64 lowercase hex digits each"));
    }
    Ok(sorted(values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splitmix::SplitMix;

    #[test]
    fn each_wrong_element_is_named() {
        let hex = "a".repeat(64);
        let table = [
            (r#"{"ids":["ab"]}"#.to_owned(), "ids must be an array of 64 lowercase hex digits each"),
            (format!(r#"{{"authors":["{}"]}}"#, hex.to_uppercase()), "authors must be an array of 64"),
            (r##"{"#e":["x"]}"##.to_owned(), "#e must be an array of 64 lowercase hex digits each"),
            (r##"{"#p":[1]}"##.to_owned(), "#p must be an array of strings"),
            (r#"{"kinds":[65536]}"#.to_owned(), "kinds must be an array of whole numbers from 0 to 65535"),
            (r#"{"kinds":1}"#.to_owned(), "kinds must be an array of whole numbers"),
            (r#"{"since":-1}"#.to_owned(), "since must be a whole number of seconds"),
            (r#"{"until":"1"}"#.to_owned(), "until must be a whole number of seconds"),
            (r#"{"limit":1.5}"#.to_owned(), "limit must be a whole number"),
            (r#"{"limit":1,"limit":2}"#.to_owned(), "the filter has limit twice"),
            (r##"{"#t":[],"#t":[]}"##.to_owned(), "the filter has #t twice"),
            (r##"{"&t":["x"],"#t":[],"&t":[]}"##.to_owned(), "the filter has &t twice"),
            (r##"{"&p":["x"]}"##.to_owned(), "&p must be an array of 64 lowercase hex digits each"),
            (r##"{"&tt":["x"]}"##.to_owned(), r##"the filter's element "&tt" is not one"##),
            (
                format!(r##"{{"&t":{:?}}}"##, (0..17).map(|number| number.to_string()).collect::<Vec<_>>()),
                "the filter has more than 16 values that must all be there",
            ),
            (r#"{"search":["x"]}"#.to_owned(), "search must be a string"),
            (r#"{"search":"x","search":"x"}"#.to_owned(), "the filter has search twice"),
            (r#"{"like":"x"}"#.to_owned(), r#"the filter's element "like" is not one"#),
            (r##"{"#tt":["x"]}"##.to_owned(), r##"the filter's element "#tt" is not one"##),
            (r#"[]"#.to_owned(), "invalid type: sequence, expected a filter"),
        ];
        for (text, said) in table {
            let error = Filter::from_json(&text).expect_err(&text);
            assert!(error.starts_with(said), "{text}: {error}");
        }
    }

    #[test]
    fn conditions_are_anded_and_lists_ored() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let event = Event::from_json(
            format!(
                r#"{{"id":"{a}","pubkey":"{b}","created_at":100,"kind":1,"tags":[["t","x"],["t","y"],["e","{a}"],["tt","z"],["p"]],"content":"","sig":"{a}{a}"}}"#
            )
            .as_bytes(),
        )
        .expect("a well-formed event");
        let table = [
            ("{}".to_owned(), true),
            (format!(r#"{{"ids":["{a}"]}}"#), true),
            (format!(r#"{{"ids":["{b}","{a}"]}}"#), true),
            (format!(r#"{{"ids":["{b}"]}}"#), false),
            (r#"{"ids":[]}"#.to_owned(), false),
            (format!(r#"{{"authors":["{b}"],"kinds":[1,2]}}"#), true),
            (format!(r#"{{"authors":["{b}"],"kinds":[2]}}"#), false),
            (r#"{"since":100,"until":100}"#.to_owned(), true),
            (r#"{"since":101}"#.to_owned(), false),
            (r#"{"until":99}"#.to_owned(), false),
            (r##"{"#t":["z","y"]}"##.to_owned(), true),
            (r##"{"#t":["z"]}"##.to_owned(), false),
            (format!(r##"{{"#t":["x"],"#e":["{a}"]}}"##), true),
            (format!(r##"{{"#t":["x"],"#e":["{b}"]}}"##), false),
            (r##"{"#p":[]}"##.to_owned(), false),
            (r##"{"&t":["x","y"]}"##.to_owned(), true),
            (r##"{"&t":["x","z"]}"##.to_owned(), false),
            (format!(r##"{{"&t":["y"],"&e":["{a}"]}}"##), true),
            (format!(r##"{{"&t":["y"],"&e":["{b}"]}}"##), false),
            (r##"{"&t":["x"],"#t":["y","z"]}"##.to_owned(), true),
            (r##"{"&t":["x"],"#t":["x","z"]}"##.to_owned(), false),
            (r##"{"&t":["x"],"#t":["x"]}"##.to_owned(), true),
            (r##"{"&t":["x"],"#t":[]}"##.to_owned(), false),
            (r##"{"&t":[]}"##.to_owned(), true),
            (r#"{"limit":0}"#.to_owned(), true),
        ];
        for (text, matches) in table {
            let filter = Filter::from_json(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(filter.matches(&event), matches, "{text}");
        }
    }

    #[test]
    fn a_list_holds_what_halving_finds_in_it() {
        let mut dice = SplitMix(11);
        // Random ones, as they are; and some that are chosen to lie together.
        let lengths = |shared| (0..40).chain([500]).map(move |length| (shared, length));
        for (shared, length) in (0..=32).step_by(4).flat_map(lengths) {
            let mut value = || {
                let mut bytes = [0xff; 32];
                bytes[shared..].iter_mut().for_each(|byte| *byte = dice.below(256) as u8);
                Id(bytes)
            };
            let list = sorted((0..length).map(|_| value()).collect());
            let edges = [Id([0; 32]), Id([0xff; 32])];
            let others: Vec<Id> = (0..20).map(|_| value()).chain(edges).collect();
            for one in list.iter().chain(&others) {
                let is_there = list.binary_search(one).is_ok();
                assert_eq!(holds(&list, one), is_there, "{one} in {length}, {shared} bytes the same");
            }
        }
    }
}
