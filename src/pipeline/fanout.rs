//! The fan-out thread: hands new events to their community's live subscriptions. In: groups of events
//! from the writer, in order. Never matches anything itself.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use tokio::sync::OwnedSemaphorePermit;

use super::stage::Stage;
use crate::clock::Clock;
use crate::community::Community;
use crate::live::LiveEvent;
use crate::outbox::Listener;
use crate::policy::head_of;
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
}

impl LiveGroup {
    /// Adds an event, and what it has of the bound on bytes under way: it is under way until it is passed on.
    pub(super) fn add(&mut self, event: LiveEvent, room: Option<OwnedSemaphorePermit>) {
        self.events.push(event);
        self.take_room(room);
    }

    fn take_room(&mut self, room: Option<OwnedSemaphorePermit>) {
        match (&mut self.room, room) {
            (Some(all), Some(room)) => all.merge(room),
            (none, room) => *none = none.take().or(room),
        }
    }
}

/// Events that are passed on at once, about.
const EVENTS_AT_ONCE_MAX: usize = 1_024;

/// Groups that have gathered meanwhile are passed on as one: the more there is to do, the more frames a client
/// gets by one write.
pub(super) struct Fanout {
    input: Receiver<LiveGroup>,
    clock: Clock,
    /// A group that was taken from the queue and belongs to another community than the one before.
    other: Option<LiveGroup>,
}

impl Stage for Fanout {
    type Work = LiveGroup;

    fn wait(&mut self) -> Option<LiveGroup> {
        self.other.take().or_else(|| self.input.recv().ok())
    }

    fn look(&mut self) -> Option<LiveGroup> {
        self.other.take().or_else(|| self.input.try_recv().ok())
    }

    fn begin(&mut self, mut group: LiveGroup) {
        while group.events.len() < EVENTS_AT_ONCE_MAX
            && let Ok(next) = self.input.try_recv()
        {
            if next.community.id == group.community.id {
                group.events.extend(next.events);
                group.take_room(next.room);
            } else {
                self.other = Some(next);
                break;
            }
        }
        pass_on(&group, self.clock.now());
    }

    fn advance(&mut self) -> bool {
        false
    }
}

impl Fanout {
    pub(super) fn new(input: Receiver<LiveGroup>, clock: Clock) -> Fanout {
        Fanout { input, clock, other: None }
    }

    /// How many groups it has not passed on.
    pub(super) fn waiting(&self) -> usize {
        self.input.len() + usize::from(self.other.is_some())
    }

    /// Takes its groups from elsewhere from now on; returns where they came from.
    pub(super) fn take_from(&mut self, input: Receiver<LiveGroup>) -> Receiver<LiveGroup> {
        std::mem::replace(&mut self.input, input)
    }
}

fn pass_on(group: &LiveGroup, now: u64) {
    let community = &group.community;
    let rules = community.rules();
    let heads: Vec<Head<'_>> = group.events.iter().map(|live| head_of(&live.event)).collect();
    let visible = |at: usize, listener: &Listener, asked: bool| {
        listener.with_keys(|keys| {
            let context = Context { asked, ..rules.context(now, keys, &listener.relay) };
            community.visible(&rules, &heads[at], &context)
        })
    };
    let replay = ReplaySettings::from(&rules.settings.geohash);
    let delivered = community.live.pass_on(&rules.settings.limits, replay, now, &group.events, visible);
    community.traffic.delivered.add(delivered);
}
