//! What rules cost: all that the presets and their sections ask for, in one community, over the corpus, on one
//! thread. In: events. Out: nanoseconds an event, and the dearest rules. Never touches a store.

use std::sync::Arc;
use std::time::Instant;

use super::Failure;
use super::report::Table;
use super::stage::{BATCH_EVENTS, Stage};
use super::stats::Figures;
use crate::clock::Clock;
use crate::config::{Config, Settings};
use crate::domain::lists::Domains;
use crate::event::{Event, Verified};
use crate::policy::{Policy, rules};
use crate::rule::people::People;
use crate::rule::{Check, Context, Known, Related, RelayNames};

/// Domains of the blocklist.
const DOMAINS: usize = 5_000;

/// Rules that are shown one by one, the dearest first.
const DEAREST_SHOWN: usize = 5;

/// Every section of every preset, filled in as an operator would. In shadow mode no rule ends the round, so
/// that each event pays for all of them, and for the words of those that would refuse.
const SETTINGS: &str = r#"
[limits]
mode = "shadow"
content_chars_max_by_kind = { "1,1111" = 20_000, "7" = 256 }
[kinds]
mode = "shadow"
allowed = ["0-1999", 9735, 21059, "10000-19999", "30000-39999"]
denied = ["5000-7000", 20000, 20001, 24133]
[access]
mode = "shadow"
read = "members"
write = "members"
[nip70]
mode = "shadow"
[nip29]
enabled = true
[nip43]
enabled = true
[geohash]
mode = "shadow"
center = [52.52, 13.40]
radius_km = 10.0
border_precision = 7
replies = "all"
prefix_filters = true
replay_seconds = 300
replay_events_max = 200
[market]
mode = "shadow"
enabled = true
currencies = ["sats", "EUR"]
categories = ["market", "bread", "books"]
price_min = { sats = 1, EUR = "0.50" }
price_max = { sats = 10_000_000, EUR = "5000" }
listings_per_author_max = 100
images_max = 10
location_required = true
geohash_required = true
[zaps]
mode = "shadow"
enabled = true
description_hash_required = true
amount_required = true
after_closed = "refuse"
[media]
mode = "shadow"
videos_checked = true
imeta_checked = true
hosts_denied = ["tracker.example", "ads.example"]
content_warning = "required"
labels_refused = ["nsfw"]
duration_seconds_max_by_kind = { "22,34236" = 60 }
[bridge]
mode = "shadow"
ids_checked = true
events_per_minute = 600
protocols_refused = ["rss"]
domains_refused = ["refused.example"]
[blocklist]
mode = "shadow"
files = ["blocklist.csv"]
"#;

/// Nanoseconds an event, of one part of the rules.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cost {
    key: &'static str,
    name: &'static str,
    median: f64,
    p99: f64,
}

