//! Places in filters (nips/geohash-filters.md): what lies in a cell or near it is found, stored, live and
//! counted; where the setting is off the same values are plain text.

use plaza::event::{Event, Id, Kind, PublicKey, Signature, Tags};
use plaza::filter::{Filter, places};
use plaza::index::{Index, Progress, Scan};
use plaza::store::Location;
use serde_json::{Value, json};

use crate::common::{Client, NOW, Person, TestRelay};

fn relay_with_places() -> TestRelay {
    TestRelay::with(|config| config.root.geohash.prefix_filters = true)
}

/// One event for each of these, with its `g` tags; a later one is a second older.
const PLACES: [&[&str]; 14] = [
    &["u33d"],                      // 0
    &["u33dc"],                     // 1
    &["u33dc0123456"],              // 2
    &["u33"],                       // 3: coarser than u33d
    &["u33e"],                      // 4: north of u33d
    &["u336zz"],                    // 5: south of u33d
    &["u34"],                       // 6: not around u33d
    &["u33dX"],                     // 7: no geohash, but it begins with one
    &["U33D"],                      // 8: none at all
    &["9q8y", "u3", "u33", "u33d"], // 9: two places, the second as a ladder
    &["u33d*"],                     // 10: literally
    &["~u33d"],                     // 11: literally
    &[""],                          // 12
    &[],                            // 13
];

fn located() -> Vec<Event> {
    let events = PLACES.iter().enumerate().map(|(number, places)| {
        let tags: Tags = places.iter().map(|place| ["g", *place]).collect();
        Person::new(1).sign(1, NOW - number as u64, tags, &number.to_string())
    });
    events.collect()
}

/// Filters, and which of [`located`] they ask for where places are understood.
fn asked() -> Vec<(Value, Vec<usize>)> {
    vec![
        (json!({"#g": ["u33d*"]}), vec![0, 1, 2, 7, 9, 10]),
        (json!({"#g": ["u33dc*"]}), vec![1, 2]),
        (json!({"#g": ["u33dc0123456*"]}), vec![2]),
        (json!({"#g": ["u33dc0123457*"]}), vec![]),
        (json!({"#g": ["u*"]}), vec![0, 1, 2, 3, 4, 5, 6, 7, 9, 10]),
        (json!({"#g": ["z*"]}), vec![]),
        // In u33d or around it; not what is coarser than these cells.
        (json!({"#g": ["~u33d"]}), vec![0, 1, 2, 4, 5, 7, 9, 10]),
        (json!({"#g": ["~u33dc"]}), vec![1, 2]),
        (json!({"#g": ["~9q8z"]}), vec![9]),
        // Exact values beside them, and several of them.
        (json!({"#g": ["u33"]}), vec![3, 9]),
        (json!({"#g": ["u33", "u33dc*"]}), vec![1, 2, 3, 9]),
        (json!({"#g": ["", "U33D", "u34*", "9q8y*"]}), vec![6, 8, 9, 12]),
        (json!({"#g": ["u33d*", "u33d", "u33*", "~u33d"]}), vec![0, 1, 2, 3, 4, 5, 7, 9, 10]),
        (json!({"#g": []}), vec![]),
        // Together with other conditions.
        (json!({"#g": ["u33d*"], "kinds": [1], "until": NOW - 1}), vec![1, 2, 7, 9, 10]),
        (json!({"#g": ["u33d*"], "kinds": [2]}), vec![]),
        (json!({"#g": ["u33d*"], "authors": [Person::new(1).hex()], "since": NOW - 2}), vec![0, 1, 2]),
        (json!({"#g": ["u33d*"], "#t": ["x"]}), vec![]),
        (json!({"kinds": [1], "since": NOW - 1}), vec![0, 1]),
    ]
}

fn names(events: &[Event], wanted: &[usize]) -> Vec<String> {
    wanted.iter().map(|&number| events[number].id.to_string()).collect()
}

