//! Pages for people: what a community is, how to connect, and its rules as sentences. In: a community's
//! settings. Out: HTML or JSON, with nothing from elsewhere in it.

use serde_json::{Value, json};

use crate::config::{Mode, Settings};
use crate::policy::{mode_of, sentences};
use crate::rule::Rule;

const STYLE: &str = "\
:root { color-scheme: light dark; }
body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 10vh auto; padding: 0 1.2rem; }
code { font-size: 1.05em; overflow-wrap: anywhere; }
.address { font-size: 1.15em; user-select: all; }
li { margin: 0.4em 0; }
li code { opacity: 0.65; font-size: 0.8em; }
";

pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
    out
}

fn html(settings: &Settings, title: &str, body: &str) -> String {
    let name = escape(&settings.relay.name);
    let title = if title.is_empty() { name.clone() } else { format!("{title} – {name}") };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style></head>\n<body><main><h1>{name}</h1>\n{body}</main></body></html>\n"
    )
}

/// What a person sees who opens a community's address in a browser.
pub(super) fn landing(settings: &Settings, address: &str) -> String {
    let body = format!(
        "<p>{description}</p>\n<p>This is a Nostr relay. To take part, add this address to the relays of your \
         Nostr client:</p>\n<p><code class=\"address\">{address}</code></p>\n<h2>Rules</h2>\n{rules}",
        description = escape(&settings.relay.description),
        address = escape(address),
        rules = list(settings),
    );
    html(settings, "", &body)
}

/// The rules alone.
pub(super) fn rules(settings: &Settings) -> String {
    html(settings, "Rules", &format!("<h2>Rules</h2>\n{}", list(settings)))
}

/// The rules as a list, what this community chose for itself before what holds on any relay. Two rules that say
/// the same are one to their reader.
fn list(settings: &Settings) -> String {
    let mut items: Vec<(String, String)> = Vec::new();
    let plain = Settings::default();
    let is_plain = |(rule, sentence): &(&Rule, String)| (rule.sentence)(&plain).as_ref() == Some(sentence);
    let (common, own): (Vec<_>, Vec<_>) = sentences(settings).partition(is_plain);
    for (rule, sentence) in own.into_iter().chain(common) {
        let only_counts = match mode_of(rule, settings) {
            Mode::Enforce => "",
            Mode::Shadow => " <em>(on trial: it refuses nothing yet)</em>",
        };
        let said = format!("{}{only_counts}", escape(&sentence));
        match items.iter_mut().find(|(other, _)| *other == said) {
            Some((_, ids)) => ids.push_str(&format!(" <code>{}</code>", rule.id)),
            None => items.push((said, format!("<code>{}</code>", rule.id))),
        }
    }
    let items: Vec<String> = items.iter().map(|(said, ids)| format!("<li>{said} {ids}</li>\n")).collect();
    format!("<ul>\n{}</ul>\n", items.concat())
}

/// The rules for programs: `[{"id", "sentence", "mode"}]`.
pub(super) fn rules_json(settings: &Settings) -> String {
    let rules = sentences(settings).map(
        |(rule, sentence)| json!({"id": rule.id, "sentence": sentence, "mode": mode_of(rule, settings)}),
    );
    Value::Array(rules.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_writes_is_never_markup() {
        let mut settings = Settings::default();
        settings.relay.name = "<b>\"R&D\"</b>".to_owned();
        let page = landing(&settings, "ws://x/?a='b'");
        assert!(page.contains("<h1>&lt;b&gt;&quot;R&amp;D&quot;&lt;/b&gt;</h1>"), "{page}");
        assert!(page.contains("ws://x/?a=&#39;b&#39;"), "{page}");
    }

    #[test]
    fn what_a_community_chose_comes_first() {
        let mut settings = Settings::default();
        settings.kinds.denied = crate::config::KindSet::of(&[4]);
        settings.limits.event_tags_max = 7;
        let page = rules(&settings);
        let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not in {page}"));
        let own = place("at most 7 tags").max(place("Events of kinds 4 are not taken."));
        assert!(own < place("at most 15 minutes ahead"), "{page}");
    }
}
