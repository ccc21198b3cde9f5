//! What a community learns from its stored events for its rules: whom people follow, what profiles claim, what is
//! reported and muted. In: its index, and bodies from whoever reads them. Out: a new [`crate::rule::Known`] in
//! place of the old one. Holds the index only for short slices; never reads the store itself.
//!
//! The writer says which kinds changed ([`Community::notice`]); the learning thread asks what is stale and has it
//! learned again, whole: what was deleted, replaced or swept is simply not there any more.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use super::{Community, Rules};
use crate::event::{Event, Kind, PublicKey};
use crate::filter::Filter;
use crate::index::{Progress, Scan};
use crate::nips::{nip32, nip51, nip56};
use crate::policy::Needs;
use crate::rule::hidden::{Hidden, HiddenBuilder, Target};
use crate::rule::people::{Graph, GraphBuilder, People, Profiles, ProfilesBuilder};
use crate::rule::{Context, Head, Known, RelayNames, Want};
use crate::store::Location;

/// Index entries that are looked at before the writer may have the index again.
const SLICE_ENTRIES: u64 = 4_096;

/// Authors whose lists are looked up before the writer may have the index again.
const SLICE_AUTHORS: usize = 256;

/// How often and how long learning waits for the index, between a commit and what it changes there.
const READ_TRIES_MAX: u32 = 1_000;
const READ_PAUSE: Duration = Duration::from_millis(1);

/// Where an event to learn from is, and whose it is.
#[derive(Clone, Copy)]
struct Lead {
    location: Location,
    author: PublicKey,
}

/// Parts of what is known, as bits.
const FOLLOWS: u8 = 1;
const PROFILES: u8 = 2;
const HIDDEN: u8 = 4;

/// What a community has to learn, and what of it is stale.
pub(super) struct Lessons {
    stale: AtomicU8,
    /// Whether learning is under way: what it has not seen may bear on what it will know.
    is_learning: AtomicBool,
}

/// Reads the body of a stored event; `None` when it was removed meanwhile, or cannot be read.
pub(crate) type Read<'r> = &'r mut dyn FnMut(Location) -> Option<Event>;

impl Lessons {
    /// Everything that the rules need is stale.
    pub(super) fn new(needs: &Needs) -> Lessons {
        Lessons { stale: AtomicU8::new(parts(needs)), is_learning: AtomicBool::new(false) }
    }
}

/// The parts of what is known that rules need.
fn parts(needs: &Needs) -> u8 {
    let all = [
        (FOLLOWS, needs.hops || needs.follows),
        (PROFILES, needs.profiles),
        (HIDDEN, needs.mutes || needs.reports),
    ];
    all.iter().filter(|(_, is_needed)| *is_needed).fold(0, |sum, (part, _)| sum | part)
}

impl Community {
    /// Everything that its rules need is to be learned again.
    pub(super) fn learn_all_anew(&self) {
        self.lessons.stale.store(parts(&self.rules().needs), Ordering::SeqCst);
    }

    /// What is hidden is to be learned again, where anything is: a moderator decided about reports.
    pub(crate) fn learn_hidden_anew(&self) {
        self.lessons.stale.fetch_or(parts(&self.rules().needs) & HIDDEN, Ordering::SeqCst);
    }

    /// Whether something changed since it was learned.
    pub(crate) fn is_stale(&self) -> bool {
        self.lessons.stale.load(Ordering::SeqCst) != 0
    }

    /// An event of this kind and author was added or removed. The writer calls it while it changes the index.
    pub(crate) fn notice(&self, kind: Kind, author: &PublicKey) {
        let rules = self.rules();
        let needs = &rules.needs;
        if needs.is_empty() {
            return;
        }
        let parts = match kind {
            Kind::FOLLOWS if needs.follows || needs.hops && self.bears_on_trust(&rules, author) => FOLLOWS,
            Kind::PROFILE if needs.profiles => PROFILES,
            Kind::MUTES if rules.settings.reports.moderators.contains(author) => HIDDEN,
            Kind::REPORT | Kind::LABEL if needs.reports => HIDDEN,
            Kind::VANISH => parts(needs),
            _ => 0,
        };
        self.lessons.stale.fetch_or(parts, Ordering::SeqCst);
    }

