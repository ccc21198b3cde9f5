//! Explains an event by what a community holds at this moment: `plaza explain` and the tests that hold it against
//! live answers come through here. In: an event, who would send it. Out: what the rules say. Changes nothing.

use super::bodies::{Bodies, BodyError};
use super::relate::relate;
use crate::community::{Community, Rules};
use crate::event::{Event, Verified};
use crate::policy::{Case, Explanation};
use crate::rule::{Context, Related};
use crate::store::record;

/// What a community's rules say of an event. A draft is not `is_signed`; without `bodies` there is no store, and
/// rules that look at stored events are not asked.
///
/// # Errors
/// When a stored event that bears on this one cannot be read.
pub fn explain(
    community: &Community,
    rules: &Rules,
    event: &Event,
    is_signed: bool,
    context: &Context<'_>,
    bodies: Option<&Bodies>,
) -> Result<Explanation, BodyError> {
    let facts = community.index().facts(event);
    let related = match bodies {
        Some(bodies) => {
            // What would be known if it were true; the rules say themselves whether it is.
            let assumed = Verified::assumed(event.clone());
            let record_bytes = record::encode(event).len();
            relate(community, rules, (&assumed, record_bytes), context, bodies, |_| {})?
        }
        None => Related::default(),
    };
    let stored = bodies.map(|_| (&facts, &related));
    Ok(crate::policy::explain(&Case { event, is_signed, stored }, context))
}
