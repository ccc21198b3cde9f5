//! The proof, carried in a type, that an event's id and signature are true.

use std::ops::Deref;

use secp256k1::{XOnlyPublicKey, schnorr};

use super::Event;

/// An event whose id is the hash of its fields and whose signature is its author's.
///
/// It can only be had by checking both, or as a draft that nobody is shown.
#[derive(Debug, Clone)]
pub struct Verified(Event);

/// What is untrue of an event that claims to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// The id is not the hash of the fields.
    Id,
    /// The signature is not the author's for this id.
    Signature,
}

impl Verified {
    /// Checks the id first, then the signature, which costs about thirty times as much. `scratch` is
    /// reused between calls.
    ///
    /// # Errors
    /// Which of the two is untrue.
    pub fn check(event: Event, scratch: &mut Vec<u8>) -> Result<Verified, Forgery> {
        if event.hash(scratch) != event.id {
            return Err(Forgery::Id);
        }
        let key = XOnlyPublicKey::from_byte_array(event.pubkey.0).map_err(|_| Forgery::Signature)?;
        let signature = schnorr::Signature::from_byte_array(event.sig.0);
        schnorr::verify(&signature, &event.id.0, &key).map_err(|_| Forgery::Signature)?;
        Ok(Verified(event))
    }

    /// A draft as if its author had signed it: for explaining what rules would say. Nothing that comes
    /// from here is stored or sent.
    pub(crate) fn assumed(draft: Event) -> Verified {
        Verified(draft)
    }
}

impl Deref for Verified {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.0
    }
}
