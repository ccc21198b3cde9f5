//! Settings as relay.toml would say them. In: a `Config`. Out: text that reads back as the same settings.

use serde::Serialize;
use serde_json::{Map, Value};

use super::explain::OF_THE_PROCESS;
use super::{Config, Settings};

/// A section by its name and settings.
pub(super) type Sections = Map<String, Value>;

pub(super) fn object_of(value: &impl Serialize) -> Sections {
    match serde_json::to_value(value) {
        Ok(Value::Object(sections)) => sections,
        _ => Sections::new(),
    }
}

impl Config {
    /// Every section and setting by name, as the root has them.
    pub fn sections(&self) -> Map<String, Value> {
        self.sections_of(&self.root)
    }

    /// Every section and setting by name, as one of the communities has them.
    pub fn sections_of(&self, settings: &Settings) -> Map<String, Value> {
        let mut sections = object_of(settings);
        let Config {
            server, tls, acme, store, compression, rate, nip40, nip62, log, metrics, cluster, ..
        } = self;
        let process = [
            ("server", object_of(server)),
            ("tls", object_of(tls)),
            ("acme", object_of(acme)),
            ("store", object_of(store)),
            ("compression", object_of(compression)),
            ("rate", object_of(rate)),
            ("nip40", object_of(nip40)),
            ("nip62", object_of(nip62)),
            ("log", object_of(log)),
            ("metrics", object_of(metrics)),
            ("cluster", object_of(cluster)),
        ];
        sections.extend(process.map(|(name, section)| (name.to_owned(), Value::Object(section))));
        sections
    }

    /// The whole file with every setting spelled out, presets expanded.
    pub fn to_toml(&self) -> String {
        let mut root = self.sections();
        if let Some(Value::Object(relay)) = root.get_mut("relay") {
            relay.remove("path");
        }
        let communities = self.communities.iter().map(|settings| {
            let mut sections = object_of(settings);
            // What a community says of itself stands right below its header.
            if let Some(Value::Object(relay)) = sections.remove("relay") {
                sections.extend(relay);
            }
            if let Some(Value::Object(limits)) = sections.get_mut("limits") {
                limits.retain(|name, _| !OF_THE_PROCESS.contains(&format!("limits.{name}").as_str()));
            }
            Value::Object(sections)
        });
        let communities: Vec<Value> = communities.collect();
        if !communities.is_empty() {
            root.insert("community".to_owned(), Value::Array(communities));
        }
        if !self.mirrors.is_empty() {
            let mirrors = self.mirrors.iter().map(|mirror| Value::Object(object_of(mirror))).collect();
            root.insert("mirror".to_owned(), Value::Array(mirrors));
        }
        let mut root = Value::Object(root);
        drop_nulls(&mut root);
        // Settings are texts, numbers, lists and tables: all of which TOML has.
        toml::to_string(&root).unwrap_or_default()
    }
}

/// TOML has no null: a setting without a value is left out.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
