//! Values that several sections share: whether a rule refuses, sets of kinds, public keys. In: what stands
//! in relay.toml. Out: forms that rules look things up in. Never repeats a key: it may be the secret one by
//! mistake.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use bech32::Hrp;
use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::event::{Kind, PublicKey};

/// Whether the rules of a section refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They refuse.
    #[default]
    Enforce,
    /// They count and log what they would refuse, and let it pass.
    Shadow,
}

/// Kinds, written as numbers and ranges: `[1, "30000-39999"]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KindSet(Vec<RangeInclusive<u16>>);

impl KindSet {
    /// A set of single kinds.
    pub fn of(kinds: &[u16]) -> KindSet {
        kinds.iter().map(|&kind| kind..=kind).collect()
    }

    /// Whether the kind is one of them.
    pub fn contains(&self, kind: Kind) -> bool {
        self.0.iter().any(|range| range.contains(&kind.0))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<RangeInclusive<u16>> for KindSet {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u16>>>(ranges: I) -> Self {
        KindSet(ranges.into_iter().collect())
    }
}

impl fmt::Display for KindSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, range) in self.0.iter().enumerate() {
            f.write_str(if number == 0 { "" } else { ", " })?;
            f.write_str(&text_of(range))?;
        }
        Ok(())
    }
}

fn text_of(range: &RangeInclusive<u16>) -> String {
    match (range.start(), range.end()) {
        (start, end) if start == end => start.to_string(),
        (start, end) => format!("{start}-{end}"),
    }
}

/// Reads `7` or `30000-39999`.
fn range_of(text: &str) -> Option<RangeInclusive<u16>> {
    let number = |text: &str| text.trim().parse::<u16>().ok();
    match text.split_once('-') {
        None => number(text).map(|kind| kind..=kind),
        Some((start, end)) => {
            let (start, end) = (number(start)?, number(end)?);
            (start <= end).then_some(start..=end)
        }
    }
}

const KINDS_RULE: &str =
    "a kind is a whole number from 0 to 65535, or a range in quotes such as \"30000-39999\"";

/// One element of a [`KindSet`].
struct KindRange(RangeInclusive<u16>);

impl<'de> Deserialize<'de> for KindRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RangeVisitor;
        impl Visitor<'_> for RangeVisitor {
            type Value = KindRange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a kind or a range of kinds")
            }

            fn visit_i64<E: serde::de::Error>(self, kind: i64) -> Result<KindRange, E> {
                let kind = u16::try_from(kind).map_err(|_| E::custom(KINDS_RULE))?;
                Ok(KindRange(kind..=kind))
            }

            fn visit_u64<E: serde::de::Error>(self, kind: u64) -> Result<KindRange, E> {
                let kind = u16::try_from(kind).map_err(|_| E::custom(KINDS_RULE))?;
                Ok(KindRange(kind..=kind))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<KindRange, E> {
                range_of(text).map(KindRange).ok_or_else(|| E::custom(KINDS_RULE))
            }
        }
        deserializer.deserialize_any(RangeVisitor)
    }
}

impl<'de> Deserialize<'de> for KindSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ranges = Vec::<KindRange>::deserialize(deserializer)?;
        Ok(ranges.into_iter().map(|range| range.0).collect())
    }
}

impl Serialize for KindSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for range in &self.0 {
            if range.start() == range.end() {
                list.serialize_element(range.start())?;
            } else {
                list.serialize_element(&text_of(range))?;
            }
        }
        list.end()
    }
}

/// Something for each of some kinds, written `{ "1" = 500, "30000-39999" = 900 }`; kinds in one key are
/// separated by commas. Where several keys hold a kind, the narrowest counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindMap<T>(Vec<(KindSet, T)>);

impl<T> Default for KindMap<T> {
    fn default() -> Self {
        KindMap(Vec::new())
    }
}

impl<T> KindMap<T> {
    /// What there is for a kind.
    pub fn get(&self, kind: Kind) -> Option<&T> {
        self.0.iter().find(|(kinds, _)| kinds.contains(kind)).map(|(_, value)| value)
    }

    /// Whether there is nothing for any kind.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All entries, narrowest first.
    pub fn iter(&self) -> impl Iterator<Item = &(KindSet, T)> {
        self.0.iter()
    }
}

impl<T> FromIterator<(KindSet, T)> for KindMap<T> {
    fn from_iter<I: IntoIterator<Item = (KindSet, T)>>(entries: I) -> Self {
        let width = |set: &KindSet| set.0.iter().map(|range| range.len()).sum::<usize>();
        let mut entries: Vec<(KindSet, T)> = entries.into_iter().collect();
        entries.sort_by_key(|(kinds, _)| width(kinds));
        KindMap(entries)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for KindMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = BTreeMap::<String, T>::deserialize(deserializer)?;
        let entries = entries.into_iter().map(|(key, value)| {
            let kinds = key.split(',').map(range_of).collect::<Option<KindSet>>();
            Ok((kinds.ok_or_else(|| D::Error::custom(KINDS_RULE))?, value))
        });
        entries.collect()
    }
}

