//! NIP-56, reports (nips/56.md); what it shares with NIP-32 and NIP-51 is checked by functions here.

use plaza::event::Event;
use serde_json::json;

use crate::common::{NOW, Person, TestRelay, ids_of};

/// Learning happens when a test asks for it.
pub(super) const BY_HAND: &str = "[trust]\nrebuild_seconds = 86_400";

/// A list of keys, as in relay.toml.
pub(super) fn keys(people: &[&Person]) -> String {
    let keys: Vec<String> = people.iter().map(|person| format!("\"{}\"", person.hex())).collect();
    format!("[{}]", keys.join(", "))
}

/// Publishes and learns.
pub(super) fn teach(relay: &TestRelay, events: &[&Event]) {
    let mut client = relay.connect();
    events.iter().for_each(|event| client.publish_ok(event));
    relay.relay().learn_now();
}

/// Asserts that of these notes, newest first, exactly some are found with REQ and COUNT, by these people.
pub(super) fn assert_shown(
    relay: &TestRelay,
    people: &[&Person],
    all: &[&Event],
    shown: &[&Event],
    what: &str,
) {
    let mut client = relay.connect_as(people);
    let filter = json!({"ids": ids_of(all)});
    assert_eq!(client.ids(filter.clone()), ids_of(shown), "{what}");
    assert_eq!(client.count(&[filter]), shown.len() as u64, "{what}");
    let by_kind = json!({"kinds": [1], "limit": 100});
    let found = client.ids(by_kind.clone());
    let expected = ids_of(shown);
    assert!(
        all.iter()
            .all(|event| found.contains(&event.id.to_string()) == expected.contains(&event.id.to_string()))
    );
    assert_eq!(client.count(&[json!({"kinds": [1]})]), found.len() as u64, "{what}");
}

fn report_of_event(reporter: &Person, event: &Event, kind: &str) -> Event {
    reporter.event(1_984, NOW, &[&["e", &event.id.to_string(), kind], &["p", &event.pubkey.to_string()]], "")
}

fn report_of_author(reporter: &Person, author: &Person, kind: &str) -> Event {
    reporter.event(1_984, NOW, &[&["p", &author.hex(), kind]], "")
}

fn deletion_of(author: &Person, event: &Event) -> Event {
    author.event(5, NOW, &[&["e", &event.id.to_string()]], "")
}

#[test]
fn an_event_is_hidden_at_the_threshold_and_shown_again_below_it() {
    let [author, one, two, three, stranger] = [1, 2, 3, 4, 5].map(Person::new);
    let mut relay = TestRelay::configured(&format!(
        "[reports]\nevent_threshold = 2\nreporters = {}\n{BY_HAND}",
        keys(&[&one, &two, &three])
    ));
    let (bad, good) = (author.event(1, NOW, &[], "bad"), author.event(1, NOW - 1, &[], "good"));
    let all = [&bad, &good];
    let by_one = report_of_event(&one, &bad, "spam");
    let by_two = report_of_event(&two, &bad, "illegal");
    // What is published, and whether the bad note is shown then.
    let steps = [
        (bad.clone(), true),
        (good.clone(), true),
        (by_one.clone(), true),
        (report_of_event(&one, &bad, "profanity"), true),
        (report_of_event(&stranger, &bad, "spam"), true),
        (report_of_author(&three, &author, "spam"), true),
        (by_two.clone(), false),
        (report_of_event(&three, &bad, "nudity"), false),
        (deletion_of(&two, &by_two), false),
        // The same person's other report still counts.
        (deletion_of(&one, &by_one), false),
        (deletion_of(&three, &report_of_event(&three, &bad, "nudity")), true),
        (report_of_event(&two, &bad, "spam"), false),
        (two.event(62, NOW + 1, &[&["relay", "ALL_RELAYS"]], ""), true),
    ];
    for (step, (event, is_shown)) in steps.iter().enumerate() {
        teach(&relay, &[event]);
        if step > 0 {
            let shown = if *is_shown { &all[..] } else { &all[1..] };
            assert_shown(&relay, &[], &all, shown, &format!("step {step}"));
            assert_shown(&relay, &[&stranger, &one], &all, shown, &format!("step {step}, to reporters"));
            // Its author still sees it.
            assert_shown(&relay, &[&author], &all, &all, &format!("step {step}, to the author"));
        }
        if step == 7 {
            relay.restart();
            assert_shown(&relay, &[], &all, &all[1..], "after a restart");
        }
    }
}

