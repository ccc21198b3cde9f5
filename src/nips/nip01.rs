//! NIP-01, the basic protocol (nips/01.md): what is said of an event that is not what it claims to be.
//! Kinds are in `event/kind.rs`, replacement in `policy/place.rs`, filters in `filter.rs`.

use crate::event::Forgery;
use crate::rule::{Prefix, Refusal};

impl From<Forgery> for Refusal {
    fn from(forgery: Forgery) -> Refusal {
        match forgery {
            Forgery::Id => Refusal::new(Prefix::Invalid, "nip01.id", "the id is not the hash of the event"),
            Forgery::Signature => Refusal::new(
                Prefix::Invalid,
                "nip01.signature",
                "the signature is not the author's for this id",
            ),
        }
    }
}
