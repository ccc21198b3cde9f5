//! Holds a round against the model. Nobody says in which order things took effect; but each did between its being sent
//! and its being answered, and the order in which events were stored is known. So for each answer there must be a moment
//! at which the model says just the same, and for each subscription one from which on it was streamed just what was new.

use std::collections::{BTreeMap, BTreeSet};

use plaza::event::{Event, Id, PublicKey};
use plaza::filter::Filter;
use serde_json::Value;

use crate::oracle::{COPY, Oracle};
use crate::places::Asked as Condition;
use crate::record::{Asked, Change, Counted, Record, Sent};

fn parse(filters: &[Value]) -> Vec<Condition> {
    let read = |filter: &Value| Filter::from_json(&filter.to_string()).expect("a filter");
    filters.iter().map(|filter| Condition { filter: read(filter), has_places: false }).collect()
}

/// A round, and what the relay knew after each of its changes.
pub(crate) struct Judge<'r> {
    record: &'r Record,
    events: BTreeMap<Id, &'r Event>,
    /// The model before the first change, and after each.
    models: Vec<Oracle>,
    /// The model in the middle of each change, after each event of a group: nobody reads then, but the next event
    /// of the group is answered by it.
    between: Vec<Vec<Oracle>>,
    /// How many events had been stored by then.
    stored: Vec<usize>,
    /// What was stored in this round, in order, with its numbers.
    order: Vec<(Id, u64)>,
}

