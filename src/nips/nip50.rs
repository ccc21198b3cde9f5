//! NIP-50 search (nips/50.md): what a query asks for, which words of an event it may be found by, and whether one is in
//! the other. In: a query's text, an event, who asks. Out: a decision. Never knows an index: `search` does.

use crate::config::{KindSet, Search, Settings};
use crate::domain;
use crate::event::{Event, Kind, PublicKey};
use crate::filter::Filter;
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Rule};
use crate::search::text::{Token, Words, sequence};
use crate::words::number;

/// Whether and how filters may have `search`.
pub const RULES: &[Rule] = &[
    Rule {
        id: "search.enabled",
        settings: &["search.enabled"],
        sentence: |settings| {
            (!settings.search.enabled)
                .then(|| "There is no search here: filters have no `search`.".to_owned())
        },
        check: Check::Query(is_enabled),
    },
    Rule {
        id: "search.words_max",
        settings: &["search.words_max", "search.enabled"],
        sentence: |settings| {
            let Search { enabled, words_max, .. } = settings.search;
            enabled.then(|| format!("A search has at most {} words.", number(words_max.into())))
        },
        check: Check::Query(has_few_words),
    },
    Rule {
        id: "search.kinds",
        settings: &["search.kinds", "search.enabled"],
        sentence: |settings| {
            let Search { enabled, kinds, .. } = &settings.search;
            enabled.then(|| format!("A search finds events of kinds {kinds}."))
        },
        check: Check::Query(names_searched_kinds),
    },
];

/// Kinds whose content is encrypted: they are never searched, whatever the settings say.
const ENCRYPTED: &[u16] = &[4, 13, 14, 15, 44, 443, 444, 445, 1059, 1060, 10_443, 21_059, 24_133];

/// Kinds whose content is JSON with a name and a text about it: profiles, channels, stalls, products, auctions, apps.
const DESCRIBED_BY_JSON: &[u16] = &[0, 40, 41, 30_017, 30_018, 30_019, 30_020, 31_990];

/// Kinds whose content may be what only their author can read: lists and sets (NIP-51).
const LISTS: std::ops::RangeInclusive<u16> = 30_000..=30_015;

/// The namespace of labels that name a language (NIP-32).
const LANGUAGES: &str = "ISO-639-1";

/// What a `search` asks for. Text between the words that it does not know is passed over: everything is a query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// What an event must have: words and phrases.
    pub wanted: Vec<Vec<Token>>,
    /// What it must not have.
    pub unwanted: Vec<Vec<Token>>,
    /// Of which domains the author's NIP-05 name may be; empty means any or none.
    pub domains: Vec<String>,
    /// In which languages it may be labelled to be, as two letters; empty means any or none.
    pub languages: Vec<String>,
    /// Whether what carries a content warning is left out.
    pub hides_warned: bool,
    /// Whether what the relay takes for spam is not left out.
    pub includes_spam: bool,
}

/// What an event is found by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Searchable {
    /// Names and titles.
    pub title: String,
    /// All other text.
    pub body: String,
}

/// The languages that an event's author says it is in (NIP-32), as two letters.
pub fn languages(event: &Event) -> impl Iterator<Item = String> {
    let labels = event.tags.iter().filter(|tag| tag.name() == "l" && tag.get(2) == Some(LANGUAGES));
    labels.filter_map(|tag| tag.value().map(str::to_ascii_lowercase))
}

/// Whether an event carries a content warning (NIP-36).
pub fn is_warned(event: &Event) -> bool {
    event.tags.iter().any(|tag| {
        tag.name() == "content-warning" || tag.name() == "L" && tag.value() == Some("content-warning")
    })
}

