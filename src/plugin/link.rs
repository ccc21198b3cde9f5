//! One plugin as the chain sees it: what waits for it, what it was asked, and by when it must have answered. In:
//! tickets, answers, time. Out: tickets that may be asked, that have an answer, that have none. Pure.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counts::Counts;
use crate::config::Plugin;
use crate::event::{Id, Kind};
use crate::pipeline::fair::{Source, Turns};

/// After how many of its time-outs a request that was never answered is forgotten: until then it takes one of the
/// places of those in flight, as the plugin may still be at it.
const FORGOTTEN_TIMEOUTS: u32 = 10;

/// An event's number in the chain.
pub(super) type Ticket = u64;

/// What becomes of what waits for a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It is asked.
    Ready,
    /// It will be soon.
    Awaited,
    /// It is not, and nobody waits for it.
    Dead,
}

/// A request.
struct Slot {
    /// Whose it is; `None` when that was told already that there is no answer.
    ticket: Option<Ticket>,
    id: Id,
    asked_at: Instant,
}

/// What is waiting: everybody has a turn.
type Waiting = Turns<IpAddr, Turns<usize, VecDeque<Ticket>>>;

/// See the module.
pub(super) struct Link {
    pub(super) plugin: Plugin,
    pub(super) counts: Arc<Counts>,
    pub(super) health: Health,
    waiting: Waiting,
    waiting_len: usize,
    slots: HashMap<u64, Slot>,
    next_slot: u64,
    /// Requests by event: several may be about the same one.
    asked: HashMap<Id, VecDeque<u64>>,
    /// Requests in the order in which they were made; those that are over are still there.
    due: VecDeque<(Instant, u64)>,
    /// The same of those that were in vain.
    late: VecDeque<(Instant, u64)>,
    answered_at: Option<Instant>,
}

/// What an answer is to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// This one, and how long it took.
    Ticket(Ticket, Duration),
    /// One that does not wait for it any more.
    Late,
    /// Nothing that was asked.
    Unknown,
}

impl Link {
    pub(super) fn new(plugin: Plugin, counts: Arc<Counts>) -> Link {
        Link {
            plugin,
            counts,
            health: Health::Awaited,
            waiting: Turns::default(),
            waiting_len: 0,
            slots: HashMap::new(),
            next_slot: 0,
            asked: HashMap::new(),
            due: VecDeque::new(),
            late: VecDeque::new(),
            answered_at: None,
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.plugin.timeout_milliseconds)
    }

    /// Whether it is asked about events of a kind.
    pub(super) fn is_about(&self, kind: Kind) -> bool {
        self.plugin.kinds.is_empty() || self.plugin.kinds.contains(kind)
    }

    pub(super) fn wait(&mut self, source: Source, ticket: Ticket) {
        self.waiting.line(source.address).line(source.connection).push_back(ticket);
        self.waiting_len += 1;
        self.note();
    }

    /// The one that is asked next, if there is room.
    pub(super) fn next(&mut self) -> Option<Ticket> {
        match self.health {
            Health::Ready if self.slots.len() < self.plugin.in_flight_max => self.take(),
            _ => None,
        }
    }

    fn take(&mut self) -> Option<Ticket> {
        let ticket = self.waiting.take(|connections| {
            let ticket = connections.take(|line| (line.pop_front(), !line.is_empty()));
            (ticket, !connections.is_empty())
        })?;
        self.waiting_len -= 1;
        self.note();
        Some(ticket)
    }

    /// All that wait.
    pub(super) fn take_waiting(&mut self) -> Vec<Ticket> {
        std::iter::from_fn(|| self.take()).collect()
    }

    /// Notes that it is asked.
    pub(super) fn ask(&mut self, ticket: Ticket, id: Id, now: Instant) {
        let slot = self.next_slot;
        self.next_slot += 1;
        self.slots.insert(slot, Slot { ticket: Some(ticket), id, asked_at: now });
        self.asked.entry(id).or_default().push_back(slot);
        self.due.push_back((now, slot));
        self.counts.asked.add(1);
        self.note();
    }

    /// Takes up an answer.
    pub(super) fn answer(&mut self, id: &Id, now: Instant) -> Answered {
        let Some(slots) = self.asked.get_mut(id) else { return Answered::Unknown };
        let slot = slots.pop_front();
        if slots.is_empty() {
            self.asked.remove(id);
        }
        let Some(number) = slot else { return Answered::Unknown };
        let Some(slot) = self.slots.remove(&number) else { return Answered::Unknown };
        self.answered_at = Some(now);
        self.note();
        match slot.ticket {
            Some(ticket) => Answered::Ticket(ticket, now.duration_since(slot.asked_at)),
            None => Answered::Late,
        }
    }

    /// Those whose time is up, and whether nothing was answered for so long that the plugin must hang.
    pub(super) fn expire(&mut self, now: Instant) -> (Vec<Ticket>, bool) {
        let timeout = self.timeout();
        let (mut expired, mut hangs) = (Vec::new(), false);
        while let Some((asked_at, number)) = self.due.front().copied() {
            let Some(slot) = self.slots.get_mut(&number) else {
                self.due.pop_front();
                continue;
            };
            if now < asked_at + timeout {
                break;
            }
            self.due.pop_front();
            hangs |= self.answered_at.is_none_or(|answered_at| answered_at <= asked_at);
            expired.extend(slot.ticket.take());
            self.late.push_back((asked_at, number));
        }
        while let Some((asked_at, number)) = self.late.front().copied() {
            if self.slots.contains_key(&number) && now < asked_at + timeout * FORGOTTEN_TIMEOUTS {
                break;
            }
            self.late.pop_front();
            self.forget(number);
        }
        self.note();
        (expired, hangs)
    }

    fn forget(&mut self, number: u64) {
        let Some(slot) = self.slots.remove(&number) else { return };
        if let Some(slots) = self.asked.get_mut(&slot.id) {
            slots.retain(|slot| *slot != number);
            if slots.is_empty() {
                self.asked.remove(&slot.id);
            }
        }
    }

    /// When to look again for those whose time is up.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = self.due.front().map(|(asked_at, _)| *asked_at + self.timeout());
        let late = self.late.front().map(|(asked_at, _)| *asked_at + self.timeout() * FORGOTTEN_TIMEOUTS);
        due.into_iter().chain(late).min()
    }

    /// Forgets what it was asked; those that wait for the answers.
    pub(super) fn take_asked(&mut self) -> Vec<Ticket> {
        let mut slots: Vec<(u64, Slot)> = std::mem::take(&mut self.slots).into_iter().collect();
        slots.sort_unstable_by_key(|(number, _)| *number);
        self.asked.clear();
        (self.due, self.late, self.answered_at) = Default::default();
        self.note();
        slots.into_iter().filter_map(|(_, slot)| slot.ticket).collect()
    }

    /// Whether anybody waits for an answer.
    pub(super) fn is_asked(&self) -> bool {
        self.slots.values().any(|slot| slot.ticket.is_some())
    }

    fn note(&self) {
        self.counts.set_now(self.slots.len(), self.waiting_len);
    }
}
