//! What clients send: messages, events, filters. Reading is compared with a generic reading of the same JSON.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::{Chance, Target};
use crate::event::{Event, Id, PublicKey, draft};
use crate::filter::Filter;
use crate::filter::places::{PLACES_MAX, read_places};
use crate::geo::Geohash;
use crate::message::{self, ClientMessage, Malformed};
use crate::store::record;

pub(super) const MESSAGE: Target = Target::new("message", 128 * 1024, build_message, check_message);
pub(super) const EVENT: Target = Target::new("event", 128 * 1024, |chance| event(chance).into(), check_event);
pub(super) const FILTER: Target = Target::new("filter", 32 * 1024, build_filter, check_filter);

/// The most bytes of an answer to what is no message, besides the name of its subscription.
const ANSWER_BYTES_MAX: usize = 2_000;

/// Kinds of every class, and those that rules read the content of.
pub(super) const KINDS: &[u64] = &[
    0, 1, 3, 4, 5, 7, 13, 14, 20, 21, 22, 62, 1_021, 1_022, 1_059, 1_063, 1_111, 1_984, 1_985, 9_041, 9_734,
    9_735, 10_000, 10_002, 20_001, 21_059, 22_242, 27_235, 30_000, 30_017, 30_018, 30_020, 30_023, 30_402,
    30_403, 34_235, 34_236, 65_535,
];

/// An event as JSON: well-formed but for a slip now and then; neither id nor signature is true.
pub(super) fn event(chance: &mut Chance) -> String {
    let kind = KINDS[chance.below(KINDS.len())];
    let content = chance.text();
    let tags = chance.some(20, |chance| {
        let name = chance.pick(&["e", "p", "a", "d", "t", "g", "expiration", "-", "proxy", "xx"]);
        let value = value_of(chance, name);
        let mut tag = vec![name.to_owned(), value];
        tag.extend(chance.some(4, Chance::text));
        tag.truncate(chance.below(8) + usize::from(!chance.one_in(8)));
        tag
    });
    event_of(chance, kind, &tags, &content)
}

/// A value that tags of this name have.
fn value_of(chance: &mut Chance, name: &str) -> String {
    match name {
        "e" | "p" => chance.hex::<32>(),
        "a" => format!("{}:{}:x", chance.pick(&["0", "30023", "+1", ""]), chance.hex::<32>()),
        "g" => place(chance),
        "t" => chance.pick(&["bread", "fish", ""]).to_owned(),
        "expiration" => chance.edge().to_string(),
        _ => chance.text(),
    }
}

/// The JSON of an event with these fields, in any order, with room between them.
pub(super) fn event_of(chance: &mut Chance, kind: u64, tags: &[Vec<String>], content: &str) -> String {
    let tags: Vec<String> = tags
        .iter()
        .map(|tag| format!("[{}]", tag.iter().map(|text| chance.quoted(text)).collect::<Vec<_>>().join(",")))
        .collect();
    let created_at = if chance.one_in(3) { chance.edge() } else { 1_790_000_000 - chance.below(5) as u64 };
    let mut fields = vec![
        format!("\"id\":\"{}\"", chance.hex::<32>()),
        format!("\"pubkey\":\"{}\"", chance.hex::<32>()),
        format!("\"created_at\":{created_at}"),
        format!("\"kind\":{kind}"),
        format!("\"tags\":[{}]", tags.join(",")),
        format!("\"content\":{}", chance.quoted(content)),
        format!("\"sig\":\"{}\"", chance.hex::<64>()),
    ];
    if chance.one_in(20) {
        let at = chance.below(fields.len());
        match chance.below(3) {
            0 => drop(fields.remove(at)),
            1 => fields.push(fields[at].clone()),
            _ => fields[at] = format!("\"{}\":{}", chance.pick(&["id", "kind", "x"]), chance.edge()),
        }
    }
    let end = fields.len();
    fields.swap(0, chance.below(end));
    format!("{{{}}}", fields.join(chance.pick(&[",", ",", " ,\n"])))
}

fn place(chance: &mut Chance) -> String {
    let cell =
        chance.pick(&["u", "u33", "u33d", "u33dc0", "u33dc0123456", "z", "b", "8", "s0", "0", "U33D", ""]);
    match chance.below(6) {
        0 => format!("{cell}*"),
        1 => format!("~{cell}"),
        _ => cell.to_owned(),
    }
}

