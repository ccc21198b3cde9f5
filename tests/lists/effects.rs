//! What lists do: who and what is on them is refused, hidden or flagged; on trial nothing happens; the first counts.

use serde_json::json;

use super::common::{NOW, Person, TestRelay, ids_of};
use super::{await_entries, follow, follower, list, owner, said, stats_of};
use crate::common::await_that;
use plaza::community::Done;
use plaza::event::Event;

const PUBKEYS: &str = "banned-pubkeys";
const DOMAINS: &str = "blocked-domains";

/// A relay that holds what somebody signs.
fn source(events: &[Event]) -> TestRelay {
    let relay = TestRelay::start();
    events.iter().for_each(|event| relay.connect().publish_ok(event));
    relay
}

fn ids(relay: &TestRelay, who: &[&Person]) -> Vec<String> {
    relay.connect_as(who).ids(json!({"kinds": [1]}))
}

#[test]
fn people_are_hidden_or_flagged_as_the_settings_say() {
    let [signer, listed, other, moderator] = [100, 10, 11, 12].map(Person::new);
    let at = source(&[list(&signer, NOW, PUBKEYS, &[&["p", &listed.hex(), "", "1970-01-02 spam"]])]);
    let (own, fine) = (listed.event(1, NOW, &[], "x"), other.event(1, NOW - 1, &[], "y"));
    let both = ids_of(&[&own, &fine]);
    // What is set, who sees both, and what is counted.
    let table = [("hide", false, Done::Hidden), ("flag", true, Done::Flagged)];
    for (on, is_shown, done) in table {
        let relay = follower(&follow(&at.url(), &signer, &format!("on = \"{on}\"")));
        relay.call_ok(&owner(), "assignrole", json!([moderator.hex(), "moderator"]));
        await_entries(&relay, PUBKEYS, 1);
        let mut listener = relay.connect();
        listener.request("live", &[json!({"kinds": [1]})]);
        assert_eq!([said(&relay, &own), said(&relay, &fine)], ["taken", "taken"]);
        let seen = if is_shown { both.clone() } else { ids_of(&[&fine]) };
        assert_eq!(ids(&relay, &[]), seen, "{on}");
        assert_eq!(ids(&relay, &[&other]), seen, "{on}");
        assert_eq!(relay.connect().count(&[json!({"kinds": [1]})]), seen.len() as u64, "{on}");
        let live: Vec<String> = relay.heard_by(&mut listener).into_iter().map(|(_, id)| id).collect();
        assert_eq!(live, seen, "{on}");
        assert_eq!(ids(&relay, &[&listed]), both, "{on}, to the author");
        assert_eq!(ids(&relay, &[&moderator]), both, "{on}, to a moderator");
        let touched = stats_of(&relay, PUBKEYS);
        assert_eq!(touched.touched.get(&done), Some(&1), "{on}: {touched:?}");
        let queue = relay.call_ok(&moderator, "listmoderationqueue", json!([]));
        match on {
            "flag" => {
                assert_eq!(queue[0]["id"], own.id.to_string(), "{queue}");
                assert_eq!(queue[0]["reports"][0]["by"], signer.hex(), "{queue}");
                let text = queue[0]["reports"][0]["text"].as_str().expect("a text");
                assert!(
                    text.starts_with("this author is on the list 'Bad ones' of relay 127.0.0.1:"),
                    "{text}"
                );
                relay.call_ok(&moderator, "allowevent", json!([own.id.to_string()]));
                assert_eq!(relay.call_ok(&moderator, "listmoderationqueue", json!([])), json!([]));
            }
            _ => assert_eq!(queue, json!([]), "{queue}"),
        }
    }
}

#[test]
fn what_is_flagged_waits_also_after_a_restart() {
    let [signer, listed] = [100, 10].map(Person::new);
    let at = source(&[list(&signer, NOW, PUBKEYS, &[&["p", &listed.hex()]])]);
    let mut relay = follower(&follow(&at.url(), &signer, "on = \"flag\""));
    await_entries(&relay, PUBKEYS, 1);
    let note = listed.note("x");
    assert_eq!(said(&relay, &note), "taken");
    relay.restart();
    let queue = relay.call_ok(&owner(), "listmoderationqueue", json!([]));
    assert_eq!(queue[0]["id"], note.id.to_string(), "{queue}");
}

