//! The record of what was done by those who manage a community: numbered entries in the store, written with what they
//! record. In: calls that changed something. Out: entries, newest first. Never changed; the oldest go when there are
//! more than are kept.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::Denied;
use crate::community::moderation::AUDIT;
use crate::store::{CommunityId, Group, Store, StoreError};

/// Entries that are kept of each community.
const ENTRIES_KEPT: u64 = 100_000;

/// One thing that was done.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    /// When, in seconds since 1970.
    pub(super) at: u64,
    /// Whose key, in hex.
    pub(super) by: String,
    /// The method.
    pub(super) method: &'a str,
    /// What it was about.
    pub(super) about: Value,
}

fn failed(error: &StoreError) -> Denied {
    tracing::error!("cannot read the record of what was done: {error}");
    Denied::Failed("the relay could not read its record; its operator is told".to_owned())
}

/// The number of a community's next entry.
pub(super) fn next(
    numbers: &mut HashMap<CommunityId, u64>,
    store: &Store,
    community: CommunityId,
) -> Result<u64, Denied> {
    number(numbers, store, community).map_err(|error| failed(&error))
}

/// The same for who answers nobody.
pub(super) fn number(
    numbers: &mut HashMap<CommunityId, u64>,
    store: &Store,
    community: CommunityId,
) -> Result<u64, StoreError> {
    if let Some(number) = numbers.get(&community) {
        return Ok(*number);
    }
    let mut number = 0;
    for entry in store.state(community, AUDIT) {
        let (key, _) = entry?;
        number = <[u8; 8]>::try_from(&*key).map_or(number, |key| u64::from_be_bytes(key) + 1);
    }
    numbers.insert(community, number);
    Ok(number)
}

/// Adds an entry to what a group writes.
pub(super) fn put(community: CommunityId, number: u64, json: &[u8], group: &mut Group) {
    group.put_state(community, AUDIT, &number.to_be_bytes(), json);
    if let Some(old) = number.checked_sub(ENTRIES_KEPT) {
        group.remove_state(community, AUDIT, &old.to_be_bytes());
    }
}

impl Entry<'_> {
    /// It as it is kept.
    pub(super) fn json(&self) -> Result<Vec<u8>, Denied> {
        serde_json::to_vec(self).map_err(|error| Denied::Failed(error.to_string()))
    }
}

/// Up to `count` entries below a number, newest first.
pub(super) fn read(
    store: &Store,
    community: CommunityId,
    below: u64,
    count: usize,
) -> Result<Vec<Value>, Denied> {
    let mut entries = Vec::new();
    for number in (0..below).rev().take(count) {
        let entry =
            store.state_entry(community, AUDIT, &number.to_be_bytes()).map_err(|error| failed(&error))?;
        let Some(mut entry) = entry.and_then(|json| serde_json::from_slice::<Value>(&json).ok()) else {
            break;
        };
        entry["number"] = json!(number);
        entries.push(entry);
    }
    Ok(entries)
}
