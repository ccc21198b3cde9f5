//! Places in filters (nips/geohash-filters.md): refuses those of no known form. In: filters as clients wrote
//! them. Out: a decision. `filter::places` reads the others afterwards.

use crate::filter::{Filter, places};
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Rule};

/// The rules in the order in which they are run.
pub(super) const RULES: &[Rule] = &[Rule {
    id: "geohash.filter",
    settings: &["geohash.prefix_filters"],
    sentence: |settings| {
        let sentence = "Filters may ask for what lies in a geohash cell, \"#g\": [\"u33d*\"], and for what lies in \
                        it or around it, \"#g\": [\"~u33d\"]; other values there have no star and no tilde.";
        settings.geohash.prefix_filters.then(|| sentence.to_owned())
    },
    check: Check::Query(forms),
}];

fn forms(filters: &[Filter], _: &Context<'_>) -> Decision {
    let Some(value) = filters.iter().find_map(places::unreadable) else { return Ok(()) };
    // Long values are not repeated whole.
    let shown: String = value.chars().take(2 * places::PREFIX_CHARS_MAX).collect();
    let sentence = format!(
        "{shown:?} is no place: write u33d* for all that begins with u33d, or ~u33d for it and the cells \
         around it, with 1 to {} of the characters 0-9 and b-z without i, l and o",
        places::PREFIX_CHARS_MAX
    );
    Err(Refusal::new(Prefix::Invalid, "geohash.filter", sentence))
}
