//! Queries as clients ask them, by shape. In: what is stored, and dice. Out: messages.

use super::client::frame;
use super::corpus::World;
use super::dice::Dice;
use super::people::PEOPLE;
use super::sample::Sample;
use super::text::HASHTAGS;

/// A kind of query, and how one is written.
pub(super) struct Shape {
    /// What its figures' keys hold.
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    verb: &'static str,
    write: fn(&Draw<'_>, &mut Dice) -> String,
}

/// What queries are drawn from.
pub(super) struct Draw<'a> {
    pub(super) world: &'a World,
    pub(super) sample: &'a Sample,
}

impl Draw<'_> {
    /// A moment at which a note was written.
    fn moment(&self, dice: &mut Dice) -> u64 {
        self.sample.draw(dice).created_at
    }

    /// People as one follows them, for a filter.
    fn follows(&self, dice: &mut Dice, count: usize) -> String {
        quoted(dice.different(count, PEOPLE).iter().map(|number| &self.world.people[*number as usize].hex))
    }

    fn someone(&self, dice: &mut Dice) -> &str {
        &self.world.people[dice.power_law(PEOPLE) as usize].hex
    }
}

/// Values of a list in a filter.
fn quoted<T: std::fmt::Display>(values: impl Iterator<Item = T>) -> String {
    values.map(|value| format!("\"{value}\"")).collect::<Vec<String>>().join(",")
}

const fn req(key: &'static str, name: &'static str, write: fn(&Draw<'_>, &mut Dice) -> String) -> Shape {
    Shape { key, name, verb: "REQ", write }
}

/// What any relay can be asked.
pub(super) const SHAPES: &[Shape] = &[
    req("home_feed", "home feed of 300 authors", |draw, dice| {
        format!(r#"{{"kinds":[1,6],"authors":[{}],"limit":50}}"#, draw.follows(dice, 300))
    }),
    req("profiles", "profiles of 50 authors", |draw, dice| {
        format!(r#"{{"kinds":[0],"authors":[{}]}}"#, draw.follows(dice, 50))
    }),
    req("thread", "thread", |draw, dice| {
        format!(r##"{{"kinds":[1,7],"#e":["{}"],"limit":100}}"##, draw.sample.draw(dice).id)
    }),
    req("mentions", "mentions", |draw, dice| {
        format!(r##"{{"#p":["{}"],"kinds":[1,6,7],"limit":50}}"##, draw.sample.draw(dice).pubkey)
    }),
    req("global_page", "global page at a random time", |draw, dice| {
        format!(r#"{{"kinds":[1],"until":{},"limit":50}}"#, draw.moment(dice))
    }),
    req("ids", "20 ids", |draw, dice| {
        format!(r#"{{"ids":[{}]}}"#, quoted((0..20).map(|_| draw.sample.draw(dice).id)))
    }),
    req("hashtag", "hashtag", |draw, dice| {
        let hashtag = draw.world.texts.hashtag(dice.power_law(HASHTAGS));
        format!(r##"{{"#t":["{hashtag}"],"until":{},"limit":50}}"##, draw.moment(dice))
    }),
    req("geohash", "geohash", |draw, dice| {
        let mut cell = String::new();
        dice.letters(b"0123456789bcdefghjkmnpqrstuvwxyz", 1, &mut cell);
        format!(r##"{{"#g":["u33d{cell}"],"until":{},"limit":50}}"##, draw.moment(dice))
    }),
    req("author_page", "one author's page", |draw, dice| {
        let note = draw.sample.draw(dice);
        format!(r#"{{"authors":["{}"],"until":{},"limit":50}}"#, note.pubkey, note.created_at)
    }),
    req("listings", "listings", |draw, dice| {
        format!(r#"{{"kinds":[30402],"until":{},"limit":30}}"#, draw.moment(dice))
    }),
    req("nothing", "nothing matches", |draw, dice| {
        format!(
            r##"{{"kinds":[1],"authors":[{}],"#t":["never{}"],"limit":50}}"##,
            draw.follows(dice, 20),
            dice.next()
        )
    }),
    Shape {
        key: "count",
        name: "COUNT of followers",
        verb: "COUNT",
        write: |draw, dice| format!(r##"{{"kinds":[3],"#p":["{}"]}}"##, draw.someone(dice)),
    },
];

/// What only a relay with search can be asked (NIP-50).
pub(super) const SEARCHES: &[Shape] = &[
    req("search_word", "search for a word", |draw, dice| {
        format!(r#"{{"search":"{}","limit":50}}"#, draw.world.texts.word(dice.power_law(2_000)))
    }),
    req("search_words", "search for two words", |draw, dice| {
        let [one, two] = [(); 2].map(|()| draw.world.texts.word(dice.power_law(2_000)));
        format!(r#"{{"search":"{one} {two}","limit":50}}"#)
    }),
    req("search_phrase", "search for a phrase", |draw, dice| {
        let [one, two] = [(); 2].map(|()| draw.world.texts.word(dice.power_law(60)));
        format!(r#"{{"search":"\"{one} {two}\"","limit":50}}"#)
    }),
    req("search_listings", "search for a listing", |draw, dice| {
        let word = draw.world.texts.word(dice.power_law(2_000));
        format!(r#"{{"kinds":[30402],"search":"{word}","limit":30}}"#)
    }),
    req("search_nothing", "search for what is nowhere", |_, dice| {
        format!(r#"{{"search":"never{}","limit":50}}"#, dice.next())
    }),
];

/// What only a relay with filters by beginnings of geohashes can be asked (nips/geohash-filters.md).
pub(super) const PREFIX: Shape = req("geohash_prefix", "geohash prefix", |draw, dice| {
    let mut cell = String::new();
    dice.letters(b"0123456789bcdefghjkmnpqrstuvwxyz", 1, &mut cell);
    format!(r##"{{"#g":["u33{cell}*"],"until":{},"limit":50}}"##, draw.moment(dice))
});

impl Shape {
    pub(super) fn is_count(&self) -> bool {
        self.verb == "COUNT"
    }

    /// A frame that asks it.
    pub(super) fn frame(&self, draw: &Draw<'_>, dice: &mut Dice) -> Vec<u8> {
        let mut out = Vec::new();
        frame(format!(r#"["{}","q",{}]"#, self.verb, (self.write)(draw, dice)).as_bytes(), &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::corpus::{BEGINNING, Corpus};
    use super::*;
    use crate::filter::Filter;
    use crate::search::text::Words;

    #[test]
    fn shapes_find_what_they_ask_for() {
        let world = World::new();
        let events = Corpus::new(&world, 1, BEGINNING).events(6_000);
        let mut sample = Sample::new();
        sample.observe(&events);
        let (draw, mut dice) = (Draw { world: &world, sample: &sample }, Dice::new(1));
        // Once for each event: to read words takes longer than all else.
        let words: Vec<Words> = events.iter().map(Words::of).collect();
        for shape in SHAPES.iter().chain(SEARCHES) {
            let found = (0..20).filter(|_| {
                let text = (shape.write)(&draw, &mut dice);
                let filter = Filter::from_json(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
                events.iter().zip(&words).any(|(event, words)| {
                    let search = filter.search.as_ref();
                    filter.matches_but_words(event)
                        && search.is_none_or(|asked| asked.matches_words(event, words))
                })
            });
            assert_eq!(found.count() > 0, !shape.key.ends_with("nothing"), "{}", shape.name);
        }
    }
}
