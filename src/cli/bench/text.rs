//! Text as people write it, in words that nobody has ever written: a few thousand in several scripts, by a power
//! law, with capitals and stops, so that it compresses about as well as short posts do. In: dice. Out: text.

use super::dice::Dice;

/// Words in the Latin script, the frequent ones first.
const LATIN_WORDS: usize = 6_000;

/// Words of each other script.
const OTHER_WORDS: usize = 1_500;

/// Hashtags, the frequent ones first.
pub(super) const HASHTAGS: u64 = 400;

/// One word in so many is the writer's own: a name, a number, a slip.
const OWN_WORD: u64 = 40;

const ONSETS: &[&str] = &[
    "", "b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "y", "br", "ch",
    "cl", "cr", "fl", "fr", "gr", "pl", "pr", "qu", "sh", "sl", "sp", "st", "str", "th", "tr", "wh",
];
const NUCLEI: &[&str] =
    &["a", "e", "i", "o", "u", "a", "e", "i", "o", "ai", "ea", "ee", "io", "oo", "ou", "ä", "ö", "é"];
const CODAS: &[&str] = &["", "", "", "n", "r", "s", "t", "l", "d", "m", "ck", "ng", "nt", "st", "ll", "y"];

const EMOJI: &[&str] = &[
    "😂", "🔥", "🤙", "💜", "🙏", "🚀", "👀", "🫡", "😅", "🎉", "❤️", "🤔", "💯", "✨", "☕", "🌞", "🧡",
    "👏", "😭", "🌱", "🎶", "🍞", "🏔️", "🐢",
];

/// A script whose letters follow one another in Unicode.
struct Script {
    first: u32,
    letters: u64,
    word_letters_max: u64,
    /// Whether words are set apart by spaces.
    is_spaced: bool,
}

const SCRIPTS: &[Script] = &[
    Script { first: 0x0430, letters: 32, word_letters_max: 9, is_spaced: true }, // Cyrillic
    Script { first: 0x4e00, letters: 900, word_letters_max: 2, is_spaced: false }, // Chinese
    Script { first: 0x3042, letters: 70, word_letters_max: 4, is_spaced: false }, // Japanese
    Script { first: 0x0627, letters: 19, word_letters_max: 6, is_spaced: true }, // Arabic
];

struct Language {
    words: Vec<String>,
    is_spaced: bool,
}

/// All words.
pub(super) struct Texts {
    /// Latin first.
    languages: Vec<Language>,
    hashtags: Vec<String>,
}

fn latin_word(dice: &mut Dice, rank: usize) -> String {
    // Frequent words are short, in every language.
    let syllables = match rank {
        0..60 => 1,
        60..1_000 => 1 + dice.below(2),
        _ => 2 + dice.below(2),
    };
    let mut word = String::new();
    for _ in 0..syllables {
        word.push_str(dice.pick(ONSETS));
        word.push_str(dice.pick(NUCLEI));
        word.push_str(dice.pick(CODAS));
    }
    word
}

impl Script {
    fn word(&self, dice: &mut Dice, rank: usize) -> String {
        let length_max = if rank < 60 { self.word_letters_max / 3 + 1 } else { self.word_letters_max };
        let letter = |dice: &mut Dice| {
            // Letters of a language are not equally frequent either.
            char::from_u32(self.first + dice.power_law(self.letters) as u32).unwrap_or('?')
        };
        (0..1 + dice.below(length_max)).map(|_| letter(dice)).collect()
    }

    fn language(&self, dice: &mut Dice) -> Language {
        let words = (0..OTHER_WORDS).map(|rank| self.word(dice, rank)).collect();
        Language { words, is_spaced: self.is_spaced }
    }
}

fn capitalised(word: &str, out: &mut String) {
    let mut letters = word.chars();
    out.extend(letters.next().into_iter().flat_map(char::to_uppercase));
    out.push_str(letters.as_str());
}

impl Texts {
    /// The words, which do not depend on the seed of a corpus.
    pub(super) fn new() -> Texts {
        let mut dice = Dice::new(0x0077_6f72_6473);
        let latin = Language {
            words: (0..LATIN_WORDS).map(|rank| latin_word(&mut dice, rank)).collect(),
            is_spaced: true,
        };
        let others = SCRIPTS.iter().map(|script| script.language(&mut dice));
        let languages: Vec<Language> = std::iter::once(latin).chain(others).collect();
        let hashtags = (0..HASHTAGS).map(|_| latin_word(&mut dice, LATIN_WORDS)).collect();
        Texts { languages, hashtags }
    }

    /// The `n`th most frequent hashtag.
    pub(super) fn hashtag(&self, number: u64) -> &str {
        &self.hashtags[number as usize % self.hashtags.len()]
    }

    /// The `n`th most frequent word of the Latin script.
    pub(super) fn word(&self, number: u64) -> &str {
        &self.languages[0].words[number as usize % LATIN_WORDS]
    }

    /// Appends so many words, in sentences, in one language.
    pub(super) fn write(&self, dice: &mut Dice, words: u64, out: &mut String) {
        let language = match dice.below(100) {
            0..84 => &self.languages[0],
            _ => &self.languages[1 + dice.below(SCRIPTS.len() as u64) as usize],
        };
        let mut is_beginning = true;
        for number in 0..words {
            if number > 0 && (language.is_spaced || is_beginning) {
                out.push(' ');
            }
            let rank = dice.power_law(language.words.len() as u64) as usize;
            let word = &language.words[rank];
            match (is_beginning, dice.one_in(OWN_WORD)) {
                (_, true) => self.own_word(dice, out),
                (true, false) => capitalised(word, out),
                (false, false) => out.push_str(word),
            }
            is_beginning = dice.one_in(11);
            if is_beginning {
                out.push_str(dice.pick(&[".", ".", ".", "!", "?", "…", ".\n", ".\n\n"]));
            } else if dice.one_in(12) {
                out.push(',');
            }
        }
    }

    fn own_word(&self, dice: &mut Dice, out: &mut String) {
        match dice.below(3) {
            0 => out.push_str(&dice.below(10_000).to_string()),
            _ => capitalised(&latin_word(dice, LATIN_WORDS), out),
        }
    }

    /// Appends an emoji, the frequent ones more often.
    pub(super) fn write_emoji(&self, dice: &mut Dice, out: &mut String) {
        out.push_str(EMOJI[dice.power_law(EMOJI.len() as u64) as usize]);
    }

    /// Appends an address: of a picture by its hash, or of a page.
    pub(super) fn write_address(&self, dice: &mut Dice, out: &mut String) {
        if dice.one_in(2) {
            out.push_str("https://media.example.com/");
            dice.letters(b"0123456789abcdef", 64, out);
            out.push_str(dice.pick(&[".jpg", ".jpg", ".png", ".webp", ".mp4"]));
        } else {
            out.push_str("https://www.");
            out.push_str(&self.languages[0].words[1_000 + dice.power_law(1_000) as usize]);
            out.push_str(".example/");
            for _ in 0..1 + dice.below(5) {
                out.push_str(&self.languages[0].words[dice.power_law(LATIN_WORDS as u64) as usize]);
                out.push('-');
            }
            out.push_str(&dice.below(1_000_000).to_string());
        }
    }
}
