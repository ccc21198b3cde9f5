//! What NIP-15 says that the content of each of its kinds holds. In: an event. Out: every fault of its
//! content in one sentence, or what the other rules need of it. Pure.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::fields::{Faults, Field, Shape, check, object, optional, required};
use crate::amount::Amount;
use crate::event::{Event, Kind};

/// A stall: its name, its currency, where it ships to.
pub const STALL: Kind = Kind(30_017);
/// A product of a stall.
pub const PRODUCT: Kind = Kind(30_018);
/// How a marketplace looks, and whose stalls it shows.
pub const PAGE: Kind = Kind(30_019);
/// A product that is sold to the highest bid.
pub const AUCTION: Kind = Kind(30_020);
/// A bid in an auction.
pub const BID: Kind = Kind(1_021);
/// What the merchant says to a bid.
pub const CONFIRMATION: Kind = Kind(1_022);

const STALL_ZONE: &[Field] = &[
    required("id", Shape::Name),
    optional("name", Shape::Text),
    required("cost", Shape::Amount),
    // Earlier texts of the NIP had `countries` in its place, which clients still write.
    optional("regions", Shape::Texts),
];

const STALL_FIELDS: &[Field] = &[
    required("id", Shape::Name),
    required("name", Shape::Name),
    optional("description", Shape::Text),
    required("currency", Shape::Name),
    required("shipping", Shape::Objects(STALL_ZONE)),
];

const EXTRA_COST: &[Field] = &[required("id", Shape::Name), required("cost", Shape::Amount)];

const PRODUCT_FIELDS: &[Field] = &[
    required("id", Shape::Name),
    required("stall_id", Shape::Name),
    required("name", Shape::Name),
    optional("description", Shape::Text),
    optional("images", Shape::WebUrls),
    required("currency", Shape::Name),
    required("price", Shape::Amount),
    required("quantity", Shape::WholeOrNull),
    optional("specs", Shape::Pairs),
    optional("shipping", Shape::Objects(EXTRA_COST)),
];

const PAGE_LOOKS: &[Field] = &[
    optional("picture", Shape::WebUrlOrEmpty),
    optional("banner", Shape::WebUrlOrEmpty),
    optional("theme", Shape::Text),
    required("darkMode", Shape::Flag),
];

const PAGE_FIELDS: &[Field] = &[
    optional("name", Shape::Text),
    optional("about", Shape::Text),
    required("ui", Shape::Object(PAGE_LOOKS)),
    optional("merchants", Shape::Keys),
];

const AUCTION_FIELDS: &[Field] = &[
    required("id", Shape::Name),
    required("stall_id", Shape::Name),
    required("name", Shape::Name),
    optional("description", Shape::Text),
    optional("images", Shape::WebUrls),
    required("starting_bid", Shape::Whole(0)),
    optional("start_date", Shape::Whole(0)),
    required("duration", Shape::Whole(1)),
    optional("specs", Shape::Pairs),
    optional("shipping", Shape::Objects(EXTRA_COST)),
];

const CONFIRMATION_FIELDS: &[Field] = &[
    required("status", Shape::OneOf(&["accepted", "rejected", "pending", "winner"])),
    optional("message", Shape::Text),
    optional("duration_extended", Shape::Whole(0)),
];

/// Everything that is wrong with the content of an event of one of these kinds, and with its `d` tag;
/// `None` when nothing is.
pub(super) fn faults(event: &Event) -> Option<String> {
    let (fields, has_id) = match event.kind {
        STALL => (STALL_FIELDS, true),
        PRODUCT => (PRODUCT_FIELDS, true),
        PAGE => (PAGE_FIELDS, false),
        AUCTION => (AUCTION_FIELDS, true),
        CONFIRMATION => (CONFIRMATION_FIELDS, false),
        _ => return None,
    };
    let object = match object(&event.content) {
        Ok(object) => object,
        Err(fault) => return Some(fault.to_owned()),
    };
    let mut faults = Faults::default();
    check(&object, fields, "", &mut faults);
    if has_id {
        match (event.tags.values("d").next(), object.get("id").and_then(Value::as_str)) {
            (None, _) => faults.add(|| "the d tag is missing, it must be the same as id".to_owned()),
            (Some(tag), Some(id)) if tag != id => {
                faults.add(|| "the d tag must be the same as id".to_owned())
            }
            _ => {}
        }
    }
    faults.sentence()
}

