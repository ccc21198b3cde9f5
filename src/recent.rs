//! Ids that were met lately, the last so many of them. In: ids. Out: whether one is new. What is beyond the bound is
//! forgotten, the oldest first.

use std::collections::{HashSet, VecDeque};

use crate::event::Id;

/// About what one id takes: in the table, with its free slots, and in the queue.
const ID_BYTES: usize = 3 * size_of::<Id>();

/// The last ids of some.
#[derive(Debug)]
pub struct Recent {
    known: HashSet<Id>,
    order: VecDeque<Id>,
    most: usize,
}

impl Recent {
    /// Remembers up to so many.
    pub fn new(most: usize) -> Recent {
        Recent { known: HashSet::new(), order: VecDeque::new(), most }
    }

    /// Adds one; false when it is known already.
    pub fn add(&mut self, id: &Id) -> bool {
        if !self.known.insert(*id) {
            return false;
        }
        self.order.push_back(*id);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// Whether one is known.
    pub fn has(&self, id: &Id) -> bool {
        self.known.contains(id)
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.order.len() * ID_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_known_and_no_others() {
        let id = |number: u32| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            Id(id)
        };
        let mut recent = Recent::new(100);
        for number in 0..1_000 {
            assert!(recent.add(&id(number)));
            assert!(!recent.add(&id(number)) && recent.has(&id(number)));
            assert!(recent.has(&id(number.saturating_sub(99))));
            assert!(number < 100 || !recent.has(&id(number - 100)));
        }
        assert_eq!((recent.known.len(), recent.order.len()), (100, 100));
        assert_eq!(recent.bytes(), 100 * ID_BYTES);
    }
}
