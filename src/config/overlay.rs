//! Settings over those of relay.toml: what owners and admins change of their community without the file (nips/86.md).
//! In: checked settings, and other values by key. Out: settings of the same form, checked by the code that checks the
//! file. Never writes a file, and never says who may change what.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::de::DeTable;

use super::adjustable::Adjustable;
use super::document::{Document, merged, with_relay_section};
use super::error::Fault;
use super::write::{drop_nulls, object_of};
use super::{Config, INHERITED, PROCESS, Preset, Settings, validate};

/// What is changed of one community: keys of relay.toml, and the values in place of the file's.
pub type Overlay = BTreeMap<String, Value>;

/// Why a change does not fit; its text names key and remedy, as that of a [`super::ConfigError`] does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}; {remedy}")]
pub struct Misfit {
    /// The key, such as `limits.limit_max`.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl From<Fault> for Misfit {
    fn from(fault: Fault) -> Misfit {
        Misfit { key: fault.key, problem: fault.problem, remedy: fault.remedy }
    }
}

/// What does not fit the file (any more) and therefore does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// Of which community.
    pub path: String,
    /// The keys that were changed there, and now have the values of the file.
    pub keys: Vec<String>,
    /// Why.
    pub misfit: Misfit,
}

/// Where a value in relay.toml comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The community's own sections of relay.toml.
    File,
    /// Its preset.
    Preset,
    /// The root's sections of relay.toml, which hold where a community says nothing.
    Root,
    /// Nobody says anything else.
    Default,
}

/// The keys that stand in relay.toml, by the path of the community that has them.
#[derive(Debug, Clone, Default)]
pub struct Written(BTreeMap<String, BTreeSet<String>>);

/// Where settings stand says nothing of what they are.
impl PartialEq for Written {
    fn eq(&self, _: &Written) -> bool {
        true
    }
}

impl Written {
    /// Notes what stands in a community's part of the file, or in the root's.
    pub(super) fn note(&mut self, document: &Document<'_>) {
        let keys = self.0.entry(document.community().unwrap_or("/").to_owned()).or_default();
        for section in document.top() {
            let table = section.value.as_table().map(|table| document.entries(table)).unwrap_or_default();
            keys.extend(table.iter().map(|entry| format!("{}.{}", section.key, entry.key)));
        }
    }

    fn has(&self, path: &str, key: &str) -> bool {
        self.0.get(path).is_some_and(|keys| keys.contains(key))
    }
}

/// Whether a preset sets a key.
fn sets(preset: Preset, key: &str) -> bool {
    let table = DeTable::parse(preset.text()).map(|table| with_relay_section(table.into_inner()));
    let (section, name) = key.split_once('.').unwrap_or((key, ""));
    table.is_ok_and(|table| {
        table.get(section).and_then(|section| section.get_ref().as_table()?.get(name)).is_some()
    })
}

impl Config {
    /// Where the value that relay.toml gives one of the communities comes from.
    pub fn source(&self, settings: &Settings, key: &str) -> Source {
        let path = settings.relay.path.as_str();
        let section = key.split('.').next().unwrap_or(key);
        let is_preset = settings.relay.preset.is_some_and(|preset| sets(preset, key));
        let from_root = INHERITED.contains(&section) && self.written.has("/", key);
        match self.written.has(path, key) {
            true => Source::File,
            false if is_preset => Source::Preset,
            false if path != "/" && from_root => Source::Root,
            false => Source::Default,
        }
    }

    /// These settings with what is changed of each community, by its path. What does not fit is left aside.
    pub fn overlaid(&self, overlays: &BTreeMap<String, Overlay>) -> (Config, Vec<Aside>) {
        let (mut config, mut aside) = (self.clone(), Vec::new());
        for (path, overlay) in overlays {
            let mut overlay = overlay.clone();
            while let Err(misfit) = config.change(path, &overlay) {
                // Where what is blamed stands in the file, none of it can be told to be right.
                let keys = match overlay.remove_entry(&misfit.key) {
                    Some((key, _)) => vec![key],
                    None => std::mem::take(&mut overlay).into_keys().collect(),
                };
                aside.push(Aside { path: path.clone(), keys, misfit });
            }
        }
        (config, aside)
    }

