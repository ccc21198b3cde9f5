//! NIP-86, the management API (nips/86.md).

use serde_json::{Value, json};

use crate::common::http::http;
use crate::common::{NOW, Person, TestRelay, ids_of};
use plaza::event::Event;

/// People by what they may do.
fn owner() -> Person {
    Person::new(1)
}

fn admin() -> Person {
    Person::new(2)
}

fn moderator() -> Person {
    Person::new(3)
}

fn settings(more: &str) -> String {
    format!("{more}\n[admin]\nowners = [\"{}\"]", owner().hex())
}

/// A relay with an owner, an admin and a moderator.
fn staffed(more: &str) -> TestRelay {
    let relay = TestRelay::configured(&settings(more));
    relay.call_ok(&owner(), "assignrole", json!([admin().hex(), "admin"]));
    relay.call_ok(&admin(), "assignrole", json!([moderator().hex(), "moderator"]));
    relay
}

fn sees(relay: &TestRelay, event: &Event) -> bool {
    relay.connect().ids(json!({"ids": [event.id.to_string()]})) == ids_of(&[event])
}

/// What each bans and lifts: the call that bans, the one that lifts, what refuses meanwhile.
#[test]
fn a_ban_refuses_and_hides_until_it_is_lifted_restarts_included() {
    let author = Person::new(10);
    let note = author.note("hello");
    let by_author = "blocked: the moderators have banned this author (admin.banned)";
    let by_event = "blocked: the moderators have removed this event (admin.banned)";
    let table = [
        ("banpubkey", "unbanpubkey", author.hex(), by_author),
        ("banevent", "unbanevent", note.id.to_string(), by_event),
    ];
    for (ban, lift, whom, refusal) in table {
        let mut relay = staffed("");
        relay.connect().publish_ok(&note);
        let mut listener = relay.connect();
        listener.request("live", &[json!({"authors": [author.hex()]})]);
        assert_eq!(relay.call_ok(&moderator(), ban, json!([whom, "spam"])), json!(true));
        for _ in 0..2 {
            assert!(!sees(&relay, &note), "{ban}");
            assert_eq!(relay.connect().count(&[json!({"kinds": [1]})]), 0, "{ban}");
            assert_eq!(relay.connect().publish_refused(&note), refusal);
            relay.restart();
        }
        relay.call_ok(&moderator(), lift, json!([whom]));
        assert!(sees(&relay, &note), "{lift}");
        let (accepted, said) = relay.connect().publish(&note);
        assert!(accepted && said.starts_with("duplicate:"), "{said}");
    }
}

#[test]
fn a_ban_reaches_live_subscriptions_and_open_connections() {
    let relay = staffed("");
    let author = Person::new(10);
    let mut listener = relay.connect();
    listener.request("live", &[json!({"kinds": [1]})]);
    let mut theirs = relay.connect_as(&[&author]);
    theirs.publish_ok(&author.note("before"));
    assert_eq!(listener.receive()[2]["content"], "before");
    relay.call_ok(&moderator(), "banpubkey", json!([author.hex()]));
    assert!(!theirs.publish(&author.note("after")).0);
    relay.call_ok(&moderator(), "unbanpubkey", json!([author.hex()]));
    relay.connect().publish_ok(&author.note("again"));
    assert_eq!(listener.receive()[2]["content"], "again");
}

#[test]
fn who_is_allowed_is_a_member_and_listed() {
    let denied = Person::new(11).hex();
    let relay = staffed(&format!(
        "[access]\nread = \"members\"\nwrite = \"members\"\n[authors]\ndenied = [\"{denied}\"]"
    ));
    let newcomer = Person::new(10);
    let refusal = "restricted: only members write here (access.write)";
    let mut client = relay.connect_as(&[&newcomer]);
    assert_eq!(client.publish_refused(&newcomer.note("a")), refusal);
    relay.call_ok(&moderator(), "allowpubkey", json!([newcomer.hex(), "a neighbour"]));
    client.publish_ok(&newcomer.note("b"));
    client.request("live", &[json!({"kinds": [1]})]);
    assert_eq!(
        relay.call_ok(&moderator(), "listallowedpubkeys", json!([])),
        json!([{"pubkey": newcomer.hex(), "reason": "a neighbour", "by": moderator().hex(), "at": NOW}])
    );
    // Even who the settings deny.
    relay.call_ok(&moderator(), "allowpubkey", json!([denied]));
    relay.connect_as(&[&Person::new(11)]).publish_ok(&Person::new(11).note("c"));
    assert_eq!(client.receive()[2]["content"], "c");
    // Membership ends with the subscriptions that rest on it.
    relay.call_ok(&moderator(), "unallowpubkey", json!([newcomer.hex()]));
    let ended = "restricted: only members read here (access.read)";
    assert_eq!(client.receive(), json!(["CLOSED", "live", ended]));
    assert_eq!(client.closed("REQ", &[json!({"kinds": [1]})]), ended);
    assert_eq!(client.publish_refused(&newcomer.note("d")), refusal);
}

