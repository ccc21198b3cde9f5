//! `[trust]` (nips/trust.md): trust by follow lists, as gate and as exemption, and names that profiles claim.

use std::time::{Duration, Instant};

use plaza::event::Event;
use serde_json::json;

use crate::common::{NOW, Person, TestRelay};

/// Learning happens when a test asks for it.
const BY_HAND: &str = "rebuild_seconds = 86_400";

/// How long a test waits for what comes by itself.
const PATIENCE: Duration = Duration::from_secs(20);

fn people<const N: usize>() -> [Person; N] {
    std::array::from_fn(|number| Person::new(number as u32 + 1))
}

fn list_of(author: &Person, created_at: u64, followed: &[&Person]) -> Event {
    let followed: Vec<String> = followed.iter().map(|person| person.hex()).collect();
    let tags: Vec<[&str; 2]> = followed.iter().map(|hex| ["p", hex]).collect();
    author.sign(3, created_at, tags.iter().collect(), "")
}

fn profile_of(author: &Person, created_at: u64, nip05: &str) -> Event {
    author.event(0, created_at, &[], &json!({"name": "x", "nip05": nip05}).to_string())
}

/// Publishes and learns.
fn teach(relay: &TestRelay, event: &Event) {
    relay.connect().publish_ok(event);
    relay.relay().learn_now();
}

/// Who of these may write a note now.
fn writers(relay: &TestRelay, people: &[&Person], content: &str) -> Vec<bool> {
    let mut client = relay.connect();
    people.iter().map(|person| client.publish(&person.note(content)).0).collect()
}

#[test]
fn writing_is_open_up_to_the_last_hop() {
    let [root, one, two, three, member, stranger] = people();
    let reach = [
        "those whom its operator named",
        "those whom its operator named, and whom they follow",
        "those whom its operator named, and others up to 2 follows away from them",
    ];
    for (hops_max, reach) in reach.into_iter().enumerate() {
        let mut relay = TestRelay::configured(&format!(
            "[trust]\nwrite = true\nhops_max = {hops_max}\nroots = [\"{}\"]\n{BY_HAND}\n\
             [authors]\nmembers = [\"{}\"]",
            root.hex(),
            member.hex()
        ));
        // Each follows the next one; those out of reach cannot even write their list.
        for (distance, (who, whom)) in [(&root, &one), (&one, &two), (&two, &three)].into_iter().enumerate() {
            let (accepted, _) = relay.connect().publish(&list_of(who, NOW, &[whom]));
            assert_eq!(accepted, distance <= hops_max, "hop {distance} of {hops_max}");
            relay.relay().learn_now();
        }
        for round in ["before", "after a restart"] {
            let everybody = [&root, &one, &two, &three, &member, &stranger];
            let expected = [true, hops_max >= 1, hops_max >= 2, false, true, false];
            assert_eq!(writers(&relay, &everybody, round), expected, "{hops_max} hops, {round}");
            relay.restart();
        }
        let mut client = relay.connect();
        let refusal =
            format!("restricted: only people whom this community trusts write here: {reach} (trust.write)");
        assert_eq!(client.publish_refused(&stranger.note("let me in")), refusal);
        // The author of a wrap is a throwaway key: who it is for decides.
        client.publish_ok(&stranger.event(1_059, NOW, &[&["p", &root.hex()]], "sealed"));
        client.publish_ok(&stranger.event(1_059, NOW, &[&["p", &member.hex()]], "sealed"));
        assert_eq!(client.publish_refused(&stranger.event(1_059, NOW, &[&["p", &three.hex()]], "")), refusal);
        client.publish_ok(&stranger.event(62, NOW, &[&["relay", "ALL_RELAYS"]], ""));
    }
}

