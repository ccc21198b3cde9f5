//! Follows members to where they write, `[outbox]` in relay.toml (docs/mirrors.md): looks at their relay lists again
//! and again, and says which relays are read for whom. In: members, stored relay lists, which relays cannot be
//! reached. Out: mirrors. What a stranger's list can cause is bounded: how many relays, which addresses, how much of each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::Mirrors;
use super::here::Here;
use super::link::MirrorStats;
use super::wire::Reach;
use crate::community::Community;
use crate::config::{Backfill, Direction, Filters, Mirror, Outbox};
use crate::event::{Event, PublicKey};
use crate::filter::Filter;
use crate::nips::nip65;
use crate::rule::RelayNames;
use crate::rule::moderation::Standing;

/// Authors of one filter: relays may refuse longer ones.
const AUTHORS_OF_FILTER: usize = 200;

/// Connections that failed on end before other relays of the same people are chosen.
const FAILURES_MAX: u64 = 3;

/// How long a relay that could not be reached is left out.
const DEAD_REST: Duration = Duration::from_secs(3_600);

/// Relays that are remembered as being out of reach; beyond it all are forgotten.
const DEAD_MAX: usize = 4_096;

/// How often a mirror of this mode compares what it has anew: lists change more often than what was missed.
const CATCH_UP_SECONDS: u64 = 3_600;

/// What a mirror is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// An operator wrote it.
    Configured,
    /// It looks for members' relay lists.
    Discover,
    /// It reads what members write.
    Outbox,
}

impl Role {
    /// As it is shown in place of a direction; `None`: the direction itself.
    pub(super) fn as_str(self) -> Option<&'static str> {
        match self {
            Role::Configured => None,
            Role::Discover => Some("discover"),
            Role::Outbox => Some("outbox"),
        }
    }
}

/// Looks again and again at whom a community follows where, until it is ended.
pub(super) async fn run(mirrors: Arc<Mirrors>, here: Arc<Here>) {
    let mut dead: HashMap<String, Instant> = HashMap::new();
    loop {
        let settings = here.community.settings().outbox.clone();
        let now = Instant::now();
        dead.retain(|_, until| now < *until);
        if dead.len() > DEAD_MAX {
            dead.clear();
        }
        for relay in mirrors.failed(&here.community, FAILURES_MAX) {
            dead.insert(relay, now + DEAD_REST);
        }
        let members = members_of(&here.community, settings.members_max as usize);
        // Reading lists from disk keeps other tasks of this thread from their turn.
        let turn = mirrors.room.turn.acquire().await;
        let lists = tokio::task::block_in_place(|| lists_of(&here, &members));
        drop(turn);
        let (discover, outbox) = mirrors_for(&here.community, &settings, &members, lists, &dead);
        mirrors.follow(&here.community, Role::Discover, discover, Reach::Anywhere);
        let reach = if settings.private_allowed { Reach::Anywhere } else { Reach::Public };
        mirrors.follow(&here.community, Role::Outbox, outbox, reach);
        sleep(Duration::from_secs(settings.look_seconds)).await;
    }
}

/// The members: of the settings, and by moderators' leave.
fn members_of(community: &Community, most: usize) -> BTreeSet<PublicKey> {
    let (settings, known) = (community.settings(), community.known());
    let decided = &known.moderation.authors;
    let is_banned =
        |key: &&PublicKey| decided.get(key).is_some_and(|ruling| ruling.standing == Standing::Banned);
    let allowed = decided.iter().filter(|(_, ruling)| ruling.standing == Standing::Allowed);
    let all: BTreeSet<PublicKey> = settings
        .authors
        .members
        .iter()
        .filter(|key| !is_banned(key))
        .chain(allowed.map(|(key, _)| key))
        .copied()
        .collect();
    if all.len() > most {
        tracing::warn!("{}: {} members, more than outbox.members_max", community.path(), all.len());
    }
    all.into_iter().take(most).collect()
}

/// Members' relays, as their stored lists have them.
fn lists_of(here: &Here, members: &BTreeSet<PublicKey>) -> BTreeMap<PublicKey, Vec<String>> {
    let filter = Filter {
        kinds: Some(vec![nip65::RELAY_LIST]),
        authors: Some(members.iter().copied().collect()),
        ..Filter::default()
    };
    // There is one of each.
    let Ok((found, _charge)) = here.gather(&filter, &[], members.len()) else { return BTreeMap::new() };
    let bodies = found.iter().filter_map(|(_, id)| here.body_of(id, &[]));
    let events = bodies.filter_map(|body| Event::from_json(&body).ok());
    events.map(|event| (event.pubkey, nip65::write_relays(&event))).collect()
}

/// The mirrors that look for lists, and those that read what members write.
fn mirrors_for(
    community: &Community,
    settings: &Outbox,
    members: &BTreeSet<PublicKey>,
    mut lists: BTreeMap<PublicKey, Vec<String>>,
    dead: &HashMap<String, Instant>,
) -> (Vec<Mirror>, Vec<Mirror>) {
    let mirror = |url: &str, authors: &BTreeSet<PublicKey>, kinds: &[u16]| {
        let settings = Mirror {
            community: community.path().to_owned(),
            url: url.to_owned(),
            direction: Direction::Down,
            filter: filters_of(authors, kinds)?,
            backfill: Backfill::Negentropy,
            catch_up_seconds: CATCH_UP_SECONDS,
            events_per_second: settings.events_per_second,
            ..Mirror::default()
        };
        Some(settings)
    };
    let discover = settings.discover.iter();
    let discover = discover.filter_map(|url| mirror(url, members, &[nip65::RELAY_LIST.0])).collect();
    let own = RelayNames::new(&community.settings().relay.urls, None, community.path());
    for relays in lists.values_mut() {
        relays.retain(|relay| {
            let may_be = settings.private_allowed || relay.starts_with("wss://");
            may_be && !own.include(relay) && !dead.contains_key(relay)
        });
    }
    let chosen = nip65::plan(&lists, settings.relays_per_member as usize, settings.relays_max as usize);
    let outbox = chosen.iter().filter_map(|(url, authors)| mirror(url, authors, &settings.kinds)).collect();
    (discover, outbox)
}

/// Filters for what some people write, none of which is long; `None` when there is nobody.
fn filters_of(authors: &BTreeSet<PublicKey>, kinds: &[u16]) -> Option<Filters> {
    let authors: Vec<String> = authors.iter().map(PublicKey::to_string).collect();
    let filters = authors.chunks(AUTHORS_OF_FILTER).map(|some| {
        let mut filter: Map<String, Value> = Map::new();
        filter.insert("authors".to_owned(), json!(some));
        if !kinds.is_empty() {
            filter.insert("kinds".to_owned(), json!(kinds));
        }
        filter
    });
    Filters::new(filters.collect()).ok()
}

/// How a mirror is called where several of one community may have the same relay.
pub(crate) fn name_of(mirror: &MirrorStats) -> String {
    match mirror.direction.as_str() {
        role @ ("discover" | "outbox") => format!("{role} {}", mirror.url),
        _ => mirror.url.clone(),
    }
}
