//! Pages for people: what a community is, how to connect, and its rules as sentences. In: a community's
//! settings. Out: HTML or JSON, with nothing from elsewhere in it.

use qrcode::QrCode;
use qrcode::render::svg;
use serde_json::{Value, json};

use crate::config::{Mode, Settings};
use crate::event::{PublicKey, npub};
use crate::nips::supported;
use crate::policy::{mode_of, sentences};
use crate::rule::Rule;
use crate::words;

const STYLE: &str = "\
:root { color-scheme: light dark; }
body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 10vh auto; padding: 0 1.2rem; }
code { font-size: 1.05em; overflow-wrap: anywhere; }
.address { font-size: 1.15em; user-select: all; }
li { margin: 0.4em 0; }
li code { opacity: 0.65; font-size: 0.8em; }
.code svg { background: #fff; max-width: 12rem; height: auto; }
figure { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.5rem 0; align-items: flex-start; }
figcaption { flex-basis: 100%; opacity: 0.75; font-size: 0.85em; }
.map { flex: 1 1 15rem; max-width: 100%; border-radius: 0.4rem; }
.sea { fill: #cfe0ee; }
.ground { fill: #f1ede4; }
.map text { font-family: ui-monospace, monospace; text-anchor: middle; dominant-baseline: central; fill: #5b1c05; }
.land { fill: #f4efe2; stroke: #9a9484; stroke-width: 0.7; }
.cell { fill: #d9480f; fill-opacity: 0.35; stroke: #a33307; stroke-width: 1; }
.fine { stroke-width: 0.3; }
.mark { fill: none; stroke: #a33307; stroke-width: 2.5; }
@media (prefers-color-scheme: dark) {
  .sea { fill: #16242f; }
  .ground { fill: #2a2925; }
  .map text { fill: #ffd9c7; }
  .land { fill: #38372f; stroke: #7b776a; }
  .cell { fill: #ff8f5a; stroke: #ffb08a; }
  .mark { stroke: #ffb08a; }
}
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

/// Keeps the numbers of the page as they are.
pub(super) const SCRIPT: &str = include_str!("page.js");

/// What is going on, for everybody.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) events: usize,
    pub(super) connections: usize,
}

impl Numbers {
    /// For programs.
    pub(super) fn json(self) -> String {
        json!({"events": self.events, "connections": self.connections}).to_string()
    }
}

/// What a person sees who opens a community's address in a browser.
pub(super) fn landing(settings: &Settings, address: &str, picture: &str, numbers: Numbers) -> String {
    let number =
        |name: &str, number: usize| format!("<b data-number=\"{name}\">{}</b>", words::number(number as u64));
    let body = format!(
        "<p>{description}</p>\n<p>{events} events are kept here, and {connections} people or programs are connected \
         now.</p>\n{picture}<h2>Take part</h2>\n<p>This is a Nostr relay. Add its address to the relays of your \
         Nostr client, or scan it:</p>\n<p><code class=\"address\">{address}</code></p>\n{code}<h2>Rules</h2>\n\
         {rules}<h2>Who runs it</h2>\n{people}<h2>What it speaks</h2>\n<p>Nostr's NIPs {nips}.</p>\n\
         <script src=\"?script\" async></script>\n",
        description = escape(&settings.relay.description),
        events = number("events", numbers.events),
        connections = number("connections", numbers.connections),
        address = escape(address),
        code = code(address).unwrap_or_default(),
        rules = list(settings),
        people = people(settings),
        nips = nips(settings),
    );
    html(settings, "", &body)
}

/// The address as a QR code; `None` when it is too long for one.
fn code(address: &str) -> Option<String> {
    let code = QrCode::new(address.as_bytes()).ok()?;
    let dark = svg::Color("#000");
    let drawn = code.render::<svg::Color<'_>>().min_dimensions(180, 180).dark_color(dark).build();
    // What comes before is for a file of its own.
    let drawing = &drawn[drawn.find("<svg")?..];
    Some(format!(
        "<div class=\"code\" role=\"img\" aria-label=\"The address as a QR code\">{drawing}</div>\n"
    ))
}

/// How to reach who runs it.
fn people(settings: &Settings) -> String {
    let relay = &settings.relay;
    let link = |address: &str, words: &str| format!("<a href=\"{}\">{}</a>", escape(address), escape(words));
    let is_link =
        |text: &str| ["mailto:", "https:", "http:", "nostr:"].iter().any(|scheme| text.starts_with(scheme));
    let contact = relay.contact.as_ref().map(|contact| match is_link(contact) {
        true => format!("<li>Contact: {}</li>\n", link(contact, contact.trim_start_matches("mailto:"))),
        false => format!("<li>Contact: {}</li>\n", escape(contact)),
    });
    let key = relay.pubkey.as_ref().and_then(|key| PublicKey::from_hex(key)).map(npub);
    let key = key.map(|npub| format!("<li>On Nostr: {}</li>\n", link(&format!("nostr:{npub}"), &npub)));
    let terms = relay.terms_of_service.as_ref();
    let terms = terms.map(|terms| format!("<li>{}</li>\n", link(terms, "Terms of service")));
    let manage = (!settings.admin.owners.is_empty()).then(|| {
        let path = settings.relay.path.trim_end_matches('/');
        format!("<li>{}</li>\n", link(&format!("{path}/admin"), "For those who manage it"))
    });
    let items: Vec<String> = [contact, key, terms, manage].into_iter().flatten().collect();
    match items.is_empty() {
        true => "<p>Its operator has not said.</p>\n".to_owned(),
        false => format!("<ul>\n{}</ul>\n", items.concat()),
    }
}

fn nips(settings: &Settings) -> String {
    let all: Vec<String> = supported(settings).iter().map(|nip| format!("{nip:02}")).collect();
    all.join(", ")
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
        let numbers = Numbers { events: 1_234, connections: 2 };
        let page = landing(&settings, "ws://x/?a='b'", "", numbers);
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
