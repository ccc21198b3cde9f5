//! `--relay`: import into, or export from, a relay that is running, over its WebSocket. In: events, or a filter. Out: a summary, or events. It is a client like any other: the relay's limits and
//! rules apply, and when it says that it is too much at once, this waits. Never reads the store.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Map, Value, json};

use super::Failure;
use super::import::Summary;
use super::wire::Remote;
use crate::event::{Event, Id, KindClass, Verified};
use crate::rule::{Prefix, Refusal};

/// Events that are sent ahead of their answers: relays may pause reading at a few hundred.
const UNDER_WAY_MAX: usize = 128;

/// How long to wait when the relay says that it is too much at once.
const RATE_PAUSE: Duration = Duration::from_secs(1);

/// Such waits on end, none of which helped, before the relay is given up.
const RATE_PAUSES_MAX: u32 = 600;

/// An event to send, with its number, or why it is none.
pub(super) type Next = Option<(u64, Result<Event, String>)>;

/// Sends events and counts what the relay answers.
pub(super) fn import(
    remote: &mut Remote,
    mut next: impl FnMut() -> Result<Next, Failure>,
) -> Result<Summary, Failure> {
    let mut summary = Summary::default();
    let mut under_way: HashMap<String, (u64, Event)> = HashMap::new();
    let mut again: Vec<(u64, Event)> = Vec::new();
    let mut pauses = 0;
    loop {
        while again.is_empty()
            && under_way.len() < UNDER_WAY_MAX
            && let Some((number, event)) = next()?
        {
            match event {
                Ok(event) if under_way.contains_key(&event.id.to_string()) => summary.duplicates += 1,
                Ok(event) => {
                    remote.send_event(&event)?;
                    under_way.insert(event.id.to_string(), (number, event));
                }
                Err(reason) => summary.bad_line(number, reason),
            }
        }
        if under_way.is_empty() {
            if again.is_empty() {
                return Ok(summary);
            }
            pauses += 1;
            if pauses > RATE_PAUSES_MAX {
                return Err(
                    "the relay takes no more events; raise its [rate], or import while it is stopped".into(),
                );
            }
            sleep(RATE_PAUSE);
            for (number, event) in again.drain(..) {
                remote.send_event(&event)?;
                under_way.insert(event.id.to_string(), (number, event));
            }
        }
        let message = remote.receive()?;
        let answered = message[1].as_str().filter(|_| message[0] == "OK").and_then(|id| under_way.remove(id));
        let Some((number, event)) = answered else { continue };
        let said = message[3].as_str().unwrap_or_default();
        let begins_with =
            |prefix: Prefix| said.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with(':'));
        match message[2].as_bool() {
            Some(true) if begins_with(Prefix::Duplicate) => summary.duplicates += 1,
            Some(true) if event.kind.class() == KindClass::Ephemeral => summary.ephemeral += 1,
            Some(true) => summary.stored += 1,
            _ if begins_with(Prefix::RateLimited) => {
                again.push((number, event));
                continue;
            }
            _ if begins_with(Prefix::Duplicate) => summary.superseded += 1,
            _ => summary.refuse(said.to_owned()),
        }
        pauses = 0;
    }
}

/// Lines are checked here, so that bad ones can be named.
pub(super) fn event(line: &[u8]) -> Result<Event, String> {
    let event = Event::from_json(line).map_err(|error| error.0)?;
    let event = Verified::check(event, &mut Vec::new())
        .map_err(|forgery| Refusal::from(forgery).sentence.into_owned())?;
    Ok(Event::clone(&event))
}

