//! NIP-51, mute lists of moderators (nips/51.md).

use plaza::event::Event;
use serde_json::json;

use super::nip56::{BY_HAND, assert_shown, keys, teach};
use crate::common::{NOW, Person, TestRelay, ids_of};

fn mutes(moderator: &Person, created_at: u64, authors: &[&Person], events: &[&Event]) -> Event {
    let (authors, events) = (authors.iter().map(|author| author.hex()), ids_of(events));
    let values: Vec<(&str, String)> =
        authors.map(|hex| ("p", hex)).chain(events.into_iter().map(|id| ("e", id))).collect();
    let tags: Vec<[&str; 2]> = values.iter().map(|(name, value)| [*name, value]).collect();
    moderator.sign(10_000, created_at, tags.iter().collect(), "")
}

#[test]
fn what_a_moderator_mutes_is_hidden_until_the_list_changes() {
    let [moderator, second, one, two, outsider] = [1, 2, 3, 4, 5].map(Person::new);
    let mut relay = TestRelay::configured(&format!(
        "[reports]\nmoderators = {}\n{BY_HAND}",
        keys(&[&moderator, &second])
    ));
    let notes =
        [one.event(1, NOW, &[], "a"), one.event(1, NOW - 1, &[], "b"), two.event(1, NOW - 2, &[], "c")];
    let all: Vec<&Event> = notes.iter().collect();
    teach(&relay, &all);
    let deletion = moderator.event(5, NOW + 9, &[&["a", &format!("10000:{}:", moderator.hex())]], "");
    // What is published, and which of the notes are shown then.
    let steps = [
        (mutes(&outsider, NOW, &[&one, &two], &all), vec![0, 1, 2]),
        (mutes(&moderator, NOW, &[&one], &[]), vec![2]),
        (mutes(&moderator, NOW + 1, &[], &[all[1]]), vec![0, 2]),
        (mutes(&second, NOW, &[&two], &[]), vec![0]),
        (mutes(&moderator, NOW + 2, &[&outsider], &[]), vec![0, 1]),
        (mutes(&moderator, NOW + 3, &[&one], &[]), vec![]),
        (deletion, vec![0, 1]),
        (mutes(&second, NOW + 1, &[], &[]), vec![0, 1, 2]),
        (mutes(&second, NOW + 2, &[], &[all[0]]), vec![1, 2]),
    ];
    for (step, (event, shown)) in steps.iter().enumerate() {
        teach(&relay, &[event]);
        let shown: Vec<&Event> = shown.iter().map(|&number: &usize| all[number]).collect();
        assert_shown(&relay, &[], &all, &shown, &format!("step {step}"));
        assert_shown(&relay, &[&outsider], &all, &shown, &format!("step {step}, to an outsider"));
        // Moderators see what is hidden, so that they can take it back.
        assert_shown(&relay, &[&second], &all, &all, &format!("step {step}, to a moderator"));
    }
    relay.restart();
    assert_shown(&relay, &[], &all, &all[1..], "after a restart");
    assert_shown(&relay, &[&one], &all, &all, "to the author");
}

#[test]
fn new_events_of_the_muted_are_refused_with_a_reason_or_hidden() {
    let [moderator, muted, other] = [1, 2, 3].map(Person::new);
    let unwanted = other.note("known from elsewhere");
    for refuse in [true, false] {
        let relay = TestRelay::configured(&format!(
            "[reports]\nmoderators = {}\nrefuse = {refuse}\n{BY_HAND}",
            keys(&[&moderator])
        ));
        teach(&relay, &[&mutes(&moderator, NOW, &[&muted, &moderator], &[&unwanted])]);
        let mut listeners = [&[][..], &[&muted], &[&moderator]].map(|people| {
            let mut client = relay.connect_as(people);
            client.request("s", &[json!({"kinds": [1, 20_000]})]);
            client
        });
        let mut client = relay.connect();
        let note = muted.note("hello");
        let ephemeral = muted.event(20_000, NOW, &[], "psst");
        let of_author = "blocked: a moderator has muted this author (reports.muted_refused)";
        let of_event = "blocked: a moderator has muted this event (reports.muted_refused)";
        for (event, why) in [(&note, of_author), (&ephemeral, of_author), (&unwanted, of_event)] {
            let expected = if refuse { (false, why.to_owned()) } else { (true, String::new()) };
            assert_eq!(client.publish(event), expected);
        }
        let (fine, own) = (other.note("fine"), moderator.note("nobody mutes a moderator"));
        client.publish_ok(&fine);
        client.publish_ok(&own);
        client.publish_ok(&muted.event(5, NOW, &[&["e", &fine.id.to_string()]], ""));
        client.publish_ok(&muted.event(62, NOW - 1, &[&["relay", "ALL_RELAYS"]], ""));
        let shown = [&fine, &own];
        let heard: [Vec<&Event>; 3] = if refuse {
            [shown.to_vec(), shown.to_vec(), shown.to_vec()]
        } else {
            [
                shown.to_vec(),
                vec![&note, &ephemeral, &fine, &own],
                vec![&note, &ephemeral, &unwanted, &fine, &own],
            ]
        };
        for (listener, heard) in listeners.iter_mut().zip(heard) {
            let ids: Vec<String> = relay.heard_by(listener).into_iter().map(|(_, id)| id).collect();
            assert_eq!(ids, ids_of(&heard), "refuse: {refuse}");
        }
    }
}

#[test]
fn without_moderators_mute_lists_are_lists_like_others() {
    let [one, two] = [1, 2].map(Person::new);
    let shadow = format!("[reports]\nmode = \"shadow\"\nmoderators = {}", keys(&[&one]));
    for settings in ["", &shadow] {
        let relay = TestRelay::configured(settings);
        let note = two.note("hello");
        let list = mutes(&one, NOW, &[&two], &[&note]);
        teach(&relay, &[&list, &note]);
        assert_shown(&relay, &[], &[&note], &[&note], settings);
        assert_eq!(relay.connect().ids(json!({"kinds": [10_000]})), ids_of(&[&list]));
    }
}

#[test]
fn tags_that_name_nobody_hide_nothing() {
    let [moderator, author] = [1, 2].map(Person::new);
    let relay = TestRelay::configured(&format!("[reports]\nmoderators = {}\n{BY_HAND}", keys(&[&moderator])));
    let note = author.event(1, NOW, &[&["t", "cats"]], "hello world");
    let (key, id) = (author.hex(), note.id.to_string());
    let tags: [&[&str]; 7] = [
        &["p", &key[1..]],
        &["p"],
        &["P", &key],
        &["e", &id.to_uppercase()],
        &["word", "hello"],
        &["t", "cats"],
        &["p", &id],
    ];
    teach(&relay, &[&note, &moderator.event(10_000, NOW, &tags, "encrypted")]);
    assert_shown(&relay, &[], &[&note], &[&note], "nothing of it is named");
}
