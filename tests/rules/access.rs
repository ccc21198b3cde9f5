//! `[kinds]`, `[authors]`, `[tags]` and `[access]`: who may write and read, and what.

use plaza::config::{Read, Write};
use serde_json::json;

use crate::common::{NOW, Person, TestRelay};

#[test]
fn kinds_are_taken_as_the_lists_say() {
    let relay = TestRelay::configured("[kinds]\nallowed = [1, 7, \"30000-30010\"]\ndenied = [7, 30005]");
    let mut client = relay.connect();
    let person = Person::new(1);
    let allowed = "only of kinds 1, 7, 30000-30010 (kinds.allowed)";
    let table = [
        (0, Some(format!("blocked: events of kind 0 are not taken here, {allowed}"))),
        (1, None),
        (2, Some(format!("blocked: events of kind 2 are not taken here, {allowed}"))),
        (7, Some("blocked: events of kind 7 are not taken here (kinds.denied)".to_owned())),
        (29_999, Some(format!("blocked: events of kind 29999 are not taken here, {allowed}"))),
        (30_000, None),
        (30_005, Some("blocked: events of kind 30005 are not taken here (kinds.denied)".to_owned())),
        (30_010, None),
        (30_011, Some(format!("blocked: events of kind 30011 are not taken here, {allowed}"))),
    ];
    for (kind, refusal) in table {
        let event = person.event(kind, NOW, &[], "");
        let expected = (refusal.is_none(), refusal.unwrap_or_default());
        assert_eq!(client.publish(&event), expected, "kind {kind}");
    }
    // A request to vanish is followed whatever kinds are taken.
    client.publish_ok(&person.event(62, NOW, &[&["relay", "ALL_RELAYS"]], ""));
}

#[test]
fn authors_are_taken_as_the_lists_say() {
    let [listed, both, other] = [1, 2, 3].map(Person::new);
    let relay = TestRelay::configured(&format!(
        "[authors]\nallowed = [\"{}\", \"{}\"]\ndenied = [\"{}\"]",
        listed.hex(),
        both.hex(),
        both.hex()
    ));
    let mut client = relay.connect();
    client.publish_ok(&listed.note("I am listed"));
    assert_eq!(
        client.publish_refused(&both.note("I am on both lists")),
        "blocked: this author is not welcome here (authors.denied)"
    );
    let unlisted = "restricted: only events of listed authors are taken here (authors.allowed)";
    assert_eq!(client.publish_refused(&other.note("I am not")), unlisted);
    // A gift wrap's author is a throwaway key: who it is for decides.
    client.publish_ok(&other.event(1_059, NOW, &[&["p", &listed.hex()]], "sealed"));
    assert_eq!(client.publish_refused(&other.event(1_059, NOW, &[&["p", &other.hex()]], "sealed")), unlisted);
}

#[test]
fn tags_must_be_there_with_a_value() {
    let relay = TestRelay::configured(
        "[tags]\nrequired = { \"1\" = [\"t\", \"subject\"], \"30000-39999\" = [\"d\"] }",
    );
    let mut client = relay.connect();
    let person = Person::new(1);
    let table: [(u16, &[&[&str]], &str); 7] = [
        (1, &[&["t", "x"], &["subject", "y"]], ""),
        (1, &[&["subject", "y"]], "t"),
        (1, &[&["t", "x"], &["subject"]], "subject"),
        (1, &[&["t", "x"], &["subject", ""]], "subject"),
        (2, &[], ""),
        (30_000, &[&["d", "x"]], ""),
        (39_999, &[], "d"),
    ];
    for (kind, tags, missing) in table {
        let (accepted, why) = client.publish(&person.event(kind, NOW, tags, ""));
        let expected = match missing {
            "" => String::new(),
            name => {
                format!("invalid: an event of kind {kind} needs a tag {name} with a value (tags.required)")
            }
        };
        assert_eq!((accepted, why), (missing.is_empty(), expected), "kind {kind}, tags {tags:?}");
    }
}

#[test]
fn sizes_and_work_may_differ_by_kind() {
    let relay = TestRelay::configured(
        "[limits]\ncontent_chars_max = 4\ncontent_chars_max_by_kind = { \"30023\" = 6 }\nevent_tags_max = 1\n\
         event_tags_max_by_kind = { \"3\" = 3 }\n[nip13]\ndifficulty_min_by_kind = { \"7\" = 60 }",
    );
    let mut client = relay.connect();
    let person = Person::new(1);
    let tags = [&["p", "x"][..]; 4];
    let table: [(u16, usize, &str, Option<&str>); 9] = [
        (1, 1, "grüß", None),
        (1, 1, "grüße", Some("limits.content_chars_max")),
        (30_023, 1, "grüße!", None),
        (30_023, 1, "grüße!!", Some("limits.content_chars_max")),
        (1, 2, "", Some("limits.event_tags_max")),
        (3, 3, "", None),
        (3, 4, "", Some("limits.event_tags_max")),
        (7, 0, "", Some("nip13.difficulty")),
        (6, 0, "", None),
    ];
    for (kind, count, content, rule) in table {
        let (accepted, why) = client.publish(&person.event(kind, NOW, &tags[..count], content));
        assert_eq!(accepted, rule.is_none(), "kind {kind}, {count} tags, {content}: {why}");
        assert!(why.ends_with(&rule.map_or(String::new(), |rule| format!("({rule})"))), "{why}");
    }
}

