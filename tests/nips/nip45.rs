//! NIP-45, counting (nips/45.md).

use plaza::event::Event;
use plaza::filter::Filter;
use plaza::nips::nip45::HyperLogLog;
use serde_json::{Value, json};

use crate::common::{Client, NOW, Person, TestRelay, ids_of};

#[test]
fn one_filter_is_answered_with_the_number_of_what_it_finds() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    for number in 0..7 {
        let tags: &[&[&str]] = if number % 2 == 0 { &[&["t", "even"]] } else { &[] };
        client.publish_ok(&Person::new(number % 3).event(1, NOW - u64::from(number), tags, ""));
    }
    let one = Person::new(0).hex();
    for (filter, count) in [
        (json!({}), 7),
        (json!({"kinds": [1]}), 7),
        (json!({"kinds": [7]}), 0),
        (json!({"#t": ["even"]}), 4),
        (json!({"authors": [one]}), 3),
        (json!({"authors": [one], "#t": ["even"]}), 2),
        (json!({"since": NOW - 2}), 3),
        (json!({"ids": []}), 0),
    ] {
        client.send(&json!(["COUNT", "how many", filter]));
        assert_eq!(client.receive(), json!(["COUNT", "how many", {"count": count}]), "{filter}");
    }
}

#[test]
fn an_event_that_several_filters_find_counts_once() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let author = Person::new(1);
    let events =
        [1, 1, 7, 7].map(|kind| author.event(kind, NOW, &[&["t", &kind.to_string()]], &kind.to_string()));
    let more = author.event(1, NOW - 5, &[], "");
    client.publish_ok(&events[0]);
    client.publish_ok(&events[2]);
    client.publish_ok(&more);
    for (filters, count) in [
        (vec![json!({"kinds": [1]}), json!({"kinds": [7]})], 3),
        (vec![json!({"kinds": [1]}), json!({"authors": [author.hex()]})], 3),
        (vec![json!({"#t": ["1"]}), json!({"ids": [events[0].id.to_string()]}), json!({"since": NOW})], 2),
        (vec![json!({}), json!({}), json!({})], 3),
        (vec![json!({"kinds": [9]}), json!({"kinds": []})], 0),
    ] {
        assert_eq!(client.count(&filters), count, "{filters:?}");
    }
}

#[test]
fn limits_of_answers_do_not_bind_a_count() {
    let relay = TestRelay::with(|config| {
        config.root.limits.limit_default = 2;
        config.root.limits.limit_max = 3;
    });
    let mut client = relay.connect();
    for age in 0..8 {
        client.publish_ok(&Person::new(1).event(1, NOW - age, &[], ""));
    }
    assert_eq!(client.count(&[json!({"kinds": [1]})]), 8);
    assert_eq!(client.count(&[json!({"kinds": [1], "limit": 1})]), 8);
}

#[test]
fn a_refused_count_is_answered_with_closed() {
    let relay = TestRelay::with(|config| config.root.limits.filters_per_request_max = 2);
    let mut client = relay.connect();
    for (filters, why) in [
        (
            vec![json!({"kinds": "x"})],
            "invalid: kinds must be an array of whole numbers from 0 to 65535 (nip01.message)",
        ),
        (
            vec![json!({"like": "x"})],
            "invalid: the filter's element \"like\" is not one that this relay knows (nip01.message)",
        ),
        (
            vec![json!({}), json!({}), json!({})],
            "invalid: 3 filters are more than the 2 of one request (limits.filters_per_request_max)",
        ),
        (vec![], "invalid: the message lacks a filter (nip01.message)"),
    ] {
        assert_eq!(client.closed("COUNT", &filters), why, "{filters:?}");
    }
}

#[test]
fn what_may_not_be_seen_is_not_counted() {
    let relay = TestRelay::start();
    let (author, recipient, stranger) = (Person::new(1), Person::new(2), Person::new(3));
    let mut client = relay.connect();
    client.publish_ok(&author.note("public"));
    for kind in [4, 13, 1_059] {
        client.publish_ok(&author.event(kind, NOW, &[&["p", &recipient.hex()]], ""));
    }
    client.publish_ok(&author.event(1, NOW, &[&["expiration", &(NOW + 1).to_string()]], ""));
    let filter = json!({"authors": [author.hex()]});
    for (people, count) in
        [(vec![], 2), (vec![&stranger], 2), (vec![&author], 5), (vec![&stranger, &recipient], 5)]
    {
        assert_eq!(relay.connect_as(&people).count(std::slice::from_ref(&filter)), count);
    }
    relay.clock.set(NOW + 1);
    assert_eq!(client.count(&[filter]), 1);
}

