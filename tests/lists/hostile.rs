//! Lists that lie: whatever their relay shows, the last good copy counts, and what is wrong is told.

use std::sync::{Arc, Mutex};

use plaza::event::Event;
use serde_json::{Value, json};

use super::common::fake::{Fake, Socket, hear, say};
use super::common::{NOW, Person, json_of};
use super::{await_entries, follow, follower, list, said, stats_of};
use crate::common::await_that;

const PUBKEYS: &str = "banned-pubkeys";

/// A relay that shows a connection what it is told to, one after the other.
struct Liar {
    fake: Fake,
    shown: Arc<Mutex<Vec<Value>>>,
}

impl Liar {
    fn start() -> Liar {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let source = Arc::clone(&shown);
        let serve = move |socket: &mut Socket| {
            let Some(asked) = hear(socket) else { return };
            say(socket, &json!(["EOSE", asked[1]]));
            let mut rounds = 0_u64;
            loop {
                let next = {
                    let mut shown: std::sync::MutexGuard<'_, Vec<Value>> = source.lock().expect("no panic");
                    if shown.is_empty() { None } else { Some(shown.remove(0)) }
                };
                match next {
                    Some(event) if !say(socket, &json!(["EVENT", asked[1], event])) => return,
                    Some(_) => {}
                    None => std::thread::sleep(std::time::Duration::from_millis(20)),
                }
                rounds += 1;
                // Who has gone is found out now and then.
                if rounds.is_multiple_of(50) && !say(socket, &json!(["NOTICE", "nothing new"])) {
                    return;
                }
            }
        };
        Liar { fake: Fake::start(serve), shown }
    }

    fn show(&self, event: Value) {
        self.shown.lock().expect("no panic").push(event);
    }
}

#[test]
fn what_is_wrong_with_a_list_is_told_and_the_good_copy_stays() {
    let [signer, other, listed, late] = [100, 101, 10, 11].map(Person::new);
    let liar = Liar::start();
    let relay = follower(&follow(&liar.fake.url(), &signer, "entries_max = 3"));
    let tag: &[&str] = &["p", &listed.hex(), "", "spam"];
    let good = list(&signer, NOW, PUBKEYS, &[tag]);
    liar.show(json_of(&good));
    await_entries(&relay, PUBKEYS, 1);
    let mut forged = json_of(&list(&signer, NOW + 9, PUBKEYS, &[]));
    forged["tags"] = json!([["d", PUBKEYS]]);
    let mut signed_by_other = json_of(&list(&other, NOW + 9, PUBKEYS, &[]));
    signed_by_other["pubkey"] = json!(signer.hex());
    let many: Vec<[String; 2]> = (0..4).map(|number| ["p".to_owned(), Person::new(number).hex()]).collect();
    let many: Vec<Vec<&str>> = many.iter().map(|tag| tag.iter().map(String::as_str).collect()).collect();
    let many: Vec<&[&str]> = many.iter().map(Vec::as_slice).collect();
    // What is shown, and what is told of it.
    let table: [(Value, &str); 5] = [
        (json_of(&list(&signer, NOW - 1, PUBKEYS, &[])), "an older version"),
        (json_of(&list(&signer, NOW + 9, PUBKEYS, &many)), "more than 3 entries is refused"),
        (json_of(&list(&signer, NOW + 100_000_000, PUBKEYS, &[])), "dated in the future"),
        (forged, "forged"),
        (signed_by_other, "forged"),
    ];
    for (event, told) in table {
        liar.show(event);
        await_that(told, || stats_of(&relay, PUBKEYS).trouble.is_some_and(|why| why.contains(told)));
        assert!(said(&relay, &listed.note(told)).contains("on the list 'Bad ones'"), "{told}");
        liar.show(json_of(&good));
        await_that("all is well again", || stats_of(&relay, PUBKEYS).trouble.is_none());
    }
    // What is no key is passed over, texts are held to one line, and of two entries the last one counts.
    let key = late.hex();
    let items: [&[&str]; 3] =
        [&["p", "no key"], &["p", &key, "", "first"], &["p", &key, "", "2026-02-31 one\n\u{202e}two"]];
    liar.show(json_of(&list(&signer, NOW + 10, PUBKEYS, &items)));
    await_that("one was passed over", || stats_of(&relay, PUBKEYS).passed_over == 1);
    let refused = said(&relay, &late.note("x"));
    assert!(refused.ends_with(": 2026-02-31 one  two (shared_lists.refused)"), "{refused:?}");
    assert_eq!(said(&relay, &listed.note("free again")), "taken");
}

#[test]
fn lists_that_nobody_asked_for_are_none_and_who_sends_them_is_left() {
    let [signer, other, listed] = [100, 101, 10].map(Person::new);
    let liar = Liar::start();
    let relay = follower(&follow(&liar.fake.url(), &signer, "lists = [\"pubkeys\"]"));
    let tag: &[&str] = &["p", &listed.hex()];
    let events: [Event; 4] = [
        list(&other, NOW, PUBKEYS, &[tag]),
        list(&signer, NOW, "blocked-domains", &[tag]),
        list(&signer, NOW, "friends", &[tag]),
        signer.event(10_000, NOW, &[tag], ""),
    ];
    for _ in 0..6 {
        events.iter().for_each(|event| liar.show(json_of(event)));
    }
    await_that("it is left", || {
        stats_of(&relay, PUBKEYS).trouble.is_some_and(|why| why.contains("misbehaves"))
    });
    assert_eq!(stats_of(&relay, PUBKEYS).made_at, None);
    assert_eq!(said(&relay, &listed.note("x")), "taken");
}
