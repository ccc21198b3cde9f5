//! What waits for plugins, and in which order it goes on. In: events, answers, time. Out: whom to ask what, and what
//! became of each event ([`Effect`]). Pure: asks nobody itself.
//!
//! Many events are asked about at once, also those of one connection, but what is accepted of one connection goes on
//! in the order in which it came. Nobody waits for the events of another connection, but for its turn at a plugin.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::counts::Counts;
pub(crate) use super::link::Health;
use super::link::{Answered, Link, Ticket};
use super::wire::{Answer, Verdict};
use super::{busy, dead, stopping};
use crate::config::{Mode, Plugin, Plugins, WhenDead};
use crate::event::{Id, Kind};
use crate::pipeline::fair::Source;
use crate::rule::{Prefix, Refusal};

/// An event that comes in.
pub(crate) struct Coming<T> {
    /// The event, as its owner has it.
    pub(crate) work: T,
    /// Whose it is.
    pub(crate) source: Source,
    /// Its id.
    pub(crate) id: Id,
    /// Its kind.
    pub(crate) kind: Kind,
    /// What it takes of the room.
    pub(crate) bytes: usize,
    /// Whether no plugin is asked about it: it only keeps its place in the order.
    pub(crate) is_exempt: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect<T> {
    /// The plugin with this number is asked about an event, which [`Chain::work`] shows.
    Ask(usize, u64),
    /// It goes on.
    Pass(T),
    /// It is refused.
    Refuse(T, Refusal),
    /// It is refused, and its client told that it was taken.
    Feign(T),
    /// It goes on, though a plugin refuses it: that is in shadow mode. It comes as a [`Effect::Pass`] of its own.
    Shadowed(Refusal),
    /// The plugin with this number has said nothing for too long, and must be started anew.
    Hangs(usize),
}

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes; beyond them only who has less than an equal share is let in.
    pub(crate) shared: usize,
    /// Bytes beyond which nobody is.
    pub(crate) most: usize,
}

struct Held<T> {
    work: T,
    source: Source,
    id: Id,
    kind: Kind,
    bytes: usize,
    is_accepted: bool,
}

/// See the module.
pub(crate) struct Chain<T> {
    links: Vec<Link>,
    held: HashMap<Ticket, Held<T>>,
    next: Ticket,
    /// What is there of each connection, in its order.
    order: HashMap<Source, VecDeque<Ticket>>,
    /// Bytes that are there, in all and by address.
    bytes: usize,
    bytes_by_address: HashMap<IpAddr, usize>,
    is_shadow: bool,
    is_stopping: bool,
    effects: Vec<Effect<T>>,
}

impl<T> Chain<T> {
    pub(crate) fn new() -> Chain<T> {
        Chain {
            links: Vec::new(),
            held: HashMap::new(),
            next: 0,
            order: HashMap::new(),
            bytes: 0,
            bytes_by_address: HashMap::new(),
            is_shadow: false,
            is_stopping: false,
            effects: Vec::new(),
        }
    }

    /// Goes by other settings. A plugin whose settings stay keeps what it was asked; what waited for one that goes is
    /// asked about again from the beginning. For each plugin of now says which one it was before.
    pub(crate) fn reconfigure(&mut self, plugins: &Plugins, now: Instant) -> Vec<Option<usize>> {
        self.is_shadow = plugins.mode == Mode::Shadow;
        let mut old: Vec<Option<Link>> = std::mem::take(&mut self.links).into_iter().map(Some).collect();
        let mut counts: Vec<(String, Arc<Counts>)> = old
            .iter()
            .flatten()
            .map(|link| (link.plugin.name().to_owned(), Arc::clone(&link.counts)))
            .collect();
        let mut came_from = Vec::new();
        for plugin in &plugins.chain {
            let same = |link: &Option<Link>| link.as_ref().is_some_and(|link| link.plugin == *plugin);
            let at = old.iter().position(same);
            let link = at.and_then(|at| old[at].take()).unwrap_or_else(|| new_link(plugin, &mut counts));
            self.links.push(link);
            came_from.push(at);
        }
        let mut homeless: Vec<Ticket> = Vec::new();
        for link in old.iter_mut().flatten() {
            homeless.extend(link.take_asked());
            homeless.extend(link.take_waiting());
        }
        homeless.sort_unstable();
        homeless.into_iter().for_each(|ticket| self.go_on(ticket, 0));
        self.pump_all(now);
        came_from
    }

