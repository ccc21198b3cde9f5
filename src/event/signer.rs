//! A secret key that signs what the relay itself has to say (NIP-11 `self`). In: the parts of an event. Out: a true
//! event. The key is shown to nobody: not by `Debug`, and there is nothing that returns it.

use std::fmt;

use secp256k1::{Keypair, SecretKey};

use super::secret::{public_key, sign};
use super::{Kind, PublicKey, Tags, Verified};

/// Who signs.
pub struct Signer {
    keypair: Keypair,
    key: PublicKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.key)
    }
}

impl Signer {
    /// Signs with this secret key; `None` when it is none: zero, or beyond the curve's order.
    pub fn new(secret: [u8; 32]) -> Option<Signer> {
        Some(Signer::of(Keypair::from_secret_key(&SecretKey::from_secret_bytes(secret).ok()?)))
    }

    /// Signs with these keys.
    pub fn of(keypair: Keypair) -> Signer {
        Signer { keypair, key: public_key(&keypair) }
    }

    /// Whose signature it is.
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// Signs an event. Costs a hash of it and some 30 µs.
    pub fn sign(&self, created_at: u64, kind: Kind, tags: Tags, content: String) -> Verified {
        Verified::signed(sign(&self.keypair, created_at, kind, tags, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    #[test]
    fn what_is_signed_proves_true_and_the_secret_stays_one() {
        let signer = Signer::new([7; 32]).expect("a secret below the order");
        let tags = [["d", "square"]].iter().collect();
        let event = signer.sign(1_790_000_000, Kind(39_000), tags, "grüße\n".to_owned());
        assert!(Verified::check(Event::clone(&event), &mut Vec::new()).is_ok());
        assert_eq!(event.pubkey, signer.key());
        assert!(!format!("{signer:?}").contains(&"07".repeat(32)));
        for secret in [[0; 32], [0xff; 32]] {
            assert!(Signer::new(secret).is_none());
        }
    }
}
