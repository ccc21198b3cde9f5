//! Secret keys that the relay or its operator signs with: reading one from a text, signing an event. In: the text of a
//! key file. Out: signed events. Nothing of it is repeated in a message.

use secp256k1::{Keypair, SecretKey, schnorr};

use super::{Event, Id, Kind, PublicKey, Signature, Tags};

/// The keys of a text that holds one secret key, as nsec1… or 64 hexadecimal digits; `None` for any other.
pub fn secret_key(text: &str) -> Option<Keypair> {
    let text = text.trim();
    let bytes = match text.starts_with("nsec1") {
        true => bech32::decode(text).ok().filter(|(prefix, _)| prefix.as_str() == "nsec")?.1,
        false => hex::decode(text).ok()?,
    };
    let bytes = <[u8; 32]>::try_from(bytes).ok()?;
    Some(Keypair::from_secret_key(&SecretKey::from_secret_bytes(bytes).ok()?))
}

/// Whose keys they are.
pub fn public_key(keypair: &Keypair) -> PublicKey {
    PublicKey(keypair.x_only_public_key().0.to_byte_array())
}

/// A public key as people write it (NIP-19).
pub fn npub(key: PublicKey) -> String {
    let prefix = bech32::Hrp::parse_unchecked("npub");
    bech32::encode::<bech32::Bech32>(prefix, &key.0).unwrap_or_else(|_| key.to_string())
}

/// An event that is signed with these keys.
pub fn sign(keypair: &Keypair, created_at: u64, kind: Kind, tags: Tags, content: String) -> Event {
    let mut event = Event {
        id: Id([0; 32]),
        pubkey: public_key(keypair),
        created_at,
        kind,
        tags,
        content,
        sig: Signature([0; 64]),
    };
    event.id = event.hash(&mut Vec::new());
    // The same on all nodes of a cluster, which store what the relay itself says.
    event.sig = Signature(schnorr::sign_no_aux_rand(&event.id.0, keypair).to_byte_array());
    event
}