#[test]
fn trust_is_taken_back_with_the_list_that_gave_it() {
    let [root, one, two] = people();
    let relay =
        TestRelay::configured(&format!("[trust]\nwrite = true\nroots = [\"{}\"]\n{BY_HAND}", root.hex()));
    let first = list_of(&root, NOW - 3, &[&one]);
    let deletion = root.event(5, NOW, &[&["a", &format!("3:{}:", root.hex())]], "");
    // What is published, and whether one and two may write then.
    let table = [
        (first.clone(), [true, false]),
        (list_of(&one, NOW - 3, &[&two]), [true, true]),
        (list_of(&one, NOW - 2, &[]), [true, false]),
        (list_of(&root, NOW - 2, &[&two]), [false, true]),
        (list_of(&root, NOW - 1, &[&one, &two]), [true, true]),
        (deletion, [false, false]),
    ];
    for (step, (event, expected)) in table.into_iter().enumerate() {
        let before = writers(&relay, &[&one, &two], &format!("before step {step}"));
        relay.connect().publish_ok(&event);
        // Nothing is learned before it is time.
        assert_eq!(writers(&relay, &[&one, &two], &format!("step {step}, not learned")), before);
        relay.relay().learn_now();
        assert_eq!(writers(&relay, &[&one, &two], &format!("step {step}")), expected, "step {step}");
    }
    let late = list_of(&root, NOW + 1, &[&one]);
    teach(&relay, &late);
    assert_eq!(writers(&relay, &[&one], "back"), [true]);
    teach(&relay, &root.event(62, NOW + 1, &[&["relay", "ALL_RELAYS"]], ""));
    assert_eq!(writers(&relay, &[&root, &one], "vanished"), [false, false]);
}

#[test]
fn an_expired_list_gives_no_trust_once_it_is_swept() {
    let [root, one] = people();
    let relay =
        TestRelay::configured(&format!("[trust]\nwrite = true\nroots = [\"{}\"]\n{BY_HAND}", root.hex()));
    let until = (NOW + 10).to_string();
    teach(&relay, &root.event(3, NOW, &[&["p", &one.hex()], &["expiration", &until]], ""));
    assert_eq!(writers(&relay, &[&one], "before"), [true]);
    relay.clock.set(NOW + 11);
    relay.relay().sweep_now();
    relay.relay().learn_now();
    assert_eq!(writers(&relay, &[&one], "after"), [false]);
}

#[test]
fn lists_of_people_count_from_when_they_come_within_reach() {
    let [root, member, friend] = people();
    let relay = TestRelay::configured(&format!(
        "[trust]\nwrite = true\nroots = [\"{}\"]\n{BY_HAND}\n[authors]\nmembers = [\"{}\"]",
        root.hex(),
        member.hex()
    ));
    teach(&relay, &list_of(&member, NOW, &[&friend]));
    assert_eq!(writers(&relay, &[&friend], "a member's friend"), [false]);
    teach(&relay, &list_of(&root, NOW, &[&member]));
    assert_eq!(writers(&relay, &[&friend], "a trusted one's friend"), [true]);
}

#[test]
fn what_does_not_fit_into_the_bounds_is_not_known() {
    let [root, one, two, three] = people();
    // Bounds, then whether one, two and three are trusted: the root follows the first two, the first one the third.
    let table = [
        ("keys_max = 4", [true, true, true]),
        ("keys_max = 3", [true, true, false]),
        ("keys_max = 2", [true, false, false]),
        ("follows_max = 3", [true, true, true]),
        ("follows_max = 2", [true, true, false]),
        ("follows_max = 1", [true, false, false]),
    ];
    for (bound, expected) in table {
        let mut relay = TestRelay::configured(&format!(
            "[trust]\nwrite = true\nroots = [\"{}\"]\n{bound}\n{BY_HAND}",
            root.hex()
        ));
        // The farther list arrives first where it can, and yet the nearer one counts first.
        teach(&relay, &list_of(&root, NOW - 1, &[&one]));
        teach(&relay, &list_of(&one, NOW, &[&three]));
        teach(&relay, &list_of(&root, NOW, &[&one, &two]));
        relay.restart();
        assert_eq!(writers(&relay, &[&one, &two, &three], "hello"), expected, "{bound}");
    }
}