    /// Whether the list of an author may change who is trusted: strangers' lists do not, unless they are about to
    /// be no strangers any more.
    fn bears_on_trust(&self, rules: &Rules, author: &PublicKey) -> bool {
        // Asked first: once learning is over, what it learned is in place.
        self.lessons.is_learning.load(Ordering::SeqCst)
            || rules.known.people.hops(author).is_some_and(|hops| hops < rules.settings.trust.hops_max)
    }

    /// Learns what is stale and puts it in place of what was known. One thread at a time calls it.
    pub(crate) fn learn(&self, read: Read<'_>) {
        self.lessons.is_learning.store(true, Ordering::SeqCst);
        let mut stale = self.lessons.stale.swap(0, Ordering::SeqCst);
        let rules = self.rules();
        let mut people = People::clone(&rules.known.people);
        if stale & FOLLOWS != 0 {
            people.graph = Arc::new(self.learn_follows(&rules, read));
            // Who is a trusted reporter may have changed.
            if rules.needs.reports && rules.settings.reports.hops_max.is_some() {
                stale |= HIDDEN;
            }
        }
        if stale & PROFILES != 0 {
            people.profiles = Arc::new(self.learn_profiles(&rules, read));
        }
        let people = Arc::new(people);
        let hidden = (stale & HIDDEN != 0).then(|| Arc::new(self.learn_hidden(&rules, &people, read)));
        self.change_rules(|rules| {
            rules.known.people = people;
            if let Some(hidden) = hidden {
                rules.known.hidden = hidden;
            }
        });
        self.lessons.is_learning.store(false, Ordering::SeqCst);
    }

    /// Lists of the roots first, then of whom they follow, and so on, so that what fits into the bounds is what
    /// is nearest; then all others, where rules ask about everybody.
    fn learn_follows(&self, rules: &Rules, read: Read<'_>) -> Graph {
        let mut builder = GraphBuilder::new(&rules.settings);
        let mut seen = HashSet::new();
        for hops in 0..rules.settings.trust.hops_max {
            let lists = self.newest_of_each(&builder.at_hop(hops), Kind::FOLLOWS);
            for lead in in_order(lists) {
                seen.insert(lead.author);
                if let Some(list) = self.newest(lead, Kind::FOLLOWS, read) {
                    builder.add(&list);
                }
            }
        }
        if rules.needs.follows {
            let (lists, _) = self.found(&[Kind::FOLLOWS], |_| true, usize::MAX);
            for lead in in_order(lists).filter(|lead| !seen.contains(&lead.author)) {
                if let Some(list) = self.newest(lead, Kind::FOLLOWS, read) {
                    builder.add(&list);
                }
            }
        }
        let graph = builder.finish();
        if graph.cut() > 0 {
            let path = self.path();
            tracing::warn!(
                "{path}: {} follows are left out of what is known, {} are kept; \
                 trust.keys_max or trust.follows_max is reached",
                graph.cut(),
                graph.follow_count(),
            );
        }
        graph
    }

    fn learn_profiles(&self, rules: &Rules, read: Read<'_>) -> Profiles {
        let mut builder = ProfilesBuilder::new(&rules.settings);
        let (profiles, _) = self.found(&[Kind::PROFILE], |_| true, usize::MAX);
        for lead in in_order(profiles) {
            if let Some(profile) = self.newest(lead, Kind::PROFILE, read) {
                builder.add(&profile);
            }
        }
        let profiles = builder.finish();
        if profiles.cut() > 0 {
            let path = self.path();
            tracing::warn!("{path}: the claims of {} profiles are left out: trust.keys_max", profiles.cut());
        }
        profiles
    }

