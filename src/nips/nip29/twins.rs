//! Groups against a naive twin: random events of people and of the relay itself, some of which the rules would refuse,
//! read back as a start reads them. The twin keeps one list of who is in which group, and asks roles by words.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher as _;

use super::{By, apply, may, read, rebuild};
use crate::event::{Event, Kind, PublicKey, Signer, Tags};
use crate::rule::groups::{Groups, Touched};
use crate::splitmix::SplitMix;

/// What the twin knows: of each group, who is in it with which role, its codes, and whether it has ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Naive {
    groups: BTreeMap<String, Twin>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Twin {
    roles: BTreeMap<PublicKey, String>,
    codes: BTreeSet<String>,
    name: Option<String>,
    parent: Option<String>,
    has_ended: bool,
}

struct World {
    random: SplitMix,
    people: Vec<Signer>,
    relay: Signer,
    groups: Groups,
    naive: Naive,
    /// What was accepted.
    log: Vec<Event>,
    at: u64,
}

const IDS: [&str; 4] = ["a", "b", "c", "d"];
const ROLES: [&str; 4] = ["", "gardener", "moderator", "admin"];

fn event(signer: &Signer, at: u64, kind: Kind, tags: &[Vec<String>]) -> Event {
    let mut all = Tags::default();
    tags.iter().for_each(|tag| all.push(tag.iter().map(String::as_str)));
    Event::clone(&signer.sign(at, kind, all, String::new()))
}

