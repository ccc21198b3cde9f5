//! A pipeline without threads: each of its stages does its next piece of work when its caller says so, in whatever
//! order. In: which stage. Out: whether it had something to do. What is done is what threads do, to the letter.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::stage::{self, Stage as _};
use super::{Pipeline, Stages, StartError};
use crate::clock::Clock;
use crate::community::Communities;
use crate::config::Current;
use crate::event::Id;
use crate::store::{CommunityId, Store};

/// Groups that may wait to be matched with live filters: a writer that had to wait for room would wait for ever.
const FANOUT_GROUPS_MAX: usize = 1 << 16;

/// One of the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// One of those that check signatures, by number.
    Verifier(usize),
    /// The one that stores.
    Writer,
    /// The one that passes on.
    Fanout,
    /// One of those that answer queries, by number.
    Reader(usize),
}

/// An event that was passed on, and its number in the store, if it has one.
pub type PassedOn = (Id, Option<u64>);

/// The stages of a pipeline.
pub(crate) struct ByHand {
    stages: Stages,
    /// All that it has passed on in each community, in order.
    passed_on: BTreeMap<CommunityId, Vec<PassedOn>>,
}

impl ByHand {
    /// A pipeline that nothing moves but its caller.
    pub(crate) fn assemble(
        current: &Arc<Current>,
        store: Arc<Store>,
        communities: Arc<Communities>,
        clock: Clock,
    ) -> Result<(Pipeline, ByHand), StartError> {
        let (pipeline, stages) = Pipeline::assemble(current, store, communities, clock, FANOUT_GROUPS_MAX)?;
        Ok((pipeline, ByHand { stages, passed_on: BTreeMap::new() }))
    }

    /// All that there are.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let Stages { verifiers, readers, .. } = &self.stages;
        let verifiers = (0..verifiers.len()).map(Part::Verifier);
        verifiers.chain([Part::Writer, Part::Fanout]).chain((0..readers.len()).map(Part::Reader)).collect()
    }

    /// Has a stage do its next piece of work; false when it has none.
    pub(crate) fn step(&mut self, part: Part) -> bool {
        let Stages { verifiers, writer, fanout, readers, .. } = &mut self.stages;
        match part {
            Part::Verifier(number) => stage::step(&mut verifiers[number]),
            Part::Writer => stage::step(writer),
            Part::Fanout => {
                let Some(group) = fanout.look() else { return false };
                let events = group.events.iter().map(|live| (live.event.id, live.number));
                self.passed_on.entry(group.community.id).or_default().extend(events);
                fanout.begin(group);
                true
            }
            Part::Reader(number) => stage::step(&mut readers[number]),
        }
    }

    /// All events of a community that were passed on to whoever listens, in order.
    pub(crate) fn passed_on(&self, community: CommunityId) -> &[PassedOn] {
        self.passed_on.get(&community).map_or(&[], Vec::as_slice)
    }

    /// Does all that is left, when nothing more will come, and ends as threads do.
    pub(crate) fn end(mut self) {
        let parts = self.parts();
        while parts.iter().any(|part| self.step(*part)) {}
        let Stages { verifiers, writer, fanout, readers, .. } = self.stages;
        verifiers.into_iter().for_each(|stage| stage.end());
        writer.end();
        fanout.end();
        readers.into_iter().for_each(|stage| stage.end());
    }
}
