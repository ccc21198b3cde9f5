//! Domain blocklists (nips/blocklist.md).

use std::sync::Arc;

use plaza::config::{BlocklistPart, Mode, Settings};
use plaza::domain::DomainSet;
use plaza::domain::lists::{Domains, Report, Severity, WARNINGS_PER_LIST_MAX};
use plaza::event::{Event, PublicKey};
use plaza::policy::{Policy, head_of};
use plaza::rule::people::People;
use plaza::rule::{Context, Known, RelayNames};
use serde_json::json;

use crate::common::{NOW, Person, TestRelay};

use Severity::{Noop, Silence, Suspend};

/// What a list of this text says of a domain.
fn said(text: &str, domain: &str) -> Option<Severity> {
    Domains::parse(&[("list.csv", text)]).0.find(domain).map(|verdict| verdict.severity)
}

#[test]
fn every_form_of_the_file_is_read() {
    let table = [
        (
            "as Mastodon exports it",
            "#domain,#severity,#reject_media,#reject_reports,#public_comment,#obfuscate\n\
             bad.example,suspend,false,false,\"spam, and \"\"worse\"\"\",false\nloud.example,silence,true,false,,false\n\
             odd.example,noop,true,true,,false\n",
        ),
        (
            "without the # in its header",
            "domain,severity\nbad.example,suspend\nloud.example,silence\nodd.example,noop\n",
        ),
        (
            "columns in another order, and one more",
            "#public_comment,#severity,source,#domain\n,suspend,x,bad.example\n,silence,,loud.example\n,noop,,odd.example\n",
        ),
        (
            "with a byte order mark",
            "\u{feff}#domain,#severity\nbad.example,suspend\nloud.example,silence\nodd.example,noop\n",
        ),
        (
            "with line ends of Windows",
            "#domain,#severity\r\nbad.example,suspend\r\nloud.example,silence\r\nodd.example,noop\r\n",
        ),
        (
            "with quotes and blanks everywhere",
            "\"#domain\" , \"#severity\"\n\"bad.example\",\"suspend\"\n loud.example , silence \n\"odd.example\",\"noop\"",
        ),
        (
            "in capitals, with dots at the end",
            "#Domain,#SEVERITY\nBAD.Example.,Suspend\nLOUD.example,LIMIT\nodd.EXAMPLE,Noop\n",
        ),
        (
            "with comments, blank lines and lines too long or too short",
            "# my list, of today\n#domain,#severity\n\n# the worst\nbad.example,suspend,,,,,,,\nloud.example,silence\n,\nodd.example,noop\n",
        ),
        (
            "with a comment over several lines",
            "#domain,#public_comment,#severity\nbad.example,\"one\ntwo\nthree\",suspend\nloud.example,,silence\nodd.example,,noop\n",
        ),
    ];
    for (what, text) in table {
        let wanted =
            [("bad.example", Some(Suspend)), ("loud.example", Some(Silence)), ("odd.example", Some(Noop))];
        for (domain, severity) in wanted {
            assert_eq!(said(text, domain), severity, "{what}: {domain}");
        }
        assert_eq!(said(text, "good.example"), None, "{what}");
        assert_eq!(said(text, "domain"), None, "{what}: the header is no entry");
    }
}

#[test]
fn a_list_without_severities_suspends() {
    for text in ["#domain\nbad.example\n", "bad.example\n", "bad.example,because of spam\n"] {
        assert_eq!(said(text, "bad.example"), Some(Suspend), "{text:?}");
    }
    assert_eq!(said("first.example\nbad.example\n", "first.example"), Some(Suspend), "no line is lost");
    assert_eq!(said("", "bad.example"), None);
}

#[test]
fn domains_cover_what_is_below_them_and_nothing_else() {
    let text = "#domain,#severity\nbad.example,suspend\nsoft.bad.example,silence\nbücher.example,suspend\n\
                xn--mnchen-3ya.example,silence\n192.0.2.1,suspend\n";
    let table = [
        ("bad.example", Some(Suspend)),
        ("www.bad.example", Some(Suspend)),
        ("a.b.c.bad.example", Some(Suspend)),
        ("notbad.example", None),
        ("bad.example.org", None),
        ("example", None),
        ("soft.bad.example", Some(Silence)),
        ("x.soft.bad.example", Some(Silence)),
        ("xn--bcher-kva.example", Some(Suspend)),
        ("xn--mnchen-3ya.example", Some(Silence)),
        ("192.0.2.1", Some(Suspend)),
        ("192.0.2.2", None),
    ];
    for (domain, severity) in table {
        assert_eq!(said(text, domain), severity, "{domain}");
    }
}