    fn learn_hidden(&self, rules: &Rules, people: &Arc<People>, read: Read<'_>) -> Hidden {
        let reports = &rules.settings.reports;
        let reports_max = reports.reports_max as usize;
        let mut builder = HiddenBuilder::new(reports_max);
        if rules.needs.mutes {
            let moderators: Vec<PublicKey> = reports.moderators.iter().copied().collect();
            for lead in in_order(self.newest_of_each(&moderators, Kind::MUTES)) {
                let list = self.newest(lead, Kind::MUTES, read);
                list.iter().flat_map(nip51::muted).for_each(|target| builder.mute(target));
            }
        }
        let mut is_cut = false;
        if rules.needs.reports {
            let known = Known { people: Arc::clone(people), ..rules.known.clone() };
            let relay = RelayNames::default();
            let context = Context { known: &known, ..rules.context(0, &[], &relay) };
            let by_trusted = |head: &Head<'_>| nip56::is_reporter(head.author, &context);
            let kinds: &[Kind] =
                if reports.labels.is_empty() { &[Kind::REPORT] } else { &[Kind::REPORT, Kind::LABEL] };
            let (found, more) = self.found(kinds, by_trusted, reports_max);
            is_cut = more;
            // Those that arrived last first: they count where there is no room for all.
            for lead in in_order(found).rev() {
                // One that is gone was taken back.
                let Some(event) = read(lead.location) else { continue };
                let targets = match event.kind {
                    Kind::REPORT => nip56::reported(&event, &reports.types),
                    _ => nip32::labelled(&event, &reports.labels),
                };
                for target in targets {
                    let is_dismissed = matches!(target, Target::Author(key)
                        if event.kind == Kind::REPORT
                            && rules.known.moderation.dismisses(&key, lead.location.number));
                    is_cut |= !is_dismissed && !builder.report(event.pubkey, target);
                }
            }
        }
        if is_cut {
            let path = self.path();
            tracing::warn!("{path}: more than {reports_max} reports are stored; older ones do not count");
        }
        builder.finish(reports.event_threshold, reports.author_threshold)
    }

    /// Where the newest event of a kind of each author is.
    fn newest_of_each(&self, authors: &[PublicKey], kind: Kind) -> Vec<Lead> {
        let mut found = Vec::new();
        for authors in authors.chunks(SLICE_AUTHORS) {
            let index = self.index();
            let newest = |&author: &PublicKey| {
                let location = index.wanted(&Want::ByAuthor { author, kind, most: 1 }).first().copied()?;
                Some(Lead { location, author })
            };
            found.extend(authors.iter().filter_map(newest));
        }
        found
    }

    /// Reads the newest version of somebody's list or profile. One that is replaced meanwhile is gone from the
    /// store a moment before the index knows of the next one: that is waited for, so that nobody's list is
    /// missing from what is known because they changed it just now.
    fn newest(&self, lead: Lead, kind: Kind, read: Read<'_>) -> Option<Event> {
        let Lead { mut location, author } = lead;
        for _ in 0..READ_TRIES_MAX {
            if let Some(event) = read(location) {
                return Some(event);
            }
            match self.newest_of_each(&[author], kind).first() {
                None => return None,
                Some(newest) if newest.location != location => location = newest.location,
                Some(_) => std::thread::sleep(READ_PAUSE),
            }
        }
        None
    }

    /// Where the newest events of these kinds are, and whether there are more than that.
    fn found(&self, kinds: &[Kind], wanted: impl Fn(&Head<'_>) -> bool, most: usize) -> (Vec<Lead>, bool) {
        let filter = Filter { kinds: Some(kinds.to_vec()), ..Filter::default() };
        let as_of = self.index().next_number();
        let mut scan = Scan::new(&filter, as_of);
        let mut found = Vec::new();
        loop {
            let author = Cell::new(None);
            let visible = |head: &Head<'_>| {
                author.set(Some(*head.author));
                !head.vanished && wanted(head)
            };
            let progress = scan.run(&self.index(), SLICE_ENTRIES, visible, |one, _| {
                let fits = found.len() < most;
                if let Some(author) = author.take().filter(|_| fits) {
                    found.push(Lead { location: one.location, author });
                }
                fits
            });
            match progress {
                Progress::Going => {}
                Progress::Stopped => return (found, true),
                Progress::Complete => return (found, false),
            }
        }
    }
}