impl Asked {
    /// Reads a query. Words between quotes are a phrase, `-` goes before what is not wanted, `key:value` are extensions,
    /// of which unknown ones are ignored, as the NIP has it.
    pub fn parse(text: &str) -> Asked {
        let mut asked = Asked::default();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (is_unwanted, bare) = match rest.strip_prefix('-') {
                Some(bare) if bare.starts_with(|next: char| !next.is_whitespace()) => (true, bare),
                _ => (false, rest),
            };
            let (part, after) = match bare.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => {
                    let end = bare.find(char::is_whitespace).unwrap_or(bare.len());
                    let (word, after) = bare.split_at(end);
                    if let Some((key, value)) = extension(word) {
                        // What would be left out by a minus is no extension that this relay knows.
                        if !is_unwanted {
                            asked.extend(key, value);
                        }
                        rest = after.trim_start();
                        continue;
                    }
                    (word, after)
                }
            };
            let list = if is_unwanted { &mut asked.unwanted } else { &mut asked.wanted };
            list.extend(sequence(part));
            rest = after.trim_start();
        }
        asked.shrink();
        asked
    }

    fn extend(&mut self, key: &str, value: &str) {
        match key {
            "include" => self.includes_spam |= value.eq_ignore_ascii_case("spam"),
            "domain" => {
                let domain =
                    domain::normalize(value).map_or_else(|| value.to_lowercase(), |one| one.into_owned());
                self.domains.push(domain);
            }
            "language" => self.languages.push(value.to_ascii_lowercase()),
            "nsfw" => self.hides_warned |= value.eq_ignore_ascii_case("false"),
            _ => {}
        }
    }

    /// It may stay for as long as its connection.
    fn shrink(&mut self) {
        for list in [&mut self.wanted, &mut self.unwanted] {
            // To ask twice for the same finds the same, and costs twice.
            let mut kept: Vec<Vec<Token>> = Vec::with_capacity(list.len().min(64));
            for one in list.drain(..) {
                if kept.len() >= 64 || !kept.contains(&one) {
                    kept.push(one);
                }
            }
            kept.shrink_to_fit();
            *list = kept;
        }
        self.domains.shrink_to_fit();
        self.languages.shrink_to_fit();
    }

    fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.wanted.iter().chain(&self.unwanted).flatten()
    }

    /// How many words and other conditions it has; in scripts without blanks each pair of letters counts.
    pub fn values(&self) -> usize {
        self.tokens().count() + self.domains.len() + self.languages.len()
    }

    /// About how many bytes it takes while it is open.
    pub fn memory_bytes(&self) -> usize {
        let text = |text: &String| size_of::<String>() + text.capacity() + 16;
        let words: usize = self.tokens().map(|token| size_of::<Token>() + token.text.capacity() + 16).sum();
        let lists = (self.wanted.len() + self.unwanted.len()) * 40;
        let others: usize = self.domains.iter().chain(&self.languages).map(text).sum();
        size_of::<Asked>() + words + lists + others
    }

    /// Whether an event has all that is wanted, and nothing else of what its author said speaks against it. Who its
    /// author is, is another question: [`Asked::admits_author`].
    pub fn matches(&self, event: &Event) -> bool {
        self.matches_words(event, &Words::of(event))
    }

    /// The same, where the event's words are at hand.
    pub fn matches_words(&self, event: &Event, words: &Words) -> bool {
        let speaks = |language: &String| languages(event).any(|one| one == *language);
        is_public(event.kind)
            && self.wanted.iter().all(|one| words.have(one))
            && !self.unwanted.iter().any(|one| words.have(one))
            && !(self.hides_warned && is_warned(event))
            && (self.languages.is_empty() || self.languages.iter().any(speaks))
    }

    /// Whether an author's events may be found: by the domain that is asked for, and by what the relay takes for spam.
    pub fn admits_author(&self, author: &PublicKey, context: &Context<'_>) -> bool {
        let has_domain = || {
            let known = context.known.people.nip05(author);
            known.is_some_and(|known| self.domains.iter().any(|domain| domain == known))
        };
        (self.domains.is_empty() || has_domain())
            && (self.includes_spam
                || !context.config.search.trusted_only
                || context.is_trusted(author)
                || context.is_member(author))
    }
}

impl Words {
    /// The words of an event.
    pub fn of(event: &Event) -> Words {
        let Searchable { title, body } = searchable(event);
        let mut words = Words::default();
        words.add(&title);
        words.add(&body);
        words
    }
}

/// A key and a value: two words with a colon between them. An address on the web is none.
fn extension(word: &str) -> Option<(&str, &str)> {
    let (key, value) = word.split_once(':')?;
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    (is_key && !value.is_empty() && !value.starts_with('/')).then_some((key, value))
}

/// Whether events of a kind may be searched at all.
pub fn is_public(kind: Kind) -> bool {
    !ENCRYPTED.contains(&kind.0)
}