#[test]
fn domains_are_held_against_what_blocklists_are_held_against() {
    let [signer, author, listed] = [100, 10, 11].map(Person::new);
    let word = |name: &str| ["word".to_owned(), name.to_owned(), String::new(), "malware".to_owned()];
    let words =
        ["Bad.example", "xn--bcher-kva.example", "bücher2.example.", "*.odd.example", "com", "", "a b"]
            .map(word);
    let items: Vec<Vec<&str>> = words.iter().map(|tag| tag.iter().map(String::as_str).collect()).collect();
    let items: Vec<&[&str]> = items.iter().map(Vec::as_slice).collect();
    let at = source(&[list(&signer, NOW, DOMAINS, &items)]);
    let settings = follow(&at.url(), &signer, "lists = [\"domains\"]");
    let relay = follower(&format!(
        "[trust]\nrebuild_seconds = 0\n[blocklist]\ndomains_allowed = [\"ok.bad.example\"]\n{settings}"
    ));
    await_entries(&relay, DOMAINS, 3);
    assert_eq!(stats_of(&relay, DOMAINS).passed_over, 4);
    let profile = listed.event(0, NOW, &[], r#"{"nip05":"ann@sub.bad.example"}"#);
    let proxy: &[&str] = &["proxy", "https://bad.example/notes/1", "activitypub"];
    let table = [
        (author.note("see https://fine.example"), None),
        (author.note("see https://ok.bad.example"), None),
        (author.note("bad.example without a link"), None),
        (author.note("see https://odd.example and https://example.com"), None),
        (author.note("see https://www.BAD.example/x"), Some("it has a link to bad.example, which")),
        (author.note("see https://bücher.example/x"), Some("it has a link to xn--bcher-kva.example, which")),
        (author.note("see https://bücher2.example"), Some("it has a link to xn--bcher2-3ya.example, which")),
        (author.event(1984, NOW, &[&["p", &listed.hex(), "spam"]], "https://bad.example"), None),
        (author.event(1, NOW, &[proxy], "bridged"), Some("this was bridged from bad.example, which")),
        (profile, Some("the author's NIP-05 identifier is at bad.example, which")),
    ];
    for (event, why) in table {
        let host = at.url().replacen("ws://", "", 1);
        let wanted = why.map(|why| {
            format!(
                "blocked: {why} is on the list 'Bad ones' of relay {host}: malware (shared_lists.refused)"
            )
        });
        assert_eq!(said(&relay, &event), wanted.unwrap_or("taken".to_owned()), "{}", event.content);
    }
    let shown = stats_of(&relay, DOMAINS);
    assert_eq!(shown.last[0].domain.as_deref(), Some("bad.example"));
    assert_eq!(shown.touched.get(&Done::Refused), Some(&5));
}

#[test]
fn the_first_list_counts_and_a_trial_does_nothing() {
    let [one, two, listed] = [100, 101, 10].map(Person::new);
    let tag: &[&str] = &["p", &listed.hex(), "", "spam"];
    let at = source(&[list(&one, NOW, PUBKEYS, &[tag]), list(&two, NOW, PUBKEYS, &[tag])]);
    let both = ["flag", "refuse"].map(|on| {
        let signer = if on == "flag" { &one } else { &two };
        follow(&at.url(), signer, &format!("lists = [\"pubkeys\"]\non = \"{on}\""))
    });
    let orders = [(both.concat(), true), (format!("{}{}", both[1], both[0]), false)];
    for (settings, is_taken) in orders {
        let relay = follower(&settings);
        await_that("both are there", || super::stats(&relay).iter().all(|list| list.entries == 1));
        assert_eq!(relay.connect().publish(&listed.note("x")).0, is_taken, "{settings}");
    }
    let trial = follower(&format!("[shared_lists]\nmode = \"shadow\"\n{}", both[1]));
    await_entries(&trial, PUBKEYS, 1);
    assert_eq!(said(&trial, &listed.note("x")), "taken");
    assert_eq!(stats_of(&trial, PUBKEYS).touched.get(&Done::Shadowed), Some(&1));
    let explained = trial.call_ok(&owner(), "explain", json!([super::common::json_of(&listed.note("y"))]));
    let steps = explained["steps"].as_array().expect("steps");
    let step = steps.iter().find(|step| step["rule"] == "shared_lists.refused").expect("a step");
    assert_eq!(step["verdict"], "would refuse", "{explained}");
}