#[test]
fn to_ban_is_to_allow_no_more_and_the_other_way_round() {
    let relay = staffed("");
    let author = Person::new(10).hex();
    let id = Person::new(10).note("x").id.to_string();
    let lists = || {
        let names = ["listbannedpubkeys", "listallowedpubkeys", "listbannedevents", "listallowedevents"];
        names.map(|name| relay.call_ok(&moderator(), name, json!([])).as_array().map_or(9, Vec::len))
    };
    let table = [
        ("banpubkey", &author, [1, 0, 0, 0]),
        ("allowpubkey", &author, [0, 1, 0, 0]),
        // Neither takes back what it is not about.
        ("unbanpubkey", &author, [0, 1, 0, 0]),
        ("banpubkey", &author, [1, 0, 0, 0]),
        ("unallowpubkey", &author, [1, 0, 0, 0]),
        ("unbanpubkey", &author, [0, 0, 0, 0]),
        ("allowevent", &id, [0, 0, 0, 1]),
        ("banevent", &id, [0, 0, 1, 0]),
        ("unallowevent", &id, [0, 0, 1, 0]),
        ("allowevent", &id, [0, 0, 0, 1]),
        ("unbanevent", &id, [0, 0, 0, 1]),
        ("unallowevent", &id, [0, 0, 0, 0]),
    ];
    for (method, whom, wanted) in table {
        assert_eq!(relay.call_ok(&moderator(), method, json!([whom])), json!(true));
        assert_eq!(lists(), wanted, "{method}");
    }
}

#[test]
fn kinds_are_allowed_and_ruled_out() {
    let mut relay = staffed("[kinds]\nallowed = [0, 1]\ndenied = [4]");
    let author = Person::new(10);
    let post = |kind: u16| relay.connect().publish(&author.event(kind, NOW, &[], ""));
    let [elsewhere, denied, ruled_out] = [
        "blocked: events of kind 30023 are not taken here, only of kinds 0, 1 (kinds.allowed)",
        "blocked: events of kind 4 are not taken here (kinds.denied)",
        "blocked: the moderators take no events of kind 1 here (admin.kinds)",
    ];
    assert_eq!([post(30_023).1, post(4).1], [elsewhere, denied]);
    for kind in [30_023, 4] {
        relay.call_ok(&admin(), "allowkind", json!([kind]));
        assert_eq!(post(kind), (true, String::new()), "{kind}");
    }
    relay.call_ok(&admin(), "disallowkind", json!([1]));
    assert_eq!(post(1).1, ruled_out);
    assert_eq!(relay.call_ok(&admin(), "listallowedkinds", json!([])), json!([4, 30_023]));
    assert_eq!(relay.call_ok(&admin(), "listdisallowedkinds", json!([])), json!([1]));
    // What is taken back is left to the settings again, restarts included.
    for kind in [30_023, 4, 1] {
        relay.call_ok(&admin(), "resetkind", json!([kind]));
    }
    relay.restart();
    let post = |kind: u16| relay.connect().publish(&author.event(kind, NOW + 1, &[], ""));
    assert_eq!([post(30_023).1, post(4).1], [elsewhere, denied]);
    assert_eq!(post(1), (true, String::new()));
    for list in ["listallowedkinds", "listdisallowedkinds"] {
        assert_eq!(relay.call_ok(&admin(), list, json!([])), json!([]), "{list}");
    }
}

#[test]
fn addresses_are_blocked_at_once() {
    let relay = staffed("");
    let mut client = relay.connect();
    relay.call_ok(&admin(), "blockip", json!(["127.0.0.0/8", "floods"]));
    while client.try_receive().is_ok() {}
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    assert_eq!(http(&relay, "GET", "/", &upgrade, "").status, 403);
    assert_eq!(
        relay.call_ok(&admin(), "listblockedips", json!([])),
        json!([{"ip": "127.0.0.0/8", "reason": "floods", "by": admin().hex(), "at": NOW}])
    );
    relay.call_ok(&admin(), "unblockip", json!(["127.0.0.0/8"]));
    relay.connect().publish_ok(&Person::new(10).note("back"));
}

