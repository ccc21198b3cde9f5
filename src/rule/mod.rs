//! What rules are made of: a row ([`Rule`]), what it may know ([`Context`], [`Head`], [`Related`]) and what it
//! says ([`Decision`]). The rules themselves are in `nips` and `policy`. Pure.

mod decision;
pub mod groups;
pub mod held;
pub mod hidden;
mod known;
pub mod moderation;
mod names;
pub mod people;
pub mod shared;
mod table;

pub use decision::{Decision, Prefix, Refusal};
pub use known::Known;
pub use names::RelayNames;
pub use table::{Arrived, Check, Load, References, Related, Rule, Usage, WANT_ROUNDS_MAX, Want};

use crate::config::Settings;
use crate::domain::proxy::{self, Origin};
use crate::event::{Id, Kind, PublicKey, Tags};
use moderation::Standing;

/// What a rule may know besides the event: the time, the settings and who is asking.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Seconds since 1970.
    pub now: u64,
    /// The community's settings.
    pub config: &'a Settings,
    /// The keys that this connection has proved (NIP-42).
    pub keys: &'a [PublicKey],
    /// The URLs that name this relay on this connection.
    pub relay: &'a RelayNames,
    /// What was compiled, read and learned.
    pub known: &'a Known,
    /// For rules of reading: whether who asks names the event or its author, rather than coming across it.
    pub asked: bool,
}

impl Context<'_> {
    /// Whether the community keeps a key as its member: by its settings, or because moderators allowed it.
    pub fn is_member(&self, key: &PublicKey) -> bool {
        match self.known.moderation.author(key) {
            Some(standing) => standing == Standing::Allowed,
            None => self.config.authors.members.contains(key),
        }
    }

    /// Whether a key is within `trust.hops_max` of `trust.roots`, as far as is known.
    pub fn is_trusted(&self, key: &PublicKey) -> bool {
        self.known.people.hops(key).is_some()
    }
}

/// What may be known of an event without reading its body.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// Its id.
    pub id: &'a Id,
    /// Its author.
    pub author: &'a PublicKey,
    /// Its kind.
    pub kind: Kind,
    /// When its author says it was made.
    pub created_at: u64,
    /// When it expires (NIP-40).
    pub expires_at: Option<u64>,
    /// Whether its author, or the recipient of a wrap, has vanished (NIP-62) and it waits to be swept.
    pub vanished: bool,
    /// Whether its author marked it as being for followers only, by the tag `["visibility", "followers"]`.
    pub for_followers: bool,
    /// Its indexed tags.
    pub tags: &'a dyn IndexedTags,
}

/// What stands for a tag's letter and value where values themselves are not kept: what made it says whether two values
/// are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label(pub [u8; 12]);

/// A tag's value: itself, or what stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagValue<'a> {
    /// As it was written.
    Text(&'a str),
    /// As the index keeps it.
    Label(Label),
}

/// Indexed tags, wherever they are kept.
pub trait IndexedTags {
    /// Whether there is a tag of this letter and value.
    fn has(&self, letter: u8, value: &str) -> bool;

    /// Hands over the values of this letter, in order.
    fn values(&self, letter: u8, look: &mut dyn FnMut(TagValue<'_>));

    /// Hands over where the event was bridged from (NIP-48), once for each place; nothing when it was not.
    fn origins(&self, look: &mut dyn FnMut(&Origin<'_>));
}

impl IndexedTags for Tags {
    fn has(&self, letter: u8, value: &str) -> bool {
        self.indexed().any(|tag| tag == (letter, value))
    }

    fn values(&self, letter: u8, look: &mut dyn FnMut(TagValue<'_>)) {
        let values = self.indexed().filter(|(one, _)| *one == letter);
        values.for_each(|(_, value)| look(TagValue::Text(value)));
    }

    fn origins(&self, look: &mut dyn FnMut(&Origin<'_>)) {
        proxy::origins(self).for_each(|origin| look(&origin));
    }
}
