//! NIP-15: products and auctions belong to a stall of their author, and ship where it ships. In: an event
//! and its stall. Out: a decision. Pure.

use crate::event::Event;
use crate::rule::{Context, Decision, Prefix, Refusal, Related, Want};

use super::content::{AUCTION, Goods, PRODUCT, STALL, zones_of};

/// Zones that a refusal names; further ones are counted.
const ZONES_TOLD_MAX: usize = 3;
/// Characters of a zone's name that a refusal repeats.
const ZONE_CHARS_MAX: usize = 40;

/// The goods of a product or an auction, and the address of their stall: it is the author's by its address.
fn goods_and_stall(event: &Event) -> Option<(Goods, Want)> {
    let goods = Some(event).filter(|event| [PRODUCT, AUCTION].contains(&event.kind)).and_then(Goods::of)?;
    let stall = Want::Address(format!("{}:{}:{}", STALL, event.pubkey, goods.stall));
    Some((goods, stall))
}

/// What is looked up for a product or an auction: its stall.
pub(super) fn wants(event: &Event, _: &Related, _: &Context<'_>) -> Vec<Want> {
    goods_and_stall(event).into_iter().map(|(_, stall)| stall).collect()
}

/// Refuses goods whose stall is not here, or does not ship to a zone for which they name a cost.
pub(super) fn check(event: &Event, related: &Related, _: &Context<'_>) -> Decision {
    let refuse = |sentence: String| Err(Refusal::new(Prefix::Invalid, "market.stall", sentence));
    let Some((goods, stall)) = goods_and_stall(event) else { return Ok(()) };
    let Some(stall) = related.one(&stall) else {
        return refuse(
            "the stall that stall_id names is not here, or is another merchant's; publish the stall first"
                .to_owned(),
        );
    };
    let known = zones_of(&stall.event);
    let unknown: Vec<&String> = goods.zones.iter().filter(|zone| !known.contains(zone)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = unknown
        .iter()
        .take(ZONES_TOLD_MAX)
        .map(|zone| format!("{:?}", zone.chars().take(ZONE_CHARS_MAX).collect::<String>()))
        .collect();
    let more = match unknown.len() - told.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    refuse(format!("the stall has no shipping zone {}{more}", told.join(", ")))
}
