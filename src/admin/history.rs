//! What moderators look up about people: what somebody wrote here, how somebody calls themselves. In: keys. Out: JSON.
//! Shows what moderators or reports hide, and never what is private between others.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::answers::failed;
use super::{Admin, Caller, Denied, queue};
use crate::community::Rules;
use crate::config::Mode;
use crate::event::{Event, Kind, PublicKey};
use crate::filter::Filter;
use crate::policy::{head_of, mode_of, rules as all_rules};
use crate::rule::{Check, Context};

/// Events of one author that one call returns, and events that are read for it.
const EVENTS_MAX: usize = 100;

/// Characters of a name.
const NAME_CHARS_MAX: usize = 60;

/// What moderators judge of is not hidden from them; all else is as it is to any reader.
const OF_MODERATION: [&str; 2] = ["admin.", "reports."];

/// Whether a reader with the context's keys may see an event, what was moderated aside.
fn is_shown(event: &Event, context: &Context<'_>) -> bool {
    let head = head_of(event);
    let mut rules = all_rules().filter(|rule| {
        !OF_MODERATION.iter().any(|section| rule.id.starts_with(section))
            && (rule.sentence)(context.config).is_some()
            && mode_of(rule, context.config) == Mode::Enforce
    });
    rules.all(|rule| match rule.check {
        Check::Visible(check) => check(&head, context),
        _ => true,
    })
}

impl Admin {
    /// The newest events of an author that the caller may see.
    pub(super) fn author_events(
        &self,
        caller: &Caller<'_>,
        rules: &Rules,
        author: &PublicKey,
        count: usize,
        now: u64,
    ) -> Result<Value, Denied> {
        let filter = Filter { authors: Some(vec![*author]), ..Filter::default() };
        let events = queue::newest(caller.community, &self.pipeline.bodies, &filter, EVENTS_MAX)
            .map_err(|error| failed(&error))?;
        let keys = [caller.key];
        let context = rules.context(now, &keys, caller.relay);
        let shown = events.iter().filter(|event| is_shown(event, &context)).take(count);
        Ok(shown.map(|event| serde_json::from_slice(&event.to_json()).unwrap_or(Value::Null)).collect())
    }

    /// The names that stored profiles give these people, those that have one.
    pub(super) fn profiles(&self, caller: &Caller<'_>, keys: &[PublicKey]) -> Result<Value, Denied> {
        let mut authors = keys.to_vec();
        authors.sort_unstable();
        authors.dedup();
        let most = authors.len();
        let filter = Filter { kinds: Some(vec![Kind::PROFILE]), authors: Some(authors), ..Filter::default() };
        let events = queue::newest(caller.community, &self.pipeline.bodies, &filter, most)
            .map_err(|error| failed(&error))?;
        let names: HashMap<String, String> =
            events.iter().filter_map(|event| Some((event.pubkey.to_string(), name(event)?))).collect();
        Ok(Value::Object(names.into_iter().map(|(key, name)| (key, json!(name))).collect::<Map<_, _>>()))
    }
}

/// What a profile gives as a name.
fn name(profile: &Event) -> Option<String> {
    let profile: Value = serde_json::from_str(&profile.content).ok()?;
    let names = ["display_name", "name"].into_iter().filter_map(|field| profile[field].as_str());
    let name = names.map(str::trim).find(|name| !name.is_empty())?;
    Some(name.chars().filter(|letter| !letter.is_control()).take(NAME_CHARS_MAX).collect())
}