impl<'r> Judge<'r> {
    /// Follows what was stored, in its order: the model must take all of it.
    pub(crate) fn new(record: &'r Record, before: &Oracle) -> Judge<'r> {
        let events: BTreeMap<Id, &Event> =
            record.sent.iter().filter(|sent| sent.is_true).map(|sent| (sent.event.id, &sent.event)).collect();
        let order: Vec<(Id, u64)> =
            record.passed_on.iter().filter_map(|(id, number)| Some((*id, (*number)?))).collect();
        let is_in_order = order.is_sorted_by(|(_, one), (_, next)| one < next);
        assert!(is_in_order, "events are passed on once each, in the order in which they were stored");
        let (mut model, mut models, mut stored) = (before.clone(), vec![before.clone()], vec![0]);
        let mut between = vec![Vec::new()];
        let mut next = order.iter().peekable();
        for change in &record.changes {
            let mut in_between = Vec::new();
            match change {
                Change::Stored(below) => {
                    // Who was banned after an event was let in does not keep it from being stored.
                    let bans = (std::mem::take(&mut model.banned), std::mem::take(&mut model.banned_events));
                    while let Some((id, _)) = next.next_if(|(_, number)| number < below) {
                        let event = events[id];
                        let answer = model.publish(event, true, &[event.pubkey]);
                        assert_eq!(answer, (true, ""), "{} was stored", told(event));
                        in_between.push(model.clone());
                    }
                    (model.banned, model.banned_events) = bans;
                }
                Change::Swept => model.sweep(),
                Change::Author(key, true) => drop(model.banned.insert(*key)),
                Change::Author(key, false) => drop(model.banned.remove(key)),
                Change::Event(id) => drop(model.banned_events.insert(*id)),
            }
            stored.push(order.len() - next.len());
            models.push(model.clone());
            between.push(in_between);
        }
        assert_eq!(next.len(), 0, "what is passed on was stored");
        Judge { record, events, models, between, stored, order }
    }

    /// What is known at the end of the round.
    pub(crate) fn last(&self) -> &Oracle {
        self.models.last().expect("the first one at least")
    }

    /// Judges all.
    pub(crate) fn judge(&self) {
        self.record.sent.iter().for_each(|sent| self.judge_answer(sent));
        self.judge_what_was_accepted();
        self.record.asked.iter().for_each(|(name, asked)| self.judge_subscription(name, asked));
        self.record.counted.iter().for_each(|(name, counted)| self.judge_count(name, counted));
    }

    fn judge_answer(&self, sent: &Sent) {
        let Some((at, ok, prefix)) = &sent.answer else {
            assert!(self.record.people[sent.client].is_gone, "no answer to {}", told(&sent.event));
            return;
        };
        if *ok && prefix.is_empty() {
            let passed_on = self.record.passed_on.iter().any(|(id, _)| *id == sent.event.id);
            assert!(sent.is_true && passed_on, "acknowledged, but nowhere: {}", told(&sent.event));
            return;
        }
        let answer = (*ok, prefix.as_str());
        let (from, to) = (self.record.before(sent.at).changes, self.record.after(*at).changes);
        let keys = self.record.keys(sent.client, sent.at, *at);
        let is_right = |model: &Oracle, keys: &Vec<PublicKey>| match model.refuse(&sent.event, keys) {
            Err(said) => said == answer,
            Ok(()) => !sent.is_true && answer == (false, "invalid"),
        };
        let between = self.between[from..=to].iter().flatten();
        let mut models = self.models[from..=to].iter().chain(between);
        let found = models.any(|model| keys.iter().any(|keys| is_right(model, keys)));
        assert!(found && answer != COPY, "{answer:?} is never right for {}", told(&sent.event));
    }

    /// Only what was sent and acknowledged is stored; of one client in the order in which it was sent.
    fn judge_what_was_accepted(&self) {
        let place: BTreeMap<&Id, usize> =
            self.order.iter().enumerate().map(|(at, (id, _))| (id, at)).collect();
        assert_eq!(place.len(), self.order.len(), "nothing is stored twice");
        for client in 0..self.record.people.len() {
            let accepted = self.record.sent.iter().filter(|sent| {
                sent.client == client
                    && sent.answer.as_ref().is_some_and(|(_, ok, prefix)| *ok && prefix.is_empty())
            });
            let places: Vec<usize> = accepted.filter_map(|sent| place.get(&sent.event.id).copied()).collect();
            assert!(places.is_sorted(), "events of one client take effect in order: {places:?}");
        }
    }

    /// What a query finds among the first `known` events that were stored in this round, and those of before, as
    /// the relay is after a change.
    fn among(&self, change: usize, known: usize) -> Oracle {
        let mut model = self.models[change].clone();
        let later: BTreeSet<Id> =
            self.order[known..self.stored[change].max(known)].iter().map(|(id, _)| *id).collect();
        model.stored.retain(|event| !later.contains(&event.id));
        model
    }

    /// How many events may have been stored when a query was begun, in order.
    fn known(&self, from: usize, to: usize) -> impl Iterator<Item = usize> {
        let mut known = self.stored[from..=to].to_vec();
        known.dedup();
        known.into_iter()
    }

    /// How many events were passed on before the first that is not among the first `known` stored ones: who looks
    /// for those must listen by then.
    fn unread(&self, known: usize) -> usize {
        let next = self.order.get(known).map(|(id, _)| id);
        self.record.passed_on.iter().position(|(id, _)| Some(id) == next).unwrap_or(usize::MAX)
    }

    fn judge_subscription(&self, name: &str, asked: &Asked) {
        let conditions = parse(&asked.filters);
        let is_gone = self.record.people[asked.client].is_gone;
        let told = || format!("{name} {asked:?}");
        let unique: BTreeSet<&Id> = asked.stored.iter().collect();
        assert_eq!(unique.len(), asked.stored.len(), "an event came twice: {}", told());
        if asked.closed.as_ref().is_some_and(|(_, prefix)| prefix == "error") {
            // Too much came while its client did not read.
            assert!(asked.eose.is_none(), "no error after EOSE: {}", told());
            return;
        }
        if let Some((at, prefix)) = &asked.closed {
            let keys = self.record.keys(asked.client, asked.at, *at);
            let is_right = keys.iter().any(|keys| self.models[0].refuses(&conditions, keys) == Some(prefix));
            assert!(is_right && asked.stored.is_empty(), "closed without reason: {}", told());
            return;
        }
        let Some(eose) = asked.eose else {
            assert!(is_gone || asked.is_left, "no answer: {}", told());
            assert_eq!(asked.live, [], "live before EOSE: {}", told());
            return;
        };
        let must_be_whole = !is_gone && !asked.is_left;
        let (from, to) = (self.record.before(asked.at), self.record.after(eose));
        let found = self.record.keys(asked.client, asked.at, eose).iter().any(|keys| {
            self.known(from.changes, to.changes).any(|known| {
                let may_be = (from.changes..=to.changes).filter(|change| self.stored[*change] >= known);
                let is_found =
                    |change: usize| self.is_found(asked, &conditions, keys, change, known, to.changes);
                may_be.into_iter().any(is_found)
                    && (from.passed_on..=to.passed_on.min(self.unread(known)))
                        .any(|begin| self.is_streamed(asked, &conditions, begin, known, must_be_whole))
            })
        });
        assert!(found, "there is no moment at which this is right: {}", told());
    }

    /// Whether the stored events of an answer are those that the model finds, but for what was taken away while they
    /// were being sent.
    fn is_found(
        &self,
        asked: &Asked,
        conditions: &[Condition],
        keys: &[PublicKey],
        change: usize,
        known: usize,
        last: usize,
    ) -> bool {
        let expected = self.among(change, known).query(conditions, keys).ids;
        let mut came = asked.stored.iter().peekable();
        let is_gone = |id: &Id| {
            self.models[change..=last].iter().any(|model| {
                !model.stored.iter().any(|event| event.id == *id && model.is_visible(event, keys))
            })
        };
        expected.iter().all(|id| came.next_if_eq(&id).is_some() || is_gone(id)) && came.peek().is_none()
    }

    /// Whether what came after EOSE is what was passed on from `begin` on, what is among the first `known` aside.
    fn is_streamed(
        &self,
        asked: &Asked,
        conditions: &[Condition],
        begin: usize,
        known: usize,
        must_be_whole: bool,
    ) -> bool {
        let mut came = asked.live.iter().peekable();
        for (at, (id, number)) in self.record.passed_on.iter().enumerate().skip(begin) {
            if number
                .is_some_and(|number| self.order[..known].last().is_some_and(|(_, last)| number <= *last))
            {
                continue;
            }
            let event = self.events[id];
            if !conditions.iter().any(|condition| condition.matches(event)) {
                continue;
            }
            let (may, must) = self.is_shown(asked, event, self.record.step_of(at));
            if may && came.next_if_eq(&id).is_some() {
                continue;
            }
            if must {
                // What has not come may be on its way to who does not wait for it.
                return !must_be_whole && came.peek().is_none();
            }
        }
        came.peek().is_none()
    }

    /// Whether an event that was passed on in a step may have been shown to who asked, and whether it must.
    fn is_shown(&self, asked: &Asked, event: &Event, step: usize) -> (bool, bool) {
        let (before, after) = (self.record.before(step).changes, self.record.after(step).changes);
        let keys = self.record.keys(asked.client, step, step);
        // What was stored before is not looked at: a live event is as visible as if nothing had come after it.
        let sees = |change: usize, keys: &Vec<PublicKey>| {
            let mut model = Oracle::new(self.models[change].now, false);
            model.banned.clone_from(&self.models[change].banned);
            model.banned_events.clone_from(&self.models[change].banned_events);
            model.is_visible(event, keys)
        };
        let may = keys.iter().any(|keys| sees(before, keys) || sees(after, keys));
        // What waits for EOSE is taken back when it is banned meanwhile.
        let sent = self.record.after(asked.eose.unwrap_or(step).max(step)).changes;
        let must = keys.iter().all(|keys| (before..=sent).all(|change| sees(change, keys)));
        (may, must)
    }

    fn judge_count(&self, name: &str, counted: &Counted) {
        let Some((at, answer)) = &counted.answer else {
            assert!(self.record.people[counted.client].is_gone, "no answer to {name} {counted:?}");
            return;
        };
        let conditions = parse(&counted.filters);
        let (from, to) = (self.record.before(counted.at).changes, self.record.after(*at).changes);
        let found = self.record.keys(counted.client, counted.at, *at).iter().any(|keys| {
            let refused = self.models[from].refuses(&conditions, keys).map(str::to_owned);
            let is_right = |change: usize, known: usize| match &refused {
                Some(prefix) => answer.as_ref() == Err(prefix),
                None => *answer == Ok(self.among(change, known).count(&conditions, keys)),
            };
            (from..=to).any(|change| self.known(from, change).any(|known| is_right(change, known)))
        });
        assert!(found, "there is no moment at which this is right: {name} {counted:?}");
    }
}

/// An event as text.
pub(crate) fn told(event: &Event) -> String {
    String::from_utf8_lossy(&event.to_json()).into_owned()
}
