//! `plaza explain` and `plaza check-config --expand`: the rules run dry say what the relay would say.

mod common;

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use common::{NOW, Person, TestRelay, json_of};
use plaza::config::{Config, Preset};
use serde_json::json;
use tempfile::TempDir;

/// Runs the program in a folder of its own with this relay.toml; returns its code, standard output and error.
fn plaza(folder: &TempDir, settings: &str, arguments: &[&str], input: &str) -> (i32, String, String) {
    fs::write(folder.path().join("relay.toml"), settings).expect("a file");
    let mut child = Command::new(env!("CARGO_BIN_EXE_plaza"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads all");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code().expect("it was not killed"), text(stdout), text(stderr))
}

const SETTINGS: &str = "\
[nip13]
difficulty_min_by_kind = { \"7\" = 60 }
mode = \"shadow\"
[[community]]
path = \"/notes\"
[community.kinds]
allowed = [1]
[community.access]
write = \"authenticated\"
";

#[test]
fn a_draft_is_explained_rule_by_rule() {
    let folder = tempfile::tempdir().expect("a folder");
    let npub = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg";
    // Arguments, draft, code, and lines that must be there.
    let table: [(&[&str], &str, i32, &[&str]); 7] = [
        (&[], r#"{"kind": 1, "content": "hello"}"#, 0, &["pass    limits.content_chars_max", "/: accepted"]),
        (
            &["--community", "/notes"],
            r#"{"kind": 7, "content": "+"}"#,
            1,
            &[
                "REFUSE  access.write",
                "        auth-required: log in to write here (access.write)",
                "REFUSE  kinds.allowed",
                "kinds.allowed = [1]",
                "/notes: refused, auth-required: log in to write here (access.write)",
            ],
        ),
        (
            &["--community", "notes", "--as", npub],
            r#"{"kind": 1, "content": "hello"}"#,
            0,
            &["pass    access.write", "/notes: accepted"],
        ),
        (
            &[],
            r#"{"kind": 7, "content": "+"}"#,
            0,
            &["shadow  nip13.difficulty", "would refuse, pow: difficulty", "/: accepted"],
        ),
        (
            &[],
            "{\n  \"kind\": 1,\n  \"tags\": [[\"expiration\", \"5\"]]\n}\n",
            1,
            &["REFUSE  nip40.expired", "/: refused, invalid: the event has expired (nip40.expired)"],
        ),
        (&[], r#"{"kind": 1}"#, 0, &["-       nip01.signature", "        it is a draft"]),
        (
            &[],
            r#"{"kind": 4}"#,
            0,
            &["hide    nip17.private_hidden", "        not shown to who sends it", "/: accepted"],
        ),
    ];
    for (arguments, draft, code, lines) in table {
        let all = [&["explain", "-"], arguments].concat();
        let (ended, said, errors) = plaza(&folder, SETTINGS, &all, draft);
        assert_eq!(ended, code, "{draft}: {said}{errors}");
        for line in lines {
            assert!(said.lines().any(|one| one.contains(line)), "{line} in {said}");
        }
    }
    assert!(!folder.path().join("data").exists(), "explaining makes no store");
}

#[test]
fn what_cannot_be_told_ends_with_two() {
    let folder = tempfile::tempdir().expect("a folder");
    let table: [(&[&str], &str, &str); 4] = [
        (&["-"], "not json", "this is no JSON"),
        (&["-"], "[1]", "an event or draft is a JSON object"),
        (&["-"], r#"{"kind": "1"}"#, "kind must be"),
        (
            &["-", "--community", "/nowhere"],
            r#"{"kind": 1}"#,
            "there is no community at /nowhere; the settings have /, /notes",
        ),
    ];
    for (arguments, input, reason) in table {
        let (code, said, errors) = plaza(&folder, SETTINGS, &[&["explain"], arguments].concat(), input);
        assert_eq!(code, 2, "{input}: {said}");
        assert!(errors.contains(reason), "{reason} in {errors}");
    }
}

#[test]
fn a_file_of_events_is_summed_up_by_rule_and_the_store_is_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs();
    let person = Person::new(1);
    let stored = person.event(1, now - 10, &[], "stored");
    let old_list = person.event(10_002, now - 20, &[], "");
    let new_list = person.event(10_002, now - 10, &[], "");
    let lines = |events: &[&plaza::event::Event]| -> String {
        events.iter().map(|event| format!("{}\n", json_of(event))).collect()
    };
    let (code, _, errors) = plaza(&folder, SETTINGS, &["import", "-"], &lines(&[&stored, &new_list]));
    assert_eq!(code, 0, "{errors}");
    let mut forged = json_of(&person.event(1, now, &[], "mine"));
    forged["content"] = json!("yours");
    let input = format!(
        "{}{forged}\nnonsense\n\n{}",
        lines(&[&person.event(1, now, &[], "new"), &stored, &old_list]),
        lines(&[&person.event(22_242, now, &[], "")])
    );
    let (code, said, errors) = plaza(&folder, SETTINGS, &["explain", "-"], &input);
    assert_eq!(code, 1, "{said}{errors}");
    let expected = [
        "1 accepted, 1 stored already",
        "1 refused by nip01.id; the first, line 4: invalid: the id is not the hash of the event (nip01.id)",
        "1 refused by nip01.superseded; the first, line 3: duplicate: a newer version is stored (nip01.superseded)",
        "1 refused by nip42.auth_kind; the first, line 7: invalid: kind 22242 is sent with AUTH and never published (nip42.auth_kind)",
        "1 refused by no event; the first, line 5: ",
    ];
    for line in expected {
        assert!(said.lines().any(|one| one.starts_with(line)), "{line} in {said}");
    }
    let (code, said, _) = plaza(&folder, SETTINGS, &["explain", "-"], &lines(&[&stored]));
    assert_eq!((code, said.lines().last()), (0, Some("/: stored already")));
}

#[test]
fn a_store_in_use_is_no_hindrance() {
    let relay = TestRelay::start();
    let folder = tempfile::tempdir().expect("a folder");
    let data = relay.data().to_string_lossy().into_owned();
    let (code, said, errors) =
        plaza(&folder, "", &["explain", "-", "--data", &data], r#"{"kind": 1, "content": ""}"#);
    assert_eq!(code, 0, "{said}{errors}");
    assert!(
        errors.contains("a relay runs on these events; rules that look at them are not asked"),
        "{errors}"
    );
    relay.connect().publish_ok(&Person::new(1).event(1, NOW, &[], "it runs on"));
}

#[test]
fn what_was_changed_without_the_file_decides() {
    let owner = Person::new(1);
    let settings = format!("[admin]\nowners = [\"{}\"]", owner.hex());
    let mut relay = TestRelay::configured(&settings);
    relay.call_ok(&owner, "changesettings", json!([{"kinds.denied": [30]}]));
    relay.stop();
    let (folder, data) =
        (tempfile::tempdir().expect("a folder"), relay.data().to_string_lossy().into_owned());
    let draft = r#"{"kind": 30, "content": ""}"#;
    let (code, said, errors) = plaza(&folder, &settings, &["explain", "-", "--data", &data], draft);
    assert_eq!(code, 1, "{said}{errors}");
    let refused = "/: refused, blocked: events of kind 30 are not taken here (kinds.denied)";
    assert_eq!(said.lines().last(), Some(refused));
    assert!(said.contains("kinds.denied = [30]"), "{said}");
}

/// Quotas are rules: they are told, explained with what the author has, and refuse as they are explained.
#[test]
fn quotas_are_explained_as_they_refuse() {
    let author = Person::new(10);
    let long = "long ".repeat(100);
    // Settings, how many events the author has, what the rules say of one more, and its refusal.
    let table = [
        (
            "events_per_author_max = 3",
            3,
            "One author has up to 3 events here; what is beyond is not taken until some are deleted.",
            Some(
                "blocked: you have 3 events here already, and 3 is the most; delete some first (retention.events_per_author)",
            ),
        ),
        (
            "events_per_author_max = 3",
            2,
            "One author has up to 3 events here; what is beyond is not taken until some are deleted.",
            None,
        ),
        (
            "events_per_author_max = 3\nauthor_full = \"oldest\"",
            3,
            "One author has up to 3 events here; what is beyond takes the place of their oldest.",
            None,
        ),
        (
            "bytes_per_author_max = 1_500",
            2,
            "One author's events take up to 1.5 kB here; what is beyond is not taken until some are deleted.",
            Some("(retention.bytes_per_author)"),
        ),
    ];
    for (text, stored, sentence, refused) in table {
        let settings = format!("[retention]\n{text}");
        let mut relay = TestRelay::configured(&settings);
        for number in 0..stored {
            relay.connect().publish_ok(&author.event(1, NOW + number, &[], &long));
        }
        let rules =
            common::http::http(&relay, "GET", "/?rules", &[("Accept", "application/json")], "").json();
        let told = rules.as_array().expect("a list").iter().any(|rule| rule["sentence"] == sentence);
        assert!(told, "{text}: {rules}");
        let document =
            common::http::http(&relay, "GET", "/", &[("Accept", "application/nostr+json")], "").json();
        assert_eq!(document["limitation"]["restricted_writes"], false, "a quota is a limit, not a choice");
        let event = author.event(1, NOW + 50, &[], &long);
        let explained =
            relay.relay().explain(relay.relay().community(), &event, &[]).expect("it is explained");
        let said = explained.decision.err().map(|refusal| refusal.to_string());
        match refused {
            Some(refused) => {
                assert!(said.as_ref().is_some_and(|said| said.ends_with(refused)), "{text}: {said:?}")
            }
            None => assert_eq!(said, None, "{text}"),
        }
        // The program says the same of the store at rest, where nobody counts bytes ahead.
        relay.stop();
        let (folder, data) =
            (tempfile::tempdir().expect("a folder"), relay.data().to_string_lossy().into_owned());
        let draft = json_of(&event).to_string();
        let (code, printed, errors) = plaza(&folder, &settings, &["explain", "-", "--data", &data], &draft);
        assert_eq!(code, i32::from(refused.is_some()), "{text}: {printed}{errors}");
        let wanted = said.as_ref().map_or("/: accepted".to_owned(), |said| format!("/: refused, {said}"));
        assert_eq!(printed.lines().last(), Some(&*wanted), "{text}");
        relay.restart();
        let answered = relay.connect().publish(&event);
        assert_eq!(answered, (said.is_none(), said.unwrap_or_default()), "{text}");
    }
}

#[test]
fn what_was_learned_from_the_store_decides() {
    let folder = tempfile::tempdir().expect("a folder");
    let [root, friend, stranger, muted] = [1, 2, 3, 4].map(Person::new);
    let settings = format!(
        "[trust]\nwrite = true\nnip05_domains = [\"example.org\"]\nroots = [\"{0}\"]\n[reports]\nmoderators = [\"{0}\"]",
        root.hex()
    );
    let stored = [
        root.event(3, NOW, &[&["p", &friend.hex()], &["p", &muted.hex()]], ""),
        root.event(10_000, NOW, &[&["p", &muted.hex()]], ""),
        friend.event(0, NOW, &[], r#"{"nip05": "friend@example.org"}"#),
    ];
    let draft = |person: &Person| json!({"kind": 1, "pubkey": person.hex(), "content": "hello"}).to_string();
    let not_asked = "it looks at stored events, and there is no store to ask";
    for rule in ["trust.write", "reports.muted_refused", "trust.nip05"] {
        let (code, said, _) = plaza(&folder, &settings, &["explain", "-"], &draft(&stranger));
        let mut lines = said.lines().skip_while(|line| !line.starts_with(&format!("-       {rule} ")));
        assert_eq!((code, lines.nth(1).map(str::trim)), (0, Some(not_asked)), "{rule} in {said}");
    }
    let lines: String = stored.iter().map(|event| format!("{}\n", json_of(event))).collect();
    let (code, _, errors) = plaza(&folder, &settings, &["import", "-"], &lines);
    assert_eq!(code, 0, "{errors}");
    let table = [
        (&friend, None),
        (&root, Some("trust.nip05")),
        (&stranger, Some("trust.write")),
        (&muted, Some("reports.muted_refused")),
    ];
    for (person, refused_by) in table {
        let (code, said, errors) = plaza(&folder, &settings, &["explain", "-"], &draft(person));
        assert_eq!(code, i32::from(refused_by.is_some()), "{said}{errors}");
        let last = said.lines().last().unwrap_or("");
        assert!(
            refused_by.is_none_or(|rule| last.ends_with(&format!("({rule})"))),
            "{refused_by:?} in {said}"
        );
    }
}

#[test]
fn blocklists_are_reported_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
    write(
        "first.csv",
        "#domain,#severity\nevil.example,suspend\nnoisy.example,silence\nnoise*.example,silence\n",
    );
    write("second.csv", "domain,severity\nevil.example,silence\nworse.example,suspend\nbad line,suspend\n");
    let settings =
        "[blocklist]\nfiles = [\"first.csv\", \"second.csv\"]\ndomains_allowed = [\"ok.worse.example\"]\n";
    let now = common::NOW;
    let [ann, bob] = [1, 2].map(Person::new);
    let bridged = |person: &Person, url: &str| person.event(1, now, &[&["proxy", url, "activitypub"]], url);
    let events = [
        bridged(&ann, "https://evil.example/1"),
        bridged(&ann, "https://sub.evil.example/2"),
        bridged(&bob, "https://noisy.example/3"),
        bridged(&bob, "https://ok.worse.example/4"),
        bridged(&bob, "https://fine.example/5"),
    ];
    let input: String = events.iter().map(|event| format!("{}\n", json_of(event))).collect();
    let (code, _, errors) = plaza(&folder, settings, &["import", "-"], &input);
    assert_eq!(code, 0, "{errors}");
    let (code, said, errors) = plaza(&folder, settings, &["blocklists"], "");
    assert_eq!(code, 0, "{errors}");
    let expected = "\
first.csv: 1 suspended, 1 silenced, 0 noop; 0 overruled by a list before, 0 repeated, 1 obfuscated
  touches 2 suspended and 1 silenced events of 2 authors
    2 from evil.example
    1 from noisy.example
second.csv: 1 suspended, 1 silenced, 0 noop; 1 overruled by a list before, 0 repeated, 0 obfuscated
  line 4: \"bad line\" is no domain name
  touches nothing that is stored
";
    assert_eq!(said, expected);
    // A draft meets the same lists.
    let draft = r#"{"kind": 1, "content": "see https://worse.example/x"}"#;
    let (code, said, _) = plaza(&folder, settings, &["explain", "-"], draft);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("which is on this relay's blocklist second.csv (blocklist.links)"), "{said}");
    // A path that is wrong is told before anything starts.
    let (code, _, errors) = plaza(&folder, "[blocklist]\nfiles = [\"third.csv\"]\n", &["check-config"], "");
    assert_eq!(code, 1);
    assert!(
        errors
            .contains("third.csv: there is no such file, and blocklist.files names it; name the right path"),
        "{errors}"
    );
}

#[test]
fn presets_expand_to_what_they_mean_and_are_overridden() {
    let folder = tempfile::tempdir().expect("a folder");
    for preset in Preset::ALL {
        // What a geohash hub is for is its operator's to say.
        let area = match preset {
            Preset::GeohashHub => "[community.geohash]\nprefixes = [\"u33d\"]\n",
            _ => "",
        };
        let file = format!(
            "[[community]]\npath = \"/a\"\nname = \"Mine\"\npreset = \"{}\"\n{area}[community.limits]\nlimit_max = 600\n",
            preset.as_str()
        );
        let (code, expanded, errors) = plaza(&folder, &file, &["check-config", "--expand"], "");
        assert_eq!(code, 0, "{}: {errors}", preset.as_str());
        let path = std::path::Path::new("relay.toml");
        let read = |text: &str| Config::parse(text, path).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(read(&file), read(&expanded), "{}", preset.as_str());
        let community = &read(&file).communities[0];
        assert_eq!((&*community.relay.name, community.limits.limit_max), ("Mine", 600));
        let mut plain = plaza::config::Settings::default();
        (plain.relay, plain.limits) = (community.relay.clone(), community.limits.clone());
        assert_ne!(*community, plain, "{} sets something", preset.as_str());
        // Nobody owes work, nor a login for gift wraps, unless the operator says so.
        assert_eq!(
            (community.nip13.difficulty_min, community.nip13.difficulty_min_by_kind.is_empty()),
            (0, true)
        );
        assert!(!community.access.auth_for_gift_wraps);
    }
}
