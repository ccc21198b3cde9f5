//! A store that grows until its index fills the memory that it has: new events are refused, in clear words and to the
//! operator too, what is stored is served, and what is removed makes room. And keys that are chosen to collide.

use std::time::{Duration, Instant};

use plaza::event::{Event, Tags};
use serde_json::json;

use crate::common::{Client, NOW, Person};
use crate::relay::{MIB, Running, is_served, settings};

/// Tags of one event, each with a value of its own.
const TAGS: usize = 2_000;

/// An event with a huge list of tags that no other has.
fn huge(number: usize) -> Event {
    let tag = |tag: usize| ["t".to_owned(), format!("{:x}", number * TAGS + tag)];
    let pairs: Vec<[String; 2]> = (0..TAGS).map(tag).collect();
    let tags: Tags = pairs.iter().map(|pair| [pair[0].as_str(), pair[1].as_str()]).collect();
    Person::new(number as u32 % 50).sign(1, NOW - number as u64, tags, "")
}

/// Publishes until the relay takes no more; what it took, and why it did not take the next one.
fn fill(client: &mut Client) -> (Vec<Event>, String) {
    let mut taken = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(600);
    while Instant::now() < deadline {
        let event = huge(taken.len());
        let (is_taken, why) = client.publish(&event);
        if !is_taken {
            return (taken, why);
        }
        taken.push(event);
    }
    panic!("{} events were taken and the memory is not full", taken.len());
}

fn fills_up(bytes_max: u64) {
    let mut running = Running::start(&settings(bytes_max, 1));
    let mut client = running.client();
    let (taken, why) = fill(&mut client);
    assert!(
        why.starts_with("error: the relay's memory is full") && why.contains("server.memory_full"),
        "{why}"
    );
    // Where there is time before, the operator is warned; where it is full, always told.
    running.program.says("server.memory_bytes_max leaves it ");
    // Reading goes on, and so does what is not stored.
    for event in taken.iter().step_by(taken.len() / 20 + 1) {
        assert_eq!(client.ids(json!({"ids": [event.id.to_string()]})), [event.id.to_string()]);
        let value = event.tags.iter().next().and_then(|tag| tag.value().map(str::to_owned)).expect("a value");
        assert_eq!(client.ids(json!({"#t": [value]})), [event.id.to_string()]);
    }
    assert_eq!(client.count(&[json!({"kinds": [1]})]), taken.len() as u64);
    is_served(&mut running.neighbour());
    // Who asks for removal is heard, and it makes room.
    let of_one: Vec<&Event> = taken.iter().filter(|event| event.pubkey == Person::new(0).key()).collect();
    let ids: Vec<String> = of_one.iter().map(|event| event.id.to_string()).collect();
    let named: Vec<[&str; 2]> = ids.iter().map(|id| ["e", id.as_str()]).collect();
    client.publish_ok(&Person::new(0).sign(5, NOW, named.iter().collect(), ""));
    assert_eq!(client.count(&[json!({"kinds": [1]})]), (taken.len() - of_one.len()) as u64);
    let peak = running.peak_bytes();
    println!("{} events of {TAGS} tags, {} MiB of {} at the peak", taken.len(), peak / MIB, bytes_max / MIB);
    assert!(peak <= bytes_max, "{peak}");
    running.program.stop();
}

#[test]
fn a_full_index_refuses_and_goes_on_serving() {
    fills_up(256 * MIB);
}

#[test]
#[ignore = "a minute: an index as large as 512 MiB leave room for"]
fn a_full_index_refuses_and_goes_on_serving_at_512_mib() {
    fills_up(512 * MIB);
}

/// Keys by number.
type Family = fn(u64) -> [u64; 4];

#[test]
fn keys_that_are_chosen_to_collide_cost_as_much_as_any() {
    let running = Running::start(&settings(256 * MIB, 1));
    // Keys that differ in a few bits alone, where weak hashes look or do not look, and some that look random.
    let families: [(&str, Family); 5] = [
        ("random", |n| [1, 2, 3, 4].map(|k| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(k * 11))),
        ("lowest bits", |n| [0, 0, 0, n]),
        ("highest bits", |n| [n << 48, 0, 0, 0]),
        ("whole words that cancel out", |n| [n, n, n, n]),
        ("multiples of a power of two", |n| [0, n << 32, 0, n << 32]),
    ];
    let mut took = Vec::new();
    for (name, family) in families {
        let mut client = running.client();
        let key = |n: u64| family(n).map(|word| format!("{word:016x}")).concat();
        let began = Instant::now();
        for round in 0..20 {
            let list = |from: u64| (from..from + 1_000).map(key).collect::<Vec<String>>();
            let number = round * 1_000;
            client.request(&format!("a{round}"), &[json!({"authors": list(number), "limit": 1})]);
            client.request(&format!("i{round}"), &[json!({"ids": list(number), "limit": 1})]);
            client.request(&format!("p{round}"), &[json!({"#p": list(number), "limit": 1})]);
        }
        took.push(began.elapsed());
        println!("{name}: {:?}", began.elapsed());
    }
    // A table in which all meet would take a thousand times as long.
    let usual = took[0].max(Duration::from_millis(100));
    assert!(took.iter().all(|one| *one < 10 * usual), "{took:?}");
}
