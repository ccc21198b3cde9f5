//! How many records a community has, and a sum of their numbers, written with every group: sled goes on without
//! pages that its files have lost, and says nothing. In: numbers that come and go. Out: whether records that were
//! found are those that were stored.

use std::sync::PoisonError;

use super::{CommunityId, Store};
use crate::splitmix::SplitMix;

/// Records of one community: how many there are, and a sum that tells whether they are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// How many there are.
    pub records: u64,
    /// The sum of their mixed numbers.
    pub sum: u64,
}

impl Tally {
    /// Counts a record.
    pub fn add(&mut self, number: u64) {
        self.records = self.records.wrapping_add(1);
        self.sum = self.sum.wrapping_add(mixed(number));
    }

    /// Counts one that is gone.
    pub(super) fn remove(&mut self, number: u64) {
        self.records = self.records.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(mixed(number));
    }
}

/// A number whose bits are spread, so that sums of others do not meet by chance.
fn mixed(number: u64) -> u64 {
    SplitMix(number).next()
}

/// What the store knows of a community's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Numbering {
    /// The next one.
    pub(super) next: u64,
    /// Of what there is; `None` in stores that were made before records were counted.
    pub(super) tally: Option<Tally>,
}

impl Store {
    /// The communities that have records, as far as these were counted.
    pub fn communities_with_records(&self) -> Vec<CommunityId> {
        let known = self.numberings.read().unwrap_or_else(PoisonError::into_inner);
        let has_any = |numbering: &Numbering| numbering.tally.is_some_and(|tally| tally.records > 0);
        known.iter().filter(|(_, numbering)| has_any(numbering)).map(|(community, _)| *community).collect()
    }

    /// How many records a community must have, if they were counted since the store was made.
    pub fn tally(&self, community: CommunityId) -> Option<Tally> {
        self.numbering(community).tally
    }
}
