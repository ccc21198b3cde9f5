//! NIP-43, membership by invitation (nips/43.md). One test a clause.

use plaza::event::Event;
use serde_json::{Value, json};

use crate::common::http::http;
use crate::common::{Client, NOW, Person, TestRelay, id_of};
use crate::nip29::{events, sorted};

const WELCOME: &str = "info: welcome to Plaza!";

/// A relay for members, and people: its owner, a member by its settings, and a stranger.
struct House {
    relay: TestRelay,
    owner: Person,
    member: Person,
    stranger: Person,
}

impl House {
    fn new() -> House {
        House::with("")
    }

    fn with(settings: &str) -> House {
        House::open(&format!("{settings}[access]\nwrite = \"members\"\nread = \"members\"\n"))
    }

    /// One to which everybody writes, and which everybody reads.
    fn open(settings: &str) -> House {
        let [owner, member, stranger] = [1, 2, 3].map(Person::new);
        let relay = TestRelay::configured(&format!(
            "[relay]\nname = \"Plaza\"\n[admin]\nowners = [\"{}\"]\n\
             [authors]\nmembers = [\"{}\"]\n[nip43]\nenabled = true\n{settings}",
            owner.hex(),
            member.hex()
        ));
        House { relay, owner, member, stranger }
    }

    fn own_key(&self) -> String {
        let document = http(&self.relay, "GET", "/", &[("Accept", "application/nostr+json")], "").json();
        document["self"].as_str().expect("a key").to_owned()
    }

    /// What the relay says by events of these kinds, newest first, as a member sees it.
    fn told(&self, kinds: &[u16]) -> Vec<Value> {
        let filter = json!({"kinds": kinds, "authors": [self.own_key()]});
        events(&mut self.relay.connect_as(&[&self.member]), &filter)
    }

    /// Who the members are, as the relay says it.
    fn members(&self) -> Vec<String> {
        let list = self.told(&[13_534]).pop().expect("a list");
        let tags = list["tags"].as_array().expect("tags").clone().into_iter();
        let members =
            tags.filter(|tag| tag[0] == "member").map(|tag| tag[1].as_str().expect("a key").to_owned());
        let mut members: Vec<String> = members.collect();
        members.sort_unstable();
        members
    }

    /// A code that somebody gets by asking.
    fn code(&self, person: &Person) -> String {
        let found = events(&mut self.relay.connect_as(&[person]), &json!({"kinds": [28_935]}));
        let [event] = &found[..] else { panic!("one event: {found:?}") };
        claim_of(event)
    }

    fn join(&self, person: &Person, code: &str) -> (bool, String) {
        self.relay.connect_as(&[person]).publish(&request(person, 28_934, &[&["claim", code]]))
    }
}

fn claim_of(event: &Value) -> String {
    let tags = event["tags"].as_array().expect("tags");
    tags.iter().find(|tag| tag[0] == "claim").expect("a claim")[1].as_str().expect("a code").to_owned()
}

fn request(person: &Person, kind: u16, tags: &[&[&str]]) -> Event {
    let protected: &[&str] = &["-"];
    let tags: Vec<&[&str]> = std::iter::once(protected).chain(tags.iter().copied()).collect();
    person.event(kind, NOW, &tags, "")
}

#[test]
fn the_relay_publishes_who_its_members_are() {
    let house = House::new();
    let list = house.told(&[13_534]).pop().expect("a list");
    assert_eq!(list["tags"], json!([["-"], ["member", house.member.hex()]]));
    let event = Event::from_json(list.to_string().as_bytes()).expect("an event");
    assert!(plaza::event::Verified::check(event, &mut Vec::new()).is_ok());
    let document = http(&house.relay, "GET", "/", &[("Accept", "application/nostr+json")], "").json();
    assert!(document["supported_nips"].as_array().expect("NIPs").contains(&json!(43)));
    // Nobody else says so.
    for kind in [13_534, 8_000, 8_001, 33_534, 28_935] {
        let event = request(&house.member, kind, &[&["member", &house.member.hex()]]);
        assert_eq!(
            house.relay.connect_as(&[&house.member]).publish_refused(&event),
            "blocked: who the members are, the relay says itself, signed by its own key (nip43.relay_key)"
        );
    }
}

