//! NIP-45, counting (nips/45.md): which counts come with a HyperLogLog value, and its registers, which clients merge
//! over relays by taking the larger of each. In: filters, authors of what is counted. Out: registers.

use sha2::{Digest, Sha256};

use crate::event::{Kind, PublicKey};
use crate::filter::Filter;

/// Registers of a value: one for each byte that a key may have at the filter's place.
const REGISTERS: usize = 256;

/// Which filters have one, by the letter of their only tag and their kinds: reactions, reposts, quotes, replies,
/// comments, followers.
const SHAPES: &[(u8, &[u16])] =
    &[(b'e', &[7]), (b'e', &[6]), (b'q', &[1, 1_111]), (b'e', &[1]), (b'E', &[1_111]), (b'p', &[3])];

/// What one author asks of the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register {
    /// Which one.
    pub number: u8,
    /// What it is at least.
    pub height: u8,
}

impl Register {
    /// What an author asks for where this byte of a key says which one.
    pub fn of(author: &PublicKey, offset: usize) -> Register {
        let rest = author.0.get(offset + 1..).unwrap_or_default();
        let zero_bytes = rest.iter().take_while(|byte| **byte == 0).count();
        let zeros = 8 * zero_bytes + rest.get(zero_bytes).map_or(0, |byte| byte.leading_zeros() as usize);
        // A key has 32 bytes, so there are fewer than 256 zeros.
        Register { number: author.0.get(offset).copied().unwrap_or_default(), height: zeros as u8 + 1 }
    }
}

/// Whether filters for values of a tag may have registers.
pub fn is_counted_by(letter: u8) -> bool {
    SHAPES.iter().any(|shape| shape.0 == letter)
}

/// Whether filters for values of a tag and for a kind may have registers.
pub fn has_registers(letter: u8, kind: Kind) -> bool {
    SHAPES.iter().any(|shape| shape.0 == letter && shape.1.contains(&kind.0))
}

/// How many authors there are, about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HyperLogLog {
    /// Which byte of a key says the register.
    offset: usize,
    registers: [u8; REGISTERS],
}

impl HyperLogLog {
    /// An empty value for a COUNT of these filters, if they are of a shape that has one.
    pub fn of(filters: &[Filter]) -> Option<HyperLogLog> {
        let [
            Filter {
                ids: None,
                authors: None,
                kinds: Some(kinds),
                tags,
                all_tags,
                prefixes,
                search: None,
                since: None,
                until: None,
                ..
            },
        ] = filters
        else {
            return None;
        };
        let [(letter, values)] = tags.as_slice() else { return None };
        let ([value], [], []) = (values.as_slice(), all_tags.as_slice(), prefixes.as_slice()) else {
            return None;
        };
        let is_of = |shape: &(u8, &[u16])| {
            shape.0 == *letter && kinds.iter().map(|kind| kind.0).eq(shape.1.iter().copied())
        };
        SHAPES.iter().any(is_of).then(|| HyperLogLog { offset: offset(value), registers: [0; REGISTERS] })
    }

    /// Counts an author, once however often.
    pub fn add(&mut self, author: &PublicKey) {
        self.raise(Register::of(author, self.offset));
    }

    /// Counts what an author asked for who was counted before.
    pub fn raise(&mut self, Register { number, height }: Register) {
        let register = &mut self.registers[usize::from(number)];
        *register = (*register).max(height);
    }

    /// The registers as 512 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.registers)
    }
}