#[test]
fn an_author_is_hidden_and_refused_at_the_threshold() {
    let [author, one, two, other] = [1, 2, 3, 4].map(Person::new);
    let blocked = "blocked: people who are trusted here have reported this author (reports.refused)";
    for refuse in [true, false] {
        let relay = TestRelay::configured(&format!(
            "[reports]\nauthor_threshold = 2\nrefuse = {refuse}\nreporters = {}\n{BY_HAND}",
            keys(&[&one, &two])
        ));
        let (theirs, others) = (author.event(1, NOW, &[], "x"), other.event(1, NOW - 1, &[], "y"));
        let all = [&theirs, &others];
        teach(&relay, &[&theirs, &others, &report_of_author(&one, &author, "spam")]);
        assert_shown(&relay, &[], &all, &all, "one report");
        let second = report_of_author(&two, &author, "spam");
        teach(&relay, &[&second]);
        assert_shown(&relay, &[], &all, &[&others], "two reports");
        assert_shown(&relay, &[&author], &all, &all, "to the author");

        let mut listeners = [&[][..], &[&author]].map(|people| {
            let mut client = relay.connect_as(people);
            client.request("s", &[json!({"authors": [author.hex()], "since": NOW + 1})]);
            client
        });
        let mut client = relay.connect();
        let new = author.event(1, NOW + 1, &[], "new");
        let expected = if refuse { (false, blocked.to_owned()) } else { (true, String::new()) };
        assert_eq!(client.publish(&new), expected);
        assert_eq!(relay.heard_by(&mut listeners[0]), []);
        let heard: Vec<_> = if refuse { vec![] } else { vec![("s".to_owned(), new.id.to_string())] };
        assert_eq!(relay.heard_by(&mut listeners[1]), heard);
        // Taking back is always possible, and seen.
        let deletion = deletion_of(&author, &theirs);
        client.publish_ok(&deletion);
        assert_eq!(client.ids(json!({"kinds": [5]})), ids_of(&[&deletion]));

        teach(&relay, &[&deletion_of(&two, &second)]);
        let shown: &[&Event] = if refuse { &[&others] } else { &[&new, &others] };
        assert_shown(&relay, &[], &[&new, &theirs, &others], shown, "taken back");
        client.publish_ok(&author.event(1, NOW + 2, &[], "welcome"));
    }
}

#[test]
fn reports_count_by_type_and_by_what_they_name() {
    let [author, other, reporter] = [1, 2, 3].map(Person::new);
    let note = author.note("a note");
    let all = [&note];
    let (id, author_key, other_key) = (note.id.to_string(), author.hex(), other.hex());
    let [id, author_key, other_key] = [&*id, &*author_key, &*other_key];
    let any = "[]";
    let listed = "[\"spam\", \"illegal\"]";
    // Types that count, tags of a report, and whether it hides the author's note.
    let table: [(&str, &[&[&str]], bool); 19] = [
        (any, &[&["e", id, "spam"], &["p", author_key]], true),
        (any, &[&["e", id, "anything"], &["p", author_key]], true),
        (any, &[&["e", id], &["p", author_key, "spam"]], true),
        (any, &[&["e", id, ""], &["p", author_key, "spam"]], true),
        (any, &[&["e", id], &["p", author_key]], false),
        (any, &[&["e", id, ""]], false),
        (any, &[&["e", &id[1..], "spam"]], false),
        (any, &[&["p", author_key, "spam"]], true),
        (any, &[&["p", author_key]], false),
        (any, &[&["p", other_key, "impersonation"], &["p", author_key]], false),
        (any, &[&["p", other_key], &["p", author_key, "impersonation"]], true),
        // A report on another event speaks of that event, not of its author.
        (any, &[&["e", other_key, "spam"], &["p", author_key, "spam"]], false),
        (listed, &[&["e", id, "spam"]], true),
        (listed, &[&["e", id, "illegal"]], true),
        (listed, &[&["e", id, "profanity"]], false),
        (listed, &[&["e", id, "Spam"]], false),
        (listed, &[&["p", author_key, "illegal"]], true),
        (listed, &[&["p", author_key, "nudity"]], false),
        (listed, &[&["e", id, "nudity"], &["e", id, "spam"]], true),
    ];
    for (types, tags, hides) in table {
        let relay = TestRelay::configured(&format!(
            "[reports]\nevent_threshold = 1\nauthor_threshold = 1\nreporters = {}\ntypes = {types}\n{BY_HAND}",
            keys(&[&reporter])
        ));
        teach(&relay, &[&note, &reporter.event(1_984, NOW, tags, "")]);
        let shown = if hides { &[][..] } else { &all };
        assert_shown(&relay, &[], &all, shown, &format!("{types}: {tags:?}"));
    }
}

