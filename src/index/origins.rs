//! Where bridged events come from (NIP-48), for the few that were bridged: their proxy tags are no indexed
//! tags, and rules of reading look at no body. In: tags and ordinals. Out: origins. Never reads a list.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::sync::Arc;

use super::bytes::{Sink, Source, check};
use super::snapshot::SnapshotError;
use crate::domain::proxy::{self, Origin, Protocol};
use crate::event::Tags;

/// The origins of stored events. Events from one place share one entry.
#[derive(Debug, Default)]
pub(super) struct Origins {
    by_ordinal: HashMap<u32, Arc<[Origin<'static>]>>,
    known: HashSet<Arc<[Origin<'static>]>>,
}

impl Origins {
    /// Keeps where an event comes from; returns whether it was bridged at all.
    pub(super) fn insert(&mut self, ordinal: u32, tags: &Tags) -> bool {
        let mut origins: Vec<Origin<'static>> = proxy::origins(tags).map(Origin::into_owned).collect();
        if origins.is_empty() {
            return false;
        }
        origins.sort_unstable();
        origins.dedup();
        let shared = self.known.get(origins.as_slice()).cloned().unwrap_or_else(|| {
            let shared: Arc<[Origin<'static>]> = origins.into();
            self.known.insert(Arc::clone(&shared));
            shared
        });
        self.by_ordinal.insert(ordinal, shared);
        true
    }

    /// Forgets an event, and its origin with the last event from there.
    pub(super) fn remove(&mut self, ordinal: u32) {
        let Some(shared) = self.by_ordinal.remove(&ordinal) else { return };
        // One is the set's, one is at hand.
        if Arc::strong_count(&shared) == 2 {
            self.known.remove(&shared);
        }
    }

    /// Every bridged event, and where it comes from.
    pub(super) fn each(&self) -> impl Iterator<Item = (u32, &[Origin<'static>])> {
        self.by_ordinal.iter().map(|(&ordinal, origins)| (ordinal, &**origins))
    }

    pub(super) fn write<W: Write>(&self, sink: &mut Sink<'_, W>) -> io::Result<()> {
        let numbers: HashMap<&Arc<[Origin<'static>]>, u32> = self.known.iter().zip(0..).collect();
        sink.number(self.known.len() as u64)?;
        for origins in &self.known {
            sink.number(origins.len() as u64)?;
            for origin in origins.iter() {
                sink.array(origin.protocol.as_str().as_bytes())?;
                sink.number(u64::from(origin.domain.is_some()))?;
                sink.array(origin.domain.as_deref().unwrap_or("").as_bytes())?;
            }
        }
        let (ordinals, origins): (Vec<u32>, Vec<u32>) =
            self.by_ordinal.iter().map(|(&ordinal, origins)| (ordinal, numbers[origins])).unzip();
        sink.array(&ordinals)?;
        sink.array(&origins)
    }

    pub(super) fn read<R: Read>(source: &mut Source<'_, R>) -> Result<Self, SnapshotError> {
        let mut known: Vec<Arc<[Origin<'static>]>> = Vec::new();
        for _ in 0..source.number()? {
            let mut origins = Vec::new();
            for _ in 0..source.number()? {
                let protocol = Protocol::from_name(&read_text(source)?);
                let has_domain = source.number()? != 0;
                let domain = read_text(source)?;
                origins.push(Origin { protocol, domain: has_domain.then_some(domain.into()) });
            }
            known.push(origins.into());
        }
        let pairs = source.pairs::<u32, u32>()?;
        check(pairs.iter().all(|&(_, origins)| (origins as usize) < known.len()), "an origin")?;
        let by_ordinal =
            pairs.into_iter().map(|(ordinal, origins)| (ordinal, Arc::clone(&known[origins as usize])));
        Ok(Origins { by_ordinal: by_ordinal.collect(), known: known.into_iter().collect() })
    }

    /// Where a stored event comes from; empty when it was not bridged.
    pub(super) fn of(&self, ordinal: u32) -> &[Origin<'static>] {
        self.by_ordinal.get(&ordinal).map_or(&[], |origins| origins)
    }
}

fn read_text<R: Read>(source: &mut Source<'_, R>) -> Result<String, SnapshotError> {
    String::from_utf8(source.array()?).map_err(|_| SnapshotError::Damaged("a name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_shared_and_given_back() {
        let tags =
            |urls: &[&str]| -> Tags { urls.iter().map(|url| vec!["proxy", *url, "activitypub"]).collect() };
        let mut origins = Origins::default();
        assert!(!origins.insert(1, &tags(&[])));
        assert!(!origins.insert(2, &[["t", "https://a.example/1"]].into_iter().collect()));
        assert!(origins.insert(3, &tags(&["https://a.example/1"])));
        assert!(origins.insert(4, &tags(&["https://A.example/2", "https://a.example/3"])));
        assert!(origins.insert(5, &tags(&["https://b.example/1", "https://a.example/1"])));
        let domains = |origins: &Origins, ordinal: u32| -> Vec<String> {
            let of = origins.of(ordinal).iter();
            of.filter_map(|origin| origin.domain.as_deref().map(str::to_owned)).collect()
        };
        assert!(origins.of(1).is_empty() && origins.of(2).is_empty());
        assert_eq!(origins.of(3)[0].protocol, Protocol::ActivityPub);
        assert_eq!(domains(&origins, 3), ["a.example"]);
        assert_eq!(domains(&origins, 4), ["a.example"]);
        assert_eq!(domains(&origins, 5), ["a.example", "b.example"]);
        assert_eq!(origins.known.len(), 2, "3 and 4 share theirs");
        for (removed, left) in [(3, 2), (1, 2), (4, 1), (4, 1), (5, 0)] {
            origins.remove(removed);
            assert_eq!((origins.known.len(), origins.of(removed).len()), (left, 0), "without {removed}");
        }
    }
}
