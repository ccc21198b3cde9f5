//! NIP-99, classified listings (nips/99.md): what the tags of a listing must be. In: an event, the settings.
//! Out: a decision. Pure. What listings have in common with NIP-15's products is in `policy/market.rs`.

use crate::amount::Amount;
use crate::event::{Event, Kind, Tag};
use crate::nips::nip15::is_web_url;
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Rule};

/// A listing.
pub const LISTING: Kind = Kind(30_402);
/// A listing that is a draft, or rests.
pub const DRAFT: Kind = Kind(30_403);

/// Characters that a currency's code may have: ISO 4217 has three, `sats` and some coins have more.
const CURRENCY_CHARS: std::ops::RangeInclusive<usize> = 3..=10;
/// Characters that a geohash may have.
const GEOHASH_CHARS: std::ops::RangeInclusive<usize> = 1..=12;

/// The rules of NIP-99.
pub const RULES: &[Rule] = &[
    Rule {
        id: "market.listing",
        settings: &["market.enabled", "market.price_required"],
        sentence: |settings| {
            let price = if settings.market.price_required { ", a price with its currency" } else { "" };
            settings.market.enabled.then(|| {
                format!("A listing (kind 30402, drafts 30403) has a title{price}, and tags of the form that NIP-99 names.")
            })
        },
        check: Check::Admit(listing),
    },
    Rule {
        id: "market.location",
        settings: &["market.enabled", "market.location_required"],
        sentence: |settings| {
            let asked = settings.market.enabled && settings.market.location_required;
            asked.then(|| "A listing says in a location tag where it is.".to_owned())
        },
        check: Check::Admit(|event, _| location(event)),
    },
    Rule {
        id: "market.geohash",
        settings: &["market.enabled", "market.geohash_required"],
        sentence: |settings| {
            let asked = settings.market.enabled && settings.market.geohash_required;
            asked.then(|| "A listing says in a g tag where it is, as a geohash.".to_owned())
        },
        check: Check::Admit(|event, _| geohash(event)),
    },
];

/// Whether an event is a listing or a draft of one.
pub(crate) fn is_listing(event: &Event) -> bool {
    event.kind == LISTING || event.kind == DRAFT
}

/// The `price` tag: an amount, a currency, and how often it is paid if more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Price<'a> {
    /// How much.
    pub(crate) amount: Amount,
    /// Of what, as it is written.
    pub(crate) currency: &'a str,
}

