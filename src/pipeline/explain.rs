//! Explains an event by what a community holds at this moment: `plaza explain` and the tests that hold it against
//! live answers come through here. In: an event, who would send it. Out: what the rules say. Changes nothing.

use super::bodies::{Bodies, BodyError};
use super::relate::relate;
use crate::community::{Community, Rules};
use crate::event::Event;
use crate::policy::{Case, Explanation};
use crate::rule::{Context, Related};

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
        Some(bodies) => relate(community, rules, event, context, bodies, |_| {})?,
        None => Related::default(),
    };
    let stored = bodies.map(|_| (&facts, &related));
    Ok(crate::policy::explain(&Case { event, is_signed, stored }, context))
}
