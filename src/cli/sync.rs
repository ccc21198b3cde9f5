//! `plaza sync`: makes two sides have the same events: the store and a relay elsewhere, or two relays that run. In:
//! addresses, a filter. Out: events, both ways or one. What each lacks is found out by reconciliation (NIP-77), so it
//! costs little when little differs; run again it goes on where an interrupted run ended.

use std::collections::HashMap;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};

use super::import::{Here, Summary, current};
use super::wire::Remote;
use super::{CommunityArgument, Failure, StoreArguments, export, key, progress, remote};
use crate::event::{Event, Id};
use crate::filter::Filter;
use crate::nips::nip77::Set;
use crate::nips::nip77::between::{Between, Side};
use crate::store::Location;

/// Events that are asked for at once.
const FETCH_MAX: usize = 250;

/// Before this there are hardly any events: where halving the time begins.
const FIRST_SECOND: u64 = 1_604_000_000;

/// Which way events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Direction {
    /// Both ways
    Both,
    /// From here to URL
    Up,
    /// From URL to here
    Down,
}

#[derive(Debug, Args)]
pub(super) struct Sync {
    /// The other relay, such as wss://relay.example
    url: String,
    /// A relay that is running, in place of the store
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "data", "community"])]
    with: Option<String>,
    /// Only events that match this NIP-01 filter
    #[arg(long, value_name = "JSON", default_value = "{}")]
    filter: String,
    /// Which way events go
    #[arg(long, value_enum, default_value_t = Direction::Both)]
    dir: Direction,
    /// File with the secret key to log in with, as nsec1… or 64 hexadecimal digits; - reads standard input
    #[arg(long, value_name = "FILE")]
    key: Option<std::path::PathBuf>,
    #[command(flatten)]
    community: CommunityArgument,
    #[command(flatten)]
    store: StoreArguments,
}

/// Why a reconciliation ended early.
enum Refused {
    /// It would be about too many events.
    TooMany(String),
    Other(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Refused {
        Refused::Other(failure)
    }
}

/// A filter, as it goes over the wire.
type Asked = Map<String, Value>;

/// Ids that only this side has, and those that only the other has.
type Differences = [Vec<Id>; 2];

impl Sync {
    pub(super) fn run(self) -> Result<(), Failure> {
        // Read for its mistakes, before anything is opened.
        Filter::without_search(&self.filter).map_err(|reason| format!("--filter: {reason}"))?;
        let asked: Asked = serde_json::from_str(&self.filter)?;
        let keypair = self.key.as_deref().map(key::keypair).transpose()?;
        let mut there = Remote::connect("URL", &self.url, keypair)?;
        let bar = progress(None, "events");
        let [up, down] = match &self.with {
            Some(with) => {
                let mut here = Remote::connect("--with", with, keypair)?;
                let mut compare = |asked: &Asked| between(&mut here, &mut there, asked);
                let differences = windows(&asked, &mut compare)?;
                self.exchange(&mut here, &mut there, differences, &bar)?
            }
            None => {
                let here = Here::open(&self.store, &self.community)?;
                let done = self.with_store(&here, &mut there, &asked, &bar);
                here.close()?;
                done?
            }
        };
        bar.finish_and_clear();
        for (summary, whither) in [(down, "from"), (up, "to")] {
            let Some(summary) = summary else { continue };
            eprintln!("plaza: {whither} {}:", self.url);
            summary.finish()?;
        }
        Ok(())
    }

    fn goes(&self, direction: Direction) -> bool {
        self.dir == direction || self.dir == Direction::Both
    }

