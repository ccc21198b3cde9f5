//! What the tables of the market's rules share: a small store that answers what rules want, and events whose
//! ids are true and whose signatures nobody asks for. Only in tests.

use crate::config::Settings;
use crate::event::{Event, Id, Kind, PublicKey, Signature};
use crate::rule::{Arrived, Context, Decision, Known, Prefix, Related, RelayNames, WANT_ROUNDS_MAX, Want};

pub(crate) const NOW: u64 = 1_790_000_000;
pub(crate) const MERCHANT: u8 = 1;
pub(crate) const STRANGER: u8 = 9;
/// An event by an author of this number.
pub(crate) fn event(author: u8, kind: u16, created_at: u64, tags: &[&[&str]], content: &str) -> Event {
    let mut event = Event {
        id: Id([0; 32]),
        pubkey: PublicKey([author; 32]),
        created_at,
        kind: Kind(kind),
        tags: tags.iter().collect(),
        content: content.to_owned(),
        sig: Signature([0; 64]),
    };
    event.id = event.hash(&mut Vec::new());
    event
}

/// An auction with these terms in its content.
pub(crate) fn auction(author: u8, terms: &str) -> Event {
    let content = format!(r#"{{"id":"clock","stall_id":"s","name":"A clock",{terms}}}"#);
    event(author, 30_020, NOW - 500, &[&["d", "clock"]], &content)
}

/// What is found of these events, stored in this order.
fn find(want: &Want, stored: &[Event]) -> Vec<Arrived> {
    let most = match want {
        Want::Id(_) | Want::Address(_) => 1,
        Want::Usage | Want::References { .. } => 0,
        Want::Naming { most, .. } | Want::ByAuthor { most, .. } => *most,
    };
    let all = stored.iter().enumerate().rev().filter(|(_, event)| holds(want, event)).take(most);
    all.map(|(number, event)| Arrived { event: event.clone(), number: number as u64 }).collect()
}

fn holds(want: &Want, event: &Event) -> bool {
    match want {
        Want::Usage | Want::References { .. } => false,
        Want::Id(id) => event.id == *id,
        Want::Address(address) => event.address().as_ref() == Some(address),
        Want::Naming { kind, letter, value, .. } => {
            event.kind == *kind && event.tags.indexed().any(|tag| tag == (*letter, value))
        }
        Want::ByAuthor { author, kind, .. } => event.kind == *kind && event.pubkey == *author,
    }
}

/// Runs something at a time, in a community with these settings.
pub(crate) fn with_context<T>(now: u64, settings: &Settings, run: impl FnOnce(&Context<'_>) -> T) -> T {
    run(&Context {
        now,
        config: settings,
        keys: &[],
        relay: &RelayNames::default(),
        known: &Known::default(),
        asked: false,
    })
}

/// Runs something now, in a community with these settings.
pub(crate) fn with_settings<T>(settings: &Settings, run: impl FnOnce(&Context<'_>) -> T) -> T {
    with_context(NOW, settings, run)
}

/// How a rule says what it wants.
pub(crate) type Wants = fn(&Event, &Related, &Context<'_>) -> Vec<Want>;

/// What a rule is given in the end, as the writer looks it up.
pub(crate) fn related(event: &Event, stored: &[Event], context: &Context<'_>, wants: Wants) -> Related {
    let mut related = Related::default();
    for _ in 0..WANT_ROUNDS_MAX {
        let wanted: Vec<Want> =
            wants(event, &related, context).into_iter().filter(|want| !related.has_asked(want)).collect();
        for want in wanted {
            let found = find(&want, stored);
            related.add(want, found);
        }
    }
    related
}

/// What a rule wants in the end.
pub(crate) fn looked_up(event: &Event, stored: &[Event], now: u64, wants: Wants) -> Vec<Want> {
    with_context(now, &Settings::default(), |context| {
        wants(event, &related(event, stored, context, wants), context)
    })
}

/// What a rule decides when these events are stored.
pub(crate) fn decide(
    event: &Event,
    stored: &[Event],
    now: u64,
    wants: Wants,
    check: fn(&Event, &Related, &Context<'_>) -> Decision,
) -> Decision {
    with_context(now, &Settings::default(), |context| {
        check(event, &related(event, stored, context, wants), context)
    })
}

/// A refusal without its rule.
pub(crate) fn refusal(decision: Decision) -> Option<(Prefix, String)> {
    decision.err().map(|refusal| (refusal.prefix, refusal.sentence.into_owned()))
}
