//! The in-memory index of one community: every stored event's head, and postings by time, author and
//! kind, kind, and tag value. In: events with their place in the store, and removals, from the writer
//! alone. Out: facts for placing, and scans. Never reads a body; never touches the store.

mod arena;
mod authors;
mod bytes;
mod changes;
mod heads;
mod intern;
mod lists;
mod origins;
mod plan;
#[cfg(any(test, fuzzing))]
pub(crate) mod probe;
mod related;
mod retain;
mod scan;
mod snapshot;
mod summary;
mod table;
mod tags;
mod tally;
#[cfg(test)]
mod twins;

use std::collections::{BTreeSet, HashMap};

use authors::Authors;
use changes::Changes;
use heads::{BRIDGED, EXPIRES, FOR_FOLLOWERS, Heads, Row, narrow};
use intern::{Hashes, Interner, Value, ValueKey};
use lists::{Lists, Posting};
use origins::Origins;
use table::Table;
use tags::TagLists;
use tally::Tallies;

pub use changes::CHANGES_BYTES;
pub use scan::{Found, Place, Progress, Scan};
pub use snapshot::SnapshotError;
pub use summary::Summary;

use crate::domain::proxy::Origin;
use crate::event::{Event, Id, Kind, KindClass, PublicKey, Verified};
use crate::filter::places;
use crate::nips::nip09::{self, parse_address};
use crate::nips::nip40;
use crate::policy::{Facts, is_marked_for_followers};
use crate::rule::{Head, IndexedTags, TagValue};
use crate::store::Location;

/// The index of one community.
#[derive(Debug, Default)]
pub struct Index {
    hashes: Hashes,
    lists: Lists,
    heads: Heads,
    tags: TagLists,
    ids: Table,
    authors: Authors,
    values: Interner<Value>,
    tallies: Tallies,
    time: Posting,
    kinds: HashMap<Kind, Posting>,
    /// The stored version of each replaceable or addressable event, by its address.
    addresses: Table,
    /// Deletion requests by the number of the `e` or `a` value that they name.
    deletions: HashMap<u32, Posting>,
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
    /// How many events were added, and taken out, since it is in memory.
    insertions: u64,
    removals: u64,
    /// Which events came and went lately.
    changes: Changes,
    /// About how long all records are together.
    record_bytes: u64,
    /// The same by author, where there are bounds on it.
    author_bytes: Option<retain::AuthorBytes>,
    /// Whether events are found by what their places begin with.
    by_prefix: bool,
}

