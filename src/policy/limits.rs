//! Bounds on what one event or one query may be. The bounds themselves are `[limits]` in relay.toml.

use crate::event::{Event, Kind};
use crate::filter::Filter;
use crate::nips::nip59;
use crate::rule::{Context, Decision, Prefix, Refusal};

fn invalid(rule: &'static str, sentence: String) -> Decision {
    Err(Refusal::new(Prefix::Invalid, rule, sentence))
}

pub(super) fn created_at_future(event: &Event, context: &Context<'_>) -> Decision {
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

pub(super) fn created_at_past(event: &Event, context: &Context<'_>) -> Decision {
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

pub(super) fn event_tags(event: &Event, context: &Context<'_>) -> Decision {
    let (tags, most) = (event.tags.len(), context.config.limits.event_tags_max);
    if tags <= most {
        return Ok(());
    }
    invalid("limits.event_tags_max", format!("{tags} tags are more than the {most} that one event may have"))
}

pub(super) fn tag_values(event: &Event, context: &Context<'_>) -> Decision {
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

pub(super) fn content(event: &Event, context: &Context<'_>) -> Decision {
    let most = context.config.limits.content_chars_max;
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

/// Whether a REQ or COUNT is one that this relay serves to who asks.
///
/// # Errors
/// The refusal for `CLOSED`.
pub fn admit_query(subscription: &str, filters: &[Filter], context: &Context<'_>) -> Decision {
    let limits = &context.config.limits;
    let chars = subscription.chars().count();
    if chars == 0 || chars > limits.subscription_id_chars_max {
        return invalid(
            "limits.subscription_id_chars_max",
            format!(
                "a subscription id has 1 to {} characters, not {chars}",
                limits.subscription_id_chars_max
            ),
        );
    }
    if filters.len() > limits.filters_per_request_max {
        return invalid(
            "limits.filters_per_request_max",
            format!(
                "{} filters are more than the {} of one request",
                filters.len(),
                limits.filters_per_request_max
            ),
        );
    }
    for filter in filters {
        let values = filter.values();
        if values > limits.filter_values_max {
            return invalid(
                "limits.filter_values_max",
                format!(
                    "a filter lists {values} values, more than the {} of one filter",
                    limits.filter_values_max
                ),
            );
        }
    }
    nip59::admit_query(filters, context)
}