#[test]
fn trust_is_learned_by_itself_and_in_each_community_apart() {
    let [root, one] = people();
    let relay = TestRelay::configured(&format!(
        "[[community]]\npath = \"/town\"\n[community.trust]\nwrite = true\nrebuild_seconds = 0\nroots = [\"{0}\"]\n\
         [[community]]\npath = \"/other\"\n[community.trust]\nwrite = true\nrebuild_seconds = 0\nroots = [\"{0}\"]",
        root.hex()
    ));
    relay.connect_at("/town").publish_ok(&list_of(&root, NOW, &[&one]));
    let start = Instant::now();
    let mut client = relay.connect_at("/town");
    for attempt in 0.. {
        if client.publish(&one.note(&format!("attempt {attempt}"))).0 {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "the list is learned in the background");
        std::thread::sleep(Duration::from_millis(20));
    }
    relay.relay().learn_now();
    assert!(!relay.connect_at("/other").publish(&one.note("hello")).0);
    relay.connect().publish_ok(&one.note("the root community asks for nothing"));
}

#[test]
fn the_trusted_and_members_are_exempt_from_rate_limits() {
    let [root, friend, member, stranger] = people();
    for rate_exempt in [false, true] {
        let relay = TestRelay::with(|config| {
            config.rate.enabled = true;
            (config.rate.author_events_per_minute, config.rate.author_events_burst) = (1, 3);
            config.root.trust.roots = [root.key()].into_iter().collect();
            config.root.trust.rate_exempt = rate_exempt;
            config.root.authors.members = [member.key()].into_iter().collect();
        });
        teach(&relay, &list_of(&root, NOW, &[&friend]));
        let mut client = relay.connect();
        for person in [&friend, &member, &stranger] {
            let accepted: Vec<bool> =
                (0..4).map(|count| client.publish(&person.note(&count.to_string())).0).collect();
            let is_exempt = rate_exempt && person.key() != stranger.key();
            assert_eq!(accepted, [true, true, true, is_exempt]);
        }
        let why = client.publish_refused(&stranger.note("again"));
        assert_eq!(why, "rate-limited: too much at once; slow down and try again (rate.author_events)");
    }
}

#[test]
fn a_profile_claims_a_name() {
    let [author, member, recipient] = people();
    let first = "restricted: publish a profile here first that has a name";
    // Settings, claims one after the other, and whether each profile and a note behind it are taken.
    let any = "nip05_required = true";
    let listed = "nip05_domains = [\"example.org\", \"example.net\"]";
    let table = [
        ("", "", true),
        (any, "", false),
        (any, "alice@example.com", true),
        (any, "example.com", true),
        (any, "alice", false),
        (listed, "example.net", true),
        (listed, "alice@example.org", true),
        (listed, "alice@Example.NET", true),
        (listed, "alice@example.com", false),
        (listed, "alice@sub.example.org", false),
    ];
    for (settings, claim, is_taken) in table {
        let relay = TestRelay::configured(&format!(
            "[trust]\n{settings}\n{BY_HAND}\n[authors]\nmembers = [\"{}\"]",
            member.hex()
        ));
        let mut client = relay.connect();
        let (accepted, why) = client.publish(&author.note("before"));
        assert_eq!(accepted, settings.is_empty(), "{settings}");
        if !accepted {
            let at =
                if settings == any { " such as alice@example.org" } else { " at example.org or example.net" };
            assert_eq!(why, format!("{first}{at} as its nip05 (trust.nip05)"));
        }
        let (accepted, why) = client.publish(&profile_of(&author, NOW, claim));
        assert_eq!(accepted, is_taken, "{settings}: {claim}: {why}");
        assert!(accepted || why.starts_with("restricted: a profile here has a name"), "{why}");
        // At once, and after it was learned.
        assert_eq!(client.publish(&author.note("at once")).0, is_taken, "{settings}: {claim}");
        relay.relay().learn_now();
        assert_eq!(client.publish(&author.note("learned")).0, is_taken, "{settings}: {claim}");
        let wrap_for = |person: &Person| recipient.event(1_059, NOW, &[&["p", &person.hex()]], claim);
        assert_eq!(client.publish(&wrap_for(&author)).0, is_taken, "a wrap for who has a name");
        assert_eq!(client.publish(&wrap_for(&recipient)).0, settings.is_empty(), "a wrap for who has none");
        client.publish_ok(&wrap_for(&member));
        client.publish_ok(&member.note("members are free of it"));
        client.publish_ok(&profile_of(&member, NOW, ""));
        client.publish_ok(&recipient.event(62, NOW, &[&["relay", "ALL_RELAYS"]], ""));
    }
}

