//! `plaza explain`: would this event be accepted, and why? Runs a community's rules dry, over one event, a
//! draft, or a file of them. Changes nothing. In: events. Out: the trail, or a summary by rule.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::Value;

use super::{CommunityArgument, Failure, StoreArguments};
use crate::clock::Clock;
use crate::community::{Communities, Community, in_effect};
use crate::config::{Config, Mode, parse_key};
use crate::event::draft::{self, Given};
use crate::event::{Kind, PublicKey};
use crate::net::open_store;
use crate::pipeline::bodies::Bodies;
use crate::pipeline::{explain, learn, read_lists};
use crate::plugin::dry::{Dry, Said};
use crate::plugin::{Origin, REFUSED};
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
    /// Ask the community's plugins too: they run as with a relay, with all that they do besides
    #[arg(long)]
    plugins: bool,
    #[command(flatten)]
    store: StoreArguments,
}

/// What is said of an event.
struct Told {
    explanation: Explanation,
    /// What each plugin says, where they were asked.
    plugins: Vec<(String, Said)>,
    /// It is dropped, and its sender told that it was taken.
    is_dropped: bool,
}

/// The community and what is known to its rules.
struct Bench {
    config: Config,
    community: Arc<Community>,
    bodies: Option<Bodies>,
    keys: Vec<PublicKey>,
    relay: RelayNames,
    now: u64,
    /// The plugins, where they are to be asked.
    plugins: Option<Dry>,
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
        let mut bench = self.bench()?;
        match serde_json::from_str::<Value>(&text) {
            Ok(value) => {
                let given = draft::read(value, bench.now)?;
                let told = bench.explain(&given)?;
                bench.print(&told)?;
                Ok(told.explanation.decision.is_ok() && !told.is_dropped)
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
            config = in_effect(&config, store)?.0;
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
        let plugins = community.settings().plugins.clone();
        let plugins = self.plugins.then(|| Dry::start(community.path(), &plugins)).transpose()?;
        let (keys, now) = (self.keys.clone(), Clock::system().now());
        Ok(Bench { community, bodies, keys, relay, now, config, plugins })
    }
}

/// What a plugin says, in words.
fn words_of(said: &Said) -> String {
    match said {
        Said::Accepted => "accepts".to_owned(),
        Said::Refused(refusal) => format!("rejects, {refusal}"),
        Said::Dropped => "drops it, and has its sender told that it was taken".to_owned(),
        Said::Nothing(why, Ok(())) => format!("says nothing ({why}), and it goes on"),
        Said::Nothing(why, Err(refusal)) => format!("says nothing ({why}): {refusal}"),
        Said::NotAsked(why) => format!("not asked, {why}"),
    }
}

impl Bench {
    fn explain(&mut self, given: &Given) -> Result<Told, Failure> {
        let rules = self.community.rules();
        let context = rules.context(self.now, &self.keys, &self.relay);
        let (event, bodies) = (&given.event, self.bodies.as_ref());
        let mut explanation = explain(&self.community, &rules, event, given.is_signed, &context, bodies)?;
        let (mut plugins, mut is_dropped) = (Vec::new(), false);
        // Requests to vanish are followed whatever a plugin says.
        if let Some(chain) = self.plugins.as_mut().filter(|_| event.kind != Kind::VANISH)
            && explanation.reaches_plugins()
        {
            let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
            plugins = chain.ask(event, self.now, &Origin::client(here, &event.pubkey, &self.keys));
            let mode = rules.settings.plugins.mode;
            is_dropped = mode == Mode::Enforce && plugins.iter().any(|(_, said)| *said == Said::Dropped);
            let said = plugins.iter().try_for_each(|(_, said)| match said {
                Said::Refused(refusal) | Said::Nothing(_, Err(refusal)) => Err(refusal.clone()),
                _ => Ok(()),
            });
            explanation.take_plugins(said, mode);
        }
        Ok(Told { explanation, plugins, is_dropped })
    }

    /// The rules in order, each with what it says and the settings that decide.
    fn print(&self, Told { explanation, plugins, is_dropped }: &Told) -> Result<(), Failure> {
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
            let of_chain = plugins.iter().filter(|_| step.rule == REFUSED);
            of_chain
                .map(|(name, said)| (name, words_of(said)))
                .try_for_each(|(name, said)| writeln!(out, "        {name}: {said}"))?;
        }
        let path = self.community.path();
        match &explanation.decision {
            Ok(()) if *is_dropped => {
                writeln!(out, "{path}: dropped by a plugin, though its sender is told that it was taken")?;
            }
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
    fn summarise(&mut self, text: &str) -> Result<bool, Failure> {
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
                    Told { explanation: Explanation { decision: Err(refusal), .. }, .. } => {
                        count(refusal.rule, number + 1, refusal.to_string());
                    }
                    Told { is_dropped: true, .. } => {
                        count(REFUSED, number + 1, "dropped, though its sender is told otherwise".to_owned());
                    }
                    Told { explanation: Explanation { is_duplicate: true, .. }, .. } => duplicates += 1,
                    Told { .. } => accepted += 1,
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