#[test]
fn name_description_and_icon_change_and_change_back() {
    let mut relay = staffed("[relay]\nname = \"Town\"\ndescription = \"Ours\"");
    let document = |relay: &TestRelay| {
        let document = http(relay, "GET", "/", &[("Accept", "application/nostr+json")], "").json();
        ["name", "description", "icon"].map(|key| document[key].as_str().unwrap_or("").to_owned())
    };
    let calls = [
        ("changerelayname", "Village"),
        ("changerelaydescription", "All of ours"),
        ("changerelayicon", "https://town.example/icon.png"),
    ];
    for (method, text) in calls {
        relay.call_ok(&admin(), method, json!([text]));
    }
    for _ in 0..2 {
        assert_eq!(document(&relay), calls.map(|(_, text)| text));
        relay.restart();
    }
    for (method, _) in calls {
        relay.call_ok(&admin(), method, json!([""]));
    }
    assert_eq!(document(&relay), ["Town", "Ours", ""]);
    let (status, why) = relay.call_refused(&admin(), "changerelayicon", json!(["javascript:alert(1)"]));
    assert_eq!((status, &*why), (200, "an icon is an address that begins with https:// or http://"));
}

#[test]
fn everybody_may_do_what_their_rank_allows() {
    let relay = staffed("");
    let names = |who: &Person| -> Vec<String> {
        let names = relay.call_ok(who, "supportedmethods", json!([]));
        serde_json::from_value(names).expect("names")
    };
    let [owners, admins, moderators] = [owner(), admin(), moderator()].map(|who| names(&who));
    for method in ["assignmethod", "unassignmethod"] {
        assert!(owners.iter().any(|name| name == method), "{method}");
        assert!(!admins.iter().any(|name| name == method), "{method}");
    }
    for method in ["blockip", "changerelayname", "assignrole", "allowkind", "listauditlog"] {
        assert!(admins.iter().any(|name| name == method), "{method}");
        assert!(!moderators.iter().any(|name| name == method), "{method}");
        let (status, why) = relay.call_refused(&moderator(), method, params_for(method));
        let sentence = "your role does not allow this method; supportedmethods lists yours";
        assert_eq!((status, &*why), (403, sentence), "{method}");
    }
    let stranger = Person::new(10);
    for method in ["supportedmethods", "banpubkey", "stats", "listauditlog"] {
        let (status, why) = relay.call_refused(&stranger, method, params_for(method));
        assert_eq!((status, &*why), (403, "this key manages nothing here"), "{method}");
    }
    // One method can be given to anybody, and taken back.
    let given = relay.call_ok(&owner(), "assignmethod", json!([stranger.hex(), "banevent"]));
    assert_eq!(given, json!([true, ""]));
    assert_eq!(
        relay.call_ok(&admin(), "listmethodassignees", json!([])),
        json!([{"pubkey": stranger.hex(), "methods": ["banevent"]}])
    );
    assert_eq!(names(&stranger), ["supportedmethods", "banevent", "login", "logout"]);
    relay.call_ok(&stranger, "banevent", json!(["0".repeat(64)]));
    assert_eq!(relay.call_refused(&stranger, "banpubkey", json!([owner().hex()])).0, 403);
    relay.call_ok(&owner(), "unassignmethod", json!([stranger.hex(), "banevent"]));
    assert_eq!(relay.call_refused(&stranger, "banevent", json!(["0".repeat(64)])).0, 403);
}

fn params_for(method: &str) -> Value {
    match method {
        "blockip" => json!(["192.0.2.1"]),
        "assignrole" => json!([Person::new(20).hex(), "moderator"]),
        "banpubkey" => json!([Person::new(20).hex()]),
        "allowkind" => json!([1]),
        "changerelayname" => json!(["x"]),
        _ => json!([]),
    }
}