#[test]
fn the_first_list_that_knows_a_domain_decides() {
    let own = "domain,severity\nfriend.example,noop\nkept.shared.example,silence\n";
    let shared = "domain,severity\nfriend.example,suspend\nwww.friend.example,suspend\nshared.example,suspend\n\
                  deep.kept.shared.example,suspend\nother.example,silence\n";
    let third = "domain,severity\nother.example,suspend\nlast.example,suspend\n";
    let (domains, warnings) = Domains::parse(&[("own", own), ("shared", shared), ("third", third)]);
    assert_eq!(warnings, []);
    let table = [
        ("friend.example", Noop, "friend.example", "own"),
        // The longer name is in a later list, which has no say.
        ("www.friend.example", Noop, "friend.example", "own"),
        ("kept.shared.example", Silence, "kept.shared.example", "own"),
        ("deep.kept.shared.example", Silence, "kept.shared.example", "own"),
        ("x.shared.example", Suspend, "shared.example", "shared"),
        ("other.example", Silence, "other.example", "shared"),
        ("last.example", Suspend, "last.example", "third"),
    ];
    for (asked, severity, domain, list) in table {
        let verdict = domains.find(asked).unwrap_or_else(|| panic!("{asked} is listed"));
        assert_eq!((verdict.severity, verdict.domain, verdict.list), (severity, domain, list), "{asked}");
    }
    assert_eq!(domains.find("example"), None);
    let counts: Vec<_> =
        domains.reports().iter().map(|list| (list.name.as_str(), list.overruled, list.repeated)).collect();
    assert_eq!(counts, [("own", 0, 0), ("shared", 1, 0), ("third", 1, 0)]);
    assert_eq!(domains.len(), 7);
}

#[test]
fn what_cannot_be_understood_is_counted_and_named_by_line() {
    let text = "#domain,#severity,#public_comment\nbad.example,suspend,\nb*d.example,suspend,hidden\n*.wild.example,silence,\n\
                no domain,suspend,\nbad.example,silence,again\norg,suspend,\nodd.example,ban,\nquiet.example,,\n\
                https://url.example/,suspend,\nloud.example,silence,\n";
    let (domains, warnings) = Domains::parse(&[("list.csv", text)]);
    let expected = Report {
        name: "list.csv".to_owned(),
        suspend: 1,
        silence: 2,
        noop: 0,
        overruled: 0,
        repeated: 1,
        obfuscated: 2,
        invalid: 5,
    };
    assert_eq!(domains.reports(), [expected]);
    let said: Vec<_> = warnings.iter().map(|warning| (warning.line, warning.problem.as_str())).collect();
    let expected = [
        (5, "\"no domain\" is no domain name"),
        (7, "\"org\" is a whole top-level domain, which a list of others may not block"),
        (8, "\"ban\" is no severity; there are suspend, silence and noop"),
        (9, "\"\" is no severity; there are suspend, silence and noop"),
        (10, "\"https://url.example/\" is no domain name"),
    ];
    assert_eq!(said, expected);
    let verdicts = ["bad.example", "bxd.example", "wild.example", "x.wild.example", "org", "odd.example"];
    let verdicts = verdicts.map(|domain| domains.find(domain).map(|verdict| verdict.severity));
    assert_eq!(verdicts, [Some(Suspend), None, None, None, None, None]);
}

#[test]
fn warnings_are_bounded_and_a_lost_quotation_mark_is_noticed() {
    let many = "no domain\n".repeat(WARNINGS_PER_LIST_MAX + 5);
    let (domains, warnings) = Domains::parse(&[("many", many.as_str()), ("more", many.as_str())]);
    assert_eq!(warnings.len(), 2 * WARNINGS_PER_LIST_MAX);
    assert_eq!(domains.reports()[1].invalid, WARNINGS_PER_LIST_MAX + 5);
    for (lines, noticed) in [(50, 0), (51, 1)] {
        let text = format!("#domain,#public_comment\nbad.example,\"{}", "x\n".repeat(lines) + "y");
        let (domains, warnings) = Domains::parse(&[("open", text)]);
        assert_eq!(warnings.len(), noticed, "{lines} lines: {warnings:?}");
        assert_eq!(domains.len(), 1);
    }
}

