//! What a community knows of its groups (NIP-29): who is in them, with which roles, and what each is. In: changes,
//! from whoever decides them. Out: look-ups, and what a change touched. Never decides who may do what.
//!
//! A snapshot shares with the next one all groups that did not change between the two.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Label, TagValue};
use crate::event::{Kind, PublicKey};

/// What a group is, as its admins say it (the fields of kind 39000). The default is a group that anybody reads, joins
/// and writes to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// Its name for people.
    pub name: Option<String>,
    /// Address of a small picture.
    pub picture: Option<String>,
    /// Address of a wide picture.
    pub banner: Option<String>,
    /// What it is for.
    pub about: Option<String>,
    /// Only members read.
    pub private: bool,
    /// Only members write.
    pub restricted: bool,
    /// Only members learn that it is there.
    pub hidden: bool,
    /// Only who has a code, or is put in, gets in.
    pub closed: bool,
    /// The only kinds that are taken, if that is said.
    pub supported_kinds: Option<Vec<u16>>,
    /// The group above it.
    pub parent: Option<String>,
    /// The groups right below it, in order.
    pub children: Vec<String>,
}

/// Somebody in a group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Member {
    /// Labels; those of [`Role`] give power, others none.
    #[serde(default)]
    pub roles: Vec<String>,
    /// When the event that put them in was made, in seconds since 1970.
    #[serde(default)]
    pub since: u64,
}

/// A code with which people join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// The event that made it, in hex.
    pub by: String,
    /// When it was made, in seconds since 1970.
    pub at: u64,
    /// How often it was used.
    #[serde(default)]
    pub uses: u32,
}

/// Roles that give power in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Lets in and removes those without a role, removes events, makes codes, pins.
    Moderator,
    /// All of it.
    Admin,
}

impl Role {
    /// Both.
    pub const ALL: [Role; 2] = [Role::Admin, Role::Moderator];

    /// Its label.
    pub const fn label(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Moderator => "moderator",
        }
    }

    /// What it means, for people.
    pub const fn description(self) -> &'static str {
        match self {
            Role::Admin => "changes what the group is, gives roles, ends it, and does what moderators do",
            Role::Moderator => {
                "lets people in, removes members without a role, removes events, makes invite codes, pins events"
            }
        }
    }
}

/// A group, or what is left of one that was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// By what events name it.
    pub id: Arc<str>,
    /// What it is.
    pub about: About,
    /// Who said which group is above it.
    pub attested_by: Option<PublicKey>,
    /// Who made it.
    pub creator: PublicKey,
    /// When it was ended, in seconds since 1970. Nothing is known of its codes any more; its members are kept, as what
    /// is left of it is for them alone where it was private or hidden.
    pub ended_at: Option<u64>,
    /// Events that are pinned, as the tags that name them.
    pub pins: Vec<(String, String)>,
    /// Who is in it.
    pub members: HashMap<PublicKey, Member>,
    /// Codes that let people in.
    pub codes: BTreeMap<String, Code>,
}

impl Group {
    /// A new group of nobody.
    pub fn new(id: Arc<str>, creator: PublicKey, about: About) -> Group {
        Group {
            id,
            about,
            attested_by: None,
            creator,
            ended_at: None,
            pins: Vec::new(),
            members: HashMap::new(),
            codes: BTreeMap::new(),
        }
    }

    /// Whether somebody is in it.
    pub fn has(&self, key: &PublicKey) -> bool {
        self.members.contains_key(key)
    }

    /// The highest role that somebody has in it.
    pub fn role(&self, key: &PublicKey) -> Option<Role> {
        self.members.get(key).and_then(|member| power_of(&member.roles))
    }
}

/// The highest role among labels.
pub fn power_of(labels: &[String]) -> Option<Role> {
    Role::ALL.into_iter().find(|role| labels.iter().any(|label| label == role.label()))
}

/// What makes labels of a tag's letter and value: the hasher of the community's index.
#[derive(Clone)]
pub struct Labeller(pub Arc<MakesLabels>);

/// A label of a letter and a value.
pub type MakesLabels = dyn Fn(u8, &str) -> Label + Send + Sync;

impl fmt::Debug for Labeller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Labeller")
    }
}

/// All groups of a community. The default has none, and is not on.
#[derive(Debug, Clone, Default)]
pub struct Groups {
    groups: HashMap<Arc<str>, Arc<Group>>,
    by_label: Arc<HashMap<Label, Arc<str>>>,
    labeller: Option<Labeller>,
    /// The relay's own keys: the one that it signs with, then those from before.
    keys: Arc<[PublicKey]>,
}

impl PartialEq for Groups {
    fn eq(&self, other: &Self) -> bool {
        self.groups == other.groups
    }
}

/// One thing that is kept of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// What it is.
    Group(Arc<str>),
    /// Somebody in it.
    Member(Arc<str>, PublicKey),
    /// A code.
    Code(Arc<str>, String),
}

/// What changes touched: what is to be kept anew, and what the relay has to say anew.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// What is kept.
    pub entries: BTreeSet<Entry>,
    /// Kinds that tell of a group.
    pub told: BTreeSet<(Arc<str>, Kind)>,
    /// Whether somebody may see less than before.
    pub narrows: bool,
}