    /// Puts other values in place of one community's; of one that is not there nothing is changed.
    ///
    /// # Errors
    /// The first value that is wrong; then nothing has changed.
    pub fn change(&mut self, path: &str, overlay: &Overlay) -> Result<(), Misfit> {
        let Some(at) = self.all().position(|settings| settings.relay.path == path) else { return Ok(()) };
        if overlay.is_empty() {
            return Ok(());
        }
        let text = text_of(path, overlay)?;
        let document = Document::parse(&text).map_err(|cause| Misfit {
            key: overlay.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            problem: format!("cannot be written as relay.toml would have it: {}", cause.message()),
            remedy: "write values as listsettings shows them".to_owned(),
        })?;
        let base = self.all().nth(at).cloned().unwrap_or_default();
        let mut settings: Settings =
            read_over(&document, &base, |section| !PROCESS.contains(&section)).map_err(Misfit::from)?;
        settings.geohash.keep_drawing(&base.geohash);
        let rate_alone = BTreeMap::from([("rate", &self.rate)]);
        let mut rate: BTreeMap<String, super::Rate> =
            read_over(&document, &rate_alone, |section| section == "rate").map_err(Misfit::from)?;
        let rate = rate.remove("rate").unwrap_or_default();
        let touches_all = rate != self.rate;
        let before =
            (std::mem::replace(self.settings_mut(at), settings), std::mem::replace(&mut self.rate, rate));
        let checked = self
            .all()
            .enumerate()
            .filter(|(other, _)| touches_all || *other == at)
            .try_for_each(|(_, settings)| validate::check(self, settings, &document));
        if checked.is_err() {
            *self.settings_mut(at) = before.0;
            self.rate = before.1;
        }
        checked.map_err(Misfit::from)
    }

    /// One of all communities, the root first.
    fn settings_mut(&mut self, at: usize) -> &mut Settings {
        match at.checked_sub(1) {
            None => &mut self.root,
            Some(at) => &mut self.communities[at],
        }
    }
}

/// What is changed as relay.toml would say it.
fn text_of(path: &str, overlay: &Overlay) -> Result<String, Misfit> {
    let mut text = String::new();
    let mut last = "";
    for (key, value) in overlay {
        let misfit =
            |problem: String, remedy: &str| Misfit { key: key.clone(), problem, remedy: remedy.to_owned() };
        let row = Adjustable::of(key).ok_or_else(|| {
            misfit("is no setting that is changed here".to_owned(), "listsettings lists those")
        })?;
        if row.is_of_the_process() && path != "/" {
            return Err(misfit(
                "holds for all communities together".to_owned(),
                "change it at the root community",
            ));
        }
        let value = toml::Value::try_from(value).map_err(|cause| {
            misfit(format!("is no value of relay.toml: {cause}"), "write one as listsettings does")
        })?;
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        if section != last {
            text.push_str(&format!("[{section}]\n"));
            last = section;
        }
        text.push_str(&format!("{name} = {value}\n"));
    }
    Ok(text)
}