impl<T: Serialize> Serialize for KindMap<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (kinds, value) in &self.0 {
            map.serialize_entry(&kinds.to_string(), value)?;
        }
        map.end()
    }
}

/// Public keys, written in hex or as npub1…
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys(Vec<PublicKey>);

impl Keys {
    /// Whether the key is one of them.
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.0.binary_search(key).is_ok()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter()
    }
}

impl FromIterator<PublicKey> for Keys {
    fn from_iter<I: IntoIterator<Item = PublicKey>>(keys: I) -> Self {
        let mut keys: Vec<PublicKey> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        Keys(keys)
    }
}

/// Reads a public key in hex or as npub1… (NIP-19).
///
/// # Errors
/// A sentence that does not repeat the text.
pub fn parse_key(text: &str) -> Result<PublicKey, &'static str> {
    if text.starts_with("nsec1") {
        return Err("this is a secret key, which nobody but its owner may ever see; remove it now");
    }
    if !text.starts_with("npub1") {
        return PublicKey::from_hex(text)
            .ok_or("a public key is 64 lower-case hexadecimal digits, or npub1…");
    }
    let wrong = "this npub1… is not complete or has a slip in it; copy it again";
    let (prefix, bytes) = bech32::decode(text).map_err(|_| wrong)?;
    let key = <[u8; 32]>::try_from(bytes).map_err(|_| wrong)?;
    if Hrp::parse("npub").is_ok_and(|npub| npub == prefix) { Ok(PublicKey(key)) } else { Err(wrong) }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeysVisitor;
        impl<'de> Visitor<'de> for KeysVisitor {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of public keys")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some(text) = seq.next_element::<String>()? {
                    keys.push(parse_key(&text).map_err(A::Error::custom)?);
                }
                Ok(keys.into_iter().collect())
            }
        }
        deserializer.deserialize_seq(KeysVisitor)
    }
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(PublicKey::to_string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_numbers_and_ranges() {
        let table = [
            ("[]", Some("")),
            ("[1, 30023]", Some("1, 30023")),
            ("[\"30000-39999\", 0]", Some("30000-39999, 0")),
            ("[\"7\"]", Some("7")),
            ("[\"7-7\"]", Some("7")),
            ("[\"8-7\"]", None),
            ("[65536]", None),
            ("[-1]", None),
            ("[\"a\"]", None),
            ("1", None),
        ];
        for (text, shown) in table {
            let read = serde_json::from_str::<KindSet>(text).ok();
            assert_eq!(read.map(|kinds| kinds.to_string()).as_deref(), shown, "{text}");
        }
        let kinds: KindSet = serde_json::from_str("[1, \"10-12\"]").expect("kinds");
        let held: Vec<u16> = (0..20).filter(|&kind| kinds.contains(Kind(kind))).collect();
        assert_eq!(held, [1, 10, 11, 12]);
    }

    #[test]
    fn the_narrowest_key_of_a_map_counts() {
        let map: KindMap<u64> =
            serde_json::from_str(r#"{"0-65535": 1, "30000-39999": 2, "30023,1": 3}"#).expect("a map");
        for (kind, value) in [(0, 1), (1, 3), (30_000, 2), (30_023, 3), (40_000, 1)] {
            assert_eq!(map.get(Kind(kind)), Some(&value), "{kind}");
        }
        assert!(serde_json::from_str::<KindMap<u64>>(r#"{"note": 1}"#).is_err());
    }

    #[test]
    fn keys_are_hex_or_npub() {
        let hex = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e";
        let npub = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg";
        assert_eq!(parse_key(npub), parse_key(hex));
        assert_eq!(parse_key(npub).map(|key| key.to_string()).as_deref(), Ok(hex));
        let nsec = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5";
        for wrong in [&npub[..62], &npub.replace('l', "b"), nsec, &hex[1..], &hex.to_uppercase(), ""] {
            let said = parse_key(wrong).expect_err(wrong);
            assert!(wrong.is_empty() || !said.contains(wrong), "{said}");
        }
    }
}

/// Names with public keys, written `{ ann = "npub1…" }`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalNames(BTreeMap<String, PublicKey>);

impl LocalNames {
    /// Whose name this is.
    pub fn get(&self, name: &str) -> Option<&PublicKey> {
        self.0.get(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &PublicKey)> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for LocalNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = BTreeMap::<String, String>::deserialize(deserializer)?.into_iter();
        let entries = entries.map(|(name, key)| Ok((name, parse_key(&key).map_err(D::Error::custom)?)));
        entries.collect::<Result<_, _>>().map(LocalNames)
    }
}

impl Serialize for LocalNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, key)| (name, key.to_string())))
    }
}
