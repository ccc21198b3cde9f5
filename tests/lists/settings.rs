//! Settings of shared lists: mistakes are named; and how lists stand is shown by the program, the page and in numbers.

use std::path::Path;

use plaza::config::Config;
use serde_json::Value;

use super::common::folder::Folder;
use super::common::http::get;
use super::common::{Client, Person, TestRelay};
use super::{follow, list};
use crate::common::await_that;

#[test]
fn mistakes_are_named_with_what_to_do() {
    let key = Person::new(1).hex();
    let table = |more: &str| {
        format!("[[shared_lists.follow]]\nrelay = \"wss://a.example\"\npubkey = \"{key}\"\n{more}\n")
    };
    let mistakes = [
        (
            "[shared_lists]\npublish = [\"pubkeys\"]".to_owned(),
            "shared_lists.publish: needs the relay's own key, which signs the lists; name a file with it in relay.",
        ),
        ("[shared_lists]\npublish = [\"events\"]".to_owned(), "must be a list of pubkeys and domains"),
        ("[shared_lists]\nreasons = \"some\"".to_owned(), "must be \"public\", \"all\" or \"none\""),
        (
            format!("[[shared_lists.follow]]\nrelay = \"https://a.example\"\npubkey = \"{key}\""),
            "of table 1, relay \"https://a.example\" must begin with wss:// or ws://",
        ),
        (
            "[[shared_lists.follow]]\nrelay = \"wss://a.example\"\npubkey = \"me\"".to_owned(),
            "of table 1, pubkey is wrong: ",
        ),
        (table("lists = []"), "of table 1, lists names none"),
        (table("expires_days = 0"), "of table 1, expires_days must be from 1 to 3650, but is 0"),
        (table("entries_max = 20_001"), "of table 1, entries_max must be from 1 to 20000, but is 20001"),
        (table("on = \"ban\""), "relay.toml:4: settings: unknown variant `ban`, expected one of `refuse`"),
        (
            table("on = \"nsec180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6\""),
            "a secret key, which must not be in this file",
        ),
        (table("reson = \"x\""), "relay.toml:4: settings: unknown field `reson`"),
        (format!("{}{}", table(""), table("")), "of table 2, table 1 has a list already"),
        (table("").repeat(17), "names more than 16 relays"),
    ];
    for (text, why) in mistakes {
        let error = Config::parse(&text, Path::new("relay.toml")).expect_err(&text).to_string();
        assert!(error.contains(why), "{error}\nfor {text}");
    }
    let long = Config::parse(&table(&format!("on = \"{}\"", "x".repeat(10_000))), Path::new("relay.toml"));
    assert!(long.expect_err("no effect").to_string().len() < 600);
    let right = format!(
        "[nip29]\nenabled = true\n[shared_lists]\npublish = [\"pubkeys\"]\n{}",
        table("on = \"hide\"")
    );
    let config = Config::parse(&right, Path::new("relay.toml")).expect("settings");
    let again = Config::parse(&config.to_toml(), Path::new("relay.toml")).expect("settings");
    assert_eq!(again.root.shared_lists, config.root.shared_lists);
}

#[test]
fn how_lists_stand_is_shown_by_the_program_and_in_numbers() {
    let now = plaza::clock::Clock::system().now();
    let [signer, listed] = [100, 10].map(Person::new);
    let other = TestRelay::today();
    let tag: &[&str] = &["p", &listed.hex(), "", "spam"];
    other.connect().publish_ok(&list(&signer, now, "banned-pubkeys", &[tag]));
    let folder = Folder::new();
    let numbers = super::common::program::free_port();
    folder.write(
        "relay.toml",
        format!("[metrics]\nlisten = \"127.0.0.1:{numbers}\"\n{}", follow(&other.url(), &signer, "")),
    );
    let idle = folder.run(&["lists"]);
    assert!(idle.code != 0 && idle.said("no relay runs on data"), "{idle:?}");
    let relay = folder.serve(&[]);
    await_that("the list has come, and the other one is missed", || {
        let said = folder.run(&["lists"]).data;
        said.contains("'Bad ones': 1 entries; lapses in")
            && said.contains("last trouble: the relay has no such list")
    });
    let refused = Client::connect(&relay.url).publish_refused(&listed.event(1, now, &[], "x"));
    assert!(refused.contains("on the list 'Bad ones'"), "{refused}");
    let said = folder.run(&["lists"]).data;
    assert!(
        said.contains("touched: 1 refused")
            && said.contains(&format!("by {}: this author is on", listed.hex())),
        "{said}"
    );
    let stats: Value = serde_json::from_str(&folder.run(&["lists", "--json"]).data).expect("JSON");
    assert_eq!((&stats[0]["touched"]["refused"], &stats[0]["on"]), (&1.into(), &"refuse".into()));
    let text = get(([127, 0, 0, 1], numbers).into(), "/metrics").body;
    let labels =
        format!("community=\"/\",relay=\"{}\",key=\"{}\",list=\"banned-pubkeys\"", other.url(), signer.hex());
    for line in [
        format!("plaza_shared_list_entries{{{labels}}} 1.0"),
        format!("plaza_shared_list_counts{{{labels}}} 1.0"),
        format!("plaza_shared_list_connected{{{labels}}} 1.0"),
        format!("plaza_shared_list_touched_total{{{labels},done=\"refused\"}} 1.0"),
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in {text}");
    }
    assert_eq!(relay.end("TERM"), 0);
    // Without a relay rules know the copy, too.
    folder.write("note.json", plaza::event::Event::to_json(&listed.event(1, now, &[], "y")));
    let explained = folder.run(&["explain", "note.json"]);
    assert!(explained.code == 1 && explained.data.contains("on the list 'Bad ones'"), "{explained:?}");
}