#[test]
fn members_get_codes_and_who_has_one_becomes_a_member() {
    let house = House::new();
    let note = house.stranger.note("hello");
    let not_yet = "restricted: only members write here (access.write)";
    assert_eq!(house.relay.connect().publish_refused(&note), not_yet);
    let code = house.code(&house.member);
    let mut listener = house.relay.connect_as(&[&house.member]);
    listener.request("live", &[json!({"kinds": [8_000, 13_534, 28_934]})]);
    assert_eq!(house.join(&house.stranger, &code), (true, WELCOME.to_owned()));
    // When OK is there, all of it is; the code itself is passed on to nobody.
    assert_eq!(house.members(), sorted(&[&house.member, &house.stranger]));
    let added = house.told(&[8_000]);
    assert_eq!(added.len(), 1);
    assert_eq!(added[0]["tags"], json!([["-"], ["p", house.stranger.hex()]]));
    let heard: Vec<String> = heard(&house, &mut listener);
    assert_eq!(heard, [id_of(&added[0]), id_of(&house.told(&[13_534])[0])]);
    // They write and read, and join no more.
    let mut client = house.relay.connect_as(&[&house.stranger]);
    client.publish_ok(&note);
    assert_eq!(client.ids(json!({"kinds": [1]})), [note.id.to_string()]);
    assert_eq!(
        house.join(&house.stranger, &house.code(&house.member)),
        (true, "duplicate: you are already a member of this relay".to_owned())
    );
    // It is the list that moderators see and change.
    let listed = house.relay.call_ok(&house.owner, "listallowedpubkeys", json!([]));
    assert_eq!(listed[0]["pubkey"], json!(house.stranger.hex()));
}

/// What has come live, when what is sent by a member has come after it.
fn heard(house: &House, listener: &mut Client) -> Vec<String> {
    let marker = house.member.event(20_001, NOW, &[], "marker");
    listener.subscribe("marker", &[json!({"kinds": [20_001]})]);
    let mut heard = Vec::new();
    loop {
        let message = listener.receive();
        match (message[0].as_str(), message[1].as_str()) {
            (Some("EOSE"), Some("marker")) => house.relay.connect().publish_ok(&marker),
            (_, Some("marker")) => return heard,
            _ => heard.push(id_of(&message[2])),
        }
    }
}

#[test]
fn codes_wear_out() {
    let house = House::with("code_seconds_max = 100\ncode_uses_max = 1\n");
    let code = house.code(&house.member);
    assert_eq!(house.code(&house.member), code, "one that is not used is given again");
    assert_eq!(house.join(&house.stranger, &code), (true, WELCOME.to_owned()));
    let invalid = "restricted: that is an invalid invite code (nip43.join)";
    assert_eq!(house.join(&Person::new(10), &code), (false, invalid.to_owned()));
    assert_eq!(house.join(&Person::new(10), "guess"), (false, invalid.to_owned()));
    let other = house.code(&house.member);
    assert_ne!(other, code);
    house.relay.clock.set(NOW + 100);
    let late = Person::new(10).event(28_934, NOW + 100, &[&["-"], &["claim", &other]], "");
    assert_eq!(
        house.relay.connect_as(&[&Person::new(10)]).publish_refused(&late),
        "restricted: that invite code is expired or used up (nip43.join)"
    );
}

#[test]
fn requests_are_protected_made_just_now_and_have_a_code() {
    let house = House::new();
    let code = house.code(&house.member);
    let person = &house.stranger;
    let claim: &[&str] = &["claim", &code];
    let form = |text: &str| format!("{text} (nip43.form)");
    let off = form("invalid: a request to join or leave is made just now: its time is off");
    let table: [(u64, &[&[&str]], String); 5] = [
        (NOW, &[claim], form("invalid: a request to join or leave has the tag [\"-\"]")),
        (NOW - 301, &[&["-"], claim], off.clone()),
        (NOW + 301, &[&["-"], claim], off),
        (NOW, &[&["-"]], form("restricted: a request to join has an invite code in a claim tag")),
        (
            NOW,
            &[&["-"], &["claim", ""]],
            form("restricted: a request to join has an invite code in a claim tag"),
        ),
    ];
    let mut client = house.relay.connect_as(&[person]);
    for (at, tags, why) in table {
        assert_eq!(client.publish_refused(&person.event(28_934, at, tags, "")), why);
    }
    // Nobody joins or leaves for somebody else (NIP-70).
    let why = house.relay.connect().publish_refused(&request(person, 28_934, &[claim]));
    assert!(why.starts_with("auth-required: "), "{why}");
    let why = house.relay.connect_as(&[&house.member]).publish_refused(&request(person, 28_936, &[]));
    assert!(why.starts_with("restricted: "), "{why}");
    client.publish(&person.event(28_934, NOW - 300, &[&["-"], claim], ""));
    assert!(house.members().contains(&person.hex()));
}