#[test]
fn places_are_found_stored_live_and_counted_alike() {
    let mut relay = relay_with_places();
    let (events, asked) = (located(), asked());
    let mut listener = relay.connect();
    let subscribe = |listener: &mut Client| {
        for (number, (filter, _)) in asked.iter().enumerate() {
            assert_eq!(
                listener.request(&number.to_string(), std::slice::from_ref(filter)).0,
                [""; 0],
                "{filter}"
            );
        }
    };
    subscribe(&mut listener);
    let mut publisher = relay.connect();
    events.iter().for_each(|event| publisher.publish_ok(event));
    let heard = relay.heard_by(&mut listener);
    for (number, (filter, wanted)) in asked.iter().enumerate() {
        let name = number.to_string();
        let live: Vec<String> =
            heard.iter().filter(|(heard, _)| *heard == name).map(|(_, id)| id.clone()).collect();
        assert_eq!(live, names(&events, wanted), "live: {filter}");
    }
    // The same after a start, whose index is built from the store.
    for _ in 0..2 {
        let mut client = relay.connect();
        for (filter, wanted) in &asked {
            assert_eq!(client.ids(filter.clone()), names(&events, wanted), "stored: {filter}");
            assert_eq!(client.count(std::slice::from_ref(filter)), wanted.len() as u64, "counted: {filter}");
        }
        relay.restart();
    }
}

#[test]
fn a_page_of_a_prefix_goes_on_where_the_last_one_ended() {
    let relay = relay_with_places();
    let events = located();
    let mut client = relay.connect();
    events.iter().for_each(|event| client.publish_ok(event));
    let page = |until: u64| json!({"#g": ["~u33d"], "limit": 3, "until": until});
    assert_eq!(client.ids(page(NOW)), names(&events, &[0, 1, 2]));
    assert_eq!(client.ids(page(NOW - 3)), names(&events, &[4, 5, 7]));
    assert_eq!(client.ids(page(NOW - 8)), names(&events, &[9, 10]));
}

#[test]
fn what_was_deleted_or_replaced_is_not_found_by_its_place() {
    let relay = relay_with_places();
    let person = Person::new(2);
    let mut client = relay.connect();
    let near = json!({"#g": ["~u33d"]});
    let listing = |at: u64, place: &str| person.event(30_402, at, &[&["d", "x"], &["g", place]], "");
    client.publish_ok(&listing(NOW - 2, "u33dc"));
    assert_eq!(client.count(std::slice::from_ref(&near)), 1);
    client.publish_ok(&listing(NOW - 1, "9q8y"));
    assert_eq!(client.count(std::slice::from_ref(&near)), 0);
    let back = listing(NOW, "u33dc");
    client.publish_ok(&back);
    assert_eq!(client.ids(near.clone()), [back.id.to_string()]);
    let note = person.event(1, NOW, &[&["g", "u33e"], &["g", "u33e"]], "");
    client.publish_ok(&note);
    assert_eq!(client.count(std::slice::from_ref(&near)), 2);
    client.publish_ok(&person.event(5, NOW, &[&["e", &note.id.to_string()]], ""));
    assert_eq!(client.ids(near), [back.id.to_string()]);
}

#[test]
fn only_the_first_tags_of_an_event_are_looked_at() {
    let relay = relay_with_places();
    let mut client = relay.connect();
    for (before, is_found) in [(places::PLACES_MAX - 1, true), (places::PLACES_MAX, false)] {
        let mut tags = Tags::default();
        (0..before).for_each(|_| tags.push(["g", "9q8y"]));
        tags.push(["g", "u33dc"]);
        let event = Person::new(3).sign(1, NOW, tags, &before.to_string());
        client.request("live", &[json!({"#g": ["u33d*"]})]);
        client.publish_ok(&event);
        let ids = if is_found { vec![event.id.to_string()] } else { vec![] };
        let live: Vec<String> = relay.heard_by(&mut client).into_iter().map(|(_, id)| id).collect();
        assert_eq!(live, ids, "live, after {before} others");
        client.send(&json!(["CLOSE", "live"]));
        let mut both = |value: &str| client.ids(json!({"#g": [value], "ids": [event.id.to_string()]}));
        assert_eq!(both("u33d*"), ids, "after {before} others");
        // By its value it is found wherever it stands.
        assert_eq!(both("u33dc"), [event.id.to_string()]);
    }
}

