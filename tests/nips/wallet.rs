//! A Lightning wallet for tests: it signs true invoices with a node key of its own, and zap receipts with a
//! Nostr key, as the server of a recipient does.

use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use plaza::event::Event;

use crate::common::{NOW, Person};

/// What an invoice is made for.
#[derive(Clone, Copy)]
pub(crate) enum For<'a> {
    /// The hash of this text stands in it.
    HashOf(&'a str),
    /// This text stands in it.
    Text(&'a str),
}

/// An invoice, signed; an amount of `None` leaves it to who pays.
pub(crate) fn invoice(amount_msats: Option<u64>, purpose: For<'_>) -> String {
    let key = SecretKey::from_slice(&[9; 32]).expect("a key");
    let builder = InvoiceBuilder::new(Currency::Bitcoin);
    let builder = match purpose {
        For::HashOf(text) => builder.description_hash(sha256::Hash::hash(text.as_bytes())),
        For::Text(text) => builder.description(text.to_owned()),
    };
    let builder = builder
        .payment_hash(sha256::Hash::hash(b"a preimage"))
        .payment_secret(PaymentSecret([42; 32]))
        .duration_since_epoch(Duration::from_secs(NOW))
        .min_final_cltv_expiry_delta(18);
    let builder = match amount_msats {
        Some(amount) => builder.amount_milli_satoshis(amount),
        None => builder,
    };
    let sign = |hash: &Message| Secp256k1::new().sign_ecdsa_recoverable(hash, &key);
    builder.build_signed(sign).expect("an invoice").to_string()
}

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
