//! Amounts of money as people write them: exact decimals, compared digit by digit and never as floats, so
//! that no bound is off by a rounding. In: text, or numbers of relay.toml and of JSON. Out: [`Amount`].
//! Never rounds, adds, or turns one currency into another.

use std::cmp::Ordering;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

const AMOUNT_RULE: &str = "an amount is a number of 0 or more, such as 5 or \"0.50\"";

/// A decimal number of zero or more, exact however long it is. Its length is bounded by the text that it
/// comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Amount {
    /// Digits before the point, without leading zeros.
    whole: String,
    /// Digits after the point, without trailing zeros.
    fraction: String,
}

impl Amount {
    /// Reads `12` or `12.50`: digits, and after a point more of them. No sign, exponent, or separator.
    pub fn parse(text: &str) -> Option<Amount> {
        let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        (are_digits(whole) && are_digits(fraction)).then(|| Amount {
            whole: whole.trim_start_matches('0').to_owned(),
            fraction: fraction.trim_end_matches('0').to_owned(),
        })
    }

    /// The amount that a JSON number states; `None` below zero. JSON's decimals pass through a double, as in
    /// every client: its shortest form gives back what was written, up to 15 digits.
    pub fn from_json(number: &serde_json::Number) -> Option<Amount> {
        match number.as_u64() {
            Some(whole) => Amount::parse(&whole.to_string()),
            None => number.as_f64().and_then(Amount::from_float),
        }
    }

    fn from_float(number: f64) -> Option<Amount> {
        // Minus zero is no less than zero, but has a sign that `abs` takes away.
        (number.is_finite() && number >= 0.0)
            .then(|| number.abs().to_string())
            .and_then(|text| Amount::parse(&text))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> Ordering {
        // Without leading zeros the longer whole part is the larger one; digits of equal places, and
        // fractions from their first digit on, compare as texts do.
        (self.whole.len(), &self.whole, &self.fraction).cmp(&(
            other.whole.len(),
            &other.whole,
            &other.fraction,
        ))
    }
}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.whole.is_empty() { "0" } else { &self.whole })?;
        if self.fraction.is_empty() { Ok(()) } else { write!(f, ".{}", self.fraction) }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AmountVisitor;
        impl Visitor<'_> for AmountVisitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Amount, E> {
                u64::try_from(number)
                    .map_err(|_| E::custom(AMOUNT_RULE))
                    .and_then(|number| self.visit_u64(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Amount, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Amount, E> {
                Amount::from_float(number).ok_or_else(|| E::custom(AMOUNT_RULE))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                Amount::parse(text).ok_or_else(|| E::custom(AMOUNT_RULE))
            }
        }
        deserializer.deserialize_any(AmountVisitor)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap_or_else(|| panic!("{text} is an amount"))
    }

    #[test]
    fn amounts_are_digits_with_or_without_a_point() {
        let table = [
            ("0", Some("0")),
            ("00", Some("0")),
            ("5", Some("5")),
            ("0005", Some("5")),
            ("50.00", Some("50")),
            ("0.10", Some("0.1")),
            ("000.0", Some("0")),
            (
                "123456789012345678901234567890.000000000000000000001",
                Some("123456789012345678901234567890.000000000000000000001"),
            ),
            ("", None),
            (".", None),
            ("5.", None),
            (".5", None),
            ("-5", None),
            ("+5", None),
            ("1e3", None),
            ("1,000", None),
            ("1.2.3", None),
            (" 5", None),
            ("5 ", None),
            ("NaN", None),
            ("٥", None),
        ];
        for (text, shown) in table {
            assert_eq!(Amount::parse(text).map(|amount| amount.to_string()).as_deref(), shown, "{text:?}");
        }
    }

    #[test]
    fn amounts_compare_exactly() {
        // Each is less than the next; as doubles many of these would be equal.
        let ladder = [
            "0",
            "0.0000000000000000001",
            "0.09",
            "0.1",
            "0.10000000000000000001",
            "0.5",
            "0.51",
            "1",
            "9",
            "9.99",
            "10",
            "9007199254740992",
            "9007199254740992.1",
            "9007199254740993",
            "100000000000000000000",
        ];
        for (place, low) in ladder.iter().enumerate() {
            for (above, high) in ladder.iter().enumerate() {
                assert_eq!(amount(low).cmp(&amount(high)), place.cmp(&above), "{low} and {high}");
            }
        }
        assert_eq!(amount("1.50"), amount("01.5"));
    }

    #[test]
    fn numbers_of_json_are_what_their_author_wrote() {
        let table = [
            ("0", Some("0")),
            ("-0.0", Some("0")),
            ("0.1", Some("0.1")),
            ("19.99", Some("19.99")),
            ("1e3", Some("1000")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("1e-7", Some("0.0000001")),
            ("-1", None),
            ("-0.01", None),
        ];
        for (text, shown) in table {
            let number: serde_json::Number = serde_json::from_str(text).expect("a number");
            assert_eq!(
                Amount::from_json(&number).map(|amount| amount.to_string()).as_deref(),
                shown,
                "{text}"
            );
        }
    }

    #[test]
    fn settings_give_amounts_as_numbers_or_texts() {
        let table = [
            ("5", Some("5")),
            ("0.5", Some("0.5")),
            ("0.1", Some("0.1")),
            ("\"0.50\"", Some("0.5")),
            ("-1", None),
            ("-0.5", None),
            ("inf", None),
            ("nan", None),
            ("\"five\"", None),
            ("true", None),
        ];
        for (text, shown) in table {
            #[derive(serde::Deserialize)]
            struct File {
                price: Amount,
            }
            let read = toml::from_str::<File>(&format!("price = {text}")).ok();
            assert_eq!(read.map(|file| file.price.to_string()).as_deref(), shown, "{text}");
        }
    }
}
