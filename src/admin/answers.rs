//! The methods that only answer. In: a method, who asks, what holds. Out: JSON. Changes nothing.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::history::is_shown;
use super::queue::{self, Reported};
use super::{Admin, Caller, Denied, audit, groups, may_call};
use crate::community::Rules;
use crate::event::{Id, PublicKey, draft};
use crate::mirror::MirrorStats;
use crate::nips::nip86::{Method, NAMES};
use crate::pipeline::bodies::BodyError;
use crate::pipeline::{Desk, explain};
use crate::policy::Verdict;
use crate::rule::hidden::Target;
use crate::rule::moderation::{Dismissal, Label, Moderation, Ruling, Standing};
use crate::usage::Usage;

/// Events that lists touched lately, as the page shows them.
const LIST_TOUCHED_MAX: usize = 20;

pub(super) fn failed(error: &BodyError) -> Denied {
    tracing::error!("cannot read a stored event: {error}");
    Denied::Failed("a stored event could not be read; the relay's operator is told".to_owned())
}

/// Rulings of one standing, newest first.
fn rulings<K: ToString>(map: &HashMap<K, Ruling>, standing: Standing, name: &str) -> Value {
    let mut found: Vec<(&K, &Ruling)> =
        map.iter().filter(|(_, ruling)| ruling.standing == standing).collect();
    found.sort_by_key(|(key, ruling)| (std::cmp::Reverse(ruling.at), key.to_string()));
    found.into_iter().map(|(key, ruling)| entry(name, key.to_string(), ruling)).collect()
}

fn entry(name: &str, key: String, ruling: &Ruling) -> Value {
    json!({name: key, "reason": ruling.reason, "by": ruling.by, "at": ruling.at})
}

fn kinds(moderation: &Moderation, standing: Standing) -> Value {
    let kinds = moderation.kinds.iter().filter(|(_, ruling)| ruling.standing == standing);
    kinds.map(|(kind, _)| json!(kind.0)).collect()
}

/// What is counted of plugins, by name.
fn plugin_stats(desk: &Desk) -> Value {
    let each = desk.numbers().into_iter().map(|(name, numbers)| {
        let verdicts =
            numbers.verdicts.iter().map(|(verdict, number)| ((*verdict).to_owned(), json!(number)));
        let more =
            [("in_flight", numbers.in_flight), ("waiting", numbers.waiting), ("starts", numbers.started)];
        let more = more.map(|(what, number)| (what.to_owned(), json!(number)));
        (name, Value::Object(verdicts.chain(more).collect()))
    });
    Value::Object(each.collect())
}

/// What a moderation service called events, newest first.
fn labels(moderation: &Moderation) -> Value {
    let mut all: Vec<_> = moderation.labels.iter().collect();
    all.sort_by_key(|(id, label)| (std::cmp::Reverse(label.at), **id));
    let entry = |(id, label): (&Id, &Label)| {
        let Label { label, reason, by, at } = label;
        json!({"id": id.to_string(), "label": label, "reason": reason, "by": by, "at": at})
    };
    all.into_iter().map(entry).collect()
}

/// Lists of other relays that are followed here, whom each touched, and whom moderators let be nevertheless.
fn shared_lists(caller: &Caller<'_>, rules: &Rules, now: u64) -> Value {
    let spared = &rules.known.moderation.spared;
    let mut spared: Vec<(&PublicKey, &Ruling)> = spared.iter().collect();
    spared.sort_by_key(|(key, ruling)| (std::cmp::Reverse(ruling.at), **key));
    let spared: Value =
        spared.into_iter().map(|(key, ruling)| entry("pubkey", key.to_string(), ruling)).collect();
    json!({"lists": caller.community.list_stats(now), "spared": spared})
}

