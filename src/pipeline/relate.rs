//! Gives rules that look at stored events what they ask for. In: an event, its community's rules. Out: the
//! events that they want, read from the store, or from the cache of bodies.

use super::bodies::{Bodies, BodyError};
use super::retention;
use crate::community::{Community, Rules};
use crate::event::Verified;
use crate::rule::{Arrived, Context, Related, WANT_ROUNDS_MAX, Want};

/// What the rules of a community want to know before they place an event, whose record has so many bytes. `settle` is called with each
/// want before the index is asked: what is gathered and bears on it must be committed first.
///
/// # Errors
/// When a stored event cannot be read.
pub(crate) fn relate(
    community: &Community,
    rules: &Rules,
    (event, record_bytes): (&Verified, usize),
    context: &Context<'_>,
    bodies: &Bodies,
    mut settle: impl FnMut(&Want),
) -> Result<Related, BodyError> {
    let mut related = Related::default();
    for _ in 0..WANT_ROUNDS_MAX {
        let wants = rules.policy.wants(event, &related, context);
        if wants.is_empty() {
            break;
        }
        for want in wants {
            settle(&want);
            if want == Want::Usage {
                let retention = &context.config.retention;
                related.add_usage(retention::usage(retention, &community.index(), event, record_bytes));
                continue;
            }
            if let Want::References { group, author, beginnings } = &want {
                related.add_references(community.index().references(group, author, beginnings));
                continue;
            }
            let locations = community.index().wanted(&want);
            let mut found = Vec::with_capacity(locations.len());
            for location in locations {
                if let Some(event) = bodies.event(community.id, location)? {
                    found.push(Arrived { event, number: location.number });
                }
            }
            related.add(want, found);
        }
    }
    Ok(related)
}
