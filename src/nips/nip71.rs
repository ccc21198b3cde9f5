//! NIP-71, video events (nips/71.md): what a video must name, and how long it may last. In: an event, the
//! settings. Out: a decision. Never fetches a video: what its author states is what counts.

use super::nip92::attachments;
use crate::config::Settings;
use crate::event::{Event, KindClass};
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Rule};
use crate::words::duration;

/// What is asked of videos.
pub const RULES: &[Rule] = &[
    Rule {
        id: "media.video",
        settings: &["media.videos_checked"],
        sentence: |settings| {
            settings
                .media
                .videos_checked
                .then(|| "Videos (NIP-71) need a title and the address of a video.".to_owned())
        },
        check: Check::Admit(video),
    },
    Rule {
        id: "media.duration",
        settings: &["media.duration_seconds_max_by_kind"],
        sentence: duration_sentence,
        check: Check::Admit(lasts),
    },
];

fn invalid(rule: &'static str, sentence: impl Into<std::borrow::Cow<'static, str>>) -> Decision {
    Err(Refusal::new(Prefix::Invalid, rule, sentence))
}

fn has_text(event: &Event, name: &str) -> bool {
    event.tags.values(name).any(|value| !value.trim().is_empty())
}

/// The addresses of an event's videos: in `imeta` tags, or in the `url` tags of older clients.
fn has_video(event: &Event) -> bool {
    let is_address = |url: &str| url.starts_with("https://") || url.starts_with("http://");
    // An attachment that does not say what it is, is taken for the video.
    let is_video = |media: Option<&str>| {
        media.is_none_or(|media| {
            media.starts_with("video/") || media.eq_ignore_ascii_case("application/x-mpegurl")
        })
    };
    attachments(event).any(|one| one.get("url").is_some_and(is_address) && is_video(one.get("m")))
        || event.tags.values("url").any(is_address)
}

fn video(event: &Event, _: &Context<'_>) -> Decision {
    if !event.kind.is_video() {
        return Ok(());
    }
    if event.kind.class() == KindClass::Addressable && !has_text(event, "d") {
        return invalid("media.video", format!("a video of kind {} needs a d tag", event.kind));
    }
    if !has_text(event, "title") {
        return invalid("media.video", "a video needs a title tag");
    }
    if !has_video(event) {
        return invalid("media.video", "a video needs an imeta tag with the http(s) address of a video file");
    }
    Ok(())
}

fn duration_sentence(settings: &Settings) -> Option<String> {
    let each: Vec<String> = settings
        .media
        .duration_seconds_max_by_kind
        .iter()
        .map(|(kinds, most)| format!("those of kinds {kinds} {}", duration(*most)))
        .collect();
    (!each.is_empty()).then(|| format!("Videos last at most: {}.", each.join(", ")))
}

/// Refuses videos that state a longer time than their kind may last; who states none is believed.
fn lasts(event: &Event, context: &Context<'_>) -> Decision {
    let Some(&most) = context.config.media.duration_seconds_max_by_kind.get(event.kind) else {
        return Ok(());
    };
    let of_attachments: Vec<_> = attachments(event).collect();
    let stated = of_attachments.iter().filter_map(|one| one.get("duration"));
    for text in stated.chain(event.tags.values("duration")) {
        match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => {
                if seconds > most as f64 {
                    let sentence =
                        format!("the video lasts {text} seconds, more than the {most} of its kind");
                    return invalid("media.duration", sentence);
                }
            }
            _ => return invalid("media.duration", "a video's duration is a number of seconds"),
        }
    }
    Ok(())
}