#[test]
fn nobody_decides_about_those_above_them_or_about_themselves() {
    let relay = staffed("");
    let [own, others, role] = [
        "nobody decides about themselves",
        "this person manages here as much as you do, or more",
        "only owners give and take the role admin",
    ];
    let table = [
        (moderator(), "banpubkey", json!([moderator().hex()]), own),
        (moderator(), "banpubkey", json!([admin().hex()]), others),
        (moderator(), "banpubkey", json!([owner().hex()]), others),
        (admin(), "banpubkey", json!([owner().hex()]), others),
        (admin(), "assignrole", json!([Person::new(20).hex(), "admin"]), role),
        (admin(), "unassignrole", json!([admin().hex(), "admin"]), role),
        (owner(), "banpubkey", json!([owner().hex()]), own),
        (
            owner(),
            "assignrole",
            json!([Person::new(20).hex(), "owner"]),
            "owners are named in the settings: admin.owners",
        ),
        (
            owner(),
            "assignrole",
            json!([Person::new(20).hex(), "baker"]),
            "there is no role baker; createrole makes one",
        ),
    ];
    for (who, method, params, wanted) in table {
        let (status, why) = relay.call_refused(&who, method, params.clone());
        assert!(why == wanted && (status == 403 || status == 200), "{method} {params}: {status} {why}");
    }
    // Who is banned manages nothing, also afterwards.
    relay.call_ok(&admin(), "banpubkey", json!([moderator().hex()]));
    assert_eq!(relay.call_refused(&moderator(), "stats", json!([])).0, 403);
    relay.call_ok(&admin(), "unbanpubkey", json!([moderator().hex()]));
    assert_eq!(relay.call_refused(&moderator(), "stats", json!([])).0, 403);
}

#[test]
fn roles_are_made_changed_given_and_taken() {
    let relay = staffed("");
    let baker = Person::new(10).hex();
    relay.call_ok(&admin(), "createrole", json!(["baker", "Baker", "bakes", "#fa0", 2]));
    assert_eq!(
        relay.call_refused(&admin(), "createrole", json!(["baker"])).1,
        "there is a role baker already"
    );
    assert_eq!(
        relay.call_refused(&admin(), "createrole", json!(["admin"])).1,
        "there is a role admin already"
    );
    relay.call_ok(&admin(), "editrole", json!(["baker", "Master baker", "", "", 1]));
    assert_eq!(
        relay.call_ok(&moderator(), "listroles", json!([])),
        json!({"baker": {"label": "Master baker", "description": "", "color": "", "order": 1}})
    );
    relay.call_ok(&admin(), "assignrole", json!([baker, "baker"]));
    let staff = || relay.call_ok(&moderator(), "liststaff", json!([]));
    let of = |key: &str, rank: &str, roles: &[&str]| json!({"pubkey": key, "rank": rank, "roles": roles, "methods": []});
    let [boss, second, third] = [owner(), admin(), moderator()].map(|who| who.hex());
    let mut wanted = vec![
        of(&boss, "owner", &[]),
        of(&second, "admin", &["admin"]),
        of(&third, "moderator", &["moderator"]),
        of(&baker, "nobody", &["baker"]),
    ];
    assert_eq!(staff(), json!(wanted));
    relay.call_ok(&admin(), "deleterole", json!(["baker"]));
    wanted.pop();
    assert_eq!(staff(), json!(wanted));
}

#[test]
fn the_queue_holds_what_is_reported_and_undecided() {
    let relay = staffed("[reports]\nevent_threshold = 2\nby_members = true");
    let [author, ann, bob] = [10, 11, 12].map(Person::new);
    let notes: Vec<Event> = (0..3).map(|number| author.note(&format!("note {number}"))).collect();
    notes.iter().for_each(|note| relay.connect().publish_ok(note));
    let report = |by: &Person, at: u64, tags: &[&[&str]], text: &str| {
        relay.connect().publish_ok(&by.event(1_984, at, tags, text));
    };
    let hex = author.hex();
    let id = |note: usize| notes[note].id.to_string();
    report(&ann, NOW, &[&["e", &id(0), "spam"], &["p", &hex]], "buy this");
    report(&bob, NOW + 1, &[&["e", &id(0), "illegal"], &["p", &hex]], "");
    report(&bob, NOW + 2, &[&["e", &id(1), "nudity"], &["p", &hex]], "");
    report(&ann, NOW + 3, &[&["p", &hex, "impersonation"]], "not them");
    // What is not here needs no decision.
    report(&ann, NOW + 4, &[&["e", &"a".repeat(64), "spam"]], "");
    let ids = || {
        let events = relay.call_ok(&moderator(), "listeventsneedingmoderation", json!([]));
        let events = events.as_array().expect("a list").clone();
        events
            .iter()
            .map(|event| {
                (
                    event["id"].as_str().unwrap_or("").to_owned(),
                    event["reason"].as_str().unwrap_or("").to_owned(),
                )
            })
            .collect::<Vec<_>>()
    };
    let first = (id(0), "illegal, spam, say 2 people".to_owned());
    let second = (id(1), "nudity, says one person".to_owned());
    assert_eq!(ids(), [second.clone(), first.clone()]);
    let queue = relay.call_ok(&moderator(), "listmoderationqueue", json!([]));
    assert_eq!(queue.as_array().map(Vec::len), Some(3));
    assert_eq!((&queue[0]["id"], &queue[0]["pubkey"]), (&json!(null), &json!(hex)));
    assert_eq!(queue[2]["event"]["content"], "note 0");
    assert_eq!(
        queue[2]["reports"][1],
        json!({"by": ann.hex(), "at": NOW, "type": "spam", "text": "buy this"})
    );
    relay.call_ok(&moderator(), "allowevent", json!([id(0)]));
    assert_eq!(ids(), [second]);
    relay.call_ok(&moderator(), "banevent", json!([id(1)]));
    assert_eq!(ids(), []);
    relay.call_ok(&moderator(), "unallowevent", json!([id(0)]));
    assert_eq!(ids(), [first]);
    // Who is banned takes all of theirs along.
    relay.call_ok(&moderator(), "banpubkey", json!([hex]));
    assert_eq!(relay.call_ok(&moderator(), "listmoderationqueue", json!([])), json!([]));
}

