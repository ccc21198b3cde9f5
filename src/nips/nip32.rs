//! NIP-32 labels (nips/32.md): those of trusted people that a community's settings name count as reports. In: a
//! kind 1985 event, the labels that count. Out: what it labels so. Never decides whose word counts.

use std::collections::BTreeMap;

use super::nip56::targets;
use crate::event::Event;
use crate::rule::hidden::Target;

/// The namespace of a label that names none.
const OWN_WORDS: &str = "ugc";

/// What a label event labels with one of these labels, by namespace; a namespace without labels means all of
/// its labels. A label's namespace must be named by an `L` tag too, but for `ugc`, which may go unsaid.
pub fn labelled(event: &Event, labels: &BTreeMap<String, Vec<String>>) -> Vec<Target> {
    let has_namespace = |namespace: &str| event.tags.values("L").any(|named| named == namespace);
    let counts = event.tags.iter().filter(|tag| tag.name() == "l").any(|tag| {
        let namespace = tag.get(2).unwrap_or(OWN_WORDS);
        let is_named = namespace == OWN_WORDS || has_namespace(namespace);
        let wanted = labels.get(namespace).filter(|_| is_named);
        wanted
            .zip(tag.value())
            .is_some_and(|(wanted, label)| wanted.is_empty() || wanted.iter().any(|one| one == label))
    });
    if counts { targets(event, |_| true, |_| true) } else { Vec::new() }
}
