//! A market's own rules (nips/market.md), for what is offered by NIP-15 and by NIP-99 alike: currencies,
//! categories, prices, pictures, and how much one merchant may offer. In: an event, the settings, the
//! author's stored offers. Out: a decision. Pure.

use std::collections::BTreeMap;

use crate::amount::Amount;
use crate::config::{Market, Settings};
use crate::event::{Event, Kind};
use crate::nips::nip15::{self, AUCTION, PRODUCT, STALL};
use crate::nips::nip40;
use crate::nips::nip99::{self, DRAFT, LISTING};
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Related, Rule, Want};
use crate::words::any_of;

/// What is offered, drafts among it.
const OFFERS: [Kind; 4] = [PRODUCT, AUCTION, LISTING, DRAFT];
/// What counts as a listing of its author.
const COUNTED: [Kind; 3] = [PRODUCT, AUCTION, LISTING];
/// Characters of an author's own words that a refusal repeats.
const QUOTED_CHARS_MAX: usize = 20;

/// The rules of a market, cheap ones first.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "market.category",
        settings: &["market.enabled", "market.categories"],
        sentence: |settings| {
            let categories = &active(settings)?.categories;
            (!categories.is_empty())
                .then(|| format!("Offers are of the category {}, in a t tag.", any_of(categories)))
        },
        check: Check::Admit(category),
    },
    Rule {
        id: "market.currency",
        settings: &["market.enabled", "market.currencies"],
        sentence: |settings| {
            let currencies = &active(settings)?.currencies;
            (!currencies.is_empty())
                .then(|| format!("Stalls, products and listings have the currency {}.", any_of(currencies)))
        },
        check: Check::Admit(currency),
    },
    Rule {
        id: "market.price",
        settings: &["market.enabled", "market.price_min", "market.price_max"],
        sentence: price_sentence,
        check: Check::Admit(price),
    },
    Rule {
        id: "market.images",
        settings: &["market.enabled", "market.images_min", "market.images_max"],
        sentence: |settings| {
            let market = active(settings)?;
            wanted_images(market).map(|wanted| format!("Offers have {wanted}."))
        },
        check: Check::Admit(images),
    },
    Rule {
        id: "market.listings_per_author",
        settings: &["market.enabled", "market.listings_per_author_max"],
        sentence: |settings| match active(settings)?.listings_per_author_max {
            0 => None,
            most => Some(format!("One merchant has at most {most} products, auctions and listings here.")),
        },
        check: Check::Place {
            wants: number_wants,
            check: |event, related, context| number(event, related, context),
        },
    },
];

fn active(settings: &Settings) -> Option<&Market> {
    Some(&settings.market).filter(|market| market.enabled)
}

fn blocked(rule: &'static str, sentence: String) -> Decision {
    Err(Refusal::new(Prefix::Blocked, rule, sentence))
}

/// An author's own word, short and on one line.
fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).collect::<String>().escape_debug().to_string()
}

/// What an event is offered for: an amount if it names one, and its currency.
fn money(event: &Event) -> (Option<Amount>, Option<String>) {
    match event.kind {
        STALL | PRODUCT => {
            let offer = nip15::Offer::of(event);
            (offer.price, offer.currency)
        }
        LISTING | DRAFT => nip99::Price::of(event)
            .map_or((None, None), |price| (Some(price.amount), Some(price.currency.to_owned()))),
        _ => (None, None),
    }
}

/// Whether two words are the same but for capitals, in any script.
fn is_same_word(one: &str, other: &str) -> bool {
    one.chars().flat_map(char::to_lowercase).eq(other.chars().flat_map(char::to_lowercase))
}

/// A client's own tag may stand beside the categories, so one that is allowed is enough.
fn category(event: &Event, context: &Context<'_>) -> Decision {
    let allowed = &context.config.market.categories;
    let is_allowed = |value: &str| allowed.iter().any(|category| is_same_word(category, value));
    if allowed.is_empty() || !OFFERS.contains(&event.kind) || event.tags.values("t").any(is_allowed) {
        return Ok(());
    }
    blocked(
        "market.category",
        format!("none of its t tags is a category of this market: {}", any_of(allowed)),
    )
}