fn tag(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

impl World {
    fn new(seed: u64) -> World {
        let signer = |number: u8| Signer::new([number; 32]).expect("a secret below the order");
        let relay = signer(99);
        World {
            random: SplitMix(seed),
            people: (1..=5).map(signer).collect(),
            groups: Groups::new(vec![relay.key()], None),
            relay,
            naive: Naive::default(),
            log: Vec::new(),
            at: 1_000,
        }
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[(self.random.next() % from.len() as u64) as usize]
    }

    fn person(&mut self) -> usize {
        (self.random.next() % self.people.len() as u64) as usize
    }

    /// Carries out what is accepted, in both.
    fn take(&mut self, event: Event) {
        let (id, action) = read(&event).expect("it is as NIP-29 has it");
        let by = By { author: &event.pubkey, at: event.created_at, id: &event.id.to_string() };
        apply(&mut self.groups, id, &action, by, &mut Touched::default());
        self.naive.take(&event);
        self.log.push(event);
    }

    fn step(&mut self) {
        self.at += self.random.next() % 2;
        let (who, target, id) = (self.person(), self.person(), self.pick(&IDS).to_owned());
        let (author, target) = (self.people[who].key(), self.people[target].key());
        let h = tag(&["h", &id]);
        let (role, code, parent) = (self.pick(&ROLES), self.pick(&["x", "y", "z"]), self.pick(&IDS));
        let person = tag(&["p", &target.to_string(), role]);
        let kind = Kind(
            [9_000, 9_000, 9_001, 9_002, 9_007, 9_008, 9_009, 9_021, 9_022]
                [(self.random.next() % 9) as usize],
        );
        // Groups end rarely.
        if kind == Kind::DELETE_GROUP && self.random.below(8) > 0 {
            return;
        }
        let mut tags = vec![h.clone()];
        match kind {
            Kind::PUT_USER | Kind::REMOVE_USER => tags.push(person),
            Kind::EDIT_METADATA => {
                tags.push(tag(&["name", code]));
                let is_apart = !self.groups.is_above(&id, parent) && self.groups.alive(parent).is_some();
                let moves = self.random.below(2) == 0 && is_apart;
                tags.extend(moves.then(|| tag(&["parent", parent])));
                let children =
                    self.groups.any(&id).map(|group| group.about.children.clone()).unwrap_or_default();
                tags.extend(children.iter().map(|child| tag(&["child", child])));
            }
            Kind::CREATE_INVITE | Kind::JOIN_GROUP => tags.push(tag(&["code", code])),
            _ => {}
        }
        let asked = event(&self.people[who], self.at, kind, &tags);
        if kind == Kind::CREATE_GROUP {
            if self.groups.any(&id).is_none() {
                self.take(asked);
                let first = tag(&["p", &author.to_string(), "admin"]);
                self.take(event(&self.relay, self.at, Kind::PUT_USER, &[h, first]));
            }
            return;
        }
        let Some(group) = self.groups.alive(&id) else { return };
        let (_, action) = read(&asked).expect("it is as NIP-29 has it");
        let is_in = group.has(&author);
        assert_eq!(may(group, &author, &action), self.naive.may(&id, &author, &asked), "{asked:?}");
        if !may(group, &author, &action)
            || kind == Kind::JOIN_GROUP && is_in
            || kind == Kind::LEAVE_GROUP && !is_in
        {
            return;
        }
        self.take(asked);
        let answer = match kind {
            Kind::JOIN_GROUP => Kind::PUT_USER,
            Kind::LEAVE_GROUP => Kind::REMOVE_USER,
            _ => return,
        };
        self.take(event(&self.relay, self.at, answer, &[h, tag(&["p", &author.to_string()])]));
    }
}

impl Naive {
    fn may(&self, id: &str, author: &PublicKey, event: &Event) -> bool {
        let twin = &self.groups[id];
        let power = |role: Option<&String>| match role.map(String::as_str) {
            Some("admin") => 2,
            Some("moderator") => 1,
            _ => 0,
        };
        let own = power(twin.roles.get(author));
        let named = event.tags.iter().find(|tag| tag.name() == "p");
        let target = named
            .and_then(|tag| PublicKey::from_hex(tag.get(1)?))
            .map_or(0, |key| power(twin.roles.get(&key)));
        let given = named.and_then(|tag| tag.get(2).map(str::to_owned));
        match event.kind.0 {
            9_021 | 9_022 => true,
            9_002 | 9_008 => own == 2,
            9_000 => own == 2 || own == 1 && target == 0 && power(given.as_ref()) == 0,
            9_001 => own == 2 || own == 1 && target == 0,
            _ => own > 0,
        }
    }

    fn take(&mut self, event: &Event) {
        let id = event.tags.values("h").next().expect("a group").to_owned();
        let person = event.tags.iter().find(|tag| tag.name() == "p");
        let key = person.and_then(|tag| PublicKey::from_hex(tag.get(1)?));
        let code = event.tags.values("code").next().map(str::to_owned);
        match event.kind.0 {
            9_007 => drop(self.groups.insert(id.clone(), Twin::default())),
            9_008 => {
                self.groups
                    .values_mut()
                    .filter(|twin| twin.parent.as_ref() == Some(&id))
                    .for_each(|twin| twin.parent = None);
                *self.groups.get_mut(&id).expect("a group") = Twin { has_ended: true, ..Twin::default() };
                return;
            }
            _ => {}
        }
        let twin = self.groups.get_mut(&id).expect("a group");
        match (event.kind.0, key) {
            (9_000, Some(key)) => {
                let role = person.and_then(|tag| tag.get(2)).unwrap_or_default().to_owned();
                twin.roles.insert(key, role);
            }
            (9_001, Some(key)) => drop(twin.roles.remove(&key)),
            (9_002, _) => {
                twin.name = event.tags.values("name").next().map(str::to_owned);
                twin.parent = event.tags.values("parent").next().map(str::to_owned);
            }
            (9_009, _) => twin.codes.extend(code),
            _ => {}
        }
    }

    /// What the twin would say of groups.
    fn of(groups: &Groups) -> Naive {
        let twin = |group: &std::sync::Arc<crate::rule::groups::Group>| {
            let has_ended = group.ended_at.is_some();
            let role = |roles: &Vec<String>| roles.first().cloned().unwrap_or_default();
            let twin = Twin {
                roles: group.members.iter().map(|(key, member)| (*key, role(&member.roles))).collect(),
                codes: group.codes.keys().cloned().collect(),
                name: group.about.name.clone().filter(|_| !has_ended),
                parent: group.about.parent.clone(),
                has_ended,
            };
            (group.id.to_string(), twin)
        };
        Naive { groups: groups.iter().map(twin).collect() }
    }
}

#[test]
fn groups_agree_with_a_naive_twin_and_are_read_back_from_their_events() {
    let drawn = || std::hash::RandomState::new().hash_one(0);
    let seed = std::env::var("PLAZA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(drawn);
    println!("PLAZA_SEED={seed}");
    for round in 0..40 {
        let mut world = World::new(seed.wrapping_add(round));
        for step in 0..300 {
            world.step();
            assert_eq!(Naive::of(&world.groups), world.naive, "round {round}, step {step}");
        }
        let mut read_back = world.groups.emptied();
        rebuild(&mut read_back, world.log.clone());
        assert_eq!(read_back, world.groups, "round {round}");
        // What others sent in between, and was refused or never asked about, makes no difference.
        let stranger = Signer::new([50; 32]).expect("a secret below the order");
        let noise = |kind: u16, id: &str| {
            let person = tag(&["p", &stranger.key().to_string(), "admin"]);
            event(&stranger, world.at, Kind(kind), &[tag(&["h", id]), person, tag(&["code", "w"])])
        };
        let noise =
            IDS.iter().chain(&["e"]).flat_map(|id| [9_007, 9_000, 9_002, 9_009].map(|kind| noise(kind, id)));
        let mut read_back = world.groups.emptied();
        rebuild(&mut read_back, world.log.iter().cloned().chain(noise));
        assert_eq!(read_back, world.groups, "round {round}, with noise");
    }
}
