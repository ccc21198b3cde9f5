//! Which events came and went lately, for who keeps a set of them and wants to bring it up to date. In: each change of an
//! index. Out: times and ids since a moment. Kept only while somebody wants it, and only the last so many.

use std::collections::VecDeque;

use super::Index;
use crate::event::Id;

/// Changes that are kept: what is older is read from the index anew.
const CHANGES_MAX: usize = 1_024;

/// What they take of memory while somebody wants them.
pub const CHANGES_BYTES: usize = CHANGES_MAX * size_of::<(u64, Id)>();

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// How often the index has changed since it is in memory.
    generation: u64,
    /// How many want to know.
    watchers: usize,
    /// Times and ids of events that came or went, the last change last.
    latest: VecDeque<(u64, Id)>,
}

impl Changes {
    /// An event came, or went.
    pub(super) fn note(&mut self, created_at: u64, id: Id) {
        self.generation += 1;
        if self.watchers > 0 {
            if self.latest.len() == CHANGES_MAX {
                self.latest.pop_front();
            }
            self.latest.push_back((created_at, id));
        }
    }

    /// Something changed that no list of events tells.
    pub(super) fn note_many(&mut self) {
        self.generation += 1;
        self.latest.clear();
    }
}

impl Index {
    /// How often it has changed: what was found in it is so while this stays.
    pub fn generation(&self) -> u64 {
        self.changes.generation
    }

    /// Has changes be kept from now on, until as many times [`Index::unwatch`] is called.
    pub fn watch(&mut self) {
        self.changes.watchers += 1;
    }

    /// Ends what [`Index::watch`] began.
    pub fn unwatch(&mut self) {
        self.changes.watchers = self.changes.watchers.saturating_sub(1);
        if self.changes.watchers == 0 {
            self.changes.latest = VecDeque::new();
        }
    }

    /// Times and ids of the events that came or went since it was of some generation; `None` when that is not known.
    pub fn changed_since(&self, generation: u64) -> Option<impl Iterator<Item = (u64, Id)>> {
        let Changes { generation: now, latest, .. } = &self.changes;
        let changes = usize::try_from(now.checked_sub(generation)?).ok()?;
        let known_before = latest.len().checked_sub(changes)?;
        Some(latest.range(known_before..).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(index: &Index, generation: u64) -> Option<Vec<u64>> {
        Some(index.changed_since(generation)?.map(|(time, _)| time).collect())
    }

    #[test]
    fn changes_are_known_since_somebody_watches_and_up_to_a_bound() {
        let mut index = Index::default();
        let note = |index: &mut Index, time: u64| index.changes.note(time, Id([7; 32]));
        note(&mut index, 1);
        index.watch();
        note(&mut index, 2);
        note(&mut index, 3);
        let cases = [(0, None), (1, Some(vec![2, 3])), (2, Some(vec![3])), (3, Some(Vec::new())), (4, None)];
        for (generation, known) in cases {
            assert_eq!(since(&index, generation), known, "since {generation}");
        }
        index.changes.note_many();
        assert_eq!((since(&index, 3), since(&index, 4)), (None, Some(Vec::new())));
        (0..CHANGES_MAX as u64 + 1).for_each(|time| note(&mut index, time));
        assert_eq!(since(&index, 4), None);
        assert_eq!(since(&index, 5).map(|known| known.len()), Some(CHANGES_MAX));
        index.watch();
        index.unwatch();
        assert!(since(&index, 5).is_some(), "somebody watches still");
        index.unwatch();
        assert!(since(&index, 5).is_none() && index.changes.latest.capacity() == 0);
    }
}