#[test]
fn members_leave_and_are_told_to_have_left() {
    let house = House::new();
    house.join(&house.stranger, &house.code(&house.member));
    let mut reader = house.relay.connect_as(&[&house.stranger]);
    reader.request("open", &[json!({"kinds": [1]})]);
    let mut client = house.relay.connect_as(&[&house.stranger]);
    let leave = request(&house.stranger, 28_936, &[]);
    assert_eq!(client.publish(&leave), (true, "info: you are a member no more".to_owned()));
    assert_eq!(house.members(), sorted(&[&house.member]));
    let removed = house.told(&[8_001]);
    assert_eq!(removed[0]["tags"], json!([["-"], ["p", house.stranger.hex()]]));
    // It counts at once, also for what is open.
    assert_eq!(
        reader.receive(),
        json!(["CLOSED", "open", "restricted: only members read here (access.read)"])
    );
    let again = house.stranger.event(28_936, NOW + 1, &[&["-"]], "");
    assert_eq!(client.publish(&again), (true, "duplicate: you are not a member of this relay".to_owned()));
    // Whom the settings name, the operator takes out.
    let mut client = house.relay.connect_as(&[&house.member]);
    assert_eq!(
        client.publish_refused(&request(&house.member, 28_936, &[])),
        "restricted: you are a member by the relay's settings: ask its operator to take you out (nip43.leave)"
    );
}

#[test]
fn codes_are_given_to_those_who_may_give_them_away() {
    let ask = [json!({"kinds": [28_935]})];
    let house = House::open("invite = \"staff\"\n");
    assert_eq!(house.code(&house.owner).len(), 32);
    assert_eq!(
        house.relay.connect_as(&[&house.member]).closed("REQ", &ask),
        "restricted: you may not give invite codes away here (nip43.invite)"
    );
    let house = House::open("");
    let why = house.relay.connect().closed("REQ", &ask);
    assert!(why.starts_with("auth-required: "), "{why}");
    // Signed by the relay, made for who asks, and stored nowhere.
    let found = events(&mut house.relay.connect_as(&[&house.member]), &ask[0]);
    assert_eq!(found[0]["pubkey"], json!(house.own_key()));
    assert_eq!(house.relay.connect_as(&[&house.member]).count(&ask), 0);
    assert_ne!(claim_of(&found[0]), house.code(&house.owner));
    // There are only so many.
    let house = House::open("codes_max = 1\n");
    house.code(&house.member);
    assert!(events(&mut house.relay.connect_as(&[&house.owner]), &ask[0]).is_empty());
}

#[test]
fn what_moderators_decide_of_people_is_membership_too() {
    let house = House::new();
    let code = house.code(&house.member);
    house.relay.call_ok(&house.owner, "allowpubkey", json!([house.stranger.hex(), ""]));
    assert_eq!(house.members(), sorted(&[&house.member, &house.stranger]));
    assert_eq!(house.told(&[8_000]).len(), 1);
    house.relay.call_ok(&house.owner, "banpubkey", json!([house.stranger.hex(), "spam"]));
    assert_eq!(house.members(), sorted(&[&house.member]));
    assert_eq!(house.told(&[8_001]).len(), 1);
    // Who is banned does not come back by a code, and the codes of who is banned let nobody in.
    let (accepted, why) = house.join(&house.stranger, &code);
    assert_eq!(
        (accepted, why.as_str()),
        (false, "blocked: the moderators have banned this author (admin.banned)")
    );
    house.relay.call_ok(&house.owner, "banpubkey", json!([house.member.hex(), "spam"]));
    let (accepted, why) = house.join(&Person::new(10), &code);
    assert_eq!(
        (accepted, why.as_str()),
        (false, "restricted: that invite code is expired or used up (nip43.join)")
    );
}

