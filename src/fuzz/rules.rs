//! Events against all rules: none panics, refusals are short, and what `explain` says is what the relay decides.
//! Which policy is asked stands in the first byte. Policies at random, over the wire: tests/policies.

use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use super::wire::{KINDS, event_of};
use super::{Chance, Target};
use crate::config::{Config, Follow, ListKind, Settings};
use crate::domain::lists::Domains;
use crate::event::{Event, PublicKey, Verified, draft};
use crate::nips::nip51::sets::{Listed, Why};
use crate::policy::{Case, Facts, Policy, Verdict, explain, foresee};
use crate::rule::people::People;
use crate::rule::shared::{SharedList, SharedLists};
use crate::rule::{Context, Decision, Known, Related, RelayNames, WANT_ROUNDS_MAX};

pub(super) const RULES: Target = Target::new("rules", 64 * 1024, build, check);

const NOW: u64 = 1_790_000_000;

/// The most bytes of a refusal's sentence.
const SENTENCE_BYTES_MAX: usize = 2_000;

/// Rules that a place would stand in the way of have a policy of their own.
const POLICIES: [&str; 5] = [
    "",
    r#"
[geohash]
center = [52.52, 13.40]
radius_km = 10.0
border_precision = 6
replies = "all"
[nip13]
difficulty_min = 4
[authors]
denied = ["0202020202020202020202020202020202020202020202020202020202020202"]
"#,
    r#"
[market]
enabled = true
currencies = ["sats", "EUR"]
categories = ["market", "bread", "books"]
price_min = { sats = 1, EUR = "0.50" }
price_max = { sats = 10_000_000, EUR = "5000" }
listings_per_author_max = 3
images_max = 10
location_required = true
[zaps]
enabled = true
description_hash_required = true
amount_required = true
after_closed = "refuse"
"#,
    r#"
[media]
videos_checked = true
imeta_checked = true
hosts_denied = ["tracker.example", "ads.example"]
content_warning = "required"
labels_refused = ["nsfw"]
duration_seconds_max_by_kind = { "22,34236" = 60 }
[bridge]
ids_checked = true
protocols_refused = ["rss"]
domains_refused = ["refused.example"]
[blocklist]
files = ["blocklist.csv"]
[followers]
marked = true
kinds = [1]
[[shared_lists.follow]]
relay = "wss://a.example"
pubkey = "0909090909090909090909090909090909090909090909090909090909090909"
"#,
    r#"
[[shared_lists.follow]]
relay = "wss://a.example"
pubkey = "0909090909090909090909090909090909090909090909090909090909090909"
on = "hide"
[limits]
content_chars_max_by_kind = { "1,1111" = 200, "7" = 2 }
[kinds]
allowed = ["0-1999", 9735, 21059, "10000-19999", "30000-39999"]
[access]
write = "members"
[trust]
roots = ["0101010101010101010101010101010101010101010101010101010101010101"]
write = true
[reports]
moderators = ["0101010101010101010101010101010101010101010101010101010101010101"]
event_threshold = 2
by_members = true
"#,
];

/// A community and what it knows.
struct Town {
    settings: Settings,
    policy: Policy,
    known: Known,
}

static TOWNS: LazyLock<Vec<Town>> = LazyLock::new(|| {
    let towns = POLICIES.iter().map(|text| {
        let config = Config::parse(text, "relay.toml".as_ref()).unwrap_or_else(|error| panic!("{error}"));
        let settings = config.root;
        let domains = Domains::parse(&[("blocklist", "a.example,suspend\nb.example,silence\n")]).0;
        let people = Arc::new(People::of(&settings, &[]));
        let shared = Arc::new(followed(&settings));
        let known = Known { people, domains: Arc::new(domains), shared, ..Known::compiled(&settings) };
        Town { policy: Policy::new(&settings), settings, known }
    });
    towns.collect()
});

/// What another relay's lists have: a person, and a domain.
fn followed(settings: &Settings) -> SharedLists {
    let listed = [Listed::Pubkey(PublicKey([2; 32])), Listed::Domain("c.example".into())];
    let list = |(listed, follow): (&Listed, &Follow)| SharedList {
        key: PublicKey([9; 32]),
        kind: if matches!(listed, Listed::Pubkey(_)) { ListKind::Pubkeys } else { ListKind::Domains },
        relay: follow.host().into(),
        title: "listed".into(),
        on: follow.on,
        until: u64::MAX,
        entries: Arc::new([(listed.clone(), Why::default())].into()),
    };
    let follows = settings.shared_lists.follow.iter();
    SharedLists(follows.flat_map(|follow| listed.iter().map(move |one| (one, follow))).map(list).collect())
}

const TAGS: &[&str] = &[
    "d",
    "e",
    "p",
    "a",
    "t",
    "g",
    "proxy",
    "expiration",
    "imeta",
    "price",
    "nonce",
    "description",
    "bolt11",
    "amount",
    "relays",
    "relay",
    "image",
    "url",
    "m",
    "location",
    "published_at",
    "status",
    "title",
    "content-warning",
    "l",
    "L",
    "-",
    "visibility",
    "k",
    "P",
    "closed_at",
    "duration",
    "challenge",
    "E",
    "summary",
];

