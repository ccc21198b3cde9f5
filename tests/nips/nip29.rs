//! NIP-29, groups that the relay manages (nips/29.md). One test a clause.

use plaza::event::Event;
use serde_json::{Value, json};

use crate::common::http::http;
use crate::common::{Client, NOW, Person, TestRelay, id_of, ids_of};

/// A relay with groups, and people: an admin, a member, a moderator of the group, and a stranger.
struct House {
    relay: TestRelay,
    admin: Person,
    member: Person,
    moderator: Person,
    stranger: Person,
}

impl House {
    fn new() -> House {
        House::with("")
    }

    /// The same with more settings of groups.
    fn with(settings: &str) -> House {
        let [admin, member, moderator, stranger] = [1, 2, 3, 4].map(Person::new);
        let relay = TestRelay::configured(&format!(
            "[authors]\nmembers = [\"{}\"]\n[nip29]\nenabled = true\n{settings}",
            admin.hex()
        ));
        House { relay, admin, member, moderator, stranger }
    }

    /// The same with a group, in which all but the stranger are.
    fn with_group(settings: &str, metadata: &[&[&str]]) -> House {
        let house = House::with(settings);
        let mut client = house.relay.connect();
        client.publish_ok(&managing(&house.admin, 9_007, "square", &[]));
        client.publish_ok(&managing(&house.admin, 9_002, "square", metadata));
        let (member, moderator) = (house.member.hex(), house.moderator.hex());
        let people: &[&[&str]] = &[&["p", &member], &["p", &moderator, "moderator"]];
        client.publish_ok(&managing(&house.admin, 9_000, "square", people));
        house
    }

    fn own_key(&self) -> String {
        let document = http(&self.relay, "GET", "/", &[("Accept", "application/nostr+json")], "").json();
        document["self"].as_str().expect("a key").to_owned()
    }

    /// What the relay says of a group by an event of this kind, as who asks sees it.
    fn told_to(&self, people: &[&Person], kind: u16, group: &str) -> Option<Value> {
        let filter = json!({"kinds": [kind], "#d": [group], "authors": [self.own_key()]});
        let mut found = events(&mut self.relay.connect_as(people), &filter);
        assert!(found.len() <= 1, "one version of each is kept");
        found.pop()
    }

    fn told(&self, kind: u16, group: &str) -> Option<Value> {
        self.told_to(&[], kind, group)
    }

    /// The tags of what it says, without the group's id.
    fn tags(&self, kind: u16, group: &str) -> Vec<Value> {
        let told = self.told(kind, group).unwrap_or_else(|| panic!("kind {kind} of {group}"));
        let tags = told["tags"].as_array().expect("tags").clone();
        tags.into_iter().filter(|tag| tag[0] != "d").collect()
    }

    fn members(&self, group: &str) -> Vec<String> {
        let tags = self.tags(39_002, group).into_iter();
        let mut keys: Vec<String> = tags.map(|tag| tag[1].as_str().expect("a key").to_owned()).collect();
        keys.sort_unstable();
        keys
    }
}

/// Their keys in order.
pub(crate) fn sorted(people: &[&Person]) -> Vec<String> {
    let mut keys: Vec<String> = people.iter().map(|person| person.hex()).collect();
    keys.sort_unstable();
    keys
}

/// An event that manages a group.
fn managing(person: &Person, kind: u16, group: &str, tags: &[&[&str]]) -> Event {
    let h: &[&str] = &["h", group];
    let tags: Vec<&[&str]> = std::iter::once(h).chain(tags.iter().copied()).collect();
    person.event(kind, NOW, &tags, "")
}

