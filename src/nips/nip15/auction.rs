//! NIP-15's auctions: what a bid must be, given the auction, the bids before it and what the merchant said;
//! who may confirm; when an auction can no longer change. In: an event and the stored ones that bear on it.
//! Out: a decision. Pure, and the same on every machine that sees events in the same order.

use crate::event::{Event, Id, Kind};
use crate::rule::{Arrived, Context, Decision, Prefix, Refusal, Related, Want};
use crate::words::duration;

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

fn refuse(
    prefix: Prefix,
    rule: &'static str,
    sentence: impl Into<std::borrow::Cow<'static, str>>,
) -> Decision {
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

/// The auction that a bid names and how much it offers; `None` for what is no bid.
fn read_bid(event: &Event) -> Option<(Id, u64)> {
    let bid = Some(event).filter(|event| event.kind == BID)?;
    Some((auction_of(bid)?, bid_amount(&bid.content)?))
}

fn naming(kind: Kind, id: &Id, most: usize) -> Want {
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
        let rejected: Vec<Id> = self
            .verdicts()
            .filter(|(_, verdict)| verdict.is_rejection)
            .flat_map(|(event, _)| named(event))
            .collect();
        let amount = |found: &Arrived| read_bid(&found.event).map(|(_, amount)| amount);
        let standing =
            self.bids.iter().filter(|found| !rejected.contains(&found.event.id)).filter_map(amount).max();
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
            time if time >= end => Some(Closed::Since(time - end + 1)),
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
    /// It had its last second so many seconds before.
    Since(u64),
}

/// What is looked up for a bid: the auction and the last bids; confirmations only where they could save it.
pub(super) fn bid_wants(bid: &Event, related: &Related, context: &Context<'_>) -> Vec<Want> {
    let Some((id, amount)) = read_bid(bid) else { return Vec::new() };
    let mut wants = vec![Want::Id(id)];
    // What is wanted must not change once it is there: the question is what would be said without it.
    if let Some(book) = Book::open(id, related).map(|book| Book { confirmations: &[], ..book }) {
        wants.push(naming(BID, &id, BIDS_MAX));
        let is_late =
            [bid.created_at, context.now].map(|time| book.closed_at(time).is_some()).contains(&true);
        if is_late || book.highest().is_some_and(|highest| amount <= highest) {
            wants.push(naming(CONFIRMATION, &id, CONFIRMATIONS_MAX));
        }
    }
    wants
}

/// Refuses a bid that is not above the start and every bid before it, or outside of the auction's time.
pub(super) fn bid(bid: &Event, related: &Related, context: &Context<'_>) -> Decision {
    const RULE: &str = "market.bid";
    let Some((id, amount)) = read_bid(bid) else { return Ok(()) };
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
                return refuse(
                    Prefix::Invalid,
                    RULE,
                    "the auction has no start_date yet, bids can come when it has",
                );
            }
            Some(Closed::Until(seconds)) => {
                let sentence = format!(
                    "the auction takes no bids before its start_date, {clock} is {} too early",
                    duration(seconds)
                );
                return refuse(Prefix::Invalid, RULE, sentence);
            }
            Some(Closed::Since(seconds)) => {
                let sentence = format!("the auction is over, {clock} is {} too late", duration(seconds));
                return refuse(Prefix::Blocked, RULE, sentence);
            }
        }
    }
    let least = book.terms.starting_bid;
    if amount < least {
        return refuse(
            Prefix::Invalid,
            RULE,
            format!("a bid of {amount} is less than the starting bid of {least}"),
        );
    }
    match book.highest() {
        Some(highest) if amount <= highest => refuse(
            Prefix::Invalid,
            RULE,
            format!("a bid of {amount} is not above the highest bid of {highest}"),
        ),
        _ => Ok(()),
    }
}

/// What is looked up for a version of an auction: the stored one, and whether it has a bid.
pub(super) fn change_wants(auction: &Event, related: &Related, _: &Context<'_>) -> Vec<Want> {
    let auction = Some(auction).filter(|event| event.kind == AUCTION);
    let Some(address) = auction.and_then(Event::address).map(Want::Address) else { return Vec::new() };
    let bids = related.one(&address).map(|stored| naming(BID, &stored.event.id, 1));
    [address].into_iter().chain(bids).collect()
}

