//! The verify pool: checks ids and signatures on all cores, and prepares what the one writer needs, so
//! that the writer does as little as it can. In: submissions. Out: true events to the writer; refusals
//! to who sent them. Everybody has a turn. Threads overtake one another; the writer puts events back in order by
//! their turns.

use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::Sender;

use super::fair::Fair;
use super::log::Placing;
use super::room::Passages;
use super::stage::Stage;
use super::writer::{Checked, WriterInput};
use super::{Outcome, Reply, Submission};
use crate::event::Checker;
use crate::policy::is_rate_exempt;
use crate::rate::Rates;
use crate::rule::{Refusal, RelayNames};
use crate::store::record;

/// Events that one thread checks before it hands them on: fewer wake-ups of the writer under load.
const BATCH_EVENTS_MAX: usize = 16;

pub(super) struct Verifier {
    input: Arc<Fair<Submission>>,
    output: Sender<WriterInput>,
    passages: Arc<Passages>,
    rates: Arc<Rates>,
    checker: Checker,
    /// What was checked and not yet handed on, with its turns.
    checked: Vec<(u64, Option<Checked>)>,
}

impl Stage for Verifier {
    type Work = (u64, Submission);

    fn wait(&mut self) -> Option<Self::Work> {
        self.passages.wait();
        self.input.take()
    }

    fn look(&mut self) -> Option<Self::Work> {
        self.input.try_take()
    }

    fn begin(&mut self, first: Self::Work) {
        let mut next = Some(first);
        while let Some((turn, submission)) = next {
            let checked = self.check(submission);
            self.checked.push((turn, checked));
            next = if self.checked.len() < BATCH_EVENTS_MAX { self.look() } else { None };
        }
    }

    fn advance(&mut self) -> bool {
        if self.checked.is_empty() {
            return false;
        }
        // The writer ends only after this sender is gone.
        let _ = self.output.send(WriterInput::Events(std::mem::take(&mut self.checked)));
        true
    }
}

impl Verifier {
    pub(super) fn new(
        input: Arc<Fair<Submission>>,
        output: Sender<WriterInput>,
        passages: Arc<Passages>,
        rates: Arc<Rates>,
    ) -> Verifier {
        Verifier { input, output, passages, rates, checker: Checker::default(), checked: Vec::new() }
    }

    fn check(&mut self, submission: Submission) -> Option<Checked> {
        let Submission { community, event, reply, admitted_at, origin, mut permits } = submission;
        permits.pass(self.passages.enter());
        let id = event.id;
        let checked = self.checker.check(event).map_err(Refusal::from).and_then(|(event, json)| {
            let rules = community.rules();
            let is_free = matches!(reply, Reply::Feed(_));
            if !is_free && !is_rate_exempt(&event.pubkey, &rules.settings, &rules.known) {
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
                let placing = Placing::Here;
                Some(Checked { community, event, body, record, reply, admitted_at, origin, placing, permits })
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
