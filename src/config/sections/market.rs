//! `[market]`: what may be offered, and for how much.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::SectionFault;
use crate::amount::Amount;
use crate::config::Mode;

/// `[market]` (in a community: `[community.market]`): stalls, products, auctions and listings (NIP-15, NIP-99).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Market {
    /// Whether its rules refuse, or only count and log what they would refuse.
    pub mode: Mode,
    /// Whether this is a market: without it nothing below counts, and its events are taken as any others.
    pub enabled: bool,
    /// The currencies that stalls, products and listings may name, capitals or not. Empty: any.
    pub currencies: Vec<String>,
    /// The categories of which an offer has one in its `t` tags, capitals or not. Empty: any or none.
    pub categories: Vec<String>,
    /// The least price of products and listings in each currency. Currencies that are not named: any.
    pub price_min: BTreeMap<String, Amount>,
    /// The highest price of products and listings in each currency. Currencies that are not named: any.
    pub price_max: BTreeMap<String, Amount>,
    /// Whether a listing must have a price.
    pub price_required: bool,
    /// Products, auctions and listings together that one author may have; 0: any number.
    pub listings_per_author_max: usize,
    /// Pictures that a product, auction or listing must have.
    pub images_min: usize,
    /// Pictures that a product, auction or listing may have; 0: any number.
    pub images_max: usize,
    /// Whether a listing must say in a `location` tag where it is.
    pub location_required: bool,
    /// Whether a listing must say in a `g` tag where it is, as a geohash.
    pub geohash_required: bool,
}

impl Default for Market {
    fn default() -> Self {
        Market {
            mode: Mode::default(),
            enabled: false,
            currencies: Vec::new(),
            categories: Vec::new(),
            price_min: BTreeMap::new(),
            price_max: BTreeMap::new(),
            price_required: true,
            listings_per_author_max: 0,
            images_min: 0,
            images_max: 0,
            location_required: false,
            geohash_required: false,
        }
    }
}

/// The bounds of the section's numbers. Each listing of an author is read when they publish another one,
/// hence the third.
pub(in crate::config) const RANGES: &[(&str, u64, u64)] = &[
    ("market.images_min", 0, 1_000),
    ("market.images_max", 0, 1_000),
    ("market.listings_per_author_max", 0, 10_000),
];

impl Market {
    /// Checks what single values can't tell: blank words, and bounds that leave nothing between them.
    pub(in crate::config) fn check(&self) -> Result<(), SectionFault> {
        let fault = |key, problem: String, remedy: &str| {
            Err(SectionFault { key, problem, remedy: remedy.to_owned() })
        };
        for (key, words) in [("market.currencies", &self.currencies), ("market.categories", &self.categories)]
        {
            if words.iter().any(|word| word.trim().is_empty() || word.trim() != word) {
                let problem = "holds a word that is blank, or has blanks around it".to_owned();
                return fault(key, problem, "remove the blanks");
            }
        }
        for (key, bounds) in [("market.price_min", &self.price_min), ("market.price_max", &self.price_max)] {
            let mut codes: Vec<String> = bounds.keys().map(|code| code.to_lowercase()).collect();
            codes.sort_unstable();
            if codes.windows(2).any(|pair| pair[0] == pair[1]) {
                let problem = "names a currency twice: capitals make no difference".to_owned();
                return fault(key, problem, "keep one of them");
            }
            let is_allowed =
                |code: &str| self.currencies.iter().any(|currency| currency.eq_ignore_ascii_case(code));
            if let Some(code) = bounds.keys().find(|code| !self.currencies.is_empty() && !is_allowed(code)) {
                let problem = format!("names {code}, which market.currencies does not allow");
                return fault(key, problem, "add it there or remove it here");
            }
        }
        for (code, least) in &self.price_min {
            let most = self.price_max.iter().find(|(other, _)| other.eq_ignore_ascii_case(code));
            if let Some((_, most)) = most.filter(|(_, most)| least > *most) {
                let problem = format!(
                    "asks for at least {least} {code}, more than market.price_max allows with {most}"
                );
                return fault("market.price_min", problem, "lower it, or raise market.price_max");
            }
        }
        if self.images_max > 0 && self.images_min > self.images_max {
            let problem = format!("is more than market.images_max, which is {}", self.images_max);
            return fault("market.images_min", problem, "lower it, or raise market.images_max");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_leave_something_between_them() {
        let table = [
            ("", None),
            ("currencies = [\"sats\", \"USD\"]", None),
            ("currencies = [\"\"]", Some("market.currencies")),
            ("currencies = [\" USD\"]", Some("market.currencies")),
            ("categories = [\"fruit\", \"  \"]", Some("market.categories")),
            ("price_min = { usd = 0.5 }\nprice_max = { USD = \"0.50\" }", None),
            ("price_min = { usd = \"0.51\" }\nprice_max = { USD = \"0.50\" }", Some("market.price_min")),
            ("price_min = { usd = 100 }\nprice_max = { sats = 1 }", None),
            ("price_max = { usd = 1, USD = 2 }", Some("market.price_max")),
            ("currencies = [\"SATS\"]\nprice_max = { sats = 1 }", None),
            ("currencies = [\"SATS\"]\nprice_max = { usd = 1 }", Some("market.price_max")),
            ("images_min = 2\nimages_max = 2", None),
            ("images_min = 3\nimages_max = 2", Some("market.images_min")),
            ("images_min = 3\nimages_max = 0", None),
        ];
        for (text, key) in table {
            let market: Market = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(market.check().err().map(|fault| fault.key), key, "{text}");
        }
    }
}