fn currency(event: &Event, context: &Context<'_>) -> Decision {
    let allowed = &context.config.market.currencies;
    if allowed.is_empty() {
        return Ok(());
    }
    match money(event).1 {
        Some(code) if !allowed.iter().any(|currency| currency.eq_ignore_ascii_case(&code)) => blocked(
            "market.currency",
            format!("the currency here is {}, not {}", any_of(allowed), quoted(&code)),
        ),
        _ => Ok(()),
    }
}

/// The bound for a currency, however it is capitalised.
fn bound<'m>(bounds: &'m BTreeMap<String, Amount>, currency: &str) -> Option<&'m Amount> {
    bounds.iter().find(|(code, _)| code.eq_ignore_ascii_case(currency)).map(|(_, amount)| amount)
}

fn price_sentence(settings: &Settings) -> Option<String> {
    let market = active(settings)?;
    let told = |word: &str, bounds: &BTreeMap<String, Amount>| -> Vec<String> {
        bounds.iter().map(|(code, amount)| format!("{word} {amount} {code}")).collect()
    };
    let bounds = [told("at least", &market.price_min), told("at most", &market.price_max)].concat();
    (!bounds.is_empty()).then(|| format!("Prices are {}.", bounds.join(", ")))
}

/// Bounds are by currency: a number means nothing without one.
fn price(event: &Event, context: &Context<'_>) -> Decision {
    const RULE: &str = "market.price";
    let market = &context.config.market;
    if market.price_min.is_empty() && market.price_max.is_empty() {
        return Ok(());
    }
    let (Some(amount), Some(code)) = money(event) else { return Ok(()) };
    let shown = quoted(&code);
    match (bound(&market.price_min, &code), bound(&market.price_max, &code)) {
        (Some(least), _) if amount < *least => blocked(
            RULE,
            format!(
                "a price of {} {shown} is less than the {least} that this market asks for at least",
                quoted(&amount.to_string())
            ),
        ),
        (_, Some(most)) if amount > *most => blocked(
            RULE,
            format!(
                "a price of {} {shown} is more than the {most} that this market allows",
                quoted(&amount.to_string())
            ),
        ),
        _ => Ok(()),
    }
}

/// How many pictures offers must have, in words; `None` for any number.
fn wanted_images(market: &Market) -> Option<String> {
    match (market.images_min, market.images_max) {
        (0, 0) => None,
        (1, 0) => Some("at least 1 picture".to_owned()),
        (least, 0) => Some(format!("at least {least} pictures")),
        (0, most) => Some(format!("at most {most} pictures")),
        (least, most) => Some(format!("{least} to {most} pictures")),
    }
}

fn images(event: &Event, context: &Context<'_>) -> Decision {
    let market = &context.config.market;
    let images = match event.kind {
        PRODUCT | AUCTION => nip15::Offer::of(event).images,
        LISTING | DRAFT => nip99::images(event),
        _ => return Ok(()),
    };
    let is_too_many = market.images_max > 0 && images > market.images_max;
    if images >= market.images_min && !is_too_many {
        return Ok(());
    }
    let wanted = wanted_images(market).unwrap_or_default();
    blocked("market.images", format!("offers here have {wanted}, this one has {images}"))
}

fn by_author(event: &Event, kind: Kind, most: usize) -> Want {
    Want::ByAuthor { author: event.pubkey, kind, most }
}

/// The address of an offer that counts, where offers are counted.
fn counted_address(event: &Event, most: usize) -> Option<String> {
    Some(event).filter(|event| most > 0 && COUNTED.contains(&event.kind)).and_then(Event::address)
}