impl<'a> Price<'a> {
    /// Reads a tag.
    ///
    /// # Errors
    /// What is wrong with it, as a part of a sentence.
    fn read(tag: Tag<'a>) -> Result<Price<'a>, &'static str> {
        let is_code = |text: &str| {
            CURRENCY_CHARS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let (Some(amount), Some(currency), ..=4) = (tag.get(1), tag.get(2), tag.len()) else {
            return Err("price must be an amount, a currency, and for repeated payments how often");
        };
        let amount = Amount::parse(amount).ok_or("the price's amount must be a number such as 50 or 0.50")?;
        if !is_code(currency) {
            return Err("the price's currency must be a code such as USD, btc or sats");
        }
        Ok(Price { amount, currency })
    }

    /// The price of a listing, if it has one that can be read.
    pub(crate) fn of(event: &'a Event) -> Option<Price<'a>> {
        event.tags.iter().find(|tag| tag.name() == "price").and_then(|tag| Price::read(tag).ok())
    }
}

/// How many pictures a listing has.
pub(crate) fn images(event: &Event) -> usize {
    event.tags.iter().filter(|tag| tag.name() == "image").count()
}

/// Refuses listings whose tags are not what the NIP says, and names each that is not.
fn listing(event: &Event, context: &Context<'_>) -> Decision {
    if !is_listing(event) {
        return Ok(());
    }
    match faults(event, context.config.market.price_required)[..] {
        [] => Ok(()),
        ref faults => Err(Refusal::new(Prefix::Invalid, "market.listing", faults.join("; "))),
    }
}

fn faults(event: &Event, price_required: bool) -> Vec<&'static str> {
    let values = |name: &'static str| event.tags.values(name);
    let is_blank = |text: &str| text.trim().is_empty();
    let mut faults = Vec::new();
    if values("title").all(is_blank) {
        faults.push("a title tag is missing");
    }
    let prices: Vec<Tag<'_>> = event.tags.iter().filter(|tag| tag.name() == "price").collect();
    match prices[..] {
        [] if price_required => faults.push("a price tag is missing"),
        [] => {}
        [price] => faults.extend(Price::read(price).err()),
        // Clients would show different ones.
        _ => faults.push("there must be one price tag, not several"),
    }
    if !values("status").all(|status| status == "active" || status == "sold") {
        faults.push("status must be active or sold");
    }
    if !values("published_at").all(|time| !time.is_empty() && is_time(time)) {
        faults.push("published_at must be in seconds since 1970, in digits");
    }
    let image_tags = event.tags.iter().filter(|tag| tag.name() == "image");
    if !image_tags.map(|tag| tag.value()).all(|url| url.is_some_and(is_web_url)) {
        faults.push("every image must be an http(s) address");
    }
    faults
}

fn is_time(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok()
}

fn blocked(rule: &'static str, sentence: &'static str) -> Decision {
    Err(Refusal::new(Prefix::Blocked, rule, sentence))
}

fn location(event: &Event) -> Decision {
    if !is_listing(event) || event.tags.values("location").any(|place| !place.trim().is_empty()) {
        return Ok(());
    }
    blocked("market.location", "listings here say where they are in a location tag")
}

fn geohash(event: &Event) -> Decision {
    if !is_listing(event) || event.tags.values("g").any(is_geohash) {
        return Ok(());
    }
    blocked("market.geohash", "listings here say where they are in a g tag, with a geohash in lower case")
}

/// Whether a text is a geohash: its digits are those of base 32 without a, i, l and o.
fn is_geohash(text: &str) -> bool {
    let is_digit =
        |byte: u8| matches!(byte, b'0'..=b'9' | b'b'..=b'h' | b'j' | b'k' | b'm' | b'n' | b'p'..=b'z');
    GEOHASH_CHARS.contains(&text.len()) && text.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::nips::nip15::testing::{event, with_settings};

    type Tags<'t> = &'t [&'t [&'t str]];

    /// What the rules say of a listing with these tags.
    fn said(settings: &Settings, kind: u16, tags: Tags<'_>) -> Option<(&'static str, Prefix, String)> {
        with_settings(settings, |context| {
            RULES.iter().filter(|rule| (rule.sentence)(settings).is_some()).find_map(|rule| {
                match rule.check {
                    Check::Admit(check) => {
                        let refusal = check(&event(1, kind, 5, tags, "**Markdown**"), context).err()?;
                        Some((refusal.rule, refusal.prefix, refusal.sentence.into_owned()))
                    }
                    _ => None,
                }
            })
        })
    }

    fn market() -> Settings {
        let mut settings = Settings::default();
        settings.market.enabled = true;
        settings
    }