/// Reports about a person are put aside, until others come; what they hid is shown again.
#[test]
fn reports_about_a_person_are_put_aside() {
    let mut relay = staffed(
        "[reports]\nauthor_threshold = 1\nby_members = true\n[authors]\nmembers = [\"{}\"]"
            .replace("{}", &Person::new(11).hex())
            .as_str(),
    );
    let [author, member] = [10, 11].map(Person::new);
    let note = author.note("hello");
    relay.connect().publish_ok(&note);
    let hex = author.hex();
    let report = |relay: &TestRelay, at: u64| {
        let event = member.event(1_984, at, &[&["p", &hex, "spam"]], "");
        relay.connect().publish_ok(&event);
    };
    let queue = |relay: &TestRelay| {
        let queue = relay.call_ok(&moderator(), "listmoderationqueue", json!([]));
        queue.as_array().map_or(9, Vec::len)
    };
    let state = |relay: &TestRelay| {
        relay.relay().learn_now();
        (queue(relay), sees(relay, &note))
    };
    assert_eq!(state(&relay), (0, true));
    report(&relay, NOW);
    assert_eq!(state(&relay), (1, false));
    relay.call_ok(&moderator(), "dismissreports", json!([hex, "a quarrel"]));
    assert_eq!(state(&relay), (0, true));
    relay.restart();
    assert_eq!(state(&relay), (0, true));
    assert_eq!(
        relay.call_ok(&moderator(), "listdismissedreports", json!([])),
        json!([{"pubkey": hex, "reason": "a quarrel", "by": moderator().hex(), "at": NOW}])
    );
    // It says nothing of what is reported later, whatever time that states.
    report(&relay, NOW - 100);
    assert_eq!(state(&relay), (1, false));
    relay.call_ok(&moderator(), "dismissreports", json!([hex]));
    assert_eq!(state(&relay), (0, true));
    relay.call_ok(&moderator(), "undismissreports", json!([hex]));
    assert_eq!(state(&relay), (1, false));
    assert_eq!(relay.call_ok(&moderator(), "listdismissedreports", json!([])), json!([]));
    let done = relay.call_ok(&owner(), "listauditlog", json!([3]));
    let methods: Vec<&str> =
        done.as_array().expect("a list").iter().filter_map(|entry| entry["method"].as_str()).collect();
    assert_eq!(methods, ["undismissreports", "dismissreports", "dismissreports"]);
}

/// One of the settings as the API lists them.
fn setting(relay: &TestRelay, path: &str, key: &str) -> Value {
    let (_, listed) = relay.call_at(path, &owner(), "listsettings", json!([]));
    let rows = listed["result"]["settings"].as_array().expect("a list").clone();
    rows.into_iter().find(|row| row["key"] == key).unwrap_or(Value::Null)
}

