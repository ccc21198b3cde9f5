//! `[[mirror]]`: streams of events from and to other relays. In: the tables of relay.toml. Out: checked settings, or
//! the first fault, at its line. Each is about one community and one relay.

use std::fmt;
use std::path::PathBuf;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Deserialize as DeriveDeserialize, Serialize};
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::DeTable;

use super::Config;
use super::document::{Document, Entry};
use super::error::{Fault, excerpt};
use super::validate::{grouped, url_problem};
use super::write::object_of;
use crate::filter::Filter;

/// Filters of one mirror.
const FILTERS_MAX: usize = 16;

/// Events a second, at most.
const EVENTS_PER_SECOND_MAX: u32 = 1_000_000;

/// Seconds between two comparisons, at most.
const CATCH_UP_SECONDS_MAX: u64 = 366 * 24 * 3_600;

/// Which way events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, DeriveDeserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the other relay to this one.
    #[default]
    Down,
    /// From this one to the other relay.
    Up,
    /// Both.
    Both,
}

/// How what either side lacks is found out, when a connection begins and every so often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, DeriveDeserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backfill {
    /// By reconciliation (NIP-77), or page by page where the other relay has none.
    #[default]
    Negentropy,
    /// Page by page, newest first.
    Pages,
    /// Not at all: only what is new is carried over.
    None,
}

/// What is asked of events that come down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, DeriveDeserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MirrorPolicy {
    /// The community's rules, as of a client that has proved the mirror's key.
    #[default]
    Rules,
    /// That its signature is true, and nothing else.
    Trusted,
}

/// What a mirror is about: filters as they go over the wire.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Filters(Vec<Map<String, Value>>);

impl Default for Filters {
    /// Everything.
    fn default() -> Self {
        Filters(vec![Map::new()])
    }
}

impl Filters {
    /// Those of this JSON, each of which must be a filter without a limit.
    ///
    /// # Errors
    /// Which is wrong, and why.
    pub fn new(filters: Vec<Map<String, Value>>) -> Result<Filters, String> {
        if filters.is_empty() || filters.len() > FILTERS_MAX {
            return Err(format!("there are 1 to {FILTERS_MAX} filters, not {}", filters.len()));
        }
        for filter in &filters {
            Filter::from_json(&Value::from(filter.clone()).to_string())?;
            if filter.contains_key("limit") {
                return Err("a mirror's filter has no limit".to_owned());
            }
        }
        Ok(Filters(filters))
    }

    /// Each as JSON.
    pub fn json(&self) -> &[Map<String, Value>] {
        &self.0
    }

    /// Each as the relay reads it.
    pub fn parsed(&self) -> Vec<Filter> {
        // They were checked when they were made.
        self.0
            .iter()
            .filter_map(|one| Filter::from_json(&Value::from(one.clone()).to_string()).ok())
            .collect()
    }
}

impl<'de> Deserialize<'de> for Filters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let one = |value: Value| match value {
            Value::Object(filter) => Ok(filter),
            Value::String(text) => serde_json::from_str(&text).map_err(|_| "a filter in quotes is JSON"),
            _ => Err("a filter is a table, or JSON in quotes"),
        };
        let filters = match Value::deserialize(deserializer)? {
            Value::Array(list) => list.into_iter().map(one).collect::<Result<Vec<_>, _>>(),
            value => one(value).map(|filter| vec![filter]),
        };
        Filters::new(filters.map_err(D::Error::custom)?).map_err(D::Error::custom)
    }
}

/// `[[mirror]]`: one stream between a community and another relay.
#[derive(Debug, Clone, PartialEq, DeriveDeserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mirror {
    /// The path of the community that it is for.
    pub community: String,
    /// The other relay, as ws:// or wss://.
    pub url: String,
    /// Which way events go.
    pub direction: Direction,
    /// Which events.
    pub filter: Filters,
    /// The file of the secret key to log in with (NIP-42), as nsec1… or 64 hexadecimal digits.
    pub key_file: Option<PathBuf>,
    /// How what was missed is found out.
    pub backfill: Backfill,
    /// Seconds after which it is looked again for what was missed; 0: only when a connection begins.
    pub catch_up_seconds: u64,
    /// What is asked of events that come down.
    pub policy: MirrorPolicy,
    /// Events that come down in a second, at most.
    pub events_per_second: u32,
    /// Whether it runs.
    pub enabled: bool,
}

impl Default for Mirror {
    fn default() -> Self {
        Mirror {
            community: "/".to_owned(),
            url: String::new(),
            direction: Direction::default(),
            filter: Filters::default(),
            key_file: None,
            backfill: Backfill::default(),
            catch_up_seconds: 3_600,
            policy: MirrorPolicy::default(),
            events_per_second: 1_000,
            enabled: true,
        }
    }
}

impl Mirror {
    /// Whether events come from the other relay.
    pub fn comes_down(&self) -> bool {
        self.direction != Direction::Up
    }

    /// Whether events go to the other relay.
    pub fn goes_up(&self) -> bool {
        self.direction != Direction::Down
    }

