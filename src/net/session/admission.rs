//! Whether what somebody wants to read is answered: what it costs, the rules, and how many subscriptions one connection
//! may have. In: filters. Out: decisions.

use super::Session;
use crate::community::Rules;
use crate::filter::Filter;
use crate::pipeline::reader::Want;
use crate::rule::{Decision, Prefix, Refusal};

impl Session {
    /// Whether a query is answered.
    pub(super) fn admit_reading(
        &self,
        rules: &Rules,
        name: &str,
        filters: &[Filter],
        want: Want,
    ) -> Decision {
        let Session { shared, community, listener, .. } = self;
        // To look words up costs more than to look along a list.
        let searches = filters.iter().any(|filter| filter.search.is_some());
        let cost = if searches { rules.settings.search.request_cost } else { 1 };
        shared.pipeline.rates.address_requests(&listener.address, cost)?;
        let now = shared.pipeline.clock.now();
        listener.with_keys(|keys| {
            let context = rules.context(now, keys, &listener.relay);
            community.admit_query(rules, name, filters, &context)?;
            match want {
                Want::Events => Ok(()),
                Want::Count => community.admit_count(rules, filters, &context),
            }
        })
    }

    /// Whether a REQ or COUNT is answered, and whether there may be one more subscription.
    pub(super) fn admit_query(
        &mut self,
        rules: &Rules,
        id: &str,
        filters: &[Filter],
        want: Want,
    ) -> Decision {
        self.admit_reading(rules, id, filters, want)?;
        let most = rules.settings.limits.subscriptions_per_connection_max;
        if want != Want::Events || self.subscriptions.len() < most || self.position(id).is_some() {
            return Ok(());
        }
        // Those that the relay has closed meanwhile do not count.
        self.subscriptions.retain(|subscription| subscription.is_live());
        if self.subscriptions.len() < most {
            return Ok(());
        }
        let sentence = format!("{most} subscriptions are open, as many as one connection may have");
        Err(Refusal::new(Prefix::Blocked, "limits.subscriptions_per_connection_max", sentence))
    }
}
