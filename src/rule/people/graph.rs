//! Who follows whom, out of follow lists (NIP-02), and how many hops people are from `trust.roots`. Keys are
//! numbers, and all lists lie in one array of them, so that a follow takes 4 bytes. In: kind 3 events. Out: a
//! [`Graph`] within the bounds of `[trust]`.

use std::collections::HashMap;

use crate::config::Settings;
use crate::event::{Event, PublicKey};

/// Hops of who is not within reach.
const OUT_OF_REACH: u8 = u8::MAX;

/// Who follows whom. The default knows nobody.
#[derive(Debug, Default)]
pub struct Graph {
    numbers: HashMap<PublicKey, u32>,
    /// By number: where in `followed` the list of this key begins and ends.
    lists: Vec<(u32, u32)>,
    /// The numbers that lists hold, in order within each list.
    followed: Vec<u32>,
    /// By number: hops from the nearest root.
    hops: Vec<u8>,
    cut: u64,
}

impl Graph {
    /// Whether `who` follows `whom`.
    pub fn follows(&self, who: &PublicKey, whom: &PublicKey) -> bool {
        match (self.numbers.get(who), self.numbers.get(whom)) {
            (Some(&who), Some(whom)) => self.list(who).binary_search(whom).is_ok(),
            _ => false,
        }
    }

    /// How far a key is from the nearest root; `None` beyond `trust.hops_max`.
    pub fn hops(&self, key: &PublicKey) -> Option<u8> {
        let number = *self.numbers.get(key)?;
        Some(self.hops[number as usize]).filter(|&hops| hops != OUT_OF_REACH)
    }

    /// How many people are known.
    pub fn keys(&self) -> usize {
        self.numbers.len()
    }

    /// How many follows are known.
    pub fn follow_count(&self) -> usize {
        self.followed.len()
    }

    /// How many follows the bounds of memory left out.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    fn list(&self, number: u32) -> &[u32] {
        let (start, end) = self.lists[number as usize];
        &self.followed[start as usize..end as usize]
    }
}

/// Makes a [`Graph`]. Where a bound is reached, the lists that were added first count: who adds those near the
/// roots first keeps strangers from pushing them out.
pub struct GraphBuilder {
    graph: Graph,
    /// By number.
    keys: Vec<PublicKey>,
    keys_max: usize,
    follows_max: usize,
    hops_max: u8,
}

impl GraphBuilder {
    /// A graph of the roots alone.
    pub fn new(settings: &Settings) -> GraphBuilder {
        let trust = &settings.trust;
        let mut builder = GraphBuilder {
            graph: Graph::default(),
            keys: Vec::new(),
            keys_max: trust.keys_max as usize,
            follows_max: trust.follows_max as usize,
            hops_max: trust.hops_max,
        };
        for root in trust.roots.iter() {
            if let Some(number) = builder.number(root) {
                builder.graph.hops[number as usize] = 0;
            }
        }
        builder
    }

    /// Takes in a follow list. A second one of the same author does not count.
    pub fn add(&mut self, list: &Event) {
        let wanted = list.tags.values("p").filter_map(PublicKey::from_hex).filter(|key| *key != list.pubkey);
        let Some(author) = self.number(&list.pubkey) else {
            self.graph.cut += wanted.count() as u64;
            return;
        };
        if self.graph.lists[author as usize] != (0, 0) {
            return;
        }
        let room = self.follows_max - self.graph.followed.len();
        let mut followed = Vec::new();
        for key in wanted {
            match self.number(&key).filter(|_| followed.len() < room) {
                Some(number) => followed.push(number),
                None => self.graph.cut += 1,
            }
        }
        followed.sort_unstable();
        followed.dedup();
        let next_hop = self.graph.hops[author as usize].saturating_add(1);
        for &number in followed.iter().filter(|_| next_hop <= self.hops_max) {
            let hops = &mut self.graph.hops[number as usize];
            *hops = next_hop.min(*hops);
        }
        // Both bounds fit: `trust.follows_max` does.
        let start = self.graph.followed.len() as u32;
        self.graph.followed.append(&mut followed);
        self.graph.lists[author as usize] = (start, self.graph.followed.len() as u32);
    }

    /// The keys that are this far from the roots, as far as the lists that were added tell.
    pub fn at_hop(&self, hops: u8) -> Vec<PublicKey> {
        let keys = self.keys.iter().zip(&self.graph.hops);
        keys.filter(|(_, distance)| **distance == hops).map(|(key, _)| *key).collect()
    }

    /// Everything that was added.
    pub fn finish(self) -> Graph {
        let GraphBuilder { mut graph, hops_max, .. } = self;
        // Lists may have come in any order, so that distances are counted anew, one hop after the other.
        let mut reached: Vec<u32> =
            (0_u32..).zip(&graph.hops).filter(|(_, hops)| **hops == 0).map(|(number, _)| number).collect();
        graph.hops.iter_mut().filter(|hops| **hops != 0).for_each(|hops| *hops = OUT_OF_REACH);
        for hops in 1..=hops_max {
            let mut next = Vec::new();
            for number in reached {
                let (start, end) = graph.lists[number as usize];
                for &followed in &graph.followed[start as usize..end as usize] {
                    if graph.hops[followed as usize] == OUT_OF_REACH {
                        graph.hops[followed as usize] = hops;
                        next.push(followed);
                    }
                }
            }
            reached = next;
        }
        graph.numbers.shrink_to_fit();
        graph.lists.shrink_to_fit();
        graph.followed.shrink_to_fit();
        graph
    }

