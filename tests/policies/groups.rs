//! Random events for groups (NIP-29): they are made, managed, written to and ended by people who may, and by others. In:
//! chance, what was sent before. Out: drafts. Never knows what a rule decides.

use plaza::event::Event;

use crate::common::Person;
use crate::events::{Draft, Maker};
use crate::random::PEOPLE;

/// Ids of groups; the last one nobody makes.
const GROUPS: [&str; 5] = ["square", "den", "attic", "yard", "nowhere"];

/// Codes; few, so that they come again.
const CODES: [&str; 3] = ["sesame", "compost", "guess"];

/// What is done, the more often the more there is to it.
const KINDS: [u16; 28] = [
    9_000, 9_000, 9_000, 9_000, 9_001, 9_001, 9_002, 9_002, 9_002, 9_005, 9_005, 9_007, 9_007, 9_008, 9_009,
    9_009, 9_010, 9_021, 9_021, 9_022, 9, 9, 9, 9, 11, 7, 5, 39_000,
];

/// What is said of a person: roles.
const ROLES: [&[&str]; 5] = [&[], &[], &["moderator"], &["admin"], &["baker", "moderator"]];

impl Maker<'_> {
    /// Something that somebody does in a group.
    pub(crate) fn grouped(&mut self) -> Draft {
        // Seldom: a group that was ended is ended for good.
        let last = if self.chance.percent(4) { GROUPS.len() } else { GROUPS.len() - 1 };
        let group = self.some(&GROUPS[..last]);
        let is_made = !self.of_group(group, |event| event.kind.0 == 9_000).is_empty();
        let kind = match *self.chance.pick(&KINDS) {
            9_008 if self.chance.percent(80) => 9_002,
            _ if !is_made && self.chance.percent(60) => 9_007,
            kind => kind,
        };
        let mut draft = Draft::new(kind);
        if kind != 5 || self.chance.percent(50) {
            draft.tags.push([if kind == 39_000 { "d" } else { "h" }, group]);
        }
        if self.chance.percent(2) {
            draft.tags.push(["h", self.some(&GROUPS)]);
        }
        draft.author = self.one_of(group);
        match kind {
            9_000 | 9_001 => {
                let roles = ROLES[self.chance.below(ROLES.len() as u64) as usize];
                let person = self.chance.person().hex();
                draft.tags.push(["p", person.as_str()].into_iter().chain(roles.iter().copied()));
                if self.chance.percent(20) {
                    draft.tags.push(["p", &self.chance.person().hex()]);
                }
            }
            9_002 | 9_007 => self.described(group, &mut draft),
            9_005 | 5 | 7 => self.name_some(group, &mut draft),
            9_009 | 9_021 if self.chance.percent(85) => draft.tags.push(["code", self.some(&CODES)]),
            9_010 => (0..self.chance.below(4)).for_each(|_| self.name_some(group, &mut draft)),
            _ => {}
        }
        if kind == 9 || self.chance.percent(10) {
            self.refer(group, &mut draft);
        }
        draft.content = self.chance.below(1_000).to_string();
        draft
    }

    /// Something that was to be removed, once more.
    pub(crate) fn removed_before(&mut self) -> Option<Event> {
        let removals: Vec<&Event> = self.known.iter().filter(|event| event.kind.0 == 9_005).collect();
        let named: Vec<&str> = removals.iter().flat_map(|event| event.tags.values("e")).collect();
        let id = (!named.is_empty()).then(|| *self.chance.pick(&named))?;
        self.known.iter().find(|event| event.id.to_string() == id).cloned()
    }

    fn of_group(&self, group: &str, takes: impl Fn(&Event) -> bool) -> Vec<Event> {
        let is_of_group = |event: &&Event| event.tags.values("h").any(|id| id == group) && takes(event);
        self.known.iter().filter(is_of_group).cloned().collect()
    }

    /// Most likely who made the group, or was put in.
    fn one_of(&mut self, group: &str) -> Option<Person> {
        let insiders = self.of_group(group, |event| event.kind.0 == 9_000);
        let named: Vec<String> =
            insiders.iter().flat_map(|event| event.tags.values("p").map(str::to_owned)).collect();
        if named.is_empty() || self.chance.percent(40) {
            return None;
        }
        let key = self.chance.pick(&named).clone();
        (0..PEOPLE).map(Person::new).find(|person| person.hex() == key)
    }

    /// What a group is.
    fn described(&mut self, group: &str, draft: &mut Draft) {
        draft.tags.push(["name", group]);
        for flag in ["private", "restricted", "hidden", "closed"] {
            if self.chance.percent(30) {
                draft.tags.push([flag]);
            }
        }
        if self.chance.percent(8) {
            draft.tags.push(["supported_kinds", "9", "7"]);
        }
        if self.chance.percent(25) {
            draft.tags.push(["parent", self.some(&GROUPS)]);
        }
        // All of them, or some that may not be there.
        if self.chance.percent(50) {
            GROUPS.iter().filter(|id| **id != group).for_each(|id| draft.tags.push(["child", id]));
        }
    }

    /// Names something that was sent to a group, or elsewhere.
    fn name_some(&mut self, group: &str, draft: &mut Draft) {
        let written = self.of_group(group, |event| matches!(event.kind.0, 9 | 11 | 7 | 9_009));
        let one = match written.is_empty() || self.chance.percent(10) {
            true if self.known.is_empty() => return,
            true => self.chance.pick(self.known).clone(),
            false => {
                written[written.len() - 1 - self.chance.below(written.len().min(6) as u64) as usize].clone()
            }
        };
        draft.tags.push(["e", &one.id.to_string()]);
        if draft.kind == 5 && self.chance.percent(60) {
            draft.author = (0..PEOPLE).map(Person::new).find(|person| person.key() == one.pubkey);
        }
    }

    /// Refers to what came before.
    fn refer(&mut self, group: &str, draft: &mut Draft) {
        let before = self.of_group(group, |_| true);
        if before.is_empty() || self.chance.percent(40) {
            return;
        }
        let mut beginnings = vec!["previous".to_owned()];
        for _ in 0..=self.chance.below(3) {
            beginnings.push(self.chance.pick(&before).id.to_string()[..8].to_owned());
        }
        match self.chance.below(12) {
            0 => beginnings.push("00000000".to_owned()),
            1 => beginnings.push("short".to_owned()),
            _ => {}
        }
        draft.tags.push(beginnings.iter().map(String::as_str));
    }
}

/// What somebody asks about groups, as one filter.
pub(crate) fn question(chance: &mut crate::random::Chance) -> serde_json::Value {
    use serde_json::json;
    let groups: Vec<&str> = (0..=chance.below(2)).map(|_| GROUPS[chance.below(4) as usize]).collect();
    match chance.below(5) {
        0 => json!({"#h": groups}),
        1 => json!({"#h": groups, "kinds": [9, 11, 9_009, 9_021]}),
        2 => json!({"#d": groups}),
        3 => json!({"kinds": [39_000, 39_001, 39_002, 39_003, 39_005]}),
        _ => json!({"kinds": [9_000, 9_001, 9_008, 9_022]}),
    }
}
