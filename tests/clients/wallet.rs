//! The server of a Lightning wallet at the relay: it makes true invoices, and says in public what was paid
//! (NIP-57).

use nostr_sdk::prelude::*;

use crate::common::invoice::{For, invoice};
use crate::guest::Guest;

/// A wallet's server.
pub(crate) struct Wallet {
    server: Guest,
    url: RelayUrl,
}

impl Wallet {
    /// Comes to the relay.
    pub(crate) async fn open(url: &str) -> Wallet {
        Wallet::open_as(Keys::generate(), url).await
    }

    /// Comes to the relay with a key that is known there.
    pub(crate) async fn open_as(keys: Keys, url: &str) -> Wallet {
        Wallet { server: Guest::arrive_as(keys, url).await, url: RelayUrl::parse(url).expect("a URL") }
    }

    /// What somebody's client asks for before it pays.
    pub(crate) fn request(&self, payer: &Guest, mut data: ZapRequestData) -> Event {
        data.relays = vec![self.url.clone()];
        payer.sign(EventBuilder::public_zap_request(data))
    }

    /// The receipt for a payment; `instead_of` names another one than was zapped.
    pub(crate) fn receipt(&self, request: &Event, msats: u64, instead_of: Option<PublicKey>) -> Event {
        let bolt11 = invoice(Some(msats), For::HashOf(&request.as_json()));
        let mut receipt = EventBuilder::zap_receipt(bolt11, None::<String>, request).build(self.server.key());
        if let Some(other) = instead_of {
            let tags = receipt.tags.into_iter().filter(|tag| tag.kind() != TagKind::p());
            receipt.tags = tags.chain([Tag::public_key(other)]).collect();
            receipt.id = None;
        }
        receipt.sign_with_keys(&self.server.keys).expect("a signature")
    }

    /// A receipt whose invoice was made for something else.
    pub(crate) fn with_other_invoice(&self, request: &Event, msats: u64) -> Event {
        let bolt11 = invoice(Some(msats), For::Text("a coffee"));
        self.server.sign(EventBuilder::zap_receipt(bolt11, None::<String>, request))
    }

    /// Publishes; the relay's refusal when it is not taken.
    pub(crate) async fn send(&self, receipt: &Event) -> Result<EventId, String> {
        self.server.relay.send_event(receipt).await.map_err(|refusal| refusal.to_string())
    }

    /// Is paid and says so.
    pub(crate) async fn pay(&self, request: &Event, msats: u64) -> Result<EventId, String> {
        self.send(&self.receipt(request, msats, None)).await
    }
}
