//! NIP-11, the relay information document (nips/11.md). In: the settings. Out: the document, whose
//! limits are the ones that are enforced.

use serde_json::{Map, Value, json};

use super::supported;
use crate::config::{Read, Settings, Write};
use crate::filter::ALL_TAGS_MAX;

/// The project's home, a URL as NIP-11 asks; left out of the document while there is none.
const SOFTWARE: &str = env!("CARGO_PKG_REPOSITORY");

/// The document for a community with these settings. `restricts_writes`: whether a rule of its own choice
/// may refuse an event.
pub fn document(config: &Settings, restricts_writes: bool) -> Value {
    let relay = &config.relay;
    let mut document = Map::new();
    document.insert("name".into(), json!(relay.name));
    document.insert("description".into(), json!(relay.description));
    let optional = [
        ("banner", &relay.banner),
        ("icon", &relay.icon),
        ("pubkey", &relay.pubkey),
        ("self", &relay.self_key),
        ("contact", &relay.contact),
        ("terms_of_service", &relay.terms_of_service),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            document.insert(name.into(), json!(value));
        }
    }
    document.insert("supported_nips".into(), json!(supported(config)));
    if !SOFTWARE.is_empty() {
        document.insert("software".into(), json!(SOFTWARE));
    }
    document.insert("version".into(), json!(env!("CARGO_PKG_VERSION")));
    document.insert("limitation".into(), limitation(config, restricts_writes));
    Value::Object(document)
}

fn limitation(config: &Settings, restricts_writes: bool) -> Value {
    let limits = &config.limits;
    let auth_required = config.access.read != Read::All || config.access.write == Write::Authenticated;
    let mut limitation = json!({
        "max_message_length": limits.message_bytes_max,
        "max_subscriptions": limits.subscriptions_per_connection_max,
        "max_limit": limits.limit_max,
        "default_limit": limits.limit_default,
        "max_tags_per_and": ALL_TAGS_MAX,
        "max_subid_length": limits.subscription_id_chars_max,
        "max_event_tags": limits.event_tags_max,
        "max_content_length": limits.content_chars_max,
        "min_pow_difficulty": config.nip13.difficulty_min,
        "auth_required": auth_required,
        "payment_required": false,
        "restricted_writes": restricts_writes,
        "created_at_upper_limit": limits.created_at_future_seconds_max,
    });
    if limits.created_at_past_seconds_max > 0 {
        limitation["created_at_lower_limit"] = json!(limits.created_at_past_seconds_max);
    }
    limitation
}
