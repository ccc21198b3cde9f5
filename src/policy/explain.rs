//! Runs a community's rules dry and keeps the trail. In: an event, signed or a draft, and what the store
//! knows. Out: each rule's verdict in the order in which a live event meets them, and the decision. The
//! rules are the live ones: there is no second copy of any.

use super::{Facts, Placement, foresee, head_of, mode_of, rules, superseded};
use crate::config::Mode;
use crate::event::{Event, Verified};
use crate::plugin::REFUSED;
use crate::rule::{Check, Context, Decision, Refusal, Related, Rule};

/// What one rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It lets the event pass.
    Passed,
    /// It refuses.
    Refused(Refusal),
    /// It would refuse, were it not in shadow mode.
    Shadowed(Refusal),
    /// It hides the event from who asks.
    Hidden,
    /// It would hide the event from who asks, were it not in shadow mode.
    WouldHide,
    /// It was not asked, for this reason.
    NotAsked(&'static str),
}

/// One line of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The rule's id.
    pub rule: &'static str,
    /// The keys of relay.toml that decide.
    pub settings: &'static [&'static str],
    /// What it says.
    pub verdict: Verdict,
}

/// What the rules say of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Every rule that asks for something under these settings, in order.
    pub steps: Vec<Step>,
    /// What a client would be told: the first refusal, if there is one.
    pub decision: Decision,
    /// Whether it would be answered as a duplicate.
    pub is_duplicate: bool,
}

/// What is to be explained.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// The event.
    pub event: &'a Event,
    /// False for a draft, whose id and signature are not looked at.
    pub is_signed: bool,
    /// What the store knows of it; `None` where there is no store to ask.
    pub stored: Option<(&'a Facts, &'a Related)>,
}

/// Why rules that look at stored events were not asked.
const NO_STORE: &str = "it looks at stored events, and there is no store to ask";

/// Why plugins were not asked.
const PLUGINS: &str =
    "plugins are programs; they are asked about live events, after the rules above, and with --plugins";

/// Rules of these sections go by what was learned from stored events, or is kept with them.
const LEARNED: [&str; 5] = ["trust.", "reports.", "admin.", "moderation_service.", "shared_lists."];

impl Explanation {
    /// Whether a live event would come as far as the plugins: nothing refuses it that is asked before them, and it is
    /// none that is there.
    pub fn reaches_plugins(&self) -> bool {
        let before = self.steps.iter().take_while(|step| step.rule != REFUSED);
        self.steps.iter().any(|step| step.rule == REFUSED)
            && before.into_iter().all(|step| !matches!(step.verdict, Verdict::Refused(_)))
    }

    /// Takes up what the plugins say, in the place of their rule; in shadow mode a refusal only counts.
    pub fn take_plugins(&mut self, said: Decision, mode: Mode) {
        let Some(step) = self.steps.iter_mut().find(|step| step.rule == REFUSED) else { return };
        step.verdict = match (said, mode) {
            (Ok(()), _) => Verdict::Passed,
            (Err(refusal), Mode::Shadow) => Verdict::Shadowed(refusal),
            (Err(refusal), Mode::Enforce) => {
                // What is asked before them has let it pass.
                self.decision = Err(refusal.clone());
                Verdict::Refused(refusal)
            }
        };
    }
}

/// Runs the rules over a case.
pub fn explain(case: &Case<'_>, context: &Context<'_>) -> Explanation {
    let mut steps = Vec::new();
    let active = || rules().filter(|rule| (rule.sentence)(context.config).is_some());
    for rule in active() {
        if let Check::Admit(check) = rule.check {
            let is_learned = LEARNED.iter().any(|section| rule.id.starts_with(section));
            steps.push(match case.stored {
                None if is_learned => not_asked(rule),
                _ => step(rule, check(case.event, context), context),
            });
        }
    }
    let placement = case.stored.and_then(|(facts, _)| foresee(case.event, facts));
    let is_duplicate = placement == Some(Placement::Duplicate);
    let refusal = match placement {
        Some(Placement::Superseded) => Some(superseded()),
        Some(Placement::Deleted(refusal) | Placement::Refused(refusal)) => Some(refusal),
        _ => None,
    };
    steps.extend(refusal.map(|refusal| Step {
        rule: refusal.rule,
        settings: &[],
        verdict: Verdict::Refused(refusal),
    }));
    let event = match (case.is_signed, is_duplicate) {
        (true, false) => match Verified::check(case.event.clone(), &mut Vec::new()) {
            Ok(event) => {
                steps.push(Step { rule: "nip01.signature", settings: &[], verdict: Verdict::Passed });
                event
            }
            Err(forgery) => {
                let refusal = Refusal::from(forgery);
                steps.push(Step { rule: refusal.rule, settings: &[], verdict: Verdict::Refused(refusal) });
                // What is untrue has no further rule to meet.
                return decided(steps, false);
            }
        },
        // A copy of what is stored is answered without a look at its signature.
        (_, true) => return decided(steps, true),
        (false, false) => {
            let verdict = Verdict::NotAsked("it is a draft");
            steps.push(Step { rule: "nip01.signature", settings: &[], verdict });
            Verified::assumed(case.event.clone())
        }
    };
    for rule in active() {
        if let Check::Verified(check) = rule.check {
            steps.push(step(rule, check(&event, context), context));
        }
    }
    for rule in active() {
        if let Check::Plugins = rule.check {
            let verdict = Verdict::NotAsked(PLUGINS);
            steps.push(Step { rule: rule.id, settings: rule.settings, verdict });
        }
    }
    for rule in active() {
        if let Check::Place { check, .. } = rule.check {
            steps.push(match case.stored {
                Some((_, related)) => step(rule, check(&event, related, context), context),
                None => not_asked(rule),
            });
        }
    }
    steps.extend(shown(case, context));
    decided(steps, false)
}

/// What the rules of reading say, as if who sends the event asked for it.
fn shown<'c>(case: &'c Case<'_>, context: &'c Context<'_>) -> impl Iterator<Item = Step> + 'c {
    rules().filter(|rule| (rule.sentence)(context.config).is_some()).filter_map(move |rule| {
        let Check::Visible { shown, .. } = rule.check else { return None };
        let is_learned = LEARNED.iter().any(|section| rule.id.starts_with(section));
        if is_learned && case.stored.is_none() {
            return Some(not_asked(rule));
        }
        let verdict = match (shown(&head_of(case.event), context), mode_of(rule, context.config)) {
            (true, _) => Verdict::Passed,
            (false, Mode::Enforce) => Verdict::Hidden,
            (false, Mode::Shadow) => Verdict::WouldHide,
        };
        Some(Step { rule: rule.id, settings: rule.settings, verdict })
    })
}

fn not_asked(rule: &Rule) -> Step {
    Step { rule: rule.id, settings: rule.settings, verdict: Verdict::NotAsked(NO_STORE) }
}

fn step(rule: &Rule, decision: Decision, context: &Context<'_>) -> Step {
    let verdict = match decision {
        Ok(()) => Verdict::Passed,
        Err(refusal) if mode_of(rule, context.config) == Mode::Shadow => Verdict::Shadowed(refusal),
        Err(refusal) => Verdict::Refused(refusal),
    };
    Step { rule: rule.id, settings: rule.settings, verdict }
}

fn decided(steps: Vec<Step>, is_duplicate: bool) -> Explanation {
    let refusal = steps.iter().find_map(|step| match &step.verdict {
        Verdict::Refused(refusal) => Some(refusal.clone()),
        _ => None,
    });
    Explanation { steps, decision: refusal.map_or(Ok(()), Err), is_duplicate }
}
