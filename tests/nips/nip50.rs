//! NIP-50, search (nips/50.md).

use std::time::{Duration, Instant};

use plaza::community::Community;
use plaza::event::Event;
use serde_json::{Value, json};

use crate::common::program::{Program, plaza};
use crate::common::{Client, NOW, Person, TestRelay, id_of, ids_of};

/// How long a search index may take to be as the store is.
const PATIENCE: Duration = Duration::from_secs(60);

fn relay() -> TestRelay {
    TestRelay::with(|config| {
        config.root.search.enabled = true;
        config.root.search.lag_seconds = 0;
    })
}

/// Waits until searches are answered.
fn ready(community: &Community) {
    let began = Instant::now();
    while community.search.ready().is_err() {
        assert!(began.elapsed() < PATIENCE, "{:?}", community.search.status());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks twice: while what is new is not in the index perhaps, and when it certainly is.
fn both(relay: &TestRelay, client: &mut Client, filter: &Value, expected: &[&Event]) {
    let mut sorted = ids_of(expected);
    sorted.sort_unstable();
    for _ in 0..2 {
        let mut found = client.ids(filter.clone());
        found.sort_unstable();
        assert_eq!(found, sorted, "{filter}");
        relay.searches();
    }
}

#[test]
fn a_search_finds_events_by_their_words_in_any_script() {
    let relay = relay();
    ready(relay.relay().community());
    let mut client = relay.connect();
    let author = Person::new(1);
    let texts = [
        "The best nostr apps of the year",
        "Un café près de l'été",
        "Über die Brücke",
        "Новый рынок открыт",
        "كِتَابٌ جديد للبيع",
        "我在北京大学读书",
        "東京タワーへ行く",
        "서울에서 만나요",
        "ฉันอยู่ที่กรุงเทพมหานคร",
    ];
    let events: Vec<Event> = texts.iter().map(|text| author.note(text)).collect();
    events.iter().for_each(|event| client.publish_ok(event));
    let table: [(&str, &[usize]); 18] = [
        ("nostr", &[0]),
        ("apps BEST", &[0]),
        ("\"best nostr\"", &[0]),
        ("\"nostr best\"", &[]),
        ("nostr -apps", &[]),
        ("nostr -bread", &[0]),
        ("cafe", &[1]),
        ("ETE", &[1]),
        ("brucke", &[2]),
        ("РЫНОК", &[3]),
        ("كتاب", &[4]),
        ("北京", &[5]),
        ("大", &[5]),
        ("東京タワー", &[6]),
        ("서울", &[7]),
        ("กรุงเทพ", &[8]),
        ("nos", &[]),
        ("nothing-like-it", &[]),
    ];
    for (text, found) in table {
        let expected: Vec<&Event> = found.iter().map(|at| &events[*at]).collect();
        both(&relay, &mut client, &json!({"search": text}), &expected);
    }
}

#[test]
fn results_come_best_first_and_the_limit_counts_after_that() {
    let relay = relay();
    let mut client = relay.connect();
    let author = Person::new(1);
    let article = |d: &str, title: &str, text: &str, age: u64| {
        author.event(30_023, NOW - age, &[&["d", d], &["title", title]], text)
    };
    let long = "bread and many other things that one may eat in the morning, at noon or in the evening";
    let by_title = article("a", "Bread", "How to bake", 900);
    let short = author.event(1, NOW - 800, &[], "bread, bread!");
    let by_text = author.event(1, NOW - 1, &[], long);
    let twins = [
        author.event(1, NOW - 50, &[], "sour bread here"),
        author.event(1, NOW - 40, &[], "sour bread here"),
    ];
    for event in [&by_text, &short, &by_title, &twins[0], &twins[1]] {
        client.publish_ok(event);
    }
    relay.searches();
    let ids = client.ids(json!({"search": "bread"}));
    assert_eq!((ids.len(), &ids[0], &ids[4]), (5, &by_title.id.to_string(), &by_text.id.to_string()));
    let place = |event: &Event| ids.iter().position(|id| *id == event.id.to_string());
    assert!(place(&twins[1]) < place(&twins[0]), "of what is as good the newest comes first");
    let (some, hint) = client.request("some", &[json!({"search": "bread", "limit": 2})]);
    assert_eq!((some.as_slice(), hint.as_str()), (&ids[..2], "more"));
    let (none, _) = client.request("some", &[json!({"search": "bread", "limit": 0})]);
    assert_eq!(none, [""; 0]);
    let (all, hint) = client.request("some", &[json!({"search": "bread", "limit": 5})]);
    assert_eq!((all, hint.as_str()), (ids, "finish"));
}

#[test]
fn where_nothing_has_all_words_what_has_some_is_found() {
    let relay = relay();
    let mut client = relay.connect();
    let author = Person::new(1);
    let [one, two, three] = ["red bicycle", "blue bicycle bell", "green tea"].map(|text| author.note(text));
    for event in [&one, &two, &three] {
        client.publish_ok(event);
    }
    relay.searches();
    assert_eq!(client.ids(json!({"search": "red bicycle"})), ids_of(&[&one]));
    let mut some = client.ids(json!({"search": "red bicycle bell"}));
    some.sort_unstable();
    let mut expected = ids_of(&[&one, &two]);
    expected.sort_unstable();
    assert_eq!(some, expected);
    assert_eq!(client.ids(json!({"search": "red bicycle bell -blue"})), ids_of(&[&one]));
    assert_eq!(client.count(&[json!({"search": "red bicycle bell"})]), 2);
    assert_eq!(client.count(&[json!({"search": "bicycle"})]), 2);
}

#[test]
fn other_conditions_bind_searches_too() {
    let relay = relay();
    ready(relay.relay().community());
    let mut client = relay.connect();
    let (alice, bob) = (Person::new(1), Person::new(2));
    let one = alice.event(1, NOW - 10, &[&["t", "food"], &["g", "u33dc"]], "fresh bread");
    let two = bob.event(1, NOW - 20, &[&["t", "food"]], "fresh bread");
    let three = bob.event(11, NOW - 30, &[], "fresh bread");
    for event in [&one, &two, &three] {
        client.publish_ok(event);
    }
    let table: [(Value, &[&Event]); 13] = [
        (json!({}), &[&one, &two, &three]),
        (json!({"kinds": [1]}), &[&one, &two]),
        (json!({"kinds": [7, 11]}), &[&three]),
        (json!({"authors": [bob.hex()]}), &[&two, &three]),
        (json!({"authors": [alice.hex(), bob.hex()], "kinds": [11]}), &[&three]),
        (json!({"#t": ["food", "drink"]}), &[&one, &two]),
        (json!({"#t": ["food"], "#g": ["u33dc"]}), &[&one]),
        (json!({"since": NOW - 15}), &[&one]),
        (json!({"until": NOW - 15}), &[&two, &three]),
        (json!({"ids": [two.id.to_string(), "0".repeat(64)]}), &[&two]),
        (json!({"ids": []}), &[]),
        (json!({"authors": []}), &[]),
        (json!({"#t": ["none"]}), &[]),
    ];
    for (mut filter, expected) in table {
        filter["search"] = json!("bread");
        both(&relay, &mut client, &filter, expected);
        assert_eq!(client.count(&[filter.clone()]), expected.len() as u64, "{filter}");
    }
    // Several filters, with words and without.
    let filters =
        [json!({"search": "bread", "kinds": [11]}), json!({"kinds": [1], "authors": [alice.hex()]})];
    let (ids, _) = client.request("both", &filters);
    assert_eq!(ids, ids_of(&[&three, &one]), "what was searched for comes first");
    let filters = [json!({"search": "bread"}), json!({"search": "fresh"})];
    assert_eq!(client.request("both", &filters).0.len(), 3, "each event once");
}

#[test]
fn extensions_are_followed_or_ignored() {
    let relay = TestRelay::with(|config| {
        config.root.search.enabled = true;
        config.root.search.lag_seconds = 0;
        config.root.search.trusted_only = true;
        config.root.authors.members = [1, 2].map(|number| Person::new(number).key()).into_iter().collect();
    });
    ready(relay.relay().community());
    let mut client = relay.connect();
    let [alice, bob, stranger] = [1, 2, 3].map(Person::new);
    client.publish_ok(&alice.event(0, NOW, &[], r#"{"name":"alice","nip05":"alice@bakers.example"}"#));
    let english = alice.event(1, NOW - 1, &[&["L", "ISO-639-1"], &["l", "en", "ISO-639-1"]], "bread");
    let german = bob.event(1, NOW - 2, &[&["L", "ISO-639-1"], &["l", "de", "ISO-639-1"]], "bread");
    let warned = bob.event(1, NOW - 3, &[&["content-warning", "crumbs"]], "bread");
    let spam = stranger.event(1, NOW - 4, &[], "bread");
    for event in [&english, &german, &warned, &spam] {
        client.publish_ok(event);
    }
    relay.relay().learn_now();
    let table: [(&str, &[&Event]); 10] = [
        ("bread", &[&english, &german, &warned]),
        ("bread include:spam", &[&english, &german, &warned, &spam]),
        ("bread domain:bakers.example", &[&english]),
        ("bread domain:BAKERS.example include:spam", &[&english]),
        ("bread domain:nobody.example", &[]),
        ("bread language:de", &[&german]),
        ("language:de language:en", &[&english, &german]),
        ("bread nsfw:false", &[&english, &german]),
        ("bread nsfw:true sentiment:positive sort:hot", &[&english, &german, &warned]),
        ("bread unknown:extension", &[&english, &german, &warned]),
    ];
    for (text, expected) in table {
        both(&relay, &mut client, &json!({"search": text, "kinds": [1]}), expected);
    }
}

#[test]
fn what_is_gone_is_found_no_more_at_once() {
    let mut relay = relay();
    ready(relay.relay().community());
    let mut client = relay.connect();
    let author = Person::new(1);
    let address = format!("30023:{}:a", author.hex());
    let article =
        |age: u64, text: &str| author.event(30_023, NOW - age, &[&["d", "a"], &["title", "News"]], text);
    let (old, new) = (article(20, "about bread"), article(10, "about butter"));
    client.publish_ok(&old);
    both(&relay, &mut client, &json!({"search": "about bread"}), &[&old]);
    client.publish_ok(&new);
    both(&relay, &mut client, &json!({"search": "\"about bread\""}), &[]);
    both(&relay, &mut client, &json!({"search": "news"}), &[&new]);
    client.publish_ok(&author.event(5, NOW, &[&["a", &address]], ""));
    both(&relay, &mut client, &json!({"search": "news"}), &[]);

    let brief = author.event(1, NOW - 5, &[&["expiration", &(NOW + 10).to_string()]], "soon over");
    client.publish_ok(&brief);
    both(&relay, &mut client, &json!({"search": "soon"}), &[&brief]);
    relay.clock.set(NOW + 20);
    both(&relay, &mut client, &json!({"search": "soon"}), &[]);

    let note = Person::new(2).note("a last word");
    client.publish_ok(&note);
    both(&relay, &mut client, &json!({"search": "last word"}), &[&note]);
    let url = relay.url();
    client.publish_ok(&Person::new(2).event(62, NOW + 1, &[&["relay", &url]], ""));
    both(&relay, &mut client, &json!({"search": "last word"}), &[]);
    // And after a restart, when what is gone is gone from the search index too.
    relay.restart();
    ready(relay.relay().community());
    let mut client = relay.connect();
    both(&relay, &mut client, &json!({"search": "news"}), &[]);
    both(&relay, &mut client, &json!({"search": ""}), &[]);
}

#[test]
fn private_kinds_are_found_by_nobody() {
    let relay = relay();
    ready(relay.relay().community());
    let (alice, bob) = (Person::new(1), Person::new(2));
    let mut client = relay.connect_as(&[&alice, &bob]);
    let open = alice.note("meet at the fountain");
    client.publish_ok(&open);
    client.publish_ok(&alice.event(4, NOW, &[&["p", &bob.hex()]], "fountain?iv=AAAA"));
    client.publish_ok(&alice.event(1059, NOW, &[&["p", &bob.hex()]], "fountain"));
    both(&relay, &mut client, &json!({"search": "fountain"}), &[&open]);
    both(&relay, &mut client, &json!({"search": "fountain", "kinds": [1, 4, 1059]}), &[&open]);
    let closed = client.closed("REQ", &[json!({"search": "fountain", "kinds": [1059]})]);
    assert!(closed.starts_with("invalid: none of these kinds is searched here"), "{closed}");
}

#[test]
fn live_events_are_matched_by_the_same_words() {
    let relay = relay();
    ready(relay.relay().community());
    let (mut listener, mut client) = (relay.connect(), relay.connect());
    let author = Person::new(1);
    listener.request("s", &[json!({"search": "\"fresh bread\" -white"})]);
    let texts = ["Fresh BREAD today", "bread, fresh", "white fresh bread", "no"];
    let events: Vec<Event> = texts.iter().map(|text| author.note(text)).collect();
    events.iter().for_each(|event| client.publish_ok(event));
    client.publish_ok(&author.event(7, NOW, &[], "fresh bread"));
    let heard = relay.heard_by(&mut listener);
    assert_eq!(heard, [("s".to_owned(), events[0].id.to_string())]);
}

#[test]
fn searches_are_refused_where_there_is_no_search_and_beyond_bounds() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    for verb in ["REQ", "COUNT"] {
        assert_eq!(
            client.closed(verb, &[json!({"search": "bread"})]),
            "invalid: this relay does not search: leave `search` out (search.enabled)"
        );
    }
    let relay = TestRelay::with(|config| {
        config.root.search.enabled = true;
        config.root.search.words_max = 3;
    });
    ready(relay.relay().community());
    let mut client = relay.connect();
    assert_eq!(client.ids(json!({"search": "one two three"})), [""; 0]);
    assert_eq!(
        client.closed("REQ", &[json!({"search": "one two three four"})]),
        "invalid: a search of 4 words is more than the 3 that one may have (search.words_max)"
    );
    assert_eq!(
        client.closed("REQ", &[json!({"search": 1})]),
        "invalid: search must be a string (nip01.message)"
    );
    client.send(&json!(["NEG-OPEN", "n", {"search": "bread"}, "61"]));
    let answer = client.receive();
    assert_eq!(answer[0], "NEG-ERR", "{answer}");
    assert!(answer[2].as_str().is_some_and(|why| why.contains("leave `search` out")), "{answer}");
}

#[test]
fn a_search_counts_as_several_requests() {
    let relay = TestRelay::with(|config| {
        config.root.search.enabled = true;
        config.root.search.request_cost = 4;
        config.rate.enabled = true;
        config.rate.address_requests_per_minute = 1;
        config.rate.address_requests_burst = 9;
    });
    ready(relay.relay().community());
    let mut client = relay.connect();
    for _ in 0..2 {
        client.ids(json!({"search": "bread"}));
    }
    let closed = client.closed("REQ", &[json!({"search": "bread"})]);
    assert!(closed.starts_with("rate-limited:"), "{closed}");
    client.ids(json!({"kinds": [1]}));
}

#[test]
fn communities_do_not_find_what_is_anothers() {
    let text = "[search]\nenabled = true\n[[community]]\npath = \"/market\"\n[community.search]\nenabled = true\n\
                [[community]]\npath = \"/quiet\"";
    let relay = TestRelay::configured(text);
    let (mut square, mut market, mut quiet) =
        (relay.connect(), relay.connect_at("/market"), relay.connect_at("/quiet"));
    for path in ["/", "/market"] {
        ready(&relay.relay().communities().at(path).expect("a community"));
    }
    let (one, two) = (Person::new(1).note("bread on the square"), Person::new(2).note("bread on the market"));
    square.publish_ok(&one);
    market.publish_ok(&two);
    quiet.publish_ok(&one);
    for _ in 0..2 {
        assert_eq!(square.ids(json!({"search": "bread"})), ids_of(&[&one]));
        assert_eq!(market.ids(json!({"search": "bread"})), ids_of(&[&two]));
        relay.searches();
    }
    assert!(quiet.closed("REQ", &[json!({"search": "bread"})]).contains("search.enabled"));
    assert!(!relay.data().join("search/2").exists(), "nothing is kept of who does not search");
}

#[test]
fn a_folder_that_is_gone_damaged_or_of_another_time_is_made_anew() {
    let mut relay = relay();
    ready(relay.relay().community());
    let mut client = relay.connect();
    let events: Vec<Event> =
        (0..40).map(|number| Person::new(number).note(&format!("bread number {number}"))).collect();
    events.iter().for_each(|event| client.publish_ok(event));
    relay.searches();
    let folder = relay.data().join("search/0");
    let mut number = 40;
    let mut expect_all = |relay: &mut TestRelay| {
        relay.restart();
        relay.searches();
        let mut client = relay.connect();
        assert_eq!(client.ids(json!({"search": "bread"})).len(), number as usize);
        client.publish_ok(&Person::new(number).note(&format!("bread number {number}")));
        number += 1;
        assert_eq!(client.ids(json!({"search": "bread"})).len(), number as usize);
        relay.searches();
    };
    expect_all(&mut relay);
    relay.stop();
    std::fs::remove_dir_all(&folder).expect("a folder");
    expect_all(&mut relay);
    relay.stop();
    let copy = relay.data().with_file_name("copy");
    copy_folder(&folder, &copy);
    for entry in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let mut bytes = std::fs::read(&entry).expect("a file");
        if let Some(at) = bytes.len().checked_sub(1).map(|last| last / 2) {
            bytes[at] ^= 0x55;
            std::fs::write(&entry, &bytes).expect("written");
        }
    }
    expect_all(&mut relay);
    relay.stop();
    // An older state of it is of another stamp by now.
    std::fs::remove_dir_all(&folder).expect("a folder");
    copy_folder(&copy, &folder);
    expect_all(&mut relay);
    relay.stop();
    std::fs::remove_dir_all(&folder).expect("a folder");
    std::fs::write(&folder, "no folder").expect("written");
    relay.restart();
    let mut client = relay.connect();
    let began = Instant::now();
    while relay.relay().community().search.status().state != "broken" {
        assert!(began.elapsed() < PATIENCE, "it cannot be made");
        std::thread::sleep(Duration::from_millis(5));
    }
    let closed = client.closed("REQ", &[json!({"search": "bread"})]);
    assert_eq!(closed, "error: search does not work at the moment; its operator is told (search.broken)");
    client.publish_ok(&Person::new(1_000).note("all else goes on"));
    std::fs::remove_file(&folder).expect("a file");
    ready(relay.relay().community());
    assert_eq!(client.ids(json!({"search": "\"all else\""})).len(), 1, "and it heals");
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

#[test]
fn search_begins_and_ends_with_the_settings_of_a_relay_that_runs() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let note = Person::new(1).note("bread before there was a search");
    client.publish_ok(&note);
    let mut config = plaza::config::Config::clone(&relay.relay().config());
    config.root.search.enabled = true;
    relay.relay().reconfigure(config.clone()).expect("settings");
    ready(relay.relay().community());
    assert_eq!(client.ids(json!({"search": "bread"})), ids_of(&[&note]));
    config.root.search.kinds = plaza::config::KindSet::of(&[30_023]);
    relay.relay().reconfigure(config.clone()).expect("settings");
    let article = Person::new(1).event(30_023, NOW, &[&["d", "x"], &["title", "Bread"]], "");
    client.publish_ok(&article);
    let began = Instant::now();
    let found = |client: &mut Client| {
        client.subscribe("s", &[json!({"search": "bread"})]);
        let mut ids = Vec::new();
        loop {
            let message = client.receive();
            match message[0].as_str() {
                Some("EVENT") => ids.push(id_of(&message[2])),
                _ => {
                    client.send(&json!(["CLOSE", "s"]));
                    return ids;
                }
            }
        }
    };
    while found(&mut client) != ids_of(&[&article]) {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    client.hears_nothing_more();
    config.root.search.enabled = false;
    relay.relay().reconfigure(config).expect("settings");
    assert!(client.closed("REQ", &[json!({"search": "bread"})]).contains("search.enabled"));
}

/// Words of random texts.
const VOCABULARY: [&str; 9] = ["bread", "Tea", "HONEY", "wax", "Käse", "茶", "red", "blue", "bicycle"];

/// Some of them, by chance.
fn some_words(dice: &mut Dice, most: u64) -> Vec<&'static str> {
    (0..1 + dice.below(most)).map(|_| VOCABULARY[dice.below(9) as usize]).collect()
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn random_searches_find_what_a_naive_reader_finds() {
    let seed = std::env::var("PLAZA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("PLAZA_SEED={seed}");
    let mut dice = Dice(seed);
    let relay = relay();
    ready(relay.relay().community());
    let mut client = relay.connect();
    let mut stored: Vec<(Event, Vec<&str>)> = Vec::new();
    for round in 0..60 {
        for number in 0..dice.below(12) {
            let words = some_words(&mut dice, 5);
            let author = Person::new(dice.below(4) as u32);
            let (name, age) = (dice.below(6).to_string(), 10_000 - round * 100 - number);
            let (kind, tags) = match dice.below(3) {
                0 => (30_023, vec!["d", name.as_str()]),
                _ => (1, vec!["t", name.as_str()]),
            };
            let event = author.event(kind, NOW - age, &[&tags], &words.join(" "));
            client.publish_ok(&event);
            let is_older = |old: &Event| kind == 30_023 && old.address() == event.address();
            stored.retain(|(old, _)| !is_older(old));
            stored.push((event, words));
        }
        if dice.below(3) == 0 && !stored.is_empty() {
            let (gone, _) = stored.swap_remove(dice.below(stored.len() as u64) as usize);
            let author = (0..4).map(Person::new).find(|one| one.key() == gone.pubkey).expect("an author");
            client.publish_ok(&author.event(5, NOW + round, &[&["e", &gone.id.to_string()]], ""));
        }
        if dice.below(2) == 0 {
            relay.searches();
        }
        let wanted = some_words(&mut dice, 3);
        let kind = [1, 30_023][dice.below(2) as usize];
        let of_kind = || stored.iter().filter(|(event, _)| event.kind.0 == kind);
        let all: Vec<&Event> = of_kind()
            .filter(|(_, words)| wanted.iter().all(|one| words.contains(one)))
            .map(|(event, _)| event)
            .collect();
        let mut expected = ids_of(&all);
        if expected.is_empty() {
            let some = of_kind().filter(|(_, words)| wanted.iter().any(|one| words.contains(one)));
            // What is new is found by all words alone until it is in the index.
            relay.searches();
            expected = ids_of(&some.map(|(event, _)| event).collect::<Vec<_>>());
        }
        expected.sort_unstable();
        let mut found = client.ids(json!({"search": wanted.join(" "), "kinds": [kind]}));
        found.sort_unstable();
        assert_eq!(found, expected, "{wanted:?} among kind {kind} in round {round}");
    }
}

#[test]
fn after_a_crash_under_load_everything_that_was_acknowledged_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = "[search]\nenabled = true\nlag_seconds = 0\n[rate]\nenabled = false\n";
    std::fs::write(folder.path().join("relay.toml"), settings).expect("settings");
    let start = || {
        let program = Program::start(plaza(folder.path(), &["--listen", "127.0.0.1:0"]));
        let url = program.says("listening on ");
        (program, url)
    };
    let mut number = 0;
    for round in 0..4 {
        let (mut program, url) = start();
        let mut client = Client::connect(&url);
        let began = Instant::now();
        for _ in 0..150 + 70 * round {
            let author = Person::new(number % 5);
            client.publish_ok(&author.event(
                1,
                NOW + u64::from(number),
                &[],
                &format!("loaf number {number}"),
            ));
            number += 1;
        }
        assert!(began.elapsed() < PATIENCE);
        program.signal("KILL");
        program.wait();
    }
    let (mut program, url) = start();
    let mut client = Client::connect(&url);
    let began = Instant::now();
    while let Some(why) = client.closed_or_eose("ready", &json!({"search": "loaf", "limit": 1})) {
        assert!(began.elapsed() < PATIENCE && why.contains("search.building"), "{why}");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(client.count(&[json!({"search": "loaf"})]), u64::from(number));
    for one in [0, 1, number / 2, number - 1] {
        assert_eq!(client.ids(json!({"search": format!("\"number {one}\"")})).len(), 1, "{one}");
    }
    program.stop();
}

#[test]
fn an_operator_has_it_built_anew_and_sees_how_it_stands() {
    let mut relay = relay();
    ready(relay.relay().community());
    let mut client = relay.connect();
    let note = Person::new(1).note("bread");
    client.publish_ok(&note);
    relay.searches();
    let run = |relay: &TestRelay, arguments: &[&str]| {
        let settings = relay.data().with_file_name("relay.toml");
        std::fs::write(&settings, "[search]\nenabled = true\n").expect("settings");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_plaza"));
        command.args(arguments).arg("--config").arg(&settings).arg("--data").arg(relay.data());
        let done = command.output().expect("the program runs");
        (done.status.success(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
    };
    let (done, said) = run(&relay, &["reindex"]);
    assert!(done && said.contains("/: what is searched is read anew now"), "{said}");
    relay.searches();
    assert_eq!(client.ids(json!({"search": "bread"})), ids_of(&[&note]));
    let began = Instant::now();
    loop {
        let (done, said) = run(&relay, &["stats"]);
        assert!(done && said.contains("search of /: ") && began.elapsed() < PATIENCE, "{said}");
        if said.contains("search of /: 1 events") {
            break;
        }
    }
    let (done, said) = run(&relay, &["reindex", "--community", "/nowhere"]);
    assert!(!done && said.contains("there is no community at /nowhere"), "{said}");
    relay.stop();
    let (done, said) = run(&relay, &["reindex"]);
    assert!(
        done && said.contains("when the relay starts") && !relay.data().join("search/0").exists(),
        "{said}"
    );
    relay.restart();
    relay.searches();
    assert_eq!(relay.connect().ids(json!({"search": "bread"})), ids_of(&[&note]));
}
