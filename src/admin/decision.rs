//! What a moderator decided, on its way through the log of a cluster: it is made on one node and takes effect on all,
//! in the log's order. In: changes, acts in groups and the words of the record. Out: what a group writes, and what holds
//! from then on.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{audit, take_effect};
use crate::community::{Change, Community};
use crate::event::{Kind, Tags};
use crate::pipeline::Act;
use crate::store::{CommunityId, Group, StateTable, Store, StoreError};

/// Told whether it is durable here.
pub(crate) type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Changes, what the relay itself does in groups, and the entry of the record.
pub(crate) struct Decided {
    pub(crate) community: Arc<Community>,
    pub(crate) changes: Vec<Change>,
    pub(crate) acts: Vec<Act>,
    /// The entry, as JSON; its number is given in the order of the log. Empty for what is not recorded.
    pub(crate) record: Vec<u8>,
    pub(crate) now: u64,
    pub(crate) done: Option<Done>,
}

/// The same in an entry of the log.
#[derive(Serialize, Deserialize)]
struct Written {
    community: String,
    now: u64,
    record: String,
    /// Each a table of the state, a key in hex, and a value in hex unless it is taken back.
    changes: Vec<(u8, String, Option<String>)>,
    /// Each a kind, tags and a text.
    acts: Vec<(u16, Vec<Vec<String>>, String)>,
}

impl Decided {
    /// Says that it does not count.
    pub(crate) fn refuse(self, store: &Path) {
        self.fail(StoreError::Stopped { path: store.to_owned() });
    }

    /// Says that it cannot be kept.
    pub(crate) fn fail(self, error: StoreError) {
        if let Some(done) = self.done {
            done(Err(error));
        }
    }

    /// The bytes of its entry.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let changes = self.changes.iter().map(|change| {
            let (table, key, value) = change.entry();
            (table.0, hex::encode(key), value.map(hex::encode))
        });
        let texts = |act: &Act| act.tags.iter().map(|tag| tag.iter().map(str::to_owned).collect()).collect();
        let acts = self.acts.iter().map(|act| (act.kind.0, texts(act), act.content.clone()));
        let written = Written {
            community: self.community.path().to_owned(),
            now: self.now,
            record: String::from_utf8_lossy(&self.record).into_owned(),
            changes: changes.collect(),
            acts: acts.collect(),
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
        let Written { community, now, record, changes, acts } = written;
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
        let acts = acts.into_iter().map(|(kind, texts, content)| {
            let mut tags = Tags::default();
            texts.iter().for_each(|tag| tags.push(tag.iter().map(String::as_str)));
            Act { kind: Kind(kind), tags, content }
        });
        let acts = acts.collect();
        Ok(Decided { community, changes, acts, record: record.into_bytes(), now, done: None })
    }

    /// Adds its entry of the record to what a group writes, as of this moment of the log.
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
        }
        if !self.record.is_empty() {
            let number = audit::number(numbers, store, self.community.id)?;
            audit::put(self.community.id, number, &self.record, group);
            numbers.insert(self.community.id, number + 1);
        }
        Ok(())
    }

    /// What is durable holds from now on. Whether settings are among it.
    pub(crate) fn take_effect(self) -> bool {
        let Decided { community, changes, now, done, .. } = self;
        let is_about_settings = changes.iter().any(|change| matches!(change, Change::Setting(..)));
        take_effect(&community, &changes, now);
        if let Some(done) = done {
            done(Ok(()));
        }
        is_about_settings
    }
}
