//! NIP-48, proxy tags (nips/48.md): where a bridged event comes from, and who does not want to be bridged.
//! In: an event. Out: what its `proxy` tags say. Never follows a link.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::event::{Event, Kind, Tags};

/// A protocol from which events are bridged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The fediverse.
    ActivityPub,
    /// Bluesky's.
    AtProto,
    /// Feeds.
    Rss,
    /// Web pages.
    Web,
    /// Any other name, or none: the NIP's list may grow.
    Other,
}

impl Protocol {
    /// Reads the third element of a proxy tag.
    pub fn from_name(name: &str) -> Protocol {
        let known = [Protocol::ActivityPub, Protocol::AtProto, Protocol::Rss, Protocol::Web];
        let found = known.into_iter().find(|known| name.eq_ignore_ascii_case(known.as_str()));
        found.unwrap_or(Protocol::Other)
    }

    /// Its name in tags and settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::ActivityPub => "activitypub",
            Protocol::AtProto => "atproto",
            Protocol::Rss => "rss",
            Protocol::Web => "web",
            Protocol::Other => "other",
        }
    }
}

/// A proxy tag: what an event was before it was bridged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proxy<'a> {
    /// The id of the source; what it looks like depends on the protocol. Never empty.
    pub id: &'a str,
    /// The protocol of the source.
    pub protocol: Protocol,
}

/// Where an event comes from, as far as rules look at it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin<'a> {
    /// The protocol of the source.
    pub protocol: Protocol,
    /// The host that the source's id names, normalized; some ids name none.
    pub domain: Option<Cow<'a, str>>,
}

impl Origin<'_> {
    /// The same, to keep.
    pub fn into_owned(self) -> Origin<'static> {
        let domain = self.domain.map(|domain| Cow::Owned(domain.into_owned()));
        Origin { protocol: self.protocol, domain }
    }
}

impl<'a> Proxy<'a> {
    /// Where this comes from.
    pub fn origin(&self) -> Origin<'a> {
        let domain = match self.id.strip_prefix("at://") {
            Some(rest) => at_domain(at_authority(rest)),
            None => super::host_of_url(self.id),
        };
        Origin { protocol: self.protocol, domain }
    }

    /// Why this is not what the NIP's table asks for.
    pub fn fault(&self) -> Option<&'static str> {
        let is_url = super::host_of_url(self.id).is_some();
        match self.protocol {
            Protocol::ActivityPub if !is_url => Some("an activitypub id must be an http(s) URL"),
            Protocol::Web if !is_url => Some("a web id must be an http(s) URL"),
            Protocol::Rss if !is_url => Some("an rss id must be an http(s) URL"),
            Protocol::Rss if self.id.split_once('#').is_none_or(|(_, guid)| guid.is_empty()) => {
                Some("an rss id must be the feed's URL with the item's guid as its fragment")
            }
            Protocol::AtProto => {
                let authority = self.id.strip_prefix("at://").map(at_authority);
                let is_known = |authority: &str| {
                    authority.strip_prefix("did:").is_some_and(is_did) || at_domain(authority).is_some()
                };
                let is_right = authority.is_some_and(is_known);
                (!is_right).then_some("an atproto id must be at:// with a did or a handle")
            }
            Protocol::Other => Some("the protocol must be activitypub, atproto, rss or web"),
            _ => None,
        }
    }
}

/// The proxy tags of an event that name a source.
pub fn proxies(tags: &Tags) -> impl Iterator<Item = Proxy<'_>> {
    tags.iter().filter(|tag| tag.name() == "proxy").filter_map(|tag| {
        let id = tag.value().filter(|id| !id.is_empty())?;
        Some(Proxy { id, protocol: Protocol::from_name(tag.get(2).unwrap_or("")) })
    })
}

/// Where an event comes from: one for each of its proxy tags.
pub fn origins(tags: &Tags) -> impl Iterator<Item = Origin<'_>> {
    proxies(tags).map(|proxy| proxy.origin())
}

/// The first proxy tag of an event: whether it was bridged.
pub fn is_bridged(event: &Event) -> Option<Proxy<'_>> {
    proxies(&event.tags).next()
}

/// Whether a profile says that its author does not want to be bridged elsewhere: the hashtag, `nobridge` by
/// convention, in the text about the person, or in a `t` tag. Bridges to the fediverse look for the same.
pub fn refuses_bridging(profile: &Event, hashtag: &str) -> bool {
    #[derive(Deserialize)]
    struct About {
        about: Option<String>,
    }
    if profile.kind != Kind::PROFILE || hashtag.is_empty() {
        return false;
    }
    let about = serde_json::from_str::<About>(&profile.content).ok().and_then(|profile| profile.about);
    profile.tags.values("t").any(|tag| tag.eq_ignore_ascii_case(hashtag))
        || about.is_some_and(|about| has_hashtag(&about, hashtag))
}

/// Whether a text has `#hashtag`, in letters of any case, as a word of its own.
fn has_hashtag(text: &str, hashtag: &str) -> bool {
    text.split('#').skip(1).any(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest[..end].eq_ignore_ascii_case(hashtag)
    })
}

/// The part of an AT URI that says whose repository it is.
fn at_authority(rest: &str) -> &str {
    &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())]
}

/// The host of a `did:web`, or a handle, which is a domain name. Other dids have none.
fn at_domain(authority: &str) -> Option<Cow<'_, str>> {
    let host = match authority.strip_prefix("did:web:") {
        // A port follows as %3A, a path after a colon.
        Some(web) => web.split([':', '%']).next()?,
        None if authority.starts_with("did:") => return None,
        None => authority,
    };
    super::normalize(host).filter(|name| name.contains('.') || *name == "localhost")
}

/// What follows `did:`: a method and an identifier.
fn is_did(rest: &str) -> bool {
    rest.split_once(':').is_some_and(|(method, id)| {
        !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_lowercase()) && !id.is_empty()
    })
}
