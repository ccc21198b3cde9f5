//! NIP-98, HTTP authentication (nips/98.md). In: an `Authorization` header, what was requested, the names of this
//! relay. Out: whose request it is; and the other way round, a header
//! of a token. Never remembers a token: who answers requests refuses repeated ones.

use data_encoding::{BASE64, BASE64_NOPAD};

use crate::event::{Event, Id, Kind, PublicKey, Tags, Verified};
use crate::rule::RelayNames;

/// How far a token's date may lie from now, in seconds.
pub const WINDOW_SECONDS: u64 = 60;

/// A longer header is no token.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// What was requested.
#[derive(Clone, Copy)]
pub struct Requested<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// SHA-256 of the body.
    pub payload: [u8; 32],
    /// The URLs that name the relay.
    pub relay: &'a RelayNames,
    /// Seconds since 1970.
    pub now: u64,
}

/// A token that is true and for this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// Who signed it.
    pub key: PublicKey,
    /// Its id: what is seen twice is a replay.
    pub id: Id,
}

/// Reads the value of an `Authorization` header.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub fn authorize(header: Option<&str>, requested: &Requested<'_>) -> Result<Token, String> {
    let header =
        header.ok_or("sign the request: Authorization: Nostr and an event of kind 27235 (NIP-98)")?;
    let encoded = header.strip_prefix("Nostr ").or_else(|| header.strip_prefix("nostr "));
    let encoded = encoded.filter(|_| header.len() <= HEADER_BYTES_MAX).map(str::trim);
    let encoded = encoded.ok_or("Authorization begins with Nostr and holds one event in base64 (NIP-98)")?;
    let json = BASE64.decode(encoded.as_bytes()).or_else(|_| BASE64_NOPAD.decode(encoded.as_bytes()));
    let json = json.map_err(|_| "the token is not in base64")?;
    let event = Event::from_json(&json).map_err(|reason| format!("the token is no event: {reason}"))?;
    check(&event, requested)?;
    let event =
        Verified::check(event, &mut Vec::new()).map_err(|_| "the token's id or signature is not true")?;
    Ok(Token { key: event.pubkey, id: event.id })
}

/// The tags of a token for a request of this method to this address, with a body of this hash.
pub fn tags(url: &str, method: &str, payload: [u8; 32]) -> Tags {
    let payload = hex::encode(payload);
    [&["u", url][..], &["method", method], &["payload", &payload]].into_iter().collect()
}

/// The value of an `Authorization` header that a signed token makes.
pub fn header(token: &Verified) -> String {
    format!("Nostr {}", BASE64.encode(&token.to_json()))
}

fn check(event: &Event, requested: &Requested<'_>) -> Result<(), String> {
    if event.kind != Kind::HTTP_AUTH {
        return Err(format!("a token is an event of kind 27235, not {}", event.kind));
    }
    let off = event.created_at.abs_diff(requested.now);
    if off > WINDOW_SECONDS {
        return Err(format!("the token's created_at is {off} seconds from now, more than {WINDOW_SECONDS}"));
    }
    let one = |name: &'static str| event.tags.values(name).next();
    if !one("u").is_some_and(|url| requested.relay.include_http(url)) {
        return Err("the token's u tag is not the address of this relay".to_owned());
    }
    if !one("method").is_some_and(|method| method.eq_ignore_ascii_case(requested.method)) {
        return Err(format!("the token's method tag is not {}", requested.method));
    }
    let payload = hex::encode(requested.payload);
    if !one("payload").is_some_and(|stated| stated.eq_ignore_ascii_case(&payload)) {
        return Err("the token's payload tag is not the SHA-256 of the request's body".to_owned());
    }
    Ok(())
}