#[test]
fn a_name_can_be_given_up() {
    let [author] = people();
    let mut relay = TestRelay::configured(&format!("[trust]\nnip05_domains = [\"example.org\"]\n{BY_HAND}"));
    teach(&relay, &profile_of(&author, NOW - 1, "alice@example.org"));
    relay.restart();
    assert_eq!(writers(&relay, &[&author], "with a name"), [true]);
    let refused = profile_of(&author, NOW, "alice@example.com");
    assert!(relay.connect().publish_refused(&refused).ends_with("(trust.nip05)"));
    teach(&relay, &author.event(5, NOW, &[&["a", &format!("0:{}:", author.hex())]], ""));
    assert_eq!(writers(&relay, &[&author], "without"), [false]);
}

#[test]
fn in_shadow_mode_trust_refuses_nothing() {
    let [root, stranger] = people();
    let relay = TestRelay::configured(&format!(
        "[trust]\nmode = \"shadow\"\nwrite = true\nnip05_required = true\nroots = [\"{}\"]",
        root.hex()
    ));
    relay.connect().publish_ok(&stranger.note("hello"));
    let counts = relay.relay().community().tally.counts();
    for rule in ["trust.write", "trust.nip05"] {
        let count = counts.get(rule).expect("the rule spoke");
        assert_eq!((count.refused, count.shadowed), (0, 1), "{rule}");
    }
}

#[test]
fn trusted_people_are_read_first_and_pages_stay_whole() {
    let [root, friend, stranger, member] = people();
    let settings = |read_first: bool| {
        format!(
            "[trust]\nread_first = {read_first}\nhops_max = 1\nroots = [\"{}\"]\n{BY_HAND}\n[authors]\nmembers = [\"{}\"]",
            root.hex(),
            member.hex()
        )
    };
    let writers = [&stranger, &friend, &stranger, &member, &root, &stranger];
    let notes: Vec<Event> = (0..6).map(|age| writers[age].event(1, NOW - age as u64, &[], "note")).collect();
    // By age in seconds: all newest first, or those of trusted people and members before strangers'.
    let table =
        [(false, vec![0, 1, 2, 3, 4, 5], vec![0, 1, 2, 3]), (true, vec![1, 3, 4, 0, 2, 5], vec![1, 3, 0, 2])];
    for (read_first, all, newest_four) in table {
        let relay = TestRelay::configured(&settings(read_first));
        let mut client = relay.connect();
        notes.iter().for_each(|note| client.publish_ok(note));
        teach(&relay, &list_of(&root, NOW, &[&friend]));
        let ids =
            |ages: &[usize]| -> Vec<String> { ages.iter().map(|age| notes[*age].id.to_string()).collect() };
        assert_eq!(client.ids(json!({"kinds": [1]})), ids(&all), "{read_first}");
        // A limit takes the newest, whoever wrote them; the rest is the next page.
        assert_eq!(client.request("page", &[json!({"kinds": [1], "limit": 4})]).0, ids(&newest_four));
        let rest: Vec<usize> = all.iter().copied().filter(|age| *age >= 4).collect();
        assert_eq!(client.ids(json!({"kinds": [1], "until": NOW - 4})), ids(&rest));
    }
}
