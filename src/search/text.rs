//! Words of any script, as search compares them: pure. In: text. Out: tokens with their positions. What is stored and
//! what is asked for go through the same code, so that they meet.
//!
//! Letters are compared without case, accents and compatible forms (`É` is `e`, `ﬁ` is `fi`). A word is a run of letters
//! and digits. Scripts that do not put blanks between words (Chinese, Japanese, Thai…), and Korean, whose words carry
//! their endings, are found by every letter and every pair of neighbours: a run that is asked for is found wherever it
//! stands.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Longer words are no words that people look for, but keys and encoded data: they are left out.
pub const TOKEN_BYTES_MAX: usize = 64;

/// A token, and at which place of its text it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Folded: see the module.
    pub text: String,
    /// Counts words, and letters of scripts without blanks.
    pub position: u32,
}

/// A part of folded text.
enum Piece<'t> {
    Word(&'t str),
    /// Letters of a script without blanks.
    Run(&'t str),
}

/// What text is found by: each letter of a run, and each pair of neighbours, stand at the place of the first.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let folded = fold(text);
    let mut position = 0;
    each_piece(&folded, |piece| match piece {
        Piece::Word(word) => {
            if word.len() <= TOKEN_BYTES_MAX {
                tokens.push(Token { text: word.to_owned(), position });
            }
            position += 1;
        }
        Piece::Run(run) => {
            for (at, letter) in run.char_indices() {
                let end = at + letter.len_utf8();
                tokens.push(Token { text: run[at..end].to_owned(), position });
                if let Some(next) = run[end..].chars().next() {
                    tokens.push(Token { text: run[at..end + next.len_utf8()].to_owned(), position });
                }
                position += 1;
            }
        }
    });
    tokens
}

/// What must stand in a text one after the other for it to hold this one: its words, and the pairs of its runs. `None`
/// when there is nothing to look for; a word that is too long is one that no text has.
pub fn sequence(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let folded = fold(text);
    let mut position = 0;
    each_piece(&folded, |piece| match piece {
        Piece::Word(word) => {
            tokens.push(Token { text: word.to_owned(), position });
            position += 1;
        }
        Piece::Run(run) => {
            let bounds: Vec<usize> = run.char_indices().map(|(at, _)| at).chain([run.len()]).collect();
            let letters = bounds.len() - 1;
            // One letter alone is found as it is.
            let width = letters.min(2);
            for (at, window) in bounds.windows(width + 1).enumerate() {
                tokens.push(Token {
                    text: run[window[0]..window[width]].to_owned(),
                    position: position + at as u32,
                });
            }
            position += letters as u32;
        }
    });
    (!tokens.is_empty()).then_some(tokens)
}

/// Where each token of a text stands, for looking whether others are in it.
#[derive(Debug, Default)]
pub struct Words {
    places: HashMap<String, Vec<u32>>,
    end: u32,
}

impl Words {
    /// Adds a text. What is asked for does not reach from one text into the next.
    pub fn add(&mut self, text: &str) {
        let start = self.end;
        for Token { text, position } in tokens(text) {
            self.end = self.end.max(start + position + 2);
            self.places.entry(text).or_default().push(start + position);
        }
    }

    /// Whether the tokens stand in one of the texts, one after the other.
    pub fn have(&self, sequence: &[Token]) -> bool {
        let Some(first) = sequence.first() else { return false };
        let places = |token: &Token| self.places.get(&token.text);
        let Some(starts) = places(first) else { return false };
        let has_at = |start: u32, token: &Token| {
            let place = start + token.position - first.position;
            places(token).is_some_and(|places| places.binary_search(&place).is_ok())
        };
        starts.iter().any(|&start| sequence.iter().all(|token| has_at(start, token)))
    }
}

/// Whether a letter belongs to a script whose words are not told apart by blanks, or carry endings.
fn is_unspaced(letter: char) -> bool {
    matches!(u32::from(letter),
        0x0e00..=0x0eff // Thai, Lao
        | 0x0f00..=0x0fff // Tibetan
        | 0x1000..=0x109f // Burmese
        | 0x1780..=0x17ff // Khmer
        | 0x1100..=0x11ff | 0x3130..=0x318f | 0xa960..=0xa97f | 0xac00..=0xd7ff // Korean
        | 0x3005..=0x3007 | 0x3040..=0x30ff | 0x31f0..=0x31ff // Japanese
        | 0x2e80..=0x2fdf | 0x3100..=0x312f | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff // Chinese
        | 0x20000..=0x3ffff)
}

fn is_letter(letter: char) -> bool {
    letter.is_alphanumeric() || is_combining_mark(letter)
}

/// Shows folded text piece by piece.
fn each_piece<'t>(folded: &'t str, mut show: impl FnMut(Piece<'t>)) {
    let mut begun: Option<(usize, bool)> = None;
    let mut finish = |begun: Option<(usize, bool)>, end: usize| match begun {
        None => {}
        Some((start, true)) => show(Piece::Run(&folded[start..end])),
        Some((start, false)) => show(Piece::Word(&folded[start..end])),
    };
    for (at, letter) in folded.char_indices() {
        let here = is_letter(letter).then(|| is_unspaced(letter));
        match (begun, here) {
            (Some((_, is_run)), Some(unspaced)) if is_run == unspaced => {}
            (None, None) => {}
            (_, here) => {
                finish(begun, at);
                begun = here.map(|unspaced| (at, unspaced));
            }
        }
    }
    finish(begun, folded.len());
}