    /// Reconciles the store with a relay.
    fn with_store(
        &self,
        here: &Here,
        there: &mut Remote,
        asked: &Asked,
        bar: &ProgressBar,
    ) -> Result<[Option<Summary>; 2], Failure> {
        let mut places: HashMap<Id, Location> = HashMap::new();
        let mut compare = |asked: &Asked| {
            let filter =
                Filter::without_search(&Value::from(asked.clone()).to_string()).map_err(Failure::from)?;
            let mut set = Set::default();
            for found in export::scan(&here.community, &filter) {
                set.add(found.created_at, &found.id);
                places.insert(found.id, found.location);
            }
            reconcile(there, asked, set)
        };
        let [only_here, only_there] = windows(asked, &mut compare)?;
        let mut up = None;
        if self.goes(Direction::Up) {
            let bodies = &here.pipeline.bodies;
            let mut left = (1..).zip(only_here);
            up = Some(remote::import(there, || {
                for (number, id) in left.by_ref() {
                    bar.inc(1);
                    let Some(location) = places.get(&id) else { continue };
                    // What went meanwhile is passed over.
                    if let Some(event) = bodies.event(here.community.id, *location)? {
                        return Ok(Some((number, Ok(event))));
                    }
                }
                Ok(None)
            })?);
        }
        let mut down = None;
        if self.goes(Direction::Down) {
            let (mut intake, mut number) = (here.intake(), 0);
            for (page, ids) in only_there.chunks(FETCH_MAX).enumerate() {
                remote::fetch(there, &format!("fetch-{page}"), ids, |event| {
                    number += 1;
                    bar.inc(1);
                    intake.take(number, current(event, &here.pipeline))
                })?;
            }
            down = Some(intake.finish()?);
        }
        Ok([up, down])
    }

