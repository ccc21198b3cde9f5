//! What is learned of people from the stored events of a community: whom they follow (kind 3), and what their
//! profile (kind 0) says of their NIP-05 identifier and of bridges. In: events, the newest of each author. Out:
//! look-ups. Never reads the store: whoever does hands the events over.

use std::collections::{HashMap, HashSet};

use crate::event::{Event, Kind, PublicKey};
use crate::nips::nip48;
use crate::policy::blocklist::nip05_of;

/// Longer identifiers are none: a domain has 253 bytes at most, and a name is short.
const NIP05_BYTES_MAX: usize = 320;

/// A snapshot of what is known of people. The default knows nobody.
#[derive(Debug, Clone, Default)]
pub struct People {
    /// Whom each follows, in order.
    follows: HashMap<PublicKey, Box<[PublicKey]>>,
    nip05: HashMap<PublicKey, Box<str>>,
    unbridged: HashSet<PublicKey>,
}

impl People {
    /// Takes in a profile or a list of follows, in place of what its author said before; other kinds say
    /// nothing here. `unbridged_hashtag` is the community's word against bridges.
    pub fn learn(&mut self, event: &Event, unbridged_hashtag: &str) {
        match event.kind {
            Kind::FOLLOWS => {
                let mut keys: Vec<PublicKey> =
                    event.tags.values("p").filter_map(PublicKey::from_hex).collect();
                keys.sort_unstable();
                keys.dedup();
                self.follows.insert(event.pubkey, keys.into());
            }
            Kind::PROFILE => {
                match nip05_of(&event.content).filter(|name| name.len() <= NIP05_BYTES_MAX) {
                    Some(identifier) => drop(self.nip05.insert(event.pubkey, identifier.into())),
                    None => drop(self.nip05.remove(&event.pubkey)),
                }
                match nip48::refuses_bridging(event, unbridged_hashtag) {
                    true => drop(self.unbridged.insert(event.pubkey)),
                    false => drop(self.unbridged.remove(&event.pubkey)),
                }
            }
            _ => {}
        }
    }

    /// Whether one follows the other.
    pub fn follows(&self, viewer: &PublicKey, author: &PublicKey) -> bool {
        self.follows.get(viewer).is_some_and(|followed| followed.binary_search(author).is_ok())
    }

    /// The NIP-05 identifier that an author claims.
    pub fn nip05(&self, author: &PublicKey) -> Option<&str> {
        self.nip05.get(author).map(|identifier| &**identifier)
    }

    /// Whether an author does not want to be bridged to other networks.
    pub fn is_unbridged(&self, author: &PublicKey) -> bool {
        self.unbridged.contains(author)
    }
}
