//! The proof, carried in a type, that an event's id and signature are true.

use std::ops::Deref;

use secp256k1::{XOnlyPublicKey, schnorr};
use sha2::{Digest, Sha256};

use super::{Event, Id, PublicKey, Signature};

/// An event whose id is the hash of its fields and whose signature is its author's.
///
/// It can only be had by checking both, by signing ([`super::Signer`]), or as a draft that nobody is shown.
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

    /// What was signed a moment ago, in this process.
    pub(super) fn signed(event: Event) -> Verified {
        Verified(event)
    }

    /// A draft as if its author had signed it: for explaining what rules would say. Nothing that comes
    /// from here is stored or sent.
    pub(crate) fn assumed(draft: Event) -> Verified {
        Verified(draft)
    }
}

/// How many authors' keys a [`Checker`] keeps.
const KEYS_KEPT: usize = 2_048;

/// How many signatures that proved true a [`Checker`] keeps.
const TRUE_KEPT: usize = 2_048;

/// Checks many events. It agrees with [`Verified::check`], and costs less: memory is reused, the point of a
/// key that has signed lately need not be found again (a tenth of the whole), the event's JSON is made from
/// the canonical bytes that were hashed, and a copy with a signature that proved true lately is not checked
/// again: an event that many clients send at once arrives again before it is stored.
#[derive(Debug)]
pub struct Checker {
    canonical: Vec<u8>,
    /// By the end of the key. Who makes keys that end alike makes the place change hands, and no more.
    keys: Vec<Option<(PublicKey, XOnlyPublicKey)>>,
    /// By the end of the id, in the same way. An id names all but the signature.
    true_lately: Vec<Option<(Id, Signature)>>,
}

impl Default for Checker {
    fn default() -> Self {
        Checker { canonical: Vec::new(), keys: vec![None; KEYS_KEPT], true_lately: vec![None; TRUE_KEPT] }
    }
}

/// Where among so many places something is kept that ends with these bytes.
fn place_of(bytes: &[u8; 32], places: usize) -> usize {
    let [.., high, low] = *bytes;
    usize::from(u16::from_be_bytes([high, low])) % places
}

impl Checker {
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
        let place = place_of(&event.id.0, TRUE_KEPT);
        if self.true_lately[place] != Some((event.id, event.sig)) {
            let key = self.key(&event.pubkey)?;
            let signature = schnorr::Signature::from_byte_array(event.sig.0);
            schnorr::verify(&signature, &event.id.0, &key).map_err(|_| Forgery::Signature)?;
            self.true_lately[place] = Some((event.id, event.sig));
        }
        let json = event.json_from_canonical(&self.canonical, parts);
        Ok((Verified(event), json))
    }

    /// The same without looking at the signature: for what another node of the cluster has checked, which came over
    /// the cluster's own log.
    ///
    /// # Errors
    /// When the id is not the hash of the fields.
    pub(crate) fn vouched(&mut self, event: Event) -> Result<(Verified, Vec<u8>), Forgery> {
        self.canonical.clear();
        let parts = event.write_canonical(&mut self.canonical);
        if Id(Sha256::digest(&self.canonical).into()) != event.id {
            return Err(Forgery::Id);
        }
        let json = event.json_from_canonical(&self.canonical, parts);
        Ok((Verified(event), json))
    }

    fn key(&mut self, key: &PublicKey) -> Result<XOnlyPublicKey, Forgery> {
        let place = &mut self.keys[place_of(&key.0, KEYS_KEPT)];
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
        let mut checker = Checker::default();
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
