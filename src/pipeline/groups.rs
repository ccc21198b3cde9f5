//! What the writer does for groups (NIP-29) and membership (NIP-43): what accepted events make of them, and what the
//! relay itself then says, signed, in the same group of events: it is all safe at once, or none of it. In: events that
//! the rules let pass, changes by who manages. Out: more events for the group, state, and what will be known.
//!
//! What is pending is known to the rules that look at later events of the same group, and to nobody else.

use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::Sender;

use super::gathering::Gathering;
use super::log::Placing;
use super::writer::{Checked, Writer};
use super::{Outcome, Permits, Reply};
use crate::community::{Change, Community, groups};
use crate::config::Settings;
use crate::event::{Event, Id, Kind, PublicKey, Signer, Tags, Verified};
use crate::index::Stored;
use crate::nips::nip29::{self, Action, By};
use crate::rule::Known;
use crate::rule::groups::{Group, Groups, Touched};
use crate::store::{self, StoreError, record};

/// Groups of which it is looked in one commit whether all is said of them.
const REFRESHED_MAX: usize = 100;

/// What a gathering group makes of a community.
pub(super) struct Pending {
    pub(super) community: Arc<Community>,
    /// What will be known.
    pub(super) known: Known,
    pub(super) touched: Touched,
    /// What of moderators' decisions is different with it.
    pub(super) changes: Vec<Change>,
    /// Whether who decided it lets it take effect, when they hear that it is safe: where people join by themselves that
    /// would let an older decision win over a newer one in memory.
    pub(super) is_left_to_caller: bool,
    /// What goes with it.
    pub(super) removes: Vec<Stored>,
    /// Who is told when it is safe, of events that are not stored.
    pub(super) answers: Vec<(Reply, Id, Outcome, Permits)>,
    /// Seconds since 1970.
    now: u64,
}

/// Something that who manages a community does in a group: an event of the relay itself.
pub(crate) struct Act {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its tags.
    pub(crate) tags: Tags,
    /// Why, in words.
    pub(crate) content: String,
}

/// State that is changed by itself, and what it makes of one community.
pub(crate) struct StateChange {
    /// What is written besides.
    pub(crate) state: store::Group,
    /// Whose it is; nobody's where it is about the process.
    pub(crate) community: Option<Arc<Community>>,
    /// What of moderators' decisions is different with it.
    pub(crate) changes: Vec<Change>,
    /// What is done in groups.
    pub(crate) acts: Vec<Act>,
    /// Seconds since 1970.
    pub(crate) now: u64,
    /// Told when it is durable, and holds.
    pub(crate) done: Sender<Result<(), StoreError>>,
}

/// What an event manages, where the rules were asked about it.
struct Managing {
    group: String,
    action: Action,
    author: PublicKey,
    id: Id,
    at: u64,
    now: u64,
}

/// What an event manages; `None` for most. For one that no rules were asked about the groups are read anew at the next
/// start.
fn managing(checked: &Checked, state: &mut store::Group) -> Option<Managing> {
    let Checked { community, event, admitted_at, .. } = checked;
    if !event.kind.manages_groups() || !checked.placing.has_groups(community) {
        return None;
    }
    let Some(now) = *admitted_at else {
        groups::forget(community.id, state);
        return None;
    };
    let (group, action) = nip29::read(event).ok()?;
    let (group, author, id, at) = (group.to_owned(), event.pubkey, event.id, event.created_at);
    Some(Managing { group, action, author, id, at, now })
}

/// Stored events that go because of one that manages a group: those that it names.
pub(super) fn removed_by(community: &Community, event: &Event) -> Vec<Stored> {
    if event.kind != Kind::DELETE_EVENT || !community.has_groups() {
        return Vec::new();
    }
    let index = community.index();
    event.tags.values("e").filter_map(Id::from_hex).filter_map(|id| index.stored_event(&id)).collect()
}

/// What of a community's moderation events stays, whatever its authors ask: groups are read from them.
pub(super) fn keeps(community: &Community, removes: &mut Vec<Stored>, event: &Event) {
    if event.kind == Kind::DELETION && !removes.is_empty() && community.has_groups() {
        let index = community.index();
        removes.retain(|stored| !index.kind_and_author(*stored).0.manages_groups());
    }
}

