//! Reads all records of a community in order of number: packs and long records from their shelf, loose ones
//! from theirs, merged. In: a community and a number. Out: locations and records, lent.

use std::ops::Range;
use std::sync::Arc;

use super::engine::Engine;
use super::key::{self, RecordKey, Shelf};
use super::value::{self, Head};
use super::{CommunityId, Location, Store, StoreError};

/// Keys from one page to the next, about: sled's leaves have 8 or 9 of those that were appended.
const TRIM_STEP: usize = 9;

/// Pages that a scan reads before sled is made to look at its cache's bound.
const TRIM_AFTER_PAGES: usize = 1_024;

/// Pages that are touched for it: twice as many as the cache has parts, over which they are spread.
const TRIM_PAGES: usize = 512;

/// How often each is touched: as often as sled waits before it looks at a part.
const TRIM_ROUNDS: usize = 64;

/// The keys and values of one shelf, without the parts of long records.
pub(super) struct ShelfScan<'s> {
    store: &'s Store,
    entries: sled::Iter,
    /// Kept open until the scan ends.
    _engine: Arc<Engine>,
    /// Whose parts may follow.
    last_head: Option<u64>,
    keys_since_page: usize,
    pages: Vec<sled::IVec>,
}

impl<'s> ShelfScan<'s> {
    /// The keys whose number is in `numbers`.
    pub(super) fn new(
        store: &'s Store,
        shelf: Shelf,
        community: CommunityId,
        numbers: Range<u64>,
    ) -> Result<Self, StoreError> {
        let engine = store.engine()?;
        Ok(ShelfScan {
            store,
            entries: engine.tree.range(key::head_range(shelf, community, numbers)),
            _engine: engine,
            last_head: None,
            keys_since_page: 0,
            pages: Vec::new(),
        })
    }

    /// The next pack, head or loose record: its number, key and value.
    pub(super) fn next(&mut self) -> Result<Option<(u64, sled::IVec, sled::IVec)>, StoreError> {
        while let Some(entry) = self.store.ask_next("read records", &mut self.entries) {
            self.store.may_read_on()?;
            let (key, value) = entry?;
            self.keys_since_page += 1;
            if self.keys_since_page == TRIM_STEP {
                self.keys_since_page = 0;
                self.pages.push(key.clone());
            }
            if self.pages.len() == TRIM_AFTER_PAGES {
                self.store.trim_cache(&self.pages[TRIM_AFTER_PAGES - TRIM_PAGES..])?;
                self.pages.clear();
            }
            match key::read_record_key(&key) {
                // The blank of a pack to come, or of one that was not needed.
                Some(RecordKey::Head(_)) if value.is_empty() => {}
                Some(RecordKey::Head(number)) => {
                    self.last_head = Some(number);
                    return Ok(Some((number, key, value)));
                }
                // The parts come right after their head, with which they are read.
                Some(RecordKey::Part(number)) if self.last_head == Some(number) => {}
                Some(RecordKey::Part(_)) => return Err(self.store.corrupt(&key, "its record has no head")),
                None => return Err(self.store.corrupt(&key, "the key is none of ours")),
            }
        }
        Ok(None)
    }
}

/// The loose records of a community, with the next one at hand.
struct Loose<'s> {
    community: CommunityId,
    scan: ShelfScan<'s>,
    next: Option<(u64, sled::IVec, sled::IVec)>,
}

impl<'s> Loose<'s> {
    fn new(store: &'s Store, community: CommunityId, first: u64) -> Result<Self, StoreError> {
        let mut scan = ShelfScan::new(store, Shelf::Loose, community, first..store.next_number(community))?;
        let next = scan.next()?;
        Ok(Loose { community, scan, next })
    }

    /// Shows those with a number below `end`.
    fn show_below<E: From<StoreError>>(
        &mut self,
        end: u64,
        visit: &mut impl FnMut(Location, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let store = self.scan.store;
        while let Some((number, key, value)) = self.next.take_if(|(number, ..)| *number < end) {
            let location = Location { number, slot: Location::LOOSE };
            match store.readable(&key, value::read_head(&value))? {
                Head::Pack(pack) => {
                    if let Some(record) = pack.slots().next().flatten() {
                        visit(location, record)?;
                    }
                }
                Head::Long(long) => {
                    if let Some(record) = store.join(Shelf::Loose, self.community, number, &long)? {
                        visit(location, &record)?;
                    }
                }
            }
            self.next = self.scan.next()?;
        }
        Ok(())
    }
}

impl Store {
    /// Shows every record of a community from a number on, in order of number, until `visit` fails.
    ///
    /// The records are those of the groups committed before the call; one that is removed meanwhile may or
    /// may not be shown. Records are lent and not given, which saves a copy of each at start.
    pub fn scan<E: From<StoreError>>(
        &self,
        community: CommunityId,
        from_number: u64,
        mut visit: impl FnMut(Location, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let first_pack = from_number.saturating_sub(value::PACK_SLOTS_MAX as u64);
        let numbers = first_pack..self.next_number(community);
        let mut packs = ShelfScan::new(self, Shelf::Packed, community, numbers)?;
        let mut loose = Loose::new(self, community, from_number)?;
        while let Some((number, key, value)) = packs.next()? {
            match self.readable(&key, value::read_head(&value))? {
                Head::Pack(pack) => {
                    for (slot, record) in (0_u8..).zip(pack.slots()) {
                        let location = Location { number: number + u64::from(slot), slot };
                        if let Some(record) = record.filter(|_| location.number >= from_number) {
                            loose.show_below(location.number, &mut visit)?;
                            visit(location, record)?;
                        }
                    }
                }
                Head::Long(long) => {
                    let record = self.join(Shelf::Packed, community, number, &long)?;
                    if let Some(record) = record.filter(|_| number >= from_number) {
                        loose.show_below(number, &mut visit)?;
                        visit(Location { number, slot: 0 }, &record)?;
                    }
                }
            }
        }
        loose.show_below(u64::MAX, &mut visit)
    }

    /// Makes sled look at its cache's bound, by touching pages that a scan has just read.
    ///
    /// sled looks only after every 64th access to each of 256 parts of its cache: a scan alone would leave
    /// up to 16,384 pages in memory, about 300 MB, whatever the bound is.
    fn trim_cache(&self, keys: &[sled::IVec]) -> Result<(), StoreError> {
        for _ in 0..TRIM_ROUNDS {
            for key in keys {
                self.read(key)?;
            }
        }
        Ok(())
    }
}
