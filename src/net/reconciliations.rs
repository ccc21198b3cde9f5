//! The reconciliations of one connection (NIP-77): which are open, and since when they rest. In: names. Out: handles.
//! Never computes anything: the pipeline's readers do.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::filter::Filter;
use crate::memory::Charge;
use crate::pipeline::reconcile::Reconciliation;

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
