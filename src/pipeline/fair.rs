//! A queue in which everybody has a turn: address after address, and among those of one address connection after
//! connection. What one connection hands in stays in its order. In: work, and whose it is. Out: the work that is
//! next, with a number that says the order. However much somebody hands in, others wait for one piece of it at a
//! time. Never waits for room: who hands in has a bound of their own.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::outbox::Listener;

/// Whose work it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) address: IpAddr,
    pub(crate) connection: usize,
}

impl Source {
    /// What an operator brings.
    pub(super) const OPERATOR: Source = Source { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), connection: 0 };

    /// One of several things that an operator has events brought by; all of them together have turns as one address.
    pub(super) fn of_operator(connection: usize) -> Source {
        Source { connection, ..Source::OPERATOR }
    }

    /// A connection: known by where its listener lies, which stays there while any of its work waits.
    pub(super) fn of(listener: &Arc<Listener>) -> Source {
        Source { address: listener.address, connection: Arc::as_ptr(listener) as usize }
    }
}

/// Lines that take turns; those that are empty are forgotten.
pub(crate) struct Turns<K, L> {
    lines: HashMap<K, L>,
    /// The one whose turn it is first.
    order: VecDeque<K>,
}

impl<K, L> Default for Turns<K, L> {
    fn default() -> Self {
        Turns { lines: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Hash + Eq + Copy, L: Default> Turns<K, L> {
    /// Whether there is nothing in any.
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The line of this name, to which something is added now.
    pub(crate) fn line(&mut self, name: K) -> &mut L {
        let order = &mut self.order;
        self.lines.entry(name).or_insert_with(|| {
            order.push_back(name);
            L::default()
        })
    }

    /// Takes from the line whose turn it is. `take` returns what it took, and whether the line has more.
    pub(crate) fn take<T>(&mut self, take: impl FnOnce(&mut L) -> (Option<T>, bool)) -> Option<T> {
        let name = self.order.pop_front()?;
        let (taken, has_more) = take(self.lines.get_mut(&name)?);
        if has_more {
            self.order.push_back(name);
        } else {
            self.lines.remove(&name);
        }
        taken
    }
}

/// Connections of one address.
type Connections<T> = Turns<usize, VecDeque<T>>;

struct Waiting<T> {
    addresses: Turns<IpAddr, Connections<T>>,
    len: usize,
    /// How many were taken so far.
    taken: u64,
    /// Threads that wait for work.
    idle: usize,
    is_closed: bool,
}

impl<T> Waiting<T> {
    fn push(&mut self, source: Source, work: T) {
        self.addresses.line(source.address).line(source.connection).push_back(work);
        self.len += 1;
    }

    fn take(&mut self) -> Option<(u64, T)> {
        let work = self.addresses.take(|connections| {
            let work = connections.take(|line| (line.pop_front(), !line.is_empty()));
            (work, !connections.is_empty())
        })?;
        self.len -= 1;
        self.taken += 1;
        Some((self.taken - 1, work))
    }

    /// How much of an address waits.
    fn len_of(&self, address: &IpAddr) -> usize {
        let connections = self.addresses.lines.get(address);
        connections.map_or(0, |connections| connections.lines.values().map(VecDeque::len).sum())
    }
}

/// See the module.
pub(super) struct Fair<T> {
    waiting: Mutex<Waiting<T>>,
    came: Condvar,
}

impl<T> Fair<T> {
    /// An empty one.
    pub(super) fn new() -> Fair<T> {
        let waiting = Waiting { addresses: Turns::default(), len: 0, taken: 0, idle: 0, is_closed: false };
        Fair { waiting: Mutex::new(waiting), came: Condvar::new() }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        // Nothing that holds the lock can panic half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands in work.
    pub(super) fn push(&self, source: Source, work: T) {
        let mut waiting = self.waiting();
        waiting.push(source, work);
        self.wake(waiting);
    }

    /// Hands in work unless so much waits already; then it is given back. Who has less than an equal share of
    /// that is always let in, so nobody can keep others out.
    ///
    /// # Errors
    /// The work.
    pub(super) fn push_within(&self, most: usize, source: Source, work: T) -> Result<(), T> {
        let mut waiting = self.waiting();
        if waiting.len >= most {
            let has = waiting.len_of(&source.address);
            let addresses = waiting.addresses.lines.len() + usize::from(has == 0);
            if has >= most.div_ceil(addresses) {
                return Err(work);
            }
        }
        waiting.push(source, work);
        self.wake(waiting);
        Ok(())
    }

    fn wake(&self, waiting: MutexGuard<'_, Waiting<T>>) {
        let is_awaited = waiting.idle > 0;
        drop(waiting);
        if is_awaited {
            self.came.notify_one();
        }
    }

    /// The work that is next, and how much was taken before it; waits for it. `None` when all is done and nobody
    /// hands in any more.
    pub(super) fn take(&self) -> Option<(u64, T)> {
        let mut waiting = self.waiting();
        loop {
            let taken = waiting.take();
            if taken.is_some() || waiting.is_closed {
                return taken;
            }
            waiting.idle += 1;
            waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.idle -= 1;
        }
    }

    /// The same, if there is some now.
    pub(super) fn try_take(&self) -> Option<(u64, T)> {
        self.waiting().take()
    }

    /// Says that nobody hands in any more.
    pub(super) fn close(&self) {
        self.waiting().is_closed = true;
        self.came.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: u8, connection: usize) -> Source {
        Source { address: IpAddr::from([192, 0, 2, address]), connection }
    }

    /// Takes so much, as the texts that were handed in.
    fn taken(fair: &Fair<String>, count: usize) -> Vec<String> {
        (0..count).map_while(|_| fair.try_take()).map(|(_, work)| work).collect()
    }

    #[test]
    fn addresses_take_turns_and_so_do_the_connections_of_one() {
        let fair = Fair::new();
        for number in 0..4 {
            for (address, connection) in [(1, 10), (1, 11), (2, 20)] {
                fair.push(source(address, connection), format!("{connection}.{number}"));
            }
        }
        // The second address has half of the turns though the first one has twice as many connections.
        assert_eq!(taken(&fair, 6), ["10.0", "20.0", "11.0", "20.1", "10.1", "20.2"]);
        // Who comes late waits for one piece of each that was there.
        fair.push(source(3, 30), "30.0".to_owned());
        assert_eq!(taken(&fair, 4), ["11.1", "20.3", "30.0", "10.2"]);
        assert_eq!(taken(&fair, 9), ["11.2", "10.3", "11.3"]);
        let waiting = fair.waiting();
        assert!(waiting.addresses.lines.is_empty() && waiting.addresses.order.is_empty());
        assert_eq!(waiting.len, 0);
    }

    #[test]
    fn what_is_taken_is_numbered_and_each_connection_keeps_its_order() {
        let (fair, mut dice) = (Fair::new(), crate::splitmix::SplitMix(7));
        let mut handed_in = [0_u64; 12];
        let mut seen = [0_u64; 12];
        let mut turns = 0;
        for _ in 0..10_000 {
            let who = dice.below(12) as usize;
            if dice.below(2) == 0 {
                fair.push(source((who % 3) as u8, who), (who, handed_in[who]));
                handed_in[who] += 1;
            } else if let Some((turn, (who, number))) = fair.try_take() {
                assert_eq!((turn, number), (turns, seen[who]));
                turns += 1;
                seen[who] += 1;
            }
        }
        assert!(turns > 4_000, "{turns}");
        fair.close();
        while let Some((turn, (who, number))) = fair.take() {
            assert_eq!((turn, number), (turns, seen[who]));
            turns += 1;
            seen[who] += 1;
        }
        assert_eq!(seen, handed_in);
    }

    #[test]
    fn who_fills_it_is_refused_and_others_are_not() {
        let fair = Fair::new();
        let push = |address, connection| fair.push_within(100, source(address, connection), ()).is_ok();
        assert_eq!((0..150).filter(|number| push(1, *number)).count(), 100);
        // Full as it is, others have as much as the first one would have in fairness.
        assert_eq!((0..150).filter(|_| push(2, 0)).count(), 50);
        assert_eq!((0..150).filter(|_| push(3, 0)).count(), 34);
        assert!(!push(1, 1_000) && !push(2, 1_000));
        assert!(push(4, 0));
        while fair.try_take().is_some() {}
        assert!(push(1, 0));
    }

    #[test]
    fn who_waits_is_woken_by_work_and_by_the_end() {
        let fair = Fair::new();
        let taken: Vec<u64> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..3)
                .map(|_| {
                    scope
                        .spawn(|| std::iter::from_fn(|| fair.take()).map(|taken| taken.0).collect::<Vec<_>>())
                })
                .collect();
            (0..1_000).for_each(|number| fair.push(source((number % 5) as u8, number), ()));
            fair.close();
            takers.into_iter().flat_map(|taker| taker.join().expect("it ends")).collect()
        });
        let mut turns = taken;
        turns.sort_unstable();
        assert_eq!(turns, (0..1_000).collect::<Vec<u64>>());
    }
}