impl Gathering {
    /// What will be known of a community, if that differs from what is known.
    pub(super) fn known(&self, community: &Community) -> Option<&Known> {
        self.pending.iter().find(|pending| pending.community.id == community.id).map(|pending| &pending.known)
    }

    /// What is pending of a community, begun when need be.
    pub(super) fn pending(&mut self, community: &Arc<Community>, now: u64) -> &mut Pending {
        let at = self.pending.iter().position(|pending| pending.community.id == community.id);
        let at = at.unwrap_or_else(|| {
            self.pending.push(Pending {
                community: Arc::clone(community),
                known: community.known(),
                touched: Touched::default(),
                changes: Vec::new(),
                is_left_to_caller: false,
                removes: Vec::new(),
                answers: Vec::new(),
                now,
            });
            self.pending.len() - 1
        });
        let pending = &mut self.pending[at];
        pending.now = pending.now.max(now);
        pending
    }

    /// Adds an event, and carries out what it makes of groups.
    pub(super) fn add_and_manage(&mut self, checked: Checked, removes: Vec<Stored>, held_since: Option<u64>) {
        let (community, event) = (Arc::clone(&checked.community), &checked.event);
        let managing = managing(&checked, &mut self.state);
        let leaves = (event.kind == Kind::VANISH && checked.placing.has_groups(&community))
            .then(|| (event.pubkey, checked.admitted_at.unwrap_or(event.created_at)));
        if managing.is_some() || leaves.is_some() {
            self.go_by(&checked.placing);
        }
        self.add(checked, removes, held_since);
        if let Some(managing) = managing {
            self.manage(&community, &managing);
        }
        if let Some((key, now)) = leaves {
            self.leave_all(&community, &key, now);
        }
    }

    /// Carries out what an event manages, and what follows from it by itself.
    fn manage(&mut self, community: &Arc<Community>, managing: &Managing) {
        let Managing { group, action, author, id, at, now } = managing;
        let pending = self.pending(community, *now);
        let by = By { author, at: *at, id: &id.to_string() };
        nip29::apply(Arc::make_mut(&mut pending.known.groups), group, action, by, &mut pending.touched);
        let said = match action {
            // Who makes a group is its first admin.
            Action::Create(_) => {
                Some((Kind::PUT_USER, vec!["p".to_owned(), author.to_string(), "admin".to_owned()]))
            }
            Action::Join(_) => Some((Kind::PUT_USER, vec!["p".to_owned(), author.to_string()])),
            Action::Leave => Some((Kind::REMOVE_USER, vec!["p".to_owned(), author.to_string()])),
            _ => None,
        };
        if let Some((kind, person)) = said {
            let mut tags = Tags::default();
            tags.push(["h", group]);
            tags.push(person.iter().map(String::as_str));
            self.act(community, Act { kind, tags, content: String::new() }, *now);
        }
    }

    /// Has the relay itself do something in a group.
    pub(super) fn act(&mut self, community: &Arc<Community>, act: Act, now: u64) {
        let mut draft = (act.kind, act.tags, act.content, now);
        // Whoever was put in or out a moment ago is so by an earlier event.
        draft.3 = draft.3.max(self.since(community, &draft.1).map_or(0, |since| since + 1));
        let Some(checked) = self.said(community, draft) else { return };
        let removes = removed_by(community, &checked.event);
        let event = &checked.event;
        let Ok((group, action)) = nip29::read(event) else { return };
        let (group, at, id) = (group.to_owned(), event.created_at, event.id.to_string());
        let by = By { author: &checked.event.pubkey, at, id: &id };
        let pending = self.pending(community, now);
        nip29::apply(Arc::make_mut(&mut pending.known.groups), &group, &action, by, &mut pending.touched);
        self.add(checked, removes, None);
    }

