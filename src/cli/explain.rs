//! `plaza explain`: would this event be accepted, and why? Runs a community's rules dry, over one event, a
//! draft, or a file of them. Changes nothing. In: events. Out: the trail, or a summary by rule.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::Value;

use super::{CommunityArgument, Failure, StoreArguments};
use crate::clock::Clock;
use crate::community::{Communities, Community, in_effect};
use crate::config::{Config, parse_key};
use crate::event::PublicKey;
use crate::event::draft::{self, Given};
use crate::net::open_store;
use crate::pipeline::bodies::Bodies;
use crate::pipeline::{explain, learn, read_lists};
use crate::policy::{Explanation, Verdict};
use crate::rule::RelayNames;
use crate::store::StoreError;

/// Characters of a setting's value that are shown.
const VALUE_CHARS_MAX: usize = 60;

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// One event or draft as JSON, or many, one a line; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    community: CommunityArgument,
    /// A key that the sender has proved (NIP-42), in hex or as npub1…; may be repeated
    #[arg(long = "as", value_name = "KEY", value_parser = |text: &str| parse_key(text))]
    keys: Vec<PublicKey>,
    #[command(flatten)]
    store: StoreArguments,
}

/// The community and what is known to its rules.
struct Bench {
    config: Config,
    community: Arc<Community>,
    bodies: Option<Bodies>,
    keys: Vec<PublicKey>,
    relay: RelayNames,
    now: u64,
}

impl Explain {
    /// Zero: accepted. One: refused. Two: could not be told.
    pub(super) fn run(self) -> ExitCode {
        match self.explain() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(1),
            Err(failure) => {
                eprintln!("plaza: {failure}");
                ExitCode::from(2)
            }
        }
    }

    /// Whether all that was given would be accepted.
    fn explain(&self) -> Result<bool, Failure> {
        let text = match self.file.as_os_str() == "-" {
            true => std::io::read_to_string(std::io::stdin())?,
            false => std::fs::read_to_string(&self.file)
                .map_err(|error| format!("cannot read {}: {error}", self.file.display()))?,
        };
        let bench = self.bench()?;
        match serde_json::from_str::<Value>(&text) {
            Ok(value) => {
                let given = draft::read(value, bench.now)?;
                let explanation = bench.explain(&given)?;
                bench.print(&explanation)?;
                Ok(explanation.decision.is_ok())
            }
            Err(error) if text.trim().lines().count() <= 1 => Err(format!("this is no JSON: {error}").into()),
            Err(_) => bench.summarise(&text),
        }
    }

    fn bench(&self) -> Result<Bench, Failure> {
        let mut config = self.store.load()?;
        // To open a folder that is not there would make one.
        let store = match config.store.path.exists() {
            false => None,
            true => match open_store(&config.store) {
                Ok(store) => Some(Arc::new(store)),
                Err(StoreError::InUse { .. }) => {
                    eprintln!(
                        "plaza: a relay runs on these events; rules that look at them are not asked, and what was \
                         changed at /admin does not count here: `plaza admin call explain` asks the relay itself"
                    );
                    None
                }
                Err(error) => return Err(error.into()),
            },
        };
        if let Some(store) = &store {
            config = in_effect(&config, store)?;
        }
        let communities = match &store {
            Some(store) => Communities::open(&config, store)?,
            None => Communities::without_store(&config),
        };
        let community = self.community.find(&communities)?;
        let relay =
            RelayNames::new(&community.settings().relay.urls, Some(config.server.listen), community.path());
        let bodies = store.map(|store| Bodies::new(store, 0));
        read_lists(&community);
        if let Some(bodies) = &bodies {
            learn(&community, bodies);
        }
        Ok(Bench { community, bodies, keys: self.keys.clone(), relay, now: Clock::system().now(), config })
    }
}

impl Bench {
    fn explain(&self, given: &Given) -> Result<Explanation, Failure> {
        let rules = self.community.rules();
        let context = rules.context(self.now, &self.keys, &self.relay);
        Ok(explain(&self.community, &rules, &given.event, given.is_signed, &context, self.bodies.as_ref())?)
    }

    /// The rules in order, each with what it says and the settings that decide.
    fn print(&self, explanation: &Explanation) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let width = explanation.steps.iter().map(|step| step.rule.len()).max().unwrap_or(0);
        for step in &explanation.steps {
            let (word, said) = match &step.verdict {
                Verdict::Passed => ("pass", None),
                Verdict::Refused(refusal) => ("REFUSE", Some(refusal.to_string())),
                Verdict::Shadowed(refusal) => ("shadow", Some(format!("would refuse, {refusal}"))),
                Verdict::Hidden => ("hide", Some("not shown to who sends it".to_owned())),
                Verdict::WouldHide => ("shadow", Some("would not be shown to who sends it".to_owned())),
                Verdict::NotAsked(why) => ("-", Some((*why).to_owned())),
            };
            let settings: Vec<String> = step.settings.iter().filter_map(|key| self.setting(key)).collect();
            let line = format!("{word:<7} {:<width$}  {}", step.rule, settings.join(", "));
            writeln!(out, "{}", line.trim_end())?;
            if let Some(said) = said {
                writeln!(out, "        {said}")?;
            }
        }
        let path = self.community.path();
        match &explanation.decision {
            Ok(()) if explanation.is_duplicate => writeln!(out, "{path}: stored already")?,
            Ok(()) => writeln!(out, "{path}: accepted")?,
            Err(refusal) => writeln!(out, "{path}: refused, {refusal}")?,
        }
        Ok(())
    }

    /// A setting as relay.toml has it; `None` when nothing is set.
    fn setting(&self, key: &str) -> Option<String> {
        let sections = self.config.sections_of(&self.community.settings());
        let (section, name) = key.split_once('.')?;
        let value = sections.get(section)?.get(name)?;
        let is_empty = match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if is_empty {
            return None;
        }
        let value = value.to_string();
        Some(match value.char_indices().nth(VALUE_CHARS_MAX) {
            Some((end, _)) => format!("{key} = {}…", &value[..end]),
            None => format!("{key} = {value}"),
        })
    }

    /// Many events: how many would be accepted, and which rule refuses how many, with the first of each.
    fn summarise(&self, text: &str) -> Result<bool, Failure> {
        let (mut accepted, mut duplicates) = (0_u64, 0_u64);
        let mut refused: BTreeMap<String, (u64, usize, String)> = BTreeMap::new();
        let mut count = |rule: &str, line: usize, said: String| {
            refused.entry(rule.to_owned()).or_insert((0, line, said)).0 += 1;
        };
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        for (number, line) in lines {
            let value = serde_json::from_str::<Value>(line).map_err(|error| error.to_string());
            match value.and_then(|value| draft::read(value, self.now)) {
                Err(failure) => count("no event", number + 1, failure),
                Ok(given) => match self.explain(&given)? {
                    Explanation { decision: Err(refusal), .. } => {
                        count(refusal.rule, number + 1, refusal.to_string());
                    }
                    Explanation { is_duplicate: true, .. } => duplicates += 1,
                    Explanation { .. } => accepted += 1,
                },
            }
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{accepted} accepted, {duplicates} stored already")?;
        let mut refused: Vec<_> = refused.into_iter().collect();
        refused.sort_by_key(|(_, (count, ..))| std::cmp::Reverse(*count));
        for (rule, (count, line, said)) in &refused {
            writeln!(out, "{count} refused by {rule}; the first, line {line}: {said}")?;
        }
        Ok(refused.is_empty())
    }
}
