//! NIP-15's auctions: what a bid must be, given the auction, the bids before it and what the merchant said;
//! who may confirm; when an auction can no longer change. In: an event and the stored ones that bear on it.
//! Out: a decision. Pure, and the same on every machine that sees events in the same order.

use crate::event::{Event, Id, Verified};
use crate::rule::{Arrived, Context, Decision, Prefix, Refusal, Related, Want};

use super::content::{AUCTION, BID, CONFIRMATION, Terms, Verdict, bid_amount};

/// Bids that a new one is compared with, the last arrived ones. One would do, were none ever rejected: each
/// was higher than those before it.
const BIDS_MAX: usize = 64;
/// Confirmations of one auction whose extensions and rejections count, the last arrived ones. They are read
/// only for a bid that would be refused without them.
const CONFIRMATIONS_MAX: usize = 500;
/// Confirmations of one bid among which a rejection is looked for. Nothing but rejections follows one, so
/// the last one tells; the others leave room for what came before these rules were in force.
const CONFIRMATIONS_OF_BID_MAX: usize = 16;

fn refuse(prefix: Prefix, rule: &'static str, sentence: impl Into<std::borrow::Cow<'static, str>>) -> Decision {
    Err(Refusal::new(prefix, rule, sentence))
}

/// The different ids in the `e` tags.
pub(super) fn named(event: &Event) -> Vec<Id> {
    let mut ids: Vec<Id> = event.tags.values("e").filter_map(Id::from_hex).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The one auction that a bid names. A bid that names several is refused by its form: it would count in
/// auctions whose terms it was not held against.
pub(super) fn auction_of(bid: &Event) -> Option<Id> {
    match named(bid)[..] {
        [auction] => Some(auction),
        _ => None,
    }
}

fn naming(kind: crate::event::Kind, id: &Id, most: usize) -> Want {
    Want::Naming { kind, letter: b'e', value: id.to_string(), most }
}

/// An auction with its bids and what its merchant said to them, as far as they were looked up.
struct Book<'r> {
    auction: &'r Event,
    terms: Terms,
    bids: &'r [Arrived],
    confirmations: &'r [Arrived],
}

impl<'r> Book<'r> {
    /// The auction; `None` when it is not stored, or is none, or says nothing about bids.
    fn open(id: Id, related: &'r Related) -> Option<Book<'r>> {
        let auction = &related.one(&Want::Id(id)).filter(|found| found.event.kind == AUCTION)?.event;
        Some(Book {
            auction,
            terms: Terms::of(auction)?,
            bids: related.of(&naming(BID, &id, BIDS_MAX)),
            confirmations: related.of(&naming(CONFIRMATION, &id, CONFIRMATIONS_MAX)),
        })
    }

    /// What the merchant said: what others say is refused, but may have been stored before these rules were
    /// in force.
    fn verdicts(&self) -> impl Iterator<Item = (&'r Event, Verdict)> {
        let merchant = self.auction.pubkey;
        let by_merchant = self.confirmations.iter().filter(move |found| found.event.pubkey == merchant);
        by_merchant.map(|found| (&found.event, Verdict::of(&found.event)))
    }

    /// The bid that a new one must exceed. Every bid that stands was higher than those that stood before
    /// it, so the one that arrived last is the highest; the largest of several is taken to be safe. What
    /// the merchant has rejected no longer stands, else one absurd bid would end every auction.
    fn highest(&self) -> Option<u64> {
        let rejected: Vec<Id> =
            self.verdicts().filter(|(_, verdict)| verdict.is_rejection).flat_map(|(event, _)| named(event)).collect();
        let amount = |found: &Arrived| bid_amount(&found.event.content);
        let standing = self.bids.iter().filter(|found| !rejected.contains(&found.event.id)).filter_map(amount).max();
        match standing {
            // What lies behind so many rejected bids is not known.
            None if self.bids.len() >= BIDS_MAX => self.bids.iter().filter_map(amount).max(),
            highest => highest,
        }
    }

    /// Whether, and why, the auction takes no bids at this time. Its last second is the one before
    /// `start_date + duration + extensions`.
    fn closed_at(&self, time: u64) -> Option<Closed> {
        let Some(start) = self.terms.start_date else { return Some(Closed::Undated) };
        let extensions = self.verdicts().map(|(_, verdict)| verdict.extension_seconds);
        let seconds = extensions.fold(self.terms.duration_seconds, u64::saturating_add);
        let end = start.saturating_add(seconds);
        match time {
            time if time < start => Some(Closed::Until(start - time)),
            time if time >= end => Some(Closed::Since(time - end)),
            _ => None,
        }
    }
}

/// Why an auction takes no bids at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closed {
    /// It has no `start_date` yet.
    Undated,
    /// It begins in so many seconds.
    Until(u64),
    /// It ended so many seconds before, none being the first second after it.
    Since(u64),
}

/// What is looked up for a bid: the auction and the last bids; confirmations only where they could save it.
pub(super) fn bid_wants(bid: &Event, related: &Related, context: &Context<'_>) -> Vec<Want> {
    let (Some(id), Some(amount)) = (auction_of(bid), bid_amount(&bid.content)) else { return Vec::new() };
    let mut wants = vec![Want::Id(id)];
    if let Some(book) = Book::open(id, related) {
        wants.push(naming(BID, &id, BIDS_MAX));
        let is_late = [bid.created_at, context.now].map(|time| book.closed_at(time).is_some()).contains(&true);
        if is_late || book.highest().is_some_and(|highest| amount <= highest) {
            wants.push(naming(CONFIRMATION, &id, CONFIRMATIONS_MAX));
        }
    }
    wants
}

