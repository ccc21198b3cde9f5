//! NIP-75, zap goals (nips/75.md): what a goal must have, and which receipts come too late for it. In: an
//! event, and a goal that is stored. Out: a decision. Never counts money: clients do.

use super::nip57;
use crate::config::AfterClosed;
use crate::event::{Event, Id, Kind, Verified};
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Related, Rule, Want};
use crate::words::duration;

/// What somebody collects money for.
pub const GOAL: Kind = Kind(9_041);

/// The rule about receipts that come too late; its own setting says whether it refuses.
pub const CLOSED: &str = "zaps.closed";

/// A receipt is for one event; the bound keeps one that names many from costing as many look-ups.
const ZAPPED_IDS_MAX: usize = 4;

/// The rules in the order in which they are run.
pub const RULES: &[Rule] = &[
    Rule {
        id: "zaps.goal",
        settings: &["zaps.enabled"],
        sentence: |settings| {
            let said = "A goal names the amount aimed at and the relays to which its zaps go.";
            settings.zaps.enabled.then(|| said.to_owned())
        },
        check: Check::Admit(admit_goal),
    },
    Rule {
        id: CLOSED,
        settings: &["zaps.enabled", "zaps.after_closed"],
        sentence: |settings| match settings.zaps.after_closed {
            AfterClosed::Mark | AfterClosed::Refuse if settings.zaps.enabled => {
                Some("A zap receipt for a goal was made before the goal closed.".to_owned())
            }
            _ => None,
        },
        check: Check::Place { wants: goals_of, check: admit_before_closing },
    },
];

fn admit_goal(event: &Event, _: &Context<'_>) -> Decision {
    if event.kind != GOAL {
        return Ok(());
    }
    Goal::parse(event).map(|_| ()).map_err(|why| Refusal::new(Prefix::Invalid, "zaps.goal", why))
}

/// The events that a receipt may be for: one of them may be a goal.
fn goals_of(event: &Event, _: &Related, _: &Context<'_>) -> Vec<Want> {
    if event.kind != nip57::RECEIPT {
        return Vec::new();
    }
    event.tags.values("e").filter_map(Id::from_hex).take(ZAPPED_IDS_MAX).map(Want::Id).collect()
}

fn admit_before_closing(event: &Verified, related: &Related, context: &Context<'_>) -> Decision {
    for want in goals_of(event, related, context) {
        let goal = related.one(&want).filter(|found| found.event.kind == GOAL);
        // A goal that was taken before its tags were looked at may be none.
        let goal = goal.and_then(|found| Goal::parse(&found.event).ok());
        if let Some(Goal { closed_at: Some(closed_at), .. }) = goal
            && event.created_at > closed_at
        {
            let late = event.created_at - closed_at;
            let sentence = format!("the goal closed {} before this zap", duration(late));
            return Err(Refusal::new(Prefix::Blocked, CLOSED, sentence));
        }
    }
    Ok(())
}

/// A goal, as far as a relay is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goal {
    /// The amount aimed at, in thousandths of a satoshi; never 0.
    pub amount_msats: u64,
    /// Receipts made later than this do not count, in seconds since 1970.
    pub closed_at: Option<u64>,
}

impl Goal {
    /// Reads a goal's tags.
    ///
    /// # Errors
    /// A sentence that says which tag is missing or wrong.
    pub fn parse(event: &Event) -> Result<Goal, &'static str> {
        let amount_msats = nip57::amount_of(event).ok().flatten().filter(|amount| *amount > 0);
        let Some(amount_msats) = amount_msats else {
            return Err("a goal has an amount tag with a whole number of millisatoshis above 0");
        };
        let mut relays = event.tags.iter().filter(|tag| tag.name() == "relays");
        if !relays.any(|tag| tag.iter().skip(1).any(is_relay)) {
            return Err("a goal has a relays tag that lists at least one ws:// or wss:// address");
        }
        let closing = event.tags.iter().find(|tag| tag.name() == "closed_at");
        let closed_at = closing.map(|tag| tag.value().and_then(nip57::whole_number));
        match closed_at {
            Some(None) => Err("the closed_at tag must hold a whole number of seconds since 1970"),
            closed_at => Ok(Goal { amount_msats, closed_at: closed_at.flatten() }),
        }
    }
}

fn is_relay(url: &str) -> bool {
    let host = url.strip_prefix("wss://").or_else(|| url.strip_prefix("ws://"));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
}
