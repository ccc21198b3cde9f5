//! A community's rules as ordered tables of named pure functions, and the rules that no NIP owns. In: an
//! event or a head, and a [`Context`]. Out: a [`Decision`]. Never does I/O, reads a clock or keeps state.

mod access;
pub mod blocklist;
pub mod bridge;
mod explain;
mod followers;
mod geohash;
mod limits;
mod market;
mod moderation;
mod needs;
mod place;
mod places;
mod plugins;
mod quota;
mod review;
pub mod shared_lists;
mod trust;

pub use explain::{Case, Explanation, Step, Verdict, explain};
pub use followers::is_marked_for_followers;
pub use needs::Needs;
pub use place::{Facts, Placement, foresee, place, superseded};
pub use quota::excess;
pub(crate) use review::saw_held;
pub use trust::is_rate_exempt;

use crate::config::{AfterClosed, Mode, Settings};
use crate::event::{Event, Kind, Verified};
use crate::filter::Filter;
use crate::nips::{
    nip13, nip15, nip29, nip36, nip40, nip42, nip43, nip50, nip51, nip56, nip57, nip59, nip62, nip70, nip71,
    nip75, nip92, nip99,
};
use crate::rule::{Check, Context, Decision, Head, Refusal, Related, Rule, Want};

/// Every rule that there is, in the order in which they are run, cheap ones first.
const TABLES: &[&[Rule]] = &[
    limits::RULES,
    moderation::RULES,
    review::RULES,
    access::RULES,
    trust::RULES,
    nip51::RULES,
    nip56::RULES,
    nip42::RULES,
    nip40::RULES,
    geohash::RULES,
    nip13::RULES,
    nip50::RULES,
    nip62::RULES,
    nip70::RULES,
    nip71::RULES,
    nip92::RULES,
    nip36::RULES,
    nip59::RULES,
    followers::RULES,
    nip29::RULES,
    nip43::RULES,
    market::RULES,
    nip99::RULES,
    nip15::RULES,
    places::RULES,
    bridge::RULES,
    nip57::RULES,
    nip75::RULES,
    blocklist::RULES,
    shared_lists::RULES,
    plugins::RULES,
    quota::RULES,
];

/// Every rule that there is, in the order in which they are run.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    TABLES.iter().copied().flatten()
}

/// Whether a rule refuses under these settings, or only counts.
pub fn mode_of(rule: &Rule, settings: &Settings) -> Mode {
    // Late receipts are marked in the way in which shadow mode marks: counted, logged and taken.
    if rule.id == nip75::CLOSED && settings.zaps.after_closed == AfterClosed::Mark {
        return Mode::Shadow;
    }
    let section = rule.id.split('.').next().unwrap_or("");
    settings.mode(section)
}

/// A rule that asks for something under a community's settings.
struct Active<F> {
    run: F,
    is_shadow: bool,
}