#[test]
fn settings_change_at_once_last_and_can_be_taken_back() {
    let mut relay = staffed("[kinds]\ndenied = [4]\n[limits]\nlimit_max = 900");
    let author = Person::new(10);
    let note = |relay: &TestRelay, text: &str| relay.connect().publish(&author.note(text)).1;
    assert_eq!(note(&relay, "before"), "");
    let wanted = json!({"access.write": "members", "kinds.denied": [4, "7-8"], "nip13.difficulty_min": 0});
    relay.call_ok(&admin(), "changesettings", json!([wanted]));
    let [members, denied] = [
        "restricted: only members write here (access.write)",
        "blocked: events of kind 7 are not taken here (kinds.denied)",
    ];
    for _ in 0..2 {
        assert_eq!(note(&relay, "during"), members);
        let document = http(&relay, "GET", "/", &[("Accept", "application/nostr+json")], "").json();
        assert_eq!(document["limitation"]["restricted_writes"], true);
        let rules = http(&relay, "GET", "/?rules", &[("Accept", "application/json")], "").json();
        let ids: Vec<&str> =
            rules.as_array().expect("a list").iter().filter_map(|rule| rule["id"].as_str()).collect();
        assert!(ids.contains(&"access.write"), "{ids:?}");
        let explained = relay.call_ok(&moderator(), "explain", json!([{"kind": 7}]));
        let steps = explained["steps"].as_array().expect("steps");
        let objections: Vec<&str> = steps
            .iter()
            .filter(|step| step["verdict"] == "refused")
            .filter_map(|step| step["said"].as_str())
            .collect();
        assert_eq!(objections, [members, denied]);
        let row = setting(&relay, "/", "access.write");
        assert_eq!(
            (&row["value"], &row["from"], &row["by"], &row["at"]),
            (&json!("members"), &json!("page"), &json!(admin().hex()), &json!(NOW))
        );
        assert_eq!(row["in_file"], json!({"value": "all", "from": "default"}));
        relay.restart();
    }
    let rows = [("limits.limit_max", "file"), ("limits.limit_default", "default"), ("kinds.denied", "page")];
    for (key, from) in rows {
        assert_eq!(setting(&relay, "/", key)["from"], from, "{key}");
    }
    assert_eq!(setting(&relay, "/", "kinds.denied")["in_file"], json!({"value": [4], "from": "file"}));
    // One by one.
    relay.call_ok(&admin(), "changesettings", json!([{"access.write": null}]));
    assert_eq!(note(&relay, "after"), "");
    assert_eq!(setting(&relay, "/", "access.write")["from"], "default");
    assert_eq!(setting(&relay, "/", "kinds.denied")["from"], "page");
    relay.call_ok(&owner(), "changesettings", json!([{"kinds.denied": null, "nip13.difficulty_min": null}]));
    relay.restart();
    assert_eq!(setting(&relay, "/", "kinds.denied")["value"], json!([4]));
    let log = relay.call_ok(&owner(), "listauditlog", json!([3]));
    assert_eq!(
        log[1],
        json!({
            "number": 3, "at": NOW, "by": admin().hex(), "method": "changesettings",
            "about": {"settings": {"access.write": {"from": "members", "to": null}}},
        })
    );
    assert_eq!(log[2]["about"]["settings"]["kinds.denied"], json!({"from": [4], "to": [4, "7-8"]}));
}

#[test]
fn who_is_connected_stays_and_what_may_be_read_no_more_ends() {
    let relay = staffed("");
    let mut client = relay.connect();
    client.request("live", &[json!({"kinds": [1]})]);
    relay.call_ok(&admin(), "changesettings", json!([{"access.read": "authenticated"}]));
    let ended = "auth-required: log in to read here (access.read)";
    assert_eq!(client.receive(), json!(["CLOSED", "live", ended]));
    relay.call_ok(&admin(), "changesettings", json!([{"access.read": null}]));
    client.request("live", &[json!({"kinds": [1]})]);
}

#[test]
fn a_setting_that_is_wrong_names_key_and_remedy_and_changes_nothing() {
    let relay = staffed("[[community]]\npath = \"/market\"\npreset = \"marketplace\"");
    let table = [
        (
            "/",
            json!([{"access.write": "friends", "access.read": "members"}]),
            "access.write: must be \"all\", \"authenticated\", \"members\" or \"none\", but is \"friends\"; \
             write for example write = \"all\"",
        ),
        (
            "/",
            json!([{"limits.limit_max": 0}]),
            "limits.limit_max: must be a whole number from 1 to 1_000_000, but is 0; raise it",
        ),
        (
            "/",
            json!([{"limits.limit_max": 10}]),
            "limits.limit_max: must be at least limits.limit_default (500), but is 10; raise it or lower limit_default",
        ),
        (
            "/market",
            json!([{"rate.enabled": false}]),
            "rate.enabled: holds for all communities together; change it at the root community",
        ),
        (
            "/",
            json!([{"store.path": "/tmp"}]),
            "store.path: is no setting that is changed here; listsettings lists those",
        ),
        (
            "/",
            json!([{"access.wirte": null}]),
            "access.wirte: is no setting that is changed here; listsettings lists those",
        ),
    ];
    for (path, params, wanted) in table {
        let (status, answer) = relay.call_at(path, &owner(), "changesettings", params.clone());
        assert_eq!((status, answer["error"].as_str()), (200, Some(wanted)), "{params}");
    }
    for (key, path) in [("access.read", "/"), ("limits.limit_max", "/"), ("access.write", "/")] {
        assert_eq!(setting(&relay, path, key)["from"], "default", "{key}");
    }
    assert_eq!(setting(&relay, "/market", "kinds.allowed")["from"], "preset");
    assert_eq!(setting(&relay, "/market", "rate.enabled"), Value::Null, "all communities' is the root's");
    let nothing = "params: an object of settings and their new values, such as {\"access.write\": \"members\"}; \
                   null takes back";
    for params in [json!([]), json!([{}]), json!(["access.write", "members"])] {
        assert_eq!(relay.call_refused(&owner(), "changesettings", params), (400, nothing.to_owned()));
    }
    // Only owners and admins.
    let sentence = "your role does not allow this method; supportedmethods lists yours";
    for method in ["changesettings", "listsettings"] {
        let refused = relay.call_refused(&moderator(), method, json!([{"access.write": "none"}]));
        assert_eq!(refused, (403, sentence.to_owned()), "{method}");
    }
}