/// The same in short, as the page shows it: a row for each list, and one for each event that was touched lately.
fn list_stats(caller: &Caller<'_>, now: u64) -> (Value, Value) {
    let all = caller.community.list_stats(now);
    let mut touched: Vec<_> =
        all.iter().flat_map(|list| list.last.iter().map(move |one| (&list.relay, one))).collect();
    touched.sort_by_key(|(_, one)| std::cmp::Reverse(one.at));
    let touched = touched.into_iter().take(LIST_TOUCHED_MAX).map(|(relay, one)| {
        json!({"at": one.at, "done": one.done, "why": one.why, "pubkey": one.pubkey, "event": one.id, "relay": relay})
    });
    let lists = all.iter().map(|list| {
        let touched: u64 = list.touched.values().sum();
        json!({
            "list": list.list,
            "relay": list.relay,
            "title": list.title,
            "on": list.on,
            "entries": list.entries,
            "touched": touched,
            "counts": if list.counts { "yes" } else { "no" },
            "trouble": list.trouble,
        })
    });
    (lists.collect(), touched.collect())
}

/// The methods that mean something here and that a caller may call.
fn methods(caller: &Caller<'_>, rules: &Rules, mirrors: &[MirrorStats]) -> Value {
    let is_for = |name: &&str| {
        groups::means_something(name, caller.community)
            && (*name != "listmirrors" || !mirrors.is_empty())
            && may_call(rules, &caller.key, name)
    };
    NAMES.iter().map(|(name, _)| *name).filter(is_for).map(Value::from).collect()
}

impl Admin {
    /// The answer to a method that changes nothing; `None` for one that does.
    pub(super) fn answer(
        &self,
        caller: &Caller<'_>,
        rules: &Rules,
        method: &Method,
        now: u64,
    ) -> Option<Result<Value, Denied>> {
        let moderation = &rules.known.moderation;
        Some(Ok(match method {
            Method::SupportedMethods => methods(caller, rules, &self.mirrors(caller)),
            Method::ListMirrors => json!(self.mirrors(caller)),
            Method::ListBannedPubkeys => rulings(&moderation.authors, Standing::Banned, "pubkey"),
            Method::ListAllowedPubkeys => rulings(&moderation.authors, Standing::Allowed, "pubkey"),
            Method::ListBannedEvents => rulings(&moderation.events, Standing::Banned, "id"),
            Method::ListAllowedEvents => rulings(&moderation.events, Standing::Allowed, "id"),
            Method::ListAllowedKinds => kinds(moderation, Standing::Allowed),
            Method::ListDisallowedKinds => kinds(moderation, Standing::Banned),
            Method::ListBlockedIps => {
                let all = moderation.addresses.iter();
                all.map(|(network, ruling)| {
                    let is_one = network.prefix_len() == network.max_prefix_len();
                    let text = if is_one { network.addr().to_string() } else { network.to_string() };
                    entry("ip", text, ruling)
                })
                .collect()
            }
            Method::ListMethodAssignees => {
                let given = moderation.staff.iter().filter(|(_, duties)| !duties.methods.is_empty());
                given
                    .map(|(key, duties)| json!({"pubkey": key.to_string(), "methods": duties.methods}))
                    .collect()
            }
            Method::ListRoles => json!(moderation.roles),
            Method::ListStaff => staff(rules),
            Method::ListDismissedReports => {
                let mut all: Vec<_> = moderation.dismissed.iter().collect();
                all.sort_by_key(|(key, dismissal)| (std::cmp::Reverse(dismissal.at), **key));
                let entry = |(key, dismissal): (&PublicKey, &Dismissal)| {
                    let Dismissal { reason, by, at, .. } = dismissal;
                    json!({"pubkey": key.to_string(), "reason": reason, "by": by, "at": at})
                };
                all.into_iter().map(entry).collect()
            }
            Method::ListLabels => labels(moderation),
            Method::ListSharedLists => shared_lists(caller, rules, now),
            Method::ListSettings => return Some(self.list_settings(caller, rules)),
            Method::ListNames => {
                let names = moderation.names.iter().map(|(name, key)| (name.clone(), json!(key.to_string())));
                Value::Object(names.collect())
            }
            Method::Stats => self.stats(caller, now),
            Method::ListAuditLog(count, before) => return Some(self.audit_log(caller, *count, *before)),
            Method::ListEventsNeedingModeration => return Some(self.events_needing_moderation(caller, now)),
            Method::ListModerationQueue => return Some(self.moderation_queue(caller, rules, now)),
            Method::Login => return Some(self.login(caller, rules, now)),
            Method::Logout => return Some(self.logout(caller)),
            Method::ListAuthorEvents(key, count) => {
                return Some(self.author_events(caller, rules, key, *count, now));
            }
            Method::ListEvents(ids) => return Some(self.events(caller, rules, ids, now)),
            Method::ListProfiles(keys) => return Some(self.profiles(caller, keys)),
            Method::Explain(text) => return Some(self.explain(caller, rules, text, now)),
            _ => return groups::answer(method, rules),
        }))
    }