#[test]
fn without_the_setting_they_are_plain_text() {
    let relay = TestRelay::start();
    let events = located();
    let mut client = relay.connect();
    let table = [("u33d*", vec![10]), ("~u33d", vec![11]), ("u33d", vec![0, 9]), ("~~*", vec![])];
    for (number, (value, _)) in table.iter().enumerate() {
        client.request(&number.to_string(), &[json!({"#g": [value]})]);
    }
    events.iter().for_each(|event| relay.connect().publish_ok(event));
    let heard = relay.heard_by(&mut client);
    for (number, (value, wanted)) in table.into_iter().enumerate() {
        let live = heard.iter().filter(|(name, _)| *name == number.to_string()).map(|(_, id)| id.clone());
        assert_eq!(live.collect::<Vec<_>>(), names(&events, &wanted), "live: {value}");
        assert_eq!(client.ids(json!({"#g": [value]})), names(&events, &wanted), "{value}");
        assert_eq!(client.count(&[json!({"#g": [value]})]), wanted.len() as u64, "{value}");
    }
}

#[test]
fn what_is_no_place_is_refused_with_a_reason() {
    let relay = relay_with_places();
    let mut client = relay.connect();
    let table = ["*", "~", "u33D*", "~U33", "a*", "u3*d", "~u33*", "u33dc01234567*", "~ü", "\u{0}*"];
    for value in table {
        for verb in ["REQ", "COUNT"] {
            let filters = [json!({"kinds": [1]}), json!({"#g": ["u33d", value]})];
            let reason = client.closed(verb, &filters);
            assert!(reason.starts_with("invalid: "), "{value}: {reason}");
            assert!(reason.ends_with(" (geohash.filter)"), "{value}: {reason}");
        }
    }
    assert_eq!(
        client.closed("REQ", &[json!({"#g": ["u33i*"]})]),
        "invalid: \"u33i*\" is no place: write u33d* for all that begins with u33d, or ~u33d for it and the \
         cells around it, with 1 to 12 of the characters 0-9 and b-z without i, l and o (geohash.filter)"
    );
    // The subscription of its name ends with it, as with every refusal.
    client.request("refused", &[json!({"#g": ["u33d*"]})]);
    client.closed("REQ", &[json!({"#g": ["**"]})]);
    relay.connect().publish_ok(&located()[0]);
    assert_eq!(relay.heard_by(&mut client), []);
    client.hears_nothing_more();
}