    /// Carries events between two relays.
    fn exchange(
        &self,
        here: &mut Remote,
        there: &mut Remote,
        [only_here, only_there]: Differences,
        bar: &ProgressBar,
    ) -> Result<[Option<Summary>; 2], Failure> {
        let up = self.goes(Direction::Up).then(|| carry(here, there, &only_here, bar)).transpose()?;
        let down = self.goes(Direction::Down).then(|| carry(there, here, &only_there, bar)).transpose()?;
        Ok([up, down])
    }
}

/// Reads events from one relay and sends them to the other.
fn carry(from: &mut Remote, to: &mut Remote, ids: &[Id], bar: &ProgressBar) -> Result<Summary, Failure> {
    let (mut pages, mut page) = (ids.chunks(FETCH_MAX).enumerate(), Vec::<Event>::new());
    let mut numbers = 1..;
    remote::import(to, || {
        loop {
            if let Some(event) = page.pop() {
                bar.inc(1);
                return Ok(numbers.next().map(|number| (number, Ok(event))));
            }
            let Some((number, ids)) = pages.next() else { return Ok(None) };
            remote::fetch(from, &format!("fetch-{number}"), ids, |event| {
                page.push(event);
                Ok(())
            })?;
        }
    })
}

/// Reconciles what a filter finds, in one go where the other side allows it, else in ever shorter times.
fn windows(
    asked: &Asked,
    compare: &mut impl FnMut(&Asked) -> Result<Differences, Refused>,
) -> Result<Differences, Failure> {
    let mut all = Differences::default();
    let mut waiting = vec![asked.clone()];
    while let Some(asked) = waiting.pop() {
        match compare(&asked) {
            Ok([here, there]) => {
                all[0].extend(here);
                all[1].extend(there);
            }
            Err(Refused::Other(failure)) => return Err(failure),
            Err(Refused::TooMany(said)) => match halves(&asked) {
                Some(halves) => waiting.extend(halves),
                None => return Err(format!("the relay refused: {said}; narrow --filter").into()),
            },
        }
    }
    Ok(all)
}

/// The same filter for two halves of its time; `None` when it is no longer than a second, or has a limit.
fn halves(asked: &Asked) -> Option<[Asked; 2]> {
    let time = |name: &str| asked.get(name).and_then(Value::as_u64);
    let now = crate::clock::Clock::system().now();
    let since = time("since").unwrap_or(0);
    let until = time("until").unwrap_or(now.max(since) + 1);
    if since >= until || asked.contains_key("limit") {
        return None;
    }
    let begin = match since {
        0 if until > FIRST_SECOND => FIRST_SECOND,
        since => since,
    };
    let middle = begin + (until - begin) / 2;
    let [mut earlier, mut later] = [asked.clone(), asked.clone()];
    earlier.insert("until".into(), json!(middle));
    later.insert("since".into(), json!(middle + 1));
    Some([earlier, later])
}

/// Asks a relay that only answers.
fn ask(remote: &mut Remote, opening: Option<&Asked>, message: &[u8]) -> Result<Vec<u8>, Refused> {
    const NAME: &str = "sync";
    let message = hex::encode(message);
    let said = match opening {
        Some(filter) => json!(["NEG-OPEN", NAME, filter, message]),
        None => json!(["NEG-MSG", NAME, message]),
    };
    let was_logged_in = remote.is_logged_in;
    remote.send(said.to_string())?;
    loop {
        let answer = remote.receive()?;
        let text = answer[2].as_str().unwrap_or("it does not say why");
        match answer[0].as_str() {
            Some("NEG-MSG") if answer[1] == NAME => {
                let bytes = hex::decode(text).map_err(|_| Failure::from("the relay's answer is no hex"))?;
                return Ok(bytes);
            }
            Some("NEG-ERR") if answer[1] == NAME => {
                // It asked for a key only now, and got it before this was read.
                if text.starts_with("auth-required:")
                    && opening.is_some()
                    && !was_logged_in
                    && remote.is_logged_in
                {
                    remote.send(said.to_string())?;
                    continue;
                }
                return Err(match text.starts_with("blocked:") && text.contains("too big") {
                    true => Refused::TooMany(text.to_owned()),
                    false => Refused::Other(format!("the relay refused to reconcile: {text}").into()),
                });
            }
            Some("NOTICE") => {
                let notice = answer[1].as_str().unwrap_or_default();
                return Err(Refused::Other(
                    format!("the relay does not reconcile (NIP-77); it said: {notice}").into(),
                ));
            }
            _ => {}
        }
    }
}

fn close(remote: &mut Remote) -> Result<(), Failure> {
    remote.send(json!(["NEG-CLOSE", "sync"]).to_string())
}

/// Reconciles a set with a relay.
fn reconcile(there: &mut Remote, asked: &Asked, set: Set) -> Result<Differences, Refused> {
    let set = set.seal();
    let failed = |refusal: crate::rule::Refusal| Refused::Other(refusal.to_string().into());
    let mut message = Some(set.initiate().map_err(failed)?);
    let mut opening = Some(asked);
    let mut differences = Differences::default();
    while let Some(said) = message {
        let answer = ask(there, opening.take(), &said)?;
        let learned = set.learn(&answer).map_err(failed)?;
        differences[0].extend(learned.only_here);
        differences[1].extend(learned.only_there);
        message = learned.next;
    }
    close(there)?;
    Ok(differences)
}

/// Reconciles two relays.
fn between(here: &mut Remote, there: &mut Remote, asked: &Asked) -> Result<Differences, Refused> {
    let (mut between, mut message) = Between::begin();
    let mut side = Side::First;
    let mut opening = [Some(asked), Some(asked)];
    loop {
        let remote = match side {
            Side::First => &mut *here,
            Side::Second => &mut *there,
        };
        let answer = ask(remote, opening[side as usize].take(), &message)?;
        let next = between.hear(side, &answer).map_err(|error| Failure::from(error.to_string()))?;
        let Some(next) = next else { break };
        (message, side) = (next, side.other());
    }
    close(here)?;
    if opening[1].is_none() {
        close(there)?;
    }
    Ok(between.differences())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_halved_without_a_gap() {
        let asked = |text: &str| -> Asked { serde_json::from_str(text).expect("a filter") };
        for (whole, halved) in [
            (
                r#"{"since":10,"until":20}"#,
                Some([r#"{"since":10,"until":15}"#, r#"{"since":16,"until":20}"#]),
            ),
            (
                r#"{"since":10,"until":11}"#,
                Some([r#"{"since":10,"until":10}"#, r#"{"since":11,"until":11}"#]),
            ),
            (r#"{"since":10,"until":10}"#, None),
            (r#"{"since":10,"until":20,"limit":5}"#, None),
            (
                r#"{"until":1604000010,"kinds":[1]}"#,
                Some([
                    r#"{"until":1604000005,"kinds":[1]}"#,
                    r#"{"since":1604000006,"until":1604000010,"kinds":[1]}"#,
                ]),
            ),
        ] {
            assert_eq!(halves(&asked(whole)), halved.map(|halves| halves.map(asked)), "{whole}");
        }
    }
}
