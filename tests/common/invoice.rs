//! A Lightning node for tests: it signs true invoices with a key of its own.

use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};

use super::NOW;

/// What an invoice is made for.
#[derive(Clone, Copy)]
pub enum For<'a> {
    /// The hash of this text stands in it.
    HashOf(&'a str),
    /// This text stands in it.
    Text(&'a str),
}

/// An invoice, signed; an amount of `None` leaves it to who pays.
pub fn invoice(amount_msats: Option<u64>, purpose: For<'_>) -> String {
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