#[test]
fn members_are_told_of_the_forms_where_they_are_understood() {
    let rule = plaza::policy::rules().find(|rule| rule.id == "geohash.filter").expect("the rule");
    let mut settings = plaza::config::Settings::default();
    assert_eq!((rule.sentence)(&settings), None);
    settings.geohash.prefix_filters = true;
    let sentence = (rule.sentence)(&settings).expect("a sentence");
    assert!(
        sentence.contains(r##""#g": ["u33d*"]"##) && sentence.contains(r##""#g": ["~u33d"]"##),
        "{sentence}"
    );
}

#[test]
fn the_cells_around_a_cell_count_as_values() {
    let relay = TestRelay::with(|config| {
        config.root.geohash.prefix_filters = true;
        config.root.limits.filter_values_max = 10;
    });
    let mut client = relay.connect();
    assert_eq!(client.ids(json!({"#g": ["~u33d"], "kinds": [1]})), [""; 0]);
    for verb in ["REQ", "COUNT"] {
        assert_eq!(
            client.closed(verb, &[json!({"kinds": [1]}), json!({"#g": ["~u33d"], "kinds": [1, 2]})]),
            "invalid: a filter lists 11 values, more than the 10 of one filter, where each place with a ~ is nine \
             (limits.filter_values_max)"
        );
    }
    // A star is one.
    let stars = |kinds: &[u16]| json!({"#g": ["u0*", "u1*", "u2*", "u3*", "u33*"], "kinds": kinds});
    assert_eq!(client.ids(stars(&[1, 2, 3, 4, 5])), [""; 0]);
    let reason = client.closed("REQ", &[stars(&[1, 2, 3, 4, 5, 6])]);
    assert_eq!(
        reason,
        "invalid: a filter lists 11 values, more than the 10 of one filter (limits.filter_values_max)"
    );
    // However many there are, they are refused as one is.
    let many: Vec<String> = (0..20_000).map(|number| format!("~{number}")).collect();
    let reason = client.closed("REQ", &[json!({"#g": many})]);
    assert!(reason.starts_with("invalid: a filter lists 180000 values"), "{reason}");
}

/// As bitchat asks: one exact geohash, whatever the relay understands besides.
#[test]
fn exact_geohashes_of_bitchat_are_as_without_it() {
    for is_on in [false, true] {
        let relay = TestRelay::with(|config| config.root.geohash.prefix_filters = is_on);
        let mut client = relay.connect();
        let exact = json!({"kinds": [20_000, 20_001], "#g": ["u33dc"], "since": NOW - 3_600, "limit": 200});
        client.request("geo-u33dc", &[exact]);
        let notes = json!({"kinds": [1], "#g": ["u33dc1zz", "u33dc1zy"], "limit": 200});
        client.request("notes", &[notes]);
        let message = |kind: u16, place: &str| {
            Person::new(4).event(kind, NOW, &[&["g", place], &["n", "anna"], &["t", "teleport"]], "hi")
        };
        let sent = [
            (message(20_000, "u33dc"), Some("geo-u33dc")),
            (message(20_001, "u33dc"), Some("geo-u33dc")),
            (message(20_000, "u33d"), None),
            (message(20_000, "u33dc1"), None),
            (message(20_000, "u33db"), None),
            (message(1, "u33dc1zz"), Some("notes")),
            (message(1, "u33dc1zx"), None),
        ];
        sent.iter().for_each(|(event, _)| relay.connect().publish_ok(event));
        let due = sent.iter().filter_map(|(event, name)| Some(((*name)?.to_owned(), event.id.to_string())));
        assert_eq!(relay.heard_by(&mut client), due.collect::<Vec<_>>(), "prefix_filters = {is_on}");
    }
}

/// An event that no relay would take, for an index that does not ask.
fn unsigned(number: u64, tags: Tags) -> Event {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Event {
        id: Id(id),
        pubkey: PublicKey([(number % 200) as u8; 32]),
        created_at: NOW + number,
        kind: Kind(1),
        tags,
        content: String::new(),
        sig: Signature([0; 64]),
    }
}

/// Nanoseconds for the newest 500 events of a filter, the quickest of many tries.
fn nanoseconds(index: &Index, filter: &Filter) -> u128 {
    let mut best = u128::MAX;
    for _ in 0..200 {
        let began = std::time::Instant::now();
        let (mut scan, mut left) = (Scan::new(filter, u64::MAX), 500);
        let progress = scan.run(
            index,
            u64::MAX,
            |_| true,
            |_, _| {
                left -= 1;
                left > 0
            },
        );
        assert_eq!((progress, left), (Progress::Stopped, 0));
        best = best.min(began.elapsed().as_nanos());
    }
    best
}

/// Run with `cargo test --release --test rules -- --ignored --nocapture measured`.
#[test]
#[ignore = "a measurement"]
fn measured_a_prefix_costs_what_a_tag_costs() {
    const EVENTS: u64 = 100_000;
    const BASE32: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    for by_prefix in [false, true] {
        let mut index = Index::new(by_prefix);
        let began = std::time::Instant::now();
        for number in 0..EVENTS {
            let mut state = number.wrapping_mul(0xd134_2543_de82_ef95);
            let cell: String = std::iter::once('u')
                .chain("33d".chars())
                .chain((0..4).map(|_| {
                    state = state.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    char::from(BASE32[(state >> 59) as usize])
                }))
                .collect();
            let tags: Tags = [["g", cell.as_str()], ["t", "berlin"], ["c", &cell[..5]]].into_iter().collect();
            // One more in ten lies nowhere, so that no list holds everything.
            index.insert(&unsigned(2 * number, tags), Location { number: 2 * number, slot: 0 }, 500);
            if number % 10 == 0 {
                let nowhere = unsigned(2 * number + 1, Tags::default());
                index.insert(&nowhere, Location { number: 2 * number + 1, slot: 0 }, 500);
            }
        }
        println!(
            "by prefix {by_prefix}: {} ns to insert one",
            began.elapsed().as_nanos() / u128::from(EVENTS)
        );
        let asked = |text: &str| {
            let mut filters = [Filter::from_json(text).expect("a filter")];
            if by_prefix {
                places::read_places(&mut filters);
            }
            let [filter] = filters;
            println!("  {text}: {} ns for 500", nanoseconds(&index, &filter));
        };
        asked(r##"{"#t":["berlin"]}"##);
        asked(r##"{"#c":["u33dc"]}"##);
        asked(r##"{"#c":["u33d3","u33d6","u33d7","u33d9","u33dc","u33dd","u33de","u33df","u33dg"]}"##);
        if by_prefix {
            asked(r##"{"#g":["u33d*"]}"##);
            asked(r##"{"#g":["u33dc*"]}"##);
            asked(r##"{"#g":["~u33dd"]}"##);
        }
    }
}