/// A kind, its tags, and what three people are told who try it; empty where it is done.
type Attempt<'a> = (u16, &'a [&'a [&'a str]], [&'a str; 3]);

/// What somebody writes to a group.
fn chat(person: &Person, group: &str, text: &str) -> Event {
    person.event(9, NOW, &[&["h", group]], text)
}

/// The answers to events that were sent one after another, in the events' order: those may overtake one another.
fn answers(client: &mut Client, events: &[&Event]) -> Vec<(bool, String)> {
    let mut found = std::collections::HashMap::new();
    for _ in events {
        let answer = client.receive();
        let words = answer[3].as_str().expect("a message").to_owned();
        found.insert(answer[1].as_str().expect("an id").to_owned(), (answer[2] == json!(true), words));
    }
    events.iter().map(|event| found.remove(&event.id.to_string()).expect("an answer")).collect()
}

/// All that a filter finds.
pub(crate) fn events(client: &mut Client, filter: &Value) -> Vec<Value> {
    client.subscribe("events", std::slice::from_ref(filter));
    let mut found = Vec::new();
    loop {
        let message = client.receive();
        match message[0].as_str() {
            Some("EVENT") => found.push(message[2].clone()),
            Some("EOSE") => break,
            _ => panic!("an event or EOSE was awaited, not {message}"),
        }
    }
    client.send(&json!(["CLOSE", "events"]));
    found
}

#[test]
fn the_relay_signs_what_it_says_of_groups_with_the_key_of_its_information_document() {
    let house = House::new();
    let created = managing(&house.admin, 9_007, "square", &[]);
    house.relay.connect().publish_ok(&created);
    let own = house.own_key();
    for kind in [39_000, 39_001, 39_002, 39_003] {
        let told = house.told(kind, "square").unwrap_or_else(|| panic!("kind {kind}"));
        assert_eq!(told["pubkey"], json!(own));
        let event = Event::from_json(told.to_string().as_bytes()).expect("an event");
        assert!(plaza::event::Verified::check(event, &mut Vec::new()).is_ok(), "kind {kind}");
    }
    // Who made it is its admin; the roles that give power are told.
    assert_eq!(house.tags(39_001, "square"), [json!(["p", house.admin.hex(), "admin"])]);
    let roles = house.tags(39_003, "square");
    assert_eq!(roles.iter().map(|role| &role[1]).collect::<Vec<_>>(), ["admin", "moderator"]);
    assert_eq!(house.members("square"), sorted(&[&house.admin]));
}

#[test]
fn what_groups_are_is_taken_from_nobody_else() {
    let house = House::with_group("", &[]);
    for kind in 39_000..=39_005 {
        let event = house.admin.event(kind, NOW, &[&["d", "square"], &["name", "Mine"]], "");
        assert_eq!(
            house.relay.connect().publish_refused(&event),
            "blocked: what a group is, the relay says itself, signed by its own key (nip29.relay_key)"
        );
    }
    // A copy of what it said is one.
    let told = house.told(39_000, "square").expect("metadata");
    let copy = Event::from_json(told.to_string().as_bytes()).expect("an event");
    assert_eq!(house.relay.connect().publish(&copy), (true, "duplicate: already have this event".to_owned()));
}

#[test]
fn information_tells_of_groups_and_subgroups_where_there_are_any() {
    let house = House::new();
    let document =
        |relay: &TestRelay| http(relay, "GET", "/", &[("Accept", "application/nostr+json")], "").json();
    let with = document(&house.relay);
    assert_eq!(with["nip29"], json!({"subgroups": true}));
    assert!(with["supported_nips"].as_array().expect("NIPs").contains(&json!(29)));
    let without = document(&TestRelay::start());
    assert!(without["nip29"].is_null() && without["self"].is_null());
    assert!(!without["supported_nips"].as_array().expect("NIPs").contains(&json!(29)));
}

#[test]
fn an_event_for_a_group_names_one_that_there_is() {
    let house = House::with_group("", &[]);
    let mut client = house.relay.connect();
    client.publish_ok(&chat(&house.stranger, "square", "hello"));
    let table: [(&[&[&str]], &str); 3] = [
        (&[&["h", "circle"]], "invalid: there is no group \"circle\" here (nip29.group)"),
        (
            &[&["h", "square"], &["h", "circle"]],
            "invalid: an event is for one group: its h tags name several (nip29.form)",
        ),
        (&[&["h", ""]], "invalid: there is no group \"\" here (nip29.group)"),
    ];
    for (tags, why) in table {
        assert_eq!(client.publish_refused(&house.member.event(9, NOW, tags, "hello")), why);
    }
    // What is for no group is nobody's business.
    client.publish_ok(&house.stranger.note("hello"));
}

#[test]
fn references_to_earlier_events_are_to_ones_that_are_here_and_in_the_group() {
    let house = House::with_group("", &[]);
    let mut client = house.relay.connect();
    client.publish_ok(&managing(&house.admin, 9_007, "other", &[]));
    let first = chat(&house.member, "square", "first");
    let elsewhere = chat(&house.member, "other", "elsewhere");
    client.publish_ok(&first);
    client.publish_ok(&elsewhere);
    let refer = |beginning: &str| {
        house.stranger.event(9, NOW, &[&["h", "square"], &["previous", beginning]], beginning)
    };
    client.publish_ok(&refer(&first.id.to_string()[..8]));
    let other = elsewhere.id.to_string()[..8].to_owned();
    for missing in [other.as_str(), "00000000"] {
        assert_eq!(
            client.publish_refused(&refer(missing)),
            format!(
                "invalid: previous refers to {missing}, and no such event of this group is here (nip29.previous)"
            )
        );
    }
    let form =
        "invalid: previous refers to at most 50 events, by the first 8 digits of their ids (nip29.form)";
    for wrong in ["0000000", "000000000", "0000000g", "+0000000"] {
        assert_eq!(client.publish_refused(&refer(wrong)), form);
    }
    // An event that is not yet safe counts as well: it comes right before.
    let pair = chat(&house.member, "square", "pair");
    let follows = refer(&pair.id.to_string()[..8]);
    client.submit(&pair);
    client.submit(&follows);
    assert_eq!(answers(&mut client, &[&pair, &follows]), [(true, String::new()), (true, String::new())]);
}

#[test]
fn where_it_is_so_set_events_refer_to_some_earlier_ones_by_others() {
    let house = House::with_group("previous_min = 3\n", &[]);
    let mut client = house.relay.connect();
    // So far there are the admin's and the relay's own: 9007, 9000, 9002, 9000.
    let others = events(&mut client, &json!({"#h": ["square"]}));
    assert_eq!(others.len(), 4);
    let beginnings: Vec<String> = others.iter().map(|event| id_of(event)[..8].to_owned()).collect();
    let refer = |count: usize| {
        let mut previous = vec!["previous"];
        previous.extend(beginnings[..count].iter().map(String::as_str));
        house.member.event(9, NOW, &[&["h", "square"], &previous], "")
    };
    for count in [0, 2] {
        assert_eq!(
            client.publish_refused(&refer(count)),
            "invalid: a previous tag refers to at least 3 events of this group by others (nip29.previous)"
        );
    }
    client.publish_ok(&refer(3));
    // Of the admin's own they need none, and of others there are as many as there are.
    let of_relay: Vec<&str> = beginnings
        .iter()
        .zip(&others)
        .filter(|(_, event)| event["pubkey"] == json!(house.own_key()))
        .map(|(beginning, _)| beginning.as_str())
        .collect();
    let of_member = refer(3).id.to_string();
    let tags: &[&[&str]] = &[&["h", "square"], &["previous", of_relay[0], &of_member[..8]]];
    client.publish_ok(&house.admin.event(9, NOW, tags, "two are there"));
}

#[test]
fn late_publication_is_prevented() {
    let house = House::with_group("late_seconds_max = 60\n", &[]);
    let mut client = house.relay.connect();
    let at = |time: u64| house.member.event(9, time, &[&["h", "square"]], "");
    client.publish_ok(&at(NOW - 60));
    let late = client.publish_refused(&at(NOW - 61));
    assert_eq!(late, "invalid: this event is 61 seconds old, and for a group it may be 60 (nip29.late)");
    // A moderation event that was kept back is no better.
    let old = house.admin.event(9_008, NOW - 61, &[&["h", "square"]], "");
    assert!(client.publish_refused(&old).ends_with("(nip29.late)"));
    client.publish_ok(&house.member.event(1, NOW - 10_000, &[], "for no group"));
    // A relay that takes a group over is open to all of it.
    let house = House::with_group("late_seconds_max = 0\n", &[]);
    house.relay.connect().publish_ok(&house.member.event(9, 1_000, &[&["h", "square"]], ""));
}

#[test]
fn only_who_may_makes_groups() {
    let refused = "restricted: you may not make groups here (nip29.create)";
    let [owner, member, stranger] = [9, 1, 4].map(Person::new);
    for (create, allowed) in
        [("all", [true, true, true]), ("members", [true, true, false]), ("staff", [true, false, false])]
    {
        let relay = TestRelay::configured(&format!(
            "[admin]\nowners = [\"{}\"]\n[authors]\nmembers = [\"{}\"]\n[nip29]\nenabled = true\ncreate = \"{create}\"\n",
            owner.hex(),
            member.hex()
        ));
        for (number, (person, may)) in [&owner, &member, &stranger].into_iter().zip(allowed).enumerate() {
            let answer = relay.connect().publish(&managing(person, 9_007, &number.to_string(), &[]));
            let expected = if may { (true, String::new()) } else { (false, refused.to_owned()) };
            assert_eq!(answer, expected, "{create}, {number}");
        }
    }
}

#[test]
fn groups_have_ids_of_their_own_and_there_are_only_so_many() {
    let house = House::with("groups_max = 3\ngroups_per_creator_max = 2\ncreate = \"all\"\n");
    let mut client = house.relay.connect();
    let create = |person: &Person, id: &str| managing(person, 9_007, id, &[]);
    client.publish_ok(&create(&house.admin, "a"));
    assert_eq!(
        client.publish_refused(&create(&house.stranger, "a")),
        "duplicate: there is a group \"a\" already (nip29.create)"
    );
    client.publish_ok(&create(&house.admin, "b"));
    assert_eq!(
        client.publish_refused(&create(&house.admin, "c")),
        "blocked: you have made 2 groups, as many as one may (nip29.create)"
    );
    client.publish_ok(&create(&house.stranger, "c"));
    assert_eq!(
        client.publish_refused(&create(&house.stranger, "d")),
        "blocked: there are as many groups as there may be here (nip29.create)"
    );
    let long = "x".repeat(65);
    for id in ["", "a\u{7}b", &long] {
        let why = client.publish_refused(&create(&house.member, id));
        assert_eq!(
            why,
            "invalid: a group's id has 1 to 64 bytes, none of them a control character (nip29.form)"
        );
    }
    let without = house.member.event(9_007, NOW, &[], "");
    let why = client.publish_refused(&without);
    assert_eq!(why, "invalid: an event of this kind names its group in an h tag (nip29.form)");
}

#[test]
fn metadata_is_what_the_last_edit_says_and_unknown_tags_are_passed_over() {
    let house = House::with_group("", &[]);
    let mut client = house.relay.connect();
    let tags: &[&[&str]] = &[
        &["name", "Pizza Lovers"],
        &["picture", "https://pizza.com/pizza.png"],
        &["banner", "https://pizza.com/wide.png"],
        &["about", "a group for people who love pizza"],
        &["restricted"],
        &["closed"],
        &["supported_kinds", "9", "11"],
        &["topping", "pineapple"],
    ];
    client.publish_ok(&managing(&house.admin, 9_002, "square", tags));
    let expected: Vec<Value> = tags[..7].iter().map(|tag| json!(tag)).collect();
    assert_eq!(house.tags(39_000, "square"), expected);
    // All the fields each time: what is left out is no more.
    client.publish_ok(&managing(&house.admin, 9_002, "square", &[&["name", "Pasta"]]));
    assert_eq!(house.tags(39_000, "square"), [json!(["name", "Pasta"])]);
    client.publish_ok(&managing(&house.admin, 9_002, "square", &[&["supported_kinds"]]));
    assert_eq!(house.tags(39_000, "square"), [json!(["supported_kinds"])]);
    let why = client.publish_refused(&chat(&house.member, "square", "voices only"));
    assert_eq!(why, "restricted: this group takes no events of kind 9 (nip29.write)");
    let why =
        client.publish_refused(&managing(&house.admin, 9_002, "square", &[&["supported_kinds", "nine"]]));
    assert_eq!(why, "invalid: supported_kinds lists up to 256 kinds by number (nip29.form)");
}

#[test]
fn a_restricted_group_takes_events_of_members_alone() {
    let house = House::with_group("", &[&["restricted"]]);
    let mut client = house.relay.connect();
    client.publish_ok(&chat(&house.member, "square", "hello"));
    let refused = "restricted: only members write to this group (nip29.write)";
    assert_eq!(client.publish_refused(&chat(&house.stranger, "square", "hello")), refused);
    // Ephemeral events are no exception.
    let typing = |person: &Person| person.event(20_009, NOW, &[&["h", "square"]], "");
    client.publish_ok(&typing(&house.member));
    assert_eq!(client.publish_refused(&typing(&house.stranger)), refused);
    // Who was removed a moment ago is none.
    let last = chat(&house.member, "square", "last words");
    let removal = managing(&house.admin, 9_001, "square", &[&["p", &house.member.hex()]]);
    client.submit(&removal);
    client.submit(&last);
    let answers = answers(&mut client, &[&removal, &last]);
    assert_eq!(answers, [(true, String::new()), (false, refused.to_owned())]);
    // Without the flag anybody may.
    client.publish_ok(&managing(&house.admin, 9_002, "square", &[]));
    client.publish_ok(&chat(&house.stranger, "square", "hello"));
}

#[test]
fn who_asks_to_join_an_open_group_is_let_in_at_once() {
    let house = House::with_group("", &[]);
    let mut client = house.relay.connect();
    let mut listener = house.relay.connect();
    listener.request("live", &[json!({"kinds": [9_000, 39_002]})]);
    let join = managing(&house.stranger, 9_021, "square", &[]);
    client.publish_ok(&join);
    // When OK is there, all of it is.
    let all = [&house.admin, &house.member, &house.moderator, &house.stranger];
    assert_eq!(house.members("square"), sorted(&all));
    let put = events(&mut client, &json!({"kinds": [9_000], "#p": [house.stranger.hex()]}));
    assert_eq!((&put[0]["pubkey"], &put[0]["tags"][0]), (&json!(house.own_key()), &json!(["h", "square"])));
    let heard = house.relay.heard_by(&mut listener);
    let members = house.told(39_002, "square").expect("members");
    assert_eq!(heard, [("live".to_owned(), id_of(&put[0])), ("live".to_owned(), id_of(&members))]);
    let again = house.stranger.event(9_021, NOW + 1, &[&["h", "square"]], "");
    assert_eq!(client.publish_refused(&again), "duplicate: you are in this group already (nip29.join)");
}

#[test]
fn a_closed_group_lets_in_who_has_a_code_and_its_admins_put_in() {
    let house = House::with_group("", &[&["closed"]]);
    let mut client = house.relay.connect();
    assert_eq!(
        client.publish_refused(&managing(&house.stranger, 9_021, "square", &[])),
        "restricted: this group is closed: ask one of its admins for an invite code, or to be let in (nip29.join)"
    );
    assert_eq!(
        client.publish_refused(&managing(&house.stranger, 9_021, "square", &[&["code", "sesame"]])),
        "restricted: that invite code is not valid in this group (nip29.join)"
    );
    // Codes are made by who may, and are those of one group.
    assert_eq!(
        client.publish_refused(&managing(&house.member, 9_009, "square", &[&["code", "sesame"]])),
        "restricted: this is for those who manage this group (nip29.moderation)"
    );
    client.publish_ok(&managing(&house.moderator, 9_009, "square", &[&["code", "sesame"]]));
    assert_eq!(
        client.publish_refused(&managing(&house.admin, 9_009, "square", &[&["code", "sesame"]])),
        "duplicate: there is such a code already (nip29.bounds)"
    );
    let join = house.stranger.event(9_021, NOW + 1, &[&["h", "square"], &["code", "sesame"]], "");
    client.publish_ok(&join);
    assert!(house.members("square").contains(&house.stranger.hex()));
    let guest = Person::new(5);
    client.publish_ok(&managing(&house.moderator, 9_000, "square", &[&["p", &guest.hex()]]));
    assert!(house.members("square").contains(&guest.hex()));
}

#[test]
fn codes_wear_out_where_it_is_so_set_and_go_with_the_event_that_made_them() {
    let house = House::with_group("code_uses_max = 1\ncode_seconds_max = 100\n", &[&["closed"]]);
    let mut client = house.relay.connect();
    let made =
        managing(&house.admin, 9_009, "square", &[&["code", "once"], &["code", "old"], &["code", "gone"]]);
    client.publish_ok(&made);
    let join = |number: u32, code: &str, at: u64| {
        Person::new(number).event(9_021, at, &[&["h", "square"], &["code", code]], "")
    };
    client.publish_ok(&join(10, "once", NOW));
    let worn = "restricted: that invite code is used up or too old; ask for another one (nip29.join)";
    assert_eq!(client.publish_refused(&join(11, "once", NOW)), worn);
    house.relay.clock.set(NOW + 101);
    assert_eq!(client.publish_refused(&join(11, "old", NOW + 101)), worn);
    house.relay.clock.set(NOW + 50);
    client.publish_ok(&join(11, "old", NOW + 50));
    client.publish_ok(&managing(&house.admin, 9_005, "square", &[&["e", &made.id.to_string()]]));
    assert_eq!(
        client.publish_refused(&join(12, "gone", NOW + 50)),
        "restricted: that invite code is not valid in this group (nip29.join)"
    );
}

#[test]
fn codes_are_shown_to_those_who_give_them_away() {
    let house = House::with_group("", &[]);
    let invite = managing(&house.admin, 9_009, "square", &[&["code", "sesame"]]);
    let join = managing(&house.stranger, 9_021, "square", &[&["code", "sesame"]]);
    let mut client = house.relay.connect();
    client.publish_ok(&invite);
    client.publish_ok(&join);
    let filter = json!({"kinds": [9_009, 9_021]});
    let table: [(&[&Person], &[&Event]); 5] = [
        (&[], &[]),
        (&[&house.member], &[]),
        (&[&house.stranger], &[&join]),
        (&[&house.moderator], &[&invite, &join]),
        (&[&house.admin], &[&invite, &join]),
    ];
    for (people, expected) in table {
        let mut found = house.relay.connect_as(people).ids(filter.clone());
        let mut expected = ids_of(expected);
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[test]
fn who_leaves_is_removed_by_the_relay() {
    let house = House::with_group("", &[]);
    let mut client = house.relay.connect();
    client.publish_ok(&managing(&house.member, 9_022, "square", &[]));
    assert_eq!(house.members("square"), sorted(&[&house.admin, &house.moderator]));
    let removed = events(&mut client, &json!({"kinds": [9_001], "#p": [house.member.hex()]}));
    assert_eq!(removed[0]["pubkey"], json!(house.own_key()));
    let again = house.member.event(9_022, NOW + 1, &[&["h", "square"]], "");
    assert_eq!(client.publish_refused(&again), "invalid: you are not in this group (nip29.join)");
    // The latest of both kinds tells who comes, goes and comes within a second how they stand.
    let join = |at| house.member.event(9_021, at, &[&["h", "square"]], "");
    client.publish_ok(&join(NOW));
    let both = events(&mut client, &json!({"kinds": [9_000, 9_001], "#p": [house.member.hex()]}));
    assert!(both.iter().all(|event| event["created_at"].as_u64() >= Some(NOW)));
}

#[test]
fn moderation_is_for_those_whose_role_allows_it() {
    let house = House::with_group("", &[]);
    let mut client = house.relay.connect();
    let message = chat(&house.member, "square", "hello");
    client.publish_ok(&message);
    let (guest, id) = (Person::new(5).hex(), message.id.to_string());
    let (member, admin) = (house.member.hex(), house.admin.hex());
    let none = "restricted: this is for those who manage this group (nip29.moderation)";
    let low = "restricted: your role in this group does not allow this (nip29.moderation)";
    // What is done, and what a stranger, a member and a moderator are told. An admin may do all of it.
    let table: [Attempt<'_>; 12] = [
        (9_000, &[&["p", &guest]], [none, none, ""]),
        (9_000, &[&["p", &guest, "gardener"]], [none, none, ""]),
        (9_000, &[&["p", &guest, "moderator"]], [none, none, low]),
        (9_000, &[&["p", &admin]], [none, none, low]),
        (9_001, &[&["p", &guest]], [none, none, ""]),
        (9_001, &[&["p", &admin]], [none, none, low]),
        (9_002, &[&["name", "Mine"]], [none, none, low]),
        (9_009, &[&["code", "sesame"]], [none, none, ""]),
        (9_010, &[&["e", &id]], [none, none, ""]),
        (9_000, &[&["p", &member, "admin"]], [none, none, low]),
        (9_005, &[&["e", &id]], [none, none, ""]),
        (9_008, &[], [none, none, low]),
    ];
    for (kind, tags, told) in table {
        for (person, told) in [&house.stranger, &house.member, &house.moderator].into_iter().zip(told) {
            let (accepted, why) = client.publish(&managing(person, kind, "square", tags));
            assert_eq!((accepted, why.as_str()), (told.is_empty(), told), "kind {kind}: {tags:?}");
        }
    }
    // Another one has no say here.
    client.publish_ok(&managing(&house.admin, 9_007, "other", &[]));
    assert_eq!(client.publish_refused(&managing(&house.moderator, 9_009, "other", &[&["code", "x"]])), none);
    for kind in [9_003, 9_004, 9_006, 9_011, 9_020] {
        let why = client.publish_refused(&managing(&house.admin, kind, "square", &[]));
        assert_eq!(why, format!("invalid: kind {kind} manages nothing (nip29.form)"));
    }
}

#[test]
fn roles_are_given_and_taken_by_putting_somebody_in_again() {
    let house = House::with_group("", &[]);
    let mut client = house.relay.connect();
    let roles_of = |person: &Person| -> Option<Value> {
        house.tags(39_001, "square").into_iter().find(|tag| tag[1] == person.hex())
    };
    assert_eq!(roles_of(&house.moderator), Some(json!(["p", house.moderator.hex(), "moderator"])));
    let put = |roles: &[&str]| {
        let hex = house.moderator.hex();
        let tag: Vec<&str> = ["p", &hex].into_iter().chain(roles.iter().copied()).collect();
        managing(&house.admin, 9_000, "square", &[&tag])
    };
    client.publish_ok(&put(&["admin", "gardener"]));
    assert_eq!(roles_of(&house.moderator), Some(json!(["p", house.moderator.hex(), "admin", "gardener"])));
    // Labels that mean nothing here are taken, and give no power.
    client.publish_ok(&put(&["gardener"]));
    assert_eq!(roles_of(&house.moderator), None);
    assert!(house.members("square").contains(&house.moderator.hex()));
    let why = client.publish_refused(&put(&["1", "2", "3", "4", "5", "6", "7", "8", "9"]));
    assert_eq!(why, "invalid: a person has at most 4 roles of 32 bytes each (nip29.form)");
}

#[test]
fn events_that_admins_remove_are_gone_and_stay_away() {
    let house = House::with_group("", &[]);
    let mut client = house.relay.connect();
    client.publish_ok(&managing(&house.admin, 9_007, "other", &[]));
    let message = chat(&house.member, "square", "spam");
    let (elsewhere, plain) = (chat(&house.member, "other", "fine"), house.member.note("fine"));
    [&message, &elsewhere, &plain].into_iter().for_each(|event| client.publish_ok(event));
    let remove =
        |event: &Event| managing(&house.moderator, 9_005, "square", &[&["e", &event.id.to_string()]]);
    let put = house.told(39_000, "square").expect("metadata");
    let put = Event::from_json(put.to_string().as_bytes()).expect("an event");
    let not_here = "invalid: what is to be removed is not here, or is no event of this group's members (nip29.moderation)";
    let never = chat(&house.member, "square", "never sent");
    for event in [&elsewhere, &plain, &put, &never] {
        assert_eq!(client.publish_refused(&remove(event)), not_here);
    }
    client.publish_ok(&remove(&message));
    assert!(client.ids(json!({"ids": [message.id.to_string()]})).is_empty());
    assert_eq!(
        client.publish_refused(&message),
        "blocked: those who manage this group have removed this event (nip29.removed)"
    );
}

#[test]
fn what_moderators_did_cannot_be_taken_back_by_deleting_it() {
    let house = House::with_group("", &[]);
    let mut client = house.relay.connect();
    let removal = managing(&house.moderator, 9_001, "square", &[&["p", &house.member.hex()]]);
    let note = chat(&house.moderator, "square", "regrets");
    client.publish_ok(&removal);
    client.publish_ok(&note);
    let (removal_id, note_id) = (removal.id.to_string(), note.id.to_string());
    client.publish_ok(&house.moderator.event(5, NOW, &[&["e", &removal_id], &["e", &note_id]], ""));
    assert_eq!(client.ids(json!({"ids": [removal_id, note_id]})), ids_of(&[&removal]));
}

#[test]
fn a_group_that_is_ended_takes_its_events_along() {
    let mut house = House::with_group("", &[]);
    let mut client = house.relay.connect();
    client.publish_ok(&managing(&house.admin, 9_007, "other", &[]));
    let (gone, kept) = (chat(&house.member, "square", "gone"), chat(&house.member, "other", "kept"));
    client.publish_ok(&gone);
    client.publish_ok(&kept);
    let end = managing(&house.admin, 9_008, "square", &[]);
    client.publish_ok(&end);
    assert_eq!(client.ids(json!({"#h": ["square"]})), ids_of(&[&end]));
    assert_eq!(client.ids(json!({"kinds": [39_000, 39_001, 39_002, 39_003], "#d": ["square"]})), [""; 0]);
    assert_eq!(client.ids(json!({"kinds": [9], "#h": ["other"]})), ids_of(&[&kept]));
    let why = client.publish_refused(&chat(&house.member, "square", "hello?"));
    assert_eq!(why, "invalid: there is no group \"square\" here (nip29.group)");
    assert_eq!(
        client.publish_refused(&managing(&house.stranger, 9_021, "square", &[])),
        "invalid: there is no group \"square\" here (nip29.group)"
    );
    // What is hidden is removed by and by.
    let community = std::sync::Arc::clone(house.relay.relay().community());
    house.relay.relay().sweep_now();
    assert_eq!(community.index().tagged(b'h', "square", plaza::event::Kind(9_008), 10), []);
    drop(community);
    house.relay.restart();
    let mut client = house.relay.connect();
    assert_eq!(client.ids(json!({"#h": ["square"]})), ids_of(&[&end]));
    let again = house.admin.event(9_007, NOW + 1, &[&["h", "square"]], "");
    assert_eq!(
        client.publish_refused(&again),
        "blocked: the group \"square\" was ended, and its id is not used again (nip29.create)"
    );
}

#[test]
fn pins_are_what_the_last_list_says() {
    let house = House::with_group("pins_max = 2\n", &[]);
    let mut client = house.relay.connect();
    assert_eq!(house.told(39_005, "square"), None);
    let id = chat(&house.member, "square", "look").id.to_string();
    let address = format!("30023:{}:page", house.member.hex());
    client.publish_ok(&managing(&house.moderator, 9_010, "square", &[&["a", &address], &["e", &id]]));
    assert_eq!(house.tags(39_005, "square"), [json!(["a", address]), json!(["e", id])]);
    let three: &[&[&str]] = &[&["a", &address], &["e", &id], &["e", &"7".repeat(64)]];
    assert_eq!(
        client.publish_refused(&managing(&house.moderator, 9_010, "square", three)),
        "restricted: a group has at most 2 pinned events (nip29.bounds)"
    );
    let why = client.publish_refused(&managing(&house.moderator, 9_010, "square", &[&["e", "x"]]));
    assert_eq!(why, "invalid: e tags have ids, and a tags have addresses (nip29.form)");
    client.publish_ok(&managing(&house.moderator, 9_010, "square", &[]));
    assert_eq!(house.told(39_005, "square"), None);
}

#[test]
fn a_private_group_is_read_by_its_members_alone() {
    let house = House::with_group("", &[&["private"]]);
    let message = chat(&house.member, "square", "between us");
    house.relay.connect().publish_ok(&message);
    let filter = json!({"kinds": [9], "ids": [message.id.to_string()]});
    for (person, sees) in
        [(&house.admin, true), (&house.member, true), (&house.moderator, true), (&house.stranger, false)]
    {
        let mut client = house.relay.connect_as(&[person]);
        assert_eq!(client.ids(filter.clone()).len(), usize::from(sees));
        assert_eq!(client.count(std::slice::from_ref(&filter)), u64::from(sees));
    }
    let mut anonymous = house.relay.connect();
    assert_eq!(anonymous.ids(filter.clone()), [""; 0]);
    assert_eq!(
        anonymous.closed("REQ", &[json!({"#h": ["square"]})]),
        "auth-required: this group is private; log in as a member to read it (nip29.read)"
    );
    assert_eq!(
        house.relay.connect_as(&[&house.stranger]).closed("REQ", &[json!({"#h": ["square"]})]),
        "restricted: this group is private, and you are not in it (nip29.read)"
    );
    // What it is, is told to everybody; who may not read may write, where it is not restricted.
    assert_eq!(house.tags(39_000, "square"), [json!(["private"])]);
    anonymous.publish_ok(&chat(&house.stranger, "square", "a letter"));
}

#[test]
fn a_hidden_group_is_known_to_its_members_alone() {
    let house = House::with_group("", &[&["hidden"], &["closed"], &["restricted"], &["name", "Secret"]]);
    for kind in [39_000, 39_001, 39_002, 39_003] {
        assert!(house.told_to(&[&house.member], kind, "square").is_some());
        for people in [&[][..], &[&house.stranger]] {
            assert_eq!(house.told_to(people, kind, "square"), None);
        }
    }
    let moderation = json!({"kinds": [9_000, 9_002, 9_007]});
    assert_eq!(house.relay.connect().ids(moderation.clone()), [""; 0]);
    assert_eq!(house.relay.connect_as(&[&house.member]).ids(moderation).len(), 4);
    // Nobody learns of it by writing to it.
    let mut client = house.relay.connect();
    let told: Vec<String> = ["square", "nowhere"]
        .into_iter()
        .flat_map(|group| {
            [
                chat(&house.stranger, group, "?"),
                managing(&house.stranger, 9_021, group, &[]),
                managing(&house.stranger, 9_021, group, &[&["code", "guess"]]),
                managing(&house.stranger, 9_022, group, &[]),
                managing(&house.stranger, 9_009, group, &[&["code", "mine"]]),
            ]
        })
        .map(|event| client.publish_refused(&event).replace("square", "nowhere"))
        .collect();
    assert!(told.iter().all(|why| *why == told[0]), "{told:#?}");
    client.publish_ok(&managing(&house.admin, 9_009, "square", &[&["code", "sesame"]]));
    client.publish_ok(&managing(&house.stranger, 9_021, "square", &[&["code", "sesame"]]));
}

#[test]
fn who_is_removed_hears_nothing_more_but_that() {
    let house = House::with_group("", &[&["private"]]);
    let mut listener = house.relay.connect_as(&[&house.member]);
    listener.request("group", &[json!({"#h": ["square"]})]);
    listener.request("all", &[json!({"since": NOW})]);
    let mut client = house.relay.connect();
    let removal = managing(&house.admin, 9_001, "square", &[&["p", &house.member.hex()]]);
    client.publish_ok(&removal);
    client.publish_ok(&chat(&house.admin, "square", "behind their back"));
    let closed = listener.receive();
    assert_eq!(
        closed,
        json!(["CLOSED", "group", "restricted: this group is private, and you are not in it (nip29.read)"])
    );
    let members = house.told(39_002, "square").expect("members");
    let heard: Vec<String> = house.relay.heard_by(&mut listener).into_iter().map(|(_, id)| id).collect();
    assert_eq!(heard, [removal.id.to_string(), id_of(&members)], "that, and what everybody is told");
    let mine = json!({"kinds": [9_000, 9_001], "#p": [house.member.hex()]});
    assert_eq!(listener.ids(mine).len(), 2);
}

#[test]
fn groups_lie_below_one_another_and_never_in_a_circle() {
    let house = House::with("create = \"all\"\n");
    let mut client = house.relay.connect();
    for id in ["tech", "nostr", "nip29"] {
        client.publish_ok(&managing(&house.admin, 9_007, id, &[]));
    }
    client.publish_ok(&managing(&house.stranger, 9_007, "theirs", &[]));
    let edit = |person: &Person, id: &str, tags: &[&[&str]]| managing(person, 9_002, id, tags);
    client.publish_ok(&edit(&house.admin, "nostr", &[&["parent", "tech"]]));
    client.publish_ok(&edit(&house.admin, "nip29", &[&["parent", "nostr"]]));
    let admin = house.admin.hex();
    let child = json!(["child", "nip29"]);
    assert_eq!(house.tags(39_000, "nostr"), [json!(["parent", "tech", admin]), child]);
    assert_eq!(house.tags(39_000, "tech"), [json!(["child", "nostr"])]);
    let refusals: [(&Person, &str, &[&[&str]], &str); 6] = [
        (
            &house.admin,
            "tech",
            &[&["child", "nostr"], &["parent", "nip29"]],
            "invalid: \"nip29\" is below \"tech\", or is the same group",
        ),
        (
            &house.admin,
            "tech",
            &[&["child", "nostr"], &["parent", "tech"]],
            "invalid: \"tech\" is below \"tech\", or is the same group",
        ),
        (
            &house.admin,
            "tech",
            &[&["child", "nostr"], &["parent", "gone"]],
            "invalid: there is no group \"gone\" to be below",
        ),
        (
            &house.admin,
            "nip29",
            &[&["parent", "theirs"]],
            "restricted: who puts a group below \"theirs\" is an admin there",
        ),
        (
            &house.stranger,
            "theirs",
            &[&["parent", "tech"]],
            "restricted: who puts a group below \"tech\" is an admin there",
        ),
        (
            &house.admin,
            "nostr",
            &[&["parent", "tech"], &["name", "Nostr"]],
            "invalid: \"nip29\" is below this group, and no child tag names it",
        ),
    ];
    for (person, id, tags, why) in refusals {
        assert_eq!(client.publish_refused(&edit(person, id, tags)), format!("{why} (nip29.subgroups)"));
    }
    // Moved, and promoted to a root; an empty value is none.
    client.publish_ok(&edit(&house.admin, "nip29", &[&["parent", "tech"]]));
    assert_eq!(house.tags(39_000, "tech"), [json!(["child", "nostr"]), json!(["child", "nip29"])]);
    client.publish_ok(&edit(&house.admin, "tech", &[&["child", "nip29"], &["child", "nostr"]]));
    assert_eq!(
        house.tags(39_000, "tech"),
        [json!(["child", "nip29"]), json!(["child", "nostr"])],
        "in order"
    );
    client.publish_ok(&edit(&house.admin, "nip29", &[&["parent", ""]]));
    assert!(house.tags(39_000, "nip29").is_empty());
    // When a parent is ended its children are roots.
    client.publish_ok(&managing(&house.admin, 9_008, "tech", &[]));
    assert!(house.tags(39_000, "nostr").is_empty());
    // Nothing is inherited.
    client.publish_ok(&edit(&house.admin, "nip29", &[&["parent", "nostr"], &["name", "NIP-29"]]));
    client.publish_ok(&managing(&house.admin, 9_000, "nostr", &[&["p", &house.member.hex(), "admin"]]));
    assert_eq!(
        client.publish_refused(&edit(&house.member, "nip29", &[])),
        "restricted: this is for those who manage this group (nip29.moderation)"
    );
}

/// The key beside `parent` is of the admin above who put the group there, also of one that was made there; an admin of the
/// group alone who leaves it there is not named. Who is not in a hidden group is not told that there is one.
#[test]
fn a_parent_is_attested_by_who_is_an_admin_there() {
    let house = House::with("create = \"all\"\n");
    let mut client = house.relay.connect();
    let (admin, member) = (house.admin.hex(), house.member.hex());
    client.publish_ok(&managing(&house.admin, 9_007, "above", &[]));
    client.publish_ok(&managing(&house.admin, 9_007, "below", &[&["parent", "above"]]));
    let attested = json!(["parent", "above", admin]);
    assert_eq!(house.tags(39_000, "below"), std::slice::from_ref(&attested));
    assert_eq!(house.tags(39_000, "above"), [json!(["child", "below"])]);
    client.publish_ok(&managing(&house.admin, 9_000, "below", &[&["p", &member, "admin"]]));
    let edit = |person: &Person, name: &str| {
        managing(person, 9_002, "below", &[&["parent", "above"], &["name", name]])
    };
    client.publish_ok(&edit(&house.member, "Below"));
    assert_eq!(house.tags(39_000, "below"), [json!(["name", "Below"]), attested]);
    // Who takes it away does not put it back.
    client.publish_ok(&managing(&house.member, 9_002, "below", &[]));
    let why = client.publish_refused(&edit(&house.member, "Again"));
    assert_eq!(why, "restricted: who puts a group below \"above\" is an admin there (nip29.subgroups)");
    let hide = [&["hidden"][..]];
    client.publish_ok(&managing(&house.admin, 9_002, "above", &hide));
    let why = client.publish_refused(&edit(&house.member, "Again"));
    assert_eq!(why, "invalid: there is no group \"above\" to be below (nip29.subgroups)");
    client.publish_ok(&edit(&house.admin, "There"));
    client.publish_ok(&edit(&house.member, "Still there"));
}

#[test]
fn a_group_has_only_so_many_members_and_codes() {
    let house = House::with_group("members_max = 4\ncodes_max = 1\n", &[]);
    let mut client = house.relay.connect();
    let put = |numbers: &[u32]| {
        let keys: Vec<String> = numbers.iter().map(|number| Person::new(*number).hex()).collect();
        let tags: Vec<[&str; 2]> = keys.iter().map(|key| ["p", key.as_str()]).collect();
        let tags: Vec<&[&str]> = tags.iter().map(|tag| &tag[..]).collect();
        managing(&house.admin, 9_000, "square", &tags)
    };
    let full = "restricted: a group has at most 4 members (nip29.bounds)";
    assert_eq!(client.publish_refused(&put(&[10, 11])), full);
    client.publish_ok(&put(&[10]));
    assert_eq!(client.publish_refused(&put(&[11])), full);
    // Who is in already takes no room.
    client.publish_ok(&put(&[2, 10]));
    let join = managing(&house.stranger, 9_021, "square", &[]);
    let why = client.publish_refused(&join);
    assert_eq!(why, "restricted: this group has as many members as it may (nip29.join)");
    client.publish_ok(&managing(&house.admin, 9_009, "square", &[&["code", "one"]]));
    assert_eq!(
        client.publish_refused(&managing(&house.admin, 9_009, "square", &[&["code", "two"]])),
        "restricted: a group has at most 1 invite codes: remove the events of others first (nip29.bounds)"
    );
}

#[test]
fn who_vanishes_is_in_no_group_any_more() {
    let house = House::with_group("", &[]);
    let mut client = house.relay.connect();
    client.publish_ok(&house.member.event(62, NOW, &[&["relay", "ALL_RELAYS"]], ""));
    assert_eq!(house.members("square"), sorted(&[&house.admin, &house.moderator]));
}

#[test]
fn groups_are_the_same_after_a_restart_and_as_their_events_make_them() {
    let mut house = House::with_group("", &[&["closed"], &["name", "Square"]]);
    let mut client = house.relay.connect();
    client.publish_ok(&managing(&house.admin, 9_009, "square", &[&["code", "sesame"]]));
    client.publish_ok(&managing(&house.stranger, 9_021, "square", &[&["code", "sesame"]]));
    client.publish_ok(&managing(&house.member, 9_022, "square", &[]));
    client.publish_ok(&managing(&house.admin, 9_007, "below", &[]));
    client.publish_ok(&managing(&house.admin, 9_002, "below", &[&["parent", "square"]]));
    let told = |house: &House| -> Vec<Value> {
        let filter = json!({"authors": [house.own_key()]});
        events(&mut house.relay.connect_as(&[&house.admin]), &filter)
    };
    let before = told(&house);
    let known = house.relay.relay().community().known().groups;
    house.relay.restart();
    assert_eq!(told(&house), before, "nothing is said anew that is so");
    let community = house.relay.relay().community();
    assert_eq!(community.known().groups, known);
    let of_events = house.relay.relay().groups_of_events(community).expect("groups");
    assert_eq!(of_events, *known);
}

#[test]
fn strangers_make_no_groups_of_events_that_were_stored_while_there_were_none() {
    let (admin, stranger) = (Person::new(1), Person::new(4));
    let mut relay = TestRelay::start();
    let mut client = relay.connect();
    for event in [
        managing(&stranger, 9_007, "square", &[]),
        managing(&stranger, 9_000, "square", &[&["p", &stranger.hex(), "admin"]]),
        managing(&stranger, 9_002, "square", &[&["name", "Mine"]]),
    ] {
        client.publish_ok(&event);
    }
    relay.reconfigure(&format!("[authors]\nmembers = [\"{}\"]\n[nip29]\nenabled = true\n", admin.hex()));
    assert!(relay.relay().community().known().groups.is_empty());
    relay.connect().publish_ok(&managing(&admin, 9_007, "square", &[]));
    let why = relay.connect().publish_refused(&managing(&stranger, 9_008, "square", &[]));
    assert_eq!(why, "restricted: this is for those who manage this group (nip29.moderation)");
}

#[test]
fn a_key_that_contradicts_the_settings_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, Person::new(9).secret()).expect("a file");
    let start = |own: &str| {
        let text =
            format!("[relay]\nself = \"{own}\"\nsecret_key_file = {file:?}\n[nip29]\nenabled = true\n");
        let mut config =
            plaza::config::Config::parse(&text, std::path::Path::new("relay.toml")).expect("settings");
        config.server.listen = "127.0.0.1:0".parse().expect("an address");
        config.store.path = folder.path().join("data");
        plaza::net::Relay::start(config, plaza::clock::Clock::by_hand(NOW)).map(|relay| relay.stop())
    };
    let error = start(&"7".repeat(64)).map(drop).expect_err("another key").to_string();
    assert!(error.contains("relay.self is 777") && !error.contains(&Person::new(9).secret()), "{error}");
    start(&Person::new(9).hex()).expect("it starts").expect("it stops");
}

#[test]
fn the_rules_are_explained() {
    let house = House::with_group("", &[&["restricted"]]);
    let community = house.relay.relay().community();
    let event = chat(&house.stranger, "square", "hello");
    let explained = house.relay.relay().explain(community, &event, &[]).expect("the store is read");
    assert_eq!(explained.decision.expect_err("it is refused").rule, "nip29.write");
    let seen = explained.steps.iter().find(|step| step.rule == "nip29.group").expect("a step");
    assert!(matches!(seen.verdict, plaza::policy::Verdict::Passed));
}

#[test]
fn who_manages_the_relay_manages_groups_by_the_relays_own_key() {
    let (owner, admin, member) = (Person::new(9), Person::new(1), Person::new(2));
    let relay =
        TestRelay::configured(&format!("[admin]\nowners = [\"{}\"]\n[nip29]\nenabled = true\n", owner.hex()));
    relay.call_ok(&owner, "creategroup", json!(["square", "Square", admin.hex()]));
    relay.call_ok(&owner, "putgroupuser", json!(["square", member.hex(), ["moderator"]]));
    let code = relay.call_ok(&owner, "creategroupinvite", json!(["square"]))["code"].clone();
    let shown = relay.call_ok(&owner, "showgroup", json!(["square"]));
    let people: Vec<(&Value, &Value)> = shown["members"]
        .as_array()
        .expect("members")
        .iter()
        .map(|one| (&one["pubkey"], &one["roles"]))
        .collect();
    assert_eq!(
        people,
        [(&json!(admin.hex()), &json!(["admin"])), (&json!(member.hex()), &json!(["moderator"]))]
    );
    assert_eq!(shown["codes"][0]["code"], code);
    assert_eq!(relay.call_ok(&owner, "listgroups", json!([]))[0]["about"]["name"], json!("Square"));
    // Its admin goes on from there, and all of it is read back from events.
    relay.connect().publish_ok(&managing(&admin, 9_002, "square", &[&["closed"]]));
    relay.call_ok(&owner, "deletegroupinvite", json!(["square", code]));
    relay.call_ok(&owner, "removegroupuser", json!(["square", member.hex(), "gone"]));
    let community = relay.relay().community();
    assert_eq!(relay.relay().groups_of_events(community).expect("groups"), *community.known().groups);
    for (method, params, why) in [
        ("creategroup", json!(["square", "", owner.hex()]), "there is a group \"square\" already"),
        ("putgroupuser", json!(["circle", owner.hex()]), "there is no group \"circle\" here"),
        ("deletegroupinvite", json!(["square", code]), "there is no such code"),
        ("showgroup", json!(["circle"]), "there is no group \"circle\" here"),
    ] {
        assert_eq!(relay.call_refused(&owner, method, params).1, why);
    }
    relay.call_ok(&owner, "deletegroup", json!(["square", ""]));
    assert_eq!(relay.call_ok(&owner, "listgroups", json!([])), json!([]));
}
