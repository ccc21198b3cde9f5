//! `[followers]` (nips/followers.md): posts that only people see who stand in some relation to their author.

use plaza::event::Event;
use serde_json::json;

use crate::common::{Client, NOW, Person, TestRelay, ids_of};

/// Learning happens when a test asks for it.
const BY_HAND: &str = "[trust]\nrebuild_seconds = 86_400";

const MARK: &[&str] = &["visibility", "followers"];

fn list_of(author: &Person, created_at: u64, followed: &[&Person]) -> Event {
    let followed: Vec<String> = followed.iter().map(|person| person.hex()).collect();
    let tags: Vec<[&str; 2]> = followed.iter().map(|hex| ["p", hex]).collect();
    author.sign(3, created_at, tags.iter().collect(), "")
}

/// The author, one who follows them, one whom they follow, one who does both, and a stranger.
struct Circle {
    author: Person,
    follower: Person,
    followed: Person,
    mutual: Person,
    stranger: Person,
}

impl Circle {
    fn new() -> Circle {
        let [author, follower, followed, mutual, stranger] = [1, 2, 3, 4, 5].map(Person::new);
        Circle { author, follower, followed, mutual, stranger }
    }

    fn lists(&self) -> [Event; 3] {
        [
            list_of(&self.author, NOW - 9, &[&self.followed, &self.mutual]),
            list_of(&self.follower, NOW - 9, &[&self.author]),
            list_of(&self.mutual, NOW - 9, &[&self.stranger, &self.author]),
        ]
    }

    /// Who looks: keys that a connection has proved.
    fn readers(&self) -> [Vec<&Person>; 7] {
        [
            vec![],
            vec![&self.author],
            vec![&self.follower],
            vec![&self.followed],
            vec![&self.mutual],
            vec![&self.stranger],
            vec![&self.stranger, &self.follower],
        ]
    }
}

/// What a reader finds of these, by their tag, with REQ and with COUNT.
fn found(client: &mut Client) -> Vec<String> {
    let filter = json!({"#t": ["post"]});
    let ids = client.ids(filter.clone());
    assert_eq!(client.count(&[filter]), ids.len() as u64);
    ids
}

#[test]
fn posts_are_shown_to_those_whom_the_setting_names() {
    let circle = Circle::new();
    // The setting, and who of the readers sees what is for followers.
    let table = [
        ("either", [false, true, true, true, true, false, true]),
        ("followers", [false, true, true, false, true, false, true]),
        ("followed", [false, true, false, true, true, false, false]),
        ("mutual", [false, true, false, false, true, false, false]),
    ];
    for (shown_to, may_see) in table {
        let mut relay = TestRelay::configured(&format!(
            "[followers]\nmarked = true\nkinds = [20]\nshown_to = \"{shown_to}\"\n{BY_HAND}"
        ));
        let post = |kind: u16, created_at: u64, tags: &[&[&str]]| {
            let tags = [&[&["t", "post"][..]], tags].concat();
            circle.author.event(kind, created_at, &tags, "hello")
        };
        let [marked, by_kind, open, other_mark] = [
            post(1, NOW - 1, &[MARK]),
            post(20, NOW - 2, &[]),
            post(1, NOW - 3, &[]),
            post(1, NOW - 4, &[&["visibility", "public"]]),
        ];
        let live = [
            post(1, NOW + 1, &[MARK]),
            post(20, NOW + 2, &[]),
            post(1, NOW + 3, &[]),
            post(20_000, NOW, &[MARK]),
        ];
        let mut speaker = relay.connect();
        for event in circle.lists().iter().chain([&marked, &by_kind, &open, &other_mark]) {
            speaker.publish_ok(event);
        }
        relay.relay().learn_now();
        for round in ["before", "after a restart"] {
            for (keys, sees) in circle.readers().iter().zip(may_see) {
                let mut client = relay.connect_as(keys);
                let all = [&marked, &by_kind, &open, &other_mark];
                let expected = ids_of(if sees { &all } else { &all[2..] });
                assert_eq!(found(&mut client), expected, "{shown_to}, {round}, {} keys", keys.len());
            }
            relay.restart();
        }
        let mut listeners = circle.readers().map(|keys| {
            let mut client = relay.connect_as(&keys);
            client.request("s", &[json!({"#t": ["post"], "since": NOW})]);
            client
        });
        let mut speaker = relay.connect();
        live.iter().for_each(|event| speaker.publish_ok(event));
        for (listener, sees) in listeners.iter_mut().zip(may_see) {
            let expected = if sees { live.iter().collect() } else { vec![&live[2]] };
            let heard: Vec<String> = relay.heard_by(listener).into_iter().map(|(_, id)| id).collect();
            assert_eq!(heard, ids_of(&expected), "{shown_to}");
        }
    }
}

