//! Down, up and both ways; what was missed; logging in; sides without reconciliation; what is refused.

use serde_json::json;

use super::common::{NOW, Person, TestRelay, id_of};
use super::{await_live, await_stored, ids, mirror, next_event, notes, publish, reload, shown, stats};
use crate::common::await_that;

#[test]
fn each_way_carries_what_was_missed_and_what_is_new() {
    for (direction, comes, goes) in [("down", true, false), ("up", false, true), ("both", true, true)] {
        for backfill in ["negentropy", "pages"] {
            let (both, here, there) = (notes(1, 0..30), notes(2, 0..40), notes(3, 0..450));
            let other = TestRelay::start();
            publish(&other, both.iter().chain(&there));
            let keys = format!("direction = \"{direction}\"\nbackfill = \"{backfill}\"");
            let relay = TestRelay::configured("");
            publish(&relay, both.iter().chain(&here));
            reload(&relay, &mirror(&other.url(), &keys));
            await_live(&relay);
            let case = format!("{direction}, {backfill}");
            await_that(&case, || relay.stored() == 70 + if comes { 450 } else { 0 });
            await_that(&case, || other.stored() == 480 + if goes { 40 } else { 0 });
            // What is new, on either side.
            let [mine, theirs] = [Person::new(4).note("mine"), Person::new(5).note("theirs")];
            publish(&relay, [&mine]);
            publish(&other, [&theirs]);
            await_that(&case, || shown(&relay).contains(&theirs.id.to_string()) == comes);
            await_that(&case, || shown(&other).contains(&mine.id.to_string()) == goes);
            let stats = stats(&relay);
            assert_eq!((stats.error, stats.strikes, stats.connects), (None, 0, 1), "{case}");
            await_that(&case, || self::stats(&relay).down.taken == if comes { 451 } else { 0 });
            await_that(&case, || self::stats(&relay).up.taken == if goes { 41 } else { 0 });
            // What came from there is not sent back.
            assert_eq!(self::stats(&relay).up.copies, 0, "{case}");
        }
    }
}

#[test]
fn of_thousands_that_differ_by_few_only_those_are_carried() {
    let (both, there) = (notes(1, 0..3_000), notes(2, 0..5));
    let other = TestRelay::start();
    let relay = TestRelay::start();
    publish(&other, both.iter().chain(&there));
    publish(&relay, &both);
    reload(&relay, &mirror(&other.url(), ""));
    await_live(&relay);
    await_stored(&relay, 3_005);
    let down = stats(&relay).down;
    // One is sent at once to who listens.
    assert!(down.events <= 6, "{down:?}");
    await_that("all is counted", || stats(&relay).down.taken == 5);
    let bytes = other.relay().community().traffic.all();
    let answered = bytes.iter().find(|(name, _)| *name == "answered").map(|(_, number)| *number);
    assert!(answered <= Some(6), "{answered:?}");
}

#[test]
fn a_bound_on_one_comparison_is_met_by_parts_of_time() {
    let there = notes(2, 0..300);
    let other = TestRelay::configured("[nip77]\nevents_max = 50");
    publish(&other, &there);
    let relay = TestRelay::configured(&mirror(&other.url(), "direction = \"both\""));
    let mine = notes(3, 0..120);
    await_stored(&relay, 300);
    publish(&relay, &mine);
    await_stored(&other, 420);
    assert_eq!(shown(&relay), shown(&other));
    assert_eq!(stats(&relay).strikes, 0);
}

#[test]
fn after_the_other_side_was_gone_nothing_is_missing() {
    let mut other = TestRelay::start();
    let keys = "direction = \"both\"\nfilter = { kinds = [1] }";
    let address = other.relay().address();
    let relay = TestRelay::configured(&mirror(&other.url(), keys));
    await_live(&relay);
    publish(&relay, &notes(1, 0..10));
    await_stored(&other, 10);
    other.stop();
    await_that("the mirror has noticed", || stats(&relay).error.is_some());
    publish(&relay, &notes(2, 0..200));
    other.start_again_at(address);
    publish(&other, &notes(3, 0..200));
    await_stored(&relay, 410);
    await_stored(&other, 410);
    assert_eq!(shown(&relay), shown(&other));
    await_live(&relay);
    assert_eq!(stats(&relay).error, None);
    assert!(stats(&relay).connects >= 2);
}