/// Refuses another version of an auction that has a bid: bids name one version, and would be lost with it.
pub(super) fn change(auction: &Event, related: &Related, context: &Context<'_>) -> Decision {
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
pub(super) fn confirmation(confirmation: &Event, related: &Related, _: &Context<'_>) -> Decision {
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

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::super::testing::{
        MERCHANT, NOW, STRANGER, auction as auction_with, decide, event, looked_up, refusal,
    };
    use super::*;

    const START: u64 = NOW - 100;
    const DURATION: u64 = 200;
    /// The first second in which the auction is over.
    const END: u64 = START + DURATION;

    fn auction() -> Event {
        auction_with(MERCHANT, r#""starting_bid":1000,"start_date":1789999900,"duration":200"#)
    }

    fn bid_by(author: u8, created_at: u64, amount: u64, on: &Event) -> Event {
        event(author, 1_021, created_at, &[&["e", &on.id.to_string()]], &amount.to_string())
    }

    fn verdict_by(author: u8, bid: &Event, on: &Event, content: &str) -> Event {
        event(author, 1_022, NOW, &[&["e", &bid.id.to_string()], &["e", &on.id.to_string()]], content)
    }

    /// Decides on a bid as the writer does, with these events stored, oldest first.
    fn judge(bid_at_hand: &Event, stored: &[Event], now: u64) -> Option<(Prefix, String)> {
        refusal(decide(bid_at_hand, stored, now, bid_wants, bid))
    }

    fn invalid(sentence: &str) -> Option<(Prefix, String)> {
        Some((Prefix::Invalid, sentence.to_owned()))
    }

    fn blocked(sentence: &str) -> Option<(Prefix, String)> {
        Some((Prefix::Blocked, sentence.to_owned()))
    }

    #[test]
    fn bids_start_at_the_starting_bid_and_rise() {
        let auction = auction();
        let bids: Vec<Event> = [1_000, 1_500, 1_501].map(|amount| bid_by(2, NOW, amount, &auction)).into();
        // How many of the bids came before, a bid, what is said of it.
        let table = [
            (0, 999, invalid("a bid of 999 is less than the starting bid of 1000")),
            (0, 1_000, None),
            (0, 0, invalid("a bid of 0 is less than the starting bid of 1000")),
            (0, u64::MAX, None),
            (1, 1_000, invalid("a bid of 1000 is not above the highest bid of 1000")),
            (1, 1_001, None),
            (2, 1_001, invalid("a bid of 1001 is not above the highest bid of 1500")),
            (3, 1_501, invalid("a bid of 1501 is not above the highest bid of 1501")),
            (3, 1_502, None),
        ];
        for (before, amount, said) in table {
            let stored = [from_ref(&auction), &bids[..before]].concat();
            assert_eq!(
                judge(&bid_by(3, NOW, amount, &auction), &stored, NOW),
                said,
                "{amount} after {before}"
            );
        }
    }

    #[test]
    fn the_order_of_arrival_counts_and_not_what_bidders_say_of_the_time() {
        let auction = auction();
        let early = bid_by(2, START, 1_500, &auction);
        let stored = [auction.clone(), bid_by(2, NOW + 50, 1_200, &auction), early];
        assert!(judge(&bid_by(3, NOW, 1_500, &auction), &stored, NOW).is_some());
        assert_eq!(judge(&bid_by(3, START, 1_501, &auction), &stored, NOW), None);
    }

    #[test]
    fn a_bid_and_its_arrival_lie_inside_the_auctions_time() {
        let auction = auction();
        let early = |clock: &str| {
            invalid(&format!(
                "the auction takes no bids before its start_date, {clock} is 1 second too early"
            ))
        };
        let late = |clock: &str| blocked(&format!("the auction is over, {clock} is 1 second too late"));
        // created_at, now.
        let table = [
            (START, START, None),
            (START - 1, START, early("its created_at")),
            (START, START - 1, early("now")),
            (END - 1, END - 1, None),
            (START, END - 1, None),
            (END, END - 1, late("its created_at")),
            (END - 1, END, late("now")),
            (END, END, late("now")),
        ];
        for (created_at, now, said) in table {
            let bid = bid_by(2, created_at, 1_000, &auction);
            assert_eq!(judge(&bid, from_ref(&auction), now), said, "made at {created_at}, arrived at {now}");
        }
    }

    #[test]
    fn the_merchants_extensions_add_up_and_nobody_elses_do() {
        let auction = auction();
        let first = bid_by(2, NOW, 1_000, &auction);
        let extend = |author, seconds: u64, status: &str| {
            verdict_by(
                author,
                &first,
                &auction,
                &format!(r#"{{"status":"{status}","duration_extended":{seconds}}}"#),
            )
        };
        let stored = [
            auction.clone(),
            first.clone(),
            extend(MERCHANT, 30, "accepted"),
            extend(STRANGER, 1_000, "accepted"),
            extend(MERCHANT, 12, "pending"),
            verdict_by(MERCHANT, &first, &auction, r#"{"status":"accepted"}"#),
        ];
        let bid = |time| bid_by(3, time, 2_000, &auction);
        let over = "the auction is over, now is 1 second too late";
        assert_eq!(judge(&bid(END + 41), &stored, END + 41), None);
        assert_eq!(judge(&bid(END + 42), &stored, END + 42), blocked(over));
        assert_eq!(judge(&bid(END), &stored[..3], END + 29), None);
        assert_eq!(judge(&bid(END), &stored[..3], END + 30), blocked(over));
        assert_eq!(judge(&bid(END), &stored[..2], END), blocked(over));
        // An extension without end does not wrap around to an early one.
        let endless = [auction.clone(), first.clone(), extend(MERCHANT, u64::MAX, "accepted")];
        assert_eq!(judge(&bid(END), &endless, END + 1_000_000), None);
    }

    #[test]
    fn an_auction_without_a_start_takes_no_bids() {
        for terms in
            [r#""starting_bid":1,"duration":200"#, r#""starting_bid":1,"start_date":null,"duration":200"#]
        {
            let auction = auction_with(MERCHANT, terms);
            let said = judge(&bid_by(2, NOW, 1, &auction), from_ref(&auction), NOW);
            assert_eq!(
                said,
                invalid("the auction has no start_date yet, bids can come when it has"),
                "{terms}"
            );
        }
    }

    #[test]
    fn a_bid_is_for_an_auction_that_is_here_by_somebody_else_than_its_merchant() {
        let auction = auction();
        let missing = "the auction that this bid names is not here; bids name the newest version of an auction by its id";
        let bid = bid_by(2, NOW, 5_000, &auction);
        assert_eq!(judge(&bid, &[], NOW), invalid(missing));
        let note = event(1, 1, NOW, &[], "5000");
        assert_eq!(judge(&bid_by(2, NOW, 5_000, &note), from_ref(&note), NOW), invalid(missing));
        let own = bid_by(MERCHANT, NOW, 5_000, &auction);
        let said = Some((Prefix::Restricted, "merchants do not bid in their own auctions".to_owned()));
        assert_eq!(judge(&own, from_ref(&auction), NOW), said);
        // A reply that is only a number is no bid.
        let reply = event(2, 1, NOW, &[&["e", &auction.id.to_string()]], "1");
        assert_eq!(judge(&reply, from_ref(&auction), NOW), None);
        assert_eq!(looked_up(&reply, &[auction], NOW, bid_wants), []);
    }

    #[test]
    fn a_rejected_bid_no_longer_bars_lower_ones() {
        let auction = auction();
        let [fair, absurd] = [1_100, u64::MAX].map(|amount| bid_by(2, NOW, amount, &auction));
        let reject = |author, status: &str| {
            verdict_by(author, &absurd, &auction, &format!(r#"{{"status":"{status}"}}"#))
        };
        let bids = [auction.clone(), fair, absurd.clone()];
        let highest = invalid(&format!("a bid of 1101 is not above the highest bid of {}", u64::MAX));
        let table = [
            (vec![], highest.clone()),
            (vec![reject(STRANGER, "rejected")], highest.clone()),
            (vec![reject(MERCHANT, "pending")], highest),
            (vec![reject(MERCHANT, "rejected")], None),
        ];
        for (verdicts, said) in table {
            let stored = [&bids[..], &verdicts].concat();
            assert_eq!(judge(&bid_by(3, NOW, 1_101, &auction), &stored, NOW), said, "{verdicts:?}");
        }
        let stored = [&bids[..], &[reject(MERCHANT, "rejected")]].concat();
        let said = invalid("a bid of 1100 is not above the highest bid of 1100");
        assert_eq!(judge(&bid_by(3, NOW, 1_100, &auction), &stored, NOW), said);
    }

    #[test]
    fn behind_many_rejected_bids_the_highest_of_them_counts() {
        let auction = auction();
        let bids: Vec<Event> =
            (0..BIDS_MAX as u64).map(|step| bid_by(2, NOW, 5_000 + step, &auction)).collect();
        let rejections = |bids: &[Event]| -> Vec<Event> {
            bids.iter().map(|bid| verdict_by(MERCHANT, bid, &auction, r#"{"status":"rejected"}"#)).collect()
        };
        let all = [from_ref(&auction), &bids[..], &rejections(&bids)[..]].concat();
        assert!(judge(&bid_by(3, NOW, 4_999, &auction), &all, NOW).is_some());
        let fewer = [from_ref(&auction), &bids[1..], &rejections(&bids[1..])[..]].concat();
        assert_eq!(judge(&bid_by(3, NOW, 4_999, &auction), &fewer, NOW), None);
    }

    #[test]
    fn confirmations_are_read_only_for_bids_that_they_could_save() {
        let auction = auction();
        let stored = [auction.clone(), bid_by(2, NOW, 1_500, &auction)];
        let counts =
            |amount, time| looked_up(&bid_by(3, time, amount, &auction), &stored, NOW, bid_wants).len();
        assert_eq!((counts(1_501, NOW), counts(1_500, NOW), counts(1_501, END)), (2, 3, 3));
    }

    #[test]
    fn an_auction_changes_until_its_first_bid() {
        let old = auction();
        let new = Event { created_at: old.created_at + 1, id: Id([9; 32]), ..old.clone() };
        let judge = |stored: &[Event]| refusal(decide(&new, stored, NOW, change_wants, change));
        assert_eq!(judge(&[]), None);
        assert_eq!(judge(from_ref(&old)), None);
        let elsewhere = auction_with(STRANGER, r#""starting_bid":1,"start_date":1,"duration":1"#);
        assert_eq!(judge(&[old.clone(), elsewhere.clone(), bid_by(2, NOW, 1, &elsewhere)]), None);
        let said = blocked("this auction has a bid, it can no longer be changed");
        assert_eq!(judge(&[old.clone(), bid_by(2, NOW, 1_000, &old)]), said);
        // A product is another thing, also under the same name.
        let product = Event { kind: super::super::PRODUCT, ..new.clone() };
        assert_eq!(looked_up(&product, &[], NOW, change_wants), []);
    }

    #[test]
    fn only_the_merchant_confirms_and_rejections_stay() {
        let auction = auction();
        let other = auction_with(STRANGER, r#""starting_bid":1,"start_date":1,"duration":1"#);
        let [bid, second] = [1_000, 1_001].map(|amount| bid_by(2, NOW, amount, &auction));
        let stored = [auction.clone(), other.clone(), bid.clone(), second.clone()];
        let says = |author, bid: &Event, on: &Event, status: &str| {
            verdict_by(author, bid, on, &format!(r#"{{"status":"{status}"}}"#))
        };
        let rejected = [&stored[..], &[says(MERCHANT, &bid, &auction, "rejected")]].concat();
        let refused_by_others = [&stored[..], &[says(STRANGER, &bid, &auction, "rejected")]].concat();
        let note = event(2, 1, NOW, &[], "");
        let finals = "a bid that was rejected can not be approved later";
        let restricted =
            Some((Prefix::Restricted, "only the auction's merchant confirms its bids".to_owned()));
        let table = [
            (says(MERCHANT, &bid, &auction, "accepted"), &stored[..], None),
            (verdict_by(MERCHANT, &auction, &bid, r#"{"status":"winner"}"#), &stored, None),
            (says(STRANGER, &bid, &auction, "accepted"), &stored, restricted.clone()),
            (says(2, &bid, &auction, "winner"), &stored, restricted),
            (
                says(MERCHANT, &bid, &note, "accepted"),
                &stored,
                invalid("the auction that it names is not here"),
            ),
            (
                says(MERCHANT, &bid, &auction, "accepted"),
                &stored[1..],
                invalid("the auction that it names is not here"),
            ),
            (
                says(MERCHANT, &note, &auction, "accepted"),
                &stored,
                invalid("the bid that it names is not here"),
            ),
            (
                says(MERCHANT, &bid, &auction, "accepted"),
                &stored[..2],
                invalid("the bid that it names is not here"),
            ),
            (
                says(STRANGER, &bid, &other, "accepted"),
                &stored,
                invalid("the bid that it names was made in another auction"),
            ),
            (says(MERCHANT, &bid, &auction, "rejected"), &rejected, None),
            (says(MERCHANT, &bid, &auction, "accepted"), &rejected, blocked(finals)),
            (says(MERCHANT, &bid, &auction, "winner"), &rejected, blocked(finals)),
            (says(MERCHANT, &second, &auction, "winner"), &rejected, None),
            (says(MERCHANT, &bid, &auction, "accepted"), &refused_by_others, None),
        ];
        for (verdict, stored, said) in table {
            let decided = refusal(decide(&verdict, stored, NOW, confirmation_wants, confirmation));
            assert_eq!(decided, said, "{verdict:?}");
        }
    }
}