#[test]
fn without_the_setting_a_mark_means_nothing() {
    let circle = Circle::new();
    let post = circle.author.event(1, NOW, &[&["t", "post"], MARK], "hello");
    for settings in ["", "[followers]\nkinds = [20]", "[followers]\nmarked = true\nmode = \"shadow\""] {
        let relay = TestRelay::configured(settings);
        relay.connect().publish_ok(&post);
        assert_eq!(found(&mut relay.connect()), ids_of(&[&post]), "{settings}");
    }
}

#[test]
fn who_unfollows_or_deletes_their_list_sees_no_more() {
    let [author, reader] = [1, 2].map(Person::new);
    let relay = TestRelay::configured(&format!("[followers]\nmarked = true\n{BY_HAND}"));
    let post = author.event(1, NOW, &[&["t", "post"], MARK], "hello");
    let mut speaker = relay.connect();
    speaker.publish_ok(&post);
    let mut client = relay.connect_as(&[&reader]);
    let deletion = reader.event(5, NOW, &[&["a", &format!("3:{}:", reader.hex())]], "");
    let table = [
        (list_of(&reader, NOW - 5, &[&author]), true),
        (list_of(&reader, NOW - 4, &[]), false),
        (list_of(&author, NOW - 4, &[&reader]), true),
        (list_of(&author, NOW - 3, &[]), false),
        (list_of(&reader, NOW - 3, &[&author]), true),
        (deletion, false),
    ];
    assert_eq!(found(&mut client), [""; 0]);
    for (step, (event, sees)) in table.iter().enumerate() {
        speaker.publish_ok(event);
        relay.relay().learn_now();
        let expected = if *sees { ids_of(&[&post]) } else { vec![] };
        assert_eq!(found(&mut client), expected, "step {step}");
    }
}

#[test]
fn asking_for_kinds_of_followers_alone_needs_a_login() {
    let relay = TestRelay::configured("[followers]\nkinds = [20, 21]\nmarked = true");
    let login =
        "auth-required: events of these kinds are shown only to followers; log in first (followers.login)";
    let mut client = relay.connect();
    for filter in [json!({"kinds": [20]}), json!({"kinds": [20, 21], "limit": 1})] {
        assert_eq!(client.closed("REQ", std::slice::from_ref(&filter)), login);
        assert_eq!(client.closed("COUNT", &[filter]), login);
    }
    for filters in
        [&[json!({"kinds": [1, 20]})][..], &[json!({})], &[json!({"kinds": [20]}), json!({"kinds": [1]})]]
    {
        assert_eq!(client.count(filters), 0);
    }
    let mut client = relay.connect_as(&[&Person::new(1)]);
    assert_eq!(client.count(&[json!({"kinds": [20]})]), 0);
}

#[test]
fn the_bound_of_follows_cuts_what_is_seen() {
    let [author, one, two] = [1, 2, 3].map(Person::new);
    for (follows_max, both) in [(2, true), (1, false)] {
        let mut relay = TestRelay::configured(&format!(
            "[followers]\nmarked = true\n{BY_HAND}\nfollows_max = {follows_max}"
        ));
        let post = author.event(1, NOW, &[&["t", "post"], MARK], "hello");
        let mut speaker = relay.connect();
        [&post, &list_of(&one, NOW, &[&author]), &list_of(&two, NOW, &[&author])]
            .iter()
            .for_each(|event| speaker.publish_ok(event));
        relay.relay().learn_now();
        for _ in 0..2 {
            let sees = [&one, &two].map(|person| found(&mut relay.connect_as(&[person])).len());
            assert_eq!(sees, [1, usize::from(both)], "{follows_max} follows are kept");
            relay.restart();
        }
    }
}