#[test]
fn a_key_logs_in_and_sees_what_it_may() {
    let (member, stranger) = (Person::new(1), Person::new(2));
    let settings = "[access]\nread = \"members\"\nwrite = \"members\"\n[authors]\nmembers = [\"KEY\"]\n";
    let other = TestRelay::configured(&settings.replace("KEY", &member.hex()));
    let theirs = notes(1, 0..20);
    publish(&other, &theirs);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, member.secret()).expect("a file");
    let with_key = format!("direction = \"both\"\nkey_file = {:?}", file.display());
    let relay = TestRelay::configured(&mirror(&other.url(), ""));
    await_that("it is refused without a key", || {
        stats(&relay).error.is_some_and(|error| error.contains("auth-required: log in to read here"))
    });
    assert_eq!(relay.stored(), 0);
    reload(&relay, &mirror(&other.url(), &with_key));
    await_stored(&relay, 20);
    let (mine, foreign) = (member.note("mine"), stranger.note("foreign"));
    publish(&relay, [&foreign, &mine]);
    await_stored(&other, 21);
    await_that("the stranger's is refused", || {
        stats(&relay).up.refused == [("restricted".to_owned(), 1)].into()
    });
    assert_eq!(shown(&relay).len(), 22);
    // What the key's owner alone may read here goes there too, and nobody else's.
    let mut to_member = ids([]);
    for recipient in [&member, &stranger] {
        let wrap = Person::new(3).event(1_059, NOW, &[&["p", &recipient.hex()]], "");
        publish(&relay, [&wrap]);
        if recipient.hex() == member.hex() {
            to_member.insert(wrap.id.to_string());
        }
    }
    await_stored(&other, 22);
    publish(&relay, [&member.event(1, NOW, &[], "after them")]);
    await_stored(&other, 23);
    let mut client = other.connect_as(&[&member]);
    assert_eq!(client.ids(json!({"kinds": [1_059]})), Vec::from_iter(to_member));
}

#[test]
fn a_side_without_reconciliation_is_read_and_written_page_by_page() {
    let other =
        TestRelay::configured("[nip77]\nenabled = false\n[limits]\nlimit_max = 50\nlimit_default = 50");
    let (both, here, there) = (notes(1, 0..120), notes(2, 0..130), notes(3, 0..140));
    publish(&other, both.iter().chain(&there));
    // Many of one second.
    let crowd: Vec<_> = (10..90).map(|number| Person::new(number).event(1, NOW - 7, &[], "now")).collect();
    publish(&other, &crowd);
    let relay = TestRelay::start();
    publish(&relay, both.iter().chain(&here));
    reload(&relay, &mirror(&other.url(), "direction = \"both\""));
    await_stored(&relay, 470);
    await_stored(&other, 470);
    await_live(&relay);
    assert_eq!(stats(&relay).strikes, 0);
    assert_eq!(stats(&relay).up.copies, 0, "only what is lacking is sent");
}

#[test]
fn the_communitys_rules_are_asked_unless_the_mirror_is_trusted() {
    let there = notes(1, 0..10);
    let other = TestRelay::start();
    publish(&other, &there);
    let reactions: Vec<_> = (0..5).map(|number| Person::new(2).event(7, NOW - number, &[], "+")).collect();
    publish(&other, &reactions);
    let rules = "[kinds]\ndenied = [7]\n";
    let relay = TestRelay::configured(&format!("{rules}{}", mirror(&other.url(), "")));
    await_stored(&relay, 10);
    await_that("what is denied is refused", || {
        stats(&relay).down.refused.get("blocked").is_some_and(|count| *count >= 5)
    });
    assert_eq!(shown(&relay), ids(&there));
    let trusted = mirror(&other.url(), "policy = \"trusted\"");
    reload(&relay, &format!("{rules}{trusted}"));
    await_stored(&relay, 15);
    assert_eq!(shown(&relay), ids(there.iter().chain(&reactions)));
}

