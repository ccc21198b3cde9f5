//! What is held for a verdict, and let go. In: events that the moderation service accepted. Out: the same events stored
//! anew, with numbers of now, so that they are new to whoever could not see them: stored for later queries, live for open
//! subscriptions, and never twice.

use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::Sender;

use super::fanout::LiveGroup;
use super::log::Placing;
use super::writer::{After, Checked, Writer};
use crate::community::Community;
use crate::community::moderation::HELD;
use crate::event::{Id, Kind, Verified};
use crate::index::Stored;
use crate::live::LiveEvent;
use crate::rule::held::HELD_MAX;
use crate::rule::moderation::Rank;
use crate::rule::{Prefix, Refusal};
use crate::store::{Group, Location, record};

/// Events that are to be held no more.
pub(super) struct Release {
    pub(super) community: Arc<Community>,
    pub(super) ids: Vec<Id>,
    /// Told when it is done.
    pub(super) done: Sender<()>,
}

/// One of them, on its way.
pub(super) struct Released {
    stored: Stored,
    event: Verified,
    record_bytes: usize,
}

/// Whether an event is to be held when it is stored.
///
/// # Errors
/// When as many are held as may be.
pub(super) fn is_held(checked: &Checked) -> Result<bool, Refusal> {
    if let Placing::There { is_held, .. } = checked.placing {
        return Ok(is_held);
    }
    let (rules, event) = (checked.community.rules(), &checked.event);
    let settings = &rules.settings.moderation_service;
    // What removes something takes effect at once; what an operator brings is known.
    let is_request = event.kind == Kind::DELETION || event.kind == Kind::VANISH;
    if checked.admitted_at.is_none() || is_request || !settings.holds() {
        return Ok(false);
    }
    let is_private = rules.settings.nip17.private_kinds.contains(&event.kind.0);
    if !settings.is_sent(event.kind, is_private) || rules.rank(&event.pubkey) >= Rank::Moderator {
        return Ok(false);
    }
    if rules.known.held.len() >= HELD_MAX {
        let sentence = "more events wait for the moderation service than may; try again later";
        return Err(Refusal::new(Prefix::Error, "moderation_service.full", sentence));
    }
    Ok(true)
}

impl Writer {
    /// Lets events go that are held, as far as they are still there.
    pub(super) fn release(&mut self, release: Release, position: Option<u64>) {
        let Release { community, mut ids, done } = release;
        let held = community.known().held;
        // Somebody else may have let it go already.
        ids.retain(|id| held.has(id));
        let (mut group, mut released) = (Group::default(), Vec::new());
        for id in &ids {
            group.remove_state(community.id, HELD, &id.0);
            let Some(stored) = community.index().find(id) else { continue };
            let record = match self.store.get(community.id, stored.location) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error) => {
                    tracing::error!("cannot read an event that is to be released: {error}");
                    continue;
                }
            };
            let Ok(event) = record::decode(&record) else { continue };
            group.remove(community.id, stored.location);
            let record_bytes = record.len();
            match stored.location.is_loose() {
                true => group.insert_loose(community.id, record),
                false => group.insert(community.id, record),
            }
            // It proved true when it came.
            released.push(Released { stored, event: Verified::assumed(event), record_bytes });
        }
        self.write_position(position, &mut group);
        match self.store.commit(group) {
            Ok(locations) => {
                self.let_go(&community, &ids, released, &locations);
                self.stored(position);
            }
            Err(error) => {
                tracing::error!("cannot release held events: {error}");
                self.note_failure(&error, Some(After::LetGo(community, ids, released)));
                self.lose_place(position);
            }
        }
        // Who no longer waits for it does not need it.
        let _ = done.send(());
    }

    /// What was released is true for readers, and goes to those who listen.
    pub(super) fn let_go(
        &mut self,
        community: &Arc<Community>,
        ids: &[Id],
        released: Vec<Released>,
        locations: &[Location],
    ) {
        let held = Arc::clone(&community.known().held);
        let mut events = Vec::new();
        // A reader sees either what was held, or what is free under its new number: both change under one lock.
        let mut index = community.index_mut();
        for (Released { stored, event, record_bytes }, &location) in released.into_iter().zip(locations) {
            index.remove(stored);
            index.insert(&event, location, record_bytes);
            held.release(&event.id);
            events.push((stored, event, location));
        }
        ids.iter().for_each(|id| held.release(id));
        drop(index);
        let count = events.len();
        let mut live = Vec::new();
        for (stored, event, location) in events {
            community.notice(event.kind, &event.pubkey);
            self.bodies.forget(community.id, stored.location);
            let body = Bytes::from(event.to_json());
            self.bodies.put(community.id, location, body.clone());
            live.push(LiveEvent::new(event, body, Some(location.number)));
        }
        if !live.is_empty() {
            let community = Arc::clone(community);
            self.pass_on(LiveGroup { community, events: live, room: None, was_held: true });
        }
        self.note_changes(2 * count);
    }
}