impl Touched {
    /// What a group is has changed.
    pub fn group(&mut self, id: &Arc<str>) {
        self.entries.insert(Entry::Group(Arc::clone(id)));
        self.told.insert((Arc::clone(id), Kind::GROUP_METADATA));
    }

    /// Something of a group is to be told anew.
    pub fn tell(&mut self, id: &Arc<str>, kind: Kind) {
        self.told.insert((Arc::clone(id), kind));
    }
}

impl Groups {
    /// No groups yet, of a relay with these keys, the first of which signs.
    pub fn new(keys: Vec<PublicKey>, labeller: Option<Labeller>) -> Groups {
        Groups { keys: keys.into(), labeller, ..Groups::default() }
    }

    /// No groups, of the same relay.
    pub fn emptied(&self) -> Groups {
        Groups { keys: Arc::clone(&self.keys), labeller: self.labeller.clone(), ..Groups::default() }
    }

    /// Whether a key is the relay's own, or was before.
    pub fn is_own(&self, key: &PublicKey) -> bool {
        self.keys.contains(key)
    }

    /// The key that the relay signs with; `None` where it says nothing by itself.
    pub fn own_key(&self) -> Option<&PublicKey> {
        self.keys.first()
    }

    /// The group of an id, if it has not been ended.
    pub fn alive(&self, id: &str) -> Option<&Arc<Group>> {
        self.any(id).filter(|group| group.ended_at.is_none())
    }

    /// The group of an id, or what is left of it.
    pub fn any(&self, id: &str) -> Option<&Arc<Group>> {
        self.groups.get(id)
    }

    /// The group, or what is left of it, that a value of an `h` or `d` tag names.
    pub fn named(&self, value: TagValue<'_>) -> Option<&Arc<Group>> {
        match value {
            TagValue::Text(id) => self.any(id),
            TagValue::Label(label) => self.by_label.get(&label).and_then(|id| self.any(id)),
        }
    }

    /// All of them, what is left of those that were ended among them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.values()
    }

    /// How many there are, what is left of those that were ended among them.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// How many people are in all of them together, each counted in each.
    pub fn memberships(&self) -> usize {
        self.groups.values().map(|group| group.members.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether a group is one that lies somewhere above another, or that one itself.
    pub fn is_above(&self, id: &str, below: &str) -> bool {
        let mut at = Some(below);
        // No circle comes to be, and one that was made by hand is left after as many steps.
        for _ in 0..=self.groups.len() {
            match at {
                Some(one) if one == id => return true,
                Some(one) => at = self.any(one).and_then(|group| group.about.parent.as_deref()),
                None => return false,
            }
        }
        true
    }

    /// Adds a group, or takes up one that was kept.
    pub fn insert(&mut self, group: Group) {
        let id = Arc::clone(&group.id);
        if let Some(labeller) = &self.labeller {
            let labels = Arc::make_mut(&mut self.by_label);
            for letter in [b'h', b'd'] {
                labels.insert((labeller.0)(letter, &id), Arc::clone(&id));
            }
        }
        self.groups.insert(id, Arc::new(group));
    }

    /// A group, to change it. Others that share it keep it as it was.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Group> {
        self.groups.get_mut(id).map(Arc::make_mut)
    }

    /// Puts a group below another one, or below none, and takes it out of the list of the one that it was below.
    pub fn move_below(&mut self, id: &Arc<str>, parent: Option<String>, touched: &mut Touched) {
        let Some(group) = self.get_mut(id) else { return };
        let before = std::mem::replace(&mut group.about.parent, parent.clone());
        touched.group(id);
        if before == parent {
            return;
        }
        if let Some(above) = before.and_then(|above| self.get_mut(&above)) {
            above.about.children.retain(|child| **child != **id);
            touched.group(&above.id);
        }
        if let Some(above) = parent.and_then(|above| self.get_mut(&above)) {
            above.about.children.push(id.to_string());
            touched.group(&above.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_move_with_what_their_parents_say_of_them() {
        let key = PublicKey([1; 32]);
        let mut groups = Groups::default();
        for id in ["a", "b", "c"] {
            groups.insert(Group::new(id.into(), key, About::default()));
        }
        let mut touched = Touched::default();
        groups.move_below(&"b".into(), Some("a".to_owned()), &mut touched);
        groups.move_below(&"c".into(), Some("b".to_owned()), &mut touched);
        assert!(groups.is_above("a", "c") && groups.is_above("c", "c") && !groups.is_above("c", "a"));
        let before = groups.clone();
        groups.move_below(&"c".into(), Some("a".to_owned()), &mut touched);
        let children = |groups: &Groups, id: &str| groups.alive(id).map(|group| group.about.children.clone());
        assert_eq!(children(&groups, "a"), Some(vec!["b".to_owned(), "c".to_owned()]));
        assert_eq!(children(&groups, "b"), Some(Vec::new()));
        assert_eq!(children(&before, "b"), Some(vec!["c".to_owned()]), "others keep what was");
        assert_eq!(touched.entries.len(), 3);
    }

    #[test]
    fn the_highest_role_counts() {
        let table: [(&[&str], Option<Role>); 4] = [
            (&[], None),
            (&["gardener"], None),
            (&["gardener", "moderator"], Some(Role::Moderator)),
            (&["moderator", "admin"], Some(Role::Admin)),
        ];
        for (labels, role) in table {
            let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
            assert_eq!(power_of(&labels), role, "{labels:?}");
        }
    }
}