/// In place of a tag's letter, which no tag can have: what a place begins with.
const PREFIX: u8 = b'*';

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
        number.is_some_and(|number| self.index.tags.of(self.row).contains(&number))
    }

    fn values(&self, letter: u8, look: &mut dyn FnMut(TagValue<'_>)) {
        let keys = self.index.tags.of(self.row).iter().map(|&number| self.index.values.get(number).key);
        keys.filter(|key| key.letter() == letter).for_each(|key| look(TagValue::Label(key.label())));
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

    /// How many events were added since it is in memory.
    pub fn insertions(&self) -> u64 {
        self.insertions
    }

    /// How many events were taken out since it is in memory.
    pub fn removals(&self) -> u64 {
        self.removals
    }

    /// Who wrote a stored event.
    pub fn author_of(&self, id: &Id) -> Option<&PublicKey> {
        let ordinal = self.ordinal_of(id)?;
        Some(self.authors.key(self.heads.get(ordinal).author))
    }

    /// Shows the author and the origins of every stored event that was bridged (NIP-48), in no order.
    pub fn each_bridged(&self, mut look: impl FnMut(&PublicKey, &[Origin<'static>])) {
        for (ordinal, origins) in self.origins.each() {
            look(self.authors.key(self.heads.get(ordinal).author), origins);
        }
    }

    /// Whether an event of this id is stored.
    pub fn contains(&self, id: &Id) -> bool {
        self.ordinal_of(id).is_some()
    }

    fn ordinal_of(&self, id: &Id) -> Option<u32> {
        self.ids.find(self.hashes.bytes(&id.0), |ordinal| self.heads.id(ordinal) == id)
    }

    /// The kind and author of an event that is in the index.
    pub fn kind_and_author(&self, stored: Stored) -> (Kind, PublicKey) {
        let row = self.heads.get(stored.ordinal);
        (row.kind, *self.authors.key(row.author))
    }

    /// The event of this id, if it is stored.
    pub fn find(&self, id: &Id) -> Option<Stored> {
        self.ordinal_of(id).map(|ordinal| self.stored(ordinal))
    }

    /// An event that was found before, if it is still there.
    pub fn stored_at(&self, id: &Id, location: Location) -> Option<Stored> {
        let stored = self.stored(self.ordinal_of(id)?);
        (stored.location == location).then_some(stored)
    }

    /// An event by its id, if it is there.
    pub fn stored_as(&self, id: &Id) -> Option<Stored> {
        Some(self.stored(self.ordinal_of(id)?))
    }

    /// The id of an event that was found.
    pub fn id_of(&self, stored: Stored) -> Id {
        *self.heads.id(stored.ordinal)
    }

    fn stored(&self, ordinal: u32) -> Stored {
        Stored { ordinal, location: self.heads.location(ordinal) }
    }

    /// Adds an event that the store keeps at `location`, in so many bytes, and that [`Index::facts`] let in.
    pub fn insert(&mut self, event: &Event, location: Location, record_bytes: usize) {
        let author = self.authors.intern(&self.hashes, &event.pubkey);
        let (id, created_at, kind) = (event.id, event.created_at, event.kind);
        let ordinal = self.heads.add(id, created_at, location, author, kind, record_bytes);
        self.insertions += 1;
        self.changes.note(created_at, id);
        self.note_bytes(ordinal, true);
        self.next_number = self.next_number.max(location.number + 1);
        let (heads, hashes) = (&self.heads, &self.hashes);
        self.ids.insert(hashes.bytes(&event.id.0), ordinal, |other| hashes.bytes(&heads.id(other).0));

        self.lists.insert(&mut self.time, ordinal, &self.heads);
        self.lists.insert(self.kinds.entry(event.kind).or_default(), ordinal, &self.heads);
        let entry = self.authors.intern_kind(author, event.kind);
        entry.newest = entry.newest.max(narrow(event.created_at));
        self.lists.insert(&mut entry.posting, ordinal, &self.heads);
        self.insert_flags(event, ordinal);
        self.insert_tags(event, ordinal);
        self.insert_address(ordinal);
        if event.kind == Kind::DELETION {
            for number in self.deletion_targets(event) {
                self.lists.insert(self.deletions.entry(number).or_default(), ordinal, &self.heads);
            }
        }
    }

    /// What sets an event apart from others of its kind.
    fn insert_flags(&mut self, event: &Event, ordinal: u32) {
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
                self.tally(number, letter, value, ordinal);
            }
        }
        self.tags.store(self.heads.get_mut(ordinal), &numbers);
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
        self.removals += 1;
        self.changes.note(self.heads.created_at(ordinal), *self.heads.id(ordinal));
        self.note_bytes(ordinal, false);
        if let Some(hash) = self.address_hash(ordinal) {
            self.addresses.remove(hash, ordinal);
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
        self.ids.remove(self.hashes.bytes(&self.heads.id(ordinal).0), ordinal);
        self.heads.remove(ordinal);
    }

    fn remove_from_author(&mut self, ordinal: u32, row: &Row) {
        let posting = &mut self.authors.intern_kind(row.author, row.kind).posting;
        self.lists.remove(posting, ordinal, &self.heads);
        if self.lists.len(*posting) == 0 && self.authors.drop_kind(&self.hashes, row.author, row.kind) {
            self.vanishing_authors.remove(&row.author);
        }
    }

    fn remove_tags(&mut self, ordinal: u32, row: &Row) {
        let numbers = self.tags.of(row).to_vec();
        for number in numbers {
            if row.kind == Kind::DELETION
                && let Some(requests) = self.deletions.get_mut(&number)
            {
                self.lists.remove(requests, ordinal, &self.heads);
                if self.lists.len(*requests) == 0 {
                    self.deletions.remove(&number);
                }
            }
            let posting = &mut self.values.get_mut(number).posting;
            self.lists.remove(posting, ordinal, &self.heads);
            let is_empty = self.lists.len(*posting) == 0;
            self.untally(number, row);
            if is_empty {
                self.values.drop_value(number);
                self.vanishing_recipients.remove(&number);
            }
        }
        self.tags.release(row);
    }

    /// The key of the value that belongs to a stored event's address; `None` for kinds without one.
    fn identifier_of(&self, ordinal: u32) -> Option<ValueKey> {
        let row = self.heads.get(ordinal);
        let stated = match row.kind.class() {
            KindClass::Regular | KindClass::Ephemeral => return None,
            KindClass::Replaceable => None,
            KindClass::Addressable => {
                let mut keys = self.tags.of(row).iter().map(|&number| self.values.get(number).key);
                keys.find(|key| key.letter() == b'd')
            }
        };
        Some(stated.unwrap_or_else(|| self.hashes.value(b'd', "")))
    }

    fn address_hash(&self, ordinal: u32) -> Option<u64> {
        let row = self.heads.get(ordinal);
        self.identifier_of(ordinal).map(|identifier| self.hashes.address(row.author, row.kind, identifier))
    }

    fn insert_address(&mut self, ordinal: u32) {
        let Some(identifier) = self.identifier_of(ordinal) else { return };
        let Row { author, kind, .. } = *self.heads.get(ordinal);
        let hash = self.hashes.address(author, kind, identifier);
        if let Some(older) = self.find_address(author, kind, identifier) {
            self.addresses.remove(hash, older);
        }
        let mut addresses = std::mem::take(&mut self.addresses);
        addresses.insert(hash, ordinal, |other| self.address_hash(other).unwrap_or_default());
        self.addresses = addresses;
    }

    fn find_address(&self, author: u32, kind: Kind, identifier: ValueKey) -> Option<u32> {
        self.addresses.find(self.hashes.address(author, kind, identifier), |ordinal| {
            let row = self.heads.get(ordinal);
            (row.author, row.kind) == (author, kind) && self.identifier_of(ordinal) == Some(identifier)
        })
    }

    /// The stored version of an address.
    fn at_address(&self, author: &PublicKey, kind: Kind, identifier: &str) -> Option<u32> {
        let identifier = match kind.class() {
            KindClass::Regular | KindClass::Ephemeral => return None,
            KindClass::Replaceable => "",
            KindClass::Addressable => identifier,
        };
        let author = self.authors.find(&self.hashes, author)?;
        self.find_address(author, kind, self.hashes.value(b'd', identifier))
    }

    /// The stored version of an event's address.
    pub fn newest_of(&self, event: &Event) -> Option<Stored> {
        self.at_address(&event.pubkey, event.kind, event.identifier()).map(|ordinal| self.stored(ordinal))
    }

    /// What is known that bears on an event.
    pub fn facts(&self, event: &Event) -> Facts {
        Facts {
            stored: self.contains(&event.id),
            deleted: self.is_deleted(event),
            vanished: self.is_vanished(event),
            newest: self
                .newest_of(event)
                .map(|stored| (self.heads.created_at(stored.ordinal), *self.heads.id(stored.ordinal))),
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
            let requests = number.and_then(|number| self.deletions.get(&number)).copied();
            let ordinals = self.lists.iter(requests.unwrap_or_default());
            ordinals.map(|ordinal| {
                (self.authors.key(self.heads.get(ordinal).author), self.heads.created_at(ordinal))
            })
        };
        let by_id = requests(b'e', &event.id.to_string()).any(|(requester, _)| {
            *requester == event.pubkey
                || event.kind == Kind::GIFT_WRAP && event.tags.has(b'p', &requester.to_string())
        });
        by_id
            || event.address().is_some_and(|address| {
                requests(b'a', &address).any(|(requester, requested_at)| {
                    *requester == event.pubkey && requested_at >= event.created_at
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
                && (*self.authors.key(row.author) == request.pubkey
                    || row.kind == Kind::GIFT_WRAP
                        && RowTags { index: self, row, ordinal }.has(b'p', &requester))
        });
        let mut ordinals: Vec<u32> = ids.collect();
        for address in nip09::named_addresses(request) {
            let stored = parse_address(address)
                .and_then(|(kind, author, identifier)| self.at_address(&author, kind, identifier));
            ordinals.extend(stored.filter(|&at| self.heads.created_at(at) <= request.created_at));
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
        self.changes.note_many();
        if let Some(author) = self.authors.find(&self.hashes, key) {
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

    fn is_vanishing(&self, ordinal: u32, row: &Row) -> bool {
        if self.vanishing_authors.is_empty() && self.vanishing_recipients.is_empty()
            || row.kind == Kind::VANISH
        {
            return false;
        }
        let covers =
            |until: Option<&u64>| until.is_some_and(|&until| self.heads.created_at(ordinal) <= until);
        covers(self.vanishing_authors.get(&row.author))
            || row.kind == Kind::GIFT_WRAP
                && self.tags.of(row).iter().any(|value| covers(self.vanishing_recipients.get(value)))
    }

    /// What rules may know of a stored event.
    fn head<'a>(&'a self, ordinal: u32, tags: &'a RowTags<'a>) -> Head<'a> {
        let row = tags.row;
        let expires_at = if row.flags & EXPIRES == 0 { None } else { self.expires_at.get(&ordinal).copied() };
        Head {
            id: self.heads.id(ordinal),
            author: self.authors.key(row.author),
            kind: row.kind,
            created_at: self.heads.created_at(ordinal),
            expires_at,
            vanished: self.is_vanishing(ordinal, row),
            for_followers: row.flags & FOR_FOLLOWERS != 0,
            tags,
        }
    }

    /// Whether a stored event is still there, and `visible` says so of it.
    pub fn shows(&self, id: &Id, location: Location, visible: impl FnOnce(&Head<'_>) -> bool) -> bool {
        let Some(Stored { ordinal, .. }) = self.stored_at(id, location) else { return false };
        let row = self.heads.get(ordinal);
        visible(&self.head(ordinal, &RowTags { index: self, row, ordinal }))
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
            for entry in self.authors.kinds(author) {
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
        let mut cursor = self.lists.seek(posting, |ordinal| self.heads.created_at(ordinal) <= until);
        while found.len() < most
            && let Some(ordinal) = self.lists.next(&mut cursor)
        {
            if wanted(ordinal) {
                found.insert(ordinal);
            }
        }
    }
}