/// A filter as JSON that events of [`event`] may match.
fn filter(chance: &mut Chance) -> String {
    let mut filter = Map::new();
    let mut set = |chance: &mut Chance, name: &str, one: fn(&mut Chance) -> Value| {
        if chance.one_in(3) {
            filter.insert(name.to_owned(), Value::Array(chance.some(40, one)));
        }
    };
    set(chance, "ids", |chance| json!(chance.hex::<32>()));
    set(chance, "authors", |chance| json!(chance.hex::<32>()));
    set(chance, "kinds", |chance| json!(KINDS[chance.below(KINDS.len())]));
    set(chance, "#p", |chance| json!(chance.hex::<32>()));
    set(chance, "#t", |chance| json!(chance.pick(&["bread", "fish", ""])));
    set(chance, "#g", |chance| json!(place(chance)));
    if chance.one_in(3) {
        let values = chance.some(4, |chance| json!(chance.pick(&["bread", "fish", ""])));
        filter.insert("&t".to_owned(), Value::Array(values));
    }
    if chance.one_in(6) {
        filter.insert("&g".to_owned(), json!([place(chance)]));
    }
    for name in ["since", "until", "limit"] {
        if chance.one_in(4) {
            filter.insert(name.to_owned(), json!(chance.edge()));
        }
    }
    if chance.one_in(30) {
        filter.insert(chance.text(), json!(chance.text()));
    }
    Value::Object(filter).to_string()
}

fn build_message(chance: &mut Chance) -> Vec<u8> {
    let verb = chance.pick(&[
        "EVENT",
        "EVENT",
        "REQ",
        "REQ",
        "CLOSE",
        "COUNT",
        "AUTH",
        "NEG-OPEN",
        "NEG-MSG",
        "NEG-CLOSE",
        "",
    ]);
    let mut parts = vec![chance.quoted(verb)];
    if matches!(verb, "REQ" | "COUNT" | "CLOSE" | "NEG-OPEN" | "NEG-MSG" | "NEG-CLOSE") {
        let name = chance.text();
        parts.push(chance.quoted(&name));
    }
    match verb {
        "EVENT" | "AUTH" => parts.push(event(chance)),
        "REQ" | "COUNT" => {
            parts.push(filter(chance));
            parts.extend(chance.some(30, filter));
        }
        "NEG-OPEN" => parts.extend([filter(chance), digits(chance)]),
        "NEG-MSG" => parts.push(digits(chance)),
        _ => {}
    }
    if chance.one_in(20) {
        parts.push(chance.pick(&["null", "{}", "[[[]]]", "1e999", "\"x\"", "tru"]).to_owned());
    }
    format!("[{}]", parts.join(",")).into_bytes()
}

/// Bytes in hex, mostly.
fn digits(chance: &mut Chance) -> String {
    let mut digits = String::from("\"61");
    (0..chance.below(80)).for_each(|_| digits.push_str(chance.pick(&["00", "02", "7f", "Ff", "a"])));
    digits + "\""
}

fn build_filter(chance: &mut Chance) -> Vec<u8> {
    let mut lines = vec![filter(chance)];
    lines.extend((0..chance.below(6)).map(|_| event(chance).replace('\n', " ")));
    lines.join("\n").into_bytes()
}

fn text_of(event: &Event) -> String {
    String::from_utf8(event.to_json()).expect("an event's JSON is UTF-8")
}

/// A filter as JSON.
fn written(filter: &Filter) -> String {
    let mut map = Map::new();
    let mut put = |name: String, value: Value| drop(map.insert(name, value));
    let texts = |list: &[String]| Value::from(list.to_vec());
    if let Some(ids) = &filter.ids {
        put("ids".to_owned(), texts(&ids.iter().map(Id::to_string).collect::<Vec<_>>()));
    }
    if let Some(authors) = &filter.authors {
        put("authors".to_owned(), texts(&authors.iter().map(PublicKey::to_string).collect::<Vec<_>>()));
    }
    if let Some(kinds) = &filter.kinds {
        put("kinds".to_owned(), Value::from(kinds.iter().map(|kind| kind.0).collect::<Vec<_>>()));
    }
    filter.tags.iter().for_each(|(letter, values)| put(format!("#{}", char::from(*letter)), texts(values)));
    let mut letters: Vec<u8> = filter.all_tags.iter().map(|(letter, _)| *letter).collect();
    letters.dedup();
    for letter in letters {
        let of = filter.all_tags.iter().filter(|(other, _)| *other == letter);
        put(format!("&{}", char::from(letter)), of.map(|(_, value)| value.as_str()).collect());
    }
    for (name, number) in [("since", filter.since), ("until", filter.until), ("limit", filter.limit)] {
        number.into_iter().for_each(|number| put(name.to_owned(), json!(number)));
    }
    Value::Object(map).to_string()
}