#[test]
fn no_text_makes_the_reader_panic() {
    let seed = 0x5EED_u64;
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let parts = [
        "#domain",
        "severity",
        ",",
        "\"",
        "\n",
        "\r",
        "*",
        ".",
        "a.example",
        "ü",
        "\u{feff}",
        "\0",
        "suspend",
        "#",
        " ",
    ];
    for round in 0..2_000 {
        let text: String = (0..next() % 40).map(|_| parts[next() % parts.len()]).collect();
        let (domains, _) = Domains::parse(&[("list", text.as_str())]);
        let report = &domains.reports()[0];
        let counted = report.suspend + report.silence + report.noop - report.repeated;
        assert_eq!(domains.len(), counted, "seed {seed}, round {round}: {text:?}");
    }
}

/// What is known where these lists are read and these profiles and follow lists are stored.
fn known(lists: &[(&str, &str)], people: &[Event]) -> Known {
    let people = Arc::new(People::of(&Settings::default(), people));
    Known { domains: Arc::new(Domains::parse(lists).0), people, ..Known::default() }
}

fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    settings.blocklist.files = vec!["list.csv".into()];
    change(&mut settings);
    settings
}

/// What the rules say to an event; empty when they take it.
fn answer(event: &Event, settings: &Settings, known: &Known) -> String {
    let context =
        Context { now: NOW, config: settings, keys: &[], relay: &RelayNames::default(), known, asked: false };
    match Policy::new(settings).admit(event, &context, &mut |_| {}) {
        Ok(()) => String::new(),
        Err(refusal) => refusal.to_string(),
    }
}

fn is_shown(event: &Event, keys: &[PublicKey], settings: &Settings, known: &Known) -> bool {
    let context =
        Context { now: NOW, config: settings, keys, relay: &RelayNames::default(), known, asked: false };
    Policy::new(settings).visible(&head_of(event), &context)
}

const LIST: &str =
    "domain,severity\nbad.example,suspend\nloud.example,silence\nodd.example,noop\nbücher.example,suspend\n";

/// A profile of the person of this number, with this NIP-05 identifier.
fn profile(number: u32, nip05: &str) -> Event {
    Person::new(number).event(0, NOW, &[], &json!({ "nip05": nip05 }).to_string())
}

