//! What moderators look up: what somebody wrote here, how somebody calls themselves, what an event says. In: keys and
//! ids. Out: JSON. Shows what moderators or reports hide, and never what is private between others.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::answers::failed;
use super::{Admin, Caller, Denied, queue};
use crate::community::Rules;
use crate::config::Mode;
use crate::event::{Event, Id, Kind, PublicKey};
use crate::filter::Filter;
use crate::policy::{head_of, mode_of, rules as all_rules};
use crate::rule::{Check, Context};

/// Events of one author that one call returns, and events that are read for it.
const EVENTS_MAX: usize = 100;

/// Characters of a name.
const NAME_CHARS_MAX: usize = 60;

/// What moderators judge of is not hidden from them; all else is as it is to any reader.
const OF_MODERATION: [&str; 3] = ["admin.", "reports.", "moderation_service."];

/// Whether a reader with the context's keys may see an event, what was moderated aside.
pub(super) fn is_shown(event: &Event, context: &Context<'_>) -> bool {
    let head = head_of(event);
    let mut rules = all_rules().filter(|rule| {
        !OF_MODERATION.iter().any(|section| rule.id.starts_with(section))
            && (rule.sentence)(context.config).is_some()
            && mode_of(rule, context.config) == Mode::Enforce
    });
    rules.all(|rule| match rule.check {
        Check::Visible { shown, .. } => shown(&head, context),
        _ => true,
    })
}

fn json_of(event: &Event) -> Value {
    serde_json::from_slice(&event.to_json()).unwrap_or(Value::Null)
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
        let events = events.iter().map(|arrived| &arrived.event);
        let shown = events.filter(|event| is_shown(event, &context)).take(count);
        Ok(shown.map(json_of).collect())
    }

    /// Those of these events that are stored and that the caller may see.
    pub(super) fn events(
        &self,
        caller: &Caller<'_>,
        rules: &Rules,
        ids: &[Id],
        now: u64,
    ) -> Result<Value, Denied> {
        let keys = [caller.key];
        let context = rules.context(now, &keys, caller.relay);
        let mut found = Vec::new();
        for id in ids {
            let event = queue::event(caller.community, &self.pipeline.bodies, *id);
            let event = event.map_err(|error| failed(&error))?;
            found.extend(event.filter(|event| is_shown(event, &context)).map(|event| json_of(&event)));
        }
        Ok(Value::Array(found))
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
        let events = events.iter().map(|arrived| &arrived.event);
        let names: HashMap<String, String> =
            events.filter_map(|event| Some((event.pubkey.to_string(), name(event)?))).collect();
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