    /// The plugins, and what is counted of each.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = (&Plugin, &Arc<Counts>)> {
        self.links.iter().map(|link| (&link.plugin, &link.counts))
    }

    /// Takes an event in, unless there is no room.
    pub(crate) fn enter(&mut self, coming: Coming<T>, room: Room, now: Instant) {
        let Coming { work, source, id, kind, bytes, is_exempt } = coming;
        if self.is_stopping {
            return self.effects.push(Effect::Refuse(work, stopping()));
        }
        if !self.has_room(source.address, bytes, room) {
            return self.effects.push(Effect::Refuse(work, busy()));
        }
        let ticket = self.next;
        self.next += 1;
        self.bytes += bytes;
        *self.bytes_by_address.entry(source.address).or_default() += bytes;
        self.held.insert(ticket, Held { work, source, id, kind, bytes, is_accepted: false });
        self.order.entry(source).or_default().push_back(ticket);
        match is_exempt {
            true => self.accept(ticket),
            false => self.go_on(ticket, 0),
        }
        self.pump_all(now);
    }

    fn has_room(&self, address: IpAddr, bytes: usize, room: Room) -> bool {
        if self.bytes + bytes <= room.shared || self.bytes == 0 {
            return true;
        }
        let has = self.bytes_by_address.get(&address).copied().unwrap_or(0);
        let addresses = self.bytes_by_address.len() + usize::from(has == 0);
        self.bytes + bytes <= room.most && has + bytes <= room.shared / addresses
    }

    /// Takes up what a plugin says.
    pub(crate) fn answer(&mut self, at: usize, answer: Answer, now: Instant) {
        let link = &mut self.links[at];
        let counts = Arc::clone(&link.counts);
        match link.answer(&answer.id, now) {
            Answered::Ticket(ticket, after) => {
                counts.answered(after);
                match answer.verdict {
                    Verdict::Accept => {
                        counts.accepted.add(1);
                        self.go_on(ticket, at + 1);
                    }
                    Verdict::Reject(refusal) => {
                        counts.rejected.add(1);
                        self.refuse(ticket, at, refusal);
                    }
                    Verdict::ShadowReject => {
                        counts.shadow_rejected.add(1);
                        self.feign(ticket, at);
                    }
                }
            }
            Answered::Late => {}
            Answered::Unknown => counts.nonsense.add(1),
        }
        self.pump_all(now);
    }

    /// Does what time asks for.
    pub(crate) fn tick(&mut self, now: Instant) {
        for at in 0..self.links.len() {
            let (expired, hangs) = self.links[at].expire(now);
            self.links[at].counts.timed_out.add(expired.len() as u64);
            expired.into_iter().for_each(|ticket| self.give_up(ticket, at));
            if hangs {
                self.effects.push(Effect::Hangs(at));
            }
        }
        self.pump_all(now);
    }

    /// When time asks for something next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.links.iter().filter_map(Link::next_due).min()
    }

    /// A plugin is, or is not, to be asked from now on.
    pub(crate) fn set_health(&mut self, at: usize, health: Health, now: Instant) {
        self.links[at].health = health;
        if health == Health::Dead {
            for ticket in self.links[at].take_waiting() {
                self.links[at].counts.unanswered.add(1);
                self.give_up(ticket, at);
            }
        }
        self.pump_all(now);
    }

    /// A plugin will not answer what it was asked.
    pub(crate) fn lose(&mut self, at: usize, now: Instant) {
        for ticket in self.links[at].take_asked() {
            self.links[at].counts.unanswered.add(1);
            self.give_up(ticket, at);
        }
        self.pump_all(now);
    }

    /// Whether anybody waits for an answer of a plugin.
    pub(crate) fn is_asked(&self, at: usize) -> bool {
        self.links[at].is_asked()
    }

    /// Takes nothing more in, and gives up what no plugin was asked about yet.
    pub(crate) fn stop(&mut self) {
        self.is_stopping = true;
        for at in 0..self.links.len() {
            self.links[at].take_waiting().into_iter().for_each(|ticket| self.end(ticket, stopping()));
        }
    }

    /// Gives up what is left.
    pub(crate) fn cut(&mut self) {
        self.stop();
        for at in 0..self.links.len() {
            self.links[at].take_asked().into_iter().for_each(|ticket| self.end(ticket, stopping()));
        }
    }

    /// Whether nothing is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// An event that is there.
    pub(crate) fn work(&self, ticket: u64) -> Option<&T> {
        self.held.get(&ticket).map(|held| &held.work)
    }

    /// What is to be done since this was called last, in order.
    pub(crate) fn effects(&mut self) -> Vec<Effect<T>> {
        std::mem::take(&mut self.effects)
    }

    /// The event waits for the first plugin from a place on that is about its kind; past the last one it is accepted.
    fn go_on(&mut self, ticket: Ticket, from: usize) {
        let Some(Held { kind, source, .. }) = self.held.get(&ticket) else { return };
        let (kind, source) = (*kind, *source);
        for at in from..self.links.len() {
            if !self.links[at].is_about(kind) {
                continue;
            }
            if self.is_stopping {
                return self.end(ticket, stopping());
            }
            if self.links[at].health != Health::Dead {
                return self.links[at].wait(source, ticket);
            }
            self.links[at].counts.unanswered.add(1);
            if self.is_lost_with(at) {
                return self.end(ticket, dead());
            }
        }
        self.accept(ticket);
    }

    /// Whether an event of which a plugin says nothing is refused; in shadow mode that is only noted.
    fn is_lost_with(&mut self, at: usize) -> bool {
        let refuses = self.links[at].plugin.when_dead == WhenDead::Refuse;
        if refuses && self.is_shadow {
            self.effects.push(Effect::Shadowed(dead()));
        }
        refuses && !self.is_shadow
    }

    fn give_up(&mut self, ticket: Ticket, at: usize) {
        match self.is_lost_with(at) {
            true => self.end(ticket, dead()),
            false => self.go_on(ticket, at + 1),
        }
    }

    fn refuse(&mut self, ticket: Ticket, at: usize, refusal: Refusal) {
        if self.is_shadow {
            self.effects.push(Effect::Shadowed(refusal));
            return self.go_on(ticket, at + 1);
        }
        self.end(ticket, refusal);
    }

    fn feign(&mut self, ticket: Ticket, at: usize) {
        if self.is_shadow {
            let sentence = "a plugin would take it for show";
            self.effects.push(Effect::Shadowed(Refusal::new(Prefix::Blocked, super::REFUSED, sentence)));
            return self.go_on(ticket, at + 1);
        }
        let removed = self.remove(ticket);
        self.effects.extend(removed.map(Effect::Feign));
    }

    fn end(&mut self, ticket: Ticket, refusal: Refusal) {
        let removed = self.remove(ticket);
        self.effects.extend(removed.map(|work| Effect::Refuse(work, refusal)));
    }

    /// Takes an event out before its turn has come.
    fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let held = self.held.remove(&ticket)?;
        let source = held.source;
        self.give_back(source.address, held.bytes);
        if let Some(line) = self.order.get_mut(&source) {
            line.retain(|other| *other != ticket);
        }
        self.release(source);
        Some(held.work)
    }

    fn accept(&mut self, ticket: Ticket) {
        let Some(held) = self.held.get_mut(&ticket) else { return };
        held.is_accepted = true;
        let source = held.source;
        self.release(source);
    }

    /// Lets those of a connection go on that nothing before them holds up.
    fn release(&mut self, source: Source) {
        let Some(line) = self.order.get_mut(&source) else { return };
        while let Some(ticket) = line.front()
            && self.held.get(ticket).is_some_and(|held| held.is_accepted)
        {
            let Some(held) = line.pop_front().and_then(|ticket| self.held.remove(&ticket)) else { break };
            self.bytes -= held.bytes;
            give_back(&mut self.bytes_by_address, held.source.address, held.bytes);
            self.effects.push(Effect::Pass(held.work));
        }
        if line.is_empty() {
            self.order.remove(&source);
        }
    }

    fn give_back(&mut self, address: IpAddr, bytes: usize) {
        self.bytes -= bytes;
        give_back(&mut self.bytes_by_address, address, bytes);
    }

    fn pump_all(&mut self, now: Instant) {
        for (at, link) in self.links.iter_mut().enumerate() {
            while let Some(ticket) = link.next() {
                if let Some(held) = self.held.get(&ticket) {
                    link.ask(ticket, held.id, now);
                    self.effects.push(Effect::Ask(at, ticket));
                }
            }
        }
    }
}

fn give_back(bytes_by_address: &mut HashMap<IpAddr, usize>, address: IpAddr, bytes: usize) {
    if let Some(has) = bytes_by_address.get_mut(&address) {
        *has -= bytes;
        if *has == 0 {
            bytes_by_address.remove(&address);
        }
    }
}

/// A plugin that is new here; what was counted of one of its name goes on.
fn new_link(plugin: &Plugin, counts: &mut Vec<(String, Arc<Counts>)>) -> Link {
    let known = counts.iter().position(|(name, _)| name == plugin.name());
    let counts = known.map(|at| counts.swap_remove(at).1).unwrap_or_default();
    Link::new(plugin.clone(), counts)
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