/// What was measured.
struct Costs {
    /// The rules by when they run.
    parts: Vec<Cost>,
    /// The dearest single rules, by the mean.
    dearest: Vec<(&'static str, f64)>,
}

/// How long something takes for each event; once before without a clock, so that caches are as warm as a busy
/// relay's.
fn nanos(events: &[Event], mut run: impl FnMut(&Event)) -> Vec<f64> {
    events.iter().for_each(&mut run);
    let mut each: Vec<f64> = Vec::with_capacity(events.len());
    for event in events {
        let began = Instant::now();
        run(event);
        each.push(began.elapsed().as_secs_f64() * 1e9);
    }
    each.sort_by(f64::total_cmp);
    each
}

fn cost(key: &'static str, name: &'static str, each: &[f64]) -> Cost {
    let at = |share: usize| each.get(each.len() * share / 100).copied().unwrap_or(0.0);
    Cost { key, name, median: at(50), p99: at(99) }
}

/// The settings, whose members are the authors of these events.
fn settings(events: &[Event]) -> Result<Settings, Failure> {
    let mut settings = Config::parse(SETTINGS, "bench".as_ref())?.root;
    settings.authors.members = events.iter().map(|event| event.pubkey).collect();
    Ok(settings)
}

fn blocklist() -> Domains {
    let domains: String = (0..DOMAINS).map(|number| format!("instance{number}.example\n")).collect();
    Domains::parse(&[("blocklist", domains)]).0
}

/// Measures the rules over the corpus.
pub(super) fn measured(stage: &Stage) -> Result<(Table, Figures), Failure> {
    stage.say("rules");
    let events = stage.corpus(stage.options.seed).events(stage.options.events.min(BATCH_EVENTS));
    let costs = measure(&events, Clock::system().now())?;
    let mut table = Table::new(format!("rules of all presets, {} events: median, p99", events.len()));
    let mut figures = Figures::default();
    for part in &costs.parts {
        let keys = ["median", "p99"].map(|which| format!("rules_{}_{which}_nanoseconds", part.key));
        figures.put(&keys[0], part.median);
        figures.put(&keys[1], part.p99);
        table.row(part.name, keys.to_vec());
    }
    for (rule, mean) in &costs.dearest {
        let key = format!("rules_{}_mean_nanoseconds", rule.replace('.', "_"));
        figures.put(&key, *mean);
        table.row(format!("one of the dearest: {rule}, mean"), vec![key]);
    }
    Ok((table, figures))
}

/// Measures all rules over these events, at a time.
///
/// # Errors
/// Never, but for faults of the settings above.
fn measure(events: &[Event], now: u64) -> Result<Costs, Failure> {
    let settings = settings(events)?;
    let people = Arc::new(People::of(&settings, events));
    let known = Known { people, domains: Arc::new(blocklist()), ..Known::compiled(&settings) };
    let (policy, relay, related) = (Policy::new(&settings), RelayNames::default(), Related::default());
    let context = Context { now, config: &settings, keys: &[], relay: &relay, known: &known, asked: false };
    let verified: Vec<Verified> = events.iter().cloned().map(Verified::assumed).collect();
    let shadowed = &mut |_: &_| {};
    let admit = nanos(events, |event| {
        let _ = std::hint::black_box(policy.admit(event, &context, shadowed));
    });
    let mut nth = verified.iter().cycle();
    let dear = nanos(events, |_| {
        let event = nth.next().unwrap_or_else(|| unreachable!("as many as there are events"));
        let _ = std::hint::black_box(policy.admit_verified(event, &context, shadowed));
    });
    let wants = nanos(events, |event| drop(std::hint::black_box(policy.wants(event, &related, &context))));
    let parts = vec![
        cost("admit", "before the signature (target: 5 µs at the median)", &admit),
        cost("verified", "after it (invoices)", &dear),
        cost("wants", "what rules ask of the store", &wants),
    ];
    Ok(Costs { parts, dearest: dearest(events, &context) })
}

/// The mean of each rule that runs before the signature.
fn dearest(events: &[Event], context: &Context<'_>) -> Vec<(&'static str, f64)> {
    let active = rules().filter(|rule| (rule.sentence)(context.config).is_some());
    let mut means: Vec<(&'static str, f64)> = active
        .filter_map(|rule| match rule.check {
            Check::Admit(check) => Some((rule.id, check)),
            _ => None,
        })
        .map(|(id, check)| {
            let began = Instant::now();
            for event in events {
                let _ = std::hint::black_box(check(event, context));
            }
            (id, began.elapsed().as_secs_f64() * 1e9 / events.len().max(1) as f64)
        })
        .collect();
    means.sort_by(|one, other| other.1.total_cmp(&one.1));
    means.truncate(DEAREST_SHOWN);
    means
}

#[cfg(test)]
mod tests {
    use super::super::corpus::{BEGINNING, Corpus, World};
    use super::*;
    use crate::config::Preset;

    #[test]
    fn what_presets_set_is_measured() {
        let measured: toml::Table = SETTINGS.parse().expect("TOML");
        for preset in Preset::ALL {
            let table: toml::Table = preset.text().parse().expect("TOML");
            for (section, keys) in table.iter().filter_map(|(name, value)| Some((name, value.as_table()?))) {
                for key in keys.keys() {
                    let is_there = measured.get(section).is_some_and(|keys| keys.get(key).is_some());
                    assert!(is_there, "[{section}] {key} of {} is not measured", preset.as_str());
                }
            }
        }
    }

    #[test]
    fn every_part_is_measured_over_every_event() {
        let mut corpus = Corpus::new(&World::new(), 1, BEGINNING);
        let events = corpus.events(300);
        let costs = measure(&events, BEGINNING + 1_000).expect("figures");
        assert_eq!(costs.parts.len(), 3);
        assert!(costs.parts.iter().all(|part| part.median <= part.p99), "{:?}", costs.parts);
        assert!(costs.parts[0].median > 0.0);
        let ids: Vec<&str> = costs.dearest.iter().map(|(id, _)| *id).collect();
        assert!(
            ids.len() == DEAREST_SHOWN && rules().filter(|rule| ids.contains(&rule.id)).count() == ids.len()
        );
    }
}