#[test]
fn each_community_has_settings_of_its_own_and_rates_are_everybodys() {
    let relay = staffed("[[community]]\npath = \"/market\"");
    let author = Person::new(10);
    let (status, _) = relay.call_at("/market", &owner(), "changesettings", json!([{"access.write": "none"}]));
    assert_eq!(status, 200);
    relay.connect().publish_ok(&author.note("a"));
    assert!(!relay.connect_at("/market").publish(&author.note("a")).0);
    relay.call_ok(
        &owner(),
        "changesettings",
        json!([{
            "rate.enabled": true, "rate.author_events_per_minute": 1, "rate.author_events_burst": 2,
        }]),
    );
    let other = Person::new(12);
    let answers: Vec<bool> =
        (0..3).map(|number| relay.connect().publish(&other.note(&format!("{number}"))).0).collect();
    assert_eq!(answers, [true, true, false]);
}

/// The file changes under what was changed: what does not go with it is told and left aside, and comes back with it.
#[test]
fn what_does_not_go_with_the_file_any_more_is_left_aside() {
    let relay = staffed("");
    relay.call_ok(
        &owner(),
        "changesettings",
        json!([{"limits.limit_default": 4_000, "access.read": "members"}]),
    );
    let reload = |more: &str| {
        let text = settings(more);
        let parsed =
            plaza::config::Config::parse(&text, std::path::Path::new("relay.toml")).expect("settings");
        let mut config = plaza::config::Config::clone(&relay.relay().config());
        (config.root, config.written) = (parsed.root, parsed.written);
        relay.relay().reconfigure(config).expect("they are taken");
    };
    let listed = || relay.call_ok(&owner(), "listsettings", json!([]));
    reload("[limits]\nlimit_max = 1_000");
    assert_eq!(setting(&relay, "/", "limits.limit_default")["value"], 500);
    assert_eq!(setting(&relay, "/", "access.read")["from"], "page");
    assert_eq!(
        listed()["left_aside"],
        json!([{
            "keys": ["limits.limit_default"],
            "why": "limits.limit_default: must be at most limits.limit_max (1_000), but is 4_000; \
                    lower it or raise limit_max",
        }])
    );
    // It is in nobody's way.
    relay.call_ok(&owner(), "changesettings", json!([{"nip13.difficulty_min": 1}]));
    reload("");
    assert_eq!(setting(&relay, "/", "limits.limit_default")["value"], 4_000);
    assert_eq!(listed()["left_aside"], json!([]));
}

#[test]
fn what_was_done_is_on_record() {
    let mut relay = staffed("");
    let [author, id] = [Person::new(10).hex(), "b".repeat(64)];
    relay.clock.set(NOW + 5);
    relay.call_ok(&moderator(), "banpubkey", json!([author, "spam"]));
    relay.call_ok(&moderator(), "allowevent", json!([id]));
    // What only answers, or fails, is not.
    relay.call_ok(&moderator(), "listbannedpubkeys", json!([]));
    relay.call_refused(&moderator(), "blockip", json!(["192.0.2.1"]));
    relay.restart();
    relay.call_ok(&admin(), "changerelayname", json!(["Village"]));
    let log = relay.call_ok(&owner(), "listauditlog", json!([]));
    let entry = |number: u64, at: u64, by: &Person, method: &str, about: Value| json!({"number": number, "at": at, "by": by.hex(), "method": method, "about": about});
    let wanted = json!([
        entry(4, NOW + 5, &admin(), "changerelayname", json!({"text": "Village"})),
        entry(3, NOW + 5, &moderator(), "allowevent", json!({"id": id, "reason": ""})),
        entry(2, NOW + 5, &moderator(), "banpubkey", json!({"pubkey": author, "reason": "spam"})),
        entry(1, NOW, &admin(), "assignrole", json!({"pubkey": moderator().hex(), "role": "moderator"})),
        entry(0, NOW, &owner(), "assignrole", json!({"pubkey": admin().hex(), "role": "admin"})),
    ]);
    assert_eq!(log, wanted);
    assert_eq!(relay.call_ok(&owner(), "listauditlog", json!([2, 3])), json!([wanted[2], wanted[3]]));
}