const FIELDS: &[&str] = &[
    "id",
    "name",
    "description",
    "currency",
    "shipping",
    "cost",
    "regions",
    "stall_id",
    "images",
    "price",
    "quantity",
    "specs",
    "starting_bid",
    "start_date",
    "duration",
    "status",
    "ui",
    "merchants",
    "nip05",
    "about",
    "key",
    "value",
];

fn value(chance: &mut Chance) -> String {
    match chance.below(8) {
        0 => chance.edge().to_string(),
        1 => chance.hex::<32>(),
        2 => format!("{}:{}:x", chance.pick(&["30017", "30018", "30023"]), chance.hex::<32>()),
        3 => chance.pick(&["u33d", "u33dc1", "u281", "sats", "EUR", "nsfw", "activitypub", "rss"]).to_owned(),
        4 => format!("https://{}/v.mp4", chance.pick(&["a.example", "b.example", "tracker.example", "x"])),
        5 => format!("url https://{}/v.mp4", chance.pick(&["a.example", "ads.example"])),
        6 => chance.pick(&["dim 10x10", "m video/mp4", "duration 12.5", "x -", "1", "0.10", "-"]).to_owned(),
        _ => chance.text(),
    }
}

/// JSON that contents of markets and profiles are made of.
fn content(chance: &mut Chance, depth: usize) -> Value {
    match chance.below(if depth == 0 { 4 } else { 7 }) {
        0 => json!(chance.edge()),
        1 => json!(chance.below(9) as f64 / 4.0),
        2 => [json!(null), json!(true), json!(false), json!(1), json!("x")][chance.below(5)].clone(),
        3 => json!(value(chance)),
        4 => Value::Array(chance.some(6, |chance| content(chance, depth - 1))),
        _ => {
            let fields =
                chance.some(12, |chance| (chance.pick(FIELDS).to_owned(), content(chance, depth - 1)));
            Value::Object(fields.into_iter().collect())
        }
    }
}

fn event(chance: &mut Chance) -> String {
    let kind = KINDS[chance.below(KINDS.len())];
    let mut tags: Vec<Vec<String>> = chance.some(30, |chance| {
        let name = chance.pick(TAGS).to_owned();
        let mut tag = vec![name];
        tag.extend((0..1 + chance.below(4)).map(|_| value(chance)));
        tag
    });
    let inner = content(chance, 3).to_string();
    if kind == 9_735 {
        let request = event_of(chance, 9_734, &tags, "");
        tags.push(vec!["description".to_owned(), request]);
        let invoice = super::invoices::INVOICE.build(chance.next());
        tags.push(vec!["bolt11".to_owned(), String::from_utf8_lossy(&invoice).into_owned()]);
    }
    let text = if chance.one_in(2) { inner } else { value(chance) };
    event_of(chance, kind, &tags, &text)
}

fn build(chance: &mut Chance) -> Vec<u8> {
    let policy = chance.below(POLICIES.len()) as u8;
    [&[b'0' + policy], event(chance).as_bytes()].concat()
}

fn check(bytes: &[u8]) -> bool {
    let Some((policy, text)) = bytes.split_first() else { return false };
    let Ok(value) = serde_json::from_slice::<Value>(text) else { return false };
    let Ok(given) = draft::read(value, NOW) else { return false };
    let town = &TOWNS[usize::from(*policy) % TOWNS.len()];
    let relay = RelayNames::default();
    let keys = [given.event.pubkey];
    let context = Context {
        now: NOW,
        config: &town.settings,
        keys: &keys,
        relay: &relay,
        known: &town.known,
        asked: false,
    };
    let related = related(town, &given.event, &context);
    let decision = decide(town, &given.event, &related, &context);
    let (event, stored) = (&given.event, Some((&Facts::default(), &related)));
    let explained = explain(&Case { event, is_signed: false, stored }, &context);
    assert_eq!(explained.decision, decision, "explain and the relay agree");
    for step in &explained.steps {
        if let Verdict::Refused(refusal) | Verdict::Shadowed(refusal) = &step.verdict {
            let said = refusal.to_string();
            assert!(said.len() <= SENTENCE_BYTES_MAX, "{}: {} bytes: {said:.300}", step.rule, said.len());
            assert_eq!(refusal.rule, step.rule, "{said}");
        }
    }
    true
}

/// What is found of what rules want, where nothing is stored.
fn related(town: &Town, event: &Event, context: &Context<'_>) -> Related {
    let mut related = Related::default();
    for _ in 0..WANT_ROUNDS_MAX {
        for want in town.policy.wants(event, &related, context) {
            related.add(want, Vec::new());
        }
    }
    related
}

/// The decision in the way in which the pipeline finds it.
fn decide(town: &Town, event: &Event, related: &Related, context: &Context<'_>) -> Decision {
    let shadowed = &mut |_: &_| {};
    town.policy.admit(event, context, shadowed)?;
    assert_eq!(foresee(event, &Facts::default()), None, "nothing is stored");
    let event = Verified::assumed(event.clone());
    town.policy.admit_verified(&event, context, shadowed)?;
    town.policy.admit_placed(&event, related, context, shadowed)
}