/// Fetches events by their ids, as many as one request may ask for. What the relay has no more does not come.
pub(super) fn fetch(
    remote: &mut Remote,
    name: &str,
    ids: &[Id],
    mut take: impl FnMut(Event) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let ids: Vec<String> = ids.iter().map(Id::to_string).collect();
    remote.send(json!(["REQ", name, {"ids": ids, "limit": ids.len()}]).to_string())?;
    loop {
        let message = remote.receive()?;
        match message[0].as_str().filter(|_| message[1] == name) {
            Some("EVENT") => {
                let event = event(message[2].to_string().as_bytes());
                take(event.map_err(|reason| format!("the relay sent what is no true event: {reason}"))?)?;
            }
            Some("EOSE") => return remote.send(json!(["CLOSE", name]).to_string()),
            Some("CLOSED") => {
                let reason = message[2].as_str().unwrap_or("it does not say why");
                return Err(format!("the relay refused: {reason}").into());
            }
            _ => {}
        }
    }
}

/// One answer to a request: when and what came, and what the relay says of its completeness (NIP-67).
#[derive(Default)]
struct Page {
    events: Vec<(u64, String)>,
    fresh: u64,
    is_last: bool,
}

/// Writes what the relay shows to everybody, newest first; how many events that were.
pub(super) fn export(
    remote: &mut Remote,
    filter: Option<&str>,
    out: &mut impl Write,
    bar: &ProgressBar,
) -> Result<u64, Failure> {
    let mut filter: Map<String, Value> = serde_json::from_str(filter.unwrap_or("{}"))?;
    let limit = filter.get("limit").and_then(Value::as_u64);
    let mut count = 0;
    // Events of the second at which the last page ended; the next one begins with them.
    let mut known: HashSet<String> = HashSet::new();
    for number in 1_u64.. {
        if let Some(limit) = limit {
            if count >= limit {
                return Ok(count);
            }
            filter.insert("limit".into(), json!(limit - count + known.len() as u64));
        }
        // Each page has a name of its own: what is live of the last one may still be on its way.
        let name = format!("export-{number}");
        remote.send(json!(["REQ", name, filter]).to_string())?;
        let wanted = limit.map_or(u64::MAX, |limit| limit - count);
        let page = page(remote, &name, &known, wanted, out, bar)?;
        remote.send(json!(["CLOSE", name]).to_string())?;
        count += page.fresh;
        let Some(oldest) = page.events.iter().map(|(created_at, _)| *created_at).min() else {
            return Ok(count);
        };
        if page.is_last {
            return Ok(count);
        }
        let is_same_second = filter.get("until").and_then(Value::as_u64) == Some(oldest);
        if !is_same_second {
            known.clear();
        }
        known.extend(
            page.events.into_iter().filter(|(created_at, _)| *created_at == oldest).map(|(_, id)| id),
        );
        match (page.fresh, oldest.checked_sub(1)) {
            (0, None) => return Ok(count),
            // That second is done, as far as the relay shows it.
            (0, Some(earlier)) => {
                known.clear();
                filter.insert("until".into(), json!(earlier));
            }
            _ => drop(filter.insert("until".into(), json!(oldest))),
        }
    }
    Ok(count)
}

/// Reads one answer and writes what is new of it, up to what is wanted: a relay may send the whole of the
/// last second.
fn page(
    remote: &mut Remote,
    name: &str,
    known: &HashSet<String>,
    wanted: u64,
    out: &mut impl Write,
    bar: &ProgressBar,
) -> Result<Page, Failure> {
    let mut page = Page::default();
    loop {
        let message = remote.receive()?;
        match message[0].as_str().filter(|_| message[1] == name) {
            Some("EVENT") => {
                let event = event(message[2].to_string().as_bytes())
                    .map_err(|reason| format!("the relay sent what is no true event: {reason}"))?;
                let id = event.id.to_string();
                if page.fresh < wanted && !known.contains(&id) {
                    let mut line = event.to_json();
                    line.push(b'\n');
                    out.write_all(&line)?;
                    page.fresh += 1;
                    bar.inc(1);
                }
                page.events.push((event.created_at, id));
            }
            Some("EOSE") => {
                page.is_last = message[2][0] == "finish";
                return Ok(page);
            }
            Some("CLOSED") => {
                let reason = message[2].as_str().unwrap_or("it does not say why");
                return Err(format!("the relay refused: {reason}").into());
            }
            _ => {}
        }
    }
}