    /// When the people of a `p` tag became what they are in a group.
    fn since(&self, community: &Community, tags: &Tags) -> Option<u64> {
        let known = self.known(community)?;
        let group = known.groups.alive(tags.values("h").next()?)?;
        let people = tags.values("p").filter_map(PublicKey::from_hex);
        people.filter_map(|key| group.members.get(&key)).map(|member| member.since).max()
    }

    /// An event of the relay itself, which no other has the id of.
    pub(super) fn said(
        &self,
        community: &Arc<Community>,
        (kind, tags, content, mut at): (Kind, Tags, String, u64),
    ) -> Option<Checked> {
        let signer = community.signer()?;
        loop {
            let event = signer.sign(at, kind, tags.clone(), content.clone());
            let is_there =
                community.index().contains(&event.id) || self.ids.contains_key(&(community.id, event.id));
            if !is_there {
                return Some(of_relay(community, event));
            }
            at += 1;
        }
    }

    /// Somebody vanishes: they are in no group any more.
    fn leave_all(&mut self, community: &Arc<Community>, key: &PublicKey, now: u64) {
        let groups = &self.pending(community, now).known.groups;
        let of: Vec<Arc<str>> = groups
            .iter()
            .filter(|group| group.ended_at.is_none() && group.has(key))
            .map(|group| Arc::clone(&group.id))
            .collect();
        for id in of {
            let tags = [["h", &id], ["p", &key.to_string()]].iter().collect();
            self.act(community, Act { kind: Kind::REMOVE_USER, tags, content: String::new() }, now);
        }
    }

    /// Adds what the relay has to say of all that changed, and the state that is kept of it.
    pub(super) fn conclude(&mut self) {
        for at in 0..self.pending.len() {
            let pending = &self.pending[at];
            let (community, now) = (Arc::clone(&pending.community), pending.now);
            for entry in &pending.touched.entries {
                groups::write(&pending.known.groups, entry, community.id, &mut self.state);
            }
            for change in &pending.changes {
                change.write(community.id, &mut self.state);
            }
            let listed_max = nip29::listed_max(self.settings(&community).limits.message_bytes_max);
            let groups = Arc::clone(&pending.known.groups);
            for (id, kind) in pending.touched.told.clone() {
                let said = nip29::told(&groups, &id, kind, listed_max);
                self.tell(&community, (kind, &id), said, now);
            }
        }
    }

    /// Says something at an address of the relay's own, in place of what it said there before; nothing takes that back.
    pub(super) fn tell(
        &mut self,
        community: &Arc<Community>,
        (kind, identifier): (Kind, &str),
        said: Option<(Tags, &str)>,
        now: u64,
    ) {
        let Some(signer) = community.signer() else { return };
        let (before, made_at) = {
            let index = community.index();
            let before = index.stored_version(&signer.key(), kind, identifier);
            (before, before.map_or(0, |before| index.made_at(before) + 1))
        };
        match said {
            Some((tags, content)) => {
                let event = signer.sign(now.max(made_at), kind, tags, content.to_owned());
                self.add(of_relay(community, event), before.into_iter().collect(), None);
            }
            None => self.pending(community, now).removes.extend(before),
        }
    }
}

/// An event of the relay itself, ready to be stored.
fn of_relay(community: &Arc<Community>, event: Verified) -> Checked {
    let (body, record) = (Bytes::from(event.to_json()), record::encode(&event));
    let (community, reply, permits) = (Arc::clone(community), Reply::Answered, Permits::default());
    let placing = Placing::Here;
    Checked { community, event, body, record, reply, admitted_at: None, origin: None, placing, permits }
}

impl Writer {
    /// Changes state, with all that follows from it.
    pub(super) fn change_state(&mut self, change: StateChange) {
        let StateChange { state, community, changes, acts, now, done } = change;
        let mut gathering = Gathering::default();
        gathering.state = state;
        if let Some(community) = community {
            acts.into_iter().for_each(|act| gathering.act(&community, act, now));
            if !changes.is_empty() {
                gathering.decide(&community, changes, now);
                gathering.pending(&community, now).is_left_to_caller = !community.has_members();
            }
        }
        let changed = self.make_safe(gathering).map(|safe| {
            safe.into_iter().for_each(|safe| self.publish(safe));
        });
        // Who no longer waits does not need the answer.
        let _ = done.send(changed);
    }

