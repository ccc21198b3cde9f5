//! NIP-92, media attachments (nips/92.md): the `imeta` tag, its fields, and where media may lie. In: an
//! event, the settings. Out: a decision. Never fetches anything.

use crate::config::Settings;
use crate::domain::host_of_url;
use crate::event::{Event, Tag};
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Rule};
use crate::words::any_of;

/// What is asked of attachments.
pub const RULES: &[Rule] = &[
    Rule {
        id: "media.imeta",
        settings: &["media.imeta_checked", "media.imeta_fields_required"],
        sentence: imeta_sentence,
        check: Check::Admit(imeta),
    },
    Rule {
        id: "media.hosts",
        settings: &["media.hosts_allowed", "media.hosts_denied"],
        sentence: hosts_sentence,
        check: Check::Admit(hosts),
    },
];

/// One `imeta` tag: its elements are fields, a name and a value with a space between.
#[derive(Clone, Copy)]
pub struct Attachment<'a>(Tag<'a>);

impl<'a> Attachment<'a> {
    /// Its fields; `None` stands for an element that is none.
    fn fields(self) -> impl Iterator<Item = Option<(&'a str, &'a str)>> {
        self.0
            .iter()
            .skip(1)
            .map(|field| field.split_once(' ').filter(|(name, value)| !name.is_empty() && !value.is_empty()))
    }

    /// The first value of a field.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.fields().flatten().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// All values of a field: `fallback` may be there several times.
    fn all(self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields().flatten().filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }
}

/// The `imeta` tags of an event.
pub fn attachments(event: &Event) -> impl Iterator<Item = Attachment<'_>> {
    event.tags.iter().filter(|tag| tag.name() == "imeta").map(Attachment)
}

fn imeta_sentence(settings: &Settings) -> Option<String> {
    let media = &settings.media;
    let fields = &media.imeta_fields_required;
    let each = (media.imeta_checked || !fields.is_empty())
        .then(|| "Each imeta tag names an address and tells something of what lies there".to_owned());
    let of_videos = match fields.is_empty() {
        true => String::new(),
        false => format!("; those of videos have the fields {}", fields.join(", ")),
    };
    each.map(|each| format!("{each}{of_videos}."))
}

fn imeta(event: &Event, context: &Context<'_>) -> Decision {
    let media = &context.config.media;
    let invalid = |sentence: String| Err(Refusal::new(Prefix::Invalid, "media.imeta", sentence));
    let required: &[String] = if event.kind.is_video() { &media.imeta_fields_required } else { &[] };
    for attachment in attachments(event) {
        if media.imeta_checked {
            if attachment.fields().any(|field| field.is_none()) {
                return invalid("each element of an imeta tag is a name, a space and a value".to_owned());
            }
            if attachment.get("url").is_none_or(|url| host_of_url(url).is_none()) {
                return invalid("an imeta tag needs a url with an http(s) address".to_owned());
            }
            if attachment.fields().count() < 2 {
                return invalid("an imeta tag needs at least one field besides its url".to_owned());
            }
        }
        if let Some(field) = required.iter().find(|field| attachment.get(field).is_none()) {
            return invalid(format!("the imeta tag of a video needs the field {field}"));
        }
    }
    if !required.is_empty() && attachments(event).next().is_none() {
        return invalid(format!("a video needs an imeta tag with the fields {}", required.join(", ")));
    }
    Ok(())
}

fn hosts_sentence(settings: &Settings) -> Option<String> {
    let media = &settings.media;
    let allowed = (!media.hosts_allowed.is_empty())
        .then(|| format!("Media lie on {}", any_of(media.hosts_allowed.iter())));
    let denied =
        (!media.hosts_denied.is_empty()).then(|| format!("not on {}", any_of(media.hosts_denied.iter())));
    match (allowed, denied) {
        (None, None) => None,
        (Some(allowed), None) => Some(format!("{allowed}.")),
        (None, Some(denied)) => Some(format!("Media lie {denied}.")),
        (Some(allowed), Some(denied)) => Some(format!("{allowed}, but {denied}.")),
    }
}

fn hosts(event: &Event, context: &Context<'_>) -> Decision {
    let media = &context.config.media;
    let blocked = |sentence: String| Err(Refusal::new(Prefix::Blocked, "media.hosts", sentence));
    let in_attachments = attachments(event).flat_map(|one| {
        ["url", "image", "thumb", "fallback"].into_iter().flat_map(move |field| one.all(field))
    });
    for url in in_attachments.chain(event.tags.values("url")) {
        // What is no web address has no host, and none that is allowed.
        let host = host_of_url(url).unwrap_or_default();
        if media.hosts_denied.covers(&host) {
            return blocked(format!("media on {host} are not taken here"));
        }
        let allowed = &media.hosts_allowed;
        if !allowed.is_empty() && !allowed.covers(&host) {
            let where_from = if host.is_empty() { "this address" } else { &*host };
            let listed = any_of(allowed.iter());
            return blocked(format!("media on {where_from} are not taken here, only on {listed}"));
        }
    }
    Ok(())
}