    /// How this community's mirrors stand.
    fn mirrors(&self, caller: &Caller<'_>) -> Vec<MirrorStats> {
        let mut mirrors = self.reloader.mirror_stats();
        mirrors.retain(|mirror| mirror.community == caller.community.path());
        mirrors
    }

    /// What is going on: numbers of the moment, and those that grow from the start of the relay. Of the process and its
    /// queries only the root's people are told.
    fn stats(&self, caller: &Caller<'_>, now: u64) -> Value {
        let community = caller.community;
        let rules = community.tally.counts().into_iter();
        let rules = rules.map(|(rule, count)| {
            (rule.to_owned(), json!({"refused": count.refused, "shadowed": count.shadowed}))
        });
        let traffic = community.traffic.all().map(|(name, number)| (name.to_owned(), json!(number)));
        let mut stats = json!({
            "events": community.index().len(),
            "connections": community.connected.len(),
            "subscriptions": community.live.len(),
            "traffic": Value::Object(traffic.into_iter().collect()),
            "rules": Value::Object(rules.collect()),
        });
        let settings = community.settings();
        if settings.moderation_service.url.is_some() {
            stats["moderation_service"] = self.service_stats(caller);
        }
        if let Some(desk) = community.desk.get().filter(|_| !settings.plugins.chain.is_empty()) {
            stats["plugins"] = plugin_stats(desk);
        }
        if !settings.shared_lists.follow.is_empty() {
            (stats["shared_lists"], stats["touched_by_lists"]) = list_stats(caller, now);
        }
        if community.path() == "/" {
            let meter = &self.pipeline.meter;
            stats["process"] = json!({
                "bytes_received": meter.bytes_received.get(),
                "bytes_sent": meter.bytes_sent.get(),
                "disk_bytes": self.store.disk_bytes().ok(),
                "memory_bytes": Usage::read().map(|usage| usage.memory_bytes),
                "cpu_seconds": Usage::read().map(|usage| usage.cpu_seconds),
            });
            let slow = meter.slow_queries().into_iter().rev().map(|query| {
                json!({
                    "at": query.at,
                    "community": query.community,
                    "shape": query.shape,
                    "milliseconds": query.milliseconds,
                    "events": query.events,
                })
            });
            stats["slow_queries"] = slow.collect();
        }
        stats
    }

    /// How far the moderation service is.
    fn service_stats(&self, caller: &Caller<'_>) -> Value {
        let review = &caller.community.review;
        json!({
            "backlog": review.backlog(),
            "behind_seconds": review.behind_seconds(self.pipeline.clock.now()),
            "held": caller.community.known().held.len(),
            "sent": review.sent.get(),
            "failures": review.failures.get(),
            "passed_over": review.passed_over.get(),
        })
    }

    fn audit_log(&self, caller: &Caller<'_>, count: usize, before: Option<u64>) -> Result<Value, Denied> {
        let community = caller.community.id;
        let next = {
            let mut records = self.records.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if self.pipeline.log.is_some() {
                // Others decide as well.
                records.remove(&community);
            }
            audit::next(&mut records, &self.store, community)?
        };
        let below = before.map_or(next, |before| before.min(next));
        audit::read(&self.store, community, below, count).map(Value::Array)
    }

    fn events_needing_moderation(&self, caller: &Caller<'_>, now: u64) -> Result<Value, Denied> {
        let waiting =
            queue::waiting(caller.community, &self.pipeline.bodies, now).map_err(|error| failed(&error))?;
        let events = waiting.iter().filter_map(|reported| match reported.target {
            Target::Event(id) => Some(json!({"id": id.to_string(), "reason": reason(reported)})),
            Target::Author(_) => None,
        });
        Ok(events.collect())
    }

