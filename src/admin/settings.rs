//! Settings that are changed without relay.toml. In: keys and values. Out: changes, and what holds now with where it
//! comes from. What a value may be is said where the file is checked (`src/config/overlay.rs`).

use serde_json::{Map, Value, json};

use super::changes::Made;
use super::{Admin, Caller, Denied};
use crate::community::{Change, OpenError, Rules};
use crate::config::{Adjustable, Config, Form, Overlay, Settings};
use crate::rule::moderation::Adjusted;

fn unread(error: &OpenError) -> Denied {
    tracing::error!("cannot read what was changed of settings: {error}");
    Denied::Failed("the relay could not read what was changed; its operator is told".to_owned())
}

/// The settings of the community at a path.
fn at<'c>(config: &'c Config, path: &str) -> Result<&'c Settings, Denied> {
    let found = config.all().find(|settings| settings.relay.path == path);
    found.ok_or_else(|| Denied::Refused("this community is no more".to_owned()))
}

/// A value by its dotted key.
fn value(sections: &Map<String, Value>, key: &str) -> Value {
    let found = key.split_once('.').and_then(|(section, name)| sections.get(section)?.get(name));
    found.cloned().unwrap_or(Value::Null)
}

impl Admin {
    /// What a call changes, once it is known to fit.
    pub(super) fn change_settings(
        &self,
        caller: &Caller<'_>,
        rules: &Rules,
        wanted: &Overlay,
        now: u64,
    ) -> Result<Made, Denied> {
        let path = caller.community.path();
        let changed = &rules.known.moderation.settings;
        let unknown = |key: &&String| Adjustable::of(key).is_none() && !changed.contains_key(*key);
        if let Some(key) = wanted.keys().find(unknown) {
            let sentence = format!("{key}: is no setting that is changed here; listsettings lists those");
            return Err(Denied::Refused(sentence));
        }
        let checked = self.reloader.check(path, wanted).map_err(|error| unread(&error))?;
        checked.map_err(|misfit| Denied::Refused(misfit.to_string()))?;
        let current = self.reloader.current.get();
        let before = current.sections_of(at(&current, path)?);
        let about =
            wanted.iter().map(|(key, to)| (key.clone(), json!({"from": value(&before, key), "to": to})));
        let about: Map<String, Value> = about.collect();
        let by = caller.key.to_string();
        let changes = wanted.iter().map(|(key, value)| {
            let adjusted = Adjusted { value: value.clone(), by: by.clone(), at: now };
            Change::Setting(key.clone(), (!value.is_null()).then_some(adjusted))
        });
        let about = json!({"settings": about});
        let (changes, answer) = (changes.collect(), json!(true));
        Ok(Made { changes, acts: Vec::new(), answer, about, releases: Vec::new() })
    }

    /// Takes up what is durable already.
    pub(super) fn refresh(&self) -> Result<(), Denied> {
        self.reloader.refresh().map_err(|error| {
            tracing::error!("cannot take up changed settings: {error}");
            Denied::Failed("the change is stored and could not be taken up; the operator is told".to_owned())
        })
    }

    /// Every setting that can be changed here: what it is, its value, and where that comes from.
    pub(super) fn list_settings(&self, caller: &Caller<'_>, rules: &Rules) -> Result<Value, Denied> {
        let path = caller.community.path();
        let changed = &rules.known.moderation.settings;
        let (current, configured) = (self.reloader.current.get(), self.reloader.configured());
        let of_file = at(&configured, path)?;
        let (values, values_of_file) =
            (current.sections_of(at(&current, path)?), configured.sections_of(of_file));
        let aside = self.reloader.left_aside().map_err(|error| unread(&error))?;
        let aside: Vec<_> = aside.into_iter().filter(|aside| aside.path == path).collect();
        let counts = |key: &str| !aside.iter().flat_map(|aside| &aside.keys).any(|one| one == key);
        let rows = Config::adjustable(path).map(|row| {
            let from_file = configured.source(of_file, row.key);
            let mut shown = json!({
                "key": row.key,
                "group": row.group,
                "title": row.title,
                "form": row.form.name().0,
                "value": value(&values, row.key),
                "from": from_file,
                "in_file": {"value": value(&values_of_file, row.key), "from": from_file},
            });
            if let Some(Adjusted { by, at, .. }) = changed.get(row.key).filter(|_| counts(row.key)) {
                shown["from"] = json!("page");
                (shown["by"], shown["at"]) = (json!(by), json!(at));
            }
            describe(row, &mut shown);
            shown
        });
        let aside = aside.iter().map(|aside| json!({"keys": aside.keys, "why": aside.misfit.to_string()}));
        Ok(json!({"settings": rows.collect::<Vec<_>>(), "left_aside": aside.collect::<Vec<_>>()}))
    }
}

/// Adds how a value is written.
fn describe(row: &Adjustable, shown: &mut Value) {
    let (_, unit) = row.form.name();
    if !unit.is_empty() {
        shown["unit"] = json!(unit);
    }
    if let Form::Choice(words) = row.form {
        shown["choices"] = words.iter().map(|(word, means)| json!([word, means])).collect();
    }
    if let Some((min, max)) = row.range() {
        (shown["min"], shown["max"]) = (json!(min), json!(max));
    }
    if let Some(example) = row.example() {
        shown["example"] = json!(example);
    }
}
