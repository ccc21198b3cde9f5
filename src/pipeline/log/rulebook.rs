//! Settings that the log names: an event is placed by those under which its node took it, on every node, whatever that
//! node's own are. In: settings of communities. Out: their text and a digest, which entries carry; of a text, rules.
//!
//! What is written is only what differs from the defaults, so that a node of an earlier version reads it as long as
//! nobody uses what is new.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::STATE;
use crate::community::Rules;
use crate::config::{Outbox, Plugins, Search, Settings, SharedLists};
use crate::rule::Known;
use crate::store::{CommunityId, Group, STATE_VALUE_BYTES_MAX, Store, StoreError};

/// Settings that are kept; when there are more, those that were named first are forgotten, on all nodes alike.
const KEPT_MAX: usize = 64;

/// Keys of their pieces begin with this; a digest and the number of the piece follow.
const KEY: &[u8] = b"rules/";

/// Settings as they are written.
#[derive(Serialize, Deserialize)]
struct Written {
    settings: Value,
    /// The text of a polygon's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drawn: Option<String>,
}

/// A community's settings as text, and its digest. Where files lie on one machine says nothing.
pub(super) fn write(settings: &Settings) -> (u64, String) {
    let mut settings = settings.clone();
    for list in &mut settings.blocklist.files {
        *list = list.file_name().map(Into::into).unwrap_or_default();
    }
    // Nor do these bear on what is placed.
    settings.plugins = Plugins::default();
    settings.search = Search::default();
    settings.outbox = Outbox::default();
    settings.shared_lists = SharedLists::default();
    let service = &mut settings.moderation_service;
    service.secret_file = None;
    (service.user, service.password_file) = (None, None);
    (service.tls_ca, service.tls_certificate, service.tls_key) = (None, None, None);
    settings.relay.secret_key_file = None;
    let drawn = settings.geohash.drawn().map(str::to_owned);
    let written = Written { settings: beside_defaults(&settings), drawn };
    // Settings came from a text, and become one again.
    let text = serde_json::to_string(&written).unwrap_or_default();
    let digest = Sha256::digest(text.as_bytes());
    let start: [u8; 8] = std::array::from_fn(|at| digest[at]);
    (u64::from_le_bytes(start), text)
}

/// What differs from the defaults.
fn beside_defaults(settings: &Settings) -> Value {
    let value = |settings: &Settings| serde_json::to_value(settings).unwrap_or_default();
    let (Value::Object(own), defaults) = (value(settings), value(&Settings::default())) else {
        return Value::Null;
    };
    let mut left = Map::new();
    for (section, own) in own {
        let Value::Object(own) = own else { continue };
        let is_other = |key: &String, value: &Value| defaults[&section].get(key) != Some(value);
        let own: Map<String, Value> = own.into_iter().filter(|(key, value)| is_other(key, value)).collect();
        if !own.is_empty() {
            left.insert(section, Value::Object(own));
        }
    }
    Value::Object(left)
}

/// Settings of a text; `None` for what this version does not understand.
pub(super) fn read(text: &str) -> Option<Settings> {
    let Written { settings, drawn } = serde_json::from_str(text).ok()?;
    let mut settings: Settings = serde_json::from_value(settings).ok()?;
    if let Some(drawn) = drawn {
        settings.geohash.draw(drawn).ok()?;
    }
    Some(settings)
}

struct Page {
    /// Where the log named it last.
    position: u64,
    pieces: u16,
    rules: Arc<Rules>,
}

/// All that the log has named lately.
#[derive(Default)]
pub(super) struct Rulebook(HashMap<u64, Page>);

fn key(digest: u64, piece: u16) -> Vec<u8> {
    [KEY, &digest.to_be_bytes(), &piece.to_be_bytes()].concat()
}

