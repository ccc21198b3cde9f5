//! The group that the writer is gathering: events in the order in which they were submitted, and what of them bears on
//! later ones. In: events whose turn it is. Out: what is to be made safe. Commits nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::groups::Pending;
use super::log::Placing;
use super::writer::Checked;
use super::{Permits, Reply, retention};
use crate::community::Community;
use crate::config::{Retention, Settings};
use crate::event::{Id, Kind, KindClass, PublicKey, Verified};
use crate::index::Stored;
use crate::nips::nip40;
use crate::rule::{Load, Want};
use crate::store::{self, CommunityId, Location};

/// An event that will be stored with its group.
pub(super) struct Placed {
    pub(super) checked: Checked,
    /// How long its record is.
    pub(super) record_bytes: usize,
    /// Copies of it that came before it was safe: answered together.
    pub(super) copies: Vec<(Reply, Permits)>,
    pub(super) removes: Vec<Stored>,
    /// Since when it is held for a verdict, if it is to be.
    pub(super) held_since: Option<u64>,
}

/// The group that is being gathered, and what of it bears on later events.
#[derive(Default)]
pub(super) struct Gathering {
    pub(super) placed: Vec<Placed>,
    /// What it makes of communities' groups and members.
    pub(super) pending: Vec<Pending>,
    /// State that is written with it.
    pub(super) state: store::Group,
    /// The last entry of a cluster's log that is in it, or that changed nothing.
    pub(super) position: Option<u64>,
    /// By whose settings the relay says what it says.
    by: Placing,
    /// Events that came since there is any of it. Those that are refused or only passed on fill no group, and a flood
    /// of them must not keep others from becoming durable.
    pub(super) seen: usize,
    pub(super) bytes: usize,
    pub(super) ids: HashMap<(CommunityId, Id), usize>,
    addresses: HashSet<(CommunityId, String)>,
    /// Only of communities with rules that ask for stored events.
    kinds: HashSet<(CommunityId, Kind)>,
    removed: HashSet<(CommunityId, Location)>,
    /// Authors of deletion and vanish requests.
    requesters: HashSet<(CommunityId, PublicKey)>,
    has_wraps: bool,
}

impl Gathering {
    /// From here on the relay says what it says by these settings.
    pub(super) fn go_by(&mut self, placing: &Placing) {
        self.by = placing.clone();
    }

    /// Whether the relay says who the members are.
    pub(super) fn has_members(&self, community: &Community) -> bool {
        self.by.has_members(community)
    }

    /// The settings by which the relay says what it says.
    pub(super) fn settings(&self, community: &Community) -> Arc<Settings> {
        self.by.settings(community).unwrap_or_else(|| community.settings())
    }

    /// Whether an event's facts depend on what is gathered.
    pub(super) fn bears_on(&self, community: CommunityId, event: &Verified) -> bool {
        let author = (community, event.pubkey);
        let is_request = is_request(event.kind);
        self.requesters.contains(&author)
            || is_request && (self.has_wraps || self.has_of(author))
            || event.kind == Kind::GIFT_WRAP && !self.requesters.is_empty()
            || event.address().is_some_and(|address| self.addresses.contains(&(community, address)))
    }

    /// Whether what an author has in it decides whether there is room for their next event.
    pub(super) fn bears_on_author(&self, checked: &Checked, settings: &Retention) -> bool {
        let Checked { community, event, record, .. } = checked;
        let mut gathered = Load::default();
        for Placed { checked, record_bytes, .. } in &self.placed {
            if checked.community.id == community.id && checked.event.pubkey == event.pubkey {
                gathered.events += 1;
                gathered.bytes += *record_bytes as u64;
            }
        }
        retention::bears_on(settings, &community.index(), event, record.len(), gathered)
    }

    /// Whether an author has written any of it.
    fn has_of(&self, author: (CommunityId, PublicKey)) -> bool {
        self.placed
            .iter()
            .any(|Placed { checked, .. }| (checked.community.id, checked.event.pubkey) == author)
    }

    /// Whether what a rule wants to know depends on what is gathered.
    pub(super) fn bears_on_want(&self, community: CommunityId, want: &Want) -> bool {
        // What is about to be removed, by a request or by its next version, may be just what is wanted.
        let removes =
            !self.removed.is_empty() || self.requesters.iter().any(|(other, _)| *other == community);
        match want {
            // What of the author is gathered was settled before, where it may decide.
            Want::Usage => false,
            _ if removes => true,
            Want::Id(id) => self.ids.contains_key(&(community, *id)),
            Want::Address(address) => self.addresses.contains(&(community, address.clone())),
            Want::References { beginnings, .. } => self.ids.keys().any(|(of, id)| {
                let beginning = id.0.first_chunk::<4>();
                *of == community && beginning.is_some_and(|beginning| beginnings.contains(beginning))
            }),
            Want::Naming { kind, .. } | Want::ByAuthor { kind, .. } => {
                self.kinds.contains(&(community, *kind))
            }
        }
    }

    pub(super) fn add(&mut self, checked: Checked, removes: Vec<Stored>, held_since: Option<u64>) {
        let community = checked.community.id;
        let event = &checked.event;
        self.ids.insert((community, event.id), self.placed.len());
        if checked.placing.may_ask_the_store(&checked.community) {
            self.kinds.insert((community, event.kind));
        }
        self.addresses.extend(event.address().map(|address| (community, address)));
        if is_request(event.kind) {
            self.requesters.insert((community, event.pubkey));
        }
        self.has_wraps |= event.kind == Kind::GIFT_WRAP;
        let record_bytes = checked.record.len();
        self.bytes += record_bytes;
        // Two requests of one group may name the same wrap; it is removed once.
        let removes =
            removes.into_iter().filter(|stored| self.removed.insert((community, stored.location))).collect();
        self.placed.push(Placed { checked, record_bytes, copies: Vec::new(), removes, held_since });
    }
}

/// Whether an event will probably be removed one day: by its next version, or when it expires. Most articles
/// and listings stay as they are; what has replaced an earlier version will be replaced itself.
pub(super) fn will_go(event: &Verified, replaces: bool) -> bool {
    let has_next = match event.kind.class() {
        KindClass::Replaceable => true,
        KindClass::Addressable => replaces,
        KindClass::Regular | KindClass::Ephemeral => false,
    };
    has_next || nip40::expires_at(event).is_some()
}

pub(super) fn is_request(kind: Kind) -> bool {
    kind == Kind::DELETION || kind == Kind::VANISH
}
