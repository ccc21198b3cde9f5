//! Lists of other relays that a community follows, as they are kept: the last good copy of each, whom each touched, and
//! how its relay can be reached. In: the store at start, copies that were fetched. Out: what rules know, and numbers.
//! Fetches nothing; `src/mirror/lists/` does.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{Community, OpenError, Rules};
use crate::config::{Effect, Follow, ListKind, Mode};
use crate::domain::public::Told;
use crate::event::{Event, Id, PublicKey};
use crate::memory::{Charge, Ledger};
use crate::nips::nip40;
use crate::nips::nip51::sets::{self, Listed, Set, TooLong, Why};
use crate::policy::shared_lists::{Touch, touch};
use crate::rule::shared::{SharedList, SharedLists};
use crate::rule::{Context, Decision};
use crate::store::{CommunityId, Group, STATE_VALUE_BYTES_MAX, StateTable, Store};

/// Copies of lists: who signs it and what it is about → when it was last found at its relay, and in how many parts
/// the event follows, each under the same key and its number.
const COPIES: StateTable = StateTable(29);

/// Events that are remembered of each list, those that it touched last.
const TOUCHED_MAX: usize = 100;

/// What an entry takes in memory beside its texts.
const ENTRY_BYTES: usize = 128;

const DAY_SECONDS: u64 = 86_400;

/// A list: who signs it, and what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) key: PublicKey,
    pub(crate) kind: ListKind,
}

/// The last good copy of a list.
struct Copy {
    id: Id,
    made_at: u64,
    expires_at: Option<u64>,
    /// When it was last found at its relay, in seconds since 1970.
    seen_at: u64,
    title: Arc<str>,
    entries: Arc<HashMap<Listed, Why>>,
    passed_over: usize,
    left_out: u64,
    /// What it takes of the memory of all clients; `None` as long as nobody has asked for it.
    charge: Option<Charge>,
}

/// What a list did to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// It was not taken.
    Refused,
    /// It was taken, and is hidden.
    Hidden,
    /// It was put before the moderators.
    Flagged,
    /// It was refused or hidden in shadow mode: nothing came of it.
    Shadowed,
}

impl Done {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Done::Refused => "refused",
            Done::Hidden => "hidden",
            Done::Flagged => "flagged",
            Done::Shadowed => "shadowed",
        }
    }
}

/// An event that a list touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// When, in seconds since 1970.
    pub at: u64,
    /// Its id.
    pub id: String,
    /// Its author; of what was refused nobody has looked at the signature.
    pub pubkey: String,
    /// The listed domain, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// What was done.
    pub done: Done,
    /// The list and its reason, in a sentence.
    pub why: String,
}

/// How it goes with a list's relay, and whom it touched.
#[derive(Default)]
struct Standing {
    is_connected: bool,
    trouble: Option<String>,
    counts: BTreeMap<Done, u64>,
    last: VecDeque<Touched>,
}

/// A followed list, in words and numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListStats {
    /// The community's path.
    pub community: String,
    /// The relay that publishes it.
    pub relay: String,
    /// Who signs it.
    pub pubkey: String,
    /// Its `d` tag.
    pub list: String,
    /// What becomes of who is on it.
    pub on: Effect,
    /// What it is called; empty before there is a copy.
    pub title: String,
    /// How much is on it.
    pub entries: u64,
    /// Entries that make no sense.
    pub passed_over: u64,
    /// Entries for which its relay had no room.
    pub left_out: u64,
    /// When it was made, in seconds since 1970; `None` where there is no copy.
    pub made_at: Option<u64>,
    /// When it was last found at its relay.
    pub seen_at: Option<u64>,
    /// When it lapses unless it is found again.
    pub until: Option<u64>,
    /// Whether it counts now.
    pub counts: bool,
    /// Whether its relay is connected.
    pub is_connected: bool,
    /// What went wrong last.
    pub trouble: Option<String>,
    /// How many events it touched since the relay started, by what was done.
    pub touched: BTreeMap<Done, u64>,
    /// The last of them, newest first.
    pub last: Vec<Touched>,
}

/// What is known of followed lists.
#[derive(Default)]
pub(super) struct Shared {
    copies: Mutex<HashMap<Source, Copy>>,
    standings: Mutex<HashMap<Source, Standing>>,
    /// Domains that the community's own blocklists suspend, with their public comments; `None` before they were read.
    own_domains: Mutex<Option<Arc<Vec<Told>>>>,
    /// Told when what is published may be different.
    pub(super) changed: Notify,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lists of a table of relay.toml.
pub(crate) fn sources(follow: &Follow) -> impl Iterator<Item = Source> + '_ {
    follow.key().into_iter().flat_map(|key| follow.lists.iter().map(move |&kind| Source { key, kind }))
}

