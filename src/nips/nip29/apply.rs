//! What events that manage groups make of them, and the groups that a sequence of such events leaves. In: groups, an
//! action, whose it is. Out: changed groups, and what was touched. Asks nobody whether it may be.

use std::collections::HashMap;
use std::sync::Arc;

use super::action::{self, Action};
use super::may;
use crate::event::{Event, Kind, PublicKey};
use crate::rule::IndexedTags as _;
use crate::rule::groups::{Code, Entry, Group, Groups, Member, Touched, power_of};

/// Whose an action is, and when and by which event.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// Its author.
    pub author: &'a PublicKey,
    /// When its author says it was made.
    pub at: u64,
    /// The event's id in hex.
    pub id: &'a str,
}

/// Carries an action out.
pub fn apply(groups: &mut Groups, id: &str, action: &Action, by: By<'_>, touched: &mut Touched) {
    if let Action::Create(about) = action {
        let mut about = about.clone();
        let parent = about.parent.take();
        about.children.clear();
        let mut group = Group::new(id.into(), *by.author, about);
        group.attested_by = parent.is_some().then_some(*by.author);
        groups.insert(group);
        let id: Arc<str> = id.into();
        groups.move_below(&id, parent, touched);
        let kinds = [Kind::GROUP_ADMINS, Kind::GROUP_MEMBERS, Kind::GROUP_ROLES];
        kinds.into_iter().for_each(|kind| touched.tell(&id, kind));
        return;
    }
    let Some(id) = groups.alive(id).map(|group| Arc::clone(&group.id)) else { return };
    match action {
        Action::Create(_) => {}
        Action::PutUsers(people) => {
            people.iter().for_each(|(key, roles)| put(groups, &id, key, roles, by.at, touched));
        }
        Action::RemoveUsers(people) => people.iter().for_each(|key| take_out(groups, &id, key, touched)),
        Action::Edit(about) => edit(groups, &id, about, by, touched),
        Action::DeleteEvents(ids) => {
            // Codes go with the events that made them.
            let Some(group) = groups.get_mut(&id) else { return };
            let gone = |code: &Code| ids.iter().any(|id| code.by == id.to_string());
            let codes: Vec<String> =
                group.codes.iter().filter(|(_, code)| gone(code)).map(|(text, _)| text.clone()).collect();
            for code in codes {
                group.codes.remove(&code);
                touched.entries.insert(Entry::Code(Arc::clone(&id), code));
            }
        }
        Action::Delete => end(groups, &id, by.at, touched),
        Action::Invite(codes) => {
            let Some(group) = groups.get_mut(&id) else { return };
            for code in codes {
                let made = Code { by: by.id.to_owned(), at: by.at, uses: 0 };
                group.codes.insert(code.clone(), made);
                touched.entries.insert(Entry::Code(Arc::clone(&id), code.clone()));
            }
        }
        Action::Pin(pins) => {
            let Some(group) = groups.get_mut(&id) else { return };
            group.pins = pins.clone();
            touched.entries.insert(Entry::Group(Arc::clone(&id)));
            touched.tell(&id, Kind::GROUP_PINS);
        }
        Action::Join(code) => {
            // Who is let in is put in by the relay's own event; this one only takes up its code.
            let group = groups.get_mut(&id);
            if let Some(used) = code.as_ref().and_then(|code| group?.codes.get_mut(code)) {
                used.uses = used.uses.saturating_add(1);
                touched.entries.insert(Entry::Code(Arc::clone(&id), code.clone().unwrap_or_default()));
            }
        }
        // The relay's own event takes the author out.
        Action::Leave => {}
    }
}

fn put(
    groups: &mut Groups,
    id: &Arc<str>,
    key: &PublicKey,
    roles: &[String],
    at: u64,
    touched: &mut Touched,
) {
    let Some(group) = groups.get_mut(id) else { return };
    let before = group.members.insert(*key, Member { roles: roles.to_vec(), since: at });
    touched.entries.insert(Entry::Member(Arc::clone(id), *key));
    if before.is_none() {
        touched.tell(id, Kind::GROUP_MEMBERS);
    }
    let had = before.and_then(|member| power_of(&member.roles));
    if had.is_some() || power_of(roles).is_some() {
        touched.tell(id, Kind::GROUP_ADMINS);
    }
    // What admins alone see.
    touched.narrows |= had.is_some() && power_of(roles).is_none();
}

fn take_out(groups: &mut Groups, id: &Arc<str>, key: &PublicKey, touched: &mut Touched) {
    let Some(group) = groups.get_mut(id) else { return };
    let Some(member) = group.members.remove(key) else { return };
    touched.narrows = true;
    touched.entries.insert(Entry::Member(Arc::clone(id), *key));
    touched.tell(id, Kind::GROUP_MEMBERS);
    if power_of(&member.roles).is_some() {
        touched.tell(id, Kind::GROUP_ADMINS);
    }
}