/// Reads some sections of a document over those of `base`.
fn read_over<T: DeserializeOwned>(
    document: &Document<'_>,
    base: &impl Serialize,
    wanted: impl Fn(&str) -> bool,
) -> Result<T, Fault> {
    let mut beneath = Value::Object(object_of(base));
    drop_nulls(&mut beneath);
    // Checked settings are texts, numbers, lists and tables: all of which TOML has.
    let beneath = toml::to_string(&beneath).unwrap_or_default();
    let beneath = DeTable::parse(&beneath).map(toml::Spanned::into_inner).unwrap_or_default();
    document.read(merged(beneath, document.part(wanted)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("relay.toml")).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn overlay(changes: &Value) -> Overlay {
        serde_json::from_value(changes.clone()).expect("an object")
    }

    #[test]
    fn what_is_changed_is_as_if_the_file_said_it() {
        let file = "[relay]\nname = \"Town\"\n[limits]\nlimit_max = 700\n[[community]]\npath = \"/market\"\n\
                    preset = \"marketplace\"\n[community.geohash]\nprefixes = [\"u33d\"]";
        let key = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e";
        let table = [
            ("/", json!({"access.write": "members"}), "[access]\nwrite = \"members\""),
            ("/", json!({"rate.author_events_per_minute": 5}), "[rate]\nauthor_events_per_minute = 5"),
            ("/", json!({"kinds.allowed": [0, "10-12"]}), "[kinds]\nallowed = [0, \"10-12\"]"),
            ("/", json!({"authors.members": [key]}), &format!("[authors]\nmembers = [\"{key}\"]")),
            (
                "/",
                json!({"retention.age_days_max_by_kind": {"1": 30, "7,20000-29999": 2}}),
                "[retention]\nage_days_max_by_kind = { \"1\" = 30, \"7,20000-29999\" = 2 }",
            ),
            (
                "/",
                json!({"nip13.difficulty_min": 8, "nip13.commitment_required": false}),
                "[nip13]\ndifficulty_min = 8\ncommitment_required = false",
            ),
        ];
        for (path, changes, text) in table {
            let mut changed = config(file);
            changed.change(path, &overlay(&changes)).unwrap_or_else(|misfit| panic!("{changes}: {misfit}"));
            let said = file.replace("[limits]", &format!("{text}\n[limits]"));
            assert_eq!(changed, config(&said), "{changes}");
        }
        let mut changed = config(file);
        changed.change("/market", &overlay(&json!({"market.enabled": false}))).expect("it fits");
        assert_eq!(changed, config(&format!("{file}\n[community.market]\nenabled = false")));
        changed.change("/nowhere", &overlay(&json!({"market.enabled": true}))).expect("nothing to change");
    }

    #[test]
    fn what_does_not_fit_names_key_and_remedy_and_changes_nothing() {
        let file = "[rate]\naddress_bytes_burst = 2_000_000\n[[community]]\npath = \"/market\"\n\
                    [community.limits]\nmessage_bytes_max = 1_000_000";
        let table = [
            (
                "/",
                json!({"access.write": "friends"}),
                "access.write: must be \"all\", \"authenticated\", \"members\" or \"none\", but is \"friends\"; \
                 write for example write = \"all\"",
            ),
            (
                "/market",
                json!({"limits.limit_max": 0}),
                "limits.limit_max: must be a whole number from 1 to 1_000_000, but is 0; raise it",
            ),
            (
                "/market",
                json!({"limits.limit_default": 6_000}),
                "limits.limit_default: must be at most limits.limit_max (5_000), but is 6_000; \
                 lower it or raise limit_max",
            ),
            (
                "/market",
                json!({"rate.enabled": false}),
                "rate.enabled: holds for all communities together; change it at the root community",
            ),
            (
                "/",
                json!({"store.path": "elsewhere"}),
                "store.path: is no setting that is changed here; listsettings lists those",
            ),
            // What another community has counts too.
            (
                "/",
                json!({"rate.address_bytes_burst": 900_000}),
                "rate.address_bytes_burst: must be at least limits.message_bytes_max (1_000_000), but is 900_000; \
                 raise it or lower limits.message_bytes_max",
            ),
            (
                "/",
                json!({"kinds.allowed": ["many"]}),
                "kinds.allowed: a kind is a whole number from 0 to 65535, or a range in quotes such as \"30000-39999\"; \
                 write for example allowed = [0, 1, \"30000-39999\"]",
            ),
            (
                "/",
                json!({"nip13.difficulty_min": true}),
                "nip13.difficulty_min: must be a whole number from 0 to 64, but is true; \
                 write for example difficulty_min = 0",
            ),
        ];
        for (path, changes, said) in table {
            let mut changed = config(file);
            let misfit = changed.change(path, &overlay(&changes)).expect_err(said);
            assert_eq!(misfit.to_string(), said);
            assert_eq!(changed, config(file), "{changes}");
        }
    }

    #[test]
    fn what_no_longer_fits_is_left_aside_and_the_rest_holds() {
        let file = config("[limits]\nlimit_max = 300\nlimit_default = 100");
        let changes = json!({"limits.limit_default": 400, "access.read": "members", "kinds.none": 1});
        let overlays = BTreeMap::from([("/".to_owned(), overlay(&changes))]);
        let (changed, aside) = file.overlaid(&overlays);
        let keys: Vec<&[String]> = aside.iter().map(|aside| aside.keys.as_slice()).collect();
        assert_eq!(keys, [["kinds.none"], ["limits.limit_default"]]);
        assert_eq!(changed.root.access.read, super::super::Read::Members);
        assert_eq!(changed.root.limits, file.root.limits);
    }

    #[test]
    fn every_value_comes_from_somewhere() {
        let file = config(
            "[limits]\nlimit_max = 700\n[rate]\nenabled = false\n[[community]]\npath = \"/market\"\n\
             preset = \"marketplace\"\n[community.access]\nread = \"members\"",
        );
        let market = &file.communities[0];
        let table = [
            (&file.root, "limits.limit_max", Source::File),
            (&file.root, "rate.enabled", Source::File),
            (&file.root, "access.read", Source::Default),
            (market, "limits.limit_max", Source::Root),
            (market, "limits.limit_default", Source::Default),
            (market, "access.read", Source::File),
            (market, "kinds.allowed", Source::Preset),
            (market, "kinds.denied", Source::Default),
            (market, "market.enabled", Source::Preset),
        ];
        for (settings, key, source) in table {
            assert_eq!(file.source(settings, key), source, "{} {key}", settings.relay.path);
        }
    }

    #[test]
    fn settings_stay_what_they_are_where_nothing_is_changed() {
        for preset in Preset::ALL {
            let name = preset.as_str();
            let file = config(&format!(
                "[[community]]\npath = \"/a\"\npreset = \"{name}\"\n[community.geohash]\ncenter = [52.52, 13.4]\n\
                 radius_km = 5.5\n[community.market]\nprice_min = {{ EUR = \"0.50\", sats = 1 }}\n\
                 [community.blocklist]\ndomains_allowed = [\"example.com\"]"
            ));
            let mut changed = file.clone();
            let changes = overlay(&json!({"nip13.difficulty_min": 8}));
            changed.change("/a", &changes).unwrap_or_else(|misfit| panic!("{name}: {misfit}"));
            changed.communities[0].nip13.difficulty_min = file.communities[0].nip13.difficulty_min;
            assert_eq!(changed, file, "{name}");
        }
    }
}
