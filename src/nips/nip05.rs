//! NIP-05, names at a domain (nips/05.md): the document that says whose a name is. In: the query of a request, names,
//! addresses. Out: JSON. Never asks another domain.

use serde_json::{Value, json};

use crate::event::PublicKey;

/// The path at which clients ask.
pub const PATH: &str = "/.well-known/nostr.json";

/// The longest name that is looked up.
const NAME_BYTES_MAX: usize = 64;

/// The name that a request asks for; without one it is that of the domain itself, `_`.
pub fn asked(query: Option<&str>) -> String {
    let named = query.unwrap_or("").split('&').find_map(|part| part.strip_prefix("name="));
    // Local names have no character that a query would write otherwise.
    named.unwrap_or("_").chars().take(NAME_BYTES_MAX).collect::<String>().to_ascii_lowercase()
}

/// The document: the name with its key, and where that person's events are, which is here.
pub fn document(name: &str, key: Option<&PublicKey>, urls: &[String]) -> Value {
    match key {
        None => json!({"names": {}}),
        Some(key) => {
            let key = key.to_string();
            match urls.is_empty() {
                true => json!({"names": {name: key}}),
                false => json!({"names": {name: key}, "relays": {key.as_str(): urls}}),
            }
        }
    }
}