#[test]
fn authors_rates_do_not_hold_up_a_mirror_and_its_own_pace_does() {
    let there = notes(1, 0..700);
    let other = TestRelay::start();
    publish(&other, &there);
    let relay = TestRelay::with(|config| {
        config.rate.enabled = true;
        let text = mirror(&other.url(), "events_per_second = 300");
        config.mirrors =
            plaza::config::Config::parse(&text, std::path::Path::new("relay.toml")).unwrap().mirrors;
    });
    let began = std::time::Instant::now();
    await_stored(&relay, 700);
    // A second's worth comes at once.
    assert!(began.elapsed().as_millis() > 1_000, "{:?}", began.elapsed());
    assert_eq!(stats(&relay).down.refused, [].into());
}

#[test]
fn what_the_other_side_refuses_for_good_is_offered_once() {
    let other = TestRelay::configured("[kinds]\ndenied = [7]");
    let (author, relay) = (Person::new(1), TestRelay::start());
    let reactions: Vec<_> = (0..5).map(|number| author.event(7, NOW - number, &[], "+")).collect();
    publish(&relay, &reactions);
    reload(&relay, &mirror(&other.url(), "direction = \"up\"\ncatch_up_seconds = 1"));
    await_that("they are refused", || stats(&relay).up.refused.get("blocked") == Some(&5));
    let note = author.note("fine");
    publish(&relay, [&note]);
    await_stored(&other, 1);
    // Two more comparisons, in which nothing is offered again.
    let compared = stats(&relay).caught_up;
    await_that("it is compared again", || stats(&relay).caught_up >= compared + 2);
    assert_eq!(stats(&relay).up.events, 6, "{:?}", stats(&relay));
}

#[test]
fn what_is_too_much_at_once_there_goes_later() {
    let other = TestRelay::with(|config| {
        config.rate.enabled = true;
        config.rate.address_events_burst = 20;
        config.rate.address_events_per_minute = 1_200;
    });
    let relay = TestRelay::start();
    publish(&relay, &notes(1, 0..60));
    reload(&relay, &mirror(&other.url(), "direction = \"up\""));
    await_stored(&other, 60);
    assert!(stats(&relay).up.refused["rate-limited"] > 0);
}

#[test]
fn replaced_and_deleted_events_stay_what_they_are() {
    let (other, relay) = (TestRelay::start(), TestRelay::start());
    let author = Person::new(1);
    let [old, new] = [1, 2].map(|number| author.event(0, NOW - 10 + number, &[], "{}"));
    let gone = author.note("gone");
    let deletion = author.event(5, NOW, &[&["e", &gone.id.to_string()]], "");
    publish(&other, [&old, &gone]);
    publish(&relay, [&new, &deletion]);
    reload(&relay, &mirror(&other.url(), "direction = \"both\"\ncatch_up_seconds = 1"));
    for side in [&relay, &other] {
        await_that("both are the same", || shown(side) == ids([&new, &deletion]));
    }
    let stats = stats(&relay);
    assert_eq!((stats.strikes, stats.error), (0, None));
}

#[test]
fn new_events_reach_who_listens_on_the_other_side() {
    let other = TestRelay::start();
    let relay = TestRelay::configured(&mirror(&other.url(), ""));
    await_live(&relay);
    let mut listener = relay.connect();
    listener.request("all", &[json!({})]);
    // Old as it is, it is new there.
    let late = Person::new(1).event(1, NOW - 80_000, &[], "late");
    let ephemeral = Person::new(1).event(20_001, NOW, &[], "now");
    for event in [&late, &ephemeral] {
        publish(&other, [event]);
        assert_eq!(id_of(&next_event(&mut listener)), event.id.to_string());
    }
}
