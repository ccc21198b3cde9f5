//! Publishing: what is on the lists, in how many events, with which reasons, and for whom.

use plaza::event::Event;
use serde_json::json;

use super::common::{NOW, Person, TestRelay};
use super::{Publisher, entries, owner, published, reload, with_key};
use crate::common::await_that;

const PUBKEYS: &str = "banned-pubkeys";
const DOMAINS: &str = "blocked-domains";

#[test]
fn reasons_are_told_as_the_settings_say() {
    let [one, two, three] = [10, 11, 12].map(Person::new);
    // What is set, and what is published of each ban's reason; nothing where the ban is not.
    let table = [
        ("public", [Some("spam"), None, None]),
        ("all", [Some("spam"), Some("her address is 1 Example Street"), Some("")]),
        ("none", [Some(""), Some(""), Some("")]),
    ];
    for (setting, wanted) in table {
        let publisher = Publisher::start(100, &format!("reasons = \"{setting}\""));
        let reasons = ["Public:  spam", "her address is 1 Example Street", ""];
        for (person, reason) in [&one, &two, &three].into_iter().zip(reasons) {
            publisher.ban(person, reason);
        }
        let mut wanted: Vec<(String, String)> = [&one, &two, &three]
            .into_iter()
            .zip(wanted)
            .filter_map(|(person, reason)| Some((person.hex(), reason?.to_owned())))
            .collect();
        wanted.sort();
        await_that(setting, || {
            let mut said = publisher.published(PUBKEYS).map(|list| entries(&list)).unwrap_or_default();
            said.sort();
            said == wanted
        });
        let list = publisher.published(PUBKEYS).expect("a list").to_string();
        assert_eq!(list.contains("Example Street"), setting == "all", "{list}");
        let tags = [r#"["d","banned-pubkeys"]"#, r#"["title","Banned at the square"]"#];
        assert!(tags.iter().all(|tag| list.contains(tag)), "{list}");
        assert!(list.contains(&format!(r#"["p","{}","","#, one.hex())), "{list}");
        let day = plaza::words::day(NOW);
        assert!(list.contains(&format!(r#""{day} {}"]"#, wanted[0].1).replace(" \"", "\"")), "{list}");
    }
}

#[test]
fn many_bans_at_once_make_few_events_and_what_is_published_is_kept() {
    let mut publisher = Publisher::start(100, "");
    let mut listener = publisher.relay.connect();
    listener.request("live", &[json!({"kinds": [30_000], "#d": [PUBKEYS]})]);
    for number in 0..30 {
        publisher.ban(&Person::new(1_000 + number), "public: spam");
    }
    let mut count = 0;
    loop {
        let message = listener.receive();
        assert_eq!(message[0], "EVENT", "{message}");
        count += 1;
        if entries(&message[2]).len() == 30 {
            break;
        }
    }
    // Each waits for more before it; a slow machine may take some seconds for the bans.
    assert!(count < 30, "{count} events");
    let list = publisher.published(PUBKEYS).expect("a list");
    publisher.relay.restart();
    assert_eq!(publisher.published(PUBKEYS), Some(list), "nothing is said again that stands there");
}

#[test]
fn what_was_banned_before_is_published_at_once_and_taken_back_with_the_setting() {
    let publisher = Publisher::start(100, "");
    publisher.ban(&Person::new(10), "public: spam");
    await_that("the list is there", || {
        publisher.published(PUBKEYS).is_some_and(|list| entries(&list).len() == 1)
    });
    let settings = with_key("the square", &publisher.key, &publisher.folder);
    let settings = settings.replace(&format!("[admin]\nowners = [\"{}\"]\n", owner().hex()), "");
    reload(&publisher.relay, &settings);
    assert!(publisher.published(PUBKEYS).is_none());
    publisher.ban(&Person::new(11), "public: spam");
    reload(&publisher.relay, &format!("{settings}[shared_lists]\npublish = [\"pubkeys\"]"));
    assert_eq!(entries(&publisher.published(PUBKEYS).expect("a list")).len(), 2);
    assert!(publisher.published(DOMAINS).is_none());
}

#[test]
fn blocked_domains_are_published_with_public_comments_and_keep_their_dates() {
    let (key, folder) = (Person::new(100), tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("own.csv");
    let write = |lines: &str| {
        std::fs::write(
            &file,
            format!("#domain,#severity,#public_comment,#private_comment,#obfuscate\n{lines}"),
        )
        .expect("a file");
    };
    write(concat!(
        "Bad.example,suspend,spam,told in confidence,false\nquiet.example,silence,loud,,false\n",
        "secret.example,suspend,x,,true\nfine.example,suspend,,,\n",
    ));
    let settings = format!(
        "{}[shared_lists]\npublish = [\"domains\"]\n[blocklist]\nfiles = [\"{}\"]\n\
         domains_allowed = [\"fine.example\"]",
        with_key("the square", &key, &folder),
        file.display()
    );
    let relay = TestRelay::configured(&settings);
    let list = published(&relay, &key, DOMAINS).expect("a list");
    assert_eq!(entries(&list), [("bad.example".to_owned(), "spam".to_owned())]);
    assert!(!list.to_string().contains("confidence"));
    relay.clock.set(NOW + 86_400);
    write("bad.example,suspend,spam,,false\nworse.example,suspend,\"spam, and more\",,false\n");
    relay.relay().learn_now();
    await_that("the list is said anew", || {
        published(&relay, &key, DOMAINS).is_some_and(|list| entries(&list).len() == 2)
    });
    let list = published(&relay, &key, DOMAINS).expect("a list");
    let [then, now] = [NOW, NOW + 86_400].map(plaza::words::day);
    assert_eq!(list["tags"][3], json!(["word", "bad.example", "", format!("{then} spam")]));
    assert_eq!(list["tags"][4], json!(["word", "worse.example", "", format!("{now} spam, and more")]));
}

#[test]
fn a_list_that_has_no_room_leaves_its_oldest_entries_out_and_says_so() {
    let publisher = Publisher::start(100, "reasons = \"all\"\n[limits]\nmessage_bytes_max = 6_000\n");
    for number in 0..30_u32 {
        publisher.relay.clock.set(NOW + u64::from(number));
        publisher.ban(&Person::new(1_000 + number), "spam");
    }
    let has_newest = |list: &serde_json::Value| {
        entries(list).last().is_some_and(|(key, _)| *key == Person::new(1_029).hex())
    };
    await_that("the newest is there", || publisher.published(PUBKEYS).is_some_and(|list| has_newest(&list)));
    let list = publisher.published(PUBKEYS).expect("a list");
    let count = entries(&list).len();
    assert!((5..30).contains(&count) && list.to_string().len() <= 6_000, "{count}");
    let last = list["tags"].as_array().and_then(|tags| tags.last()).expect("tags");
    assert_eq!(*last, json!(["left_out", (30 - count).to_string()]));
}

#[test]
fn a_client_library_reads_the_list() {
    let publisher = Publisher::start(100, "");
    let spammer = Person::new(10);
    publisher.ban(&spammer, "public: spam, \"quoted\"");
    await_that("the list is there", || {
        publisher.published(PUBKEYS).is_some_and(|list| entries(&list).len() == 1)
    });
    let list = publisher.published(PUBKEYS).expect("a list").to_string();
    let event = <nostr_sdk::Event as nostr_sdk::JsonUtil>::from_json(&list).expect("an event");
    event.verify().expect("it is true");
    assert_eq!(event.kind, nostr_sdk::Kind::FollowSet);
    let people: Vec<String> = event.tags.public_keys().map(|key| key.to_hex()).collect();
    assert_eq!(people, [spammer.hex()]);
    assert_eq!(event.tags.identifier(), Some(PUBKEYS));
    assert!(
        event.tags.iter().all(|tag| tag.as_standardized().is_some() || tag.len() == 2),
        "{:?}",
        event.tags
    );
    assert!(Event::from_json(list.as_bytes()).is_ok());
}
