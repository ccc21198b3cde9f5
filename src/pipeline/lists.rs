//! What the writer does for lists that the relay publishes (docs/lists.md): says whom moderators have banned and which
//! domains the community blocks, where that is not stored as it is. In: what moderators decided, what blocklists say.
//! Out: sets for the group. Lists of other relays are no part of it, so nothing goes in circles.

use std::collections::HashMap;
use std::sync::Arc;

use super::gathering::Gathering;
use crate::community::{Community, Rules};
use crate::config::{ListKind, Mode, Reasons, Settings};
use crate::domain::public::Told;
use crate::event::{Event, Kind, Tags};
use crate::nips::nip51::sets::{self, Listed, Why};
use crate::rule::moderation::{Moderation, Standing};

/// What a reason begins with that is meant for everybody.
const PUBLIC: &str = "public:";

/// Bytes of an event beside the entries of its list.
const REST_BYTES: usize = 4 * 1024;

/// What of a ban's reason is published; `None`: the ban is not.
fn reason<'r>(reason: &'r str, settings: &Settings) -> Option<&'r str> {
    let head = reason.get(..PUBLIC.len());
    let public = head.filter(|head| head.eq_ignore_ascii_case(PUBLIC)).map(|_| reason[PUBLIC.len()..].trim());
    match settings.shared_lists.reasons {
        Reasons::Public => public,
        Reasons::All => Some(public.unwrap_or(reason)),
        Reasons::None => Some(""),
    }
}

/// Who is banned here, as far as it is told.
fn banned(moderation: &Moderation, settings: &Settings) -> Vec<(Listed, Why)> {
    let banned = moderation.authors.iter().filter(|(_, ruling)| ruling.standing == Standing::Banned);
    banned
        .filter_map(|(key, ruling)| {
            let reason = reason(&ruling.reason, settings)?;
            Some((Listed::Pubkey(*key), Why { reason: reason.into(), at: ruling.at }))
        })
        .collect()
}

/// Which domains are blocked; those that were on the list before keep their dates.
fn blocked(domains: &[Told], settings: &Settings, before: Option<&Event>, now: u64) -> Vec<(Listed, Why)> {
    let before = before.and_then(|event| sets::read(ListKind::Domains, event, usize::MAX).ok());
    let before: HashMap<Listed, Why> = before.map(|set| set.entries).unwrap_or_default();
    let entry = |(name, comment): &Told| {
        let listed = Listed::Domain(sets::domain(name)?);
        let reason = if settings.shared_lists.reasons == Reasons::None { "" } else { comment };
        let at = before.get(&listed).map_or(now, |why| why.at);
        Some((listed, Why { reason: reason.into(), at }))
    };
    let counts = |(name, _): &&Told| !settings.blocklist.domains_allowed.covers(name);
    domains.iter().filter(counts).filter_map(entry).collect()
}

/// What is said at an address of the relay's own: a list, or nothing where none is published. The outer `None`: it is
/// not known yet what is on it.
fn said(
    community: &Community,
    rules: &Rules,
    kind: ListKind,
    before: Option<&Event>,
    now: u64,
) -> Option<Option<Tags>> {
    let settings = &rules.settings;
    if !settings.shared_lists.publish.contains(&kind) {
        return Some(None);
    }
    let name = &settings.relay.name;
    let (entries, texts) = match kind {
        ListKind::Pubkeys => (
            banned(&rules.known.moderation, settings),
            [format!("Banned at {name}"), format!("People whose events are not taken at {name}.")],
        ),
        // What is only on trial is not blocked.
        ListKind::Domains if settings.blocklist.mode == Mode::Shadow => return Some(None),
        ListKind::Domains => (
            blocked(&community.own_domains()?, settings, before, now),
            [format!("Blocked at {name}"), format!("Domains from which nothing is taken at {name}.")],
        ),
    };
    let bytes_max = settings.limits.message_bytes_max.saturating_sub(REST_BYTES);
    Some(Some(sets::tags(kind, [&texts[0], &texts[1]], &entries, bytes_max)))
}

impl Gathering {
    /// Says what is on the lists that the relay publishes, where that is not stored as it is, and takes back those that
    /// it publishes no more. `read` reads what is at an address of the relay's own.
    pub(super) fn refresh_lists(
        &mut self,
        community: &Arc<Community>,
        now: u64,
        read: impl Fn(Kind, &str) -> Option<Event>,
    ) {
        let rules = community.rules();
        for kind in ListKind::ALL {
            let before = read(sets::KIND, kind.identifier());
            let Some(said) = said(community, &rules, kind, before.as_ref(), now) else { continue };
            if said.as_ref() == before.as_ref().map(|event| &event.tags) {
                continue;
            }
            if said.as_ref().is_some_and(|tags| tags.values("left_out").next().is_some()) {
                tracing::warn!(
                    "{}: the list {} is longer than limits.message_bytes_max: its oldest entries are left out",
                    community.path(),
                    kind.identifier()
                );
            }
            self.tell(community, (sets::KIND, kind.identifier()), said.map(|tags| (tags, "")), now);
        }
    }
}
