//! What profiles (kind 0) claim: a NIP-05 name, and the wish not to be bridged to other networks. In: kind 0
//! events. Out: [`Profiles`], of those alone who claim something, within `trust.keys_max`. Never asks the
//! network whether a claim is true.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;

use crate::config::Settings;
use crate::domain;
use crate::domain::proxy::refuses_bridging;
use crate::event::{Event, PublicKey};

/// What profiles claim. The default knows nobody.
#[derive(Debug, Default)]
pub struct Profiles {
    nip05: HashMap<PublicKey, Arc<str>>,
    unbridged: HashSet<PublicKey>,
    cut: u64,
}

impl Profiles {
    /// The domain of the name that an author claims, in lower case.
    pub fn nip05(&self, key: &PublicKey) -> Option<&str> {
        self.nip05.get(key).map(|domain| &**domain)
    }

    /// Whether an author refuses to be bridged.
    pub fn is_unbridged(&self, key: &PublicKey) -> bool {
        self.unbridged.contains(key)
    }

    /// How many profiles that claim something the bound left out.
    pub fn cut(&self) -> u64 {
        self.cut
    }
}

/// Makes [`Profiles`]; where the bound is reached, those that were added first count.
pub struct ProfilesBuilder {
    profiles: Profiles,
    /// Many people share a domain: each is kept once.
    domains: HashSet<Arc<str>>,
    unbridged_hashtag: String,
    keys_max: usize,
}

impl ProfilesBuilder {
    /// Nobody's profile.
    pub fn new(settings: &Settings) -> ProfilesBuilder {
        ProfilesBuilder {
            profiles: Profiles::default(),
            domains: HashSet::new(),
            unbridged_hashtag: settings.bridge.unbridged_hashtag.clone(),
            keys_max: settings.trust.keys_max as usize,
        }
    }

    /// Takes in a profile, the newest of its author.
    pub fn add(&mut self, profile: &Event) {
        let domain = nip05_domain(profile);
        let is_unbridged = refuses_bridging(profile, &self.unbridged_hashtag);
        if domain.is_none() && !is_unbridged {
            return;
        }
        if self.profiles.nip05.len().max(self.profiles.unbridged.len()) >= self.keys_max {
            self.profiles.cut += 1;
            return;
        }
        if let Some(domain) = domain {
            let shared = self.domains.get(&*domain).map(Arc::clone);
            let domain = shared.unwrap_or_else(|| Arc::from(domain));
            self.domains.insert(Arc::clone(&domain));
            self.profiles.nip05.insert(profile.pubkey, domain);
        }
        if is_unbridged {
            self.profiles.unbridged.insert(profile.pubkey);
        }
    }

    /// Everything that was added.
    pub fn finish(self) -> Profiles {
        self.profiles
    }
}

/// The domain of the NIP-05 name that a profile claims, in the form in which names are compared: what follows the
/// `@`, or all of it when that is a domain by itself, as some clients write `_@example.org`. `None` when it claims none.
pub fn nip05_domain(profile: &Event) -> Option<String> {
    #[derive(Deserialize)]
    struct Content {
        nip05: Option<String>,
    }
    let nip05 = serde_json::from_str::<Content>(&profile.content).ok()?.nip05?;
    let nip05 = nip05.trim();
    let domain = match nip05.rsplit_once('@') {
        Some(("", _)) => return None,
        Some((_, domain)) => domain,
        None if nip05.contains('.') => nip05,
        None => return None,
    };
    domain::normalize(domain).map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Id, Kind, Signature, Tags};

    fn profile(author: u8, tags: Tags, content: &str) -> Event {
        Event {
            id: Id([author; 32]),
            pubkey: PublicKey([author; 32]),
            created_at: 1,
            kind: Kind::PROFILE,
            tags,
            content: content.to_owned(),
            sig: Signature([0; 64]),
        }
    }

    #[test]
    fn claims_are_names_at_domains() {
        let table = [
            (r#"{"nip05":"alice@Example.ORG"}"#, Some("example.org")),
            (r#"{"name":"x","nip05":" _@example.org ","about":1}"#, Some("example.org")),
            (r#"{"nip05":"a@b@example.org"}"#, Some("example.org")),
            (r#"{"nip05":"a@localhost"}"#, Some("localhost")),
            (r#"{"nip05":"a@bücher.example"}"#, Some("xn--bcher-kva.example")),
            (r#"{"nip05":"example.org"}"#, Some("example.org")),
            (r#"{"nip05":"alice"}"#, None),
            (r#"{"nip05":"@example.org"}"#, None),
            (r#"{"nip05":"a@"}"#, None),
            (r#"{"nip05":"a@example..org"}"#, None),
            (r#"{"nip05":"a@example.org/path"}"#, None),
            (r#"{"nip05":null}"#, None),
            (r#"{"nip05":["a@example.org"]}"#, None),
            (r#"{}"#, None),
            (r#"["nip05"]"#, None),
            ("not JSON", None),
            ("", None),
        ];
        for (content, domain) in table {
            assert_eq!(nip05_domain(&profile(1, Tags::default(), content)).as_deref(), domain, "{content}");
        }
    }

    #[test]
    fn profiles_without_a_claim_take_no_room() {
        let mut settings = Settings::default();
        settings.trust.keys_max = 2;
        let mut builder = ProfilesBuilder::new(&settings);
        let contents =
            ["{}", r#"{"nip05":"a@x.org"}"#, "", r#"{"nip05":"b@x.org"}"#, r#"{"nip05":"c@x.org"}"#];
        for (author, content) in (1..).zip(contents) {
            builder.add(&profile(author, Tags::default(), content));
        }
        let profiles = builder.finish();
        let known: Vec<_> =
            (1..=5).map(|author| profiles.nip05(&PublicKey([author; 32])).is_some()).collect();
        assert_eq!((known, profiles.cut()), (vec![false, true, false, true, false], 1));
    }
}