    /// The number of a key, new when need be and there is room.
    fn number(&mut self, key: &PublicKey) -> Option<u32> {
        if let Some(&number) = self.graph.numbers.get(key) {
            return Some(number);
        }
        if self.keys.len() >= self.keys_max {
            return None;
        }
        let number = self.keys.len() as u32;
        self.graph.numbers.insert(*key, number);
        self.keys.push(*key);
        self.graph.lists.push((0, 0));
        self.graph.hops.push(OUT_OF_REACH);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Id, Kind, Signature, Tags};

    fn key(number: u8) -> PublicKey {
        PublicKey([number; 32])
    }

    fn list(author: u8, followed: &[u8]) -> Event {
        let mut tags = Tags::default();
        for number in followed {
            tags.push(["p", &key(*number).to_string()]);
        }
        Event {
            id: Id([author; 32]),
            pubkey: key(author),
            created_at: 1,
            kind: Kind::FOLLOWS,
            tags,
            content: String::new(),
            sig: Signature([0; 64]),
        }
    }

    fn settings(roots: &[u8], hops_max: u8) -> Settings {
        let mut settings = Settings::default();
        settings.trust.roots = roots.iter().map(|&number| key(number)).collect();
        settings.trust.hops_max = hops_max;
        settings
    }

    fn graph(settings: &Settings, lists: &[Event]) -> Graph {
        let mut builder = GraphBuilder::new(settings);
        lists.iter().for_each(|list| builder.add(list));
        builder.finish()
    }

    #[test]
    fn distances_are_the_shortest_whatever_the_order_of_lists() {
        // 1 → 2 → 3 → 4 → 5, 1 → 4, 6 → 7, 3 → 1, 4 → 4.
        let mut lists =
            vec![list(1, &[2, 4]), list(2, &[3]), list(3, &[4, 1]), list(4, &[5, 4]), list(6, &[7])];
        let table = [
            (&[1][..], 0, [Some(0), None, None, None, None, None, None]),
            (&[1], 1, [Some(0), Some(1), None, Some(1), None, None, None]),
            (&[1], 2, [Some(0), Some(1), Some(2), Some(1), Some(2), None, None]),
            (&[1, 6], 8, [Some(0), Some(1), Some(2), Some(1), Some(2), Some(0), Some(1)]),
            (&[9], 8, [None; 7]),
            (&[], 8, [None; 7]),
        ];
        for turn in 0..2 {
            for (roots, hops_max, expected) in &table {
                let graph = graph(&settings(roots, *hops_max), &lists);
                let hops: Vec<_> = (1..=7).map(|number| graph.hops(&key(number))).collect();
                assert_eq!(hops, expected, "roots {roots:?}, {hops_max} hops, turn {turn}");
            }
            lists.reverse();
        }
    }

    #[test]
    fn follows_have_a_direction_and_are_none_of_oneself() {
        let graph = graph(&settings(&[], 0), &[list(1, &[2, 2, 3, 1]), list(1, &[9]), list(4, &[])]);
        let known: Vec<(u8, u8)> = (0..10)
            .flat_map(|who| (0..10).map(move |whom| (who, whom)))
            .filter(|(who, whom)| graph.follows(&key(*who), &key(*whom)))
            .collect();
        assert_eq!(known, [(1, 2), (1, 3)]);
        assert_eq!((graph.follow_count(), graph.cut()), (2, 0));
    }

    #[test]
    fn what_is_beyond_the_bounds_is_cut_and_counted() {
        let lists = [list(1, &[2, 3, 4]), list(2, &[5, 6])];
        // Bounds of keys and follows, then what is known of each and how much is cut.
        let table = [
            (100, 100, 6, 5, 0),
            (6, 5, 6, 5, 0),
            (6, 4, 6, 4, 1),
            (5, 100, 5, 4, 1),
            (3, 100, 3, 2, 3),
            (1, 100, 1, 0, 5),
            (100, 1, 6, 1, 4),
        ];
        for (keys_max, follows_max, keys, follows, cut) in table {
            let mut settings = settings(&[1], 2);
            (settings.trust.keys_max, settings.trust.follows_max) = (keys_max, follows_max);
            let graph = graph(&settings, &lists);
            let found = (graph.keys(), graph.follow_count(), graph.cut());
            assert_eq!(found, (keys, follows, cut), "bounds {keys_max}, {follows_max}");
            assert_eq!(graph.hops(&key(1)), Some(0));
            assert_eq!(graph.hops(&key(2)).is_some(), keys_max > 1);
        }
    }

    #[test]
    fn lists_added_hop_by_hop_tell_the_next_hop() {
        let mut builder = GraphBuilder::new(&settings(&[1], 2));
        assert_eq!(builder.at_hop(0), [key(1)]);
        builder.add(&list(1, &[2, 3]));
        assert_eq!(builder.at_hop(1), [key(2), key(3)]);
        builder.add(&list(2, &[3, 4, 1]));
        assert_eq!((builder.at_hop(0), builder.at_hop(2)), (vec![key(1)], vec![key(4)]));
    }
}
