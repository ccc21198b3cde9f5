//! What moderators have muted and trusted people have reported: events by id, and authors. In: who named what,
//! from the learner. Out: look-ups. Never decides whose word counts.

use std::collections::{HashMap, HashSet};

use crate::event::{Id, PublicKey};

/// What a report, a label or a mute list names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// An event.
    Event(Id),
    /// An author, with all of their events.
    Author(PublicKey),
}

/// Events and authors.
#[derive(Debug, Default)]
pub struct Targets {
    events: HashSet<Id>,
    authors: HashSet<PublicKey>,
}

impl Targets {
    /// Whether the event or its author is among them.
    pub fn cover(&self, id: &Id, author: &PublicKey) -> bool {
        self.has_author(author) || !self.events.is_empty() && self.events.contains(id)
    }

    /// Whether nothing is among them.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.authors.is_empty()
    }

    /// Whether the author is among them.
    pub fn has_author(&self, author: &PublicKey) -> bool {
        !self.authors.is_empty() && self.authors.contains(author)
    }

    fn add(&mut self, target: Target) {
        match target {
            Target::Event(id) => drop(self.events.insert(id)),
            Target::Author(key) => drop(self.authors.insert(key)),
        }
    }
}

/// What is hidden, and why. The default hides nothing.
#[derive(Debug, Default)]
pub struct Hidden {
    /// What moderators have muted.
    pub muted: Targets,
    /// What enough trusted people have reported.
    pub reported: Targets,
}

/// Makes [`Hidden`].
pub struct HiddenBuilder {
    hidden: Hidden,
    /// Who reported what: each counts once.
    reports: HashSet<(Target, PublicKey)>,
    reports_max: usize,
}

impl HiddenBuilder {
    /// Nothing hidden. Up to `reports_max` pairs of who reported and what count: the first ones.
    pub fn new(reports_max: usize) -> HiddenBuilder {
        HiddenBuilder { hidden: Hidden::default(), reports: HashSet::new(), reports_max }
    }

    /// A moderator's list names this.
    pub fn mute(&mut self, target: Target) {
        self.hidden.muted.add(target);
    }

    /// A trusted reporter's report or label names this; false when there is no room for it.
    pub fn report(&mut self, reporter: PublicKey, target: Target) -> bool {
        let fits = self.reports.len() < self.reports_max || self.reports.contains(&(target, reporter));
        if fits {
            self.reports.insert((target, reporter));
        }
        fits
    }

    /// Everything that was named often enough. A threshold of 0 hides nothing.
    pub fn finish(self, event_threshold: u32, author_threshold: u32) -> Hidden {
        let HiddenBuilder { mut hidden, reports, .. } = self;
        let mut counts: HashMap<Target, u32> = HashMap::new();
        for (target, _) in reports {
            *counts.entry(target).or_default() += 1;
        }
        for (target, count) in counts {
            let threshold = match target {
                Target::Event(_) => event_threshold,
                Target::Author(_) => author_threshold,
            };
            if threshold > 0 && count >= threshold {
                hidden.reported.add(target);
            }
        }
        hidden
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reporter_counts_once() {
        let [event, author] = [Target::Event(Id([1; 32])), Target::Author(PublicKey([2; 32]))];
        let mut builder = HiddenBuilder::new(100);
        for (reporter, target) in [(1, event), (1, event), (2, event), (1, author), (2, author), (3, author)]
        {
            assert!(builder.report(PublicKey([reporter; 32]), target));
        }
        let reports = builder.reports.clone();
        // Thresholds of events and authors, and whether each is hidden: two have reported the one, three the
        // other.
        let table = [
            (0, 0, false, false),
            (1, 1, true, true),
            (2, 3, true, true),
            (3, 4, false, false),
            (3, 0, false, false),
            (0, 3, false, true),
        ];
        for (event_threshold, author_threshold, hides_event, hides_author) in table {
            let builder = HiddenBuilder { reports: reports.clone(), ..HiddenBuilder::new(100) };
            let hidden = builder.finish(event_threshold, author_threshold);
            let other = PublicKey([9; 32]);
            let found = (
                hidden.reported.cover(&Id([1; 32]), &other),
                hidden.reported.cover(&Id([9; 32]), &PublicKey([2; 32])),
            );
            assert_eq!(found, (hides_event, hides_author), "{event_threshold}, {author_threshold}");
            assert!(!hidden.reported.cover(&Id([9; 32]), &other));
            assert!(!hidden.muted.cover(&Id([1; 32]), &PublicKey([2; 32])));
        }
    }

    #[test]
    fn reports_beyond_the_bound_do_not_count() {
        let mut builder = HiddenBuilder::new(1);
        let report =
            |builder: &mut HiddenBuilder, id| builder.report(PublicKey([1; 32]), Target::Event(Id([id; 32])));
        assert_eq!([1, 1, 2].map(|id| report(&mut builder, id)), [true, true, false]);
        let hidden = builder.finish(1, 1);
        let covers = [1, 2].map(|id| hidden.reported.cover(&Id([id; 32]), &PublicKey([1; 32])));
        assert_eq!(covers, [true, false]);
    }
}
