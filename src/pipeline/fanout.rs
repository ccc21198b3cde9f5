//! The fan-out thread: hands new events to their community's live subscriptions. In: groups of events
//! from the writer, in order. Never matches anything itself.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use tokio::sync::OwnedSemaphorePermit;

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

/// Works until nobody can send any more. Groups that have gathered meanwhile are passed on as one: the more there
/// is to do, the more frames a client gets by one write.
pub(super) fn run(input: &Receiver<LiveGroup>, clock: &Clock) {
    let mut other = None;
    while let Some(mut group) = other.take().or_else(|| input.recv().ok()) {
        while group.events.len() < EVENTS_AT_ONCE_MAX
            && let Ok(next) = input.try_recv()
        {
            if next.community.id == group.community.id {
                group.events.extend(next.events);
                group.take_room(next.room);
            } else {
                other = Some(next);
                break;
            }
        }
        let (community, now) = (&group.community, clock.now());
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
}