/// Which byte of a key says the register: the hexadecimal digit in the middle of what the filter asks for, and eight.
pub fn offset(value: &str) -> usize {
    let key = |text: &str| PublicKey::from_hex(text).map(|key| key.0);
    let address = || value.split(':').nth(1).filter(|_| value.split(':').count() >= 3).and_then(key);
    let bytes = key(value).or_else(address).unwrap_or_else(|| Sha256::digest(value.as_bytes()).into());
    8 + usize::from(bytes[16] >> 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splitmix::SplitMix;

    fn value(filter: &str) -> Option<HyperLogLog> {
        HyperLogLog::of(&[Filter::from_json(filter).expect("a filter")])
    }

    /// A filter for reactions to what has this digit in the middle of its id.
    fn reactions(digit: char) -> HyperLogLog {
        let id = format!("{}{digit}{}", "0".repeat(32), "0".repeat(31));
        value(&format!(r##"{{"kinds":[7],"#e":["{id}"]}}"##)).expect("a shape that has one")
    }

    /// How many there are by these registers: Flajolet's estimate, and by empty registers where they are few.
    fn estimate(value: &HyperLogLog) -> f64 {
        let size = REGISTERS as f64;
        let sum: f64 = value.registers.iter().map(|register| 0.5_f64.powi(i32::from(*register))).sum();
        let raw = 0.7213 / (1.0 + 1.079 / size) * size * size / sum;
        let empty = value.registers.iter().filter(|register| **register == 0).count();
        if raw <= 2.5 * size && empty > 0 { size * (size / empty as f64).ln() } else { raw }
    }

    #[test]
    fn the_shapes_of_the_nip_have_one_and_others_have_none() {
        let id = "a".repeat(64);
        let table = [
            (r##"{"kinds":[7],"#e":["ID"]}"##, true),
            (r##"{"kinds":[6],"#e":["ID"]}"##, true),
            (r##"{"kinds":[1],"#e":["ID"],"limit":1}"##, true),
            (r##"{"kinds":[1111,1],"#q":["ID"]}"##, true),
            (r##"{"kinds":[1111],"#E":["ID"]}"##, true),
            (r##"{"kinds":[3],"#p":["ID"]}"##, true),
            (r##"{"kinds":[3],"#p":["ID"],"search":"x"}"##, false),
            (r##"{"kinds":[3],"#p":["ID"],"#g":["u33d*"]}"##, false),
            (
                r##"{"kinds":[3],"#p":["ID","0000000000000000000000000000000000000000000000000000000000000000"]}"##,
                false,
            ),
            (r##"{"kinds":[3],"#p":["ID"],"#t":["x"]}"##, false),
            (r##"{"kinds":[3],"#p":["ID"],"&t":["x"]}"##, false),
            (r##"{"kinds":[3],"#p":["ID"],"since":1}"##, false),
            (r##"{"kinds":[3],"#p":["ID"],"authors":["ID"]}"##, false),
            (r##"{"kinds":[3,7],"#p":["ID"]}"##, false),
            (r##"{"#e":["ID"]}"##, false),
            ("{}", false),
        ];
        for (filter, has_one) in table {
            assert_eq!(value(&filter.replace("ID", &id)).is_some(), has_one, "{filter}");
        }
        let filter = Filter::from_json(&format!(r##"{{"kinds":[7],"#e":["{id}"]}}"##)).expect("a filter");
        assert_eq!(HyperLogLog::of(&[filter.clone(), filter]), None);
    }

    #[test]
    fn the_place_comes_from_what_is_asked_for() {
        let key = format!("{}c{}", "1".repeat(32), "2".repeat(31));
        let hashed = usize::from(Sha256::digest(b"somewhere")[16] >> 4);
        let table = [
            (key.clone(), 20),
            (format!("30023:{key}:a:b"), 20),
            ("somewhere".to_owned(), 8 + hashed),
            (format!("{key}:x"), 8 + usize::from(Sha256::digest(format!("{key}:x").as_bytes())[16] >> 4)),
        ];
        for (value, expected) in table {
            assert_eq!(offset(&value), expected, "{value}");
        }
    }

    #[test]
    fn a_register_holds_the_longest_run_of_zeros_and_one() {
        let mut value = reactions('0');
        let mut author = [0xff; 32];
        author[8] = 5;
        for (at, byte, expected) in [(9, 0xff, 1), (9, 0x10, 4), (9, 0x80, 4), (9, 0, 9), (10, 0x01, 16)] {
            author[at] = byte;
            value.add(&PublicKey(author));
            assert_eq!(value.registers[5], expected);
        }
        value.add(&PublicKey([0; 32]));
        assert_eq!((value.registers[0], value.to_hex().len()), (185, 512));
    }

    #[test]
    fn merged_registers_are_those_of_the_union_and_tell_about_how_many() {
        let mut chance = SplitMix(45);
        for count in [1, 2, 5, 20, 100, 500, 2_000, 10_000, 100_000] {
            for digit in ['0', '7', 'f'] {
                let (mut all, mut parts) = (reactions(digit), [reactions(digit), reactions(digit)]);
                for _ in 0..count {
                    let author = PublicKey(std::array::from_fn(|_| chance.next() as u8));
                    all.add(&author);
                    // Each is known to one relay, or to both, which may have several events of theirs.
                    let which = chance.below(3) as usize;
                    parts.iter_mut().enumerate().filter(|(at, _)| *at != which).for_each(|(_, part)| {
                        part.add(&author);
                        part.add(&author);
                    });
                }
                let merged = std::array::from_fn(|at| parts[0].registers[at].max(parts[1].registers[at]));
                assert_eq!(merged, all.registers);
                let error = (estimate(&all) / f64::from(count) - 1.0).abs();
                // Four standard deviations of 6.5 %; of few, one that shares a register with another.
                assert!(error < 0.26 || (estimate(&all) - f64::from(count)).abs() < 1.5, "{count}: {error}");
            }
        }
    }
}