impl Source {
    fn state_key(&self) -> Vec<u8> {
        let kind = match self.kind {
            ListKind::Pubkeys => 0,
            ListKind::Domains => 1,
        };
        [&self.key.0[..], &[kind]].concat()
    }

    fn of_state_key(key: &[u8]) -> Option<Source> {
        let (key, kind) = key.split_first_chunk::<32>()?;
        let kind = match kind {
            [0] => ListKind::Pubkeys,
            [1] => ListKind::Domains,
            _ => return None,
        };
        Some(Source { key: PublicKey(*key), kind })
    }

    fn part_key(&self, part: u16) -> Vec<u8> {
        [&self.state_key()[..], &part.to_be_bytes()].concat()
    }
}

/// What the entries of a list take in memory.
fn bytes_of(entries: &HashMap<Listed, Why>) -> usize {
    let text = |(listed, why): (&Listed, &Why)| {
        why.reason.len() + if let Listed::Domain(name) = listed { name.len() } else { 0 }
    };
    entries.iter().map(text).sum::<usize>() + entries.capacity() * ENTRY_BYTES
}

impl Copy {
    fn new(event: &Event, set: Set, seen_at: u64) -> Copy {
        Copy {
            id: event.id,
            made_at: event.created_at,
            expires_at: nip40::expires_at(event),
            seen_at,
            title: set.title.into(),
            entries: Arc::new(set.entries),
            passed_over: set.passed_over,
            left_out: sets::left_out(event),
            charge: None,
        }
    }

    /// The second up to which it counts.
    fn until(&self, follow: &Follow) -> u64 {
        let lapses = self.seen_at.saturating_add(u64::from(follow.expires_days) * DAY_SECONDS);
        self.expires_at.map_or(lapses, |at| lapses.min(at))
    }
}

/// What a group writes to keep a copy in place of an earlier one of so many parts.
fn write(source: &Source, id: CommunityId, event: &Event, seen_at: u64, before: u16) -> Group {
    let mut group = Group::default();
    let json = event.to_json();
    let mut parts = 0_u16;
    for (part, bytes) in (0_u16..).zip(json.chunks(STATE_VALUE_BYTES_MAX)) {
        group.put_state(id, COPIES, &source.part_key(part), bytes);
        parts = part + 1;
    }
    (parts..before).for_each(|part| group.remove_state(id, COPIES, &source.part_key(part)));
    group.put_state(id, COPIES, &source.state_key(), &header(seen_at, parts));
    group
}

fn header(seen_at: u64, parts: u16) -> Vec<u8> {
    [&seen_at.to_be_bytes()[..], &parts.to_be_bytes()].concat()
}

fn read_header(value: &[u8]) -> Option<(u64, u16)> {
    let (seen_at, parts) = value.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*seen_at), u16::from_be_bytes(parts.try_into().ok()?)))
}

/// A copy as the store has it; `None` when it makes no sense.
fn load(
    store: &Store,
    id: CommunityId,
    source: &Source,
    value: &[u8],
) -> Result<Option<(Event, u64)>, OpenError> {
    let Some((seen_at, parts)) = read_header(value) else { return Ok(None) };
    let mut json = Vec::new();
    for part in 0..parts {
        match store.state_entry(id, COPIES, &source.part_key(part))? {
            Some(bytes) => json.extend(bytes),
            None => return Ok(None),
        }
    }
    Ok(Event::from_json(&json).ok().map(|event| (event, seen_at)))
}

impl Community {
    /// Takes up the copies that the store has.
    ///
    /// # Errors
    /// When the store cannot be read. A copy that makes no sense is left aside, and fetched again.
    pub(super) fn read_copies(&self, store: &Store) -> Result<(), OpenError> {
        for entry in store.state(self.id, COPIES) {
            let (key, value) = entry?;
            let Some(source) = Source::of_state_key(&key) else { continue };
            let read = load(store, self.id, &source, &value)?.and_then(|(event, seen_at)| {
                let set = sets::read(source.kind, &event, crate::config::LIST_ENTRIES_MAX).ok()?;
                Some(Copy::new(&event, set, seen_at))
            });
            match read {
                Some(copy) => drop(locked(&self.shared.copies).insert(source, copy)),
                None => {
                    let (path, key) = (self.path(), source.key);
                    tracing::warn!(
                        "{path}: the copy of a shared list of {key} is damaged; it is fetched again"
                    );
                }
            }
        }
        self.compile_lists();
        Ok(())
    }