/// Whether events of a kind are searched in a community.
pub fn is_searched(kind: Kind, settings: &Settings) -> bool {
    settings.search.kinds.contains(kind) && is_public(kind) && !settings.nip17.private_kinds.contains(&kind.0)
}

/// The kinds of a list that nobody may search: encrypted ones, and those that a community keeps private.
pub fn private_among(kinds: &KindSet, settings: &Settings) -> Option<u16> {
    ENCRYPTED.iter().chain(&settings.nip17.private_kinds).copied().find(|&kind| kinds.contains(Kind(kind)))
}

/// What an event is found by. Of most kinds this is its content, with what tags say of it.
pub fn searchable(event: &Event) -> Searchable {
    let mut found = Searchable::default();
    for tag in event.tags.iter() {
        let Some(value) = tag.value() else { continue };
        match tag.name() {
            "title" | "name" | "subject" => add(&mut found.title, value),
            "summary" | "description" | "location" | "t" => add(&mut found.body, value),
            _ => {}
        }
    }
    match event.kind.0 {
        kind if DESCRIBED_BY_JSON.contains(&kind) => add_json(&mut found, &event.content),
        kind if LISTS.contains(&kind) => {}
        _ => add(&mut found.body, &event.content),
    }
    found
}

fn add(to: &mut String, text: &str) {
    if !to.is_empty() {
        to.push('\n');
    }
    to.push_str(text);
}

/// Adds names and descriptions of an object's own fields.
fn add_json(to: &mut Searchable, content: &str) {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(content) else { return };
    let text = |key: &str| fields.get(key).and_then(|value| value.as_str());
    ["name", "display_name", "displayName", "nip05"]
        .into_iter()
        .filter_map(text)
        .for_each(|one| add(&mut to.title, one));
    ["about", "description"].into_iter().filter_map(text).for_each(|one| add(&mut to.body, one));
}

fn searches(filters: &[Filter]) -> impl Iterator<Item = (&Filter, &Asked)> {
    filters.iter().filter_map(|filter| Some((filter, filter.search.as_deref()?)))
}

fn is_enabled(filters: &[Filter], context: &Context<'_>) -> Decision {
    if context.config.search.enabled || searches(filters).next().is_none() {
        return Ok(());
    }
    Err(Refusal::new(Prefix::Invalid, "search.enabled", "this relay does not search: leave `search` out"))
}

fn has_few_words(filters: &[Filter], context: &Context<'_>) -> Decision {
    let most = context.config.search.words_max as usize;
    match searches(filters).map(|(_, asked)| asked.values()).find(|words| *words > most) {
        None => Ok(()),
        Some(words) => {
            let sentence = format!("a search of {words} words is more than the {most} that one may have");
            Err(Refusal::new(Prefix::Invalid, "search.words_max", sentence))
        }
    }
}

/// Refuses what could find nothing, whatever is stored: who asks would not know why.
fn names_searched_kinds(filters: &[Filter], context: &Context<'_>) -> Decision {
    let is_hopeless = |filter: &Filter| {
        let is_searched = |kind: &Kind| is_searched(*kind, context.config);
        filter.kinds.as_ref().is_some_and(|kinds| !kinds.is_empty() && !kinds.iter().any(is_searched))
    };
    if !searches(filters).any(|(filter, _)| is_hopeless(filter)) {
        return Ok(());
    }
    let sentence = format!("none of these kinds is searched here: kinds {} are", context.config.search.kinds);
    Err(Refusal::new(Prefix::Invalid, "search.kinds", sentence))
}

/// Why a filter with `search` is not taken where the events themselves are asked for in another way.
pub fn not_here() -> Refusal {
    Refusal::new(
        Prefix::Invalid,
        "search.enabled",
        "a reconciliation is about all that matches: leave `search` out",
    )
}

/// Why a search is not answered while its index is being built.
pub fn not_ready(done: u64, of: u64) -> Refusal {
    let percent = (done.saturating_mul(100)).checked_div(of).unwrap_or(0).min(99);
    let sentence = format!("what there is to search is still being read ({percent} %); try again in a while");
    Refusal::new(Prefix::Error, "search.building", sentence)
}

