//! The operator's own key, for commands that speak in its name. In: a secret key from a file or standard input, never
//! from arguments, which other people of the machine can read. Out: signed events.

use std::path::Path;

use secp256k1::{Keypair, SecretKey};

use super::Failure;
use crate::clock::Clock;
use crate::event::{Event, Id, Kind, PublicKey, Signature, Tags, Verified};

/// The keys that a file's secret key makes.
pub(super) fn keypair(file: &Path) -> Result<Keypair, Failure> {
    let text = match file.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin())?,
        false => std::fs::read_to_string(file)
            .map_err(|error| format!("--key: cannot read {}: {error}", file.display()))?,
    };
    // What it holds is repeated in no message.
    let wrong = "--key: the file holds one secret key, as nsec1… or 64 hexadecimal digits, and nothing else";
    let text = text.trim();
    let bytes = match text.starts_with("nsec1") {
        true => bech32::decode(text)
            .ok()
            .filter(|(prefix, _)| prefix.as_str() == "nsec")
            .map(|(_, bytes)| bytes)
            .ok_or(wrong)?,
        false => hex::decode(text).map_err(|_| wrong)?,
    };
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| wrong)?;
    Ok(Keypair::from_secret_key(&SecretKey::from_secret_bytes(bytes).map_err(|_| wrong)?))
}

/// An event of now.
pub(super) fn sign(keypair: &Keypair, kind: Kind, tags: Tags, content: String) -> Result<Verified, Failure> {
    let mut event = Event {
        id: Id([0; 32]),
        pubkey: PublicKey(keypair.x_only_public_key().0.to_byte_array()),
        created_at: Clock::system().now(),
        kind,
        tags,
        content,
        sig: Signature([0; 64]),
    };
    event.id = event.hash(&mut Vec::new());
    event.sig = Signature(keypair.sign_schnorr(&event.id.0).to_byte_array());
    Verified::check(event, &mut Vec::new()).map_err(|_| "the event could not be signed".into())
}