#[test]
fn reporters_are_those_whom_the_settings_name() {
    let [author, root, near, far, member, stranger] = [1, 2, 3, 4, 5, 6].map(Person::new);
    let list = |author: &Person, followed: &Person| author.event(3, NOW, &[&["p", &followed.hex()]], "");
    let note = author.note("a note");
    // Settings, and whether the reports of root, near (one hop), far (two hops), member and stranger count.
    let table = [
        (format!("reporters = {}", keys(&[&stranger])), [false, false, false, false, true]),
        ("by_members = true".to_owned(), [false, false, false, true, false]),
        ("hops_max = 0".to_owned(), [true, false, false, false, false]),
        ("hops_max = 1".to_owned(), [true, true, false, false, false]),
        ("hops_max = 2".to_owned(), [true, true, true, false, false]),
        ("hops_max = 1\nby_members = true".to_owned(), [true, true, false, true, false]),
    ];
    for (settings, counts) in table {
        for (reporter, counts) in [&root, &near, &far, &member, &stranger].into_iter().zip(counts) {
            let relay = TestRelay::configured(&format!(
                "[reports]\nevent_threshold = 1\n{settings}\n{BY_HAND}\nroots = {}\n[authors]\nmembers = {}",
                keys(&[&root]),
                keys(&[&member])
            ));
            teach(&relay, &[&note, &report_of_event(reporter, &note, "spam")]);
            // Who comes within reach later counts from then on.
            teach(&relay, &[&list(&root, &near), &list(&near, &far)]);
            let shown = if counts { &[][..] } else { &[&note] };
            assert_shown(&relay, &[], &[&note], shown, &settings);
        }
    }
}

#[test]
fn only_so_many_reports_count_the_newest_first() {
    let [author, reporter, stranger] = [1, 2, 3].map(Person::new);
    let notes: Vec<Event> = (0..3).map(|age| author.event(1, NOW - age, &[], "note")).collect();
    let all: Vec<&Event> = notes.iter().collect();
    let report = |reporter: &Person, created_at, events: &[&Event]| {
        let ids = ids_of(events);
        let tags: Vec<[&str; 3]> = ids.iter().map(|id| ["e", id, "spam"]).collect();
        reporter.sign(1_984, created_at, tags.iter().collect(), "")
    };
    // The bound, and how many of the three notes are shown.
    for (reports_max, shown) in [(3, &all[3..]), (2, &all[2..]), (1, &all[1..])] {
        let mut relay = TestRelay::configured(&format!(
            "[reports]\nevent_threshold = 1\nreports_max = {reports_max}\nreporters = {}\n{BY_HAND}",
            keys(&[&reporter])
        ));
        teach(&relay, &all);
        // The newest note is reported last. Reports of strangers take no room.
        for (age, note) in notes.iter().enumerate().rev() {
            let time = NOW - age as u64;
            teach(&relay, &[&report(&reporter, time, &[note]), &report(&stranger, time, &all[..1])]);
        }
        relay.restart();
        assert_shown(&relay, &[], &all, shown, &format!("{reports_max} separate reports"));
    }
    let relay = TestRelay::configured(&format!(
        "[reports]\nevent_threshold = 1\nreports_max = 2\nreporters = {}\n{BY_HAND}",
        keys(&[&reporter])
    ));
    teach(&relay, &all);
    teach(&relay, &[&report(&reporter, NOW, &all)]);
    assert_shown(&relay, &[], &all, &all[2..], "each named event takes room");
}

#[test]
fn without_settings_reports_hide_nothing() {
    let [author, reporter] = [1, 2].map(Person::new);
    let note = author.note("a note");
    for settings in [
        String::new(),
        format!("[reports]\nreporters = {}", keys(&[&reporter])),
        format!("[reports]\nmode = \"shadow\"\nevent_threshold = 1\nreporters = {}", keys(&[&reporter])),
    ] {
        let relay = TestRelay::configured(&settings);
        teach(&relay, &[&note, &report_of_event(&reporter, &note, "spam")]);
        assert_shown(&relay, &[], &[&note], &[&note], &settings);
    }
}

#[test]
fn reports_in_one_community_hide_nothing_in_another() {
    let [author, reporter] = [1, 2].map(Person::new);
    let rules = format!("reports]\nevent_threshold = 1\nreporters = {}", keys(&[&reporter]));
    let relay = TestRelay::configured(&format!(
        "[{rules}\n{BY_HAND}\n[[community]]\npath = \"/town\"\n[community.{rules}\n[community.trust]\n\
         rebuild_seconds = 86_400"
    ));
    let note = author.note("a note");
    let (mut root, mut town) = (relay.connect(), relay.connect_at("/town"));
    root.publish_ok(&note);
    town.publish_ok(&note);
    town.publish_ok(&report_of_event(&reporter, &note, "spam"));
    relay.relay().learn_now();
    let by_id = json!({"ids": [note.id.to_string()]});
    let count = |client: &mut crate::common::Client| client.count(std::slice::from_ref(&by_id));
    assert_eq!((count(&mut root), count(&mut town)), (1, 0));
}