#[test]
fn a_count_opens_no_subscription_and_disturbs_none() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    client.request("count", &[json!({"kinds": [7]})]);
    assert_eq!(client.count(&[json!({"kinds": [1]})]), 0);
    let events = [Person::new(1).note(""), Person::new(1).event(7, NOW, &[], "")];
    let mut speaker = relay.connect();
    events.iter().for_each(|event| speaker.publish_ok(event));
    assert_eq!(relay.heard_by(&mut client), [("count".to_owned(), ids_of(&[&events[1]]).remove(0))]);
}

#[test]
fn a_refused_count_ends_the_subscription_of_its_name() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    for (number, refused) in (0..).zip([json!({"kinds": [4]}), json!({"kinds": "x"})]) {
        client.request("refused", &[json!({"kinds": [7]})]);
        client.closed("COUNT", &[refused]);
        relay.connect().publish_ok(&Person::new(number).event(7, NOW, &[], ""));
        assert_eq!(relay.heard_by(&mut client), []);
    }
}

#[test]
fn a_count_that_was_cut_short_says_that_it_is_approximate() {
    let relay = TestRelay::with(|config| config.root.limits.query_entries_max = 5);
    let mut client = relay.connect();
    for age in 0..9 {
        client.publish_ok(&Person::new(1).event(1, NOW - age, &[], ""));
    }
    client.send(&json!(["COUNT", "s", {"kinds": [1], "since": NOW - 3}]));
    assert_eq!(client.receive(), json!(["COUNT", "s", {"count": 4}]));
    client.send(&json!(["COUNT", "s", {"kinds": [1]}]));
    assert_eq!(client.receive(), json!(["COUNT", "s", {"count": 5, "approximate": true}]));
}

/// The registers that the NIP asks for, as naively as can be.
fn registers(offset: usize, authors: &[Person]) -> String {
    let mut registers = [0_u8; 256];
    for author in authors {
        let key = hex::decode(author.hex()).expect("hex");
        let bits: String = key[offset + 1..].iter().map(|byte| format!("{byte:08b}")).collect();
        let register = &mut registers[usize::from(key[offset])];
        *register = (*register).max(1 + bits.find('1').expect("a key is not 0") as u8);
    }
    hex::encode(registers)
}

#[test]
fn counts_of_people_come_with_registers_that_relays_share() {
    let relays = [TestRelay::start(), TestRelay::start()];
    let id = format!("{}3{}", "a".repeat(32), "b".repeat(31));
    let people = || (0..40).map(Person::new).collect::<Vec<_>>();
    let filter = json!({"kinds": [7], "#e": [id]});
    for (number, person) in people().iter().enumerate() {
        for (at, relay) in relays.iter().enumerate() {
            // Some are known to the one, some to the other, some to both, and some twice.
            if number % 3 != at {
                relay.connect().publish_ok(&person.event(7, NOW, &[&["e", &id]], "+"));
                relay.connect().publish_ok(&person.event(7, NOW - 1, &[&["e", &id]], "again"));
            }
        }
    }
    let mut told = Vec::new();
    for (at, relay) in relays.iter().enumerate() {
        let here: Vec<Person> = people()
            .into_iter()
            .enumerate()
            .filter(|(number, _)| number % 3 != at)
            .map(|(_, one)| one)
            .collect();
        let mut client = relay.connect();
        client.send(&json!(["COUNT", "c", filter]));
        let answer = client.receive();
        let expected = json!({"count": 2 * here.len(), "hll": registers(8 + 3, &here)});
        assert_eq!(answer, json!(["COUNT", "c", expected]));
        told.push(hex::decode(answer[2]["hll"].as_str().expect("registers")).expect("hex"));
        // Others have none, and neither have those that a stranger may not see.
        client.send(&json!(["COUNT", "c", {"kinds": [7], "#e": [id], "since": 0}]));
        assert_eq!(client.receive(), json!(["COUNT", "c", {"count": 2 * here.len()}]));
    }
    let merged: Vec<u8> = told[0].iter().zip(&told[1]).map(|(one, other)| *one.max(other)).collect();
    assert_eq!(hex::encode(merged), registers(8 + 3, &people()));
}