fn edit(groups: &mut Groups, id: &Arc<str>, about: &super::About, by: By<'_>, touched: &mut Touched) {
    let Some(group) = groups.get_mut(id) else { return };
    let mut about = about.clone();
    let parent = std::mem::replace(&mut about.parent, group.about.parent.clone());
    // Those that are below it, in the order that is asked for.
    let mut children = std::mem::take(&mut group.about.children);
    let place = |child: &String| about.children.iter().position(|one| one == child).unwrap_or(usize::MAX);
    children.sort_by_key(place);
    about.children = children;
    touched.narrows |= about.private && !group.about.private || about.hidden && !group.about.hidden;
    group.about = about;
    // Who leaves it where it is need not be an admin above.
    if parent != group.about.parent {
        group.attested_by = parent.is_some().then_some(*by.author);
    }
    groups.move_below(id, parent, touched);
}

fn end(groups: &mut Groups, id: &Arc<str>, at: u64, touched: &mut Touched) {
    let children = groups.any(id).map(|group| group.about.children.clone()).unwrap_or_default();
    // What was below it is below nothing.
    children.iter().for_each(|child| groups.move_below(&child.as_str().into(), None, touched));
    groups.move_below(id, None, touched);
    let Some(group) = groups.get_mut(id) else { return };
    group.ended_at = Some(at);
    for (code, _) in std::mem::take(&mut group.codes) {
        touched.entries.insert(Entry::Code(Arc::clone(id), code));
    }
    let is_for_members = group.about.private || group.about.hidden;
    if !is_for_members {
        let gone = std::mem::take(&mut group.members);
        touched.entries.extend(gone.into_keys().map(|key| Entry::Member(Arc::clone(id), key)));
    }
    touched.narrows = true;
    touched.told.retain(|(one, _)| one != id);
    for kind in
        [Kind::GROUP_METADATA, Kind::GROUP_ADMINS, Kind::GROUP_MEMBERS, Kind::GROUP_ROLES, Kind::GROUP_PINS]
    {
        touched.tell(id, kind);
    }
}

/// The groups that events leave which were accepted before, in the order in which they came. A group is one that the
/// relay itself let its creator into: what was stored by strangers, when nobody asked rules, makes none.
pub fn rebuild(groups: &mut Groups, events: impl IntoIterator<Item = Event>) {
    let mut early: HashMap<String, Vec<Event>> = HashMap::new();
    for event in events {
        let Ok((id, action)) = action::read(&event) else { continue };
        if groups.any(id).is_some() {
            replay(groups, &event, id, &action);
            continue;
        }
        let is_beginning =
            groups.is_own(&event.pubkey) && matches!(action, Action::PutUsers(_) | Action::Create(_));
        let id = id.to_owned();
        let waiting = early.entry(id.clone()).or_default();
        waiting.push(event);
        if is_beginning && let Some(waiting) = begin(groups, &id, std::mem::take(waiting)) {
            early.insert(id, waiting);
        }
    }
}

/// Begins a group with the first of these that makes it, whose author the relay has let in, and carries the others out
/// that are not older; gives them back when there is none.
fn begin(groups: &mut Groups, id: &str, waiting: Vec<Event>) -> Option<Vec<Event>> {
    let is_let_in = |author: &PublicKey| {
        groups.is_own(author)
            || waiting.iter().any(|event| {
                groups.is_own(&event.pubkey)
                    && event.kind == Kind::PUT_USER
                    && event.tags.has(b'p', &author.to_string())
            })
    };
    let at = waiting.iter().position(|event| event.kind == Kind::CREATE_GROUP && is_let_in(&event.pubkey));
    let Some(at) = at else { return Some(waiting) };
    let made_at = waiting[at].created_at;
    let (made, others): (Vec<_>, Vec<_>) =
        waiting.into_iter().enumerate().partition(|(place, _)| *place == at);
    let others = others.into_iter().map(|(_, event)| event).filter(|event| event.created_at >= made_at);
    // The relay's own come first: they let the creator in.
    let (own, theirs): (Vec<_>, Vec<_>) = others.partition(|event| groups.is_own(&event.pubkey));
    let made = made.into_iter().map(|(_, event)| event);
    for event in made.chain(own).chain(theirs) {
        if let Ok((_, action)) = action::read(&event) {
            let is_creation = matches!(action, Action::Create(_));
            if is_creation && groups.any(id).is_none() {
                carry_out(groups, &event, id, &action);
            } else if !is_creation {
                replay(groups, &event, id, &action);
            }
        }
    }
    None
}

fn replay(groups: &mut Groups, event: &Event, id: &str, action: &Action) {
    let is_own = groups.is_own(&event.pubkey);
    let is_allowed = groups.alive(id).is_some_and(|group| is_own || may(group, &event.pubkey, action));
    if is_allowed && !matches!(action, Action::Create(_)) {
        carry_out(groups, event, id, action);
    }
}

fn carry_out(groups: &mut Groups, event: &Event, id: &str, action: &Action) {
    let by = By { author: &event.pubkey, at: event.created_at, id: &event.id.to_string() };
    apply(groups, id, action, by, &mut Touched::default());
}
