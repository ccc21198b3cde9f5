//! Makes a store of a copy: every record where it was, under its number. In: records in order of number within
//! each community and shelf, state, and what the copy is as of. Out: a store. Until it is complete no store can
//! be opened in its folder.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;

use super::copy::{COPIES, Copied, Stamp};
use super::files::{self, io_error};
use super::key::{self, Shelf};
use super::tally::Numbering;
use super::value::{self, Meta, PACK_SLOTS, PackBuilder};
use super::{CommunityId, Location, Options, StateTable, Store, StoreError, Tally};

/// Bytes that are written at once.
const BATCH_BYTES: usize = 1 << 20;

/// A store that is being made.
pub struct Restorer {
    store: Store,
    batch: sled::Batch,
    batch_bytes: usize,
    pack: Option<RestoredPack>,
    blanks_until: HashMap<CommunityId, u64>,
    tallies: HashMap<CommunityId, Tally>,
}

/// A pack whose records are coming.
struct RestoredPack {
    community: CommunityId,
    number: u64,
    records: PackBuilder,
}

impl Restorer {
    /// Begins a store in a folder that holds nothing, or is not there.
    ///
    /// # Errors
    /// When it holds anything, or cannot be written.
    pub fn new(options: Options) -> Result<Restorer, StoreError> {
        match fs::read_dir(&options.path) {
            Ok(entries) => {
                // The folder of a disk of its own has this one.
                let is_other = |name: &std::ffi::OsStr| name != "lost+found";
                if entries.flatten().any(|entry| is_other(&entry.file_name())) {
                    return Err(StoreError::NotEmpty { path: options.path });
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io_error(&options.path, "list the folder", error)),
        }
        let store = Store::open(options)?;
        Ok(Restorer {
            store,
            batch: sled::Batch::default(),
            batch_bytes: 0,
            pack: None,
            blanks_until: HashMap::new(),
            tallies: HashMap::new(),
        })
    }

    /// Adds a record where it was.
    ///
    /// # Errors
    /// When records do not come in order, or cannot be written.
    pub fn record(
        &mut self,
        community: CommunityId,
        location: Location,
        record: &[u8],
    ) -> Result<(), StoreError> {
        let Some((shelf, number, slot)) = location.place() else {
            return Err(self.misplaced(community, location));
        };
        let is_long = value::is_long(record.len());
        if record.len() > value::RECORD_BYTES_MAX || is_long && slot != 0 {
            return Err(self.misplaced(community, location));
        }
        self.tallies.entry(community).or_default().add(location.number);
        if shelf == Shelf::Loose || is_long {
            return self.alone(shelf, community, number, record);
        }
        if self.pack.as_ref().is_some_and(|pack| (pack.community, pack.number) != (community, number)) {
            self.close_pack()?;
        }
        let new = || RestoredPack { community, number, records: PackBuilder::default() };
        let pack = self.pack.get_or_insert_with(new);
        if pack.records.slots() > usize::from(slot) {
            return Err(self.misplaced(community, location));
        }
        (pack.records.slots()..usize::from(slot)).for_each(|_| pack.records.push_empty());
        pack.records.push(record);
        Ok(())
    }

    /// Adds a state entry.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn state(
        &mut self,
        community: CommunityId,
        table: StateTable,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.insert(key::state(community, table, key), value.to_vec())
    }

    /// Makes the store complete and safe. With the stamps of a folder and of the copy in it, the store goes on
    /// from that copy, so that the next one into the folder brings only what is new.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self, copied: &Copied, goes_on: Option<(&Stamp, &Stamp)>) -> Result<Store, StoreError> {
        self.close_pack()?;
        if let Some((folder, stamp)) = goes_on {
            let value = [&stamp[..], &copied.group.to_be_bytes()].concat();
            self.state(CommunityId(0), COPIES, folder, &value)?;
        }
        self.flush()?;
        let mut last = sled::Batch::default();
        let numbering = |(&community, &next): (&u32, &u64)| {
            // What is here counts: a store that had lost something is whole again in that.
            let tally = self.tallies.get(&CommunityId(community)).copied().unwrap_or_default();
            (CommunityId(community), Numbering { next, tally: Some(tally) })
        };
        let numberings: HashMap<_, _> = copied.next_numbers.iter().map(numbering).collect();
        for (community, numbering) in &numberings {
            last.insert(&key::next_number(*community)[..], value::write_numbering(*numbering));
        }
        // A store is one when it has this.
        let meta = Meta { first_number: copied.first_number, groups: copied.group };
        last.insert(&key::META[..], meta.write());
        let store = self.store;
        let applied = store.engine()?.tree.apply_batch(last);
        applied.map_err(|source| store.engine_error("finish the store", source))?;
        store.settle()?;
        files::sync_all(&store.path, &[])?;
        store.publish(copied.group, numberings);
        store.read_copies()?;
        Ok(store)
    }

    /// Adds a record that shares its value with no other.
    fn alone(
        &mut self,
        shelf: Shelf,
        community: CommunityId,
        number: u64,
        record: &[u8],
    ) -> Result<(), StoreError> {
        self.prepare(community, number)?;
        if !value::is_long(record.len()) {
            let mut alone = PackBuilder::default();
            alone.push(record);
            return self.insert(key::head(shelf, community, number).to_vec(), alone.finish());
        }
        for (part, value) in (0_u16..).zip(value::write_long(record)) {
            let key = match part {
                0 => key::head(shelf, community, number).to_vec(),
                _ => key::part(shelf, community, number, part).to_vec(),
            };
            self.insert(key, value)?;
        }
        Ok(())
    }

    fn close_pack(&mut self) -> Result<(), StoreError> {
        let Some(RestoredPack { community, number, mut records }) = self.pack.take() else { return Ok(()) };
        self.prepare(community, number)?;
        self.insert(key::head(Shelf::Packed, community, number).to_vec(), records.finish())
    }

    /// Keeps blanks and bookends as a commit does (`key.rs`).
    fn prepare(&mut self, community: CommunityId, number: u64) -> Result<(), StoreError> {
        // Blanks are written one by one: what waits in the batch must not be blanked.
        let until = self.blanks_until.get(&community).copied().unwrap_or(0);
        if until < number + PACK_SLOTS {
            self.flush()?;
            let engine = self.store.engine()?;
            self.store.keep_blanks(&engine, community, number + PACK_SLOTS, &mut self.blanks_until)?;
        }
        Ok(())
    }

    fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), StoreError> {
        self.batch_bytes += key.len() + value.len();
        self.batch.insert(key, value);
        if self.batch_bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        let applied = self.store.engine()?.tree.apply_batch(batch);
        applied.map_err(|source| self.store.engine_error("write", source))
    }

    fn misplaced(&self, community: CommunityId, location: Location) -> StoreError {
        let (shelf, number) = match location.place() {
            Some((shelf, number, _)) => (shelf, number),
            None => (Shelf::Packed, location.number),
        };
        self.store.corrupt(&key::head(shelf, community, number), "the copy has it in a place that cannot be")
    }
}