/// The amount of a bid: a whole number, written as JSON writes one.
pub(super) fn bid_amount(content: &str) -> Option<u64> {
    let is_plain = content.bytes().all(|byte| byte.is_ascii_digit());
    let has_one_form = content == "0" || !content.starts_with('0');
    (is_plain && has_one_form).then(|| content.parse().ok()).flatten()
}

fn texts_of<'v>(list: Option<&'v Value>, key: &str) -> Vec<&'v str> {
    let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|element| element.get(key)?.as_str()).collect()
}

/// What binds a product or an auction to its stall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Goods {
    /// The stall's `d`.
    pub(super) stall: String,
    /// The shipping zones that it names extra costs for.
    pub(super) zones: Vec<String>,
}

impl Goods {
    /// Reads the content of a product or an auction.
    pub(super) fn of(event: &Event) -> Option<Goods> {
        let object = object(&event.content).ok()?;
        let stall = object.get("stall_id")?.as_str()?.to_owned();
        let zones = texts_of(object.get("shipping"), "id").into_iter().map(str::to_owned).collect();
        Some(Goods { stall, zones })
    }
}

/// The shipping zones that a stall has; none when its content can't be read.
pub(super) fn zones_of(stall: &Event) -> Vec<String> {
    let object = object(&stall.content).unwrap_or_default();
    texts_of(object.get("shipping"), "id").into_iter().map(str::to_owned).collect()
}

/// What an auction says about its bids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// The least bid.
    pub(super) starting_bid: u64,
    /// When bids may come, in seconds since 1970; not known yet when `None`.
    pub(super) start_date: Option<u64>,
    /// For how many seconds, extensions aside.
    pub(super) duration_seconds: u64,
}

impl Terms {
    /// Reads the content of an auction; `None` when it holds no terms.
    pub(super) fn of(auction: &Event) -> Option<Terms> {
        let object = object(&auction.content).ok()?;
        let whole = |key: &str| object.get(key).and_then(Value::as_u64);
        Some(Terms {
            starting_bid: whole("starting_bid")?,
            start_date: whole("start_date"),
            duration_seconds: whole("duration")?,
        })
    }
}

/// What a confirmation says of a bid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether the bid no longer counts.
    pub(super) is_rejection: bool,
    /// By how many seconds the auction goes on longer.
    pub(super) extension_seconds: u64,
}

impl Verdict {
    /// Reads the content of a confirmation; what can't be read says nothing.
    pub(super) fn of(confirmation: &Event) -> Verdict {
        let object: Map<String, Value> = object(&confirmation.content).unwrap_or_default();
        Verdict {
            is_rejection: object.get("status").and_then(Value::as_str) == Some("rejected"),
            extension_seconds: object.get("duration_extended").and_then(Value::as_u64).unwrap_or(0),
        }
    }
}

/// What a market's own rules look at in a stall, a product or an auction: see `policy/market.rs`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Offer {
    /// The currency, as it is written. That of an auction is its stall's.
    pub(crate) currency: Option<String>,
    /// The price in that currency. An auction has none before it ends.
    pub(crate) price: Option<Amount>,
    /// How many pictures there are.
    pub(crate) images: usize,
}

impl Offer {
    /// Reads the content; what it does not say, or not as it must, stays empty.
    pub(crate) fn of(event: &Event) -> Offer {
        serde_json::from_str(&event.content).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Offer {
    /// Takes three fields out of an object and steps over the others, which are most of the text. Where a
    /// key comes twice the last one counts, as everywhere in these rules, and in clients.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Offer, D::Error> {
        struct OfferVisitor;
        impl<'de> Visitor<'de> for OfferVisitor {
            type Value = Offer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Offer, A::Error> {
                let mut offer = Offer::default();
                while let Some(key) = map.next_key::<Key>()? {
                    match key {
                        Key::Currency => {
                            offer.currency = map.next_value::<Value>()?.as_str().map(str::to_owned)
                        }
                        Key::Price => {
                            offer.price = map.next_value::<Value>()?.as_number().and_then(Amount::from_json);
                        }
                        Key::Images => {
                            offer.images = map.next_value::<Value>()?.as_array().map_or(0, Vec::len)
                        }
                        Key::Other => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(offer)
            }
        }
        deserializer.deserialize_map(OfferVisitor)
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Key {
    Currency,
    Price,
    Images,
    #[serde(other)]
    Other,
}