/// As the store keeps them, so that bodies that lie together are read together.
fn in_order(mut leads: Vec<Lead>) -> std::vec::IntoIter<Lead> {
    leads.sort_unstable_by_key(|lead| lead.location.number);
    leads.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::store::CommunityId;

    fn key(number: u8) -> PublicKey {
        PublicKey([number; 32])
    }

    #[test]
    fn only_what_bears_on_the_rules_is_learned_again() {
        let settings = |text: &str| -> Settings {
            let roots = format!("[trust]\nroots = [\"{}\"]\nhops_max = 1\n", "01".repeat(32));
            toml::from_str(&(roots + text)).unwrap_or_else(|error| panic!("{text}: {error}"))
        };
        let trust = "write = true";
        let claims = "nip05_required = true";
        let moderators = format!("[reports]\nmoderators = [\"{}\"]", "02".repeat(32));
        let reports = "[reports]\nevent_threshold = 1\nhops_max = 1";
        let followers = "[followers]\nmarked = true";
        // Settings, an event's kind and author, and whether it makes what is known stale. 1 is a root, 2 a moderator,
        // 3 whom the root follows, 4 a stranger.
        let table: [(&str, u16, u8, bool); 24] = [
            ("", 3, 1, false),
            ("", 62, 1, false),
            (trust, 3, 1, true),
            // What is beyond the last hop gives no trust.
            (trust, 3, 3, false),
            (trust, 3, 4, false),
            (trust, 0, 1, false),
            (trust, 1, 1, false),
            (trust, 62, 4, true),
            (claims, 0, 4, true),
            (claims, 3, 1, false),
            (&moderators, 10_000, 2, true),
            (&moderators, 10_000, 4, false),
            (&moderators, 1_984, 2, false),
            (reports, 1_984, 4, true),
            (reports, 1_985, 4, true),
            (reports, 10_000, 2, false),
            (reports, 3, 1, true),
            (reports, 3, 4, false),
            (reports, 0, 4, false),
            (followers, 3, 4, true),
            (followers, 0, 4, false),
            (followers, 1, 1, false),
            (followers, 5, 1, false),
            (followers, 62, 1, true),
        ];
        for (text, kind, author, is_stale) in table {
            let community = Community::empty(CommunityId(0), settings(text));
            assert_eq!(community.is_stale(), !community.rules().needs.is_empty(), "all is new to it: {text}");
            community.learn(&mut |_| None);
            assert!(!community.is_stale(), "{text}");
            let mut graph = GraphBuilder::new(&community.settings());
            graph.add(&list(1, 3));
            let people = People { graph: Arc::new(graph.finish()), ..People::default() };
            community.change_rules(|rules| rules.known.people = Arc::new(people));
            community.notice(Kind(kind), &key(author));
            assert_eq!(community.is_stale(), is_stale, "kind {kind} by {author}: {text}");
        }
    }

    #[test]
    fn while_learning_is_under_way_every_list_counts() {
        let mut settings = Settings::default();
        settings.trust.roots = [key(1)].into_iter().collect();
        settings.trust.write = true;
        let community = Community::empty(CommunityId(0), settings);
        community.learn(&mut |_| None);
        community.lessons.is_learning.store(true, Ordering::SeqCst);
        community.notice(Kind::FOLLOWS, &key(4));
        assert!(community.is_stale());
    }

    #[test]
    fn a_list_that_is_replaced_while_it_is_learned_counts_as_it_is_now() {
        let mut settings = Settings::default();
        (settings.trust.roots, settings.trust.write) = ([key(1)].into_iter().collect(), true);
        let community = Community::empty(CommunityId(0), settings);
        let (old, mut new) = (list(1, 3), list(1, 4));
        (new.id, new.created_at) = (crate::event::Id([9; 32]), 2);
        let [first, second] = [1, 2].map(|number| Location { number, slot: 0 });
        community.index_mut().insert(&old, first, 0);
        let mut tries = 0;
        community.learn(&mut |location| {
            tries += 1;
            if location == second {
                return Some(new.clone());
            }
            // The store has the new one already; the index learns of it a moment later.
            if tries == 3 {
                let mut index = community.index_mut();
                let stored = index.newest_of(&old).expect("it is there");
                index.remove(stored);
                index.insert(&new, second, 0);
            }
            None
        });
        let people = Arc::clone(&community.known().people);
        assert_eq!([3, 4].map(|number| people.hops(&key(number))), [None, Some(1)]);
        assert_eq!(tries, 4);
    }

    fn list(author: u8, followed: u8) -> Event {
        let tags = [["p", &key(followed).to_string()]].iter().collect();
        Event {
            id: crate::event::Id([author; 32]),
            pubkey: key(author),
            created_at: 1,
            kind: Kind::FOLLOWS,
            tags,
            content: String::new(),
            sig: crate::event::Signature([0; 64]),
        }
    }
}