/// Why a search is not answered while its index cannot be used.
pub fn broken() -> Refusal {
    let sentence = "search does not work at the moment; its operator is told";
    Refusal::new(Prefix::Error, "search.broken", sentence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Id, Signature, Tags};

    fn event(kind: u16, tags: &[&[&str]], content: &str) -> Event {
        let mut all = Tags::default();
        tags.iter().for_each(|tag| all.push(tag.iter().copied()));
        Event {
            id: Id([1; 32]),
            pubkey: PublicKey([2; 32]),
            created_at: 1,
            kind: Kind(kind),
            tags: all,
            content: content.to_owned(),
            sig: Signature([0; 64]),
        }
    }

    #[test]
    fn queries_are_words_phrases_and_extensions() {
        let written = |asked: &Asked| {
            let join = |list: &[Vec<Token>]| {
                let phrases = list.iter().map(|one| {
                    let words: Vec<&str> = one.iter().map(|token| token.text.as_str()).collect();
                    words.join("+")
                });
                phrases.collect::<Vec<String>>().join(" ")
            };
            format!("{} / {}", join(&asked.wanted), join(&asked.unwanted))
        };
        let table = [
            ("best Nostr apps", "best nostr apps / "),
            ("  \"fresh bread\" berlin ", "fresh+bread berlin / "),
            ("bread -white -\"very old\"", "bread / white very+old"),
            ("\"no end", "no+end / "),
            ("e-mail - 5", "e+mail 5 / "),
            ("bread bread", "bread / "),
            ("东京大学", "东京+京大+大学 / "),
            ("unknown:thing bread", "bread / "),
            ("-unknown:thing bread", "bread / "),
            ("https://example.com/x", "https+example+com+x / "),
            ("at 12:30", "at 12+30 / "),
            ("!!! ... --", " / "),
            ("", " / "),
        ];
        for (text, expected) in table {
            assert_eq!(written(&Asked::parse(text)), expected, "{text}");
        }
        let asked =
            Asked::parse("domain:Bücher.example domain:x.org language:DE nsfw:false include:spam sort:new x");
        assert_eq!(asked.domains, ["xn--bcher-kva.example", "x.org"]);
        assert_eq!(
            (asked.languages.as_slice(), asked.hides_warned, asked.includes_spam),
            (&["de".to_owned()][..], true, true)
        );
        assert_eq!(asked.values(), 4);
        let asked = Asked::parse("nsfw:true include:everything");
        assert_eq!(asked, Asked::default());
    }

    #[test]
    fn each_kind_is_found_by_what_people_read_of_it() {
        let listing = event(
            30_402,
            &[
                &["title", "Red bicycle"],
                &["summary", "hardly used"],
                &["location", "Kreuzberg"],
                &["t", "sport"],
            ],
            "A frame of steel",
        );
        let product =
            event(30_018, &[&["t", "tea"]], r#"{"name":"Green tea","description":"from Uji","price":7}"#);
        let profile =
            event(0, &[], r#"{"name":"alice","display_name":"Алиса","about":"bakes","nip05":"al@x.org"}"#);
        let list = event(30_003, &[&["title", "To read"]], "c2VjcmV0 secret");
        let german = event(1, &[&["L", "ISO-639-1"], &["l", "de", "ISO-639-1"]], "Brot");
        let warned = event(1, &[&["content-warning", "blood"]], "a film");
        let table = [
            (&listing, "bicycle", true),
            (&listing, "BICYCLE used kreuzberg sport steel", true),
            (&listing, "\"red bicycle\"", true),
            (&listing, "\"bicycle red\"", false),
            (&listing, "bicycle blue", false),
            (&listing, "bicycle -steel", false),
            (&listing, "bicycle -blue", true),
            (&product, "green tea uji", true),
            (&product, "price", false),
            (&product, "description", false),
            (&profile, "алиса", true),
            (&profile, "x.org", true),
            (&profile, "display", false),
            (&list, "read", true),
            (&list, "secret", false),
            (&german, "language:de", true),
            (&german, "language:en brot", false),
            (&warned, "film", true),
            (&warned, "film nsfw:true", true),
            (&warned, "film nsfw:false", false),
            (&german, "nsfw:false", true),
        ];
        for (event, text, found) in table {
            assert_eq!(Asked::parse(text).matches(event), found, "{text}: {}", event.kind);
        }
        for kind in ENCRYPTED {
            assert!(!Asked::parse("word").matches(&event(*kind, &[], "word")), "{kind}");
        }
    }
}