#[test]
fn what_names_a_suspended_domain_is_refused() {
    let known = known(&[("list.csv", LIST)], &[profile(2, "_@bad.example"), profile(3, "x@loud.example")]);
    let settings = settings(|_| {});
    let [free, at_bad, at_loud] = [1, 2, 3].map(Person::new);
    let from = |id: &str| free.event(1, NOW, &[&["proxy", id, "activitypub"]], "");
    let on_list = |what: &str, domain: &str, rule: &str| {
        format!("blocked: {what} {domain}, which is on this relay's blocklist list.csv (blocklist.{rule})")
    };
    let bridged = on_list("this was bridged from", "bad.example", "proxy");
    let identified = on_list("the author's NIP-05 identifier is at", "bad.example", "nip05");
    let linked = on_list("it has a link to", "bad.example", "links");
    let repost = r#"{"content":"https:\/\/bad.example\/"}"#;
    let imeta: &[&str] = &["imeta", "m image/png", "url https://cdn.bad.example/x.png"];
    let table: Vec<(&str, Event, &str)> = vec![
        ("a plain note", free.note("good morning"), ""),
        ("bridged from a suspended domain", from("https://bad.example/1"), &bridged),
        ("bridged from below it", from("https://www.bad.example/1"), &bridged),
        ("bridged from beside it", from("https://notbad.example/1"), ""),
        ("bridged from a silenced domain", from("https://loud.example/1"), ""),
        ("bridged from a noted domain", from("https://odd.example/1"), ""),
        ("bridged from nowhere", from("at://did:plc:abc"), ""),
        ("by a member of a suspended domain", at_bad.note("good morning"), &identified),
        ("by a member of a silenced domain", at_loud.note("good morning"), ""),
        ("a profile at a suspended domain", profile(1, "me@BAD.example"), &identified),
        ("a profile at a domain alone", profile(1, "bad.example"), &identified),
        ("a profile at a silenced domain", profile(1, "me@loud.example"), ""),
        ("a profile that leaves the suspended domain", profile(2, "me@good.example"), ""),
        ("a profile without an identifier", at_bad.event(0, NOW, &[], "{}"), ""),
        ("a profile that is no JSON", free.event(0, NOW, &[], "me@bad.example"), ""),
        ("a link", free.note("look: https://bad.example/x"), &linked),
        ("a link below", free.note("look (http://a.BAD.example)"), &linked),
        ("a link beside", free.note("look: https://bad.example.org/x"), ""),
        ("a silenced link", free.note("look: https://loud.example/x"), ""),
        ("a name without a link", free.note("bad.example is bad"), ""),
        ("a second link", free.note("https://a.example https://bad.example"), &linked),
        ("a link in a repost", free.event(6, NOW, &[], repost), &linked),
        ("an r tag", free.event(1, NOW, &[&["r", "https://bad.example/"]], ""), &linked),
        ("a picture", free.event(20, NOW, &[imeta], ""), &linked),
        ("another tag", free.event(1, NOW, &[&["alt", "https://bad.example/"]], ""), ""),
        ("a report of a link", free.event(1_984, NOW, &[], "spam: https://bad.example/x"), ""),
        ("a deletion", at_bad.event(5, NOW, &[], "https://bad.example/x"), ""),
        ("a farewell", at_bad.event(62, NOW, &[&["relay", "ALL_RELAYS"]], ""), ""),
    ];
    for (what, event, refusal) in table {
        assert_eq!(answer(&event, &settings, &known), refusal, "{what}");
    }
    let in_another_script = free.note("https://www.BÜCHER.example/");
    let refusal = on_list("it has a link to", "xn--bcher-kva.example", "links");
    assert_eq!(answer(&in_another_script, &settings, &known), refusal);
}

#[test]
fn each_part_of_an_event_is_held_against_the_lists_only_where_the_setting_says_so() {
    let known = known(&[("list.csv", LIST)], &[profile(2, "_@bad.example")]);
    let bridged = Person::new(1).event(1, NOW, &[&["proxy", "https://bad.example/1", "web"]], "");
    let identified = Person::new(2).note("good morning");
    let linked = Person::new(1).note("https://bad.example/x");
    let parts = [BlocklistPart::Proxy, BlocklistPart::Nip05, BlocklistPart::Links];
    for subset in 0..8 {
        let apply_to: Vec<_> = parts
            .into_iter()
            .enumerate()
            .filter(|(at, _)| subset & 1 << at != 0)
            .map(|(_, part)| part)
            .collect();
        let settings = settings(|settings| settings.blocklist.apply_to = apply_to.clone());
        for (part, event) in parts.into_iter().zip([&bridged, &identified, &linked]) {
            let is_refused = !answer(event, &settings, &known).is_empty();
            assert_eq!(is_refused, apply_to.contains(&part), "{part:?} of {apply_to:?}");
        }
    }
    for event in [&bridged, &identified, &linked] {
        assert_eq!(answer(event, &Settings::default(), &known), "", "without files nothing is asked for");
        let allowed = DomainSet::new(["example"]).expect("a name");
        let settings = settings(|settings| settings.blocklist.domains_allowed = allowed);
        assert_eq!(answer(event, &settings, &known), "", "an allowed domain wins over all lists");
        let settings = self::settings(|settings| settings.blocklist.mode = Mode::Shadow);
        assert_eq!(answer(event, &settings, &known), "", "in shadow mode all passes");
    }
}

