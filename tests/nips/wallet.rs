//! A Lightning wallet for tests: zap receipts with true invoices, signed with a Nostr key, as the server of a
//! recipient does.

use plaza::event::Event;

pub(crate) use crate::common::invoice::{For, invoice};
use crate::common::{NOW, Person};

/// The one who pays.
pub(crate) fn payer() -> Person {
    Person::new(1)
}

/// The one who is paid.
pub(crate) fn recipient() -> Person {
    Person::new(2)
}

/// The server of the recipient's wallet.
pub(crate) fn wallet() -> Person {
    Person::new(3)
}

/// A zap request with these tags besides `relays` and the recipient's `p`.
pub(crate) fn request(tags: &[&[&str]]) -> Event {
    let p = recipient().hex();
    let mut all: Vec<&[&str]> = vec![&["relays", "wss://relay.example"]];
    let p_tag = ["p", p.as_str()];
    all.push(&p_tag);
    all.extend_from_slice(tags);
    payer().event(9_734, NOW - 60, &all, "Zap!")
}

/// An event as the text that stands in a description tag.
pub(crate) fn text_of(event: &Event) -> String {
    String::from_utf8(event.to_json()).expect("JSON is text")
}

/// A receipt of the wallet for a request, with these tags besides `p`, `bolt11` and `description`.
pub(crate) fn receipt(created_at: u64, description: &str, bolt11: &str, tags: &[&[&str]]) -> Event {
    let p = recipient().hex();
    let p_tag = ["p", p.as_str()];
    let mut all: Vec<&[&str]> = vec![&p_tag];
    all.extend_from_slice(tags);
    let (bolt11, description) = (["bolt11", bolt11], ["description", description]);
    all.extend([&bolt11[..], &description[..]]);
    wallet().event(9_735, created_at, &all, "")
}

/// A receipt that is right in everything: the request's tags are copied.
pub(crate) fn zap(created_at: u64, amount_msats: u64, tags: &[&[&str]]) -> Event {
    let amount = amount_msats.to_string();
    let amount_tag = ["amount", amount.as_str()];
    let mut asked: Vec<&[&str]> = vec![&amount_tag];
    asked.extend_from_slice(tags);
    let description = text_of(&request(&asked));
    let bolt11 = invoice(Some(amount_msats), For::HashOf(&description));
    receipt(created_at, &description, &bolt11, tags)
}
