//! The reconciliations of one connection (NIP-77): which are open, and since when they rest. In: NEG-OPEN, NEG-MSG. Out:
//! exchanges for the readers, and refusals. Never computes anything.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use crate::filter::Filter;
use crate::memory::{self, Charge};
use crate::message;
use crate::nips::{nip50, nip77};
use crate::pipeline::reader::Want;
use crate::pipeline::reconcile::{Exchange, Reconciliation};
use crate::rule::Refusal;

/// Those that are open. Most connections have none.
#[derive(Debug, Default)]
pub(super) struct Reconciliations(Vec<(Arc<Reconciliation>, Instant)>);

impl Reconciliations {
    /// How many are open, those that the relay ended meanwhile not among them.
    pub(super) fn open(&mut self) -> usize {
        self.0.retain(|(one, _)| !one.query.is_closed());
        self.0.len()
    }

    /// Begins one.
    pub(super) fn add(&mut self, name: String, filter: Filter, charge: Charge) -> Arc<Reconciliation> {
        let one = Arc::new(Reconciliation::new(name, filter, charge));
        self.0.push((Arc::clone(&one), Instant::now()));
        one
    }

    /// An open one, which from now on has rested for no time.
    pub(super) fn touch(&mut self, name: &str) -> Option<Arc<Reconciliation>> {
        let (one, touched_at) =
            self.0.iter_mut().find(|(one, _)| &*one.query.id == name && !one.query.is_closed())?;
        *touched_at = Instant::now();
        Some(Arc::clone(one))
    }

    /// Ends one, if it is open.
    pub(super) fn close(&mut self, name: &str) {
        self.end(|one, _| &*one.query.id == name);
    }

    /// Ends those that have rested for so long; returns their names.
    pub(super) fn end_rested(&mut self, idle: Duration) -> Vec<Box<str>> {
        let now = Instant::now();
        self.end(|_, touched_at| now.duration_since(touched_at) >= idle)
    }

    /// Ends all.
    pub(super) fn end_all(&mut self) {
        self.end(|_, _| true);
    }

    fn end(&mut self, is_over: impl Fn(&Reconciliation, Instant) -> bool) -> Vec<Box<str>> {
        let ended = self.0.extract_if(.., |(one, touched_at)| is_over(one, *touched_at));
        let open = ended.filter(|(one, _)| !one.query.is_closed());
        open.inspect(|(one, _)| one.query.close()).map(|(one, _)| one.query.id.clone()).collect()
    }
}

impl Session {
    /// Begins a reconciliation (NIP-77), in place of the one of its name.
    pub(super) fn reconcile(&mut self, name: String, filter: Filter, message: Vec<u8>) {
        self.reconciliations.close(&name);
        let mut filters = [filter];
        let open = self.reconciliations.open();
        let admitted = nip77::admit(&self.community.settings().nip77, open)
            .and_then(|()| match filters[0].search {
                Some(_) => Err(nip50::not_here()),
                None => Ok(()),
            })
            .and_then(|()| self.admit_reading(&self.community.rules(), &name, &filters, Want::Events));
        if let Err(refusal) = admitted {
            return self.refuse_reconciliation(&name, &refusal);
        }
        self.community.read_places(&mut filters);
        let [filter] = filters;
        let bytes = memory::subscription_bytes(filter.memory_bytes());
        let Some(charge) = self.listener.outbox.charge(bytes) else {
            return self.refuse_reconciliation(&name, &memory::refusal());
        };
        let one = self.reconciliations.add(name, filter, charge);
        self.exchange(one, message, true);
    }

    /// Goes on with one. Whether its client may read is asked again each time.
    pub(super) fn go_on(&mut self, name: &str, message: Vec<u8>) {
        let Some(one) = self.reconciliations.touch(name) else {
            return self.refuse_reconciliation(name, &nip77::unknown());
        };
        if let Err(refusal) =
            self.admit_reading(&self.community.rules(), name, &one.query.filters, Want::Events)
        {
            return self.refuse_reconciliation(name, &refusal);
        }
        self.exchange(one, message, false);
    }

    fn exchange(&mut self, one: Arc<Reconciliation>, message: Vec<u8>, begins: bool) {
        let name = one.query.id.clone();
        let (community, listener) = (Arc::clone(&self.community), Arc::clone(&self.listener));
        let charge = listener.outbox.charge(message.len()).ok_or_else(memory::refusal);
        let handed = charge.and_then(|charge| {
            let exchange = Exchange::new(community, listener, one, message, charge, begins);
            self.shared.pipeline.readers.exchange(exchange)
        });
        if let Err(refusal) = handed {
            self.refuse_reconciliation(&name, &refusal);
        }
    }

    /// Refuses a message of a reconciliation, which ends with that.
    pub(super) fn refuse_reconciliation(&mut self, name: &str, refusal: &Refusal) {
        self.community.traffic.requests_refused.add(1);
        self.reconciliations.close(name);
        self.say(message::neg_err(name, refusal, None));
    }

    /// Ends reconciliations whose client says nothing more.
    pub(super) fn end_rested(&mut self) {
        let seconds = self.community.settings().nip77.idle_seconds_max;
        for name in self.reconciliations.end_rested(Duration::from_secs(seconds)) {
            self.say(message::neg_err(&name, &nip77::rested(seconds), None));
        }
    }
}