#[test]
fn who_is_silenced_is_shown_to_those_who_follow_and_who_is_suspended_to_nobody() {
    let [free, silenced, suspended, follower] = [1, 2, 3, 4].map(Person::new);
    let follows =
        follower.event(3, NOW, &[&["p", &free.hex()], &["p", &silenced.hex()], &["p", &suspended.hex()]], "");
    let known = known(
        &[("list.csv", LIST)],
        &[profile(2, "me@loud.example"), profile(3, "me@sub.bad.example"), follows],
    );
    let from = |id: &str| free.event(1, NOW, &[&["proxy", id, "activitypub"]], "");
    let proxy = |settings: &mut Settings| settings.blocklist.apply_to = vec![BlocklistPart::Proxy];
    let nip05 = |settings: &mut Settings| settings.blocklist.apply_to = vec![BlocklistPart::Nip05];
    let links = |settings: &mut Settings| settings.blocklist.apply_to = vec![BlocklistPart::Links];
    let [both, by_proxy, by_nip05, by_links] =
        [settings(|_| {}), settings(proxy), settings(nip05), settings(links)];
    // Shown to all; to followers and the author; to nobody.
    let (all, some, none) = (2, 1, 0);
    let table = [
        (free.note("from here"), all, all, all),
        (free.note("a link: https://bad.example/ https://loud.example/"), all, all, all),
        (from("https://loud.example/1"), some, some, all),
        (from("https://a.loud.example/1"), some, some, all),
        (from("https://bad.example/1"), none, none, all),
        (from("https://odd.example/1"), all, all, all),
        (silenced.note("from here"), some, all, some),
        (suspended.note("from here"), none, all, none),
        (suspended.event(5, NOW, &[], "taken back"), all, all, all),
    ];
    for (event, with_both, with_proxy, with_nip05) in table {
        let sights = [(&both, with_both), (&by_proxy, with_proxy), (&by_nip05, with_nip05), (&by_links, all)];
        for (settings, shown_to) in sights {
            let shown = |keys: &[PublicKey]| is_shown(&event, keys, settings, &known);
            let what =
                format!("{}, {:?}", String::from_utf8_lossy(&event.to_json()), settings.blocklist.apply_to);
            assert_eq!(shown(&[]), shown_to == all, "nobody: {what}");
            assert_eq!(shown(&[Person::new(9).key()]), shown_to == all, "a stranger: {what}");
            assert_eq!(shown(&[follower.key()]), shown_to >= some, "a follower: {what}");
            assert_eq!(shown(&[event.pubkey]), shown_to >= some, "the author: {what}");
        }
    }
    let allowed = DomainSet::new(["loud.example"]).expect("a name");
    let lenient = settings(|settings| settings.blocklist.domains_allowed = allowed);
    assert!(is_shown(&silenced.note("from here"), &[], &lenient, &known));
    assert!(!is_shown(&suspended.note("from here"), &[], &lenient, &known));
}

#[test]
fn lists_are_read_at_start_and_again_when_they_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("list.csv");
    let write = |text: &str| std::fs::write(&list, text).expect("a file");
    write("domain,severity\nevil.example,suspend\n");
    let relay = TestRelay::configured(&format!("[blocklist]\nfiles = [{:?}]", list.display().to_string()));
    let mut client = relay.connect();
    let mut number = 0;
    let mut post = |client: &mut crate::common::Client, host: &str| {
        number += 1;
        let source = format!("https://{host}/{number}");
        client.publish(&Person::new(1).event(1, NOW, &[&["proxy", &source, "activitypub"]], "")).1
    };
    let refusal = |host: &str| {
        format!(
            "blocked: this was bridged from {host}, which is on this relay's blocklist {} (blocklist.proxy)",
            list.display()
        )
    };
    assert_eq!(post(&mut client, "evil.example"), refusal("evil.example"));
    assert_eq!(post(&mut client, "worse.example"), "");
    // Another length is another file, whatever the clock of the disk says.
    write("domain,severity\nworse.example,suspend\nfoul.example,suspend\n");
    relay.relay().learn_now();
    assert_eq!(post(&mut client, "evil.example"), "");
    assert_eq!(post(&mut client, "worse.example"), refusal("worse.example"));
    assert_eq!(post(&mut client, "foul.example"), refusal("foul.example"));
    // A list that is gone still counts, until there is another one.
    std::fs::remove_file(&list).expect("it was there");
    relay.relay().learn_now();
    assert_eq!(post(&mut client, "worse.example"), refusal("worse.example"));
    write("domain,severity\n");
    relay.relay().learn_now();
    assert_eq!(post(&mut client, "worse.example"), "");
}
