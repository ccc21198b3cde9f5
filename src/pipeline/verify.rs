//! The verify pool: checks ids and signatures on all cores, and prepares what the one writer needs, so
//! that the writer does as little as it can. In: submissions. Out: true events to the writer; refusals
//! to who sent them. Everybody has a turn. Threads overtake one another; the writer puts events back in order by
//! their turns.

use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::Sender;

use super::fair::Fair;
use super::room::Passages;
use super::writer::{Checked, WriterInput};
use super::{Outcome, Submission};
use crate::event::Checker;
use crate::policy::is_rate_exempt;
use crate::rate::Rates;
use crate::rule::{Refusal, RelayNames};
use crate::store::record;

/// Events that one thread checks before it hands them on: fewer wake-ups of the writer under load.
const BATCH_EVENTS_MAX: usize = 16;

pub(super) struct Verifier {
    pub(super) input: Arc<Fair<Submission>>,
    pub(super) output: Sender<WriterInput>,
    pub(super) passages: Arc<Passages>,
    pub(super) rates: Arc<Rates>,
}

impl Verifier {
    /// Works until nobody can submit any more.
    pub(super) fn run(self) {
        let mut checker = Checker::default();
        loop {
            self.passages.wait();
            let mut next = self.input.take();
            if next.is_none() {
                return;
            }
            let mut batch = Vec::new();
            while let Some((turn, submission)) = next {
                batch.push((turn, self.check(submission, &mut checker)));
                next = if batch.len() < BATCH_EVENTS_MAX { self.input.try_take() } else { None };
            }
            if self.output.send(WriterInput::Events(batch)).is_err() {
                return;
            }
        }
    }

    fn check(&self, submission: Submission, checker: &mut Checker) -> Option<Checked> {
        let Submission { community, event, reply, admitted_at, mut permits } = submission;
        permits.pass(self.passages.enter());
        let id = event.id;
        let checked = checker.check(event).map_err(Refusal::from).and_then(|(event, json)| {
            let rules = community.rules();
            if !is_rate_exempt(&event.pubkey, &rules.settings, &rules.known) {
                self.rates.author_event(&event.pubkey)?;
            }
            if let Some(now) = admitted_at {
                let relay = RelayNames::default();
                community.admit_verified(&rules, &event, &rules.context(now, &[], &relay))?;
                community.admit_bridged(&rules, &event)?;
            }
            Ok((event, json))
        });
        match checked {
            Ok((event, json)) => {
                let body = Bytes::from(json);
                let record = record::encode(&event);
                Some(Checked { community, event, body, record, reply, admitted_at, permits })
            }
            Err(refusal) => {
                let outcome = Outcome::Refused(refusal);
                outcome.count_in(&community.traffic);
                reply.send(&id, outcome);
                None
            }
        }
    }
}
