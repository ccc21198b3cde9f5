//! A market's own rules (nips/market.md), for what is offered by NIP-15 and by NIP-99 alike: currencies,
//! categories, prices, pictures, and how much one merchant may offer. In: an event, the settings, the
//! author's stored offers. Out: a decision. Pure.

use std::collections::BTreeMap;

use crate::amount::Amount;
use crate::config::{Market, Settings};
use crate::event::{Event, Kind, Verified};
use crate::nips::nip15::{self, AUCTION, PRODUCT, STALL};
use crate::nips::nip99::{self, DRAFT, LISTING};
use crate::nips::nip40;
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Related, Rule, Want};

/// What is offered, drafts among it.
const OFFERS: [Kind; 4] = [PRODUCT, AUCTION, LISTING, DRAFT];
/// What counts as a listing of its author.
const COUNTED: [Kind; 3] = [PRODUCT, AUCTION, LISTING];
/// Characters of an author's own words that a refusal repeats.
const QUOTED_CHARS_MAX: usize = 20;

/// The rules of a market, cheap ones first.
pub const RULES: &[Rule] = &[
    Rule {
        id: "market.category",
        settings: &["market.enabled", "market.categories"],
        sentence: |settings| {
            let categories = active(settings)?.categories.join(", ");
            (!categories.is_empty()).then(|| format!("Offers have a t tag with one of these categories: {categories}."))
        },
        check: Check::Admit(category),
    },
    Rule {
        id: "market.currency",
        settings: &["market.enabled", "market.currencies"],
        sentence: |settings| {
            let currencies = active(settings)?.currencies.join(", ");
            (!currencies.is_empty()).then(|| format!("Stalls, products and listings name one of these currencies: {currencies}."))
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
        check: Check::Place { wants: number_wants, check: number },
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
        LISTING | DRAFT => {
            nip99::Price::of(event).map_or((None, None), |price| (Some(price.amount), Some(price.currency.to_owned())))
        }
        _ => (None, None),
    }
}

/// A client's own tag may stand beside the categories, so one that is allowed is enough.
fn category(event: &Event, context: &Context<'_>) -> Decision {
    let allowed = &context.config.market.categories;
    let is_allowed = |value: &str| allowed.iter().any(|category| category.eq_ignore_ascii_case(value));
    if allowed.is_empty() || !OFFERS.contains(&event.kind) || event.tags.values("t").any(is_allowed) {
        return Ok(());
    }
    blocked("market.category", format!("none of its t tags is a category of this market: {}", allowed.join(", ")))
}

fn currency(event: &Event, context: &Context<'_>) -> Decision {
    let allowed = &context.config.market.currencies;
    if allowed.is_empty() {
        return Ok(());
    }
    match money(event).1 {
        Some(code) if !allowed.iter().any(|currency| currency.eq_ignore_ascii_case(&code)) => blocked(
            "market.currency",
            format!("{} is not a currency of this market: {}", quoted(&code), allowed.join(", ")),
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
        (Some(least), _) if amount < *least => {
            blocked(RULE, format!("a price of {} {shown} is less than the {least} that this market asks for at least", quoted(&amount.to_string())))
        }
        (_, Some(most)) if amount > *most => {
            blocked(RULE, format!("a price of {} {shown} is more than the {most} that this market allows", quoted(&amount.to_string())))
        }
        _ => Ok(()),
    }
}

/// How many pictures offers must have, in words; `None` for any number.
fn wanted_images(market: &Market) -> Option<String> {
    match (market.images_min, market.images_max) {
        (0, 0) => None,
        (least, 0) => Some(format!("at least {least} pictures")),
        (0, most) => Some(format!("at most {most} pictures")),
        (least, most) => Some(format!("{least} to {most} pictures")),
    }
}

fn images(event: &Event, context: &Context<'_>) -> Decision {
    let market = &context.config.market;
    let Some(wanted) = wanted_images(market).filter(|_| OFFERS.contains(&event.kind)) else { return Ok(()) };
    let images = match event.kind {
        PRODUCT | AUCTION => nip15::Offer::of(event).images,
        _ => nip99::images(event),
    };
    let too_many = market.images_max > 0 && images > market.images_max;
    if images < market.images_min || too_many {
        return blocked("market.images", format!("offers here have {wanted}, this one has {images}"));
    }
    Ok(())
}

fn by_author(event: &Event, kind: Kind, most: usize) -> Want {
    Want::ByAuthor { author: event.pubkey, kind, most }
}

fn number_wants(event: &Event, _: &Related, context: &Context<'_>) -> Vec<Want> {
    let most = context.config.market.listings_per_author_max;
    match event.address() {
        Some(address) if most > 0 && COUNTED.contains(&event.kind) => {
            let offers = COUNTED.iter().map(|&kind| by_author(event, kind, most));
            [Want::Address(address)].into_iter().chain(offers).collect()
        }
        _ => Vec::new(),
    }
}

/// Refuses one offer too many. A new version of what is offered already is always taken: that is how a thing
/// is marked as sold.
fn number(event: &Verified, related: &Related, context: &Context<'_>) -> Decision {
    let most = context.config.market.listings_per_author_max;
    let Some(address) = event.address().filter(|_| most > 0 && COUNTED.contains(&event.kind)) else { return Ok(()) };
    if related.one(&Want::Address(address)).is_some() {
        return Ok(());
    }
    // What has expired waits to be swept and no longer counts.
    let is_live = |event: &Event| nip40::expires_at(event).is_none_or(|time| time > context.now);
    let offers = COUNTED.iter().flat_map(|&kind| related.of(&by_author(event, kind, most)));
    if offers.filter(|found| is_live(&found.event)).count() < most {
        return Ok(());
    }
    let sentence = format!("its author has {most} products, auctions and listings here, as many as one may have; delete one first");
    Err(Refusal::new(Prefix::Restricted, "market.listings_per_author", sentence))
}
