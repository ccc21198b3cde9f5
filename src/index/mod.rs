//! The in-memory index of one community: every stored event's head, and postings by time, author and
//! kind, kind, and tag value. In: events with their place in the store, and removals, from the writer
//! alone. Out: facts for placing, and scans. Never reads a body; never touches the store.

mod heads;
mod intern;
mod lists;
mod origins;
mod plan;
mod related;
mod scan;
mod table;

use std::collections::{BTreeSet, HashMap};

use heads::{BRIDGED, EXPIRES, FOR_FOLLOWERS, Heads, Row};
use intern::{Author, AuthorKind, Hashes, Interner, Value, ValueKey};
use lists::{Lists, Order, Posting};
use origins::Origins;
use table::Table;

pub use scan::{Found, Progress, Scan};

use crate::domain::proxy::Origin;
use crate::event::{Event, Id, Kind, KindClass, PublicKey, Verified};
use crate::filter::places;
use crate::nips::{nip09, nip40};
use crate::policy::{Facts, is_marked_for_followers};
use crate::rule::{Head, IndexedTags};
use crate::store::Location;

/// The index of one community.
#[derive(Debug, Default)]
pub struct Index {
    hashes: Hashes,
    lists: Lists,
    heads: Heads,
    ids: Table,
    authors: Interner<Author>,
    author_kinds: Interner<AuthorKind>,
    values: Interner<Value>,
    time: Posting,
    kinds: HashMap<Kind, Posting>,
    /// The stored version of each replaceable or addressable event.
    addresses: HashMap<[u8; 16], u32>,
    /// Deletion requests by the number of the `e` or `a` value that they name.
    deletions: HashMap<u32, Vec<u32>>,
    /// When events expire, for those that do.
    expires_at: HashMap<u32, u64>,
    /// The same in order of time, without what is kept hidden instead of being swept.
    expirations: BTreeSet<(u64, u32)>,
    /// Where events come from that were bridged (NIP-48).
    origins: Origins,
    /// Keys that vanished, and until when: their events up to then may not return.
    vanished: HashMap<PublicKey, u64>,
    /// Authors among them whose events are not all swept.
    vanishing_authors: HashMap<u32, u64>,
    /// `p` values among them whose wraps are not all swept.
    vanishing_recipients: HashMap<u32, u64>,
    next_number: u64,
    /// Whether events are found by what their places begin with.
    by_prefix: bool,
}

/// In place of a tag's letter, which no tag can have: what a place begins with.
const PREFIX: u8 = b'*';

/// Orders numbers by themselves.
struct ByNumber;

impl Order for ByNumber {
    fn compare(&self, left: u32, right: u32) -> std::cmp::Ordering {
        left.cmp(&right)
    }
}

/// A stored event that may be removed: a handle from the index and its place in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    ordinal: u32,
    /// Where the store keeps it.
    pub location: Location,
}

/// The tags of a row.
struct RowTags<'a> {
    index: &'a Index,
    row: &'a Row,
    ordinal: u32,
}

impl IndexedTags for RowTags<'_> {
    fn has(&self, letter: u8, value: &str) -> bool {
        let number = self.index.values.find_value(self.index.hashes.value(letter, value));
        number.is_some_and(|number| self.index.lists.fixed(&self.row.tags).contains(&number))
    }

    fn origins(&self, look: &mut dyn FnMut(&Origin<'_>)) {
        if self.row.flags & BRIDGED != 0 {
            self.index.origins.of(self.ordinal).iter().for_each(look);
        }
    }
}

impl Index {
    /// An index of nothing. Only one that is made `by_prefix` can answer filters with
    /// [`Filter::prefixes`](crate::filter::Filter::prefixes); for others they match nothing.
    pub fn new(by_prefix: bool) -> Index {
        Index { by_prefix, ..Index::default() }
    }

    /// How many events are stored.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Above every number that was ever inserted, 0 before the first: a query that scans as of it sees no
    /// later event.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Who wrote a stored event.
    pub fn author_of(&self, id: &Id) -> Option<&PublicKey> {
        let ordinal = self.ordinal_of(id)?;
        Some(&self.authors.get(self.heads.get(ordinal).author).key)
    }