    fn moderation_queue(&self, caller: &Caller<'_>, rules: &Rules, now: u64) -> Result<Value, Denied> {
        let mut waiting =
            queue::waiting(caller.community, &self.pipeline.bodies, now).map_err(|error| failed(&error))?;
        // Who reports a private message does not make it public.
        let keys = [caller.key];
        let context = rules.context(now, &keys, caller.relay);
        for reported in &mut waiting {
            reported.event = reported.event.take().filter(|event| is_shown(event, &context));
        }
        Ok(waiting.iter().map(shown).collect())
    }

    fn explain(&self, caller: &Caller<'_>, rules: &Rules, text: &str, now: u64) -> Result<Value, Denied> {
        let value = serde_json::from_str(text).map_err(|_| Denied::Refused("this is no JSON".to_owned()))?;
        let given = draft::read(value, now).map_err(Denied::Refused)?;
        let context = rules.context(now, &[], caller.relay);
        let bodies = Some(&*self.pipeline.bodies);
        let explained = explain(caller.community, rules, &given.event, given.is_signed, &context, bodies)
            .map_err(|error| failed(&error))?;
        let steps = explained.steps.iter().map(|step| {
            let (verdict, said) = match &step.verdict {
                Verdict::Passed => ("passed", None),
                Verdict::Refused(refusal) => ("refused", Some(refusal.to_string())),
                Verdict::Shadowed(refusal) => ("would refuse", Some(refusal.to_string())),
                Verdict::Hidden => ("hidden", None),
                Verdict::WouldHide => ("would hide", None),
                Verdict::NotAsked(why) => ("not asked", Some((*why).to_owned())),
            };
            json!({"rule": step.rule, "settings": step.settings, "verdict": verdict, "said": said})
        });
        let refusal = explained.decision.as_ref().err().map(ToString::to_string);
        Ok(json!({
            "accepted": refusal.is_none(),
            "duplicate": explained.is_duplicate,
            "refusal": refusal,
            "steps": steps.collect::<Vec<Value>>(),
        }))
    }
}

/// Everybody who manages, owners first.
fn staff(rules: &Rules) -> Value {
    let moderation = &rules.known.moderation;
    let mut keys: Vec<PublicKey> = rules.settings.admin.owners.iter().copied().collect();
    let mut others: Vec<PublicKey> = moderation.staff.keys().copied().collect();
    others.sort_by_key(|key| (std::cmp::Reverse(moderation.rank(key)), *key));
    keys.extend(others.into_iter().filter(|key| !rules.settings.admin.owners.contains(key)));
    let one = |key: PublicKey| {
        let duties = moderation.staff.get(&key).cloned().unwrap_or_default();
        json!({
            "pubkey": key.to_string(),
            "rank": rules.rank(&key),
            "roles": duties.roles,
            "methods": duties.methods,
        })
    };
    keys.into_iter().map(one).collect()
}

/// Why an event is reported, in short.
fn reason(reported: &Reported) -> String {
    let mut kinds: Vec<&str> = reported.reports.iter().map(|report| report.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let count = reported.reports.len();
    let people = if count == 1 { "one person" } else { "people" };
    match count {
        1 => format!("{}, says {people}", kinds.join(", ")),
        _ => format!("{}, say {count} {people}", kinds.join(", ")),
    }
}

fn shown(reported: &Reported) -> Value {
    let reports: Vec<Value> = reported
        .reports
        .iter()
        .map(|report| {
            json!({"by": report.by.to_string(), "at": report.at, "type": report.kind, "text": report.text})
        })
        .collect();
    let event = reported
        .event
        .as_ref()
        .map(|event| serde_json::from_slice::<Value>(&event.to_json()).unwrap_or_default());
    let (id, author) = match (reported.target, &reported.event) {
        (Target::Event(id), Some(event)) => (Some(id.to_string()), event.pubkey.to_string()),
        (Target::Event(id), None) => (Some(id.to_string()), String::new()),
        (Target::Author(key), _) => (None, key.to_string()),
    };
    json!({"id": id, "pubkey": author, "event": event, "reason": reason(reported), "reports": reports})
}