#[test]
fn communities_are_managed_each_for_itself() {
    let [mayor, grocer, author] = [owner(), Person::new(5), Person::new(10)];
    let relay = TestRelay::configured(&format!(
        "{}\n[[community]]\npath = \"/market\"\n[community.admin]\nowners = [\"{}\"]",
        settings(""),
        grocer.hex()
    ));
    let ban = || json!([author.hex()]);
    // Owners of one are nobody at the root; the root's own everything.
    assert_eq!(relay.call_at("/", &grocer, "banpubkey", ban()).0, 403);
    assert_eq!(relay.call_at("/market", &grocer, "banpubkey", ban()).0, 200);
    assert!(!relay.connect_at("/market").publish(&author.note("a")).0);
    assert!(relay.connect().publish(&author.note("a")).0);
    assert_eq!(relay.call_at("/market", &mayor, "unbanpubkey", ban()).0, 200);
    assert!(relay.connect_at("/market").publish(&author.note("a")).0);
    let media = ("Content-Type", "application/nostr+json+rpc");
    assert_eq!(http(&relay, "POST", "/nowhere", &[media], "{}").status, 404);
}

#[test]
fn what_is_no_call_is_told_why() {
    let relay = staffed("");
    let table = [
        (
            "banpubkey",
            json!([]),
            400,
            "params: a public key in 64 lower-case hexadecimal digits, or as npub1…",
        ),
        (
            "banpubkey",
            json!(["xyz"]),
            400,
            "params: a public key in 64 lower-case hexadecimal digits, or as npub1…",
        ),
        (
            "banevent",
            json!(["0".repeat(63)]),
            400,
            "params: an event's id in 64 lower-case hexadecimal digits",
        ),
        ("allowkind", json!([65_536]), 400, "params: a kind is a whole number from 0 to 65535"),
        ("blockip", json!(["localhost"]), 400, "params: an IP address, or a network such as 192.0.2.0/24"),
        (
            "changerelayname",
            json!(["x".repeat(201)]),
            400,
            "params: a text is too long, or has control characters in it",
        ),
        (
            "setname",
            json!(["Ann", "0".repeat(64)]),
            400,
            "params: a local name: up to 64 of a to z, 0 to 9, - _ and .",
        ),
        (
            "dance",
            json!([]),
            400,
            "there is no method \"dance\"; supportedmethods lists those that there are",
        ),
        ("stats", json!({}), 400, "params is a list"),
    ];
    for (method, params, status, wanted) in table {
        assert_eq!(relay.call_refused(&owner(), method, params), (status, wanted.to_owned()), "{method}");
    }
    let media = ("Content-Type", "application/nostr+json+rpc; charset=utf-8");
    assert_eq!(http(&relay, "POST", "/", &[media], "{}").status, 401);
    assert_eq!(http(&relay, "POST", "/", &[], "{}").status, 405);
    assert_eq!(http(&relay, "POST", "/", &[media], &"x".repeat(300_000)).status, 413);
}

#[test]
fn an_event_is_explained_as_it_would_be_answered() {
    let relay = staffed("[kinds]\ndenied = [4]");
    let refused = relay.call_ok(&moderator(), "explain", json!([{"kind": 4, "content": "draft"}]));
    assert_eq!(refused["accepted"], false);
    assert_eq!(refused["refusal"], "blocked: events of kind 4 are not taken here (kinds.denied)");
    let taken = relay.call_ok(&moderator(), "explain", json!([{"kind": 1}]));
    assert_eq!((&taken["accepted"], &taken["refusal"]), (&json!(true), &json!(null)));
    let steps = taken["steps"].as_array().expect("steps");
    assert!(steps.iter().any(|step| step["rule"] == "admin.banned" && step["verdict"] == "passed"));
}