/// The same filter with its letters in order.
fn ordered(filter: &Filter) -> Filter {
    let mut filter = filter.clone();
    filter.tags.sort();
    filter
}

fn assert_filter_is_kept(filter: &Filter) {
    let again = Filter::from_json(&written(filter)).expect("a filter that was written");
    assert_eq!(ordered(&again), ordered(filter), "a filter that was written reads the same");
}

fn check_message(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match ClientMessage::from_json(text) {
        Ok(message) => {
            assert_message_is_kept(&message);
            true
        }
        Err(malformed) => {
            assert_answer(malformed, text);
            false
        }
    }
}

fn assert_message_is_kept(message: &ClientMessage) {
    let query = |verb: &str, name: &str, filters: &[Filter]| {
        filters.iter().for_each(assert_filter_is_kept);
        let filters: Vec<String> = filters.iter().map(written).collect();
        format!("[\"{verb}\",{},{}]", Value::from(name), filters.join(","))
    };
    let again = match message {
        ClientMessage::Event(event) => format!("[\"EVENT\",{}]", text_of(event)),
        ClientMessage::Auth(event) => format!("[\"AUTH\",{}]", text_of(event)),
        ClientMessage::Close(name) => format!("[\"CLOSE\",{}]", Value::from(name.as_str())),
        ClientMessage::Req { subscription, filters } => query("REQ", subscription, filters),
        ClientMessage::Count { subscription, filters } => query("COUNT", subscription, filters),
        ClientMessage::NegOpen { reconciliation, filter, message } => {
            assert_filter_is_kept(filter);
            let name = Value::from(reconciliation.as_str());
            format!("[\"NEG-OPEN\",{name},{},\"{}\"]", written(filter), hex::encode(message))
        }
        ClientMessage::NegMsg { reconciliation, message } => {
            json!(["NEG-MSG", reconciliation, hex::encode(message)]).to_string()
        }
        ClientMessage::NegClose(name) => json!(["NEG-CLOSE", name]).to_string(),
    };
    let in_order = |message: ClientMessage| match message {
        ClientMessage::Req { subscription, filters } => {
            ClientMessage::Req { subscription, filters: filters.iter().map(ordered).collect() }
        }
        ClientMessage::Count { subscription, filters } => {
            ClientMessage::Count { subscription, filters: filters.iter().map(ordered).collect() }
        }
        ClientMessage::NegOpen { reconciliation, filter, message } => {
            ClientMessage::NegOpen { reconciliation, filter: ordered(&filter), message }
        }
        other => other,
    };
    let again = ClientMessage::from_json(&again).expect("a message that was written");
    assert_eq!(in_order(again), in_order(message.clone()), "a message that was written reads the same");
}

/// What is no message is answered in JSON, shortly, to what it names.
fn assert_answer(malformed: Malformed, text: &str) {
    let (answer, named, size) = match malformed {
        Malformed::Notice(reason) => (message::notice(&reason), 1, 2),
        Malformed::Event(id, reason) => {
            assert!(text.contains(&id.to_string()) || text.contains("\\u"), "{id} is not in {text}");
            (message::refused(&id, &message::invalid(reason)), 3, 4)
        }
        Malformed::Subscription(name, reason) => {
            let answer = message::closed(&name, &message::invalid(reason));
            let parsed: Vec<Value> = serde_json::from_str(&answer).expect("an answer is JSON");
            assert_eq!(parsed[1], name.as_str());
            (answer, 2, 3)
        }
        Malformed::Reconciliation(name, reason) => {
            let answer = message::neg_err(&name, &message::invalid(reason), None);
            let parsed: Vec<Value> = serde_json::from_str(&answer).expect("an answer is JSON");
            assert_eq!(parsed[1], name.as_str());
            (answer, 2, 3)
        }
    };
    let parsed: Vec<Value> = serde_json::from_str(&answer).expect("an answer is JSON");
    assert_eq!(parsed.len(), size, "{answer}");
    let reason = parsed[named].as_str().expect("a sentence");
    assert!(!reason.is_empty() && reason.len() <= ANSWER_BYTES_MAX, "{} bytes: {reason:.300}", reason.len());
}

