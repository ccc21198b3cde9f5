//! The fan-out thread: hands new events to their community's live subscriptions. In: groups of events
//! from the writer, in order. Never matches anything itself, never changes the order of a community's events.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::OwnedSemaphorePermit;

use super::stage::Stage;
use crate::clock::Clock;
use crate::community::Community;
use crate::filter::Filter;
use crate::live::LiveEvent;
use crate::nips::nip50;
use crate::outbox::Listener;
use crate::policy::{head_of, saw_held};
use crate::replay::ReplaySettings;
use crate::rule::{Context, Head};

/// Events of one community that became known together.
pub(super) struct LiveGroup {
    /// Where they were sent.
    pub(super) community: Arc<Community>,
    /// The events, in order.
    pub(super) events: Vec<LiveEvent>,
    /// Their room in the bound on what is under way, all of it in one.
    pub(super) room: Option<OwnedSemaphorePermit>,
    /// Whether they were held until now: who could see them all the while has them already.
    pub(super) was_held: bool,
}

impl LiveGroup {
    /// Adds an event, and what it has of the bound on bytes under way: it is under way until it is passed on.
    pub(super) fn add(&mut self, event: LiveEvent, room: Option<OwnedSemaphorePermit>) {
        self.events.push(event);
        self.take_room(room);
    }

    fn bytes(&self) -> usize {
        self.events.iter().map(|live| live.body.len()).sum()
    }

    fn take_room(&mut self, room: Option<OwnedSemaphorePermit>) {
        match (&mut self.room, room) {
            (Some(all), Some(room)) => all.merge(room),
            (none, room) => *none = none.take().or(room),
        }
    }
}

/// Events that gather before they are passed on, about: in number, and in bytes of JSON.
const EVENTS_AT_ONCE_MAX: usize = 1_024;
const BYTES_AT_ONCE_MAX: usize = 4 << 20;

/// A group that gathers others of its community.
struct Gathering {
    group: LiveGroup,
    /// When it is passed on at the latest; `None`, which is the least: at once.
    due: Option<Instant>,
}

/// Groups that have gathered meanwhile are passed on as one: the more there is to do, the more frames a client
/// gets by one write. Where `limits.live_delay_milliseconds_max` says so, they wait for each other.
pub(super) struct Fanout {
    input: Receiver<LiveGroup>,
    clock: Clock,
    /// What was taken from the queue, in order. A group is due no later than any that follows it in its community.
    gathering: VecDeque<Gathering>,
    /// Events in it, and their bytes.
    events: usize,
    bytes: usize,
}

impl Stage for Fanout {
    type Work = LiveGroup;

    fn wait(&mut self) -> Option<LiveGroup> {
        loop {
            self.gather();
            if let Some(at) = self.first_due() {
                return self.take(at);
            }
            let next = match self.gathering.iter().filter_map(|gathering| gathering.due).min() {
                Some(due) => self.input.recv_deadline(due),
                None => self.input.recv().map_err(RecvTimeoutError::from),
            };
            match next {
                Ok(group) => self.add(group),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.take(0),
            }
        }
    }

    /// Whoever asks without waiting says by it that the time has come.
    fn look(&mut self) -> Option<LiveGroup> {
        self.gather();
        self.take(0)
    }

    fn begin(&mut self, group: LiveGroup) {
        pass_on(&group, self.clock.now());
    }

    fn advance(&mut self) -> bool {
        false
    }
}

impl Fanout {
    pub(super) fn new(input: Receiver<LiveGroup>, clock: Clock) -> Fanout {
        Fanout { input, clock, gathering: VecDeque::new(), events: 0, bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.events >= EVENTS_AT_ONCE_MAX || self.bytes >= BYTES_AT_ONCE_MAX
    }

    /// Takes what is in the queue.
    fn gather(&mut self) {
        while !self.is_full()
            && let Ok(group) = self.input.try_recv()
        {
            self.add(group);
        }
    }

    fn add(&mut self, group: LiveGroup) {
        self.events += group.events.len();
        self.bytes += group.bytes();
        let due = due(&group);
        let community = group.community.id;
        let mut same = self.gathering.iter_mut().filter(|earlier| earlier.group.community.id == community);
        let Some(last) = same.next_back() else { return self.gathering.push_back(Gathering { group, due }) };
        if last.group.was_held == group.was_held {
            last.due = last.due.min(due);
            last.group.events.extend(group.events);
            last.group.take_room(group.room);
        } else {
            last.due = None;
            self.gathering.push_back(Gathering { group, due });
        }
    }

    /// The first that is to be passed on now.
    fn first_due(&self) -> Option<usize> {
        if self.is_full() {
            return Some(0);
        }
        let mut now = None;
        self.gathering.iter().position(|gathering| match gathering.due {
            Some(due) => due <= *now.get_or_insert_with(Instant::now),
            None => true,
        })
    }

    fn take(&mut self, at: usize) -> Option<LiveGroup> {
        let group = self.gathering.remove(at)?.group;
        self.events -= group.events.len();
        self.bytes -= group.bytes();
        Some(group)
    }
}

/// When a group is passed on at the latest. Ephemeral events are talk, in which everybody waits for the other.
fn due(group: &LiveGroup) -> Option<Instant> {
    let delay = group.community.rules().settings.limits.live_delay_milliseconds_max;
    let is_talk = || group.events.iter().any(|live| live.number.is_none());
    if delay == 0 || is_talk() { None } else { Some(Instant::now() + Duration::from_millis(delay)) }
}

fn pass_on(group: &LiveGroup, now: u64) {
    let community = &group.community;
    let rules = community.rules();
    let heads: Vec<Head<'_>> = group.events.iter().map(|live| head_of(&live.event)).collect();
    let visible = |at: usize, listener: &Listener, filter: &Filter| {
        listener.with_keys(|keys| {
            let asked = filter.names_events_or_authors();
            let context = Context { asked, ..rules.context(now, keys, &listener.relay) };
            let (head, search) = (&heads[at], filter.search.as_ref());
            let is_new = !group.was_held || !saw_held(head, &context);
            let is_found = search.is_none_or(|search| {
                nip50::is_searched(head.kind, &rules.settings) && search.admits_author(head.author, &context)
            });
            is_new && is_found && community.visible(&rules, head, &context)
        })
    };
    let replay = ReplaySettings::from(&rules.settings.geohash);
    let delivered = community.live.pass_on(&rules.settings.limits, replay, now, &group.events, visible);
    community.traffic.delivered.add(delivered);
}
