//! What subscriptions are found by: for each filter the values of its most selective condition. In: filters
//! and the numbers of their subscriptions. Out: for an event, the numbers of all that may want it, and
//! perhaps of some more: the filter itself decides. Never knows who listens.
//!
//! One value of one subscription is the rule (somebody's home feed names hundreds of authors whom nobody else
//! names), so a slot of the table holds one number itself, and a list only when there are several.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::event::{Id, Kind, PublicKey, Verified};
use crate::filter::{Filter, places};

/// In place of a list's number: the slot holds its only subscription itself.
const ALONE: u32 = u32::MAX;

/// A table with fewer slots than this keeps its memory.
const KEPT_SLOTS: usize = 64;

/// What one filter is found by: its most selective condition.
enum Key<'f> {
    Ids(&'f [Id]),
    /// A letter, values, and what other values begin with.
    Tag(u8, &'f [String], &'f [String]),
    Authors(&'f [PublicKey]),
    Kinds(&'f [Kind]),
    Any,
}

fn key_of(filter: &Filter) -> Key<'_> {
    let tags = filter.tags.iter().map(|(letter, values)| match *letter {
        places::LETTER => (*letter, values.as_slice(), filter.prefixes.as_slice()),
        letter => (letter, values.as_slice(), [].as_slice()),
    });
    let all =
        filter.all_tags.iter().map(|(letter, value)| (*letter, std::slice::from_ref(value), [].as_slice()));
    let fewest_values = tags.chain(all).min_by_key(|(_, values, prefixes)| values.len() + prefixes.len());
    match (&filter.ids, fewest_values, &filter.authors, &filter.kinds) {
        (Some(ids), ..) => Key::Ids(ids),
        (_, Some((letter, values, prefixes)), ..) => Key::Tag(letter, values, prefixes),
        (_, _, Some(authors), _) => Key::Authors(authors),
        (_, _, _, Some(kinds)) => Key::Kinds(kinds),
        _ => Key::Any,
    }
}

/// Keyed hashes, drawn anew in each process.
///
/// Ids and authors are 32 bytes that anybody may choose, and there are hundreds in a filter. Their hash is the
/// upper half of a sum of products with secret numbers of 128 bits: of any two different ones, whoever chose
/// them, as few fall together as if each had drawn its hash by lot (multilinear hashing, which is strongly
/// universal). Hashes never leave the process. Texts of any length take SipHash.
struct Hashes {
    factors: [u128; 4],
    ids: u128,
    authors: u128,
    kinds: u128,
    texts: RandomState,
}

impl Default for Hashes {
    fn default() -> Self {
        let draw = secp256k1::rand::random::<u128>;
        Hashes {
            factors: std::array::from_fn(|_| draw()),
            ids: draw(),
            authors: draw(),
            kinds: draw(),
            texts: RandomState::new(),
        }
    }
}

impl Hashes {
    fn bytes(&self, start: u128, bytes: &[u8; 32]) -> u64 {
        let (words, _) = bytes.as_chunks::<8>();
        let products = words
            .iter()
            .zip(&self.factors)
            .map(|(word, factor)| factor.wrapping_mul(u128::from(u64::from_le_bytes(*word))));
        (products.fold(start, u128::wrapping_add) >> 64) as u64
    }

    fn id(&self, id: &Id) -> u64 {
        self.bytes(self.ids, &id.0)
    }

    fn author(&self, author: &PublicKey) -> u64 {
        self.bytes(self.authors, &author.0)
    }

    fn kind(&self, kind: Kind) -> u64 {
        (self.kinds.wrapping_add(self.factors[0].wrapping_mul(u128::from(kind.0))) >> 64) as u64
    }

    fn tag(&self, letter: u8, value: &str) -> u64 {
        self.texts.hash_one((letter, value))
    }

    fn prefix(&self, prefix: &str) -> u64 {
        // No tag has this letter.
        self.texts.hash_one((0_u8, prefix))
    }
}

/// The subscriptions under one hash. Values that share all 64 bits share a slot, and are told apart by the
/// filters.
struct Slot {
    hash: u64,
    first: u32,
    /// Which list holds them all, the first among them.
    list: u32,
}

/// See the module.
#[derive(Default)]
pub(super) struct Finder {
    hashes: Hashes,
    slots: HashTable<Slot>,
    lists: Vec<Vec<u32>>,
    free_lists: Vec<u32>,
    any: Vec<u32>,
    /// How many tag values and prefixes are in the table: mostly none, and then no event's are looked for.
    tags: usize,
    prefixes: usize,
}

impl Finder {
    /// Lets a subscription be found by a filter.
    pub(super) fn add(&mut self, filter: &Filter, number: u32) {
        match key_of(filter) {
            Key::Ids(ids) => ids.iter().for_each(|id| self.add_hash(self.hashes.id(id), number)),
            Key::Authors(authors) => {
                self.slots.reserve(authors.len(), |slot| slot.hash);
                authors.iter().for_each(|author| self.add_hash(self.hashes.author(author), number));
            }
            Key::Kinds(kinds) => {
                kinds.iter().for_each(|kind| self.add_hash(self.hashes.kind(*kind), number));
            }
            Key::Tag(letter, values, prefixes) => {
                values.iter().for_each(|value| self.add_hash(self.hashes.tag(letter, value), number));
                prefixes.iter().for_each(|prefix| self.add_hash(self.hashes.prefix(prefix), number));
                self.tags += values.len();
                self.prefixes += prefixes.len();
            }
            Key::Any => self.any.push(number),
        }
    }

    /// Takes back an `add` of the same.
    pub(super) fn remove(&mut self, filter: &Filter, number: u32) {
        match key_of(filter) {
            Key::Ids(ids) => ids.iter().for_each(|id| self.remove_hash(self.hashes.id(id), number)),
            Key::Authors(authors) => {
                authors.iter().for_each(|author| self.remove_hash(self.hashes.author(author), number));
            }
            Key::Kinds(kinds) => {
                kinds.iter().for_each(|kind| self.remove_hash(self.hashes.kind(*kind), number));
            }
            Key::Tag(letter, values, prefixes) => {
                values.iter().for_each(|value| self.remove_hash(self.hashes.tag(letter, value), number));
                prefixes.iter().for_each(|prefix| self.remove_hash(self.hashes.prefix(prefix), number));
                self.tags -= values.len();
                self.prefixes -= prefixes.len();
            }
            Key::Any => remove_one(&mut self.any, number),
        }
        if self.slots.capacity() > KEPT_SLOTS && self.slots.len() < self.slots.capacity() / 8 {
            self.slots.shrink_to(2 * self.slots.len(), |slot| slot.hash);
        }
    }

    /// The subscriptions that may want an event; some may come more than once.
    pub(super) fn candidates(&self, event: &Verified, out: &mut Vec<u32>) {
        out.extend_from_slice(&self.any);
        self.look(self.hashes.kind(event.kind), out);
        self.look(self.hashes.author(&event.pubkey), out);
        self.look(self.hashes.id(&event.id), out);
        if self.tags > 0 {
            for (letter, value) in event.tags.indexed() {
                self.look(self.hashes.tag(letter, value), out);
            }
        }
        if self.prefixes > 0 {
            for prefix in places::places(&event.tags).flat_map(places::prefixes_of) {
                self.look(self.hashes.prefix(prefix), out);
            }
        }
    }

    fn look(&self, hash: u64, out: &mut Vec<u32>) {
        match self.slots.find(hash, |slot| slot.hash == hash) {
            Some(slot) if slot.list == ALONE => out.push(slot.first),
            Some(slot) => out.extend_from_slice(&self.lists[slot.list as usize]),
            None => {}
        }
    }

    fn add_hash(&mut self, hash: u64, number: u32) {
        let entry = self.slots.entry(hash, |slot| slot.hash == hash, |slot| slot.hash);
        match entry {
            Entry::Vacant(place) => {
                place.insert(Slot { hash, first: number, list: ALONE });
            }
            Entry::Occupied(mut slot) if slot.get().list == ALONE => {
                let list = vec![slot.get().first, number];
                slot.get_mut().list = match self.free_lists.pop() {
                    Some(free) => {
                        self.lists[free as usize] = list;
                        free
                    }
                    None => {
                        self.lists.push(list);
                        (self.lists.len() - 1) as u32
                    }
                };
            }
            Entry::Occupied(slot) => self.lists[slot.get().list as usize].push(number),
        }
    }

    fn remove_hash(&mut self, hash: u64, number: u32) {
        let Ok(mut slot) = self.slots.find_entry(hash, |slot| slot.hash == hash) else { return };
        let at = slot.get().list;
        if at == ALONE {
            if slot.get().first == number {
                slot.remove();
            }
            return;
        }
        let list = &mut self.lists[at as usize];
        remove_one(list, number);
        if let [only] = list[..] {
            *slot.get_mut() = Slot { hash, first: only, list: ALONE };
            *list = Vec::new();
            self.free_lists.push(at);
        }
    }

    /// How many slots, and numbers in lists, there are.
    #[cfg(test)]
    fn sizes(&self) -> (usize, usize) {
        (self.slots.len(), self.lists.iter().map(Vec::len).sum::<usize>() + self.any.len())
    }
}

/// Removes a number once from a list; the order of a list means nothing.
fn remove_one(list: &mut Vec<u32>, number: u32) {
    if let Some(at) = list.iter().position(|other| *other == number) {
        list.swap_remove(at);
    }
}

#[cfg(test)]
mod tests {
    use secp256k1::rand::rngs::StdRng;
    use secp256k1::rand::{RngCore, SeedableRng};
    use secp256k1::{Keypair, SecretKey};

    use super::*;
    use crate::event::{Event, Signature};

    /// Small sets of values, so that filters and events meet often.
    struct Dice(StdRng);

    impl Dice {
        fn below(&mut self, bound: u32) -> u32 {
            self.0.next_u32() % bound
        }

        fn keys(&mut self) -> Keypair {
            let secret = SecretKey::from_secret_bytes([1 + self.below(9) as u8; 32]);
            Keypair::from_secret_key(&secret.expect("a secret key"))
        }

        fn author(&mut self) -> String {
            hex::encode(self.keys().x_only_public_key().0.to_byte_array())
        }

        fn place(&mut self) -> String {
            let length = 1 + self.below(4);
            (0..length).map(|_| char::from(b"bcd"[self.below(3) as usize])).collect()
        }

        fn list(&mut self, most: u32, mut one: impl FnMut(&mut Dice) -> String) -> String {
            let count = self.below(most + 1);
            let texts: Vec<String> = (0..count).map(|_| format!("{:?}", one(self))).collect();
            format!("[{}]", texts.join(","))
        }

        fn filter(&mut self, ids: &[String]) -> Filter {
            let mut conditions = Vec::new();
            if self.below(6) == 0 {
                let id = |dice: &mut Dice| ids[dice.below(ids.len() as u32) as usize].clone();
                conditions.push(format!("\"ids\":{}", self.list(4, id)));
            }
            if self.below(2) == 0 {
                conditions.push(format!("\"authors\":{}", self.list(5, Dice::author)));
            }
            if self.below(2) == 0 {
                conditions.push(format!("\"kinds\":[{},{}]", self.below(4), self.below(4)));
            }
            if self.below(3) == 0 {
                let value = |dice: &mut Dice| dice.below(5).to_string();
                conditions.push(format!("\"#t\":{}", self.list(3, value)));
            }
            if self.below(4) == 0 {
                let value = |dice: &mut Dice| dice.below(5).to_string();
                conditions.push(format!("\"&t\":{}", self.list(2, value)));
            }
            if self.below(4) == 0 {
                let place = |dice: &mut Dice| dice.place() + ["", "*"][dice.below(2) as usize];
                conditions.push(format!("\"#g\":{}", self.list(3, place)));
            }
            if self.below(8) == 0 {
                conditions.push(format!("\"since\":{}", self.below(100)));
            }
            let mut filters =
                [Filter::from_json(&format!("{{{}}}", conditions.join(","))).expect("a filter")];
            places::read_places(&mut filters);
            let [filter] = filters;
            filter
        }

        fn event(&mut self) -> Verified {
            let keys = self.keys();
            let tags: Vec<[String; 2]> = (0..self.below(4))
                .map(|_| match self.below(2) {
                    0 => ["t".to_owned(), self.below(5).to_string()],
                    _ => ["g".to_owned(), self.place()],
                })
                .collect();
            let mut event = Event {
                id: Id([0; 32]),
                pubkey: PublicKey(keys.x_only_public_key().0.to_byte_array()),
                created_at: u64::from(self.below(100)),
                kind: Kind(self.below(4) as u16),
                tags: tags.iter().map(|[name, value]| [name.as_str(), value.as_str()]).collect(),
                content: String::new(),
                sig: Signature([0; 64]),
            };
            event.id = event.hash(&mut Vec::new());
            event.sig = Signature(keys.sign_schnorr_no_aux_rand(&event.id.0).to_byte_array());
            Verified::check(event, &mut Vec::new()).expect("a true event")
        }
    }

    #[test]
    fn whom_it_finds_is_whom_a_look_at_each_finds() {
        let mut dice = Dice(StdRng::seed_from_u64(7));
        let events: Vec<Verified> = (0..40).map(|_| dice.event()).collect();
        let ids: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
        let mut finder = Finder::default();
        // The naive twin: all that are open, in a row.
        let mut open: Vec<(u32, Vec<Filter>)> = Vec::new();
        let mut delivered = 0;
        for step in 0..4_000 {
            // They become many and few again.
            let grows = (step / 500) % 2 == 0;
            if open.is_empty() || dice.below(10) < if grows { 7 } else { 3 } {
                let filters: Vec<Filter> = (0..1 + dice.below(2)).map(|_| dice.filter(&ids)).collect();
                filters.iter().for_each(|filter| finder.add(filter, step));
                open.push((step, filters));
            } else {
                let at = dice.below(open.len() as u32) as usize;
                let (number, filters) = open.swap_remove(at);
                filters.iter().for_each(|filter| finder.remove(filter, number));
            }
            let event = &events[dice.below(events.len() as u32) as usize];
            let mut candidates = Vec::new();
            finder.candidates(event, &mut candidates);
            let wants = |filters: &[Filter]| filters.iter().any(|filter| filter.matches(event));
            let mut found: Vec<u32> =
                open.iter().filter(|(_, of)| wants(of)).map(|(number, _)| *number).collect();
            delivered += found.len();
            found.retain(|number| !candidates.contains(number));
            assert_eq!(found, [0; 0], "step {step}: these want {event:?}");
            // And not many more than those: what is found by one condition fails at most by another.
            let numbers = |number: &u32| open.iter().any(|(other, _)| other == number);
            assert!(candidates.iter().all(numbers), "step {step}: one that has ended is found");
        }
        assert!(delivered > 10_000, "{delivered} are too few to tell");
        for (number, filters) in open {
            filters.iter().for_each(|filter| finder.remove(filter, number));
        }
        assert_eq!((finder.sizes(), finder.tags, finder.prefixes), ((0, 0), 0, 0));
    }

    #[test]
    fn equal_bytes_are_apart_by_what_they_are() {
        let hashes = Hashes::default();
        let ids: Vec<u64> = (0..=255).map(|byte| hashes.id(&Id([byte; 32]))).collect();
        let authors: Vec<u64> = (0..=255).map(|byte| hashes.author(&PublicKey([byte; 32]))).collect();
        let kinds: Vec<u64> = (0..256).map(|kind| hashes.kind(Kind(kind))).collect();
        let mut all = [ids, authors, kinds].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 3 * 256);
    }
}