    /// Has rules know the copies of those lists that the settings follow.
    pub(super) fn compile_lists(&self) {
        let settings = self.settings();
        let follows = &settings.shared_lists.follow;
        if follows.is_empty() && self.known().shared.is_empty() {
            return;
        }
        let copies = locked(&self.shared.copies);
        let mut lists = Vec::new();
        for follow in follows {
            for source in sources(follow) {
                let Some(copy) = copies.get(&source) else { continue };
                lists.push(SharedList {
                    key: source.key,
                    kind: source.kind,
                    relay: follow.host().into(),
                    title: Arc::clone(&copy.title),
                    on: follow.on,
                    until: copy.until(follow),
                    entries: Arc::clone(&copy.entries),
                });
            }
        }
        // Still locked, so that of two changes the later one is what rules know.
        self.change_rules(|rules| rules.known.shared = Arc::new(SharedLists(lists)));
    }

    /// The id of the copy that is kept of a list, and when it was made.
    pub(crate) fn copy_of(&self, source: &Source) -> Option<(Id, u64)> {
        locked(&self.shared.copies).get(source).map(|copy| (copy.id, copy.made_at))
    }

    /// Charges what the copy of a list takes, if that is not done. False when there is no room for it.
    pub(crate) fn charge_copy(&self, source: &Source, ledger: &Arc<Ledger>) -> bool {
        match locked(&self.shared.copies).get_mut(source) {
            Some(copy) if copy.charge.is_none() => {
                copy.charge = ledger.take(bytes_of(&copy.entries));
                copy.charge.is_some()
            }
            _ => true,
        }
    }

    /// What keeps a new copy of a list, and what makes it count once that is durable.
    ///
    /// # Errors
    /// Why it is not taken: it is too long, or there is no memory for it.
    pub(crate) fn begin_copy(
        &self,
        source: &Source,
        event: &Event,
        entries_max: usize,
        now: u64,
        (store, ledger): (&Store, &Arc<Ledger>),
    ) -> Result<(Group, NewCopy), String> {
        let set = sets::read(source.kind, event, entries_max);
        let set = set.map_err(|TooLong(most)| format!("a list with more than {most} entries is refused"))?;
        let mut copy = Copy::new(event, set, now);
        copy.charge = ledger.take(bytes_of(&copy.entries));
        if copy.charge.is_none() {
            return Err("the relay's memory for clients has no room for the list".to_owned());
        }
        let before =
            store.state_entry(self.id, COPIES, &source.state_key()).map_err(|error| error.to_string())?;
        let before = before.and_then(|value| read_header(&value)).map_or(0, |(_, parts)| parts);
        Ok((write(source, self.id, event, now, before), NewCopy { source: *source, copy }))
    }

    /// Goes by a copy that is durable.
    pub(crate) fn finish_copy(&self, new: NewCopy) {
        locked(&self.shared.copies).insert(new.source, new.copy);
        self.compile_lists();
    }

    /// What keeps that a list was found at its relay again.
    pub(crate) fn confirm_copy(&self, source: &Source, now: u64, store: &Store) -> Group {
        let mut group = Group::default();
        let value = store.state_entry(self.id, COPIES, &source.state_key()).ok().flatten();
        if let Some((_, parts)) = value.and_then(|value| read_header(&value)) {
            group.put_state(self.id, COPIES, &source.state_key(), &header(now, parts));
        }
        if let Some(copy) = locked(&self.shared.copies).get_mut(source) {
            copy.seen_at = copy.seen_at.max(now);
        }
        self.compile_lists();
        group
    }

    /// Forgets lists that the settings follow no more; what removes their copies.
    pub(crate) fn forget_copies(&self, store: &Store) -> Group {
        let settings = self.settings();
        let followed: Vec<Source> = settings.shared_lists.follow.iter().flat_map(sources).collect();
        let mut group = Group::default();
        for (key, _) in store.state(self.id, COPIES).flatten() {
            let source = key.get(..33).and_then(Source::of_state_key);
            if source.is_none_or(|source| !followed.contains(&source)) {
                group.remove_state(self.id, COPIES, &key);
            }
        }
        locked(&self.shared.copies).retain(|source, _| followed.contains(source));
        locked(&self.shared.standings).retain(|source, _| followed.contains(source));
        self.compile_lists();
        group
    }

    /// Notes how it goes with the relay of a list.
    pub(crate) fn note_list(&self, source: &Source, is_connected: bool, trouble: Option<String>) {
        let mut standings = locked(&self.shared.standings);
        let standing = standings.entry(*source).or_default();
        (standing.is_connected, standing.trouble) = (is_connected, trouble);
    }

