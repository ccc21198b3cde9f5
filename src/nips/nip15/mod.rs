//! NIP-15, marketplaces (nips/15.md): stalls, products, marketplace pages, auctions, bids and what merchants
//! say to them. In: events, the settings, stored events. Out: decisions. Never sees orders: they travel in
//! private messages.

mod auction;
mod content;
mod fields;
mod stall;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use content::Offer;
pub use content::{AUCTION, BID, CONFIRMATION, PAGE, PRODUCT, STALL};
pub(crate) use fields::is_web_url;

use crate::config::Settings;
use crate::event::{Event, Kind};
use crate::rule::{Check, Decision, Prefix, Refusal, Rule};

const ENABLED: &[&str] = &["market.enabled"];

/// The rules of NIP-15: each content by itself, then what must agree with what is stored.
pub const RULES: &[Rule] = &[
    Rule {
        id: "market.stall_content",
        settings: ENABLED,
        sentence: |settings| {
            say(
                settings,
                "A stall (kind 30017) has an id that is its d tag, a name, a currency and its shipping zones with their costs.",
            )
        },
        check: Check::Admit(|event, _| content(event, STALL, "market.stall_content")),
    },
    Rule {
        id: "market.product_content",
        settings: ENABLED,
        sentence: |settings| {
            say(
                settings,
                "A product (kind 30018) has an id that is its d tag, its stall's id, a name, a currency, a price and a quantity.",
            )
        },
        check: Check::Admit(|event, _| content(event, PRODUCT, "market.product_content")),
    },
    Rule {
        id: "market.page_content",
        settings: ENABLED,
        sentence: |settings| {
            say(
                settings,
                "A marketplace page (kind 30019) says how it looks, and lists merchants by their public keys.",
            )
        },
        check: Check::Admit(|event, _| content(event, PAGE, "market.page_content")),
    },
    Rule {
        id: "market.auction_content",
        settings: ENABLED,
        sentence: |settings| {
            say(
                settings,
                "An auction (kind 30020) has an id that is its d tag, its stall's id, a name, a starting bid and a duration in seconds.",
            )
        },
        check: Check::Admit(|event, _| content(event, AUCTION, "market.auction_content")),
    },
    Rule {
        id: "market.bid_content",
        settings: ENABLED,
        sentence: |settings| {
            say(settings, "A bid (kind 1021) is a whole number and names one auction in an e tag.")
        },
        check: Check::Admit(|event, _| bid_content(event)),
    },
    Rule {
        id: "market.confirmation_content",
        settings: ENABLED,
        sentence: |settings| {
            say(
                settings,
                "A confirmation (kind 1022) says accepted, rejected, pending or winner, and names the bid and the auction in e tags.",
            )
        },
        check: Check::Admit(|event, _| confirmation_content(event)),
    },
    Rule {
        id: "market.stall",
        settings: ENABLED,
        sentence: |settings| {
            say(
                settings,
                "Products and auctions belong to a stall of their merchant that is here, and ship to its zones only.",
            )
        },
        check: Check::Place {
            wants: stall::wants,
            check: |event, related, context| stall::check(event, related, context),
        },
    },
    Rule {
        id: "market.auction_change",
        settings: ENABLED,
        sentence: |settings| say(settings, "An auction that has a bid can not be changed."),
        check: Check::Place {
            wants: auction::change_wants,
            check: |event, related, context| auction::change(event, related, context),
        },
    },
    Rule {
        id: "market.bid",
        settings: ENABLED,
        sentence: |settings| {
            say(
                settings,
                "A bid is at least the starting bid, above all bids before it, in the auction's time, and not the merchant's own.",
            )
        },
        check: Check::Place {
            wants: auction::bid_wants,
            check: |event, related, context| auction::bid(event, related, context),
        },
    },
    Rule {
        id: "market.confirmation",
        settings: ENABLED,
        sentence: |settings| {
            say(settings, "Only an auction's merchant confirms its bids, and a rejected bid stays rejected.")
        },
        check: Check::Place {
            wants: auction::confirmation_wants,
            check: |event, related, context| auction::confirmation(event, related, context),
        },
    },
];

/// The sentence, in a community that is a market.
fn say(settings: &Settings, sentence: &str) -> Option<String> {
    settings.market.enabled.then(|| sentence.to_owned())
}

fn invalid(rule: &'static str, sentence: String) -> Decision {
    Err(Refusal::new(Prefix::Invalid, rule, sentence))
}

/// Holds the content of an event of this kind against the NIP's fields.
fn content(event: &Event, kind: Kind, rule: &'static str) -> Decision {
    match Some(event).filter(|event| event.kind == kind).and_then(content::faults) {
        None => Ok(()),
        Some(faults) => invalid(rule, faults),
    }
}

fn bid_content(event: &Event) -> Decision {
    const RULE: &str = "market.bid_content";
    if event.kind != BID {
        return Ok(());
    }
    if content::bid_amount(&event.content).is_none() {
        return invalid(RULE, "the content of a bid must be a whole number, in digits only".to_owned());
    }
    match auction::auction_of(event) {
        Some(_) => Ok(()),
        None => invalid(RULE, "a bid must name one auction by its id, in an e tag".to_owned()),
    }
}

fn confirmation_content(event: &Event) -> Decision {
    const RULE: &str = "market.confirmation_content";
    content(event, CONFIRMATION, RULE)?;
    if event.kind != CONFIRMATION || auction::named(event).len() == 2 {
        return Ok(());
    }
    invalid(RULE, "a confirmation must name the bid and the auction by their ids, in two e tags".to_owned())
}