#[test]
fn writing_is_open_to_whom_the_setting_says() {
    let [member, guest] = [1, 2].map(Person::new);
    let login = "auth-required: log in to write here (access.write)";
    let members_only = "restricted: only members write here (access.write)";
    let read_only = "blocked: nobody writes here: this relay is only read (access.write)";
    let wrap_login = "auth-required: log in to send gift wraps here (access.write)";
    // Setting, whether wraps need a login, then what a member's note, a guest's note, a guest's wrap for the
    // member and one for a guest are told: before and after the guest logs in.
    let table = [
        (Write::All, false, ["", "", "", ""], ["", "", "", ""]),
        (Write::Authenticated, false, [login, login, "", ""], ["", "", "", ""]),
        (Write::Authenticated, true, [login, login, login, login], ["", "", "", ""]),
        (Write::Members, false, ["", members_only, "", members_only], ["", members_only, "", members_only]),
        (
            Write::Members,
            true,
            ["", members_only, wrap_login, members_only],
            ["", members_only, "", members_only],
        ),
        (Write::None, false, [read_only; 4], [read_only; 4]),
    ];
    for (write, auth_for_gift_wraps, before, after) in table {
        let relay = TestRelay::with(|config| {
            config.root.access.write = write;
            config.root.access.auth_for_gift_wraps = auth_for_gift_wraps;
            config.root.authors.members = [member.key()].into_iter().collect();
        });
        let mut client = relay.connect();
        for (round, expected) in [before, after].into_iter().enumerate() {
            if round == 1 {
                client.authenticate(&guest, &relay.url(), NOW);
            }
            let text = format!("round {round}");
            let events = [
                member.note(&text),
                guest.note(&text),
                guest.event(1_059, NOW, &[&["p", &member.hex()]], &text),
                guest.event(1_059, NOW, &[&["p", &guest.hex()]], &text),
            ];
            let said = events.each_ref().map(|event| client.publish(event).1);
            assert_eq!(said.each_ref().map(String::as_str), expected, "{write:?}, round {round}");
        }
    }
}

#[test]
fn reading_is_open_to_whom_the_setting_says() {
    let [member, guest] = [1, 2].map(Person::new);
    let login = "auth-required: log in to read here (access.read)";
    let members_only = "restricted: only members read here (access.read)";
    // What is said before, after a guest's login, and after a member's.
    let table = [
        (Read::All, ["", "", ""]),
        (Read::Authenticated, [login, "", ""]),
        (Read::Members, [login, members_only, ""]),
    ];
    for (read, answers) in table {
        let relay = TestRelay::with(|config| {
            config.root.access.read = read;
            config.root.authors.members = [member.key()].into_iter().collect();
        });
        let mut client = relay.connect();
        let note = guest.note("hello");
        client.publish_ok(&note);
        for (person, answer) in [None, Some(&guest), Some(&member)].into_iter().zip(answers) {
            if let Some(person) = person {
                client.authenticate(person, &relay.url(), NOW);
            }
            if answer.is_empty() {
                assert_eq!(client.ids(json!({"kinds": [1]})), [note.id.to_string()]);
                assert_eq!(client.count(&[json!({})]), 1);
            } else {
                assert_eq!(client.closed("REQ", &[json!({})]), answer);
                assert_eq!(client.closed("COUNT", &[json!({})]), answer);
            }
        }
    }
}

#[test]
fn a_rule_in_shadow_mode_counts_and_lets_pass() {
    let relay = TestRelay::configured("[kinds]\nallowed = [1]\nmode = \"shadow\"\n[authors]\ndenied = []");
    let mut client = relay.connect();
    let person = Person::new(1);
    client.publish_ok(&person.event(7, NOW, &[], "+"));
    client.publish_ok(&person.note("hello"));
    let counts = relay.relay().community().tally.counts();
    let count = counts.get("kinds.allowed").expect("the rule spoke");
    assert_eq!((count.refused, count.shadowed), (0, 1));
}

#[test]
fn a_rule_of_reading_in_shadow_mode_counts_and_shows() {
    let moderator = Person::new(1);
    let relay = TestRelay::configured(&format!(
        "[reports]\nmoderators = [\"{}\"]\nrefuse = false\nmode = \"shadow\"",
        moderator.hex()
    ));
    let mut client = relay.connect();
    let note = Person::new(2).note("muted");
    client.publish_ok(&note);
    client.publish_ok(&moderator.event(10_000, NOW, &[&["e", &note.id.to_string()]], ""));
    relay.relay().learn_now();
    let would_hide =
        || relay.relay().community().tally.counts().get("reports.muted").copied().unwrap_or_default();
    for shown in 1..3 {
        assert_eq!(client.ids(json!({"kinds": [1]})), [note.id.to_string()]);
        assert_eq!((would_hide().refused, would_hide().shadowed), (0, shown));
    }
}
