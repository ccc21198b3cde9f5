//! People who write the corpus: their keys, always the same, in the forms in which events hold them.

use bech32::{Bech32, Hrp};
use secp256k1::{Keypair, SecretKey};

use crate::event::PublicKey;

/// People who write. The first write most: who is `n`th writes in proportion to `1 / n`, about.
pub(super) const PEOPLE: u64 = 5_000;

/// One of them.
pub(super) struct Person {
    pub(super) keypair: Keypair,
    pub(super) key: PublicKey,
    /// The key in hexadecimal.
    pub(super) hex: String,
}

impl Person {
    fn new(number: u64) -> Person {
        let keypair = keypair(number);
        let key = public(&keypair);
        Person { keypair, key, hex: key.to_string() }
    }

    /// As texts name people (NIP-27).
    pub(super) fn mention(&self) -> String {
        let npub = bech32::encode::<Bech32>(Hrp::parse_unchecked("npub"), &self.key.0);
        // 32 bytes are far below the longest text that the form allows.
        format!("nostr:{}", npub.unwrap_or_default())
    }
}

/// A key of this number; those beyond [`PEOPLE`] belong to nobody and are used once.
pub(super) fn keypair(number: u64) -> Keypair {
    let mut secret = [11; 32];
    secret[24..].copy_from_slice(&number.to_be_bytes());
    // The bytes are far below the group's order and not zero.
    let secret =
        SecretKey::from_secret_bytes(secret).unwrap_or_else(|_| unreachable!("a constant below the order"));
    Keypair::from_secret_key(&secret)
}

/// The public half of a key.
pub(super) fn public(keypair: &Keypair) -> PublicKey {
    PublicKey(keypair.x_only_public_key().0.to_byte_array())
}

/// All of them, the busiest first.
pub(super) fn all() -> Vec<Person> {
    (0..PEOPLE).map(Person::new).collect()
}