type Admit = fn(&Event, &Context<'_>) -> Decision;
type AdmitVerified = fn(&Verified, &Context<'_>) -> Decision;
type AdmitQuery = fn(&[Filter], &Context<'_>) -> Decision;
type Visible = fn(&Head<'_>, &Context<'_>) -> bool;
type Hides = fn(Kind, &Context<'_>) -> bool;
type Wants = fn(&Event, &Related, &Context<'_>) -> Vec<Want>;
type AdmitPlaced = fn(&Verified, &Related, &Context<'_>) -> Decision;

/// The rules that ask for something under a community's settings, by when they run.
#[derive(Default)]
pub struct Policy {
    admit: Vec<Active<Admit>>,
    verified: Vec<Active<AdmitVerified>>,
    place: Vec<Active<(Wants, AdmitPlaced)>>,
    query: Vec<Active<AdmitQuery>>,
    count: Vec<Active<AdmitQuery>>,
    visible: Vec<(Visible, Hides)>,
    /// Those in shadow mode, with their ids: they hide nothing.
    visible_shadow: Vec<(&'static str, Visible)>,
}

/// Runs rules until one refuses; what rules in shadow mode say is handed to `shadowed`.
fn run<F: Copy>(
    rules: &[Active<F>],
    decide: impl Fn(F) -> Decision,
    shadowed: &mut dyn FnMut(&Refusal),
) -> Decision {
    for rule in rules {
        match decide(rule.run) {
            Err(refusal) if rule.is_shadow => shadowed(&refusal),
            decision => decision?,
        }
    }
    Ok(())
}

impl Policy {
    /// The rules of a community with these settings.
    pub fn new(settings: &Settings) -> Policy {
        let mut policy = Policy::default();
        for rule in rules().filter(|rule| (rule.sentence)(settings).is_some()) {
            let is_shadow = mode_of(rule, settings) == Mode::Shadow;
            match rule.check {
                Check::Admit(run) => policy.admit.push(Active { run, is_shadow }),
                Check::Verified(run) => policy.verified.push(Active { run, is_shadow }),
                Check::Place { wants, check } => {
                    policy.place.push(Active { run: (wants, check), is_shadow });
                }
                // Asked by the pipeline.
                Check::Plugins => {}
                Check::Query(run) => policy.query.push(Active { run, is_shadow }),
                Check::Count(run) => policy.count.push(Active { run, is_shadow }),
                Check::Visible { shown, .. } if is_shadow => policy.visible_shadow.push((rule.id, shown)),
                Check::Visible { shown, hides } => policy.visible.push((shown, hides)),
            }
        }
        policy
    }

    /// Whether the rules that need no signature accept an event; else the first refusal.
    pub fn admit(
        &self,
        event: &Event,
        context: &Context<'_>,
        shadowed: &mut dyn FnMut(&Refusal),
    ) -> Decision {
        run(&self.admit, |rule| rule(event, context), shadowed)
    }

    /// Whether the rules that are dear accept an event that is true.
    pub fn admit_verified(
        &self,
        event: &Verified,
        context: &Context<'_>,
        shadowed: &mut dyn FnMut(&Refusal),
    ) -> Decision {
        run(&self.verified, |rule| rule(event, context), shadowed)
    }

    /// Whether there are rules that look at stored events.
    pub fn asks_the_store(&self) -> bool {
        !self.place.is_empty()
    }

    /// What the rules that look at stored events must know of the store, besides what was found already.
    pub fn wants(&self, event: &Event, related: &Related, context: &Context<'_>) -> Vec<Want> {
        let mut wants = Vec::new();
        for rule in &self.place {
            for want in (rule.run.0)(event, related, context) {
                if !related.has_asked(&want) && !wants.contains(&want) {
                    wants.push(want);
                }
            }
        }
        wants
    }

    /// Whether the rules that look at stored events accept an event.
    pub fn admit_placed(
        &self,
        event: &Verified,
        related: &Related,
        context: &Context<'_>,
        shadowed: &mut dyn FnMut(&Refusal),
    ) -> Decision {
        run(&self.place, |(_, check)| check(event, related, context), shadowed)
    }

    /// Whether a REQ or COUNT is one that is answered to who asks.
    pub fn admit_query(
        &self,
        subscription: &str,
        filters: &[Filter],
        context: &Context<'_>,
        shadowed: &mut dyn FnMut(&Refusal),
    ) -> Decision {
        limits::subscription_id(subscription, context)?;
        run(&self.query, |rule| rule(filters, context), shadowed)
    }

    /// Whether a COUNT that is otherwise answered to who asks is one that is.
    pub fn admit_count(
        &self,
        filters: &[Filter],
        context: &Context<'_>,
        shadowed: &mut dyn FnMut(&Refusal),
    ) -> Decision {
        run(&self.count, |rule| rule(filters, context), shadowed)
    }

    /// Whether an event may be shown, counted or streamed to who asks: one function for stored and live.
    pub fn visible(&self, head: &Head<'_>, context: &Context<'_>) -> bool {
        !head.vanished && self.visible.iter().all(|(shown, _)| shown(head, context))
    }

    /// Whether some of a kind's events may be hidden from who asks although they do not expire, are not marked as being
    /// for followers and were not bridged, or rules in shadow mode would count that they hide them.
    pub fn hides(&self, kind: Kind, context: &Context<'_>) -> bool {
        !self.visible_shadow.is_empty() || self.visible.iter().any(|(_, hides)| hides(kind, context))
    }

    /// The rules in shadow mode that would hide an event which is shown.
    pub fn would_hide(&self, head: &Head<'_>, context: &Context<'_>) -> impl Iterator<Item = &'static str> {
        self.visible_shadow.iter().filter(|(_, rule)| !rule(head, context)).map(|(id, _)| *id)
    }
}

/// What the rules ask for under these settings, as sentences for members.
pub fn sentences(settings: &Settings) -> impl Iterator<Item = (&'static Rule, String)> {
    rules().filter_map(|rule| Some((rule, (rule.sentence)(settings)?)))
}

/// Whether a community takes fewer events than a plain relay: whether a rule of its own choice, that is
/// neither a limit, nor a quota, nor the protocol's, may refuse one.
pub fn restricts_writes(settings: &Settings) -> bool {
    let plain = Settings::default();
    rules().any(|rule| {
        let is_about_writing =
            matches!(rule.check, Check::Admit(_) | Check::Verified(_) | Check::Plugins | Check::Place { .. });
        is_about_writing
            && !["limits.", "retention."].iter().any(|section| rule.id.starts_with(section))
            && (rule.sentence)(&plain).is_none()
            && (rule.sentence)(settings).is_some()
            && mode_of(rule, settings) == Mode::Enforce
    })
}

/// The head of an event at hand.
pub fn head_of(event: &Event) -> Head<'_> {
    Head {
        id: &event.id,
        author: &event.pubkey,
        kind: event.kind,
        created_at: event.created_at,
        expires_at: nip40::expires_at(event),
        vanished: false,
        for_followers: is_marked_for_followers(&event.tags),
        tags: &event.tags,
    }
}
