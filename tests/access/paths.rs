//! The ways by which something may be seen: each is one line.

use serde_json::{Value, json};

use crate::common::http::http;
use crate::table::{Thing, Who};
use crate::town::Town;

/// A way.
pub(crate) struct Path {
    /// As the page calls it.
    pub(crate) name: &'static str,
    /// Whether somebody is to see a thing by it.
    pub(crate) expected: fn(&Thing, Who) -> bool,
    /// Whether they do.
    pub(crate) sees: fn(&mut Town, Who, &Thing) -> bool,
}

const fn path(
    name: &'static str,
    expected: fn(&Thing, Who) -> bool,
    sees: fn(&mut Town, Who, &Thing) -> bool,
) -> Path {
    Path { name, expected, sees }
}

/// All ways. A new one is a line here, and a word on the page.
pub(crate) const PATHS: &[Path] = &[
    path("REQ by id", stored, |town, who, thing| finds(town, who, thing, id)),
    path("REQ by author", stored, |town, who, thing| finds(town, who, thing, author)),
    path("REQ by kind", stored, |town, who, thing| finds(town, who, thing, kind)),
    path("REQ by tag", stored, |town, who, thing| finds(town, who, thing, tag)),
    path("REQ by recipient", addressed, |town, who, thing| finds(town, who, thing, recipient)),
    path("REQ by time", stored, |town, who, thing| finds(town, who, thing, time)),
    path("REQ of everything", stored, |town, who, thing| finds(town, who, thing, |_, _| json!({}))),
    path("REQ with search", searched, |town, who, thing| finds(town, who, thing, search)),
    path("COUNT by id", stored, |town, who, thing| counts(town, who, thing, id)),
    path("COUNT by author", stored, |town, who, thing| counts(town, who, thing, author)),
    path("COUNT by kind", stored, |town, who, thing| counts(town, who, thing, kind)),
    path("COUNT by tag", stored, |town, who, thing| counts(town, who, thing, tag)),
    path("COUNT by recipient", addressed, |town, who, thing| counts(town, who, thing, recipient)),
    path("COUNT with search", searched, |town, who, thing| {
        counts(town, who, thing, |_, thing| json!({"search": format!("\"secret of {}\"", thing.label)}))
    }),
    path("NEG-OPEN by id", stored, |town, who, thing| reconciles(town, who, thing, id)),
    path("NEG-OPEN by author", stored, |town, who, thing| reconciles(town, who, thing, author)),
    path("NEG-OPEN by kind", stored, |town, who, thing| reconciles(town, who, thing, kind)),
    path("NEG-OPEN of everything", stored, |town, who, thing| reconciles(town, who, thing, |_, _| json!({}))),
    path("live subscription", live, |town, who, thing| town.was_streamed(who, thing)),
    path("management: listevents", judged, |town, who, thing| {
        let ids = json!([[town.event(thing).id.to_string()]]);
        says(town, thing, &town.told(who, thing, "listevents", ids))
    }),
    path("management: listauthorevents", judged, |town, who, thing| {
        let author = json!([town.event(thing).pubkey.to_string(), 100]);
        says(town, thing, &town.told(who, thing, "listauthorevents", author))
    }),
    path("management: listmoderationqueue", reported, |town, who, thing| {
        says(town, thing, &town.told(who, thing, "listmoderationqueue", json!([])))
    }),
    path("management: all other lists", never, |town, who, thing| {
        let lists =
            ["listeventsneedingmoderation", "listbannedevents", "listauditlog", "stats", "listprofiles"];
        let authors = json!([[town.event(thing).pubkey.to_string()]]);
        lists.iter().any(|list| {
            let params = if *list == "listprofiles" { authors.clone() } else { json!([]) };
            says(town, thing, &town.told(who, thing, list, params))
        })
    }),
    path("plaza export --relay", anonymous, |town, _, thing| {
        let content = town.event(thing).content.clone();
        town.exported(thing.community).contains(&content)
    }),
    path("pages: landing page, rules, numbers, NIP-11", never, |town, _, thing| {
        let accept = [("Accept", "application/nostr+json")];
        let at = |query: &str| format!("{}{query}", thing.community);
        let queries = ["", "?rules", "?numbers", "?script"];
        let plain = queries.iter().any(|query| {
            let page = http(&town.relay, "GET", &at(query), &[], "").body;
            says(town, thing, &page) || page.contains(&town.event(thing).id.to_string())
        });
        let document = http(&town.relay, "GET", thing.community, &accept, "").body;
        plain || says(town, thing, &document)
    }),
];