impl Rulebook {
    /// What a store holds of it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn load(store: &Store) -> Result<Rulebook, StoreError> {
        // Pieces lie in order: of each text the first one begins with where it was named.
        let mut texts: HashMap<u64, (u64, u16, Vec<u8>)> = HashMap::new();
        for entry in store.state(CommunityId(0), STATE) {
            let (key, value) = entry?;
            let Some((digest, [_, _])) = key.strip_prefix(KEY).and_then(|key| key.split_at_checked(8)) else {
                continue;
            };
            let digest = u64::from_be_bytes(digest.try_into().unwrap_or_default());
            match texts.get_mut(&digest) {
                Some((_, pieces, text)) => {
                    *pieces += 1;
                    text.extend_from_slice(&value);
                }
                None => {
                    let (position, text) = value.split_at_checked(8).unwrap_or_default();
                    let position = u64::from_le_bytes(position.try_into().unwrap_or_default());
                    texts.insert(digest, (position, 1, text.to_vec()));
                }
            }
        }
        let pages = texts.into_iter().filter_map(|(digest, (position, pieces, text))| {
            let rules = Arc::new(Rules::alone(read(std::str::from_utf8(&text).ok()?)?));
            Some((digest, Page { position, pieces, rules }))
        });
        Ok(Rulebook(pages.collect()))
    }

    /// The rules of settings, as moderators' decisions and groups stand. `None` when they were not named, or are
    /// forgotten.
    pub(super) fn find(&mut self, digest: u64, known: &Known) -> Option<Arc<Rules>> {
        let page = self.0.get_mut(&digest)?;
        let own = &page.rules.known;
        if !Arc::ptr_eq(&own.moderation, &known.moderation) || !Arc::ptr_eq(&own.groups, &known.groups) {
            let mut rules = Rules::clone(&page.rules);
            rules.known.moderation = Arc::clone(&known.moderation);
            rules.known.groups = Arc::clone(&known.groups);
            page.rules = Arc::new(rules);
        }
        Some(Arc::clone(&page.rules))
    }

    /// Takes settings up that an entry names, and adds them to what a group writes. False when this version does not
    /// understand them.
    pub(super) fn add(&mut self, digest: u64, text: &str, position: u64, group: &mut Group) -> bool {
        let Some(settings) = read(text) else { return false };
        let whole = [&position.to_le_bytes(), text.as_bytes()].concat();
        let mut pieces = 0;
        for piece in whole.chunks(STATE_VALUE_BYTES_MAX) {
            group.put_state(CommunityId(0), STATE, &key(digest, pieces), piece);
            pieces += 1;
        }
        self.0.insert(digest, Page { position, pieces, rules: Arc::new(Rules::alone(settings)) });
        if self.0.len() > KEPT_MAX
            && let Some(oldest) =
                self.0.iter().min_by_key(|(_, page)| page.position).map(|(digest, _)| *digest)
            && let Some(page) = self.0.remove(&oldest)
        {
            (0..page.pieces).for_each(|piece| group.remove_state(CommunityId(0), STATE, &key(oldest, piece)));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn settings(toml: &str) -> Settings {
        Config::parse(toml, Path::new("relay.toml")).unwrap_or_else(|error| panic!("{error}")).root
    }

    #[test]
    fn settings_come_back_as_they_went() {
        let key = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e";
        let table = [
            String::new(),
            "[retention]\nevents_per_author_max = 3\nauthor_full = \"oldest\"\n".to_owned(),
            format!("[authors]\nmembers = [\"{key}\"]\n[nip13]\ndifficulty_min = 4\n"),
            "[geohash]\nprefixes = [\"u33d\"]\nreplies = \"own\"\n[market]\nenabled = true\n".to_owned(),
            "[relay]\npreset = \"town-square\"\n".to_owned(),
        ];
        let mut digests = Vec::new();
        for toml in table {
            let own = settings(&toml);
            let (digest, text) = write(&own);
            assert_eq!(read(&text), Some(own), "{toml}\n{text}");
            digests.push(digest);
        }
        let count = digests.len();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), count, "others have other digests");
        assert_eq!(write(&Settings::default()).1, r#"{"settings":{}}"#, "defaults are not written");
        assert_eq!(read(r#"{"settings":{"relay":{"of_tomorrow":1}}}"#), None);
    }

    #[test]
    fn a_rulebook_is_the_same_after_a_restart_and_forgets_the_oldest() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = crate::store::Store::open(crate::store::Options {
            path: folder.path().join("data"),
            cache_bytes: 1 << 20,
            durability: crate::store::Durability::Process,
            touches: 0,
        })
        .expect("a store");
        let mut book = Rulebook::default();
        let mut texts = Vec::new();
        for number in 0..KEPT_MAX as u64 + 3 {
            // Long ones take several pieces.
            let name = format!("{number}{}", "x".repeat(if number % 2 == 0 { 9_000 } else { 1 }));
            texts.push(write(&settings(&format!("[relay]\ndescription = \"{name}\"\n"))));
            let (digest, text) = texts.last().expect("one");
            let mut group = Group::default();
            assert!(book.add(*digest, text, number, &mut group));
            store.commit(group).expect("stored");
        }
        let mut again = Rulebook::load(&store).expect("read");
        let known = Known::default();
        for (at, (digest, text)) in texts.iter().enumerate() {
            let found = [&mut book, &mut again]
                .map(|book| book.find(*digest, &known).map(|rules| Settings::clone(&rules.settings)));
            let wanted = (at >= 3).then(|| read(text)).flatten();
            assert_eq!(found, [wanted.clone(), wanted], "{at}");
        }
    }
}
