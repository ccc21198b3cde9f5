//! What profiles (kind 0) claim: a NIP-05 name, and the wish not to be bridged to other networks. In: kind 0
//! events. Out: [`Profiles`], of those alone who claim something, within `trust.keys_max`. Never asks the
//! network whether a claim is true.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::config::Settings;
use crate::event::{Event, PublicKey};

/// The longest domain that there is (RFC 1035).
const DOMAIN_BYTES_MAX: usize = 253;

/// The hashtag by which people refuse to be bridged, without its `#`: the word that bridges of today honour.
const UNBRIDGED_HASHTAG: &str = "nobridge";

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
    keys_max: usize,
}

impl ProfilesBuilder {
    /// Nobody's profile.
    pub fn new(settings: &Settings) -> ProfilesBuilder {
        let keys_max = settings.trust.keys_max as usize;
        ProfilesBuilder { profiles: Profiles::default(), domains: HashSet::new(), keys_max }
    }

    /// Takes in a profile, the newest of its author.
    pub fn add(&mut self, profile: &Event) {
        let domain = nip05_domain(profile);
        let is_unbridged = refuses_bridging(profile);
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

/// The parts of a profile's content that are read here. Anything may stand there.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Content {
    nip05: Value,
    about: Value,
}

fn content_of(profile: &Event) -> Content {
    serde_json::from_str(&profile.content).unwrap_or_default()
}

/// The domain of the NIP-05 name that a profile claims, in lower case; `None` when it claims none, or what it
/// claims is no `name@domain` with a domain in ASCII.
pub fn nip05_domain(profile: &Event) -> Option<String> {
    let content = content_of(profile);
    let (name, domain) = content.nip05.as_str()?.rsplit_once('@')?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let is_domain = !domain.is_empty()
        && domain.len() <= DOMAIN_BYTES_MAX
        && domain.bytes().all(is_plain)
        && domain.split('.').all(|label| !label.is_empty());
    (!name.is_empty() && is_domain).then(|| domain.to_ascii_lowercase())
}

/// Whether a profile refuses to be bridged to other networks: by `#nobridge` in its text about its author, or
/// as a `t` tag.
pub fn refuses_bridging(profile: &Event) -> bool {
    if profile.tags.values("t").any(|tag| tag.eq_ignore_ascii_case(UNBRIDGED_HASHTAG)) {
        return true;
    }
    // Most profiles are told apart without reading them as JSON; the word itself needs no escapes.
    if !profile.content.contains('#') && !profile.content.contains("\\u0023") {
        return false;
    }
    let about = content_of(profile).about;
    let words = about.as_str().into_iter().flat_map(|about| about.split('#').skip(1));
    words
        .map(|rest| {
            rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or("")
        })
        .any(|word| word.eq_ignore_ascii_case(UNBRIDGED_HASHTAG))
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
        let long = format!("{{\"nip05\":\"a@{}\"}}", vec!["abcdefg"; 32].join("."));
        let longest = long[..long.len() - 4].to_owned() + "\"}";
        let table = [
            (r#"{"nip05":"alice@Example.ORG"}"#, Some("example.org")),
            (r#"{"name":"x","nip05":"_@example.org","about":1}"#, Some("example.org")),
            (r#"{"nip05":"a@b@example.org"}"#, Some("example.org")),
            (r#"{"nip05":"a@localhost"}"#, Some("localhost")),
            (r#"{"nip05":"example.org"}"#, None),
            (r#"{"nip05":"@example.org"}"#, None),
            (r#"{"nip05":"a@"}"#, None),
            (r#"{"nip05":"a@example..org"}"#, None),
            (r#"{"nip05":"a@example.org/path"}"#, None),
            (r#"{"nip05":"a@bücher.example"}"#, None),
            (r#"{"nip05":null}"#, None),
            (r#"{"nip05":["a@example.org"]}"#, None),
            (r#"{}"#, None),
            (r#"["nip05"]"#, None),
            ("not JSON", None),
            ("", None),
            (&long, None),
        ];
        for (content, domain) in table {
            assert_eq!(nip05_domain(&profile(1, Tags::default(), content)).as_deref(), domain, "{content}");
        }
        assert_eq!(
            nip05_domain(&profile(1, Tags::default(), &longest)).map(|domain| domain.len()),
            Some(253)
        );
    }

    #[test]
    fn bridging_is_refused_by_a_hashtag() {
        let tagged: Tags = [["t", "NoBridge"]].into_iter().collect();
        assert!(refuses_bridging(&profile(1, tagged, "{}")));
        let table = [
            (r##"{"about":"I like cats. #nobridge"}"##, true),
            (r##"{"about":"#NoBridge, please"}"##, true),
            (r#"{"about":"\u0023nobridge"}"#, true),
            (r##"{"about":"#nobridges"}"##, false),
            (r##"{"about":"#nobridge_now"}"##, false),
            (r#"{"about":"nobridge"}"#, false),
            (r##"{"name":"#nobridge"}"##, false),
            (r##"{"about":["#nobridge"]}"##, false),
            ("#nobridge", false),
            ("", false),
        ];
        for (content, refuses) in table {
            assert_eq!(refuses_bridging(&profile(1, Tags::default(), content)), refuses, "{content}");
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
