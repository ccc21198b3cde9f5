//! Who is connected to a community: to count them, and to send those away who are no longer welcome. In: connections
//! as they come and go. Never looks at what they say.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::outbox::Listener;

/// The open connections of one community.
#[derive(Default)]
pub struct Connected(Mutex<Slots>);

#[derive(Default)]
struct Slots {
    connections: Vec<Option<(Arc<Listener>, IpAddr)>>,
    free: Vec<u32>,
}

impl Connected {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection; the number takes it out again.
    pub(crate) fn add(&self, listener: &Arc<Listener>, address: IpAddr) -> u32 {
        let mut slots = self.slots();
        let connection = Some((Arc::clone(listener), address));
        match slots.free.pop() {
            Some(number) => {
                slots.connections[number as usize] = connection;
                number
            }
            None => {
                slots.connections.push(connection);
                slots.connections.len() as u32 - 1
            }
        }
    }

    /// Takes a connection out.
    pub(crate) fn remove(&self, number: u32) {
        let mut slots = self.slots();
        let left = slots.connections[number as usize].take();
        slots.free.push(number);
        if slots.free.len() == slots.connections.len() {
            *slots = Slots::default();
        }
        drop(slots);
        // The last that holds a listener frees it outside of the lock.
        drop(left);
    }

    /// A connection's address, whoever its rates are charged to.
    pub(crate) fn address(&self, number: u32) -> Option<IpAddr> {
        let slots = self.slots();
        slots.connections.get(number as usize)?.as_ref().map(|(_, address)| *address)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let slots = self.slots();
        slots.connections.len() - slots.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those for which more than `least` bytes wait to be sent, and how many.
    pub(crate) fn waiting(&self, least: usize) -> Vec<(usize, Arc<Listener>)> {
        let slots = self.slots();
        let open = slots.connections.iter().flatten();
        let each = open.map(|(listener, _)| (listener.outbox.bytes(), listener));
        each.filter(|(bytes, _)| *bytes > least)
            .map(|(bytes, listener)| (bytes, Arc::clone(listener)))
            .collect()
    }

    /// Ends those of which `is_unwelcome` says so, and tells them why. Returns how many.
    pub(crate) fn end(
        &self,
        reason: &'static str,
        is_unwelcome: impl Fn(&Listener, IpAddr) -> bool,
    ) -> usize {
        let chosen: Vec<Arc<Listener>> = {
            let slots = self.slots();
            let open = slots.connections.iter().flatten();
            let chosen = open.filter(|(listener, address)| is_unwelcome(listener, *address));
            chosen.map(|(listener, _)| Arc::clone(listener)).collect()
        };
        chosen.iter().for_each(|listener| listener.outbox.end(reason));
        chosen.len()
    }
}
