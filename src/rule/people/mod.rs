//! What a community learned of people from its stored events: whom they follow, how far they are from those whom
//! it trusts, and what their profiles claim. In: events, from the learner. Out: look-ups. Never reads a store;
//! nothing in it is a proof but of who signed what.

mod graph;
mod profiles;

use std::sync::Arc;

pub use graph::{Graph, GraphBuilder};
pub use profiles::{Profiles, ProfilesBuilder, nip05_domain};

use crate::config::Settings;
use crate::event::{Event, Kind, PublicKey};

/// What is known of people. The default knows nobody. Its parts are learned at different times.
#[derive(Debug, Clone, Default)]
pub struct People {
    /// Whom people follow.
    pub graph: Arc<Graph>,
    /// What their profiles claim.
    pub profiles: Arc<Profiles>,
}

impl People {
    /// What follow lists and profiles say, the newest of each author; where a bound of `[trust]` is reached, the
    /// first ones count.
    pub fn of<'e>(settings: &Settings, events: impl IntoIterator<Item = &'e Event>) -> People {
        let mut graph = GraphBuilder::new(settings);
        let mut profiles = ProfilesBuilder::new(settings);
        for event in events {
            match event.kind {
                Kind::FOLLOWS => graph.add(event),
                Kind::PROFILE => profiles.add(event),
                _ => {}
            }
        }
        People { graph: Arc::new(graph.finish()), profiles: Arc::new(profiles.finish()) }
    }

    /// Whether `who` follows `whom`.
    pub fn follows(&self, who: &PublicKey, whom: &PublicKey) -> bool {
        self.graph.follows(who, whom)
    }

    /// How far a key is from the nearest of `trust.roots`, as far as `trust.hops_max`; `None` beyond.
    pub fn hops(&self, key: &PublicKey) -> Option<u8> {
        self.graph.hops(key)
    }

    /// The domain of the NIP-05 name that an author's profile claims, in lower case. A claim, not a proof: who
    /// asks the domain over the network one day puts the answer into [`Profiles`], and rules need no change.
    pub fn nip05(&self, key: &PublicKey) -> Option<&str> {
        self.profiles.nip05(key)
    }

    /// Whether an author's profile refuses to be bridged to other networks.
    pub fn is_unbridged(&self, key: &PublicKey) -> bool {
        self.profiles.is_unbridged(key)
    }
}