#[test]
fn registers_are_of_what_may_be_seen_and_of_whole_counts_alone() {
    let relay = TestRelay::with(|config| config.root.limits.query_entries_max = 6);
    let id = "0".repeat(64);
    let mut client = relay.connect();
    let over = Person::new(1).event(7, NOW, &[&["e", &id], &["expiration", &(NOW + 1).to_string()]], "");
    client.publish_ok(&over);
    client.publish_ok(&Person::new(2).event(7, NOW, &[&["e", &id]], ""));
    relay.clock.set(NOW + 1);
    let filter = json!({"kinds": [7], "#e": [id]});
    client.send(&json!(["COUNT", "c", filter]));
    let seen = json!({"count": 1, "hll": registers(8, &[Person::new(2)])});
    assert_eq!(client.receive(), json!(["COUNT", "c", seen]));
    for number in 3..10 {
        client.publish_ok(&Person::new(number).event(7, NOW, &[&["e", &id]], ""));
    }
    client.send(&json!(["COUNT", "c", filter]));
    let answer = client.receive();
    assert!(answer[2]["approximate"] == true && answer[2].get("hll").is_none(), "{answer}");
}

/// What is popular is counted without a look at each event, and comes to the same: a bound on times makes the relay look.
#[test]
fn what_is_popular_is_counted_the_same() {
    let relay = TestRelay::configured(
        "[admin]\nowners = [\"OWNER\"]\n".replace("OWNER", &Person::new(9_000).hex()).as_str(),
    );
    let mut client = relay.connect();
    let (id, people) = ("ab".repeat(32), 1..=700);
    let reactions: Vec<Event> =
        people.map(|number| Person::new(number).event(7, NOW, &[&["e", &id], &["t", "b"]], "+")).collect();
    let mut seen: Vec<(u64, Value)> = Vec::new();
    let mut assert_same = |client: &mut Client, kinds: &[u16], what: &str| {
        let asked = json!({"kinds": kinds, "#e": [id]});
        client.send(&json!(["COUNT", "all", asked]));
        let told = client.receive()[2].clone();
        let looked = client.count(&[json!({"kinds": kinds, "#e": [id], "since": 0})]);
        assert_eq!(told["count"], looked, "{what}: {told}");
        let filter = Filter::from_json(&asked.to_string()).expect("a filter");
        let mut registers = HyperLogLog::of(&[filter]);
        let stored = client.ids(json!({"kinds": kinds, "#e": [id], "limit": 1000}));
        let by = |id: &String| {
            reactions.iter().find(|event| event.id.to_string() == *id).map(|event| event.pubkey)
        };
        registers.iter_mut().for_each(|all| stored.iter().filter_map(by).for_each(|author| all.add(&author)));
        assert_eq!(told["hll"].as_str(), registers.map(|all| all.to_hex()).as_deref(), "{what}");
        seen.push((looked, told));
    };
    for (at, reaction) in reactions.iter().enumerate() {
        client.publish_ok(reaction);
        if [300, 520].contains(&at) {
            assert_same(&mut client, &[7], "while it grows");
        }
    }
    assert_same(&mut client, &[7], "all");
    assert_same(&mut client, &[7, 6], "two kinds");
    let gone: Vec<&Event> = reactions.iter().step_by(3).collect();
    for event in &gone {
        let author =
            (1..=700).map(Person::new).find(|person| person.key() == event.pubkey).expect("a person");
        client.publish_ok(&author.event(5, NOW, &[&["e", &event.id.to_string()]], ""));
    }
    assert_same(&mut client, &[7], "some are deleted");
    let passing =
        Person::new(2_000).event(7, NOW, &[&["e", &id], &["expiration", &(NOW + 60).to_string()]], "+");
    client.publish_ok(&passing);
    assert_eq!(client.count(&[json!({"kinds": [7], "#e": [id]})]), 467);
    relay.clock.set(NOW + 61);
    assert_eq!(client.count(&[json!({"kinds": [7], "#e": [id]})]), 466, "one is over");
    assert_eq!(seen.iter().map(|(count, _)| *count).collect::<Vec<u64>>(), [301, 521, 700, 700, 466]);
}