fn check_event(bytes: &[u8]) -> bool {
    let Ok(event) = Event::from_json(bytes) else { return false };
    let json = event.to_json();
    assert_eq!(Event::from_json(&json).as_ref(), Ok(&event), "an event that was written reads the same");
    // What signers hash is JSON that says the same.
    let mut canonical = Vec::new();
    event.write_canonical(&mut canonical);
    let value: Value = serde_json::from_slice(&json).expect("JSON");
    let hashed: Value = serde_json::from_slice(&canonical).expect("the canonical form is JSON");
    let fields = ["pubkey", "created_at", "kind", "tags", "content"].map(|name| &value[name]);
    let stated: Vec<&Value> = hashed.as_array().expect("an array").iter().skip(1).collect();
    assert_eq!(stated, fields);
    assert_eq!(draft::read(value.clone(), 0).map(|given| given.event).as_ref(), Ok(&event));
    // Tags, one by one.
    let tags: Vec<Vec<&str>> = event.tags.iter().map(|tag| tag.iter().collect()).collect();
    assert_eq!(json!(tags), value["tags"]);
    assert_eq!(record::decode(&record::encode(&event)).as_ref(), Ok(&event), "its record reads the same");
    true
}

fn check_filter(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut lines = text.lines();
    let first = lines.next().unwrap_or("");
    let Ok(filter) = Filter::from_json(first) else { return false };
    assert_filter_is_kept(&filter);
    let value: Value = serde_json::from_str(first).expect("a filter is JSON");
    let mut read = [filter.clone()];
    read_places(&mut read);
    for event in lines.filter_map(|line| Event::from_json(line.as_bytes()).ok()) {
        for (read, with_places) in [(&filter, false), (&read[0], true)] {
            let expected = matches(&value, &event, with_places);
            assert_eq!(
                read.matches(&event),
                expected,
                "places {with_places}: {first} and {}",
                text_of(&event)
            );
        }
    }
    true
}

/// NIP-01's matching, as naive as can be, over JSON.
fn matches(filter: &Value, event: &Event, with_places: bool) -> bool {
    let filter = filter.as_object().expect("a filter is an object");
    let within = |list: &Value, value: Value| list.as_array().is_some_and(|list| list.contains(&value));
    filter.iter().all(|(name, wanted)| match name.as_str() {
        "ids" => within(wanted, json!(event.id.to_string())),
        "authors" => within(wanted, json!(event.pubkey.to_string())),
        "kinds" => within(wanted, json!(event.kind.0)),
        "since" => wanted.as_u64() <= Some(event.created_at),
        "until" => wanted.as_u64() >= Some(event.created_at),
        "limit" => true,
        tag if tag.starts_with('&') => {
            let carries = |wanted: &Value| {
                let of_letter = event.tags.iter().filter(|one| one.name() == &tag[1..]);
                of_letter.filter_map(|one| one.value()).any(|value| wanted == value)
            };
            wanted.as_array().is_some_and(|wanted| wanted.iter().all(carries))
        }
        tag if is_left_to_all(filter, tag, wanted) => true,
        tag => event
            .tags
            .iter()
            .filter(|one| one.name() == &tag[1..])
            .filter_map(|one| one.value())
            .enumerate()
            .any(|(at, value)| {
                let is_place = with_places && tag == "#g";
                wanted.as_array().is_some_and(|wanted| {
                    let left = wanted.iter().filter(|wanted| !all_of(filter, tag).contains(wanted));
                    left.filter_map(Value::as_str).any(|wanted| match cells(wanted).filter(|_| is_place) {
                        Some(cells) => at < PLACES_MAX && cells.iter().any(|cell| value.starts_with(cell)),
                        None => wanted == value,
                    })
                })
            }),
    })
}

/// The values of this letter that must all be there.
fn all_of<'f>(filter: &'f Map<String, Value>, tag: &str) -> &'f [Value] {
    filter.get(&format!("&{}", &tag[1..])).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether a list names values, all of which must be there anyway.
fn is_left_to_all(filter: &Map<String, Value>, tag: &str, wanted: &Value) -> bool {
    let all = all_of(filter, tag);
    wanted.as_array().is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(|one| all.contains(one)))
}

/// The cells that a value of `#g` with a star or a tilde asks for.
fn cells(wanted: &str) -> Option<HashSet<String>> {
    let cell = |text: &str| text.parse::<Geohash>().ok();
    let within = wanted.strip_suffix('*').and_then(cell).map(|cell| HashSet::from([cell.to_string()]));
    within.or_else(|| {
        let middle = cell(wanted.strip_prefix('~')?)?;
        Some(middle.neighbours().into_iter().chain([middle]).map(|cell| cell.to_string()).collect())
    })
}
