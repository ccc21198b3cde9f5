//! The moderation service of a community (docs/moderation.md): events go out in batches, signed, by POST or by a request to
//! a NATS server, and verdicts come back with the answer or by the management API. In: what is stored, by number. Out: requests, verdicts to
//! `src/admin/`. At least once: where it stands is kept in the store, and moves on only when a batch was taken.

mod numbers;
mod way;
pub(crate) mod wire;

pub use numbers::Numbers;
pub use wire::{Action, VERDICTS_MAX, Verdict};

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::admin::{Admin, Caller};
use crate::community::{Communities, Community};
use crate::config::{Config, ModerationService, UntilVerdict, WithoutVerdict};
use crate::event::{Event, Id};
use crate::net::https::BoxError;
use crate::nips::nip86::Method;
use crate::pipeline::Pipeline;
use crate::rule::RelayNames;
use crate::store::record::{RecordError, decode};
use crate::store::{CommunityId, Group, StateTable, Store, StoreError};
use way::{Signed, Way};

/// Where a service stands: the number of the first event that it was not sent.
const POSITION: StateTable = StateTable(22);

/// Bytes of events that are sent at once, about.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Records that are looked at for one batch.
const LOOKED_AT_MAX: u64 = 10_000;

/// Held events that are decided about at once when their time is up.
const OVERDUE_MAX: usize = 500;

/// From one attempt to the next: the first time, and at most.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How often it is looked whether a community has a service now.
const LOOK: Duration = Duration::from_secs(1);

/// What services need of the relay.
pub(crate) trait House: Send + Sync + 'static {
    /// All communities.
    fn communities(&self) -> &Communities;
    /// What moves events.
    fn pipeline(&self) -> &Pipeline;
    /// What carries verdicts out.
    fn admin(&self) -> &Admin;
    /// Where they are.
    fn store(&self) -> &Store;
    /// Whether the relay is stopping.
    fn is_stopping(&self) -> bool;
}