#[test]
fn roles_are_told_with_who_has_them() {
    let house = House::new();
    house.relay.call_ok(
        &house.owner,
        "createrole",
        json!(["gardener", "Gardener", "waters the plants", "green", 3]),
    );
    house.relay.call_ok(&house.owner, "assignrole", json!([house.member.hex(), "gardener"]));
    house.relay.call_ok(&house.owner, "assignrole", json!([house.member.hex(), "moderator"]));
    let role = house.told(&[33_534]).pop().expect("a role");
    assert_eq!(
        role["tags"],
        json!([
            ["-"],
            ["d", "gardener"],
            ["label", "Gardener"],
            ["description", "waters the plants"],
            ["color", "green"],
            ["order", "3"]
        ])
    );
    // Who has power here is not told.
    let list = house.told(&[13_534]).pop().expect("a list");
    assert_eq!(list["tags"], json!([["-"], ["member", house.member.hex(), "gardener"]]));
    house.relay.call_ok(&house.owner, "deleterole", json!(["gardener"]));
    assert!(house.told(&[33_534]).is_empty());
    let list = house.told(&[13_534]).pop().expect("a list");
    assert_eq!(list["tags"], json!([["-"], ["member", house.member.hex()]]));
}

#[test]
fn the_list_is_as_the_settings_have_it_after_a_start() {
    let mut house = House::new();
    let code = house.code(&house.member);
    house.join(&house.stranger, &code);
    let before = house.told(&[13_534, 8_000]);
    house.relay.restart();
    assert_eq!(house.told(&[13_534, 8_000]), before, "nothing is said anew that is so");
    house
        .relay
        .reconfigure(&format!("[authors]\nmembers = [\"{}\"]\n[nip43]\nenabled = true\n", house.owner.hex()));
    assert_eq!(house.members(), sorted(&[&house.owner, &house.stranger]));
    house.relay.reconfigure("[nip43]\nenabled = true\npublish_members = false\n");
    assert!(house.told(&[13_534]).is_empty());
}

#[test]
fn where_it_is_off_these_kinds_mean_nothing() {
    let relay = TestRelay::start();
    let person = Person::new(1);
    let join = request(&person, 28_934, &[&["claim", "x"]]);
    assert_eq!(relay.connect_as(&[&person]).publish(&join), (true, String::new()));
    assert_eq!(relay.connect().ids(json!({"kinds": [28_935]})), [""; 0]);
}

#[test]
fn who_manages_makes_lists_and_takes_away_codes() {
    let house = House::new();
    let made = house.relay.call_ok(&house.owner, "createclaim", json!([2, 60]));
    let code = made["code"].as_str().expect("a code");
    assert_eq!((&made["left"], &made["until"]), (&json!(2), &json!(NOW + 60)));
    assert_eq!(house.relay.call_ok(&house.owner, "listclaims", json!([]))[0]["code"], json!(code));
    assert_eq!(house.join(&house.stranger, code), (true, WELCOME.to_owned()));
    let members = house.relay.call_ok(&house.owner, "listmembers", json!([]));
    let listed: Vec<bool> =
        members.as_array().expect("a list").iter().map(|one| one["in_settings"] == json!(true)).collect();
    assert_eq!(listed.iter().filter(|is| **is).count(), 1);
    assert_eq!(listed.len(), 2);
    house.relay.call_ok(&house.owner, "deleteclaim", json!([code]));
    assert!(!house.join(&Person::new(10), code).0);
    // Where nobody joins so, these mean nothing, and nobody is told of them.
    let without = TestRelay::configured(&format!("[admin]\nowners = [\"{}\"]\n", house.owner.hex()));
    let methods = without.call_ok(&house.owner, "supportedmethods", json!([]));
    assert!(!methods.as_array().expect("a list").contains(&json!("createclaim")));
    let (_, why) = without.call_refused(&house.owner, "createclaim", json!([]));
    assert_eq!(why, "nobody joins with codes here: nip43.enabled is off");
}
