//! Bounds on what one event or one query may be. The bounds themselves are `[limits]` in relay.toml.

use crate::config::KindMap;
use crate::event::{Event, Kind};
use crate::filter::{Filter, places};
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Rule};
use crate::words::{duration, number};

/// The bounds in the order in which they are looked at.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "limits.created_at_future",
        settings: &["limits.created_at_future_seconds_max"],
        sentence: |settings| {
            let most = duration(settings.limits.created_at_future_seconds_max);
            Some(format!("An event may be dated at most {most} ahead."))
        },
        check: Check::Admit(created_at_future),
    },
    Rule {
        id: "limits.created_at_past",
        settings: &["limits.created_at_past_seconds_max"],
        sentence: |settings| match settings.limits.created_at_past_seconds_max {
            0 => None,
            most => Some(format!("An event may be at most {} old when it comes in.", duration(most))),
        },
        check: Check::Admit(created_at_past),
    },
    Rule {
        id: "limits.event_tags_max",
        settings: &["limits.event_tags_max", "limits.event_tags_max_by_kind"],
        sentence: |settings| {
            let limits = &settings.limits;
            let most = number(limits.event_tags_max as u64);
            Some(format!("An event has at most {most} tags{}.", by_kind(&limits.event_tags_max_by_kind)))
        },
        check: Check::Admit(event_tags),
    },
    Rule {
        id: "limits.tag_value_bytes_max",
        settings: &["limits.tag_value_bytes_max"],
        sentence: |settings| {
            let most = number(settings.limits.tag_value_bytes_max as u64);
            Some(format!("Each part of a tag has at most {most} bytes."))
        },
        check: Check::Admit(tag_values),
    },
    Rule {
        id: "limits.content_chars_max",
        settings: &["limits.content_chars_max", "limits.content_chars_max_by_kind"],
        sentence: |settings| {
            let limits = &settings.limits;
            let most = number(limits.content_chars_max as u64);
            let others = by_kind(&limits.content_chars_max_by_kind);
            Some(format!("The text of an event has at most {most} characters{others}."))
        },
        check: Check::Admit(content),
    },
    Rule {
        id: "limits.filters_per_request_max",
        settings: &["limits.filters_per_request_max"],
        sentence: |settings| {
            let most = number(settings.limits.filters_per_request_max as u64);
            Some(format!("A request has at most {most} filters."))
        },
        check: Check::Query(filters),
    },
    Rule {
        id: "limits.filter_values_max",
        settings: &["limits.filter_values_max"],
        sentence: |settings| {
            let most = number(settings.limits.filter_values_max as u64);
            Some(format!("A filter lists at most {most} values."))
        },
        check: Check::Query(filter_values),
    },
];

/// The exceptions from a general bound, to end a sentence with.
fn by_kind(bounds: &KindMap<usize>) -> String {
    let each =
        bounds.iter().map(|(kinds, most)| format!(", of kind {kinds} at most {}", number(*most as u64)));
    each.collect()
}

fn invalid(rule: &'static str, sentence: String) -> Decision {
    Err(Refusal::new(Prefix::Invalid, rule, sentence))
}

fn created_at_future(event: &Event, context: &Context<'_>) -> Decision {
    let ahead = event.created_at.saturating_sub(context.now);
    let most = context.config.limits.created_at_future_seconds_max;
    if ahead <= most {
        return Ok(());
    }
    invalid(
        "limits.created_at_future",
        format!("created_at is {ahead} seconds in the future, more than {most} are not taken"),
    )
}

fn created_at_past(event: &Event, context: &Context<'_>) -> Decision {
    let age = context.now.saturating_sub(event.created_at);
    match context.config.limits.created_at_past_seconds_max {
        0 => Ok(()),
        // A request to vanish is followed whenever it was made (NIP-62).
        _ if event.kind == Kind::VANISH => Ok(()),
        most if age <= most => Ok(()),
        most => invalid(
            "limits.created_at_past",
            format!("created_at is {age} seconds ago, more than {most} are not taken"),
        ),
    }
}

fn event_tags(event: &Event, context: &Context<'_>) -> Decision {
    let limits = &context.config.limits;
    let most = limits.event_tags_max_by_kind.get(event.kind).copied().unwrap_or(limits.event_tags_max);
    let tags = event.tags.len();
    if tags <= most {
        return Ok(());
    }
    invalid("limits.event_tags_max", format!("{tags} tags are more than the {most} that one event may have"))
}

fn tag_values(event: &Event, context: &Context<'_>) -> Decision {
    let most = context.config.limits.tag_value_bytes_max;
    if event.tags.text_len() <= most {
        return Ok(());
    }
    match event.tags.iter().flat_map(|tag| tag.iter()).map(str::len).find(|&bytes| bytes > most) {
        None => Ok(()),
        Some(bytes) => invalid(
            "limits.tag_value_bytes_max",
            format!("a tag holds a value of {bytes} bytes, more than the {most} that one may have"),
        ),
    }
}

fn content(event: &Event, context: &Context<'_>) -> Decision {
    let limits = &context.config.limits;
    let most = limits.content_chars_max_by_kind.get(event.kind).copied().unwrap_or(limits.content_chars_max);
    if event.content.len() <= most {
        return Ok(());
    }
    let chars = event.content.chars().count();
    if chars <= most {
        return Ok(());
    }
    invalid(
        "limits.content_chars_max",
        format!("the content has {chars} characters, more than the {most} that one event may have"),
    )
}

/// Whether a subscription's name is of a length that this relay takes.
pub(super) fn subscription_id(subscription: &str, context: &Context<'_>) -> Decision {
    let chars = subscription.chars().count();
    let most = context.config.limits.subscription_id_chars_max;
    if (1..=most).contains(&chars) {
        return Ok(());
    }
    invalid(
        "limits.subscription_id_chars_max",
        format!("a subscription id has 1 to {most} characters, not {chars}"),
    )
}

fn filters(filters: &[Filter], context: &Context<'_>) -> Decision {
    let most = context.config.limits.filters_per_request_max;
    if filters.len() <= most {
        return Ok(());
    }
    invalid(
        "limits.filters_per_request_max",
        format!("{} filters are more than the {most} of one request", filters.len()),
    )
}

fn filter_values(filters: &[Filter], context: &Context<'_>) -> Decision {
    let most = context.config.limits.filter_values_max;
    let reads_places = context.config.geohash.prefix_filters;
    let values_of = if reads_places { places::values_once_read } else { Filter::values };
    let Some(filter) = filters.iter().find(|filter| values_of(filter) > most) else { return Ok(()) };
    let values = values_of(filter);
    let why = if values > filter.values() { ", where each place with a ~ is nine" } else { "" };
    invalid(
        "limits.filter_values_max",
        format!("a filter lists {values} values, more than the {most} of one filter{why}"),
    )
}