/// Why a service is not sent what it should be.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the store cannot be read: {0}")]
    Store(#[from] StoreError),
    #[error("a stored event cannot be read: {0}")]
    Record(#[from] RecordError),
    #[error("{0}")]
    Request(BoxError),
    #[error("it answers {0}")]
    Status(hyper::StatusCode),
    #[error("nobody listens to {0} (moderation_service.subject)")]
    Nobody(String),
    #[error("no answer came within {0} ms (moderation_service.timeout_milliseconds)")]
    Late(u64),
    #[error("it answers that it failed: {0}")]
    Failed(String),
    #[error("its answer has {0} bytes")]
    Long(usize),
    #[error("the NATS server takes {0} bytes at most")]
    TooLarge(usize),
}

/// Events to be sent, and where it stands when they are.
struct Batch {
    events: Vec<Event>,
    next: u64,
    /// Records that were looked at for it.
    records: u64,
    /// Whether it is of what is never sent, as too much waits.
    is_passed_over: bool,
}

/// Why a scan ends before its end.
enum Ended {
    Full,
    Store(StoreError),
    Record(RecordError),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Ended {
        Ended::Store(error)
    }
}

fn position(store: &Store, community: CommunityId) -> Result<Option<u64>, StoreError> {
    let entry = store.state_entry(community, POSITION, b"")?;
    Ok(entry.and_then(|entry| <[u8; 8]>::try_from(&*entry).ok()).map(u64::from_le_bytes))
}

fn moved(community: CommunityId, position: u64) -> Group {
    let mut group = Group::default();
    group.put_state(community, POSITION, b"", &position.to_le_bytes());
    group
}

/// Has communities that get a service begin with what they are sent from now on: what they hold already was never
/// meant for it.
///
/// # Errors
/// When the store fails.
pub(crate) fn begin(
    config: &Config,
    communities: &Communities,
    store: &Store,
    pipeline: &Pipeline,
) -> Result<(), StoreError> {
    for settings in config.all().filter(|settings| settings.moderation_service.url.is_some()) {
        let Some(community) = communities.at(&settings.relay.path) else { continue };
        if position(store, community.id)?.is_none() {
            pipeline.change_state(moved(community.id, store.next_number(community.id)))?;
        }
    }
    Ok(())
}

/// Serves the services of all communities that have one, also of those that get one later.
pub(crate) async fn serve_all<H: House>(house: Arc<H>) {
    let served: Arc<Mutex<HashSet<CommunityId>>> = Arc::default();
    while !house.is_stopping() {
        for community in house.communities().iter() {
            let has_work =
                community.settings().moderation_service.url.is_some() || !community.known().held.is_empty();
            let id = community.id;
            if has_work && served.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
                let (house, served) = (Arc::clone(&house), Arc::clone(&served));
                tokio::spawn(async move {
                    serve(house, community).await;
                    served.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                });
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Serves the service of one community until it has none any more.
async fn serve<H: House>(house: Arc<H>, community: Arc<Community>) {
    let (mut failures, mut way) = (0, Way::default());
    loop {
        let settings = community.settings().moderation_service.clone();
        let is_there = house.communities().at(community.path()).is_some();
        let is_over = house.is_stopping() || settings.url.is_none() && community.known().held.is_empty();
        if !is_there || is_over {
            community.review.idle();
            return;
        }
        let pause = match round(&house, &community, &settings, &mut way).await {
            Ok(true) => {
                failures = 0;
                continue;
            }
            Ok(false) => {
                failures = 0;
                Duration::from_millis(settings.batch_milliseconds)
            }
            Err(trouble) => {
                community.review.failures.add(1);
                tracing::warn!(
                    community = community.path(),
                    "the moderation service is not reached: {trouble}"
                );
                // Whom this machine trusts may be why, or the connection.
                way = Way::default();
                let pause = PAUSE_MIN.saturating_mul(1 << failures.min(16)).min(PAUSE_MAX);
                failures += 1;
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Runs what waits for the disk where that holds up nobody.
async fn blocking<H: House, T: Send + 'static>(
    house: &Arc<H>,
    community: &Arc<Community>,
    run: impl FnOnce(&H, &Arc<Community>) -> T + Send + 'static,
) -> T {
    let (house, community) = (Arc::clone(house), Arc::clone(community));
    match tokio::task::spawn_blocking(move || run(&house, &community)).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Sends what waits, up to a batch. True when more may wait.
async fn round<H: House>(
    house: &Arc<H>,
    community: &Arc<Community>,
    settings: &ModerationService,
    way: &mut Way,
) -> Result<bool, Trouble> {
    let of_held = settings.clone();
    blocking(house, community, move |house, community| decide_overdue(house, community, &of_held)).await;
    let asks = house.pipeline().log.as_ref().is_none_or(|log| log.asks_services());
    let Some(url) = settings.url.as_ref().filter(|_| asks) else { return Ok(false) };
    let of_batch = settings.clone();
    let batch =
        blocking(house, community, move |house, community| gather(house, community, &of_batch)).await?;
    let Some(Batch { events, next, records, is_passed_over }) = batch else { return Ok(false) };
    send_all(house, community, settings, (way, url), &events).await?;
    blocking(house, community, move |house, community| {
        house.pipeline().change_state(moved(community.id, next))
    })
    .await?;
    let ((until, waiting), now) = (community.review.counted(), house.pipeline().clock.now());
    // What was removed before its turn is counted no longer when there is nothing before the end.
    let waiting = if next >= until { 0 } else { waiting.saturating_sub(records) };
    community.review.note_backlog(waiting, until.max(next), now);
    if is_passed_over {
        tracing::error!(
            community = community.path(),
            "the moderation service is too far behind: {records} events are not sent to it"
        );
        community.review.passed_over.add(usize::try_from(records).unwrap_or(usize::MAX));
    }
    Ok(true)
}

/// How much waits from a number on; what is new since this was asked last is counted.
fn count_waiting<H: House>(house: &H, community: &Community, from: u64, end: u64) -> Result<u64, Trouble> {
    let (until, waiting) = community.review.counted();
    let (until, mut waiting) = if until < from { (from, 0) } else { (until, waiting) };
    let counted = house.store().scan(community.id, until, |location, _| {
        if location.number >= end {
            return Err(Ended::Full);
        }
        waiting += 1;
        Ok(())
    });
    if let Err(Ended::Store(error)) = counted {
        return Err(error.into());
    }
    community.review.note_backlog(waiting, end, house.pipeline().clock.now());
    Ok(waiting)
}

/// What the service has not been sent, up to a batch; `None` when that is nothing.
fn gather<H: House>(
    house: &H,
    community: &Community,
    settings: &ModerationService,
) -> Result<Option<Batch>, Trouble> {
    let store = house.store();
    let end = store.next_number(community.id);
    let from = position(store, community.id)?.unwrap_or(end);
    let waiting = count_waiting(house, community, from, end)?;
    if end <= from {
        return Ok(None);
    }
    let passed_over = waiting.saturating_sub(settings.backlog_max);
    let private = &community.settings().nip17.private_kinds;
    let (mut events, mut bytes, mut last, mut records) = (Vec::new(), 0, None, 0);
    let scanned = store.scan(community.id, from, |location, record| {
        let is_full = events.len() >= settings.batch_events_max || bytes >= BATCH_BYTES_MAX;
        let most = if passed_over > 0 { passed_over } else { LOOKED_AT_MAX };
        if is_full || location.number >= end || records >= most {
            return Err(Ended::Full);
        }
        last = Some(location.number);
        records += 1;
        if passed_over > 0 {
            return Ok(());
        }
        let event = decode(record).map_err(Ended::Record)?;
        if settings.is_sent(event.kind, private.contains(&event.kind.0)) {
            bytes += record.len();
            events.push(event);
        }
        Ok(())
    });
    let next = match scanned {
        // Up to the end there is nothing more; numbers that were given since are not in the scan.
        Ok(()) => end,
        Err(Ended::Full) => last.map_or(end, |last| last + 1),
        Err(Ended::Store(error)) => return Err(error.into()),
        Err(Ended::Record(error)) => return Err(error.into()),
    };
    Ok(Some(Batch { events, next, records, is_passed_over: passed_over > 0 }))
}

/// Sends a batch and carries out what is answered; what is too large for the way goes in halves. One event that is too
/// large is never sent.
async fn send_all<H: House>(
    house: &Arc<H>,
    community: &Arc<Community>,
    settings: &ModerationService,
    (way, url): (&mut Way, &str),
    events: &[Event],
) -> Result<(), Trouble> {
    let mut waiting: Vec<&[Event]> = events.chunks(settings.batch_events_max).rev().collect();
    while let Some(some) = waiting.pop() {
        let verdicts = match send(house, community, settings, (&mut *way, url), some).await {
            Err(why @ Trouble::TooLarge(_)) => {
                match some {
                    [] => {}
                    [event] => {
                        let (path, id) = (community.path(), event.id);
                        tracing::error!(
                            community = path,
                            "event {id} is not sent to the moderation service: {why}"
                        );
                        community.review.passed_over.add(1);
                    }
                    some => {
                        let (first, rest) = some.split_at(some.len() / 2);
                        waiting.extend([rest, first]);
                    }
                }
                continue;
            }
            sent => sent?,
        };
        community.review.sent.add(some.len());
        if !verdicts.is_empty() {
            blocking(house, community, move |house, community| take(house, community, verdicts)).await;
        }
    }
    Ok(())
}

async fn send<H: House>(
    house: &Arc<H>,
    community: &Community,
    settings: &ModerationService,
    (way, url): (&mut Way, &str),
    events: &[Event],
) -> Result<Vec<Verdict>, Trouble> {
    let body = wire::body(community.path(), events);
    let timestamp = house.pipeline().clock.now();
    let signature = wire::sign(&settings.secret, timestamp, &body);
    let answer = way.ask(settings, url, Signed { body, timestamp, signature }).await;
    if !matches!(answer, Err(Trouble::TooLarge(_))) {
        community.review.requests.add(1);
    }
    let answer = answer?;
    let verdicts = wire::answer(&answer);
    Ok(verdicts.unwrap_or_else(|problem| {
        tracing::warn!(
            community = community.path(),
            "an answer of the moderation service is passed over: {problem}"
        );
        Vec::new()
    }))
}

/// Carries verdicts out in the service's name.
fn take<H: House>(house: &H, community: &Arc<Community>, verdicts: Vec<Verdict>) {
    let Some(key) = community.settings().moderation_service.key() else { return };
    let relay = RelayNames::default();
    let caller = Caller { community, key, session: None, relay: &relay };
    let now = house.pipeline().clock.now();
    if let Err(denied) = house.admin().call(&caller, "giveverdicts", &Method::GiveVerdicts(verdicts), now) {
        tracing::error!(
            community = community.path(),
            "verdicts of the moderation service do not count: {denied}"
        );
    }
}

/// Decides about what was held too long, or is not to be held any more.
fn decide_overdue<H: House>(house: &H, community: &Arc<Community>, settings: &ModerationService) {
    let held = &community.known().held;
    if held.is_empty() {
        return;
    }
    let now = house.pipeline().clock.now();
    let time = if settings.holds() { now.saturating_sub(settings.verdict_seconds_max) } else { u64::MAX };
    let overdue = held.older_than(time, OVERDUE_MAX);
    if overdue.is_empty() {
        return;
    }
    let removes = settings.until_verdict == UntilVerdict::Hold
        && settings.without_verdict == WithoutVerdict::Remove
        && settings.holds();
    let verdict = |id| Verdict {
        id,
        verdict: Action::Remove,
        reason: "no verdict came in time".to_owned(),
        label: String::new(),
    };
    if removes {
        take(house, community, overdue.iter().copied().map(verdict).collect());
    }
    // Also what is gone, or is not a service's to remove.
    let left: Vec<Id> = overdue.into_iter().filter(|id| held.has(id)).collect();
    if !left.is_empty() {
        house.pipeline().release(community, left);
    }
}