    /// What tells it from others, as a reload names it.
    pub fn name(&self) -> String {
        format!("mirror[{} {}]", self.community, self.url)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Down => "down",
            Direction::Up => "up",
            Direction::Both => "both",
        })
    }
}

/// What is wrong with a mirror's keys, and what to do.
const WANTED: &[(&str, &str)] = &[
    ("community", "write the path of a community, such as community = \"/berlin\""),
    ("url", "write for example url = \"wss://relay.example\""),
    ("direction", "write direction = \"down\", \"up\" or \"both\""),
    ("filter", "write for example filter = { kinds = [0, 1] }, or a list of such"),
    ("key_file", "write for example key_file = \"mirror.key\""),
    ("backfill", "write backfill = \"negentropy\", \"pages\" or \"none\""),
    ("catch_up_seconds", "write for example catch_up_seconds = 3_600"),
    ("policy", "write policy = \"rules\" or \"trusted\""),
    ("events_per_second", "write for example events_per_second = 1_000"),
    ("enabled", "write enabled = true or false, without quotes"),
];

fn remedy_of(key: &str) -> String {
    WANTED.iter().find(|(name, _)| *name == key).map_or("", |(_, remedy)| remedy).to_owned()
}

/// Reads the tables of mirrors, whose communities are those of the config.
pub(super) fn read(
    config: &Config,
    document: &Document<'_>,
    tables: Vec<(usize, DeTable<'_>)>,
) -> Result<Vec<Mirror>, Fault> {
    let mut mirrors: Vec<Mirror> = Vec::new();
    for (number, (line, table)) in (1..).zip(tables) {
        let fault = |key: &str, line: usize, problem: String, remedy: String| Fault {
            line,
            key: format!("mirror[{number}].{key}"),
            problem,
            remedy,
        };
        let entries = document.entries(&table);
        let lines: Vec<(String, usize)> =
            entries.iter().map(|entry| (entry.key.to_owned(), entry.line)).collect();
        let line_of = |key: &str| lines.iter().find(|(name, _)| name == key).map_or(line, |(_, line)| *line);
        let known = object_of(&Mirror::default());
        if let Some(Entry { key, line, .. }) = entries.iter().find(|entry| !known.contains_key(entry.key)) {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            let problem = "[[mirror]] has no such setting".to_owned();
            return Err(fault(
                &excerpt(key),
                *line,
                problem,
                format!("its settings are {}", names.join(", ")),
            ));
        }
        drop(entries);
        let mirror = read_one(document, table.clone())
            .map_err(|(key, problem)| fault(&key, line_of(&key), problem, remedy_of(&key)))?;
        check(config, &mirrors, &mirror)
            .map_err(|(key, problem)| fault(key, line_of(key), problem, remedy_of(key)))?;
        mirrors.push(mirror);
    }
    Ok(mirrors)
}

/// Reads one, or says which key is wrong and why.
fn read_one(document: &Document<'_>, table: DeTable<'_>) -> Result<Mirror, (String, String)> {
    let spans: Vec<(String, std::ops::Range<usize>)> =
        table.iter().map(|(key, value)| (key.get_ref().to_string(), value.span())).collect();
    Mirror::deserialize(toml::de::Deserializer::from(Spanned::new(0..0, table))).map_err(|cause| {
        let span = cause.span().unwrap_or_default();
        let is_around = |value: &std::ops::Range<usize>| value.start <= span.start && span.end <= value.end;
        let key = spans.iter().find(|(_, value)| is_around(value)).map(|(key, _)| key.clone());
        match key {
            // What a filter breaks says itself what is wrong.
            Some(key) if key == "filter" => (key, cause.message().to_owned()),
            Some(key) => (key, format!("cannot be {}", excerpt(document.source(&span)))),
            None => ("url".to_owned(), cause.message().to_owned()),
        }
    })
}

/// What must hold besides.
fn check(config: &Config, others: &[Mirror], mirror: &Mirror) -> Result<(), (&'static str, String)> {
    if let Some(problem) = url_problem(&mirror.url, ["wss", "ws"]) {
        return Err(("url", problem));
    }
    if !config.all().any(|settings| settings.relay.path == mirror.community) {
        return Err(("community", format!("there is no community at {:?}", excerpt(&mirror.community))));
    }
    let is_same = |other: &&Mirror| (&other.community, &other.url) == (&mirror.community, &mirror.url);
    if others.iter().any(|other| is_same(&other)) {
        let problem = "another [[mirror]] of this community has it; filter takes a list".to_owned();
        return Err(("url", problem));
    }
    if !(1..=EVENTS_PER_SECOND_MAX).contains(&mirror.events_per_second) {
        let most = grouped(EVENTS_PER_SECOND_MAX.into());
        return Err(("events_per_second", format!("must be a whole number from 1 to {most}")));
    }
    if mirror.catch_up_seconds > CATCH_UP_SECONDS_MAX {
        let most = grouped(CATCH_UP_SECONDS_MAX);
        return Err(("catch_up_seconds", format!("must be a whole number from 0 to {most}")));
    }
    Ok(())
}