    /// Notes whom lists touched, of an event that was refused, or passed all rules that look at it alone.
    pub(super) fn note_touch(
        &self,
        rules: &Rules,
        event: &Event,
        context: &Context<'_>,
        decision: &Decision,
    ) {
        if rules.known.shared.is_empty() {
            return;
        }
        let is_ours = match decision {
            Ok(()) => true,
            Err(refusal) => refusal.rule.starts_with("shared_lists."),
        };
        let Some(touch) = touch(event, context).filter(|_| is_ours) else { return };
        let is_shadow = rules.settings.shared_lists.mode == Mode::Shadow;
        let done = match (touch.found.list.on, decision) {
            (_, Err(_)) => Done::Refused,
            (Effect::Refuse, Ok(())) => Done::Shadowed,
            (Effect::Hide, Ok(())) if is_shadow => Done::Shadowed,
            (Effect::Hide, Ok(())) => Done::Hidden,
            (Effect::Flag, Ok(())) => Done::Flagged,
        };
        // Who writes to whom is nobody else's business, lists or not.
        let is_private = rules.settings.nip17.private_kinds.contains(&event.kind.0);
        self.remember(&touch, event, context.now, (done, !is_private));
    }

    fn remember(&self, touch: &Touch<'_>, event: &Event, at: u64, (done, is_shown): (Done, bool)) {
        let list = touch.found.list;
        let touched = Touched {
            at,
            id: event.id.to_string(),
            pubkey: event.pubkey.to_string(),
            domain: touch.found.domain.map(str::to_owned),
            done,
            why: touch.sentence(),
        };
        let mut standings = locked(&self.shared.standings);
        let standing = standings.entry(Source { key: list.key, kind: list.kind }).or_default();
        *standing.counts.entry(done).or_default() += 1;
        if !is_shown {
            return;
        }
        // Who tries again and again is listed once.
        standing.last.retain(|other| other.id != touched.id);
        standing.last.truncate(TOUCHED_MAX - 1);
        standing.last.push_front(touched);
    }

    /// Events that lists put before the moderators lately, by id, with the sentence and who signs the list.
    pub(crate) fn flagged(&self) -> Vec<(PublicKey, Touched)> {
        let standings = locked(&self.shared.standings);
        let all = standings.iter().flat_map(|(source, standing)| {
            let flagged = standing.last.iter().filter(|touched| touched.done == Done::Flagged);
            flagged.map(|touched| (source.key, touched.clone()))
        });
        all.collect()
    }

    /// How each followed list stands, in the order of the settings.
    pub fn list_stats(&self, now: u64) -> Vec<ListStats> {
        let settings = self.settings();
        let (copies, standings) = (locked(&self.shared.copies), locked(&self.shared.standings));
        let none = Standing::default();
        let mut all = Vec::new();
        for follow in &settings.shared_lists.follow {
            for source in sources(follow) {
                let (copy, standing) = (copies.get(&source), standings.get(&source).unwrap_or(&none));
                let until = copy.map(|copy| copy.until(follow));
                all.push(ListStats {
                    community: self.path().to_owned(),
                    relay: follow.relay.clone(),
                    pubkey: source.key.to_string(),
                    list: source.kind.identifier().to_owned(),
                    on: follow.on,
                    title: copy.map_or_else(String::new, |copy| copy.title.to_string()),
                    entries: copy.map_or(0, |copy| copy.entries.len() as u64),
                    passed_over: copy.map_or(0, |copy| copy.passed_over as u64),
                    left_out: copy.map_or(0, |copy| copy.left_out),
                    made_at: copy.map(|copy| copy.made_at),
                    seen_at: copy.map(|copy| copy.seen_at),
                    until,
                    counts: until.is_some_and(|until| now <= until),
                    is_connected: standing.is_connected,
                    trouble: standing.trouble.clone(),
                    touched: standing.counts.clone(),
                    last: standing.last.iter().cloned().collect(),
                });
            }
        }
        all
    }

    /// Notes which domains the community's own blocklists suspend.
    pub(super) fn note_own_domains(&self, domains: Vec<Told>) {
        *locked(&self.shared.own_domains) = Some(Arc::new(domains));
        self.shared.changed.notify_one();
    }

    /// Domains that its own blocklists suspend, with their public comments; `None` before they were read.
    pub(crate) fn own_domains(&self) -> Option<Arc<Vec<Told>>> {
        match self.has_lists() {
            true => locked(&self.shared.own_domains).clone(),
            false => Some(Arc::default()),
        }
    }

    /// Waits until what it publishes of its lists may be different.
    pub(crate) async fn lists_changed(&self) {
        self.shared.changed.notified().await;
    }
}

/// A copy that counts once it is durable.
pub(crate) struct NewCopy {
    source: Source,
    copy: Copy,
}