    /// Says what a community has to say itself, where it is not stored as it is.
    pub(super) fn refresh(&mut self, community: &Arc<Community>, now: u64, placing: &Placing) {
        let settings = placing.settings(community).unwrap_or_else(|| community.settings());
        let mut gathering = Gathering::default();
        gathering.go_by(placing);
        let (bodies, signer) = (Arc::clone(&self.bodies), community.signer().map(Signer::key));
        let read = |kind: Kind, identifier: &str| {
            let stored = community.index().stored_version(&signer?, kind, identifier)?;
            bodies.event(community.id, stored.location).ok().flatten()
        };
        gathering.refresh_members(community, now, read);
        gathering.refresh_lists(community, now, read);
        self.commit(gathering);
        let mut from: Option<Arc<str>> = None;
        while self.trouble.is_none() {
            let read = |stored: Stored| self.bodies.event(community.id, stored.location).ok().flatten();
            let (stale, next) = stale(community, &settings, from.as_deref(), read);
            if !stale.is_empty() {
                let mut gathering = Gathering::default();
                gathering.go_by(placing);
                gathering.pending(community, now).touched.told.extend(stale);
                self.commit(gathering);
            }
            match next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
    }
}

impl Pending {
    /// Makes it known.
    pub(super) fn publish(&self) {
        let groups = (!self.touched.entries.is_empty()).then(|| Arc::clone(&self.known.groups));
        self.community.change_rules(|rules| {
            if let Some(groups) = groups {
                rules.known.groups = groups;
            }
        });
        if !self.changes.is_empty() && !self.is_left_to_caller {
            self.community.apply(self.changes.clone());
        }
    }

    /// Ends open subscriptions that are answered no more.
    pub(super) fn recheck(&self) {
        if self.touched.narrows {
            self.community.recheck(self.now);
        }
    }

    /// Tells those who wait.
    pub(super) fn answer(&mut self) {
        for (reply, id, outcome, _permits) in self.answers.drain(..) {
            outcome.count_in(&self.community.traffic);
            reply.send(&id, outcome);
        }
    }
}

/// What the relay says of a group: its id, and a kind.
type Told = (Arc<str>, Kind);

/// Of which groups not all is said as it is, in the order of their ids, from one on: the next one to look at, if there
/// are more.
pub(super) fn stale(
    community: &Community,
    settings: &Settings,
    from: Option<&str>,
    read: impl Fn(Stored) -> Option<Event>,
) -> (Vec<Told>, Option<Arc<str>>) {
    let (Some(signer), groups) = (community.signer(), community.known().groups) else {
        return (Vec::new(), None);
    };
    let listed_max = nip29::listed_max(settings.limits.message_bytes_max);
    let mut ids: Vec<&Arc<Group>> = groups.iter().collect();
    ids.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    let mut left = ids.into_iter().skip_while(|group| from.is_some_and(|from| *group.id < *from));
    let mut found = Vec::new();
    for group in left.by_ref().take(REFRESHED_MAX) {
        for kind in nip29::TOLD_KINDS {
            let stored = community.index().stored_version(&signer.key(), kind, &group.id);
            let is_so = match (nip29::told(&groups, &group.id, kind, listed_max), stored.and_then(&read)) {
                (Some((tags, content)), Some(event)) => event.tags == tags && event.content == content,
                (said, stored) => said.is_none() && stored.is_none(),
            };
            if !is_so {
                found.push((Arc::clone(&group.id), kind));
            }
        }
    }
    (found, left.next().map(|group| Arc::clone(&group.id)))
}

/// Up to `most` events of groups that were ended; what ended them stays.
pub(super) fn left_over(community: &Community, most: usize) -> Vec<Stored> {
    let known = community.known();
    let groups: &Groups = &known.groups;
    let index = community.index();
    let mut found = Vec::new();
    for group in groups.iter().filter(|group| group.ended_at.is_some()) {
        found.extend(index.tagged(b'h', &group.id, Kind::DELETE_GROUP, most - found.len()));
        if found.len() >= most {
            break;
        }
    }
    found
}