/// Refuses a bid that is not above the start and every bid before it, or outside of the auction's time.
pub(super) fn bid(bid: &Verified, related: &Related, context: &Context<'_>) -> Decision {
    const RULE: &str = "market.bid";
    let (Some(id), Some(amount)) = (auction_of(bid), bid_amount(&bid.content)) else { return Ok(()) };
    let Some(book) = Book::open(id, related) else {
        let sentence = "the auction that this bid names is not here; bids name the newest version of an auction by its id";
        return refuse(Prefix::Invalid, RULE, sentence);
    };
    if bid.pubkey == book.auction.pubkey {
        return refuse(Prefix::Restricted, RULE, "merchants do not bid in their own auctions");
    }
    // What a bidder says of the time is held against the auction, and so is the time that it is now: else
    // a bid made too late could be dated back.
    for (time, clock) in [(context.now, "now"), (bid.created_at, "its created_at")] {
        match book.closed_at(time) {
            None => {}
            Some(Closed::Undated) => {
                return refuse(Prefix::Invalid, RULE, "the auction has no start_date yet, bids can come when it has");
            }
            Some(Closed::Until(seconds)) => {
                let sentence = format!("the auction takes no bids before its start_date, {clock} is {seconds} seconds too early");
                return refuse(Prefix::Invalid, RULE, sentence);
            }
            Some(Closed::Since(seconds)) => {
                let sentence = format!("the auction is over, {clock} is {seconds} seconds past its end");
                return refuse(Prefix::Blocked, RULE, sentence);
            }
        }
    }
    let least = book.terms.starting_bid;
    if amount < least {
        return refuse(Prefix::Invalid, RULE, format!("a bid of {amount} is less than the starting bid of {least}"));
    }
    match book.highest() {
        Some(highest) if amount <= highest => {
            refuse(Prefix::Invalid, RULE, format!("a bid of {amount} is not above the highest bid of {highest}"))
        }
        _ => Ok(()),
    }
}

/// What is looked up for a version of an auction: the stored one, and whether it has a bid.
pub(super) fn change_wants(auction: &Event, related: &Related, _: &Context<'_>) -> Vec<Want> {
    let Some(address) = auction.address().filter(|_| auction.kind == AUCTION).map(Want::Address) else {
        return Vec::new();
    };
    let bids = related.one(&address).map(|stored| naming(BID, &stored.event.id, 1));
    [address].into_iter().chain(bids).collect()
}

/// Refuses another version of an auction that has a bid: bids name one version, and would be lost with it.
pub(super) fn change(auction: &Verified, related: &Related, context: &Context<'_>) -> Decision {
    let wants = change_wants(auction, related, context);
    match wants.get(1).and_then(|bids| related.one(bids)) {
        None => Ok(()),
        Some(_) => {
            let sentence = "this auction has a bid, it can no longer be changed";
            refuse(Prefix::Blocked, "market.auction_change", sentence)
        }
    }
}

/// The bid and the auction that a confirmation names, in any order, of those that are stored.
fn confirmed<'r>(confirmation: &Event, related: &'r Related) -> (Option<&'r Event>, Option<&'r Event>) {
    let found: Vec<&Event> = named(confirmation)
        .into_iter()
        .take(2)
        .filter_map(|id| related.one(&Want::Id(id)).map(|found| &found.event))
        .collect();
    let of_kind = |kind| found.iter().copied().find(|event| event.kind == kind);
    (of_kind(BID), of_kind(AUCTION))
}

/// What is looked up for a confirmation: what it names, and what was said of the bid before.
pub(super) fn confirmation_wants(confirmation: &Event, related: &Related, _: &Context<'_>) -> Vec<Want> {
    if confirmation.kind != CONFIRMATION {
        return Vec::new();
    }
    let mut wants: Vec<Want> = named(confirmation).into_iter().take(2).map(Want::Id).collect();
    if let (Some(bid), _) = confirmed(confirmation, related) {
        wants.push(naming(CONFIRMATION, &bid.id, CONFIRMATIONS_OF_BID_MAX));
    }
    wants
}

/// Refuses a confirmation by anybody but the merchant, of a bid in another auction, and any that would take
/// a rejection back.
pub(super) fn confirmation(confirmation: &Verified, related: &Related, _: &Context<'_>) -> Decision {
    const RULE: &str = "market.confirmation";
    if confirmation.kind != CONFIRMATION {
        return Ok(());
    }
    let (bid, auction) = match confirmed(confirmation, related) {
        (Some(bid), Some(auction)) => (bid, auction),
        (_, None) => return refuse(Prefix::Invalid, RULE, "the auction that it names is not here"),
        (None, _) => return refuse(Prefix::Invalid, RULE, "the bid that it names is not here"),
    };
    if auction_of(bid) != Some(auction.id) {
        return refuse(Prefix::Invalid, RULE, "the bid that it names was made in another auction");
    }
    if confirmation.pubkey != auction.pubkey {
        return refuse(Prefix::Restricted, RULE, "only the auction's merchant confirms its bids");
    }
    let before = related.of(&naming(CONFIRMATION, &bid.id, CONFIRMATIONS_OF_BID_MAX));
    let was_rejected = before
        .iter()
        .filter(|found| found.event.pubkey == auction.pubkey)
        .any(|found| Verdict::of(&found.event).is_rejection);
    if was_rejected && !Verdict::of(confirmation).is_rejection {
        return refuse(Prefix::Blocked, RULE, "a bid that was rejected can not be approved later");
    }
    Ok(())
}