    #[test]
    fn listings_tag_by_tag() {
        const AMOUNT: Option<&str> = Some("the price's amount must be a number such as 50 or 0.50");
        const CURRENCY: Option<&str> = Some("the price's currency must be a code such as USD, btc or sats");
        const PRICE: Option<&str> =
            Some("price must be an amount, a currency, and for repeated payments how often");
        const IMAGE: Option<&str> = Some("every image must be an http(s) address");
        const STATUS: Option<&str> = Some("status must be active or sold");
        const PUBLISHED: Option<&str> = Some("published_at must be in seconds since 1970, in digits");
        let title: &[&str] = &["title", "A bicycle"];
        let price: &[&str] = &["price", "50", "USD"];
        let table: &[(Tags<'_>, Option<&str>)] = &[
            (&[title, price], None),
            (&[price], Some("a title tag is missing")),
            (&[&["title"], price], Some("a title tag is missing")),
            (&[&["title", " "], price], Some("a title tag is missing")),
            (&[title], Some("a price tag is missing")),
            (&[title, price, price], Some("there must be one price tag, not several")),
            (&[title, &["price"]], PRICE),
            (&[title, &["price", "50"]], PRICE),
            (&[title, &["price", "50", "USD", "month"]], None),
            (&[title, &["price", "50", "USD", "month", "x"]], PRICE),
            (&[title, &["price", "0", "USD"]], None),
            (&[title, &["price", "0.50", "USD"]], None),
            (&[title, &["price", "-1", "USD"]], AMOUNT),
            (&[title, &["price", "1,000", "USD"]], AMOUNT),
            (&[title, &["price", "1e3", "USD"]], AMOUNT),
            (&[title, &["price", "$50", "USD"]], AMOUNT),
            (&[title, &["price", "", "USD"]], AMOUNT),
            (&[title, &["price", "50", "sat"]], None),
            (&[title, &["price", "50", "US"]], CURRENCY),
            (&[title, &["price", "50", "ABCDEFGHIJ"]], None),
            (&[title, &["price", "50", "ABCDEFGHIJK"]], CURRENCY),
            (&[title, &["price", "50", "€€€"]], CURRENCY),
            (&[title, &["price", "50", ""]], CURRENCY),
            (&[title, price, &["status", "active"]], None),
            (&[title, price, &["status", "sold"]], None),
            (&[title, price, &["status", "Sold"]], STATUS),
            (&[title, price, &["status", ""]], STATUS),
            (&[title, price, &["published_at", "1296962229"]], None),
            (&[title, price, &["published_at", "18446744073709551615"]], None),
            (&[title, price, &["published_at", "18446744073709551616"]], PUBLISHED),
            (&[title, price, &["published_at", "yesterday"]], PUBLISHED),
            (&[title, price, &["published_at", ""]], PUBLISHED),
            (&[title, price, &["image", "https://example.com/a.jpg", "256x256"]], None),
            (&[title, price, &["image", "a.jpg"]], IMAGE),
            (&[title, price, &["image"]], IMAGE),
            (
                &[&["status", "x"], &["image", "x"]],
                Some(
                    "a title tag is missing; a price tag is missing; status must be active or sold; every image must be an http(s) address",
                ),
            ),
        ];
        for kind in [30_402, 30_403] {
            for (tags, expected) in table {
                let expected = expected.map(|text| ("market.listing", Prefix::Invalid, text.to_owned()));
                assert_eq!(said(&market(), kind, tags), expected, "{tags:?}");
            }
        }
        for kind in [30_401, 30_404, 30_018, 1] {
            assert_eq!(said(&market(), kind, &[]), None, "{kind}");
        }
    }

    #[test]
    fn a_price_may_be_left_out_where_it_is_not_required_but_not_be_wrong() {
        let mut settings = market();
        settings.market.price_required = false;
        assert_eq!(said(&settings, 30_402, &[&["title", "Free kittens"]]), None);
        assert!(said(&settings, 30_402, &[&["title", "x"], &["price", "much", "USD"]]).is_some());
    }

    #[test]
    fn places_are_named_where_the_community_asks() {
        let table: [(bool, bool, &[&str], Option<&str>); 15] = [
            (false, false, &[], None),
            (true, false, &[], Some("market.location")),
            (true, false, &["location"], Some("market.location")),
            (true, false, &["location", " "], Some("market.location")),
            (true, false, &["location", "Berlin"], None),
            (false, true, &["location", "Berlin"], Some("market.geohash")),
            (false, true, &["g"], Some("market.geohash")),
            (false, true, &["g", ""], Some("market.geohash")),
            (false, true, &["g", "u"], None),
            (false, true, &["g", "u33d"], None),
            (false, true, &["g", "u33dc0u33dc0"], None),
            (false, true, &["g", "u33dc0u33dc0u"], Some("market.geohash")),
            (false, true, &["g", "U33D"], Some("market.geohash")),
            (false, true, &["g", "u33a"], Some("market.geohash")),
            (true, true, &["g", "u33d"], Some("market.location")),
        ];
        for (location, geohash, place, rule) in table {
            let mut settings = market();
            (settings.market.location_required, settings.market.geohash_required) = (location, geohash);
            let event_tags = [&["title", "x"][..], &["price", "1", "sats"], place];
            let decided = said(&settings, 30_402, &event_tags).map(|(rule, prefix, _)| (rule, prefix));
            assert_eq!(decided, rule.map(|rule| (rule, Prefix::Blocked)), "{place:?}");
        }
    }

    #[test]
    fn rules_say_nothing_where_there_is_no_market() {
        let mut settings = market();
        let sentences =
            |settings: &Settings| RULES.iter().filter_map(|rule| (rule.sentence)(settings)).count();
        assert_eq!(sentences(&settings), 1);
        (settings.market.location_required, settings.market.geohash_required) = (true, true);
        assert_eq!(sentences(&settings), 3);
        settings.market.enabled = false;
        assert_eq!(sentences(&settings), 0);
    }
}
