//! What a moderator decided, on its way through the log of a cluster: it is made on one node and takes effect on all,
//! in the log's order. In: changes and the words of the record. Out: a group, and what holds from then on.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};

use super::{audit, take_effect};
use crate::community::{Change, Community};
use crate::store::{CommunityId, Group, StateTable, Store, StoreError};

/// Changes and the entry of the record.
pub(crate) struct Decided {
    pub(crate) community: Arc<Community>,
    pub(super) changes: Vec<Change>,
    /// The entry, as JSON; its number is given in the order of the log.
    pub(super) record: Vec<u8>,
    pub(super) now: u64,
    /// Told when it is durable here.
    pub(super) done: Option<Sender<Result<(), StoreError>>>,
}

/// The same in an entry of the log.
#[derive(Serialize, Deserialize)]
struct Written {
    community: String,
    now: u64,
    record: String,
    /// Each a table of the state, a key in hex, and a value in hex unless it is taken back.
    changes: Vec<(u8, String, Option<String>)>,
}

impl Decided {
    /// Says that it does not count.
    pub(crate) fn refuse(self, store: &Path) {
        self.fail(StoreError::Stopped { path: store.to_owned() });
    }

    /// Says that it cannot be kept.
    pub(crate) fn fail(self, error: StoreError) {
        // Who no longer waits does not need the answer.
        let _ = self.done.map(|done| done.send(Err(error)));
    }

    /// The bytes of its entry.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let changes = self.changes.iter().map(|change| {
            let (table, key, value) = change.entry();
            (table.0, hex::encode(key), value.map(hex::encode))
        });
        let written = Written {
            community: self.community.path().to_owned(),
            now: self.now,
            record: String::from_utf8_lossy(&self.record).into_owned(),
            changes: changes.collect(),
        };
        // Texts and numbers alone always become JSON.
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// A decision of another node.
    ///
    /// # Errors
    /// Why it cannot be followed.
    pub(crate) fn from_json(
        json: &[u8],
        find: impl FnOnce(&str) -> Option<Arc<Community>>,
    ) -> Result<Decided, String> {
        let written: Written =
            serde_json::from_slice(json).map_err(|error| format!("a decision: {error}"))?;
        let Written { community, now, record, changes } = written;
        let community = find(&community).ok_or_else(|| {
            format!("it is for {community}, which the settings of this node do not have; add it")
        })?;
        let changes = changes.into_iter().map(|(table, key, value)| {
            let key = hex::decode(key).ok()?;
            let value = value.map(hex::decode).transpose().ok()?;
            Change::read(StateTable(table), &key, value.as_deref())
        });
        let changes = changes.collect::<Option<Vec<Change>>>();
        let changes = changes.ok_or("a decision that this version does not know; upgrade this node")?;
        Ok(Decided { community, changes, record: record.into_bytes(), now, done: None })
    }

    /// Adds it to what a group writes, as of this moment of the log.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn write(
        &mut self,
        numbers: &mut HashMap<CommunityId, u64>,
        store: &Store,
        group: &mut Group,
    ) -> Result<(), StoreError> {
        let below = self.community.index().next_number();
        for change in &mut self.changes {
            // What is below differs from node to node, as numbers do; what has come before does not.
            if let Change::Dismissal(_, Some(dismissal)) = change {
                dismissal.below = below;
            }
            change.write(self.community.id, group);
        }
        let number = audit::number(numbers, store, self.community.id)?;
        audit::put(self.community.id, number, &self.record, group);
        numbers.insert(self.community.id, number + 1);
        Ok(())
    }

    /// What is durable holds from now on. Whether settings are among it.
    pub(crate) fn take_effect(self) -> bool {
        let Decided { community, changes, now, done, .. } = self;
        let is_about_settings = changes.iter().any(|change| matches!(change, Change::Setting(..)));
        take_effect(&community, changes, now);
        let _ = done.map(|done| done.send(Ok(())));
        is_about_settings
    }
}
