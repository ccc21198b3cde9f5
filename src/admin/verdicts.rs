//! What verdicts of a moderation service change (docs/moderation.md). In: verdicts, who gives them, what holds now.
//! Out: changes, events to be released, and what became of each verdict. In shadow mode they are recorded and change
//! nothing.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::Caller;
use super::changes::Made;
use crate::community::moderation::ENTRIES_MAX;
use crate::community::{Change, Rules};
use crate::config::Mode;
use crate::review::{Action, Verdict};
use crate::rule::moderation::{Label, Rank, Ruling, Standing};

/// What verdicts make.
pub(super) fn of(verdicts: &[Verdict], caller: &Caller<'_>, rules: &Rules, now: u64) -> Made {
    let is_shadow = rules.settings.moderation_service.mode == Mode::Shadow;
    let mut made = Made {
        acts: Vec::new(),
        changes: Vec::new(),
        answer: Value::Null,
        about: json!({"verdicts": verdicts, "shadow": is_shadow}),
        releases: Vec::new(),
    };
    let mut banned = HashSet::new();
    let said = verdicts.iter().map(|verdict| {
        let counts = one(verdict, caller, rules, now, &mut banned);
        if counts.is_ok() {
            caller.community.review.verdict(verdict.verdict, is_shadow);
        }
        match counts {
            Err(why) => json!({"id": verdict.id.to_string(), "done": false, "why": why}),
            Ok(_) if is_shadow => {
                json!({"id": verdict.id.to_string(), "done": false, "why": "in shadow mode it is only recorded"})
            }
            Ok(changes) => {
                if verdict.verdict == Action::Accept && rules.known.held.has(&verdict.id) {
                    made.releases.push(verdict.id);
                }
                made.changes.extend(changes);
                json!({"id": verdict.id.to_string(), "done": true})
            }
        }
    });
    made.answer = said.collect();
    made
}

/// What one makes.
///
/// # Errors
/// Why it does not count.
fn one(
    verdict: &Verdict,
    caller: &Caller<'_>,
    rules: &Rules,
    now: u64,
    banned: &mut HashSet<crate::event::PublicKey>,
) -> Result<Vec<Change>, &'static str> {
    let Verdict { id, verdict: action, reason, label } = verdict;
    let moderation = &rules.known.moderation;
    let Some(author) = caller.community.index().author_of(id).copied() else {
        return Err("there is no such event");
    };
    // What a person decided is not a service's to change.
    let is_decided = moderation.events.get(id).is_some_and(|ruling| ruling.by != caller.key.to_string());
    let is_staff = rules.rank(&author) > Rank::Nobody;
    let by = caller.key.to_string();
    let ruling = Ruling { standing: Standing::Banned, reason: reason.clone(), by: by.clone(), at: now };
    let remove = [Change::Event(*id, Some(ruling.clone())), Change::Unheld(*id)];
    let is_full = |len: usize| len + banned.len() >= ENTRIES_MAX;
    match action {
        Action::Accept => Ok(Vec::new()),
        Action::Label if is_full(moderation.labels.len()) => Err("as many events are labelled as may be"),
        Action::Label => {
            let label = Label { label: label.clone(), reason: reason.clone(), by, at: now };
            Ok(vec![Change::Label(*id, Some(label))])
        }
        Action::Remove | Action::Ban if is_decided => Err("a moderator has decided about this event"),
        Action::Remove | Action::Ban if is_staff => Err("its author manages here"),
        Action::Remove | Action::Ban if is_full(moderation.events.len()) => {
            Err("as many events are listed as may be")
        }
        Action::Remove => Ok(remove.to_vec()),
        Action::Ban if is_full(moderation.authors.len()) => Err("as many people are listed as may be"),
        Action::Ban => {
            let is_new = banned.insert(author) && moderation.author(&author).is_none();
            let of_author = is_new.then_some(Change::Author(author, Some(ruling)));
            Ok(remove.into_iter().chain(of_author).collect())
        }
    }
}
