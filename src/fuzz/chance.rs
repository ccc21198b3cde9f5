//! Seeded chance: numbers at the edges, odd texts, and changes to bytes. In: a seed. Out: the same for the same seed.

use crate::splitmix::SplitMix;

/// Texts that readers trip over: empty, escaped, in other scripts, of other meanings.
const ODD: &[&str] = &[
    "",
    " ",
    "\0",
    "\u{1}",
    "\"",
    "\\",
    "\\u0000",
    "\n",
    "\r\n",
    "\t",
    "\u{7f}",
    "\u{80}",
    "\u{a0}",
    "\u{2028}",
    "\u{feff}",
    "\u{202e}",
    "\u{fffd}",
    "\u{10ffff}",
    "ä",
    "ß",
    "İ",
    "ſ",
    "e\u{301}",
    "😀",
    "見て",
    "xn--",
    "xn--a",
    "-",
    "-1",
    "0",
    "00",
    "1e9",
    "1e999",
    "0x1",
    "null",
    "true",
    "{}",
    "[]",
    "[[",
    "a",
    "*",
    "~",
    "%00",
    "%ff",
    "@",
    ":",
    "://",
    "/",
    "//",
    "..",
    ".",
    ",",
    "#",
    "http://a.example/",
    "HTTPS://A.example:1",
    "18446744073709551616",
];

/// Numbers at the edges of what fits somewhere.
const EDGES: &[u64] = &[
    0,
    1,
    2,
    9,
    10,
    11,
    12,
    13,
    63,
    64,
    65,
    127,
    128,
    255,
    256,
    1_000,
    4_000,
    6_400,
    32_767,
    32_768,
    65_534,
    65_535,
    65_536,
    1_790_000_000,
    2_147_483_647,
    2_147_483_648,
    4_294_967_295,
    4_294_967_296,
    1 << 53,
    (1 << 53) + 1,
    i64::MAX as u64,
    i64::MAX as u64 + 1,
    u64::MAX - 1,
    u64::MAX,
];

/// What is put there again and again is about so long in the end, or less.
const REPEATED_BYTES_MAX: usize = 128 * 1024;

/// Seeded chance.
#[derive(Debug)]
pub(crate) struct Chance(SplitMix);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(SplitMix(seed))
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// A number below a bound, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound as u64) as usize
    }

    pub(crate) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// Up to so many, mostly few.
    pub(crate) fn some<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let bound = if self.one_in(8) { most } else { most.min(3) };
        (0..self.below(bound + 1)).map(|_| one(self)).collect()
    }

    /// A number, mostly one at an edge.
    pub(crate) fn edge(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(100) as u64,
            1 => self.next() >> self.below(64),
            _ => EDGES[self.below(EDGES.len())],
        }
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        // Few different ones, so that things meet.
        match self.below(3) {
            0 => std::array::from_fn(|_| self.next() as u8),
            _ => [self.below(3) as u8 + 1; N],
        }
    }

    /// Lower-case hex of so many bytes.
    pub(crate) fn hex<const N: usize>(&mut self) -> String {
        hex::encode(self.bytes::<N>())
    }

    /// A text: a word, or odd ones in a row.
    pub(crate) fn text(&mut self) -> String {
        match self.below(4) {
            0 | 1 => self.pick(&["bread", "Fish", "relay", "x", "wss://relay.example"]).to_owned(),
            2 => self.pick(ODD).to_owned(),
            _ => self.some(12, |chance| chance.pick(ODD)).concat(),
        }
    }

    /// A text as JSON, some of its letters escaped in ways that no writer of ours would use.
    pub(crate) fn quoted(&mut self, text: &str) -> String {
        if !self.one_in(6) {
            return serde_json::Value::from(text).to_string();
        }
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        format!("\"{escaped}\"")
    }

    /// A few changes to bytes.
    pub(crate) fn mutated(&mut self, bytes: &[u8], bytes_max: usize) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes);
            bytes.truncate(bytes_max);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let most = if self.one_in(4) { bytes.len() + 1 } else { 9 };
        let end = (at + self.below(most)).min(bytes.len());
        match self.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..end, self.pick(ODD).bytes())),
            3 => drop(bytes.splice(at..end, self.edge().to_string().into_bytes())),
            4 => {
                let number = self.edge();
                let width = [1, 2, 4, 8][self.below(4)];
                let raw = if self.one_in(2) { number.to_le_bytes() } else { number.to_be_bytes() };
                let end = (at + width).min(bytes.len());
                let part = if self.one_in(2) { &raw[..width] } else { &raw[8 - width..] };
                bytes.splice(at..end, part.iter().copied());
            }
            5 => {
                // What costs more than its length shows when it stands there often.
                let part = bytes[at..end].to_vec();
                let times: usize = if self.one_in(6) { 1 << self.below(14) } else { 1 + self.below(3) };
                let times = times.min(1 + REPEATED_BYTES_MAX / part.len().max(1));
                bytes.splice(at..at, part.repeat(times));
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
        }
    }
}
