//! The proof, carried in a type, that an event's id and signature are true.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secp256k1::{XOnlyPublicKey, schnorr};
use sha2::{Digest, Sha256};

use super::{Event, Id, PublicKey, Signature};

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

/// How many authors' keys a [`Checker`] keeps.
const KEYS_KEPT: usize = 2_048;

/// How many events a [`TrueLately`] keeps.
const TRUE_KEPT: usize = 2_048;

/// Signatures that proved true lately, for all who check. An event that many clients send at once arrives again
/// before it is stored; a copy with the same signature need not be checked again.
#[derive(Debug)]
pub struct TrueLately {
    /// By the end of the id. Ids that end alike make the place change hands, and no more.
    places: Vec<Mutex<Option<(Id, Signature)>>>,
}

impl Default for TrueLately {
    fn default() -> Self {
        TrueLately { places: (0..TRUE_KEPT).map(|_| Mutex::default()).collect() }
    }
}

impl TrueLately {
    fn place(&self, id: &Id) -> MutexGuard<'_, Option<(Id, Signature)>> {
        let [.., high, low] = id.0;
        let place = &self.places[usize::from(u16::from_be_bytes([high, low])) % TRUE_KEPT];
        place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether just this signature of this id was true. It is the author's, whom the id names with all else.
    fn has(&self, event: &Event) -> bool {
        *self.place(&event.id) == Some((event.id, event.sig))
    }

    fn note(&self, event: &Event) {
        *self.place(&event.id) = Some((event.id, event.sig));
    }
}

/// Checks many events. It agrees with [`Verified::check`], and costs less: memory is reused, the point of a
/// key that has signed lately need not be found again (a tenth of the whole), and the event's JSON is made
/// from the canonical bytes that were hashed.
#[derive(Debug)]
pub struct Checker {
    lately: Arc<TrueLately>,
    canonical: Vec<u8>,
    /// By the end of the key. Who makes keys that end alike makes the place change hands, and no more.
    keys: Vec<Option<(PublicKey, XOnlyPublicKey)>>,
}

impl Checker {
    /// One of several that share what proved true lately.
    pub fn new(lately: Arc<TrueLately>) -> Checker {
        Checker { lately, canonical: Vec::new(), keys: vec![None; KEYS_KEPT] }
    }

    /// Checks an event as [`Verified::check`] does, and returns its JSON with it.
    ///
    /// # Errors
    /// Which of the two is untrue.
    pub fn check(&mut self, event: Event) -> Result<(Verified, Vec<u8>), Forgery> {
        self.canonical.clear();
        let parts = event.write_canonical(&mut self.canonical);
        if Id(Sha256::digest(&self.canonical).into()) != event.id {
            return Err(Forgery::Id);
        }
        if !self.lately.has(&event) {
            let key = self.key(&event.pubkey)?;
            let signature = schnorr::Signature::from_byte_array(event.sig.0);
            schnorr::verify(&signature, &event.id.0, &key).map_err(|_| Forgery::Signature)?;
            self.lately.note(&event);
        }
        let json = event.json_from_canonical(&self.canonical, parts);
        Ok((Verified(event), json))
    }

    fn key(&mut self, key: &PublicKey) -> Result<XOnlyPublicKey, Forgery> {
        let [.., high, low] = key.0;
        let place = &mut self.keys[usize::from(u16::from_be_bytes([high, low])) % KEYS_KEPT];
        match place {
            Some((kept, point)) if kept == key => Ok(*point),
            _ => {
                let point = XOnlyPublicKey::from_byte_array(key.0).map_err(|_| Forgery::Signature)?;
                *place = Some((*key, point));
                Ok(point)
            }
        }
    }
}

impl Deref for Verified {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use secp256k1::{Keypair, SecretKey};

    use super::*;
    use crate::event::Kind;

    fn signed(author: u8, content: &str) -> Event {
        let secret = SecretKey::from_secret_bytes([author; 32]).expect("a secret below the order");
        let keypair = Keypair::from_secret_key(&secret);
        let mut event = Event {
            id: Id([0; 32]),
            pubkey: PublicKey(keypair.x_only_public_key().0.to_byte_array()),
            created_at: 1_790_000_000 + u64::from(author),
            kind: Kind(1),
            tags: [&["t", "a\"b"][..], &["e"], &[]].into_iter().collect(),
            content: content.to_owned(),
            sig: Signature([0; 64]),
        };
        event.id = event.hash(&mut Vec::new());
        event.sig = Signature(keypair.sign_schnorr_no_aux_rand(&event.id.0).to_byte_array());
        event
    }

    #[test]
    fn a_checker_agrees_with_the_plain_check() {
        let mut checker = Checker::new(Arc::default());
        // The second round finds what was kept of the first: keys, and what proved true; forgeries come between.
        for round in 0..2 {
            for author in 1..=40 {
                let mut event = signed(author, "grüße\n\u{1}\\");
                match author % 5 {
                    0 => event.sig.0[7] ^= 1,
                    1 => event.content.push('!'),
                    2 => event.pubkey.0[30] ^= 4,
                    _ => {}
                }
                if author % 10 == 2 {
                    // A key that is no point of the curve, or another's: the id says so itself.
                    event.id = event.hash(&mut Vec::new());
                }
                let plain = Verified::check(event.clone(), &mut Vec::new()).map(|event| event.0);
                let checked = checker.check(event.clone());
                let json = checked.as_ref().ok().map(|(_, json)| json.clone());
                assert_eq!(checked.map(|(event, _)| event.0), plain, "author {author}, round {round}");
                assert!(json.is_none_or(|json| json == event.to_json()));
                // That an id was true says nothing of another signature.
                event.sig.0[9] ^= 1;
                let plain = Verified::check(event.clone(), &mut Vec::new()).map(|event| event.0);
                assert_eq!(checker.check(event).map(|(event, _)| event.0), plain, "author {author}, forged");
            }
        }
    }
}
