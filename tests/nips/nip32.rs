//! NIP-32, labels (nips/32.md).

use plaza::event::Event;
use serde_json::json;

use super::nip56::{BY_HAND, assert_shown, keys, teach};
use crate::common::{NOW, Person, TestRelay, ids_of};

#[test]
fn labels_of_trusted_people_count_as_reports_where_the_settings_name_them() {
    let [author, reporter, stranger] = [1, 2, 3].map(Person::new);
    let note = author.note("a note");
    let (id, key) = (note.id.to_string(), author.hex());
    let (e, p): (&[&str], &[&str]) = (&["e", &id], &["p", &key]);
    let other_event: &[&str] = &["e", &key];
    let named: &[&str] = &["L", "org.example"];
    let label: fn(&'static str) -> [&'static str; 3] = |label| ["l", label, "org.example"];
    let [spam, scam, fine] = ["spam", "scam", "fine"].map(label);
    let [spam, scam, fine]: [&[&str]; 3] = [&spam, &scam, &fine];
    let some = "{ \"org.example\" = [\"spam\", \"scam\"] }";
    let every = "{ \"org.example\" = [] }";
    let own_words = "{ ugc = [\"spam\"] }";
    // Labels that count, tags of a label, and whether it hides the note.
    let table: [(&str, &[&[&str]], bool); 16] = [
        ("{}", &[named, spam, e], false),
        (some, &[named, spam, e], true),
        (some, &[named, scam, e], true),
        (some, &[named, fine, e], false),
        (some, &[named, fine, spam, e], true),
        (some, &[named, spam, p], true),
        (some, &[named, spam, other_event, p], false),
        // The namespace is named by a tag of its own.
        (some, &[spam, e], false),
        (some, &[&["L", "org.other"], &["l", "spam", "org.other"], e], false),
        (some, &[named, &["l", "spam"], e], false),
        (every, &[named, fine, e], true),
        (every, &[named, &["l"], e], false),
        (own_words, &[&["l", "spam"], e], true),
        (own_words, &[&["L", "ugc"], &["l", "spam", "ugc"], e], true),
        (own_words, &[&["l", "fine"], e], false),
        (own_words, &[named, spam, e], false),
    ];
    for (labels, tags, hides) in table {
        let relay = TestRelay::configured(&format!(
            "[reports]\nevent_threshold = 1\nauthor_threshold = 1\nreporters = {}\nlabels = {labels}\n{BY_HAND}",
            keys(&[&reporter])
        ));
        teach(&relay, &[&note, &stranger.event(1_985, NOW, tags, "")]);
        assert_shown(&relay, &[], &[&note], &[&note], "labels of strangers");
        let by_reporter = reporter.event(1_985, NOW, tags, "");
        teach(&relay, &[&by_reporter]);
        let shown = if hides { &[][..] } else { &[&note] };
        assert_shown(&relay, &[], &[&note], shown, &format!("{labels}: {tags:?}"));
        teach(&relay, &[&reporter.event(5, NOW, &[&["e", &by_reporter.id.to_string()]], "")]);
        assert_shown(&relay, &[], &[&note], &[&note], "taken back");
    }
}

#[test]
fn a_label_and_a_report_of_one_person_count_once() {
    let [author, one, two] = [1, 2, 3].map(Person::new);
    let relay = TestRelay::configured(&format!(
        "[reports]\nevent_threshold = 2\nreporters = {}\nlabels = {{ ugc = [] }}\n{BY_HAND}",
        keys(&[&one, &two])
    ));
    let note = author.note("a note");
    let id = note.id.to_string();
    let label = |person: &Person| person.event(1_985, NOW, &[&["l", "spam"], &["e", &id]], "");
    let report = |person: &Person| person.event(1_984, NOW, &[&["e", &id, "spam"]], "");
    teach(&relay, &[&note, &label(&one), &report(&one)]);
    assert_shown(&relay, &[], &[&note], &[&note], "one person");
    teach(&relay, &[&report(&two)]);
    assert_shown(&relay, &[], &[&note], &[], "two people");
}

#[test]
fn labels_are_found_by_namespace_label_and_target() {
    let relay = TestRelay::start();
    let person = Person::new(1);
    let target = person.hex();
    let labels: Vec<Event> = ["permies", "cats"]
        .into_iter()
        .map(|label| person.event(1_985, NOW, &[&["L", "#t"], &["l", label, "#t"], &["p", &target]], ""))
        .collect();
    let self_labelled = person.event(1, NOW - 1, &[&["L", "#t"], &["l", "cats", "#t"]], "meow");
    let mut client = relay.connect();
    labels.iter().chain([&self_labelled]).for_each(|event| client.publish_ok(event));
    assert_eq!(client.count(&[json!({"#L": ["#t"]})]), 3);
    assert_eq!(client.ids(json!({"#l": ["cats"]})), ids_of(&[&labels[1], &self_labelled]));
    assert_eq!(
        client.ids(json!({"kinds": [1_985], "#l": ["permies"], "#p": [target]})),
        ids_of(&[&labels[0]])
    );
}