    /// Shows the author and the origins of every stored event that was bridged (NIP-48), in no order.
    pub fn each_bridged(&self, mut look: impl FnMut(&PublicKey, &[Origin<'static>])) {
        for (ordinal, origins) in self.origins.each() {
            look(&self.authors.get(self.heads.get(ordinal).author).key, origins);
        }
    }

    /// Whether an event of this id is stored.
    pub fn contains(&self, id: &Id) -> bool {
        self.ordinal_of(id).is_some()
    }

    fn ordinal_of(&self, id: &Id) -> Option<u32> {
        self.ids.find(self.hashes.bytes(&id.0), |ordinal| self.heads.get(ordinal).id == *id)
    }

    /// The kind and author of an event that is in the index.
    pub fn kind_and_author(&self, stored: Stored) -> (Kind, PublicKey) {
        let row = self.heads.get(stored.ordinal);
        (row.kind, self.authors.get(row.author).key)
    }

    fn stored(&self, ordinal: u32) -> Stored {
        Stored { ordinal, location: self.heads.get(ordinal).location() }
    }

    /// Adds an event that the store keeps at `location` and that [`Index::facts`] let in.
    pub fn insert(&mut self, event: &Event, location: Location) {
        let author = self.authors.intern_author(&self.hashes, &event.pubkey);
        let ordinal = self.heads.add(Row::new(event.id, event.created_at, location, author, event.kind));
        self.next_number = self.next_number.max(location.number + 1);
        let (heads, hashes) = (&self.heads, &self.hashes);
        self.ids.insert(hashes.bytes(&event.id.0), ordinal, |other| hashes.bytes(&heads.get(other).id.0));

        self.lists.insert(&mut self.time, ordinal, &self.heads);
        self.lists.insert(self.kinds.entry(event.kind).or_default(), ordinal, &self.heads);
        let entry = self.author_kinds.find_kind(&self.hashes, author, event.kind).unwrap_or_else(|| {
            let number = self.author_kinds.add_kind(&self.hashes, author, event.kind);
            self.lists.insert(&mut self.authors.get_mut(author).kinds, number, &ByNumber);
            number
        });
        self.lists.insert(&mut self.author_kinds.get_mut(entry).posting, ordinal, &self.heads);
        self.insert_tags(event, ordinal);

        if let Some(key) = self.address_of(ordinal) {
            self.addresses.insert(key, ordinal);
        }
        if is_marked_for_followers(&event.tags) {
            self.heads.get_mut(ordinal).flags |= FOR_FOLLOWERS;
        }
        if let Some(time) = nip40::expires_at(event) {
            self.heads.get_mut(ordinal).flags |= EXPIRES;
            self.expires_at.insert(ordinal, time);
            // Requests whose effect must last are hidden when they expire, and kept.
            if nip09::deletable(event.kind) {
                self.expirations.insert((time, ordinal));
            }
        }
        if self.origins.insert(ordinal, &event.tags) {
            self.heads.get_mut(ordinal).flags |= BRIDGED;
        }
        if event.kind == Kind::DELETION {
            for number in self.deletion_targets(event) {
                self.deletions.entry(number).or_default().push(ordinal);
            }
        }
    }

    fn insert_tags(&mut self, event: &Event, ordinal: u32) {
        let mut numbers: Vec<u32> = Vec::new();
        let mut seen = BTreeSet::new();
        let prefixes = places::places(&event.tags).take(if self.by_prefix { usize::MAX } else { 0 });
        let prefixes = prefixes.flat_map(places::prefixes_of).map(|prefix| (PREFIX, prefix));
        for (letter, value) in event.tags.indexed().chain(prefixes) {
            let number = self.values.intern_value(self.hashes.value(letter, value));
            // A few tags are quicker to look through than to keep in order.
            let is_new = if numbers.len() < 16 {
                !numbers.contains(&number)
            } else {
                if seen.is_empty() {
                    seen.extend(numbers.iter().copied());
                }
                seen.insert(number)
            };
            if is_new {
                numbers.push(number);
                self.lists.insert(&mut self.values.get_mut(number).posting, ordinal, &self.heads);
            }
        }
        self.heads.get_mut(ordinal).tags = self.lists.store_fixed(&numbers);
    }

    /// The numbers of the values by which a stored deletion request names what it deletes.
    fn deletion_targets(&self, request: &Event) -> Vec<u32> {
        let ids = nip09::named_ids(request).map(|id| self.hashes.value(b'e', &id.to_string()));
        let addresses = nip09::named_addresses(request).map(|address| self.hashes.value(b'a', address));
        let mut numbers: Vec<u32> =
            ids.chain(addresses).filter_map(|key| self.values.find_value(key)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Takes an event out. `stored` must come from this index and still be in it.
    pub fn remove(&mut self, stored: Stored) {
        let ordinal = stored.ordinal;
        let row = *self.heads.get(ordinal);
        if let Some(key) = self.address_of(ordinal)
            && self.addresses.get(&key) == Some(&ordinal)
        {
            self.addresses.remove(&key);
        }
        if let Some(time) = self.expires_at.remove(&ordinal) {
            self.expirations.remove(&(time, ordinal));
        }
        if row.flags & BRIDGED != 0 {
            self.origins.remove(ordinal);
        }
        self.remove_tags(ordinal, &row);
        self.lists.remove(&mut self.time, ordinal, &self.heads);
        if let Some(posting) = self.kinds.get_mut(&row.kind) {
            self.lists.remove(posting, ordinal, &self.heads);
            if self.lists.len(*posting) == 0 {
                self.kinds.remove(&row.kind);
            }
        }
        self.remove_from_author(ordinal, &row);
        self.ids.remove(self.hashes.bytes(&row.id.0), ordinal);
        self.heads.remove(ordinal);
    }

    fn remove_from_author(&mut self, ordinal: u32, row: &Row) {
        let Some(number) = self.author_kinds.find_kind(&self.hashes, row.author, row.kind) else { return };
        let posting = &mut self.author_kinds.get_mut(number).posting;
        self.lists.remove(posting, ordinal, &self.heads);
        if self.lists.len(*posting) > 0 {
            return;
        }
        self.author_kinds.drop_kind(&self.hashes, number);
        let kinds = &mut self.authors.get_mut(row.author).kinds;
        self.lists.remove(kinds, number, &ByNumber);
        if self.lists.len(*kinds) == 0 {
            self.authors.drop_author(&self.hashes, row.author);
            self.vanishing_authors.remove(&row.author);
        }
    }

    fn remove_tags(&mut self, ordinal: u32, row: &Row) {
        let numbers = self.lists.fixed(&row.tags).to_vec();
        for number in numbers {
            if row.kind == Kind::DELETION
                && let Some(requests) = self.deletions.get_mut(&number)
            {
                requests.retain(|request| *request != ordinal);
                if requests.is_empty() {
                    self.deletions.remove(&number);
                }
            }
            let posting = &mut self.values.get_mut(number).posting;
            self.lists.remove(posting, ordinal, &self.heads);
            if self.lists.len(*posting) == 0 {
                self.values.drop_value(number);
                self.vanishing_recipients.remove(&number);
            }
        }
        self.lists.free_fixed(row.tags);
    }

    /// The key of a stored event's address; `None` for kinds without one.
    fn address_of(&self, ordinal: u32) -> Option<[u8; 16]> {
        let row = self.heads.get(ordinal);
        let none = || self.hashes.value(b'd', "");
        let identifier = match row.kind.class() {
            KindClass::Regular | KindClass::Ephemeral => return None,
            KindClass::Replaceable => none(),
            KindClass::Addressable => {
                let keys = self.lists.fixed(&row.tags).iter().map(|&number| self.values.get(number).key);
                keys.into_iter().find(|key: &ValueKey| key.letter() == b'd').unwrap_or_else(none)
            }
        };
        Some(self.hashes.address(row.kind, &self.authors.get(row.author).key, identifier))
    }

    /// The stored version of an event's address.
    pub fn newest_of(&self, event: &Event) -> Option<Stored> {
        let identifier = match event.kind.class() {
            KindClass::Regular | KindClass::Ephemeral => return None,
            KindClass::Replaceable => "",
            KindClass::Addressable => event.identifier(),
        };
        let identifier = self.hashes.value(b'd', identifier);
        let key = self.hashes.address(event.kind, &event.pubkey, identifier);
        self.addresses.get(&key).map(|&ordinal| self.stored(ordinal))
    }

    /// What is known that bears on an event.
    pub fn facts(&self, event: &Event) -> Facts {
        Facts {
            stored: self.contains(&event.id),
            deleted: self.is_deleted(event),
            vanished: self.is_vanished(event),
            newest: self.newest_of(event).map(|stored| {
                let row = self.heads.get(stored.ordinal);
                (row.created_at, row.id)
            }),
        }
    }

    /// Whether a stored request by someone entitled names this event: its author, by id or by address
    /// up to the request's time, or the recipient of a wrap by id (NIP-09).
    fn is_deleted(&self, event: &Event) -> bool {
        if self.deletions.is_empty() || !nip09::deletable(event.kind) {
            return false;
        }
        let requests = |letter: u8, value: &str| {
            let number = self.values.find_value(self.hashes.value(letter, value));
            let ordinals = number.and_then(|number| self.deletions.get(&number)).map_or(&[][..], |all| all);
            ordinals.iter().map(|&ordinal| self.heads.get(ordinal))
        };
        let by_id = requests(b'e', &event.id.to_string()).any(|request| {
            let requester = &self.authors.get(request.author).key;
            *requester == event.pubkey
                || event.kind == Kind::GIFT_WRAP && event.tags.has(b'p', &requester.to_string())
        });
        by_id
            || event.address().is_some_and(|address| {
                requests(b'a', &address).any(|request| {
                    self.authors.get(request.author).key == event.pubkey
                        && request.created_at >= event.created_at
                })
            })
    }

    /// Whether an event may not return because its author, or the recipient of a wrap, vanished.
    /// Requests to vanish themselves are kept as the record of it.
    fn is_vanished(&self, event: &Event) -> bool {
        if self.vanished.is_empty() || event.kind == Kind::VANISH {
            return false;
        }
        let vanished =
            |key: &PublicKey| self.vanished.get(key).is_some_and(|&until| event.created_at <= until);
        vanished(&event.pubkey)
            || event.kind == Kind::GIFT_WRAP
                && event.tags.values("p").filter_map(PublicKey::from_hex).any(|key| vanished(&key))
    }

    /// The stored events that a deletion request takes away: only those that its author may delete.
    pub fn deleted_by(&self, request: &Verified) -> Vec<Stored> {
        let requester = request.pubkey.to_string();
        let ids = nip09::named_ids(request).filter_map(|id| self.ordinal_of(&id)).filter(|&ordinal| {
            let row = self.heads.get(ordinal);
            nip09::deletable(row.kind)
                && (self.authors.get(row.author).key == request.pubkey
                    || row.kind == Kind::GIFT_WRAP
                        && RowTags { index: self, row, ordinal }.has(b'p', &requester))
        });
        let mut ordinals: Vec<u32> = ids.collect();
        for address in nip09::named_addresses(request) {
            let mut parts = address.splitn(3, ':');
            let kind = parts.next().and_then(|kind| kind.parse().ok()).map(Kind);
            let (Some(kind), Some(identifier)) = (kind, parts.nth(1)) else { continue };
            let identifier = self.hashes.value(b'd', identifier);
            let key = self.hashes.address(kind, &request.pubkey, identifier);
            let stored = self.addresses.get(&key).copied();
            ordinals.extend(stored.filter(|&at| self.heads.get(at).created_at <= request.created_at));
        }
        ordinals.sort_unstable();
        ordinals.dedup();
        ordinals.into_iter().map(|ordinal| self.stored(ordinal)).collect()
    }

    /// Until when a key's events have vanished.
    pub fn vanished_until(&self, key: &PublicKey) -> Option<u64> {
        self.vanished.get(key).copied()
    }

    /// Hides at once what a key wrote up to `until`, and wraps for it; keeps it from returning.
    pub fn vanish(&mut self, key: &PublicKey, until: u64) {
        let until = self.vanished_until(key).map_or(until, |earlier| earlier.max(until));
        self.vanished.insert(*key, until);
        if let Some(author) = self.authors.find_author(&self.hashes, key) {
            self.vanishing_authors.insert(author, until);
        }
        if let Some(value) = self.values.find_value(self.hashes.value(b'p', &key.to_string())) {
            self.vanishing_recipients.insert(value, until);
        }
    }

    /// Whether events of vanished keys wait to be swept.
    pub fn has_vanishing(&self) -> bool {
        !self.vanishing_authors.is_empty() || !self.vanishing_recipients.is_empty()
    }

    fn row_is_vanished(&self, row: &Row) -> bool {
        if self.vanishing_authors.is_empty() && self.vanishing_recipients.is_empty()
            || row.kind == Kind::VANISH
        {
            return false;
        }
        let covers = |until: Option<&u64>| until.is_some_and(|&until| row.created_at <= until);
        covers(self.vanishing_authors.get(&row.author))
            || row.kind == Kind::GIFT_WRAP
                && self
                    .lists
                    .fixed(&row.tags)
                    .iter()
                    .any(|value| covers(self.vanishing_recipients.get(value)))
    }

    /// What rules may know of a stored event.
    fn head<'a>(&'a self, ordinal: u32, tags: &'a RowTags<'a>) -> Head<'a> {
        let row = tags.row;
        let expires_at = if row.flags & EXPIRES == 0 { None } else { self.expires_at.get(&ordinal).copied() };
        Head {
            id: &row.id,
            author: &self.authors.get(row.author).key,
            kind: row.kind,
            created_at: row.created_at,
            expires_at,
            vanished: self.row_is_vanished(row),
            for_followers: row.flags & FOR_FOLLOWERS != 0,
            tags,
        }
    }

    /// Up to `most` events that expired by `now`.
    pub fn expired(&self, now: u64, most: usize) -> Vec<Stored> {
        let due = self.expirations.range(..=(now, u32::MAX)).take(most);
        due.map(|&(_, ordinal)| self.stored(ordinal)).collect()
    }

    /// Up to `most` events of keys that vanished. When there are none left, the keys no longer hide
    /// anything and are forgotten here; that their events may not return is kept.
    pub fn vanishing(&mut self, most: usize) -> Vec<Stored> {
        let mut found = BTreeSet::new();
        let mut done = Vec::new();
        for (&author, &until) in &self.vanishing_authors {
            let before = found.len();
            for number in self.lists.iter(self.authors.get(author).kinds) {
                let entry = self.author_kinds.get(number);
                if entry.kind != Kind::VANISH {
                    self.collect_until(entry.posting, until, most, |_| true, &mut found);
                }
            }
            if found.len() == before && before < most {
                done.push(author);
            }
        }
        self.vanishing_authors.retain(|author, _| !done.contains(author));
        let mut done = Vec::new();
        for (&value, &until) in &self.vanishing_recipients {
            let before = found.len();
            let is_wrap = |ordinal| self.heads.get(ordinal).kind == Kind::GIFT_WRAP;
            self.collect_until(self.values.get(value).posting, until, most, is_wrap, &mut found);
            if found.len() == before && before < most {
                done.push(value);
            }
        }
        self.vanishing_recipients.retain(|value, _| !done.contains(value));
        found.into_iter().map(|ordinal| self.stored(ordinal)).collect()
    }

    fn collect_until(
        &self,
        posting: Posting,
        until: u64,
        most: usize,
        wanted: impl Fn(u32) -> bool,
        found: &mut BTreeSet<u32>,
    ) {
        let mut cursor = self.lists.seek(posting, |ordinal| self.heads.get(ordinal).created_at <= until);
        while found.len() < most
            && let Some(ordinal) = self.lists.next(&mut cursor)
        {
            if wanted(ordinal) {
                found.insert(ordinal);
            }
        }
    }
}