/// Text as it is compared.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(text.len());
    for letter in text.chars().flat_map(char::to_lowercase).nfkd().filter(|&letter| !is_dropped(letter)) {
        match letter {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ø' => folded.push('o'),
            'đ' | 'ð' => folded.push('d'),
            'ł' => folded.push('l'),
            'ħ' => folded.push('h'),
            'ı' => folded.push('i'),
            'ς' => folded.push('σ'),
            // Letters of Arabic that keyboards of other languages write otherwise.
            'ی' | 'ى' => folded.push('ي'),
            'ک' => folded.push('ك'),
            // Compatible forms may stand for capitals.
            letter => folded.extend(letter.to_lowercase()),
        }
    }
    // Letters that were taken apart and are no accents: Korean, and the marks of Japanese and Indian scripts.
    folded.nfc().collect()
}

/// Accents, vowel points, and what only stretches or joins letters.
fn is_dropped(letter: char) -> bool {
    matches!(u32::from(letter),
        0x00ad // soft hyphen
        | 0x0300..=0x036f // accents
        | 0x0483..=0x0489 // Cyrillic
        | 0x0591..=0x05bd | 0x05bf..=0x05c2 | 0x05c4..=0x05c5 | 0x05c7 // Hebrew
        | 0x0610..=0x061a | 0x0640 | 0x064b..=0x065f | 0x0670 | 0x06d6..=0x06dc | 0x06df..=0x06ed // Arabic
        | 0x200b..=0x200f | 0x2060 | 0xfe00..=0xfe0f | 0xfeff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(text: &str, wanted: &str) -> bool {
        let mut words = Words::default();
        words.add(text);
        sequence(wanted).is_some_and(|sequence| words.have(&sequence))
    }

    #[test]
    fn words_of_any_script_are_found_however_they_are_written() {
        let table = [
            ("A Fresh LOAF", "fresh loaf", true),
            ("A Fresh LOAF", "loaf fresh", false),
            ("A Fresh LOAF", "fres", false),
            ("Café crème, déjà vu", "cafe creme", true),
            ("cafe", "CAFÉ", true),
            ("Ein grüßender Gärtner", "grussender gartner", true),
            ("Łódź, Ørsted, Æsop", "lodz orsted aesop", true),
            ("İstanbul ılık", "istanbul ilik", true),
            ("ﬁne ＡＢＣ ①", "fine abc 1", true),
            ("Привет, Ёлка", "елка", true),
            ("ΟΔΥΣΣΕΎΣ", "οδυσσευς", true),
            ("كِتَابٌ جديد", "كتاب", true),
            ("أحمد", "احمد", true),
            ("שָׁלוֹם", "שלום", true),
            ("हिन्दी में लेख", "हिन्दी", true),
            ("हिन्दी में लेख", "हिन", false),
            ("我在北京大学读书", "北京大学", true),
            ("我在北京大学读书", "京", true),
            ("我在北京大学读书", "北大", false),
            ("東京タワーへ行く", "東京タワー", true),
            ("ガラスのコップ", "ｶﾞﾗｽ", true),
            ("ガラスのコップ", "カラス", false),
            ("서울에서 만나요", "서울", true),
            ("ฉันอยู่ที่กรุงเทพมหานคร", "กรุงเทพ", true),
            ("ສະບາຍດີ", "ສະບາຍ", true),
            ("東京2024年", "東京 2024", true),
            ("see example.com/shop", "example", true),
            ("see example.com/shop", "example.com", true),
            ("don't", "don’t", true),
            ("soft\u{ad}hyphen", "softhyphen", true),
            ("nothing", "!!!", false),
        ];
        for (text, wanted, found) in table {
            assert_eq!(has(text, wanted), found, "{wanted:?} in {text:?}");
        }
    }

    #[test]
    fn nothing_reaches_from_one_text_into_the_next_and_long_words_are_left_out() {
        let mut words = Words::default();
        words.add("red bicycle");
        words.add("blue 自転車");
        words.add("車輪");
        let has = |wanted: &str| sequence(wanted).is_some_and(|sequence| words.have(&sequence));
        let table = [
            ("red bicycle", true),
            ("bicycle blue", false),
            ("blue 自転車", true),
            ("車車", false),
            ("車輪", true),
        ];
        for (wanted, found) in table {
            assert_eq!(has(wanted), found, "{wanted}");
        }
        let long = "x".repeat(TOKEN_BYTES_MAX + 1);
        assert_eq!(tokens(&format!("a {long} b")).last().map(|token| token.position), Some(2));
        assert_eq!(tokens(&long), []);
        assert!(sequence(&long).is_some(), "it is looked for, and not found");
    }
}