fn number_wants(event: &Event, _: &Related, context: &Context<'_>) -> Vec<Want> {
    let most = context.config.market.listings_per_author_max;
    let Some(address) = counted_address(event, most) else { return Vec::new() };
    let offers = COUNTED.iter().map(|&kind| by_author(event, kind, most));
    [Want::Address(address)].into_iter().chain(offers).collect()
}

/// Refuses one offer too many. A new version of what is offered already is always taken: that is how a thing
/// is marked as sold.
fn number(event: &Event, related: &Related, context: &Context<'_>) -> Decision {
    let most = context.config.market.listings_per_author_max;
    let Some(address) = counted_address(event, most) else { return Ok(()) };
    if related.one(&Want::Address(address)).is_some() {
        return Ok(());
    }
    // What has expired waits to be swept and no longer counts.
    let is_live = |event: &Event| nip40::expires_at(event).is_none_or(|time| time > context.now);
    let offers = COUNTED.iter().flat_map(|&kind| related.of(&by_author(event, kind, most)));
    if offers.filter(|found| is_live(&found.event)).count() < most {
        return Ok(());
    }
    let sentence = format!(
        "its author has {most} products, auctions and listings here, as many as one may have; delete one first"
    );
    Err(Refusal::new(Prefix::Restricted, "market.listings_per_author", sentence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nips::nip15::testing::{NOW, event, related, with_settings};

    /// An offer or a stall of this kind, in this currency at this price, with pictures and categories.
    fn offer(kind: u16, price: &str, currency: &str, images: usize, categories: &[&str]) -> Event {
        let content = match kind {
            30_402 | 30_403 => String::new(),
            _ => {
                let images = vec!["https://example.com/a.jpg"; images];
                format!(
                    r#"{{"price":{price},"currency":"{currency}","images":{}}}"#,
                    serde_json::json!(images)
                )
            }
        };
        let mut tags = vec![vec!["price", price, currency]];
        tags.extend(vec![vec!["image", "https://example.com/a.jpg"]; images]);
        tags.extend(categories.iter().map(|category| vec!["t", category]));
        let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
        event(1, kind, NOW, &tags, &content)
    }

    fn said(market: &str, event: &Event) -> Option<String> {
        let mut settings =
            Settings { market: toml::from_str(market).expect("settings"), ..Settings::default() };
        let decide = |settings: &Settings| {
            with_settings(settings, |context| {
                RULES.iter().filter(|rule| (rule.sentence)(settings).is_some()).find_map(|rule| {
                    match rule.check {
                        Check::Admit(check) => check(event, context).err(),
                        _ => None,
                    }
                })
            })
        };
        assert_eq!(decide(&settings), None, "a market that is not enabled asks for nothing");
        settings.market.enabled = true;
        let refusal = decide(&settings)?;
        assert_eq!(refusal.prefix, Prefix::Blocked);
        Some(format!("{} ({})", refusal.sentence, refusal.rule))
    }

    #[test]
    fn currencies_are_compared_but_for_capitals_and_never_converted() {
        let only = r#"currencies = ["SATS", "eur"]"#;
        let refused =
            |code: &str| Some(format!("the currency here is SATS or eur, not {code} (market.currency)"));
        for kind in [30_017, 30_018, 30_402, 30_403] {
            for (code, expected) in [
                ("SATS", None),
                ("sats", None),
                ("Eur", None),
                ("sat", refused("sat")),
                ("BTC", refused("BTC")),
                ("USD", refused("USD")),
            ] {
                assert_eq!(said(only, &offer(kind, "1", code, 0, &[])), expected, "{kind} {code}");
                assert_eq!(said("", &offer(kind, "1", code, 0, &[])), None, "any currency");
            }
        }
        let shown = "x".repeat(20);
        assert_eq!(said(only, &offer(30_018, "1", &"x".repeat(500), 0, &[])), refused(&shown));
        // An auction's currency is its stall's, which was looked at when the stall came.
        assert_eq!(said(only, &offer(30_020, "1", "USD", 0, &[])), None);
        assert_eq!(
            said(only, &event(1, 30_402, NOW, &[], "")),
            None,
            "whether there is a price is another rule's"
        );
    }

    #[test]
    fn prices_lie_within_the_bounds_of_their_currency_to_the_last_digit() {
        let bounds = r#"
            price_min = { usd = "0.10", sats = 100 }
            price_max = { USD = 20, eur = "99.99" }
        "#;
        let less = |price: &str, code: &str, least: &str| {
            Some(format!(
                "a price of {price} {code} is less than the {least} that this market asks for at least (market.price)"
            ))
        };
        let more = |price: &str, code: &str, most: &str| {
            Some(format!(
                "a price of {price} {code} is more than the {most} that this market allows (market.price)"
            ))
        };
        let table = [
            ("0.1", "USD", None),
            ("0.09", "USD", less("0.09", "USD", "0.1")),
            ("20.00", "usd", None),
            ("20.01", "usd", more("20.01", "usd", "20")),
            ("99.99", "EUR", None),
            ("100", "EUR", more("100", "EUR", "99.99")),
            ("0", "EUR", None),
            ("99", "sats", less("99", "sats", "100")),
            ("100", "sats", None),
            ("1000000000", "sats", None),
            ("0", "GBP", None),
        ];
        for kind in [30_018, 30_402, 30_403] {
            for (price, code, expected) in &table {
                assert_eq!(
                    said(bounds, &offer(kind, price, code, 0, &[])),
                    *expected,
                    "{kind}: {price} {code}"
                );
            }
        }
        // What a double can't tell apart a listing's decimals can.
        let close = r#"price_min = { btc = "0.10000000000000000001" }"#;
        assert!(said(close, &offer(30_402, "0.1", "btc", 0, &[])).is_some());
        assert_eq!(said(close, &offer(30_402, "0.10000000000000000001", "btc", 0, &[])), None);
        assert_eq!(
            said(bounds, &offer(30_020, "0", "usd", 0, &[])),
            None,
            "bids make the price of an auction"
        );
    }

    #[test]
    fn offers_have_as_many_pictures_as_the_market_asks_for() {
        let table = [
            ("", 0, None),
            ("images_min = 2", 1, Some("at least 2 pictures")),
            ("images_min = 2", 2, None),
            ("images_max = 2", 2, None),
            ("images_max = 2", 3, Some("at most 2 pictures")),
            ("images_min = 1\nimages_max = 2", 0, Some("1 to 2 pictures")),
            ("images_min = 1\nimages_max = 2", 1, None),
            ("images_min = 1\nimages_max = 2", 3, Some("1 to 2 pictures")),
        ];
        for (settings, images, wanted) in table {
            for kind in [30_018, 30_020, 30_402, 30_403] {
                let expected = wanted.map(|wanted| {
                    format!("offers here have {wanted}, this one has {images} (market.images)")
                });
                assert_eq!(
                    said(settings, &offer(kind, "1", "USD", images, &[])),
                    expected,
                    "{kind} {settings}"
                );
            }
            assert_eq!(
                said(settings, &offer(30_017, "1", "USD", images, &[])),
                None,
                "stalls have no pictures"
            );
        }
    }

    #[test]
    fn one_category_of_the_market_is_enough() {
        let only = r#"categories = ["fruit", "Möbel"]"#;
        let refused = Some(
            "none of its t tags is a category of this market: fruit or Möbel (market.category)".to_owned(),
        );
        let table: [(&[&str], Option<String>); 6] = [
            (&["fruit"], None),
            (&["shopstr", "FRUIT"], None),
            (&["MÖBEL"], None),
            (&["fruits"], refused.clone()),
            (&["shopstr"], refused.clone()),
            (&[], refused),
        ];
        for (categories, expected) in table {
            for kind in [30_018, 30_020, 30_402, 30_403] {
                assert_eq!(
                    said(only, &offer(kind, "1", "USD", 0, categories)),
                    expected,
                    "{kind} {categories:?}"
                );
            }
            for kind in [30_017, 1] {
                assert_eq!(
                    said(only, &offer(kind, "1", "USD", 0, categories)),
                    None,
                    "{kind} offers nothing"
                );
            }
        }
    }

    #[test]
    fn an_author_offers_so_many_things_and_may_change_each() {
        let thing = |author: u8, kind: u16, name: &str| event(author, kind, NOW, &[&["d", name]], "");
        let expires = |at: u64| event(1, 30_402, NOW, &[&["d", "old"], &["expiration", &at.to_string()]], "");
        let two = [thing(1, 30_402, "a"), thing(1, 30_018, "b")];
        let refused = "its author has 3 products, auctions and listings here, as many as one may have; delete one first";
        let table = [
            (vec![], 3, thing(1, 30_402, "x"), true),
            (vec![], 3, thing(1, 30_402, "a"), true),
            (vec![thing(1, 30_402, "c")], 3, thing(1, 30_402, "x"), false),
            (vec![thing(1, 30_020, "c")], 3, thing(1, 30_018, "x"), false),
            (vec![thing(1, 30_018, "c")], 3, thing(1, 30_020, "x"), false),
            (vec![thing(1, 30_020, "c")], 0, thing(1, 30_402, "x"), true),
            (vec![thing(1, 30_020, "c")], 4, thing(1, 30_402, "x"), true),
            // A new version of what there is already; the same name in another kind is another thing.
            (vec![thing(1, 30_020, "c")], 3, thing(1, 30_020, "c"), true),
            (vec![thing(1, 30_020, "c")], 3, thing(1, 30_018, "c"), false),
            // Other people's, drafts and stalls do not count, and are not counted.
            (vec![thing(2, 30_402, "c")], 3, thing(1, 30_402, "x"), true),
            (vec![thing(1, 30_403, "c"), thing(1, 30_017, "c")], 3, thing(1, 30_402, "x"), true),
            (vec![thing(1, 30_020, "c")], 3, thing(1, 30_403, "x"), true),
            (vec![thing(1, 30_020, "c")], 3, thing(1, 30_017, "x"), true),
            (vec![expires(NOW + 1)], 3, thing(1, 30_402, "x"), false),
            (vec![expires(NOW)], 3, thing(1, 30_402, "x"), true),
        ];
        for (more, most, new, is_taken) in table {
            let mut settings = Settings::default();
            settings.market.listings_per_author_max = most;
            let stored = [&two[..], &more[..]].concat();
            let decided = with_settings(&settings, |context| {
                number(&new, &related(&new, &stored, context, number_wants), context)
            });
            let expected = if is_taken {
                Ok(())
            } else {
                Err(Refusal::new(Prefix::Restricted, "market.listings_per_author", refused))
            };
            assert_eq!(decided, expected, "{new:?} with {more:?}");
        }
    }

    #[test]
    fn each_rule_says_what_it_asks_for() {
        let market = r#"
            enabled = true
            currencies = ["sats", "EUR"]
            categories = ["fruit"]
            price_min = { sats = 1 }
            price_max = { EUR = "99.50" }
            images_min = 1
            listings_per_author_max = 20
        "#;
        let settings = Settings { market: toml::from_str(market).expect("settings"), ..Settings::default() };
        let sentences: Vec<String> = RULES.iter().filter_map(|rule| (rule.sentence)(&settings)).collect();
        let expected = [
            "Offers are of the category fruit, in a t tag.",
            "Stalls, products and listings have the currency sats or EUR.",
            "Prices are at least 1 sats, at most 99.5 EUR.",
            "Offers have at least 1 picture.",
            "One merchant has at most 20 products, auctions and listings here.",
        ];
        assert_eq!(sentences, expected);
    }
}
