//! What waits for a moderator: events and authors that stored reports (NIP-56) name, and events of who is on lists of
//! other relays, of which nobody has decided yet. In: a community. Out: what is reported, by whom, why, newest first.
//! Decides nothing.

use std::collections::HashMap;

use crate::community::{Community, Rules};
use crate::config::Effect;
use crate::event::{Event, Id, Kind, PublicKey};
use crate::filter::Filter;
use crate::index::{Progress, Scan};
use crate::nips::nip56;
use crate::pipeline::bodies::{Bodies, BodyError};
use crate::policy::shared_lists::touch;
use crate::rule::hidden::Target;
use crate::rule::{Arrived, RelayNames};

/// Reports that are looked at, newest first.
const REPORTS_MAX: usize = 2_000;

/// People on lists of other relays whose stored events are looked at, and how many of these, newest first.
const FLAGGED_PEOPLE_MAX: usize = 1_000;
const FLAGGED_EVENTS_MAX: usize = 200;

/// Index entries that are looked at before the writer may have the index again.
const SLICE_ENTRIES: u64 = 4_096;

/// One report.
pub(super) struct Report {
    pub(super) by: PublicKey,
    pub(super) at: u64,
    /// The type that it states, such as `spam`.
    pub(super) kind: String,
    pub(super) text: String,
}

/// What is reported.
pub(super) struct Reported {
    pub(super) target: Target,
    /// The event, where the report is about one.
    pub(super) event: Option<Event>,
    /// Who reported it, newest first.
    pub(super) reports: Vec<Report>,
}

/// The newest stored events of a filter, up to a number.
pub(super) fn newest(
    community: &Community,
    bodies: &Bodies,
    filter: &Filter,
    most: usize,
) -> Result<Vec<Arrived>, BodyError> {
    let as_of = community.index().next_number();
    let mut scan = Scan::new(filter, as_of);
    let mut locations = Vec::new();
    loop {
        let progress = scan.run(
            &community.index(),
            SLICE_ENTRIES,
            |head| !head.vanished,
            |found, _| {
                locations.push(found.location);
                locations.len() < most
            },
        );
        if progress != Progress::Going {
            break;
        }
    }
    let events = locations.into_iter().map(|location| {
        let event = bodies.event(community.id, location)?;
        Ok(event.map(|event| Arrived { event, number: location.number }))
    });
    events.filter_map(Result::transpose).collect()
}

/// A stored event by its id, if it has not vanished.
pub(super) fn event(community: &Community, bodies: &Bodies, id: Id) -> Result<Option<Event>, BodyError> {
    let filter = Filter { ids: Some(vec![id]), ..Filter::default() };
    Ok(newest(community, bodies, &filter, 1)?.pop().map(|found| found.event))
}

/// Everything that waits.
pub(super) fn waiting(community: &Community, bodies: &Bodies, now: u64) -> Result<Vec<Reported>, BodyError> {
    let rules = community.rules();
    let moderation = &rules.known.moderation;
    let filter = Filter { kinds: Some(vec![Kind::REPORT]), ..Filter::default() };
    let mut all: Vec<Reported> = Vec::new();
    let mut places: HashMap<Target, usize> = HashMap::new();
    for Arrived { event: report, number } in newest(community, bodies, &filter, REPORTS_MAX)? {
        for target in nip56::reported(&report, &[]) {
            let is_decided = match &target {
                Target::Event(id) => moderation.event(id).is_some(),
                Target::Author(key) => moderation.author(key).is_some() || moderation.dismisses(key, number),
            };
            if is_decided {
                continue;
            }
            let place = match places.get(&target) {
                Some(place) => *place,
                None => {
                    let reported = match &target {
                        Target::Event(id) => event(community, bodies, *id)?,
                        Target::Author(_) => None,
                    };
                    let is_gone = matches!(target, Target::Event(_)) && reported.is_none();
                    let is_banned =
                        reported.as_ref().is_some_and(|event| moderation.bans(&event.id, &event.pubkey));
                    if is_gone || is_banned {
                        continue;
                    }
                    all.push(Reported { target, event: reported, reports: Vec::new() });
                    places.insert(target, all.len() - 1);
                    all.len() - 1
                }
            };
            let reports = &mut all[place].reports;
            // One person reports once, however often they say so.
            if !reports.iter().any(|other| other.by == report.pubkey) {
                reports.push(read(&report));
            }
        }
    }
    flagged(community, bodies, &rules, now, &mut all, &mut places)?;
    Ok(all)
}

/// Adds what lists of other relays put before the moderators: what they touched lately, and what is stored of people
/// who are on them.
fn flagged(
    community: &Community,
    bodies: &Bodies,
    rules: &Rules,
    now: u64,
    all: &mut Vec<Reported>,
    places: &mut HashMap<Target, usize>,
) -> Result<(), BodyError> {
    let relay = RelayNames::default();
    let context = rules.context(now, &[], &relay);
    let mut found: Vec<Event> = Vec::new();
    for (_, touched) in community.flagged() {
        let id = Id::from_hex(&touched.id).filter(|id| !places.contains_key(&Target::Event(*id)));
        found.extend(id.map(|id| event(community, bodies, id)).transpose()?.flatten());
    }
    let people = rules.known.shared.people(Effect::Flag, now).take(FLAGGED_PEOPLE_MAX);
    let authors: Vec<PublicKey> = people.copied().collect();
    if !authors.is_empty() {
        let filter = Filter { authors: Some(authors), ..Filter::default() };
        let newest = newest(community, bodies, &filter, FLAGGED_EVENTS_MAX)?;
        found.extend(newest.into_iter().map(|found| found.event));
    }
    for event in found {
        let target = Target::Event(event.id);
        // What it was touched by may be no more.
        let Some(touch) = touch(&event, &context).filter(|touch| touch.found.list.on == Effect::Flag) else {
            continue;
        };
        let moderation = &rules.known.moderation;
        let is_decided = moderation.event(&event.id).is_some() || moderation.bans(&event.id, &event.pubkey);
        let is_private = rules.settings.nip17.private_kinds.contains(&event.kind.0);
        if is_decided || is_private || places.contains_key(&target) {
            continue;
        }
        let report = Report {
            by: touch.found.list.key,
            at: touch.found.why.at,
            kind: "listed".to_owned(),
            text: touch.sentence(),
        };
        places.insert(target, all.len());
        all.push(Reported { target, event: Some(event), reports: vec![report] });
    }
    Ok(())
}

fn read(report: &Event) -> Report {
    let kind = report.tags.iter().filter(|tag| tag.name() == "e" || tag.name() == "p");
    let kind = kind.filter_map(|tag| tag.get(2)).find(|kind| !kind.is_empty() && !kind.contains("://"));
    Report {
        by: report.pubkey,
        at: report.created_at,
        kind: kind.unwrap_or("other").chars().take(40).collect(),
        text: report.content.chars().take(1_000).collect(),
    }
}