/// What who sees finds in what is stored.
fn stored(thing: &Thing, who: Who) -> bool {
    thing.is_stored && thing.seen_by.contains(&who)
}

/// The same where something has a recipient to ask by.
fn addressed(thing: &Thing, who: Who) -> bool {
    stored(thing, who) && has_recipient(thing)
}

fn has_recipient(thing: &Thing) -> bool {
    matches!(thing.kind, 4 | 1_059 | 21_059 | 30_078)
}

/// What is streamed while it is new: to all what is hidden only later.
fn live(thing: &Thing, who: Who) -> bool {
    thing.is_hidden_later || thing.seen_by.contains(&who)
}

/// What moderators of the town look up, to judge of it. Of the club they are none; who owns the town owns it too.
fn judged(thing: &Thing, who: Who) -> bool {
    let manages = if thing.community == "/" { who.manages() } else { who == Who::Owner };
    thing.is_judged && thing.is_stored && manages
}

/// What a report says, but not what it is about: that is private here.
fn reported(thing: &Thing, who: Who) -> bool {
    thing.kind == 1_984 && who.manages()
}

/// What a program gets that logs in as nobody.
fn anonymous(thing: &Thing, _: Who) -> bool {
    stored(thing, Who::Anonymous)
}

/// What is searched of it: text that is made to be read by whoever may, and neither reports nor private kinds.
fn searched(thing: &Thing, who: Who) -> bool {
    stored(thing, who) && thing.kind == 1
}

fn never(_: &Thing, _: Who) -> bool {
    false
}

/// Whether a text tells what is in an event.
fn says(town: &Town, thing: &Thing, text: &str) -> bool {
    text.contains(&town.event(thing).content)
}

fn id(town: &Town, thing: &Thing) -> Value {
    json!({"ids": [town.event(thing).id.to_string()]})
}

fn author(town: &Town, thing: &Thing) -> Value {
    json!({"authors": [town.event(thing).pubkey.to_string()], "#t": [thing.label]})
}

fn kind(_: &Town, thing: &Thing) -> Value {
    json!({"kinds": [thing.kind], "#t": [thing.label]})
}

fn tag(_: &Town, thing: &Thing) -> Value {
    json!({"#t": [thing.label]})
}

fn recipient(town: &Town, thing: &Thing) -> Value {
    // What names nobody is asked for by who never wrote.
    let named = town.event(thing).tags.values("p").next().filter(|_| has_recipient(thing));
    json!({"#p": [named.unwrap_or(&"0".repeat(64))], "#t": [thing.label]})
}

fn time(town: &Town, thing: &Thing) -> Value {
    let time = town.event(thing).created_at;
    json!({"since": time, "until": time})
}

fn search(_: &Town, _: &Thing) -> Value {
    json!({"search": "secret"})
}

fn finds(town: &mut Town, who: Who, thing: &Thing, filter: fn(&Town, &Thing) -> Value) -> bool {
    let asked = filter(town, thing);
    let alone = town.finds(who, thing, std::slice::from_ref(&asked));
    // Beside a filter that anybody may ask, nothing else is seen.
    let beside = town.finds(who, thing, &[json!({"kinds": [0]}), asked]);
    assert_eq!(alone, beside, "{} by itself and beside another filter", thing.name);
    alone
}

fn counts(town: &mut Town, who: Who, thing: &Thing, filter: fn(&Town, &Thing) -> Value) -> bool {
    let asked = filter(town, thing);
    town.counts(who, thing, &asked)
}

fn reconciles(town: &mut Town, who: Who, thing: &Thing, filter: fn(&Town, &Thing) -> Value) -> bool {
    let asked = filter(town, thing);
    town.reconciles(who, thing, &asked)
}
