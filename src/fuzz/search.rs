//! What is searched for, and what it is searched in (NIP-50): texts of any script.

use super::{Chance, Target};
use crate::nips::nip50::Asked;
use crate::search::text::{TOKEN_BYTES_MAX, Token, Words, sequence, tokens};

pub(super) const SEARCH: Target = Target::new("search", 16 * 1024, build, check);

const WORDS: &[&str] = &[
    "bread",
    "Über",
    "café",
    "Ёлка",
    "İstanbul",
    "ß",
    "ﬁne",
    "東京タワー",
    "ｶﾞﾗｽ",
    "北京大学",
    "서울에서",
    "กรุงเทพ",
    "كِتَابٌ",
    "שָׁלוֹם",
    "हिन्दी",
    "don't",
    "a.b",
    "12:30",
    "e\u{301}\u{327}",
    "\u{301}",
    "\u{200d}",
    "ﷺ",
    "\u{fdfa}",
    "🎉",
    "x_y",
    "ΟΔΥΣΣΕΎΣ",
    "ǅ",
    "\u{1e9e}",
    "ᄒ\u{1161}",
    "\"",
    "-",
    "domain:x.org",
    "language:de",
    "nsfw:false",
    "include:spam",
    "key:value",
    "-",
];

fn text(chance: &mut Chance) -> String {
    let some = chance.below(12);
    let words: Vec<String> = (0..some)
        .map(|_| if chance.one_in(8) { chance.text() } else { chance.pick(WORDS).to_owned() })
        .collect();
    words.join(chance.pick(&[" ", " ", "", "-", "  \t", "、"]))
}

/// A text, and a query in a line of its own.
fn build(chance: &mut Chance) -> Vec<u8> {
    let (text, query) = (text(chance), text(chance).replace('\n', " "));
    format!("{query}\n{text}").into_bytes()
}

fn check(bytes: &[u8]) -> bool {
    let Ok(both) = std::str::from_utf8(bytes) else { return false };
    let (query, text) = both.split_once('\n').unwrap_or((both, ""));
    let asked = Asked::parse(query);
    // A compatible form of a letter may be eighteen of them.
    assert!(asked.values() <= 36 * query.len(), "{query:?}");
    assert!(asked.memory_bytes() < 512 + 4_096 * query.len(), "{query:?}");
    let found = tokens(text);
    assert!(found.is_sorted_by_key(|token| token.position), "{text:?}");
    assert!(
        found.iter().all(|token| !token.text.is_empty() && token.text.len() <= TOKEN_BYTES_MAX),
        "{text:?}"
    );
    let mut words = Words::default();
    words.add("something before it");
    words.add(text);
    if let Some(all) = sequence(text).filter(|all| all.iter().all(|one| one.text.len() <= TOKEN_BYTES_MAX)) {
        assert!(words.have(&all), "{text:?} does not hold itself");
    }
    for one in asked.wanted.iter().chain(&asked.unwanted) {
        assert!(!one.is_empty(), "{query:?}");
        assert!(!naively(&found, one) || words.have(one), "{query:?} is in {text:?}");
    }
    !asked.wanted.is_empty()
}

/// Whether the tokens stand one after the other.
fn naively(found: &[Token], wanted: &[Token]) -> bool {
    found.iter().any(|start| {
        wanted.iter().all(|token| {
            let place = start.position + token.position - wanted[0].position;
            found.iter().any(|one| one.position == place && one.text == token.text)
        })
    })
}
